
/*
 * A farm of aged keys: 100 or 200 keys that behaved for hours or days, then
 * flood at once, against fresh keys that do the same.  What share of the
 * honest requests in the flood, and in the five minutes after it, is
 * throttled?  The mean of four floods in the second half of the trace.
 *
 * Three floods: on one path where class= tells paths apart; on all paths as
 * honest requests are spread, so that class= is no help; and without class=.
 *
 * Bound: aging buys at most twice the damage of fresh keys, or half a
 * percentage point more than it where they do little.
 *
 * Usage: farm [trace [floods [seed]]]   seconds TAB client TAB class...,
 *                                       several days, .gz; -: made up
 */


#include "traffic.h"


#define FARM_FLOOD_S   600
#define FARM_AFTER_S   300
#define FARM_TIMES     2                 /* the damage of fresh keys, or */
#define FARM_MORE      0.5               /* percentage points beyond it */
#define FARM_MOST      99.9              /* times that are printed */
#define FARM_HOURS     48


typedef struct {
    unsigned     hours;                  /* aged for */
    unsigned     per;                    /* requests an hour */
    unsigned     burst;                  /* of so many at once */
    const char  *name;
} farm_age_t;

/* the longer ones last, none longer than FARM_HOURS */

static const farm_age_t  farm_ages[] = {
    { 0, 0, 1, "fresh" },
    { 8, 1, 1, "8 h x 1/h" },
    { 24, 9, 3, "24 h x 9/h by 3" },
    { 48, 1, 1, "48 h x 1/h" },
    { 48, 8, 1, "48 h x 8/h" },
    { 48, 16, 1, "48 h x 16/h" }
};

#define FARM_AGES  (sizeof(farm_ages) / sizeof(farm_ages[0]))

typedef enum { ONE_CLASS = 0, ALL_CLASSES, NO_CLASS, FARM_WAYS } farm_way_e;

static const char *const  farm_ways[] = {
    "class=, on one path", "class=, on all paths", "without class="
};

static const unsigned  farm_keys[] = { 100, 200 };
static const double    farm_floods[] = { 1.5, 2, 4 };


typedef struct {
    double  throttled, honest, admitted, flood;
} farm_sum_t;

typedef farm_sum_t  farm_sums_t[2][3][FARM_AGES];


static void
farm_age(traffic_t *t, const traffic_t *honest, unsigned keys,
    const farm_age_t *a, double start)
{
    double    s, phase;
    uint32_t  first;
    unsigned  k, n, i;

    first = honest->clients;

    for (k = 0; k < keys; k++) {
        phase = bench_uniform();

        for (n = 0; n < a->hours * a->per; n += a->burst) {
            s = start - a->hours * BENCH_HOUR
                + (double) BENCH_HOUR / a->per * (n + phase * a->burst);

            for (i = 0; i < a->burst; i++) {
                if (s + i < start) {
                    traffic_add(t, first + k, honest->r[0].class_, s + i);
                }
            }
        }
    }

    traffic_sort(t);
}


static void
farm_flood(traffic_t *t, const traffic_t *honest, unsigned keys, double rate,
    double start, farm_way_e way)
{
    size_t    i, n;
    uint32_t  class_;

    n = (size_t) (rate * FARM_FLOOD_S);

    for (i = 0; i < n; i++) {
        class_ = honest->r[way == ALL_CLASSES
                           ? bench_below((uint32_t) honest->n) : 0].class_;
        traffic_add(t, honest->clients + bench_below(keys), class_,
                    start + FARM_FLOOD_S * bench_uniform());
    }

    traffic_sort(t);
}


/* Honest requests from *at on, and the farm's, up to `until` seconds. */

static void
farm_play(bench_zone_t *z, const traffic_t *honest, size_t *at,
    const traffic_t *farm, const uint64_t *tags, farm_way_e way, double until,
    farm_sum_t *sum)
{
    int                       refused, mine;
    char                      name[2];
    size_t                    i, j;
    uint32_t                  end, class_;
    const traffic_request_t  *r;

    end = (uint32_t) (until * 1000);

    for (i = *at, j = 0; /* void */ ; /* void */ ) {
        mine = farm && j < farm->n
               && (i == honest->n || farm->r[j].ms < honest->r[i].ms);

        if (!mine && (i == honest->n || honest->r[i].ms >= end)) {
            break;
        }

        r = mine ? &farm->r[j++] : &honest->r[i++];
        class_ = 0;

        if (way != NO_CLASS) {
            name[0] = (char) ('a' + r->class_ % 26);
            name[1] = (char) ('a' + r->class_ / 26 % 26);
            class_ = prd_zone_class(&z->view, (prd_str_t) { 2, name });
        }

        refused = bench_zone_ask(z, tags[r->client], 0, class_, r->ms);

        if (sum && mine) {
            sum->admitted += !refused;
            sum->flood++;

        } else if (sum) {
            sum->throttled += refused;
            sum->honest++;
        }
    }

    bench_zone_clock(z, end / 1000);
    *at = i;
}


/*
 * All ages begin from the same state, 48 h before the flood, and those that
 * are less than that share what comes before them.  Where classes are told
 * apart the two floods of different paths share all of the aging.
 */

