# RateLimit fields, Retry-After, problem bodies.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

$t->conf(<<'END')->start;
predictive_zone $arg_k zone=one:1m rate=1r/m burst=2 learn=off;
predictive_zone $arg_k zone=ten:1m rate=10r/m burst=9 learn=off;
predictive_zone $arg_k zone=day:1m rate=10r/d learn=off;
predictive_zone $arg_k "zone=a\"b\\c d:1m" rate=1r/m learn=off;
predictive_zone $arg_k zone=ä:1m rate=1r/m learn=off;
predictive_zone $arg_k zone=none:1m rate=1r/m learn=off;
predictive_zone $arg_k zone=pool:1m capacity=2r/s;
predictive_zone $arg_k zone=slowly:1m capacity=12r/m;

server {
    listen 127.0.0.1:%%PORT%%;
    listen 127.0.0.1:%%PORT1%% http2;

    location = /slowly { predictive zone=slowly nodelay;
                         predictive_headers draft; empty_gif; }
    location = /pool { predictive zone=pool nodelay;
                       predictive_headers draft; empty_gif; }
    location = /off { predictive zone=one nodelay; empty_gif; }

    location /draft {
        predictive zone=one nodelay;
        predictive_headers draft;
        empty_gif;

        location = /draft/two {
            predictive zone=one nodelay;
            predictive zone=ten nodelay;
            empty_gif;
        }

        location = /draft/none { predictive_headers off; empty_gif; }
        location = /draft/dry { predictive_dry_run on; empty_gif; }
        location = /draft/proxy {
            proxy_pass http://%%BACKEND_ADDR%%;
        }
        location = /draft/redirect { try_files /none /inner; }
    }

    location = /file.txt { predictive zone=one nodelay;
                           predictive_headers draft; }
    location = /inner { empty_gif; }

    location = /legacy { predictive zone=ten nodelay;
                         predictive_headers legacy; empty_gif; }
    location = /both { predictive zone=ten nodelay;
                       predictive_headers both; empty_gif; }
    location = /day { predictive zone=day; predictive_status 503; empty_gif; }
    location = /name1 { predictive "zone=a\"b\\c d"; predictive_headers draft;
                        predictive_problem on; empty_gif; }
    location = /name2 { predictive zone=ä; predictive_headers draft;
                        predictive_problem on; empty_gif; }

    location /problem {
        predictive zone=none;
        predictive_problem on;
        try_files /none @ok;

        location = /problem/503 { predictive_status 503; try_files /none @ok; }
        location = /problem/444 { predictive_status 444; try_files /none @ok; }
        location = /problem/two {
            predictive zone=none;
            predictive zone=ten burst=0;
            try_files /none @ok;
        }

        location = /problem/page {
            error_page 429 /page.html;
            try_files /none @ok;
        }

        location = /problem/other_page {
            error_page 503 /page.html;
            try_files /none @ok;
        }

        location = /problem/named {
            error_page 429 = @fallback;
            try_files /none @ok;
        }
    }

    location = /page.html { internal; }
    location @fallback { return 200 "fallback\n"; }
    location @ok { return 204; }
}

%%BACKEND%%
END

PrdTest::spew($t->dir . '/html/page.html', "a page\n");

PrdTest::spew($t->dir . '/html/file.txt', "a file\n");

my ($r, @r);
my $c = 0;

# a client of its own, its third request and so on

sub fresh { 'k=' . ++$c }

sub last_of {
    my ($n, $uri, @headers) = @_;

    $t->get($uri) for 2 .. $n;

    return $t->get($uri, @headers);
}


# off: Retry-After alone, on refusals

my $k = fresh();

$r = $t->get("/off?$k");
is(join(' ', grep { /rate|retry/ } keys %{ $r->{headers} }), '',
   'off: none when passed');

$r = last_of(3, "/off?$k");
is($r->{status}, 429, 'off: refused');
is(join(' ', grep { /rate|retry/ } keys %{ $r->{headers} }), 'retry-after',
   'off: Retry-After when refused');
cmp_ok($r->{headers}{'retry-after'}, '>=', 60, 'Retry-After: not too soon');
cmp_ok($r->{headers}{'retry-after'}, '<=', 67, 'Retry-After: nor too late');

