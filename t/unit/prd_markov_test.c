
/*
 * The chain over classes of requests: mix and cost against a known chain,
 * what is not on top, rings, packs, bad input.
 */


#include <math.h>
#include <stdlib.h>

#include "lab.h"
#include "prd_markov.h"


#define STATES  5


static const unsigned  classes[STATES] = { 3, 250, 7, 0, 99 };
static const double    costs[STATES] = { 1, 20, 3, 0, 500 };
static const double    chain[STATES][STATES] = {
    { 0.70, 0.10, 0.15, 0.04, 0.01 },
    { 0.05, 0.60, 0.30, 0.05, 0.00 },
    { 0.50, 0.00, 0.20, 0.20, 0.10 },
    { 0.90, 0.10, 0.00, 0.00, 0.00 },
    { 0.10, 0.10, 0.10, 0.60, 0.10 }
};


static unsigned
walk(unsigned from)
{
    double    u;
    unsigned  i;

    u = lab_uniform();

    for (i = 0; i < STATES - 1 && u >= chain[from][i]; i++) {
        u -= chain[from][i];
    }

    return i;
}


/* The true mix after `steps`, and the cost of them all. */

static double
truth(unsigned from, unsigned steps, double *mix)
{
    double    cost, to[STATES];
    unsigned  i, j;

    cost = 0;
    memset(mix, 0, STATES * sizeof(double));
    mix[from] = 1;

    while (steps-- > 0) {
        memset(to, 0, sizeof(to));

        for (i = 0; i < STATES; i++) {
            for (j = 0; j < STATES; j++) {
                to[j] += mix[i] * chain[i][j];
            }
        }

        memcpy(mix, to, sizeof(to));

        for (i = 0; i < STATES; i++) {
            cost += mix[i] * costs[i];
        }
    }

    return cost;
}


static void
forecast(prd_markov_t *m)
{
    float     mix[PRD_MARKOV_STATES], sum;
    double    cost, right, away, worst, worst_cost, want[STATES];
    unsigned  i, k, from, to;

    static const unsigned  steps[] = { 0, 1, 2, 5, 20, 1000 };

    memset(m, 0, sizeof(prd_markov_t));
    is_int(prd_markov_mix(m, 0, 1, mix), PRD_DECLINED, "nothing known");
    is_int(prd_markov_outlook(m, 0, 1, &cost), PRD_DECLINED, "no cost");

    lab_state = 1;
    from = 0;

    for (i = 0; i < 200000; i++) {
        to = walk(from);
        prd_markov_count(m, classes[from], classes[to], 1);
        prd_markov_cost(m, classes[to],
                        (float) (costs[to] * (0.5 + lab_uniform())));
        from = to;

        if (i % 1000 == 0) {
            prd_markov_fade(m, LAB_S + i / 100);
        }
    }

    worst = worst_cost = 0;

    for (k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
        for (from = 0; from < STATES; from++) {

            right = truth(from, steps[k], want);
            away = 1;
            (void) prd_markov_mix(m, prd_markov_state(m, classes[from]),
                                  steps[k], mix);

            for (sum = 0, i = 0; i < PRD_MARKOV_STATES; i++) {
                sum += mix[i];
            }

            for (away = fabs((double) sum - 1), i = 0; i < STATES; i++) {
                away += fabs((double) mix[prd_markov_state(m, classes[i])]
                             - want[i]);
            }

            worst = prd_max(worst, away / 2);

            (void) prd_markov_outlook(m, prd_markov_state(m, classes[from]),
                                      steps[k], &cost);
            worst_cost = prd_max(worst_cost,
                                 fabs(cost - right) / prd_max(right, 1));
        }
    }

    ok(worst < 0.02, "mixes are within %.4f (total variation)", worst);
    ok(worst_cost < 0.1, "costs are within %.1f %%", 100 * worst_cost);

    (void) truth(0, 1000, want);
    is_int(prd_markov_mix(m, PRD_MARKOV_STATES, 0, mix), PRD_OK, "anyone's");
    ok(fabs((double) mix[prd_markov_state(m, classes[0])] - want[0]) < 0.02,
       "is the stationary mix");
    is_int(prd_markov_mix(m, PRD_MARKOV_STATES + 1, 0, mix), PRD_ERANGE,
           "no such state");

    is_int(prd_markov_outlook(m, 0, UINT32_MAX, &cost), PRD_OK, "4 billion");
    ok(isfinite(cost) && cost > 0, "cost something");
}


