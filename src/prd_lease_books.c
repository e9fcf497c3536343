
/*
 * The words of a leased key, in memory that a node's workers share: tokens in
 * hand, debt, demand to report; and the books of a zone.
 *
 * What the store has debited for us is spent (admitted), given back
 * (returned), void (forfeited) or held; what is admitted without is debt.
 * Each change of a word is counted right after it, so a worker killed in
 * between leaves the sums wrong by that one change.
 */


#include "prd_lease_inner.h"


/*
 * The record was a former client's.  Whoever comes first clears it, word by
 * word; of two that meet here one may clear what the other has just put in,
 * which is counted, too.
 */

void
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

    prd_lease_store32(&l->flying[0], 0);
    prd_lease_store32(&l->flying[1], 0);
    prd_lease_store32(&l->seen_ms, 0);
    prd_lease_store32(&l->watch_ms, 0);
    prd_lease_granted(l, 0);
    prd_lease_queue(l, 0);
    atomic_store_explicit(&l->version, 0, memory_order_relaxed);

    atomic_store_explicit(&l->generation, (uint16_t) generation,
                          memory_order_release);
}


/* Is the slot still that of the client that was asked for? */

int
prd_lease_mine(const prd_view_t *view, uint32_t slot, uint64_t tag,
    uint32_t generation)
{
    return prd_step_holds(view, slot, tag)
           && prd_env_generation(prd_lease_load(
                  &view->table.entries[slot].envelope)) == generation
           && atomic_load_explicit(&view->leases[slot].generation,
                                   memory_order_relaxed)
              == generation;
}


/* Puts tokens into the lease; what has been there for too long is void. */

void
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


/* What was debited for a client who is gone. */

void
prd_lease_void(prd_view_t *view, uint32_t units)
{
    prd_lease_count(view, PRD_CNT_LEASE_DEBITED, units);
    prd_lease_count(view, PRD_CNT_LEASE_FORFEITED, units);
}


/*
 * Debt is reported at the next tick.  While that fails it is forgotten as the
 * bucket would have forgotten it: at this node's share of the rate.
 */

void
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

    /* prd_lease_mark() follows */

    atomic_thread_fence(memory_order_seq_cst);
}


/*
 * Debt goes to the store with a question (way = 1), which is answered, or the
 * debt owed again (-1).  It is counted in the span of 4 s in which it was
 * asked, and only in that and the next one: what a worker had on its way when
 * it was killed is void then, whatever comes after it.
 *
 * Each is rounded up as it comes and as it goes.
 */

#define PRD_FLY_MS     12             /* bits of ms: a span */
#define PRD_FLY_S      26
#define PRD_FLY_SPANS  (1u << (32 - PRD_FLY_S))
#define PRD_FLY_MOST   ((1u << PRD_FLY_S) - 1)
#define PRD_FLY_UNITS  64


/* By how many spans is b later than a?  One earlier is PRD_FLY_SPANS - 1. */

static inline uint32_t
prd_lease_fly_age(uint32_t a, uint32_t b)
{
    return (b - a) % PRD_FLY_SPANS;
}


void
prd_lease_fly(prd_lease_t *l, uint32_t units, int way, uint32_t asked_ms)
{
    uint32_t           was, sum, n, span;
    _Atomic uint32_t  *word;

    if (units == 0) {
        return;
    }

    n = (uint32_t) (((uint64_t) units + PRD_FLY_UNITS - 1) / PRD_FLY_UNITS);
    n = prd_min(n, PRD_FLY_MOST);

    span = (asked_ms >> PRD_FLY_MS) % PRD_FLY_SPANS;
    word = &l->flying[span % 2];
    was = prd_lease_load32(word);

    do {
        sum = was & PRD_FLY_MOST;

        if (was >> PRD_FLY_S != span) {

            /* of a worker that slept for so long; void, or taken off before */

            if (way < 0
                || (sum && prd_lease_fly_age(span, was >> PRD_FLY_S)
                           < PRD_FLY_SPANS / 2))
            {
                return;
            }

            sum = 0;
        }

        if (way > 0) {
            sum = prd_min(sum + n, PRD_FLY_MOST);

        } else {
            sum = sum > n ? sum - n : 0;
        }

    } while (!atomic_compare_exchange_weak_explicit(word, &was,
                 span << PRD_FLY_S | sum,
                 memory_order_relaxed, memory_order_relaxed));
}


