
/*
 * Forecasts of an aggregate: the requests of a zone, a group, a pool or a
 * class per bin of 60 s, 300 s or 3600 s.  Aggregates are few, long and
 * smooth, so each of them affords what a client cannot: a regression of its
 * own on daily and weekly Fourier terms with ARMA errors, on log(1 + y).
 *
 * The regression is kept as normal equations with forgetting, so no history
 * is stored and each bin costs the same.  Its rows are
 *
 *   1 | 5 lags | 3 exponential means | 2 innovations | day 1..6 | week 1..3
 *
 * (a sine and a cosine per harmonic).  A filtered sine is a sine of the same
 * frequency: Fourier terms beside lags and innovations are a regression with
 * ARMA errors, and least squares over innovations found on the way is what
 * Hannan and Rissanen (1982) do in two passes.  The same equations are solved
 * for each of the horizons PRD_AGGREGATE_ANCHORS directly, and those of one
 * bin are iterated.
 *
 * These, the last value, exponential means and a profile of the day and the
 * week are experts; fixed share (Herbster and Warmuth 1998) mixes them per
 * horizon.  Quantiles are those of the mixture's own errors of each horizon,
 * as they were observed, moved online until they cover what they promise
 * (Angelopoulos et al. 2023); never a Gaussian interval.
 *
 * All of it belongs to one thread.  Nothing is allocated, and no result is
 * ever NaN or infinite.
 */


#ifndef PRD_AGGREGATE_H_INCLUDED
#define PRD_AGGREGATE_H_INCLUDED


#include "prd.h"


#define PRD_AGGREGATE_MOST      24    /* bins ahead; longer: longer bins */
#define PRD_AGGREGATE_ANCHORS   7     /* of 1, 2, 3, 6, 12, 18, 24 bins */
#define PRD_AGGREGATE_PENDING   66    /* their sum */
#define PRD_AGGREGATE_QUANTILES 4     /* 0.5, 0.9, 0.95, 0.99 */

#define PRD_AGGREGATE_LAGS      5
#define PRD_AGGREGATE_MEANS     3
#define PRD_AGGREGATE_SHOCKS    2
#define PRD_AGGREGATE_DAY       6     /* harmonics */
#define PRD_AGGREGATE_WEEK      3
#define PRD_AGGREGATE_WAVES     (PRD_AGGREGATE_DAY + PRD_AGGREGATE_WEEK)
#define PRD_AGGREGATE_PLAIN     (1 + PRD_AGGREGATE_LAGS                       \
                                 + PRD_AGGREGATE_MEANS                        \
                                 + PRD_AGGREGATE_SHOCKS)
#define PRD_AGGREGATE_TERMS     (PRD_AGGREGATE_PLAIN + 2 * PRD_AGGREGATE_WAVES)

#define PRD_AGGREGATE_FITS      4     /* no waves, day 1-2, day, day + week */
#define PRD_AGGREGATE_SLOTS     96    /* of a day */
#define PRD_AGGREGATE_CELLS     128   /* of a histogram of errors */
#define PRD_AGGREGATE_KINDS     3     /* of errors: of the logarithm, the */
                                      /* root, the count */


enum {
    PRD_AGGREGATE_LAST = 0,
    PRD_AGGREGATE_SHORT,              /* exponential means */
    PRD_AGGREGATE_MIDDLE,
    PRD_AGGREGATE_LONG,
    PRD_AGGREGATE_PROFILE,            /* time of day and week, and level */
    PRD_AGGREGATE_FIT,                /* direct regressions, one per fit */
    PRD_AGGREGATE_ARMA = PRD_AGGREGATE_FIT + PRD_AGGREGATE_FITS,
    PRD_AGGREGATE_WAVE,               /* iterated: ARMA without, with waves */
    PRD_AGGREGATE_EXPERTS
};


/* A forecast that waits for its bin; all on the log scale. */

typedef struct {
    float     point[PRD_AGGREGATE_EXPERTS];
    float     centre;                 /* of the mixture */
    float     scale;                  /* of its errors */
    float     quantile[PRD_AGGREGATE_QUANTILES];
    float     kind[PRD_AGGREGATE_KINDS][PRD_AGGREGATE_QUANTILES];
    float     raw[PRD_AGGREGATE_KINDS];
} prd_aggregate_pending_t;


