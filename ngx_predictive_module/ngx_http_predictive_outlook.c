
/*
 * The API's view of what is forecast beside the envelopes: groups, curves of
 * the zone, bins in which more came than was forecast, a client's group.
 *
 * Numbers are read while the thread may be writing them: each is good by
 * itself, two of them may be a round apart.
 */


#include <math.h>

#include "ngx_http_predictive_api.h"


#define NGX_HTTP_PREDICTIVE_OUTLOOK_MISSES  50
#define NGX_HTTP_PREDICTIVE_OUTLOOK_MIX     20    /* requests ahead */


static void ngx_http_predictive_outlook_group(ngx_http_predictive_json_t *json,
    prd_view_t *view, ngx_uint_t i);
static void ngx_http_predictive_outlook_mix(ngx_http_predictive_json_t *json,
    prd_view_t *view, prd_markov_t *chain);
static void ngx_http_predictive_outlook_curve(
    ngx_http_predictive_json_t *json, const char *name, prd_curve_t *curve,
    uint32_t bin_s, double bytes);
static void ngx_http_predictive_outlook_bytes(
    ngx_http_predictive_json_t *json, double forecast_rps, double upper_rps,
    double bytes);
static void ngx_http_predictive_outlook_classes(
    ngx_http_predictive_json_t *json, prd_view_t *view);
static void ngx_http_predictive_outlook_network(
    ngx_http_predictive_json_t *json, const prd_outlook_view_t *v);
static void ngx_http_predictive_outlook_size(ngx_http_predictive_json_t *json,
    prd_outlook_t *o, ngx_uint_t group);
static void ngx_http_predictive_outlook_covered(
    ngx_http_predictive_json_t *json, prd_outlook_t *o);
static void ngx_http_predictive_outlook_miss(ngx_http_predictive_json_t *json,
    prd_miss_t *miss);


