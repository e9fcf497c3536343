
/*
 * What it costs to keep clients' forecasts up to date: N clients, their bins
 * of 60, 300 and 3600 s closed one after the other, with one forecast each
 * time one of 300 s has ended, as prd_outlook does.  Usage: experts [clients]
 * [hours]
 *
 * Clients are of four kinds: steady, in sessions, at work by day, and each
 * seventh minute.  With arguments and under callgrind the instructions of
 * prd_track_close() and prd_track_forecast() can be told apart from those of
 * making the clients up.
 *
 * Speeds are only printed.
 */


#include "bench.h"

#include "prd_experts.h"


#define EXPERTS_KINDS  4


typedef struct {
    double    rate;                        /* requests an active minute */
    int       on;                          /* in a session */
    uint32_t  open[PRD_TRACK_CLASSES];     /* what the open bins have */
} experts_client_t;


static const uint32_t  experts_bin_s[PRD_TRACK_CLASSES] = { 60, 300, 3600 };


static uint32_t
experts_poisson(double mean)
{
    double    p, q, u;
    uint32_t  n;

    if (mean > 30) {
        u = mean + sqrt(mean) * (bench_uniform() + bench_uniform()
                                 + bench_uniform() - 1.5) * 2;
        return u > 0 ? (uint32_t) u : 0;
    }

    p = q = exp(-mean);
    u = bench_uniform();

    for (n = 0; u > q && n < 200; n++) {
        p *= mean / (n + 1);
        q += p;
    }

    return n;
}


/* What client i asks for in minute m. */

static uint32_t
experts_minute(experts_client_t *c, uint32_t i, uint32_t m)
{
    switch (i % EXPERTS_KINDS) {

    case 0:
        return experts_poisson(c->rate);

    case 1:
        if (bench_uniform() < (c->on ? 0.1 : 0.02)) {
            c->on = !c->on;
        }

        return c->on ? experts_poisson(4 * c->rate) : 0;

    case 2:
        return experts_poisson(c->rate
                               * (m / 60 % 24 >= 8 && m / 60 % 24 < 18
                                  ? 1 : 0.05));

    default:
        return m % 7 == i / EXPERTS_KINDS % 7 ? experts_poisson(7 * c->rate)
                                              : 0;
    }
}


int
main(int argc, char **argv)
{
    float              q[PRD_QUANTILES];
    double             start, close[PRD_TRACK_CLASSES], ahead, sum;
    uint32_t           i, m, n, hours, minutes, bin;
    uint64_t           closed[PRD_TRACK_CLASSES], asked;
    unsigned           k, h;
    prd_track_t       *t;
    prd_tracks_t      *p;
    experts_client_t  *c;

    n = argc > 1 ? (uint32_t) atol(argv[1]) : 2000;
    hours = argc > 2 ? (uint32_t) atol(argv[2]) : 48;

    t = calloc(n, sizeof(prd_track_t));
    c = calloc(n, sizeof(experts_client_t));
    p = malloc(sizeof(prd_tracks_t));

    if (t == NULL || c == NULL || p == NULL
        || prd_tracks_init(p, experts_bin_s) != PRD_OK)
    {
        return 2;
    }

    for (i = 0; i < n; i++) {
        c[i].rate = 0.1 * exp(6 * bench_uniform());
    }

    memset(close, 0, sizeof(close));
    memset(closed, 0, sizeof(closed));
    ahead = 0;
    asked = 0;

    for (m = 0, minutes = 60 * hours; m < minutes; m++) {

        for (i = 0; i < n; i++) {
            bin = experts_minute(&c[i], i, m);

            for (k = 0; k < PRD_TRACK_CLASSES; k++) {
                c[i].open[k] += bin;
            }
        }

        for (k = 0; k < PRD_TRACK_CLASSES; k++) {

            if ((m + 1) % (experts_bin_s[k] / 60)) {
                continue;
            }

            bin = (uint32_t) (BENCH_S / experts_bin_s[k])
                  + m * 60 / experts_bin_s[k];

            start = bench_cpu_s(CLOCK_THREAD_CPUTIME_ID);

            for (i = 0; i < n; i++) {
                (void) prd_track_close(&t[i], p, k, bin,
                                       (float) c[i].open[k], 1, NULL, 0);
                c[i].open[k] = 0;
            }

            close[k] += bench_cpu_s(CLOCK_THREAD_CPUTIME_ID) - start;
            closed[k] += n;
        }

        /* as long as the default horizon */

        if ((m + 1) % (experts_bin_s[1] / 60)) {
            continue;
        }

        start = bench_cpu_s(CLOCK_THREAD_CPUTIME_ID);

        for (i = 0; i < n; i++) {
            (void) prd_track_forecast(&t[i], p, 1, 0, NULL, 0, q);
        }

        ahead += bench_cpu_s(CLOCK_THREAD_CPUTIME_ID) - start;
        asked += n;
    }

    sum = ahead;

    printf("experts: %u clients, %u hours, %zu bytes each\n", n, hours,
           sizeof(prd_track_t));

    for (k = 0; k < PRD_TRACK_CLASSES; k++) {

        if (closed[k] == 0) {
            continue;
        }

        printf("  a bin of %4u s: %.3f us of CPU\n", experts_bin_s[k],
               close[k] / (double) closed[k] * 1e6);
        sum += close[k];
    }

    printf("  a forecast: %.3f us; a client's minute in all: %.3f us\n",
           ahead / (double) asked * 1e6, sum / (double) closed[0] * 1e6);

    for (k = 0; k < PRD_TRACK_CLASSES; k++) {
        for (h = 0; h < PRD_TRACK_HORIZONS; h++) {

            if (prd_score_relative(&p->horizon[k][h].score, &sum) == PRD_OK) {
                printf("%s%4u s x %2u: %.4f", h ? "" : "  loss ",
                       experts_bin_s[k], prd_track_ahead(h), sum);
            }

            printf(h == PRD_TRACK_HORIZONS - 1 ? "\n" : ", ");
        }
    }

    free(t);
    free(c);
    free(p);

    return 0;
}
