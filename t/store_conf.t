# predictive_store: wrong blocks are refused, and the message says which value
# is wrong, and where.  Right ones are taken.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdRedis;
use PrdTest qw(spew);
use Test::More;


my $t = PrdTest->new;
my $tls = PrdRedis->tls($t)->{dir};
my $secret = PrdRedis::secret_file($t, 'secret');
my $base = "server 127.0.0.1:6379; secret file:$secret;";

sub refused { $t->refuses(@_) }
sub taken   { $t->takes(@_) }

sub store { "predictive_store s {\n$_[0]\n}" }


taken(store($base), 'the least');
taken(store(<<"END"), 'all that there is');
    server 127.0.0.1;
    mode single;
    username u;
    password p;
    database 3;
    secret file:secret;
    nodes 3;
    connect_timeout 1s;
    timeout 50ms;
    sync 200ms;
    wait 5ms;
    on_error reject;
    ssl on;
    ssl_verify on;
    ssl_name redis.test;
    ssl_trusted_certificate $tls/ca.crt;
    ssl_certificate $tls/client.crt;
    ssl_certificate_key $tls/client.key;
    prefix limits;
END
taken(store("server 127.0.0.1:1; server [::1]:1; server localhost:2; "
            . "mode cluster; secret file:$secret;"), 'a cluster');
taken(store("server 127.0.0.1; server 127.0.0.1:2; mode sentinel; "
            . "master m; secret file:$secret;"), 'sentinels');
taken(store("server unix:/nonexistent; secret file:$secret;"), 'a socket');
taken(store("$base ssl on; ssl_verify off;"), 'TLS that is not verified');
taken(store($base) . "\npredictive_store t { $base }", 'two stores');


# the block

refused('predictive_store { }', 'invalid number of arguments');
refused('predictive_store a b { }', 'invalid number of arguments');
refused('predictive_store "" { }', 'invalid store name ""');
refused("server {\n" . store($base) . "\n}",
        '"predictive_store" directive is not allowed here');
refused(store($base) . "\n" . store($base),
        'store "s" is already declared in ');
refused(store("secret file:$secret;"), 'store "s" has no "server"');
refused(store('server 127.0.0.1;'), 'store "s" has no "secret"');
refused(store("$base nonsense 1;"),
        'unknown directive "nonsense" in "predictive_store"', qr/nonsense/);
refused(store("$base\nmode;"), 'invalid number of arguments in "mode"',
        qr/mode/);
refused(store("$base\nmode single cluster;"),
        'invalid number of arguments in "mode"', qr/mode/);


# each parameter: values that are none, and twice

my %bad = (
    mode            => [qw(x Single redis), ''],
    on_error        => [qw(x off), ''],
    database        => [qw(x -1 1.5 65536), ''],
    nodes           => [qw(x 0 -1 10001), ''],
    connect_timeout => [qw(x 0 -1 61s), ''],
    timeout         => [qw(x 0 61s), ''],
    sync            => [qw(x 9ms 11s), ''],
    wait            => [qw(x 0 11s), ''],
    ssl             => [qw(x yes 1), ''],
    ssl_verify      => [qw(x 2), ''],
    prefix          => ['{a}', 'a b', 'x' x 33, ''],
    username        => ['', 'x' x 256],
    master          => ['', 'x' x 256],
    ssl_name        => ['', 'x' x 256],
);

for my $name (sort keys %bad) {
    for my $value (@{ $bad{$name} }) {
        refused(store("$base\n$name \"$value\";"),
                "invalid value \"$value\" in \"$name\" directive", qr/$name/);
    }
}

my %good = (
    mode => 'single', on_error => 'pass', database => 1, nodes => 2,
    connect_timeout => '1s', timeout => '1s', sync => '1s', wait => '1s',
    ssl => 'off', ssl_verify => 'off', prefix => 'p', username => 'u',
    password => 'p', master => 'm', ssl_name => 'n',
    ssl_certificate => 'c', ssl_certificate_key => 'k',
    ssl_trusted_certificate => 't', secret => "file:$secret",
);

for my $name (sort keys %good) {
    my $rest = $name eq 'secret' ? 'server 127.0.0.1;' : $base;

    refused(store("$rest $name $good{$name};\n$name $good{$name};"),
            "\"$name\" directive is duplicate", qr/^$name/);
}


