# The harness itself, on nginx without our module.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(wait_until parse_metrics slurp spew);
use Test::More;
use Time::HiRes qw(time sleep);


my $http = <<'END';
limit_req_zone $arg_key zone=one:1m rate=2r/s;
log_format short "$status $limit_req_status $uri";
access_log %%DIR%%/access.log short;

server {
    listen 127.0.0.1:%%PORT%%;
    listen 127.0.0.1:%%PORT1%% http2;

    location / {
        return 200 "hello\n";
    }

    location /limited {
        limit_req zone=one burst=1;
        limit_req_status 429;
        proxy_pass http://%%BACKEND_ADDR%%;
    }

    location /nodelay {
        limit_req zone=one burst=1 nodelay;
        limit_req_status 429;
        proxy_pass http://%%BACKEND_ADDR%%;
    }

    location /tokens {
        proxy_pass http://%%BACKEND_ADDR%%;
        add_header X-Charged $upstream_http_x_tokens;
    }

    location /perl {
        proxy_pass http://127.0.0.1:%%PORT2%%;
    }

    location /chunked {
        proxy_http_version 1.1;
        proxy_pass http://127.0.0.1:%%PORT2%%;
    }
}

%%BACKEND%%
END

my $t = PrdTest->new(module => 0);

$t->server(2, sub {
    my ($r) = @_;

    sleep 0.2 if $r->{uri} =~ /slow/;

    return (201, { 'X-Method' => $r->{method} }, "<$r->{body}>");
});

$t->conf($http)->start;


# requests

my $r = $t->get('/');

is($r->{status}, 200, 'get');
is($r->{body}, "hello\n", 'body');
like($r->{headers}{server}, qr/^nginx/, 'header');
cmp_ok($r->{time}, '<', 1 * $PrdTest::SLOW, 'elapsed time');

is($t->request(HEAD => '/')->{body}, '', 'head');
is($t->get('/tokens', 'X-Tokens' => 7)->{headers}{'x-charged'}, 7,
   'the backend echoes X-Tokens');

$r = $t->request(POST => '/perl/slow', body => 'abc');

is($r->{status}, 201, 'the backend in Perl');
is($r->{body}, '<abc>', 'gets a body');
is($r->{headers}{'x-method'}, 'POST', 'and the method');
cmp_ok($r->{time}, '>=', 0.2, 'and may sleep');

my $c = $t->connect;
my $port = $c->local_port;

is(join(' ', map { $c->get('/')->{status} } 1 .. 3), '200 200 200',
   'kept alive');
is($c->local_port, $port, 'on one connection');

is(join(' ', map { $_->{status} } $t->pipeline('/', [HEAD => '/'],
        [POST => '/tokens', body => 'x'], '/')), '200 200 200 200',
   'pipeline');

like($t->raw("GET / HTTP/1.0\r\n\r\n"), qr{^HTTP/1.1 200.*hello\n$}s, 'raw');
like($t->raw("nonsense\r\n\r\n"), qr/400/, 'raw, malformed');

my @r = $t->parallel([map { "/limited?key=a$_" } 1 .. 40], jobs => 10);

is(scalar(grep { $_->{status} == 200 } @r), 40, 'parallel, limited number');

@r = $t->parallel([map { '/nodelay?key=x' } 1 .. 10]);

is(join(' ', sort map { $_->{status} } @r), '200 200' . ' 429' x 8,
   'parallel, limited');

my $started = time;

@r = $t->parallel([map { '/limited?key=y' } 1 .. 2]);
cmp_ok(time - $started, '>', 0.4, 'parallel, delayed');

$r = $t->h2('/tokens', headers => { 'X-Tokens' => 3 }, port => $t->port(1));

is($r->{status}, 200, 'h2');
is($r->{version}, 2, 'h2 version');
is($r->{body}, "backend /tokens\n", 'h2 body');
is($r->{headers}{'x-charged'}, 3, 'h2 headers');

@r = $t->h2_streams([map { '/nodelay?key=h2' } 1 .. 20],
                    port => $t->port(1));

is(join(' ', sort map { $_->{status} } @r), '200 200' . ' 429' x 18,
   'h2 streams');

@r = $t->h2_streams(['/tokens', '/nodelay?key=h2', '/'],
                    headers => { 'X-Tokens' => 4 }, port => $t->port(1));

is(join(' ', map { $_->{status} } @r), '200 429 200', 'in their order');
is($r[0]{headers}{'x-charged'}, 4, 'with headers');
cmp_ok($r[0]{time}, '>', 0, 'and times');


# logs

ok($t->wait_for_log(qr/limiting requests, excess: .* by zone "one"/),
   'error log');
ok($t->wait_for_log(qr{^429 REJECTED /nodelay}, log => 'access', count => 8),
   'access log');
is(scalar $t->log_lines(qr/never to be seen/), 0, 'no such line');


# workers and reload

my @old = $t->worker_pids;

is(scalar @old, 1, 'one worker');
ok($t->reload("worker_processes 2;\n$http", wait_old => 1), 'reload');

my @new = $t->worker_pids;

is(scalar @new, 2, 'two workers');
ok(!(grep { $_ == $old[0] } @new), 'new ones');
is($t->get('/')->{status}, 200, 'they answer');

ok(!$t->reload("no_such_directive;\n"), 'a bad configuration is refused');
is(join(' ', $t->worker_pids), "@new", 'the workers stay');
$t->allow_log(qr/unknown directive "no_such_directive"/);


# nginx -t

my ($exit, $out) = $t->conf_test($http);

is($exit, 0, 'configuration test') or diag($out);

($exit, $out) = $t->conf_test("limit_req_zone a zone=one:1m rate=1x;\n");

