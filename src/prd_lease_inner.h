
/*
 * What the files of leases share, for these alone: prd_lease.c (decisions),
 * prd_lease_after.c (what follows them), prd_lease_tick.c (entries of batches,
 * what is looked after), prd_lease_books.c (a key's words), prd_lease_wire.c
 * (bytes).  In this order they call each other.
 */


#ifndef PRD_LEASE_INNER_H_INCLUDED
#define PRD_LEASE_INNER_H_INCLUDED


#include "prd_lease.h"
#include "prd_step.h"


#define PRD_LEASE_QUEUE_MS   1000     /* whoever queued a key and did not */
#define PRD_LEASE_AWAY_MS    60000    /* look until then is dead; later while */
                                      /* the store is away */


/* An entry's `denied` in a zone with a store: u1 clipped | u31 units. */

#define PRD_LEASE_CLIPPED    0x80000000u
#define PRD_LEASE_DENIED     0x7fffffffu


/* How a key was paid: prd_answer_t.paid. */

#define PRD_PAID_NOT    0
#define PRD_PAID_HELD   1
#define PRD_PAID_ASKED  2             /* the store has debited it */
#define PRD_PAID_DEBT   3


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


/*
 * What was held after the last grant, to 1/1024, in 16 bits: rounded down.
 */

static inline void
prd_lease_granted(prd_lease_t *l, uint32_t units)
{
    uint32_t  e;

    e = units >> 11 ? 21 - (uint32_t) __builtin_clz(units) : 0;

    atomic_store_explicit(&l->grant, (uint16_t) (e << 11 | units >> e),
                          memory_order_relaxed);
}


static inline uint32_t
prd_lease_grant_of(prd_lease_t *l)
{
    uint32_t  code;

    code = atomic_load_explicit(&l->grant, memory_order_relaxed);

    return (code & 0x7ff) << (code >> 11);
}


/*
 * Since when a look is due, or a report under way; now_ms = 0: none is.  After
 * 262 s it looks recent again, if whoever queued it is dead.
 */

static inline void
prd_lease_queue(prd_lease_t *l, uint32_t now_ms)
{
    atomic_store_explicit(&l->queued, now_ms ? (uint16_t) (now_ms >> 2 | 1)
                                             : 0, memory_order_relaxed);
}


static inline int
prd_lease_queued(prd_lease_t *l, uint32_t now_ms, uint32_t most_ms)
{
    uint32_t  queued;
    uint16_t  age;

    queued = atomic_load_explicit(&l->queued, memory_order_relaxed);

    /* by a worker whose clock is ahead a little: -1 to -16 */

    age = (uint16_t) ((now_ms >> 2) - queued + 16);

    return queued && age <= most_ms / 4 + 16;
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


/* prd_lease_books.c */


/* Clears the record of a slot that was a former client's. */
void prd_lease_reset(prd_view_t *view, prd_lease_t *l, uint32_t generation);

/* Is the slot still that of the client that was asked for? */
int prd_lease_mine(const prd_view_t *view, uint32_t slot, uint64_t tag,
    uint32_t generation);

/* Puts tokens into the lease; what has been there for too long is void. */
void prd_lease_hold(prd_view_t *view, prd_lease_t *l, uint32_t units,
    uint32_t now_ms);

/* What was debited for a client who is gone. */
void prd_lease_void(prd_view_t *view, uint32_t units);

/*
 * Debt, to be reported; share: this node's of the rate, at which it is
 * forgotten while that fails.  And takes it back: returns how much there was.
 */
void prd_lease_owe(prd_lease_t *l, uint32_t units, prd_rate_t share,
    uint32_t unit, uint32_t now_ms);
uint32_t prd_lease_unowe(prd_lease_t *l, uint32_t units);
void prd_lease_fly(prd_lease_t *l, uint32_t units, int way,
    uint32_t asked_ms);
uint32_t prd_lease_flying(prd_lease_t *l, uint32_t now_ms);
void prd_lease_note_owed(prd_view_t *view, uint64_t units);

/*
 * What was taken for a request (and paid so) goes into the lease, or was never
 * debited.
 */
void prd_lease_repay(prd_view_t *view, prd_lease_t *l, unsigned paid,
    uint32_t units, uint32_t now_ms);

/* Demand, to be reported. */
uint32_t prd_lease_unwork(prd_lease_t *l, uint32_t cost);
void prd_lease_deny_later(prd_view_t *view, uint32_t slot, uint32_t cost,
    unsigned clipped);
void prd_lease_note_refused(prd_lease_t *l, uint32_t cost, uint32_t counted);


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
 * With sync=strict: may the bucket have run empty since these tokens were
 * taken from it?  Then they are gone with what it held; given back or spent,
 * they would be admitted on top of a full one.  It did not where less drains
 * meanwhile than it stood at then, which was as much as they are, at least,
 * or than the estimate says now.
 */

static inline int
prd_lease_stale(double drain, uint32_t level, uint32_t since_ms,
    uint32_t now_ms)
{
    return drain * prd_elapsed(since_ms, now_ms) >= level;
}


static inline int
prd_lease_gone(double drain, uint64_t held, uint64_t state, uint32_t now_ms)
{
    return prd_lease_stale(drain, prd_word_level(held), prd_word_ms(held),
                           now_ms)
           && drain * prd_elapsed(prd_word_ms(state), now_ms)
              >= (double) prd_word_level(state) + prd_word_level(held);
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


/*
 * Says that somebody must look: at the next tick (urgent), or at some time,
 * unless somebody does.  Two workers may both become that somebody, which
 * prd_lease_keep() finds out.
 *
 * Who owes stores that first, in prd_lease_owe(), and then sees who is queued;
 * who was queued says that he is not, in prd_lease_unqueue(), and then sees
 * what is owed: sequentially consistent, so one of the two sees the other.
 */

static inline void
prd_lease_mark(prd_lease_t *l, prd_answer_t *answer, unsigned key,
    uint32_t now_ms, unsigned urgent)
{
    uint32_t  watch;

    /* the overflow bucket is nobody's: it has no key in the store */

    if (answer->full && key == PRD_LEASE_CLIENT) {
        return;
    }

    if (prd_lease_queued(l, now_ms, (answer->away & key) ? PRD_LEASE_AWAY_MS
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

    prd_lease_queue(l, now_ms | 1);
    answer->due |= (uint8_t) key;
}


/* Is there demand to report? */

static inline int
prd_lease_seen(prd_view_t *view, uint32_t slot)
{
    prd_lease_t  *l;

    l = &view->leases[slot];

    return prd_lease_load(&l->work) >> 32 || prd_lease_load(&l->refused)
           || prd_lease_load32(&view->table.entries[slot].denied);
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


/* prd_lease_tick.c */

/*
 * What the store says of a key.  Returns 1 when an envelope came with it that
 * the question did not know of.  Redis is not trusted to mint: no more is taken
 * than was wanted.
 */
unsigned prd_lease_hear(prd_view_t *view, const prd_lease_request_t *req,
    const prd_lease_reply_t *reply, uint32_t now_ms);

/* prd_lease_drop() for one who marks the key himself. */
void prd_lease_restore(prd_view_t *view, const prd_lease_request_t *req,
    unsigned sent, uint32_t now_ms);


#endif /* PRD_LEASE_INNER_H_INCLUDED */
