
/*
 * Forecasts of what a client will do in the next bin, the 6th and the 12th
 * from now, each as quantiles 0.5, 0.9, 0.95 and 0.99; for bins of up to
 * three lengths at once.
 *
 * A dozen cheap experts, each of them quantiles.  Some are a location and
 * quantiles of the errors of that location, pooled over all clients of the
 * same level, idle time and age: last value, exponential means, damped Holt
 * (Gardner and McKenzie 1985), TSB (Teunter, Syntetos and Babai 2011), hour
 * of the day.  Others are the client's own: quantiles of its last bins, of
 * those at the same time of day, of what came one period after a bin like
 * this one (the period being the lag that fits best); and the last value with
 * the quantiles of its errors as far back as the client is known, followed
 * from bin to bin by a step up or down (Robbins and Monro 1951).  Where a day
 * is longer than what is remembered, those of all bins are followed so, too,
 * and stand in for those at the same time of day.  The caller
 * may add quantiles of its own: those of a shared network, or of a group.
 *
 * Fixed share (Herbster and Warmuth 1998) on pinball loss weighs them, for
 * the median and the upper quantiles and for near and far apart; weights are
 * the client's own on top of those of all clients in the same state.  Widths
 * are then moved until they cover what they promise, those of a state by all
 * clients in it, those of a client by itself (adaptive conformal inference:
 * Gibbs and Candes 2021).  There is no Gaussian interval anywhere.
 *
 * What it costs: a record of 1.4 KB for three lengths of bins, so 128 bytes a
 * client if one in eleven has one; 1.6 MB of pooled tables.  Closing a bin
 * moves the state on, which is cheap; what takes the time is to score what
 * the experts had said, so of bins up to 60 s each eighth one is scored, of
 * those up to 300 s each third, chosen by a hash of their number, and a far
 * horizon has one forecast at a time that waits.
 *
 * Who may call: one thread at a time for the pooled tables and their tracks
 * (the forecasting thread, or the replay tool).  Nothing is allocated, nothing
 * but the arguments is read, and the same calls give the same numbers.  No
 * result is ever NaN or infinite.
 */


#ifndef PRD_EXPERTS_H_INCLUDED
#define PRD_EXPERTS_H_INCLUDED


#include "prd_score.h"


#define PRD_TRACK_VERSION    3
#define PRD_TRACK_CLASSES    3             /* lengths of bins */
#define PRD_TRACK_HORIZONS   3             /* 1, 6 and 12 bins ahead */
#define PRD_TRACK_EXTRAS     2             /* experts that the caller adds */
#define PRD_TRACK_RING       72            /* bins that are remembered */
#define PRD_TRACK_GAP        12            /* missing bins closed one by one */
#define PRD_TRACK_Y_MAX      1e14f         /* more is taken for that */
#define PRD_TRACK_PER_DAY    0.5f
#define PRD_TRACK_BAND       0.25f

enum {
    PRD_EXPERT_LAST = 0,                   /* with pooled errors: */
    PRD_EXPERT_SHORT,                      /* exponential means */
    PRD_EXPERT_LONG,
    PRD_EXPERT_HOLT,
    PRD_EXPERT_TSB,
    PRD_EXPERT_HOUR,                       /* the hour's share of a mean day */
    PRD_EXPERT_HOUR_LEVEL,                 /* and the level of late */
    PRD_EXPERT_LOCATIONS,

    PRD_EXPERT_STEPS = PRD_EXPERT_LOCATIONS, /* own: last value and steps */
    PRD_EXPERT_RECENT,                     /* the last 24 bins */
    PRD_EXPERT_PERIOD,
    PRD_EXPERT_DAY,                        /* this time of day, or all bins */
    PRD_EXPERT_EXTRA,
    PRD_EXPERTS = PRD_EXPERT_EXTRA + PRD_TRACK_EXTRAS
};


/*
 * An extra expert's quantiles for the horizons, in requests (or what else is
 * counted).  NAN in q[h][0]: it has nothing to say there.
 */

typedef struct {
    float     q[PRD_TRACK_HORIZONS][PRD_QUANTILES];
} prd_track_extra_t;


/* Forecasts of a far horizon that wait for their bin: what cannot be had from
 * the ring later. */

#define PRD_TRACK_FAR    1                 /* of a horizon */
#define PRD_TRACK_WAIT   ((PRD_TRACK_HORIZONS - 1) * PRD_TRACK_FAR)

typedef struct {
    uint16_t  at[PRD_EXPERT_LOCATIONS - 1];  /* packed; the last value is in
                                              * the ring */
    uint16_t  unit;                        /* packed: of errors */
    uint8_t   state;                       /* which tables */
    uint8_t   due;                         /* bins to wait; 0: empty */
    uint16_t  extra[PRD_TRACK_EXTRAS][PRD_QUANTILES];  /* packed; 65535 in
                                            * the first: nothing said */
} prd_track_wait_t;


