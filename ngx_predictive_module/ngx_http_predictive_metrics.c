
/*
 * /metrics: Prometheus' text format 0.0.4.  The zone is the only label that
 * names something of the configuration; clients are no labels.
 */


#include <math.h>
#include <nginx.h>

#include "ngx_http_predictive_api.h"
#include "ngx_http_predictive_redis.h"


#define NGX_HTTP_PREDICTIVE_PREFIX  "nginx_predictive_"


typedef struct {
    const char  *name;
    const char  *help;
    size_t       offset;                 /* in the zone's numbers */
} ngx_http_predictive_gauge_t;


static void ngx_http_predictive_metrics_family(
    ngx_http_predictive_json_t *out, const char *name, const char *suffix,
    const char *type, const char *help);
static void ngx_http_predictive_metrics_name(
    ngx_http_predictive_json_t *out, const char *name, const char *suffix,
    ngx_http_predictive_zone_t *zone, const char *age);
static void ngx_http_predictive_metrics_sample(
    ngx_http_predictive_json_t *out, const char *name, const char *suffix,
    ngx_http_predictive_zone_t *zone, const char *age, double n);
static void ngx_http_predictive_metrics_count(
    ngx_http_predictive_json_t *out, const char *name,
    ngx_http_predictive_zone_t *zone, uint64_t n);
static void ngx_http_predictive_metrics_text(
    ngx_http_predictive_json_t *out, const char *text);

static void ngx_http_predictive_metrics_counters(
    ngx_http_predictive_api_t *api);
static void ngx_http_predictive_metrics_gauges(
    ngx_http_predictive_api_t *api);
static void ngx_http_predictive_metrics_blocks(
    ngx_http_predictive_api_t *api);
static void ngx_http_predictive_metrics_forecaster(
    ngx_http_predictive_api_t *api);


#define ngx_http_predictive_offset(member)                                    \
    offsetof(ngx_http_predictive_numbers_t, member)


static ngx_http_predictive_gauge_t  ngx_http_predictive_gauges[] = {

    { "clients", "Clients that have a slot.",
      ngx_http_predictive_offset(clients) },
    { "active_clients", "Clients seen in the last closed bin of 10 s.",
      ngx_http_predictive_offset(active) },
    { "slots", "Clients that the zone has room for.",
      ngx_http_predictive_offset(slots) },
    { "zone_bytes", "Shared memory of the zone.",
      ngx_http_predictive_offset(bytes) },
    { "warmup_seconds", "What is left of the warm-up.",
      ngx_http_predictive_offset(warmup_s) },
    { "newcomer_rate_rps", "Rate of the pooled newcomer's envelope, "
      "tokens per second.",
      ngx_http_predictive_offset(newcomer_rate) },
    { "newcomer_depth", "Depth of the pooled newcomer's envelope, tokens.",
      ngx_http_predictive_offset(newcomer_depth) },
    { "pool_capacity_rps", "Capacity of the zone's pool, tokens per second.",
      ngx_http_predictive_offset(capacity) },
    { "pool_fill_ratio", "Level of the zone's pool, from -1 to 1.",
      ngx_http_predictive_offset(fill) },
    { "nodes", "Hosts that share the zone's limits, as last known.",
      ngx_http_predictive_offset(nodes) },
    { "overshoot_bound", "Tokens of one client that all hosts together may "
      "have leased, or admitted before the store charged them: as much may be "
      "admitted above its limit.",
      ngx_http_predictive_offset(overshoot) },
    { "actual_rps", "Admitted in the last closed bin, tokens per second.",
      ngx_http_predictive_offset(actual) },
    { "forecast_rps", "Forecast of the open bin, tokens per second.",
      ngx_http_predictive_offset(forecast) },
    { "forecast_upper_rps", "95 % quantile of the forecast of the open bin, "
      "tokens per second.",
      ngx_http_predictive_offset(upper) },
    { "forecast_coverage_ratio", "Share of bins that stayed below the 95 % "
      "quantile of their forecast.",
      ngx_http_predictive_offset(forecast_coverage) },
    { "forecast_relative_loss_ratio", "Pinball loss of the forecast in "
      "relation to that of the last value.",
      ngx_http_predictive_offset(relative_loss) },
    { "coverage_ratio", "Share of clients' active bins whose demand the "
      "learned depth covered.",
      ngx_http_predictive_offset(coverage) },
    { "bounded_coverage_ratio", "The same with the depth as it was bounded "
      "in its growth.",
      ngx_http_predictive_offset(bounded_coverage) }
};


