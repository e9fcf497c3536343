
/* nginx.conf, as far as a replay reads it. */


#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replay/conf.h"
#include "tap.h"


static char  dir[] = "/tmp/replay-conf-XXXXXX";
static char  path[64];


static void
spew(const char *name, const char *text)
{
    FILE  *f;
    char   file[128];

    snprintf(file, sizeof(file), "%s/%s", dir, name);
    f = fopen(file, "w");

    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
        printf("Bail out! %s\n", file);
        exit(1);
    }
}


static rpl_conf_t *
load(const char *text)
{
    rpl_conf_t   *conf;
    rpl_error_t   e;

    conf = NULL;
    spew("nginx.conf", text);

    if (rpl_conf_load(&conf, path, &e) != PRD_OK) {
        ok(0, "%s", e.text);
    }

    return conf;
}


static void
bad(const char *text, const char *like)
{
    prd_rc_t      rc;
    rpl_conf_t   *conf;
    rpl_error_t   e;

    e.text[0] = '\0';
    conf = NULL;
    spew("nginx.conf", text);

    rc = rpl_conf_load(&conf, path, &e);

    ok(rc != PRD_OK && strstr(e.text, like) != NULL, "bad \"%.30s\": %s",
       text, e.text);
    rpl_conf_done(conf);
}


static void
word(const rpl_directive_t *d, size_t n, const char *expected)
{
    if (d == NULL || n >= d->nwords) {
        ok(0, "no word %zu, \"%s\"", n, expected);
        return;
    }

    is_str(d->word[n].data, d->word[n].len, expected, "word %zu of line %u",
           n, d->line);
}


static void
test_grammar(void)
{
    rpl_conf_t             *conf;
    const rpl_directive_t  *d;

    conf = load("# a comment { ;\n"
                "a b 'c d' \"e\\\"f\" g\\ h;\n"
                "i ${j}k$l{m n; # another\n}\n"
                "o \"\n\" \\;p;q#r;");

    if (conf == NULL) {
        return;
    }

    d = conf->root.child;
    word(d, 0, "a");
    word(d, 1, "b");
    word(d, 2, "c d");
    word(d, 3, "e\"f");
    word(d, 4, "g\\ h");
    is_int(d->nwords, 5, "five words");
    is_int(d->line, 2, "in line 2");

    d = d->next;
    word(d, 0, "i");
    word(d, 1, "${j}k$l");
    ok(d->child != NULL && d->child->parent == d, "a block");
    word(d->child, 1, "n");

    d = d->next;
    word(d, 1, "\n");
    word(d, 2, "\\;p");
    is_int(d->line, 5, "in line 5");
    word(d->next, 0, "q#r");
    ok(d->next->next == NULL, "the end");

    rpl_conf_done(conf);

    bad("a", "expecting \";\"");
    bad("a {", "expecting \"}\"");
    bad("}", "nginx.conf:1: unexpected \"}\"");
    bad("\n;", "nginx.conf:2: unexpected \";\"");
    bad("a b}", "");
    bad("a 'b", "nginx.conf:1: a quoted word has no end");
    bad("a 'b'c;", "follows a closing quote");
    bad("include;", "needs one file");
    bad("include nowhere.conf;", "nowhere.conf");
    bad("include nginx.conf;", "too deep");
    bad("a_by_lua_block { if x then", "no end");
}


static void
zone_words(const rpl_words_t *w, const char *expected)
{
    size_t  i, len;
    char    text[1024];

    for (i = 0, len = 0; i < w->n; i++) {
        len += (size_t) snprintf(text + len, sizeof(text) - len, "%s%.*s",
                                 i ? " " : "", (int) w->word[i].word.len,
                                 w->word[i].word.data);
    }

    is_str(text, len, expected, "words");
}


