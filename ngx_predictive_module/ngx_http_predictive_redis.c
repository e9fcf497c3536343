
/*
 * Links: a connection to one Redis each, on nginx's events.  Commands are
 * written in RESP 2 and pipelined; of hiredis only the reader of replies is
 * used.
 *
 * Replies come in the order of commands.  So a command that has been written
 * keeps its place in link->sent until its reply, though nobody may be waiting
 * for it any more; and a connection whose replies fit no command is closed.
 *
 * Nothing is ever sent twice unless a reply says that it was not executed.
 *
 * A server that is not there, or does not answer, costs its callers nothing:
 * the link's breaker opens and calls fail at once, while a new connection, or
 * a PING on the old one, is tried again and again: at each tick where that
 * costs the server nothing, else at growing intervals.
 */


#include "ngx_http_predictive_cluster.h"

#include <ngx_sha1.h>


#define NGX_HTTP_PREDICTIVE_READ  16384
#define NGX_HTTP_PREDICTIVE_LINE  160


static ngx_http_predictive_command_t *ngx_http_predictive_command_create(
    ngx_http_predictive_topology_t *topology,
    ngx_http_predictive_script_t *script, ngx_uint_t nkeys, ngx_str_t *argv,
    ngx_uint_t argc, ngx_msec_t timeout, ngx_http_predictive_reply_pt handler,
    void *data);
static void ngx_http_predictive_command_expire(ngx_event_t *ev);
static void ngx_http_predictive_command_unlink(
    ngx_http_predictive_command_t *command);

static void ngx_http_predictive_link_literal(
    ngx_http_predictive_link_t *link);
static ngx_int_t ngx_http_predictive_link_addr(
    ngx_http_predictive_link_t *link);
static void ngx_http_predictive_link_resolved(ngx_resolver_ctx_t *ctx);
static void ngx_http_predictive_link_open(ngx_http_predictive_link_t *link);
static void ngx_http_predictive_link_connected(ngx_event_t *ev);
#if (NGX_SSL)
static void ngx_http_predictive_link_handshake(
    ngx_http_predictive_link_t *link);
static void ngx_http_predictive_link_handshaken(ngx_connection_t *c);
static ngx_int_t ngx_http_predictive_link_verify(
    ngx_http_predictive_link_t *link, ngx_str_t *name);
