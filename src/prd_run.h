
/*
 * A run: requests of one client that a worker meets one after another within
 * a millisecond.  Where workers contend for one client's entry, or one floods
 * a single worker, all but each PRD_RUN_AHEAD'th are answered from what the
 * worker keeps of the run, in its own memory: they wait for no cache line.
 *
 * Nothing is decided otherwise for it.  The worker charges the bucket for
 * requests to come, as for one of their cost, and only while that leaves the
 * bucket half empty and is small beside it and the pool: all of them would
 * pass.  So what buckets admit keeps its bounds, whatever workers do at the
 * same time; the pool is charged for each.  What was not used goes back, and
 * the demand of what was is noted, when another client's turn comes, or a new
 * millisecond, or by prd_run_end() when the worker has no request at hand.
 *
 * A killed worker leaves at most PRD_RUN_AHEAD requests charged that never
 * came, and as many unnoticed by the forecaster.
 */


#ifndef PRD_RUN_H_INCLUDED
#define PRD_RUN_H_INCLUDED


#include "prd_step.h"


#define PRD_RUN_LONG   3               /* requests: then it is a run */
#define PRD_RUN_AHEAD  16              /* most, as many as there were in it */
#define PRD_RUN_SHARE  64              /* of the bucket, and of the pool: */
                                       /* that part at most */


/* Zeroed: no run. */

typedef struct {
    uint64_t      tag;                 /* of the last request; 0: none */
    uint32_t      now_ms;
    uint32_t      n;                   /* requests in a row before it */

    /* charged ahead; used, but not noted as demand; level units */
    uint32_t      left;
    uint32_t      owed;

    /* where either is not 0 */
    uint32_t      level;               /* less what is left and owed */
    uint32_t      backlog;             /* less what is owed; 0: none kept */
    uint32_t      most;                /* it is clipped there */
    uint32_t      slot;
    prd_reason_e  reason;
    int32_t       fill;
    uint64_t      env;
    prd_ask_t     ask;
    prd_terms_t   terms;
} prd_run_t;


void prd_run_begin(prd_view_t *view, const prd_policy_t *policy,
    prd_run_t *run, const prd_ask_t *ask, const prd_answer_t *answer);
void prd_run_close(prd_view_t *view, const prd_policy_t *policy,
    prd_run_t *run);


/* Is there anything to give back or to note? */

static inline int
prd_run_open(const prd_run_t *run)
{
    return (run->left | run->owed) != 0;
}


/* The bucket and the demand are then as without the run. */

static inline void
prd_run_end(prd_view_t *view, const prd_policy_t *policy, prd_run_t *run)
{
    if (prd_run_open(run)) {
        prd_run_close(view, policy, run);
    }
}


static inline int
prd_run_same(const prd_ask_t *a, const prd_ask_t *b)
{
    return a->tag == b->tag && a->now_ms == b->now_ms && a->cost == b->cost
           && a->rate == b->rate && a->burst == b->burst
           && a->delay == b->delay && a->class_ == b->class_
           && a->parent == b->parent && a->charged == b->charged;
}


/*
 * What prd_decide() would say.  By fields and words: to copy a structure gcc
 * makes "rep movs", which takes longer than all the rest.
 */

_Static_assert(sizeof(prd_terms_t) % sizeof(uint64_t) == 0,
               "terms are copied by words");

static inline void
prd_run_answer(const prd_policy_t *policy, const prd_run_t *run,
    prd_answer_t *answer)
{
    uint64_t  backlog;

    backlog = (uint64_t) run->backlog + run->owed;

    answer->verdict = PRD_PASSED;
    answer->reason = run->reason;
    answer->slot = run->slot;
    answer->parent_slot = PRD_NO_SLOT;
    answer->level = run->level + run->owed;
    answer->delay_ms = 0;
    answer->cost = answer->added = run->ask.cost;
    answer->parent_added = answer->parent_backlog = 0;
    answer->backlog = run->backlog ? (uint32_t) prd_min(backlog, run->most)
                                   : 0;
    answer->wanted = run->backlog && backlog <= run->most ? run->ask.cost : 0;
    answer->parent_wanted = 0;
    answer->fill = run->fill;
    answer->full = 0;
    answer->pooled = policy->pool.capacity != 0;
    answer->taken = 1;
    answer->denied = 0;

    prd_words_read(&answer->terms, &run->terms, sizeof(prd_terms_t));
}


/* prd_decide() in a worker that keeps a run. */

static inline void
prd_run_decide(prd_view_t *view, const prd_policy_t *policy, prd_run_t *run,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    if (run->left && prd_run_same(&run->ask, ask)
        && prd_step_holds(view, run->slot, ask->tag)
        && (policy->pool.capacity == 0
            || prd_pool_take(&view->zone->pool, &policy->pool, &view->credit,
                             ask->cost, ask->now_ms)
               == PRD_OK))
    {
        run->n++;
        run->left -= ask->cost;
        run->owed += ask->cost;

        prd_run_answer(policy, run, answer);
        return;
    }

    prd_run_end(view, policy, run);

    prd_decide(view, policy, ask, answer);

    if (run->tag != ask->tag || run->now_ms != ask->now_ms) {
        run->tag = ask->tag;
        run->now_ms = ask->now_ms;
        run->n = 0;
        return;
    }

    if (++run->n >= PRD_RUN_LONG) {
        prd_run_begin(view, policy, run, ask, answer);
    }
}


#endif /* PRD_RUN_H_INCLUDED */
