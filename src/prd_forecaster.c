
/*
 * The round of learning.  Once a second: class surge, newcomers' envelope.
 * At the end of a bin: every client with demand in it has its block closed
 * and its envelope published.  A client's hour counts for trust when
 * it ends, and is closed with the client's first block in a later one.
 *
 * Everything a round leaves behind is either a single store or safe to do
 * again, so that a thread killed inside a round costs at most one bin's
 * votes: counters are taken by exchange, and a bin is marked closed first.
 */


#include <math.h>

#include "prd_forecaster.h"


#define PRD_VOTES_PER_BIN   4         /* of the clients of one newcomer key */
#define PRD_IDLE_MS         (20u * 24 * 3600 * 1000)
#define PRD_SURGE_FAST_S    30.0
#define PRD_SURGE_SLOW_S    86400.0
#define PRD_SURGE_RATIO     3.0
#define PRD_SURGE_SHARE     0.05      /* of the capacity */
#define PRD_SURGE_MOST      0.7       /* of all classes: the site itself */
#define PRD_LEVEL_GAIN      0.3
#define PRD_FENCE_EVERY     1024      /* buckets */
#define PRD_FETCH           8         /* clients at a time */


/* A client of a bin that is closed. */

typedef struct {
    uint64_t  tag;
    uint64_t  env;
    uint64_t  demand;
    uint64_t  counts;
    uint32_t  slot;
    float     peak;                   /* tokens wanted; 0: teaches nothing */
} prd_forecaster_one_t;


static void prd_forecaster_terms(const prd_view_t *view,
    const prd_policy_t *policy, double now_s, prd_envelope_terms_t *t);
static void prd_forecaster_refresh(prd_view_t *view, uint32_t now_ms);
static void prd_forecaster_surge(prd_view_t *view,
    const prd_policy_t *policy, double dt_s, uint32_t now_ms);
static prd_rc_t prd_forecaster_bin(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, const prd_envelope_terms_t *t, double end_s,
    uint32_t now_ms);
static uint32_t prd_forecaster_take(prd_view_t *view,
    prd_forecaster_one_t *one);
static void prd_forecaster_client(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, prd_envelope_terms_t *t,
    prd_forecaster_one_t *one, double end_s);
static prd_rc_t prd_forecaster_hour(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s);
static void prd_forecaster_cost(prd_view_t *view,
    const prd_policy_t *policy);
static void prd_forecaster_series(prd_view_t *view, double end_s,
    uint32_t now_ms);
static void prd_forecaster_outlook(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, const prd_envelope_terms_t *t,
    uint64_t end_s);
static void prd_forecaster_sizes(prd_view_t *view);
static void prd_forecaster_top(prd_forecaster_t *f, prd_top_e by,
    const prd_top_t *top);


static void
prd_forecaster_terms(const prd_view_t *view, const prd_policy_t *policy,
    double now_s, prd_envelope_terms_t *t)
{
    t->alpha = 1 - policy->params.confidence_ppm / 1e6;
    t->horizon_s = prd_max(policy->params.horizon_s, PRD_BIN_S);
    t->learning = now_s < (double) view->zone->learn_since_s
                          + policy->params.warmup_s;

    /* where a key is worth its own habit alone, it grows by the day */

    t->young = !policy->params.floor_none;
    t->ahead = 0;
    t->phase_s = 0;
}


