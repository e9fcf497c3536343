
/*
 * $predictive_*: what is known of a request after its limits were checked.
 * All are computed when they are asked for, and never cached: they may be
 * asked for before there is anything to say.
 */


#include "ngx_http_predictive_module.h"


typedef enum {
    NGX_HTTP_PREDICTIVE_STATUS = 0,
    NGX_HTTP_PREDICTIVE_REASON,
    NGX_HTTP_PREDICTIVE_ZONE,
    NGX_HTTP_PREDICTIVE_KEY,
    NGX_HTTP_PREDICTIVE_RATE,
    NGX_HTTP_PREDICTIVE_BURST,
    NGX_HTTP_PREDICTIVE_FORECAST,
    NGX_HTTP_PREDICTIVE_REMAINING,
    NGX_HTTP_PREDICTIVE_RETRY_AFTER,
    NGX_HTTP_PREDICTIVE_DELAY,
    NGX_HTTP_PREDICTIVE_GROUP,
    NGX_HTTP_PREDICTIVE_NONE              /* of a later version */
} ngx_http_predictive_variable_e;


static ngx_int_t ngx_http_predictive_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static u_char *ngx_http_predictive_status_name(u_char *p,
    ngx_http_predictive_ctx_t *ctx);
static u_char *ngx_http_predictive_rate(u_char *p, double rate);
static double ngx_http_predictive_forecast(ngx_http_predictive_part_t *part);


static ngx_http_variable_t  ngx_http_predictive_vars[] = {

    { ngx_string("predictive_status"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_STATUS,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_reason"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_REASON,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_zone"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_ZONE,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_key"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_KEY,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_rate"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_RATE,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_burst"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_BURST,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_forecast"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_FORECAST,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_remaining"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_REMAINING,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_retry_after"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_RETRY_AFTER,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_delay"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_DELAY,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_group"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_GROUP,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_pool"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_NONE,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("predictive_pool_upstream"), NULL,
      ngx_http_predictive_variable, NGX_HTTP_PREDICTIVE_NONE,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_predictive_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_predictive_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    char                         group[PRD_GROUP_NAME];
    u_char                      *p;
    size_t                       len;
    double                       forecast;
    ngx_str_t                   *name;
    prd_answer_t                *answer;
    ngx_http_predictive_ctx_t   *ctx;
    ngx_http_predictive_part_t  *part;

    ctx = ngx_http_predictive_get_ctx(r);

    if (ctx == NULL || ctx->shown == NULL) {
        goto none;
    }

    part = ctx->shown;
    answer = &part->answer;
    name = &part->limit->zone->name;

    len = (data == NGX_HTTP_PREDICTIVE_ZONE) ? name->len
                                             : NGX_INT64_LEN + 32;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->data = p;

    switch (data) {

    case NGX_HTTP_PREDICTIVE_STATUS:
        p = ngx_http_predictive_status_name(p, ctx);
        break;

    case NGX_HTTP_PREDICTIVE_REASON:
        p = ngx_sprintf(p, "%s", prd_reason_name(answer->reason));
        break;

    case NGX_HTTP_PREDICTIVE_ZONE:
        p = ngx_cpymem(p, name->data, name->len);
        break;

    case NGX_HTTP_PREDICTIVE_KEY:
        p = ngx_sprintf(p, "%016xL", (int64_t) part->ask.tag);
        break;

    case NGX_HTTP_PREDICTIVE_RATE:
        p = ngx_http_predictive_rate(p, (double) answer->terms.rate
                                        / PRD_RATE_ONE);
        break;

    case NGX_HTTP_PREDICTIVE_BURST:
        p = ngx_sprintf(p, "%uD", answer->terms.depth / answer->terms.unit);
        break;

    case NGX_HTTP_PREDICTIVE_FORECAST:
        forecast = ngx_http_predictive_forecast(part);

        if (forecast <= 0) {
            goto none;
        }

        p = ngx_http_predictive_rate(p, forecast);
        break;

    case NGX_HTTP_PREDICTIVE_REMAINING:
        p = ngx_sprintf(p, "%uL", ngx_http_predictive_remaining(ctx));
        break;

    case NGX_HTTP_PREDICTIVE_RETRY_AFTER:

        if (ctx->verdict != PRD_REJECTED) {
            goto none;
        }

        p = ngx_sprintf(p, "%ui", ngx_http_predictive_retry_after(ctx));
        break;

    case NGX_HTTP_PREDICTIVE_DELAY:
        p = ngx_sprintf(p, "%M.%03M", ctx->delay / 1000, ctx->delay % 1000);
        break;

    case NGX_HTTP_PREDICTIVE_GROUP:

        len = ngx_http_predictive_outlook_name(part, group);

        if (len == 0) {
            goto none;
        }

        p = ngx_cpymem(p, group, len);
        break;

    default:
        goto none;
    }

    v->len = p - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;

none:

    v->not_found = 1;

    return NGX_OK;
}


static u_char *
ngx_http_predictive_status_name(u_char *p, ngx_http_predictive_ctx_t *ctx)
{
    return ngx_sprintf(p, "%s%s", prd_verdict_name(ctx->verdict),
                       ctx->dry_run && ctx->verdict >= PRD_DELAYED
                       ? "_DRY_RUN" : "");
}


/* Up to three decimals, none where they are zero. */

static u_char *
ngx_http_predictive_rate(u_char *p, double rate)
{
    uint64_t  n;

    n = (rate < 1e15) ? (uint64_t) (rate * 1000 + 0.5) : (uint64_t) 1e18;

    p = ngx_sprintf(p, "%uL", n / 1000);

    if (n % 1000 == 0) {
        return p;
    }

    p = ngx_sprintf(p, ".%03uL", n % 1000);

    while (p[-1] == '0') {
        p--;
    }

    return p;
}


/*
 * The client's demand over the next horizon, 95 % quantile, tokens/s; 0 while
 * nothing is known of it.
 *
 * The thread may be writing what is read here, and another client may be given
 * the slot: single words are whole, so that the worst is a forecast made of an
 * old and a new number, shown once.  Nothing is decided by it.
 */

static double
ngx_http_predictive_forecast(ngx_http_predictive_part_t *part)
{
    uint32_t               slot, generation;
    prd_view_t            *view;
    prd_learned_t          learned;
    const prd_params_t    *params;
    prd_envelope_terms_t   terms;

    view = &part->limit->zone->view;
    params = &part->limit->zone->policy.params;
    slot = part->answer.slot;

    if (slot >= prd_zone_slots(view)) {
        return 0;
    }

    generation = prd_env_generation(
                     atomic_load_explicit(&view->table.entries[slot].envelope,
                                          memory_order_relaxed));
    learned = view->learned[slot];

    if (learned.generation != generation) {
        return 0;
    }

    terms.alpha = 1 - params->confidence_ppm / 1e6;
    terms.horizon_s = params->horizon_s;
    terms.learning = 0;
    terms.phase_s = prd_phase_s(atomic_load_explicit(&view->table.tags[slot],
                                                     memory_order_relaxed));

    return prd_learned_forecast(&learned, &view->zone->pooled, &terms,
                                (double) ngx_time());
}
