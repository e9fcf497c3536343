
/*
 * A pool that nodes share through a store: what they admit together, what
 * idle nodes keep from busy ones, and what a store that is away, or lies, can
 * do.
 */


#include <stdlib.h>

#include "prd_pool.h"
#include "tap.h"


#define NODES  4
#define TICK   100
#define CAP    1000                    /* r/s; D = 5000 requests */


typedef struct {
    prd_word_t         word;
    prd_pool_share_t   share;
    prd_pool_terms_t   t;
    prd_pool_tick_t    tick;
    uint64_t           credit[2];      /* of its workers */
    uint64_t           passed;
} node_t;

/* what the script does, in C */

typedef struct {
    int64_t   level;
    uint32_t  ms;
    int64_t   held[NODES];
    uint32_t  seen[NODES];
} store_t;


static node_t    nodes[NODES];
static store_t   store;
static uint32_t  now;
static uint32_t  seed;


static uint32_t
draw(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;

    return (uint32_t) ((uint64_t) seed * n >> 32);
}


static void
begin(void)
{
    int  i;

    seed = 42;
    now = 1000;
    memset(&store, 0, sizeof(store));
    store.level = PRD_POOL_FULL;
    store.ms = now;

    memset(nodes, 0, sizeof(nodes));

    for (i = 0; i < NODES; i++) {
        prd_pool_terms(&nodes[i].t, CAP * PRD_RATE_ONE, 0, PRD_MILLI);
        nodes[i].t.share = &nodes[i].share;
        prd_pool_init(&nodes[i].word, now);
        atomic_store(&nodes[i].share.nodes, NODES);
    }
}


static int64_t
fill(int64_t level)
{
    int  i;

    for (i = 0; i < NODES; i++) {
        level += now - store.seen[i] < 2000 ? store.held[i] : 0;
    }

    return level;
}


static void
report(int i, prd_pool_report_t *r)
{
    prd_pool_report(&nodes[i].word, &nodes[i].t, &nodes[i].tick, now, r);
}


static void
tick(int i)
{
    int64_t            room, want, grant;
    prd_pool_report_t  r;

    report(i, &r);

    store.held[i] = r.held;
    store.seen[i] = now;
    store.level += (int64_t) (now - store.ms) * PRD_POOL_PER_MS + r.returned;
    store.ms = now;
    store.level = prd_min(store.level,
                          PRD_POOL_FULL - fill(0)) - r.debt;
    store.level = prd_max(store.level, -PRD_POOL_FULL);

    room = store.level + PRD_POOL_FULL;
    want = prd_pool_target(r.pace, store.level, NODES) - r.held;
    grant = prd_max(prd_min(want, room / NODES), 0);
    store.level -= grant;
    store.held[i] += grant;

    prd_pool_grant(&nodes[i].word, &nodes[i].t, &nodes[i].tick, grant,
                   store.level, fill(store.level), NODES, now, now + 500);
}


static unsigned
offer(int i, uint32_t n)
{
    unsigned  passed;

    for (passed = 0; n; n--) {
        passed += prd_pool_take(&nodes[i].word, &nodes[i].t,
                                &nodes[i].credit[n & 1], PRD_MILLI, now)
                  == PRD_OK;
    }

    nodes[i].passed += passed;

    return passed;
}


/* Everybody wants far more than there is. */

static void
flood(void)
{
    int       i;
    double    most;
    uint32_t  t;
    uint64_t  all;

    begin();

    for (t = 0; t < 60000; t += 10) {
        now += 10;

        for (i = 0; i < NODES; i++) {
            if (now % TICK == (unsigned) i * 10) {
                tick(i);
            }

            (void) offer(i, 20 + draw(60));
        }
    }

    all = 0;

    for (i = 0; i < NODES; i++) {
        all += nodes[i].passed;
    }

    most = CAP * (60 + 10)
           + NODES * CAP * PRD_POOL_DEPTH_S * (1 / 64.0 + 2 / 16384.0);

    ok(all <= most, "%llu admitted of %.0f", (unsigned long long) all, most);
    ok(all >= CAP * (60 + 10) * 0.98, "and hardly less");

    for (i = 0; i < NODES; i++) {
        ok(nodes[i].passed > all / NODES * 0.7
           && nodes[i].passed < all / NODES * 1.3,
           "node %d had %.1f %% of it", i, 100.0 * nodes[i].passed / all);
    }
}


/* One is busy, the others hardly: it gets nearly all. */

static void
skewed(void)
{
    int       i;
    uint32_t  t;

    begin();

    for (t = 0; t < 60000; t += 10) {
        now += 10;

        for (i = 0; i < NODES; i++) {
            if (now % TICK == (unsigned) i * 10) {
                tick(i);
            }
        }

        (void) offer(0, 50);
        (void) offer(1, t % 1000 == 0);
    }

    ok(nodes[0].passed > 69000, "of 70000 the busy one has %llu",
       (unsigned long long) nodes[0].passed);
    is_int(nodes[1].passed, 60, "the other one all that it asks for");
}


/* With room nobody waits for a tick: a burst passes at once. */

