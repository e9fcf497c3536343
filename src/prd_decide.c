
/*
 * From a request to a verdict.  The order of things, the same for one limit
 * and for several:
 *
 *   find     the client's slot, or a new one, or the overflow bucket
 *   terms    envelope (learned, baseline or newcomer's), elasticity
 *   demand   v, the backlog of a bucket that refuses nothing, and its peak
 *   judge    prd_bucket_judge(), the newcomer key's bucket too
 *   charge   CAS on the bucket(s), then the pool
 */


#include "prd_decide_inner.h"


/*
 * A slot for a new client; 1: none may be taken.  All who have none share one
 * newcomer's bucket: never a fresh bucket each, never a blanket refusal.
 */

static __attribute__((noinline)) unsigned
prd_decide_insert(prd_view_t *view, uint64_t tag, uint32_t now_ms,
    uint32_t *slot)
{
    prd_rc_t  rc;
    unsigned  evicted, inserted;

    rc = prd_table_put(&view->table, tag, now_ms, slot, &evicted, &inserted);

    if (inserted) {
        prd_zone_add(view, PRD_CNT_INSERTED, 1);
    }

    if (evicted) {
        prd_zone_add(view, PRD_CNT_EVICTED, evicted);
    }

    if (rc == PRD_OK) {
        return 0;
    }

    *slot = prd_zone_slots(view);
    prd_zone_add(view, PRD_CNT_EXHAUSTED, 1);

    return 1;
}


/* What a request of unknown cost holds: the client's mean, or the zone's. */

static uint32_t
prd_decide_hold(prd_view_t *view, const prd_policy_t *policy, prd_entry_t *e)
{
    uint32_t  hold;

    hold = atomic_load_explicit(&e->hold, memory_order_relaxed);

    if (hold == 0) {
        hold = atomic_load_explicit(&view->zone->hold, memory_order_relaxed);
    }

    return hold ? hold : policy->unit;
}


/* Whose rate drains the demand of a client with this envelope. */

static inline uint64_t
prd_decide_own(const prd_view_t *view, uint64_t env)
{
    return prd_env_depth_code(env) ? env : prd_load(&view->zone->newcomer);
}


static inline uint32_t
prd_decide_most(const prd_view_t *view, uint64_t env)
{
    uint64_t  most;

    if (!atomic_load_explicit(&view->zone->warm, memory_order_relaxed)) {
        return UINT32_MAX;
    }

    most = 2 * prd_env_decode(prd_env_depth_code(env));

    return (uint32_t) prd_min(most, UINT32_MAX);
}


/*
 * Demand, of refused requests too: the backlog of a bucket that refuses
 * nothing, drained at the client's own learned rate, clipped at twice its
 * depth once learning is bounded (more is unknown, not unlimited).
 *
 * A plain store: of two workers that meet in one client within some 20 ns,
 * one request is not seen here.  That is noise to a forecast, and no verdict
 * reads it.  Returns the backlog.
 */

static inline uint32_t
prd_decide_demand(prd_view_t *view, prd_entry_t *e, uint64_t env,
    uint32_t cost, uint32_t now_ms, uint32_t *wanted)
{
    uint32_t    dt, v;
    uint64_t    word, x, most;
    prd_rate_t  rate;

    env = prd_decide_own(view, env);
    rate = prd_env_decode(prd_env_rate_code(env));
    most = prd_decide_most(view, env);

    word = prd_load(&e->virtual_);
    dt = prd_elapsed(prd_word_ms(word), now_ms);
    v = prd_word_level(word);

    if (dt) {
        v = prd_level_after(v, rate, PRD_ONE_Q16, prd_word_ms(word), dt,
                            view->table.unit);

    } else {
        now_ms = prd_word_ms(word);
    }

    x = prd_min((uint64_t) v + cost, most);
    *wanted = x > v ? (uint32_t) x - v : 0;

    atomic_store_explicit(&e->virtual_, prd_word(now_ms, x),
                          memory_order_relaxed);

    return (uint32_t) x;
}


/*
 * A request in its bin: what was admitted of it (0: nothing), and the backlog
 * it met.  The thread takes the word by exchange, hence CAS.
 */

static inline void
prd_decide_bin(prd_view_t *view, prd_entry_t *e, uint32_t slot,
    uint32_t admitted, uint32_t backlog)
{
    uint64_t  demand;

    demand = prd_load(&e->demand);

    do {
        if (admitted == 0 && backlog <= (uint32_t) demand) {
            return;
        }

    } while (!atomic_compare_exchange_weak_explicit(&e->demand, &demand,
                 (uint64_t) prd_sum32((uint32_t) (demand >> 32), admitted)
                     << 32
                 | prd_max((uint32_t) demand, backlog),
                 memory_order_relaxed, memory_order_relaxed));

    /*
     * The first of this bin.  The bit is set after the word, so that the
     * thread never clears it without seeing the demand; a worker killed in
     * between leaves demand without a bit, which the thread's sweep finds.
     */

    if (demand == 0) {
        prd_decide_dirty(view, slot);
    }
}