prd_rc_t
prd_forecaster_round(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, double now_s, uint32_t now_ms)
{
    double                dt;
    uint64_t              bin, was, epoch;
    uint32_t              unit;
    prd_rc_t              rc;
    prd_zone_t           *zone;
    prd_pooled_t         *p;
    prd_envelope_terms_t  t;

    zone = view->zone;
    p = &zone->pooled;
    unit = policy->unit;

    bin = (uint64_t) (now_s / PRD_BIN_S);

    if (zone->tick_s == 0) {
        zone->tick_s = now_s;
        atomic_store(&zone->bin, bin);
    }

    prd_forecaster_terms(view, policy, now_s, &t);
    f->outlook.network = policy->params.network;

    /*
     * A step forward closes the open bin once.  A step back closes nothing:
     * the open bin goes on under the time that it is now.
     */

    was = atomic_load(&zone->bin);

    if (bin < was) {
        atomic_store(&zone->bin, bin);

    } else if (bin > was) {
        atomic_store(&zone->bin, bin);

        rc = prd_forecaster_bin(f, view, policy, &t,
                                (double) (was + 1) * PRD_BIN_S, now_ms);
        if (rc != PRD_OK) {
            return rc;
        }

        if (policy->charged) {
            prd_forecaster_cost(view, policy);
        }

        prd_forecaster_series(view, (double) (was + 1) * PRD_BIN_S, now_ms);
        prd_forecaster_outlook(f, view, policy, &t, (was + 1) * PRD_BIN_S);
    }

    prd_outlook_step(&view->outlook, &f->outlook, (uint64_t) now_s,
                     t.learning);

    epoch = (uint64_t) (now_s / PRD_EPOCH_S);

    if (epoch < atomic_load(&zone->epoch)) {
        atomic_store(&zone->epoch, epoch);

    } else if (epoch > atomic_load(&zone->epoch)) {

        rc = prd_forecaster_hour(f, view, policy, (uint64_t) now_s);

        if (rc != PRD_OK) {
            return rc;
        }

        atomic_store(&zone->epoch, epoch);
    }

    dt = now_s - zone->tick_s;

    if (policy->pool.capacity && dt > 0) {
        prd_forecaster_surge(view, policy, dt, now_ms);
    }

    zone->tick_s = now_s;

    prd_forecaster_refresh(view, now_ms);

    prd_pooled_newcomer(p, &t, now_s);

    atomic_store_explicit(&zone->newcomer, prd_env(0, 0,
        prd_env_encode((uint64_t) prd_min(p->newcomer_r * PRD_RATE_ONE, 1e18)),
        prd_env_encode((uint64_t) prd_min(p->newcomer_b * unit, 4e9))),
        memory_order_relaxed);

    atomic_store_explicit(&zone->warm, !t.learning, memory_order_relaxed);
    atomic_store_explicit(&zone->last_tick_s, (uint64_t) now_s,
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&zone->ticks, 1, memory_order_relaxed);

    return PRD_OK;
}


/*
 * Buckets of the zone's own are never forgotten idle as a client's are: their
 * times are brought forward before they look as if they were ahead.
 */

static void
prd_forecaster_refresh(prd_view_t *view, uint32_t now_ms)
{
    int            i;
    uint64_t       word;
    prd_word_t    *words[2];
    prd_entry_t   *e;
    const int32_t  idle_ms = 3600 * 1000;

    word = atomic_load(&view->zone->pool);

    if ((int32_t) (now_ms - prd_word_ms(word)) > idle_ms
        || (int32_t) (now_ms - prd_word_ms(word)) < -idle_ms)
    {
        (void) atomic_compare_exchange_strong(&view->zone->pool, &word,
                   prd_word(now_ms, PRD_POOL_FULL));
    }

    e = &view->table.entries[prd_zone_slots(view)];
    words[0] = &e->state;
    words[1] = &e->virtual_;

    for (i = 0; i < 2; i++) {
        word = atomic_load(words[i]);

        if ((int32_t) (now_ms - prd_word_ms(word)) > idle_ms
            || (int32_t) (now_ms - prd_word_ms(word)) < -idle_ms)
        {
            (void) atomic_compare_exchange_strong(words[i], &word,
                                                  prd_word(now_ms, 0));
        }
    }
}


/*
 * A class whose newcomers ask for more than three times their habit pays
 * first: rho = F / (3 S + 0.05 C), F and S weighted rates with time constants
 * of 30 s and a day.  Never for a class that is most of the traffic anyway.
 */

static void
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


/* May this client vote?  Clients of one newcomer key share four votes a bin. */

