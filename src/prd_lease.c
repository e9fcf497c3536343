
/*
 * Leases: how a request of a shared limit is paid, and what is told to the
 * store.  See prd_lease.h.
 *
 * The books: what the store has debited for us is spent (admitted), given
 * back (returned), void (forfeited) or held; what is admitted without is
 * debt.  Each change of a word is counted right after it, so a worker killed
 * in between leaves the sums wrong by that one change.
 */


#include "prd_lease.h"
#include "prd_pack.h"
#include "prd_step.h"


/* How a key was paid: prd_answer_t.paid. */

#define PRD_PAID_NOT    0
#define PRD_PAID_HELD   1
#define PRD_PAID_ASKED  2             /* the store has debited it */
#define PRD_PAID_DEBT   3

#define PRD_LEASE_TAU_MS     8000     /* of the pace */
#define PRD_LEASE_AHEAD_S    2        /* a grant lasts for that long, */
#define PRD_LEASE_SPARE      3        /* and some requests longer */
#define PRD_LEASE_REPORT_MS  2000     /* what was spent is told by then */
#define PRD_LEASE_TIGHT_MS   100      /* unused for that long while the */
                                      /* bucket is low: given back */
#define PRD_LEASE_QUEUE_MS   1000     /* whoever queued a key and did not */
#define PRD_LEASE_AWAY_MS    60000    /* look until then is dead; later while */
                                      /* the store is away */
#define PRD_LEASE_WATCH_MS   1500     /* a watcher may be late by that */


static inline uint64_t
prd_lease_load(prd_word_t *w)
{
    return atomic_load_explicit(w, memory_order_relaxed);
}


static inline uint32_t
prd_lease_load32(_Atomic uint32_t *w)
{
    return atomic_load_explicit(w, memory_order_relaxed);
}


static inline void
prd_lease_store32(_Atomic uint32_t *w, uint32_t n)
{
    atomic_store_explicit(w, n, memory_order_relaxed);
}


static inline int
prd_lease_swap(prd_word_t *w, uint64_t *was, uint64_t next)
{
    return atomic_compare_exchange_weak_explicit(w, was, next,
               memory_order_relaxed, memory_order_relaxed);
}


static inline uint64_t
prd_lease_take(prd_word_t *w)
{
    return atomic_exchange_explicit(w, 0, memory_order_relaxed);
}


static inline void
prd_lease_count(prd_view_t *view, prd_counter_e c, uint64_t units)
{
    prd_zone_add(view, c, view->table.unit == PRD_MILLI ? units
                                                        : units * PRD_MILLI);
}


static inline uint32_t
prd_lease_nodes(const prd_view_t *view)
{
    uint32_t  nodes;

    nodes = prd_lease_load32(&view->zone->nodes);

    return nodes ? prd_min(nodes, UINT16_MAX) : 1;
}


static inline uint32_t
prd_lease_slot(const prd_answer_t *answer, unsigned key)
{
    return key == PRD_LEASE_CLIENT ? answer->slot : answer->parent_slot;
}


static inline uint64_t
prd_lease_tag(const prd_ask_t *ask, unsigned key)
{
    return key == PRD_LEASE_CLIENT ? ask->tag : ask->parent;
}


static inline unsigned
prd_lease_keys(const prd_answer_t *answer)
{
    return answer->parent_slot == PRD_NO_SLOT
           ? PRD_LEASE_CLIENT : PRD_LEASE_CLIENT | PRD_LEASE_PARENT;
}


/*
 * The record was a former client's.  Whoever comes first clears it, word by
 * word; of two that meet here one may clear what the other has just put in,
 * which is counted, too.
 */

static __attribute__((noinline)) void
prd_lease_reset(prd_view_t *view, prd_lease_t *l, uint32_t generation)
{
    uint64_t  held;

    held = prd_lease_take(&l->held);

    if (prd_word_level(held)) {
        prd_lease_count(view, PRD_CNT_LEASE_FORFEITED, prd_word_level(held));
    }

    (void) prd_lease_take(&l->debt);
    (void) prd_lease_take(&l->work);
    (void) prd_lease_take(&l->refused);
    (void) prd_lease_take(&l->pace);

    prd_lease_store32(&l->grant, 0);
    prd_lease_store32(&l->seen_ms, 0);
    prd_lease_store32(&l->queued_ms, 0);
    prd_lease_store32(&l->watch_ms, 0);
    prd_lease_store32(&l->version, 0);

    atomic_store_explicit(&l->generation, generation, memory_order_release);
}


/* The record of a slot, cleared if the slot is another client's by now. */

static inline prd_lease_t *
prd_lease_open(prd_view_t *view, uint32_t slot)
{
    uint32_t      generation;
    prd_lease_t  *l;

    l = &view->leases[slot];
    generation = prd_env_generation(prd_lease_load(
                                    &view->table.entries[slot].envelope));

    /* acquire: the words were cleared before */

    if (atomic_load_explicit(&l->generation, memory_order_acquire)
        != generation)
    {
        prd_lease_reset(view, l, generation);
    }

    return l;
}


/* Is the slot still that of the client that was asked for? */

static int
prd_lease_mine(const prd_view_t *view, uint32_t slot, uint64_t tag,
    uint32_t generation)
{
    return prd_step_holds(view, slot, tag)
           && prd_env_generation(prd_lease_load(
                  &view->table.entries[slot].envelope)) == generation
           && prd_lease_load32(&view->leases[slot].generation) == generation;
}


/* Puts tokens into the lease; what has been there for too long is void. */

static void
prd_lease_hold(prd_view_t *view, prd_lease_t *l, uint32_t units,
    uint32_t now_ms)
{
    uint32_t  most, gone;
    uint64_t  word, sum;

    if (units == 0) {
        return;
    }

    word = prd_lease_load(&l->held);

    do {
        sum = prd_word_level(word);
        gone = 0;

        if (prd_elapsed(prd_word_ms(word), now_ms) > PRD_LEASE_VOID_MS) {
            gone = (uint32_t) sum;
            sum = 0;
        }

        sum += units;

        if (sum > UINT32_MAX) {
            gone += (uint32_t) (sum - UINT32_MAX);
            sum = UINT32_MAX;
        }

    } while (!prd_lease_swap(&l->held, &word, prd_word(now_ms, sum)));

    if (gone) {
        prd_lease_count(view, PRD_CNT_LEASE_FORFEITED, gone);
    }

    most = prd_lease_load32(&view->zone->held_most);

    while (most < sum
           && !atomic_compare_exchange_weak_explicit(&view->zone->held_most,
                  &most, (uint32_t) sum,
                  memory_order_relaxed, memory_order_relaxed))
    {
        /* void */
    }
}


