
/*
 * The clients of a zone: a lock-free two-choice table of 8-way buckets in
 * memory that processes share.  8-byte tags lie apart from 64-byte entries,
 * a bucket's tags in one cache line: 72 bytes a slot.  The tag is the keyed
 * hash of the client's key; its buckets follow from it.
 *
 * The first of them is near: in a region at the table's start that is small
 * enough for the second-level cache and TLB.  Who comes first lives there, so
 * that ten thousand clients of a zone laid out for a million are not spread
 * over a page each.  The others have two choices in the rest.
 *
 * Nobody locks.  A process may be killed between any two stores:
 *
 *   - A slot is claimed by CAS of its tag to a claim word, which names the
 *     claimer's pid and part of the key's hash, then reset, then published by
 *     CAS of the claim to the tag.  A claim left by a dead process is freed
 *     by whoever needs the slot, or by the sweep.
 *   - Two processes that insert the same key see each other: each claims
 *     first and looks at its buckets afterwards (sequentially consistent), so
 *     at least one sees the other's claim or tag; the higher slot gives way.
 *   - A stale reader may still charge a slot that has just been given to
 *     another client: one request, and never to its envelope, which carries
 *     the slot's generation.
 */


#ifndef PRD_TABLE_H_INCLUDED
#define PRD_TABLE_H_INCLUDED


#include "prd_envelope.h"


#define PRD_WAYS           8
#define PRD_CHOICES        3           /* buckets of a tag: near, and a pair */
#define PRD_NEAR           4096        /* most: 256 KB of tags and 2 MB of */
                                       /* entries, or an eighth of the table */
#define PRD_NO_SLOT        UINT32_MAX

/* tags: 0 free; 0xffff in the top 16 bits a claim; anything else a client */

#define PRD_TAG_FREE       0ull
#define PRD_TAG_CLAIM      0xffffull
#define prd_tag_is_claim(t)  ((t) >> 48 == PRD_TAG_CLAIM)


/*
 * One client, 64 bytes, a cache line.  Written by workers by CAS or atomic
 * add, relaxed unless said otherwise; the forecasting thread takes `demand`
 * and `counts` by exchange and writes `envelope` and `hold`.
 */

typedef struct {
    prd_word_t        state;          /* u32 ms | u32 level: the bucket */
    prd_word_t        envelope;       /* see prd_envelope.h; by CAS */
    prd_word_t        virtual_;       /* u32 ms | u32 backlog of a bucket */
                                      /* without limit: the demand */
    prd_word_t        demand;         /* u32 admitted cost | u32 peak backlog */
                                      /* in this bin */
    prd_word_t        counts;         /* u32 admitted requests | u32 cost */
                                      /* that its own limit refused, in */
                                      /* this bin; not in a zone with a */
                                      /* store */
    _Atomic uint32_t  refused;        /* since the slot was claimed */
    _Atomic uint32_t  hold;           /* mean charge, level units; 0 unknown */
    _Atomic uint32_t  parent;         /* part of the newcomer key's hash */
    _Atomic uint32_t  denied;         /* cost answered with 401 or 403: */
                                      /* teaches nothing; with a store see */
                                      /* prd_lease_inner.h */
    _Atomic uint16_t  hours;          /* closed active hours, published */
    _Atomic uint16_t  asked;          /* 256 + class of its last request; 0 */
                                      /* none: by workers, stored plainly */
    _Atomic uint32_t  spare;          /* in a zone with a store: cost that */
                                      /* was charged with `counts` */
} prd_entry_t;


/* Process-local view of a table: pointers into the shared memory. */

typedef struct {
    prd_word_t   *tags;               /* nbuckets * PRD_WAYS */
    prd_entry_t  *entries;            /* the same, and one more: overflow */
    uint32_t      nbuckets;           /* see prd_table_lay() */
    uint32_t      nears;              /* of them are near */
    uint32_t      pid;
    prd_rate_t    rate;               /* baseline, to tell who has drained */
    uint32_t      unit;               /* level units per token */

    /* is this process alive?  NULL: claims are never taken over */
    int         (*alive)(uint32_t pid);
} prd_table_t;


/* A key's hash as a tag: never free, never a claim. */

static inline uint64_t
prd_tag(uint64_t hash)
{
    if (__builtin_expect(hash >> 48 == PRD_TAG_CLAIM, 0)) {
        hash &= ~(1ull << 63);
    }

    return hash ? hash : 1;
}


/* Bytes of tags and of entries of a table of nbuckets. */

#define prd_table_tags_size(nbuckets)                                         \
    ((size_t) (nbuckets) * PRD_WAYS * sizeof(uint64_t))
#define prd_table_entries_size(nbuckets)                                      \
    (((size_t) (nbuckets) * PRD_WAYS + 1) * sizeof(prd_entry_t))


/* How many buckets there are, and how many of them are near. */

static inline void
prd_table_lay(prd_table_t *t, uint32_t nbuckets)
{
    t->nbuckets = nbuckets;
    t->nears = prd_min(nbuckets / PRD_WAYS, PRD_NEAR);
}


