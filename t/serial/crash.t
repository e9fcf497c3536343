# Workers that are killed under load leave a sound zone behind; reloads under
# load lose no request.
#
# PRD_CHAOS=400 kills that often instead of 40 times, PRD_RELOADS=N reloads
# N times instead of 25.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PrdTest qw(wait_until slurp spew);
use Test::More;
use Time::HiRes qw(time sleep);


my $kills = $ENV{PRD_CHAOS} || 40;
my $reloads = $ENV{PRD_RELOADS} || 25;
my $slow = $PrdTest::SLOW;

alarm(100 + 0.5 * $kills * $slow + 3 * $reloads * $slow);

my $t = PrdTest->new;
my $dir = $t->dir;

# small: slots are claimed, taken away and given again all the time

# (logs that grow with each refusal would soon be all there is to do)

$t->conf(<<'END')->start;
worker_processes 3;
error_log %%DIR%%/error.log notice;
access_log off;
predictive_zone $arg_key zone=small:64k rate=100r/s burst=10;
predictive_zone $arg_key zone=pool:256k rate=5r/s burst=5 capacity=3000r/s
                cost=$arg_cost charge=$upstream_http_x_tokens
                class=$uri newcomer=$arg_net warmup=0s;
predictive_zone $arg_key zone=delays:1m rate=20r/s burst=20;
predictive_zone $arg_key zone=exact:1m rate=1r/m;
predictive_state %%DIR%%/state/learned interval=1s;

server {
    listen 127.0.0.1:%%PORT%% backlog=1024;

    location / {
        predictive zone=small nodelay;
        predictive zone=pool nodelay;
        predictive_log_level info;
        proxy_pass http://%%BACKEND_ADDR%%;
    }

    location /delay {
        predictive zone=delays;
        predictive_log_level info;
        proxy_pass http://%%BACKEND_ADDR%%;
    }

    location /exact {
        predictive zone=exact burst=4 nodelay;
        proxy_pass http://%%BACKEND_ADDR%%;
    }

    location /api/ {
        predictive_api;
    }
}

%%BACKEND%%
END


# Processes that send requests until they are told to stop; what they got is
# { status => count }, 0 being a connection that broke.

my $runs = 0;

sub load {
    my ($jobs, $request) = @_;

    my $run = ++$runs;
    my @files = map { "$dir/load-$run-$_" } 1 .. $jobs;

    for my $file (@files) {
        $t->fork_process('load', sub {
            my %count;

            srand($$);

            until (-e "$dir/stop-$run") {
                $count{ $_->{status} }++ for $request->();
            }

            spew("$file.new", join ' ', %count);
            rename "$file.new", $file;
        });
    }

    return sub {
        spew("$dir/stop-$run", '');
        wait_until(30, sub { @files == grep { -e $_ } @files })
            or die "load does not end\n";

        my %sum;

        for my $file (@files) {
            my %count = split ' ', slurp($file);

            $sum{$_} += $count{$_} for keys %count;
        }

        return \%sum;
    };
}

sub shown {
    my ($count) = @_;

    return join ', ', map { "$count->{$_} x $_" } sort keys %$count;
}

sub consistency { $t->json("/api/zones/$_[0]?check=1")->{consistency} }

sub sound {
    my ($what, $claims) = @_;

    for my $zone (qw(small pool delays exact)) {
        my $c = consistency($zone);

        is($c->{faults}, 0, "$what: zone $zone is sound");
        cmp_ok($c->{claims}, '<=', $claims, "$what: claims in $zone");
    }
}

my $exact = 0;

# a limit that nobody has touched is exact
sub exactly {
    my ($what) = @_;

    my $key = 'exact' . ++$exact;

    is(join(' ', map { $t->get("/exact?key=$key")->{status} } 1 .. 6),
       '200 200 200 200 200 429', "$what: limits are exact");
}


# Kills

my $any = sub {
    return $t->get('/delay?key=' . int rand 200) if rand() < 0.1;

    my @requests = map {
        [GET => '/?key=' . int(rand 5000) . '&net=' . int(rand 50)
                . '&cost=' . int(rand 3),
         headers => { 'X-Tokens' => int rand 4 }]
    } 1 .. 20;

    # many at once, so that workers do little else than to decide
    my @r = $t->pipeline(@requests);

    return @r ? @r : { status => 0 };
};

