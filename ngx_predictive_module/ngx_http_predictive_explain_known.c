
/*
 * What the zone knows of a client: its bucket and envelope, what is learned
 * and forecast of it.
 */


#include <math.h>

#include "ngx_http_predictive_explain.h"


#define NGX_HTTP_PREDICTIVE_EXPLAIN_TRIES  8

/* the bounds of the forecast's interval: 5 %, 95 % */
#define NGX_HTTP_PREDICTIVE_EXPLAIN_TAIL   0.05

/* prd_scores_t: cells of this width, from this score on */
#define NGX_HTTP_PREDICTIVE_EXPLAIN_CELL   0.2
#define NGX_HTTP_PREDICTIVE_EXPLAIN_LOW    (-8.0)


static void ngx_http_predictive_explain_learned(
    ngx_http_predictive_json_t *json, ngx_http_predictive_client_t *client);
static void ngx_http_predictive_explain_forecast(
    ngx_http_predictive_api_t *api, ngx_http_predictive_client_t *client);
static double ngx_http_predictive_explain_quantile(prd_scores_t *scores,
    double share);


/*
 * The words are read one by one while workers and the thread write them, and
 * the slot may be given to another client meanwhile: what was read counts only
 * if tag and generation are the same before and after.  The learned record is
 * 64 bytes that the thread writes once in a bin: it is copied until two copies
 * are the same.
 */

void
ngx_http_predictive_explain_read(prd_view_t *view,
    ngx_http_predictive_client_t *client)
{
    uint64_t        tag;
    uint32_t        slot;
    ngx_uint_t      i;
    prd_entry_t    *e;
    prd_learned_t   again;

    tag = client->tag;

    ngx_memzero(client, sizeof(ngx_http_predictive_client_t));

    client->tag = tag;
    client->slot = PRD_NO_SLOT;

    slot = prd_table_find(&view->table, tag);

    if (slot == PRD_NO_SLOT) {
        return;
    }

    e = &view->table.entries[slot];

    client->envelope = atomic_load_explicit(&e->envelope,
                                            memory_order_acquire);
    client->state = atomic_load_explicit(&e->state, memory_order_relaxed);
    client->virtual_ = atomic_load_explicit(&e->virtual_,
                                            memory_order_relaxed);
    client->demand = atomic_load_explicit(&e->demand, memory_order_relaxed);
    client->refused = atomic_load_explicit(&e->refused, memory_order_relaxed);
    client->hours = atomic_load_explicit(&e->hours, memory_order_relaxed);
    client->hold = atomic_load_explicit(&e->hold, memory_order_relaxed);

    for (i = 0; i < NGX_HTTP_PREDICTIVE_EXPLAIN_TRIES; i++) {

        ngx_memcpy(&client->learned, &view->learned[slot],
                   sizeof(prd_learned_t));
        atomic_thread_fence(memory_order_seq_cst);
        ngx_memcpy(&again, &view->learned[slot], sizeof(prd_learned_t));

        if (ngx_memcmp(&client->learned, &again, sizeof(prd_learned_t)) == 0) {
            client->steady = 1;
            break;
        }
    }

    client->has_learned = (client->learned.sigma > 0
                           && client->learned.generation
                              == prd_env_generation(client->envelope));

    atomic_thread_fence(memory_order_acquire);

    if (atomic_load_explicit(&view->table.tags[slot], memory_order_relaxed)
        != tag
        || prd_env_generation(atomic_load_explicit(&e->envelope,
                                                   memory_order_relaxed))
           != prd_env_generation(client->envelope))
    {
        return;
    }

    client->slot = slot;
}


void
ngx_http_predictive_explain_known(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, prd_answer_t *answer)
{
    double                       unit, blocks;
    uint32_t                     now_ms, level, seen;
    uint64_t                     admitted;
    unsigned                     age;
    prd_terms_t                 *t;
    prd_pooled_t                *p;
    ngx_http_predictive_json_t  *json;

    json = &api->json;
    t = &answer->terms;
    unit = t->unit;
    now_ms = (uint32_t) ngx_current_msec;
    p = &api->zone->view.zone->pooled;

    level = prd_level_after(prd_word_level(client->state), t->rate, t->speed,
                            prd_word_ms(client->state),
                            prd_elapsed(prd_word_ms(client->state), now_ms),
                            t->unit);

    /* refused requests move the demand's time only */

    seen = ngx_min(prd_elapsed(prd_word_ms(client->state), now_ms),
                   prd_elapsed(prd_word_ms(client->virtual_), now_ms));

    admitted = ngx_max(t->limit, t->free);
    admitted = admitted * ngx_min(t->m, PRD_ONE_Q16) >> 16;

    ngx_http_predictive_json_open(json, "bucket", '{');
    ngx_http_predictive_json_number(json, "level", level / unit);
    ngx_http_predictive_json_number(json, "remaining",
                     admitted > level ? (double) (admitted - level) / unit : 0);
    ngx_http_predictive_json_number(json, "last_seen_seconds", seen / 1000.0);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_open(json, "envelope", '{');
    ngx_http_predictive_json_number(json, "rate",
                                    (double) t->rate / PRD_RATE_ONE);
    ngx_http_predictive_json_number(json, "depth", t->depth / unit);
    ngx_http_predictive_json_bool(json, "learned", t->learned);
    ngx_http_predictive_json_number(json, "trust",
                         (double) prd_env_trust(client->envelope) / PRD_TRUSTS);
    ngx_http_predictive_json_uint(json, "hours", client->hours);
    ngx_http_predictive_json_uint(json, "blocks",
                          client->has_learned ? client->learned.blocks : 0);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_explain_learned(json, client);
    ngx_http_predictive_explain_forecast(api, client);

    /* what was measured of clients that are known as well as this one */

    age = prd_age(client->has_learned ? client->learned.blocks : 0);
    blocks = p->closed[age];

    ngx_http_predictive_json_float(json, "confidence",
                             blocks > 0 ? 1 - p->missed[age] / blocks : NAN);
    ngx_http_predictive_json_text(json, "confidence_class",
                                  ngx_http_predictive_ages[age]);

    ngx_http_predictive_json_uint(json, "refused", client->refused);

    ngx_http_predictive_json_open(json, "bin", '{');
    ngx_http_predictive_json_number(json, "admitted",
                                    (double) (client->demand >> 32) / unit);
    ngx_http_predictive_json_number(json, "peak_backlog",
                                    (uint32_t) client->demand / unit);
    ngx_http_predictive_json_close(json, '}');

    if (client->slot != PRD_NO_SLOT) {
        ngx_http_predictive_outlook_client(api, client->slot,
                        (uint16_t) prd_env_generation(client->envelope));

    } else {
        ngx_http_predictive_json_null(json, "group");
    }

    ngx_http_predictive_json_null(json, "pool");
}


