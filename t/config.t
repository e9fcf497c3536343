# Wrong configurations: each is refused, and the message says which value is
# wrong, and in which line.  Right ones are taken.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

mkdir $t->dir . '/state';
chmod 0777, $t->dir . '/state';

sub refused { $t->refuses(@_) }
sub taken   { $t->takes(@_) }

# a zone, a limit, both with some parameter

sub zone { "predictive_zone \$arg_k zone=one:1m $_[0];" }
sub limit { zone('rate=1r/s learn=off') . " predictive zone=one $_[0];" }


# predictive_zone: its own words

refused('predictive_zone $arg_k;',
        'invalid number of arguments in "predictive_zone" directive');
refused('predictive_zone $arg_k rate=1r/s rate=2r/s;', '"rate=2r/s" is given');
refused('predictive_zone $arg_k rate=1r/s burst=1;',
        '"predictive_zone" directive must have "zone" parameter');
refused('predictive_zone $arg_k zone=one rate=1r/s;',
        'invalid zone size "zone=one"');
refused('predictive_zone $arg_k zone=one:1x rate=1r/s;',
        'invalid zone size "zone=one:1x"');
refused('predictive_zone $arg_k zone=one: rate=1r/s;',
        'invalid zone size "zone=one:"');
refused('predictive_zone $arg_k zone=:1m rate=1r/s;',
        'invalid zone name "zone=:1m"');
refused('predictive_zone $arg_k zone=one:31k rate=1r/s;',
        'zone "zone=one:31k" is too small');
refused('predictive_zone $unknown_variable zone=one:1m rate=1r/s;',
        'unknown "unknown_variable" variable');
refused('predictive_zone $arg_k$ zone=one:1m rate=1r/s;',
        'invalid variable name');
refused(zone('rate=1r/s nonsense'), 'invalid parameter "nonsense"');
refused(zone('rate=1r/s nonsense=1'), 'invalid parameter "nonsense=1"');
refused(zone('learn=off'), 'zone "one" needs a rate or a capacity');
refused(zone('rate=1r/s') . "\n" . zone('rate=2r/s'),
        'zone "one" is already declared for key "$arg_k" in ', qr/2r/);
refused("limit_req_zone \$arg_k zone=one:1m rate=1r/s;\n" . zone('rate=1r/s'),
        'the shared memory zone "one" is already declared for a different');
refused('server { ' . zone('rate=1r/s') . ' }',
        '"predictive_zone" directive is not allowed here');


# predictive_zone: parameters, each with values that are none

my %bad = (
    rate       => [qw(0r/s -1r/s 1r/x 1x r/s 1e3r/s 1r/0s 2000000000r/s), ''],
    burst      => [qw(-1 x 1.5 1000000001), ''],
    capacity   => [qw(0r/s x 0.1r/s), ''],
    borrow     => [qw(x 0 0.5 1001), ''],
    floor      => [qw(x on), ''],
    min        => [qw(x 0r/s), ''],
    max        => [qw(x 0r/s), ''],
    learn      => [qw(x yes), ''],
    warmup     => [qw(x -1s 366d), ''],
    confidence => [qw(x 99.9 49% 100%), ''],
    horizon    => [qw(x 9s 2d), ''],
    cost       => [qw(x -1 1000000001), ''],
    charge     => [qw(1), ''],
    class      => [''],
    newcomer   => [''],
    store      => [qw($arg_s), ''],
    sync       => [qw(x off), ''],

    # of the contract, not of this version
    weight     => [qw(1 $arg_w)],
    priority   => [qw(8)],
);

for my $name (sort keys %bad) {
    for my $value (@{ $bad{$name} }) {
        my $rate = $name eq 'rate' ? '' : 'rate=1r/s capacity=9r/s ';

        $rate = 'rate=1r/s ' if $name eq 'capacity';
        refused(zone("$rate$name=$value"), qq("$name=$value"));
    }
}

refused(zone('capacity=auto'), '"capacity=auto" is not supported yet');
refused(zone('rate=1r/s weight=2'), '"weight=2" is not supported yet');
refused(zone('rate=1r/s burst=1 burst=2'), '"burst=2" is given twice');
refused(zone('rate=1r/s min=2r/s max=1.5r/s'),
        'zone "one" has a "min" above "max"');
refused(zone('rate=9r/s capacity=5r/s min=6r/s'),
        'zone "one" has a "min" above its capacity');
