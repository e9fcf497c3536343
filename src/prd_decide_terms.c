
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
    prd_decide_work_out(view, policy, ask, env, trust, cost, answer, t);
}


prd_reason_e
prd_decide_reason_beyond(const prd_answer_t *answer)
{
    const prd_terms_t  *t = &answer->terms;

    switch (answer->verdict) {

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
