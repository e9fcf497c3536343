
/*
 * Aggregates: the regression, the experts, their mixture and its quantiles.
 *
 * The target of a regression is the change z(t+h) - z(t), its lags and means
 * are differences from z(t): with no coefficient left by the ridge, the last
 * value is forecast.  One set of normal equations serves all anchors: rows
 * whose outcome is not known yet are taken off before it is solved, and the
 * Fourier terms of t span those of t+h.
 *
 * Means over errors, and the votes of the histograms, weigh the n-th error by
 * n until they forget exponentially (polynomial decay averaging, Shamir and
 * Zhang 2013): the errors of the first day, made without a season, fade while
 * the series is short.
 */


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

#define PRD_AGG_FADE          (1 - 1 / 3000.0)  /* of the equations, a bin */
#define PRD_AGG_RIDGE         40.0    /* pseudo-observations, plain terms */
#define PRD_AGG_RIDGE_WAVE    2.0     /* times the square of the harmonic */
#define PRD_AGG_TINY          1e-9    /* pivot, of its diagonal */
#define PRD_AGG_DAY_OPEN      2.0     /* days seen before fits with a day, */
#define PRD_AGG_WEEK_OPEN     8.0     /* and a week */

#define PRD_AGG_ETA           0.2f    /* experts: learning rate, share */
#define PRD_AGG_SHARE         0.003f
#define PRD_AGG_KIND_ETA      0.1f    /* kinds of errors: the same */
#define PRD_AGG_KIND_SHARE    0.002f
#define PRD_AGG_LOSS_MOST     5.0f    /* mean losses; one miss is no verdict */
#define PRD_AGG_SHIFT         0.002f  /* step of the conformal correction */

#define PRD_AGG_GAIN          0.02f   /* of means over errors: slow ones */
#define PRD_AGG_GAIN_SLOW     0.002f
#define PRD_AGG_GAIN_COVER    0.001f
#define PRD_AGG_STIR          0.1f
#define PRD_AGG_CALM          0.05f   /* least unrest */
#define PRD_AGG_VOTES         2000.0f /* memory of a histogram */
#define PRD_AGG_VOTE_MOST     256.0f  /* rescaled above */
#define PRD_AGG_WARM          12      /* scores before errors vote */
#define PRD_AGG_PRIOR         3.0f    /* first votes that the prior is worth */
#define PRD_AGG_PRIOR_SCALE   0.8f    /* spreads */
#define PRD_AGG_BEYOND        10.0f   /* errors that outweigh a fitted tail */
#define PRD_AGG_REACH         3.7f    /* asinh(2 u) of the last cell: ten */
                                      /* spreads; tails go no further */

#define PRD_AGG_OUTAGE        6       /* bins that are kept out in a row */
#define PRD_AGG_OUTAGE_SCORE  5.0f    /* below the forecast, and at least, */
#define PRD_AGG_OUTAGE_LEAST  0.7f    /* log: to a half */
#define PRD_AGG_OUTAGE_BINS   20      /* needs a level to compare with */

#define PRD_AGG_TOP_FADE      0.9999f
#define PRD_AGG_ROOM          1.1f    /* log above the top: three times */
#define PRD_AGG_LOG_MOST      44.0f   /* log: 10^19 */
#define PRD_AGG_COUNT_MOST    1e19
#define PRD_AGG_RHO_FADE      0.995f
#define PRD_AGG_DAYS_KEPT     5       /* of the profile */
#define PRD_AGG_WEEKS_KEPT    4
#define PRD_AGG_WEEK_PRIOR    3.0f    /* days that outweigh one week */

#define prd_agg_at(i, j)      ((i) * ((i) + 1) / 2 + (j))      /* j <= i */


static const uint8_t  prd_agg_horizon[ANCHORS] = { 1, 2, 3, 6, 12, 24 };
static const uint8_t  prd_agg_pending[ANCHORS] = { 0, 1, 3, 6, 12, 24 };

static const uint8_t  prd_agg_terms[FITS] = {
    PLAIN, PLAIN + 4, PLAIN + 2 * PRD_AGGREGATE_DAY, TERMS
};

static const float  prd_agg_mean_gain[PRD_AGGREGATE_MEANS] = {
    0.4f, 0.12f, 0.02f
};

