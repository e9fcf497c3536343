# What the API tells of clients and zones that were learned: two bins of 10 s.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

$t->conf(<<'END')->start;
predictive_zone $arg_k zone=learn:256k rate=100r/s burst=9 capacity=100r/s
                warmup=0s confidence=99% horizon=10s;

server {
    listen 127.0.0.1:%%PORT%%;

    location /learn { predictive zone=learn; try_files /none @ok; }
    location @ok { return 204; }
    location /api/ { predictive_api; }
}
END


sub json { $t->json("/api$_[0]") }

sub explained {
    my $r = $t->request(POST => '/api/zones/learn/explain', body => $_[0]);

    return PrdTest::decode_json($r->{body});
}


my ($e, $r);
my $end = time + 25 * $PrdTest::SLOW;

for (;;) {
    $t->get('/learn?k=busy') for 1 .. 5;
    $t->get('/learn?k=other') for 1 .. 2;
    $e = explained('busy');
    last if time > $end || $e->{learned} && defined $e->{forecast}{upper_rps}
                           && $e->{confidence_class} ne '0';
    select undef, undef, undef, 0.2;
}

ok($e->{learned}, 'learned');
ok($e->{learned}{depth} > 0 && $e->{learned}{rate} > 0, 'raw');
cmp_ok($e->{learned}{blocks}, '>=', 2, 'blocks');
is($e->{learned}{steady}, JSON::PP::true(), 'copied in peace');
is($e->{envelope}{learned}, JSON::PP::true(), 'in force');
cmp_ok($e->{envelope}{depth}, '>=', 10, 'depth');
is($e->{would_be}{reason}, 'forecast', 'passes by forecast');
like($e->{would_be}{why}, qr/^passes: .* as learned$/, 'why');

my $curve = $e->{forecast}{curve};

is(scalar @$curve, 1, 'one horizon');
is($curve->[0]{horizon_seconds}, 10, 'which');
ok($e->{forecast}{level_rps} <= 1e3 && $curve->[0]{lower_rps} >= 0
   && $curve->[0]{lower_rps} <= $curve->[0]{upper_rps}, 'interval');
is($curve->[0]{upper_rps}, $e->{forecast}{upper_rps}, 'upper');

my $learn = json('/zones/learn');

cmp_ok($learn->{coverage}{blocks}, '>=', 2, 'coverage: blocks');
ok($learn->{coverage}{total} >= 0 && $learn->{coverage}{total} <= 1, 'total');
cmp_ok(scalar @{ $learn->{series}{points} }, '>=', 2, 'series');

my $p = $learn->{series}{points}[-1];

is($p->{t} % 10, 0, 'a bin');
ok($p->{actual} > 0, 'actual');
ok($p->{fill} > 0 && $p->{fill} <= 1, 'fill');
is(join(' ', sort keys %$p), 'active actual fill forecast refused t upper',
   'a point');
is($learn->{series}{bin_seconds}, 10, '10 s');
is($learn->{series_long}{bin_seconds}, 300, '300 s');
is($learn->{active}, 2, 'active');
cmp_ok($learn->{forecast}{actual_rps}, '>', 0, 'zone: actual');
cmp_ok($learn->{forecast}{forecast_upper_rps}, '>', 0, 'zone: forecast');

my $top = json('/zones/learn/top');

is("@$top{qw(zone by)}", 'learn rate', 'top');
is(scalar @{ $top->{top} }, 2, 'two clients');
is($top->{top}[0]{key}, $e->{key}, 'the busy one first');
cmp_ok($top->{top}[0]{rate}, '>', $top->{top}[1]{rate}, 'in order');
is(scalar @{ json('/zones/learn/top?n=1')->{top} }, 1, 'n=1');
is(scalar @{ json('/zones/learn/top?n=1000')->{top} }, 2, 'n=1000');
is(json("/zones/learn/top?by=$_")->{by}, $_, "by=$_")
    for qw(rate rejected forecast);
is(json('/zones/learn/top?by=%72ate')->{by}, 'rate', 'escaped');

for (qw(by= by=rat by=ratex by=key n= n=0 n=-1 n=x n=1x)) {
    $r = $t->get("/api/zones/learn/top?$_");
    is($r->{status}, 400, "top?$_");
    is($r->{headers}{'content-type'}, 'application/problem+json', 'a problem');
}

done_testing();
