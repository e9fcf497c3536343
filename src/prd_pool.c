
/*
 * The pool's level and the elasticity it lends to envelopes.
 *
 * Sources of the ideas: dynamic thresholds of shared buffers (Choudhury and
 * Hahne 1998) for m, trunk reservation of teletraffic theory for theta, HTB
 * and RFC 2698 for the three colours.
 */


#include "prd_pool.h"


#define PRD_POOL_SUB  20                      /* Q50 = Q30 << 20 */


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


prd_rc_t
prd_pool_chunk(prd_word_t *pool, const prd_pool_terms_t *t, uint64_t *credit,
    uint32_t cost, uint32_t now_ms)
{
    int64_t   level;
    uint32_t  ms;
    uint64_t  need, take, word, chunk, whole;

    if (__builtin_mul_overflow(t->per_unit, (uint64_t) cost, &need)) {
        need = UINT64_MAX >> 1;
    }

    need -= *credit;
    need = (need >> PRD_POOL_SUB)
           + ((need & ((1 << PRD_POOL_SUB) - 1)) != 0);
    chunk = prd_max(need, PRD_POOL_CHUNK);
    whole = PRD_POOL_FULL - (int64_t) PRD_POOL_EMPTY;

    word = atomic_load_explicit(pool, memory_order_relaxed);

    do {
        level = prd_pool_level(word, now_ms);
        ms = prd_elapsed(prd_word_ms(word), now_ms) ? now_ms
                                                    : prd_word_ms(word);

        if (level - PRD_POOL_EMPTY >= (int64_t) chunk) {
            take = chunk;

        } else if (level - PRD_POOL_EMPTY >= (int64_t) prd_min(need, whole)) {
            take = prd_min(need, whole);

        } else {
            return PRD_DECLINED;
        }

    } while (!atomic_compare_exchange_weak_explicit(pool, &word,
                 prd_word(ms, (int32_t) (level - (int64_t) take)),
                 memory_order_relaxed, memory_order_relaxed));

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
