
/*
 * What is told to the store and what it says: entries of batches, made of a
 * key's words; how many tokens to ask for; and the look at a key when its time
 * has come, which renews its lease, returns tokens and reports demand.
 */


#include "prd_lease_inner.h"


#define PRD_LEASE_TAU_MS     8000     /* of the pace */
#define PRD_LEASE_AHEAD_S    2        /* a grant lasts for that long, */
#define PRD_LEASE_PLENTY_S   4        /* for that long where the bucket is */
                                      /* less than a quarter full with it, */
#define PRD_LEASE_SPARE      3        /* and some requests longer */
#define PRD_LEASE_REPORT_MS  2000     /* what was spent is told by then */
#define PRD_LEASE_TIGHT_MS   100      /* unused for that long while the */
                                      /* bucket is low: given back */
#define PRD_LEASE_WATCH_MS   1500     /* a watcher may be late by that */


/*
 * What a bucket that refuses nothing drains at and ends at; see
 * prd_decide_demand().
 */

static void
prd_lease_backlog(const prd_view_t *view, uint32_t slot, double *drain,
    uint32_t *most)
{
    uint64_t  env, depth;
    double    unit;

    env = prd_lease_load(&view->table.entries[slot].envelope);

    if (prd_env_depth_code(env) == 0) {
        env = prd_lease_load(&view->zone->newcomer);
    }

    unit = view->table.unit == PRD_MILLI ? 1e9 : 1e12;
    *drain = (double) prd_env_decode(prd_env_rate_code(env)) / unit;
    *most = UINT32_MAX;

    if (prd_lease_load32(&view->zone->warm)) {
        depth = 2 * prd_env_decode(prd_env_depth_code(env));
        *most = (uint32_t) prd_min(depth, UINT32_MAX);
    }
}


static void
prd_lease_due_terms(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key, prd_due_t *due)
{
    uint64_t     k, most, x;
    prd_terms_t  t;

    prd_lease_terms(view, policy, ask, answer, key, &t);

    due->slot = prd_lease_slot(answer, key);
    due->tag = prd_lease_tag(ask, key);
    due->generation = prd_env_generation(prd_lease_load(
                          &view->table.entries[due->slot].envelope));

    /* the comparisons of prd_bucket_judge(), as one */

    k = prd_min(t.m, PRD_ONE_Q16);
    most = k * prd_max(t.free, t.limit) >> 16;

    if (t.m == PRD_M_INF) {
        most = UINT32_MAX;

    } else if (t.m > PRD_ONE_Q16) {
        x = (uint64_t) t.m * t.depth >> 16;
        most = prd_max(most, x);
    }

    if (k == PRD_ONE_Q16 && answer->cost > t.depth) {
        most = prd_max(most, answer->cost);
    }

    due->most = (uint32_t) prd_min(most, UINT32_MAX);
    due->free = (uint32_t) (k * t.free >> 16);
    due->debt_most = t.debt;
    due->quantum = answer->cost ? answer->cost : t.unit;
    due->drain = (double) t.rate * t.speed / PRD_ONE_Q16
                 / (t.unit == PRD_MILLI ? 1e9 : 1e12);

    due->strict = (policy->params.sync == PRD_SYNC_STRICT);

    prd_lease_backlog(view, due->slot, &due->backlog_drain,
                      &due->backlog_most);
}


void
prd_lease_due(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key, prd_due_t *due)
{
    prd_lease_due_terms(view, policy, ask, answer, key, due);

    due->at_ms = ask->now_ms;
    due->watched = 0;

    answer->due &= (uint8_t) ~key;
}


/*
 * Tokens to have in hand for a key of this pace, 1/1000 token a second: what
 * it needs until a renewal
 * has surely come, and a few more, since requests come in no even order.  Who
 * comes less than every seven seconds is asked for each time.
 */

