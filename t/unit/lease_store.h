
/*
 * A store in memory: what the batch script (src/prd_script.c) does to one
 * client's value, in C, so that tests and simulations of many nodes need no
 * Redis.  t/script.t holds the script itself to the same rules.
 */


#ifndef PRD_LEASE_STORE_H_INCLUDED
#define PRD_LEASE_STORE_H_INCLUDED


#include <math.h>

#include "prd_lease.h"


typedef struct {
    double    level;
    double    time_ms;                 /* of the store's clock */
    double    backlog;
    double    admitted;                /* since the home looked */
    double    denied;
    double    peak;
    uint16_t  version;
    uint64_t  envelope;
    int       bad;                     /* holds something else */
} lease_value_t;


static void
lease_store(lease_value_t *v, uint32_t nodes, const prd_lease_request_t *req,
    double now_ms, prd_lease_reply_t *reply)
{
    double    dt, offered, admits, whole, denied, most;
    uint32_t  level;

    memset(reply, 0, sizeof(prd_lease_reply_t));

    if (v->bad) {
        reply->status = PRD_LEASE_BAD;
        return;
    }

    if (v->time_ms == 0 || v->time_ms > now_ms) {
        v->time_ms = now_ms;
    }

    dt = now_ms - v->time_ms;
    v->time_ms = now_ms;

    v->level = fmax(v->level - req->drain * dt, 0);
    v->level = fmax(v->level - req->returned, 0);

    if (req->debt) {
        v->level = fmax(v->level, fmin(v->level + req->debt, req->debt_most));
    }

    admits = req->admitted;
    offered = admits + req->refused_cost;

    if (req->flags & PRD_LEASE_F_ASK) {
        offered += req->flags & PRD_LEASE_F_AGAIN ? 0 : req->cost;

        if (v->level + req->cost <= req->most + 0.001
            || req->most == UINT32_MAX)
        {
            v->level = fmax(v->level, fmin(v->level + req->cost,
                                           req->debt_most));
            admits += req->cost;

        } else {
            reply->status = PRD_LEASE_REFUSED;
        }
    }

    whole = ceil(v->level);

    if (req->flags & PRD_LEASE_F_WANT) {
        level = (uint32_t) fmin(whole, UINT32_MAX);
        reply->grant = prd_lease_grant(req->want, level, req->free,
                                       req->quantum, nodes);
        v->level += reply->grant;
        whole += reply->grant;
    }

    denied = req->flags & PRD_LEASE_F_CLIPPED ? 0 : req->denied;
    v->backlog = fmax(v->backlog - req->backlog_drain * dt, 0);
    most = fmax(v->backlog, req->backlog_most);
    v->backlog += fmin(offered, req->backlog + denied) - denied;
    v->backlog = fmin(fmax(v->backlog, 0), most);

    if (dt > 60000 && v->admitted + v->peak <= 0) {
        v->denied = 0;
    }

    v->admitted = fmax(v->admitted + admits - req->uncounted, 0);
    v->denied += req->denied;
    v->peak = fmax(v->peak, fmax(req->peak, ceil(v->backlog)));

    reply->level = (uint32_t) fmin(whole, UINT32_MAX);
    reply->backlog = (uint32_t) ceil(v->backlog);
    reply->version = req->version;

    if (v->envelope && v->version != req->version) {
        reply->version = v->version;
        reply->envelope = v->envelope;
    }
}


#endif /* PRD_LEASE_STORE_H_INCLUDED */
