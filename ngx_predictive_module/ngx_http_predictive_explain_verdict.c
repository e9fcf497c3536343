
/*
 * What requests of a client would meet now, what the last ones met, and, in
 * words and with the numbers that decided, why.
 */


#include <math.h>

#include "ngx_http_predictive_explain.h"


#define NGX_HTTP_PREDICTIVE_EXPLAIN_DECISIONS  20
#define NGX_HTTP_PREDICTIVE_EXPLAIN_LIMITS     32


/* A verdict, of now or of the ring, in tokens and seconds. */

typedef struct {
    prd_verdict_e   verdict;
    prd_reason_e    reason;
    double          level;
    double          cost;
    double          rate;
    double          depth;
    double          free;                /* NaN: not known any more */
    double          limit;
    double          m;                   /* infinite: unlimited */
    double          fill;                /* NaN: no pool */
    double          delay;
    unsigned        learned:1;
    unsigned        dry_run:1;
} ngx_http_predictive_verdict_t;


static ngx_int_t ngx_http_predictive_explain_question(
    ngx_http_predictive_api_t *api, ngx_array_t *questions,
    ngx_http_predictive_limit_t *limit);
static void ngx_http_predictive_explain_answer(
    ngx_http_predictive_zone_t *zone, prd_answer_t *answer,
    ngx_http_predictive_verdict_t *v);
static void ngx_http_predictive_explain_verdict(
    ngx_http_predictive_json_t *json, ngx_http_predictive_verdict_t *v);
static void ngx_http_predictive_explain_why(ngx_http_predictive_json_t *json,
    ngx_http_predictive_verdict_t *v);
static u_char *ngx_http_predictive_explain_pool(u_char *p, u_char *last,
    ngx_http_predictive_verdict_t *v);


