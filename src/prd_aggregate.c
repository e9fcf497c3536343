
/*
 * Aggregates: the regression, the experts, their mixture and its quantiles.
 */


#include <math.h>

#include "prd_aggregate.h"


#ifndef K_MEM
#define K_MEM 2000.0
#endif
#ifndef K_RIDGE
#define K_RIDGE 15.0
#endif
#ifndef K_RIDGEW
#define K_RIDGEW 2.0
#endif
#ifndef K_ETA
#define K_ETA 0.3f
#endif
#ifndef K_SHARE
#define K_SHARE 0.01f
#endif
#ifndef K_GAIN
#define K_GAIN 0.02f
#endif
#ifndef K_VOTES
#define K_VOTES 2000.0f
#endif
#ifndef K_SHIFT
#define K_SHIFT 0.005f
#endif
#ifndef K_NEAR
#define K_NEAR 0.05f
#endif
#ifndef K_NEARPOW
#define K_NEARPOW 0.5f
#endif
#ifndef K_KETA
#define K_KETA 0.05f
#endif
#ifndef K_KSHARE
#define K_KSHARE 0.005f
#endif
#ifndef K_POLY
#define K_POLY 1.0f
#endif
#ifndef K_PLUS
#define K_PLUS 0
#endif
#ifndef K_CLIPMIN
#define K_CLIPMIN 0.7f
#endif
#ifndef K_UP
#define K_UP 1
#define K_DOWN 6
#endif
#ifndef K_WARM
#define K_WARM 12
#endif
#ifndef K_CLIP
#define K_CLIP 5
#endif
#ifndef K_SGAIN
#define K_SGAIN 0.1f
#endif
#ifndef K_DAYS1
#define K_DAYS1 2.0
#endif
#ifndef K_DAYSW
#define K_DAYSW 10.0
#endif


#define TERMS    PRD_AGGREGATE_TERMS
#define EXPERTS  PRD_AGGREGATE_EXPERTS
#define MOST     PRD_AGGREGATE_MOST

static const uint8_t  horizon_of[PRD_AGGREGATE_ANCHORS] =
    { 1, 2, 3, 6, 12, 18, 24 };
static const uint8_t  pending_at[PRD_AGGREGATE_ANCHORS] =
    { 0, 1, 3, 6, 12, 24, 42 };
static const uint8_t  terms_of[PRD_AGGREGATE_FITS] =
    { PRD_AGGREGATE_PLAIN, PRD_AGGREGATE_PLAIN + 4,
      PRD_AGGREGATE_PLAIN + 2 * PRD_AGGREGATE_DAY, TERMS };
static const float  gain_of[PRD_AGGREGATE_MEANS] = { 0.4f, 0.12f, 0.02f };
static const float  level_of[PRD_AGGREGATE_QUANTILES] =
    { 0.5f, 0.9f, 0.95f, 0.99f };

#define tri(i, j)  ((i) * ((i) + 1) / 2 + (j))     /* j <= i */


static unsigned
modulo(int64_t bin, unsigned n)
{
    int64_t  m = bin % (int64_t) n;

    return (unsigned) (m < 0 ? m + n : m);
}


static float
cell_low(unsigned c)
{
    return sinhf(((float) c - PRD_AGGREGATE_CELLS / 2) * (6.0f * 2
                 / PRD_AGGREGATE_CELLS)) * 0.5f;
}


static unsigned
cell_of(float u)
{
    float  c = asinhf(u * 2) * (PRD_AGGREGATE_CELLS / 12.0f)
               + PRD_AGGREGATE_CELLS / 2;

    return c < 0 ? 0 : c >= PRD_AGGREGATE_CELLS ? PRD_AGGREGATE_CELLS - 1
           : (unsigned) c;
}


static void
quantiles_of(const prd_aggregate_anchor_t *n, const float *cell, float u[4])
{
    float     sum, next, want;
    unsigned  c, k;

    sum = 0;
    c = 0;

    for (k = 0; k < 4; k++) {
        want = prd_min(level_of[k] * (n->votes + (k ? K_PLUS * n->vote : 0.0f)),
                       n->votes);

        while (c < PRD_AGGREGATE_CELLS - 1 && sum + cell[c] < want) {
            sum += cell[c++];
        }

        next = cell[c] > 0 ? (want - sum) / cell[c] : 1;
        u[k] = cell_low(c) + prd_min(next, 1) * (cell_low(c + 1) - cell_low(c));
    }
}


