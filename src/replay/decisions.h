
/*
 * The file of --decisions: a line a request, in the order of the log's lines,
 * whatever the order in which they were decided.
 */


#ifndef RPL_DECISIONS_H_INCLUDED
#define RPL_DECISIONS_H_INCLUDED


#include "../prd_bucket.h"
#include "util.h"


typedef struct rpl_decisions_s  rpl_decisions_t;

rpl_decisions_t *rpl_decisions_create(FILE *f);
void rpl_decisions_done(rpl_decisions_t *d);

/* Each seq from 0 on is set once. */
void rpl_decisions_set(rpl_decisions_t *d, uint64_t seq,
    prd_verdict_e verdict, uint32_t delay_ms);

/* Writes what is complete; rpl_decisions_set() does so now and then. */
void rpl_decisions_flush(rpl_decisions_t *d);


#endif /* RPL_DECISIONS_H_INCLUDED */