static void
top(prd_markov_t *m)
{
    float     mix[PRD_MARKOV_STATES];
    unsigned  i, k, on;

    memset(m, 0, sizeof(prd_markov_t));

    for (k = 0; k < 3000; k++) {
        i = (unsigned) (exp(lab_uniform() * log(256)) - 1) & 255;
        prd_markov_count(m, (i * 7) & 255, i, 1);
        prd_markov_fade(m, LAB_S + k);
    }

    is_int(m->tops, PRD_MARKOV_TOP, "all states are in use");

    for (on = 0, i = 0; i < 8; i++) {
        on += prd_markov_state(m, i) != PRD_MARKOV_OTHER;
    }

    is_int(on, 8, "the eight most frequent classes are among them");

    /* others take over within days */

    for (k = 0; k < 5000; k++) {
        prd_markov_count(m, 200 + k % 16, 200 + (k + 1) % 16, 1);
        prd_markov_fade(m, LAB_S + 3000 + k * 100);
    }

    for (on = 0, i = 200; i < 216; i++) {
        on += prd_markov_state(m, i) != PRD_MARKOV_OTHER;
    }

    is_int(on, 16, "classes that are asked for now replace those of then");
    is_int(prd_markov_mix(m, prd_markov_state(m, 203), 1, mix), PRD_OK, "so");
    ok(mix[prd_markov_state(m, 204)] > 0.9f, "204 follows 203: %.3f",
       (double) mix[prd_markov_state(m, 204)]);
}


static void
rings(prd_markov_t *m)
{
    float                     sum;
    uint32_t                  tail, i;
    static prd_markov_ring_t  r;

    memset(m, 0, 2 * sizeof(prd_markov_t));
    memset(&r, 0, sizeof(r));

    /* heads wrap */

    r.head = tail = UINT32_MAX - 3;

    for (i = 0; i < 10; i++) {
        prd_markov_note(&r, 1, 4, 5);
    }

    prd_markov_note(&r, 2, 4, 5);
    prd_markov_note(&r, 255, 4, 5);

    is_int(prd_markov_drain(&r, &tail, m, 2), 12, "12 notes");
    is_int(prd_markov_drain(&r, &tail, m, 2), 0, "are taken once");
    is_int(m[0].seen[5], 0, "none is the first group's");
    is_int(m[1].seen[5], 10, "ten are the second's");

    for (i = 0; i < 10 * PRD_MARKOV_RING; i++) {
        prd_markov_note(&r, 0, 1, i & 1);
    }

    is_int(prd_markov_drain(&r, &tail, m, 2), PRD_MARKOV_RING, "a full ring");
    sum = m[0].seen[0] + m[0].seen[1];
    is_int(sum, 10 * PRD_MARKOV_RING, "stands for all that was noted");
}


static void
odd(prd_markov_t *m)
{
    float         mix[PRD_MARKOV_STATES];
    size_t        len, i;
    double        a, b;
    uint8_t       p[PRD_MARKOV_PACKED];
    unsigned      bad;
    prd_markov_t  was, to;

    forecast(m);

    was = *m;
    prd_markov_count(m, 256, 0, 1);
    prd_markov_count(m, 0, 256, 1);
    prd_markov_count(m, 0, 0, -1);
    prd_markov_count(m, 0, 0, NAN);
    prd_markov_cost(m, 256, 1);
    prd_markov_cost(m, 0, -1);
    prd_markov_cost(m, 0, NAN);
    ok(memcmp(m, &was, sizeof(was)) == 0, "what means nothing does nothing");

    prd_markov_fade(m, LAB_S - 86400 * 365);
    ok(memcmp(m->count, was.count, sizeof(was.count)) == 0,
       "a clock that steps back fades nothing");

    len = sizeof(p);
    is_int(prd_markov_pack(m, p, &len), PRD_OK, "packed");
    memset(&to, 0xff, sizeof(to));
    is_int(prd_markov_unpack(&to, p, len), PRD_OK, "and unpacked");
    (void) prd_markov_outlook(m, 1, 17, &a);
    (void) prd_markov_outlook(&to, 1, 17, &b);
    ok(a == b && a > 0, "to the same forecast");

    for (bad = 0, i = 0; i < len; i++) {
        bad += prd_markov_unpack(&to, p, i) == PRD_OK;
    }

    is_int(bad, 0, "a pack cut anywhere is refused");
    memcpy(&p[len - 4], "\xff\xff\xff\x7f", 4);
    is_int(prd_markov_unpack(&to, p, len), PRD_ECORRUPT, "NaN");
    p[21] = p[20];
    is_int(prd_markov_unpack(&to, p, len), PRD_ECORRUPT, "a class twice");
    p[0]++;
    is_int(prd_markov_unpack(&to, p, len), PRD_EVERSION, "another version");
    i = 8;
    is_int(prd_markov_pack(m, p, &i), PRD_ENOMEM, "too little room");

    /* a year later there is nothing left of it */

    prd_markov_fade(m, LAB_S + 86400ull * 365);
    is_int(prd_markov_mix(m, 0, 1, mix), PRD_DECLINED, "a year later");

    for (i = 0; i < 1000; i++) {
        prd_markov_count(m, 3, 250, 3e38f);
        prd_markov_cost(m, 250, INFINITY);
    }

    (void) prd_markov_mix(m, prd_markov_state(m, 3), 1, mix);
    (void) prd_markov_outlook(m, prd_markov_state(m, 3), 100, &a);
    ok(isfinite(a) && mix[prd_markov_state(m, 250)] > 0.99f,
       "the greatest weights and costs");
}


int
main(void)
{
    static prd_markov_t  m[2];

    forecast(m);
    top(m);
    rings(m);
    odd(m);

    return done_testing();
}
