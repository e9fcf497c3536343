# charge=: the true cost, known after the response.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

$t->conf(<<'END')->start;
predictive_zone $arg_k zone=one:1m rate=1r/m burst=99 learn=off
                charge=$upstream_http_x_tokens;
predictive_zone $arg_k zone=learn:1m rate=1r/m burst=99 warmup=0s
                charge=$upstream_http_x_tokens;
predictive_zone $arg_k zone=bytes:1m rate=1r/h burst=9999 learn=off
                charge=$body_bytes_sent;
predictive_zone $arg_k zone=plain:1m rate=1r/m burst=99 learn=off;
predictive_zone $arg_k zone=cost:1m rate=1r/m burst=99 learn=off
                cost=$arg_cost charge=$upstream_http_x_tokens;

predictive_zone $http_x_k zone=sub:1m rate=1r/m burst=99 learn=off
                charge=$upstream_http_x_tokens;

server {
    listen 127.0.0.1:%%PORT%%;

    add_header X-Left $predictive_remaining always;

    location = /one { predictive zone=one nodelay;
                      proxy_pass http://%%BACKEND_ADDR%%/; }
    location = /learn { predictive zone=learn nodelay;
                        proxy_pass http://%%BACKEND_ADDR%%/; }
    location = /gif { predictive zone=one nodelay; empty_gif; }
    location = /bytes { predictive zone=bytes nodelay; empty_gif; }
    location = /cost { predictive zone=cost nodelay;
                       proxy_pass http://%%BACKEND_ADDR%%/; }
    location = /dry { predictive zone=one nodelay; predictive_dry_run on;
                      proxy_pass http://%%BACKEND_ADDR%%/; }
    location = /two { predictive zone=plain nodelay;
                      predictive zone=one nodelay;
                      proxy_pass http://%%BACKEND_ADDR%%/; }
    location = /sub { auth_request /sub_one;
                      proxy_pass http://%%BACKEND_ADDR%%/; }
    location = /sub_one { predictive zone=sub nodelay;
                          proxy_pass http://%%BACKEND_ADDR%%/status/204; }
}

%%BACKEND%%
END


# The backend answers with the tokens it was asked for.  What is left is told
# at the verdict, when the request's own charge is not yet known: a request
# holds 1 of 100 until then.

sub left {
    my ($uri, $tokens) = @_;

    my $r = $t->get($uri, defined $tokens ? ('X-Tokens' => $tokens) : ());

    return "$r->{status} $r->{headers}{'x-left'}";
}

for my $uri ('/one', '/learn') {
    is(left("$uri?k=a", 10), '200 99', "$uri: a first request");
    is(left("$uri?k=a", 0), '200 89', "$uri: ten were charged");
    is(left("$uri?k=a", 2.5), '200 89', "$uri: none was");
    is(left("$uri?k=a"), '200 86', "$uri: two and a half");
    is(left("$uri?k=a", 'x'), '200 85', "$uri: no value: the hold stays");
    is(left("$uri?k=a", '-3'), '200 85', "$uri: not a number: none");
    is(left("$uri?k=a", 90), '200 85', "$uri: nor a negative one");
    is(left("$uri?k=a"), '429 0', "$uri: debt");
}

is(left('/one?k=b', 1e9), '200 99', 'a huge charge');

my $r = $t->get('/one?k=b');

is($r->{status}, 429, 'debt');
cmp_ok($r->{headers}{'retry-after'}, '>', 100 * 60,
       'debt: one depth below empty');
cmp_ok($r->{headers}{'retry-after'}, '<', 101 * 60 * 1.1 + 2,
       'debt: and not more');

is(left('/one?k=c', '99999999999999999999999999'), '200 99', 'a larger one');
is($t->get('/one?k=c')->{status}, 429, 'debt');

is(left('/gif?k=d'), '200 99', 'no upstream');
is(left('/gif?k=d'), '200 98', 'the hold stays');

is(left('/bytes?k=e'), '200 9999', 'bytes');
is(left('/bytes?k=e'), '200 9956', 'of an empty gif: 43');

is(left('/cost?k=f&cost=5', 20), '200 99', 'charge and cost: the charge');
is(left('/cost?k=f&cost=5', 20), '200 79', 'is what counts');

is(left('/two?k=g', 10), '200 99', 'two limits, one with a charge');
is(left('/two?k=g', 10), '200 98', 'two limits: the first');
is(left('/one?k=g', 10), '200 79', 'two limits: the other');

is(left('/dry?k=h', 200), '200 99', 'dry run');
is(left('/dry?k=h', 50), '200 0', 'dry run: refused, not charged');
$r = $t->get('/one?k=h');
cmp_ok($r->{headers}{'retry-after'}, '<', 101 * 60 * 1.1 + 2,
       'dry run: charged as if enforced');

is($t->get('/sub', 'X-K' => 'i', 'X-Tokens' => 7)->{status}, 200,
   'in a subrequest');
is($t->get('/sub_one', 'X-K' => 'i')->{headers}{'x-left'}, 92,
   'the response of the main request is charged');

done_testing();
