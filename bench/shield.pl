#!/usr/bin/perl

# What the limiter does on a labelled trace: lines "seconds client class bytes
# status label", the first "#{json}" with capacity and warm; label 0 and below
# honest, above an attack, from 101 on beyond the habit of its key.
# Usage: shield.pl TRACE.lab

use strict;
use warnings;

use File::Temp qw(tempdir);

my $trace = shift // die "usage: run.sh shield TRACE.lab\n";
my $replay = $ENV{PRD_REPLAY} or die "PRD_REPLAY is not set\n";
my $dir = tempdir(CLEANUP => 1);

open my $t, '<', $trace or die "$trace: $!\n";

my $head = <$t>;
my ($capacity) = $head =~ /"capacity":\s*([\d.]+)/ or die "no capacity\n";
my ($warm) = $head =~ /"warm":\s*([\d.]+)/ or die "no warm\n";

system($replay, '--quiet', '--format', 'tsv', '--capacity', "${capacity}r/s",
       '--warmup', sprintf('%.0fs', $warm), '--decisions', "$dir/decisions",
       '--json', "$dir/json", $trace) == 0 or die "predictive-replay failed\n";

open my $d, '<', "$dir/decisions" or die "no decisions: $!\n";

my (%n, %limited, %hours, %bad, %second);

while (my $line = <$t>) {
    my $verdict = <$d> // die "too few decisions\n";

    next if $line =~ /^#/;

    my ($s, $client, undef, undef, undef, $label) = split ' ', $line;

    next if $s < $warm;

    my $limited = $verdict !~ /^0/;
    my $hour = "$client " . int($s / 3600);

    $label = 0 if $label <= 0;
    $n{$label}++;
    $limited{$label} += $limited;
    $second{int($s / 10)}++ if !$limited;

    if ($label == 0) {
        $hours{$hour} = 1;
        $bad{$hour} = 1 if $limited;
    }
}

printf "shield: %s\n  honest: %.3f %% of %d requests, %.3f %% of the "
       . "user-hours throttled; %d s above 1.1 x capacity\n", $trace,
       100 * ($limited{0} // 0) / ($n{0} || 1), $n{0} // 0,
       100 * keys(%bad) / (keys(%hours) || 1),
       10 * grep { $_ > 11 * $capacity } values %second;

my @names = qw(- token scraper lowslow stuffing frog rotation flood);

printf "  %-9s %.1f %% of the excess admitted\n", $names[$_ - 100] // $_,
       100 * (1 - $limited{$_} / $n{$_}) for grep { $_ > 100 }
                                             sort { $a <=> $b } keys %n;
