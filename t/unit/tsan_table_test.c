
/*
 * Workers as threads, each with a pid of its own, and the forecasting thread,
 * on one zone: the same keys found, inserted, evicted, removed, swept, charged
 * and read at once.  Afterwards the table has no fault, no client twice, and
 * where nothing drains every level is the sum of what was admitted.
 */


#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "lab.h"
#include "prd_run.h"


#define THREADS  5
#define ROUNDS   12000


typedef struct {
    prd_view_t     view;
    prd_policy_t  *policy;
    uint32_t       id;
    uint64_t       seed;
    uint32_t       keys;
    uint32_t       now_ms;
    uint64_t       charged[512];         /* by key, level units */
    uint64_t       parents[8];
    uint32_t       removed, gone, errors, again, full, read;
    pthread_t      thread;
} worker_t;


static worker_t          worker[THREADS];
static prd_policy_t      policy;
static prd_view_t        zone;
static _Atomic int       stop;


static uint64_t
next(worker_t *w)
{
    uint64_t  z;

    z = w->seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;

    return z ^ z >> 31;
}


static int
all_alive(uint32_t pid)
{
    (void) pid;

    return 1;
}


static void
start(uint32_t clients, uint32_t keys, const char *words)
{
    uint32_t  i;

    memset(worker, 0, sizeof(worker));
    lab_policy(&policy, words);
    zone = lab_zone(&policy, clients, LAB_S, LAB_MS);
    zone.table.alive = all_alive;
    atomic_store(&stop, 0);

    for (i = 0; i < THREADS; i++) {
        prd_zone_attach(&worker[i].view, zone.zone, zone.zone->size, &policy,
                        i, 100 + i, all_alive);
        worker[i].policy = &policy;
        worker[i].id = i;
        worker[i].seed = 1000 + i;
        worker[i].keys = keys;
        worker[i].now_ms = LAB_MS;
    }
}


static void *
forecaster(void *data)
{
    double             now;
    uint32_t           n;
    prd_view_t         view;
    prd_forecaster_t  *f;

    (void) data;

    f = calloc(1, sizeof(prd_forecaster_t));
    prd_zone_attach(&view, zone.zone, zone.zone->size, &policy, 99, 4711,
                    all_alive);

    for (n = 0, now = (double) LAB_S; !atomic_load(&stop); n++) {

        /* 7 s of the log in each of these, and an hour now and then */

        now += n % 50 ? 7 : 3600;
        prd_forecaster_round(f, &view, &policy, now, LAB_MS);
        sched_yield();
    }

    free(f);

    return NULL;
}


static void
run(void *(*work)(void *))
{
    uint32_t   i;
    pthread_t  t;

    pthread_create(&t, NULL, forecaster, NULL);

    for (i = 0; i < THREADS; i++) {
        pthread_create(&worker[i].thread, NULL, work, &worker[i]);
    }

    for (i = 0; i < THREADS; i++) {
        pthread_join(worker[i].thread, NULL);
    }

    atomic_store(&stop, 1);
    pthread_join(t, NULL);
}


/* How often each key is in the table. */

static uint32_t
count(uint64_t tag)
{
    uint32_t  s, n;

    for (s = n = 0; s < prd_zone_slots(&zone); s++) {
        n += atomic_load(&zone.table.tags[s]) == tag;
    }

    return n;
}


/* Charges, by nobody lost and by nobody doubled; there is room for all. */

