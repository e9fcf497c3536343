
/*
 * Pooled tables of several nodes: all come to hold all votes, a new node is
 * not new to them, and nobody can pour in what he likes.
 */


#include <math.h>
#include <stdlib.h>

#include "lab.h"
#include "prd_merge.h"
#include "prd_pack.h"


#define NODES  3


typedef struct {
    prd_pooled_t      p;
    prd_merge_own_t   own;
    prd_merge_seen_t  seen[NODES];
    uint8_t           buf[PRD_MERGE_SIZE];
    unsigned          alive;
    unsigned          begun;
} node_t;


static prd_envelope_terms_t  terms = { 0.001, 300, 0, 0, 0, 0 };
static node_t                nodes[NODES];
static double                now_s;


static void
start(node_t *n, uint64_t began)
{
    memset(n, 0, sizeof(node_t));
    prd_pooled_init(&n->p, &terms);
    prd_pooled_newcomer(&n->p, &terms, now_s);
    prd_merge_begin(&n->own, &n->p, began);
    n->alive = 1;
}


/* blocks of clients of one age class whose log2 of peaks is near `mean` */

static void
votes(node_t *n, unsigned count, double mean)
{
    double         peak;
    prd_learned_t  l;

    while (count--) {
        prd_learned_init(&l, &n->p, 1, now_s);
        l.blocks = 4;
        peak = exp2(mean + 3 * (lab_uniform() - 0.5));
        (void) prd_learned_block(&l, &n->p, &terms, peak, 1, now_s);
    }
}


static void
turn(void)
{
    unsigned          i, j;
    prd_merge_mean_t  mean;

    now_s += 60;

    for (i = 0; i < NODES; i++) {
        if (nodes[i].alive) {
            prd_merge_count(&nodes[i].own, &nodes[i].p);
            prd_merge_put(nodes[i].buf, &nodes[i].own, &nodes[i].p, 1000);
        }
    }

    for (i = 0; i < NODES; i++) {
        if (!nodes[i].alive) {
            continue;
        }

        memset(&mean, 0, sizeof(mean));

        for (j = 0; j < NODES; j++) {
            if (j != i && nodes[j].alive
                && prd_merge_add(nodes[j].buf, PRD_MERGE_SIZE,
                                 &nodes[i].seen[j], &mean, &nodes[i].p,
                                 &terms, !nodes[i].begun, now_s)
                   != PRD_OK)
            {
                ok(0, "node %u does not take node %u's", i, j);
            }
        }

        prd_merge_end(&nodes[i].own, &mean, &nodes[i].p, &terms);
        nodes[i].begun = 1;
    }
}


static double
apart(const prd_scores_t *a, const prd_scores_t *b)
{
    unsigned  i;
    double    d;

    d = 0;

    for (i = 0; i < PRD_CELLS; i++) {
        d += fabs(a->cell[i] - b->cell[i]);
    }

    return d;
}


static void
together(void)
{
    unsigned  i, t;
    double    z;

    now_s = LAB_S;

    for (i = 0; i < NODES; i++) {
        start(&nodes[i], 100 + i);
    }

    turn();

    for (t = 0; t < 20; t++) {
        votes(&nodes[0], 200, 3);
        votes(&nodes[1], 50, 5);
        turn();
    }

    ok(fabs(nodes[2].p.depth[2].votes - 2 - 20 * 250) < 30,
       "who has no clients has all votes: %.1f", nodes[2].p.depth[2].votes);

    for (i = 1; i < NODES; i++) {
        ok(apart(&nodes[0].p.depth[2], &nodes[i].p.depth[2]) < 30,
           "tables of 0 and %u are %.1f of 5000 votes apart", i,
           apart(&nodes[0].p.depth[2], &nodes[i].p.depth[2]));
    }

    ok(nodes[0].p.depth[1].votes < 3, "other ages are left alone");

    /* the quantile follows, no faster than it may */

    z = nodes[2].p.depth[2].z;
    terms.learning = 1;
    votes(&nodes[0], 100, 30);
    turn();
    ok(nodes[2].p.depth[2].z > z + 1, "in warm-up at once: %.2f to %.2f", z,
       nodes[2].p.depth[2].z);
    terms.learning = 0;
    z = nodes[2].p.depth[2].z;
    votes(&nodes[0], 5000, 3);
    turn();
    ok(nodes[2].p.depth[2].z < z && nodes[2].p.depth[2].z > z - 0.001,
       "later by half a day's: %.4f to %.4f", z, nodes[2].p.depth[2].z);

    /* forgetting: tables that are halved on one node and not yet on another */

    for (t = 0; t < 30; t++) {
        votes(&nodes[0], 4000, 3);
        votes(&nodes[1], 1500, 3);
        turn();
    }

    for (i = 0; i < NODES; i++) {
        ok(nodes[i].p.depth[2].votes > 20000
           && nodes[i].p.depth[2].votes <= 50000,
           "node %u remembers %.0f votes", i, nodes[i].p.depth[2].votes);
    }

    /* one begins anew: what it casts then counts, nothing twice */

    z = nodes[2].p.depth[2].votes;
    votes(&nodes[1], 10, 3);
    start(&nodes[1], 999);
    votes(&nodes[1], 40, 3);
    i = (unsigned) nodes[2].p.depth[2].votes;
    turn();
    ok(nodes[2].p.depth[2].votes - z == 40, "of a restarted node %.1f of 40",
       nodes[2].p.depth[2].votes - z);
    ok(nodes[1].p.depth[2].votes < 50, "which does not take old ones again: "
       "%.1f", nodes[1].p.depth[2].votes);
}


