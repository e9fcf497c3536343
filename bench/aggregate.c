
/*
 * Forecasts of aggregates over recorded series.
 *
 *   aggregate SERIES.csv[.gz] SAMPLE.csv     forecasts at the origins of the
 *                                            sample, a CSV row per horizon
 *   aggregate SERIES.csv[.gz] [-v] [LEAST]   each bin of the last 40 % of all
 *                                            aggregates: pinball loss against
 *                                            the last value, and coverage;
 *                                            -v: a line per series; only bins
 *                                            of LEAST seconds and more
 *
 * SERIES:  series_id,bin_seconds,t0,kind,counts, counts separated by blanks,
 *          kind agg or group (others are left out)
 * SAMPLE:  series_id,bin_seconds,group,origins, origins separated by ';'
 *
 * rel is the geometric mean over series of the loss at 0.5, 0.9, 0.95 and 0.99,
 * 1, 6 and 12 bins ahead, over that of the last value, whose quantiles are
 * those of its own last 2016 errors; both in mean |change| of the series, 0.01
 * added.  "halves" are the first and the second of the scored bins.
 */


#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <zlib.h>

#include "prd_aggregate.h"


#define AGGREGATE_LINE     (1 << 20)
#define AGGREGATE_BINS     (1 << 17)
#define AGGREGATE_WINDOW   2016
#define AGGREGATE_CLASSES  8
#define AGGREGATE_EAGER    1000          /* bins with a refit each */
#define AGGREGATE_EVERY    8             /* bins a refit, then */


typedef struct {
    const char  *id;
    const char  *kind;
    uint32_t     bin_s;
    int64_t      t0;
    size_t       n;
    double      *y;
} aggregate_series_t;


/* A sorted window of the last value's errors */

typedef struct {
    size_t       n;
    double       sorted[AGGREGATE_WINDOW];
} aggregate_window_t;


typedef struct {
    uint32_t     bin_s;
    unsigned     series;
    double       rel[4], rel_log[3];
    double       half_log[2];
    unsigned     half_n[2];
    double       points, covered[4];
    double       first, first_covered;
} aggregate_class_t;


static const unsigned  horizons[3] = { 1, 6, 12 };
static const double    levels[4] = { 0.5, 0.9, 0.95, 0.99 };

static aggregate_class_t  classes[AGGREGATE_CLASSES];


static double
aggregate_cpu_s(void)
{
    struct rusage  u;

    (void) getrusage(RUSAGE_SELF, &u);

    return u.ru_utime.tv_sec + u.ru_utime.tv_usec * 1e-6
           + u.ru_stime.tv_sec + u.ru_stime.tv_usec * 1e-6;
}


static double
aggregate_pinball(double y, double q, double level)
{
    return y >= q ? level * (y - q) : (level - 1) * (y - q);
}


