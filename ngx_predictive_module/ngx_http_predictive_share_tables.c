
/*
 * Pooled tables: what nodes have learned of all clients together.  Each minute
 * a node puts its own into the store and merges those of others; one that is
 * new begins with them.
 */


#include "ngx_http_predictive_share.h"


/* milliseconds */
#define NGX_HTTP_PREDICTIVE_TABLES         60000
#define NGX_HTTP_PREDICTIVE_TABLES_RETRY   5000
#define NGX_HTTP_PREDICTIVE_TABLES_LOCKED  1000

#define NGX_HTTP_PREDICTIVE_VOTES  16        /* in a table worth having; */
#define NGX_HTTP_PREDICTIVE_FRESH  64        /* one with less is as new */


static void ngx_http_predictive_share_merged(void *data,
    ngx_http_predictive_answer_t *answer);
static ngx_int_t ngx_http_predictive_share_adopt(
    ngx_http_predictive_part_of_t *part, redisReply *r,
    const prd_envelope_terms_t *t, uint64_t learned_s, uint32_t votes);
static ngx_http_predictive_other_t *ngx_http_predictive_share_other(
    ngx_http_predictive_part_of_t *part, uint64_t id);
static void ngx_http_predictive_share_envelope_terms(
    ngx_http_predictive_part_of_t *part, prd_envelope_terms_t *t);


void
ngx_http_predictive_share_tables(ngx_http_predictive_part_of_t *part)
{
    size_t                        len, size;
    u_char                       *keys, *table, learned[NGX_INT64_LEN];
    int64_t                       learned_s;
    ngx_str_t                     argv[NGX_HTTP_PREDICTIVE_OTHERS + 5];
    ngx_uint_t                    i, n;
    prd_zone_t                   *zone;
    prd_nodes_t                  *nodes;
    ngx_http_predictive_share_t  *share;

    share = part->share;

    if (part->tables_call
        || ngx_current_msec - part->tables_at < part->tables_wait)
    {
        return;
    }

    len = part->prefix.len + sizeof("pool}:since") - 1 + 16;
    keys = ngx_alloc((NGX_HTTP_PREDICTIVE_OTHERS + 3) * len + PRD_MERGE_SIZE,
                     share->cycle->log);

    if (keys == NULL || ngx_http_predictive_learn_lock(share->pmcf) != NGX_OK)
    {
        ngx_free(keys);
        return;
    }

    zone = part->zone->view.zone;
    table = keys + (NGX_HTTP_PREDICTIVE_OTHERS + 3) * len;

    if (part->own->began == 0) {
        prd_merge_begin(part->own, &zone->pooled,
                        (uint64_t) ngx_time() << 20
                        ^ (uint64_t) ngx_random() ^ (uint64_t) ngx_pid);
    }

    learned_s = (int64_t) ngx_time() - (int64_t) zone->learn_since_s;
    learned_s = ngx_max(learned_s, 0);

    prd_merge_count(part->own, &zone->pooled);
    prd_merge_put(table, part->own, &zone->pooled,
                  (uint32_t) ngx_min(learned_s, UINT32_MAX));

    size = prd_merge_votes(&zone->pooled) < NGX_HTTP_PREDICTIVE_VOTES
           ? 0 : PRD_MERGE_SIZE;

    ngx_http_predictive_learn_unlock(share->pmcf);

    argv[0].data = keys;
    argv[0].len = ngx_sprintf(keys, "%Vpool}:t:%*s", &part->prefix,
                              (size_t) 16, share->hex) - keys;
    argv[1].data = keys + len;
    argv[1].len = ngx_sprintf(keys + len, "%Vpool}:since", &part->prefix)
                  - (keys + len);
    argv[2].data = keys + 2 * len;
    argv[2].len = ngx_sprintf(keys + 2 * len, "%Vpool}:t:any", &part->prefix)
                  - (keys + 2 * len);

    n = 0;
    nodes = &part->crew->nodes;

    for (i = 0; i < nodes->n && n < NGX_HTTP_PREDICTIVE_OTHERS; i++) {
        part->asked[n] = nodes->id[(part->next_other + i) % nodes->n];

        if (part->asked[n] == share->node) {
            continue;
        }

        argv[n + 3].data = keys + (n + 3) * len;
        argv[n + 3].len = ngx_sprintf(argv[n + 3].data, "%Vpool}:t:",
                                      &part->prefix)
                          - argv[n + 3].data + 16;
        prd_node_hex(part->asked[n],
                     (char *) argv[n + 3].data + argv[n + 3].len - 16);
        n++;
    }

    part->next_other = nodes->n ? (part->next_other + i) % nodes->n : 0;
    part->nasked = n;

    argv[n + 3].data = table;
    argv[n + 3].len = size;
    argv[n + 4].data = learned;
    argv[n + 4].len = ngx_sprintf(learned, "%L", learned_s) - learned;

    part->tables_at = ngx_current_msec;
    part->tables_wait = NGX_HTTP_PREDICTIVE_TABLES_RETRY;

    part->tables_call = ngx_http_predictive_redis_eval(part->crew->store,
                            &share->script_table, n + 3, argv, n + 5,
                            ngx_max(part->crew->store->timeout, 1000),
                            ngx_http_predictive_share_merged, part);
    ngx_free(keys);
}