refused(zone('rate=5r/s max=4r/s'), 'zone "one" has a "max" below its rate');
refused(zone('rate=1r/s learn=off min=1r/s'), 'zone "one" has');
refused(zone('rate=1r/s sync=lease'),
        'zone "one" has "sync", but no "store"');

refused(zone('rate=1r/s store=nowhere'), 'unknown predictive store "nowhere"',
        qr/zone=one/);

for my $name (qw(rate burst cost class newcomer charge)) {
    my $rate = $name eq 'rate' ? '' : 'rate=1r/s ';

    refused(zone("$rate$name=\$no_such_one"),
            'unknown "no_such_one" variable');
}


# predictive

refused('predictive;',
        'invalid number of arguments in "predictive" directive');
refused('predictive burst=1;',
        '"predictive" directive must have "zone" parameter');
refused(limit("$_"), qq("$_"))
    for qw(burst=x burst=-1 burst= burst=1.5 burst=1000000001 delay=x delay=-1
           delay= pool=a nonsense nonsense=1 nodelay=1);
refused(limit('pool=a'), '"pool=a" is not supported yet');
refused(limit('if=$no_such_one'), 'unknown "no_such_one" variable');
refused(limit('if="a${no_such_one}b"'), 'unknown "no_such_one" variable');
refused("\npredictive zone=two;\n" . zone('rate=1r/s'),
        'unknown predictive zone "two"', qr/zone=two/);
refused("server {\n location /x {\n predictive zone=two;\n}\n}",
        'unknown predictive zone "two"', qr/zone=two/);
refused("limit_req_zone \$arg_k zone=lr:1m rate=1r/s;\npredictive zone=lr;",
        'the shared memory zone "lr" is already declared for a different');
refused(limit('') . ' predictive zone=one burst=2;',
        '"predictive" directive with zone "one" is duplicate');
refused(limit('') . ' server { if ($arg_x) { predictive zone=one; } }',
        '"predictive" directive is not allowed here');


# the rest

refused("predictive_status $_;",
        qq(invalid value "$_" in "predictive_status" directive))
    for qw(399 600 x -1 4.5 42900000000000000000000);
refused('predictive_status;', 'invalid number of arguments');
refused('predictive_status 429; predictive_status 503;',
        '"predictive_status" directive is duplicate');
refused("predictive_log_level $_;", qq(invalid value "$_")) for qw(crit x);
refused('predictive_log_level info; predictive_log_level warn;',
        '"predictive_log_level" directive is duplicate');
refused("predictive_dry_run $_;", qq(invalid value "$_")) for qw(yes 1);
refused("predictive_headers $_;", qq(invalid value "$_")) for qw(on x);
refused("predictive_problem $_;", qq(invalid value "$_")) for qw(yes draft);

refused("predictive_pool main { capacity 10r/s; }",
        '"predictive_pool main" is not supported yet');
refused("predictive_store redis;", 'directive "predictive_store" has no ope');


refused('predictive_state;', 'invalid number of arguments');
refused('predictive_state s interval=;', '"interval="');
refused('predictive_state s interval=x;', '"interval=x"');
refused('predictive_state s interval=999ms;', '"interval=999ms"');
refused('predictive_state s nonsense=1;', '"nonsense=1"');
refused('predictive_state %%DIR%%/state/;', $t->dir . '/state/"');
refused('predictive_state %%DIR%%/state;', $t->dir . '/state"');
refused('predictive_state a; predictive_state b;',
        '"predictive_state" directive is duplicate');

refused('predictive_api;', '"predictive_api" directive is not allowed here');

sub api { "server { location /api { predictive_api $_[0]; } }" }

refused(api('nonsense'), '"nonsense"');
refused(api('write'), '"predictive_api write" is not supported yet');


# predictive_identity

sub identity { "predictive_identity \$client {\n@_\n}" }

refused("predictive_identity client { token \$arg_k; }",
        'invalid variable name "client"');
refused("predictive_identity \$ { token \$arg_k; }",
        'invalid variable name "$"');
refused("predictive_identity \$client token;",
        'directive "predictive_identity" has no opening "{"');
refused("predictive_identity \$uri { token \$arg_k; }",
        'the duplicate "uri" variable');
refused(identity('token $arg_k;') . identity('token $arg_k;'),
        'the duplicate "client" variable');
refused(identity(), '"predictive_identity $client" has no source of a key');
refused(identity('nonsense $arg_k;'),
        '"nonsense" in "predictive_identity" is not one of', qr/nonsense/);