my %waits = map { $t->get("/off?$k")->{headers}{'retry-after'}, 1 } 1 .. 60;

cmp_ok(scalar keys %waits, '>', 3, 'Retry-After: not the same for all');
is(scalar(grep { $_ < 60 } keys %waits), 0, 'Retry-After: never sooner');

$r = last_of(2, '/day?' . fresh());
is($r->{status}, 503, 'a slow rate');
cmp_ok($r->{headers}{'retry-after'}, '>=', 8639, 'Retry-After: long');


# draft

$k = fresh();
$r = $t->get("/draft?$k");
is($r->{headers}{'ratelimit-policy'}, '"one";q=3;w=180', 'draft: policy');
is($r->{headers}{ratelimit}, '"one";r=2;t=60', 'draft: limit');
ok(!exists $r->{headers}{'retry-after'}, 'draft: no Retry-After');
is(scalar(grep { $_->[0] =~ /^X-RateLimit/i } @{ $r->{list} }), 0,
   'draft: no legacy');
is((grep { /^RateLimit/ } map { $_->[0] } @{ $r->{list} })[0],
   'RateLimit-Policy', 'draft: spelling');

$r = last_of(3, "/draft?$k");
is($r->{headers}{ratelimit}, '"one";r=0;t=60', 'draft: refused');
cmp_ok($r->{headers}{'retry-after'}, '>=', 60,
       'draft: Retry-After is not within the window');

$r = $t->get('/draft/two?' . fresh());
is($r->{headers}{'ratelimit-policy'}, '"one";q=3;w=180, "ten";q=10;w=60',
   'draft: two policies');
is($r->{headers}{ratelimit}, '"one";r=2;t=60, "ten";r=9;t=6',
   'draft: two limits');

$r = $t->get('/draft/none?' . fresh());
ok(!exists $r->{headers}{ratelimit}, 'draft: switched off inside');
$r = $t->get('/draft/dry?' . fresh());
ok(!exists $r->{headers}{ratelimit}, 'draft: none in a dry run');
$r = $t->get('/draft/proxy?' . fresh());
is($r->{headers}{ratelimit}, '"one";r=2;t=60', 'draft: proxied');
$r = $t->get('/draft/redirect?' . fresh());
is(join(',', map { $_->[1] } grep { $_->[0] eq 'RateLimit' } @{ $r->{list} }),
   '"one";r=2;t=60', 'draft: once, after an internal redirect');
$r = $t->get('/inner');
ok(!exists $r->{headers}{ratelimit}, 'draft: not where there is no limit');
$r = $t->get('/draft');
ok(!exists $r->{headers}{ratelimit}, 'draft: not without a key');


# a response that becomes an error while its header is being filtered

for my $h (['If-Match' => '"x"', 412], [Range => 'bytes=9999-', 416]) {
    my ($name, $value, $status) = @$h;

    $r = $t->get('/file.txt?' . fresh(), $name => $value);
    is($r->{status}, $status, "draft: $status");
    is(join(',', map { $_->[1] }
            grep { $_->[0] eq 'RateLimit' } @{ $r->{list} }),
       '"one";r=2;t=60', "draft: $status, once");
}


# legacy

$k = fresh();
$r = $t->get("/legacy?$k");
is(join(' ', map { $_ // '' } @{ $r->{headers} }{
             qw(x-ratelimit-limit x-ratelimit-remaining x-ratelimit-reset) }),
   '10 9 6', 'legacy');
ok(!exists $r->{headers}{ratelimit}, 'legacy: no draft');
$r = last_of(10, "/legacy?$k");
is($r->{headers}{'x-ratelimit-remaining'}, 0, 'legacy: refused');
is($r->{headers}{'x-ratelimit-reset'}, 6, 'legacy: reset');

$r = $t->get('/both?' . fresh());
is($r->{headers}{ratelimit}, '"ten";r=9;t=6', 'both: draft');
is($r->{headers}{'x-ratelimit-limit'}, 10, 'both: legacy');


# problem bodies

sub problem {
    my ($r) = @_;

    return eval { PrdTest::decode_json($r->{body}) } || {};
}

$k = fresh();
is($t->get("/problem?$k")->{status}, 204, 'problem: passed');