static __attribute__((noinline)) void
prd_decide_bin_parent(prd_view_t *view, const prd_answer_t *answer,
    uint32_t admitted)
{
    uint32_t  slot = answer->parent_slot;

    prd_decide_bin(view, &view->table.entries[slot], slot, admitted,
                   answer->parent_backlog);
}


static inline void
prd_decide_class(prd_view_t *view, uint32_t class_, uint32_t trust,
    uint32_t cost)
{
    prd_zone_sum_add(view, &view->worker->class_[class_],
                     (uint64_t) cost * (PRD_TRUSTS - trust));
}


/* What the newcomer key's bucket says; PRD_SKIPPED when it has no say. */

static __attribute__((noinline)) prd_verdict_e
prd_decide_parent(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, prd_terms_t *t,
    uint64_t *word, uint64_t *next, uint32_t *delay_ms)
{
    uint32_t       level, slot;
    uint64_t       env;
    prd_ask_t      a;
    prd_entry_t   *e;
    prd_answer_t   other;

    if (answer->parent_slot == PRD_NO_SLOT) {
        return PRD_SKIPPED;
    }

    slot = answer->parent_slot;
    e = &view->table.entries[slot];
    env = prd_load(&e->envelope);

    a = *ask;
    a.tag = ask->parent;
    a.parent = 0;

    other.slot = slot;
    prd_decide_terms(view, policy, &a, env,
                     prd_decide_trust(view, policy, env,
                                      answer->parent_backlog),
                     answer->cost, &other, t);

    *word = prd_load(&e->state);

    return prd_bucket_judge(t, *word, ask->now_ms, &level, next, delay_ms);
}


/*
 * Finds, works out the terms, notes the demand; leaves the buckets alone.
 * Inlined into each of its few callers, which gcc would not do by itself: 2 %
 * of a decision's instructions.
 */

static inline __attribute__((always_inline)) prd_entry_t *
prd_decide_prepare(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, const prd_lease_t *leases)
{
    uint32_t      cost, trust;
    uint64_t      env;
    prd_entry_t  *e, *pe;

    answer->verdict = PRD_SKIPPED;
    answer->reason = PRD_REASON_NONE;
    answer->parent_slot = PRD_NO_SLOT;
    answer->delay_ms = 0;
    answer->added = answer->parent_added = 0;
    answer->backlog = answer->parent_backlog = 0;
    answer->wanted = answer->parent_wanted = 0;
    answer->full = answer->pooled = answer->taken = answer->denied = 0;

    answer->slot = prd_table_find(&view->table, ask->tag);

    if (answer->slot == PRD_NO_SLOT) {
        answer->full = prd_decide_insert(view, ask->tag, ask->now_ms,
                                         &answer->slot);
    }

    if (leases) {
        prd_prefetch(&leases[answer->slot]);
    }

    e = &view->table.entries[answer->slot];
    env = prd_load(&e->envelope);

    cost = ask->cost;

    if (ask->charged) {
        cost = prd_decide_hold(view, policy, e);
    }

    answer->cost = cost;

    if (ask->parent && ask->parent != ask->tag && !answer->full
        && !prd_env_known(env))
    {
        answer->parent_slot = prd_table_find(&view->table, ask->parent);

        if (answer->parent_slot == PRD_NO_SLOT) {
            (void) prd_decide_insert(view, ask->parent, ask->now_ms,
                                     &answer->parent_slot);
        }

        if (answer->parent_slot == answer->slot) {

            /* in a full pair it took our place: we are without a slot */

            answer->slot = prd_zone_slots(view);
            answer->full = 1;
            e = &view->table.entries[answer->slot];
            env = prd_load(&e->envelope);

        } else if (atomic_load_explicit(&e->parent, memory_order_relaxed)
                   == 0)
        {
            atomic_store_explicit(&e->parent, (uint32_t) (ask->parent >> 32)
                                              | 1, memory_order_relaxed);
        }
    }

    if (cost && policy->params.learn != PRD_LEARN_OFF) {
        answer->backlog = prd_decide_demand(view, e, env, cost, ask->now_ms,
                                            &answer->wanted);

        if (answer->parent_slot != PRD_NO_SLOT) {
            pe = &view->table.entries[answer->parent_slot];
            answer->parent_backlog = prd_decide_demand(view, pe,
                                         prd_load(&pe->envelope), cost,
                                         ask->now_ms,
                                         &answer->parent_wanted);
        }
    }

    trust = prd_decide_trust(view, policy, env, answer->backlog);

    if (cost && policy->pool.capacity) {
        prd_decide_class(view, ask->class_, trust, cost);
    }

    prd_decide_work_out(view, policy, ask, env, trust, cost, answer,
                        &answer->terms);

    return e;
}


