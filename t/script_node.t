# The scripts of a node in a real Redis: who is alive, pools, tables.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(wait_until slurp);
use Test::More;
use Time::HiRes qw(time sleep);


my $slow = $PrdTest::SLOW;
my $t = PrdTest->new;
my $client = PrdRedis->new($t, 1)->connect;

sub redis { $client->call(@_) }


# The bodies of the scripts, as the C compiler reads them.

my $source = slurp("$PrdTest::ROOT/src/prd_script_node.c");
my %script;

my ($shared) = $source =~ /#define PRD_VALUE(.*?[^\\]\n)/s;

sub unquoted {
    return join '', map { s/\\(.)/$1 eq 'n' ? "\n" : $1/ger }
                    $_[0] =~ /"((?:[^"\\]|\\.)*)"/g;
}

while ($source =~ /prd_script_(\w+) = prd_str\((PRD_VALUE)?\n(.*?)\);\n/gs) {
    my ($name, $value, $text) = ($1, $2, $3);

    $script{$name} = ($value ? unquoted($shared) : '') . unquoted($text);
}

sub run {
    my ($name, $keys, @args) = @_;

    my $r = redis('EVAL', $script{$name}, scalar @$keys, @$keys, @args);

    ref $r eq 'SCALAR' and die "$name: $$r\n";

    return $r;
}

sub pttl { return redis('PTTL', $_[0]) }


# Who is alive

my ($a, $b, $c) = ('a' x 16, 'b' x 16, 'c' x 16);
my $live = 'prd:1:{nodes}:live';

my $r = run('node', [$live], $a, 1);

