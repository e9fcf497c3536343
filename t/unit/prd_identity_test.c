
/* Sources, keys, bounded matching. */


#include <stdlib.h>
#include <time.h>

#include "prd_identity.h"
#include "tap.h"
#include "text.h"


/*
 * What a match may take at worst.  It measures 1/100 of this; a sanitizer or
 * a busy machine may use the rest.  Unbounded it would be minutes to eons.
 */

#define SECONDS   5


static void  *blocks[1000];
static size_t  nblocks, nallowed;


static void *
test_alloc(void *data, size_t size)
{
    (void) data;

    if (nblocks == nallowed) {
        return NULL;
    }

    return blocks[nblocks++] = malloc(size);
}


static void
test_free(prd_identity_t *id)
{
    prd_identity_done(id);

    while (nblocks) {
        free(blocks[--nblocks]);
    }
}


static prd_identity_t *
create(void)
{
    prd_rc_t         rc;
    prd_identity_t  *id;

    nblocks = 0;
    nallowed = COUNT(blocks);

    rc = prd_identity_create(test_alloc, NULL, &id);

    return rc == PRD_OK ? id : NULL;
}


/* A line's words, NULL at the end.  The words are gone when it returns. */

static const char  *add_why;
static char         add_bad[300];


static prd_rc_t
add(prd_identity_t *id, const char *const *words)
{
    char       *copy[8];
    size_t      n, i;
    prd_rc_t    rc;
    prd_str_t   strs[8], bad;

    for (n = 0; n < 7 && words[n] != NULL; n++) {
        copy[n] = malloc(strlen(words[n]) + 1);
        memcpy(copy[n], words[n], strlen(words[n]) + 1);
        strs[n] = str(copy[n]);
    }

    add_why = NULL;
    bad = str("");
    strs[n] = bad;

    rc = prd_identity_add(id, strs, n, &add_why, &bad);

    (void) snprintf(add_bad, sizeof(add_bad), "%.*s", (int) bad.len,
                    bad.data);

    for (i = 0; i < n; i++) {
        free(copy[i]);
    }

    return rc;
}

#define ADD(id, ...)                                                          \
    add(id, (const char *const []) { __VA_ARGS__, NULL })


typedef struct {
    prd_str_t  values[PRD_IDENTITY_SOURCES];
    prd_rc_t   rc[PRD_IDENTITY_SOURCES];
    unsigned   asked;                     /* a bit a source */
} ctx_t;


static prd_rc_t
get(void *data, size_t n, prd_str_t *value)
{
    ctx_t  *c = data;

    c->asked |= 1u << n;

    if (c->rc[n] != PRD_OK) {
        return c->rc[n];
    }

    if (c->values[n].data == NULL) {
        return PRD_DECLINED;
    }

    *value = c->values[n];

    return PRD_OK;
}


static char    key[PRD_IDENTITY_KEY_MAX];
static size_t  key_len;


static prd_rc_t
make(prd_identity_t *id, ctx_t *c)
{
    prd_rc_t  rc;
    char     *p;
    size_t    len = 12345;

    /* just as large as the header says */

    p = malloc(PRD_IDENTITY_KEY_MAX);

    c->asked = 0;
    rc = prd_identity_key(id, get, c, p, &len);

    key_len = 0;

    if (rc == PRD_OK || rc == PRD_ELIMIT) {
        key_len = len;
        memcpy(key, p, len);

    } else if (len != 12345) {
        rc = PRD_ECORRUPT;
    }

    free(p);

    return rc;
}


static prd_rc_t
make3(prd_identity_t *id, const char *a, const char *b, const char *c)
{
    ctx_t  ctx;

    memset(&ctx, 0, sizeof(ctx));

    ctx.values[0] = str(a);
    ctx.values[1] = str(b);
    ctx.values[2] = str(c);

    return make(id, &ctx);
}


static double
now(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}


