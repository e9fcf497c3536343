# Who talks to whom: TLS both ways, users and what they may do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep);


my $t = PrdTest->new;
my $tls = PrdRedis->tls($t);
my $dir = $tls->{dir};

# a user as the reference has it

my ($acl) = PrdTest::slurp("$PrdTest::ROOT/ngx_predictive_module/README.md")
            =~ /^user limiter on >PASSWORD (.*?)^```/ms;

ok($acl, 'a user in the reference');

my $plain = PrdRedis->new($t, 1, args => [
    '--requirepass', 'of default', '--user',
    'limiter', 'on', '>of_limiter', split(' ', $acl) ]);
my $secure = PrdRedis->new($t, 2, tls => $tls);
my $mutual = PrdRedis->new($t, 3, tls => { %$tls, clients => 'yes' });
my $socket = $t->dir . '/redis.sock';
my $unix = PrdRedis->new($t, 4, args => ['--unixsocket', $socket,
                                         '--unixsocketperm', 777]);
my @cluster = PrdRedis->cluster($t, 10, replicas => 0, tls => $tls,
                                args => ['--tls-cluster', 'yes']);

my $secret = PrdRedis::secret_file($t, 'secret');
my $password = PrdRedis::secret_file($t, 'password', 'of_limiter');
my $module = PrdRedis::module();
my $ca = "ssl on; ssl_trusted_certificate $dir/ca.crt;";
my $client = "ssl_certificate $dir/client.crt; "
             . "ssl_certificate_key $dir/client.key;";

my %stores = (

    # name => [server, parameters, what is logged: undef if it works]

    user     => [1, "username limiter; password file:$password;"],
    default  => [1, 'password "of default";'],
    wrong    => [1, 'username limiter; password wrong;',
                 qr/refuses us: "WRONGPASS/],
    none     => [1, '', qr/refuses us: "NOAUTH/],

    verified => [2, "$ca timeout 5s;"],
    name     => [2, "$ca ssl_name redis.test;"],
    byname   => ['localhost:' . $secure->port, $ca],
    trusting => [2, 'ssl on; ssl_verify off;'],
    other    => [2, "ssl on; ssl_trusted_certificate $dir/other.crt;",
                 qr/has a certificate that was not verified/],
    system   => [2, 'ssl on;', qr/has a certificate that was not verified/],
    badname  => [2, "$ca ssl_name other.test;",
                 qr/has a certificate that is not of the name/],
    noname   => [1, $ca, qr/failed in the TLS handshake/],
    clear    => [2, '', qr/has closed|sends what|recv\(\) failed/],

    mutual   => [3, "$ca $client"],
    unknown  => [3, $ca, qr/has closed|could not be written/],

    socket   => ["unix:$socket", ''],
    cluster  => [10, "mode cluster; $ca"],
);

my ($blocks, $locations) = ('', '');

for my $name (sort keys %stores) {
    my ($server, $more) = @{ $stores{$name} };

    $server = '127.0.0.1:' . $t->port($server) if $server =~ /^\d+$/;

    # "noname" waits in vain, others have time on a busy machine

    $more .= ' connect_timeout 5s;' if $name ne 'noname';
    $blocks .= "predictive_store $name { server $server; "
               . "secret file:$secret; $more }\n";
    $locations .= "location = /$name { prdtest_redis $name; }\n";
}

# a client without a certificate: nginx itself thinks it critical
$t->allow_log(qr/\[crit\] .*alert certificate required.*"unknown"/);

$t->conf(<<"END")->start;
load_module $module;
events { worker_connections 1024; }

$blocks

server {
    listen 127.0.0.1:%%PORT%%;
    location /api { predictive_api; }
    $locations
}
END

my $incr = q{local n = (redis.call('GET', KEYS[1]) or 0) + ARGV[1] }
           . q{redis.call('SET', KEYS[1], n) }
           . q{redis.call('PEXPIRE', KEYS[1], 60000) return n};

for my $name (sort keys %stores) {
    my ($server, $more, $what) = @{ $stores{$name} };

    if (!$what) {
        ok(wait_until(15, sub { PrdRedis::status($t, $name)->{up} }),
           "$name: up") or diag($t->tail(20));

        my $r = PrdRedis::ask($t, "/$name", script => $incr, args => 1,
                              keys => 'prd:@', n => 100);

        is($r->{ok}, 100, "$name: answers") or diag(explain($r));
        next;
    }

    my $store = qr/predictive store "$name": server/;

    ok($t->wait_for_log(qr/$store.*$what|$what.*$name/, timeout => 10),
       "$name: says what is wrong")
        or diag(join "\n", $t->log_lines(qr/"$name"/));
    ok(!PrdRedis::status($t, $name)->{up}, "$name: not up");

    my $r = PrdRedis::ask($t, "/$name", command => 'PING');

    is($r->{down}, 1, "$name: calls fail");
}


# what a user may not

my $r = PrdRedis::ask($t, '/user', command => 'FLUSHALL');
is($r->{error}, 1, 'a command that is not allowed');
like($r->{text}, qr/^NOPERM/, 'its error');

$r = PrdRedis::ask($t, '/user', script => $incr, args => 1, keys => 'other');
is($r->{error}, 1, 'a key that is not allowed');
ok(PrdRedis::status($t, 'user')->{up}, 'still up');

# logged once each, however often it is tried; no password anywhere

is(scalar $t->log_lines(qr/"wrong": server \S+ refuses us/), 1, 'said once');
unlike($t->error_log, qr/of_limiter|of default/, 'no password is logged');

# a large reply and a large command through TLS

$r = PrdRedis::ask($t, '/verified', command => 'SET,big,' . 'x' x 3000,
                   n => 300);
is($r->{ok}, 300, 'much at once through TLS');
$r = PrdRedis::ask($t, '/verified', command => 'GET,big', n => 2000);
is($r->{ok}, 2000, 'and back');

# ... and when it cannot be written for a while

$secure->freeze;

my @connections = map {
    my $c = $t->connect;

    $c->send($c->format('GET', '/verified?n=340&late=1&timeout=20000&command='
                               . 'SET,big,' . 'x' x 3000));
    $c;
} 1 .. 4;

sleep 0.3 * $PrdTest::SLOW;
$secure->thaw;

my $ok = 0;

for my $c (@connections) {
    $ok += $1 if $c->response('GET', 20)->{body} =~ / ok=(\d+)/;
}

is($ok, 1360, 'much more when the server sleeps');

done_testing();