static void
burst(void)
{
    int       i;
    uint32_t  t;

    begin();

    for (t = 0; t < 2000; t += 10) {
        now += 10;

        for (i = 0; i < NODES; i++) {
            if (now % TICK == (unsigned) i * 10) {
                tick(i);
            }
        }
    }

    i = (int) offer(2, 1000);
    is_int(i, 1000, "a second's worth of the whole capacity at one node");

    ok(prd_pool_level(nodes[2].word, now) < PRD_POOL_FULL
       && prd_pool_level(nodes[2].word, now) > PRD_POOL_FULL / 2,
       "the fill shows it at once");

    tick(2);
    tick(1);
    ok(prd_pool_level(nodes[1].word, now) < (PRD_POOL_FULL / 16) * 13,
       "and to the others at the next tick");
}


/* The level that they read is the same wherever the tokens are. */

static void
filled(void)
{
    int      i, wrong;
    int64_t  want;

    begin();
    wrong = 0;

    for (i = 0; i < NODES * 20; i++) {
        now += TICK;
        tick(i % NODES);
        wrong += prd_pool_level(nodes[i % NODES].word, now) != PRD_POOL_FULL;
    }

    is_int(wrong, 0, "what is leased and not spent is there");

    (void) offer(3, 500);
    tick(3);
    want = PRD_POOL_FULL - PRD_POOL_FULL / 10;

    ok(llabs(prd_pool_level(nodes[3].word, now) - want)
       < PRD_POOL_FULL / 1000, "500 of 5000 requests are a tenth");
}


/* The store goes away: each has its part; it comes back. */

static void
away(void)
{
    int       i;
    double    most;
    uint32_t  t;
    uint64_t  all;

    begin();

    for (i = 0; i < NODES; i++) {
        tick(i);
    }

    now += 600;
    ok(!prd_pool_shared(&nodes[0].t, now), "nothing heard for a while");

    for (t = 0; t < 60000; t += 10) {
        now += 10;

        for (i = 0; i < NODES; i++) {
            (void) offer(i, 20 + draw(60));
        }
    }

    all = 0;

    for (i = 0; i < NODES; i++) {
        all += nodes[i].passed;
    }

    most = CAP * (60.6 + 10);

    ok(all <= most, "%llu admitted of %.0f", (unsigned long long) all, most);
    ok(all >= most * 0.98, "and hardly less");

    for (i = 0; i < NODES; i++) {
        tick(i);
    }

    ok(prd_pool_shared(&nodes[0].t, now), "it is back");
    ok(offer(0, 100) == 100, "and so is what is left there");
}


/* A node is busy now and then; what it returns between is not spent. */

static void
rounds(void)
{
    int       i, k, passed;
    uint32_t  t;

    begin();
    passed = 0;

    for (k = 0; k < 30; k++) {
        passed += (int) offer(0, 800);

        for (t = 0; t < 1000; t += TICK) {
            now += TICK;

            for (i = 0; i < NODES; i++) {
                tick(i);
            }
        }
    }

    is_int(passed, 30 * 800, "800 a second, at once, of 1000");
    ok(fill(store.level) > PRD_POOL_FULL * 0.95, "the pool is full: %.2f",
       (double) fill(store.level) / PRD_POOL_FULL);
}


/* Replies get lost; a node dies with what it holds. */

static void
lost(void)
{
    int                i;
    double             most;
    uint32_t           t;
    uint64_t           all;
    prd_pool_report_t  r;

    begin();

    for (t = 0; t < 60000; t += 10) {
        now += 10;

        for (i = 0; i < NODES - (t > 20000); i++) {

            if (now % TICK == (unsigned) i * 10) {

                switch (draw(6)) {
                case 0:
                    /* never sent */
                    report(i, &r);
                    prd_pool_lost(&nodes[i].t, &nodes[i].tick, 0);
                    break;

                case 1:
                    /* no reply: the level went down in the store */
                    report(i, &r);
                    store.level -= r.debt;
                    prd_pool_lost(&nodes[i].t, &nodes[i].tick, 1);
                    break;

                default:
                    tick(i);
                }
            }

            (void) offer(i, 20 + draw(60));
        }
    }

    all = 0;

    for (i = 0; i < NODES; i++) {
        all += nodes[i].passed;
    }

    most = CAP * (60 + 10)
           + NODES * CAP * PRD_POOL_DEPTH_S * (1 / 64.0 + 2 / 16384.0);

    ok(all <= most, "%llu admitted of %.0f", (unsigned long long) all, most);
    ok(all >= CAP * (60 + 10) * 0.9, "and not much less");
}


/* A store that grants whatever is asked for, and says that it is full. */

static void
hostile(void)
{
    uint32_t           t;
    prd_pool_report_t  r;

    begin();

    for (t = 0; t < 60000; t += 10) {
        now += 10;

        if (now % TICK == 0) {
            report(0, &r);
            prd_pool_grant(&nodes[0].word, &nodes[0].t, &nodes[0].tick,
                           INT64_MAX, INT64_MAX, INT64_MAX, 0, now, now + 500);
        }

        (void) offer(0, 500);
    }

    ok(nodes[0].passed <= CAP * (60 + 10) * 1.05,
       "%llu of %d at a node whose store grants everything",
       (unsigned long long) nodes[0].passed, CAP * 70);

    report(0, &r);
    prd_pool_grant(&nodes[0].word, &nodes[0].t, &nodes[0].tick,
                   INT64_MIN, INT64_MIN, INT64_MIN, 0, now, now + 500);
    is_int(prd_pool_level(nodes[0].word, now), -PRD_POOL_FULL, "or nothing");
}


int
main(void)
{
    flood();
    skewed();
    burst();
    filled();
    away();
    rounds();
    lost();
    hostile();

    return done_testing();
}
