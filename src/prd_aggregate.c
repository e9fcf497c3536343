
/*
 * Aggregates: bins come in and forecasts go out.  In between are what is
 * remembered of the series, the regression (prd_aggregate_fit.c), the experts
 * (prd_aggregate_mix.c), and their errors (prd_aggregate_error.c).
 */


#include "prd_aggregate_inner.h"


#define PRD_AGG_OUTAGE        6       /* bins that are kept out in a row */
#define PRD_AGG_OUTAGE_SCORE  5.0f    /* below the forecast, and at least, */
#define PRD_AGG_OUTAGE_LEAST  0.7f    /* log: to a half */
#define PRD_AGG_OUTAGE_BINS   20      /* needs a level to compare with */

#define PRD_AGG_TOP_FADE      0.9999f
#define PRD_AGG_COUNT_MOST    1e19
#define PRD_AGG_DAYS_KEPT     5       /* of the profile */
#define PRD_AGG_WEEKS_KEPT    4
#define PRD_AGG_WEEK_PRIOR    3.0f    /* days that outweigh one week */


const uint8_t  prd_agg_horizon[ANCHORS] = { 1, 2, 3, 6, 12, 24 };
const uint8_t  prd_agg_pending[ANCHORS] = { 0, 1, 3, 6, 12, 24 };

const float  prd_agg_mean_gain[PRD_AGGREGATE_MEANS] = {
    0.4f, 0.12f, 0.02f
};

static const char  *prd_agg_expert[EXPERTS] = {
    "last", "mean_short", "mean_middle", "mean_long", "profile",
    "fit", "fit_day2", "fit_day", "fit_week", "arma", "arma_fourier"
};


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

float
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
