
/*
 * The bucket: limit_req's arithmetic to the last thousandth, the order of the
 * verdict, and what is left of a level after corrections.
 */


#include "lab.h"


#define ROUNDS  3000


static prd_terms_t
plain(int64_t rate_milli, int64_t burst_milli, int64_t delay_milli)
{
    prd_terms_t  t;

    memset(&t, 0, sizeof(prd_terms_t));

    t.rate = t.delay_rate = (prd_rate_t) rate_milli * 1000000;
    t.limit = t.depth = (uint32_t) burst_milli + 1000;
    t.free = (uint32_t) delay_milli + 1000;
    t.m = t.speed = PRD_ONE_Q16;
    t.debt = 2 * t.depth;
    t.cost = 1000;
    t.unit = PRD_MILLI;

    return t;
}


/* Milliseconds between two requests: bunched, ordinary, rare, backwards. */

static int64_t
gap(void)
{
    switch (lab_below(16)) {

    case 0:
        return - (int64_t) lab_below(60001);

    case 1:
        return (int64_t) lab_magnitude(24ull * 86400 * 1000);

    case 2:
    case 3:
        return (int64_t) lab_magnitude(100000);

    case 4:
    case 5:
    case 6:
        return 0;

    default:
        return (int64_t) lab_magnitude(50);
    }
}


static int64_t
some_rate(void)
{
    switch (lab_below(4)) {

    case 0:
        return 1 + (int64_t) lab_below(1000);

    case 1:
        return 1000 * (1 + (int64_t) lab_below(1000));

    default:
        return (int64_t) lab_magnitude(1000000000);
    }
}


static void
as_limit_req(void)
{
    int            i, n, refused, delayed, steps, wraps;
    int64_t        now, was, delay, excess;
    uint32_t       level, ms;
    uint64_t       word, next;
    lab_limit_t    l;
    prd_terms_t    t;
    prd_verdict_e  v;
    unsigned       wrong;

    wrong = 0;
    refused = delayed = steps = wraps = 0;

    for (n = 0; n < ROUNDS; n++) {
        memset(&l, 0, sizeof(lab_limit_t));

        l.rate = some_rate();
        l.burst = 1000 * (int64_t) lab_below(lab_magnitude(2000));
        l.delay = lab_below(3) ? l.burst
                               : 1000 * (int64_t) lab_below(l.burst / 1000 + 1);
        t = plain(l.rate, l.burst, l.delay);

        /* some begin just before the 32-bit milliseconds wrap */

        now = lab_below(2) ? 0x100000000ll - (int64_t) lab_magnitude(100000)
                           : 1000000 + (int64_t) lab_random() % 1000000;
        word = next = prd_word((uint32_t) now, 0);

        for (i = 0; i < 300; i++) {
            was = now;
            now += i ? gap() : 0;
            now = prd_max(now, 0);
            steps += now < was;

            /* more than 24 days cannot be told from a step back */

            if (l.known && now - l.last > INT32_MAX) {
                now = was;
            }

            /* several steps back may add up to limit_req's minute */

            now = l.known ? prd_max(now, l.last - 60000) : now;

            wraps += was >> 32 != now >> 32;

            delay = lab_limit(&l, now, &excess);
            v = prd_bucket_judge(&t, word, (uint32_t) now, &level, &next, &ms);

            if (delay == LAB_BUSY) {
                refused++;
                wrong += v != PRD_REJECTED;

            } else {
                delayed += delay > 0;
                wrong += v != (delay ? PRD_DELAYED : PRD_PASSED);
                wrong += ms != prd_min(delay, INT32_MAX);
                wrong += prd_word_level(next) != level;
                word = next;
            }

            wrong += level != excess + 1000;

            if (wrong) {
                ok(0, "rate %lld burst %lld, request %d at %lld: level %u, "
                   "excess %lld; verdict %d, %u ms for %lld",
                   (long long) l.rate, (long long) l.burst, i,
                   (long long) now, level, (long long) excess, v, ms,
                   (long long) delay);
                return;
            }
        }
    }

    ok(refused > 10000 && delayed > 1000 && steps > 10000 && wraps > 100,
       "%d refused, %d delayed, %d steps back, %d wraps", refused, delayed,
       steps, wraps);
    is_int(wrong, 0, "%d requests as limit_req has them", ROUNDS * 300);
}


