
/*
 * Who is the master.  Sentinels say so, but one of them may be cut off from
 * the others, or be an old one that nobody has stopped: what a single one says
 * moves nobody off a master that serves.
 *
 * While all is well one sentinel is asked now and then.  When it names another
 * server than the one in use, or that one is lost, all are asked, again and
 * again.  What most of those that answer name is then connected to and asked
 * for its ROLE; only one that says "master" is taken.  A master that serves is
 * left only for one that more than half of all sentinels name.
 */


#include "ngx_http_predictive_cluster.h"


static ngx_uint_t ngx_http_predictive_sentinel_well(
    ngx_http_predictive_topology_t *topology);
static ngx_http_predictive_link_t *ngx_http_predictive_sentinel_next(
    ngx_http_predictive_topology_t *topology);
static void ngx_http_predictive_sentinel_connect(
    ngx_http_predictive_link_t *link);
static void ngx_http_predictive_sentinel_question(
    ngx_http_predictive_link_t *link);
static void ngx_http_predictive_sentinel_answer(void *data,
    ngx_http_predictive_answer_t *answer);
static ngx_http_predictive_link_t *ngx_http_predictive_sentinel_named(
    ngx_http_predictive_link_t *link, ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_sentinel_decide(
    ngx_http_predictive_topology_t *topology);
static ngx_http_predictive_link_t *ngx_http_predictive_sentinel_count(
    ngx_http_predictive_topology_t *topology, ngx_uint_t *votes,
    ngx_uint_t *awaited);
static void ngx_http_predictive_sentinel_settle(
    ngx_http_predictive_topology_t *topology);
static void ngx_http_predictive_sentinel_check(
    ngx_http_predictive_link_t *link);
static void ngx_http_predictive_sentinel_role(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_sentinel_adopt(
    ngx_http_predictive_link_t *link);


/* The master serves. */

static ngx_uint_t
ngx_http_predictive_sentinel_well(ngx_http_predictive_topology_t *topology)
{
    ngx_http_predictive_link_t  *master;

    master = topology->master;

    return master && master->state == NGX_HTTP_PREDICTIVE_LINK_READY
           && ngx_http_predictive_link_up(master) && !master->unable;
}


ngx_uint_t
ngx_http_predictive_sentinel_calm(ngx_http_predictive_topology_t *topology)
{
    return !topology->doubt && ngx_http_predictive_sentinel_well(topology);
}


void
ngx_http_predictive_sentinel_ask(ngx_http_predictive_topology_t *topology)
{
    ngx_msec_t                   ms;
    ngx_uint_t                   calm;
    ngx_http_predictive_link_t  *link;

    calm = ngx_http_predictive_sentinel_calm(topology);
    ms = NGX_HTTP_PREDICTIVE_ASK_TROUBLE;

    if (!calm && (topology->known || !topology->tried)) {
        ms = ngx_max(topology->store->sync, NGX_HTTP_PREDICTIVE_BACKOFF);
        ms = ngx_min(ms, NGX_HTTP_PREDICTIVE_ASK_TROUBLE);
    }

    ngx_http_predictive_topology_schedule(topology, ms);

    if (calm) {
        link = ngx_http_predictive_sentinel_next(topology);

        if (link && link->state == NGX_HTTP_PREDICTIVE_LINK_READY) {
            ngx_http_predictive_sentinel_question(link);

        } else if (link) {
            ngx_http_predictive_sentinel_connect(link);
        }

        return;
    }

    for (link = ngx_http_predictive_link_first(topology);
         link;
         link = ngx_http_predictive_link_next(link))
    {
        if (!link->sentinel) {
            continue;
        }

        if (link->state == NGX_HTTP_PREDICTIVE_LINK_READY
            && link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN)
        {
            ngx_http_predictive_sentinel_question(link);

        } else {
            ngx_http_predictive_sentinel_connect(link);
        }
    }

    ngx_http_predictive_sentinel_decide(topology);
}


/*
 * Whom to ask while all is well: whoever agrees with what is in use, as long
 * as it is there; else the one that has not been asked for the longest time.
 */

static ngx_http_predictive_link_t *
ngx_http_predictive_sentinel_next(ngx_http_predictive_topology_t *topology)
{
    ngx_http_predictive_link_t  *link, *ready, *closed;

    ready = NULL;
    closed = NULL;

    for (link = ngx_http_predictive_link_first(topology);
         link;
         link = ngx_http_predictive_link_next(link))
    {
        if (!link->sentinel) {
            continue;
        }

        if (link->state == NGX_HTTP_PREDICTIVE_LINK_READY
            && link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN)
        {
            if (link == topology->source) {
                return link;
            }

            if (ready == NULL || link->tried < ready->tried) {
                ready = link;
            }

        } else if (link->state == NGX_HTTP_PREDICTIVE_LINK_CLOSED) {

            if (closed == NULL || link->tried < closed->tried) {
                closed = link;
            }

        } else if (link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN) {
            /* on its way: asked when it is ready */
            return NULL;
        }
    }

    return ready ? ready : closed;
}


/* One that is not there is not tried each time that another one is lost. */

static void
ngx_http_predictive_sentinel_connect(ngx_http_predictive_link_t *link)
{
    if (link->state != NGX_HTTP_PREDICTIVE_LINK_CLOSED
        || (link->tried_ms
            && ngx_current_msec - link->tried_ms
               < NGX_HTTP_PREDICTIVE_ASK_TROUBLE))
    {
        return;
    }

    link->tried = ++link->topology->tries;
    link->tried_ms = ngx_current_msec;

    ngx_http_predictive_link_connect(link);
}


static void
ngx_http_predictive_sentinel_question(ngx_http_predictive_link_t *link)
{
    ngx_str_t                        argv[3];
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    if (link->asked) {
        return;
    }

    ngx_str_set(&argv[0], "SENTINEL");
    ngx_str_set(&argv[1], "get-master-addr-by-name");
    argv[2] = topology->store->master;

    /* what it said before is not counted any more */

    link->named = NULL;

    if (ngx_http_predictive_link_command(link, argv, 3,
                                         topology->store->connect_timeout,
                                         ngx_http_predictive_sentinel_answer,
                                         link)
        == NULL)
    {
        return;
    }

    link->asked = 1;
    link->tried = ++topology->tries;
}


static void
ngx_http_predictive_sentinel_answer(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_http_predictive_link_t      *link;
    ngx_http_predictive_topology_t  *topology;

    link = data;
    topology = link->topology;

    link->asked = 0;

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_LOST) {
        /* topology_lost() has been called, or we have closed it */
        return;
    }

    link->named = ngx_http_predictive_sentinel_named(link, answer);

    if (link->named == NULL && !topology->said
        && answer->status <= NGX_HTTP_PREDICTIVE_REPLY_ERROR)
    {
        topology->said = 1;

        ngx_log_error(NGX_LOG_ERR, topology->log, 0,
                      "predictive store \"%V\": sentinel %V knows no master "
                      "\"%V\"", &topology->store->name, &link->name,
                      &topology->store->master);
    }

    if (ngx_http_predictive_sentinel_calm(topology)) {

        if (link->named == topology->master) {
            link->odd = 0;
            topology->source = link;
            ngx_http_predictive_topology_later(topology,
                                             NGX_HTTP_PREDICTIVE_ASK_MASTER);
            return;
        }

        /* what do the others say? */

        topology->doubt = 1;
        ngx_http_predictive_sentinel_ask(topology);
        return;
    }

    ngx_http_predictive_sentinel_decide(topology);
}


static ngx_http_predictive_link_t *
ngx_http_predictive_sentinel_named(ngx_http_predictive_link_t *link,
    ngx_http_predictive_answer_t *answer)
{
    ngx_int_t     port;
    ngx_str_t     host;
    redisReply   *reply, **pair;

    reply = answer->reply;

    if (answer->status != NGX_HTTP_PREDICTIVE_REPLY_OK
        || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
    {
        return NULL;
    }

    pair = reply->element;

    if (pair[0]->type != REDIS_REPLY_STRING
        || pair[1]->type != REDIS_REPLY_STRING)
    {
        return NULL;
    }

    host.data = (u_char *) pair[0]->str;
    host.len = pair[0]->len;
    port = ngx_atoi((u_char *) pair[1]->str, pair[1]->len);

    if (host.len == 0 || host.len > 255 || port < 1 || port > 65535) {
        return NULL;
    }

    return ngx_http_predictive_topology_find(link->topology, &host, port);
}


/*
 * What do the answers mean?  Called after each of them, and when one that was
 * awaited will not come.
 */

static void
ngx_http_predictive_sentinel_decide(ngx_http_predictive_topology_t *topology)
{
    ngx_uint_t                   votes, awaited, well, most;
    ngx_http_predictive_link_t  *link;

    well = ngx_http_predictive_sentinel_well(topology);
    link = ngx_http_predictive_sentinel_count(topology, &votes, &awaited);
    most = (2 * votes > topology->store->servers.nelts);

    if (link == NULL) {

        if (awaited == 0) {
            ngx_http_predictive_topology_nobody(topology);

            if (well) {
                ngx_http_predictive_sentinel_settle(topology);
            }
        }

        return;
    }

    if (!most && awaited) {
        return;
    }

    if (link == topology->master || (well && !most)) {
        topology->candidate = NULL;

        if (well && awaited == 0) {
            ngx_http_predictive_sentinel_settle(topology);
        }

        return;
    }

    topology->candidate = link;

    ngx_http_predictive_sentinel_check(link);
}


/*
 * Whom most of those name that have answered; NULL: none has.  Of two that
 * are named as often it is the master, if it serves, and else the other one.
 */

static ngx_http_predictive_link_t *
ngx_http_predictive_sentinel_count(ngx_http_predictive_topology_t *topology,
    ngx_uint_t *votes, ngx_uint_t *awaited)
{
    ngx_uint_t                   n, well;
    ngx_http_predictive_link_t  *link, *other, *best;

    well = ngx_http_predictive_sentinel_well(topology);
    best = NULL;
    *votes = 0;
    *awaited = 0;

    for (link = ngx_http_predictive_link_first(topology);
         link;
         link = ngx_http_predictive_link_next(link))
    {
        if (!link->sentinel) {
            continue;
        }

        if (link->asked
            || (link->state != NGX_HTTP_PREDICTIVE_LINK_CLOSED
                && link->state != NGX_HTTP_PREDICTIVE_LINK_READY
                && link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN))
        {
            (*awaited)++;
        }

        if (link->named == NULL) {
            continue;
        }

        n = 0;

        for (other = ngx_http_predictive_link_first(topology);
             other;
             other = ngx_http_predictive_link_next(other))
        {
            n += (other->named == link->named);
        }

        if (n > *votes
            || (n == *votes && best != link->named
                && (link->named == topology->master) == well))
        {
            best = link->named;
            *votes = n;
        }
    }

    return best;
}


/* All that answer have, and the master stays who it is. */

static void
ngx_http_predictive_sentinel_settle(ngx_http_predictive_topology_t *topology)
{
    ngx_http_predictive_link_t  *link, *source;

    source = NULL;

    for (link = ngx_http_predictive_link_first(topology);
         link;
         link = ngx_http_predictive_link_next(link))
    {
        if (!link->sentinel || link->named == NULL) {
            continue;
        }

        if (link->named == topology->master) {
            link->odd = 0;

            if (source == NULL || link == topology->source) {
                source = link;
            }

        } else if (!link->odd) {
            link->odd = 1;

            ngx_log_error(NGX_LOG_WARN, topology->log, 0,
                          "predictive store \"%V\": sentinel %V names %V, "
                          "the master stays %V", &topology->store->name,
                          &link->name, &link->named->name,
                          &topology->master->name);
        }
    }

    topology->source = source;
    topology->doubt = 0;

    ngx_http_predictive_topology_later(topology,
                                       NGX_HTTP_PREDICTIVE_ASK_MASTER);
}


/* Is it one? */

static void
ngx_http_predictive_sentinel_check(ngx_http_predictive_link_t *link)
{
    ngx_str_t                        argv[1];
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    if (link->state != NGX_HTTP_PREDICTIVE_LINK_READY) {
        ngx_http_predictive_link_connect(link);
        return;
    }

    if (link->asked) {
        return;
    }

    ngx_str_set(&argv[0], "ROLE");

    if (ngx_http_predictive_link_command(link, argv, 1,
                                         topology->store->connect_timeout,
                                         ngx_http_predictive_sentinel_role,
                                         link)
        != NULL)
    {
        link->asked = 1;
    }
}


static void
ngx_http_predictive_sentinel_role(void *data,
    ngx_http_predictive_answer_t *answer)
{
    redisReply                      *reply;
    ngx_http_predictive_link_t      *link;
    ngx_http_predictive_topology_t  *topology;

    link = data;
    topology = link->topology;
    reply = answer->reply;

    link->asked = 0;

    if (link != topology->candidate) {
        return;
    }

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_OK
        && reply->type == REDIS_REPLY_ARRAY && reply->elements
        && reply->element[0]->type == REDIS_REPLY_STRING
        && ngx_strcmp(reply->element[0]->str, "master") == 0)
    {
        ngx_http_predictive_sentinel_adopt(link);
        return;
    }

    /* a user that may not ask: then the sentinels' word must do */

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_ERROR
        && ((answer->error.len >= 6
             && ngx_strncmp(answer->error.data, "NOPERM", 6) == 0)
            || (answer->error.len >= 4
                && ngx_strncmp(answer->error.data, "ERR ", 4) == 0)))
    {
        ngx_http_predictive_sentinel_adopt(link);
        return;
    }

    if (!link->odd && answer->status == NGX_HTTP_PREDICTIVE_REPLY_OK) {
        link->odd = 1;

        ngx_log_error(NGX_LOG_WARN, topology->log, 0,
                      "predictive store \"%V\": %V, which sentinels name, is "
                      "no master", &topology->store->name, &link->name);
    }

    ngx_http_predictive_topology_nobody(topology);
}


