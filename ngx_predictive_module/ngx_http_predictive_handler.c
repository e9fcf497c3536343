
/*
 * A request's way through its limits: the verdict in the preaccess phase, the
 * delay, and what is settled once the response is known, in the log phase.
 *
 * A request is charged once, whatever becomes of it: internal redirects,
 * error pages and subrequests find the state that the first verdict left in
 * the main request's memory pool.
 */


#include "ngx_http_predictive_module.h"

#include "prd_lease.h"


#define NGX_HTTP_PREDICTIVE_FULL_MS  60000

#define ngx_http_predictive_debug(r, ctx)                                     \
    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, (r)->connection->log, 0,               \
                   "predictive: zone \"%V\" %s %s, delay %M",                 \
                   &(ctx)->shown->limit->zone->name,                          \
                   prd_verdict_name((ctx)->verdict),                          \
                   prd_reason_name((ctx)->shown->answer.reason), (ctx)->delay)


static ngx_inline void ngx_http_predictive_passed(ngx_http_request_t *r,
    ngx_http_predictive_loc_conf_t *plcf, ngx_http_predictive_ctx_t *ctx);
static ngx_int_t ngx_http_predictive_verdict(ngx_http_request_t *r,
    ngx_http_predictive_loc_conf_t *plcf, ngx_http_predictive_ctx_t *ctx);
static ngx_int_t ngx_http_predictive_ask_values(ngx_http_request_t *r,
    ngx_http_predictive_limit_t *limit, prd_ask_t *ask);
static ngx_int_t ngx_http_predictive_value(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, prd_str_t *value);
static ngx_int_t ngx_http_predictive_bad_value(ngx_http_request_t *r,
    ngx_http_predictive_zone_t *zone, const char *name);

static ngx_inline ngx_http_predictive_ctx_t *ngx_http_predictive_create_ctx(
    ngx_http_request_t *r, ngx_uint_t nparts);
static ngx_inline void ngx_http_predictive_keep_ctx(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx);
static void ngx_http_predictive_cleanup(void *data);
static void ngx_http_predictive_decide(ngx_http_predictive_ctx_t *ctx);
static void ngx_http_predictive_run_end(ngx_event_t *ev);
static void ngx_http_predictive_conclude(ngx_http_predictive_ctx_t *ctx);
static prd_answer_t *ngx_http_predictive_shared(ngx_http_request_t *r,
    ngx_http_predictive_part_t *part);
static void ngx_http_predictive_full(ngx_http_request_t *r,
    ngx_http_predictive_zone_t *zone);

static void ngx_http_predictive_log(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx, ngx_http_predictive_loc_conf_t *plcf);
static u_char *ngx_http_predictive_log_reason(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);

static ngx_int_t ngx_http_predictive_wait(ngx_http_request_t *r,
    ngx_msec_t delay);
static ngx_int_t ngx_http_predictive_watch(ngx_http_request_t *r);
static void ngx_http_predictive_resume(ngx_http_request_t *r);
static ngx_int_t ngx_http_predictive_park(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx);
static void ngx_http_predictive_parked(ngx_http_request_t *r);

static void ngx_http_predictive_settle(ngx_http_request_t *r,
    ngx_http_predictive_part_t *part);


