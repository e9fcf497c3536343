
/*
 * What closing a bin costs the forecasting thread: N clients, all active in
 * every bin, CPU seconds of one round.  Usage: closing_bench [clients] [bins]
 */


#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "prd_decide.h"
#include "prd_forecaster.h"


static double
cpu_s(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


int
main(int argc, char **argv)
{
    long                     clients, bins, b, i, k;
    void                    *mem;
    double                   now, start, took, worst, sum, request;
    size_t                   size;
    uint32_t                 ms, faults, found, claims;
    prd_ask_t                ask;
    prd_view_t               view;
    prd_answer_t             answer;
    prd_params_t             params;
    prd_policy_t             policy;
    prd_secret_t             secret = { 0x0123456789abcdef, 42 };
    static prd_forecaster_t  f;

    clients = argc > 1 ? atol(argv[1]) : 1000000;
    bins = argc > 2 ? atol(argv[2]) : 12;

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

    now = 1700000000;
    ms = 1000;

    if (prd_zone_init(mem, size, policy.unit, &secret, &policy,
                      (uint64_t) now, ms)
        != PRD_OK
        || prd_zone_attach(&view, mem, size, &policy, 0, 1, NULL) != PRD_OK)
    {
        return 2;
    }

    worst = sum = request = 0;

    for (b = 0; b < bins; b++) {

        start = cpu_s();

        for (i = 0; i < clients; i++) {
            memset(&ask, 0, sizeof(ask));
            ask.tag = prd_tag(prd_hash(&secret, &i, sizeof(i)));
            ask.cost = policy.unit;
            ask.now_ms = ms;

            for (k = 0; k <= (i & 3); k++) {
                prd_decide(&view, &policy, &ask, &answer);
            }
        }

        request += cpu_s() - start;

        now += 10;
        ms += 10000;

        start = cpu_s();
        (void) prd_forecaster_round(&f, &view, &policy, now, ms);
        took = cpu_s() - start;

        if (b) {
            sum += took;
            worst = took > worst ? took : worst;
        }
    }

    faults = prd_table_check(&view.table, &found, &claims);

    printf("%ld clients in %u slots (%.1f bytes each), %lu active, %u tracked,"
           " %lu without a slot, %u faults\n", clients, prd_zone_slots(&view),
           (double) size / clients,
           (unsigned long) atomic_load(&view.zone->active), found,
           (unsigned long) prd_zone_count(&view, PRD_CNT_EXHAUSTED), faults);
    printf("closing a bin: mean %.3f s, worst %.3f s CPU; %.0f ns a client\n",
           sum / (bins - 1), worst, sum / (bins - 1) / clients * 1e9);
    printf("deciding: %.0f ns a request\n",
           request / bins / (clients * 2.5) * 1e9);

    free(mem);

    return faults != 0;
}
