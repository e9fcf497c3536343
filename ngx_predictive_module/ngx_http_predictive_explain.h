
/*
 * What the files that explain a client (_explain.c, _explain_*.c) share, and
 * nobody else.
 */


#ifndef _NGX_HTTP_PREDICTIVE_EXPLAIN_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_EXPLAIN_H_INCLUDED_


#include "ngx_http_predictive_api.h"


/* What the zone has of a client, copied. */

typedef struct {
    uint64_t        tag;
    uint32_t        slot;                /* PRD_NO_SLOT: nothing */
    uint64_t        state;
    uint64_t        virtual_;
    uint64_t        demand;
    uint64_t        envelope;
    uint32_t        refused;
    uint32_t        hours;
    uint32_t        hold;
    prd_learned_t   learned;
    unsigned        has_learned:1;       /* it is this client's */
    unsigned        steady:1;            /* two copies were the same */
} ngx_http_predictive_client_t;


/* What a request would ask. */

typedef struct {
    prd_ask_t       ask;
    ngx_str_t       place;               /* file:line, empty: no limit */
} ngx_http_predictive_question_t;


/* _explain_key.c */

/*
 * The tag of the client that the body means, or, if there is none, of the
 * first that it could have meant; form says how it was read.  NGX_ABORT: an
 * unknown way to read it.
 */
ngx_int_t ngx_http_predictive_explain_find(ngx_http_predictive_api_t *api,
    uint64_t *tag, const char **form);


/* _explain_known.c */

/* Copies what the zone has of the client of client->tag. */
void ngx_http_predictive_explain_read(prd_view_t *view,
    ngx_http_predictive_client_t *client);

/* Members on a client that is there; the answer is to a question of now. */
void ngx_http_predictive_explain_known(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, prd_answer_t *answer);


/* _explain_verdict.c */

/*
 * What requests of the client would ask: each limit on the zone as it is
 * configured, or the zone's own values where there is none.  Arguments "rate"
 * and "burst" stand for what requests have in variables.  NGX_DECLINED: they
 * have no meaning.
 */
ngx_int_t ngx_http_predictive_explain_questions(
    ngx_http_predictive_api_t *api, ngx_array_t *questions);

/* The verdict on a request of the client now; nothing is charged. */
void ngx_http_predictive_explain_ask(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, prd_ask_t *ask,
    prd_answer_t *answer);

/* Members on the verdict now: by the first limit on the zone, and by all. */
void ngx_http_predictive_explain_would(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, ngx_array_t *questions);

/* Member on the last refusals and delays, newest first. */
void ngx_http_predictive_explain_decisions(ngx_http_predictive_api_t *api,
    uint64_t tag);


#endif /* _NGX_HTTP_PREDICTIVE_EXPLAIN_H_INCLUDED_ */