static const float  prd_agg_level[QUANTILES] = { 0.5f, 0.9f, 0.95f, 0.99f };

/* where the kinds begin: a step from the last value is seldom right */
static const float  prd_agg_trust[KINDS] = { 0.3f, 0.2f, 0.1f, 0.3f, 0.1f };

static const char  *prd_agg_expert[EXPERTS] = {
    "last", "mean_short", "mean_middle", "mean_long", "profile",
    "fit", "fit_day2", "fit_day", "fit_week", "arma", "arma_fourier"
};


static unsigned
prd_agg_modulo(int64_t bin, unsigned n)
{
    int64_t  m = bin % (int64_t) n;

    return (unsigned) (m < 0 ? m + n : m);
}


/* What is not a number becomes `low`. */

static float
prd_agg_clip(float v, float low, float high)
{
    return v > low ? prd_min(v, high) : low;
}


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

static float
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


static void
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


/* Radians a second */

static double
prd_agg_speed(unsigned wave)
{
    return 2 * M_PI * (wave < PRD_AGGREGATE_DAY ? (wave + 1) / 86400.0
                       : (wave - PRD_AGGREGATE_DAY + 1) / 604800.0);
}


/* What follows from the length of a bin alone. */

static void
prd_agg_constants(prd_aggregate_t *a)
{
    unsigned  i;

    for (i = 0; i <= CELLS; i++) {
        a->edge[i] = prd_agg_cell_low(i);
    }

    for (i = 0; i < PRD_AGGREGATE_WAVES; i++) {
        a->turn[i][0] = (float) cos(prd_agg_speed(i) * a->bin_s);
        a->turn[i][1] = (float) sin(prd_agg_speed(i) * a->bin_s);
    }
}


prd_rc_t
prd_aggregate_init(prd_aggregate_t *a, uint32_t bin_s)
{
    unsigned  i;

    if (bin_s < 1 || bin_s > 86400) {
        return PRD_ERANGE;
    }

    memset(a, 0, sizeof(prd_aggregate_t));

    a->bin_s = bin_s;
    a->slots = prd_min(86400 / bin_s, PRD_AGGREGATE_SLOTS);
    a->due = ANCHORS;
    a->stir = 1;

    prd_agg_constants(a);

    for (i = 0; i < ANCHORS; i++) {
        prd_agg_anchor_init(&a->anchor[i], a->edge);
    }

    return PRD_OK;
}


static double
prd_agg_days(const prd_aggregate_t *a)
{
    return (double) a->bins * a->bin_s / 86400.0;
}


/* How many fits there are days enough for */

static unsigned
prd_agg_open(const prd_aggregate_t *a)
{
    double  days = prd_agg_days(a);

    return days < PRD_AGG_DAY_OPEN ? 1 : days < PRD_AGG_WEEK_OPEN ? 3 : FITS;
}


/* Second of the week, which began on the Thursday of the epoch */

static uint32_t
prd_agg_second(const prd_aggregate_t *a, int64_t bin)
{
    return (uint32_t) ((uint64_t) prd_agg_modulo(bin, 604800) * a->bin_s
                       % 604800);
}


static unsigned
prd_agg_slot(const prd_aggregate_t *a, int64_t bin)
{
    return (unsigned) ((uint64_t) (prd_agg_second(a, bin) % 86400) * a->slots
                       / 86400);
}


static unsigned
prd_agg_hour(const prd_aggregate_t *a, int64_t bin)
{
    return prd_agg_second(a, bin) / 3600;
}


/* The profile at a bin, `other` where there is none yet */

static float
prd_agg_profile(const prd_aggregate_t *a, int64_t bin, float other)
{
    float     weeks;
    unsigned  d, w;

    d = prd_agg_slot(a, bin);
    w = prd_agg_hour(a, bin);

    if (a->day_seen[d] == 0) {
        return other;
    }

    if (a->week_seen[w] == 0 || prd_agg_days(a) <= PRD_AGG_WEEK_OPEN) {
        return a->day[d];
    }

    weeks = (float) a->week_seen[w]
            / prd_max(3600.0f / (float) a->bin_s, 1.0f);

    return (a->week[w] * weeks + a->day[d] * PRD_AGG_WEEK_PRIOR)
           / (weeks + PRD_AGG_WEEK_PRIOR);
}