/* One length of bins. */

typedef struct {
    uint32_t          bin;                 /* the last one closed */
    float             last;                /* what it had */
    float             level_short;
    float             level_long;
    float             holt, trend;
    float             size;                /* of an active bin (TSB) */
    float             level_hour;          /* level without the hour */
    float             mean;                /* slow mean, of the hour's share */
    float             scale;               /* mean |error|: unit of losses */
    float             unit[2];             /* mean |error| / root of level, */
                                           /* after an active and idle bin */
    uint16_t          active;              /* chance, in 1/65535 */
    uint16_t          idle;                /* bins, saturates */
    uint16_t          age;                 /* bins, saturates */
    uint16_t          usual;               /* packed: |change| of bins, the */
                                           /* median of those that change */
    uint8_t           period;              /* bins; 0: none found */
    uint8_t           head;                /* of ring: next to be written */
    uint8_t           filled;              /* in ring */
    uint8_t           random;
    uint16_t          ring[PRD_TRACK_RING];        /* packed */
    uint16_t          steps[PRD_TRACK_HORIZONS][2][PRD_QUANTILES - 1];
                                           /* packed: quantiles of errors of */
                                           /* the last value, above 0 or 0 */
    uint16_t          ever[PRD_QUANTILES - 1];     /* packed: of all bins */
    uint8_t           loss[2][PRD_EXPERTS][PRD_QUANTILES];
                                           /* near, far; above the best */
    int8_t            shift[PRD_TRACK_HORIZONS][PRD_QUANTILES - 1];
                                           /* of widths, e-folds in 1/64 */
    uint8_t           covered[PRD_TRACK_HORIZONS]; /* by 0.95, of 255 */
    prd_track_wait_t  wait[PRD_TRACK_WAIT];
} prd_track_bins_t;


/* A client: all bytes 0 is one that has not been seen. */

typedef struct {
    _Alignas(8)                            /* copied by words */
    uint16_t          version;
    uint16_t          size;
    uint16_t          hour[2][24];         /* packed; working day, weekend */
    uint8_t           days[2][24];         /* seen, saturates */
    prd_track_bins_t  bins[PRD_TRACK_CLASSES];
} prd_track_t;


/* Errors of one expert in one state, in units of the client. */

#define PRD_TRACK_OCTAVES  16              /* from 2^-5; four cells in each */
#define PRD_TRACK_SIDE     (4 * PRD_TRACK_OCTAVES)
#define PRD_TRACK_CELLS    (2 * PRD_TRACK_SIDE + 1)

typedef struct {
    uint16_t          cell[PRD_TRACK_CELLS];
    uint16_t          votes;
    uint16_t          fresh;               /* since q was worked out */
    float             q[PRD_QUANTILES];    /* published; see `slow` */
    uint32_t          at_s;                /* when q was moved; 0: never */
} prd_track_errors_t;


/*
 * States.  Clients that are known: level (9) x idle time (6).  Young ones:
 * level (3) x idle time.  Then idle time alone, and all: what stands in where
 * a state has been seen too little.  For errors the level is the location
 * they are errors of; for weights and widths it is the client's, and its mean
 * error for what is further ahead than the next bin.
 */

#define PRD_TRACK_LEVELS   9
#define PRD_TRACK_IDLES    6
#define PRD_TRACK_YOUNG    (PRD_TRACK_LEVELS * PRD_TRACK_IDLES)
#define PRD_TRACK_IDLE     (PRD_TRACK_YOUNG + 3 * PRD_TRACK_IDLES)
#define PRD_TRACK_ALL      (PRD_TRACK_IDLE + PRD_TRACK_IDLES)
#define PRD_TRACK_STATES   (PRD_TRACK_ALL + 1)

typedef struct {
    float             votes;
    float             error;               /* mean |error| over the scale */
    float             loss[PRD_EXPERTS][PRD_QUANTILES];
    float             width[PRD_QUANTILES - 1];    /* e-folds */
} prd_track_state_t;

/* What the widths of a state stay near while tables are slow. */

typedef struct {
    float             width[PRD_QUANTILES - 1];
    uint32_t          at_s;                /* when it was moved; 0: never */
} prd_track_anchor_t;

typedef struct {
    prd_track_errors_t  errors[PRD_EXPERT_LOCATIONS][PRD_TRACK_STATES];
    prd_track_state_t   state[PRD_TRACK_STATES];
    prd_track_anchor_t  anchor[PRD_TRACK_STATES];
    prd_score_t         score;
} prd_track_horizon_t;


