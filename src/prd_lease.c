
/*
 * Leases: how a request of a shared limit is decided and paid.  See
 * prd_lease.h.
 */


#include "prd_lease_inner.h"


/* With leased tokens, or else as debt. */

static inline void
prd_lease_pay(prd_view_t *view, prd_lease_t *l, prd_answer_t *answer,
    unsigned key, prd_rate_t rate, uint32_t now_ms)
{
    uint32_t  cost, left;
    uint64_t  word;

    cost = answer->cost;
    word = prd_lease_load(&l->held);

    while (prd_word_level(word) >= cost
           && prd_elapsed(prd_word_ms(word), now_ms) <= PRD_LEASE_VOID_MS)
    {
        left = prd_word_level(word) - cost;

        if (prd_lease_swap(&l->held, &word, prd_word(now_ms, left))) {
            answer->paid[key - 1] = PRD_PAID_HELD;

            if (left <= prd_lease_grant_of(l) / 2) {
                prd_lease_mark(l, answer, key, now_ms, 1);
            }

            goto paid;
        }
    }

    prd_lease_owe(l, cost, rate / prd_lease_nodes(view), view->table.unit,
                  now_ms);
    prd_lease_count(view, PRD_CNT_LEASE_DEBT, cost);
    answer->paid[key - 1] = PRD_PAID_DEBT;
    prd_lease_mark(l, answer, key, now_ms, 1);

paid:

    prd_lease_count(view, PRD_CNT_LEASE_ADMITTED, cost);
    prd_lease_work(l, cost, key == PRD_LEASE_CLIENT ? answer->backlog
                                                    : answer->parent_backlog);
}


static void
prd_lease_undo(prd_view_t *view, const prd_ask_t *ask, prd_answer_t *answer,
    unsigned key)
{
    uint32_t      slot, added, n;
    prd_lease_t  *l;

    if (answer->paid[key - 1] == PRD_PAID_NOT) {
        return;
    }

    slot = prd_lease_slot(answer, key);

    if (!prd_step_holds(view, slot, prd_lease_tag(ask, key))) {

        /* not his tokens any more: as if they had been void */

        prd_lease_count(view, PRD_CNT_LEASE_REFUNDED, answer->cost);
        prd_lease_count(view, PRD_CNT_LEASE_FORFEITED, answer->cost);
        answer->paid[key - 1] = PRD_PAID_NOT;
        answer->told |= (uint8_t) key;
        return;
    }

    l = prd_lease_open(view, slot);
    added = key == PRD_LEASE_CLIENT ? answer->added : answer->parent_added;

    (void) prd_bucket_adjust(&view->table.entries[slot].state,
                             -(int64_t) added, UINT32_MAX);

    prd_lease_repay(view, l, answer->paid[key - 1], answer->cost,
                    ask->now_ms);

    /*
     * It was not admitted after all; its demand stays: as it was reported, or
     * as the store knows it that was asked.
     */

    n = answer->paid[key - 1] == PRD_PAID_ASKED
        ? 0 : prd_lease_unwork(l, answer->cost);

    prd_lease_note_refused(l, (answer->told & key) ? 0 : n, answer->cost - n);
    answer->told |= (uint8_t) key;

    prd_lease_mark(l, answer, key, ask->now_ms, 0);

    answer->paid[key - 1] = PRD_PAID_NOT;
}


/*
 * A request that is not admitted: what was paid goes back, and its demand is
 * noted, of keys that the store was not asked for.
 */

