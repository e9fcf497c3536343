
/*
 * What the files of the sharing of a store's zones (_share.c, _share_*.c)
 * share, and nobody else.  All of it is of one process, and but for what is
 * marked so only its worker is at it.
 */


#ifndef _NGX_HTTP_PREDICTIVE_SHARE_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_SHARE_H_INCLUDED_


#include <ngx_event.h>

#include "ngx_http_predictive_redis.h"
#include "prd_home.h"
#include "prd_merge.h"


#define NGX_HTTP_PREDICTIVE_OTHERS  16           /* tables read in one */


typedef struct ngx_http_predictive_crew_s  ngx_http_predictive_crew_t;
typedef struct ngx_http_predictive_part_of_s
    ngx_http_predictive_part_of_t;


/* A store, as its nodes are concerned. */

struct ngx_http_predictive_crew_s {
    ngx_http_predictive_store_t    *store;
    ngx_http_predictive_share_t    *share;
    ngx_str_t                       key;         /* of the live nodes */
    prd_nodes_t                     nodes;       /* alive, as last heard */
    uint64_t                        homes;       /* groups, ours */
    int64_t                         ahead_s;     /* its clock, of ours */
    ngx_msec_t                      asked;
    ngx_msec_t                      heard;
    ngx_msec_t                      since;       /* without a gap */
    ngx_http_predictive_call_t     *call;
    unsigned                        known:1;     /* heard of, lately */
    unsigned                        once:1;      /* asked at all */
};


/* Another node, as its tables are concerned. */

typedef struct {
    uint64_t                        id;          /* 0: free */
    ngx_msec_t                      at;
    prd_merge_seen_t                seen;
} ngx_http_predictive_other_t;


/* A zone with a store. */

struct ngx_http_predictive_part_of_s {
    ngx_http_predictive_zone_t     *zone;
    ngx_http_predictive_crew_t     *crew;
    ngx_http_predictive_share_t    *share;
    ngx_str_t                       prefix;      /* PREFIX:1:{ZONE: */

    /* the pool */
    prd_pool_tick_t                 pool;
    ngx_msec_t                      pool_at;
    ngx_http_predictive_call_t     *pool_call;

    /* records changed by the thread, a bit a slot; by both, atomic */
    _Atomic uint64_t               *changed;
    uint16_t                       *loaded;      /* a version a slot */
    ngx_uint_t                      words;
    ngx_uint_t                      scan;

    /* taking: groups of this bin that are not done, and being asked */
    uint64_t                        bin;
    uint64_t                        todo;
    uint64_t                        asking;
    uint32_t                        budget[PRD_NODE_GROUPS];
    ngx_queue_t                     takes;
    ngx_uint_t                      ntakes;

    /* publishing: slots by group, in a cluster; else all in the first */
    struct {
        ngx_uint_t                  n;
        uint32_t                    slot[PRD_HOME_KEYS];
    }                               batch[PRD_NODE_GROUPS];
    ngx_queue_t                     puts;
    ngx_uint_t                      nputs;

    /* pooled tables */
    prd_merge_own_t                *own;
    ngx_http_predictive_other_t    *others;      /* OTHERS of them */
    ngx_uint_t                      next_other;  /* where the turn begins */
    ngx_uint_t                      nasked;
    uint64_t                        asked[NGX_HTTP_PREDICTIVE_OTHERS];
    ngx_msec_t                      tables_at;
    ngx_msec_t                      tables_wait;
    ngx_http_predictive_call_t     *tables_call;
    unsigned                        begun:1;     /* others' are known */
    unsigned                        adopted:1;

    ngx_uint_t                      no_slot;     /* since it was last said */
    ngx_msec_t                      no_slot_at;
};


struct ngx_http_predictive_share_s {
    ngx_http_predictive_main_conf_t  *pmcf;
    ngx_cycle_t                    *cycle;
    uint64_t                        node;
    u_char                          hex[16];
    uint16_t                        short_id;
    ngx_event_t                     turn;
    ngx_array_t                     crews;
    ngx_array_t                     parts;

    ngx_http_predictive_script_t    script_node;
    ngx_http_predictive_script_t    script_pool;
    ngx_http_predictive_script_t    script_table;
    ngx_http_predictive_script_t    script_take;
    ngx_http_predictive_script_t    script_publish;

    unsigned                        hosting:1;
};


/* An exchange about clients, while it is under way. */

typedef struct {
    ngx_queue_t                     queue;
    ngx_http_predictive_part_of_t  *part;
    ngx_http_predictive_call_t     *call;        /* NULL: answered */
    ngx_uint_t                      group;
    size_t                          len;         /* of a reply that waits */
    u_char                         *reply;       /* for the lock */
    ngx_uint_t                      n;
    uint32_t                        slot[PRD_HOME_KEYS];
    uint64_t                        tag[PRD_HOME_KEYS];
} ngx_http_predictive_exchange_t;


/* _share_crew.c */

/* The crew of a store, made by the first who asks; NULL without memory. */
ngx_http_predictive_crew_t *ngx_http_predictive_share_crew(
    ngx_http_predictive_share_t *share, ngx_http_predictive_store_t *store);

/* In each turn, as all below: what is due. */
void ngx_http_predictive_share_live(ngx_http_predictive_crew_t *crew);

/* A number of a reply, as an integer or as digits; 0: it is none. */
uint64_t ngx_http_predictive_share_number(redisReply *r);


/* _share_pool.c */

void ngx_http_predictive_share_pool(ngx_http_predictive_part_of_t *part);


/* _share_home.c */

/* Replies that waited for the lock, counts to be asked for, records that the
 * thread has changed. */
void ngx_http_predictive_share_waiting(ngx_http_predictive_part_of_t *part);
void ngx_http_predictive_share_take(ngx_http_predictive_part_of_t *part);
void ngx_http_predictive_share_publish(ngx_http_predictive_part_of_t *part);

/* In the thread: the record of a slot is to be published; data is the part. */
void ngx_http_predictive_share_changed(void *data, uint32_t slot);

/* Ends the exchanges that are under way. */
void ngx_http_predictive_share_drop(ngx_http_predictive_part_of_t *part);


/* _share_tables.c */

void ngx_http_predictive_share_tables(ngx_http_predictive_part_of_t *part);


static ngx_inline void
ngx_http_predictive_share_cancel(ngx_http_predictive_call_t **call)
{
    if (*call) {
        ngx_http_predictive_redis_cancel(*call);
        *call = NULL;
    }
}


#endif /* _NGX_HTTP_PREDICTIVE_SHARE_H_INCLUDED_ */
