
/*
 * The regression: rows, normal equations with forgetting, their solution.
 *
 * Its target is the change z(t+h) - z(t), its lags and means are differences
 * from z(t): with no coefficient left by the ridge, the last value is forecast.
 * One set of normal equations serves all anchors: rows whose outcome is not
 * known yet are taken off before it is solved, and the Fourier terms of t span
 * those of t+h.
 */


#include "prd_aggregate_inner.h"


#define PRD_AGG_FADE          (1 - 1 / 3000.0)  /* of the equations, a bin */
#define PRD_AGG_RIDGE         40.0    /* pseudo-observations, plain terms */
#define PRD_AGG_RIDGE_WAVE    2.0     /* times the square of the harmonic */
#define PRD_AGG_TINY          1e-9    /* pivot, of its diagonal */

#define PRD_AGG_RHO_FADE      0.995f

#define prd_agg_at(i, j)      ((i) * ((i) + 1) / 2 + (j))      /* j <= i */


const uint8_t  prd_agg_terms[FITS] = {
    PLAIN, PLAIN + 4, PLAIN + 2 * PRD_AGGREGATE_DAY, TERMS
};


double
prd_agg_speed(unsigned wave)
{
    return 2 * M_PI * (wave < PRD_AGGREGATE_DAY ? (wave + 1) / 86400.0
                       : (wave - PRD_AGGREGATE_DAY + 1) / 604800.0);
}


void
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


void
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


/* The regression of one bin, iterated: ARMA errors without further shocks */

void
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


void
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
