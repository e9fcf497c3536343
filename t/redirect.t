# A request is charged once, whatever way it takes through nginx.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(spew wait_until);
use Test::More;


my $t = PrdTest->new;
my $html = $t->dir . '/html';

# nginx does not free its regular expressions, which sanitizers would tell

my $rewrite = $ENV{PRD_SANITIZE} ? 'try_files /none /file.txt;'
                                 : 'rewrite ^ /file.txt last;';

plan(skip_all => 'nginx without addition')
    if ($t->run(($t->command)[0], '-V'))[1] !~ /http_addition/;

mkdir "$html/dir";
spew("$html/dir/index.html", "index\n");
spew("$html/file.txt", "file\n");
spew("$html/ssi.html", 'a<!--#include virtual="/inner/file.txt"-->'
                       . '<!--#include virtual="/inner/file.txt?2" -->b');

$t->conf(<<'END' =~ s/REWRITE/$rewrite/r)->start;
predictive_zone $arg_k zone=one:1m rate=1r/m learn=off;
predictive_zone $http_x_k zone=sub:1m rate=1r/m learn=off;
limit_req_zone $http_x_k zone=lr:1m rate=1r/m;

log_format short "$arg_n $status $predictive_status $request_uri";
access_log %%DIR%%/access.log short;
log_subrequest on;

