
/*
 * The parameters of a zone and of a limit: a function each, what they must be
 * to each other, and what is taken where none is given.
 */


#include "prd_params.h"
#include "prd_text.h"


#define PRD_BURST_MAX     1000000000ull
#define PRD_COST_MAX      1000000000ull
#define PRD_BORROW_MAX    1000ull
#define PRD_CAPACITY_MIN  (PRD_RATE_ONE / 5)


typedef prd_rc_t (*prd_param_pt)(prd_params_t *p, prd_str_t v,
    const char **why);


typedef struct {
    const char    *name;
    uint32_t       bit;
    prd_param_pt   set;
} prd_param_t;


enum {
    PRD_PARAM_RATE       = 1 << 0,
    PRD_PARAM_BURST      = 1 << 1,
    PRD_PARAM_CAPACITY   = 1 << 2,
    PRD_PARAM_BORROW     = 1 << 3,
    PRD_PARAM_FLOOR      = 1 << 4,
    PRD_PARAM_MIN        = 1 << 5,
    PRD_PARAM_MAX        = 1 << 6,
    PRD_PARAM_LEARN      = 1 << 7,
    PRD_PARAM_WARMUP     = 1 << 8,
    PRD_PARAM_CONFIDENCE = 1 << 9,
    PRD_PARAM_HORIZON    = 1 << 10,
    PRD_PARAM_COST       = 1 << 11,
    PRD_PARAM_CHARGE     = 1 << 12,
    PRD_PARAM_CLASS      = 1 << 13,
    PRD_PARAM_NEWCOMER   = 1 << 14,
    PRD_PARAM_STORE      = 1 << 15,
    PRD_PARAM_SYNC       = 1 << 16,
    PRD_PARAM_NETWORK    = 1 << 17
};


