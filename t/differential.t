# Without history and pool, every verdict is limit_req's.
#
# Both modules see each request, in one location and at the same tick of
# nginx's clock, as dry runs, so that the delay or refusal of one does not
# keep the request from the other.  Compared are the verdicts and, from the
# log, the excess, from which the delay follows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep);


my @seeds = $ENV{PRD_SEED} ? $ENV{PRD_SEED} : (1 .. 5);
my $requests = 400;

# rate (exact in 1/1000 r/s, as limit_req counts), parameters of the limit

my @limits = (
    ['1r/s', ''],
    ['10r/s', 'burst=3'],
    ['10r/s', 'burst=5 nodelay'],
    ['33r/s', 'burst=8 delay=3'],
    ['100r/s', 'burst=20'],
    ['1000r/s', 'burst=2 nodelay'],
    ['30r/m', 'burst=4 delay=9'],
    ['6r/m', 'burst=6'],
    ['3r/m', 'nodelay'],
    ['60r/m', 'burst=1 delay=1'],
    ['777r/s', 'burst=100 delay=50'],
    ['5000r/s', 'burst=1'],
);

my @several = ([0, 1], [1, 2], [4, 3], [2, 7, 1], [5, 6], [10, 8]);

my ($zones, $locations) = ('', '');

for my $i (0 .. $#limits) {
    my ($rate, $param) = @{ $limits[$i] };
    my $learn = qw(on off observe)[$i % 3];

    $zones .= "limit_req_zone \$arg_k zone=l$i:64k rate=$rate;\n"
            . "predictive_zone \$arg_k zone=p$i:64k rate=$rate learn=$learn;\n";
}

my @groups = ((map { [$_] } 0 .. $#limits), @several);

for my $i (0 .. $#groups) {
    my $both = join '', map {
        "        limit_req zone=l$_ $limits[$_][1];\n" .
        "        predictive zone=p$_ $limits[$_][1];\n"
    } @{ $groups[$i] };

    $locations .= "    location = /$i {\n$both        empty_gif;\n    }\n";
}

my $t = PrdTest->new;

$t->conf(<<"END")->start;
$zones
log_format both "\$arg_n \$limit_req_status \$predictive_status";
access_log %%DIR%%/access.log both;

keepalive_requests 100000;
limit_req_dry_run on;
predictive_dry_run on;
limit_req_log_level notice;
predictive_log_level notice;

server {
    listen 127.0.0.1:%%PORT%%;
$locations}
END


my $n = 0;
my %seen;

for my $seed (@seeds) {
    srand $seed;

    my $first = $n;
    my $c = $t->connect;

    # bursts of some requests of some clients, and pauses of 0 to 40 ms

    while ($n < $first + $requests) {
        my $burst = 1 + int rand(rand() < 0.2 ? 30 : 4);

        $c->send(join '', map {
            my $uri = sprintf '/%d?k=%s%d&n=%d', int rand @groups, $seed,
                              int(rand(2) ** 2), $n + $_;
            $c->format(GET => $uri);
        } 1 .. $burst);

        $c->response for 1 .. $burst;
        $n += $burst;

        sleep rand() * 0.04 if rand() < 0.4;
    }

    $t->wait_for_log(qr/^$n /, log => 'access');

    my (@differ, %log, $delays);

    for ($t->log_lines(qr/^\d+ /, 'access')) {
        my ($i, $limit_req, $predictive) = split / /;

        next if $i <= $first;

        $seen{$limit_req}++;
        push @differ, $_ if $limit_req ne $predictive;
    }

    is("@differ", '', "seed $seed: verdicts of " . ($n - $first)
                      . ' requests');

    for ($t->log_lines(qr/dry run, excess/)) {
        /excess:\ ([\d.]+),?\ by\ zone\ "([lp])(\d+)".*[&?]n=(\d+)\ /x or next;
        $log{$4}{$2} = "$3:$1" if $4 > $first;
    }

    # of equal delays limit_req tells the last, we tell the first

    @differ = grep {
        my ($l, $p) = @{ $log{$_} }{'l', 'p'};

        !defined $l || !defined $p
        || ($l ne $p && $l =~ s{:.*}{}r eq $p =~ s{:.*}{}r);
    } keys %log;

    is("@differ", '', "seed $seed: excess of " . keys(%log) . ' requests');
}

cmp_ok($seen{$_} || 0, '>', 50, "there were $_")
    for qw(PASSED DELAYED_DRY_RUN REJECTED_DRY_RUN);


# The same in earnest, where a millisecond more or less makes no difference.

$zones = '';
$locations = '';

for my $burst (1 .. 4) {
    for my $what (['limit_req', 'lim'], ['predictive', 'pre']) {
        my ($name, $short) = @$what;

        $zones .= "${name}_zone \$arg_k zone=$short$burst:64k rate=1r/m;\n";
        $locations .= "    location /$short$burst {
            $name zone=$short$burst burst=$burst nodelay;
            ${name}_status 503;
            empty_gif;
        }\n";
    }
}

ok($t->reload(<<"END", wait_old => 1), 'reload');
$zones
server {
    listen 127.0.0.1:%%PORT%%;
$locations}
END

for my $seed (@seeds) {
    srand $seed;

    my %statuses;

    for (1 .. 60) {
        my $burst = 1 + int rand 4;
        my $key = $seed . int rand 3;

        push @{ $statuses{$_} }, $t->get("/$_$burst?k=$key")->{status}
            for qw(lim pre);
    }

    is("@{$statuses{pre}}", "@{$statuses{lim}}", "seed $seed: statuses");
}

done_testing();
