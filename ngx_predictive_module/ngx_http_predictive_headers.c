
/*
 * What a client is told: RateLimit fields, Retry-After, problem bodies.
 *
 * RateLimit and RateLimit-Policy follow draft-ietf-httpapi-ratelimit-headers
 * -11; all that depends on its revision is ngx_http_predictive_draft().
 * Problem bodies are RFC 9457 with the draft's types.
 */


#include "ngx_http_predictive_module.h"


/* longer waits are not told: nobody plans for them */

#define NGX_HTTP_PREDICTIVE_WAIT_MAX  31536000

#define NGX_HTTP_PREDICTIVE_TYPES                                             \
    "https://iana.org/assignments/http-problem-types#"


typedef enum {
    NGX_HTTP_PREDICTIVE_POLICY = 0,
    NGX_HTTP_PREDICTIVE_LIMIT,
    NGX_HTTP_PREDICTIVE_X_LIMIT,
    NGX_HTTP_PREDICTIVE_X_REMAINING,
    NGX_HTTP_PREDICTIVE_X_RESET,
    NGX_HTTP_PREDICTIVE_RETRY_AFTER_FIELD,
    NGX_HTTP_PREDICTIVE_NAMES
} ngx_http_predictive_name_e;


/* A limit in the terms of the fields: whole tokens and seconds. */

typedef struct {
    uint64_t    quota;                /* q: what a full bucket admits */
    uint64_t    window;               /* w: in which it fills */
    uint64_t    remaining;            /* r */
    uint64_t    reset;                /* t: no token more than r until then */
} ngx_http_predictive_quota_t;


typedef struct {
    ngx_str_t   type;
    ngx_str_t   title;
    ngx_str_t   detail;
} ngx_http_predictive_problem_t;


static ngx_int_t ngx_http_predictive_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_predictive_add_headers(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx);
static ngx_uint_t ngx_http_predictive_has_headers(ngx_http_request_t *r);
static ngx_int_t ngx_http_predictive_draft(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx);
static ngx_int_t ngx_http_predictive_legacy(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx);
static ngx_int_t ngx_http_predictive_add_number(ngx_http_request_t *r,
    ngx_http_predictive_name_e name, uint64_t n);

static uint64_t ngx_http_predictive_admitted(prd_terms_t *t);
static uint64_t ngx_http_predictive_drain_time(prd_terms_t *t, uint64_t units);
static prd_answer_t *ngx_http_predictive_answer(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part);
static uint64_t ngx_http_predictive_pooled(ngx_http_predictive_part_t *part,
    int64_t from, int64_t to);
static uint64_t ngx_http_predictive_pool_time(ngx_http_predictive_part_t *part,
    uint64_t units);
static void ngx_http_predictive_quota(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part, ngx_http_predictive_quota_t *quota);
static uint64_t ngx_http_predictive_pass_time(prd_answer_t *answer);

static ngx_uint_t ngx_http_predictive_has_error_page(ngx_http_request_t *r,
    ngx_int_t status);
static ngx_http_predictive_problem_t *ngx_http_predictive_problem(
    prd_reason_e reason);
static ngx_int_t ngx_http_predictive_problem_body(ngx_http_request_t *r,
    ngx_uint_t status, ngx_http_predictive_ctx_t *ctx, ngx_str_t *body);
static u_char *ngx_http_predictive_instance(ngx_http_request_t *r, u_char *p);


static ngx_str_t  ngx_http_predictive_names[] = {
    ngx_string("RateLimit-Policy"),
    ngx_string("RateLimit"),
    ngx_string("X-RateLimit-Limit"),
    ngx_string("X-RateLimit-Remaining"),
    ngx_string("X-RateLimit-Reset"),
    ngx_string("Retry-After")
};


static ngx_http_predictive_problem_t  ngx_http_predictive_quota_exceeded = {
    ngx_string(NGX_HTTP_PREDICTIVE_TYPES "quota-exceeded"),
    ngx_string("Quota Exceeded"),
    ngx_string("More requests than the policy allows.")
};


