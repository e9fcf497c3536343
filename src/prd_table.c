
/*
 * Two-choice table: a key whose near bucket has no room goes to the emptier of
 * two others (Azar, Broder, Karlin, Upfal 1994); with 8 ways no key is lost up
 * to a load of 0.7, where one choice loses keys at 0.5.
 */


#include "prd_table.h"


#define PRD_SPINS        2000
#define PRD_KNOWN_IDLE   (24 * 3600 * 1000u)


static uint32_t prd_table_victim(const prd_table_t *t, uint64_t tag,
    uint32_t *first, uint32_t now_ms, uint64_t *old);
static prd_rc_t prd_table_settle(const prd_table_t *t, uint32_t *first,
    uint64_t tag, uint32_t mine, uint32_t *slot);
static void prd_table_reset(const prd_table_t *t, uint32_t slot,
    uint32_t now_ms);


static inline uint64_t
prd_table_claim(const prd_table_t *t, uint64_t tag)
{
    /* 16 bits mark | 22 bits pid (Linux: at most 2^22) | 26 bits of the tag */

    return PRD_TAG_CLAIM << 48 | (uint64_t) (t->pid & 0x3fffff) << 26
           | (tag & 0x3ffffff);
}


static inline uint32_t
prd_table_claim_pid(uint64_t claim)
{
    return (uint32_t) (claim >> 26) & 0x3fffff;
}


static inline int
prd_table_claims(uint64_t word, uint64_t tag)
{
    return prd_tag_is_claim(word) && ((word ^ tag) & 0x3ffffff) == 0;
}


/* Not inlined: the callers are those of prd_table_find(), all hot. */

__attribute__((noinline)) uint32_t
prd_table_find_far(const prd_table_t *t, uint64_t tag)
{
    uint32_t  b, ways, first[PRD_CHOICES];

    first[0] = prd_table_near(t, tag);
    ways = prd_table_ways(t, first[0], tag);

    if (ways) {
        return first[0] + (uint32_t) __builtin_ctz(ways);
    }

    prd_table_pair(t, tag, first + 1);

    /* to be read: one of the two is somebody else's */

    __builtin_prefetch(&t->entries[first[1] + prd_table_way(tag)]);
    __builtin_prefetch(&t->entries[first[2] + prd_table_way(tag)]);
    __builtin_prefetch(&t->tags[first[2]]);

    for (b = 1; b < PRD_CHOICES; b++) {

        ways = prd_table_ways(t, first[b], tag);

        if (ways) {
            return first[b] + (uint32_t) __builtin_ctz(ways);
        }
    }

    return PRD_NO_SLOT;
}


prd_rc_t
prd_table_put(const prd_table_t *t, uint64_t tag, uint32_t now_ms,
    uint32_t *slot, unsigned *evicted, unsigned *inserted)
{
    uint32_t  first[PRD_CHOICES], mine, tries, other;
    uint64_t  old, claim;
    prd_rc_t  rc;

    prd_table_buckets(t, tag, first);
    claim = prd_table_claim(t, tag);
    *evicted = *inserted = 0;

    for (tries = 0; tries < 4; tries++) {

        /* somebody else may have inserted it, or be about to */

        rc = prd_table_settle(t, first, tag, PRD_NO_SLOT, slot);

        if (rc != PRD_DECLINED) {
            return rc;
        }

        mine = prd_table_victim(t, tag, first, now_ms, &old);

        if (mine == PRD_NO_SLOT) {
            return PRD_EFULL;
        }

        if (!atomic_compare_exchange_strong(&t->tags[mine], &old, claim)) {
            continue;
        }

        /* gone, even if we give way */
        *evicted += old != PRD_TAG_FREE && !prd_tag_is_claim(old);

        /* claimed: now look whether we are alone (seq_cst after seq_cst) */

        rc = prd_table_settle(t, first, tag, mine, &other);

        if (rc != PRD_DECLINED) {
            old = claim;
            (void) atomic_compare_exchange_strong(&t->tags[mine], &old,
                                                  PRD_TAG_FREE);
            if (rc == PRD_OK) {
                *slot = other;
                return PRD_OK;
            }

            if (rc == PRD_ESTALE) {
                continue;             /* we gave way; see who comes out */
            }

            return rc;
        }

        prd_table_reset(t, mine, now_ms);

        old = claim;

        if (!atomic_compare_exchange_strong(&t->tags[mine], &old, tag)) {
            continue;                 /* we slept so long that it was freed */
        }

        *slot = mine;
        *inserted = 1;
        return PRD_OK;
    }

    return PRD_EAGAIN;
}


