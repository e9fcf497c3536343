
/*
 * Can strangers move what all clients are judged and forecast by?  10,000
 * fresh keys vote for a week, as many at a time as an hour sees, to raise the
 * pooled quantiles or to lower them; with newcomer= (100 addresses) and
 * without.  Each lives for a day, is active in some 40 bins of 10 s, and so
 * earns a record and, where one is free, a track.
 *
 * To raise: bursts of all sizes at odd times, each greater than what came
 * before.  To lower: busy until forecasts expect it to be, then nothing.
 *
 * Bounds (src/README.md, "What can be moved"), looked at every hour: Z of an
 * age moves by 0.5 a day at most; of a pooled error z, log2(1 + |z|) does; a
 * table that had no votes yet begins near what stood in for it; widths stay
 * within 0.25 of an anchor that moves by at most that a day.  A bound is for
 * the time since the table was last moved.
 *
 * Usage: votes [honest clients]
 */


#include "traffic.h"


#define VOTES_KEYS       10000
#define VOTES_ADDRESSES  100
#define VOTES_DAYS       7
#define VOTES_START      (8 * BENCH_DAY) /* tables have become slow */
#define VOTES_EPS        0.002           /* single precision, and 16 votes */
#define VOTES_FIRST      2.0             /* sigma: a table's first Z */
#define VOTES_ZS         (3 * PRD_AGES)


typedef enum { NOBODY = 0, LOWER, RAISE, WAYS } votes_way_e;

static const char *const  votes_ways[] = { "nobody", "lower", "raise" };

/* What is published at a moment. */

typedef struct {
    float               z[VOTES_ZS];
    double              at_s[VOTES_ZS];
    prd_track_errors_t  errors[PRD_TRACK_CLASSES][PRD_TRACK_HORIZONS]
                              [PRD_EXPERT_LOCATIONS][PRD_TRACK_STATES];
    float               width[PRD_TRACK_CLASSES][PRD_TRACK_HORIZONS]
                             [PRD_TRACK_STATES][PRD_QUANTILES - 1];
} votes_look_t;

typedef struct {
    double  z;                           /* greatest step, of its bound */
    double  error;
    double  width;
} votes_steps_t;


static double
votes_scale(double z)
{
    return copysign(log2(1 + fabs(z)), z);
}


static const prd_scores_t *
votes_scores(const bench_zone_t *z, unsigned i)
{
    const prd_pooled_t  *p;

    p = &z->view.zone->pooled;

    return i < PRD_AGES ? &p->depth[i]
           : i < 2 * PRD_AGES ? &p->rate[i - PRD_AGES]
           : &p->near[i - 2 * PRD_AGES];
}


static void
votes_look(const bench_zone_t *z, votes_look_t *l)
{
    unsigned                    i, k, s;
    const prd_track_horizon_t  *h;

    for (i = 0; i < VOTES_ZS; i++) {
        l->z[i] = votes_scores(z, i)->z;
        l->at_s[i] = votes_scores(z, i)->at_s;
    }

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {
        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            h = &z->view.outlook.outlook->tracks.horizon[i][k];
            memcpy(l->errors[i][k], h->errors, sizeof(h->errors));

            for (s = 0; s < PRD_TRACK_STATES; s++) {
                memcpy(l->width[i][k][s], h->state[s].width,
                       sizeof(l->width[i][k][s]));
            }
        }
    }
}


/* How far a table's quantiles are from another's, on the bounded scale. */

static double
votes_off(const prd_track_errors_t *t, const prd_track_errors_t *was)
{
    double    d;
    unsigned  u;

    for (d = 0, u = 0; u < PRD_QUANTILES; u++) {
        d = fmax(d, fabs(votes_scale(t->q[u]) - votes_scale(was->q[u])));
    }

    return d;
}


/*
 * The step of a table, as a part of what the time since it was last moved
 * allows; one that had not been moved began with what stood in for it.
 */

