
/*
 * predictive_api: what the zones hold, as JSON.
 *
 * Everything is read while others write it: single words are whole, sums may
 * be of slightly different moments.  Nothing is written to a zone.
 *
 * No key ever stands in a URL, which ends up in logs: URLs have its keyed hash
 * in hex, and the raw key comes as a body.
 */


#include <math.h>
#include <nginx.h>

#include "ngx_http_predictive_api.h"
#include "ngx_http_predictive_redis.h"
#include "prd_lease.h"


#define NGX_HTTP_PREDICTIVE_API_BODY   65536

/* some 40 ns a slot: for so long a worker may be kept from its requests */
#define NGX_HTTP_PREDICTIVE_API_CHECK  (1 << 20)

#define NGX_HTTP_PREDICTIVE_API_TOP    20


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


typedef void (*ngx_http_predictive_api_pt)(ngx_http_predictive_api_t *api);

typedef struct {
    ngx_str_t                    name;
    ngx_uint_t                   methods;
    ngx_uint_t                   prefix;        /* more may follow */
    ngx_http_predictive_api_pt   handler;
} ngx_http_predictive_route_t;


static ngx_int_t ngx_http_predictive_api_handler(ngx_http_request_t *r);
static void ngx_http_predictive_api_posted(ngx_http_request_t *r);
static ngx_http_predictive_api_t *ngx_http_predictive_api_create(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_predictive_api_body(ngx_http_predictive_api_t *api);
static ngx_int_t ngx_http_predictive_api_send(ngx_http_predictive_api_t *api);
static ngx_int_t ngx_http_predictive_api_header(ngx_http_request_t *r,
    const char *name, const char *value, size_t len);

static void ngx_http_predictive_api_path(ngx_http_predictive_api_t *api);
static ngx_http_predictive_route_t *ngx_http_predictive_api_route(
    ngx_http_predictive_api_t *api);
static ngx_http_predictive_route_t *ngx_http_predictive_api_find(
    ngx_http_predictive_route_t *route, ngx_str_t *path, ngx_str_t *rest);
static ngx_http_predictive_zone_t *ngx_http_predictive_api_zone(
    ngx_http_predictive_main_conf_t *pmcf, ngx_str_t *path);

static void ngx_http_predictive_api_index(ngx_http_predictive_api_t *api);
static void ngx_http_predictive_api_later(ngx_http_predictive_api_t *api);
static void ngx_http_predictive_api_status(ngx_http_predictive_api_t *api);
static void ngx_http_predictive_api_zones(ngx_http_predictive_api_t *api);
static void ngx_http_predictive_api_one(ngx_http_predictive_api_t *api);
static void ngx_http_predictive_api_books(ngx_http_predictive_json_t *json,
    prd_view_t *view);
static void ngx_http_predictive_api_top(ngx_http_predictive_api_t *api);

static void ngx_http_predictive_api_build(ngx_http_predictive_json_t *json);
static void ngx_http_predictive_api_forecaster(
    ngx_http_predictive_api_t *api);
static void ngx_http_predictive_api_memory(ngx_http_predictive_json_t *json,
    const char *name, ngx_http_predictive_zone_t *zone);

static void ngx_http_predictive_api_summary(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone);
static void ngx_http_predictive_api_counters(ngx_http_predictive_json_t *json,
    prd_view_t *view);
static void ngx_http_predictive_api_config(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone);
static void ngx_http_predictive_api_rate(ngx_http_predictive_json_t *json,
    const char *name, prd_rate_t rate, prd_str_t *variable);
static void ngx_http_predictive_api_forecast(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone, ngx_http_predictive_numbers_t *n);
static void ngx_http_predictive_api_coverage(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone, ngx_http_predictive_numbers_t *n);
static void ngx_http_predictive_api_surge(ngx_http_predictive_json_t *json,
    prd_zone_t *zone);
static void ngx_http_predictive_api_series(ngx_http_predictive_api_t *api,
    const char *name, ngx_uint_t long_);
static void ngx_http_predictive_api_check(ngx_http_predictive_api_t *api);
static int ngx_http_predictive_api_compare(const void *one, const void *two);


const char  *ngx_http_predictive_ages[PRD_AGES] = {
    "0", "1-2", "3-7", "8-31", "32-127", "128+"
};


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

    return NGX_CONF_OK;
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


static ngx_http_predictive_api_t *
ngx_http_predictive_api_create(ngx_http_request_t *r)
{
    ngx_http_predictive_api_t  *api;

    api = ngx_pcalloc(r->pool, sizeof(ngx_http_predictive_api_t));
    if (api == NULL) {
        return NULL;
    }

    api->request = r;
    api->main = ngx_http_get_module_main_conf(r, ngx_http_predictive_module);
    api->status = NGX_HTTP_OK;

    ngx_str_set(&api->type, "application/json");
    ngx_http_predictive_json_init(&api->json, r->pool);

    ngx_http_predictive_api_path(api);

    return api;
}


/* Into one piece; NGX_DECLINED: it is too long. */

static ngx_int_t
ngx_http_predictive_api_body(ngx_http_predictive_api_t *api)
{
    off_t                     size, n;
    u_char                   *p;
    ssize_t                   got;
    ngx_buf_t                *b;
    ngx_chain_t              *cl, *bufs;
    ngx_http_request_body_t  *rb;

    rb = api->request->request_body;
    bufs = rb ? rb->bufs : NULL;
    size = 0;

    for (cl = bufs; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);

        if (size > NGX_HTTP_PREDICTIVE_API_BODY) {
            return NGX_DECLINED;
        }
    }

    p = ngx_pnalloc(api->request->pool, size + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    api->body.data = p;
    api->body.len = size;

    for (cl = bufs; cl; cl = cl->next) {
        b = cl->buf;
        n = ngx_buf_size(b);

        /* a chunked body ends with a buffer that is nothing but the end */

        if (n == 0) {
            continue;
        }

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, n);
            continue;
        }

        got = ngx_read_file(b->file, p, n, b->file_pos);

        if (got != n) {
            ngx_log_error(NGX_LOG_CRIT, api->request->connection->log, 0,
                          ngx_read_file_n " read only %z of %O from \"%s\"",
                          got, n, b->file->name.data);
            return NGX_ERROR;
        }

        p += n;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_api_send(ngx_http_predictive_api_t *api)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_http_request_t  *r;

    r = api->request;

    /* JSON ends like that, metrics with a line feed */

    if (api->json.comma) {
        ngx_http_predictive_json_raw(&api->json, "\n", 1);
    }

    if (api->json.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = api->status;
    r->headers_out.content_length_n = api->json.size;
    r->headers_out.content_type = api->type;
    r->headers_out.content_type_len = api->type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_predictive_api_header(r, "Cache-Control", "no-store", 8)
        != NGX_OK
        || ngx_http_predictive_api_header(r, "X-Content-Type-Options",
                                          "nosniff", 7)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (api->allow.len
        && ngx_http_predictive_api_header(r, "Allow", (char *) api->allow.data,
                                          api->allow.len)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = api->json.buf;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    return ngx_http_output_filter(r, api->json.chain);
}


static ngx_int_t
ngx_http_predictive_api_header(ngx_http_request_t *r, const char *name,
    const char *value, size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.len = ngx_strlen(name);
    h->key.data = (u_char *) name;
    h->value.len = len;
    h->value.data = (u_char *) value;
    h->lowcase_key = NULL;
    ngx_http_predictive_header_end(h);

    return NGX_OK;
}


void
ngx_http_predictive_api_problem(ngx_http_predictive_api_t *api,
    ngx_uint_t status, const char *detail, ngx_uint_t open)
{
    const char                  *title;
    ngx_http_predictive_json_t  *json;

    switch (status) {

    case NGX_HTTP_BAD_REQUEST:
        title = "Bad Request";
        break;

    case NGX_HTTP_NOT_FOUND:
        title = "Not Found";
        break;

    case NGX_HTTP_NOT_ALLOWED:
        title = "Method Not Allowed";
        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        title = "Content Too Large";
        break;

    case NGX_HTTP_NOT_IMPLEMENTED:
        title = "Not Implemented";
        break;

    default:
        title = "Service Unavailable";
        break;
    }

    json = &api->json;
    api->status = status;

    ngx_str_set(&api->type, "application/problem+json");
    ngx_http_predictive_json_init(json, api->request->pool);

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_text(json, "type", "about:blank");
    ngx_http_predictive_json_text(json, "title", title);
    ngx_http_predictive_json_uint(json, "status", status);
    ngx_http_predictive_json_text(json, "detail", detail);

    if (!open) {
        ngx_http_predictive_json_close(json, '}');
    }
}


ngx_int_t
ngx_http_predictive_api_arg(ngx_http_predictive_api_t *api, const char *name,
    ngx_str_t *value)
{
    u_char     *src, *dst;
    ngx_str_t   arg;

    if (ngx_http_arg(api->request, (u_char *) name, ngx_strlen(name), &arg)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    /* without memory it is as if it were not there */

    dst = ngx_pnalloc(api->request->pool, arg.len + 1);
    if (dst == NULL) {
        return NGX_DECLINED;
    }

    value->data = dst;
    src = arg.data;

    ngx_unescape_uri(&dst, &src, arg.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}


/*
 * What is below the location.  An exact location answers the one resource
 * that its own URI ends with: "location = /metrics { predictive_api; }".
 */

static void
ngx_http_predictive_api_path(ngx_http_predictive_api_t *api)
{
    u_char                    *p, *last;
    size_t                     len;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = api->request;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    last = r->uri.data + r->uri.len;

    if (clcf->exact_match) {

        for (p = last; p > r->uri.data; /* void */ ) {
            if (*--p == '/') {
                break;
            }
        }

    } else {
        len = clcf->name.len;

        /* the slash that ends the location begins the path */

        if (len && clcf->name.data[len - 1] == '/') {
            len--;
        }

        p = r->uri.data + ngx_min(len, r->uri.len);
    }

    api->path.data = p;
    api->path.len = last - p;

    if (api->path.len == 0) {
        ngx_str_set(&api->path, "/");
    }
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


static void
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


static void
ngx_http_predictive_api_memory(ngx_http_predictive_json_t *json,
    const char *name, ngx_http_predictive_zone_t *zone)
{
    ngx_http_predictive_json_open(json, name, '{');
    ngx_http_predictive_json_uint(json, "size", zone->view.zone->size);
    ngx_http_predictive_json_uint(json, "slots",
                                  prd_zone_slots(&zone->view));
    ngx_http_predictive_json_uint(json, "slot_bytes",
                                  sizeof(uint64_t) + sizeof(prd_entry_t)
                                  + (zone->view.leases
                                     ? sizeof(prd_lease_t) : 0));
    ngx_http_predictive_json_uint(json, "learned_bytes",
                                  sizeof(prd_learned_t));
    ngx_http_predictive_json_uint(json, "fixed", prd_zone_fixed_size());
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_api_zones(ngx_http_predictive_api_t *api)
{
    ngx_uint_t                    i;
    ngx_http_predictive_json_t   *json;
    ngx_http_predictive_zone_t  **zones;

    json = &api->json;
    zones = api->main->zones.elts;

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_open(json, "zones", '{');

    for (i = 0; i < api->main->zones.nelts; i++) {

        if (zones[i]->view.zone == NULL) {
            continue;
        }

        ngx_http_predictive_json_key(json, &zones[i]->name);
        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_api_summary(json, zones[i]);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, '}');
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_api_one(ngx_http_predictive_api_t *api)
{
    ngx_str_t                    value;
    ngx_http_predictive_json_t  *json;

    json = &api->json;

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_string(json, "zone", &api->zone->name);

    ngx_http_predictive_api_summary(json, api->zone);

    ngx_http_predictive_api_series(api, "series", 0);
    ngx_http_predictive_api_series(api, "series_long", 1);
    ngx_http_predictive_outlook_zone(api);

    if (ngx_http_predictive_api_arg(api, "check", &value) == NGX_OK
        && value.len == 1 && value.data[0] == '1')
    {
        ngx_http_predictive_api_check(api);
    }

    ngx_http_predictive_json_close(json, '}');
}


/* All but what is long. */

static void
ngx_http_predictive_api_summary(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone)
{
    prd_zone_t                     *z;
    ngx_http_predictive_numbers_t   n;

    z = zone->view.zone;

    ngx_http_predictive_api_numbers(zone, &n);
    ngx_http_predictive_api_counters(json, &zone->view);

    ngx_http_predictive_json_uint(json, "clients", (uint64_t) n.clients);
    ngx_http_predictive_json_uint(json, "active", (uint64_t) n.active);
    ngx_http_predictive_json_uint(json, "slots", (uint64_t) n.slots);

    ngx_http_predictive_api_memory(json, "memory", zone);

    ngx_http_predictive_api_config(json, zone);

    ngx_http_predictive_json_open(json, "warmup", '{');
    ngx_http_predictive_json_bool(json, "over",
                                  atomic_load_explicit(&z->warm,
                                                       memory_order_relaxed));
    ngx_http_predictive_json_number(json, "seconds_left", n.warmup_s);
    ngx_http_predictive_json_uint(json, "since", z->learn_since_s);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_open(json, "newcomer", '{');
    ngx_http_predictive_json_number(json, "rate", n.newcomer_rate);
    ngx_http_predictive_json_number(json, "depth", n.newcomer_depth);
    ngx_http_predictive_json_close(json, '}');

    if (zone->policy.pool.capacity) {
        ngx_http_predictive_json_open(json, "pool", '{');
        ngx_http_predictive_json_float(json, "fill", n.fill);
        ngx_http_predictive_json_number(json, "capacity_rps", n.capacity);
        ngx_http_predictive_json_close(json, '}');

    } else {
        ngx_http_predictive_json_null(json, "pool");
    }

    if (zone->store) {
        ngx_http_predictive_json_open(json, "lease", '{');
        ngx_http_predictive_json_uint(json, "nodes", (uint64_t) n.nodes);
        ngx_http_predictive_json_number(json, "overshoot_bound", n.overshoot);
        ngx_http_predictive_json_close(json, '}');

    } else {
        ngx_http_predictive_json_null(json, "lease");
    }

    ngx_http_predictive_api_coverage(json, zone, &n);
    ngx_http_predictive_api_forecast(json, zone, &n);
    ngx_http_predictive_api_surge(json, z);
}


static void
ngx_http_predictive_api_counters(ngx_http_predictive_json_t *json,
    prd_view_t *view)
{
    ngx_uint_t  i;

    static const struct {
        const char     *name;
        prd_counter_e   counter;
    } reasons[] = {
        { "above_forecast", PRD_CNT_ABOVE_FORECAST },
        { "scarce", PRD_CNT_SCARCE },
        { "quota", PRD_CNT_QUOTA },
        { "newcomer", PRD_CNT_NEWCOMER },
        { "zone_full", PRD_CNT_ZONE_FULL },
        { "store", PRD_CNT_STORE }
    };

    for (i = 0; i < PRD_COUNTERS; i++) {
        ngx_http_predictive_json_uint(json, prd_counter_name(i),
                                      prd_zone_count(view, i));
    }

    ngx_http_predictive_json_open(json, "reasons", '{');

    for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        ngx_http_predictive_json_uint(json, reasons[i].name,
                                   prd_zone_count(view, reasons[i].counter));
    }

    ngx_http_predictive_json_close(json, '}');
}


/* The parameters by their names; what is a variable is its text. */

static void
ngx_http_predictive_api_config(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone)
{
    ngx_str_t      s;
    ngx_uint_t     i;
    prd_params_t  *p;

    static const char  *learn[] = { "on", "observe", "off" };

    p = &zone->params;

    const struct {
        const char  *name;
        prd_str_t   *text;
    } texts[] = {
        { "charge", &p->charge },
        { "class", &p->class_ },
        { "newcomer", &p->newcomer },
        { "store", &p->store }
    };

    ngx_http_predictive_json_open(json, "config", '{');
    ngx_http_predictive_json_string(json, "key", &zone->key.value);

    ngx_http_predictive_api_rate(json, "rate", p->rate, &p->rate_var);

    if (p->burst_var.len) {
        s.len = p->burst_var.len;
        s.data = (u_char *) p->burst_var.data;
        ngx_http_predictive_json_string(json, "burst", &s);

    } else {
        ngx_http_predictive_json_uint(json, "burst", p->burst);
    }

    ngx_http_predictive_api_rate(json, "capacity", p->capacity, NULL);

    /* null: unlimited */

    ngx_http_predictive_json_number(json, "borrow",
                              p->borrow_milli ? p->borrow_milli / 1000.0 : NAN);
    ngx_http_predictive_json_text(json, "floor",
                                  p->floor_none ? "none" : "newcomer");
    ngx_http_predictive_api_rate(json, "min", p->min, NULL);
    ngx_http_predictive_api_rate(json, "max", p->max, NULL);
    ngx_http_predictive_json_text(json, "learn", learn[p->learn]);
    ngx_http_predictive_json_uint(json, "warmup", p->warmup_s);
    ngx_http_predictive_json_number(json, "confidence",
                                    p->confidence_ppm / 1e6);
    ngx_http_predictive_json_uint(json, "horizon", p->horizon_s);

    if (p->cost_var.len) {
        s.len = p->cost_var.len;
        s.data = (u_char *) p->cost_var.data;
        ngx_http_predictive_json_string(json, "cost", &s);

    } else {
        ngx_http_predictive_json_number(json, "cost",
                                        (double) p->cost_milli / 1000);
    }

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {

        if (texts[i].text->len == 0) {
            ngx_http_predictive_json_null(json, texts[i].name);
            continue;
        }

        s.len = texts[i].text->len;
        s.data = (u_char *) texts[i].text->data;
        ngx_http_predictive_json_string(json, texts[i].name, &s);
    }

    if (p->store.len) {
        ngx_http_predictive_json_text(json, "sync",
                                      p->sync == PRD_SYNC_STRICT ? "strict"
                                                                 : "lease");
    } else {
        ngx_http_predictive_json_null(json, "sync");
    }

    ngx_http_predictive_json_close(json, '}');
}


/* 0: none was given */

static void
ngx_http_predictive_api_rate(ngx_http_predictive_json_t *json,
    const char *name, prd_rate_t rate, prd_str_t *variable)
{
    ngx_str_t  s;

    if (variable && variable->len) {
        s.len = variable->len;
        s.data = (u_char *) variable->data;
        ngx_http_predictive_json_string(json, name, &s);
        return;
    }

    ngx_http_predictive_json_number(json, name,
                             rate ? (double) rate / PRD_RATE_ONE : NAN);
}


static void
ngx_http_predictive_api_coverage(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone, ngx_http_predictive_numbers_t *n)
{
    double         blocks;
    ngx_uint_t     i;
    prd_pooled_t  *p;

    p = &zone->view.zone->pooled;

    ngx_http_predictive_json_open(json, "coverage", '{');
    ngx_http_predictive_json_float(json, "total", n->coverage);
    ngx_http_predictive_json_float(json, "bounded", n->bounded_coverage);
    ngx_http_predictive_json_number(json, "blocks", n->blocks);
    ngx_http_predictive_json_open(json, "ages", '[');

    for (i = 0; i < PRD_AGES; i++) {
        blocks = p->closed[i];

        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_text(json, "blocks_of_client",
                                      ngx_http_predictive_ages[i]);
        ngx_http_predictive_json_number(json, "blocks", blocks);
        ngx_http_predictive_json_float(json, "coverage",
                               blocks > 0 ? 1 - p->missed[i] / blocks : NAN);
        ngx_http_predictive_json_float(json, "bounded",
                               blocks > 0 ? 1 - p->bounded[i] / blocks : NAN);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


/* The zone as a whole: what comes, what was expected, how good that was. */

static void
ngx_http_predictive_api_forecast(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone, ngx_http_predictive_numbers_t *n)
{
    prd_zone_t  *z;

    z = zone->view.zone;

    ngx_http_predictive_json_open(json, "forecast", '{');
    ngx_http_predictive_json_uint(json, "bin_seconds", PRD_BIN_S);
    ngx_http_predictive_json_float(json, "actual_rps", n->actual);
    ngx_http_predictive_json_float(json, "forecast_rps", n->forecast);
    ngx_http_predictive_json_float(json, "forecast_upper_rps", n->upper);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_open(json, "pinball_loss", '{');
    ngx_http_predictive_json_number(json, "quantile", 0.95);
    ngx_http_predictive_json_float(json, "forecast",
                                   z->pinball / z->pinball_n);
    ngx_http_predictive_json_float(json, "last_value",
                                   z->pinball_last / z->pinball_n);
    ngx_http_predictive_json_float(json, "relative", n->relative_loss);
    ngx_http_predictive_json_number(json, "bins", z->pinball_n);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_float(json, "forecast_coverage",
                                   n->forecast_coverage);
}


static void
ngx_http_predictive_api_surge(ngx_http_predictive_json_t *json,
    prd_zone_t *zone)
{
    uint32_t    surge;
    ngx_uint_t  i;

    ngx_http_predictive_json_open(json, "surge", '[');

    for (i = 0; i < PRD_CLASSES; i++) {
        surge = atomic_load_explicit(&zone->surge[i], memory_order_relaxed);

        if (surge == 0) {
            continue;
        }

        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_uint(json, "class", i);
        ngx_http_predictive_json_float(json, "ratio",
                                       1 + (double) surge / PRD_ONE_Q16);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
}


/*
 * Points are null while the thread writes them, or if it was killed just then.
 */

static void
ngx_http_predictive_api_series(ngx_http_predictive_api_t *api,
    const char *name, ngx_uint_t long_)
{
    uint32_t                     i, n;
    prd_rc_t                     rc;
    ngx_uint_t                   pool;
    prd_point_t                 *p;
    ngx_http_predictive_json_t  *json;

    json = &api->json;

    p = ngx_palloc(api->request->pool,
                   ngx_max(PRD_SERIES, PRD_SERIES_LONG) * sizeof(prd_point_t));
    if (p == NULL) {
        json->failed = 1;
        return;
    }

    n = 0;
    pool = (api->zone->policy.pool.capacity != 0);
    rc = prd_zone_series(&api->zone->view, p, &n, long_);

    ngx_http_predictive_json_open(json, name, '{');
    ngx_http_predictive_json_uint(json, "bin_seconds",
                                  long_ ? PRD_SERIES_LONG_S : PRD_BIN_S);

    if (rc != PRD_OK) {
        ngx_http_predictive_json_null(json, "points");
        ngx_http_predictive_json_close(json, '}');
        return;
    }

    ngx_http_predictive_json_open(json, "points", '[');

    for (i = 0; i < n; i++) {
        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_uint(json, "t", p[i].start_s);
        ngx_http_predictive_json_float(json, "actual", p[i].actual);
        ngx_http_predictive_json_float(json, "refused", p[i].refused);
        ngx_http_predictive_json_float(json, "forecast", p[i].forecast);
        ngx_http_predictive_json_float(json, "upper", p[i].upper);
        ngx_http_predictive_json_float(json, "fill", pool ? p[i].fill : NAN);
        ngx_http_predictive_json_float(json, "active", p[i].active);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


/* Faults are none in a table that nobody writes to; claims come and go. */

static void
ngx_http_predictive_api_check(ngx_http_predictive_api_t *api)
{
    uint32_t                     clients, claims;
    ngx_uint_t                   faults;
    ngx_http_predictive_json_t  *json;

    json = &api->json;

    if (prd_zone_slots(&api->zone->view) > NGX_HTTP_PREDICTIVE_API_CHECK) {
        ngx_http_predictive_json_null(json, "consistency");
        return;
    }

    faults = ngx_http_predictive_check(api->zone, &clients, &claims);

    ngx_http_predictive_json_open(json, "consistency", '{');
    ngx_http_predictive_json_uint(json, "faults", faults);
    ngx_http_predictive_json_uint(json, "clients", clients);
    ngx_http_predictive_json_uint(json, "claims", claims);

    if (api->zone->store) {
        ngx_http_predictive_api_books(json, &api->zone->view);
    }

    ngx_http_predictive_json_close(json, '}');
}


/*
 * Where leased tokens went, in tokens.  Balanced: as many came as went, or are
 * there, which holds while no request is under way.
 */

static void
ngx_http_predictive_api_books(ngx_http_predictive_json_t *json,
    prd_view_t *view)
{
    ngx_uint_t        i;
    prd_rc_t          rc;
    prd_lease_sums_t  sums;

    const struct {
        const char  *name;
        uint64_t    *milli;
    } members[] = {
        { "debited", &sums.debited },
        { "debt", &sums.debt },
        { "refunded", &sums.refunded },
        { "admitted", &sums.admitted },
        { "returned", &sums.returned },
        { "forfeited", &sums.forfeited },
        { "held", &sums.held },
        { "owed", &sums.owed }
    };

    rc = prd_lease_check(view, &sums);

    ngx_http_predictive_json_open(json, "books", '{');

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        ngx_http_predictive_json_number(json, members[i].name,
                                        (double) *members[i].milli / 1000);
    }

    ngx_http_predictive_json_bool(json, "balanced", rc == PRD_OK);
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_api_top(ngx_http_predictive_api_t *api)
{
    uint32_t                     i, n;
    prd_rc_t                     rc;
    ngx_int_t                    most;
    ngx_str_t                    value;
    prd_top_e                    by;
    prd_top_t                    top[PRD_TOP];
    ngx_http_predictive_json_t  *json;

    static const char  *names[PRD_TOPS] = { "rate", "rejected", "forecast" };

    by = PRD_TOP_RATE;
    most = NGX_HTTP_PREDICTIVE_API_TOP;

    if (ngx_http_predictive_api_arg(api, "by", &value) == NGX_OK) {

        for (i = 0; i < PRD_TOPS; i++) {
            if (value.len == ngx_strlen(names[i])
                && ngx_strncmp(value.data, names[i], value.len) == 0)
            {
                break;
            }
        }

        if (i == PRD_TOPS) {
            ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
                "\"by\" must be rate, rejected or forecast.", 0);
            return;
        }

        by = i;
    }

    if (ngx_http_predictive_api_arg(api, "n", &value) == NGX_OK) {
        most = ngx_atoi(value.data, value.len);

        if (most <= 0) {
            ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
                "\"n\" must be a number from 1 on.", 0);
            return;
        }
    }

    n = 0;
    rc = prd_zone_top(&api->zone->view, by, top, &n);

    if (rc != PRD_OK) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_SERVICE_UNAVAILABLE,
            "The list is just being written; try again.", 0);
        return;
    }

    ngx_qsort(top, n, sizeof(prd_top_t), ngx_http_predictive_api_compare);

    json = &api->json;

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_string(json, "zone", &api->zone->name);
    ngx_http_predictive_json_text(json, "by", names[by]);
    ngx_http_predictive_json_uint(json, "bin_seconds", PRD_BIN_S);
    ngx_http_predictive_json_open(json, "top", '[');

    for (i = 0; i < n && i < (uint32_t) most; i++) {
        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_hex(json, "key", top[i].tag);
        ngx_http_predictive_json_float(json, "rate", top[i].rate);
        ngx_http_predictive_json_float(json, "forecast_upper_rps",
                                top[i].forecast > 0 ? top[i].forecast : NAN);
        ngx_http_predictive_json_float(json, "rejected", top[i].rejected);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


static int
ngx_http_predictive_api_compare(const void *one, const void *two)
{
    const prd_top_t  *a, *b;

    a = one;
    b = two;

    return a->value < b->value ? 1 : a->value > b->value ? -1 : 0;
}


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
