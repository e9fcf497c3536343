# Verdicts of `predictive` without history and pool: those of limit_req.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(wait_until);
use Test::More;


my $t = PrdTest->new;

$t->conf(<<'END')->start;
predictive_zone $arg_k zone=slow:32k rate=1r/m learn=off;
predictive_zone $arg_k zone=learn:64k rate=1r/m warmup=0s;
predictive_zone $arg_k zone=burst:64k rate=1r/m burst=2 learn=off;
predictive_zone $arg_k zone=fast:64k rate=4r/s learn=off;
predictive_zone "$arg_a:$arg_k" zone=mixed:64k rate=1r/m learn=off;
predictive_zone $arg_other zone=other:64k rate=1r/m learn=off;
predictive_zone $arg_k zone=cost:64k rate=1r/m burst=9 cost=2.5 learn=off;
predictive_zone $arg_k zone=peek:64k rate=1r/m cost=$arg_cost learn=off;
predictive_zone $arg_k zone=var:64k rate=$arg_rate burst=$arg_burst
                learn=off;
predictive_zone $arg_k zone=capacity:64k capacity=2r/s learn=off;

keepalive_requests 10000;

log_format v "$arg_n $status $predictive_status $predictive_reason "
             "$predictive_zone";
access_log %%DIR%%/access.log v;

server {
    listen 127.0.0.1:%%PORT%%;

    location / { return 200 "free\n"; }

    # "return" would answer before there is a verdict

    location /plain { predictive zone=slow; try_files /none @ok; }
    location /learn { predictive zone=learn; try_files /none @ok; }

    location /nodelay { predictive zone=slow burst=2 nodelay;
                        try_files /none @ok; }
    location /zburst { predictive zone=burst nodelay; try_files /none @ok; }
    location /zburst0 { predictive zone=burst burst=0 nodelay;
                        try_files /none @ok; }
    location /delay { predictive zone=fast burst=3; try_files /none @ok; }
    location /delay2 { predictive zone=fast burst=3 delay=2;
                       try_files /none @ok; }
    location /delay9 { predictive zone=slow burst=1 delay=9;
                       try_files /none @ok; }
    location /mixed { predictive zone=mixed; try_files /none @ok; }

    location /status { predictive zone=slow; predictive_status 598;
                       try_files /none @ok; }
    location /status444 { predictive zone=slow; predictive_status 444;
                          try_files /none @ok; }

    location /if { predictive zone=slow if=$arg_if; try_files /none @ok; }

    location /dry { predictive zone=slow; predictive_dry_run on;
                    try_files /none @ok; }
    location /dry_delay { predictive zone=slow burst=1; predictive_dry_run on;
                          try_files /none @ok; }

    location /two { predictive zone=slow burst=1 nodelay;
                    predictive zone=other burst=3 nodelay;
                    try_files /none @ok; }

    location /inherit {
        predictive zone=slow;
        predictive_status 503;
        try_files /none @ok;

        location /inherit/same { try_files /none @ok; }
        location /inherit/own { predictive zone=other; try_files /none @ok; }
    }

    location /cost { predictive zone=cost nodelay; try_files /none @ok; }
    location /peek { predictive zone=peek burst=1 nodelay;
                     try_files /none @ok; }
    location /var { predictive zone=var nodelay; predictive_log_level warn;
                    try_files /none @ok; }
    location /var5 { predictive zone=var burst=5 nodelay;
                     try_files /none @ok; }
    location /capacity { predictive zone=capacity; try_files /none @ok; }

    location /info { predictive zone=slow; predictive_log_level info;
                     try_files /none @ok; }

    location @ok { return 204; }
}
END


sub statuses { join ' ', map { $t->get($_)->{status} } @_ }

