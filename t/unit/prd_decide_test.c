
/*
 * From a request to a verdict: the contract's words end to end, limits in
 * company, the newcomer's key, and what must be left of a refusal: nothing.
 */


#include "lab.h"


/* So slow that nothing drains in a test: levels are sums. */
#define SLOW  "rate=0.001r/d"


static prd_answer_t
decide(prd_view_t *v, const prd_policy_t *p, const prd_ask_t *ask)
{
    prd_answer_t  a;

    memset(&a, 0xcc, sizeof(prd_answer_t));
    prd_decide(v, p, ask, &a);

    return a;
}


static const char *
reason(const prd_answer_t *a)
{
    return prd_reason_name(a->reason);
}


#define is_reason(a, r, ...)                                                  \
    is_str(reason(a), strlen(reason(a)), r, __VA_ARGS__)


/* Without history and pool it is limit_req. */

static void
as_limit_req(const char *words)
{
    int            i, n, wrong, refused, delayed;
    char           text[200];
    int64_t        now, d, excess;
    prd_ask_t      ask;
    prd_view_t     v;
    lab_limit_t    l;
    prd_answer_t   a;
    prd_policy_t   policy;

    static const int64_t  rates[] = { 1, 17, 500, 1000, 1001, 3333, 50000,
                                      999999, 12345678 };

    wrong = refused = delayed = 0;

    for (n = 0; n < 200 && !wrong; n++) {
        memset(&l, 0, sizeof(lab_limit_t));
        l.rate = rates[n % 9];
        l.burst = 1000 * (int64_t) (lab_below(2) ? lab_below(30) : 0);
        l.delay = lab_below(2) ? l.burst
                               : 1000 * (int64_t) lab_below(l.burst / 1000 + 1);

        snprintf(text, sizeof(text), "rate=%lld.%03lldr/s %s",
                 (long long) l.rate / 1000, (long long) l.rate % 1000, words);
        lab_policy(&policy, text);
        now = 1000000 + (int64_t) lab_below(1u << 30);
        v = lab_zone(&policy, 100, LAB_S, (uint32_t) now);
        atomic_store(&v.zone->warm, n & 1);

        for (i = 0; i < 400; i++) {
            now += lab_below(3) ? (int64_t) lab_below(1 + 3000000 / l.rate)
                                : 0;
            ask = lab_ask(&policy, 42, (uint32_t) now);
            ask.burst = (uint32_t) l.burst;
            ask.delay = l.delay == l.burst ? PRD_NODELAY : (uint32_t) l.delay;

            d = lab_limit(&l, now, &excess);
            a = decide(&v, &policy, &ask);

            wrong += a.level != excess + 1000;
            wrong += a.terms.learned;

            if (d == LAB_BUSY) {
                refused++;
                wrong += a.verdict != PRD_REJECTED
                         || a.reason != PRD_REASON_QUOTA;

            } else {
                delayed += d > 0;
                wrong += a.verdict != (d ? PRD_DELAYED : PRD_PASSED);
                wrong += a.delay_ms != d || a.reason != PRD_REASON_QUOTA;
            }

            if (wrong) {
                printf("# rate %lld burst %lld delay %lld request %d: %s, "
                       "level %u for %lld\n", (long long) l.rate,
                       (long long) l.burst, (long long) l.delay, i,
                       prd_verdict_name(a.verdict), a.level,
                       (long long) excess);
                break;
            }
        }

        free(v.zone);
    }

    is_int(wrong, 0, "limit_req with \"%s\": %d refused, %d delayed", words,
           refused, delayed);
}


/*
 * Never less than limit_req: whatever is learned or borrowed, as many have
 * been admitted at every moment.  Costs of 1.
 */

static void
never_less(const char *words, uint64_t seed)
{
    int            i, n, behind, ahead, requests;
    uint32_t       slot;
    unsigned       evicted;
    int64_t        now, excess;
    uint64_t       ours, theirs;
    prd_ask_t      ask;
    prd_view_t     v;
    lab_limit_t    l;
    prd_answer_t   a;
    prd_policy_t   policy;

    lab_state = seed * 7919;
    behind = ahead = requests = 0;

    for (n = 0; n < 60; n++) {
        memset(&l, 0, sizeof(lab_limit_t));
        lab_policy(&policy, words);
        l.rate = (int64_t) (policy.params.rate / 1000000);
        l.burst = l.delay = 1000 * (int64_t) policy.params.burst;

        now = 5000000;
        v = lab_zone(&policy, 100, LAB_S, (uint32_t) now);
        atomic_store(&v.zone->warm, 1);
        prd_table_insert(&v.table, 42, (uint32_t) now, &slot, &evicted);
        ours = theirs = 0;

        for (i = 0; i < 2000; i++) {

            /* the thread learns this and that on the way */

            if (i % 100 == 0) {
                lab_learn(&v, slot,
                          (double) l.rate / 1000 * 20 * lab_uniform(),
                          (double) l.burst / 1000 * 3 * lab_uniform() + 0.01,
                          (unsigned) lab_below(40));
            }

            now += lab_below(4) == 0 ? (int64_t) lab_magnitude(20000)
                   : (int64_t) lab_below(2) * (int64_t) lab_below(
                                                   1 + 2000000 / l.rate);

            ask = lab_ask(&policy, 42, (uint32_t) now);
            a = decide(&v, &policy, &ask);
            requests++;

            ours += a.verdict != PRD_REJECTED;
            theirs += lab_limit(&l, now, &excess) != LAB_BUSY;
            behind += ours < theirs;
            ahead += ours > theirs;

            if (behind) {
                printf("# request %d: %llu for %llu, level %u, depth %u, m "
                       "%u, reason %s\n", i, (unsigned long long) ours,
                       (unsigned long long) theirs, a.level, a.terms.depth,
                       a.terms.m, reason(&a));
                break;
            }
        }

        free(v.zone);

        if (behind) {
            break;
        }
    }

    ok(behind == 0 && ahead > 0, "\"%s\", seed %llu: never behind limit_req, "
       "ahead in %d of %d", words, (unsigned long long) seed, ahead, requests);
}


/* What is in force of a learned envelope. */

