
/*
 * The forecasting thread: a round over all zones each second, a save when it
 * is time.
 *
 * In it run engine code, state_save() and libc, nothing else of nginx: no log,
 * no memory pools, no cached time.
 */


#include "ngx_http_predictive_worker.h"

#include <stdarg.h>
#include <sys/resource.h>
#include <sys/syscall.h>


#define NGX_HTTP_PREDICTIVE_POLL      50        /* ms */
#define NGX_HTTP_PREDICTIVE_NICE      5

/* us; the least piece of work, and the least rest after it */
#define NGX_HTTP_PREDICTIVE_PIECE     100
#define NGX_HTTP_PREDICTIVE_REST      50

/* a piece is such a part of the rest before it */
#define NGX_HTTP_PREDICTIVE_SHARE     3


static void ngx_http_predictive_lower(void);
static uint64_t ngx_http_predictive_clock_us(void);
static void ngx_http_predictive_round(ngx_http_predictive_worker_t *w,
    struct timespec *now);
static void ngx_http_predictive_save(ngx_http_predictive_worker_t *w);
static void ngx_http_predictive_wait(ngx_http_predictive_worker_t *w,
    ngx_msec_t ms);


void *
ngx_http_predictive_thread(void *data)
{
    ngx_http_predictive_worker_t *w = data;

    ngx_uint_t       stop;
    ngx_msec_t       ms;
    struct timespec  ts;

    ngx_http_predictive_lower();

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


/*
 * A round may take tenths of a second of CPU, and no request may wait for it:
 * it has ten seconds to be done, the worker that shares its core has not.  So
 * the thread is nice (in Linux a thread has a priority of its own), never
 * takes the core from the worker when it wakes (SCHED_BATCH), and does not keep
 * it for the milliseconds that a scheduler would give it: see _rest().  Not
 * SCHED_IDLE: a worker that is always busy would leave it nothing.
 */

static void
ngx_http_predictive_lower(void)
{
    int    prio;
    pid_t  tid;

#ifdef SCHED_BATCH
    struct sched_param  param;

    ngx_memzero(&param, sizeof(struct sched_param));
    (void) pthread_setschedparam(pthread_self(), SCHED_BATCH, &param);
#endif

    tid = (pid_t) syscall(SYS_gettid);
    errno = 0;
    prio = getpriority(PRIO_PROCESS, (id_t) tid);

    if (errno == 0) {
        prio = ngx_min(prio + NGX_HTTP_PREDICTIVE_NICE, 19);
        (void) setpriority(PRIO_PROCESS, (id_t) tid, prio);
    }
}


static uint64_t
ngx_http_predictive_clock_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


void
ngx_http_predictive_rest(ngx_http_predictive_worker_t *w)
{
    uint64_t         now;
    struct timespec  ts;

    now = ngx_http_predictive_clock_us();

    if (now - w->rested_us < w->piece_us) {
        return;
    }

    ts.tv_sec = 0;
    ts.tv_nsec = NGX_HTTP_PREDICTIVE_REST * 1000;

    (void) nanosleep(&ts, NULL);

    /*
     * On a core that is never idle it was the worker's whole turn, some
     * milliseconds.  A piece as long as elsewhere would leave us a fortieth of
     * the core; a third of the rest is what a nice thread has anyway.
     */

    w->rested_us = ngx_http_predictive_clock_us();
    w->piece_us = ngx_max((w->rested_us - now) / NGX_HTTP_PREDICTIVE_SHARE,
                          NGX_HTTP_PREDICTIVE_PIECE);
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

    /* that was a rest, too */

    w->rested_us = ngx_http_predictive_clock_us();
    w->piece_us = NGX_HTTP_PREDICTIVE_PIECE;
}


void
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
