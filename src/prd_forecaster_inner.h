
/*
 * What the files of the forecaster share, for these alone: prd_forecaster.c
 * (rounds: whose bin and whose hour are over), prd_forecaster_client.c (what
 * one client's bin teaches), prd_forecaster_zone.c (what all of them do).  The
 * first calls the others, and clients of one newcomer key have few votes in
 * both.
 */


#ifndef PRD_FORECASTER_INNER_H_INCLUDED
#define PRD_FORECASTER_INNER_H_INCLUDED


#include "prd_forecaster.h"


#define PRD_FETCH  8                     /* clients at a time */


/* prd_forecaster_client.c */

/* Closes the bin of f->batch[0..n - 1].  How many of them were active. */
uint32_t prd_forecaster_batch(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, const prd_envelope_terms_t *t, uint32_t n,
    double end_s);

/* May this client vote?  Clients of one newcomer key share four votes a bin. */
int prd_forecaster_vote(prd_ballot_t *f, uint32_t parent);


/* prd_forecaster_zone.c */

/* Once a second, `dt_s` after the last time: which classes pay first. */
void prd_forecaster_surge(prd_view_t *view, const prd_policy_t *policy,
    double dt_s, uint32_t now_ms);

/* After a bin: the mean cost; the series; then the outlook, which reads it. */
void prd_forecaster_cost(prd_view_t *view, const prd_policy_t *policy);
void prd_forecaster_series(prd_view_t *view, double end_s, uint32_t now_ms);
void prd_forecaster_outlook(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, const prd_envelope_terms_t *t,
    uint64_t end_s);


#endif /* PRD_FORECASTER_INNER_H_INCLUDED */
