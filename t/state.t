# predictive_state: what was learned outlives nginx.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest qw(wait_until slurp spew);
use Test::More;
use Time::HiRes qw(time sleep);


my $t = PrdTest->new;
my $dir = $t->dir;
my $file = "$dir/state/learned";

sub conf {
    my (%o) = @_;

    my $one = $o{one} // 'predictive_zone $arg_key zone=one:1m rate=10r/s '
                         . 'burst=20 warmup=0s;';
    my $two = $o{two} // 'predictive_zone $arg_key zone=two:1m rate=1r/m '
                         . 'burst=3 learn=observe;';
    my $state = $o{state} // 'predictive_state %%DIR%%/state/learned '
                             . 'interval=1s;';
    my $first = $o{one} // 'x' ? 'predictive zone=one nodelay;' : '';
    my $second = $o{two} // 'x' ? 'predictive zone=two nodelay;' : '';

    return <<"END";
worker_processes 2;
$one
$two
$state

server {
    listen 127.0.0.1:%%PORT%%;

    add_header X-Key \$predictive_key always;
    add_header X-Reason \$predictive_reason always;
    add_header X-Burst \$predictive_burst always;

    location / {
        $first
        proxy_pass http://%%BACKEND_ADDR%%;
    }

    location /two {
        $second
        proxy_pass http://%%BACKEND_ADDR%%;
    }
}

%%BACKEND%%
END
}


# What is in a file: { pid, written, started, zones => { name => { key,
# secret, clients, hours } } }, undef if it is not whole.

sub state_of {
    my $bytes = eval { slurp($_[0] || $file) } or return;

    my ($magic, $version, $zones, $written, $started, $pid)
        = unpack 'a8 V V Q< Q< V', $bytes;
    my %state = (pid => $pid, written => $written, started => $started,
                 version => $version);
    my $at = 40;

    for (1 .. $zones) {
        my ($name, $key) = unpack "x$at v/a v/a", $bytes;

        $at += 4 + length($name) + length $key;

        my ($secret, $learned, $unit, $size)
            = unpack "x$at H32 Q< V V", $bytes;

        $at += 32 + $size;
        $at += 4 + 16 * unpack "x$at V", $bytes;

        my @levels;

        while (my $n = unpack "x$at V", $bytes) {
            $at += 4;

            for (1 .. $n) {
                push @levels, unpack "x$at x8 V", $bytes;
                $at += 104;
            }
        }

        $at += 4;

        # groups, their chains, curves of the zone and the groups, records

        my $pack = sub { $at += 4 + unpack "x$at V", $bytes };

        $at += 8;
        $pack->();

        for (1 .. 12) {
            my $id = unpack "x$at V", $bytes;
            $at += 4;
            ($pack->(), $at += 96) if $id;
        }

        $pack->() for 1 .. 3 + 12;
        $at += 152 + 480 + 96 + 8 + 48;

        # classes: the open bin, their names, curves of some

        $at += 8;
        $at += 44 while unpack "x$at V", $bytes;
        $at += 44;
        ($at += 8, $pack->()) for 1 .. 8;

        while (my $n = unpack "x$at V", $bytes) {
            $at += 4 + 68 * $n;
        }

        $at += 4;

        # tables of all tracks, tracks: words that are not 0

        my $words = sub {
            my $left = (unpack "x$at V", $bytes) / 4;

            for ($at += 4; $left > 0; $left -= 512) {
                my $n = $left < 512 ? $left : 512;

                $at += int(($n + 7) / 8)
                       + 4 * unpack "x$at %32b$n", $bytes;
            }
        };

        $words->();

        while (unpack "x$at Q<", $bytes) {
            $at += 32;
            $words->();
        }

        $at += 8;
        $state{zones}{$name} = { key => $key, secret => $secret,
                                 clients => scalar @levels,
                                 levels => \@levels };
    }

    return $at + 8 == length $bytes ? \%state : undef;
}

sub clients {
    my ($zone, $from) = @_;

    my $state = state_of($from) or return -1;

    return ($state->{zones}{$zone} || { clients => -1 })->{clients};
}

# a save that began after now
sub saved {
    my $now = time;

    return wait_until(8, sub {
        my @s = stat $file;
        return @s && $s[9] > int($now) + 1;
    });
}