/*
 * Whole tokens, for depths above 2,000,000: neither more nor, over time, less
 * than the rate.
 */

static void
whole_tokens(void)
{
    int          i;
    uint32_t     now, level, ms, dt;
    uint64_t     word, next, passed, least, most;
    prd_terms_t  t;

    static const struct {
        uint64_t  rate;                  /* nano-tokens/s */
        uint32_t  every_ms;
    } cases[] = {
        { 1000 * PRD_RATE_ONE, 1 },
        { 999 * PRD_RATE_ONE, 1 },
        { 1900 * PRD_RATE_ONE, 1 },
        { 2500 * PRD_RATE_ONE, 3 },
        { 100 * PRD_RATE_ONE, 7 },
        { 3 * PRD_RATE_ONE, 400 },
        { 1234567890123ull, 0 },         /* random gaps */
        { 999999 * PRD_RATE_ONE, 1 },
    };

    for (i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++) {
        t = plain(1, 0, 0);
        t.rate = t.delay_rate = cases[i].rate;
        t.unit = t.cost = 1;
        t.depth = t.limit = t.free = 3000;
        t.debt = 6000;

        now = 4294000000u;               /* wraps on the way */
        word = prd_word(now, 0);
        passed = 0;
        least = 0;

        while (least < 400000) {
            dt = cases[i].every_ms ? cases[i].every_ms
                                   : (uint32_t) lab_below(4);
            now += dt;
            least += dt;

            /* more than ever drains */

            while (prd_bucket_judge(&t, word, now, &level, &next, &ms)
                   == PRD_PASSED)
            {
                word = next;
                passed++;
            }
        }

        most = (uint64_t) ((unsigned __int128) t.rate * least
                           / 1000000000000u) + 3001;
        least = (most - 3001) * 999 / 1000 + 2990;

        ok(passed <= most && passed >= least,
           "%.3f tokens/s in whole ones, every %u ms: %llu of %llu..%llu",
           (double) t.rate / 1e9, cases[i].every_ms,
           (unsigned long long) passed, (unsigned long long) least,
           (unsigned long long) most);
    }

    /* idle for long, then at once: nothing is lost or won */

    t = plain(1, 0, 0);
    t.rate = 1500 * PRD_RATE_ONE;
    t.unit = t.cost = 1;
    t.depth = t.limit = t.free = 3000000;
    t.debt = 6000000;

    prd_bucket_judge(&t, prd_word(1000, 3000000), 1001000, &level, &next, &ms);
    is_int(level, 3000000 - 1500000 + 1, "1000 s at 1500/s");
}


static void
drained(void)
{
    int                i;
    uint32_t           dt, unit, got, bad;
    prd_rate_t         rate;
    unsigned __int128  p;

    for (i = bad = 0; i < 200000; i++) {
        rate = i < 10 ? PRD_RATE_MAX : lab_magnitude(PRD_RATE_MAX);
        dt = i < 10 ? INT32_MAX : (uint32_t) lab_magnitude(INT32_MAX);
        unit = lab_below(2) ? 1000 : 1;

        p = (unsigned __int128) rate * dt / (1000000000000ull / unit);
        p = p > UINT32_MAX ? UINT32_MAX : p;
        got = prd_drained(rate, 0, dt, unit);

        /* whole tokens are rounded up by less than one in all of the time */

        bad += got != (uint32_t) p
               && (unit == 1000 || got != (uint32_t) (p + 1));
    }

    is_int(bad, 0, "drained: the product in 128 bits, saturated");
    is_int(prd_drained(0, 0, INT32_MAX, 1000), 0, "nothing at rate 0");

    is_int(prd_elapsed(0xfffffff0, 0x10), 0x20, "time wraps");
    is_int(prd_elapsed(0x10, 0xfffffff0), 0, "a step back over the wrap");
    is_int(prd_elapsed(5, 5), 0, "no time");
    is_int(prd_elapsed(0, INT32_MAX), INT32_MAX, "24.8 days");
    is_int(prd_elapsed(0, 0x80000000), 0, "one ms more is a step back");

    is_int(prd_level_after(5000, PRD_RATE_ONE, 2 * PRD_ONE_Q16, 0, 2000,
                           1000),
           1000, "twice the speed");
    is_int(prd_level_after(5000, PRD_RATE_ONE, PRD_ONE_Q16, 0, 5000, 1000), 0,
           "to the ground");
    is_int(prd_level_after(5000, PRD_RATE_MAX, 1000 * PRD_ONE_Q16, 0, INT32_MAX,
                           1000), 0, "the fastest for the longest");
}


