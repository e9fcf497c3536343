
/*
 * Learning of the clients whose home this node is.
 *
 * Before a bin ends, the worker takes from the store what all nodes have
 * counted and puts it into the zone as if it had come here; the thread closes
 * blocks as ever and notes which records it has changed; the worker packs and
 * publishes these.
 */


#include "ngx_http_predictive_share.h"
#include "prd_lease.h"


/* milliseconds */
#define NGX_HTTP_PREDICTIVE_TAKE      5000       /* in a bin: from, to */
#define NGX_HTTP_PREDICTIVE_TAKEN     9300
#define NGX_HTTP_PREDICTIVE_NO_SLOT   60000      /* between two such lines */

#define NGX_HTTP_PREDICTIVE_PIPELINE  4          /* exchanges at a time */
#define NGX_HTTP_PREDICTIVE_SCAN      512        /* words of a bitmap a turn */


static void ngx_http_predictive_share_taken(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_share_count(
    ngx_http_predictive_part_of_t *part, ngx_uint_t group, const u_char *data,
    size_t len);
static ngx_int_t ngx_http_predictive_share_put(
    ngx_http_predictive_part_of_t *part, ngx_uint_t group);
static void ngx_http_predictive_share_published(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_share_terms(ngx_http_predictive_part_of_t *part,
    prd_pack_terms_t *t);
static u_char *ngx_http_predictive_share_group(
    ngx_http_predictive_part_of_t *part, u_char *p, ngx_uint_t group);
static void ngx_http_predictive_share_empty(ngx_queue_t *exchanges);
static void ngx_http_predictive_share_free(ngx_http_predictive_exchange_t *x);


void
ngx_http_predictive_share_take(ngx_http_predictive_part_of_t *part)
{
    u_char                          *key, most[NGX_INT_T_LEN];
    uint64_t                         bin;
    ngx_str_t                        argv[2];
    ngx_uint_t                       phase, group;
    ngx_time_t                      *tp;
    ngx_http_predictive_exchange_t  *x;

    tp = ngx_timeofday();
    bin = (uint64_t) tp->sec / PRD_BIN_S;
    phase = (ngx_uint_t) (tp->sec % PRD_BIN_S) * 1000 + tp->msec;

    if (phase < NGX_HTTP_PREDICTIVE_TAKE || phase >= NGX_HTTP_PREDICTIVE_TAKEN)
    {
        return;
    }

    if (part->bin != bin) {
        part->bin = bin;
        part->todo = part->crew->homes;
        ngx_memset(part->budget, 0xff, sizeof(part->budget));
    }

    key = ngx_alloc(part->prefix.len + sizeof("s000}:act"),
                    part->share->cycle->log);
    if (key == NULL) {
        return;
    }

    argv[0].data = key;
    argv[1].data = most;
    argv[1].len = ngx_sprintf(most, "%d", PRD_HOME_KEYS) - most;

    while (part->ntakes < NGX_HTTP_PREDICTIVE_PIPELINE
           && (part->todo & ~part->asking))
    {
        group = __builtin_ctzll(part->todo & ~part->asking);

        x = ngx_calloc(sizeof(ngx_http_predictive_exchange_t),
                       part->share->cycle->log);
        if (x == NULL) {
            break;
        }

        x->part = part;
        x->group = group;

        argv[0].len = ngx_sprintf(ngx_http_predictive_share_group(part, key,
                                                                  group),
                                  "act") - key;

        x->call = ngx_http_predictive_redis_eval(part->crew->store,
                      &part->share->script_take, 1, argv, 2,
                      part->crew->store->timeout,
                      ngx_http_predictive_share_taken, x);

        if (x->call == NULL) {
            ngx_free(x);
            break;
        }

        ngx_queue_insert_tail(&part->takes, &x->queue);
        part->ntakes++;
        part->asking |= 1ull << group;
    }

    ngx_free(key);
}


static void
ngx_http_predictive_share_taken(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_http_predictive_exchange_t *x = data;

    redisReply                     *r;
    ngx_http_predictive_part_of_t  *part;

    part = x->part;
    x->call = NULL;
    part->asking &= ~(1ull << x->group);

    r = answer->reply;

    if (answer->status != NGX_HTTP_PREDICTIVE_REPLY_OK
        || r->type != REDIS_REPLY_STRING || r->len == 0)
    {
        /* the group is left alone until the next bin */

        part->todo &= ~(1ull << x->group);
        part->ntakes--;
        ngx_http_predictive_share_free(x);
        return;
    }

    if (ngx_http_predictive_learn_lock(part->share->pmcf) == NGX_OK) {
        ngx_http_predictive_share_count(part, x->group, (u_char *) r->str,
                                        (size_t) r->len);
        ngx_http_predictive_learn_unlock(part->share->pmcf);

        part->ntakes--;
        ngx_http_predictive_share_free(x);

        ngx_http_predictive_share_take(part);
        return;
    }

    /* the thread is at it: soon */

    x->len = (size_t) r->len;
    x->reply = ngx_alloc(x->len, part->share->cycle->log);

    if (x->reply == NULL) {
        part->ntakes--;
        ngx_http_predictive_share_free(x);
        return;
    }

    ngx_memcpy(x->reply, r->str, x->len);
}


void
ngx_http_predictive_share_waiting(ngx_http_predictive_part_of_t *part)
{
    ngx_queue_t                     *q, *next;
    ngx_http_predictive_exchange_t  *x;

    for (q = ngx_queue_head(&part->takes);
         q != ngx_queue_sentinel(&part->takes);
         q = next)
    {
        next = ngx_queue_next(q);
        x = ngx_queue_data(q, ngx_http_predictive_exchange_t, queue);

        if (x->reply == NULL) {
            continue;
        }

        if (ngx_http_predictive_learn_lock(part->share->pmcf) != NGX_OK) {
            return;
        }

        ngx_http_predictive_share_count(part, x->group, x->reply, x->len);
        ngx_http_predictive_learn_unlock(part->share->pmcf);

        part->ntakes--;
        ngx_http_predictive_share_free(x);
    }
}


static void
ngx_http_predictive_share_count(ngx_http_predictive_part_of_t *part,
    ngx_uint_t group, const u_char *data, size_t len)
{
    uint32_t           slot, n;
    prd_rc_t           rc;
    prd_pack_terms_t   t;
    prd_home_count_t   count;
    prd_home_reader_t  reader;

    rc = prd_home_read(&reader, data, len);

    if (rc != PRD_OK) {
        part->todo &= ~(1ull << group);

        ngx_log_error(NGX_LOG_ERR, part->share->cycle->log, 0,
                      "predictive zone \"%V\": bad counts from store \"%V\": "
                      "%s", &part->zone->name, &part->crew->store->name,
                      prd_strerror(rc));
        return;
    }

    ngx_http_predictive_share_terms(part, &t);
    n = 0;

    for ( ;; ) {
        rc = prd_home_next(&reader, &count);

        if (rc != PRD_OK) {
            break;
        }

        n++;

        /* keys are the group's only by their name */

        if (prd_node_group(count.tag) != group) {
            continue;
        }

        if (prd_home_take(&part->zone->view, &part->zone->policy, &count, &t,
                          part->loaded, (uint32_t) ngx_current_msec, &slot)
            == PRD_EFULL)
        {
            part->no_slot++;
        }
    }

    /* who comes back while others are taken waits for the next bin */

    if (part->budget[group] == UINT32_MAX) {
        part->budget[group] = reader.left;

    } else {
        part->budget[group] -= ngx_min(n, part->budget[group]);
    }

    if (rc == PRD_ECORRUPT || n == 0 || reader.left == 0
        || part->budget[group] == 0)
    {
        part->todo &= ~(1ull << group);
    }

    if (part->no_slot
        && ngx_current_msec - part->no_slot_at >= NGX_HTTP_PREDICTIVE_NO_SLOT)
    {
        ngx_log_error(NGX_LOG_WARN, part->share->cycle->log, 0,
                      "predictive zone \"%V\": no slots for %ui clients that "
                      "this node is to learn of", &part->zone->name,
                      part->no_slot);
        part->no_slot = 0;
        part->no_slot_at = ngx_current_msec;
    }
}


/* In the thread. */

void
ngx_http_predictive_share_changed(void *data, uint32_t slot)
{
    ngx_http_predictive_part_of_t *part = data;

    (void) atomic_fetch_or_explicit(&part->changed[slot / 64],
                                    1ull << (slot % 64),
                                    memory_order_release);
}


/* What was learned, to the store: some of it at each turn. */

void
ngx_http_predictive_share_publish(ngx_http_predictive_part_of_t *part)
{
    uint64_t     bits, tag;
    uint32_t     slot;
    ngx_uint_t   i, group, cluster;

    cluster = part->crew->store->mode == NGX_HTTP_PREDICTIVE_CLUSTER;

    for (i = 0; i < NGX_HTTP_PREDICTIVE_SCAN; i++) {

        if (part->nputs >= NGX_HTTP_PREDICTIVE_PIPELINE) {
            return;
        }

        if (part->scan == part->words) {
            part->scan = 0;
            break;
        }

        if (atomic_load_explicit(&part->changed[part->scan],
                                 memory_order_relaxed)
            == 0)
        {
            part->scan++;
            continue;
        }

        bits = atomic_exchange_explicit(&part->changed[part->scan], 0,
                                        memory_order_acquire);

        for ( /* void */ ; bits; bits &= bits - 1) {
            slot = (uint32_t) part->scan * 64
                   + (uint32_t) __builtin_ctzll(bits);
            tag = atomic_load_explicit(&part->zone->view.table.tags[slot],
                                       memory_order_relaxed);
            group = prd_node_group(tag);

            if (!(part->crew->homes >> group & 1)) {
                continue;
            }

            group = cluster ? group : 0;

            if (part->batch[group].n == PRD_HOME_KEYS
                && ngx_http_predictive_share_put(part, group) != NGX_OK)
            {
                /* these and the rest: again */

                (void) atomic_fetch_or(&part->changed[part->scan], bits);
                return;
            }

            part->batch[group].slot[part->batch[group].n++] = slot;
        }

        part->scan++;
    }

    /* batches that are not full are sent when all was looked at */

    if (part->scan) {
        return;
    }

    for (group = 0; group < PRD_NODE_GROUPS; group++) {

        if (part->nputs >= NGX_HTTP_PREDICTIVE_PIPELINE) {
            return;
        }

        if (part->batch[group].n
            && ngx_http_predictive_share_put(part, group) != NGX_OK)
        {
            return;
        }
    }
}


static ngx_int_t
ngx_http_predictive_share_put(ngx_http_predictive_part_of_t *part,
    ngx_uint_t group)
{
    size_t                           len;
    u_char                          *keys, *p, *records;
    uint64_t                         tag;
    uint32_t                         slot;
    ngx_str_t                        argv[PRD_HOME_KEYS + 1];
    ngx_uint_t                       i, n;
    prd_pack_terms_t                 t;
    ngx_http_predictive_exchange_t  *x;

    len = part->prefix.len + sizeof("s000}:") - 1 + 16;

    x = ngx_calloc(sizeof(ngx_http_predictive_exchange_t),
                   part->share->cycle->log);
    keys = ngx_alloc(PRD_HOME_KEYS * (len + PRD_HOME_RECORD),
                     part->share->cycle->log);

    if (x == NULL || keys == NULL
        || ngx_http_predictive_learn_lock(part->share->pmcf) != NGX_OK)
    {
        ngx_free(x);
        ngx_free(keys);
        return NGX_AGAIN;
    }

    records = keys + PRD_HOME_KEYS * len;
    ngx_http_predictive_share_terms(part, &t);
    n = 0;

    for (i = 0; i < part->batch[group].n; i++) {
        slot = part->batch[group].slot[i];

        if (prd_home_put(&part->zone->view, &part->zone->policy, slot, &t,
                         records + n * PRD_HOME_RECORD, &tag)
            != PRD_OK)
        {
            continue;
        }

        p = keys + n * len;
        argv[n].data = p;
        argv[n].len = len;
        p = ngx_http_predictive_share_group(part, p, prd_node_group(tag));
        prd_node_hex(tag, (char *) p);

        x->slot[n] = slot;
        x->tag[n] = tag;
        n++;
    }

    ngx_http_predictive_learn_unlock(part->share->pmcf);

    part->batch[group].n = 0;

    if (n == 0) {
        ngx_free(x);
        ngx_free(keys);
        return NGX_OK;
    }

    argv[n].data = records;
    argv[n].len = n * PRD_HOME_RECORD;

    x->part = part;
    x->n = n;

    x->call = ngx_http_predictive_redis_eval(part->crew->store,
                  &part->share->script_publish, n, argv, n + 1,
                  part->crew->store->timeout,
                  ngx_http_predictive_share_published, x);

    ngx_free(keys);

    if (x->call == NULL) {
        ngx_free(x);
        return NGX_OK;
    }

    ngx_queue_insert_tail(&part->puts, &x->queue);
    part->nputs++;

    return NGX_OK;
}


static void
ngx_http_predictive_share_published(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_http_predictive_exchange_t *x = data;

    u_char                         *p;
    uint16_t                        version;
    ngx_uint_t                      i;
    redisReply                     *r;
    ngx_http_predictive_part_of_t  *part;

    part = x->part;
    x->call = NULL;
    part->nputs--;

    r = answer->reply;

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_OK
        && r->type == REDIS_REPLY_STRING && (size_t) r->len == 2 * x->n)
    {
        for (i = 0; i < x->n; i++) {
            p = (u_char *) r->str + 2 * i;
            version = (uint16_t) (p[0] | p[1] << 8);

            if (version
                && atomic_load(&part->zone->view.table.tags[x->slot[i]])
                   == x->tag[i])
            {
                part->loaded[x->slot[i]] = version;
                prd_lease_version(&part->zone->view, x->slot[i], version);
            }
        }

        ngx_http_predictive_share_free(x);
        ngx_http_predictive_share_publish(part);

        return;
    }

    /*
     * Once more (a record that is published twice is the same record), but not
     * before the next turn: where the store is away, that would fail in this
     * iteration of the event loop, which then had no end.
     */

    for (i = 0; i < x->n; i++) {
        ngx_http_predictive_share_changed(part, x->slot[i]);
    }

    ngx_http_predictive_share_free(x);
}


static void
ngx_http_predictive_share_terms(ngx_http_predictive_part_of_t *part,
    prd_pack_terms_t *t)
{
    t->by = part->share->short_id;
    t->horizon_s = ngx_max(part->zone->params.horizon_s, PRD_BIN_S);
    t->now_s = (uint64_t) ngx_time();
    t->shared_s = (uint32_t) ((int64_t) t->now_s + part->crew->ahead_s);
    t->phase_s = 0;                       /* of each client: prd_home.c */
}


static u_char *
ngx_http_predictive_share_group(ngx_http_predictive_part_of_t *part,
    u_char *p, ngx_uint_t group)
{
    return ngx_sprintf(p, "%Vs%03ui}:", &part->prefix, group);
}


void
ngx_http_predictive_share_drop(ngx_http_predictive_part_of_t *part)
{
    ngx_http_predictive_share_empty(&part->takes);
    ngx_http_predictive_share_empty(&part->puts);

    part->ntakes = 0;
    part->nputs = 0;
    part->asking = 0;
}


static void
ngx_http_predictive_share_empty(ngx_queue_t *exchanges)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(exchanges)) {
        q = ngx_queue_head(exchanges);
        ngx_http_predictive_share_free(
            ngx_queue_data(q, ngx_http_predictive_exchange_t, queue));
    }
}


static void
ngx_http_predictive_share_free(ngx_http_predictive_exchange_t *x)
{
    ngx_queue_remove(&x->queue);
    ngx_http_predictive_share_cancel(&x->call);

    if (x->reply) {
        ngx_free(x->reply);
    }

    ngx_free(x);
}
