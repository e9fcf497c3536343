package PrdTest;

# What the tests stand on: an nginx of one's own in a temporary directory,
# requests to it, its logs.  Core Perl only.  See t/README.md.
#
#     my $t = PrdTest->new;
#     $t->conf('server { listen 127.0.0.1:%%PORT%%; ... }')->start;
#     is($t->get('/')->{status}, 200, 'passed');
#     done_testing();
#
# Whatever was started is stopped when the test ends.  A test also fails, at
# its end, if nginx logged an alert, died, or drew a sanitizer's report.

use strict;
use warnings;

use Exporter 'import';
use Cwd qw(abs_path);
use Errno qw(EAGAIN EINTR EINPROGRESS EWOULDBLOCK);
use File::Basename qw(dirname basename);
use File::Path ();
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX qw(:sys_wait_h);
use Socket qw(IPPROTO_TCP TCP_NODELAY SOL_SOCKET SO_ERROR);
use Test::More;
use Time::HiRes qw(time sleep);

our @EXPORT_OK = qw(wait_until parse_metrics slurp spew);

our $ROOT = abs_path(dirname(__FILE__) . '/../..');

# Sanitizers and a busy machine make everything slower; all bounds follow.
our $SLOW = $ENV{PRD_SLOW} || ($ENV{PRD_SANITIZE} ? 4 : 1);

my $NGINX = $ENV{PRD_NGINX} || which('nginx') || '/usr/sbin/nginx';
my $MODULE = $ENV{PRD_MODULE}
             || "$ROOT/build/ngx_http_predictive_module.so";

my $owner = $$;          # forked children of a test clean up nothing
my @instances;           # every PrdTest object
my @locks;               # UDP sockets that keep our port numbers ours
my @started;             # processes: { pid, name, children }


# a test that hangs fails, rather than holds up the suite

$SIG{ALRM} = sub { die "the test ran for too long\n" };
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { exit 1 };
$SIG{PIPE} = 'IGNORE';

alarm(($ENV{PRD_TIMEOUT} || 120) * ($SLOW > 1 ? 2 : 1));


# An instance of nginx: its directory, ports and configuration.
#
# new(module => 0) leaves load_module out.

sub new {
    my ($class, %opt) = @_;

    my $self = bless {
        module    => $opt{module} // 1,
        ports     => [],
        allowed   => [],
        processes => [],
        tests     => 0,
        dir       => File::Temp->newdir('prdtest-XXXXXXXX', TMPDIR => 1,
                                        CLEANUP => 0)->dirname,
    }, $class;

    # workers run as nobody where the tests run as root

    chmod 0755, $self->{dir};

    mkdir "$self->{dir}/san";
    chmod 0777, "$self->{dir}/san";
    mkdir "$self->{dir}/html";

    push @instances, $self;

    return $self;
}


sub dir { $_[0]{dir} }


# The N-th port of this instance on 127.0.0.1; %%PORT%% is port(0), %%PORT1%%
# is port(1).  Below the range that connections draw theirs from; the UDP
# port of the same number is held as a lock against parallel tests.

sub port {
    my ($self, $n) = @_;

    $n ||= 0;

    return $self->{ports}[$n] if $self->{ports}[$n];

    for (1 .. 2000) {
        my $port = 10000 + int(rand(20000));

        my $lock = IO::Socket::INET->new(Proto => 'udp',
            LocalAddr => '127.0.0.1', LocalPort => $port) or next;

        IO::Socket::INET->new(Proto => 'tcp', Listen => 1, ReuseAddr => 1,
            LocalAddr => '127.0.0.1', LocalPort => $port) or next;

        push @locks, $lock;
        return $self->{ports}[$n] = $port;
    }

    die "no free port on 127.0.0.1\n";
}


# Sets the configuration.  The text is what is inside of http {}, or a whole
# file if it has an http {} of its own.  Replaced are
#
#     %%PORT%%, %%PORT1%%..   ports of this instance
#     %%DIR%%                 its directory
#     %%ROOT%%                the repository
#     %%MODULE%%              the load_module line, where it is wanted at a
#                             place of its own
#     %%BACKEND%%             a server {} on port(9) that answers all with
#                             200, /status/CODE with CODE, and echoes
#                             X-Tokens; proxy_pass http://%%BACKEND_ADDR%%
#
# and added, unless the text has them: load_module, daemon off, user, pid,
# error_log (info), worker_processes 1, events, access_log, temporary paths.

sub conf {
    my ($self, $text) = @_;

    $self->{conf_text} = $text;
    spew("$self->{dir}/nginx.conf", $self->expand($text));

    return $self;
}


