
/*
 * The log's clock: a round of the engine's learning at each second that has
 * requests, as the forecasting thread does it; in a gap at the end of the
 * open bin and at the next few full hours, since nothing else happens there.
 */


#include <stdlib.h>
#include <time.h>

#include "decisions.h"
#include "replay.h"
#include "zone.h"


#define RPL_SECOND       1000000ll
#define RPL_MS_BASE      (1u << 20)      /* the engine's clock begins here */
#define RPL_LATE_S       60
#define RPL_TICK_LINES   (1 << 16)
#define RPL_GAP_BINS     17280           /* of one gap, two days; and of */
#define RPL_GAPS         1000000         /* all gaps of a log, 13 s */
#define RPL_AHEAD        16              /* requests */
#define RPL_QUOTED       80              /* bytes of a broken line */
#define RPL_WAITS        8u
#define RPL_WAIT_KEY     64

#define RPL_KEY_MAX      65535           /* these as in the module */
#define RPL_COST_MAX     1000000000000ull


/* A request on its way to its client's record. */

typedef struct {
    rpl_request_t      request;
    size_t             len;
    char               key[RPL_WAIT_KEY];
} rpl_wait_t;


struct rpl_replay_s {
    rpl_options_t      options;

    rpl_format_t      *format;
    rpl_expr_t        *key;
    rpl_expr_t        *class_;
    rpl_expr_t        *newcomer;
    rpl_expr_t        *cost;
    rpl_expr_t        *charge;
    rpl_expr_t        *rate;
    rpl_expr_t        *burst;
    rpl_expr_t        *condition;

    prd_str_t          field[RPL_FIELDS];
    rpl_scratch_t      scratch;
    uint32_t           delay;            /* level units, or PRD_NODELAY */
    uint32_t           window_s;
    unsigned           fraction:1;       /* a stamp had one */
    unsigned           plain:1;          /* the key is printed as it is */
    rpl_wait_t         wait[RPL_WAITS];
    uint32_t           wait_at;          /* where the next one goes */
    uint32_t           waits;

    prd_policy_t       policy;
    rpl_zone_t         zone;
    prd_forecaster_t   forecaster;

    int64_t            base_us;          /* where now_ms begins */
    int64_t            second;           /* of the last round */
    uint32_t           gap_bins;         /* closed without a request */
    int64_t            now_us;

    rpl_order_t       *order;
    rpl_decisions_t   *decisions;
    rpl_clients_t      clients;
    rpl_totals_t       totals;
};


static void rpl_replay_give(void *data, rpl_request_t *r, size_t n);


static uint32_t
rpl_units(uint64_t milli, uint32_t unit)
{
    if (unit != PRD_MILLI) {
        milli = milli / 1000 + (milli % 1000 != 0);
    }

    /* a burst plus a request must fit, too */

    return (uint32_t) prd_min(milli, UINT32_MAX / 2);
}


static prd_rc_t
rpl_replay_expr(rpl_replay_t *r, rpl_expr_t **x, const char *name,
    const char *text, int masked, rpl_error_t *e)
{
    prd_rc_t     rc;
    rpl_error_t  why;

    if (text == NULL) {
        return PRD_OK;
    }

    rc = masked ? rpl_expr_create_masked(x, rpl_str(text), r->format,
                                         &r->options.names, &why)
                : rpl_expr_create(x, rpl_str(text), r->format,
                                  &r->options.names, &why);

    if (rc != PRD_OK) {
        return rpl_error(e, rc, "%s \"%.100s\": %.300s", name, text,
                         why.text);
    }

    return PRD_OK;
}


