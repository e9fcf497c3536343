# A store whose master is named by sentinels: it follows the master.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

BEGIN { $ENV{PRD_TIMEOUT} ||= 240 }

use PrdRedis;
use PrdTest qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep time);


my $t = PrdTest->new;
my $password = 'of-master-and-sentinels';
my $s = PrdRedis->sentinel($t, 1, password => $password,
                           sentinel_password => $password,
                           args => ['--requirepass', $password,
                                    '--masterauth', $password]);
my ($master, $replica, @sentinels) = ($s->{master}, $s->{replica},
                                      @{ $s->{sentinels} });
my $secret = PrdRedis::secret_file($t, 'secret');
my $password_file = PrdRedis::secret_file($t, 'password', $password);
my $module = PrdRedis::module();
my $timeout = 200 * $PrdTest::SLOW;
my $servers = join ' ', map { 'server ' . $_->addr . ';' } @sentinels;

$t->conf(<<"END")->start;
load_module $module;
events { worker_connections 1024; }

predictive_store shared {
    mode sentinel;
    master mymaster;
    server 127.0.0.1:%%PORT20%%;
    $servers
    password file:$password_file;
    secret file:$secret;
    timeout ${timeout}ms;
}

predictive_store unknown {
    mode sentinel;
    master nobody;
    $servers
    password file:$password_file;
    secret file:$secret;
}

server {
    listen 127.0.0.1:%%PORT%%;
    location /api { predictive_api; }
    location = /shared { prdtest_redis shared; }
    location = /unknown { prdtest_redis unknown; }
}
END

sub ask    { PrdRedis::ask($t, '/shared', @_) }
sub status { PrdRedis::status($t, $_[0]) }
sub up     { wait_until(20, sub { status()->{up} }) }

sub master {
    return join ' ', map { $_->{server} }
           grep { $_->{role} eq 'master' } @{ status()->{servers} };
}


# the first calls wait for the answer of a sentinel, one of which is not there

ok(up(), 'up') or diag(explain(status()));
is(status()->{mode}, 'sentinel', 'mode');
is(master(), $master->addr, 'the master');

my $r = ask(command => 'SET,a,1');

is($r->{first}, 'OK', 'a command');
is($master->cli('get', 'a'), '1', 'was executed there');

sub asked {
    return map { $_->{server} }
           grep { $_->{role} eq 'sentinel' && $_->{state} eq 'ready' }
           @{ status()->{servers} };
}

ok(wait_until(10, sub { asked() == 1 }), 'one sentinel is asked');


# sentinels that know no such master

ok($t->wait_for_log(qr/store "unknown".* knows no master "nobody"/),
   'a master that nobody knows');
is(scalar $t->log_lines(qr/knows no master/), 1, 'said once');
$r = PrdRedis::ask($t, '/unknown', command => 'PING');
is($r->{down}, 1, 'calls to it fail');
ok(!status('unknown')->{up}, 'it is not up');


# a failover by hand: the master becomes a replica

is($sentinels[0]->cli('sentinel', 'failover', 'mymaster'), 'OK', 'failover');

my ($readonly, $lost) = (0, 0);

ok(wait_until(30, sub {
    $r = ask(command => 'INCR,n', timeout => 500 * $PrdTest::SLOW);
    $readonly++ if $r->{error} && $r->{text} =~ /READONLY/;
    return $r->{ok} && master() eq $replica->addr;
}), 'the new master') or diag(explain([ $r, status() ]));
ok($t->wait_for_log(qr/the master is \Q@{[$replica->addr]}\E/), 'logged');
is(ask(command => 'PING')->{ok}, 1, 'and used');
ok(wait_until(10, sub { !grep { $_->{role} eq 'former' }
                        @{ status()->{servers} } }),
   'no link to the former one is kept');


# the sentinel that is asked dies: another is

ok(wait_until(10, sub { asked() == 1 }), 'one sentinel is asked again');

my ($asked) = asked();
my ($dead) = grep { $_->addr eq ($asked // '') } @sentinels;

ok(wait_until(20, sub {
    ($master->info('replication')->{master_link_status} || '') eq 'up'
}), 'the former master follows');
ok($dead, 'who is asked');
$dead->kill;
ok(wait_until(10, sub {
    my @asked = asked();
    return @asked == 1 && $asked[0] ne $asked;
}), 'another one is asked') or diag(explain(status()));
is(ask(command => 'PING')->{ok}, 1, 'the master is used all the while');
$dead->restart;


# the master dies

$replica->kill;
is(ask(command => 'PING', timeout => 500)->{ok}, 0, 'no answer at first');
ok(wait_until(40, sub {
    ask(command => 'INCR,n', timeout => 500 * $PrdTest::SLOW)->{ok}
}), 'the other one has taken over') or diag(explain(status()));
is(master(), $master->addr, 'which is the master again');

# and all sentinels: no matter as long as the master is there, and the last
# one asked has heard of it

ok(wait_until(40, sub {
    my $port = $master->{port};

    !grep {
        $_->cli('sentinel', 'get-master-addr-by-name', 'mymaster')
            !~ /^$port$/m
    } @sentinels;
}), 'all sentinels agree');
ok(wait_until(10, sub { master() eq $master->addr }), 'and so do we');

$_->kill for @sentinels;
sleep 1.5;
is(ask(command => 'PING')->{ok}, 1, 'without sentinels');
ok(status()->{up}, 'up');

done_testing();
