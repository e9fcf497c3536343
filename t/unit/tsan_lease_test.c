
/*
 * Workers as threads that lease, spend, owe, return, report, settle and
 * refund on one zone, of clients that come and go, with a store that answers
 * some of them late or never.  Afterwards the books agree to the unit, and
 * where no slot changed hands, with the store's, too.
 */


#include <pthread.h>
#include <sched.h>

#include "lab.h"
#include "lease_store.h"


#define THREADS  4
#define ROUNDS   20000
#define KEYS     4096
#define DUES     8192


typedef struct {
    prd_view_t           view;
    uint64_t             seed;
    uint32_t             id;
    uint32_t             keys;
    uint32_t             lost;           /* percent */
    prd_due_t            due[DUES];
    uint32_t             n;
    prd_lease_request_t  late;
    prd_lease_reply_t    reply;
    unsigned             waits, admitted;
    uint64_t             passed, refused;
    pthread_t            thread;
} worker_t;


static worker_t          worker[THREADS];
static prd_policy_t      policy;
static prd_view_t        zone;
static _Atomic uint32_t  clock_ms;
static lease_value_t     value[KEYS];
static pthread_mutex_t   lock = PTHREAD_MUTEX_INITIALIZER;


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


static uint64_t
key_tag(uint32_t k)
{
    return prd_tag(0x9e3779b97f4a7c15ull * (k + 1));
}


static void
stored(uint32_t k, const prd_lease_request_t *req, prd_lease_reply_t *reply)
{
    pthread_mutex_lock(&lock);
    lease_store(&value[k], 2, req, 1e12 + atomic_load(&clock_ms), reply);
    pthread_mutex_unlock(&lock);
}


/* The key of a tag: an inverse of the factor above, mod 2^64. */

static uint32_t
tag_key(uint64_t tag)
{
    uint64_t  k;

    k = tag * 0xf1de83e19937733dull - 1;

    return (uint32_t) (k % KEYS);
}


static void
enqueue(worker_t *w, prd_ask_t *ask, prd_answer_t *answer)
{
    unsigned  key;

    for (key = 1; key <= 2; key <<= 1) {
        if (answer->due & key) {
            prd_lease_due(&w->view, &policy, ask, answer, key,
                          &w->due[w->n]);
            w->n += w->n < DUES - 1;
        }
    }
}


static void
look(worker_t *w, unsigned leaving)
{
    uint32_t              i, m, now;
    prd_rc_t              rc;
    prd_due_t             due;
    prd_lease_reply_t     reply;
    prd_lease_request_t   req;

    now = LAB_MS + atomic_load(&clock_ms);

    for (i = m = 0; i < w->n; i++) {
        due = w->due[i];

        if (!leaving && (int32_t) (due.at_ms - now) > 0) {
            w->due[m++] = due;
            continue;
        }

        rc = prd_lease_tick(&w->view, &due, now, leaving, &req);

        if (rc == PRD_OK) {
            stored(tag_key(req.tag), &req, &reply);
            rc = next(w) % 100 < w->lost
                 ? prd_lease_lost(&w->view, &due, &req, 1, now)
                 : prd_lease_answered(&w->view, &due, &req, &reply, now);
        }

        if (rc == PRD_EAGAIN) {
            w->due[m++] = due;
        }
    }

    w->n = m;
}