/* A running mean of at most `most` values, the latest weighing as much */

static void
prd_agg_profile_add(float *mean, uint16_t *seen, uint32_t most, float z)
{
    if (*seen < prd_min(most, UINT16_MAX)) {
        (*seen)++;
    }

    *mean += (z - *mean) / (float) *seen;
}


static void
prd_agg_row(float *x, const float *lag, const float *mean, const float *shock)
{
    unsigned  i;

    *x++ = 1;

    for (i = 1; i <= PRD_AGGREGATE_LAGS; i++) {
        *x++ = lag[i] - lag[0];
    }

    for (i = 0; i < PRD_AGGREGATE_MEANS; i++) {
        *x++ = mean[i] - lag[0];
    }

    for (i = 0; i < PRD_AGGREGATE_SHOCKS; i++) {
        *x++ = shock[i];
    }
}


static void
prd_agg_waves(const prd_aggregate_t *a, int64_t bin, float *x)
{
    double    angle;
    unsigned  i;

    for (i = 0; i < PRD_AGGREGATE_WAVES; i++) {
        angle = prd_agg_speed(i) * prd_agg_second(a, bin);
        x[2 * i] = (float) cos(angle);
        x[2 * i + 1] = (float) sin(angle);
    }
}


static float
prd_agg_dot(const float *b, const float *x, unsigned n)
{
    float     sum;
    unsigned  i;

    for (i = 0, sum = 0; i < n; i++) {
        sum += b[i] * x[i];
    }

    return sum;
}


static float
prd_agg_top(const prd_aggregate_t *a)
{
    return prd_min(a->top + PRD_AGG_ROOM, PRD_AGG_LOG_MOST);
}


/* The regression of one bin, iterated: ARMA errors without further shocks */

static void
prd_agg_iterate(const prd_aggregate_t *a, unsigned fit, float *path)
{
    float         lag[PRD_AGGREGATE_LAGS + 1], mean[PRD_AGGREGATE_MEANS],
                  shock[PRD_AGGREGATE_SHOCKS], x[TERMS], top, c, *w;
    unsigned      i, h;
    const float  *beta = a->anchor[0].beta[fit];

    for (i = 0; i <= PRD_AGGREGATE_LAGS; i++) {
        lag[i] = a->z[prd_agg_modulo(a->bin - i, MOST)];
    }

    memcpy(mean, a->mean, sizeof(mean));
    memcpy(shock, a->shock, sizeof(shock));
    memcpy(x, a->row[prd_agg_modulo(a->bin, MOST)], sizeof(x));
    top = prd_agg_top(a);

    for (h = 0; h < MOST; h++) {
        path[h] = prd_agg_clip(lag[0] + prd_agg_dot(beta, x,
                                                    prd_agg_terms[fit]),
                               0, top);

        memmove(lag + 1, lag, sizeof(float) * PRD_AGGREGATE_LAGS);
        lag[0] = path[h];

        for (i = 0; i < PRD_AGGREGATE_MEANS; i++) {
            mean[i] += prd_agg_mean_gain[i] * (path[h] - mean[i]);
        }

        memmove(shock + 1, shock, sizeof(float) * (PRD_AGGREGATE_SHOCKS - 1));
        shock[0] = 0;
        prd_agg_row(x, lag, mean, shock);

        for (i = 0, w = x + PLAIN; fit && i < PRD_AGGREGATE_WAVES; i++, w += 2)
        {
            c = w[0] * a->turn[i][0] - w[1] * a->turn[i][1];
            w[1] = w[1] * a->turn[i][0] + w[0] * a->turn[i][1];
            w[0] = c;
        }
    }
}


/*
 * What each expert has to say of the centre.  Half of it is the weights of
 * fixed share.  They run to whoever was best of late, and models that err
 * alike are seldom told apart by that; the mean of several is hard to beat
 * (Bates and Granger 1969; Stock and Watson 2004).  The other half is that of
 * the models, of the profile and the regressions, by roots of their weights.
 */

