
# Answers 401 and 403 teach nothing, also where gateways share a limit: whoever
# guesses passwords is not to get a deeper bucket by it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

BEGIN { $ENV{PRD_TIMEOUT} ||= 240 }

use PrdRedis;
use PrdTest qw(wait_until spew);
use Test::More;
use Time::HiRes qw(time sleep);


my $slow = $PrdTest::SLOW;

# the store is the first node's
my %node = map { $_ => PrdTest->new } qw(a b);
my $redis = $node{a}->redis(9);
my $port = $node{a}->port(9);

sub conf {
    my $zones = join '', map { my ($zone, $more) = @$_; <<"END" }
predictive_zone \$arg_key zone=$zone:1m rate=100r/s burst=200 warmup=0 $more;
END
        ['plain', ''], ['lease', 'store=s'], ['strict', 'store=s sync=strict'];

    my $locations = join '', map { <<"END" } qw(plain lease strict);
    location /$_/no {
        predictive zone=$_ nodelay;
        auth_basic "none";
        auth_basic_user_file %%DIR%%/users;
    }

    location /$_/yes {
        predictive zone=$_ nodelay;
        try_files /passed =404;
    }
END

    return <<"END";
worker_processes 2;

predictive_store s {
    server 127.0.0.1:$port;
    secret file:%%DIR%%/secret;
    sync 50ms;
    wait 200ms;
    timeout 300ms;
}

$zones

server {
    listen 127.0.0.1:%%PORT%%;
    root %%DIR%%/html;

$locations
    location /api/ { predictive_api; }
}
END
}

for my $n (qw(a b)) {
    PrdRedis::secret_file($node{$n}, 'secret');
    spew($node{$n}->dir . '/html/passed', "passed\n");
    spew($node{$n}->dir . '/users', '');
    $node{$n}->conf(conf())->start;
}

ok($node{$_}->wait_for_log(qr/store "s": 2 nodes/), "$_ knows of two")
    for qw(a b);

# what the zone has learned of a key, at the node that has learned most

sub known {
    my ($zone, $key) = @_;

    my @known = sort { $b->{blocks} <=> $a->{blocks} }
                map { my $r = $node{$_}->request(
                          POST => "/api/zones/$zone/explain", body => $key);
                      my $k = PrdTest::decode_json($r->{body});
                      { blocks => $k->{learned}{blocks} // 0,
                        hour => $k->{learned}{this_hour} // 0 } } qw(a b);

    return $known[0];
}

my @zones = qw(plain lease strict);

sub ask {
    my ($what, $key, $n) = @_;

    my $wanted = $what eq 'no' ? 401 : 200;
    my $other = 0;

    for my $zone (@zones) {
        for (1 .. $n) {
            my $r = $node{a}->get("/$zone/$what?key=$key");

            $other++ if $r->{status} != $wanted;
        }
    }

    is($other, 0, "$key: $n answers $wanted of each zone");
}

# Twelve at once, of each zone and of eight keys, each at one of two nodes.

sub crowd {
    my ($key) = @_;

    my @uri = map { my $zone = $_; map { "/$zone/no?key=$key$_" } 1 .. 8 }
              @zones;
    my $other = 0;

    for my $n (qw(a b)) {
        $other += grep { $_->{status} != 401 }
                  $node{$n}->parallel([(@uri) x 6], jobs => 24);
    }

    is($other, 0, "$key: 12 answers 401 at two nodes");
}

# Guesses whose body never comes: each is answered at once, and ends when nginx
# is tired of waiting for it, in a bin of another time.

my @open;

sub endless {
    my ($key) = @_;

    my $other = 0;

    for my $zone (@zones) {
        for my $i (1 .. 8) {
            for (1 .. 4) {
                my $c = $node{a}->connect;

                $c->send("POST /$zone/no?key=$key$i HTTP/1.1\r\nHost: a\r\n"
                         . "Content-Length: 10\r\n\r\n");
                my $line = readline($c->{socket}) // '';

                $other++ if $line !~ / 401 /;
                push @open, $c;
            }
        }
    }

    is($other, 0, "$key: 4 answers 401 to requests without an end");
}

# Homes look in the middle of a bin: what they find without its answer is known
# to be denied only when they look again.  So guesses begin after that; those of
# "mix", who was let in once, in a bin in which there is something to learn.
# Homes of eight clients are at either node.

sub until_phase {
    my ($wanted) = @_;

    my $phase = time - 10 * int(time / 10);

    sleep $wanted - $phase + ($phase > $wanted ? 10 : 0);
}

until_phase(0.3);
ask('yes', "mix$_", 1) for 1 .. 8;
until_phase(5.6);

ask('no', "mix$_", 12) for 1 .. 8;
ask('no', "guess$_", 12) for 1 .. 8;
crowd('crowd');
endless('endless');
ask('yes', "user$_", 12) for 1 .. 8;

# who was let in is known

for my $zone (@zones) {
    my @blocks;

    ok(wait_until(30 * $slow, sub {
        @blocks = map { known($zone, "user$_")->{blocks} } 1 .. 8;
        return !grep { $_ == 0 } @blocks;
    }), "$zone: who was let in is learned of") or diag "@blocks";
}

sleep 10.5;                            # a tick that was late has its bin, too

for my $zone (@zones) {
    my @known;

    for my $key (qw(guess crowd endless)) {
        @known = map { known($zone, "$key$_") } 1 .. 8;

        is(join(' ', map { $_->{blocks} } @known), '0 0 0 0 0 0 0 0',
           "$zone: of who was not ($key), nothing is");
        is(join(' ', map { $_->{hour} } @known), '0 0 0 0 0 0 0 0',
           "$zone: ... nor counted");
    }

    @known = map { known($zone, "mix$_") } 1 .. 8;

    is(join(' ', map { $_->{hour} } @known), '1 1 1 1 1 1 1 1',
       "$zone: of who was let in once, that is");
}

done_testing();