void
ngx_http_predictive_metrics(ngx_http_predictive_api_t *api)
{
    ngx_str_set(&api->type, "text/plain; version=0.0.4; charset=utf-8");

    ngx_http_predictive_metrics_family(&api->json, "build_info", "", "gauge",
                                       "Versions; always 1.");
    ngx_http_predictive_metrics_text(&api->json, NGX_HTTP_PREDICTIVE_PREFIX
        "build_info{version=\"" PRD_VERSION_STR "\",nginx=\"" NGINX_VER
        "\"} 1\n");

    ngx_http_predictive_metrics_counters(api);
    ngx_http_predictive_metrics_gauges(api);
    ngx_http_predictive_metrics_blocks(api);
    ngx_http_predictive_metrics_forecaster(api);
    ngx_http_predictive_stores_metrics(api->main, &api->json);
}


static void
ngx_http_predictive_metrics_text(ngx_http_predictive_json_t *out,
    const char *text)
{
    ngx_http_predictive_json_raw(out, text, ngx_strlen(text));
}


static void
ngx_http_predictive_metrics_family(ngx_http_predictive_json_t *out,
    const char *name, const char *suffix, const char *type, const char *help)
{
    ngx_uint_t  i;

    const char  *words[] = {
        "# HELP " NGX_HTTP_PREDICTIVE_PREFIX, name, suffix, " ", help, "\n"
        "# TYPE " NGX_HTTP_PREDICTIVE_PREFIX, name, suffix, " ", type, "\n"
    };

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        ngx_http_predictive_metrics_text(out, words[i]);
    }
}


/* Up to the value.  zone and age may be NULL. */

static void
ngx_http_predictive_metrics_name(ngx_http_predictive_json_t *out,
    const char *name, const char *suffix, ngx_http_predictive_zone_t *zone,
    const char *age)
{
    ngx_http_predictive_metrics_text(out, NGX_HTTP_PREDICTIVE_PREFIX);
    ngx_http_predictive_metrics_text(out, name);
    ngx_http_predictive_metrics_text(out, suffix);

    if (zone == NULL) {
        ngx_http_predictive_metrics_text(out, " ");
        return;
    }

    ngx_http_predictive_metrics_text(out, "{zone=\"");
    ngx_http_predictive_json_label(out, &zone->name);

    if (age) {
        ngx_http_predictive_metrics_text(out, "\",age=\"");
        ngx_http_predictive_metrics_text(out, age);
    }

    ngx_http_predictive_metrics_text(out, "\"} ");
}


/* What is not known is left out. */

static void
ngx_http_predictive_metrics_sample(ngx_http_predictive_json_t *out,
    const char *name, const char *suffix, ngx_http_predictive_zone_t *zone,
    const char *age, double n)
{
    u_char  buf[NGX_HTTP_PREDICTIVE_JSON_NUMBER], *p;

    if (!isfinite(n)) {
        return;
    }

    ngx_http_predictive_metrics_name(out, name, suffix, zone, age);

    p = ngx_http_predictive_json_double(buf, n);

    ngx_http_predictive_json_raw(out, buf, p - buf);
    ngx_http_predictive_metrics_text(out, "\n");
}


static void
ngx_http_predictive_metrics_count(ngx_http_predictive_json_t *out,
    const char *name, ngx_http_predictive_zone_t *zone, uint64_t n)
{
    u_char  buf[NGX_INT64_LEN + 1];

    ngx_http_predictive_metrics_name(out, name, "_total", zone, NULL);
    ngx_http_predictive_json_raw(out, buf,
                                 ngx_sprintf(buf, "%uL\n", n) - buf);
}


static void
ngx_http_predictive_metrics_counters(ngx_http_predictive_api_t *api)
{
    const char                   *name;
    ngx_uint_t                    i, c;
    ngx_http_predictive_json_t   *out;
    ngx_http_predictive_zone_t  **zones;

    out = &api->json;
    zones = api->main->zones.elts;

    for (c = 0; c < PRD_COUNTERS; c++) {
        name = prd_counter_name(c);

        ngx_http_predictive_metrics_family(out, name, "_total", "counter",
                                           prd_counter_help(c));

        for (i = 0; i < api->main->zones.nelts; i++) {
            if (zones[i]->view.zone) {
                ngx_http_predictive_metrics_count(out, name, zones[i],
                                           prd_zone_count(&zones[i]->view, c));
            }
        }
    }
}