static void
prd_agg_say(const prd_aggregate_anchor_t *n, float say[EXPERTS])
{
    float     root[EXPERTS], all, models;
    unsigned  k;

    for (k = 0, all = models = 0; k < EXPERTS; k++) {
        say[k] = prd_max(n->weight[k], 1e-9f);
        root[k] = k < PRD_AGGREGATE_PROFILE ? 0 : sqrtf(say[k]);
        all += say[k];
        models += root[k];
    }

    for (k = 0; k < EXPERTS; k++) {
        say[k] = (say[k] / all + root[k] / models) / 2;
    }
}


static void
prd_agg_points(const prd_aggregate_t *a, unsigned anchor,
    prd_aggregate_pending_t *p)
{
    float                          say[EXPERTS], z, *point = p->point;
    unsigned                       f, h, k, open;
    const float                   *x;
    const prd_aggregate_anchor_t  *n = &a->anchor[anchor];

    h = prd_agg_horizon[anchor];
    k = prd_agg_modulo(a->bin, MOST);
    x = a->row[k];
    z = a->z[k];

    point[PRD_AGGREGATE_LAST] = a->last;
    point[PRD_AGGREGATE_SHORT] = a->mean[0];
    point[PRD_AGGREGATE_MIDDLE] = a->mean[1];
    point[PRD_AGGREGATE_LONG] = a->mean[2];
    point[PRD_AGGREGATE_PROFILE] =
        prd_agg_profile(a, a->bin + h, a->mean[1])
        + a->residual[k] * (n->rho_xy + 0.5f) / (n->rho_xx + 0.5f);

    open = prd_min(n->fitted, prd_agg_open(a));

    for (k = 0; k < FITS; k++) {
        f = prd_min(k, open - 1);
        point[PRD_AGGREGATE_FIT + k] = open == 0 ? a->mean[0]
            : z + prd_agg_dot(n->beta[f], x, prd_agg_terms[f]);
    }

    point[PRD_AGGREGATE_ARMA] = a->path[0][h - 1];
    point[PRD_AGGREGATE_WAVE] = a->path[1][h - 1];

    prd_agg_say(n, say);
    p->centre = 0;

    for (k = 0; k < EXPERTS; k++) {
        point[k] = prd_agg_clip(point[k], 0, prd_agg_top(a));
        p->centre += say[k] * point[k];
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


static void
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


static prd_aggregate_pending_t *
prd_agg_slot_of(prd_aggregate_t *a, unsigned anchor)
{
    return &a->pending[prd_agg_pending[anchor]
                       + prd_agg_modulo(a->bin, prd_agg_horizon[anchor])];
}


static void
prd_agg_predict(prd_aggregate_t *a)
{
    unsigned                  i, open;
    prd_aggregate_pending_t  *p;

    open = prd_min(a->anchor[0].fitted, prd_agg_open(a));

    prd_agg_iterate(a, 0, a->path[0]);
    prd_agg_iterate(a, open ? open - 1 : 0, a->path[1]);

    for (i = 0; i < ANCHORS; i++) {
        p = prd_agg_slot_of(a, i);
        prd_agg_points(a, i, p);

        if (a->bins == 1) {
            a->anchor[i].size[PRD_AGGREGATE_ROOT] = 0.3f * expf(a->last / 2);
            a->anchor[i].size[PRD_AGGREGATE_COUNT] = 0.3f * expf(a->last);
            a->anchor[i].size[PRD_AGGREGATE_STEP] = 0.3f * expf(a->last);
        }

        prd_agg_spans(a, i, p);
    }
}


/*
 * Fixed share of `n` weights, `stride` apart: losses in units of their mean,
 * counted from the least, then a share of the prior.
 */

static void
prd_agg_share(float *weight, unsigned stride, const float *loss,
    const float *prior, unsigned n, float eta, float share)
{
    float     best, sum;
    unsigned  i;

    for (i = 1, best = loss[0]; i < n; i++) {
        best = prd_min(best, loss[i]);
    }

    for (i = 0, sum = 0; i < n; i++) {
        weight[i * stride] *= expf(-eta * prd_min(loss[i] - best,
                                                  PRD_AGG_LOSS_MOST));
        sum += weight[i * stride];
    }

    for (i = 0; i < n; i++) {
        weight[i * stride] = weight[i * stride] / sum * (1 - share)
                             + share * (prior ? prior[i] : 1.0f / (float) n);
    }
}


static float
prd_agg_pinball(float y, float q, float level)
{
    return y >= q ? level * (y - q) : (level - 1) * (y - q);
}


/* Coverage, the conformal shift, trust in the kinds: per quantile */

static void
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

static void
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


static void
prd_agg_score(prd_aggregate_t *a, unsigned anchor, float z)
{
    float                           loss[EXPERTS], u;
    unsigned                        k;
    prd_aggregate_anchor_t         *n = &a->anchor[anchor];
    const prd_aggregate_pending_t  *p = prd_agg_slot_of(a, anchor);

    for (k = 0; k < EXPERTS; k++) {
        loss[k] = fabsf(z - p->point[k]) / n->error;
    }

    prd_agg_share(n->weight, 1, loss, NULL, EXPERTS, PRD_AGG_ETA,
                  PRD_AGG_SHARE);

    if (anchor == 0) {
        u = (z - p->centre) / p->unit[PRD_AGGREGATE_LOG];
        a->stir += PRD_AGG_STIR * (prd_min(u * u, 9) - a->stir);
    }

    prd_agg_score_spans(n, p, z);
    prd_agg_score_errors(n, p, z);

    n->scored += n->scored < UINT32_MAX;
}


/* A new outcome: rows of h bins ago meet it. */

static void
prd_agg_learn(prd_aggregate_t *a, float z)
{
    float                    s;
    double                   w;
    unsigned                 d, h, i, j;
    const float             *x;
    prd_aggregate_anchor_t  *n;

    x = a->row[prd_agg_modulo(a->bin - 1, MOST)];

    for (i = d = 0; i < TERMS; i++) {
        for (j = 0; j <= i; j++, d++) {
            a->gram[d] = a->gram[d] * PRD_AGG_FADE + (double) x[i] * x[j];
        }
    }

    a->rows = a->rows * PRD_AGG_FADE + 1;

    for (i = 0; i < ANCHORS; i++) {
        n = &a->anchor[i];
        h = prd_agg_horizon[i];

        for (j = 0; j < TERMS; j++) {
            n->cross[j] *= PRD_AGG_FADE;
        }

        if (a->run < h) {
            continue;
        }

        /* in gram, the row has been fading for h - 1 bins */

        d = prd_agg_modulo(a->bin - h, MOST);
        w = pow(PRD_AGG_FADE, h - 1) * (z - a->z[d]);

        for (j = 0; j < TERMS; j++) {
            n->cross[j] += w * a->row[d][j];
        }

        s = a->residual[d];
        n->rho_xy = n->rho_xy * PRD_AGG_RHO_FADE
                    + s * (z - prd_agg_profile(a, a->bin, z));
        n->rho_xx = n->rho_xx * PRD_AGG_RHO_FADE + s * s;
    }
}


/*
 * An outage would stay in lags and means for hours: for its first bins, the
 * state goes no lower than the forecast's tail.  Scores see what there was.
 */

static float
prd_agg_outage(prd_aggregate_t *a, float z, float expected, float spread)
{
    float  least;

    least = expected - prd_max(PRD_AGG_OUTAGE_SCORE * spread,
                               PRD_AGG_OUTAGE_LEAST);

    if (z >= least || a->outage == PRD_AGG_OUTAGE
        || a->bins <= PRD_AGG_OUTAGE_BINS)
    {
        if (z >= least) {
            a->outage = 0;
        }

        return z;
    }

    a->outage++;

    return least;
}


/* Lags, means, profile, and the row of the bin */

static void
prd_agg_state(prd_aggregate_t *a, float z, float expected)
{
    float     lag[PRD_AGGREGATE_LAGS + 1], g, s, *x;
    unsigned  i;

    if (a->run == 0) {
        for (i = 0; i < MOST; i++) {
            a->z[i] = z;
        }

        for (i = 0; i < PRD_AGGREGATE_MEANS; i++) {
            a->mean[i] = z;
        }

        memset(a->shock, 0, sizeof(a->shock));
        expected = z;
    }

    s = a->run ? a->residual[prd_agg_modulo(a->bin - 1, MOST)] : 0;
    a->residual[prd_agg_modulo(a->bin, MOST)] =
        s + (z - prd_agg_profile(a, a->bin, z) - s) / 2;

    i = prd_agg_slot(a, a->bin);
    prd_agg_profile_add(&a->day[i], &a->day_seen[i], PRD_AGG_DAYS_KEPT
                        * prd_max(86400 / a->slots / a->bin_s, 1), z);

    i = prd_agg_hour(a, a->bin);
    prd_agg_profile_add(&a->week[i], &a->week_seen[i], PRD_AGG_WEEKS_KEPT
                        * prd_max(3600 / a->bin_s, 1), z);

    a->z[prd_agg_modulo(a->bin, MOST)] = z;

    for (i = 0; i < PRD_AGGREGATE_MEANS; i++) {
        g = prd_max(prd_agg_mean_gain[i], 1 / ((float) a->run + 1));
        a->mean[i] += g * (z - a->mean[i]);
    }

    memmove(a->shock + 1, a->shock, sizeof(float) * (PRD_AGGREGATE_SHOCKS - 1));
    a->shock[0] = z - expected;

    for (i = 0; i <= PRD_AGGREGATE_LAGS; i++) {
        lag[i] = a->z[prd_agg_modulo(a->bin - i, MOST)];
    }

    x = a->row[prd_agg_modulo(a->bin, MOST)];
    prd_agg_row(x, lag, a->mean, a->shock);
    prd_agg_waves(a, a->bin, x + PLAIN);
}


/* One bin further; unless it is known, z is a guess and scores nothing. */

static void
prd_agg_step(prd_aggregate_t *a, int64_t bin, float z, int known)
{
    float     expected, spread;
    unsigned  i;

    expected = a->pending[0].centre;
    spread = a->pending[0].unit[PRD_AGGREGATE_LOG];
    a->bin = bin;

    if (known) {
        a->last = z;
        a->top = prd_max(z, a->top * PRD_AGG_TOP_FADE);

        for (i = 0; i < ANCHORS; i++) {
            if (a->run >= prd_agg_horizon[i]) {
                prd_agg_score(a, i, z);
            }
        }
    }

    if (a->run) {
        if (known) {
            z = prd_agg_outage(a, z, expected, spread);
        }

        prd_agg_learn(a, z);
    }

    prd_agg_state(a, z, expected);

    a->bins += a->bins < UINT32_MAX;
    a->run += a->run < UINT32_MAX;

    prd_agg_predict(a);
    a->due = 0;
}


/* Numbers that no state reaches are none of ours. */

static int
prd_agg_sane(const float *v, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (!(fabsf(v[i]) <= 1e20f)) {
            return 0;
        }
    }

    return 1;
}


static int
prd_agg_sane_double(const double *v, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (!(fabs(v[i]) <= 1e20)) {
            return 0;
        }
    }

    return 1;
}


