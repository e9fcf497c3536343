
/*
 * What goes over a link: commands in RESP 2, written together, and replies; of
 * hiredis only the reader of replies is used.
 *
 * Replies come in the order of commands.  So a command that has been written
 * keeps its place in link->sent until its reply, though nobody may be waiting
 * for it any more; and a connection whose replies fit no command is closed.
 *
 * Nothing is ever sent twice unless a reply says that it was not executed.
 */


#include "ngx_http_predictive_link.h"


#define NGX_HTTP_PREDICTIVE_READ  16384


static ngx_uint_t ngx_http_predictive_link_script(
    ngx_http_predictive_link_t *link, ngx_http_predictive_script_t *script);
static ngx_int_t ngx_http_predictive_link_append(
    ngx_http_predictive_link_t *link, ngx_http_predictive_command_t *command);
static ngx_int_t ngx_http_predictive_link_output(
    ngx_http_predictive_link_t *link);

static ngx_int_t ngx_http_predictive_link_replies(
    ngx_http_predictive_link_t *link);
static void ngx_http_predictive_link_reply(ngx_http_predictive_link_t *link,
    redisReply *reply);
static ngx_uint_t ngx_http_predictive_link_noscript(
    ngx_http_predictive_command_t *command, ngx_str_t *text);
static ngx_int_t ngx_http_predictive_link_again(
    ngx_http_predictive_link_t *link, ngx_http_predictive_command_t *command,
    ngx_str_t *text);
static void ngx_http_predictive_link_latency(
    ngx_http_predictive_topology_t *topology, uint64_t us);


void
ngx_http_predictive_link_send(ngx_http_predictive_link_t *link,
    ngx_http_predictive_command_t *command)
{
    if (!ngx_http_predictive_link_up(link)
        || link->ncalls >= NGX_HTTP_PREDICTIVE_CALLS
        || link->size + command->len > NGX_HTTP_PREDICTIVE_BYTES)
    {
        ngx_http_predictive_command_fail(command);
        return;
    }

    if (link->state == NGX_HTTP_PREDICTIVE_LINK_CLOSED) {

        ngx_http_predictive_link_connect(link);

        if (!ngx_http_predictive_link_up(link)) {
            ngx_http_predictive_command_fail(command);
            return;
        }
    }

    command->link = link;
    command->written = 0;

    link->ncalls++;
    link->size += command->len;

    ngx_queue_insert_tail(&link->waiting, &command->queue);

    if (link->state == NGX_HTTP_PREDICTIVE_LINK_READY) {
        ngx_post_event(&link->flush, &ngx_posted_events);
    }
}


ngx_http_predictive_command_t *
ngx_http_predictive_link_command(ngx_http_predictive_link_t *link,
    ngx_str_t *argv, ngx_uint_t argc, ngx_msec_t timeout,
    ngx_http_predictive_reply_pt handler, void *data)
{
    ngx_http_predictive_command_t  *command;

    command = ngx_http_predictive_command_create(link->topology, NULL, 0,
                                                 argv, argc, timeout, handler,
                                                 data);
    if (command == NULL) {
        return NULL;
    }

    command->own = 1;

    /* whatever the breaker says, and ahead of what waits for the link */

    if (ngx_http_predictive_link_append(link, command) != NGX_OK) {
        if (command->timer.timer_set) {
            ngx_del_timer(&command->timer);
        }

        ngx_free(command);
        return NULL;
    }

    link->ncalls++;
    link->size += command->len;

    ngx_post_event(&link->flush, &ngx_posted_events);

    return command;
}


/* Writing. */


