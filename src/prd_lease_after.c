
/*
 * Leases: what follows a request that was paid: its true cost, and what is not
 * to be learned from.  See prd_lease.h.
 */


#include "prd_lease_inner.h"


static void
prd_lease_deny_key(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key)
{
    uint32_t      slot, wanted;
    prd_entry_t  *e;

    slot = prd_lease_slot(answer, key);

    if (slot == PRD_NO_SLOT
        || !prd_step_holds(view, slot, prd_lease_tag(ask, key)))
    {
        return;
    }

    wanted = key == PRD_LEASE_CLIENT ? answer->wanted : answer->parent_wanted;

    e = &view->table.entries[slot];
    (void) prd_bucket_adjust(&e->virtual_, -(int64_t) wanted, UINT32_MAX);

    if (policy->charged && key == PRD_LEASE_CLIENT) {
        prd_step_uncount(e);

        if (!ask->charged) {
            prd_step_add(&e->spare, -(int64_t) answer->cost);
        }
    }

    prd_lease_deny_later(view, slot, answer->cost, wanted < answer->cost);
    prd_lease_mark(prd_lease_open(view, slot), answer, key, ask->now_ms, 0);
}


void
prd_lease_deny(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    if (!answer->taken || answer->denied || answer->cost == 0
        || policy->params.learn == PRD_LEARN_OFF)
    {
        return;
    }

    answer->denied = 1;

    prd_lease_deny_key(view, policy, ask, answer, PRD_LEASE_CLIENT);
    prd_lease_deny_key(view, policy, ask, answer, PRD_LEASE_PARENT);
}


static void
prd_lease_settle_key(prd_view_t *view, const prd_ask_t *ask,
    prd_answer_t *answer, unsigned key, int64_t diff)
{
    uint32_t      slot, most, n, wanted, backlog;
    uint32_t     *added;
    prd_lease_t  *l;

    slot = prd_lease_slot(answer, key);

    if (slot == PRD_NO_SLOT
        || !prd_step_holds(view, slot, prd_lease_tag(ask, key)))
    {
        return;
    }

    l = prd_lease_open(view, slot);
    most = (uint32_t) prd_min(2 * (uint64_t) answer->terms.depth, UINT32_MAX);
    added = key == PRD_LEASE_CLIENT ? &answer->added : &answer->parent_added;

    *added += prd_bucket_adjust(&view->table.entries[slot].state, diff, most);

    if (diff > 0) {
        n = (uint32_t) prd_min(diff, UINT32_MAX);

        prd_lease_owe(l, n, answer->terms.rate / prd_lease_nodes(view),
                      view->table.unit, ask->now_ms);
        prd_lease_count(view, PRD_CNT_LEASE_DEBT, n);
        prd_lease_count(view, PRD_CNT_LEASE_ADMITTED, n);

        if (!answer->denied) {
            prd_lease_work(l, n, 0);
        }

        prd_lease_mark(l, answer, key, ask->now_ms, 1);

    } else {
        n = (uint32_t) prd_min(-diff, UINT32_MAX);

        prd_lease_repay(view, l, answer->paid[key - 1], n, ask->now_ms);

        if (!answer->denied) {

            if (answer->paid[key - 1] != PRD_PAID_ASKED) {
                n -= prd_lease_unwork(l, n);
            }

            wanted = key == PRD_LEASE_CLIENT ? answer->wanted
                                             : answer->parent_wanted;
            backlog = key == PRD_LEASE_CLIENT ? answer->backlog
                                              : answer->parent_backlog;

            /* where nothing is learned nobody need know */

            if (n && backlog) {
                prd_lease_deny_later(view, slot, n, wanted < answer->cost);
            }
        }

        prd_lease_mark(l, answer, key, ask->now_ms, 0);
    }
}


void
prd_lease_settle(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, uint32_t cost)
{
    int64_t       diff;
    prd_entry_t  *e;

    if (!answer->taken) {
        return;
    }

    prd_lease_count(view, PRD_CNT_COST_MILLI, cost);
    e = &view->table.entries[answer->slot];

    if (!answer->denied && prd_step_holds(view, answer->slot, ask->tag)) {
        atomic_fetch_add_explicit(&e->spare, cost, memory_order_relaxed);
    }

    if (cost == answer->cost) {
        return;
    }

    diff = (int64_t) cost - (int64_t) answer->cost;

    prd_lease_settle_key(view, ask, answer, PRD_LEASE_CLIENT, diff);
    prd_lease_settle_key(view, ask, answer, PRD_LEASE_PARENT, diff);

    if (answer->pooled) {
        prd_pool_adjust(&view->zone->pool, &policy->pool, diff, ask->now_ms);
    }

    if (policy->params.learn != PRD_LEARN_OFF && !answer->denied
        && prd_step_holds(view, answer->slot, ask->tag))
    {
        (void) prd_bucket_adjust(&e->virtual_,
                   prd_step_settled(&answer->wanted, answer->cost, cost),
                   UINT32_MAX);

        if (diff > 0) {
            prd_lease_work(&view->leases[answer->slot], 0,
                           prd_word_level(prd_lease_load(&e->virtual_)));
        }
    }

    answer->cost = cost;
}
