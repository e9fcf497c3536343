
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#include "conf.h"
#include "options.h"
#include "words.h"


/* verdicts must not depend on it; runs are to be the same */
#define RPL_SECRET_0  0x7072656469637469ull
#define RPL_SECRET_1  0x76655f7265706c79ull


typedef enum {
    RPL_OPT_ZONE = 0,                /* a parameter of predictive_zone */
    RPL_OPT_LIMIT,                   /* of predictive */
    RPL_OPT_WARMUP,
    RPL_OPT_NODELAY,
    RPL_OPT_STRING,
    RPL_OPT_COMPARE,
    RPL_OPT_IDENTITY,
    RPL_OPT_FORMAT,
    RPL_OPT_ESCAPE,
    RPL_OPT_SIZE,
    RPL_OPT_SEED,
    RPL_OPT_PERCENT,
    RPL_OPT_TOP,
    RPL_OPT_FLAG,
    RPL_OPT_LATER
} rpl_option_e;


/* What was said so far. */

typedef struct {
    rpl_args_t    *args;
    rpl_words_t    zone;
    rpl_words_t    limit;
    char          *format;
    char          *key;
    char          *identity;
    char          *compare;
    uint64_t       seed;
    unsigned       seeded:1;
} rpl_said_t;


typedef struct {
    const char    *name;
    rpl_option_e   kind;
    size_t         at;               /* STRING: offset in rpl_said_t / args */
} rpl_option_t;


#define rpl_in_said(member)  offsetof(rpl_said_t, member)
#define rpl_in_args(member)  (sizeof(rpl_said_t) + offsetof(rpl_args_t, member))

static const rpl_option_t  rpl_option_table[] = {
    { "rate",         RPL_OPT_ZONE,     0 },
    { "burst",        RPL_OPT_LIMIT,    0 },
    { "delay",        RPL_OPT_LIMIT,    0 },
    { "nodelay",      RPL_OPT_NODELAY,  0 },
    { "capacity",     RPL_OPT_ZONE,     0 },
    { "borrow",       RPL_OPT_ZONE,     0 },
    { "floor",        RPL_OPT_ZONE,     0 },
    { "min",          RPL_OPT_ZONE,     0 },
    { "max",          RPL_OPT_ZONE,     0 },
    { "learn",        RPL_OPT_ZONE,     0 },
    { "warmup",       RPL_OPT_WARMUP,   0 },
    { "confidence",   RPL_OPT_ZONE,     0 },
    { "horizon",      RPL_OPT_ZONE,     0 },
    { "network",      RPL_OPT_ZONE,     0 },
    { "cost",         RPL_OPT_ZONE,     0 },
    { "charge",       RPL_OPT_ZONE,     0 },
    { "class",        RPL_OPT_ZONE,     0 },
    { "newcomer",     RPL_OPT_ZONE,     0 },
    { "weight",       RPL_OPT_ZONE,     0 },
    { "priority",     RPL_OPT_ZONE,     0 },
    { "store",        RPL_OPT_ZONE,     0 },
    { "sync",         RPL_OPT_ZONE,     0 },
    { "pool",         RPL_OPT_LIMIT,    0 },

    { "key",          RPL_OPT_STRING,   rpl_in_said(key) },
    { "identity",     RPL_OPT_STRING,   rpl_in_said(identity) },
    { "format",       RPL_OPT_STRING,   rpl_in_said(format) },
    { "escape",       RPL_OPT_ESCAPE,   0 },
    { "compare",      RPL_OPT_STRING,   rpl_in_said(compare) },
    { "conf",         RPL_OPT_STRING,   rpl_in_args(conf) },
    { "zone",         RPL_OPT_STRING,   rpl_in_args(zone) },
    { "location",     RPL_OPT_STRING,   rpl_in_args(location) },
    { "decisions",    RPL_OPT_STRING,   rpl_in_args(decisions) },
    { "json",         RPL_OPT_STRING,   rpl_in_args(json) },
    { "state",        RPL_OPT_STRING,   rpl_in_args(state) },
    { "state-zone",   RPL_OPT_STRING,   rpl_in_args(state_zone) },
    { "state-key",    RPL_OPT_STRING,   rpl_in_args(state_key) },
    { "zone-size",    RPL_OPT_SIZE,     0 },
    { "seed",         RPL_OPT_SEED,     0 },
    { "max-limited",  RPL_OPT_PERCENT,  0 },
    { "top",          RPL_OPT_TOP,      0 },
    { "no-spread",    RPL_OPT_FLAG,     0 },
    { "no-arrival",   RPL_OPT_FLAG,     1 },
    { "hash",         RPL_OPT_FLAG,     2 },
    { "quiet",        RPL_OPT_FLAG,     3 },
    { "help",         RPL_OPT_FLAG,     4 },
    { "version",      RPL_OPT_FLAG,     5 },

    { "series",       RPL_OPT_STRING,   rpl_in_args(series) },
    { "origins",      RPL_OPT_STRING,   rpl_in_args(origins) },
    { "forecasts",    RPL_OPT_STRING,   rpl_in_args(forecasts) },

    { "html",         RPL_OPT_LATER,    0 }
};


