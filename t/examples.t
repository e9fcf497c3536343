# conf-examples/: each starts as it is, apart from ports and places, and does
# what its comments say.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

BEGIN { $ENV{PRD_TIMEOUT} ||= 300 }

use PrdRedis;
use PrdTest qw(wait_until slurp spew);
use Test::More;
use Time::HiRes qw(time);


my $EXAMPLES = "$PrdTest::ROOT/conf-examples";

my %tested = map { $_ => 1 } qw(per-ip api-key login tenants llm-gateway
                                dry-run shared shared-cluster
                                shared-sentinel kubernetes);

is_deeply([sort map { m{([^/]+)\.(?:conf|yaml)$} } glob "$EXAMPLES/*"],
          [sort keys %tested], 'all of them');


# The application: wrong passwords are 401, and a response says what it cost.

sub application {
    my ($r) = @_;

    return (401, {}, "wrong\n") if $r->{body} =~ /password=wrong/;

    my %headers = $r->{body} =~ /tokens=(\d+)/ ? ('X-Tokens' => $1) : ();

    return (200, \%headers, "$r->{method} $r->{uri}\n");
}


# Further arguments are [from, to]: what is elsewhere here.

sub example {
    my ($name, @places) = @_;

    my $t = PrdTest->new;
    my $conf = slurp("$EXAMPLES/$name.conf");

    mkdir $t->dir . "/$_" for qw(logs temp);

    my $backend = '127.0.0.1:' . $t->port(9);

    $conf = placed($name, $conf,
         ["load_module /usr/lib/nginx/modules/"
          . "ngx_http_predictive_module.so;", '%%MODULE%%'],
         ['pid nginx.pid;', 'pid %%DIR%%/nginx.pid;'],
         ['error_log logs/error.log notice;',
          'error_log %%DIR%%/error.log info;'],
         ['worker_processes auto;', 'worker_processes 2;'],
         ['127.0.0.1:8080', '127.0.0.1:%%PORT%%'],
         ['127.0.0.1:8081', $backend], @places);

    like($conf, qr/^\s*predictive_state\s/m, "$name: keeps what it learns");
    like($conf, qr{-c \$PWD/conf-examples/\Q$name\E\.conf},
         "$name: says how it is tried");

    $t->server(9, \&application);
    $t->conf($conf)->start;

    unlike($t->error_log, qr/\[warn\]/, "$name: starts without a warning");

    return $t;
}


