
/*
 * The envelope of a client: the learned drain rate and depth of its bucket.
 *
 * Depth: y = log2 of the peak backlog of every active 10 s block; each client
 * keeps a mean mu and a spread sigma of y, and b = 2^(mu + sigma Z), where Z
 * is the (1 - alpha) quantile of the scores (y - mu) / sigma pooled over all
 * clients of the same age class.  Rate: the same of the hourly counts, with
 * alpha 0.05.  This is split conformal calibration of normalised scores with
 * categories (Vovk's Mondrian form; Lei et al. 2018), done online: the
 * coverage of a class is right whatever the shape of the data, and a sparse
 * client borrows the tail of its class while its scale is its own.
 *
 * Everything here belongs to the forecasting thread (or the replay tool);
 * workers read only the published words.
 */


#ifndef PRD_ENVELOPE_H_INCLUDED
#define PRD_ENVELOPE_H_INCLUDED


#include "prd_pool.h"


/*
 * The published word of a client, one 64-bit store by CAS:
 *
 *   generation 16 | trust 6 | rate 21 | depth 21
 *
 * The generation rises when a slot is claimed, so that what was learned for
 * the slot's former client cannot be published to the new one.  Depth 0
 * means that nothing is learned yet.  Rate (nano-tokens per second) and depth
 * (level units) are 6-bit exponent, 15-bit mantissa: exact to 65,535 units,
 * then to 2^-16; codes compare like the numbers they stand for.
 */

#define prd_env_depth_code(w)   ((uint32_t) (w) & 0x1fffff)
#define prd_env_rate_code(w)    ((uint32_t) ((w) >> 21) & 0x1fffff)
#define prd_env_trust(w)        ((uint32_t) ((w) >> 42) & 0x3f)
#define prd_env_generation(w)   ((uint32_t) ((w) >> 48))

#define prd_env(gen, trust, rate, depth)                                      \
    ((uint64_t) (gen) << 48 | (uint64_t) (trust) << 42                        \
     | (uint64_t) (rate) << 21 | (uint64_t) (depth))


/* a client is known from its second closed active hour on */
#define PRD_KNOWN_HOURS    2

/*
 * Told by the envelope, which is published in one word with the slot's
 * generation: a stranger never inherits it.  Trust of so many hours says it,
 * and, where trust is less for the moment, its lowest bit.
 */
#define PRD_KNOWN_TRUST                                                       \
    (PRD_KNOWN_HOURS * PRD_TRUSTS / (PRD_KNOWN_HOURS + 8))

#define prd_env_known(w)                                                      \
    (prd_env_trust(w) >= PRD_KNOWN_TRUST || (prd_env_trust(w) & 1))


static inline uint64_t
prd_env_decode(uint32_t code)
{
    uint32_t  e = code >> 15, m = code & 0x7fff;

    return e ? (uint64_t) (m | 0x8000) << (e - 1) : m;
}


static inline uint32_t
prd_env_encode(uint64_t v)
{
    uint32_t  e;

    if (v < 0x8000) {
        return (uint32_t) v;
    }

    e = 48 - (uint32_t) __builtin_clzll(v);

    return (e + 1) << 15 | ((uint32_t) (v >> e) & 0x7fff);
}


/*
 * Hours and horizons of a client end up to 150 s before those of the clock, at
 * a full bin that its tag tells: closing one costs more than closing a block,
 * and those of a million clients are not to end in the same bin.  Before, not
 * after: what is done at the full hour begins an hour, and is not cut in two.
 * Tags are keyed hashes, the same on all nodes of a store.
 */

#define PRD_PHASES  16

static inline uint32_t
prd_phase_s(uint64_t tag)
{
    return (uint32_t) ((tag >> 32 & 0xffff) * PRD_PHASES >> 16) * PRD_BIN_S;
}


/* Age classes of the pooled scores, by closed blocks or hours: 0, 1-2, 3-7,
 * 8-31, 32-127, 128 and more. */

#define PRD_AGES   6
#define PRD_CELLS  160                /* of 0.2 from -8 */

typedef struct {
    float   cell[PRD_CELLS];
    float   votes;
    float   fresh;                    /* votes since z was worked out */
    float   z;                        /* published quantile, slowed down */
    double  at_s;                     /* when z was last moved */
} prd_scores_t;


/*
 * What is learned of one client: 64 bytes, parallel to the table's slots.
 *
 * The caps bound growth: an envelope follows its habit freely below its cap,
 * and the cap doubles at most once in 24 h, up or down.  (A bound on the
 * envelope itself would be a ratchet: every quiet minute lowers it, and it
 * needs a day to come back; coverage fell to 80 %.)
 */

typedef struct {
    float     mu;                     /* log2 of block peaks: mean, spread */
    float     sigma;
    float     mu_rate;                /* log2 of hourly counts */
    float     sigma_rate;
    float     depth;                  /* b, tokens, raw: before floor, min */
    float     rate;                   /* r, tokens per second, raw */
    float     cap_depth;              /* tokens */
    float     cap_rate;               /* tokens per second */
    uint32_t  depth_at;               /* wall s when the caps were moved */
    uint32_t  rate_at;
    float     count;                  /* admitted in the epoch, tokens */
    float     level;                  /* short forecast: EWMA, tokens/s */
    float     near;                   /* count in the present short bin */
    uint16_t  near_bin;               /* which: (wall s + phase) / horizon, */
                                      /* mod 2^16 */
    uint16_t  epoch;                  /* of count: (wall s + phase) / 3600, */
                                      /* mod 2^16 */
    uint16_t  blocks;                 /* closed active blocks, saturates */
    uint16_t  hours;                  /* closed active hours, saturates */
    uint16_t  generation;             /* of the client it belongs to */
    uint8_t   counted:1;              /* hours has the open count's */
    uint8_t   limited:1;              /* refused beyond it in count's hour */
    uint8_t   held:1;                 /* wanted more than the baseline */
    uint8_t   proven:5;               /* trusted up to: log2 of cap_depth */
                                      /* over it; 4 is 1 */
    uint8_t   run;                    /* short bins active in a row, */
                                      /* saturates */
} prd_learned_t;


