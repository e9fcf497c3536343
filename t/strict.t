# sync=strict: each request of two hosts is one atomic decision in Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(wait_until spew);
use Test::More;


# Two hosts with two workers each, and their Redis, on the first one's port.

my $na = PrdTest->new;
my $nb = PrdTest->new;

my $redis_port = $na->port(5);
my $redis = $na->redis(5);
my $secret = PrdRedis::secret_file($na, 'secret');

my $conf = <<"END";
worker_processes 2;

predictive_store main {
    server 127.0.0.1:$redis_port;
    secret file:$secret;
    wait 500ms;
    timeout 2s;
}

predictive_zone \$arg_k zone=one:1m rate=1r/m burst=4 learn=off
                store=main sync=strict;
predictive_zone \$arg_k zone=slow:1m rate=10r/s burst=4 learn=off
                store=main sync=strict;
predictive_zone \$arg_k zone=local:1m rate=1r/m burst=2 learn=off;
predictive_zone \$arg_j zone=two:1m rate=1r/m burst=3 learn=off
                store=main sync=strict;
predictive_zone \$arg_k zone=cost:1m rate=1r/m burst=99 learn=off
                store=main sync=strict cost=\$arg_c;
predictive_zone \$arg_k zone=charge:1m rate=1r/m burst=99 learn=off
                store=main sync=strict charge=\$upstream_http_x_tokens;
predictive_zone \$arg_k zone=dry:1m rate=1r/m burst=2 learn=off
                store=main sync=strict;
predictive_zone \$http_x_k zone=sub:1m rate=1r/m burst=2 learn=off
                store=main sync=strict;

log_format seen '\$uri \$arg_k \$status \$predictive_status \$predictive_reason';

