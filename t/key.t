# A zone's key that is one field of the header: it is what nginx says that its
# variable is, however clients write the field.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PrdTest;
use Test::More;


my $t = PrdTest->new;

# /ours/ finds the field itself, /nginx/ by nginx: its key is not a variable
# alone.  Two requests of one key: the second one is refused.

$t->conf(<<'END')->start;
predictive_zone $http_x_api_key zone=ours:1m rate=1r/m learn=off;
predictive_zone $http_x_api_key$arg_none zone=nginx:1m rate=1r/m learn=off;
predictive_zone $http_authorization zone=long:1m rate=1r/m learn=off;
predictive_zone $http_k zone=short:1m rate=1r/m learn=off;
predictive_zone $http_mapped zone=mapped:1m rate=1r/m learn=off;
predictive_zone $http_host zone=known:1m rate=1r/m learn=off;

predictive_status 429;

map $arg_k $http_mapped { default $arg_k; }
map $http_x_api_key $seen { default $http_x_api_key; }

add_header X-Key "<$http_x_api_key>" always;

server {
    listen 127.0.0.1:%%PORT%%;
    listen 127.0.0.1:%%PORT3%% http2;
    location = /ours { predictive zone=ours; empty_gif; }
    location = /nginx { predictive zone=nginx; empty_gif; }
    location = /long { predictive zone=long; empty_gif; }
    location = /short { predictive zone=short; empty_gif; }
    location = /mapped { predictive zone=mapped; empty_gif; }
    location = /known { predictive zone=known; empty_gif; }
}

server {
    listen 127.0.0.1:%%PORT1%%;
    underscores_in_headers on;
    location = /ours { predictive zone=ours; empty_gif; }
    location = /nginx { predictive zone=nginx; empty_gif; }
}

server {
    listen 127.0.0.1:%%PORT2%%;
    ignore_invalid_headers off;
    location = /ours { set $early $seen; predictive zone=ours; empty_gif; }
    location = /nginx { set $early $seen; predictive zone=nginx; empty_gif; }
}
END


# What becomes of a request with such fields, and of one with the usual field
# after it: "status key, status".

my $n = 0;

sub request {
    my ($port, $uri, @fields) = @_;

    my $c = $t->connect($t->port($port));

    $c->send("GET $uri HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             . join('', map { "$_\r\n" } @fields) . "\r\n");

    my $all = $c->read_all;
    my ($status) = $all =~ m!^HTTP/1.1 (\d+)!;
    my ($key) = $all =~ m!^X-Key: (.*?)\r$!m;

    return ($status // 'no status') . ' ' . ($key // 'no key');
}

sub both {
    my ($port, $uri, $key, @fields) = @_;

    s/%/$key/ for @fields;

    my $first = request($port, $uri, @fields);
    my $second = request($port, $uri, "X-Api-Key: $key");

    return ($first . ', ' . $second) =~ s/\Q$key\E/%/gr;
}

my @cases = (
    [ 'as usual', 'X-Api-Key: %' ],
    [ 'in other cases', 'x-aPI-kEy: %' ],
    [ 'with an underscore', 'X_Api-Key: %' ],
    [ 'with two', 'X_API_KEY: %' ],
    [ 'with another letter', 'X-Abi-Key: %' ],
    [ 'longer', 'X-Api-Keys: %' ],
    [ 'shorter', 'X-Api-Ke: %' ],
    [ 'other characters', 'X-Api.Key: %' ],
    [ 'none' ],
    [ 'empty', 'X-Api-Key:' ],
    [ 'twice, the key first', 'X-Api-Key: %', 'X-Api-Key: other%' ],
    [ 'twice, the key last', 'X-Api-Key: other%', 'X-Api-Key: %' ],
    [ 'twice, in two ways', 'X_Api_Key: %', 'X-Api-Key: other%' ],
    [ 'twice, empty first', 'X-Api-Key:', 'X-Api-Key: %' ],
    [ 'behind many', (map { "X-Api-Ke$_: $_" } 0 .. 60), 'X-Api-Key: %' ],
);

my @port = ('as nginx is', 'with underscores', 'with invalid fields');

for my $port (0 .. 2) {
    for my $case (@cases) {
        my ($name, @fields) = @$case;

        $n++;

        my $ours = both($port, '/ours', "k$n", @fields);

        is($ours, both($port, '/nginx', "k$n", @fields),
           "$port[$port], $name: " . $ours =~ tr/,/;/r);
    }
}

# what these cases are for

is(both(0, '/ours', 'a1', 'X-Api-Key: %'), '200 <%>, 429 <%>',
   'the usual field is the key');
is(both(0, '/ours', 'a2', 'x-api-KEY: %'), '200 <%>, 429 <%>',
   'so it is in other cases');
is(both(0, '/ours', 'a3', 'X_Api_Key: %'), '200 <>, 200 <%>',
   'underscores are not taken');
is(both(1, '/ours', 'a4', 'X_Api_Key: %'), '200 <%>, 429 <%>',
   'but where nginx takes them');
is(both(0, '/ours', 'a5'), '200 <>, 200 <%>', 'no field is no client');

is(request(0, '/long', 'Authorization: Bearer 1') . ' '
   . request(0, '/long', 'AUTHORIZATION: Bearer 1'), '200 <> 429 <>',
   'a long name');
is(request(0, '/short', 'K: 1') . ' ' . request(0, '/short', 'k: 1'),
   '200 <> 429 <>', 'a short name');
is(request(0, '/mapped?k=1', 'Mapped: a') . ' '
   . request(0, '/mapped?k=1', 'Mapped: b'), '200 <> 429 <>',
   'a variable of such a name is not a field');
is(request(0, '/known') . ' ' . request(0, '/known'), '200 <> 429 <>',
   'a field that nginx knows');

is(join(' ', map { $t->h2('/ours', port => $t->port(3),
                              headers => { 'X-Api-Key' => 'h2' })
                     ->{status} } 1, 2), '200 429', 'HTTP/2');


# several over HTTP/2: nginx says which one it is

sub two {
    my ($uri) = @_;

    return join ' ', map { my @fields = @$_;
                           $t->h2($uri, port => $t->port(3),
                                  args => [map { ('-H', "X-Api-Key: $_") }
                                               @fields])->{status} }
                         [ 'two1', 'two2' ], [ 'two1' ], [ 'two2' ];
}

my $two = two('/ours');

is($two, two('/nginx'), "two fields over HTTP/2: $two");


done_testing;
