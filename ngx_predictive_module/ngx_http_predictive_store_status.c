
/*
 * What others see of stores: all workers together, in /status and /metrics.
 */


#include "ngx_http_predictive_cluster.h"


typedef struct {
    const char                    *name;
    const char                    *type;
    const char                    *help;
    size_t                         offset;       /* of the sum */
    double                         unit;
} ngx_http_predictive_store_metric_t;


/* All workers together. */

typedef struct {
    double                         up;
    double                         workers;
    double                         workers_up;
    double                         commands;
    double                         replies;
    double                         errors;
    double                         timeouts;
    double                         lost;
    double                         refused;
    double                         redirects;
    double                         connects;
    double                         failures;
    double                         opens;
    double                         latency;      /* us */
    double                         max;
} ngx_http_predictive_store_sum_t;


static void ngx_http_predictive_store_sum(ngx_http_predictive_store_t *store,
    ngx_http_predictive_store_sum_t *sum);
static void ngx_http_predictive_store_json(
    ngx_http_predictive_main_conf_t *pmcf, ngx_http_predictive_store_t *store,
    ngx_http_predictive_json_t *json);
static void ngx_http_predictive_store_text(ngx_http_predictive_json_t *out,
    const char *text);


static const char  *ngx_http_predictive_states[] = {
    "closed", "resolving", "connecting", "handshake", "setup", "ready"
};


static const char  *ngx_http_predictive_breakers[] = {
    "closed", "half_open", "open"
};


#define ngx_http_predictive_sum(member)                                       \
    offsetof(ngx_http_predictive_store_sum_t, member)


static ngx_http_predictive_store_metric_t  ngx_http_predictive_metrics_s[] = {

    { "up", "gauge", "Whether the store answers any worker.",
      ngx_http_predictive_sum(up), 1 },
    { "workers", "gauge", "Workers that use the store.",
      ngx_http_predictive_sum(workers), 1 },
    { "workers_up", "gauge", "Workers that the store answers.",
      ngx_http_predictive_sum(workers_up), 1 },
    { "commands_total", "counter", "Commands written.",
      ngx_http_predictive_sum(commands), 1 },
    { "replies_total", "counter", "Replies to them.",
      ngx_http_predictive_sum(replies), 1 },
    { "errors_total", "counter", "Replies that were errors.",
      ngx_http_predictive_sum(errors), 1 },
    { "timeouts_total", "counter", "Commands without a reply in time.",
      ngx_http_predictive_sum(timeouts), 1 },
    { "lost_total", "counter", "Commands whose connection was lost before "
      "the reply.", ngx_http_predictive_sum(lost), 1 },
    { "refused_total", "counter", "Commands not written, as the store was "
      "down.", ngx_http_predictive_sum(refused), 1 },
    { "redirects_total", "counter", "Replies MOVED and ASK of a cluster.",
      ngx_http_predictive_sum(redirects), 1 },
    { "connects_total", "counter", "Connections begun.",
      ngx_http_predictive_sum(connects), 1 },
    { "connection_failures_total", "counter", "Connections that failed or "
      "were lost.", ngx_http_predictive_sum(failures), 1 },
    { "breaker_opens_total", "counter", "How often a server was given up "
      "for the moment.", ngx_http_predictive_sum(opens), 1 },
    { "latency_seconds", "gauge", "Moving average of the time until a "
      "reply.", ngx_http_predictive_sum(latency), 1e-6 },
    { "latency_max_seconds", "gauge", "The longest in this minute or the "
      "last.", ngx_http_predictive_sum(max), 1e-6 },
};


