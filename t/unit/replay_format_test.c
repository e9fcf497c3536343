
/* How lines fall into fields. */


#include <stdlib.h>

#include "replay/format.h"
#include "tap.h"


#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

#define START                                                                 \
    "192.0.2.7 - joe [22/Nov/2025:01:24:36 +0000] \"GET / HTTP/1.1\""

#define COMBINED                                                              \
    "192.0.2.7 - joe [22/Nov/2025:01:24:36 +0000] \"GET /a?b=c HTTP/1.1\" "   \
    "200 612 \"-\" \"curl/8\""


static rpl_format_t  *format;
static prd_str_t      fields[RPL_FIELDS];
static const char    *why;
static char          *line_copy;


static void
use(const char *text, rpl_escape_e escape)
{
    rpl_error_t  e;

    rpl_format_done(format);
    format = NULL;

    e.text[0] = '\0';

    if (rpl_format_create(&format, rpl_str(text), escape, &e) != PRD_OK) {
        printf("# %s\n", e.text);
    }

    ok(format != NULL, "format %.60s", text);
}


/* The line in memory of exactly its size, so that a sanitizer sees its end. */

static prd_rc_t
split(const char *line)
{
    prd_str_t  s;

    free(line_copy);
    s.len = strlen(line);
    line_copy = malloc(s.len ? s.len : 1);
    memcpy(line_copy, line, s.len);
    s.data = line_copy;

    return rpl_format_split(format, s, fields, &why);
}


static prd_str_t
field(const char *name)
{
    uint32_t     slot;
    rpl_error_t  e;

    if (rpl_format_slot(format, rpl_str(name), &slot, &e) != PRD_OK
        || slot == RPL_NO_SLOT)
    {
        return (prd_str_t) { 6, "(none)" };
    }

    return fields[slot];
}


#define is_field(name, expected)                                              \
    is_str(field(name).data, field(name).len, expected, "$%s", name)


static void
bad_format(const char *text, const char *like)
{
    rpl_error_t    e;
    rpl_format_t  *f;

    f = NULL;
    e.text[0] = '\0';

    ok(rpl_format_create(&f, rpl_str(text), RPL_ESCAPE_DEFAULT, &e)
       == PRD_EINVAL && f == NULL && strstr(e.text, like) != NULL,
       "bad format \"%.40s\": %s", text, e.text);
}


static void
test_combined(void)
{
    size_t    i;
    uint32_t  status;

    static const char *const  broken[] = {
        "", "x", "192.0.2.7 - joe",
        START " 200",
        COMBINED " more",
        START " 200 612 \"-\" \"curl/8"
    };

    use("combined", RPL_ESCAPE_DEFAULT);

    ok(split(COMBINED) == PRD_OK, "a line");
    is_field("remote_addr", "192.0.2.7");
    is_field("remote_user", "joe");
    is_field("time_local", "22/Nov/2025:01:24:36 +0000");
    is_field("request", "GET /a?b=c HTTP/1.1");
    is_field("status", "200");
    is_field("body_bytes_sent", "612");
    is_field("http_referer", "-");
    is_field("HTTP_User_Agent", "curl/8");
    is_field("nothing", "(none)");

    status = 7;
    ok(rpl_format_status(format, fields, &status, &why) == PRD_OK
       && status == 200, "its status");

    for (i = 0; i < COUNT(broken); i++) {
        why = NULL;
        ok(split(broken[i]) == PRD_EINVAL && why != NULL,
           "broken \"%.30s\": %s", broken[i], why ? why : "?");
    }

    /* nginx escapes quotes; Apache's logs have a backslash in front */

    ok(split("h - - [22/Nov/2025:01:24:36 +0000] \"GET /\\x22 HTTP/1.1\" 200 "
             "1 \"-\" \"a \\\"quoted\\\" b\\\\\"") == PRD_OK, "escapes");
    is_field("request", "GET /\\x22 HTTP/1.1");
    is_field("http_user_agent", "a \\\"quoted\\\" b\\\\");

    use("common", RPL_ESCAPE_DEFAULT);
    ok(split("h - - [22/Nov/2025:01:24:36 +0000] \"GET / HTTP/1.0\" 304 -")
       == PRD_OK, "common");
    is_field("body_bytes_sent", "-");

    ok(split("h - - [22/Nov/2025:01:24:36 +0000] \"GET / HTTP/1.0\" 20x -")
       == PRD_OK && rpl_format_status(format, fields, &status, &why)
       == PRD_EINVAL, "a status that is none");
    ok(split("h - - [22/Nov/2025:01:24:36 +0000] \"GET / HTTP/1.0\" - -")
       == PRD_OK && rpl_format_status(format, fields, &status, &why)
       == PRD_OK && status == 0, "no status");
}


