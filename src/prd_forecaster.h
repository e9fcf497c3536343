
/*
 * One round of learning over a zone: closes blocks and hours, moves the
 * pooled tables, publishes envelopes, newcomer's envelope and class surge.
 * Called by the thread once a second, or by the replay tool by the log's
 * clock; never by two at a time (the thread holds the lease).
 */


#ifndef PRD_FORECASTER_H_INCLUDED
#define PRD_FORECASTER_H_INCLUDED


#include "prd_node.h"
#include "prd_zone.h"


#define PRD_VOTERS  65536                /* newcomer keys told apart, nearly */
#define PRD_BATCH   512                  /* clients closed in a go, or 511 */
                                         /* and those of 64 buckets */

/*
 * Scratch memory of one caller, zeroed at first.
 *
 * Votes that newcomer keys have cast.  Keys whose hashes meet share theirs,
 * which costs them votes and gives none away; there is no table that the first
 * to come could fill.
 */

typedef struct {
    uint8_t   votes[PRD_VOTERS];
} prd_ballot_t;

typedef struct {
    prd_ballot_t  blocks;                /* of this bin */
    prd_ballot_t  groups;                /* of a pass over the clients */
    prd_ballot_t  tracks;                /* closed after this bin */
    prd_top_t top[PRD_TOPS][PRD_TOP];    /* being collected */
    uint32_t  top_n[PRD_TOPS];
    uint64_t  start_s;                   /* wall: of the bin that is closed */
    uint64_t  middle_s;                  /* its middle */
    float     near_z[PRD_AGES];          /* 2^z of the near future's */
    float     near[PRD_AGES];
    uint32_t  batch[PRD_BATCH + 64 * PRD_WAYS];  /* slots */
    prd_outlook_work_t  outlook;         /* offset_s is the caller's to set */
    /* asked between buckets; non-zero stops the round (lease lost) */
    int     (*fenced)(void *data);
    void     *data;
    /*
     * In a zone with a store: clients that are learned of elsewhere, a bit
     * for each group of prd_node.h, and what is told of each record that was
     * changed here; NULL: nobody wants to know.
     */
    _Atomic uint64_t  away;
    void    (*changed)(void *data, uint32_t slot);
    void     *changed_data;
} prd_forecaster_t;


/*
 * now_s    wall seconds with fractions; a step back closes nothing, a step
 *          forward closes the open bin once
 * now_ms   monotonic, for the pool and idle times
 *
 * Returns PRD_OK, or PRD_ESTALE when fenced() said so.
 */
prd_rc_t prd_forecaster_round(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, double now_s, uint32_t now_ms);

/*
 * Before the first round of whoever learns of a zone again, or of another
 * zone's memory: what was under way in the scratch is not of now.
 */
void prd_forecaster_resume(prd_forecaster_t *f);

/*
 * Publishes what a slot's record holds; fenced by the generation.  For the
 * round itself and for a loaded state.
 */
void prd_forecaster_publish(prd_view_t *view, const prd_policy_t *policy,
    uint32_t slot);

/* Closes the open bin now: end of a log, before a save. */
void prd_forecaster_flush(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, double now_s, uint32_t now_ms);


#endif /* PRD_FORECASTER_H_INCLUDED */
