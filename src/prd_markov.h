
/*
 * What a group's clients ask for next: a first-order Markov chain over the
 * classes of requests, for the mix and the cost of the requests to come.
 *
 * A chain keeps the PRD_MARKOV_TOP classes that the group asks for most, and
 * the others as one.  Counts fade; rows with few of them lean on the group's
 * mix (Dirichlet prior, PRD_MARKOV_PRIOR requests).
 *
 * What a worker has to record: each client's last class (a byte; a client's
 * first request has no transition), and a transition into its own ring with
 * prd_markov_note(), under the client's group as the thread published it.
 * The forecasting thread drains the rings once a second; what a ring cannot
 * hold is a sample of what it did hold, weighted up.  So workers know neither
 * which classes are top nor how they are counted.
 *
 * Chains belong to the forecasting thread (or the replay tool).
 */


#ifndef PRD_MARKOV_H_INCLUDED
#define PRD_MARKOV_H_INCLUDED


#include <stdatomic.h>

#include "prd.h"


#define PRD_MARKOV_CLASSES  256
#define PRD_MARKOV_TOP      16
#define PRD_MARKOV_STATES   17         /* the last one: others */
#define PRD_MARKOV_OTHER    16
#define PRD_MARKOV_PRIOR    4.0f
#define PRD_MARKOV_FADE_S   86400
#define PRD_MARKOV_RING     1024       /* a power of two */
#define PRD_MARKOV_STEPS    1000000    /* more is as much */
#define PRD_MARKOV_VERSION  1
#define PRD_MARKOV_PACKED   3600       /* bytes that suffice for a pack */


/*
 * A worker's ring: one writes, the thread reads.  A note torn by a killed
 * worker is one that never was: head is stored last.
 */

typedef struct {
    _Atomic uint32_t  head;            /* notes ever, modulo 2^32; release */
    _Atomic uint32_t  note[PRD_MARKOV_RING];  /* group 8 | from 8 | to 8; */
                                              /* relaxed */
} prd_markov_ring_t;


static inline void
prd_markov_note(prd_markov_ring_t *r, unsigned group, unsigned from,
    unsigned to)
{
    uint32_t  head;

    head = atomic_load_explicit(&r->head, memory_order_relaxed);

    atomic_store_explicit(&r->note[head % PRD_MARKOV_RING],
                          (group & 255) << 16 | (from & 255) << 8
                          | (to & 255), memory_order_relaxed);
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
}


/* One group's chain.  Zeroed is a start. */

typedef struct {
    float     count[PRD_MARKOV_STATES][PRD_MARKOV_STATES];  /* [from][to] */
    float     seen[PRD_MARKOV_CLASSES];       /* requests of each class */
    float     cost[PRD_MARKOV_STATES];        /* mean of a request */
    float     costs[PRD_MARKOV_STATES];       /* that it is made of, <= 1000 */
    uint8_t   top[PRD_MARKOV_TOP];            /* class of each state */
    uint32_t  tops;                           /* states in use, others apart */
    uint32_t  spare;
    uint64_t  faded_s;                        /* wall; 0: never */
} prd_markov_t;


/*
 * Takes what was noted since *tail (0 at first, kept by the caller) to the
 * chains of `n` groups; a group of n and above counts for none.  Returns the
 * notes taken.
 */
uint32_t prd_markov_drain(prd_markov_ring_t *r, uint32_t *tail,
    prd_markov_t *chain, unsigned n);

/* `weight` transitions, > 0 */
void prd_markov_count(prd_markov_t *m, unsigned from, unsigned to,
    float weight);

/* A request of `class_` cost this much, >= 0. */
void prd_markov_cost(prd_markov_t *m, unsigned class_, float cost);

/*
 * Fades counts and exchanges states for classes that are asked for more; to
 * be called every ten seconds or more rarely.  A clock that steps back fades
 * nothing.
 */
void prd_markov_fade(prd_markov_t *m, uint64_t now_s);

/* The state of a class: PRD_MARKOV_OTHER for what is not on top. */
unsigned prd_markov_state(const prd_markov_t *m, unsigned class_);

/*
 * The mix after `steps` more requests of a client whose last one was of state
 * `from`, or PRD_MARKOV_STATES for "anyone's": probabilities of each state,
 * of the request with that number, to mix[PRD_MARKOV_STATES].  PRD_DECLINED:
 * nothing is known yet.  PRD_ERANGE: no such state.
 */
prd_rc_t prd_markov_mix(const prd_markov_t *m, unsigned from, uint32_t steps,
    float *mix);

/* The cost of the next `steps` requests together; as above. */
prd_rc_t prd_markov_outlook(const prd_markov_t *m, unsigned from,
    uint32_t steps, double *cost);

/* As prd_group_pack() and prd_group_unpack(). */
prd_rc_t prd_markov_pack(const prd_markov_t *m, uint8_t *p, size_t *len);
prd_rc_t prd_markov_unpack(prd_markov_t *m, const uint8_t *p, size_t len);


#endif /* PRD_MARKOV_H_INCLUDED */