void
ngx_http_predictive_link_flush(ngx_event_t *ev)
{
    ngx_msec_t                       ms;
    ngx_queue_t                     *q;
    ngx_http_predictive_link_t      *link;
    ngx_http_predictive_command_t   *command;
    ngx_http_predictive_topology_t  *topology;

    link = ev->data;
    topology = link->topology;

    if (link->state == NGX_HTTP_PREDICTIVE_LINK_READY) {

        while (!ngx_queue_empty(&link->waiting)) {
            q = ngx_queue_head(&link->waiting);
            command = ngx_queue_data(q, ngx_http_predictive_command_t, queue);

            ngx_queue_remove(q);

            if (ngx_http_predictive_link_append(link, command) != NGX_OK) {
                link->ncalls--;
                link->size -= command->len;
                ngx_http_predictive_command_fail(command);
                continue;
            }

            if (!command->own) {
                ngx_http_predictive_count(topology, commands);
            }
        }

        /* it must be seen when no reply comes */

        ms = 2 * topology->store->timeout;

        if (!ngx_queue_empty(&link->sent)
            && (!link->timer.timer_set
                || (ngx_msec_int_t) (link->timer.timer.key - ngx_current_msec)
                   > (ngx_msec_int_t) ms))
        {
            ngx_http_predictive_link_arm(link, ms);
        }

    } else if (link->state != NGX_HTTP_PREDICTIVE_LINK_SETUP) {
        return;
    }

    (void) ngx_http_predictive_link_output(link);
}


static u_char *
ngx_http_predictive_link_reserve(ngx_http_predictive_link_t *link, size_t len)
{
    size_t   size;
    u_char  *p;

    if (link->out_pos == link->out_last) {
        link->out_pos = 0;
        link->out_last = 0;
    }

    if (link->out_size - link->out_last < len) {

        size = ngx_max(link->out_last - link->out_pos + len, 16384);
        size = ngx_max(size, 2 * (link->out_last - link->out_pos));

        p = ngx_alloc(size, link->topology->log);
        if (p == NULL) {
            return NULL;
        }

        if (link->out) {
            ngx_memcpy(p, link->out + link->out_pos,
                       link->out_last - link->out_pos);
            ngx_free(link->out);
        }

        link->out = p;
        link->out_size = size;
        link->out_last -= link->out_pos;
        link->out_pos = 0;
    }

    return link->out + link->out_last;
}


/* The place of what is known of a script on this link, or past all. */

static ngx_uint_t
ngx_http_predictive_link_script(ngx_http_predictive_link_t *link,
    ngx_http_predictive_script_t *script)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_PREDICTIVE_SCRIPTS; i++) {

        if (link->scripts[i].script == NULL) {
            link->scripts[i].script = script;
        }

        if (link->scripts[i].script == script) {
            break;
        }
    }

    return i;
}


/* A command's bytes to those to be written, the command to link->sent. */

