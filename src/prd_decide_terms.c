
/*
 * What a client would get now, and why: the terms of a verdict, its reason,
 * and a look at them that charges nobody.
 */


#include "prd_decide_inner.h"


void
prd_decide_terms(prd_view_t *view, const prd_policy_t *policy,
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


prd_reason_e
prd_decide_reason(const prd_ask_t *ask, const prd_answer_t *answer)
{
    const prd_terms_t  *t = &answer->terms;

    switch (answer->verdict) {

    case PRD_PASSED:
        return t->learned ? PRD_REASON_FORECAST
               : ask->rate ? PRD_REASON_QUOTA : PRD_REASON_NEWCOMER;

    case PRD_BORROWED:
        return PRD_REASON_BORROWED;

    case PRD_DELAYED:
    case PRD_REJECTED:

        if (answer->full && answer->verdict == PRD_REJECTED) {
            return PRD_REASON_ZONE_FULL;
        }

        return answer->level <= t->depth && t->m < PRD_ONE_Q16
               ? PRD_REASON_SCARCE
               : t->learned ? PRD_REASON_ABOVE_FORECAST : PRD_REASON_QUOTA;

    default:
        return PRD_REASON_NONE;
    }
}


prd_rc_t
prd_inspect(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    uint32_t      cost, v;
    uint64_t      next, env, word;
    prd_rc_t      rc;
    prd_entry_t  *e;

    memset(answer, 0, sizeof(prd_answer_t));

    answer->parent_slot = PRD_NO_SLOT;
    answer->slot = prd_table_find(&view->table, ask->tag);
    rc = PRD_OK;

    if (answer->slot == PRD_NO_SLOT) {
        cost = ask->cost ? ask->cost : policy->unit;
        answer->cost = cost;
        prd_decide_terms(view, policy, ask, 0, 0, cost, answer,
                         &answer->terms);
        answer->verdict = prd_bucket_judge(&answer->terms,
                                           prd_word(ask->now_ms, 0),
                                           ask->now_ms, &answer->level, &next,
                                           &answer->delay_ms);
        rc = PRD_DECLINED;

    } else {
        e = &view->table.entries[answer->slot];
        cost = ask->cost ? ask->cost : policy->unit;
        answer->cost = cost;
        env = prd_load(&e->envelope);
        word = prd_load(&e->virtual_);
        v = prd_level_after(prd_word_level(word),
                            prd_env_decode(prd_env_rate_code(env)),
                            PRD_ONE_Q16, prd_word_ms(word),
                            prd_elapsed(prd_word_ms(word), ask->now_ms),
                            policy->unit);
        prd_decide_terms(view, policy, ask, env,
                         prd_decide_trust(view, policy, env, v), cost, answer,
                         &answer->terms);
        answer->verdict = prd_bucket_judge(&answer->terms, prd_load(&e->state),
                                           ask->now_ms, &answer->level, &next,
                                           &answer->delay_ms);
    }

    answer->reason = prd_decide_reason(ask, answer);

    return rc;
}


/* The same steps for leases; see prd_step.h. */

void
prd_step_terms(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, uint32_t slot,
    uint32_t backlog, prd_terms_t *t)
{
    uint64_t  env;

    env = prd_load(&view->table.entries[slot].envelope);

    prd_decide_terms(view, policy, ask, env,
                     prd_decide_trust(view, policy, env, backlog),
                     answer->cost, answer, t);
}


prd_reason_e
prd_step_reason(const prd_ask_t *ask, const prd_answer_t *answer)
{
    return prd_decide_reason(ask, answer);
}


uint32_t
prd_step_trust(const prd_view_t *view, const prd_policy_t *policy,
    uint64_t env, uint32_t backlog)
{
    return prd_decide_trust(view, policy, env, backlog);
}