#define prd_agg_floats(type, from, to)                                        \
    ((offsetof(type, to) - offsetof(type, from)) / sizeof(float))


prd_rc_t
prd_aggregate_check(prd_aggregate_t *a, uint32_t bin_s)
{
    unsigned                 i;
    uint32_t                 slots;
    prd_aggregate_anchor_t  *n;

    slots = bin_s ? prd_min(86400 / bin_s, PRD_AGGREGATE_SLOTS) : 0;

    if (slots == 0 || a->bin_s != bin_s || a->slots != slots
        || a->due > ANCHORS || a->bin < 0 || a->bin > PRD_AGGREGATE_BIN_MAX
        || !prd_agg_sane_double(&a->rows, 1)
        || !prd_agg_sane_double(a->gram,
                                sizeof(a->gram) / sizeof(double))
        || !prd_agg_sane(&a->pending[0].point[0],
                         PRD_AGGREGATE_PENDING
                         * (sizeof(prd_aggregate_pending_t)
                            / sizeof(float)))
        || !prd_agg_sane(&a->row[0][0],
                         prd_agg_floats(prd_aggregate_t, row, day_seen)))
    {
        return PRD_ECORRUPT;
    }

    for (i = 0; i < ANCHORS; i++) {
        n = &a->anchor[i];

        if (n->fitted > PRD_AGGREGATE_FITS
            || !prd_agg_sane_double(n->cross, PRD_AGGREGATE_TERMS)
            || !prd_agg_sane(&n->beta[0][0],
                             prd_agg_floats(prd_aggregate_anchor_t, beta,
                                            scored)))
        {
            return PRD_ECORRUPT;
        }
    }

    prd_agg_constants(a);

    return PRD_OK;
}