static void
prd_lease_give_back(prd_view_t *view, const prd_ask_t *ask,
    prd_answer_t *answer)
{
    uint32_t      backlog, slot;
    unsigned      key;
    prd_lease_t  *l;

    for (key = PRD_LEASE_CLIENT; key <= prd_lease_keys(answer); key <<= 1) {

        if (answer->paid[key - 1] != PRD_PAID_NOT) {
            prd_lease_undo(view, ask, answer, key);
            continue;
        }

        backlog = key == PRD_LEASE_CLIENT ? answer->backlog
                                          : answer->parent_backlog;

        if (backlog == 0 || (answer->told & key)) {
            continue;
        }

        answer->told |= (uint8_t) key;
        slot = prd_lease_slot(answer, key);

        if (!prd_step_holds(view, slot, prd_lease_tag(ask, key))) {
            continue;
        }

        l = prd_lease_open(view, slot);
        prd_lease_note_refused(l, answer->cost, 0);
        prd_lease_work(l, 0, backlog);
        prd_lease_mark(l, answer, key, ask->now_ms, 0);
    }
}


static __attribute__((noinline)) prd_rc_t
prd_lease_refuse(prd_view_t *view, const prd_ask_t *ask, prd_answer_t *answer,
    prd_reason_e reason)
{
    prd_lease_give_back(view, ask, answer);

    answer->verdict = PRD_REJECTED;
    answer->reason = reason ? reason : prd_step_reason(ask, answer);
    answer->delay_ms = 0;
    answer->taken = 0;

    atomic_fetch_add_explicit(&view->table.entries[answer->slot].refused, 1,
                              memory_order_relaxed);

    return PRD_DECLINED;
}


/* The worse of what the client's and the newcomer key's buckets say. */

static void
prd_lease_combine(prd_answer_t *answer, unsigned key, prd_verdict_e verdict,
    uint32_t delay_ms)
{
    if (answer->verdict == PRD_REJECTED) {
        return;
    }

    if (verdict == PRD_REJECTED) {
        answer->verdict = PRD_REJECTED;
        answer->delay_ms = 0;
        answer->reason = key == PRD_LEASE_PARENT ? PRD_REASON_NEWCOMER
                                                 : PRD_REASON_NONE;
        return;
    }

    if (verdict == PRD_DELAYED) {

        if (answer->verdict != PRD_DELAYED || delay_ms > answer->delay_ms) {
            answer->verdict = PRD_DELAYED;
            answer->reason = key == PRD_LEASE_PARENT ? PRD_REASON_NEWCOMER
                                                     : PRD_REASON_NONE;
            answer->delay_ms = delay_ms;
        }

        return;
    }

    if (key == PRD_LEASE_CLIENT && answer->verdict != PRD_DELAYED) {
        answer->verdict = verdict;
    }
}


/* Of what was not refused: delayed, it may be by the newcomer key. */

static inline prd_reason_e
prd_lease_reason(const prd_ask_t *ask, const prd_answer_t *answer)
{
    if (answer->away && answer->mode == PRD_LEASE_PASS) {
        return PRD_REASON_STORE;
    }

    return answer->verdict == PRD_DELAYED
           && answer->reason == PRD_REASON_NEWCOMER
           ? PRD_REASON_NEWCOMER : prd_step_reason(ask, answer);
}


/*
 * Without the store: as if each other node did what this one does.  A request
 * then counts once for each node, on the level as it was last heard of, and
 * rate, burst and level are this node's share without a word being rescaled.
 * What is held has been debited and counts once.
 */

static void
prd_lease_alone(prd_view_t *view, prd_lease_t *l, uint32_t cost,
    uint32_t now_ms, prd_terms_t *t)
{
    uint64_t  n;

    if (prd_lease_enough(l, cost, now_ms)) {
        return;
    }

    n = (uint64_t) cost * prd_lease_nodes(view);

    t->cost = (uint32_t) prd_min(n, UINT32_MAX);

    /* else one request that is above the depth would be paid off too early */

    t->debt = prd_max(t->debt, t->cost);
}


/* The estimate's word on a key whose terms are t; nothing is charged. */

static prd_verdict_e
prd_lease_look(prd_view_t *view, prd_lease_t *l, uint32_t slot,
    unsigned away, prd_terms_t *t, uint32_t now_ms, uint64_t *word,
    uint64_t *next, uint32_t *level, uint32_t *delay_ms)
{
    if (away) {
        prd_lease_alone(view, l, t->cost, now_ms, t);
    }

    *word = prd_lease_load(&view->table.entries[slot].state);

    return prd_bucket_judge(t, *word, now_ms, level, next, delay_ms);
}


