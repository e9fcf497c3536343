
/*
 * What a node does as a node, where zones have a store: it says that it is
 * alive (_share_crew.c), takes its part of shared pools (_share_pool.c),
 * learns of the clients whose home it is (_share_home.c), and has what is
 * learned of all clients in common with the others (_share_tables.c).
 *
 * One worker does all of it: the one whose thread holds the forecaster's
 * lease.  The thread knows nothing of the store.  While either is at the
 * learned records, the other is not: the worker tries the lock and comes back
 * later, the thread waits for microseconds.  Here is when: the worker's turns,
 * and how they begin and end.
 *
 * All of it is idempotent, or lost without harm: a worker that is killed loses
 * at most one exchange, and its successor begins with what is in the store.
 */


#include "ngx_http_predictive_share.h"
#include "prd_script_node.h"


/* milliseconds */
#define NGX_HTTP_PREDICTIVE_TURN    50
#define NGX_HTTP_PREDICTIVE_LOCKED  10           /* the thread is at it */


static ngx_int_t ngx_http_predictive_share_zone(
    ngx_http_predictive_share_t *share, ngx_http_predictive_zone_t *zone);
static void ngx_http_predictive_share_turn(ngx_event_t *ev);
static void ngx_http_predictive_share_begin(
    ngx_http_predictive_share_t *share);
static void ngx_http_predictive_share_end(ngx_http_predictive_share_t *share);


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
    uint32_t                         slots, said, was, n;
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

    /*
     * Before first contact: as many as the configuration says; and another one
     * may say something else, as long as that is all that is known.
     */

    said = (uint32_t) zone->store->nodes;
    was = atomic_exchange(&zone->view.zone->nodes_said, said);

    if (was != said) {
        n = was;
        (void) atomic_compare_exchange_strong(&zone->view.zone->nodes, &n,
                                              said);
        n = was;
        (void) atomic_compare_exchange_strong(
                   &zone->view.zone->pool_share.nodes, &n, said);
    }

    zone->forecaster->changed = ngx_http_predictive_share_changed;
    zone->forecaster->changed_data = part;

    /* until it is known whose home we are: nobody's hour ends here */

    atomic_store(&zone->forecaster->away, UINT64_MAX);

    return NGX_OK;
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
ngx_http_predictive_share_end(ngx_http_predictive_share_t *share)
{
    ngx_uint_t                       i;
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

        ngx_http_predictive_share_drop(part);

        atomic_store(&part->zone->forecaster->away, UINT64_MAX);
    }
}