static void
farm_run(const traffic_t *t, farm_way_e first, farm_way_e last, unsigned floods,
    farm_sums_t *sums)
{
    double               start, from, capacity, warmup;
    size_t               i, at, at_before, at_age, at_flood;
    uint64_t            *tags;
    unsigned             s, a, k, f, hours;
    farm_way_e           way;
    traffic_t            farm;
    char                 words[128];
    bench_saved_t        base = { 0 }, before = { 0 }, aged = { 0 };
    static bench_zone_t  z;

    capacity = traffic_capacity(t);
    warmup = floor(0.3 * t->span);

    snprintf(words, sizeof(words), "capacity=%.3fr/s warmup=%.0fs", capacity,
             warmup);
    bench_zone_init(&z, words, t->clients + 200, 200);

    tags = malloc((t->clients + 200) * sizeof(uint64_t));

    for (i = 0; i < t->clients + 200; i++) {
        tags[i] = bench_tag(&z, i);
    }

    from = fmax(warmup + 50 * BENCH_HOUR, t->span / 2);

    if (from > t->span - 2 * BENCH_HOUR) {
        bench_die("a trace of some days is needed: warm-up is 30 % of it,"
                  " keys age for two days");
    }

    at = 0;

    for (s = 0; s < floods; s++) {
        start = floor(from + (t->span - BENCH_HOUR - from)
                      * (floods > 1 ? (double) s / (floods - 1) : 0));

        hours = FARM_HOURS;
        farm_play(&z, t, &at, NULL, tags, first, start - hours * BENCH_HOUR,
                  NULL);
        bench_zone_save(&z, &base);
        bench_zone_save(&z, &before);
        at_before = at;

        for (a = FARM_AGES; a-- > 0; /* void */ ) {

            if (farm_ages[a].hours < hours) {
                hours = farm_ages[a].hours;
                bench_zone_restore(&z, &before);
                farm_play(&z, t, &at_before, NULL, tags, first,
                          start - hours * BENCH_HOUR, NULL);
                bench_zone_save(&z, &before);
            }

            for (k = 0; k < 2; k++) {

                bench_zone_restore(&z, &before);
                at_age = at_before;
                bench_state = 100 + s;

                memset(&farm, 0, sizeof(traffic_t));
                farm.span = t->span + BENCH_DAY;
                farm_age(&farm, t, farm_keys[k], &farm_ages[a], start);
                farm_play(&z, t, &at_age, &farm, tags, first, start, NULL);
                free(farm.r);

                bench_zone_save(&z, &aged);

                for (way = first; way <= last; way++) {
                    for (f = 0; f < 3; f++) {
                        bench_zone_restore(&z, &aged);
                        at_flood = at_age;
                        bench_state = 200 + s;

                        memset(&farm, 0, sizeof(traffic_t));
                        farm.span = t->span + BENCH_DAY;
                        farm_flood(&farm, t, farm_keys[k],
                                   farm_floods[f] * capacity, start, way);
                        farm_play(&z, t, &at_flood, &farm, tags, way,
                                  start + FARM_FLOOD_S + FARM_AFTER_S,
                                  &sums[way][k][f][a]);
                        free(farm.r);
                    }
                }
            }
        }

        bench_zone_restore(&z, &base);
    }

    free(base.mem);
    free(before.mem);
    free(aged.mem);
    free(tags);
    bench_zone_free(&z);
}


int
main(int argc, char **argv)
{
    int                bad, exceeded;
    char               text[64];
    double             fresh, share, x;
    unsigned           a, k, f, floods;
    traffic_t          t;
    farm_way_e         way;
    farm_sum_t        *q;
    static farm_sums_t  sums[FARM_WAYS];

    bench_state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;

    if (argc > 1 && strcmp(argv[1], "-") != 0) {
        traffic_read(&t, argv[1]);
    } else {
        traffic_make(&t, 6, 1000);
    }

    printf("farm: %zu honest requests of %u clients in %.1f days, capacity"
           " %.1f/s\nhonest requests throttled %%, percentage points above"
           " fresh keys, times theirs, (flood admitted %%), of how many\n",
           t.n, t.clients, t.span / BENCH_DAY, traffic_capacity(&t));

    bad = 0;

    floods = argc > 2 ? (unsigned) atoi(argv[2]) : 4;

    farm_run(&t, ONE_CLASS, ALL_CLASSES, floods, sums);
    farm_run(&t, NO_CLASS, NO_CLASS, floods, sums);

    for (way = 0; way < FARM_WAYS; way++) {

        printf("%-20s", farm_ways[way]);

        for (k = 0; k < 2; k++) {
            for (f = 0; f < 3; f++) {
                snprintf(text, sizeof(text), "%u keys %.1fx", farm_keys[k],
                         farm_floods[f]);
                printf(" %-22s", text);
            }
        }

        printf(" of %.0f\n", sums[way][0][0][0].honest);

        for (a = 0; a < FARM_AGES; a++) {
            printf("  %-18s", farm_ages[a].name);

            for (k = 0; k < 2; k++) {
                for (f = 0; f < 3; f++) {
                    q = &sums[way][k][f][0];
                    fresh = 100 * q->throttled / q->honest;

                    q = &sums[way][k][f][a];
                    share = 100 * q->throttled / q->honest;
                    x = share > FARM_MOST * fresh ? FARM_MOST
                        : fresh ? share / fresh : 1;

                    exceeded = share > FARM_TIMES * fresh
                               && share > fresh + FARM_MORE;
                    bad |= exceeded;

                    snprintf(text, sizeof(text), "%.2f %+.2f x%.1f%s (%.0f)",
                             share, share - fresh, x, exceeded ? "!" : "",
                             100 * q->admitted / q->flood);
                    printf(" %-22s", text);
                }
            }

            printf("\n");
        }
    }

    if (bad) {
        printf("EXCEEDED (!): aged keys do more than twice the damage of"
               " fresh ones,\nand more than %.1f percentage points beyond"
               " it\n", FARM_MORE);
    }

    return bad;
}
