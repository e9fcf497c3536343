# The batch script in a real Redis: random entries against the same rules in
# Perl, and each thing that can be wrong with a key or an entry.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(slurp);
use List::Util qw(max min);
use POSIX qw(ceil floor);
use Test::More;
use Time::HiRes qw(time sleep);


my $t = PrdTest->new;
my $client = PrdRedis->new($t, 1)->connect;

sub redis { $client->call(@_) }


# The body of the script, as the C compiler reads it.

my ($source) = slurp("$PrdTest::ROOT/src/prd_script.c")
               =~ /prd_script_batch\[\] =\n(.*?);\n$/s;
my $script = join '', map { s/\\(.)/$1 eq 'n' ? "\n" : $1/ger }
                      $source =~ /^"(.*)"$/gm;

my $sha = redis('SCRIPT', 'LOAD', $script);

ok(!ref $sha, 'the script is one') or diag($$sha);


# An entry, a value and a reply: what src/prd_lease.h and prd_script.h say.

use constant { ASK => 1, WANT => 2, LOAD => 4, AGAIN => 8, CLIPPED => 16,
               TOP => 4294967295 };

my @numbers = qw(cost want returned debt most free debt_most quantum admitted
                 refused_cost uncounted denied peak backlog backlog_most);

sub entry {
    my %e = (key => 0, flags => 0, version => 0, (map { $_ => 0 } @numbers),
             most => 10000, free => 10000, debt_most => 20000,
             quantum => 1000, backlog_most => TOP, drain => 1,
             backlog_drain => 1, @_);

    return \%e;
}

sub packed {
    return join '', map { pack 'CCv V15 d<d<', @{$_}{'key', 'flags',
        'version', @numbers, 'drain', 'backlog_drain'} } @_;
}

my @fields = qw(v level time backlog act admitted denied peak version
                envelope);

sub value_of {
    my ($s) = @_;

    return undef if !defined $s || ref $s;

    my %v;

    @v{@fields} = unpack 'C d< d< f< V4 v Q<', $s;
    $v{profile} = substr $s, 47;

    return \%v;
}

sub value {
    my %v = (v => 1, (map { $_ => 0 } @fields[1 .. 9]), profile => '', @_);

    return pack('C d< d< f< V4 v Q<', @v{@fields}) . $v{profile};
}

sub header {
    my %h = (version => 1, flags => 2, nodes => 1, @_);

    return pack 'CCvV', @h{'version', 'flags', 'nodes'}, 0;
}

sub raw {
    my ($keys, $header, $entries) = @_;

    return redis('EVALSHA', $sha, scalar @$keys, @$keys, $header, $entries);
}

sub run {
    my ($keys, $header, @entries) = @_;

    my $s = raw($keys, $header, packed(@entries));

    die "script: $$s\n" if ref $s;

    my ($version, $n) = unpack 'Cxv', substr $s, 0, 8, '';

    die "reply of $version, $n entries\n"
        if $version != 1 || $n != @entries;

    my @r;

    for (1 .. $n) {
        my %r;

        @r{qw(status flags version level grant backlog)}
            = unpack 'CCvV3', substr $s, 0, 16, '';
        $r{envelope} = unpack 'Q<', substr($s, 0, 6, '') . "\0\0"
            if $r{flags} & 1;
        $r{profile} = substr $s, 0, ord(substr $s, 0, 1, ''), ''
            if $r{flags} & 2;

        push @r, \%r;
    }

    die length($s) . " bytes are left of the reply\n" if length $s;

    return @r;
}

sub one { return (run(@_))[0] }

my $next = 0;

sub new_key { return sprintf 'prd:1:{z:s%03d}:%016x', 5, ++$next }


# The rules.  $v is the value before, $dt what the store's clock went on by.