server {
    listen 127.0.0.1:%%PORT%%;

    predictive zone=one burst=99 nodelay;
    add_header X-Left $predictive_remaining always;
    add_header X-Status $predictive_status always;

    location / { }

    location /try/ { try_files /none /none/ /file.txt; }
    location /named/ { try_files /none @named; }
    location @named { predictive zone=one burst=99 nodelay;
                      add_header X-Left $predictive_remaining always;
                      proxy_pass http://%%BACKEND_ADDR%%; }
    location /rewrite/ { REWRITE }
    location /error/ { error_page 404 = /file.txt; }
    location /error_named/ { error_page 404 = @named; }
    location /accel/ { proxy_pass http://127.0.0.1:%%PORT2%%; }
    location /intercept/ {
        proxy_pass http://%%BACKEND_ADDR%%/status/503;
        proxy_intercept_errors on;
        error_page 503 /file.txt;
    }

    location /inner/ { alias %%DIR%%/html/; }

    location /auth/ { auth_request /auth_ok; alias %%DIR%%/html/; }
    location = /auth_ok { internal;
                          proxy_pass http://%%BACKEND_ADDR%%/status/204; }
    location = /ssi.html { ssi on; }
    location /add/ { add_before_body /inner/file.txt;
                     add_after_body /inner/file.txt; alias %%DIR%%/html/; }
    location /mirror/ { mirror /inner/file.txt; alias %%DIR%%/html/; }
    location = /own_page { predictive zone=one; error_page 429 /limited.html;
                           empty_gif; }
    location = /limited.html { return 200 "limited\n"; }
    location = /limited_twice { predictive zone=one;
                                error_page 429 = /limited_too; empty_gif; }
    location = /limited_too { predictive zone=one; internal; empty_gif; }
}

# limits in subrequests only; the same with limit_req

server {
    listen 127.0.0.1:%%PORT1%%;

    addition_types *;

    location /auth/ { auth_request /sub/auth; alias %%DIR%%/html/; }
    location /auth_lr/ { auth_request /sub_lr/auth; alias %%DIR%%/html/; }
    location = /sub/auth { predictive zone=sub burst=1 nodelay;
                           predictive_problem on; predictive_headers draft;
                           proxy_pass http://%%BACKEND_ADDR%%/status/204; }
    location = /sub_lr/auth { limit_req zone=lr burst=1 nodelay;
                              limit_req_status 429;
                              proxy_pass http://%%BACKEND_ADDR%%/status/204; }
    location /mirror/ { mirror /sub/mirror; alias %%DIR%%/html/; }
    location = /sub/mirror { predictive zone=sub burst=1 nodelay;
                             proxy_pass http://%%BACKEND_ADDR%%/status/204; }
    location /add/ { add_before_body /sub/file; alias %%DIR%%/html/; }
    location = /sub/file { predictive zone=sub burst=1 nodelay;
                           predictive_problem on; empty_gif; }
    location /delay/ { add_before_body /sub/delay; alias %%DIR%%/html/; }
    location = /sub/delay { predictive zone=sub burst=1;
                            alias %%DIR%%/html/file.txt; }
}

%%BACKEND%%
END

$t->server(2, sub {
    return (200, { 'X-Accel-Redirect' => '/inner/file.txt' }, '');
});


my $k = 0;

# a new client's first and second request: what is left of a burst of 99

sub once {
    my ($uri, $status, $body, $name) = @_;

    $k++;

    for my $left (99, 98) {
        my $r = $t->get("$uri?k=$k");

        is("$r->{status} $r->{headers}{'x-left'} $r->{headers}{'x-status'}",
           "$status $left PASSED", "$name, $left left");
        like($r->{body}, $body, "$name: the right one") if defined $body;
    }
}

once('/file.txt', 200, qr/^file$/, 'a file');
once('/dir/', 200, qr/^index$/, 'directory index');
once('/try/x', 200, qr/^file$/, 'try_files');
once('/rewrite/x', 200, qr/^file$/, 'rewrite');
once('/error/x', 200, qr/^file$/, 'error_page');
once('/intercept/', 503, qr/^file$/, 'intercepted error');
once('/accel/x', 200, qr/^file$/, 'X-Accel-Redirect');
once('/auth/file.txt', 200, qr/^file$/, 'auth_request');
once('/ssi.html', 200, qr/^afile\nfile\nb$/, 'SSI');
once('/mirror/file.txt', 200, qr/^file$/, 'mirror');
once('/none', 404, undef, 'not found');
once('/add/ssi.html', 200, qr/^file\na.*bfile$/s, 'addition');

for my $uri ('/named/x', '/error_named/x') {
    $k++;

    is(join(' ', map { $t->get("$uri?k=$k")->{headers}{'x-left'} } 1 .. 2),
       '99 98', "$uri, to a named location with a limit of its own");
}


# error pages of a refusal: not refused, nor charged

$k++;
is($t->get("/own_page?k=$k")->{status}, 200, 'a page for the refused');

my $r = $t->get("/own_page?k=$k");

is("$r->{status} $r->{body}", "429 limited\n", 'is sent');
is($t->get("/limited_twice?k=$k")->{status}, 200,
   'even from where there is a limit, too');


# limits in subrequests alone

sub in_subrequest {
    my ($uri, $headers) = @_;

    return join ' ', map {
        my $r = $t->request(GET => $uri, port => $t->port(1),
                            headers => $headers);
        "$r->{status}";
    } 1 .. 3;
}

is(in_subrequest('/auth/file.txt', { 'X-K' => 'a' }),
   in_subrequest('/auth_lr/file.txt', { 'X-K' => 'a' }),
   'in auth_request, as limit_req');
is(in_subrequest('/mirror/file.txt', { 'X-K' => 'b' }), '200 200 200',
   'in mirror');
$t->wait_for_log(qr/^- 429 REJECTED \/mirror/, log => 'access');
is(scalar $t->log_lines(qr{^- 429 REJECTED /mirror}, 'access'), 1,
   'the third is refused');
is(scalar $t->log_lines(qr{^- \d+ - /mirror.*b$}, 'access'), 0,
   'none has gone uncounted');

$r = $t->request(GET => '/add/file.txt', port => $t->port(1),
                 headers => { 'X-K' => 'c' });
like($r->{body}, qr/GIF89a.*file$/s, 'in addition');
$t->request(GET => '/add/file.txt', port => $t->port(1),
            headers => { 'X-K' => 'c' });
$r = $t->request(GET => '/add/file.txt', port => $t->port(1),
                 headers => { 'X-K' => 'c' });
unlike($r->{raw}, qr/GIF89a/, 'in addition, refused');
unlike($r->{raw}, qr/violated|retry-after/i,
       'in addition, refused, without our body and header');
$t->allow_log(qr/auth request unexpected status/);

# one that waits: the response is sent when the delay is over, or, as the
# client has gone meanwhile, not at all

my $c = $t->connect($t->port(1));

is($c->request(GET => '/delay/file.txt',
               headers => { 'X-K' => 'd' })->{status}, 200,
   'a delay in a subrequest: none for the first');
$c->send($c->format(GET => '/delay/file.txt', headers => { 'X-K' => 'd' }));
ok($t->wait_for_log(qr/delaying request.*subrequest: "\/sub\/delay"/),
   'a delay in a subrequest');
$c->close;
ok(wait_until(5, sub { $t->log_lines(qr{^- 499 DELAYED /delay}, 'access') }),
   'noticed that the client has gone');

done_testing();