static void
envelopes(void)
{
    int  i;

    static const struct {
        const char  *words;
        double       rate, depth;        /* learned */
        unsigned     cold:1;
        double       want_rate, want_depth, want_free;
        unsigned     learned:1;
        const char  *name;
    } cases[] = {
        { "rate=10r/s burst=4", 30, 50, 0, 30, 50, 50, 1, "the forecast" },
        { "rate=10r/s burst=4", 30, 50, 1, 10, 5, 1, 0, "not in warm-up" },
        { "rate=10r/s burst=4 learn=observe", 30, 50, 0, 10, 5, 1, 0,
          "observe" },
        { "rate=10r/s burst=4 learn=off", 30, 50, 0, 10, 5, 1, 0, "off" },
        { "rate=10r/s burst=4", 3, 50, 0, 10, 50, 50, 1,
          "min is the rate" },
        { "rate=10r/s burst=4", 300, 50, 0, 100, 50, 50, 1,
          "max is ten times the rate" },
        { "rate=10r/s burst=4", 30, 2, 0, 30, 5, 5, 1,
          "a depth of at least burst + 1" },
        { "rate=10r/s burst=4", 30, 5000, 0, 30, 500, 500, 1,
          "of at most what max delivers in 5 s" },
        { "rate=10r/s burst=700", 30, 5000, 0, 30, 701, 701, 1,
          "but at least burst + 1" },
        { "rate=10r/s burst=4 min=20r/s max=25r/s", 3, 50, 0, 20, 50, 50, 1,
          "min=" },
        { "rate=10r/s burst=4 min=20r/s max=25r/s", 300, 500, 0, 25, 125, 125,
          1, "max=" },
        { "rate=10r/s burst=4 floor=none", 3, 50, 0, 3, 50, 50, 1,
          "floor=none: only its own habit" },
        { "rate=10r/s burst=4 floor=none min=5r/s", 3, 50, 0, 5, 50, 50, 1,
          "floor=none min=" },
        { "capacity=1000r/s floor=none", 3, 50, 0, 3, 50, 50, 1,
          "no rate: its own" },
        { "capacity=1000r/s", 3, 50, 0, 20, 200, 200, 1,
          "no rate: a newcomer's at least" },
        { "capacity=1000r/s", 30, 500, 0, 30, 500, 500, 1,
          "no rate: its own where that is more" },
        { "capacity=1000r/s", 30, 50000, 0, 30, 50000, 50000, 1,
          "the capacity as max bounds no depth" },
        { "capacity=1000r/s max=100r/s", 3000, 50000, 0, 100, 500, 500, 1,
          "a max that is given does" },
        { "capacity=1000r/s burst=9", 0, 0, 0, 20, 200, 200, 0,
          "no rate, no history: a newcomer's" },
    };

    for (i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++) {
        uint32_t      slot;
        unsigned      evicted;
        prd_ask_t     ask;
        prd_view_t    v;
        prd_answer_t  a;
        prd_policy_t  policy;

        lab_policy(&policy, cases[i].words);
        v = lab_zone(&policy, 100, LAB_S, LAB_MS);
        atomic_store(&v.zone->warm, !cases[i].cold);
        atomic_store(&v.zone->newcomer,
                     prd_env(0, 0, prd_env_encode(20000000000ull),
                             prd_env_encode(200000)));
        prd_table_insert(&v.table, 42, LAB_MS, &slot, &evicted);

        if (cases[i].depth > 0) {
            lab_learn(&v, slot, cases[i].rate, cases[i].depth, 50);
        }

        ask = lab_ask(&policy, 42, LAB_MS);
        ask.delay = 0;
        a = decide(&v, &policy, &ask);

        ok(fabs((double) a.terms.rate / 1e9 / cases[i].want_rate - 1) < 1e-4
           && fabs(a.terms.depth / 1000.0 / cases[i].want_depth - 1) < 1e-4
           && fabs(a.terms.free / 1000.0 / cases[i].want_free - 1) < 1e-4
           && a.terms.learned == cases[i].learned,
           "%s: \"%s\" gives %.3f r/s, depth %.3f, free %.3f", cases[i].name,
           cases[i].words, (double) a.terms.rate / 1e9, a.terms.depth / 1000.0,
           a.terms.free / 1000.0);

        ok(a.terms.debt >= a.terms.depth && a.terms.delay_rate >= a.terms.rate
           && a.terms.delay_rate >= ask.rate && a.terms.unit == 1000,
           "debt and delays");

        free(v.zone);
    }
}


/*
 * floor=none: a habit may be worth less than the rate, but who has not had an
 * hour yet has none.
 */

static void
before_the_first_hour(void)
{
    double        rate[2];
    uint32_t      slot;
    unsigned      evicted, trust;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    for (trust = 0; trust < 2; trust++) {
        lab_policy(&policy, "rate=10r/s burst=4 floor=none");
        v = lab_zone(&policy, 100, LAB_S, LAB_MS);
        atomic_store(&v.zone->warm, 1);
        prd_table_insert(&v.table, 42, LAB_MS, &slot, &evicted);
        lab_learn(&v, slot, 3, 50, 50 * trust);

        ask = lab_ask(&policy, 42, LAB_MS);
        a = decide(&v, &policy, &ask);
        rate[trust] = (double) a.terms.rate / 1e9;

        free(v.zone);
    }

    ok(fabs(rate[0] - 10) < 0.01 && fabs(rate[1] - 3) < 0.01,
       "floor=none: %.2f r/s before the first hour, %.2f after it", rate[0],
       rate[1]);
}


static void
reasons(void)
{
    int           i;
    uint32_t      slot;
    unsigned      evicted;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, "rate=1r/s burst=2");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    atomic_store(&v.zone->warm, 1);
    ask = lab_ask(&policy, 42, LAB_MS);

    a = decide(&v, &policy, &ask);
    ok(a.verdict == PRD_PASSED && a.taken && !a.full, "a newcomer passes");
    is_reason(&a, "quota", "within the quota");
    decide(&v, &policy, &ask);
    decide(&v, &policy, &ask);
    a = decide(&v, &policy, &ask);
    ok(a.verdict == PRD_REJECTED && !a.taken, "burst + 1, then no more");
    is_reason(&a, "quota", "no learned value in force: quota");
    is_int(lab_level(&v, a.slot), 3000, "a refused request is not added");
    is_int(atomic_load(&v.table.entries[a.slot].refused), 1, "but counted");

    ask = lab_ask(&policy, 43, LAB_MS);
    ask.delay = 1000;
    decide(&v, &policy, &ask);
    decide(&v, &policy, &ask);
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_DELAYED, "delayed");
    is_int(a.delay_ms, 1000, "by a second");
    is_reason(&a, "quota", "by the quota");

    prd_table_insert(&v.table, 44, LAB_MS, &slot, &evicted);
    lab_learn(&v, slot, 5, 4, 20);
    ask = lab_ask(&policy, 44, LAB_MS);

    for (i = 0; i < 4; i++) {
        a = decide(&v, &policy, &ask);
    }

    is_int(a.verdict, PRD_PASSED, "within the learned depth");
    is_reason(&a, "forecast", "by the forecast");
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_REJECTED, "above");
    is_reason(&a, "above_forecast", "above the forecast");
    free(v.zone);

    /* a pool */

    lab_policy(&policy, "rate=1r/s burst=2 capacity=10r/s");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    atomic_store(&v.zone->warm, 1);
    ask = lab_ask(&policy, 42, LAB_MS);

    for (i = 0; i < 4; i++) {
        a = decide(&v, &policy, &ask);
    }

    ok(a.verdict == PRD_BORROWED && a.pooled, "on the pool's spare capacity");
    is_reason(&a, "borrowed", "borrowed");

    atomic_store(&v.zone->pool, prd_word(LAB_MS, 0));
    v.credit = 0;
    ask = lab_ask(&policy, 45, LAB_MS);
    a = decide(&v, &policy, &ask);
    is_int(a.fill, 0, "an empty pool");
    is_int(a.terms.m, 0, "gives a newcomer nothing");
    is_int(a.verdict, PRD_REJECTED, "refused");
    is_reason(&a, "scarce", "within its envelope, and still: scarce");

    prd_table_insert(&v.table, 46, LAB_MS, &slot, &evicted);
    lab_learn(&v, slot, 5, 10, 60000);
    ask = lab_ask(&policy, 46, LAB_MS);
    a = decide(&v, &policy, &ask);
    ok(a.verdict == PRD_PASSED && a.terms.m > 60000, "a proven one passes");
    ask.cost = 20000;
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_REJECTED, "not above its envelope");
    is_reason(&a, "above_forecast", "above, in scarcity, is above_forecast");

    /* the pool's last word */

    atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL));
    v.credit = 0;
    ask = lab_ask(&policy, 47, LAB_MS);
    ask.cost = 150000;
    atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL / 10 * 9));
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_REJECTED, "more than the pool has");
    is_reason(&a, "scarce", "is scarce, whatever m says");
    is_int(lab_level(&v, a.slot), 0, "and not charged");
    ok(!a.taken && !a.pooled, "told as not charged");
    free(v.zone);

    /* no rate */

    lab_policy(&policy, "capacity=10r/s");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);
    a = decide(&v, &policy, &ask);
    is_reason(&a, "newcomer", "a newcomer's envelope");
    ask.cost = 40000000;
    atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL / 2));
    is_int(decide(&v, &policy, &ask).terms.m, PRD_M_INF,
           "in warm-up only the pool limits");
    atomic_store(&v.zone->warm, 1);
    ok(decide(&v, &policy, &ask).terms.m <= 2 * PRD_ONE_Q16, "only in warm-up");
    free(v.zone);
}