/*
 * Charges a key's bucket and pays; word, next and verdict are what
 * prd_lease_look() has said.  PRD_REJECTED: nothing was done.
 */

static inline prd_verdict_e
prd_lease_charge_key(prd_view_t *view, const prd_ask_t *ask,
    prd_answer_t *answer, prd_lease_t *l, unsigned key, const prd_terms_t *t,
    uint64_t word, uint64_t next, prd_verdict_e verdict, uint32_t *delay_ms)
{
    uint32_t      level, added;
    prd_entry_t  *e;

    e = &view->table.entries[prd_lease_slot(answer, key)];
    level = answer->level;

    while (verdict != PRD_REJECTED
           && !prd_lease_swap(&e->state, &word, next))
    {
        verdict = prd_bucket_judge(t, word, ask->now_ms, &level, &next,
                                   delay_ms);
    }

    if (key == PRD_LEASE_CLIENT) {
        answer->level = level;
    }

    if (verdict == PRD_REJECTED) {
        return verdict;
    }

    level = prd_level_after(prd_word_level(word), t->rate, t->speed,
                            prd_word_ms(word),
                            prd_elapsed(prd_word_ms(word), ask->now_ms),
                            t->unit);
    added = prd_word_level(next) > level ? prd_word_level(next) - level : 0;

    if (key == PRD_LEASE_CLIENT) {
        answer->added = added;

    } else {
        answer->parent_added = added;
    }

    prd_lease_pay(view, l, answer, key, t->rate, ask->now_ms);

    return verdict;
}


/* on_error pass: whatever the level. */

static void
prd_lease_pass(prd_view_t *view, const prd_ask_t *ask, prd_answer_t *answer,
    unsigned key, const prd_terms_t *t)
{
    uint32_t      slot;
    int64_t       added;
    prd_lease_t  *l;

    slot = prd_lease_slot(answer, key);
    l = prd_lease_open(view, slot);

    added = prd_bucket_adjust(&view->table.entries[slot].state, answer->cost,
                              t->debt);
    added = prd_max(added, 0);

    if (key == PRD_LEASE_CLIENT) {
        answer->added = (uint32_t) added;

    } else {
        answer->parent_added = (uint32_t) added;
    }

    prd_lease_pay(view, l, answer, key, t->rate, ask->now_ms);
}


/*
 * What this node has let through without the store, and the store has not
 * charged yet.  What is borrowed is not on top of anything.
 */

static void
prd_lease_note(prd_view_t *view, const prd_ask_t *ask,
    const prd_answer_t *answer, unsigned key, prd_verdict_e verdict)
{
    uint64_t      sum;
    prd_lease_t  *l;

    if (!(answer->away & key) || answer->paid[key - 1] != PRD_PAID_DEBT
        || verdict == PRD_BORROWED)
    {
        return;
    }

    l = &view->leases[prd_lease_slot(answer, key)];
    sum = (uint64_t) prd_word_level(prd_lease_load(&l->debt))
          + prd_lease_flying(l, ask->now_ms);

    prd_lease_note_owed(view, sum);
}


static inline unsigned
prd_lease_passes(const prd_answer_t *answer, unsigned key)
{
    return (answer->away & key) && answer->mode == PRD_LEASE_PASS;
}


