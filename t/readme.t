# README.md: what it shows works as it stands there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(slurp spew);
use POSIX qw(strftime);
use Test::More;


my $t = PrdTest->new;
my $dir = $t->dir;

mkdir "$dir/logs";           # of an nginx that is not Debian's

my $secret = PrdRedis::secret_file($t, 'secret');
my $readme = slurp("$PrdTest::ROOT/README.md");
my @nginx = $readme =~ /^```nginx\n(.*?)^```$/msg;
my @sh = map { split /\n/, s/\\\n\s*/ /gr } $readme =~ /^```sh\n(.*?)^```$/msg;

cmp_ok(@nginx, '>=', 2, 'configurations');
cmp_ok(@sh, '>=', 10, 'commands');


# links

for my $link ($readme =~ /\]\(([^)]+)\)/g) {
    next if $link =~ /^http/;

    my $anchor = $link =~ s/#(.*)// ? $1 : undef;

    ok(-e "$PrdTest::ROOT/$link", "$link is there");

    next unless defined $anchor;

    ok(scalar(grep { lc(tr/ /-/r) eq $anchor }
              slurp("$PrdTest::ROOT/$link") =~ /^#+ (.*)$/mg),
       "... with $anchor");
}


# configurations

my $conf;

for my $text (@nginx) {
    $conf = $text if $text =~ /zone=site/;

    my $here = $text;

    $here =~ s/^load_module \S+;\n//;
    $here =~ s{/var/lib/nginx/predictive}{%%DIR%%/state};
    $here =~ s{/etc/nginx/predictive\.secret}{$secret};
    $here =~ s/127\.0\.0\.1:8080/127.0.0.1:%%PORT%%/;
    $here =~ s/127\.0\.0\.1:8081/%%BACKEND_ADDR%%/;
    $here =~ s/(http \{)/$1\n%%BACKEND%%/;

    next if $here !~ /\S/;

    if ($text !~ /zone=site/) {
        my ($exit, $out) = $t->conf_test($here);

        is($exit, 0, 'a configuration') or diag $out;
        unlike($out, qr/\[warn\]/, 'without a warning');
        next;
    }

    $t->conf($here)->start;
    unlike($t->error_log, qr/\[warn\]/, 'a configuration without a warning');
}


# The API, as it is asked there.

is($t->get('/')->{status}, 200, 'the configuration works');

for (grep { /^curl / } @sh) {
    my ($data) = /-d (\S+)/;
    my ($uri) = m{http://127\.0\.0\.1:8080(/[^\s']+)} or next;

    my $r = $t->request(defined $data ? 'POST' : 'GET', $uri,
                        defined $data ? (body => $data) : ());

    is($r->{status}, $data ? 404 : 200, $_);
    like($r->{body}, qr/newcomer/, 'says what a stranger would be') if $data;
}

my $here = $t->request(POST => '/predictive/zones/site/explain?as=address',
                       body => '127.0.0.1');

is($here->{status}, 200, 'and an address that was here') or diag $here->{body};


# predictive-replay, on two days of a log

SKIP: {
    my $replay = $ENV{PRD_REPLAY} || "$PrdTest::ROOT/build/predictive-replay";

    skip('no predictive-replay', 1) unless -x $replay;

    my $work = "$dir/replay";
    my $now = time - 2 * 86400;
    my @lines = map {
        sprintf "10.0.0.%d - - [%s] \"GET /%d HTTP/1.1\" 200 12 \"-\" \"x\"\n",
                $_ % 50, strftime('%d/%b/%Y:%H:%M:%S +0000',
                                  gmtime $now + $_ * 20), $_
    } 0 .. 8000;

    mkdir $work;
    spew("$work/access.log.2", join '', @lines[0 .. 3999]);
    spew("$work/access.log", join '', @lines[4000 .. 8000]);
    $t->run('gzip', "$work/access.log.2");
    $conf =~ s/^load_module \S+;\n//;
    spew("$work/nginx.conf", $conf);

    my @commands = grep { /^predictive-replay / } @sh;

    cmp_ok(@commands, '>=', 5, 'commands of predictive-replay');

    for (@commands) {
        my $command = s/^predictive-replay/$replay/r;
        my ($exit, $out) = $t->run('/bin/sh', '-c', "cd $work && $command");

        is($exit, 0, $_) or diag $out;
        like($out, qr/^(?:8|4),00\d requests of 50 clients/m, 'all requests');
    }

    is((stat "$work/state")[2] & 07777, 0600, '--state: a file of our own');
}


# the others: make's targets, and sed

for (@sh) {
    next if /^(?:predictive-replay|curl|#|$)/;

    if (/^(?:sudo )?make\b\s*(\w+)?/) {
        my $target = $1 && $1 !~ /^[A-Z]/ ? $1 : 'all';

        like(slurp("$PrdTest::ROOT/Makefile"), qr/^(?:\S+ )*\Q$target\E:/m,
             "make $target");

    } else {
        is($_, q{sed -i 's/limit_req/predictive/' nginx.conf},
           'sed: see migration.t');
    }
}

done_testing();