/* A delay in scarcity is one that a client can wait for. */

static void
scarce_delay(void)
{
    int           i;
    uint32_t      n, absurd;
    int32_t       fill;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, "rate=10r/s burst=20 capacity=100r/s learn=off");
    n = absurd = 0;

    for (fill = 0; fill < PRD_POOL_FULL; fill += PRD_POOL_FULL / 64) {
        v = lab_zone(&policy, 10, LAB_S, LAB_MS);
        ask = lab_ask(&policy, 42, LAB_MS);
        ask.delay = 10000;

        for (i = 0; i < 25; i++) {
            atomic_store(&v.zone->pool, prd_word(LAB_MS, fill));
            a = decide(&v, &policy, &ask);

            if (a.verdict == PRD_DELAYED) {
                n++;
                absurd += a.delay_ms > 2100;
            }

        }

        free(v.zone);
    }

    ok(n > 20 && absurd == 0, "%u delayed while the pool is short, %u by more "
       "than the whole bucket takes", n, absurd);
}


/*
 * Trust is for what is trusted: the elasticity of a proven client is its own
 * up to its learned depth, a newcomer's from twice that.
 */

static void
trust(void)
{
    int           i;
    uint32_t      slot, m[4], back[4];
    unsigned      evicted;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, "rate=0.001r/s capacity=100r/s");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    atomic_store(&v.zone->warm, 1);
    prd_table_insert(&v.table, 42, LAB_MS, &slot, &evicted);
    lab_learn(&v, slot, 0.001, 20, 1000);

    for (i = 0; i < 4; i++) {
        atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL / 4));
        atomic_store(&v.table.entries[slot].virtual_,
                     prd_word(LAB_MS, (uint32_t) i * 10000 + 9000));
        ask = lab_ask(&policy, 42, LAB_MS);
        a = decide(&v, &policy, &ask);
        m[i] = a.terms.m;
        back[i] = a.backlog;
    }

    ok(m[0] == m[1] && m[1] > PRD_ONE_Q16, "its own within its depth: %u %u",
       m[0], m[1]);
    ok(m[2] < m[1] && m[3] < m[2] && m[3] < PRD_ONE_Q16,
       "less and less above: %u %u", m[2], m[3]);
    ok(back[0] == 10000 && back[2] == 30000 && back[3] == 40000,
       "the backlog, clipped at twice the depth: %u %u %u", back[0], back[2],
       back[3]);

    free(v.zone);
}


/*
 * A depth of two requests is the least there is, and proves but one; what a
 * request costs in the mean is the zone's.
 */

static void
trust_least(const char *words, uint32_t cost)
{
    int           i;
    uint32_t      slot, m[5];
    unsigned      evicted;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, words);

    for (i = 0; i < 5; i++) {
        v = lab_zone(&policy, 100, LAB_S, LAB_MS);
        atomic_store(&v.zone->warm, 1);
        atomic_store(&v.zone->hold, policy.charged ? cost : 0);
        prd_table_insert(&v.table, 42, LAB_MS, &slot, &evicted);

        /* two requests, or nineteen, and a stranger */

        lab_learn(&v, slot, 0.001, (i < 2 ? 2 : 19) * cost / 1000.0,
                  i == 4 ? 0 : 1000);

        atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL / 4));
        atomic_store(&v.table.entries[slot].virtual_,
                     prd_word(LAB_MS, i == 0 || i == 2 ? 0
                                      : i == 3 ? 15 * cost : cost));
        ask = lab_ask(&policy, 42, LAB_MS);
        ask.cost = cost;
        a = decide(&v, &policy, &ask);
        m[i] = a.terms.m;

        free(v.zone);
    }

    ok(m[0] == m[2] && m[0] > PRD_ONE_Q16,
       "%s: trusted for a first request: %u", words, m[0]);
    ok(m[1] == m[4] && m[1] < PRD_ONE_Q16, "not for a second one: %u", m[1]);
    ok(m[3] == m[2], "who has proven nineteen is, for sixteen");
}


/*
 * newcomer=: levels are sums, since nothing drains.  Of each pair both are
 * charged or none.
 */

static void
newcomers(const char *words)
{
    enum { CLIENTS = 60, PARENTS = 7 };

    int           i, c, wrong, refused, passed, by_parent;
    uint64_t      own[CLIENTS], parents[PARENTS];
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, words);
    v = lab_zone(&policy, 300, LAB_S, LAB_MS);
    memset(own, 0, sizeof(own));
    memset(parents, 0, sizeof(parents));
    wrong = refused = passed = by_parent = 0;

    for (i = 0; i < 4000; i++) {
        c = (int) lab_below(CLIENTS);
        ask = lab_ask(&policy, 1000 + (uint64_t) c, LAB_MS);
        ask.parent = prd_tag(500000 + (uint64_t) (c % PARENTS));
        ask.cost = (uint32_t) lab_below(5000);

        if (policy.params.capacity && lab_below(20) == 0) {
            atomic_store(&v.zone->pool,
                         prd_word(LAB_MS, (int32_t) (lab_below(PRD_POOL_FULL))
                                          - PRD_POOL_FULL / 4));
        }

        /* costs too great for the pool, whatever the buckets say */

        if (lab_below(50) == 0) {
            ask.cost = 2000000;
        }

        a = decide(&v, &policy, &ask);
        wrong += a.parent_slot == PRD_NO_SLOT;
        wrong += a.cost != ask.cost;

        if (a.verdict == PRD_REJECTED) {
            refused++;
            by_parent += a.reason == PRD_REASON_NEWCOMER;
            wrong += a.taken;

            /* the client's own, whoever refused it */

            wrong += a.level != own[c] + ask.cost;

        } else if (ask.cost) {
            passed++;
            own[c] = prd_min(own[c] + ask.cost, a.terms.debt);
            parents[c % PARENTS] = prd_min(parents[c % PARENTS] + ask.cost,
                                           a.terms.debt);
            wrong += !a.taken;
        }

        wrong += lab_level(&v, a.slot) != own[c];
        wrong += lab_level(&v, a.parent_slot) != parents[c % PARENTS];

        if (wrong) {
            printf("# request %d cost %u: %s, %s; level %u for %llu, parent "
                   "%u for %llu, debt %u\n", i, ask.cost,
                   prd_verdict_name(a.verdict), reason(&a),
                   lab_level(&v, a.slot), (unsigned long long) own[c],
                   lab_level(&v, a.parent_slot),
                   (unsigned long long) parents[c % PARENTS], a.terms.debt);
            break;
        }
    }

    ok(wrong == 0 && refused > 100 && passed > 100 && by_parent > 10,
       "newcomer=, \"%s\": %d passed, %d refused, %d by the newcomer's key, "
       "both are charged or none", words, passed, refused, by_parent);

    free(v.zone);
}


