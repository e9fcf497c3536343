
/*
 * What the files about links (_link.h), _cluster.c, _sentinel.c and _store.c
 * share, and nobody else: links (connections to one Redis each), the topology
 * that says which link a command takes, and a store's statistics.
 *
 * Links, calls and topologies are of one process.
 */


#ifndef _NGX_HTTP_PREDICTIVE_CLUSTER_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_CLUSTER_H_INCLUDED_


#include <ngx_event.h>
#include <ngx_event_connect.h>

#include <stdatomic.h>

#include "ngx_http_predictive_redis.h"


#define NGX_HTTP_PREDICTIVE_SLOTS       16384

/* of a link: what is outstanding, or a call fails at once */
#define NGX_HTTP_PREDICTIVE_CALLS       4096
#define NGX_HTTP_PREDICTIVE_BYTES       (4 * 1024 * 1024)

/* of a reply; a cluster's map may be larger */
#define NGX_HTTP_PREDICTIVE_REPLY       (1024 * 1024)
#define NGX_HTTP_PREDICTIVE_MAP         (8 * 1024 * 1024)
#define NGX_HTTP_PREDICTIVE_ELEMENTS    262144

/* milliseconds */
#define NGX_HTTP_PREDICTIVE_BACKOFF     50
#define NGX_HTTP_PREDICTIVE_BACKOFF_MAX 2000
#define NGX_HTTP_PREDICTIVE_SILENCE     2000     /* then another connection */
#define NGX_HTTP_PREDICTIVE_IDLE        1000     /* then a PING */

#define NGX_HTTP_PREDICTIVE_ASK_TROUBLE 250      /* between two questions */
#define NGX_HTTP_PREDICTIVE_ASK_MASTER  1000

#define NGX_HTTP_PREDICTIVE_FAILURES    5        /* timeouts in a row */
#define NGX_HTTP_PREDICTIVE_REDIRECTS   8
#define NGX_HTTP_PREDICTIVE_LINKS       1024
#define NGX_HTTP_PREDICTIVE_SCRIPTS     16


/* A `server` line. */

typedef struct {
    ngx_str_t                          text;      /* as written */
    ngx_str_t                          host;
    in_port_t                          port;
    ngx_addr_t                        *addrs;
    ngx_uint_t                         naddrs;
    ngx_uint_t                         line;
    unsigned                           literal:1; /* address, not a name */
} ngx_http_predictive_server_t;


/* Counters and gauges of one worker; whoever has its slot writes, relaxed. */

typedef struct {
    _Atomic uint64_t                   pid;       /* 0: nobody */
    _Atomic uint64_t                   up;
    _Atomic uint64_t                   commands;  /* written for callers */
    _Atomic uint64_t                   replies;
    _Atomic uint64_t                   errors;    /* replies that were */
    _Atomic uint64_t                   timeouts;
    _Atomic uint64_t                   lost;      /* by their connection */
    _Atomic uint64_t                   refused;   /* never written */
    _Atomic uint64_t                   redirects; /* MOVED and ASK */
    _Atomic uint64_t                   connects;
    _Atomic uint64_t                   failures;  /* of connections */
    _Atomic uint64_t                   opens;     /* of breakers */
    _Atomic uint64_t                   latency_us;  /* moving average */
    _Atomic uint64_t                   max_us;      /* in this minute */
    _Atomic uint64_t                   max_before_us; /* in the last one */
    _Atomic uint64_t                   minute;
} ngx_http_predictive_stat_t;


#define NGX_HTTP_PREDICTIVE_STORE_MAGIC  0x7072647231ull    /* "prdr1" */

struct ngx_http_predictive_store_sh_s {
    uint64_t                           magic;
    ngx_http_predictive_stat_t         stats[PRD_WORKERS + 1];
};


#define ngx_http_predictive_count(topology, what)                             \
    (void) atomic_fetch_add_explicit(&(topology)->stat->what, 1,              \
                                     memory_order_relaxed)


typedef enum {
    NGX_HTTP_PREDICTIVE_LINK_CLOSED = 0,
    NGX_HTTP_PREDICTIVE_LINK_RESOLVING,
    NGX_HTTP_PREDICTIVE_LINK_CONNECTING,
    NGX_HTTP_PREDICTIVE_LINK_HANDSHAKE,
    NGX_HTTP_PREDICTIVE_LINK_SETUP,             /* AUTH, SELECT, PING */
    NGX_HTTP_PREDICTIVE_LINK_READY
} ngx_http_predictive_link_e;