static uint32_t
prd_lease_want(uint32_t pace, uint32_t held, uint32_t quantum, uint32_t unit,
    unsigned ahead_s)
{
    uint64_t  n;

    quantum = quantum ? quantum : 1;

    if ((uint64_t) pace * 20 * unit < (uint64_t) quantum * 3 * PRD_MILLI) {
        return 0;
    }

    n = (uint64_t) pace * ahead_s * unit / PRD_MILLI
        + (uint64_t) quantum * PRD_LEASE_SPARE;
    n += quantum - 1;
    n -= n % quantum;
    n = prd_min(n, UINT32_MAX / 2);

    return n > held ? (uint32_t) n - held : 0;
}


/* How long a key of this pace may leave its tokens alone. */

static uint32_t
prd_lease_idle(uint32_t pace, uint32_t quantum, uint32_t unit)
{
    uint64_t  ms;

    ms = pace ? (uint64_t) quantum * PRD_MILLI / unit * 7000 / pace
              : PRD_LEASE_IDLE_MS;
    ms = prd_max(ms, PRD_LEASE_IDLE_MS);

    return (uint32_t) prd_min(ms, PRD_LEASE_IDLE_MOST);
}


/*
 * An entry from what the words say; takes counts and debt out of them.
 * `cost` is this request's, for the pace; leaving: nobody will hear the answer.
 */

static void
prd_lease_fill(prd_view_t *view, const prd_due_t *due, uint32_t cost,
    uint32_t now_ms, unsigned leaving, prd_lease_request_t *req)
{
    double        x;
    int64_t       pace;
    uint32_t      dt, denied;
    uint64_t      work, refused, word, was;
    prd_entry_t  *e;
    prd_lease_t  *l;

    e = &view->table.entries[due->slot];
    l = &view->leases[due->slot];

    memset(req, 0, sizeof(prd_lease_request_t));

    work = prd_lease_take(&l->work);
    refused = prd_lease_take(&l->refused);
    req->debt = prd_word_level(prd_lease_take(&l->debt));

    if (!leaving) {
        prd_lease_fly(l, req->debt, 1, now_ms);
        req->flies = 1;
    }

    word = prd_lease_load(&l->pace);

    do {
        was = word;
        dt = prd_word_ms(was) ? prd_elapsed(prd_word_ms(was), now_ms) : 0;
        dt = prd_min(dt, 3600 * 1000);
        pace = prd_word_level(was);
        pace += (((int64_t) (work >> 32) + cost) * 1000
                 * (PRD_MILLI / view->table.unit) - pace * (int64_t) dt)
                / (int64_t) (dt + PRD_LEASE_TAU_MS);
        pace = prd_max(pace, 0);
        pace = prd_min(pace, INT32_MAX);

    } while (!prd_lease_swap(&l->pace, &word, prd_word(now_ms | 1, pace)));

    req->admitted = (uint32_t) (work >> 32);

    /*
     * What was answered 401 or 403 teaches nothing, wherever it was counted:
     * the store had counted what it was asked before anybody knew.
     */

    if (prd_lease_load32(&e->denied)) {
        denied = atomic_exchange_explicit(&e->denied, 0,
                                          memory_order_relaxed);
        req->denied = denied & PRD_LEASE_DENIED;
        req->flags = denied & PRD_LEASE_CLIPPED ? PRD_LEASE_F_CLIPPED : 0;
    }

    req->refused_cost = (uint32_t) (refused >> 32);
    req->uncounted = (uint32_t) refused;
    req->peak = (uint32_t) work;

    word = prd_lease_load(&e->virtual_);
    x = prd_word_level(word)
        - due->backlog_drain * prd_elapsed(prd_word_ms(word), now_ms);
    req->backlog = x > 0 ? (uint32_t) x : 0;

    req->version = atomic_load_explicit(&l->version, memory_order_relaxed);
    req->most = due->most;
    req->free = due->free;
    req->debt_most = due->debt_most;
    req->quantum = due->quantum;
    req->backlog_most = due->backlog_most;
    req->drain = due->drain;
    req->backlog_drain = due->backlog_drain;

    req->tag = due->tag;
    req->slot = due->slot;
    req->generation = due->generation;
    req->asked_ms = now_ms;
    req->strict = due->strict;
}


