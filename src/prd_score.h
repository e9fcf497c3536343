
/*
 * How good forecasts were: pinball loss beside that of the last value,
 * WAPE, coverage.  One prd_score_t for each thing that is told apart: a
 * length of bins and a horizon, say.  Owned by whoever forecasts.
 */


#ifndef PRD_SCORE_H_INCLUDED
#define PRD_SCORE_H_INCLUDED


#include "prd.h"


#define PRD_QUANTILES     4               /* of 0.5, 0.9, 0.95, 0.99 */

/* Sums are halved at this weight, so that what is long ago fades. */
#define PRD_SCORE_VOTES   1048576.0f


typedef struct {
    double  n;                            /* forecasts scored */
    double  sum;                          /* of what came */
    double  error;                        /* of |what came - median| */
    double  loss[PRD_QUANTILES];          /* pinball losses */
    double  last[PRD_QUANTILES];          /* those of the last value */
    double  covered[PRD_QUANTILES];       /* forecasts not exceeded */
} prd_score_t;


/* All zero is an empty score, too. */
void prd_score_init(prd_score_t *s);

/*
 * Scores a forecast q, and that of the last value, against y >= 0.  What is
 * negative, NaN or infinite anywhere scores nothing: PRD_EINVAL.
 */
prd_rc_t prd_score_add(prd_score_t *s, float y,
    const float q[PRD_QUANTILES], const float last[PRD_QUANTILES]);

/*
 * Pinball loss, mean of the quantiles, over that of the last value; error
 * over demand; share of what came that quantile i covered.  PRD_DECLINED:
 * nothing to divide by yet, the result stays untouched.  PRD_EINVAL: there
 * is no quantile i.
 */
prd_rc_t prd_score_relative(const prd_score_t *s, double *rel);
prd_rc_t prd_score_wape(const prd_score_t *s, double *wape);
prd_rc_t prd_score_coverage(const prd_score_t *s, unsigned i, double *share);

/* Adds what another one has seen. */
void prd_score_merge(prd_score_t *s, const prd_score_t *from);

/* The level of quantile i: 0.5, 0.9, 0.95, 0.99; i < PRD_QUANTILES. */
float prd_score_level(unsigned i);

/* Loss of a forecast q of the quantile at `level` (Koenker and Bassett). */

static inline float
prd_pinball(float level, float y, float q)
{
    return y >= q ? level * (y - q) : (1 - level) * (q - y);
}


#endif /* PRD_SCORE_H_INCLUDED */