static prd_rc_t prd_param_rate(prd_params_t *p, prd_str_t v, const char **why);
static prd_rc_t prd_param_burst(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_capacity(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_borrow(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_floor(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_min(prd_params_t *p, prd_str_t v, const char **why);
static prd_rc_t prd_param_max(prd_params_t *p, prd_str_t v, const char **why);
static prd_rc_t prd_param_network(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_learn(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_warmup(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_confidence(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_horizon(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_cost(prd_params_t *p, prd_str_t v, const char **why);
static prd_rc_t prd_param_charge(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_class(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_newcomer(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_store(prd_params_t *p, prd_str_t v,
    const char **why);
static prd_rc_t prd_param_sync(prd_params_t *p, prd_str_t v, const char **why);
static prd_rc_t prd_param_later(prd_params_t *p, prd_str_t v,
    const char **why);


static const prd_param_t  prd_params[] = {
    { "rate",       PRD_PARAM_RATE,       prd_param_rate },
    { "burst",      PRD_PARAM_BURST,      prd_param_burst },
    { "capacity",   PRD_PARAM_CAPACITY,   prd_param_capacity },
    { "borrow",     PRD_PARAM_BORROW,     prd_param_borrow },
    { "floor",      PRD_PARAM_FLOOR,      prd_param_floor },
    { "min",        PRD_PARAM_MIN,        prd_param_min },
    { "max",        PRD_PARAM_MAX,        prd_param_max },
    { "learn",      PRD_PARAM_LEARN,      prd_param_learn },
    { "warmup",     PRD_PARAM_WARMUP,     prd_param_warmup },
    { "confidence", PRD_PARAM_CONFIDENCE, prd_param_confidence },
    { "horizon",    PRD_PARAM_HORIZON,    prd_param_horizon },
    { "cost",       PRD_PARAM_COST,       prd_param_cost },
    { "charge",     PRD_PARAM_CHARGE,     prd_param_charge },
    { "class",      PRD_PARAM_CLASS,      prd_param_class },
    { "newcomer",   PRD_PARAM_NEWCOMER,   prd_param_newcomer },
    { "store",      PRD_PARAM_STORE,      prd_param_store },
    { "sync",       PRD_PARAM_SYNC,       prd_param_sync },
    { "network",    PRD_PARAM_NETWORK,    prd_param_network },
    { "weight",     0,                    prd_param_later },
    { "priority",   0,                    prd_param_later }
};


static const char  prd_why_later[] = "is not supported yet";


static int
prd_has_variable(prd_str_t s)
{
    return s.len != 0 && memchr(s.data, '$', s.len) != NULL;
}


void
prd_params_init(prd_params_t *p)
{
    memset(p, 0, sizeof(prd_params_t));

    p->confidence_ppm = 999000;
    p->warmup_s = 86400;
    p->horizon_s = 300;
    p->cost_milli = PRD_MILLI;
    p->learn = PRD_LEARN_ON;
}


prd_rc_t
prd_params_set(prd_params_t *p, prd_str_t word, const char **why)
{
    size_t              i;
    prd_rc_t            rc;
    prd_str_t           name, value;
    const char         *eq;
    const prd_param_t  *param;

    if (word.len == 0) {
        return PRD_DECLINED;
    }

    /* a bare word may be one that is known: "sync", "rate" */

    eq = memchr(word.data, '=', word.len);

    name = word;
    value.len = 0;
    value.data = word.data + word.len;

    if (eq != NULL) {
        name.len = eq - word.data;
        value.len = word.len - name.len - 1;
        value.data = eq + 1;
    }

    for (i = 0; i < sizeof(prd_params) / sizeof(prd_params[0]); i++) {
        param = &prd_params[i];

        if (!prd_is(name, param->name)) {
            continue;
        }

        if (p->seen & param->bit) {
            *why = "is given twice";
            return PRD_EINVAL;
        }

        if (value.len == 0 && param->bit) {
            *why = "has no value";
            return PRD_EINVAL;
        }

        rc = param->set(p, value, why);

        if (rc == PRD_OK) {
            p->seen |= param->bit;
        }

        return rc;
    }

    return PRD_DECLINED;
}


prd_rc_t
prd_params_end(prd_params_t *p, const char **why)
{
    prd_rate_t  min, max;

    if (!p->rate_set && p->capacity == 0) {
        *why = "needs a rate or a capacity";
        return PRD_EINVAL;
    }

    if ((p->seen & PRD_PARAM_SYNC) && p->store.len == 0) {
        *why = "has \"sync\", but no \"store\"";
        return PRD_EINVAL;
    }

    if (p->learn == PRD_LEARN_OFF
        && (p->seen & (PRD_PARAM_FLOOR|PRD_PARAM_MIN|PRD_PARAM_MAX)))
    {
        *why = "has \"floor\", \"min\" or \"max\", which bound what is "
               "learned, but \"learn=off\"";
        return PRD_EINVAL;
    }

    if (p->capacity != 0 && p->min > p->capacity) {
        *why = "has a \"min\" above its capacity";
        return PRD_EINVAL;
    }

    min = p->min;
    max = p->max;

    if (p->rate != 0) {

        if (min == 0 && !p->floor_none) {
            min = p->rate;
        }

        if (max == 0) {
            max = prd_min(10 * p->rate, PRD_RATE_MAX);
        }

    } else if (!p->rate_set) {

        if (max == 0) {
            max = p->capacity;
        }
    }

    if (max != 0 && min > max) {

        if (p->min == 0) {
            *why = "has a \"max\" below its rate";

        } else if (p->max == 0) {
            *why = "has a \"min\" above \"max\", which is 10 x rate";

        } else {
            *why = "has a \"min\" above \"max\"";
        }

        return PRD_EINVAL;
    }

    p->min = min;
    p->max = max;

    return PRD_OK;
}


static prd_rc_t
prd_param_fixed_rate(prd_params_t *p, prd_str_t v, prd_rate_t *rate,
    const char **why)
{
    prd_rc_t   rc;
    unsigned   bare;

    rc = prd_parse_rate(v, rate, &bare);

    if (rc == PRD_OK) {
        p->rate_bare |= bare & 1;

    } else if (rc == PRD_ERANGE) {
        *why = "must be a rate above 0 and up to 1000000000r/s";

    } else {
        *why = "must be a rate such as 10r/s";
    }

    return rc;
}


/* Tokens of a burst or a delay. */

static prd_rc_t
prd_param_tokens(prd_str_t v, uint32_t *tokens, const char **why)
{
    prd_rc_t  rc;
    uint64_t  n;

    rc = prd_parse_uint(v, PRD_BURST_MAX, &n);

    if (rc != PRD_OK) {
        *why = "must be a whole number from 0 to 1000000000";
        return rc;
    }

    *tokens = (uint32_t) n;

    return PRD_OK;
}


/* A time within bounds, in seconds, rounded up. */

static prd_rc_t
prd_param_time(prd_str_t v, uint64_t least_ms, uint64_t most_ms,
    uint32_t *seconds, const char *must, const char **why)
{
    prd_rc_t  rc;
    uint64_t  ms;

    rc = prd_parse_time_ms(v, &ms);

    if (rc == PRD_OK && (ms < least_ms || ms > most_ms)) {
        rc = PRD_ERANGE;
    }

    if (rc != PRD_OK) {
        *why = must;
        return rc;
    }

    *seconds = (uint32_t) ((ms + 999) / 1000);

    return PRD_OK;
}


static prd_rc_t
prd_param_rate(prd_params_t *p, prd_str_t v, const char **why)
{
    prd_rc_t  rc;

    if (prd_has_variable(v)) {
        p->rate_var = v;
        p->rate_set = 1;
        return PRD_OK;
    }

    rc = prd_param_fixed_rate(p, v, &p->rate, why);

    if (rc == PRD_OK) {
        p->rate_set = 1;
    }

    return rc;
}


static prd_rc_t
prd_param_burst(prd_params_t *p, prd_str_t v, const char **why)
{
    prd_rc_t  rc;

    if (prd_has_variable(v)) {
        p->burst_var = v;
        p->burst_set = 1;
        return PRD_OK;
    }

    rc = prd_param_tokens(v, &p->burst, why);

    if (rc == PRD_OK) {
        p->burst_set = 1;
    }

    return rc;
}


static prd_rc_t
prd_param_capacity(prd_params_t *p, prd_str_t v, const char **why)
{
    prd_rc_t    rc;
    prd_rate_t  rate;

    if (prd_is(v, "auto")) {
        *why = prd_why_later;
        return PRD_EINVAL;
    }

    rc = prd_param_fixed_rate(p, v, &rate, why);

    if (rc != PRD_OK) {
        return rc;
    }

    if (rate < PRD_CAPACITY_MIN) {
        *why = "must be at least 0.2r/s";
        return PRD_ERANGE;
    }

    p->capacity = rate;

    return PRD_OK;
}


static prd_rc_t
prd_param_borrow(prd_params_t *p, prd_str_t v, const char **why)
{
    prd_rc_t  rc;
    uint64_t  n;

    if (prd_is(v, "unlimited")) {
        p->borrow_milli = 0;
        return PRD_OK;
    }

    if (prd_is(v, "off")) {
        p->borrow_milli = PRD_MILLI;
        return PRD_OK;
    }

    rc = prd_parse_milli(v, PRD_BORROW_MAX * PRD_MILLI, &n);

    if (rc == PRD_OK && n < PRD_MILLI) {
        rc = PRD_ERANGE;
    }

    if (rc != PRD_OK) {
        *why = "must be unlimited, off, or a number from 1 to 1000";
        return rc;
    }

    p->borrow_milli = (uint32_t) n;

    return PRD_OK;
}


static prd_rc_t
prd_param_floor(prd_params_t *p, prd_str_t v, const char **why)
{
    if (prd_is(v, "newcomer")) {
        p->floor_none = 0;
        return PRD_OK;
    }

    if (prd_is(v, "none")) {
        p->floor_none = 1;
        return PRD_OK;
    }

    *why = "must be newcomer or none";

    return PRD_EINVAL;
}


static prd_rc_t
prd_param_min(prd_params_t *p, prd_str_t v, const char **why)
{
    return prd_param_fixed_rate(p, v, &p->min, why);
}


static prd_rc_t
prd_param_max(prd_params_t *p, prd_str_t v, const char **why)
{
    return prd_param_fixed_rate(p, v, &p->max, why);
}


static prd_rc_t
prd_param_network(prd_params_t *p, prd_str_t v, const char **why)
{
    if (!prd_is(v, "on") && !prd_is(v, "off")) {
        *why = "must be on or off";
        return PRD_EINVAL;
    }

    p->network = v.len == 2;

    return PRD_OK;
}


static prd_rc_t
prd_param_learn(prd_params_t *p, prd_str_t v, const char **why)
{
    if (prd_is(v, "on")) {
        p->learn = PRD_LEARN_ON;

    } else if (prd_is(v, "observe")) {
        p->learn = PRD_LEARN_OBSERVE;

    } else if (prd_is(v, "off")) {
        p->learn = PRD_LEARN_OFF;

    } else {
        *why = "must be on, observe or off";
        return PRD_EINVAL;
    }

    return PRD_OK;
}


static prd_rc_t
prd_param_warmup(prd_params_t *p, prd_str_t v, const char **why)
{
    return prd_param_time(v, 0, PRD_YEAR_S * 1000, &p->warmup_s,
                          "must be a time from 0 to 365d", why);
}


static prd_rc_t
prd_param_confidence(prd_params_t *p, prd_str_t v, const char **why)
{
    prd_rc_t  rc;
    uint32_t  ppm;

    rc = prd_parse_percent(v, &ppm);

    if (rc == PRD_OK && (ppm < 500000 || ppm > 999990)) {
        rc = PRD_ERANGE;
    }

    if (rc != PRD_OK) {
        *why = "must be a percentage from 50% to 99.999%";
        return rc;
    }

    p->confidence_ppm = ppm;

    return PRD_OK;
}


static prd_rc_t
prd_param_horizon(prd_params_t *p, prd_str_t v, const char **why)
{
    return prd_param_time(v, 10000, 86400000, &p->horizon_s,
                          "must be a time from 10s to 1d", why);
}


static prd_rc_t
prd_param_cost(prd_params_t *p, prd_str_t v, const char **why)
{
    prd_rc_t  rc;

    if (prd_has_variable(v)) {
        p->cost_var = v;
        return PRD_OK;
    }

    rc = prd_parse_milli(v, PRD_COST_MAX * PRD_MILLI, &p->cost_milli);

    if (rc != PRD_OK) {
        *why = "must be a number from 0 to 1000000000";
    }

    return rc;
}


static prd_rc_t
prd_param_charge(prd_params_t *p, prd_str_t v, const char **why)
{
    /* a cost that is known beforehand is the business of cost= */

    if (!prd_has_variable(v)) {
        *why = "must be a variable that the response sets";
        return PRD_EINVAL;
    }

    p->charge = v;

    return PRD_OK;
}


static prd_rc_t
prd_param_class(prd_params_t *p, prd_str_t v, const char **why)
{
    (void) why;

    p->class_ = v;

    return PRD_OK;
}


static prd_rc_t
prd_param_newcomer(prd_params_t *p, prd_str_t v, const char **why)
{
    (void) why;

    p->newcomer = v;

    return PRD_OK;
}


static prd_rc_t
prd_param_store(prd_params_t *p, prd_str_t v, const char **why)
{
    if (prd_has_variable(v)) {
        *why = "must be the name of a store, without variables";
        return PRD_EINVAL;
    }

    p->store = v;

    return PRD_OK;
}


static prd_rc_t
prd_param_sync(prd_params_t *p, prd_str_t v, const char **why)
{
    if (prd_is(v, "lease")) {
        p->sync = PRD_SYNC_LEASE;

    } else if (prd_is(v, "strict")) {
        p->sync = PRD_SYNC_STRICT;

    } else {
        *why = "must be \"lease\" or \"strict\"";
        return PRD_EINVAL;
    }

    return PRD_OK;
}


static prd_rc_t
prd_param_later(prd_params_t *p, prd_str_t v, const char **why)
{
    (void) p;
    (void) v;

    *why = prd_why_later;

    return PRD_EINVAL;
}


void
prd_limit_params_init(prd_limit_params_t *p)
{
    memset(p, 0, sizeof(prd_limit_params_t));
}


/*
 * As in limit_req, the last of several words wins ("delay=5 nodelay"): a
 * configuration that worked there must work here.  burst=0 and delay=0, which
 * limit_req refuses, mean what they say.
 */

prd_rc_t
prd_limit_params_set(prd_limit_params_t *p, prd_str_t word, const char **why)
{
    prd_rc_t     rc;
    prd_str_t    name, value;
    const char  *eq;

    if (prd_is(word, "nodelay")) {
        p->nodelay = 1;
        return PRD_OK;
    }

    eq = word.len ? memchr(word.data, '=', word.len) : NULL;

    if (eq == NULL) {
        return PRD_DECLINED;
    }

    name.len = eq - word.data;
    name.data = word.data;
    value.len = word.len - name.len - 1;
    value.data = eq + 1;

    if (prd_is(name, "zone")) {

        if (value.len == 0) {
            *why = "has no value";
            return PRD_EINVAL;
        }

        p->zone = value;
        return PRD_OK;
    }

    if (prd_is(name, "burst")) {
        rc = prd_param_tokens(value, &p->burst, why);

        if (rc == PRD_OK) {
            p->burst_set = 1;
        }

        return rc;
    }

    if (prd_is(name, "delay")) {
        rc = prd_param_tokens(value, &p->delay, why);

        if (rc == PRD_OK) {
            p->delay_set = 1;
            p->nodelay = 0;
        }

        return rc;
    }

    if (prd_is(name, "pool")) {
        *why = prd_why_later;
        return PRD_EINVAL;
    }

    return PRD_DECLINED;
}
