# conf-examples/: each starts as it is, apart from ports and places, and does
# what its comments say.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(wait_until slurp);
use Test::More;


my $EXAMPLES = "$PrdTest::ROOT/conf-examples";

my %tested = map { $_ => 1 } qw(per-ip api-key login tenants llm-gateway
                                dry-run);

is_deeply([sort map { m{([^/]+)\.conf$} } glob "$EXAMPLES/*.conf"],
          [sort keys %tested], 'all of them');


# The application: wrong passwords are 401, and a response says what it cost.

sub application {
    my ($r) = @_;

    return (401, {}, "wrong\n") if $r->{body} =~ /password=wrong/;

    my %headers = $r->{body} =~ /tokens=(\d+)/ ? ('X-Tokens' => $1) : ();

    return (200, \%headers, "$r->{method} $r->{uri}\n");
}


sub example {
    my ($name) = @_;

    my $t = PrdTest->new;
    my $conf = slurp("$EXAMPLES/$name.conf");

    mkdir $t->dir . "/$_" for qw(logs temp);

    my $backend = '127.0.0.1:' . $t->port(9);

    for (["load_module /usr/lib/nginx/modules/"
          . "ngx_http_predictive_module.so;", '%%MODULE%%'],
         ['pid nginx.pid;', 'pid %%DIR%%/nginx.pid;'],
         ['error_log logs/error.log notice;',
          'error_log %%DIR%%/error.log info;'],
         ['worker_processes auto;', 'worker_processes 2;'],
         ['127.0.0.1:8080', '127.0.0.1:%%PORT%%'],
         ['127.0.0.1:8081', $backend])
    {
        my ($from, $to) = @$_;

        $conf =~ s/\Q$from\E/$to/g or die "$name.conf has no \"$from\"\n";
    }

    like($conf, qr/^\s*predictive_state\s/m, "$name: keeps what it learns");
    like($conf, qr{-c \$PWD/conf-examples/\Q$name\E\.conf},
         "$name: says how it is tried");

    $t->server(9, \&application);
    $t->conf($conf)->start;

    unlike($t->error_log, qr/\[warn\]/, "$name: starts without a warning");

    return $t;
}


# Requests at once on one connection; statuses as { 200 => n, 429 => m }.

sub flood {
    my ($t, $n, $uri, %headers) = @_;

    return tally($t->pipeline(map { [GET => $uri, headers => \%headers] }
                              1 .. $n));
}


sub tally {
    my %n = (200 => 0, 401 => 0, 429 => 0);

    $n{ $_->{status} }++ for @_;

    return \%n;
}


sub post {
    my ($t, $uri, $body, %headers) = @_;

    return $t->request(POST => $uri, body => $body, headers => \%headers);
}


# The API's answer on one client.

sub client {
    my ($t, $zone, $key) = @_;

    return PrdTest::decode_json(
        post($t, "/predictive/zones/$zone/explain", $key)->{body});
}


sub from { ('X-Forwarded-For' => $_[0]) }


# per-ip.conf

{
    my $t = example('per-ip');

    my $n = flood($t, 60, '/', from('192.0.2.1'));

    is($n->{429}, 0, 'per-ip: 60 at once, there is room') or diag explain $n;

    $n = flood($t, 500, '/', from('2001:db8::1'));

    cmp_ok($n->{200}, '>=', 21, 'per-ip: a flood has its burst');
    cmp_ok($n->{429}, '>=', 100, 'per-ip: and is refused when room is scarce');

    $n = flood($t, 20, '/', from('2001:db8::ffff:1'));
    cmp_ok($n->{429}, '>', 0,
           'per-ip: another address of the /64 is the same client');

    $n = flood($t, 10, '/', from('2001:db8:0:1::1'));
    is($n->{429}, 0, 'per-ip: the next /64 is another one');

    $n = flood($t, 10, '/', from('192.0.2.2'));
    is($n->{429}, 0, 'per-ip: so is an IPv4 address');

    is($t->get('/static/none', from('2001:db8::1'))->{status}, 404,
       'per-ip: files are not limited');

    my $zone = $t->json('/predictive/zones/ip');

    is($zone->{clients}, 4, 'per-ip: four clients');
    cmp_ok($zone->{rejected}, '>=', 101, 'per-ip: refusals are counted');

    is($t->get('/predictive/zones/ip', from('192.0.2.1'))->{status}, 403,
       'per-ip: others may not ask');
}


# api-key.conf

{
    my $t = example('api-key');

    my $n = flood($t, 400, '/', 'X-API-Key' => 'abc');

    cmp_ok($n->{200}, '>=', 51, 'api-key: has its burst');
    cmp_ok($n->{200}, '<=', 4 * 51 + 25, 'api-key: no more than four of them')
        or diag explain $n;

    my @r = $t->pipeline(map { [GET => '/', headers =>
                                { Authorization => 'Bearer abc' }] } 1 .. 60);
    my ($r) = grep { $_->{status} == 429 } @r;

    cmp_ok(tally(@r)->{200}, '<', 40,
           'api-key: a bearer token is the same key');
    like($r->{headers}{'ratelimit-policy'}, qr/^"keys";q=\d+/,
         'api-key: is told its quota');
    like($r->{headers}{'retry-after'}, qr/^\d+$/, 'api-key: and when');
    is($r->{headers}{'content-type'}, 'application/problem+json',
       'api-key: and what the problem is');
    is(PrdTest::decode_json($r->{body})->{'violated-policies'}[0], 'keys',
       'api-key: by name');

    is($t->get('/', 'X-API-Key' => 'def')->{status}, 200,
       'api-key: another key');
    is($t->get('/')->{status}, 200, 'api-key: no key is an address');
    is($t->json('/predictive/zones/keys')->{clients}, 3,
       'api-key: three clients');
}