#endif
static void ngx_http_predictive_link_setup(ngx_http_predictive_link_t *link);
static void ngx_http_predictive_link_set_up(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_predictive_link_ready(ngx_http_predictive_link_t *link);

static void ngx_http_predictive_link_flush(ngx_event_t *ev);
static ngx_int_t ngx_http_predictive_link_append(
    ngx_http_predictive_link_t *link, ngx_http_predictive_command_t *command);
static ngx_int_t ngx_http_predictive_link_output(
    ngx_http_predictive_link_t *link);
static void ngx_http_predictive_link_write(ngx_event_t *wev);
static void ngx_http_predictive_link_read(ngx_event_t *rev);
static ngx_int_t ngx_http_predictive_link_replies(
    ngx_http_predictive_link_t *link);
static void ngx_http_predictive_link_reply(ngx_http_predictive_link_t *link,
    redisReply *reply);
static ngx_uint_t ngx_http_predictive_link_unable(ngx_str_t *text);
static ngx_int_t ngx_http_predictive_link_again(
    ngx_http_predictive_link_t *link, ngx_http_predictive_command_t *command,
    ngx_str_t *text);
static void ngx_http_predictive_link_latency(
    ngx_http_predictive_topology_t *topology, uint64_t us);

static redisReader *ngx_http_predictive_link_reader(
    ngx_http_predictive_link_t *link);

static void ngx_http_predictive_link_timer(ngx_event_t *ev);
static void ngx_http_predictive_link_watch(ngx_http_predictive_link_t *link);
static void ngx_http_predictive_link_arm(ngx_http_predictive_link_t *link,
    ngx_msec_t ms);
static void ngx_http_predictive_link_probe(ngx_http_predictive_link_t *link);
static ngx_msec_t ngx_http_predictive_link_pause(
    ngx_http_predictive_link_t *link, ngx_msec_t most);
static ngx_msec_t ngx_http_predictive_link_soon(
    ngx_http_predictive_link_t *link);

static void ngx_http_predictive_link_break(ngx_http_predictive_link_t *link,
    ngx_err_t err, const char *why, ngx_str_t *text);
static void ngx_http_predictive_link_good(ngx_http_predictive_link_t *link,
    ngx_http_predictive_command_t *command);
static void ngx_http_predictive_link_fail(ngx_http_predictive_link_t *link,
    ngx_err_t err, const char *why, ngx_str_t *text);
static void ngx_http_predictive_link_say(ngx_http_predictive_link_t *link,
    ngx_str_t *text);
static ngx_uint_t ngx_http_predictive_link_heard(
    ngx_http_predictive_link_t *link, ngx_str_t *text);
static ngx_str_t ngx_http_predictive_link_clean(ngx_str_t *text,
    u_char *line, size_t size);
static u_char *ngx_http_predictive_link_log(ngx_log_t *log, u_char *buf,
    size_t len);


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


uint64_t
ngx_http_predictive_clock_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


void
ngx_http_predictive_script_init(ngx_http_predictive_script_t *script,
    const char *body, size_t len)
{
    u_char      sum[20];
    ngx_sha1_t  sha;

    script->body.data = (u_char *) body;
    script->body.len = len;

    ngx_sha1_init(&sha);
    ngx_sha1_update(&sha, body, len);
    ngx_sha1_final(sum, &sha);

    (void) ngx_hex_dump(script->sha, sum, sizeof(sum));
}


/* What callers call. */


ngx_http_predictive_call_t *
ngx_http_predictive_redis_eval(ngx_http_predictive_store_t *store,
    ngx_http_predictive_script_t *script, ngx_uint_t nkeys, ngx_str_t *argv,
    ngx_uint_t argc, ngx_msec_t timeout, ngx_http_predictive_reply_pt handler,
    void *data)
{
    ngx_http_predictive_command_t  *command;

    if (store->topology == NULL) {
        return NULL;
    }

    command = ngx_http_predictive_command_create(store->topology, script,
                                                 nkeys, argv, argc, timeout,
                                                 handler, data);
    if (command == NULL) {
        return NULL;
    }

    if (nkeys) {
        command->slot = ngx_http_predictive_redis_slot(argv[0].data,
                                                       argv[0].len);
    }

    ngx_http_predictive_topology_route(store->topology, command);

    return &command->call;
}


ngx_http_predictive_call_t *
ngx_http_predictive_redis_command(ngx_http_predictive_store_t *store,
    ngx_int_t key, ngx_str_t *argv, ngx_uint_t argc, ngx_msec_t timeout,
    ngx_http_predictive_reply_pt handler, void *data)
{
    ngx_http_predictive_command_t  *command;

    if (store->topology == NULL) {
        return NULL;
    }

    command = ngx_http_predictive_command_create(store->topology, NULL, 0,
                                                 argv, argc, timeout, handler,
                                                 data);
    if (command == NULL) {
        return NULL;
    }

    if (key >= 0) {
        command->slot = ngx_http_predictive_redis_slot(argv[key].data,
                                                       argv[key].len);
    }

    ngx_http_predictive_topology_route(store->topology, command);

    return &command->call;
}


void
ngx_http_predictive_redis_cancel(ngx_http_predictive_call_t *call)
{
    ngx_http_predictive_command_t  *command;

    command = (ngx_http_predictive_command_t *) call;

    call->handler = NULL;
    call->late = NULL;

    if (command->running) {
        return;
    }

    if (command->timer.timer_set) {
        ngx_del_timer(&command->timer);
    }

    if (command->written) {
        /* its place is kept until the reply */
        return;
    }

    ngx_http_predictive_command_unlink(command);
    ngx_free(command);
}


ngx_uint_t
ngx_http_predictive_redis_up(ngx_http_predictive_store_t *store)
{
    return store->topology != NULL
           && ngx_http_predictive_topology_up(store->topology, -1);
}


ngx_uint_t
ngx_http_predictive_redis_up_key(ngx_http_predictive_store_t *store,
    ngx_str_t *key)
{
    return store->topology != NULL
           && ngx_http_predictive_topology_up(store->topology,
                             ngx_http_predictive_redis_slot(key->data,
                                                            key->len));
}


void
ngx_http_predictive_redis_flush(ngx_http_predictive_store_t *store)
{
    ngx_queue_t                 *q;
    ngx_http_predictive_link_t  *link;

    if (store->topology == NULL) {
        return;
    }

    for (q = ngx_queue_head(&store->topology->links);
         q != ngx_queue_sentinel(&store->topology->links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_http_predictive_link_t, queue);

        if (link->flush.posted) {
            ngx_delete_posted_event(&link->flush);
            ngx_http_predictive_link_flush(&link->flush);
        }
    }
}


/* Commands. */


static u_char *
ngx_http_predictive_command_bulk(u_char *p, const u_char *data, size_t len)
{
    p = ngx_sprintf(p, "$%uz" CRLF, len);

    if (len) {
        p = ngx_cpymem(p, data, len);
    }

    *p++ = CR;
    *p++ = LF;

    return p;
}


static ngx_http_predictive_command_t *
ngx_http_predictive_command_create(ngx_http_predictive_topology_t *topology,
    ngx_http_predictive_script_t *script, ngx_uint_t nkeys, ngx_str_t *argv,
    ngx_uint_t argc, ngx_msec_t timeout, ngx_http_predictive_reply_pt handler,
    void *data)
{
    size_t                          len;
    u_char                         *p, number[NGX_INT_T_LEN];
    ngx_uint_t                      i;
    ngx_http_predictive_command_t  *command;

    len = script ? NGX_INT_T_LEN * 2 : 0;

    for (i = 0; i < argc; i++) {
        len += sizeof("$" CRLF CRLF) - 1 + NGX_SIZE_T_LEN + argv[i].len;
    }

    command = ngx_alloc(offsetof(ngx_http_predictive_command_t, data) + len,
                        topology->log);
    if (command == NULL) {
        return NULL;
    }

    ngx_memzero(command, offsetof(ngx_http_predictive_command_t, data));

    command->call.handler = handler;
    command->call.data = data;
    command->topology = topology;
    command->script = script;
    command->slot = -1;
    command->nargs = argc;

    command->timer.handler = ngx_http_predictive_command_expire;
    command->timer.data = command;
    command->timer.log = topology->log;
    command->timer.cancelable = 1;

    p = command->data;

    if (script) {
        command->nargs += 3;
        p = ngx_http_predictive_command_bulk(p, number,
                              ngx_sprintf(number, "%ui", nkeys) - number);
    }

    for (i = 0; i < argc; i++) {
        p = ngx_http_predictive_command_bulk(p, argv[i].data, argv[i].len);
    }

    command->len = p - command->data;

    if (timeout) {
        ngx_add_timer(&command->timer, timeout);
    }

    return command;
}


/* It is in no queue any more. */

void
ngx_http_predictive_command_done(ngx_http_predictive_command_t *command,
    ngx_http_predictive_reply_e status, redisReply *reply, ngx_str_t *error)
{
    ngx_http_predictive_answer_t   answer;
    ngx_http_predictive_reply_pt   handler;

    if (command->timer.timer_set) {
        ngx_del_timer(&command->timer);
    }

    handler = command->expired ? command->call.late : command->call.handler;

    if (handler && !command->topology->closing) {
        answer.status = status;
        answer.reply = reply;

        if (error) {
            answer.error = *error;

        } else {
            ngx_str_null(&answer.error);
        }

        command->running = 1;
        handler(command->call.data, &answer);
    }

    ngx_free(command);
}


void
ngx_http_predictive_command_fail(ngx_http_predictive_command_t *command)
{
    ngx_http_predictive_topology_t  *topology;

    topology = command->topology;

    command->link = NULL;
    command->written = 0;

    ngx_queue_insert_tail(&topology->failed, &command->queue);

    ngx_post_event(&topology->fail, &ngx_posted_events);
}


static void
ngx_http_predictive_command_expire(ngx_event_t *ev)
{
    ngx_http_predictive_link_t      *link;
    ngx_http_predictive_answer_t     answer;
    ngx_http_predictive_command_t   *command, *first;
    ngx_http_predictive_topology_t  *topology;

    command = ev->data;
    link = command->link;
    topology = command->topology;

    if (!command->written) {
        ngx_http_predictive_command_unlink(command);

        if (!command->own) {
            ngx_http_predictive_count(topology, refused);
        }

        ngx_http_predictive_command_done(command,
                                         NGX_HTTP_PREDICTIVE_REPLY_DOWN,
                                         NULL, NULL);
        return;
    }

    ngx_http_predictive_count(topology, timeouts);

    command->expired = 1;

    answer.status = NGX_HTTP_PREDICTIVE_REPLY_TIMEOUT;
    answer.reply = NULL;
    ngx_str_null(&answer.error);

    command->running = 1;

    if (command->call.handler) {
        command->call.handler(command->call.data, &answer);
    }

    command->running = 0;
    command->call.handler = NULL;

    /*
     * Callers may be less patient than the store's timeout: five of them are
     * not enough if they came all at once.
     */

    link->failures++;

    first = ngx_queue_data(ngx_queue_head(&link->sent),
                           ngx_http_predictive_command_t, queue);

    if (link->failures >= NGX_HTTP_PREDICTIVE_FAILURES
        && link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN
        && ngx_http_predictive_clock_us() - first->sent_us
           >= (uint64_t) topology->store->timeout * 1000)
    {
        ngx_http_predictive_link_break(link, 0, "does not answer in time",
                                       NULL);
    }
}


/* Out of the queue it is in; its link forgets it. */

static void
ngx_http_predictive_command_unlink(ngx_http_predictive_command_t *command)
{
    ngx_queue_remove(&command->queue);

    if (command->link) {
        command->link->ncalls--;
        command->link->size -= command->len;
        command->link = NULL;
    }
}


/* Links. */


ngx_http_predictive_link_t *
ngx_http_predictive_link_create(ngx_http_predictive_topology_t *topology,
    ngx_str_t *host, in_port_t port, ngx_http_predictive_server_t *server)
{
    u_char                      *p;
    ngx_http_predictive_link_t  *link;

    link = ngx_calloc(sizeof(ngx_http_predictive_link_t) + 2 * host->len
                      + sizeof("[]:65535"), topology->log);
    if (link == NULL) {
        return NULL;
    }

    p = (u_char *) link + sizeof(ngx_http_predictive_link_t);

    link->host.data = p;
    link->host.len = host->len;
    p = ngx_cpymem(p, host->data, host->len);

    link->name.data = p;

    if (port == 0) {
        p = ngx_cpymem(p, host->data, host->len);

    } else if (ngx_strlchr(host->data, host->data + host->len, ':')) {
        p = ngx_sprintf(p, "[%V]:%d", host, (int) port);

    } else {
        p = ngx_sprintf(p, "%V:%d", host, (int) port);
    }

    link->name.len = p - link->name.data;
    link->port = port;
    link->server = server;
    link->topology = topology;
    link->backoff = NGX_HTTP_PREDICTIVE_BACKOFF;

    ngx_http_predictive_link_literal(link);

    ngx_queue_init(&link->waiting);
    ngx_queue_init(&link->sent);

    link->log = *topology->log;
    link->log.handler = ngx_http_predictive_link_log;
    link->log.data = link;
    link->log.action = NULL;

    link->flush.handler = ngx_http_predictive_link_flush;
    link->flush.data = link;
    link->flush.log = topology->log;

    link->timer.handler = ngx_http_predictive_link_timer;
    link->timer.data = link;
    link->timer.log = topology->log;
    link->timer.cancelable = 1;

    ngx_queue_insert_tail(&topology->links, &link->queue);

    return link;
}


/* A host that is an address needs no resolver, ever. */

static void
ngx_http_predictive_link_literal(ngx_http_predictive_link_t *link)
{
    in_addr_t             addr;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    if (link->server && link->server->literal) {
        ngx_memcpy(&link->sockaddr, link->server->addrs[0].sockaddr,
                   link->server->addrs[0].socklen);
        link->socklen = link->server->addrs[0].socklen;
        link->literal = 1;
        return;
    }

    addr = ngx_inet_addr(link->host.data, link->host.len);

    if (addr != INADDR_NONE) {
        sin = &link->sockaddr.sockaddr_in;
        sin->sin_family = AF_INET;
        sin->sin_addr.s_addr = addr;
        sin->sin_port = htons(link->port);
        link->socklen = sizeof(struct sockaddr_in);
        link->literal = 1;
        return;
    }

#if (NGX_HAVE_INET6)
    sin6 = &link->sockaddr.sockaddr_in6;

    if (ngx_inet6_addr(link->host.data, link->host.len,
                       sin6->sin6_addr.s6_addr)
        == NGX_OK)
    {
        sin6->sin6_family = AF_INET6;
        sin6->sin6_port = htons(link->port);
        link->socklen = sizeof(struct sockaddr_in6);
        link->literal = 1;
    }
#endif
}


void
ngx_http_predictive_link_free(ngx_http_predictive_link_t *link)
{
    ngx_http_predictive_link_close(link);

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    ngx_queue_remove(&link->queue);

    ngx_free(link);
}


ngx_uint_t
ngx_http_predictive_link_up(ngx_http_predictive_link_t *link)
{
    return link->breaker != NGX_HTTP_PREDICTIVE_BREAKER_OPEN && !link->retired;
}


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


/* Connecting. */


void
ngx_http_predictive_link_connect(ngx_http_predictive_link_t *link)
{
    ngx_int_t                     rc;
    ngx_http_predictive_store_t  *store;

    store = link->topology->store;

    if (link->state != NGX_HTTP_PREDICTIVE_LINK_CLOSED || link->retired
        || link->topology->closing)
    {
        return;
    }

    link->wanted = 1;

    /* nginx's own messages once per failure, not per attempt */

    link->log.log_level = link->failed ? NGX_LOG_STDERR
                                       : link->topology->log->log_level;

    ngx_http_predictive_link_arm(link, store->connect_timeout);

    rc = ngx_http_predictive_link_addr(link);

    if (rc == NGX_AGAIN) {
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_predictive_link_fail(link, 0, "could not be resolved", NULL);
        return;
    }

    ngx_http_predictive_link_open(link);
}


/* NGX_OK: link->sockaddr is to be tried; NGX_AGAIN: a resolver is asked. */

static ngx_int_t
ngx_http_predictive_link_addr(ngx_http_predictive_link_t *link)
{
    ngx_addr_t                    *addr;
    ngx_resolver_t                *resolver;
    ngx_resolver_ctx_t            *ctx;
    ngx_http_predictive_store_t   *store;
    ngx_http_predictive_server_t  *server;

    if (link->literal || (link->socklen && !link->stale)) {
        return NGX_OK;
    }

    store = link->topology->store;
    server = link->server;
    resolver = store->resolver;

    /* the first time the addresses of the configuration's reading are fresh */

    if (resolver && (server == NULL || link->stale)) {

        ctx = ngx_resolve_start(resolver, NULL);

        if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
            return NGX_ERROR;
        }

        ctx->name = link->host;
        ctx->handler = ngx_http_predictive_link_resolved;
        ctx->data = link;
        ctx->timeout = store->resolver_timeout;
        ctx->cancelable = 1;

        link->resolving = ctx;
        link->state = NGX_HTTP_PREDICTIVE_LINK_RESOLVING;

        /* which may call the handler at once */

        if (ngx_resolve_name(ctx) != NGX_OK) {
            link->resolving = NULL;
            link->state = NGX_HTTP_PREDICTIVE_LINK_CLOSED;
            return NGX_ERROR;
        }

        return NGX_AGAIN;
    }

    if (server == NULL) {
        return NGX_ERROR;
    }

    addr = &server->addrs[link->addr++ % server->naddrs];

    ngx_memcpy(&link->sockaddr, addr->sockaddr, addr->socklen);
    link->socklen = addr->socklen;

    return NGX_OK;
}


