# What happens while Redis is frozen, dead, and back: no request waits longer
# than `wait`, none fails, each host goes on with its share.

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

my $redis_port = $na->port(5);
my $nowhere = $na->port(6);                # nobody listens there
my $redis = $na->redis(5);
my $secret = PrdRedis::secret_file($na, 'secret');

sub store {
    my ($name, $port, $rest) = @_;

    return "predictive_store $name { server 127.0.0.1:$port;"
           . " secret file:$secret; nodes 2; wait 50ms; timeout 200ms;"
           . " connect_timeout 200ms; $rest }\n";
}

sub zone {
    my ($name, $rest) = @_;

    return "predictive_zone \$arg_k zone=$name:1m learn=off $rest;\n";
}

my $conf = store('main', $redis_port, '')
    . store('pass', $nowhere, 'on_error pass;')
    . store('reject', $nowhere, 'on_error reject;')
    . store('local', $nowhere, 'on_error local;')
    . zone('main', 'rate=1r/m burst=19 store=main')
    . zone('strict', 'rate=1r/m burst=19 store=main sync=strict')
    . zone('pass', 'rate=1r/m burst=1 store=pass')
    . zone('reject', 'rate=1r/m burst=9 store=reject')
    . zone('local', 'rate=1r/m burst=19 store=local')
    . zone('fast', 'rate=100r/s burst=9 store=local')
    . zone('fresh', 'rate=1r/m burst=8 store=local newcomer=$arg_n')
    . zone('here', 'rate=1r/m burst=9') . <<'END';

server {
    listen 127.0.0.1:%%PORT%%;

    add_header X-Status $predictive_status always;
    add_header X-Reason $predictive_reason always;

    location = /main { predictive zone=main nodelay; empty_gif; }
    location = /strict { predictive zone=strict nodelay; empty_gif; }
    location = /pass { predictive zone=pass nodelay; empty_gif; }
    location = /reject { predictive zone=reject nodelay;
                         predictive_problem on; empty_gif; }
    location = /dry { predictive zone=reject nodelay; predictive_dry_run on;
                      empty_gif; }
    location = /local { predictive zone=local nodelay; empty_gif; }
    location = /fresh { predictive zone=fresh nodelay; empty_gif; }
    location = /fast { predictive zone=fast nodelay; empty_gif; }
    location = /both { predictive zone=main nodelay;
                       predictive zone=here nodelay; empty_gif; }
    location = /n { empty_gif; }
    location / { predictive_api; }
}
END

$_->conf($conf)->start for $na, $nb;

sub counters {
    my ($t, $name) = @_;

    return $t->json("/zones/$name?check=1");
}

sub books { return counters(@_)->{consistency}{books}; }

sub codes {
    return join ' ', map { $_->{status} } @_;
}

sub in_touch {
    my ($t) = @_;

    return wait_until(10, sub {
        my $before = counters($t, 'strict')->{lease_away};

        $t->get('/strict?k=touch' . rand);

        return counters($t, 'strict')->{lease_away} == $before;
    });
}


# a store that never was there

ok($na->wait_for_log(qr/"local"/), 'a store that is away is logged');

my @r = map { $na->get('/pass?k=a') } 1 .. 5;

is(codes(@r), '200 200 200 200 200', 'pass');
is($r[4]{headers}{'x-status'}, 'PASSED', 'pass: status');
is($r[4]{headers}{'x-reason'}, 'store', 'pass: reason');

@r = map { $na->get('/reject?k=a') } 1 .. 2;

is(codes(@r), '429 429', 'reject');
is($r[0]{headers}{'x-status'}, 'REJECTED', 'reject: status');
is($r[0]{headers}{'x-reason'}, 'store', 'reject: reason');
cmp_ok($r[0]{headers}{'retry-after'}, '<', 10, 'reject: retry soon');
like($r[0]{body}, qr/temporary-reduced-capacity/, 'reject: problem');
is(counters($na, 'reject')->{reasons}{store}, 2, 'reject: counted');
is($na->get('/dry?k=a')->{status}, 200, 'reject: not in a dry run');