sub placed {
    my ($name, $conf, @places) = @_;

    for (@places) {
        my ($from, $to) = @$_;

        $conf =~ s/\Q$from\E/$to/g or die "$name has no \"$from\"\n";
    }

    return $conf;
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


# Gateways that share a store: what the examples have in common.

my $keeper = PrdTest->new;           # of Redis and of files
my $secret = PrdRedis::secret_file($keeper, 'secret');

# on a busy machine an answer may take longer than 2 ms

my $patience = 'wait 500ms; timeout 2s;';
my @secret = ('secret   file:/etc/nginx/predictive.secret;',
              "secret file:$secret; $patience");


# Both are up and know of each other.

sub together {
    my ($name, $zone, @t) = @_;

    for my $t (@t) {
        my $here;

        ok(wait_until(20, sub {
            $here = $t->json('/predictive/status', @{ $t->{api} || [] })
                    ->{stores}{main};

            $here->{up} && $here->{workers_up} == 2
        }), "$name: Redis answers") or diag explain $here;

        ok(wait_until(20, sub {
            $here = $t->json("/predictive/zones/$zone", @{ $t->{api} || [] });

            ($here->{lease}{nodes} || 0) == @t
        }), "$name: all gateways are seen") or diag explain $here->{lease};
    }
}


# One client at both gateways by turns, at most MOST at once and RATE further
# ones a second.

sub one_limit {
    my ($name, $most, $rate, $t, $u, $uri, %headers) = @_;

    my $start = time;
    my @n;

    for (1 .. 4) {
        push @n, flood($_, $most, $uri, %headers) for $t, $u;
    }

    my ($n, $m) = map { my $i = $_;
                        my $sum = 0;
                        $sum += $n[2 * $_ + $i]{200} for 0 .. 3;
                        $sum } 0, 1;
    my $bound = $most + $rate * (time - $start) + 1;

    cmp_ok($n + $m, '>=', $most, "$name: a client has its limit");
    cmp_ok($n + $m, '<=', $bound, "$name: once, not at each gateway")
        or diag explain \@n;
}


sub quiet {
    my ($name, @t) = @_;

    for my $t (@t) {
        my @lines = $t->log_lines(qr/\[(?:warn|error|crit|alert|emerg)\]
                                     (?!.*limiting\ requests)/x);

        # a server that has no CPU for 0.4 s is one that does not answer
        @lines = grep { !/predictive store .* does not answer/ } @lines
            if $PrdTest::SLOW > 1;

        is_deeply(\@lines, [], "$name: no complaints");
    }
}


# shared.conf

{
    my $redis = PrdRedis->new($keeper, 1);
    my @t = map { example('shared', \@secret,
                          ['127.0.0.1:6379', $redis->addr]) } 1, 2;

    together('shared', 'api', @t);

    my @r = map { post($t[$_ % 2], '/login', 'password=good',
                       from('192.0.2.1')) } 1 .. 8;

    is(join(' ', map { $_->{status} } @r), '200 200 200 200 200 429 429 429',
       'shared: five logins of two gateways');
    is(post($t[0], '/login', 'password=good', from('192.0.2.2'))->{status},
       200, 'shared: another client');

    for my $t (@t) {
        is(flood($t, 100, '/', 'X-API-Key' => 'abc')->{200}, 100,
           'shared: while there is room, nobody is refused');
    }

    quiet('shared', @t);

    # Redis dies: each gateway goes on, and both are one again afterwards

    $redis->kill;
    is(tally(map { $_->get('/', from('192.0.2.3')) } (@t) x 5)->{200}, 10,
       'shared: without Redis requests pass');

    is(join(' ', map { post($t[0], '/login', '', from('192.0.2.4'))->{status} }
                 1 .. 8), '200 200 429 429 429 429 429 429',
       'shared: and logins have half of the limit');

    $redis->restart;
    together('shared', 'api', @t);
    @r = map { post($t[$_ % 2], '/login', '', from('192.0.2.5')) } 1 .. 8;
    is(tally(@r)->{200}, 5, 'shared: one limit again');
    $_->stop for @t, $redis;
}


# shared-cluster.conf

{
    my $name = 'shared-cluster';
    my $tls = PrdRedis->tls($keeper, clients => 'yes');
    my $dir = $tls->{dir};
    my ($acl) = slurp("$EXAMPLES/$name.conf") =~ /ACL SETUSER (.*?)^#$/ms;

    $acl =~ s/\\\n#//g;
    $acl =~ s/'//g;
    $acl =~ s/PASSWORD/of_limiter/;
    like($acl, qr/^limiter on .* \+evalsha .* \+asking$/, "$name: a user");

    my @nodes = PrdRedis->cluster($keeper, 10, replicas => 0, tls => $tls,
        args => ['--tls-cluster', 'yes', '--user', split ' ', $acl]);

    my $password = PrdRedis::secret_file($keeper, 'password', 'of_limiter');

    my @t = map { example($name, \@secret,
        (map { ["10.0.0.$_:6379", $nodes[$_ - 1]->addr] } 1 .. 3),
        ['/etc/nginx/redis.password', $password],
        ['/etc/nginx/redis-ca.crt', "$dir/ca.crt"],
        ['/etc/nginx/redis-client', "$dir/client"]) } 1, 2;

    together($name, 'keys', @t);
    one_limit($name, 10, 1, @t, '/trial/');

    my $passed = 0;

    for my $i (1 .. 20) {
        $passed += flood($t[$i % 2], 10, '/',
                         Authorization => "Bearer t$i")->{200};
    }

    is($passed, 200, "$name: twenty clients within their bursts");
    is(scalar(grep { $_->{role} eq 'master' && $_->{slots} }
              @{ $t[0]->json('/predictive/status')->{stores}{main}{servers} }),
       3, "$name: all nodes are known");

    ok(wait_until(20, sub {
        !grep { $_->cli('dbsize') !~ /^[1-9]/ } @nodes
    }), "$name: each has something of it");

    quiet($name, @t);

    is($_->cli('acl', 'log'), '', "$name: the user may do all it has to")
        for @nodes;

    $_->stop for @t, @nodes;
}


# shared-sentinel.conf

{
    my $name = 'shared-sentinel';
    my $word = 'of-all-of-them';
    my $s = PrdRedis->sentinel($keeper, 30, password => $word,
        sentinel_password => $word,
        args => ['--requirepass', $word, '--masterauth', $word]);
    my @sentinels = @{ $s->{sentinels} };
    my $password = PrdRedis::secret_file($keeper, 'password', $word);

    my @t = map { example($name, \@secret,
        (map { ["10.0.0.$_:26379", $sentinels[$_ - 1]->addr] } 1 .. 3),
        ['/etc/nginx/redis.password', $password]) } 1, 2;

    together($name, 'ip', @t);
    one_limit($name, 10, 1, @t, '/');

    my ($master) = grep { $_->{role} eq 'master' }
        @{ $t[0]->json('/predictive/status')->{stores}{main}{servers} };

    is($master->{server}, $s->{master}->addr, "$name: at the master");
    quiet($name, @t);

    $_->stop for @t, @sentinels, @$s{qw(replica master)};
}


# kubernetes.yaml: its nginx.conf, as the pod has it

{
    my $name = 'kubernetes';
    my $redis = PrdRedis->new($keeper, 1);
    my ($text) = slurp("$EXAMPLES/$name.yaml")
                 =~ /^  nginx\.conf: \|\n((?:    .*\n|\n)+)/m;

    $text =~ s/^    //mg;
    like($text, qr/\A\S.*^\}\s*\z/ms, "$name: a configuration in it");
    unlike($text, qr/\t/, "$name: YAML has no tabs");

    # a Secret's volume: a link to a file that is readable by a group

    my $volume = $keeper->dir . '/volume';

    mkdir $_ for $volume, "$volume/..data";
    spew("$volume/..data/secret", "of a Secret, thirty-two bytes long\n");
    chmod 0440, "$volume/..data/secret";
    symlink '..data/secret', "$volume/secret";

    my @t = map {
        my $t = PrdTest->new;
        my $backend = '127.0.0.1:' . $t->port(9);

        mkdir $t->dir . '/cache';
        chmod 0777, $t->dir . '/cache';

        $t->server(9, \&application);
        $t->conf(placed($name, $text,
            ['load_module /usr/lib/nginx/modules/'
             . 'ngx_http_predictive_module.so;', '%%MODULE%%'],
            ['/dev/stderr notice', '%%DIR%%/error.log info'],
            ['/dev/stdout', '%%DIR%%/access.log'],
            ['/var/cache/nginx', '%%DIR%%/cache'],
            ['10.96.0.10', '127.0.0.1:%%PORT5%%'],
            ['10.0.0.0/8', '127.0.0.0/8'],
            ['redis.default.svc.cluster.local:6379', $redis->addr],
            ['application.default.svc.cluster.local:8080', $backend],
            ['file:/etc/nginx/predictive/secret;',
             "file:$volume/secret; $patience"],
            ['listen 8080', 'listen 127.0.0.1:%%PORT%%'],
            ['listen 9145', 'listen 127.0.0.1:%%PORT1%%']))->start;

        $t->{api} = [port => $t->port(1)];
        unlike($t->error_log, qr/\[warn\]/, "$name: starts without a warning");

        $t;
    } 1, 2;

    together($name, 'api', @t);

    one_limit($name, 21, 1, @t, '/', 'X-API-Key' => 'abc');

    is($t[0]->request(GET => '/healthz', @{ $t[0]{api} })->{status}, 204,
       "$name: the probe");
    like($t[1]->request(GET => '/predictive/metrics', @{ $t[1]{api} })
         ->{body}, qr/^nginx_predictive_nodes\{zone="api"\} 2$/m,
         "$name: the metrics");
    is(tally($t[0]->get('/predictive/status', 'X-API-Key' => 'def'))->{200},
       1, "$name: on the other port it is the application's");
    unlike($t[0]->get('/predictive/status', 'X-API-Key' => 'def')->{body},
           qr/"stores"/, "$name: nothing of ours");
    quiet($name, @t);
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