prd_rc_t
prd_aggregate_init(prd_aggregate_t *a, uint32_t bin_s)
{
    double                   angle;
    unsigned                 i, k, c;
    prd_aggregate_anchor_t  *n;

    if (bin_s < 1 || bin_s > 86400) {
        return PRD_ERANGE;
    }

    memset(a, 0, sizeof(prd_aggregate_t));

    a->bin_s = bin_s;
    a->slots = prd_min(86400 / bin_s, PRD_AGGREGATE_SLOTS);

    for (i = 0; i < PRD_AGGREGATE_WAVES; i++) {
        angle = 2 * M_PI * bin_s
                * (i < PRD_AGGREGATE_DAY ? (i + 1) / 86400.0
                   : (i - PRD_AGGREGATE_DAY + 1) / 604800.0);
        a->turn[i][0] = (float) cos(angle);
        a->turn[i][1] = (float) sin(angle);
    }

    for (i = 0; i < PRD_AGGREGATE_ANCHORS; i++) {
        n = &a->anchor[i];
        n->spread = 0.1f;
        n->near = 1;
        n->vote = 1;
        n->error = 0.3f;

        for (k = 0; k < EXPERTS; k++) {
            n->weight[k] = 1.0f / EXPERTS;
        }

        for (c = 0; c < PRD_AGGREGATE_CELLS; c++) {
            float lo = cell_low(c), hi = cell_low(c + 1), b = 0.8f, v;
#define CDF(x) ((x) < 0 ? 0.5f * expf((x) / b) : 1 - 0.5f * expf(-(x) / b))
            v = 3 * (CDF(hi) - CDF(lo));
            n->votes += v;

            for (k = 0; k < PRD_AGGREGATE_KINDS; k++) {
                n->cell[k][c] = v;
            }
        }

        for (k = 0; k < PRD_AGGREGATE_KINDS; k++) {
            n->size[k] = 1;

            for (c = 0; c < 4; c++) {
                n->trust[k][c] = 1.0f / PRD_AGGREGATE_KINDS;
            }
        }
    }

    return PRD_OK;
}


static double
days_seen(const prd_aggregate_t *a)
{
    return (double) a->bins * a->bin_s / 86400.0;
}


static unsigned
fits_open(const prd_aggregate_t *a)
{
    double  days = days_seen(a);

    return days < K_DAYS1 ? 1 : days < K_DAYSW ? 3 : 4;
}


static unsigned
slot_of(const prd_aggregate_t *a, int64_t bin)
{
    uint32_t  s = (uint32_t) modulo(bin, 604800) * (uint64_t) a->bin_s % 86400;

    return (unsigned) ((uint64_t) s * a->slots / 86400);
}


static unsigned
hour_of(const prd_aggregate_t *a, int64_t bin)
{
    return (unsigned) ((uint64_t) modulo(bin, 604800) * a->bin_s % 604800
                       / 3600);
}


/* The profile at a bin; without one, `other` */

static float
profile_at(const prd_aggregate_t *a, int64_t bin, float other)
{
    float     s;
    unsigned  d = slot_of(a, bin), w = hour_of(a, bin);

    if (a->day_seen[d] == 0) {
        return other;
    }

    s = a->day[d];

    if (a->week_seen[w] && days_seen(a) > 8) {
        float n = (float) a->week_seen[w] * (float) a->bin_s / 3600.0f;
        s = (a->week[w] * n + s * 3) / (n + 3);
    }

    return s;
}


static void
row_plain(const prd_aggregate_t *a, const float *lag, const float *mean,
    const float *shock, float *x)
{
    unsigned  i, k;

    (void) a;
    k = 0;
    x[k++] = 1;

    for (i = 1; i <= PRD_AGGREGATE_LAGS; i++) {
        x[k++] = lag[i] - lag[0];
    }

    for (i = 0; i < PRD_AGGREGATE_MEANS; i++) {
        x[k++] = mean[i] - lag[0];
    }

    for (i = 0; i < PRD_AGGREGATE_SHOCKS; i++) {
        x[k++] = shock[i];
    }
}