static double
votes_error(const prd_track_errors_t *a, const prd_track_errors_t *b,
    unsigned state)
{
    double    d, s;
    unsigned  idle;

    if (b[state].at_s == a[state].at_s) {
        return 0;
    }

    if (a[state].at_s) {
        d = votes_off(&b[state], &a[state]);
        s = (double) b[state].at_s - a[state].at_s;

    } else {
        idle = PRD_TRACK_IDLE + state % PRD_TRACK_IDLES;
        d = fmin(votes_off(&b[state], &a[idle]),
                 votes_off(&b[state], &a[PRD_TRACK_ALL]));
        d = fmin(d, votes_off(&b[state], &b[idle]));
        d = fmin(d, votes_off(&b[state], &b[PRD_TRACK_ALL]));
        s = 2 * BENCH_HOUR;              /* since then, it and they */
    }

    return fmax(d - VOTES_EPS, 0) / (PRD_TRACK_PER_DAY * s / BENCH_DAY);
}


/* What an hour has moved, as parts of the bounds. */

static void
votes_step(const votes_look_t *a, const votes_look_t *b, votes_steps_t *s)
{
    double    d;
    unsigned  i, k, e, j, u;

    for (i = 0; i < VOTES_ZS; i++) {

        if (b->at_s[i] == a->at_s[i]) {
            continue;
        }

        if (a->at_s[i] != 0) {
            d = fabs(b->z[i] - a->z[i]) - VOTES_EPS;
            d /= 0.5 * (b->at_s[i] - a->at_s[i]) / BENCH_DAY;

        } else {
            j = i % PRD_AGES && b->at_s[i - 1] != 0 ? i - 1 : i;
            d = fabs(b->z[i] - a->z[j]) - VOTES_EPS;
            d /= VOTES_FIRST + 2 * 0.5 / 24;
        }

        s->z = fmax(s->z, d);
    }

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {
        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            for (e = 0; e < PRD_EXPERT_LOCATIONS; e++) {
                for (j = 0; j < PRD_TRACK_STATES; j++) {
                    s->error = fmax(s->error,
                                    votes_error(a->errors[i][k][e],
                                                b->errors[i][k][e], j));
                }
            }

            for (j = 0; j < PRD_TRACK_STATES; j++) {
                for (u = 0; u < PRD_QUANTILES - 1; u++) {
                    d = fabs(b->width[i][k][j][u] - a->width[i][k][j][u]);
                    s->width = fmax(s->width, (d - VOTES_EPS)
                                              / (PRD_TRACK_BAND
                                                 * (2 + 1 / 24.0)));
                }
            }
        }
    }
}


/* A key's day. */

static void
votes_key(traffic_t *t, uint32_t client, double start, votes_way_e way)
{
    double    s;
    unsigned  i, k, n;

    s = start;

    for (i = 0; i < 40; i++) {

        if (way == RAISE) {
            n = 1 + (i % 4 == 3 ? 8u << (i / 8) : 0);
            s += i % 4 == 3 ? 900 : bench_exponential(2000);

        } else {
            n = i % 10 == 0 ? 1 : 4;
            s += i % 10 == 0 ? 4 * BENCH_HOUR : 12;
        }

        for (k = 0; k < n; k++) {
            traffic_add(t, client, 0, s + 8.0 * k / n);
        }
    }
}


static void
votes_run(const traffic_t *honest, votes_way_e way, int parents,
    votes_look_t *first, votes_look_t *last, votes_steps_t *steps)
{
    size_t               i, j;
    uint32_t             ms, client, next;
    unsigned             k, mine;
    uint64_t             address[VOTES_ADDRESSES];
    traffic_t            attack;
    char                 words[64];
    votes_look_t        *look;
    static bench_zone_t  z;

    memset(steps, 0, sizeof(votes_steps_t));
    memset(last, 0, sizeof(votes_look_t));
    memset(&attack, 0, sizeof(traffic_t));
    attack.span = honest->span;

    if (way != NOBODY) {
        bench_state = 7;

        for (k = 0; k < VOTES_KEYS; k++) {
            votes_key(&attack, honest->clients + k,
                      VOTES_START + k * (VOTES_DAYS - 1.0) * BENCH_DAY
                                    / VOTES_KEYS, way);
        }

        traffic_sort(&attack);
    }

    snprintf(words, sizeof(words), "capacity=%.1fr/s",
             traffic_capacity(honest));
    bench_zone_init(&z, words, honest->clients + VOTES_KEYS, 300);

    for (k = 0; k < VOTES_ADDRESSES; k++) {
        address[k] = bench_tag(&z, 0xadd0000000ull + k);
    }

    look = malloc(sizeof(votes_look_t));
    next = VOTES_START + 60;
    i = j = 0;

    while (i < honest->n || j < attack.n) {
        mine = i == honest->n
               || (j < attack.n && attack.r[j].ms < honest->r[i].ms);
        ms = mine ? attack.r[j].ms : honest->r[i].ms;
        client = mine ? attack.r[j++].client : honest->r[i++].client;

        for ( /* void */ ; next <= ms / 1000
              && next <= VOTES_START + VOTES_DAYS * BENCH_DAY;
              next += BENCH_HOUR)
        {
            bench_zone_clock(&z, next);
            votes_look(&z, look);

            if (next == VOTES_START + 60) {
                *first = *look;

            } else {
                votes_step(last, look, steps);
            }

            *last = *look;
        }

        (void) bench_zone_ask(&z, bench_tag(&z, client),
                              !parents ? 0 : mine
                              ? address[client % VOTES_ADDRESSES]
                              : bench_tag(&z, 0xadd1000000ull + client),
                              0, ms);
    }

    free(look);
    free(attack.r);
    bench_zone_free(&z);
}