static void
test_add(void)
{
    size_t           i;
    prd_rc_t         rc;
    prd_str_t        s, bad;
    prd_kind_e       kind;
    const char      *why;
    prd_identity_t  *id;

    static const struct {
        const char  *words[6];
        prd_rc_t     rc;
        const char  *bad;
    } lines[] = {
        { { "tokens", "$a" }, PRD_EINVAL, "tokens" },
        { { "Token", "$a" }, PRD_EINVAL, "Token" },
        { { "" }, PRD_EINVAL, "" },
        { { "token" }, PRD_EINVAL, "token" },
        { { "token", "" }, PRD_EINVAL, "" },
        { { "token", "http_x" }, PRD_EINVAL, "http_x" },
        { { "token", "$a", "" }, PRD_EINVAL, "" },
        { { "token", "$a", "(" }, PRD_EINVAL, "(" },
        { { "token", "$a", "[z-a]" }, PRD_EINVAL, "[z-a]" },
        { { "token", "$a", "(*UTF)a" }, PRD_EINVAL, "(*UTF)a" },
        { { "token", "$a", "a", "b" }, PRD_EINVAL, "b" },
        { { "address" }, PRD_EINVAL, "address" },
        { { "address", "$a" }, PRD_EINVAL, "address" },
        { { "address", "$a", "32" }, PRD_EINVAL, "address" },
        { { "address", "$a", "33", "64" }, PRD_ERANGE, "33" },
        { { "address", "$a", "-1", "64" }, PRD_EINVAL, "-1" },
        { { "address", "$a", "/24", "64" }, PRD_EINVAL, "/24" },
        { { "address", "$a", "", "64" }, PRD_EINVAL, "" },
        { { "address", "$a", "32", "129" }, PRD_ERANGE, "129" },
        { { "address", "$a", "32", "6x" }, PRD_EINVAL, "6x" },
        { { "address", "$a", "32", "64", "1" }, PRD_EINVAL, "address" },
        { { "agent", "$a", "x" }, PRD_EINVAL, "x" },
        { { "separate" }, PRD_EINVAL, "separate" },
        { { "separate", "agent" }, PRD_EINVAL, "separate" },
        { { "separate", "agent", "agents" }, PRD_EINVAL, "agents" },
        { { "separate", "agent", "agent" }, PRD_EINVAL, "agent" }
    };

    id = create();

    is_int(prd_identity_end(id, &why), PRD_EINVAL, "no source: \"%s\"", why);

    is_int(prd_identity_add(id, NULL, 0, &why, &bad), PRD_EINVAL,
           "no words: \"%s\"", why);

    for (i = 0; i < COUNT(lines); i++) {
        rc = add(id, lines[i].words);
        ok(rc == lines[i].rc && add_why != NULL
           && strcmp(add_bad, lines[i].bad) == 0,
           "line %zu: rc %d, \"%s\" %s", i, rc, add_bad,
           add_why ? add_why : "(none)");
    }

    ok(ADD(id, "token", "$a", "(") == PRD_EINVAL
       && strstr(add_why, "parenthesis") != NULL, "PCRE2 speaks: \"%s\"",
       add_why);

    is_int(prd_identity_sources(id), 0, "failures add nothing");

    is_int(ADD(id, "address", "$a", "0", "128"), PRD_OK, "prefixes 0, 128");
    is_int(ADD(id, "separate", "agent", "address"), PRD_OK, "separate");
    is_int(ADD(id, "separate", "agent", "address"), PRD_EINVAL,
           "separate again: \"%s\"", add_why);
    is_int(prd_identity_end(id, &why), PRD_EINVAL, "no agent: \"%s\"", why);
    is_int(ADD(id, "agent", "$http_user_agent"), PRD_OK, "an agent");
    is_int(prd_identity_end(id, &why), PRD_OK, "now it can be separated");

    s = prd_identity_source(id, 1, &kind);
    is_str(s.data, s.len, "$http_user_agent", "source 1");
    is_int(kind, PRD_KIND_AGENT, "... its kind");
    s = prd_identity_source(id, 0, NULL);
    is_str(s.data, s.len, "$a", "source 0, its kind not asked");

    for (i = 2; i < PRD_IDENTITY_SOURCES; i++) {
        rc = ADD(id, "token", "$a", "a(.)");
    }

    is_int(rc, PRD_OK, "the 16th source");
    is_int(ADD(id, "token", "$a"), PRD_EFULL, "the 17th: \"%s\"", add_why);
    is_int(prd_identity_sources(id), 16, "16 sources");

    prd_identity_done(id);
    test_free(id);
    prd_identity_done(NULL);
    ok(1, "done twice, and with NULL");

    nblocks = 0;
    nallowed = 0;
    is_int(prd_identity_create(test_alloc, NULL, &id), PRD_ENOMEM,
           "no memory for the rules");

    id = create();
    nallowed = 1;
    is_int(ADD(id, "token", "$a"), PRD_ENOMEM, "no memory for a value: \"%s\"",
           add_why);
    is_int(prd_identity_sources(id), 0, "... adds nothing");
    test_free(id);
}


