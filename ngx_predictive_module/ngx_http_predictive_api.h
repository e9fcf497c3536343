
/*
 * Shared by the API's files: a request to it, and a zone's numbers, which
 * JSON and Prometheus tell alike.
 */


#ifndef _NGX_HTTP_PREDICTIVE_API_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_API_H_INCLUDED_


#include "ngx_http_predictive_json.h"
#include "ngx_http_predictive_module.h"


/* of a key, which a POST brings; the answer to a longer one says so */
#define NGX_HTTP_PREDICTIVE_API_BODY  65536


typedef struct {
    ngx_http_request_t               *request;
    ngx_http_predictive_main_conf_t  *main;
    ngx_http_predictive_zone_t       *zone;     /* NULL: the path has none */
    ngx_str_t                         path;     /* below the location */
    ngx_str_t                         rest;     /* below the resource */
    ngx_str_t                         body;     /* of a POST */

    /* the answer; see ngx_http_predictive_api_problem() */
    ngx_uint_t                        status;
    ngx_str_t                         type;
    ngx_str_t                         allow;
    ngx_http_predictive_json_t        json;
} ngx_http_predictive_api_t;


/* _api_request.c */

/* With the path of a request, but no body; NULL without memory. */
ngx_http_predictive_api_t *ngx_http_predictive_api_create(
    ngx_http_request_t *r);

/* The body that was read, into one piece; NGX_DECLINED: it is too long. */
ngx_int_t ngx_http_predictive_api_body(ngx_http_predictive_api_t *api);

/* An argument of the request, decoded; NGX_DECLINED: not there. */
ngx_int_t ngx_http_predictive_api_arg(ngx_http_predictive_api_t *api,
    const char *name, ngx_str_t *value);

/*
 * Makes the answer a problem (RFC 9457), whatever was written before; detail
 * is a constant.  The object stays open for members of its own where open is
 * set: the caller closes it.
 */
void ngx_http_predictive_api_problem(ngx_http_predictive_api_t *api,
    ngx_uint_t status, const char *detail, ngx_uint_t open);

/* Headers and the answer; returns what a content handler returns. */
ngx_int_t ngx_http_predictive_api_send(ngx_http_predictive_api_t *api);


/* _api_status.c */

void ngx_http_predictive_api_status(ngx_http_predictive_api_t *api);


/* _api_zone.c */

void ngx_http_predictive_api_zones(ngx_http_predictive_api_t *api);
void ngx_http_predictive_api_one(ngx_http_predictive_api_t *api);
void ngx_http_predictive_api_memory(ngx_http_predictive_json_t *json,
    const char *name, ngx_http_predictive_zone_t *zone);


/* _api_top.c */

void ngx_http_predictive_api_top(ngx_http_predictive_api_t *api);


/* _api_numbers.c */

/* NaN where there is nothing to tell. */

typedef struct {
    double    clients;
    double    active;
    double    slots;
    double    bytes;
    double    warmup_s;                 /* left */
    double    newcomer_rate;            /* tokens/s */
    double    newcomer_depth;           /* tokens */
    double    capacity;                 /* tokens/s */
    double    fill;                     /* of the pool, -1..1 */
    double    nodes;                    /* of a store, alive */
    double    overshoot;                /* tokens: what all nodes may hold */
                                        /* of one client */
    double    actual;                   /* last bin, tokens/s */
    double    forecast;                 /* of this bin */
    double    upper;                    /* its 95 % quantile */
    double    forecast_coverage;        /* bins below their quantile */
    double    relative_loss;            /* to that of the last value */
    double    coverage;                 /* blocks within the raw depth */
    double    bounded_coverage;         /* and the depth as bounded */
    double    blocks;
    double    last_tick_s;              /* wall */
} ngx_http_predictive_numbers_t;

void ngx_http_predictive_api_numbers(ngx_http_predictive_zone_t *zone,
    ngx_http_predictive_numbers_t *n);

/* "0", "1-2" ...: closed blocks of an age class */
extern const char  *ngx_http_predictive_ages[PRD_AGES];


/* _explain.c */

void ngx_http_predictive_explain(ngx_http_predictive_api_t *api);
void ngx_http_predictive_explain_hex(ngx_http_predictive_api_t *api);


/* _outlook.c */

void ngx_http_predictive_outlook_groups(ngx_http_predictive_api_t *api);
void ngx_http_predictive_outlook_class(ngx_http_predictive_json_t *json,
    prd_view_t *view, uint32_t class_);
void ngx_http_predictive_outlook_zone(ngx_http_predictive_api_t *api);
void ngx_http_predictive_outlook_points(ngx_http_predictive_api_t *api,
    uint32_t slot, uint16_t generation);
void ngx_http_predictive_outlook_client(ngx_http_predictive_api_t *api,
    uint32_t slot, uint16_t generation);


/* _metrics.c */

void ngx_http_predictive_metrics(ngx_http_predictive_api_t *api);


#endif /* _NGX_HTTP_PREDICTIVE_API_H_INCLUDED_ */
