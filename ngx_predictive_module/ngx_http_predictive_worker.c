
/*
 * Worker start and exit, and the forecasting thread.
 *
 * Each worker runs a thread; the one that holds the lease learns for all
 * zones, the others look every 50 ms whether it is still there.  The lease
 * lives in a small control zone that outlives reloads.  In the thread:
 * engine code, state_save() and libc, nothing else of nginx: no log, no
 * memory pools, no cached time.  What it has to say goes to a ring that the
 * worker logs when an eventfd wakes it.
 */


#include <ngx_event.h>
#include <ngx_http_predictive_module.h>

#include "ngx_http_predictive_redis.h"

#include <pthread.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>


#define NGX_HTTP_PREDICTIVE_CONTROL   0x7072646332ull       /* "prdc2" */

/* milliseconds */
#define NGX_HTTP_PREDICTIVE_LEASE     600
#define NGX_HTTP_PREDICTIVE_RENEW     100
#define NGX_HTTP_PREDICTIVE_POLL      50
#define NGX_HTTP_PREDICTIVE_FSYNC     10000     /* a slow disk may take that */
#define NGX_HTTP_PREDICTIVE_JOIN      10000

#define NGX_HTTP_PREDICTIVE_NICE      5

#define NGX_HTTP_PREDICTIVE_MESSAGES  16
#define NGX_HTTP_PREDICTIVE_TEXT      500

#define NGX_HTTP_PREDICTIVE_GENERATIONS  0xffffff           /* 24 bits */

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
    time_t                            second;      /* of the last round */

    /* one writer, one reader: head by the thread, tail by the worker */
    _Atomic uint32_t                  head;
    _Atomic uint32_t                  tail;
    ngx_http_predictive_message_t     messages[NGX_HTTP_PREDICTIVE_MESSAGES];

    unsigned                          running:1;
    unsigned                          claimed:1;
};


static ngx_int_t ngx_http_predictive_control_init(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_predictive_claim_slot(ngx_http_predictive_worker_t *w);
static ngx_int_t ngx_http_predictive_attach(ngx_http_predictive_worker_t *w,
    ngx_cycle_t *cycle);
static void ngx_http_predictive_raise(ngx_http_predictive_control_t *control,
    uint64_t generation);
static ngx_int_t ngx_http_predictive_start(ngx_http_predictive_worker_t *w,
    ngx_cycle_t *cycle);
static ngx_int_t ngx_http_predictive_create(ngx_http_predictive_worker_t *w,
    ngx_log_t *log);
static void ngx_http_predictive_stop(ngx_http_predictive_worker_t *w);
static void ngx_http_predictive_join(ngx_http_predictive_worker_t *w,
    ngx_cycle_t *cycle);
static void ngx_http_predictive_wakeup(ngx_event_t *rev);
static void ngx_http_predictive_log(ngx_http_predictive_worker_t *w,
    ngx_log_t *log);
static void ngx_http_predictive_flush_files(ngx_cycle_t *cycle);

static void *ngx_http_predictive_thread(void *data);
static ngx_uint_t ngx_http_predictive_newer(ngx_http_predictive_worker_t *w);
static void ngx_http_predictive_acquire(ngx_http_predictive_worker_t *w);
static void ngx_http_predictive_release(ngx_http_predictive_worker_t *w);
static int ngx_http_predictive_fenced(void *data);
static void ngx_http_predictive_round(ngx_http_predictive_worker_t *w,
    struct timespec *now);
static void ngx_http_predictive_save(ngx_http_predictive_worker_t *w);
static void ngx_http_predictive_wait(ngx_http_predictive_worker_t *w,
    ngx_msec_t ms);
static void ngx_http_predictive_say(ngx_http_predictive_worker_t *w,
    ngx_uint_t level, ngx_err_t err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));


/* a name that no zone of a configuration has */
static ngx_str_t  ngx_http_predictive_control_name =
    ngx_string(" ngx_http_predictive_control");


/*
 * The clock of ngx_current_msec, read afresh: nginx takes CLOCK_MONOTONIC,
 * truncated to milliseconds, on every system that has an eventfd.
 */