static void
row_waves(const prd_aggregate_t *a, int64_t bin, float *x)
{
    double    t, angle;
    unsigned  i;

    t = (double) ((uint64_t) modulo(bin, 604800) * a->bin_s % 604800);

    for (i = 0; i < PRD_AGGREGATE_WAVES; i++) {
        angle = 2 * M_PI * t
                * (i < PRD_AGGREGATE_DAY ? (i + 1) / 86400.0
                   : (i - PRD_AGGREGATE_DAY + 1) / 604800.0);
        x[2 * i] = (float) cos(angle);
        x[2 * i + 1] = (float) sin(angle);
    }
}


static float
dot(const float *b, const float *x, unsigned n)
{
    float     s = 0;
    unsigned  i;

    for (i = 0; i < n; i++) {
        s += b[i] * x[i];
    }

    return s;
}


/* Iterates the regression of one bin */

static void
iterate(const prd_aggregate_t *a, unsigned fit, float *path)
{
    float         lag[PRD_AGGREGATE_LAGS + 1], mean[PRD_AGGREGATE_MEANS],
                  shock[PRD_AGGREGATE_SHOCKS], x[TERMS], z, c, s, top;
    unsigned      i, h;
    const float  *beta = a->anchor[0].beta[fit];

    for (i = 0; i <= PRD_AGGREGATE_LAGS; i++) {
        lag[i] = a->z[modulo(a->bin - i, MOST)];
    }

    memcpy(mean, a->mean, sizeof(mean));
    memcpy(shock, a->shock, sizeof(shock));
    memcpy(x, a->row[modulo(a->bin, MOST)], sizeof(x));
    top = a->top + 1;

    for (h = 0; h < MOST; h++) {
        z = lag[0] + dot(beta, x, terms_of[fit]);
        z = z > 0 ? prd_min(z, top) : 0;
        path[h] = z;

        memmove(lag + 1, lag, sizeof(float) * PRD_AGGREGATE_LAGS);
        lag[0] = z;

        for (i = 0; i < PRD_AGGREGATE_MEANS; i++) {
            mean[i] += gain_of[i] * (z - mean[i]);
        }

        shock[1] = shock[0];
        shock[0] = 0;
        row_plain(a, lag, mean, shock, x);

        if (fit) {
            for (i = 0; i < PRD_AGGREGATE_WAVES; i++) {
                float *w = x + PRD_AGGREGATE_PLAIN + 2 * i;
                c = w[0] * a->turn[i][0] - w[1] * a->turn[i][1];
                s = w[1] * a->turn[i][0] + w[0] * a->turn[i][1];
                w[0] = c;
                w[1] = s;
            }
        }
    }
}


static float
scale_of(const prd_aggregate_anchor_t *n, float centre)
{
    return sqrtf(n->spread * n->near + 1.0f / (expf(centre) + 1) + 1e-6f);
}


