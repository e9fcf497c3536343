
/*
 * The verdict on a bucket, as the reference of the directives tells it: the
 * order of the comparisons is part of the contract.
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
prd_bucket_judge(const prd_terms_t *t, uint64_t word, uint32_t now_ms,
    uint32_t *level, uint64_t *next, uint32_t *delay_ms)
{
    uint32_t       dt, was, last;
    uint64_t       x, xq, k, d;
    prd_verdict_e  verdict;

    last = prd_word_ms(word);
    dt = prd_elapsed(last, now_ms);
    was = prd_word_level(word);

    if (dt) {
        x = prd_level_after(was, t->rate, t->speed, dt, t->unit);

        /*
         * Whole tokens are too coarse to forget the remainder at every
         * request: time moves only when a token has drained.
         */
        if (t->unit == PRD_MILLI || x != was || was == 0) {
            last = now_ms;
        }

    } else {
        x = was;
    }

    was = (uint32_t) x;
    x = prd_min(x + t->cost, UINT32_MAX);
    *level = (uint32_t) x;
    *delay_ms = 0;

    xq = x << 16;
    k = prd_min(t->m, PRD_ONE_Q16);

    if (xq <= k * t->free) {
        verdict = PRD_PASSED;

    } else if (t->m == PRD_M_INF
               || (t->m > PRD_ONE_Q16 && xq <= (uint64_t) t->m * t->depth))
    {
        verdict = PRD_BORROWED;

    } else if (xq <= k * t->limit) {
        verdict = PRD_DELAYED;

        /* level units / (1e-9 token/s) -> ms; truncated like limit_req */
        d = UINT32_MAX;

        if (t->delay_rate) {
            d = (uint64_t) ((unsigned __int128) (x - t->free)
                            * (t->unit == PRD_MILLI ? 1000000000ull
                                                    : 1000000000000ull)
                            / t->delay_rate);
        }

        *delay_ms = (uint32_t) prd_min(d, INT32_MAX);

    } else if (was == 0 && t->cost > t->depth && k == PRD_ONE_Q16) {
        verdict = PRD_PASSED;

    } else {
        return PRD_REJECTED;
    }

    *next = prd_word(last, prd_min(x, t->debt));

    return verdict;
}


void
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
}
