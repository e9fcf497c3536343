
/*
 * Experts, their weights and their widths.  See prd_experts.h.
 *
 * A bin is closed in this order: forecasts that were waiting for it and that
 * of the next bin are made again from what was known then, and scored; those
 * of the far horizons are put down to wait, one each at a time; then the
 * state moves on.  A forecast is thus never stored but worked out: the ring
 * of past bins, cut where it ended then, gives all that is the client's own.
 *
 * An error above a location m is counted in units of the client, its mean
 * |error| / sqrt(level + 1) after a bin as active as the last one, times
 * sqrt(m + 1); one below it in units of m, so that dropping to nothing is -1
 * for everybody.
 */


#include <math.h>

#include "prd_experts.h"


#define TRACK_ETA        10.0f      /* learning rate of the weights */
#define TRACK_HOPELESS   1.0f       /* losses behind the best: no weight */
#define TRACK_FADE       0.98f      /* of own losses */
#define TRACK_OWN        64.0f      /* own losses are kept in 1/64 ... */
#define TRACK_POOLED     10.0f      /* and weigh as this many pooled ones */
#define TRACK_NEAR       0.3f       /* what near says of far */
#define TRACK_LOSS_MAX   1.0f
#define TRACK_ERROR_MAX  100.0f
#define TRACK_KNOWN      60         /* votes that make a table */
#define TRACK_FIRST      16         /* votes; before, the prior stands */
#define TRACK_VOTES      5000       /* then tables are halved */
#define TRACK_YOUNG      12         /* bins */
#define TRACK_WIDTH      0.005f     /* last step of a state's width ... */
#define TRACK_WIDTH_ALL  0.006f     /* of that of all ... */
#define TRACK_SHIFT      0.015f      /* and of a client's, e-folds */
#define TRACK_SHIFT_ONE  64.0f
#define TRACK_WHOLE      1e6f       /* quantiles below are whole */
#define TRACK_STEP       0.3f       /* of quantiles of steps, e-folds */
#define TRACK_RARE       100        /* bins; one is beyond the last quantile */
#define TRACK_EVERY_60   8          /* of bins that short one is scored */
#define TRACK_EVERY_300  3
#define TRACK_LAGS       32
#define TRACK_SCALE_MIN  0.05f
#define TRACK_BASE       (110 << 10)
#define TRACK_CODE       0x1p110f
#define TRACK_CODE_MAX   0x1.ff8p46f /* that 16 bits hold */
#define TRACK_NOTHING    65535
#define TRACK_SORTED     24         /* values of which there are quantiles: */
                                    /* last bins, differences to a period */
#define TRACK_EIGHT      8          /* for all locations */
#define TRACK_EDGE       ((127 - 5) << 2)
#define TRACK_ROOM       64         /* for all experts' quantiles */

/* PRD_EXPERTS steps of prd_track_dice() at once, modulo 256 */
#define TRACK_DICE_TIMES  149
#define TRACK_DICE_PLUS   21


/*
 * What takes the time are passes over all experts, or over the ring: they go
 * without branches, four quantiles or four bins at once, in the vectors that
 * gcc and clang have on any machine.
 */

typedef float    prd_quad_t __attribute__((vector_size(16)));
typedef int32_t  prd_quad_bits_t __attribute__((vector_size(16)));

_Static_assert(PRD_QUANTILES == 4 && TRACK_SORTED == 24
               && PRD_QUANTILES * PRD_EXPERTS <= TRACK_ROOM
               && PRD_EXPERT_LOCATIONS <= TRACK_EIGHT && PRD_TRACK_LEVELS == 9
               && PRD_TRACK_RING % 4 == 0, "vectors");

_Static_assert(PRD_EXPERTS == 13, "TRACK_DICE_TIMES is 5 to the 13th");

/* What a forecast is made of, as of its origin. */

typedef struct {
    float     at[TRACK_EIGHT];
    float     unit;
    unsigned  state;                       /* of widths and losses */
    unsigned  coarse;                      /* class of the idle time */
    unsigned  young;
    unsigned  ahead;
    unsigned  day;                         /* bins in one */
    unsigned  period;
    unsigned  n;                           /* bins */
    unsigned  slow;
    uint32_t  now_s;                       /* not that of the bin: clients */
                                           /* come back with old ones */
    const float  *past;                    /* the last bin; older ones lie */
                                           /* before it */
    float     ring[2 * PRD_TRACK_RING];    /* twice: no end in between */
} prd_track_view_t;

typedef struct {
    float     q[PRD_EXPERTS][PRD_QUANTILES];
    float     spread[TRACK_EIGHT];         /* errors in requests */
    int32_t   state[TRACK_EIGHT];          /* of the tables of errors */
    uint8_t   said[PRD_EXPERTS];
    float     own[TRACK_ROOM];             /* losses, by expert */
    prd_quad_t  weight[PRD_EXPERTS];       /* shares of ... */
    prd_quad_t  sum;
    float     mix[PRD_QUANTILES];          /* before the widths */
    float     out[PRD_QUANTILES];
} prd_track_made_t;


static const float  prd_track_levels[PRD_QUANTILES] = {
    0.5f, 0.9f, 0.95f, 0.99f
};

static const uint8_t  prd_track_aheads[PRD_TRACK_HORIZONS] = { 1, 6, 12 };

static const char  *prd_track_names[PRD_EXPERTS + 1] = {
    "last", "short", "long", "holt", "tsb", "hour", "hour-level",
    "steps", "recent", "period", "day",
    "extra-1", "extra-2", ""
};


static inline float
prd_track_float(uint32_t bits)
{
    float  v;

    memcpy(&v, &bits, sizeof(v));

    return v;
}


static inline uint32_t
prd_track_bits(float v)
{
    uint32_t  bits;

    memcpy(&bits, &v, sizeof(bits));

    return bits;
}


/*
 * 16 bits: 6 of exponent, 10 of mantissa; 0 is below 2^-16, and the greatest
 * just under 2^47.
 */

static inline uint16_t
prd_track_pack(float v)
{
    int32_t  code;

    if (!(v >= 1.0f / 65536)) {
        return 0;
    }

    code = (int32_t) ((prd_track_bits(v) + 0x1000) >> 13) - TRACK_BASE;

    return (uint16_t) prd_min(code, TRACK_NOTHING - 1);
}


/* Without a branch: the exponent of a code of 0 is that of no number. */

static inline float
prd_track_unpack(uint16_t code)
{
    return prd_track_float((uint32_t) code << 13) * TRACK_CODE;
}


static inline prd_quad_t
prd_quad(const float v[4])
{
    prd_quad_t  q;

    memcpy(&q, v, sizeof(q));

    return q;
}


static inline prd_quad_t
prd_quad_all(float v)
{
    return (prd_quad_t) { v, v, v, v };
}


/* a where the mask is set, else b. */

static inline prd_quad_t
prd_quad_pick(prd_quad_bits_t mask, prd_quad_t a, prd_quad_t b)
{
    return (prd_quad_t) (((prd_quad_bits_t) a & mask)
                         | ((prd_quad_bits_t) b & ~mask));
}


/* Written out as a loop, of which compilers make one instruction. */

static inline prd_quad_t
prd_quad_min(prd_quad_t a, prd_quad_t b)
{
    unsigned    i;
    prd_quad_t  least;

    for (i = 0; i < 4; i++) {
        least[i] = a[i] < b[i] ? a[i] : b[i];
    }

    return least;
}


static inline prd_quad_t
prd_quad_max(prd_quad_t a, prd_quad_t b)
{
    unsigned    i;
    prd_quad_t  most;

    for (i = 0; i < 4; i++) {
        most[i] = a[i] > b[i] ? a[i] : b[i];
    }

    return most;
}