static void
predict(prd_aggregate_t *a)
{
    float                     z, res, top, u[4], sum, y;
    int64_t                   bin = a->bin;
    unsigned                  i, k, c, h, open;
    const float              *x = a->row[modulo(bin, MOST)];
    prd_aggregate_anchor_t   *n;
    prd_aggregate_pending_t  *p;

    z = a->z[modulo(bin, MOST)];
    res = a->residual[modulo(bin, MOST)];
    open = fits_open(a);
    top = a->top + 1;

    iterate(a, 0, a->path[0]);
    iterate(a, open - 1, a->path[1]);

    for (i = 0; i < PRD_AGGREGATE_ANCHORS; i++) {
        n = &a->anchor[i];
        h = horizon_of[i];
        p = &a->pending[pending_at[i] + modulo(bin, h)];

        p->point[PRD_AGGREGATE_LAST] = a->last;
        p->point[PRD_AGGREGATE_SHORT] = a->mean[0];
        p->point[PRD_AGGREGATE_MIDDLE] = a->mean[1];
        p->point[PRD_AGGREGATE_LONG] = a->mean[2];
        p->point[PRD_AGGREGATE_PROFILE] = profile_at(a, bin + h, a->mean[1])
            + res * (n->rho_xy + 0.5f) / (n->rho_xx + 0.5f);

        for (k = 0; k < PRD_AGGREGATE_FITS; k++) {
            p->point[PRD_AGGREGATE_FIT + k] = n->fitted == 0 ? a->mean[0]
                : z + dot(n->beta[prd_min(k, open - 1)], x,
                          terms_of[prd_min(k, open - 1)]);
        }

        p->point[PRD_AGGREGATE_ARMA] = a->path[0][h - 1];
        p->point[PRD_AGGREGATE_WAVE] = a->path[1][h - 1];

        p->centre = sum = 0;

        for (k = 0; k < EXPERTS; k++) {
            p->point[k] = p->point[k] > 0 ? prd_min(p->point[k], top) : 0;
            p->centre += n->weight[k] * p->point[k];
            sum += n->weight[k];
        }

        p->centre /= sum;
        p->scale = scale_of(n, p->centre);
        y = expf(p->centre);

        if (a->bins == 1) {
            n->size[1] = 0.3f * sqrtf(y);
            n->size[2] = 0.3f * y;
        }

        for (k = 0; k < PRD_AGGREGATE_KINDS; k++) {
            quantiles_of(n, n->cell[k], u);
            p->raw[k] = k == 0 ? p->scale
                        : n->size[k] * (k == 1 ? sqrtf(y) : 1);

            for (c = 0; c < 4; c++) {
                p->kind[k][c] = k == 0 ? p->centre + p->scale * u[c]
                                : logf(prd_max(y + p->raw[k] * u[c], 1));
                p->kind[k][c] = prd_max(p->kind[k][c], 0);
            }
        }

        for (c = 0; c < 4; c++) {
            sum = p->quantile[c] = 0;

            for (k = 0; k < PRD_AGGREGATE_KINDS; k++) {
                sum += n->trust[k][c];
                p->quantile[c] += n->trust[k][c] * p->kind[k][c];
            }

            p->quantile[c] = p->quantile[c] / sum + p->scale * n->shift[c];

            if (c) {
                p->quantile[c] = prd_max(p->quantile[c], p->quantile[c - 1]);
            }
        }
    }
}


static float
pinball(float y, float q, float level)
{
    return y >= q ? level * (y - q) : (level - 1) * (y - q);
}


