
/*
 * What a second or a bin was for the zone as a whole: the surge of classes, a
 * request's mean cost, what was forecast against what came, and what is
 * forecast beside the envelopes.
 */


#include <math.h>

#include "prd_forecaster_inner.h"


#define PRD_SURGE_FAST_S    30.0
#define PRD_SURGE_SLOW_S    86400.0
#define PRD_SURGE_RATIO     3.0
#define PRD_SURGE_SHARE     0.05      /* of the capacity */
#define PRD_SURGE_MOST      0.7       /* of all classes: the site itself */
#define PRD_LEVEL_GAIN      0.3


typedef struct {
    prd_forecaster_t            *forecaster;
    prd_view_t                  *view;
    const prd_policy_t          *policy;
    const prd_envelope_terms_t  *terms;
    double                       now_s;
} prd_forecaster_pass_t;


static void prd_forecaster_sizes(prd_view_t *view);


/*
 * A class whose newcomers ask for more than three times their habit pays
 * first: rho = F / (3 S + 0.05 C), F and S weighted rates with time constants
 * of 30 s and a day.  Never for a class that is most of the traffic anyway.
 */

void
prd_forecaster_surge(prd_view_t *view, const prd_policy_t *policy,
    double dt_s, uint32_t now_ms)
{
    double       rate, fast, slow, rho, cap, k, all;
    uint32_t     i, surging, surge;
    uint64_t     sum, diff;
    prd_zone_t  *zone;

    zone = view->zone;
    cap = (double) policy->pool.capacity / PRD_RATE_ONE;
    fast = exp(-dt_s / PRD_SURGE_FAST_S);
    slow = exp(-dt_s / PRD_SURGE_SLOW_S);

    /* shortage is not a habit */

    k = prd_pool_level(atomic_load_explicit(&zone->pool,
                                            memory_order_relaxed), now_ms)
        > PRD_POOL_FULL / 2 ? 1 : 1 / 8.0;

    all = 0;
    surging = 0;

    for (i = 0; i < PRD_CLASSES; i++) {

        if (i && atomic_load_explicit(&zone->classes[i],
                                      memory_order_relaxed) == 0)
        {
            continue;
        }

        sum = prd_zone_sum(zone, offsetof(prd_worker_t, class_)
                                 + i * sizeof(uint64_t));
        diff = sum - zone->class_seen[i];
        zone->class_seen[i] = sum;

        rate = (double) diff / PRD_TRUSTS / policy->unit / dt_s;

        zone->surge_fast[i] = zone->surge_fast[i] * fast + rate * (1 - fast);
        zone->surge_slow[i] = zone->surge_slow[i] * slow
                              + rate * k * (1 - slow);
        all += rate * k;
    }

    zone->surge_all = zone->surge_all * slow + all * (1 - slow);

    for (i = 0; i < PRD_CLASSES; i++) {
        surge = 0;

        if (zone->surge_fast[i] > 0
            && zone->surge_slow[i] < PRD_SURGE_MOST * zone->surge_all)
        {
            rho = zone->surge_fast[i] / (PRD_SURGE_RATIO * zone->surge_slow[i]
                                         + PRD_SURGE_SHARE * cap);
            if (rho > 1) {
                surge = (uint32_t) prd_min((rho - 1) * PRD_ONE_Q16, 1u << 26);
                surging = 1;
            }
        }

        atomic_store_explicit(&zone->surge[i], surge, memory_order_relaxed);
    }

    atomic_store_explicit(&zone->surging, surging, memory_order_relaxed);
}


static int
prd_forecaster_group_vote(void *data, uint32_t slot)
{
    prd_forecaster_pass_t  *b = data;

    return prd_forecaster_vote(&b->forecaster->groups,
               atomic_load_explicit(&b->view->table.entries[slot].parent,
                                    memory_order_relaxed));
}


static int
prd_forecaster_track_vote(void *data, uint32_t slot)
{
    prd_forecaster_pass_t  *b = data;

    return prd_forecaster_vote(&b->forecaster->tracks,
               atomic_load_explicit(&b->view->table.entries[slot].parent,
                                    memory_order_relaxed));
}


/* More is expected of a client than it asks for: its envelope goes ahead. */