static void
newcomer_rules(void)
{
    int           i;
    uint32_t      slot;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, SLOW " burst=3");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);

    for (i = 0; i < 5; i++) {
        ask = lab_ask(&policy, 100 + (uint64_t) i, LAB_MS);
        ask.parent = prd_tag(77);
        a = decide(&v, &policy, &ask);
    }

    is_int(a.verdict, PRD_REJECTED, "five fresh keys of one newcomer's key");
    is_reason(&a, "newcomer", "share one bucket");
    is_int(lab_level(&v, a.slot), 0, "whom it refused is not charged");
    is_int(atomic_load(&v.table.entries[a.slot].parent) != 0, 1,
           "each remembers whose it is");

    slot = a.slot;
    lab_learn(&v, slot, 1, 4, 1);
    a = decide(&v, &policy, &ask);
    is_reason(&a, "newcomer", "one closed active hour is not enough");
    lab_learn(&v, slot, 1, 4, 2);
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_PASSED, "two are");
    is_int(a.parent_slot, PRD_NO_SLOT, "the newcomer's key is not asked");

    /* it may delay, too */

    lab_policy(&policy, "rate=1r/s burst=3");
    free(v.zone);
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);

    for (i = 0; i < 3; i++) {
        ask = lab_ask(&policy, 100 + (uint64_t) i, LAB_MS);
        ask.parent = prd_tag(77);
        ask.delay = 0;
        a = decide(&v, &policy, &ask);
    }

    is_int(a.verdict, PRD_DELAYED, "the newcomer's key delays");
    is_int(a.delay_ms, 2000, "by its own delay");
    is_reason(&a, "newcomer", "which is the reason");

    /* a newcomer's key that is the client's own is one bucket, charged once */

    ask = lab_ask(&policy, 200, LAB_MS);
    ask.parent = ask.tag;

    for (i = 0; i < 4; i++) {
        a = decide(&v, &policy, &ask);
        is_int(a.verdict, PRD_PASSED, "its own newcomer: request %d", i);
    }

    is_int(lab_level(&v, a.slot), 4000, "charged once each");
    ok(!a.full && a.slot == prd_table_find(&v.table, ask.tag), "in its slot");

    free(v.zone);
}


/*
 * Several limits, judged, then charged in order; if one refuses meanwhile,
 * those before are given back.  All is as it was, to the thousandth.
 */

static void
company(const char *words)
{
    enum { ZONES = 3, CLIENTS = 8 };

    int           i, k, n, all, wrong, admitted, refused, undone;
    uint32_t      before[ZONES][2], cost;
    int64_t       pool[ZONES];
    double        units;
    prd_ask_t     ask[ZONES];
    prd_view_t    v[ZONES];
    prd_answer_t  a[ZONES];
    prd_policy_t  policy;

    lab_policy(&policy, words);

    for (k = 0; k < ZONES; k++) {
        v[k] = lab_zone(&policy, 100, LAB_S, LAB_MS);
        atomic_store(&v[k].zone->warm, 1);
    }

    wrong = admitted = refused = undone = 0;

    for (i = 0; i < 3000 && !wrong; i++) {
        cost = (uint32_t) lab_below(lab_below(30) ? 3000 : 40000);
        all = 1;

        for (k = 0; k < ZONES; k++) {
            ask[k] = lab_ask(&policy, lab_below(CLIENTS) + 1, LAB_MS);
            ask[k].parent = lab_below(2) ? prd_tag(100 + lab_below(3)) : 0;
            ask[k].cost = cost;

            memset(&a[k], 0xcc, sizeof(prd_answer_t));
            prd_judge(&v[k], &policy, &ask[k], &a[k]);
            wrong += a[k].taken || a[k].pooled;

            before[k][0] = lab_level(&v[k], a[k].slot);
            before[k][1] = a[k].parent_slot == PRD_NO_SLOT
                           ? 0 : lab_level(&v[k], a[k].parent_slot);
            pool[k] = (int64_t) prd_pool_level(atomic_load(&v[k].zone->pool),
                                               LAB_MS)
                      + (int64_t) (v[k].credit >> 20);
            all &= a[k].verdict != PRD_REJECTED;
        }

        if (!all) {
            refused++;

        } else {
            /* sometimes another comes between, and the last has no room */

            if (lab_below(3) == 0) {
                prd_bucket_adjust(&v[2].table.entries[a[2].slot].state,
                                  4000000000u, UINT32_MAX);
                before[2][0] = lab_level(&v[2], a[2].slot);
            }

            for (n = 0; n < ZONES; n++) {

                if (prd_charge(&v[n], &policy, &ask[n], &a[n]) != PRD_OK) {
                    break;
                }
            }

            if (n == ZONES) {
                admitted++;

                for (k = 0; k < ZONES; k++) {
                    wrong += cost && !a[k].taken;
                }

                /* whoever is full is forgotten now and then */

                if (admitted % 5 == 0) {
                    for (k = 0; k < ZONES; k++) {
                        prd_bucket_adjust(
                            &v[k].table.entries[a[k].slot].state,
                            -4000000000ll, UINT32_MAX);

                        if (a[k].parent_slot != PRD_NO_SLOT) {
                            prd_bucket_adjust(
                                &v[k].table.entries[a[k].parent_slot].state,
                                -4000000000ll, UINT32_MAX);
                        }
                    }
                }

                continue;
            }

            undone++;
            wrong += a[n].taken;

            while (n--) {
                prd_refund(&v[n], &policy, &ask[n], &a[n]);
                wrong += a[n].taken;
                prd_refund(&v[n], &policy, &ask[n], &a[n]);  /* harmless */
            }
        }

        for (k = 0; k < ZONES; k++) {
            wrong += lab_level(&v[k], a[k].slot) != before[k][0];
            wrong += a[k].parent_slot != PRD_NO_SLOT
                     && lab_level(&v[k], a[k].parent_slot) != before[k][1];

            /* the pool rounds up by less than 1 of 2^30 a chunk */

            units = (double) (prd_pool_level(atomic_load(&v[k].zone->pool),
                                             LAB_MS)
                              + (int64_t) (v[k].credit >> 20) - pool[k]);
            wrong += fabs(units) > 4;

            if (wrong) {
                printf("# request %d, limit %d, cost %u: level %u for %u, "
                       "parent for %u, pool off by %g; %s, debt %u\n", i, k,
                       cost, lab_level(&v[k], a[k].slot), before[k][0],
                       before[k][1], units, prd_verdict_name(a[k].verdict),
                       a[k].terms.debt);
                break;
            }
        }

        if (lab_below(30) == 0) {
            prd_bucket_adjust(&v[2].table.entries[a[2].slot].state,
                              -4000000000ll, UINT32_MAX);
        }
    }

    ok(wrong == 0 && admitted > 20 && refused > 20 && undone > 20,
       "three limits, \"%s\": %d admitted, %d refused, %d undone; what was "
       "refused has left no trace", words, admitted, refused, undone);

    for (k = 0; k < ZONES; k++) {
        free(v[k].zone);
    }
}