prd_rc_t
prd_aggregate_add(prd_aggregate_t *a, int64_t bin, double y)
{
    if (bin < -PRD_AGGREGATE_BIN_MAX || bin > PRD_AGGREGATE_BIN_MAX) {
        return PRD_ERANGE;
    }

    if (a->bins && bin <= a->bin && a->bin - bin <= 86400 / a->bin_s) {
        return PRD_ESTALE;
    }

    if (a->bins && (bin < a->bin || bin - a->bin > MOST + 1)) {
        a->run = 0;
        a->outage = 0;
    }

    while (a->run && a->bin + 1 < bin) {
        prd_agg_step(a, a->bin + 1, a->pending[0].centre, 0);
    }

    y = y > 0 ? prd_min(y, PRD_AGG_COUNT_MOST) : 0;
    prd_agg_step(a, bin, (float) log1p(y), 1);

    return PRD_OK;
}


prd_rc_t
prd_aggregate_idle(prd_aggregate_t *a, int64_t bin)
{
    int64_t   from;
    prd_rc_t  rc;

    from = a->bins && bin > a->bin && bin - a->bin <= 2 * MOST ? a->bin + 1
           : bin - 2 * MOST + 1;

    if (a->bins == 0 || (bin <= a->bin && a->bin - bin <= 86400 / a->bin_s)) {
        from = bin;
    }

    for (rc = PRD_OK; from <= bin && rc == PRD_OK; from++) {
        rc = prd_aggregate_add(a, from, 0);
    }

    return rc;
}


