
/*
 * What closing a bin costs the forecasting thread: N clients, all active in
 * every bin, CPU seconds of one round.  An hour ends inside, and with it a
 * horizon of 5 minutes: those of each client in a bin of its own phase, so
 * these bins are to cost what the others do.  At last all clients pause for
 * over an hour, three times, and come back in the same bin.
 * Usage: closing_bench [clients] [bins]
 *
 * Bound: 0.2 us a client in the mean, a million in 0.2 s, which is for an
 * idle machine: printed, not enforced.
 */


#include "bench.h"


#define PAUSES   3
#define PAUSE_S  4000


typedef enum { ORDINARY = 0, HORIZON, HOUR_ENDS, HOUR_CLOSES, BACK, KINDS }
    closing_kind_e;

static const char *const  closing_kinds[] = {
    "ordinary", "after a horizon of 300 s", "at the full hour (trust)",
    "after the full hour (rates)", "all are back from a pause"
};


/* What falls into the bin that ends now; see prd_learned_near(), _hour(). */

static closing_kind_e
closing_kind(uint64_t now)
{
    if (now % PRD_EPOCH_S == 0) {
        return HOUR_ENDS;
    }

    return now % PRD_EPOCH_S == PRD_BIN_S ? HOUR_CLOSES
           : now % 300 == PRD_BIN_S ? HORIZON : ORDINARY;
}


int
main(int argc, char **argv)
{
    long                     clients, bins, b, i, k, n[KINDS];
    void                    *mem;
    double                   start, took, worst, sum, request;
    double                   kinds[KINDS], least[KINDS];
    size_t                   size;
    uint32_t                 ms, faults, found, claims;
    uint64_t                 now;
    prd_ask_t                ask;
    prd_view_t               view;
    prd_answer_t             answer;
    prd_params_t             params;
    prd_policy_t             policy;
    closing_kind_e           kind, worst_kind;
    prd_secret_t             secret = { 0x0123456789abcdef, 42 };
    static prd_forecaster_t  f;

    clients = argc > 1 ? atol(argv[1]) : 1000000;
    bins = argc > 2 ? atol(argv[2]) : 40;

    prd_params_init(&params);
    params.capacity = params.max = (prd_rate_t) clients * PRD_RATE_ONE;
    params.warmup_s = 30;

    memset(&policy, 0, sizeof(policy));
    prd_policy_init(&policy, &params, 0);

    /* a table filled to 0.7 */

    size = prd_zone_size((size_t) (clients / 0.7 * 136.2) + 4096);
    mem = aligned_alloc(4096, (size + 4095) & ~(size_t) 4095);

    if (mem == NULL) {
        return 2;
    }

    memset(mem, 0, size);

    /* the hour ends after 32 bins, a horizon after 2 */

    now = BENCH_S + BENCH_HOUR - 320;
    worst_kind = ORDINARY;
    ms = BENCH_MS;

    if (prd_zone_init(mem, size, policy.unit, &secret, &policy, now, ms)
        != PRD_OK
        || prd_zone_attach(&view, mem, size, &policy, 0, 1, NULL) != PRD_OK)
    {
        return 2;
    }

    (void) prd_forecaster_round(&f, &view, &policy, (double) now, ms);

    worst = sum = request = 0;
    memset(n, 0, sizeof(n));
    memset(kinds, 0, sizeof(kinds));
    memset(least, 0, sizeof(least));

    for (b = 0; b < bins + PAUSES; b++) {

        if (b >= bins) {
            now += PAUSE_S;
            ms += PAUSE_S * 1000;
            (void) prd_forecaster_round(&f, &view, &policy, (double) now, ms);
        }

        start = bench_cpu_s(CLOCK_THREAD_CPUTIME_ID);

        for (i = 0; i < clients; i++) {
            memset(&ask, 0, sizeof(ask));
            ask.tag = prd_tag(prd_hash(&secret, &i, sizeof(i)));
            ask.cost = policy.unit;
            ask.now_ms = ms;

            for (k = 0; k <= (i & 3); k++) {
                prd_decide(&view, &policy, &ask, &answer);
            }
        }

        request += bench_cpu_s(CLOCK_THREAD_CPUTIME_ID) - start;

        now += PRD_BIN_S;
        ms += PRD_BIN_S * 1000;

        start = bench_cpu_s(CLOCK_THREAD_CPUTIME_ID);
        (void) prd_forecaster_round(&f, &view, &policy, (double) now, ms);
        took = bench_cpu_s(CLOCK_THREAD_CPUTIME_ID) - start;

        if (b == 0) {
            continue;                        /* touches its memory first */
        }

        kind = b < bins ? closing_kind(now) : BACK;
        least[kind] = n[kind] ? prd_min(least[kind], took) : took;
        kinds[kind] += took;
        n[kind]++;

        if (kind == BACK) {
            continue;
        }

        sum += took;

        if (took > worst) {
            worst = took;
            worst_kind = kind;
        }
    }

    faults = prd_table_check(&view.table, &found, &claims);

    printf("closing: %ld clients in %u slots (%.1f bytes each), %lu active,"
           " %u tracked, %lu without a slot, %u faults\n", clients,
           prd_zone_slots(&view), (double) size / clients,
           (unsigned long) atomic_load(&view.zone->active), found,
           (unsigned long) prd_zone_count(&view, PRD_CNT_EXHAUSTED), faults);
    printf("  a bin: mean %.3f s CPU, %.0f ns a client; worst %.3f s, %s\n",
           sum / (bins - 1), sum / (bins - 1) / clients * 1e9, worst,
           closing_kinds[worst_kind]);

    for (kind = 0; kind < KINDS; kind++) {
        if (n[kind]) {
            printf("  %-28s %.3f s, %.3f at least (%ld bins)\n",
                   closing_kinds[kind], kinds[kind] / n[kind], least[kind],
                   n[kind]);
        }
    }

    printf("  deciding meanwhile: %.0f ns a request\n",
           request / (bins + PAUSES) / (clients * 2.5) * 1e9);

    free(mem);

    return faults != 0;
}
