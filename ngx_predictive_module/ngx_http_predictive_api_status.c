
/*
 * /status: the module, the forecasting thread, stores and memory.
 */


#include <math.h>
#include <nginx.h>

#include "ngx_http_predictive_api.h"
#include "ngx_http_predictive_redis.h"


#if defined(__clang__)
#define NGX_HTTP_PREDICTIVE_COMPILER  __VERSION__
#elif defined(__GNUC__)
#define NGX_HTTP_PREDICTIVE_COMPILER  "GCC " __VERSION__
#else
#define NGX_HTTP_PREDICTIVE_COMPILER  "unknown"
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NGX_HTTP_PREDICTIVE_ASAN  1
#elif __has_feature(thread_sanitizer)
#define NGX_HTTP_PREDICTIVE_TSAN  1
#endif
#endif

#if (NGX_HTTP_PREDICTIVE_ASAN || __SANITIZE_ADDRESS__)
#define NGX_HTTP_PREDICTIVE_SANITIZER  "address"
#elif (NGX_HTTP_PREDICTIVE_TSAN || __SANITIZE_THREAD__)
#define NGX_HTTP_PREDICTIVE_SANITIZER  "thread"
#else
#define NGX_HTTP_PREDICTIVE_SANITIZER  NULL
#endif


static void ngx_http_predictive_api_build(ngx_http_predictive_json_t *json);
static void ngx_http_predictive_api_forecaster(
    ngx_http_predictive_api_t *api);


void
ngx_http_predictive_api_status(ngx_http_predictive_api_t *api)
{
    ngx_uint_t                       i;
    ngx_core_conf_t                 *ccf;
    ngx_http_predictive_json_t      *json;
    ngx_http_predictive_zone_t     **zones;
    ngx_http_predictive_loc_conf_t  *plcf;

    json = &api->json;

    plcf = ngx_http_get_module_loc_conf(api->request,
                                        ngx_http_predictive_module);
    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_text(json, "version", PRD_VERSION_STR);
    ngx_http_predictive_json_text(json, "nginx", NGINX_VER);

    ngx_http_predictive_api_build(json);

    ngx_http_predictive_json_uint(json, "time", ngx_time());
    ngx_http_predictive_json_uint(json, "uptime_seconds",
                                  ngx_max(ngx_time() - plcf->api, 0));
    ngx_http_predictive_json_uint(json, "workers",
                                  ccf->master ? ccf->worker_processes : 1);
    ngx_http_predictive_json_uint(json, "pid", ngx_pid);

    ngx_http_predictive_api_forecaster(api);

    ngx_http_predictive_stores_json(api->main, json);

    ngx_http_predictive_json_open(json, "memory", '{');
    ngx_http_predictive_json_open(json, "zones", '{');

    zones = api->main->zones.elts;

    for (i = 0; i < api->main->zones.nelts; i++) {
        if (zones[i]->view.zone) {
            ngx_http_predictive_json_key(json, &zones[i]->name);
            ngx_http_predictive_api_memory(json, NULL, zones[i]);
        }
    }

    ngx_http_predictive_json_close(json, '}');
    ngx_http_predictive_json_close(json, '}');
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_api_build(ngx_http_predictive_json_t *json)
{
    const char  *sanitizer;

    sanitizer = NGX_HTTP_PREDICTIVE_SANITIZER;

    ngx_http_predictive_json_open(json, "build", '{');
    ngx_http_predictive_json_text(json, "compiler",
                                  NGX_HTTP_PREDICTIVE_COMPILER);

    if (sanitizer) {
        ngx_http_predictive_json_text(json, "sanitizer", sanitizer);

    } else {
        ngx_http_predictive_json_null(json, "sanitizer");
    }

#if (NGX_DEBUG)
    ngx_http_predictive_json_bool(json, "debug", 1);
#else
    ngx_http_predictive_json_bool(json, "debug", 0);
#endif

    ngx_http_predictive_json_uint(json, "layout", PRD_LAYOUT);
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_api_forecaster(ngx_http_predictive_api_t *api)
{
    double                              tick;
    uint64_t                            clients;
    ngx_uint_t                          i;
    ngx_http_predictive_json_t         *json;
    ngx_http_predictive_zone_t        **zones;
    ngx_http_predictive_numbers_t       n;
    ngx_http_predictive_thread_info_t   info;

    json = &api->json;

    ngx_http_predictive_thread_info(api->main, &info);

    zones = api->main->zones.elts;
    clients = 0;
    tick = 0;

    for (i = 0; i < api->main->zones.nelts; i++) {
        if (zones[i]->view.zone) {
            ngx_http_predictive_api_numbers(zones[i], &n);
            clients += (uint64_t) n.clients;
            tick = ngx_max(tick, n.last_tick_s);
        }
    }

    ngx_http_predictive_json_open(json, "forecaster", '{');

    if (info.pid) {
        ngx_http_predictive_json_uint(json, "pid", info.pid);

    } else {
        ngx_http_predictive_json_null(json, "pid");
    }

    ngx_http_predictive_json_uint(json, "generation", info.generation);
    ngx_http_predictive_json_number(json, "age_seconds", info.age_ms / 1000.0);
    ngx_http_predictive_json_number(json, "last_tick", tick > 0 ? tick : NAN);
    ngx_http_predictive_json_float(json, "tick_seconds", info.tick_s);
    ngx_http_predictive_json_uint(json, "rounds", info.rounds);
    ngx_http_predictive_json_uint(json, "takeovers", info.takeovers);
    ngx_http_predictive_json_uint(json, "tracked_clients", clients);
    ngx_http_predictive_json_close(json, '}');
}
