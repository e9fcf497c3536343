
/*
 * A writer of JSON, and of other text, into a chain of buffers from a memory
 * pool: no size is known beforehand and none is too much.  Whatever is
 * written is valid: strings are escaped and made UTF-8, what is no finite
 * number is null.
 *
 * Failure (no memory) is remembered: write on, and look at `failed` once.
 */


#ifndef _NGX_HTTP_PREDICTIVE_JSON_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_pool_t    *pool;
    ngx_chain_t   *chain;               /* what was written */
    ngx_chain_t  **last;
    ngx_buf_t     *buf;                 /* the last one */
    off_t          size;
    unsigned       comma:1;             /* before the next value */
    unsigned       failed:1;
} ngx_http_predictive_json_t;


/* Begins anew: also to throw away what was written. */
void ngx_http_predictive_json_init(ngx_http_predictive_json_t *json,
    ngx_pool_t *pool);

/* Bytes as they are. */
void ngx_http_predictive_json_raw(ngx_http_predictive_json_t *json,
    const void *data, size_t len);

/*
 * A text in which `"`, `\` and line feeds are escaped and what is not UTF-8 is
 * U+FFFD: what is between the quotes of a label of Prometheus.
 */
void ngx_http_predictive_json_label(ngx_http_predictive_json_t *json,
    ngx_str_t *text);

/* A number as JSON and Prometheus know it, at most 15 digits of it; buf holds
 * NGX_HTTP_PREDICTIVE_JSON_NUMBER bytes.  n must be finite. */
#define NGX_HTTP_PREDICTIVE_JSON_NUMBER  32

u_char *ngx_http_predictive_json_double(u_char *buf, double n);


/*
 * Values.  name is a constant that needs no escaping, NULL in arrays and
 * after json_key().  what is '{' or '[', and '}' or ']'.
 */

void ngx_http_predictive_json_open(ngx_http_predictive_json_t *json,
    const char *name, u_char what);
void ngx_http_predictive_json_close(ngx_http_predictive_json_t *json,
    u_char what);

/* A name that is not constant: of the value that follows. */
void ngx_http_predictive_json_key(ngx_http_predictive_json_t *json,
    ngx_str_t *name);

void ngx_http_predictive_json_string(ngx_http_predictive_json_t *json,
    const char *name, ngx_str_t *value);
void ngx_http_predictive_json_text(ngx_http_predictive_json_t *json,
    const char *name, const char *value);
void ngx_http_predictive_json_uint(ngx_http_predictive_json_t *json,
    const char *name, uint64_t n);
void ngx_http_predictive_json_number(ngx_http_predictive_json_t *json,
    const char *name, double n);
void ngx_http_predictive_json_bool(ngx_http_predictive_json_t *json,
    const char *name, ngx_uint_t b);
void ngx_http_predictive_json_null(ngx_http_predictive_json_t *json,
    const char *name);

/* A number with as many digits as a float has. */
void ngx_http_predictive_json_float(ngx_http_predictive_json_t *json,
    const char *name, double n);

/* 64 bits as 16 digits, in quotes: numbers of JSON have 53 */
void ngx_http_predictive_json_hex(ngx_http_predictive_json_t *json,
    const char *name, uint64_t n);


#endif /* _NGX_HTTP_PREDICTIVE_JSON_H_INCLUDED_ */
