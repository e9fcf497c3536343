# Whatever becomes of its store, a node answers each request, and limits stay
# limits: a Redis that is frozen, dead, empty, full, read-only, loading, or
# wants another password; a cluster whose master dies and whose slots move;
# workers killed, and configurations reloaded, meanwhile.
#
# PRD_CHAOS=N does everything N times.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PrdRedis;
use PrdTest qw(wait_until slurp spew);
use Test::More;
use Time::HiRes qw(time sleep);


my $rounds = $ENV{PRD_CHAOS} || 1;
my $slow = $PrdTest::SLOW;

alarm(110 * $rounds * $slow);

my $rate = 50;
my $burst = 49;

my $na = PrdTest->new;
my $nb = PrdTest->new;
my @nodes = ($na, $nb);
my $dir = $na->dir;

my $redis = PrdRedis->new($na, 1);
my @ring = PrdRedis->cluster($na, 20, masters => 3, replicas => 1);
my $secret = PrdRedis::secret_file($na, 'secret');

# in 64k: slots are taken away from clients all the time

my $zones = join '', map { <<"END" } qw(one ring);
predictive_zone \$http_x_key zone=$_-lease:1m rate=${rate}r/s burst=$burst
                learn=off store=$_;
predictive_zone \$http_x_key zone=$_-strict:1m rate=${rate}r/s burst=$burst
                learn=off store=$_ sync=strict;
predictive_zone \$http_x_key zone=$_-exact:1m rate=1r/m learn=off store=$_
                sync=strict;
predictive_zone \$http_x_key zone=$_-small:64k rate=100r/s burst=20 store=$_
                newcomer=\$http_x_net capacity=5000r/s;
predictive_zone \$http_x_key zone=$_-wait:1m rate=100r/s burst=100 learn=off
                store=$_;
END

my $locations = join '', map { <<"END" } qw(one ring);
    location = /$_/lease { predictive zone=$_-lease nodelay; empty_gif; }
    location = /$_/strict { predictive zone=$_-strict nodelay; empty_gif; }
    location = /$_/exact { predictive zone=$_-exact burst=19 nodelay;
                           empty_gif; }
    location = /$_/many { predictive zone=$_-small nodelay;
                          predictive zone=$_-lease nodelay;
                          predictive zone=both nodelay;
                          empty_gif; }
    location = /$_/wait { predictive zone=$_-wait; empty_gif; }
END

my $seeds = join ' ', map { 'server ' . $_->addr . ';' } @ring[0 .. 2];

my $conf = <<"END" . $zones . <<'END' . $locations . <<'END';
worker_processes 2;
error_log %%DIR%%/error.log notice;
access_log off;

predictive_store one {
    server 127.0.0.1:@{[ $redis->port ]};
    secret file:$secret;
    nodes 2;
    wait 50ms;
    timeout 200ms;
    connect_timeout 500ms;
}

predictive_store ring {
    mode cluster;
    $seeds
    secret file:$secret;
    nodes 2;
    wait 50ms;
    timeout 200ms;
    connect_timeout 500ms;
}

predictive_zone \$http_x_key zone=both:1m rate=200r/s burst=50;
END

predictive_log_level info;

server {
    listen 127.0.0.1:%%PORT%% backlog=1024;

END

    location = /n { empty_gif; }
    location /api/ { predictive_api; }
}
END

$_->conf($conf)->start for @nodes;


# Processes that send requests to both nodes until they are told to stop, most
# of them for one client.  What they saw: statuses by location, 0 for what is
# no response; and by how much another process that does nothing was late.

my $runs = 0;