static uint64_t
ngx_http_predictive_clock_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


ngx_int_t
ngx_http_predictive_control_add(ngx_conf_t *cf,
    ngx_http_predictive_main_conf_t *pmcf)
{
    ngx_shm_zone_t                *shm_zone;
    ngx_http_predictive_worker_t  *w;

    shm_zone = ngx_shared_memory_add(cf, &ngx_http_predictive_control_name,
                                     8 * ngx_pagesize,
                                     &ngx_http_predictive_control_name);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    w = ngx_pcalloc(cf->pool, sizeof(ngx_http_predictive_worker_t));
    if (w == NULL) {
        return NGX_ERROR;
    }

    w->pmcf = pmcf;
    w->fd = -1;

    shm_zone->init = ngx_http_predictive_control_init;
    shm_zone->data = pmcf;

    pmcf->control = shm_zone;
    pmcf->worker = w;

    return NGX_OK;
}


/*
 * In the master.  Nothing that running workers read is changed: the reload
 * may still fail.  The number of this cycle is drawn here, so that all its
 * workers, respawned ones too, have the same; it counts from the first
 * init_process() on.
 */

static ngx_int_t
ngx_http_predictive_control_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_predictive_main_conf_t *opmcf = data;

    uint64_t                          generation;
    ngx_slab_pool_t                  *shpool;
    ngx_http_predictive_worker_t     *w;
    ngx_http_predictive_control_t    *control;
    ngx_http_predictive_main_conf_t  *pmcf;

    pmcf = shm_zone->data;
    w = pmcf->worker;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (opmcf || shm_zone->shm.exists) {
        control = shpool->data;

        if (control == NULL || control->magic != NGX_HTTP_PREDICTIVE_CONTROL) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "predictive: control zone of another version");
            return NGX_ERROR;
        }

    } else {
        control = ngx_slab_calloc(shpool,
                                  sizeof(ngx_http_predictive_control_t));
        if (control == NULL) {
            return NGX_ERROR;
        }

        do {
            if (getrandom(&control->node, sizeof(uint64_t), 0)
                != sizeof(uint64_t))
            {
                ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, ngx_errno,
                              "predictive: getrandom() failed");
                return NGX_ERROR;
            }
        } while (control->node == 0);

        control->magic = NGX_HTTP_PREDICTIVE_CONTROL;
        atomic_store(&control->saved_ms, ngx_http_predictive_clock_ms());
        shpool->data = control;
    }

    generation = atomic_load(&control->generation);

    if (opmcf) {
        /* its workers may not have got to raise it yet */
        generation = ngx_max(generation, opmcf->worker->generation);
    }

    w->control = control;
    w->generation = generation % NGX_HTTP_PREDICTIVE_GENERATIONS + 1;

    return ngx_http_predictive_state_open(pmcf, shm_zone->shm.log);
}


/*
 * A reload without a master process happens in the process that runs the
 * thread, and takes away the zones and the memory pool of the old cycle.
 * (nginx itself has no connections left after such a reload.)
 */

ngx_int_t
ngx_http_predictive_init_module(ngx_cycle_t *cycle)
{
    ngx_cycle_t                      *old;
    ngx_http_predictive_main_conf_t  *pmcf;

    pmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_predictive_module);
    if (pmcf) {
        ngx_http_predictive_state_close(pmcf);
    }

    old = cycle->old_cycle;

    if (ngx_process != NGX_PROCESS_SINGLE || old == NULL
        || ngx_is_init_cycle(old) || ngx_test_config)
    {
        return NGX_OK;
    }

    ngx_http_predictive_exit_process(old);

    return NGX_OK;
}