static void
ngx_http_predictive_sentinel_adopt(ngx_http_predictive_link_t *link)
{
    ngx_http_predictive_link_t      *was, *other;
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;
    was = topology->master;

    ngx_log_error(NGX_LOG_NOTICE, topology->log, 0,
                  "predictive store \"%V\": the master is %V",
                  &topology->store->name, &link->name);

    topology->master = link;
    topology->candidate = NULL;

    link->odd = 0;

    if (was) {
        for (other = ngx_http_predictive_link_first(topology);
             other;
             other = ngx_http_predictive_link_next(other))
        {
            if (other->named == was) {
                other->named = NULL;
            }
        }

        ngx_http_predictive_topology_retire(was);
    }

    ngx_http_predictive_topology_known(topology);
}


void
ngx_http_predictive_sentinel_ready(ngx_http_predictive_link_t *link)
{
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    if (link->sentinel) {
        ngx_http_predictive_sentinel_question(link);

    } else if (link == topology->candidate) {
        ngx_http_predictive_sentinel_check(link);
    }
}


void
ngx_http_predictive_sentinel_lost(ngx_http_predictive_link_t *link)
{
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    if (link->sentinel) {
        link->named = NULL;
        link->wanted = 0;

        if (link == topology->source) {
            topology->source = NULL;
        }

    } else if (link == topology->candidate) {
        ngx_http_predictive_topology_nobody(topology);
        return;

    } else if (link != topology->master) {
        return;
    }

    ngx_http_predictive_topology_schedule(topology, 1);
}
