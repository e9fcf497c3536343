
/*
 * /zones and /zones/Z: a zone's configuration, counters, coverage, forecast
 * and series; where it is asked for, its consistency.
 */


#include <math.h>

#include "ngx_http_predictive_api.h"
#include "prd_lease.h"


/* some 40 ns a slot: for so long a worker may be kept from its requests */
#define NGX_HTTP_PREDICTIVE_API_CHECK  (1 << 20)


static void ngx_http_predictive_api_summary(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone);
static void ngx_http_predictive_api_counters(ngx_http_predictive_json_t *json,
    prd_view_t *view);
static void ngx_http_predictive_api_config(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone);
static void ngx_http_predictive_api_rate(ngx_http_predictive_json_t *json,
    const char *name, prd_rate_t rate);
static void ngx_http_predictive_api_text(ngx_http_predictive_json_t *json,
    const char *name, prd_str_t *text);
static void ngx_http_predictive_api_coverage(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone, ngx_http_predictive_numbers_t *n);
static void ngx_http_predictive_api_forecast(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone, ngx_http_predictive_numbers_t *n);
static void ngx_http_predictive_api_surge(ngx_http_predictive_json_t *json,
    prd_view_t *view);
static void ngx_http_predictive_api_series(ngx_http_predictive_api_t *api,
    const char *name, ngx_uint_t long_);
static void ngx_http_predictive_api_check(ngx_http_predictive_api_t *api);
static void ngx_http_predictive_api_books(ngx_http_predictive_json_t *json,
    prd_view_t *view);


void
ngx_http_predictive_api_zones(ngx_http_predictive_api_t *api)
{
    ngx_uint_t                    i;
    ngx_http_predictive_json_t   *json;
    ngx_http_predictive_zone_t  **zones;

    json = &api->json;
    zones = api->main->zones.elts;

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_open(json, "zones", '{');

    for (i = 0; i < api->main->zones.nelts; i++) {

        if (zones[i]->view.zone == NULL) {
            continue;
        }

        ngx_http_predictive_json_key(json, &zones[i]->name);
        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_api_summary(json, zones[i]);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, '}');
    ngx_http_predictive_json_close(json, '}');
}


void
ngx_http_predictive_api_one(ngx_http_predictive_api_t *api)
{
    ngx_str_t                    value;
    ngx_http_predictive_json_t  *json;

    json = &api->json;

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_string(json, "zone", &api->zone->name);

    ngx_http_predictive_api_summary(json, api->zone);

    ngx_http_predictive_api_series(api, "series", 0);
    ngx_http_predictive_api_series(api, "series_long", 1);
    ngx_http_predictive_outlook_zone(api);

    if (ngx_http_predictive_api_arg(api, "check", &value) == NGX_OK
        && value.len == 1 && value.data[0] == '1')
    {
        ngx_http_predictive_api_check(api);
    }

    ngx_http_predictive_json_close(json, '}');
}


/* All but what is long. */

static void
ngx_http_predictive_api_summary(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone)
{
    prd_zone_t                     *z;
    ngx_http_predictive_numbers_t   n;

    z = zone->view.zone;

    ngx_http_predictive_api_numbers(zone, &n);
    ngx_http_predictive_api_counters(json, &zone->view);

    ngx_http_predictive_json_uint(json, "clients", (uint64_t) n.clients);
    ngx_http_predictive_json_uint(json, "active", (uint64_t) n.active);
    ngx_http_predictive_json_uint(json, "slots", (uint64_t) n.slots);

    ngx_http_predictive_api_memory(json, "memory", zone);

    ngx_http_predictive_api_config(json, zone);

    ngx_http_predictive_json_open(json, "warmup", '{');
    ngx_http_predictive_json_bool(json, "over",
                                  atomic_load_explicit(&z->warm,
                                                       memory_order_relaxed));
    ngx_http_predictive_json_number(json, "seconds_left", n.warmup_s);
    ngx_http_predictive_json_uint(json, "since", z->learn_since_s);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_open(json, "newcomer", '{');
    ngx_http_predictive_json_number(json, "rate", n.newcomer_rate);
    ngx_http_predictive_json_number(json, "depth", n.newcomer_depth);
    ngx_http_predictive_json_close(json, '}');

    if (zone->policy.pool.capacity) {
        ngx_http_predictive_json_open(json, "pool", '{');
        ngx_http_predictive_json_float(json, "fill", n.fill);
        ngx_http_predictive_json_number(json, "capacity_rps", n.capacity);
        ngx_http_predictive_json_close(json, '}');

    } else {
        ngx_http_predictive_json_null(json, "pool");
    }

    if (zone->store) {
        ngx_http_predictive_json_open(json, "lease", '{');
        ngx_http_predictive_json_uint(json, "nodes", (uint64_t) n.nodes);
        ngx_http_predictive_json_number(json, "overshoot_bound", n.overshoot);
        ngx_http_predictive_json_close(json, '}');

    } else {
        ngx_http_predictive_json_null(json, "lease");
    }

    ngx_http_predictive_api_coverage(json, zone, &n);
    ngx_http_predictive_api_forecast(json, zone, &n);
    ngx_http_predictive_api_surge(json, &zone->view);
}