# 20 of both hosts: 10 each

@r = map { $na->get('/local?k=a') } 1 .. 15;

is(scalar(grep { $_->{status} == 200 } @r), 10, 'local: half of it');
is($r[0]{headers}{'x-status'}, 'PASSED', 'local: status');
is($r[14]{headers}{'x-reason'}, 'quota', 'local: reason');

# nine of all newcomers of a key, and each counts for both hosts: after four
# there is room for one that counts once, but not for this

@r = map { $na->get("/fresh?k=new$_&n=a") } 1 .. 5;

is(codes(@r), '200 200 200 200 429', 'local: newcomers share a bucket');
is($r[4]{headers}{'x-reason'}, 'newcomer', 'local: a newcomer is told so');
cmp_ok($r[4]{headers}{'retry-after'}, '>=', 55,
       'local: and when there is room, as it was judged');
cmp_ok($r[4]{headers}{'retry-after'}, '<=', 90, 'local: not later');
is($na->get('/fresh?k=new5&n=b')->{status}, 200, 'local: of another key');

@r = map { $na->get('/fast?k=a') } 1 .. 3;
is(codes(@r), '200 200 200', 'local: a limit of few requests');

# at half of the rate for two seconds, of which a busy machine may sleep some:
# what a bucket of ten did not hold meanwhile nobody could have asked for

my $start = time;
my ($n, $slept, $last) = (0, 0, $start);

while (time < $start + 2) {
    $n += grep { $_->{status} == 200 }
          $na->pipeline(map { "/fast?k=rate" } 1 .. 20);

    my $now = time;

    $slept += $now - $last - 0.1 if $now - $last > 0.1;
    $last = $now;
}

my $most = 10 + (time - $start) * 50 + 2;

cmp_ok($n, '<=', $most, 'local: half of the rate');
cmp_ok($n, '>=', ($most - $slept * 50) * 0.8, 'local: and not less');


# frozen: requests wait, but not for long, and then not at all

ok(in_touch($na), 'in touch');
ok(in_touch($nb), 'in touch, the other');

is($nb->get('/main?k=f')->{status}, 200, 'before');

kill 'STOP', $redis->{pid};

my (@status, @first, @last);

for my $i (1 .. 60) {
    for my $uri ("/main?k=f$i", "/strict?k=f$i") {
        my $t = time;
        my $r = $na->get($uri);

        push @status, $r->{status};
        push @{ $i > 50 ? \@last : \@first }, time - $t;
    }
}

is(scalar(grep { $_ != 200 } @status), 0, 'frozen: all are answered');

@first = sort { $a <=> $b } @first;
@last = sort { $a <=> $b } @last;

# 50 ms, and what a busy machine adds
cmp_ok($first[-1], '<', 0.05 + 0.1 * $PrdTest::SLOW,
       'frozen: none waits for long');
cmp_ok($last[@last / 2], '<', 0.02 * $PrdTest::SLOW,
       'frozen: after a while none waits');

cmp_ok(counters($na, 'main')->{lease_away}, '>', 0, 'counted');
is($na->json('/status')->{stores}{main}{decided_without},
   counters($na, 'main')->{lease_away} + counters($na, 'strict')->{lease_away},
   'and told for the store');

# this host's half: what is admitted now is charged later

@r = map { $na->get('/main?k=debt') } 1 .. 15;

is(scalar(grep { $_->{status} == 200 } @r), 10, 'frozen: half of it');

# the limits that need no store

is($na->get('/n')->{status}, 200, 'not limited');

@r = map { $na->get('/both?k=both') } 1 .. 12;

is(scalar(grep { $_->{status} == 200 } @r), 10, 'two limits, one of them here');

kill 'CONT', $redis->{pid};

ok(in_touch($na), 'thawed: in touch again');
ok(in_touch($nb), 'thawed: the other too');

ok(wait_until(5, sub { books($na, 'main')->{owed} == 0 }),
   'thawed: nothing is owed');

