# Nodes that share a store: alive, learning as one, a pool for all.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

BEGIN { $ENV{PRD_TIMEOUT} ||= 240 }

use PrdRedis;
use PrdTest qw(wait_until spew);
use Test::More;
use Time::HiRes qw(time sleep);


my $slow = $PrdTest::SLOW;

# the store is the first node's
my %node = map { $_ => PrdTest->new } qw(a b c);
my $t = $node{a};
my $redis = $t->redis(9);
my $port = $t->port(9);

sub conf {
    return <<"END";
worker_processes 2;

predictive_store s {
    server 127.0.0.1:$port;
    secret file:%%DIR%%/secret;
    sync 50ms;
    wait 200ms;
    timeout 300ms;
}

predictive_zone \$arg_key zone=one:1m rate=1r/s store=s warmup=0;
predictive_zone \$arg_key zone=late:1m rate=1r/s store=s warmup=22s;
predictive_zone \$arg_key zone=pool:1m rate=10000r/s capacity=40r/s store=s
                          learn=off;

server {
    listen 127.0.0.1:%%PORT%%;

    root %%DIR%%/html;
    add_header X-Status \$predictive_status;
    add_header X-Reason \$predictive_reason;
    add_header X-Burst \$predictive_burst;
    add_header X-Key \$predictive_key;

    location / {
        predictive zone=one burst=60 nodelay;
        predictive zone=late burst=60 nodelay;
        try_files /passed =404;
    }

    location /late {
        predictive zone=late burst=60 nodelay;
        try_files /passed =404;
    }

    location /pool {
        predictive zone=pool burst=9000 nodelay;
        try_files /passed =404;
    }
}
END
}

for my $n (qw(a b c)) {
    PrdRedis::secret_file($node{$n}, 'secret');
    spew($node{$n}->dir . '/html/passed', "passed\n");
    $node{$n}->conf(conf());
}


sub cli { return $t->redis_cli(9, @_) }

sub value { return cli('--no-raw', 'GET', $_[0]) }

# a bin begins; there are some seconds until it ends

sub bin_begins {
    my ($room) = @_;

    my $left = 10 - (time - 10 * int(time / 10));

    sleep $left + 0.05 if $left < $room;
}

sub requests {
    my ($n, $key, $count, $path) = @_;

    return map { $node{$n}->get(($path || '/') . "?key=$key") } 1 .. $count;
}


# Alive

$node{$_}->start for qw(a b);

for my $n (qw(a b)) {
    ok($node{$n}->wait_for_log(qr/store "s": 2 nodes/), "$n knows of two");
}

my @homes = map { my ($h) = $node{$_}->error_log
                      =~ /.*2 nodes, home of (\d+) of 64/s; $h } qw(a b);

is($homes[0] + $homes[1], 64, "each group has a home: @homes");


# Learned of requests to both

bin_begins(6 * $slow);

my $began = time;
my ($known) = requests('a', 'k1', 1);

is($known->{headers}{'x-reason'}, 'quota', 'strangers at first');

for my $k (1 .. 20) {
    my $n = $k % 2 ? 'a' : 'b';

    requests($n, "k$k", 15);
    requests($n eq 'a' ? 'b' : 'a', "k$k", 15);
}

note sprintf 'asked in %.1f s', time - $began;

my %key = map { my ($r) = requests('a', "k$_", 1);
                ("k$_" => $r->{headers}{'x-key'}) } 1 .. 20;

# the record of a client in the store: its blocks

sub record {
    my ($key, $zone) = @_;

    my $hex = $key{$key};
    my $group = hex(substr $hex, 0, 2) >> 2;
    my $name = sprintf 'prd:1:{%s:s%03d}:%s', $zone || 'one', $group, $hex;
    my $escaped = value($name);

    $escaped =~ s/^"//;
    $escaped =~ s/"$//;
    $escaped =~ s/\\(?:x(..)|(.))/defined $1 ? chr hex $1
        : { n => "\n", r => "\r", t => "\t", a => "\a", b => "\b" }->{$2}
          || $2/ges;

    return unless length $escaped > 46;

    my %r;

    @r{qw(version sum by at mu sigma mu_rate sigma_rate depth rate cap_depth
          cap_rate count level near hold depth_age rate_age hour_age near_age
          blocks hours run flags)}
        = unpack 'C C v V v4 v4 v3 v v2 v2 v2 C C', substr $escaped, -46;

    return \%r;
}

