
/*
 * A pool: the capacity that clients borrow from, and the elasticity m that
 * its fill gives their envelopes.
 *
 * The level is kept in [-D, D], D = 5 s x capacity, as Q30: 1 << 30 is D.
 * Since D is a fixed time's worth of capacity, the refill per millisecond is
 * the same number for every pool, and a changed capacity rescales nothing.
 * One word: u32 ms << 32 | i32 level, changed by compare-and-swap.
 *
 * Workers take chunks of at most max(cost, D/16384) and spend them locally, so
 * that one hot word is not fought over.  A chunk is debited before it is
 * spent: what a pool admits in any window T never exceeds
 * capacity x (T + 10 s).  A killed worker loses at most its chunk.
 */


#ifndef PRD_POOL_H_INCLUDED
#define PRD_POOL_H_INCLUDED


#include "prd_bucket.h"


#define PRD_POOL_DEPTH_S   5
#define PRD_POOL_FULL      ((int32_t) 1 << 30)
#define PRD_POOL_PER_MS    214748                 /* 2^30 / 5000 */
#define PRD_POOL_SUB       20                     /* Q50 = Q30 << 20 */

/*
 * A worker's chunk, D/16384 = 0.3 ms worth of capacity, and what the lower end
 * keeps back for the chunks of PRD_WORKERS of them: the bound holds with all
 * of them unspent.
 */
#define PRD_POOL_CHUNK     ((uint64_t) PRD_POOL_FULL >> 14)
#define PRD_POOL_EMPTY     (-(PRD_POOL_FULL - (PRD_POOL_FULL >> 8)))

#define PRD_TRUSTS         64                     /* trust index 0..63 */


/*
 * A node's part of a pool that many nodes share; in shared memory, all by
 * CAS or single stores, relaxed.  The pool's word is then what was last heard
 * of the whole pool's fill, and chunks are taken from `credit`: what the
 * store has debited for this node (prd_pool_grant).  With room a node may
 * overdraw it by PRD_POOL_OVERDRAFT, 80 ms of capacity; the next tick reports
 * that as debt.  So all nodes together admit at most
 * capacity x (T + 10 s) + nodes x (overdraft + chunks).
 *
 * Nothing heard until `until_ms`: each node goes on by itself with its share,
 * capacity / nodes, on the pool's word.  What it then took is debt when the
 * store is back, as far as it has not refilled since.
 */

#define PRD_POOL_OVERDRAFT  (PRD_POOL_FULL >> 6)

typedef struct {
    _Atomic int64_t   credit;         /* pool level; < 0: overdrawn */
    _Atomic int64_t   least;          /* how far it may be, <= 0 */
    _Atomic uint64_t  until_ms;       /* 1 << 32 | u32 ms; 0: never heard */
    prd_word_t        heard;          /* the fill then, where it was heard */
    _Atomic uint32_t  nodes;          /* alive, last known; 0 is taken for 1 */
} prd_pool_share_t;


/*
 * What a configuration says of a pool, in the forms that a request needs.
 * Filled by prd_pool_terms(), constant afterwards, in process memory.
 */

typedef struct {
    prd_rate_t   capacity;            /* 0: no pool */
    uint64_t     per_unit;            /* Q50 pool level per level unit */
    uint32_t     top;                 /* m with room; PRD_M_INF = unlimited */
    uint32_t     above;               /* min(top, 2) - 1, Q16 */
    uint32_t     speed_max;           /* max(2, top) of a finite top, Q16 */
    uint32_t     theta[PRD_TRUSTS];   /* reserve kept from the untrusted */
    uint32_t     scale[PRD_TRUSTS];   /* 1 / (1 - theta), Q16 */

    prd_pool_share_t  *share;         /* NULL: the pool is all ours */
} prd_pool_terms_t;


/*
 * capacity      > 0, or 0 for no pool (then m is always 1)
 * borrow_milli  0 = unlimited, 1000 = off, N * 1000
 * unit          level units per token
 */

void prd_pool_terms(prd_pool_terms_t *t, prd_rate_t capacity,
    uint32_t borrow_milli, uint32_t unit);


/* A full pool at now_ms. */

void prd_pool_init(prd_word_t *pool, uint32_t now_ms);

/* The level at now_ms, in [-2^30, 2^30].  A step back refills nothing. */

static inline int32_t
prd_pool_level(uint64_t word, uint32_t now_ms)
{
    int64_t   level;
    uint32_t  dt;

    dt = prd_elapsed(prd_word_ms(word), now_ms);
    level = (int32_t) prd_word_level(word);

    if (dt) {
        dt = prd_min(dt, 2 * PRD_POOL_DEPTH_S * 1000 + 1);
        level += (int64_t) dt * PRD_POOL_PER_MS;
    }

    return (int32_t) prd_min(level, PRD_POOL_FULL);
}


/*
 * m of a client with the given trust index at the given fill (Q16 in
 * [-65536, 65536]); *e (Q16) is the fill above the client's reserve, which
 * the class surge rule reads.
 */