static void
ngx_http_predictive_store_sum(ngx_http_predictive_store_t *store,
    ngx_http_predictive_store_sum_t *sum)
{
    uint64_t                     pid, minute, value;
    ngx_uint_t                   i;
    ngx_http_predictive_stat_t  *stat;

#define ngx_http_predictive_load(field)                                       \
    atomic_load_explicit(&stat->field, memory_order_relaxed)

    ngx_memzero(sum, sizeof(ngx_http_predictive_store_sum_t));

    minute = ngx_current_msec / 60000;

    for (i = 0; i <= PRD_WORKERS; i++) {
        stat = &store->sh->stats[i];

        sum->commands += ngx_http_predictive_load(commands);
        sum->replies += ngx_http_predictive_load(replies);
        sum->errors += ngx_http_predictive_load(errors);
        sum->timeouts += ngx_http_predictive_load(timeouts);
        sum->lost += ngx_http_predictive_load(lost);
        sum->refused += ngx_http_predictive_load(refused);
        sum->redirects += ngx_http_predictive_load(redirects);
        sum->connects += ngx_http_predictive_load(connects);
        sum->failures += ngx_http_predictive_load(failures);
        sum->opens += ngx_http_predictive_load(opens);

        pid = ngx_http_predictive_load(pid);

        if (pid == 0 || !ngx_http_predictive_alive((uint32_t) pid)) {
            continue;
        }

        sum->workers++;
        sum->workers_up += ngx_http_predictive_load(up);

        sum->latency += ngx_http_predictive_load(latency_us) / 16.0;

        if (minute - ngx_http_predictive_load(minute) <= 1) {

            value = ngx_http_predictive_load(max_us);
            sum->max = ngx_max(sum->max, value);

            if (minute == ngx_http_predictive_load(minute)) {
                value = ngx_http_predictive_load(max_before_us);
                sum->max = ngx_max(sum->max, value);
            }
        }
    }

    if (sum->workers) {
        sum->latency /= sum->workers;
    }

    sum->up = (sum->workers_up > 0);

#undef ngx_http_predictive_load
}


