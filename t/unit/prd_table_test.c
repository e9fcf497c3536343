
/*
 * The table by one process: who gets a slot, who loses it, what the dead have
 * left behind.  Threads and kills are in tsan_table_test.c and
 * crash_table_test.c.
 */


#include "lab.h"


#define NOW   3000000000u                /* of 2^32: ages go over no wrap */
#define DAY   86400000u
#define DEAD  4000u
#define MANY  1000000u


typedef struct {
    prd_table_t  t;
    void        *mem;
} table_t;


static table_t
table(uint32_t nbuckets)
{
    table_t  a;
    size_t   tags, entries;

    memset(&a, 0, sizeof(table_t));

    tags = prd_table_tags_size(nbuckets);
    entries = prd_table_entries_size(nbuckets);

    a.mem = aligned_alloc(64, tags + entries);
    memset(a.mem, 0, tags + entries);

    a.t.tags = a.mem;
    a.t.entries = (prd_entry_t *) ((char *) a.mem + tags);
    prd_table_lay(&a.t, nbuckets);
    a.t.pid = 7;
    a.t.rate = PRD_RATE_ONE;
    a.t.unit = PRD_MILLI;
    a.t.alive = lab_alive;

    return a;
}


static uint64_t
claim_of(uint32_t pid, uint64_t tag)
{
    return PRD_TAG_CLAIM << 48 | (uint64_t) pid << 26 | (tag & 0x3ffffff);
}


static void
load(void)
{
    table_t    a;
    uint32_t   i, n, slot, clients, claims, full, wrong, first[PRD_CHOICES];
    uint64_t   seed;
    unsigned   evicted, lost;

    a = table(MANY / PRD_WAYS);
    n = MANY / 100 * 65;
    full = lost = wrong = 0;
    seed = lab_state;

    for (i = 0; i < n; i++) {
        evicted = 0;
        full += prd_table_insert(&a.t, prd_tag(lab_random()), NOW, &slot,
                                 &evicted)
                != PRD_OK;
        lost += evicted;
    }

    is_int(full, 0, "load 0.65 of a million slots: all get one");
    is_int(lost, 0, "nobody loses one");
    is_int(prd_table_check(&a.t, &clients, &claims), 0, "no fault");
    is_int(clients, n, "all are there");
    is_int(claims, 0, "no claim is left");

    lab_state = seed;

    for (i = full = 0; i < n; i++) {
        uint64_t  tag = prd_tag(lab_random());

        slot = prd_table_find(&a.t, tag);
        prd_table_buckets(&a.t, tag, first);
        full += slot == PRD_NO_SLOT;
        wrong += slot - first[0] >= PRD_WAYS && slot - first[1] >= PRD_WAYS
                 && slot - first[2] >= PRD_WAYS;
        wrong += slot < MANY && atomic_load(&a.t.tags[slot]) != tag;
    }

    is_int(full, 0, "each is found");
    is_int(wrong, 0, "in one of its buckets");

    for (i = full = 0; i < 100000; i++) {
        full += prd_table_find(&a.t, prd_tag(lab_random())) != PRD_NO_SLOT;
    }

    is_int(full, 0, "strangers are not");

    /* up to 0.7: ideal choices lose a key in every fourth run of 50,000 */

    for (i = full = 0; i < 50000; i++) {
        evicted = 0;
        full += prd_table_insert(&a.t, prd_tag(lab_random()), NOW, &slot,
                                 &evicted)
                != PRD_OK;
        lost += evicted;
    }

    ok(full == 0 && lost <= 4, "load 0.7: %u of 700,000 lost", lost);

    free(a.mem);
}


/* As long as there is room, nobody lives far away. */

static void
near(void)
{
    table_t   a;
    uint32_t  i, n, most, slot, far, kept, guessed;
    unsigned  evicted;
    uint64_t  seed, tag;

    a = table(100000);
    n = PRD_NEAR * PRD_WAYS;
    seed = lab_state;
    slot = most = far = kept = guessed = 0;

    for (i = 0; i < n / 4; i++) {
        tag = prd_tag(lab_random());
        prd_table_insert(&a.t, tag, NOW, &slot, &evicted);
        most = prd_max(most, slot);
        far += slot >= n;
        guessed += slot == prd_table_guess(&a.t, tag);
    }

    ok(far < n / 4 / 100, "of %u clients %u live far", n / 4, far);
    ok(guessed > n / 4 / 100 * 80, "%u where they are looked for first",
       guessed);

    for (i = 0; i < 300000; i++) {
        prd_table_insert(&a.t, prd_tag(lab_random()), NOW, &slot, &evicted);
        most = prd_max(most, slot);
    }

    ok(most > n * 20, "many fill the table");

    lab_state = seed;

    for (i = 0; i < n / 4 + 300000; i++) {
        kept += prd_table_find(&a.t, prd_tag(lab_random())) != PRD_NO_SLOT;
    }

    is_int(kept, n / 4 + 300000, "and all are found");

    free(a.mem);
}


