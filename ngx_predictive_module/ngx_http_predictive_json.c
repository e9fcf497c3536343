
/*
 * JSON in a chain of buffers.
 */


#include <math.h>
#include <stdio.h>

#include "ngx_http_predictive_json.h"


#define NGX_HTTP_PREDICTIVE_JSON_BUF  4000


static void ngx_http_predictive_json_name(ngx_http_predictive_json_t *json,
    const char *name);
static void ngx_http_predictive_json_format(ngx_http_predictive_json_t *json,
    const char *name, double n, int digits);
static u_char *ngx_http_predictive_json_print(u_char *buf, double n,
    int digits);
static size_t ngx_http_predictive_json_utf8(u_char *p, u_char *last);
static void ngx_http_predictive_json_quoted(ngx_http_predictive_json_t *json,
    ngx_str_t *value);


void
ngx_http_predictive_json_init(ngx_http_predictive_json_t *json,
    ngx_pool_t *pool)
{
    ngx_memzero(json, sizeof(ngx_http_predictive_json_t));

    json->pool = pool;
    json->last = &json->chain;
}


void
ngx_http_predictive_json_raw(ngx_http_predictive_json_t *json,
    const void *data, size_t len)
{
    size_t         n;
    ngx_buf_t     *b;
    ngx_chain_t   *cl;
    const u_char  *p;

    p = data;

    while (len && !json->failed) {

        b = json->buf;

        if (b == NULL || b->last == b->end) {

            b = ngx_create_temp_buf(json->pool, NGX_HTTP_PREDICTIVE_JSON_BUF);
            cl = ngx_alloc_chain_link(json->pool);

            if (b == NULL || cl == NULL) {
                json->failed = 1;
                return;
            }

            cl->buf = b;
            cl->next = NULL;

            *json->last = cl;
            json->last = &cl->next;
            json->buf = b;
        }

        n = ngx_min(len, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, p, n);
        json->size += n;

        p += n;
        len -= n;
    }
}


static void
ngx_http_predictive_json_name(ngx_http_predictive_json_t *json,
    const char *name)
{
    if (json->comma) {
        ngx_http_predictive_json_raw(json, ",", 1);
    }

    json->comma = 1;

    if (name == NULL) {
        return;
    }

    ngx_http_predictive_json_raw(json, "\"", 1);
    ngx_http_predictive_json_raw(json, name, ngx_strlen(name));
    ngx_http_predictive_json_raw(json, "\":", 2);
}


void
ngx_http_predictive_json_open(ngx_http_predictive_json_t *json,
    const char *name, u_char what)
{
    ngx_http_predictive_json_name(json, name);
    ngx_http_predictive_json_raw(json, &what, 1);

    json->comma = 0;
}


void
ngx_http_predictive_json_close(ngx_http_predictive_json_t *json, u_char what)
{
    ngx_http_predictive_json_raw(json, &what, 1);

    json->comma = 1;
}


void
ngx_http_predictive_json_key(ngx_http_predictive_json_t *json,
    ngx_str_t *name)
{
    ngx_http_predictive_json_name(json, NULL);
    ngx_http_predictive_json_quoted(json, name);
    ngx_http_predictive_json_raw(json, ":", 1);

    json->comma = 0;
}


void
ngx_http_predictive_json_string(ngx_http_predictive_json_t *json,
    const char *name, ngx_str_t *value)
{
    ngx_http_predictive_json_name(json, name);
    ngx_http_predictive_json_quoted(json, value);
}


void
ngx_http_predictive_json_text(ngx_http_predictive_json_t *json,
    const char *name, const char *value)
{
    ngx_str_t  s;

    s.len = ngx_strlen(value);
    s.data = (u_char *) value;

    ngx_http_predictive_json_string(json, name, &s);
}


void
ngx_http_predictive_json_uint(ngx_http_predictive_json_t *json,
    const char *name, uint64_t n)
{
    u_char  buf[NGX_INT64_LEN];

    ngx_http_predictive_json_name(json, name);
    ngx_http_predictive_json_raw(json, buf, ngx_sprintf(buf, "%uL", n) - buf);
}


void
ngx_http_predictive_json_number(ngx_http_predictive_json_t *json,
    const char *name, double n)
{
    ngx_http_predictive_json_format(json, name, n, 15);
}


void
ngx_http_predictive_json_float(ngx_http_predictive_json_t *json,
    const char *name, double n)
{
    ngx_http_predictive_json_format(json, name, n, 7);
}


static void
ngx_http_predictive_json_format(ngx_http_predictive_json_t *json,
    const char *name, double n, int digits)
{
    u_char  buf[NGX_HTTP_PREDICTIVE_JSON_NUMBER], *p;

    if (!isfinite(n)) {
        ngx_http_predictive_json_null(json, name);
        return;
    }

    p = ngx_http_predictive_json_print(buf, n, digits);

    ngx_http_predictive_json_name(json, name);
    ngx_http_predictive_json_raw(json, buf, p - buf);
}