/*
 * What the client's own limit refused in this bin: the thread takes it with
 * the demand.  A shortage, or another key's limit, says nothing of the client.
 */

static void
prd_decide_bin_refused(prd_entry_t *e, uint32_t cost)
{
    uint64_t  counts, n;

    counts = prd_load(&e->counts);

    do {
        n = prd_min((counts & UINT32_MAX) + cost, UINT32_MAX);

    } while (!atomic_compare_exchange_weak_explicit(&e->counts, &counts,
                 (counts & ~(uint64_t) UINT32_MAX) | n,
                 memory_order_relaxed, memory_order_relaxed));
}


static __attribute__((noinline)) prd_rc_t
prd_decide_refuse(prd_view_t *view, const prd_ask_t *ask,
    prd_answer_t *answer, prd_reason_e reason)
{
    prd_entry_t  *e;

    e = &view->table.entries[answer->slot];

    answer->verdict = PRD_REJECTED;
    answer->reason = reason ? reason : prd_decide_reason(ask, answer);
    answer->delay_ms = 0;

    atomic_fetch_add_explicit(&e->refused, 1, memory_order_relaxed);

    if (answer->backlog) {

        if (answer->terms.m >= PRD_ONE_Q16
            && (answer->reason == PRD_REASON_QUOTA
                || answer->reason == PRD_REASON_ABOVE_FORECAST))
        {
            prd_decide_bin_refused(e, answer->cost);
        }

        prd_decide_bin(view, e, answer->slot, 0, answer->backlog);
    }

    if (answer->parent_backlog) {
        prd_decide_bin_parent(view, answer, 0);
    }

    return PRD_DECLINED;
}


/* Refused by the client's own bucket, or by the pool. */

static __attribute__((noinline)) prd_rc_t
prd_decide_give_back(prd_view_t *view, const prd_ask_t *ask,
    prd_answer_t *answer, prd_reason_e reason)
{
    if (answer->parent_slot != PRD_NO_SLOT) {
        (void) prd_bucket_adjust(
                   &view->table.entries[answer->parent_slot].state,
                   -(int64_t) answer->parent_added, UINT32_MAX);
    }

    return prd_decide_refuse(view, ask, answer, reason);
}


/* A request that costs nothing: what would be said to it. */

static __attribute__((noinline)) prd_rc_t
prd_decide_peek(const prd_ask_t *ask, prd_answer_t *answer, prd_entry_t *e)
{
    uint64_t  next;

    answer->verdict = prd_bucket_judge(&answer->terms, prd_load(&e->state),
                                       ask->now_ms, &answer->level, &next,
                                       &answer->delay_ms);
    answer->reason = prd_decide_reason(ask, answer);

    return answer->verdict == PRD_REJECTED ? PRD_DECLINED : PRD_OK;
}


/*
 * The newcomer key's bucket is charged first: it gets that back if the
 * client's refuses.
 */

static __attribute__((noinline)) prd_verdict_e
prd_decide_charge_parent(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, uint32_t *delay_ms)
{
    uint32_t       level;
    uint64_t       word, next;
    prd_entry_t   *e;
    prd_terms_t    t;
    prd_verdict_e  verdict;

    e = &view->table.entries[answer->parent_slot];

    verdict = prd_decide_parent(view, policy, ask, answer, &t, &word, &next,
                                delay_ms);

    while (verdict != PRD_REJECTED
           && !atomic_compare_exchange_weak_explicit(&e->state, &word, next,
                  memory_order_relaxed, memory_order_relaxed))
    {
        verdict = prd_bucket_judge(&t, word, ask->now_ms, &level, &next,
                                   delay_ms);
    }

    if (verdict != PRD_REJECTED) {
        level = prd_level_after(prd_word_level(word), t.rate, t.speed,
                                prd_word_ms(word),
                                prd_elapsed(prd_word_ms(word), ask->now_ms),
                                t.unit);
        answer->parent_added = prd_word_level(next) > level
                               ? prd_word_level(next) - level : 0;
    }

    return verdict;
}


