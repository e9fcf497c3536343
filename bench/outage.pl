#!/usr/bin/perl

# outage.pl [lease|strict [wait [seconds]]]
#
# What a Redis that freezes, thaws, dies and comes back adds to a request: one
# kept-alive connection asks a limited location, with a known key and a new one
# in turn, and beside each time an unlimited one of the same worker, which
# tells what the machine itself was late by.  Milliseconds, at the client.
#
# Ends with 1 when a request was not answered 200, or more than one in a
# thousand took longer than `wait` + 1 ms beyond what 99.9 % of the unlimited
# ones took; in the breaker's phases, longer than 1 ms.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Front;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(sleep time);

my ($sync, $wait, $seconds) = @ARGV;
$sync ||= 'lease';
$wait ||= 2;
$seconds ||= 5;

my $dir = File::Temp->newdir('prdbench-XXXXXXXX', TMPDIR => 1);
my $port = Front::free_port();
my $redis = redis();

END { if ($redis) { local $?; kill 'KILL', $redis; waitpid $redis, 0 } }

open my $f, '>', "$dir/secret" or die "secret: $!\n";
print $f "a secret of the bench, not of anybody else\n";
close $f;
chmod 0600, "$dir/secret";

my $front = Front->new(module => 1,
    http => "predictive_store r { server 127.0.0.1:$port; nodes 1;"
            . " secret file:$dir/secret; wait ${wait}ms; }"
            . ' predictive_zone $http_x_api_key zone=s:32m rate=1000r/s'
            . " store=r sync=$sync;",
    server => 'location = /s { predictive zone=s burst=1000 nodelay;'
              . ' empty_gif; } location = /n { empty_gif; }');

my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $front->port)
    or die "connect: $!\n";
setsockopt $client, IPPROTO_TCP, TCP_NODELAY, 1;

my $asked = 0;
my $failed = 0;

printf "outage: sync=%s wait=%d ms; limited | unlimited, ms at the client\n"
       . "%-9s %6s  %6s %6s %6s %6s | %6s %6s %6s %6s\n", $sync, $wait,
       'Redis', 'asked', ('p50', 'p99', 'p99.9', 'max') x 2;

phase('serves', $seconds, $wait);

kill 'STOP', $redis;
phase('freezes', 1.5, $wait);
phase('frozen', $seconds, 0);

kill 'CONT', $redis;
phase('thaws', $seconds, $wait);

kill 'KILL', $redis;
waitpid $redis, 0;
phase('dies', 1.5, $wait);
phase('dead', $seconds, 0);

$redis = redis();
phase('back', $seconds, $wait);

exit($failed ? 1 : 0);


sub redis {
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        open STDOUT, '>', "$dir/redis.log";
        exec 'redis-server', '--port', $port, '--bind', '127.0.0.1', '--save',
             '', '--appendonly', 'no', '--dir', "$dir" or exit 127;
    }

    for (1 .. 100) {
        return $pid if IO::Socket::INET->new("127.0.0.1:$port");
        sleep 0.05;
    }

    die "redis-server does not start\n";
}


sub phase {
    my ($name, $long, $allowed) = @_;
    my (@limited, @free, %status);
    my $end = time + $long;

    while (time < $end) {
        my $key = ++$asked % 2 ? "new$asked" : 'known' . $asked % 50;
        my ($status, $ms) = ask('/s', $key);

        push @limited, $ms;
        $status{$status}++;

        push @free, (ask('/n', $key))[1];
        sleep 0.002;
    }

    @limited = sort { $a <=> $b } @limited;
    @free = sort { $a <=> $b } @free;

    printf "%-9s %6d  %6.2f %6.2f %6.2f %6.2f | %6.2f %6.2f %6.2f %6.2f",
           $name, scalar @limited,
           map { my $all = $_; map { of($all, $_) } 0.5, 0.99, 0.999, 1 }
           \@limited, \@free;

    my $late = of(\@limited, 0.999) - of(\@free, 0.999) - $allowed;
    my $other = join ' ', map { "$_: $status{$_}" }
                grep { $_ != 200 } sort keys %status;

    print '  LATE' if $late > 1;
    print "  ANSWERED $other" if $other;
    print "\n";

    $failed++ if $late > 1 || $other;
}


sub of {
    my ($sorted, $q) = @_;

    return $sorted->[int($q * $#$sorted)];
}


sub ask {
    my ($path, $key) = @_;
    my $got = '';
    my $began = time;

    syswrite $client, "GET $path HTTP/1.1\r\nHost: localhost\r\n"
                      . "X-Api-Key: $key\r\n\r\n";

    while ($got !~ /\r\n\r\n/) {
        sysread $client, $got, 4096, length $got or die "connection lost\n";
    }

    my $head = index($got, "\r\n\r\n") + 4;
    my $length = $got =~ /^content-length: *(\d+)/im ? $1 : 0;

    while (length $got < $head + $length) {
        sysread $client, $got, 4096, length $got or die "connection lost\n";
    }

    return (($got =~ / (\d+)/)[0], 1000 * (time - $began));
}
