
/*
 * predictive_api: what the zones hold, as JSON and for Prometheus.  Here are
 * the directive and the way from a path to its resource; each resource is in a
 * file of its own.
 *
 * Everything is read while others write it: single words are whole, sums may
 * be of slightly different moments.  Nothing is written to a zone.
 *
 * No key ever stands in a URL, which ends up in logs: URLs have its keyed hash
 * in hex, and the raw key comes as a body.
 */


#include "ngx_http_predictive_api.h"


typedef void (*ngx_http_predictive_api_pt)(ngx_http_predictive_api_t *api);

typedef struct {
    ngx_str_t                    name;
    ngx_uint_t                   methods;
    ngx_uint_t                   prefix;        /* more may follow */
    ngx_http_predictive_api_pt   handler;
} ngx_http_predictive_route_t;


static ngx_int_t ngx_http_predictive_api_handler(ngx_http_request_t *r);
static void ngx_http_predictive_api_posted(ngx_http_request_t *r);
static ngx_http_predictive_route_t *ngx_http_predictive_api_route(
    ngx_http_predictive_api_t *api);
static ngx_http_predictive_route_t *ngx_http_predictive_api_find(
    ngx_http_predictive_route_t *route, ngx_str_t *path, ngx_str_t *rest);
static ngx_http_predictive_zone_t *ngx_http_predictive_api_zone(
    ngx_http_predictive_main_conf_t *pmcf, ngx_str_t *path);
static void ngx_http_predictive_api_index(ngx_http_predictive_api_t *api);
static void ngx_http_predictive_api_later(ngx_http_predictive_api_t *api);


/* The first that fits; "/" stands for the location itself, too. */

static ngx_http_predictive_route_t  ngx_http_predictive_routes[] = {

    { ngx_string("/"), NGX_HTTP_GET, 0, ngx_http_predictive_api_index },
    { ngx_string("/metrics"), NGX_HTTP_GET, 0, ngx_http_predictive_metrics },
    { ngx_string("/status"), NGX_HTTP_GET, 0, ngx_http_predictive_api_status },
    { ngx_string("/zones"), NGX_HTTP_GET, 0, ngx_http_predictive_api_zones },
    { ngx_string("/zones/"), NGX_HTTP_GET, 0, ngx_http_predictive_api_zones },
    { ngx_string("/pools"), NGX_HTTP_GET, 0, ngx_http_predictive_api_later },
    { ngx_string("/pools/"), NGX_HTTP_GET, 1, ngx_http_predictive_api_later },
    { ngx_null_string, 0, 0, NULL }
};


/* Below /zones/Z */

static ngx_http_predictive_route_t  ngx_http_predictive_zone_routes[] = {

    { ngx_string(""), NGX_HTTP_GET, 0, ngx_http_predictive_api_one },
    { ngx_string("/"), NGX_HTTP_GET, 0, ngx_http_predictive_api_one },
    { ngx_string("/top"), NGX_HTTP_GET, 0, ngx_http_predictive_api_top },
    { ngx_string("/explain"), NGX_HTTP_POST, 0, ngx_http_predictive_explain },
    { ngx_string("/keys/"), NGX_HTTP_GET, 1,
      ngx_http_predictive_explain_hex },
    { ngx_string("/groups"), NGX_HTTP_GET, 0,
      ngx_http_predictive_outlook_groups },
    { ngx_null_string, 0, 0, NULL }
};


char *
ngx_http_predictive_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_predictive_loc_conf_t *plcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (plcf->api) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts > 1) {

        if (ngx_strcmp(value[1].data, "write") == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V %V\" is not supported yet by this "
                               "version (" PRD_VERSION_STR ") of the module",
                               &cmd->name, &value[1]);

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[1]);
        }

        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* where does the path of a resource begin? */

#if (NGX_PCRE)
    if (clcf->regex) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" cannot be used in the location \"%V\", "
                           "which is given by a regular expression",
                           &cmd->name, &clcf->name);
        return NGX_CONF_ERROR;
    }
#endif

    if (clcf->named || clcf->noname) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" cannot be used in the location \"%V\", "
                           "which is named", &cmd->name, &clcf->name);
        return NGX_CONF_ERROR;
    }

    clcf->handler = ngx_http_predictive_api_handler;

    /* when this configuration was read: what /status calls uptime */

    plcf->api = ngx_max((ngx_flag_t) ngx_time(), 1);
    plcf->api_exact = clcf->exact_match;

    return NGX_CONF_OK;
}


/*
 * In what is inside of the location, which is the location still: an "if", and
 * limit_except, which takes the request away from its handler.
 */

void
ngx_http_predictive_api_merge(ngx_conf_t *cf,
    ngx_http_predictive_loc_conf_t *prev, ngx_http_predictive_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->api || prev->api == 0 || !clcf->noname) {
        return;
    }

    conf->api = prev->api;
    conf->api_exact = prev->api_exact;

    if (clcf->lmt_excpt && clcf->handler == NULL) {
        clcf->handler = ngx_http_predictive_api_handler;
    }
}


