# A location with limits in two stores, of which one answers long before the
# other: who waits for the second has nothing to do with later questions to
# the first.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(wait_until);
use Test::More;
use Time::HiRes qw(time);


my $t = PrdTest->new;
my $a = PrdRedis->new($t, 3);
my $b = PrdRedis->new($t, 4);
my $secret = PrdRedis::secret_file($t, 'secret');
my $slow = $PrdTest::SLOW;

# 10 s and 60 s are the most that may be said
my $wait = $slow < 3 ? 3000 * $slow : 10000;
my $patience = $slow < 3 ? 20000 * $slow : 60000;

# c is a's server with less patience

my @stores = (['a', $a->port, $wait], ['b', $b->port, $wait],
              ['c', $a->port, 100]);

my $stores = join '', map { <<"END" } @stores;
predictive_store $_->[0] {
    server 127.0.0.1:$_->[1];
    secret file:$secret;
    wait $_->[2]ms;
    timeout ${patience}ms;
}

predictive_zone \$arg_k zone=$_->[0]:1m rate=1r/m burst=9 learn=off
                store=$_->[0] sync=strict;
END

$t->conf("worker_processes 1;\n$stores" . <<'END')->start;
server {
    listen 127.0.0.1:%%PORT%%;

    location = /both { predictive zone=a nodelay; predictive zone=b nodelay;
                       empty_gif; }
    location = /late { predictive zone=c nodelay; predictive zone=b nodelay;
                       empty_gif; }
    location = /a { predictive zone=a nodelay; empty_gif; }
    location = /n { empty_gif; }
    location / { predictive_api; }
}
END

my ($worker) = $t->worker_pids;

sub asked {
    my ($redis) = @_;

    return $redis->cli('info', 'commandstats')
           =~ /cmdstat_evalsha:calls=(\d+)/ ? $1 : 0;
}

sub in_touch {
    return wait_until(10, sub {
        my $before = $t->json('/zones/a')->{lease_away}
                     + $t->json('/zones/b')->{lease_away};

        $t->get('/both?k=touch' . rand);

        return $before == $t->json('/zones/a')->{lease_away}
                          + $t->json('/zones/b')->{lease_away};
    });
}

# A request that has a's answer and waits for b's, and one behind it that waits
# for a's.

sub waiting {
    my ($k) = @_;

    my $c = $t->connect;
    my $d = $t->connect;
    my $asked = asked($a);

    $b->freeze;
    $c->send($c->format(GET => "/both?k=$k"));
    wait_until(5, sub { asked($a) > $asked }) or die "it did not ask\n";

    # the worker has read it, too

    $t->get('/n') for 1 .. 3;

    $a->freeze;
    $d->send($d->format(GET => "/a?k=$k"));
    $t->get('/n') for 1 .. 3;

    return ($c, $d);
}

ok(in_touch(), 'in touch');


# the first one is decided while the second one waits

my ($c, $d) = waiting('x');

$b->thaw;
is($c->response('GET')->{status}, 200, 'answered by both');
$a->thaw;
is($d->response('GET')->{status}, 200, 'answered by one, meanwhile');

$_->close for $c, $d;

is_deeply([$t->worker_pids], [$worker], 'the worker is the same');


# the first one's client goes away

ok(in_touch(), 'in touch again');

($c, $d) = waiting('y');

$c->close;
$t->get('/n') for 1 .. 3;

my $start = time;

$_->thaw for $a, $b;
is($d->response('GET')->{status}, 200, 'answered, though the other is gone');
cmp_ok(time - $start, '<', $wait / 1000, 'and at once');
is_deeply([$t->worker_pids], [$worker], 'the worker is the same');


# ... when it waits for one no longer, and for the other still

ok(in_touch(), 'in touch once more');
is($t->get('/late?k=z')->{status}, 200, 'with all');

$_->freeze for $a, $b;

$c = $t->connect;
$c->send($c->format(GET => '/late?k=z'));

ok(wait_until(5, sub { $t->json('/zones/c')->{lease_away} > 0 }),
   'one is not waited for');
$c->close;
$t->get('/n') for 1 .. 3;

$_->thaw for $a, $b;

# nothing is counted as parked that is not: a worker that is to exit does

$t->reload;
ok(wait_until(5, sub { !grep { $_ == $worker }
                             PrdTest::children($t->master_pid) }),
   'the worker exits');

done_testing();