static void
prd_forecaster_ahead(void *data, uint32_t slot, uint16_t generation,
    float ahead)
{
    prd_entry_t              *e;
    prd_learned_t            *l;
    prd_envelope_terms_t      t;
    prd_forecaster_pass_t  *b = data;

    e = &b->view->table.entries[slot];
    l = &b->view->learned[slot];

    if (l->generation != generation || l->sigma == 0
        || prd_env_generation(atomic_load_explicit(&e->envelope,
                                                   memory_order_relaxed))
           != generation)
    {
        return;
    }

    t = *b->terms;
    t.ahead = ahead;
    t.phase_s = prd_phase_s(atomic_load_explicit(&b->view->table.tags[slot],
                                                 memory_order_relaxed));

    prd_learned_ahead(l, &b->view->zone->pooled, &t, b->now_s);
    prd_forecaster_publish(b->view, b->policy, slot);
}


/* The bin that is over, for what is forecast beside the envelopes. */

void
prd_forecaster_outlook(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, const prd_envelope_terms_t *t, uint64_t end_s)
{
    double                  tokens;
    uint32_t                i;
    uint64_t                cost, n;
    prd_zone_t             *zone;
    prd_classes_t          *classes;
    prd_forecaster_pass_t   ballot;

    zone = view->zone;
    ballot.forecaster = f;
    ballot.view = view;
    ballot.policy = policy;
    ballot.terms = t;
    ballot.now_s = (double) end_s;

    f->outlook.priced = policy->charged != 0;
    f->outlook.fenced = f->fenced;
    f->outlook.fenced_data = f->data;

    if (!f->outlook.running) {
        memset(&f->groups, 0, sizeof(prd_ballot_t));
    }

    prd_forecaster_sizes(view);
    prd_outlook_close(&view->outlook, &f->outlook, zone->last * PRD_BIN_S,
                      end_s, t->learning, prd_forecaster_group_vote, &ballot);

    memset(&f->tracks, 0, sizeof(prd_ballot_t));
    prd_outlook_close_tracks(&view->outlook, &f->outlook, end_s,
                             (uint32_t) t->horizon_s,
                             prd_forecaster_track_vote, &ballot);
    prd_outlook_look_ahead(&view->outlook, end_s, (uint32_t) t->horizon_s,
                           prd_forecaster_track_vote, prd_forecaster_ahead,
                           &ballot);

    classes = &view->outlook.outlook->classes;
    prd_class_turn(classes, end_s, zone->classes);

    for (i = 1; i < PRD_CLASSES; i++) {

        if (atomic_load_explicit(&zone->classes[i], memory_order_relaxed)
            == 0)
        {
            continue;
        }

        n = prd_zone_sum(zone, offsetof(prd_worker_t, class_n)
                               + i * sizeof(uint64_t));

        if (n == zone->class_n_seen[i]) {
            continue;
        }

        cost = prd_zone_sum(zone, offsetof(prd_worker_t, class_cost)
                                  + i * sizeof(uint64_t));

        tokens = (double) (cost - zone->class_cost_seen[i]) / policy->unit;

        prd_class_add(classes, i, tokens);
        prd_outlook_cost(&view->outlook, i,
                         (float) (tokens
                                  / (double) (n - zone->class_n_seen[i])));

        zone->class_n_seen[i] = n;
        zone->class_cost_seen[i] = cost;
    }
}


/* Responses of the bin that is over, by their sizes. */

static void
prd_forecaster_sizes(prd_view_t *view)
{
    uint32_t     i;
    uint64_t     n, grown[PRD_SIZES], group_grown[PRD_GROUPS];
    prd_zone_t  *zone;

    zone = view->zone;

    for (i = 0; i < PRD_SIZES; i++) {
        n = prd_zone_sum(zone, offsetof(prd_worker_t, size)
                               + i * sizeof(uint64_t));
        grown[i] = n - zone->size_seen[i];
        zone->size_seen[i] = n;
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        n = prd_zone_sum(zone, offsetof(prd_worker_t, group_size)
                               + i * sizeof(uint64_t));
        group_grown[i] = n - zone->group_size_seen[i];
        zone->group_size_seen[i] = n;
    }

    prd_outlook_sizes(&view->outlook, grown, group_grown, zone->pooled.cost);
}


/*
 * The zone's mean cost of a request: what newcomers hold, and the unit of the
 * least depth.  The first one known moves the priors too, which are stated for
 * requests of cost 1.
 */