# tenants.conf

{
    my $t = example('tenants');

    is($t->get('/')->{status}, 401, 'tenants: no key');
    is($t->get('/', 'X-API-Key' => 'guess')->{status}, 401,
       'tenants: a key of nobody');

    my $free = flood($t, 40, '/', 'X-API-Key' => 'key-of-alice');
    my $pro = flood($t, 40, '/', 'X-API-Key' => 'key-of-bob');

    cmp_ok($free->{200}, '>=', 6, 'tenants: free has its burst of 5');
    cmp_ok($free->{200}, '<=', 2 * 6 + 4, 'tenants: and borrows as much');
    is($pro->{429}, 0, 'tenants: pro has more') or diag explain $pro;

    my $r = $t->get('/', 'X-API-Key' => 'key-of-carol');

    is($r->{status}, 200, 'tenants: enterprise');
    like($r->{headers}{'ratelimit-policy'}, qr/^"plans";q=501/,
         'tenants: is told of its burst');
}


# llm-gateway.conf

{
    my $t = example('llm-gateway');
    my @auth = (Authorization => 'Bearer big');

    my @r = map { post($t, '/v1/chat', 'tokens=4000', @auth) } 1 .. 30;
    my $n = tally(@r);

    cmp_ok($n->{200}, '>=', 5, 'llm-gateway: 20,000 tokens at once');
    cmp_ok($n->{200}, '<=', 20, 'llm-gateway: are not 30 x 4,000')
        or diag explain $n;
    is($r[-1]{status}, 429, 'llm-gateway: the last one is refused');
    is($r[-1]{headers}{'content-type'}, 'application/problem+json',
       'llm-gateway: with a problem');

    is(post($t, '/v1/chat', 'tokens=40', Authorization => 'Bearer small')
           ->{status}, 200, 'llm-gateway: a small one passes');

    my $c = client($t, 'llm', 'tbig');

    ok($c->{known}, 'llm-gateway: known');
    cmp_ok($c->{bucket}{level}, '>', 15000, 'llm-gateway: charged in tokens');

    ok(wait_until(5, sub {
        slurp($t->dir . '/logs/llm.log') =~ / 200 \d+ "4000" PASSED /
    }), 'llm-gateway: the log has tokens and verdict');
}


# dry-run.conf

{
    my $t = example('dry-run');

    my $n = flood($t, 30, '/page', 'User-Agent' => 'x');

    is($n->{200}, 30, 'dry-run: nobody is refused');

    my $log = $t->dir . '/logs/predictive.log';

    ok(wait_until(5, sub { () = slurp($log) =~ /^/mg; }), 'dry-run: log');
    wait_until(5, sub { (() = slurp($log) =~ /\n/g) == 30 });

    my @would = grep {
        / REJECTED_DRY_RUN quota rate=2 burst=11 key=[0-9a-f]{16}$/
    } split /\n/, slurp($log);

    is(@would, 19, 'dry-run: 19 of 30 would have been');

    my ($key) = $would[0] =~ /key=(\w+)/;

    is($t->json("/predictive/zones/ip/keys/$key")->{key}, $key,
       'dry-run: the hash is known to the API');

    SKIP: {
        my $replay = $ENV{PRD_REPLAY}
                     || "$PrdTest::ROOT/build/predictive-replay";

        skip('no predictive-replay', 2) unless -x $replay;

        my ($exit, $out) = $t->run($replay, '-c', "$EXAMPLES/dry-run.conf",
                                   '--zone', 'ip', $log);

        is($exit, 0, 'dry-run: predictive-replay reads this log');
        like($out, qr/^30 requests of 1 client/m, 'dry-run: all of it')
            or diag $out;
    }
}


# login.conf, last: it waits for learning

{
    my $t = example('login');

    my $try = sub {
        my ($from, $password) = @_;
        return post($t, '/login', "password=$password", from($from))->{status};
    };

    is(join(' ', map { $try->('203.0.113.5', 'wrong') } 1 .. 8),
       join(' ', (401) x 8), 'login: eight guesses');
    is(join(' ', map { $try->('192.0.2.1', 'wrong') } 1 .. 14),
       join(' ', (401) x 11, (429) x 3), 'login: eleven guesses');

    is($try->('192.0.2.77', 'good'), 429,
       'login: a fresh neighbour pays for the network');
    is($try->('192.0.3.1', 'good'), 200, 'login: another network does not');
    is($try->('198.51.100.1', 'good'), 200, 'login: nor does this one');

    is(tally(map { $t->get('/login', from('192.0.2.1')) } 1 .. 20)->{429}, 0,
       'login: the form itself is free');
    is(tally(map { $t->get('/', from('192.0.2.1')) } 1 .. 20)->{429}, 0,
       'login: and so is the rest');

    # a bin is closed: the successful one has learned from it

    ok(wait_until(30, sub {
        (client($t, 'login', '4198.51.100.1/32')->{learned} || {})->{blocks}
    }), 'login: success teaches');

    my $c = client($t, 'login', '4203.0.113.5/32');

    ok($c->{known}, 'login: the guesser is known');
    ok(!($c->{learned} || {})->{blocks}, 'login: but failures teach nothing')
        or diag explain $c;
}


done_testing();