/* The reference, in its own words; numbers small enough for doubles. */

static prd_verdict_e
reference(const prd_terms_t *t, double level)
{
    double  x, m, k;

    x = level + t->cost;
    m = t->m == PRD_M_INF ? 1e9 : (double) t->m / 65536;
    k = m < 1 ? m : 1;

    return x <= k * t->free ? PRD_PASSED
           : m > 1 && x <= m * t->depth ? PRD_BORROWED
           : x <= k * t->limit ? PRD_DELAYED
           : level == 0 && t->cost > t->depth && k == 1 ? PRD_PASSED
           : PRD_REJECTED;
}


static void
verdicts(void)
{
    int            i, seen[4];
    double         k, least, most;
    uint32_t       level, ms, was;
    uint64_t       word, next;
    prd_terms_t    t;
    prd_verdict_e  v, r;

    static const uint32_t  ms_of[] = {
        0, 1, 16384, 32768, 65535, 65536, 65537, 98304, 131072, 262144,
        PRD_M_INF
    };

    memset(seen, 0, sizeof(seen));

    for (i = 0; i < 1000000; i++) {
        t = plain(1 + (int64_t) lab_below(5000), 0, 0);

        t.limit = (uint32_t) (1 + lab_below(8)) * 1000;
        t.learned = lab_below(2);
        t.depth = t.learned ? t.limit + (uint32_t) lab_below(8000) : t.limit;
        t.free = (uint32_t) (1 + lab_below(t.limit / 1000)) * 1000;
        t.free = t.learned ? prd_max(t.free, t.depth) : t.free;
        t.m = ms_of[lab_below(sizeof(ms_of) / sizeof(ms_of[0]))];
        t.debt = prd_max(2 * t.depth, t.limit);
        t.delay_rate = t.rate + lab_below(3) * 1000000;
        t.cost = (uint32_t) (lab_below(4) ? 1000 : lab_below(20000));
        was = (uint32_t) (lab_below(4) ? lab_below(20) * 500 : 0);
        word = prd_word(777, was);
        next = 0;

        v = prd_bucket_judge(&t, word, 777, &level, &next, &ms);
        r = reference(&t, was);

        /*
         * (x - free) / rate; in scarcity x may be below free, and where that
         * is waited for, it is until k free.
         */

        k = prd_min(t.m, PRD_ONE_Q16) / 65536.0;
        least = most = 0;

        if (v == PRD_DELAYED) {
            least = ((double) was + t.cost - t.free) * 1e9 / t.delay_rate;
            least = prd_max(least, 0);
            most = ((double) was + t.cost - k * t.free) * 1e9 / t.delay_rate;
        }

        seen[v]++;

        /* less than a millisecond is no delay */

        if (v == PRD_PASSED && r == PRD_DELAYED) {
            least = ((double) was + t.cost - t.free) * 1e9 / t.delay_rate;
            r = least < 1 ? PRD_PASSED : r;
            least = 0;
        }

        if (v != r || level != was + t.cost
            || ms < floor(least * (1 - 1e-12)) || ms > most * (1 + 1e-12)
            || (v != PRD_REJECTED
                && next != prd_word(777, prd_min(level, t.debt))))
        {
            ok(0, "level %u cost %u free %u limit %u depth %u m %u: %s for %s,"
               " %u ms for %.0f..%.0f, next %llx", was, t.cost, t.free,
               t.limit, t.depth, t.m, prd_verdict_name(v),
               prd_verdict_name(r), ms, least, most,
               (unsigned long long) next);
            return;
        }
    }

    ok(seen[0] > 10000 && seen[1] > 10000 && seen[2] > 10000
       && seen[3] > 10000, "a million verdicts as the contract has them: "
       "%d passed, %d borrowed, %d delayed, %d refused", seen[0], seen[1],
       seen[2], seen[3]);
}


