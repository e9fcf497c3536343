
/*
 * Requests of zones that have a store: what is asked there, and how a request
 * waits for it.
 *
 * A question is about one client of one zone.  Questions of one iteration of
 * the event loop go together, in a batch for each zone (in a cluster, for each
 * of its groups of keys): one command, one reply, one timer.  A request that
 * must ask is parked without timer or connection of its own; when all its
 * answers are there, or the batch's time is over, it goes on.  What the store
 * answers later still counts: tokens that it debited are held or pay what was
 * let through meanwhile.
 *
 * Keys that somebody must look after (leases to renew or to return, demand to
 * report) wait in a timing wheel, in memory of this worker; a tick turns it.
 */


#include "ngx_http_predictive_module.h"
#include "ngx_http_predictive_redis.h"

#include "prd_lease.h"
#include "prd_script.h"


#define NGX_HTTP_PREDICTIVE_SHARDS    64      /* groups of keys, by the tag */
#define NGX_HTTP_PREDICTIVE_WHEEL     256     /* ticks */
#define NGX_HTTP_PREDICTIVE_ITEMS     256     /* allocated at once */
#define NGX_HTTP_PREDICTIVE_ITEMS_MOST  (1 << 18)
#define NGX_HTTP_PREDICTIVE_AHEAD     4       /* items, whose memory is asked
                                              * for */
#define NGX_HTTP_PREDICTIVE_BAD_MS    60000


/* A key that is looked after. */

typedef struct ngx_http_predictive_item_s  ngx_http_predictive_item_t;

struct ngx_http_predictive_item_s {
    ngx_http_predictive_item_t   *next;
    prd_due_t                     due;
};


struct ngx_http_predictive_query_s {
    prd_lease_request_t           request;
    ngx_http_predictive_batch_t  *batch;
    ngx_http_predictive_part_t   *part;      /* who asked; NULL: a tick, or it
                                              * is gone */
    ngx_http_predictive_ctx_t    *ctx;       /* the part's */
    ngx_http_predictive_item_t   *item;      /* of a tick */
    unsigned                      key:2;     /* PRD_LEASE_CLIENT, _PARENT */
    unsigned                      waiting:1; /* the request is parked */
    unsigned                      dropped:1; /* decided without an answer */
    unsigned                      admitted:1; /* and let through */
};


struct ngx_http_predictive_batch_s {
    ngx_http_predictive_batch_t     *next;   /* of the free ones */
    ngx_http_predictive_zone_t      *zone;
    ngx_http_predictive_call_t      *call;   /* NULL: not sent yet */
    ngx_uint_t                       shard;
    ngx_uint_t                       waiting; /* requests, when it is sent */
    ngx_msec_t                       began_ms;
    ngx_msec_t                       spent;  /* of `wait`, before it began */
    ngx_uint_t                       n;
    ngx_http_predictive_query_t      queries[PRD_LEASE_KEYS];
};


/* A zone's part of the work, in the memory of a process. */

struct ngx_http_predictive_lease_s {
    ngx_http_predictive_zone_t     *zone;
    ngx_pool_t                     *pool;    /* the cycle's */
    ngx_log_t                      *log;
    ngx_http_predictive_script_t    script;

    ngx_uint_t                      shards;  /* 1 but in a cluster */
    size_t                          prefix_len;
    u_char                         *prefix;  /* "prd:1:{zone:s000}:" */
    u_char                         *keys;    /* room for a batch's */

    ngx_http_predictive_batch_t    *open[NGX_HTTP_PREDICTIVE_SHARDS];
    ngx_http_predictive_batch_t    *ready;   /* to be sent, oldest first */
    ngx_http_predictive_batch_t   **last;
    ngx_http_predictive_batch_t    *free;
    ngx_event_t                     flush;

    ngx_uint_t                      parked;  /* questions of such requests */
    ngx_event_t                     hold;

