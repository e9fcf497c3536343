
/*
 * The habits of a client: when, how regularly and how much it asks, in 48
 * bytes that are updated once for each 10 s bin with demand in it.  No history
 * is kept.  prd_group.h tells clients into groups by them.
 *
 * Sums fade with a time constant of 14 days, and so does the time that they
 * are divided by.  Hours count by the square root of their requests: a batch
 * of 10,000 outweighs a stray request, yet does not drown a week of others.
 *
 * Owned by the forecasting thread (or the replay tool); nobody else writes.
 * A zeroed record is a client never seen.
 */


#ifndef PRD_HABIT_H_INCLUDED
#define PRD_HABIT_H_INCLUDED


#include "prd.h"


#define PRD_HABIT_FADE_H   336         /* 14 days */
#define PRD_HABIT_GAP_S    1800        /* a longer gap ends a session */
#define PRD_HABIT_LOST_S   (60 * 86400)   /* idle for so long: a new client */
#define PRD_HABIT_PACKED   48          /* bytes of prd_habit_pack() */

typedef struct {
    uint32_t  first;                   /* bins: wall s / 10; 0 = never seen */
    uint32_t  last;
    float     count;                   /* requests; these fade */
    float     cost;                    /* tokens, or bytes: the caller's */
    float     errors;                  /* requests refused or failed */
    float     bins;                    /* active bins */
    float     gaps;                    /* between sessions */
    float     root;                    /* closed hours: sum of sqrt(requests) */
    float     hour;                    /* requests in the open hour */
    int16_t   cosine;                  /* of the hour of day, mean over hours */
    int16_t   sine;                    /* as weighted above; 32767 is 1 */
    uint16_t  night;                   /* share of hours; 65535 is 1 */
    uint16_t  weekend;
    uint16_t  gap_mean;                /* ln(gap / 30 min); 4096 is 1 */
    uint16_t  gap_variance;            /* of it; 4096 is 1 */
} prd_habit_t;

_Static_assert(sizeof(prd_habit_t) == 48, "bytes a client");


/* What a client did in a bin. */

typedef struct {
    uint32_t  count;                   /* requests, > 0; errors among them */
    uint32_t  errors;                  /* more than count is count */
    float     cost;                    /* of all; negative or NaN is 0 */
} prd_habit_bin_t;


/* The features, in the order of prd_habit_features(). */

typedef enum {
    PRD_HABIT_RATE = 0,                /* log10 of requests a day, >= -2 */
    PRD_HABIT_BUSY,                    /* log10 of requests an active hour */
    PRD_HABIT_BURST,                   /* log10 of requests an active bin */
    PRD_HABIT_ACTIVE,                  /* square root of the share of hours */
                                       /* active, 0 .. 1 */
    PRD_HABIT_REGULAR,                 /* gaps between sessions: 1 all alike, */
                                       /* about 0.35 at random */
    PRD_HABIT_FOCUS,                   /* on a time of day: 1 a point, 0 none */
    PRD_HABIT_NIGHT,                   /* share from 22 to 6 o'clock */
    PRD_HABIT_WEEKEND,                 /* weekend's share over its time's: */
                                       /* 1 alike, 0 none, at most 2 */
    PRD_HABIT_SIZE,                    /* log2 of the mean cost, -20 .. 60 */
    PRD_HABIT_ERRORS,                  /* share, 0 .. 1 */
    PRD_HABIT_FEATURES
} prd_habit_e;

/* A short name for each, for the API and for logs. */
const char *prd_habit_name(prd_habit_e f);


/*
 * Counts a bin.
 *
 * wall_s    when the bin began, >= 86400
 * offset_s  of the local time from UTC, within a day; nights and weekends are
 *           local
 *
 * A step back of the clock adds to the bin that was last; of more than a day
 * it is believed, and what is known is moved along.  After
 * PRD_HABIT_LOST_S without a request the client begins anew.
 */
void prd_habit_count(prd_habit_t *h, const prd_habit_bin_t *bin,
    uint64_t wall_s, int32_t offset_s);

/*
 * The features of now; x has PRD_HABIT_FEATURES.  Always finite.
 * PRD_DECLINED: fewer than `bins` active bins (faded) are known, or none.
 */
prd_rc_t prd_habit_features(const prd_habit_t *h, uint64_t now_s,
    int32_t offset_s, float bins, float *x);

/* How long the client has been known, s. */
uint64_t prd_habit_age_s(const prd_habit_t *h, uint64_t now_s);

/*
 * To PRD_HABIT_PACKED bytes and back, the same on any machine.  Stamps are
 * wall time.  What would be no number or out of bounds is refused:
 * PRD_ECORRUPT, and *h stays.
 */
void prd_habit_pack(const prd_habit_t *h, uint8_t *p);
prd_rc_t prd_habit_unpack(prd_habit_t *h, const uint8_t *p);


#endif /* PRD_HABIT_H_INCLUDED */