ngx_int_t
ngx_http_predictive_handler(ngx_http_request_t *r)
{
    uint64_t                         tag;
    ngx_int_t                        rc;
    ngx_uint_t                       i, stored;
    prd_answer_t                    *answer;
    ngx_http_predictive_ctx_t       *ctx;
    ngx_http_predictive_part_t      *part;
    ngx_http_predictive_limit_t     *limits;
    ngx_http_predictive_loc_conf_t  *plcf;

    plcf = ngx_http_get_module_loc_conf(r, ngx_http_predictive_module);

    if (plcf->limits.nelts == 0) {
        return NGX_DECLINED;
    }

    /* most requests come here once, and have nothing to look it up in */

    ctx = ngx_http_get_module_ctx(r->main, ngx_http_predictive_module);

    if (ctx == NULL && r->pool->cleanup) {
        ctx = ngx_http_predictive_get_ctx(r);
    }

    if (ctx != NULL) {

        /* a request that was parked comes here again with its answers */

        if (ctx->request != r) {
            return NGX_DECLINED;
        }

        if (ctx->waiting) {
            return NGX_AGAIN;
        }

        ctx->request = NULL;

        return ngx_http_predictive_verdict(r, plcf, ctx);
    }

    limits = plcf->limits.elts;
    stored = 0;

    for (i = 0; i < plcf->limits.nelts; i++) {

        rc = ngx_http_predictive_key(r, limits[i].zone, &tag);

        if (rc == NGX_DECLINED) {
            continue;
        }

        if (rc == NGX_ERROR) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (ctx == NULL) {
            ctx = ngx_http_predictive_create_ctx(r, plcf->limits.nelts - i);
            if (ctx == NULL) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }
        }

        /* made where it stays: a copy of fresh words stalls the loads */

        part = &ctx->parts[ctx->nparts];
        part->limit = &limits[i];
        part->queries[0] = NULL;
        part->queries[1] = NULL;
        part->ask = limits[i].ask;
        part->ask.tag = tag;
        part->ask.now_ms = (uint32_t) ngx_current_msec;

        if (limits[i].variable) {
            rc = ngx_http_predictive_ask_values(r, &limits[i], &part->ask);

            if (rc == NGX_DECLINED) {
                continue;
            }

            if (rc == NGX_ERROR) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }
        }

        stored |= (limits[i].zone->store != NULL);
        ctx->nparts++;
    }

    if (ctx == NULL || ctx->nparts == 0) {
        return NGX_DECLINED;
    }

    ngx_http_predictive_keep_ctx(r, ctx);

    ctx->dry_run = (plcf->dry_run != 0);

    if (stored) {

        if (ngx_http_predictive_store_decide(ctx) == NGX_AGAIN) {
            return ngx_http_predictive_park(r, ctx);
        }

    } else {
        ngx_http_predictive_decide(ctx);
    }

    /* as most are: one limit, within it */

    answer = &ctx->parts[0].answer;

    if (ctx->nparts == 1 && answer->verdict < PRD_DELAYED && !answer->full) {
        ngx_http_predictive_passed(r, plcf, ctx);
        return NGX_DECLINED;
    }

    return ngx_http_predictive_verdict(r, plcf, ctx);
}


/* ngx_http_predictive_verdict() of a request that its only limit lets pass. */

static ngx_inline void
ngx_http_predictive_passed(ngx_http_request_t *r,
    ngx_http_predictive_loc_conf_t *plcf, ngx_http_predictive_ctx_t *ctx)
{
    ngx_http_predictive_part_t  *part;

    part = ctx->parts;

    ctx->shown = part;
    ctx->verdict = part->answer.verdict;

    prd_note_passed(&part->limit->zone->view, &part->ask, &part->answer);

    ngx_http_predictive_debug(r, ctx);

    if (!ctx->dry_run && r == r->main) {
        ctx->headers = plcf->headers;
    }
}


/* The limits have decided: what becomes of the request? */

