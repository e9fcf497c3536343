# `sed s/limit_req/predictive/` on a working configuration of limit_req gives
# one of the module that starts and says the same, with 429 in place of 503
# where no status is set.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(wait_until slurp spew);
use Test::More;


# What people have, with every directive of the module and its variable.

my $CLASSIC = <<'END';
limit_req_zone $binary_remote_addr zone=perip:10m rate=1r/m;
limit_req_zone $server_name zone=perserver:10m rate=6r/m;
limit_req_zone $arg_user zone=peruser:1m rate=30r/m;
limit_req_zone $arg_user zone=fast:1m rate=20r/s;

log_format limits '$request_uri $status $limit_req_status';
access_log %%DIR%%/access.log limits;

limit_req_log_level warn;

server {
    listen 127.0.0.1:%%PORT%%;
    server_name classic;
    root %%DIR%%/html;

    location /search/ {
        limit_req zone=perip burst=5 nodelay;
        try_files $uri @ok;
    }

    location /none/ {
        limit_req zone=peruser;
        try_files $uri @ok;
    }

    location /both/ {
        limit_req zone=peruser burst=3 nodelay;
        limit_req zone=perserver burst=5 nodelay;
        try_files $uri @ok;
    }

    location /delayed/ {
        limit_req zone=fast burst=4;
        try_files $uri @ok;
    }

    location /twostage/ {
        limit_req zone=fast burst=6 delay=3;
        try_files $uri @ok;
    }

    location /status/ {
        limit_req zone=peruser burst=1 nodelay;
        limit_req_status 444;
        try_files $uri @ok;

        location /status/teapot/ {
            limit_req_status 418;
            try_files $uri @ok;
        }
    }

    location /dry/ {
        limit_req zone=peruser;
        limit_req_dry_run on;
        try_files $uri @ok;
    }

    location / {
        try_files $uri @ok;
    }

    location @ok {
        return 204;
    }
}
END


my $classic = PrdTest->new(module => 0);
my $ours = PrdTest->new;

# the real thing, not something like it

my $file = $ours->dir . '/classic';

spew($file, $CLASSIC);

my ($exit, $out) = $ours->run('sed', 's/limit_req/predictive/', $file);

is($exit, 0, 'sed');
unlike($out, qr/limit_req/, 'leaves nothing of it');

$classic->conf($CLASSIC)->start;
$ours->conf($out)->start;


# The same requests to both, at the same time; the statuses of each.

sub both {
    my (@uris) = @_;

    my @got = map { [map { $_->{status} } $_->pipeline(@uris)] }
              $classic, $ours;

    return map { join ' ', @$_ } @got;
}

sub same {
    my ($name, @uris) = @_;

    my ($theirs, $mine) = both(@uris);

    $theirs =~ s/\b503\b/429/g;
    is($mine, $theirs, $name);

    return $mine;
}


is(same('nodelay', ('/search/') x 8), '204 204 204 204 204 204 429 429',
   'six pass, two do not');
is(same('no burst', map { "/none/?user=$_" } qw(a a b a b)),
   '204 429 204 429 429', 'each user his own');
is(same('no key, no limit', ('/none/') x 4), '204 204 204 204', 'free');
same('two limits', map { "/both/?user=$_" } qw(c c c c c d d d d));
same('no limit', ('/') x 5);
same('a dry run', ('/dry/?user=e') x 3);
same('a status of its own', ('/status/teapot/?user=f') x 4);

{
    my @r = map { $_->get('/status/?user=g'); $_->get('/status/?user=g');
                  $_->get('/status/?user=g') } $classic, $ours;

    is($r[1]{status}, $r[0]{status}, 'status 444: nothing is said');
}


# delays

sub delays {
    my ($uri, $n) = @_;

    return map {
        my $t = $_;

        [map { [$_->{status}, $_->{time}] } $t->parallel([($uri) x $n])]
    } $classic, $ours;
}

for (['/delayed/?user=h', 6, 'delayed'], ['/twostage/?user=i', 9, 'two stages'])
{
    my ($uri, $n, $name) = @$_;
    my ($theirs, $mine) = delays($uri, $n);

    for my $list ($theirs, $mine) {
        @$list = sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @$list;
    }

    is(join(' ', map { $_->[0] } @$mine),
       join(' ', map { $_->[0] == 503 ? 429 : $_->[0] } @$theirs), $name);

    # 50 ms each at 20r/s; how fast they were sent is in it

    for my $i (0 .. $n - 1) {
        next if $theirs->[$i][0] != 204;

        my $wait = $mine->[$i][1] - $theirs->[$i][1];

        ok($wait > -0.4 * $PrdTest::SLOW && $wait < 0.5 * $PrdTest::SLOW,
           sprintf '%s: request %d waits as long, %.3f s', $name, $i + 1,
           $theirs->[$i][1]) or diag "longer by $wait s";
    }
}


# logs: the variable and the words

for my $t ($classic, $ours) {
    ok($t->wait_for_log(qr{^/twostage/}, log => 'access', count => 9), 'log');
}

my @theirs = sort map { s/ 503 / 429 /r } $classic->log_lines(qr/./, 'access');
my @mine = sort $ours->log_lines(qr/./, 'access');

is_deeply(\@mine, \@theirs, '$predictive_status is $limit_req_status');

for my $words (qr/\[warn\].* limiting requests, excess: [\d.]+ by zone "perip"/,
               qr/\[notice\].* delaying request, excess: [\d.]+, by zone "f/,
               qr/\[warn\].* limiting requests, dry run, excess/)
{
    for my $t ($classic, $ours) {
        ok($t->wait_for_log($words), 'the words of the log');
    }
}


# what sed does not see: the module wants to be loaded

{
    my $t = PrdTest->new(module => 0);
    my ($code, $said) = $t->conf_test($out);

    isnt($code, 0, 'without load_module');
    like($said, qr/unknown directive "predictive_zone"/, 'nginx says so');
}

done_testing();