    ngx_event_t                     tick;
    ngx_msec_t                      turned_ms;
    ngx_uint_t                      turn;    /* where the wheel stands */
    ngx_uint_t                      items;   /* in the wheel or in batches */
    ngx_uint_t                      allocated;
    ngx_http_predictive_item_t     *free_items;
    ngx_http_predictive_item_t     *wheel[NGX_HTTP_PREDICTIVE_WHEEL];

    ngx_msec_t                      bad_ms;  /* a bad reply was logged */
    ngx_uint_t                      bad;
};


static ngx_int_t ngx_http_predictive_lease_init(
    ngx_http_predictive_zone_t *zone, ngx_cycle_t *cycle);

static void ngx_http_predictive_store_all(ngx_http_predictive_ctx_t *ctx);
static void ngx_http_predictive_store_refund(ngx_http_predictive_ctx_t *ctx);
static prd_lease_mode_e ngx_http_predictive_store_mode(
    ngx_http_predictive_zone_t *zone);
static prd_lease_mode_e ngx_http_predictive_store_away(
    ngx_http_predictive_zone_t *zone);
static void ngx_http_predictive_store_ask(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part, unsigned key, ngx_msec_t spent);
static void ngx_http_predictive_store_asks(ngx_http_predictive_ctx_t *ctx,
    ngx_http_predictive_part_t *part);
static void ngx_http_predictive_store_finish(ngx_http_predictive_ctx_t *ctx);

static ngx_http_predictive_query_t *ngx_http_predictive_lease_query(
    ngx_http_predictive_lease_t *lease, uint64_t tag);
static ngx_http_predictive_batch_t *ngx_http_predictive_lease_batch(
    ngx_http_predictive_lease_t *lease);
static void ngx_http_predictive_lease_free(ngx_http_predictive_batch_t *batch);
static void ngx_http_predictive_lease_flush(ngx_event_t *ev);
static ngx_int_t ngx_http_predictive_lease_send(
    ngx_http_predictive_batch_t *batch);

