
/*
 * Requests of zones that have a store: what is asked there, and how a request
 * waits for it.
 *
 * A request that must ask is parked without timer or connection of its own;
 * when all its answers are there, or the time of the batch is over in which its
 * question went, it goes on.  What the store answers later still counts: tokens
 * that it debited are held or pay what was let through meanwhile.
 */


#include "ngx_http_predictive_lease.h"

#include "prd_script.h"


static ngx_int_t ngx_http_predictive_lease_init(
    ngx_http_predictive_zone_t *zone, ngx_cycle_t *cycle);
static void ngx_http_predictive_store_all(ngx_http_predictive_ctx_t *ctx);
static void ngx_http_predictive_store_refund(ngx_http_predictive_ctx_t *ctx);
static prd_lease_mode_e ngx_http_predictive_store_mode(
    ngx_http_predictive_zone_t *zone);
static void ngx_http_predictive_store_asks(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part);


ngx_int_t
ngx_http_predictive_leases_init(ngx_http_predictive_main_conf_t *pmcf,
    ngx_cycle_t *cycle)
{
    ngx_uint_t                    i;
    ngx_http_predictive_zone_t  **zones;

    zones = pmcf->zones.elts;

    for (i = 0; i < pmcf->zones.nelts; i++) {
        if (zones[i]->store && zones[i]->view.zone
            && ngx_http_predictive_lease_init(zones[i], cycle) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_lease_init(ngx_http_predictive_zone_t *zone,
    ngx_cycle_t *cycle)
{
    u_char                       *p;
    ngx_str_t                    *prefix;
    ngx_uint_t                    i;
    ngx_http_predictive_lease_t  *lease;

    lease = ngx_pcalloc(cycle->pool, sizeof(ngx_http_predictive_lease_t));
    if (lease == NULL) {
        return NGX_ERROR;
    }

    lease->zone = zone;
    lease->pool = cycle->pool;
    lease->log = cycle->log;

    ngx_http_predictive_script_init(&lease->script, prd_script_batch,
                                    ngx_strlen(prd_script_batch));

    lease->shards = zone->store->mode == NGX_HTTP_PREDICTIVE_CLUSTER
                    ? NGX_HTTP_PREDICTIVE_SHARDS : 1;

    /* one for each group of keys: PREFIX:1:{ZONE:sNNN}: */

    prefix = &zone->store->prefix;

    lease->prefix_len = prefix->len + zone->name.len
                        + sizeof(":1:{:s000}:") - 1;

    p = ngx_pnalloc(cycle->pool,
                    lease->prefix_len * NGX_HTTP_PREDICTIVE_SHARDS);
    if (p == NULL) {
        return NGX_ERROR;
    }

    lease->prefix = p;

    lease->keys = ngx_pnalloc(cycle->pool,
                              (lease->prefix_len + PRD_LEASE_KEY)
                              * PRD_LEASE_KEYS);
    if (lease->keys == NULL) {
        return NGX_ERROR;
    }

    lease->last = &lease->ready;

    for (i = 0; i < NGX_HTTP_PREDICTIVE_SHARDS; i++) {
        p = ngx_sprintf(p, "%V:1:{%V:s%03ui}:", prefix, &zone->name, i);
    }

    lease->flush.handler = ngx_http_predictive_lease_flush;
    lease->flush.data = lease;
    lease->flush.log = cycle->log;

    lease->hold.handler = ngx_http_predictive_lease_hold;
    lease->hold.data = lease;
    lease->hold.log = cycle->log;

    lease->tick.handler = ngx_http_predictive_lease_tick;
    lease->tick.data = lease;
    lease->tick.log = cycle->log;
    lease->tick.cancelable = 1;

    zone->lease = lease;

    return NGX_OK;
}


/*
 * What this worker has leased goes back, as far as the socket takes it: other
 * workers of this host that go on ask again.
 */

void
ngx_http_predictive_leases_exit(ngx_http_predictive_main_conf_t *pmcf)
{
    ngx_uint_t                    i, n;
    ngx_http_predictive_item_t   *item, *next;
    ngx_http_predictive_zone_t  **zones;
    ngx_http_predictive_lease_t  *lease;

    zones = pmcf->zones.elts;

    for (i = 0; i < pmcf->zones.nelts; i++) {
        lease = zones[i]->lease;

        if (lease == NULL) {
            continue;
        }

        if (ngx_http_predictive_redis_up(zones[i]->store)) {

            for (n = 0; n < NGX_HTTP_PREDICTIVE_WHEEL; n++) {

                item = lease->wheel[n];
                lease->wheel[n] = NULL;

                for ( /* void */ ; item; item = next) {
                    next = item->next;
                    ngx_http_predictive_lease_turn(lease, item, 1);
                }
            }

            ngx_http_predictive_lease_flush(&lease->flush);
            ngx_http_predictive_redis_flush(zones[i]->store);
        }
    }

    /* a connection that breaks meanwhile tells all zones of its store */

    for (i = 0; i < pmcf->zones.nelts; i++) {
        lease = zones[i]->lease;

        if (lease == NULL) {
            continue;
        }

        if (lease->flush.posted) {
            ngx_delete_posted_event(&lease->flush);
        }

        if (lease->tick.timer_set) {
            ngx_del_timer(&lease->tick);
        }

        if (lease->hold.timer_set) {
            ngx_del_timer(&lease->hold);
        }

        zones[i]->lease = NULL;
    }
}


ngx_int_t
ngx_http_predictive_store_decide(ngx_http_predictive_ctx_t *ctx)
{
    prd_rc_t                     rc;
    ngx_uint_t                   i, ask, refused;
    prd_answer_t                *answer;
    prd_lease_mode_e             mode;
    ngx_http_predictive_part_t  *part;
    ngx_http_predictive_zone_t  *zone;

    if (ctx->nparts == 1) {
        part = &ctx->parts[0];
        zone = part->limit->zone;

        rc = prd_lease_decide(&zone->view, &zone->policy, &part->ask,
                              &part->answer,
                              ngx_http_predictive_store_mode(zone));

        if (part->answer.due) {
            ngx_http_predictive_lease_due(part);
        }

        if (rc != PRD_EAGAIN) {
            return NGX_OK;
        }

        ngx_http_predictive_store_asks(ctx, part);

    } else {
        ask = 0;
        refused = 0;

        for (i = 0; i < ctx->nparts; i++) {
            part = &ctx->parts[i];
            zone = part->limit->zone;
            answer = &part->answer;

            if (zone->store == NULL) {
                prd_run_end(&zone->view, &zone->policy, &zone->run);
                prd_judge(&zone->view, &zone->policy, &part->ask, answer);

            } else {
                mode = ngx_http_predictive_store_mode(zone);

                rc = prd_lease_judge(&zone->view, &zone->policy, &part->ask,
                                     answer, mode);

                if (answer->due) {
                    ngx_http_predictive_lease_due(part);
                }

                if (rc == PRD_EAGAIN) {
                    ask = 1;
                    continue;
                }
            }

            refused |= (answer->verdict == PRD_REJECTED);
        }

        /* where a limit refuses anyway, no store is asked */

        if (refused) {
            ngx_http_predictive_store_refund(ctx);
            return NGX_OK;
        }

        if (!ask) {
            ngx_http_predictive_store_all(ctx);
            return NGX_OK;
        }

        for (i = 0; i < ctx->nparts; i++) {
            part = &ctx->parts[i];

            if (part->limit->zone->store && part->answer.ask) {
                ngx_http_predictive_store_asks(ctx, part);
            }
        }
    }

    if (ctx->waiting) {
        return NGX_AGAIN;
    }

    /* no memory for the questions */

    ngx_http_predictive_store_finish(ctx);

    return NGX_OK;
}


/* All have judged, and where they asked, they were answered. */

static void
ngx_http_predictive_store_all(ngx_http_predictive_ctx_t *ctx)
{
    prd_rc_t                     rc;
    ngx_uint_t                   i;
    ngx_http_predictive_part_t  *part;
    ngx_http_predictive_zone_t  *zone;

    for (i = 0; i < ctx->nparts; i++) {
        if (ctx->parts[i].answer.verdict == PRD_REJECTED) {
            ngx_http_predictive_store_refund(ctx);
            return;
        }
    }

    for (i = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];
        zone = part->limit->zone;

        if (zone->store == NULL) {
            rc = prd_charge(&zone->view, &zone->policy, &part->ask,
                            &part->answer);

        } else {
            rc = prd_lease_charge(&zone->view, &zone->policy, &part->ask,
                                  &part->answer);

            if (part->answer.due) {
                ngx_http_predictive_lease_due(part);
            }
        }

        if (rc != PRD_OK) {
            ngx_http_predictive_store_refund(ctx);
            return;
        }
    }
}


/* One limit refuses: what has been taken goes back. */

static void
ngx_http_predictive_store_refund(ngx_http_predictive_ctx_t *ctx)
{
    ngx_uint_t                   i;
    ngx_http_predictive_part_t  *part;
    ngx_http_predictive_zone_t  *zone;

    for (i = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];
        zone = part->limit->zone;

        if (zone->store == NULL) {
            prd_refund(&zone->view, &zone->policy, &part->ask, &part->answer);
            continue;
        }

        prd_lease_refund(&zone->view, &zone->policy, &part->ask,
                         &part->answer);

        if (part->answer.due) {
            ngx_http_predictive_lease_due(part);
        }
    }
}


static prd_lease_mode_e
ngx_http_predictive_store_mode(ngx_http_predictive_zone_t *zone)
{
    if (zone->lease && ngx_http_predictive_redis_up(zone->store)) {
        return zone->params.sync == PRD_SYNC_STRICT ? PRD_LEASE_STRICT
                                                    : PRD_LEASE_LEASE;
    }

    return ngx_http_predictive_store_away(zone);
}


prd_lease_mode_e
ngx_http_predictive_store_away(ngx_http_predictive_zone_t *zone)
{
    switch (zone->store->on_error) {

    case NGX_HTTP_PREDICTIVE_ON_ERROR_PASS:
        return PRD_LEASE_PASS;

    case NGX_HTTP_PREDICTIVE_ON_ERROR_REJECT:
        return PRD_LEASE_REFUSE;

    default:
        return PRD_LEASE_LOCAL;
    }
}


static void
ngx_http_predictive_store_asks(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part)
{
    unsigned  key, keys;

    keys = part->answer.ask;

    for (key = PRD_LEASE_CLIENT; key <= PRD_LEASE_PARENT; key <<= 1) {
        if (keys & key) {
            ngx_http_predictive_store_ask(ctx, part, key, 0);
        }
    }
}


void
ngx_http_predictive_store_ask(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part, unsigned key, ngx_msec_t spent)
{
    prd_lease_request_t           request;
    ngx_http_predictive_zone_t   *zone;
    ngx_http_predictive_query_t  *q;

    zone = part->limit->zone;
    q = NULL;

    /* others in the batch wait less, too: not for one that has waited long */

    if (spent <= zone->store->wait / 2) {
        q = ngx_http_predictive_lease_query(zone->lease,
                                key == PRD_LEASE_CLIENT ? part->ask.tag
                                                        : part->ask.parent);
    }

    if (q == NULL) {
        prd_lease_ask(&zone->view, &zone->policy, &part->ask, &part->answer,
                      key, &request);
        prd_lease_timeout(&zone->view, &zone->policy, &part->ask,
                          &part->answer, key, &request, 0,
                          ngx_http_predictive_store_away(zone),
                          (uint32_t) ngx_current_msec);
        return;
    }

    prd_lease_ask(&zone->view, &zone->policy, &part->ask, &part->answer, key,
                  &q->request);

    q->ctx = ctx;
    q->part = part;
    q->key = key;
    q->waiting = 1;

    part->queries[key - 1] = q;
    ctx->waiting++;

    q->batch->waiting++;
    q->batch->spent = ngx_max(q->batch->spent, spent);

    if (zone->lease->parked++ == 0 && !zone->lease->hold.timer_set) {
        ngx_add_timer(&zone->lease->hold, zone->store->wait);
    }
}


void
ngx_http_predictive_store_finish(ngx_http_predictive_ctx_t *ctx)
{
    ngx_uint_t                    i, k;
    ngx_http_predictive_part_t   *part;
    ngx_http_predictive_query_t  *q;

    ngx_http_predictive_store_all(ctx);

    for (i = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];

        if (part->limit->zone->store == NULL) {
            continue;
        }

        /* the store may yet answer what was decided without it */

        for (k = 0; k < 2; k++) {
            q = part->queries[k];

            if (q) {
                q->admitted = part->answer.taken;
                q->part = NULL;
                part->queries[k] = NULL;
            }
        }
    }
}