static void
ngx_http_predictive_share_merged(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_http_predictive_part_of_t *part = data;

    size_t                        i;
    uint32_t                      votes;
    uint64_t                      learned_s, since;
    prd_zone_t                   *zone;
    redisReply                   *r, *e;
    prd_merge_mean_t              mean;
    prd_envelope_terms_t          t;
    ngx_http_predictive_other_t  *other;

    part->tables_call = NULL;
    r = answer->reply;

    if (answer->status != NGX_HTTP_PREDICTIVE_REPLY_OK
        || r->type != REDIS_REPLY_ARRAY || r->elements != part->nasked + 2)
    {
        return;
    }

    if (ngx_http_predictive_learn_lock(part->share->pmcf) != NGX_OK) {

        /* the thread is at it; nothing is lost: asked again in a second */

        part->tables_wait = NGX_HTTP_PREDICTIVE_TABLES_LOCKED;
        return;
    }

    zone = part->zone->view.zone;
    learned_s = ngx_http_predictive_share_number(r->element[0]);

    ngx_http_predictive_share_envelope_terms(part, &t);

    votes = prd_merge_votes(&zone->pooled);

    if (votes < NGX_HTTP_PREDICTIVE_FRESH
        && ngx_http_predictive_share_adopt(part, r, &t, learned_s,
                                           votes + votes / 2)
           == NGX_OK)
    {
        part->begun = 0;

    } else if (votes >= NGX_HTTP_PREDICTIVE_VOTES && learned_s) {

        /* the zone's warm-up began with the first of its nodes */

        since = (uint64_t) ngx_time()
                - ngx_min(learned_s, (uint64_t) ngx_time());

        if (since + 1 < zone->learn_since_s) {
            __atomic_store_n(&zone->learn_since_s, since, __ATOMIC_RELAXED);
        }
    }

    prd_merge_count(part->own, &zone->pooled);
    ngx_memzero(&mean, sizeof(prd_merge_mean_t));

    for (i = 0; i < part->nasked; i++) {
        e = r->element[i + 2];

        if (e->type != REDIS_REPLY_STRING) {
            continue;
        }

        other = ngx_http_predictive_share_other(part, part->asked[i]);

        (void) prd_merge_add((uint8_t *) e->str, (size_t) e->len,
                             &other->seen, &mean, &zone->pooled, &t,
                             !part->begun, (double) ngx_time());
    }

    prd_merge_end(part->own, &mean, &zone->pooled, &t);
    part->begun = 1;

    ngx_http_predictive_learn_unlock(part->share->pmcf);

    part->tables_wait = prd_merge_votes(&zone->pooled)
                        < NGX_HTTP_PREDICTIVE_FRESH
                        ? NGX_HTTP_PREDICTIVE_TABLES_RETRY
                        : NGX_HTTP_PREDICTIVE_TABLES;
}


