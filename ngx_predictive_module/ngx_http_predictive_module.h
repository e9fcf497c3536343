
/*
 * Shared by the module's files: configuration, zones, a request's state.
 *
 * Owners: configuration structures belong to a cycle; views and the thread's
 * scratch belong to a process and live in its cycle's memory; a request's
 * state lives in its memory pool and is found by its cleanup handler, since
 * internal redirects wipe r->ctx.
 */


#ifndef _NGX_HTTP_PREDICTIVE_MODULE_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "prd_decide.h"
#include "prd_forecaster.h"
#include "prd_identity.h"
#include "prd_params.h"
#include "prd_parse.h"
#include "prd_profile.h"
#include "prd_run.h"
#include "prd_zone.h"

#include "ngx_http_predictive_compat.h"


#define NGX_HTTP_PREDICTIVE_HEADERS_OFF     0
#define NGX_HTTP_PREDICTIVE_HEADERS_DRAFT   1
#define NGX_HTTP_PREDICTIVE_HEADERS_LEGACY  2
#define NGX_HTTP_PREDICTIVE_HEADERS_BOTH    3


typedef struct ngx_http_predictive_main_conf_s
    ngx_http_predictive_main_conf_t;
typedef struct ngx_http_predictive_store_s  ngx_http_predictive_store_t;
typedef struct ngx_http_predictive_lease_s  ngx_http_predictive_lease_t;
typedef struct ngx_http_predictive_batch_s  ngx_http_predictive_batch_t;
typedef struct ngx_http_predictive_query_s  ngx_http_predictive_query_t;


/* A `predictive_zone`; shm_zone->data points here. */

typedef struct {
    ngx_http_predictive_main_conf_t  *main;

    ngx_str_t                  name;
    ngx_str_t                  quoted;       /* as an sf-string and in JSON */
    ngx_shm_zone_t            *shm_zone;
    size_t                     size;         /* as written: for clients */

    ngx_http_complex_value_t   key;
    ngx_int_t                  key_index;    /* a variable alone, or -1 */
    ngx_str_t                  field;        /* "name" where that is $http_name,
                                              * or empty; per process */
    u_char                    *dashed;       /* the same with "-" for "_" */
    ngx_http_complex_value_t  *rate;         /* NULL: constant */
    ngx_http_complex_value_t  *burst;
    ngx_http_complex_value_t  *cost;
    ngx_http_complex_value_t  *charge;
    ngx_http_complex_value_t  *class_;
    ngx_http_complex_value_t  *newcomer;

    prd_params_t               params;
    prd_policy_t               policy;       /* ready after postconfiguration */
    uint64_t                   burst_max;    /* of its limits, tokens */
    ngx_http_predictive_store_t  *store;     /* NULL: this host alone */

    u_char                    *file;         /* where it was written */
    ngx_uint_t                 line;

    /* per process: attached in init_zone, and to own counters in
     * init_process; the thread uses the same view but for `credit` */
    prd_view_t                 view;
    prd_forecaster_t          *forecaster;
    ngx_http_predictive_lease_t  *lease;     /* questions to the store; see
                                              * _lease.c */

    unsigned                   fresh:1;      /* not inherited: may load state */
    unsigned                   variable:1;   /* more than the key must be
                                              * evaluated for a request */

    /* per process: requests in a row of one client, and what ends that when
     * the worker has handled all that is at hand */
    prd_run_t                  run;
    ngx_event_t                run_end;
    uint32_t                   run_seen;     /* run.n when that came last */
    uint64_t                   run_tag;      /* of the key that comes again */
    size_t                     run_len;      /* and again: its length, 0 */
    prd_digest_t               run_digest;   /* none, and digest */
    prd_digest_key_t           digest_key;

    /* per process: requests since the zone was last reported full */
    ngx_msec_t                 full_ms;
    ngx_uint_t                 full;
} ngx_http_predictive_zone_t;

_Static_assert(_Alignof(ngx_http_predictive_zone_t) <= NGX_ALIGNMENT,
               "a zone lies in a pool");


typedef struct ngx_http_predictive_worker_s  ngx_http_predictive_worker_t;
typedef struct ngx_http_predictive_state_s   ngx_http_predictive_state_t;
typedef struct ngx_http_predictive_share_s   ngx_http_predictive_share_t;


struct ngx_http_predictive_main_conf_s {
    ngx_array_t                    zones;    /* ngx_http_predictive_zone_t * */
    ngx_array_t                    stores;   /* ngx_http_predictive_store_t * */
    ngx_shm_zone_t                *control;  /* lease, worker slots, messages;
                                              * NULL without zones */
    ngx_http_predictive_worker_t  *worker;   /* per process; see _worker.h */
    ngx_http_predictive_state_t   *state;    /* NULL: no predictive_state */
    ngx_http_predictive_share_t   *share;    /* per process; NULL: no zone has
                                              * a store */