static void
score(prd_aggregate_t *a, unsigned i, float z)
{
    float                     e, u, loss, best, sum, c, g, w;
    unsigned                  k;
    prd_aggregate_anchor_t   *n = &a->anchor[i];
    prd_aggregate_pending_t  *p;

    p = &a->pending[pending_at[i] + modulo(a->bin, horizon_of[i])];

    /* experts */

    best = 1e30f;

    for (k = 0; k < EXPERTS; k++) {
        best = prd_min(best, fabsf(z - p->point[k]));
    }

    sum = 0;

    for (k = 0; k < EXPERTS; k++) {
        loss = (fabsf(z - p->point[k]) - best) / n->error;
        n->weight[k] *= expf(-K_ETA * prd_min(loss, 5));
        sum += n->weight[k];
    }

    for (k = 0; k < EXPERTS; k++) {
        n->weight[k] = n->weight[k] / sum * (1 - K_SHARE) + K_SHARE / EXPERTS;
    }

    e = z - p->centre;
    u = e / p->scale;

    /* coverage and shift */

    for (k = 0; k < 4; k++) {
        c = z <= p->quantile[k] + 1e-6f;
        g = prd_max(1.0f / (float) (n->scored + 1), 0.001f);
        n->covered[k] += g * (c - n->covered[k]);
        n->shift[k] += K_SHIFT * (level_of[k] - c);
    }

    g = prd_max(1.0f / (float) (n->scored + 2), K_GAIN);
    n->error += g * (fabsf(e) - n->error);
    n->error = prd_max(n->error, 1e-4f);
    c = 1.0f / (expf(p->centre) + 1);
    g = prd_max((K_POLY + 1) / (float) (n->scored + 4 + K_POLY), K_GAIN * K_SGAIN);
    c = prd_min(e * e, 25 * p->scale * p->scale) - c;
    n->spread += g * (c - n->spread);
    n->spread = prd_max(n->spread, 1e-5f);

    /* of late: the squared score, against 1 */
    n->near += K_NEAR * (prd_min(u * u, 9) / prd_max(powf(n->near, K_NEARPOW), 0.01f)
                         * n->near - n->near) * 0;
    n->scored += (n->scored < UINT32_MAX);

    w = n->vote;
    {
        float y = expf(z), m = expf(p->centre), l[PRD_AGGREGATE_KINDS], t;
        unsigned j;

        for (k = 0; k < 4; k++) {
            t = 1e30f;

            for (j = 0; j < PRD_AGGREGATE_KINDS; j++) {
                l[j] = pinball(y, expf(p->kind[j][k]), level_of[k]);
                t = prd_min(t, l[j]);
            }

            sum = 0;
            c = pinball(y, expf(p->quantile[k]), level_of[k]);
            g = prd_max(1.0f / (float) (n->scored + 1), K_GAIN * .25f);
            n->pinball[k] += g * (c - n->pinball[k]);

            for (j = 0; j < PRD_AGGREGATE_KINDS; j++) {
                n->trust[j][k] *= expf(-K_KETA * prd_min((l[j] - t)
                                           / (n->pinball[k] + 1e-6f), 5));
                sum += n->trust[j][k];
            }

            for (j = 0; j < PRD_AGGREGATE_KINDS; j++) {
                n->trust[j][k] = n->trust[j][k] / sum * (1 - K_KSHARE)
                                 + K_KSHARE / PRD_AGGREGATE_KINDS;
            }
        }

        for (k = 0; k < PRD_AGGREGATE_KINDS; k++) {
            t = k == 0 ? u : (y - m) / p->raw[k];

            if (n->scored > K_WARM) {
                n->cell[k][cell_of(t)] += w;
            }

            if (k) {
                t = fabsf(y - m) / (k == 1 ? sqrtf(m) : 1);
                g = prd_max((K_POLY + 1) / (float) (n->scored + 1 + K_POLY), K_GAIN * 0.1f);
                n->size[k] += g * (prd_min(t, 20 * n->size[k]) - n->size[k]);
                n->size[k] = prd_max(n->size[k], 1e-3f);
            }
        }
    }

    n->votes += n->scored > K_WARM ? w : 0;
    n->vote = w * (1 + prd_max(K_POLY / (float) (n->scored + 1), 1 / K_VOTES));

    if (w > 256) {
        n->vote /= 256;
        n->votes /= 256;

        for (k = 0; k < PRD_AGGREGATE_CELLS; k++) {
            n->cell[0][k] /= 256;
            n->cell[1][k] /= 256;
            n->cell[2][k] /= 256;
        }
    }
}