static double
prd_agg_ridge(unsigned term)
{
    unsigned  k;

    if (term < PLAIN) {
        return PRD_AGG_RIDGE;
    }

    k = (term - PLAIN) / 2;
    k = k < PRD_AGGREGATE_DAY ? k + 1 : k - PRD_AGGREGATE_DAY + 1;

    return PRD_AGG_RIDGE_WAVE * k * k;
}


/*
 * Cholesky in place, and L v = b on the way.  The ridge is relative to the
 * diagonal, so it has no unit; a term that never varied gets a pivot that
 * leaves its coefficient at 0.
 */

static void
prd_agg_factor(double *l, double *v, const double *b, double rows,
    unsigned size)
{
    double    s, least;
    unsigned  i, j, k;

    for (i = 0; i < size; i++) {
        s = prd_max(l[prd_agg_at(i, i)], 0) * (1 + prd_agg_ridge(i) / rows)
            + 1e-6;
        l[prd_agg_at(i, i)] = s;
        least = s * PRD_AGG_TINY;

        for (j = 0; j <= i; j++) {
            s = l[prd_agg_at(i, j)];

            for (k = 0; k < j; k++) {
                s -= l[prd_agg_at(i, k)] * l[prd_agg_at(j, k)];
            }

            l[prd_agg_at(i, j)] = j < i ? s / l[prd_agg_at(j, j)]
                                        : sqrt(prd_max(s, least));
        }

        s = b[i];

        for (k = 0; k < i; k++) {
            s -= l[prd_agg_at(i, k)] * v[k];
        }

        v[i] = s / l[prd_agg_at(i, i)];
    }
}


static void
prd_agg_solve(prd_aggregate_t *a, unsigned anchor)
{
    double                   l[TERMS * (TERMS + 1) / 2], v[TERMS], b[TERMS],
                             s, w, rows;
    unsigned                 d, f, h, i, j, k, size;
    const float             *x;
    prd_aggregate_anchor_t  *n = &a->anchor[anchor];

    h = prd_agg_horizon[anchor];

    if (a->run < h + 2) {
        return;
    }

    size = prd_agg_terms[prd_agg_open(a) - 1];
    memcpy(l, a->gram, sizeof(l));
    rows = a->rows;

    /* rows whose outcome h bins ahead is not known yet */

    for (k = 1, w = 1; k < h; k++, w *= PRD_AGG_FADE) {
        x = a->row[prd_agg_modulo(a->bin - k, MOST)];
        rows -= w;

        for (i = d = 0; i < size; i++) {
            for (j = 0; j <= i; j++, d++) {
                l[d] -= w * x[i] * x[j];
            }
        }
    }

    if (rows < 3) {
        return;
    }

    prd_agg_factor(l, v, n->cross, rows, size);

    /* the leading block of a factor is the factor of the leading block */

    for (f = 0; f < FITS && prd_agg_terms[f] <= size; f++) {
        for (i = prd_agg_terms[f]; i-- > 0; /* void */) {
            s = v[i];

            for (k = i + 1; k < prd_agg_terms[f]; k++) {
                s -= l[prd_agg_at(k, i)] * b[k];
            }

            b[i] = s / l[prd_agg_at(i, i)];
            n->beta[f][i] = (float) b[i];
        }
    }

    n->fitted = f;
}


