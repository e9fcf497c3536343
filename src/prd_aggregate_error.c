
/*
 * Errors: how far off the forecasts of an anchor were, by five measures, and
 * the quantiles that follow from it.
 *
 * Means over errors, and the votes of the histograms, weigh the n-th error by
 * n until they forget exponentially (polynomial decay averaging, Shamir and
 * Zhang 2013): the errors of the first day, made without a season, fade while
 * the series is short.
 */


#include "prd_aggregate_inner.h"


#define PRD_AGG_KIND_ETA      0.1f    /* kinds: learning rate, share */
#define PRD_AGG_KIND_SHARE    0.002f
#define PRD_AGG_SHIFT         0.002f  /* step of the conformal correction */

#define PRD_AGG_GAIN          0.02f   /* of means over errors: slow ones */
#define PRD_AGG_GAIN_SLOW     0.002f
#define PRD_AGG_GAIN_COVER    0.001f
#define PRD_AGG_CALM          0.05f   /* least unrest */
#define PRD_AGG_VOTES         2000.0f /* memory of a histogram */
#define PRD_AGG_VOTE_MOST     256.0f  /* rescaled above */
#define PRD_AGG_WARM          12      /* scores before errors vote */
#define PRD_AGG_PRIOR         3.0f    /* first votes that the prior is worth */
#define PRD_AGG_PRIOR_SCALE   0.8f    /* spreads */
#define PRD_AGG_BEYOND        10.0f   /* errors that outweigh a fitted tail */
#define PRD_AGG_REACH         3.7f    /* asinh(2 u) of the last cell: ten */
                                      /* spreads; tails go no further */


static const float  prd_agg_level[QUANTILES] = { 0.5f, 0.9f, 0.95f, 0.99f };

/* where the kinds begin: a step from the last value is seldom right */
static const float  prd_agg_trust[KINDS] = { 0.3f, 0.2f, 0.1f, 0.3f, 0.1f };


/* The gain of a mean that weighs its n-th value by n, at least `least` */

static float
prd_agg_gain(uint32_t n, float least)
{
    return prd_max(2.0f / ((float) n + 2.0f), least);
}


/*
 * Histograms: cells of equal width in asinh(2 u), u being an error in units of
 * its spread: linear about 0, logarithmic in the tails.
 */

float
prd_agg_cell_low(unsigned c)
{
    return sinhf(((float) c - CELLS / 2) * (2 * PRD_AGG_REACH / CELLS)) / 2;
}


static unsigned
prd_agg_cell(float u)
{
    float  c;

    c = asinhf(2 * u) * (CELLS / (2 * PRD_AGG_REACH)) + CELLS / 2;

    return (unsigned) prd_agg_clip(c, 0, CELLS - 1);
}


/* Part of a Laplace distribution below u */

static float
prd_agg_prior(float u)
{
    float  tail = expf(-fabsf(u) / PRD_AGG_PRIOR_SCALE) / 2;

    return u < 0 ? tail : 1 - tail;
}


/*
 * The last quantile from what lies above the second one, of which there are
 * ten times as many: excesses of an exponential tail whose mean is estimated
 * from n of them are distributed as Pareto's (Lomax 1954), whose quantile is
 * the further out the fewer they are.
 */

static float
prd_agg_tail(const float *cell, unsigned c, float part, float vote,
    const float *edge, float from)
{
    float  sum, n, more;

    more = cell[c] * (1 - part);
    sum = more * (edge[c + 1] - from) / 2;

    for (n = more; ++c < CELLS; n += cell[c]) {
        sum += cell[c] * ((edge[c] + edge[c + 1]) / 2 - from);
    }

    n = n / vote + PRD_AGG_PRIOR;
    sum = sum / vote + PRD_AGG_PRIOR * PRD_AGG_PRIOR_SCALE;
    more = (1 - prd_agg_level[1]) / (1 - prd_agg_level[QUANTILES - 1]);

    return from + sum * (powf(more, 1 / n) - 1);
}


/* `vote` is what the latest one weighs. */