void
ngx_http_predictive_api_memory(ngx_http_predictive_json_t *json,
    const char *name, ngx_http_predictive_zone_t *zone)
{
    ngx_http_predictive_json_open(json, name, '{');
    ngx_http_predictive_json_uint(json, "size", zone->view.zone->size);
    ngx_http_predictive_json_uint(json, "slots",
                                  prd_zone_slots(&zone->view));
    ngx_http_predictive_json_uint(json, "slot_bytes",
                                  sizeof(uint64_t) + sizeof(prd_entry_t)
                                  + (zone->view.leases
                                     ? sizeof(prd_lease_t) : 0));
    ngx_http_predictive_json_uint(json, "learned_bytes",
                                  sizeof(prd_learned_t));
    ngx_http_predictive_json_uint(json, "fixed", prd_zone_fixed_size());
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_api_counters(ngx_http_predictive_json_t *json,
    prd_view_t *view)
{
    ngx_uint_t  i;

    static const struct {
        const char     *name;
        prd_counter_e   counter;
    } reasons[] = {
        { "above_forecast", PRD_CNT_ABOVE_FORECAST },
        { "scarce", PRD_CNT_SCARCE },
        { "quota", PRD_CNT_QUOTA },
        { "newcomer", PRD_CNT_NEWCOMER },
        { "zone_full", PRD_CNT_ZONE_FULL },
        { "store", PRD_CNT_STORE }
    };

    for (i = 0; i < PRD_COUNTERS; i++) {
        ngx_http_predictive_json_uint(json, prd_counter_name(i),
                                      prd_zone_count(view, i));
    }

    ngx_http_predictive_json_open(json, "reasons", '{');

    for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        ngx_http_predictive_json_uint(json, reasons[i].name,
                                   prd_zone_count(view, reasons[i].counter));
    }

    ngx_http_predictive_json_close(json, '}');
}


/* The parameters by their names; what is a variable is its text. */

static void
ngx_http_predictive_api_config(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone)
{
    ngx_uint_t     i;
    prd_params_t  *p;

    static const char  *learn[] = { "on", "observe", "off" };

    p = &zone->params;

    const struct {
        const char  *name;
        prd_str_t   *text;
    } texts[] = {
        { "charge", &p->charge },
        { "class", &p->class_ },
        { "newcomer", &p->newcomer },
        { "store", &p->store }
    };

    ngx_http_predictive_json_open(json, "config", '{');
    ngx_http_predictive_json_string(json, "key", &zone->key.value);

    if (p->rate_var.len) {
        ngx_http_predictive_api_text(json, "rate", &p->rate_var);

    } else {
        ngx_http_predictive_api_rate(json, "rate", p->rate);
    }

    if (p->burst_var.len) {
        ngx_http_predictive_api_text(json, "burst", &p->burst_var);

    } else {
        ngx_http_predictive_json_uint(json, "burst", p->burst);
    }

    ngx_http_predictive_api_rate(json, "capacity", p->capacity);

    /* null: unlimited */

    ngx_http_predictive_json_number(json, "borrow",
                              p->borrow_milli ? p->borrow_milli / 1000.0 : NAN);
    ngx_http_predictive_json_text(json, "floor",
                                  p->floor_none ? "none" : "newcomer");
    ngx_http_predictive_api_rate(json, "min", p->min);
    ngx_http_predictive_api_rate(json, "max", p->max);
    ngx_http_predictive_json_text(json, "learn", learn[p->learn]);
    ngx_http_predictive_json_uint(json, "warmup", p->warmup_s);
    ngx_http_predictive_json_number(json, "confidence",
                                    p->confidence_ppm / 1e6);
    ngx_http_predictive_json_uint(json, "horizon", p->horizon_s);

    if (p->cost_var.len) {
        ngx_http_predictive_api_text(json, "cost", &p->cost_var);

    } else {
        ngx_http_predictive_json_number(json, "cost",
                                        (double) p->cost_milli / 1000);
    }

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ngx_http_predictive_api_text(json, texts[i].name, texts[i].text);
    }

    if (p->store.len) {
        ngx_http_predictive_json_text(json, "sync",
                                      p->sync == PRD_SYNC_STRICT ? "strict"
                                                                 : "lease");
    } else {
        ngx_http_predictive_json_null(json, "sync");
    }

    ngx_http_predictive_json_close(json, '}');
}