static void
test_custom(void)
{
    uint32_t      slot;
    rpl_error_t   e;
    rpl_stamp_t   t;

    use("$msec|${remote_addr}|$upstream_addr $upstream_status "
        "$request_time;$scheme$host", RPL_ESCAPE_DEFAULT);

    ok(split("1763774676.250|::1|10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80 502, "
             "200 : 200 0.125;httpexample.org") == PRD_OK, "a line");
    is_field("remote_addr", "::1");
    is_field("upstream_addr", "10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80");
    is_field("upstream_status", "502, 200 : 200");
    is_int(rpl_format_duration(format, fields), 125000, "request time");
    ok(rpl_format_time(format, fields, &t, &why) == PRD_OK
       && t.us == 1763774676250000 && !t.whole, "time");

    ok(rpl_format_slot(format, rpl_str("host"), &slot, &e) == PRD_DECLINED,
       "glued variables cannot be told apart: %s", e.text);
    ok(rpl_format_slot(format, rpl_str("scheme"), &slot, &e) == PRD_DECLINED,
       "... the first neither");

    ok(split("soon|::1|- - -;") == PRD_OK
       && rpl_format_time(format, fields, &t, &why) == PRD_EINVAL,
       "a time that is none: %s", why);
    is_int(rpl_format_duration(format, fields), 0, "no request time");

    use("[$time_iso8601] $a", RPL_ESCAPE_DEFAULT);
    ok(split("[2025-11-22T01:24:36+00:00] last one\twith blanks") == PRD_OK,
       "the last goes to the end");
    is_field("a", "last one\twith blanks");
    ok(split("(2025-11-22T01:24:36+00:00] x") == PRD_EINVAL, "%s", why);

    bad_format("", "unknown format");
    bad_format("combine", "unknown format");
    bad_format("$remote_addr", "none of $msec");
    bad_format("$msec $", "no variable");
    bad_format("$msec ${x", "no variable");
    bad_format("$msec$remote_addr", "none of $msec");
}


static void
test_tsv(void)
{
    uint32_t      slot;
    rpl_stamp_t   t;
    rpl_error_t   e;

    use("tsv", RPL_ESCAPE_DEFAULT);

    ok(split("12.5\tA\t3\t100\t200") == PRD_OK, "five columns");
    is_field("client", "A");
    is_field("class", "3");
    is_field("bytes", "100");
    is_field("status", "200");
    ok(rpl_format_time(format, fields, &t, &why) == PRD_OK
       && t.us == 12500000, "time");

    ok(split("12\tA\t3\t100\t200\t-7\textra") == PRD_OK, "more columns");
    is_field("status", "200");

    ok(rpl_format_slot(format, rpl_str("col6"), &slot, &e) == PRD_OK
       && slot == 5, "$col6");
    ok(rpl_format_slot(format, rpl_str("col2"), &slot, &e) == PRD_OK
       && slot == 1, "$col2 is $client");
    ok(rpl_format_slot(format, rpl_str("col0"), &slot, &e) == PRD_OK
       && slot == RPL_NO_SLOT, "no $col0");
    ok(rpl_format_slot(format, rpl_str("col999"), &slot, &e) == PRD_OK
       && slot == RPL_NO_SLOT, "no $col999");

    ok(split("12\tA\t3\t100\t200\t-7\textra") == PRD_OK, "and its value");
    is_field("col6", "-7");
    ok(split("12\tA\t3\t100\t200") == PRD_OK, "or none");
    is_field("col6", "");
    ok(split("12\t\t\t\t") == PRD_OK, "empty columns");
    is_field("client", "");
    is_field("status", "");

    ok(split("12\tA\t3\t100") == PRD_EINVAL, "four: %s", why);
    ok(split("") == PRD_EINVAL, "none");
}


