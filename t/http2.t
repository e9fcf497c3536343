# HTTP/2: a connection whose streams are limited, delayed, refused.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

$t->conf(<<'END')->start;
predictive_zone $arg_k zone=slow:1m rate=1r/m burst=2 learn=off;
predictive_zone $arg_k zone=fast:1m rate=4r/s learn=off;
predictive_zone $arg_k zone=mid:1m rate=1r/s learn=off;
predictive_zone $arg_k zone=long:1m rate=6r/m learn=off;

log_format short "$status $predictive_status $arg_k";
access_log %%DIR%%/access.log short;

server {
    listen 127.0.0.1:%%PORT%% http2;

    location = /free { return 200 "free\n"; }
    location = /nodelay { predictive zone=slow nodelay; predictive_headers both;
                          empty_gif; }
    location = /delay { predictive zone=fast burst=3;
                        add_header X-Status $predictive_status;
                        empty_gif; }
    location = /long { predictive zone=long burst=3; empty_gif; }
    location = /proxy { predictive zone=mid burst=3;
                        add_header X-Status $predictive_status;
                        proxy_pass http://127.0.0.1:%%PORT2%%; }
}
END

$t->server(2, sub { (200, {}, 'got ' . length $_[0]{body}) });


my @r = $t->h2_streams([('/nodelay?k=a') x 6]);

is(join(' ', sort map { $_->{status} } @r), '200 200 200 429 429 429',
   'streams of one connection');

my ($refused) = grep { $_->{status} == 429 } @r;

is($refused->{headers}{'x-ratelimit-remaining'}, 0, 'header');
ok($refused->{headers}{'retry-after'}, 'Retry-After');


# each stream waits for itself

@r = $t->h2_streams([('/delay?k=b') x 6, ('/delay?k=c') x 2, '/free']);

is(join(' ', sort map { $_->{status} } @r[0 .. 5]), '200 200 200 200 429 429',
   'delayed and refused');
is(join(' ', map { $_->{status} } @r[6 .. 8]), '200 200 200', 'others');

my @times = sort { $a <=> $b } map { $_->{time} }
            grep { $_->{status} == 200 } @r[0 .. 5];

is(join(' ', map { $_->{headers}{'x-status'} }
        grep { $_->{status} == 200 } @r[0 .. 5]),
   'PASSED DELAYED DELAYED DELAYED', 'no delay for the first');
cmp_ok($times[1], '>=', 0.15, 'the second');
cmp_ok($times[2], '>=', 0.4, 'the third');
cmp_ok($times[3], '>=', 0.65, 'the fourth');
cmp_ok($times[3], '<', 0.8 + 0.5 * $PrdTest::SLOW, 'and not longer');
cmp_ok($r[8]{time}, '<', $times[3], 'nobody waits for those who wait');


# a body comes meanwhile

my $body = $t->dir . '/body';

PrdTest::spew($body, 'x' x 200000);

$t->h2('/proxy?k=d');

my $r = $t->h2('/proxy?k=d', args => ['--data-binary', "\@$body"]);

is("$r->{status} $r->{body}", '200 got 200000', 'a body sent while waiting');
is($r->{headers}{'x-status'}, 'DELAYED', 'it has waited');


# a connection that is closed while its streams wait

my $client = $t->spawn('nghttp', 'nghttp', '-ns', '--no-dep',
    map { sprintf 'http://127.0.0.1:%d/long?k=gone&n=%d', $t->port, $_ }
        1 .. 3);

ok($t->wait_for_log(qr/delaying request.*k=gone/, count => 2), 'delayed');
$t->stop_process($client, 'KILL');
ok($t->wait_for_log(qr/^499 DELAYED gone/, log => 'access',
                    count => 2), 'gone');
is($t->h2('/free')->{status}, 200, 'all is well');

done_testing();