@r = map { $nb->get('/main?k=debt') } 1 .. 15;

cmp_ok(scalar(grep { $_->{status} == 200 } @r), '<=', 10,
       'thawed: what one host let through, the other does not');

for my $zone ('main', 'strict') {
    ok(wait_until(15, sub { books($na, $zone)->{balanced} }),
       "$zone: the books are balanced");
}


# dead, and back empty

$na->stop_process($redis, 'KILL');

@status = ();
my $longest = 0;

for my $i (1 .. 30) {
    for my $uri ("/main?k=d$i", "/strict?k=d$i", "/main?k=f") {
        my $t = time;

        push @status, $nb->get($uri)->{status};
        $longest = time - $t if time - $t > $longest;
    }
}

is(scalar(grep { $_ != 200 && $_ != 429 } @status), 0, 'dead: all answered');
cmp_ok($longest, '<', 0.05 + 0.1 * $PrdTest::SLOW, 'dead: in time');

# one that is not there is tried at each tick of 100 ms, however long it takes

sub failures {
    my ($t) = @_;

    return $t->json('/status')->{stores}{main}{connection_failures};
}

my $failures = failures($na);

sleep 2;
cmp_ok(failures($na) - $failures, '>=', 12 / $PrdTest::SLOW,
       'dead: tried at each tick');
cmp_ok(failures($na) - $failures, '<=', 60 * $PrdTest::SLOW,
       'dead: not more often');

$redis = $na->redis(5);
$start = time;

ok(in_touch($na), 'back: in touch');
ok(in_touch($nb), 'back: in touch, the other');
cmp_ok(time - $start, '<', 0.2 + 0.3 * $PrdTest::SLOW, 'back: soon');

# the first to be heard of by an empty Redis is not alone for that

my $least = 2;

for (1 .. 30) {
    my @n = map { counters($_, 'main')->{lease}{nodes} } $na, $nb;

    ($least) = sort { $a <=> $b } $least, @n;
    sleep 0.05;
}

is($least, 2, 'back: the others are still counted');

# Nor is it when Redis forgets all for a moment too short to be missed: another
# one that says nothing then is gone after three seconds.

sub nodes { return counters($na, 'main')->{lease}{nodes} }

sleep 3;                                # it is three seconds since it was back

my @stopped = $nb->worker_pids;

kill STOP => @stopped;
$na->redis_cli(5, 'flushall');

my $alone = wait_until(5 * $PrdTest::SLOW, sub {
    return $na->redis_cli(5, 'zcard', 'prd:1:{nodes}:live') == 1;
});

sleep 0.3;
is($alone ? nodes() : 'nobody', 2, 'emptied: the others are still counted');

# however often it does so: it never had the time to hear of all

my $until = time + 4.5;

while (time < $until) {
    $na->redis_cli(5, 'flushall');
    sleep 0.3;
}

is(nodes(), 2, 'emptied again and again: they still are');
ok(wait_until(8 * $PrdTest::SLOW, sub { nodes() == 1 }),
   'silent for three seconds: gone');

kill CONT => @stopped;
ok(wait_until(8 * $PrdTest::SLOW, sub { nodes() == 2 }), 'and back');
ok(in_touch($nb), 'in touch');

@r = map { ($_ % 2 ? $na : $nb)->get('/strict?k=new') } 1 .. 25;

is(scalar(grep { $_->{status} == 200 } @r), 20, 'back: one limit for both');

# who has not heard of the others learns from its configuration how many

$na->conf($conf =~ s/nodes 2;/nodes 5;/gr)->reload;

is(counters($na, 'local')->{lease}{nodes}, 5, 'another number of nodes');

@r = map { $na->get('/local?k=five') } 1 .. 10;
is(scalar(grep { $_->{status} == 200 } @r), 4, 'local: a fifth of it');

unlike($_->error_log, qr/sixteen bytes/, 'no secret in the log')
    for $na, $nb;

done_testing();