static ngx_int_t
ngx_http_predictive_verdict(ngx_http_request_t *r,
    ngx_http_predictive_loc_conf_t *plcf, ngx_http_predictive_ctx_t *ctx)
{
    ngx_uint_t  i;

    ngx_http_predictive_conclude(ctx);

    for (i = 0; i < ctx->nparts; i++) {
        if (ctx->parts[i].answer.full) {
            ngx_http_predictive_full(r, ctx->parts[i].limit->zone);
        }
    }

    ngx_http_predictive_debug(r, ctx);

    if (ctx->verdict >= PRD_DELAYED) {

        if (ctx->shown->answer.reason == PRD_REASON_NEWCOMER) {
            ctx->shared = ngx_http_predictive_shared(r, ctx->shown);
        }

        ngx_http_predictive_log(r, ctx, plcf);
    }

    if (ctx->dry_run) {
        return NGX_DECLINED;
    }

    /* a subrequest's limit is nothing that the client could heed */

    if (r == r->main) {
        ctx->headers = plcf->headers;
        ctx->refused = (ctx->verdict == PRD_REJECTED);
    }

    if (ctx->verdict == PRD_REJECTED) {
        return ngx_http_predictive_refuse(r, plcf, ctx);
    }

    /*
     * Nobody waits for a background subrequest (a mirror), and its timer would
     * wake the main request: it is charged and goes on.
     */

    if (ctx->delay && !r->background) {
        return ngx_http_predictive_wait(r, ctx->delay);
    }

    return NGX_DECLINED;
}


/* if=, and what a zone's parameters take from variables */

