# predictive_api: every resource, what is refused, and what must never be told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(wait_until spew);
use Test::More;


my $t = PrdTest->new;

$t->conf(<<"END")->start;
predictive_identity \$client {
    token   \$http_x_api_key;
    token   \$http_authorization "^Bearer\\s+(\\S+)";
    address \$http_x_address 24 56;
    agent   \$http_user_agent;
}

predictive_zone \$arg_k zone=one:256k rate=1r/m burst=2 learn=off;
predictive_zone \$arg_k zone=learn:256k rate=100r/s capacity=100r/s warmup=0s;
predictive_zone \$binary_remote_addr zone=addr:64k rate=1r/s learn=off;
predictive_zone \$client zone=id:64k rate=1r/m learn=off;
predictive_zone \$arg_k zone=var:64k rate=\$arg_rate burst=\$arg_burst
                learn=off;
predictive_zone \$arg_k zone=parent:64k rate=1r/m learn=off newcomer=\$arg_n;
predictive_zone \$arg_k zone=unused:64k rate=1r/s;
predictive_zone \$arg_k zone=cap:64k capacity=5r/s warmup=0s class=\$arg_c;
predictive_zone \$arg_k zone=small:32k rate=1r/m learn=off;
predictive_zone \$arg_k 'zone=a"b\xc3\xa9 \xe9/c:64k' rate=1r/s learn=off;
predictive_zone \$arg_k zone=a/b:64k rate=1r/s learn=off;

log_format all '\$request \$status \$request_length';
access_log %%DIR%%/access.log all;

server {
    listen 127.0.0.1:%%PORT%%;
    listen 127.0.0.1:%%PORT1%% http2;

    location / { return 200 ok; }

    location /one { predictive zone=one nodelay; try_files /none \@ok; }
    location /one2 { predictive zone=one burst=5; try_files /none \@ok; }
    location /dry { predictive zone=one burst=0; predictive_dry_run on;
                    try_files /none \@ok; }
    location /learn { predictive zone=learn; try_files /none \@ok; }
    location /addr { predictive zone=addr; try_files /none \@ok; }
    location /id { predictive zone=id; try_files /none \@ok; }
    location /var { predictive zone=var nodelay; try_files /none \@ok; }
    location /parent { predictive zone=parent; try_files /none \@ok; }
    location /cap { predictive zone=cap; try_files /none \@ok; }
    location /small { predictive zone=small; try_files /none \@ok; }

    location \@ok { return 200 \$predictive_key; }

    location /api/ { predictive_api; }
    location /bare { predictive_api; }

    location /guarded/ {
        predictive_api;
        if (\$arg_if) { set \$z 1; }
        limit_except GET { deny 192.0.2.1; }
        location /guarded/other { root %%DIR%%; }
    }

    location = /guard/status {
        predictive_api;
        if (\$arg_if) { set \$z 1; }
        limit_except GET { deny all; }
    }

    location /file/ {
        client_body_in_file_only clean;
        client_max_body_size 0;
        predictive_api;
    }

    location = /status { predictive_api; }
    location = /deep/zones { predictive_api; }

    location /closed/ { deny all; predictive_api; }
    location /pages/ { error_page 404 =200 /; predictive_api; }
    location /limited/ { predictive zone=one burst=0; predictive_api; }
}
END


sub json { $t->json("/api$_[0]") }
sub decode { PrdTest::decode_json($_[0]) }