/* 0: none was given */

static void
ngx_http_predictive_api_rate(ngx_http_predictive_json_t *json,
    const char *name, prd_rate_t rate)
{
    ngx_http_predictive_json_number(json, name,
                             rate ? (double) rate / PRD_RATE_ONE : NAN);
}


/* As it was written; empty: it was not. */

static void
ngx_http_predictive_api_text(ngx_http_predictive_json_t *json,
    const char *name, prd_str_t *text)
{
    ngx_str_t  s;

    if (text->len == 0) {
        ngx_http_predictive_json_null(json, name);
        return;
    }

    s.len = text->len;
    s.data = (u_char *) text->data;
    ngx_http_predictive_json_string(json, name, &s);
}


static void
ngx_http_predictive_api_coverage(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone, ngx_http_predictive_numbers_t *n)
{
    double         blocks;
    ngx_uint_t     i;
    prd_pooled_t  *p;

    p = &zone->view.zone->pooled;

    ngx_http_predictive_json_open(json, "coverage", '{');
    ngx_http_predictive_json_float(json, "total", n->coverage);
    ngx_http_predictive_json_float(json, "bounded", n->bounded_coverage);
    ngx_http_predictive_json_number(json, "blocks", n->blocks);
    ngx_http_predictive_json_open(json, "ages", '[');

    for (i = 0; i < PRD_AGES; i++) {
        blocks = p->closed[i];

        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_text(json, "blocks_of_client",
                                      ngx_http_predictive_ages[i]);
        ngx_http_predictive_json_number(json, "blocks", blocks);
        ngx_http_predictive_json_float(json, "coverage",
                               blocks > 0 ? 1 - p->missed[i] / blocks : NAN);
        ngx_http_predictive_json_float(json, "bounded",
                               blocks > 0 ? 1 - p->bounded[i] / blocks : NAN);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


/* The zone as a whole: what comes, what was expected, how good that was. */

static void
ngx_http_predictive_api_forecast(ngx_http_predictive_json_t *json,
    ngx_http_predictive_zone_t *zone, ngx_http_predictive_numbers_t *n)
{
    prd_zone_t  *z;

    z = zone->view.zone;

    ngx_http_predictive_json_open(json, "forecast", '{');
    ngx_http_predictive_json_uint(json, "bin_seconds", PRD_BIN_S);
    ngx_http_predictive_json_float(json, "actual_rps", n->actual);
    ngx_http_predictive_json_float(json, "forecast_rps", n->forecast);
    ngx_http_predictive_json_float(json, "forecast_upper_rps", n->upper);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_open(json, "pinball_loss", '{');
    ngx_http_predictive_json_number(json, "quantile", 0.95);
    ngx_http_predictive_json_float(json, "forecast",
                                   z->pinball / z->pinball_n);
    ngx_http_predictive_json_float(json, "last_value",
                                   z->pinball_last / z->pinball_n);
    ngx_http_predictive_json_float(json, "relative", n->relative_loss);
    ngx_http_predictive_json_number(json, "bins", z->pinball_n);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_float(json, "forecast_coverage",
                                   n->forecast_coverage);
}


static void
ngx_http_predictive_api_surge(ngx_http_predictive_json_t *json,
    prd_view_t *view)
{
    uint32_t     surge;
    ngx_uint_t   i;
    prd_zone_t  *zone;

    zone = view->zone;

    ngx_http_predictive_json_open(json, "surge", '[');

    for (i = 0; i < PRD_CLASSES; i++) {
        surge = atomic_load_explicit(&zone->surge[i], memory_order_relaxed);

        if (surge == 0) {
            continue;
        }

        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_outlook_class(json, view, i);
        ngx_http_predictive_json_float(json, "ratio",
                                       1 + (double) surge / PRD_ONE_Q16);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
}


/*
 * Points are null while the thread writes them, or if it was killed just then.
 */

static void
ngx_http_predictive_api_series(ngx_http_predictive_api_t *api,
    const char *name, ngx_uint_t long_)
{
    uint32_t                     i, n;
    prd_rc_t                     rc;
    ngx_uint_t                   pool;
    prd_point_t                 *p;
    ngx_http_predictive_json_t  *json;

    json = &api->json;

    p = ngx_palloc(api->request->pool,
                   ngx_max(PRD_SERIES, PRD_SERIES_LONG) * sizeof(prd_point_t));
    if (p == NULL) {
        json->failed = 1;
        return;
    }

    n = 0;
    pool = (api->zone->policy.pool.capacity != 0);
    rc = prd_zone_series(&api->zone->view, p, &n, long_);

    ngx_http_predictive_json_open(json, name, '{');
    ngx_http_predictive_json_uint(json, "bin_seconds",
                                  long_ ? PRD_SERIES_LONG_S : PRD_BIN_S);

    if (rc != PRD_OK) {
        ngx_http_predictive_json_null(json, "points");
        ngx_http_predictive_json_close(json, '}');
        return;
    }

    ngx_http_predictive_json_open(json, "points", '[');

    for (i = 0; i < n; i++) {
        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_uint(json, "t", p[i].start_s);
        ngx_http_predictive_json_float(json, "actual", p[i].actual);
        ngx_http_predictive_json_float(json, "refused", p[i].refused);
        ngx_http_predictive_json_float(json, "forecast", p[i].forecast);
        ngx_http_predictive_json_float(json, "upper", p[i].upper);
        ngx_http_predictive_json_float(json, "fill", pool ? p[i].fill : NAN);
        ngx_http_predictive_json_float(json, "active", p[i].active);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


/* Faults are none in a table that nobody writes to; claims come and go. */

static void
ngx_http_predictive_api_check(ngx_http_predictive_api_t *api)
{
    uint32_t                     clients, claims;
    ngx_uint_t                   faults;
    ngx_http_predictive_json_t  *json;

    json = &api->json;

    if (prd_zone_slots(&api->zone->view) > NGX_HTTP_PREDICTIVE_API_CHECK) {
        ngx_http_predictive_json_null(json, "consistency");
        return;
    }

    faults = ngx_http_predictive_check(api->zone, &clients, &claims);

    ngx_http_predictive_json_open(json, "consistency", '{');
    ngx_http_predictive_json_uint(json, "faults", faults);
    ngx_http_predictive_json_uint(json, "clients", clients);
    ngx_http_predictive_json_uint(json, "claims", claims);

    if (api->zone->store) {
        ngx_http_predictive_api_books(json, &api->zone->view);
    }

    ngx_http_predictive_json_close(json, '}');
}


/*
 * Where leased tokens went, in tokens.  Balanced: as many came as went, or are
 * there, which holds while no request is under way.
 */

static void
ngx_http_predictive_api_books(ngx_http_predictive_json_t *json,
    prd_view_t *view)
{
    ngx_uint_t        i;
    prd_rc_t          rc;
    prd_lease_sums_t  sums;

    const struct {
        const char  *name;
        uint64_t    *milli;
    } members[] = {
        { "debited", &sums.debited },
        { "debt", &sums.debt },
        { "refunded", &sums.refunded },
        { "admitted", &sums.admitted },
        { "returned", &sums.returned },
        { "forfeited", &sums.forfeited },
        { "held", &sums.held },
        { "owed", &sums.owed }
    };

    rc = prd_lease_check(view, &sums);

    ngx_http_predictive_json_open(json, "books", '{');

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        ngx_http_predictive_json_number(json, members[i].name,
                                        (double) *members[i].milli / 1000);
    }

    ngx_http_predictive_json_bool(json, "balanced", rc == PRD_OK);
    ngx_http_predictive_json_close(json, '}');
}