static prd_rc_t
rpl_replay_compile(rpl_replay_t *r, rpl_error_t *e)
{
    size_t                i;
    prd_rc_t              rc;
    const char           *key, *class_;
    const rpl_options_t  *o;

    o = &r->options;

    rc = rpl_format_create(&r->format, rpl_str(o->format), o->escape, e);

    if (rc != PRD_OK) {
        return rc;
    }

    key = "$remote_addr";
    class_ = o->class_;

    if (r->format->kind == RPL_FORMAT_TSV) {
        key = "$client";
        class_ = class_ ? class_ : "$class";
    }

    const struct {
        rpl_expr_t  **x;
        const char   *name;
        const char   *text;
    } values[] = {
        { &r->key, "key", o->key ? o->key : key },
        { &r->class_, "class", class_ },
        { &r->newcomer, "newcomer", o->newcomer },
        { &r->cost, "cost", o->cost },
        { &r->charge, "charge", o->charge },
        { &r->rate, "rate", o->rate },
        { &r->burst, "burst", o->limit.burst_set ? NULL : o->burst },
        { &r->condition, "if", o->condition }
    };

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        rc = rpl_replay_expr(r, values[i].x, values[i].name, values[i].text,
                             values[i].x == &r->newcomer && o->masked, e);

        if (rc != PRD_OK) {
            return rc;
        }
    }

    return PRD_OK;
}


prd_rc_t
rpl_replay_create(rpl_replay_t **out, const rpl_options_t *options,
    rpl_error_t *e)
{
    prd_rc_t       rc;
    uint64_t       burst;
    rpl_replay_t  *r;

    r = rpl_alloc(sizeof(rpl_replay_t));
    r->options = *options;

    rc = rpl_replay_compile(r, e);

    if (rc != PRD_OK) {
        rpl_replay_done(r);
        return rc;
    }

    /* a variable burst may be anything up to what the grammar has */

    burst = options->limit.burst_set ? options->limit.burst
                                     : options->params.burst;

    prd_policy_init(&r->policy, &options->params, burst);

    r->delay = options->limit.nodelay
               ? PRD_NODELAY
               : rpl_units((uint64_t) options->limit.delay * PRD_MILLI,
                           r->policy.unit);

    r->plain = rpl_expr_plain(r->key);
    r->window_s = 1;

    if (r->format->kind == RPL_FORMAT_TSV) {
        r->window_s = 0;

    } else if (r->format->request_time != RPL_NO_SLOT
               && !options->no_arrival)
    {
        r->window_s = RPL_LATE_S;
    }

    r->order = rpl_order_create(r->window_s, !options->no_spread,
                                rpl_replay_give, r);
    rpl_clients_init(&r->clients);
    rpl_scratch_init(&r->scratch);

    *out = r;

    return PRD_OK;
}


void
rpl_replay_done(rpl_replay_t *r)
{
    if (r == NULL) {
        return;
    }

    rpl_expr_done(r->key);
    rpl_expr_done(r->class_);
    rpl_expr_done(r->newcomer);
    rpl_expr_done(r->cost);
    rpl_expr_done(r->charge);
    rpl_expr_done(r->rate);
    rpl_expr_done(r->burst);
    rpl_expr_done(r->condition);

    if (r->order != NULL) {
        rpl_clients_done(&r->clients);
        rpl_scratch_done(&r->scratch);
    }

    rpl_order_done(r->order);
    rpl_decisions_done(r->decisions);
    rpl_format_done(r->format);

    rpl_zone_done(&r->zone);
    free(r);
}


void
rpl_replay_decisions(rpl_replay_t *r, FILE *f)
{
    r->decisions = rpl_decisions_create(f);
}


/*
 * Nights and weekends are those of where the tool runs, as in nginx: the
 * environment's TZ says where.
 */

static void
rpl_replay_local(rpl_replay_t *r, int64_t second)
{
    time_t     now;
    struct tm  tm;

    now = (time_t) second;

    if (localtime_r(&now, &tm) != NULL) {
        r->forecaster.outlook.offset_s = (int32_t) tm.tm_gmtoff;
    }
}


/* The zone begins with the first request. */

static void
rpl_replay_begin(rpl_replay_t *r, int64_t us)
{
    r->second = prd_max(us / RPL_SECOND - r->window_s, 0);
    r->base_us = r->second * RPL_SECOND;
    r->now_us = r->base_us;
    r->totals.first_us = us;

    tzset();
    rpl_replay_local(r, r->second);

    rpl_zone_create(&r->zone, r->options.zone_size, &r->policy,
                    &r->options.secret, (uint64_t) (us / RPL_SECOND),
                    RPL_MS_BASE);

    (void) prd_forecaster_round(&r->forecaster, &r->zone.view, &r->policy,
                                (double) r->second, RPL_MS_BASE);
}