static const char  rpl_usage_text[] =
"usage: predictive-replay [options] LOG...\n"
"\n"
"Runs logs through the predictive limiter by their own clock and tells what\n"
"it would have done.  LOG may be gzipped, and \"-\" is standard input.\n"
"\n"
"The limit, as in predictive_zone and predictive (--NAME VALUE, or =VALUE):\n"
"  --capacity R     what the backend serves; with this alone, the rest is\n"
"                   learned\n"
"  --rate R --burst N --delay N --nodelay     the baseline, as in limit_req\n"
"  --borrow --floor --min --max --learn --warmup --confidence --horizon\n"
"  --cost --charge --class --newcomer         VALUE may hold $variables\n"
"  --key EXPR       whose bucket it is: $remote_addr ($client in tsv)\n"
"  --identity RULES \"token $http_x_api_key; address $remote_addr 32 64\"\n"
"  -c FILE --zone NAME [--location PATH]      all of this from nginx.conf\n"
"\n"
"The log:\n"
"  --format F       combined (default), common, json, tsv, a log_format\n"
"                   string, or with -c the name of one\n"
"  --escape E       of a log_format string: default, json, none\n"
"  --no-spread      stamps of whole seconds are not spread over the second\n"
"  --no-arrival     requests arrive when they were logged, not $request_time\n"
"                   earlier\n"
"\n"
"What comes out:\n"
"  --decisions FILE a line a request: 0 passed, 1 SECONDS delayed, 2 refused\n"
"  --json FILE      the report as JSON\n"
"  --state FILE     what was learned, for predictive_state; hours are local\n"
"                   (TZ), as they are in nginx\n"
"  --state-zone NAME --state-key KEY          whose it is, without -c\n"
"  --compare limit_req:rate=R,burst=N[,nodelay|delay=N]   beside it\n"
"  --max-limited P% exit status 3 when more of the requests were limited\n"
"  --top N          clients in each list (10); --hash hides their keys\n"
"  --zone-size SIZE --seed N --quiet --help --version\n"
"\n"
"Series of counts instead of logs:\n"
"  --series SERIES.csv --origins SAMPLE.csv --forecasts OUT.csv\n"
"  --network on     with the recurrent network, as network=on of a zone\n"
"\n"
"Exit status: 0; 1 no memory or no space; 2 bad options or input; 3 too many\n"
"limited.  See src/replay/README.md.\n";


void
rpl_usage(FILE *f)
{
    fputs(rpl_usage_text, f);
}


static void __attribute__((noreturn))
rpl_bad_value(const char *name, const char *value, const char *why)
{
    rpl_die(RPL_EXIT_BAD, "--%s \"%s\" %s", name, value, why);
}


static void
rpl_option_word(rpl_said_t *said, rpl_words_t *words, const char *name,
    const char *value)
{
    char         *word, *from;
    rpl_arena_t  *a;

    a = &said->args->arena;

    word = value ? rpl_arena_print(a, "%s=%s", name, value)
                 : rpl_arena_print(a, "%s", name);
    from = rpl_arena_print(a, "--%s", name);

    if (rpl_words_set(words, rpl_str(word), from) != PRD_OK) {
        rpl_die(RPL_EXIT_BAD, "too many parameters");
    }
}


/* Seconds may have a fraction, as scripts print them: rounded. */