static inline uint32_t
prd_pool_elasticity(const prd_pool_terms_t *t, int32_t fill, uint32_t trust,
    int32_t *e)
{
    int32_t  th;

    /* |fill| and theta / (1 - theta) are at most 1: 34 bits at most */
    th = (int32_t) t->theta[trust];

    if (fill >= 0) {
        *e = (int32_t) (((int64_t) (fill - th) * t->scale[trust]) >> 16);

    } else {
        *e = fill - (int32_t) (((int64_t) th * t->scale[trust]) >> 16);
    }

    if (*e > (int32_t) PRD_ONE_Q16 / 2) {
        return t->top;
    }

    if (*e >= 0) {
        return PRD_ONE_Q16
               + (uint32_t) (((uint64_t) t->above * 2 * (uint32_t) *e) >> 16);
    }

    return *e > -(int32_t) PRD_ONE_Q16 / 2 ? PRD_ONE_Q16 + 2 * *e : 0;
}


/*
 * Takes `cost` (level units) for one request.  *credit is the worker's own
 * part, Q50, starts at 0 and is kept per pool in process memory.
 *
 * PRD_OK, or PRD_DECLINED when the pool is at -D and stays as it was.  A cost
 * above the pool's whole range passes on a full pool only.
 */

prd_rc_t prd_pool_chunk(prd_word_t *pool, const prd_pool_terms_t *t,
    uint64_t *credit, uint32_t cost, uint32_t now_ms);

static inline prd_rc_t
prd_pool_take(prd_word_t *pool, const prd_pool_terms_t *t, uint64_t *credit,
    uint32_t cost, uint32_t now_ms)
{
    uint64_t  need;

    if (!__builtin_mul_overflow(t->per_unit, (uint64_t) cost, &need)
        && *credit >= need)
    {
        *credit -= need;
        return PRD_OK;
    }

    return prd_pool_chunk(pool, t, credit, cost, now_ms);
}

/* Is the store heard of?  Else this node lives on its share of the pool. */

static inline int
prd_pool_shared(const prd_pool_terms_t *t, uint32_t now_ms)
{
    uint64_t  until;

    until = atomic_load_explicit(&t->share->until_ms, memory_order_relaxed);

    return until && (int32_t) ((uint32_t) until - now_ms) > 0;
}


/*
 * One tick of a node's part: prd_pool_report() says what to send, and after
 * the reply prd_pool_grant() takes it in.  Both are for one caller at a time.
 *
 * The store keeps the level, and of each node what it holds.  It refills the
 * level by PRD_POOL_PER_MS, so that level and holdings are at most a full
 * pool, adds `returned`, takes `debt` off (to -2^30), and grants
 *
 * up to prd_pool_target(), at most room / nodes, where room = level + 2^30.
 * The fill is level + all holdings.
 */

typedef struct {
    int64_t   seen;                   /* credit after the last tick */
    int64_t   pace;                   /* spent in a tick, smoothed */
    int64_t   excess;                 /* to be returned with the next one */
    int64_t   late;                   /* the same, and not part of credit */
    int64_t   guard;                  /* of what the store may grant: a pool */
    uint32_t  heard_ms;
    unsigned  heard;                  /* 0: never */
    /* what is under way */
    int64_t   returned;
    int64_t   debt;
} prd_pool_tick_t;

typedef struct {
    int64_t   held;                   /* after `returned` was taken out */
    int64_t   returned;
    int64_t   debt;
    int64_t   pace;
} prd_pool_report_t;

void prd_pool_report(prd_word_t *pool, const prd_pool_terms_t *t,
    prd_pool_tick_t *tick, uint32_t now_ms, prd_pool_report_t *report);

/*
 * level    of the store after the grant, fill: with all that nodes hold
 * until    when the store counts as away if nothing else is heard
 *
 * The store is not trusted to mint: whatever it says, one node is granted at
 * most capacity x (T + 10 s) in any time T, and holds at most 2^30.
 */
void prd_pool_grant(prd_word_t *pool, const prd_pool_terms_t *t,
    prd_pool_tick_t *tick, int64_t grant, int64_t level, int64_t fill,
    uint32_t nodes, uint32_t now_ms, uint32_t until);

/*
 * No reply, or an error.  sent = 1: it may have been executed; then what was
 * returned is lost, and debt is not reported twice.
 */
void prd_pool_lost(const prd_pool_terms_t *t, prd_pool_tick_t *tick,
    unsigned sent);

/*
 * The reply to one that prd_pool_lost() was told of: what it grants goes back
 * with the next one.
 */
void prd_pool_late(prd_pool_tick_t *tick, int64_t grant);

/* What a node should hold: four ticks' worth, or its part of ample room. */

static inline int64_t
prd_pool_target(int64_t pace, int64_t level, uint32_t nodes)
{
    int64_t  room;

    room = (level + PRD_POOL_FULL) / 2 / (int64_t) (nodes ? nodes : 1);

    return prd_min(prd_max(4 * pace, room), PRD_POOL_FULL);
}

/* Gives back, or charges later (add < 0: a refund), clamped to [-D, D]. */

void prd_pool_adjust(prd_word_t *pool, const prd_pool_terms_t *t, int64_t add,
    uint32_t now_ms);


#endif /* PRD_POOL_H_INCLUDED */
