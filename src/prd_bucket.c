
/*
 * The verdict beyond what passes at once, names of verdicts and reasons, and
 * corrections of a level after the fact.
 */


#include "prd_bucket.h"


const char *
prd_verdict_name(prd_verdict_e verdict)
{
    static const char  *names[] = {
        "PASSED", "BORROWED", "DELAYED", "REJECTED", ""
    };

    return verdict <= PRD_SKIPPED ? names[verdict] : "";
}


const char *
prd_reason_name(prd_reason_e reason)
{
    static const char  *names[] = {
        "", "forecast", "borrowed", "above_forecast", "scarce", "quota",
        "newcomer", "store", "zone_full"
    };

    return reason < PRD_REASONS ? names[reason] : "";
}


prd_verdict_e
prd_bucket_beyond(const prd_terms_t *t, uint32_t was, uint32_t x,
    uint32_t *delay_ms)
{
    uint64_t  xq, k, d;

    xq = (uint64_t) x << 16;
    k = prd_min(t->m, PRD_ONE_Q16);

    if (t->m == PRD_M_INF
        || (t->m > PRD_ONE_Q16 && xq <= (uint64_t) t->m * t->depth))
    {
        return PRD_BORROWED;
    }

    if (xq <= k * t->limit) {

        /* level units / (1e-9 token/s) -> ms; truncated like limit_req */
        d = x > t->free ? UINT32_MAX : 0;

        if (t->delay_rate && d) {
            d = (uint64_t) ((unsigned __int128) (x - t->free)
                            * (t->unit == PRD_MILLI ? 1000000000ull
                                                    : 1000000000000ull)
                            / t->delay_rate);
        }

        *delay_ms = (uint32_t) prd_min(d, INT32_MAX);

        /* less than a millisecond is no delay, nor is what is still free */

        return *delay_ms ? PRD_DELAYED : PRD_PASSED;
    }

    if (was == 0 && t->cost > t->depth && k == PRD_ONE_Q16) {
        return PRD_PASSED;
    }

    return PRD_REJECTED;
}


int64_t
prd_bucket_adjust(prd_word_t *state, int64_t add, uint32_t most)
{
    int64_t   level;
    uint64_t  word;

    word = atomic_load_explicit(state, memory_order_relaxed);

    do {
        level = (int64_t) prd_word_level(word) + add;

        /* a charge may leave a level above `most` where it was, not raise it */
        if (level > most) {
            level = prd_max((int64_t) most,
                            prd_min(level, (int64_t) prd_word_level(word)));
        }

        level = prd_max(level, 0);

    } while (!atomic_compare_exchange_weak_explicit(state, &word,
                 prd_word(prd_word_ms(word), level),
                 memory_order_relaxed, memory_order_relaxed));

    return level - (int64_t) prd_word_level(word);
}