static prd_verdict_e
at(prd_terms_t t, uint32_t level)
{
    uint32_t  l, ms;
    uint64_t  next;

    return prd_bucket_judge(&t, prd_word(777, level), 777, &l, &next, &ms);
}


static void
edges(void)
{
    uint32_t     level, ms;
    uint64_t     next;
    prd_terms_t  t;

    t = plain(1000, 4000, 2000);
    is_int(at(t, 2000), PRD_PASSED, "x = free passes");
    is_int(at(t, 2001), PRD_DELAYED, "above it is delayed");
    is_int(at(t, 4000), PRD_DELAYED, "x = burst + 1 is delayed");
    is_int(at(t, 4001), PRD_REJECTED, "above it is refused");

    t.m = 2 * PRD_ONE_Q16;
    t.depth = 5000;
    is_int(at(t, 2001), PRD_BORROWED, "who may borrow is not delayed");
    is_int(at(t, 9000), PRD_BORROWED, "x = m b borrows");
    is_int(at(t, 9001), PRD_REJECTED, "above it is refused");
    t.m = PRD_M_INF;
    is_int(at(t, UINT32_MAX - 10), PRD_BORROWED, "unlimited is unlimited");

    t.m = PRD_ONE_Q16 / 2;
    is_int(at(t, 500), PRD_PASSED, "m = 1/2: x = free / 2 passes");
    ok(at(t, 501) != PRD_REJECTED, "above it there may be a delay");
    ok(at(t, 1500) != PRD_REJECTED, "up to half of burst + 1");
    is_int(at(t, 1501), PRD_REJECTED, "above it is refused");

    t.m = 0;
    is_int(at(t, 0), PRD_REJECTED, "m = 0: nothing passes");
    t.cost = 0;
    is_int(at(t, 0), PRD_PASSED, "but a peek at an empty bucket");

    t = plain(1000, 4000, 4000);
    t.cost = 5001;
    is_int(at(t, 0), PRD_PASSED, "a cost above the depth: on an empty bucket");
    is_int(at(t, 1), PRD_REJECTED, "on no other");
    t.m = PRD_ONE_Q16 - 1;
    is_int(at(t, 0), PRD_REJECTED, "nor in scarcity");

    t.m = PRD_ONE_Q16;
    t.cost = UINT32_MAX;
    is_int(prd_bucket_judge(&t, prd_word(777, 0), 777, &level, &next, &ms),
           PRD_PASSED, "the greatest cost");
    is_int(level, UINT32_MAX, "its level is told as it is");
    is_int(prd_word_level(next), t.debt, "what is kept is bounded");

    t.cost = UINT32_MAX;
    prd_bucket_judge(&t, prd_word(777, UINT32_MAX), 777, &level, &next, &ms);
    is_int(level, UINT32_MAX, "a level does not wrap");

    t = plain(1000, 4000, 0);
    t.rate = t.delay_rate = 0;
    is_int(prd_bucket_judge(&t, prd_word(0, 1000), 5000, &level, &next, &ms),
           PRD_DELAYED, "rate 0: nothing drains");
    is_int(level, 2000, "in any time");
    is_int(ms, INT32_MAX, "and a delay is as long as there is");

    t.delay_rate = 1;
    prd_bucket_judge(&t, prd_word(0, 3000), 5000, &level, &next, &ms);
    is_int(ms, INT32_MAX, "a delay of years saturates");

    t = plain(1000, 4000, 0);
    t.rate = 500 * 1000000;
    prd_bucket_judge(&t, prd_word(5000, 1000), 5000, &level, &next, &ms);
    is_int(ms, 1000, "delays are paid at the greater of both rates");

    /* time */

    prd_bucket_judge(&t, prd_word(5000, 3000), 4000, &level, &next, &ms);
    is_int(prd_word_ms(next), 5000, "a step back keeps the time");
    is_int(level, 4000, "and drains nothing");
    prd_bucket_judge(&t, prd_word(5000, 3000), 7000, &level, &next, &ms);
    is_int(prd_word_ms(next), 7000, "a step forward moves it");
    is_int(level, 3000, "and drains at the rate of the envelope");

    t.speed = 3 * PRD_ONE_Q16;
    prd_bucket_judge(&t, prd_word(5000, 3000), 6000, &level, &next, &ms);
    is_int(level, 2500, "three times as fast while the pool has room");
}