static size_t
aggregate_find(const aggregate_window_t *w, double e)
{
    size_t  low, high, mid;

    low = 0;
    high = w->n;

    while (low < high) {
        mid = (low + high) / 2;

        if (w->sorted[mid] < e) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    return low;
}


static void
aggregate_window_add(aggregate_window_t *w, double e)
{
    size_t  i = aggregate_find(w, e);

    memmove(w->sorted + i + 1, w->sorted + i, (w->n - i) * sizeof(double));
    w->sorted[i] = e;
    w->n++;
}


static void
aggregate_window_remove(aggregate_window_t *w, double e)
{
    size_t  i = aggregate_find(w, e);

    w->n--;
    memmove(w->sorted + i, w->sorted + i + 1, (w->n - i) * sizeof(double));
}


static double
aggregate_window_quantile(const aggregate_window_t *w, double level)
{
    size_t  i;
    double  at;

    if (w->n == 0) {
        return 0;
    }

    at = level * (double) (w->n - 1);
    i = (size_t) at;

    return i + 1 >= w->n ? w->sorted[i]
           : w->sorted[i] + (at - (double) i)
                            * (w->sorted[i + 1] - w->sorted[i]);
}


/* The next line as a series; its words stay in `line`.  0: none. */

static int
aggregate_read(gzFile f, char *line, aggregate_series_t *s)
{
    char  *p, *field[5];
    int    i;

    do {
        if (gzgets(f, line, AGGREGATE_LINE) == NULL) {
            return 0;
        }

        for (i = 0, p = line; i < 5 && p; i++) {
            field[i] = p;
            p = i < 4 ? strchr(p, ',') : NULL;

            if (p) {
                *p++ = '\0';
            }
        }

    } while (i < 5 || strcmp(field[1], "bin_seconds") == 0);

    s->id = field[0];
    s->bin_s = (uint32_t) strtoul(field[1], NULL, 10);
    s->t0 = strtoll(field[2], NULL, 10);
    s->kind = field[3];

    for (s->n = 0, p = field[4]; s->n < AGGREGATE_BINS; s->n++) {
        char  *end;

        s->y[s->n] = strtod(p, &end);

        if (end == p) {
            break;
        }

        p = end;
    }

    return 1;
}


static void
aggregate_add(prd_aggregate_t *a, const aggregate_series_t *s, size_t i)
{
    (void) prd_aggregate_add(a, s->t0 / s->bin_s + (int64_t) i, s->y[i]);

    if (i < AGGREGATE_EAGER || i % AGGREGATE_EVERY == 0) {
        (void) prd_aggregate_refit(a, PRD_AGGREGATE_ANCHORS);
    }
}


static size_t
aggregate_first(const aggregate_series_t *s)
{
    size_t  i;

    for (i = 0; i < s->n && s->y[i] == 0; i++) { /* void */ }

    return i;
}


/* Forecasts at given origins */

static void
aggregate_origins(const aggregate_series_t *s, const char *origins)
{
    size_t           i;
    double           q[4], start;
    unsigned         h;
    const char      *p;
    prd_aggregate_t  a;

    p = origins;
    (void) prd_aggregate_init(&a, s->bin_s);
    start = aggregate_cpu_s();

    for (i = aggregate_first(s); i < s->n && p; i++) {

        if (i == strtoul(p, NULL, 10)) {
            for (h = 0; h < 3; h++) {
                if (prd_aggregate_forecast(&a, horizons[h], q) == PRD_OK) {
                    printf("%s,%u,%zu,aggregate,%u,%.4f,%.4f,%.4f,%.4f,%.6f\n",
                           s->id, s->bin_s, i, horizons[h], q[0], q[1], q[2],
                           q[3], (aggregate_cpu_s() - start) / (double) i);
                }
            }

            p = strchr(p, ';');
            p = p ? p + 1 : NULL;
        }

        aggregate_add(&a, s, i);
    }
}


/* Every bin of a series; its figures go to its class */

static void
aggregate_rolling(const aggregate_series_t *s, int verbose)
{
    size_t                     i, from, first;
    double                     q[4], own[3], last[3], scale, e, start, cpu,
                               covered[3], points, all, all_covered, lo, ln,
                               hown[2], hlast[2];
    unsigned                   h, k, c, half;
    prd_aggregate_t            a;
    aggregate_class_t         *t;
    static aggregate_window_t  w[3];

    first = aggregate_first(s);

    scale = 0;

    if (s->n < 120 || first > s->n / 2) {
        return;
    }

    for (i = first + 1; i < s->n; i++) {
        scale += fabs(s->y[i] - s->y[i - 1]);
    }

    scale /= (double) (s->n - first - 1);

    for (c = 0; classes[c].bin_s && classes[c].bin_s != s->bin_s; c++) { }

    if (scale == 0 || c == AGGREGATE_CLASSES - 1) {
        return;
    }

    t = &classes[c];
    t->bin_s = s->bin_s;

    memset(w, 0, sizeof(w));
    memset(own, 0, sizeof(own));
    memset(last, 0, sizeof(last));
    memset(covered, 0, sizeof(covered));
    memset(hown, 0, sizeof(hown));
    memset(hlast, 0, sizeof(hlast));
    points = all = all_covered = 0;
    from = (size_t) (0.6 * (double) s->n);
    (void) prd_aggregate_init(&a, s->bin_s);
    start = aggregate_cpu_s();

    for (i = first; i < s->n; i++) {

        if (i >= first + 24
            && prd_aggregate_forecast(&a, 1, q) == PRD_OK)
        {
            all++;
            all_covered += s->y[i] <= q[3] + 1e-6;
        }

        if (i >= from && i + 12 <= s->n) {
            half = i >= (from + s->n) / 2;
            points++;

            for (h = 0; h < 3; h++) {
                (void) prd_aggregate_forecast(&a, horizons[h], q);

                for (k = 0; k < 4; k++) {
                    e = s->y[i + horizons[h] - 1];
                    lo = aggregate_pinball(e, q[k], levels[k]) / scale;
                    own[h] += lo;
                    hown[half] += lo;

                    if (h == 0) {
                        t->covered[k] += e <= q[k] + 1e-9;
                    }

                    covered[h] += k == 3 && e <= q[k] + 1e-9;
                    ln = aggregate_pinball(e,
                               prd_max(0, s->y[i - 1]
                               + aggregate_window_quantile(&w[h], levels[k])),
                               levels[k]) / scale;
                    last[h] += ln;
                    hlast[half] += ln;
                }
            }
        }

        aggregate_add(&a, s, i);

        for (h = 0; h < 3; h++) {
            if (i < first + horizons[h]) {
                continue;
            }

            if (w[h].n == AGGREGATE_WINDOW - horizons[h]) {
                aggregate_window_remove(&w[h],
                    s->y[i - w[h].n] - s->y[i - w[h].n - horizons[h]]);
            }

            aggregate_window_add(&w[h], s->y[i] - s->y[i - horizons[h]]);
        }
    }

    cpu = aggregate_cpu_s() - start;

    for (h = 0, lo = 0, ln = 0; h < 3; h++) {
        t->rel_log[h] += log((own[h] / 4 / points + 0.01)
                             / (last[h] / 4 / points + 0.01));
        lo += own[h] / 12 / points;
        ln += last[h] / 12 / points;
    }

    for (half = 0; half < 2; half++) {
        t->half_log[half] += log((hown[half] / 6 / points + 0.01)
                                 / (hlast[half] / 6 / points + 0.01));
    }

    t->rel[0] += log((lo + 0.01) / (ln + 0.01));
    t->series++;
    t->points += points;
    t->first += all;
    t->first_covered += all_covered;

    if (verbose) {
        printf("%-28s %5u %6zu  rel %.3f  %.3f %.3f %.3f  q99 %.3f %.3f %.3f  "
               "all %.4f  %5.1f us\n", s->id, s->bin_s, s->n,
               (lo + 0.01) / (ln + 0.01), own[0] / last[0], own[1] / last[1],
               own[2] / last[2], covered[0] / points, covered[1] / points,
               covered[2] / points, all_covered / all,
               cpu / (double) s->n * 1e6);
    }
}


static void
aggregate_report(void)
{
    double              n, covered, all;
    unsigned            c;
    aggregate_class_t  *t;

    covered = all = 0;

    for (c = 0; c < AGGREGATE_CLASSES && classes[c].bin_s; c++) {
        t = &classes[c];
        n = t->series;
        printf("aggregate@%-5u series %3u  rel %.4f  h1 %.4f h6 %.4f h12 %.4f"
               "  halves %.4f %.4f  cov1 %.4f %.4f %.4f %.4f  all %.4f\n",
               t->bin_s, t->series,
               exp(t->rel[0] / n), exp(t->rel_log[0] / n),
               exp(t->rel_log[1] / n), exp(t->rel_log[2] / n),
               exp(t->half_log[0] / n), exp(t->half_log[1] / n),
               t->covered[0] / t->points, t->covered[1] / t->points,
               t->covered[2] / t->points, t->covered[3] / t->points,
               t->first_covered / t->first);
        covered += t->first_covered;
        all += t->first;
    }

    printf("q99 one bin ahead, all bins from the 24th: %.4f of %.0f; "
           "%zu bytes a series\n", covered / all, all,
           sizeof(prd_aggregate_t));
}


int
main(int argc, char **argv)
{
    char                *line, *sample, *p;
    FILE                *f;
    size_t               n;
    gzFile               in;
    uint32_t             least;
    unsigned             verbose;
    aggregate_series_t   s;
    char                 key[160];

    if (argc < 2 || (in = gzopen(argv[1], "r")) == NULL) {
        fprintf(stderr, "usage: aggregate SERIES.csv[.gz] "
                "[SAMPLE.csv | [-v] [LEAST]]\n");
        return 2;
    }

    line = malloc(AGGREGATE_LINE);
    sample = calloc(1, AGGREGATE_LINE);
    s.y = malloc(AGGREGATE_BINS * sizeof(double));

    if (line == NULL || sample == NULL || s.y == NULL) {
        return 2;
    }

    verbose = argc > 2 && strcmp(argv[2], "-v") == 0;
    least = argc > 2 + (int) verbose
            ? (uint32_t) strtoul(argv[2 + verbose], NULL, 10) : 0;

    if (argc > 2 && !verbose && least == 0) {
        f = fopen(argv[2], "r");

        if (f == NULL) {
            perror(argv[2]);
            return 2;
        }

        sample[0] = '\n';
        n = fread(sample + 1, 1, AGGREGATE_LINE - 2, f);
        (void) n;
        (void) fclose(f);
        printf("series_id,bin_seconds,origin,method,horizon,q50,q90,q95,q99,"
               "seconds\n");
    }

    while (aggregate_read(in, line, &s)) {

        if (strcmp(s.kind, "agg") && strcmp(s.kind, "group")) {
            continue;
        }

        if (sample[0] == '\0') {
            if (s.bin_s >= least) {
                aggregate_rolling(&s, verbose);
            }

            continue;
        }

        (void) snprintf(key, sizeof(key), "\n%s,%u,", s.id, s.bin_s);
        p = strstr(sample, key);

        if (p) {
            p = strchr(p + strlen(key), ',');
            aggregate_origins(&s, p + 1);
        }
    }

    if (sample[0] == '\0') {
        aggregate_report();
    }

    (void) gzclose(in);
    free(line);
    free(sample);
    free(s.y);

    return 0;
}