/*
 * Looks for the tag, or for claims on it, in its buckets; `mine` is our own
 * claimed slot or PRD_NO_SLOT.
 *
 * PRD_OK        published; *slot
 * PRD_DECLINED  nobody has it
 * PRD_ESTALE    a claim in a lower slot than ours: give way
 * PRD_EAGAIN    a claim of a living process that does not get on
 */

static prd_rc_t
prd_table_settle(const prd_table_t *t, uint32_t *first, uint64_t tag,
    uint32_t mine, uint32_t *slot)
{
    uint32_t  b, i, s, spins;
    uint64_t  word;

    for (spins = 0; spins < PRD_SPINS; spins++) {
        word = 0;

        for (b = 0; b < PRD_CHOICES; b++) {
            for (i = 0; i < PRD_WAYS; i++) {
                s = first[b] + i;

                if (s == mine) {
                    continue;
                }

                word = atomic_load(&t->tags[s]);

                if (word == tag) {
                    *slot = s;
                    return PRD_OK;
                }

                if (prd_table_claims(word, tag)) {
                    goto claimed;
                }
            }
        }

        return PRD_DECLINED;

    claimed:

        if (mine != PRD_NO_SLOT && s < mine) {
            return PRD_ESTALE;
        }

#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif

        /* a system call, so only when it has gone on for too long */

        if (spins % 256 == 255 && t->alive
            && !t->alive(prd_table_claim_pid(word)))
        {
            (void) atomic_compare_exchange_strong(&t->tags[s], &word,
                                                  PRD_TAG_FREE);
        }
    }

    return PRD_EAGAIN;
}


/* The slot to take: a free one, near or of the emptier bucket; a victim. */

static uint32_t
prd_table_victim(const prd_table_t *t, uint64_t tag, uint32_t *first,
    uint32_t now_ms, uint64_t *old)
{
    uint32_t      b, i, s, way, idle, seen, best, rank, best_rank, best_idle;
    uint32_t      nfree[PRD_CHOICES], at[PRD_CHOICES];
    uint64_t      word, state, env;
    prd_entry_t  *e;

    memset(nfree, 0, sizeof(nfree));
    at[0] = at[1] = at[2] = best = PRD_NO_SLOT;
    best_rank = best_idle = 0;
    way = prd_table_way(tag);
    *old = PRD_TAG_FREE;

    for (b = 0; b < PRD_CHOICES; b++) {
        for (i = 0; i < PRD_WAYS; i++) {
            s = first[b] + i;
            word = atomic_load_explicit(&t->tags[s], memory_order_relaxed);

            if (word == PRD_TAG_FREE) {
                nfree[b]++;
                at[b] = at[b] == PRD_NO_SLOT || i == way ? s : at[b];
            }
        }
    }

    if (nfree[0]) {
        return at[0];
    }

    if (nfree[1] || nfree[2]) {
        return nfree[2] > nfree[1] ? at[2] : at[1];
    }

    for (b = 0; b < PRD_CHOICES; b++) {
        for (i = 0; i < PRD_WAYS; i++) {
            s = first[b] + i;
            word = atomic_load_explicit(&t->tags[s], memory_order_relaxed);

            if (prd_tag_is_claim(word)) {

                if (t->alive && !t->alive(prd_table_claim_pid(word))) {
                    *old = word;
                    return s;
                }

                continue;
            }

            e = &t->entries[s];
            state = atomic_load_explicit(&e->state, memory_order_relaxed);
            env = atomic_load_explicit(&e->envelope, memory_order_relaxed);

            /* the later of its last admission and its last request */

            idle = prd_elapsed(prd_word_ms(state), now_ms);
            seen = prd_elapsed(prd_word_ms(
                       atomic_load_explicit(&e->virtual_,
                                            memory_order_relaxed)), now_ms);
            idle = prd_min(idle, seen);

            if (prd_env_known(env)) {
                rank = idle > PRD_KNOWN_IDLE ? 1 : 0;

            } else if (prd_word_level(state) == 0
                       || prd_level_after(prd_word_level(state),
                              prd_max(t->rate, prd_env_decode(
                                                   prd_env_rate_code(env))),
                              PRD_ONE_Q16, prd_word_ms(state), idle,
                              t->unit) == 0)
            {
                rank = 3;

            } else {
                rank = 2;
            }

            if (rank && (rank > best_rank
                         || (rank == best_rank && idle > best_idle)))
            {
                best = s;
                best_rank = rank;
                best_idle = idle;
                *old = word;
            }
        }
    }

    return best;
}


