
/*
 * Experts of the client's own: quantiles of its last bins, of what came a
 * period after one like this, of this time of day, of what was added to the
 * last value; and how the latter are learned.
 */


#include "prd_experts_inner.h"


#define TRACK_CODE_MAX   0x1.ff8p46f /* that 16 bits hold */


/* The lesser ones to a, the greater ones to b. */

static inline void
prd_quad_order(prd_quad_t *a, prd_quad_t *b)
{
    prd_quad_t  low;

    low = prd_quad_min(*a, *b);
    *b = prd_quad_max(*a, *b);
    *a = low;
}


/* Lanes of six that rise and fall, or fall and rise, put in order. */

static inline void
prd_track_sort_bitonic(prd_quad_t v[6])
{
    prd_quad_order(&v[0], &v[3]);
    prd_quad_order(&v[1], &v[4]);
    prd_quad_order(&v[2], &v[5]);

    prd_quad_order(&v[0], &v[2]);
    prd_quad_order(&v[3], &v[5]);
    prd_quad_order(&v[0], &v[1]);
    prd_quad_order(&v[3], &v[4]);
    prd_quad_order(&v[1], &v[2]);
    prd_quad_order(&v[4], &v[5]);
}


/*
 * Sorts 24 numbers in four lanes of six (Batcher, "Sorting networks and their
 * applications", 1968): the lanes, then pairs of lanes, then all, each time
 * one sequence against the other one backwards, which leaves the lesser half
 * and the greater half.  No branches: it takes the same time in any order.
 * The number of rank r is then in lane 0, 2, 1, 3 of its sixes, at r % 6.
 */

static inline void
prd_track_sort(prd_quad_t v[6])
{
    unsigned    i;
    prd_quad_t  back[6], low, high;

    prd_quad_order(&v[0], &v[5]);
    prd_quad_order(&v[1], &v[3]);
    prd_quad_order(&v[2], &v[4]);
    prd_quad_order(&v[1], &v[2]);
    prd_quad_order(&v[3], &v[4]);
    prd_quad_order(&v[0], &v[3]);
    prd_quad_order(&v[2], &v[5]);
    prd_quad_order(&v[0], &v[1]);
    prd_quad_order(&v[2], &v[3]);
    prd_quad_order(&v[4], &v[5]);
    prd_quad_order(&v[1], &v[2]);
    prd_quad_order(&v[3], &v[4]);

    /* lanes a, b, c, d: lesser of a and b, of c and d, then greater ones */

#pragma GCC unroll 6
    for (i = 0; i < 6; i++) {
        back[i] = (prd_quad_t) { v[5 - i][1], v[5 - i][0],
                                 v[5 - i][3], v[5 - i][2] };
    }

#pragma GCC unroll 6
    for (i = 0; i < 6; i++) {
        low = prd_quad_min(v[i], back[i]);
        high = prd_quad_max(v[i], back[i]);
        v[i] = (prd_quad_t) { low[0], low[2], high[1], high[3] };
    }

    prd_track_sort_bitonic(v);

    /* those of a and b are lanes 0 and 2, of c and d 1 and 3: a lesser half
     * in lanes 0 and 1, and a greater one in 2 and 3 */

#pragma GCC unroll 6
    for (i = 0; i < 6; i++) {
        back[i] = (prd_quad_t) { v[5 - i][3], v[5 - i][2],
                                 v[5 - i][1], v[5 - i][0] };
    }

#pragma GCC unroll 6
    for (i = 0; i < 6; i++) {
        low = prd_quad_min(v[i], back[i]);
        high = prd_quad_max(v[i], back[i]);
        v[i] = (prd_quad_t) { low[0], low[2], high[0], high[2] };
    }

    /* and the halves of both */

#pragma GCC unroll 6
    for (i = 0; i < 6; i++) {
        back[i] = (prd_quad_t) { v[i][1], v[i][0], v[i][3], v[i][2] };
        low = prd_quad_min(v[i], back[i]);
        high = prd_quad_max(v[i], back[i]);
        v[i] = (prd_quad_t) { low[0], low[2], high[0], high[2] };
    }

    prd_track_sort_bitonic(v);
}


/* Quantiles of the last n of TRACK_SORTED values, between neighbours. */

static void
prd_track_quantiles(const float v[TRACK_SORTED], unsigned n,
    float q[PRD_QUANTILES])
{
    float            sorted[TRACK_SORTED], at, low, high;
    unsigned         i, j;
    prd_quad_t       part[TRACK_SORTED / 4];
    prd_quad_bits_t  index;

    static const uint8_t  place[TRACK_SORTED] = {
        0, 4, 8, 12, 16, 20,  2, 6, 10, 14, 18, 22,
        1, 5, 9, 13, 17, 21,  3, 7, 11, 15, 19, 23
    };

    for (i = TRACK_SORTED - n; i < TRACK_SORTED && v[i] == v[TRACK_SORTED - 1];
         i++) { /* void */ }

    if (i == TRACK_SORTED) {
        q[0] = q[1] = q[2] = q[3] = n ? v[TRACK_SORTED - 1] : 0;
        return;
    }

    memcpy(part, v, sizeof(part));

    if (n < TRACK_SORTED) {
        index = (prd_quad_bits_t) { 0, 1, 2, 3 };

        for (i = 0; i < TRACK_SORTED / 4; i++) {
            part[i] = prd_quad_pick(index < (int32_t) (TRACK_SORTED - n),
                                    prd_quad_all(INFINITY), part[i]);
            index += 4;
        }
    }

    prd_track_sort(part);
    memcpy(sorted, part, sizeof(sorted));

    for (i = 0; i < PRD_QUANTILES; i++) {
        at = prd_track_levels[i] * (float) (n - 1);
        j = (unsigned) at;
        low = sorted[place[j]];
        high = sorted[place[prd_min(j + 1, n - 1)]];
        q[i] = low + (at - (float) j) * (high - low);
    }
}