sub model {
    my ($v, $e, $dt, $nodes) = @_;

    $v->{level} = max($v->{level} - $e->{drain} * $dt, 0);
    $v->{level} = max($v->{level} - $e->{returned}, 0);
    $v->{level} = max($v->{level}, min($v->{level} + $e->{debt},
                                       $e->{debt_most})) if $e->{debt};

    my ($offered, $status) = ($e->{admitted} + $e->{refused_cost}, 0);
    my $admits = $e->{admitted};

    if ($e->{flags} & ASK) {
        $offered += $e->{cost} if !($e->{flags} & AGAIN);

        if ($v->{level} + $e->{cost} <= $e->{most} + 0.001) {
            $v->{level} = max($v->{level}, min($v->{level} + $e->{cost},
                                               $e->{debt_most}));
            $admits += $e->{cost};

        } else {
            $status = 1;
        }
    }

    my $grant = 0;

    if ($e->{flags} & WANT) {
        my $room = max($e->{free} - ceil($v->{level}), 0);

        $room = floor($room / 2)
            if $room < $e->{free} - floor($e->{free} / 2);

        $grant = min($e->{want}, floor($room / $nodes));
        $grant -= $grant % $e->{quantum};
        $v->{level} += $grant;
    }

    my $denied = $e->{flags} & CLIPPED ? 0 : $e->{denied};

    $v->{backlog} = max($v->{backlog} - $e->{backlog_drain} * $dt, 0);
    my $most = max($v->{backlog}, $e->{backlog_most});
    $v->{backlog} += min($offered, $e->{backlog} + $denied) - $denied;
    $v->{backlog} = min(max($v->{backlog}, 0), $most);
    $v->{admitted} = max($v->{admitted} + $admits - $e->{uncounted}, 0);
    $v->{denied} += $e->{denied};
    $v->{peak} = max($v->{peak}, $e->{peak}, ceil($v->{backlog}));

    return ($status, $grant);
}

srand 7;

my @wrong;
my ($asked, $admitted, $granted) = (0, 0, 0);

for my $round (1 .. 400) {
    my @keys = map { sprintf 'prd:1:{z:s001}:%016x', int rand 5 }
               1 .. 1 + rand 4;
    my $nodes = 1 + int rand 4;
    my @entries = map {
        entry(key => int rand @keys,
              flags => int(rand 4) | AGAIN * int(rand 2)
                       | CLIPPED * int(rand 2),
              cost => int rand 3000,
              want => int(rand 6) * 1000,
              returned => rand() < 0.3 ? int rand 3000 : 0,
              debt => rand() < 0.2 ? int rand 30000 : 0,
              most => int rand 15000,
              free => int rand 12000,
              debt_most => 20000,
              quantum => rand() < 0.5 ? 1000 : 700,
              admitted => int rand 4000,
              refused_cost => int rand 2000,
              denied => rand() < 0.3 ? int rand 3000 : 0,
              uncounted => rand() < 0.3 ? int rand 3000 : 0,
              peak => int rand 9000,
              backlog => int rand 6000,
              backlog_most => rand() < 0.5 ? TOP : 12000,
              drain => rand 3,
              backlog_drain => rand 3)
    } 1 .. 1 + rand 12;

    my %v = map { $_ => value_of(redis('GET', $_)) } @keys;
    my @r = run(\@keys, header(nodes => $nodes), @entries);
    my %after = map { $_ => value_of(redis('GET', $_)) } @keys;

    for my $i (0 .. $#entries) {
        my ($e, $r, $key) = ($entries[$i], $r[$i], $keys[$entries[$i]{key}]);
        my $v = $v{$key} ||= { map { $_ => 0 } @fields };

        # the first entry of a key drains, those after it are at one time

        my $dt = $v->{time} ? $after{$key}{time} - $v->{time} : 0;

        $v->{time} = $after{$key}{time};

        my ($status, $grant) = model($v, $e, $dt, $nodes);

        $asked += $e->{flags} & ASK;
        $admitted++ if $e->{flags} & ASK && !$status;
        $granted += $grant > 0;

        push @wrong, "$round.$i: status $r->{status} for $status, grant "
            . "$r->{grant} for $grant, level $r->{level} for $v->{level}, "
            . "backlog $r->{backlog} for $v->{backlog}"
            if $r->{status} != $status || $r->{grant} != $grant
               || abs($r->{level} - $v->{level}) > 1.01
               || abs($r->{backlog} - $v->{backlog}) > 1.01;

        # the single precision of the backlog would add up

        $v->{level} = $v->{level};
    }

    for my $key (keys %after) {
        my ($v, $a) = ($v{$key}, $after{$key});

        next if !$a;

        for (qw(level admitted denied)) {
            push @wrong, "$round: $_ $a->{$_} for $v->{$_}"
                if abs($a->{$_} - $v->{$_}) > 0.01;
        }

        push @wrong, "$round: peak $a->{peak} for $v->{peak}"
            if abs($a->{peak} - $v->{peak}) > 1;
    }

    # what the home does in between

    redis('DEL', map { sprintf 'prd:1:{z:s001}:%016x', $_ } 0 .. 4)
        if rand() < 0.05;
}

