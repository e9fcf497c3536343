
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


#include "prd_step.h"


/* A field of a record that others may be copying. */
#define prd_relaxed(field, value)                                             \
    __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)


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
 * the slot's published envelope; depth 0 means nothing learned.
 */

static inline void
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
    uint32_t cost, uint32_t now_ms)
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

    atomic_store_explicit(&e->virtual_, prd_word(now_ms, x),
                          memory_order_relaxed);

    return (uint32_t) x;
}


/*
 * A request in its bin: what was admitted of it (0: nothing), and the backlog
 * it met.  The thread takes the word by exchange, hence CAS.
 */

static inline void
prd_decide_bin(prd_view_t *view, uint32_t slot, uint32_t admitted,
    uint32_t backlog)
{
    uint64_t      demand, n;
    prd_entry_t  *e;

    e = &view->table.entries[slot];
    demand = prd_load(&e->demand);

    do {
        if (admitted == 0 && backlog <= (uint32_t) demand) {
            return;
        }

        n = (demand >> 32) + admitted;
        n = prd_min(n, UINT32_MAX);

    } while (!atomic_compare_exchange_weak_explicit(&e->demand, &demand,
                 n << 32 | prd_max((uint32_t) demand, backlog),
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


static inline void
prd_decide_class(prd_view_t *view, uint32_t class_, uint32_t trust,
    uint32_t cost)
{
    prd_zone_sum_add(view, &view->worker->class_[class_],
                     (uint64_t) cost * (PRD_TRUSTS - trust));
}


static prd_reason_e
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
    answer->full = answer->pooled = answer->taken = 0;

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
        answer->backlog = prd_decide_demand(view, e, env, cost, ask->now_ms);

        if (answer->parent_slot != PRD_NO_SLOT) {
            pe = &view->table.entries[answer->parent_slot];
            answer->parent_backlog = prd_decide_demand(view, pe,
                                         prd_load(&pe->envelope), cost,
                                         ask->now_ms);
        }
    }

    trust = prd_decide_trust(view, policy, env, answer->backlog);

    if (cost && policy->pool.capacity) {
        prd_decide_class(view, ask->class_, trust, cost);
    }

    prd_decide_terms(view, policy, ask, env, trust, cost, answer,
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

        prd_decide_bin(view, answer->slot, 0, answer->backlog);
    }

    if (answer->parent_backlog) {
        prd_decide_bin(view, answer->parent_slot, 0, answer->parent_backlog);
    }

    return PRD_DECLINED;
}


static inline prd_rc_t
prd_decide_charge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    int            parent;
    uint32_t       level, delay_ms;
    uint64_t       word, next, pword, pnext;
    prd_entry_t   *e, *pe;
    prd_terms_t    pt;
    prd_verdict_e  verdict, pverdict;

    e = &view->table.entries[answer->slot];

    if (answer->cost == 0) {
        word = prd_load(&e->state);
        answer->verdict = prd_bucket_judge(&answer->terms, word, ask->now_ms,
                                           &answer->level, &next,
                                           &answer->delay_ms);
        answer->reason = prd_decide_reason(ask, answer);

        return answer->verdict == PRD_REJECTED ? PRD_DECLINED : PRD_OK;
    }

    /* the newcomer key first: it is refunded if the client's refuses */

    parent = 0;
    delay_ms = 0;
    pe = NULL;
    pverdict = PRD_SKIPPED;

    if (answer->parent_slot != PRD_NO_SLOT) {
        pe = &view->table.entries[answer->parent_slot];

        pverdict = prd_decide_parent(view, policy, ask, answer, &pt, &pword,
                                     &pnext, &delay_ms);

        while (pverdict != PRD_REJECTED
               && !atomic_compare_exchange_weak_explicit(&pe->state, &pword,
                      pnext, memory_order_relaxed, memory_order_relaxed))
        {
            pverdict = prd_bucket_judge(&pt, pword, ask->now_ms, &level,
                                        &pnext, &delay_ms);
        }

        if (pverdict == PRD_REJECTED) {
            return prd_decide_refuse(view, ask, answer, PRD_REASON_NEWCOMER);
        }

        parent = 1;
        level = prd_level_after(prd_word_level(pword), pt.rate, pt.speed,
                                prd_word_ms(pword),
                                prd_elapsed(prd_word_ms(pword), ask->now_ms),
                                pt.unit);
        answer->parent_added = prd_word_level(pnext) > level
                               ? prd_word_level(pnext) - level : 0;
    }

    word = prd_load(&e->state);

    do {
        verdict = prd_bucket_judge(&answer->terms, word, ask->now_ms,
                                   &answer->level, &next, &answer->delay_ms);

        if (verdict == PRD_REJECTED) {

            if (parent) {
                (void) prd_bucket_adjust(&pe->state,
                                         -(int64_t) answer->parent_added,
                                         UINT32_MAX);
            }

            answer->verdict = PRD_REJECTED;
            return prd_decide_refuse(view, ask, answer, PRD_REASON_NONE);
        }

    } while (!atomic_compare_exchange_weak_explicit(&e->state, &word, next,
                 memory_order_relaxed, memory_order_relaxed));

    /* the debt's end may have taken less than the cost */

    level = answer->level - prd_min(answer->cost, answer->level);
    answer->added = prd_word_level(next) > level
                    ? prd_word_level(next) - level : 0;

    if (policy->pool.capacity) {

        if (prd_pool_take(&view->zone->pool, &policy->pool, &view->credit,
                          answer->cost, ask->now_ms)
            != PRD_OK)
        {
            (void) prd_bucket_adjust(&e->state, -(int64_t) answer->added,
                                     UINT32_MAX);

            if (parent) {
                (void) prd_bucket_adjust(&pe->state,
                                         -(int64_t) answer->parent_added,
                                         UINT32_MAX);
            }

            return prd_decide_refuse(view, ask, answer, PRD_REASON_SCARCE);
        }

        answer->pooled = 1;
    }

    answer->verdict = verdict;
    answer->reason = prd_decide_reason(ask, answer);
    answer->taken = 1;

    if (pverdict == PRD_DELAYED && delay_ms > answer->delay_ms) {
        answer->verdict = PRD_DELAYED;
        answer->reason = PRD_REASON_NEWCOMER;
        answer->delay_ms = delay_ms;
    }

    if (answer->backlog) {
        prd_decide_bin(view, answer->slot, answer->cost, answer->backlog);

        if (parent) {
            prd_decide_bin(view, answer->parent_slot, answer->cost,
                           answer->parent_backlog);
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
    return prd_decide_charge(view, policy, ask, answer);
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
        prd_decide_bin(view, answer->slot, 0, answer->backlog);
    }

    if (answer->parent_backlog) {
        prd_decide_bin(view, answer->parent_slot, 0, answer->parent_backlog);
    }
}


void
prd_decide(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    (void) prd_decide_prepare(view, policy, ask, answer, NULL);
    (void) prd_decide_charge(view, policy, ask, answer);
}


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


/* An admitted request of a class: what followed what, in its group. */

static __attribute__((noinline)) void
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


/* What a request of a class has cost. */

static void
prd_decide_class_cost(prd_view_t *view, uint32_t class_, uint32_t cost)
{
    prd_worker_t  *w = view->worker;

    prd_zone_sum_add(view, &w->class_cost[class_], cost);
    prd_zone_sum_add(view, &w->class_n[class_], 1);
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

    if (answer->taken && !ask->charged) {
        prd_zone_add(view, PRD_CNT_COST_MILLI,
                     answer->terms.unit == PRD_MILLI
                     ? answer->cost : (uint64_t) answer->cost * 1000);
    }

    if (ask->class_ && answer->taken) {
        prd_decide_asked(view, ask, answer);

        if (!ask->charged) {
            prd_decide_class_cost(view, ask->class_, answer->cost);
        }
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

    if (mine && policy->params.learn != PRD_LEARN_OFF) {

        /* learning sees the full charge */

        (void) prd_bucket_adjust(&e->virtual_, diff, UINT32_MAX);
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
prd_unlearn(prd_view_t *view, const prd_ask_t *ask,
    const prd_answer_t *answer)
{
    prd_entry_t  *e;

    if (!answer->taken || answer->cost == 0) {
        return;
    }

    if (prd_step_holds(view, answer->slot, ask->tag)) {
        e = &view->table.entries[answer->slot];
        atomic_fetch_add_explicit(&e->denied, answer->cost,
                                  memory_order_relaxed);
    }

    if (answer->parent_slot != PRD_NO_SLOT
        && prd_step_holds(view, answer->parent_slot, ask->parent))
    {
        e = &view->table.entries[answer->parent_slot];
        atomic_fetch_add_explicit(&e->denied, answer->cost,
                                  memory_order_relaxed);
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

prd_entry_t *
prd_step_prepare(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    return prd_decide_prepare(view, policy, ask, answer, view->leases);
}


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
    uint32_t      v;
    prd_entry_t  *e;

    e = &view->table.entries[slot];

    if (backlog) {
        v = prd_decide_demand(view, e, env, cost, ask->now_ms);
        prd_decide_bin(view, slot, cost, v);
    }

    if (policy->pool.capacity) {
        prd_decide_class(view, ask->class_,
                         prd_decide_trust(view, policy, env, backlog), cost);
    }
}
