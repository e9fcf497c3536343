#!/usr/bin/perl

# soak.pl [-s SEED] [-k] [-n] [-t SECONDS] [REQUESTS]
#
# Sends REQUESTS (default 100000) to two nodes with a common Redis, for SECONDS
# at most, with faults at random, and then looks into the books: each request
# has an answer that is one of two, each node's zones have counted what was
# sent, and each token that was debited or owed was spent, returned, given up
# or is held.
#
# Faults: Redis frozen, killed and back empty, out of memory, read-only, its
# scripts forgotten, its connections cut; clients that go away, reloads.  -k:
# workers killed with signal 9, too; what those had in hand (a request, a
# grant) is missing in the books then, and said.  -n: no worker ends; then no
# debt may be left behind, either.
#
# PRD_MODULE and PRD_NGINX take other binaries, for instance those of `make
# asan`, with PRD_SANITIZE=1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib";

BEGIN { $ENV{PRD_TIMEOUT} ||= 86400 }

use Getopt::Std;
use PrdRedis;
use PrdTest qw(wait_until slurp spew);
use Test::More;
use Time::HiRes qw(time sleep);


my %opt;

getopts('s:knt:', \%opt)
    or die "soak.pl [-s SEED] [-k] [-n] [-t SECONDS] [REQUESTS]\n";

my $requests = shift @ARGV || 100000;
my $seed = $opt{s} // int rand 1e9;
my $jobs = 2;

srand $seed;
$| = 1;
print "# $requests requests, -s $seed\n";

my @nodes = map { PrdTest->new } 1, 2;
my $redis = PrdRedis->new($nodes[0], 1);
my $secret = PrdRedis::secret_file($nodes[0], 'secret');
my $port = $redis->port;
my $dir = $nodes[0]->dir;

my @zones = qw(lease strict wait small fresh charge);

my $conf = <<"END" . <<'END';
worker_processes 2;
error_log %%DIR%%/error.log notice;
access_log off;

predictive_store one {
    server 127.0.0.1:$port;
    secret file:$secret;
    nodes 2;
    wait 50ms;
    timeout 200ms;
    connect_timeout 500ms;
}
END

predictive_zone $http_x_key zone=lease:1m rate=200r/s burst=199 store=one;
predictive_zone $http_x_key zone=strict:1m rate=200r/s burst=199 store=one
                sync=strict;
predictive_zone $http_x_key zone=wait:1m rate=500r/s burst=50 store=one;
predictive_zone $http_x_key zone=small:64k rate=100r/s burst=20 store=one
                newcomer=$http_x_net;
predictive_zone $http_x_key zone=fresh:1m rate=100r/s burst=20 store=one
                capacity=2000r/s;
predictive_zone $http_x_key zone=charge:1m rate=100r/s burst=99 store=one
                charge=$upstream_http_x_tokens;
predictive_zone $http_x_key zone=here:1m rate=300r/s burst=100;

predictive_log_level info;