sub load {
    my (@stores) = @_;

    my $run = ++$runs;
    my $hot = "hot-client-$run";
    my @files = map { "$dir/load-$run-$_" } 1, 2;
    my $began = time;

    for my $file (@files) {
        $na->fork_process('load', sub {
            my (%count, $longest, $i);

            srand($$);
            $longest = 0;

            until (-e "$dir/stop-$run") {
                my $t = $nodes[$i++ % 2];
                my $store = $stores[rand @stores];
                my $what = (qw(lease strict many lease strict wait))[rand 6];
                my $key = $what eq 'many' ? 'm' . int rand 2000
                          : $what eq 'wait' ? 'w' . int rand 50 : $hot;
                my $start = time;
                my $r = $t->get("/$store/$what",
                                'X-Key' => "key-of-$key",
                                'X-Net' => int rand 20);

                $count{"$store/$what=$r->{status}"}++;

                if ($what ne 'wait' && time - $start > $longest) {
                    $longest = time - $start;
                }

                sleep 0.001;
            }

            $count{longest} = $longest;
            spew("$file.new", join ' ', %count);
            rename "$file.new", $file;
        });
    }

    my $idle = "$dir/idle-$run";

    $na->fork_process('idle', sub {
        my $late = 0;

        until (-e "$dir/stop-$run") {
            my $start = time;

            sleep 0.01;
            $late = time - $start - 0.01 if time - $start - 0.01 > $late;
        }

        spew("$idle.new", "late $late longest 0");
        rename "$idle.new", $idle;
    });

    return sub {
        spew("$dir/stop-$run", '');
        wait_until(30, sub { 3 == grep { -e $_ } @files, $idle })
            or die "load does not end\n";

        my %sum = (seconds => time - $began, longest => 0);

        for my $file (@files, $idle) {
            my %count = split ' ', slurp($file);
            my $longest = delete $count{longest};

            $sum{longest} = $longest if $longest > $sum{longest};
            $sum{$_} += $count{$_} for keys %count;
        }

        return \%sum;
    };
}

sub shown {
    my ($sum) = @_;
    my %by;

    /=(\d+)/ and $by{$1} += $sum->{$_} for keys %$sum;

    return join ', ', map { "$by{$_} x $_" } sort keys %by;
}


# RESETS: how often a store may have forgotten all, or a node have begun to
# decide by itself: a burst each.

sub bounded {
    my ($what, $sum, $resets, @stores) = @_;

    my @bad = grep { /=(\d+)/ && $1 != 200 && $1 != 429 } keys %$sum;

    is("@bad", '', "$what: answers: " . shown($sum));

    # 50 ms, and what a busy machine adds
    cmp_ok($sum->{longest}, '<', 0.05 + $slow + 3 * $sum->{late},
           "$what: no request waits for long");

    for my $zone (map { ("$_/lease", "$_/strict") } @stores) {
        my $most = ($burst + 1) * (2 + $resets) + $rate * $sum->{seconds};

        cmp_ok($sum->{"$zone=200"} || 0, '<=', $most,
               "$what: $zone is limited");
        cmp_ok($sum->{"$zone=200"} || 0, '>', $rate * $sum->{seconds} / 5,
               "$what: and not more than that");
    }
}

sub away {
    my ($t, $store) = @_;

    return $t->json("/api/zones/$store-exact")->{lease_away};
}

# Each worker has connections of its own.

sub in_touch {
    my ($store, $what) = @_;

    for my $t (@nodes) {
        my $row = 0;

        ok(wait_until(45, sub {
            my $before = away($t, $store);

            $t->get("/$store/exact", 'X-Key' => 't' . rand) for 1 .. 4;

            my $s = PrdRedis::status($t, $store);

            $row = $s->{workers_up} == 2 && away($t, $store) == $before
                   ? $row + 1 : 0;

            return $row == 3;
        }), "$what: in touch again");
    }
}

my $exact = 0;

# a limit that nobody has touched is one limit of both nodes

sub shared {
    my ($what, $store) = @_;

    in_touch($store, $what);

    my $key = 'exact' . ++$exact;
    my @r = map {
        $nodes[$_ % 2]->get("/$store/exact", 'X-Key' => $key)
    } 1 .. 25;

    is(scalar(grep { $_->{status} == 200 } @r), 20, "$what: one limit");
}