/* What is held and not void. */

static inline uint32_t
prd_lease_in_hand(prd_lease_t *l, uint32_t now_ms)
{
    uint64_t  word;

    word = prd_lease_load(&l->held);

    return prd_elapsed(prd_word_ms(word), now_ms) <= PRD_LEASE_VOID_MS
           ? prd_word_level(word) : 0;
}


static inline int
prd_lease_enough(prd_lease_t *l, uint32_t cost, uint32_t now_ms)
{
    return prd_lease_in_hand(l, now_ms) >= cost;
}


/*
 * Debt is reported at the next tick.  While that fails it is forgotten as the
 * bucket would have forgotten it: at this node's share of the rate.
 */

static void
prd_lease_owe(prd_lease_t *l, uint32_t units, prd_rate_t share, uint32_t unit,
    uint32_t now_ms)
{
    uint32_t  dt, ms;
    uint64_t  word, sum;

    if (units == 0) {
        return;
    }

    word = prd_lease_load(&l->debt);

    do {
        sum = prd_word_level(word);
        ms = prd_word_ms(word);
        dt = prd_elapsed(ms, now_ms);

        if (sum == 0) {
            ms = now_ms;

        } else if (dt > PRD_LEASE_KNOWN_MS) {
            sum = prd_level_after((uint32_t) sum, share, PRD_ONE_Q16, ms, dt,
                                  unit);
            ms = now_ms;
        }

        sum = prd_min(sum + units, UINT32_MAX);

    } while (!prd_lease_swap(&l->debt, &word, prd_word(ms, sum)));
}


/* Takes debt back; returns how much there was of it. */

static uint32_t
prd_lease_unowe(prd_lease_t *l, uint32_t units)
{
    uint32_t  n;
    uint64_t  word;

    word = prd_lease_load(&l->debt);

    do {
        n = prd_min(prd_word_level(word), units);

        if (n == 0) {
            return 0;
        }

    } while (!prd_lease_swap(&l->debt, &word,
                             prd_word(prd_word_ms(word),
                                      prd_word_level(word) - n)));

    return n;
}


/* Two sums in a word: adds to the upper, keeps the greatest of the lower. */

static inline void
prd_lease_work(prd_lease_t *l, uint32_t cost, uint32_t backlog)
{
    uint64_t  word, sum;

    word = prd_lease_load(&l->work);

    do {
        sum = prd_min((word >> 32) + cost, UINT32_MAX);

    } while (!prd_lease_swap(&l->work, &word,
                             sum << 32 | prd_max((uint32_t) word, backlog)));
}


static void
prd_lease_unwork(prd_lease_t *l, uint32_t cost)
{
    uint64_t  word, sum;

    word = prd_lease_load(&l->work);

    do {
        sum = word >> 32;
        sum = sum > cost ? sum - cost : 0;

    } while (!prd_lease_swap(&l->work, &word, sum << 32 | (uint32_t) word));
}


static void
prd_lease_note_refused(prd_lease_t *l, uint32_t cost, uint32_t n)
{
    uint64_t  word, sum, count;

    word = prd_lease_load(&l->refused);

    do {
        sum = prd_min((word >> 32) + cost, UINT32_MAX);
        count = prd_min((uint64_t) (uint32_t) word + n, UINT32_MAX);

    } while (!prd_lease_swap(&l->refused, &word, sum << 32 | count));
}


/*
 * Says that somebody must look: at the next tick (urgent), or at some time,
 * unless somebody does.  Two workers may both become that somebody, which
 * prd_lease_keep() finds out.
 */

static inline void
prd_lease_mark(prd_lease_t *l, prd_answer_t *answer, unsigned key,
    uint32_t now_ms, unsigned urgent)
{
    uint32_t  queued, watch;

    queued = prd_lease_load32(&l->queued_ms);

    if (queued && prd_elapsed(queued, now_ms)
                  <= ((answer->away & key) ? PRD_LEASE_AWAY_MS
                                           : PRD_LEASE_QUEUE_MS))
    {
        return;
    }

    if (!urgent) {
        watch = prd_lease_load32(&l->watch_ms);

        if (watch && (int32_t) (watch - now_ms) > 0) {
            return;
        }
    }

    prd_lease_store32(&l->queued_ms, now_ms | 1);
    answer->due |= (uint8_t) key;
}


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

            if (left <= prd_lease_load32(&l->grant) / 2) {
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


/* What was taken for a request goes into the lease, or was never debited. */

static void
prd_lease_repay(prd_view_t *view, prd_lease_t *l, unsigned paid,
    uint32_t units, uint32_t now_ms)
{
    if (paid == PRD_PAID_DEBT) {
        units -= prd_lease_unowe(l, units);
    }

    if (units) {
        prd_lease_hold(view, l, units, now_ms);
        prd_lease_count(view, PRD_CNT_LEASE_REFUNDED, units);
    }
}


static void
prd_lease_undo(prd_view_t *view, const prd_ask_t *ask, prd_answer_t *answer,
    unsigned key)
{
    uint32_t      slot, added;
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
        return;
    }

    l = prd_lease_open(view, slot);
    added = key == PRD_LEASE_CLIENT ? answer->added : answer->parent_added;

    (void) prd_bucket_adjust(&view->table.entries[slot].state,
                             -(int64_t) added, UINT32_MAX);

    prd_lease_repay(view, l, answer->paid[key - 1], answer->cost,
                    ask->now_ms);

    if (answer->paid[key - 1] != PRD_PAID_ASKED) {
        prd_lease_unwork(l, answer->cost);
    }

    prd_lease_mark(l, answer, key, ask->now_ms, 0);

    answer->paid[key - 1] = PRD_PAID_NOT;
}


/*
 * Refused; what was paid goes back.  noted: keys whose refusal the store has
 * not seen.
 */

