
/*
 * What the files about links share, for these four alone: _redis.c (calls),
 * _pipeline.c (what goes over a link), _link.c (its connection), _breaker.c
 * (how it is doing).  What others may call is in _cluster.h.
 */


#ifndef _NGX_HTTP_PREDICTIVE_LINK_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_LINK_H_INCLUDED_


#include "ngx_http_predictive_cluster.h"


/* _redis.c */

/* With its arguments, of which a script's body is none; in no queue. */
ngx_http_predictive_command_t *ngx_http_predictive_command_create(
    ngx_http_predictive_topology_t *topology,
    ngx_http_predictive_script_t *script, ngx_uint_t nkeys, ngx_str_t *argv,
    ngx_uint_t argc, ngx_msec_t timeout, ngx_http_predictive_reply_pt handler,
    void *data);
u_char *ngx_http_predictive_command_bulk(u_char *p, const u_char *data,
    size_t len);
void ngx_http_predictive_command_unlink(
    ngx_http_predictive_command_t *command);


/* _pipeline.c */

/* Of link->flush, and of a connection that is set up. */
void ngx_http_predictive_link_flush(ngx_event_t *ev);
void ngx_http_predictive_link_write(ngx_event_t *wev);
void ngx_http_predictive_link_read(ngx_event_t *rev);

/* NULL without memory. */
redisReader *ngx_http_predictive_link_reader(
    ngx_http_predictive_link_t *link);


/* _breaker.c */

/* Of link->timer, and what sets it. */
void ngx_http_predictive_link_timer(ngx_event_t *ev);
void ngx_http_predictive_link_arm(ngx_http_predictive_link_t *link,
    ngx_msec_t ms);

/*
 * Opens the breaker: what has not been written fails, the connection stays.
 * And the same with the connection closed, to be opened again later.
 */
void ngx_http_predictive_link_break(ngx_http_predictive_link_t *link,
    ngx_err_t err, const char *why, ngx_str_t *text);
void ngx_http_predictive_link_fail(ngx_http_predictive_link_t *link,
    ngx_err_t err, const char *why, ngx_str_t *text);

/* A reply that is no failure; command is NULL when the link became ready. */
void ngx_http_predictive_link_good(ngx_http_predictive_link_t *link,
    ngx_http_predictive_command_t *command);

/* Is it an error of a server that cannot serve anybody for now? */
ngx_uint_t ngx_http_predictive_link_unable(ngx_str_t *text);

/* What a server says no with: once, until it is something else. */
void ngx_http_predictive_link_say(ngx_http_predictive_link_t *link,
    ngx_str_t *text);


#endif /* _NGX_HTTP_PREDICTIVE_LINK_H_INCLUDED_ */
