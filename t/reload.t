# What a reload keeps, changes, refuses.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;
use Time::HiRes qw(sleep);


my $t = PrdTest->new;

sub conf {
    my (%o) = (key => '$arg_k', zone => 'one:1m', rate => '1r/m',
               limit => 'burst=1 nodelay', name => 'one', more => '', @_);

    return <<"END";
predictive_zone $o{key} zone=$o{zone} rate=$o{rate} learn=off;
predictive_zone \$arg_k zone=slow:1m rate=2r/s learn=off;
$o{more}

server {
    listen 127.0.0.1:%%PORT%%;
    add_header X-Key \$predictive_key always;
    add_header X-Status \$predictive_status always;
    location = /one { predictive zone=$o{name} $o{limit}; empty_gif; }
    location = /slow { predictive zone=slow burst=5; empty_gif; }
}
END
}

sub statuses { join ' ', map { $t->get($_)->{status} } @_ }

sub slowly { join ' ', map { sleep 0.005; $t->get($_)->{status} } @_ }

$t->conf(conf())->start;


# kept

is(statuses(('/one?k=a') x 3), '200 200 429', 'a client');

my $key = $t->get('/one?k=a')->{headers}{'x-key'};

ok($t->reload(conf(), wait_old => 1), 'reload');
is(statuses('/one?k=a'), '429', 'is known');
is($t->get('/one?k=a')->{headers}{'x-key'}, $key, 'by the same hash');


# changed

ok($t->reload(conf(limit => 'burst=3 nodelay'), wait_old => 1),
   'another burst');
is(statuses(('/one?k=a') x 3), '200 200 429', 'is in force');
ok($t->reload(conf(rate => '1000r/s'), wait_old => 1), 'another rate');
is(slowly(('/one?k=a') x 3), '200 200 200', 'is in force');
ok($t->reload(conf(zone => 'two:1m', name => 'two'), wait_old => 1),
   'another zone');
is(statuses(('/one?k=a') x 3), '200 200 429', 'begins anew');
isnt($t->get('/one?k=a')->{headers}{'x-key'}, $key, 'with a secret of its own');


# refused

$t->allow_log(qr/\[emerg\]/);

ok(!$t->reload(conf(zone => 'two:1m', name => 'two', key => '$arg_k$arg_x')),
   'another key: refused');
like(($t->log_lines(qr/\[emerg\]/))[-1],
     qr/predictive\ zone\ "two"\ uses\ the\ "\$arg_k\$arg_x"\ key\ while
        \ previously\ it\ used\ the\ "\$arg_k"\ key,\ in\ \S+nginx\.conf:\d+$/x,
     'and told');
is(statuses('/one?k=a'), '429', 'the old workers go on');

ok(!$t->reload(conf(zone => 'two:1m', name => 'two',
                    limit => 'burst=3000000 nodelay')),
   'another unit: refused');
like(($t->log_lines(qr/\[emerg\]/))[-1],
     qr/zone "two" counts in 1\/1 of a request now and .* in \S+:\d+$/,
     'and told');
is(statuses('/one?k=a'), '429', 'the old workers go on');

ok(!$t->reload(conf(zone => 'two:1m', name => 'two',
                    more => 'server { listen 192.0.2.1:1; }')),
   'refused after the zones were taken over');
is(statuses('/one?k=a'), '429', 'the old workers go on');


# another size: another zone, into which clients are taken over

ok($t->reload(conf(zone => 'two:2m', name => 'two'), wait_old => 1),
   'another size');
is(statuses('/one?k=a'), '429', 'a client is known');
like($t->get('/one?k=b')->{headers}{'x-key'}, qr/^[0-9a-f]{16}$/, 'works');
is(statuses(('/one?k=b') x 2), '200 429', 'and limits');


# a large burst

ok($t->reload(conf(zone => 'three:1m', name => 'three', rate => '1r/s',
                   limit => 'burst=1000000000 nodelay'), wait_old => 1),
   'a burst of a thousand millions');
is(statuses(('/one?k=a') x 3), '200 200 200', 'works');


# requests that wait are not lost

my @c = map { $t->connect } 1 .. 4;

for (@c) {
    $_->send($_->format(GET => '/slow?k=w'));
    select undef, undef, undef, 0.01;
}

ok($t->wait_for_log(qr/delaying request.*k=w/, count => 3), 'some wait');
ok($t->reload, 'a reload meanwhile');
is(join(' ', map { $_->response->{status} } @c), '200 200 200 200',
   'they are answered');
is($t->get('/slow?k=w')->{headers}{'x-status'}, 'DELAYED',
   'the new workers know of them');

done_testing();