prd_rc_t
prd_aggregate_refit(prd_aggregate_t *a, unsigned steps)
{
    while (a->due < ANCHORS) {
        if (steps-- == 0) {
            return PRD_EAGAIN;
        }

        prd_agg_solve(a, a->due++);
    }

    return PRD_OK;
}


static double
prd_agg_count(float z)
{
    return expm1(prd_agg_clip(z, 0, PRD_AGG_LOG_MOST));
}


static prd_rc_t
prd_agg_find(const prd_aggregate_t *a, unsigned horizon, unsigned *anchor)
{
    unsigned  i;

    if (horizon < 1 || horizon > MOST) {
        return PRD_ERANGE;
    }

    if (a->bins == 0) {
        return PRD_DECLINED;
    }

    for (i = 0; prd_agg_horizon[i] < horizon; i++) { /* void */ }

    *anchor = i;

    return PRD_OK;
}


prd_rc_t
prd_aggregate_forecast(const prd_aggregate_t *a, unsigned horizon,
    double q[QUANTILES])
{
    float         part, from, to, z;
    prd_rc_t      rc;
    unsigned      i, k, near, far;
    const float  *path = a->path[1], *before, *after;

    rc = prd_agg_find(a, horizon, &i);

    if (rc != PRD_OK) {
        return rc;
    }

    far = prd_agg_horizon[i];
    after = a->pending[prd_agg_pending[i] + prd_agg_modulo(a->bin, far)]
            .quantile;

    if (far == horizon) {
        for (k = 0; k < QUANTILES; k++) {
            q[k] = prd_agg_count(after[k]);
        }

        return PRD_OK;
    }

    /* between two anchors: along the iterated path, which has the season */

    near = prd_agg_horizon[i - 1];
    before = a->pending[prd_agg_pending[i - 1] + prd_agg_modulo(a->bin, near)]
             .quantile;
    part = logf((float) horizon / (float) near)
           / logf((float) far / (float) near);

    for (k = 0; k < QUANTILES; k++) {
        from = before[k] - path[near - 1];
        to = after[k] - path[far - 1];
        z = path[horizon - 1] + from + part * (to - from);
        q[k] = prd_agg_count(prd_min(z, prd_agg_top(a)));

        if (k) {
            q[k] = prd_max(q[k], q[k - 1]);
        }
    }

    return PRD_OK;
}


prd_rc_t
prd_aggregate_explain(const prd_aggregate_t *a, unsigned horizon,
    double covered[QUANTILES], double point[EXPERTS], double weight[EXPERTS])
{
    float                           say[EXPERTS];
    prd_rc_t                        rc;
    unsigned                        i, k;
    const prd_aggregate_anchor_t   *n;
    const prd_aggregate_pending_t  *p;

    rc = prd_agg_find(a, horizon, &i);

    if (rc != PRD_OK) {
        return rc;
    }

    n = &a->anchor[i];
    p = &a->pending[prd_agg_pending[i]
                    + prd_agg_modulo(a->bin, prd_agg_horizon[i])];

    if (n->scored == 0) {
        return PRD_DECLINED;
    }

    for (k = 0; covered && k < QUANTILES; k++) {
        covered[k] = n->covered[k];
    }

    prd_agg_say(n, say);

    for (k = 0; k < EXPERTS; k++) {
        if (point) {
            point[k] = prd_agg_count(p->point[k]);
        }

        if (weight) {
            weight[k] = say[k];
        }
    }

    return PRD_OK;
}


const char *
prd_aggregate_expert(unsigned expert)
{
    return expert < EXPERTS ? prd_agg_expert[expert] : "";
}