static void
test_order(void)
{
    ctx_t            c;
    const char      *why;
    prd_identity_t  *id;

    id = create();

    ADD(id, "token", "$http_x_api_key");
    ADD(id, "address", "$remote_addr", "24", "64");
    ADD(id, "agent", "$http_user_agent");
    is_int(prd_identity_end(id, &why), PRD_OK, "three sources");

    is_int(make3(id, "k1", "192.0.2.7", "curl/8"), PRD_OK, "a token");
    is_str(key, key_len, "tk1", "... wins");

    is_int(make3(id, NULL, "192.0.2.7", "curl/8"), PRD_OK, "none");
    is_str(key, key_len, "4192.0.2.0/24", "... the address");

    is_int(make3(id, "", "2001:db8::5", "curl/8"), PRD_OK, "an empty one");
    is_str(key, key_len, "62001:db8::/64", "... counts as none");

    is_int(make3(id, NULL, "::ffff:192.0.2.9", NULL), PRD_OK, "mapped");
    is_str(key, key_len, "4192.0.2.0/24", "... is IPv4");

    is_int(make3(id, NULL, "unix:", NULL), PRD_OK, "no address");
    is_str(key, key_len, "xunix:", "... is its text");

    is_int(make3(id, NULL, NULL, "curl/8"), PRD_OK, "an agent");
    is_str(key, key_len, "acurl", "... is its family");

    is_int(make3(id, NULL, NULL, NULL), PRD_DECLINED, "nothing");
    is_int(make3(id, "", "", ""), PRD_DECLINED, "nothing, three times empty");

    /* kinds never meet */

    make3(id, "192.0.2.0/24", NULL, NULL);
    is_str(key, key_len, "t192.0.2.0/24", "a token like an address");
    make3(id, "4192.0.2.0/24", NULL, NULL);
    is_str(key, key_len, "t4192.0.2.0/24", "a token like an address's key");

    memset(&c, 0, sizeof(c));
    c.values[0] = (prd_str_t) { 5, "a\0b\0c" };
    is_int(make(id, &c), PRD_OK, "a token with NULs");
    ok(key_len == 6 && memcmp(key, "ta\0b\0c", 6) == 0, "... whole");
    is_int(c.asked, 1, "no source is asked in vain");

    c.values[0].len = 3;
    make(id, &c);
    ok(key_len == 4, "... and a shorter one differs");

    c.rc[0] = PRD_ENOMEM;
    is_int(make(id, &c), PRD_ENOMEM, "another code of get() is passed on");

    test_free(id);
}


static void
test_regex(void)
{
    ctx_t            c;
    prd_identity_t  *id;

    id = create();

    ADD(id, "token", "$http_authorization", "^Bearer\\s+(\\S+)");
    ADD(id, "token", "$cookie", "(?i)sid=[0-9a-f]+");
    ADD(id, "token", "$x", "(a)|(b)|c(.*)(.)(.)");

    is_int(make3(id, "Bearer  abc.def x", NULL, NULL), PRD_OK, "group 1");
    is_str(key, key_len, "tabc.def", "... is kept");

    is_int(make3(id, "Basic Zm9v", "a=1; SID=0aF; b", NULL), PRD_OK,
           "no match is no value; no group");
    is_str(key, key_len, "tSID=0aF", "... keeps the whole match");

    is_int(make3(id, "bearer abc", "sid=", "xa"), PRD_OK, "the third");
    is_str(key, key_len, "ta", "... has more groups than are kept");

    is_int(make3(id, NULL, NULL, "b"), PRD_DECLINED, "group 1 is unset");
    is_int(make3(id, NULL, NULL, "c12"), PRD_DECLINED, "... among more");
    is_int(make3(id, "Bearer ", NULL, NULL), PRD_DECLINED, "no match at all");

    memset(&c, 0, sizeof(c));
    c.values[0] = (prd_str_t) { 12, "Bearer a\0b\xff\xfe" };
    is_int(make(id, &c), PRD_OK, "NULs and bytes that are no UTF-8");
    ok(key_len == 6 && memcmp(key, "ta\0b\xff\xfe", 6) == 0, "... are kept");

    test_free(id);

    id = create();

    ADD(id, "token", "$a", "x()");
    ADD(id, "token", "$b", "a(*ACCEPT)b");
    ADD(id, "token", "$c", "foo\\K");

    is_int(make3(id, "x", NULL, NULL), PRD_DECLINED, "an empty group 1");
    is_int(make3(id, NULL, "a", NULL), PRD_OK, "(*ACCEPT)");
    is_int(make3(id, NULL, NULL, "foo"), PRD_DECLINED, "\\K to the end");

    test_free(id);
}