static void
rpl_option_warmup(rpl_said_t *said, char *value)
{
    char    *end, text[32];
    size_t   n;
    double   s;

    n = strspn(value, "0123456789.");

    if (n && strchr(value, '.') != NULL
        && (value[n] == '\0' || strcmp(value + n, "s") == 0))
    {
        s = strtod(value, &end);

        if (end == value + n && s < 1e9) {
            snprintf(text, sizeof(text), "%.0fs", round(s));
            rpl_option_word(said, &said->zone, "warmup", text);
            return;
        }
    }

    rpl_option_word(said, &said->zone, "warmup", value);
}


static void
rpl_option_flag(rpl_said_t *said, size_t at)
{
    rpl_args_t  *args;

    args = said->args;

    switch (at) {

    case 0:
        args->replay.no_spread = 1;
        break;

    case 1:
        args->replay.no_arrival = 1;
        break;

    case 2:
        args->hash = 1;
        break;

    case 3:
        args->quiet = 1;
        break;

    case 4:
        args->help = 1;
        break;

    default:
        args->version = 1;
        break;
    }
}


static void
rpl_option_value(rpl_said_t *said, const rpl_option_t *o, char *value)
{
    char       **at;
    uint64_t     n;
    rpl_args_t  *args;

    args = said->args;

    switch (o->kind) {

    case RPL_OPT_ZONE:

        /* nginx would take a mask for text */

        args->replay.masked |= (strcmp(o->name, "newcomer") == 0);

        rpl_option_word(said, &said->zone, o->name, value);
        break;

    case RPL_OPT_LIMIT:

        /* a variable is the zone's business */

        rpl_option_word(said, strchr(value, '$') ? &said->zone : &said->limit,
                        o->name, value);
        break;

    case RPL_OPT_WARMUP:
        rpl_option_warmup(said, value);
        break;

    case RPL_OPT_STRING:
        at = (char **) (o->at < sizeof(rpl_said_t)
                        ? (char *) said + o->at
                        : (char *) args + (o->at - sizeof(rpl_said_t)));

        if (*at != NULL) {
            rpl_die(RPL_EXIT_BAD, "--%s is given twice", o->name);
        }

        *at = value;
        break;

    case RPL_OPT_ESCAPE:
        if (strcmp(value, "default") == 0) {
            args->replay.escape = RPL_ESCAPE_DEFAULT;

        } else if (strcmp(value, "json") == 0) {
            args->replay.escape = RPL_ESCAPE_JSON;

        } else if (strcmp(value, "none") == 0) {
            args->replay.escape = RPL_ESCAPE_NONE;

        } else {
            rpl_bad_value(o->name, value, "must be default, json or none");
        }

        break;

    case RPL_OPT_SIZE:

        if (prd_parse_size(rpl_str(value), &args->replay.zone_size)
            != PRD_OK)
        {
            rpl_bad_value(o->name, value, "must be a size such as 64m");
        }

        break;

    case RPL_OPT_SEED:

        if (prd_parse_uint(rpl_str(value), UINT64_MAX, &said->seed)
            != PRD_OK)
        {
            rpl_bad_value(o->name, value, "must be a number");
        }

        said->seeded = 1;
        break;

    case RPL_OPT_PERCENT:

        if (prd_parse_percent(rpl_str(value), &args->max_limited_ppm)
            != PRD_OK)
        {
            rpl_bad_value(o->name, value,
                          "must be a percentage such as 0.5%");
        }

        break;

    case RPL_OPT_TOP:

        if (prd_parse_uint(rpl_str(value), 100000, &n) != PRD_OK) {
            rpl_bad_value(o->name, value, "must be a number up to 100000");
        }

        args->top = (uint32_t) n;
        break;

    default:
        break;
    }
}


static const rpl_option_t *
rpl_option_find(const char *name, size_t len)
{
    size_t  i;

    for (i = 0; i < sizeof(rpl_option_table) / sizeof(rpl_option_table[0]);
         i++)
    {
        if (strlen(rpl_option_table[i].name) == len
            && memcmp(rpl_option_table[i].name, name, len) == 0)
        {
            return &rpl_option_table[i];
        }
    }

    return NULL;
}


/* Takes one option at argv[i]; returns the index behind it. */

