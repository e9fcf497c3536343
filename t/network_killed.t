# The recurrent network lives in shared memory: it outlives the worker whose
# thread trains it, whenever that one is killed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep);


my $slow = $PrdTest::SLOW;
my $t = PrdTest->new;

# Two days of a log until an hour and a half ago: hours end once nginx starts,
# and the network hears of them.

my $end = time - 5400;
my $clients = 40;
my $seed = 7;

sub draw { $seed = ($seed * 1103515245 + 12345) % 2147483648; $seed >> 8 }

my @requests;

for my $n (1 .. $clients) {
    for (my $s = $end - 2 * 86400; $s < $end; $s += 600 + draw() % 600) {
        push @requests, [$s, "key=client$n"];
    }
}

$t->conf(<<'END');
worker_processes 2;
predictive_zone $arg_key zone=one:1m rate=100r/s burst=1000 network=on;
predictive_state %%DIR%%/state/learned interval=1s;

server {
    listen 127.0.0.1:%%PORT%%;

    location / {
        predictive zone=one nodelay;
        try_files /none @ok;
    }

    location @ok { return 204; }
    location /api/ { predictive_api; }
}
END

$t->learn('one', @requests);
$t->start;


sub holders {
    return map { /\] (\d+)#\d+: / }
           $t->log_lines(qr/predictive: forecasting here/);
}

sub network { $t->json('/api/zones/one')->{network} }

# clients of which the network says something

sub heard_of {
    my $n = 0;

    for my $client (map { "client$_" } 1 .. $clients) {
        my $r = $t->request(POST => '/api/zones/one/explain', body => $client);

        $n++ if $r->{status} == 200 && $r->{body} =~ /"network_weight":\s*[\d.]/;
    }

    return $n;
}

# again later: killed while hours are closed, and while nothing is done

my $known = 0;
my @holders;

for my $after (0.05, 0.2, 0.5, 1) {
    my $n = @holders;

    ok(wait_until(10, sub { (@holders = holders()) > $n }), 'a thread');

    for (1 .. 20) {
        $t->get('/?key=client' . (1 + draw() % $clients));
    }

    sleep $after * $slow;

    ok(wait_until(10, sub { network() }), 'with a network');
    kill 'KILL', $holders[-1];
    $t->allow_log(qr/worker process $holders[-1] exited on signal 9/);
    wait_until(5, sub { $t->worker_pids == 2 });
}

my $n = @holders;

ok(wait_until(10, sub { (@holders = holders()) > $n }), 'one more thread');

# those who come back have their hour closed with this bin

# (or with the next one, if the thread that was killed had just begun it)

for (1 .. 3) {
    $t->get("/?key=client$_") for 1 .. $clients;

    last if wait_until(15, sub { ($known = heard_of()) > $clients / 4 });
}

cmp_ok($known, '>', $clients / 4, 'the network hears of hours');

$n = @holders;
kill 'KILL', $holders[-1];
$t->allow_log(qr/worker process $holders[-1] exited on signal 9/);
ok(wait_until(10, sub { (@holders = holders()) > $n }), 'the last one');
ok(wait_until(10, sub { network() }), 'its network is on');
is(network()->{resets}, 0, 'and was sound');
cmp_ok(heard_of(), '>=', $known, 'what was heard is still there');

is($t->get('/?key=client1')->{status}, 204, 'requests are answered');

done_testing();
