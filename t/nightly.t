
# A nightly batch of a client that does little by day: forecast by the third
# night, the interval covering it, and let pass from then on, by strict limits
# and through a flood of strangers alike.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(slurp spew);
use Test::More;


my $t = PrdTest->new;
my $dir = $t->dir;
my $replay = $ENV{PRD_REPLAY} || "$PrdTest::ROOT/build/predictive-replay";

my $start = 1699920000;                     # a midnight
my $nights = 8;
my $batch = 0;                              # clients
my $flood = 100000;

# Requests [s, client] of eight days: some people by day, passers-by, a client
# of eight requests an hour that sends 3000 in ten minutes at 02:01, and from the third
# night on a new one that does just that.

sub requests {
    my ($flooded) = @_;
    my (@r, $s);

    srand 2;

    for my $client (2 .. 9) {
        my $gap = 20 * exp(2 * rand);

        for ($s = rand $gap; $s < $nights * 86400; $s -= $gap * log(1 - rand)) {
            my $h = ($s / 3600) % 24;
            push @r, [$s, $client]
                if rand() < 0.2 + 0.8 * exp(-(($h - 14) / 4) ** 2 / 2);
        }
    }

    for ($s = 0; $s < $nights * 86400; $s -= 450 * log(1 - rand)) {
        push @r, [$s, $batch];
    }

    for my $client (100 .. 100 + 80 * $nights) {
        $s = $nights * 86400 * rand;

        push @r, [$s += 60 * rand, $client] for 0 .. 2 + rand 8;
    }

    for my $night (0 .. $nights - 1) {
        my $at = $night * 86400 + 7260 + 30 * (2 * rand() - 1);

        push @r, [$at + 600 * rand, $batch] for 1 .. 3000 * (0.9 + 0.2 * rand);

        next if $night < 2;

        push @r, [$at + 600 * rand, $flood + $night * 10000] for 1 .. 3000;

        next if !$flooded;

        push @r, [$at - 30 + 660 * rand, $flood + $night * 10000 + int rand 500]
            for 1 .. 20 * 660;
    }

    return sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @r;
}

# What share of its requests was limited in each night, and at last of the
# strangers'.

sub nights {
    my ($requests, @args) = @_;

    spew("$dir/log.tsv", join '', map {
        sprintf "%.3f\t%d\t0\t0\t200\n", $start + $_->[0], $_->[1]
    } @$requests);

    system($replay, '--format', 'tsv', '--quiet', @args, '--decisions',
           "$dir/decisions", "$dir/log.tsv") == 0
        or return "replay ended with $?";

    my @d = split /\n/, slurp("$dir/decisions");
    my (@all, @limited);

    for my $i (0 .. $#$requests) {
        my ($s, $client) = @{$requests->[$i]};
        my $in = $s % 86400;

        next if $in < 7200 || $in > 8000 || $client && $client < $flood;

        my $k = $client == $batch ? int $s / 86400 : $nights;

        $all[$k]++;
        $limited[$k] += $d[$i] ne '0';
    }

    return map { ($limited[$_] || 0) / $all[$_] } 0 .. $nights;
}


my @calm = requests(0);
my @share = nights(\@calm, '--capacity', '1000r/s', '--borrow', 'off',
                   '--floor', 'none');

note "strict: @share";

is($share[0], 0, 'strict: nothing is limited in the warm-up');
is_deeply([@share[2 .. 7]], [(0) x 6], 'from the third night on it passes');
cmp_ok($share[8], '>', 0.3, 'who does the same without a habit does not');

my @flooded = requests(1);

@share = nights(\@flooded, '--capacity', '15r/s');

note "a flood: @share";

is_deeply([@share[0, 1]], [0, 0], 'with room nothing is limited');
is_deeply([@share[2 .. 7]], [(0) x 6],
          'nor from the third night on, while strangers take all there is');
cmp_ok($share[8], '>', 0.3, 'who are limited');


# The same client as a series of hours: what is forecast at 02:00.

srand 4;

my @counts = map {
    my $night = $_;
    map { int(8 * (0.5 + rand)) + ($_ == 2 ? int(3000 * (0.9 + 0.2 * rand))
                                           : 0) } 0 .. 23;
} 0 .. 13;
my @origins = map { ($_ * 24 + 1, $_ * 24 + 2) } 1 .. 13;

spew("$dir/series.csv", "series_id,bin_seconds,t0,kind,counts\n"
     . "a:c1,3600,$start,heavy,@counts\n");
spew("$dir/origins.csv", "series_id,bin_seconds,group,origins\n"
     . 'a:c1,3600,x,' . join(';', @origins) . "\n");

is(system($replay, '--series', "$dir/series.csv", '--origins',
          "$dir/origins.csv", '--forecasts', "$dir/forecasts.csv"), 0,
   'a series of its hours');

my (%upper, %middle);

for (split /\n/, slurp("$dir/forecasts.csv")) {
    my @f = split /,/;

    ($middle{$f[2]}, $upper{$f[2]}) = @f[5, 8] if $f[4] eq '1';
}

ok($upper{50} >= $counts[50],
   "third night: $counts[50] within 99 %, $upper{50}");

my @covered = grep { $upper{$_ * 24 + 2} >= $counts[$_ * 24 + 2] } 2 .. 13;

cmp_ok(scalar @covered, '>=', 10, 'and most of the nights after it');

my @known = grep { $middle{$_ * 24 + 2} > 2500 } 7 .. 13;
my @idle = grep { $middle{$_ * 24 + 1} < 20 } 7 .. 13;

is(@known, 7, 'after a week the batch is what is expected');
is(@idle, 7, 'and nothing an hour earlier');

done_testing();