# servers

refused(store("$base\nserver 127.0.0.1:6379;"),
        'duplicate server "127.0.0.1:6379"', qr/^server/);
refused(store("$base\nserver 127.0.0.1:6380;"),
        'store "s" has several servers');
refused(store("secret file:$secret;\nserver 127.0.0.1:0;"),
        'invalid port in server "127.0.0.1:0" of store "s"', qr/^server/);
refused(store("secret file:$secret;\nserver 127.0.0.1:99999;"),
        'invalid port in server "127.0.0.1:99999"', qr/^server/);
refused(store("secret file:$secret;\nserver 127.0.0.1/x;"),
        'server "127.0.0.1/x"', qr/^server/);
refused(store("secret file:$secret;\nserver \"\";"), 'server ""',
        qr/^server/);
refused(store("secret file:$secret;\nserver no.such.host.invalid;"),
        'host not found in server "no.such.host.invalid" of store "s"',
        qr/^server/);


# what belongs together

refused(store("$base mode sentinel;"), 'store "s" has no "master"');
refused(store("$base master m;"), 'store "s" has a "master"');
refused(store("$base mode cluster; database 1;"),
        'store "s" has a "database"');
refused(store("$base username u;"),
        'store "s" has a "username" but no "password"');
refused(store("$base ssl on; ssl_certificate $tls/client.crt;"),
        'needs both "ssl_certificate" and "ssl_certificate_key"');
refused(store("$base ssl_verify on;"), 'but not "ssl on"');
refused(store("$base ssl_name x;"), 'but not "ssl on"');
refused(store("$base ssl off; ssl_trusted_certificate $tls/ca.crt;"),
        'but not "ssl on"');


# TLS files

refused(store("$base ssl on; ssl_trusted_certificate $tls/none.crt;"),
        "trusted certificates \"$tls/none.crt\" cannot be used");
refused(store("$base ssl on; ssl_certificate $tls/none.crt; "
              . "ssl_certificate_key $tls/client.key;"),
        "certificate \"$tls/none.crt\" or its key cannot be used");
refused(store("$base ssl on; ssl_certificate $tls/client.crt; "
              . "ssl_certificate_key $tls/server.key;"),
        "certificate \"$tls/client.crt\" or its key cannot be used");


# the secret

sub secret { store("server 127.0.0.1;\nsecret $_[0];") }

refused(secret('topsecret'), 'invalid value "topsecret" in "secret" '
        . 'directive, it must be "file:PATH"');
refused(secret('file:'), 'invalid value "file:" in "secret" directive');
refused(secret('file:/no/such/file'), '"/no/such/file" of "secret" failed');
refused(secret('file:' . $t->dir), '" of "secret" is no file');

my $short = PrdRedis::secret_file($t, 'short', '123456789012345');
refused(secret("file:$short"), 'has 15 bytes, it must have at least 16');
taken(secret('file:' . PrdRedis::secret_file($t, 'enough',
                                             '1234567890123456')),
      'a secret of 16 bytes');

my $open = PrdRedis::secret_file($t, 'open');
chmod 0644, $open;
refused(secret("file:$open"),
        "file \"$open\" of \"secret\" is open to all users");
chmod 0640, $open;
taken(secret("file:$open"), 'a secret for a group');

spew($t->dir . '/big', 'x' x 65537);
chmod 0600, $t->dir . '/big';
refused(secret('file:' . $t->dir . '/big'), 'is no file of at most 64k');


# the password is in no message

my $password = PrdRedis::secret_file($t, 'password', 'hunter2');
taken(store("$base password file:$password;"), 'a password in a file');
chmod 0644, $password;
refused(store("$base password file:$password;"),
        "file \"$password\" of \"password\" is open to all users");
refused(store("$base password \"\";"),
        'invalid value in "password" directive');
my $long = PrdRedis::secret_file($t, 'long', 'hunter2' x 600);
my $out = refused(store("$base password file:$long;"),
                  'invalid value in "password" directive');
$out .= refused(store("$base password hunter2 hunter2;"),
                'invalid number of arguments in "password"');
unlike($out, qr/hunter2/, 'the password is not quoted');

done_testing();
