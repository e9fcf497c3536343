# sync=lease: tokens are leased ahead; most requests ask nobody.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(wait_until spew);
use Test::More;
use Time::HiRes qw(time sleep);


# Two hosts with two workers each.

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
    nodes 2;
    wait 500ms;
    timeout 2s;
}

predictive_zone \$arg_k zone=one:1m rate=100r/s burst=99 learn=off store=main;
predictive_zone \$arg_k zone=slow:1m rate=1r/m burst=4 learn=off store=main
                newcomer=\$arg_p;
predictive_zone \$arg_k zone=wait:1m rate=50r/s burst=49 learn=off store=main;
predictive_zone \$arg_k zone=charge:1m rate=10r/s burst=99 learn=off
                store=main charge=\$upstream_http_x_tokens;
predictive_zone \$arg_k zone=here:1m rate=1r/m burst=2 learn=off;

server {
    listen 127.0.0.1:%%PORT%%;
    keepalive_requests 100000000;

    add_header X-Status \$predictive_status always;
    add_header X-Left \$predictive_remaining always;

    location = /one { predictive zone=one nodelay; empty_gif; }
    location = /slow { predictive zone=slow nodelay; empty_gif; }
    location = /wait { predictive zone=wait; empty_gif; }
    location = /both { predictive zone=one nodelay;
                       predictive zone=here nodelay; empty_gif; }
    location = /charge { predictive zone=charge nodelay;
                         proxy_pass http://%%BACKEND_ADDR%%/; }
    location / { predictive_api; }
}

%%BACKEND%%
END

$_->conf($conf)->start for $na, $nb;

sub zone {
    my ($t, $name) = @_;

    return $t->json("/zones/$name?check=1");
}

sub books { return zone(@_)->{consistency}{books}; }

sub codes {
    return join ' ', map { $_->{status} } @_;
}

sub asked {
    return $na->redis_cli(5, 'info', 'commandstats')
           =~ /cmdstat_evalsha:calls=(\d+)/ ? $1 : 0;
}

sub in_touch {
    my ($t) = @_;

    return wait_until(10, sub {
        $t->get('/slow?k=touch' . rand);

        return zone($t, 'slow')->{lease_asks} > 0;
    });
}

# Nothing is under way, nothing leased, and what came went.

sub balanced {
    my ($t, $name) = @_;

    my $ok = wait_until(15, sub {
        my $books = books($t, $name);

        return $books->{balanced} && $books->{held} == 0
               && $books->{owed} == 0;
    });

    diag(explain(books($t, $name))) unless $ok;

    return $ok;
}

ok(in_touch($_), 'in touch') for $na, $nb;


# a new client, and a slow one

my @r = map { ($_ % 2 ? $nb : $na)->get('/slow?k=x') } 1 .. 8;

is(codes(@r), '200 200 200 200 200 429 429 429', 'five of two hosts');


# an ordinary client: 40 requests per second on each host, of 100 in all

my $requests = 0;
my $refused = 0;
my %c = map { $_ => $_->connect } $na, $nb;
my $before = asked();
my $start = time;
my $rounds = 0;

while (time < $start + 4) {
    for my $t ($na, $nb) {
        my $c = $c{$t};

        $c->send($c->format(GET => '/one?k=ordinary'));
        $refused++ if $c->response('GET')->{status} != 200;
        $requests++;
    }

    $rounds++;

    my $next = $start + $rounds / 40;

    sleep($next - time) if $next > time;
}

my $asks = asked() - $before;
my $hits = zone($na, 'one')->{lease_hits} + zone($nb, 'one')->{lease_hits};

is($refused, 0, 'an ordinary client is not refused');
cmp_ok($hits, '>', 0.7 * $requests, "$hits of $requests without asking");
cmp_ok($asks, '<', 0.6 * $requests, "$asks commands");


# nothing is lost: what is not used goes back

ok(balanced($na, 'one'), 'the books of one host');
ok(balanced($nb, 'one'), 'the books of the other');
is(books($na, 'one')->{forfeited}, 0, 'nothing became void');
cmp_ok(books($na, 'one')->{returned}, '>', 0, 'the rest was returned');


# a flood on both hosts

my $seconds = 4;
my @files;

for my $t ($na, $nb) {
    my $file = $t->dir . '/flood';

    push @files, $file;

    $t->fork_process('flood', sub {
        my @n = (0) x 3;
        my $c = $t->connect;
        my $end = time + $seconds;

        while (time < $end) {
            my @todo = ('/one?k=flood') x 10;

            $c->send(join '', map { $c->format(GET => $_) } @todo);

            for (@todo) {
                my $r = $c->response('GET');
                my $what = $r->{status} == 200 ? 0
                           : $r->{status} == 429 ? 1 : 2;

                if ($what == 2 && $n[2] == 0) {
                    diag("after @n: $r->{status} ", $r->{error} // '');
                }

                $n[$what]++;
            }
        }

        spew("$file.new", "@n");
        rename "$file.new", $file;
    });
}

$start = time;

ok(wait_until(30, sub { -s $files[0] && -s $files[1] }), 'flooded');

my $took = time - $start;
my @n = (0) x 3;

for my $file (@files) {
    open my $f, '<', $file or die;
    my @one = split / /, <$f>;
    $n[$_] += $one[$_] for 0 .. 2;
}

my $bound = zone($na, 'one')->{lease}{overshoot_bound}
            + zone($nb, 'one')->{lease}{overshoot_bound};

my $of_store = (values %{ $na->json('/status')->{stores} })[0];

is($of_store->{overshoot_bound}, zone($na, 'one')->{lease}{overshoot_bound},
   'a flood: the bound is the store\'s, too');
cmp_ok($of_store->{overshoot_bound}, '>', 0, 'a flood: and is a number');
is($n[2], 0, 'a flood: each is answered');
cmp_ok($n[1], '>', $n[0], 'a flood: most are refused');
cmp_ok($n[0], '<=', 100 + 100 * ($took + 0.1) + $bound,
       "a flood: $n[0] admitted, overshoot at most $bound");
cmp_ok($n[0], '>=', 0.9 * (100 + 100 * $seconds) , 'a flood: and not less');

ok(balanced($_, 'one'), 'a flood: the books') for $na, $nb;


# delays are told apart

@r = $na->parallel([('/wait?k=w') x 10]);

is(codes(@r), join(' ', (200) x 10), 'delayed');
cmp_ok(scalar(grep { $_->{headers}{'x-status'} eq 'DELAYED' } @r), '>=', 7,
       'delayed: most');


# newcomer's coarser key

@r = map { ($_ % 2 ? $nb : $na)->get("/slow?k=n$_&p=net") } 1 .. 8;

is(codes(@r), '200 200 200 200 200 429 429 429', 'five of a coarser key');
is($na->get('/slow?k=n9&p=other')->{status}, 200, 'of another one');
is($r[7]{headers}{'x-status'}, 'REJECTED', 'refused');


# all limits or none

@r = map { $na->get('/both?k=b') } 1 .. 5;

is(codes(@r), '200 200 200 429 429', 'a limit here and one of the store');


# charges of both hosts

is($na->get('/charge?k=c', 'X-Tokens' => 80)->{status}, 200, 'a charge');
ok(wait_until(3, sub {
       return $nb->get('/charge?k=c', 'X-Tokens' => 1)->{headers}{'x-left'}
              < 60;
   }), 'the other host hears of it');


# what others put there

my ($key) = grep { !/:act$/ } split /\n/,
            $na->redis_cli(5, 'keys', '*:{slow:*');

$na->redis_cli(5, 'flushall');

is($na->get('/slow?k=lost')->{status}, 200, 'an emptied store');

$na->get('/slow?k=other');
$na->redis_cli(5, 'script', 'flush');

is($na->get('/slow?k=noscript')->{status}, 200, 'without the script');

my $tag = $na->json('/zones/slow/top?n=100');

for my $k (split /\n/, $na->redis_cli(5, 'keys', '*:{slow:*')) {
    next if $k =~ /:act$/;
    $na->redis_cli(5, 'del', $k);
    $na->redis_cli(5, 'lpush', $k, 'x');
}

for my $k ('lost', 'other', 'noscript') {
    is($na->get("/slow?k=$k")->{status}, 200, "$k: a key of another type");
}

ok($na->wait_for_log(qr/bad reply of store "main": a key holds something/),
   'is logged');


# a reload, and a worker that is killed

$c{$na}->send($c{$na}->format(GET => '/one?k=reload'));
is($c{$na}->response('GET')->{status}, 200, 'before a reload');

$na->reload;

is(codes(map { $na->get('/one?k=reload') } 1 .. 20), join(' ', (200) x 20),
   'after a reload');

$na->allow_log(qr/exited on signal 9/);

for (1 .. 30) {
    $na->get('/one?k=killed') for 1 .. 3;
}

kill 'KILL', ($na->worker_pids)[0];

ok(wait_until(10, sub { $na->worker_pids == 2 }), 'a new worker');
is(codes(map { $na->get('/one?k=killed2') } 1 .. 20), join(' ', (200) x 20),
   'after a kill');

my $books = books($na, 'one');
my $off = $books->{debited} + $books->{debt} + $books->{refunded}
          - $books->{admitted} - $books->{returned} - $books->{forfeited}
          - $books->{held};

cmp_ok(abs $off, '<=', 100, "the books are off by $off at most");


# figures

my $m = $na->get('/metrics')->{body};

like($m, qr/^nginx_predictive_lease_hits_total\{zone="one"\} [1-9]/m, 'hits');
like($m, qr/^nginx_predictive_overshoot_bound\{zone="one"\} \d/m, 'bound');
like($m, qr/^nginx_predictive_nodes\{zone="one"\} \d/m, 'nodes');

is(zone($na, 'one')->{config}{store}, 'main', 'config: store');
is(zone($na, 'one')->{config}{sync}, 'lease', 'config: sync');
is(zone($na, 'here')->{lease}, undef, 'no lease');

for my $t ($na, $nb) {
    is($t->log_lines(qr/sixteen bytes/), 0, 'no secret in the log');
}

done_testing();
