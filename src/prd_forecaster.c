
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


#include "prd_forecaster_inner.h"


#define PRD_IDLE_MS         (20u * 24 * 3600 * 1000)
#define PRD_FENCE_EVERY     128       /* buckets: some 50 us of work */


static void prd_forecaster_terms(const prd_view_t *view,
    const prd_policy_t *policy, double now_s, prd_envelope_terms_t *t);
static void prd_forecaster_refresh(prd_view_t *view, uint32_t now_ms);
static prd_rc_t prd_forecaster_bin(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, const prd_envelope_terms_t *t, double end_s,
    uint32_t now_ms);
static prd_rc_t prd_forecaster_hour(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s);


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
    memset(&f->blocks, 0, sizeof(prd_ballot_t));
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


void
prd_forecaster_resume(prd_forecaster_t *f)
{
    prd_outlook_rest(&f->outlook);
}


void
prd_forecaster_flush(prd_forecaster_t *f, prd_view_t *view,
    const prd_policy_t *policy, double now_s, uint32_t now_ms)
{
    prd_envelope_terms_t  t;

    prd_forecaster_terms(view, policy, now_s, &t);

    (void) prd_forecaster_bin(f, view, policy, &t, now_s, now_ms);
}
