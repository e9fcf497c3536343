
/*
 * Links: a connection to one Redis each, from its name to the moment it can be
 * used, and its end.  Resolver, TCP, TLS, AUTH, SELECT, PING.
 */


#include "ngx_http_predictive_link.h"


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

static u_char *ngx_http_predictive_link_log(ngx_log_t *log, u_char *buf,
    size_t len);


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


/* The end. */


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


/* nginx's own messages about a connection say whose it is. */

static u_char *
ngx_http_predictive_link_log(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_http_predictive_link_t  *link;

    link = log->data;

    return ngx_snprintf(buf, len, " in predictive store \"%V\", server: %V",
                        &link->topology->store->name, &link->name);
}