/*
 * The breaker of a link.  OPEN: calls fail at once.  HALF: one that failed
 * has answered a probe; the next failure opens it again, a reply that is no
 * failure closes it.
 */

typedef enum {
    NGX_HTTP_PREDICTIVE_BREAKER_CLOSED = 0,
    NGX_HTTP_PREDICTIVE_BREAKER_HALF,
    NGX_HTTP_PREDICTIVE_BREAKER_OPEN
} ngx_http_predictive_breaker_e;


typedef struct ngx_http_predictive_link_s     ngx_http_predictive_link_t;
typedef struct ngx_http_predictive_command_s  ngx_http_predictive_command_t;


/* A call and its bytes.  It is in one queue at a time. */

struct ngx_http_predictive_command_s {
    ngx_http_predictive_call_t         call;      /* must be the first */

    ngx_queue_t                        queue;
    ngx_http_predictive_topology_t    *topology;
    ngx_http_predictive_link_t        *link;      /* NULL: in none of one */
    ngx_http_predictive_script_t      *script;    /* NULL: no EVAL */
    ngx_event_t                        timer;

    uint64_t                           sent_us;
    uint64_t                           seq;       /* on its link */
    ngx_int_t                          slot;      /* of a cluster, or -1 */
    ngx_uint_t                         redirects;
    ngx_uint_t                         nargs;     /* all of them */

    unsigned                           own:1;     /* the client's, not a
                                                   * caller's */
    unsigned                           written:1; /* at least in part; a
                                                   * reply shows whether it
                                                   * was executed */
    unsigned                           asking:1;  /* ASKING goes before... */
    unsigned                           skip:1;    /* and so does its reply */
    unsigned                           body:1;    /* EVAL rather than
                                                   * EVALSHA */
    unsigned                           expired:1; /* TIMEOUT was told */
    unsigned                           running:1; /* its handler is */

    size_t                             len;
    u_char                             data[];    /* arguments; of an EVAL
                                                   * those after the script */
};


struct ngx_http_predictive_link_s {
    ngx_queue_t                        queue;     /* topology->links */
    ngx_http_predictive_topology_t    *topology;

    ngx_str_t                          name;      /* HOST:PORT */
    ngx_str_t                          host;
    in_port_t                          port;
    ngx_http_predictive_server_t      *server;    /* NULL: not configured */
    ngx_uint_t                         addr;      /* of the server's */
    ngx_sockaddr_t                     sockaddr;
    socklen_t                          socklen;   /* 0: not known */
    ngx_resolver_ctx_t                *resolving;

    ngx_http_predictive_link_e         state;
    ngx_http_predictive_breaker_e      breaker;
    ngx_connection_t                  *connection;
    ngx_log_t                          log;
    redisReader                       *reader;
    redisReplyObjectFunctions         *plain;     /* hiredis' own */
    redisReplyObjectFunctions          functions; /* the same within bounds */
    size_t                             elements;  /* of the reply that is */
    size_t                             bytes;     /* being read */

    ngx_queue_t                        waiting;   /* for the link, and to be
                                                   * written */
    ngx_queue_t                        sent;      /* for their replies */
    ngx_uint_t                         ncalls;    /* in both */
    size_t                             size;      /* of both */
    uint64_t                           seq;       /* of the last written */

    struct {
        ngx_http_predictive_script_t  *script;
        uint64_t                       seq;       /* sent with body */
        unsigned                       missing:1; /* not known since */
    } scripts[NGX_HTTP_PREDICTIVE_SCRIPTS];

    u_char                            *out;       /* to be written: */
    size_t                             out_pos;   /* from here */
    size_t                             out_last;  /* to here */
    size_t                             out_size;

    ngx_event_t                        flush;     /* posted */
    ngx_event_t                        timer;     /* of the state: attempt,
                                                   * pause, probe, silence */
    ngx_uint_t                         failures;  /* in a row */
    ngx_msec_t                         backoff;
    ngx_msec_t                         ready_ms;  /* since */
    ngx_msec_t                         heard_ms;
    ngx_msec_t                         probe_ms;  /* when open and ready */
    ngx_msec_t                         said_ms;   /* an error: which, when */
    u_char                             said[32];

