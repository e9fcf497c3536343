
/*
 * What a node does as a node, where zones have a store: it says that it is
 * alive, takes its part of shared pools, and learns of the clients whose home
 * it is.
 *
 * One worker does all of it: the one whose thread holds the forecaster's
 * lease.  The thread knows nothing of the store.  Before a bin ends, the
 * worker takes from the store what all nodes have counted and puts it into
 * the zone as if it had come here; the thread closes blocks as ever and
 * notes which records it has changed; the worker packs and publishes these.
 * While either is at the learned records, the other is not: the worker tries
 * the lock and comes back later, the thread waits for microseconds.
 *
 * All of it is idempotent, or lost without harm: a worker that is killed loses
 * at most one exchange, and its successor begins with what is in the store.
 */


#include <ngx_event.h>
#include <ngx_http_predictive_redis.h>

#include "prd_home.h"
#include "prd_lease.h"
#include "prd_merge.h"
#include "prd_script_node.h"


/* milliseconds */
#define NGX_HTTP_PREDICTIVE_TURN        50
#define NGX_HTTP_PREDICTIVE_NODE        1000
#define NGX_HTTP_PREDICTIVE_LOST        3000     /* the store forgets a node */
#define NGX_HTTP_PREDICTIVE_TABLES      60000
#define NGX_HTTP_PREDICTIVE_TABLES_RETRY 5000
#define NGX_HTTP_PREDICTIVE_TAKE        5000     /* in a bin: from, to */
#define NGX_HTTP_PREDICTIVE_TAKEN       9300
#define NGX_HTTP_PREDICTIVE_AWAY        500      /* a pool's store, at least */
#define NGX_HTTP_PREDICTIVE_LOCKED      10

#define NGX_HTTP_PREDICTIVE_PIPELINE    4        /* exchanges at a time */
#define NGX_HTTP_PREDICTIVE_OTHERS      16       /* tables read in one */
#define NGX_HTTP_PREDICTIVE_VOTES       16       /* in a table worth having; */
#define NGX_HTTP_PREDICTIVE_FRESH       64       /* one with less is as new */
#define NGX_HTTP_PREDICTIVE_SCAN        512      /* words of a bitmap a turn */


typedef struct ngx_http_predictive_crew_s  ngx_http_predictive_crew_t;
typedef struct ngx_http_predictive_part_of_s
    ngx_http_predictive_part_of_t;


/* A store, as its nodes are concerned. */

struct ngx_http_predictive_crew_s {
    ngx_http_predictive_store_t    *store;
    ngx_http_predictive_share_t    *share;
    ngx_str_t                       key;         /* of the live nodes */
    prd_nodes_t                     nodes;       /* alive, as last heard */
    uint64_t                        homes;       /* groups, ours */
    int64_t                         ahead_s;     /* its clock, of ours */
    ngx_msec_t                      asked;
    ngx_msec_t                      heard;
    ngx_msec_t                      since;       /* without a gap */
    ngx_http_predictive_call_t     *call;
    unsigned                        known:1;     /* heard of, lately */
    unsigned                        once:1;      /* asked at all */
};


/* Another node, as its tables are concerned. */

typedef struct {
    uint64_t                        id;          /* 0: free */
    ngx_msec_t                      at;
    prd_merge_seen_t                seen;
} ngx_http_predictive_other_t;


/* A zone with a store. */

struct ngx_http_predictive_part_of_s {
    ngx_http_predictive_zone_t     *zone;
    ngx_http_predictive_crew_t     *crew;
    ngx_http_predictive_share_t    *share;
    ngx_str_t                       prefix;      /* PREFIX:1:{ZONE: */

    /* the pool */
    prd_pool_tick_t                 pool;
    ngx_msec_t                      pool_at;
    ngx_http_predictive_call_t     *pool_call;

    /* records changed by the thread, a bit a slot; by both, atomic */
    _Atomic uint64_t               *changed;
    uint16_t                       *loaded;      /* a version a slot */
    ngx_uint_t                      words;
    ngx_uint_t                      scan;

    /* taking: groups of this bin that are not done, and being asked */
    uint64_t                        bin;
    uint64_t                        todo;
    uint64_t                        asking;
    uint32_t                        budget[PRD_NODE_GROUPS];
    ngx_queue_t                     takes;
    ngx_uint_t                      ntakes;