sub explained {
    my ($zone, $body, $args, %opt) = @_;

    my $r = $t->request(POST => ($opt{api} || '/api')
                        . "/zones/$zone/explain" . ($args // ''),
                        body => $body, headers => $opt{headers} || {});

    $r->{json} = eval { decode($r->{body}) };

    return $r;
}

# a problem: its status, type and members

sub problem {
    my ($r, $status, $name) = @_;

    my $json = eval { decode($r->{body}) } || {};

    ok($r->{status} == $status
       && $r->{headers}{'content-type'} eq 'application/problem+json'
       && $r->{headers}{'cache-control'} eq 'no-store'
       && $json->{type} eq 'about:blank' && $json->{status} == $status
       && length $json->{title} && length $json->{detail}, $name)
        or diag($r->{raw} // $r->{body});
}


# the index, and where the paths begin

my $r = $t->get('/api/');

is($r->{status}, 200, 'index');
is($r->{headers}{'content-type'}, 'application/json', 'is JSON');
is($r->{headers}{'cache-control'}, 'no-store', 'not to be stored');
is($r->{headers}{'x-content-type-options'}, 'nosniff', 'not to be guessed');
ok((grep { $_ eq '/status' } @{ decode($r->{body})->{resources} }),
   'resources');

is($t->get($_)->{status}, 200, $_)
    for qw(/bare /bare/ /bare/status /bare/zones/ /api/zones/one/ /api//status
           /status /deep/zones /file/zones/one);
problem($t->get($_), 404, $_)
    for qw(/bares /bare/x /api/statusx /api/status/ /api/x /api/zones/x
           /api/zones/onex /api/zones/one/x /api/zones/one/topx /pages/x
           /api/zones/one/keys /api/metrics/x);
problem($t->get("/api$_"), 501, "$_: later")
    for qw(/pools /pools/ /pools/x);

$r = decode($t->get('/api/zones/one/groups')->{body});
ok(ref $r->{groups} eq 'ARRAY' && !@{ $r->{groups} } && $r->{records} >= 64
   && $r->{tracked} == 0, 'no groups yet');
$r = decode($t->get('/api/zones/one')->{body});
ok(exists $r->{outlook}{minutes} && exists $r->{outlook}{hours}
   && ref $r->{misses} eq 'ARRAY' && $r->{missed} == 0,
   'no outlook yet, and nothing missed');

is($t->get('/closed/status')->{status}, 403, 'deny');
is($t->get('/limited/status?k=lim')->{status}, 200, 'a limit on the API');
is($t->get('/limited/status?k=lim')->{status}, 429, 'limits it');
is($t->get('/status/x')->{body}, 'ok', 'an exact location is nothing else');


# methods

for (qw(POST PUT DELETE PATCH OPTIONS)) {
    $r = $t->request($_ => '/api/zones/one/keys/0123456789abcdef');
    problem($r, 405, "$_ of a key");
    is($r->{headers}{allow}, 'GET, HEAD', 'what is allowed');
}

for (qw(GET HEAD PUT)) {
    $r = $t->request($_ => '/api/zones/one/explain');
    is($r->{status}, 405, "$_ of explain");
    is($r->{headers}{allow}, 'POST', 'what is allowed');
}

for (qw(/api/ /api/status /api/zones /api/zones/one /api/zones/one/top
        /api/metrics /api/x))
{
    my $get = $t->get($_);
    my $head = $t->request(HEAD => $_);

    is($head->{status}, $get->{status}, "HEAD $_");
    is($head->{body}, '', 'no body');
    ok(abs($head->{headers}{'content-length'} - length $get->{body}) < 50,
       'its length');
}

my $c = $t->connect;

is($c->request(POST => '/api/status', body => 'x' x 3000)->{status}, 405,
   'a body that nobody reads');
is($c->request(GET => '/api/status', body => 'x' x 3000)->{status}, 200,
   'a GET with a body');
is($c->request(GET => '/api/')->{status}, 200, 'the connection goes on');


# what is inside of the location

is($t->get('/guarded/zones')->{status}, 200, 'limit_except: GET');
like($t->request(POST => '/guarded/zones/one/explain', body => 'x')->{body},
     qr/^\{/, 'limit_except: POST');
is($t->request(DELETE => '/guarded/zones')->{status}, 405,
   'limit_except: what no resource has');
is($t->get('/guarded/other')->{status}, 404, 'a location inside is its own');
is($t->get('/guard/status')->{status}, 200, 'limit_except: one resource');
is($t->request(POST => '/guard/status', body => 'x')->{status}, 403,
   'limit_except: denied');

for my $uri (qw(/guarded/status /guard/status)) {
    cmp_ok($t->json("$uri?if=1")->{uptime_seconds}, '<', 120,
           "$uri: uptime where an if matched");
}


# status

my $status = json('/status');

is($status->{version}, '0.1.0', 'status: version');
like($status->{nginx}, qr/^\S+\/\d+\.\d+\.\d+$/, 'nginx');
ok(length $status->{build}{compiler}, 'compiler');
cmp_ok($status->{uptime_seconds}, '<', 120, 'uptime');
is($status->{workers}, 1, 'workers');
is($status->{pid}, ($t->worker_pids)[0], 'pid');
is_deeply($status->{stores}, {}, 'stores');
is(scalar keys %{ $status->{memory}{zones} }, 11, 'memory of the zones');

ok(wait_until(5, sub {
    $status = json('/status');
    ($status->{forecaster}{pid} || 0) == $status->{pid}
    && $status->{forecaster}{rounds} > 1;
}), 'the forecaster is there');

my $f = $status->{forecaster};

cmp_ok($f->{age_seconds}, '<', 5 * $PrdTest::SLOW, 'lease');
cmp_ok(abs(time - $f->{last_tick}), '<', 5 * $PrdTest::SLOW, 'last tick');
ok($f->{tick_seconds} > 0 && $f->{tick_seconds} < $PrdTest::SLOW, 'CPU');
is($f->{takeovers}, 0, 'takeovers');
is($f->{generation}, 1, 'generation');


# zones: counters

$t->get("/one?k=$_") for ('a') x 5;
$t->get('/dry?k=dry') for 1 .. 3;
$t->get('/one') for 1 .. 2;

my $one = json('/zones/one');

is("@$one{qw(passed borrowed delayed rejected rejected_dry_run skipped)}",
   '5 0 0 3 2 2', 'counters');
is($one->{rejected_quota}, 5, 'refused by quota, dry runs too');
is($one->{reasons}{quota}, 5, 'reasons');
is($one->{clients}, 3, 'clients');
is($one->{inserted}, 3, 'inserted');
is($one->{cost_milli}, 5000, 'cost');
is($one->{zone}, 'one', 'name');
is($one->{memory}{slot_bytes}, 72, 'bytes of a slot');
is($one->{memory}{learned_bytes}, 64, 'bytes learned');
cmp_ok($one->{slots} * 136 + $one->{memory}{fixed}, '<=',
       $one->{memory}{size}, 'memory');
is($one->{pool}, undef, 'no pool');

my $config = $one->{config};

is($config->{key}, '$arg_k', 'configuration: key');
ok(abs($config->{rate} * 60 - 1) < 1e-6, 'rate in r/s');
is("@$config{qw(burst learn floor confidence warmup horizon cost)}",
   '2 off newcomer 0.999 86400 300 1', 'configuration');
is($config->{capacity}, undef, 'no capacity');
is($config->{borrow}, undef, 'borrow=unlimited');

my $all = json('/zones')->{zones};

is(scalar keys %$all, 11, 'all zones');
is($all->{one}{passed}, 5, 'the same numbers');
ok(!exists $all->{one}{series}, 'without what is long');
is($all->{var}{config}{rate}, '$arg_rate', 'a rate that is a variable');
is($all->{var}{config}{burst}, '$arg_burst', 'a burst that is one');
is($all->{parent}{config}{newcomer}, '$arg_n', 'newcomer');
is($all->{cap}{config}{class}, '$arg_c', 'class');
is($all->{cap}{pool}{capacity_rps}, 5, 'capacity');
is($all->{cap}{pool}{fill}, 1, 'a full pool');
is($all->{cap}{warmup}{over} ? 1 : 0, 1, 'no warm-up');
is($all->{unused}{warmup}{over} ? 1 : 0, 0, 'warm-up');
cmp_ok(abs($all->{unused}{warmup}{seconds_left} - 86400), '<', 120, 'its end');
is($all->{one}{warmup}{seconds_left}, undef, 'nothing to learn');
ok($all->{cap}{newcomer}{rate} > 0 && $all->{cap}{newcomer}{depth} >= 1,
   "newcomers' envelope");
is($all->{cap}{coverage}{total}, undef, 'nothing covered yet');
is(scalar @{ $all->{cap}{coverage}{ages} }, 6, 'age classes');
is_deeply($all->{cap}{surge}, [], 'no surge');


# names of zones

my $odd = "a\"b\xe9 \x{fffd}/c";

ok(exists $all->{$odd}, 'a name that is not UTF-8');
is(json('/zones/a%22b%C3%A9%20%E9/c')->{zone}, $odd, 'its URL');
is(json('/zones/a%22b%C3%A9%20%E9%2fc')->{zone}, $odd, 'its URL, escaped');
is(json('/zones/a/b')->{zone}, 'a/b', 'a name with a slash');
is(json('/zones/a/b/top')->{zone}, 'a/b', 'and below it');


# consistency

is(json('/zones/one?check=1')->{consistency}{faults}, 0, 'no faults');
is(json('/zones/one?check=1')->{consistency}{clients}, 3, 'clients counted');
ok(!exists $one->{consistency}, 'only if asked for');


# explain: a key

my $key = $t->get('/one?k=a&x=1');

is($key->{status}, 429, 'refused');

$r = explained('one', 'a');

my $e = $r->{json};

is($r->{status}, 200, 'explain');
is($r->{headers}{'cache-control'}, 'no-store', 'not to be stored');
is($e->{zone}, 'one', 'zone');
is($e->{known}, JSON::PP::true(), 'known');
like($e->{key}, qr/^[0-9a-f]{16}$/, 'key');
is($e->{read_as}, 'key', 'read as');
cmp_ok($e->{bucket}{level}, '>', 2.5, 'level');
cmp_ok($e->{bucket}{level}, '<=', 3, 'drains');
cmp_ok($e->{bucket}{remaining}, '<', 0.5, 'remaining');
cmp_ok($e->{bucket}{last_seen_seconds}, '<', 60, 'last seen');
is($e->{envelope}{learned}, JSON::PP::false(), 'not learned');
is($e->{envelope}{depth}, 3, 'depth');
ok(abs($e->{envelope}{rate} * 60 - 1) < 1e-6, 'rate');
is($e->{envelope}{trust}, 0, 'trust');
is($e->{learned}, undef, 'nothing learned');
is($e->{confidence}, undef, 'no confidence');
is($e->{refused}, 3, 'refused');
ok(exists $e->{group} && !defined $e->{group}, 'group');
ok(exists $e->{pool} && !defined $e->{pool}, 'pool');
is($e->{forecast}{horizon_seconds}, 300, 'horizon');
is($e->{forecast}{upper_rps}, undef, 'no forecast');

my $would = $e->{would_be};

is($would->{verdict}, 'REJECTED', 'would be refused');
is($would->{reason}, 'quota', 'reason');
cmp_ok($would->{level}, '>', 3.5, 'level with the request');
is("@$would{qw(cost depth free limit m)}", '1 3 3 3 1', 'the terms');
is($would->{fill}, undef, 'no pool');
like($would->{why}, qr/^refused: level \d\.\d is above burst \+ 1 = 3\.0 /,
     'why');

is(scalar @{ $e->{limits} }, 4, 'by each limit');
like($e->{limits}[0]{where}, qr/nginx\.conf:\d+$/, 'where');
is(join(' ', sort map { $_->{verdict} } @{ $e->{limits} }),
   'DELAYED REJECTED REJECTED REJECTED', 'their verdicts');
is(scalar @{ $e->{decisions} }, 3, 'decisions');

my $d = $e->{decisions}[0];

is("@$d{qw(verdict reason limit cost)}", 'REJECTED quota 3 1', 'the last one');
is($d->{dry_run}, JSON::PP::false(), 'no dry run');
cmp_ok(abs(time - $d->{t}), '<', 60, 'its time');
like($d->{why}, qr/^refused: level /, 'why');
ok($e->{decisions}[0]{t} >= $e->{decisions}[2]{t}, 'newest first');

$e = explained('one', 'dry')->{json};
like($e->{decisions}[0]{why}, qr/^would have been refused: /, 'a dry run');

$t->get('/one2?k=delay') for 1 .. 1;
$c = $t->connect;
$c->send("GET /one2?k=delay HTTP/1.1\r\nHost: a\r\n\r\n");
ok(wait_until(5, sub {
    @{ ($e = explained('one', 'delay')->{json})->{decisions} || [] }
}), 'a delay');
$c->close;
like($e->{decisions}[0]{why},
     qr/^delayed by \d+\.\d+ s: level 2\.0 is above what passes at once/,
     'and why');

# the same by its hash

my $hex = explained('one', 'a')->{json}{key};

$e = json("/zones/one/keys/$hex");
is($e->{key}, $hex, 'by hash');
is($e->{refused}, 3, 'the same client');
ok(!exists $e->{read_as}, 'nothing was read');
is(json('/zones/one/keys/' . uc $hex)->{key}, $hex, 'in capitals');

is($t->get('/one?k=hash')->{body}, explained('one', 'hash')->{json}{key},
   '$predictive_key');

problem($t->get("/api/zones/one/keys/$_"), 400, "no hash: $_")
    for ('0', 'x' x 16, '0' x 16, '0' x 15, '0' x 17, 'ffff' . '0' x 11 . '1',
         "$hex/");

# nobody

$r = explained('one', 'nobody');
problem($r, 404, 'an unknown key');
$e = $r->{json};
is($e->{known}, JSON::PP::false(), 'not known');
is($e->{would_be}{verdict}, 'PASSED', "a newcomer's verdict");
is($e->{would_be}{limit}, 3, 'and terms');
is_deeply($e->{decisions}, [], 'no decisions');
problem($t->get('/api/zones/one/keys/0123456789abcdef'), 404,
        'an unknown hash');
is(json('/zones/one')->{clients}, 5, 'asking makes no client');

# what the body may be

problem(explained('one', ''), 400, 'an empty body');
is(explained('one', "a\n")->{status}, 200, 'a line feed at the end');
is(explained('one', "a\r\n")->{status}, 200, 'of another system');
is(explained('one', "a\n", '?as=key')->{status}, 404, 'as=key: is of the key');
is(explained('one', "\n")->{status}, 404, 'nothing else');
problem(explained('one', 'a', '?as=x'), 400, 'an unknown way to read it');
problem(explained('one', 'a', '?as=ke'), 400, 'part of a way');
problem(explained('one', 'a', "?$_"), 400, $_)
    for qw(rate=x rate= burst=-1 rate=1x);
is(explained('unused', 'a')->{json}{would_be}{limit}, 1,
   'a zone without limits');

my $long = join '', map { chr(97 + $_ % 26) } 1 .. 6000;

$t->get("/one?k=$long");
is(explained('one', $long)->{status}, 200, 'a long key');
is(explained('one', $long, '', api => '/file')->{status}, 200, 'from a file');

sub chunked {
    my ($uri, @chunks) = @_;

    return $t->raw("POST $uri HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n"
        . join('', map { sprintf "%x\r\n%s\r\n", length $_, $_ } @chunks)
        . "0\r\n\r\n");
}

like(chunked('/api/zones/one/explain', 'a'), qr/"known":true/, 'chunked');
like(chunked('/api/zones/one/explain', unpack '(a7)*', $long),
     qr/"known":true/, 'chunked, long');
like(chunked('/file/zones/one/explain', unpack '(a999)*', $long),
     qr/"known":true/, 'chunked, from a file');
like(chunked('/api/zones/one/explain'), qr/^HTTP\/1.1 400 /,
     'chunked, empty');

for my $api (qw(/api /file)) {
    is(explained('one', 'k' x 65536, '', api => $api)->{status}, 404,
       "$api: the longest body");
    problem(explained('one', 'k' x 65537, '', api => $api), 413,
            "$api: too long a body");
    like(chunked("$api/zones/one/explain", ('k' x 4096) x 16, 'k'),
         qr/^HTTP\/1.1 413 .*problem\+json/s, "$api: too long in chunks");
}

for my $api (qw(/api /file)) {
    spew($t->dir . '/body', $long);
    $r = $t->h2("$api/zones/one/explain", port => $t->port(1),
                args => ['--data-binary', '@' . $t->dir . '/body']);
    is($r->{status}, 200, "$api: HTTP/2");
    is(decode($r->{body})->{known}, JSON::PP::true(), 'known');
}

$c = $t->connect;
$c->send("POST /api/zones/one/explain HTTP/1.1\r\nHost: a\r\n"
         . "Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n");
is($c->response('POST')->{status}, 413, 'no "100 Continue"');
$c->close;

my @pipeline = $t->pipeline(
    [POST => '/api/zones/one/explain', body => 'a'],
    [POST => '/api/zones/one/explain', body => 'hash'], '/api/');

is(join(' ', map { $_->{status} } @pipeline), '200 200 200', 'pipelined');

# addresses

$t->get('/addr') for 1 .. 2;

for ('127.0.0.1', "127.0.0.1\n", "\x7f\0\0\1") {
    $e = explained('addr', $_)->{json};
    is($e->{refused}, 1, 'an address: ' . join '.', unpack 'C*', $_);
}

is($e->{read_as}, 'key', 'read as it is');
is(explained('addr', '127.0.0.1')->{json}{read_as}, 'address', 'or as one');
is(explained('addr', $_)->{status}, 404, "not there: $_")
    for qw(127.0.0.2 ::1 ::ffff:127.0.0.1 255.255.255.255 1::1 x
           127.0.0.1.1 1:2:3:4:5:6:7:8:9);

# an identity

$t->get('/id', 'X-Api-Key' => 'key 1') for 1 .. 2;
$t->get('/id', Authorization => 'Bearer ' . 't' x 400);
$t->get('/id', 'X-Address' => '192.0.2.77');
$t->get('/id', 'X-Address' => '2001:db8:1:2::3');
$t->get('/id', 'X-Address' => 'unix:');
$t->get('/id', 'User-Agent' => 'Mozilla/5.0 curl/8.1');

for (['token', 'key 1'], ['token', "key 1\n"], ['token', 't' x 400],
     ['address', '192.0.2.5'], ['address', '2001:DB8:1:2:5::'],
     ['address', '::ffff:192.0.2.1'], ['address', 'unix:'],
     ['agent', 'curl/7.2'], ['key', 'tkey 1'], ['key', '4192.0.2.0/24'])
{
    $r = explained('id', $_->[1], "?as=$_->[0]");

    is($r->{status}, 200, "as=$_->[0]: " . substr($_->[1], 0, 20))
        or diag($r->{body});
    is($r->{json}{read_as}, $_->[0], 'read as');
}

is(explained('id', $_->[1], "?as=$_->[0]")->{status}, 404,
   "not there, as=$_->[0]: $_->[1]")
    for ['token', 'nobody'], ['token', '192.0.2.0/24'],
        ['address', '192.0.3.1'], ['address', '2001:db8:2::'],
        ['agent', 'wget'], ['token', 'curl'];
is(explained('id', 'tkey 1')->{status}, 200, 'the key as nginx has it');
is(explained('id', 'key 1')->{status}, 404, 'is not guessed');

# rates in variables

$t->get('/var?k=a&rate=1r/m&burst=1');

$would = explained('var', 'a', '?rate=1r/m&burst=1')->{json}{would_be};
is("@$would{qw(verdict limit)}", 'PASSED 2', 'a rate given');
$would = explained('var', 'a', '?rate=1r/m&burst=0')->{json}{would_be};
is("@$would{qw(verdict limit)}", 'REJECTED 1', 'a burst given');
is(explained('var', 'a', '?rate=1%72%2Fm')->{status}, 200, 'escaped');

# a newcomer's coarser key

$t->get("/parent?k=$_&n=p") for qw(x y);
$e = explained('parent', 'p', '?as=newcomer');
is($e->{status}, 200, 'as=newcomer');
is(explained('parent', 'p')->{status}, 404, 'a domain of its own');
$e = explained('parent', 'y')->{json};
is($e->{decisions}[0]{reason}, 'newcomer', 'refused for it');
like($e->{decisions}[0]{why}, qr/^refused: the client is new/, 'why');


# more clients than slots

my $slots = json('/zones/small')->{slots};

$t->parallel([map { "/small?k=$_" } 1 .. 2 * $slots], jobs => 8);

my $small = json('/zones/small');

cmp_ok($small->{clients}, '<=', $slots, 'clients are at most slots');
is($small->{inserted}, 2 * $slots, 'inserted');
is($small->{inserted} - $small->{evicted}, $small->{clients}, 'evicted');
is(json('/zones/small?check=1')->{consistency}{clients}, $small->{clients},
   'counted');


# the pool

$t->parallel([map { '/cap?k=greedy' } 1 .. 150], jobs => 8);

$e = explained('cap', 'greedy')->{json};

cmp_ok(json('/zones/cap')->{pool}{fill}, '<', 0.5, 'the pool was used');
cmp_ok($e->{would_be}{fill}, '<', 0.5, 'told');
ok(defined $e->{would_be}{m}, 'elasticity');

my ($scarce) = grep { $_->{reason} eq 'scarce' } @{ $e->{decisions} };

ok($scarce, 'refused as the pool was short');
like($scarce->{why}, qr/is within depth .* the pool at -?\d+ % leaves/, 'why');


# while it is read, everything goes on

my $busy = $t->fork_process('busy', sub {
    my $i = 0;

    while (getppid() != 1 && $i < 20000) {
        $t->parallel([map { $i++; "/small?k=$i", "/learn?k=" . $i % 50 }
                      1 .. 50], jobs => 4);
    }
});

my $bad = 0;

$t->get('/learn?k=1');
$hex = explained('learn', '1')->{json}{key};

for my $i (1 .. 60) {
    for ('/status', '/zones', '/zones/learn?check=1', '/zones/small/top',
         "/zones/learn/keys/$hex")
    {
        my $got = $t->get("/api$_");

        $bad++, diag("$_: $got->{status}")
            if $got->{status} != 200 || !eval { decode($got->{body}) };
    }

    my $got = explained('small', $i);

    $bad++ if $got->{status} !~ /^(?:200|404)$/ || !$got->{json};

    if ($i == 20 || $i == 40) {
        ok($t->reload, 'reload');
    }
}

is($bad, 0, 'read under load and reloads');
$t->stop_process($busy);

$status = json('/status');
is($status->{forecaster}{generation}, 3, 'generation');
cmp_ok($status->{uptime_seconds}, '<', 60, 'uptime of the configuration');


# nothing of a key in any log

my $token = 'very-secret-0815';

explained($_, $token) for qw(one id addr);
explained('id', $token, '?as=token');
explained('id', $token, '', api => '/file');
explained('one', $token x 5000);
chunked('/api/zones/one/explain', $token);

my $answer = explained('one', $token)->{body};

is(index($answer, $token), -1, 'the answer does not have the key');
ok($t->wait_for_log(qr/explain/, log => 'access'), 'there are logs');
is(scalar $t->log_lines(qr/$token/), 0, 'the error log does not');
is(scalar $t->log_lines(qr/$token/, 'access'), 0, 'the access log does not');


# the directive

sub refused {
    my ($text, $what) = @_;

    my ($exit, $out) = $t->conf_test("server { listen 127.0.0.1:%%PORT%%;\n"
                                     . "$text }\n");

    isnt($exit, 0, "refused: $text");
    like($out, qr/$what.* in \S+nginx\.conf:\d+$/m, 'the message');
}

refused('location /a { predictive_api write; }',
        qr/"predictive_api write" is not supported yet by this version/);
refused('location /a { predictive_api on; }', qr/invalid parameter "on"/);
refused('location /a { predictive_api write on; }', qr/number of arguments/);
refused('location /a { predictive_api; predictive_api; }',
        qr/"predictive_api" directive is duplicate/);
refused('location ~ /a { predictive_api; }',
        qr/cannot be used in the location "\/a".* regular expression/);
refused('location @a { predictive_api; }',
        qr/cannot be used in the location "\@a", which is named/);
refused('predictive_api;', qr/"predictive_api" directive is not allowed here/);

my ($exit, $out) = $t->conf_test('server { listen 127.0.0.1:%%PORT%%;
                                  location / { predictive_api; } }');

is($exit, 0, 'without a zone') or diag($out);

done_testing();