static void
tags(void)
{
    uint32_t     i, n, wrong, first[PRD_CHOICES];
    prd_table_t  t;

    is_int(prd_tag(0), 1, "no tag is the free one");
    ok(!prd_tag_is_claim(prd_tag(UINT64_MAX)), "nor a claim");
    is_int(prd_tag(0x1234567890abcdefll), 0x1234567890abcdefll,
           "others are the hash");
    ok(prd_tag(0xffff000000000000ull) != 0, "nor free by being no claim");

    memset(&t, 0, sizeof(prd_table_t));

    for (n = 1, wrong = 0; n < 2000; n++) {
        prd_table_lay(&t, n < 1990 ? n : UINT32_MAX / PRD_WAYS - 1);

        for (i = 0; i < 100; i++) {
            prd_table_buckets(&t, i ? prd_tag(lab_random())
                                    : 0xffffffffffffffffull, first);
            wrong += first[0] / PRD_WAYS >= t.nbuckets
                     || first[1] / PRD_WAYS >= t.nbuckets
                     || first[2] / PRD_WAYS >= t.nbuckets
                     || (t.nbuckets > 1 && first[1] == first[2])
                     || (n >= PRD_WAYS && (first[0] >= first[1]
                                           || first[0] >= first[2]));
        }
    }

    is_int(wrong, 0, "one near and two different others, inside the table");
}


/* Sixteen slots, a pair of buckets for every tag. */

typedef struct {
    uint32_t  level;
    uint32_t  admitted;                  /* idle since, ms */
    uint32_t  seen;
    uint32_t  hours;
    double    rate;                      /* learned, tokens/s; 0 = none */
} client_t;


/* Of so many hours; `less`: trusted less for the moment, but known. */

static uint32_t
trust(uint32_t hours, int less)
{
    prd_learned_t  l;

    memset(&l, 0, sizeof(prd_learned_t));
    l.hours = (uint16_t) hours;
    l.cap_depth = 1;

    return prd_learned_trust(&l, less ? 100 : 0);
}


static void
fill(table_t *a, client_t *c)
{
    uint32_t      i, s;
    prd_entry_t  *e;

    for (i = 0; i < 2 * PRD_WAYS; i++) {
        s = i;
        e = &a->t.entries[s];

        atomic_store(&a->t.tags[s], 1000 + i);
        atomic_store(&e->state, prd_word(NOW - c[i].admitted, c[i].level));
        atomic_store(&e->virtual_, prd_word(NOW - c[i].seen, c[i].level));
        atomic_store(&e->hours, c[i].hours);
        atomic_store(&e->envelope,
            prd_env(i, trust(c[i].hours, i & 1),
                    prd_env_encode((uint64_t) (c[i].rate * 1e9)),
                    c[i].rate > 0 ? 2000 : 0));
    }
}


/* Who goes: the contract's words; -1: nobody may. */

static int
rank_of(const client_t *c, uint32_t *idle)
{
    double  rate;

    *idle = prd_min(c->admitted, c->seen);

    if (c->hours >= 2) {
        return *idle > DAY ? 1 : 0;
    }

    rate = prd_max(1.0, c->rate);

    return c->level <= floor(rate * *idle + 1e-6) ? 3 : 2;
}


