
/*
 * Pooled tables of several nodes.  Each node's clients vote in its own
 * tables; now and then it publishes how many votes it has cast, cell by cell,
 * and takes over what the others have cast since it looked last.  So all
 * tables come to hold all votes, whoever's home a client is, and a node that
 * goes takes no vote with it.
 *
 * A new node adopts another's tables as a whole.
 *
 * Nothing that is read is trusted: votes of a node in a minute are limited,
 * numbers are checked and clamped, and what is taken over moves quantiles
 * and newcomers no faster than the bounds of prd_envelope.c let votes do.
 */


#ifndef PRD_MERGE_H_INCLUDED
#define PRD_MERGE_H_INCLUDED


#include "prd_envelope.h"


#define PRD_MERGE_VERSION  1
#define PRD_TABLES         (3 * PRD_AGES)

#define PRD_MERGE_HEAD     64
#define PRD_MERGE_SIZE     (PRD_MERGE_HEAD                                    \
                            + PRD_TABLES * (4 + PRD_CELLS * (2 + 4)))

#define PRD_MERGE_VOTES    20000.0       /* of a node, a table, at a time */


/* This node: in process memory, zeroed, then begun. */

typedef struct {
    uint64_t  began;                     /* tells one process from the next */
    float     base[PRD_TABLES][PRD_CELLS];
    float     votes[PRD_TABLES];         /* of base */
    uint32_t  cast[PRD_TABLES][PRD_CELLS];
    uint32_t  pace;                      /* votes on depths, this turn */
} prd_merge_own_t;


/* Another node, as last seen: zeroed at first. */

typedef struct {
    uint64_t  began;                     /* 0: not seen yet */
    uint32_t  cast[PRD_TABLES][PRD_CELLS];
} prd_merge_seen_t;


/* Priors of the nodes, weighted by their votes. */

typedef struct {
    double    weight;
    double    mu, sigma, mu_rate, sigma_rate;
} prd_merge_mean_t;


/* What a node says of itself. */

typedef struct {
    uint64_t  began;
    uint32_t  learned_s;                 /* for how long its zone has learned */
    uint32_t  pace;
    uint32_t  votes;                     /* in its tables on depths */
} prd_merge_head_t;


/* began is not 0, and another one for each process. */
void prd_merge_begin(prd_merge_own_t *own, const prd_pooled_t *p,
    uint64_t began);

/*
 * One turn: count() the votes cast here, put() what others are to see, and,
 * when theirs are there, count() again, add() for each other node, and end(),
 * which takes the priors' mean over and starts the next turn.  No round may be
 * under way meanwhile, nor between the last count() and end().
 */
void prd_merge_count(prd_merge_own_t *own, const prd_pooled_t *p);

void prd_merge_put(uint8_t buf[PRD_MERGE_SIZE], const prd_merge_own_t *own,
    const prd_pooled_t *p, uint32_t learned_s);

/* PRD_EVERSION, PRD_ECORRUPT: not such a table. */
prd_rc_t prd_merge_head(const uint8_t *buf, size_t len,
    prd_merge_head_t *head);

/*
 * first = 1: only looks, and adds nothing: a process that has just begun, or
 * one that has adopted tables, has these votes already.
 */
prd_rc_t prd_merge_add(const uint8_t *buf, size_t len, prd_merge_seen_t *seen,
    prd_merge_mean_t *mean, prd_pooled_t *p, const prd_envelope_terms_t *t,
    unsigned first, double now_s);

void prd_merge_end(prd_merge_own_t *own, prd_merge_mean_t *mean,
    prd_pooled_t *p, const prd_envelope_terms_t *t);

/*
 * All of a node's tables in place of ours, which hold hardly a vote.  Nothing
 * is changed unless PRD_OK is returned.
 */
prd_rc_t prd_merge_adopt(const uint8_t *buf, size_t len, prd_pooled_t *p,
    const prd_envelope_terms_t *t, double now_s);

/* Votes on depths, those that tables begin with (some 11) included. */
uint32_t prd_merge_votes(const prd_pooled_t *p);


#endif /* PRD_MERGE_H_INCLUDED */