sub expand {
    my ($self, $text, %opt) = @_;

    my $dir = $self->{dir};
    my $name = $opt{name} || '';          # a prefix for files of our own

    if (naked($text) !~ /^\s*http\s*\{/m) {
        my $main = '';

        # lines for the top level may stand before the first line that
        # cannot be there

        while ($text =~ s/\A(\s*(?:\#[^\n]*\n\s*)*
                          (?:env|thread_pool|worker_processes|error_log|user
                            |timer_resolution|worker_shutdown_timeout
                            |master_process|worker_rlimit_nofile
                            |load_module|pcre_jit|debug_points)
                          \b[^;{}]*;)//x)
        {
            $main .= $1;
        }

        $main .= "\n$1\n" if $text =~ s/\A(\s*events\s*\{[^}]*\})//;

        $text = "$main\nhttp {\n$text\n}\n";
    }

    # wherever an example expects it
    $text =~ s/^\s*load_module\s+\S*ngx_http_predictive_module\.so["']?;
              /%%MODULE%%/mx;

    my $naked = naked($text);
    my $top = top_level($naked);
    my @main;

    if ($self->{module} && $text !~ /%%MODULE%%/) {
        push @main, '%%MODULE%%';
    }

    push @main, 'daemon off;' if $top !~ /^\s*daemon\b/m;
    push @main, "pid $dir/${name}nginx.pid;" if $top !~ /^\s*pid\b/m;
    push @main, 'worker_processes 1;' if $top !~ /^\s*worker_processes\b/m;

    if ($top !~ /^\s*error_log\b/m) {
        push @main, "error_log $dir/${name}error.log "
                    . ($ENV{PRD_DEBUG} ? 'debug' : 'info') . ';';
    }

    if ($> == 0 && $top !~ /^\s*user\b/m) {
        push @main, 'user nobody nogroup;';
    }

    if ($naked !~ /^\s*events\s*\{/m) {
        push @main, 'events { worker_connections 1024; }';
    }

    my @http;

    if ($naked !~ /\baccess_log\b/) {
        push @http, "access_log $dir/access.log;";
    }

    push @http, "root $dir/html;" if $naked !~ /^\s*root\b/m;

    for (qw(client_body proxy fastcgi uwsgi scgi)) {
        next if $naked =~ /\b${_}_temp_path\b/;
        push @http, "${_}_temp_path $dir/${_}_temp;";
    }

    my $main = join '', map { "$_\n" } @main;
    my $http = join '', map { "    $_\n" } @http;

    $text = $main . $text;
    $text =~ s/^(\s*http\s*\{)/$1\n$http/m;

    if ($text =~ /%%BACKEND(?:_ADDR)?%%/) {
        my $backend = '127.0.0.1:' . $self->port(9);
        my $server = backend_server($backend);

        $text =~ s/%%BACKEND%%/$server/g;
        $text =~ s/%%BACKEND_ADDR%%/$backend/g;
    }

    my $load = $self->{module} ? "load_module $MODULE;" : '';

    $text =~ s/%%MODULE%%/$load/g;
    $text =~ s/%%DIR%%/$dir/g;
    $text =~ s/%%ROOT%%/$ROOT/g;
    $text =~ s/%%PORT(\d*)%%/$self->port($1 || 0)/ge;

    die "unknown token $1 in the configuration\n" if $text =~ /(%%\w+%%)/;

    return $text;
}


sub backend_server {
    my ($addr) = @_;

    my $codes = join '', map {
        "        location = /status/$_ { return $_ \"$_\\n\"; }\n"
    } qw(200 204 401 403 404 500 502 503);

    return <<"END";
server {
        listen $addr;
        access_log off;
        keepalive_requests 100000;
        add_header X-Tokens \$http_x_tokens always;
        location / { return 200 "backend \$request_uri\\n"; }
$codes    }
END
}


# Starts nginx and waits until it listens; dies with what it said if it does
# not.

sub start {
    my ($self, @args) = @_;

    die "conf() first\n" unless defined $self->{conf_text};
    die "started already\n" if $self->{pid};

    if ($self->{module} && ! -f $MODULE) {
        die "$MODULE is not there; run make\n";
    }

    my $conf = slurp("$self->{dir}/nginx.conf");
    my ($pid_file) = naked($conf) =~ /^\s*pid\s+([^;]+);/m;
    my @ports = naked($conf) =~ /^\s*listen\s+127\.0\.0\.1:(\d+)/mg;

    $self->{pid_file} = $pid_file;
    unlink $pid_file;

    my $process = $self->spawn('nginx', $self->command, @args);

    $self->{process} = $process;
    $self->{pid} = $process->{pid};

    my $up = wait_until(15, sub {
        return -1 if !alive($process);
        return 0 if !-s $pid_file;
        return 0 if grep { !listens($_) } @ports;
        return 0 if !$self->worker_pids;
        return 1;
    });

    if ($up != 1) {
        $self->{no_checks} = 1;
        $self->stop;

        my $tail = join "\n", $self->tail(20), map { slurp($_) }
                             glob "$self->{dir}/san/*";

        die "nginx did not start:\n$tail\n";
    }

    return $self;
}


sub command {
    my ($self, $conf) = @_;

    $conf ||= "$self->{dir}/nginx.conf";

    return ($NGINX, '-p', $self->{dir}, '-c', $conf,
            '-e', "$self->{dir}/error.log");
}


# Runs `nginx -t` on a configuration as conf() takes it; nothing else is
# touched.  Returns the exit status and what was printed.

sub conf_test {
    my ($self, $text) = @_;

    my $file = "$self->{dir}/test-" . ++$self->{tests} . '-';

    spew("${file}nginx.conf", $self->expand($text, name => basename($file)));

    my @command = $self->command("${file}nginx.conf");
    $command[-1] = "${file}error.log";

    # `nginx -t` ends without having freed its configuration
    local $ENV{ASAN_OPTIONS} = "$ENV{ASAN_OPTIONS}:detect_leaks=0"
        if $ENV{ASAN_OPTIONS};

    my ($exit, $out) = $self->run(@command, '-t');

    unlink glob("$file*") unless $exit;

    return ($exit, $out);
}


# Tests: a text for http {} is refused, by an error that says $what and names a
# line, which is like $line where that is given.  Returns what was printed.

sub refuses {
    my ($self, $text, $what, $line) = @_;

    my ($exit, $out) = $self->conf_test("http {\n$text\n}\n");
    my @errors = $out =~ /\[emerg\] (?:\d+#\d+: )?(.*)/g;
    my $message = $errors[-1] // '';

    my ($name) = $text =~ /^\s*(.*?)\s*$/s;
    $name =~ s/\s+/ /g;
    $name = '...' . substr $name, -60 if length $name > 63;

    is($exit, 1, "refused: $name");           # and not by a signal
    ok(index($message, $what) >= 0, "says: $what")
        or diag("instead of: $what\nsays: " . ($message || $out));
    like($message, qr/ in \S*nginx\.conf:\d+$/, 'and where');

    if (defined $line) {
        my ($conf, $n) = $message =~ /(\S+nginx\.conf):(\d+)$/;
        my @lines = $conf ? split(/\n/, slurp($conf)) : ();

        like($n ? $lines[$n - 1] : '', $line, 'the line');
    }

    unlink glob("$self->{dir}/test-*");

    return $out;
}


# Tests: such a text is taken, with a warning like $warning or without any.

sub takes {
    my ($self, $text, $name, $warning) = @_;

    my ($exit, $out) = $self->conf_test("http {\n$text\n}\n");

    is($exit, 0, "taken: $name") or diag($out);

    if (defined $warning) {
        like($out, $warning, 'with a warning');
    } else {
        unlike($out, qr/\[warn\]/, 'without a warning');
    }
}


# Runs a command to its end; returns the exit status (128 + N after a signal)
# and what it printed to both outputs.

sub run {
    my ($self, @command) = @_;

    my $file = "$self->{dir}/run." . ++$self->{runs};

    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $file;
        open STDERR, '>&', \*STDOUT;
        $self->environment;
        exec { $command[0] } @command or print STDERR "$command[0]: $!\n";
        POSIX::_exit(127);
    }

    waitpid $pid, 0;

    my $exit = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    my $out = slurp($file);

    unlink $file;

    return ($exit, $out);
}


# Learns a zone of the configuration from REQUESTS, [seconds, arguments] or
# [seconds, arguments, bytes]: state/learned in the test's directory, where any
# worker may write.

sub learn {
    my ($self, $zone, @requests) = @_;

    my $dir = $self->{dir};

    spew("$dir/log", join '', map {
        sprintf qq(192.0.2.1 - - [%s +0000] "GET /?%s HTTP/1.1" 200 %d "-" "-"\n),
                POSIX::strftime('%d/%b/%Y:%H:%M:%S', gmtime $_->[0]), $_->[1],
                $_->[2] // 1
    } sort { $a->[0] <=> $b->[0] } @requests);

    mkdir "$dir/state" or die "$dir/state: $!\n";
    chmod 0777, "$dir/state";

    my ($exit, $out) = $self->run($ENV{PRD_REPLAY}
                                  || "$ROOT/build/predictive-replay",
                                  '--quiet', '-c', "$dir/nginx.conf",
                                  '--zone', $zone, '--state',
                                  "$dir/state/learned", "$dir/log");

    is($exit, 0, 'replay of ' . @requests . ' requests') or diag($out);
}


# Starts a process that is stopped when the test ends, its output in
# DIR/NAME.out.  Returns a handle for kill_process() and stop_process().

sub spawn {
    my ($self, $name, @command) = @_;

    my $out = "$self->{dir}/$name.out";
    my $pid = fork_plainly();

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $out;
        open STDERR, '>&', \*STDOUT;
        $self->environment;

        my $setpriv = which('setpriv');

        # should the test be killed, what it started goes too
        unshift @command, $setpriv, '--pdeathsig', 'TERM', '--' if $setpriv;

        exec { $command[0] } @command or print STDERR "$command[0]: $!\n";
        POSIX::_exit(127);
    }

    my $process = { pid => $pid, name => $name, out => $out };

    push @started, $process;
    push @{ $self->{processes} }, $process;

    return $process;
}


# Runs CODE in a child, as spawn() does with a command.

sub fork_process {
    my ($self, $name, $code) = @_;

    my $pid = fork_plainly();

    if ($pid == 0) {
        my $ok = eval { $code->(); 1 };
        print STDERR "# $name: $@" unless $ok;
        POSIX::_exit($ok ? 0 : 1);
    }

    my $process = { pid => $pid, name => $name };

    push @started, $process;
    push @{ $self->{processes} }, $process;

    return $process;
}


# A child in a process group of its own (^C is for us to handle), without our
# signal handlers.

sub fork_plainly {
    my @names = qw(ALRM INT TERM HUP PIPE);
    my @ours = map { $_ || 'DEFAULT' } @SIG{@names};

    @SIG{@names} = ('DEFAULT') x @names;

    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        setpgrp(0, 0);

    } else {
        @SIG{@names} = @ours;
    }

    return $pid;
}


sub environment {
    my ($self) = @_;

    return unless $ENV{PRD_SANITIZE};

    for (qw(ASAN UBSAN LSAN TSAN)) {
        my $old = $ENV{"${_}_OPTIONS"};

        next unless defined $old;
        $ENV{"${_}_OPTIONS"} = "$old:log_path=$self->{dir}/san/" . lc;
    }
}


# Has nginx read its configuration (a new one, if given) again and waits
# until new workers run.  False if it refused.  With wait_old => 1 the old
# workers have also exited.

sub reload {
    my ($self, $conf, %opt) = @_;

    $self->conf($conf) if defined $conf;

    my %old = map { $_ => 1 } $self->worker_pids;
    my $seen = length $self->error_log;

    kill 'HUP', $self->{pid};

    my $done = wait_until(20, sub {
        return -1 if substr($self->error_log, $seen) =~ /\[emerg\]/;
        return -1 if !alive($self->{process});

        my @now = $self->worker_pids;

        # the old ones are out of this list once they shut down
        return @now && !grep { $old{$_} } @now;
    });

    return 0 if $done != 1;

    if ($opt{wait_old}) {
        wait_until(20, sub { !grep { kill 0, $_ } keys %old })
            or die "old workers do not exit: @{[keys %old]}\n";
    }

    return 1;
}


# Stops nginx as an administrator would.  Workers that do not exit are
# killed, which fails the test.

sub stop {
    my ($self) = @_;

    my $process = delete $self->{process} or return $self;

    delete $self->{pid};

    my $status = $self->stop_process($process, 'QUIT');

    if (!$self->{no_checks}) {
        if (!defined $status) {
            $self->problem('nginx did not stop and was killed');

        } elsif ($status != 0) {
            $self->problem(sprintf 'nginx exited with status %d, signal %d',
                           $status >> 8, $status & 127);
        }
    }

    return $self;
}


# Stops a process with a signal, waits, kills it at last, and with it what it
# left behind (workers whose master died).  Returns its wait status, undef if
# it had to be killed.

sub stop_process {
    my ($self, $process, $signal) = @_;

    return $process->{status} if $process->{stopped}++;

    if (alive($process)) {
        kill $signal || 'TERM', $process->{pid};
        wait_until(10, sub { !alive($process) });
    }

    if (alive($process)) {
        kill 'KILL', $process->{pid};
        waitpid $process->{pid}, 0;
        $process->{gone} = 1;
        $process->{status} = undef;
    }

    # each has a process group of its own
    kill 'KILL', -$process->{pid};

    return $process->{status};
}


# The workers that take requests; not those that are shutting down.

sub worker_pids {
    my ($self) = @_;

    return grep {
        title($_) =~ /worker process(?! is shutting down)/
    } children($self->{pid});
}


sub master_pid { $_[0]{pid} }


# Requests.

# get(URI, Header => value, ...) is one request on a connection of its own.
# Every response is a hash:
#
#     status     number; 0 if the connection broke first (see error)
#     headers    { lower case name => value }, several joined by ", "
#     list       [ [Name, value], ... ] as they came
#     body       without transfer coding
#     time       seconds from sending to the last byte
#     raw        all that came

sub get {
    my ($self, $uri, %headers) = @_;

    return $self->request(GET => $uri, headers => \%headers);
}


# request(METHOD, URI, headers => {}, body => '', port => N, host => '')

sub request {
    my ($self, $method, $uri, %opt) = @_;

    my $c = $self->connect($opt{port});

    return broken("connect: $!") unless $c;

    $opt{headers} = { Connection => 'close', %{ $opt{headers} || {} } };

    return $c->request($method, $uri, %opt);
}


# A connection: request() as above but kept alive, send() and response() for
# anything else, close(), local_port().

sub connect {
    my ($self, $port) = @_;

    return PrdTest::Connection->new($port || $self->port(0));
}


# Sends bytes as they are on a new connection and returns all that comes
# until nginx closes it.

sub raw {
    my ($self, $bytes, %opt) = @_;

    my $c = $self->connect($opt{port}) or return '';

    $c->send($bytes);

    return $c->read_all($opt{timeout});
}


# Sends all requests at once on one connection, before anything is read.
# Each is a URI, or [METHOD, URI, headers => {}, body => ''].

sub pipeline {
    my ($self, @requests) = @_;

    my $c = $self->connect or return;
    my @r = map { ref $_ ? $_ : [GET => $_] } @requests;

    $c->send(join '', map { $c->format(@$_) } @r);

    return map { $c->response($_->[0]) } @r;
}


# Sends all requests on connections of their own, at most `jobs` (default:
# all) at a time, and returns the responses in that order.  Requests as for
# pipeline().

sub parallel {
    my ($self, $requests, %opt) = @_;

    my @todo = map { ref $_ ? $_ : [GET => $_] } @$requests;
    my $jobs = $opt{jobs} || @todo;
    my $select = IO::Select->new;
    my ($next, %c, @response) = (0);
    my $end = time + ($opt{timeout} || 30) * $SLOW;

    while ($next < @todo || %c) {

        while ($next < @todo && keys %c < $jobs) {
            my $n = $next++;
            my $c = $self->connect($opt{port});

            if (!$c) {
                $response[$n] = broken("connect: $!");
                next;
            }

            my ($method, $uri, %o) = @{ $todo[$n] };

            $o{headers} = { Connection => 'close', %{ $o{headers} || {} } };
            $c->{started} = time;
            $c->send($c->format($method, $uri, %o));
            $c{ fileno $c->{socket} } = [$n, $c, $method];
            $select->add($c->{socket});
        }

        last if time > $end;

        for my $socket ($select->can_read(0.2)) {
            my ($n, $c, $method) = @{ $c{ fileno $socket } };
            my $read = sysread $socket, $c->{buffer}, 65536,
                               length $c->{buffer};

            next if !defined $read && ($! == EINTR || $! == EAGAIN);

            my $r = parse_response($c->{buffer}, $method, !$read);

            next if !$r && $read;

            $r ||= broken('closed without a response');
            $r->{time} = time - $c->{started};
            $response[$n] = $r;

            delete $c{ fileno $socket };
            $select->remove($socket);
            $c->close;
        }
    }

    $response[$_->[0]] = broken('no response in time') for values %c;

    return @response;
}


# HTTP/2 without TLS (listen ... http2), a request on a connection of its
# own, by curl: h2(URI, headers => {}, port => N, args => [...of curl]).
# Response as above, without raw.

sub h2 {
    my ($self, $uri, %opt) = @_;

    my $file = "$self->{dir}/h2." . ++$self->{h2};
    my $port = $opt{port} || $self->port(0);
    my $headers = $opt{headers} || {};
    my @args = @{ $opt{args} || [] };

    push @args, map { ('-H', "$_: $headers->{$_}") } sort keys %$headers;

    my ($exit, $out) = $self->run(which('curl') || 'curl', '-s', '-S', '-q',
        '--http2-prior-knowledge', '-m', 30 * $SLOW, '-o', "$file.body",
        '-D', "$file.head", '-w', '%{http_version} %{time_total}', @args,
        "http://127.0.0.1:$port$uri");

    return broken("curl: $out") if $exit;

    my ($version, $time) = split / /, $out;
    my $r = parse_head(slurp("$file.head"));

    $r = { %$r, body => slurp_maybe("$file.body"), time => $time,
           version => $version };

    unlink glob("$file.*");

    return $r;
}


# The URIs at once, each a stream of one HTTP/2 connection, by nghttp, which
# would drop an URI that it has seen: further ones get an argument "again=N".
# Responses in the order of the URIs, without body and raw.

sub h2_streams {
    my ($self, $uris, %opt) = @_;

    my $port = $opt{port} || $self->port(0);
    my $headers = $opt{headers} || {};
    my (@uris, %n, %stream, @response);

    for my $uri (@$uris) {
        my $sent = $uri;

        if (exists $n{$sent}) {
            $sent .= ($uri =~ /\?/ ? '&' : '?') . 'again=' . @uris;
        }

        $n{$sent} = @uris;
        push @uris, $sent;
    }

    my ($exit, $out) = $self->run(which('nghttp') || 'nghttp', '-nvs',
        '--no-dep', '-t', 30 * $SLOW, (map { "-H$_: $headers->{$_}" }
        sort keys %$headers), map { "http://127.0.0.1:$port$_" } @uris);

    @response = map { broken("nghttp: $out") } @uris;

    # the statistics tell stream, time and status of a path

    my @rows = $out =~ /^ \s* (\d+) \s+ \S+ \s+ \S+ \s+ ([\d.]+ [um]?s) \s+
                        (\d{3}) \s+ \S+ \s+ (\/\S*) $/mgx;

    while (my ($id, $time, $status, $uri) = splice @rows, 0, 4) {
        next unless exists $n{$uri};

        my @list = map { /^recv \(stream_id=$id\) (:?[^:]+): (.*)/
                         ? [$1, $2] : () }
                   map { s/^\[ *[\d.]+\] //r } split /\n/, $out;

        $time =~ /^([\d.]+)([um]?s)/;

        $response[$n{$uri}] = { %{ headers(@list) }, status => $status + 0,
            body => '', version => 2,
            time => $1 * { us => 1e-6, ms => 1e-3, s => 1 }->{$2} };
    }

    return @response;
}


# The samples under URI as { 'name{label="value",...}' => number }, labels
# sorted by name.

sub metrics {
    my ($self, $uri, %opt) = @_;

    my $r = $self->request(GET => $uri, %opt);

    die "$uri: status $r->{status}\n" if $r->{status} != 200;

    return parse_metrics($r->{body});
}


sub parse_metrics {
    my ($text) = @_;

    my %m;

    for (split /\n/, $text) {
        next if /^\s*(?:#|$)/;

        /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$/
            or die "not a sample: $_\n";

        my ($name, $labels, $value) = ($1, $2 // '', $3);
        my @labels;

        while ($labels =~ /\G\s*([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"\s*,?/gc) {
            push @labels, "$1=\"$2\"";
        }

        die "bad labels: $_\n" if (pos $labels || 0) != length $labels;

        $name .= '{' . join(',', sort @labels) . '}' if @labels;
        die "twice: $name\n" if exists $m{$name};

        $m{$name} = $value =~ /^\+?Inf$/i ? 9**9**9
                    : $value =~ /^-Inf$/i ? -9**9**9
                    : $value =~ /^NaN$/i ? 'NaN' : $value + 0;
    }

    return \%m;
}


# `promtool check metrics` on a text: exit status and what it says

sub promtool {
    my ($self, $text) = @_;

    my $file = "$self->{dir}/metrics.txt";

    spew($file, $text);

    return $self->run('/bin/sh', '-c', "promtool check metrics < $file");
}


# A GET whose JSON is decoded; dies on anything else than 200.

sub json {
    my ($self, $uri, %opt) = @_;

    my $r = $self->request(GET => $uri, %opt);

    die "$uri: status $r->{status}: $r->{body}\n" if $r->{status} != 200;

    return decode_json($r->{body});
}


sub decode_json { JSON::PP->new->utf8->decode($_[0]) }


# A server on port(N) in a child, a child per connection, keeps connections
# alive.  CODE gets { method, uri, headers, body } and returns (status,
# { Header => value }, body); it may sleep.

sub server {
    my ($self, $n, $code) = @_;

    my $listen = IO::Socket::INET->new(Proto => 'tcp', Listen => 128,
        ReuseAddr => 1, LocalAddr => '127.0.0.1',
        LocalPort => $self->port($n)) or die "listen: $!\n";

    my $process = $self->fork_process('server', sub {
        $SIG{CHLD} = 'IGNORE';

        my $parent = getppid();

        while (getppid() == $parent) {
            IO::Select->new($listen)->can_read(1) or next;

            my $client = $listen->accept or next;
            my $pid = fork();

            if (defined $pid && $pid == 0) {
                close $listen;
                serve($client, $code);
                POSIX::_exit(0);
            }

            close $client;
        }
    });

    close $listen;

    return $process;
}


sub serve {
    my ($client, $code) = @_;

    my $buffer = '';

    setsockopt $client, IPPROTO_TCP, TCP_NODELAY, 1;
    alarm 120;

    while (1) {
        my $end;

        while (($end = index $buffer, "\r\n\r\n") < 0) {
            sysread $client, $buffer, 65536, length $buffer or return;
        }

        my $head = substr $buffer, 0, $end + 4, '';
        my ($line, @lines) = split /\r\n/, $head;
        my ($method, $uri) = split / /, $line;
        my %headers = map { /^([^:]+):\s*(.*)/ ? (lc $1, $2) : () } @lines;
        my $length = $headers{'content-length'} || 0;

        while (length $buffer < $length) {
            sysread $client, $buffer, 65536, length $buffer or return;
        }

        my ($status, $out, $body) = $code->({ method => $method, uri => $uri,
            headers => \%headers, body => substr $buffer, 0, $length, '' });

        my $keep = $line =~ m{HTTP/1\.1$}
                   && lc($headers{connection} || '') ne 'close';

        $body //= '';
        $out = { 'Content-Length' => length $body,
                 Connection => $keep ? 'keep-alive' : 'close',
                 %{ $out || {} } };

        syswrite $client, join '', "HTTP/1.1 $status X\r\n",
            (map { "$_: $out->{$_}\r\n" } sort keys %$out), "\r\n", $body;

        return unless $keep;
    }
}


# A Redis of the test's own on port(N), nothing kept on disk; further
# arguments go to redis-server.  redis_cli(N, ...) is redis-cli on it.

sub redis {
    my ($self, $n, @args) = @_;

    my $port = $self->port($n);
    my $dir = "$self->{dir}/redis-$port";

    mkdir $dir;

    my $process = $self->spawn("redis-$port", which('redis-server')
        || 'redis-server', '--port', $port, '--bind', '127.0.0.1', '--dir',
        $dir, '--save', '', '--appendonly', 'no', '--daemonize', 'no', @args);

    wait_until(10, sub { !alive($process) || listens($port) });
    alive($process) or die 'redis-server did not start: '
                           . slurp($process->{out}) . "\n";

    return $process;
}


sub redis_cli {
    my ($self, $n, @args) = @_;

    my ($exit, $out) = $self->run(which('redis-cli') || 'redis-cli', '-h',
                                  '127.0.0.1', '-p', $self->port($n), @args);

    chomp $out;

    return $out;
}


# Logs.

sub error_log  { my ($self) = @_; slurp_maybe($self->{dir} . '/error.log') }
sub access_log { my ($self) = @_; slurp_maybe($self->{dir} . '/access.log') }


# Lines of the error or access log that match; log_lines(qr//, 'access')

sub log_lines {
    my ($self, $re, $which) = @_;

    my $text = ($which || '') eq 'access' ? $self->access_log
                                          : $self->error_log;

    return grep { $_ =~ $re } split /\n/, $text;
}


# Waits until the error log has a match; true if it came within the time.
# The access log is written after the response is sent: wait for it, too.

sub wait_for_log {
    my ($self, $re, %opt) = @_;

    return wait_until($opt{timeout} || 5, sub {
        scalar($self->log_lines($re, $opt{log})) >= ($opt{count} || 1);
    });
}


# Error log lines that match are no reason to fail this test.

sub allow_log {
    my ($self, @re) = @_;

    push @{ $self->{allowed} }, @re;

    return $self;
}


sub tail {
    my ($self, $n) = @_;

    my @out = (split(/\n/, $self->error_log),
               split(/\n/, slurp_maybe("$self->{dir}/nginx.out")));

    splice @out, 0, @out - $n if @out > $n;

    return join "\n", @out;
}


# What happens at the end.

sub problem {
    my ($self, $what) = @_;

    push @{ $self->{problems} }, $what;
}


sub check {
    my ($self) = @_;

    return if $self->{no_checks};

    LINE: for ($self->log_lines(qr/\[(?:alert|emerg|crit)\]|exited\ on\ signal
                                   |runtime\ error:|ERROR:\ \w+Sanitizer/x))
    {
        for my $re (@{ $self->{allowed} }) {
            next LINE if $_ =~ $re;
        }

        $self->problem("error log: $_");
    }

    for my $file (glob "$self->{dir}/san/*") {
        $self->problem("sanitizer:\n" . slurp($file));
    }

    for my $p (@{ $self->{processes} }) {
        next unless $p->{out};

        if (slurp_maybe($p->{out}) =~ /(^.*(?:runtime\ error:
                                             |ERROR:\ \w+Sanitizer).*)/xms)
        {
            $self->problem("$p->{name}: $1");
        }
    }
}


END {
    if ($$ == $owner) {
        my $status = $?;

        alarm 0;

        # one slow stop must not leave the rest running
        for my $t (@instances) {
            eval { $t->stop; 1 } or $t->problem($@);
        }

        for my $p (reverse @started) {
            eval { PrdTest->stop_process($p) };
        }

        for my $t (@instances) {
            $t->check;

            my @problems = @{ $t->{problems} || [] };

            $status ||= 1 if @problems;
            diag("problem: $_") for splice @problems, 0, 10;
            diag('and ' . @problems . ' more') if @problems;

            my $failed = $status || !Test::More->builder->is_passing;

            if ($ENV{PRD_KEEP}) {
                diag("kept: $t->{dir}");
                next;
            }

            if ($failed && length $t->error_log) {
                diag("last lines of the error log:\n" . $t->tail(15));
            }

            File::Path::remove_tree($t->{dir}, { safe => 0 });
        }

        $? = $status;
    }
}


# Small things.

# Calls CODE until it returns true or the time is over; returns what it
# returned last.

sub wait_until {
    my ($seconds, $code) = @_;

    my $end = time + $seconds * $SLOW;
    my $pause = 0.002;

    while (1) {
        my $value = $code->();

        return $value if $value || time > $end;

        sleep $pause;
        $pause *= 1.5 if $pause < 0.05;
    }
}


sub broken {
    my ($error) = @_;

    return { status => 0, headers => {}, list => [], body => '', raw => '',
             time => 0, error => $error };
}


sub parse_head {
    my ($text) = @_;

    my ($line, @lines) = split /\r\n/, $text;

    $line =~ m{^HTTP/[\d.]+ (\d{3})} or return broken("bad head: $line");

    my $status = $1 + 0;

    return { %{ headers(map { /^([^:]+):\s*(.*?)\s*$/ ? [$1, $2] : () }
                            @lines) }, status => $status };
}


sub headers {
    my (@list) = @_;

    my %headers;

    for (@list) {
        my $name = lc $_->[0];

        $headers{$name} = exists $headers{$name} ? "$headers{$name}, $_->[1]"
                                                 : $_->[1];
    }

    return { headers => \%headers, list => \@list };
}


# A response out of the buffer, which is shortened by it; undef if it is not
# all there yet.  At the end of the connection whatever is there counts.

sub parse_response {
    my ($buffer, $method, $eof) = @_;

    my $end = index $buffer, "\r\n\r\n";

    if ($end < 0) {
        return $eof && length $buffer ? broken("cut off: $buffer") : undef;
    }

    my $r = parse_head(substr $buffer, 0, $end);
    my $rest = substr $buffer, $end + 4;
    my $length = $r->{headers}{'content-length'};
    my $used;

    $r->{body} = '';

    if ($method eq 'HEAD' || $r->{status} =~ /^(?:1..|204|304)$/) {
        $used = 0;

    } elsif (($r->{headers}{'transfer-encoding'} || '') =~ /chunked/i) {
        pos($rest) = 0;

        while ($rest =~ /\G([0-9a-fA-F]+)[^\r\n]*\r\n/gc) {
            my $size = hex $1;

            last if length($rest) < pos($rest) + $size + 2;

            if ($size == 0) {
                $used = pos($rest) + 2;
                last;
            }

            $r->{body} .= substr $rest, pos $rest, $size;
            pos($rest) += $size + 2;
        }

        if (!defined $used) {
            return undef unless $eof;
            $r->{error} = 'cut off';
            $used = length $rest;
        }

    } elsif (defined $length) {
        if (length $rest < $length) {
            return undef unless $eof;
            $r->{error} = 'cut off';
        }

        $used = length $rest < $length ? length $rest : $length;
        $r->{body} = substr $rest, 0, $used;

    } else {
        return undef unless $eof;
        $used = length $rest;
        $r->{body} = $rest;
    }

    $r->{raw} = substr $buffer, 0, $end + 4 + $used;
    $_[0] = substr $buffer, $end + 4 + $used;

    return $r;
}


# the text without comments and quoted strings

sub naked {
    my ($text) = @_;

    $text =~ s/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(^|[\s;{}])#[^\n]*/
               defined $1 ? $1 : '""'/gems;

    return $text;
}


# ... and without what is in blocks

sub top_level {
    my ($text) = @_;

    1 while $text =~ s/\{[^{}]*\}/;/;

    return $text;
}


sub listens {
    my ($port) = @_;

    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
                                 Timeout => 1) ? 1 : 0;
}


# Is a process that we started still there?  Keeps its wait status.

sub alive {
    my ($process) = @_;

    return 0 if $process->{gone};

    my $r = waitpid $process->{pid}, WNOHANG;

    if ($r == $process->{pid} || $r < 0) {
        $process->{status} = $r < 0 ? 0 : $?;
        $process->{gone} = 1;
        return 0;
    }

    return 1;
}


sub children {
    my ($parent) = @_;

    return () unless $parent;

    opendir my $dh, '/proc' or return ();

    return sort { $a <=> $b } grep { (ppid($_) || 0) == $parent }
           grep { /^\d+$/ } readdir $dh;
}


sub ppid {
    my ($pid) = @_;

    my $stat = slurp_maybe("/proc/$pid/stat");

    return $stat =~ /\) \S (\d+)/ ? $1 : undef;
}


sub title {
    my ($pid) = @_;

    return slurp_maybe("/proc/$pid/cmdline");
}


sub which {
    my ($name) = @_;

    for (split(/:/, $ENV{PATH} || ''), '/usr/sbin', '/usr/bin') {
        return "$_/$name" if -x "$_/$name" && !-d _;
    }

    return undef;
}


sub slurp {
    my ($file) = @_;

    open my $fh, '<:raw', $file or die "$file: $!\n";
    local $/;

    return scalar(<$fh>) // '';
}


sub slurp_maybe {
    my ($file) = @_;

    open my $fh, '<:raw', $file or return '';
    local $/;

    return scalar(<$fh>) // '';
}


sub spew {
    my ($file, $text) = @_;

    open my $fh, '>:raw', $file or die "$file: $!\n";
    print $fh $text;
    close $fh or die "$file: $!\n";
}


package PrdTest::Connection;

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use IO::Select;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);


sub new {
    my ($class, $port) = @_;

    my $socket = IO::Socket::INET->new(Proto => 'tcp', Timeout => 5,
        PeerAddr => '127.0.0.1', PeerPort => $port) or return undef;

    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;

    return bless { socket => $socket, buffer => '' }, $class;
}


sub format {
    my ($self, $method, $uri, %opt) = @_;

    my $headers = $opt{headers} || {};
    my $host = $opt{host} || 'localhost';
    my $out = "$method $uri HTTP/1.1\r\nHost: $host\r\n";

    for my $name (sort keys %$headers) {
        my $value = $headers->{$name};

        $out .= "$name: $_\r\n" for ref $value ? @$value : $value;
    }

    if (defined $opt{body}) {
        $out .= 'Content-Length: ' . length($opt{body}) . "\r\n";
    }

    return "$out\r\n" . ($opt{body} // '');
}


sub request {
    my ($self, $method, $uri, %opt) = @_;

    my $started = time;

    $self->send($self->format($method, $uri, %opt));

    my $r = $self->response($method, $opt{timeout});

    $r->{time} = time - $started;

    return $r;
}


sub get {
    my ($self, $uri, %headers) = @_;

    return $self->request(GET => $uri, headers => \%headers);
}


sub send {
    my ($self, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite $self->{socket}, $bytes;

        if (!defined $n) {
            next if $! == EINTR;
            return 0;
        }

        substr $bytes, 0, $n, '';
    }

    return 1;
}


# The next response on this connection.

sub response {
    my ($self, $method, $timeout) = @_;

    my $started = time;
    my $end = $started + ($timeout || 20) * $PrdTest::SLOW;

    while (1) {
        my $r = PrdTest::parse_response($self->{buffer}, $method || 'GET');

        if ($r) {
            $r->{time} = time - $started;
            return $r;
        }

        my $left = $end - time;

        if ($left <= 0 || !IO::Select->new($self->{socket})->can_read($left)) {
            return PrdTest::broken('no response in time');
        }

        my $n = sysread $self->{socket}, $self->{buffer}, 65536,
                        length $self->{buffer};

        next if !defined $n && ($! == EINTR || $! == EAGAIN);

        if (!$n) {
            $r = PrdTest::parse_response($self->{buffer}, $method || 'GET', 1)
                 || PrdTest::broken('closed without a response');
            $r->{time} = time - $started;
            return $r;
        }
    }
}


# All that comes until the other side closes, or the time is over.

sub read_all {
    my ($self, $timeout) = @_;

    my $end = time + ($timeout || 10) * $PrdTest::SLOW;

    while ((my $left = $end - time) > 0) {
        IO::Select->new($self->{socket})->can_read($left) or last;

        my $n = sysread $self->{socket}, $self->{buffer}, 65536,
                        length $self->{buffer};

        next if !defined $n && $! == EINTR;
        last if !$n;
    }

    my $all = $self->{buffer};

    $self->{buffer} = '';

    return $all;
}


sub local_port { $_[0]{socket}->sockport }


sub close {
    my ($self) = @_;

    CORE::close($self->{socket});
}


1;
