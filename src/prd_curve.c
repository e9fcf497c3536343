
/* Published curves of aggregates; see prd_curve.h. */


#include "prd_curve.h"


const uint32_t  prd_curve_ahead[PRD_CURVE_POINTS] = { 1, 2, 3, 6, 12, 24 };


void
prd_curve_make(const prd_aggregate_t *a, prd_curve_t *curve, int64_t *bin)
{
    double    q[PRD_AGGREGATE_QUANTILES];
    double    covered[PRD_AGGREGATE_QUANTILES];
    unsigned  i, k;

    for (i = 0; i < PRD_CURVE_POINTS; i++) {

        if (prd_aggregate_forecast(a, prd_curve_ahead[i], q) != PRD_OK) {
            continue;
        }

        for (k = 0; k < PRD_AGGREGATE_QUANTILES; k++) {
            curve[i].quantile[k] = (float) q[k];
        }

        if (prd_aggregate_explain(a, prd_curve_ahead[i], covered, NULL, NULL)
            != PRD_OK)
        {
            for (k = 0; k < PRD_AGGREGATE_QUANTILES; k++) {
                covered[k] = -1;
            }
        }

        for (k = 0; k < PRD_AGGREGATE_QUANTILES; k++) {
            curve[i].covered[k] = (float) covered[k];
        }
    }

    *bin = a->bin;
}


void
prd_curve_publish(prd_aggregate_t *a, prd_curve_t *curve, int64_t *bin)
{
    while (prd_aggregate_refit(a, PRD_AGGREGATE_ANCHORS) == PRD_EAGAIN) {
        /* void */
    }

    prd_curve_make(a, curve, bin);
}