/*
 * A zone with hardly a vote takes over the tables of whoever has learned for
 * longest, and for how long: it needs no warm-up of its own.  Without tables
 * it has nothing to enforce, whatever the store says of the time.
 */

static ngx_int_t
ngx_http_predictive_share_adopt(ngx_http_predictive_part_of_t *part,
    redisReply *r, const prd_envelope_terms_t *t, uint64_t learned_s,
    uint32_t votes)
{
    size_t             i;
    uint64_t           since;
    ngx_uint_t         level;
    prd_zone_t        *zone;
    redisReply        *e, *best;
    prd_merge_head_t   head;
    uint32_t           most;

    zone = part->zone->view.zone;
    best = NULL;
    most = 0;

    for (i = 1; i < r->elements; i++) {
        e = r->element[i];

        if (e->type == REDIS_REPLY_STRING
            && prd_merge_head((uint8_t *) e->str, (size_t) e->len, &head)
               == PRD_OK
            && head.votes >= votes
            && head.votes >= NGX_HTTP_PREDICTIVE_VOTES
            && (best == NULL || head.learned_s > most))
        {
            best = e;
            most = head.learned_s;
        }
    }

    if (best == NULL
        || prd_merge_adopt((uint8_t *) best->str, (size_t) best->len,
                           &zone->pooled, t, (double) ngx_time())
           != PRD_OK)
    {
        return NGX_DECLINED;
    }

    most = (uint32_t) ngx_min(ngx_max(learned_s, most), (uint64_t) ngx_time());
    since = (uint64_t) ngx_time() - most;

    level = part->adopted ? NGX_LOG_INFO : NGX_LOG_NOTICE;

    ngx_log_error(level, part->share->cycle->log, 0,
                  "predictive zone \"%V\": begins with what other nodes of "
                  "store \"%V\" have learned in %uD s", &part->zone->name,
                  &part->crew->store->name, most);

    part->adopted = 1;

    if (since < zone->learn_since_s) {
        __atomic_store_n(&zone->learn_since_s, since, __ATOMIC_RELAXED);
    }

    return NGX_OK;
}


static ngx_http_predictive_other_t *
ngx_http_predictive_share_other(ngx_http_predictive_part_of_t *part,
    uint64_t id)
{
    ngx_uint_t                    i;
    ngx_http_predictive_other_t  *other, *oldest;

    oldest = NULL;

    for (i = 0; i < NGX_HTTP_PREDICTIVE_OTHERS; i++) {
        other = &part->others[i];

        if (other->id == id) {
            other->at = ngx_current_msec;
            return other;
        }

        if (oldest == NULL || other->id == 0
            || (oldest->id
                && (ngx_msec_int_t) (other->at - oldest->at) < 0))
        {
            oldest = other;
        }
    }

    ngx_memzero(oldest, sizeof(ngx_http_predictive_other_t));
    oldest->id = id;
    oldest->at = ngx_current_msec;

    return oldest;
}


static void
ngx_http_predictive_share_envelope_terms(ngx_http_predictive_part_of_t *part,
    prd_envelope_terms_t *t)
{
    prd_zone_t  *zone;

    zone = part->zone->view.zone;

    t->alpha = 1 - part->zone->params.confidence_ppm / 1e6;
    t->horizon_s = ngx_max(part->zone->params.horizon_s, PRD_BIN_S);
    t->learning = (uint64_t) ngx_time()
                  < zone->learn_since_s + part->zone->params.warmup_s;
}