static int
rpl_option_take(rpl_said_t *said, int argc, char **argv, int i)
{
    char                *name, *value;
    size_t               len;
    const rpl_option_t  *o;

    name = argv[i] + 2;
    len = strcspn(name, "=");
    value = name[len] ? name + len + 1 : NULL;

    if (strcmp(argv[i], "-c") == 0) {
        name = "conf";
        len = 4;
        value = NULL;

    } else if (strcmp(argv[i], "-h") == 0) {
        name = "help";
        len = 4;
        value = NULL;

    } else if (argv[i][1] != '-') {
        rpl_die(RPL_EXIT_BAD, "unknown option \"%s\"; see --help", argv[i]);
    }

    o = rpl_option_find(name, len);

    if (o == NULL) {
        rpl_die(RPL_EXIT_BAD, "unknown option \"%s\"; see --help", argv[i]);
    }

    if (o->kind == RPL_OPT_LATER) {
        rpl_die(RPL_EXIT_BAD, "--%s is not supported yet by this version",
                o->name);
    }

    if (o->kind == RPL_OPT_FLAG || o->kind == RPL_OPT_NODELAY) {

        if (value != NULL) {
            rpl_die(RPL_EXIT_BAD, "--%s takes no value", o->name);
        }

        if (o->kind == RPL_OPT_FLAG) {
            rpl_option_flag(said, o->at);

        } else {
            rpl_option_word(said, &said->limit, o->name, NULL);
        }

        return i + 1;
    }

    if (value == NULL) {

        if (i + 1 == argc) {
            rpl_die(RPL_EXIT_BAD, "--%s needs a value", o->name);
        }

        value = argv[++i];
    }

    rpl_option_value(said, o, value);

    return i + 1;
}


/* "limit_req:rate=10r/s,burst=20,nodelay" */

static void
rpl_option_compare(rpl_args_t *args, const char *text)
{
    unsigned            bare;
    prd_rc_t            rc;
    prd_str_t           word;
    prd_rate_t          rate;
    const char         *p, *q, *why;
    prd_limit_params_t  limit;

    static const char  form[] =
        "must be limit_req:rate=R,burst=N[,nodelay|delay=N]";

    p = text;
    rate = 0;
    prd_limit_params_init(&limit);

    if (strncmp(p, "limit_req:", 10) != 0) {
        rpl_bad_value("compare", text, form);
    }

    for (p += 10; ; p = q + 1) {
        q = p + strcspn(p, ",");
        word.data = p;
        word.len = (size_t) (q - p);

        if (word.len > 5 && memcmp(p, "rate=", 5) == 0) {
            word.data += 5;
            word.len -= 5;
            rc = prd_parse_rate(word, &rate, &bare);

        } else {
            rc = prd_limit_params_set(&limit, word, &why);
        }

        if (rc != PRD_OK || limit.zone.len) {
            rpl_bad_value("compare", text, form);
        }

        if (*q == '\0') {
            break;
        }
    }

    /* as nginx: 1/1000 r/s, truncated */

    if (rate < PRD_RATE_ONE / 1000) {
        rpl_bad_value("compare", text, "needs a rate that limit_req can have, "
                      "0.001r/s at least");
    }

    if (limit.burst > 2000000 || limit.delay > 2000000
        || rate / (PRD_RATE_ONE / 1000) > INT32_MAX)
    {
        rpl_bad_value("compare", text, "is more than limit_req can have");
    }

    args->replay.their_rate = (uint32_t) (rate / (PRD_RATE_ONE / 1000));
    args->replay.their_burst = limit.burst * 1000;
    args->replay.their_delay = limit.nodelay ? UINT32_MAX
                                             : limit.delay * 1000;
}


/* Without --compare: what limit_req would do with the same numbers. */

static void
rpl_options_theirs(rpl_options_t *o)
{
    uint64_t  rate, burst;

    rate = o->params.rate / (PRD_RATE_ONE / 1000);
    burst = o->limit.burst_set ? o->limit.burst : o->params.burst;

    if (o->their_rate || rate == 0 || rate > INT32_MAX || burst > 2000000
        || o->limit.delay > 2000000)
    {
        return;
    }

    o->their_rate = (uint32_t) rate;
    o->their_burst = (uint32_t) burst * 1000;
    o->their_delay = o->limit.nodelay ? UINT32_MAX : o->limit.delay * 1000;
}


static void
rpl_options_over(rpl_words_t *words, const rpl_words_t *by)
{
    size_t  i;

    for (i = 0; i < by->n; i++) {
        if (rpl_words_set(words, by->word[i].word, by->word[i].from)
            != PRD_OK)
        {
            rpl_die(RPL_EXIT_BAD, "too many parameters");
        }
    }
}


