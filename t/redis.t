# A store's connection to one Redis: what is asked is answered, once and in
# order, whatever the server does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep time);


my $t = PrdTest->new;
my $redis = PrdRedis->new($t, 1);
my $secret = PrdRedis::secret_file($t, 'secret');
my $module = PrdRedis::module();

my $timeout = 100 * $PrdTest::SLOW;

sub conf {
    my (%stores) = @_;

    my $stores = join "\n", map {
        "predictive_store $_ { server 127.0.0.1:" . $t->port(1)
        . "; secret file:$secret; timeout ${timeout}ms; $stores{$_} }"
    } sort keys %stores;

    my $locations = join "\n", map {
        "location = /$_ { prdtest_redis $_; }"
    } sort keys %stores;

    return <<"END";
load_module $module;
events { worker_connections 1024; }

$stores

server {
    listen 127.0.0.1:%%PORT%%;
    location /api { predictive_api; }
    location = /slow { return 200 "ok\\n"; }
    $locations
}
END
}

# server is given again where it is another: see below
$t->conf(conf(shared => '', second => 'database 3; prefix two;'))->start;

sub ask    { PrdRedis::ask($t, '/shared', @_) }
sub status { PrdRedis::status($t, $_[0]) }
sub up     { my ($name) = @_;
             wait_until(10, sub { (status($name) || {})->{up} }) }
sub down   { my ($name) = @_;
             wait_until(10, sub { !status($name)->{up} }) }


# /status and /metrics

ok(up(), 'up without a request');

my $s = status();

is($s->{mode}, 'single', 'mode');
is($s->{workers}, 1, 'workers');
is($s->{workers_up}, 1, 'workers that are answered');
is(scalar @{ $s->{servers} }, 1, 'servers');
is($s->{servers}[0]{state}, 'ready', 'state');
is($s->{servers}[0]{breaker}, 'closed', 'breaker');
is($s->{servers}[0]{role}, 'master', 'role');
is($s->{servers}[0]{server}, $redis->addr, 'address');
cmp_ok($s->{latency_ms}, '>', 0, 'latency');

my $metrics = $t->get('/api/metrics')->{body};
my ($exit, $out) = $t->promtool($metrics);

is($exit, 0, 'promtool likes the metrics') or diag($out);
like($metrics, qr/^nginx_predictive_store_up\{store="shared"\} 1$/m,
     'one of them');
like($metrics, qr/^nginx_predictive_store_up\{store="second"\} 1$/m,
     'and of another store');


# commands and scripts

my $r = ask(command => 'SET,a,1');

is($r->{ok}, 1, 'a command');
is($r->{first}, 'OK', 'its reply');
is($r->{early}, 0, 'the handler is not called from inside the call');
is($redis->cli('get', 'a'), '1', 'it was executed');

$r = ask(command => 'SET,empty,');
is($r->{ok}, 1, 'an empty word');

$r = ask(command => "SET,b%0d%0a,1");
is($redis->cli('exists', "b%0d%0a"), '1', 'a word of any bytes');

my $incr = q{return redis.call('INCRBY', KEYS[1], ARGV[1])};

$r = ask(script => $incr, keys => 'n', args => 2);
is($r->{first}, 2, 'a script that the server does not know');
is($r->{error}, 0, 'nobody is told NOSCRIPT');

$r = ask(script => $incr, keys => 'n', args => 2);
is($r->{first}, 4, 'and one that it knows');

$redis->cli('script', 'flush');
$redis->cli('config', 'resetstat');

$r = ask(script => $incr, keys => 'many', args => 1, n => 300);
is($r->{ok}, 300, 'many at once that the server does not know');
is($r->{first}, 1, 'in order');
is($redis->cli('get', 'many'), 300, 'each executed once');

my $stats = $redis->cli('info', 'commandstats');

like($stats, qr/cmdstat_eval:calls=1,/, 'its body was sent once');
like($stats, qr/cmdstat_evalsha:calls=599,.*failed_calls=300/,
     'and its name else');

$r = ask(command => 'PING', n => 4000);
is($r->{ok}, 4000, 'as many as may be under way');

$r = ask(command => 'PING', n => 6000);
is($r->{ok} + $r->{down}, 6000, 'more than that');
cmp_ok($r->{down}, '>=', 1900, 'fail at once');
is($r->{early}, 0, 'but not from inside the call');

$r = ask(command => 'ECHO,' . 'x' x 4000, n => 1500);
cmp_ok($r->{down}, '>', 300, 'too many bytes fail, too');

$r = ask(command => 'PING', again => 1);
is($r->{calls}, 2, 'a call from within a handler');
is($r->{ok}, 2, 'both are answered');

$r = ask(command => 'INCR,c', n => 10, cancel => 1);
is($r->{ok}, 5, 'cancelled calls are not answered');
ok(wait_until(5, sub { $redis->cli('get', 'c') == 5 }),
   'and not executed, as they were not written');


# errors

my $before = status()->{errors};

$r = ask(command => 'NOSUCHCOMMAND,x');
is($r->{error}, 1, 'an error');
like($r->{text}, qr/^ERR unknown command/, 'its text');
is(status()->{errors}, $before + 1, 'counted');
ok(status()->{up}, 'still up');

