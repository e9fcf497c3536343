# predictive-replay: every format of logs, what comes out of it, and the state
# that nginx starts warm from.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Compress::Gzip qw(gzip $GzipError);
use JSON::PP ();
use POSIX qw(strftime);
use PrdTest qw(slurp spew);
use Test::More;


my $t = PrdTest->new;
my $dir = $t->dir;
my $replay = $ENV{PRD_REPLAY} || "$PrdTest::ROOT/build/predictive-replay";

# status, standard output, standard error; input is a file

sub replay {
    my (@args) = @_;

    my ($input) = map { ref $_ ? $$_ : () } @args;

    $input //= '/dev/null';
    @args = grep { !ref $_ } @args;

    my $pid = fork // die "fork: $!\n";

    if (!$pid) {
        open STDIN, '<', $input or die "$input: $!\n";
        open STDOUT, '>', "$dir/stdout" or die "$!\n";
        open STDERR, '>', "$dir/stderr" or die "$!\n";
        exec $replay, @args;
        die "$replay: $!\n";
    }

    waitpid $pid, 0;

    return ($? & 127 ? "signal $?" : $? >> 8, slurp("$dir/stdout"),
            slurp("$dir/stderr"));
}

sub decisions {
    my (@args) = @_;

    unlink "$dir/decisions";

    my ($status, undef, $err) = replay('--quiet', '--decisions',
                                       "$dir/decisions", @args);

    return $status ? "status $status: $err" : slurp("$dir/decisions");
}

# Decisions as of the combined log.

my $want;

sub same {
    my ($name, @args) = @_;

    my $got = decisions(@args);

    ok($got eq $want, $name) or diag(substr $got, 0, 100);
}

# With other hashes: hours of clients end at other bins, and which request is
# the one too many may differ.