static void ngx_http_predictive_lease_reply(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_lease_hold(ngx_event_t *ev);
static void ngx_http_predictive_lease_expire(
    ngx_http_predictive_batch_t *batch, ngx_queue_t *wake);
static void ngx_http_predictive_lease_answers(
    ngx_http_predictive_batch_t *batch, ngx_http_predictive_answer_t *answer,
    ngx_queue_t *wake);
static void ngx_http_predictive_lease_answer(
    ngx_http_predictive_query_t *q, prd_lease_reply_t *reply,
    uint32_t now_ms, ngx_queue_t *wake);
static void ngx_http_predictive_lease_lost(ngx_http_predictive_query_t *q,
    ngx_uint_t sent, uint32_t now_ms);
static void ngx_http_predictive_lease_give_up(
    ngx_http_predictive_query_t *q, ngx_uint_t sent, ngx_queue_t *wake);
static void ngx_http_predictive_lease_again(ngx_http_predictive_query_t *q,
    ngx_queue_t *wake);
static void ngx_http_predictive_lease_answered(
    ngx_http_predictive_query_t *q, ngx_queue_t *wake);
static void ngx_http_predictive_lease_ready(ngx_http_predictive_ctx_t *ctx,
    ngx_queue_t *wake);
static void ngx_http_predictive_lease_wake(ngx_queue_t *wake);
static void ngx_http_predictive_lease_bad(ngx_http_predictive_lease_t *lease,
    const char *what);

static void ngx_http_predictive_lease_due(ngx_http_predictive_part_t *part);
static ngx_http_predictive_item_t *ngx_http_predictive_lease_item(
    ngx_http_predictive_lease_t *lease);
static void ngx_http_predictive_lease_forget(
    ngx_http_predictive_lease_t *lease, ngx_http_predictive_item_t *item);
static void ngx_http_predictive_lease_keep(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item, prd_rc_t rc);
static void ngx_http_predictive_lease_first(
    ngx_http_predictive_lease_t *lease, ngx_http_predictive_item_t *item);
static void ngx_http_predictive_lease_look(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item);
static void ngx_http_predictive_lease_tick(ngx_event_t *ev);
static void ngx_http_predictive_lease_turn(
    ngx_http_predictive_lease_t *lease, ngx_http_predictive_item_t *item,
    ngx_uint_t leaving);


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


/* on_error: how requests are decided of which the store says nothing */

static prd_lease_mode_e
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


/* spent: how much of `wait` is gone. */

static void
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


/* The last answer has come, or is no longer waited for. */

static void
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


/* Room in the open batch of the tag's group; NULL: no memory. */

static ngx_http_predictive_query_t *
ngx_http_predictive_lease_query(ngx_http_predictive_lease_t *lease,
    uint64_t tag)
{
    ngx_uint_t                    shard;
    ngx_http_predictive_batch_t  *batch;
    ngx_http_predictive_query_t  *q;

    shard = lease->shards == 1 ? 0 : tag >> 58;
    batch = lease->open[shard];

    if (batch == NULL || batch->n == PRD_LEASE_KEYS) {

        batch = ngx_http_predictive_lease_batch(lease);
        if (batch == NULL) {
            return NULL;
        }

        batch->shard = shard;
        lease->open[shard] = batch;

        *lease->last = batch;
        lease->last = &batch->next;

        if (!lease->flush.posted) {
            ngx_post_event(&lease->flush, &ngx_posted_events);
        }
    }

    q = &batch->queries[batch->n++];

    q->batch = batch;
    q->ctx = NULL;
    q->part = NULL;
    q->item = NULL;
    q->key = 0;
    q->waiting = 0;
    q->dropped = 0;
    q->admitted = 0;

    return q;
}


static ngx_http_predictive_batch_t *
ngx_http_predictive_lease_batch(ngx_http_predictive_lease_t *lease)
{
    ngx_http_predictive_batch_t  *batch;

    batch = lease->free;

    if (batch) {
        lease->free = batch->next;

    } else {
        batch = ngx_palloc(lease->pool, sizeof(ngx_http_predictive_batch_t));
        if (batch == NULL) {
            return NULL;
        }

        batch->zone = lease->zone;
    }

    batch->next = NULL;
    batch->call = NULL;
    batch->waiting = 0;
    batch->began_ms = ngx_current_msec;
    batch->spent = 0;
    batch->n = 0;

    return batch;
}


/*
 * A request may still wait for other batches, and must not find in this one
 * what is another request's by then.
 */

static void
ngx_http_predictive_lease_free(ngx_http_predictive_batch_t *batch)
{
    ngx_uint_t                    i;
    ngx_http_predictive_lease_t  *lease;
    ngx_http_predictive_query_t  *q;

    lease = batch->zone->lease;

    for (i = 0; i < batch->n; i++) {
        q = &batch->queries[i];

        if (q->part) {
            q->part->queries[q->key - 1] = NULL;
            q->part = NULL;
        }
    }

    batch->next = lease->free;
    lease->free = batch;
}


/* The end of this iteration of the event loop: the batches go. */

static void
ngx_http_predictive_lease_flush(ngx_event_t *ev)
{
    ngx_queue_t                   wake;
    ngx_http_predictive_batch_t  *batch, *next;
    ngx_http_predictive_lease_t  *lease;
    ngx_http_predictive_answer_t  answer;

    lease = ev->data;

    batch = lease->ready;

    lease->ready = NULL;
    lease->last = &lease->ready;

    ngx_queue_init(&wake);

    for ( /* void */ ; batch; batch = next) {
        next = batch->next;

        lease->open[batch->shard] = NULL;

        if (ngx_http_predictive_lease_send(batch) == NGX_OK) {
            continue;
        }

        ngx_memzero(&answer, sizeof(ngx_http_predictive_answer_t));
        answer.status = NGX_HTTP_PREDICTIVE_REPLY_DOWN;

        ngx_http_predictive_lease_answers(batch, &answer, &wake);
    }

    ngx_http_predictive_lease_wake(&wake);
}


static ngx_int_t
ngx_http_predictive_lease_send(ngx_http_predictive_batch_t *batch)
{
    u_char                       *p, *keys;
    uint64_t                      tag, tags[PRD_LEASE_KEYS];
    ngx_str_t                     argv[PRD_LEASE_KEYS + 2];
    ngx_uint_t                    i, k, nkeys;
    prd_lease_request_t          *request;
    ngx_http_predictive_lease_t  *lease;
    ngx_http_predictive_store_t  *store;

    u_char  header[PRD_LEASE_HEADER];
    u_char  packed[PRD_LEASE_KEYS * PRD_LEASE_REQUEST];

    lease = batch->zone->lease;
    store = batch->zone->store;

    keys = lease->keys;
    nkeys = 0;

    for (i = 0; i < batch->n; i++) {
        request = &batch->queries[i].request;
        tag = request->tag;

        for (k = nkeys; k > 0; k--) {
            if (tags[k - 1] == tag) {
                break;
            }
        }

        if (k-- == 0) {
            k = nkeys++;
            tags[k] = tag;

            p = keys + k * (lease->prefix_len + PRD_LEASE_KEY);
            argv[k].data = p;
            argv[k].len = lease->prefix_len + PRD_LEASE_KEY;

            p = ngx_cpymem(p, lease->prefix + (tag >> 58) * lease->prefix_len,
                           lease->prefix_len);
            prd_lease_key(tag, (char *) p);
        }

        request->key = (uint8_t) k;
        prd_lease_pack(packed + i * PRD_LEASE_REQUEST, request);
    }

    prd_lease_header(header, &batch->zone->view, &batch->zone->policy);

    argv[nkeys].data = header;
    argv[nkeys].len = PRD_LEASE_HEADER;
    argv[nkeys + 1].data = packed;
    argv[nkeys + 1].len = batch->n * PRD_LEASE_REQUEST;

    /* where nobody waits there is more time */

    batch->call = ngx_http_predictive_redis_eval(store, &lease->script, nkeys,
                              argv, nkeys + 2,
                              batch->waiting ? store->wait - batch->spent
                                             : store->timeout,
                              ngx_http_predictive_lease_reply, batch);

    return batch->call ? NGX_OK : NGX_ERROR;
}


/* From the client of the store: an answer to a batch, late ones too. */

static void
ngx_http_predictive_lease_reply(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_queue_t                   wake;
    ngx_http_predictive_batch_t  *batch = data;

    ngx_queue_init(&wake);

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_TIMEOUT) {

        batch->call->late = ngx_http_predictive_lease_reply;

        ngx_http_predictive_lease_expire(batch, &wake);

    } else {
        ngx_http_predictive_lease_answers(batch, answer, &wake);
    }

    ngx_http_predictive_lease_wake(&wake);
}