ngx_int_t
ngx_http_predictive_init_process(ngx_cycle_t *cycle)
{
    ngx_http_predictive_worker_t     *w;
    ngx_http_predictive_main_conf_t  *pmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    pmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_predictive_module);

    if (pmcf == NULL || pmcf->control == NULL) {
        return NGX_OK;
    }

    w = pmcf->worker;
    w->lease = ngx_http_predictive_lease(w->generation, ngx_pid);

    ngx_http_predictive_claim_slot(w);

    if (ngx_http_predictive_attach(w, cycle) != NGX_OK
        || ngx_http_predictive_stores_init(pmcf, cycle, w->slot) != NGX_OK
        || ngx_http_predictive_leases_init(pmcf, cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_predictive_share_init(pmcf, cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_predictive_raise(w->control, w->generation);

    if (ngx_http_predictive_start(w, cycle) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "predictive: the forecasting thread could not be "
                      "started in this worker; limits go on with what has "
                      "been learned so far");
    }

    return NGX_OK;
}


void
ngx_http_predictive_exit_process(ngx_cycle_t *cycle)
{
    uint64_t                          pid;
    ngx_http_predictive_worker_t     *w;
    ngx_http_predictive_main_conf_t  *pmcf;

    pmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_predictive_module);

    if (pmcf == NULL || pmcf->control == NULL) {
        return;
    }

    w = pmcf->worker;

    ngx_http_predictive_leases_exit(pmcf);
    ngx_http_predictive_share_stop(pmcf);
    ngx_http_predictive_stores_exit(pmcf);

    if (w->running) {
        ngx_http_predictive_stop(w);
        ngx_http_predictive_join(w, cycle);
    }

    ngx_http_predictive_share_exit(pmcf);

    if (w->claimed) {
        pid = ngx_pid;
        (void) atomic_compare_exchange_strong(&w->control->slots[w->slot],
                                              &pid, 0);
        w->claimed = 0;
    }
}


/*
 * A set of counters of our own: a free one, else a dead process's.  Those
 * that find none share the last.  Counters outlive their owners.
 */

static void
ngx_http_predictive_claim_slot(ngx_http_predictive_worker_t *w)
{
    uint64_t           was;
    ngx_uint_t         i, dead;
    _Atomic uint64_t  *slots;

    slots = w->control->slots;

    for (dead = 0; dead < 2; dead++) {
        for (i = 0; i < PRD_WORKERS; i++) {
            was = atomic_load(&slots[i]);

            /* our own pid there: we are not the process that wrote it */

            if (was && was != (uint64_t) ngx_pid
                && (!dead || ngx_http_predictive_alive((uint32_t) was)))
            {
                continue;
            }

            if (atomic_compare_exchange_strong(&slots[i], &was, ngx_pid)) {
                w->slot = i;
                w->claimed = 1;
                return;
            }
        }
    }

    w->slot = PRD_WORKERS;
}


static ngx_int_t
ngx_http_predictive_attach(ngx_http_predictive_worker_t *w,
    ngx_cycle_t *cycle)
{
    prd_rc_t                      rc;
    prd_zone_t                   *mem;
    ngx_uint_t                    i;
    ngx_http_predictive_zone_t  **zones, *zone;

    zones = w->pmcf->zones.elts;

    for (i = 0; i < w->pmcf->zones.nelts; i++) {
        zone = zones[i];
        mem = zone->view.zone;

        if (mem == NULL) {
            continue;
        }

        rc = prd_zone_attach(&zone->view, mem, mem->size, &zone->policy,
                             (uint32_t) w->slot, (uint32_t) ngx_pid,
                             ngx_http_predictive_alive);
        if (rc != PRD_OK) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "predictive zone \"%V\": %s", &zone->name,
                          prd_strerror(rc));
            return NGX_ERROR;
        }

        if (zone->forecaster == NULL) {
            zone->forecaster = ngx_pcalloc(cycle->pool,
                                           sizeof(prd_forecaster_t));
            if (zone->forecaster == NULL) {
                return NGX_ERROR;
            }
        }

        zone->forecaster->fenced = ngx_http_predictive_fenced;
        zone->forecaster->data = w;
    }

    return NGX_OK;
}


/* `generation` is newer than `than`; they wrap after 16 million reloads. */