is(scalar @wrong, 0, "400 batches as in Perl: $admitted of $asked admitted, "
   . "$granted grants") or diag(join "\n", @wrong[0 .. min(9, $#wrong)]);
ok($admitted > 100 && $asked - $admitted > 100 && $granted > 50,
   'all kinds were among them');


# Many nodes at a key for two seconds: the bound.

{
    my $key = new_key();
    my ($rate, $burst) = (0.5, 10000);     # units a millisecond
    my ($sum, $out, $most_out) = (0, 0, 0);
    my @held = (0) x 4;
    my $begin = time;
    my $n = 0;

    while (time < $begin + 2) {
        my $node = int rand 4;
        my %e = (drain => $rate, most => $burst, free => $burst,
                 cost => 500, quantum => 500);

        $n++;

        if ($held[$node] >= 500 && rand() < 0.6) {
            $held[$node] -= 500;
            $sum += 500;
            next;
        }

        my $back = rand() < 0.2 ? $held[$node] : 0;

        $held[$node] -= $back;

        my $r = one([$key], header(nodes => 4),
                    entry(%e, flags => ASK | WANT, want => 4000,
                          returned => $back));

        $sum += 500 if $r->{status} == 0;
        $held[$node] += $r->{grant};
        $out = $held[0] + $held[1] + $held[2] + $held[3];
        $most_out = max($most_out, $out);
    }

    my $v = value_of(redis('GET', $key));
    my $bound = $burst + $rate * (time - $begin) * 1000;

    cmp_ok($sum, '<=', $bound, "admitted $sum of at most $bound in $n steps");
    cmp_ok($sum + $out, '>', $bound - 3000,
           "and hardly less ($out in hand, $most_out at most)");
    cmp_ok($v->{level}, '<=', $burst, 'the level is below the burst');
}


# Time is the store's, in milliseconds.

{
    my $key = new_key();
    my @now = @{redis('TIME')};

    one([$key], header(), entry(flags => ASK, cost => 5000, drain => 2));

    my $v = value_of(redis('GET', $key));

    cmp_ok(abs($v->{time} - $now[0] * 1000 - $now[1] / 1000), '<', 2000,
           'milliseconds of the clock');
    cmp_ok(abs($v->{act} / 2 - $now[0]), '<=', 2, 'seconds of the active');

    # an hour ahead: the clock went back, nothing drains, and then it does

    redis('SET', $key, value(level => 9000, time => $v->{time} + 3600e3));
    my $r = one([$key], header(), entry());
    is($r->{level}, 9000, 'a clock that went back drains nothing');
    sleep 0.05;
    $r = one([$key], header(), entry(drain => 20));
    cmp_ok($r->{level}, '<', 8100, 'and goes on from there');

    redis('SET', $key, value(level => 9000, time => $v->{time} - 2000));
    $r = one([$key], header(), entry(drain => 2));
    cmp_ok($r->{level}, '<', 5000, 'two seconds at 2 a ms are 4000');
    cmp_ok($r->{level}, '>', 1000, 'and not much more');
}


# How long keys live: milliseconds.

{
    my $key = new_key();
    my $ttl = sub { return redis('PTTL', $key) };
    my $about = sub {
        my ($most, $name) = @_;
        my $ms = $ttl->();

        ok($ms <= $most && $ms > $most - 3000, $name)
            or diag("$ms ms for $most");
    };

    one([$key], header(), entry(flags => ASK, cost => 4000, drain => 0.1));
    $about->(100_000, 'a stranger: drained in 40 s, and a minute');

    one([$key], header(), entry(drain => 1e9));
    $about->(60_000, 'drained: a minute');

    one([$key], header(), entry(flags => ASK, cost => 4000, drain => 0));
    $about->(86_460_000, 'never drained: a day and a minute');

    one([$key], header(), entry(flags => ASK, cost => 1, drain => 1e-9));
    $about->(86_460_000, 'in years: a day and a minute');

    redis('SET', $key, value(profile => 'p' x 46, envelope => 10 << 42 | 1,
                             version => 1));
    one([$key], header(), entry());
    $about->(3_600_000, 'learned of, not known yet: an hour');

    redis('SET', $key, value(profile => 'p' x 46, envelope => 1 << 42 | 1,
                             version => 1));
    one([$key], header(), entry());
    $about->(1_209_600_000, 'known, though trusted less now: two weeks');

    redis('SET', $key, value(profile => 'p' x 46, envelope => 12 << 42 | 1,
                             version => 1));
    one([$key], header(), entry());
    $about->(1_209_600_000, 'known: two weeks');

    is(value_of(redis('GET', $key))->{profile}, 'p' x 46,
       'and the profile stays');
    $key = 'prd:1:{z:s005}:act';
    $about->(3_600_000, 'the active: an hour');
}


# The active, of which the home is told.

{
    my $key = new_key();
    my $id = substr $key, -16;
    my $set = 'prd:1:{z:s005}:act';
    my $is = sub { return redis('SISMEMBER', $set, $id) };

    one([$key], header(flags => 0), entry(flags => ASK, cost => 1000));
    is($is->(), 0, 'learn=off: nobody is told');
    is(value_of(redis('GET', $key))->{admitted}, 0, 'and nothing is counted');

    one([$key], header(), entry(returned => 100));
    is($is->(), 0, 'a return is no activity');

    one([$key], header(), entry(flags => ASK, cost => 1000));
    is($is->(), 1, 'a request is');
    redis('SREM', $set, $id);
    one([$key], header(), entry(flags => ASK, cost => 1000));
    is($is->(), 0, 'once, until the home has looked');

    my $v = value_of(redis('GET', $key));

    redis('SET', $key, value(%$v, admitted => 0, denied => 0, peak => 0));
    one([$key], header(), entry(refused_cost => 1000));
    is($is->(), 1, 'and again then');

    $v = value_of(redis('GET', $key));
    redis('SREM', $set, $id);
    redis('SET', $key, value(%$v, act => $v->{act} - 2 * 61));
    one([$key], header(), entry(flags => ASK, cost => 1000));
    is($is->(), 1, 'and after a minute, since the set may have been lost');
}


# What was denied after the home had looked: of who comes back soon.

for ([50, 5000], [61, 0]) {
    my ($idle, $left) = @$_;
    my $key = new_key();
    my $ms = time * 1000 - $idle * 1000;

    redis('SET', $key, value(time => $ms, denied => 5000));
    one([$key], header(), entry(admitted => 3000, backlog => 3000));
    my $v = value_of(redis('GET', $key));
    is($v->{denied}, $left, "after $idle s, $left are taken off");
    is($v->{admitted}, 3000, 'of what is admitted');

    redis('SET', $key, value(time => $ms, admitted => 1000, denied => 5000));
    one([$key], header(), entry(admitted => 3000, backlog => 3000));
    is(value_of(redis('GET', $key))->{denied}, 5000,
       'until the home has looked, as many as there were');
}


# Demand of long ago has drained where it came from; what was denied, too.

{
    my $key = new_key();
    my $v = sub { return value_of(redis('GET', $key))->{backlog} };

    one([$key], header(), entry(admitted => 9000, backlog => 4000,
                                backlog_drain => 0));
    is($v->(), 4000, 'of 9 that came, 4 are a backlog');
    one([$key], header(), entry(admitted => 3000, denied => 2000,
                                backlog => 1000, backlog_drain => 0));
    is($v->(), 5000, 'of 3 that came 2 were denied');
    one([$key], header(), entry(denied => 3000, backlog_drain => 0));
    is($v->(), 2000, 'as were 3 of the former');
    one([$key], header(), entry(backlog => 90000, backlog_drain => 0));
    is($v->(), 2000, 'a backlog alone is none');
}


# Envelopes and profiles.

{
    my $key = new_key();
    my $envelope = 20 << 42 | 12345 << 21 | 6789;

    redis('SET', $key, value(version => 7, envelope => $envelope,
                             profile => 'profile'));

    my $r = one([$key], header(), entry(version => 7));
    is($r->{flags}, 0, 'known already');
    is($r->{version}, 7, 'its version');

    $r = one([$key], header(), entry(version => 6));
    is($r->{flags}, 1, 'another one is news');
    is($r->{version}, 7, 'the new version');
    is($r->{envelope}, $envelope, 'the envelope');

    $r = one([$key], header(), entry(version => 7, flags => LOAD));
    is($r->{flags}, 2, 'the profile, when asked for');
    is($r->{profile}, 'profile', 'as it is');

    my @r = run([$key, new_key()], header(),
                entry(version => 1, flags => LOAD),
                entry(key => 1, flags => LOAD),
                entry(version => 7));
    is_deeply([map { $_->{flags} } @r], [3, 0, 0], 'several in a reply');

    my $v = value_of(redis('GET', $key));
    is($v->{envelope}, $envelope, 'stays in the value');
    is($v->{version}, 7, 'so does its version');
}


# Whole tokens and thousandths of them.

{
    my $key = new_key();

    one([$key], header(), entry(flags => ASK, cost => 5000, drain => 0));

    my $r = one([$key], header(flags => 3), entry(drain => 0));

    is($r->{level}, 5, 'a node that counts whole tokens');
    $r = one([$key], header(), entry(drain => 0));
    is($r->{level}, 5000, 'and one that counts thousandths');
    is(value_of(redis('GET', $key))->{admitted}, 5000, 'counts, too');
}


# Whatever a key holds.

{
    my @bad = map { new_key() } 1 .. 3;
    my $good = new_key();

    redis('HSET', $bad[0], 'f', 1);
    redis('LPUSH', $bad[1], 'x');
    redis('SADD', $bad[2], 'x');

    my @r = run([@bad, $good], header(),
                (map { entry(key => $_, flags => ASK | WANT, cost => 1000,
                             want => 1000) } 0, 3, 1, 3, 2, 3),
                entry(key => 9, flags => ASK, cost => 1000));

    is_deeply([map { $_->{status} } @r], [2, 0, 2, 0, 2, 0, 2],
              'keys of another type, and no key: the others are served');
    is($r[5]{level}, 6000, 'to the full');
    is(redis('HGET', $bad[0], 'f'), 1, 'a hash is left alone');

    my %values = (
        'empty'           => '',
        'one byte'        => "\1",
        'cut off'         => substr(value(level => 5000), 0, 46),
        'another version' => value(v => 2, level => 5000),
        'text'            => 'hello, I am the value of some other program',
        'not a number'    => value(level => 'nan'),
        'infinite'        => value(level => 9 ** 9 ** 9),
        'below nothing'   => value(level => -1),
        'backlog'         => value(level => 5000, backlog => -9 ** 9 ** 9),
        'backlog nan'     => value(level => 5000, backlog => 'nan'),
    );

    for (sort keys %values) {
        redis('SET', $good, $values{$_});
        my $r = one([$good], header(), entry(flags => ASK, cost => 1000));

        is("$r->{status} $r->{level}", '0 1000', "$_: as if absent");
        is(length redis('GET', $good), 47, 'and written anew');
    }

    redis('SET', $good, value(level => 5000, time => 'nan'));
    is(one([$good], header(), entry(flags => ASK, cost => 1000))->{level},
       6000, 'a time that is none: nothing drains');

    redis('SET', $good, value(level => 5000, time => 1,
                              profile => 'x' x 65, version => 1,
                              envelope => 1));
    is(one([$good], header(), entry(flags => LOAD))->{flags}, 1,
       'a profile that is too long is dropped');

    for (1 .. 2000) {
        redis('SET', $good, join '', chr(1),
              map { chr rand 256 } 1 .. 40 + rand 80);

        my $r = eval { one([$good], header(flags => int rand 4),
                           entry(flags => 7, cost => 1000, want => 3000)) };

        if (!$r || $r->{status} > 1 || $r->{grant} > 3000) {
            fail('bytes at random: ' . ($@ || 'a reply'));
            last;
        }
    }

    # a value that cannot be written: all or nothing is lost, no more

    my $r = raw([$good], header(version => 2), packed(entry()));
    like(ref $r ? $$r : '', qr/^PRD /, 'another version of the protocol');
    $r = raw([$good], header(), packed(entry()) . 'x');
    like(ref $r ? $$r : '', qr/^PRD /, 'a part of an entry');
    $r = raw([$good], header(), '');
    like(ref $r ? $$r : '', qr/^PRD /, 'no entry');
    $r = raw([$good], header(), packed(map { entry() } 1 .. 65));
    like(ref $r ? $$r : '', qr/^PRD /, '65 entries');
    ok(!ref raw([$good], header(), packed(map { entry() } 1 .. 64)), '64 are not too many');
    ok(ref raw([$good], 'x', packed(entry())), 'no header');

    redis('DEL', $good);
    $r = one([$good], header(nodes => 0),
             entry(flags => ASK | WANT, cost => 1000, want => 2000,
                   quantum => 0, drain => -1, backlog_drain => 'nan'));
    is("$r->{status} $r->{level} $r->{grant}", '0 3000 2000',
       'no nodes, no quantum, a drain that is none');

    $r = one([$good], header(),
             entry(flags => ASK, cost => TOP, most => TOP, debt => TOP,
                   admitted => TOP, denied => TOP, refused_cost => TOP,
                   peak => TOP, debt_most => TOP));
    is("$r->{status} $r->{level}", '0 ' . TOP, 'all at their greatest');
    $r = one([$good], header(),
             entry(flags => ASK, cost => TOP, most => TOP, admitted => TOP,
                   debt_most => TOP));
    is("$r->{status} $r->{level}", '0 ' . TOP, 'and beyond');
}


# Several entries of a key, next to each other and not.

{
    my @keys = map { new_key() } 1 .. 2;
    my @r = run(\@keys, header(),
                map { entry(key => $_, flags => ASK, cost => 3000,
                            drain => 0) } 0, 0, 1, 0, 1, 0, 1, 1);

    is_deeply([map { $_->{status} } @r], [0, 0, 0, 0, 0, 1, 0, 1],
              'each sees those before it');
    is(value_of(redis('GET', $keys[0]))->{admitted}, 9000, 'and all count');
}


# What it costs Redis.  Figures are for the reader; the machine is shared.

{
    my @keys = map { new_key() } 1 .. 64;
    my $entries = packed(map { entry(key => $_, flags => ASK | WANT,
                                     cost => 1000, want => 3000,
                                     admitted => 2000, drain => 1000) }
                         0 .. 63);

    redis('CONFIG', 'RESETSTAT');
    raw(\@keys, header(nodes => 4), $entries) for 1 .. 100;

    my ($us) = redis('INFO', 'commandstats')
               =~ /cmdstat_evalsha:.*?usec_per_call=([\d.]+)/;

    note(sprintf '%.2f us a key, batches of 64', $us / 64);
    cmp_ok($us / 64, '<', 40, 'a batch does not hold up a Redis');
}


done_testing();