/*
 * The timers of the store's client do not keep a worker that is to exit; this
 * one does, as long as a request is parked, or that would be cut off.  It is
 * not taken away at each answer: that would cost more than to let it end.
 */

static void
ngx_http_predictive_lease_hold(ngx_event_t *ev)
{
    ngx_http_predictive_lease_t  *lease;

    lease = ev->data;

    if (lease->parked) {
        ngx_add_timer(ev, lease->zone->store->wait);
    }
}


/* Nobody waits any longer; what the store answers later is looked at. */

static void
ngx_http_predictive_lease_expire(ngx_http_predictive_batch_t *batch,
    ngx_queue_t *wake)
{
    ngx_uint_t                    i;
    ngx_http_predictive_query_t  *q;

    for (i = 0; i < batch->n; i++) {
        q = &batch->queries[i];

        if (q->waiting) {
            ngx_http_predictive_lease_give_up(q, 1, wake);
        }
    }
}


static void
ngx_http_predictive_lease_answers(ngx_http_predictive_batch_t *batch,
    ngx_http_predictive_answer_t *answer, ngx_queue_t *wake)
{
    uint32_t                      now_ms;
    prd_rc_t                      rc;
    ngx_uint_t                    i, sent;
    prd_lease_reply_t             reply;
    prd_lease_reader_t            reader;
    ngx_http_predictive_lease_t  *lease;
    ngx_http_predictive_query_t  *q;

    lease = batch->zone->lease;
    now_ms = (uint32_t) ngx_current_msec;

    sent = (answer->status == NGX_HTTP_PREDICTIVE_REPLY_OK
            || answer->status == NGX_HTTP_PREDICTIVE_REPLY_LOST);
    rc = PRD_EAGAIN;

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_OK) {

        if (answer->reply->type == REDIS_REPLY_STRING) {
            rc = prd_lease_read(&reader, answer->reply->str,
                                answer->reply->len, (unsigned) batch->n);
        } else {
            rc = PRD_ECORRUPT;
        }
    }

    for (i = 0; i < batch->n; i++) {
        prd_lease_fetch(&batch->zone->view, batch->queries[i].request.slot);
    }

    for (i = 0; i < batch->n; i++) {
        q = &batch->queries[i];

        if (rc == PRD_OK) {
            rc = prd_lease_next(&reader, &reply);
        }

        if (rc == PRD_OK) {
            ngx_http_predictive_lease_answer(q, &reply, now_ms, wake);

        } else if (q->waiting) {
            ngx_http_predictive_lease_give_up(q, sent, wake);

        } else {
            ngx_http_predictive_lease_lost(q, sent, now_ms);
        }
    }

    if (rc != PRD_OK && rc != PRD_EAGAIN) {
        ngx_http_predictive_lease_bad(lease, prd_strerror(rc));
    }

    ngx_http_predictive_lease_free(batch);
}