/* One expression on one long value; limit: it must end as PRD_ELIMIT. */

static void
bomb(const char *name, const char *regex, const char *pattern, size_t len,
    int limit)
{
    char            *big;
    ctx_t            c;
    double           start, took;
    prd_rc_t         rc;
    prd_identity_t  *id;

    big = fill(pattern, len);

    id = create();

    if (ADD(id, "token", "$a", regex) != PRD_OK) {
        ok(0, "%s: %s", name, add_why);
        return;
    }

    memset(&c, 0, sizeof(c));
    c.values[0] = (prd_str_t) { len, big };

    start = now();
    rc = make(id, &c);
    took = now() - start;

    ok(took < SECONDS, "%s, %zu bytes: rc %d after %.0f ms", name, len, rc,
       took * 1000);

    if (limit) {
        is_int(rc, PRD_ELIMIT, "... at the limit");
        ok(key_len == PRD_IDENTITY_KEY_MAX && key[0] == 'T'
           && memcmp(key + 1, big, 200) == 0, "... the value is the token");

    } else {
        ok(rc == PRD_OK || rc == PRD_DECLINED || rc == PRD_ELIMIT,
           "... rc %d", rc);
    }

    test_free(id);
    free(big);
}


static void
test_bombs(void)
{
    size_t  i;

    static const size_t  lens[] = { 4000, 8191, BIG };

    /* "[xy]" at the end: a literal would be missed before matching */

    for (i = 0; i < COUNT(lens); i++) {
        bomb("(a+)+$", "^(a+)+$", "aaaaaaaaaaaaaab", lens[i], 0);
        bomb("nested repeats", "^(a+)+[xy]", "a", lens[i], 1);
        bomb("nested repeats, anywhere", "(a+)+[xy]", "a", lens[i], 1);
        bomb("alternatives", "^(a|a|aa)+[xy]", "a", lens[i], 1);
        bomb("stars", "^(.*)(.*)(.*)(.*)[xy]", "a", lens[i], 1);
        bomb("stars, anywhere", "a*a*a*a*[xy]", "a", lens[i], 1);
        bomb("quadratic", "(\\S+)[ x]y", "a", lens[i], 0);
        bomb("quadratic, limit just missed", "(\\S+)[xy]",
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ",
             lens[i], 0);
        bomb("quadratic without backtracking", "(\\d+)[xy]", "1", lens[i],
             0);
        bomb("recursion", "^(a(?1)?b?)+[xy]", "a", lens[i], 1);
        bomb("back reference", "(a*)\\1[xy]", "a", lens[i], 1);
        bomb("back reference to a lookahead", "(?=(a*))a*\\1[xy]", "a",
             lens[i], 1);
        bomb("long scan each step", "(?:\\d+a|\\d)+[xy]", "1", lens[i], 1);
        bomb("a failing {N}", "(?:a{3000}b|a)+[xy]", "a", lens[i], 1);
        bomb("a failing {N,}", "(?:a{30000,}b|a)+[xy]", "a", lens[i], 1);
        bomb("blanks around", "\\s*(\\S+)\\s*$", " ", lens[i], 0);
        bomb("lookahead", "(?=(a+)+[xy])[ab]", "a", lens[i], 1);
    }

    bomb("no JIT", "(*NO_JIT)(a+)+[xy]", "a", BIG, 1);
    bomb("no JIT, anchored", "(*NO_JIT)^(a|a)+[xy]", "a", BIG, 1);
    bomb("no JIT, quadratic", "(*NO_JIT)(\\d+)[xy]", "1", BIG, 0);
    bomb("no JIT, 8 KiB", "(*NO_JIT)(\\d+)[xy]", "1", 8191, 0);
    bomb("no JIT, deep", "(*NO_JIT)^(?:(a)|b)*[xy]", "a", BIG, 1);
}


/* Long values where the expression is a good one. */

