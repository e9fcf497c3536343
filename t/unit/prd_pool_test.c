
/*
 * The pool: elasticity against the formulas in doubles, the level's bounds,
 * and what it admits in any window, of one worker and of sixty-four.
 */


#include "lab.h"


#define CREDITS  64


typedef struct {
    double      y;                       /* tokens above capacity x T */
    double      most;
    double      total;
    double      last_s;
} meter_t;


/* The most that any window has admitted above capacity x T, in tokens. */

static void
meter(meter_t *m, double rate, double now_s, double tokens)
{
    if (now_s > m->last_s) {
        m->y = prd_max(m->y - rate * (now_s - m->last_s), 0);
        m->last_s = now_s;
    }

    m->y += tokens;
    m->total += tokens;
    m->most = prd_max(m->most, m->y);
}


static void
elasticity(void)
{
    int32_t           fill, e;
    uint32_t          m, was, i, trust;
    double            f, th, de, dm, top, worst, worst_e;
    unsigned          n, falls, untrusted;
    prd_pool_terms_t  t;

    static const uint32_t  borrow[] = { 0, 1000, 1250, 2000, 4000, 1000000 };

    for (i = 0; i < sizeof(borrow) / sizeof(borrow[0]); i++) {
        prd_pool_terms(&t, 100 * PRD_RATE_ONE, borrow[i], PRD_MILLI);

        top = borrow[i] ? borrow[i] / 1000.0 : INFINITY;
        worst = worst_e = 0;
        n = falls = untrusted = 0;

        for (trust = 0; trust < PRD_TRUSTS; trust++) {
            was = 0;

            for (fill = -65536; fill <= 65536; fill += 64) {
                m = prd_pool_elasticity(&t, fill, trust, &e);

                f = fill / 65536.0;
                th = 0.5 * (1 - trust / 64.0);
                de = f >= 0 ? (f - th) / (1 - th) : f - th / (1 - th);
                dm = de > 0.5 ? top
                     : de >= 0 ? 1 + (prd_min(top, 2) - 1) * de / 0.5
                     : prd_max(0, 1 + 2 * de);

                worst_e = prd_max(worst_e, fabs(e / 65536.0 - de));

                falls += m < was;
                was = m;

                untrusted += trust
                             && m < prd_pool_elasticity(&t, fill, trust - 1,
                                                        &e);

                /* m jumps at e = 1/2 */

                if (fabs(de - 0.5) < 1 / 4096.0) {
                    continue;
                }

                n++;

                if (isinf(dm) || m == PRD_M_INF) {
                    worst += isinf(dm) != (m == PRD_M_INF);
                    continue;
                }

                worst = prd_max(worst, fabs(m / 65536.0 - dm));
            }
        }

        ok(n > 100000 && worst < 1 / 4096.0 && worst_e < 1 / 4096.0,
           "borrow %u: m within %.6f, e within %.6f of the formulas",
           borrow[i], worst, worst_e);
        is_int(falls, 0, "a fuller pool never gives less");
        is_int(untrusted, 0, "nor does more trust");
    }

    prd_pool_terms(&t, 0, 4000, PRD_MILLI);
    is_int(t.capacity, 0, "no capacity, no pool");

    prd_pool_terms(&t, PRD_RATE_ONE, 1000, PRD_MILLI);
    is_int(prd_pool_elasticity(&t, 65536, 63, &e), PRD_ONE_Q16,
           "borrow=off: never above 1");
    is_int(t.speed_max, 2 * PRD_ONE_Q16, "speed of borrow=off");
    prd_pool_terms(&t, PRD_RATE_ONE, 4000, PRD_MILLI);
    is_int(t.speed_max, 4 * PRD_ONE_Q16, "speed of borrow=4");
    prd_pool_terms(&t, PRD_RATE_ONE, 0, PRD_MILLI);
    is_int(t.speed_max, 2 * PRD_ONE_Q16, "speed of borrow=unlimited");
}


