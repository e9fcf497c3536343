
# predictive-replay --series: forecasts of series of counts, made before a bin
# is seen, and what it says of bad ones.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Compress::Gzip qw(gzip $GzipError);
use PrdTest qw(slurp spew);
use Test::More;


my $t = PrdTest->new;
my $dir = $t->dir;
my $replay = $ENV{PRD_REPLAY} || "$PrdTest::ROOT/build/predictive-replay";

my $head = "series_id,bin_seconds,t0,kind,counts\n";
my $asked = "series_id,bin_seconds,group,origins\n";

# status, standard output, standard error

sub replay {
    my (@args) = @_;

    my $pid = fork // die "fork: $!\n";

    if (!$pid) {
        open STDIN, '<', '/dev/null' or die "$!\n";
        open STDOUT, '>', "$dir/stdout" or die "$!\n";
        open STDERR, '>', "$dir/stderr" or die "$!\n";
        exec $replay, @args;
        die "$replay: $!\n";
    }

    waitpid $pid, 0;

    return ($? & 127 ? "signal $?" : $? >> 8, slurp("$dir/stdout"),
            slurp("$dir/stderr"));
}

# the rows of forecasts, without the time that they took

sub forecasts {
    my ($series, $origins) = @_;

    spew("$dir/series.csv", $head . $series);
    spew("$dir/origins.csv", $asked . $origins);
    unlink "$dir/out.csv";

    my ($status, undef, $err)
        = replay('--series', "$dir/series.csv", '--origins',
                 "$dir/origins.csv", '--forecasts', "$dir/out.csv");

    return "status $status: $err" if $status;

    my @lines = split /\n/, slurp("$dir/out.csv");

    is(shift @lines, 'series_id,bin_seconds,origin,method,horizon,q50,q90,'
       . 'q95,q99,seconds', 'the first line');

    s/,[\d.]+$// for @lines;

    return @lines;
}

# a series of n bins by a function of its number

sub series {
    my ($id, $bin, $t0, $kind, $n, $f) = @_;

    return "$id,$bin,$t0,$kind," . join(' ', map { $f->($_) } 0 .. $n - 1)
           . "\n";
}

my $day = 1700006400;
my $busy = series('a:c1', 300, $day, 'heavy', 600,
                  sub { 20 + ($_[0] * 7919) % 11 });
my $other = series('a:c2', 300, $day, 'light', 600,
                   sub { ($_[0] * 104729) % 13 == 0 ? 3 : 0 });
my $all = series('a:agg', 300, $day, 'agg', 600,
                 sub { 100 + ($_[0] * 31) % 17 });
my $ask = "a:c1,300,x,200;400;588\na:agg,300,x,400\n";


my @rows = forecasts($busy . $other . $all, $ask);

is(@rows, 12, 'three rows an origin');
is((grep { /^a:c1,300,(200|400|588),predictive,(1|6|12)(,\d+\.\d{4}){4}$/ }
    @rows), 9, 'of a client');
is((grep { /^a:agg,300,400,predictive,(1|6|12)(,\d+\.\d{4}){4}$/ } @rows), 3,
   'of an aggregate');

my ($row) = grep { /^a:c1,300,588,predictive,12,/ } @rows;
my @q = (split /,/, $row)[5 .. 8];

ok($q[0] >= 20 && $q[0] <= 30 && $q[3] <= 40, "quantiles: @q");
ok($q[0] <= $q[1] && $q[1] <= $q[2] && $q[2] <= $q[3], 'in order');

# What comes at and after an origin changes nothing before it, whoever it
# comes to.

