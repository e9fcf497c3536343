# A store that is a cluster: each key to its master, while slots move and
# masters die.

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
my @nodes = PrdRedis->cluster($t, 1);
my $secret = PrdRedis::secret_file($t, 'secret');
my $module = PrdRedis::module();
my $timeout = 200 * $PrdTest::SLOW;
my @seeds = ('server 127.0.0.1:' . $t->port(30) . ';',         # nobody there
             map { 'server ' . $_->addr . ';' } @nodes[0, 4]);

$t->conf(<<"END")->start;
load_module $module;
events { worker_connections 1024; }

predictive_store shared {
    mode cluster;
    @seeds
    secret file:$secret;
    timeout ${timeout}ms;
}

server {
    listen 127.0.0.1:%%PORT%%;
    location /api { predictive_api; }
    location = /shared { prdtest_redis shared; }
}
END

my $incr = q{return redis.call('INCRBY', KEYS[1], ARGV[1])};

sub ask    { PrdRedis::ask($t, '/shared', @_) }
sub status { PrdRedis::status($t) }
sub masters { grep { $_->{role} eq 'master' } @{ status()->{servers} } }
sub whole {
    return wait_until(20, sub {
        my $slots = 0;

        $slots += $_->{slots} for grep { $_->{breaker} eq 'closed'
                                         && $_->{state} eq 'ready' } masters();
        return $slots == 16384;
    });
}

sub sum {
    my ($n) = @_;
    my $sum = 0;

    for my $node (grep { PrdTest::alive($_->{process}) } @nodes) {
        next if $node->info('replication')->{role} ne 'master';

        for (split /\n/, $node->cli('keys', 'k:*')) {
            my $value = $node->cli('get', $_);

            $sum += $value if $value =~ /^\d+$/;
        }
    }

    return $sum;
}


ok(whole(), 'the map of all slots') or diag(explain(status()));
is(scalar(masters()), 3, 'three masters');
ok(status()->{up}, 'up');
is(status()->{mode}, 'cluster', 'mode');

# each key where Redis itself thinks it is: a redirection would show

my $r = ask(script => $incr, keys => 'k:@', args => 1, n => 200);

is($r->{ok}, 200, 'scripts to all nodes');
is(status()->{redirects}, 0, 'none of them was redirected');

$r = ask(script => $incr, keys => '{tag}x:@', args => 1, n => 20);
is($r->{ok}, 20, 'keys with a hash tag');
is(status()->{redirects}, 0, 'no redirection');
is($nodes[0]->cli('-c', 'exists', '{tag}x:7'), '1', 'are there');

$r = ask(command => 'SET,foo{}{bar},1', key => 1);
is($r->{ok}, 1, 'an empty tag');
is(status()->{redirects}, 0, 'is none');

$r = ask(command => 'PING');
is($r->{first}, 'PONG', 'a command to any node');

is(sum(), 200, 'all were executed');


# a slot moves

my $slot = $nodes[0]->cli('cluster', 'keyslot', 'k:1');
my ($from) = grep { $_->cli('cluster', 'getkeysinslot', $slot, 1) ne '' }
             @nodes[0 .. 2];
my ($to) = grep { $_ != $from } @nodes[0 .. 2];

PrdRedis::move_slot($from, $to, $slot, half => 1);

my $before = status()->{redirects};

$r = ask(script => $incr, keys => 'k:1', args => 1);
is($r->{first}, 2, 'ASK is followed');
is(status()->{redirects}, $before + 1, 'and counted');
$r = ask(script => $incr, keys => 'k:1', args => 1, n => 50);
is($r->{ok}, 50, 'each time');
is(status()->{redirects}, $before + 51, 'as it changes no map');
is($r->{first}, 3, 'replies do not shift by the one to ASKING');

PrdRedis::move_slot($from, $to, $slot);

