
/*
 * Steps of a decision that its own files (prd_decide_inner.h), leases
 * (prd_lease_inner.h) and runs (prd_run.h) share.  For these alone.
 */


#ifndef PRD_STEP_H_INCLUDED
#define PRD_STEP_H_INCLUDED


#include "prd_decide.h"


/* Finds or inserts, works out the terms, notes the demand in virtual_. */
prd_entry_t *prd_step_prepare(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);

/*
 * The terms of a slot, client's or parent's, with its envelope of now.  Sets
 * answer->fill, too.
 */
void prd_step_terms(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, uint32_t slot,
    uint32_t backlog, prd_terms_t *t);

/* The reason of answer->verdict. */
prd_reason_e prd_step_reason(const prd_ask_t *ask, const prd_answer_t *answer);

/*
 * Is the slot still the tag's?  A response may take minutes, in which a drained
 * newcomer's slot may have been given away; the overflow's never is.
 */

static inline int
prd_step_holds(const prd_view_t *view, uint32_t slot, uint64_t tag)
{
    return slot >= prd_zone_slots(view)
           || atomic_load_explicit(&view->table.tags[slot],
                                   memory_order_acquire)
              == tag;
}


/* A word of 32 bits, and what is added or taken stays within them. */

static inline void
prd_step_add(_Atomic uint32_t *word, int64_t n)
{
    int64_t   sum;
    uint32_t  was;

    was = atomic_load_explicit(word, memory_order_relaxed);

    do {
        sum = prd_max((int64_t) was + n, 0);
        sum = prd_min(sum, UINT32_MAX);

    } while (!atomic_compare_exchange_weak_explicit(word, &was,
                 (uint32_t) sum, memory_order_relaxed, memory_order_relaxed));
}


/*
 * A request was answered 401 or 403: what it cost is nobody's demand, neither
 * in this bin's count nor, as far as it was `wanted`, in the backlog with which
 * the next one begins.  (Where that ends it added nothing; taken off in full,
 * a flood with some 403s in it would be trusted as if it were none.)
 */

static inline void
prd_step_deny(prd_entry_t *e, uint32_t cost, uint32_t wanted)
{
    prd_step_add(&e->denied, cost);
    (void) prd_bucket_adjust(&e->virtual_, -(int64_t) wanted, UINT32_MAX);
}


/*
 * What a settled cost adds to the backlog, of a request that was held for
 * `held`, of which `wanted` was added: what it would have added, had its cost
 * been known.
 */

static inline int64_t
prd_step_settled(uint32_t *wanted, uint32_t held, uint32_t cost)
{
    int64_t  diff;

    if (cost >= held) {
        return (int64_t) cost - held;
    }

    diff = (int64_t) prd_min(cost, *wanted) - *wanted;
    *wanted = prd_min(cost, *wanted);

    return diff;
}


/* Nor is it one of the requests that tell what one costs. */

static inline void
prd_step_uncount(prd_entry_t *e)
{
    uint64_t  counts;

    counts = atomic_load_explicit(&e->counts, memory_order_relaxed);

    while (counts >> 32
           && !atomic_compare_exchange_weak_explicit(&e->counts, &counts,
                  counts - (1ull << 32),
                  memory_order_relaxed, memory_order_relaxed))
    {
        /* void */
    }
}


/* Of an envelope with such a backlog; the most that its backlog can be. */
uint32_t prd_step_trust(const prd_view_t *view, const prd_policy_t *policy,
    uint64_t env, uint32_t backlog);
uint32_t prd_step_most(const prd_view_t *view, uint64_t env);

/*
 * The demand of requests like one that met such a backlog, `cost` in all; 0:
 * demand is not kept.
 */
void prd_step_owed(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, uint32_t slot, uint32_t backlog, uint64_t env,
    uint32_t cost);


#endif /* PRD_STEP_H_INCLUDED */