sub first_line { my @l = $t->log_lines($_[0]); $l[-1] || '' }


# Cold

$t->conf(conf())->start;

ok($t->wait_for_log(qr/there is no predictive state ".*learned" yet/),
   'no file: a notice');
ok(!$t->log_lines(qr/\[(?:error|warn)\].*predictive/), 'and no more');
ok(wait_until(5, sub { state_of() }), 'saved');
is((stat $file)[2] & 07777, 0600, 'for its owner only');

if ($> == 0) {
    is((stat $file)[4], (getpwnam 'nobody')[2], 'who is the workers\' user');
    is((stat "$dir/state")[4], (getpwnam 'nobody')[2], 'so is the directory');
}

is(clients('one'), 0, 'nobody is known');


# Something is learned

for my $key ('a' .. 'h') {
    is($t->get("/?key=$key")->{status}, 200, "client $key") for 1 .. 3;
}

my $cold = $t->get('/?key=a');

is(join(' ', map { $t->get('/two?key=z')->{status} } 1 .. 5),
   '200 200 200 200 429', 'a burst');

ok(wait_until(20, sub { clients('one') == 8 && clients('two') == 1 }),
   'all clients are saved after their first block');

my $warm = $t->get('/?key=a');

isnt($warm->{headers}{'x-burst'}, $cold->{headers}{'x-burst'},
     'a learned burst is in force');

my $key = $warm->{headers}{'x-key'};
my $secret = state_of()->{zones}{one}{secret};

like($key, qr/^[0-9a-f]{16}$/, 'hash of a key');
cmp_ok(state_of()->{zones}{two}{levels}[0], '>', 3000, 'the level is saved');


# Restart

$t->stop;
is(join(' ', map { s{.*/}{}r } glob "$dir/state/*"), 'learned',
   'no temporary file is left');
is(clients('one'), 8, 'saved at the end');

$t->start;

ok($t->wait_for_log(qr/predictive zone "one": 8 clients from ".*learned"/),
   'loaded');
ok($t->wait_for_log(qr/predictive zone "two": 1 clients from ".*learned"/),
   'the other zone, too');

my $r = $t->get('/?key=a');

is($r->{headers}{'x-key'}, $key, 'keys have the same hashes');
is($r->{headers}{'x-reason'}, 'forecast', 'what was learned is in force');
ok(abs($r->{headers}{'x-burst'} - $warm->{headers}{'x-burst'})
   <= 0.05 * $warm->{headers}{'x-burst'}, 'the same burst');
is($t->get('/two?key=z')->{status}, 429, 'no fresh burst');


# A reload keeps shared memory and reads nothing

my $seen = length $t->error_log;

ok($t->reload, 'reload');
unlike(substr($t->error_log, $seen), qr/clients from/, 'nothing is loaded');
is($t->get('/?key=a')->{headers}{'x-key'}, $key, 'the same hashes');
is($t->get('/two?key=z')->{status}, 429, 'still no fresh burst');


# another size, by a reload: newcomers keep their bucket as well

is(join(' ', map { $t->get('/two?key=y')->{status} } 1 .. 5),
   '200 200 200 200 429', 'a newcomer\'s burst');

ok($t->reload(conf(two => 'predictive_zone $arg_key zone=two:64k rate=1r/m '
                          . 'burst=3 learn=observe;')), 'reload, smaller');
ok($t->wait_for_log(qr/zone "two" has a new size, 2 clients were taken over/),
   'taken over');
is($t->get("/two?key=$_")->{status}, 429, "client $_ is as it was")
    for 'y', 'z';

# ... and by a restart

$t->stop;
$t->conf(conf(one => 'predictive_zone $arg_key zone=one:32k rate=10r/s '
                     . 'burst=20 warmup=0s;'))->start;
ok($t->wait_for_log(qr/predictive zone "one": 8 clients from/, count => 2),
   'loaded into a smaller zone');
is($t->get('/?key=a')->{headers}{'x-key'}, $key, 'the same hashes');


# A zone that is gone, and one of another key

$t->stop;
$seen = length $t->error_log;
$t->conf(conf(two => '',
              one => 'predictive_zone $arg_key$arg_x zone=one:1m rate=10r/s '
                     . 'burst=20 warmup=0s;'))->start;
like(substr($t->error_log, $seen),
     qr/\[notice\].*has a zone "two" that is not in the configuration/,
     'a zone that is gone');
