
/*
 * A request to the API: its path, body and arguments, and its answer.
 */


#include "ngx_http_predictive_api.h"


static void ngx_http_predictive_api_path(ngx_http_predictive_api_t *api);


ngx_http_predictive_api_t *
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


/*
 * What is below the location.  An exact location answers the one resource
 * that its own URI ends with: "location = /metrics { predictive_api; }".
 */

static void
ngx_http_predictive_api_path(ngx_http_predictive_api_t *api)
{
    u_char                          *p, *last;
    size_t                           len;
    ngx_http_request_t              *r;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_predictive_loc_conf_t  *plcf;

    r = api->request;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    plcf = ngx_http_get_module_loc_conf(r, ngx_http_predictive_module);

    last = r->uri.data + r->uri.len;

    if (plcf->api_exact) {

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


ngx_int_t
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
ngx_http_predictive_api_send(ngx_http_predictive_api_t *api)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_uint_t           i;
    ngx_http_request_t  *r;

    static ngx_str_t  allow = ngx_string("Allow");

    static struct {
        ngx_str_t  name;
        ngx_str_t  value;
    } fields[] = {
        { ngx_string("Cache-Control"), ngx_string("no-store") },
        { ngx_string("X-Content-Type-Options"), ngx_string("nosniff") }
    };

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

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (ngx_http_predictive_add_header(r, &fields[i].name,
                                           &fields[i].value)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (api->allow.len
        && ngx_http_predictive_add_header(r, &allow, &api->allow) != NGX_OK)
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
