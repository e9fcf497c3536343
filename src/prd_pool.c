
/*
 * The pool's level and the elasticity it lends to envelopes.
 *
 * Sources of the ideas: dynamic thresholds of shared buffers (Choudhury and
 * Hahne 1998) for m, trunk reservation of teletraffic theory for theta, HTB
 * and RFC 2698 for the three colours.
 */


#include "prd_pool.h"


void
prd_pool_terms(prd_pool_terms_t *t, prd_rate_t capacity,
    uint32_t borrow_milli, uint32_t unit)
{
    double    w, th, depth;
    uint32_t  i;

    memset(t, 0, sizeof(prd_pool_terms_t));

    t->capacity = capacity;
    t->speed_max = 2 * PRD_ONE_Q16;

    if (borrow_milli == 0) {
        t->top = PRD_M_INF;
        t->above = PRD_ONE_Q16;

    } else {
        t->top = (uint32_t) ((uint64_t) borrow_milli * PRD_ONE_Q16 / 1000);
        t->above = prd_min(t->top, 2 * PRD_ONE_Q16) - PRD_ONE_Q16;
        t->speed_max = prd_max(t->speed_max, t->top);
    }

    if (capacity == 0) {
        return;
    }

    depth = (double) capacity / PRD_RATE_ONE * PRD_POOL_DEPTH_S * unit;
    t->per_unit = (uint64_t) ((double) (1ull << (30 + PRD_POOL_SUB)) / depth)
                  + 1;

    for (i = 0; i < PRD_TRUSTS; i++) {
        w = (double) i / PRD_TRUSTS;
        th = 0.5 * (1 - w);
        t->theta[i] = (uint32_t) (th * PRD_ONE_Q16 + 0.5);
        t->scale[i] = (uint32_t) (PRD_ONE_Q16 / (1 - th) + 0.5);
    }
}


void
prd_pool_init(prd_word_t *pool, uint32_t now_ms)
{
    atomic_store_explicit(pool, prd_word(now_ms, PRD_POOL_FULL),
                          memory_order_relaxed);
}


/*
 * From what the store has granted.  The word only shows it: until the next
 * tick it is what the whole pool's fill is taken for.
 */

static prd_rc_t
prd_pool_spend(prd_word_t *pool, prd_pool_share_t *share, uint64_t need,
    uint64_t chunk, uint32_t now_ms, uint64_t *taken)
{
    int64_t   credit, least, level, take;
    uint32_t  ms;
    uint64_t  word;

    word = atomic_load_explicit(pool, memory_order_relaxed);
    level = prd_pool_level(word, now_ms);
    least = level > 0 ? atomic_load_explicit(&share->least,
                                             memory_order_relaxed) : 0;

    /* more than a whole pool: on a full one only */

    if (need > PRD_POOL_FULL - (int64_t) PRD_POOL_EMPTY) {

        if (level < PRD_POOL_FULL / 16 * 15 || least == 0) {
            return PRD_DECLINED;
        }

        need = chunk = (uint64_t) (PRD_POOL_FULL - (int64_t) PRD_POOL_EMPTY);
        least = -2 * (int64_t) PRD_POOL_FULL;
    }

    credit = atomic_load_explicit(&share->credit, memory_order_relaxed);

    do {
        if (credit - (int64_t) chunk >= least) {
            take = (int64_t) chunk;

        } else if (credit - (int64_t) need >= least) {
            take = (int64_t) need;

        } else {
            return PRD_DECLINED;
        }

    } while (!atomic_compare_exchange_weak_explicit(&share->credit, &credit,
                 credit - take, memory_order_relaxed, memory_order_relaxed));

    do {
        ms = prd_elapsed(prd_word_ms(word), now_ms) ? now_ms
                                                    : prd_word_ms(word);
        level = prd_pool_level(word, now_ms) - take;
        level = prd_max(level, -PRD_POOL_FULL);

    } while (!atomic_compare_exchange_weak_explicit(pool, &word,
                 prd_word(ms, (int32_t) level),
                 memory_order_relaxed, memory_order_relaxed));

    *taken = (uint64_t) take;

    return PRD_OK;
}


/* Of a pool that is shared, but not now: each node counts for all. */

static uint32_t
prd_pool_alone(const prd_pool_terms_t *t)
{
    uint32_t  nodes;

    nodes = atomic_load_explicit(&t->share->nodes, memory_order_relaxed);

    return nodes ? prd_min(nodes, 1u << 16) : 1;
}