static void
ngx_http_predictive_metrics_gauges(ngx_http_predictive_api_t *api)
{
    double                           value;
    ngx_uint_t                       i, g;
    ngx_http_predictive_json_t      *out;
    ngx_http_predictive_zone_t     **zones;
    ngx_http_predictive_gauge_t     *gauge;
    ngx_http_predictive_numbers_t   *numbers;

    out = &api->json;
    zones = api->main->zones.elts;

    numbers = ngx_palloc(api->request->pool,
                         (api->main->zones.nelts + 1)
                         * sizeof(ngx_http_predictive_numbers_t));
    if (numbers == NULL) {
        out->failed = 1;
        return;
    }

    for (i = 0; i < api->main->zones.nelts; i++) {
        if (zones[i]->view.zone) {
            ngx_http_predictive_api_numbers(zones[i], &numbers[i]);
        }
    }

    for (g = 0;
         g < sizeof(ngx_http_predictive_gauges)
             / sizeof(ngx_http_predictive_gauges[0]);
         g++)
    {
        gauge = &ngx_http_predictive_gauges[g];

        ngx_http_predictive_metrics_family(out, gauge->name, "", "gauge",
                                           gauge->help);

        for (i = 0; i < api->main->zones.nelts; i++) {
            if (zones[i]->view.zone) {
                value = *(double *) ((u_char *) &numbers[i] + gauge->offset);

                ngx_http_predictive_metrics_sample(out, gauge->name, "",
                                                   zones[i], NULL, value);
            }
        }
    }
}


/* Coverage by age class, for whoever wants it over another time. */

static void
ngx_http_predictive_metrics_blocks(ngx_http_predictive_api_t *api)
{
    double                       *values;
    ngx_uint_t                    i, k, age;
    ngx_http_predictive_json_t   *out;
    ngx_http_predictive_zone_t  **zones;

    static const struct {
        const char  *name;
        const char  *help;
        size_t       offset;
    } blocks[] = {
        { "blocks", "Clients' closed active bins of 10 s, by the number of "
          "bins that the client had before.",
          offsetof(prd_pooled_t, closed) },
        { "blocks_missed", "Of these: demand above the learned depth.",
          offsetof(prd_pooled_t, missed) },
        { "blocks_missed_bounded", "Of these: demand above the learned depth "
          "as it was bounded in its growth.",
          offsetof(prd_pooled_t, bounded) }
    };

    out = &api->json;
    zones = api->main->zones.elts;

    for (k = 0; k < sizeof(blocks) / sizeof(blocks[0]); k++) {

        ngx_http_predictive_metrics_family(out, blocks[k].name, "_total",
                                           "counter", blocks[k].help);

        for (i = 0; i < api->main->zones.nelts; i++) {

            if (zones[i]->view.zone == NULL) {
                continue;
            }

            values = (double *) ((u_char *) &zones[i]->view.zone->pooled
                                 + blocks[k].offset);

            for (age = 0; age < PRD_AGES; age++) {
                ngx_http_predictive_metrics_sample(out, blocks[k].name,
                    "_total", zones[i], ngx_http_predictive_ages[age],
                    values[age]);
            }
        }
    }
}


static void
ngx_http_predictive_metrics_forecaster(ngx_http_predictive_api_t *api)
{
    ngx_uint_t                          i;
    ngx_http_predictive_thread_info_t   info;

    ngx_http_predictive_thread_info(api->main, &info);

    const struct {
        const char  *name;
        const char  *type;
        const char  *help;
        double       value;
    } values[] = {
        { "forecaster_up", "gauge", "Whether a worker holds the lease of the "
          "forecaster.", info.pid != 0 },
        { "forecaster_age_seconds", "gauge", "Since the lease was renewed.",
          info.age_ms / 1000.0 },
        { "forecaster_tick_seconds", "gauge", "CPU time of the last round.",
          info.tick_s },
        { "forecaster_rounds_total", "counter", "Rounds over all zones.",
          (double) info.rounds },
        { "forecaster_takeovers_total", "counter", "How often another worker "
          "took the lease.", (double) info.takeovers }
    };

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        ngx_http_predictive_metrics_family(&api->json, values[i].name, "",
                                           values[i].type, values[i].help);
        ngx_http_predictive_metrics_sample(&api->json, values[i].name, "",
                                           NULL, NULL, values[i].value);
    }
}
