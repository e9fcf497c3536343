# demo/run and demo/stop: what they promise is there within a minute, and
# nothing stays behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use PrdTest qw(wait_until slurp spew);
use Test::More;
use Time::HiRes qw(sleep);


my $t = PrdTest->new;
my $dir = $t->dir . '/demo';
my $root = $PrdTest::ROOT;

delete $ENV{STORE};
$ENV{DEMO_DIR} = $dir;
$ENV{DEMO_PORT} = $t->port(0);
$ENV{PRD_MODULE} ||= "$root/build/ngx_http_predictive_module.so";
$ENV{PRD_REPLAY} ||= "$root/build/predictive-replay";

# whatever happens below, it ends; before PrdTest removes the directory

my $pid = $$;

END {
    if ($$ == $pid && -d $dir) {
        my $status = $?;
        my ($exit, $out) = $t->run("$root/demo/stop");

        diag($out) if $exit;

        if (!Test::More->builder->is_passing) {
            diag(slurp($_)) for grep { -f } "$dir/error.log",
                                            "$dir/traffic.log";
        }

        $? = $status;
    }
}


# All processes that name our directory, but this one and its children.

sub processes {
    return grep {
        my $pid = $_;

        my $line = eval { slurp("/proc/$pid/cmdline") } || '';

        $line =~ /\Q$dir\E/ || (eval { readlink "/proc/$pid/cwd" } || '')
                               =~ /^\Q$dir\E/
    } map { m{/proc/(\d+)$} } glob '/proc/[0-9]*';
}


# starts

my ($exit, $out) = $t->run("$root/demo/run");

is($exit, 0, 'demo/run') or diag $out;

my $port = eval { slurp("$dir/port") } || 0;
chomp $port;

if ($exit) {
    done_testing();
    exit 1;
}

