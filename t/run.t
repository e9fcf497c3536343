# A client that floods a worker: what the worker keeps of such a run is right
# while it lasts, and in the zone as soon as the worker has nothing to do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

$t->conf(<<'END')->start;
predictive_zone $arg_k zone=z:256k rate=1r/m burst=3000 learn=observe;
predictive_zone $arg_k zone=other:256k rate=1r/m burst=3000;

log_format run "$arg_k $predictive_status $predictive_remaining";
access_log %%DIR%%/access.log run;
keepalive_requests 100000;

server {
    listen 127.0.0.1:%%PORT%%;

    location = / { predictive zone=z nodelay; empty_gif; }
    location = /two { predictive zone=z nodelay; predictive zone=other nodelay;
                      empty_gif; }
    location /api/ { predictive_api; }
}
END


sub level {
    my $r = $t->request(POST => '/api/zones/z/explain', body => $_[0]);

    return PrdTest::decode_json($r->{body})->{bucket}{level};
}


my %sent = (a => 777, b => 1234, c => 42, d => 505);

for my $k (sort keys %sent) {
    $t->pipeline(map { "/?k=$k" } 1 .. $sent{$k});

    cmp_ok(abs(level($k) - $sent{$k}), '<', 0.5,
           "$sent{$k} requests are the bucket's level");
}

# others between, and one that is limited twice

my @mixed = map { ('/?k=e') x 20, '/?k=f', '/two?k=e' } 1 .. 30;

$t->pipeline(@mixed);

cmp_ok(abs(level('e') - 630), '<', 0.5, 'with others between');
cmp_ok(abs(level('f') - 30), '<', 0.5, 'and these');

# a limit is a limit

$t->pipeline(map { '/?k=g' } 1 .. 3100);

cmp_ok(abs(level('g') - 3001), '<', 0.5, 'as many as the bucket holds');

my %seen;

$t->wait_for_log(qr/^g /, log => 'access', count => 3100);

for ($t->log_lines(qr/^\w \w+ /, 'access')) {
    my ($k, $status, $left) = split;
    $seen{$k}{$status}++;
    $seen{$k}{wrong}++ if $status eq 'PASSED'
                          && abs($left - 3001 + ++$seen{$k}{n}) > 1;
}

is($seen{$_}{wrong}, undef, "each request of $_ met the level before it")
    for qw(a b c d e f g);
is($seen{g}{PASSED}, 3001, 'admitted');
is($seen{g}{REJECTED}, 99, 'refused');

# workers come and go in the middle of runs: what was charged ahead goes back

my $flood = $t->fork_process('a flood', sub {
    for (1 .. 40) {
        $t->pipeline(('/?k=h') x 30);
        select undef, undef, undef, 0.02;
    }
});

ok($t->reload(undef, wait_old => 1), "reload $_") for 1 .. 3;

is(waitpid($flood->{pid}, 0), $flood->{pid}, 'the flood is over');

my $passed = () = $t->log_lines(qr/^h PASSED /, 'access');

cmp_ok($passed, '>', 600, "$passed requests meanwhile");
cmp_ok(abs(level('h') - $passed), '<', 0.5, 'and as many in the bucket');

done_testing();