/*
 * Bins at the same time of day and beside it.  Where a day is longer than the
 * ring, all bins there were: about the median of late, which moves with them.
 */

static void
prd_track_make_day(const prd_track_bins_t *b, const prd_track_view_t *v,
    prd_track_made_t *m)
{
    float     values[TRACK_SORTED], *q;
    int32_t   back;
    unsigned  n, d, j;

    n = 0;
    memset(values, 0, sizeof(values));
    q = m->q[PRD_EXPERT_DAY];

    if (v->day > PRD_TRACK_RING) {
        q[0] = m->q[PRD_EXPERT_RECENT][0];

        for (j = 1; j < PRD_QUANTILES; j++) {
            q[j] = prd_max(prd_track_unpack(b->ever[j - 1]), q[j - 1]);
        }

        return;
    }

    for (d = v->day; d >= 12 && d < PRD_TRACK_RING + 12; d += v->day) {
        back = (int32_t) d - (int32_t) v->ahead - 1;

        for (j = 0; j < 3 && back < (int32_t) v->n; j++, back++) {
            if (back >= 0) {
                values[TRACK_SORTED - ++n] = v->past[-back];
            }
        }
    }

    if (n >= 3) {
        prd_track_quantiles(values, n, q);

    } else {
        memcpy(q, m->q[PRD_EXPERT_RECENT], sizeof(m->q[0]));
    }
}


/* The last value, and what has been added to it until the horizon. */

static void
prd_track_make_steps(const prd_track_bins_t *b, unsigned horizon,
    const prd_track_view_t *v, float q[PRD_QUANTILES])
{
    unsigned         i;
    const uint16_t  *steps;

    q[0] = v->at[PRD_EXPERT_LAST];
    steps = b->steps[horizon][q[0] == 0];

    for (i = 1; i < PRD_QUANTILES; i++) {
        q[i] = q[0] + prd_track_unpack(steps[i - 1]);
        q[i] = prd_max(q[i], q[i - 1]);
    }
}


/* What came a period after a bin like this one: `n` differences. */

static void
prd_track_make_period(const prd_track_view_t *v, unsigned n,
    float q[PRD_QUANTILES])
{
    float         e[TRACK_SORTED], base;
    unsigned      i;
    const float  *now, *was;

    base = v->past[(int32_t) ((v->ahead - 1) % v->period)
                   - (int32_t) v->period + 1];
    now = v->past - TRACK_SORTED + 1;
    was = now - v->period;

    for (i = 0; i < TRACK_SORTED; i++) {
        e[i] = now[i] - was[i];
    }

    prd_track_quantiles(e, n, q);

    for (i = 0; i < PRD_QUANTILES; i++) {
        q[i] = prd_max(base + q[i], 0);
    }
}


/* Experts of the client's own. */

void
prd_track_make_own(const prd_track_bins_t *b, unsigned horizon,
    const prd_track_view_t *v, prd_track_made_t *m)
{
    unsigned  lag;

    prd_track_make_steps(b, horizon, v, m->q[PRD_EXPERT_STEPS]);

    prd_track_quantiles(v->past - TRACK_SORTED + 1,
                        prd_min(v->n, TRACK_SORTED),
                        m->q[PRD_EXPERT_RECENT]);

    lag = v->period;

    if (lag && v->n >= 2 * lag) {
        prd_track_make_period(v, prd_min(v->n - lag, TRACK_SORTED),
                              m->q[PRD_EXPERT_PERIOD]);

    } else {
        memcpy(m->q[PRD_EXPERT_PERIOD], m->q[PRD_EXPERT_LAST],
               sizeof(m->q[0]));
    }

    prd_track_make_day(b, v, m);
}


/* Sum of differences of n bins to those `lag` before. */

static float
prd_track_unlike(const prd_track_view_t *v, unsigned lag, unsigned n)
{
    float        d, sum;
    unsigned     i;
    prd_quad_t   off, all;
    const float *now, *was;

    now = v->past - n + 1;
    was = now - lag;
    all = (prd_quad_t) { 0, 0, 0, 0 };

    for (i = 0; i + 4 <= n; i += 4) {
        off = prd_quad(&now[i]) - prd_quad(&was[i]);
        all += (prd_quad_t) ((prd_quad_bits_t) off & INT32_MAX);
    }

    for (sum = 0; i < n; i++) {
        d = now[i] - was[i];
        sum += fabsf(d);
    }

    return sum + (all[0] + all[1] + (all[2] + all[3]));
}