$before = status()->{redirects};
$r = ask(script => $incr, keys => 'k:1', args => 1);
is($r->{ok}, 1, 'MOVED is followed');
is(status()->{redirects}, $before + 1, 'and counted');
$r = ask(script => $incr, keys => 'k:1', args => 1, n => 10);
is($r->{ok}, 10, 'again');
is(status()->{redirects}, $before + 1, 'the map was changed');


# slots move while calls are made: none fails

my @all = map { $nodes[0]->cli('cluster', 'keyslot', "k:$_") } 0 .. 19;
my ($ok, $calls, @bad) = (0, 0);
my $sum = sum();
my $mover = $t->fork_process('mover', sub {
    for my $slot (@all) {
        my ($from) = grep {
            $_->cli('cluster', 'countkeysinslot', $slot) > 0
        } @nodes[0 .. 2];

        next if !$from;

        my ($to) = grep { $_ != $from } @nodes[0 .. 2];

        PrdRedis::move_slot($from, $to, $slot);
    }
});


while (PrdTest::alive($mover)) {
    $r = ask(script => $incr, keys => 'k:@', args => 1, n => 20);
    $ok += $r->{ok};
    $calls += $r->{calls};
    push @bad, $r->{text} if $r->{ok} != $r->{calls};
}

cmp_ok($calls, '>', 100, 'calls while slots move');
is($ok, $calls, 'all were answered') or diag(explain(\@bad));
cmp_ok(sum(), '==', $sum + $calls, 'each was executed once');


# a master dies

ok(whole(), 'all is well');

my ($victim) = grep { $_ != $nodes[0] } @nodes[1 .. 2];

# as a machine that is switched off
$victim->kill;

my $part = 0;

ok(wait_until(30, sub {
    $r = ask(script => $incr, keys => 'k:@', args => 1, n => 100);
    $part = 1 if $r->{ok} && $r->{ok} < 100;
    return $part && $r->{ok} == 100;
}), 'a replica takes over') or diag(explain([ $r, status() ]));
ok($part, 'meanwhile the other masters were asked all the same');
ok(whole(), 'the map of all slots');
ok($t->wait_for_log(qr/server \S+ has closed the connection/), 'logged');


# it comes back, as a replica

$victim->restart;
$r = ask(script => $incr, keys => 'k:@', args => 1, n => 100);
is($r->{ok}, 100, 'when it is back');


# a master is frozen: only its own keys suffer

ok(whole(), 'all is well');

my ($frozen) = grep {
    $_->info('replication')->{role} eq 'master' && $_ != $nodes[0]
} @nodes;

$frozen->freeze;

ask(script => $incr, keys => 'k:@', args => 1, n => 100, timeout => 100)
    for 1 .. 5;

my $began = time;

$r = ask(script => $incr, keys => 'k:@', args => 1, n => 100);
cmp_ok($r->{ok}, '>', 20, 'a frozen master: the others answer');
cmp_ok(time - $began, '<', 1.5 * $PrdTest::SLOW, 'nobody waits for it');

ok(wait_until(30, sub {
    $r = ask(script => $incr, keys => 'k:@', args => 1, n => 100);
    return $r->{ok} == 100;
}), 'a replica takes over');

$frozen->thaw;
sleep 0.5;
$r = ask(script => $incr, keys => 'k:@', args => 1, n => 100);
is($r->{ok}, 100, 'thawed');


# a reload, and all nodes at once

$t->reload;
ok(whole(), 'after a reload');

$_->freeze for @nodes;
ok(wait_until(20, sub { !status()->{up} }), 'down');
$r = ask(script => $incr, keys => 'k:@', args => 1, n => 10);
is($r->{ok}, 0, 'no call is answered');
$_->thaw for @nodes;

ok(wait_until(30, sub {
    $r = ask(script => $incr, keys => 'k:@', args => 1, n => 100);
    return $r->{ok} == 100;
}), 'up again');

done_testing();