static int
prd_forecaster_vote(prd_ballot_t *f, uint32_t parent)
{
    uint32_t  i, n;

    if (parent == 0) {
        return 1;
    }

    i = parent * 0x9e3779b1u >> 20;

    for (n = 0; n < 16; n++, i = (i + 1) % PRD_VOTERS) {

        if (f->parent[i] == parent) {

            if (f->votes[i] >= PRD_VOTES_PER_BIN) {
                return 0;
            }

            f->votes[i]++;
            return 1;
        }

        if (f->parent[i] == 0) {
            f->parent[i] = parent;
            f->votes[i] = 1;
            return 1;
        }
    }

    /* thousands of keys in ten seconds: whoever comes late has no say */

    return 0;
}


typedef struct {
    prd_forecaster_t            *forecaster;
    prd_view_t                  *view;
    const prd_policy_t          *policy;
    const prd_envelope_terms_t  *terms;
    double                       now_s;
} prd_forecaster_pass_t;


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

static void
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

    if (!f->outlook.running) {
        memset(&f->groups, 0, sizeof(prd_ballot_t));
    }

    prd_forecaster_sizes(view);
    prd_outlook_close(&view->outlook, &f->outlook, zone->last * PRD_BIN_S,
                      end_s, t->learning, prd_forecaster_group_vote, &ballot);

    memset(f->tracks.parent, 0, sizeof(f->tracks.parent));
    prd_outlook_close_tracks(&view->outlook, &f->outlook, end_s,
                             (uint32_t) t->horizon_s,
                             prd_forecaster_track_vote, &ballot);
    prd_outlook_look_ahead(&view->outlook, end_s, (uint32_t) t->horizon_s,
                           prd_forecaster_ahead, &ballot);

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

static uint32_t
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


