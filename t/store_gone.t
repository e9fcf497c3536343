# Requests that end while they wait for the store: streams of a connection
# that is gone, subrequests of a page that nobody reads any more, mirrors.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(wait_until spew);
use Test::More;
use Time::HiRes qw(sleep);


my $t = PrdTest->new;
my $redis = PrdRedis->new($t, 3);
my $secret = PrdRedis::secret_file($t, 'secret');
my $port = $redis->port;
my $slow = $PrdTest::SLOW;

# 10 s are the most that may be said
my $patience = $slow < 3 ? 3000 * $slow : 10000;

$t->conf(<<"END" . <<'END')->start;
worker_processes 1;

predictive_store s {
    server 127.0.0.1:$port;
    secret file:$secret;
    wait ${patience}ms;
    timeout ${patience}ms;
}

predictive_zone \$arg_k zone=one:1m rate=1r/m learn=off store=s sync=strict;
END

server {
    listen 127.0.0.1:%%PORT%%;
    listen 127.0.0.1:%%PORT1%% http2;

    root %%DIR%%/html;

    location = /one { predictive zone=one burst=4 nodelay; empty_gif; }
    location = /page { ssi on; ssi_types *; try_files /page =404; }
    location = /mirror { mirror /mirrored; empty_gif; }
    location = /mirrored { internal; predictive zone=one burst=4 nodelay;
                           empty_gif; }
    location = /other { predictive zone=one burst=4 nodelay;
                        error_page 429 = /instead; empty_gif; }
    location = /instead { predictive zone=one burst=4 nodelay;
                          return 200 instead; }
    location = /n { empty_gif; }
    location / { predictive_api; }
}
END

spew($t->dir . '/html/page',
     join '', map { qq(<!--# include virtual="/one?k=p$_" -->) } 1 .. 5);

my ($worker) = $t->worker_pids;

sub seen { $t->get('/n') for 1 .. 3 }

# a request that was not decided without the store
sub in_touch {
    return wait_until(10, sub {
        my $before = $t->json('/zones/one')->{lease_away};

        $t->get('/one?k=touch' . rand);
        return $t->json('/zones/one')->{lease_away} == $before;
    });
}

ok(in_touch(), 'in touch');

for my $how (qw(thawed killed)) {

    # ten streams, and the client is killed

    my $asked = sub {
        return $t->json('/status')->{stores}{s}{servers}[0]{outstanding} // 0;
    };

    $redis->freeze;

    my @gone;

    SKIP: {
        my $nghttp = PrdTest::which('nghttp') or skip 'no nghttp', 1;
        my $p = $t->spawn('nghttp', $nghttp, '-n', '--no-dep', map {
            'http://127.0.0.1:' . $t->port(1) . "/one?k=h$_" } 1 .. 10);

        ok(wait_until(5, sub { $asked->() > 0 }), "$how: streams wait");
        kill KILL => $p->{pid};
        @{ $t->{processes} } = grep { $_ != $p } @{ $t->{processes} };
    }

    # a page with subrequests, a mirror, and one that will be redirected

    my %c = map { $_ => $t->connect }
            '/page?k=1', '/mirror?k=m', '/one?k=x', '/other?k=o';

    $c{$_}->send($c{$_}->format(GET => $_)) for keys %c;
    seen();
    $_->close for values %c;
    seen();

    # and some that stay

    my @stay = map { $t->connect } 1 .. 8;

    $_->send($_->format(GET => "/other?k=stay-$how")) for @stay;

    my $page = $t->connect;

    $page->send($page->format(GET => '/page?k=2'));
    seen();

    if ($how eq 'thawed') {
        $redis->thaw;

    } else {
        $redis->kill;
    }

    my @r = map { $_->response('GET') } @stay;

    is(scalar(grep { $_->{status} == 200 } @r), 8, "$how: all are answered");
    is(scalar(grep { ($_->{body} // '') eq 'instead' } @r),
       3, "$how: those above the limit elsewhere");
    is($page->response('GET')->{status}, 200, "$how: the page, too");

    $redis->restart if $how eq 'killed';
    ok(in_touch(), "$how: in touch again");
    is_deeply([$t->worker_pids], [$worker], "$how: the worker is the same");

    ok(wait_until(15, sub {
           $t->json('/zones/one?check=1')->{consistency}{books}{balanced}
       }), "$how: the books are balanced");
}

$t->reload;
ok(wait_until(5, sub { !grep { $_ == $worker }
                             PrdTest::children($t->master_pid) }),
   'the worker exits');

done_testing();
