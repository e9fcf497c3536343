
/*
 * What follows a verdict: a refund where another limit refused, counters and
 * the ring of decisions, and after the response the true cost, its size, and
 * what is not to be learned from.
 */


#include "prd_decide_inner.h"


/* A field of a record that others may be copying. */
#define prd_relaxed(field, value)                                             \
    __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)


static void
prd_decide_unadmit(prd_entry_t *e, uint32_t cost)
{
    uint64_t  demand, n;

    demand = prd_load(&e->demand);

    do {
        n = demand >> 32;
        n = n > cost ? n - cost : 0;

    } while (!atomic_compare_exchange_weak_explicit(&e->demand, &demand,
                 n << 32 | (uint32_t) demand,
                 memory_order_relaxed, memory_order_relaxed));
}


void
prd_refund(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    prd_entry_t  *e;

    if (!answer->taken) {
        return;
    }

    answer->taken = 0;

    e = &view->table.entries[answer->slot];
    (void) prd_bucket_adjust(&e->state, -(int64_t) answer->added, UINT32_MAX);

    if (answer->parent_slot != PRD_NO_SLOT) {
        (void) prd_bucket_adjust(
                   &view->table.entries[answer->parent_slot].state,
                   -(int64_t) answer->parent_added, UINT32_MAX);
    }

    if (answer->pooled) {
        prd_pool_adjust(&view->zone->pool, &policy->pool,
                        -(int64_t) answer->cost, ask->now_ms);
        answer->pooled = 0;
    }

    /* it was not admitted after all; its demand stays */

    prd_decide_unadmit(e, answer->cost);

    if (answer->parent_slot != PRD_NO_SLOT) {
        prd_decide_unadmit(&view->table.entries[answer->parent_slot],
                           answer->cost);
    }
}


/* What followed what, in the client's group. */

static void
prd_decide_asked(prd_view_t *view, const prd_ask_t *ask,
    const prd_answer_t *answer)
{
    uint32_t      last;
    unsigned      group;
    prd_entry_t  *e;

    if (view->shared || answer->full) {
        return;
    }

    e = &view->table.entries[answer->slot];
    last = atomic_load_explicit(&e->asked, memory_order_relaxed);
    atomic_store_explicit(&e->asked, (uint16_t) (ask->class_ | PRD_CLASSES),
                          memory_order_relaxed);

    if (last == 0) {
        return;
    }

    group = prd_outlook_group(&view->outlook, answer->slot,
                (uint16_t) prd_env_generation(prd_load(&e->envelope)));

    if (group != PRD_GROUP_NONE) {
        prd_markov_note(&view->outlook.outlook->ring[view->worker
                                                     - view->zone->worker],
                        group, last % PRD_CLASSES, ask->class_);
    }
}


static void
prd_decide_class_cost(prd_view_t *view, uint32_t class_, uint32_t cost)
{
    prd_worker_t  *w = view->worker;

    prd_zone_sum_add(view, &w->class_cost[class_], cost);
    prd_zone_sum_add(view, &w->class_n[class_], 1);
}


void
prd_note_class(prd_view_t *view, const prd_ask_t *ask,
    const prd_answer_t *answer)
{
    prd_decide_asked(view, ask, answer);

    if (!ask->charged) {
        prd_decide_class_cost(view, ask->class_, answer->cost);
    }
}


void
prd_note(prd_view_t *view, const prd_ask_t *ask, const prd_answer_t *answer,
    unsigned dry_run, uint64_t wall_ms)
{
    uint32_t             i, seq;
    prd_counter_e        c;
    prd_decision_t      *d;
    const prd_terms_t   *t;

    static const prd_counter_e  verdicts[2][4] = {
        { PRD_CNT_PASSED, PRD_CNT_BORROWED, PRD_CNT_DELAYED,
          PRD_CNT_REJECTED },
        { PRD_CNT_PASSED, PRD_CNT_BORROWED, PRD_CNT_DELAYED_DRY_RUN,
          PRD_CNT_REJECTED_DRY_RUN }
    };

    static const prd_counter_e  reasons[PRD_REASONS] = {
        PRD_COUNTERS, PRD_COUNTERS, PRD_COUNTERS, PRD_CNT_ABOVE_FORECAST,
        PRD_CNT_SCARCE, PRD_CNT_QUOTA, PRD_CNT_NEWCOMER, PRD_CNT_STORE,
        PRD_CNT_ZONE_FULL
    };

    if (answer->verdict > PRD_REJECTED) {
        return;
    }

    prd_zone_add(view, verdicts[dry_run != 0][answer->verdict], 1);

    if (answer->taken) {
        prd_note_taken(view, ask, answer);
    }

    if (answer->verdict < PRD_DELAYED) {
        return;
    }

    if (answer->verdict == PRD_REJECTED) {
        c = reasons[answer->reason];

        if (c != PRD_COUNTERS) {
            prd_zone_add(view, c, 1);
        }
    }

    /*
     * The ring: whoever gets an index claims that record, unless another is
     * still in it from the ring's last rounds: then ours is left out.  One who
     * was killed inside is given up after a thousand rounds, since it might
     * only sleep.  Relaxed stores: readers look at seq, and a copy under way
     * meanwhile is thrown away.
     */

    i = atomic_fetch_add_explicit(&view->zone->decision_next, 1,
                                  memory_order_relaxed);
    d = &view->zone->decision[i % PRD_DECISIONS];
    t = &answer->terms;

    seq = atomic_load_explicit(&d->seq, memory_order_relaxed);
    i /= PRD_DECISIONS;

    if (((seq & 1) && i - (seq >> 1) < 1024)
        || !atomic_compare_exchange_strong_explicit(&d->seq, &seq, i << 1 | 1,
               memory_order_acquire, memory_order_relaxed))
    {
        return;
    }

    seq = i << 1 | 1;
    atomic_thread_fence(memory_order_release);

    prd_relaxed(d->verdict, answer->verdict);
    prd_relaxed(d->reason, answer->reason);
    prd_relaxed(d->dry_run, dry_run);
    prd_relaxed(d->tag, ask->tag);
    prd_relaxed(d->time_ms, wall_ms);
    prd_relaxed(d->rate, t->rate);
    prd_relaxed(d->level, answer->level);
    prd_relaxed(d->depth, t->depth);
    prd_relaxed(d->limit, t->limit);
    prd_relaxed(d->cost, answer->cost);
    prd_relaxed(d->m, t->m);
    prd_relaxed(d->fill, answer->fill);
    prd_relaxed(d->delay_ms, answer->delay_ms);

    atomic_store_explicit(&d->seq, seq + 1, memory_order_release);
}