static __attribute__((noinline)) prd_verdict_e
prd_lease_charge_parent(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, uint32_t *delay_ms)
{
    uint32_t       level;
    uint64_t       word, next;
    prd_lease_t   *l;
    prd_terms_t    t;
    prd_verdict_e  verdict;

    prd_lease_terms(view, policy, ask, answer, PRD_LEASE_PARENT, &t);

    if (prd_lease_passes(answer, PRD_LEASE_PARENT)) {
        prd_lease_pass(view, ask, answer, PRD_LEASE_PARENT, &t);
        prd_lease_note(view, ask, answer, PRD_LEASE_PARENT, PRD_PASSED);
        *delay_ms = 0;
        return PRD_PASSED;
    }

    l = prd_lease_open(view, answer->parent_slot);
    verdict = prd_lease_look(view, l, answer->parent_slot,
                             answer->away & PRD_LEASE_PARENT, &t, ask->now_ms,
                             &word, &next, &level, delay_ms);

    verdict = prd_lease_charge_key(view, ask, answer, l, PRD_LEASE_PARENT, &t,
                                   word, next, verdict, delay_ms);
    prd_lease_note(view, ask, answer, PRD_LEASE_PARENT, verdict);

    return verdict;
}


/* The client is paid: now the pool; then the request is admitted. */

static inline prd_rc_t
prd_lease_admit(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    prd_entry_t  *e;

    if (policy->pool.capacity) {

        if (prd_pool_take(&view->zone->pool, &policy->pool, &view->credit,
                          answer->cost, ask->now_ms)
            != PRD_OK)
        {
            return prd_lease_refuse(view, ask, answer, PRD_REASON_SCARCE);
        }

        answer->pooled = 1;
    }

    if (answer->paid[0] == PRD_PAID_HELD) {
        prd_zone_add(view, PRD_CNT_LEASE_HITS, 1);
    }

    answer->reason = prd_lease_reason(ask, answer);
    answer->taken = 1;

    /* a request, and its cost where that is known: what one costs is learned */

    if (policy->charged) {
        e = &view->table.entries[answer->slot];
        atomic_fetch_add_explicit(&e->counts, 1ull << 32,
                                  memory_order_relaxed);

        if (!ask->charged) {
            atomic_fetch_add_explicit(&e->spare, answer->cost,
                                      memory_order_relaxed);
        }
    }

    return PRD_OK;
}


prd_rc_t
prd_lease_charge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    uint32_t       delay_ms, level;
    uint64_t       word, next;
    prd_lease_t   *l;
    prd_terms_t    t;
    prd_verdict_e  verdict;

    if (answer->verdict == PRD_REJECTED) {
        return PRD_DECLINED;
    }

    if (answer->cost == 0) {
        return PRD_OK;
    }

    if (answer->parent_slot != PRD_NO_SLOT
        && answer->paid[1] == PRD_PAID_NOT)
    {
        verdict = prd_lease_charge_parent(view, policy, ask, answer,
                                          &delay_ms);

        if (verdict == PRD_REJECTED) {
            return prd_lease_refuse(view, ask, answer, PRD_REASON_NEWCOMER);
        }

        prd_lease_combine(answer, PRD_LEASE_PARENT, verdict, delay_ms);
    }

    if (answer->paid[0] == PRD_PAID_NOT) {
        t = answer->terms;

        if (prd_lease_passes(answer, PRD_LEASE_CLIENT)) {
            prd_lease_pass(view, ask, answer, PRD_LEASE_CLIENT, &t);
            prd_lease_note(view, ask, answer, PRD_LEASE_CLIENT, PRD_PASSED);

        } else {
            l = prd_lease_open(view, answer->slot);
            verdict = prd_lease_look(view, l, answer->slot,
                                     answer->away & PRD_LEASE_CLIENT, &t,
                                     ask->now_ms, &word, &next, &level,
                                     &delay_ms);
            answer->level = level;
            verdict = prd_lease_charge_key(view, ask, answer, l,
                                           PRD_LEASE_CLIENT, &t, word, next,
                                           verdict, &delay_ms);

            if (verdict == PRD_REJECTED) {
                return prd_lease_refuse(view, ask, answer, PRD_REASON_NONE);
            }

            prd_lease_combine(answer, PRD_LEASE_CLIENT, verdict, delay_ms);
            prd_lease_note(view, ask, answer, PRD_LEASE_CLIENT, verdict);
        }
    }

    return prd_lease_admit(view, policy, ask, answer);
}