refused(identity('token;'), '"token" in "predictive_identity" has no value');
refused(identity('token abc;'),
        '"abc" in "predictive_identity" must contain a variable', qr/abc/);
refused(identity("token \$no_such_one;\nagent \$http_user_agent;"),
        'unknown "no_such_one" variable', qr/token \$no_such_one/);
refused(identity('token $arg_k "(";'), '"(" in "predictive_identity"',
        qr/"\("/);
refused(identity('token $arg_k "(a)" x;'), '"x" in "predictive_identity"');
refused(identity('address $remote_addr;'),
        '"address" in "predictive_identity" needs a value');
refused(identity('address $remote_addr 33 64;'),
        '"33" in "predictive_identity" must be an IPv4 prefix');
refused(identity('address $remote_addr 32 129;'),
        '"129" in "predictive_identity" must be an IPv6 prefix');
refused(identity('address $remote_addr 32 64; separate address nobody;'),
        '"nobody" in "predictive_identity" is not one of');
refused(identity('token $arg_k; separate address agent;'),
        '"predictive_identity $client" names a kind in "separate"');


# what is right

my $state = 'predictive_state %%DIR%%/state/file;';

taken(zone('rate=1r/s') . $state, 'a zone');
taken("$state\n" . zone('rate=1r/s'), 'with the state first');
taken(zone('rate=1r/s'), 'a learning zone without a state',
      qr/\[warn\].*predictive zone "one" learns.*nginx\.conf:\d+$/m);
taken(zone('rate=1r/s learn=observe'), 'an observing zone without a state',
      qr/\[warn\].*predictive zone "one" learns/);
taken(zone('rate=1r/s learn=off'), 'a zone that does not learn');
taken(zone("rate=1r/s learn=off network=$_"), "network=$_") for qw(on off);
refused(zone('rate=1r/s learn=off network=yes'), '"network=yes"');
taken(zone('rate=5 learn=off'), 'a bare rate',
      qr/\[warn\].*"one" has a rate without a unit.*nginx\.conf:\d+$/m);
taken(zone('capacity=100r/s learn=off'), 'a capacity without a rate');
taken('predictive_zone $arg_k zone=one:32k rate=1r/s learn=off;',
      'the smallest zone');
taken("server { location / { predictive zone=one; } }\n"
      . zone('rate=1r/s learn=off'), 'a limit before its zone');
taken(zone("rate=$_ learn=off"), "rate=$_")
    for qw(1.5r/s 10r/5s 30r/m 100r/h 1000r/d 0.001r/s $arg_rate);
taken(zone('rate=10r/s burst=$arg_b capacity=1000r/s borrow=2.5 floor=none
            min=1r/s max=50r/s learn=on warmup=2d confidence=99% horizon=10m
            cost=$arg_c charge=$upstream_http_x_tokens class=$uri
            newcomer=$remote_addr') . $state, 'all parameters');
taken(limit('burst=3 delay=2 if=$arg_x'), 'all parameters of a limit');
taken(limit('"if=$arg_x$HTTP_host${cookie_a}$1-$upstream_http_a"'),
      'variables of all kinds');
taken(limit('if=$later') . ' map $arg_x $later { default 1; }',
      'a variable that is defined further down');
taken(limit('burst=3 nodelay') . ' predictive_status 503;
      predictive_log_level info; predictive_dry_run on;
      predictive_headers both; predictive_problem on;', 'all directives');
taken(identity('token $http_x_api_key;
                token $http_authorization "^Bearer\s+(\S+)";
                token $cookie_sid; address $remote_addr 32 64;
                agent $http_user_agent; separate address agent;')
      . ' predictive_zone $client zone=one:1m rate=1r/s learn=off;',
      'an identity');


# what limit_req takes, its name replaced

my $limit_req = <<'END';
limit_req_zone $binary_remote_addr zone=perip:10m rate=1r/s;
limit_req_zone $server_name zone=perserver:10m rate=10r/s;
limit_req_status 503;

server {
    limit_req zone=perip burst=5 nodelay;
    limit_req zone=perserver burst=10;
    limit_req_log_level warn;

    location /search/ {
        limit_req zone=perip burst=5 delay=3;
        limit_req_dry_run on;
        return 200 $limit_req_status;
    }
}
END

taken($limit_req, 'limit_req');
taken($limit_req =~ s/limit_req/predictive/gr . $state, 'and the same for us');

done_testing();