/*
 * Fresh fields under our claim.  The envelope goes first: its generation is
 * what keeps the thread from publishing the former client's.
 */

static void
prd_table_reset(const prd_table_t *t, uint32_t slot, uint32_t now_ms)
{
    uint64_t      env;
    prd_entry_t  *e;

    e = &t->entries[slot];

    env = atomic_load_explicit(&e->envelope, memory_order_relaxed);

    while (!atomic_compare_exchange_weak(&e->envelope, &env,
               prd_env((prd_env_generation(env) + 1) & 0xffff, 0, 0, 0)))
    {
        /* void */
    }

    atomic_store_explicit(&e->state, prd_word(now_ms, 0),
                          memory_order_relaxed);
    atomic_store_explicit(&e->virtual_, prd_word(now_ms, 0),
                          memory_order_relaxed);
    atomic_store_explicit(&e->demand, 0, memory_order_relaxed);
    atomic_store_explicit(&e->counts, 0, memory_order_relaxed);
    atomic_store_explicit(&e->refused, 0, memory_order_relaxed);
    atomic_store_explicit(&e->hold, 0, memory_order_relaxed);
    atomic_store_explicit(&e->parent, 0, memory_order_relaxed);
    atomic_store_explicit(&e->denied, 0, memory_order_relaxed);
    atomic_store_explicit(&e->hours, 0, memory_order_relaxed);
    atomic_store_explicit(&e->asked, 0, memory_order_relaxed);
    atomic_store_explicit(&e->spare, 0, memory_order_release);
}


prd_rc_t
prd_table_remove(const prd_table_t *t, uint64_t tag)
{
    uint32_t  slot;

    slot = prd_table_find(t, tag);

    if (slot == PRD_NO_SLOT) {
        return PRD_DECLINED;
    }

    return atomic_compare_exchange_strong(&t->tags[slot], &tag, PRD_TAG_FREE)
           ? PRD_OK : PRD_DECLINED;
}


uint32_t
prd_table_sweep(const prd_table_t *t, uint32_t from, uint32_t to,
    uint32_t now_ms, uint32_t idle_ms)
{
    uint32_t      s, n, idle, seen;
    uint64_t      word;
    prd_entry_t  *e;

    n = 0;

    for (s = from * PRD_WAYS; s < to * PRD_WAYS; s++) {
        word = atomic_load_explicit(&t->tags[s], memory_order_relaxed);

        if (word == PRD_TAG_FREE) {
            continue;
        }

        if (prd_tag_is_claim(word)) {

            if (t->alive && !t->alive(prd_table_claim_pid(word))) {
                (void) atomic_compare_exchange_strong(&t->tags[s], &word,
                                                      PRD_TAG_FREE);
            }

            continue;
        }

        e = &t->entries[s];
        idle = now_ms - prd_word_ms(atomic_load_explicit(&e->state,
                                                memory_order_relaxed));
        seen = now_ms - prd_word_ms(atomic_load_explicit(&e->virtual_,
                                                memory_order_relaxed));

        if ((int32_t) prd_min(idle, seen) < 0
            || prd_min(idle, seen) <= idle_ms)
        {
            continue;
        }

        if (atomic_compare_exchange_strong(&t->tags[s], &word, PRD_TAG_FREE)) {
            n++;
        }
    }

    return n;
}


uint32_t
prd_table_check(const prd_table_t *t, uint32_t *clients, uint32_t *claims)
{
    uint32_t  s, i, b, n, faults, first[PRD_CHOICES];
    uint64_t  word;

    n = faults = 0;
    *claims = 0;

    for (s = 0; s < t->nbuckets * PRD_WAYS; s++) {
        word = atomic_load(&t->tags[s]);

        if (word == PRD_TAG_FREE) {
            continue;
        }

        if (prd_tag_is_claim(word)) {
            (*claims)++;
            continue;
        }

        n++;
        prd_table_buckets(t, word, first);

        if (s - first[0] >= PRD_WAYS && s - first[1] >= PRD_WAYS
            && s - first[2] >= PRD_WAYS)
        {
            faults++;
            continue;
        }

        for (b = 0; b < PRD_CHOICES; b++) {

            if (b && first[b] == first[b - 1]) {
                continue;
            }

            for (i = 0; i < PRD_WAYS; i++) {
                faults += first[b] + i > s
                          && atomic_load(&t->tags[first[b] + i]) == word;
            }
        }
    }

    *clients = n;

    return faults;
}
