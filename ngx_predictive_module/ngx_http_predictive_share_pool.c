
/*
 * This node's part of a zone's pool: it tells the store what was borrowed
 * here, and is granted what it may lend next.
 */


#include "ngx_http_predictive_share.h"


/* milliseconds: without a store, at least so long */
#define NGX_HTTP_PREDICTIVE_AWAY  500


static void ngx_http_predictive_share_pooled(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_share_late(void *data,
    ngx_http_predictive_answer_t *answer);
static ngx_uint_t ngx_http_predictive_share_granted(
    ngx_http_predictive_answer_t *answer);


void
ngx_http_predictive_share_pool(ngx_http_predictive_part_of_t *part)
{
    u_char                        buf[7][NGX_INT64_LEN + 1];
    int64_t                       n[7];
    ngx_str_t                     argv[9];
    ngx_uint_t                    i;
    ngx_msec_t                    waited;
    prd_pool_terms_t             *t;
    prd_pool_report_t             report;
    ngx_http_predictive_share_t  *share;

    if (part->pool_call) {
        return;
    }

    share = part->share;
    t = &part->zone->policy.pool;
    waited = ngx_current_msec - part->pool_at;

    /* each tick, or sooner when half of what was there is spent */

    if (waited < part->crew->store->sync
        && atomic_load_explicit(&t->share->credit, memory_order_relaxed)
           >= part->pool.seen / 2)
    {
        return;
    }

    part->pool_at = ngx_current_msec;

    prd_pool_report(&part->zone->view.zone->pool, t, &part->pool,
                    (uint32_t) ngx_current_msec, &report);

    /* not those that the store knows of now: it may have begun anew */

    n[0] = atomic_load(&part->zone->view.zone->nodes);
    n[1] = PRD_POOL_PER_MS;
    n[2] = PRD_POOL_FULL;
    n[3] = ngx_max(report.held, 0);
    n[4] = report.returned;
    n[5] = report.debt;
    n[6] = report.pace;

    argv[0].data = ngx_alloc(part->prefix.len + sizeof("pool}:b"),
                             share->cycle->log);
    if (argv[0].data == NULL) {
        prd_pool_lost(t, &part->pool, 0);
        return;
    }

    argv[0].len = ngx_sprintf(argv[0].data, "%Vpool}:b", &part->prefix)
                  - argv[0].data;
    argv[1].len = 16;
    argv[1].data = share->hex;

    for (i = 0; i < 7; i++) {
        argv[i + 2].data = buf[i];
        argv[i + 2].len = ngx_sprintf(buf[i], "%L", n[i]) - buf[i];
    }

    part->pool_call = ngx_http_predictive_redis_eval(part->crew->store,
                          &share->script_pool, 1, argv, 9,
                          part->crew->store->timeout,
                          ngx_http_predictive_share_pooled, part);

    ngx_free(argv[0].data);

    if (part->pool_call == NULL) {
        prd_pool_lost(t, &part->pool, 0);
    }
}


static void
ngx_http_predictive_share_pooled(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_http_predictive_part_of_t *part = data;

    unsigned           sent;
    ngx_msec_t         good;
    redisReply        *r;
    prd_pool_terms_t  *t;

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_TIMEOUT) {
        part->pool_call->late = ngx_http_predictive_share_late;
    }

    part->pool_call = NULL;
    t = &part->zone->policy.pool;
    r = answer->reply;

    if (ngx_http_predictive_share_granted(answer)) {
        good = ngx_max(4 * part->crew->store->sync, NGX_HTTP_PREDICTIVE_AWAY);

        prd_pool_grant(&part->zone->view.zone->pool, t, &part->pool,
                       r->element[0]->integer, r->element[1]->integer,
                       r->element[2]->integer,
                       atomic_load(&part->zone->view.zone->nodes),
                       (uint32_t) ngx_current_msec,
                       (uint32_t) (ngx_current_msec + good));
        return;
    }

    sent = answer->status == NGX_HTTP_PREDICTIVE_REPLY_TIMEOUT
           || answer->status == NGX_HTTP_PREDICTIVE_REPLY_LOST;

    prd_pool_lost(t, &part->pool, sent);
}


/* What it has granted meanwhile was debited: nobody else has it. */

static void
ngx_http_predictive_share_late(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_http_predictive_part_of_t *part = data;

    if (ngx_http_predictive_share_granted(answer)) {
        prd_pool_late(&part->pool, answer->reply->element[0]->integer);
    }
}


static ngx_uint_t
ngx_http_predictive_share_granted(ngx_http_predictive_answer_t *answer)
{
    redisReply  *r;

    r = answer->reply;

    return answer->status == NGX_HTTP_PREDICTIVE_REPLY_OK
           && r->type == REDIS_REPLY_ARRAY && r->elements == 3
           && r->element[0]->type == REDIS_REPLY_INTEGER
           && r->element[1]->type == REDIS_REPLY_INTEGER
           && r->element[2]->type == REDIS_REPLY_INTEGER;
}
