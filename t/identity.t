# predictive_identity: what makes a client.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

$t->conf(<<'END')->start;
predictive_identity $client {
    token    $http_x_api_key;
    token    $http_authorization "^Bearer\s+(\S+)";
    token    $cookie_sid;
    address  $http_x_address 24 64;
    agent    $http_user_agent;
    separate address agent;
}

predictive_identity $pair { token "$arg_a/$arg_b"; }

predictive_identity $bomb { token $arg_k "^(?:a+)+b(c)"; }

predictive_zone $client zone=one:1m rate=1r/m learn=off;
predictive_zone $pair zone=pair:1m rate=1r/m learn=off;
predictive_zone $bomb zone=bomb:1m rate=1r/m learn=off;
predictive_zone $arg_k zone=plain:1m rate=1r/m learn=off;
predictive_zone $arg_k zone=newcomer:1m rate=1r/m burst=9 learn=off
                newcomer=$arg_n;
predictive_zone $arg_k zone=network:1m rate=4r/s burst=3 learn=off
                newcomer=$arg_n;

predictive_log_level info;

server {
    listen 127.0.0.1:%%PORT%%;

    location = /show { add_header X-Client $client; empty_gif; }
    location = /one { predictive zone=one; empty_gif; }
    location = /pair { predictive zone=pair; empty_gif; }
    location = /bomb { predictive zone=bomb; empty_gif; }
    location = /plain { predictive zone=plain; empty_gif; }
    location = /newcomer {
        predictive zone=newcomer nodelay;
        predictive_headers draft;
        add_header X-Reason $predictive_reason always;
        empty_gif;
    }
    location = /newcomer/delay {
        predictive zone=network;
        predictive_headers draft;
        add_header X-Reason $predictive_reason always;
        empty_gif;
    }
}
END


sub client { $t->get('/show', @_)->{headers}{'x-client'} }


# sources, in their order

my @all = ('X-Api-Key' => 'k1', Authorization => 'Bearer tok',
           Cookie => 'sid=s1', 'X-Address' => '192.0.2.77',
           'User-Agent' => 'curl/8.1');

is(client(@all), 'tk1', 'the first source wins');
is(client(@all[2 .. 9]), 'ttok', 'an expression keeps its group');
is(client(@all[4 .. 9]), 'ts1', 'a cookie');
is(client(@all[6 .. 9]), 's13:4192.0.2.0/245:acurl',
   'joined kinds');
is(client('X-Api-Key' => '', @all[4 .. 9]), 'ts1', 'an empty value is none');
is(client(Authorization => 'Basic abc', @all[4 .. 9]), 'ts1',
   'neither is what does not match');
is(client('X-Address' => '2001:db8:1:2:3::4'), '62001:db8:1:2::/64',
   'an address alone');
is(client('User-Agent' =>
          'Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 '
          . 'Firefox/115.0'), 'afirefox', 'an agent alone');
is(client(), undef, 'nothing');


# as a key

sub statuses {
    return join ' ', map { $t->get('/one', @$_)->{status} } @_;
}

is(statuses(([@all]) x 2), '200 429', 'a client');
is(statuses(['X-Api-Key' => 'k1', 'User-Agent' => 'other']), '429',
   'the same token');
is(statuses(([]) x 3), '200 200 200', 'without an identity: not limited');
is(statuses(['X-Address' => '192.0.2.1'], ['X-Address' => '192.0.2.99'],
            ['X-Address' => '192.0.3.1']), '200 429 200', 'a prefix');
is(statuses(['X-Api-Key' => '192.0.2.0/24'],
            ['X-Api-Key' => '4192.0.2.0/24']), '200 200',
   'a token is never an address');
is(statuses(['X-Address' => '::ffff:192.0.2.1']), '429',
   'a mapped IPv4 address is one');

my $long = 'x' x 3000;

is(statuses((['X-Api-Key' => "${long}1"]) x 2,
            ['X-Api-Key' => "${long}2"]), '200 429 200', 'long tokens differ');

is(join(' ', map { $t->get("/pair?$_")->{status} }
        'a=1&b=2', 'a=1&b=2', 'a=1&b=3', 'a=12&b='), '200 429 200 200',
   'a source of several variables');


# an expression that would take for ever is no way out

my $bomb = 'a' x 2000 . 'xbc';
my $r = $t->get("/bomb?k=$bomb");

is($r->{status}, 200, 'a bomb');
cmp_ok($r->{time}, '<', 0.5 * $PrdTest::SLOW, 'takes no time');
is($t->get("/bomb?k=$bomb")->{status}, 429, 'and is limited');
ok($t->wait_for_log(qr/too much for its regular expression/), 'and told');


# a newcomer's coarser key: never a client's, though the text be the same

is(join(' ', map { $t->get("/newcomer?k=$_&n=same")->{status} } 1 .. 11),
   join(' ', (200) x 10, 429), 'newcomers share a bucket, too');

$r = $t->get('/newcomer?k=12&n=same');
is($r->{headers}{'x-reason'}, 'newcomer', 'which is the reason');
like($r->{headers}{'retry-after'}, qr/^6\d$/,
     'to come back when that bucket admits');
like($r->{headers}{ratelimit}, qr/^"newcomer";r=0;t=(?:60|59)$/,
     'of which nothing is left');
like(($t->log_lines(qr/k=12&n=same/))[0],
     qr/excess: (?:9\.99\d|10\.000) by zone "newcomer".*reason: newcomer$/,
     'logged with its excess');

$t->get('/newcomer/delay?k=1&n=same');
$r = $t->get('/newcomer/delay?k=2&n=same');
is("$r->{status} $r->{headers}{'x-reason'}", '200 newcomer', 'it delays, too');
like($r->{headers}{ratelimit}, qr/^"network";r=2;t=1$/, 'and two are left');
like(($t->log_lines(qr/k=2&n=same/))[0],
     qr/delaying.*excess: (?:0\.9\d\d|1\.000), by zone .*reason: newcomer$/,
     'logged with its excess');

$r = $t->get('/newcomer?k=same&n=other');
is($r->{status}, 200, 'it is not the bucket of a client of that name');
is($t->get('/newcomer?k=13&n=')->{status}, 200, 'none, no bucket');


# keys are never logged

is($t->get('/plain?k=zzkey')->{status}, 200, 'a key');
is($t->get('/one', 'X-Api-Key' => 'zzsecret')->{status}, 200, 'a token');
is($t->get('/one', 'X-Api-Key' => 'zzsecret')->{status}, 429, 'again');
ok($t->wait_for_log(qr/limiting requests.*GET \/one/), 'logged');
is(scalar $t->log_lines(qr/zzsecret/), 0, 'without the token');

done_testing();
