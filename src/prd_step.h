
/*
 * Steps of a decision that prd_decide.c and leases (prd_lease_inner.h) share.
 * For these alone.
 */


#ifndef PRD_STEP_H_INCLUDED
#define PRD_STEP_H_INCLUDED


#include "prd_decide.h"


/* Finds or inserts, works out the terms, notes the demand in virtual_. */
prd_entry_t *prd_step_prepare(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);

/*
 * The terms of a slot, client's or parent's, with its envelope of now.  Sets
 * answer->fill, too.
 */
void prd_step_terms(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, uint32_t slot,
    uint32_t backlog, prd_terms_t *t);

/* The reason of answer->verdict. */
prd_reason_e prd_step_reason(const prd_ask_t *ask, const prd_answer_t *answer);

/* Is the slot still the tag's? */
int prd_step_holds(const prd_view_t *view, uint32_t slot, uint64_t tag);


#endif /* PRD_STEP_H_INCLUDED */