    /* publishing: slots by group, in a cluster; else all in the first */
    struct {
        ngx_uint_t                  n;
        uint32_t                    slot[PRD_HOME_KEYS];
    }                               batch[PRD_NODE_GROUPS];
    ngx_queue_t                     puts;
    ngx_uint_t                      nputs;

    /* pooled tables */
    prd_merge_own_t                *own;
    ngx_http_predictive_other_t    *others;      /* OTHERS of them */
    ngx_uint_t                      next_other;  /* where the turn begins */
    ngx_uint_t                      nasked;
    uint64_t                        asked[NGX_HTTP_PREDICTIVE_OTHERS];
    ngx_msec_t                      tables_at;
    ngx_msec_t                      tables_wait;
    ngx_http_predictive_call_t     *tables_call;
    unsigned                        begun:1;     /* others' are known */
    unsigned                        adopted:1;

    ngx_uint_t                      no_slot;     /* since it was last said */
    ngx_msec_t                      no_slot_at;
};


struct ngx_http_predictive_share_s {
    ngx_http_predictive_main_conf_t  *pmcf;
    ngx_cycle_t                    *cycle;
    uint64_t                        node;
    u_char                          hex[16];
    uint16_t                        short_id;
    ngx_event_t                     turn;
    ngx_array_t                     crews;
    ngx_array_t                     parts;

    ngx_http_predictive_script_t    script_node;
    ngx_http_predictive_script_t    script_pool;
    ngx_http_predictive_script_t    script_table;
    ngx_http_predictive_script_t    script_take;
    ngx_http_predictive_script_t    script_publish;

    unsigned                        hosting:1;
};


/* An exchange about clients, while it is under way. */

typedef struct {
    ngx_queue_t                     queue;
    ngx_http_predictive_part_of_t  *part;
    ngx_http_predictive_call_t     *call;        /* NULL: answered */
    ngx_uint_t                      group;
    size_t                          len;         /* of a reply that waits */
    u_char                         *reply;       /* for the lock */
    ngx_uint_t                      n;
    uint32_t                        slot[PRD_HOME_KEYS];
    uint64_t                        tag[PRD_HOME_KEYS];
} ngx_http_predictive_exchange_t;


static ngx_int_t ngx_http_predictive_share_zone(
    ngx_http_predictive_share_t *share, ngx_http_predictive_zone_t *zone);
static ngx_http_predictive_crew_t *ngx_http_predictive_share_crew(
    ngx_http_predictive_share_t *share, ngx_http_predictive_store_t *store);
static void ngx_http_predictive_share_turn(ngx_event_t *ev);
static void ngx_http_predictive_share_begin(
    ngx_http_predictive_share_t *share);
static void ngx_http_predictive_share_end(ngx_http_predictive_share_t *share);

