
/*
 * A population of clients whose kinds are known, for the groups: random
 * parameters a client (rates log-uniform within a factor of 10 or so), noise,
 * days of absence, clients that come later.  Three sets of parameters: groups
 * were developed on the first; the last has no noise but little to go by.
 * For bench/groups.c and the unit test.
 */


#ifndef POPULATION_H_INCLUDED
#define POPULATION_H_INCLUDED


#include <math.h>
#include <stdlib.h>

#include "prd_habit.h"


#define POP_S       1699920000ull         /* a Tuesday's midnight */
#define POP_DAY_S   86400
#define POP_BINS    (POP_DAY_S / PRD_BIN_S)
#define POP_UNUSED  __attribute__((unused))


typedef enum {
    POP_POWER = 0,
    POP_BATCH,
    POP_LIGHT,
    POP_BURSTY,
    POP_DIURNAL,
    POP_INTERMITTENT,
    POP_KINDS
} pop_kind_e;

typedef struct {
    double  low, high;                    /* log-uniform between them */
} pop_range_t;

typedef struct {
    pop_range_t  power;                   /* requests a day */
    pop_range_t  batch, batch_s;          /* requests, duration */
    double       batch_from_h, batch_to_h, batch_jitter_s, batch_miss;
    pop_range_t  light;                   /* requests a day */
    pop_range_t  bursts, burst, burst_s;  /* a day, requests, duration */
    double       burst_tail;              /* 0: exponential gaps, else Pareto */
    pop_range_t  diurnal;                 /* requests a working day */
    double       diurnal_from_h, diurnal_to_h, diurnal_off;
    pop_range_t  sessions, session, session_s;  /* intermittent, a day */
    double       absent, late, stray;     /* days; share; requests a day */
} pop_terms_t;

static const pop_terms_t  pop_terms[] = {
    {
        { 1700, 17000 },
        { 1000, 10000 }, { 900, 7200 }, 0, 5, 300, 0.05,
        { 2, 20 },
        { 0.4, 2 }, { 50, 500 }, { 60, 900 }, 0,
        { 50, 500 }, 8, 17, 0.05,
        { 0.1, 0.5 }, { 8, 60 }, { 300, 2400 },
        0.03, 0.1, 0.3
    },
    {
        { 5000, 50000 },
        { 300, 4000 }, { 300, 3600 }, -2, 4, 900, 0.1,
        { 1.5, 12 },
        { 0.8, 5 }, { 100, 2000 }, { 20, 300 }, 1.6,
        { 150, 2000 }, 7, 19, 0.15,
        { 0.05, 0.3 }, { 5, 40 }, { 600, 3600 },
        0.05, 0.2, 0.1
    },
    {
        { 800, 8000 },
        { 200, 2000 }, { 60, 600 }, 1, 4, 60, 0,
        { 3, 30 },
        { 0.3, 1 }, { 30, 300 }, { 30, 600 }, 0,
        { 30, 300 }, 9, 17, 0,
        { 0.07, 0.3 }, { 3, 20 }, { 600, 3600 },
        0, 0, 0
    }
};

#define POP_TERMS  (sizeof(pop_terms) / sizeof(pop_terms[0]))


typedef struct {
    uint64_t     random;
    uint32_t     kind;
    uint32_t     first_day;
    double       rate;                    /* requests a day, or at a time */
    double       often;                   /* times a day */
    double       length_s;
    double       from_h, to_h;
    double       off;                     /* weekend's part of a day's rate */
    double       next_s;                  /* of the next burst or session */
    double       size;                    /* mean cost */
    double       errors;                  /* share */
    prd_habit_t  habit;
} pop_client_t;


static uint64_t
pop_random(uint64_t *state)
{
    uint64_t  z;

    /* splitmix64 (Steele, Lea, Flood 2014) */

    z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;

    return z ^ z >> 31;
}


static double
pop_uniform(uint64_t *state)
{
    return ((double) (pop_random(state) >> 11) + 0.5) / 9007199254740992.0;
}