void
prd_forecaster_cost(prd_view_t *view, const prd_policy_t *policy)
{
    double         cost;
    prd_zone_t    *zone;
    prd_pooled_t  *p;

    zone = view->zone;
    p = &zone->pooled;

    if (zone->requests <= 0) {
        return;
    }

    cost = zone->tokens / zone->requests;

    if (!zone->costed) {
        zone->costed = 1;
        p->mu += log2(cost);
        p->mu_rate += log2(cost);
    }

    p->cost = cost;

    atomic_store_explicit(&zone->hold,
                          (uint32_t) prd_min(cost * policy->unit + 0.5, 4e9),
                          memory_order_relaxed);

    /* a memory of the last million requests or so */

    if (zone->requests > 1e6) {
        zone->requests *= 0.5;
        zone->tokens *= 0.5;
    }
}


/* The zone as a whole: what was forecast against what came. */

void
prd_forecaster_series(prd_view_t *view, double end_s, uint32_t now_ms)
{
    double        actual, refused, ratio, upper, tau, tokens, rejected;
    prd_zone_t   *zone;
    uint32_t      at, last;
    prd_point_t   p, q;

    zone = view->zone;
    tau = 0.95;

    tokens = (double) prd_zone_count(view, PRD_CNT_COST_MILLI) / 1000;
    rejected = (double) (prd_zone_count(view, PRD_CNT_REJECTED)
                         + prd_zone_count(view, PRD_CNT_REJECTED_DRY_RUN));

    actual = (tokens - zone->bin_tokens) / PRD_BIN_S;
    refused = (rejected - zone->bin_rejected) / PRD_BIN_S;

    zone->bin_tokens = tokens;
    zone->bin_rejected = rejected;

    (void) atomic_fetch_or(&zone->series_seq, 1);
    atomic_thread_fence(memory_order_release);

    at = zone->series_at;
    upper = zone->level * zone->ratio;

    p.start_s = (uint64_t) (end_s - PRD_BIN_S);
    p.actual = (float) actual;
    p.refused = (float) refused;
    p.forecast = (float) zone->level;
    p.upper = (float) upper;
    p.active = (float) atomic_load(&zone->active);
    p.fill = (float) prd_pool_level(atomic_load_explicit(&zone->pool,
                                    memory_order_relaxed), now_ms)
             / PRD_POOL_FULL;

    prd_words_write(&zone->series[at], &p, sizeof(prd_point_t));
    zone->series_at = (at + 1) % PRD_SERIES;

    /* the last long point is open: means of the bins so far */

    at = zone->series_long_at;
    last = (at + PRD_SERIES_LONG - 1) % PRD_SERIES_LONG;
    q = zone->series_long[last];

    if (zone->long_n == 0
        || p.start_s / PRD_SERIES_LONG_S != q.start_s / PRD_SERIES_LONG_S)
    {
        prd_words_write(&zone->series_long[at], &p, sizeof(prd_point_t));
        zone->series_long_at = (at + 1) % PRD_SERIES_LONG;
        zone->long_n = 1;

    } else {
        zone->long_n++;
        q.actual += (p.actual - q.actual) / (float) zone->long_n;
        q.refused += (p.refused - q.refused) / (float) zone->long_n;
        q.active += (p.active - q.active) / (float) zone->long_n;
        q.fill = prd_min(q.fill, p.fill);
        prd_words_write(&zone->series_long[last], &q, sizeof(prd_point_t));
    }

    (void) atomic_fetch_add_explicit(&zone->series_seq, 1,
                                     memory_order_release);

    /*
     * Exponential smoothing, and the quantile of actual / level by a
     * stochastic step on the pinball loss.
     */

    if (zone->level > 0) {
        zone->pinball += actual >= upper ? tau * (actual - upper)
                                         : (1 - tau) * (upper - actual);
        zone->pinball_last += actual >= zone->last
                              ? tau * (actual - zone->last)
                              : (1 - tau) * (zone->last - actual);
        zone->pinball_n++;
        zone->covered += actual <= upper;

        ratio = actual / zone->level;
        zone->ratio *= ratio > zone->ratio ? 1 + 0.05 * tau
                                           : 1 - 0.05 * (1 - tau);
        zone->ratio = prd_max(prd_min(zone->ratio, 1e3), 1e-3);
        zone->level += PRD_LEVEL_GAIN * (actual - zone->level);

    } else {
        zone->level = actual;
        zone->ratio = 1.5;
    }

    zone->last = actual;
}