static void
prd_agg_quantiles(const float *cell, float votes, float vote,
    const float *edge, float u[QUANTILES])
{
    float     part, sum, want, tail;
    unsigned  c, k;

    vote = prd_max(vote, 1);

    for (c = k = 0, sum = tail = 0; k < QUANTILES; k++) {
        want = prd_agg_level[k] * votes;

        while (c < CELLS - 1 && sum + cell[c] < want) {
            sum += cell[c++];
        }

        part = cell[c] > 0 ? prd_agg_clip((want - sum) / cell[c], 0, 1) : 1;
        u[k] = edge[c] + part * (edge[c + 1] - edge[c]);

        if (k == 1) {
            tail = prd_agg_tail(cell, c, part, vote, edge, u[k]);
            tail = prd_min(tail, edge[CELLS]);
        }
    }

    /* while few have been seen beyond the last one, it is that of the tail */

    k = QUANTILES - 1;
    part = (1 - prd_agg_level[k]) * votes / vote;
    u[k] += (tail - u[k]) * PRD_AGG_BEYOND / (PRD_AGG_BEYOND + part);
    u[k] = prd_max(u[k], u[k - 1]);
}


void
prd_agg_anchor_init(prd_aggregate_anchor_t *n, const float *edge)
{
    float     v;
    unsigned  c, k;

    n->spread = 0.1f;
    n->error = 0.3f;
    n->vote = 1;

    for (k = 0; k < EXPERTS; k++) {
        n->weight[k] = 1.0f / EXPERTS;
    }

    for (c = 0; c < CELLS; c++) {
        v = PRD_AGG_PRIOR * (PRD_AGG_WARM + 1)
            * (prd_agg_prior(edge[c + 1]) - prd_agg_prior(edge[c]));
        n->votes += v;

        for (k = 0; k < KINDS; k++) {
            n->cell[k][c] = v;
        }
    }

    for (k = 0; k < KINDS; k++) {
        n->size[k] = 1;

        for (c = 0; c < QUANTILES; c++) {
            n->trust[k][c] = prd_agg_trust[k];
        }
    }
}


/*
 * Spread of a logarithm: that of a count, 1 / (1 + y) by the delta method, and
 * what was seen beyond.
 */

static float
prd_agg_spread(const prd_aggregate_anchor_t *n, float centre)
{
    return sqrtf(n->spread + 1 / (expf(centre) + 1) + 1e-6f);
}


/* Where an error of a kind is measured from, in requests + 1 */

static float
prd_agg_origin(const prd_aggregate_pending_t *p, unsigned kind)
{
    return expf(kind == PRD_AGGREGATE_STEP ? p->point[PRD_AGGREGATE_LAST]
                                           : p->centre);
}


static int
prd_agg_is_log(unsigned kind)
{
    return kind == PRD_AGGREGATE_LOG || kind == PRD_AGGREGATE_STIRRED;
}


void
prd_agg_spans(const prd_aggregate_t *a, unsigned anchor,
    prd_aggregate_pending_t *p)
{
    float                          u[QUANTILES], y, z, sum, spread;
    unsigned                       j, k;
    const prd_aggregate_anchor_t  *n = &a->anchor[anchor];

    spread = prd_agg_spread(n, p->centre);
    y = expf(p->centre);

    p->unit[PRD_AGGREGATE_LOG] = spread;
    p->unit[PRD_AGGREGATE_ROOT] = n->size[PRD_AGGREGATE_ROOT] * sqrtf(y);
    p->unit[PRD_AGGREGATE_COUNT] = n->size[PRD_AGGREGATE_COUNT];
    p->unit[PRD_AGGREGATE_STIRRED] =
        spread * sqrtf(PRD_AGG_CALM + (1 - PRD_AGG_CALM) * a->stir);
    p->unit[PRD_AGGREGATE_STEP] = n->size[PRD_AGGREGATE_STEP];

    for (j = 0; j < KINDS; j++) {
        prd_agg_quantiles(n->cell[j], n->votes, n->vote, a->edge, u);
        y = prd_agg_origin(p, j);

        for (k = 0; k < QUANTILES; k++) {
            z = prd_agg_is_log(j) ? p->centre + p->unit[j] * u[k]
                : logf(prd_max(y + p->unit[j] * u[k], 1));
            p->kind[j][k] = prd_agg_clip(z, 0, prd_agg_top(a));
        }
    }

    for (k = 0; k < QUANTILES; k++) {
        sum = z = 0;

        for (j = 0; j < KINDS; j++) {
            sum += n->trust[j][k];
            z += n->trust[j][k] * p->kind[j][k];
        }

        p->quantile[k] = prd_agg_clip(z / sum + spread * n->shift[k],
                                      k ? p->quantile[k - 1] : 0,
                                      prd_agg_top(a));
    }
}