u_char *
ngx_http_predictive_json_double(u_char *buf, double n)
{
    return ngx_http_predictive_json_print(buf, n, 15);
}


static u_char *
ngx_http_predictive_json_print(u_char *buf, double n, int digits)
{
    u_char  *p, *last;

    /* no "-0" */

    if (n == 0) {
        n = 0;
    }

    last = buf + snprintf((char *) buf, NGX_HTTP_PREDICTIVE_JSON_NUMBER,
                          "%.*g", digits, n);

    /* a module in the same process may have set a locale */

    for (p = buf; p < last; p++) {
        if (*p == ',') {
            *p = '.';
        }
    }

    return last;
}


void
ngx_http_predictive_json_bool(ngx_http_predictive_json_t *json,
    const char *name, ngx_uint_t b)
{
    ngx_http_predictive_json_name(json, name);
    ngx_http_predictive_json_raw(json, b ? "true" : "false", b ? 4 : 5);
}


void
ngx_http_predictive_json_null(ngx_http_predictive_json_t *json,
    const char *name)
{
    ngx_http_predictive_json_name(json, name);
    ngx_http_predictive_json_raw(json, "null", 4);
}


void
ngx_http_predictive_json_hex(ngx_http_predictive_json_t *json,
    const char *name, uint64_t n)
{
    u_char  buf[16 + 2];

    ngx_sprintf(buf, "\"%016xL\"", (int64_t) n);

    ngx_http_predictive_json_name(json, name);
    ngx_http_predictive_json_raw(json, buf, sizeof(buf));
}


/*
 * Length of the character at p, 0 if there is none: no continuation bytes
 * alone, nothing overlong, no surrogates, nothing above U+10FFFF (RFC 3629).
 */

static size_t
ngx_http_predictive_json_utf8(u_char *p, u_char *last)
{
    size_t      i, len;
    ngx_uint_t  low, high;

    if (*p < 0x80) {
        return 1;
    }

    low = 0x80;
    high = 0xbf;

    if (*p >= 0xc2 && *p <= 0xdf) {
        len = 2;

    } else if (*p >= 0xe0 && *p <= 0xef) {
        len = 3;
        low = (*p == 0xe0) ? 0xa0 : low;
        high = (*p == 0xed) ? 0x9f : high;

    } else if (*p >= 0xf0 && *p <= 0xf4) {
        len = 4;
        low = (*p == 0xf0) ? 0x90 : low;
        high = (*p == 0xf4) ? 0x8f : high;

    } else {
        return 0;
    }

    if ((size_t) (last - p) < len || p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }

    return len;
}


static void
ngx_http_predictive_json_quoted(ngx_http_predictive_json_t *json,
    ngx_str_t *value)
{
    u_char  *p, *last, *start, buf[6];
    size_t   len;

    ngx_http_predictive_json_raw(json, "\"", 1);

    p = value->data;
    last = p + value->len;

    while (p < last) {

        /* as much as needs nothing in one piece */

        for (start = p; p < last; p += len) {
            len = ngx_http_predictive_json_utf8(p, last);

            if (len == 0 || *p < 0x20 || *p == 0x7f || *p == '"'
                || *p == '\\')
            {
                break;
            }
        }

        ngx_http_predictive_json_raw(json, start, p - start);

        if (p == last) {
            break;
        }

        if (*p >= 0x80) {
            ngx_http_predictive_json_raw(json, "\xef\xbf\xbd", 3);

        } else if (*p == '"' || *p == '\\') {
            buf[0] = '\\';
            buf[1] = *p;
            ngx_http_predictive_json_raw(json, buf, 2);

        } else {
            (void) ngx_sprintf(buf, "\\u%04xd", (u_int) *p);
            ngx_http_predictive_json_raw(json, buf, 6);
        }

        p++;
    }

    ngx_http_predictive_json_raw(json, "\"", 1);
}


void
ngx_http_predictive_json_label(ngx_http_predictive_json_t *json,
    ngx_str_t *text)
{
    u_char  *p, *last, *start;
    size_t   len;

    p = text->data;
    last = p + text->len;

    while (p < last) {

        for (start = p; p < last; p += len) {
            len = ngx_http_predictive_json_utf8(p, last);

            if (len == 0 || *p == '\n' || *p == '"' || *p == '\\') {
                break;
            }
        }

        ngx_http_predictive_json_raw(json, start, p - start);

        if (p == last) {
            break;
        }

        if (*p >= 0x80) {
            ngx_http_predictive_json_raw(json, "\xef\xbf\xbd", 3);

        } else if (*p == '\n') {
            ngx_http_predictive_json_raw(json, "\\n", 2);

        } else {
            ngx_http_predictive_json_raw(json, "\\", 1);
            ngx_http_predictive_json_raw(json, p, 1);
        }

        p++;
    }
}