static void
ngx_http_predictive_lease_answer(ngx_http_predictive_query_t *q,
    prd_lease_reply_t *reply, uint32_t now_ms, ngx_queue_t *wake)
{
    prd_rc_t                     rc;
    prd_due_t                    due;
    ngx_http_predictive_item_t  *item;
    ngx_http_predictive_part_t  *part;
    ngx_http_predictive_zone_t  *zone;

    zone = q->batch->zone;
    part = q->part;

    if (reply->status == PRD_LEASE_BAD) {
        ngx_http_predictive_lease_bad(zone->lease,
                                      "a key holds something else");
    }

    if (q->item) {
        rc = prd_lease_answered(&zone->view, &q->item->due, &q->request, reply,
                                now_ms);
        ngx_http_predictive_lease_keep(zone->lease, q->item, rc);
        return;
    }

    if (q->waiting && reply->status == PRD_LEASE_BAD) {
        ngx_http_predictive_lease_give_up(q, 0, wake);
        return;
    }

    if (q->waiting) {

        if (prd_lease_apply(&zone->view, &zone->policy, &part->ask,
                            &part->answer, q->key, &q->request, reply, now_ms)
            == PRD_EAGAIN)
        {
            ngx_http_predictive_lease_again(q, wake);

        } else {
            ngx_http_predictive_lease_answered(q, wake);
        }

        return;
    }

    /* the request went on without, or is gone */

    if (part) {
        q->admitted = part->answer.taken;
        part->queries[q->key - 1] = NULL;
        q->part = NULL;
    }

    if (prd_lease_late(&zone->view, &q->request, reply, q->dropped,
                       q->admitted, now_ms, &due)
        == PRD_OK)
    {
        item = ngx_http_predictive_lease_item(zone->lease);

        if (item) {
            item->due = due;
            ngx_http_predictive_lease_first(zone->lease, item);
        }
    }
}


