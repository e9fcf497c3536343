# What is on the wire is not trusted: whatever a server sends, its connection
# is closed, a line is logged, and nothing else happens.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep time);


my $t = PrdTest->new;
my $secret = PrdRedis::secret_file($t, 'secret');
my $module = PrdRedis::module();

# answers as Redis does until it is asked to FAULT, then with these bytes

sub server {
    my ($bytes, %opt) = @_;

    return sub {
        my ($words, $state) = @_;

        return "+PONG\r\n" if uc $words->[0] eq 'PING';
        return "+OK\r\n" if uc $words->[0] ne 'FAULT';

        if ($opt{close}) {
            $state->{bytes} = $bytes;
            return undef;
        }

        return $bytes;
    };
}

my $lot = '*3' . "\r\n";

my %faults = (

    # name => [bytes, what is logged, what the call gets, close]

    http     => ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
                 qr/sends what is no reply/, 'lost'],
    garbage  => [join('', map { chr(($_ * 37 + 1) % 256) } 1 .. 5000),
                 qr/sends what is no reply/, 'lost'],
    zeros    => ["\0" x 100, qr/sends what is no reply/, 'lost'],
    badint   => [":12x\r\n", qr/sends what is no reply/, 'lost'],
    badlen   => ["\$-2\r\n", qr/sends what is no reply/, 'lost'],
    array    => ["*2000000000\r\n", qr/sends what is no reply/, 'lost'],
    arrays   => ["*200000\r\n" x 3, qr/sends what is no reply/, 'lost'],
    deep     => ["*1\r\n" x 1000, qr/sends what is no reply/, 'lost'],
    negative => ["*-7\r\n", qr/sends what is no reply/, 'lost'],
    unasked  => ["+OK\r\n+OK\r\n", qr/sends a reply that nobody asked for/,
                 'ok'],
    closed   => ['', qr/has closed the connection/, 'lost', 1],
    half     => ["\$10\r\nabc", qr/has closed the connection/, 'lost', 1],
    halfline => ['+O', qr/has closed the connection/, 'lost', 1],
    endless  => ['+' . 'x' x 3_000_000, qr/sends too long a reply/, 'lost'],
    long     => ["\$3000000\r\n" . 'x' x 3_000_000,
                 qr/sends too long a reply/, 'lost'],
    many     => ["*9000\r\n" . ("\$1000\r\n" . 'x' x 1000 . "\r\n") x 9000,
                 qr/sends what is no reply/, 'lost'],
    huge     => ["\$2000000000\r\nabc", qr/does not answer/, 'timeout'],
    max      => ["\$9223372036854775807\r\nabc", undef, 'lost|timeout'],
    silent   => ['', qr/does not answer/, 'timeout'],
    error    => ["-ERR \x01\xff" . 'secret' x 50 . "\r\n", qr/says "ERR/,
                 'error'],
    empty    => ["-\r\n", undef, 'error'],
    moved    => ["-MOVED 1 127.0.0.1:1\r\n", qr/says "MOVED/, 'error'],
    nested   => ["*2\r\n-ERR x\r\n*1\r\n:1\r\n", undef, 'ok'],
    nil      => ["\$-1\r\n", undef, 'ok'],
    nilarray => ["*-1\r\n", undef, 'ok'],
);

my ($blocks, $locations) = ('', '');
my $port = 1;
my %ports;

for my $name (sort keys %faults) {
    my ($bytes, $what, $status, $close) = @{ $faults{$name} };

    $ports{$name} = $port;
    PrdRedis->fault($t, $port, server($bytes, close => $close));

    $blocks .= "predictive_store $name { server 127.0.0.1:"
               . $t->port($port++) . "; secret file:$secret; "
               . 'timeout ' . 150 * $PrdTest::SLOW . "ms; }\n";
    $locations .= "location = /$name { prdtest_redis $name; }\n";
}

# those that are bad from the beginning

