package Front;

# An nginx of one's own on 127.0.0.1 for a bench: configuration, processes,
# CPU.  Core Perl only.

use strict;
use warnings;

use Exporter 'import';
use File::Temp ();
use IO::Socket::INET;
use Time::HiRes qw(time sleep);

our @EXPORT_OK = qw(median pinned request wrk);

my $NGINX = $ENV{PRD_NGINX} || '/usr/sbin/nginx';
my $MODULE = $ENV{PRD_MODULE} or die "PRD_MODULE is not set\n";

my $owner = $$;
my @fronts;

$SIG{INT} = $SIG{TERM} = sub { exit 1 };
$SIG{PIPE} = 'IGNORE';


# Front->new(workers => 1, affinity => '01', module => 1, http => '...',
#            server => '...', env => {...}); dies with what nginx said if it
# does not start

sub new {
    my ($class, %opt) = @_;

    my $self = bless {
        dir  => File::Temp->newdir('prdbench-XXXXXXXX', TMPDIR => 1,
                                   CLEANUP => 0)->dirname,
        port => free_port(),
    }, $class;

    chmod 0755, $self->{dir};
    push @fronts, $self;

    my $temp = join ' ', map { "${_}_temp_path $self->{dir}/$_;" }
               qw(client_body proxy fastcgi uwsgi scgi);
    my $load = $opt{module} ? "load_module $MODULE;" : '';
    my $user = $> == 0 ? 'user root;' : '';
    my %env = %{ $opt{env} || {} };
    my $env = join ' ', map { "env $_;" } sort keys %env;
    my $affinity = $opt{affinity} ? "worker_cpu_affinity $opt{affinity};"
                                  : '';

    open my $f, '>', "$self->{dir}/nginx.conf" or die "nginx.conf: $!\n";
    print $f <<"END";
$load
daemon off; $user $affinity $env
worker_processes @{[$opt{workers} || 1]};
pid $self->{dir}/pid;
error_log $self->{dir}/error.log warn;
events { worker_connections 4096; }
http {
    access_log off; $temp
    keepalive_requests 1000000000; keepalive_timeout 600s;
    client_header_timeout 600s;
    @{[$opt{http} // '']}
    server {
        listen 127.0.0.1:$self->{port} reuseport;
        @{[$opt{server}]}
    }
}
END
    close $f;

    $self->{master} = fork // die "fork: $!\n";

    if ($self->{master} == 0) {
        open STDERR, '>', "$self->{dir}/stderr";
        @ENV{keys %env} = values %env;
        exec $NGINX, '-p', "$self->{dir}/", '-c', "$self->{dir}/nginx.conf",
             '-e', "$self->{dir}/error.log" or exit 127;
    }

    for (1 .. 100) {
        return $self if IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                              PeerPort => $self->{port});
        last if waitpid($self->{master}, 1) != 0;
        sleep 0.1;
    }

    die "nginx did not start: ", map { slurp("$self->{dir}/$_") }
        qw(stderr error.log);
}


sub slurp {
    my ($file) = @_;

    open my $f, '<', $file or return '';
    local $/;
    return <$f> // '';
}


sub port { $_[0]{port} }
sub log  { slurp("$_[0]{dir}/error.log") }


sub workers {
    my ($self) = @_;

    return split ' ', slurp("/proc/$self->{master}/task/$self->{master}/"
                            . 'children');
}


# Nanoseconds on a CPU of all processes and their threads.

sub cpu_ns {
    my ($self) = @_;

    my $sum = 0;

    for my $pid ($self->{master}, $self->workers) {
        for (glob "/proc/$pid/task/*/schedstat") {
            $sum += $1 if slurp($_) =~ /^(\d+)/;
        }
    }

    return $sum;
}


sub stop {
    my ($self) = @_;

    return unless $self->{master};

    kill 'TERM', $self->{master};
    waitpid $self->{master}, 0;
    $self->{master} = 0;

    system 'rm', '-rf', $self->{dir};
}


END {
    if ($$ == $owner) {
        local $?;
        $_->stop for @fronts;
    }
}


sub free_port {
    my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
        or die "no port: $!\n";

    return $s->sockport;
}


# status, headers, body of a request; "Name: value" lines as headers

sub request {
    my ($port, $path, @headers) = @_;

    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port) or die "no connection: $!\n";

    print $s join "\r\n", "GET $path HTTP/1.1", 'Host: localhost',
        'Connection: close', @headers, '', '';

    local $/;
    my ($head, $body) = split /\r\n\r\n/, <$s> // '', 2;

    return ($head =~ m{^HTTP/1.1 (\d+)} ? $1 : 0, $head, $body);
}


sub cpus {
    return scalar(() = slurp('/proc/cpuinfo') =~ /^processor\s*:/mg);
}


# the command's first words that put it on a CPU, where there is a choice

sub pinned {
    my ($cpu) = @_;

    return cpus() > 1 && -x '/usr/bin/taskset' ? ('taskset', '-c', $cpu) : ();
}


# A run of wrk with keys.lua: { requests, errors, p50, p99 (us) }

sub wrk {
    my ($port, %opt) = @_;

    (my $lua = __FILE__) =~ s/Front\.pm$/keys.lua/;

    local $ENV{KEYS} = $opt{keys} || 1;
    local $ENV{OFFSET} = $opt{offset} || 0;

    my $connections = $opt{connections} || 32;

    open my $f, '-|', pinned(cpus() - 1), 'wrk', '-t1', "-c$connections",
        "-d$opt{seconds}s", '-s', $lua, "http://127.0.0.1:$port/"
        or die "wrk: $!\n";
    my $out = do { local $/; <$f> };
    close $f;

    $out =~ /requests=(\d+) errors=(\d+) p50=(\d+) p99=(\d+)/
        or die "wrk said: $out\n";

    return { requests => $1, errors => $2, p50 => $3, p99 => $4 };
}


sub median {
    my @v = sort { $a <=> $b } @_;

    return @v % 2 ? $v[$#v / 2] : ($v[@v / 2] + $v[@v / 2 - 1]) / 2;
}


1;