my $cut = 400;
my @changed = forecasts(join('', map {
    my ($what, $counts) = /^(.*,)(.*)$/ or die;
    my @y = split / /, $counts;
    $_ *= 50 for @y[$cut .. $#y];
    "$what@y\n";
} split /\n/, $busy . $other . $all), $ask);

is_deeply([grep { !/,588,/ } @changed], [grep { !/,588,/ } @rows],
          'nothing is known before it has happened');
isnt((grep { /,588,predictive,1,/ } @changed)[0],
     (grep { /,588,predictive,1,/ } @rows)[0], 'and something after that');

# Bins of another series that are not over at the origin are not known either.

my $late = sub {
    my ($y) = @_;

    return series('a:c2', 300, $day + 100, 'light', 600,
                  sub { $_[0] >= 399 ? $y : $_[0] % 5 });
};

my @first = forecasts($busy . $late->(0), "a:c1,300,x,400\n");
my @second = forecasts($busy . $late->(900), "a:c1,300,x,400\n");

is_deeply(\@second, \@first, 'a bin that ends later is not known');

@first = forecasts($busy, "a:c1,300,x,400\n");
@second = forecasts($busy . ($other =~ s/^a:/b:/r), "a:c1,300,x,400\n");

is_deeply(\@second, \@first, 'another trace is another world');

my @again = forecasts($busy . $other . $all, $ask);

is_deeply(\@again, \@rows, 'the same again');

gzip(\($head . $busy . $other . $all) => "$dir/series.csv.gz")
    or die $GzipError;
spew("$dir/origins.csv", $asked . $ask);
is((replay('--series', "$dir/series.csv.gz", '--origins', "$dir/origins.csv",
           '--forecasts', "$dir/out.csv"))[0], 0, 'gzip');
is(join("\n", map { s/,[\d.]+$//r } (split /\n/, slurp("$dir/out.csv"))
        [1 .. 12]), join("\n", @rows), '... says the same');

@rows = forecasts(series('a:c9', 600, 0, 'heavy', 20, sub { 0 }),
                  "a:c9,600,x,0;20\n");
is((grep { /(,0\.0000){4}$/ } @rows), 6, 'nothing, and nothing before');

my ($status, $out) = replay('--series', "$dir/series.csv.gz");

is($status, 0, 'without origins');
like($out, qr/^client-busy\@300 +599 +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$/m,
     'a table of what is covered');
like($out, qr/^aggregate\@300 +599 /m, '... aggregates too');

# the network: with something that it can learn

my $wave = join '', map {
    my $n = $_;
    series("a:w$n", 600, 0, 'heavy', 700, sub {
        int(20 * $n * (1 + sin(($_[0] + $n) / 5)) + ($_[0] * 7919 * $n) % 9)
    })
} 1 .. 4;

my @without = forecasts($wave, "a:w2,600,x,650;690\n");

is((replay('--series', "$dir/series.csv", '--origins', "$dir/origins.csv",
           '--forecasts', "$dir/out.csv", '--network', 'on'))[0], 0,
   'with the network');

my @with = map { s/,[\d.]+$//r } (split /\n/, slurp("$dir/out.csv"))[1 .. 6];

is(scalar(grep { /^a:w2,600,\d+,predictive(,[\d.]+){5}$/ } @with), 6,
   '... forecasts');
isnt("@with", "@without", '... that are others');


# Bad input: exit 2, file and line.

sub bad {
    my ($name, $series, $origins, $want) = @_;

    like(join("\n", forecasts($series, $origins)), $want, $name);
}

bad('a column less', "a:c1,300,0,heavy\n", $ask,
    qr/^status 2: .*series\.csv:2: /);
bad('no number', $busy . "a:c2,300,0,light,1 x 3\n", $ask,
    qr/^status 2: .*series\.csv:3: a count/);
bad('less than nothing', "a:c1,300,0,light,1 -3\n", $ask,
    qr/^status 2: .*series\.csv:2: a count/);
bad('no counts', "a:c1,300,0,light,\n", $ask,
    qr/^status 2: .*series\.csv:2: no counts/);
bad('no length', "a:c1,0,0,light,1\n", $ask,
    qr/^status 2: .*series\.csv:2: bin_seconds/);
bad('no time', "a:c1,300,-7,light,1\n", $ask,
    qr/^status 2: .*series\.csv:2: t0/);
bad('no kind', "a:c1,300,0,odd,1\n", $ask,
    qr/^status 2: .*series\.csv:2: kind/);
bad('twice', $busy . $busy, $ask, qr/^status 2: .*a:c1 is there twice/);
bad('a series that there is not', $busy, "a:c1,300,x,5\na:c3,300,x,5\n",
    qr/^status 2: .*origins\.csv:3: there is no such series/);
bad('listed twice', $busy, "a:c1,300,x,5\na:c1,300,x,6\n",
    qr/^status 2: .*origins\.csv:3: the series was listed/);
bad('an origin beyond', $busy, "a:c1,300,x,5;601\n",
    qr/^status 2: .*origins\.csv:2: an origin is behind/);
bad('no origin', $busy, "a:c1,300,x,\n", qr/^status 2: .*origins\.csv:2: /);
bad('too few columns', $busy, "a:c1,300\n",
    qr/^status 2: .*origins\.csv:2: /);

spew("$dir/series.csv", "something,else\n");
like((replay('--series', "$dir/series.csv"))[2],
     qr/series\.csv:1: must be/, 'another first line');
spew("$dir/series.csv", $head . $busy);
spew("$dir/origins.csv", "a,b\n");
like((replay('--series', "$dir/series.csv", '--origins', "$dir/origins.csv",
             '--forecasts', "$dir/out.csv"))[2],
     qr/origins\.csv:1: must have/, 'other columns');

for ([['--series', "$dir/none"], qr/none: No such file/],
     [['--series', "$dir/series.csv", '--origins', 'x'], qr/need each other/],
     [['--origins', 'x', '--forecasts', 'y'], qr/need --series/],
     [['--series', "$dir/series.csv", 'x'], qr/takes no log/],
     [['--series', "$dir/series.csv", '--rate', '1r/s'],
      qr/--rate goes with a log, not with --series/],
     [['--series', "$dir/series.csv", '--network', 'yes'],
      qr/--network: "network=yes" must be on or off/])
{
    my ($status, undef, $err) = replay(@{$_->[0]});

    is($status, 2, "@{$_->[0]}");
    like($err, $_->[1], '... is told');
}


done_testing();
