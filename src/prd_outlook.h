
/*
 * What is forecast of a zone beside its clients' envelopes: the clients'
 * curves, habits and groups, the curves of the zone and of its groups, and
 * the record of bins in which more came than was forecast.
 *
 * Clients that earn it have a record of their own in a second, smaller table:
 * one for PRD_OUTLOOK_SHARE slots of the zone.  A client earns it with
 * PRD_OUTLOOK_BLOCKS closed blocks; in a full table it takes the place of one
 * that is gone or has been idle for long, a known client's only after a day.
 *
 * Of these, one for PRD_OUTLOOK_TRACKS slots also has a track: the state of
 * the experts that forecast its bins.  It takes PRD_OUTLOOK_ACTIVE active bins
 * of 10 s, and where no track is free, four times the requests of whoever is
 * to give way.
 *
 * All of it is written by the forecasting thread (or the replay tool) alone.
 * Records, tracks and misses are read by workers meanwhile: they are made in
 * memory of the thread's own and then written, as they are copied, by relaxed
 * words, under a sequence number that is odd while this is done.  Of groups,
 * chains and curves workers read single numbers for show, plainly; the one
 * that a note of a transition is filed under may be a second old.
 */


#ifndef PRD_OUTLOOK_H_INCLUDED
#define PRD_OUTLOOK_H_INCLUDED


#include "prd_bucket.h"
#include "prd_class.h"
#include "prd_experts.h"
#include "prd_group.h"
#include "prd_gru.h"
#include "prd_markov.h"
#include "prd_size.h"


#define PRD_OUTLOOK_SHARE    6         /* slots for a record */
#define PRD_OUTLOOK_LEAST    64        /* records */
#define PRD_OUTLOOK_BLOCKS   2
#define PRD_OUTLOOK_TRACKS   24        /* slots for a track */
#define PRD_OUTLOOK_ACTIVE   12
#define PRD_OUTLOOK_AHEAD    180       /* bins: a pass over all tracks */
#define PRD_OUTLOOK_LATE     { 3, 6, 36 }  /* 10 s bins after a longer one */
                                       /* in which tracks are closed */
#define PRD_OUTLOOK_FIRST_S  604800    /* of pooled tables: not yet slow */
#define PRD_OUTLOOK_PASS     60        /* bins: a pass over all for groups */
#define PRD_OUTLOOK_MISSES   256
#define PRD_OUTLOOK_TRAIN    64        /* windows of the network a bin of */
                                       /* its class: 2 ms an hour */
#define PRD_OUTLOOK_NETWORK  2         /* the class of bins it forecasts */
#define PRD_OUTLOOK_SPANS    3         /* of aggregates: 60, 300, 3600 s */
#define PRD_OUTLOOK_PACKED   68        /* bytes of prd_outlook_pack() */
#define PRD_OUTLOOK_RINGS    64        /* workers that note transitions */

extern const uint32_t  prd_outlook_span_s[PRD_OUTLOOK_SPANS];


/* A client's record. */

typedef struct {
    _Atomic uint32_t  seq;             /* odd while being written */
    uint32_t          slot;            /* the rest is words: relaxed */
    uint64_t          tag;             /* 0: free */
    uint32_t          bin;             /* of the last demand: wall s / 10 */
    uint32_t          refused;         /* prd_entry_t.refused as last seen */
    uint32_t          group_id;        /* that of its place in prd_groups_t */
    uint16_t          generation;      /* of the slot */
    uint8_t           group;           /* place, or PRD_GROUP_NONE */
    uint8_t           outlier;         /* 1: like nobody else */
    uint8_t           known;           /* 1: not to be evicted within a day */
    uint32_t          track;           /* its number + 1; 0: none */
    float             ahead;           /* 95 % quantile of the demand over */
                                       /* the horizon, tokens/s; 0: none */
    prd_habit_t       habit;
} prd_tracked_t;