/* A parked request's question has no answer, at least not in time. */

static void
ngx_http_predictive_lease_give_up(ngx_http_predictive_query_t *q,
    ngx_uint_t sent, ngx_queue_t *wake)
{
    ngx_http_predictive_part_t  *part;
    ngx_http_predictive_zone_t  *zone;

    part = q->part;
    zone = q->batch->zone;

    prd_lease_timeout(&zone->view, &zone->policy, &part->ask, &part->answer,
                      q->key, &q->request, sent,
                      ngx_http_predictive_store_away(zone),
                      (uint32_t) ngx_current_msec);

    q->dropped = 1;

    ngx_http_predictive_lease_answered(q, wake);
}


/* The store knows better terms than it was asked with. */

static void
ngx_http_predictive_lease_again(ngx_http_predictive_query_t *q,
    ngx_queue_t *wake)
{
    ngx_msec_t                    spent;
    ngx_http_predictive_ctx_t    *ctx;
    ngx_http_predictive_part_t   *part;
    ngx_http_predictive_batch_t  *batch;

    ctx = q->ctx;
    part = q->part;
    batch = q->batch;
    spent = batch->spent + (ngx_current_msec - batch->began_ms);

    q->waiting = 0;
    q->part = NULL;
    part->queries[q->key - 1] = NULL;

    batch->zone->lease->parked--;
    ctx->waiting--;

    ngx_http_predictive_store_ask(ctx, part, q->key, spent);

    if (part->answer.due) {
        ngx_http_predictive_lease_due(part);
    }

    ngx_http_predictive_lease_ready(ctx, wake);
}


/* No answer will come, to one that nobody waits for. */

static void
ngx_http_predictive_lease_lost(ngx_http_predictive_query_t *q,
    ngx_uint_t sent, uint32_t now_ms)
{
    prd_rc_t                     rc;
    ngx_http_predictive_zone_t  *zone;

    zone = q->batch->zone;

    if (q->item) {
        rc = prd_lease_lost(&zone->view, &q->item->due, &q->request, sent,
                            now_ms);
        ngx_http_predictive_lease_keep(zone->lease, q->item, rc);
        return;
    }

    if (q->part) {
        q->part->queries[q->key - 1] = NULL;
        q->part = NULL;
    }

    if (!q->dropped) {
        prd_lease_drop(&zone->view, &q->request, sent, now_ms);
    }
}


/* One question less; with the last one the request goes on. */

static void
ngx_http_predictive_lease_answered(ngx_http_predictive_query_t *q,
    ngx_queue_t *wake)
{
    ngx_http_predictive_ctx_t   *ctx;
    ngx_http_predictive_part_t  *part;

    ctx = q->ctx;
    part = q->part;

    q->waiting = 0;
    q->batch->zone->lease->parked--;

    if (part->answer.due) {
        ngx_http_predictive_lease_due(part);
    }

    ctx->waiting--;

    ngx_http_predictive_lease_ready(ctx, wake);
}


static void
ngx_http_predictive_lease_ready(ngx_http_predictive_ctx_t *ctx,
    ngx_queue_t *wake)
{
    if (ctx->waiting) {
        return;
    }

    ngx_http_predictive_store_finish(ctx);

    ctx->waking = 1;
    ngx_queue_insert_tail(wake, &ctx->queue);
}


/* Each of them may be the end of others on the same connection. */

static void
ngx_http_predictive_lease_wake(ngx_queue_t *wake)
{
    ngx_queue_t                *q;
    ngx_http_predictive_ctx_t  *ctx;

    while (!ngx_queue_empty(wake)) {
        q = ngx_queue_head(wake);
        ngx_queue_remove(q);

        ctx = ngx_queue_data(q, ngx_http_predictive_ctx_t, queue);
        ctx->waking = 0;

        ngx_http_predictive_wake(ctx);
    }
}


/* Said once a minute and worker: it may be each answer. */