void
prd_lease_ask(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key,
    prd_lease_request_t *req)
{
    uint32_t      held, pace;
    prd_due_t     due;
    prd_lease_t  *l;

    prd_lease_due_terms(view, policy, ask, answer, key, &due);
    l = prd_lease_open(view, due.slot);

    prd_lease_fill(view, &due, answer->cost, ask->now_ms, 0, req);

    req->flags |= PRD_LEASE_F_ASK;
    answer->told |= (uint8_t) key;

    if (answer->again & key) {
        req->flags |= PRD_LEASE_F_AGAIN;
    }

    req->cost = answer->cost;

    if (answer->mode == PRD_LEASE_LEASE && answer->cost) {
        held = prd_lease_in_hand(l, ask->now_ms);
        pace = prd_word_level(prd_lease_load(&l->pace));

        req->want = prd_lease_want(pace, held, due.quantum, view->table.unit,
                                   PRD_LEASE_AHEAD_S);

        if (req->want) {
            req->flags |= PRD_LEASE_F_WANT;
        }
    }

    prd_zone_add(view, PRD_CNT_LEASE_ASKS, key == PRD_LEASE_CLIENT);
}


/* Its debt is not under way any more. */

static void
prd_lease_land(prd_lease_t *l, const prd_lease_request_t *req)
{
    if (req->flies) {
        prd_lease_fly(l, req->debt, -1, req->asked_ms);
    }
}


unsigned
prd_lease_hear(prd_view_t *view, const prd_lease_request_t *req,
    const prd_lease_reply_t *reply, uint32_t now_ms)
{
    double        x;
    unsigned      newer, overtaken;
    uint32_t      grant, held, seen, denied;
    uint64_t      env, word, v, level, owed;
    prd_entry_t  *e;
    prd_lease_t  *l;

    e = &view->table.entries[req->slot];
    l = &view->leases[req->slot];
    newer = reply->envelope && reply->version != req->version;

    if (reply->envelope
        && reply->version != atomic_load_explicit(&l->version,
                                                  memory_order_relaxed))
    {
        env = prd_lease_load(&e->envelope);

        while (prd_env_generation(env) == req->generation
               && !prd_lease_swap(&e->envelope, &env,
                                  (uint64_t) req->generation << 48
                                  | (reply->envelope & 0xffffffffffffull)))
        {
            /* void */
        }

        atomic_store_explicit(&l->version, reply->version,
                              memory_order_relaxed);
    }

    grant = 0;

    if (req->flags & PRD_LEASE_F_WANT) {
        grant = prd_min(reply->grant, req->want);
        prd_lease_hold(view, l, grant, now_ms);
        prd_lease_count(view, PRD_CNT_LEASE_DEBITED, grant);

        /* renewed when half of this is gone */
        prd_lease_granted(l, prd_lease_in_hand(l, now_ms));
    }

    seen = prd_lease_load32(&l->seen_ms);
    overtaken = seen && (int32_t) ((req->asked_ms | 1) - seen) < 0;

    if (!overtaken) {
        prd_lease_store32(&l->seen_ms, req->asked_ms | 1);
    }

    /*
     * The backlog: of all nodes, with what was not reported yet.  What a node
     * has had in it and others denied since is gone from it, too; of an answer
     * that was overtaken it is not known what is.
     */

    v = (uint64_t) reply->backlog + (prd_lease_load(&l->work) >> 32)
        + (prd_lease_load(&l->refused) >> 32);
    denied = prd_lease_load32(&e->denied);
    v -= denied & PRD_LEASE_CLIPPED ? 0 : prd_min(v, denied);
    v = prd_min(v, req->backlog_most);

    word = prd_lease_load(&e->virtual_);

    do {
        x = prd_word_level(word)
            - req->backlog_drain * prd_elapsed(prd_word_ms(word), now_ms);
        level = overtaken && x > v ? (uint64_t) x : v;
        level = prd_min(level, req->backlog_most);

    } while (!prd_lease_swap(&e->virtual_, &word, prd_word(now_ms, level)));

    /*
     * The estimate: what the store has, without what is in hand, and with
     * what it does not know of, or may not have known of.  A plain store: a
     * charge lost between the loads and here is one request, until the next
     * reply.
     */

    prd_lease_land(l, req);

    held = prd_lease_in_hand(l, now_ms);
    owed = (uint64_t) prd_word_level(prd_lease_load(&l->debt))
           + prd_lease_flying(l, now_ms);

    level = reply->level > held ? reply->level - held : 0;

    if (req->strict) {

        /*
         * It decides only what the store is late with.  Then all nodes may do
         * the same as this one: what the store has not heard of counts once
         * for each.  And of two workers' replies the one that was asked for
         * earlier tells of no less than the other.
         */

        owed *= prd_lease_nodes(view);
        level = prd_min(level + owed, UINT32_MAX);

        if (overtaken) {
            word = prd_lease_load(&e->state);
            x = prd_word_level(word)
                - req->drain * prd_elapsed(prd_word_ms(word), now_ms);

            if (x > level) {
                return newer;
            }
        }

        atomic_store_explicit(&e->state, prd_word(now_ms, level),
                              memory_order_relaxed);

        return newer;
    }

    level = prd_min(level + owed, UINT32_MAX);

    atomic_store_explicit(&e->state, prd_word(now_ms, level),
                          memory_order_relaxed);

    return newer;
}


