
/*
 * Sums of what forecasts lost.  See prd_score.h.
 */


#include <math.h>

#include "prd_score.h"


static const float  prd_score_levels[PRD_QUANTILES] = {
    0.5f, 0.9f, 0.95f, 0.99f
};


void
prd_score_init(prd_score_t *s)
{
    memset(s, 0, sizeof(prd_score_t));
}


float
prd_score_level(unsigned i)
{
    return prd_score_levels[i];
}


static int
prd_score_bad(float v)
{
    return !isfinite(v) || v < 0;
}


static void
prd_score_fade(prd_score_t *s, double by)
{
    unsigned  i;

    s->n *= by;
    s->sum *= by;
    s->error *= by;

    for (i = 0; i < PRD_QUANTILES; i++) {
        s->loss[i] *= by;
        s->last[i] *= by;
        s->covered[i] *= by;
    }
}


prd_rc_t
prd_score_add(prd_score_t *s, float y, const float q[PRD_QUANTILES],
    const float last[PRD_QUANTILES])
{
    unsigned  i;

    if (prd_score_bad(y)) {
        return PRD_EINVAL;
    }

    for (i = 0; i < PRD_QUANTILES; i++) {
        if (prd_score_bad(q[i]) || prd_score_bad(last[i])) {
            return PRD_EINVAL;
        }
    }

    if (s->n >= PRD_SCORE_VOTES) {
        prd_score_fade(s, 0.5);
    }

    s->n += 1;
    s->sum += y;
    s->error += fabs((double) y - q[0]);

    for (i = 0; i < PRD_QUANTILES; i++) {
        s->loss[i] += prd_pinball(prd_score_levels[i], y, q[i]);
        s->last[i] += prd_pinball(prd_score_levels[i], y, last[i]);
        s->covered[i] += (y <= q[i]);
    }

    return PRD_OK;
}


prd_rc_t
prd_score_relative(const prd_score_t *s, double *rel)
{
    double    loss, last;
    unsigned  i;

    loss = 0;
    last = 0;

    for (i = 0; i < PRD_QUANTILES; i++) {
        loss += s->loss[i];
        last += s->last[i];
    }

    if (!(last > 0)) {
        return PRD_DECLINED;
    }

    *rel = loss / last;

    return PRD_OK;
}


prd_rc_t
prd_score_wape(const prd_score_t *s, double *wape)
{
    if (!(s->sum > 0)) {
        return PRD_DECLINED;
    }

    *wape = s->error / s->sum;

    return PRD_OK;
}


prd_rc_t
prd_score_coverage(const prd_score_t *s, unsigned i, double *share)
{
    if (i >= PRD_QUANTILES) {
        return PRD_EINVAL;
    }

    if (!(s->n > 0)) {
        return PRD_DECLINED;
    }

    *share = s->covered[i] / s->n;

    return PRD_OK;
}


void
prd_score_merge(prd_score_t *s, const prd_score_t *from)
{
    unsigned  i;

    s->n += from->n;
    s->sum += from->sum;
    s->error += from->error;

    for (i = 0; i < PRD_QUANTILES; i++) {
        s->loss[i] += from->loss[i];
        s->last[i] += from->last[i];
        s->covered[i] += from->covered[i];
    }
}
