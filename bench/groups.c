
/*
 * Groups of a population whose kinds are known: the adjusted Rand index of
 * five and of six kinds, for seeds and both sets of parameters, day by day;
 * and what it costs.
 *
 * Usage: groups [clients [days [seeds [first]]]]
 */


#include "bench.h"
#include "population.h"
#include "prd_group.h"


static const char  *groups_kinds[] = {
    "power", "batch", "light", "bursty", "diurnal", "intermittent"
};

/* percent of each, in a population where kinds are not as many */

static const uint32_t  groups_uneven[] = { 3, 5, 60, 12, 20 };


static uint32_t
groups_kind(size_t i, unsigned kinds)
{
    uint32_t  k, at;

    if (kinds > 0) {
        return (uint32_t) (i % kinds);
    }

    at = (uint32_t) (i * 37 % 100);

    for (k = 0; at >= groups_uneven[k]; k++) {
        at -= groups_uneven[k];
    }

    return k;
}


typedef struct {
    double  count_s, counted;
    double  pass_s, passed;
    double  step_s, steps, longest_s;
} groups_cost_t;


static void
groups_pass(prd_groups_t *g, prd_group_work_t *w, const pop_client_t *c,
    size_t n, uint64_t now_s, uint8_t *place, uint32_t *outliers,
    groups_cost_t *cost)
{
    int       vote, outlier;
    float     x[PRD_HABIT_FEATURES];
    size_t    i;
    double    t, s;
    prd_rc_t  rc;

    *outliers = 0;
    t = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);

    prd_group_begin(w);

    for (i = 0; i < n; i++) {
        place[i] = 15;

        if (prd_habit_features(&c[i].habit, now_s, 0, PRD_GROUP_ASSIGN, x)
            != PRD_OK)
        {
            continue;
        }

        vote = c[i].habit.bins >= PRD_GROUP_VOTES
               && prd_habit_age_s(&c[i].habit, now_s) >= PRD_GROUP_VOTE_S;

        place[i] = (uint8_t) prd_group_learn(g, w, x, vote, &outlier) & 15;
        *outliers += (uint32_t) outlier && vote;
    }

    prd_group_end(g, w, now_s, 0);

    cost->pass_s += bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - t;
    cost->passed += (double) n;

    do {
        s = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);
        rc = prd_group_step(g, w, now_s, 0);
        s = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - s;

        cost->step_s += s;
        cost->longest_s = prd_max(cost->longest_s, s);
    } while (rc == PRD_EAGAIN);

    cost->steps += rc == PRD_OK;
}


/* A line for each kind: how its clients were named. */

static void
groups_table(const prd_groups_t *g, const uint8_t *kind, const uint8_t *place,
    size_t n)
{
    char      name[PRD_GROUP_NAME];
    size_t    i, k, p;
    unsigned  table[POP_KINDS][16];

    memset(table, 0, sizeof(table));

    for (i = 0; i < n; i++) {
        table[kind[i]][place[i]]++;
    }

    for (k = 0; k < POP_KINDS; k++) {
        printf("    %-14s", groups_kinds[k]);

        for (p = 0; p < 16; p++) {
            prd_group_name(g, (unsigned) p, name);

            if (table[k][p]) {
                printf(" %s %u", p == 15 ? "none" : name, table[k][p]);
            }
        }

        printf("\n");
    }
}


static double
groups_run(size_t n, uint32_t days, unsigned set, unsigned kinds,
    uint64_t seed, groups_cost_t *cost)
{
    double            ari, t;
    size_t            i;
    uint8_t          *kind, *place;
    uint32_t          day, outliers, k;
    uint64_t          now_s;
    pop_client_t     *c;
    prd_groups_t      g;
    prd_group_work_t  w;

    c = calloc(n, sizeof(pop_client_t));
    kind = malloc(n);
    place = malloc(n);

    if (c == NULL || kind == NULL || place == NULL) {
        bench_die("no memory");
    }

    memset(&g, 0, sizeof(prd_groups_t));
    memset(&w, 0, sizeof(prd_group_work_t));

    for (i = 0; i < n; i++) {
        kind[i] = (uint8_t) groups_kind(i, kinds);
        pop_init(&c[i], (pop_kind_e) kind[i], &pop_terms[set],
                 seed * 1000003 + i);
    }

    ari = 0;
    outliers = 0;
    printf("set %u, %s, seed %u: ARI by day", set,
           kinds == 6 ? "6 kinds" : kinds ? "5 kinds" : "uneven",
           (unsigned) seed);
    fflush(stdout);

    for (day = 0; day < days; day++) {

        for (i = 0; i < n; i++) {
            pop_day(&c[i], &pop_terms[set], day);
        }

        now_s = POP_S + (day + 1ull) * POP_DAY_S;

        /* a pass an hour with what is known at the end of the day */

        for (k = 0; k < 24; k++) {
            groups_pass(&g, &w, c, n, now_s - 23 * 3600 + k * 3600, place,
                        &outliers, cost);
        }

        ari = pop_ari(kind, place, n);
        printf(" %.3f", ari);
        fflush(stdout);
    }

    printf("; %.2f %% outliers\n", 100.0 * outliers / (double) n);
    groups_table(&g, kind, place, n);

    /* what a bin costs: a busy client's, then one an hour's */

    t = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);

    for (day = 0; day < 100; day++) {
        prd_habit_bin_t  bin = { 3, 1, 1000 };

        for (i = 0; i < n; i++) {
            prd_habit_count(&c[i].habit, &bin, POP_S + (uint64_t) days
                            * POP_DAY_S + day * 60, 0);
        }
    }

    cost->count_s += bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - t;
    cost->counted += 100.0 * (double) n;

    free(c);
    free(kind);
    free(place);

    return ari;
}


int
main(int argc, char **argv)
{
    size_t         n;
    double         ari, least;
    uint32_t       days;
    unsigned       set, i, kinds, seeds, first, seed;
    groups_cost_t  cost;

    n = argc > 1 ? (size_t) atol(argv[1]) : 10000;
    days = argc > 2 ? (uint32_t) atoi(argv[2]) : 7;
    seeds = argc > 3 ? (unsigned) atoi(argv[3]) : 3;
    first = argc > 4 ? (unsigned) atoi(argv[4]) : 1;

    memset(&cost, 0, sizeof(groups_cost_t));
    least = 1;

    for (set = 0; set < POP_TERMS; set++) {
        for (i = 0; i < 3; i++) {
            kinds = i ? i + 4 : 0;

            for (seed = first; seed < first + seeds; seed++) {
                ari = groups_run(n, days, set, kinds, seed, &cost);
                least = prd_min(least, ari);
            }
        }
    }

    printf("%u bytes a client, %u of groups, %u of work\n",
           (unsigned) sizeof(prd_habit_t), (unsigned) sizeof(prd_groups_t),
           (unsigned) sizeof(prd_group_work_t));
    printf("CPU: %.0f ns a client and bin, %.0f ns a client and pass, "
           "DBSCAN %.1f ms, its longest step %.2f ms\n",
           1e9 * cost.count_s / cost.counted, 1e9 * cost.pass_s / cost.passed,
           1e3 * cost.step_s / prd_max(cost.steps, 1), 1e3 * cost.longest_s);
    printf("least ARI %.3f\n", least);

    return least < 0.9;
}
