
/*
 * A client of a bin that is over: its block is closed, its votes are counted,
 * its envelope is published, and it may be one of the zone's top clients.
 */


#include <math.h>

#include "prd_forecaster_inner.h"


#define PRD_VOTES_PER_BIN   4         /* of the clients of one newcomer key */


/* A client of a bin that is closed. */

typedef struct {
    uint64_t  tag;
    uint64_t  env;
    uint64_t  demand;
    uint64_t  counts;
    uint32_t  slot;
    float     peak;                   /* tokens wanted; 0: teaches nothing */
} prd_forecaster_one_t;


static uint32_t prd_forecaster_take(prd_view_t *view,
    prd_forecaster_one_t *one);
static void prd_forecaster_client(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, prd_envelope_terms_t *t,
    prd_forecaster_one_t *one, double end_s);
static void prd_forecaster_top(prd_forecaster_t *f, prd_top_e by,
    const prd_top_t *top);


/*
 * A block in which `wanted` tokens came and some were refused: by a limit
 * that was the baseline, or more, and was wanted all through the block?  Then
 * the client is known for no less than the baseline, also where it is worth
 * its own habit alone (floor=none): learning from what was admitted must not
 * take that from it.
 */

static void
prd_forecaster_hold_to(prd_learned_t *l, const prd_view_t *view,
    const prd_policy_t *policy, uint64_t env, double wanted)
{
    double  rate;

    rate = (double) policy->params.rate;

    if (rate == 0 || wanted * PRD_RATE_ONE < rate * PRD_BIN_S) {
        return;
    }

    if (policy->params.learn == PRD_LEARN_ON
        && atomic_load_explicit(&view->zone->warm, memory_order_relaxed)
        && prd_env_trust(env)
        && prd_env_rate_code(env) < prd_env_encode(policy->params.rate))
    {
        return;
    }

    l->held = 1;
}


/* `peak`: what was wanted in the block that is over */

static void
prd_forecaster_publish_after(prd_view_t *view, const prd_policy_t *policy,
    uint32_t slot, float peak)
{
    double          unit, rate;
    uint64_t        env, next;
    prd_entry_t    *e;
    prd_learned_t  *l;

    e = &view->table.entries[slot];
    l = &view->learned[slot];
    unit = policy->unit;
    rate = l->rate * 1e9;

    if (l->held && policy->params.floor_none) {
        rate = prd_max(rate, (double) policy->params.rate);
    }

    env = atomic_load_explicit(&e->envelope, memory_order_relaxed);

    if (prd_env_generation(env) != l->generation) {
        return;                       /* the slot has a new client */
    }

    next = prd_env(l->generation, prd_learned_trust(l, peak),
                   prd_env_encode((uint64_t) (int64_t) prd_min(rate, 1e18)),
                   prd_max(prd_env_encode((uint64_t) (int64_t)
                                          prd_min(l->depth * unit, 4e9)), 1));

    if (atomic_compare_exchange_strong(&e->envelope, &env, next)) {
        atomic_store_explicit(&e->hours, l->hours, memory_order_relaxed);
    }
}


void
prd_forecaster_publish(prd_view_t *view, const prd_policy_t *policy,
    uint32_t slot)
{
    prd_forecaster_publish_after(view, policy, slot, 0);
}


int
prd_forecaster_vote(prd_ballot_t *f, uint32_t parent)
{
    uint8_t  *votes;

    if (parent == 0) {
        return 1;
    }

    votes = &f->votes[(parent * 0x9e3779b1u >> 8) % PRD_VOTERS];

    return *votes < PRD_VOTES_PER_BIN && ++*votes;
}


/*
 * Clients lie all over the memory, and so do their records and tracks: what
 * those from `at` on need is on its way while others are closed.
 */