static void ngx_http_predictive_share_live(ngx_http_predictive_crew_t *crew);
static void ngx_http_predictive_share_lived(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_share_nodes(ngx_http_predictive_crew_t *crew);

static void ngx_http_predictive_share_pool(
    ngx_http_predictive_part_of_t *part);
static void ngx_http_predictive_share_pooled(void *data,
    ngx_http_predictive_answer_t *answer);

static void ngx_http_predictive_share_take(
    ngx_http_predictive_part_of_t *part);
static void ngx_http_predictive_share_taken(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_share_waiting(
    ngx_http_predictive_part_of_t *part);
static void ngx_http_predictive_share_count(
    ngx_http_predictive_part_of_t *part, ngx_uint_t group, const u_char *data,
    size_t len);

static void ngx_http_predictive_share_changed(void *data, uint32_t slot);
static void ngx_http_predictive_share_publish(
    ngx_http_predictive_part_of_t *part);
static ngx_int_t ngx_http_predictive_share_put(
    ngx_http_predictive_part_of_t *part, ngx_uint_t group);
static void ngx_http_predictive_share_published(void *data,
    ngx_http_predictive_answer_t *answer);

static void ngx_http_predictive_share_tables(
    ngx_http_predictive_part_of_t *part);
static void ngx_http_predictive_share_merged(void *data,
    ngx_http_predictive_answer_t *answer);


/*
 * In a worker, when zones are attached and stores are there, before the
 * thread begins.
 */

ngx_int_t
ngx_http_predictive_share_init(ngx_http_predictive_main_conf_t *pmcf,
    ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_http_predictive_zone_t   **zones;
    ngx_http_predictive_share_t   *share;

    pmcf->share = NULL;
    zones = pmcf->zones.elts;

    for (i = 0; i < pmcf->zones.nelts; i++) {
        if (zones[i]->store) {
            break;
        }
    }

    if (i == pmcf->zones.nelts) {
        return NGX_OK;
    }

    share = ngx_pcalloc(cycle->pool, sizeof(ngx_http_predictive_share_t));
    if (share == NULL) {
        return NGX_ERROR;
    }

    share->pmcf = pmcf;
    share->cycle = cycle;
    share->node = ngx_http_predictive_node(pmcf);
    share->short_id = prd_node_short(share->node);
    prd_node_hex(share->node, (char *) share->hex);

    ngx_http_predictive_script_init(&share->script_node,
        prd_script_node.data, prd_script_node.len);
    ngx_http_predictive_script_init(&share->script_pool,
        prd_script_pool.data, prd_script_pool.len);
    ngx_http_predictive_script_init(&share->script_table,
        prd_script_table.data, prd_script_table.len);
    ngx_http_predictive_script_init(&share->script_take,
        prd_script_take.data, prd_script_take.len);
    ngx_http_predictive_script_init(&share->script_publish,
        prd_script_publish.data, prd_script_publish.len);

    if (ngx_array_init(&share->crews, cycle->pool, 2,
                       sizeof(ngx_http_predictive_crew_t *))
        != NGX_OK
        || ngx_array_init(&share->parts, cycle->pool, 4,
                          sizeof(ngx_http_predictive_part_of_t *))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < pmcf->zones.nelts; i++) {
        if (zones[i]->store && zones[i]->view.zone
            && ngx_http_predictive_share_zone(share, zones[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    share->turn.handler = ngx_http_predictive_share_turn;
    share->turn.data = share;
    share->turn.log = cycle->log;
    share->turn.cancelable = 1;

    ngx_add_timer(&share->turn, NGX_HTTP_PREDICTIVE_TURN);

    pmcf->share = share;

    return NGX_OK;
}


/* Before the stores end. */

void
ngx_http_predictive_share_stop(ngx_http_predictive_main_conf_t *pmcf)
{
    ngx_http_predictive_share_t  *share;

    share = pmcf->share;

    if (share == NULL) {
        return;
    }

    if (share->turn.timer_set) {
        ngx_del_timer(&share->turn);
    }

    if (share->hosting) {
        ngx_http_predictive_share_end(share);
    }
}


/* When the thread has ended, too. */

void
ngx_http_predictive_share_exit(ngx_http_predictive_main_conf_t *pmcf)
{
    ngx_uint_t                       i;
    ngx_http_predictive_share_t     *share;
    ngx_http_predictive_part_of_t  **parts;

    share = pmcf->share;

    if (share == NULL) {
        return;
    }

    parts = share->parts.elts;

    for (i = 0; i < share->parts.nelts; i++) {
        parts[i]->zone->forecaster->changed = NULL;
        parts[i]->zone->policy.pool.share = NULL;
        free((void *) parts[i]->changed);
        free(parts[i]->loaded);
        free(parts[i]->own);
        free(parts[i]->others);
    }

    pmcf->share = NULL;
}


/*
 * Memory that only the host needs is zeroed by the system when it is used
 * first: calloc() and not a memory pool.
 */

static ngx_int_t
ngx_http_predictive_share_zone(ngx_http_predictive_share_t *share,
    ngx_http_predictive_zone_t *zone)
{
    u_char                          *p;
    uint32_t                         slots, none;
    ngx_str_t                       *prefix;
    ngx_http_predictive_part_of_t   *part, **pp;

    part = ngx_pcalloc(share->cycle->pool,
                       sizeof(ngx_http_predictive_part_of_t));
    pp = ngx_array_push(&share->parts);

    if (part == NULL || pp == NULL) {
        return NGX_ERROR;
    }

    *pp = part;

    part->zone = zone;
    part->share = share;
    part->crew = ngx_http_predictive_share_crew(share, zone->store);

    ngx_queue_init(&part->takes);
    ngx_queue_init(&part->puts);

    prefix = &zone->store->prefix;
    p = ngx_pnalloc(share->cycle->pool,
                    prefix->len + zone->name.len + sizeof(":1:{:") - 1);

    if (p == NULL || part->crew == NULL) {
        return NGX_ERROR;
    }

    part->prefix.data = p;
    part->prefix.len = ngx_sprintf(p, "%V:1:{%V:", prefix, &zone->name) - p;

    slots = prd_zone_slots(&zone->view);

    part->words = slots / 64 + 1;
    part->changed = calloc(part->words, sizeof(uint64_t));
    part->loaded = calloc(slots + 1, sizeof(uint16_t));
    part->own = calloc(1, sizeof(prd_merge_own_t));
    part->others = calloc(NGX_HTTP_PREDICTIVE_OTHERS,
                          sizeof(ngx_http_predictive_other_t));

    if (part->changed == NULL || part->loaded == NULL || part->own == NULL
        || part->others == NULL)
    {
        return NGX_ERROR;
    }

    if (zone->params.capacity) {
        zone->policy.pool.share = &zone->view.zone->pool_share;
    }

    /* before first contact: as many as the configuration says */

    none = 0;
    (void) atomic_compare_exchange_strong(&zone->view.zone->nodes, &none,
                                          (uint32_t) zone->store->nodes);
    none = 0;
    (void) atomic_compare_exchange_strong(&zone->view.zone->pool_share.nodes,
                                          &none,
                                          (uint32_t) zone->store->nodes);

    zone->forecaster->changed = ngx_http_predictive_share_changed;
    zone->forecaster->changed_data = part;

    /* until it is known whose home we are: nobody's hour ends here */

    atomic_store(&zone->forecaster->away, UINT64_MAX);

    return NGX_OK;
}


static ngx_http_predictive_crew_t *
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


static void
ngx_http_predictive_share_turn(ngx_event_t *ev)
{
    ngx_uint_t                       i;
    ngx_msec_t                       wait;
    ngx_http_predictive_crew_t     **crews;
    ngx_http_predictive_share_t     *share;
    ngx_http_predictive_part_of_t  **parts, *part;

    share = ev->data;
    wait = NGX_HTTP_PREDICTIVE_TURN;

    if (ngx_http_predictive_hosting(share->pmcf) != share->hosting) {

        if (share->hosting) {
            ngx_http_predictive_share_end(share);

        } else {
            ngx_http_predictive_share_begin(share);
        }
    }

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        return;
    }

    if (!share->hosting) {
        ngx_add_timer(ev, wait);
        return;
    }

    crews = share->crews.elts;

    for (i = 0; i < share->crews.nelts; i++) {
        ngx_http_predictive_share_live(crews[i]);
    }

    parts = share->parts.elts;

    for (i = 0; i < share->parts.nelts; i++) {
        part = parts[i];

        if (!ngx_http_predictive_redis_up(part->crew->store)
            || !part->crew->known)
        {
            continue;
        }

        if (part->zone->params.capacity) {
            ngx_http_predictive_share_pool(part);
        }

        if (part->zone->params.learn != PRD_LEARN_OFF) {
            ngx_http_predictive_share_waiting(part);
            ngx_http_predictive_share_take(part);
            ngx_http_predictive_share_publish(part);
            ngx_http_predictive_share_tables(part);

            if (!ngx_queue_empty(&part->takes)) {
                wait = NGX_HTTP_PREDICTIVE_LOCKED;
            }
        }
    }

    ngx_add_timer(ev, wait);
}


/* What a former host has left undone is in the store. */

static void
ngx_http_predictive_share_begin(ngx_http_predictive_share_t *share)
{
    ngx_uint_t                       i;
    ngx_http_predictive_crew_t     **crews;
    ngx_http_predictive_part_of_t  **parts, *part;

    share->hosting = 1;

    crews = share->crews.elts;

    for (i = 0; i < share->crews.nelts; i++) {
        crews[i]->known = 0;
        crews[i]->once = 0;
        crews[i]->homes = 0;
    }

    parts = share->parts.elts;

    for (i = 0; i < share->parts.nelts; i++) {
        part = parts[i];

        ngx_memzero(&part->pool, sizeof(prd_pool_tick_t));
        part->pool.seen = atomic_load(
                              &part->zone->view.zone->pool_share.credit);
        part->pool_at = ngx_current_msec - part->crew->store->sync;
        part->bin = 0;
        part->todo = 0;
        part->tables_at = ngx_current_msec;
        part->tables_wait = 0;
        part->begun = 0;
        part->own->began = 0;
        ngx_memzero(part->batch, sizeof(part->batch));
    }
}


static void
ngx_http_predictive_share_cancel(ngx_http_predictive_call_t **call)
{
    if (*call) {
        ngx_http_predictive_redis_cancel(*call);
        *call = NULL;
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


static void
ngx_http_predictive_share_end(ngx_http_predictive_share_t *share)
{
    ngx_uint_t                       i;
    ngx_queue_t                     *q;
    ngx_http_predictive_crew_t     **crews;
    ngx_http_predictive_part_of_t  **parts, *part;

    share->hosting = 0;

    crews = share->crews.elts;

    for (i = 0; i < share->crews.nelts; i++) {
        ngx_http_predictive_share_cancel(&crews[i]->call);
        crews[i]->known = 0;
    }

    parts = share->parts.elts;

    for (i = 0; i < share->parts.nelts; i++) {
        part = parts[i];

        ngx_http_predictive_share_cancel(&part->pool_call);
        ngx_http_predictive_share_cancel(&part->tables_call);

        while (!ngx_queue_empty(&part->takes)) {
            q = ngx_queue_head(&part->takes);
            ngx_http_predictive_share_free(
                ngx_queue_data(q, ngx_http_predictive_exchange_t, queue));
        }

        while (!ngx_queue_empty(&part->puts)) {
            q = ngx_queue_head(&part->puts);
            ngx_http_predictive_share_free(
                ngx_queue_data(q, ngx_http_predictive_exchange_t, queue));
        }

        part->ntakes = part->nputs = 0;
        part->asking = 0;

        atomic_store(&part->zone->forecaster->away, UINT64_MAX);
    }
}


/* Who is alive. */


static void
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


static uint64_t
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


static void
ngx_http_predictive_share_lived(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_http_predictive_crew_t *crew = data;

    size_t       i;
    uint64_t     id, now_s;
    redisReply  *r;
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

    for (i = 2; i < r->elements && nodes.n < PRD_NODES_MOST; i++) {
        id = r->element[i]->type == REDIS_REPLY_STRING
             ? prd_node_unhex(r->element[i]->str,
                              (size_t) r->element[i]->len)
             : 0;

        if (id) {
            nodes.id[nodes.n++] = id;
        }
    }

    if (nodes.n == 0) {
        return;
    }

    if (!crew->known
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
         * A store that is away: as many as there were.  One that was, or is
         * new to us, has not heard of all the others yet: not fewer.
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


/* The pool. */


static void
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

    n[0] = part->crew->nodes.n;
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

    part->pool_call = NULL;
    t = &part->zone->policy.pool;
    r = answer->reply;

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_OK
        && r->type == REDIS_REPLY_ARRAY && r->elements == 3
        && r->element[0]->type == REDIS_REPLY_INTEGER
        && r->element[1]->type == REDIS_REPLY_INTEGER
        && r->element[2]->type == REDIS_REPLY_INTEGER)
    {
        good = ngx_max(4 * part->crew->store->sync, NGX_HTTP_PREDICTIVE_AWAY);

        prd_pool_grant(&part->zone->view.zone->pool, t, &part->pool,
                       r->element[0]->integer, r->element[1]->integer,
                       r->element[2]->integer, part->crew->nodes.n,
                       (uint32_t) ngx_current_msec,
                       (uint32_t) (ngx_current_msec + good));
        return;
    }

    sent = answer->status == NGX_HTTP_PREDICTIVE_REPLY_TIMEOUT
           || answer->status == NGX_HTTP_PREDICTIVE_REPLY_LOST;

    prd_pool_lost(t, &part->pool, sent);
}


/* Learning: what all nodes have counted. */


static void
ngx_http_predictive_share_terms(ngx_http_predictive_part_of_t *part,
    prd_pack_terms_t *t)
{
    t->by = part->share->short_id;
    t->horizon_s = ngx_max(part->zone->params.horizon_s, PRD_BIN_S);
    t->now_s = (uint64_t) ngx_time();
    t->shared_s = (uint32_t) ((int64_t) t->now_s + part->crew->ahead_s);
}


static u_char *
ngx_http_predictive_share_group(ngx_http_predictive_part_of_t *part,
    u_char *p, ngx_uint_t group)
{
    return ngx_sprintf(p, "%Vs%03ui}:", &part->prefix, group);
}


static void
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


static void
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
        && ngx_current_msec - part->no_slot_at >= NGX_HTTP_PREDICTIVE_TABLES)
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

static void
ngx_http_predictive_share_changed(void *data, uint32_t slot)
{
    ngx_http_predictive_part_of_t *part = data;

    (void) atomic_fetch_or_explicit(&part->changed[slot / 64],
                                    1ull << (slot % 64),
                                    memory_order_release);
}


/* What was learned, to the store: some of it at each turn. */

static void
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


/* Pooled tables. */


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


static void
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

        part->tables_wait = NGX_HTTP_PREDICTIVE_NODE;
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