void
ngx_http_predictive_stores_json(ngx_http_predictive_main_conf_t *pmcf,
    ngx_http_predictive_json_t *json)
{
    ngx_uint_t                     i;
    ngx_http_predictive_store_t  **stores;

    stores = pmcf->stores.elts;

    ngx_http_predictive_json_open(json, "stores", '{');

    for (i = 0; i < pmcf->stores.nelts; i++) {
        if (stores[i]->sh) {
            ngx_http_predictive_json_key(json, &stores[i]->name);
            ngx_http_predictive_store_json(pmcf, stores[i], json);
        }
    }

    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_store_json(ngx_http_predictive_main_conf_t *pmcf,
    ngx_http_predictive_store_t *store, ngx_http_predictive_json_t *json)
{
    double                            bound, n;
    uint64_t                          away, debt;
    ngx_uint_t                        i;
    const char                       *role;
    ngx_http_predictive_link_t       *link;
    ngx_http_predictive_topology_t   *topology;
    ngx_http_predictive_zone_t      **zones;
    ngx_http_predictive_store_sum_t   sum;

    ngx_http_predictive_store_sum(store, &sum);

    bound = 0;
    away = debt = 0;
    zones = pmcf->zones.elts;

    for (i = 0; i < pmcf->zones.nelts; i++) {
        if (zones[i]->store == store && zones[i]->view.zone) {
            n = ngx_http_predictive_zone_overshoot(zones[i]);
            bound = ngx_max(bound, n);

            away += prd_zone_count(&zones[i]->view, PRD_CNT_LEASE_AWAY);
            debt += prd_zone_count(&zones[i]->view, PRD_CNT_LEASE_DEBT);
        }
    }

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_bool(json, "up", sum.up != 0);
    ngx_http_predictive_json_text(json, "mode",
                                  ngx_http_predictive_modes[store->mode]);
    ngx_http_predictive_json_number(json, "workers", sum.workers);
    ngx_http_predictive_json_number(json, "workers_up", sum.workers_up);
    ngx_http_predictive_json_number(json, "commands", sum.commands);
    ngx_http_predictive_json_number(json, "replies", sum.replies);
    ngx_http_predictive_json_number(json, "errors", sum.errors);
    ngx_http_predictive_json_number(json, "timeouts", sum.timeouts);
    ngx_http_predictive_json_number(json, "lost", sum.lost);
    ngx_http_predictive_json_number(json, "refused", sum.refused);
    ngx_http_predictive_json_number(json, "redirects", sum.redirects);
    ngx_http_predictive_json_number(json, "connects", sum.connects);
    ngx_http_predictive_json_number(json, "connection_failures",
                                    sum.failures);
    ngx_http_predictive_json_number(json, "breaker_opens", sum.opens);
    ngx_http_predictive_json_number(json, "latency_ms", sum.latency / 1000);
    ngx_http_predictive_json_number(json, "latency_max_ms", sum.max / 1000);
    ngx_http_predictive_json_number(json, "overshoot_bound", bound);
    ngx_http_predictive_json_uint(json, "decided_without", away);
    ngx_http_predictive_json_number(json, "admitted_without",
                                    (double) debt / PRD_MILLI);

    /* as this worker has them */

    ngx_http_predictive_json_open(json, "servers", '[');

    topology = store->topology;

    if (topology) {
        for (link = ngx_http_predictive_link_first(topology);
             link;
             link = ngx_http_predictive_link_next(link))
        {
            role = link->sentinel ? "sentinel"
                   : link->retired ? "former"
                   : (link == topology->master || link->nslots) ? "master"
                   : topology->slots ? "seed" : "named";

            ngx_http_predictive_json_open(json, NULL, '{');
            ngx_http_predictive_json_string(json, "server", &link->name);
            ngx_http_predictive_json_text(json, "role", role);
            ngx_http_predictive_json_text(json, "state",
                                     ngx_http_predictive_states[link->state]);
            ngx_http_predictive_json_text(json, "breaker",
                                 ngx_http_predictive_breakers[link->breaker]);
            ngx_http_predictive_json_uint(json, "outstanding", link->ncalls);

            if (topology->slots) {
                ngx_http_predictive_json_uint(json, "slots", link->nslots);
            }

            ngx_http_predictive_json_close(json, '}');
        }
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_store_text(ngx_http_predictive_json_t *out,
    const char *text)
{
    ngx_http_predictive_json_raw(out, text, ngx_strlen(text));
}


void
ngx_http_predictive_stores_metrics(ngx_http_predictive_main_conf_t *pmcf,
    ngx_http_predictive_json_t *json)
{
    u_char                               buf[NGX_HTTP_PREDICTIVE_JSON_NUMBER];
    u_char                              *p;
    double                               value;
    ngx_uint_t                           i, m, w;
    ngx_http_predictive_store_t        **stores;
    ngx_http_predictive_store_sum_t      sum;
    ngx_http_predictive_store_metric_t  *metric;

    static const char  prefix[] = "nginx_predictive_store_";

    stores = pmcf->stores.elts;

    if (pmcf->stores.nelts == 0) {
        return;
    }

    for (m = 0;
         m < sizeof(ngx_http_predictive_metrics_s)
             / sizeof(ngx_http_predictive_metrics_s[0]);
         m++)
    {
        metric = &ngx_http_predictive_metrics_s[m];

        const char  *words[] = {
            "# HELP ", prefix, metric->name, " ", metric->help, "\n# TYPE ",
            prefix, metric->name, " ", metric->type, "\n"
        };

        for (w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
            ngx_http_predictive_store_text(json, words[w]);
        }

        for (i = 0; i < pmcf->stores.nelts; i++) {

            if (stores[i]->sh == NULL) {
                continue;
            }

            ngx_http_predictive_store_sum(stores[i], &sum);

            value = *(double *) ((u_char *) &sum + metric->offset)
                    * metric->unit;

            ngx_http_predictive_store_text(json, prefix);
            ngx_http_predictive_store_text(json, metric->name);
            ngx_http_predictive_store_text(json, "{store=\"");
            ngx_http_predictive_json_label(json, &stores[i]->name);
            ngx_http_predictive_store_text(json, "\"} ");

            p = ngx_http_predictive_json_double(buf, value);

            ngx_http_predictive_json_raw(json, buf, p - buf);
            ngx_http_predictive_store_text(json, "\n");
        }
    }
}