/*
 * The first slots of a tag's near bucket, and of its pair in the rest:
 * Lemire's multiply-shift, no division.
 */

static inline uint32_t
prd_table_near(const prd_table_t *t, uint64_t tag)
{
    return (uint32_t) (((tag >> 32) * t->nears) >> 32) * PRD_WAYS;
}


static inline void
prd_table_pair(const prd_table_t *t, uint64_t tag, uint32_t *first)
{
    uint32_t  a, b, n, near;

    near = t->nears;
    n = t->nbuckets - near;

    a = (uint32_t) (((tag & 0xffffffff) * n) >> 32);
    b = (uint32_t) (((tag * 0x9e3779b97f4a7c15ull >> 32) * n) >> 32);

    if (a == b && n > 1) {
        b = b + 1 < n ? b + 1 : 0;
    }

    first[0] = (near + a) * PRD_WAYS;
    first[1] = (near + b) * PRD_WAYS;
}


/*
 * The first slots of all, the near one first.  A table of few buckets has none
 * that are near: the first of the pair stands twice.
 */

static inline void
prd_table_buckets(const prd_table_t *t, uint64_t tag, uint32_t *first)
{
    prd_table_pair(t, tag, first + 1);

    first[0] = t->nears ? prd_table_near(t, tag) : first[1];
}


/*
 * A tag takes this way of a bucket if it is free: then its entry can be
 * fetched before its tag is known to be there.
 */

static inline uint32_t
prd_table_way(uint64_t tag)
{
    return (uint32_t) (tag >> 40) % PRD_WAYS;
}


/* Where most tags are, of as many clients as near slots. */

static inline uint32_t
prd_table_guess(const prd_table_t *t, uint64_t tag)
{
    return prd_table_near(t, tag) + prd_table_way(tag);
}


/* To be called as early as the tag is known. */

static inline void
prd_table_fetch(const prd_table_t *t, uint64_t tag)
{
    uint32_t  guess;

    guess = prd_table_guess(t, tag);

    __builtin_prefetch(&t->tags[guess]);
    prd_prefetch(&t->entries[guess]);
}


/*
 * The ways of a bucket that hold a tag, as bits: all are compared, since which
 * it is cannot be predicted.  Acquire: the fields of a slot were reset before
 * its tag was stored.
 */

static inline uint32_t
prd_table_ways(const prd_table_t *t, uint32_t first, uint64_t tag)
{
    uint32_t           i, ways;
    const prd_word_t  *tags;

    tags = t->tags + first;

#pragma GCC unroll 8
    for (i = 0, ways = 0; i < PRD_WAYS; i++) {
        ways |= (uint32_t) (atomic_load_explicit(&tags[i],
                                                 memory_order_acquire)
                            == tag) << i;
    }

    return ways;
}


/* Looks everywhere but where it is guessed. */
uint32_t prd_table_find_far(const prd_table_t *t, uint64_t tag);

/* The slot of a tag, or PRD_NO_SLOT.  Reads only. */

static inline uint32_t
prd_table_find(const prd_table_t *t, uint64_t tag)
{
    uint32_t  guess;

    guess = prd_table_guess(t, tag);

    if (__builtin_expect(atomic_load_explicit(&t->tags[guess],
                                              memory_order_acquire)
                         == tag, 1))
    {
        return guess;
    }

    return prd_table_find_far(t, tag);
}

/*
 * The slot of a tag that was not found: claims, resets and publishes one.
 *
 * Evicts in the tag's buckets only: drained newcomers, oldest first, then
 * the oldest newcomers; a known client (two closed active hours) only after
 * 24 h idle.
 *
 * PRD_OK        *slot is the tag's (possibly inserted by another meanwhile)
 * PRD_EFULL     no slot may be taken
 * PRD_EAGAIN    another process is inserting the same key and does not get on
 */
prd_rc_t prd_table_put(const prd_table_t *t, uint64_t tag, uint32_t now_ms,
    uint32_t *slot, unsigned *evicted, unsigned *inserted);

static inline prd_rc_t
prd_table_insert(const prd_table_t *t, uint64_t tag, uint32_t now_ms,
    uint32_t *slot, unsigned *evicted)
{
    unsigned  inserted;

    return prd_table_put(t, tag, now_ms, slot, evicted, &inserted);
}

/* Forgets a client. PRD_DECLINED: it was not there. */
prd_rc_t prd_table_remove(const prd_table_t *t, uint64_t tag);

/*
 * Frees claims of dead processes and clients idle for longer than idle_ms
 * (at most 24 days) in buckets [from, to).  Returns how many clients it freed.
 */
uint32_t prd_table_sweep(const prd_table_t *t, uint32_t from, uint32_t to,
    uint32_t now_ms, uint32_t idle_ms);

/*
 * Walks the whole table and checks what must hold when nobody writes: each
 * tag in one of its buckets, no tag twice, no claim.  Returns the number of
 * faults; *clients and *claims are counts.  For tests and the checker.
 */
uint32_t prd_table_check(const prd_table_t *t, uint32_t *clients,
    uint32_t *claims);


#endif /* PRD_TABLE_H_INCLUDED */
