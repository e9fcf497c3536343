#!/usr/bin/perl

# Does the worker that hosts the forecasting thread answer later than the
# other?  Two workers, each on a CPU of its own; CROWD clients are active in
# each bin of 10 s, in the zone but not over HTTP (crowd.c), so that the
# thread closes them all at the end of the bin; requests at RATE a second to
# each worker, open loop (latency.c).  First with a crowd of 1,000.
# Usage: thread.pl DIR-of-programs [seconds [crowd [rate [affinity]]]]
#
# Target: p99 of the host within 10 % of the other's.  Needs root.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Front qw(request);
use POSIX qw(fmod);
use Time::HiRes qw(time sleep);

my ($bin, $seconds, $crowd, $rate, $affinity) = @ARGV;
$seconds ||= 90;
$crowd ||= 1_000_000;
$rate ||= 1000;
$affinity //= 'auto';

if ($> != 0) {
    print "thread: skipped, only root may map another process's zone\n";
    exit 0;
}

my $words = 'capacity=100000000r/s warmup=15s';
my $front = Front->new(module => 1, workers => 2,
    affinity => $affinity eq 'none' ? undef : $affinity,
    http => 'predictive_zone $http_x_api_key zone=z:200m ' . $words . ';',
    server => 'location / { predictive zone=z; add_header X-Pid $pid;
                            empty_gif; }
               location /predictive/ { predictive_api; }');

# the pid that forecasts, CPU of its last round, clients in the last bin

sub status {
    my (undef, undef, $status) = request($front->port, '/predictive/status');
    my (undef, undef, $zone) = request($front->port, '/predictive/zones/z');

    my ($pid, $tick) = $status =~ /"forecaster":\{"pid":(\d+).*?
                                   "tick_seconds":([\d.e-]+)/sx
        or die "no forecaster in $status\n";
    my ($active) = $zone =~ /"active":(\d+)/;

    return ($pid, $tick, $active);
}

sub crowd {
    my ($n, $time) = @_;

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        exec "$bin/crowd", ($front->workers)[0], $n, $time, $words
            or exit 127;
    }

    return $pid;
}

sleep 1;
printf "thread: %d requests/s to each of 2 workers for %d s, affinity %s; us\n"
       . "%9s %-6s %8s %8s %8s   %s\n", $rate, $seconds, $affinity,
       'crowd', 'worker', 'p50', 'p99', 'max',
       'median over bins of p99: whole, first 0.5 s, last 0.5 s';

my $ratio;

for my $n (1000, $crowd) {

    # three bins in which everybody comes into the zone; then it is measured

    my $pid = crowd($n, $seconds + 45);
    sleep 30;
    sleep 10.9 - fmod(time, 10);

    my ($host, $tick, $active) = status();
    my @workers = sort { $a == $host ? -1 : 1 } $front->workers;

    die "the forecaster $host is no worker\n" if $workers[0] != $host;

    my $probe = open(my $f, '-|') // die "fork: $!\n";

    if ($probe == 0) {
        exec "$bin/latency", $front->port, 16, $rate, $seconds, @workers
            or exit 127;
    }

    my @rows = map { [split] } <$f>;
    close $f;

    die "latency failed\n" if @rows != 2;

    waitpid $pid, 0;
    die "crowd failed\n" if $?;

    for (0, 1) {
        printf "%9d %-6s %8d %8d %8d   %8d %8d %8d\n", $n,
               $_ ? 'other' : 'host', @{$rows[$_]}[1 .. 6];
    }

    $ratio = $rows[0][4] / $rows[1][4];
    printf "%9s %d clients active in a bin, closed in %.3f s CPU\n", '',
           $active, $tick;
    printf "%9s p99 of the host / the other's: %.2f, in the first 0.5 s "
           . "%.2f, in the last %.2f\n", '', $ratio,
           map { $rows[0][$_] / $rows[1][$_] } 5, 6;

    die "another forecaster now\n" if (status())[0] != $host;
}

print "  (above 1.10, the target)\n" if $ratio > 1.1;