/* The bin's demand: admitted requests are counted once, refunded ones not. */

static void
demand(void)
{
    uint32_t      slot, parent;
    uint64_t      d;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, SLOW " burst=3");
    v = lab_zone(&policy, 1000, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);
    ask.parent = prd_tag(77);

    prd_judge(&v, &policy, &ask, &a);
    slot = a.slot;
    parent = a.parent_slot;
    is_int(atomic_load(&v.table.entries[slot].demand) >> 32, 0,
           "judging admits nothing");
    is_int(prd_charge(&v, &policy, &ask, &a), PRD_OK, "charged");

    d = atomic_load(&v.table.entries[slot].demand);
    is_int(d >> 32, 1000, "admitted cost");
    is_int((uint32_t) d, 1000, "peak");
    is_int(atomic_load(&v.table.entries[parent].demand) >> 32, 1000,
           "of the newcomer's key, too");
    ok(atomic_load(&v.dirty[slot / PRD_WAYS / 64])
       >> (slot / PRD_WAYS % 64) & 1, "its bucket is marked");

    prd_refund(&v, &policy, &ask, &a);
    is_int(atomic_load(&v.table.entries[slot].demand) >> 32, 0,
           "not after a refund");
    is_int(atomic_load(&v.table.entries[parent].demand) >> 32, 0,
           "nor of the newcomer's key");
    is_int((uint32_t) atomic_load(&v.table.entries[slot].demand), 1000,
           "that it was asked stays");

    /* refused ones are demand */

    ask.parent = 0;

    for (int i = 0; i < 10; i++) {
        a = decide(&v, &policy, &ask);
    }

    d = atomic_load(&v.table.entries[slot].demand);
    is_int(d >> 32, 4000, "four were admitted");
    is_int((uint32_t) d, 11000, "eleven were asked for");
    is_int(a.backlog, 11000, "told as backlog");

    /* a counter at its end */

    atomic_store(&v.table.entries[slot].demand, UINT64_MAX);
    atomic_store(&v.table.entries[slot].virtual_,
                 prd_word(LAB_MS, UINT32_MAX));
    atomic_store(&v.table.entries[slot].state, prd_word(LAB_MS, 0));
    a = decide(&v, &policy, &ask);
    is_int(atomic_load(&v.table.entries[slot].demand), UINT64_MAX,
           "counters of a bin saturate");
    is_int(prd_word_level(atomic_load(&v.table.entries[slot].virtual_)),
           UINT32_MAX, "so does the backlog");

    /* learn=off keeps none */

    free(v.zone);
    lab_policy(&policy, SLOW " burst=3 learn=off");
    v = lab_zone(&policy, 1000, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);
    a = decide(&v, &policy, &ask);
    is_int(atomic_load(&v.table.entries[a.slot].demand), 0,
           "learn=off: no demand is kept");

    free(v.zone);
}


static void
peeks(void)
{
    int           i;
    uint64_t      state;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a, b;
    prd_policy_t  policy;

    lab_policy(&policy, SLOW " burst=2");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);

    is_int(prd_inspect(&v, &policy, &ask, &a), PRD_DECLINED,
           "inspect: nobody there");
    is_int(a.verdict, PRD_PASSED, "what a newcomer would meet");
    is_int(prd_table_find(&v.table, ask.tag), PRD_NO_SLOT, "nobody is made");

    for (i = 0; i < 5; i++) {
        (void) prd_inspect(&v, &policy, &ask, &b);
        state = i ? atomic_load(&v.table.entries[b.slot].state) : 0;
        (void) prd_inspect(&v, &policy, &ask, &b);
        ok(i == 0 || atomic_load(&v.table.entries[b.slot].state) == state,
           "inspect changes nothing");

        a = decide(&v, &policy, &ask);
        ok(a.verdict == b.verdict && a.reason == b.reason
           && a.level == b.level && a.delay_ms == b.delay_ms,
           "inspect foretells request %d: %s", i,
           prd_verdict_name(a.verdict));
    }

    ask.cost = 0;
    state = atomic_load(&v.table.entries[a.slot].state);
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_PASSED, "cost 0 on a bucket that is just full");
    is_int(a.level, 3000, "tells its level");
    ok(!a.taken && atomic_load(&v.table.entries[a.slot].state) == state,
       "and charges nothing");
    is_int(a.backlog, 0, "nor is it demand");

    prd_settle(&v, &policy, &ask, &a, 5000);
    prd_refund(&v, &policy, &ask, &a);
    prd_unlearn(&v, &policy, &ask, &a);
    ok(atomic_load(&v.table.entries[a.slot].state) == state,
       "nothing to settle, refund or forget");

    free(v.zone);
}