sub errors {
    my $n = 0;

    $n += () = $_->error_log =~ /\[(?:error|warn|alert|crit|emerg)\]/g
        for @nodes;

    return $n;
}

sub workers { join ' ', map { $_->worker_pids } @nodes }


my @faults = (
    frozen => 1, sub {
        $redis->freeze;
        sleep 1.5 * $slow;
        $redis->thaw;
    },
    'killed, and back empty' => 2, sub {
        $redis->kill;
        sleep 1;
        $redis->restart;
    },
    'out of memory' => 1, sub {
        $redis->cli('config', 'set', 'maxmemory', 1);
        sleep 1.5;
        $redis->cli('config', 'set', 'maxmemory', 0);
    },
    'read-only' => 2, sub {
        $redis->cli('replicaof', '127.0.0.1', $na->port(90));
        sleep 1.5;
        $redis->cli('replicaof', 'no', 'one');
    },
    'scripts flushed' => 0, sub {
        for (1 .. 15) {
            $redis->cli('script', 'flush');
            sleep 0.05;
        }
    },
    'connections killed' => 2, sub {
        for (1 .. 10) {
            $redis->cli('client', 'kill', 'type', 'normal');
            sleep 0.05;
        }
    },
    'another password' => 3, sub {
        $redis->kill;
        $redis->{args} = ['--requirepass', 'another'];
        $redis->restart;
        sleep 1;
        $redis->kill;
        $redis->{args} = [];
        $redis->restart;
    },
    loading => 2, sub {
        $redis->cli('set', "filler:$_", 'x' x 2000) for 1 .. 40;
        $redis->cli('save');
        $redis->kill;
        $redis->{args} = ['--key-load-delay', 40000,
                          '--loading-process-events-interval-bytes', 1024];
        $redis->restart;
        sleep 1;
        wait_until(10, sub { $redis->cli('ping') eq 'PONG' });
        $redis->cli('flushall');
        unlink "$redis->{dir}/dump.rdb";
        $redis->{args} = [];
    },
    'frozen and reloaded' => 2, sub {
        $redis->freeze;
        sleep 0.2;

        for my $t (@nodes) {
            my %old = map { $_ => 1 } $t->worker_pids;

            kill HUP => $t->master_pid;
            wait_until(20, sub {
                my @now = $t->worker_pids;

                return @now == 2 && !grep { $old{$_} } @now;
            }) or die "no new workers\n";

            ok(wait_until(10, sub {
                   !grep { $old{$_} } PrdTest::children($t->master_pid)
               }), 'frozen and reloaded: the old workers exit');
        }

        sleep 0.3;
        $redis->thaw;
    },
);

shared('at first', $_) for qw(one ring);

for my $round (1 .. $rounds) {

    for (my $i = 0; $i < @faults; $i += 3) {
        my ($what, $resets, $code) = @faults[$i .. $i + 2];

        my $before = workers();
        my $said = errors();
        my $end = load('one');

        sleep 0.3;
        $code->();
        sleep 0.3;

        bounded($what, $end->(), $resets, 'one');
        shared($what, 'one');

        is(workers(), $before, "$what: the workers are the same")
            unless $what =~ /reload/;
        cmp_ok(errors() - $said, '<', 60, "$what: little is logged");
    }


    # a worker that is killed while requests wait in it

    $redis->freeze;

    for my $t (@nodes) {
        my @c = map { $t->connect } 1 .. 20;
        my ($pid) = $t->worker_pids;

        $t->allow_log(qr/worker process $pid exited on signal 9/);
        $_->send($_->format(GET => '/one/strict', headers =>
                            { 'X-Key' => 'parked' })) for @c;
        sleep 0.01;
        kill KILL => $pid;

        my @status = map { ($_->response('GET') || {})->{status} || 0 } @c;

        is(scalar(grep { $_ && $_ != 200 && $_ != 429 } @status), 0,
           "a worker killed: no errors: @status");
        ok(wait_until(10, sub {
               my @now = $t->worker_pids;

               return @now == 2 && !grep { $_ == $pid } @now;
           }), 'another takes its place');
        is($t->get('/one/strict', 'X-Key' => "n$round")
             ->{status}, 200, 'and answers');
    }

    $redis->thaw;
    shared('a worker killed', 'one');
}