static void *
charge(void *data)
{
    int            i;
    uint32_t       k, p;
    worker_t      *w = data;
    prd_ask_t      ask, other;
    prd_answer_t   a, b;

    for (i = 0; i < ROUNDS; i++) {
        k = (uint32_t) (next(w) % w->keys);
        p = k % 8;

        ask = lab_ask(w->policy, 10000 + k, w->now_ms);
        ask.parent = next(w) % 4 ? prd_tag(20000 + p) : 0;
        ask.cost = 1 + (uint32_t) (next(w) % 50);
        ask.class_ = (uint32_t) (next(w) % PRD_CLASSES);

        if (next(w) % 8) {
            prd_decide(&w->view, w->policy, &ask, &a);

        } else {

            /* as one of several limits, of which another refuses */

            prd_judge(&w->view, w->policy, &ask, &a);

            if (a.verdict != PRD_REJECTED
                && prd_charge(&w->view, w->policy, &ask, &a) == PRD_OK
                && next(w) % 2)
            {
                prd_refund(&w->view, w->policy, &ask, &a);
                a.verdict = PRD_SKIPPED;
            }
        }

        if (a.full) {
            w->full++;
            continue;
        }

        if (a.verdict < PRD_REJECTED) {
            w->charged[k] += a.cost;

            /* the newcomer's key may have lost the race for a slot */

            if (a.parent_slot != PRD_NO_SLOT) {

                if (a.parent_slot == prd_zone_slots(&w->view)) {
                    w->again++;

                } else {
                    w->parents[p] += a.cost;
                }
            }

            if (next(w) % 16 == 0) {
                w->charged[k] -= a.cost;
                w->charged[k] += ask.cost + 3;

                if (a.parent_slot != PRD_NO_SLOT
                    && a.parent_slot != prd_zone_slots(&w->view))
                {
                    w->parents[p] += 3;
                }

                prd_settle(&w->view, w->policy, &ask, &a, ask.cost + 3);
            }
        }

        if (next(w) % 64 == 0) {
            other = ask;
            (void) prd_inspect(&w->view, w->policy, &other, &b);
        }
    }

    return NULL;
}


static void
sums(void)
{
    uint32_t  i, k, slot, wrong, missing, twice, clients, claims, full, again;
    uint64_t  sum;

    start(4000, 500, "rate=0.001r/d burst=4000000 max=0.001r/d");
    run(charge);

    wrong = missing = twice = full = again = 0;

    for (k = 0; k < 508; k++) {
        uint64_t  tag = k < 500 ? prd_tag(10000 + k) : prd_tag(20000 + k - 500);

        for (i = 0, sum = 0; i < THREADS; i++) {
            sum += k < 500 ? worker[i].charged[k] : worker[i].parents[k - 500];
        }

        slot = prd_table_find(&zone.table, tag);

        if (slot == PRD_NO_SLOT) {
            missing++;
            continue;
        }

        twice += count(tag) != 1;

        if (lab_level(&zone, slot) != sum) {
            wrong++;

            if (wrong < 5) {
                printf("# key %u: level %u, charged %llu\n", k,
                       lab_level(&zone, slot), (unsigned long long) sum);
            }
        }
    }

    for (i = 0; i < THREADS; i++) {
        full += worker[i].full;
        again += worker[i].again;
    }

    is_int(policy.unit, 1, "whole tokens");
    is_int(prd_table_check(&zone.table, &clients, &claims), 0, "no fault");
    is_int(claims, 0, "no claim");
    is_int(missing, 0, "all clients are there");
    is_int(twice, 0, "none twice");
    is_int(clients, 508, "and nobody else");
    is_int(wrong, 0, "levels are the sums of what was admitted");
    ok(full + again < THREADS * ROUNDS / 100,
       "%u of %u met a claim that did not get on", full + again,
       THREADS * ROUNDS);
    is_int(prd_zone_clients(&zone), clients, "counted as many");

    free(zone.zone);
}


/* Runs of few clients by all workers at once: nothing is lost either. */

static void *
runs(void *data)
{
    int           i;
    uint32_t      k;
    worker_t     *w = data;
    prd_ask_t     ask;
    prd_run_t     r;
    prd_answer_t  a;

    memset(&r, 0, sizeof(prd_run_t));

    for (i = 0, k = 0; i < ROUNDS; i++) {

        if (next(w) % 64 == 0) {
            k = (uint32_t) (next(w) % w->keys);
        }

        ask = lab_ask(w->policy, 10000 + k, w->now_ms);
        prd_run_decide(&w->view, w->policy, &r, &ask, &a);
        w->charged[k] += a.verdict == PRD_PASSED ? a.cost : 0;

        if (next(w) % 256 == 0) {
            prd_run_end(&w->view, w->policy, &r);
        }
    }

    prd_run_end(&w->view, w->policy, &r);

    return NULL;
}