static __attribute__((noinline)) prd_rc_t
prd_lease_refuse(prd_view_t *view, const prd_ask_t *ask, prd_answer_t *answer,
    prd_reason_e reason, unsigned noted)
{
    prd_lease_t  *l;

    prd_lease_undo(view, ask, answer, PRD_LEASE_CLIENT);
    prd_lease_undo(view, ask, answer, PRD_LEASE_PARENT);

    answer->verdict = PRD_REJECTED;
    answer->reason = reason ? reason : prd_step_reason(ask, answer);
    answer->delay_ms = 0;
    answer->taken = 0;

    atomic_fetch_add_explicit(&view->table.entries[answer->slot].refused, 1,
                              memory_order_relaxed);

    if (noted & PRD_LEASE_CLIENT) {
        l = &view->leases[answer->slot];
        prd_lease_note_refused(l, answer->cost, 1);
        prd_lease_work(l, 0, answer->backlog);
        prd_lease_mark(l, answer, PRD_LEASE_CLIENT, ask->now_ms, 0);
    }

    if ((noted & PRD_LEASE_PARENT) && answer->parent_slot != PRD_NO_SLOT) {
        l = &view->leases[answer->parent_slot];
        prd_lease_note_refused(l, answer->cost, 1);
        prd_lease_work(l, 0, answer->parent_backlog);
        prd_lease_mark(l, answer, PRD_LEASE_PARENT, ask->now_ms, 0);
    }

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
            answer->delay_ms = delay_ms;
        }

        return;
    }

    if (key == PRD_LEASE_CLIENT && answer->verdict != PRD_DELAYED) {
        answer->verdict = verdict;
    }
}


/* The terms of a key, as they are now. */

static inline void
prd_lease_terms(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key, prd_terms_t *t)
{
    if (key == PRD_LEASE_CLIENT) {
        *t = answer->terms;
        return;
    }

    prd_step_terms(view, policy, ask, answer, answer->parent_slot,
                   answer->parent_backlog, t);
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
        *delay_ms = 0;
        return PRD_PASSED;
    }

    l = prd_lease_open(view, answer->parent_slot);
    verdict = prd_lease_look(view, l, answer->parent_slot,
                             answer->away & PRD_LEASE_PARENT, &t, ask->now_ms,
                             &word, &next, &level, delay_ms);

    return prd_lease_charge_key(view, ask, answer, l, PRD_LEASE_PARENT, &t,
                                word, next, verdict, delay_ms);
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
            return prd_lease_refuse(view, ask, answer, PRD_REASON_SCARCE,
                                    prd_lease_keys(answer));
        }

        answer->pooled = 1;
    }

    if (answer->paid[0] == PRD_PAID_HELD) {
        prd_zone_add(view, PRD_CNT_LEASE_HITS, 1);
    }

    answer->reason = answer->away && answer->mode == PRD_LEASE_PASS
                     ? PRD_REASON_STORE : prd_step_reason(ask, answer);
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
            return prd_lease_refuse(view, ask, answer, PRD_REASON_NEWCOMER,
                                    prd_lease_keys(answer));
        }

        prd_lease_combine(answer, PRD_LEASE_PARENT, verdict, delay_ms);
    }

    if (answer->paid[0] == PRD_PAID_NOT) {
        t = answer->terms;

        if (prd_lease_passes(answer, PRD_LEASE_CLIENT)) {
            prd_lease_pass(view, ask, answer, PRD_LEASE_CLIENT, &t);

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
                return prd_lease_refuse(view, ask, answer, PRD_REASON_NONE,
                                        prd_lease_keys(answer));
            }

            prd_lease_combine(answer, PRD_LEASE_CLIENT, verdict, delay_ms);
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
        return prd_lease_refuse(view, ask, answer, PRD_REASON_STORE,
                                answer->away);
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
        return prd_lease_refuse(view, ask, answer, answer->reason,
                                answer->away);
    }

    answer->reason = answer->away && answer->mode == PRD_LEASE_PASS
                     ? PRD_REASON_STORE : prd_step_reason(ask, answer);

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


