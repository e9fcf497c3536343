# demo/run with STORE=redis: two gateways and their Redis, and nothing stays
# behind.  The demo itself is in demo.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(wait_until slurp);
use Test::More;
use Time::HiRes qw(time);


my $t = PrdTest->new;
my $dir = $t->dir . '/demo';
my $root = $PrdTest::ROOT;

$ENV{DEMO_DIR} = $dir;
$ENV{DEMO_DAYS} = 1;
$ENV{DEMO_PORT} = $t->port(0);
$ENV{STORE} = 'redis';
$ENV{PRD_MODULE} ||= "$root/build/ngx_http_predictive_module.so";
$ENV{PRD_REPLAY} ||= "$root/build/predictive-replay";

my $pid = $$;

END {
    if ($$ == $pid && -d $dir) {
        my $status = $?;
        my ($exit, $out) = $t->run("$root/demo/stop");

        diag($out) if $exit;

        if (!Test::More->builder->is_passing) {
            diag(slurp($_)) for grep { -f } map { "$dir/$_" }
                qw(error.log second.log redis.log);
        }

        $? = $status;
    }
}


# All processes that name our directory, or are in it, but this one.

sub processes {
    return grep {
        my $line = eval { slurp("/proc/$_/cmdline") } || '';

        $line =~ /\Q$dir\E/ || (eval { readlink "/proc/$_/cwd" } || '')
                               =~ /^\Q$dir\E/
    } map { m{/proc/(\d+)$} } glob '/proc/[0-9]*';
}


{
    local $ENV{STORE} = 'sqlite';
    my ($exit, $out) = $t->run("$root/demo/run");

    isnt($exit, 0, 'another store');
    like($out, qr/STORE=sqlite is not known; STORE=redis is/, 'is refused');
}

my $bystander = PrdTest->new->redis(1);      # on a port of its own

my ($exit, $out) = $t->run("$root/demo/run");

is($exit, 0, 'demo/run') or diag $out;

if ($exit) {
    done_testing();
    exit 1;
}

my ($first, $second, $redis) = map { slurp("$dir/$_") + 0 }
    qw(port second.port redis.port);

isnt($first, $second, 'two ports');
like($out, qr{http://127\.0\.0\.1:$_/shared/$}m, "says where to ask")
    for $first, $second;
like($out, qr/Redis on port $redis\b/, 'and where Redis is');

is((stat "$dir/$_")[2] & 07777, 0600, "$_ is nobody else's business")
    for qw(secret redis/password redis/redis.conf);

for my $port ($first, $second) {
    my $store;

    ok(wait_until(20, sub {
        $store = $t->json('/predictive/status', port => $port)
                 ->{stores}{main};

        $store->{workers_up} == 2
    }), 'Redis answers') or diag explain $store;
}


# One limit: what was told to do with curl, which is not of this test.

sub ask {
    my ($n, $port, $key) = @_;

    return scalar grep {
        $t->request(GET => '/shared/', port => $port,
                    headers => { 'X-API-Key' => $key })->{status} == 200
    } 1 .. $n;
}

my $start = time;
my ($n, $m) = (ask(30, $first, 'me'), ask(30, $second, 'me'));

cmp_ok($n, '>=', 21, 'a client has its burst');
cmp_ok($n + $m, '<=', 22 + 2 * (time - $start),
       'and at the second gateway no other one');
cmp_ok(ask(5, $second, 'other'), '==', 5, 'another client');


# again: it says so; another variant is started anew

($exit, $out) = $t->run("$root/demo/run");
like($out, qr/already runs/, 'it runs already');

# Redis goes: still everybody is answered

my ($gone) = split ' ', slurp("$dir/redis.pid");

kill 'TERM', $gone;
ok(wait_until(10, sub { !PrdTest::listens($redis) }), 'without Redis');
cmp_ok(ask(5, $first, 'third'), '==', 5, 'requests pass all the same');

($exit, $out) = $t->run("$root/demo/run");
is($exit, 0, 'demo/run');
like($out, qr/started anew/, 'makes it whole again');
ok(PrdTest::listens(slurp("$dir/redis.port") + 0), 'with a Redis');


# stops what it started and nothing else

($exit, $out) = $t->run("$root/demo/stop");

is($exit, 0, 'demo/stop');
is($out, "Stopped: traffic nginx second redis backend\n",
   'says what it stopped');
ok(wait_until(5, sub { !processes() }), 'nothing is left')
    or diag explain [processes()];
ok(!PrdTest::listens($_), 'nobody listens any more')
    for $first, $second, $redis;
ok(PrdTest::alive($bystander), 'a Redis that is not ours is left alone');

done_testing();