static void
charges(void)
{
    uint32_t      i, slot;
    int64_t       pool;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a, many[8];
    prd_policy_t  policy;

    lab_policy(&policy, SLOW " burst=99 charge=$cost capacity=100r/s");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);
    ask.charged = 1;

    a = decide(&v, &policy, &ask);
    slot = a.slot;
    is_int(a.cost, 1000, "nothing known: holds 1");

    pool = prd_pool_level(atomic_load(&v.zone->pool), LAB_MS)
           + (int64_t) (v.credit >> 20);
    prd_settle(&v, &policy, &ask, &a, 7000);
    is_int(lab_level(&v, slot), 7000, "settled at 7");
    is_int(atomic_load(&v.table.entries[slot].demand) >> 32, 7000,
           "learning sees 7");
    ok(fabs((double) (pool - prd_pool_level(atomic_load(&v.zone->pool), LAB_MS)
                      - (int64_t) (v.credit >> 20))
            - 6.0 / 500 * PRD_POOL_FULL) < 10, "the pool pays 6 more");
    prd_settle(&v, &policy, &ask, &a, 7000);
    is_int(lab_level(&v, slot), 7000, "settled again: the same");
    prd_settle(&v, &policy, &ask, &a, 0);
    is_int(lab_level(&v, slot), 0, "settled at 0");
    is_int(atomic_load(&v.table.entries[slot].demand) >> 32, 0,
           "nothing was used");

    atomic_store(&v.zone->hold, 3500);
    a = decide(&v, &policy, &ask);
    is_int(a.cost, 3500, "the zone's mean");
    atomic_store(&v.table.entries[slot].hold, 2500);
    prd_settle(&v, &policy, &ask, &a, 0);
    a = decide(&v, &policy, &ask);
    is_int(a.cost, 2500, "the client's own");
    is_int(atomic_load(&v.table.entries[slot].counts) >> 32, 3,
           "three requests in the bin");

    /* debt ends at one depth below empty */

    prd_settle(&v, &policy, &ask, &a, 4000000000u);
    is_int(lab_level(&v, slot), 2 * a.terms.depth,
           "a charge without bound: two depths");
    is_int(atomic_load(&v.table.entries[slot].demand) >> 32, 4000000000u,
           "but learning sees the full charge");
    free(v.zone);

    /* what was held above the debt's bound was never charged */

    lab_policy(&policy, SLOW " burst=9 charge=$cost");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);
    ask.charged = 1;
    atomic_store(&v.zone->hold, 100000);
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_PASSED, "a hold of 100 passes an empty bucket of 10");
    is_int(lab_level(&v, a.slot), 20000, "and leaves the greatest debt");
    prd_settle(&v, &policy, &ask, &a, 50000);
    is_int(lab_level(&v, a.slot), 20000, "so do the 50 that it cost");
    prd_settle(&v, &policy, &ask, &a, 3000);
    is_int(lab_level(&v, a.slot), 3000, "3 would have left 3");
    free(v.zone);

    /* the slot was given away before the response came */

    lab_policy(&policy, SLOW " burst=9 charge=$cost");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);
    ask.charged = 1;
    a = decide(&v, &policy, &ask);
    slot = a.slot;
    atomic_store(&v.table.tags[slot], 4711);
    atomic_store(&v.table.entries[slot].state, prd_word(LAB_MS, 2000));
    atomic_store(&v.table.entries[slot].demand, 0);
    prd_unlearn(&v, &policy, &ask, &a);
    prd_settle(&v, &policy, &ask, &a, 8000);
    ok(lab_level(&v, slot) == 2000
       && atomic_load(&v.table.entries[slot].demand) == 0
       && atomic_load(&v.table.entries[slot].denied) == 0,
       "a stranger does not pay the charge of the slot's former client");
    free(v.zone);

    /* 401 and 403 */

    lab_policy(&policy, SLOW " burst=99");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);
    a = decide(&v, &policy, &ask);
    prd_unlearn(&v, &policy, &ask, &a);
    is_int(atomic_load(&v.table.entries[a.slot].denied), 1000, "denied");
    is_int(lab_level(&v, a.slot), 1000, "but paid");
    is_int(prd_word_level(atomic_load(&v.table.entries[a.slot].virtual_)), 0,
           "it leaves no backlog");
    prd_unlearn(&v, &policy, &ask, &a);
    is_int(atomic_load(&v.table.entries[a.slot].denied), 1000, "only once");
    policy.params.learn = PRD_LEARN_OFF;
    a = decide(&v, &policy, &ask);
    prd_unlearn(&v, &policy, &ask, &a);
    is_int(atomic_load(&v.table.entries[a.slot].denied), 1000,
           "where nothing is learned, there is nothing to forget");
    free(v.zone);

    /* a flood with some of them in it is a flood: its backlog has an end */

    lab_policy(&policy, SLOW " burst=99 warmup=0");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    atomic_store(&v.zone->warm, 1);
    ask = lab_ask(&policy, 42, LAB_MS);
    a = decide(&v, &policy, &ask);
    slot = a.slot;
    lab_learn(&v, slot, 0.001, 4, 30);

    for (i = 0; i < 20; i++) {
        a = decide(&v, &policy, &ask);
    }

    is_int(a.backlog, 8000, "20 requests, a depth of 4: a backlog of 8");

    for (i = 0; i < 8; i++) {
        many[i] = decide(&v, &policy, &ask);
    }

    for (i = 0; i < 8; i++) {
        prd_unlearn(&v, &policy, &ask, &many[i]);
    }

    is_int(prd_word_level(atomic_load(&v.table.entries[slot].virtual_)), 8000,
           "8 denied are no less");
    is_int(atomic_load(&v.table.entries[slot].denied), 8000,
           "but teach nothing");

    ask.now_ms += 3000000;
    a = decide(&v, &policy, &ask);
    many[0] = decide(&v, &policy, &ask);
    prd_unlearn(&v, &policy, &ask, &many[0]);
    ok(prd_word_level(atomic_load(&v.table.entries[slot].virtual_))
       == a.backlog && a.backlog < 8000, "with room in it, one comes off");
    free(v.zone);

    /* nor is a cheap request that was held for much */

    lab_policy(&policy, SLOW " burst=99 charge=$cost warmup=0");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    atomic_store(&v.zone->warm, 1);
    atomic_store(&v.zone->hold, 3000);
    ask = lab_ask(&policy, 42, LAB_MS);
    ask.charged = 1;
    a = decide(&v, &policy, &ask);
    slot = a.slot;
    lab_learn(&v, slot, 0.001, 4, 30);
    prd_settle(&v, &policy, &ask, &a, 9000);

    for (i = 0; i < 8; i++) {
        a = decide(&v, &policy, &ask);
        prd_settle(&v, &policy, &ask, &a, 100);
    }

    ok(prd_word_level(atomic_load(&v.table.entries[slot].virtual_)) > 7500,
       "nor what costs less than was held");
    free(v.zone);

    /* and what they would have cost is nobody's demand, nor habit */

    lab_policy(&policy, SLOW " burst=99 charge=$cost");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);
    ask.charged = 1;
    a = decide(&v, &policy, &ask);
    prd_settle(&v, &policy, &ask, &a, 9000);
    a = decide(&v, &policy, &ask);
    prd_unlearn(&v, &policy, &ask, &a);
    prd_settle(&v, &policy, &ask, &a, 700);
    slot = a.slot;
    is_int((atomic_load(&v.table.entries[slot].demand) >> 32)
           - atomic_load(&v.table.entries[slot].denied), 9000,
           "settled at less: as much is counted as before");
    a = decide(&v, &policy, &ask);
    prd_unlearn(&v, &policy, &ask, &a);
    prd_settle(&v, &policy, &ask, &a, 77000);
    is_int((atomic_load(&v.table.entries[slot].demand) >> 32)
           - atomic_load(&v.table.entries[slot].denied), 9000, "or at more");
    is_int(prd_word_level(atomic_load(&v.table.entries[slot].virtual_)), 9000,
           "as much is the backlog");
    is_int(atomic_load(&v.table.entries[slot].counts) >> 32, 1,
           "of one request");
    is_int(lab_level(&v, slot), 9000 + 700 + 77000, "all was paid");
    free(v.zone);
}


/* A refusal by the pool leaves a client in debt where it was. */

static void
debt(void)
{
    uint32_t      was;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, SLOW " burst=1 capacity=10r/s");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);

    do {
        a = decide(&v, &policy, &ask);
    } while (a.level < a.terms.debt);

    is_int(a.verdict, PRD_BORROWED, "deep in debt by borrowing");
    was = lab_level(&v, a.slot);
    is_int(was, a.terms.debt, "as deep as one may be");

    ask.cost = 200000;
    atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL / 10 * 9));
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_REJECTED, "200 more than the pool has");
    is_int(lab_level(&v, a.slot), was, "its debt is what it was");

    /* the same by a later limit: refunded */

    ask.cost = 20000;
    atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL));
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_BORROWED, "20 more are lent");
    prd_refund(&v, &policy, &ask, &a);
    is_int(lab_level(&v, a.slot), was, "and given back: its debt is the same");

    free(v.zone);
}