static double
pop_normal(uint64_t *state)
{
    double  u;

    u = sqrt(-2 * log(pop_uniform(state)));

    return u * cos(6.283185307179586 * pop_uniform(state));
}


static double
pop_range(uint64_t *state, pop_range_t r)
{
    return r.low * pow(r.high / r.low, pop_uniform(state));
}


static unsigned
pop_poisson(uint64_t *state, double mean)
{
    double    p, q, u;
    unsigned  n;

    if (mean > 30) {
        u = mean + sqrt(mean) * pop_normal(state);
        return u > 0 ? (unsigned) (u + 0.5) : 0;
    }

    p = q = exp(-mean);
    u = pop_uniform(state);

    for (n = 0; u > q && n < 200; n++) {
        p *= mean / (n + 1);
        q += p;
    }

    return n;
}


/* To the next burst or session: never nearer than an hour. */

static double
pop_gap_s(pop_client_t *c, const pop_terms_t *t)
{
    double  mean_s, u;

    mean_s = POP_DAY_S / c->often;
    u = pop_uniform(&c->random);

    if (c->kind == POP_BURSTY && t->burst_tail > 0) {
        return 3600 + mean_s * (t->burst_tail - 1) / t->burst_tail
                      * pow(u, -1 / t->burst_tail);
    }

    return 3600 - log(u) * mean_s;
}


static void POP_UNUSED
pop_init(pop_client_t *c, pop_kind_e kind, const pop_terms_t *t, uint64_t seed)
{
    uint64_t  *r = &c->random;

    memset(c, 0, sizeof(pop_client_t));

    c->random = seed;
    (void) pop_random(r);

    c->kind = kind;
    c->first_day = pop_uniform(r) < t->late
                   ? (uint32_t) (pop_uniform(r) * 3) : 0;
    c->size = 200 * pow(100, pop_uniform(r));
    c->errors = 0.05 * pop_uniform(r) * pop_uniform(r);

    switch (kind) {

    case POP_POWER:
        c->rate = pop_range(r, t->power);
        break;

    case POP_BATCH:
        c->rate = pop_range(r, t->batch);
        c->length_s = pop_range(r, t->batch_s);
        c->from_h = t->batch_from_h
                    + pop_uniform(r) * (t->batch_to_h - t->batch_from_h);
        c->off = pop_uniform(r) < 0.2 ? 0 : 1;
        break;

    case POP_LIGHT:
        c->rate = pop_range(r, t->light);
        break;

    case POP_BURSTY:
        c->rate = pop_range(r, t->burst);
        c->often = pop_range(r, t->bursts);
        c->length_s = pop_range(r, t->burst_s);
        break;

    case POP_DIURNAL:
        c->rate = pop_range(r, t->diurnal);
        c->from_h = t->diurnal_from_h + 0.7 * pop_normal(r);
        c->to_h = t->diurnal_to_h + 0.7 * pop_normal(r);
        c->off = t->diurnal_off * pop_uniform(r);
        break;

    default:
        c->rate = pop_range(r, t->session);
        c->often = pop_range(r, t->sessions);
        c->length_s = pop_range(r, t->session_s);
        break;
    }

    if (c->often > 0) {
        c->next_s = pop_uniform(r) * POP_DAY_S / c->often;
    }
}


static void
pop_put(uint16_t *bins, double at_s)
{
    if (at_s >= 0 && at_s < POP_DAY_S) {
        bins[(unsigned) (at_s / PRD_BIN_S)]++;
    }
}


/* A day of the client into its habit; `day` from POP_S on. */