static inline __attribute__((always_inline)) prd_rc_t
prd_decide_charge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, prd_entry_t *e)
{
    uint32_t       cost, level, delay_ms, parent_ms;
    uint64_t       word, next;
    prd_verdict_e  verdict, parent;

    cost = answer->cost;

    if (cost == 0) {
        return prd_decide_peek(ask, answer, e);
    }

    parent = PRD_SKIPPED;
    parent_ms = 0;

    if (answer->parent_slot != PRD_NO_SLOT) {
        parent = prd_decide_charge_parent(view, policy, ask, answer,
                                          &parent_ms);

        if (parent == PRD_REJECTED) {

            /* its own level is shown, as by prd_judge() */

            (void) prd_bucket_judge(&answer->terms, prd_load(&e->state),
                                    ask->now_ms, &answer->level, &next,
                                    &delay_ms);

            return prd_decide_refuse(view, ask, answer, PRD_REASON_NEWCOMER);
        }
    }

    word = prd_load(&e->state);

    do {
        verdict = prd_bucket_judge(&answer->terms, word, ask->now_ms, &level,
                                   &next, &delay_ms);

        if (verdict == PRD_REJECTED) {
            answer->level = level;
            return prd_decide_give_back(view, ask, answer, PRD_REASON_NONE);
        }

    } while (!atomic_compare_exchange_weak_explicit(&e->state, &word, next,
                 memory_order_relaxed, memory_order_relaxed));

    /* the debt's end may have taken less than the cost */

    answer->level = level;
    level -= prd_min(cost, level);
    answer->added = prd_word_level(next) > level
                    ? prd_word_level(next) - level : 0;

    if (policy->pool.capacity) {

        if (prd_pool_take(&view->zone->pool, &policy->pool, &view->credit,
                          cost, ask->now_ms)
            != PRD_OK)
        {
            (void) prd_bucket_adjust(&e->state, -(int64_t) answer->added,
                                     UINT32_MAX);

            return prd_decide_give_back(view, ask, answer, PRD_REASON_SCARCE);
        }

        answer->pooled = 1;
    }

    answer->delay_ms = delay_ms;
    answer->verdict = verdict;
    answer->reason = prd_decide_reason(ask, answer);
    answer->taken = 1;

    if (parent == PRD_DELAYED && parent_ms > delay_ms) {
        answer->verdict = PRD_DELAYED;
        answer->reason = PRD_REASON_NEWCOMER;
        answer->delay_ms = parent_ms;
    }

    if (answer->backlog) {
        prd_decide_bin(view, e, answer->slot, cost, answer->backlog);

        if (parent != PRD_SKIPPED) {
            prd_decide_bin_parent(view, answer, cost);
        }

        if (policy->charged) {
            atomic_fetch_add_explicit(&e->counts, 1ull << 32,
                                      memory_order_relaxed);
        }
    }

    return PRD_OK;
}


prd_rc_t
prd_charge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    return prd_decide_charge(view, policy, ask, answer,
                             &view->table.entries[answer->slot]);
}


void
prd_judge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    uint32_t      delay_ms;
    uint64_t      word, next, pword, pnext;
    prd_terms_t   pt;
    prd_entry_t  *e;

    e = prd_decide_prepare(view, policy, ask, answer, NULL);

    word = prd_load(&e->state);

    answer->verdict = prd_bucket_judge(&answer->terms, word, ask->now_ms,
                                       &answer->level, &next,
                                       &answer->delay_ms);

    if (answer->verdict == PRD_REJECTED) {
        (void) prd_decide_refuse(view, ask, answer, PRD_REASON_NONE);
        return;
    }

    if (prd_decide_parent(view, policy, ask, answer, &pt, &pword, &pnext,
                          &delay_ms)
        == PRD_REJECTED)
    {
        (void) prd_decide_refuse(view, ask, answer, PRD_REASON_NEWCOMER);
        return;
    }

    answer->reason = prd_decide_reason(ask, answer);

    /* whatever the other limits say, this zone has seen the demand */

    if (answer->backlog) {
        prd_decide_bin(view, e, answer->slot, 0, answer->backlog);
    }

    if (answer->parent_backlog) {
        prd_decide_bin_parent(view, answer, 0);
    }
}


void
prd_decide(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    prd_entry_t  *e;

    e = prd_decide_prepare(view, policy, ask, answer, NULL);
    (void) prd_decide_charge(view, policy, ask, answer, e);
}


/* The same steps for leases; see prd_step.h. */

prd_entry_t *
prd_step_prepare(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    return prd_decide_prepare(view, policy, ask, answer, view->leases);
}


uint32_t
prd_step_most(const prd_view_t *view, uint64_t env)
{
    return prd_decide_most(view, prd_decide_own(view, env));
}


void
prd_step_owed(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, uint32_t slot, uint32_t backlog, uint64_t env,
    uint32_t cost)
{
    uint32_t      v, wanted;
    prd_entry_t  *e;

    e = &view->table.entries[slot];

    if (backlog) {
        v = prd_decide_demand(view, e, env, cost, ask->now_ms, &wanted);
        prd_decide_bin(view, e, slot, cost, v);
    }

    if (policy->pool.capacity) {
        prd_decide_class(view, ask->class_,
                         prd_decide_trust(view, policy, env, backlog), cost);
    }
}