static inline uint32_t
rpl_replay_ms(const rpl_replay_t *r, int64_t us)
{
    return (uint32_t) ((us - r->base_us) / 1000) + RPL_MS_BASE;
}


static void
rpl_replay_round(rpl_replay_t *r, int64_t second)
{
    rpl_totals_t  *t;

    if (second / PRD_EPOCH_S != r->second / PRD_EPOCH_S) {
        rpl_replay_local(r, second);
    }

    (void) prd_forecaster_round(&r->forecaster, &r->zone.view, &r->policy,
                                (double) second,
                                rpl_replay_ms(r, second * RPL_SECOND));
    r->second = second;
    t = &r->totals;

    if (!t->warmed && atomic_load(&r->zone.view.zone->warm)) {
        t->warmed = 1;
        memcpy(t->closed, r->zone.view.zone->pooled.closed, sizeof(t->closed));
        memcpy(t->missed, r->zone.view.zone->pooled.missed, sizeof(t->missed));
        t->warm_requests = t->requests;
        t->warm_limited = t->verdict[PRD_DELAYED] + t->verdict[PRD_REJECTED];
    }
}


static void
rpl_replay_clock(rpl_replay_t *r, int64_t second)
{
    int       i;
    int64_t   next;

    if (second <= r->second) {
        return;
    }

    /* bins without a request are bins of nothing, as in nginx */

    for (i = 0; i < RPL_GAP_BINS && r->gap_bins < RPL_GAPS; i++) {
        next = (r->second / PRD_BIN_S + 1) * PRD_BIN_S;

        if (next >= second) {
            break;
        }

        r->gap_bins++;
        rpl_replay_round(r, next);
    }

    rpl_replay_round(r, second);
}


/* limit_req as nginx 1.22 has it, with a zone that is never full. */

static int
rpl_limit_req(rpl_replay_t *r, rpl_client_t *client, uint32_t now_ms,
    int first)
{
    int32_t               ms;
    int64_t               excess;
    const rpl_options_t  *o;

    o = &r->options;

    if (first) {
        client->last_ms = now_ms;
        client->excess = 0;
        return 0;
    }

    ms = (int32_t) (now_ms - client->last_ms);

    if (ms < -60000) {
        ms = 1;

    } else if (ms < 0) {
        ms = 0;
    }

    excess = (int64_t) client->excess
             - (int64_t) o->their_rate * ms / 1000 + 1000;
    excess = prd_max(excess, 0);

    if (excess > o->their_burst) {
        r->totals.their_refused++;
        return 1;
    }

    client->excess = (uint32_t) excess;

    if (ms) {
        client->last_ms = now_ms;
    }

    if (excess > o->their_delay) {
        r->totals.their_delayed++;
        return 1;
    }

    return 0;
}


static inline void
rpl_replay_minute(rpl_totals_t *t, int64_t at)
{
    rpl_minute_t  *m;

    m = &t->minute;

    if (m->requests) {

        if (m->limited && t->minute_first.requests == 0) {
            t->minute_first = *m;
        }

        if (m->limited > t->minute_worst.limited) {
            t->minute_worst = *m;
        }

        if (m->requests > t->minute_busy.requests) {
            t->minute_busy = *m;
        }
    }

    m->at = at;
    m->requests = 0;
    m->limited = 0;
}


