
/*
 * Who is alive: each second this node says so to a store and is told of the
 * others, from which follows whose home it is, and how many nodes share the
 * store's limits.
 */


#include "ngx_http_predictive_share.h"


/* milliseconds */
#define NGX_HTTP_PREDICTIVE_NODE  1000
#define NGX_HTTP_PREDICTIVE_LOST  3000           /* the store forgets a node */


static void ngx_http_predictive_share_lived(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_share_nodes(ngx_http_predictive_crew_t *crew);


ngx_http_predictive_crew_t *
ngx_http_predictive_share_crew(ngx_http_predictive_share_t *share,
    ngx_http_predictive_store_t *store)
{
    u_char                       *p;
    ngx_uint_t                    i;
    ngx_http_predictive_crew_t   *crew, **crews;

    crews = share->crews.elts;

    for (i = 0; i < share->crews.nelts; i++) {
        if (crews[i]->store == store) {
            return crews[i];
        }
    }

    crew = ngx_pcalloc(share->cycle->pool, sizeof(ngx_http_predictive_crew_t));
    crews = ngx_array_push(&share->crews);
    p = ngx_pnalloc(share->cycle->pool,
                    store->prefix.len + sizeof(":1:{nodes}:live") - 1);

    if (crew == NULL || crews == NULL || p == NULL) {
        return NULL;
    }

    *crews = crew;

    crew->store = store;
    crew->share = share;
    crew->key.data = p;
    crew->key.len = ngx_sprintf(p, "%V:1:{nodes}:live", &store->prefix) - p;

    return crew;
}


void
ngx_http_predictive_share_live(ngx_http_predictive_crew_t *crew)
{
    ngx_str_t  argv[3];

    if (crew->known
        && ngx_current_msec - crew->heard > NGX_HTTP_PREDICTIVE_LOST)
    {
        /* homes move without us; what is counted waits in the store */

        crew->known = 0;
        ngx_http_predictive_share_nodes(crew);
    }

    if (crew->call
        || (crew->once
            && ngx_current_msec - crew->asked < NGX_HTTP_PREDICTIVE_NODE)
        || !ngx_http_predictive_redis_up(crew->store))
    {
        return;
    }

    crew->asked = ngx_current_msec;
    crew->once = 1;

    argv[0] = crew->key;
    argv[1].len = 16;
    argv[1].data = crew->share->hex;
    ngx_str_set(&argv[2], "1");

    crew->call = ngx_http_predictive_redis_eval(crew->store,
                     &crew->share->script_node, 1, argv, 3,
                     crew->store->timeout, ngx_http_predictive_share_lived,
                     crew);
}


static void
ngx_http_predictive_share_lived(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_http_predictive_crew_t *crew = data;

    size_t       i;
    uint64_t     id, now_s;
    ngx_uint_t   began;
    redisReply  *r, *e;
    prd_nodes_t  nodes;

    crew->call = NULL;

    if (answer->status != NGX_HTTP_PREDICTIVE_REPLY_OK) {
        return;
    }

    r = answer->reply;

    if (r->type != REDIS_REPLY_ARRAY || r->elements < 2) {
        return;
    }

    now_s = ngx_http_predictive_share_number(r->element[0]);

    if (now_s == 0 || now_s > UINT32_MAX) {
        return;
    }

    nodes.n = 0;
    began = 0;

    for (i = 2; i < r->elements && nodes.n < PRD_NODES_MOST; i++) {
        e = r->element[i];

        if (e->type != REDIS_REPLY_STRING) {
            continue;
        }

        /* it did not know of us */

        if (e->len == 3 && ngx_strncmp(e->str, "new", 3) == 0) {
            began = 1;
            continue;
        }

        id = prd_node_unhex(e->str, (size_t) e->len);

        if (id) {
            nodes.id[nodes.n++] = id;
        }
    }

    if (nodes.n == 0) {
        return;
    }

    /*
     * Fewer than before: some are gone, or the store began anew meanwhile;
     * which it may do again before it has heard of all.
     */

    if (!crew->known
        || began
        || nodes.n < crew->nodes.n
        || ngx_current_msec - crew->heard > 2 * NGX_HTTP_PREDICTIVE_NODE)
    {
        crew->since = ngx_current_msec;
    }

    crew->nodes = nodes;
    crew->ahead_s = (int64_t) now_s - (int64_t) ngx_time();
    crew->heard = ngx_current_msec;
    crew->known = 1;

    ngx_http_predictive_share_nodes(crew);
}


static void
ngx_http_predictive_share_nodes(ngx_http_predictive_crew_t *crew)
{
    uint32_t                         n;
    uint64_t                         homes;
    ngx_uint_t                       i;
    prd_zone_t                      *zone;
    ngx_http_predictive_part_of_t  **parts;

    homes = crew->known ? prd_node_homes(&crew->nodes, crew->share->node) : 0;

    if (crew->known && homes != crew->homes) {
        ngx_log_error(NGX_LOG_INFO, crew->share->cycle->log, 0,
                      "predictive store \"%V\": %uD nodes, home of %d of %d "
                      "groups", &crew->store->name, crew->nodes.n,
                      __builtin_popcountll(homes), PRD_NODE_GROUPS);
    }

    crew->homes = homes;
    parts = crew->share->parts.elts;

    for (i = 0; i < crew->share->parts.nelts; i++) {

        if (parts[i]->crew != crew) {
            continue;
        }

        atomic_store(&parts[i]->zone->forecaster->away, ~homes);
        parts[i]->todo &= homes;

        /*
         * A store that is away: as many as there were.  One that was, is new
         * to us, or forgot some, may not have heard of all the others yet: not
         * fewer.
         */

        if (crew->known) {
            zone = parts[i]->zone->view.zone;
            n = crew->nodes.n;

            if (ngx_current_msec - crew->since < NGX_HTTP_PREDICTIVE_LOST) {
                n = ngx_max(n, atomic_load(&zone->nodes));
            }

            atomic_store(&zone->nodes, n);
            atomic_store(&zone->pool_share.nodes, n);
        }
    }
}


uint64_t
ngx_http_predictive_share_number(redisReply *r)
{
    size_t    i;
    uint64_t  n;

    if (r->type == REDIS_REPLY_INTEGER) {
        return r->integer > 0 ? (uint64_t) r->integer : 0;
    }

    n = 0;

    if (r->type == REDIS_REPLY_STRING) {
        for (i = 0; i < (size_t) r->len && i < 18; i++) {
            if (r->str[i] < '0' || r->str[i] > '9') {
                return 0;
            }

            n = n * 10 + (uint64_t) (r->str[i] - '0');
        }
    }

    return n;
}