static void
level(void)
{
    prd_word_t        w;
    uint64_t          credit, kept, was;
    prd_pool_terms_t  t;

    prd_pool_terms(&t, 100 * PRD_RATE_ONE, 0, PRD_MILLI);
    prd_pool_init(&w, 5000);

    is_int(prd_pool_level(atomic_load(&w), 5000), PRD_POOL_FULL, "full");
    is_int(prd_pool_level(atomic_load(&w), 0x70000000), PRD_POOL_FULL,
           "not above full");

    prd_pool_adjust(&w, &t, 250000, 5000);
    ok(abs(prd_pool_level(atomic_load(&w), 5000) - PRD_POOL_FULL / 2) < 2000,
       "half of 500 taken");
    ok(abs(prd_pool_level(atomic_load(&w), 7500) - PRD_POOL_FULL) < 2000,
       "back after 2.5 s");
    ok(prd_pool_level(atomic_load(&w), 7400) < PRD_POOL_FULL - 10000000,
       "not earlier");
    is_int(prd_pool_level(atomic_load(&w), 4000),
           prd_pool_level(atomic_load(&w), 5000), "a step back gives nothing");

    prd_pool_adjust(&w, &t, 100, 3000);
    is_int(prd_word_ms(atomic_load(&w)), 5000, "nor moves the time");
    prd_pool_adjust(&w, &t, 0, 6000);
    is_int(prd_word_ms(atomic_load(&w)), 6000, "a step forward does");

    prd_pool_adjust(&w, &t, INT64_MAX, 6000);
    is_int((int32_t) prd_word_level(atomic_load(&w)), -PRD_POOL_FULL,
           "not below -D");
    prd_pool_adjust(&w, &t, INT64_MIN, 6000);
    is_int((int32_t) prd_word_level(atomic_load(&w)), PRD_POOL_FULL,
           "nor above D");

    prd_pool_adjust(&w, &t, 700000, 6000);
    prd_pool_adjust(&w, &t, -700000, 6000);
    ok(abs(PRD_POOL_FULL - (int32_t) prd_word_level(atomic_load(&w))) < 4,
       "a charge and its refund");

    /* the 32-bit clock wraps */

    atomic_store(&w, prd_word(0xfffffc18, 0));
    ok(abs(prd_pool_level(atomic_load(&w), 1500) - PRD_POOL_FULL / 2) < 2000,
       "2.5 s over the wrap");

    /* refused: as it was */

    prd_pool_init(&w, 9000);
    credit = 0;

    while (prd_pool_take(&w, &t, &credit, 1000, 9000) == PRD_OK) {
        /* void */
    }

    was = atomic_load(&w);
    kept = credit;
    is_int(prd_pool_take(&w, &t, &credit, 1000, 9000), PRD_DECLINED,
           "empty: declined");
    is_int(atomic_load(&w), was, "word untouched");
    is_int(credit, kept, "credit untouched");
    is_int(prd_pool_take(&w, &t, &credit, 1000, 9011), PRD_OK,
           "when 1.1 requests have come");
    is_int(prd_pool_take(&w, &t, &credit, 2000, 9020), PRD_DECLINED,
           "not 2 when 0.9 more have");

    is_int(prd_pool_take(&w, &t, &credit, 0, 9020), PRD_OK, "cost 0 is free");
}


/* Chunks: at most max(cost, D/256) is taken; what is taken is spent or kept. */

static void
chunks(void)
{
    int               i;
    int64_t           before, after;
    uint32_t          cost;
    uint64_t          credit, spent, taken;
    prd_word_t        w;
    prd_pool_terms_t  t;
    unsigned          greedy;

    prd_pool_terms(&t, 1000 * PRD_RATE_ONE, 0, PRD_MILLI);
    prd_pool_init(&w, 0);

    credit = spent = taken = greedy = 0;

    for (i = 0; i < 10000; i++) {
        cost = (uint32_t) lab_below(4000);
        before = prd_pool_level(atomic_load(&w), 0);

        if (prd_pool_take(&w, &t, &credit, cost, 0) != PRD_OK) {
            break;
        }

        after = prd_pool_level(atomic_load(&w), 0);
        taken += (uint64_t) (before - after) << 20;
        spent += t.per_unit * cost;

        greedy += (uint64_t) (before - after)
                  > prd_max((uint64_t) PRD_POOL_FULL / 256,
                            (t.per_unit * cost >> 20) + 1);
    }

    is_int(taken, spent + credit, "what %d requests took is spent or kept", i);
    is_int(greedy, 0, "never more than max(cost, D/256) at a time");
    ok((double) spent / ((double) PRD_POOL_FULL * 1048576) > 1.9,
       "nearly all of 2 D is spent before the first refusal");
}


/*
 * In any window T a pool admits at most capacity x (T + 10 s), whatever
 * workers keep as credit; and when all want more, not much less than its
 * capacity.
 */