static float
prd_agg_pinball(float y, float q, float level)
{
    return y >= q ? level * (y - q) : (level - 1) * (y - q);
}


/* Coverage, the conformal shift, trust in the kinds: per quantile */

void
prd_agg_score_spans(prd_aggregate_anchor_t *n,
    const prd_aggregate_pending_t *p, float z)
{
    float     loss[KINDS], mine, y, in;
    unsigned  j, k;

    y = expf(z);

    for (k = 0; k < QUANTILES; k++) {

        in = z <= p->quantile[k] + 1e-6f;
        n->covered[k] += prd_max(1.0f / ((float) n->scored + 1),
                                 PRD_AGG_GAIN_COVER) * (in - n->covered[k]);
        n->shift[k] += PRD_AGG_SHIFT * (prd_agg_level[k] - in);

        mine = prd_agg_pinball(y, expf(p->quantile[k]), prd_agg_level[k]);
        n->pinball[k] += prd_max(1.0f / ((float) n->scored + 1),
                                 PRD_AGG_GAIN / 4) * (mine - n->pinball[k]);

        for (j = 0; j < KINDS; j++) {
            loss[j] = prd_agg_pinball(y, expf(p->kind[j][k]), prd_agg_level[k])
                      / (n->pinball[k] + 1e-6f);
        }

        prd_agg_share(&n->trust[0][k], QUANTILES, loss, prd_agg_trust, KINDS,
                      PRD_AGG_KIND_ETA, PRD_AGG_KIND_SHARE);
    }
}


/* The error votes, and moves what the next ones are measured by. */

void
prd_agg_score_errors(prd_aggregate_anchor_t *n,
    const prd_aggregate_pending_t *p, float z)
{
    float     e, g, y;
    unsigned  c, k;

    y = expf(z);
    g = prd_agg_gain(n->scored, PRD_AGG_GAIN_SLOW);

    for (k = 0; k < KINDS; k++) {
        e = prd_agg_is_log(k) ? z - p->centre : y - prd_agg_origin(p, k);

        if (n->scored >= PRD_AGG_WARM) {
            n->cell[k][prd_agg_cell(e / p->unit[k])] += n->vote;
        }

        if (prd_agg_is_log(k)) {
            continue;
        }

        e = fabsf(e);

        if (k == PRD_AGGREGATE_ROOT) {
            e /= expf(p->centre / 2);
        }

        n->size[k] += g * (prd_min(e, 20 * n->size[k]) - n->size[k]);
        n->size[k] = prd_max(n->size[k], 1e-3f);
    }

    e = z - p->centre;
    n->error += prd_max(1.0f / ((float) n->scored + 2), PRD_AGG_GAIN)
                * (fabsf(e) - n->error);
    n->error = prd_max(n->error, 1e-4f);

    y = p->unit[PRD_AGGREGATE_LOG];
    y = prd_min(e * e, 25 * y * y) - 1 / (expf(p->centre) + 1);
    n->spread += prd_agg_gain(n->scored + 3, PRD_AGG_GAIN_SLOW)
                 * (y - n->spread);
    n->spread = prd_max(n->spread, 1e-5f);

    if (n->scored >= PRD_AGG_WARM) {
        n->votes += n->vote;
    }

    n->vote *= 1 + prd_max(1.0f / ((float) n->scored + 1), 1 / PRD_AGG_VOTES);

    if (n->vote > PRD_AGG_VOTE_MOST) {
        n->vote /= PRD_AGG_VOTE_MOST;
        n->votes /= PRD_AGG_VOTE_MOST;

        for (k = 0; k < KINDS; k++) {
            for (c = 0; c < CELLS; c++) {
                n->cell[k][c] /= PRD_AGG_VOTE_MOST;
            }
        }
    }
}