my @blocks = ();

# what came after the middle of the last tick of a bin is told with the next

ok(wait_until(25 * $slow, sub {
    @blocks = map { my $r = record("k$_"); $r ? $r->{blocks} : 0 } 1 .. 20;
    return !grep { $_ < 1 } @blocks;
}), 'each home publishes what it has learned') or diag "@blocks";

# (a bin may have ended between requests: then the rest comes with the next)

my $count = 0;

ok(wait_until(14 * $slow, sub {
    my $r = record('k5') or return;

    $count = 2 ** (($r->{count} - 1) / 1024 - 20);
    return $count >= 30 * 0.99;
}), 'of the requests to both nodes') or diag "$count of 30";


# Known elsewhere, at the first request there

$node{c}->start;

my $joined = time;

ok($node{c}->wait_for_log(qr/"s": 3 nodes/), 'a third node');
ok($node{c}->wait_for_log(qr/zone "one": begins with what other nodes/,
                          timeout => 15 * $slow),
   'begins with what the others have learned');

($known) = requests('c', 'k7', 1);
is($known->{headers}{'x-status'}, 'PASSED', 'the first request there');
is($known->{headers}{'x-reason'}, 'forecast', 'and by its forecast');

my ($second) = requests('c', 'k7', 1);

is($second->{headers}{'x-reason'}, 'forecast', 'knows the client');
cmp_ok($second->{headers}{'x-burst'}, '>', 0, 'and its envelope');

my ($at_a) = requests('a', 'k7', 1);

is($second->{headers}{'x-burst'}, $at_a->{headers}{'x-burst'},
   'which is that of the others');


# The pool, for all of them

my (%passed, $from);

$from = time;

for my $round (1 .. 6) {
    for my $n (qw(a b c)) {
        my @r = $node{$n}->pipeline(("/pool?key=$n$round") x 100);

        $passed{$n} += grep { $_->{status} == 200 } @r;
    }
}

my $took = time - $from;
my $all = $passed{a} + $passed{b} + $passed{c};
my $bound = 40 * (10 + $took + 0.5) + 3 * 40 * 5 / 64 + 3;

cmp_ok($all, '<=', $bound, sprintf "of 1800 requests %d admitted in %.1f s",
       $all, $took);
# half of a full pool is leased at once, the rest from tick to tick
cmp_ok($all, '>', 40 * 10 * 0.4, 'what was leased at least');


# A home dies: its groups move, and learning goes on from the records

$node{a}{no_checks} = 1;
kill 'KILL', $node{a}->master_pid, $node{a}->worker_pids;
my $killed = time;

for my $n (qw(b c)) {
    ok(wait_until(8 * $slow, sub {
        my @n = $node{$n}->error_log =~ /"s": (\d) nodes/g;

        return $n[-1] == 2;
    }), "$n notices");
}

cmp_ok(time - $killed, '<', 6 * $slow, sprintf 'after %.1f s', time - $killed);

bin_begins(5 * $slow);
requests('b', "k$_", 3) for 1 .. 20;

ok(wait_until(14 * $slow, sub {
    @blocks = map { record("k$_")->{blocks} } 1 .. 20;
    return !grep { $_ < 2 } @blocks;
}), 'learned of on, by whoever is home now') or diag "@blocks";
is((grep { $_ > 4 } @blocks), 0, 'a block a bin');


# Warm-up began with the first node, not with the third

my ($late) = requests('c', 'k9', 2, '/late');

is($late->{status}, 200, 'passed');

# where bins ended early the first node's 22 s are not over yet

wait_until($joined + 20 - time, sub {
    sleep 0.5;
    ($late) = requests('c', 'k9', 1, '/late');
    return $late->{headers}{'x-reason'} ne 'quota';
});

is($late->{headers}{'x-reason'}, 'forecast',
   'a new node has no warm-up of its own')
    or diag(sprintf '%.1f s after it joined', time - $joined);

done_testing();
