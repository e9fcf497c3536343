
/*
 * How a link is doing.  A server that is not there, or does not answer, costs
 * its callers nothing: the link's breaker opens and calls fail at once, while
 * a new connection, or a PING on the old one, is tried again and again: at
 * each tick where that costs the server nothing, else at growing intervals.
 *
 * What is wrong is said once, until it is something else.
 */


#include "ngx_http_predictive_link.h"


#define NGX_HTTP_PREDICTIVE_LINE  160


static void ngx_http_predictive_link_watch(ngx_http_predictive_link_t *link);
static void ngx_http_predictive_link_probe(ngx_http_predictive_link_t *link);
static ngx_msec_t ngx_http_predictive_link_pause(
    ngx_http_predictive_link_t *link, ngx_msec_t most);
static ngx_msec_t ngx_http_predictive_link_soon(
    ngx_http_predictive_link_t *link);

static ngx_uint_t ngx_http_predictive_link_heard(
    ngx_http_predictive_link_t *link, ngx_str_t *text);
static ngx_str_t ngx_http_predictive_link_clean(ngx_str_t *text,
    u_char *line, size_t size);


/* Errors of a server that answers but cannot serve anybody for now. */

static ngx_str_t  ngx_http_predictive_unable[] = {
    ngx_string("LOADING"),
    ngx_string("MASTERDOWN"),
    ngx_string("CLUSTERDOWN"),
    ngx_string("READONLY"),
    ngx_string("BUSY"),
    ngx_string("NOAUTH"),
    ngx_string("OOM"),
    ngx_string("MISCONF"),
    ngx_string("NOREPLICAS"),
    ngx_null_string
};


ngx_uint_t
ngx_http_predictive_link_up(ngx_http_predictive_link_t *link)
{
    return link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN && !link->retired;
}