void
prd_lease_restore(prd_view_t *view, const prd_lease_request_t *req,
    unsigned sent, uint32_t now_ms)
{
    uint32_t      denied;
    prd_lease_t  *l;

    if (!prd_lease_mine(view, req->slot, req->tag, req->generation)) {
        return;
    }

    if (sent == PRD_LEASE_LATE) {
        return;
    }

    l = &view->leases[req->slot];

    prd_lease_land(l, req);

    /* a debt that may have been reported is reported again: never forgotten */

    prd_lease_owe(l, req->debt, 0, view->table.unit, now_ms);

    /*
     * Nor is what was denied, unless it was denied of what is lost with it:
     * if both were told, twice would be taken from what others ask for.
     */

    denied = req->denied;

    if (sent) {
        denied -= prd_min(denied, req->admitted);
    }

    if (denied) {
        prd_lease_deny_later(view, req->slot, denied,
                             req->flags & PRD_LEASE_F_CLIPPED);
    }

    if (sent) {
        return;
    }

    if (req->returned) {
        prd_lease_hold(view, l, req->returned, now_ms);
        prd_lease_count(view, PRD_CNT_LEASE_REFUNDED, req->returned);
    }

    if (req->admitted || req->peak) {
        prd_lease_work(l, req->admitted, req->peak);
    }

    prd_lease_note_refused(l, req->refused_cost, req->uncounted);
}


/* Somebody must look after a key again: an item from what was asked. */

static void
prd_lease_revive(const prd_lease_request_t *req, uint32_t at_ms,
    prd_due_t *due)
{
    memset(due, 0, sizeof(prd_due_t));

    due->tag = req->tag;
    due->slot = req->slot;
    due->generation = req->generation;
    due->at_ms = at_ms;
    due->most = req->most;
    due->free = req->free;
    due->debt_most = req->debt_most;
    due->quantum = req->quantum;
    due->backlog_most = req->backlog_most;
    due->drain = req->drain;
    due->backlog_drain = req->backlog_drain;
    due->strict = req->strict;
}