like(substr($t->error_log, $seen), qr/\[notice\].*zone\ "one"\ uses\ the
     \ "\$arg_key\$arg_x"\ key\ while\ its\ state.*"\$arg_key"\ key/x,
     'another key');
isnt($t->get('/?key=a')->{headers}{'x-key'}, $key, 'another secret');
ok(wait_until(8, sub {
       my $s = state_of();
       return $s && !$s->{zones}{two} && $s->{zones}{one}{clients} == 0;
   }), 'dropped by the next save');
$t->stop;


# Damage

$t->conf(conf())->start;
$t->get("/?key=$_") for 'a' .. 'd';
ok(wait_until(20, sub { clients('one') == 4 }), 'learned again');
$t->stop;

my $good = slurp($file);

for my $case (
    ['cut off', substr($good, 0, length($good) - 100),
     'is damaged or incomplete'],
    ['a bit', do { my $b = $good; substr($b, 5000, 1) ^= "\x04"; $b },
     'is damaged: its checksum does not hold'],
    ['foreign', "worker_processes 1;\n" x 10, 'is no predictive state'],
    ['another version', do { my $b = $good; substr($b, 8, 1) = "\x63"; $b },
     'is of another version of its format'],
    ['something behind it', "$good\n", 'is damaged: its checksum'],
    ['a few bytes', 'PRD', 'is no predictive state'],
) {
    my ($name, $bytes, $why) = @$case;

    unlink "$file.damaged";
    spew($file, $bytes);
    chmod 0600, $file;
    chown((getpwnam 'nobody')[2, 3], $file) if $> == 0;

    $seen = length $t->error_log;
    $t->start;

    my @lines = grep { /\[error\]/ } split /\n/, substr $t->error_log, $seen;

    is(scalar @lines, 1, "$name: one line");
    like($lines[0], qr/predictive\ state\ "\Q$file\E"\ \Q$why\E.*starting
                       \ without\ what\ was\ learned/x, 'file and reason');
    is($t->get('/?key=a')->{status}, 200, 'nginx runs');
    isnt($t->get('/?key=a')->{headers}{'x-key'}, $key, 'cold');
    ok(wait_until(5, sub { -e "$file.damaged" && state_of() }), 'saved');
    is(slurp("$file.damaged"), $bytes, 'the file is kept');
    is((stat "$file.damaged")[2] & 07777, 0600, 'for its owner only');
    $t->stop;
}

SKIP: {
    skip 'only root has files that workers cannot read', 4 if $> != 0;

    unlink "$file.damaged";
    spew($file, 'something');
    chmod 0600, $file;
    chown 0, 0, $file;
    $t->start;
    ok(wait_until(5, sub { -e "$file.damaged" && state_of() }),
       'a damaged file that only root may read');
    is(slurp("$file.damaged"), 'something', 'is kept, too');
    $t->stop;

    spew($file, $good);
    chmod 0600, $file;
    chown 0, 0, $file;
    $t->start;
    ok(wait_until(5, sub { (stat $file)[4] != 0 && state_of() }),
       'a sound one is loaded and replaced');
    is(clients('one'), 4, 'with what is in it');
    $t->stop;
}

unlink "$file.damaged";
spew($file, '');
$seen = length $t->error_log;
$t->start;
unlike(substr($t->error_log, $seen), qr/\[error\]/, 'empty: no error');
ok(wait_until(5, sub { state_of() }), 'saved');
ok(!-e "$file.damaged", 'nothing was kept of it');
$t->stop;


# nginx -t looks, and writes nothing

my $before;

sub snapshot {
    return join "\n", map { join ' ', $_, (stat)[1, 2, 4, 7, 9] }
                      "$dir/state", glob "$dir/state/* $dir/state/.??*";
}

spew($file, substr $good, 0, 300);
chown((getpwnam 'nobody')[2, 3], $file) if $> == 0;
chmod 0600, $file;
$before = snapshot();

my ($exit, $out) = $t->conf_test(conf());

is($exit, 0, '-t, damaged file');
like($out, qr/is damaged or incomplete/, 'is told');
is(snapshot(), $before, 'and left alone');

unlink $file;
($exit, $out) = $t->conf_test(conf(state =>
    'predictive_state %%DIR%%/new/learned;'));