/* The lag whose bins are the most alike, where all lags have as many. */

static unsigned
prd_track_period_full(const prd_track_view_t *v)
{
    float         sum, best;
    unsigned      lag, i, found;
    prd_quad_t    now[TRACK_LAGS / 4], off, all;
    const float  *was;

    was = v->past - TRACK_LAGS + 1;
    memcpy(now, was, sizeof(now));
    found = 0;
    best = INFINITY;

    for (lag = 1; lag <= TRACK_LAGS; lag++) {
        was--;
        all = (prd_quad_t) { 0, 0, 0, 0 };

#pragma GCC unroll 8
        for (i = 0; i < TRACK_LAGS / 4; i++) {
            off = prd_quad(&was[4 * i]) - now[i];
            all += (prd_quad_t) ((prd_quad_bits_t) off & INT32_MAX);
        }

        sum = all[0] + all[1] + (all[2] + all[3]);

        if (sum < best * 0.999999f) {
            best = sum;
            found = lag;
        }
    }

    return found;
}


unsigned
prd_track_period(const prd_track_view_t *v)
{
    float     sum, best;
    unsigned  lag, n, found;

    if (v->n >= 2 * TRACK_LAGS) {
        return prd_track_period_full(v);
    }

    found = 0;
    best = INFINITY;

    for (lag = 1; lag <= TRACK_LAGS && 2 * lag <= v->n && lag + 4 <= v->n;
         lag++)
    {
        n = prd_min(v->n - lag, TRACK_LAGS);
        sum = prd_track_unlike(v, lag, n) / (float) n;

        if (sum < best * 0.999999f) {
            best = sum;
            found = lag;
        }
    }

    return found;
}


/* The median of how much bins differ, where they do: a single one moves it by
 * no more than a step, however large it is. */

static float
prd_track_usual(prd_track_bins_t *b, float change)
{
    float  usual;

    usual = prd_track_unpack(b->usual);

    if (change > 0) {
        if (usual == 0) {
            usual = change;

        } else if (change > usual) {
            usual = prd_min(usual * (1 + TRACK_STEP), change);

        } else {
            usual = prd_max(usual / (1 + TRACK_STEP), change);
        }

        b->usual = prd_track_pack(usual);
    }

    return usual;
}


/*
 * Quantiles that are followed: each goes up by a share of itself when there
 * was more, else down by as much less as the quantile is rarer, so that it
 * stays where it is exceeded as often as it should be (Robbins and Monro
 * 1951).  Shares let it find any size, and a bin keeps saying something for
 * hundreds of bins, where the ring forgets it.  What is added to a share, or
 * it could not leave 0, is no more than what is usual: a single bin of 1e14
 * must not stay for a day.
 */

static inline void
prd_track_follow(uint16_t code[PRD_QUANTILES - 1], float y, float more)
{
    float            codes[4];
    unsigned         i;
    prd_quad_t       v;
    prd_quad_bits_t  bits;

    const prd_quad_t  up = { TRACK_STEP * 0.9f, TRACK_STEP * 0.95f,
                             TRACK_STEP * 0.99f, 0 };
    const prd_quad_t  down = { TRACK_STEP * (1 - 0.9f),
                               TRACK_STEP * (1 - 0.95f),
                               TRACK_STEP * (1 - 0.99f), 0 };

    codes[3] = 0;

    for (i = 0; i < PRD_QUANTILES - 1; i++) {
        codes[i] = prd_track_float((uint32_t) code[i] << 13);
    }

    v = prd_quad(codes) * TRACK_CODE;
    v = prd_quad_pick(y > v, prd_quad_min(v + up * (v + more),
                                          prd_quad_all(y)),
                      v - down * v);

    /* prd_track_pack() of them */

    v = prd_quad_min(v, prd_quad_all(TRACK_CODE_MAX));
    bits = (((prd_quad_bits_t) v + 0x1000) >> 13) - TRACK_BASE;
    bits &= v >= 1.0f / 65536;

    for (i = 0; i < PRD_QUANTILES - 1; i++) {
        code[i] = (uint16_t) bits[i];
    }
}


/* Of what is added to the last value until a horizon, and of all bins. */

void
prd_track_steps_learn(prd_track_bins_t *b, float y)
{
    float     at, more;
    unsigned  h, j;

    more = prd_track_usual(b, fabsf(y - b->last));
    more = prd_min(b->scale / 2, more);

    /* as in the ring: what is cut off is no change */

    y = prd_track_unpack(prd_track_pack(y));

    for (h = 0; h < PRD_TRACK_HORIZONS && b->filled >= prd_track_aheads[h];
         h++)
    {
        j = b->head + PRD_TRACK_RING - prd_track_aheads[h];
        j -= j >= PRD_TRACK_RING ? PRD_TRACK_RING : 0;
        at = prd_track_unpack(b->ring[j]);
        prd_track_follow(b->steps[h][at == 0], y - at, more);
    }

    prd_track_follow(b->ever, y, more);
}