prd_rc_t
prd_lease_drop(prd_view_t *view, const prd_lease_request_t *req,
    unsigned sent, uint32_t now_ms, prd_due_t *due)
{
    uint32_t      watch;
    prd_lease_t  *l;

    prd_lease_restore(view, req, sent, now_ms);

    if (sent == PRD_LEASE_LATE
        || !prd_lease_mine(view, req->slot, req->tag, req->generation)
        || (req->debt == 0 && !prd_lease_seen(view, req->slot)))
    {
        return PRD_DECLINED;
    }

    l = &view->leases[req->slot];
    watch = prd_lease_load32(&l->watch_ms);

    if ((watch && (int32_t) (watch - now_ms) > 0)
        || prd_lease_queued(l, now_ms, PRD_LEASE_QUEUE_MS))
    {
        return PRD_DECLINED;
    }

    prd_lease_queue(l, now_ms | 1);
    prd_lease_revive(req, now_ms, due);

    return PRD_OK;
}


/* Does another item look after the key? */

static int
prd_lease_watched(prd_lease_t *l, const prd_due_t *due, uint32_t now_ms)
{
    uint32_t  watch;

    watch = prd_lease_load32(&l->watch_ms);

    return watch && watch != due->watched && (int32_t) (watch - now_ms) > 0;
}


/* prd_lease_keep() follows; see prd_lease_mark(). */

static void
prd_lease_unqueue(prd_lease_t *l)
{
    prd_lease_queue(l, 0);
    atomic_thread_fence(memory_order_seq_cst);
}


/* What is in hand, or what is under way, needs one that looks after it. */

static prd_rc_t
prd_lease_keep(prd_view_t *view, prd_due_t *due, uint32_t now_ms)
{
    uint32_t      ms, idle, limit;
    uint64_t      held, debt;
    prd_lease_t  *l;

    l = &view->leases[due->slot];

    if (prd_lease_watched(l, due, now_ms)) {
        return PRD_DECLINED;
    }

    held = prd_lease_load(&l->held);
    debt = prd_lease_load(&l->debt);

    if (prd_word_level(held) == 0 && prd_word_level(debt) == 0
        && !prd_lease_seen(view, due->slot))
    {
        prd_lease_store32(&l->watch_ms, 0);

        return PRD_DECLINED;
    }

    ms = PRD_LEASE_KNOWN_MS;

    if (prd_word_level(held)) {
        idle = prd_elapsed(prd_word_ms(held), now_ms);
        limit = prd_lease_idle(prd_word_level(prd_lease_load(&l->pace)),
                               due->quantum, view->table.unit);
        limit = limit > idle && !due->strict ? limit - idle : 1;
        ms = prd_min(ms, limit);
    }

    if (prd_lease_seen(view, due->slot)) {
        idle = prd_elapsed(prd_word_ms(prd_lease_load(&l->pace)), now_ms);
        limit = idle < PRD_LEASE_REPORT_MS ? PRD_LEASE_REPORT_MS - idle : 1;
        ms = prd_min(ms, limit);
    }

    if (prd_word_level(debt)) {
        ms = 1;
    }

    due->at_ms = now_ms + ms;
    due->watched = (due->at_ms + PRD_LEASE_WATCH_MS) | 1;
    prd_lease_store32(&l->watch_ms, due->watched);

    return PRD_EAGAIN;
}