static inline prd_rc_t
prd_lease_try(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, prd_lease_mode_e mode,
    unsigned pay)
{
    uint32_t       first[2], delay_ms;
    uint64_t       word, next;
    unsigned       keys;
    prd_rc_t       rc;
    prd_lease_t   *l;
    prd_verdict_e  verdict;

    /* most keys are there, and the entry comes from memory meanwhile */

    prd_table_buckets(&view->table, ask->tag, first);
    __builtin_prefetch(&view->leases[first[0]], 1);

    (void) prd_step_prepare(view, policy, ask, answer);

    answer->level = 0;
    answer->ask = answer->due = answer->away = 0;
    answer->paid[0] = answer->paid[1] = PRD_PAID_NOT;
    answer->mode = (uint8_t) mode;

    l = prd_lease_open(view, answer->slot);

    if (mode != PRD_LEASE_LEASE || answer->full) {

        answer->verdict = PRD_PASSED;
        keys = answer->cost ? prd_lease_keys(answer) : PRD_LEASE_CLIENT;

        if (mode == PRD_LEASE_STRICT && !answer->full) {
            answer->ask = (uint8_t) keys;
            return PRD_EAGAIN;
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

        if (answer->full) {
            answer->due = 0;
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
            (void) prd_lease_refuse(view, ask, answer, PRD_REASON_NONE,
                                    prd_lease_keys(answer));
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
            (void) prd_lease_refuse(view, ask, answer, PRD_REASON_NEWCOMER,
                                    prd_lease_keys(answer));
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
        (void) prd_lease_refuse(view, ask, answer, PRD_REASON_NONE,
                                PRD_LEASE_CLIENT);
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
    prd_lease_undo(view, ask, answer, PRD_LEASE_CLIENT);
    prd_lease_undo(view, ask, answer, PRD_LEASE_PARENT);

    if (answer->pooled) {
        prd_pool_adjust(&view->zone->pool, &policy->pool,
                        -(int64_t) answer->cost, ask->now_ms);
        answer->pooled = 0;
    }

    answer->taken = 0;
}


static void
prd_lease_settle_key(prd_view_t *view, const prd_ask_t *ask,
    prd_answer_t *answer, unsigned key, int64_t diff)
{
    uint32_t      slot, most, n;
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
        prd_lease_work(l, n, 0);
        prd_lease_mark(l, answer, key, ask->now_ms, 1);

    } else {
        n = (uint32_t) prd_min(-diff, UINT32_MAX);

        prd_lease_repay(view, l, answer->paid[key - 1], n, ask->now_ms);
        prd_lease_unwork(l, n);
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

    if (prd_step_holds(view, answer->slot, ask->tag)) {
        atomic_fetch_add_explicit(&e->spare, cost, memory_order_relaxed);
    }

    if (cost == answer->cost) {
        return;
    }

    diff = (int64_t) cost - (int64_t) answer->cost;

    prd_lease_settle_key(view, ask, answer, PRD_LEASE_CLIENT, diff);
    prd_lease_settle_key(view, ask, answer, PRD_LEASE_PARENT, diff);

    if (answer->full) {
        answer->due = 0;
    }

    if (answer->pooled) {
        prd_pool_adjust(&view->zone->pool, &policy->pool, diff, ask->now_ms);
    }

    if (policy->params.learn != PRD_LEARN_OFF
        && prd_step_holds(view, answer->slot, ask->tag))
    {
        (void) prd_bucket_adjust(&e->virtual_, diff, UINT32_MAX);

        if (diff > 0) {
            prd_lease_work(&view->leases[answer->slot], 0,
                           prd_word_level(prd_lease_load(&e->virtual_)));
        }
    }

    answer->cost = cost;
}


/*
 * What a bucket that refuses nothing drains at and ends at; see
 * prd_decide_demand().
 */

static void
prd_lease_backlog(const prd_view_t *view, uint32_t slot, double *drain,
    uint32_t *most)
{
    uint64_t  env, depth;
    double    unit;

    env = prd_lease_load(&view->table.entries[slot].envelope);

    if (prd_env_depth_code(env) == 0) {
        env = prd_lease_load(&view->zone->newcomer);
    }

    unit = view->table.unit == PRD_MILLI ? 1e9 : 1e12;
    *drain = (double) prd_env_decode(prd_env_rate_code(env)) / unit;
    *most = UINT32_MAX;

    if (prd_lease_load32(&view->zone->warm)) {
        depth = 2 * prd_env_decode(prd_env_depth_code(env));
        *most = (uint32_t) prd_min(depth, UINT32_MAX);
    }
}


static void
prd_lease_due_terms(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key, prd_due_t *due)
{
    uint64_t     k, most, x;
    prd_terms_t  t;

    prd_lease_terms(view, policy, ask, answer, key, &t);

    due->slot = prd_lease_slot(answer, key);
    due->tag = prd_lease_tag(ask, key);
    due->generation = prd_env_generation(prd_lease_load(
                          &view->table.entries[due->slot].envelope));

    /* the comparisons of prd_bucket_judge(), as one */

    k = prd_min(t.m, PRD_ONE_Q16);
    most = k * prd_max(t.free, t.limit) >> 16;

    if (t.m == PRD_M_INF) {
        most = UINT32_MAX;

    } else if (t.m > PRD_ONE_Q16) {
        x = (uint64_t) t.m * t.depth >> 16;
        most = prd_max(most, x);
    }

    if (k == PRD_ONE_Q16 && answer->cost > t.depth) {
        most = prd_max(most, answer->cost);
    }

    due->most = (uint32_t) prd_min(most, UINT32_MAX);
    due->free = (uint32_t) (k * t.free >> 16);
    due->debt_most = t.debt;
    due->quantum = answer->cost ? answer->cost : t.unit;
    due->drain = (double) t.rate * t.speed / PRD_ONE_Q16
                 / (t.unit == PRD_MILLI ? 1e9 : 1e12);

    prd_lease_backlog(view, due->slot, &due->backlog_drain,
                      &due->backlog_most);
}


void
prd_lease_due(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key, prd_due_t *due)
{
    prd_lease_due_terms(view, policy, ask, answer, key, due);

    due->at_ms = ask->now_ms;
    due->watched = 0;

    answer->due &= (uint8_t) ~key;
}


/*
 * Tokens to have in hand for a key of this pace, 1/1000 token a second: what
 * it needs until a renewal
 * has surely come, and a few more, since requests come in no even order.  Who
 * comes less than every seven seconds is asked for each time.
 */

static uint32_t
prd_lease_want(uint32_t pace, uint32_t held, uint32_t quantum, uint32_t unit)
{
    uint64_t  n;

    quantum = quantum ? quantum : 1;

    if ((uint64_t) pace * 20 * unit < (uint64_t) quantum * 3 * PRD_MILLI) {
        return 0;
    }

    n = (uint64_t) pace * PRD_LEASE_AHEAD_S * unit / PRD_MILLI
        + (uint64_t) quantum * PRD_LEASE_SPARE;
    n += quantum - 1;
    n -= n % quantum;
    n = prd_min(n, UINT32_MAX / 2);

    return n > held ? (uint32_t) n - held : 0;
}


/* How long a key of this pace may leave its tokens alone. */

static uint32_t
prd_lease_idle(uint32_t pace, uint32_t quantum, uint32_t unit)
{
    uint64_t  ms;

    ms = pace ? (uint64_t) quantum * PRD_MILLI / unit * 7000 / pace
              : PRD_LEASE_IDLE_MS;
    ms = prd_max(ms, PRD_LEASE_IDLE_MS);

    return (uint32_t) prd_min(ms, PRD_LEASE_IDLE_MOST);
}


/*
 * An entry from what the words say; takes counts and debt out of them.
 * `cost` is this request's, for the pace.
 */

static void
prd_lease_fill(prd_view_t *view, const prd_due_t *due, uint32_t cost,
    uint32_t now_ms, prd_lease_request_t *req)
{
    double        x;
    int64_t       pace;
    uint32_t      dt, denied;
    uint64_t      work, refused, word, was;
    prd_entry_t  *e;
    prd_lease_t  *l;

    e = &view->table.entries[due->slot];
    l = &view->leases[due->slot];

    memset(req, 0, sizeof(prd_lease_request_t));

    work = prd_lease_take(&l->work);
    refused = prd_lease_take(&l->refused);
    req->debt = prd_word_level(prd_lease_take(&l->debt));

    word = prd_lease_load(&l->pace);

    do {
        was = word;
        dt = prd_word_ms(was) ? prd_elapsed(prd_word_ms(was), now_ms) : 0;
        dt = prd_min(dt, 3600 * 1000);
        pace = prd_word_level(was);
        pace += (((int64_t) (work >> 32) + cost) * 1000
                 * (PRD_MILLI / view->table.unit) - pace * (int64_t) dt)
                / (int64_t) (dt + PRD_LEASE_TAU_MS);
        pace = prd_max(pace, 0);
        pace = prd_min(pace, INT32_MAX);

    } while (!prd_lease_swap(&l->pace, &word, prd_word(now_ms | 1, pace)));

    req->admitted = (uint32_t) (work >> 32);

    /* what was answered 401 or 403 teaches nothing */

    if (prd_lease_load32(&e->denied)) {
        denied = atomic_exchange_explicit(&e->denied, 0,
                                          memory_order_relaxed);
        req->admitted -= prd_min(req->admitted, denied);
    }

    req->refused_cost = (uint32_t) (refused >> 32);
    req->refused = (uint32_t) refused;
    req->peak = (uint32_t) work;

    word = prd_lease_load(&e->virtual_);
    x = prd_word_level(word)
        - due->backlog_drain * prd_elapsed(prd_word_ms(word), now_ms);
    req->backlog = x > 0 ? (uint32_t) x : 0;

    req->version = (uint16_t) prd_lease_load32(&l->version);
    req->most = due->most;
    req->free = due->free;
    req->debt_most = due->debt_most;
    req->quantum = due->quantum;
    req->backlog_most = due->backlog_most;
    req->drain = due->drain;
    req->backlog_drain = due->backlog_drain;

    req->tag = due->tag;
    req->slot = due->slot;
    req->generation = due->generation;
}


void
prd_lease_ask(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key,
    prd_lease_request_t *req)
{
    uint32_t      held, pace;
    prd_due_t     due;
    prd_lease_t  *l;

    prd_lease_due_terms(view, policy, ask, answer, key, &due);
    l = prd_lease_open(view, due.slot);

    prd_lease_fill(view, &due, answer->cost, ask->now_ms, req);

    req->flags = PRD_LEASE_F_ASK;
    req->cost = answer->cost;

    if (answer->mode == PRD_LEASE_LEASE && answer->cost) {
        held = prd_lease_in_hand(l, ask->now_ms);
        pace = prd_word_level(prd_lease_load(&l->pace));

        req->want = prd_lease_want(pace, held, due.quantum,
                                   view->table.unit);

        if (req->want) {
            req->flags |= PRD_LEASE_F_WANT;
        }
    }

    prd_zone_add(view, PRD_CNT_LEASE_ASKS, key == PRD_LEASE_CLIENT);
}


/*
 * What the store says of a key.  Returns 1 when a newer envelope came with
 * it.  Redis is not trusted to mint: no more is taken than was wanted.
 */

static unsigned
prd_lease_hear(prd_view_t *view, const prd_lease_request_t *req,
    const prd_lease_reply_t *reply, uint32_t now_ms)
{
    double        x;
    unsigned      newer;
    uint32_t      grant, held, debt;
    uint64_t      env, word, v, level;
    prd_entry_t  *e;
    prd_lease_t  *l;

    e = &view->table.entries[req->slot];
    l = &view->leases[req->slot];
    newer = 0;

    if (reply->envelope
        && reply->version != (uint16_t) prd_lease_load32(&l->version))
    {
        env = prd_lease_load(&e->envelope);

        while (prd_env_generation(env) == req->generation
               && !prd_lease_swap(&e->envelope, &env,
                                  (uint64_t) req->generation << 48
                                  | (reply->envelope & 0xffffffffffffull)))
        {
            /* void */
        }

        prd_lease_store32(&l->version, reply->version);
        newer = 1;
    }

    grant = 0;

    if (req->flags & PRD_LEASE_F_WANT) {
        grant = prd_min(reply->grant, req->want);
        prd_lease_hold(view, l, grant, now_ms);
        prd_lease_count(view, PRD_CNT_LEASE_DEBITED, grant);

        /* renewed when half of this is gone */
        prd_lease_store32(&l->grant, prd_lease_in_hand(l, now_ms));
    }

    /* the backlog: of all nodes, or what came here alone, if more */

    word = prd_lease_load(&e->virtual_);

    do {
        x = prd_word_level(word)
            - req->backlog_drain * prd_elapsed(prd_word_ms(word), now_ms);
        v = x > 0 ? (uint64_t) x : 0;
        v = prd_max(v, reply->backlog);
        v = prd_min(v, req->backlog_most);

    } while (!prd_lease_swap(&e->virtual_, &word, prd_word(now_ms, v)));

    /*
     * The estimate: what the store has, without what is in hand, and with
     * what it does not know of.  A plain store: a charge lost between the
     * loads and here is one request, until the next reply.
     */

    held = prd_lease_in_hand(l, now_ms);
    debt = prd_word_level(prd_lease_load(&l->debt));

    level = reply->level > held ? reply->level - held : 0;
    level = prd_min(level + debt, UINT32_MAX);

    atomic_store_explicit(&e->state, prd_word(now_ms, level),
                          memory_order_relaxed);

    prd_lease_store32(&l->seen_ms, now_ms | 1);

    return newer;
}


/* What was debited for a client who is gone. */

static void
prd_lease_void(prd_view_t *view, uint32_t units)
{
    prd_lease_count(view, PRD_CNT_LEASE_DEBITED, units);
    prd_lease_count(view, PRD_CNT_LEASE_FORFEITED, units);
}


void
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
        return;
    }

    answer->ask &= (uint8_t) ~key;
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

        /*
         * A client that others know came here for the first time, and was
         * asked for as a stranger: with the envelope that came along it may
         * well pass, as debt.
         */

        verdict = prd_bucket_judge(&t, prd_word(now_ms, x), now_ms, &level,
                                   &next, &delay_ms);

        if (!newer) {
            verdict = PRD_REJECTED;
        }
    }

    if (key == PRD_LEASE_CLIENT) {
        answer->level = level;
    }

    prd_lease_combine(answer, key, verdict, delay_ms);

    if (answer->ask) {
        return;
    }

    if (answer->away) {
        (void) prd_lease_final(view, policy, ask, answer);

    } else if (answer->verdict == PRD_REJECTED) {
        (void) prd_lease_refuse(view, ask, answer, answer->reason, 0);

    } else {
        answer->reason = prd_step_reason(ask, answer);
    }
}


