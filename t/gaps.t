
# A log in which hardly anything comes: what predictive-replay makes of the
# time in between is what nginx makes of it, where bins without a request are
# bins of nothing and not unknown.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

$t->conf(<<'END');
predictive_zone $arg_key zone=one:1m rate=10r/s burst=100;
predictive_state %%DIR%%/state/learned;

server {
    listen 127.0.0.1:%%PORT%%;

    location / { predictive zone=one nodelay; return 204; }
    location /api/ { predictive_api; }
}
END

# two days until now: 20 requests in 5 s, every ten minutes, and two nights
# without any; the last ones were seven minutes ago

my $end = time;
my @requests;

for (my $s = $end - 2 * 86400 - 420; $s < $end; $s += 600) {

    next if ($end - $s) % 86400 < 8 * 3600 && $end - $s > 3600;

    push @requests, map { [$s + int($_ / 4), "key=k$_"] } 1 .. 20;
}

$t->learn('one', @requests, [$end, 'key=last']);
$t->start;

my $outlook = $t->json('/api/zones/one')->{outlook};
my ($minute) = @{ $outlook->{minutes} };
my ($five) = @{ $outlook->{five_minutes} };

# one minute in ten has 20, and most days two thirds of them

cmp_ok($minute->{forecast_rps} * 60, '<', 3, 'a minute: mostly nothing');
cmp_ok($minute->{upper99_rps} * 60, '>', 5, '... and at times many');
cmp_ok($minute->{upper99_rps} * 60, '<', 60, '... as many as ever came');
cmp_ok($five->{forecast_rps} * 300, '<', 19,
       'five minutes: every other has none');

for my $p (@{ $outlook->{minutes} }) {
    cmp_ok($p->{forecast_rps} * 60, '<', 5,
           "$p->{horizon_seconds} s ahead: not that of busy minutes");
}

done_testing();
