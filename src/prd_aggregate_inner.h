
/*
 * What the files of aggregates share, for these alone: prd_aggregate.c (bins
 * come in, forecasts go out), prd_aggregate_mix.c (the experts and their
 * mixture), prd_aggregate_fit.c (the regression), prd_aggregate_error.c (errors
 * and their quantiles).  In this order they call each other, but for what the
 * first two lend: the profile, and the fixed share.
 */


#ifndef PRD_AGGREGATE_INNER_H_INCLUDED
#define PRD_AGGREGATE_INNER_H_INCLUDED


#include <math.h>

#include "prd_aggregate.h"


#define TERMS                 PRD_AGGREGATE_TERMS
#define PLAIN                 PRD_AGGREGATE_PLAIN
#define FITS                  PRD_AGGREGATE_FITS
#define MOST                  PRD_AGGREGATE_MOST
#define ANCHORS               PRD_AGGREGATE_ANCHORS
#define EXPERTS               PRD_AGGREGATE_EXPERTS
#define KINDS                 PRD_AGGREGATE_KINDS
#define CELLS                 PRD_AGGREGATE_CELLS
#define QUANTILES             PRD_AGGREGATE_QUANTILES

#define PRD_AGG_DAY_OPEN   2.0         /* days seen before fits with a day, */
#define PRD_AGG_WEEK_OPEN  8.0         /* and a week */

#define PRD_AGG_ROOM       1.1f        /* log above the top: three times */
#define PRD_AGG_LOG_MOST   44.0f       /* log: 10^19 */


extern const uint8_t  prd_agg_horizon[ANCHORS];
extern const uint8_t  prd_agg_pending[ANCHORS];    /* its first one */
extern const uint8_t  prd_agg_terms[FITS];
extern const float    prd_agg_mean_gain[PRD_AGGREGATE_MEANS];


/* prd_aggregate.c */

/* The profile at a bin, `other` where there is none yet. */
float prd_agg_profile(const prd_aggregate_t *a, int64_t bin, float other);


/* prd_aggregate_mix.c */

/* What each expert has to say of the centre; the sum is 1. */
void prd_agg_say(const prd_aggregate_anchor_t *n, float say[EXPERTS]);

/* All anchors' forecasts after the last bin. */
void prd_agg_predict(prd_aggregate_t *a);

/* An anchor's forecast for a bin meets what came. */
void prd_agg_score(prd_aggregate_t *a, unsigned anchor, float z);

/*
 * Fixed share of `n` weights, `stride` apart: losses in units of their mean,
 * counted from the least, then a share of the prior (NULL: of equal parts).
 */
void prd_agg_share(float *weight, unsigned stride, const float *loss,
    const float *prior, unsigned n, float eta, float share);


/* prd_aggregate_fit.c */

/* Radians a second. */
double prd_agg_speed(unsigned wave);

/* A row of the equations: its plain terms, and the waves behind them. */
void prd_agg_row(float *x, const float *lag, const float *mean,
    const float *shock);
void prd_agg_waves(const prd_aggregate_t *a, int64_t bin, float *x);

/* A new outcome: rows of h bins ago meet it. */
void prd_agg_learn(prd_aggregate_t *a, float z);

/* The regression of one bin, iterated over PRD_AGGREGATE_MOST bins. */
void prd_agg_iterate(const prd_aggregate_t *a, unsigned fit, float *path);


/* prd_aggregate_error.c */

/* Where a cell of a histogram begins, in spreads. */
float prd_agg_cell_low(unsigned c);

void prd_agg_anchor_init(prd_aggregate_anchor_t *n, const float *edge);

/* Quantiles about the centre of a forecast. */
void prd_agg_spans(const prd_aggregate_t *a, unsigned anchor,
    prd_aggregate_pending_t *p);

/* What came: for coverage and trust, and then for the histograms. */
void prd_agg_score_spans(prd_aggregate_anchor_t *n,
    const prd_aggregate_pending_t *p, float z);
void prd_agg_score_errors(prd_aggregate_anchor_t *n,
    const prd_aggregate_pending_t *p, float z);


static inline unsigned
prd_agg_modulo(int64_t bin, unsigned n)
{
    int64_t  m = bin % (int64_t) n;

    return (unsigned) (m < 0 ? m + n : m);
}


/* What is not a number becomes `low`. */

static inline float
prd_agg_clip(float v, float low, float high)
{
    return v > low ? prd_min(v, high) : low;
}


static inline double
prd_agg_days(const prd_aggregate_t *a)
{
    return (double) a->bins * a->bin_s / 86400.0;
}


/* How many fits there are days enough for */

static inline unsigned
prd_agg_open(const prd_aggregate_t *a)
{
    double  days = prd_agg_days(a);

    return days < PRD_AGG_DAY_OPEN ? 1 : days < PRD_AGG_WEEK_OPEN ? 3 : FITS;
}


/* Second of the week, which began on the Thursday of the epoch */

static inline uint32_t
prd_agg_second(const prd_aggregate_t *a, int64_t bin)
{
    return (uint32_t) ((uint64_t) prd_agg_modulo(bin, 604800) * a->bin_s
                       % 604800);
}


static inline float
prd_agg_top(const prd_aggregate_t *a)
{
    return prd_min(a->top + PRD_AGG_ROOM, PRD_AGG_LOG_MOST);
}


static inline float
prd_agg_dot(const float *b, const float *x, unsigned n)
{
    float     sum;
    unsigned  i;

    for (i = 0, sum = 0; i < n; i++) {
        sum += b[i] * x[i];
    }

    return sum;
}


#endif /* PRD_AGGREGATE_INNER_H_INCLUDED */
