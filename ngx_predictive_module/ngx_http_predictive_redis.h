
/*
 * Redis as the rest of the module sees it: `predictive_store` blocks and
 * commands to them.  Everything here is called in a worker, in its event
 * loop; nothing waits.
 *
 * A worker has one connection to each Redis that it needs, and pipelines.
 * What is asked for within one iteration of the event loop is written
 * together at its end.
 */


#ifndef _NGX_HTTP_PREDICTIVE_REDIS_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <hiredis/hiredis.h>

#include "prd_hash.h"

#include "ngx_http_predictive_json.h"
#include "ngx_http_predictive_module.h"


typedef enum {
    NGX_HTTP_PREDICTIVE_SINGLE = 0,
    NGX_HTTP_PREDICTIVE_CLUSTER,
    NGX_HTTP_PREDICTIVE_SENTINEL
} ngx_http_predictive_mode_e;


typedef enum {
    NGX_HTTP_PREDICTIVE_ON_ERROR_LOCAL = 0,
    NGX_HTTP_PREDICTIVE_ON_ERROR_PASS,
    NGX_HTTP_PREDICTIVE_ON_ERROR_REJECT
} ngx_http_predictive_on_error_e;


typedef struct ngx_http_predictive_topology_s
    ngx_http_predictive_topology_t;
typedef struct ngx_http_predictive_store_sh_s
    ngx_http_predictive_store_sh_t;


/*
 * A `predictive_store`, read only once it is configured, but for what is
 * marked.  zone->store points here.
 */

struct ngx_http_predictive_store_s {
    ngx_str_t                        name;
    ngx_str_t                        prefix;      /* of keys: "prd" */
    prd_secret_t                     secret;      /* of its zones' hashes */
    ngx_http_predictive_mode_e       mode;
    ngx_http_predictive_on_error_e   on_error;
    ngx_uint_t                       nodes;       /* of ours, until they are
                                                   * counted; at least 1 */
    ngx_msec_t                       sync;        /* a tick */
    ngx_msec_t                       wait;        /* of a parked request */
    ngx_msec_t                       timeout;     /* of a command */
    ngx_msec_t                       connect_timeout;

    ngx_array_t                      servers;     /* ngx_http_predictive_
                                                   * server_t */
    ngx_str_t                        master;      /* name for the sentinels */
    ngx_str_t                        username;
    ngx_str_t                        password;
    ngx_uint_t                       database;

#if (NGX_SSL)
    ngx_ssl_t                       *ssl;         /* NULL: plain */
#endif
    ngx_str_t                        ssl_name;    /* empty: the host */
    ngx_flag_t                       ssl_verify;

    ngx_http_predictive_main_conf_t *main;
    ngx_resolver_t                  *resolver;    /* NULL: none configured */
    ngx_msec_t                       resolver_timeout;
    u_char                          *file;        /* where it was written */
    ngx_uint_t                       line;

    ngx_shm_zone_t                  *shm_zone;
    ngx_http_predictive_store_sh_t  *sh;          /* statistics, shared */

    ngx_http_predictive_topology_t  *topology;    /* per process */
    unsigned                         used:1;      /* a zone or pool has it */
};


/* A script: its body, and its SHA-1 in hex, by _script_init(). */

typedef struct {
    ngx_str_t                        body;
    u_char                           sha[40];
} ngx_http_predictive_script_t;

void ngx_http_predictive_script_init(ngx_http_predictive_script_t *script,
    const char *body, size_t len);


typedef enum {
    NGX_HTTP_PREDICTIVE_REPLY_OK = 0,
    NGX_HTTP_PREDICTIVE_REPLY_ERROR,    /* the server said no: not executed,
                                         * or a script stopped midway */
    NGX_HTTP_PREDICTIVE_REPLY_TIMEOUT,  /* written, no reply in time: it may
                                         * have been, or yet be, executed */
    NGX_HTTP_PREDICTIVE_REPLY_LOST,     /* written, then the connection was
                                         * lost: it may have been executed */
    NGX_HTTP_PREDICTIVE_REPLY_DOWN      /* never written: not executed */
} ngx_http_predictive_reply_e;


/* What a handler is given; valid only while it runs. */

