
/*
 * Whom sentinels name as the master.
 */


#include "ngx_http_predictive_cluster.h"


static void ngx_http_predictive_sentinel_master(
    ngx_http_predictive_link_t *sentinel, ngx_str_t *host, in_port_t port);


void
ngx_http_predictive_sentinel_answer(void *data,
    ngx_http_predictive_answer_t *answer)
{
    ngx_int_t                        port;
    ngx_str_t                        host;
    redisReply                      *reply, **pair;
    ngx_http_predictive_link_t      *link;
    ngx_http_predictive_topology_t  *topology;

    link = data;
    topology = link->topology;
    reply = answer->reply;

    topology->asked = NULL;

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_OK
        && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
    {
        pair = reply->element;

        if (pair[0]->type == REDIS_REPLY_STRING
            && pair[1]->type == REDIS_REPLY_STRING)
        {
            host.data = (u_char *) pair[0]->str;
            host.len = pair[0]->len;
            port = ngx_atoi((u_char *) pair[1]->str, pair[1]->len);

            if (host.len && host.len < 256 && port > 0 && port < 65536) {
                ngx_http_predictive_sentinel_master(link, &host, port);
                return;
            }
        }
    }

    if (!topology->said && answer->status <= NGX_HTTP_PREDICTIVE_REPLY_ERROR) {
        topology->said = 1;

        ngx_log_error(NGX_LOG_ERR, topology->log, 0,
                      "predictive store \"%V\": sentinel %V knows no master "
                      "\"%V\"", &topology->store->name, &link->name,
                      &topology->store->master);
    }

    if (answer->status != NGX_HTTP_PREDICTIVE_REPLY_LOST) {
        ngx_http_predictive_topology_unknown(topology);
    }
}


static void
ngx_http_predictive_sentinel_master(ngx_http_predictive_link_t *sentinel,
    ngx_str_t *host, in_port_t port)
{
    ngx_http_predictive_link_t      *link, *was;
    ngx_http_predictive_topology_t  *topology;

    topology = sentinel->topology;
    was = topology->master;

    topology->failures = 0;
    topology->source = sentinel;

    link = ngx_http_predictive_topology_find(topology, host, port);

    if (link == NULL) {
        return;
    }

    if (link == was) {

        if (!ngx_http_predictive_link_up(link)) {
            /* perhaps another sentinel knows better */
            return;
        }

        ngx_http_predictive_topology_later(topology,
                                           NGX_HTTP_PREDICTIVE_ASK_MASTER);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, topology->log, 0,
                  "predictive store \"%V\": the master is %V",
                  &topology->store->name, &link->name);

    topology->master = link;

    if (was) {
        ngx_http_predictive_topology_retire(was);
    }

    ngx_http_predictive_link_connect(link);
    ngx_http_predictive_topology_known(topology);
}