cmp_ok(abs($r->[0] - time), '<', 60, 'the time of the store');
is_deeply([@$r[2 .. $#$r]], [$a, 'new'], 'one node, not heard of before');

$r = run('node', [$live], $b, 1);
is_deeply([sort @$r[2 .. $#$r]], [$a, $b, 'new'], 'two');

$r = run('node', [$live], $b, 1);
is(scalar @$r, 4, 'once each');
cmp_ok(pttl($live), '>', 59000, 'forgotten in a minute');
cmp_ok(pttl($live), '<=', 60000, 'and not in a thousand');

$r = run('node', [$live], $b, 0);
is_deeply([@$r[2 .. $#$r]], [$a], 'one leaves');

run('node', [$live], $b, 1);
redis('ZADD', $live, (time + 7200) * 1000, $c);
sleep 1.6 * $slow;
run('node', [$live], $b, 1);
sleep 1.6 * $slow;
$r = run('node', [$live], $b, 1);
is_deeply([@$r[2 .. $#$r]], [$b], 'gone after three seconds; and who is '
          . 'ahead of the clock');

redis('DEL', $live);
redis('SET', $live, 'x');
ok(!eval { run('node', [$live], $a, 1); 1 }, 'a key of another type');
redis('DEL', $live);


# Pool: level and holdings

my $full = 1 << 30;
my $pool = 'prd:1:{one:pool}:b';

sub pool {
    my ($id, $held, $returned, $debt, $pace, $nodes, $per) = @_;

    return run('pool', [$pool], $id, $nodes || 2, $per // 0, $full, $held,
               $returned, $debt, $pace);
}

$r = pool($a, 0, 0, 0, 0);
is_deeply($r, [$full / 2, $full / 2, $full], 'half of ample room over two');
my $held = $r->[0];

$r = pool($b, 0, 0, 0, 0);
is_deeply($r, [$full * 3 / 8, $full / 8, $full],
          'the next one has half of what is left');

$r = pool($a, $held - 1000, 0, 0, 500);
is($r->[2], $full - 1000, 'what is spent is missed in the fill');
is($r->[0], 0, 'who has enough gets nothing');

$r = pool($a, $held - 2000, 1000, 0, 500);
is($r->[2], $full - 1000, 'what is returned is there again');
is($r->[1], $full / 8 + 1000, 'for all');

$r = pool($b, 0, 0, $full * 3 / 8, 0);
is($r->[2], $held - 2000 + $full / 8 + 1000 - $full * 3 / 8,
   'debt is taken off');

cmp_ok(pttl($pool), '>', 59000, 'a pool lives for a minute');
cmp_ok(pttl($pool), '<=', 60000, 'and not for longer');

sleep 2.1;
$r = pool($b, 0, 0, 0, 0);
is(scalar(grep { $_ eq $a } @{ redis('HKEYS', $pool) }), 0,
   'who is silent for two seconds holds nothing');

redis('DEL', $pool);
pool($a, 0, 0, 2 * $full, 0, 1);
sleep 0.3;
$r = pool($a, 0, 0, 0, 0, 1, 1000);
cmp_ok($r->[1] + $r->[0], '>=', -$full + 300 * 1000, 'refills by the ms');
cmp_ok($r->[1] + $r->[0], '<', -$full + (300 + 2000 * $slow) * 1000,
       'and not by the s');

redis('DEL', $pool);
$r = pool($a, 0, 0, 3 * $full, 0, 1);
is($r->[1], -$full, 'debt ends at a whole pool');
is($r->[0], 0, 'where nothing is granted');

redis('DEL', $pool);
redis('HSET', $pool, 'l', 'nan', 't', '', $b, 'x', $c, '-5 7');
$r = pool($a, 0, 0, 0, 0, 1);
is($r->[2], $full, 'nonsense counts as nothing');

redis('HSET', $pool, 't', 9e15);
$r = pool($a, 0, 0, 0, 0, 1, 1e9);
cmp_ok($r->[2], '<=', $full, 'a clock ahead refills nothing');
redis('DEL', $pool);


# no more than a pool goes out, whatever nodes say and in whatever order

my ($granted, %held) = (0);

srand 7;

for (1 .. 300) {
    my $n = sprintf '%016x', 1 + int rand 5;
    my $spent = int(rand 2) * int(($held{$n} || 0) * rand);

    $held{$n} = ($held{$n} || 0) - $spent;
    $r = pool($n, $held{$n}, 0, 0, int(rand $full / 8), 5);
    $held{$n} += $r->[0];
    $granted += $r->[0];
}

cmp_ok($granted, '<=', 2 * $full, 'a whole pool, without refill');
cmp_ok($granted, '>', 1.8 * $full, 'and nearly all of it');


# Tables

my @t = map { "prd:1:{one:pool}:t:$_" } $a, $b, $c;
my $since = 'prd:1:{one:pool}:since';
my $any = 'prd:1:{one:pool}:t:any';

is_deeply(run('table', [$t[0], $since, $any, $t[1]], '', 50),
          [50, undef, undef], 'nothing there');
is(redis('EXISTS', $t[0], $since, $any), 0, 'who only reads leaves nothing');

run('table', [$t[0], $since, $any, $t[1]], "A\0A", 5000);
$r = run('table', [$t[1], $since, $any, $t[0], $t[2]], 'B', 20);
cmp_ok($r->[0], '>=', 5000, 'the zone has learned for longest');
cmp_ok($r->[0], '<', 5060, 'in seconds');
is_deeply([@$r[1 .. 3]], ['B', "A\0A", undef], 'tables');

cmp_ok(pttl($t[0]), '>', 599000 - 60000 * $slow, 'a table: ten minutes');
cmp_ok(pttl($t[0]), '<=', 600000, 'and no more');
cmp_ok(pttl($_), '>', 1209590000 - 60000 * $slow, 'the last: two weeks')
    for $any, $since;
cmp_ok(pttl($_), '<=', 1209600000, 'and no more') for $any, $since;

redis('SET', $since, 'x');
redis('DEL', $t[2]);
redis('LPUSH', $t[2], 1);
$r = run('table', [$t[1], $since, $any, $t[0], $t[2]], 'B', 20);
is($r->[0], 20, 'no number');
is($r->[3], undef, 'no table');

redis('SET', $since, time + 1e6);
$r = run('table', [$t[1], $since, $any, $t[0]], 'B', 20);
is($r->[0], 20, 'a time ahead');


# Clients: what all have counted, what their home has learned.  The value as
# prd_script_node.c has it; all but these fields is the lease's.

my ($size, $counts, $version) = (47, 25, 37);

sub group { return sprintf 'prd:1:{one:s%03d}:', $_[0] }

sub client {
    my ($key, $admitted, $peak, $v, $profile, $px, $denied) = @_;

    my $value = "\1" . 'L' x ($size - 1);

    substr $value, $counts, 12, pack 'V3', $admitted, $denied || 0, $peak;
    substr $value, $version, 10, pack 'v Q<', $v, 48 << 40 | 10;
    redis('SET', $key, $value . $profile, 'PX', $px || 70000);
}

sub take {
    my ($group, $most) = @_;

    my $r = run('take', [group($group) . 'act'], $most || 64);
    my ($v, $n, $left) = unpack 'C C v', substr $r, 0, 4, '';
    my @c;

    is($v, 1, 'version');

    while (length $r) {
        my %c;

        @c{qw(tag admitted peak version profile)} = unpack 'a16 V V v C/a', $r;
        substr $r, 0, 27 + length $c{profile}, '';
        push @c, \%c;
    }

    is(scalar @c, $n, "$n clients");

    return ($left, @c);
}

my @tags = map { sprintf '04%014x', $_ } 1 .. 100;
my ($left, @c) = take(1);

is($left + @c, 0, 'nobody was active');

for my $i (0 .. 99) {
    client(group(1) . $tags[$i], $i, 2 * $i, $i % 3, $i % 3 ? "p\0$i" : '');
    redis('SADD', group(1) . 'act', $tags[$i]);
}

($left, my @first) = take(1, 64);
is(scalar @first, 64, 'as many as are wanted');
is($left, 36, 'there are more');
($left, my @rest) = take(1, 64);
is($left, 0, 'no more');
is_deeply([sort map { $_->{tag} } @first, @rest], \@tags, 'each once');

my ($one) = grep { $_->{tag} eq $tags[10] } @first, @rest;

is_deeply($one, { tag => $tags[10], admitted => 10, peak => 20, version => 1,
                  profile => "p\0" . 10 }, 'as it was counted');

my $value = redis('GET', group(1) . $tags[10]);

is(substr($value, $counts, 12), "\0" x 12, 'counted from 0 again');
is(substr($value, 0, $counts), "\1" . 'L' x ($counts - 1),
   'the bucket is left alone');
is(substr($value, $size), "p\0" . 10, 'so is the profile');
cmp_ok(redis('PTTL', group(1) . $tags[10]), '<=', 70000,
       'and for how long it lives');

# What was answered 401 or 403 is no habit, nor is a peak that it made.

client(group(1) . $tags[0], 10, 25, 0, '', 70000, 4);
client(group(1) . $tags[1], 10, 25, 0, '', 70000, 10);
client(group(1) . $tags[2], 10, 3, 0, '', 70000, 4);
client(group(1) . $tags[3], 0, 0, 0, '', 70000, 4);
redis('SADD', group(1) . 'act', @tags[0 .. 3]);

(undef, @c) = take(1);
my %counted = map { $_->{tag} => "$_->{admitted} $_->{peak}" } @c;

is(join(', ', map { $counted{$_} } @tags[0 .. 3]), '6 21, 0 0, 6 3, 0 0',
   'what was denied is taken off');
is(substr(redis('GET', group(1) . $tags[0]), $counts, 12), "\0" x 12,
   'once');
is(substr(redis('GET', group(1) . $tags[3]), $counts, 12), pack('V3', 0, 4, 0),
   'what was counted before is taken off what comes');

redis('SADD', group(1) . 'act', 'short', $tags[0], $tags[1], $tags[2],
      $tags[3], 'f' x 16);
redis('SET', group(1) . $tags[0], 'x');
redis('SET', group(1) . $tags[1], "\2" . 'L' x $size);
redis('DEL', group(1) . $tags[2]);
redis('LPUSH', group(1) . $tags[2], 1);
($left, @c) = take(1);
is_deeply([map { $_->{tag} } @c], [$tags[3]],
          'what is no value of ours is left alone');
is(redis('GET', group(1) . $tags[0]), 'x', 'as it is');


sub publish {
    my ($keys, @records) = @_;

    return unpack 'v*', run('publish', $keys, join '', @records);
}

my @keys = map { group(1) . $_ } @tags[20 .. 25];
my $known = pack('Q<', 12 << 42 | 7 << 21 | 9) . 'k' x 46;
my $stranger = pack('Q<', 11 << 42 | 3 << 41 | 7 << 21 | 9) . 's' x 46;

client($keys[4], 1, 1, 65535, '');
redis('DEL', $keys[5]);

my @v = publish(\@keys, ($known, $stranger) x 3);

is_deeply(\@v, [3, 1, 2, 3, 1, 0],
          'versions rise, and are never 0 but where there is nothing');
$value = redis('GET', $keys[0]);
is(substr($value, $version), pack('v', 3) . $known, 'envelope and record');
is(substr($value, 0, $version), "\1" . 'L' x ($counts - 1)
   . substr($value, $counts, 12), 'nothing else');

cmp_ok(pttl($keys[0]), '>', 1209590000 - 60000 * $slow,
       'a known client: two weeks');
cmp_ok(pttl($keys[0]), '<=', 1209600000, 'and no more');
cmp_ok(pttl($keys[1]), '>', 3590000 - 60000 * $slow, 'a stranger: an hour');
cmp_ok(pttl($keys[1]), '<=', 3600000, 'and no more');


done_testing();
