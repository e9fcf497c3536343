# The forecasting thread: one at a time, always one, in whichever worker.

use strict;
use warnings;
no warnings "portable";     # 64-bit hexadecimal numbers

use FindBin;
use lib "$FindBin::Bin/../lib";

use PrdTest qw(wait_until slurp spew);
use Test::More;
use Time::HiRes qw(time sleep);


my $slow = $PrdTest::SLOW;
my $t = PrdTest->new;

$t->server(1, sub {
    my ($r) = @_;

    sleep 4 * $slow if $r->{uri} =~ /slow/;

    return (200, {}, "done\n");
});

sub conf {
    my ($workers) = @_;

    return <<"END";
worker_processes $workers;
proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;
predictive_zone \$arg_key zone=one:1m rate=100r/s burst=1000;
predictive_state %%DIR%%/state/learned interval=1s;

server {
    listen 127.0.0.1:%%PORT%%;

    location / {
        predictive zone=one nodelay;
        proxy_pass http://127.0.0.1:%%PORT1%%;
    }
}
END
}


# who holds the lease: [pid, line], latest last

sub holders {
    my ($self) = @_;

    return map { [/\] (\d+)#\d+: (.*)/] }
           ($self || $t)->log_lines(qr/predictive: forecasting here/);
}

# Waits for a holder beyond the first N; the time that took, the pid.

sub next_holder {
    my ($n, $since) = @_;

    # nobody may be taken for process 0: a signal to it is one to ourselves
    wait_until(10, sub { holders() > $n }) or die "nobody took over\n";

    my $after = time - $since;

    return ($after, (holders())[-1][0]);
}

# The thread works: the state is saved by the pid that is said to hold it.

sub saved_by {
    my ($file) = @_;

    my $head = eval { slurp($file || $t->dir . '/state/learned') } or return 0;

    return unpack 'x32 V', $head;
}

sub works {
    my ($pid, $file) = @_;

    return wait_until(5, sub { saved_by($file) == $pid });
}

sub threads {
    my ($pid) = @_;

    return scalar(() = glob "/proc/$pid/task/*");
}


# Start

my $started = time;

$t->conf(conf(2))->start;

my ($after, $pid) = next_holder(0, $started);

ok($pid, 'somebody forecasts');
cmp_ok($after, '<', 1 * $slow, sprintf 'from the start on (%.3f s)', $after);
ok((grep { $_ == $pid } $t->worker_pids), 'one of the workers');
is(scalar holders(), 1, 'only one');
ok(works($pid), 'it works');
is(threads($_), 2, 'a thread besides the event loop') for $t->worker_pids;
is(threads($t->master_pid), 1, 'not in the master');

my @helpers = grep { PrdTest::title($_) =~ /cache/ }
                   PrdTest::children($t->master_pid);

cmp_ok(scalar @helpers, '>', 0, 'there are helpers');
is(threads($_), 1, 'not in them') for @helpers;

my ($masked) = slurp((grep { !m{/$pid$} } glob "/proc/$pid/task/*")[0]
                     . '/status') =~ /^SigBlk:\s*(\w+)/m;

# all but ILL 4, BUS 7, FPE 8, SEGV 11 (and what cannot be blocked)
is(hex($masked) & 0x7fffffff, 0x7fffffff & ~(1 << 3 | 1 << 6 | 1 << 7
                                             | 1 << 10 | 1 << 8 | 1 << 18),
   'signals are blocked');


# kill -9 of the worker that hosts it, with another there

my @times;

for (1 .. 5) {
    my $n = holders();
    my $killed = time;

    kill 'KILL', $pid;
    $t->allow_log(qr/worker process $pid exited on signal 9/);

    my $was = $pid;

    ($after, $pid) = next_holder($n, $killed);
    push @times, $after;

    isnt($pid, $was, 'taken over after kill -9');
    wait_until(5, sub { $t->worker_pids == 2 });
}

my ($most) = sort { $b <=> $a } @times;

cmp_ok($most, '<', 1 * $slow, 'taken over in '
       . join(', ', map { sprintf '%d', $_ * 1000 } @times) . ' ms');
ok(works($pid), 'it works');


# a worker that is stopped; not in a save, whose fsync may take ten seconds

sleep 0.3 * $slow;

my $n = holders();
my $was = $pid;
my $stopped = time;

kill 'STOP', $pid;

($after, $pid) = next_holder($n, $stopped);

isnt($pid, $was, 'taken over after SIGSTOP');
cmp_ok($after, '<', 1.5 * $slow, sprintf 'in %d ms', $after * 1000);
ok(works($pid), 'it works');
sleep 1.2;

kill 'CONT', $was;

ok($t->wait_for_log(qr/ $was#.*forecasting was taken over/),
   'the other one notices when it wakes up');

sleep 2.5;
is(saved_by(), $pid, 'and writes nothing any more');
is((holders())[-1][0], $pid, 'nor does it take back');


# stopped again and again

for (1 .. 5) {
    $n = holders();
    $was = $pid;

    kill 'STOP', $was;
    (undef, $pid) = next_holder($n, time);
    kill 'CONT', $was;
    $t->wait_for_log(qr/ $was#.*forecasting was taken over/);
}

ok(works($pid), 'stopped and continued five times');
is($t->get('/?key=a')->{status}, 200, 'requests pass');


# reload

@times = ();

for (1 .. 3) {
    $n = holders();

    my %old = map { $_ => 1 } $t->worker_pids;
    my $reloaded = time;

    kill 'HUP', $t->master_pid;
    ($after, $pid) = next_holder($n, $reloaded);
    push @times, $after;

    wait_until(10, sub { !grep { kill 0, $_ } keys %old });
    ok(!$old{$pid}, 'handed over to the new workers');
    is(scalar holders(), $n + 1, 'once');
}

($most) = sort { $b <=> $a } @times;

cmp_ok($most, '<', 1 * $slow, 'at a reload in '
       . join(', ', map { sprintf '%d', $_ * 1000 } @times) . ' ms');
ok(works($pid), 'it works');


# an old worker with a request in flight does not keep it, nor the thread

my @slow = map { $t->connect } 1 .. 4;

$_->send("GET /slow?key=s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    for @slow;
sleep 0.3;

my @old = $t->worker_pids;

$n = holders();
$started = time;
kill 'HUP', $t->master_pid;
($after, $pid) = next_holder($n, $started);

cmp_ok($after, '<', 1 * $slow, sprintf 'handed over by draining workers in '
       . '%d ms', $after * 1000);
ok(!(grep { $_ == $pid } @old), 'to a new one');

my @draining = grep { kill 0, $_ } @old;

cmp_ok(scalar @draining, '>', 0, 'while old ones are there');
ok(wait_until(2, sub { !grep { kill(0, $_) && threads($_) > 1 } @draining }),
   'without a thread');
is((grep { $_->response('GET')->{status} == 200 } @slow), 4,
   'their requests are answered');
ok(wait_until(5, sub { !grep { kill 0, $_ } @old }), 'then they exit');
is(scalar holders(), $n + 1, 'once');


# a reload that fails changes nothing

$n = holders();
ok(!$t->reload("no_such_directive;\n"), 'a bad configuration is refused');
$t->allow_log(qr/no_such_directive/);
$t->conf(conf(2));
sleep 0.3;
is(scalar holders(), $n, 'the same thread goes on');
ok(works($pid), 'it works');


# one worker alone

ok($t->reload(conf(1), wait_old => 1), 'one worker');
ok(wait_until(5, sub { (($t->worker_pids)[0] || 0) == (holders())[-1][0] }),
   'has it');
$pid = (holders())[-1][0];

@times = ();

for (1 .. 3) {
    $n = holders();
    my $killed = time;

    kill 'KILL', $pid;
    $t->allow_log(qr/worker process $pid exited on signal 9/);
    ($after, $pid) = next_holder($n, $killed);
    push @times, $after;
}

($most) = sort { $b <=> $a } @times;

cmp_ok($most, '<', 1 * $slow, 'its successor has it in '
       . join(', ', map { sprintf '%d', $_ * 1000 } @times) . ' ms');
ok(works($pid), 'it works');


# no zone, no thread

ok($t->reload("server { listen 127.0.0.1:%%PORT%%; }", wait_old => 1),
   'without zones');
is(threads($_), 1, 'no thread') for $t->worker_pids;

$t->stop;


# without a master process

my $s = PrdTest->new;

$s->server(1, sub { (200, {}, "done\n") });
$s->conf("master_process off;\n" . conf(1));

my $process = $s->spawn('nginx', $s->command);

ok(wait_until(10, sub { scalar holders($s) }), 'a single process forecasts');
is((holders($s))[-1][0], $process->{pid}, 'itself');
is($s->get('/?key=a')->{status}, 200, 'and answers');
ok(works($process->{pid}, $s->dir . '/state/learned'), 'it works');
is(threads($process->{pid}), 2, 'in a thread');

# nginx has no connections left after a reload without a master, and answers
# nothing; it must not crash, nor must the thread go on with what is freed

spew($s->dir . '/nginx.conf', $s->expand("master_process off;\n"
    . "server { listen 127.0.0.1:%%PORT%%; }"));
kill 'HUP', $process->{pid};
ok($s->wait_for_log(qr/reconfiguring/), 'reload without a master');
ok(wait_until(5, sub { threads($process->{pid}) == 1 }), 'ends the thread');
sleep 0.2;
is($s->stop_process($process, 'TERM'), 0, 'stopped');

done_testing();
