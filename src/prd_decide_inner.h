
/*
 * What the files of a decision share, for these alone: prd_decide.c (judges and
 * charges), prd_decide_terms.c (what a client would get), prd_decide_after.c
 * (what follows a verdict).  What leases and runs need, too, is in prd_step.h.
 */


#ifndef PRD_DECIDE_INNER_H_INCLUDED
#define PRD_DECIDE_INNER_H_INCLUDED


#include "prd_step.h"


/* prd_decide_terms.c */

/*
 * The terms of the verdict (the reference's section "The verdict").  env is
 * the slot's published envelope; depth 0 means nothing learned.  Sets
 * answer->fill, too.
 */
void prd_decide_terms(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, uint64_t env, uint32_t trust, uint32_t cost,
    prd_answer_t *answer, prd_terms_t *t);

/* The reason of answer->verdict. */
prd_reason_e prd_decide_reason(const prd_ask_t *ask,
    const prd_answer_t *answer);


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


#endif /* PRD_DECIDE_INNER_H_INCLUDED */
