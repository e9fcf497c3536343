package PrdRedis;

# Redis for tests: real servers on loopback with nothing on disk, alone, as a
# cluster or under sentinels, with TLS where it is wanted; and a server that
# breaks the protocol.  All belong to a PrdTest, end with it and listen on its
# ports.
#
#     my $redis = PrdRedis->new($t, 1);          # on $t->port(1)
#     $redis->cli('set', 'a', 1);
#     $redis->freeze; $redis->thaw; $redis->kill; $redis->restart;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IO::Select;
use IO::Socket::INET;
use PrdTest qw(wait_until slurp spew);
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(sleep time);


# The module for tests only, built by the side of the product's; for
# load_module.  See t/module.

sub module {
    my $module = $ENV{PRD_MODULE}
                 || "$PrdTest::ROOT/build/ngx_http_predictive_module.so";

    return abs_path(dirname($module)) . '/ngx_http_prdtest_module.so';
}


# A file for `secret` or `password`.

sub secret_file {
    my ($t, $name, $text) = @_;

    my $file = $t->dir . "/$name";

    spew($file, ($text // 'a secret of the tests, long enough') . "\n");
    chmod 0600, $file;

    return $file;
}


# new(TEST, PORT, args => [...], tls => TLS, name => NAME)

sub new {
    my ($class, $t, $n, %opt) = @_;

    my $self = bless {
        t    => $t,
        port => $t->port($n),
        args => $opt{args} || [],
        tls  => $opt{tls},
        what => $opt{what} || 'redis',
    }, $class;

    $self->{dir} = $t->dir . "/redis-$self->{port}";
    mkdir $self->{dir};

    return $self->restart;
}


sub port { $_[0]{port} }
sub pid  { $_[0]{process}{pid} }
sub addr { "127.0.0.1:$_[0]{port}" }

sub connect {
    my ($self) = @_;

    my $socket = IO::Socket::INET->new(Proto => 'tcp', PeerAddr => $self->addr)
                 or die "connect: $!\n";

    return bless $socket, 'PrdRedis::Client';
}


sub restart {
    my ($self) = @_;

    my ($t, $port, $dir) = @$self{qw(t port dir)};
    my @args;

    if ($self->{what} eq 'sentinel') {
        @args = ("$dir/sentinel.conf", '--sentinel');

    } else {
        @args = ('--save', '', '--appendonly', 'no', '--repl-diskless-sync',
                 'yes', '--repl-diskless-sync-delay', '0');
    }

    if (my $tls = $self->{tls}) {
        push @args, '--port', 0, '--tls-port', $port,
             '--tls-cert-file', "$tls->{dir}/server.crt",
             '--tls-key-file', "$tls->{dir}/server.key",
             '--tls-ca-cert-file', "$tls->{dir}/ca.crt",
             '--tls-auth-clients', $tls->{clients} || 'no';

    } else {
        push @args, '--port', $port;
    }

    $self->{process} = $t->spawn("$self->{what}-$port",
        PrdTest::which('redis-server') || 'redis-server', @args,
        '--bind', '127.0.0.1', '--dir', $dir, '--daemonize', 'no',
        '--logfile', '', @{ $self->{args} });

    my $process = $self->{process};

    wait_until(10, sub { !PrdTest::alive($process)
                         || PrdTest::listens($port) });

    PrdTest::alive($process)
        or die 'redis-server did not start: ' . slurp($process->{out}) . "\n";

    return $self;
}


sub freeze { CORE::kill STOP => $_[0]->pid }
sub thaw   { CORE::kill CONT => $_[0]->pid }


# At once, as a machine that is switched off: the test does not mind.

sub kill {
    my ($self) = @_;

    my $process = $self->{process};

    CORE::kill KILL => $process->{pid};
    wait_until(10, sub { !PrdTest::alive($process) });

    # not a process that died by itself
    @{ $self->{t}{processes} } =
        grep { $_ != $process } @{ $self->{t}{processes} };
}


sub stop {
    my ($self) = @_;

    $self->{t}->stop_process($self->{process});
}


# redis-cli with these arguments; the password, if any, is in the environment

sub cli {
    my ($self, @args) = @_;

    my @tls;

    if (my $tls = $self->{tls}) {
        @tls = ('--tls', '--cacert', "$tls->{dir}/ca.crt",
                '--cert', "$tls->{dir}/client.crt",
                '--key', "$tls->{dir}/client.key");
    }

    local $ENV{REDISCLI_AUTH} = $self->{password} if $self->{password};

    # not $t->run(), which is of one process

    open my $fh, '-|', PrdTest::which('redis-cli') || 'redis-cli', '-h',
        '127.0.0.1', '-p', $self->{port}, @tls, @args
        or die "redis-cli: $!\n";

    local $/;
    my $out = <$fh> // '';

    close $fh;
    $out =~ s/\n\z//;          # not chomp: $/ is undefined

    return $out;
}


# INFO as a hash

sub info {
    my ($self, @sections) = @_;

    my %info = $self->cli('info', @sections) =~ /^(\w+):(.*?)\r?$/mg;

    return \%info;
}


# Certificates: an authority, a server's for localhost, redis.test and
# 127.0.0.1, a client's; and another authority that has signed none of them.

sub tls {
    my ($class, $t, %opt) = @_;

    my $dir = $t->dir . '/tls';

    if (!-e "$dir/client.crt") {
        mkdir $dir;

        my $ssl = sub {
            my ($exit, $out) = $t->run('openssl', @_);
            die "openssl @_: $out\n" if $exit;
        };

        my @key = qw(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes);

        for my $ca (qw(ca other)) {
            $ssl->('req', '-x509', @key, '-keyout', "$dir/$ca.key", '-out',
                   "$dir/$ca.crt", '-days', 2, '-subj', "/CN=test $ca");
        }

        for my $name (qw(server client)) {
            spew("$dir/$name.ext", "subjectAltName=DNS:localhost,"
                                   . "DNS:redis.test,IP:127.0.0.1\n");

            $ssl->('req', @key, '-keyout', "$dir/$name.key", '-out',
                   "$dir/$name.csr", '-subj', "/CN=$name");
            $ssl->('x509', '-req', '-in', "$dir/$name.csr", '-CA',
                   "$dir/ca.crt", '-CAkey', "$dir/ca.key",
                   '-CAcreateserial', '-days', 2, '-extfile',
                   "$dir/$name.ext", '-out', "$dir/$name.crt");
        }
    }

    return { dir => $dir, %opt };
}


# A cluster on ports N.. : MASTERS with a replica each (replicas => 0: none).
# Returns its servers, the masters first.

sub cluster {
    my ($class, $t, $n, %opt) = @_;

    my $masters = $opt{masters} || 3;
    my $replicas = $opt{replicas} // 1;
    my $all = $masters * (1 + $replicas);
    my $timeout = int(1500 * $PrdTest::SLOW);

    my @nodes = map {
        my $i = $_;

        $class->new($t, $n + 2 * $i, tls => $opt{tls}, args => [
            '--cluster-enabled', 'yes', '--cluster-node-timeout', $timeout,
            '--cluster-config-file', 'nodes.conf',
            '--cluster-port', $t->port($n + 2 * $i + 1),
            '--cluster-replica-validity-factor', 0,
            @{ $opt{args} || [] } ]);
    } 0 .. $all - 1;

    my $from = 0;

    for my $i (0 .. $all - 1) {
        $nodes[$i]->cli('cluster', 'set-config-epoch', $i + 1);

        if ($i < $masters) {
            my $to = int(16384 * ($i + 1) / $masters) - 1;

            $nodes[$i]->cli('cluster', 'addslotsrange', $from, $to);
            $from = $to + 1;
        }

        $nodes[$i]{id} = $nodes[$i]->cli('cluster', 'myid');

        if ($i) {
            $nodes[$i]->cli('cluster', 'meet', '127.0.0.1', $nodes[0]->port,
                            $t->port($n + 1));
        }
    }

    my $whole = sub {
        my ($i) = @_;
        my $info = $nodes[$i]->cli('cluster', 'info');

        return $info =~ /cluster_state:ok/
               && $info =~ /cluster_known_nodes:$all\b/
               && $info =~ /cluster_size:$masters\b/;
    };

    for my $i (0 .. $all - 1) {
        wait_until(20, sub { $whole->($i) })
            or die "no cluster:\n" . $nodes[$i]->cli('cluster', 'info');
    }

    for my $i ($masters .. $all - 1) {
        my $master = $nodes[$i % $masters];

        wait_until(10, sub {
            $nodes[$i]->cli('cluster', 'replicate', $master->{id}) eq 'OK'
        }) or die "no replica\n";
    }

    for my $i ($masters .. $all - 1) {
        wait_until(20, sub {
            ($nodes[$i]->info('replication')->{master_link_status} || '')
                eq 'up'
        }) or die "a replica does not follow\n";
    }

    return @nodes;
}


# Moves a slot from one master to another.  `half` leaves it in between: keys
# that are not there any more draw ASK.

sub move_slot {
    my ($from, $to, $slot, %opt) = @_;

    $to->cli('cluster', 'setslot', $slot, 'importing', $from->{id});
    $from->cli('cluster', 'setslot', $slot, 'migrating', $to->{id});

    my @keys = split /\n/, $from->cli('cluster', 'getkeysinslot', $slot, 1000);

    if (@keys) {
        $from->cli('migrate', '127.0.0.1', $to->port, '', 0, 5000, 'keys',
                   @keys);
    }

    return if $opt{half};

    for my $node ($to, $from) {
        $node->cli('cluster', 'setslot', $slot, 'node', $to->{id});
    }
}


# A master, a replica of it, and COUNT sentinels that know it as NAME.
# Returns { master, replica, sentinels }.

sub sentinel {
    my ($class, $t, $n, %opt) = @_;

    my $name = $opt{name} || 'mymaster';
    my $count = $opt{count} || 3;
    my $master = $class->new($t, $n, args => $opt{args});
    my $replica = $class->new($t, $n + 1, args => [
        '--replicaof', '127.0.0.1', $master->port, @{ $opt{args} || [] } ]);

    $_->{password} = $opt{password} for $master, $replica;

    wait_until(10, sub {
        ($replica->info('replication')->{master_link_status} || '') eq 'up'
    }) or die "the replica does not follow\n";

    my @sentinels;

    for my $i (0 .. $count - 1) {
        my $port = $t->port($n + 2 + $i);
        my $dir = $t->dir . "/redis-$port";
        my $down = int(500 * $PrdTest::SLOW);

        mkdir $dir;

        spew("$dir/sentinel.conf", join "\n",
             "sentinel monitor $name 127.0.0.1 " . $master->port . ' '
             . (int($count / 2) + 1),
             "sentinel down-after-milliseconds $name $down",
             "sentinel failover-timeout $name 5000",
             ($opt{password} ? "sentinel auth-pass $name $opt{password}" : ()),
             ($opt{sentinel_password}
              ? "requirepass $opt{sentinel_password}" : ()), '');

        push @sentinels, $class->new($t, $n + 2 + $i, what => 'sentinel');
        $sentinels[-1]{password} = $opt{sentinel_password};
    }

    # they find each other through the master
    for my $s (@sentinels) {
        wait_until(20, sub {
            my $info = $s->cli('sentinel', 'master', $name);

            return $info =~ /num-other-sentinels\n(\d+)/ && $1 == $count - 1
                   && $info =~ /num-slaves\n1/;
        }) or die "sentinels do not find each other\n";
    }

    return { master => $master, replica => $replica,
             sentinels => \@sentinels };
}


# COUNT sentinels on port(N) and so on that say what they are told.  Returns the
# function that tells one, by its number, which server to name from now on:
# undef for none, or "port,address".  At first they name nobody.

sub puppets {
    my ($class, $t, $n, $count) = @_;

    my $say = sub {
        my ($i, $redis) = @_;

        my $file = $t->dir . "/names-$i";

        spew("$file.new", ref $redis ? $redis->port : $redis // '');
        rename "$file.new", $file or die "$file: $!\n";
    };

    for my $i (0 .. $count - 1) {
        $say->($i);

        $class->fault($t, $n + $i, sub {
            my ($words) = @_;

            return "+PONG\r\n" if uc $words->[0] eq 'PING';
            return "-ERR what?\r\n" if uc $words->[0] ne 'SENTINEL';

            my ($port, $host) = split /,/, slurp($t->dir . "/names-$i");

            return "*-1\r\n" if !defined $port;

            $host //= '127.0.0.1';

            return "*2\r\n\$" . length($host) . "\r\n$host\r\n\$"
                   . length($port) . "\r\n$port\r\n";
        });
    }

    return $say;
}


# A server of one's own on port(N).  CODE is called with each command (an
# array of its words) and what is left of the connection's state (a hash), and
# returns bytes to send; undef closes the connection, after what { bytes } of
# the hash has.  `greeting` is sent unasked.

sub fault {
    my ($class, $t, $n, $code, %opt) = @_;

    my $port = $t->port($n);

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Listen => 50, ReuseAddr => 1)
        or die "listen on $port: $!\n";

    my $process = $t->fork_process('fault', sub {
        my %clients;
        my $select = IO::Select->new($listen);

        $SIG{PIPE} = 'IGNORE';

        while (1) {
            for my $fh ($select->can_read(1)) {
                if ($fh == $listen) {
                    my $c = $listen->accept or next;

                    setsockopt $c, IPPROTO_TCP, TCP_NODELAY, 1;
                    $clients{$c} = { in => '' };
                    $select->add($c);
                    syswrite $c, $opt{greeting} if defined $opt{greeting};
                    next;
                }

                my $state = $clients{$fh};
                my $got = sysread $fh, $state->{in}, 65536,
                                  length $state->{in};
                my $open = $got;

                while ($open && (my $words = command(\$state->{in}))) {
                    my $out = $code->($words, $state);

                    if (!defined $out) {
                        $out = delete $state->{bytes} // '';
                        $open = 0;
                    }

                    while (length $out) {
                        my $sent = syswrite $fh, $out;
                        last if !$sent;
                        substr $out, 0, $sent, '';
                    }
                }

                if (!$open) {
                    $select->remove($fh);
                    delete $clients{$fh};
                    close $fh;
                }
            }
        }
    });

    close $listen;

    return bless { t => $t, port => $port, process => $process }, $class;
}


# Takes a command off the front of a buffer, undef if it is not all there.

sub command {
    my ($buffer) = @_;

    my @words;

    pos($$buffer) = 0;
    $$buffer =~ /\G\*(\d+)\r\n/gc or return undef;

    for (1 .. $1) {
        $$buffer =~ /\G\$(\d+)\r\n/gc or return undef;

        my $at = pos $$buffer;

        return undef if length $$buffer < $at + $1 + 2;

        push @words, substr $$buffer, $at, $1;
        pos($$buffer) = $at + $1 + 2;
    }

    substr $$buffer, 0, pos $$buffer, '';

    return \@words;
}


# The answer of location { prdtest_redis ...; } as a hash.

sub ask {
    my ($t, $location, %args) = @_;

    my $query = join '&', map {
        my $v = $args{$_};

        $v =~ s/([^A-Za-z0-9_.,-])/sprintf '%%%02X', ord $1/ge;
        "$_=$v";
    } sort keys %args;

    my $r = $t->request('GET', "$location?$query", timeout => 30);

    my %r = ($r->{body} // '') =~ /(\w+)=([^; \n]*)/g;
    ($r{text}) = ($r->{body} // '') =~ /; text=(.*)/;
    ($r{first}) = ($r->{body} // '') =~ / first=(.*?); text=/s;

    return { status => $r->{status}, %r };
}


# ... and a store in /status.

sub status {
    my ($t, $name) = @_;

    my $status = $t->json('/api/status');

    return ref $status ? $status->{stores}{$name || 'shared'} : undef;
}


package PrdRedis::Client;

# A connection that says what a test wants and waits for the reply:
#
#     my $client = PrdRedis->new($t, 1)->connect;
#     $client->call('SET', 'a', 1);

use strict;
use warnings;

use parent -norequire, 'IO::Socket::INET';


# The reply is a scalar, or a reference to an array; undef for nil, and for an
# error of the server a reference to its text.

sub call {
    my ($self, @words) = @_;

    print $self join '', '*', scalar @words, "\r\n",
        map { ('$', length, "\r\n", $_, "\r\n") } @words;
    $self->flush;

    return reply($self);
}


sub reply {
    my ($self) = @_;

    my $line = <$self>;

    defined $line or die "Redis is gone\n";
    $line =~ s/\r\n$//;

    my $type = substr $line, 0, 1, '';

    return $line if $type eq '+' || $type eq ':';
    return \$line if $type eq '-';
    return undef if $line < 0;
    return [map { reply($self) } 1 .. $line] if $type eq '*';

    read $self, my $data, $line + 2;

    return substr $data, 0, $line;
}


1;
