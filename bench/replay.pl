#!/usr/bin/perl

# Requests a second of CPU of predictive-replay, on one core: tsv, combined,
# and both gzipped.  Usage: replay.pl DIR-of-programs [lines [runs]]

use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use lib $FindBin::Bin;
use Front qw(median pinned);

my ($bin, $lines, $runs) = @ARGV;
$lines ||= 3_000_000;
$runs ||= 3;

my $replay = $ENV{PRD_REPLAY} or die "PRD_REPLAY is not set\n";
my $dir = tempdir(CLEANUP => 1);

printf "replay: %d lines, median of %d runs, by CPU time (best)\n", $lines,
       $runs;

for my $format ('tsv', 'combined') {
    my $log = "$dir/$format";

    system("$bin/logs $format $lines > $log && gzip -1 -k $log") == 0
        or die "no log was made\n";

    for my $file ($log, "$log.gz") {
        my @rate;

        for (1 .. $runs) {
            my $was = (times)[2] + (times)[3];

            system(pinned(0), $replay, '--quiet', '--format', $format,
                   '--capacity', '1000r/s', '--json', "$dir/json", $file)
                == 0 or die "predictive-replay failed\n";

            push @rate, $lines / ((times)[2] + (times)[3] - $was) / 1e6;
        }

        printf "  %-11s %5.0f MB  %5.2f M requests/s (%.2f)\n",
               $file =~ m{([^/]+)$}, (-s $file) / 1e6, median(@rate),
               (sort { $b <=> $a } @rate)[0];
    }

    unlink $log, "$log.gz";
}
