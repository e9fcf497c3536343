
/*
 * A client's bucket: level, drain, charge.  It is GCRA in its leaky-bucket
 * form (ITU-T I.371, annex A): level and time are kept rather than a TAT,
 * because the forecaster may change the drain rate, and the pool its
 * elasticity, between two requests; a rate change then rescales nothing.
 *
 * One 64-bit word: u32 milliseconds << 32 | u32 level, changed by
 * compare-and-swap only.  A process that is killed before its CAS has
 * charged nothing, after it everything.
 *
 * Levels count the present request: an idle bucket after one request of cost
 * 1 stands at 1000 (1/1000 token) where limit_req would say excess 0.
 */


#ifndef PRD_BUCKET_H_INCLUDED
#define PRD_BUCKET_H_INCLUDED


#include <stdatomic.h>

#include "prd.h"


typedef _Atomic uint64_t  prd_word_t;

#define prd_word(ms, level)                                                   \
    ((uint64_t) (ms) << 32 | (uint32_t) (level))
#define prd_word_ms(w)     ((uint32_t) ((w) >> 32))
#define prd_word_level(w)  ((uint32_t) (w))


typedef enum {
    PRD_PASSED = 0,
    PRD_BORROWED,
    PRD_DELAYED,
    PRD_REJECTED,
    PRD_SKIPPED                       /* no limit applied */
} prd_verdict_e;

typedef enum {
    PRD_REASON_NONE = 0,
    PRD_REASON_FORECAST,
    PRD_REASON_BORROWED,
    PRD_REASON_ABOVE_FORECAST,
    PRD_REASON_SCARCE,
    PRD_REASON_QUOTA,
    PRD_REASON_NEWCOMER,
    PRD_REASON_STORE,
    PRD_REASON_ZONE_FULL,
    PRD_REASONS
} prd_reason_e;

/* "PASSED" ..., "forecast" ...; "" for SKIPPED and NONE; never NULL */
const char *prd_verdict_name(prd_verdict_e verdict);
const char *prd_reason_name(prd_reason_e reason);


/* Elasticity m and its relatives are Q16: 65536 = 1. */

#define PRD_ONE_Q16  65536u
#define PRD_M_INF    UINT32_MAX


/* 2^103 / 1e12, rounded up; the product with a rate >> 71 is its Q32 per ms */
#define PRD_Q103_PER_TERA  10141204801825835212ull


/*
 * What drains in the `dt` ms after `then` at `rate`, in level units (`unit`
 * of them a token: 1000 or 1).  Truncates like limit_req; saturates at
 * UINT32_MAX.
 */

static inline uint32_t
prd_drained(prd_rate_t rate, uint32_t then, uint32_t dt, uint32_t unit)
{
    uint64_t  p, q;

    /* nano-tokens per second * ms = 1e-12 token */

    if (unit == PRD_MILLI) {

        if (__builtin_mul_overflow(rate, (uint64_t) dt, &p)) {
            return UINT32_MAX;
        }

        p /= 1000000000u;

        return (uint32_t) prd_min(p, UINT32_MAX);
    }

    /*
     * Whole tokens are too coarse to forget the remainder at each request:
     * what has drained is the difference of what drains since time 0, of which
     * only the fraction at `then` matters.  Tokens per ms in Q32, rounded up:
     * over 49 days any rate gains less than a token.
     */

    q = (uint64_t) ((unsigned __int128) rate * PRD_Q103_PER_TERA >> 64 >> 7)
        + (rate != 0);

    if (__builtin_mul_overflow(q, (uint64_t) dt, &p)
        || __builtin_add_overflow(p, (q * then) & UINT32_MAX, &p))
    {
        return UINT32_MAX;
    }

    return (uint32_t) (p >> 32);
}


/*
 * Milliseconds from `then` to `now_ms`.  A clock that steps back drains
 * nothing; more than 24 days cannot be told from it, which is why idle
 * clients are forgotten before.
 */

static inline uint32_t
prd_elapsed(uint32_t then, uint32_t now_ms)
{
    int32_t  dt = (int32_t) (now_ms - then);

    return dt > 0 ? (uint32_t) dt : 0;
}


/* What a level becomes, with `speed` (Q16, >= 1) times the drain. */

static inline uint32_t
prd_level_after(uint32_t level, prd_rate_t rate, uint32_t speed,
    uint32_t then, uint32_t dt, uint32_t unit)
{
    uint64_t  d;

    d = prd_drained(rate, then, dt, unit);

    if (speed != PRD_ONE_Q16) {
        d = d * speed >> 16;
    }

    return d < level ? level - (uint32_t) d : 0;
}


/*
 * The terms of one decision; everything in level units, m and speed in Q16.
 * See "Verdict" in README.md.
 */

typedef struct {
    prd_rate_t   rate;                /* r: drain of the envelope */
    prd_rate_t   delay_rate;          /* max(r, baseline): pays delays off */
    uint32_t     depth;               /* b */
    uint32_t     free;                /* passes without delay */
    uint32_t     limit;               /* burst + 1 */
    uint32_t     m;                   /* elasticity, PRD_M_INF = unlimited */
    uint32_t     speed;               /* elastic drain */
    uint32_t     debt;                /* the level is clamped here */
    uint32_t     cost;
    uint32_t     unit;
    uint32_t     learned;             /* 1: a learned envelope is in force */
} prd_terms_t;


/*
 * The verdict on a level (`was`, and x with the request) that is above what
 * passes without delay.  delay_ms is set where it is PRD_DELAYED.
 */
prd_verdict_e prd_bucket_beyond(const prd_terms_t *t, uint32_t was,
    uint32_t x, uint32_t *delay_ms);


/*
 * The verdict on one request against a state word.
 *
 * level     with this request counted
 * next      the word to store: as it is, where it is PRD_REJECTED
 * delay_ms  of PRD_DELAYED, else 0
 *
 * The order of the comparisons is part of the contract.  No side effects.  A
 * cost above the depth passes on an empty bucket.
 */

static inline prd_verdict_e
prd_bucket_judge(const prd_terms_t *t, uint64_t word, uint32_t now_ms,
    uint32_t *level, uint64_t *next, uint32_t *delay_ms)
{
    uint32_t       dt, was, x, last;
    prd_verdict_e  verdict;

    last = prd_word_ms(word);
    dt = prd_elapsed(last, now_ms);
    was = prd_word_level(word);

    if (dt) {
        was = prd_level_after(was, t->rate, t->speed, last, dt, t->unit);
        last = now_ms;
    }

    x = prd_sum32(was, t->cost);
    *level = x;
    *delay_ms = 0;
    verdict = PRD_PASSED;

    if ((uint64_t) x << 16
        > (uint64_t) prd_min(t->m, PRD_ONE_Q16) * t->free)
    {
        verdict = prd_bucket_beyond(t, was, x, delay_ms);

        if (verdict == PRD_REJECTED) {
            *next = word;
            return PRD_REJECTED;
        }
    }

    *next = prd_word(last, prd_min(x, t->debt));

    return verdict;
}


/*
 * Adds `add` (may be negative: a refund) to a level in [0, most], without
 * touching its time.  Returns by how much the level has changed.
 */
int64_t prd_bucket_adjust(prd_word_t *state, int64_t add, uint32_t most);


#endif /* PRD_BUCKET_H_INCLUDED */