/* How much is under way.  Workers' clocks may differ by a little. */

uint32_t
prd_lease_flying(prd_lease_t *l, uint32_t now_ms)
{
    uint32_t  i, word, age;
    uint64_t  sum;

    for (i = 0, sum = 0; i < 2; i++) {
        word = prd_lease_load32(&l->flying[i]);

        if ((word & PRD_FLY_MOST) == 0) {
            continue;
        }

        age = prd_lease_fly_age(word >> PRD_FLY_S, now_ms >> PRD_FLY_MS);

        if (age > 1 && age != PRD_FLY_SPANS - 1) {

            /* void, before its span comes round again */
            (void) atomic_compare_exchange_strong_explicit(&l->flying[i],
                       &word, 0, memory_order_relaxed, memory_order_relaxed);
            continue;
        }

        sum += (uint64_t) (word & PRD_FLY_MOST) * PRD_FLY_UNITS;
    }

    return (uint32_t) prd_min(sum, UINT32_MAX);
}


/* What was admitted without the store's word, and not yet charged there. */

void
prd_lease_note_owed(prd_view_t *view, uint64_t units)
{
    uint32_t  most, sum;

    sum = (uint32_t) prd_min(units, UINT32_MAX);
    most = prd_lease_load32(&view->zone->owed_most);

    while (most < sum
           && !atomic_compare_exchange_weak_explicit(&view->zone->owed_most,
                  &most, sum, memory_order_relaxed, memory_order_relaxed))
    {
        /* void */
    }
}


/* Takes debt back; returns how much there was of it. */

uint32_t
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


void
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


/*
 * What was counted and is no demand: by this node and reported, or by the
 * store.  clipped: not all of it was in the backlog.  prd_lease_mark() follows.
 */

void
prd_lease_deny_later(prd_view_t *view, uint32_t slot, uint32_t cost,
    unsigned clipped)
{
    uint32_t           was, sum;
    _Atomic uint32_t  *denied;

    denied = &view->table.entries[slot].denied;
    was = prd_lease_load32(denied);

    do {
        sum = prd_min(cost, PRD_LEASE_DENIED - (was & PRD_LEASE_DENIED));
        sum += was;
        sum |= clipped ? PRD_LEASE_CLIPPED : 0;

    } while (!atomic_compare_exchange_weak_explicit(denied, &was, sum,
                 memory_order_relaxed, memory_order_relaxed));

    atomic_thread_fence(memory_order_seq_cst);
}


/* Returns how much there was of it: the rest has been reported. */

uint32_t
prd_lease_unwork(prd_lease_t *l, uint32_t cost)
{
    uint64_t  word, sum;

    word = prd_lease_load(&l->work);

    do {
        sum = word >> 32;
        sum = sum > cost ? sum - cost : 0;

    } while (!prd_lease_swap(&l->work, &word, sum << 32 | (uint32_t) word));

    return (uint32_t) ((word >> 32) - sum);
}


/*
 * Demand that was not admitted: that nobody has counted, and that was counted
 * as if it were.
 */

void
prd_lease_note_refused(prd_lease_t *l, uint32_t cost, uint32_t counted)
{
    uint64_t  word, sum, over;

    word = prd_lease_load(&l->refused);

    do {
        sum = prd_min((word >> 32) + cost, UINT32_MAX);
        over = prd_min((uint64_t) (uint32_t) word + counted, UINT32_MAX);

    } while (!prd_lease_swap(&l->refused, &word, sum << 32 | over));
}


void
prd_lease_version(prd_view_t *view, uint32_t slot, uint16_t version)
{
    atomic_store_explicit(&prd_lease_open(view, slot)->version, version,
                          memory_order_relaxed);
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
    sums->bound = (uint64_t) prd_lease_load32(&view->zone->held_most) * scale;

    return sums->debited + sums->debt + sums->refunded
           == sums->admitted + sums->returned + sums->forfeited + sums->held
           ? PRD_OK : PRD_ECORRUPT;
}
