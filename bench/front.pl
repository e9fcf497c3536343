#!/usr/bin/perl

# CPU of nginx a request without a limiter, with limit_req and with
# predictive (learning, with a capacity), which answer themselves.  Each is an
# nginx of its own; rounds alternate; ratios are taken within a round.
# Usage: front.pl [rounds [seconds]]

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Front qw(median wrk);

my $rounds = $ARGV[0] // 7;
my $seconds = $ARGV[1] // 2;

my @fronts = (
    [none => Front->new(affinity => '01',
        server => 'location / { empty_gif; }')],
    [limit_req => Front->new(affinity => '01',
        http => 'limit_req_zone $http_x_api_key zone=z:200m rate=100000r/s;',
        server => 'location / { limit_req zone=z burst=1000000 nodelay; '
                  . 'empty_gif; }')],
    [predictive => Front->new(affinity => '01', module => 1,
        http => 'predictive_zone $http_x_api_key zone=z:200m '
                . 'capacity=1000000r/s warmup=5s;',
        server => 'location / { predictive zone=z; empty_gif; }')],
);

printf "front: CPU us a request of nginx 1 worker, 32 connections, %d rounds "
       . "of %d s\n%9s %-11s %8s %8s %10s %10s\n", $rounds, $seconds, 'keys',
       '', 'median', 'best', 'x none', 'x limit_req';

my $errors = 0;

for my $keys (1, 10_000, 1_000_000) {
    my %us;

    # every key is known before anything is measured

    for (@fronts) {
        my ($name, $front) = @$_;

        next if $name eq 'none' || $keys == 1;

        for (my $seen = 0; $seen < $keys * 1.02; ) {
            $seen += wrk($front->port, keys => $keys, offset => $seen,
                         seconds => $keys > 10_000 ? 5 : 1)->{requests};
        }
    }

    for my $round (0 .. $rounds - 1) {
        for ($round % 2 ? reverse @fronts : @fronts) {
            my ($name, $front) = @$_;

            my $cpu = $front->cpu_ns;
            my $got = wrk($front->port, keys => $keys, seconds => $seconds,
                          offset => $round * 1_234_567);

            $errors += $got->{errors};
            push @{$us{$name}}, ($front->cpu_ns - $cpu) / 1e3
                                / $got->{requests};
        }
    }

    for (@fronts) {
        my $name = $_->[0];
        my @by = map {
            my $base = $_;
            median(map { $us{$name}[$_] / $us{$base}[$_] } 0 .. $rounds - 1);
        } qw(none limit_req);

        printf "%9d %-11s %8.2f %8.2f %10.2f %10.2f\n", $keys, $name,
               median(@{$us{$name}}),
               (sort { $a <=> $b } @{$us{$name}})[0], @by;
    }
}

print "ERRORS: $errors requests were not answered 200\n" if $errors;

exit($errors ? 1 : 0);