cmp_ok($port, '>=', $ENV{DEMO_PORT}, 'the port asked for, or a later one');
like($out, qr{http://127\.0\.0\.1:$port/$}m, 'says which URL to open');
like($out, qr/make stop/, 'and how it is stopped');

my @about = (port => $port);

for (['/', qr/<table>/], ['/traffic.json', qr/"cohorts"/],
     ['/predictive/status', qr/"forecaster"/],
     ['/predictive/metrics', qr/^nginx_predictive_passed_total/m])
{
    my ($uri, $re) = @$_;
    my $r = $t->request(GET => $uri, @about);

    is($r->{status}, 200, $uri);
    like($r->{body}, $re, "$uri is what it should be");
}

my $zones = $t->json('/predictive/zones', @about)->{zones};

for my $zone (qw(api strict)) {
    cmp_ok($zones->{$zone}{clients}, '>', 1000, "$zone: begins warm");
    ok($zones->{$zone}{warmup}{over}, "$zone: warm-up is over");
}


# the second time it only says so

($exit, $out) = $t->run("$root/demo/run");

is($exit, 0, 'demo/run again');
like($out, qr{already runs: http://127\.0\.0\.1:$port/}, 'says that it runs');


# A newcomer learns.

sub header {
    my ($key, $uri) = @_;

    return $t->request(GET => $uri, headers => { 'X-API-Key' => $key }, @about)
           ->{headers}{'x-predictive'};
}

is(header('me', '/api/'), 'PASSED, newcomer', 'a newcomer is one');


# The story.

my %c;

sub cohorts {
    my $json = eval { $t->json('/traffic.json', @about) } or return 0;

    %c = map { $_->{name} => $_ } @{ $json->{cohorts} };

    return $json->{seconds};
}

sub share {
    my ($what, @counts) = @_;

    my ($n, $all) = (0, 0);

    for (@counts) {
        $n += $_->{$what};
        $all += $_->{requests};
    }

    return $all ? 100 * $n / $all : 0;
}

ok(wait_until(60, sub {
    cohorts() && $c{honest}{api}{requests} > 200
        && $c{batch}{api}{requests} > 290
        && $c{stolen}{strict}{requests} > 500
        && share('refused', $c{stolen}{strict}) > 90
}), 'within a minute: the stolen token is refused in /strict/');

my @honest = map { $c{honest}{$_} } qw(api strict);
my @batch = $c{batch}{api};

cmp_ok(share('refused', @honest), '<', 1, 'honest clients are not');
cmp_ok(share('failed', @honest), '<', 1, 'and get answers');
cmp_ok(share('refused', @batch), '<', 1, 'nor is the nightly batch');
cmp_ok(share('limit_req_refused', @batch), '>', 50,
       'most of which limit_req would have refused');
cmp_ok(share('refused', $c{stolen}{api}), '>',
       50 + share('refused', $honest[0]),
       'the stolen token is in /api/, too, where it floods');
cmp_ok($c{stolen}{api}{passed}, '>', 0, 'but gets what others leave');

diag(sprintf 'refused: honest %.2f %%, batch %.2f %%, newcomers %.1f %%, '
     . 'stolen %.1f %% in /api/, %.1f %% in /strict/',
     share('refused', @honest), share('refused', @batch),
     share('refused', map { $c{newcomer}{$_} } qw(api strict)),
     share('refused', $c{stolen}{api}), share('refused', $c{stolen}{strict}));


# The API says the same.

sub client {
    my ($zone, $token) = @_;

    my $r = $t->request(POST => "/predictive/zones/$zone/explain?as=token",
                        body => $token, @about);

    return PrdTest::decode_json($r->{body});
}

# at its limit, even if the traffic is slow on a busy machine

for (1 .. 200) {
    last if header('stolen-1', '/strict/') =~ /^REJECTED/;
}

my $stolen = client('strict', 'stolen-1');

is($stolen->{would_be}{verdict}, 'REJECTED', 'the next one would be, too');
is($stolen->{would_be}{reason}, 'above_forecast', 'and why');
like($stolen->{would_be}{why}, qr/^refused: level /, 'in words');
cmp_ok($stolen->{refused}, '>', 400, 'refusals are counted');

is(client('strict', 'honest-1')->{would_be}{verdict}, 'PASSED',
   'an honest one would pass');

ok(wait_until(15, sub {
    my $top = $t->json('/predictive/zones/strict/top?by=rejected&n=1', @about)
              ->{top}[0];

    $top && $top->{key} eq $stolen->{key}
}), 'heads the list of the refused');

ok(wait_until(20, sub { header('me', '/api/') eq 'PASSED, forecast' }),
   'the newcomer has a forecast of its own');


# what is written down stays readable

like(slurp("$dir/traffic.log"), qr/^ +5 s  honest +\d+ ok +0 refused/m,
     'the log of the traffic');
like(slurp("$dir/history/api.txt"), qr/^Verdicts$/m,
     'the report of predictive-replay');
is((stat "$dir/state/predictive.state")[2] & 07777, 0600,
   'the state is nobody else\'s business');
unlike(slurp("$dir/error.log"), qr/\[(?:warn|error|crit|alert|emerg)\]/,
       'no complaints in the log');


# stops what it started and nothing else

my $bystander = $t->spawn('bystander', 'sleep', '100');
my $backend = (split ' ', slurp("$dir/backend.pid"))[0];

spew("$dir/backend.pid", "$bystander->{pid} 1\n");

($exit, $out) = $t->run("$root/demo/stop");

is($exit, 0, 'demo/stop');
is($out, "Stopped: traffic nginx\n", 'says what it stopped');
ok(kill(0, $bystander->{pid}), 'a pid that is not ours is left alone');

is_deeply([processes()], [$backend], 'only what it could not know is left');
kill 'TERM', $backend;
ok(wait_until(5, sub { !processes() }), 'nothing is left');

ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port),
   'nobody listens any more');

($exit, $out) = $t->run("$root/demo/stop");

is($exit, 0, 'demo/stop again');
is($out, "The demo does not run.\n", 'says so');


# a directory of somebody else is not touched

{
    my $other = $t->dir . '/other';

    mkdir $other;
    spew("$other/precious", "1\n");

    local $ENV{DEMO_DIR} = $other;
    ($exit, $out) = $t->run("$root/demo/run");

    isnt($exit, 0, 'a directory with other things in it');
    like($out, qr/is not empty and no demo's/, 'is refused');
    is(slurp("$other/precious"), "1\n", 'and left as it was');
}

done_testing();