# A cluster: a master dies, slots move.

my @masters = @ring[0 .. 2];

for my $round (1 .. $rounds) {
    my $before = workers();
    my $said = errors();
    my $end = load('ring');
    my $dead = $masters[0];
    my @others = grep { $_ != $dead } @ring;

    sleep 0.3;
    $dead->kill;

    ok(wait_until(20, sub {
           $others[0]->cli('cluster', 'info') =~ /cluster_state:ok/
           && $others[0]->cli('cluster', 'nodes') =~ /master,fail/
       }), 'a master killed: another one is elected');
    sleep 0.5;

    bounded('a master killed', $end->(), 3, 'ring');
    shared('a master killed', 'ring');
    is(workers(), $before, 'a master killed: the workers are the same');
    cmp_ok(errors() - $said, '<', 60, 'a master killed: little is logged');

    $dead->restart;

    ok(wait_until(20, sub {
        my $info = $dead->info('replication');

        return $info->{role} eq 'slave'
               && $info->{master_link_status} eq 'up';
    }), 'it comes back as a replica');

    # slots of clients go from one master to the next one and back

    @masters = grep { $_->info('replication')->{role} eq 'master' } @ring;
    $_->{id} = $_->cli('cluster', 'myid') for @masters;

    my %slots;

    for my $zone (qw(lease strict exact small wait)) {
        for my $n (0 .. 63) {
            my $tag = sprintf '{ring-%s:s%03d}', $zone, $n;

            next if $n % 8;
            $slots{ $masters[0]->cli('cluster', 'keyslot', $tag) } = 1;
        }
    }

    my %owner;

    for my $line (split /\n/, $masters[0]->cli('cluster', 'nodes')) {
        my @f = split ' ', $line;

        next if $f[2] !~ /master/;

        my ($m) = grep { $_->{id} eq $f[0] } @masters;

        for (@f[8 .. $#f]) {
            my ($from, $to) = /^(\d+)(?:-(\d+))?$/ or next;

            $owner{$_} = $m for $from .. $to // $from;
        }
    }

    $end = load('ring');
    sleep 0.3;

    my $moved = 0;
    my $until = time + 4;

    for my $slot (sort keys %slots) {
        last if time > $until;

        my $from = $owner{$slot} or next;
        my ($to) = grep { $_ != $from } @masters;

        PrdRedis::move_slot($from, $to, $slot);
        $owner{$slot} = $to;
        $moved++;
    }

    sleep 0.3;

    cmp_ok($moved, '>', 10, "slots moved: $moved");
    bounded('slots moved', $end->(), 1, 'ring');
    shared('slots moved', 'ring');
    is(workers(), $before, 'slots moved: the workers are the same');
}


# When all is quiet the books are balanced.

for my $t (@nodes) {
    for my $store (qw(one ring)) {
        for my $zone (qw(lease strict wait small)) {
            my $c;

            my $ok = wait_until(15, sub {
                $c = $t->json("/api/zones/$store-$zone?check=1")->{consistency};

                # what the killed had in hand is lost
                return $c->{faults} == 0
                       && ($store eq 'one' || $c->{books}{balanced});
            });

            ok($ok, "$store-$zone: sound") or diag(explain($c));
        }
    }
}

unlike($_->error_log, qr/key-of-|a secret of/, 'no client or secret is logged')
    for @nodes;

done_testing();
