# Sentinels that do not agree: one that was cut off, or lies, moves nobody off
# a master that serves; what most of them say is followed at once.

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
my $slow = $PrdTest::SLOW;

# three Redis, of which b is the replica of a and c is somebody else's

my $a = PrdRedis->new($t, 1);
my $b = PrdRedis->new($t, 2, args => ['--replicaof', '127.0.0.1', $a->port]);
my $c = PrdRedis->new($t, 3);

my $say = PrdRedis->puppets($t, 10, 3);

$say->(0, $c);
$say->(1, $a);
$say->(2, $a);

my $servers = join ' ', map { 'server 127.0.0.1:' . $t->port(10 + $_) . ';' }
              0 .. 2;

$t->conf(<<"END")->start;
load_module $module;
events { worker_connections 1024; }

predictive_store shared {
    mode sentinel;
    master mymaster;
    $servers
    secret file:$secret;
}

predictive_store lonely {
    mode sentinel;
    master mymaster;
    server 127.0.0.1:%%PORT10%%;
    secret file:$secret;
}

server {
    listen 127.0.0.1:%%PORT%%;
    location /api { predictive_api; }
    location = /shared { prdtest_redis shared; }
    location = /lonely { prdtest_redis lonely; }
}
END

sub ask    { PrdRedis::ask($t, '/shared', @_) }
sub status { PrdRedis::status($t, $_[0]) }

sub master {
    return join ' ', map { $_->{server} }
           grep { $_->{role} eq 'master' } @{ status($_[0])->{servers} };
}

sub switches { return scalar $t->log_lines(qr/store "shared".*the master is/) }

# from now on: until a command is executed there

sub follows {
    my ($redis, $what) = @_;

    my $began = time;
    my $n = $redis->cli('get', 'n') || 0;

    my $ok = wait_until(20, sub {
        ask(command => 'INCR,n', timeout => 100 * $slow);
        return ($redis->cli('get', 'n') || 0) > $n;
    });

    ok($ok, $what) or diag(explain(status()));
    note(sprintf '%s after %.0f ms', $what, 1000 * (time - $began));

    return time - $began;
}


# at the start one of three names somebody else's

ok(wait_until(20, sub { status()->{up} }), 'up');
is(master(), $a->addr, 'the master that two of three name');
is(switches(), 1, 'from the first moment on');
is(ask(command => 'SET,x,1')->{ok}, 1, 'a command');
is($a->cli('get', 'x'), 1, 'was executed there');

ok(wait_until(20, sub { status('lonely')->{up} }), 'another store');
is(master('lonely'), $c->addr, 'whose only sentinel is believed');


# then there is nobody but that one

$say->(1, undef);
$say->(2, undef);

my $told = 'names ' . $c->addr . ', the master stays ' . $a->addr;

ok($t->wait_for_log(qr/"shared": sentinel 127\.0\.0\.1:\d+ \Q$told/),
   'one that names another one is told of');

my $began = time;
my $bad = 0;

while (time - $began < 2.5) {
    $bad++ if !ask(command => 'SET,x,2', timeout => 500 * $slow)->{ok}
              || master() ne $a->addr;
    sleep 0.05;
}

is($bad, 0, 'the master in use stays, and serves all the while');
is(switches(), 1, 'no other one was tried');
is(scalar $t->log_lines(qr/store "shared".* names .* the master stays/), 1,
   'told once');


# all name a replica: one that a failover was begun with, or an old story

$say->($_, $b) for 0 .. 2;

ok($t->wait_for_log(qr/\Q@{[$b->addr]}\E, which sentinels name, is no master/),
   'a replica is none');
is(master(), $a->addr, 'the master in use stays');
is(ask(command => 'SET,x,3')->{ok}, 1, 'and serves');


# which then is made one: it is followed, though the former one serves yet

$b->cli('replicaof', 'no', 'one');

cmp_ok(follows($b, 'what most name is followed'), '<', 2 * $slow, 'at once');
is(master(), $b->addr, 'the new master');
is(switches(), 2, 'one change');
ok(wait_until(10, sub { !grep { $_->{role} =~ /former|named/ }
                        @{ status()->{servers} } }),
   'no link to others is kept') or diag(explain(status()));


# it turns replica again, and as many sentinels know as do not

$say->(0, undef);
$say->(1, $a);
sleep 1.5;
is(master(), $b->addr, 'a master that serves stays while opinions are even');

$b->cli('replicaof', '127.0.0.1', $a->port);
cmp_ok(follows($a, 'a master that turned replica is left'), '<', 3 * $slow,
       'within ticks, and what a busy machine sleeps');
is(switches(), 3, 'one change');


# it dies, and the sentinels learn one by one who took over

$say->($_, $a) for 0 .. 2;
ok(wait_until(10, sub { ask(command => 'PING')->{ok} }), 'all agree');
$a->kill;
$b->cli('replicaof', 'no', 'one');
sleep 0.3;
$say->(0, $c);
sleep 0.5;
is(master(), $a->addr, 'one that lies is not followed to another server');
$say->(1, $b);
$say->(2, $b);
cmp_ok(follows($b, 'the one that most name'), '<', 3 * $slow,
       'within ticks, and what a busy machine sleeps');
is(switches(), 4, 'one change');


# sentinels that say all sorts of things

for my $text ('0', '65536', 'x', '-1', '', "1,a\nb", "1,\0", '1,' . 'x' x 256,
              '1,no.such.host.test')
{
    for my $n (0 .. 2) {
        $say->($n, $text);
    }

    sleep 0.3;
}

is(master(), $b->addr, 'nonsense changes nothing');
is(ask(command => 'SET,x,4')->{ok}, 1, 'the master serves');
is(scalar $t->log_lines(qr/^b/), 0, 'nor is it in the log');

done_testing();