static void
ngx_http_predictive_lease_bad(ngx_http_predictive_lease_t *lease,
    const char *what)
{
    lease->bad++;

    if (lease->bad > 1
        && (ngx_msec_int_t) (ngx_current_msec - lease->bad_ms)
           < NGX_HTTP_PREDICTIVE_BAD_MS)
    {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, lease->log, 0,
                  "predictive zone \"%V\": bad reply of store \"%V\": %s, "
                  "%ui so far", &lease->zone->name, &lease->zone->store->name,
                  what, lease->bad);

    lease->bad_ms = ngx_current_msec;
}


/* Keys of a part that somebody must look after. */

static void
ngx_http_predictive_lease_due(ngx_http_predictive_part_t *part)
{
    unsigned                     key;
    prd_due_t                    due;
    ngx_http_predictive_zone_t  *zone;
    ngx_http_predictive_item_t  *item;

    zone = part->limit->zone;

    for (key = PRD_LEASE_CLIENT; key <= PRD_LEASE_PARENT; key <<= 1) {

        if (!(part->answer.due & key)) {
            continue;
        }

        item = ngx_http_predictive_lease_item(zone->lease);

        prd_lease_due(&zone->view, &zone->policy, &part->ask, &part->answer,
                      key, item ? &item->due : &due);

        if (item) {
            ngx_http_predictive_lease_first(zone->lease, item);
        }
    }
}


/*
 * NULL: no memory, or too many.  What is leased for the key then becomes void
 * when it is old, and what is owed waits for its next question.
 */

static ngx_http_predictive_item_t *
ngx_http_predictive_lease_item(ngx_http_predictive_lease_t *lease)
{
    ngx_uint_t                   i;
    ngx_http_predictive_item_t  *item;

    if (lease == NULL) {
        return NULL;
    }

    if (lease->free_items == NULL) {

        if (lease->allocated >= NGX_HTTP_PREDICTIVE_ITEMS_MOST) {
            return NULL;
        }

        item = ngx_palloc(lease->pool, NGX_HTTP_PREDICTIVE_ITEMS
                                       * sizeof(ngx_http_predictive_item_t));
        if (item == NULL) {
            return NULL;
        }

        for (i = 0; i < NGX_HTTP_PREDICTIVE_ITEMS; i++) {
            item[i].next = lease->free_items;
            lease->free_items = &item[i];
        }

        lease->allocated += NGX_HTTP_PREDICTIVE_ITEMS;
    }

    item = lease->free_items;
    lease->free_items = item->next;
    lease->items++;

    return item;
}


static void
ngx_http_predictive_lease_forget(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item)
{
    item->next = lease->free_items;
    lease->free_items = item;
    lease->items--;
}


/* PRD_EAGAIN: the engine has more to do with the key. */

static void
ngx_http_predictive_lease_keep(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item, prd_rc_t rc)
{
    if (rc == PRD_EAGAIN) {
        ngx_http_predictive_lease_look(lease, item);

    } else {
        ngx_http_predictive_lease_forget(lease, item);
    }
}


/* The first look: at the next tick, or where a limit is exact, at once. */

static void
ngx_http_predictive_lease_first(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item)
{
    if (item->due.strict) {
        ngx_http_predictive_lease_turn(lease, item, 0);

    } else {
        ngx_http_predictive_lease_look(lease, item);
    }
}


/*
 * Puts a key where the wheel will be at its time: at the next turn, or a whole
 * turn away at most, where it is put on again.
 */