sub lines {
    my ($re, $n) = @_;

    $t->wait_for_log($re, log => 'access', count => $n);

    return map { s/^\S+ //r } $t->log_lines($re, 'access');
}


# burst

is(statuses(('/plain?k=a') x 3), '204 429 429', 'no burst');
is(statuses('/plain?k=b', '/plain?k=c'), '204 204', 'each its own');
is(statuses(('/learn?k=a') x 3), '204 429 429', 'learning, a fresh client');
is(statuses(('/nodelay?k=d') x 5), '204 204 204 429 429', 'burst, nodelay');
is(statuses(('/zburst?k=a') x 5), '204 204 204 429 429', 'the burst of a zone');
is(statuses(('/zburst0?k=b') x 2), '204 429', 'is overridden');
is(statuses(('/delay9?k=e') x 3), '204 204 429', 'delay= is within burst=');
is(statuses(('/') x 3), '200 200 200', 'no limit');
is(statuses(('/mixed?a=1&k=23') x 2, '/mixed?a=12&k=3'), '204 429 204',
   'a key of several variables');


# a refused request is not counted

is(statuses(('/nodelay?k=f') x 20), '204 204 204' . ' 429' x 17, 'a flood');
like($t->get('/nodelay?k=f')->{raw}, qr/429/, 'after it');

my ($line) = reverse $t->log_lines(qr/k=f /);

like($line, qr/excess: (?:2\.9\d\d|3\.000) /,
     'left no more in the bucket than admitted');


# keys

is(statuses(('/plain') x 3, ('/plain?k=') x 3), '204 204 204 204 204 204',
   'no key, no limit');

my $long = 'x' x 7000;

is(statuses(("/plain?k=$long") x 2), '204 429', 'a long key');


# delay

my $started = Time::HiRes::time();
my @r = $t->parallel([('/delay?k=a&n=delay') x 6]);
my $time = Time::HiRes::time() - $started;

is(join(' ', sort map { $_->{status} } @r), '204 204 204 204 429 429',
   'delay: burst');
cmp_ok($time, '>=', 0.65, 'delay: the last one waits for three');

my @times = sort { $a <=> $b } map { $_->{time} }
            grep { $_->{status} == 204 } @r;

cmp_ok($times[1], '>=', 0.15, 'delay: the second');
cmp_ok($times[2], '>=', 0.4, 'delay: the third');
is(join(' ', (map { s/^\S+ (\S+) .*/$1/r } lines(qr/^delay /, 6))[0]), 'PASSED',
   'delay: none for the first');

@r = $t->parallel([('/delay2?k=b&n=delay2') x 5]);
@times = sort { $a <=> $b } map { $_->{time} }
         grep { $_->{status} == 204 } @r;

is(scalar @times, 4, 'delay=2: burst');
cmp_ok($times[3], '>=', 0.15, 'delay=2: the fourth waits');
is(join(' ', sort map { s/^\S+ (\S+) .*/$1/r } lines(qr/^delay2 /, 5)),
   'DELAYED PASSED PASSED PASSED REJECTED', 'delay=2: three at once');


# one that goes away while it waits

is(statuses('/delay?k=c'), '204', 'going away: a first request');

my $c = $t->connect;

$c->send("GET /delay?k=c&n=gone HTTP/1.1\r\nHost: a\r\n\r\n");
$c->close;

ok($t->wait_for_log(qr/^gone 499 DELAYED/, log => 'access'),
   'going away is noticed while waiting');


# status, condition

is(statuses(('/status?k=g') x 2), '204 598', 'predictive_status');
is(statuses(('/status444?k=h') x 2), '204 0', '444 closes the connection');
is(statuses('/if?k=i&if=1', '/if?k=i', '/if?k=i&if=0', '/if?k=i&if=x'),
   '204 204 204 429', 'if=');


# dry run

is(statuses(('/dry?k=j&n=dry') x 3), '204 204 204', 'dry run');
is(join(',', lines(qr/^dry /, 3)),
   '204 PASSED quota slow,' .
   '204 REJECTED_DRY_RUN quota slow,204 REJECTED_DRY_RUN quota slow',
   'dry run: status');
is(statuses('/plain?k=j'), '429', 'dry run: is charged');
is(statuses(('/dry_delay?k=k&n=dd') x 3), '204 204 204', 'dry run, delay');
is(join(',', lines(qr/^dd /, 3)),
   '204 PASSED quota slow,' .
   '204 DELAYED_DRY_RUN quota slow,204 REJECTED_DRY_RUN quota slow',
   'dry run, delay: status');


# several limits: all are charged or none

is(statuses(('/two?k=l&other=l&n=two') x 3), '204 204 429', 'two limits');
is(statuses(('/two?k=m&other=l') x 2), '204 204',
   'two limits: a refused request is charged to none');
is(statuses('/two?k=n&other=l&n=two2'), '429', 'two limits: the other one');
is(statuses('/two?k=n&other=z', '/two?k=n&other=z'), '204 204',
   'two limits: the first was not charged then');
is(statuses(('/two?other=y') x 5), '204 204 204 204 429',
   'two limits, one without a key');
is((lines(qr/^two2 /, 1))[0], '429 REJECTED quota other',
   'two limits: the refusing zone is shown');


# inheritance

is(statuses('/inherit?k=o', '/inherit/same?k=o'), '204 503',
   'inherited: the limit and the status');
is(statuses('/inherit/own?k=o&other=o', '/inherit/own?k=p&other=o',
            '/inherit/own?k=p&other=q'), '204 503 204',
   'a limit of its own replaces what is inherited');


# cost, variables

is(statuses(('/cost?k=a') x 5), '204 204 204 204 429', 'cost=2.5 of 10');

is(statuses('/peek?k=a&cost=0', '/peek?k=a&cost=2', '/peek?k=a&cost=0',
            '/peek?k=a&cost=0.2'), '204 204 204 429',
   'cost=0 peeks');
is(statuses('/peek?k=b&cost=7', '/peek?k=b&cost=0.1'), '204 429',
   'a cost above the depth passes on an empty bucket');
is(statuses('/peek?k=c', '/peek?k=c&cost=x', '/peek?k=c&cost=-1',
            '/peek?k=c&cost=1000000000', '/peek?k=c&cost=1'),
   '204 204 204 204 429', 'no cost, no limit; a huge one is one');

is(statuses(('/var?k=a&rate=1r/m&burst=1') x 3), '204 204 429',
   'rate and burst of variables');
is(statuses(('/var?k=a&rate=1r/m&burst=3') x 3), '204 204 429',
   'another burst');
is(statuses(('/var?k=b&rate=&burst=1') x 3, ('/var?k=b&rate=1x&burst=1') x 3,
            ('/var?k=b&rate=1r/s&burst=-1') x 3), join(' ', (204) x 9),
   'no valid rate or burst, no limit');
is(statuses(('/var5?k=b&rate=1r/m&burst=-1') x 7), '204 ' x 6 . '429',
   "the limit's burst replaces the zone's");
is($t->log_lines(qr/\[warn\].*"rate" of predictive zone "var" has no valid v/),
   6, 'logged, at the level');
is($t->log_lines(qr/\[warn\].*"burst" of predictive zone "var" has no valid/),
   3, 'logged, the burst');


# a small zone, many clients

my $conn = $t->connect;

is(scalar(grep { $conn->get("/plain?k=many$_")->{status} != 204 } 1 .. 3000),
   0, 'more clients than the zone holds: new ones take the place of old ones');


# capacity without a rate

is(statuses(('/capacity?k=a') x 3), '204 204 204',
   'without a rate there is the capacity');


# log lines, as of limit_req, and the reason at the end

my $head = qr/ \d+#\d+: \*\d+ /;
my $client = qr/, client: 127\.0\.0\.1, server: , request: "GET /;

like(($t->log_lines(qr/GET \/plain\?k=a /))[0],
     qr/\[error\]${head}limiting requests, excess: (?:0\.99\d|1\.000) by zone/,
     'log line of a refusal');
like(($t->log_lines(qr/GET \/plain\?k=a /))[0],
     qr/ by zone "slow"$client.*, host: "localhost", reason: quota$/,
     'log line of a refusal, its end');
like(($t->log_lines(qr/GET \/delay\?k=a&n/))[0],
     qr/\[warn\]${head}delaying request, excess: \d\.\d+, by zone "fast"$client/,
     'log line of a delay, a level lower');
like(($t->log_lines(qr/GET \/dry\?k=j/))[0],
     qr/limiting requests, dry run, excess: \d\.\d\d\d by zone "slow", client/,
     'log line of a dry run');
like(($t->log_lines(qr/GET \/dry_delay\?k=k/))[0],
     qr/delaying request, dry run, excess: \d\.\d\d\d, by zone "slow", client/,
     'log line of a delay, dry run');

statuses(('/info?k=info') x 2);
like(($t->log_lines(qr/GET \/info\?k=info/))[0], qr/\[info\].* limiting req/,
     'log level');

# what fail2ban's nginx-limit-req looks for

is(scalar(grep { !/^\S+\ \S+\ \[[a-z]+\]\ \d+\#\d+:\ \*\d+\ limiting\ requests,
                   \ excess:\ [\d\.]+\ by\ zone\ "[^"]+",\ client:\ [\d.]+,
                   \ server:\ \S*,\ request:\ "\S+\ \S+\ HTTP\/\d+\.\d+",
                   \ host:\ "\S+"(?:,\ referrer:\ "\S+")?/x }
          $t->log_lines(qr/limiting requests, excess.*k=.{1,9} HTTP/)), 0,
   'fail2ban finds the lines');

done_testing();