server {
    listen 127.0.0.1:%%PORT%%;
    listen 127.0.0.1:%%PORT1%% http2;

    access_log %%DIR%%/access.log seen;

    add_header X-Status \$predictive_status always;
    add_header X-Reason \$predictive_reason always;
    add_header X-Left \$predictive_remaining always;
    add_header X-Key \$predictive_key always;

    location = /one { predictive zone=one nodelay; empty_gif; }
    location = /slow { predictive zone=slow; empty_gif; }
    location = /cost { predictive zone=cost nodelay; empty_gif; }
    location = /charge { predictive zone=charge nodelay;
                         proxy_pass http://%%BACKEND_ADDR%%/; }
    location = /dry { predictive zone=dry nodelay; predictive_dry_run on;
                      empty_gif; }
    location = /both { predictive zone=one nodelay;
                       predictive zone=local nodelay; empty_gif; }
    location = /stores { predictive zone=one nodelay;
                         predictive zone=two nodelay; empty_gif; }
    location = /auth { auth_request /sub; empty_gif; }
    location = /sub { internal; predictive zone=sub nodelay;
                      proxy_pass http://%%BACKEND_ADDR%%/status/204; }
    location = /mirror { mirror /mirrored; empty_gif; }
    location = /mirrored { internal; predictive zone=sub nodelay;
                           proxy_pass http://%%BACKEND_ADDR%%/; }
    location = /proxy { predictive zone=one nodelay;
                        proxy_pass http://%%BACKEND_ADDR%%/; }
    location / { predictive_api; }
}

%%BACKEND%%
END

$_->conf($conf)->start for $na, $nb;

sub zone {
    my ($t, $name) = @_;

    return $t->json("/zones/$name");
}

sub codes {
    return join ' ', map { $_->{status} } @_;
}

# both hosts are in touch with the store: a fresh client is asked about
sub ready {
    my ($t) = @_;

    return wait_until(5, sub {
        my $r = $t->get('/one?k=ready' . rand);

        return zone($t, 'one')->{lease_asks} > 0;
    });
}

ok(ready($_), 'in touch') for $na, $nb;


# one limit for both

my @r = map { ($_ % 2 ? $nb : $na)->get('/one?k=x') } 1 .. 8;

is(codes(@r), '200 200 200 200 200 429 429 429', 'five of two hosts');
is($r[0]{headers}{'x-status'}, 'PASSED', 'status');
is($r[0]{headers}{'x-reason'}, 'quota', 'reason');
is(join(' ', map { $_->{headers}{'x-left'} } @r[0 .. 4]), '4 3 2 1 0',
   'remaining');
is($r[5]{headers}{'x-status'}, 'REJECTED', 'status of a refusal');
is($r[5]{headers}{'x-reason'}, 'quota', 'reason of a refusal');
cmp_ok($r[5]{headers}{'retry-after'}, '>=', 55, 'retry after');
is($r[0]{headers}{'x-key'}, $r[1]{headers}{'x-key'},
   'hosts call a client the same');

for my $round (1 .. 5) {
    my @pid = map {
        my $t = $_;
        $t->fork_process("crowd$round", sub {
            my $n = grep { $_->{status} == 200 }
                    $t->parallel([("/one?k=crowd$round") x 20]);
            spew($t->dir . "/crowd$round", $n);
        });
    } $na, $nb;

    wait_until(20, sub { -s $na->dir . "/crowd$round"
                         && -s $nb->dir . "/crowd$round" });

    my $n = 0;

    for ($na, $nb) {
        open my $f, '<', $_->dir . "/crowd$round" or next;
        $n += <$f> || 0;
    }

    is($n, 5, "crowd $round: of forty at once five");
}


# what is in Redis

my @keys = split /\n/, $na->redis_cli(5, 'keys', '*:{one:*');

ok(@keys > 5, 'keys');
is(scalar(grep { !/^prd:1:\{one:s0[0-6]\d\}:(?:[0-9a-f]{16}|act)$/ } @keys),
   0, 'keys are hashes') or diag "@keys";

my ($key) = grep { /:$r[0]{headers}{'x-key'}$/ } @keys;

ok($key, 'the key that the variable names');

my $ttl = $na->redis_cli(5, 'pttl', $key);

cmp_ok($ttl, '>', 60_000, 'it expires: milliseconds');
cmp_ok($ttl, '<=', 5 * 60_000 + 61_000, 'and not much after it has drained');

my $calls = sub {
    my ($n) = $na->redis_cli(5, 'info', 'commandstats')
              =~ /cmdstat_evalsha:calls=(\d+)/;
    return $n;
};

my $before = $calls->();
$na->get("/one?k=each$_") for 1 .. 10;
my $asked = $calls->() - $before;

cmp_ok($asked, '>=', 10, 'one after the other: a command each');
cmp_ok($asked, '<=', 30, 'and not many more');


# delays

@r = $na->parallel([('/slow?k=s') x 4]);

is(codes(@r), '200 200 200 200', 'delayed, not refused');
is(join(' ', sort map { $_->{headers}{'x-status'} } @r),
   'DELAYED DELAYED DELAYED PASSED', 'delayed');


# cost, charge, peek

is($na->get('/cost?k=c&c=60')->{status}, 200, 'a cost of 60');
is($nb->get('/cost?k=c&c=60')->{status}, 429, 'two of them are too many');
is($nb->get('/cost?k=c&c=40')->{headers}{'x-left'}, 0, 'the rest');
is($na->get('/cost?k=c&c=1')->{status}, 429, 'nothing is left');
is($nb->get('/cost?k=peek&c=0')->{headers}{'x-left'}, 100, 'a peek');

is($na->get('/charge?k=c', 'X-Tokens' => 50)->{headers}{'x-left'}, 99,
   'a charge: one is held');

# what the response did cost is reported at a tick

ok(wait_until(5, sub {
       my $left = $nb->get('/cost?k=c&c=0');
       return $nb->get('/charge?k=c', 'X-Tokens' => 0)->{headers}{'x-left'}
              <= 60;
   }), 'the other host hears of the charge');


# several limits: all or none

@r = map { $na->get('/both?k=both') } 1 .. 5;

is(codes(@r), '200 200 200 429 429', 'the local limit is the lower one');
is(codes(map { $nb->get('/one?k=both') } 1 .. 3), '200 200 429',
   'the other was charged what both let through');

@r = map { ($_ % 2 ? $nb : $na)->get("/stores?k=st&j=st") } 1 .. 6;

is(codes(@r), '200 200 200 200 429 429', 'two limits of the store');

ok(wait_until(5, sub { $na->get('/one?k=st')->{status} == 200 }),
   'what was refused by the second is back in the first');


# dry run, subrequests, redirects, HTTP/2

@r = map { $na->get('/dry?k=dry') } 1 .. 5;

is(codes(@r), '200 200 200 200 200', 'dry run');
is(join(' ', map { $_->{headers}{'x-status'} } @r),
   'PASSED PASSED PASSED REJECTED_DRY_RUN REJECTED_DRY_RUN', 'dry run: told');

is(codes(map { ($_ % 2 ? $nb : $na)->get('/auth', 'X-K' => 'auth') } 1 .. 5),
   '200 200 200 500 500', 'in a subrequest');

is(codes(map { $na->get('/mirror', 'X-K' => 'mirror') } 1 .. 5), '200 200 200 200 200',
   'nobody waits for a mirror');
ok(wait_until(5, sub { zone($na, 'sub')->{rejected} >= 1 }),
   'but it is limited');

is(codes(map { $na->get('/proxy?k=proxy') } 1 .. 6),
   '200 200 200 200 200 429', 'before a proxy');

@r = $na->h2_streams([map { "/one?k=h2" } 1 .. 10], port => $na->port(1));

is(scalar(grep { $_->{status} == 200 } @r), 5, 'streams of HTTP/2');
is(scalar(grep { $_->{status} == 429 } @r), 5, 'the others are refused');

@r = $na->pipeline(map { "/one?k=pipe" } 1 .. 8);

is(codes(@r), '200 200 200 200 200 429 429 429', 'pipelined requests');


# a client that goes away while its request is parked

kill 'STOP', $redis->{pid};

my $c = $na->connect;
$c->send("GET /one?k=gone HTTP/1.1\r\nHost: localhost\r\n\r\n");
select undef, undef, undef, 0.1;
$c->close;

$c = $na->connect;
$c->send("GET /slow?k=gone HTTP/1.1\r\nHost: localhost\r\n\r\n");
select undef, undef, undef, 0.2;
$c->close;

my $returned = zone($na, 'one?check=1')->{consistency}{books}{returned};

my $p = $na->connect;
$p->send("GET /one?k=stays HTTP/1.1\r\nHost: localhost\r\n\r\n");
select undef, undef, undef, 0.1;

kill 'CONT', $redis->{pid};

is($p->response->{status}, 200, 'one that stays is answered');
ok($na->wait_for_log(qr{^/one gone 499 - -$}, log => 'access'),
   'one that went is logged without a verdict')
    or diag $na->access_log;

is(codes(map { $nb->get('/one?k=stays') } 1 .. 5), '200 200 200 200 429',
   'and was charged');
ok(wait_until(2 * $PrdTest::SLOW, sub {
       my $books = zone($na, 'one?check=1')->{consistency}{books};

       return $books->{held} == 0 && $books->{returned} == $returned + 1;
   }), 'what was debited for the other goes back at once');
ok(wait_until(2 * $PrdTest::SLOW, sub {
       my $books = zone($na, 'slow?check=1')->{consistency}{books};

       return $books->{held} == 0 && $books->{forfeited} == 1;
   }), 'or not at all, where the bucket may have run empty since');

for my $t ($na, $nb) {
    ok(wait_until(15, sub {
           my $books = zone($t, 'one?check=1')->{consistency}{books};

           return $books->{balanced} && $books->{owed} == 0;
       }), 'the books are balanced')
        or diag explain zone($t, 'one?check=1')->{consistency};
}


# a reload with a request parked

kill 'STOP', $redis->{pid};

$p = $na->connect;
$p->send("GET /one?k=reload HTTP/1.1\r\nHost: localhost\r\n\r\n");
select undef, undef, undef, 0.1;
$na->reload;
kill 'CONT', $redis->{pid};

is($p->response->{status}, 200, 'a parked request survives a reload');
ok(ready($na), 'the new workers ask');


# a zone stays with its store and its secret

my $nc = PrdTest->new;
my $other = PrdRedis::secret_file($na, 'other', 'another secret of the tests');

sub one {
    my ($file, $rest) = @_;

    return "predictive_store main { server 127.0.0.1:$redis_port;"
           . " secret file:$file; }\n"
           . 'predictive_zone $arg_k zone=one:1m rate=1r/m learn=off'
           . " $rest;\nserver { listen 127.0.0.1:%%PORT%%;"
           . ' predictive zone=one; location / { empty_gif; } }';
}

$nc->allow_log(qr/\[emerg\]/);
$nc->conf(one($secret, ''))->start;

sub refused {
    my ($conf, $re, $name) = @_;

    ok(!$nc->reload($conf), $name);
    ok($nc->wait_for_log($re), "$name: is told");
}

refused(one($secret, 'store=main'),
        qr/zone "one" has a store now and had none before/,
        'a reload gives a zone no store');

$nc->conf(one($secret, 'store=main'));
$nc->stop->start;

refused(one($other, 'store=main'),
        qr/has hashed its keys with another secret/, 'nor another secret');
refused(one($secret, ''), qr/zone "one" has no store now and had one before/,
        'nor takes it away');

ok($nc->reload(one($secret, 'store=main sync=strict')), 'another sync');
is($nc->get('/?k=fresh')->{status}, 200, 'another sync is taken');


for my $t ($na, $nb) {
    my $log = $t->error_log;

    unlike($log, qr/bad reply/, 'no bad replies');
}

done_testing();