static void
ngx_http_predictive_link_resolved(ngx_resolver_ctx_t *ctx)
{
    ngx_resolver_addr_t         *addr;
    ngx_http_predictive_link_t  *link;

    link = ctx->data;

    link->resolving = NULL;
    link->state = NGX_HTTP_PREDICTIVE_LINK_CLOSED;

    if (ctx->state == NGX_OK && ctx->naddrs) {
        addr = &ctx->addrs[link->addr++ % ctx->naddrs];

        ngx_memcpy(&link->sockaddr, addr->sockaddr, addr->socklen);
        link->socklen = addr->socklen;

        ngx_inet_set_port(&link->sockaddr.sockaddr, link->port);

        link->stale = 0;
    }

    ngx_resolve_name_done(ctx);

    if (link->socklen == 0 && link->server) {
        ngx_memcpy(&link->sockaddr, link->server->addrs[0].sockaddr,
                   link->server->addrs[0].socklen);
        link->socklen = link->server->addrs[0].socklen;
    }

    if (link->socklen == 0) {
        ngx_http_predictive_link_fail(link, 0, "could not be resolved", NULL);
        return;
    }

    ngx_http_predictive_link_open(link);
}


static void
ngx_http_predictive_link_open(ngx_http_predictive_link_t *link)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t   peer;

    ngx_memzero(&peer, sizeof(ngx_peer_connection_t));

    peer.sockaddr = &link->sockaddr.sockaddr;
    peer.socklen = link->socklen;
    peer.name = &link->name;
    peer.get = ngx_event_get_peer;
    peer.log = &link->log;
    peer.log_error = NGX_ERROR_ERR;

    link->state = NGX_HTTP_PREDICTIVE_LINK_CONNECTING;

    rc = ngx_event_connect_peer(&peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_http_predictive_link_fail(link, 0, "could not be connected to",
                                      NULL);
        return;
    }

    c = peer.connection;

    c->data = link;
    c->read->handler = ngx_http_predictive_link_connected;
    c->write->handler = ngx_http_predictive_link_connected;

    link->connection = c;

    ngx_http_predictive_count(link->topology, connects);

    c->pool = ngx_create_pool(256, &link->log);
    link->reader = ngx_http_predictive_link_reader(link);

    if (c->pool == NULL || link->reader == NULL) {
        ngx_http_predictive_link_fail(link, 0, "cannot be used without memory",
                                      NULL);
        return;
    }

    if (link->sockaddr.sockaddr.sa_family != AF_UNIX) {
        (void) ngx_tcp_nodelay(c);
    }

    if (rc == NGX_OK) {
        ngx_http_predictive_link_connected(c->write);
    }
}