static void
overflow(uint32_t now_ms)
{
    int           i, passed, full;
    uint32_t      s, n;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, "rate=1r/s burst=4");
    v = lab_zone(&policy, 64, LAB_S, now_ms);
    n = prd_zone_slots(&v);

    for (s = 0; s < n; s++) {
        atomic_store(&v.table.tags[s], 1000000 + s);
        atomic_store(&v.table.entries[s].state, prd_word(now_ms, 1000));
        atomic_store(&v.table.entries[s].virtual_, prd_word(now_ms, 1000));
        lab_learn(&v, s, 1, 5, 5);
    }

    for (i = passed = full = 0; i < 50; i++) {
        ask = lab_ask(&policy, 100 + (uint64_t) i, now_ms);
        a = decide(&v, &policy, &ask);
        passed += a.verdict == PRD_PASSED;
        full += a.full && a.slot == n;
    }

    is_int(full, 50, "no room: fifty keys have the overflow bucket");
    is_int(passed, 5, "a newcomer's, for all together");
    is_reason(&a, "zone_full", "and this is why");
    is_int(prd_zone_count(&v, PRD_CNT_EXHAUSTED), 50, "counted");

    ask = lab_ask(&policy, 777, now_ms + 3000);
    a = decide(&v, &policy, &ask);
    is_int(a.verdict, PRD_PASSED, "it drains (at %u ms)", now_ms);
    is_int(a.level, 3000, "as every bucket");

    ask = lab_ask(&policy, 1000000 + 5, now_ms);
    a = decide(&v, &policy, &ask);
    ok(!a.full && a.verdict == PRD_PASSED, "the known have their own");

    ask = lab_ask(&policy, 888, now_ms + 3000);
    ask.parent = prd_tag(99);
    a = decide(&v, &policy, &ask);
    ok(a.verdict == PRD_PASSED && lab_level(&v, n) == 4000,
       "without a slot, no newcomer's key is charged on top");

    free(v.zone);
}


static void
notes(void)
{
    uint32_t        i, wrong;
    prd_ask_t       ask;
    prd_view_t      v;
    prd_answer_t    a;
    prd_policy_t    policy;
    prd_decision_t  d[8];

    static const struct {
        prd_verdict_e  verdict;
        prd_reason_e   reason;
        unsigned       dry_run;
        prd_counter_e  counter, by;
        unsigned       ring;
    } cases[] = {
        { PRD_PASSED, PRD_REASON_FORECAST, 0, PRD_CNT_PASSED, PRD_COUNTERS,
          0 },
        { PRD_BORROWED, PRD_REASON_BORROWED, 1, PRD_CNT_BORROWED,
          PRD_COUNTERS, 0 },
        { PRD_DELAYED, PRD_REASON_QUOTA, 0, PRD_CNT_DELAYED, PRD_COUNTERS,
          1 },
        { PRD_DELAYED, PRD_REASON_QUOTA, 1, PRD_CNT_DELAYED_DRY_RUN,
          PRD_COUNTERS, 1 },
        { PRD_REJECTED, PRD_REASON_QUOTA, 0, PRD_CNT_REJECTED, PRD_CNT_QUOTA,
          1 },
        { PRD_REJECTED, PRD_REASON_SCARCE, 0, PRD_CNT_REJECTED,
          PRD_CNT_SCARCE, 1 },
        { PRD_REJECTED, PRD_REASON_NEWCOMER, 0, PRD_CNT_REJECTED,
          PRD_CNT_NEWCOMER, 1 },
        { PRD_REJECTED, PRD_REASON_ZONE_FULL, 0, PRD_CNT_REJECTED,
          PRD_CNT_ZONE_FULL, 1 },
        { PRD_REJECTED, PRD_REASON_ABOVE_FORECAST, 1,
          PRD_CNT_REJECTED_DRY_RUN, PRD_CNT_ABOVE_FORECAST, 1 },
    };

    lab_policy(&policy, SLOW " burst=4");

    for (i = wrong = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        v = lab_zone(&policy, 64, LAB_S, LAB_MS);
        ask = lab_ask(&policy, 42, LAB_MS);
        a = decide(&v, &policy, &ask);
        a.verdict = cases[i].verdict;
        a.reason = cases[i].reason;
        a.delay_ms = 123;
        prd_note(&v, &ask, &a, cases[i].dry_run, 456);

        wrong += prd_zone_count(&v, cases[i].counter) != 1;
        wrong += cases[i].by != PRD_COUNTERS
                 && prd_zone_count(&v, cases[i].by) != 1;
        wrong += prd_zone_count(&v, PRD_CNT_COST_MILLI) != 1000;
        wrong += prd_zone_decisions(&v, 0, d, 8) != cases[i].ring;
        wrong += cases[i].ring
                 && (d[0].verdict != cases[i].verdict
                     || d[0].reason != cases[i].reason
                     || d[0].dry_run != cases[i].dry_run || d[0].tag != 42
                     || d[0].time_ms != 456 || d[0].delay_ms != 123
                     || d[0].level != a.level || d[0].depth != a.terms.depth
                     || d[0].limit != 5000 || d[0].cost != 1000
                     || d[0].m != PRD_ONE_Q16 || d[0].fill != 65536
                     || d[0].rate != policy.params.rate);
        is_int(wrong, 0, "%s, %s%s: counted and recorded",
               prd_verdict_name(a.verdict), reason(&a),
               cases[i].dry_run ? ", dry run" : "");
        free(v.zone);
    }

    v = lab_zone(&policy, 64, LAB_S, LAB_MS);
    a.verdict = PRD_SKIPPED;
    prd_note(&v, &ask, &a, 0, 456);

    for (i = wrong = 0; i < PRD_COUNTERS; i++) {
        wrong += prd_zone_count(&v, i) != 0;
    }

    is_int(wrong, 0, "a request that no limit saw counts nowhere");
    free(v.zone);
}


/*
 * The admitted cost that is counted is the cost that was, of charges too:
 * the series of the zone comes from it.
 */

static void
counted_cost(void)
{
    int           i;
    uint64_t      sum;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, "rate=10000r/s burst=1000 charge=$x");
    v = lab_zone(&policy, 64, LAB_S, LAB_MS);
    atomic_store(&v.zone->hold, 10000);
    sum = 0;

    for (i = 0; i < 1000; i++) {
        uint32_t  cost = i % 2 ? 1000 : 19000;

        ask = lab_ask(&policy, 42, LAB_MS + (uint32_t) i);
        ask.charged = 1;
        a = decide(&v, &policy, &ask);
        prd_note(&v, &ask, &a, 0, 1);
        prd_settle(&v, &policy, &ask, &a, cost);
        sum += cost;
    }

    ok(fabs((double) prd_zone_count(&v, PRD_CNT_COST_MILLI) / sum - 1) < 0.02,
       "charges of %llu, counted %llu", (unsigned long long) sum,
       (unsigned long long) prd_zone_count(&v, PRD_CNT_COST_MILLI));

    free(v.zone);
}