ngx_int_t
ngx_http_predictive_explain_questions(ngx_http_predictive_api_t *api,
    ngx_array_t *questions)
{
    uint64_t                          n;
    ngx_str_t                         value;
    prd_str_t                         s;
    prd_rate_t                        rate;
    ngx_uint_t                        i, k, has_rate, has_burst;
    ngx_http_predictive_limit_t      *limits;
    ngx_http_predictive_question_t   *q;
    ngx_http_predictive_loc_conf_t  **levels;

    has_rate = 0;
    has_burst = 0;
    rate = 0;
    n = 0;

    if (ngx_http_predictive_api_arg(api, "rate", &value) == NGX_OK) {
        s.len = value.len;
        s.data = (char *) value.data;

        if (prd_parse_rate(s, &rate, NULL) != PRD_OK) {
            return NGX_DECLINED;
        }

        has_rate = 1;
    }

    if (ngx_http_predictive_api_arg(api, "burst", &value) == NGX_OK) {
        s.len = value.len;
        s.data = (char *) value.data;

        if (prd_parse_uint(s, 1000000000, &n) != PRD_OK) {
            return NGX_DECLINED;
        }

        has_burst = 1;
    }

    if (ngx_array_init(questions, api->request->pool, 2,
                       sizeof(ngx_http_predictive_question_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    levels = api->main->limits.elts;

    for (i = 0; i < api->main->limits.nelts; i++) {
        limits = levels[i]->limits.elts;

        for (k = 0; k < levels[i]->limits.nelts; k++) {

            if (limits[k].zone != api->zone
                || questions->nelts == NGX_HTTP_PREDICTIVE_EXPLAIN_LIMITS)
            {
                continue;
            }

            if (ngx_http_predictive_explain_question(api, questions,
                                                     &limits[k])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    if (questions->nelts == 0
        && ngx_http_predictive_explain_question(api, questions, NULL)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    q = questions->elts;

    for (i = 0; i < questions->nelts; i++) {

        if (has_rate) {
            q[i].ask.rate = rate;
        }

        if (has_burst) {
            q[i].ask.burst = ngx_http_predictive_units(api->zone,
                                                       n * PRD_MILLI);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_explain_question(ngx_http_predictive_api_t *api,
    ngx_array_t *questions, ngx_http_predictive_limit_t *limit)
{
    ngx_http_predictive_zone_t      *zone;
    ngx_http_predictive_question_t  *q;

    zone = api->zone;

    q = ngx_array_push(questions);
    if (q == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(q, sizeof(ngx_http_predictive_question_t));

    if (limit == NULL) {
        q->ask.rate = zone->params.rate;
        q->ask.burst = ngx_http_predictive_units(zone,
                                 (uint64_t) zone->params.burst * PRD_MILLI);
        q->ask.cost = ngx_http_predictive_units(zone,
                                                zone->params.cost_milli);
        q->ask.charged = (zone->charge != NULL);
        return NGX_OK;
    }

    q->ask = limit->ask;

    q->place.data = ngx_pnalloc(api->request->pool,
                                ngx_strlen(limit->file) + 1 + NGX_INT_T_LEN);
    if (q->place.data == NULL) {
        return NGX_ERROR;
    }

    q->place.len = ngx_sprintf(q->place.data, "%s:%ui", limit->file,
                               limit->line)
                   - q->place.data;

    return NGX_OK;
}


void
ngx_http_predictive_explain_ask(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, prd_ask_t *ask, prd_answer_t *answer)
{
    prd_ask_t    a;
    prd_view_t  *view;

    view = &api->zone->view;

    a = *ask;
    a.tag = client->tag;
    a.now_ms = (uint32_t) ngx_current_msec;

    /* what a request holds whose charge is known only afterwards */

    if (a.charged) {
        a.cost = client->hold;

        if (a.cost == 0) {
            a.cost = atomic_load_explicit(&view->zone->hold,
                                          memory_order_relaxed);
        }
    }

    (void) prd_inspect(view, &api->zone->policy, &a, answer);

    if (answer->verdict == PRD_DELAYED && answer->delay_ms == 0) {
        answer->verdict = PRD_PASSED;
    }
}


void
ngx_http_predictive_explain_would(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, ngx_array_t *questions)
{
    ngx_uint_t                       i;
    prd_answer_t                     answer;
    ngx_http_predictive_json_t      *json;
    ngx_http_predictive_verdict_t    v;
    ngx_http_predictive_question_t  *q;

    json = &api->json;
    q = questions->elts;

    ngx_http_predictive_explain_ask(api, client, &q[0].ask, &answer);
    ngx_http_predictive_explain_answer(api->zone, &answer, &v);

    ngx_http_predictive_json_open(json, "would_be", '{');
    ngx_http_predictive_explain_verdict(json, &v);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_open(json, "limits", '[');

    for (i = 0; i < questions->nelts && q[i].place.len; i++) {

        ngx_http_predictive_explain_ask(api, client, &q[i].ask, &answer);
        ngx_http_predictive_explain_answer(api->zone, &answer, &v);

        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_string(json, "where", &q[i].place);
        ngx_http_predictive_explain_verdict(json, &v);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
}


void
ngx_http_predictive_explain_decisions(ngx_http_predictive_api_t *api,
    uint64_t tag)
{
    double                          unit;
    uint32_t                        n;
    ngx_uint_t                      i;
    prd_decision_t                 *d;
    ngx_http_predictive_json_t     *json;
    ngx_http_predictive_verdict_t   v;

    json = &api->json;

    d = ngx_palloc(api->request->pool, NGX_HTTP_PREDICTIVE_EXPLAIN_DECISIONS
                                       * sizeof(prd_decision_t));
    if (d == NULL) {
        json->failed = 1;
        return;
    }

    n = prd_zone_decisions(&api->zone->view, tag, d,
                           NGX_HTTP_PREDICTIVE_EXPLAIN_DECISIONS);

    unit = api->zone->view.zone->unit;

    ngx_http_predictive_json_open(json, "decisions", '[');

    for (i = 0; i < n; i++) {
        v.verdict = d[i].verdict;
        v.reason = d[i].reason;
        v.level = d[i].level / unit;
        v.cost = d[i].cost / unit;
        v.rate = (double) d[i].rate / PRD_RATE_ONE;
        v.depth = d[i].depth / unit;
        v.free = NAN;
        v.limit = d[i].limit / unit;
        v.m = d[i].m == PRD_M_INF ? INFINITY : (double) d[i].m / PRD_ONE_Q16;
        v.fill = api->zone->policy.pool.capacity
                 ? (double) d[i].fill / PRD_ONE_Q16 : NAN;
        v.delay = d[i].delay_ms / 1000.0;
        v.learned = (d[i].reason == PRD_REASON_ABOVE_FORECAST);
        v.dry_run = (d[i].dry_run != 0);

        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_number(json, "t", d[i].time_ms / 1000.0);
        ngx_http_predictive_json_bool(json, "dry_run", v.dry_run);
        ngx_http_predictive_explain_verdict(json, &v);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
}


static void
ngx_http_predictive_explain_answer(ngx_http_predictive_zone_t *zone,
    prd_answer_t *answer, ngx_http_predictive_verdict_t *v)
{
    double        unit;
    prd_terms_t  *t;

    t = &answer->terms;
    unit = t->unit;

    v->verdict = answer->verdict;
    v->reason = answer->reason;
    v->level = answer->level / unit;
    v->cost = answer->cost / unit;
    v->rate = (double) t->rate / PRD_RATE_ONE;
    v->depth = t->depth / unit;
    v->free = t->free / unit;
    v->limit = t->limit / unit;
    v->m = t->m == PRD_M_INF ? INFINITY : (double) t->m / PRD_ONE_Q16;
    v->fill = zone->policy.pool.capacity ? (double) answer->fill / PRD_ONE_Q16
                                         : NAN;
    v->delay = answer->verdict == PRD_DELAYED ? answer->delay_ms / 1000.0 : 0;
    v->learned = t->learned;
    v->dry_run = 0;
}


static void
ngx_http_predictive_explain_verdict(ngx_http_predictive_json_t *json,
    ngx_http_predictive_verdict_t *v)
{
    ngx_http_predictive_json_text(json, "verdict",
                                  prd_verdict_name(v->verdict));
    ngx_http_predictive_json_text(json, "reason", prd_reason_name(v->reason));
    ngx_http_predictive_json_number(json, "level", v->level);
    ngx_http_predictive_json_number(json, "cost", v->cost);
    ngx_http_predictive_json_number(json, "rate", v->rate);
    ngx_http_predictive_json_number(json, "depth", v->depth);
    ngx_http_predictive_json_number(json, "free", v->free);
    ngx_http_predictive_json_number(json, "limit", v->limit);
    ngx_http_predictive_json_float(json, "m", v->m);
    ngx_http_predictive_json_bool(json, "unlimited", isinf(v->m));
    ngx_http_predictive_json_float(json, "fill", v->fill);
    ngx_http_predictive_json_number(json, "delay_seconds", v->delay);

    ngx_http_predictive_explain_why(json, v);
}


/* One sentence, with the numbers that decided. */

static void
ngx_http_predictive_explain_why(ngx_http_predictive_json_t *json,
    ngx_http_predictive_verdict_t *v)
{
    u_char      buf[512], *p, *last;
    ngx_str_t   s;

    p = buf;
    last = buf + sizeof(buf);

    switch (v->verdict) {

    case PRD_PASSED:

        if (v->level > v->free) {
            p = ngx_slprintf(p, last, "passes: a cost of %.1f is more than the "
                             "bucket ever holds, and it is empty", v->cost);
            break;
        }

        p = ngx_slprintf(p, last, "passes: level %.1f is within the %.1f that "
                         "pass at once%s", v->level, v->free,
                         v->learned ? ", as learned" : "");
        break;

    case PRD_BORROWED:
        p = ngx_slprintf(p, last, "borrows: level %.1f is above the %.1f that "
                         "pass at once", v->level, ngx_max(v->free, v->depth));
        p = ngx_http_predictive_explain_pool(p, last, v);
        break;

    case PRD_DELAYED:
        p = ngx_slprintf(p, last, "%s by %.3f s: ",
                         v->dry_run ? "would have been delayed" : "delayed",
                         v->delay);

        if (v->reason == PRD_REASON_NEWCOMER) {
            p = ngx_slprintf(p, last, "the client is new, and the newcomer= "
                             "key that it shares with others is above what "
                             "passes at once");
            break;
        }

        p = ngx_slprintf(p, last, "level %.1f is above what passes at once "
                         "and within burst + 1 = %.1f", v->level, v->limit);

        if (v->m < 1) {
            p = ngx_http_predictive_explain_pool(p, last, v);
        }

        break;

    default:
        p = ngx_slprintf(p, last, "%s: ",
                         v->dry_run ? "would have been refused" : "refused");

        switch (v->reason) {

        case PRD_REASON_SCARCE:
            p = ngx_slprintf(p, last, "level %.1f is within depth %.1f",
                             v->level, v->depth);
            p = ngx_http_predictive_explain_pool(p, last, v);
            break;

        case PRD_REASON_NEWCOMER:
            p = ngx_slprintf(p, last, "the client is new, and the newcomer= "
                             "key that it shares with others is above its "
                             "envelope");
            break;

        case PRD_REASON_ZONE_FULL:
            p = ngx_slprintf(p, last, "the zone had no slot for the client, "
                             "and the bucket of all who have none is at level "
                             "%.1f, above %.1f", v->level, v->limit);
            break;

        case PRD_REASON_STORE:
            p = ngx_slprintf(p, last, "the store could not be asked");
            break;

        case PRD_REASON_QUOTA:
            p = ngx_slprintf(p, last, "level %.1f is above burst + 1 = %.1f "
                             "at %.3f r/s", v->level, v->limit, v->rate);
            p = ngx_http_predictive_explain_pool(p, last, v);
            break;

        default:
            p = ngx_slprintf(p, last, "level %.1f is above depth %.1f",
                             v->level, v->depth);
            p = ngx_http_predictive_explain_pool(p, last, v);
            break;
        }
    }

    s.data = buf;
    s.len = p - buf;

    ngx_http_predictive_json_string(json, "why", &s);
}


static u_char *
ngx_http_predictive_explain_pool(u_char *p, u_char *last,
    ngx_http_predictive_verdict_t *v)
{
    if (isnan(v->fill)) {
        return ngx_slprintf(p, last, ", and there is no pool to borrow from");
    }

    /* ngx_slprintf() knows no "%+d" and truncates towards zero */

    p = ngx_slprintf(p, last, ", and the pool at %i %% ",
                     (ngx_int_t) lrint(v->fill * 100));

    if (isinf(v->m)) {
        return ngx_slprintf(p, last, "lends without a limit");
    }

    if (v->m > 1) {
        return ngx_slprintf(p, last, "lends up to %.2f envelopes (m %.2f)",
                            v->m, v->m);
    }

    if (v->m < 1) {
        return ngx_slprintf(p, last, "leaves %i %% of it (m %.2f)",
                            (ngx_int_t) lrint(v->m * 100), v->m);
    }

    return ngx_slprintf(p, last, "lends nothing (m 1.00)");
}