static ngx_int_t
ngx_http_predictive_ask_values(ngx_http_request_t *r,
    ngx_http_predictive_limit_t *limit, prd_ask_t *ask)
{
    uint64_t                     n;
    ngx_str_t                    s;
    prd_str_t                    value;
    ngx_http_predictive_zone_t  *zone;

    zone = limit->zone;

    if (limit->condition) {
        if (ngx_http_complex_value(r, limit->condition, &s) != NGX_OK) {
            return NGX_ERROR;
        }

        if (s.len == 0 || (s.len == 1 && s.data[0] == '0')) {
            prd_zone_add(&zone->view, PRD_CNT_SKIPPED, 1);
            return NGX_DECLINED;
        }
    }

    if (zone->rate) {
        if (ngx_http_predictive_value(r, zone->rate, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (prd_parse_rate(value, &ask->rate, NULL) != PRD_OK) {
            return ngx_http_predictive_bad_value(r, zone, "rate");
        }
    }

    if (zone->burst && !limit->params.burst_set) {
        if (ngx_http_predictive_value(r, zone->burst, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (prd_parse_uint(value, 1000000000, &n) != PRD_OK) {
            return ngx_http_predictive_bad_value(r, zone, "burst");
        }

        ask->burst = ngx_http_predictive_units(zone, n * PRD_MILLI);

        if (ask->delay != PRD_NODELAY) {
            ask->delay = ngx_min(ask->delay, ask->burst);
        }
    }

    if (zone->cost) {
        if (ngx_http_predictive_value(r, zone->cost, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (prd_parse_milli(value, 1000000000000, &n) != PRD_OK) {
            return ngx_http_predictive_bad_value(r, zone, "cost");
        }

        ask->cost = ngx_http_predictive_units(zone, n);
    }

    if (zone->class_) {
        if (ngx_http_predictive_value(r, zone->class_, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        ask->class_ = prd_zone_class(&zone->view, value);
    }

    if (zone->newcomer) {
        if (ngx_http_complex_value(r, zone->newcomer, &s) != NGX_OK) {
            return NGX_ERROR;
        }

        ask->parent = s.len ? ngx_http_predictive_parent_tag(zone, &s) : 0;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_value(ngx_http_request_t *r, ngx_http_complex_value_t *cv,
    prd_str_t *value)
{
    ngx_str_t  s;

    if (ngx_http_complex_value(r, cv, &s) != NGX_OK) {
        return NGX_ERROR;
    }

    value->len = s.len;
    value->data = (char *) s.data;

    return NGX_OK;
}


/* The value is not logged: it may come from the client, or be its key. */

static ngx_int_t
ngx_http_predictive_bad_value(ngx_http_request_t *r,
    ngx_http_predictive_zone_t *zone, const char *name)
{
    ngx_http_predictive_loc_conf_t  *plcf;

    plcf = ngx_http_get_module_loc_conf(r, ngx_http_predictive_module);

    ngx_log_error(plcf->log_level, r->connection->log, 0,
                  "the variable \"%s\" of predictive zone \"%V\" has no valid "
                  "value, the request is not limited by it",
                  name, &zone->name);

    prd_zone_add(&zone->view, PRD_CNT_BAD_VALUE, 1);

    return NGX_DECLINED;
}


/* One allocation, of context and parts. */

static ngx_inline ngx_http_predictive_ctx_t *
ngx_http_predictive_create_ctx(ngx_http_request_t *r, ngx_uint_t nparts)
{
    ngx_http_predictive_ctx_t  *ctx;

    ctx = ngx_palloc(r->pool, sizeof(ngx_http_predictive_ctx_t)
                              + nparts * sizeof(ngx_http_predictive_part_t));
    if (ctx == NULL) {
        return NULL;
    }

    /* each field: gcc makes "rep stos" of ngx_memzero(), 10 ns and more */

    ctx->parts = (ngx_http_predictive_part_t *) (ctx + 1);
    ctx->nparts = 0;
    ctx->shown = NULL;
    ctx->shared = NULL;
    ctx->verdict = PRD_SKIPPED;
    ctx->delay = 0;
    ctx->retry_after = 0;
    ctx->headers = 0;
    ctx->log_handler = NULL;
    ctx->request = NULL;
    ctx->waiting = 0;
    ctx->queue.prev = NULL;
    ctx->queue.next = NULL;
    ctx->dry_run = 0;
    ctx->refused = 0;
    ctx->told = 0;
    ctx->settled = 0;
    ctx->waking = 0;

    return ctx;
}


/*
 * A limit applies: from now on the context is found.  What
 * ngx_pool_cleanup_add() does, without an allocation more.
 */

static ngx_inline void
ngx_http_predictive_keep_ctx(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx)
{
    ctx->cleanup.handler = ngx_http_predictive_cleanup;
    ctx->cleanup.data = ctx;
    ctx->cleanup.next = r->pool->cleanup;

    r->pool->cleanup = &ctx->cleanup;

    ngx_http_set_ctx(r->main, ctx, ngx_http_predictive_module);
}


/* Its address is how the context is found. */

static void
ngx_http_predictive_cleanup(void *data)
{
    ngx_http_predictive_ctx_t *ctx = data;

    if (ctx->request) {
        ngx_http_predictive_store_abandon(ctx);
    }
}


ngx_http_predictive_ctx_t *
ngx_http_predictive_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_predictive_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r->main, ngx_http_predictive_module);

    if (ctx != NULL) {
        return ctx;
    }

    /* subrequests have the same pool */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_predictive_cleanup) {
            ngx_http_set_ctx(r->main, cln->data, ngx_http_predictive_module);
            return cln->data;
        }
    }

    return NULL;
}


/*
 * All limits are charged, or none.  Each zone hears of the demand, also if
 * another one refuses.
 */

static void
ngx_http_predictive_decide(ngx_http_predictive_ctx_t *ctx)
{
    ngx_uint_t                   i, refused;
    ngx_http_predictive_part_t  *parts;
    ngx_http_predictive_zone_t  *zone;

    parts = ctx->parts;

    if (ctx->nparts == 1) {
        zone = parts[0].limit->zone;
        prd_run_decide(&zone->view, &zone->policy, &zone->run, &parts[0].ask,
                       &parts[0].answer);

        if (prd_run_open(&zone->run) && !zone->run_end.posted) {
            zone->run_end.handler = ngx_http_predictive_run_end;
            zone->run_end.data = zone;
            zone->run_end.log = ngx_cycle->log;
            ngx_post_event(&zone->run_end, &ngx_posted_events);
        }

        return;
    }

    refused = 0;

    for (i = 0; i < ctx->nparts; i++) {
        zone = parts[i].limit->zone;
        prd_run_end(&zone->view, &zone->policy, &zone->run);
        prd_judge(&zone->view, &zone->policy, &parts[i].ask, &parts[i].answer);

        refused |= (parts[i].answer.verdict == PRD_REJECTED);
    }

    if (refused) {
        return;
    }

    for (i = 0; i < ctx->nparts; i++) {
        zone = parts[i].limit->zone;

        if (prd_charge(&zone->view, &zone->policy, &parts[i].ask,
                       &parts[i].answer)
            == PRD_OK)
        {
            continue;
        }

        /* another worker was faster */

        while (i--) {
            zone = parts[i].limit->zone;
            prd_refund(&zone->view, &zone->policy, &parts[i].ask,
                       &parts[i].answer);
        }

        return;
    }
}


/*
 * The worker has handled what was at hand, and nobody knows when it goes on.
 * Events that were posted meanwhile are at hand, too: pipelined requests come
 * one by one in this way.
 */

static void
ngx_http_predictive_run_end(ngx_event_t *ev)
{
    ngx_http_predictive_zone_t  *zone;

    zone = ev->data;

    if (!ngx_queue_empty(&ngx_posted_events) && zone->run_seen != zone->run.n) {
        zone->run_seen = zone->run.n;
        ngx_post_event(ev, &ngx_posted_events);
        return;
    }

    prd_run_end(&zone->view, &zone->policy, &zone->run);
}


/* From the limits' verdicts to that on the request. */

static void
ngx_http_predictive_conclude(ngx_http_predictive_ctx_t *ctx)
{
    uint64_t                     wall_ms;
    ngx_time_t                  *tp;
    ngx_uint_t                   i;
    prd_answer_t                *answer;
    ngx_http_predictive_part_t  *part, *shown;

    tp = ngx_timeofday();
    wall_ms = (uint64_t) tp->sec * 1000 + tp->msec;

    shown = &ctx->parts[0];

    for (i = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];
        answer = &part->answer;

        if (shown->answer.verdict == PRD_REJECTED) {
            continue;
        }

        if (answer->verdict == PRD_REJECTED
            || answer->delay_ms > shown->answer.delay_ms)
        {
            shown = part;
        }
    }

    ctx->shown = shown;
    ctx->verdict = shown->answer.verdict;

    if (ctx->verdict != PRD_REJECTED) {
        ctx->delay = shown->answer.delay_ms;
    }

    /* where one limit refuses, the others have neither passed nor refused */

    for (i = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];

        if (ctx->verdict != PRD_REJECTED
            || part->answer.verdict == PRD_REJECTED)
        {
            prd_note(&part->limit->zone->view, &part->ask, &part->answer,
                     ctx->dry_run, wall_ms);
        }
    }
}


/*
 * The newcomer key's bucket, which delayed or refused the request, in the
 * terms of the client's: that has nothing to say of when to come back.  NULL,
 * where there is no memory: then the client's is shown.
 */

static prd_answer_t *
ngx_http_predictive_shared(ngx_http_request_t *r,
    ngx_http_predictive_part_t *part)
{
    uint64_t                     cost;
    prd_ask_t                    ask;
    prd_answer_t                *shared;
    ngx_http_predictive_zone_t  *zone;

    shared = ngx_palloc(r->pool, sizeof(prd_answer_t));
    if (shared == NULL) {
        return NULL;
    }

    zone = part->limit->zone;

    ask = part->ask;
    ask.tag = ask.parent;
    ask.parent = 0;
    cost = part->answer.cost;

    /* of a node alone each request counts for all nodes */

    if (zone->store && (part->answer.away & PRD_LEASE_PARENT)) {
        cost *= ngx_max(atomic_load_explicit(&zone->view.zone->nodes,
                                             memory_order_relaxed), 1);
    }

    ask.cost = (uint32_t) ngx_min(cost, UINT32_MAX);

    (void) prd_inspect(&zone->view, &zone->policy, &ask, shared);

    /* it speaks of one more request; a delayed one is in the bucket */

    shared->verdict = part->answer.verdict;
    shared->reason = part->answer.reason;

    if (shared->verdict == PRD_DELAYED) {
        shared->level -= ngx_min(shared->level, shared->cost);
    }

    return shared;
}


/* Clients without a slot share a bucket: told once a minute and worker. */

static void
ngx_http_predictive_full(ngx_http_request_t *r,
    ngx_http_predictive_zone_t *zone)
{
    zone->full++;

    if (zone->full > 1
        && (ngx_msec_int_t) (ngx_current_msec - zone->full_ms)
           < NGX_HTTP_PREDICTIVE_FULL_MS)
    {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "predictive zone \"%V\" is full: new clients share one "
                  "bucket, %ui requests so far", &zone->name, zone->full);

    zone->full_ms = ngx_current_msec;
}


/*
 * The lines are limit_req's, so that what reads those reads these; the reason
 * comes at their end, behind what nginx adds to each line of a request.
 */

static void
ngx_http_predictive_log(ngx_http_request_t *r, ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_loc_conf_t *plcf)
{
    uint32_t                     unit;
    ngx_uint_t                   excess;
    prd_answer_t                *answer;
    ngx_http_predictive_zone_t  *zone;

    zone = ctx->shown->limit->zone;
    answer = ctx->shared ? ctx->shared : &ctx->shown->answer;
    unit = answer->terms.unit;

    /* limit_req does not count the request itself */

    excess = answer->level > unit ? answer->level - unit : 0;
    excess *= PRD_MILLI / unit;

    ctx->log_handler = r->main->log_handler;
    r->main->log_handler = ngx_http_predictive_log_reason;

    if (ctx->verdict == PRD_REJECTED) {
        ngx_log_error(plcf->log_level, r->connection->log, 0,
                      "limiting requests%s, excess: %ui.%03ui by zone \"%V\"",
                      ctx->dry_run ? ", dry run" : "",
                      excess / 1000, excess % 1000, &zone->name);

    } else {
        ngx_log_error(plcf->delay_log_level, r->connection->log, 0,
                      "delaying request%s, excess: %ui.%03ui, by zone \"%V\"",
                      ctx->dry_run ? ", dry run" : "",
                      excess / 1000, excess % 1000, &zone->name);
    }

    r->main->log_handler = ctx->log_handler;
}


static u_char *
ngx_http_predictive_log_reason(ngx_http_request_t *r, ngx_http_request_t *sr,
    u_char *buf, size_t len)
{
    u_char                     *p;
    ngx_http_predictive_ctx_t  *ctx;

    ctx = ngx_http_predictive_get_ctx(r);

    p = ctx->log_handler(r, sr, buf, len);

    return ngx_snprintf(p, len - (p - buf), ", reason: %s",
                        prd_reason_name(ctx->shown->answer.reason));
}


/*
 * The timer is a normal one: a worker that is told to exit gracefully waits
 * for it, or the request would be lost at a reload.
 */

static ngx_int_t
ngx_http_predictive_wait(ngx_http_request_t *r, ngx_msec_t delay)
{
    ngx_event_t  *wev;

    if (ngx_http_predictive_watch(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->write_event_handler = ngx_http_predictive_resume;

    wev = r->connection->write;
    wev->delayed = 1;
    ngx_add_timer(wev, delay);

    return NGX_AGAIN;
}


/* A client that goes away meanwhile is noticed. */

static ngx_int_t
ngx_http_predictive_watch(ngx_http_request_t *r)
{
    ngx_event_t  *rev;

    rev = r->connection->read;

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);

    } else if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;

    return NGX_OK;
}


/*
 * The request waits for answers of a store.  It has no timer of its own: the
 * batch with its questions has one.
 */

static ngx_int_t
ngx_http_predictive_park(ngx_http_request_t *r,
    ngx_http_predictive_ctx_t *ctx)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "predictive: parked");

    /* the connection of a background subrequest is its parent's */

    if (!r->background && ngx_http_predictive_watch(r) != NGX_OK) {
        ngx_http_predictive_store_abandon(ctx);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    r->write_event_handler = ngx_http_predictive_parked;

    return NGX_AGAIN;
}


static void
ngx_http_predictive_parked(ngx_http_request_t *r)
{
    if (ngx_handle_write_event(r->connection->write, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


/* The preaccess handlers are run again; ours finds the answers. */

void
ngx_http_predictive_wake(ngx_http_predictive_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0, "predictive: answered");

    if (!r->background && ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ctx->request = NULL;
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        ngx_http_run_posted_requests(c);
        return;
    }

    if (!r->background) {
        r->read_event_handler = ngx_http_block_reading;
    }

    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_predictive_resume(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (c->write->delayed) {

        /* not the timer */

        if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        }

        return;
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0, "predictive: delay is over");

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    /* the preaccess handlers are run again; ours finds its context */

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


/*
 * 401 or 403: the request teaches nothing.  The sooner that is known the less
 * of it is taken for demand meanwhile, so this is called with the header: a
 * client decides for itself when its request ends.
 */

void
ngx_http_predictive_answered(ngx_http_predictive_ctx_t *ctx,
    ngx_uint_t status)
{
    ngx_uint_t                   i;
    ngx_http_predictive_part_t  *part;
    ngx_http_predictive_zone_t  *zone;

    if ((status != NGX_HTTP_UNAUTHORIZED && status != NGX_HTTP_FORBIDDEN)
        || ctx->shown == NULL || ctx->verdict == PRD_REJECTED)
    {
        return;
    }

    for (i = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];
        zone = part->limit->zone;

        if (zone->store) {
            ngx_http_predictive_store_deny(part);
            continue;
        }

        /* its demand is noted before it is taken back */

        prd_run_end(&zone->view, &zone->policy, &zone->run);
        prd_unlearn(&zone->view, &zone->policy, &part->ask, &part->answer);
    }
}


ngx_int_t
ngx_http_predictive_log_handler(ngx_http_request_t *r)
{
    ngx_uint_t                   i;
    ngx_http_predictive_ctx_t   *ctx;
    ngx_http_predictive_part_t  *part;

    /* "log_subrequest on" */

    if (r != r->main) {
        return NGX_OK;
    }

    ctx = ngx_http_predictive_get_ctx(r);

    if (ctx == NULL || ctx->settled || ctx->shown == NULL) {
        return NGX_OK;
    }

    ctx->settled = 1;

    /* what was refused, really or as a dry run, was not charged */

    if (ctx->verdict == PRD_REJECTED) {
        return NGX_OK;
    }

    /* unless its header has told that already */

    ngx_http_predictive_answered(ctx, r->err_status ? r->err_status
                                                    : r->headers_out.status);

    for (i = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];

        if (part->limit->zone->charge) {
            ngx_http_predictive_settle(r, part);
        }

        prd_sized(&part->limit->zone->view, &part->limit->zone->policy,
                  &part->answer, (uint64_t) r->connection->sent);
    }

    return NGX_OK;
}


/* charge=: what the request did cost, in place of what was held for it */

static void
ngx_http_predictive_settle(ngx_http_request_t *r,
    ngx_http_predictive_part_t *part)
{
    uint32_t                     cost;
    uint64_t                     n;
    prd_rc_t                     rc;
    prd_str_t                    value;
    ngx_http_predictive_zone_t  *zone;

    zone = part->limit->zone;

    if (ngx_http_predictive_value(r, zone->charge, &value) != NGX_OK
        || value.len == 0)
    {
        /* empty: the hold stays, and is what the request cost */

        cost = part->answer.cost;

    } else {
        rc = prd_parse_milli(value, 1000000000000, &n);

        if (rc == PRD_ERANGE) {
            n = 1000000000000;

        } else if (rc != PRD_OK) {
            n = 0;
            prd_zone_add(&zone->view, PRD_CNT_BAD_VALUE, 1);
        }

        cost = ngx_http_predictive_units(zone, n);
    }

    if (zone->store) {
        ngx_http_predictive_store_settle(part, cost);
        return;
    }

    prd_settle(&zone->view, &zone->policy, &part->ask, &part->answer, cost);
}
