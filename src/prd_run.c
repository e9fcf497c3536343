
/*
 * The ends of a run: what is charged ahead, and what is settled.
 */


#include "prd_run.h"


void
prd_run_begin(prd_view_t *view, const prd_policy_t *policy, prd_run_t *run,
    const prd_ask_t *ask, const prd_answer_t *answer)
{
    uint32_t      n, ahead, level, delay_ms;
    uint64_t      env, word, next, pooled, backlog;
    prd_terms_t   t;
    prd_entry_t  *e;

    /* a shared bucket, and a cost that is not known yet, have more to do */

    if (answer->verdict != PRD_PASSED || !answer->taken || answer->full
        || answer->parent_slot != PRD_NO_SLOT || policy->charged)
    {
        return;
    }

    t = answer->terms;
    n = t.free / PRD_RUN_SHARE / answer->cost;
    n = prd_min(n, prd_min(run->n, PRD_RUN_AHEAD));
    ahead = n * answer->cost;

    if (n == 0
        || __builtin_mul_overflow(policy->pool.per_unit, (uint64_t) ahead,
                                  &pooled)
        || pooled > ((uint64_t) PRD_POOL_FULL << PRD_POOL_SUB) / PRD_RUN_SHARE)
    {
        return;
    }

    e = &view->table.entries[answer->slot];
    env = atomic_load_explicit(&e->envelope, memory_order_relaxed);

    /* one that is trusted with less on its way has other terms */

    backlog = (uint64_t) answer->backlog + ahead;

    if (answer->backlog
        && prd_step_trust(view, policy, env, answer->backlog)
           != prd_step_trust(view, policy, env,
                             (uint32_t) prd_min(backlog, UINT32_MAX)))
    {
        return;
    }

    t.cost = ahead;
    word = atomic_load_explicit(&e->state, memory_order_relaxed);

    do {
        if (prd_bucket_judge(&t, word, ask->now_ms, &level, &next, &delay_ms)
            != PRD_PASSED
            || (uint64_t) level << 17
               > (uint64_t) prd_min(t.m, PRD_ONE_Q16) * t.free)
        {
            return;
        }

    } while (!atomic_compare_exchange_weak_explicit(&e->state, &word, next,
                 memory_order_relaxed, memory_order_relaxed));

    run->left = ahead;
    run->level = level - ahead;
    run->most = prd_step_most(view, env);
    run->backlog = answer->backlog;
    run->slot = answer->slot;
    run->reason = answer->reason;
    run->fill = answer->fill;
    run->env = env;
    run->ask = *ask;
    run->terms = answer->terms;
}


/*
 * What was charged ahead has drained with the rest since: less goes back,
 * never more than is still there.
 */

void
prd_run_close(prd_view_t *view, const prd_policy_t *policy, prd_run_t *run)
{
    uint32_t            left, owed, level, then;
    uint64_t            word;
    prd_entry_t        *e;
    const prd_terms_t  *t;

    left = run->left;
    owed = run->owed;
    run->left = run->owed = 0;

    /* in vain: the next one has to prove itself again */

    run->n = owed ? run->n : 0;

    if (!prd_step_holds(view, run->slot, run->ask.tag)) {
        return;
    }

    e = &view->table.entries[run->slot];
    t = &run->terms;

    if (left) {
        word = atomic_load_explicit(&e->state, memory_order_relaxed);

        do {
            then = run->ask.now_ms;
            level = prd_level_after(left, t->rate, t->speed, then,
                                    prd_elapsed(then, prd_word_ms(word)),
                                    t->unit);
            level = prd_word_level(word) - prd_min(prd_word_level(word),
                                                   level);

        } while (!atomic_compare_exchange_weak_explicit(&e->state, &word,
                     prd_word(prd_word_ms(word), level),
                     memory_order_relaxed, memory_order_relaxed));
    }

    if (owed) {
        prd_step_owed(view, policy, &run->ask, run->slot, run->backlog,
                      run->env, owed);
    }
}