void
prd_lease_drop(prd_view_t *view, const prd_lease_request_t *req,
    unsigned sent, uint32_t now_ms)
{
    prd_lease_t  *l;

    if (!prd_lease_mine(view, req->slot, req->tag, req->generation)) {
        return;
    }

    l = &view->leases[req->slot];

    /* a debt that may have been reported is reported again: never forgotten */

    prd_lease_owe(l, req->debt, 0, view->table.unit, now_ms);

    if (sent) {
        return;
    }

    if (req->returned) {
        prd_lease_hold(view, l, req->returned, now_ms);
        prd_lease_count(view, PRD_CNT_LEASE_REFUNDED, req->returned);
    }

    if (req->admitted || req->peak) {
        prd_lease_work(l, req->admitted, req->peak);
    }

    if (req->refused || req->refused_cost) {
        prd_lease_note_refused(l, req->refused_cost, req->refused);
    }
}


void
prd_lease_timeout(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key,
    const prd_lease_request_t *req, unsigned sent, prd_lease_mode_e mode,
    uint32_t now_ms)
{
    prd_lease_drop(view, req, sent, now_ms);

    answer->ask &= (uint8_t) ~key;
    answer->away |= (uint8_t) key;
    answer->mode = (uint8_t) mode;

    if (key == PRD_LEASE_CLIENT) {
        prd_zone_add(view, PRD_CNT_LEASE_AWAY, 1);
    }

    if (req->debt) {
        prd_lease_mark(&view->leases[req->slot], answer, key, now_ms, 1);
    }

    if (answer->ask == 0) {
        (void) prd_lease_final(view, policy, ask, answer);
    }
}