typedef struct {
    ngx_http_predictive_reply_e      status;
    redisReply                      *reply;       /* NULL unless OK; a nested
                                                   * error may be in it */
    ngx_str_t                        error;       /* of ERROR: the server's
                                                   * text */
} ngx_http_predictive_answer_t;

typedef void (*ngx_http_predictive_reply_pt)(void *data,
    ngx_http_predictive_answer_t *answer);


/*
 * A command under way.  The handle is good until `handler` has returned; after
 * a TIMEOUT with `late` set, until `late` has returned.
 *
 * late: NULL, or set by the caller as long as the handle is good.  Called once
 * after a TIMEOUT, with OK or ERROR when the reply comes after all, with LOST
 * when it is known that none will come.
 */

typedef struct {
    ngx_http_predictive_reply_pt     handler;
    ngx_http_predictive_reply_pt     late;
    void                            *data;
} ngx_http_predictive_call_t;


/*
 * EVALSHA; EVAL, when the server does not know the script.  argv holds nkeys
 * keys and then the arguments; they and the body are copied or outlive the
 * process.  In a cluster all keys must have one hash tag, and nkeys must not
 * be 0.
 *
 * The handler is called exactly once, at the latest after `timeout`
 * milliseconds, and never before this function has returned.
 * Returns NULL without memory; the handler is not called then.
 */
ngx_http_predictive_call_t *ngx_http_predictive_redis_eval(
    ngx_http_predictive_store_t *store, ngx_http_predictive_script_t *script,
    ngx_uint_t nkeys, ngx_str_t *argv, ngx_uint_t argc, ngx_msec_t timeout,
    ngx_http_predictive_reply_pt handler, void *data);

/* Any command.  argv[key] tells a cluster's shard; -1: any of its masters. */
ngx_http_predictive_call_t *ngx_http_predictive_redis_command(
    ngx_http_predictive_store_t *store, ngx_int_t key, ngx_str_t *argv,
    ngx_uint_t argc, ngx_msec_t timeout, ngx_http_predictive_reply_pt handler,
    void *data);

/* Neither `handler` nor `late` is called any more.  What has been written is
 * executed all the same. */
void ngx_http_predictive_redis_cancel(ngx_http_predictive_call_t *call);

/* 1: a call is worth the wait; 0: it would fail at once, decide without. */
ngx_uint_t ngx_http_predictive_redis_up(ngx_http_predictive_store_t *store);

/* The same for the shard of a key. */
ngx_uint_t ngx_http_predictive_redis_up_key(
    ngx_http_predictive_store_t *store, ngx_str_t *key);

/*
 * Tries to write what is queued, now.  For exit_process, where no event loop
 * follows: what does not fit into the socket's buffer is lost, and no handler
 * is called any more.
 */
void ngx_http_predictive_redis_flush(ngx_http_predictive_store_t *store);

/* The hash slot, 0..16383, of a key of a Redis cluster. */
ngx_uint_t ngx_http_predictive_redis_slot(const u_char *key, size_t len);

/* Now, of the clock that ngx_current_msec has its milliseconds from. */
uint64_t ngx_http_predictive_clock_us(void);


/* _store.c */

char *ngx_http_predictive_store(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* The store of a name, or NULL (not declared so far). */
ngx_http_predictive_store_t *ngx_http_predictive_find_store(
    ngx_http_predictive_main_conf_t *pmcf, ngx_str_t *name);

/* In a worker, after it has its slot of counters (_worker.c). */
ngx_int_t ngx_http_predictive_stores_init(
    ngx_http_predictive_main_conf_t *pmcf, ngx_cycle_t *cycle,
    ngx_uint_t slot);
void ngx_http_predictive_stores_exit(ngx_http_predictive_main_conf_t *pmcf);

/* Of ngx_http_predictive_mode_e, as they are written; NULL at the end. */
extern const char *const  ngx_http_predictive_modes[];


/* _store_status.c */

/* "stores" of /status, with its braces; families of /metrics. */
void ngx_http_predictive_stores_json(ngx_http_predictive_main_conf_t *pmcf,
    ngx_http_predictive_json_t *json);
void ngx_http_predictive_stores_metrics(ngx_http_predictive_main_conf_t *pmcf,
    ngx_http_predictive_json_t *json);


#endif /* _NGX_HTTP_PREDICTIVE_REDIS_H_INCLUDED_ */