/*
 * Nothing more is to be asked: the verdict of the whole part, with what is
 * decided without the store.
 */

static prd_rc_t
prd_lease_final(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    unsigned       key;
    uint32_t       level, delay_ms, slot;
    uint64_t       word, next;
    prd_lease_t   *l;
    prd_terms_t    t;
    prd_verdict_e  verdict;

    if (answer->away && answer->mode == PRD_LEASE_REFUSE) {
        return prd_lease_refuse(view, ask, answer, PRD_REASON_STORE);
    }

    if (answer->mode == PRD_LEASE_PASS) {
        answer->level = prd_max(answer->level, answer->cost);

    } else {

        for (key = PRD_LEASE_PARENT; key >= PRD_LEASE_CLIENT; key >>= 1) {

            if (!(answer->away & key) || answer->verdict == PRD_REJECTED) {
                continue;
            }

            slot = prd_lease_slot(answer, key);
            l = prd_lease_open(view, slot);
            prd_lease_terms(view, policy, ask, answer, key, &t);

            verdict = prd_lease_look(view, l, slot, 1, &t, ask->now_ms, &word,
                                     &next, &level, &delay_ms);

            if (key == PRD_LEASE_CLIENT) {
                answer->level = level;
            }

            prd_lease_combine(answer, key, verdict, delay_ms);
        }
    }

    if (answer->verdict == PRD_REJECTED) {
        return prd_lease_refuse(view, ask, answer, answer->reason);
    }

    answer->reason = prd_lease_reason(ask, answer);

    return PRD_OK;
}


/* Was the store heard of this key a moment ago? */

static inline unsigned
prd_lease_known(prd_lease_t *l, uint32_t now_ms)
{
    uint32_t  seen;

    seen = prd_lease_load32(&l->seen_ms);

    return seen && prd_elapsed(seen, now_ms) <= PRD_LEASE_KNOWN_MS;
}


/*
 * May a key be admitted by the estimate, without tokens in hand?  While the
 * pool is more than half full and lends without bound the level decides
 * nothing.  Else each of the other nodes may have lent as much as this one,
 * and not have reported it: it must fit for all of them.
 */

static inline int
prd_lease_free(prd_view_t *view, prd_lease_t *l, const prd_terms_t *t,
    prd_verdict_e verdict, uint32_t level, uint32_t now_ms)
{
    uint32_t  seen;
    uint64_t  x;

    if (t->m == PRD_M_INF) {
        return 1;
    }

    if (verdict != PRD_BORROWED) {
        return 0;
    }

    seen = prd_lease_load32(&l->seen_ms);

    if (seen == 0 || prd_elapsed(seen, now_ms) > PRD_LEASE_FRESH_MS) {
        return 0;
    }

    x = (uint64_t) prd_word_level(prd_lease_load(&l->debt)) + t->cost;
    x = level + x * (prd_lease_nodes(view) - 1);

    return prd_min(x, UINT32_MAX) << 16 <= (uint64_t) t->m * t->depth;
}


/* The newcomer key: 0, PRD_LEASE_PARENT (ask), or refused (*verdict). */

static __attribute__((noinline)) unsigned
prd_lease_judge_parent(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, prd_verdict_e *verdict)
{
    uint32_t      level, delay_ms;
    uint64_t      word, next;
    prd_terms_t   t;
    prd_lease_t  *l;

    l = prd_lease_open(view, answer->parent_slot);
    prd_lease_terms(view, policy, ask, answer, PRD_LEASE_PARENT, &t);

    *verdict = prd_lease_look(view, l, answer->parent_slot, 0, &t,
                              ask->now_ms, &word, &next, &level, &delay_ms);

    if (*verdict == PRD_REJECTED) {

        if (prd_lease_known(l, ask->now_ms)) {
            return 0;
        }

        *verdict = PRD_PASSED;
        return PRD_LEASE_PARENT;
    }

    return prd_lease_enough(l, answer->cost, ask->now_ms)
           || prd_lease_free(view, l, &t, *verdict, level, ask->now_ms)
           ? 0 : PRD_LEASE_PARENT;
}