static void
ngx_http_predictive_link_connected(ngx_event_t *ev)
{
    int                          err;
    socklen_t                    len;
    ngx_connection_t            *c;
    ngx_http_predictive_link_t  *link;

    c = ev->data;
    link = c->data;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_http_predictive_link_fail(link, err, "could not be connected to",
                                      NULL);
        return;
    }

    if (ev == c->read) {
        /* nothing may come before we ask: closed, or not connected yet */

        if (!c->write->ready) {
            return;
        }
    }

    c->read->handler = ngx_http_predictive_link_read;
    c->write->handler = ngx_http_predictive_link_write;

#if (NGX_SSL)
    if (link->topology->store->ssl) {
        ngx_http_predictive_link_handshake(link);
        return;
    }
#endif

    ngx_http_predictive_link_setup(link);
}


#if (NGX_SSL)

static void
ngx_http_predictive_link_handshake(ngx_http_predictive_link_t *link)
{
    ngx_int_t                     rc;
    ngx_str_t                     name;
    ngx_connection_t             *c;
    ngx_http_predictive_store_t  *store;

    c = link->connection;
    store = link->topology->store;

    link->state = NGX_HTTP_PREDICTIVE_LINK_HANDSHAKE;
    link->heard_ms = ngx_current_msec;

    if (ngx_ssl_create_connection(store->ssl, c,
                                  NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK)
    {
        ngx_http_predictive_link_fail(link, 0, "cannot be used without memory",
                                      NULL);
        return;
    }

    /* kept: the name must end with a zero, and an address is no SNI */

    if (store->ssl_name.len) {
        name = store->ssl_name;

    } else {
        name = link->host;
    }

    if (store->ssl_name.len || !link->literal) {

        name.data = ngx_pnalloc(c->pool, name.len + 1);

        if (name.data == NULL) {
            ngx_http_predictive_link_fail(link, 0, "cannot be used without "
                                          "memory", NULL);
            return;
        }

        (void) ngx_cpystrn(name.data, store->ssl_name.len
                                      ? store->ssl_name.data
                                      : link->host.data, name.len + 1);

        if (SSL_set_tlsext_host_name(c->ssl->connection, (char *) name.data)
            == 0)
        {
            ngx_http_predictive_link_fail(link, 0, "cannot be sent the name "
                                          "of", NULL);
            return;
        }
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = ngx_http_predictive_link_handshaken;
        return;
    }

    ngx_http_predictive_link_handshaken(c);
}


static void
ngx_http_predictive_link_handshaken(ngx_connection_t *c)
{
    long                          rc;
    ngx_str_t                     text, name;
    ngx_http_predictive_link_t   *link;
    ngx_http_predictive_store_t  *store;

    link = c->data;
    store = link->topology->store;

    if (!c->ssl->handshaked) {
        ngx_http_predictive_link_fail(link, 0, "failed in the TLS handshake",
                                      NULL);
        return;
    }

    if (store->ssl_verify) {

        rc = SSL_get_verify_result(c->ssl->connection);

        if (rc != X509_V_OK) {
            text.data = (u_char *) X509_verify_cert_error_string(rc);
            text.len = ngx_strlen(text.data);

            ngx_http_predictive_link_fail(link, 0,
                                          "has a certificate that was not "
                                          "verified", &text);
            return;
        }

        name = store->ssl_name.len ? store->ssl_name : link->host;

        if (ngx_http_predictive_link_verify(link, &name) != NGX_OK) {
            ngx_http_predictive_link_fail(link, 0,
                                          "has a certificate that is not of "
                                          "the name", &name);
            return;
        }
    }

    c->read->handler = ngx_http_predictive_link_read;
    c->write->handler = ngx_http_predictive_link_write;

    ngx_http_predictive_link_setup(link);
}


/* nginx compares names only; a Redis is often known by its address. */

static ngx_int_t
ngx_http_predictive_link_verify(ngx_http_predictive_link_t *link,
    ngx_str_t *name)
{
    int      rc;
    X509    *cert;
    u_char   text[NGX_INET6_ADDRSTRLEN + 1];

    if (link->topology->store->ssl_name.len || !link->literal) {
        return ngx_ssl_check_host(link->connection, name);
    }

    if (link->port == 0) {
        /* a socket in the file system has no name */
        return NGX_OK;
    }

    if (name->len > NGX_INET6_ADDRSTRLEN) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(text, name->data, name->len + 1);

    cert = SSL_get_peer_certificate(link->connection->ssl->connection);

    if (cert == NULL) {
        return NGX_ERROR;
    }

    rc = X509_check_ip_asc(cert, (char *) text, 0);

    X509_free(cert);

    return rc == 1 ? NGX_OK : NGX_ERROR;
}

#endif


/* AUTH, SELECT, PING: all at once, the last reply makes the link ready. */

static void
ngx_http_predictive_link_setup(ngx_http_predictive_link_t *link)
{
    ngx_str_t                     argv[3];
    u_char                        number[NGX_INT_T_LEN];
    ngx_uint_t                    n;
    ngx_http_predictive_store_t  *store;

    store = link->topology->store;

    link->state = NGX_HTTP_PREDICTIVE_LINK_SETUP;
    link->heard_ms = ngx_current_msec;

    if (store->password.len && (!link->sentinel || link->nauth)) {
        n = 1;
        ngx_str_set(&argv[0], "AUTH");

        if (store->username.len) {
            argv[n++] = store->username;
        }

        argv[n++] = store->password;

        if (ngx_http_predictive_link_command(link, argv, n, 0,
                                   ngx_http_predictive_link_set_up, link)
            == NULL)
        {
            goto failed;
        }
    }

    if (store->database && !link->sentinel) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1].data = number;
        argv[1].len = ngx_sprintf(number, "%ui", store->database) - number;

        if (ngx_http_predictive_link_command(link, argv, 2, 0,
                                   ngx_http_predictive_link_set_up, link)
            == NULL)
        {
            goto failed;
        }
    }

    ngx_str_set(&argv[0], "PING");

    if (ngx_http_predictive_link_command(link, argv, 1, 0,
                                   ngx_http_predictive_link_set_up, link)
        == NULL)
    {
        goto failed;
    }

    return;

