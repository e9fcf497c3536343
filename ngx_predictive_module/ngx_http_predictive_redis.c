
/*
 * Calls: what the rest of the module asks a store for, as commands that find
 * their way to a link.  A call is answered exactly once: by a reply, by its
 * time-out, or because its link is no more.
 */


#include "ngx_http_predictive_link.h"

#include <ngx_sha1.h>


static void ngx_http_predictive_command_expire(ngx_event_t *ev);


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
    ngx_http_predictive_link_t  *link;

    if (store->topology == NULL) {
        return;
    }

    for (link = ngx_http_predictive_link_first(store->topology);
         link;
         link = ngx_http_predictive_link_next(link))
    {
        if (link->flush.posted) {
            ngx_delete_posted_event(&link->flush);
            ngx_http_predictive_link_flush(&link->flush);
        }
    }
}


/* Commands. */


u_char *
ngx_http_predictive_command_bulk(u_char *p, const u_char *data, size_t len)
{
    u_char  *digit, number[NGX_SIZE_T_LEN];
    size_t   n;

    /* one for each key: not ngx_sprintf(), which reads its format */

    digit = number + sizeof(number);
    n = len;

    do {
        *--digit = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    *p++ = '$';
    p = ngx_cpymem(p, digit, number + sizeof(number) - digit);
    *p++ = CR;
    *p++ = LF;

    if (len) {
        p = ngx_cpymem(p, data, len);
    }

    *p++ = CR;
    *p++ = LF;

    return p;
}


ngx_http_predictive_command_t *
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

void
ngx_http_predictive_command_unlink(ngx_http_predictive_command_t *command)
{
    ngx_queue_remove(&command->queue);

    if (command->link) {
        command->link->ncalls--;
        command->link->size -= command->len;
        command->link = NULL;
    }
}