/*
 * sync=strict: a token that the store has debited for a request which did not
 * wait that long is as good as its answer to this one.  Returns 1 if it was
 * there and is spent.
 */

static unsigned
prd_lease_spare(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key)
{
    int64_t        added;
    uint32_t       slot, level, delay_ms;
    uint64_t       word, state, next;
    prd_terms_t    t;
    prd_lease_t   *l;
    prd_verdict_e  verdict;

    slot = prd_lease_slot(answer, key);
    l = prd_lease_open(view, slot);
    word = prd_lease_load(&l->held);

    if (prd_word_level(word) < answer->cost) {
        return 0;
    }

    prd_lease_terms(view, policy, ask, answer, key, &t);

    state = prd_lease_load(&view->table.entries[slot].state);

    if (prd_lease_gone((double) t.rate * t.speed / PRD_ONE_Q16
                       / (t.unit == PRD_MILLI ? 1e9 : 1e12),
                       word, state, ask->now_ms))
    {
        return 0;
    }

    verdict = prd_bucket_judge(&t, state, ask->now_ms, &level, &next,
                               &delay_ms);

    if (verdict == PRD_REJECTED) {
        return 0;
    }

    do {
        if (prd_word_level(word) < answer->cost) {
            return 0;
        }

    } while (!prd_lease_swap(&l->held, &word,
                             prd_word(prd_word_ms(word),
                                      prd_word_level(word) - answer->cost)));

    prd_lease_count(view, PRD_CNT_LEASE_ADMITTED, answer->cost);
    answer->paid[key - 1] = PRD_PAID_HELD;

    added = prd_bucket_adjust(&view->table.entries[slot].state, answer->cost,
                              t.debt);
    added = prd_max(added, 0);

    if (key == PRD_LEASE_CLIENT) {
        answer->added = (uint32_t) added;
        answer->level = level;
        prd_lease_work(l, answer->cost, answer->backlog);

    } else {
        answer->parent_added = (uint32_t) added;
        prd_lease_work(l, answer->cost, answer->parent_backlog);
    }

    prd_lease_combine(answer, key, verdict, delay_ms);

    return 1;
}