failed:

    ngx_http_predictive_link_fail(link, 0, "cannot be used without memory",
                                  NULL);
}


static void
ngx_http_predictive_link_set_up(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_http_predictive_link_t *link = data;

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_LOST
        || link->state != NGX_HTTP_PREDICTIVE_LINK_SETUP)
    {
        return;
    }

    if (answer->status != NGX_HTTP_PREDICTIVE_REPLY_OK) {

        if (link->sentinel && !link->nauth && answer->error.len > 6
            && ngx_strncmp(answer->error.data, "NOAUTH", 6) == 0
            && link->topology->store->password.len)
        {
            /* the sentinels have the password, too */
            link->nauth = 1;
            ngx_http_predictive_link_setup(link);
            return;
        }

        if (ngx_queue_empty(&link->sent) && !link->setback && !link->sentinel
            && ngx_http_predictive_link_unable(&answer->error)
            && ngx_strncmp(answer->error.data, "NOAUTH", 6) != 0)
        {
            /* LOADING: it is probed until that is over */

            link->state = NGX_HTTP_PREDICTIVE_LINK_READY;
            link->ready_ms = ngx_current_msec;
            link->unable = 1;

            ngx_http_predictive_link_break(link, 0, "is of no use",
                                           &answer->error);
            return;
        }

        /* closed when its handler is done */

        link->setback = 1;

        ngx_http_predictive_link_break(link, 0, "refuses us",
                                       &answer->error);
        return;
    }

    if (ngx_queue_empty(&link->sent) && !link->setback) {
        ngx_http_predictive_link_ready(link);
    }
}