ngx_uint_t
ngx_http_predictive_link_unable(ngx_str_t *text)
{
    ngx_str_t  *word;

    for (word = ngx_http_predictive_unable; word->len; word++) {
        if (text->len >= word->len
            && ngx_strncmp(text->data, word->data, word->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Timers. */


void
ngx_http_predictive_link_arm(ngx_http_predictive_link_t *link, ngx_msec_t ms)
{
    if (link->timer.timer_set) {
        /* ngx_add_timer() would keep one that is near */
        ngx_del_timer(&link->timer);
    }

    ngx_add_timer(&link->timer, ms);
}


void
ngx_http_predictive_link_timer(ngx_event_t *ev)
{
    ngx_msec_t                   silent;
    ngx_http_predictive_link_t  *link;

    link = ev->data;

    switch (link->state) {

    case NGX_HTTP_PREDICTIVE_LINK_CLOSED:

        if (link->wanted) {
            ngx_http_predictive_link_connect(link);
        }

        return;

    case NGX_HTTP_PREDICTIVE_LINK_SETUP:
    case NGX_HTTP_PREDICTIVE_LINK_HANDSHAKE:

        /* connected: a frozen server's kernel does that, and its answer is
         * the first sign of life; so it is waited for, but by no call */

        silent = ngx_current_msec - link->heard_ms;

        if (link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN
            || silent < NGX_HTTP_PREDICTIVE_SILENCE)
        {
            ngx_http_predictive_link_arm(link, NGX_HTTP_PREDICTIVE_SILENCE);

            if (link->breaker == NGX_HTTP_PREDICTIVE_BREAKER_OPEN) {
                return;
            }

            if (link->state == NGX_HTTP_PREDICTIVE_LINK_HANDSHAKE) {
                ngx_http_predictive_link_break(link, NGX_ETIMEDOUT,
                                               "failed in the TLS handshake",
                                               NULL);
            } else {
                ngx_http_predictive_link_break(link, 0, "does not answer",
                                               NULL);
            }

            return;
        }

        ngx_http_predictive_link_fail(link, 0, "does not answer", NULL);
        return;

    case NGX_HTTP_PREDICTIVE_LINK_READY:

        ngx_http_predictive_link_watch(link);
        return;

    default:

        ngx_http_predictive_link_fail(link, NGX_ETIMEDOUT,
                                      "could not be connected to", NULL);
        return;
    }
}


/* A ready link: does it answer, is it idle, is it time for a probe? */

static void
ngx_http_predictive_link_watch(ngx_http_predictive_link_t *link)
{
    ngx_msec_t                      age, next, patience, silence;
    ngx_http_predictive_command_t  *first;

    patience = 2 * link->topology->store->timeout;
    silence = ngx_max(NGX_HTTP_PREDICTIVE_SILENCE, 2 * patience);
    next = NGX_HTTP_PREDICTIVE_IDLE;

    if (!ngx_queue_empty(&link->sent)) {

        first = ngx_queue_data(ngx_queue_head(&link->sent),
                               ngx_http_predictive_command_t, queue);

        age = (ngx_http_predictive_clock_us() - first->sent_us) / 1000;

        if (age >= silence) {
            ngx_http_predictive_link_fail(link, 0, "does not answer", NULL);
            return;
        }

        if (age >= patience) {
            if (link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN) {
                ngx_http_predictive_link_break(link, 0, "does not answer",
                                               NULL);
            }

            next = silence - age;

        } else {
            next = patience - age;
        }

    } else if (ngx_exiting && link->ncalls == 0) {

        /* what needs it yet will find it closed, and open it again */

        link->wanted = 0;
        ngx_http_predictive_link_close(link);
        return;

    } else if (link->breaker == NGX_HTTP_PREDICTIVE_BREAKER_OPEN) {

        if ((ngx_msec_int_t) (link->probe_ms - ngx_current_msec) <= 0) {
            ngx_http_predictive_link_probe(link);
            next = patience;

        } else {
            next = link->probe_ms - ngx_current_msec;
        }

    } else if (ngx_current_msec - link->heard_ms >= NGX_HTTP_PREDICTIVE_IDLE) {
        ngx_http_predictive_link_probe(link);
        next = patience;
    }

    ngx_http_predictive_link_arm(link, ngx_max(next, 1));
}


static void
ngx_http_predictive_link_probe(ngx_http_predictive_link_t *link)
{
    ngx_str_t  argv[1];

    ngx_str_set(&argv[0], "PING");

    link->probe_ms = ngx_current_msec
                     + ngx_http_predictive_link_pause(link,
                                        ngx_http_predictive_link_soon(link));

    (void) ngx_http_predictive_link_command(link, argv, 1, 0, NULL, NULL);
}


/* Twice as long each time, but no longer than that, with jitter. */

static ngx_msec_t
ngx_http_predictive_link_pause(ngx_http_predictive_link_t *link,
    ngx_msec_t most)
{
    ngx_msec_t  half;

    half = ngx_min(link->backoff, most) / 2;

    if (link->backoff < most) {
        link->backoff = ngx_min(2 * link->backoff, most);
    }

    return half + (ngx_uint_t) ngx_random() % (half + 1);
}


/*
 * What costs the server next to nothing is tried at each tick, so that limits
 * are shared again at the next one.
 */

static ngx_msec_t
ngx_http_predictive_link_soon(ngx_http_predictive_link_t *link)
{
    ngx_msec_t  sync;

    sync = link->topology->store->sync;

    return ngx_min(ngx_max(sync, NGX_HTTP_PREDICTIVE_BACKOFF),
                   NGX_HTTP_PREDICTIVE_BACKOFF_MAX);
}


/* The breaker. */


void
ngx_http_predictive_link_break(ngx_http_predictive_link_t *link,
    ngx_err_t err, const char *why, ngx_str_t *text)
{
    u_char                           line[NGX_HTTP_PREDICTIVE_LINE];
    ngx_str_t                        s;
    ngx_queue_t                     *q;
    ngx_http_predictive_command_t   *command;
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    if (topology->closing || link->retired) {
        link->failed = 1;

    } else if (text && text->len) {

        /* once, and when it is something else */

        if (!ngx_http_predictive_link_heard(link, text) || !link->failed) {
            s = ngx_http_predictive_link_clean(text, line, sizeof(line));

            ngx_log_error(NGX_LOG_ERR, topology->log, err,
                          "predictive store \"%V\": server %V %s: \"%V\"",
                          &topology->store->name, &link->name, why, &s);
        }

        link->failed = 1;

    } else if (!link->failed) {
        link->failed = 1;

        ngx_log_error(NGX_LOG_ERR, topology->log, err,
                      "predictive store \"%V\": server %V %s",
                      &topology->store->name, &link->name, why);
    }

    if (link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN) {
        link->breaker = NGX_HTTP_PREDICTIVE_BREAKER_OPEN;
        link->probe_ms = ngx_current_msec
                         + ngx_http_predictive_link_pause(link,
                                         ngx_http_predictive_link_soon(link));
        ngx_http_predictive_count(topology, opens);
    }

    while (!ngx_queue_empty(&link->waiting)) {
        q = ngx_queue_head(&link->waiting);
        command = ngx_queue_data(q, ngx_http_predictive_command_t, queue);

        ngx_http_predictive_command_unlink(command);
        ngx_http_predictive_command_fail(command);
    }

    if (link->state == NGX_HTTP_PREDICTIVE_LINK_READY
        && ngx_queue_empty(&link->sent))
    {
        ngx_http_predictive_link_arm(link,
                                ngx_max(link->probe_ms - ngx_current_msec, 1));
    }

    ngx_http_predictive_topology_lost(link);
}


/* A reply that is no failure; command is NULL when the link became ready. */

void
ngx_http_predictive_link_good(ngx_http_predictive_link_t *link,
    ngx_http_predictive_command_t *command)
{
    ngx_http_predictive_topology_t  *topology;

    if (link->breaker == NGX_HTTP_PREDICTIVE_BREAKER_CLOSED
        && !link->failed)
    {
        return;
    }

    if (link->state != NGX_HTTP_PREDICTIVE_LINK_READY) {
        return;
    }

    topology = link->topology;

    /* a PING shows that it answers, not that it can serve */

    if (link->unable && (command == NULL || command->own)) {

        if (link->breaker == NGX_HTTP_PREDICTIVE_BREAKER_OPEN) {
            link->breaker = NGX_HTTP_PREDICTIVE_BREAKER_HALF;
            ngx_http_predictive_topology_gauge(topology);
        }

        return;
    }

    link->breaker = NGX_HTTP_PREDICTIVE_BREAKER_CLOSED;
    link->unable = 0;

    /* one that answers a PING, and then fails, is not said to do so each time
     * around */

    if (link->failed
        && ((command && !command->own)
            || ngx_current_msec - link->ready_ms >= NGX_HTTP_PREDICTIVE_IDLE))
    {
        link->failed = 0;
        link->said[0] = '\0';

        ngx_log_error(NGX_LOG_NOTICE, topology->log, 0,
                      "predictive store \"%V\": server %V answers again",
                      &topology->store->name, &link->name);
    }

    if (link->state == NGX_HTTP_PREDICTIVE_LINK_READY
        && ngx_current_msec - link->ready_ms >= NGX_HTTP_PREDICTIVE_IDLE)
    {
        link->backoff = NGX_HTTP_PREDICTIVE_BACKOFF;
    }

    ngx_http_predictive_topology_gauge(topology);
}


void
ngx_http_predictive_link_fail(ngx_http_predictive_link_t *link,
    ngx_err_t err, const char *why, ngx_str_t *text)
{
    ngx_msec_t  most;
    ngx_uint_t  lived;

    /* nobody was there, or it took long enough to see; one that is there, and
     * refuses us after a handshake, is not asked that often */

    if (link->state == NGX_HTTP_PREDICTIVE_LINK_CONNECTING
        || (link->connection
            && ngx_current_msec - link->heard_ms
               >= NGX_HTTP_PREDICTIVE_SILENCE))
    {
        most = ngx_http_predictive_link_soon(link);

    } else {
        most = NGX_HTTP_PREDICTIVE_BACKOFF_MAX;
    }

    lived = (link->state == NGX_HTTP_PREDICTIVE_LINK_READY
             && ngx_current_msec - link->ready_ms >= NGX_HTTP_PREDICTIVE_IDLE
             && link->breaker == NGX_HTTP_PREDICTIVE_BREAKER_CLOSED);

    ngx_http_predictive_count(link->topology, failures);

    link->stale = !link->literal;

    ngx_http_predictive_link_break(link, err, why, text);

    ngx_http_predictive_link_close(link);

    if (lived) {
        link->backoff = NGX_HTTP_PREDICTIVE_BACKOFF;
    }

    if (link->wanted && !link->retired && !link->topology->closing
        && link->state == NGX_HTTP_PREDICTIVE_LINK_CLOSED)
    {
        ngx_http_predictive_link_arm(link, lived ? 1
                                : ngx_http_predictive_link_pause(link, most));
    }
}


/* What is said. */


/* What a server says no with: once, until it is something else. */

void
ngx_http_predictive_link_say(ngx_http_predictive_link_t *link,
    ngx_str_t *text)
{
    u_char     line[NGX_HTTP_PREDICTIVE_LINE];
    ngx_str_t  s;

    if (ngx_http_predictive_link_heard(link, text)) {
        return;
    }

    s = ngx_http_predictive_link_clean(text, line, sizeof(line));

    ngx_log_error(NGX_LOG_ERR, link->topology->log, 0,
                  "predictive store \"%V\": server %V says \"%V\"",
                  &link->topology->store->name, &link->name, &s);
}


/* The same first word within a minute?  It is remembered. */

static ngx_uint_t
ngx_http_predictive_link_heard(ngx_http_predictive_link_t *link,
    ngx_str_t *text)
{
    size_t  len;

    for (len = 0; len < text->len && len < sizeof(link->said) - 1; len++) {
        if (text->data[len] <= ' ' || text->data[len] >= 0x7f) {
            break;
        }
    }

    if (link->said[len] == '\0'
        && ngx_strncmp(link->said, text->data, len) == 0
        && ngx_current_msec - link->said_ms < 60000)
    {
        return 1;
    }

    ngx_memcpy(link->said, text->data, len);
    link->said[len] = '\0';
    link->said_ms = ngx_current_msec;

    return 0;
}


/* "unknown command" quotes arguments, which may be AUTH's or keys. */

static ngx_str_t
ngx_http_predictive_link_clean(ngx_str_t *text, u_char *line, size_t size)
{
    u_char     *p, *last;
    ngx_str_t   s;

    s.data = line;
    s.len = 0;

    last = text->data + ngx_min(text->len, size);

    for (p = text->data; p < last; p++) {

        if (*p < ' ' || *p >= 0x7f
            || (last - p >= 11 && ngx_strncmp(p, ", with args", 11) == 0))
        {
            break;
        }

        s.data[s.len++] = *p;
    }

    return s;
}