/* As the thread keeps it: logarithms to the base of 2, tokens. */

static void
ngx_http_predictive_explain_learned(ngx_http_predictive_json_t *json,
    ngx_http_predictive_client_t *client)
{
    prd_learned_t  *l;

    if (!client->has_learned) {
        ngx_http_predictive_json_null(json, "learned");
        return;
    }

    l = &client->learned;

    ngx_http_predictive_json_open(json, "learned", '{');
    ngx_http_predictive_json_float(json, "depth", l->depth);
    ngx_http_predictive_json_float(json, "rate", l->rate);
    ngx_http_predictive_json_float(json, "depth_cap", l->cap_depth);
    ngx_http_predictive_json_float(json, "rate_cap", l->cap_rate);
    ngx_http_predictive_json_float(json, "peak_log2_mean", l->mu);
    ngx_http_predictive_json_float(json, "peak_log2_spread", l->sigma);
    ngx_http_predictive_json_float(json, "hourly_log2_mean", l->mu_rate);
    ngx_http_predictive_json_float(json, "hourly_log2_spread", l->sigma_rate);
    ngx_http_predictive_json_float(json, "this_hour", l->count);
    ngx_http_predictive_json_uint(json, "blocks", l->blocks);
    ngx_http_predictive_json_uint(json, "hours", l->hours);
    ngx_http_predictive_json_bool(json, "steady", client->steady);
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_explain_forecast(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client)
{
    double                       upper, lower, level, now_s;
    ngx_uint_t                   i;
    prd_pooled_t                *p;
    prd_learned_t               *l;
    const prd_params_t          *params;
    prd_envelope_terms_t         terms;
    ngx_http_predictive_json_t  *json;

    json = &api->json;
    l = &client->learned;
    p = &api->zone->view.zone->pooled;
    params = &api->zone->policy.params;

    terms.alpha = 1 - params->confidence_ppm / 1e6;
    terms.horizon_s = ngx_max(params->horizon_s, PRD_BIN_S);
    terms.learning = 0;
    terms.phase_s = prd_phase_s(client->tag);

    now_s = (double) ngx_time();
    upper = NAN;
    lower = NAN;
    level = NAN;

    if (client->has_learned && l->level > 0) {
        upper = prd_learned_forecast(l, p, &terms, now_s);

        i = prd_learned_outlook(l, &terms, now_s, &level);
        lower = level * exp2(ngx_http_predictive_explain_quantile(
                                 &p->near[i],
                                 NGX_HTTP_PREDICTIVE_EXPLAIN_TAIL));
        lower = ngx_min(lower, upper);
    }

    ngx_http_predictive_json_open(json, "forecast", '{');
    ngx_http_predictive_json_number(json, "horizon_seconds", terms.horizon_s);
    ngx_http_predictive_json_float(json, "level_rps", level);
    ngx_http_predictive_json_float(json, "upper_rps", upper);
    ngx_http_predictive_json_open(json, "curve", '[');
    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_number(json, "horizon_seconds", terms.horizon_s);
    ngx_http_predictive_json_float(json, "lower_rps", lower);
    ngx_http_predictive_json_float(json, "upper_rps", upper);
    ngx_http_predictive_json_close(json, '}');

    if (client->slot != PRD_NO_SLOT) {
        ngx_http_predictive_outlook_points(api, client->slot,
                        (uint16_t) prd_env_generation(client->envelope));
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


/*
 * The score that a share of the votes is below; -inf where that is in the
 * lowest cell, whose votes stand for "nothing came".
 */

static double
ngx_http_predictive_explain_quantile(prd_scores_t *scores, double share)
{
    double      sum, most;
    ngx_uint_t  i;

    sum = 0;

    for (i = 0; i < PRD_CELLS; i++) {
        sum += scores->cell[i];
    }

    most = sum * share;
    sum = 0;

    for (i = 0; i < PRD_CELLS; i++) {

        if (scores->cell[i] > 0 && sum + scores->cell[i] >= most) {
            break;
        }

        sum += scores->cell[i];
    }

    if (i == 0 || i == PRD_CELLS) {
        return -INFINITY;
    }

    return NGX_HTTP_PREDICTIVE_EXPLAIN_LOW
           + NGX_HTTP_PREDICTIVE_EXPLAIN_CELL
             * ((double) i + (most - sum) / scores->cell[i]);
}