static void
rpl_replay_count(rpl_replay_t *r, const rpl_request_t *q,
    const prd_answer_t *a, uint32_t now_ms)
{
    int            first, limited, theirs;
    uint32_t       at, hour;
    rpl_why_t     *why;
    rpl_totals_t  *t;
    rpl_client_t  *client;

    t = &r->totals;
    client = &r->clients.client[q->client];

    at = (uint32_t) ((q->us - r->base_us) / RPL_SECOND);
    hour = (uint32_t) (q->us / (PRD_EPOCH_S * RPL_SECOND));
    first = (client->requests == 0);

    if (first) {
        client->first_s = at;
        client->hour = hour;

    } else if (client->hour != hour) {
        rpl_clients_hour(&r->clients, client);
        client->hour = hour;
    }

    client->last_s = at;
    client->requests += (client->requests < UINT32_MAX);
    client->demand++;

    limited = 0;

    if (a->verdict == PRD_BORROWED) {
        client->borrowed++;

    } else if (a->verdict >= PRD_DELAYED) {
        limited = 1;
        why = rpl_clients_why(&r->clients, client);

        if (client->delayed + client->refused == 0) {
            why->first_s = at;
        }

        why->last_s = at;
        why->reason[a->reason]++;

        if (a->verdict == PRD_DELAYED) {
            client->delayed++;
            why->delay_ms += a->delay_ms;
            t->delay_ms += a->delay_ms;

        } else {
            client->refused++;
        }

        t->reason[a->verdict == PRD_REJECTED][a->reason]++;
        client->limited[RPL_OURS]++;
        t->minute.limited++;
    }

    if (r->options.their_rate) {
        theirs = rpl_limit_req(r, client, now_ms, first);
        client->theirs += (uint32_t) theirs;
        client->limited[RPL_THEIRS] += (uint32_t) theirs;
        t->both[limited][theirs]++;
    }
}


/*
 * With many clients a request waits for memory most of the time: what one a
 * few further on will touch is fetched meanwhile, its tags first.
 */

static inline void
rpl_replay_ahead(const rpl_replay_t *r, const rpl_request_t *q)
{
    uint32_t  first[PRD_CHOICES], slot;

    if (q->client == RPL_NO_CLIENT) {
        return;
    }

    prd_table_buckets(&r->zone.view.table, q->tag, first);
    __builtin_prefetch(&r->zone.view.table.tags[first[0]]);
    __builtin_prefetch(&r->zone.view.table.tags[first[1]]);
    __builtin_prefetch(&r->zone.view.table.tags[first[2]]);
    __builtin_prefetch(&r->clients.client[q->client], 1);
    __builtin_prefetch((const char *) &r->clients.client[q->client] + 64, 1);

    q -= RPL_AHEAD / 2;

    if (q->client != RPL_NO_CLIENT) {
        slot = prd_table_find(&r->zone.view.table, q->tag);

        if (slot != PRD_NO_SLOT) {
            __builtin_prefetch(&r->zone.view.table.entries[slot], 1);
        }
    }
}


static void
rpl_replay_give(void *data, rpl_request_t *q, size_t n)
{
    size_t         i;
    uint32_t       now_ms;
    prd_ask_t      ask;
    prd_answer_t   a;
    rpl_replay_t  *r;
    rpl_totals_t  *t;

    r = data;
    t = &r->totals;

    rpl_replay_clock(r, q[0].us / RPL_SECOND);

    if (q[0].us / (60 * RPL_SECOND) != t->minute.at) {
        rpl_replay_minute(t, q[0].us / (60 * RPL_SECOND));
    }

    memset(&ask, 0, sizeof(ask));

    ask.charged = r->charge != NULL;

    for (i = 0; i < n; i++, q++) {

        if (i + RPL_AHEAD < n) {
            rpl_replay_ahead(r, &q[RPL_AHEAD]);
        }

        t->requests++;
        t->minute.requests++;
        r->now_us = q->us;

        if (q->client == RPL_NO_CLIENT) {
            prd_zone_add(&r->zone.view, PRD_CNT_SKIPPED, 1);
            t->skipped++;
            t->verdict[PRD_SKIPPED]++;

            if (r->decisions != NULL) {
                rpl_decisions_set(r->decisions, q->seq, PRD_SKIPPED, 0);
            }

            continue;
        }

        now_ms = rpl_replay_ms(r, q->us);

        ask.tag = q->tag;
        ask.parent = q->parent;
        ask.class_ = q->class_;
        ask.cost = q->cost;
        ask.rate = q->rate;
        ask.burst = q->burst;
        /* delay= adds nothing to what burst= admits */
        ask.delay = r->delay == PRD_NODELAY ? PRD_NODELAY
                                            : prd_min(r->delay, q->burst);
        ask.now_ms = now_ms;

        if (rpl_zone_full(&r->zone)) {
            rpl_zone_grow(&r->zone, now_ms);
        }

        prd_decide(&r->zone.view, &r->policy, &ask, &a);
        prd_note(&r->zone.view, &ask, &a, 0, (uint64_t) q->us / 1000);

        t->verdict[a.verdict]++;
        t->full += a.full;

        if (a.verdict != PRD_REJECTED) {

            if (q->status == 401 || q->status == 403) {
                prd_unlearn(&r->zone.view, &r->policy, &ask, &a);
            }

            if (ask.charged) {
                prd_settle(&r->zone.view, &r->policy, &ask, &a,
                           q->charge != RPL_NO_CHARGE ? q->charge : a.cost);
            }

            if (q->bytes) {
                prd_sized(&r->zone.view, &r->policy, &a,
                          prd_env_decode(q->bytes));
            }
        }

        rpl_replay_count(r, q, &a, now_ms);

        if (r->decisions != NULL) {
            rpl_decisions_set(r->decisions, q->seq, a.verdict, a.delay_ms);
        }
    }
}