static ngx_http_predictive_problem_t  ngx_http_predictive_reduced_capacity = {
    ngx_string(NGX_HTTP_PREDICTIVE_TYPES "temporary-reduced-capacity"),
    ngx_string("Temporary Reduced Capacity"),
    ngx_string("The service is short of capacity at the moment.")
};


static ngx_http_predictive_problem_t  ngx_http_predictive_abnormal_usage = {
    ngx_string(NGX_HTTP_PREDICTIVE_TYPES "abnormal-usage-detected"),
    ngx_string("Abnormal Usage Detected"),
    ngx_string("More requests than are usual for this client.")
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


void
ngx_http_predictive_headers_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_predictive_header_filter;
}


static ngx_int_t
ngx_http_predictive_header_filter(ngx_http_request_t *r)
{
    ngx_http_predictive_ctx_t  *ctx;

    if (r == r->main) {
        ctx = ngx_http_predictive_get_ctx(r);

        if (ctx != NULL) {
            ngx_http_predictive_answered(ctx, r->headers_out.status);
        }

        if (ctx != NULL
            && (!ctx->told || !ngx_http_predictive_has_headers(r)))
        {
            ctx->told = 1;

            if (ngx_http_predictive_add_headers(r, ctx) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return ngx_http_next_header_filter(r);
}


/*
 * Are they still there?  A response may be turned into an error while its
 * header is being filtered, with its headers (416) or without (412).
 */

static ngx_uint_t
ngx_http_predictive_has_headers(ngx_http_request_t *r)
{
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            for (n = 0; n < NGX_HTTP_PREDICTIVE_NAMES; n++) {
                if (h[i].key.data == ngx_http_predictive_names[n].data) {
                    return 1;
                }
            }
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_predictive_add_headers(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx)
{
    if (ctx->headers & NGX_HTTP_PREDICTIVE_HEADERS_DRAFT) {
        if (ngx_http_predictive_draft(r, ctx) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ctx->headers & NGX_HTTP_PREDICTIVE_HEADERS_LEGACY) {
        if (ngx_http_predictive_legacy(r, ctx) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ctx->refused) {
        return ngx_http_predictive_add_number(r,
                                      NGX_HTTP_PREDICTIVE_RETRY_AFTER_FIELD,
                                      ngx_http_predictive_retry_after(ctx));
    }

    return NGX_OK;
}


/* Lists of structured fields, an item each limit. */

static ngx_int_t
ngx_http_predictive_draft(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx)
{
    size_t                        len;
    ngx_str_t                     policy, limit;
    ngx_uint_t                    i;
    ngx_http_predictive_part_t   *part;
    ngx_http_predictive_quota_t   quota;

    len = 0;

    for (i = 0; i < ctx->nparts; i++) {
        len += ctx->parts[i].limit->zone->quoted.len
               + sizeof(", ;q=;w=") + 2 * NGX_INT64_LEN;
    }

    policy.data = ngx_pnalloc(r->pool, 2 * len);
    if (policy.data == NULL) {
        return NGX_ERROR;
    }

    limit.data = policy.data + len;
    policy.len = 0;
    limit.len = 0;

    for (i = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];

        ngx_http_predictive_quota(ctx, part, &quota);

        policy.len = ngx_sprintf(policy.data + policy.len, "%s%V;q=%uL;w=%uL",
                                 i ? ", " : "", &part->limit->zone->quoted,
                                 quota.quota, quota.window)
                     - policy.data;

        limit.len = ngx_sprintf(limit.data + limit.len, "%s%V;r=%uL;t=%uL",
                                i ? ", " : "", &part->limit->zone->quoted,
                                quota.remaining, quota.reset)
                    - limit.data;
    }

    if (ngx_http_predictive_add_header(r,
                      &ngx_http_predictive_names[NGX_HTTP_PREDICTIVE_POLICY],
                      &policy)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_predictive_add_header(r,
                      &ngx_http_predictive_names[NGX_HTTP_PREDICTIVE_LIMIT],
                      &limit);
}


static ngx_int_t
ngx_http_predictive_legacy(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx)
{
    ngx_http_predictive_quota_t  quota;

    ngx_http_predictive_quota(ctx, ctx->shown, &quota);

    if (ngx_http_predictive_add_number(r, NGX_HTTP_PREDICTIVE_X_LIMIT,
                                       quota.quota)
        != NGX_OK
        || ngx_http_predictive_add_number(r, NGX_HTTP_PREDICTIVE_X_REMAINING,
                                          quota.remaining)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_predictive_add_number(r, NGX_HTTP_PREDICTIVE_X_RESET,
                                          quota.reset);
}


ngx_int_t
ngx_http_predictive_add_header(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key = *name;
    h->value = *value;
    h->lowcase_key = NULL;
    ngx_http_predictive_header_end(h);

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_add_number(ngx_http_request_t *r,
    ngx_http_predictive_name_e name, uint64_t n)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%uL", n) - value.data;

    return ngx_http_predictive_add_header(r, &ngx_http_predictive_names[name],
                                          &value);
}


/*
 * The highest level that is admitted, as far as it is the client's own: what
 * it could borrow is not promised.
 */

static uint64_t
ngx_http_predictive_admitted(prd_terms_t *t)
{
    uint64_t  level;

    level = ngx_max(t->limit, t->free);

    return level * ngx_min(t->m, PRD_ONE_Q16) >> 16;
}


/* Seconds, rounded up, in which so many level units drain; >= 1. */

static uint64_t
ngx_http_predictive_drain_time(prd_terms_t *t, uint64_t units)
{
    uint64_t           s;
    unsigned __int128  rate, need;

    rate = (unsigned __int128) t->rate * ngx_max(t->speed, PRD_ONE_Q16) >> 16;

    if (rate == 0) {
        return NGX_HTTP_PREDICTIVE_WAIT_MAX;
    }

    /* level units to nano-tokens */

    need = (unsigned __int128) units * (PRD_RATE_ONE / t->unit);
    need = (need + rate - 1) / rate;

    s = (uint64_t) ngx_min(need, NGX_HTTP_PREDICTIVE_WAIT_MAX);

    return ngx_max(s, 1);
}


/* What decided: the client's bucket, or the one it shares as a newcomer. */

static prd_answer_t *
ngx_http_predictive_answer(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part)
{
    return ctx->shared && part == ctx->shown ? ctx->shared : &part->answer;
}


/*
 * What the pool has for all clients of this node together, in level units,
 * between two levels of it (Q16, its depth being 1): where only the capacity
 * limits, a client that nothing is known of yet may have a bucket that is
 * deeper by far.
 */

static uint64_t
ngx_http_predictive_pooled(ngx_http_predictive_part_t *part, int64_t from,
    int64_t to)
{
    uint64_t            units;
    prd_pool_terms_t   *pool;

    pool = &part->limit->zone->policy.pool;

    if (pool->capacity == 0) {
        return UINT64_MAX;
    }

    units = (uint64_t) ((unsigned __int128) pool->capacity * PRD_POOL_DEPTH_S
                        * part->limit->zone->policy.unit / PRD_RATE_ONE);

    if (pool->share
        && !prd_pool_shared(pool, (uint32_t) ngx_current_msec))
    {
        units /= ngx_max(atomic_load_explicit(&pool->share->nodes,
                                              memory_order_relaxed), 1);
    }

    return (uint64_t) ((unsigned __int128) units * ngx_max(to - from, 0) >> 16);
}


/* Seconds, rounded up, in which the pool gets so many level units. */

static uint64_t
ngx_http_predictive_pool_time(ngx_http_predictive_part_t *part,
    uint64_t units)
{
    prd_policy_t       *policy;
    unsigned __int128   need;

    policy = &part->limit->zone->policy;

    need = (unsigned __int128) units * (PRD_RATE_ONE / policy->unit);
    need = (need + policy->pool.capacity - 1) / policy->pool.capacity;

    return (uint64_t) ngx_min(need, NGX_HTTP_PREDICTIVE_WAIT_MAX);
}


static void
ngx_http_predictive_quota(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part, ngx_http_predictive_quota_t *quota)
{
    uint64_t       level, admitted, left, most, need;
    prd_terms_t   *t;
    prd_answer_t  *answer;

    answer = ngx_http_predictive_answer(ctx, part);
    t = &answer->terms;

    admitted = ngx_http_predictive_admitted(t);

    most = ngx_http_predictive_pooled(part, -(int64_t) PRD_ONE_Q16,
                                      PRD_ONE_Q16);
    most = ngx_min(admitted, most);

    quota->quota = most / t->unit;
    quota->window = ngx_http_predictive_drain_time(t, most);

    /* what was refused, by whichever limit, is in no bucket */

    level = answer->level;

    if (ctx->verdict == PRD_REJECTED) {
        level -= ngx_min(level, answer->cost);
    }

    left = admitted > level ? admitted - level : 0;

    /* of the pool, as it was before the request */

    most = ngx_http_predictive_pooled(part, PRD_POOL_EMPTY >> 14,
                                      answer->fill);

    if (ctx->verdict != PRD_REJECTED) {
        most -= ngx_min(most, answer->cost);

    } else if (answer->reason == PRD_REASON_SCARCE) {
        most = 0;
    }

    quota->remaining = ngx_min(left, most) / t->unit;

    if (answer->verdict == PRD_REJECTED) {
        quota->reset = ngx_http_predictive_pass_time(answer);

    } else {
        need = (quota->remaining + 1) * t->unit;
        quota->reset = 1;

        if (need > left) {
            level += need;
            quota->reset = ngx_http_predictive_drain_time(t,
                               level > admitted ? level - admitted : t->unit);
        }

        if (need > most) {
            need = ngx_http_predictive_pool_time(part, need - most);
            quota->reset = ngx_max(quota->reset, need);
        }
    }
}


uint64_t
ngx_http_predictive_remaining(ngx_http_predictive_ctx_t *ctx)
{
    ngx_http_predictive_quota_t  quota;

    ngx_http_predictive_quota(ctx, ctx->shown, &quota);

    return quota.remaining;
}


ngx_uint_t
ngx_http_predictive_retry_after(ngx_http_predictive_ctx_t *ctx)
{
    if (ctx->retry_after == 0) {
        ctx->retry_after = ngx_http_predictive_pass_time(
                               ngx_http_predictive_answer(ctx, ctx->shown));

        /* those who are told to come back shall not come back together */

        ctx->retry_after += ngx_random() % (ctx->retry_after / 10 + 2);
    }

    return ctx->retry_after;
}


/* Seconds until the bucket that refused would admit, rounded up, >= 1. */

static uint64_t
ngx_http_predictive_pass_time(prd_answer_t *answer)
{
    int64_t       fill;
    uint64_t      wait, level, admitted;
    prd_terms_t  *t;

    t = &answer->terms;

    /* nobody knows when the store is back */

    if (answer->reason == PRD_REASON_STORE) {
        return 1;
    }

    level = answer->level;
    admitted = ngx_max(t->limit, t->free);

    if (answer->cost > admitted) {

        /* passes when the bucket is empty */

        admitted = answer->cost;
    }

    wait = 0;

    if (level > admitted) {
        wait = ngx_http_predictive_drain_time(t, level - admitted);
    }

    if (t->m < PRD_ONE_Q16 || answer->reason == PRD_REASON_SCARCE) {

        /*
         * The envelope is whole again when the pool is half full (less, for
         * clients who are known): 5 s per whole pool, if nobody else drew.
         */

        fill = (int64_t) PRD_ONE_Q16 / 2 - answer->fill;

        if (fill > 0) {
            fill = (fill * PRD_POOL_DEPTH_S + PRD_ONE_Q16 - 1) / PRD_ONE_Q16;
            wait = ngx_max(wait, (uint64_t) fill);
        }
    }

    return ngx_max(wait, 1);
}


ngx_int_t
ngx_http_predictive_refuse(ngx_http_request_t *r,
    ngx_http_predictive_loc_conf_t *plcf, ngx_http_predictive_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_str_t                 type;
    ngx_uint_t                status;
    ngx_http_complex_value_t  body;

    status = plcf->status_code;

    /* 444 and 494..499 are instructions to nginx rather than statuses */

    if (!plcf->problem || r != r->main || status == NGX_HTTP_CLOSE
        || (status >= NGX_HTTP_NGINX_CODES
            && status <= NGX_HTTP_CLIENT_CLOSED_REQUEST)
        || ngx_http_predictive_has_error_page(r, status))
    {
        return status;
    }

    ngx_memzero(&body, sizeof(ngx_http_complex_value_t));

    if (ngx_http_predictive_problem_body(r, status, ctx, &body.value)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&type, "application/problem+json");

    /* no "100 Continue" for a body that is not read */

    r->expect_tested = 1;

    rc = ngx_http_send_response(r, status, &type, &body);

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


/* Would nginx answer this status with a page of the operator's? */

static ngx_uint_t
ngx_http_predictive_has_error_page(ngx_http_request_t *r, ngx_int_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r->error_page || clcf->error_pages == NULL || r->uri_changes == 0) {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if (page[i].status == status) {
            return 1;
        }
    }

    return 0;
}


static ngx_http_predictive_problem_t *
ngx_http_predictive_problem(prd_reason_e reason)
{
    switch (reason) {

    case PRD_REASON_SCARCE:
    case PRD_REASON_STORE:
    case PRD_REASON_ZONE_FULL:
        return &ngx_http_predictive_reduced_capacity;

    case PRD_REASON_ABOVE_FORECAST:
        return &ngx_http_predictive_abnormal_usage;

    default:
        return &ngx_http_predictive_quota_exceeded;
    }
}


static ngx_int_t
ngx_http_predictive_problem_body(ngx_http_request_t *r, ngx_uint_t status,
    ngx_http_predictive_ctx_t *ctx, ngx_str_t *body)
{
    u_char                         *p;
    size_t                          len;
    ngx_uint_t                      i, n;
    ngx_http_predictive_part_t     *part;
    ngx_http_predictive_problem_t  *problem;

    problem = ngx_http_predictive_problem(ctx->shown->answer.reason);

    len = sizeof("{\"type\":\"\",\"title\":\"\",\"status\":,\"detail\":\""
                 " Retry after  s.\",\"instance\":\"urn:uuid:\","
                 "\"violated-policies\":[]}\n")
          + problem->type.len + problem->title.len + problem->detail.len
          + 2 * NGX_INT_T_LEN + 36;

    for (i = 0; i < ctx->nparts; i++) {
        len += ctx->parts[i].limit->zone->quoted.len + 1;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    p = ngx_sprintf(p, "{\"type\":\"%V\",\"title\":\"%V\",\"status\":%ui,"
                    "\"detail\":\"%V Retry after %ui s.\"",
                    &problem->type, &problem->title, status,
                    &problem->detail, ngx_http_predictive_retry_after(ctx));

    p = ngx_http_predictive_instance(r, p);

    p = ngx_sprintf(p, ",\"violated-policies\":[");

    for (i = 0, n = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];

        if (part->answer.verdict == PRD_REJECTED) {
            p = ngx_sprintf(p, "%s%V", n++ ? "," : "",
                            &part->limit->zone->quoted);
        }
    }

    p = ngx_sprintf(p, "]}\n");

    body->len = p - body->data;

    return NGX_OK;
}


/*
 * $request_id, which operators may log, as a URN: unlike the URI it tells
 * nothing of the client.
 */

static u_char *
ngx_http_predictive_instance(ngx_http_request_t *r, u_char *p)
{
    u_char                           *id;
    ngx_http_variable_value_t        *vv;
    ngx_http_predictive_main_conf_t  *pmcf;

    pmcf = ngx_http_get_module_main_conf(r, ngx_http_predictive_module);

    vv = ngx_http_get_indexed_variable(r, pmcf->request_id);

    if (vv == NULL || vv->not_found || vv->len != 32) {
        return p;
    }

    id = vv->data;

    return ngx_sprintf(p, ",\"instance\":\"urn:uuid:%*s-%*s-%*s-%*s-%*s\"",
                       (size_t) 8, id, (size_t) 4, id + 8,
                       (size_t) 4, id + 12, (size_t) 4, id + 16,
                       (size_t) 12, id + 20);
}
