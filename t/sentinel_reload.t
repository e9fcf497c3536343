# Sentinels that do not agree while nginx is reloaded: each new worker begins
# without a master, and yet all find the one that most of them name.

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

# b is the replica of a, c is somebody else's

my $a = PrdRedis->new($t, 1);
my $b = PrdRedis->new($t, 2, args => ['--replicaof', '127.0.0.1', $a->port]);
my $c = PrdRedis->new($t, 3);

my $say = PrdRedis->puppets($t, 10, 3);

my $servers = join ' ', map { 'server 127.0.0.1:' . $t->port(10 + $_) . ';' }
              0 .. 2;

sub conf {
    my ($timeout) = @_;

    return <<"END";
load_module $module;
worker_processes 2;
events { worker_connections 1024; }

predictive_store shared {
    mode sentinel;
    master mymaster;
    $servers
    secret file:$secret;
    connect_timeout $timeout;
}

server {
    listen 127.0.0.1:%%PORT%%;
    location /api { predictive_api; }
    location = /shared { prdtest_redis shared; }
}
END
}

# whichever worker answers: each must be right

sub master {
    return join ' ', map { $_->{server} }
           grep { $_->{role} eq 'master' }
           @{ PrdRedis::status($t, 'shared')->{servers} };
}

my $count = 0;

# Commands of many connections, so that both workers see some: all executed
# at $redis, which serves within some ticks.

sub serves {
    my ($redis, $what) = @_;

    my $ok = wait_until(5, sub {
        PrdRedis::ask($t, '/shared', command => 'PING',
                      timeout => 200 * $slow)->{ok} && master() eq $redis->addr
    });

    ok($ok, "$what: up") or diag(explain(PrdRedis::status($t, 'shared')));

    my $was = $redis->cli('get', 'n') || 0;
    my $bad = 0;

    for (1 .. 20) {
        $bad++ if master() ne $redis->addr
                  || !PrdRedis::ask($t, '/shared', command => 'INCR,n',
                                    timeout => 500 * $slow)->{ok};
    }

    is($bad, 0, "$what: each worker has it");
    is(($redis->cli('get', 'n') || 0) - $was, 20, "$what: where commands go");
}

$say->(0, $c);
$say->(1, $a);
$say->(2, $a);

$t->conf(conf('500ms'))->start;
serves($a, 'at the start');


# one was cut off, and says so to the new workers as well

for my $n (1 .. 3) {
    ok($t->reload(conf((500 + $n) . 'ms')), "reload $n");
    serves($a, "while one names another one, reload $n");
}


# the old workers know the former master, the new ones are told the next: one
# that is still a replica when they begin

$say->($_, $b) for 1 .. 2;
ok($t->reload(conf('510ms')), 'reload while a failover is under way');
sleep 0.3 * $slow;
$b->cli('replicaof', 'no', 'one');
$a->cli('replicaof', '127.0.0.1', $b->port);
serves($b, 'the one that most name');
is($c->cli('get', 'n') || '', '', 'nothing went to the stranger');
is(scalar $t->log_lines(qr/the master is \Q@{[$c->addr]}\E/), 0,
   'nor was it ever taken for the master');


# most do not know: the one that does is believed until others do

$say->(0, $b);
$say->(1, undef);
$say->(2, undef);
ok($t->reload(conf('520ms')), 'reload while one alone knows');
serves($b, 'the one that is known');

$say->($_, $c) for 0 .. 1;
$say->(2, $b);
ok(wait_until(10, sub { master() eq $c->addr }), 'then most know better');
ok($t->reload(conf('530ms')), 'reload');
serves($c, 'and new workers begin there');

is(scalar $t->log_lines(qr/\[(alert|emerg|crit)\]/), 0, 'no alerts');

done_testing();