/*
 * A client's curves.  Guarded by its record's seq, words as those; the open
 * bins are those that still count.
 *
 * A longer bin ends for all clients at once, and what is to be done then takes
 * the longest of all that is learned of them.  It is done in portions, while
 * the client's next bin is counted beside the one that is over: by the end of
 * PRD_OUTLOOK_LATE bins of 10 s.  Only then the new forecast counts, whenever
 * it was made, so that what is decided does not depend on the place of a
 * track, which is chance.
 */

typedef struct {
    uint32_t          owner;           /* record's number + 1; 0: free */
    uint32_t          bin[PRD_TRACK_CLASSES];  /* open, 0: none */
    float             sum[PRD_TRACK_CLASSES];  /* tokens in it */
    uint32_t          late_bin[PRD_TRACK_CLASSES]; /* after one that is */
    float             late[PRD_TRACK_CLASSES]; /* over, 0: none; tokens */
    float             ahead;           /* prd_tracked_t.ahead from then on */
    float             before;          /* and until then; below 0, or -0: */
                                       /* less what waits for an idle client */
    prd_track_t       track;
} prd_outlook_track_t;


/* A bin in which more came than had been forecast. */

typedef struct {
    uint64_t  tag;                     /* 0: of the zone as a whole */
    uint64_t  end_s;                   /* wall: of the bin */
    uint32_t  span_s;                  /* its length */
    uint32_t  refused;                 /* requests refused in it, of 10 s */
    float     actual;                  /* tokens: the peak backlog of a 10 s */
                                       /* bin, the count of longer ones */
    float     middle;                  /* forecast: median, and the quantile */
    float     upper;                   /* that was exceeded */
    float     quantile;                /* 0.95 ... */
} prd_miss_t;


typedef struct {
    _Atomic uint32_t  used;            /* records ever taken, from the first */
    uint32_t          hand;            /* where the next victim is looked for */
    uint32_t          loads;           /* states loaded: passes begin anew */
    uint32_t          tracks_used;     /* tracks ever taken, from the first */
    uint32_t          tracks_hand;
    uint32_t          tracks_at;       /* of the pass over them */

    prd_groups_t      groups;
    prd_markov_t      chain[PRD_GROUPS];
    uint32_t          chain_id[PRD_GROUPS];   /* the group's id */
    float             group_sum[PRD_GROUPS];  /* tokens, open 300 s bin */
    float             typical[PRD_GROUPS][24];    /* tokens/s of the group */
                                              /* by hour of day (local) */
    int64_t           group_bin;              /* open bin, 0: none */

    double            sum[PRD_OUTLOOK_SPANS]; /* of the zone: open bins */
    int64_t           bin[PRD_OUTLOOK_SPANS];

    prd_aggregate_t   zone[PRD_OUTLOOK_SPANS];
    prd_aggregate_t   group[PRD_GROUPS];      /* 300 s */

    int64_t           curve_bin[PRD_OUTLOOK_SPANS];       /* after which */
    prd_curve_t       curve[PRD_OUTLOOK_SPANS][PRD_CURVE_POINTS];
    int64_t           group_curve_bin[PRD_GROUPS];
    prd_curve_t       group_curve[PRD_GROUPS][PRD_CURVE_POINTS];

    prd_classes_t     classes;

    prd_sizes_t       sizes;                  /* of requests */
    float             group_n[PRD_GROUPS];    /* sized in a group, fading */
    float             group_bytes[PRD_GROUPS];
    double            cost;                   /* tokens a request; 0: 1 */
    double            bytes_bin;              /* of the 10 s that are over */
    double            bytes[PRD_OUTLOOK_SPANS];       /* of open bins */
    float             bytes_upper[PRD_OUTLOOK_SPANS]; /* 95 % quantile that */
                                              /* was forecast; 0: none */
    float             bytes_covered[PRD_OUTLOOK_SPANS];   /* share of bins */
    uint32_t          bytes_scored[PRD_OUTLOOK_SPANS];    /* saturates */

    _Atomic uint32_t  miss_next;       /* misses ever, modulo 2^32 */
    _Atomic uint64_t  missed;          /* the same, not modulo */
    _Atomic uint32_t  miss_seq[PRD_OUTLOOK_MISSES];
    prd_miss_t        miss[PRD_OUTLOOK_MISSES];

    uint64_t          tracks_since_s;  /* wall: votes are heard since */
    prd_tracks_t      tracks;          /* pooled, 60 s, 300 s and 3600 s */

    uint32_t          networked;       /* 1: the network is an expert, too */
    prd_gru_t         network;

    _Alignas(64)
    prd_markov_ring_t ring[];          /* of workers; prd_outlook_size() */
} prd_outlook_t;