static void
test_long(void)
{
    char            *big;
    ctx_t            c;
    prd_identity_t  *id;

    id = create();
    ADD(id, "token", "$a", "^Bearer (\\S+)");
    ADD(id, "token", "$b", "sid=(\\w+)");

    memset(&c, 0, sizeof(c));

    big = fill("x", BIG);
    memcpy(big, "Bearer ", 7);
    big[20] = ' ';
    c.values[0] = (prd_str_t) { BIG, big };

    is_int(make(id, &c), PRD_OK, "anchored, in 64 KiB");
    is_str(key, key_len, "txxxxxxxxxxxxx", "... its token");

    big[20] = 'x';
    is_int(make(id, &c), PRD_OK, "a token of 64 KiB");
    ok(key_len == 256 && key[0] == 'T', "... is folded");

    memcpy(big, "Basic! ", 7);
    is_int(make(id, &c), PRD_DECLINED, "no match in 64 KiB, anchored");
    free(big);

    c.values[0].data = NULL;

    big = fill("a=1; ", BIG);
    memcpy(big + BIG - 9, "sid=abc; ", 9);
    c.values[1] = (prd_str_t) { BIG, big };
    is_int(make(id, &c), PRD_OK, "at the end of 64 KiB");
    is_str(key, key_len, "tabc", "... its token");

    c.values[1].len = BIG - 9;
    is_int(make(id, &c), PRD_DECLINED, "nowhere in 64 KiB");

    free(big);
    test_free(id);
}


static void
test_fold(void)
{
    char             *big, first[PRD_IDENTITY_KEY_MAX];
    ctx_t             c;
    size_t            len;
    prd_identity_t   *id;

    id = create();
    ADD(id, "token", "$a");

    big = fill("0123456789abcdef", BIG);
    memset(&c, 0, sizeof(c));
    c.values[0] = (prd_str_t) { 255, big };

    is_int(make(id, &c), PRD_OK, "255 bytes");
    ok(key_len == 256 && key[0] == 't' && memcmp(key + 1, big, 255) == 0,
       "... fit");

    c.values[0].len = 256;
    is_int(make(id, &c), PRD_OK, "256 bytes");
    ok(key_len == 256 && key[0] == 'T' && memcmp(key + 1, big, 223) == 0,
       "... are folded");
    memcpy(first, key, 256);

    make(id, &c);
    ok(memcmp(first, key, 256) == 0, "the same again");

    c.values[0].len = 257;
    make(id, &c);
    ok(key_len == 256 && memcmp(first, key, 256) != 0, "a byte more differs");

    /* equal in the first 256 bytes, and further */

    for (len = 257; len <= BIG; len = len < BIG ? BIG : BIG + 1) {
        c.values[0].len = len;
        make(id, &c);
        memcpy(first, key, 256);

        big[len - 1] ^= 1;
        make(id, &c);
        ok(key_len == 256 && memcmp(first, key, 256) != 0,
           "another last byte of %zu differs", len);
        ok(memcmp(first, key, 224) == 0
           && memcmp(first + 224, key + 224, 16) != 0
           && memcmp(first + 240, key + 240, 16) != 0,
           "... in both halves of the hash");
    }

    /* what a token of 255 bytes says is not what was folded */

    memcpy(big, first + 1, 255);
    c.values[0].len = 255;
    make(id, &c);
    ok(key_len == 256 && memcmp(first, key, 256) != 0,
       "a folded key sent as a token differs");

    free(big);
    test_free(id);

    /* the other kinds */

    id = create();
    ADD(id, "address", "$a", "32", "64");

    big = fill("x", 1000);
    c.values[0] = (prd_str_t) { 1000, big };
    make(id, &c);
    ok(key_len == 256 && key[0] == 'X', "what is no address is folded too");

    free(big);
    test_free(id);
}


