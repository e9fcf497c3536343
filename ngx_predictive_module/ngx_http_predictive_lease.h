
/*
 * What the files about leases share, for these three alone: _lease.c (how a
 * request asks a store, and goes on), _lease_batch.c (questions and answers),
 * _lease_wheel.c (keys that somebody must look after).
 */


#ifndef _NGX_HTTP_PREDICTIVE_LEASE_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_LEASE_H_INCLUDED_


#include "ngx_http_predictive_module.h"
#include "ngx_http_predictive_redis.h"

#include "prd_lease.h"


#define NGX_HTTP_PREDICTIVE_SHARDS    64      /* groups of keys, by the tag */
#define NGX_HTTP_PREDICTIVE_WHEEL     256     /* ticks */


/* A key that is looked after. */

typedef struct ngx_http_predictive_item_s  ngx_http_predictive_item_t;

struct ngx_http_predictive_item_s {
    ngx_http_predictive_item_t   *next;
    prd_due_t                     due;
};


struct ngx_http_predictive_query_s {
    prd_lease_request_t           request;
    ngx_http_predictive_batch_t  *batch;
    ngx_http_predictive_part_t   *part;      /* who asked; NULL: a tick, or it
                                              * is gone */
    ngx_http_predictive_ctx_t    *ctx;       /* the part's */
    ngx_http_predictive_item_t   *item;      /* of a tick */
    unsigned                      key:2;     /* PRD_LEASE_CLIENT, _PARENT */
    unsigned                      waiting:1; /* the request is parked */
    unsigned                      admitted:1; /* and let through */
};


struct ngx_http_predictive_batch_s {
    ngx_http_predictive_batch_t     *next;   /* of the free ones */
    ngx_http_predictive_zone_t      *zone;
    ngx_http_predictive_call_t      *call;   /* NULL: not sent yet */
    ngx_uint_t                       shard;
    ngx_uint_t                       waiting; /* requests, when it is sent */
    ngx_msec_t                       began_ms;
    ngx_msec_t                       spent;  /* of `wait`, before it began */
    ngx_uint_t                       n;
    ngx_http_predictive_query_t      queries[PRD_LEASE_KEYS];
};


/* A zone's part of the work, in the memory of a process. */

struct ngx_http_predictive_lease_s {
    ngx_http_predictive_zone_t     *zone;
    ngx_pool_t                     *pool;    /* the cycle's */
    ngx_log_t                      *log;
    ngx_http_predictive_script_t    script;

    ngx_uint_t                      shards;  /* 1 but in a cluster */
    size_t                          prefix_len;
    u_char                         *prefix;  /* "prd:1:{zone:s000}:" */
    u_char                         *keys;    /* room for a batch's */

    ngx_http_predictive_batch_t    *open[NGX_HTTP_PREDICTIVE_SHARDS];
    ngx_http_predictive_batch_t    *ready;   /* to be sent, oldest first */
    ngx_http_predictive_batch_t   **last;
    ngx_http_predictive_batch_t    *free;
    ngx_event_t                     flush;

    ngx_uint_t                      parked;  /* questions of such requests */
    ngx_event_t                     hold;

    ngx_event_t                     tick;
    ngx_msec_t                      turned_ms;
    ngx_uint_t                      turn;    /* where the wheel stands */
    ngx_uint_t                      items;   /* in the wheel or in batches */
    ngx_uint_t                      allocated;
    ngx_http_predictive_item_t     *free_items;
    ngx_http_predictive_item_t     *wheel[NGX_HTTP_PREDICTIVE_WHEEL];

    ngx_msec_t                      bad_ms;  /* a bad reply was logged */
    ngx_uint_t                      bad;
};


/* _lease.c */

/* on_error: how requests are decided of which the store says nothing. */
prd_lease_mode_e ngx_http_predictive_store_away(
    ngx_http_predictive_zone_t *zone);

/*
 * Parks the request with a question about a key (PRD_LEASE_CLIENT, _PARENT), or
 * decides it without.  `spent`: how much of `wait` is gone, in ms.
 */
void ngx_http_predictive_store_ask(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part, unsigned key, ngx_msec_t spent);

/* The last answer has come, or is no longer waited for. */
void ngx_http_predictive_store_finish(ngx_http_predictive_ctx_t *ctx);


/* _lease_batch.c */

/*
 * Room in the open batch of the tag's group, which goes at the end of this
 * iteration of the event loop; NULL: no memory.
 */
ngx_http_predictive_query_t *ngx_http_predictive_lease_query(
    ngx_http_predictive_lease_t *lease, uint64_t tag);

/* Of lease->flush and lease->hold. */
void ngx_http_predictive_lease_flush(ngx_event_t *ev);
void ngx_http_predictive_lease_hold(ngx_event_t *ev);


/* _lease_wheel.c */

/* Keys of a part that somebody must look after, part->answer.due. */
void ngx_http_predictive_lease_due(ngx_http_predictive_part_t *part);

/*
 * NULL: no memory, or too many.  What is leased for the key then becomes void
 * when it is old, and what is owed waits for its next question.
 */
ngx_http_predictive_item_t *ngx_http_predictive_lease_item(
    ngx_http_predictive_lease_t *lease);

/* The first look: at the next tick, or where a limit is exact, at its time. */
void ngx_http_predictive_lease_first(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item);

/* PRD_EAGAIN: the engine has more to do with the key. */
void ngx_http_predictive_lease_keep(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item, prd_rc_t rc);

/* Now; `leaving`: all that is held goes back. */
void ngx_http_predictive_lease_turn(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item, ngx_uint_t leaving);

/* Of lease->tick. */
void ngx_http_predictive_lease_tick(ngx_event_t *ev);


#endif /* _NGX_HTTP_PREDICTIVE_LEASE_H_INCLUDED_ */
