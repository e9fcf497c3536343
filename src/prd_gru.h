
/*
 * One small recurrent network, shared by all clients and trained online: a
 * further expert beside those of a client.  It forecasts quantiles of what a
 * client will do in the next bin, in the 6th and in the 12th from now.
 *
 * Cells are gated recurrent units (Cho et al. 2014).  What goes in and comes
 * out is z = ln(1 + y) relative to the client's own level and spread, so that
 * one network serves clients of any size; the outputs are quantiles, trained
 * on pinball loss (Koenker and Bassett 1978) in windows of up to
 * PRD_GRU_WINDOW bins, by backpropagation through time with Adam (Kingma and
 * Ba 2015).  Quantiles cannot cross: the upper ones are sums of positive
 * steps (Barron's squareplus, 2021).
 *
 * Of each client 32 bytes are kept: the hidden state in int8 and what its
 * inputs need.  Windows to train on are recorded by the network, of a sample
 * of clients, and stay until newer ones take their place: training draws from
 * all of them at random.
 *
 * Who may call: one thread at a time for a network and its clients.  Nothing
 * is allocated, nothing is read but the arguments; the same calls with the
 * same seed give the same numbers on the same build.
 *
 * What bounds an attacker: clients are recorded in proportion to their
 * weights, so that what a flood of them teaches is its share of all votes; a
 * step moves no parameter by more than the learning rate, at most
 * PRD_GRU_LR_MAX, and a call to prd_gru_train() does at most
 * budget / PRD_GRU_BATCH + 1 steps; no parameter leaves +-PRD_GRU_PARAM_MAX.
 * A wrong network is a bad expert, and what mixes experts gives it no weight.
 */


#ifndef PRD_GRU_H_INCLUDED
#define PRD_GRU_H_INCLUDED


#include "prd.h"


#define PRD_GRU_MAGIC      0x70677275u
#define PRD_GRU_VERSION    1              /* of both structures, 1..15 */

#define PRD_GRU_HIDDEN     12             /* a multiple of 12 */
#define PRD_GRU_INPUTS     12
#define PRD_GRU_HORIZONS   3              /* 1, 6 and 12 bins ahead */
#define PRD_GRU_QUANTILES  4              /* 0.5, 0.9, 0.95, 0.99 */
#define PRD_GRU_OUTPUTS    (PRD_GRU_HORIZONS * PRD_GRU_QUANTILES)

#define PRD_GRU_PARAMS                                                        \
    (3 * PRD_GRU_HIDDEN * (PRD_GRU_INPUTS + PRD_GRU_HIDDEN)                   \
     + PRD_GRU_OUTPUTS * (PRD_GRU_INPUTS + PRD_GRU_HIDDEN))

#define PRD_GRU_WINDOW     32             /* bins that one training sees */
#define PRD_GRU_WINDOWS    512            /* recorded or being recorded */
#define PRD_GRU_GAP        12             /* missing bins taken for zeros */
#define PRD_GRU_BATCH      4              /* windows a step of the optimiser */

#define PRD_GRU_LR_MAX     0.01f
#define PRD_GRU_PARAM_MAX  8.0f


/*
 * A client's state; all bytes 0 is a client that has not been seen.  z in
 * 1/1024, the spread in 1/4096, both saturating.
 */

typedef struct {
    int8_t    h[PRD_GRU_HIDDEN];          /* in 1/127 */
    float     level;                      /* slow mean of z */
    uint32_t  bin;                        /* the last one, time / bin_s */
    uint16_t  spread;                     /* root mean square of z - level */
    uint16_t  fast;                       /* fast mean of z */
    uint16_t  last;                       /* z of the last bin */
    uint16_t  peak;                       /* greatest z, fading */
    uint16_t  slot:12;                    /* window in which recorded, or 0 */
    uint16_t  version:4;                  /* 0: not seen */
    uint8_t   idle;                       /* bins since the last with z > 0 */
    uint8_t   age;                        /* bins seen; both saturate */
} prd_gru_client_t;


typedef struct {
    prd_gru_client_t  start;              /* before the first bin */
    uint32_t          bin_s;
    uint32_t          next;               /* the bin that comes next */
    uint32_t          touched;            /* round of the last bin */
    uint8_t           state;
    uint8_t           len;
    uint8_t           want;
    uint8_t           spare;
    uint16_t          z[PRD_GRU_WINDOW];
} prd_gru_window_t;


/* What the backward pass needs of one step of the forward pass. */

typedef struct {
    float             x[PRD_GRU_INPUTS];
    float             h[PRD_GRU_HIDDEN];           /* before the step */
    float             gate[2 * PRD_GRU_HIDDEN];    /* reset, update */
    float             gate_d[2 * PRD_GRU_HIDDEN];  /* their derivatives */
    float             cand[PRD_GRU_HIDDEN];        /* candidate */
    float             cand_d[PRD_GRU_HIDDEN];
    float             out[PRD_GRU_OUTPUTS];
    float             out_d[PRD_GRU_OUTPUTS];      /* d of the loss */
    float             level;
    float             spread;
} prd_gru_tape_t;


