
/*
 * A zone in numbers, which JSON and Prometheus tell alike.
 */


#include <math.h>

#include "ngx_http_predictive_api.h"


const char  *ngx_http_predictive_ages[PRD_AGES] = {
    "0", "1-2", "3-7", "8-31", "32-127", "128+"
};


void
ngx_http_predictive_api_numbers(ngx_http_predictive_zone_t *zone,
    ngx_http_predictive_numbers_t *n)
{
    double        left, missed, bounded;
    uint64_t      newcomer;
    ngx_uint_t    i;
    prd_view_t   *view;
    prd_zone_t   *z;

    view = &zone->view;
    z = view->zone;

    n->clients = (double) prd_zone_clients(view);
    n->active = (double) atomic_load_explicit(&z->active,
                                              memory_order_relaxed);
    n->slots = prd_zone_slots(view);
    n->bytes = (double) z->size;
    n->last_tick_s = (double) atomic_load_explicit(&z->last_tick_s,
                                                   memory_order_relaxed);

    left = (double) z->learn_since_s + zone->params.warmup_s
           - (double) ngx_time();
    n->warmup_s = zone->params.learn != PRD_LEARN_OFF ? ngx_max(left, 0) : NAN;

    newcomer = atomic_load_explicit(&z->newcomer, memory_order_relaxed);
    n->newcomer_rate = (double) prd_env_decode(prd_env_rate_code(newcomer))
                       / PRD_RATE_ONE;
    n->newcomer_depth = (double) prd_env_decode(prd_env_depth_code(newcomer))
                        / z->unit;

    n->capacity = NAN;
    n->fill = NAN;

    if (zone->policy.pool.capacity) {
        n->capacity = (double) zone->policy.pool.capacity / PRD_RATE_ONE;
        n->fill = (double) prd_pool_level(
                               atomic_load_explicit(&z->pool,
                                                    memory_order_relaxed),
                               (uint32_t) ngx_current_msec)
                  / PRD_POOL_FULL;
    }

    n->nodes = NAN;
    n->overshoot = NAN;

    if (zone->store) {
        n->nodes = ngx_max(atomic_load_explicit(&z->nodes,
                                                memory_order_relaxed), 1);
        n->overshoot = ngx_http_predictive_zone_overshoot(zone);
    }

    n->actual = NAN;
    n->forecast = NAN;
    n->upper = NAN;
    n->forecast_coverage = NAN;
    n->relative_loss = NAN;

    if (z->ratio > 0) {
        n->actual = z->last;
        n->forecast = z->level;
        n->upper = z->level * z->ratio;
    }

    if (z->pinball_n > 0) {
        n->forecast_coverage = z->covered / z->pinball_n;
    }

    if (z->pinball_last > 0) {
        n->relative_loss = z->pinball / z->pinball_last;
    }

    n->blocks = 0;
    missed = 0;
    bounded = 0;

    for (i = 0; i < PRD_AGES; i++) {
        n->blocks += z->pooled.closed[i];
        missed += z->pooled.missed[i];
        bounded += z->pooled.bounded[i];
    }

    n->coverage = n->blocks > 0 ? 1 - missed / n->blocks : NAN;
    n->bounded_coverage = n->blocks > 0 ? 1 - bounded / n->blocks : NAN;
}