/* A process's view; part of prd_view_t. */

typedef struct {
    prd_outlook_t     *outlook;
    _Atomic uint32_t  *index;          /* a slot's record */
    prd_tracked_t     *client;
    prd_word_t        *tags;           /* the zone's: who is in a slot */
    prd_outlook_track_t  *track;
    prd_gru_client_t  *cell;           /* a track's, of the network */
    uint32_t           clients;        /* records there are */
    uint32_t           tracks;
} prd_outlook_view_t;


/* Scratch of whoever calls, zeroed at first. */

typedef struct {
    uint32_t           at;             /* next record of the pass */
    uint32_t           loads;
    uint32_t           running;        /* 1: a pass is under way */
    int32_t            offset_s;       /* of local time; the caller's */
    uint32_t           begun;          /* 1: tails are where the rings were */
    uint32_t           turn;
    uint32_t           tail[PRD_OUTLOOK_RINGS];
    float              group_now[PRD_GROUPS];  /* tokens of the 10 s that are */
                                       /* over, by the group's place */

    /* of a bin: what was looked at in vain for a record or a track */
    uint32_t           barren_bin;     /* which */
    uint32_t           records_barren;
    uint32_t           tracks_barren;
    uint32_t           tracks_turn;    /* looked at in this turn round */
    float              poorest;        /* owners' least requests: of the last */
    float              poorest_turn;   /* turn, and so far in this one */

    /* of the portions in which tracks are closed */
    uint32_t           late_bin[PRD_TRACK_CLASSES];    /* present */
    uint32_t           late_at[PRD_TRACK_CLASSES];     /* next track */

    /* the caller's, or NULL: asked each 10 to 40 us; not 0: stop */
    int              (*fenced)(void *data);
    void              *fenced_data;

    uint32_t           network;        /* 1: on; the caller's */
    uint32_t           priced;         /* 1: tokens are no counts of */
                                       /* requests; the caller's */
    uint32_t           trains;         /* 1: it was looked at */
    prd_group_work_t   work;
} prd_outlook_work_t;


/* Bytes for a zone of so many slots, a multiple of 64. */
size_t prd_outlook_size(uint32_t slots);

/* `mem` is zeroed and 64-byte aligned. */
void prd_outlook_init(void *mem, uint32_t slots);
void prd_outlook_attach(prd_outlook_view_t *v, void *mem, prd_word_t *tags,
    uint32_t slots);


/*
 * Before whoever forecast for a zone does so again, or for another zone's
 * memory: passes begin anew, and rings from where they are.
 */
void prd_outlook_rest(prd_outlook_work_t *w);

/* What a client did in a 10 s bin. */

typedef struct {
    uint64_t  tag;
    uint32_t  slot;
    uint16_t  generation;
    uint16_t  blocks;                  /* that it has closed */
    uint16_t  hours;
    uint32_t  refused;                 /* since its slot was claimed */
    uint32_t  requests;                /* admitted */
    float     tokens;
    int       vote;                    /* 0: the pooled tables learn nothing */
    uint64_t  start_s;                 /* wall: of the bin */
    uint32_t  horizon_s;               /* of prd_tracked_t.ahead */
} prd_outlook_bin_t;

/*
 * Returns how many requests were refused in it, 0 when that is not known.
 * *ahead is what is expected of the client over the next horizon at the 95 %
 * quantile, tokens/s; 0 where it has no track.
 */