static void
adjust(void)
{
    prd_word_t  w;

    atomic_store(&w, prd_word(42, 3000));
    prd_bucket_adjust(&w, -1000, UINT32_MAX);
    is_int(atomic_load(&w), prd_word(42, 2000), "a refund; time stays");
    prd_bucket_adjust(&w, -5000, UINT32_MAX);
    is_int(atomic_load(&w), prd_word(42, 0), "not below empty");
    prd_bucket_adjust(&w, 1500, 2000);
    is_int(atomic_load(&w), prd_word(42, 1500), "a charge");
    prd_bucket_adjust(&w, 1500, 2000);
    is_int(atomic_load(&w), prd_word(42, 2000), "up to the most");
    prd_bucket_adjust(&w, 1500, 1000);
    is_int(atomic_load(&w), prd_word(42, 2000),
           "a level above the most stays");
    prd_bucket_adjust(&w, -500, 1000);
    is_int(atomic_load(&w), prd_word(42, 1500), "or falls by a refund");
    prd_bucket_adjust(&w, UINT32_MAX, UINT32_MAX);
    is_int(atomic_load(&w), prd_word(42, UINT32_MAX), "the top");
    prd_bucket_adjust(&w, - (int64_t) UINT32_MAX, 0);
    is_int(atomic_load(&w), prd_word(42, 0), "the bottom");
    prd_bucket_adjust(&w, 0, 0);
    is_int(atomic_load(&w), prd_word(42, 0), "nothing");
}


static void
names(void)
{
    is_str(prd_verdict_name(PRD_PASSED), 6, "PASSED", "verdicts have names");
    is_str(prd_verdict_name(PRD_BORROWED), 8, "BORROWED", "borrowed");
    is_str(prd_verdict_name(PRD_DELAYED), 7, "DELAYED", "delayed");
    is_str(prd_verdict_name(PRD_REJECTED), 8, "REJECTED", "rejected");
    is_str(prd_verdict_name(PRD_SKIPPED), 0, "", "skipped has none");
    is_str(prd_verdict_name(77), 0, "", "nor has nonsense");
    is_str(prd_reason_name(PRD_REASON_NONE), 0, "", "no reason");
    is_str(prd_reason_name(PRD_REASON_FORECAST), 8, "forecast", "forecast");
    is_str(prd_reason_name(PRD_REASON_BORROWED), 8, "borrowed", "borrowed");
    is_str(prd_reason_name(PRD_REASON_ABOVE_FORECAST), 14, "above_forecast",
           "above_forecast");
    is_str(prd_reason_name(PRD_REASON_SCARCE), 6, "scarce", "scarce");
    is_str(prd_reason_name(PRD_REASON_QUOTA), 5, "quota", "quota");
    is_str(prd_reason_name(PRD_REASON_NEWCOMER), 8, "newcomer", "newcomer");
    is_str(prd_reason_name(PRD_REASON_STORE), 5, "store", "store");
    is_str(prd_reason_name(PRD_REASON_ZONE_FULL), 9, "zone_full",
           "zone_full");
    is_str(prd_reason_name(PRD_REASONS), 0, "", "nonsense");
}


int
main(void)
{
    as_limit_req();
    whole_tokens();
    drained();
    verdicts();
    edges();
    adjust();
    names();

    return done_testing();
}