    ngx_uint_t                         nslots;    /* of a cluster's master */
    ngx_uint_t                         tried;     /* topology->tries, when it
                                                   * was last to be asked */
    ngx_msec_t                         retired_ms;

    ngx_http_predictive_link_t        *named;     /* of a sentinel: who is the
                                                   * master; NULL: not told */
    ngx_msec_t                         tried_ms;  /* to be connected to it */

    unsigned                           sentinel:1;
    unsigned                           asked:1;   /* a sentinel, who; whoever
                                                   * was named, its ROLE */
    unsigned                           odd:1;     /* said so: it names another
                                                   * one, or is no master */
    unsigned                           wanted:1;  /* connect again when it
                                                   * is lost */
    unsigned                           retired:1; /* to be freed */
    unsigned                           failed:1;  /* said so, until it is
                                                   * ready again */
    unsigned                           literal:1; /* the host is an address */
    unsigned                           stale:1;   /* resolve it anew */
    unsigned                           nauth:1;   /* a sentinel wants AUTH */
    unsigned                           setback:1; /* to be closed when its
                                                   * handler has returned */
    unsigned                           unable:1;  /* it answers, but cannot
                                                   * serve: LOADING, OOM */
};


struct ngx_http_predictive_topology_s {
    ngx_http_predictive_store_t       *store;
    ngx_http_predictive_stat_t        *stat;
    ngx_log_t                         *log;

    ngx_queue_t                        links;
    ngx_http_predictive_link_t        *master;    /* single, sentinel */
    ngx_http_predictive_link_t       **slots;     /* cluster: 16384 */

    ngx_queue_t                        pending;   /* calls before the first
                                                   * map or master is known */
    ngx_uint_t                         npending;
    ngx_queue_t                        failed;    /* to be told so */
    ngx_queue_t                        retry;     /* after a pause */
    ngx_event_t                        fail;      /* posted */
    ngx_event_t                        again;     /* of `retry` */
    ngx_event_t                        refresh;   /* of map and master */

    ngx_http_predictive_link_t        *asked;     /* of the map */
    ngx_http_predictive_link_t        *source;    /* the sentinel that is
                                                   * asked, and agrees */
    ngx_http_predictive_link_t        *candidate; /* master, if it is one */
    ngx_uint_t                         tries;
    ngx_uint_t                         failures;  /* to say, in a row */
    unsigned                           known:1;
    unsigned                           tried:1;   /* one attempt has failed:
                                                   * `pending` no more */
    unsigned                           due:1;     /* ask as soon as a link is
                                                   * ready */
    unsigned                           said:1;    /* that nobody knows the
                                                   * map or master */
    unsigned                           doubt:1;   /* a sentinel named another
                                                   * one: all are asked */
    unsigned                           closing:1;
};


/* links and calls */

ngx_http_predictive_link_t *ngx_http_predictive_link_create(
    ngx_http_predictive_topology_t *topology, ngx_str_t *host,
    in_port_t port, ngx_http_predictive_server_t *server);
void ngx_http_predictive_link_connect(ngx_http_predictive_link_t *link);
ngx_uint_t ngx_http_predictive_link_up(ngx_http_predictive_link_t *link);

/* Ends the connection and, not told so elsewhere, all its calls. */
void ngx_http_predictive_link_close(ngx_http_predictive_link_t *link);
void ngx_http_predictive_link_free(ngx_http_predictive_link_t *link);

/* Puts a command into a link's queue, and fails it if that cannot be. */
void ngx_http_predictive_link_send(ngx_http_predictive_link_t *link,
    ngx_http_predictive_command_t *command);

/* A command of our own, to this very link.  NULL without memory. */
ngx_http_predictive_command_t *ngx_http_predictive_link_command(
    ngx_http_predictive_link_t *link, ngx_str_t *argv, ngx_uint_t argc,
    ngx_msec_t timeout, ngx_http_predictive_reply_pt handler, void *data);

/* Tells the owner later in this iteration: never written. */
void ngx_http_predictive_command_fail(ngx_http_predictive_command_t *command);

/* Tells it now, and frees the command, which is in no queue any more. */
void ngx_http_predictive_command_done(ngx_http_predictive_command_t *command,
    ngx_http_predictive_reply_e status, redisReply *reply, ngx_str_t *error);