static void
test_zone(void)
{
    const char        *x;
    prd_str_t          text;
    rpl_conf_t        *conf;
    rpl_words_t        params, limit;
    rpl_error_t        e;
    rpl_escape_e       escape;
    rpl_names_t        names;
    rpl_conf_zone_t    zone;

    spew("a1.inc", "predictive_zone $a zone=one:1m rate=1r/s;");
    spew("a2.inc", "predictive_zone $client zone=two:64k capacity=9 "
         "warmup=1h;\n");

    conf = load(
        "http { include a?.inc; include none*.inc;\n"
        "log_format main escape=json '{\"a\":' '\"$b\"}';\n"
        "log_format plain $msec;\n"
        "map $uri $class { default 0; }\n"
        "geo $net { default x; }\n"
        "predictive_identity $client { token $http_key \"^B (\\S+)\";\n"
        "  address $remote_addr 32 64; }\n"
        "access_log /x main;\n"
        "server { predictive zone=one;\n"
        "  location / { content_by_lua_block { local s = \"}\" -- }\n } }\n"
        "  location ~ \\.php$ { predictive zone=two burst=3 if=$x nodelay;\n"
        "    access_log off; access_log /y plain buffer=4k; } } }\n");

    if (conf == NULL) {
        return;
    }

    memset(&params, 0, sizeof(params));
    memset(&limit, 0, sizeof(limit));

    ok(rpl_conf_zone(conf, "two", NULL, &zone, &params, &limit, &e) == PRD_OK,
       "zone two");
    is_str(zone.key.data, zone.key.len, "$client", "its key");
    is_int(zone.size, 65536, "its size");
    zone_words(&params, "capacity=9 warmup=1h");
    zone_words(&limit, "zone=two burst=3 nodelay");
    is_str(zone.condition.data, zone.condition.len, "$x", "if=");
    is_str(zone.format.data, zone.format.len, "$msec", "its log's format");
    ok(strstr(zone.at, "a2.inc:1") != NULL, "at %s", zone.at);
    ok(strstr(zone.limit_at, "nginx.conf:12") != NULL, "%s", zone.limit_at);
    ok(zone.identities != NULL && zone.identities->next == NULL
       && prd_is(zone.identities->name, "client")
       && prd_identity_sources(zone.identities->id) == 2, "an identity");

    memset(&names, 0, sizeof(names));
    names.identities = zone.identities;
    rpl_names_done(&names);

    memset(&params, 0, sizeof(params));
    memset(&limit, 0, sizeof(limit));

    ok(rpl_conf_zone(conf, "one", "/", &zone, &params, &limit, &e) == PRD_OK,
       "zone one, inherited by location /");
    is_str(zone.format.data, zone.format.len, "{\"a\":\"$b\"}", "its format");
    is_int(zone.escape, RPL_ESCAPE_JSON, "escape=");
    names.identities = zone.identities;
    rpl_names_done(&names);

    ok(rpl_conf_zone(conf, "one", "~ \\.php$", &zone, &params, &limit, &e)
       != PRD_OK, "not where there is another: %s", e.text);
    ok(rpl_conf_zone(conf, "two", "/none", &zone, &params, &limit, &e)
       != PRD_OK, "%s", e.text);
    ok(rpl_conf_zone(conf, "tw", NULL, &zone, &params, &limit, &e)
       != PRD_OK, "%s", e.text);

    ok(rpl_conf_format(conf, rpl_str("plain"), &text, &escape, &e) == PRD_OK
       && prd_is(text, "$msec") && escape == RPL_ESCAPE_DEFAULT,
       "a format by its name");
    ok(rpl_conf_format(conf, rpl_str("other"), &text, &escape, &e)
       == PRD_DECLINED, "none of this name");

    x = rpl_conf_variable(conf, rpl_str("class"));
    ok(x != NULL && strstr(x, "map at ") != NULL, "$class: %s", x);
    x = rpl_conf_variable(conf, rpl_str("net"));
    ok(x != NULL && strstr(x, "geo at ") != NULL, "$net: %s", x);
    ok(rpl_conf_variable(conf, rpl_str("uri")) == NULL, "$uri is not made");

    rpl_conf_done(conf);

    conf = load("http { predictive_zone $a zone=z; }");
    ok(rpl_conf_zone(conf, "z", NULL, &zone, &params, &limit, &e) != PRD_OK
       && strstr(e.text, "has no size") != NULL, "%s", e.text);
    rpl_conf_done(conf);

    conf = load("http { predictive_zone $a zone=z:5x; }");
    ok(rpl_conf_zone(conf, "z", NULL, &zone, &params, &limit, &e) != PRD_OK
       && strstr(e.text, "bad size") != NULL, "%s", e.text);
    rpl_conf_done(conf);

    conf = load("http { predictive_zone $a zone=z:5m;\n"
                "predictive_identity $i { token; } }");
    ok(rpl_conf_zone(conf, "z", NULL, &zone, &params, &limit, &e) != PRD_OK
       && strstr(e.text, "nginx.conf:2") != NULL, "%s", e.text);
    names.identities = zone.identities;
    rpl_names_done(&names);
    rpl_conf_done(conf);
}


static void
test_words(void)
{
    rpl_words_t          w;
    rpl_error_t          e;
    prd_params_t         p;
    prd_limit_params_t   l;

    memset(&w, 0, sizeof(w));

    rpl_words_set(&w, rpl_str("rate=1r/s"), "f:1");
    rpl_words_set(&w, rpl_str("burst=3"), "f:1");
    rpl_words_set(&w, rpl_str("rate=2r/s"), "--rate");
    ok(rpl_words_zone(&w, &p, "f:1", &e) == PRD_OK
       && p.rate == 2 * PRD_RATE_ONE && p.burst == 3, "options override");

    rpl_words_set(&w, rpl_str("rate=3r/s"), "--rate");
    ok(rpl_words_zone(&w, &p, "f:1", &e) != PRD_OK
       && strstr(e.text, "--rate: \"rate=3r/s\" is given twice") != NULL,
       "%s", e.text);

    memset(&w, 0, sizeof(w));
    ok(rpl_words_zone(&w, &p, "f:1", &e) != PRD_OK, "%s", e.text);
    rpl_words_set(&w, rpl_str("frob=1"), "f:9");
    ok(rpl_words_zone(&w, &p, "f:1", &e) != PRD_OK
       && strstr(e.text, "f:9: \"frob=1\" is no") != NULL, "%s", e.text);
    ok(rpl_words_limit(&w, &l, &e) != PRD_OK, "%s", e.text);
}


int
main(void)
{
    char  command[128];

    if (mkdtemp(dir) == NULL) {
        printf("Bail out! no temporary directory\n");
        return 1;
    }

    snprintf(path, sizeof(path), "%s/nginx.conf", dir);

    test_grammar();
    test_zone();
    test_words();

    snprintf(command, sizeof(command), "rm -r %s", dir);

    if (system(command) != 0) {
        printf("# %s is left\n", dir);
    }

    return done_testing();
}