/* Does another item look after the key? */

static int
prd_lease_watched(prd_lease_t *l, const prd_due_t *due, uint32_t now_ms)
{
    uint32_t  watch;

    watch = prd_lease_load32(&l->watch_ms);

    return watch && watch != due->watched && (int32_t) (watch - now_ms) > 0;
}


/* What is in hand, or what is under way, needs one that looks after it. */

static prd_rc_t
prd_lease_keep(prd_view_t *view, prd_due_t *due, uint32_t now_ms)
{
    uint32_t      ms, idle, limit;
    uint64_t      held, debt;
    prd_lease_t  *l;

    l = &view->leases[due->slot];

    if (prd_lease_watched(l, due, now_ms)) {
        return PRD_DECLINED;
    }

    held = prd_lease_load(&l->held);
    debt = prd_lease_load(&l->debt);

    if (prd_word_level(held) == 0 && prd_word_level(debt) == 0
        && prd_lease_load(&l->work) >> 32 == 0
        && prd_lease_load(&l->refused) == 0)
    {
        prd_lease_store32(&l->watch_ms, 0);

        return PRD_DECLINED;
    }

    ms = PRD_LEASE_KNOWN_MS;

    if (prd_word_level(held)) {
        idle = prd_elapsed(prd_word_ms(held), now_ms);
        limit = prd_lease_idle(prd_word_level(prd_lease_load(&l->pace)),
                               due->quantum, view->table.unit);
        limit = limit > idle ? limit - idle : 1;
        ms = prd_min(ms, limit);
    }

    if (prd_lease_load(&l->work) >> 32 || prd_lease_load(&l->refused)) {
        idle = prd_elapsed(prd_word_ms(prd_lease_load(&l->pace)), now_ms);
        limit = idle < PRD_LEASE_REPORT_MS ? PRD_LEASE_REPORT_MS - idle : 1;
        ms = prd_min(ms, limit);
    }

    if (prd_word_level(debt)) {
        ms = 1;
    }

    due->at_ms = now_ms + ms;
    due->watched = (due->at_ms + PRD_LEASE_WATCH_MS) | 1;
    prd_lease_store32(&l->watch_ms, due->watched);

    return PRD_EAGAIN;
}


prd_rc_t
prd_lease_tick(prd_view_t *view, prd_due_t *due, uint32_t now_ms,
    unsigned leaving, prd_lease_request_t *req)
{
    double        x;
    uint32_t      have, idle, back, want, pace, estimate, age;
    uint64_t      held, word;
    unsigned      report, tight;
    prd_entry_t  *e;
    prd_lease_t  *l;

    if (!prd_lease_mine(view, due->slot, due->tag, due->generation)) {
        return PRD_DECLINED;
    }

    e = &view->table.entries[due->slot];
    l = &view->leases[due->slot];

    held = prd_lease_load(&l->held);

    for ( ;; ) {
        have = prd_word_level(held);
        idle = prd_elapsed(prd_word_ms(held), now_ms);

        if (have == 0 || idle <= PRD_LEASE_VOID_MS) {
            break;
        }

        if (prd_lease_swap(&l->held, &held, 0)) {
            prd_lease_count(view, PRD_CNT_LEASE_FORFEITED, have);
            held = 0;
        }
    }

    word = prd_lease_load(&e->state);
    x = prd_word_level(word)
        - due->drain * prd_elapsed(prd_word_ms(word), now_ms);
    estimate = x > 0 ? (uint32_t) x : 0;
    tight = (uint64_t) estimate + have > due->free / 2;

    word = prd_lease_load(&l->work);
    pace = prd_word_level(prd_lease_load(&l->pace));
    age = prd_elapsed(prd_word_ms(prd_lease_load(&l->pace)), now_ms);

    report = prd_word_level(prd_lease_load(&l->debt)) != 0
             || ((word >> 32 || prd_lease_load(&l->refused))
                 && (leaving || age >= PRD_LEASE_REPORT_MS));

    back = 0;

    if (have && (leaving
                 || idle >= (tight ? PRD_LEASE_TIGHT_MS
                                   : prd_lease_idle(pace, due->quantum,
                                                    view->table.unit))))
    {
        if (atomic_compare_exchange_strong_explicit(&l->held, &held,
                prd_word(prd_word_ms(held), 0),
                memory_order_relaxed, memory_order_relaxed))
        {
            back = have;
            have = 0;
            prd_lease_count(view, PRD_CNT_LEASE_RETURNED, back);
        }
    }

    /* spent since the last report, and half of the grant is gone */

    want = 0;

    if (!leaving && back == 0 && word >> 32
        && have <= prd_lease_load32(&l->grant) / 2)
    {
        want = 1;
    }

    if (!report && back == 0 && want == 0) {
        prd_lease_store32(&l->queued_ms, 0);
        return prd_lease_keep(view, due, now_ms);
    }

    prd_lease_fill(view, due, 0, now_ms, req);

    req->returned = back;

    if (want) {
        pace = prd_word_level(prd_lease_load(&l->pace));
        req->want = prd_lease_want(pace, have, due->quantum,
                                   view->table.unit);
        req->flags = req->want ? PRD_LEASE_F_WANT : 0;
    }

    /* nobody else need look while the answer is awaited */

    prd_lease_store32(&l->queued_ms, now_ms | 1);

    if (!prd_lease_watched(l, due, now_ms)) {
        due->watched = (now_ms + 2 * PRD_LEASE_WATCH_MS) | 1;
        prd_lease_store32(&l->watch_ms, due->watched);
    }

    return PRD_OK;
}