/* What is learned from all clients of a zone together. */

typedef struct {
    prd_scores_t  depth[PRD_AGES];
    prd_scores_t  rate[PRD_AGES];
    prd_scores_t  near[PRD_AGES];     /* short forecast, by run instead of */
                                      /* age: log2 actual / level */

    double    mu, sigma;              /* newcomers' prior */
    double    mu_rate, sigma_rate;
    double    anchor_b, anchor_r;     /* log2; what newcomers get stays near */
    double    anchor_mu;              /* of mu_rate: a typical hour */
    double    anchor_s;               /* when anchors were moved; 0 = never */
    double    newcomer_b, newcomer_r; /* enforced: tokens, tokens/s */
    double    cost;                   /* mean cost of a request, tokens */

    /* statistics, never read by the algorithm */
    double    closed[PRD_AGES];       /* blocks */
    double    missed[PRD_AGES];       /* of them: peak above the raw depth, */
                                      /* before growth bound, floor and min */
    double    bounded[PRD_AGES];      /* peak above the depth as bounded */
} prd_pooled_t;


/* The constants that the configuration sets. */

typedef struct {
    double    alpha;                  /* 1 - confidence */
    double    horizon_s;
    int       learning;               /* in warm-up: no growth bounds */
    float     ahead;                  /* tokens/s over the next horizon, as */
                                      /* forecast of this client otherwise; */
                                      /* 0: nothing */
    uint32_t  phase_s;                /* of this client */
    int       young;                  /* who is younger than a day may be */
                                      /* several newcomers */
} prd_envelope_terms_t;


void prd_pooled_init(prd_pooled_t *p, const prd_envelope_terms_t *t);

/* Moves newcomers' envelope and its anchors to `now_s`. */
void prd_pooled_newcomer(prd_pooled_t *p, const prd_envelope_terms_t *t,
    double now_s);

/*
 * Adds votes of elsewhere, PRD_CELLS numbers >= 0, to a table: those of
 * depths, rates and the near future by age, 0 to 3 * PRD_AGES - 1.
 */
void prd_pooled_add(prd_pooled_t *p, const prd_envelope_terms_t *t,
    unsigned table, const float *add, double now_s);

/* A client's first record: the newcomer of now. */
void prd_learned_init(prd_learned_t *l, const prd_pooled_t *p,
    uint16_t generation, double now_s);

/*
 * Closes a block: `peak` > 0 is the greatest backlog in it, tokens.
 * vote = 0 leaves the pooled scores and the prior alone.
 * Returns 1 when the peak was above the depth.
 */
int prd_learned_block(prd_learned_t *l, prd_pooled_t *p,
    const prd_envelope_terms_t *t, double peak, int vote, double now_s);

/*
 * An hour has ended: it counts for trust at once, if anything was admitted in
 * it, and the depth of now is what is trusted.  What it says of the client's
 * need waits until the client comes back (prd_learned_hour), or every
 * passer-by would vote.  PRD_DECLINED: nothing.
 */
prd_rc_t prd_learned_hour_end(prd_learned_t *l, uint16_t epoch);

/*
 * Closes an hour with l->count > 0 tokens admitted in it.  One in which more
 * was refused (l->limited) says that at least so much is needed: it teaches
 * only what is above the habit.
 */
void prd_learned_hour(prd_learned_t *l, prd_pooled_t *p,
    const prd_envelope_terms_t *t, int vote, double now_s);

/*
 * Of a client from which nothing came: its rate may rise for what is forecast
 * (t->ahead), within the bounds that hold for its own.
 */
void prd_learned_ahead(prd_learned_t *l, const prd_pooled_t *p,
    const prd_envelope_terms_t *t, double now_s);

/* Adds a block's count to the short forecast. */
void prd_learned_near(prd_learned_t *l, prd_pooled_t *p,
    const prd_envelope_terms_t *t, double count, int vote, double now_s);

/*
 * What the short forecast of now is made from: the faded level (tokens/s, 0:
 * unknown), and which table of prd_pooled_t.near holds its errors.
 */
unsigned prd_learned_outlook(const prd_learned_t *l,
    const prd_envelope_terms_t *t, double now_s, double *level);

/* 95 % quantile of the demand over the next horizon, tokens/s; 0 = unknown */
double prd_learned_forecast(const prd_learned_t *l, const prd_pooled_t *p,
    const prd_envelope_terms_t *t, double now_s);

/*
 * Trust index 0..63 from closed active hours, of a client that wanted up to
 * `peak` (tokens) in the last block, 0: it was idle.  It is for what the
 * client has done in the hours that earned it: in full up to the depth that it
 * had when the last one ended, falling to nothing at twice that.  An odd
 * number, or PRD_KNOWN_TRUST and more: the client is known; above 0: it has
 * an hour.
 */
uint32_t prd_learned_trust(const prd_learned_t *l, float peak);

/*
 * The depth of now is what is trusted, whatever was before: of a record from
 * elsewhere that does not tell.
 */
void prd_learned_prove(prd_learned_t *l);

extern const uint8_t  prd_ages[129];

static inline unsigned
prd_age(unsigned n)
{
    return prd_ages[prd_min(n, 128)];
}


#endif /* PRD_ENVELOPE_H_INCLUDED */