sub nearly {
    my ($name, $got) = @_;

    my @got = split /\n/, $got;
    my @want = split /\n/, $want;
    my $differ = grep { substr($got[$_] // '', 0, 1)
                        ne substr($want[$_] // '', 0, 1) }
                      0 .. (@want > @got ? $#want : $#got);

    cmp_ok($differ, '<=', @want / 1000, "$name: all but one of a thousand");
}

sub report {
    my (@args) = @_;

    my ($status, undef, $err) = replay('--quiet', '--json', "$dir/report",
                                       @args);
    my $report = eval { JSON::PP->new->utf8->decode(slurp("$dir/report")) };

    is($status, 0, "report: @args") or diag($err);
    ok(defined $report, 'is JSON') or diag($@);

    return $report || {};
}

sub refused {
    my ($like, $name, @args) = @_;

    my ($status, undef, $err) = replay(@args);

    is($status, 2, "$name: exit status");
    like($err, $like, "$name: message");
}


# Requests: three clients of habit for hours, and one that floods in the end.

my $start = 1763773200;                        # a full hour
my @requests;                                  # time, client, path, status
my $seed = 7;

sub draw { $seed = ($seed * 1103515245 + 12345) % 2147483648; $seed >> 8 }

for (my $s = 0; $s < 5 * 3600; $s += 5) {
    for my $client (1 .. 3) {
        next if draw() % 3;

        push @requests, [$start + $s + draw() % 5, "192.0.2.$client",
                         '/api/' . draw() % 3, draw() % 50 ? 200 : 404]
            for 0 .. draw() % 4;
    }
}

push @requests, map { [$start + 4 * 3600 + 1800 + int($_ / 50), '198.51.100.9',
                       '/login', $_ % 2 ? 401 : 429] } 0 .. 2999;

@requests = sort { $a->[0] <=> $b->[0] } @requests;

sub lines {
    my ($format) = @_;

    return join '', map { $format->(@$_) } @requests;
}

sub local_time { strftime('%d/%b/%Y:%H:%M:%S +0000', gmtime $_[0]) }

my %text = (
    combined => lines(sub {
        my ($time, $client, $path, $status) = @_;

        return "$client - - [" . local_time($time) . "] \"GET $path?x=1 "
               . "HTTP/1.1\" $status 12 \"-\" \"curl/8\"\n";
    }),
    common => lines(sub {
        my ($time, $client, $path, $status) = @_;

        return "$client - - [" . local_time($time) . "] \"GET $path?x=1 "
               . "HTTP/1.1\" $status 12\n";
    }),
    json => lines(sub {
        my ($time, $client, $path, $status) = @_;

        return '{"time_iso8601":"'
               . strftime('%Y-%m-%dT%H:%M:%S+00:00', gmtime $time)
               . "\",\"remote_addr\":\"$client\",\"request\":\"GET $path "
               . "HTTP/1.1\",\"status\":$status}\n";
    }),
    custom => lines(sub {
        my ($time, $client, $path, $status) = @_;

        return strftime('%Y-%m-%dT%H:%M:%S+01:00', gmtime $time + 3600)
               . " <$client> $status $path\n";
    }),
    tsv => "#{\"a\": \"header\"}\n" . lines(sub {
        my ($time, $client, $path, $status) = @_;

        return "$time\t$client\t\t12\t$status\tfurther\n";
    })
);

spew("$dir/$_.log", $text{$_}) for keys %text;

my @limit = ('--capacity', '10', '--warmup', '1h');
my $custom = '$time_iso8601 <$remote_addr> $status $uri';


# All formats say the same.

$want = decisions(@limit, "$dir/combined.log");

is($want =~ tr/\n//, scalar @requests, 'a decision a line');
like($want, qr/\A(?:0\n|1 \d+\.\d{3}\n|2\n)*\z/, 'of three kinds');
ok($want =~ /^2$/m, 'some are refused');
same('the same once more', @limit, "$dir/combined.log");

same('common', @limit, '--format', 'common', "$dir/common.log");
same('json', @limit, '--format=json', "$dir/json.log");
same('a log_format', @limit, "--format=$custom", "$dir/custom.log");
same('tsv', @limit, '--format', 'tsv', "$dir/tsv.log");
same('standard input', \"$dir/combined.log", @limit, '-');

gzip(\$text{combined} => "$dir/combined.log.gz") or die "$GzipError\n";
same('gzip', @limit, "$dir/combined.log.gz");
same('gzip on standard input', \"$dir/combined.log.gz", @limit, '-');

# in two files, the first of two gzip members

my $half = 1 + index $text{combined}, "\n", length($text{combined}) / 2;
my ($first, $second) = (substr($text{combined}, 0, $half),
                        substr($text{combined}, $half));

my ($member, $other) = (substr($first, 0, 1000), substr($first, 1000));

gzip(\$member => "$dir/a") or die "$GzipError\n";
gzip(\$other => "$dir/b") or die "$GzipError\n";
spew("$dir/1.gz", slurp("$dir/a") . slurp("$dir/b"));
spew("$dir/2.log", $second);
same('two files', @limit, "$dir/1.gz", "$dir/2.log");

# a table that is larger or smaller: nothing changes

same('a large zone', @limit, '--zone-size', '64m', "$dir/combined.log");
same('a small zone', @limit, '--zone-size', '256k', "$dir/combined.log");
nearly('another secret',
       decisions(@limit, '--seed', '42', "$dir/combined.log"));
ok(decisions(@limit, '--no-spread', "$dir/combined.log") ne $want,
   'without spreading bursts come of nothing');

# keys are expressions

nearly('binary addresses',
       decisions(@limit, '--key', '$binary_remote_addr', "$dir/combined.log"));

my $identity = decisions(@limit, '--identity', 'address $remote_addr 32 64;',
                         "$dir/combined.log");

nearly('an identity', $identity);
nearly('text around',
       decisions(@limit, '--key', 'x${remote_addr}y', "$dir/combined.log"));
ok(decisions(@limit, '--key', '$arg_none', "$dir/combined.log")
   eq "0\n" x @requests, 'an empty key is not limited');
is(decisions(@limit, '--newcomer', '$remote_addr/24', "$dir/combined.log")
   =~ tr/\n//, scalar @requests, 'a newcomer key');
is(decisions(@limit, '--format', 'tsv', '--newcomer', '$col6',
             "$dir/tsv.log") =~ tr/\n//, scalar @requests, 'of a column');
like(decisions(@limit, '--class', '$uri', '--cost', '2', '--charge', '$bytes',
               '--format', 'tsv', '--class', '$class', "$dir/tsv.log"),
     qr/--class: .* is given twice/, 'given twice');


# The report.

my $r = report(@limit, "$dir/combined.log");

is($r->{requests}, scalar @requests, 'requests');
is($r->{clients}, 4, 'clients');
is($r->{passed} + $r->{borrowed} + $r->{delayed} + $r->{rejected}
   + $r->{skipped}, scalar @requests, 'verdicts');
is($r->{rejected}, scalar(() = $want =~ /^2$/mg), 'as the decisions say');
is($r->{limited_clients}{top}[0]{client}, '198.51.100.9', 'who');
is($r->{first_minute}{start_s} % 60, 0, 'first minute');
cmp_ok($r->{first_minute}{start_s}, '>=', $start + 4 * 3600 + 1800 - 60,
       'not before the flood');
cmp_ok($r->{worst_minute}{limited}, '>=', $r->{first_minute}{limited},
       'worst minute');
is($r->{log}{status_401_403}, 1500, 'status 401');
is($r->{log}{status_429_503}, 1500, 'status 429');
is($r->{first_s} - $r->{first_s} % 3600, $start, 'first second');

my $c = $r->{coverage};

is($c->{nominal}, 0.999, 'confidence');
cmp_ok($c->{after_warmup}{all}{blocks}, '>', 1000, 'blocks after warm-up');
cmp_ok($c->{after_warmup}{all}{blocks}, '<', $c->{all}{all}{blocks},
       'fewer than in all');
cmp_ok($c->{all}{all}{coverage}, '>', 0.9, 'are covered');

my (undef, $out, $err) = replay(@limit, "$dir/combined.log");

is($err, '', 'nothing on standard error');
like($out, qr/198\.51\.100\.9$/m, 'the report tells who');
like($out, qr/^Coverage /m, 'and the coverage');

(undef, $out, $err) = replay(@limit, '--hash', '--decisions', '-',
                             "$dir/combined.log");
nearly('decisions on standard output', $out);
like($err, qr/^Verdicts/m, 'then the report is on standard error');
unlike($err, qr/198\.51\.100/, 'without keys');

# limit_req beside it: without learning both are the same

# (of a rate that limit_req, too, can have exactly)

for my $more (['--nodelay'], ['--delay=2'], []) {
    $r = report('--learn=off', '--rate', '30r/m', '--burst=5', @$more,
                "$dir/combined.log");

    cmp_ok($r->{delayed} + $r->{rejected}, '>', 0, 'some are limited');
    is($r->{limit_req}{rejected}, $r->{rejected}, '... as many refused');
    is($r->{limit_req}{delayed}, $r->{delayed}, '... as many delayed');
    is($r->{limit_req}{limited_by_predictive_only}, 0, '... none by us only');
    is($r->{limit_req}{limited_by_limit_req_only}, 0, '... nor by it');
}

$r = report(@limit, '--compare', 'limit_req:rate=6r/m,burst=3,nodelay',
            "$dir/combined.log");
is($r->{limit_req}{rate}, 0.1, '--compare: rate');
is($r->{limit_req}{burst}, 3, '--compare: burst');
cmp_ok($r->{limit_req}{habit_hours_hit}, '>', $r->{honest_looking}{clients},
       'a tight limit for all hits habit');

# keys of all kinds of bytes

spew("$dir/bytes.log", join '',
     map { "$_\t\x1b[2J\xff\"\\\xc3\xa9\t\t0\t200\n" } 0 .. 30);
$r = report('--format=tsv', '--rate=1r/m', "$dir/bytes.log");
is($r->{limited_clients}{top}[0]{client}, "\x{1b}[2J\x{fffd}\"\\\x{e9}",
   'a wild key in JSON');
(undef, $out) = replay('--format=tsv', '--rate=1r/m', "$dir/bytes.log");
unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f-\xff]/, 'and on the terminal');

# arrival: a slow request is logged when it ends

spew("$dir/slow.log", join '', map { sprintf "%.3f a 30.000\n%.3f b 0.000\n",
     1000 + $_ + 30, 1000.5 + $_ + 30 } 0 .. 99);
my @slow = ('--format', '$msec $client $request_time', '--key', '$client',
            '--rate', '30r/m');

$r = report(@slow, "$dir/slow.log");
is($r->{first_s}, 1000, 'arrival');
is($r->{last_s}, 1129.5, 'of the last one');
is(report(@slow, '--no-arrival', "$dir/slow.log")->{first_s}, 1030,
   'when it was logged');

# steps of the clock

spew("$dir/steps.log", join '', map { "$_\ta\t\t0\t200\n" } 1000, 1001, 900,
     999999999, 1002, 1003);
$r = report('--format=tsv', '--rate=1r/s', "$dir/steps.log");
is($r->{requests}, 6, 'steps of the clock');
is($r->{log}{late_lines}, 1, 'one back');
is($r->{log}{late_most_s}, 101, 'by so much');
is($r->{log}{lines_ahead}, 1, 'one ahead');
is(int $r->{last_s}, 1003, 'and on');


# How good forecasts were: six clients that keep to a request in ten seconds,
# each bin a Poisson number, for 30 hours.

my $steady = '';

for my $s (0 .. 30 * 3600 - 1) {
    for my $client (1 .. 6) {
        $steady .= $start + $s . ".000\t192.0.2.$client\t\t0\t200\n"
            if draw() % 10 == 0;
    }
}

spew("$dir/steady.log", $steady);

my @steady = ('--format=tsv', '--rate=5r/s', "$dir/steady.log");
my @scores = @{report(@steady)->{forecasts}};

is(join(' ', map { "$_->{bin_seconds}/$_->{horizon_seconds}" } @scores),
   '60/60 60/360 60/720 300/300 300/1800 300/3600 3600/3600 3600/21600 '
   . '3600/43200', 'forecasts by length of bins and horizon');
is(join(' ', grep { !defined $_ || $_ < 0 || $_ > 1 }
        map { @$_{qw(coverage95 coverage99)} } @scores), '',
   'coverage is a share');

for (grep { $_->{forecasts} >= 100 } @scores) {
    my $what = "$_->{forecasts} of $_->{bin_seconds} s, "
               . "$_->{horizon_seconds} s ahead";

    # chance, and what is off until it is learned

    my $off = 0.02 + 3 * sqrt(0.95 * 0.05 / $_->{forecasts});

    cmp_ok(abs $_->{coverage95} - 0.95, '<', $off, "$what: 95 %");
    cmp_ok(abs $_->{coverage99} - 0.99, '<', 0.03, "$what: 99 %");
    cmp_ok($_->{coverage99}, '>=', $_->{coverage95}, "$what: 99 % is more");
    cmp_ok($_->{relative_loss}, '<', 1, "$what: better than the last value");

    # of a Poisson number n, the error is some 0.8 times its root

    my $n = $_->{bin_seconds} / 10;

    cmp_ok(abs $_->{wape} * sqrt($n) - 0.8, '<', 0.3, "$what: its error");
}

cmp_ok(scalar(grep { $_->{forecasts} >= 100 } @scores), '>=', 6,
       'of most there are enough');

my $table = (replay(@steady))[1];

for (@scores) {
    my $line = sprintf '%u s +%u s +%u +%.3f +%.3f +%.2f %% +%.2f %%',
                       @$_{qw(bin_seconds horizon_seconds forecasts
                              relative_loss wape)},
                       100 * $_->{coverage95}, 100 * $_->{coverage99};

    like($table, qr/^ +$line$/m, "text says the same of $_->{bin_seconds} s, "
         . "$_->{horizon_seconds} s ahead");
}

is_deeply(report('--learn=off', @steady)->{forecasts}, [],
          'where nothing is learned there are none');
unlike((replay('--learn=off', @steady))[1], qr/^Forecasts/m, 'nor a table');


# What is wrong is named.

spew("$dir/broken.log", "garbage \x1b[2J\n" . $text{combined}
     . "192.0.2.1 - cut o");
my ($status, $said) = replay(@limit, "$dir/broken.log");
is($status, 0, 'broken lines are no failure');
like($said, qr/broken\.log:1: .*garbage \\x1B\[2J$/m,
     'the first is named');
like($said, qr/broken\.log:${\ (@requests + 2)}: .*cut o/, 'and the last');
same('they have no decisions', @limit, "$dir/broken.log");

refused(qr/json\.log:1: /, 'no line of the format', @limit,
        "$dir/json.log");
refused(qr/nowhere\.log: No such file/, 'no file', @limit,
        "$dir/nowhere.log");
refused(qr/: Is a directory/, 'a directory', @limit, $dir);

spew("$dir/cut.gz", substr slurp("$dir/combined.log.gz"), 0, -2000);
refused(qr/cut\.gz:\d+: damaged gzip data/, 'a cut gzip file', @limit,
        "$dir/cut.gz");

my $bad = slurp("$dir/combined.log.gz");
substr $bad, length($bad) / 2, 20, 'x' x 20;
spew("$dir/bad.gz", $bad);
refused(qr/bad\.gz:\d+: damaged gzip data/, 'a damaged one', @limit,
        "$dir/bad.gz");

refused(qr/--frob/, 'an unknown option', '--frob', "$dir/tsv.log");
refused(qr/"rate=abc" must be a rate/, 'a bad rate', '--rate', 'abc', 'x');
refused(qr/needs a rate or a capacity/, 'no limit', "$dir/tsv.log");
refused(qr/no log given/, 'no log', @limit);
refused(qr/--rate needs a value/, 'no value', '--rate');
refused(qr/given twice/, 'twice', '--rate=1', '--rate=2', 'x');
refused(qr/has no \$http_x/, 'a variable that is not logged', @limit,
        '--key', '$http_x', "$dir/combined.log");
refused(qr/--compare .* must be/, 'a bad comparison', @limit, '--compare',
        'limit_req:burst=x', 'x');
refused(qr/none of \$msec/, 'a format without time', @limit, '--format',
        '$remote_addr', 'x');
refused(qr/--state needs/, 'a state of nobody', @limit, '--state', "$dir/x",
        'x');
refused(qr/--max-limited .* percentage/, 'no percentage', @limit,
        '--max-limited', '1', 'x');
refused(qr/$_ is not supported yet by this version/, $_, $_, 'x')
    for '--html';

is((replay(@limit, $_, "$dir/nowhere/x", "$dir/combined.log"))[0], 1,
   "$_ that cannot be written") for qw(--decisions --json);
replay(@limit, '--decisions', "$dir/early", @$_, "$dir/nowhere/x",
       "$dir/combined.log"),
    ok(!-e "$dir/early", "$_->[-1] is told so before anything is read")
    for ['--json'], ['--state-zone=a', '--state-key=$b', '--state'];

spew("$dir/report.json", 'of yesterday');
replay(@limit, '--json', "$dir/report.json", "$dir/nowhere.log");
is(slurp("$dir/report.json"), 'of yesterday', 'no log, and no report is lost');

is((replay(@limit, '--max-limited', '90%', "$dir/combined.log"))[0], 0,
   'few enough are limited');
is((replay(@limit, '--max-limited', '0.01%', "$dir/combined.log"))[0], 3,
   'too many are');
is((replay(@limit, '--max-limited', '0%', '/dev/null'))[0], 0,
   'none of none');
is((replay('--help'))[0], 0, '--help');
like((replay('--version'))[1], qr/^predictive-replay \d/, '--version');


# nginx.conf

mkdir "$dir/conf.d";
spew("$dir/conf.d/zone.conf", "predictive_zone \$client zone=api:1m\n"
     . "    capacity=10 warmup=1h;\n"
     . "predictive_zone \$remote_addr zone=bad:1m rate=soon;\n"
     . "predictive_zone \$tenant zone=map:1m rate=1r/s;\n"
     . "predictive_zone \$unlogged zone=unlogged:1m rate=1r/s;\n");
spew("$dir/replay.conf", <<'END');
http {
    log_format plain '$time_iso8601 <$remote_addr> '
                     '$status $uri';     # as "custom"
    map $host $tenant { default one; }
    include conf.d/*.conf;
    predictive_identity $client {
        token $uri "^/token/(.+)$";
        address $remote_addr 32 64;
    }
    predictive_identity $unlogged { token $http_x_api_key; }
    access_log logs/plain plain;

    server {
        location / { predictive zone=api; }
        location /paid { predictive zone=api burst=100 nodelay; }
    }
}
END

my @conf = ('-c', "$dir/replay.conf", '--zone');

ok(decisions(@conf, 'api', "$dir/custom.log") eq $identity, '-c nginx.conf');
ok(decisions(@conf, 'api', '--format', 'combined', '--identity',
             'address $remote_addr 32 64', "$dir/combined.log") eq $identity,
   'with options over it');
is(report(@conf, 'api', '--location', '/paid', "$dir/custom.log")
   ->{parameters}{burst}, 100, '--location');
is(report(@conf, 'api', '--capacity', '7', "$dir/custom.log")
   ->{parameters}{capacity}, 7, 'an option wins');
refused(qr/zone\.conf:3: "rate=soon" must be a rate/, 'a bad value', @conf,
        'bad', "$dir/custom.log");
refused(qr/zone\.conf:4: .*\$tenant.*map at \S+replay\.conf:4/,
        'a map is not evaluated', @conf, 'map', "$dir/custom.log");
refused(qr/zone\.conf:5: .*\$unlogged.*has no \$http_x_api_key/,
        'an identity that is used, of what is not logged', @conf, 'unlogged',
        "$dir/custom.log");
refused(qr/no predictive_zone "none"/, 'no such zone', @conf, 'none', 'x');
refused(qr/no such location/, 'no such location', @conf, 'api', '--location',
        '/none', 'x');
refused(qr/-c needs --zone/, 'no zone', '-c', "$dir/replay.conf", 'x');

spew("$dir/broken.conf", "http {\n    server {\n");
refused(qr/broken\.conf:\d: unexpected end of file/, 'a broken file', '-c',
        "$dir/broken.conf", '--zone=api', 'x');


# nginx starts warm from a log: a client that is known to send 30 at once.

my $now = time;
my @bursts;

for (my $s = $now - 6 * 3600; $s < $now - 60; $s += 60) {
    push @bursts, "$s.000\t127.0.0.1\t\t0\t200\n" x 30;
}

spew("$dir/bursts.log", join '', @bursts);
mkdir "$dir/state";
chmod 0777, "$dir/state";

$t->conf(<<'END');
predictive_zone $binary_remote_addr zone=one:1m rate=10r/s warmup=1h;
predictive_state %%DIR%%/state/learned;

server {
    listen 127.0.0.1:%%PORT%%;

    location / {
        predictive zone=one nodelay;
        proxy_pass http://%%BACKEND_ADDR%%;
    }
}

%%BACKEND%%
END

sub refusals {
    $t->start;
    my $n = grep { $_->{status} == 429 } $t->parallel([('/') x 30]);
    $t->stop;

    return $n;
}

cmp_ok(refusals(), '>', 0, 'a fresh nginx knows nobody');
unlink "$dir/state/learned";

is((replay('-c', "$dir/nginx.conf", '--zone', 'one', '--format', 'tsv',
           '--key', '$client', '--state', "$dir/state/text", '--quiet',
           "$dir/bursts.log"))[0], 0, 'a state with keys as text');

is((replay('-c', "$dir/nginx.conf", '--zone', 'one', '--format',
           '$msec	$remote_addr		0	$status', '--state',
           "$dir/state/learned", '--quiet', "$dir/bursts.log"))[0], 0,
   'a state for nginx');
is((stat "$dir/state/learned")[2] & 07777, 0600, 'nobody else reads it');

is(refusals(), 0, 'nginx knows the client from the log');
is(scalar(() = $t->log_lines(qr/damaged|cannot be read/)), 0,
   'and takes the file');

is((replay(@limit, '--state', "$dir/none/x", '--state-zone=a',
           '--state-key=$b', "$dir/combined.log"))[0], 1,
   'a state that cannot be written');

done_testing();