static ngx_int_t
ngx_http_predictive_link_append(ngx_http_predictive_link_t *link,
    ngx_http_predictive_command_t *command)
{
    size_t                         len;
    u_char                        *p;
    ngx_uint_t                     i;
    ngx_http_predictive_script_t  *script;

    static const u_char  asking[] = "*1" CRLF "$6" CRLF "ASKING" CRLF;

    script = command->script;

    len = sizeof(asking) + sizeof("*" CRLF "$7" CRLF "EVALSHA" CRLF "$" CRLF)
          + 2 * NGX_INT_T_LEN + command->len
          + (script ? ngx_max(script->body.len, 40) + 2 : 0);

    p = ngx_http_predictive_link_reserve(link, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (command->asking) {
        p = ngx_cpymem(p, asking, sizeof(asking) - 1);
        command->asking = 0;
        command->skip = 1;
    }

    p = ngx_sprintf(p, "*%ui" CRLF, command->nargs);

    link->seq++;

    i = script ? ngx_http_predictive_link_script(link, script)
               : NGX_HTTP_PREDICTIVE_SCRIPTS;

    if (i < NGX_HTTP_PREDICTIVE_SCRIPTS && link->scripts[i].missing) {
        command->body = 1;
    }

    if (script && command->body) {
        p = ngx_http_predictive_command_bulk(p, (u_char *) "EVAL", 4);
        p = ngx_http_predictive_command_bulk(p, script->body.data,
                                             script->body.len);

        if (i < NGX_HTTP_PREDICTIVE_SCRIPTS) {
            link->scripts[i].seq = link->seq;
            link->scripts[i].missing = 0;
        }

    } else if (script) {
        p = ngx_http_predictive_command_bulk(p, (u_char *) "EVALSHA", 7);
        p = ngx_http_predictive_command_bulk(p, script->sha, 40);
    }

    p = ngx_cpymem(p, command->data, command->len);

    link->out_last = p - link->out;

    command->link = link;
    command->written = 1;
    command->seq = link->seq;
    command->sent_us = ngx_http_predictive_clock_us();

    ngx_queue_insert_tail(&link->sent, &command->queue);

    return NGX_OK;
}


/* NGX_ERROR: the link has failed. */

static ngx_int_t
ngx_http_predictive_link_output(ngx_http_predictive_link_t *link)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = link->connection;

    if (c == NULL) {
        return NGX_OK;
    }

    while (link->out_pos < link->out_last) {

        if (!c->write->ready) {
            break;
        }

        n = c->send(c, link->out + link->out_pos,
                    link->out_last - link->out_pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_http_predictive_link_fail(link, 0, "could not be written to",
                                          NULL);
            return NGX_ERROR;
        }

        link->out_pos += n;
    }

    /* a burst's buffer is not kept for ever */

    if (link->out_pos == link->out_last && link->out_size > 262144) {
        ngx_free(link->out);
        link->out = NULL;
        link->out_size = 0;
        link->out_pos = 0;
        link->out_last = 0;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_predictive_link_fail(link, 0, "could not be written to",
                                      NULL);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_predictive_link_write(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    (void) ngx_http_predictive_link_output(c->data);
}


/* Reading. */


void
ngx_http_predictive_link_read(ngx_event_t *rev)
{
    size_t                           limit;
    u_char                           buf[NGX_HTTP_PREDICTIVE_READ];
    ssize_t                          n;
    ngx_connection_t                *c;
    ngx_http_predictive_link_t      *link;

    c = rev->data;
    link = c->data;

    limit = link->topology->slots ? NGX_HTTP_PREDICTIVE_MAP
                                  : NGX_HTTP_PREDICTIVE_REPLY;

    for ( ;; ) {

        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_http_predictive_link_fail(link, 0,
                                          "has closed the connection", NULL);
            return;
        }

        if (redisReaderFeed(link->reader, (char *) buf, n) != REDIS_OK) {
            ngx_http_predictive_link_fail(link, 0, "cannot be used without "
                                          "memory", NULL);
            return;
        }

        if (ngx_http_predictive_link_replies(link) != NGX_OK) {
            return;
        }

        if (link->reader->len - link->reader->pos > limit) {
            ngx_http_predictive_link_fail(link, 0, "sends too long a reply",
                                          NULL);
            return;
        }

        if (!rev->ready) {
            break;
        }
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_predictive_link_fail(link, 0, "could not be read from",
                                      NULL);
    }
}


/* NGX_ERROR: the link has failed, its connection is no more. */

static ngx_int_t
ngx_http_predictive_link_replies(ngx_http_predictive_link_t *link)
{
    void       *reply;
    ngx_str_t   text;

    for ( ;; ) {
        reply = NULL;

        if (redisReaderGetReply(link->reader, &reply) != REDIS_OK) {

            /* a line without an end, too, and what _reader() refuses */

            text.data = (u_char *) link->reader->errstr;
            text.len = ngx_strlen(text.data);

            ngx_http_predictive_link_fail(link, 0, "sends what is no reply",
                                          &text);
            return NGX_ERROR;
        }

        if (reply == NULL) {
            return NGX_OK;
        }

        link->elements = 0;
        link->bytes = 0;

        if (ngx_queue_empty(&link->sent)) {
            /* "-ERR max number of clients reached", for one */

            ngx_str_null(&text);

            if (((redisReply *) reply)->type == REDIS_REPLY_ERROR) {
                text.data = (u_char *) ((redisReply *) reply)->str;
                text.len = ((redisReply *) reply)->len;
            }

            ngx_http_predictive_link_fail(link, 0, "sends a reply that "
                                          "nobody asked for", &text);
            freeReplyObject(reply);

            return NGX_ERROR;
        }

        ngx_http_predictive_link_reply(link, reply);

        freeReplyObject(reply);

        if (link->setback) {
            ngx_http_predictive_link_fail(link, 0, "refuses us", NULL);
            return NGX_ERROR;
        }
    }
}


static void
ngx_http_predictive_link_reply(ngx_http_predictive_link_t *link,
    redisReply *reply)
{
    uint64_t                         now;
    ngx_str_t                        text;
    ngx_uint_t                       i;
    ngx_http_predictive_command_t   *command;
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;

    command = ngx_queue_data(ngx_queue_head(&link->sent),
                             ngx_http_predictive_command_t, queue);

    link->heard_ms = ngx_current_msec;
    link->failures = 0;

    if (command->skip) {
        /* of ASKING */
        command->skip = 0;
        return;
    }

    now = ngx_http_predictive_clock_us();

    ngx_http_predictive_command_unlink(command);

    ngx_http_predictive_link_latency(topology, now - command->sent_us);

    if (!command->own) {
        ngx_http_predictive_count(topology, replies);
    }

    if (reply->type != REDIS_REPLY_ERROR) {
        ngx_http_predictive_link_good(link, command);
        ngx_http_predictive_command_done(command,
                                         NGX_HTTP_PREDICTIVE_REPLY_OK, reply,
                                         NULL);
        return;
    }

    text.data = (u_char *) reply->str;
    text.len = reply->len;

    if (!command->own && !command->expired && command->call.handler
        && ngx_http_predictive_link_again(link, command, &text) == NGX_OK)
    {
        return;
    }

    if ((command->expired || command->call.handler == NULL)
        && ngx_http_predictive_link_noscript(command, &text))
    {
        /* nobody waits for it any more; the next call brings the script */

        i = ngx_http_predictive_link_script(link, command->script);

        if (i < NGX_HTTP_PREDICTIVE_SCRIPTS
            && link->scripts[i].seq <= command->seq)
        {
            link->scripts[i].missing = 1;
        }

        ngx_http_predictive_link_good(link, command);
        ngx_http_predictive_command_done(command,
                                         NGX_HTTP_PREDICTIVE_REPLY_ERROR,
                                         NULL, &text);
        return;
    }

    ngx_http_predictive_count(topology, errors);

    if (!ngx_http_predictive_link_unable(&text)) {

        if (!command->own) {
            ngx_http_predictive_link_say(link, &text);
        }

        ngx_http_predictive_link_good(link, command);

    } else if (link->state == NGX_HTTP_PREDICTIVE_LINK_READY) {
        link->unable = 1;
        ngx_http_predictive_link_break(link, 0, "is of no use", &text);
    }

    ngx_http_predictive_command_done(command,
                                     NGX_HTTP_PREDICTIVE_REPLY_ERROR, NULL,
                                     &text);
}


/* The server does not know the script. */

static ngx_uint_t
ngx_http_predictive_link_noscript(ngx_http_predictive_command_t *command,
    ngx_str_t *text)
{
    return command->script && text->len >= 8
           && ngx_strncmp(text->data, "NOSCRIPT", 8) == 0;
}


/* Errors of a command that was not executed: NGX_OK if it is sent again. */

static ngx_int_t
ngx_http_predictive_link_again(ngx_http_predictive_link_t *link,
    ngx_http_predictive_command_t *command, ngx_str_t *text)
{
    ngx_uint_t  i;

    if (command->redirects >= NGX_HTTP_PREDICTIVE_REDIRECTS) {
        return NGX_DECLINED;
    }

    if (!ngx_http_predictive_link_noscript(command, text)) {
        return ngx_http_predictive_topology_error(link, command, text);
    }

    /* of the many that may be under way only one must carry the body */

    i = ngx_http_predictive_link_script(link, command->script);

    command->redirects++;
    command->body = i == NGX_HTTP_PREDICTIVE_SCRIPTS
                    || link->scripts[i].seq <= command->seq;

    ngx_http_predictive_link_send(link, command);

    if (command->body && command->link == link
        && link->state == NGX_HTTP_PREDICTIVE_LINK_READY
        && i < NGX_HTTP_PREDICTIVE_SCRIPTS)
    {
        /* noted now, so that the next refusal knows of it */
        link->scripts[i].seq = link->seq + 1;
        link->scripts[i].missing = 0;
    }

    return NGX_OK;
}


static void
ngx_http_predictive_link_latency(ngx_http_predictive_topology_t *topology,
    uint64_t us)
{
    uint64_t                     was, minute;
    ngx_http_predictive_stat_t  *stat;

    stat = topology->stat;

    was = atomic_load_explicit(&stat->latency_us, memory_order_relaxed);

    /* in 1/16 us, so that the average moves by less than 1 us, too */

    atomic_store_explicit(&stat->latency_us,
                          was ? was - was / 16 + us : us * 16,
                          memory_order_relaxed);

    minute = ngx_current_msec / 60000;

    if (minute
        != atomic_load_explicit(&stat->minute, memory_order_relaxed))
    {
        was = atomic_load_explicit(&stat->max_us, memory_order_relaxed);

        atomic_store_explicit(&stat->max_before_us, was,
                              memory_order_relaxed);
        atomic_store_explicit(&stat->minute, minute, memory_order_relaxed);
        atomic_store_explicit(&stat->max_us, us, memory_order_relaxed);

    } else if (us > atomic_load_explicit(&stat->max_us,
                                         memory_order_relaxed))
    {
        atomic_store_explicit(&stat->max_us, us, memory_order_relaxed);
    }
}


/*
 * hiredis' own functions, but for bounds: it allocates an array as long as
 * the server says it will be, and reads replies as long as they come.
 */

static void *
ngx_http_predictive_reader_string(const redisReadTask *task, char *str,
    size_t len)
{
    ngx_http_predictive_link_t  *link;

    link = task->privdata;

    link->bytes += len;

    if (link->bytes > (link->topology->slots ? NGX_HTTP_PREDICTIVE_MAP
                                             : NGX_HTTP_PREDICTIVE_REPLY))
    {
        return NULL;
    }

    return link->plain->createString(task, str, len);
}


#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_http_predictive_elements_t;
#else
typedef int     ngx_http_predictive_elements_t;
#endif


static void *
ngx_http_predictive_reader_array(const redisReadTask *task,
    ngx_http_predictive_elements_t n)
{
    ngx_http_predictive_link_t  *link;

    link = task->privdata;

    if (n < 0 || (size_t) n > NGX_HTTP_PREDICTIVE_ELEMENTS) {
        return NULL;
    }

    link->elements += n;

    if (link->elements > NGX_HTTP_PREDICTIVE_ELEMENTS) {
        return NULL;
    }

    return link->plain->createArray(task, n);
}


redisReader *
ngx_http_predictive_link_reader(ngx_http_predictive_link_t *link)
{
    redisReader  *reader;

    reader = redisReaderCreate();
    if (reader == NULL) {
        return NULL;
    }

    link->plain = reader->fn;
    link->functions = *reader->fn;
    link->functions.createString = ngx_http_predictive_reader_string;
    link->functions.createArray = ngx_http_predictive_reader_array;

    link->elements = 0;
    link->bytes = 0;

    reader->fn = &link->functions;
    reader->privdata = link;

    return reader;
}