static void
surge(void)
{
    uint32_t      slot;
    unsigned      evicted;
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, "rate=1r/s burst=9 capacity=100r/s");
    v = lab_zone(&policy, 64, LAB_S, LAB_MS);
    atomic_store(&v.zone->warm, 1);
    atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL / 8 * 5));
    atomic_store(&v.zone->surge[3], 3 * PRD_ONE_Q16);   /* rho = 4 */

    ask = lab_ask(&policy, 42, LAB_MS);
    ask.class_ = 3;
    a = decide(&v, &policy, &ask);
    ok(a.terms.m > PRD_ONE_Q16, "not told, not in force");

    atomic_store(&v.zone->surging, 1);
    a = decide(&v, &policy, &ask);
    ok(abs((int) a.terms.m - (int) (1.5 * 65536 / 4)) < 600,
       "a newcomer of the class: m / rho, %.3f", a.terms.m / 65536.0);

    ask.class_ = 4;
    a = decide(&v, &policy, &ask);
    ok(a.terms.m > PRD_ONE_Q16, "no other class");

    prd_table_insert(&v.table, 43, LAB_MS, &slot, &evicted);
    lab_learn(&v, slot, 1, 10, 60000);
    ask = lab_ask(&policy, 43, LAB_MS);
    ask.class_ = 3;
    atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL / 4));
    a = decide(&v, &policy, &ask);
    ok(a.terms.m > PRD_ONE_Q16, "nor the proven: %.3f", a.terms.m / 65536.0);

    atomic_store(&v.zone->pool, prd_word(LAB_MS, PRD_POOL_FULL));
    ask = lab_ask(&policy, 42, LAB_MS);
    ask.class_ = 3;
    a = decide(&v, &policy, &ask);
    is_int(a.terms.m, PRD_M_INF, "nor while there is room");

    is_int(atomic_load(&v.worker->class_[3]) > 0, 1, "demand by class");
    free(v.zone);
}


static void
clocks(void)
{
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;
    prd_policy_t  policy;

    lab_policy(&policy, "rate=1r/s burst=4 capacity=100r/s borrow=off");
    v = lab_zone(&policy, 64, LAB_S, 0xfffffff0);
    ask = lab_ask(&policy, 42, 0xfffffff0);
    decide(&v, &policy, &ask);
    ask.now_ms = 1000 - 16;
    a = decide(&v, &policy, &ask);
    is_int(a.level, 1000, "over the wrap of the milliseconds");
    ask.now_ms = 0xfffffff0;
    a = decide(&v, &policy, &ask);
    is_int(a.level, 2000, "a step back over it");
    ask.now_ms = 1000 - 16;
    a = decide(&v, &policy, &ask);
    is_int(a.level, 3000, "drains nothing twice");

    free(v.zone);
}


/* Responses are counted by size, a sample of them for their client's group. */

static void
sizes(void)
{
    unsigned           i, group;
    uint64_t           n, sum, in_group, skipped;
    prd_ask_t          ask;
    prd_view_t         v;
    prd_answer_t       a;
    prd_policy_t       policy;
    prd_outlook_t     *o;
    prd_tracked_t      c;
    prd_outlook_bin_t  bin;

    static prd_outlook_work_t  work;

    lab_policy(&policy, "rate=100r/s burst=50");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    o = v.outlook.outlook;
    ask = lab_ask(&policy, 42, LAB_MS);
    a = decide(&v, &policy, &ask);

    /* a client of the third group */

    memset(&bin, 0, sizeof(bin));
    bin.tag = ask.tag;
    bin.slot = a.slot;
    bin.generation = (uint16_t) prd_env_generation(
                         atomic_load(&v.table.entries[a.slot].envelope));
    bin.blocks = 5;
    bin.requests = 1;
    bin.start_s = LAB_S;

    {
        float  ahead;

        (void) prd_outlook_count(&v.outlook, &work, &bin, &ahead);
    }

    group = 2;
    o->groups.group[group].id = 77;
    v.outlook.client[0].group = (uint8_t) group;
    v.outlook.client[0].group_id = 77;
    is_int(prd_outlook_copy(&v.outlook, 0, &c), PRD_OK, "sizes: a record");

    sum = 0;

    for (i = 0; i < 8000; i++) {
        prd_sized(&v, &policy, &a, 1000 + i % 3);
        sum += 1000 + i % 3;
    }

    n = 0;

    for (i = 0; i < PRD_SIZES; i++) {
        n += atomic_load(&v.worker->size[i]);
    }

    is_int(n >> 40, 8000, "sizes: all are counted");
    is_int(n & (PRD_SIZE_ONE - 1), sum, "sizes: their bytes");
    is_int(atomic_load(&v.worker->size[prd_size_class(1000)]), n,
           "sizes: in their class");

    in_group = atomic_load(&v.worker->group_size[group]) >> 40;
    ok(in_group > 800 && in_group < 1200, "sizes: an eighth in the group: %u",
       (unsigned) in_group);

    /* nobody's group is asked of who has no slot */

    a.full = 1;
    a.slot = prd_zone_slots(&v);
    skipped = atomic_load(&v.worker->group_size[group]);

    for (i = 0; i < 10; i++) {
        prd_sized(&v, &policy, &a, UINT64_MAX);
    }

    is_int(atomic_load(&v.worker->group_size[group]), skipped,
           "sizes: the overflow is of no group");
    is_int(atomic_load(&v.worker->size[PRD_SIZES - 1]) >> 40, 10,
           "sizes: the greatest");

    free(v.zone);

    /* a plain limit pays for no forecast */

    lab_policy(&policy, "rate=100r/s burst=50 learn=off");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    ask = lab_ask(&policy, 42, LAB_MS);
    a = decide(&v, &policy, &ask);
    prd_sized(&v, &policy, &a, 1000);

    is_int(atomic_load(&v.worker->size[prd_size_class(1000)]), 0,
           "sizes: not counted with learn=off");

    free(v.zone);
}


int
main(void)
{
    uint64_t  seed;

    as_limit_req("");
    as_limit_req("learn=off");
    as_limit_req("learn=observe");
    as_limit_req("floor=none");

    for (seed = 1; seed <= 4; seed++) {
        never_less("rate=10r/s burst=5", seed);
        never_less("rate=0.7r/s burst=0", seed);
        never_less("rate=10r/s burst=5 capacity=1000000r/s", seed);
        never_less("rate=1.5r/s burst=20 capacity=1000000r/s borrow=off",
                   seed);
        never_less("rate=50r/s burst=3 capacity=1000000r/s borrow=3", seed);
    }

    envelopes();
    before_the_first_hour();
    reasons();
    scarce_delay();
    trust();
    trust_least("rate=0.001r/s capacity=100r/s", 1000);
    trust_least("rate=0.001r/s capacity=500r/s cost=5", 5000);
    trust_least("rate=0.001r/s capacity=10r/s cost=0.1", 100);
    newcomers(SLOW " burst=40 learn=off");
    newcomers(SLOW " burst=40");
    newcomers(SLOW " burst=40 capacity=100r/s borrow=2 learn=off");
    newcomer_rules();
    company(SLOW " burst=20 learn=off");
    company(SLOW " burst=20 capacity=1000r/s borrow=off learn=off");
    company(SLOW " burst=4 capacity=1000r/s");
    demand();
    peeks();
    charges();
    debt();
    overflow(LAB_MS);
    overflow(3000000000u);
    notes();
    counted_cost();
    surge();
    sizes();
    clocks();

    return done_testing();
}
