
/*
 * A limit that several nodes share, simulated: the engine's leases against a
 * store in memory (t/unit/lease_store.h), requests at random times on random
 * nodes.  A question takes a millisecond, and those of a millisecond and a
 * node go in batches of 64; nodes look after their keys every 100 ms.
 *
 *   served   requests that waited for nobody, of those admitted
 *   asked    requests that waited for the store, of all
 *   batches  a request: the questions' and the ticks'
 *   keys     a request: entries in batches, what the store has to do
 *   used     admitted, of what one bucket that sees all would have admitted
 *   above    the most that was admitted of one key in any window, beyond
 *            burst + 1 + rate x window; and the bound, which is the most that
 *            any node ever held of a key x nodes
 *
 * Ends with 1 when the bound is exceeded, when less than 97 % of a limit is
 * used at 8 times the demand, or when of ordinary demand less than 98 % is
 * served at once or a request takes more than 0.02 batches.
 * Usage: lease [seconds]
 */


#include "bench.h"

#include "../t/unit/lease_store.h"


#define LEASE_NODES  8
#define LEASE_DUES   65536
#define LEASE_ASKS   65536
#define LEASE_TICK   100
#define LEASE_WARM   5000                /* ms that are not counted */


typedef struct {
    uint32_t             key;
    uint32_t             node;
    prd_ask_t            ask;
    prd_answer_t         answer;
    prd_lease_request_t  req;
    prd_lease_reply_t    reply;
} lease_parked_t;

typedef struct {
    bench_zone_t         zone;
    prd_due_t            due[LEASE_DUES];
    uint32_t             n;
} lease_node_t;

/* An ideal bucket, and one that refuses nothing: how far above it gets. */

typedef struct {
    double  ideal, ideal_ms;
    double  all, all_ms;
    double  above;
} lease_meter_t;


/* Tags of keys 0, 1, ... and back: an odd factor and its inverse mod 2^64. */

#define lease_tag(key)  (((uint64_t) (key) + 1) * 0x9e3779b97f4a7c15ull)
#define lease_key(tag)  ((tag) * 0xf1de83e19937733dull - 1)


static lease_node_t    lease_node[LEASE_NODES];
static lease_value_t  *lease_value;
static lease_meter_t  *lease_meter;
static lease_parked_t *lease_parked;
static uint32_t        lease_parks;
static double          lease_store_ms;

static uint64_t  lease_requests, lease_admitted, lease_served, lease_asked;
static uint64_t  lease_batches, lease_entries, lease_ideal;


static void
lease_enqueue(lease_node_t *n, const prd_policy_t *policy, prd_ask_t *ask,
    prd_answer_t *answer)
{
    if (answer->due) {
        prd_lease_due(&n->zone.view, policy, ask, answer, PRD_LEASE_CLIENT,
                      &n->due[n->n]);

        if (++n->n == LEASE_DUES) {
            bench_die("too many keys are due");
        }
    }
}


static void
lease_admit(lease_meter_t *m, const prd_params_t *p, double ms)
{
    double  r;

    r = (double) p->rate / 1e12;         /* tokens a millisecond */

    m->all = fmax(m->all - r * (ms - m->all_ms), 0) + 1;
    m->all_ms = ms;
    m->above = fmax(m->above, m->all - p->burst - 1);

    if (ms > LEASE_WARM) {
        lease_admitted++;
    }
}


static void
lease_offer(lease_meter_t *m, const prd_params_t *p, double ms)
{
    double  r;

    r = (double) p->rate / 1e12;

    m->ideal = fmax(m->ideal - r * (ms - m->ideal_ms), 0);
    m->ideal_ms = ms;

    if (m->ideal + 1 <= p->burst + 1) {
        m->ideal++;
        lease_ideal += ms > LEASE_WARM;
    }
}