is($exit, 1, 'bad value');
like($out, qr/invalid rate "rate=1x" in .*:\d+/, 'is named');

($exit, $out) = $t->conf_test(<<'END');
# a whole file
worker_processes 3;
error_log %%DIR%%/other.log warn;

events {
    worker_connections 64;
}

http {
    server { listen 127.0.0.1:%%PORT%%; return 200 "{ http { }"; }
}
END

is($exit, 0, 'a whole file') or diag($out);


# metrics, JSON

spew($t->dir . '/html/metrics', <<'END');
# HELP a_total Count of a.
# TYPE a_total counter
a_total{zone="b",a="x,\"y\"} z"} 3
a_total{zone="c"} 1e3
# HELP g_ratio A gauge.
# TYPE g_ratio gauge
g_ratio 0.5
# HELP i_seconds Another.
# TYPE i_seconds gauge
i_seconds +Inf
END
spew($t->dir . '/html/json', '{"a": [1, 2.5, "x"]}');

ok($t->reload("server { listen 127.0.0.1:%%PORT%%; }"), 'reload');

my $m = $t->metrics('/metrics');

is($m->{'a_total{a="x,\"y\"} z",zone="b"}'}, 3, 'sample with labels');
is($m->{'a_total{zone="c"}'}, 1000, 'exponent');
is($m->{g_ratio}, 0.5, 'sample without');
cmp_ok($m->{i_seconds}, '>', 1e300, 'infinite');

($exit, $out) = $t->promtool(slurp($t->dir . '/html/metrics'));

is($exit, 0, 'promtool') or diag($out);
ok(!eval { parse_metrics("a b c d\n") }, 'not a metric');
is_deeply($t->json('/json'), { a => [1, 2.5, 'x'] }, 'json');


# Redis, other processes

$t->redis(3);
is($t->redis_cli(3, 'ping'), 'PONG', 'redis');

my $sleeper = $t->spawn('sleeper', 'sleep', '100');

is($t->stop_process($sleeper) & 127, 15, 'a process is stopped');


# the end: what makes a test fail without being asked

my $master = $t->master_pid;

$t->stop;
ok(!kill(0, $master), 'stopped');
ok(!(grep { kill 0, $_ } @new), 'and its workers');

sub outcome {
    my ($body) = @_;

    my $file = $t->dir . '/inner.t';

    spew($file, <<"END");
use lib '$FindBin::Bin/lib';
use PrdTest;
use Test::More;
my \$t = PrdTest->new(module => 0);
\$t->conf('server { listen 127.0.0.1:%%PORT%%; }')->start;
$body;
ok(1);
done_testing();
END

    my ($exit, $out) = $t->run($^X, $file);
    my ($left) = $out =~ /^dir (.*)/m;

    ok(!defined $left || !-e $left, 'nothing is left');

    return ($exit, $out);
}

is((outcome(''))[0], 0, 'nothing happened');

my $kill = 'print "dir " . $t->dir . "\n"; kill "KILL", $t->worker_pids;
            $t->wait_for_log(qr/exited on signal 9/);
            PrdTest::wait_until(5, sub { scalar $t->worker_pids })';

($exit, $out) = outcome($kill);
isnt($exit, 0, 'a killed worker fails a test');
like($out, qr/problem: error log: .*exited on signal 9/, 'and is named');

is((outcome("$kill; \$t->allow_log(qr/exited on signal 9/)"))[0], 0,
   'unless allowed');

($exit, $out) = outcome('kill "KILL", $t->master_pid; sleep 1;
                         print "dir " . $t->dir . "\n"');
isnt($exit, 0, 'a killed master fails a test');
like($out, qr/status 0, signal 9/, 'and is named');

($exit, $out) = outcome('$t->conf("nonsense;"); $t->stop; $t->start');
isnt($exit, 0, 'not started');
like($out, qr/unknown directive "nonsense"/, 'and why');

($exit, $out) = outcome('spew($t->dir . "/san/asan.1", "ERROR: a report\n")
                         ; sub spew { open my $f, ">", $_[0]; print $f $_[1] }
                         ');
isnt($exit, 0, 'a sanitizer report fails a test');
like($out, qr/ERROR: a report/, 'and is shown');

($exit, $out) = outcome('print "# ", $t->dir, " ", $t->master_pid, "\n";
                         $SIG{ALRM} = sub { kill "KILL", $$ }; alarm 1;
                         sleep 20');
my ($dir, $pid) = $out =~ /^# (\S+) (\d+)/m;

is($exit, 137, 'a test was killed');
ok(wait_until(5, sub { !kill 0, $pid }), 'its nginx is gone, too');
File::Path::remove_tree($dir);


# A file that failed while the machine stood still is run once more; one that
# fails on a machine that keeps time has failed.

$dir = File::Temp->newdir('prdtest-XXXXXXXX', TMPDIR => 1);

spew("$dir/second.t", "sleep 1; print -e '$dir/mark' ? qq(1..1\nok 1\n) : do {
     open my \$f, '>', '$dir/mark'; qq(1..1\nnot ok 1\n) }");
spew("$dir/never.t", 'sleep 1; print "1..1\nnot ok 1\n"');

sub proved {
    my ($still, @files) = @_;

    local @ENV{qw(PRD_STILL HARNESS_OPTIONS)} = ($still);

    my $said = qx($PrdTest::ROOT/tools/prove -j2 @files 2>&1);

    return ($? >> 8, scalar(() = $said =~ /once more/g));
}

is_deeply([proved(0, "$dir/second.t")], [0, 1], 'once more, and it passes');
is_deeply([proved(0, "$dir/never.t")], [1, 1], 'once more, and it fails');
unlink "$dir/mark";
is_deeply([proved(1000, "$dir/second.t")], [1, 0], 'it has failed');

done_testing();
