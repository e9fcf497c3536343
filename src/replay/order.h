
/*
 * Puts requests into the order in which they arrived.  A log has them in the
 * order in which they ended, several workers' lines a little mixed, and often
 * no more than whole seconds.
 *
 * Requests are collected a second of the log's clock each.  A second is given
 * out when a line comes that is `window_s` seconds later than its end: sorted,
 * and those with stamps of whole seconds spread evenly over it, in the order
 * of their lines; else each second would begin with a burst that never was.
 * What comes later than that is moved up to the second that is still open.
 */


#ifndef RPL_ORDER_H_INCLUDED
#define RPL_ORDER_H_INCLUDED


#include "util.h"


/* A request as the engine needs it: everything of the line is worked out. */

typedef struct {
    int64_t    us;
    uint64_t   seq;                  /* number of the line among good ones */
    uint64_t   tag;
    uint64_t   parent;               /* newcomer key's tag, 0 = none */
    prd_rate_t rate;                 /* baseline */
    uint32_t   client;               /* RPL_NO_CLIENT: has no key */
    uint32_t   class_;
    uint32_t   cost;                 /* level units */
    uint32_t   charge;               /* RPL_NO_CHARGE: none */
    uint32_t   burst;                /* level units */
    unsigned   status:10;
    unsigned   whole:1;              /* stamped in whole seconds */
    unsigned   bytes:21;             /* prd_env_encode(); 0: not known */
} rpl_request_t;

#define RPL_NO_CHARGE  UINT32_MAX


typedef struct rpl_order_s  rpl_order_t;

/* n requests of one second, in order; the array may be changed. */
typedef void (*rpl_order_pt)(void *data, rpl_request_t *request, size_t n);

/* window_s 0..3600; spread: whole stamps are spread over their second */
rpl_order_t *rpl_order_create(uint32_t window_s, int spread,
    rpl_order_pt give, void *data);
void rpl_order_done(rpl_order_t *o);

/*
 * us >= 0.  Returns by how many seconds the request came too late, or 0.
 *
 * One that is a day and more ahead is held until the next comes: if that is
 * no such one, its stamp was wrong, and it is moved back to the clock.
 */
uint64_t rpl_order_add(rpl_order_t *o, const rpl_request_t *request);

/* How many were moved back. */
uint64_t rpl_order_ahead(const rpl_order_t *o);

/* Gives out all that is left. */
void rpl_order_flush(rpl_order_t *o);


#endif /* RPL_ORDER_H_INCLUDED */
