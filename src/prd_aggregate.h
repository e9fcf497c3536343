
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
 * (a cosine and a sine per harmonic).  A filtered sine is a sine of the same
 * frequency: Fourier terms beside lags and innovations are a regression with
 * ARMA errors, and least squares over innovations found on the way is what
 * Hannan and Rissanen (1982) do in two passes.  The same equations are solved
 * for each anchor (a horizon of 1, 2, 3, 6, 12 or 24 bins) directly, and
 * those of one bin are iterated.  A ridge that grows with the harmonic, and
 * four fits that open as days are seen, stand for a choice of orders.
 *
 * These, the last value, exponential means and a profile of the day and the
 * week are experts; fixed share (Herbster and Warmuth 1998) mixes them per
 * anchor, half and half with a mean of the models.  Quantiles are those of
 * the errors that were seen at the anchor, never a Gaussian interval.  Errors
 * are kept of five kinds, as a logarithm, as a share of the root, as a count
 * ...; fixed share on the pinball loss of each quantile mixes those, and a
 * shift moves the outcome online until it covers what it promises (Gibbs and
 * Candes 2021; Angelopoulos et al. 2023).
 *
 * All of it belongs to one thread.  Nothing is allocated, and no result is
 * ever NaN or infinite.
 */


#ifndef PRD_AGGREGATE_H_INCLUDED
#define PRD_AGGREGATE_H_INCLUDED


#include "prd.h"


#define PRD_AGGREGATE_VERSION   1     /* of the structure, in files */
#define PRD_AGGREGATE_MOST       24   /* bins ahead; longer: longer bins */
#define PRD_AGGREGATE_ANCHORS    6    /* of 1, 2, 3, 6, 12, 24 bins */
#define PRD_AGGREGATE_PENDING    48   /* their sum */
#define PRD_AGGREGATE_QUANTILES  4    /* 0.5, 0.9, 0.95, 0.99 */

#define PRD_AGGREGATE_LAGS       5
#define PRD_AGGREGATE_MEANS      3
#define PRD_AGGREGATE_SHOCKS     2
#define PRD_AGGREGATE_DAY        6    /* harmonics */
#define PRD_AGGREGATE_WEEK       3
#define PRD_AGGREGATE_WAVES      (PRD_AGGREGATE_DAY + PRD_AGGREGATE_WEEK)
#define PRD_AGGREGATE_PLAIN      (1 + PRD_AGGREGATE_LAGS                      \
                                  + PRD_AGGREGATE_MEANS                       \
                                  + PRD_AGGREGATE_SHOCKS)
#define PRD_AGGREGATE_TERMS      (PRD_AGGREGATE_PLAIN                         \
                                  + 2 * PRD_AGGREGATE_WAVES)

#define PRD_AGGREGATE_FITS       4    /* plain, day 1-2, day, day and week */
#define PRD_AGGREGATE_SLOTS      96   /* of a day */
#define PRD_AGGREGATE_HOURS      168  /* of a week */
#define PRD_AGGREGATE_CELLS      72   /* of a histogram of errors */

/* Bins are numbered within this, either way: a wall clock of 34,000 years of
 * seconds. */
#define PRD_AGGREGATE_BIN_MAX    (1ll << 40)


enum {
    PRD_AGGREGATE_LAST = 0,
    PRD_AGGREGATE_SHORT,              /* exponential means */
    PRD_AGGREGATE_MIDDLE,
    PRD_AGGREGATE_LONG,
    PRD_AGGREGATE_PROFILE,            /* time of day and week, and level */
    PRD_AGGREGATE_FIT,                /* direct regressions, one per fit */
    PRD_AGGREGATE_ARMA = PRD_AGGREGATE_FIT + PRD_AGGREGATE_FITS,
    PRD_AGGREGATE_WAVE,               /* iterated: without and with waves */
    PRD_AGGREGATE_EXPERTS
};


/* What an error is measured by. */

enum {
    PRD_AGGREGATE_LOG = 0,            /* the logarithm's own spread */
    PRD_AGGREGATE_ROOT,               /* the root of the forecast */
    PRD_AGGREGATE_COUNT,              /* nothing: requests */
    PRD_AGGREGATE_STIRRED,            /* the logarithm's, and unrest of late */
    PRD_AGGREGATE_STEP,               /* nothing, from the last value */
    PRD_AGGREGATE_KINDS
};


/* A forecast that waits for its bin.  z = log(1 + y) unless said otherwise. */

typedef struct {
    float     point[PRD_AGGREGATE_EXPERTS];
    float     centre;                 /* of the mixture */
    float     unit[PRD_AGGREGATE_KINDS];
                                      /* what errors are measured in */
    float     kind[PRD_AGGREGATE_KINDS][PRD_AGGREGATE_QUANTILES];
    float     quantile[PRD_AGGREGATE_QUANTILES];
} prd_aggregate_pending_t;


/* What is kept per anchor. */