ask(command => 'NOSUCHCOMMAND,topsecretword') for 1 .. 3;
is(scalar $t->log_lines(qr/server \S+ says "ERR unknown command/), 1,
   'logged once');
unlike($t->error_log, qr/\[error\].*topsecretword/, 'without its arguments');

$redis->cli('set', 'string', 'x');
$r = ask(command => 'LPUSH,string,x');
like($r->{text}, qr/^WRONGTYPE/, 'another error');
ok($t->wait_for_log(qr/says "WRONGTYPE/), 'logged, as it is another');

# it is given up for less than 50 ms: a busy machine may need some attempts

my ($down, $breaker);

for (1 .. 20) {
    $r = ask(script => 'return redis.error_reply("OOM of a script")',
             keys => 'x');
    is($r->{error}, 1, 'a server that is of no use');

    $down = ask(command => 'PING')->{down};
    ok(up(), 'it is tried again after a while');
    $breaker = status()->{servers}[0]{breaker};

    last if $down && $breaker eq 'half_open';
}

is($down, 1, 'calls fail at once');
is($breaker, 'half_open', 'breaker half open');
$r = ask(command => 'PING');
is($r->{ok}, 1, 'and when it is of use again');
is(status()->{servers}[0]{breaker}, 'closed', 'the breaker is closed');


# another database

$r = PrdRedis::ask($t, '/second', command => 'SET,in3,1');
is($r->{ok}, 1, 'another store');
is($redis->cli('-n', 3, 'get', 'in3'), '1', 'another database');
is($redis->cli('get', 'in3'), '', 'and not in the first');


# a server that sleeps: a reply too late is not somebody else's

$redis->freeze;

my $began = time;

$r = ask(command => 'ECHO,late', timeout => 20 * $PrdTest::SLOW, n => 3);
is($r->{timeout}, 3, 'no reply in time');
cmp_ok(time - $began, '<', 2 * $PrdTest::SLOW, 'soon');

# before the store is given up
$redis->thaw;

ok(up(), 'up again');
$r = ask(command => 'ECHO,mine');
is($r->{first}, 'mine', 'replies do not shift');

$redis->freeze;

my $conn = $t->connect;

$conn->send($conn->format('GET', '/shared?command=ECHO,late&late=1&timeout='
                                 . 20 * $PrdTest::SLOW . '&n=3'));
sleep 0.1 * $PrdTest::SLOW;
$redis->thaw;
like($conn->response->{body}, qr/timeout=3 .*late_ok=3 /,
     'late replies reach those who want them');

ok(up(), 'up again');

$redis->cli('script', 'flush');
$before = status()->{errors};
$redis->freeze;

$r = ask(script => $incr, keys => 'n', args => 2,
         timeout => 20 * $PrdTest::SLOW);
is($r->{timeout}, 1, 'a script that it has forgotten, too late');
$redis->thaw;

ok(up(), 'up again');
is($redis->cli('get', 'n'), 4, 'it was not executed');
is(status()->{errors}, $before, 'that is no error');
unlike($t->error_log, qr/NOSCRIPT/, 'and nothing is said');

# else a server that is always too late would never be told

$redis->cli('config', 'resetstat');
$r = ask(script => $incr, keys => 'n', args => 2);
is($r->{first}, 6, 'the next call');
like($redis->cli('info', 'commandstats'), qr/cmdstat_eval:calls=1,/,
     'brings the script');
unlike($redis->cli('info', 'commandstats'), qr/cmdstat_evalsha/, 'at once');
$redis->freeze;

$conn->send($conn->format('GET', '/shared?command=PING&late=1&timeout=20'));
like($conn->response('GET', 15)->{body}, qr/timeout=1 .*late_lost=1 /,
     'or it is said that they will not come');
ok(down(), 'given up while it is frozen');
$r = ask(command => 'PING');
is($r->{down}, 1, 'calls fail at once');
is(status()->{servers}[0]{breaker}, 'open', 'breaker open');
$redis->thaw;
$began = time;
ok(up(), 'up again');
cmp_ok(time - $began, '<', 0.5 * $PrdTest::SLOW, 'soon');


# a server that is gone

$redis->kill;
ok(down(), 'down when it is killed');
$r = ask(command => 'PING', up => 1);
is($r->{status}, 503, 'and says so');
$redis->restart;
ok(up(), 'up when it is back');
$r = ask(script => $incr, keys => 'n', args => 2, timeout => 5000);
is($r->{first}, 2, 'which knows no script') or diag(explain($r));

$redis->freeze;
$conn->send($conn->format('GET', '/shared?command=PING&n=10&timeout=20000'));
wait_until(5, sub { status()->{servers}[0]{outstanding} >= 10 });
$redis->kill;
like($conn->response->{body}, qr/ lost=10 /, 'calls under way are lost');
$redis->restart;
ok(up(), 'up again');


# a client list that shows one connection per worker and store, and none
# after a reload more

sub clients { scalar(() = $redis->cli('client', 'list') =~ /^id=/mg) - 1 }

ok(wait_until(10, sub { clients() == 2 }), 'a connection per store');
$t->reload;
ok(up(), 'up after a reload');
ok(wait_until(10, sub { clients() == 2 }), 'and no other connections');
cmp_ok(status()->{commands}, '>', 1000, 'counters live on');


# a reload while it is frozen, or gone, is not held up

$redis->freeze;
$t->reload;
$redis->thaw;
ok(up(), 'reloaded while it was frozen');
$redis->kill;
$t->reload;
$redis->restart;
ok(up(), 'reloaded while it was gone');


# a worker that is killed

my ($pid) = $t->worker_pids;

$t->allow_log(qr/exited on signal 9/);
kill KILL => $pid;
ok(wait_until(10, sub { my ($p) = $t->worker_pids; $p && $p != $pid }),
   'another worker');
ok(up(), 'and it is up there');
is(status()->{workers}, 1, 'the killed one is not counted');

done_testing();