prd_rc_t
prd_aggregate_add(prd_aggregate_t *a, int64_t bin, double y)
{
    float                    z, s, *x, lag[PRD_AGGREGATE_LAGS + 1], one;
    double                   fade, w;
    unsigned                 i, j, h, d;
    prd_aggregate_anchor_t  *n;

    if (!(y > 0)) {
        y = 0;
    }

    z = (float) log1p(prd_min(y, 1e19));

    if (a->bins) {
        if (bin <= a->bin && a->bin - bin <= 86400 / a->bin_s) {
            return PRD_ESTALE;
        }

        if (bin != a->bin + 1) {
            a->run = 0;
        }
    }

    a->bin = bin;
    a->last = z;
    fade = 1 - 1 / K_MEM;
    one = a->pending[0].centre;

    /* what was forecast for this bin */

    for (i = 0; i < PRD_AGGREGATE_ANCHORS; i++) {
        if (a->run >= horizon_of[i]) {
            score(a, i, z);
        }
    }

    /* equations */

    if (a->run && a->bins > 20) {
        s = prd_max(K_CLIP * a->pending[0].scale, K_CLIPMIN);

        if (fabsf(z - one) > s && a->clipped < (z > one ? K_UP : K_DOWN)) {
            z = z > one ? one + s : one - s;
            a->clipped++;

        } else {
            a->clipped = 0;
        }
    }

    if (a->run) {
        x = a->row[modulo(bin - 1, MOST)];
        d = 0;

        for (i = 0; i < TERMS; i++) {
            for (j = 0; j <= i; j++, d++) {
                a->gram[d] = a->gram[d] * fade + (double) x[i] * x[j];
            }
        }

        a->rows = a->rows * fade + 1;

        for (i = 0; i < PRD_AGGREGATE_ANCHORS; i++) {
            h = horizon_of[i];
            n = &a->anchor[i];
            w = pow(fade, h - 1);

            for (j = 0; j < TERMS; j++) {
                n->cross[j] *= fade;
            }

            if (a->run >= h) {
                x = a->row[modulo(bin - h, MOST)];
                w *= z - a->z[modulo(bin - h, MOST)];

                for (j = 0; j < TERMS; j++) {
                    n->cross[j] += w * x[j];
                }

                /* the profile's error */
                s = a->residual[modulo(bin - h, MOST)];
                n->rho_xy = n->rho_xy * 0.995f
                            + s * (z - profile_at(a, bin, z));
                n->rho_xx = n->rho_xx * 0.995f + s * s;
            }
        }
    }

    /* state */

    if (a->run == 0) {
        for (i = 0; i < MOST; i++) {
            a->z[i] = z;
        }

        for (i = 0; i < PRD_AGGREGATE_MEANS; i++) {
            a->mean[i] = z;
        }

        one = z;
        memset(a->shock, 0, sizeof(a->shock));
    }

    s = a->run ? a->residual[modulo(bin - 1, MOST)] : 0;
    a->residual[modulo(bin, MOST)] = s + 0.5f * (z - profile_at(a, bin, z) - s);

    d = slot_of(a, bin);
    a->day[d] += (z - a->day[d]) / (float) (a->day_seen[d] + 1);
    a->day_seen[d] = (uint16_t) prd_min(a->day_seen[d] + 1u,
                             5 * prd_max(86400 / a->slots / a->bin_s, 1));
    d = hour_of(a, bin);
    a->week[d] += (z - a->week[d]) / (float) (a->week_seen[d] + 1);
    a->week_seen[d] = (uint16_t) prd_min(a->week_seen[d] + 1u,
                              4 * prd_max(3600 / a->bin_s, 1));

    a->z[modulo(bin, MOST)] = z;
    a->top = prd_max((float) log1p(prd_min(y, 1e19)), a->top * 0.9999f);

    for (i = 0; i < PRD_AGGREGATE_MEANS; i++) {
        s = prd_max(gain_of[i], 1.0f / (float) (a->bins + 1));
        a->mean[i] += s * (z - a->mean[i]);
    }

    a->shock[1] = a->shock[0];
    a->shock[0] = z - one;

    for (i = 0; i <= PRD_AGGREGATE_LAGS; i++) {
        lag[i] = a->z[modulo(bin - i, MOST)];
    }

    x = a->row[modulo(bin, MOST)];
    row_plain(a, lag, a->mean, a->shock, x);
    row_waves(a, bin, x + PRD_AGGREGATE_PLAIN);

    a->bins += (a->bins < UINT32_MAX);
    a->run += (a->run < UINT32_MAX);

    predict(a);
    a->due = 0;

    return PRD_OK;
}


static float
ridge_of(unsigned i)
{
    if (i < PRD_AGGREGATE_PLAIN) {
        return K_RIDGE;
    }

    i = (i - PRD_AGGREGATE_PLAIN) / 2;
    i = i < PRD_AGGREGATE_DAY ? i + 1 : i - PRD_AGGREGATE_DAY + 1;

    return K_RIDGEW * (float) (i * i);
}