static void
votes_print(const votes_look_t *first, votes_look_t last[WAYS])
{
    unsigned                   i, k, u, w;
    const prd_track_errors_t  *t;

    static const char  *names[] = {
        "depth, 0.999, blocks", "rate, 0.95, hours", "near, 0.95, run"
    };

    static const char  *ages[] = { "0", "1-2", "3-7", "8-31", "32-127",
                                   "128+" };

    static const unsigned  levels[PRD_QUANTILES] = { 500, 900, 950, 990 };

    printf("  %-28s %8s %26s\n", "Z of", "before", "after: nobody lower raise");

    for (i = 0; i < VOTES_ZS; i++) {
        printf("  %-21s %-6s %8.2f", names[i / PRD_AGES], ages[i % PRD_AGES],
               (double) first->z[i]);

        for (w = 0; w < WAYS; w++) {
            printf(" %8.2f", (double) last[w].z[i]);
        }

        printf("%s\n", first->at_s[i] != 0 ? "" : "   (had no votes)");
    }

    printf("  errors of the short mean, all states, at quantile\n");

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {
        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            for (u = 1; u < PRD_QUANTILES; u++) {
                t = &first->errors[i][k][PRD_EXPERT_SHORT][PRD_TRACK_ALL];
                printf("  %4u s, %2u ahead, 0.%03u      %8.2f",
                       prd_outlook_span_s[i], prd_track_ahead(k), levels[u],
                       (double) t->q[u]);

                for (w = 0; w < WAYS; w++) {
                    t = &last[w].errors[i][k][PRD_EXPERT_SHORT]
                                       [PRD_TRACK_ALL];
                    printf(" %8.2f", (double) t->q[u]);
                }

                printf("\n");
            }
        }
    }
}


int
main(int argc, char **argv)
{
    int            bad, parents, wrong;
    traffic_t      t;
    votes_way_e    way;
    votes_look_t  *first, *last;
    votes_steps_t  steps;

    bench_state = 1;
    traffic_make(&t, 8 + VOTES_DAYS, argc > 1 ? (uint32_t) atoi(argv[1]) : 30);

    first = malloc(sizeof(votes_look_t));
    last = malloc(WAYS * sizeof(votes_look_t));

    printf("votes: %u honest clients, 10,000 fresh keys vote for a week\n",
           t.clients);

    bad = 0;

    for (parents = 0; parents <= 1; parents++) {
        for (way = NOBODY; way < WAYS; way++) {
            votes_run(&t, way, parents, first, &last[way], &steps);

            wrong = steps.z > 1 || steps.error > 1 || steps.width > 1;
            bad |= wrong;

            printf("%-6s %-10s greatest step, of its bound: Z %.2f,"
                   " errors %.2f, widths %.2f%s\n", votes_ways[way],
                   parents ? "newcomer=" : "without", steps.z, steps.error,
                   steps.width, wrong ? "   EXCEEDED" : "");
        }

        votes_print(first, last);
    }

    free(first);
    free(last);
    free(t.r);

    return bad;
}