static void
ngx_http_predictive_link_ready(ngx_http_predictive_link_t *link)
{
    link->state = NGX_HTTP_PREDICTIVE_LINK_READY;
    link->ready_ms = ngx_current_msec;

    ngx_http_predictive_link_good(link, NULL);

    if (!ngx_queue_empty(&link->waiting)) {
        ngx_post_event(&link->flush, &ngx_posted_events);
    }

    ngx_http_predictive_link_arm(link, NGX_HTTP_PREDICTIVE_IDLE);

    ngx_http_predictive_topology_ready(link);
}


/* Writing. */


static void
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

    if (script && command->body) {
        p = ngx_http_predictive_command_bulk(p, (u_char *) "EVAL", 4);
        p = ngx_http_predictive_command_bulk(p, script->body.data,
                                             script->body.len);

        for (i = 0; i < NGX_HTTP_PREDICTIVE_SCRIPTS; i++) {
            if (link->scripts[i].script == NULL
                || link->scripts[i].script == script)
            {
                link->scripts[i].script = script;
                link->scripts[i].seq = link->seq;
                break;
            }
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


static void
ngx_http_predictive_link_write(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    (void) ngx_http_predictive_link_output(c->data);
}


/* Reading. */


static void
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


static ngx_uint_t
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


/* Errors of a command that was not executed: NGX_OK if it is sent again. */

static ngx_int_t
ngx_http_predictive_link_again(ngx_http_predictive_link_t *link,
    ngx_http_predictive_command_t *command, ngx_str_t *text)
{
    ngx_uint_t  i;

    if (command->redirects >= NGX_HTTP_PREDICTIVE_REDIRECTS) {
        return NGX_DECLINED;
    }

    if (command->script == NULL || text->len < 8
        || ngx_strncmp(text->data, "NOSCRIPT", 8) != 0)
    {
        return ngx_http_predictive_topology_error(link, command, text);
    }

    /* of the many that may be under way only one must carry the body */

    command->redirects++;
    command->body = 1;

    for (i = 0; i < NGX_HTTP_PREDICTIVE_SCRIPTS; i++) {
        if (link->scripts[i].script == command->script
            && link->scripts[i].seq > command->seq)
        {
            command->body = 0;
            break;
        }
    }

    ngx_http_predictive_link_send(link, command);

    if (command->body && command->link == link
        && link->state == NGX_HTTP_PREDICTIVE_LINK_READY)
    {
        /* noted now, so that the next refusal knows of it */
        for (i = 0; i < NGX_HTTP_PREDICTIVE_SCRIPTS; i++) {
            if (link->scripts[i].script == NULL
                || link->scripts[i].script == command->script)
            {
                link->scripts[i].script = command->script;
                link->scripts[i].seq = link->seq + 1;
                break;
            }
        }
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


static redisReader *
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


/* Timers and the breaker. */


static void
ngx_http_predictive_link_arm(ngx_http_predictive_link_t *link, ngx_msec_t ms)
{
    if (link->timer.timer_set) {
        /* ngx_add_timer() would keep one that is near */
        ngx_del_timer(&link->timer);
    }

    ngx_add_timer(&link->timer, ms);
}


static void
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


static void
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

static void
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


static void
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


void
ngx_http_predictive_link_close(ngx_http_predictive_link_t *link)
{
    ngx_queue_t                      sent, *q;
    ngx_connection_t                *c;
    ngx_http_predictive_command_t   *command;
    ngx_http_predictive_topology_t  *topology;

    topology = link->topology;
    c = link->connection;

    link->connection = NULL;
    link->state = NGX_HTTP_PREDICTIVE_LINK_CLOSED;
    link->setback = 0;
    link->failures = 0;

    if (link->resolving) {
        ngx_resolve_name_done(link->resolving);
        link->resolving = NULL;
    }

    if (link->flush.posted) {
        ngx_delete_posted_event(&link->flush);
    }

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    if (c) {

#if (NGX_SSL)
        if (c->ssl) {
            c->ssl->no_wait_shutdown = 1;
            c->ssl->no_send_shutdown = 1;

            (void) ngx_ssl_shutdown(c);
        }
#endif

        if (c->pool) {
            ngx_destroy_pool(c->pool);
            c->pool = NULL;
        }

        ngx_close_connection(c);
    }

    if (link->reader) {
        redisReaderFree(link->reader);
        link->reader = NULL;
    }

    if (link->out) {
        ngx_free(link->out);
        link->out = NULL;
    }

    link->out_size = 0;
    link->out_pos = 0;
    link->out_last = 0;

    link->seq = 0;
    ngx_memzero(link->scripts, sizeof(link->scripts));

    while (!ngx_queue_empty(&link->waiting)) {
        q = ngx_queue_head(&link->waiting);
        command = ngx_queue_data(q, ngx_http_predictive_command_t, queue);

        ngx_http_predictive_command_unlink(command);
        ngx_http_predictive_command_fail(command);
    }

    /* their handlers may queue new ones, which are not lost with these */

    ngx_queue_init(&sent);

    while (!ngx_queue_empty(&link->sent)) {
        q = ngx_queue_head(&link->sent);
        command = ngx_queue_data(q, ngx_http_predictive_command_t, queue);

        ngx_http_predictive_command_unlink(command);
        ngx_queue_insert_tail(&sent, q);
    }

    while (!ngx_queue_empty(&sent)) {
        q = ngx_queue_head(&sent);
        command = ngx_queue_data(q, ngx_http_predictive_command_t, queue);

        ngx_queue_remove(q);

        if (!command->own && !command->expired) {
            ngx_http_predictive_count(topology, lost);
        }

        ngx_http_predictive_command_done(command,
                                         NGX_HTTP_PREDICTIVE_REPLY_LOST, NULL,
                                         NULL);
    }
}


/* What a server says no with: once, until it is something else. */

static void
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


/* nginx's own messages about a connection say whose it is. */

static u_char *
ngx_http_predictive_link_log(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_http_predictive_link_t  *link;

    link = log->data;

    return ngx_snprintf(buf, len, " in predictive store \"%V\", server: %V",
                        &link->topology->store->name, &link->name);
}