is($exit, 0, '-t, no directory');
unlike($out, qr/predictive/, 'nothing to say of it');
ok(!-e "$dir/new", 'it is not made');

($exit, $out) = $t->conf_test(conf(state =>
    'predictive_state %%DIR%%/none/new/learned;'));
is($exit, 0, '-t, no directory for the directory');
like($out, qr/\[warn\].*none\/new\/learned.*does\ not\ exist,\ in\ .*:\d+/x,
     'is told');

spew($file, $good);
chmod 0644, $file;
($exit, $out) = $t->conf_test(conf());
like($out, qr/\[warn\].*open to other users/, '-t, a file open to others');
unlink $file;

SKIP: {
    skip 'only root runs workers as somebody else', 4 if $> != 0;

    mkdir "$dir/root";
    chmod 0755, "$dir/root";
    ($exit, $out) = $t->conf_test(conf(state =>
        'predictive_state %%DIR%%/root/learned;'));
    is($exit, 0, '-t, a directory that workers may not write');
    like($out, qr/\[warn\]\ .*user\ whom\ workers\ run\ as\ may\ not\ write
                  .*\ in\ .*:\d+/x, 'is told');

    mkdir "$dir/root/deep";
    chmod 0777, "$dir/root/deep";
    chmod 0700, "$dir/root";
    ($exit, $out) = $t->conf_test(conf(state =>
        'predictive_state %%DIR%%/root/deep/learned;'));
    like($out, qr/\[warn\].*may not enter/, '-t, one they may not enter');

    chmod 0755, "$dir/root";
    ($exit, $out) = $t->conf_test(conf(state =>
        'predictive_state %%DIR%%/root/deep/learned;'));
    unlike($out, qr/predictive/, '-t, one they may');
}

for my $case (
    ['interval=0', 'interval=0'], ['interval=999ms', 'interval=999ms'],
    ['interval=x', 'interval=x'], ['interval=', 'interval='],
    ['interval=-1s', 'interval=-1s'], ['every=1s', 'every=1s'],
) {
    ($exit, $out) = $t->conf_test(conf(state =>
        "predictive_state %%DIR%%/state/learned $case->[0];"));
    is($exit, 1, $case->[0]);
    like($out, qr/\[emerg\].*"\Q$case->[1]\E".*:\d+/, 'is named');
}

for my $path ('%%DIR%%/state', '%%DIR%%/state/', '""') {
    ($exit, $out) = $t->conf_test(conf(state => "predictive_state $path;"));
    is($exit, 1, "path $path");
    like($out, qr/\[emerg\] invalid path ".*", .* in \S+:\d+/, 'is told');
}

($exit, $out) = $t->conf_test(conf(state => 'predictive_state a; '
                                            . 'predictive_state b;'));
is($exit, 1, 'twice');
like($out, qr/"predictive_state" directive is duplicate/, 'is told');

# what a state file has no room for

my $long = 'z' x 256;

($exit, $out) = $t->conf_test("predictive_state %%DIR%%/state/learned;\n"
    . "predictive_zone \$arg_k zone=$long:1m rate=1r/s;");
is($exit, 0, 'a long name');
like($out, qr/\[warn\] what predictive zone "$long" learns is not saved/,
     '... of a zone that is not saved');


# Relative to the prefix; the directory is made

$t->conf(conf(state => 'predictive_state rel/learned interval=1s;'))->start;
ok(wait_until(5, sub { state_of("$dir/rel/learned") }), 'relative path');
is((stat "$dir/rel")[2] & 07777, 0700, 'the directory is the user\'s own');


# It cannot be saved for a while

SKIP: {
    skip 'only root runs workers as somebody else', 4 if $> != 0;

    chown 0, 0, "$dir/rel";
    chmod 0755, "$dir/rel";

    ok($t->wait_for_log(qr/\[error\].*predictive_state:\ not\ saved:\ open\(\)
                           \ ".*tmp"\ failed.*Permission/x), 'not saved');
    sleep 2.5;
    is(scalar $t->log_lines(qr/not saved/), 1, 'said once');
    is($t->get('/?key=a')->{status}, 200, 'limits go on');
    chmod 0777, "$dir/rel";
    ok($t->wait_for_log(qr/predictive_state: saved again/), 'saved again');
}

$t->stop;


# What a killed process left behind is removed; a living one's is not