static ngx_int_t
ngx_http_predictive_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_uint_t                    method;
    ngx_http_predictive_api_t    *api;
    ngx_http_predictive_route_t  *route;

    api = ngx_http_predictive_api_create(r);
    if (api == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    route = ngx_http_predictive_api_route(api);

    if (route != NULL) {
        method = (r->method == NGX_HTTP_HEAD) ? NGX_HTTP_GET : r->method;

        if (method != route->methods) {
            ngx_http_predictive_api_problem(api, NGX_HTTP_NOT_ALLOWED,
                "This resource does not know the method.", 0);

            if (route->methods == NGX_HTTP_POST) {
                ngx_str_set(&api->allow, "POST");

            } else {
                ngx_str_set(&api->allow, "GET, HEAD");
            }

        } else if (method == NGX_HTTP_POST
                   && r->headers_in.content_length_n
                      > NGX_HTTP_PREDICTIVE_API_BODY)
        {
            ngx_http_predictive_api_problem(api,
                NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                "The body, which is a key, has more than 65536 bytes.", 0);

            r->keepalive = 0;

        } else if (method == NGX_HTTP_POST) {
            rc = ngx_http_read_client_request_body(r,
                                              ngx_http_predictive_api_posted);

            if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
                return rc;
            }

            return NGX_DONE;

        } else {
            route->handler(api);
        }
    }

    /* no "100 Continue" for a body that nobody reads */

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_predictive_api_send(api);
}


/*
 * The body is there.  All but it is worked out again: r->ctx belongs to the
 * request's limits.
 */

static void
ngx_http_predictive_api_posted(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_http_predictive_api_t    *api;
    ngx_http_predictive_route_t  *route;

    api = ngx_http_predictive_api_create(r);
    if (api == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    route = ngx_http_predictive_api_route(api);

    if (route != NULL) {
        rc = ngx_http_predictive_api_body(api);

        if (rc == NGX_ERROR) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        if (rc == NGX_OK) {
            route->handler(api);

        } else {
            ngx_http_predictive_api_problem(api,
                NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                "The body, which is a key, has more than 65536 bytes.", 0);
        }
    }

    ngx_http_finalize_request(r, ngx_http_predictive_api_send(api));
}


/* NULL: the answer is that there is no such thing. */

static ngx_http_predictive_route_t *
ngx_http_predictive_api_route(ngx_http_predictive_api_t *api)
{
    ngx_str_t                     path;
    ngx_http_predictive_route_t  *route;

    route = ngx_http_predictive_api_find(ngx_http_predictive_routes,
                                         &api->path, &api->rest);
    if (route != NULL) {
        return route;
    }

    path = api->path;

    if (path.len < 7 || ngx_strncmp(path.data, "/zones/", 7) != 0) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_NOT_FOUND,
                                        "There is no such resource.", 0);
        return NULL;
    }

    path.data += 7;
    path.len -= 7;

    api->zone = ngx_http_predictive_api_zone(api->main, &path);

    if (api->zone == NULL) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_NOT_FOUND,
                                        "There is no such zone.", 0);
        return NULL;
    }

    if (api->zone->view.zone == NULL) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_SERVICE_UNAVAILABLE,
            "The zone is not in use in this process.", 0);
        return NULL;
    }

    route = ngx_http_predictive_api_find(ngx_http_predictive_zone_routes,
                                         &path, &api->rest);
    if (route == NULL) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_NOT_FOUND,
            "The zone has no such resource.", 0);
    }

    return route;
}


static ngx_http_predictive_route_t *
ngx_http_predictive_api_find(ngx_http_predictive_route_t *route,
    ngx_str_t *path, ngx_str_t *rest)
{
    for ( /* void */ ; route->handler; route++) {

        if (path->len < route->name.len
            || (path->len > route->name.len && !route->prefix)
            || ngx_strncmp(path->data, route->name.data, route->name.len) != 0)
        {
            continue;
        }

        rest->data = path->data + route->name.len;
        rest->len = path->len - route->name.len;

        return route;
    }

    return NULL;
}


/*
 * The zone that a path begins with, which is left with what follows the name.
 * A name may have slashes in it: the longest that fits is meant.
 */

static ngx_http_predictive_zone_t *
ngx_http_predictive_api_zone(ngx_http_predictive_main_conf_t *pmcf,
    ngx_str_t *path)
{
    ngx_str_t                    *name;
    ngx_uint_t                    i;
    ngx_http_predictive_zone_t  **zones, *found;

    zones = pmcf->zones.elts;
    found = NULL;

    for (i = 0; i < pmcf->zones.nelts; i++) {
        name = &zones[i]->name;

        if (path->len < name->len
            || ngx_memcmp(path->data, name->data, name->len) != 0
            || (path->len > name->len && path->data[name->len] != '/'))
        {
            continue;
        }

        if (found == NULL || name->len > found->name.len) {
            found = zones[i];
        }
    }

    if (found != NULL) {
        path->data += found->name.len;
        path->len -= found->name.len;
    }

    return found;
}


/* The dashboard will be here. */

static void
ngx_http_predictive_api_index(ngx_http_predictive_api_t *api)
{
    ngx_http_predictive_json_t  *json;

    json = &api->json;

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_text(json, "version", PRD_VERSION_STR);
    ngx_http_predictive_json_open(json, "resources", '[');
    ngx_http_predictive_json_text(json, NULL, "/metrics");
    ngx_http_predictive_json_text(json, NULL, "/status");
    ngx_http_predictive_json_text(json, NULL, "/zones");
    ngx_http_predictive_json_text(json, NULL, "/zones/Z?check=1");
    ngx_http_predictive_json_text(json, NULL,
                                  "/zones/Z/top?by=rate|rejected|forecast&n=N");
    ngx_http_predictive_json_text(json, NULL, "/zones/Z/keys/HEX");
    ngx_http_predictive_json_text(json, NULL, "/zones/Z/groups");
    ngx_http_predictive_json_text(json, NULL, "POST /zones/Z/explain");
    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_api_later(ngx_http_predictive_api_t *api)
{
    ngx_http_predictive_api_problem(api, NGX_HTTP_NOT_IMPLEMENTED,
        "This is not supported yet by this version (" PRD_VERSION_STR
        ") of the module.", 0);
}