static void
lease_tick(lease_node_t *n, uint32_t nodes, uint32_t now, unsigned count)
{
    uint32_t             i, m, sent;
    prd_rc_t             rc;
    prd_due_t           *due;
    prd_lease_reply_t    reply;
    prd_lease_request_t  req;

    for (i = m = sent = 0; i < n->n; i++) {
        due = &n->due[i];
        rc = PRD_EAGAIN;

        if ((int32_t) (due->at_ms - now) <= 0) {
            rc = prd_lease_tick(&n->zone.view, due, now, 0, &req);

            if (rc == PRD_OK) {
                lease_store(&lease_value[lease_key(req.tag)], nodes, &req,
                            lease_store_ms, &reply);
                rc = prd_lease_answered(&n->zone.view, due, &req, &reply,
                                        now);
                sent++;
            }
        }

        if (rc == PRD_EAGAIN) {
            n->due[m++] = *due;
        }
    }

    n->n = m;

    if (count) {
        lease_entries += sent;
        lease_batches += (sent + PRD_LEASE_KEYS - 1) / PRD_LEASE_KEYS;
    }
}


static unsigned
lease_run(const char *words, uint32_t nodes, uint32_t keys, double rps,
    uint32_t seconds, unsigned over)
{
    double          next, ms, above, bound, used, served, batches;
    uint32_t        i, k, end, now, asks[LEASE_NODES];
    prd_rc_t        rc;
    unsigned        bad;
    lease_node_t   *n;
    lease_parked_t *p;

    lease_requests = lease_admitted = lease_served = lease_asked = 0;
    lease_batches = lease_entries = lease_ideal = 0;
    lease_parks = 0;
    lease_store_ms = 1e12;

    lease_value = calloc(keys, sizeof(lease_value_t));
    lease_meter = calloc(keys, sizeof(lease_meter_t));
    lease_parked = calloc(LEASE_ASKS, sizeof(lease_parked_t));

    for (i = 0; i < nodes; i++) {
        memset(&lease_node[i], 0, sizeof(lease_node_t));
        bench_zone_init(&lease_node[i].zone, words, keys, 300);
        atomic_store(&lease_node[i].zone.view.zone->nodes, nodes);
    }

    n = &lease_node[0];
    next = bench_exponential(1000 / rps);
    end = LEASE_WARM + seconds * 1000;

    for (ms = 0; ms < end; ms++) {
        now = BENCH_MS + (uint32_t) ms;
        memset(asks, 0, sizeof(asks));

        /* the last millisecond's questions are answered */

        for (i = 0; i < lease_parks; i++) {
            p = &lease_parked[i];
            n = &lease_node[p->node];

            prd_lease_apply(&n->zone.view, &n->zone.policy, &p->ask,
                            &p->answer, PRD_LEASE_CLIENT, &p->req, &p->reply,
                            now);

            if (p->answer.verdict != PRD_REJECTED) {
                (void) prd_lease_charge(&n->zone.view, &n->zone.policy,
                                        &p->ask, &p->answer);
            }

            lease_enqueue(n, &n->zone.policy, &p->ask, &p->answer);

            if (p->answer.taken) {
                lease_admit(&lease_meter[p->key], &n->zone.policy.params, ms);
            }
        }

        lease_parks = 0;

        while (next <= ms + 1) {
            next += bench_exponential(1000 / rps);

            p = &lease_parked[lease_parks];
            p->key = bench_below(keys);
            p->node = bench_below(nodes);
            n = &lease_node[p->node];

            memset(&p->ask, 0, sizeof(prd_ask_t));
            p->ask.tag = lease_tag(p->key);
            p->ask.cost = n->zone.policy.unit;
            p->ask.rate = n->zone.policy.params.rate;
            p->ask.burst = n->zone.policy.params.burst * n->zone.policy.unit;
            p->ask.delay = PRD_NODELAY;
            p->ask.now_ms = now;

            lease_requests += ms > LEASE_WARM;
            lease_offer(&lease_meter[p->key], &n->zone.policy.params, ms);

            rc = prd_lease_decide(&n->zone.view, &n->zone.policy, &p->ask,
                                  &p->answer, PRD_LEASE_LEASE);
            lease_enqueue(n, &n->zone.policy, &p->ask, &p->answer);

            if (rc == PRD_EAGAIN) {
                prd_lease_ask(&n->zone.view, &n->zone.policy, &p->ask,
                              &p->answer, PRD_LEASE_CLIENT, &p->req);
                lease_store(&lease_value[p->key], nodes, &p->req,
                            lease_store_ms, &p->reply);

                lease_asked += ms > LEASE_WARM;
                lease_entries += ms > LEASE_WARM;
                lease_batches += ms > LEASE_WARM
                                 && asks[p->node]++ % PRD_LEASE_KEYS == 0;

                if (++lease_parks == LEASE_ASKS) {
                    bench_die("too many are parked");
                }

                continue;
            }

            if (p->answer.taken) {
                lease_served += ms > LEASE_WARM;
                lease_admit(&lease_meter[p->key], &n->zone.policy.params, ms);
            }
        }

        for (i = 0; i < nodes; i++) {
            if ((now + i * LEASE_TICK / nodes) % LEASE_TICK == 0) {
                lease_tick(&lease_node[i], nodes, now, ms > LEASE_WARM);
            }
        }

        lease_store_ms++;
    }

    above = -1e9;
    bound = 0;

    for (k = 0; k < keys; k++) {
        above = fmax(above, lease_meter[k].above);
    }

    for (i = 0; i < nodes; i++) {
        prd_lease_sums_t  sums;

        if (prd_lease_check(&lease_node[i].zone.view, &sums) != PRD_OK) {
            printf("the books of node %u do not agree\n", i);
        }

        bound = fmax(bound, (double) sums.bound / 1000);
        bench_zone_free(&lease_node[i].zone);
    }

    bound *= nodes;
    used = 100.0 * (double) lease_admitted / (double) lease_ideal;
    served = 100.0 * (double) lease_served / (double) lease_admitted;
    batches = (double) lease_batches / (double) lease_requests;

    bad = above > bound || (over ? used < 97 : served < 98 || batches > 0.02);

    printf("%-30s %5u %6u %6.0f  %6.2f  %6.2f  %7.4f  %6.3f  %6.2f  %6.2f "
           "(%.0f)%s\n", words, nodes, keys, rps, served,
           100.0 * (double) lease_asked / (double) lease_requests, batches,
           (double) lease_entries / (double) lease_requests, used, above,
           bound, bad ? "  !" : "");
    fflush(stdout);

    free(lease_value);
    free(lease_meter);
    free(lease_parked);

    return bad;
}