static void
evictions(void)
{
    int        n, i, best, rank, r, wrong;
    table_t    a;
    client_t   c[2 * PRD_WAYS];
    uint32_t   slot, idle, most, seen[4];
    unsigned   evicted;
    uint64_t   tag, env;
    prd_rc_t   rc;

    a = table(2);
    wrong = 0;
    memset(seen, 0, sizeof(seen));

    for (n = 0; n < 20000; n++) {
        int  known = (int) lab_below(4), drained = (int) lab_below(3);

        for (i = 0; i < 2 * PRD_WAYS; i++) {
            c[i].admitted = (uint32_t) lab_magnitude(3 * DAY);
            c[i].seen = lab_below(2) ? c[i].admitted
                                     : (uint32_t) lab_below(c[i].admitted);
            c[i].hours = known == 0 || lab_below(4) == 0
                         ? 2 + (uint32_t) lab_below(100)
                         : (uint32_t) lab_below(2);
            c[i].hours = known == 3 ? 0 : c[i].hours;
            c[i].rate = lab_below(2) ? 0 : lab_uniform() * 20;
            c[i].level = drained == 0 && lab_below(2) ? 0
                         : drained == 1 ? 4000000000u
                                        : (uint32_t) lab_magnitude(100000000);
        }

        fill(&a, c);

        best = rank = 0;
        most = 0;

        for (i = 0; i < 2 * PRD_WAYS; i++) {
            r = rank_of(&c[i], &idle);

            if (r > rank || (r && r == rank && idle > most)) {
                rank = r;
                best = i;
                most = idle;
            }
        }

        seen[rank]++;
        tag = prd_tag(lab_random());
        evicted = 0;
        slot = 77;
        env = atomic_load(&a.t.entries[best].envelope);
        rc = prd_table_insert(&a.t, tag, NOW, &slot, &evicted);

        if (rank == 0) {
            wrong += rc != PRD_EFULL || evicted || slot != 77;

        } else {
            rank_of(&c[slot], &idle);
            wrong += rc != PRD_OK || !evicted
                     || ((int) slot != best
                         && (idle != most
                             || rank_of(&c[slot], &idle) != rank));
            wrong += prd_table_find(&a.t, tag) != slot;
            wrong += (int) slot == best
                     && prd_env_generation(atomic_load(
                                            &a.t.entries[slot].envelope))
                        != ((prd_env_generation(env) + 1) & 0xffff);
        }

        if (wrong) {
            ok(0, "round %d: rank %d slot %d expected, got %d, slot %u", n,
               rank, best, rc, slot);
            break;
        }
    }

    is_int(wrong, 0, "who has to go");
    ok(seen[0] > 100 && seen[1] > 100 && seen[2] > 100 && seen[3] > 100,
       "of nobody %u, the known %u, newcomers %u, the drained %u", seen[0],
       seen[1], seen[2], seen[3]);

    free(a.mem);
}


static void
known_are_kept(void)
{
    int       i, n;
    table_t   a;
    client_t  c[2 * PRD_WAYS];
    uint32_t  slot;
    unsigned  evicted;

    a = table(2);
    slot = 0;

    for (i = 0; i < 2 * PRD_WAYS; i++) {
        memset(&c[i], 0, sizeof(client_t));
        c[i].hours = 2;
        c[i].admitted = c[i].seen = DAY;
    }

    fill(&a, c);

    for (i = n = 0; i < 1000; i++) {
        n += prd_table_insert(&a.t, prd_tag(lab_random()), NOW, &slot,
                              &evicted)
             != PRD_EFULL;
    }

    is_int(n, 0, "nobody takes the place of the known for 24 h");

    is_int(prd_table_insert(&a.t, 99999, NOW + 1, &slot, &evicted), PRD_OK,
           "a millisecond later somebody may");

    /* one who is refused all the time is not idle */

    fill(&a, c);

    for (i = 0; i < 2 * PRD_WAYS; i++) {
        atomic_store(&a.t.entries[i].virtual_, prd_word(NOW, 5000));
        atomic_store(&a.t.entries[i].state, prd_word(NOW - 3 * DAY, 5000));
    }

    is_int(prd_table_insert(&a.t, 99999, NOW, &slot, &evicted), PRD_EFULL,
           "a refused request is a sign of life");

    free(a.mem);
}