static void
run_sums(void)
{
    uint32_t  i, k, slot, wrong;
    uint64_t  sum;

    start(4000, 3, "rate=0.001r/d burst=4000000 max=0.001r/d");
    run(runs);

    for (k = wrong = 0; k < 3; k++) {

        for (i = 0, sum = 0; i < THREADS; i++) {
            sum += worker[i].charged[k];
        }

        slot = prd_table_find(&zone.table, prd_tag(10000 + k));
        wrong += slot == PRD_NO_SLOT || lab_level(&zone, slot) != sum;
    }

    is_int(wrong, 0, "levels are the sums of what was admitted in runs");

    free(zone.zone);
}


/* A pool: what several workers have of it, and what is left, is what it had */

static void *
pooled(void *data)
{
    int           i;
    uint32_t      k;
    worker_t     *w = data;
    prd_ask_t     ask;
    prd_answer_t  a;

    for (i = 0; i < ROUNDS; i++) {
        k = (uint32_t) (next(w) % w->keys);
        ask = lab_ask(w->policy, 10000 + k, w->now_ms);
        ask.cost = 1 + (uint32_t) (next(w) % 500);
        prd_decide(&w->view, w->policy, &ask, &a);

        if (a.verdict < PRD_REJECTED && !a.full) {
            w->charged[0] += a.cost;
        }

        w->full += a.full && a.verdict < PRD_REJECTED ? a.cost : 0;
    }

    return NULL;
}


static void
pool(void)
{
    uint32_t  i;
    double    spent, left;

    start(4000, 500, "rate=0.001r/d burst=100000 capacity=10000r/s borrow=off "
                     "learn=observe");
    run(pooled);

    for (i = 0, spent = left = 0; i < THREADS; i++) {
        spent += (double) worker[i].charged[0] + worker[i].full;
        left += (double) worker[i].view.credit / 1048576;
    }

    left += (double) prd_pool_level(atomic_load(&zone.zone->pool), LAB_MS);
    left += spent * (double) policy.pool.per_unit / 1048576;

    ok(fabs(left - PRD_POOL_FULL) < 10, "a pool: %.0f admitted; spent, kept "
       "and left are what it was, to %.2f of 2^30", spent / 1000,
       left - PRD_POOL_FULL);

    free(zone.zone);
}


/* All at once in a table that is far too small. */

static void *
churn(void *data)
{
    int              i;
    uint32_t         slot, first, n;
    uint64_t         tag;
    unsigned         evicted;
    worker_t        *w = data;
    prd_ask_t        ask;
    prd_top_t        top[PRD_TOP];
    prd_answer_t     a;
    static __thread prd_point_t     series[PRD_SERIES];
    static __thread prd_decision_t  d[PRD_DECISIONS];

    for (i = 0; i < ROUNDS; i++) {
        tag = prd_tag(1 + next(w) % w->keys);

        switch (next(w) % 16) {

        case 0:
            w->removed += prd_table_remove(&w->view.table, tag) == PRD_OK;
            break;

        case 1:
            first = (uint32_t) (next(w) % w->view.table.nbuckets);
            w->gone += prd_table_sweep(&w->view.table, first, first + 1,
                                       w->now_ms + 5000, 4000);
            break;

        case 2:
            evicted = 0;

            switch (prd_table_insert(&w->view.table, tag, w->now_ms, &slot,
                                     &evicted)) {
            case PRD_OK:
            case PRD_EFULL:
            case PRD_EAGAIN:
                break;

            default:
                w->errors++;
            }

            break;

        case 3:
            n = 0;
            (void) prd_zone_series(&w->view, series, &n, i & 1);
            w->errors += n > PRD_SERIES;
            (void) prd_zone_top(&w->view, i % PRD_TOPS, top, &n);
            n = prd_zone_decisions(&w->view, 0, d, PRD_DECISIONS);
            w->read += n;

            while (n--) {

                /* whole records: the writer keeps these three in step */

                w->errors += d[n].verdict > PRD_REJECTED
                             || d[n].cost == 0
                             || d[n].time_ms != d[n].tag;
            }

            break;

        default:
            ask = lab_ask(w->policy, tag, w->now_ms + (uint32_t) i % 100);
            ask.parent = next(w) % 4 == 0
                         ? prd_tag(1 + next(w) % w->keys) : 0;
            ask.cost = 1 + (uint32_t) (next(w) % 3000);
            prd_decide(&w->view, w->policy, &ask, &a);

            if (a.verdict >= PRD_DELAYED) {
                prd_note(&w->view, &ask, &a, 0, ask.tag);
            }

            if (a.taken && next(w) % 8 == 0) {
                prd_unlearn(&w->view, w->policy, &ask, &a);
            }

            w->errors += a.slot > prd_zone_slots(&w->view);
            break;
        }
    }

    return NULL;
}