prd_rc_t
prd_lease_tick(prd_view_t *view, prd_due_t *due, uint32_t now_ms,
    unsigned leaving, prd_lease_request_t *req)
{
    double        x;
    uint32_t      have, idle, back, want, pace, estimate, age;
    uint64_t      held, word;
    unsigned      report, tight;
    prd_entry_t  *e;
    prd_lease_t  *l;

    if (!prd_lease_mine(view, due->slot, due->tag, due->generation)) {
        return PRD_DECLINED;
    }

    e = &view->table.entries[due->slot];
    l = &view->leases[due->slot];

    held = prd_lease_load(&l->held);

    for ( ;; ) {
        have = prd_word_level(held);
        idle = prd_elapsed(prd_word_ms(held), now_ms);

        if (have == 0
            || (idle <= PRD_LEASE_VOID_MS
                && !(due->strict
                     && prd_lease_gone(due->drain, held,
                                       prd_lease_load(&e->state), now_ms))))
        {
            break;
        }

        if (prd_lease_swap(&l->held, &held, 0)) {
            prd_lease_count(view, PRD_CNT_LEASE_FORFEITED, have);
            held = 0;
        }
    }

    word = prd_lease_load(&e->state);
    x = prd_word_level(word)
        - due->drain * prd_elapsed(prd_word_ms(word), now_ms);
    estimate = x > 0 ? (uint32_t) x : 0;
    tight = (uint64_t) estimate + have > due->free / 2;

    word = prd_lease_load(&l->work);
    pace = prd_word_level(prd_lease_load(&l->pace));
    age = prd_elapsed(prd_word_ms(prd_lease_load(&l->pace)), now_ms);

    report = prd_word_level(prd_lease_load(&l->debt)) != 0
             || (prd_lease_seen(view, due->slot)
                 && (leaving || age >= PRD_LEASE_REPORT_MS));

    back = 0;

    if (have && (leaving || due->strict
                 || idle >= (tight ? PRD_LEASE_TIGHT_MS
                                   : prd_lease_idle(pace, due->quantum,
                                                    view->table.unit))))
    {
        if (atomic_compare_exchange_strong_explicit(&l->held, &held,
                prd_word(prd_word_ms(held), 0),
                memory_order_relaxed, memory_order_relaxed))
        {
            back = have;
            have = 0;
            prd_lease_count(view, PRD_CNT_LEASE_RETURNED, back);
        }
    }

    /* spent since the last report, and half of the grant is gone */

    want = 0;

    if (!leaving && !due->strict && back == 0 && word >> 32
        && have <= prd_lease_grant_of(l) / 2)
    {
        want = 1;
    }

    if (!report && back == 0 && want == 0) {
        prd_lease_unqueue(l);
        return prd_lease_keep(view, due, now_ms);
    }

    prd_lease_fill(view, due, 0, now_ms, leaving, req);

    req->returned = back;

    if (want) {
        pace = prd_word_level(prd_lease_load(&l->pace));
        req->want = prd_lease_want(pace, have, due->quantum, view->table.unit,
                                   PRD_LEASE_PLENTY_S);

        if ((uint64_t) estimate + have + req->want >= due->free / 4) {
            req->want = prd_lease_want(pace, have, due->quantum,
                                       view->table.unit, PRD_LEASE_AHEAD_S);
        }

        req->flags |= req->want ? PRD_LEASE_F_WANT : 0;
    }

    /* nobody else need look while the answer is awaited */

    prd_lease_queue(l, now_ms | 1);

    if (!prd_lease_watched(l, due, now_ms)) {
        due->watched = (now_ms + 2 * PRD_LEASE_WATCH_MS) | 1;
        prd_lease_store32(&l->watch_ms, due->watched);
    }

    return PRD_OK;
}


prd_rc_t
prd_lease_wait(prd_view_t *view, const prd_due_t *due, uint32_t now_ms)
{
    if (!prd_lease_mine(view, due->slot, due->tag, due->generation)) {
        return PRD_DECLINED;
    }

    /* else the next request would take us for dead: PRD_LEASE_AWAY_MS */

    prd_lease_queue(&view->leases[due->slot], now_ms | 1);

    return PRD_EAGAIN;
}


prd_rc_t
prd_lease_answered(prd_view_t *view, prd_due_t *due,
    const prd_lease_request_t *req, const prd_lease_reply_t *reply,
    uint32_t now_ms)
{
    if (reply->status == PRD_LEASE_BAD) {
        (void) prd_lease_lost(view, due, req, 0, now_ms);
        return PRD_DECLINED;
    }

    if (!prd_lease_mine(view, req->slot, req->tag, req->generation)) {

        if (req->flags & PRD_LEASE_F_WANT) {
            prd_lease_void(view, prd_min(reply->grant, req->want));
        }

        return PRD_DECLINED;
    }

    (void) prd_lease_hear(view, req, reply, now_ms);
    prd_lease_unqueue(&view->leases[req->slot]);

    return prd_lease_keep(view, due, now_ms);
}