/* Takes the first one off a queue that is of no link; NULL: it is empty. */

static ngx_inline ngx_http_predictive_command_t *
ngx_http_predictive_command_take(ngx_queue_t *queue)
{
    ngx_queue_t  *q;

    if (ngx_queue_empty(queue)) {
        return NULL;
    }

    q = ngx_queue_head(queue);
    ngx_queue_remove(q);

    return ngx_queue_data(q, ngx_http_predictive_command_t, queue);
}


/* All links of a topology, one after the other; NULL: no more. */

static ngx_inline ngx_http_predictive_link_t *
ngx_http_predictive_link_at(ngx_http_predictive_topology_t *topology,
    ngx_queue_t *q)
{
    return q == ngx_queue_sentinel(&topology->links)
           ? NULL : ngx_queue_data(q, ngx_http_predictive_link_t, queue);
}


static ngx_inline ngx_http_predictive_link_t *
ngx_http_predictive_link_first(ngx_http_predictive_topology_t *topology)
{
    return ngx_http_predictive_link_at(topology,
                                       ngx_queue_head(&topology->links));
}


static ngx_inline ngx_http_predictive_link_t *
ngx_http_predictive_link_next(ngx_http_predictive_link_t *link)
{
    return ngx_http_predictive_link_at(link->topology,
                                       ngx_queue_next(&link->queue));
}


/* _cluster.c: which link */

ngx_int_t ngx_http_predictive_topology_init(
    ngx_http_predictive_topology_t *topology);
void ngx_http_predictive_topology_exit(
    ngx_http_predictive_topology_t *topology);

/* Sends a command where it belongs, or fails it. */
void ngx_http_predictive_topology_route(
    ngx_http_predictive_topology_t *topology,
    ngx_http_predictive_command_t *command);
ngx_uint_t ngx_http_predictive_topology_up(
    ngx_http_predictive_topology_t *topology, ngx_int_t slot);

/*
 * A reply that is an error: NGX_OK when the command was taken over to be sent
 * again, NGX_DECLINED when its owner is to be told.
 */
ngx_int_t ngx_http_predictive_topology_error(
    ngx_http_predictive_link_t *link, ngx_http_predictive_command_t *command,
    ngx_str_t *text);

/*
 * A link became ready; it was lost, or its breaker opened; a breaker closed.
 * None frees a link: they are called in the midst of its events.
 */
void ngx_http_predictive_topology_ready(ngx_http_predictive_link_t *link);
void ngx_http_predictive_topology_lost(ngx_http_predictive_link_t *link);
void ngx_http_predictive_topology_gauge(
    ngx_http_predictive_topology_t *topology);

/* Asks in that time at the latest; not before that time. */
void ngx_http_predictive_topology_schedule(
    ngx_http_predictive_topology_t *topology, ngx_msec_t ms);
void ngx_http_predictive_topology_later(
    ngx_http_predictive_topology_t *topology, ngx_msec_t ms);

/* There is an answer, and commands go where it says; there is none for now,
 * and those that wait for the first one fail. */
void ngx_http_predictive_topology_known(
    ngx_http_predictive_topology_t *topology);
void ngx_http_predictive_topology_nobody(
    ngx_http_predictive_topology_t *topology);

/* The link to a server, made if there is none.  NULL: no memory, too many, or
 * no name of one. */
ngx_http_predictive_link_t *ngx_http_predictive_topology_find(
    ngx_http_predictive_topology_t *topology, ngx_str_t *host,
    in_port_t port);

/* Replies to what is under way are still waited for. */
void ngx_http_predictive_topology_retire(ngx_http_predictive_link_t *link);


/* _sentinel.c: who is the master */

/* Asks whoever is to be asked. */
void ngx_http_predictive_sentinel_ask(
    ngx_http_predictive_topology_t *topology);

/* The master serves, and nobody names another one. */
ngx_uint_t ngx_http_predictive_sentinel_calm(
    ngx_http_predictive_topology_t *topology);

/* As topology_ready() and _lost(). */
void ngx_http_predictive_sentinel_ready(ngx_http_predictive_link_t *link);
void ngx_http_predictive_sentinel_lost(ngx_http_predictive_link_t *link);


#endif /* _NGX_HTTP_PREDICTIVE_CLUSTER_H_INCLUDED_ */