typedef struct {
    double    cross[PRD_AGGREGATE_TERMS];
    float     beta[PRD_AGGREGATE_FITS][PRD_AGGREGATE_TERMS];
    float     weight[PRD_AGGREGATE_EXPERTS];
    float     trust[PRD_AGGREGATE_KINDS][PRD_AGGREGATE_QUANTILES];
    float     cell[PRD_AGGREGATE_KINDS][PRD_AGGREGATE_CELLS];
    float     votes;                  /* in a histogram */
    float     vote;                   /* weight of the next one */
    float     error;                  /* mean |error| of the mixture */
    float     spread;                 /* variance beyond that of counts */
    float     size[PRD_AGGREGATE_KINDS];
                                      /* mean |error| of a kind */
    float     pinball[PRD_AGGREGATE_QUANTILES];
                                      /* mean loss of the mixture, requests */
    float     shift[PRD_AGGREGATE_QUANTILES];
    float     covered[PRD_AGGREGATE_QUANTILES];
    float     rho_xy, rho_xx;         /* how the profile's error persists */
    uint32_t  scored;                 /* forecasts, saturates */
    uint32_t  fitted;                 /* fits that have been solved */
} prd_aggregate_anchor_t;


typedef struct {
    int64_t   bin;                    /* the last one added */
    uint32_t  bin_s;
    uint32_t  slots;                  /* of a day, in use */
    uint32_t  bins;                   /* added, saturates */
    uint32_t  run;                    /* without a hole before, saturates */
    uint32_t  due;                    /* the anchor to be solved next */
    uint32_t  outage;                 /* bins kept out of the state in a row */

    double    rows;                   /* sum of the weights in gram */
    double    gram[PRD_AGGREGATE_TERMS * (PRD_AGGREGATE_TERMS + 1) / 2];

    prd_aggregate_anchor_t   anchor[PRD_AGGREGATE_ANCHORS];
    prd_aggregate_pending_t  pending[PRD_AGGREGATE_PENDING];

    /* by bin modulo */
    float     row[PRD_AGGREGATE_MOST][PRD_AGGREGATE_TERMS];
    float     z[PRD_AGGREGATE_MOST];
    float     residual[PRD_AGGREGATE_MOST];
                                      /* from the profile, smoothed */

    float     path[2][PRD_AGGREGATE_MOST];
                                      /* iterated, by bins ahead */
    float     mean[PRD_AGGREGATE_MEANS];
    float     shock[PRD_AGGREGATE_SHOCKS];
    float     turn[PRD_AGGREGATE_WAVES][2];
                                      /* cosine, sine of a bin's angle */
    float     edge[PRD_AGGREGATE_CELLS + 1];
                                      /* of the cells */
    float     last;                   /* z as it was seen */
    float     top;                    /* greatest z, fading */
    float     stir;                   /* mean square score of late */

    float     day[PRD_AGGREGATE_SLOTS];
    float     week[PRD_AGGREGATE_HOURS];
    uint16_t  day_seen[PRD_AGGREGATE_SLOTS];
    uint16_t  week_seen[PRD_AGGREGATE_HOURS];
} prd_aggregate_t;


/*
 * Whether bytes of a file are a state of bins of bin_s that can be gone on
 * with: PRD_ECORRUPT.  What follows from bin_s is worked out anew.
 */
prd_rc_t prd_aggregate_check(prd_aggregate_t *a, uint32_t bin_s);

/* bin_s: 1 to 86400, else PRD_ERANGE */
prd_rc_t prd_aggregate_init(prd_aggregate_t *a, uint32_t bin_s);

/*
 * Adds a closed bin; `bin` is its wall-clock start / bin_s, `y` its requests:
 * what is negative or NaN is 0, what is above 10^19 is 10^19.
 *
 * Bins left out before it are unknown.  Up to PRD_AGGREGATE_MOST of them are
 * filled in with forecasts and score nothing; after more the lags start anew,
 * and what was learned is kept.
 *
 * PRD_ESTALE: not after the last one; nothing is changed.  But a step of more
 * than a day back is believed.  PRD_ERANGE: beyond PRD_AGGREGATE_BIN_MAX.
 */
prd_rc_t prd_aggregate_add(prd_aggregate_t *a, int64_t bin, double y);

/*
 * Nothing was asked for in the bins up to and with `bin`: like adding zeros,
 * of which the first ones are left out where they are many.
 */
prd_rc_t prd_aggregate_idle(prd_aggregate_t *a, int64_t bin);

/*
 * Solves the regressions of the next `steps` anchors.  PRD_OK: all are solved
 * for the bins added so far; PRD_EAGAIN: some are left for another call.
 * Forecasts use what has been solved when a bin is added.
 */
prd_rc_t prd_aggregate_refit(prd_aggregate_t *a, unsigned steps);

/*
 * Quantiles 0.5, 0.9, 0.95 and 0.99 of the requests in the bin that is
 * `horizon` bins after the last one added: finite, >= 0, in order.
 * PRD_ERANGE: not 1 to PRD_AGGREGATE_MOST.  PRD_DECLINED: no bin was added.
 */
prd_rc_t prd_aggregate_forecast(const prd_aggregate_t *a, unsigned horizon,
    double q[PRD_AGGREGATE_QUANTILES]);

/*
 * For display, of the anchor that is at or after `horizon`: the share of bins
 * that its quantiles have covered (of the last thousand or so), each expert's
 * forecast in requests and its weight; NULLs are left out.  Returns and fails
 * as prd_aggregate_forecast() does, and PRD_DECLINED before a bin was scored.
 */
prd_rc_t prd_aggregate_explain(const prd_aggregate_t *a, unsigned horizon,
    double covered[PRD_AGGREGATE_QUANTILES],
    double point[PRD_AGGREGATE_EXPERTS], double weight[PRD_AGGREGATE_EXPERTS]);

/* "" for an expert that there is not */
const char *prd_aggregate_expert(unsigned expert);


#endif /* PRD_AGGREGATE_H_INCLUDED */