prd_rc_t
prd_lease_lost(prd_view_t *view, prd_due_t *due,
    const prd_lease_request_t *req, unsigned sent, uint32_t now_ms)
{
    prd_rc_t  rc;

    prd_lease_restore(view, req, sent, now_ms);

    if (!prd_lease_mine(view, req->slot, req->tag, req->generation)) {
        return PRD_DECLINED;
    }

    prd_lease_unqueue(&view->leases[req->slot]);
    rc = prd_lease_keep(view, due, now_ms);

    if (rc == PRD_EAGAIN) {
        due->at_ms = now_ms + PRD_LEASE_KNOWN_MS;
        due->watched = (due->at_ms + PRD_LEASE_WATCH_MS) | 1;
        prd_lease_store32(&view->leases[req->slot].watch_ms, due->watched);
    }

    return rc;
}


prd_rc_t
prd_lease_late(prd_view_t *view, const prd_lease_request_t *req,
    const prd_lease_reply_t *reply, unsigned admitted, uint32_t now_ms,
    prd_due_t *due)
{
    uint32_t      cost, rest, watch;
    prd_lease_t  *l;

    if (reply->status == PRD_LEASE_BAD) {
        return prd_lease_drop(view, req, PRD_LEASE_UNSENT, now_ms, due);
    }

    cost = (req->flags & PRD_LEASE_F_ASK)
           && reply->status == PRD_LEASE_ADMITTED ? req->cost : 0;

    if (!prd_lease_mine(view, req->slot, req->tag, req->generation)) {

        if (req->flags & PRD_LEASE_F_WANT) {
            prd_lease_void(view, prd_min(reply->grant, req->want));
        }

        prd_lease_void(view, admitted ? 0 : cost);

        return PRD_DECLINED;
    }

    l = &view->leases[req->slot];

    rest = cost;

    if (admitted) {
        /* it was let through as debt: not to be charged twice */
        rest -= prd_lease_unowe(l, cost);
    }

    if (req->strict
        && prd_lease_stale(req->drain, reply->level, req->asked_ms, now_ms))
    {
        prd_lease_void(view, rest);
        rest = 0;
    }

    prd_lease_hold(view, l, rest, now_ms);
    prd_lease_count(view, PRD_CNT_LEASE_DEBITED, rest);

    /*
     * The store has counted it, too.  What was not reported yet need not be;
     * of the rest the store's count goes.  (Its backlog has it twice: what is
     * decided without the store is trusted less.)
     */

    if (cost) {
        prd_lease_note_refused(l, 0, cost - (admitted
                                             ? prd_lease_unwork(l, cost) : 0));
    }

    (void) prd_lease_hear(view, req, reply, now_ms);

    watch = prd_lease_load32(&l->watch_ms);

    if (watch && (int32_t) (watch - now_ms) > 0
        && !(req->strict && prd_word_level(prd_lease_load(&l->held))))
    {
        return PRD_DECLINED;
    }

    if (prd_word_level(prd_lease_load(&l->held)) == 0) {

        if (!prd_lease_seen(view, req->slot)
            || prd_lease_queued(l, now_ms, PRD_LEASE_QUEUE_MS))
        {
            return PRD_DECLINED;
        }

        /* only to be told: when that is due, and once for a key */

        prd_lease_revive(req, now_ms + PRD_LEASE_REPORT_MS, due);
        due->watched = (due->at_ms + PRD_LEASE_WATCH_MS) | 1;
        prd_lease_store32(&l->watch_ms, due->watched);

        return PRD_OK;
    }

    /* strict: not at once; the next request may not be answered in time */

    prd_lease_revive(req, req->strict ? now_ms + 1 : now_ms, due);

    return PRD_OK;
}