prd_rc_t
prd_pool_chunk(prd_word_t *pool, const prd_pool_terms_t *t, uint64_t *credit,
    uint32_t cost, uint32_t now_ms)
{
    int64_t   level;
    uint32_t  ms;
    uint64_t  need, take, word, chunk, whole, nodes;

    nodes = 1;

    if (__builtin_mul_overflow(t->per_unit, (uint64_t) cost, &need)) {
        need = UINT64_MAX >> 1;
    }

    need -= *credit;
    need = (need >> PRD_POOL_SUB)
           + ((need & ((1 << PRD_POOL_SUB) - 1)) != 0);
    chunk = prd_max(need, PRD_POOL_CHUNK);
    whole = PRD_POOL_FULL - (int64_t) PRD_POOL_EMPTY;

    if (t->share) {

        if (prd_pool_shared(t, now_ms)) {
            if (prd_pool_spend(pool, t->share, need, chunk, now_ms, &take)
                != PRD_OK)
            {
                return PRD_DECLINED;
            }

            goto taken;
        }

        nodes = prd_pool_alone(t);
    }

    word = atomic_load_explicit(pool, memory_order_relaxed);

    do {
        level = prd_pool_level(word, now_ms);
        ms = prd_elapsed(prd_word_ms(word), now_ms) ? now_ms
                                                    : prd_word_ms(word);

        if (level - PRD_POOL_EMPTY >= (int64_t) (chunk * nodes)
            && chunk <= whole)
        {
            take = chunk;

        } else if (level - PRD_POOL_EMPTY
                   >= (int64_t) prd_min(prd_min(need, whole) * nodes, whole))
        {
            take = prd_min(need, whole);

        } else {
            return PRD_DECLINED;
        }

    } while (!atomic_compare_exchange_weak_explicit(pool, &word,
                 prd_word(ms, (int32_t) (level
                                 - (int64_t) prd_min(take * nodes, whole))),
                 memory_order_relaxed, memory_order_relaxed));

taken:

    if (need > whole) {
        *credit = 0;
        return PRD_OK;
    }

    /* what a chunk took beyond the need stays with the worker */

    *credit += (take << PRD_POOL_SUB) - t->per_unit * cost;

    return PRD_OK;
}


void
prd_pool_adjust(prd_word_t *pool, const prd_pool_terms_t *t, int64_t add,
    uint32_t now_ms)
{
    double    units;
    int64_t   level;
    uint32_t  ms;
    uint64_t  word;

    units = (double) add * (double) t->per_unit / (1 << PRD_POOL_SUB);
    units = prd_max(units, -2.0 * PRD_POOL_FULL);
    units = prd_min(units, 2.0 * PRD_POOL_FULL);

    if (t->share) {

        if (prd_pool_shared(t, now_ms)) {
            atomic_fetch_sub_explicit(&t->share->credit, (int64_t) units,
                                      memory_order_relaxed);
        } else {
            units *= prd_pool_alone(t);
            units = prd_max(units, -2.0 * PRD_POOL_FULL);
            units = prd_min(units, 2.0 * PRD_POOL_FULL);
        }
    }

    word = atomic_load_explicit(pool, memory_order_relaxed);

    do {
        ms = prd_elapsed(prd_word_ms(word), now_ms) ? now_ms
                                                    : prd_word_ms(word);
        level = prd_pool_level(word, now_ms) - (int64_t) units;
        level = prd_min(level, PRD_POOL_FULL);
        level = prd_max(level, -PRD_POOL_FULL);

    } while (!atomic_compare_exchange_weak_explicit(pool, &word,
                 prd_word(ms, (int32_t) level),
                 memory_order_relaxed, memory_order_relaxed));
}


/* What was spent since the last tick, smoothed: falls by a quarter a tick. */

