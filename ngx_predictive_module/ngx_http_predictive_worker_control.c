
/*
 * What all processes of a master share, in all its cycles, apart from zones:
 * which of them learns, who owns which counters, what this node is called.
 *
 * The one that holds the lease learns.  It lives in a small control zone that
 * outlives reloads.
 */


#include "ngx_http_predictive_worker.h"

#include <sys/random.h>


#define NGX_HTTP_PREDICTIVE_CONTROL   0x7072646332ull       /* "prdc2" */

/* milliseconds */
#define NGX_HTTP_PREDICTIVE_LEASE     600
#define NGX_HTTP_PREDICTIVE_FSYNC     10000     /* a slow disk may take that */

#define NGX_HTTP_PREDICTIVE_GENERATIONS  0xffffff           /* 24 bits */


static ngx_int_t ngx_http_predictive_control_init(ngx_shm_zone_t *shm_zone,
    void *data);


/* a name that no zone of a configuration has */
static ngx_str_t  ngx_http_predictive_control_name =
    ngx_string(" ngx_http_predictive_control");


uint64_t
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


void
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


/* `generation` is newer than `than`; they wrap after 16 million reloads. */

static ngx_uint_t
ngx_http_predictive_is_newer(uint64_t generation, uint64_t than)
{
    return generation != than
           && ((generation - than) & NGX_HTTP_PREDICTIVE_GENERATIONS)
              < NGX_HTTP_PREDICTIVE_GENERATIONS / 2;
}


void
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


ngx_uint_t
ngx_http_predictive_newer(ngx_http_predictive_worker_t *w)
{
    return ngx_http_predictive_is_newer(atomic_load(&w->control->generation),
                                        w->generation);
}


void
ngx_http_predictive_acquire(ngx_http_predictive_worker_t *w)
{
    uint64_t                        now, lease, was, expiry;
    ngx_uint_t                      i;
    const char                     *why;
    ngx_http_predictive_zone_t    **zones;
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

    /* who had it before us may have been us, and others since */

    zones = w->pmcf->zones.elts;

    for (i = 0; i < w->pmcf->zones.nelts; i++) {
        if (zones[i]->forecaster) {
            prd_forecaster_resume(zones[i]->forecaster);
        }
    }

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


void
ngx_http_predictive_release(ngx_http_predictive_worker_t *w)
{
    uint64_t  lease;

    lease = w->lease;
    (void) atomic_compare_exchange_strong(&w->control->lease, &lease, 0);

    w->held = 0;
}


int
ngx_http_predictive_fenced(void *data)
{
    ngx_http_predictive_worker_t *w = data;

    uint64_t  now;

    ngx_http_predictive_rest(w);

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
