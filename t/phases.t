# Where the verdict is made among other modules' doings: where limit_req is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

plan(skip_all => 'nginx without realip')
    if ($t->run(($t->command)[0], '-V'))[1] !~ /realip/;

$t->conf(<<'END')->start;
predictive_zone $binary_remote_addr zone=address:1m rate=1r/m learn=off;
predictive_zone $arg_k zone=slow:1m rate=1r/m learn=off;
predictive_zone $arg_k zone=tick:1m rate=2r/s learn=off;
limit_conn_zone $arg_k zone=conn:1m;

log_format short "$arg_n $status $predictive_status";
access_log %%DIR%%/access.log short;

server {
    listen 127.0.0.1:%%PORT%%;

    location = /realip {
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Real-IP;
        predictive zone=address;
        empty_gif;
    }

    location = /conn {
        limit_conn conn 1;
        limit_conn_status 598;
        predictive zone=tick burst=5;
        empty_gif;
    }

    location = /conn_only {
        limit_conn conn 1;
        limit_conn_status 598;
        empty_gif;
    }

    location = /return { predictive zone=slow; return 200 "returned\n"; }

    location = /auth {
        predictive zone=slow burst=1 nodelay;
        predictive_status 401;
        auth_basic closed;
        auth_basic_user_file %%DIR%%/none;
        empty_gif;
    }
}
END


# realip of a location comes first

is(join(' ', map { $t->get('/realip', 'X-Real-IP' => $_)->{status} }
        '192.0.2.1', '192.0.2.2', '192.0.2.1'), '200 200 429', 'after realip');


# a request that waits is not yet a connection of limit_conn

is($t->get('/conn?k=a')->{status}, 200, 'limit_conn: the first');

my $c = $t->connect;

$c->send($c->format(GET => '/conn?k=a'));
ok($t->wait_for_log(qr/delaying request/), 'limit_conn: one waits');
is($t->get('/conn_only?k=a')->{status}, 200, 'limit_conn: and does not count');
is($c->response->{status}, 200, 'limit_conn: until it goes on');


# "return" answers before, authentication comes after

is(join(' ', map { $t->get('/return?k=a')->{status} } 1 .. 3), '200 200 200',
   'after rewrite');
is(join(' ', map { $t->get('/auth?k=b')->{status} } 1 .. 3), '401 401 401',
   'before access');
is(scalar $t->log_lines(qr/limiting requests.*k=b/), 1,
   'before access: one of them ours');

done_testing();