    ngx_array_t                    limits;   /* ngx_http_predictive_loc_conf_t
                                              * that have own `predictive` */
    ngx_array_t                    texts;    /* with variables, see
                                              * ngx_http_predictive_compile */
    ngx_int_t                      request_id; /* index of $request_id */
};


/* One `predictive` directive. */

typedef struct {
    ngx_http_predictive_zone_t  *zone;
    ngx_http_complex_value_t    *condition;  /* if=, NULL: always */
    prd_ask_t                    ask;        /* what is the same for all
                                              * requests; ready after
                                              * postconfiguration */
    prd_limit_params_t           params;
    unsigned                     variable:1; /* if=, or the zone's */

    u_char                      *file;
    ngx_uint_t                   line;
    ngx_shm_zone_t              *shm_zone;   /* its zone may be declared
                                              * further down */
} ngx_http_predictive_limit_t;


typedef struct {
    ngx_array_t   limits;                    /* ngx_http_predictive_limit_t */
    ngx_uint_t    log_level;
    ngx_uint_t    delay_log_level;
    ngx_uint_t    status_code;
    ngx_uint_t    headers;
    ngx_flag_t    dry_run;
    ngx_flag_t    problem;
    ngx_flag_t    api;                 /* when it was read, s; 0: none */
    ngx_flag_t    api_exact;           /* in a location of one URI */
} ngx_http_predictive_loc_conf_t;


/* One limit's part of a request. */

typedef struct {
    ngx_http_predictive_limit_t  *limit;
    ngx_http_predictive_query_t  *queries[2]; /* to its store: of the
                                              * client, of its newcomer key */
    prd_ask_t                     ask;
    prd_answer_t                  answer;
} ngx_http_predictive_part_t;


/*
 * What is known of a request after its limits were checked.  `shown` is the
 * part the variables describe: the refusing one, else the longest delay, else
 * the first.
 */

typedef struct {
    ngx_pool_cleanup_t            cleanup;   /* of the request's pool, once a
                                              * limit applies */
    ngx_http_predictive_part_t   *parts;
    ngx_uint_t                    nparts;
    ngx_http_predictive_part_t   *shown;     /* NULL: no limit applied */
    prd_answer_t                 *shared;    /* of its newcomer key, where
                                              * that is the reason; or NULL */
    prd_verdict_e                 verdict;
    ngx_msec_t                    delay;
    ngx_uint_t                    retry_after; /* s, of a refusal, jittered;
                                              * 0: see _retry_after() */
    ngx_uint_t                    headers;    /* predictive_headers in force */
    ngx_http_log_handler_pt       log_handler; /* the request's own, while a
                                              * line of ours is written */
    ngx_http_request_t           *request;    /* parked, until it is back in
                                              * the handler */
    ngx_uint_t                    waiting;    /* answers to come */
    ngx_queue_t                   queue;      /* of those to be woken */
    u_char                        dry_run;
    u_char                        refused;    /* the answer is ours */
    u_char                        told;       /* the fields are added */
    u_char                        settled;    /* charge is done */
    u_char                        waking;     /* in a queue of these */
} ngx_http_predictive_ctx_t;


extern ngx_module_t  ngx_http_predictive_module;


/* _module.c */

/* Tokens as level units of a zone; what is too much is the most there is. */
uint32_t ngx_http_predictive_units(ngx_http_predictive_zone_t *zone,
    uint64_t milli);

/*
 * Compiles a text with variables.  Those must exist when all is read: nginx
 * would say which one does not, but no longer in which line it stood.
 */
ngx_int_t ngx_http_predictive_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_complex_value_t *value);

/* Says what prd_params_set() or prd_limit_params_set() has against a text. */
void ngx_http_predictive_bad_parameter(ngx_conf_t *cf, ngx_str_t *text,
    prd_rc_t rc, const char *why);

/* Index of the variable that a text like "$name" is, NGX_DECLINED if it is
 * something else: looked up, it costs less than as a complex value. */
ngx_int_t ngx_http_predictive_variable_index(ngx_conf_t *cf,
    ngx_str_t *text);


/* _handler.c */

ngx_int_t ngx_http_predictive_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_predictive_log_handler(ngx_http_request_t *r);

/* All its answers are there: the parked request goes on.  It, and all that
 * hangs on its connection, may be gone afterwards. */
void ngx_http_predictive_wake(ngx_http_predictive_ctx_t *ctx);