/* A request that no limit applies to: nginx counts it as skipped. */

static inline int
rpl_replay_skip(rpl_request_t *q)
{
    q->client = RPL_NO_CLIENT;

    return 0;
}


static int
rpl_replay_bad_value(rpl_replay_t *r, rpl_request_t *q)
{
    prd_zone_add(&r->zone.view, PRD_CNT_BAD_VALUE, 1);
    r->totals.bad_value++;

    return rpl_replay_skip(q);
}


static inline prd_str_t
rpl_replay_eval(rpl_replay_t *r, const rpl_expr_t *x)
{
    r->scratch.used = 0;

    return rpl_expr_eval(x, r->field, &r->scratch);
}


/* What the zone's parameters take from the line; 0: skipped. */

static int
rpl_replay_values(rpl_replay_t *r, rpl_request_t *q)
{
    uint64_t                   n;
    uint32_t                   unit;
    prd_rc_t                   rc;
    prd_str_t                  s;
    const prd_params_t        *p;
    const prd_limit_params_t  *l;

    p = &r->options.params;
    l = &r->options.limit;
    unit = r->policy.unit;

    if (r->condition != NULL) {
        s = rpl_replay_eval(r, r->condition);

        if (s.len == 0 || (s.len == 1 && s.data[0] == '0')) {
            return rpl_replay_skip(q);
        }
    }

    q->rate = p->rate;

    if (r->rate != NULL) {
        s = rpl_replay_eval(r, r->rate);

        if (prd_parse_rate(s, &q->rate, NULL) != PRD_OK) {
            return rpl_replay_bad_value(r, q);
        }
    }

    n = l->burst_set ? l->burst : p->burst;

    if (r->burst != NULL) {
        s = rpl_replay_eval(r, r->burst);

        if (prd_parse_uint(s, 1000000000, &n) != PRD_OK) {
            return rpl_replay_bad_value(r, q);
        }
    }

    q->burst = rpl_units(n * PRD_MILLI, unit);
    q->cost = rpl_units(p->cost_milli, unit);

    if (r->cost != NULL) {
        s = rpl_replay_eval(r, r->cost);

        if (prd_parse_milli(s, RPL_COST_MAX, &n) != PRD_OK) {
            return rpl_replay_bad_value(r, q);
        }

        q->cost = rpl_units(n, unit);
    }

    q->class_ = 0;

    if (r->class_ != NULL) {
        s = rpl_replay_eval(r, r->class_);
        q->class_ = prd_zone_class(&r->zone.view, s);
    }

    q->parent = 0;

    if (r->newcomer != NULL) {
        s = rpl_replay_eval(r, r->newcomer);

        if (s.len) {
            q->parent = prd_tag(prd_hash_newcomer(&r->options.secret, s.data,
                                                  s.len));
        }
    }

    q->charge = RPL_NO_CHARGE;

    if (r->charge != NULL) {
        s = rpl_replay_eval(r, r->charge);

        if (s.len) {
            rc = prd_parse_milli(s, RPL_COST_MAX, &n);

            if (rc == PRD_ERANGE) {
                n = RPL_COST_MAX;

            } else if (rc != PRD_OK) {
                n = 0;
                prd_zone_add(&r->zone.view, PRD_CNT_BAD_VALUE, 1);
                r->totals.bad_value++;
            }

            q->charge = rpl_units(n, unit);
        }
    }

    return 1;
}


