# $predictive_*, in logs and headers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;
my $names = 'status reason zone key rate burst forecast remaining retry_after '
            . 'delay group pool pool_upstream';
my $log = join ' ', map { "$_=\$predictive_$_" } split / /, $names;

$t->conf(<<"END")->start;
predictive_zone \$arg_k zone=one:1m rate=1.5r/s learn=off;
predictive_zone \$arg_k zone=slow:1m rate=1000r/d burst=3 learn=off;
predictive_zone \$arg_o zone=two:1m rate=2r/m learn=off;
predictive_zone \$arg_k zone=cost:1m rate=1r/m cost=\$arg_cost learn=off;
predictive_zone \$arg_k zone=fast:1m rate=4r/s learn=off;

log_format vars "\$arg_n $log";
access_log %%DIR%%/access.log vars;

# asked for before there is a verdict: must not stick

map \$predictive_status \$early { default none; PASSED passed; }

server {
    listen 127.0.0.1:%%PORT%%;

    if (\$predictive_status = x) { return 500; }

    location = /free { empty_gif; }

    location = /one {
        predictive zone=one burst=4 nodelay;
        add_header X-Status \$predictive_status always;
        add_header X-Key \$predictive_key always;
        add_header X-Retry \$predictive_retry_after always;
        add_header X-Group \$predictive_group always;
        empty_gif;
    }

    location = /slow { predictive zone=slow nodelay; empty_gif; }
    location = /two { predictive zone=one burst=9 nodelay;
                      predictive zone=two nodelay; empty_gif; }
    location = /delays { predictive zone=one burst=9 nodelay;
                         predictive zone=fast burst=9; empty_gif; }
    location = /cost { predictive zone=cost burst=9 nodelay; empty_gif; }
    location = /dry { predictive zone=two; predictive_dry_run on;
                      empty_gif; }
}
END


# values in the log of the request with n=N

sub vars {
    my ($n) = @_;

    $t->wait_for_log(qr/^$n /, log => 'access');

    my ($line) = $t->log_lines(qr/^$n /, 'access') or return {};

    return { map { /^(\w+)=(.*)/ ? ($1, $2) : () } split / /, $line };
}

my $n = 0;

sub ask {
    my ($uri) = @_;

    $n++;
    $uri .= ($uri =~ /\?/ ? '&' : '?') . "n=$n";

    my $r = $t->get($uri);

    return ($r, vars($n));
}


my ($r, $v) = ask('/free');

is(join(' ', map { "$_=$v->{$_}" } split / /, $names),
   join(' ', map { "$_=-" } split / /, $names), 'no limit, no values');

($r, $v) = ask('/one');
is($v->{status}, '-', 'no key, no values');
ok(!exists $r->{headers}{'x-status'}, 'no header then');

($r, $v) = ask('/one?k=a');
is($v->{status}, 'PASSED', 'status');
is($v->{reason}, 'quota', 'reason');
is($v->{zone}, 'one', 'zone');
like($v->{key}, qr/^[0-9a-f]{16}$/, 'key');
is($v->{rate}, '1.5', 'rate');
is($v->{burst}, '5', 'burst');
is($v->{forecast}, '-', 'forecast: nothing is known yet');
is($v->{remaining}, '4', 'remaining');
is($v->{retry_after}, '-', 'retry_after');
is($v->{delay}, '0.000', 'delay');
is($v->{$_}, '-', "$_: of a later version") for qw(group pool pool_upstream);
is($r->{headers}{'x-status'}, 'PASSED', 'as a header');
is($r->{headers}{'x-key'}, $v->{key}, 'as another');
ok(!exists $r->{headers}{"x-$_"}, "empty ones make none") for qw(retry group);

my $key = $v->{key};

is((ask('/one?k=a'))[1]{key}, $key, 'the same key');
isnt((ask('/one?k=b'))[1]{key}, $key, 'another one');

ask('/one?k=a') for 1 .. 3;

($r, $v) = ask('/one?k=a');
is($r->{status}, 429, 'refused');
is($v->{status}, 'REJECTED', 'status');
is($v->{remaining}, '0', 'remaining');
like($v->{retry_after}, qr/^[12]$/, 'retry_after');
is($r->{headers}{'x-retry'}, $r->{headers}{'retry-after'},
   'the same as the header says');
is($r->{headers}{'x-retry'}, $v->{retry_after}, 'and the log');

($r, $v) = ask('/slow?k=a');
is($v->{rate}, '0.012', 'rate: three decimals');
is($v->{burst}, '4', "burst: the zone's");

($r, $v) = ask('/cost?k=a&cost=2.5');
is($v->{remaining}, '7', 'remaining: whole tokens');
($r, $v) = ask('/cost?k=a&cost=7');
is($v->{remaining}, '0', 'remaining: of a cost');
($r, $v) = ask('/cost?k=a&cost=3');
is("$v->{status} $v->{remaining}", 'REJECTED 0', 'remaining: less than one');
($r, $v) = ask('/cost?k=b&cost=9');
($r, $v) = ask('/cost?k=b&cost=3');
is("$v->{status} $v->{remaining}", 'REJECTED 1',
   'remaining: what was refused is still there');
like($v->{retry_after}, qr/^1[2-3]\d$/, 'retry_after: two tokens of 1r/m');


# several limits: the refusing one, else the longest delay, else the first

($r, $v) = ask('/two?k=c&o=c');
is("$v->{status} $v->{zone}", 'PASSED one', 'the first');
($r, $v) = ask('/two?k=c&o=c');
is("$v->{status} $v->{zone}", 'REJECTED two', 'the refusing');

ask('/delays?k=d');
($r, $v) = ask('/delays?k=d');
is("$v->{status} $v->{zone}", 'DELAYED fast', 'the delaying');
like($v->{delay}, qr/^0\.[012]\d\d$/, 'delay');

($r, $v) = ask('/dry?o=e');
is($v->{status}, 'PASSED', 'dry run, passed');
($r, $v) = ask('/dry?o=e');
is("$v->{status} $v->{reason}", 'REJECTED_DRY_RUN quota', 'dry run');
like($v->{retry_after}, qr/^3\d$/, 'retry_after of a dry run');

done_testing();
