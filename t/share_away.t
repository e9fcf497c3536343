# What is learned while the store is away is published when it is back; until
# then the worker that would publish it serves requests as ever.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use PrdRedis;
use PrdTest qw(wait_until);
use Test::More;
use Time::HiRes qw(time sleep);


my $t = PrdTest->new;
my $redis = PrdRedis->new($t, 1);
my $secret = PrdRedis::secret_file($t, 'secret');
my $port = $redis->port;
my $slow = $PrdTest::SLOW;

$t->conf(<<"END" . <<'END')->start;
worker_processes 1;

predictive_store s {
    server 127.0.0.1:$port;
    secret file:$secret;
    wait 50ms;
    timeout 500ms;
}

predictive_zone \$arg_k zone=one:1m rate=10r/s store=s warmup=0;
END

server {
    listen 127.0.0.1:%%PORT%%;

    location = /one { predictive zone=one burst=60 nodelay; empty_gif; }
    location = /n { empty_gif; }
    location / { predictive_api; }
}
END

my ($worker) = $t->worker_pids;

# user and system time of the worker in seconds

sub cpu {
    open my $fh, '<', "/proc/$worker/stat" or return 0;

    my @f = split ' ', (<$fh> =~ s/.*\) //r);

    return ($f[11] + $f[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

ok($t->wait_for_log(qr/store "s": 1 nodes/), 'in touch');


# Clients are counted in one bin; what follows from it is to be published when
# that ends, just when the store is away.

my $left = 10 - (time - 10 * int(time / 10));

sleep $left + 0.05 if $left < 7;

for my $k (1 .. 40) {
    $t->get("/one?k=k$k") for 1 .. 3;
}

$left = 10 - (time - 10 * int(time / 10));
sleep $left - 0.15;

$redis->freeze;

my $before = cpu();
my $longest = 0;

for (1 .. 30) {
    my $start = time;

    is($t->get('/n')->{status}, 200, 'served') or last;
    $longest = time - $start if time - $start > $longest;
    sleep 0.2;
}

cmp_ok($longest, '<', 1 * $slow, 'at once');
cmp_ok(cpu() - $before, '<', 2 * $slow, 'and without much ado');

$redis->thaw;

my $known = sub {
    my $n = 0;

    for my $key (split /\n/, $redis->cli('--scan', '--pattern',
                                         'prd:1:{one:s*}:????????????????'))
    {
        # with a record behind the 47 bytes of the bucket
        $n++ if $redis->cli('strlen', $key) > 47;
    }

    return $n == 40;
};

ok(wait_until(15, $known), 'published when it is back');
is_deeply([$t->worker_pids], [$worker], 'by the same worker');

done_testing();