prd_rc_t
prd_lease_answered(prd_view_t *view, prd_due_t *due,
    const prd_lease_request_t *req, const prd_lease_reply_t *reply,
    uint32_t now_ms)
{
    if (reply->status == PRD_LEASE_BAD) {
        (void) prd_lease_lost(view, due, req, 0, now_ms);
        return PRD_DECLINED;
    }

    if (!prd_lease_mine(view, req->slot, req->tag, req->generation)) {

        if (req->flags & PRD_LEASE_F_WANT) {
            prd_lease_void(view, prd_min(reply->grant, req->want));
        }

        return PRD_DECLINED;
    }

    (void) prd_lease_hear(view, req, reply, now_ms);
    prd_lease_store32(&view->leases[req->slot].queued_ms, 0);

    return prd_lease_keep(view, due, now_ms);
}


prd_rc_t
prd_lease_lost(prd_view_t *view, prd_due_t *due,
    const prd_lease_request_t *req, unsigned sent, uint32_t now_ms)
{
    prd_rc_t  rc;

    prd_lease_drop(view, req, sent, now_ms);

    if (!prd_lease_mine(view, req->slot, req->tag, req->generation)) {
        return PRD_DECLINED;
    }

    prd_lease_store32(&view->leases[req->slot].queued_ms, 0);
    rc = prd_lease_keep(view, due, now_ms);

    if (rc == PRD_EAGAIN) {
        due->at_ms = now_ms + PRD_LEASE_KNOWN_MS;
        due->watched = (due->at_ms + PRD_LEASE_WATCH_MS) | 1;
        prd_lease_store32(&view->leases[req->slot].watch_ms, due->watched);
    }

    return rc;
}


prd_rc_t
prd_lease_late(prd_view_t *view, const prd_lease_request_t *req,
    const prd_lease_reply_t *reply, unsigned dropped, unsigned admitted,
    uint32_t now_ms, prd_due_t *due)
{
    uint32_t      cost, watch;
    uint64_t      owed, rest;
    prd_lease_t  *l;

    if (reply->status == PRD_LEASE_BAD) {
        return PRD_DECLINED;
    }

    cost = (req->flags & PRD_LEASE_F_ASK)
           && reply->status == PRD_LEASE_ADMITTED ? req->cost : 0;

    if (!prd_lease_mine(view, req->slot, req->tag, req->generation)) {

        if (req->flags & PRD_LEASE_F_WANT) {
            prd_lease_void(view, prd_min(reply->grant, req->want));
        }

        prd_lease_void(view, admitted ? 0 : cost);

        return PRD_DECLINED;
    }

    l = &view->leases[req->slot];

    /* what is charged twice: debt that was owed again, the request itself */

    owed = dropped ? req->debt : 0;
    rest = 0;

    if (admitted) {
        owed += cost;

    } else {
        rest = cost;
    }

    owed = prd_min(owed, UINT32_MAX);
    rest += owed - prd_lease_unowe(l, (uint32_t) owed);
    rest = prd_min(rest, UINT32_MAX);

    prd_lease_hold(view, l, (uint32_t) rest, now_ms);
    prd_lease_count(view, PRD_CNT_LEASE_DEBITED, rest);

    (void) prd_lease_hear(view, req, reply, now_ms);

    watch = prd_lease_load32(&l->watch_ms);

    if (prd_word_level(prd_lease_load(&l->held)) == 0
        || (watch && (int32_t) (watch - now_ms) > 0))
    {
        return PRD_DECLINED;
    }

    memset(due, 0, sizeof(prd_due_t));

    due->tag = req->tag;
    due->slot = req->slot;
    due->generation = req->generation;
    due->at_ms = now_ms;
    due->most = req->most;
    due->free = req->free;
    due->debt_most = req->debt_most;
    due->quantum = req->quantum;
    due->backlog_most = req->backlog_most;
    due->drain = req->drain;
    due->backlog_drain = req->backlog_drain;

    return PRD_OK;
}


void
prd_lease_version(prd_view_t *view, uint32_t slot, uint16_t version)
{
    prd_lease_store32(&prd_lease_open(view, slot)->version, version);
}


prd_rc_t
prd_lease_check(const prd_view_t *view, prd_lease_sums_t *sums)
{
    uint32_t      i;
    uint64_t      held, owed, scale;
    prd_lease_t  *l;

    if (view->leases == NULL) {
        return PRD_EINVAL;
    }

    held = owed = 0;
    scale = view->table.unit == PRD_MILLI ? 1 : PRD_MILLI;

    for (i = 0; i <= prd_zone_slots(view); i++) {
        l = &view->leases[i];
        held += prd_word_level(prd_lease_load(&l->held));
        owed += prd_word_level(prd_lease_load(&l->debt));
    }

    sums->debited = prd_zone_count(view, PRD_CNT_LEASE_DEBITED);
    sums->debt = prd_zone_count(view, PRD_CNT_LEASE_DEBT);
    sums->refunded = prd_zone_count(view, PRD_CNT_LEASE_REFUNDED);
    sums->admitted = prd_zone_count(view, PRD_CNT_LEASE_ADMITTED);
    sums->returned = prd_zone_count(view, PRD_CNT_LEASE_RETURNED);
    sums->forfeited = prd_zone_count(view, PRD_CNT_LEASE_FORFEITED);
    sums->held = held * scale;
    sums->owed = owed * scale;
    sums->bound = (uint64_t) prd_lease_bound(view) * scale;

    return sums->debited + sums->debt + sums->refunded
           == sums->admitted + sums->returned + sums->forfeited + sums->held
           ? PRD_OK : PRD_ECORRUPT;
}