static inline prd_rc_t
prd_lease_try(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, prd_lease_mode_e mode,
    unsigned pay)
{
    uint32_t       delay_ms;
    uint64_t       word, next;
    unsigned       key, keys;
    prd_rc_t       rc;
    prd_lease_t   *l;
    prd_verdict_e  verdict;

    (void) prd_step_prepare(view, policy, ask, answer);

    answer->level = 0;
    answer->ask = answer->again = answer->due = answer->away = 0;
    answer->told = 0;
    answer->paid[0] = answer->paid[1] = PRD_PAID_NOT;
    answer->mode = (uint8_t) mode;

    l = prd_lease_open(view, answer->slot);

    if (mode != PRD_LEASE_LEASE || answer->full) {

        answer->verdict = PRD_PASSED;
        keys = answer->cost ? prd_lease_keys(answer) : PRD_LEASE_CLIENT;

        if (mode == PRD_LEASE_STRICT && !answer->full) {

            for (key = PRD_LEASE_CLIENT; key <= keys; key <<= 1) {

                if (answer->cost == 0
                    || !prd_lease_spare(view, policy, ask, answer, key))
                {
                    answer->ask |= (uint8_t) key;
                }
            }

            if (answer->ask) {
                return PRD_EAGAIN;
            }

            if (pay) {
                (void) prd_lease_charge(view, policy, ask, answer);

            } else {
                answer->reason = prd_lease_reason(ask, answer);
            }

            return PRD_OK;
        }

        /* who has no slot has no key in the store either */

        if (mode < PRD_LEASE_LOCAL) {
            answer->mode = PRD_LEASE_LOCAL;

        } else {
            prd_zone_add(view, PRD_CNT_LEASE_AWAY, 1);
        }

        answer->away = (uint8_t) keys;

        rc = prd_lease_final(view, policy, ask, answer);

        if (rc == PRD_OK && pay) {
            (void) prd_lease_charge(view, policy, ask, answer);
        }

        return PRD_OK;
    }

    word = prd_lease_load(&view->table.entries[answer->slot].state);
    verdict = prd_bucket_judge(&answer->terms, word, ask->now_ms,
                               &answer->level, &next, &answer->delay_ms);
    answer->verdict = verdict;

    if (answer->cost == 0) {
        answer->reason = prd_step_reason(ask, answer);
        return PRD_OK;
    }

    keys = 0;

    if (verdict == PRD_REJECTED
        || !prd_lease_enough(l, answer->cost, ask->now_ms))
    {
        if (verdict == PRD_REJECTED && prd_lease_known(l, ask->now_ms)) {
            (void) prd_lease_refuse(view, ask, answer, PRD_REASON_NONE);
            return PRD_OK;
        }

        if (verdict == PRD_REJECTED
            || !prd_lease_free(view, l, &answer->terms, verdict,
                               answer->level, ask->now_ms))
        {
            keys = PRD_LEASE_CLIENT;
        }
    }

    if (answer->parent_slot != PRD_NO_SLOT) {
        keys |= prd_lease_judge_parent(view, policy, ask, answer, &verdict);

        if (verdict == PRD_REJECTED && !(keys & PRD_LEASE_PARENT)) {
            (void) prd_lease_refuse(view, ask, answer, PRD_REASON_NEWCOMER);
            return PRD_OK;
        }

        verdict = answer->verdict;
    }

    if (keys) {
        answer->ask = (uint8_t) keys;

        if (keys & PRD_LEASE_CLIENT) {
            answer->verdict = PRD_PASSED;
            answer->delay_ms = 0;
        }

        return PRD_EAGAIN;
    }

    if (!pay) {
        answer->reason = prd_step_reason(ask, answer);
        return PRD_OK;
    }

    if (answer->parent_slot != PRD_NO_SLOT) {
        (void) prd_lease_charge(view, policy, ask, answer);
        return PRD_OK;
    }

    delay_ms = answer->delay_ms;
    verdict = prd_lease_charge_key(view, ask, answer, l, PRD_LEASE_CLIENT,
                                   &answer->terms, word, next, verdict,
                                   &delay_ms);
    answer->verdict = verdict;
    answer->delay_ms = delay_ms;

    if (verdict == PRD_REJECTED) {
        (void) prd_lease_refuse(view, ask, answer, PRD_REASON_NONE);
        return PRD_OK;
    }

    (void) prd_lease_admit(view, policy, ask, answer);

    return PRD_OK;
}


prd_rc_t
prd_lease_decide(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, prd_lease_mode_e mode)
{
    return prd_lease_try(view, policy, ask, answer, mode, 1);
}


prd_rc_t
prd_lease_judge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, prd_lease_mode_e mode)
{
    return prd_lease_try(view, policy, ask, answer, mode, 0);
}


void
prd_lease_refund(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer)
{
    prd_lease_give_back(view, ask, answer);

    if (answer->pooled) {
        prd_pool_adjust(&view->zone->pool, &policy->pool,
                        -(int64_t) answer->cost, ask->now_ms);
        answer->pooled = 0;
    }

    answer->taken = 0;
}


