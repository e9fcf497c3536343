
/*
 * A worker's start and exit.
 *
 * Each worker runs a thread; the one that holds the lease learns for all
 * zones, the others look every 50 ms whether it is still there.  Here it is
 * started and joined, and what it has to say is logged: it writes to a ring,
 * and an eventfd wakes the worker.
 */


#include "ngx_http_predictive_worker.h"

#include <ngx_event.h>

#include "ngx_http_predictive_redis.h"

#include <sys/eventfd.h>


#define NGX_HTTP_PREDICTIVE_JOIN  10000          /* ms */


static ngx_int_t ngx_http_predictive_attach(ngx_http_predictive_worker_t *w,
    ngx_cycle_t *cycle);
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
 * 270 kB a zone, of which a worker that does not forecast touches nothing:
 * fresh pages of the system, where ngx_pcalloc() would write to them.
 */

static prd_forecaster_t *
ngx_http_predictive_forecaster(ngx_cycle_t *cycle)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->data = calloc(1, sizeof(prd_forecaster_t));
    if (cln->data == NULL) {
        return NULL;
    }

    cln->handler = free;

    return cln->data;
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

        prd_digest_init(&zone->digest_key, &mem->secret);

        if (ngx_http_predictive_key_init(zone, cycle) != NGX_OK) {
            return NGX_ERROR;
        }

        if (zone->forecaster == NULL) {
            zone->forecaster = ngx_http_predictive_forecaster(cycle);
            if (zone->forecaster == NULL) {
                return NGX_ERROR;
            }
        }

        zone->forecaster->fenced = ngx_http_predictive_fenced;
        zone->forecaster->data = w;
    }

    return NGX_OK;
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


void
ngx_http_predictive_learn_hold(ngx_http_predictive_main_conf_t *pmcf)
{
    (void) pthread_mutex_lock(&pmcf->worker->learning);
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