server {
    listen 127.0.0.1:%%PORT%% backlog=1024;
    keepalive_requests 1000000;

    location = /lease { predictive zone=lease nodelay; empty_gif; }
    location = /strict { predictive zone=strict nodelay; empty_gif; }
    location = /wait { predictive zone=wait; empty_gif; }
    location = /small { predictive zone=small nodelay;
                        predictive zone=fresh nodelay;
                        predictive zone=here nodelay; empty_gif; }
    location = /charge { predictive zone=charge nodelay;
                         proxy_pass http://%%BACKEND_ADDR%%; }
    location /api/ { predictive_api; }
}

%%BACKEND%%
END

$_->conf($conf)->start for @nodes;

sub zone { $_[0]->json("/api/zones/$_[1]?check=1") }


# What a process sends and sees: "sent NODE/PLACE", "STATUS NODE/PLACE".

sub load {
    my ($job, $n) = @_;

    my (%sum, %c, $left);

    my $until = $opt{t} ? time + $opt{t} : 9e99;

    srand($seed + $job);
    $left = $n;

    while ($left > 0 && time < $until) {
        my $node = int rand 2;
        my $place = (qw(lease strict wait small charge lease))[rand 6];
        my $t = $nodes[$node];
        my $c = $c{$node} ||= $t->connect;

        if (!$c) {
            $sum{"0 connect"}++;
            sleep 0.05;
            next;
        }

        my $burst = $place eq 'wait' ? 2 : 1 + int rand 20;

        $c->send(join '', map {
            $c->format(GET => "/$place", headers => {
                'X-Key' => $place eq 'small' ? 's' . int rand 3000
                           : "$place-" . int rand 8,
                'X-Net' => int rand 30,
                'X-Tokens' => int rand 4,
            })
        } 1 .. $burst);

        $sum{"sent $node/$place"} += $burst;
        $left -= $burst;

        if (rand() < 0.02) {
            $sum{"left $node/$place"} += $burst;
            $c->close;
            delete $c{$node};
            next;
        }

        for (1 .. $burst) {
            my $r = $c->response('GET');

            $sum{"$r->{status} $node/$place"}++;

            if (!$r->{status}
                || ($r->{headers}{connection} // '') eq 'close')
            {
                delete $c{$node};
                last;
            }
        }
    }

    return \%sum;
}


my @loads = map { "$dir/load-$_" } 1 .. $jobs;

for my $job (1 .. $jobs) {
    $nodes[0]->fork_process('load', sub {
        my $sum = load($job, $requests / $jobs);

        spew("$loads[$job - 1].new", join "\n", %$sum);
        rename "$loads[$job - 1].new", $loads[$job - 1];
    });
}


my %faults = (
    'frozen' => sub {
        $redis->freeze;
        sleep 0.1 + rand 2;
        $redis->thaw;
    },
    'killed' => sub {
        $redis->kill;
        sleep rand 1;
        $redis->restart;
    },
    'out of memory' => sub {
        $redis->cli('config', 'set', 'maxmemory', 1);
        sleep rand 1;
        $redis->cli('config', 'set', 'maxmemory', 0);
    },
    'read-only' => sub {
        $redis->cli('replicaof', '127.0.0.1', $nodes[0]->port(90));
        sleep rand 1;
        $redis->cli('replicaof', 'no', 'one');
    },
    'scripts flushed' => sub { $redis->cli('script', 'flush') },
    'connections cut' => sub {
        $redis->cli('client', 'kill', 'type', 'normal');
    },
    'reloaded' => sub {
        kill HUP => $nodes[rand 2]->master_pid;
        sleep 0.3;
    },
);

if ($opt{k}) {
    $faults{'worker killed'} = sub {
        my $t = $nodes[rand 2];
        my ($pid) = $t->worker_pids or return;

        $t->allow_log(qr/worker process $pid exited on signal 9/);
        kill KILL => $pid;
    };
}

delete $faults{reloaded} if $opt{n};

my @names = sort keys %faults;
my %n;
my $began = time;
my $said = $began;

until (@loads == grep { -e $_ } @loads) {
    my $fault = $names[rand @names];

    $n{$fault}++;
    $faults{$fault}->();
    sleep rand 1.5;

    if (time - $said > 60) {
        $said = time;
        printf "# %d s, %d faults\n", $said - $began,
            eval { my $s = 0; $s += $_ for values %n; $s };
    }
}

my $took = time - $began;


# The books

my %sum;

for my $file (@loads) {
    my @f = split /\n/, slurp($file);

    while (my ($k, $v) = splice @f, 0, 2) {
        $sum{$k} += $v;
    }
}

my (%status, $sent, $left, $lost);

for my $k (keys %sum) {
    my ($what) = split ' ', $k;

    $status{$what} += $sum{$k};
}

$sent = delete $status{sent};
$left = delete $status{left} || 0;
$lost = $sent - $left;
$lost -= $_ for @status{grep { $_ } keys %status};

printf "# %d requests in %.0f s; faults: %s\n", $sent, $took,
    join ', ', map { "$n{$_} x $_" } sort keys %n;
printf "# answers: %s; %d of clients that left, %d of workers that ended\n",
    join(', ', map { "$status{$_} x $_" } sort { $a <=> $b } keys %status),
    $left, $lost;

is(join(' ', grep { !/^(?:200|429|0)$/ } keys %status), '',
   'each answer is 200 or 429');

# a connection that is kept alive ends with its worker
cmp_ok($lost, '<=', 60 * $jobs * (($n{reloaded} || 0)
                                  + ($n{'worker killed'} || 0)),
       'no request is lost but by workers that ended');

for my $i (0, 1) {
    my $t = $nodes[$i];

    for my $zone (@zones) {
        my ($z, $b);

        my $ok = wait_until(20, sub {
            $z = zone($t, $zone);
            $b = $z->{consistency}{books};

            return $b->{balanced} && $z->{consistency}{faults} == 0;
        });

        my $in = $b->{debited} + $b->{debt} + $b->{refunded};
        my $out = $b->{admitted} + $b->{returned} + $b->{forfeited}
                  + $b->{held};

        printf "# %s %-6s %7d passed %6d borrowed %6d delayed %7d refused;"
            . " %.0f debited + %.0f debt + %.0f refunded %s %.0f spent"
            . " + %.0f returned + %.0f void + %.0f held; owed %.0f\n",
            $i ? 'b' : 'a', $zone, map({ $z->{$_} || 0 } qw(passed borrowed
            delayed rejected)), @$b{qw(debited debt refunded)},
            abs($in - $out) < 0.0005 ? '=' : sprintf('- %.3f =', $in - $out),
            @$b{qw(admitted returned forfeited held owed)};

        ok($ok || $opt{k}, "node $i, $zone: sound, and the books balanced");

        # Nobody comes any more: what is owed is reported all the same.  But
        # what workers owe that end while Redis is away waits for the client.

        if ($opt{n} && !$opt{k}) {
            ok(wait_until(20, sub {
                   $b = zone($t, $zone)->{consistency}{books};

                   return $b->{owed} == 0;
               }), "node $i, $zone: no debt is left behind")
                or diag(explain($b));
        }

        next if $zone !~ /lease|strict|wait|charge/;

        my $counted = 0;

        $counted += $z->{$_} || 0 for qw(passed borrowed delayed rejected);

        my $most = $sum{"sent $i/$zone"} || 0;
        my $least = ($sum{"200 $i/$zone"} || 0) + ($sum{"429 $i/$zone"} || 0);

        cmp_ok($counted, '<=', $most, "node $i, $zone: no request is counted"
               . " twice");
        cmp_ok($counted, '>=', $least, "node $i, $zone: nor forgotten");
    }
}

done_testing();