void
ngx_http_predictive_outlook_groups(ngx_http_predictive_api_t *api)
{
    ngx_uint_t                   i;
    prd_outlook_t               *o;
    ngx_http_predictive_json_t  *json;

    json = &api->json;
    o = api->zone->view.outlook.outlook;

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_string(json, "zone", &api->zone->name);
    ngx_http_predictive_json_uint(json, "tracked",
                                  atomic_load_explicit(&o->used,
                                                       memory_order_relaxed));
    ngx_http_predictive_json_uint(json, "records",
                                  api->zone->view.outlook.clients);
    ngx_http_predictive_json_uint(json, "generation", o->groups.generation);
    ngx_http_predictive_json_open(json, "groups", '[');

    for (i = 0; i < PRD_GROUPS; i++) {
        if (o->groups.group[i].id) {
            ngx_http_predictive_outlook_group(json, &api->zone->view, i);
        }
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_outlook_group(ngx_http_predictive_json_t *json,
    prd_view_t *view, ngx_uint_t i)
{
    char            name[PRD_GROUP_NAME];
    ngx_uint_t      k;
    prd_group_t    *group;
    prd_outlook_t  *o;

    o = view->outlook.outlook;
    group = &o->groups.group[i];
    prd_group_name(&o->groups, i, name);

    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_text(json, "name", name);
    ngx_http_predictive_json_text(json, "kind",
                                  prd_group_kind_name(group->kind));
    ngx_http_predictive_json_uint(json, "id", group->id);
    ngx_http_predictive_json_uint(json, "size", group->members);
    ngx_http_predictive_json_uint(json, "outliers", group->outliers);

    ngx_http_predictive_json_open(json, "centroid", '{');

    for (k = 0; k < PRD_HABIT_FEATURES; k++) {
        ngx_http_predictive_json_float(json, prd_habit_name(k),
                                       group->center[k]);
    }

    ngx_http_predictive_json_close(json, '}');
    ngx_http_predictive_json_open(json, "spread", '{');

    for (k = 0; k < PRD_HABIT_FEATURES; k++) {
        ngx_http_predictive_json_float(json, prd_habit_name(k),
                                       group->spread[k]);
    }

    ngx_http_predictive_json_close(json, '}');

    /* tokens/s of all its members, by hour of the local day */

    ngx_http_predictive_json_open(json, "typical_profile", '[');

    for (k = 0; k < 24; k++) {
        ngx_http_predictive_json_float(json, NULL, o->typical[i][k]);
    }

    ngx_http_predictive_json_close(json, ']');

    if (o->group_curve_bin[i]) {
        ngx_http_predictive_outlook_curve(json, "forecast", o->group_curve[i],
                                          prd_outlook_span_s[1],
                                          prd_outlook_bytes(o, i));

    } else {
        ngx_http_predictive_json_null(json, "forecast");
    }

    ngx_http_predictive_outlook_size(json, o, i);

    ngx_http_predictive_outlook_mix(json, view, &o->chain[i]);
    ngx_http_predictive_json_close(json, '}');
}


/* What the next requests will be, of which a share are of each class. */

static void
ngx_http_predictive_outlook_mix(ngx_http_predictive_json_t *json,
    prd_view_t *view, prd_markov_t *chain)
{
    float       mix[PRD_MARKOV_STATES];
    double      cost;
    ngx_uint_t  i, tops;

    if (prd_markov_mix(chain, PRD_MARKOV_STATES,
                       NGX_HTTP_PREDICTIVE_OUTLOOK_MIX, mix)
        != PRD_OK)
    {
        ngx_http_predictive_json_null(json, "class_mix");
        return;
    }

    tops = ngx_min(chain->tops, PRD_MARKOV_TOP);

    ngx_http_predictive_json_open(json, "class_mix", '{');
    ngx_http_predictive_json_open(json, "classes", '[');

    for (i = 0; i < tops; i++) {
        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_outlook_class(json, view, chain->top[i]);
        ngx_http_predictive_json_float(json, "share", mix[i]);
        ngx_http_predictive_json_float(json, "cost",
                             chain->costs[i] > 0 ? chain->cost[i] : NAN);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_float(json, "other", mix[PRD_MARKOV_OTHER]);

    cost = NAN;
    (void) prd_markov_outlook(chain, PRD_MARKOV_STATES,
                              NGX_HTTP_PREDICTIVE_OUTLOOK_MIX, &cost);

    ngx_http_predictive_json_uint(json, "requests",
                                  NGX_HTTP_PREDICTIVE_OUTLOOK_MIX);
    ngx_http_predictive_json_float(json, "cost", cost);
    ngx_http_predictive_json_close(json, '}');
}


/* A class: its index, and its name as far as that is known. */

void
ngx_http_predictive_outlook_class(ngx_http_predictive_json_t *json,
    prd_view_t *view, uint32_t class_)
{
    char  name[PRD_CLASS_NAME];

    ngx_http_predictive_json_uint(json, "class", class_);

    prd_zone_class_name(view, class_, name);
    ngx_http_predictive_json_text(json, "name", name);
}


/* Those that are asked for most. */

static void
ngx_http_predictive_outlook_classes(ngx_http_predictive_json_t *json,
    prd_view_t *view)
{
    uint32_t        index;
    ngx_uint_t      i;
    prd_class_t    *top;
    prd_outlook_t  *o;

    o = view->outlook.outlook;

    ngx_http_predictive_json_open(json, "classes", '[');

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        top = &o->classes.top[i];
        index = top->index;

        if (top->id == 0 || index >= PRD_CLASSES) {
            continue;
        }

        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_outlook_class(json, view, index);
        ngx_http_predictive_json_float(json, "mean_rps",
                              o->classes.level[index] / PRD_CLASS_BIN_S);

        if (top->curve_bin) {
            ngx_http_predictive_outlook_curve(json, "forecast", top->curve,
                                              PRD_CLASS_BIN_S,
                                    prd_outlook_bytes(o, PRD_GROUP_NONE));
        } else {
            ngx_http_predictive_json_null(json, "forecast");
        }

        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
}


static void
ngx_http_predictive_outlook_curve(ngx_http_predictive_json_t *json,
    const char *name, prd_curve_t *curve, uint32_t bin_s, double bytes)
{
    ngx_uint_t  i;

    ngx_http_predictive_json_open(json, name, '[');

    for (i = 0; i < PRD_CURVE_POINTS; i++) {
        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_uint(json, "bin_seconds", bin_s);
        ngx_http_predictive_json_uint(json, "horizon_seconds",
                                      bin_s * prd_curve_ahead[i]);
        ngx_http_predictive_json_float(json, "forecast_rps",
                                       curve[i].quantile[0] / bin_s);
        ngx_http_predictive_json_float(json, "upper90_rps",
                                       curve[i].quantile[1] / bin_s);
        ngx_http_predictive_json_float(json, "upper_rps",
                                       curve[i].quantile[2] / bin_s);
        ngx_http_predictive_json_float(json, "upper99_rps",
                                       curve[i].quantile[3] / bin_s);
        ngx_http_predictive_outlook_bytes(json, curve[i].quantile[0] / bin_s,
                                          curve[i].quantile[2] / bin_s,
                                          bytes);
        ngx_http_predictive_json_float(json, "confidence",
                       curve[i].covered[2] >= 0 ? curve[i].covered[2] : NAN);
        ngx_http_predictive_json_float(json, "confidence99",
                       curve[i].covered[3] >= 0 ? curve[i].covered[3] : NAN);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
}


/* What a forecast of tokens is of bytes, of which a token has so many. */

static void
ngx_http_predictive_outlook_bytes(ngx_http_predictive_json_t *json,
    double forecast_rps, double upper_rps, double bytes)
{
    ngx_http_predictive_json_float(json, "forecast_bytes_per_second",
                                   bytes > 0 ? forecast_rps * bytes : NAN);
    ngx_http_predictive_json_float(json, "upper_bytes_per_second",
                                   bytes > 0 ? upper_rps * bytes : NAN);
}


/* What the network was trained on; null where it is off. */

static void
ngx_http_predictive_outlook_network(ngx_http_predictive_json_t *json,
    const prd_outlook_view_t *v)
{
    prd_gru_told_t  told;

    if (prd_outlook_network(v, &told) != PRD_OK) {
        ngx_http_predictive_json_null(json, "network");
        return;
    }

    ngx_http_predictive_json_open(json, "network", '{');
    ngx_http_predictive_json_uint(json, "bin_seconds",
                                  prd_outlook_span_s[PRD_OUTLOOK_NETWORK]);
    ngx_http_predictive_json_uint(json, "trained_windows", told.trained);
    ngx_http_predictive_json_float(json, "training_loss", told.loss);
    ngx_http_predictive_json_uint(json, "resets", told.resets);
    ngx_http_predictive_json_close(json, '}');
}


/* Bytes of a response; null as long as none has been seen. */

static void
ngx_http_predictive_outlook_size(ngx_http_predictive_json_t *json,
    prd_outlook_t *o, ngx_uint_t group)
{
    prd_size_t  size;

    if (prd_outlook_size_of(o, group, &size) != PRD_OK) {
        ngx_http_predictive_json_null(json, "response_size");
        return;
    }

    ngx_http_predictive_json_open(json, "response_size", '{');
    ngx_http_predictive_json_float(json, "mean_bytes", size.mean);

    /* a group's quantile is not known */

    if (group == PRD_GROUP_NONE) {
        ngx_http_predictive_json_float(json, "upper_bytes", size.upper);
    }

    ngx_http_predictive_json_close(json, '}');
}


/* The share of bins whose bytes stayed below what was forecast. */

static void
ngx_http_predictive_outlook_covered(ngx_http_predictive_json_t *json,
    prd_outlook_t *o)
{
    ngx_uint_t  i;

    ngx_http_predictive_json_open(json, "bytes_coverage", '[');

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_uint(json, "bin_seconds",
                                      prd_outlook_span_s[i]);
        ngx_http_predictive_json_uint(json, "forecasts", o->bytes_scored[i]);
        ngx_http_predictive_json_float(json, "coverage",
                          o->bytes_scored[i] ? o->bytes_covered[i] : NAN);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
}


static void
ngx_http_predictive_outlook_miss(ngx_http_predictive_json_t *json,
    prd_miss_t *miss)
{
    ngx_http_predictive_json_open(json, NULL, '{');

    if (miss->tag) {
        ngx_http_predictive_json_hex(json, "key", miss->tag);

    } else {
        ngx_http_predictive_json_null(json, "key");
    }

    ngx_http_predictive_json_uint(json, "end", miss->end_s);
    ngx_http_predictive_json_uint(json, "bin_seconds", miss->span_s);
    ngx_http_predictive_json_text(json, "measure",
                        miss->span_s == PRD_BIN_S ? "peak_backlog" : "count");
    ngx_http_predictive_json_float(json, "actual", miss->actual);
    ngx_http_predictive_json_float(json, "forecast", miss->middle);
    ngx_http_predictive_json_float(json, "upper", miss->upper);
    ngx_http_predictive_json_float(json, "quantile", miss->quantile);

    if (miss->span_s == PRD_BIN_S) {
        ngx_http_predictive_json_uint(json, "refused", miss->refused);
        ngx_http_predictive_json_text(json, "verdict",
                                      miss->refused ? "REJECTED" : "PASSED");

    } else {
        /* of longer bins that is not counted */

        ngx_http_predictive_json_null(json, "refused");
        ngx_http_predictive_json_null(json, "verdict");
    }

    ngx_http_predictive_json_close(json, '}');
}


/* How good forecasts of clients were, by length of bins and horizon. */

static void
ngx_http_predictive_outlook_accuracy(ngx_http_predictive_json_t *json,
    prd_outlook_t *o)
{
    double        n;
    ngx_uint_t    i, k;
    prd_score_t  *s;

    ngx_http_predictive_json_open(json, "accuracy", '[');

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {
        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            s = &o->tracks.horizon[i][k].score;

            ngx_http_predictive_json_open(json, NULL, '{');
            ngx_http_predictive_json_uint(json, "bin_seconds",
                                          prd_outlook_span_s[i]);
            ngx_http_predictive_json_uint(json, "horizon_seconds",
                               prd_outlook_span_s[i] * prd_track_ahead(k));
            ngx_http_predictive_json_number(json, "forecasts", s->n);
            ngx_http_predictive_json_float(json, "relative_loss",
                           prd_score_relative(s, &n) == PRD_OK ? n : NAN);
            ngx_http_predictive_json_float(json, "wape",
                           prd_score_wape(s, &n) == PRD_OK ? n : NAN);
            ngx_http_predictive_json_float(json, "coverage",
                           prd_score_coverage(s, 2, &n) == PRD_OK ? n : NAN);
            ngx_http_predictive_json_float(json, "coverage99",
                           prd_score_coverage(s, 3, &n) == PRD_OK ? n : NAN);
            ngx_http_predictive_json_close(json, '}');
        }
    }

    ngx_http_predictive_json_close(json, ']');
}


/* Members of a zone's object. */

void
ngx_http_predictive_outlook_zone(ngx_http_predictive_api_t *api)
{
    uint32_t                     i, n;
    prd_miss_t                  *miss;
    prd_outlook_t               *o;
    ngx_http_predictive_json_t  *json;

    static const char  *names[PRD_OUTLOOK_SPANS] = {
        "minutes", "five_minutes", "hours"
    };

    json = &api->json;
    o = api->zone->view.outlook.outlook;

    ngx_http_predictive_json_open(json, "outlook", '{');

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {

        if (o->curve_bin[i] == 0) {
            ngx_http_predictive_json_null(json, names[i]);
            continue;
        }

        ngx_http_predictive_outlook_curve(json, names[i], o->curve[i],
                                          prd_outlook_span_s[i],
                                   prd_outlook_bytes(o, PRD_GROUP_NONE));
    }

    ngx_http_predictive_json_close(json, '}');
    ngx_http_predictive_outlook_classes(json, &api->zone->view);
    ngx_http_predictive_outlook_network(json, &api->zone->view.outlook);
    ngx_http_predictive_outlook_size(json, o, PRD_GROUP_NONE);
    ngx_http_predictive_outlook_covered(json, o);
    ngx_http_predictive_outlook_accuracy(json, o);

    miss = ngx_palloc(api->request->pool, NGX_HTTP_PREDICTIVE_OUTLOOK_MISSES
                                          * sizeof(prd_miss_t));
    if (miss == NULL) {
        json->failed = 1;
        return;
    }

    n = prd_outlook_misses(&api->zone->view.outlook, miss,
                           NGX_HTTP_PREDICTIVE_OUTLOOK_MISSES);

    ngx_http_predictive_json_uint(json, "missed",
                                  atomic_load_explicit(&o->missed,
                                                       memory_order_relaxed));
    ngx_http_predictive_json_open(json, "misses", '[');

    for (i = 0; i < n; i++) {
        ngx_http_predictive_outlook_miss(json, &miss[i]);
    }

    ngx_http_predictive_json_close(json, ']');
}


/*
 * Points of a client's curve.  A lower end is not forecast: it is as far below
 * the median as the upper one is above it, and not below 0.
 */

void
ngx_http_predictive_outlook_points(ngx_http_predictive_api_t *api,
    uint32_t slot, uint16_t generation)
{
    float                        q[PRD_QUANTILES], sure;
    float                        weight[PRD_EXPERTS][PRD_QUANTILES];
    double                       bytes;
    uint32_t                     s;
    unsigned                     extras;
    ngx_uint_t                   i, k;
    prd_track_t                 *track;
    prd_tracks_t                *tracks;
    prd_tracked_t                c;
    prd_track_extra_t            extra;
    ngx_http_predictive_json_t  *json;

    json = &api->json;
    tracks = &api->zone->view.outlook.outlook->tracks;

    track = ngx_palloc(api->request->pool, sizeof(prd_track_t));
    if (track == NULL) {
        json->failed = 1;
        return;
    }

    if (prd_outlook_client(&api->zone->view.outlook, slot, generation, &c)
        != PRD_OK
        || prd_outlook_copy_now(&api->zone->view.outlook, &c,
                                (uint64_t) ngx_time(), track)
           != PRD_OK)
    {
        return;
    }

    /* its own responses are not told apart: those of its group */

    bytes = prd_outlook_bytes(api->zone->view.outlook.outlook,
                              prd_outlook_group(&api->zone->view.outlook,
                                                slot, generation));

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {

        extras = i == PRD_OUTLOOK_NETWORK
                 ? prd_outlook_extra(&api->zone->view.outlook, &c,
                                     track->bins[i].bin, &extra)
                 : 0;

        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {

            if (prd_track_forecast(track, tracks, i, k,
                                   extras ? &extra : NULL, extras, q)
                != PRD_OK)
            {
                continue;
            }

            s = prd_outlook_span_s[i];

            ngx_http_predictive_json_open(json, NULL, '{');
            ngx_http_predictive_json_uint(json, "bin_seconds", s);
            ngx_http_predictive_json_uint(json, "horizon_seconds",
                                          s * prd_track_ahead(k));
            ngx_http_predictive_json_float(json, "lower_rps",
                                     ngx_max(2 * q[0] - q[2], 0) / s);
            ngx_http_predictive_json_float(json, "middle_rps", q[0] / s);
            ngx_http_predictive_json_float(json, "upper90_rps", q[1] / s);
            ngx_http_predictive_json_float(json, "upper_rps", q[2] / s);
            ngx_http_predictive_json_float(json, "upper99_rps", q[3] / s);
            ngx_http_predictive_outlook_bytes(json, q[0] / s, q[2] / s, bytes);

            sure = NAN;
            (void) prd_track_explain(track, tracks, i, k,
                                     extras ? &extra : NULL, extras, NULL,
                                     weight, &sure);

            ngx_http_predictive_json_float(json, "confidence", sure);

            if (extras) {
                ngx_http_predictive_json_float(json, "network_weight",
                                               weight[PRD_EXPERT_EXTRA][2]);
            }

            ngx_http_predictive_json_close(json, '}');
        }
    }
}


/* Members of a client's object. */

void
ngx_http_predictive_outlook_client(ngx_http_predictive_api_t *api,
    uint32_t slot, uint16_t generation)
{
    char                         name[PRD_GROUP_NAME];
    float                        x[PRD_HABIT_FEATURES];
    ngx_uint_t                   i;
    prd_tracked_t                c;
    prd_outlook_t               *o;
    ngx_http_predictive_json_t  *json;

    json = &api->json;
    o = api->zone->view.outlook.outlook;

    if (prd_outlook_client(&api->zone->view.outlook, slot, generation, &c)
        != PRD_OK)
    {
        ngx_http_predictive_json_null(json, "group");
        ngx_http_predictive_json_null(json, "habits");
        return;
    }

    if (c.group < PRD_GROUPS && o->groups.group[c.group].id == c.group_id) {
        prd_group_name(&o->groups, c.group, name);
        ngx_http_predictive_json_text(json, "group", name);

    } else {
        ngx_http_predictive_json_null(json, "group");
    }

    ngx_http_predictive_json_bool(json, "outlier", c.outlier);

    if (prd_habit_features(&c.habit, (uint64_t) ngx_time(),
                           (int32_t) ngx_cached_time->gmtoff * 60, 1, x)
        != PRD_OK)
    {
        ngx_http_predictive_json_null(json, "habits");
        return;
    }

    ngx_http_predictive_json_open(json, "habits", '{');

    for (i = 0; i < PRD_HABIT_FEATURES; i++) {
        ngx_http_predictive_json_float(json, prd_habit_name(i), x[i]);
    }

    ngx_http_predictive_json_close(json, '}');
}


/* The name of a part's group; 0 bytes: none. */

size_t
ngx_http_predictive_outlook_name(ngx_http_predictive_part_t *part,
    char name[PRD_GROUP_NAME])
{
    unsigned     group;
    prd_view_t  *view;

    view = &part->limit->zone->view;
    name[0] = '\0';

    if (part->answer.slot >= prd_zone_slots(view)) {
        return 0;
    }

    group = prd_outlook_group(&view->outlook, part->answer.slot,
                (uint16_t) prd_env_generation(atomic_load_explicit(
                    &view->table.entries[part->answer.slot].envelope,
                    memory_order_relaxed)));

    if (group == PRD_GROUP_NONE) {
        return 0;
    }

    prd_group_name(&view->outlook.outlook->groups, group, name);

    return ngx_strlen(name);
}
