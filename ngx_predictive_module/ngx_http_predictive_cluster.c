
/*
 * Which Redis gets a command: the only one there is, the master that the
 * sentinels name, or the master of the key's hash slot.
 *
 * The map of a cluster (CLUSTER SLOTS) and the name of the master
 * (_sentinel.c) are asked for at the start, whenever a link is lost, and from
 * time to time.  MOVED changes the map at once.  Commands wait for the first
 * answer, never for a later one.
 */


#include "ngx_http_predictive_cluster.h"


/* milliseconds between two questions */
#define NGX_HTTP_PREDICTIVE_ASK_SOON     100
#define NGX_HTTP_PREDICTIVE_ASK_MAP      10000

#define NGX_HTTP_PREDICTIVE_TRYAGAIN     10


static void ngx_http_predictive_topology_fail(ngx_event_t *ev);
static void ngx_http_predictive_topology_again(ngx_event_t *ev);
static void ngx_http_predictive_topology_refresh(ngx_event_t *ev);
static void ngx_http_predictive_topology_sweep(
    ngx_http_predictive_topology_t *topology);
static ngx_uint_t ngx_http_predictive_topology_named(
    ngx_http_predictive_link_t *link);
static void ngx_http_predictive_topology_ask(
    ngx_http_predictive_topology_t *topology);
static void ngx_http_predictive_topology_unknown(
    ngx_http_predictive_topology_t *topology);
static void ngx_http_predictive_topology_free(ngx_queue_t *queue);

static void ngx_http_predictive_cluster_answer(void *data,
    ngx_http_predictive_answer_t *answer);
static ngx_http_predictive_link_t *ngx_http_predictive_cluster_node(
    ngx_http_predictive_link_t *link, redisReply *node);
static ngx_http_predictive_link_t *ngx_http_predictive_cluster_target(
    ngx_http_predictive_link_t *link, ngx_str_t *text, ngx_int_t *slot);


/* CRC-16 of polynomial 0x1021 (XMODEM) over the key, or its hash tag: what is
 * between the first "{" and the next "}", if that is anything. */

