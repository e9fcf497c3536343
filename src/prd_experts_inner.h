
/*
 * What the files of clients' forecasts share, for these alone: prd_experts.c
 * (bins, forecasts), prd_experts_mix.c (weights and widths),
 * prd_experts_errors.c (locations, pooled errors), prd_experts_own.c (experts
 * of the client's own), prd_experts_check.c (bytes).  In this order they call
 * each other.
 */


#ifndef PRD_EXPERTS_INNER_H_INCLUDED
#define PRD_EXPERTS_INNER_H_INCLUDED


#include <math.h>

#include "prd_experts.h"


#define TRACK_KNOWN      60         /* votes that make a table */
#define TRACK_STEP       0.3f       /* of quantiles of steps, e-folds */
#define TRACK_LAGS       32
#define TRACK_SCALE_MIN  0.05f
#define TRACK_BASE       (110 << 10)
#define TRACK_CODE       0x1p110f
#define TRACK_NOTHING    65535
#define TRACK_SORTED     24         /* values of which there are quantiles: */
                                    /* last bins, differences to a period */
#define TRACK_EIGHT      8          /* for all locations */
#define TRACK_ROOM       64         /* for all experts' quantiles */


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

    least = a;

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

    most = a;

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


static inline unsigned
prd_track_state_idle(unsigned state)
{
    return state % PRD_TRACK_IDLES;
}


/* prd_experts_mix.c */

/* Nobody has said anything yet; all but extras will. */
void prd_track_make_begin(prd_track_made_t *m);

/* What extra expert i says; nothing where a quantile is NaN or negative. */
void prd_track_make_extra(prd_track_made_t *m, unsigned i,
    const float q[PRD_QUANTILES]);

/* Everything of a forecast; extras were put there before. */
void prd_track_make(const prd_track_bins_t *b, const prd_tracks_t *p,
    const prd_track_horizon_t *h, unsigned horizon, const prd_track_view_t *v,
    prd_track_made_t *m);

/* What came is compared with what had been forecast. */
void prd_track_score(prd_track_bins_t *b, prd_track_horizon_t *h,
    unsigned horizon, const prd_track_view_t *v, const prd_track_made_t *m,
    float y, int vote);


/* prd_experts_errors.c */

/* What experts with a location say, and the tables they said it by. */
void prd_track_make_pooled(const prd_track_horizon_t *h,
    const prd_track_view_t *v, prd_track_made_t *m);

/* Counts their errors in these tables. */
void prd_track_score_errors(prd_track_horizon_t *h, const prd_track_view_t *v,
    const prd_track_made_t *m, float y);


/* prd_experts_own.c */

/* What experts of the client's own say; those with a location did before. */
void prd_track_make_own(const prd_track_bins_t *b, unsigned horizon,
    const prd_track_view_t *v, prd_track_made_t *m);

/* The lag whose bins are the most alike; 0: none. */
unsigned prd_track_period(const prd_track_view_t *v);

/* Of what is added to the last value until a horizon, and of all bins. */
void prd_track_steps_learn(prd_track_bins_t *b, float y);


#endif /* PRD_EXPERTS_INNER_H_INCLUDED */