static void
priors(void)
{
    unsigned  i, t;

    for (i = 0; i < NODES; i++) {
        start(&nodes[i], 10 + i);
    }

    nodes[0].p.mu = 5;
    nodes[1].p.mu = 4;
    nodes[2].p.mu = 1;

    for (t = 0; t < 60; t++) {
        votes(&nodes[0], 30, 5);
        votes(&nodes[1], 10, 5);
        turn();
    }

    ok(fabs(nodes[2].p.mu - nodes[0].p.mu) < 0.01
       && fabs(nodes[1].p.mu - nodes[0].p.mu) < 0.01,
       "priors come together: %.3f %.3f %.3f", nodes[0].p.mu, nodes[1].p.mu,
       nodes[2].p.mu);
    ok(nodes[0].p.mu > 4 && nodes[0].p.mu < 5.2, "where most votes are");

    nodes[2].p.mu = -3;
    votes(&nodes[0], 30, 5);
    turn();
    ok(fabs(nodes[2].p.mu + 2.75) < 0.01, "by a quarter a turn: %.3f",
       nodes[2].p.mu);
}


static void
adopted(void)
{
    float         z;
    prd_pooled_t  was;

    start(&nodes[0], 1);
    start(&nodes[1], 2);
    terms.learning = 1;
    votes(&nodes[0], 3000, 6);
    prd_pooled_newcomer(&nodes[0].p, &terms, now_s);
    terms.learning = 0;
    prd_merge_put(nodes[0].buf, &nodes[0].own, &nodes[0].p, 5000);

    is_int(prd_merge_votes(&nodes[0].p), 3011, "tables with votes");
    is_int(prd_merge_votes(&nodes[1].p), 11, "and without");

    is_int(prd_merge_adopt(nodes[0].buf, PRD_MERGE_SIZE, &nodes[1].p, &terms,
                           now_s), PRD_OK, "adopted");
    ok(apart(&nodes[0].p.depth[2], &nodes[1].p.depth[2]) < 3,
       "the same votes, %.2f apart",
       apart(&nodes[0].p.depth[2], &nodes[1].p.depth[2]));
    z = nodes[0].p.depth[2].z;
    ok(nodes[1].p.depth[2].z == z, "the same quantile");
    ok(fabs(nodes[1].p.newcomer_b / nodes[0].p.newcomer_b - 1) < 0.01,
       "the same newcomer: %.2f, %.2f", nodes[0].p.newcomer_b,
       nodes[1].p.newcomer_b);
    is_int(prd_merge_votes(&nodes[1].p), 3011, "with votes");

    was = nodes[1].p;
    nodes[0].buf[0] = 9;
    is_int(prd_merge_adopt(nodes[0].buf, PRD_MERGE_SIZE, &nodes[1].p, &terms,
                           now_s), PRD_EVERSION, "another version");
    nodes[0].buf[0] = PRD_MERGE_VERSION;
    is_int(prd_merge_adopt(nodes[0].buf, PRD_MERGE_SIZE - 1, &nodes[1].p,
                           &terms, now_s), PRD_ECORRUPT, "a byte short");
    is_int(prd_merge_adopt(nodes[0].buf, 0, &nodes[1].p, &terms, now_s),
           PRD_ECORRUPT, "nothing");
    memset(nodes[0].buf + PRD_MERGE_HEAD + 4, 0, PRD_CELLS * 2);
    is_int(prd_merge_adopt(nodes[0].buf, PRD_MERGE_SIZE, &nodes[1].p, &terms,
                           now_s), PRD_ECORRUPT, "a table without votes");
    ok(memcmp(&was, &nodes[1].p, sizeof(was)) == 0, "nothing was changed");
}