static void
bound(double capacity, uint32_t unit, uint32_t workers, uint64_t cost_most)
{
    int               i, n, mood;
    uint32_t          ms, behind, cost, w;
    uint64_t          refused;
    double            range, saturated, since;
    prd_word_t        pool;
    uint64_t          credit[CREDITS];
    meter_t           m;
    prd_pool_terms_t  t;

    prd_pool_terms(&t, (prd_rate_t) (capacity * 1e9), 0, unit);
    prd_pool_init(&pool, 0);
    memset(credit, 0, sizeof(credit));
    memset(&m, 0, sizeof(meter_t));

    range = 10 * capacity;
    cost_most = (uint64_t) prd_min((double) cost_most, range * unit);
    cost_most = prd_min(cost_most, UINT32_MAX);
    refused = 0;
    ms = behind = 0;
    mood = 0;

    for (i = 0; i < 30000; i++) {

        if (i % 500 == 0) {
            mood = (int) lab_below(4);
            behind += mood == 3 ? (uint32_t) lab_below(3000) : 0;
        }

        switch (mood) {

        case 0:                          /* a trickle: all get a credit */
            ms += (uint32_t) lab_below(200);
            n = 1;
            break;

        case 1:                          /* as fast as it can be */
            ms += (uint32_t) lab_below(3);
            n = 50;
            break;

        case 2:                          /* idle, then everything at once */
            ms += lab_below(50) ? 0 : 20000;
            n = 10;
            break;

        default:                         /* after a clock's step back */
            ms += (uint32_t) lab_below(5);
            n = 3;
            break;
        }

        while (n--) {
            w = (uint32_t) lab_below(workers);
            cost = mood == 0 ? 1 : (uint32_t) lab_magnitude(cost_most);

            if (prd_pool_take(&pool, &t, &credit[w], cost, ms - behind)
                == PRD_OK)
            {
                meter(&m, capacity, ms / 1000.0, (double) cost / unit);

            } else {
                refused++;
            }
        }
    }

    ok(refused > 100 && m.most <= range * (1 + 1e-5) + 1.0 / unit,
       "%g r/s, unit %u, %u workers, costs to %g: %.4f of capacity x 10 s, "
       "%llu refused", capacity, unit, workers, (double) cost_most / unit,
       m.most / range, (unsigned long long) refused);

    /* everybody wants everything for as long as 20 s */

    cost = (uint32_t) prd_max(1, prd_min(range * unit / 1000, 4e9));
    ms += 30000;
    since = ms / 1000.0;
    saturated = m.total;

    for (i = 0; i < 20000; i++) {
        ms++;

        for (n = 0; n < 20
             && prd_pool_take(&pool, &t, &credit[lab_below(workers)], cost,
                              ms - behind)
                == PRD_OK; n++)
        {
            meter(&m, capacity, ms / 1000.0, (double) cost / unit);
        }
    }

    saturated = (m.total - saturated) / (ms / 1000.0 - since) / capacity;

    ok(saturated > 0.98, "saturated: %.3f of the capacity", saturated);
}


/* Workers whose cached clocks are some milliseconds apart. */

static void
skewed(void)
{
    int               i;
    uint32_t          w;
    prd_word_t        pool;
    uint64_t          credit[4];
    meter_t           m;
    prd_pool_terms_t  t;

    prd_pool_terms(&t, 1000 * PRD_RATE_ONE, 0, PRD_MILLI);
    prd_pool_init(&pool, 50000);
    memset(credit, 0, sizeof(credit));
    memset(&m, 0, sizeof(meter_t));

    for (i = 0; i < 100000; i++) {
        w = (uint32_t) lab_below(4);

        if (prd_pool_take(&pool, &t, &credit[w], 1000,
                          50000 + (uint32_t) i / 10 + 7 * w)
            == PRD_OK)
        {
            meter(&m, 1000, i / 10000.0, 1);
        }
    }

    ok(m.most <= 10000 + 21 + 1, "four clocks 7 ms apart: %.0f of %d, and "
       "what is 21 ms", m.most, 10000);
    ok(m.total > 19500, "nor much less: %.0f", m.total);
}


/* All workers hold what they may when everybody comes at once. */

