
/*
 * One request against one zone: finds the client, works out its terms,
 * judges, charges, and notes the demand.
 *
 * Single limit:    prd_decide()
 * Several limits:  prd_judge() on each, then prd_charge() in order while all
 *                  admit; a refusal there (a race) is undone by prd_refund()
 *                  of those charged before.
 *
 * All run in a worker, without lock, allocation or system call.  Killed in
 * between, a worker has charged whole limits or none.
 */


#ifndef PRD_DECIDE_H_INCLUDED
#define PRD_DECIDE_H_INCLUDED


#include "prd_zone.h"


/* No delay= and no nodelay, delay=N is N, nodelay is this. */
#define PRD_NODELAY  UINT32_MAX


typedef struct {
    uint64_t    tag;               /* prd_tag(prd_hash(secret, key)) */
    uint64_t    parent;            /* the newcomer= key's tag, 0 = none */
    uint32_t    class_;            /* prd_zone_class() */
    uint32_t    cost;              /* level units; 0 peeks */
    prd_rate_t  rate;              /* baseline of this request; 0 = none */
    uint32_t    burst;             /* level units */
    uint32_t    delay;             /* level units, or PRD_NODELAY */
    uint32_t    now_ms;            /* monotonic */
    unsigned    charged:1;         /* cost is to be the client's mean charge */
} prd_ask_t;


typedef struct {
    prd_verdict_e  verdict;
    prd_reason_e   reason;
    uint32_t       slot;           /* of the client; the overflow's is slots */
    uint32_t       parent_slot;    /* PRD_NO_SLOT when not asked */
    uint32_t       level;          /* with the request counted */
    uint32_t       delay_ms;
    uint32_t       cost;           /* as charged: the hold where charged */
    uint32_t       added;          /* to the level; less than cost at the */
    uint32_t       parent_added;   /* end of the debt */
    uint32_t       backlog;        /* demand with this request; 0: none kept */
    uint32_t       parent_backlog;
    uint32_t       wanted;         /* added to the backlog; less than cost */
    uint32_t       parent_wanted;  /* where it ends */
    int32_t        fill;           /* of the pool, Q16; 65536 without one */
    prd_terms_t    terms;
    uint8_t        full;           /* 1: the overflow bucket was used */
    uint8_t        pooled;         /* 1: the pool was charged */
    uint8_t        taken;          /* 1: the buckets were charged */
    uint8_t        denied;         /* 1: and it teaches nothing */

    /* by prd_lease.h, in zones with a store */
    uint8_t        ask;            /* keys to be asked for */
    uint8_t        again;          /* keys asked for a second time */
    uint8_t        due;            /* keys that somebody must look at */
    uint8_t        told;           /* keys of whose demand the store hears */
    uint8_t        away;           /* keys decided without the store */
    uint8_t        mode;           /* prd_lease_mode_e of these */
    uint8_t        paid[2];        /* how the client and the parent were */
} prd_answer_t;


/* Judges and charges; counts; notes the decision when it is not PASSED. */

void prd_decide(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);

void prd_judge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);
prd_rc_t prd_charge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);
void prd_refund(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);

/*
 * After the last word on a request: counts it and, unless it just passed,
 * records it in the ring.  verdict and reason are the zone's own.
 */
void prd_note(prd_view_t *view, const prd_ask_t *ask,
    const prd_answer_t *answer, unsigned dry_run, uint64_t wall_ms);

/*
 * Settles the true cost (level units) of an admitted request after the
 * response; debt ends at one depth below empty.  To be called for each
 * admitted request that asked with `charged`, with answer->cost where the hold
 * stays: only then is it counted as admitted cost.
 */
void prd_settle(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, uint32_t cost);

/*
 * A request that was admitted had a response of so many bytes.  An addition
 * to a word of this worker, for one in eight a second one to its group's;
 * nothing where nothing is learned.
 */
void prd_sized(prd_view_t *view, const prd_policy_t *policy,
    const prd_answer_t *answer, uint64_t bytes);

/*
 * It is answered 401 or 403: the request teaches nothing.  To be called as
 * soon as that is known, before prd_settle(), which then leaves what is learned
 * alone; once more does nothing.
 */
void prd_unlearn(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);

/* What a request of this client would meet now: reads only, may not find it
 * (PRD_DECLINED: terms of a newcomer). */
prd_rc_t prd_inspect(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);


/* An admitted request of a class: what it cost, and what followed what. */
void prd_note_class(prd_view_t *view, const prd_ask_t *ask,
    const prd_answer_t *answer);

/* The part of that which prd_note() shares: what an admitted one cost. */

static inline void
prd_note_taken(prd_view_t *view, const prd_ask_t *ask,
    const prd_answer_t *answer)
{
    if (!ask->charged) {
        prd_zone_add(view, PRD_CNT_COST_MILLI,
                     answer->terms.unit == PRD_MILLI
                     ? answer->cost : (uint64_t) answer->cost * 1000);
    }

    if (ask->class_) {
        prd_note_class(view, ask, answer);
    }
}


/* prd_note() of a request that passed or borrowed. */

static inline void
prd_note_passed(prd_view_t *view, const prd_ask_t *ask,
    const prd_answer_t *answer)
{
    prd_zone_add(view, answer->verdict == PRD_PASSED ? PRD_CNT_PASSED
                                                     : PRD_CNT_BORROWED, 1);

    if (answer->taken) {
        prd_note_taken(view, ask, answer);
    }
}


#endif /* PRD_DECIDE_H_INCLUDED */