/* A request whose client is known goes on to its second. */

static void
rpl_replay_add(rpl_replay_t *r, const rpl_request_t *q)
{
    uint64_t       late;
    rpl_totals_t  *t;

    t = &r->totals;
    late = rpl_order_add(r->order, q);

    if (late > RPL_LATE_S) {
        t->late++;
        t->late_most = prd_max(t->late_most, late);
    }
}


static void
rpl_replay_settle(rpl_replay_t *r, rpl_wait_t *w)
{
    rpl_request_t  *q;

    q = &w->request;
    q->client = rpl_clients_find(&r->clients, q->tag);

    if (q->client == RPL_NO_CLIENT) {
        q->client = rpl_clients_add(&r->clients, q->tag,
                                    (prd_str_t) { w->len, w->key });
    }

    rpl_replay_add(r, q);
}


static void
rpl_replay_drain(rpl_replay_t *r)
{
    for ( /* void */ ; r->waits; r->waits--) {
        rpl_replay_settle(r, &r->wait[(r->wait_at - r->waits) % RPL_WAITS]);
    }
}


/*
 * Finds the request's client, and gives it on.  A short key that is printed
 * as it is hashed can wait for a few lines while its cell is fetched.
 */

static void
rpl_replay_client(rpl_replay_t *r, rpl_request_t *q)
{
    prd_str_t    key;
    rpl_wait_t  *w;

    key = rpl_replay_eval(r, r->key);

    if (key.len == 0 || key.len > RPL_KEY_MAX) {
        rpl_replay_drain(r);
        (void) rpl_replay_skip(q);
        rpl_replay_add(r, q);
        return;
    }

    q->tag = prd_tag(prd_hash(&r->options.secret, key.data, key.len));

    if (r->plain && key.len <= RPL_WAIT_KEY) {

        if (r->waits == RPL_WAITS) {
            rpl_replay_settle(r, &r->wait[r->wait_at % RPL_WAITS]);
            r->waits--;
        }

        w = &r->wait[r->wait_at++ % RPL_WAITS];
        r->waits++;

        w->request = *q;
        w->len = key.len;
        memcpy(w->key, key.data, key.len);

        rpl_clients_ahead(&r->clients, q->tag);
        return;
    }

    rpl_replay_drain(r);

    q->client = rpl_clients_find(&r->clients, q->tag);

    if (q->client == RPL_NO_CLIENT) {
        r->scratch.used = 0;
        key = rpl_expr_text(r->key, r->field, &r->scratch);
        q->client = rpl_clients_add(&r->clients, q->tag, key);
    }

    rpl_replay_add(r, q);
}


/* Bytes of a line for people: what a terminal would obey is \xHH. */

static void
rpl_replay_quote(prd_str_t line, char *out, size_t size)
{
    size_t         i, n;
    unsigned char  c;

    for (i = 0, n = 0; i < line.len; i++) {

        if (i == RPL_QUOTED || n + 8 > size) {
            n += (size_t) snprintf(out + n, size - n, "...");
            break;
        }

        c = (unsigned char) line.data[i];
        n += (size_t) snprintf(out + n, size - n,
                               c < 0x20 || c >= 0x7f ? "\\x%02X" : "%c", c);
    }

    out[n] = '\0';
}


static void
rpl_replay_broken(rpl_replay_t *r, const rpl_reader_t *reader,
    prd_str_t line, const char *why)
{
    char           quoted[4 * RPL_QUOTED + 16];
    rpl_totals_t  *t;

    t = &r->totals;

    if (t->broken < RPL_BROKEN) {
        rpl_replay_quote(line, quoted, sizeof(quoted));
        snprintf(t->first_broken[t->broken].text, RPL_ERROR_MAX,
                 "%s:%llu: %s: %s", rpl_reader_path(reader),
                 (unsigned long long) rpl_reader_number(reader), why, quoted);
    }

    t->broken++;
}


