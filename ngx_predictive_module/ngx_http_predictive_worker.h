
/*
 * What the files about the worker share, for these alone: _worker.c (a worker's
 * start and exit), _worker_control.c (what all processes of a master share, and
 * who learns), _worker_thread.c (the forecasting thread).
 */


#ifndef _NGX_HTTP_PREDICTIVE_WORKER_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_WORKER_H_INCLUDED_


#include "ngx_http_predictive_module.h"

#include <pthread.h>


#define NGX_HTTP_PREDICTIVE_RENEW     100       /* ms, of the lease */

#define NGX_HTTP_PREDICTIVE_MESSAGES  16
#define NGX_HTTP_PREDICTIVE_TEXT      500

#define ngx_http_predictive_lease(generation, pid)                            \
    ((uint64_t) (generation) << 40 | (uint64_t) (pid))
#define ngx_http_predictive_lease_pid(lease)                                  \
    ((ngx_pid_t) ((lease) & 0xffffffffff))


/*
 * Shared by all processes of a master, in all its cycles.  A process may be
 * killed between any two stores: a lease without a living holder is taken
 * over, and every other field is either a statistic or checked against the
 * lease.
 */

typedef struct {
    uint64_t          magic;

    /* generation 24 | pid 40 of the holder, 0: nobody; by CAS */
    _Atomic uint64_t  lease;

    /*
     * Until when (monotonic ms) the lease is good.  The holder stores, who
     * wants to take over swaps by CAS first: of several only one gets on.
     */
    _Atomic uint64_t  expiry_ms;

    /* the newest cycle that has workers; only grows (but for its wrap) */
    _Atomic uint64_t  generation;

    /* by the holder, relaxed */
    _Atomic uint64_t  holders;            /* how often the lease was taken */
    _Atomic uint64_t  rounds;
    _Atomic uint64_t  round_ns;           /* CPU of the last round */
    _Atomic uint64_t  saved_ms;           /* monotonic */
    _Atomic uint64_t  saved_round;

    /* what this node is called in stores; drawn with the zone, not 0 */
    uint64_t          node;

    /* pids of the owners of counters, by CAS; 0 = free */
    _Atomic uint64_t  slots[PRD_WORKERS];
} ngx_http_predictive_control_t;


/* What the thread has to say, in process memory. */

typedef struct {
    ngx_uint_t        level;
    ngx_err_t         err;
    char              text[NGX_HTTP_PREDICTIVE_TEXT];
} ngx_http_predictive_message_t;


struct ngx_http_predictive_worker_s {
    ngx_http_predictive_main_conf_t  *pmcf;
    ngx_http_predictive_control_t    *control;
    uint64_t                          generation;  /* of this cycle */

    /* of this process */
    uint64_t                          lease;       /* our word */
    ngx_uint_t                        slot;        /* of counters */
    ngx_connection_t                 *connection;  /* the eventfd */
    int                               fd;

    pthread_t                         thread;
    pthread_mutex_t                   mutex;       /* guards stop */
    pthread_mutex_t                   learning;    /* guards learned records
                                                    * of zones with a store;
                                                    * the worker only tries */
    pthread_cond_t                    cond;
    ngx_uint_t                        stop;

    /* of the thread */
    ngx_uint_t                        held;
    ngx_uint_t                        failing;     /* saves: said so */
    ngx_uint_t                        later;       /* saves: not ours now */
    uint64_t                          renewed_ms;
    uint64_t                          rested_us;   /* until then */
    uint64_t                          piece_us;    /* of work, till a rest */
    time_t                            second;      /* of the last round */

    /* one writer, one reader: head by the thread, tail by the worker */
    _Atomic uint32_t                  head;
    _Atomic uint32_t                  tail;
    ngx_http_predictive_message_t     messages[NGX_HTTP_PREDICTIVE_MESSAGES];

    unsigned                          running:1;
    unsigned                          claimed:1;
};


/* _worker_control.c */

/*
 * The clock of ngx_current_msec, read afresh: nginx takes CLOCK_MONOTONIC,
 * truncated to milliseconds, on every system that has an eventfd.
 */
uint64_t ngx_http_predictive_clock_ms(void);

/*
 * A set of counters of our own: a free one, else a dead process's.  Those
 * that find none share the last.  Counters outlive their owners.
 */
void ngx_http_predictive_claim_slot(ngx_http_predictive_worker_t *w);

/* A cycle has workers; the threads of older ones let go of the lease. */
void ngx_http_predictive_raise(ngx_http_predictive_control_t *control,
    uint64_t generation);

/* In the thread: are there workers of a newer cycle? */
ngx_uint_t ngx_http_predictive_newer(ngx_http_predictive_worker_t *w);

/*
 * In the thread: takes the lease if nobody holds it, its holder is dead, or it
 * has not been renewed in time (stopped, or out of CPU).
 */
void ngx_http_predictive_acquire(ngx_http_predictive_worker_t *w);
void ngx_http_predictive_release(ngx_http_predictive_worker_t *w);

/*
 * Asked before each piece of work: 1 when the lease is another's by now, so
 * that a process that was stopped, or starved, does no more.  What slips
 * through when it is stopped right after the question is one piece: every
 * store in it is either atomic with the slot's generation or repaired by the
 * next bin.  Renews, and rests where it is time to.
 */
int ngx_http_predictive_fenced(void *data);


/* _worker_thread.c */

void *ngx_http_predictive_thread(void *data);

/* In the thread, between pieces of work: lets the worker have its core. */
void ngx_http_predictive_rest(ngx_http_predictive_worker_t *w);

/* In the thread: a line for the worker's log; dropped when the ring is full. */
void ngx_http_predictive_say(ngx_http_predictive_worker_t *w,
    ngx_uint_t level, ngx_err_t err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));


#endif /* _NGX_HTTP_PREDICTIVE_WORKER_H_INCLUDED_ */