my %greetings = (
    full   => "-ERR max number of clients reached\r\n",
    ssh    => "SSH-2.0-OpenSSH_9.2p1\r\n",
    pong   => "+PONG\r\n+PONG\r\n",
);

for my $name (sort keys %greetings) {
    PrdRedis->fault($t, $port, sub { undef }, greeting => $greetings{$name});

    $blocks .= "predictive_store $name { server 127.0.0.1:"
               . $t->port($port++) . "; secret file:$secret; }\n";
    $locations .= "location = /$name { prdtest_redis $name; }\n";
}

# one that reads its file for a while

my $loaded = $t->dir . '/loaded';

PrdRedis->fault($t, $port, sub {
    my ($words) = @_;

    return -e $loaded ? "+PONG\r\n" : "-LOADING dataset in memory\r\n";
});

$blocks .= "predictive_store loading { server 127.0.0.1:" . $t->port($port++)
           . "; secret file:$secret; }\n";
$locations .= "location = /loading { prdtest_redis loading; }\n";

# a cluster that says nonsense, and one that sends everybody in a circle

my $self = '127.0.0.1:' . $t->port($port);
my ($host, $n) = split /:/, $self;

PrdRedis->fault($t, $port++, sub {
    my ($words) = @_;

    return "+PONG\r\n" if uc $words->[0] eq 'PING';

    if (uc $words->[0] eq 'CLUSTER') {
        return "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n\$9\r\n$host\r\n:$n\r\n";
    }

    return "+OK\r\n" if @$words < 2;                          # ASKING
    return "-MOVED 5 $self\r\n" if $words->[1] eq 'moved';
    return "-ASK 5 $self\r\n" if $words->[1] eq 'ask';
    return "-TRYAGAIN later\r\n" if $words->[1] eq 'tryagain';
    return "-MOVED $words->[2]\r\n" if $words->[1] eq 'bad';
    return "+OK\r\n";
});

PrdRedis->fault($t, $port, sub {
    my ($words) = @_;

    return "+PONG\r\n" if uc $words->[0] eq 'PING';
    return "*5\r\n*3\r\n:-1\r\n:5\r\n*2\r\n\$1\r\nx\r\n:1\r\n" # slots
           . "*3\r\n:0\r\n:16384\r\n*2\r\n\$1\r\nx\r\n:1\r\n"
           . "*3\r\n:5\r\n:4\r\n*2\r\n\$1\r\nx\r\n:1\r\n"
           . "*3\r\n:0\r\n:5\r\n*2\r\n\$1\r\nx\r\n:0\r\n"      # port
           . "*3\r\n:0\r\n:5\r\n:7\r\n";                        # no node
});

$blocks .= "predictive_store circle { mode cluster; server $self; "
           . "secret file:$secret; }\n"
           . 'predictive_store nonsense { mode cluster; server 127.0.0.1:'
           . $t->port($port++) . "; secret file:$secret; }\n";
$locations .= "location = /circle { prdtest_redis circle; }\n"
              . "location = /nonsense { prdtest_redis nonsense; }\n";

$t->conf(<<"END")->start;
load_module $module;
events { worker_connections 1024; }

$blocks

server {
    listen 127.0.0.1:%%PORT%%;
    location /api { predictive_api; }
    $locations
}
END

my ($worker) = $t->worker_pids;

for my $name (sort keys %faults) {
    my ($bytes, $what, $status, $close) = @{ $faults{$name} };

    ok(wait_until(15, sub { PrdRedis::status($t, $name)->{up} }),
       "$name: up at first");

    my $r = PrdRedis::ask($t, "/$name", command => 'FAULT',
                          timeout => 500 * $PrdTest::SLOW);

    like(join(' ', grep { $r->{$_} } qw(ok error timeout lost down)),
         qr/^(?:$status)$/, "$name: the caller is told")
        or diag(explain($r));

    if ($what) {
        ok($t->wait_for_log(qr/"$name": server \S+ $what/, timeout => 10),
           "$name: logged") or diag(join "\n", $t->log_lines(qr/"$name"/));
    }

    # which is closed and opened anew
    ok(wait_until(15, sub { PrdRedis::status($t, $name)->{up} }),
       "$name: up again");

    $r = PrdRedis::ask($t, "/$name", command => 'SET,a,1');

    if ($r->{ok}) {
        is($r->{first}, 'OK', "$name: replies fit");
    }
}