static void
request(worker_t *w)
{
    unsigned              key;
    uint32_t              now;
    prd_rc_t              rc;
    prd_ask_t             ask;
    prd_answer_t          a;
    prd_lease_reply_t     reply;
    prd_lease_request_t   req;

    now = LAB_MS + atomic_load(&clock_ms);
    ask = lab_ask(&policy, key_tag((uint32_t) (next(w) % w->keys)), now);
    ask.cost = 500 * (uint32_t) (1 + next(w) % 3);

    rc = prd_lease_decide(&w->view, &policy, &ask, &a,
                          next(w) % 20 ? PRD_LEASE_LEASE
                          : next(w) % 2 ? PRD_LEASE_STRICT
                                        : PRD_LEASE_LOCAL);
    enqueue(w, &ask, &a);

    if (rc == PRD_EAGAIN) {

        for (key = 1; key <= 2; key <<= 1) {

            if (!(a.ask & key)) {
                continue;
            }

            prd_lease_ask(&w->view, &policy, &ask, &a, key, &req);
            stored(tag_key(req.tag), &req, &reply);

            if (next(w) % 100 < w->lost) {
                prd_lease_timeout(&w->view, &policy, &ask, &a, key, &req,
                                  PRD_LEASE_LATE, PRD_LEASE_LOCAL, now);
                w->late = req;
                w->reply = reply;
                w->waits = 2;

            } else {
                prd_lease_apply(&w->view, &policy, &ask, &a, key, &req,
                                &reply, now);
            }
        }

        if (a.verdict != PRD_REJECTED) {
            (void) prd_lease_charge(&w->view, &policy, &ask, &a);
        }

        enqueue(w, &ask, &a);

        if (w->waits == 2) {
            w->waits = 1;
            w->admitted = a.taken;
        }
    }

    w->passed += a.taken;
    w->refused += !a.taken;

    if (next(w) % 10 == 0) {
        prd_lease_settle(&w->view, &policy, &ask, &a,
                         500 * (uint32_t) (next(w) % 5));
        enqueue(w, &ask, &a);

    } else if (next(w) % 10 == 0) {
        prd_lease_refund(&w->view, &policy, &ask, &a);
        enqueue(w, &ask, &a);
    }

    if (w->waits && next(w) % 5 == 0) {
        w->waits = 0;
        rc = prd_lease_late(&w->view, &w->late, &w->reply, w->admitted, now,
                            &w->due[w->n]);
        w->n += rc == PRD_OK && w->n < DUES - 1;
    }
}


static void *
work(void *data)
{
    uint32_t   i;
    worker_t  *w = data;

    for (i = 0; i < ROUNDS; i++) {
        request(w);

        if (w->id == 0 && i % 4 == 0) {
            atomic_fetch_add(&clock_ms, 1 + (i % 2000 == 0) * 1200);
        }

        if (i % 64 == 0) {
            look(w, 0);
            sched_yield();
        }
    }

    return NULL;
}


static void
run(uint32_t clients, uint32_t keys, uint32_t lost, const char *name)
{
    uint32_t          i;
    uint64_t          passed, refused;
    prd_lease_sums_t  s;

    memset(worker, 0, sizeof(worker));
    memset(value, 0, sizeof(value));
    lab_policy(&policy, "rate=200r/s burst=100");
    policy.leased = 1;
    zone = lab_zone(&policy, clients, LAB_S, LAB_MS);
    atomic_store(&zone.zone->nodes, 2);
    atomic_store(&clock_ms, 0);

    for (i = 0; i < THREADS; i++) {
        prd_zone_attach(&worker[i].view, zone.zone, zone.zone->size, &policy,
                        i, 100 + i, all_alive);
        worker[i].seed = 1000 + i;
        worker[i].id = i;
        worker[i].keys = keys;
        worker[i].lost = lost;
    }

    for (i = 0; i < THREADS; i++) {
        pthread_create(&worker[i].thread, NULL, work, &worker[i]);
    }

    passed = refused = 0;

    for (i = 0; i < THREADS; i++) {
        pthread_join(worker[i].thread, NULL);
        passed += worker[i].passed;
        refused += worker[i].refused;
    }

    is_int(prd_lease_check(&zone, &s), PRD_OK,
           "%s: the books agree: %llu passed, %llu refused, %llu asked, "
           "%llu paid by leases", name, (long long) passed,
           (long long) refused,
           (long long) prd_zone_count(&zone, PRD_CNT_LEASE_ASKS),
           (long long) prd_zone_count(&zone, PRD_CNT_LEASE_HITS));
    ok(passed > 100 && (refused > 100 || keys > 100), "both were there");

    /* all leave: nothing is in hand, nothing is owed */

    atomic_fetch_add(&clock_ms, 3000);

    for (i = 0; i < THREADS; i++) {
        worker[i].lost = 0;
        look(&worker[i], 1);
        look(&worker[i], 1);
    }

    is_int(prd_lease_check(&zone, &s), PRD_OK, "and when all have left");

    if (clients >= keys * 2) {
        ok(s.held == 0 && s.owed == 0, "with nothing in hand or owed");
    }

    free(zone.zone);
}


int
main(void)
{
    run(64, 12, 0, "few clients");
    run(64, 12, 10, "few clients, replies lost");
    run(100, 300, 0, "clients come and go");
    run(100, 300, 10, "come and go, replies lost");

    return done_testing();
}
