# /metrics: what Prometheus reads, and that it likes it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

$t->conf(<<"END")->start;
predictive_zone \$arg_k zone=one:256k rate=1r/m burst=2 learn=off;
predictive_zone \$arg_k zone=two:64k capacity=50r/s warmup=0s;
predictive_zone \$arg_k 'zone=a"b\\\\c \xc3\xa9\xe9/d:64k' rate=1r/s learn=off;

server {
    listen 127.0.0.1:%%PORT%%;

    location /one { predictive zone=one nodelay; try_files /none \@ok; }
    location /two { predictive zone=two; try_files /none \@ok; }
    location /none { predictive zone=one if=\$arg_if; try_files /none \@ok; }
    location \@ok { return 204; }

    location = /metrics { predictive_api; }
    location /api { predictive_api; }
}
END


$t->get('/one?k=a') for 1 .. 5;
$t->get("/one?k=$_") for 1 .. 3;
$t->get('/two?k=a') for 1 .. 4;
$t->get('/none?k=a') for 1 .. 2;

my $r = $t->get('/metrics');

is($r->{status}, 200, 'metrics');
is($r->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8',
   'type');
is($r->{headers}{'cache-control'}, 'no-store', 'not to be stored');
like($r->{body}, qr/\A# HELP .*[^\n]\n\z/s, 'ends with a line feed');
like($t->get('/api/metrics')->{body}, qr/^nginx_predictive_clients\{/m,
     'below a location, too');

my ($exit, $out) = $t->promtool($r->{body});

is($exit, 0, 'promtool');
is($out, '', 'has nothing to say');

my $m = $t->metrics('/metrics');

sub value { $m->{"nginx_predictive_$_[0]"} }
sub zone { value("$_[0]\{zone=\"" . ($_[1] // 'one') . '"}') }

is(join(' ', map { zone("${_}_total") } qw(passed rejected delayed skipped)),
   '6 2 0 2', 'counters');
is(zone('rejected_quota_total'), 2, 'reasons');
is(zone('passed_total', 'two') + zone('borrowed_total', 'two'), 4,
   'of another zone');
is(zone('clients'), 4, 'clients');
is(zone('clients', 'two'), 1, 'of another zone');
ok(zone('slots') > 1000 && zone('zone_bytes') > 256 * 1024, 'size');
is(zone('pool_capacity_rps', 'two'), 50, 'capacity');
ok(zone('pool_fill_ratio', 'two') > 0.5, 'fill');
ok(!defined zone('pool_fill_ratio'), 'no pool, no sample');
ok(!defined zone('coverage_ratio'), 'nothing covered, no sample');
ok(zone('newcomer_rate_rps', 'two') > 0 && zone('newcomer_depth', 'two') > 1,
   'newcomers');
is(value('blocks_total{age="8-31",zone="one"}'), 0, 'blocks by age');
is(zone('warmup_seconds', 'two'), 0, 'no warm-up');
ok(!defined zone('warmup_seconds'), 'nothing to learn, no warm-up');
ok((grep { /^nginx_predictive_build_info\{nginx="[^"]+",version="[\d.]+"}$/ }
    keys %$m), 'build');

is(zone('passed_total', "a\\\"b\\\\c \xc3\xa9\xef\xbf\xbd/d"), 0,
   'a zone whose name needs escapes');

ok(PrdTest::wait_until(5, sub {
    $m = $t->metrics('/metrics');
    value('forecaster_up') && value('forecaster_rounds_total') > 0;
}), 'forecaster');
ok(value('forecaster_tick_seconds') > 0, 'its CPU');
ok(value('forecaster_age_seconds') < 5 * $PrdTest::SLOW, 'its lease');
is(value('forecaster_takeovers_total'), 0, 'no takeover');

# one HELP and one TYPE each, and before its samples

my (%help, %type, @faults);

for (split /\n/, $t->get('/metrics')->{body}) {
    if (/^# HELP (\S+) \S/) {
        push @faults, $_ if $help{$1}++;

    } elsif (/^# TYPE (\S+) (counter|gauge)$/) {
        my ($name, $type) = ($1, $2);

        push @faults, $_ if $type{$name} || !$help{$name};
        push @faults, $_ if ($type eq 'counter') != ($name =~ /_total$/);
        $type{$name} = $type;

    } elsif (/^(\w+)/) {
        push @faults, $_ if !$type{$1};

    } else {
        push @faults, $_;
    }
}

is_deeply(\@faults, [], 'one HELP and one TYPE each');

# each counter of the engine

my $def = PrdTest::slurp("$PrdTest::ROOT/src/prd_metrics.def");
my @names = $def =~ /^PRD_COUNTER\(\w+, "(\w+)"/mg;

ok(@names > 10, 'counters of the engine');
is(join(' ', grep { !defined zone("${_}_total") } @names), '', 'are all there');

# no client

unlike($r->{body}, qr/[0-9a-f]{16}/, 'no client');


# without zones

my $none = PrdTest->new;

$none->conf('server { listen 127.0.0.1:%%PORT%%;
                      location / { predictive_api; } }')->start;

is($none->get($_)->{status}, 200, "without zones: $_")
    for qw(/ /metrics /status /zones);
is($none->get('/zones/x')->{status}, 404, 'without zones: no zone');
is_deeply($none->json('/zones'), { zones => {} }, 'without zones: none');

($exit, $out) = $none->promtool($none->get('/metrics')->{body});
is("$exit$out", '0', 'without zones: promtool');

done_testing();