static void
reset(void)
{
    table_t       a;
    uint32_t      slot;
    unsigned      evicted;
    uint64_t      i;
    prd_entry_t  *e;

    a = table(1);

    for (i = 0; i < PRD_WAYS; i++) {
        e = &a.t.entries[i];
        memset((void *) e, 0xee, sizeof(prd_entry_t));
        atomic_store(&e->hours, 0);
        atomic_store(&e->envelope, prd_env(0xffff, 5, 77, 88));
    }

    evicted = 9;
    is_int(prd_table_insert(&a.t, 42, NOW, &slot, &evicted), PRD_OK,
           "a fresh slot");
    is_int(evicted, 0, "nobody was evicted");

    e = &a.t.entries[slot];
    is_int(atomic_load(&e->envelope), 0, "its generation wraps; its envelope "
           "is empty");
    is_int(atomic_load(&e->state), prd_word(NOW, 0), "its bucket is, now");
    is_int(atomic_load(&e->virtual_), prd_word(NOW, 0), "demand");
    is_int(atomic_load(&e->demand) | atomic_load(&e->counts)
           | atomic_load(&e->refused) | atomic_load(&e->hold)
           | atomic_load(&e->parent) | atomic_load(&e->denied)
           | atomic_load(&e->hours), 0, "and all the rest");

    i = slot;
    is_int(prd_table_insert(&a.t, 42, NOW, &slot, &evicted), PRD_OK, "again");
    is_int(slot, i, "the same one");
    is_int(prd_env_generation(atomic_load(&e->envelope)), 0,
           "and the same generation");

    is_int(prd_table_remove(&a.t, 42), PRD_OK, "removed");
    is_int(prd_table_find(&a.t, 42), PRD_NO_SLOT, "gone");
    is_int(prd_table_remove(&a.t, 42), PRD_DECLINED, "not there");

    is_int(prd_table_insert(&a.t, 42, NOW, &slot, &evicted), PRD_OK, "anew");
    is_int(prd_env_generation(atomic_load(&a.t.entries[slot].envelope)),
           slot == i ? 1 : 0, "with another generation");

    free(a.mem);
}


static void
claims(void)
{
    int          i, n;
    table_t      a;
    client_t     c[2 * PRD_WAYS];
    uint32_t     slot, clients, left;
    unsigned     evicted;
    prd_table_t  t;

    a = table(2);

    for (i = 0; i < 2 * PRD_WAYS; i++) {
        memset(&c[i], 0, sizeof(client_t));
        c[i].hours = 5;
        c[i].level = 1000;
    }

    /* a dead process's claim is as good as a free slot */

    fill(&a, c);
    atomic_store(&a.t.tags[5], claim_of(DEAD, 5));
    evicted = 0;
    is_int(prd_table_insert(&a.t, 4242, NOW, &slot, &evicted), PRD_OK,
           "a dead process's claim is taken over");
    is_int(slot, 5, "that slot");
    is_int(evicted, 0, "no client was evicted by that");

    /* a living one's is not */

    fill(&a, c);
    atomic_store(&a.t.tags[5], claim_of(8, 5));
    is_int(prd_table_insert(&a.t, 4242, NOW, &slot, &evicted), PRD_EFULL,
           "a living one's is not");

    /* nor any, where nobody can tell */

    t = a.t;
    t.alive = NULL;
    atomic_store(&a.t.tags[5], claim_of(DEAD, 5));
    is_int(prd_table_insert(&t, 4242, NOW, &slot, &evicted), PRD_EFULL,
           "nor any, where nobody can tell the dead");

    /* the same key: wait for the living, at most for so long */

    fill(&a, c);
    atomic_store(&a.t.tags[3], claim_of(8, 4242));
    c[0].hours = 0;
    atomic_store(&a.t.entries[0].hours, 0);
    atomic_store(&a.t.entries[0].envelope, 0);
    is_int(prd_table_insert(&a.t, 4242, NOW, &slot, &evicted), PRD_EAGAIN,
           "the same key, claimed by one who does not get on");
    is_int(prd_table_check(&a.t, &clients, &left), 0, "no fault");
    is_int(left, 1, "no claim of ours is left");
    is_int(clients, 2 * PRD_WAYS - 1, "and no client was lost");

    /* the dead: not */

    atomic_store(&a.t.tags[3], claim_of(DEAD, 4242));
    is_int(prd_table_insert(&a.t, 4242, NOW, &slot, &evicted), PRD_OK,
           "the same key, claimed by a dead process");
    is_int(prd_table_find(&a.t, 4242), slot, "is inserted");
    prd_table_check(&a.t, &clients, &left);
    is_int(left, 0, "the claim is gone");

    /* every pid that Linux has */

    c[0].hours = 5;

    for (i = n = 0; i < 22; i++) {
        fill(&a, c);
        atomic_store(&a.t.tags[9], claim_of(1u << i | 1, 5));
        n += prd_table_insert(&a.t, 4242, NOW, &slot, &evicted)
             != ((1u << i | 1) < 1000 ? PRD_EFULL : PRD_OK);
    }

    is_int(n, 0, "pids of 22 bits");

    /* the sweep */

    fill(&a, c);
    atomic_store(&a.t.tags[2], claim_of(DEAD, 5));
    atomic_store(&a.t.tags[12], claim_of(DEAD + 1, 5));
    atomic_store(&a.t.tags[13], claim_of(8, 5));
    is_int(prd_table_sweep(&a.t, 0, 1, NOW, DAY), 0, "swept: no client");
    is_int(atomic_load(&a.t.tags[2]), PRD_TAG_FREE, "a dead claim is free");
    ok(atomic_load(&a.t.tags[12]) != PRD_TAG_FREE, "not beyond the range");
    prd_table_sweep(&a.t, 1, 2, NOW, DAY);
    is_int(atomic_load(&a.t.tags[12]), PRD_TAG_FREE, "now");
    is_int(atomic_load(&a.t.tags[13]), claim_of(8, 5),
           "a living process's claim stays");

    free(a.mem);
}


