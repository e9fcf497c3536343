# Groups and forecasts from a log: predictive-replay learns them, nginx starts
# with them, and they outlive it.  Hours are those of TZ.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(slurp wait_until);
use Test::More;


$ENV{TZ} = 'JST-9';                   # Tokyo, whatever the host knows of it

my $t = PrdTest->new;
my $dir = $t->dir;


# Five days of a log, until now: requests around the clock, at office hours,
# one job a night, now and then; a tenth of that of a real one.

my $end = time;
my $midnight = int(($end + 9 * 3600) / 86400) * 86400 - 9 * 3600;
my $seed = 11;
my @requests;
my %class = (power => 'api', batch => 'export', office => 'page');

sub draw { $seed = ($seed * 1103515245 + 12345) % 2147483648; $seed >> 8 }

sub at {
    my ($s, $client) = @_;

    return if $s <= $end - 5 * 86400 || $s > $end;

    my $class = $class{$client =~ s/\d+//r} // '';

    push @requests, [$s, "key=$client&class=$class", 500 + draw() % 1000];
}

for my $day (map { $midnight - $_ * 86400 } reverse 0 .. 5) {
    for my $n (1 .. 12) {
        my $s = $day + draw() % 400;

        while ($s < $day + 86400) {
            at($s, "power$n");
            $s += 100 + draw() % 400;
        }

        $s = $day + 2 * 3600 + 60 * $n + draw() % 30;
        at($s += draw() % 8, "batch$n") for 1 .. 200 + 20 * $n;

        at($day + 9 * 3600 + draw() % (8 * 3600), "office$n")
            for 1 .. 60 + 4 * $n;

        at($day + draw() % 86400, "light$n") for 1 .. 4 + $n / 4;
    }
}

$t->conf(<<'END');
worker_processes 2;
predictive_zone $arg_key zone=one:1m rate=10r/s burst=20 class=$arg_class network=on;
predictive_state %%DIR%%/state/learned interval=1s;

server {
    listen 127.0.0.1:%%PORT%%;

    add_header X-Group $predictive_group always;

    location / {
        predictive zone=one nodelay;
        try_files /none @ok;
    }

    location @ok { return 204; }
    location /api/ { predictive_api; }
}
END

$t->learn('one', @requests);


sub groups { $t->json('/api/zones/one/groups') }

sub explained {
    my $r = $t->request(POST => '/api/zones/one/explain', body => $_[0]);

    return PrdTest::decode_json($r->{body});
}

sub curve {
    return join "\n", map {
        my $p = $_;
        join ' ', map { defined $p->{$_} ? "$_=$p->{$_}" : () }
                  grep { !/bytes/ } sort keys %$p;
    } @{ explained($_[0])->{forecast}{curve} };
}

sub sum { my $n = 0; $n += $_ for @_; $n }


# who wrote it

sub writer { unpack 'x32 V', slurp("$dir/state/learned") }

my $writer = writer();

$t->start;

my $groups = groups();
my @groups = @{ $groups->{groups} };

cmp_ok($groups->{tracked}, '>=', 45, 'clients are known');
is(join(' ', sort map { "$_->{name} $_->{size}" } @groups),
   'batch 12 diurnal 12 light 12 power 12', 'groups')
    or diag(explain($groups));
cmp_ok($_->{id}, '<=', 6, "$_->{name}: none came and went") for @groups;
is((grep { !defined $_->{forecast} || @{ $_->{forecast} } != 6 } @groups), 0,
   'each has a curve');
is((grep { my $g = $_; grep { $_->{upper99_rps} < $_->{forecast_rps} }
           @{ $g->{forecast} } } @groups), 0, '... in order');

# who is in which

my %group;

for my $client (map { my $kind = $_; map { "$kind$_" } 2, 7, 11 }
                qw(power batch office))
{
    my $r = $t->get("/?key=$client");

    $group{$client} = $r->{headers}{'x-group'};
    ok($group{$client}, "$client: " . ($group{$client} // 'no group'));
    is(explained($client)->{group}, $group{$client}, "$client: explained");
}

is($t->get('/?key=nobody')->{headers}{'x-group'} // '', '', 'a stranger: none');
isnt($group{power2}, $group{batch2}, 'kinds are told apart');

# local hours: the job is at two in Tokyo, which is afternoon in Greenwich

my $habits = explained('batch7')->{habits};

cmp_ok($habits->{night}, '>', 0.4, 'the job is by night');
cmp_ok(explained('office7')->{habits}{night}, '<', 0.25,
       'the office is not');

my ($batch) = grep { $_->{name} eq $group{batch7} } @groups;

cmp_ok($batch->{typical_profile}[2], '>', 0, 'the profile of its group');
cmp_ok($batch->{typical_profile}[2], '>',
       0.5 * sum(@{ $batch->{typical_profile} }), '... is at two');

# the zone, and clients: nothing begins anew

my $outlook = $t->json('/api/zones/one');

ok(ref $outlook->{outlook}{$_} eq 'ARRAY', "curve of the zone: $_")
    for qw(minutes five_minutes hours);

my ($hour) = grep { $_->{bin_seconds} == 3600
                    && $_->{horizon_seconds} == 3600 }
             @{ $outlook->{accuracy} };

cmp_ok($hour->{forecasts}, '>', 500, 'forecasts that were scored');

# classes by their names: the export is a nightly one

my %classes = map { $_->{name} => $_ } @{ $outlook->{classes} };

is(join(' ', sort keys %classes), 'api export page', 'classes');
is((grep { @{ $_->{forecast} // [] } != 6 } values %classes), 0,
   '... have curves');
cmp_ok($classes{api}{mean_rps}, '>', 0, '... and means');

my %asks = (power => 'api', batch => 'export', diurnal => 'page');

for my $g (grep { $asks{$_->{name}} } @groups) {
    my %named = map { $_->{name} => $_->{share} } @{ $g->{class_mix}{classes} };

    cmp_ok($named{$asks{$g->{name}}} // 0, '>', 0.9,
           "what $g->{name} will ask for") or diag(explain(\%named));
}

# bytes: 500 to 1499 a response in the log

my $size = $outlook->{response_size};

cmp_ok(abs($size->{mean_bytes} - 1000), '<', 150, 'bytes of a response');
cmp_ok($size->{upper_bytes}, '>', 1300, '... 19 of 20 have fewer');
cmp_ok($size->{upper_bytes}, '<', 1540, '... than what any has');

my $minute = $outlook->{outlook}{minutes}[0];

cmp_ok(abs($minute->{forecast_bytes_per_second}
           - $minute->{forecast_rps} * $size->{mean_bytes}), '<=',
       0.01 * $minute->{forecast_bytes_per_second}, 'bytes that are forecast');
cmp_ok($minute->{upper_bytes_per_second}, '>',
       $minute->{forecast_bytes_per_second}, '... and how many at most');
is((grep { abs($_->{response_size}{mean_bytes} - 1000) > 250
           || !defined $_->{forecast}[0]{upper_bytes_per_second} }
         @groups), 0, '... of groups');

my ($covered) = grep { $_->{bin_seconds} == 300 }
                @{ $outlook->{bytes_coverage} };

cmp_ok($covered->{forecasts}, '>', 500, 'forecasts of bytes that were scored');
cmp_ok($covered->{coverage}, '>', 0.85, '... covered it');
diag("coverage of bytes: $covered->{coverage}") if $ENV{PRD_VERBOSE};

my @clients = qw(power3 batch3 office3);

like(curve($_), qr/bin_seconds=3600/, "curve of $_") for @clients;


# A restart

ok(wait_until(15, sub { writer() != $writer }), 'saved by nginx');

my $network;

ok(wait_until(15, sub { $network = $t->json('/api/zones/one')->{network} }),
   'the network is on');
is($network->{bin_seconds}, 3600, '... for hours');

# hours of idle clients are closed one by one: one may end in between

my ($before, $after, $names);

for (1 .. 4) {
    $before = join "\n\n", map { curve($_) } @clients;
    $names = join ' ', map { $_->{name} } @{ groups()->{groups} };

    $t->stop;
    $t->start;

    $after = join "\n\n", map { curve($_) } @clients;
    last if $before eq $after;
}

is($after, $before, 'curves after a restart');
is(join(' ', map { $_->{name} } @{ groups()->{groups} }), $names,
   'names of groups');
is($t->get("/?key=$_")->{headers}{'x-group'}, $group{$_}, "$_: its group")
    for sort keys %group;

is((grep { !defined $_->{forecast} } @{ groups()->{groups} }), 0,
   'curves of groups');
cmp_ok(abs($t->json('/api/zones/one')->{response_size}{mean_bytes} - 1000),
       '<', 200, 'bytes of a response');
is(join(' ', sort map { $_->{name} } @{ $t->json('/api/zones/one')->{classes} }),
   'api export page', 'classes');

# and a reload with another size

my $conf = slurp("$dir/nginx.conf");

for (2 .. 5) {
    $conf =~ s/zone=one:\dm/zone=one:${_}m/ or die;
    $before = join "\n\n", map { curve($_) } @clients;
    ok($t->reload($conf), 'another size');
    $after = join "\n\n", map { curve($_) } @clients;
    last if $before eq $after;
}

is($after, $before, 'curves after it');
is($t->get("/?key=$_")->{headers}{'x-group'}, $group{$_}, "$_: its group")
    for qw(power2 batch7);

done_testing();
