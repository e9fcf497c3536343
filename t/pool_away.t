# A pool that nodes share, and a store that goes away: what it grants late is
# not lost, whoever takes the part of a worker that died meanwhile owes nothing
# for it, and a store that came back empty a moment before has made nobody the
# only node.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(wait_until);
use Test::More;
use Time::HiRes qw(time sleep);


my $na = PrdTest->new;
my $nb = PrdTest->new;

my $port = $na->port(5);
my $redis = $na->redis(5);
my $secret = PrdRedis::secret_file($na, 'secret');

$_->conf(<<"END" . <<'END') for $na, $nb;
worker_processes 1;

predictive_store s {
    server 127.0.0.1:$port;
    secret file:$secret;
    timeout 200ms;
}

predictive_zone \$arg_k zone=pool:1m rate=1000r/s burst=2000 capacity=20r/s
                        learn=off store=s;
END

server {
    listen 127.0.0.1:%%PORT%%;

    location = /pool { predictive zone=pool nodelay; empty_gif; }
    location / { predictive_api; }
}
END

sub pool { return $na->json('/zones/pool')->{pool}{fill} }
sub nodes { return $na->json('/zones/pool')->{lease}{nodes} }

sub granted { return $na->redis_cli(5, 'exists', 'prd:1:{pool:pool}:b') eq 1 }

# newcomers: they are let through while the pool is more than a quarter full

my $key = 0;

sub offer {
    my ($n) = @_;

    return scalar grep { $_->{status} == 200 }
                  $na->pipeline(map { '/pool?k=' . $key++ } 1 .. $n);
}


$na->start;

ok(wait_until(10, \&granted), 'in touch');

# late: what it grants when nobody waits any longer is not lost

sleep 0.5;
kill STOP => $redis->{pid};
is(offer(30), 30, 'the store is frozen');
sleep 0.35;
kill CONT => $redis->{pid};
sleep 0.5;
cmp_ok(pool(), '>', 0.65, 'late: the rest is still there');

cmp_ok(offer(200), '>', 40, 'most of the pool is used');
sleep 1.5;                              # what is in hand has gone back

my ($fill, $start) = (pool(), time);

cmp_ok($fill, '<', 0.7, 'and told to the store');

kill STOP => $redis->{pid};
sleep 0.8;                              # it counts as away after half a second

my ($old) = $na->worker_pids;

$na->allow_log(qr/exited on signal 9/);
kill KILL => $old;

ok(wait_until(10, sub {
    my @pids = $na->worker_pids;

    return @pids == 1 && $pids[0] != $old && eval { pool() };
}), 'another worker');

sleep 0.3;
kill CONT => $redis->{pid};

my $calls = sub {
    return $na->redis_cli(5, 'info', 'commandstats')
           =~ /^cmdstat_hset:calls=(\d+)/m ? $1 : 0;
};

my $n = $calls->();

ok(wait_until(10, sub { $calls->() > $n + 3 }), 'in touch again');

# 5 s fill it

my $least = $fill + (time - $start) / 5 - 0.15;

$least = 0.75 if $least > 0.75;
cmp_ok(pool(), '>=', $least, 'nothing is owed that was not taken');


$nb->start;

ok(wait_until(10, sub { nodes() == 2 }), 'two nodes');
sleep 0.3;

my @stopped = $nb->worker_pids;

kill STOP => @stopped;
$na->redis_cli(5, 'flushall');

ok(wait_until(3, sub {
    return $na->redis_cli(5, 'zcard', 'prd:1:{nodes}:live') eq 1 && granted();
}), 'the first node after the store began anew');

sleep 0.2;
$na->stop_process($redis, 'KILL');
sleep 0.7;

my $passed = offer(200);

cmp_ok($passed, '>=', 25, 'away: a part of the pool');
cmp_ok($passed, '<=', 55, 'away: and not all of it');

kill CONT => @stopped;

done_testing();