/* What is kept per anchor. */

typedef struct {
    double    cross[PRD_AGGREGATE_TERMS];
    float     beta[PRD_AGGREGATE_FITS][PRD_AGGREGATE_TERMS];
    float     weight[PRD_AGGREGATE_EXPERTS];
    float     cell[PRD_AGGREGATE_KINDS][PRD_AGGREGATE_CELLS];
    float     votes;
    float     vote;                   /* weight of the next one */
    float     trust[PRD_AGGREGATE_KINDS][PRD_AGGREGATE_QUANTILES];
    float     pinball[PRD_AGGREGATE_QUANTILES];
    float     size[PRD_AGGREGATE_KINDS];
    float     error;                  /* mean |error| of the mixture */
    float     spread;                 /* variance beyond that of counts */
    float     near;                   /* the same of late, relative */
    float     rho_xy, rho_xx;         /* how the profile's error persists */
    float     shift[PRD_AGGREGATE_QUANTILES];
    float     covered[PRD_AGGREGATE_QUANTILES];
    uint32_t  scored;
    uint32_t  fitted;                 /* fits that have been solved */
} prd_aggregate_anchor_t;


typedef struct {
    int64_t   bin;                    /* the last one added */
    uint32_t  bin_s;
    uint32_t  bins;                   /* added, saturates */
    uint32_t  run;                    /* without a hole before, saturates */
    uint32_t  due;                    /* the anchor to be solved next */
    uint32_t  slots;
    uint32_t  clipped;
    float     last;

    double    gram[PRD_AGGREGATE_TERMS * (PRD_AGGREGATE_TERMS + 1) / 2];
    double    rows;                   /* sum of the weights in it */

    prd_aggregate_anchor_t   anchor[PRD_AGGREGATE_ANCHORS];
    prd_aggregate_pending_t  pending[PRD_AGGREGATE_PENDING];

    float     row[PRD_AGGREGATE_MOST][PRD_AGGREGATE_TERMS];
    float     z[PRD_AGGREGATE_MOST];  /* log(1 + y), by bin modulo */
    float     residual[PRD_AGGREGATE_MOST];
                                      /* from the profile, smoothed */
    float     path[2][PRD_AGGREGATE_MOST];
                                      /* iterated forecasts */
    float     mean[PRD_AGGREGATE_MEANS];
    float     shock[PRD_AGGREGATE_SHOCKS];
    float     turn[PRD_AGGREGATE_WAVES][2];
                                      /* cosine, sine of a bin's angle */
    float     top;                    /* greatest z, fading */
    float     day[PRD_AGGREGATE_SLOTS];
    float     week[168];
    uint16_t  day_seen[PRD_AGGREGATE_SLOTS];
    uint16_t  week_seen[168];
} prd_aggregate_t;


/* bin_s: 1 to 86400, else PRD_ERANGE */
prd_rc_t prd_aggregate_init(prd_aggregate_t *a, uint32_t bin_s);

/*
 * Adds a closed bin; `bin` is its wall-clock start / bin_s, `y` its requests.
 * Bins left out are unknown: they teach nothing, however many they are, and
 * cost no more than one.  PRD_ESTALE: not after the last one, nothing is
 * changed; but a step of more than a day back is believed.
 */
prd_rc_t prd_aggregate_add(prd_aggregate_t *a, int64_t bin, double y);

/*
 * Solves the regressions of the next `steps` anchors.  PRD_OK: all are solved
 * for the bins added so far; PRD_EAGAIN: some are left for another call.
 */
prd_rc_t prd_aggregate_refit(prd_aggregate_t *a, unsigned steps);

/*
 * Quantiles 0.5, 0.9, 0.95 and 0.99 of the requests in the bin that is
 * `horizon` bins after the last one added: finite, >= 0, in order.
 * PRD_ERANGE: not 1 to PRD_AGGREGATE_MOST.  PRD_DECLINED: no bin was added.
 */
prd_rc_t prd_aggregate_forecast(const prd_aggregate_t *a, unsigned horizon,
    double q[PRD_AGGREGATE_QUANTILES]);


#endif /* PRD_AGGREGATE_H_INCLUDED */