/* A request of these limits is answered so; more than once is no harm. */
void ngx_http_predictive_answered(ngx_http_predictive_ctx_t *ctx,
    ngx_uint_t status);

/* NULL when no limit of ours has seen this request (or its parent) */
ngx_http_predictive_ctx_t *ngx_http_predictive_get_ctx(ngx_http_request_t *r);


/* _key.c */

/*
 * The tag of a request's client in a zone.  NGX_DECLINED: the request is not
 * counted by it; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_predictive_key(ngx_http_request_t *r,
    ngx_http_predictive_zone_t *zone, uint64_t *tag);

/* In a process that is going to answer requests. */
ngx_int_t ngx_http_predictive_key_init(ngx_http_predictive_zone_t *zone,
    ngx_cycle_t *cycle);


/* _variables.c: adds $predictive_*; preconfiguration */

ngx_int_t ngx_http_predictive_add_variables(ngx_conf_t *cf);


/* _headers.c */

/*
 * Puts a header filter in front of all others: it adds RateLimit,
 * RateLimit-Policy and X-RateLimit-* (as predictive_headers said where the
 * limit was) and, to a refusal, Retry-After.  Called in a process that is
 * going to answer requests, when the chain is complete.
 */
void ngx_http_predictive_headers_init(void);

/* Another field of the response; its texts are not copied. */
ngx_int_t ngx_http_predictive_add_header(ngx_http_request_t *r,
    ngx_str_t *name, ngx_str_t *value);

/* Whole tokens that are left of the limit that is shown. */
uint64_t ngx_http_predictive_remaining(ngx_http_predictive_ctx_t *ctx);

/* Seconds after which a refused client should come back; the same each time
 * it is asked. */
ngx_uint_t ngx_http_predictive_retry_after(ngx_http_predictive_ctx_t *ctx);

/*
 * Answers a refusal: with a problem body, where it is wanted and error_page
 * does not say otherwise.  Returns what the preaccess handler returns.
 */
ngx_int_t ngx_http_predictive_refuse(ngx_http_request_t *r,
    ngx_http_predictive_loc_conf_t *plcf, ngx_http_predictive_ctx_t *ctx);


/* _identity.c */

