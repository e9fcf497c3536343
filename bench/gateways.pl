#!/usr/bin/perl

# gateways.pl DIR-of-programs [-c] [-e local|pass|reject] [-l FROZEN:THAWED]
#                             [lease|strict [seconds [rate [burst [gateways]]]]]
#
# How exact is one limit of several gateways over one Redis?  Four nginx of
# two workers each; demand of eight times the limit, steady and bursty, keys
# alike and skewed; exact.c holds what was admitted against an ideal bucket.
# With 60 seconds and more it looks at windows of up to a minute.
#
# -c: no two gateways agree on the time, by up to two hours (libfaketime).
# -e: on_error, which decides what Redis does not answer within `wait` (2 ms).
# -l: Redis is late: frozen for some milliseconds, and then not for some, again
# and again.
#
# Targets: in no window of 1 to 60 s more than burst + rate x window + the
# bound that the gateways state (strict with -e reject: 0), at least 97 % used.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Front qw(request);
use File::Temp ();
use Getopt::Std;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep);
use Time::Piece ();

my $bin = shift @ARGV;
my %opt;

getopts('ce:l:', \%opt) && $bin && ($opt{l} // '1:1') =~ /^\d+:\d+$/
    or die "gateways.pl DIR [-c] [-e local|pass|reject] [-l FROZEN:THAWED]"
           . " [lease|strict [seconds [rate [burst [gateways]]]]]\n";

my ($sync, $seconds, $rate, $burst, $gateways) = @ARGV;
$sync ||= 'lease';
$seconds ||= 20;
$rate ||= 20;
$burst //= 20;
$gateways ||= 4;
$opt{e} ||= 'local';

# seconds that a gateway's clock is fast
my @fast = map { $opt{c} ? (0, 3600, -3600, 1800)[$_ % 4] : 0 }
           0 .. $gateways - 1;

my ($faketime) = glob '/usr/lib/*/faketime/libfaketimeMT.so.1';

die "no libfaketime: tools/setup bench installs it\n"
    if $opt{c} && !$faketime;

my $dir = File::Temp->newdir('prdbench-XXXXXXXX', TMPDIR => 1);
my $port = Front::free_port();

open my $f, '>', "$dir/secret" or die "secret: $!\n";
print $f "a secret of the bench, not of anybody else\n";
close $f;
chmod 0600, "$dir/secret";

my $redis = fork // die "fork: $!\n";

if ($redis == 0) {
    open STDOUT, '>', "$dir/redis.log";
    exec 'redis-server', '--port', $port, '--bind', '127.0.0.1', '--save', '',
         '--appendonly', 'no', '--dir', "$dir" or exit 127;
}

END { if ($redis) { local $?; kill 'TERM', $redis; waitpid $redis, 0 } }

for (1 .. 100) {
    last if IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => $port);
    sleep 0.05;
}

my @front = map {
    Front->new(module => 1, workers => 2,
        env => $fast[$_ - 1] ? {
                   LD_PRELOAD => $faketime,
                   FAKETIME => sprintf('%+d', $fast[$_ - 1]),
                   DONT_FAKE_MONOTONIC => 1,
                   # or pthread_cond_timedwait() returns at once, again and
                   # again
                   FAKETIME_FORCE_MONOTONIC_FIX => 0,
               } : {},
        http => "predictive_store r { server 127.0.0.1:$port; nodes $gateways;
                     on_error $opt{e}; secret file:$dir/secret; }
                 predictive_zone \$http_x_api_key zone=z:10m rate=${rate}r/s
                     learn=off store=r sync=$sync;",
        server => "predictive_log_level info;
                   location / { predictive zone=z burst=$burst nodelay;
                                empty_gif; }
                   location /predictive/ { predictive_api; }")
} 1 .. $gateways;

# the gateways must have heard of each other
sleep 3;

for (0 .. $#front) {
    my (undef, $head) = request($front[$_]->port, '/');
    my ($date) = $head =~ /^Date: (.*) GMT\r?$/m;
    my $off = Time::Piece->strptime($date, '%a, %d %b %Y %T')->epoch - time;

    abs($off - $fast[$_]) < 5
        or die "gateway $_ is $off s off, not $fast[$_]\n";
    print "gateway $_: clock $off s off\n" if $opt{c};
}

my $late = $opt{l} ? freeze(split /:/, $opt{l}) : 0;

END {
    if ($late) { local $?; kill 'KILL', $late; waitpid $late, 0 }
    kill 'CONT', $redis if $redis;
}

for my $shape (qw(steady bursty)) {
    for my $skew (qw(uniform skewed)) {
        for my $keys (1, 20) {
            next if $keys == 1 && $skew eq 'skewed';

            printf "%s, %s, %s, %d keys: ", $sync, $shape, $skew, $keys;
            $| = 1;
            system("$bin/exact", $rate, $burst, 8, $seconds, $keys, $skew,
                   $shape, map { $_->port } @front) == 0 or die;
            # every bucket is empty again
            sleep $burst / $rate + 1.5;
        }
    }
}

for (0 .. $#front) {
    my (undef, undef, $s) = request($front[$_]->port,
                                    '/predictive/zones/z?check=1');
    my ($bound) = $s =~ /"overshoot_bound":([\d.e+-]+)/;
    my ($away) = $s =~ /"lease_away":(\d+)/;
    my %books = $s =~ /"(debited|debt|refunded|admitted|returned
                         |forfeited)":([\d.]+)/gx;

    printf "gateway %d: overshoot bound %s, %s decided without Redis;"
        . " admitted %.0f, of which %.0f without a token; %.0f returned\n",
        $_, $bound // 'not told', $away // '?',
        map { $_ // -1 } @books{qw(admitted debt returned)};
    print map { "  $_\n" } grep { /\[(?:alert|emerg|crit)\]|predictive store/ }
        split /\n/, $front[$_]->log;
}


# A child that does so until we are gone.

sub freeze {
    my ($frozen, $thawed) = @_;

    my $parent = $$;
    my $pid = fork // die "fork: $!\n";

    return $pid if $pid;

    while (getppid() == $parent) {
        kill 'STOP', $redis;
        sleep $frozen / 1000;
        kill 'CONT', $redis;
        sleep $thawed / 1000;
    }

    POSIX::_exit(0);
}