static void
test_json(void)
{
    size_t       i;
    uint32_t     slot;
    rpl_error_t  e;
    rpl_stamp_t  t;

    static const char *const  broken[] = {
        "", "x", "[1]", "{", "{\"a\"}", "{\"a\":}x", "{\"a\":1", "{\"a\":1,",
        "{\"a\":1,}", "{\"a\":\"b}", "{\"a\":{\"b\":1}", "{\"a\":1} x",
        "{\"a\" 1}", "{a:1}", "{\"a\":\"b\"\"c\":1}", "{\"a\":["
    };

    use("json", RPL_ESCAPE_DEFAULT);

    (void) rpl_format_slot(format, rpl_str("remote_addr"), &slot, &e);
    (void) rpl_format_slot(format, rpl_str("agent"), &slot, &e);
    (void) rpl_format_slot(format, rpl_str("Agent"), &slot, &e);
    (void) rpl_format_slot(format, rpl_str("n"), &slot, &e);

    ok(split("{\"time\":\"2025-11-22T01:24:36+00:00\",\"remote_addr\":\"::1\","
             " \"x\" : {\"agent\":[1,\"}\"]}, \"agent\":\"a\\\"b\\\\\","
             "\"n\":null,\"status\":429 ,\"request_time\":0.5}") == PRD_OK,
       "a line");
    is_field("remote_addr", "::1");
    is_field("agent", "a\\\"b\\\\");
    is_field("Agent", "");
    is_field("n", "");
    is_field("status", "429");
    is_int(rpl_format_duration(format, fields), 500000, "request time");
    ok(rpl_format_time(format, fields, &t, &why) == PRD_OK
       && t.us == 1763774676000000, "time");

    ok(split("{}") == PRD_OK && rpl_format_time(format, fields, &t, &why)
       == PRD_EINVAL, "no time: %s", why);
    is_field("remote_addr", "");

    ok(split(" {\"ts\":1763774676.5,\"request_time\":,\"status\":-} ")
       == PRD_OK && rpl_format_time(format, fields, &t, &why) == PRD_OK
       && t.us == 1763774676500000, "what a log_format by hand writes");

    for (i = 0; i < COUNT(broken); i++) {
        why = NULL;
        ok(split(broken[i]) == PRD_EINVAL && why != NULL,
           "broken \"%s\": %s", broken[i], why ? why : "?");
    }
}


static void
test_decode(void)
{
    size_t      i, len;
    prd_str_t   s;
    char        out[64];

    static const struct {
        rpl_escape_e   escape;
        const char    *from;
        const char    *to;
    } cases[] = {
        { RPL_ESCAPE_DEFAULT, "a\\x22b", "a\"b" },
        { RPL_ESCAPE_DEFAULT, "\\x5Cx41", "\\x41" },
        { RPL_ESCAPE_DEFAULT, "\\\"", "\"" },
        { RPL_ESCAPE_DEFAULT, "\\n\\u0041", "\\n\\u0041" },
        { RPL_ESCAPE_DEFAULT, "\\x4", "\\x4" },
        { RPL_ESCAPE_DEFAULT, "\\xzz", "\\xzz" },
        { RPL_ESCAPE_DEFAULT, "end\\", "end\\" },
        { RPL_ESCAPE_NONE, "\\x22", "\\x22" },
        { RPL_ESCAPE_JSON, "\\n\\/\\\\\\\"", "\n/\\\"" },
        { RPL_ESCAPE_JSON, "\\u0041\\u00e9\\u20ac", "A\xc3\xa9\xe2\x82\xac" },
        { RPL_ESCAPE_JSON, "\\ud83d\\ude00", "\xf0\x9f\x98\x80" },
        { RPL_ESCAPE_JSON, "\\u00", "\\u00" },
        { RPL_ESCAPE_JSON, "\\q", "\\q" }
    };

    for (i = 0; i < COUNT(cases); i++) {
        s = rpl_str(cases[i].from);
        len = rpl_format_decode(cases[i].escape, s, out);
        ok(len <= s.len, "no longer than it was");
        is_str(out, len, cases[i].to, "decoded \"%s\"", cases[i].from);
    }
}


int
main(void)
{
    test_combined();
    test_custom();
    test_tsv();
    test_json();
    test_decode();

    rpl_format_done(format);
    free(line_copy);

    return done_testing();
}