static void
prd_forecaster_fetch(prd_forecaster_t *f, prd_view_t *view, uint32_t at,
    uint32_t n)
{
    uint32_t  i, s;

    for (i = at; i < at + PRD_FETCH && i < n; i++) {
        __builtin_prefetch(&view->table.entries[f->batch[i]], 1);
    }

    if (at < PRD_FETCH) {
        return;
    }

    for (i = at - PRD_FETCH; i < at && i < n; i++) {
        s = f->batch[i];

        /* whose bucket is dirty need not have been here */

        if (atomic_load_explicit(&view->table.entries[s].demand,
                                 memory_order_relaxed)
            == 0)
        {
            f->batch[i] = PRD_NO_SLOT;
            continue;
        }

        __builtin_prefetch(&view->learned[s], 1);
        prd_outlook_prefetch(&view->outlook, s);
    }

    if (at < 2 * PRD_FETCH) {
        return;
    }

    for (i = at - 2 * PRD_FETCH; i < at - PRD_FETCH && i < n; i++) {

        if (f->batch[i] != PRD_NO_SLOT) {
            prd_outlook_prefetch_track(&view->outlook, f->batch[i]);
        }
    }
}


/*
 * A few clients are taken one after another, learned of, and published:
 * between two locked operations a processor hardly looks ahead, and to learn
 * of a client is to wait for one logarithm after another.  Of a worker that is
 * killed in between, as many clients have lost a bin's demand.
 */

static uint32_t
prd_forecaster_few(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, prd_envelope_terms_t *t, uint32_t at,
    uint32_t n, double end_s)
{
    uint32_t              i, k;
    prd_forecaster_one_t  one[PRD_FETCH];

    k = 0;

    for (i = at; i < at + PRD_FETCH && i < n; i++) {

        if (f->batch[i] != PRD_NO_SLOT) {
            one[k].slot = f->batch[i];
            k += prd_forecaster_take(view, &one[k]);
        }
    }

    for (i = 0; i < k; i++) {
        prd_forecaster_client(f, view, policy, t, &one[i], end_s);
    }

    for (i = 0; i < k; i++) {

        if (one[i].peak > 0) {
            prd_forecaster_publish_after(view, policy, one[i].slot,
                                         one[i].peak);

            if (f->changed) {
                f->changed(f->changed_data, one[i].slot);
            }
        }
    }

    return k;
}


/* How many of them were active. */

uint32_t
prd_forecaster_batch(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, const prd_envelope_terms_t *t, uint32_t n,
    double end_s)
{
    uint32_t              i, active;
    prd_envelope_terms_t  terms;

    terms = *t;
    active = 0;

    for (i = 0; i < n + 3 * PRD_FETCH; i += PRD_FETCH) {
        prd_forecaster_fetch(f, view, i, n);

        if (i >= 3 * PRD_FETCH) {
            active += prd_forecaster_few(f, view, policy, &terms,
                                         i - 3 * PRD_FETCH, n, end_s);
        }
    }

    return active;
}


/* The mean charge of a client, level units: what its next request holds. */

static void
prd_forecaster_hold(prd_entry_t *e, double mean)
{
    double  hold;

    hold = atomic_load_explicit(&e->hold, memory_order_relaxed);
    hold = hold > 0 ? hold + 0.2 * (mean - hold) : mean;

    atomic_store_explicit(&e->hold, (uint32_t) prd_min(hold + 0.5, 4e9),
                          memory_order_relaxed);
}


/* prd_learned_forecast(); a power is worked out but once a move of z. */

static float
prd_forecaster_forecast(prd_forecaster_t *f, const prd_learned_t *l,
    const prd_pooled_t *p, const prd_envelope_terms_t *t, double now_s,
    int here)
{
    float     z;
    double    level;
    unsigned  class_;

    if (l->level <= 0) {
        return 0;
    }

    /* who was here in this bin is still in its horizon */

    if (here) {
        level = l->level;
        class_ = prd_age(l->run);

    } else {
        class_ = prd_learned_outlook(l, t, now_s, &level);
    }

    z = p->near[class_].z;

    if (f->near[class_] == 0 || f->near_z[class_] != z) {
        f->near_z[class_] = z;
        f->near[class_] = exp2f(prd_min(z, 20.0f));
    }

    return (float) (level * f->near[class_]);
}