static void POP_UNUSED
pop_day(pop_client_t *c, const pop_terms_t *t, uint32_t day)
{
    int              weekend, absent;
    double           n, p, u, mean, term, at_s, base_s, hour;
    uint64_t        *r = &c->random;
    unsigned         i, k, level;
    uint16_t         bins[POP_BINS];
    prd_habit_bin_t  bin;

    weekend = (day + 1) % 7 == 5 || (day + 1) % 7 == 6;
    absent = day < c->first_day || pop_uniform(r) < t->absent;
    base_s = (double) day * POP_DAY_S;

    memset(bins, 0, sizeof(bins));

    switch ((pop_kind_e) c->kind) {

    case POP_POWER:

        for (k = 0; k < 24; k++) {
            mean = c->rate / POP_BINS * exp(0.25 * pop_normal(r));
            p = exp(-mean);

            for (i = k * 360; i < k * 360 + 360; i++) {
                u = pop_uniform(r);
                n = term = p;

                for (level = 0; u > n && level < 200; n += term) {
                    term *= mean / ++level;
                }

                bins[i] = (uint16_t) level;
            }
        }

        break;

    case POP_BATCH:

        if (weekend && c->off <= 0) {
            absent = 1;
        }

        if (pop_uniform(r) < t->batch_miss) {
            break;
        }

        at_s = fmod(c->from_h + 24, 24) * 3600
               + t->batch_jitter_s * pop_normal(r);
        n = pop_poisson(r, c->rate * exp(0.2 * pop_normal(r)));

        while (n-- > 0) {
            pop_put(bins, at_s + pop_uniform(r) * c->length_s);
        }

        break;

    case POP_LIGHT:

        n = pop_poisson(r, c->rate);

        while (n-- > 0) {
            pop_put(bins, pop_uniform(r) * POP_DAY_S);
        }

        break;

    case POP_DIURNAL:

        n = pop_poisson(r, c->rate * exp(0.3 * pop_normal(r))
                           * (weekend ? c->off : 1));

        while (n > 0) {
            hour = c->from_h + pop_uniform(r) * (c->to_h - c->from_h);

            if (hour > 12 && hour < 13 && pop_uniform(r) < 0.6) {
                continue;
            }

            pop_put(bins, hour * 3600);
            n--;
        }

        break;

    default:

        while (c->next_s < base_s + POP_DAY_S) {
            u = c->length_s * exp(0.4 * pop_normal(r));
            n = 1 + pop_poisson(r, c->rate * exp(0.4 * pop_normal(r)));

            while (n-- > 0) {
                pop_put(bins, c->next_s - base_s + pop_uniform(r) * u);
            }

            c->next_s += u + pop_gap_s(c, t);
        }
    }

    n = pop_poisson(r, t->stray);

    while (n-- > 0) {
        pop_put(bins, pop_uniform(r) * POP_DAY_S);
    }

    if (absent) {
        return;
    }

    for (i = 0; i < POP_BINS; i++) {

        if (bins[i] == 0) {
            continue;
        }

        bin.count = bins[i];
        bin.errors = pop_uniform(r) < c->errors * bins[i];
        bin.cost = (float) (bins[i] * c->size);

        prd_habit_count(&c->habit, &bin,
                        POP_S + (uint64_t) day * POP_DAY_S
                        + (uint64_t) i * PRD_BIN_S, 0);
    }
}


/*
 * Adjusted Rand index (Hubert and Arabie 1985) of two labellings of n, with
 * labels below 16.
 */

static double POP_UNUSED
pop_ari(const uint8_t *a, const uint8_t *b, size_t n)
{
    double  cell[16][16], row[16], column[16], both, rows, columns, all, by;
    size_t  i, j;

    memset(cell, 0, sizeof(cell));
    memset(row, 0, sizeof(row));
    memset(column, 0, sizeof(column));

    for (i = 0; i < n; i++) {
        cell[a[i] & 15][b[i] & 15]++;
        row[a[i] & 15]++;
        column[b[i] & 15]++;
    }

    both = rows = columns = 0;

    for (i = 0; i < 16; i++) {
        rows += row[i] * (row[i] - 1) / 2;
        columns += column[i] * (column[i] - 1) / 2;

        for (j = 0; j < 16; j++) {
            both += cell[i][j] * (cell[i][j] - 1) / 2;
        }
    }

    all = (double) n * ((double) n - 1) / 2;
    by = rows * columns / all;

    return (rows + columns) / 2 > by
           ? (both - by) / ((rows + columns) / 2 - by) : 1;
}


#endif /* POPULATION_H_INCLUDED */
