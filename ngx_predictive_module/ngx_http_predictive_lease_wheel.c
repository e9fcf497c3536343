
/*
 * Keys that somebody must look after (leases to renew or to return, demand to
 * report) wait in a timing wheel, in memory of this worker; a tick turns it.
 */


#include "ngx_http_predictive_lease.h"


#define NGX_HTTP_PREDICTIVE_ITEMS     256     /* allocated at once */
#define NGX_HTTP_PREDICTIVE_ITEMS_MOST  (1 << 18)
#define NGX_HTTP_PREDICTIVE_AHEAD     4       /* items, whose memory is asked
                                               * for */
#define NGX_HTTP_PREDICTIVE_WAIT      14      /* log2 ms: 16 s, see
                                               * prd_lease_wait() */


static void ngx_http_predictive_lease_forget(
    ngx_http_predictive_lease_t *lease, ngx_http_predictive_item_t *item);
static void ngx_http_predictive_lease_look(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item);


void
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


ngx_http_predictive_item_t *
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


void
ngx_http_predictive_lease_keep(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item, prd_rc_t rc)
{
    if (rc == PRD_EAGAIN) {
        ngx_http_predictive_lease_look(lease, item);

    } else {
        ngx_http_predictive_lease_forget(lease, item);
    }
}


void
ngx_http_predictive_lease_first(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item)
{
    if (item->due.strict
        && (int32_t) (item->due.at_ms - (uint32_t) ngx_current_msec) <= 0)
    {
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


void
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


void
ngx_http_predictive_lease_turn(ngx_http_predictive_lease_t *lease,
    ngx_http_predictive_item_t *item, ngx_uint_t leaving)
{
    uint32_t                      now_ms, was;
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

        was = item->due.at_ms;
        item->due.at_ms = now_ms + (uint32_t) zone->store->sync;

        rc = PRD_EAGAIN;

        if ((was ^ item->due.at_ms) >> NGX_HTTP_PREDICTIVE_WAIT) {
            rc = prd_lease_wait(&zone->view, &item->due, now_ms);
        }

        ngx_http_predictive_lease_keep(lease, item, rc);
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