/* What a client's slot holds of the bin, and nothing of it stays there. */

static uint32_t
prd_forecaster_take(prd_view_t *view, prd_forecaster_one_t *one)
{
    prd_entry_t  *e;

    e = &view->table.entries[one->slot];

    one->tag = atomic_load_explicit(&view->table.tags[one->slot],
                                    memory_order_acquire);

    if (one->tag == PRD_TAG_FREE || prd_tag_is_claim(one->tag)) {
        return 0;
    }

    one->env = atomic_load_explicit(&e->envelope, memory_order_relaxed);
    one->demand = atomic_exchange_explicit(&e->demand, 0,
                                           memory_order_relaxed);
    one->counts = 0;

    if (atomic_load_explicit(&e->counts, memory_order_relaxed)) {
        one->counts = atomic_exchange_explicit(&e->counts, 0,
                                               memory_order_relaxed);
    }

    return 1;
}


static inline int
prd_forecaster_is_top(const prd_forecaster_t *f, prd_top_e by, float value)
{
    return f->top_n[by] < PRD_TOP || !(value <= f->top[by][0].value);
}


static void
prd_forecaster_client(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, prd_envelope_terms_t *t,
    prd_forecaster_one_t *one, double end_s)
{
    int                 missed, vote;
    float               depth, mu;
    double              count, peak, denied, unit, cost, limited;
    uint16_t            epoch;
    uint32_t            n, refused, requests, slot;
    prd_top_t           top;
    prd_miss_t          miss;
    prd_zone_t         *zone;
    prd_entry_t        *e;
    prd_learned_t      *l;
    prd_outlook_bin_t   bin;

    zone = view->zone;
    slot = one->slot;
    e = &view->table.entries[slot];
    l = &view->learned[slot];
    unit = policy->unit;
    requests = 0;

    t->phase_s = prd_phase_s(one->tag);

    count = (double) (one->demand >> 32) / unit;
    peak = (double) (uint32_t) one->demand / unit;
    limited = (double) (uint32_t) one->counts / unit;

    /* where nodes share, the store takes it off what it has counted */

    if (view->leases == NULL
        && atomic_load_explicit(&e->denied, memory_order_relaxed))
    {
        denied = (double) atomic_exchange_explicit(&e->denied, 0,
                                            memory_order_relaxed) / unit;
        count = prd_max(count - denied, 0.0);

        /*
         * Nor does what was refused of a client whom nothing was allowed.
         * The peak has those in it that were not answered yet; without them it
         * is no more than what was allowed came to.
         */

        peak = count > 0 ? prd_max(peak - denied, prd_min(peak, count)) : 0;
    }

    if (prd_env_generation(one->env) != l->generation || l->sigma == 0) {
        prd_learned_init(l, &zone->pooled,
                         (uint16_t) prd_env_generation(one->env),
                         end_s - PRD_BIN_S);
    }

    if (policy->charged) {
        n = requests = (uint32_t) (one->counts >> 32);
        cost = count;

        /* where nodes share, the count is of all, the requests are ours */

        if (view->leases) {
            cost = (double) atomic_exchange_explicit(&e->spare, 0,
                                                 memory_order_relaxed) / unit;
        }

        if (n && cost > 0) {
            prd_forecaster_hold(e, cost / n * unit);

            zone->requests += n;
            zone->tokens += cost;
        }
    }

    n = atomic_load_explicit(&e->refused, memory_order_relaxed);

    if (peak > 0) {
        bin.slot = slot;
        bin.tag = one->tag;
        bin.generation = l->generation;
        bin.refused = n;
        bin.tokens = (float) count;
        bin.requests = policy->charged ? requests : (uint32_t) count;
        bin.start_s = f->start_s;

        depth = l->depth;
        mu = l->mu;

        vote = prd_forecaster_vote(&f->blocks, atomic_load_explicit(&e->parent,
                                                    memory_order_relaxed));

        missed = prd_learned_block(l, &zone->pooled, t, peak, vote, end_s);

        bin.blocks = l->blocks;
        bin.hours = l->hours;
        bin.vote = vote;
        bin.horizon_s = (uint32_t) t->horizon_s;

        refused = prd_outlook_count(&view->outlook, &f->outlook, &bin,
                                    &t->ahead);

        prd_learned_near(l, &zone->pooled, t, count, vote, end_s);

        /*
         * An hour is closed when its client comes back in a later one: who
         * never comes back does not say how much a client needs per hour
         * (closing all at the full hour took newcomers' rate to a sixth and
         * false throttling up by half), and no hour ends in a burst of work.
         */

        epoch = (uint16_t) ((f->middle_s + t->phase_s) / PRD_EPOCH_S);

        /* a clock that steps back by less than a day stays in its hour */

        if ((uint16_t) (l->epoch - epoch) - 1u >= 24 && l->epoch != epoch) {

            if (l->count > 0) {
                prd_learned_hour(l, &zone->pooled, t, vote, end_s);
            }

            l->epoch = epoch;
        }

        l->count = prd_min(l->count + (float) count, 1e13f);

        if (limited > 0) {
            l->limited = 1;
            prd_forecaster_hold_to(l, view, policy, one->env,
                                   count + limited);
        }

        if (missed) {
            miss.tag = one->tag;
            miss.end_s = (uint64_t) end_s;
            miss.span_s = PRD_BIN_S;
            miss.refused = refused;
            miss.actual = (float) peak;
            miss.middle = exp2f(mu);
            miss.upper = depth;
            miss.quantile = (float) (1 - t->alpha);

            prd_outlook_miss(&view->outlook, &miss);
        }
    }

    one->peak = (float) peak;

    top.tag = one->tag;
    top.rate = (float) (count / PRD_BIN_S);
    top.rejected = (float) n;
    top.forecast = prd_forecaster_forecast(f, l, &zone->pooled, t, end_s,
                                           peak > 0);

    if (prd_forecaster_is_top(f, PRD_TOP_RATE, top.rate)) {
        top.value = top.rate;
        prd_forecaster_top(f, PRD_TOP_RATE, &top);
    }

    if (prd_forecaster_is_top(f, PRD_TOP_FORECAST, top.forecast)) {
        top.value = top.forecast;
        prd_forecaster_top(f, PRD_TOP_FORECAST, &top);
    }

    if (n && prd_forecaster_is_top(f, PRD_TOP_REJECTED, top.rejected)) {
        top.value = top.rejected;
        prd_forecaster_top(f, PRD_TOP_REJECTED, &top);
    }
}


/*
 * A bounded list, kept as a heap with its least value on top, for one that
 * prd_forecaster_is_top().
 */

static void
prd_forecaster_top(prd_forecaster_t *f, prd_top_e by, const prd_top_t *top)
{
    uint32_t    i, c, n;
    prd_top_t  *h;

    h = f->top[by];
    n = f->top_n[by];

    if (n == PRD_TOP) {

        for (i = 0; (c = 2 * i + 1) < n; i = c) {
            c += c + 1 < n && h[c + 1].value < h[c].value;

            if (h[c].value >= top->value) {
                break;
            }

            h[i] = h[c];
        }

        h[i] = *top;
        return;
    }

    for (i = f->top_n[by]++; i && h[(i - 1) / 2].value > top->value;
         i = (i - 1) / 2)
    {
        h[i] = h[(i - 1) / 2];
    }

    h[i] = *top;
}