void
prd_pool_report(prd_word_t *pool, const prd_pool_terms_t *t,
    prd_pool_tick_t *tick, uint32_t now_ms, prd_pool_report_t *report)
{
    int64_t   credit, spent, give, debt, alone, expected;

    /*
     * What was taken while we were alone: the word without us, less the word.
     * It may be another worker that heard of the store last.
     */

    alone = 0;

    if (!prd_pool_shared(t, now_ms)) {
        expected = PRD_POOL_FULL;

        if (atomic_load_explicit(&t->share->until_ms, memory_order_relaxed)) {
            expected = prd_pool_level(atomic_load_explicit(&t->share->heard,
                                          memory_order_relaxed), now_ms);
        }

        alone = expected - prd_pool_level(atomic_load_explicit(pool,
                                              memory_order_relaxed), now_ms);
        alone = prd_max(alone, 0) / prd_pool_alone(t);
    }

    credit = atomic_load_explicit(&t->share->credit, memory_order_relaxed);

    spent = tick->seen - credit;
    spent = prd_max(spent, 0);
    tick->pace = prd_max(spent, tick->pace - (tick->pace + 3) / 4);

    do {
        /* debt is paid in full, tokens beyond need go back */

        debt = credit < 0 ? -credit : 0;
        give = prd_min(tick->excess, credit);
        give = prd_max(give, 0);

    } while (!atomic_compare_exchange_weak_explicit(&t->share->credit, &credit,
                 credit + debt - give,
                 memory_order_relaxed, memory_order_relaxed));

    tick->excess = 0;
    tick->seen = credit + debt - give;
    tick->returned = give + tick->late;
    tick->late = 0;
    tick->debt = debt;
    tick->guard += give - debt - alone;

    report->held = tick->seen;
    report->returned = tick->returned;
    report->debt = debt + alone;
    report->pace = tick->pace;
}


void
prd_pool_grant(prd_word_t *pool, const prd_pool_terms_t *t,
    prd_pool_tick_t *tick, int64_t grant, int64_t level, int64_t fill,
    uint32_t nodes, uint32_t now_ms, uint32_t until)
{
    int64_t   credit, target, most;
    uint32_t  dt;

    most = 2 * (int64_t) PRD_POOL_FULL;

    dt = prd_elapsed(tick->heard_ms, now_ms);
    dt = prd_min(dt, 4 * PRD_POOL_DEPTH_S * 1000 + 1);
    tick->guard += tick->heard ? (int64_t) dt * PRD_POOL_PER_MS : most;
    tick->guard = prd_min(tick->guard, most);
    tick->guard = prd_max(tick->guard, -most);

    nodes = nodes ? nodes : 1;
    level = prd_max(prd_min(level, PRD_POOL_FULL), -PRD_POOL_FULL);
    fill = prd_max(prd_min(fill, PRD_POOL_FULL), -PRD_POOL_FULL);
    grant = prd_max(prd_min(grant, tick->guard), 0);

    credit = atomic_load_explicit(&t->share->credit, memory_order_relaxed);

    /* never more than a pool's worth in hand, whatever the store says */

    do {
        grant = prd_min(grant, PRD_POOL_FULL - prd_max(credit, 0));
        grant = prd_max(grant, 0);

    } while (!atomic_compare_exchange_weak_explicit(&t->share->credit, &credit,
                 credit + grant, memory_order_relaxed, memory_order_relaxed));

    tick->seen += grant;
    tick->guard -= grant;
    tick->returned = tick->debt = 0;

    target = prd_pool_target(tick->pace, level, nodes);
    tick->excess = credit + grant > target + target / 2
                   ? credit + grant - target : 0;

    tick->heard_ms = now_ms;
    tick->heard = 1;

    atomic_store_explicit(&t->share->least, tick->guard > 0
                                            ? -PRD_POOL_OVERDRAFT : 0,
                          memory_order_relaxed);
    atomic_store_explicit(&t->share->nodes, nodes, memory_order_relaxed);
    atomic_store_explicit(&t->share->heard, prd_word(now_ms, (int32_t) fill),
                          memory_order_relaxed);
    atomic_store_explicit(pool, prd_word(now_ms, (int32_t) fill),
                          memory_order_relaxed);
    atomic_store_explicit(&t->share->until_ms, 1ull << 32 | until,
                          memory_order_relaxed);
}


void
prd_pool_lost(const prd_pool_terms_t *t, prd_pool_tick_t *tick,
    unsigned sent)
{
    int64_t  back;

    if (!sent) {
        back = tick->returned - tick->debt;
        atomic_fetch_add_explicit(&t->share->credit, back,
                                  memory_order_relaxed);
        tick->seen += back;
        tick->guard -= back;
    }

    tick->returned = tick->debt = 0;
}


void
prd_pool_late(prd_pool_tick_t *tick, int64_t grant)
{
    grant = prd_max(prd_min(grant, PRD_POOL_FULL), 0);
    tick->late = prd_min(tick->late + grant, PRD_POOL_FULL);
}
