
/*
 * Names of verdicts and reasons, and corrections of a level after the fact.
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