char *ngx_http_predictive_identity(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* _zone.c */

char *ngx_http_predictive_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* The zone of a name, or NULL (not declared so far). */
ngx_http_predictive_zone_t *ngx_http_predictive_find_zone(
    ngx_http_predictive_main_conf_t *pmcf, ngx_str_t *name);

/* The tag of a newcomer= value: of a domain of its own, so that it is never
 * that of a client whose key is the same text. */
uint64_t ngx_http_predictive_parent_tag(ngx_http_predictive_zone_t *zone,
    ngx_str_t *value);

/* For prd_zone_attach(): is there a process of this number? */
int ngx_http_predictive_alive(uint32_t pid);


/* _worker.c: a worker's start and exit */

ngx_int_t ngx_http_predictive_init_module(ngx_cycle_t *cycle);
ngx_int_t ngx_http_predictive_init_process(ngx_cycle_t *cycle);
void ngx_http_predictive_exit_process(ngx_cycle_t *cycle);

/* Walks the whole zone: faults of its table, which must be none; clients and
 * slots just being claimed.  10 ns or so a slot: not at each request. */
ngx_uint_t ngx_http_predictive_check(ngx_http_predictive_zone_t *zone,
    uint32_t *clients, uint32_t *claims);

/*
 * In the worker whose thread learns: keeps it from learned records and pooled
 * tables for the moment.  NGX_AGAIN: it is at them; NGX_DECLINED: another
 * process learns by now.
 */
ngx_int_t ngx_http_predictive_learn_lock(
    ngx_http_predictive_main_conf_t *pmcf);
void ngx_http_predictive_learn_unlock(ngx_http_predictive_main_conf_t *pmcf);

/* In the thread: waits for the worker, which is done in no time. */
void ngx_http_predictive_learn_hold(ngx_http_predictive_main_conf_t *pmcf);


/* _worker_control.c: what all processes share, and which of them learns */

ngx_int_t ngx_http_predictive_control_add(ngx_conf_t *cf,
    ngx_http_predictive_main_conf_t *pmcf);

typedef struct {
    ngx_pid_t   pid;                         /* 0: nobody */
    uint64_t    generation;
    ngx_msec_t  age_ms;                      /* since its last renewal */
    double      tick_s;                      /* CPU of the last round */
    uint64_t    rounds;
    uint64_t    takeovers;
} ngx_http_predictive_thread_info_t;

void ngx_http_predictive_thread_info(ngx_http_predictive_main_conf_t *pmcf,
    ngx_http_predictive_thread_info_t *info);

/*
 * In the thread, between pieces of work: renews the lease; NGX_DECLINED when
 * it is another's by now.  fsync: the next call may be seconds away.
 */
ngx_int_t ngx_http_predictive_keep_lease(
    ngx_http_predictive_main_conf_t *pmcf, ngx_uint_t fsync);

/* This node's name in stores, of the master's life; not 0. */
uint64_t ngx_http_predictive_node(ngx_http_predictive_main_conf_t *pmcf);

/* Does this worker's thread learn for all? */
ngx_uint_t ngx_http_predictive_hosting(ngx_http_predictive_main_conf_t *pmcf);


/* _lease.c: requests and zones of a store */

/*
 * As ngx_http_predictive_decide(), where a limit has a store.  NGX_AGAIN: it
 * is being asked, the caller parks the request; it is woken at the latest when
 * the store's `wait` is over.
 */
ngx_int_t ngx_http_predictive_store_decide(ngx_http_predictive_ctx_t *ctx);

/* A parked request has ended: its answers are nobody's. */
void ngx_http_predictive_store_abandon(ngx_http_predictive_ctx_t *ctx);

/* As prd_unlearn() and prd_settle(), of a part whose zone has a store. */
void ngx_http_predictive_store_deny(ngx_http_predictive_part_t *part);
void ngx_http_predictive_store_settle(ngx_http_predictive_part_t *part,
    uint32_t cost);

/* In a worker, when its zones are attached and its stores are there; before
 * its stores end. */
ngx_int_t ngx_http_predictive_leases_init(
    ngx_http_predictive_main_conf_t *pmcf, ngx_cycle_t *cycle);
void ngx_http_predictive_leases_exit(ngx_http_predictive_main_conf_t *pmcf);

/* Tokens of one client that all nodes may admit beyond its limit. */
double ngx_http_predictive_zone_overshoot(ngx_http_predictive_zone_t *zone);


/* _share.c: what a node does for the zones that have a store */

ngx_int_t ngx_http_predictive_share_init(
    ngx_http_predictive_main_conf_t *pmcf, ngx_cycle_t *cycle);
void ngx_http_predictive_share_stop(ngx_http_predictive_main_conf_t *pmcf);
void ngx_http_predictive_share_exit(ngx_http_predictive_main_conf_t *pmcf);


/* _state.c, _state_load.c, _state_save.c: predictive_state PATH [interval=T] */

char *ngx_http_predictive_state(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * In the master (and under -t), once the zones of a configuration are known:
 * looks whether workers may write PATH, reads and checks what is there; the
 * file stays open until state_close().  A second call does nothing.
 */
ngx_int_t ngx_http_predictive_state_open(
    ngx_http_predictive_main_conf_t *pmcf, ngx_log_t *log);
void ngx_http_predictive_state_close(ngx_http_predictive_main_conf_t *pmcf);

/* Called by init_zone of a fresh zone, in the master (and under -t), before
 * workers run: takes over secret and learned state, of the old cycle's zone
 * if that had another size, else of the file.  NGX_DECLINED: nothing
 * there.  The secret must be known before the zone is laid out, hence two. */
ngx_int_t ngx_http_predictive_state_secret(
    ngx_http_predictive_main_conf_t *pmcf, ngx_str_t *zone, ngx_str_t *key,
    prd_secret_t *secret, ngx_log_t *log);
ngx_int_t ngx_http_predictive_state_load(
    ngx_http_predictive_main_conf_t *pmcf, ngx_http_predictive_zone_t *zone,
    ngx_log_t *log);

/*
 * In the thread: libc only.  Writes all zones to PATH by rename, mode 0600,
 * unless a later process has written it.  Returns NULL or what failed, with
 * errno set.
 */
const char *ngx_http_predictive_state_save(
    ngx_http_predictive_main_conf_t *pmcf, uint64_t now_s, uint32_t now_ms);
ngx_msec_t ngx_http_predictive_state_interval(
    ngx_http_predictive_main_conf_t *pmcf);


/* _outlook.c */

/* The name of the group that a part's client is in; returns its length, 0:
 * none is known. */
size_t ngx_http_predictive_outlook_name(ngx_http_predictive_part_t *part,
    char name[PRD_GROUP_NAME]);


/* _api.c */

char *ngx_http_predictive_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
void ngx_http_predictive_api_merge(ngx_conf_t *cf,
    ngx_http_predictive_loc_conf_t *prev,
    ngx_http_predictive_loc_conf_t *conf);


#endif /* _NGX_HTTP_PREDICTIVE_MODULE_H_INCLUDED_ */