prd_rc_t
prd_lease_apply(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key,
    const prd_lease_request_t *req, const prd_lease_reply_t *reply,
    uint32_t now_ms)
{
    unsigned       newer;
    uint32_t       x, level, delay_ms;
    uint64_t       next;
    prd_terms_t    t;
    prd_verdict_e  verdict;

    if (reply->status == PRD_LEASE_BAD) {
        prd_lease_timeout(view, policy, ask, answer, key, req, 0,
                          PRD_LEASE_LOCAL, now_ms);
        return PRD_OK;
    }

    newer = 0;

    x = reply->level > reply->grant ? reply->level - reply->grant : 0;

    if (prd_lease_mine(view, req->slot, req->tag, req->generation)) {
        newer = prd_lease_hear(view, req, reply, now_ms);

        if (newer && key == PRD_LEASE_CLIENT) {
            prd_step_terms(view, policy, ask, answer, answer->slot,
                           answer->backlog, &answer->terms);
        }

        if (req->flags & PRD_LEASE_F_WANT) {
            prd_lease_mark(&view->leases[req->slot], answer, key, now_ms, 0);
        }

    } else if (req->flags & PRD_LEASE_F_WANT) {
        prd_lease_void(view, prd_min(reply->grant, req->want));
    }

    prd_lease_terms(view, policy, ask, answer, key, &t);

    if (reply->status == PRD_LEASE_ADMITTED) {

        if (req->cost) {
            prd_lease_count(view, PRD_CNT_LEASE_DEBITED, req->cost);
            prd_lease_count(view, PRD_CNT_LEASE_ADMITTED, req->cost);
            answer->paid[key - 1] = PRD_PAID_ASKED;
        }

        if (key == PRD_LEASE_CLIENT) {
            answer->added = req->cost;

        } else {
            answer->parent_added = req->cost;
        }

        /* which colour it was, and for how long it must wait */

        x = x > req->cost ? x - req->cost : 0;
        verdict = prd_bucket_judge(&t, prd_word(now_ms, x), now_ms, &level,
                                   &next, &delay_ms);

        if (verdict == PRD_REJECTED) {
            verdict = PRD_PASSED;
            delay_ms = 0;
        }

    } else {
        verdict = prd_bucket_judge(&t, prd_word(now_ms, x), now_ms, &level,
                                   &next, &delay_ms);

        /*
         * A client that others know came here for the first time, and was
         * asked for as a stranger: with the envelope that came along it may
         * well pass.  The store decides that, too: others ask meanwhile.
         */

        if (newer && verdict != PRD_REJECTED && !(answer->again & key)) {
            answer->again |= (uint8_t) key;
            return PRD_EAGAIN;
        }

        verdict = PRD_REJECTED;
    }

    answer->ask &= (uint8_t) ~key;

    if (key == PRD_LEASE_CLIENT) {
        answer->level = level;
    }

    prd_lease_combine(answer, key, verdict, delay_ms);

    if (answer->ask) {
        return PRD_OK;
    }

    if (answer->away) {
        (void) prd_lease_final(view, policy, ask, answer);

    } else if (answer->verdict == PRD_REJECTED) {
        (void) prd_lease_refuse(view, ask, answer, answer->reason);

    } else {
        answer->reason = prd_lease_reason(ask, answer);
    }

    return PRD_OK;
}


void
prd_lease_timeout(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key,
    const prd_lease_request_t *req, unsigned sent, prd_lease_mode_e mode,
    uint32_t now_ms)
{
    prd_lease_restore(view, req, sent, now_ms);

    answer->ask &= (uint8_t) ~key;
    answer->away |= (uint8_t) key;
    answer->mode = (uint8_t) mode;

    /* asked for a second time: the first time it was told */

    if (sent == PRD_LEASE_UNSENT && !(req->flags & PRD_LEASE_F_AGAIN)) {
        answer->told &= (uint8_t) ~key;
    }

    if (key == PRD_LEASE_CLIENT) {
        prd_zone_add(view, PRD_CNT_LEASE_AWAY, 1);
    }

    if (sent != PRD_LEASE_LATE
        && (req->debt || prd_lease_seen(view, req->slot)))
    {
        prd_lease_mark(&view->leases[req->slot], answer, key, now_ms,
                       req->debt != 0);
    }

    if (answer->ask == 0) {
        (void) prd_lease_final(view, policy, ask, answer);
    }
}
