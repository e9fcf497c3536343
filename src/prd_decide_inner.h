
/*
 * What the files of a decision share, for these alone: prd_decide.c (judges and
 * charges), prd_decide_terms.c (what a client would get), prd_decide_after.c
 * (what follows a verdict).  What leases and runs need, too, is in prd_step.h.
 */


#ifndef PRD_DECIDE_INNER_H_INCLUDED
#define PRD_DECIDE_INNER_H_INCLUDED


#include "prd_step.h"


/* prd_decide_terms.c */

/* prd_decide_work_out(), where a call more does no harm. */
void prd_decide_terms(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, uint64_t env, uint32_t trust, uint32_t cost,
    prd_answer_t *answer, prd_terms_t *t);


static inline uint64_t
prd_load(prd_word_t *w)
{
    return atomic_load_explicit(w, memory_order_relaxed);
}


/* Bit of the slot's bucket: the thread looks only at buckets with demand. */

static inline void
prd_decide_dirty(prd_view_t *view, uint32_t slot)
{
    uint32_t  b = slot / PRD_WAYS;

    if (b < view->table.nbuckets) {
        (void) atomic_fetch_or_explicit(&view->dirty[b / 64],
                                        1ull << (b % 64),
                                        memory_order_release);
    }
}


/*
 * Trust is for what is trusted: a client is its proven self while its demand
 * is within its own learned depth, and a newcomer at twice that.  Else a farm
 * of keys that were aged with a request an hour could flood on their trust.
 *
 * A depth of two requests, of the zone's mean cost, is what everybody has at
 * least, and no proof that two were ever sent: it is trusted for one.
 */

static inline uint32_t
prd_decide_trust(const prd_view_t *view, const prd_policy_t *policy,
    uint64_t env, uint32_t backlog)
{
    uint32_t  trust, cost;
    uint64_t  depth;

    trust = prd_env_trust(env);

    if (trust == 0) {
        return 0;
    }

    depth = prd_env_decode(prd_env_depth_code(env));

    cost = policy->unit;

    if (policy->charged) {
        cost = atomic_load_explicit(&view->zone->hold, memory_order_relaxed);
        cost = cost ? cost : policy->unit;
    }

    /* the mean has moved a little since it was published */

    if (depth - depth / 64 <= 2 * (uint64_t) cost) {
        depth /= 2;
    }

    if (backlog <= depth) {
        return trust;
    }

    return backlog < 2 * depth
           ? (uint32_t) (trust * (2 * depth - backlog) / depth) : 0;
}


/*
 * The terms of the verdict (the reference's section "The verdict").  env is
 * the slot's published envelope; depth 0 means nothing learned.  Sets
 * answer->fill, too.
 */

static inline __attribute__((always_inline)) void
prd_decide_work_out(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, uint64_t env, uint32_t trust, uint32_t cost,
    prd_answer_t *answer, prd_terms_t *t)
{
    int32_t              e;
    uint32_t             rate, depth, surge, k;
    uint64_t             newcomer, r, b, bound, m, debt;
    prd_zone_t          *zone;
    const prd_params_t  *p;

    zone = view->zone;
    p = &policy->params;

    t->unit = policy->unit;
    t->cost = cost;
    t->limit = ask->burst + t->unit;
    t->free = ask->delay == PRD_NODELAY ? t->limit
              : (uint32_t) prd_min((uint64_t) ask->delay + t->unit,
                                   UINT32_MAX);

    depth = prd_env_depth_code(env);

    t->learned = depth && p->learn == PRD_LEARN_ON
                 && atomic_load_explicit(&zone->warm, memory_order_relaxed);

    if (t->learned || ask->rate == 0) {
        newcomer = prd_load(&zone->newcomer);
        rate = prd_env_rate_code(newcomer);

        if (t->learned) {

            /* codes compare like the numbers they stand for */

            if (p->floor_none || ask->rate) {
                rate = prd_env_rate_code(env);

            } else {
                rate = prd_max(rate, prd_env_rate_code(env));
                depth = prd_max(depth, prd_env_depth_code(newcomer));
            }

        } else {
            depth = prd_env_depth_code(newcomer);
        }

        r = prd_env_decode(rate);
        b = prd_env_decode(depth);

        r = prd_max(r, p->min);

        if (p->max) {
            r = prd_min(r, p->max);

            /*
             * Nano-tokens to level units: what max delivers in 5 s.  A max
             * that is only the capacity bounds no depth: the pool does that
             * better, and a small backend's habits are deeper than 5 s.
             */

            if (p->max != p->capacity) {
                bound = t->unit == PRD_MILLI ? p->max / (1000000 / 5)
                                             : p->max / (1000000000 / 5);
                b = prd_min(b, bound);
            }
        }

        b = prd_max(b, t->limit);
        b = prd_min(b, UINT32_MAX);

        t->rate = r;
        t->depth = (uint32_t) b;
        t->free = prd_max(t->free, t->depth);

        /*
         * The baseline of a request may be a variable: then min is too.  And
         * with floor=none only a habit is worth less than it: who has not had
         * an hour yet has none, and is still a newcomer by rate.
         */

        if (p->floor_none ? prd_env_trust(env) == 0 : p->rate_var.len != 0) {
            t->rate = prd_max(t->rate, ask->rate);
        }

    } else {
        t->rate = ask->rate;
        t->depth = t->limit;
    }

    t->delay_rate = prd_max(t->rate, ask->rate);

    answer->fill = PRD_ONE_Q16;
    t->m = PRD_ONE_Q16;
    t->speed = PRD_ONE_Q16;
    debt = 2 * (uint64_t) t->depth;

    if (policy->pool.capacity) {

        answer->fill = prd_pool_level(prd_load(&zone->pool), ask->now_ms)
                       >> 14;

        t->m = prd_pool_elasticity(&policy->pool, answer->fill, trust, &e);

        if (atomic_load_explicit(&zone->surging, memory_order_relaxed)
            && e < (int32_t) PRD_ONE_Q16 / 2)
        {
            surge = atomic_load_explicit(&zone->surge[ask->class_],
                                         memory_order_relaxed);
            if (surge) {
                m = prd_min(t->m, 2 * PRD_ONE_Q16);
                t->m = (uint32_t) ((m << 16)
                          / (PRD_ONE_Q16 + (uint64_t) surge
                                           * (PRD_TRUSTS - trust)
                                           / PRD_TRUSTS));
            }
        }

        /* without any number of ours, in warm-up, only the pool limits */

        if (!t->learned && ask->rate == 0
            && !atomic_load_explicit(&zone->warm, memory_order_relaxed))
        {
            t->m = PRD_M_INF;
        }

        k = prd_max(t->m, PRD_ONE_Q16);
        t->speed = prd_min(k, policy->pool.speed_max);
        debt = (uint64_t) t->depth * policy->pool.speed_max >> 16;
    }

    debt = prd_max(debt, t->limit);
    t->debt = (uint32_t) prd_min(debt, UINT32_MAX);
}


/* The reason of answer->verdict. */

prd_reason_e prd_decide_reason_beyond(const prd_answer_t *answer);

static inline prd_reason_e
prd_decide_reason(const prd_ask_t *ask, const prd_answer_t *answer)
{
    if (answer->verdict != PRD_PASSED) {
        return prd_decide_reason_beyond(answer);
    }

    return answer->terms.learned ? PRD_REASON_FORECAST
           : ask->rate ? PRD_REASON_QUOTA : PRD_REASON_NEWCOMER;
}


#endif /* PRD_DECIDE_INNER_H_INCLUDED */
