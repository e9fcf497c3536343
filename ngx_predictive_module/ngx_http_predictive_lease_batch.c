
/*
 * Questions to a store about clients of a zone, and their answers.
 *
 * A question is about one client of one zone.  Questions of one iteration of
 * the event loop go together, in a batch for each zone (in a cluster, for each
 * of its groups of keys): one command, one reply, one timer.
 */


#include "ngx_http_predictive_lease.h"


#define NGX_HTTP_PREDICTIVE_BAD_MS    60000


static ngx_http_predictive_batch_t *ngx_http_predictive_lease_batch(
    ngx_http_predictive_lease_t *lease);
static void ngx_http_predictive_lease_free(ngx_http_predictive_batch_t *batch);
static ngx_int_t ngx_http_predictive_lease_send(
    ngx_http_predictive_batch_t *batch);
static void ngx_http_predictive_lease_reply(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_lease_expire(
    ngx_http_predictive_batch_t *batch, ngx_queue_t *wake);
static void ngx_http_predictive_lease_answers(
    ngx_http_predictive_batch_t *batch, ngx_http_predictive_answer_t *answer,
    ngx_queue_t *wake);
static void ngx_http_predictive_lease_answer(
    ngx_http_predictive_query_t *q, prd_lease_reply_t *reply,
    uint32_t now_ms, ngx_queue_t *wake);
static void ngx_http_predictive_lease_give_up(
    ngx_http_predictive_query_t *q, ngx_uint_t sent, ngx_queue_t *wake);
static void ngx_http_predictive_lease_again(ngx_http_predictive_query_t *q,
    ngx_queue_t *wake);
static void ngx_http_predictive_lease_revive(
    ngx_http_predictive_lease_t *lease, prd_due_t *due);
static void ngx_http_predictive_lease_lost(ngx_http_predictive_query_t *q,
    ngx_uint_t sent, uint32_t now_ms);
static void ngx_http_predictive_lease_answered(
    ngx_http_predictive_query_t *q, ngx_queue_t *wake);
static void ngx_http_predictive_lease_ready(ngx_http_predictive_ctx_t *ctx,
    ngx_queue_t *wake);
static void ngx_http_predictive_lease_wake(ngx_queue_t *wake);
static void ngx_http_predictive_lease_bad(ngx_http_predictive_lease_t *lease,
    const char *what);


ngx_http_predictive_query_t *
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

void
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
    ngx_msec_t                    timeout;
    ngx_uint_t                    i, k, nkeys;
    ngx_msec_int_t                held_up;
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

    /*
     * Where nobody waits there is more time.  Where somebody does, what this
     * iteration has taken so far, or the machine from it, is not the store's:
     * timers count from when it began.
     */

    timeout = store->timeout;

    if (batch->waiting) {
        held_up = ngx_http_predictive_clock_us() / 1000 - ngx_current_msec;
        timeout = store->wait - batch->spent + ngx_max(held_up, 0);
    }

    batch->call = ngx_http_predictive_redis_eval(store, &lease->script, nkeys,
                              argv, nkeys + 2, timeout,
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

void
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
            ngx_http_predictive_lease_give_up(q, PRD_LEASE_LATE, wake);
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
            || answer->status == NGX_HTTP_PREDICTIVE_REPLY_LOST)
           ? PRD_LEASE_LOST : PRD_LEASE_UNSENT;
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
        ngx_http_predictive_lease_give_up(q, PRD_LEASE_UNSENT, wake);
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

    if (prd_lease_late(&zone->view, &q->request, reply, q->admitted, now_ms,
                       &due)
        == PRD_OK)
    {
        ngx_http_predictive_lease_revive(zone->lease, &due);
    }
}


static void
ngx_http_predictive_lease_revive(ngx_http_predictive_lease_t *lease,
    prd_due_t *due)
{
    ngx_http_predictive_item_t  *item;

    item = ngx_http_predictive_lease_item(lease);

    if (item) {
        item->due = *due;
        ngx_http_predictive_lease_first(lease, item);
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
    prd_due_t                    due;
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

    if (prd_lease_drop(&zone->view, &q->request, sent, now_ms, &due)
        == PRD_OK)
    {
        ngx_http_predictive_lease_revive(zone->lease, &due);
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