/* by * sqrt(v) */

static inline void
prd_quad_root(float root[4], prd_quad_t v, float by)
{
    unsigned  i;

    for (i = 0; i < 4; i++) {
        root[i] = by * sqrtf(v[i]);
    }
}


/* e^x by a polynomial, within 3e-3: weights and widths need no more. */

static inline prd_quad_t
prd_quad_exp(prd_quad_t x)
{
    prd_quad_t       f, part;
    prd_quad_bits_t  i, two;

    x *= 1.44269504f;
    i = __builtin_convertvector(x + 128.0f, prd_quad_bits_t) - 128;
    f = x - __builtin_convertvector(i, prd_quad_t);
    two = (i + 127) << 23;
    memcpy(&part, &two, sizeof(part));

    return (1 + f * (0.6565f + f * 0.3435f)) * part;
}


unsigned
prd_track_ahead(unsigned horizon)
{
    return horizon < PRD_TRACK_HORIZONS ? prd_track_aheads[horizon] : 0;
}


const char *
prd_track_expert(unsigned expert)
{
    return prd_track_names[prd_min(expert, PRD_EXPERTS)];
}


/* Classes: levels by factors of two, roughly, from a quarter of a request. */

static unsigned
prd_track_level(float m)
{
    int32_t  e;

    e = (int32_t) (prd_track_bits(1 + 4 * m) >> 23) - 127;

    return (unsigned) prd_min(e, PRD_TRACK_LEVELS - 1);
}


static unsigned
prd_track_idle(unsigned idle)
{
    return idle == 0 ? 0 : idle == 1 ? 1 : idle < 4 ? 2 : idle < 12 ? 3
           : idle < 48 ? 4 : 5;
}


static inline unsigned
prd_track_state(float m, unsigned coarse, unsigned young)
{
    unsigned  level;

    level = prd_track_level(m);

    return young ? PRD_TRACK_YOUNG + level / 3 * PRD_TRACK_IDLES + coarse
                 : level * PRD_TRACK_IDLES + coarse;
}


static unsigned
prd_track_state_idle(unsigned state)
{
    return state % PRD_TRACK_IDLES;
}


/*
 * Tables of errors.  Cells are quarters of octaves of |z|, by its bits.  Where
 * cell k above 0 ends; that of 0 ends there, too.
 */

static inline float
prd_track_edge(int32_t k)
{
    return prd_track_float((uint32_t) (k + TRACK_EDGE) << 21);
}


/* Votes in eight cells; of a sound table they are fewer than 2^16. */

static inline uint32_t
prd_track_votes(const uint16_t cell[8])
{
    uint64_t  four[2];

    memcpy(four, cell, sizeof(four));

    return (uint32_t) ((four[0] + four[1]) * 0x0001000100010001 >> 48);
}


static void
prd_track_errors_solve(const prd_track_errors_t *t, float q[PRD_QUANTILES])
{
    float     want, lo, hi, part;
    int32_t   k;
    uint32_t  sum, least, eight;
    unsigned  i, u;

    for (i = 0, u = 0, sum = 0; u < PRD_QUANTILES; u++) {
        want = prd_track_levels[u] * (float) t->votes;
        least = (uint32_t) want;
        least += (float) least < want;

        while (i + 8 <= PRD_TRACK_CELLS) {
            eight = prd_track_votes(&t->cell[i]);

            if (sum + eight >= least) {
                break;
            }

            sum += eight;
            i += 8;
        }

        while (i < PRD_TRACK_CELLS && sum + t->cell[i] < least) {
            sum += t->cell[i++];
        }

        if (i == PRD_TRACK_CELLS) {
            break;
        }

        k = (int32_t) i - PRD_TRACK_SIDE;

        if (k == 0) {
            q[u] = 0;
            continue;
        }

        part = (want - (float) sum) / (float) t->cell[i];
        lo = k > 0 ? prd_track_edge(k - 1) : -prd_track_edge(-k);
        hi = k > 0 ? prd_track_edge(k) : -prd_track_edge(-k - 1);
        q[u] = lo + (hi - lo) * part;
    }

    /* of a table that a file or a copy left with more votes than cells have */

    for ( /* void */ ; u < PRD_QUANTILES; u++) {
        q[u] = u ? q[u - 1] : 0;
    }
}


/* From `from` towards `to`, by at most `most` on the scale of the header. */

static float
prd_track_slow(float from, float to, float most)
{
    float  lo, hi;

    from = copysignf(log2f(1 + fabsf(from)), from);
    lo = from - most;
    hi = from + most;
    lo = copysignf(exp2f(fabsf(lo)) - 1, lo);
    hi = copysignf(exp2f(fabsf(hi)) - 1, hi);

    return to < lo ? lo : to > hi ? hi : to;
}


/* `from` is what stands in for the table while it is too small. */

static void
prd_track_errors_publish(prd_track_errors_t *t, const prd_track_errors_t *from,
    const prd_track_view_t *v)
{
    float     q[PRD_QUANTILES], most;
    unsigned  i;

    t->fresh = 0;

    if (!v->slow) {
        prd_track_errors_solve(t, t->q);
        t->at_s = v->now_s;
        return;
    }

    if (t->at_s == 0) {
        memmove(t->q, from->q, sizeof(q));
        t->at_s = v->now_s;
        return;
    }

    if (v->now_s <= t->at_s) {

        /* a clock that steps back by a day is believed */

        if (t->at_s - v->now_s > 86400) {
            t->at_s = v->now_s;
        }

        return;
    }

    prd_track_errors_solve(t, q);

    most = PRD_TRACK_PER_DAY * (float) (v->now_s - t->at_s) / 86400;
    most = prd_min(most, PRD_TRACK_PER_DAY);
    t->at_s = v->now_s;

    for (i = 0; i < PRD_QUANTILES; i++) {
        t->q[i] = prd_track_slow(t->q[i], q[i], most);
    }
}


static const prd_track_errors_t *
prd_track_errors(const prd_track_errors_t *t, unsigned state)
{
    unsigned  idle;

    if (t[state].votes >= TRACK_KNOWN) {
        return &t[state];
    }

    idle = PRD_TRACK_IDLE + prd_track_state_idle(state);

    return t[idle].votes >= TRACK_KNOWN ? &t[idle] : &t[PRD_TRACK_ALL];
}


/* Halves go to the next cell: the tail is made of single votes. */

static void
prd_track_errors_halve(prd_track_errors_t *t)
{
    unsigned  i, n, odd;

    for (i = 0, n = 0, odd = 0; i < PRD_TRACK_CELLS; i++) {
        odd += t->cell[i];
        t->cell[i] = (uint16_t) (odd / 2);
        odd %= 2;
        n += t->cell[i];
    }

    t->votes = (uint16_t) n;
}


/* 64 votes that are not in q yet, or a 16th of them. */

static inline void
prd_track_errors_add(prd_track_errors_t *tables, unsigned state,
    unsigned cell, const prd_track_view_t *v)
{
    unsigned             votes, fresh;
    prd_track_errors_t  *t;

    t = &tables[state];

    t->cell[cell]++;
    votes = ++t->votes;
    fresh = ++t->fresh;

    if (16 * fresh < prd_min(votes, 16 * 64) && votes <= TRACK_VOTES) {
        return;
    }

    if (votes > TRACK_VOTES) {
        prd_track_errors_halve(t);
    }

    if (t->votes >= TRACK_FIRST
        && 16u * t->fresh >= prd_min(t->votes, 16u * 64))
    {
        prd_track_errors_publish(t, prd_track_errors(tables, state), v);
    }
}


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


/* The hour of the day: its share, from the bins of the class that learns. */