static void
ngx_http_predictive_lease_look(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item)
{
    int32_t                       ms;
    ngx_msec_t                    sync;
    ngx_uint_t                    n;
    ngx_http_predictive_item_t  **spoke;

    sync = lease->zone->store->sync;

    /* a wheel that stood still starts with the first one */

    if (!lease->tick.timer_set) {
        lease->turned_ms = ngx_current_msec;
        ngx_add_timer(&lease->tick, sync);
    }

    ms = (int32_t) (item->due.at_ms - (uint32_t) lease->turned_ms);
    n = ms > 0 ? (ms + sync - 1) / sync : 1;
    n = ngx_min(n, NGX_HTTP_PREDICTIVE_WHEEL - 1);
    n = ngx_max(n, 1);

    spoke = &lease->wheel[(lease->turn + n) % NGX_HTTP_PREDICTIVE_WHEEL];

    item->next = *spoke;
    *spoke = item;
}


static void
ngx_http_predictive_lease_tick(ngx_event_t *ev)
{
    ngx_uint_t                    n;
    ngx_msec_t                    sync;
    ngx_http_predictive_item_t   *item, *next, *all, *ahead;
    ngx_http_predictive_lease_t  *lease;

    lease = ev->data;
    sync = lease->zone->store->sync;

    /* a worker that was held up makes up for it */

    n = (ngx_current_msec - lease->turned_ms) / sync;
    n = ngx_min(n, NGX_HTTP_PREDICTIVE_WHEEL);

    lease->turned_ms = ngx_current_msec;
    all = NULL;

    for (n = ngx_max(n, 1); n > 0; n--) {

        lease->turn = (lease->turn + 1) % NGX_HTTP_PREDICTIVE_WHEEL;

        item = lease->wheel[lease->turn];
        lease->wheel[lease->turn] = NULL;

        for ( /* void */ ; item; item = next) {
            next = item->next;
            item->next = all;
            all = item;
        }
    }

    ngx_add_timer(&lease->tick, sync);

    /* memory is asked for what the items further on need */

    for (item = all, n = 0; item && n < NGX_HTTP_PREDICTIVE_AHEAD; n++) {
        prd_lease_fetch(&lease->zone->view, item->due.slot);
        item = item->next;
    }

    ahead = item;

    for (item = all; item; item = next) {
        next = item->next;

        if (ahead) {
            prd_lease_fetch(&lease->zone->view, ahead->due.slot);
            ahead = ahead->next;
        }

        ngx_http_predictive_lease_turn(lease, item, 0);
    }

    /* those whose answer is awaited come back by themselves */

    if (lease->items == 0) {
        ngx_del_timer(&lease->tick);
    }
}


static void
ngx_http_predictive_lease_turn(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item, ngx_uint_t leaving)
{
    uint32_t                      now_ms;
    prd_rc_t                      rc;
    ngx_http_predictive_zone_t   *zone;
    ngx_http_predictive_query_t  *q;
    prd_lease_request_t           request;

    zone = lease->zone;
    now_ms = (uint32_t) ngx_current_msec;

    if (!leaving && (int32_t) (item->due.at_ms - now_ms) > 0) {
        ngx_http_predictive_lease_look(lease, item);
        return;
    }

    if (!ngx_http_predictive_redis_up(zone->store)) {

        /* what is owed stays owed until the store is back */

        item->due.at_ms = now_ms + (uint32_t) zone->store->sync;
        ngx_http_predictive_lease_look(lease, item);
        return;
    }

    rc = prd_lease_tick(&zone->view, &item->due, now_ms, (unsigned) leaving,
                        &request);

    if (rc == PRD_OK) {
        q = ngx_http_predictive_lease_query(lease, item->due.tag);

        if (q) {
            q->request = request;
            q->item = item;
            return;
        }

        rc = prd_lease_lost(&zone->view, &item->due, &request, 0, now_ms);
    }

    ngx_http_predictive_lease_keep(lease, item, rc);
}


double
ngx_http_predictive_zone_overshoot(ngx_http_predictive_zone_t *zone)
{
    prd_zone_t  *z = zone->view.zone;
    uint32_t     nodes;

    nodes = atomic_load_explicit(&z->nodes, memory_order_relaxed);

    return (double) ngx_max(nodes, 1)
           * prd_lease_bound(&zone->view) / z->unit;
}