my $dead = fork() // die;

POSIX::_exit(0) if $dead == 0;
waitpid $dead, 0;

spew("$file.$dead.tmp", 'x');
spew("$file.$$.tmp", 'x');
spew("$file.old.tmp", 'x');
spew("$dir/state/other.$dead.tmp", 'x');
$t->conf(conf())->start;
ok(wait_until(5, sub { state_of() }), 'saved');

# a worker may be saving at this moment

my $left;
my $expected = join ' ', sort 'learned', "learned.$$.tmp", 'learned.old.tmp',
                              "other.$dead.tmp";

ok(wait_until(5, sub {
    $left = join ' ', sort map { s{.*/}{}r } glob "$dir/state/*";
    return $left eq $expected;
}), 'rubbish of the dead is removed') or diag($left);
unlink glob "$dir/state/*.tmp";


# A binary upgrade: two masters.  nginx does that only as a daemon, which the
# harness does not know: it is ours to stop.

$t->stop;

my @daemons;

END {
    my $status = $?;

    kill 'KILL', map { ($_, PrdTest::children($_)) } grep { kill 0, $_ }
                 @daemons;
    $? = $status;
}

my $pid_file = "$dir/nginx.pid";

sub daemon {
    my $pid;

    wait_until(10, sub {
        $pid = eval { slurp($pid_file) } || '';
        chomp $pid;
        return $pid =~ /^\d+$/ && !grep { $_ == $pid } @daemons;
    }) or die "no daemon\n";

    push @daemons, $pid;

    return $pid;
}

unlink $pid_file;

# nginx hands down no environment that it was not told to
$t->conf(join('', map { "env $_;\n" } grep { $ENV{$_} }
                  map { "${_}_OPTIONS" } qw(ASAN UBSAN LSAN)) . conf());
spew("$dir/nginx.conf",
     slurp("$dir/nginx.conf") =~ s/daemon off;/daemon on;/r);
is(($t->run($t->command))[0], 0, 'a daemon');

my $old = daemon();

ok(wait_until(5, sub { $t->get('/?key=a')->{status} == 200 }), 'runs');
$t->get("/?key=$_") for 'a' .. 'd';
ok(wait_until(20, sub { clients('one') == 4 }), 'learned');

$key = $t->get('/?key=a')->{headers}{'x-key'};
kill 'USR2', $old;

my $new = daemon();

ok($t->wait_for_log(qr/ $new#.*zone "one": 4 clients from/),
   'the new master loads');
ok(wait_until(5, sub { (() = PrdTest::children($new)) == 2 }),
   'it has workers');

my @workers = PrdTest::children($new);

ok($t->wait_for_log(qr/not saved: it was replaced by a later process/),
   'its save replaces the old one\'s');
ok((grep { $_ == state_of()->{pid} } @workers), 'by a worker of the new one');

kill 'WINCH', $old;
sleep 1.5;
kill 'QUIT', $old;
ok(wait_until(10, sub { !kill 0, $old }), 'the old one is gone');
ok((grep { $_ == state_of()->{pid} } @workers),
   'the old one has not written');
is($t->get('/?key=a')->{headers}{'x-key'}, $key, 'the same hashes');
is($t->get('/?key=a')->{headers}{'x-reason'}, 'forecast', 'in force');

kill 'QUIT', $new;
ok(wait_until(10, sub { !kill 0, $new }), 'the new one stops');


# The clock of the earlier process was ahead: the later one is later

my $ahead = slurp($file);

is(clients('one'), 4, 'whole');
unlink $file;
$t->conf(conf())->start;
ok(wait_until(5, sub { state_of() }), 'running');

substr($ahead, 24, 8) = pack 'Q<', time * 1000 + 86400000;
spew("$file.new", $ahead);
chown((getpwnam 'nobody')[2, 3], "$file.new") if $> == 0;
chmod 0600, "$file.new";
rename "$file.new", $file;

$seen = length $t->error_log;
ok(wait_until(5, sub { substr($t->error_log, $seen) =~ /not saved: it was/ }),
   'a file of later is not replaced');
is(slurp($file), $ahead, 'it is as it was');
ok($t->reload, 'but a later configuration');
$seen = length $t->error_log;
ok(wait_until(8, sub { slurp($file) ne $ahead }), 'replaces it');

done_testing();
