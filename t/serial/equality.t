# The same requests through nginx and through predictive-replay, reading the
# access log that nginx wrote, get the same verdicts: it is the same engine.
#
# There is no traffic for a second around the ends of bins, where nginx's
# thread closes blocks some milliseconds after the clock says so.
#
# nginx limits by its monotonic clock, which is limit_req's too, and logs the
# wall clock: a request that falls on a limit to the millisecond may fall the
# other way, one in a hundred at most, and the token that it took or left then
# decides some of the next: of a pool that all clients share, up to three.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PrdTest qw(slurp);
use Test::More;
use Time::HiRes qw(time sleep);


my $replay = $ENV{PRD_REPLAY} || "$FindBin::Bin/../../build/predictive-replay";

my %zones = (
    learned => 'capacity=6r/s warmup=0s',
    strict  => 'capacity=8r/s borrow=off floor=none warmup=0s',
    plain   => 'rate=4r/s burst=6 learn=off',
    mixed   => 'rate=2r/s burst=3 capacity=6r/s warmup=0s',
);

my $t = PrdTest->new;

my $conf = "access_log off;\nlog_format tsv \"\$msec\\t\$arg_k\\t\$arg_class\\t\$bytes_sent"
           . "\\t\$status\\t\$predictive_status\\t\$predictive_reason\";\n";

for my $z (sort keys %zones) {
    $conf .= "predictive_zone \$arg_k zone=$z:1m $zones{$z}"
             . " class=\$arg_class;\n";
}

$conf .= "server {\n    listen 127.0.0.1:%%PORT%%;\n"
         . "    keepalive_requests 100000;\n";

for my $z (sort keys %zones) {
    my $nodelay = $zones{$z} =~ /rate=/ ? ' nodelay' : '';
    $conf .= "    location = /$z { predictive zone=$z$nodelay; empty_gif;\n"
             . "        access_log %%DIR%%/$z.tsv tsv; }\n";
}

$conf .= "}\n";

$t->conf($conf)->start;


# Honest clients that come and go, and one that floods from the third bin on.

srand(7);

my $bins = 5;
my $start = (int(time() / 10) + 1) * 10 + 1;

sleep($start - time());

my $c = $t->connect;

for my $bin (0 .. $bins - 1) {
    my $from = $start + 10 * $bin;
    my @plan;

    for my $k (0 .. 9) {
        next if rand() < 0.2;
        push @plan, [ rand(7.8), "honest$k", $k % 3 ] for 1 .. 1 + rand(6);
    }

    if ($bin >= 2) {
        push @plan, [ rand(7.8), 'thief', 7 ] for 1 .. 150;
    }

    for my $r (sort { $a->[0] <=> $b->[0] } @plan) {
        my $wait = $from + $r->[0] - time();
        sleep($wait) if $wait > 0;

        last if time() > $from + 8.4;

        for my $z (sort keys %zones) {
            $c->get("/$z?k=$r->[1]&class=c$r->[2]");
        }
    }
}

$c->close;
$t->stop;


for my $z (sort keys %zones) {
    my $log = $t->dir . "/$z.tsv";
    my @lines = split /\n/, slurp($log);

    my @got = map { /\tREJECTED\t/ ? 2 : /\tDELAYED\t/ ? 1 : 0 } @lines;
    my %seen;
    $seen{$_}++ for map { (split /\t/)[5] } @lines;

    my @options = map { "--$_" } split / /, $zones{$z};

    push @options, '--nodelay' if $zones{$z} =~ /rate=/;

    my $out = $t->dir . "/$z.dec";
    my $rc = system($replay, '--quiet', '--format', 'tsv', '--zone-size', '1m',
                    @options, '--decisions', $out, $log);

    is($rc, 0, "$z: the tool replays nginx's log");

    my @want = map { (split)[0] } split /\n/, slurp($out);

    is(scalar @want, scalar @got, "$z: a decision for each of "
                                  . scalar(@got) . ' requests');

    my @differ = grep { $got[$_] != $want[$_] } 0 .. $#got;

    my $most = ($zones{$z} =~ /capacity/ ? 4 : 2) * @got / 100;

    cmp_ok(scalar @differ, '<=', $most, "$z: same verdicts ("
           . join(', ', map { "$seen{$_} $_" } sort keys %seen) . ')')
        or diag(map { "$lines[$_] nginx $got[$_] tool $want[$_]\n" }
                    grep { defined } @differ[0 .. 4]);

    ok($seen{REJECTED}, "$z: some were refused");
    ok($seen{PASSED}, "$z: some passed");
}

done_testing();
