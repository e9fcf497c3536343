
/*
 * A zone in the tool's own memory.  Where no size is given it begins small
 * and grows with its clients, so that a log of a few clients stays in the
 * cache, and one of millions has room for all.
 */


#ifndef RPL_ZONE_H_INCLUDED
#define RPL_ZONE_H_INCLUDED


#include "../prd_zone.h"

#include "util.h"


typedef struct {
    prd_view_t           view;
    const prd_policy_t  *policy;
    void                *mem;                /* NULL: there is none yet */
    size_t               size;
    uint64_t             room;               /* clients until it grows */
} rpl_zone_t;


/* size: bytes of the clients' part as in nginx.conf, 0 = grows */
void rpl_zone_create(rpl_zone_t *z, uint64_t size, const prd_policy_t *policy,
    const prd_secret_t *secret, uint64_t now_s, uint32_t now_ms);
void rpl_zone_done(rpl_zone_t *z);

/* Moves all clients into a larger zone. */
void rpl_zone_grow(rpl_zone_t *z, uint32_t now_ms);

/* To be asked before each request. */

static inline int
rpl_zone_full(const rpl_zone_t *z)
{
    return atomic_load_explicit(&z->view.worker->count[PRD_CNT_INSERTED],
                                memory_order_relaxed) >= z->room;
}


#endif /* RPL_ZONE_H_INCLUDED */