static char *
rpl_text(rpl_args_t *args, prd_str_t s)
{
    return s.len ? rpl_arena_print(&args->arena, "%.*s", (int) s.len, s.data)
                 : NULL;
}


static void
rpl_options_identity(rpl_said_t *said)
{
    rpl_error_t      e;
    rpl_identity_t  *i;
    rpl_options_t   *o;

    o = &said->args->replay;

    if (said->key != NULL) {
        rpl_die(RPL_EXIT_BAD, "--key and --identity exclude each other");
    }

    i = rpl_alloc(sizeof(rpl_identity_t));
    i->name = rpl_str("identity");

    if (rpl_conf_rules(&said->args->rules, said->identity, &i->id, &e)
        != PRD_OK)
    {
        rpl_die(RPL_EXIT_BAD, "%s", e.text);
    }

    o->names.identities = i;
    o->key = "$identity";
}


static const char *
rpl_options_made(void *data, prd_str_t name)
{
    return rpl_conf_variable(data, name);
}


static void
rpl_options_conf(rpl_said_t *said)
{
    prd_rc_t          rc;
    prd_str_t         text;
    rpl_args_t       *args;
    rpl_conf_t       *conf;
    rpl_words_t       params, limit;
    rpl_error_t       e;
    rpl_options_t    *o;
    rpl_conf_zone_t   zone;

    args = said->args;
    o = &args->replay;

    if (args->zone == NULL) {
        rpl_die(RPL_EXIT_BAD, "-c needs --zone NAME");
    }

    memset(&params, 0, sizeof(params));
    memset(&limit, 0, sizeof(limit));

    if (rpl_conf_load(&args->tree, args->conf, &e) != PRD_OK) {
        rpl_die(RPL_EXIT_BAD, "%s", e.text);
    }

    conf = args->tree;

    if (rpl_conf_zone(conf, args->zone, args->location, &zone, &params,
                         &limit, &e) != PRD_OK)
    {
        rpl_die(RPL_EXIT_BAD, "%s", e.text);
    }

    /* options come behind, and win */

    rpl_options_over(&params, &said->zone);
    rpl_options_over(&limit, &said->limit);

    said->zone = params;
    said->limit = limit;
    args->at = zone.at;

    o->names.made = rpl_options_made;
    o->names.data = conf;

    if (o->key == NULL) {
        o->key = rpl_text(args, zone.key);
    }

    if (o->names.identities != NULL) {
        o->names.identities->next = zone.identities;

    } else {
        o->names.identities = zone.identities;
    }

    o->condition = rpl_text(args, zone.condition);

    if (o->zone_size == 0) {
        o->zone_size = zone.size;
    }

    if (args->state_zone == NULL) {
        args->state_zone = args->zone;
    }

    if (args->state_key == NULL) {
        args->state_key = rpl_text(args, zone.key);
    }

    if (o->format == NULL) {

        if (zone.format.len) {
            o->format = rpl_text(args, zone.format);
            o->escape = zone.escape;
        }

        return;
    }

    /* --format may be the name of one */

    rc = rpl_conf_format(conf, rpl_str(o->format), &text, &o->escape, &e);

    if (rc == PRD_OK) {
        o->format = rpl_text(args, text);

    } else if (rc != PRD_DECLINED) {
        rpl_die(RPL_EXIT_BAD, "%s", e.text);
    }
}


static void
rpl_options_secret(rpl_said_t *said)
{
    uint64_t     random[2];
    rpl_args_t  *args;

    args = said->args;

    args->replay.secret.k0 = RPL_SECRET_0;
    args->replay.secret.k1 = RPL_SECRET_1;

    if (said->seeded) {
        args->replay.secret.k0 ^= said->seed * 0x9e3779b97f4a7c15ull;
        args->replay.secret.k1 += said->seed;
        return;
    }

    /* a secret that leaves the tool, or hides keys, is nobody's guess */

    if (args->state != NULL || args->hash) {

        if (getrandom(random, sizeof(random), 0) != (ssize_t) sizeof(random)) {
            rpl_die(RPL_EXIT_FAILED, "no random numbers");
        }

        args->replay.secret.k0 = random[0];
        args->replay.secret.k1 = random[1];
    }
}


/* Series take the place of logs, and need no limit: a network at most. */