static unsigned
prd_track_hour(const prd_tracks_t *p, unsigned class, uint32_t bin,
    unsigned *weekend)
{
    int64_t   s;
    uint64_t  hour, day;

    s = (int64_t) bin * p->bin_s[class] + p->offset_s;
    hour = (uint64_t) prd_max(s, 0) / 3600;
    day = hour / 24;
    *weekend = (day + 3) % 7 >= 5;               /* day 0 was a Thursday */

    return (unsigned) (hour % 24);
}


static float
prd_track_share(const prd_track_t *t, const prd_tracks_t *p, unsigned class,
    uint32_t bin)
{
    float     n, per, r, mean;
    unsigned  k, w;

    mean = t->bins[p->profile].mean;

    if (!(mean > 0)) {
        return 1;
    }

    k = prd_track_hour(p, class, bin, &w);

    if (t->days[w][k] == 0) {
        w = !w;
    }

    per = prd_max(3600.0f / (float) p->bin_s[p->profile], 1.0f);
    n = (float) t->days[w][k] / per;
    r = (prd_track_unpack(t->hour[w][k]) * n + mean) / ((n + 1) * mean);

    r = prd_max(r, 0.05f);

    return prd_min(r, 24.0f);
}


static void
prd_track_share_learn(prd_track_t *t, const prd_tracks_t *p, unsigned class,
    uint32_t bin, float y)
{
    float     h, n, per;
    unsigned  k, w;

    per = prd_max(3600.0f / (float) p->bin_s[class], 1.0f);
    k = prd_track_hour(p, class, bin, &w);

    if (t->days[w][k] < 255) {
        t->days[w][k]++;
    }

    n = prd_min((float) t->days[w][k], 4 * per);
    h = prd_track_unpack(t->hour[w][k]);
    t->hour[w][k] = prd_track_pack(h + (y - h) / n);
}


/* What the client's own record says, `back` bins ago. */

static void
prd_track_view_past(const prd_track_bins_t *b, unsigned back,
    prd_track_view_t *v)
{
    unsigned  i;

    v->n = b->filled > back ? b->filled - back : 0;
    v->past = &v->ring[(b->head + PRD_TRACK_RING - 1 - back) % PRD_TRACK_RING
                       + PRD_TRACK_RING];

    for (i = 0; i < PRD_TRACK_RING; i++) {
        v->ring[i] = v->ring[PRD_TRACK_RING + i] = prd_track_unpack(b->ring[i]);
    }
}


/* What it knows of now; `share` is that of the hour of the horizon's bin. */

static void
prd_track_view_now(const prd_track_t *t, unsigned class, unsigned horizon,
    float share, prd_track_view_t *v)
{
    float                    damp;
    unsigned                 i;
    const prd_track_bins_t  *b;

    static const float  trend[PRD_TRACK_HORIZONS] = {
        0.9f, 4.217f, 6.458f       /* sums of powers of 0.9 */
    };

    b = &t->bins[class];
    damp = b->holt + trend[horizon] * b->trend;

    v->at[PRD_EXPERT_LAST] = b->last;
    v->at[PRD_EXPERT_SHORT] = b->level_short;
    v->at[PRD_EXPERT_LONG] = b->level_long;
    v->at[PRD_EXPERT_HOLT] = prd_max(damp, 0);
    v->at[PRD_EXPERT_TSB] = (float) b->active / 65535 * b->size;
    v->at[PRD_EXPERT_HOUR] = b->mean * share;
    v->at[PRD_EXPERT_HOUR_LEVEL] = b->level_hour * share;

    v->at[PRD_EXPERT_LOCATIONS] = 0;

    for (i = 0; i < TRACK_EIGHT; i++) {
        v->at[i] = prd_min(v->at[i], PRD_TRACK_Y_MAX);
    }

    v->unit = b->unit[b->idle > 0] + 0.05f;
    v->young = b->age < TRACK_YOUNG;
    v->coarse = prd_track_idle(b->idle);

    /*
     * Clients whose errors are as large have like weights and widths.  But
     * who grows steadily errs little, and it is the next bin that raises a
     * rate: there, who is as large as the client is what counts.
     */

    v->state = prd_track_state(horizon ? v->unit * sqrtf(b->level_short + 1)
                                       : b->level_long,
                               v->coarse, v->young);
}


static const prd_track_state_t *
prd_track_weights(const prd_track_state_t *s, unsigned state)
{
    unsigned  idle;

    if (s[state].votes >= TRACK_KNOWN) {
        return &s[state];
    }

    idle = PRD_TRACK_IDLE + prd_track_state_idle(state);

    return s[idle].votes >= TRACK_KNOWN ? &s[idle] : &s[PRD_TRACK_ALL];
}


/* Experts with a location. */