int
main(int argc, char **argv)
{
    unsigned  bad;
    uint32_t  s;

    s = argc > 1 ? (uint32_t) atoi(argv[1]) : 30;
    bad = 0;

    printf("lease: %u s after the first %u\n"
           "%-30s %5s %6s %6s  %6s  %6s  %7s  %6s  %6s  %s\n", s,
           LEASE_WARM / 1000, "limit", "nodes", "keys", "req/s", "served",
           "asked", "batches", "keys", "used", "above (bound)");

    /* ordinary: each key well below its limit */

    bad |= lease_run("rate=10r/s burst=50 store=s", 1, 10000, 30000, s, 0);
    bad |= lease_run("rate=10r/s burst=50 store=s", 2, 10000, 30000, s, 0);
    bad |= lease_run("rate=10r/s burst=50 store=s", 4, 10000, 30000, s, 0);

    /* 8 times the limit */

    bad |= lease_run("rate=10r/s burst=20 store=s", 2, 100, 8000, s, 1);
    bad |= lease_run("rate=10r/s burst=20 store=s", 4, 100, 8000, s, 1);
    bad |= lease_run("rate=10r/s burst=20 store=s", 8, 100, 8000, s, 1);
    bad |= lease_run("rate=10r/s store=s", 4, 100, 8000, s, 1);
    bad |= lease_run("rate=100r/s burst=100 store=s", 2, 20, 16000, s, 1);
    bad |= lease_run("rate=100r/s burst=100 store=s", 4, 20, 16000, s, 1);
    bad |= lease_run("rate=100r/s burst=100 store=s", 8, 20, 16000, s, 1);

    /* just at it */

    bad |= lease_run("rate=100r/s burst=100 store=s", 4, 20, 2000, s, 1);

    return (int) bad;
}