/*
 * A network: the caller's memory, of any alignment that float and uint64_t
 * have.  No pointers: it may be kept in a file and given back, once
 * prd_gru_check() has said that it is sound.
 */

typedef struct {
    uint32_t          magic;
    uint32_t          version;
    uint32_t          size;
    int32_t           offset_s;           /* local time - UTC; the caller's */
    uint32_t          whole;              /* y are counts; 0: any measure */
    uint32_t          spare;
    uint64_t          seed;
    uint64_t          random;

    uint32_t          round;              /* calls to prd_gru_train() */
    uint32_t          steps;              /* of the optimiser */
    uint32_t          recording;
    uint32_t          cursor;             /* the next window to overwrite */
    float             votes;              /* weights since the last round */
    float             every;              /* one of so many is recorded */
    uint64_t          trained;            /* windows */
    uint64_t          skipped;            /* gradients that were not finite */
    uint64_t          resets;             /* networks that were not finite */
    double            loss;               /* running mean, training windows */

    float             w[PRD_GRU_PARAMS];
    float             m[PRD_GRU_PARAMS];  /* Adam: means of the gradient */
    float             v[PRD_GRU_PARAMS];  /* and of its square */
    float             grad[PRD_GRU_PARAMS];

    prd_gru_window_t  windows[PRD_GRU_WINDOWS];
    prd_gru_tape_t    tape[PRD_GRU_WINDOW];
} prd_gru_t;


/* For show. */

typedef struct {
    uint64_t          trained;
    uint64_t          resets;
    double            loss;
} prd_gru_told_t;


/*
 * Begins a network; the seed gives the first weights and what is sampled.
 * offset_s is 0 then and whole is 1: the caller may set both at any time.
 */
void prd_gru_init(prd_gru_t *g, uint64_t seed);

/*
 * Whether these bytes are a network of this version whose numbers can be
 * used.  PRD_EVERSION: another layout.  PRD_ECORRUPT: not finite, or indices
 * that point elsewhere.  Nothing is changed.
 */
prd_rc_t prd_gru_check(const prd_gru_t *g, size_t size);

/*
 * Closes one bin of a client.
 *
 * bin_s     its length, 1 .. 86400, always the same for one client state
 * bin       its number: start time / bin_s.  Up to PRD_GRU_GAP missing bins
 *           are taken for zeros; after more the hidden state begins anew and
 *           level and spread are taken on in closed form
 * y         what was counted, >= 0; above e^63 is taken for that
 * weight    of its votes, 0 .. 1: the chance that it is recorded at all; what
 *           is outside is clamped, NaN is 0
 *
 * PRD_EINVAL: y is negative or NaN, bin_s out of range; nothing has changed.
 * PRD_ESTALE: a bin that had been closed, at most PRD_GRU_GAP before the last
 * one; nothing has changed.  A clock that steps back further begins the
 * client anew, as does a state of another version.
 */
prd_rc_t prd_gru_add(prd_gru_t *g, prd_gru_client_t *c, uint32_t bin_s,
    uint32_t bin, double y, double weight);

/*
 * Quantiles 0.5, 0.9, 0.95 and 0.99 of a client's count in the 1st, 6th and
 * 12th bin after the last one added: finite, >= 0, none below the one before;
 * none above 4 times the greatest of late, or above 15 for the quiet; what
 * would be below a half is 0, and g->whole rounds small ones, as
 * quantiles of counts are whole.
 * PRD_DECLINED: the client has not been seen or is of another version; q is
 * untouched.
 */
prd_rc_t prd_gru_forecast(const prd_gru_t *g, const prd_gru_client_t *c,
    uint32_t bin_s, float q[PRD_GRU_HORIZONS][PRD_GRU_QUANTILES]);

/*
 * What others may read while one thread adds and trains: the copy is for
 * prd_gru_forecast() alone, its weights may be of two steps.
 */
void prd_gru_copy(prd_gru_t *copy, const prd_gru_t *g);
void prd_gru_tell(prd_gru_told_t *told, const prd_gru_t *g);

/* The caller's offset_s and whole, with others reading. */
void prd_gru_of(prd_gru_t *g, int32_t offset_s, uint32_t whole);

/*
 * Trains on `budget` windows at most, once a round, and says on how many: 0
 * while none is complete.  A window costs up to PRD_GRU_WINDOW forward and
 * backward steps (see bench/gru.c for the time).  A budget of 0 trains
 * nothing and lets recording go on.
 */
uint32_t prd_gru_train(prd_gru_t *g, uint32_t budget);


#endif /* PRD_GRU_H_INCLUDED */