static int
rpl_options_series(rpl_said_t *said)
{
    size_t         i;
    rpl_args_t    *args;
    const char    *why;
    rpl_word_t    *w;
    prd_params_t  *p;

    args = said->args;

    if (args->series == NULL) {

        if (args->origins != NULL || args->forecasts != NULL) {
            rpl_die(RPL_EXIT_BAD, "--origins and --forecasts need --series");
        }

        return 0;
    }

    if ((args->origins == NULL) != (args->forecasts == NULL)) {
        rpl_die(RPL_EXIT_BAD, "--origins and --forecasts need each other");
    }

    if (args->nlogs) {
        rpl_die(RPL_EXIT_BAD, "--series takes no log");
    }

    p = &args->replay.params;
    prd_params_init(p);

    for (i = 0; i < said->zone.n; i++) {
        w = &said->zone.word[i];

        if (strncmp(w->word.data, "network=", prd_min(w->word.len, 8)) != 0) {
            rpl_die(RPL_EXIT_BAD, "%s goes with a log, not with --series",
                    w->from);
        }

        if (prd_params_set(p, w->word, &why) != PRD_OK) {
            rpl_die(RPL_EXIT_BAD, "%s: \"%.*s\" %s", w->from,
                    (int) w->word.len, w->word.data, why);
        }
    }

    return 1;
}


void
rpl_options(rpl_args_t *args, int argc, char **argv)
{
    int             i;
    rpl_said_t      said;
    rpl_error_t     e;
    rpl_options_t  *o;

    memset(args, 0, sizeof(rpl_args_t));
    memset(&said, 0, sizeof(rpl_said_t));

    said.args = args;
    args->max_limited_ppm = UINT32_MAX;
    args->top = 10;
    args->replay.escape = RPL_ESCAPE_DEFAULT;
    args->logs = rpl_alloc((size_t) argc * sizeof(char *));

    for (i = 1; i < argc; /* void */ ) {

        if (strcmp(argv[i], "--") == 0) {
            for (i++; i < argc; i++) {
                args->logs[args->nlogs++] = argv[i];
            }

        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            i = rpl_option_take(&said, argc, argv, i);

        } else {
            args->logs[args->nlogs++] = argv[i++];
        }
    }

    if (args->help || args->version) {
        return;
    }

    if (rpl_options_series(&said)) {
        return;
    }

    o = &args->replay;
    o->format = said.format;
    o->key = said.key;

    if (args->nlogs == 0) {
        rpl_die(RPL_EXIT_BAD, "no log given; see --help");
    }

    if (said.identity != NULL) {
        rpl_options_identity(&said);
    }

    if (args->conf != NULL) {
        rpl_options_conf(&said);

    } else if (args->zone != NULL || args->location != NULL) {
        rpl_die(RPL_EXIT_BAD, "--zone and --location need -c nginx.conf");
    }

    if (rpl_words_zone(&said.zone, &o->params,
                       args->at != NULL ? args->at : "options", &e) != PRD_OK
        || rpl_words_limit(&said.limit, &o->limit, &e) != PRD_OK)
    {
        rpl_die(RPL_EXIT_BAD, "%s", e.text);
    }

    if (o->format == NULL) {
        o->format = "combined";
    }

    o->rate = rpl_text(args, o->params.rate_var);
    o->burst = rpl_text(args, o->params.burst_var);
    o->cost = rpl_text(args, o->params.cost_var);
    o->charge = rpl_text(args, o->params.charge);
    o->class_ = rpl_text(args, o->params.class_);
    o->newcomer = rpl_text(args, o->params.newcomer);

    if (args->state != NULL
        && (args->state_zone == NULL || args->state_key == NULL))
    {
        rpl_die(RPL_EXIT_BAD, "--state needs -c, or --state-zone NAME and "
                "--state-key 'KEY AS WRITTEN IN nginx.conf'");
    }

    if (args->decisions != NULL && args->json != NULL
        && strcmp(args->decisions, "-") == 0 && strcmp(args->json, "-") == 0)
    {
        rpl_die(RPL_EXIT_BAD, "--decisions and --json cannot both go to "
                "standard output");
    }

    if (said.compare != NULL) {
        rpl_option_compare(args, said.compare);
    }

    rpl_options_theirs(o);
    rpl_options_secret(&said);
}


void
rpl_options_done(rpl_args_t *args)
{
    rpl_names_done(&args->replay.names);
    rpl_conf_done(args->tree);
    rpl_conf_done(args->rules);
    rpl_arena_done(&args->arena);
    free(args->logs);
}