/* Bytes. */

void
prd_lease_key(uint64_t tag, char *hex)
{
    unsigned  i;

    for (i = 0; i < PRD_LEASE_KEY; i++) {
        hex[i] = "0123456789abcdef"[tag >> (60 - 4 * i) & 15];
    }
}


static inline uint64_t
prd_lease_bits(double x)
{
    uint64_t  n;

    memcpy(&n, &x, sizeof(n));

    return n;
}


static inline double
prd_lease_double(uint64_t n)
{
    double  x;

    memcpy(&x, &n, sizeof(x));

    return x;
}


/* version u8 | 1: whole tokens, 2: somebody takes counts | nodes u16 | 0 */

void
prd_lease_header(unsigned char *p, const prd_view_t *view,
    const prd_policy_t *policy)
{
    *p++ = PRD_LEASE_VERSION;
    *p++ = (unsigned char) ((view->table.unit != PRD_MILLI)
                            | (policy->params.learn != PRD_LEARN_OFF) << 1);

    prd_pack16(&p, prd_lease_nodes(view));
    prd_pack32(&p, 0);
}


void
prd_lease_pack(unsigned char *p, const prd_lease_request_t *req)
{
    *p++ = req->key;
    *p++ = req->flags;

    prd_pack16(&p, req->version);
    prd_pack32(&p, req->cost);
    prd_pack32(&p, req->want);
    prd_pack32(&p, req->returned);
    prd_pack32(&p, req->debt);
    prd_pack32(&p, req->most);
    prd_pack32(&p, req->free);
    prd_pack32(&p, req->debt_most);
    prd_pack32(&p, req->quantum);
    prd_pack32(&p, req->admitted);
    prd_pack32(&p, req->refused_cost);
    prd_pack32(&p, req->refused);
    prd_pack32(&p, req->peak);
    prd_pack32(&p, req->backlog);
    prd_pack32(&p, req->backlog_most);
    prd_pack64(&p, prd_lease_bits(req->drain));
    prd_pack64(&p, prd_lease_bits(req->backlog_drain));
}


void
prd_lease_unpack(const unsigned char *p, prd_lease_request_t *req)
{
    memset(req, 0, sizeof(prd_lease_request_t));

    req->key = *p++;
    req->flags = *p++;
    req->version = prd_unpack16(&p);
    req->cost = prd_unpack32(&p);
    req->want = prd_unpack32(&p);
    req->returned = prd_unpack32(&p);
    req->debt = prd_unpack32(&p);
    req->most = prd_unpack32(&p);
    req->free = prd_unpack32(&p);
    req->debt_most = prd_unpack32(&p);
    req->quantum = prd_unpack32(&p);
    req->admitted = prd_unpack32(&p);
    req->refused_cost = prd_unpack32(&p);
    req->refused = prd_unpack32(&p);
    req->peak = prd_unpack32(&p);
    req->backlog = prd_unpack32(&p);
    req->backlog_most = prd_unpack32(&p);
    req->drain = prd_lease_double(prd_unpack64(&p));
    req->backlog_drain = prd_lease_double(prd_unpack64(&p));
}


/*
 * version u8 | 0 u8 | entries u16 | 0 u32, then for each:
 * status u8 | 1: envelope, 2: profile follows u8 | version u16 | level u32 |
 * grant u32 | backlog u32 | (envelope 48 bits) | (length u8, profile)
 */

#define PRD_LEASE_REPLY  16


prd_rc_t
prd_lease_read(prd_lease_reader_t *r, const void *data, size_t len,
    unsigned entries)
{
    const unsigned char  *p;

    p = data;

    if (len < PRD_LEASE_HEADER) {
        return PRD_ECORRUPT;
    }

    if (p[0] != PRD_LEASE_VERSION) {
        return PRD_EVERSION;
    }

    if (((unsigned) p[2] | (unsigned) p[3] << 8) != entries) {
        return PRD_ECORRUPT;
    }

    r->p = p + PRD_LEASE_HEADER;
    r->end = p + len;
    r->left = entries;

    return PRD_OK;
}


prd_rc_t
prd_lease_next(prd_lease_reader_t *r, prd_lease_reply_t *reply)
{
    size_t                len;
    unsigned              flags;
    prd_lease_reply_t     a;
    const unsigned char  *p;

    p = r->p;

    if (r->left == 0 || r->end - p < PRD_LEASE_REPLY) {
        return PRD_ECORRUPT;
    }

    a.status = (prd_lease_status_e) *p++;
    flags = *p++;
    a.version = prd_unpack16(&p);
    a.level = prd_unpack32(&p);
    a.grant = prd_unpack32(&p);
    a.backlog = prd_unpack32(&p);
    a.envelope = 0;
    a.profile = NULL;
    a.profile_len = 0;

    if (a.status > PRD_LEASE_BAD || flags > 3) {
        return PRD_ECORRUPT;
    }

    if (flags & 1) {

        if (r->end - p < 6) {
            return PRD_ECORRUPT;
        }

        a.envelope = prd_unpack32(&p);
        a.envelope |= (uint64_t) prd_unpack16(&p) << 32;

        /* numbers that no zone has: a rate or depth beyond all bounds */

        if (prd_env_rate_code(a.envelope) > prd_env_encode(PRD_RATE_MAX)
            || prd_env_depth_code(a.envelope) > prd_env_encode(UINT32_MAX))
        {
            return PRD_ECORRUPT;
        }

        if (prd_env_depth_code(a.envelope) == 0) {
            a.envelope = 0;
        }
    }

    if (flags & 2) {

        if (r->end - p < 1 || *p > PRD_LEASE_PROFILE || r->end - p - 1 < *p) {
            return PRD_ECORRUPT;
        }

        len = *p++;
        a.profile = len ? p : NULL;
        a.profile_len = len;
        p += len;
    }

    r->p = p;
    r->left--;

    if (r->left == 0 && p != r->end) {
        return PRD_ECORRUPT;
    }

    *reply = a;

    return PRD_OK;
}
