
/*
 * /zones/Z/top: the clients that ask for most, are refused most, or of whom
 * most is expected.
 */


#include <math.h>

#include "ngx_http_predictive_api.h"


#define NGX_HTTP_PREDICTIVE_API_TOP  20


static int ngx_http_predictive_api_compare(const void *one, const void *two);


void
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