static void
prd_track_make_pooled(const prd_track_horizon_t *h, const prd_track_view_t *v,
    prd_track_made_t *m)
{
    float                      d;
    unsigned                   e, i;
    prd_quad_t                 at, z, q;
    prd_quad_bits_t            level, state;
    const prd_track_errors_t  *t;

    const prd_quad_t           none = { 0, 0, 0, 0 };

    for (i = 0; i < 2; i++) {
        at = prd_quad(&v->at[4 * i]);
        prd_quad_root(&m->spread[4 * i], at + 1, v->unit);

        /* prd_track_state() of four */

        level = ((prd_quad_bits_t) prd_quad_min(1 + 4 * at,
                                  prd_quad_all(1 << (PRD_TRACK_LEVELS - 1)))
                 >> 23) - 127;
        state = v->young ? PRD_TRACK_YOUNG + (level * 11 >> 5)
                                             * PRD_TRACK_IDLES
                         : level * PRD_TRACK_IDLES;
        state += (int32_t) v->coarse;
        memcpy(&m->state[4 * i], &state, sizeof(state));
    }

    for (e = 0; e < PRD_EXPERT_LOCATIONS; e++) {
        t = prd_track_errors(h->errors[e], (unsigned) m->state[e]);
        at = prd_quad_all(v->at[e]);
        d = m->spread[e];

        z = prd_quad(t->q);
        q = at + (prd_quad_max(z, none) * d + prd_quad_min(z, none) * at);
        q = prd_quad_max(q, none);
        memcpy(m->q[e], &q, sizeof(q));
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

static void
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


static void
prd_track_make_extra(prd_track_made_t *m, unsigned i,
    const float q[PRD_QUANTILES])
{
    float     v;
    unsigned  e, k;

    e = PRD_EXPERT_EXTRA + i;

    for (k = 0; k < PRD_QUANTILES; k++) {
        v = q[k];

        if (!(v >= 0)) {
            return;
        }

        v = prd_min(v, PRD_TRACK_Y_MAX);
        m->q[e][k] = k ? prd_max(v, m->q[e][k - 1]) : v;
    }

    m->said[e] = 1;
}


/* The weight of who has lost so much more than the best one; 0 where that is
 * so much that an expert has no say. */

static inline prd_quad_t
prd_track_decay(prd_quad_t x)
{
    return (prd_quad_t) ((x < TRACK_HOPELESS)
                         & (prd_quad_bits_t) prd_quad_exp(-TRACK_ETA * x));
}


/* Own losses as numbers; there is more room than there are. */

static inline void
prd_track_losses(const uint8_t own[PRD_EXPERTS][PRD_QUANTILES],
    float losses[TRACK_ROOM])
{
    uint8_t   bytes[TRACK_ROOM];
    unsigned  i;

    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, own, PRD_QUANTILES * PRD_EXPERTS);

    for (i = 0; i < TRACK_ROOM; i++) {
        losses[i] = (float) bytes[i];
    }
}


/* Weights, and with them the mixture. */

static void
prd_track_make_weights(const prd_track_bins_t *b, const prd_track_state_t *s,
    unsigned far, prd_track_made_t *m)
{
    float         near[TRACK_ROOM];
    unsigned      e, i;
    prd_quad_t    l[PRD_EXPERTS], best, sum, mix;
    const float  *own;

    prd_track_losses(b->loss[far], m->own);
    own = m->own;

    if (far) {
        prd_track_losses(b->loss[0], near);

        for (i = 0; i < TRACK_ROOM; i++) {
            near[i] = m->own[i] + TRACK_NEAR * near[i];
        }

        own = near;
    }

    best = prd_quad_all(INFINITY);

    for (e = 0; e < PRD_EXPERT_EXTRA; e++) {
        l[e] = prd_quad(&own[e * PRD_QUANTILES]) / TRACK_OWN
               + TRACK_POOLED * prd_quad(s->loss[e]);
        best = prd_quad_min(best, l[e]);
    }

    for ( /* void */ ; e < PRD_EXPERTS; e++) {
        if (m->said[e]) {
            l[e] = prd_quad(&own[e * PRD_QUANTILES]) / TRACK_OWN
                   + TRACK_POOLED * prd_quad(s->loss[e]);
            best = prd_quad_min(best, l[e]);
        }
    }

    sum = mix = (prd_quad_t) { 0, 0, 0, 0 };

    for (e = 0; e < PRD_EXPERT_EXTRA; e++) {
        m->weight[e] = prd_track_decay(l[e] - best);
        sum += m->weight[e];
        mix += m->weight[e] * prd_quad(m->q[e]);
    }

    for ( /* void */ ; e < PRD_EXPERTS; e++) {
        m->weight[e] = (prd_quad_t) { 0, 0, 0, 0 };

        if (m->said[e]) {
            m->weight[e] = prd_track_decay(l[e] - best);
            sum += m->weight[e];
            mix += m->weight[e] * prd_quad(m->q[e]);
        }
    }

    m->sum = sum;
    mix /= sum;
    memcpy(m->mix, &mix, sizeof(mix));
}


/* Nobody has said anything yet; all but extras will. */

static void
prd_track_make_begin(prd_track_made_t *m)
{
    memset(m->q[PRD_EXPERT_EXTRA], 0, PRD_TRACK_EXTRAS * sizeof(m->q[0]));
    memset(m->said, 0, sizeof(m->said));
    memset(m->said, 1, PRD_EXPERT_EXTRA);
}


/*
 * Where the last quantile ends, however wide others are: twice what the
 * client's own steps make of it, the larger ones of those above 0 and 0, and
 * further while hardly any bin can have been beyond it.  Widths are learned of
 * all clients in a state, of which a few unruly ones make most of the misses:
 * a quiet one would be given theirs.
 */

static float
prd_track_reach(const prd_track_bins_t *b, unsigned horizon,
    const prd_track_view_t *v, const prd_track_made_t *m)
{
    float     far, last, more;
    unsigned  i;

    if (b->age < TRACK_RARE) {
        return INFINITY;
    }

    i = PRD_QUANTILES - 1;
    last = v->at[PRD_EXPERT_LAST];
    more = prd_track_unpack(b->steps[horizon][last != 0][i - 1]);
    more = prd_max(more, m->q[PRD_EXPERT_STEPS][i] - last);
    far = last + more - m->mix[0];

    /* steps from where it is now; where it will be errors are larger */

    if (m->mix[0] > last) {
        far = more * sqrtf((m->mix[0] + 1) / (last + 1));
    }

    far = prd_max(far, 0) * (2 + 2.0f * TRACK_RARE / (float) b->age);

    return prd_max(m->mix[0] + far, m->mix[i]);
}


/* Everything of a forecast; extras were put there before. */

static void
prd_track_make(const prd_track_bins_t *b, const prd_tracks_t *p,
    const prd_track_horizon_t *h, unsigned horizon, const prd_track_view_t *v,
    prd_track_made_t *m)
{
    float        d;
    unsigned     i;
    prd_quad_t   w, q, whole;
    const float  *all, *some;
    const int8_t *own;

    prd_track_make_pooled(h, v, m);
    prd_track_make_own(b, horizon, v, m);

    prd_track_make_weights(b, prd_track_weights(h->state, v->state),
                           horizon > 0, m);

    some = h->state[v->state].width;
    all = h->state[PRD_TRACK_ALL].width;
    own = b->shift[horizon];

    w = (prd_quad_t) { 0, some[0] + all[0], some[1] + all[1],
                       some[2] + all[2] };
    w += (prd_quad_t) { 0, own[0], own[1], own[2] } / TRACK_SHIFT_ONE;
    w = prd_quad_max(w, prd_quad_all(-80));
    w = prd_quad_min(w, prd_quad_all(80));

    /* a mean error beside it, or where it is 0 there is nothing to widen */

    d = v->unit * sqrtf(m->mix[0] + 1);
    q = prd_quad_max(prd_quad(m->mix) - m->mix[0], prd_quad_all(0)) + d;
    q = m->mix[0] + q * prd_quad_exp(w) - d;

    i = PRD_QUANTILES - 1;
    q[0] = m->mix[0];
    q[i] = prd_min(q[i], prd_track_reach(b, horizon, v, m));

    for (i = 1; i < PRD_QUANTILES; i++) {
        q[i] = prd_max(q[i], q[i - 1]);
    }

    if (p->whole) {
        whole = prd_quad_min(q, prd_quad_all(TRACK_WHOLE)) + 0.5f;
        whole = __builtin_convertvector(__builtin_convertvector(whole,
                                            prd_quad_bits_t), prd_quad_t);
        q = prd_quad_pick(q < TRACK_WHOLE, whole, q);
    }

    q = prd_quad_min(q, prd_quad_all(PRD_TRACK_Y_MAX));
    memcpy(m->out, &q, sizeof(m->out));
}


/* A number of 0 .. 1 to round by: a small generator in each record (Hull and
 * Dobell's conditions). */

static inline float
prd_track_dice(uint32_t *random)
{
    *random = *random * 5 + 113;

    return ((float) (*random & 255) + 0.5f) / 256;
}


/* Own losses: those above the best one, fading. */

static void
prd_track_score_own(prd_track_bins_t *b, unsigned far,
    const prd_track_made_t *m, const prd_quad_t loss[PRD_EXPERTS])
{
    int32_t          rounded[TRACK_ROOM];
    uint8_t          bytes[TRACK_ROOM];
    uint32_t         random;
    unsigned         e, i;
    prd_quad_t       l[PRD_EXPERTS], best, v;
    prd_quad_bits_t  dice, whole;

    const prd_quad_t  none = { 0, 0, 0, 0 };

    best = none + INFINITY;

    for (e = 0; e < PRD_EXPERT_EXTRA; e++) {
        l[e] = prd_quad(&m->own[e * PRD_QUANTILES]) * TRACK_FADE
               + loss[e] * TRACK_OWN;
        best = prd_quad_min(best, l[e]);
    }

    for ( /* void */ ; e < PRD_EXPERTS; e++) {
        l[e] = prd_quad(&m->own[e * PRD_QUANTILES]) * TRACK_FADE
               + loss[e] * TRACK_OWN;

        if (m->said[e]) {
            best = prd_quad_min(best, l[e]);
        }
    }

    /* each quantile has the next PRD_EXPERTS numbers of the generator */

    for (i = 0, random = b->random; i < PRD_QUANTILES; i++) {
        dice[i] = (int32_t) (random & 255);
        random = random * TRACK_DICE_TIMES + TRACK_DICE_PLUS;
    }

    b->random = (uint8_t) random;

    for (e = 0; e < PRD_EXPERTS; e++) {
        dice = (dice * 5 + 113) & 255;
        v = prd_quad_max(l[e] - best, none)
            + (__builtin_convertvector(dice, prd_quad_t) + 0.5f) / 256;
        whole = __builtin_convertvector(prd_quad_min(v, none + 255),
                                        prd_quad_bits_t);
        memcpy(&rounded[e * PRD_QUANTILES], &whole, sizeof(whole));
    }

    memset(&rounded[e * PRD_QUANTILES], 0,
           sizeof(rounded) - e * PRD_QUANTILES * sizeof(int32_t));

    for (i = 0; i < TRACK_ROOM; i++) {
        bytes[i] = (uint8_t) rounded[i];
    }

    memcpy(b->loss[far], bytes, sizeof(b->loss[far]));
}


static float
prd_track_score_vote(prd_track_state_t *s, float error)
{
    float  a;

    s->votes = prd_min(s->votes + 1, 500.0f);
    a = 1 / s->votes;
    s->error += a * (error - s->error);

    return a;
}


/* In the state, in its idle time and in all. */

static void
prd_track_score_pooled(prd_track_state_t *states, unsigned state,
    unsigned idle, float error, const prd_quad_t loss[PRD_EXPERTS])
{
    float               a, b, c;
    unsigned            e;
    prd_quad_t          l;
    prd_track_state_t  *s, *i, *all;

    s = &states[state];
    i = &states[idle];
    all = &states[PRD_TRACK_ALL];

    a = prd_track_score_vote(s, error);
    b = prd_track_score_vote(i, error);
    c = prd_track_score_vote(all, error);

    for (e = 0; e < PRD_EXPERTS; e++) {
        l = prd_quad(s->loss[e]);
        l += a * (loss[e] - l);
        memcpy(s->loss[e], &l, sizeof(l));

        l = prd_quad(i->loss[e]);
        l += b * (loss[e] - l);
        memcpy(i->loss[e], &l, sizeof(l));

        l = prd_quad(all->loss[e]);
        l += c * (loss[e] - l);
        memcpy(all->loss[e], &l, sizeof(l));
    }
}


/* What widths of a state stay near comes after them. */

static void
prd_track_anchor(prd_track_anchor_t *a, const prd_track_state_t *s,
    const prd_track_view_t *v)
{
    float     most;
    unsigned  i;

    if (!v->slow || a->at_s == 0) {
        memcpy(a->width, s->width, sizeof(a->width));
        a->at_s = v->now_s;

    } else if (v->now_s < a->at_s && a->at_s - v->now_s > 86400) {
        a->at_s = v->now_s;

    } else if (v->now_s > a->at_s) {
        most = PRD_TRACK_BAND * (float) (v->now_s - a->at_s) / 86400;
        most = prd_min(most, PRD_TRACK_BAND);
        a->at_s = v->now_s;

        for (i = 0; i < PRD_QUANTILES - 1; i++) {
            a->width[i] += prd_max(prd_min(s->width[i] - a->width[i], most),
                                   -most);
        }
    }
}


static inline float
prd_track_widen(float width, float by, float anchor, unsigned slow)
{
    width += by;
    width = prd_max(width, -1);
    width = prd_min(width, 1);

    if (slow) {
        width = prd_max(width, anchor - PRD_TRACK_BAND);
        width = prd_min(width, anchor + PRD_TRACK_BAND);
    }

    return width;
}


/* floorf() of what is not below -256, nor large. */

static inline int32_t
prd_track_floor(float v)
{
    return (int32_t) (v + 256) - 256;
}


static void
prd_track_score_widths(prd_track_bins_t *b, prd_track_horizon_t *h,
    const prd_track_view_t *view, unsigned horizon, const float *out, float y,
    int vote)
{
    float                g[PRD_QUANTILES - 1], step;
    int32_t              v;
    uint32_t             random;
    unsigned             i;
    prd_track_state_t   *s, *all;
    prd_track_anchor_t  *a;

    random = b->random;
    step = (TRACK_SHIFT + 0.5f / ((float) b->age + 4)) * TRACK_SHIFT_ONE;

    for (i = 0; i < PRD_QUANTILES - 1; i++) {
        g[i] = prd_track_levels[i + 1] - (y <= out[i + 1]);

        v = prd_track_floor((float) b->shift[horizon][i] + step * g[i]
                            + prd_track_dice(&random));
        v = prd_max(v, -(int32_t) TRACK_SHIFT_ONE);
        b->shift[horizon][i] = (int8_t) prd_min(v, (int32_t) TRACK_SHIFT_ONE);
    }

    v = prd_track_floor((float) b->covered[horizon]
                        + ((y <= out[2] ? 255.0f : 0)
                           - (float) b->covered[horizon]) / 64
                        + prd_track_dice(&random));
    b->covered[horizon] = (uint8_t) prd_min(v, 255);
    b->random = (uint8_t) random;

    if (!vote) {
        return;
    }

    s = &h->state[view->state];
    a = &h->anchor[view->state];
    step = TRACK_WIDTH * 520 / (20 + s->votes);
    prd_track_anchor(a, s, view);

    for (i = 0; i < PRD_QUANTILES - 1; i++) {
        s->width[i] = prd_track_widen(s->width[i], step * g[i], a->width[i],
                                      view->slow);
    }

    all = &h->state[PRD_TRACK_ALL];
    a = &h->anchor[PRD_TRACK_ALL];
    prd_track_anchor(a, all, view);

    i = PRD_QUANTILES - 2;
    all->width[i] = prd_track_widen(all->width[i],
                                    TRACK_WIDTH_ALL * 520 / (20 + all->votes)
                                    * g[i], a->width[i], view->slow);
}


/*
 * Errors of the locations are counted: in the tables of their state, of the
 * client's idle time and of all.
 */

static void
prd_track_score_errors(prd_track_horizon_t *h, const prd_track_view_t *v,
    const prd_track_made_t *m, float y)
{
    unsigned             e, i, c, idle;
    prd_quad_t           at, d, z;
    prd_quad_bits_t      cell[2], below;
    prd_track_errors_t  *t;

    for (i = 0; i < 2; i++) {
        at = prd_quad(&v->at[4 * i]);
        d = y - at;
        below = d < 0;
        z = d / prd_quad_pick(below, at, prd_quad(&m->spread[4 * i]));

        /* within cells 1 .. SIDE from 0; its bits begin with the cell's */

        z = (prd_quad_t) ((prd_quad_bits_t) z & INT32_MAX);
        z = prd_quad_max(z, prd_quad_all(prd_track_edge(-1)));
        z = prd_quad_min(z, prd_quad_all(prd_track_edge(PRD_TRACK_SIDE - 1)));
        cell[i] = ((prd_quad_bits_t) z >> 21) - (TRACK_EDGE - 1);
        cell[i] = ((cell[i] ^ below) - below) + PRD_TRACK_SIDE;
    }

    idle = PRD_TRACK_IDLE + v->coarse;

    for (e = 0; e < PRD_EXPERT_LOCATIONS; e++) {
        t = h->errors[e];
        c = (unsigned) cell[e / 4][e % 4];

        prd_track_errors_add(t, (unsigned) m->state[e], c, v);
        prd_track_errors_add(t, idle, c, v);
        prd_track_errors_add(t, PRD_TRACK_ALL, c, v);
    }
}


/* What came is compared with what had been forecast. */

static void
prd_track_score(prd_track_bins_t *b, prd_track_horizon_t *h,
    unsigned horizon, const prd_track_view_t *v, const prd_track_made_t *m,
    float y, int vote)
{
    float       error, unit;
    unsigned    e, n;
    prd_quad_t  loss[PRD_EXPERTS], off, mean, up, down;

    static const float  share[PRD_QUANTILES] = {
        /* a quarter of 1 / (1 - level + 0.05) */
        0.25f / 0.55f, 0.25f / 0.45f, 0.25f / 0.3f, 0.25f / 0.18f
    };

    const prd_quad_t  level = prd_quad(prd_track_levels);
    const prd_quad_t  none = { 0, 0, 0, 0 };
    const prd_quad_t  most = none + TRACK_LOSS_MAX;

    /* what is far, or in an unruly state, is further off anyway */

    unit = b->scale * prd_max(prd_track_weights(h->state, v->state)->error,
                              1.0f);
    error = fabsf(y - m->out[0]) / b->scale;
    error = prd_min(error, TRACK_ERROR_MAX);

    up = level * prd_quad(share) / unit;
    down = (level - 1) * prd_quad(share) / unit;
    mean = none;
    n = PRD_EXPERT_EXTRA;

    for (e = 0; e < PRD_EXPERT_EXTRA; e++) {
        off = y - prd_quad(m->q[e]);
        loss[e] = prd_quad_min(prd_quad_max(up * off, down * off), most);
        mean += loss[e];
    }

    for ( /* void */ ; e < PRD_EXPERTS; e++) {
        loss[e] = none;

        if (m->said[e]) {
            off = y - prd_quad(m->q[e]);
            loss[e] = prd_quad_min(prd_quad_max(up * off, down * off), most);
            mean += loss[e];
            n++;
        }
    }

    prd_track_score_own(b, horizon > 0, m, loss);
    prd_track_score_widths(b, h, v, horizon, m->out, y, vote);

    if (!vote) {
        return;
    }

    /* who is silent is taken for one of the crowd */

    for (e = PRD_EXPERT_EXTRA; e < PRD_EXPERTS; e++) {
        loss[e] = m->said[e] ? loss[e] : mean / (float) n;
    }

    prd_track_score_pooled(h->state, v->state, PRD_TRACK_IDLE + v->coarse,
                           error, loss);
    prd_track_score_errors(h, v, m, y);

    (void) prd_score_add(&h->score, y, m->out, m->q[PRD_EXPERT_STEPS]);
}


/* Puts down a far forecast, and makes it anew when its bin has come. */

static void
prd_track_wait_put(prd_track_wait_t *w, const prd_track_view_t *v,
    const prd_track_extra_t *extra, unsigned extras, unsigned horizon)
{
    unsigned  i, k;

    for (i = 1; i < PRD_EXPERT_LOCATIONS; i++) {
        w->at[i - 1] = prd_track_pack(v->at[i]);
    }

    w->unit = prd_track_pack(v->unit);
    w->state = (uint8_t) v->state;
    w->due = prd_track_aheads[horizon];

    for (i = 0; i < PRD_TRACK_EXTRAS; i++) {
        for (k = 0; k < PRD_QUANTILES; k++) {
            w->extra[i][k] = TRACK_NOTHING;

            if (i < extras && extra[i].q[horizon][k] >= 0) {
                w->extra[i][k] = prd_track_pack(extra[i].q[horizon][k]);
            }
        }
    }
}


static void
prd_track_wait_view(const prd_track_bins_t *b, const prd_track_wait_t *w,
    unsigned horizon, prd_track_view_t *v, prd_track_made_t *m)
{
    float     q[PRD_QUANTILES];
    unsigned  i, k;

    prd_track_view_past(b, prd_track_aheads[horizon] - 1, v);

    v->at[PRD_EXPERT_LAST] = v->n ? v->past[0] : 0;

    for (i = 1; i < PRD_EXPERT_LOCATIONS; i++) {
        v->at[i] = prd_track_unpack(w->at[i - 1]);
    }

    v->at[PRD_EXPERT_LOCATIONS] = 0;
    v->unit = prd_track_unpack(w->unit);
    v->state = w->state;
    v->coarse = prd_track_state_idle(w->state);
    v->young = w->state >= PRD_TRACK_YOUNG;

    for (i = 0; i < PRD_TRACK_EXTRAS; i++) {
        for (k = 0; k < PRD_QUANTILES; k++) {
            q[k] = w->extra[i][k] == TRACK_NOTHING
                   ? NAN : prd_track_unpack(w->extra[i][k]);
        }

        prd_track_make_extra(m, i, q);
    }
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


static unsigned
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


/* The first bin of a client. */

static void
prd_track_begin(prd_track_bins_t *b, uint32_t bin, float y)
{
    unsigned  i;

    memset(b, 0, sizeof(prd_track_bins_t));

    b->bin = bin;
    b->level_short = y;
    b->level_long = y;
    b->holt = y;
    b->size = y;
    b->level_hour = y;
    b->mean = y;
    b->scale = prd_max(0.3f, 0.5f * sqrtf(y));
    b->unit[0] = 1 + 0.25f * sqrtf(y);
    b->unit[1] = b->unit[0];
    b->active = y > 0 ? 65535 : 0;
    b->random = (uint8_t) bin;

    for (i = 0; i < PRD_TRACK_HORIZONS; i++) {
        b->covered[i] = 242;
    }
}


static void
prd_track_remember(prd_track_bins_t *b, float y)
{
    b->ring[b->head] = prd_track_pack(y);
    b->head = (uint8_t) (b->head + 1u < PRD_TRACK_RING ? b->head + 1u : 0);
    b->filled = (uint8_t) prd_min(b->filled + 1, PRD_TRACK_RING);
    b->last = y;

    if (b->age < UINT16_MAX) {
        b->age++;
    }

    if (y > 0) {
        b->idle = 0;

    } else if (b->idle < UINT16_MAX) {
        b->idle++;
    }
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

static void
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


static void
prd_track_learn(prd_track_t *t, const prd_tracks_t *p, unsigned class,
    float y, float share)
{
    float              a, e, n, was, chance;
    prd_track_bins_t  *b;

    b = &t->bins[class];
    n = (float) b->age;
    e = y - b->level_short;

    a = prd_max(0.03f, 1 / (n + 2));
    b->unit[b->idle > 0] += a * (fabsf(e) / sqrtf(b->level_short + 1)
                                 - b->unit[b->idle > 0]);

    b->scale += prd_max(0.02f, 0.5f / (n + 1)) * (fabsf(e) - b->scale);
    b->scale = prd_max(b->scale, TRACK_SCALE_MIN);

    b->level_short += 0.35f * e;
    b->level_long += prd_max(0.04f, 1 / (n + 1)) * (y - b->level_long);

    was = b->holt;
    b->trend *= 0.9f;
    b->holt += b->trend + 0.4f * (y - b->holt - b->trend);
    b->trend += 0.1f * (b->holt - was - b->trend);
    b->holt = prd_max(b->holt, 0);

    chance = (float) b->active + 0.1f * ((y > 0 ? 65535 : 0)
                                         - (float) b->active);
    b->active = (uint16_t) chance;

    if (y > 0) {
        b->size += 0.1f * (y - b->size);
    }

    b->level_hour += 0.3f * (y / share - b->level_hour);

    n = prd_min(n + 1, 3 * 86400.0f / (float) p->bin_s[class]);
    b->mean += (y - b->mean) / n;
}


/* `n` further empty bins, of which no forecast is scored. */

static void
prd_track_skip(prd_track_t *t, const prd_tracks_t *p, unsigned class,
    uint32_t n)
{
    float              g, day, by;
    unsigned           i, k;
    prd_track_bins_t  *b;

    b = &t->bins[class];
    g = (float) n;
    day = 86400.0f / (float) p->bin_s[class];

    b->level_short *= powf(0.65f, g);
    b->level_long *= prd_min(powf(0.96f, g), (float) b->age
                                             / ((float) b->age + g));
    b->holt *= powf(0.6f, g);
    b->trend *= powf(0.9f, g);
    b->active = (uint16_t) ((float) b->active * powf(0.9f, g));
    b->level_hour *= powf(0.7f, g);
    b->unit[1] *= powf(0.97f, g);
    b->scale = prd_max(b->scale * powf(0.98f, g), TRACK_SCALE_MIN);
    b->mean *= expf(-g / prd_min((float) b->age + 1, 3 * day));

    if (class == p->profile) {
        by = powf(0.75f, g / day);

        for (i = 0; i < 2; i++) {
            for (k = 0; k < 24; k++) {
                t->hour[i][k] = prd_track_pack(by
                                        * prd_track_unpack(t->hour[i][k]));
            }
        }
    }

    for (i = 1; i < PRD_QUANTILES; i++) {
        by = powf(1 - TRACK_STEP * (1 - prd_track_levels[i]), g);
        b->ever[i - 1] = prd_track_pack(by * prd_track_unpack(b->ever[i - 1]));
    }

    for (i = 0; i < prd_min(n, PRD_TRACK_RING); i++) {
        b->ring[b->head] = 0;
        b->head = (uint8_t) ((b->head + 1) % PRD_TRACK_RING);
    }

    b->filled = (uint8_t) prd_min(b->filled + i, PRD_TRACK_RING);
    b->age = (uint16_t) prd_min((uint64_t) b->age + n, UINT16_MAX);
    b->idle = (uint16_t) prd_min((uint64_t) b->idle + n, UINT16_MAX);
    b->last = 0;
    b->period = 0;
    b->bin += n;
    memset(b->wait, 0, sizeof(b->wait));
}


/*
 * One bin of `every`, in no order that a client could have, too: a sample of
 * each fourth one would show nothing but the same of a client that comes each
 * fourth bin.  `every` is 3 or a power of two.
 */

static inline int
prd_track_chosen(const prd_track_bins_t *b, unsigned every, unsigned what)
{
    uint32_t  x;

    x = (b->bin + 1) * 0x9e3779b1u + what * 0x85ebca6bu;
    x ^= x >> 15;
    x *= 0x2c1b3c6du;
    x ^= x >> 12;

    return every == 3 ? x % 3 == 0 : (x & (every - 1)) == 0;
}


/* One bin after the last one. */

static void
prd_track_step(prd_track_t *t, prd_tracks_t *p, unsigned class, float y,
    int vote, const prd_track_extra_t *extra, unsigned extras)
{
    float                 share;
    unsigned              i, every, horizon;
    prd_track_made_t      m;
    prd_track_view_t      v;
    prd_track_bins_t     *b;
    prd_track_wait_t     *w;
    prd_track_horizon_t  *h;

    b = &t->bins[class];
    h = p->horizon[class];
    share = prd_track_share(t, p, class, b->bin + 1);

    v.day = 86400 / p->bin_s[class];
    v.period = b->period;
    v.slow = p->slow;
    v.now_s = p->now_s;

    for (i = 0; i < PRD_TRACK_WAIT; i++) {
        w = &b->wait[i];
        horizon = 1 + i / PRD_TRACK_FAR;

        if (w->due == 0 || --w->due) {
            continue;
        }

        prd_track_make_begin(&m);
        v.ahead = prd_track_aheads[horizon];
        prd_track_wait_view(b, w, horizon, &v, &m);
        prd_track_make(b, p, &h[horizon], horizon, &v, &m);
        prd_track_score(b, &h[horizon], horizon, &v, &m, y, vote);
    }

    every = p->bin_s[class] <= 60 ? TRACK_EVERY_60
            : p->bin_s[class] <= 300 ? TRACK_EVERY_300 : 1;

    for (i = 0; i < PRD_TRACK_WAIT; i++) {
        horizon = 1 + i / PRD_TRACK_FAR;
        w = &b->wait[i];

        if (w->due == 0 && prd_track_chosen(b, prd_max(every, 2), i)) {
            prd_track_view_now(t, class, horizon,
                               prd_track_share(t, p, class, b->bin
                                               + prd_track_aheads[horizon]),
                               &v);
            prd_track_wait_put(w, &v, extra, extras, horizon);

            /* this bin is the first of them */
            w->due--;
        }
    }

    if (prd_track_chosen(b, every, PRD_TRACK_WAIT)) {
        prd_track_make_begin(&m);
        v.ahead = 1;
        prd_track_view_now(t, class, 0, share, &v);
        prd_track_view_past(b, 0, &v);

        for (i = 0; extra && i < extras; i++) {
            prd_track_make_extra(&m, i, extra[i].q[0]);
        }

        if (prd_track_chosen(b, 4, PRD_TRACK_WAIT + 1)
            || (b->filled < PRD_TRACK_RING && b->period == 0))
        {
            b->period = (uint8_t) prd_track_period(&v);
            v.period = b->period;
        }

        prd_track_make(b, p, h, 0, &v, &m);
        prd_track_score(b, h, 0, &v, &m, y, vote);
    }

    b->bin++;

    prd_track_steps_learn(b, y);
    prd_track_learn(t, p, class, y, share);

    if (class == p->profile) {
        prd_track_share_learn(t, p, class, b->bin, y);
    }

    prd_track_remember(b, y);
}


static int
prd_track_used(const prd_tracks_t *p, unsigned class)
{
    return class < PRD_TRACK_CLASSES && p->bin_s[class] != 0;
}


prd_rc_t
prd_track_close(prd_track_t *t, prd_tracks_t *p, unsigned class, uint32_t bin,
    float y, int vote, const prd_track_extra_t *extra, unsigned extras)
{
    uint32_t           missing;
    prd_track_bins_t  *b;

    if (!prd_track_used(p, class) || !(y >= 0)) {
        return PRD_EINVAL;
    }

    y = prd_min(y, PRD_TRACK_Y_MAX);
    extras = extra == NULL ? 0 : prd_min(extras, PRD_TRACK_EXTRAS);

    if (t->version != PRD_TRACK_VERSION || t->size != sizeof(prd_track_t)) {
        prd_track_init(t);
    }

    b = &t->bins[class];

    if (b->age == 0) {
        prd_track_begin(b, bin, y);

        if (class == p->profile) {
            prd_track_share_learn(t, p, class, bin, y);
        }

        prd_track_remember(b, y);

        return PRD_OK;
    }

    if (bin <= b->bin) {

        if ((uint64_t) (b->bin - bin) * p->bin_s[class] <= 86400) {
            return PRD_ESTALE;
        }

        /* an odd clock teaches nothing but where it stands */

        memset(b->wait, 0, sizeof(b->wait));
        b->bin = bin - 1;
    }

    missing = bin - b->bin - 1;

    while (missing && bin - b->bin - 1 > missing - prd_min(missing,
                                                           PRD_TRACK_GAP))
    {
        prd_track_step(t, p, class, 0, vote, NULL, 0);
    }

    missing = bin - b->bin - 1;

    if (missing) {
        prd_track_skip(t, p, class, missing);
    }

    prd_track_step(t, p, class, y, vote, extra, extras);

    return PRD_OK;
}


static prd_rc_t
prd_track_make_now(const prd_track_t *t, const prd_tracks_t *p,
    unsigned class, unsigned horizon, const prd_track_extra_t *extra,
    unsigned extras, prd_track_view_t *v, prd_track_made_t *m)
{
    unsigned                 i;
    const prd_track_bins_t  *b;

    if (!prd_track_used(p, class) || horizon >= PRD_TRACK_HORIZONS) {
        return PRD_EINVAL;
    }

    b = &t->bins[class];

    if (t->version != PRD_TRACK_VERSION || t->size != sizeof(prd_track_t)
        || b->age == 0)
    {
        return PRD_DECLINED;
    }

    prd_track_make_begin(m);

    v->day = 86400 / p->bin_s[class];
    v->period = b->period;
    v->ahead = prd_track_aheads[horizon];

    prd_track_view_now(t, class, horizon,
                       prd_track_share(t, p, class,
                                       b->bin + prd_track_aheads[horizon]), v);
    prd_track_view_past(b, 0, v);

    extras = extra == NULL ? 0 : prd_min(extras, PRD_TRACK_EXTRAS);

    for (i = 0; i < extras; i++) {
        prd_track_make_extra(m, i, extra[i].q[horizon]);
    }

    prd_track_make(b, p, &p->horizon[class][horizon], horizon, v, m);

    return PRD_OK;
}


prd_rc_t
prd_track_forecast(const prd_track_t *t, const prd_tracks_t *p,
    unsigned class, unsigned horizon, const prd_track_extra_t *extra,
    unsigned extras, float q[PRD_QUANTILES])
{
    prd_rc_t          rc;
    prd_track_made_t  m;
    prd_track_view_t  v;

    rc = prd_track_make_now(t, p, class, horizon, extra, extras, &v, &m);

    if (rc == PRD_OK) {
        memcpy(q, m.out, sizeof(m.out));
    }

    return rc;
}


prd_rc_t
prd_track_explain(const prd_track_t *t, const prd_tracks_t *p,
    unsigned class, unsigned horizon, const prd_track_extra_t *extra,
    unsigned extras, float q[PRD_EXPERTS][PRD_QUANTILES],
    float weight[PRD_EXPERTS][PRD_QUANTILES], float *confidence)
{
    float             n;
    double            pooled;
    unsigned          e;
    prd_rc_t          rc;
    prd_track_made_t  m;
    prd_track_view_t  v;

    rc = prd_track_make_now(t, p, class, horizon, extra, extras, &v, &m);

    if (rc != PRD_OK) {
        return rc;
    }

    if (q != NULL) {
        memcpy(q, m.q, sizeof(m.q));
    }

    for (e = 0; weight != NULL && e < PRD_EXPERTS; e++) {
        m.weight[e] /= m.sum;
        memcpy(weight[e], &m.weight[e], sizeof(weight[e]));
    }

    if (confidence != NULL) {

        /* 64 bins are the memory of the client's own */

        n = (float) t->bins[class].age / prd_track_aheads[horizon];
        n = prd_min(n, 64.0f) / 64.0f;
        pooled = 0.95;
        (void) prd_score_coverage(&p->horizon[class][horizon].score, 2,
                                  &pooled);
        *confidence = n * (float) t->bins[class].covered[horizon] / 255
                      + (1 - n) * (float) pooled;
    }

    return PRD_OK;
}


void
prd_track_init(prd_track_t *t)
{
    memset(t, 0, sizeof(prd_track_t));

    t->version = PRD_TRACK_VERSION;
    t->size = sizeof(prd_track_t);
}


prd_rc_t
prd_tracks_init(prd_tracks_t *p, const uint32_t bin_s[PRD_TRACK_CLASSES])
{
    unsigned             i, k, e, profile;
    prd_track_errors_t  *t;

    static const float  prior[PRD_QUANTILES] = { 0, 2, 3, 5 };

    profile = PRD_TRACK_CLASSES;

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {

        if (bin_s[i] > 86400) {
            return PRD_ERANGE;
        }

        if (bin_s[i] && (profile == PRD_TRACK_CLASSES
                         || (bin_s[i] <= 3600 && bin_s[i] > bin_s[profile])))
        {
            profile = i;
        }
    }

    if (profile == PRD_TRACK_CLASSES) {
        return PRD_ERANGE;
    }

    memset(p, 0, sizeof(prd_tracks_t));

    p->version = PRD_TRACK_VERSION;
    p->size = sizeof(prd_tracks_t);
    p->profile = profile;
    p->whole = 1;
    memcpy(p->bin_s, bin_s, sizeof(p->bin_s));

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {
        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            for (e = 0; e < PRD_EXPERT_LOCATIONS; e++) {
                t = &p->horizon[i][k].errors[e][PRD_TRACK_ALL];
                memcpy(t->q, prior, sizeof(prior));
            }
        }
    }

    return PRD_OK;
}


prd_rc_t
prd_tracks_check(const prd_tracks_t *p, size_t size)
{
    unsigned                    i, k, e, j, n;
    prd_rc_t                    rc;
    const float                *f;
    const double               *d;
    const prd_track_errors_t   *t;
    const prd_track_horizon_t  *h;

    if (size != sizeof(prd_tracks_t) || p->version != PRD_TRACK_VERSION
        || p->size != sizeof(prd_tracks_t))
    {
        return PRD_EVERSION;
    }

    rc = p->profile < PRD_TRACK_CLASSES && p->bin_s[p->profile]
         ? PRD_OK : PRD_ECORRUPT;

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {

        if (p->bin_s[i] > 86400) {
            rc = PRD_ECORRUPT;
        }

        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            h = &p->horizon[i][k];

            for (e = 0; e < PRD_EXPERT_LOCATIONS; e++) {
                for (j = 0; j < PRD_TRACK_STATES; j++) {
                    t = &h->errors[e][j];

                    for (n = 0; n < PRD_QUANTILES; n++) {
                        if (!(fabsf(t->q[n]) <= 4096)
                            || (n && t->q[n] < t->q[n - 1]))
                        {
                            rc = PRD_ECORRUPT;
                        }
                    }
                }
            }

            for (j = 0; j < PRD_TRACK_STATES; j++) {
                f = &h->state[j].votes;

                for (n = 0; n < sizeof(h->state[j]) / sizeof(float); n++) {
                    if (!(fabsf(f[n]) <= 1000)) {
                        rc = PRD_ECORRUPT;
                    }
                }
            }

            for (j = 0; j < PRD_TRACK_STATES; j++) {
                f = h->anchor[j].width;

                for (n = 0; n < PRD_QUANTILES - 1; n++) {
                    if (!(fabsf(f[n]) <= 1000)) {
                        rc = PRD_ECORRUPT;
                    }
                }
            }

            d = &h->score.n;

            for (j = 0; j < sizeof(h->score) / sizeof(double); j++) {
                if (!(d[j] >= 0 && d[j] <= 1e30)) {
                    rc = PRD_ECORRUPT;
                }
            }
        }
    }

    return rc;
}


prd_rc_t
prd_track_check(const prd_track_t *t, size_t size)
{
    unsigned                 i, k;
    const float             *f;
    const prd_track_bins_t  *b;

    if (size != sizeof(prd_track_t)) {
        return PRD_EVERSION;
    }

    if (t->version == 0 && t->size == 0) {
        return PRD_OK;
    }

    if (t->version != PRD_TRACK_VERSION || t->size != sizeof(prd_track_t)) {
        return PRD_EVERSION;
    }

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {
        b = &t->bins[i];

        if (b->head >= PRD_TRACK_RING || b->filled > PRD_TRACK_RING
            || b->period > TRACK_LAGS)
        {
            return PRD_ECORRUPT;
        }

        f = &b->last;

        for (k = 0; k < 11; k++) {
            if (!(fabsf(f[k]) <= 2 * PRD_TRACK_Y_MAX)
                || (f[k] < 0 && &f[k] != &b->trend))
            {
                return PRD_ECORRUPT;
            }
        }

        if (b->age && (b->filled == 0 || b->scale < TRACK_SCALE_MIN)) {
            return PRD_ECORRUPT;
        }

        for (k = 0; k < PRD_TRACK_WAIT; k++) {
            if (b->wait[k].state >= PRD_TRACK_IDLE
                || b->wait[k].due
                   > prd_track_aheads[1 + k / PRD_TRACK_FAR])
            {
                return PRD_ECORRUPT;
            }
        }
    }

    return PRD_OK;
}
