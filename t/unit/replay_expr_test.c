
/* Expressions over fields. */


#include <stdlib.h>

#include "replay/conf.h"
#include "replay/expr.h"
#include "tap.h"


#define FORMAT  "$msec $remote_addr \"$request\" \"$http_cookie\" $who$what"


static rpl_format_t   *format;
static rpl_scratch_t   scratch;
static prd_str_t       fields[RPL_FIELDS];
static rpl_names_t     names;
static char            maker[] = "map at nginx.conf:7";


static void
line(const char *text)
{
    const char  *why;

    why = "";
    ok(rpl_format_split(format, rpl_str(text), fields, &why) == PRD_OK,
       "line %.50s %s", text, why);
}


/* names the map's variable */

static const char *
made(void *data, prd_str_t name)
{
    return prd_is(name, "mapped") ? data : NULL;
}


static void
is_value(const char *text, int masked, const char *expected)
{
    prd_rc_t      rc;
    prd_str_t     s;
    rpl_error_t   e;
    rpl_expr_t   *x;

    e.text[0] = '\0';
    rc = masked ? rpl_expr_create_masked(&x, rpl_str(text), format, &names, &e)
                : rpl_expr_create(&x, rpl_str(text), format, &names, &e);

    if (rc != PRD_OK) {
        ok(0, "%s: %s", text, e.text);
        return;
    }

    scratch.used = 0;
    s = rpl_expr_eval(x, fields, &scratch);
    is_str(s.data, s.len, expected, "%s", text);

    rpl_expr_done(x);
}


static void
is_bad(const char *text, int masked, const char *like)
{
    prd_rc_t      rc;
    rpl_error_t   e;
    rpl_expr_t   *x;

    e.text[0] = '\0';
    rc = masked ? rpl_expr_create_masked(&x, rpl_str(text), format, &names, &e)
                : rpl_expr_create(&x, rpl_str(text), format, &names, &e);

    ok(rc != PRD_OK && strstr(e.text, like) != NULL, "bad %s: %s", text,
       e.text);
}


static void
is_binary(const char *address, const char *bytes, size_t len)
{
    char          text[256];
    prd_str_t     s;
    rpl_error_t   e;
    rpl_expr_t   *x;

    snprintf(text, sizeof(text), "1 %s \"-\" \"-\" x", address);
    line(text);

    if (rpl_expr_create(&x, rpl_str("$binary_remote_addr"), format, NULL, &e)
        != PRD_OK)
    {
        ok(0, "%s", e.text);
        return;
    }

    scratch.used = 0;
    s = rpl_expr_eval(x, fields, &scratch);
    ok(s.len == len && memcmp(s.data, bytes, len) == 0, "binary %s", address);
    ok(!rpl_expr_plain(x), "is printed otherwise");
    s = rpl_expr_text(x, fields, &scratch);
    is_str(s.data, s.len, address, "as text");

    rpl_expr_done(x);
}


int
main(void)
{
    prd_identity_t  *id;
    rpl_conf_t      *conf;
    rpl_error_t      e;
    rpl_identity_t  *identity;

    rpl_scratch_init(&scratch);

    ok(rpl_format_create(&format, rpl_str(FORMAT), RPL_ESCAPE_DEFAULT, &e)
       == PRD_OK, "format");

    names.made = made;
    names.data = maker;

    line("1 192.0.2.7 \"GET /a//b/../c%20d/./e?x=1&Key=v%2F HTTP/1.1\" "
         "\"sid=s1; theme=\\x22dark\\x22\" w");

    is_value("$remote_addr", 0, "192.0.2.7");
    is_value("", 0, "");
    is_value("fixed", 0, "fixed");
    is_value("k:${remote_addr}:$request_method", 0, "k:192.0.2.7:GET");
    is_value("$request_uri", 0, "/a//b/../c%20d/./e?x=1&Key=v%2F");
    is_value("$uri", 0, "/a/c d/e");
    is_value("$args", 0, "x=1&Key=v%2F");
    is_value("$is_args$args", 0, "?x=1&Key=v%2F");
    is_value("$arg_key", 0, "v%2F");
    is_value("$arg_none", 0, "");
    is_value("$server_protocol", 0, "HTTP/1.1");
    is_value("$cookie_sid", 0, "s1");
    is_value("$cookie_theme", 0, "\"dark\"");
    is_value("$http_cookie", 0, "sid=s1; theme=\"dark\"");
    is_value("$REMOTE_ADDR", 0, "192.0.2.7");

    is_value("$remote_addr/24", 1, "192.0.2.0/24");
    is_value("$remote_addr/24/48", 1, "192.0.2.0/24");
    is_value("$remote_addr/24", 0, "192.0.2.7/24");
    is_value("$remote_addr/x", 1, "192.0.2.7/x");
    is_bad("$remote_addr/33", 1, "at most 32");

    is_bad("$http_x", 0, "has no $http_x");
    is_bad("a$mapped", 0, "map at nginx.conf:7");
    is_bad("$", 0, "no variable");
    is_bad("$who", 0, "cannot be told");

    line("1 2001:db8::7 \"-\" \"-\" w");
    is_value("$remote_addr/24", 1, "2001:db8::/64");
    is_value("$remote_addr/24/32", 1, "2001:db8::/32");
    is_value("$uri$args$request_method", 0, "");
    is_value("$http_cookie", 0, "");

    line("1 h \"POST http://example.org HTTP/1.0\" \"-\" w");
    is_value("$uri", 0, "/");
    line("1 h \"GET http://example.org/../../x/.. HTTP/1.0\" \"-\" w");
    is_value("$uri", 0, "/x/..");
    line("1 h \"GET /with blank\" \"-\" w");
    is_value("$uri", 0, "/with blank");
    is_value("$server_protocol", 0, "");
    line("1 h \"\\x16\\x03\\x01\" \"-\" w");
    is_value("$request_method|$uri|$server_protocol", 0, "||");

    is_binary("192.0.2.7", "\xc0\x00\x02\x07", 4);
    is_binary("255.0.0.255", "\xff\x00\x00\xff", 4);
    is_binary("::1", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    is_binary("unix:", "unix:", 5);
    is_binary("1.2.3.4.5", "1.2.3.4.5", 9);
    is_binary("1.2.3", "1.2.3", 5);
    is_binary("256.1.1.1", "256.1.1.1", 9);
    is_binary("host.example", "host.example", 12);

    /* identities are variables */

    ok(rpl_conf_rules(&conf, "token $cookie_sid; address $remote_addr 24 48",
                      &id, &e) == PRD_OK, "rules");
    identity = rpl_alloc(sizeof(rpl_identity_t));
    identity->name = rpl_str("client");
    identity->id = id;
    names.identities = identity;

    line("1 192.0.2.7 \"-\" \"sid=s1\" w");
    is_value("$client", 0, "ts1");
    is_value("x$client-$client", 0, "xts1-ts1");
    line("1 192.0.2.7 \"-\" \"-\" w");
    is_value("$client", 0, "4192.0.2.0/24");

    rpl_names_done(&names);
    rpl_conf_done(conf);

    ok(rpl_conf_rules(&conf, "token $cookie_sid; nonsense", &id, &e)
       != PRD_OK, "bad rules: %s", e.text);
    ok(rpl_conf_rules(&conf, "token $a {", &id, &e) != PRD_OK,
       "bad rules: %s", e.text);

    rpl_format_done(format);
    rpl_scratch_done(&scratch);

    return done_testing();
}