$r = $t->get("/problem?$k");
is($r->{status}, 429, 'problem: refused');
is($r->{headers}{'content-type'}, 'application/problem+json',
   'problem: type');
is($r->{headers}{'content-length'}, length $r->{body}, 'problem: length');

my $p = problem($r);

is($p->{type}, 'https://iana.org/assignments/http-problem-types'
               . '#quota-exceeded', 'problem: type of the problem');
is($p->{title}, 'Quota Exceeded', 'problem: title');
is($p->{status}, 429, 'problem: status');
like($p->{detail}, qr/Retry after $r->{headers}{'retry-after'} s\.$/,
     'problem: detail');
like($p->{instance}, qr/^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
     'problem: instance');
is_deeply($p->{'violated-policies'}, ['none'], 'problem: policies');
unlike($r->{body}, qr/k=/, 'problem: tells nothing of the request');

$r = last_of(2, "/problem/503?$k");
is("$r->{status} " . problem($r)->{status}, '503 503', 'problem: any status');
is(last_of(2, "/problem/444?$k")->{status}, 0, 'problem: but not of 444');

$k = fresh();
last_of(2, "/problem/two?$k");
$r = $t->get("/problem/two?$k");
is_deeply(problem($r)->{'violated-policies'}, ['none', 'ten'],
          'problem: two policies');

$k = fresh();
$t->get("/problem?$k");

$r = $t->request(HEAD => "/problem?$k");
is("$r->{status} $r->{headers}{'content-type'} $r->{body}",
   '429 application/problem+json ', 'problem: HEAD');

my $conn = $t->connect;

for my $method (qw(POST HEAD GET)) {
    $r = $conn->request($method => "/problem?$k",
                        $method eq 'POST' ? (body => 'x' x 100000) : ());
    is($r->{status}, 429, "problem: $method, kept alive");
}

$conn = $t->connect;
$conn->send("POST /problem?$k HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
            . "Expect: 100-continue\r\n\r\n");
is($conn->response->{status}, 429, 'problem: nothing to continue');

$r = $t->h2("/problem?$k", port => $t->port(1));
is($r->{status}, 429, 'problem: HTTP/2');
is(problem($r)->{status}, 429, 'problem: HTTP/2, body');

$r = $t->get("/problem/page?$k");
is("$r->{status} $r->{body}", "429 a page\n", 'problem: an error_page wins');
ok($r->{headers}{'retry-after'}, 'problem: with Retry-After');
$r = $t->get("/problem/other_page?$k");
is(problem($r)->{status}, 429, 'problem: one of another status does not');
$r = $t->get("/problem/named?$k");
is("$r->{status} $r->{body}", "200 fallback\n", 'problem: nor a named one');


# names of zones

for (['/name1', '"a\\"b\\\\c d"', 'a"b\\c d'], ['/name2', '"%C3%A4"', '%C3%A4'])
{
    my ($uri, $sf, $name) = @$_;

    $k = fresh();
    $r = $t->get("$uri?$k");
    is($r->{headers}{'ratelimit-policy'}, "$sf;q=1;w=60", "$uri: escaped");
    $r = $t->get("$uri?$k");
    is_deeply(problem($r)->{'violated-policies'}, [$name], "$uri: in JSON");
}

# where only the capacity limits, the pool's ten seconds are all that there is

$r = $t->get('/pool?k=a');

is($r->{status}, 200, 'a pool');
like($r->{headers}{'ratelimit-policy'}, qr/^"pool";q=20;w=\d+$/,
     'nobody is promised more than the pool holds');
like($r->{headers}{ratelimit}, qr/^"pool";r=18;t=1$/, 'or has by now');

# what remains is what is given, and then there is none

my $left = 0;

for (1 .. 40) {
    $r = $t->get('/pool?k=a');
    last if $r->{status} != 200;
    ($left) = $r->{headers}{ratelimit} =~ /r=(\d+)/;
}

is($r->{status}, 429, 'an empty pool');
cmp_ok($left, '<=', 1, 'the last one was told so');
like($r->{headers}{ratelimit}, qr/^"pool";r=0;t=\d+$/, 'nothing remains');

$r = $t->get('/slowly?k=a');
is($r->{status}, 200, 'the first of two');
like($r->{headers}{ratelimit}, qr/^"slowly";r=0;t=/, 'the other is not full');

done_testing();