static void
hostile(void)
{
    float              z;
    double             sum;
    uint8_t           *b;
    uint32_t           i, j, bad;
    prd_merge_mean_t   mean;

    start(&nodes[0], 1);
    start(&nodes[1], 2);
    votes(&nodes[1], 500, 3);
    memset(&mean, 0, sizeof(mean));
    prd_merge_put(nodes[0].buf, &nodes[0].own, &nodes[0].p, 5000);
    (void) prd_merge_add(nodes[0].buf, PRD_MERGE_SIZE, &nodes[1].seen[0],
                         &mean, &nodes[1].p, &terms, 1, now_s);

    /* two thousand million votes for the uppermost cell */

    b = nodes[0].buf + PRD_MERGE_HEAD + 4 + PRD_CELLS * 2
        + 4 * (PRD_CELLS - 1);
    prd_pack32(&b, 2000000000);
    z = nodes[1].p.depth[0].z;
    sum = nodes[1].p.depth[0].votes;

    now_s += 60;
    is_int(prd_merge_add(nodes[0].buf, PRD_MERGE_SIZE, &nodes[1].seen[0],
                         &mean, &nodes[1].p, &terms, 0, now_s), PRD_OK,
           "votes without end");
    ok(fabs(nodes[1].p.depth[0].votes - sum - 20000) < 1,
       "are a minute's most: %.0f", nodes[1].p.depth[0].votes - sum);
    now_s += 60;
    b -= 4;
    prd_pack32(&b, 2000000000u + 30000);
    (void) prd_merge_add(nodes[0].buf, PRD_MERGE_SIZE, &nodes[1].seen[0],
                         &mean, &nodes[1].p, &terms, 0, now_s);
    ok(nodes[1].p.depth[0].z - z <= 2.01, "a first quantile by two: %.4f",
       nodes[1].p.depth[0].z - z);
    z = nodes[1].p.depth[0].z;
    now_s += 60;
    b -= 4;
    prd_pack32(&b, 2000000000u + 60000);
    (void) prd_merge_add(nodes[0].buf, PRD_MERGE_SIZE, &nodes[1].seen[0],
                         &mean, &nodes[1].p, &terms, 0, now_s);
    ok(nodes[1].p.depth[0].z - z < 0.001, "then it goes its way: %.4f",
       nodes[1].p.depth[0].z - z);

    /* any bytes: tables that go on */

    bad = 0;

    for (i = 0; i < 300; i++) {
        for (j = 4; j < PRD_MERGE_SIZE; j++) {
            nodes[0].buf[j] = i % 3 ? (uint8_t) lab_random() : 0xff;
        }

        if (i & 1) {
            start(&nodes[1], 2);
            (void) prd_merge_adopt(nodes[0].buf, PRD_MERGE_SIZE, &nodes[1].p,
                                   &terms, now_s);
        }

        (void) prd_merge_add(nodes[0].buf, PRD_MERGE_SIZE, &nodes[1].seen[0],
                             &mean, &nodes[1].p, &terms, 0, now_s);
        prd_merge_end(&nodes[1].own, &mean, &nodes[1].p, &terms);
        votes(&nodes[1], 20, 3);
        prd_pooled_newcomer(&nodes[1].p, &terms, now_s);

        bad += !isfinite(nodes[1].p.mu) || !(nodes[1].p.sigma > 0)
               || !isfinite(nodes[1].p.newcomer_b)
               || !isfinite(nodes[1].p.depth[2].z)
               || !(nodes[1].p.depth[2].votes > 0)
               || !isfinite(nodes[1].p.depth[2].votes);
    }

    is_int(bad, 0, "whatever the bytes");
}


int
main(void)
{
    together();
    priors();
    adopted();
    hostile();

    return done_testing();
}