uint32_t prd_outlook_count(prd_outlook_view_t *v, prd_outlook_work_t *w,
    const prd_outlook_bin_t *bin, float *ahead);

/*
 * Hints for the cache: a slot's record, a little later what it has of a track,
 * and then the slot is counted.
 */

static inline void
prd_outlook_prefetch(const prd_outlook_view_t *v, uint32_t slot)
{
    uint32_t  i;

    i = atomic_load_explicit(&v->index[slot], memory_order_relaxed);

    if (i < v->clients) {
        __builtin_prefetch(&v->client[i], 1);
        __builtin_prefetch((char *) &v->client[i + 1] - 1, 1);
    }
}


static inline void
prd_outlook_prefetch_track(const prd_outlook_view_t *v, uint32_t slot)
{
    uint32_t              i;
    const prd_tracked_t  *c;

    i = atomic_load_explicit(&v->index[slot], memory_order_relaxed);

    if (i < v->clients) {
        c = &v->client[i];

        if (c->slot == slot && c->track && c->track <= v->tracks) {
            __builtin_prefetch(&v->track[c->track - 1], 1);
        }
    }
}


/* A bin in which more came than was forecast. */
void prd_outlook_miss(prd_outlook_view_t *v, const prd_miss_t *miss);

/*
 * The end of a 10 s bin: `tokens` were admitted of all.  vote() says whether a
 * slot's client may vote for groups: clients of one newcomer key share votes.
 */
typedef int (*prd_outlook_vote_pt)(void *data, uint32_t slot);

void prd_outlook_close(prd_outlook_view_t *v, prd_outlook_work_t *w,
    double tokens, uint64_t end_s, int learning, prd_outlook_vote_pt vote,
    void *data);

/*
 * After that: a portion of the tracks whose longer bins are over.  vote() as
 * above, of the pooled tables.
 */
void prd_outlook_close_tracks(prd_outlook_view_t *v, prd_outlook_work_t *w,
    uint64_t end_s, uint32_t horizon_s, prd_outlook_vote_pt vote, void *data);

/*
 * Portion of a pass over all tracks, half an hour at most for all of them:
 * hours that ended without requests are closed, and publish() is told of each
 * client of whom something is expected in this hour or, where that begins
 * before the next turn, in the next one: the greater of both.  (Shorter bins
 * that are empty wait for the client's next request: closing them for
 * thousands of idle clients every few minutes cost more than all the rest.)
 */
typedef void (*prd_outlook_ahead_pt)(void *data, uint32_t slot,
    uint16_t generation, float ahead);

void prd_outlook_look_ahead(prd_outlook_view_t *v, uint64_t end_s,
    uint32_t horizon_s, prd_outlook_vote_pt vote, prd_outlook_ahead_pt publish,
    void *data);

/*
 * Before the end of a 10 s bin: what responses were counted in it, words of
 * prd_size.h of all and of a sample of the groups'; tokens a request costs.
 */
void prd_outlook_sizes(prd_outlook_view_t *v, const uint64_t grown[PRD_SIZES],
    const uint64_t group_grown[PRD_GROUPS], double cost);

/*
 * Bytes of a response, of a group or (PRD_GROUP_NONE) of all; a group's mean is
 * drawn to that of all as by PRD_SIZE_PRIOR requests, the quantile is that of
 * all.  PRD_DECLINED: none has been seen.
 */
prd_rc_t prd_outlook_size_of(const prd_outlook_t *o, unsigned group,
    prd_size_t *size);

/* The mean of it for a token: what a forecast of tokens is of bytes; or 0. */
double prd_outlook_bytes(const prd_outlook_t *o, unsigned group);

/* What a request of a class costs, of all clients. */
void prd_outlook_cost(prd_outlook_view_t *v, unsigned class_, float cost);

/* Between bins: groups and chains, a slice of some 0.5 ms. */
void prd_outlook_step(prd_outlook_view_t *v, prd_outlook_work_t *w,
    uint64_t now_s, int learning);