sound('at first', 0);

my $end = load(3, $any);
my ($killed, $hosts) = (0, 0);

for (1 .. $kills) {
    my @pids = $t->worker_pids;
    my @victims = $pids[rand @pids];

    # the one that forecasts, now and then; two at a time, now and then

    my ($line) = reverse $t->log_lines(qr/predictive: forecasting here/);
    my ($host) = $line =~ /\] (\d+)#/;

    if ($_ % 4 == 0 && grep { $_ == $host } @pids) {
        @victims = $host;
        $hosts++;
    }

    push @victims, $pids[rand @pids] if $_ % 5 == 0;

    for my $pid (@victims) {
        $t->allow_log(qr/worker process $pid exited on signal 9/);
        $killed += kill 'KILL', $pid;
    }

    wait_until(10, sub {
        my @now = $t->worker_pids;

        return @now == 3 && !grep { my $p = $_; grep { $_ == $p } @victims }
                                  @now;
    }) or die "workers do not come back\n";

    sleep 0.005 + rand 0.05;
}

my $count = $end->();

cmp_ok($killed, '>=', $kills, "workers killed: $killed, forecasting: $hosts");
cmp_ok($count->{200} || 0, '>', 100, 'requests were answered: '
       . shown($count));
cmp_ok($count->{0} || 0, '<=', 200 * $killed, 'but few of a killed worker');
sound('after kills', $killed);
exactly('after kills');

# claims of the dead are no loss: who needs the slots takes them

$t->parallel([map { "/?key=fill$_" } 1 .. 5000], jobs => 50);
is(consistency('small')->{claims}, 0, 'slots claimed by the dead are used');
is(consistency('small')->{faults}, 0, 'and the zone is sound');
cmp_ok(consistency('small')->{clients}, '>', 300, 'and full of clients');

my $ticks = ($t->log_lines(qr/predictive: forecasting here/))[-1];
my ($host) = $ticks =~ /\] (\d+)#/;

ok(wait_until(5, sub {
       (unpack 'x32 V', slurp("$dir/state/learned")) == $host
   }), 'somebody forecasts, and saves');
is(join(' ', grep { !/^learned$/ } map { s{.*/}{}r } glob "$dir/state/*"), '',
   'what savers left is removed');


# Stopped workers

$end = load(2, $any);

for (1 .. 5) {
    my ($pid) = $t->worker_pids;

    kill 'STOP', $pid;
    sleep 0.8;
    kill 'CONT', $pid;
    sleep 0.1;
}

$count = $end->();
is($count->{0} || 0, 0, 'stopped and continued: ' . shown($count));
sound('after stops', 0);
exactly('after stops');


# Reloads, with delayed requests in flight

my $delayed = sub { $t->get('/delay?key=' . int rand 5) };

$end = load(4, $delayed);

# a draining worker answers one request of a pipeline and closes
my $other = load(1, sub { $t->get('/?key=' . int rand 5000) });

for (1 .. $reloads) {
    my %old = map { $_ => 1 } $t->worker_pids;

    kill 'HUP', $t->master_pid;
    wait_until(20, sub {
        my @now = $t->worker_pids;
        return @now == 3 && !grep { $old{$_} } @now;
    }) or die "no new workers\n";
    sleep rand 0.2;
}

$count = $end->();
is($count->{0} || 0, 0, "$reloads reloads, no delayed request is lost: "
   . shown($count));
cmp_ok($count->{200}, '>', 20, 'many were there');
$count = $other->();
is($count->{0} || 0, 0, 'nor any other: ' . shown($count));
cmp_ok($t->json('/api/zones/delays')->{delayed}, '>', 20,
       'they were delayed');

wait_until(10, sub { !grep { PrdTest::title($_) =~ /shutting down/ }
                           PrdTest::children($t->master_pid) });
sound('after reloads', 0);
exactly('after reloads');

done_testing();
