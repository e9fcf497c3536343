# A Redis that is known by name and moves: the name is resolved anew, without
# waiting, after a failure.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;
use PrdRedis;
use PrdTest qw(wait_until slurp spew);
use Test::More;


my $t = PrdTest->new;
my $port = $t->port(1);
my $here = $t->dir . '/address';
my $redis = PrdRedis->new($t, 1);


spew($here, '127.0.0.1');


# a name server: A of what the file says, AAAA of nothing

my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1')
    or die "udp: $!\n";
my $dns_port = $dns->sockport;
my $asked = $t->dir . '/asked';

spew($asked, '');

$t->fork_process('dns', sub {
    while (defined(my $from = $dns->recv(my $q, 512))) {
        my ($id, $flags, $n) = unpack 'nnn', $q;
        my ($name) = substr($q, 12) =~ /\A((?:[^\0].*?)?\0)/s;
        my $type = unpack 'n', substr $q, 12 + length $name, 2;
        my $question = substr $q, 12, length($name) + 4;
        my $address = slurp($here);
        my $answer = '';

        open my $fh, '>>', $asked;
        print $fh "$type\n";
        close $fh;

        if ($type == 1 && $address =~ /\d/) {
            $answer = pack 'n n n N n C4', 0xc00c, 1, 1, 1, 4,
                      split /\./, $address;
        }

        $dns->send(pack('n6', $id, 0x8180, 1, length $answer ? 1 : 0, 0, 0)
                   . $question . $answer, 0, $from);
    }
});

my $secret = PrdRedis::secret_file($t, 'secret');
my $module = PrdRedis::module();

$t->conf(<<"END")->start;
load_module $module;
events { worker_connections 1024; }

resolver 127.0.0.1:$dns_port ipv6=off valid=1s;

predictive_store shared {
    server localhost:$port;
    secret file:$secret;
}

server {
    listen 127.0.0.1:%%PORT%%;
    location /api { predictive_api; }
    location = /shared { prdtest_redis shared; }
}
END

sub ask { PrdRedis::ask($t, '/shared', @_) }
sub up  { wait_until(15, sub { PrdRedis::status($t)->{up} }) }

ok(up(), 'up') or diag($t->tail(10));
is(slurp($asked), '', 'at first by the address of the configuration');

$redis->cli('set', 'where', 'first');
is(ask(command => 'GET,where')->{first}, 'first', 'the first');

# it moves to 127.0.0.2

$redis->kill;
spew($here, '127.0.0.2');

my $moved = $t->spawn('redis-moved', PrdTest::which('redis-server'),
                      '--port', $port, '--bind', '127.0.0.2', '--save', '',
                      '--dir', $redis->{dir}, '--daemonize', 'no');

ok(up(), 'up where it has moved to') or diag($t->tail(10));
is(ask(command => 'GET,where')->{first}, 'nil', 'another one');
cmp_ok(length slurp($asked), '>', 0, 'the name server was asked');


# no answer for the name: on with the last that was known

spew($here, '');
$t->stop_process($moved);
ok(wait_until(10, sub { !PrdRedis::status($t)->{up} }), 'down');
sleep 2;
$moved = $t->spawn('redis-again', PrdTest::which('redis-server'),
                   '--port', $port, '--bind', '127.0.0.2', '--save', '',
                   '--dir', $redis->{dir}, '--daemonize', 'no');
ok(up(), 'up without an answer') or diag($t->tail(10));


# a reload while the name server is asked

$t->stop_process($moved);
wait_until(10, sub { !PrdRedis::status($t)->{up} });
$t->reload;
$redis->restart;
ok(up(), 'up after a reload');

done_testing();