static void
solve(prd_aggregate_t *a, unsigned at)
{
    double                   l[TERMS * (TERMS + 1) / 2], v[TERMS], b[TERMS],
                             w, s, fade, rows, least;
    unsigned                 i, j, k, d, h, f, size;
    const float             *x;
    prd_aggregate_anchor_t  *n = &a->anchor[at];

    h = horizon_of[at];
    fade = 1 - 1 / K_MEM;

    if (a->run < h + 2) {
        return;
    }

    size = terms_of[fits_open(a) - 1];
    memcpy(l, a->gram, sizeof(l));
    rows = a->rows;
    w = 1;

    /* rows whose outcome h bins ahead is not known yet */

    for (k = 2; k <= h; k++, w *= fade) {
        x = a->row[modulo(a->bin - k + 1, MOST)];
        rows -= w;

        for (i = 0, d = 0; i < size; i++) {
            for (j = 0; j <= i; j++, d++) {
                l[d] -= w * x[i] * x[j];
            }
        }
    }

    if (rows < 3) {
        return;
    }

    /* Cholesky in place */

    for (i = 0; i < size; i++) {
        s = l[tri(i, i)];
        l[tri(i, i)] = s = prd_max(s, 0) * (1 + ridge_of(i) / rows) + 1e-6;
        least = s * 1e-9;

        for (j = 0; j <= i; j++) {
            s = l[tri(i, j)];

            for (k = 0; k < j; k++) {
                s -= l[tri(i, k)] * l[tri(j, k)];
            }

            if (j < i) {
                l[tri(i, j)] = s / l[tri(j, j)];

            } else {
                l[tri(i, i)] = sqrt(prd_max(s, least));
            }
        }

        s = n->cross[i];

        for (k = 0; k < i; k++) {
            s -= l[tri(i, k)] * v[k];
        }

        v[i] = s / l[tri(i, i)];
    }

    for (f = 0; f < PRD_AGGREGATE_FITS && terms_of[f] <= size; f++) {
        for (i = terms_of[f]; i-- > 0; ) {
            s = v[i];

            for (k = i + 1; k < terms_of[f]; k++) {
                s -= l[tri(k, i)] * b[k];
            }

            b[i] = s / l[tri(i, i)];
            n->beta[f][i] = (float) b[i];
        }
    }

    n->fitted = f;
}


prd_rc_t
prd_aggregate_refit(prd_aggregate_t *a, unsigned steps)
{
    while (a->due < PRD_AGGREGATE_ANCHORS) {
        if (steps-- == 0) {
            return PRD_EAGAIN;
        }

        solve(a, a->due++);
    }

    return PRD_OK;
}


static double
unlog(float z)
{
    return z > 0 ? expm1(prd_min(z, 44)) : 0;
}


prd_rc_t
prd_aggregate_forecast(const prd_aggregate_t *a, unsigned horizon,
    double q[PRD_AGGREGATE_QUANTILES])
{
    float                           t, d0, d1, z, limit;
    unsigned                        i, k;
    const prd_aggregate_pending_t  *p, *o;

    if (horizon < 1 || horizon > MOST) {
        return PRD_ERANGE;
    }

    if (a->bins == 0) {
        return PRD_DECLINED;
    }

    for (i = 0; horizon_of[i] < horizon; i++) { /* void */ }

    p = &a->pending[pending_at[i] + modulo(a->bin, horizon_of[i])];
    limit = a->top + 0.7f;

    if (horizon_of[i] == horizon) {
        for (k = 0; k < 4; k++) {
            q[k] = unlog(prd_min(p->quantile[k], limit));
        }

        return PRD_OK;
    }

    /* between two anchors along the iterated path */

    o = &a->pending[pending_at[i - 1] + modulo(a->bin, horizon_of[i - 1])];
    t = (logf((float) horizon) - logf(horizon_of[i - 1]))
        / (logf(horizon_of[i]) - logf(horizon_of[i - 1]));

    for (k = 0; k < 4; k++) {
        d0 = o->quantile[k] - a->path[1][horizon_of[i - 1] - 1];
        d1 = p->quantile[k] - a->path[1][horizon_of[i] - 1];
        z = a->path[1][horizon - 1] + d0 + t * (d1 - d0);
        q[k] = unlog(prd_min(z, limit));
    }

    return PRD_OK;
}