static ngx_uint_t
ngx_http_predictive_is_newer(uint64_t generation, uint64_t than)
{
    return generation != than
           && ((generation - than) & NGX_HTTP_PREDICTIVE_GENERATIONS)
              < NGX_HTTP_PREDICTIVE_GENERATIONS / 2;
}


static void
ngx_http_predictive_raise(ngx_http_predictive_control_t *control,
    uint64_t generation)
{
    uint64_t  was;

    was = atomic_load(&control->generation);

    while (ngx_http_predictive_is_newer(generation, was)
           && !atomic_compare_exchange_weak(&control->generation, &was,
                                            generation))
    {
        /* void */
    }
}


/*
 * The eventfd is an idle connection: when the worker begins to drain,
 * ngx_close_idle_connections() calls its handler.
 */

static ngx_int_t
ngx_http_predictive_start(ngx_http_predictive_worker_t *w,
    ngx_cycle_t *cycle)
{
    ngx_connection_t  *c;

    w->fd = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

    if (w->fd == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "predictive: eventfd() failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(w->fd, cycle->log);

    if (c == NULL) {
        (void) close(w->fd);
        w->fd = -1;
        return NGX_ERROR;
    }

    c->data = w;
    c->idle = 1;
    c->read->handler = ngx_http_predictive_wakeup;
    c->read->log = cycle->log;
    c->write->log = cycle->log;

    w->connection = c;

    if (ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_http_predictive_create(w, cycle->log) != NGX_OK)
    {
        ngx_close_connection(c);
        w->connection = NULL;
        w->fd = -1;
        return NGX_ERROR;
    }

    w->running = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_create(ngx_http_predictive_worker_t *w, ngx_log_t *log)
{
    int                  err;
    sigset_t             set, old;
    pthread_condattr_t   attr;

    err = pthread_mutex_init(&w->mutex, NULL);

    if (err == 0) {
        err = pthread_mutex_init(&w->learning, NULL);
    }

    if (err == 0) {
        err = pthread_condattr_init(&attr);
    }

    if (err == 0) {
        err = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    }

    if (err == 0) {
        err = pthread_cond_init(&w->cond, &attr);
        (void) pthread_condattr_destroy(&attr);
    }

    if (err) {
        ngx_log_error(NGX_LOG_EMERG, log, err,
                      "predictive: pthread_cond_init() failed");
        return NGX_ERROR;
    }

    w->stop = 0;
    w->held = 0;

    /* signals are the worker's, but for those that a fault of ours raises */

    sigfillset(&set);
    sigdelset(&set, SIGSEGV);
    sigdelset(&set, SIGBUS);
    sigdelset(&set, SIGFPE);
    sigdelset(&set, SIGILL);

    (void) pthread_sigmask(SIG_BLOCK, &set, &old);

    err = pthread_create(&w->thread, NULL, ngx_http_predictive_thread, w);

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (err) {
        ngx_log_error(NGX_LOG_EMERG, log, err,
                      "predictive: pthread_create() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_predictive_stop(ngx_http_predictive_worker_t *w)
{
    (void) pthread_mutex_lock(&w->mutex);
    w->stop = 1;
    (void) pthread_cond_signal(&w->cond);
    (void) pthread_mutex_unlock(&w->mutex);
}


/*
 * Waits for the thread, which may be writing its last save.  Should the disk
 * not answer, the process ends at once: the thread works in memory that a
 * regular exit would free under it.
 */

static void
ngx_http_predictive_join(ngx_http_predictive_worker_t *w, ngx_cycle_t *cycle)
{
    int              err;
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += NGX_HTTP_PREDICTIVE_JOIN / 1000;

    err = pthread_timedjoin_np(w->thread, NULL, &ts);

    ngx_http_predictive_log(w, cycle->log);

    if (err) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, err,
                      "predictive: the forecasting thread did not end, "
                      "exiting without it");
        ngx_http_predictive_flush_files(cycle);
        _exit(2);
    }

    w->running = 0;

    if (w->connection) {
        ngx_close_connection(w->connection);
        w->connection = NULL;
        w->fd = -1;
    }

    (void) pthread_cond_destroy(&w->cond);
    (void) pthread_mutex_destroy(&w->mutex);
    (void) pthread_mutex_destroy(&w->learning);
}


static void
ngx_http_predictive_flush_files(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_open_file_t  *file;

    for (part = &cycle->open_files.part; part; part = part->next) {
        file = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (file[i].flush) {
                file[i].flush(&file[i], cycle->log);
            }
        }
    }
}


/*
 * The connection stays open until the thread is joined: a descriptor closed
 * here could be a client's by the time the thread writes to it.
 */

static void
ngx_http_predictive_wakeup(ngx_event_t *rev)
{
    ssize_t                        n;
    uint64_t                       count;
    ngx_connection_t              *c;
    ngx_http_predictive_worker_t  *w;

    c = rev->data;
    w = c->data;

    n = read(c->fd, &count, sizeof(uint64_t));

    (void) n;
    rev->ready = 0;

    ngx_http_predictive_log(w, rev->log);

    if (c->close) {
        ngx_http_predictive_stop(w);
    }
}


static void
ngx_http_predictive_log(ngx_http_predictive_worker_t *w, ngx_log_t *log)
{
    uint32_t                        head, tail;
    ngx_http_predictive_message_t  *m;

    head = atomic_load_explicit(&w->head, memory_order_acquire);
    tail = atomic_load_explicit(&w->tail, memory_order_relaxed);

    for ( /* void */ ; tail != head; tail++) {
        m = &w->messages[tail % NGX_HTTP_PREDICTIVE_MESSAGES];

        ngx_log_error(m->level, log, m->err, "%s", m->text);
    }

    atomic_store_explicit(&w->tail, tail, memory_order_release);
}


/* Here ends what the worker does and begins the thread. */


static void *
ngx_http_predictive_thread(void *data)
{
    ngx_http_predictive_worker_t *w = data;

    int              prio;
    pid_t            tid;
    ngx_uint_t       stop;
    ngx_msec_t       ms;
    struct timespec  ts;

    /*
     * Nice: a round may take tenths of a second of CPU, and no request may
     * wait for it.  It has ten seconds to be done, the worker that shares
     * its core has not.  (In Linux a thread has a priority of its own.)
     */

    tid = (pid_t) syscall(SYS_gettid);
    errno = 0;
    prio = getpriority(PRIO_PROCESS, (id_t) tid);

    if (errno == 0) {
        prio = ngx_min(prio + NGX_HTTP_PREDICTIVE_NICE, 19);
        (void) setpriority(PRIO_PROCESS, (id_t) tid, prio);
    }

    for ( ;; ) {
        (void) pthread_mutex_lock(&w->mutex);
        stop = w->stop;
        (void) pthread_mutex_unlock(&w->mutex);

        if (stop) {
            break;
        }

        if (!w->held) {
            ngx_http_predictive_acquire(w);
        }

        if (w->held && ngx_http_predictive_newer(w)) {
            ngx_http_predictive_release(w);
        }

        if (!w->held || ngx_http_predictive_fenced(w)) {
            ngx_http_predictive_wait(w, NGX_HTTP_PREDICTIVE_POLL);
            continue;
        }

        /* a second other than the last: also when the clock was set */

        (void) clock_gettime(CLOCK_REALTIME, &ts);

        if (ts.tv_sec != w->second) {
            w->second = ts.tv_sec;
            ngx_http_predictive_round(w, &ts);
        }

        if (w->held && w->pmcf->state
            && ngx_http_predictive_clock_ms()
               - atomic_load(&w->control->saved_ms)
               >= ngx_http_predictive_state_interval(w->pmcf))
        {
            ngx_http_predictive_save(w);
        }

        (void) clock_gettime(CLOCK_REALTIME, &ts);

        ms = (1000000000 - ts.tv_nsec) / 1000000 + 1;
        ms = ts.tv_sec != w->second ? 0
                                    : ngx_min(ms, NGX_HTTP_PREDICTIVE_RENEW);

        ngx_http_predictive_wait(w, ms);
    }

    if (w->held && !ngx_http_predictive_fenced(w)) {

        /* after a reload the new workers go on; else this may be the end */

        if (w->pmcf->state && !ngx_http_predictive_newer(w)
            && atomic_load(&w->control->rounds)
               != atomic_load(&w->control->saved_round)
            && ngx_http_predictive_clock_ms()
               - atomic_load(&w->control->saved_ms) >= 1000)
        {
            ngx_http_predictive_save(w);
        }

        ngx_http_predictive_release(w);
    }

    return NULL;
}


static ngx_uint_t
ngx_http_predictive_newer(ngx_http_predictive_worker_t *w)
{
    return ngx_http_predictive_is_newer(atomic_load(&w->control->generation),
                                        w->generation);
}


/*
 * Takes the lease if nobody holds it, its holder is dead, or it has not been
 * renewed in time (stopped, or out of CPU).
 */

static void
ngx_http_predictive_acquire(ngx_http_predictive_worker_t *w)
{
    uint64_t                        now, lease, was, expiry;
    const char                     *why;
    ngx_http_predictive_control_t  *control;

    if (ngx_http_predictive_newer(w)) {
        return;
    }

    control = w->control;

    now = ngx_http_predictive_clock_ms();
    expiry = atomic_load(&control->expiry_ms);
    lease = atomic_load(&control->lease);
    why = NULL;

    /* a word that is ours though we do not hold it: a reused pid, or lost */

    if (lease && lease != w->lease) {

        if (!ngx_http_predictive_alive(
                (uint32_t) ngx_http_predictive_lease_pid(lease)))
        {
            why = "which is gone";

        } else if (now >= expiry) {
            why = "whose lease ran out";

        } else {
            return;
        }
    }

    if (!atomic_compare_exchange_strong(&control->expiry_ms, &expiry,
                                        now + NGX_HTTP_PREDICTIVE_LEASE))
    {
        return;
    }

    was = lease;

    if (!atomic_compare_exchange_strong(&control->lease, &was, w->lease)) {
        return;
    }

    (void) atomic_fetch_add(&control->holders, 1);

    w->held = 1;
    w->renewed_ms = now;
    w->second = 0;

    if (why) {
        ngx_http_predictive_say(w, NGX_LOG_NOTICE, 0,
                                "predictive: forecasting here, taken over "
                                "from process %lu, %s",
                                (u_long) ngx_http_predictive_lease_pid(lease),
                                why);
    } else {
        ngx_http_predictive_say(w, NGX_LOG_NOTICE, 0,
                                "predictive: forecasting here, generation %lu",
                                (u_long) w->generation);
    }
}


static void
ngx_http_predictive_release(ngx_http_predictive_worker_t *w)
{
    uint64_t  lease;

    lease = w->lease;
    (void) atomic_compare_exchange_strong(&w->control->lease, &lease, 0);

    w->held = 0;
}


/*
 * Asked before each piece of work: 1 when the lease is another's by now, so
 * that a process that was stopped, or starved, does no more.  What slips
 * through when it is stopped right after the question is one piece: every
 * store in it is either atomic with the slot's generation or repaired by the
 * next bin.  Renews.
 */

static int
ngx_http_predictive_fenced(void *data)
{
    ngx_http_predictive_worker_t *w = data;

    uint64_t  now;

    if (atomic_load(&w->control->lease) == w->lease) {
        now = ngx_http_predictive_clock_ms();

        if (now - w->renewed_ms < NGX_HTTP_PREDICTIVE_RENEW / 2) {
            return 0;
        }

        atomic_store(&w->control->expiry_ms, now + NGX_HTTP_PREDICTIVE_LEASE);
        w->renewed_ms = now;

        if (atomic_load(&w->control->lease) == w->lease) {
            return 0;
        }
    }

    if (w->held) {
        w->held = 0;
        ngx_http_predictive_say(w, NGX_LOG_NOTICE, 0,
                                "predictive: forecasting was taken over");
    }

    return 1;
}


ngx_int_t
ngx_http_predictive_keep_lease(ngx_http_predictive_main_conf_t *pmcf,
    ngx_uint_t fsync)
{
    ngx_http_predictive_worker_t  *w;

    w = pmcf->worker;

    if (ngx_http_predictive_fenced(w)) {
        return NGX_DECLINED;
    }

    if (fsync) {
        /* the next renewal, soon after it, takes the rest back */
        atomic_store(&w->control->expiry_ms, ngx_http_predictive_clock_ms()
                                             + NGX_HTTP_PREDICTIVE_FSYNC);
        w->renewed_ms = 0;
    }

    return NGX_OK;
}


static uint64_t
ngx_http_predictive_cpu_ns(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}


/* Nights and weekends are those of this host.  nginx's time is not ours. */

static int32_t
ngx_http_predictive_offset_s(time_t now)
{
#if (NGX_HAVE_GMTOFF)
    struct tm  tm;

    if (localtime_r(&now, &tm) != NULL) {
        return (int32_t) tm.tm_gmtoff;
    }
#endif

    return 0;
}


static void
ngx_http_predictive_round(ngx_http_predictive_worker_t *w,
    struct timespec *now)
{
    double                        now_s;
    int32_t                       offset_s;
    uint64_t                      began;
    prd_rc_t                      rc;
    ngx_uint_t                    i;
    ngx_http_predictive_zone_t  **zones;

    now_s = (double) now->tv_sec + (double) now->tv_nsec / 1e9;
    offset_s = ngx_http_predictive_offset_s(now->tv_sec);
    began = ngx_http_predictive_cpu_ns();
    zones = w->pmcf->zones.elts;

    for (i = 0; i < w->pmcf->zones.nelts; i++) {

        if (zones[i]->view.zone == NULL) {
            continue;
        }

        if (ngx_http_predictive_fenced(w)) {
            return;
        }

        (void) pthread_mutex_lock(&w->learning);

        zones[i]->forecaster->outlook.offset_s = offset_s;

        rc = prd_forecaster_round(zones[i]->forecaster, &zones[i]->view,
                                  &zones[i]->policy, now_s,
                                  (uint32_t) ngx_http_predictive_clock_ms());

        (void) pthread_mutex_unlock(&w->learning);

        if (rc == PRD_ESTALE) {
            return;
        }
    }

    atomic_store_explicit(&w->control->round_ns,
                          ngx_http_predictive_cpu_ns() - began,
                          memory_order_relaxed);
    (void) atomic_fetch_add_explicit(&w->control->rounds, 1,
                                     memory_order_relaxed);
}


/* A failure is said once, until a save succeeds. */

static void
ngx_http_predictive_save(ngx_http_predictive_worker_t *w)
{
    uint64_t          round, began;
    const char       *what;
    ngx_err_t         err;
    struct timespec   ts;

    round = atomic_load(&w->control->rounds);
    began = ngx_http_predictive_clock_ms();
    (void) clock_gettime(CLOCK_REALTIME, &ts);

    errno = 0;
    what = ngx_http_predictive_state_save(w->pmcf, (uint64_t) ts.tv_sec,
                                          (uint32_t) began);
    err = errno;

    if (ngx_http_predictive_fenced(w)) {
        return;
    }

    atomic_store(&w->control->saved_ms, began);

    if (what == NULL) {
        atomic_store(&w->control->saved_round, round);

        if (w->failing) {
            ngx_http_predictive_say(w, NGX_LOG_NOTICE, 0,
                                    "predictive_state: saved again");
        }

        w->failing = 0;
        return;
    }

    if (!w->failing) {
        ngx_http_predictive_say(w, err ? NGX_LOG_ERR : NGX_LOG_NOTICE, err,
                                "predictive_state: not saved: %s", what);
    }

    w->failing = 1;
}


static void
ngx_http_predictive_wait(ngx_http_predictive_worker_t *w, ngx_msec_t ms)
{
    struct timespec  ts;

    if (ms == 0) {
        return;
    }

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    ts.tv_nsec += (long) (ms % 1000) * 1000000;
    ts.tv_sec += (time_t) (ms / 1000) + ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;

    (void) pthread_mutex_lock(&w->mutex);

    if (!w->stop) {
        (void) pthread_cond_timedwait(&w->cond, &w->mutex, &ts);
    }

    (void) pthread_mutex_unlock(&w->mutex);
}


/* A line for the worker's log; dropped when the ring is full. */

static void
ngx_http_predictive_say(ngx_http_predictive_worker_t *w, ngx_uint_t level,
    ngx_err_t err, const char *fmt, ...)
{
    va_list                         args;
    ssize_t                         n;
    uint32_t                        head;
    uint64_t                        one;
    ngx_http_predictive_message_t  *m;

    head = atomic_load_explicit(&w->head, memory_order_relaxed);

    if (head - atomic_load_explicit(&w->tail, memory_order_acquire)
        == NGX_HTTP_PREDICTIVE_MESSAGES)
    {
        return;
    }

    m = &w->messages[head % NGX_HTTP_PREDICTIVE_MESSAGES];

    m->level = level;
    m->err = err;

    va_start(args, fmt);
    (void) vsnprintf(m->text, sizeof(m->text), fmt, args);
    va_end(args);

    atomic_store_explicit(&w->head, head + 1, memory_order_release);

    one = 1;
    n = write(w->fd, &one, sizeof(uint64_t));

    (void) n;
}


/* And here it ends. */


void
ngx_http_predictive_learn_hold(ngx_http_predictive_main_conf_t *pmcf)
{
    (void) pthread_mutex_lock(&pmcf->worker->learning);
}


uint64_t
ngx_http_predictive_node(ngx_http_predictive_main_conf_t *pmcf)
{
    return pmcf->worker->control->node;
}


ngx_uint_t
ngx_http_predictive_hosting(ngx_http_predictive_main_conf_t *pmcf)
{
    ngx_http_predictive_worker_t  *w;

    w = pmcf->worker;

    return w->running && atomic_load(&w->control->lease) == w->lease;
}


ngx_int_t
ngx_http_predictive_learn_lock(ngx_http_predictive_main_conf_t *pmcf)
{
    ngx_http_predictive_worker_t  *w;

    w = pmcf->worker;

    if (pthread_mutex_trylock(&w->learning) != 0) {
        return NGX_AGAIN;
    }

    if (ngx_http_predictive_hosting(pmcf)) {
        return NGX_OK;
    }

    (void) pthread_mutex_unlock(&w->learning);

    return NGX_DECLINED;
}


void
ngx_http_predictive_learn_unlock(ngx_http_predictive_main_conf_t *pmcf)
{
    (void) pthread_mutex_unlock(&pmcf->worker->learning);
}


void
ngx_http_predictive_thread_info(ngx_http_predictive_main_conf_t *pmcf,
    ngx_http_predictive_thread_info_t *info)
{
    uint64_t                        lease, expiry, now;
    ngx_http_predictive_control_t  *control;

    ngx_memzero(info, sizeof(ngx_http_predictive_thread_info_t));

    if (pmcf->control == NULL || pmcf->worker->control == NULL) {
        return;
    }

    control = pmcf->worker->control;

    lease = atomic_load(&control->lease);
    expiry = atomic_load(&control->expiry_ms);
    now = ngx_http_predictive_clock_ms() + NGX_HTTP_PREDICTIVE_LEASE;

    info->pid = ngx_http_predictive_lease_pid(lease);
    info->generation = lease >> 40;
    info->age_ms = now > expiry ? (ngx_msec_t) (now - expiry) : 0;
    info->tick_s = (double) atomic_load(&control->round_ns) / 1e9;
    info->rounds = atomic_load(&control->rounds);
    info->takeovers = atomic_load(&control->holders);
    info->takeovers -= info->takeovers > 0;
}


ngx_uint_t
ngx_http_predictive_check(ngx_http_predictive_zone_t *zone,
    uint32_t *clients, uint32_t *claims)
{
    *clients = 0;
    *claims = 0;

    if (zone->view.zone == NULL) {
        return 1;
    }

    return prd_table_check(&zone->view.table, clients, claims);
}