for my $name (sort keys %greetings) {
    ok($t->wait_for_log(qr/"$name": server \S+ (?:sends|has|refuses)/,
                        timeout => 10), "$name: logged");
    is(PrdRedis::ask($t, "/$name", command => 'PING')->{ok}, 0,
       "$name: no reply");
}

like($t->error_log, qr/"full".*max number of clients/, 'its text');
is(scalar $t->log_lines(qr/"pong": server \S+ answers again/), 0,
   'pong: a PING is no sign that all is well');


# its connection is kept, and it is asked again and again

ok($t->wait_for_log(qr/"loading": server \S+ is of no use: "LOADING/),
   'loading: logged');
is(PrdRedis::ask($t, '/loading', command => 'PING')->{down}, 1,
   'loading: calls fail at once');
PrdTest::spew($loaded, '');

my $start = time;

ok(wait_until(5, sub { PrdRedis::status($t, 'loading')->{up} }),
   'loaded: up');
cmp_ok(time - $start, '<', 0.2 + 0.3 * $PrdTest::SLOW, 'loaded: soon');
is(PrdRedis::ask($t, '/loading', command => 'PING')->{ok}, 1,
   'loaded: calls are answered');
is(PrdRedis::status($t, 'loading')->{connects}, 1,
   'loaded: by the same connection');


# the cluster

sub circle { PrdRedis::ask($t, '/circle', timeout => 500, key => 1, @_) }

ok(wait_until(15, sub { PrdRedis::status($t, 'circle')->{up} }),
   'circle: up') or diag(explain(PrdRedis::status($t, 'circle')));

my $r = circle(command => 'GET,x');
is($r->{ok}, 1, 'circle: a command') or diag(explain($r));

for my $word (qw(moved ask tryagain)) {
    $r = circle(command => "GET,$word", n => 20);
    is($r->{error}, 20, "$word for ever ends");
}

for my $bad ('', ' ', '1', '16384 127.0.0.1:1', '-1 127.0.0.1:1',
             '1 127.0.0.1', '1 127.0.0.1:', '1 127.0.0.1:0',
             '1 127.0.0.1:65536', '1 127.0.0.1:x', 'x y:1',
             '1 ' . 'x' x 300 . ':1')
{
    $r = circle(command => "GET,bad,$bad");
    is($r->{error}, 1, "MOVED $bad");
}

ok(PrdRedis::status($t, 'circle')->{up}, 'circle: up');
ok($t->wait_for_log(qr/"nonsense": server \S+ knows no hash slots/,
                    timeout => 10), 'a map of nonsense');
$r = PrdRedis::ask($t, '/nonsense', command => 'GET,x', key => 1);
is($r->{down}, 1, 'nothing is sent by it');

is(($t->worker_pids)[0], $worker, 'the worker is the same');

# its memory: nothing of all that was kept

my ($rss) = PrdTest::slurp("/proc/$worker/status") =~ /VmRSS:\s+(\d+)/;
cmp_ok($rss, '<', 100_000 * ($ENV{PRD_SANITIZE} ? 20 : 1), 'its memory');
diag("VmRSS $rss kB") if $ENV{PRD_DEBUG};

# each was said once or so, not at each attempt

my @lines = $t->log_lines(qr/\[(?:error|crit)\]/);

cmp_ok(scalar @lines, '<', 4 * (keys(%faults) + keys(%greetings)),
       'few lines');

done_testing();