static void
test_separate(void)
{
    char            *big, first[PRD_IDENTITY_KEY_MAX];
    ctx_t            c;
    size_t           len;
    const char      *why;
    prd_identity_t  *id;

    id = create();

    ADD(id, "token", "$http_x_api_key");
    ADD(id, "address", "$remote_addr", "32", "64");
    ADD(id, "agent", "$http_user_agent");
    ADD(id, "separate", "address", "agent");
    is_int(prd_identity_end(id, &why), PRD_OK, "separate address agent");

    make3(id, "k1", "192.0.2.7", "curl/8");
    is_str(key, key_len, "tk1", "a token is not separated");

    make3(id, NULL, "192.0.2.7", "curl/8");
    is_str(key, key_len, "s13:4192.0.2.7/325:acurl", "address and agent are");

    make3(id, NULL, "192.0.2.7", "Wget/1");
    is_str(key, key_len, "s13:4192.0.2.7/325:awget", "... by agent");

    make3(id, NULL, "192.0.2.7", NULL);
    is_str(key, key_len, "4192.0.2.7/32", "no agent: the address alone");

    make3(id, NULL, NULL, "curl/8");
    is_str(key, key_len, "acurl", "no address: the agent alone");

    make3(id, "s13:4192.0.2.7/325:acurl", NULL, NULL);
    is_str(key, key_len, "ts13:4192.0.2.7/325:acurl",
           "a token like a joined key is a token");

    test_free(id);

    /* tokens of any bytes: no two pairs join to the same key */

    id = create();

    ADD(id, "agent", "$http_user_agent");
    ADD(id, "token", "$http_x_api_key");
    ADD(id, "address", "$remote_addr", "32", "64");
    ADD(id, "separate", "address", "token");
    is_int(prd_identity_end(id, &why), PRD_OK, "separate address token");

    make3(id, "curl/8", "k", "192.0.2.7");
    is_str(key, key_len, "acurl", "the first source decides");

    make3(id, NULL, "k", "192.0.2.7");
    is_str(key, key_len, "s2:tk13:4192.0.2.7/32",
           "in the order of kinds, not of words");

    make3(id, NULL, "k13:4192.0.2.7/32", "192.0.2.7");
    memcpy(first, key, key_len);
    len = key_len;
    make3(id, NULL, "k", "192.0.2.7");
    ok(len != key_len, "a token cannot play the rest");

    make3(id, NULL, "a", "b2:xc");
    memcpy(first, key, key_len);
    len = key_len;
    make3(id, NULL, "a6:xb", "c");
    ok(len != key_len || memcmp(first, key, len) != 0, "... nor split it");

    big = fill("t", 4000);
    memset(&c, 0, sizeof(c));
    c.values[1] = (prd_str_t) { 4000, big };
    c.values[2] = str("192.0.2.7");
    is_int(make(id, &c), PRD_OK, "a long token in a pair");
    ok(key_len == 256 && key[0] == 'S', "... is folded");
    memcpy(first, key, 256);

    c.values[2] = str("192.0.2.8");
    make(id, &c);
    ok(key_len == 256 && memcmp(first, key, 256) != 0,
       "... with the address in the hash");

    free(big);
    test_free(id);

    /* all three, two sources of one kind */

    id = create();

    ADD(id, "token", "$a", "^k(.+)");
    ADD(id, "token", "$b");
    ADD(id, "agent", "$c");
    ADD(id, "address", "$d", "32", "64");
    ADD(id, "separate", "agent", "token", "address");
    is_int(prd_identity_end(id, &why), PRD_OK, "separate all three");

    memset(&c, 0, sizeof(c));
    c.values[0] = str("x1");
    c.values[1] = str("y");
    c.values[2] = str("curl/8");
    c.values[3] = str("::1");
    is_int(make(id, &c), PRD_OK, "the first token does not match");
    is_str(key, key_len, "s2:ty6:6::/645:acurl", "... the second is used");

    c.values[0] = str("k1");
    make(id, &c);
    is_str(key, key_len, "s2:t16:6::/645:acurl", "the first value of a kind");
    is_int(c.asked, 13, "... and the second is not asked");

    c.values[3].data = NULL;
    make(id, &c);
    is_str(key, key_len, "t1", "one is missing: the first source alone");

    test_free(id);

    /* a limit in one part */

    id = create();

    ADD(id, "token", "$a", "(a+)+[xy]");
    ADD(id, "agent", "$c");
    ADD(id, "separate", "agent", "token");

    big = fill("a", 5000);
    memset(&c, 0, sizeof(c));
    c.values[0] = (prd_str_t) { 5000, big };
    c.values[1] = str("curl/8");
    is_int(make(id, &c), PRD_ELIMIT, "a limit in one part is told");
    ok(key_len == 256 && key[0] == 'S', "... and the key is joined");

    free(big);
    test_free(id);
}


int
main(void)
{
    test_add();
    test_order();
    test_regex();
    test_bombs();
    test_long();
    test_fold();
    test_separate();

    return done_testing();
}