/*
 * For anybody: a copy of a slot's record.  PRD_DECLINED: it has none, or its
 * generation is another; PRD_EAGAIN: it was being written all the time.
 */
prd_rc_t prd_outlook_client(const prd_outlook_view_t *v, uint32_t slot,
    uint16_t generation, prd_tracked_t *copy);

/* The same of a record by its number, whoever's it is. */
prd_rc_t prd_outlook_copy(const prd_outlook_view_t *v, uint32_t i,
    prd_tracked_t *copy);

/*
 * What the network says of the bins after `bin`, the last one of a copy of
 * the record's track: the number of extra experts, 0 where it is off or does
 * not know that bin.
 */
unsigned prd_outlook_extra(const prd_outlook_view_t *v,
    const prd_tracked_t *c, uint32_t bin, prd_track_extra_t *extra);

/* What it was trained on; PRD_DECLINED: it is off. */
prd_rc_t prd_outlook_network(const prd_outlook_view_t *v,
    prd_gru_told_t *told);

/*
 * Its track as decisions see it, without what is over but not yet closed;
 * for any reader.  PRD_DECLINED: it has none.
 */
prd_rc_t prd_outlook_copy_track(const prd_outlook_view_t *v,
    const prd_tracked_t *c, prd_track_t *track);

/*
 * The same for show: bins that have passed since its last request were empty.
 * Where they are more than PRD_TRACK_GAP, nothing is forecast of bins of that
 * length (PRD_DECLINED): tables learn of long pauses when they end, and only
 * then is it asked how much comes after one.
 */
prd_rc_t prd_outlook_copy_now(const prd_outlook_view_t *v,
    const prd_tracked_t *c, uint64_t now_s, prd_track_t *track);

/* The group of a slot's client, or PRD_GROUP_NONE; cheap. */
unsigned prd_outlook_group(const prd_outlook_view_t *v, uint32_t slot,
    uint16_t generation);

/*
 * A record for a file and back.  Which client it belongs to is the tag; in
 * which slot that is now, and what was refused there (c->refused), the caller
 * of prd_outlook_give() says.  PRD_ECORRUPT: it holds
 * what no record does, and *c stays.  PRD_EFULL: there is no record left.
 */
void prd_outlook_pack(const prd_tracked_t *c, uint8_t *p);
prd_rc_t prd_outlook_unpack(prd_tracked_t *c, const uint8_t *p);
prd_rc_t prd_outlook_give(prd_outlook_view_t *v, const prd_tracked_t *c,
    uint32_t slot, uint16_t generation);

/*
 * The same of a track, for a file or another zone: a copy of what a record
 * has, with its open bins and with those closed that are over, and back to
 * the client in `slot`, whose record was given before; `ahead` of it is worked
 * out anew.  The caller has checked t->track.  PRD_DECLINED: there is none, or
 * it is being written; there is no such record, or it has one.  PRD_EFULL:
 * there is no track left.
 */
prd_rc_t prd_outlook_copy_bins(const prd_outlook_view_t *v,
    const prd_tracked_t *c, prd_outlook_track_t *t);
prd_rc_t prd_outlook_give_track(prd_outlook_view_t *v,
    const prd_outlook_track_t *t, uint32_t slot, uint16_t generation,
    uint32_t horizon_s);

/*
 * A record, or a track's bins, of a clock that was `shift_s` behind ours, when
 * ours was base_s: what comes is as long ago as it was.  A time before 1970
 * becomes its first bin.
 */
void prd_outlook_shift(prd_tracked_t *c, int64_t shift_s);
void prd_outlook_shift_track(prd_outlook_track_t *t, int64_t base_s,
    int64_t shift_s);

/* After aggregates were loaded: what they forecast for now is published. */
void prd_outlook_resume(prd_outlook_view_t *v, uint64_t now_s);

/* Newest first, at most `most`. */
uint32_t prd_outlook_misses(const prd_outlook_view_t *v, prd_miss_t *miss,
    uint32_t most);


#endif /* PRD_OUTLOOK_H_INCLUDED */