void
prd_settle(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, uint32_t cost)
{
    int           mine;
    int64_t       diff;
    uint32_t      most;
    uint64_t      word, demand, x, n;
    prd_entry_t  *e, *pe;

    if (!answer->taken) {
        return;
    }

    prd_zone_add(view, PRD_CNT_COST_MILLI,
                 answer->terms.unit == PRD_MILLI ? cost
                                                 : (uint64_t) cost * 1000);

    if (ask->class_) {
        prd_decide_class_cost(view, ask->class_, cost);
    }

    if (cost == answer->cost) {
        return;
    }

    diff = (int64_t) cost - (int64_t) answer->cost;
    e = &view->table.entries[answer->slot];

    /* debt ends at one depth below empty: a level of two depths */

    most = (uint32_t) prd_min(2 * (uint64_t) answer->terms.depth, UINT32_MAX);

    mine = prd_step_holds(view, answer->slot, ask->tag);

    if (mine) {
        answer->added += prd_bucket_adjust(&e->state,
                                           (int64_t) cost - answer->added,
                                           most);
    }

    if (answer->parent_slot != PRD_NO_SLOT
        && prd_step_holds(view, answer->parent_slot, ask->parent))
    {
        pe = &view->table.entries[answer->parent_slot];
        answer->parent_added += prd_bucket_adjust(&pe->state,
                                    (int64_t) cost - answer->parent_added,
                                    most);
    }

    if (answer->pooled) {
        prd_pool_adjust(&view->zone->pool, &policy->pool, diff, ask->now_ms);
    }

    if (mine && !answer->denied && policy->params.learn != PRD_LEARN_OFF) {

        /* learning sees the full charge */

        (void) prd_bucket_adjust(&e->virtual_,
                   prd_step_settled(&answer->wanted, answer->cost, cost),
                   UINT32_MAX);
        word = prd_load(&e->virtual_);
        demand = prd_load(&e->demand);

        do {
            n = (uint64_t) prd_max((int64_t) (demand >> 32) + diff, 0);
            n = prd_min(n, UINT32_MAX);
            x = prd_max((uint32_t) demand, prd_word_level(word));

        } while (!atomic_compare_exchange_weak_explicit(&e->demand, &demand,
                     n << 32 | x,
                     memory_order_relaxed, memory_order_relaxed));

        if (demand == 0) {
            prd_decide_dirty(view, answer->slot);
        }
    }

    answer->cost = cost;
}


void
prd_sized(prd_view_t *view, const prd_policy_t *policy,
    const prd_answer_t *answer, uint64_t bytes)
{
    unsigned           group;
    uint64_t           was;
    prd_entry_t       *e;
    _Atomic uint64_t  *p;

    if (policy->params.learn == PRD_LEARN_OFF) {
        return;
    }

    p = &view->worker->size[prd_size_class(bytes)];
    was = atomic_load_explicit(p, memory_order_relaxed);

    prd_zone_sum_add(view, p, prd_size_word(bytes));

    /* whose group it is takes two looks into cold memory: a sample does */

    if ((uint32_t) (was >> 40) * 0x9e3779b1u >> 29 || answer->full
        || answer->slot >= prd_zone_slots(view))
    {
        return;
    }

    e = &view->table.entries[answer->slot];
    group = prd_outlook_group(&view->outlook, answer->slot,
                (uint16_t) prd_env_generation(prd_load(&e->envelope)));

    if (group != PRD_GROUP_NONE) {
        prd_zone_sum_add(view, &view->worker->group_size[group],
                         prd_size_word(bytes));
    }
}


void
prd_unlearn(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    prd_entry_t  *e;

    if (!answer->taken || answer->denied || answer->cost == 0
        || policy->params.learn == PRD_LEARN_OFF)
    {
        return;
    }

    answer->denied = 1;

    if (prd_step_holds(view, answer->slot, ask->tag)) {
        e = &view->table.entries[answer->slot];
        prd_step_deny(e, answer->cost, answer->wanted);

        if (policy->charged) {
            prd_step_uncount(e);
        }
    }

    if (answer->parent_slot != PRD_NO_SLOT
        && prd_step_holds(view, answer->parent_slot, ask->parent))
    {
        e = &view->table.entries[answer->parent_slot];
        prd_step_deny(e, answer->cost, answer->parent_wanted);
    }
}