static prd_rc_t
prd_forecaster_bin(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, const prd_envelope_terms_t *t, double end_s,
    uint32_t now_ms)
{
    uint32_t     i, j, b, s, n, active, from, to, batch;
    uint64_t     bits, left;
    prd_zone_t  *zone;

    zone = view->zone;
    active = 0;
    batch = 0;

    f->start_s = (uint64_t) end_s - PRD_BIN_S;
    f->middle_s = (uint64_t) (end_s - PRD_BIN_S / 2);
    memset(f->blocks.parent, 0, sizeof(f->blocks.parent));
    memset(f->top_n, 0, sizeof(f->top_n));

    n = (view->table.nbuckets + 63) / 64;

    for (i = 0; i < n; i++) {

        if (i % (PRD_FENCE_EVERY / 64) == 0 && f->fenced
            && f->fenced(f->data))
        {
            /* whoever goes on finds those that were collected */

            while (batch) {
                b = f->batch[--batch] / PRD_WAYS;
                (void) atomic_fetch_or(&view->dirty[b / 64],
                                       1ull << (b % 64));
            }

            return PRD_ESTALE;
        }

        if (atomic_load_explicit(&view->dirty[i], memory_order_relaxed) == 0) {
            continue;
        }

        bits = atomic_exchange_explicit(&view->dirty[i], 0,
                                        memory_order_acquire);

        for (left = bits; left; left &= left - 1) {
            b = i * 64 + (uint32_t) __builtin_ctzll(left);

            for (j = 0; j < PRD_WAYS; j++) {
                s = b * PRD_WAYS + j;

                f->batch[batch] = s;
                batch += atomic_load_explicit(&view->table.tags[s],
                                              memory_order_relaxed)
                         != PRD_TAG_FREE;
            }
        }

        if (batch >= PRD_BATCH) {
            active += prd_forecaster_batch(f, view, policy, t, batch, end_s);
            batch = 0;
        }
    }

    active += prd_forecaster_batch(f, view, policy, t, batch, end_s);

    /*
     * A 360th of the table a bin, an hour for all of it: dead processes'
     * claims, clients idle for 20 days, and demand whose bit was lost by a
     * worker killed just before it set it.
     */

    from = atomic_load(&zone->sweep_at);
    from = from < view->table.nbuckets ? from : 0;
    to = from + view->table.nbuckets / 360 + 1;
    to = prd_min(to, view->table.nbuckets);

    for (s = from * PRD_WAYS; s < to * PRD_WAYS; s++) {

        if (atomic_load_explicit(&view->table.tags[s], memory_order_relaxed)
            != PRD_TAG_FREE
            && atomic_load_explicit(&view->table.entries[s].demand,
                                    memory_order_relaxed) != 0)
        {
            (void) atomic_fetch_or(&view->dirty[s / PRD_WAYS / 64],
                                   1ull << (s / PRD_WAYS % 64));
        }
    }

    atomic_fetch_add(&zone->freed, prd_table_sweep(&view->table, from, to,
                                                   now_ms, PRD_IDLE_MS));

    atomic_store(&zone->sweep_at, to < view->table.nbuckets ? to : 0);
    atomic_store(&zone->active, active);

    /* readers see an odd sequence while the lists change */

    (void) atomic_fetch_or(&zone->top_seq, 1);
    atomic_thread_fence(memory_order_release);
    prd_words_write(zone->top, f->top, sizeof(zone->top));

    for (i = 0; i < PRD_TOPS; i++) {
        atomic_store_explicit(&zone->top_n[i], f->top_n[i],
                              memory_order_relaxed);
    }

    (void) atomic_fetch_add_explicit(&zone->top_seq, 1, memory_order_release);

    return PRD_OK;
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

    if (atomic_load_explicit(&e->denied, memory_order_relaxed)) {
        denied = (double) atomic_exchange_explicit(&e->denied, 0,
                                            memory_order_relaxed) / unit;
        count = prd_max(count - denied, 0.0);

        /* nor does what was refused of a client whom nothing was allowed */

        peak = count > 0 ? prd_max(peak - denied, 0.0) : 0;
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
 * The zone's mean cost of a request: what newcomers hold, and the unit of the
 * least depth.  The first one known moves the priors too, which are stated for
 * requests of cost 1.
 */

static void
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


/*
 * At the full hour, when those of all clients have ended: who was active in
 * its last one has an hour more.
 */

static prd_rc_t
prd_forecaster_hour(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s)
{
    uint16_t        epoch;
    uint32_t        s, n;
    uint64_t        tag, away;
    prd_entry_t    *e;
    prd_learned_t  *l;

    n = prd_zone_slots(view);
    away = atomic_load_explicit(&f->away, memory_order_relaxed);

    for (s = 0; s < n; s++) {

        if (s % (PRD_FENCE_EVERY * PRD_WAYS) == 0 && f->fenced
            && f->fenced(f->data))
        {
            return PRD_ESTALE;
        }

        tag = atomic_load_explicit(&view->table.tags[s],
                                   memory_order_relaxed);

        /* who is learned of elsewhere may have a record here that is stale */

        if (tag == PRD_TAG_FREE || (away >> prd_node_group(tag) & 1)) {
            continue;
        }

        l = &view->learned[s];
        e = &view->table.entries[s];
        __builtin_prefetch(l + 2 * PRD_FETCH);
        epoch = (uint16_t) ((now_s + prd_phase_s(tag)) / PRD_EPOCH_S);

        if (l->count > 0 && l->epoch != epoch
            && prd_env_generation(atomic_load_explicit(&e->envelope,
                                                  memory_order_relaxed))
               == l->generation
            && prd_learned_hour_end(l, epoch) == PRD_OK)
        {
            prd_forecaster_publish(view, policy, s);

            if (f->changed) {
                f->changed(f->changed_data, s);
            }
        }
    }

    return PRD_OK;
}


/* The zone as a whole: what was forecast against what came. */

static void
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


void
prd_forecaster_flush(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, double now_s, uint32_t now_ms)
{
    prd_envelope_terms_t  t;

    prd_forecaster_terms(view, policy, now_s, &t);

    (void) prd_forecaster_bin(f, view, policy, &t, now_s, now_ms);
}
