
/*
 * What an aggregate forecasts, as it is shown: quantiles of some bins ahead.
 */


#ifndef PRD_CURVE_H_INCLUDED
#define PRD_CURVE_H_INCLUDED


#include "prd_aggregate.h"


#define PRD_CURVE_POINTS  6            /* 1, 2, 3, 6, 12, 24 bins ahead */

extern const uint32_t  prd_curve_ahead[PRD_CURVE_POINTS];


/*
 * A published forecast of tokens in one bin.  Readers may see half of the
 * next one: each number by itself is good.
 */

typedef struct {
    float     quantile[PRD_AGGREGATE_QUANTILES];
    float     covered[PRD_AGGREGATE_QUANTILES];   /* measured; -1: not yet */
} prd_curve_t;


/* Forecasts of the bins after a->bin, to which *bin is set. */
void prd_curve_make(const prd_aggregate_t *a, prd_curve_t *curve,
    int64_t *bin);

/* The same after a fit of all anchors: some 80 us, once a bin. */
void prd_curve_publish(prd_aggregate_t *a, prd_curve_t *curve, int64_t *bin);


#endif /* PRD_CURVE_H_INCLUDED */