static void
sweep(void)
{
    int       i, n, wrong;
    table_t   a;
    client_t  c[2 * PRD_WAYS];
    uint32_t  idle, expect;

    a = table(2);
    wrong = 0;

    for (n = 0; n < 2000; n++) {
        expect = 0;

        for (i = 0; i < 2 * PRD_WAYS; i++) {
            memset(&c[i], 0, sizeof(client_t));
            c[i].admitted = (uint32_t) lab_below(24 * DAY);
            c[i].seen = (uint32_t) lab_below(24 * DAY);
            c[i].hours = (uint32_t) lab_below(9);
        }

        /* at the limit, and clocks of the future */

        c[3].admitted = c[3].seen = 20 * DAY;
        c[4].admitted = c[4].seen = 20 * DAY + 1;
        c[5].admitted = c[5].seen = (uint32_t) -5000;
        c[6].admitted = (uint32_t) -5000;

        fill(&a, c);

        for (i = 0; i < 2 * PRD_WAYS; i++) {
            idle = prd_min(c[i].admitted, c[i].seen);
            expect += idle > 20 * DAY && (int32_t) idle > 0;
        }

        wrong += prd_table_sweep(&a.t, 0, 2, NOW, 20 * DAY) != expect;
        wrong += atomic_load(&a.t.tags[3]) == PRD_TAG_FREE;
        wrong += atomic_load(&a.t.tags[4]) != PRD_TAG_FREE;
        wrong += atomic_load(&a.t.tags[5]) == PRD_TAG_FREE;
        wrong += prd_table_sweep(&a.t, 0, 2, NOW, 20 * DAY) != 0;
    }

    is_int(wrong, 0, "the sweep frees who has been idle for longer");

    free(a.mem);
}


static void
faults(void)
{
    table_t   a;
    uint32_t  b, i, slot, clients, left, first[PRD_CHOICES], other;
    uint64_t  tag;
    unsigned  evicted;

    a = table(64);

    for (i = 0; i < 200; i++) {
        prd_table_insert(&a.t, prd_tag(lab_random()), NOW, &slot, &evicted);
    }

    is_int(prd_table_check(&a.t, &clients, &left), 0, "nothing wrong yet");
    is_int(clients, 200, "200 clients");

    tag = prd_tag(lab_random());
    prd_table_buckets(&a.t, tag, first);

    other = 0;

    while (other - first[0] < PRD_WAYS || other - first[1] < PRD_WAYS
           || other - first[2] < PRD_WAYS || atomic_load(&a.t.tags[other]))
    {
        other++;
    }

    atomic_store(&a.t.tags[other], tag);
    is_int(prd_table_check(&a.t, &clients, &left), 1,
           "a tag in a bucket that is not its own");
    atomic_store(&a.t.tags[other], 0);

    /* room in each of its buckets */

    for (b = 0; b < PRD_CHOICES; b++) {
        atomic_store(&a.t.tags[first[b] + 6], 0);
        atomic_store(&a.t.tags[first[b] + 7], 0);
    }

    prd_table_insert(&a.t, tag, NOW, &slot, &evicted);

    for (b = 0; b < PRD_CHOICES; b++) {
        i = first[b] + (first[b] + 6 == slot ? 7 : 6);

        atomic_store(&a.t.tags[i], tag);
        is_int(prd_table_check(&a.t, &clients, &left), 1,
               "a tag twice, the second in its bucket %u", b);
        atomic_store(&a.t.tags[i], 0);
    }

    atomic_store(&a.t.tags[other], claim_of(8, 1));
    is_int(prd_table_check(&a.t, &clients, &left), 0, "a claim is no fault");
    is_int(left, 1, "but counted");
    atomic_store(&a.t.tags[other], 0);

    is_int(prd_table_check(&a.t, &clients, &left), 0, "nothing is wrong");

    free(a.mem);
}


int
main(void)
{
    near();
    tags();
    load();
    evictions();
    known_are_kept();
    reset();
    claims();
    sweep();
    faults();

    return done_testing();
}