void
ngx_http_predictive_store_settle(ngx_http_predictive_part_t *part,
    uint32_t cost)
{
    ngx_http_predictive_zone_t  *zone;

    zone = part->limit->zone;

    prd_lease_settle(&zone->view, &zone->policy, &part->ask, &part->answer,
                     cost);

    if (part->answer.due) {
        ngx_http_predictive_lease_due(part);
    }
}


void
ngx_http_predictive_store_deny(ngx_http_predictive_part_t *part)
{
    ngx_http_predictive_zone_t  *zone;

    zone = part->limit->zone;

    prd_lease_deny(&zone->view, &zone->policy, &part->ask, &part->answer);

    if (part->answer.due) {
        ngx_http_predictive_lease_due(part);
    }
}


void
ngx_http_predictive_store_abandon(ngx_http_predictive_ctx_t *ctx)
{
    ngx_uint_t                    i, k;
    ngx_http_predictive_part_t   *part;
    ngx_http_predictive_query_t  *q;

    ctx->request = NULL;

    if (ctx->waiting == 0) {

        /* on its way to be woken, or never parked */

        if (ctx->waking) {
            ngx_queue_remove(&ctx->queue);
            ctx->waking = 0;
        }

        return;
    }

    ctx->waiting = 0;

    for (i = 0; i < ctx->nparts; i++) {
        part = &ctx->parts[i];

        if (part->limit->zone->store == NULL) {
            continue;
        }

        for (k = 0; k < 2; k++) {
            q = part->queries[k];

            if (q == NULL) {
                continue;
            }

            /* what the store debits for it will be held */

            part->queries[k] = NULL;
            q->part = NULL;

            /* or decided without an answer, which may yet come */

            if (q->waiting) {
                q->waiting = 0;
                q->batch->zone->lease->parked--;
            }
        }
    }

    ngx_http_predictive_store_refund(ctx);
}


double
ngx_http_predictive_zone_overshoot(ngx_http_predictive_zone_t *zone)
{
    prd_zone_t  *z = zone->view.zone;
    uint32_t     nodes;

    nodes = atomic_load_explicit(&z->nodes, memory_order_relaxed);

    return (double) ngx_max(nodes, 1)
           * prd_lease_bound(&zone->view,
                             zone->params.sync == PRD_SYNC_STRICT) / z->unit;
}
