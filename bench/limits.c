
/*
 * What somebody can do to a small zone: clients known to it, then millions of
 * tokens that nobody has seen before, and keys of 64 KiB.
 *
 * Bounds: every known client keeps its slot, its envelope and its hours; a
 * table checks without fault; a request of a new token costs at most 20 times
 * one of a known client.  Usage: limits [tokens]
 */


#include "bench.h"


#define LIMITS_KNOWN   2000
#define LIMITS_SLOTS   8000              /* about: a zone of a megabyte */
#define LIMITS_HOURS   3


static uint64_t
limits_envelope(const bench_zone_t *z, uint32_t slot)
{
    return atomic_load(&z->view.table.entries[slot].envelope);
}


static double
limits_ask(bench_zone_t *z, uint64_t from, uint32_t n, uint32_t ms)
{
    double    start;
    uint32_t  i;

    start = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);

    for (i = 0; i < n; i++) {
        (void) bench_zone_ask(z, bench_tag(z, from + i), 0, 0, ms);
    }

    return (bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - start) / n * 1e9;
}


/* One request for each of 10,000 tokens at a time, mean and worst batch */

static void
limits_tokens(bench_zone_t *z, uint64_t tokens, double *mean, double *worst)
{
    double    ns;
    uint64_t  i;
    uint32_t  batches, second;

    *mean = *worst = 0;
    batches = 0;
    second = z->second;

    for (i = 0; i < tokens; i += 10000, batches++) {

        /* 50,000 tokens a second; the round is the thread's */

        bench_zone_clock(z, second + batches / 5);
        ns = limits_ask(z, 1ull << 40 | i, 10000, z->second * 1000);

        *mean += ns;
        *worst = fmax(*worst, ns);
    }

    *mean /= batches;
}


static double
limits_hash(bench_zone_t *z, size_t len, unsigned n)
{
    char               *key;
    double              start;
    unsigned            i;
    volatile uint64_t   sink;

    key = malloc(len);
    memset(key, 'x', len);
    start = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);

    for (i = 0; i < n; i++) {
        memcpy(key, &i, sizeof(unsigned));
        sink = prd_hash(&z->secret, key, len);
    }

    (void) sink;
    start = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - start;
    free(key);

    return start / n * 1e9;
}


int
main(int argc, char **argv)
{
    int                  bad;
    double               known_ns, mean, worst, again_ns;
    uint32_t             i, hour, found, claims, faults, lost, changed,
                         slots[LIMITS_KNOWN];
    uint64_t             tokens, exhausted, env[LIMITS_KNOWN];
    static bench_zone_t  z;

    tokens = argc > 1 ? strtoull(argv[1], NULL, 10) : 5000000;

    bench_zone_init(&z, "capacity=1000000r/s warmup=1h", LIMITS_SLOTS, 136);

    /* LIMITS_HOURS active hours make a client known */

    for (hour = 0; hour < LIMITS_HOURS + 1; hour++) {
        (void) limits_ask(&z, 0, LIMITS_KNOWN, hour * 3600 * 1000 + 1000);
    }

    bench_zone_clock(&z, LIMITS_HOURS * 3600 + 60);

    known_ns = limits_ask(&z, 0, LIMITS_KNOWN, z.second * 1000);
    bench_zone_clock(&z, z.second + 20);

    for (i = 0; i < LIMITS_KNOWN; i++) {
        slots[i] = prd_table_find(&z.view.table, bench_tag(&z, i));
        env[i] = slots[i] == PRD_NO_SLOT ? 0 : limits_envelope(&z, slots[i]);
    }

    exhausted = prd_zone_count(&z.view, PRD_CNT_EXHAUSTED);

    limits_tokens(&z, tokens, &mean, &worst);

    lost = changed = 0;

    for (i = 0; i < LIMITS_KNOWN; i++) {
        if (slots[i] == PRD_NO_SLOT
            || prd_table_find(&z.view.table, bench_tag(&z, i)) != slots[i])
        {
            lost++;

        } else if (limits_envelope(&z, slots[i]) != env[i]) {
            changed++;
        }
    }

    exhausted = prd_zone_count(&z.view, PRD_CNT_EXHAUSTED) - exhausted;
    again_ns = limits_ask(&z, 0, LIMITS_KNOWN, z.second * 1000);
    faults = prd_table_check(&z.view.table, &found, &claims);

    printf("limits: %u known clients in a zone of %.1f MB (%u slots), then"
           " %llu fresh tokens at 50,000/s\n", LIMITS_KNOWN,
           (double) z.size / 1048576, prd_zone_slots(&z.view),
           (unsigned long long) tokens);
    printf("  known clients lost %u, envelopes changed %u, faults %u; %.1f %%"
           " of the tokens found no slot\n", lost, changed, faults,
           100.0 * (double) exhausted / (double) tokens);
    printf("  ns a request: known %.0f, fresh token %.0f (worst 10,000: %.0f),"
           " known afterwards %.0f\n", known_ns, mean, worst, again_ns);
    printf("  ns to hash a key of 32 B %.0f, 1 KiB %.0f, 64 KiB %.0f\n",
           limits_hash(&z, 32, 100000), limits_hash(&z, 1024, 20000),
           limits_hash(&z, 65536, 2000));

    bad = lost || changed || faults || mean > 20 * fmax(known_ns, again_ns);

    if (bad) {
        printf("  EXCEEDED\n");
    }

    return bad;
}