static prd_rc_t
rpl_replay_line(rpl_replay_t *r, prd_str_t line, const char **why)
{
    int64_t         us;
    prd_rc_t        rc;
    uint32_t        status;
    rpl_stamp_t     stamp;
    rpl_totals_t   *t;
    rpl_request_t   q;

    t = &r->totals;

    rc = rpl_format_split(r->format, line, r->field, why);

    if (rc != PRD_OK
        || (rc = rpl_format_time(r->format, r->field, &stamp, why)) != PRD_OK
        || (rc = rpl_format_status(r->format, r->field, &status, why))
           != PRD_OK)
    {
        return rc;
    }

    us = stamp.us;

    if (!stamp.whole) {
        r->fraction = 1;
    }

    if (!r->options.no_arrival && r->format->request_time != RPL_NO_SLOT) {
        us -= rpl_format_duration(r->format, r->field);
        us = prd_max(us, 0);
    }

    if (r->zone.mem == NULL) {
        rpl_replay_begin(r, us);
    }

    q.us = us;
    q.seq = t->lines - t->comments - t->broken;
    q.status = status & 1023;
    q.bytes = prd_env_encode(rpl_format_bytes(r->format, r->field))
              & ((1 << 21) - 1);

    /* where others have a fraction, a stamp without one is exact */
    q.whole = (stamp.whole && !r->fraction) & 1;

    t->refused_before += (status == 429 || status == 503);
    t->denied += (status == 401 || status == 403);

    if (rpl_replay_values(r, &q)) {
        rpl_replay_client(r, &q);

    } else {
        rpl_replay_drain(r);
        rpl_replay_add(r, &q);
    }

    return PRD_OK;
}


prd_rc_t
rpl_replay_run(rpl_replay_t *r, rpl_reader_t *reader,
    rpl_progress_t *progress, rpl_error_t *e)
{
    int            tsv;
    prd_rc_t       rc;
    prd_str_t      line;
    const char    *why;
    rpl_totals_t  *t;

    t = &r->totals;
    tsv = (r->format->kind == RPL_FORMAT_TSV);

    for ( ;; ) {
        rc = rpl_reader_line(reader, &line, e);

        if (rc == PRD_ELIMIT) {
            rpl_replay_broken(r, reader, line, "is too long");
            t->lines++;
            continue;
        }

        if (rc != PRD_OK) {
            break;
        }

        if (progress->tick != NULL && t->lines % RPL_TICK_LINES == 0) {
            progress->tick(progress, r, reader);
        }

        if (tsv ? (line.len && line.data[0] == '#') : line.len == 0) {
            t->comments++;

        } else if (rpl_replay_line(r, line, &why) != PRD_OK) {
            rpl_replay_broken(r, reader, line, why);
        }

        t->lines++;
    }

    if (rc != PRD_DECLINED) {
        return rc;
    }

    if (r->zone.mem == NULL && t->broken) {
        return rpl_error(e, PRD_EINVAL, "%s (no line is of the format)",
                         t->first_broken[0].text);
    }

    rpl_replay_drain(r);
    rpl_order_flush(r->order);
    t->ahead = rpl_order_ahead(r->order);
    rpl_clients_end(&r->clients);
    rpl_replay_minute(t, 0);

    t->last_us = r->now_us;

    if (r->zone.mem != NULL) {
        prd_forecaster_flush(&r->forecaster, &r->zone.view, &r->policy,
                             (double) r->now_us / RPL_SECOND,
                             rpl_replay_now_ms(r));
    }

    if (r->decisions != NULL) {
        rpl_decisions_flush(r->decisions);
    }

    return PRD_OK;
}


const rpl_totals_t *
rpl_replay_totals(const rpl_replay_t *r)
{
    return &r->totals;
}


rpl_clients_t *
rpl_replay_clients(rpl_replay_t *r)
{
    return &r->clients;
}


const prd_view_t *
rpl_replay_view(const rpl_replay_t *r)
{
    return r->zone.mem != NULL ? &r->zone.view : NULL;
}


const prd_policy_t *
rpl_replay_policy(const rpl_replay_t *r)
{
    return &r->policy;
}


uint32_t
rpl_replay_now_ms(const rpl_replay_t *r)
{
    return rpl_replay_ms(r, r->now_us);
}


int64_t
rpl_replay_now(const rpl_replay_t *r)
{
    return r->now_us;
}


int64_t
rpl_replay_time(const rpl_replay_t *r, uint32_t at_s)
{
    return r->base_us + at_s * RPL_SECOND;
}