ngx_uint_t
ngx_http_predictive_redis_slot(const u_char *key, size_t len)
{
    uint16_t       crc;
    ngx_uint_t     bit;
    const u_char  *p, *last, *open, *shut;

    last = key + len;
    open = len ? memchr(key, '{', len) : NULL;

    if (open) {
        open++;
        shut = memchr(open, '}', last - open);

        if (shut && shut > open) {
            key = open;
            last = shut;
        }
    }

    crc = 0;

    for (p = key; p < last; p++) {
        crc ^= (uint16_t) (*p << 8);

        for (bit = 0; bit < 8; bit++) {
            crc = (uint16_t) (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
        }
    }

    return crc % NGX_HTTP_PREDICTIVE_SLOTS;
}


ngx_int_t
ngx_http_predictive_topology_init(ngx_http_predictive_topology_t *topology)
{
    ngx_uint_t                     i;
    ngx_http_predictive_link_t    *link;
    ngx_http_predictive_store_t   *store;
    ngx_http_predictive_server_t  *servers;

    store = topology->store;
    servers = store->servers.elts;

    topology->tries = NGX_HTTP_PREDICTIVE_LINKS;

    ngx_queue_init(&topology->links);
    ngx_queue_init(&topology->pending);
    ngx_queue_init(&topology->failed);
    ngx_queue_init(&topology->retry);

    topology->fail.handler = ngx_http_predictive_topology_fail;
    topology->fail.data = topology;
    topology->fail.log = topology->log;

    topology->again.handler = ngx_http_predictive_topology_again;
    topology->again.data = topology;
    topology->again.log = topology->log;
    topology->again.cancelable = 1;

    topology->refresh.handler = ngx_http_predictive_topology_refresh;
    topology->refresh.data = topology;
    topology->refresh.log = topology->log;
    topology->refresh.cancelable = 1;

    if (store->mode == NGX_HTTP_PREDICTIVE_CLUSTER) {
        topology->slots = ngx_calloc(NGX_HTTP_PREDICTIVE_SLOTS
                                     * sizeof(ngx_http_predictive_link_t *),
                                     topology->log);
        if (topology->slots == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < store->servers.nelts; i++) {

        link = ngx_http_predictive_link_create(topology, &servers[i].host,
                                               servers[i].port, &servers[i]);
        if (link == NULL) {
            return NGX_ERROR;
        }

        /* not all workers ask the same one first */

        link->tried = (ngx_uint_t) ngx_random() % NGX_HTTP_PREDICTIVE_LINKS;

        if (store->mode == NGX_HTTP_PREDICTIVE_SENTINEL) {
            link->sentinel = 1;

        } else if (store->mode == NGX_HTTP_PREDICTIVE_SINGLE) {
            topology->master = link;
            topology->known = 1;
        }
    }

    if (topology->master) {
        ngx_http_predictive_link_connect(topology->master);
        return NGX_OK;
    }

    ngx_http_predictive_topology_ask(topology);

    return NGX_OK;
}


/* Nobody is told any more. */

void
ngx_http_predictive_topology_exit(ngx_http_predictive_topology_t *topology)
{
    ngx_queue_t                 *q;
    ngx_http_predictive_link_t  *link;

    topology->closing = 1;

    while (!ngx_queue_empty(&topology->links)) {
        q = ngx_queue_head(&topology->links);
        link = ngx_queue_data(q, ngx_http_predictive_link_t, queue);

        ngx_http_predictive_link_free(link);
    }

    ngx_http_predictive_topology_free(&topology->pending);
    ngx_http_predictive_topology_free(&topology->failed);
    ngx_http_predictive_topology_free(&topology->retry);

    if (topology->fail.posted) {
        ngx_delete_posted_event(&topology->fail);
    }

    if (topology->again.timer_set) {
        ngx_del_timer(&topology->again);
    }

    if (topology->refresh.timer_set) {
        ngx_del_timer(&topology->refresh);
    }

    if (topology->slots) {
        ngx_free(topology->slots);
        topology->slots = NULL;
    }
}


static void
ngx_http_predictive_topology_free(ngx_queue_t *queue)
{
    ngx_http_predictive_command_t  *command;

    while ((command = ngx_http_predictive_command_take(queue))) {
        if (command->timer.timer_set) {
            ngx_del_timer(&command->timer);
        }

        ngx_free(command);
    }
}


void
ngx_http_predictive_topology_route(ngx_http_predictive_topology_t *topology,
    ngx_http_predictive_command_t *command)
{
    ngx_http_predictive_link_t  *link, *l;

    link = topology->master;

    if (topology->slots && topology->known) {

        if (command->slot >= 0) {
            link = topology->slots[command->slot];

        } else {
            for (l = ngx_http_predictive_link_first(topology);
                 l;
                 l = ngx_http_predictive_link_next(l))
            {
                if (l->nslots && ngx_http_predictive_link_up(l)) {
                    link = l;
                    break;
                }
            }
        }
    }

    if (link) {
        ngx_http_predictive_link_send(link, command);
        return;
    }

    if (topology->known || topology->tried
        || topology->npending >= NGX_HTTP_PREDICTIVE_CALLS)
    {
        ngx_http_predictive_command_fail(command);
        return;
    }

    topology->npending++;

    command->link = NULL;
    command->written = 0;

    ngx_queue_insert_tail(&topology->pending, &command->queue);
}


ngx_uint_t
ngx_http_predictive_topology_up(ngx_http_predictive_topology_t *topology,
    ngx_int_t slot)
{
    ngx_http_predictive_link_t  *link;

    if (!topology->known) {
        return !topology->tried;
    }

    if (topology->slots == NULL) {
        return topology->master
               && ngx_http_predictive_link_up(topology->master);
    }

    if (slot >= 0) {
        link = topology->slots[slot];
        return link && ngx_http_predictive_link_up(link);
    }

    for (link = ngx_http_predictive_link_first(topology);
         link;
         link = ngx_http_predictive_link_next(link))
    {
        if (link->nslots && ngx_http_predictive_link_up(link)) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_predictive_topology_gauge(ngx_http_predictive_topology_t *topology)
{
    ngx_uint_t                   up;
    ngx_http_predictive_link_t  *link;

    up = 0;

    for (link = ngx_http_predictive_link_first(topology);
         link;
         link = ngx_http_predictive_link_next(link))
    {
        if (link->state == NGX_HTTP_PREDICTIVE_LINK_READY
            && ngx_http_predictive_link_up(link)
            && (link == topology->master || link->nslots))
        {
            up = 1;
            break;
        }
    }

    atomic_store_explicit(&topology->stat->up, up, memory_order_relaxed);
}


static void
ngx_http_predictive_topology_fail(ngx_event_t *ev)
{
    ngx_queue_t                      failed;
    ngx_http_predictive_command_t   *command;
    ngx_http_predictive_topology_t  *topology;

    topology = ev->data;

    /* one that calls again at once and fails is told in another turn */

    if (ngx_queue_empty(&topology->failed)) {
        return;
    }

    failed = topology->failed;
    failed.next->prev = &failed;
    failed.prev->next = &failed;

    ngx_queue_init(&topology->failed);

    while ((command = ngx_http_predictive_command_take(&failed))) {
        if (!command->own) {
            ngx_http_predictive_count(topology, refused);
        }

        ngx_http_predictive_command_done(command,
                                         NGX_HTTP_PREDICTIVE_REPLY_DOWN, NULL,
                                         NULL);
    }
}


static void
ngx_http_predictive_topology_again(ngx_event_t *ev)
{
    ngx_uint_t                       n;
    ngx_queue_t                     *q;
    ngx_http_predictive_command_t   *command;
    ngx_http_predictive_topology_t  *topology;

    topology = ev->data;

    for (n = NGX_HTTP_PREDICTIVE_CALLS;
         n && !ngx_queue_empty(&topology->retry);
         n--)
    {
        q = ngx_queue_head(&topology->retry);
        command = ngx_queue_data(q, ngx_http_predictive_command_t, queue);

        ngx_queue_remove(q);

        ngx_http_predictive_topology_route(topology, command);
    }
}


/* Events of links. */


void
ngx_http_predictive_topology_ready(ngx_http_predictive_link_t *link)
{
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    ngx_http_predictive_topology_gauge(topology);

    if (topology->store->mode == NGX_HTTP_PREDICTIVE_SENTINEL) {
        ngx_http_predictive_sentinel_ready(link);
        return;
    }

    if (topology->due && topology->asked == NULL && topology->slots) {
        ngx_http_predictive_topology_ask(topology);
    }
}


void
ngx_http_predictive_topology_lost(ngx_http_predictive_link_t *link)
{
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    if (topology->closing) {
        return;
    }

    ngx_http_predictive_topology_gauge(topology);

    if (topology->store->mode == NGX_HTTP_PREDICTIVE_SINGLE) {
        return;
    }

    if (topology->store->mode == NGX_HTTP_PREDICTIVE_SENTINEL) {
        ngx_http_predictive_sentinel_lost(link);
        return;
    }

    if (link->nslots == 0) {

        /* one of several to be asked: the next time another one is */

        link->wanted = 0;

        if (topology->asked == link) {
            topology->asked = NULL;
        }

        ngx_http_predictive_topology_unknown(topology);
        return;
    }

    ngx_http_predictive_topology_schedule(topology,
                                          NGX_HTTP_PREDICTIVE_ASK_SOON);
}


ngx_int_t
ngx_http_predictive_topology_error(ngx_http_predictive_link_t *link,
    ngx_http_predictive_command_t *command, ngx_str_t *text)
{
    ngx_int_t                        slot;
    ngx_uint_t                       ask;
    ngx_http_predictive_link_t      *target;
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    if (topology->slots == NULL) {
        return NGX_DECLINED;
    }

    if (text->len > 8 && ngx_strncmp(text->data, "TRYAGAIN", 8) == 0) {

        /* keys of one command on two nodes for a moment */

        command->redirects++;
        command->written = 0;

        ngx_queue_insert_tail(&topology->retry, &command->queue);

        if (!topology->again.timer_set) {
            ngx_add_timer(&topology->again, NGX_HTTP_PREDICTIVE_TRYAGAIN);
        }

        return NGX_OK;
    }

    if (text->len > 6 && ngx_strncmp(text->data, "MOVED ", 6) == 0) {
        ask = 0;

    } else if (text->len > 4 && ngx_strncmp(text->data, "ASK ", 4) == 0) {
        ask = 1;

    } else {
        return NGX_DECLINED;
    }

    target = ngx_http_predictive_cluster_target(link, text, &slot);

    if (target == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_predictive_count(topology, redirects);

    command->redirects++;

    if (ask) {
        command->asking = 1;

    } else {
        if (topology->slots[slot]) {
            topology->slots[slot]->nslots--;
        }

        topology->slots[slot] = target;
        target->nslots++;

        ngx_http_predictive_topology_schedule(topology,
                                              NGX_HTTP_PREDICTIVE_ASK_SOON);
    }

    ngx_http_predictive_link_send(target, command);

    return NGX_OK;
}


/* Asking. */


void
ngx_http_predictive_topology_schedule(
    ngx_http_predictive_topology_t *topology, ngx_msec_t ms)
{
    if (topology->refresh.timer_set) {

        if ((ngx_msec_int_t) (topology->refresh.timer.key - ngx_current_msec)
            <= (ngx_msec_int_t) ms)
        {
            return;
        }

        ngx_del_timer(&topology->refresh);
    }

    ngx_add_timer(&topology->refresh, ms);
}


/* All is well: not before that. */

void
ngx_http_predictive_topology_later(ngx_http_predictive_topology_t *topology,
    ngx_msec_t ms)
{
    if (topology->refresh.timer_set) {
        ngx_del_timer(&topology->refresh);
    }

    ngx_add_timer(&topology->refresh, ms);
}


static void
ngx_http_predictive_topology_refresh(ngx_event_t *ev)
{
    ngx_http_predictive_topology_t  *topology;

    topology = ev->data;

    ngx_http_predictive_topology_sweep(topology);

    if (ngx_exiting && topology->known && ngx_queue_empty(&topology->pending))
    {
        /* MOVED tells what changes for whom is still there */
        return;
    }

    ngx_http_predictive_topology_ask(topology);
}


/* Links that nobody needs any more; called by a timer only. */

static void
ngx_http_predictive_topology_sweep(ngx_http_predictive_topology_t *topology)
{
    ngx_queue_t                 *q, *next;
    ngx_http_predictive_link_t  *link;

    for (q = ngx_queue_head(&topology->links);
         q != ngx_queue_sentinel(&topology->links);
         q = next)
    {
        next = ngx_queue_next(q);
        link = ngx_queue_data(q, ngx_http_predictive_link_t, queue);

        if (link->retired) {

            if (link->ncalls == 0
                || ngx_current_msec - link->retired_ms
                   > NGX_HTTP_PREDICTIVE_SILENCE)
            {
                ngx_http_predictive_link_free(link);
            }

        } else if (topology->slots && link->nslots == 0 && topology->known
                   && link->server && link->ncalls == 0
                   && link->state == NGX_HTTP_PREDICTIVE_LINK_READY)
        {
            /* a seed, whose node has a link under the cluster's name */

            link->wanted = 0;
            ngx_http_predictive_link_close(link);

        } else if (link->sentinel && link != topology->source
                   && link->ncalls == 0 && topology->source
                   && ngx_http_predictive_sentinel_calm(topology)
                   && link->state == NGX_HTTP_PREDICTIVE_LINK_READY)
        {
            /* asked while something was amiss */

            link->named = NULL;
            link->wanted = 0;
            ngx_http_predictive_link_close(link);

        } else if (topology->slots == NULL && link->server == NULL
                   && link != topology->master && link != topology->candidate
                   && !ngx_http_predictive_topology_named(link))
        {
            ngx_http_predictive_topology_retire(link);
        }
    }
}


/* Does a sentinel say that it is the master? */

static ngx_uint_t
ngx_http_predictive_topology_named(ngx_http_predictive_link_t *link)
{
    ngx_http_predictive_link_t      *sentinel;
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    for (sentinel = ngx_http_predictive_link_first(topology);
         sentinel;
         sentinel = ngx_http_predictive_link_next(sentinel))
    {
        if (sentinel->named == link) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_predictive_topology_ask(ngx_http_predictive_topology_t *topology)
{
    ngx_str_t                       argv[2];
    ngx_http_predictive_link_t     *link, *ready, *other;
    ngx_http_predictive_command_t  *command;

    if (topology->slots == NULL) {
        ngx_http_predictive_sentinel_ask(topology);
        return;
    }

    if (topology->asked) {
        return;
    }

    ngx_http_predictive_topology_schedule(topology,
                                          NGX_HTTP_PREDICTIVE_ASK_TROUBLE);

    /*
     * Whoever has not been asked for the longest time, of those connected; if
     * none is, one more is connected, and asked when it is ready.
     */

    ready = NULL;
    other = NULL;

    for (link = ngx_http_predictive_link_first(topology);
         link;
         link = ngx_http_predictive_link_next(link))
    {
        if (link->retired) {
            continue;
        }

        if (link->state == NGX_HTTP_PREDICTIVE_LINK_READY
            && link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN)
        {
            if (ready == NULL || link->tried < ready->tried) {
                ready = link;
            }

        } else if (link->state == NGX_HTTP_PREDICTIVE_LINK_CLOSED
                   && link->nslots == 0
                   && (other == NULL || link->tried < other->tried))
        {
            /* one with slots has a timer of its own */
            other = link;
        }
    }

    topology->due = 1;

    if (ready == NULL) {

        if (other) {
            other->tried = ++topology->tries;
            ngx_http_predictive_link_connect(other);
        }

        return;
    }

    ngx_str_set(&argv[0], "CLUSTER");
    ngx_str_set(&argv[1], "SLOTS");

    command = ngx_http_predictive_link_command(ready, argv, 2,
                                     topology->store->connect_timeout,
                                     ngx_http_predictive_cluster_answer,
                                     ready);
    if (command == NULL) {
        return;
    }

    ready->tried = ++topology->tries;

    topology->asked = ready;
    topology->due = 0;
}


void
ngx_http_predictive_topology_known(ngx_http_predictive_topology_t *topology)
{
    ngx_http_predictive_command_t  *command;

    topology->known = 1;
    topology->tried = 1;
    topology->said = 0;

    while ((command = ngx_http_predictive_command_take(&topology->pending))) {
        ngx_http_predictive_topology_route(topology, command);
    }

    topology->npending = 0;

    ngx_http_predictive_topology_gauge(topology);
}


/* This one could not say; perhaps another can. */

static void
ngx_http_predictive_topology_unknown(ngx_http_predictive_topology_t *topology)
{
    topology->failures++;

    ngx_http_predictive_topology_schedule(topology,
                           topology->failures < topology->store->servers.nelts
                           ? 1 : NGX_HTTP_PREDICTIVE_ASK_TROUBLE);

    if (topology->failures >= topology->store->servers.nelts) {
        ngx_http_predictive_topology_nobody(topology);
    }
}


void
ngx_http_predictive_topology_nobody(ngx_http_predictive_topology_t *topology)
{
    ngx_http_predictive_command_t  *command;

    if (topology->known) {
        return;
    }

    topology->tried = 1;

    while ((command = ngx_http_predictive_command_take(&topology->pending))) {
        ngx_http_predictive_command_fail(command);
    }

    topology->npending = 0;
}


ngx_http_predictive_link_t *
ngx_http_predictive_topology_find(ngx_http_predictive_topology_t *topology,
    ngx_str_t *host, in_port_t port)
{
    ngx_uint_t                   n;
    ngx_http_predictive_link_t  *link;

    /* a server said it, and it will be in the log */

    for (n = 0; n < host->len; n++) {
        if (host->data[n] <= ' ' || host->data[n] >= 0x7f) {
            return NULL;
        }
    }

    n = 0;

    for (link = ngx_http_predictive_link_first(topology);
         link;
         link = ngx_http_predictive_link_next(link))
    {
        if (!link->retired && !link->sentinel && link->port == port
            && link->host.len == host->len
            && ngx_strncmp(link->host.data, host->data, host->len) == 0)
        {
            return link;
        }

        n++;
    }

    if (n >= NGX_HTTP_PREDICTIVE_LINKS) {
        return NULL;
    }

    return ngx_http_predictive_link_create(topology, host, port, NULL);
}


/* Replies to what is under way are still waited for. */

void
ngx_http_predictive_topology_retire(ngx_http_predictive_link_t *link)
{
    link->retired = 1;
    link->wanted = 0;
    link->retired_ms = ngx_current_msec;

    if (link->topology->asked == link) {
        link->topology->asked = NULL;
    }

    ngx_http_predictive_topology_schedule(link->topology,
                                          NGX_HTTP_PREDICTIVE_ASK_TROUBLE);
}


/* Cluster. */


static void
ngx_http_predictive_cluster_answer(void *data,
    ngx_http_predictive_answer_t *answer)
{
    size_t                            i, n;
    long long                         first, last;
    ngx_uint_t                        covered, trouble;
    redisReply                       *reply, *range;
    ngx_http_predictive_link_t       *link, *node, **slots;
    ngx_http_predictive_topology_t   *topology;

    link = data;
    topology = link->topology;
    reply = answer->reply;

    topology->asked = NULL;

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_LOST) {
        return;
    }

    slots = NULL;
    covered = 0;

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_OK
        && reply->type == REDIS_REPLY_ARRAY)
    {
        slots = ngx_calloc(NGX_HTTP_PREDICTIVE_SLOTS
                           * sizeof(ngx_http_predictive_link_t *),
                           topology->log);
        if (slots == NULL) {
            return;
        }

        for (i = 0; i < reply->elements; i++) {
            range = reply->element[i];

            if (range->type != REDIS_REPLY_ARRAY || range->elements < 3
                || range->element[0]->type != REDIS_REPLY_INTEGER
                || range->element[1]->type != REDIS_REPLY_INTEGER)
            {
                continue;
            }

            first = range->element[0]->integer;
            last = range->element[1]->integer;

            if (first < 0 || last < first
                || last >= NGX_HTTP_PREDICTIVE_SLOTS)
            {
                continue;
            }

            node = ngx_http_predictive_cluster_node(link, range->element[2]);

            if (node == NULL) {
                continue;
            }

            for (n = first; n <= (size_t) last; n++) {
                covered += (slots[n] == NULL);
                slots[n] = node;
            }
        }
    }

    if (covered == 0) {

        if (slots) {
            ngx_free(slots);
        }

        if (!topology->said
            && answer->status <= NGX_HTTP_PREDICTIVE_REPLY_ERROR)
        {
            topology->said = 1;

            ngx_log_error(NGX_LOG_ERR, topology->log, 0,
                          "predictive store \"%V\": server %V knows no hash "
                          "slots of a cluster", &topology->store->name,
                          &link->name);
        }

        ngx_http_predictive_topology_unknown(topology);
        return;
    }

    ngx_free(topology->slots);
    topology->slots = slots;
    topology->failures = 0;

    for (node = ngx_http_predictive_link_first(topology);
         node;
         node = ngx_http_predictive_link_next(node))
    {
        node->nslots = 0;
    }

    for (n = 0; n < NGX_HTTP_PREDICTIVE_SLOTS; n++) {
        if (slots[n]) {
            slots[n]->nslots++;
        }
    }

    trouble = (covered < NGX_HTTP_PREDICTIVE_SLOTS);

    for (node = ngx_http_predictive_link_first(topology);
         node;
         node = ngx_http_predictive_link_next(node))
    {
        if (node->nslots) {

            if (node->state == NGX_HTTP_PREDICTIVE_LINK_CLOSED
                && !node->wanted)
            {
                ngx_http_predictive_link_connect(node);
            }

            trouble |= !ngx_http_predictive_link_up(node);

        } else if (node->server == NULL && !node->retired) {
            ngx_http_predictive_topology_retire(node);

        } else if (node->server && node != link) {
            node->wanted = 0;
        }
    }

    /* a master that is down may have a successor: another may know it */

    if (!trouble) {
        ngx_http_predictive_topology_later(topology,
                                           NGX_HTTP_PREDICTIVE_ASK_MAP);
    }

    ngx_http_predictive_topology_known(topology);
}


/* HOST, PORT, ID and, since 7.0, what else the node is known by. */

static ngx_http_predictive_link_t *
ngx_http_predictive_cluster_node(ngx_http_predictive_link_t *link,
    redisReply *node)
{
    size_t        i;
    in_addr_t     addr;
    ngx_str_t     host;
    redisReply  **e, *more;

    if (node->type != REDIS_REPLY_ARRAY || node->elements < 2
        || node->element[1]->type != REDIS_REPLY_INTEGER
        || node->element[1]->integer < 1
        || node->element[1]->integer > 65535)
    {
        return NULL;
    }

    e = node->element;

    if (e[0]->type == REDIS_REPLY_STRING && e[0]->len) {
        host.data = (u_char *) e[0]->str;
        host.len = e[0]->len;

        if (host.len > 255 || (host.len == 1 && host.data[0] == '?')) {
            return NULL;
        }

    } else if (e[0]->type == REDIS_REPLY_NIL
               || e[0]->type == REDIS_REPLY_STRING)
    {
        /* it does not know its own address; we do */
        host = link->host;

    } else {
        return NULL;
    }

    addr = ngx_inet_addr(host.data, host.len);

    if (link->topology->store->resolver == NULL && addr == INADDR_NONE
        && ngx_strlchr(host.data, host.data + host.len, ':') == NULL
        && node->elements > 3 && e[3]->type == REDIS_REPLY_ARRAY)
    {
        /* a name that nobody here can resolve; there may be an address */

        more = e[3];

        for (i = 0; i + 1 < more->elements; i += 2) {
            if (more->element[i]->type == REDIS_REPLY_STRING
                && more->element[i + 1]->type == REDIS_REPLY_STRING
                && ngx_strcmp(more->element[i]->str, "ip") == 0
                && more->element[i + 1]->len
                && more->element[i + 1]->len < 64)
            {
                host.data = (u_char *) more->element[i + 1]->str;
                host.len = more->element[i + 1]->len;
            }
        }
    }

    return ngx_http_predictive_topology_find(link->topology, &host,
                                             node->element[1]->integer);
}


/* "MOVED SLOT HOST:PORT", the same with ASK; HOST may be missing. */

static ngx_http_predictive_link_t *
ngx_http_predictive_cluster_target(ngx_http_predictive_link_t *link,
    ngx_str_t *text, ngx_int_t *slot)
{
    u_char     *p, *last, *colon;
    ngx_int_t   port;
    ngx_str_t   host;

    last = text->data + text->len;
    p = ngx_strlchr(text->data, last, ' ');

    if (p == NULL) {
        return NULL;
    }

    host.data = ngx_strlchr(++p, last, ' ');

    if (host.data == NULL) {
        return NULL;
    }

    *slot = ngx_atoi(p, host.data - p);

    if (*slot < 0 || *slot >= NGX_HTTP_PREDICTIVE_SLOTS) {
        return NULL;
    }

    host.data++;

    for (colon = last; colon > host.data && colon[-1] != ':'; colon--) {
        /* void */
    }

    if (colon == host.data) {
        return NULL;
    }

    port = ngx_atoi(colon, last - colon);
    host.len = colon - 1 - host.data;

    if (port < 1 || port > 65535 || host.len > 255) {
        return NULL;
    }

    if (host.len == 0) {
        host = link->host;
    }

    return ngx_http_predictive_topology_find(link->topology, &host, port);
}