static void
chaos(uint32_t clients, uint32_t keys)
{
    uint32_t  i, n, claims, errors, twice, read;

    start(clients, keys, "rate=5r/s burst=3 capacity=1000r/s warmup=0");
    run(churn);

    for (i = errors = read = 0; i < THREADS; i++) {
        errors += worker[i].errors;
        read += worker[i].read;
    }

    is_int(errors, 0, "%u slots for %u keys: nothing unexpected",
           prd_zone_slots(&zone), keys);
    is_int(prd_table_check(&zone.table, &n, &claims), 0, "no fault");
    is_int(claims, 0, "no claim is left");
    ok(n > 0 && n <= prd_zone_slots(&zone), "%u clients", n);
    ok(read > 0, "%u records were read", read);

    for (i = 1, twice = 0; i <= keys; i++) {
        twice += count(prd_tag(i)) > 1;
    }

    is_int(twice, 0, "none is there twice");

    free(zone.zone);
}


/* Many insert one key at the same moment, again and again. */

static pthread_barrier_t  gate;
static _Atomic uint32_t   slots_seen[THREADS];
static _Atomic uint32_t   bad_race;


static void *
race(void *data)
{
    int            i;
    uint32_t       k, slot;
    uint64_t       tag;
    unsigned       evicted;
    prd_rc_t       rc;
    worker_t      *w = data;
    prd_ask_t      ask;
    prd_answer_t   a;

    for (i = 0; i < 2000; i++) {
        tag = prd_tag(0x123456789ull * (uint64_t) (i + 1));
        slot = PRD_NO_SLOT;

        pthread_barrier_wait(&gate);

        if (i % 2) {
            ask = lab_ask(w->policy, tag, LAB_MS);

            do {
                prd_decide(&w->view, w->policy, &ask, &a);
                w->again += a.full;
            } while (a.full);

            slot = a.slot;
            rc = PRD_OK;

        } else {

            do {
                evicted = 0;
                rc = prd_table_insert(&w->view.table, tag, LAB_MS, &slot,
                                      &evicted);
                w->again += rc == PRD_EAGAIN;
            } while (rc == PRD_EAGAIN);
        }

        atomic_store(&slots_seen[w->id], rc == PRD_OK ? slot : PRD_NO_SLOT);

        pthread_barrier_wait(&gate);

        if (w->id == 0) {

            for (k = 0; k < THREADS; k++) {
                if (atomic_load(&slots_seen[k]) != slot) {
                    atomic_fetch_add(&bad_race, 1);
                }
            }

            if (count(tag) != 1) {
                atomic_fetch_add(&bad_race, 1);
            }

            prd_table_remove(&w->view.table, tag);
        }
    }

    return NULL;
}


static void
races(void)
{
    uint32_t  i, n, claims;

    start(40, 1, "rate=5r/s burst=3");
    pthread_barrier_init(&gate, NULL, THREADS);

    for (i = 0; i < THREADS; i++) {
        pthread_create(&worker[i].thread, NULL, race, &worker[i]);
    }

    for (i = 0; i < THREADS; i++) {
        pthread_join(worker[i].thread, NULL);
    }

    for (i = n = 0; i < THREADS; i++) {
        n += worker[i].again;
    }

    /* as often as one is put to sleep between claim and tag */

    ok(n < 2000 * THREADS, "of %u insertions at once %u had to be asked again",
       2000 * THREADS, n);
    is_int(atomic_load(&bad_race), 0, "2000 keys, each inserted by five at "
           "once: all got the same slot");
    is_int(prd_table_check(&zone.table, &n, &claims), 0, "no fault");
    is_int(n, 0, "all were removed");
    is_int(prd_zone_count(&zone, PRD_CNT_INSERTED), 1000,
           "those that came by a request were counted once");
    is_int(claims, 0, "no claim");

    pthread_barrier_destroy(&gate);
    free(zone.zone);
}


int
main(void)
{
    races();
    sums();
    run_sums();
    pool();
    chaos(24, 200);
    chaos(160, 180);
    chaos(3000, 4000);

    return done_testing();
}