static void
hoards(uint32_t workers)
{
    uint32_t          w, n, ms;
    double            range;
    prd_word_t        pool;
    uint64_t          credit[CREDITS];
    prd_pool_terms_t  t;

    prd_pool_terms(&t, 1000 * PRD_RATE_ONE, 0, PRD_MILLI);
    prd_pool_init(&pool, 0);
    memset(credit, 0, sizeof(credit));
    range = 10000;

    for (w = 0; w < workers; w++) {
        (void) prd_pool_take(&pool, &t, &credit[w], 1, 0);
    }

    ms = 60000;                          /* full again */

    for (n = w = 0; w < workers; w++) {

        while (prd_pool_take(&pool, &t, &credit[w], 1000, ms) == PRD_OK) {
            n++;
        }
    }

    ok(n <= range, "%u workers' credits and a full pool: %u requests at once "
       "of %.0f", workers, n, range);
}


static void
extremes(void)
{
    uint32_t          i, bad;
    uint64_t          credit;
    prd_word_t        w;
    prd_pool_terms_t  t;

    /* a cost above the whole range passes on a full pool, and empties it */

    prd_pool_terms(&t, PRD_RATE_ONE, 0, PRD_MILLI);
    prd_pool_init(&w, 0);
    credit = 0;
    is_int(prd_pool_take(&w, &t, &credit, 10000000, 0), PRD_OK,
           "10,000 tokens of a pool of 10, when it is full");
    ok((int32_t) prd_word_level(atomic_load(&w))
       <= -PRD_POOL_FULL + PRD_POOL_FULL / 32, "leaves nothing");
    is_int(credit, 0, "and no credit");
    is_int(prd_pool_take(&w, &t, &credit, 10000000, 9500), PRD_DECLINED,
           "nearly full is not full");
    is_int(prd_pool_take(&w, &t, &credit, 10000000, 10010), PRD_OK, "full is");

    /* every cost, at every size of pool: never more than the pool has */

    for (i = bad = 0; i < 200000; i++) {
        uint32_t    unit = lab_below(2) ? 1000 : 1, cost;
        prd_rate_t  capacity = lab_below(4)
                               ? PRD_RATE_ONE / 5
                                 + lab_magnitude(PRD_RATE_MAX
                                                 - PRD_RATE_ONE / 5)
                               : (PRD_RATE_ONE << lab_below(29)) / 5;
        double      tokens;

        prd_pool_terms(&t, capacity, 0, unit);
        prd_pool_init(&w, 0);
        credit = 0;

        cost = UINT32_MAX - (lab_below(2) ? (uint32_t) lab_below(1000)
                                  : (uint32_t) lab_magnitude(UINT32_MAX) - 1);
        tokens = 0;

        while (tokens < 2e10
               && prd_pool_take(&w, &t, &credit, cost, 0) == PRD_OK)
        {
            tokens += (double) cost / unit;

            /* above the range: once */

            if ((double) cost / unit > (double) capacity / 1e8) {
                bad += credit != 0
                       || prd_pool_take(&w, &t, &credit, cost, 0) == PRD_OK;
                tokens = 0;
                break;
            }
        }

        bad += tokens > (double) capacity / 1e8 * 1.00001;

        if (bad) {
            ok(0, "capacity %llu unit %u cost %u: %.3f tokens at once, "
               "credit %llu", (unsigned long long) capacity, unit, cost,
               tokens, (unsigned long long) credit);
            break;
        }
    }

    is_int(bad, 0, "no cost takes more than there is");

    /* per_unit x cost just below 2^64 */

    prd_pool_terms(&t, 52428800000ull, 0, PRD_MILLI);
    prd_pool_init(&w, 0);
    atomic_store(&w, prd_word(0, 0));
    credit = 0;
    is_int(prd_pool_take(&w, &t, &credit, UINT32_MAX, 0), PRD_DECLINED,
           "4 million tokens of a pool of 524 that is half full");

    prd_pool_terms(&t, PRD_RATE_MAX, 0, 1);
    ok(t.per_unit > 0, "the greatest capacity");
}


int
main(void)
{
    elasticity();
    level();
    chunks();

    bound(10, 1000, 1, 1000);
    bound(1000, 1000, 2, 100000);
    bound(1000, 1000, 64, 4000000);
    bound(0.2, 1000, 4, 500);
    bound(1234.5, 1, 4, 50);
    bound(1e6, 1000, 8, 4000000000u);
    bound(1e9, 1, 8, 400000000u);
    skewed();
    hoards(1);
    hoards(2);
    hoards(64);
    extremes();

    return done_testing();
}