/*
 * What is learned of all clients together: some 0.5 MB for each length of
 * bins.  No pointers.
 *
 * slow = 1 bounds what votes can do, whoever casts them and however many: of
 * a published quantile z, log2(1 + |z|) with the sign of z moves by at most
 * PRD_TRACK_PER_DAY a day, and a table that was not in use begins with what
 * stood in for it.  Widths stay within PRD_TRACK_BAND e-folds of an anchor
 * that moves by at most that a day.
 */

typedef struct {
    uint32_t             version;
    uint32_t             size;
    uint32_t             bin_s[PRD_TRACK_CLASSES];   /* 0: not used */
    int32_t              offset_s;         /* local time - UTC; the caller's */
    uint32_t             profile;          /* class that learns the hours */
    uint32_t             whole;            /* y are counts: the caller's */
    uint32_t             slow;             /* 1: strangers vote; the caller's */
    uint32_t             now_s;            /* wall, where slow; the caller's */
    prd_track_horizon_t  horizon[PRD_TRACK_CLASSES][PRD_TRACK_HORIZONS];
} prd_tracks_t;


/*
 * Begins empty tables.  bin_s: lengths of the classes, 1 .. 86400 s, or 0 for
 * one that is not used; the longest of up to an hour learns the hours of the
 * day.  whole = 1 and offset_s = 0 then; the caller may set both at any time.
 * PRD_ERANGE: no class or a length out of range; nothing is changed.
 */
prd_rc_t prd_tracks_init(prd_tracks_t *p,
    const uint32_t bin_s[PRD_TRACK_CLASSES]);

/* PRD_EVERSION: these bytes are of another layout.  PRD_ECORRUPT: numbers in
 * them cannot be used. */
prd_rc_t prd_tracks_check(const prd_tracks_t *p, size_t size);

/* The same of a client's record; one of all 0 is sound. */
prd_rc_t prd_track_check(const prd_track_t *t, size_t size);

/* Begins a client. */
void prd_track_init(prd_track_t *t);

/*
 * Closes a bin.  A record of another version begins anew.
 *
 * class     which length of bins, < PRD_TRACK_CLASSES, in use
 * bin       its number: start (wall s) / bin_s; any uint32_t
 * y         what was counted in it, >= 0; more than PRD_TRACK_Y_MAX is that.
 *           Requests, bytes or cost, a table and records for each.  States
 *           tell levels of 0.25 to 64 apart: bytes are better given in units
 *           of what a usual request has, and whole = 0
 * vote      0: the pooled tables learn nothing of it
 * extra     what further experts said before this bin (of bin, 6th and 12th
 *           from then), `extras` of them, at most PRD_TRACK_EXTRAS; NULL: 0
 *
 * The first call is the client's first bin.  Missing bins are empty ones: the
 * first PRD_TRACK_GAP are closed one by one, the rest at once.
 *
 * PRD_EINVAL: y is negative or NaN, or class is not in use.  PRD_ESTALE: a
 * bin not after the last one; but one that is more than a day back is
 * believed, and the client's clock begins there.  Nothing is changed by both.
 */
prd_rc_t prd_track_close(prd_track_t *t, prd_tracks_t *p, unsigned class,
    uint32_t bin, float y, int vote, const prd_track_extra_t *extra,
    unsigned extras);

/*
 * Quantiles of the 1st, 6th or 12th bin (horizon 0, 1, 2) after the last one
 * closed: finite, >= 0, none below the one before.  `extra` as above, but of
 * now.  PRD_DECLINED: no bin was closed, or the record is of another version;
 * PRD_EINVAL: no such class or horizon.  q is untouched then.
 */
prd_rc_t prd_track_forecast(const prd_track_t *t, const prd_tracks_t *p,
    unsigned class, unsigned horizon, const prd_track_extra_t *extra,
    unsigned extras, float q[PRD_QUANTILES]);

/*
 * For display: each expert's quantiles, its weight (for the median and the
 * tail), and how sure the forecast is: the share of bins that quantile 0.95
 * has covered, the client's own, and where it is young that of all.  NULLs
 * are left out.  Fails as prd_track_forecast() does.
 */
prd_rc_t prd_track_explain(const prd_track_t *t, const prd_tracks_t *p,
    unsigned class, unsigned horizon, const prd_track_extra_t *extra,
    unsigned extras, float q[PRD_EXPERTS][PRD_QUANTILES],
    float weight[PRD_EXPERTS][PRD_QUANTILES], float *confidence);

/* Bins ahead of horizon 0, 1, 2: 1, 6, 12. */
unsigned prd_track_ahead(unsigned horizon);

/* "" for an expert that there is not */
const char *prd_track_expert(unsigned expert);


#endif /* PRD_EXPERTS_H_INCLUDED */
