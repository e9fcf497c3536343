#!/usr/bin/perl

# A zone of 1 MB in a running nginx, and somebody who means harm: keys of
# 64 KiB, a million fresh tokens.  Clients known before (from a state file of
# predictive-replay) keep their envelope, none is refused with 5xx, CPU a
# request is bounded.  Usage: limits.pl [seconds of wrk]

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Front qw(request wrk);
use File::Temp qw(tempdir);

my $seconds = $ARGV[0] || 10;
my $dir = tempdir(CLEANUP => 1);
my $replay = $ENV{PRD_REPLAY} or die "PRD_REPLAY is not set\n";


# 100 clients of three hours each, an hour ago

my $now = time - 3600 - 4 * 3600;

open my $f, '>', "$dir/log" or die "$dir/log: $!\n";

for my $hour (0 .. 3) {
    print $f sprintf("%d\tknown-%03d\t0\t0\t200\n",
                     $now + $hour * 3600 + $_ * 3, $_) for 0 .. 99;
}

close $f;

system($replay, '--quiet', '--format', 'tsv', '--capacity', '1000r/s',
       '--warmup', '1h', '--key', '$client', '--state', "$dir/state",
       '--state-zone', 'z', '--state-key', '$http_x_api_key', "$dir/log")
    == 0 or die "predictive-replay failed\n";

my $front = Front->new(module => 1,
    http => 'predictive_zone $http_x_api_key zone=z:1m capacity=1000000r/s '
            . "warmup=1h; predictive_state $dir/state; "
            . 'large_client_header_buffers 8 128k;',
    server => 'location / { predictive zone=z;
                   add_header X-Said "$predictive_status $predictive_reason";
                   empty_gif; }
               location /predictive/ { predictive_api; }');

sub said {
    my ($key) = @_;

    my ($code, $head) = request($front->port, '/', "X-Api-Key: $key");

    return "$code " . ($head =~ /^X-Said: (.*?)\r?$/m ? $1 : '-');
}

sub known {
    return scalar grep { said(sprintf 'known-%03d', $_)
                         eq '200 PASSED forecast' } 0 .. 99;
}

sub cpu {
    my ($what) = @_;

    my $cpu = $front->cpu_ns;
    my $n = $what->();

    return ($front->cpu_ns - $cpu) / 1e3 / $n;
}

my $before = known();

my $small = cpu(sub { said("small-$_") for 1 .. 500; 500 });
my %got;
my $big = cpu(sub { $got{said('x' x 65_000 . $_)}++ for 1 .. 500; 500 });

my $one = cpu(sub { wrk($front->port, keys => 1, seconds => 3)->{requests} });
my ($run, $fresh);
$fresh = cpu(sub {
    ($run = wrk($front->port, keys => 80_000_000, seconds => $seconds))
        ->{requests}
});

my $after = known();

printf "limits in nginx: zone of 1 MB, %d of 100 known clients before, %d "
       . "after %d fresh tokens (%d errors)\n", $before, $after,
       $run->{requests}, $run->{errors};
printf "  CPU us a request: one token %.1f, fresh tokens %.1f; on a "
       . "connection each: short key %.0f, 64 KiB %.0f\n", $one, $fresh,
       $small, $big;
print "  64 KiB keys: ", join(', ', map { "$_ x $got{$_}" } sort keys %got),
      "\n";

my $bad = $before < 100 || $after < $before || $run->{errors}
          || grep { !/^(200|429) / } keys %got;

$bad ||= $fresh > 5 * $one;

print "  EXCEEDED\n" if $bad;
exit($bad ? 1 : 0);
