
/*
 * What the recurrent network is worth: feeds it series of counts in time
 * order, each trace apart, every forecast made before its bin is seen, and
 * scores it by class of series and length of bin.
 *
 * Usage: gru speed      CPU time a client, of 10,000 with random counts
 *        gru SERIES.csv[.gz] [only=NAME,NAME...] [not=NAME,NAME...]
 *            [from=0.6] [budget=64] [seed=1] [horizon=0] [keep]
 *            [teach=NAME,NAME...]
 *
 * SERIES has lines of series_id,bin_seconds,t0,kind,counts; series_id begins
 * with the trace and a colon; kind is agg, group, heavy or light.  `from` is
 * the part of each series that is not scored, `budget` the windows trained
 * on when bins have closed, horizon=1, 6 or 12 scores that one alone, `keep`
 * takes the network from one trace to the next, and `teach` are traces that
 * are gone through first, not scored, and kept.
 *
 * Methods, all with quantiles 0.5, 0.9, 0.95, 0.99; those of all but gru are
 * a location plus quantiles of its own errors in the last 2016 bins, small
 * ones rounded, as the network's are:
 *
 *     last     the last value; not rounded, it is what others are held to
 *     ewma     the best of four exponential means so far
 *     gru      the network's quantiles as they are
 *     gru+e    the network's median
 *     mix      fixed share on pinball loss over nine experts: last value,
 *              the four means, damped Holt, TSB, hour of the day, and
 *              quantiles of the values themselves
 *     mix+g    the same with gru and gru+e
 *
 * rel: geometric mean over series of (loss + 0.01) / (that of last + 0.01),
 * loss being pinball loss over the mean absolute step of the series.
 */


#include <zlib.h>

#include "bench.h"
#include "prd_gru.h"


#define RECENT    2016
#define GAINS     4
#define LINE_BYTES  (8 << 20)

enum {
    LAST = 0, MEAN, HOLT = MEAN + GAINS, TSB, HOUR, VALUES, OLD,
    GRU = OLD, GRU_E, EXPERTS,
    EWMA = EXPERTS, MIX, MIX_G, METHODS
};

/* in order of the columns */

static const struct {
    int          method;
    const char  *name;
} columns[] = {
    { EWMA, "ewma" }, { GRU, "gru" }, { GRU_E, "gru+e" }, { MIX, "mix" },
    { MIX_G, "mix+g" }
};

#define COLUMNS  5

static const double  levels[4] = { 0.5, 0.9, 0.95, 0.99 };
static const int     ahead[3] = { 1, 6, 12 };
static const double  gains[GAINS] = { 0.05, 0.15, 0.4, 0.8 };


/* errors of the last bins, in order of age and in order of size */

typedef struct {
    float             *age;
    float             *sorted;
    unsigned           n;
    unsigned           head;
} window_t;


typedef struct {
    double             q[METHODS][4];
    double             at[EXPERTS];      /* locations */
} forecast_t;


typedef struct {
    window_t           errors[EXPERTS];
    forecast_t         ring[12];
    double             w[2][EXPERTS];    /* mix, mix+g */
    double             scale;
    double             loss[METHODS];
    double             weight;           /* of the network, summed */
    unsigned           points, cover99[METHODS];
} horizon_t;


typedef struct {
    char               trace[64];
    char               kind[8];
    int                teaches;
    unsigned           bin_s;
    uint64_t           t0;
    uint32_t          *y;
    unsigned           n, first, done;
    double             unit;             /* mean absolute step */
    double             level[GAINS], gain_loss[GAINS];
    double             last, holt, trend, active, size;
    double             hour[24], slow;
    unsigned           hours[24];
    prd_gru_client_t   client;
    horizon_t          h[3];
} series_t;


static series_t  *series;
static unsigned   n_series;


static double
pinball(double y, const double *q)
{
    double    sum;
    unsigned  k;

    for (sum = 0, k = 0; k < 4; k++) {
        sum += y >= q[k] ? levels[k] * (y - q[k])
                         : (levels[k] - 1) * (y - q[k]);
    }

    return sum / 4;
}


static unsigned
window_find(const window_t *w, float v)
{
    unsigned  lo, hi, mid;

    for (lo = 0, hi = w->n; lo < hi; /* void */ ) {
        mid = (lo + hi) / 2;

        if (w->sorted[mid] < v) {
            lo = mid + 1;

        } else {
            hi = mid;
        }
    }

    return lo;
}


static void
window_add(window_t *w, float v)
{
    unsigned  i;

    if (w->age == NULL) {
        w->age = malloc(RECENT * sizeof(float));
        w->sorted = malloc(RECENT * sizeof(float));
    }

    if (w->n == RECENT) {
        i = window_find(w, w->age[w->head]);
        w->n--;
        memmove(w->sorted + i, w->sorted + i + 1, (w->n - i) * sizeof(float));
    }

    i = window_find(w, v);
    memmove(w->sorted + i + 1, w->sorted + i, (w->n - i) * sizeof(float));
    w->sorted[i] = v;
    w->n++;

    w->age[w->head] = v;
    w->head = (w->head + 1) % RECENT;
}


static void
window_quantiles(const window_t *w, double at, double *q)
{
    double    p;
    unsigned  i, k;

    for (k = 0; k < 4; k++) {
        q[k] = at;

        if (w->n) {
            p = levels[k] * (w->n - 1);
            i = (unsigned) p;
            q[k] += w->sorted[i];

            if (i + 1 < w->n) {
                q[k] += (p - i) * (w->sorted[i + 1] - w->sorted[i]);
            }
        }

        q[k] = q[k] > 0 ? q[k] : 0;
    }
}


static void
mix(const double *w, double q[METHODS][4], double *out)
{
    unsigned  e, k;

    for (k = 0; k < 4; k++) {
        for (out[k] = 0, e = 0; e < EXPERTS; e++) {
            out[k] += w[e] * q[e][k];
        }
    }
}


/* Herbster and Warmuth 1998, over the first n experts */

static void
weigh(double *w, unsigned n, const double *loss, double scale)
{
    double    sum, best;
    unsigned  e;

    for (best = loss[0], e = 1; e < n; e++) {
        best = fmin(best, loss[e]);
    }

    for (sum = 0, e = 0; e < n; e++) {
        w[e] *= exp(-(loss[e] - best) / scale);
        sum += w[e];
    }

    for (e = 0; e < n; e++) {
        w[e] = w[e] / sum * 0.99 + 0.01 / n;
    }
}


static void
whole(double *q)
{
    unsigned  k;

    for (k = 0; k < 4; k++) {
        q[k] = q[k] < 0.5 ? 0
               : q[k] > 1 && q[k] < 32 ? floor(q[k] + 0.5) : q[k];
    }
}


static unsigned
hour_of(const series_t *s, uint64_t i)
{
    return (unsigned) ((s->t0 + i * s->bin_s) / 3600 % 24);
}


/* `i`: the bin that comes next */

static void
step_forecast(const prd_gru_t *g, series_t *s, unsigned i)
{
    float        q[3][4];
    double       damped;
    unsigned     n, j, k, t, best;
    horizon_t   *h;
    forecast_t  *f;

    memset(q, 0, sizeof(q));

    (void) prd_gru_forecast(g, &s->client, s->bin_s, q);

    for (best = 0, k = 1; k < GAINS; k++) {
        best = s->gain_loss[k] < s->gain_loss[best] ? k : best;
    }

    for (n = 0; n < 3; n++) {
        h = &s->h[n];
        f = &h->ring[s->done % 12];

        for (damped = 0, j = 0; j < (unsigned) ahead[n]; j++) {
            damped += pow(0.9, j + 1);
        }

        f->at[LAST] = s->last;
        f->at[HOLT] = s->holt + damped * s->trend;
        f->at[TSB] = s->active * s->size;
        f->at[VALUES] = 0;
        f->at[GRU] = f->at[GRU_E] = (double) q[n][0];

        for (k = 0; k < GAINS; k++) {
            f->at[MEAN + k] = s->level[k];
        }

        t = hour_of(s, i + (unsigned) ahead[n] - 1);
        f->at[HOUR] = s->level[0];

        if (s->hours[t] && s->slow > 0) {
            f->at[HOUR] *= fmin(fmax(s->hour[t] / s->slow, 0.05), 20);
        }

        for (j = 0; j < OLD; j++) {
            window_quantiles(&h->errors[j], f->at[j], f->q[j]);
        }

        window_quantiles(&h->errors[GRU_E], f->at[GRU_E], f->q[GRU_E]);
        memcpy(f->q[EWMA], f->q[MEAN + best], sizeof(f->q[EWMA]));

        for (j = LAST + 1; j <= EWMA; j++) {
            whole(f->q[j]);
        }

        for (k = 0; k < 4; k++) {
            f->q[GRU][k] = (double) q[n][k];
        }

        mix(h->w[0], f->q, f->q[MIX]);
        mix(h->w[1], f->q, f->q[MIX_G]);
    }
}


static void
step_see(series_t *s, double y, int scored)
{
    double       loss[METHODS];
    unsigned     i, j;
    horizon_t   *h;
    forecast_t  *f;

    for (i = 0; i < 3; i++) {
        h = &s->h[i];

        if (s->done < (unsigned) ahead[i]) {
            continue;
        }

        f = &h->ring[(s->done + 1 - (unsigned) ahead[i]) % 12];

        for (j = 0; j < METHODS; j++) {
            loss[j] = pinball(y, f->q[j]);

            if (scored) {
                h->loss[j] += loss[j];
                h->cover99[j] += y <= f->q[j][3] + 1e-6;
            }
        }

        if (scored) {
            h->points++;
            h->weight += h->w[1][GRU] + h->w[1][GRU_E];
        }

        h->scale += (loss[LAST] - h->scale) * fmax(0.02, 1.0 / (s->done + 1));
        weigh(h->w[0], OLD, loss, fmax(h->scale, 1e-3) * 2);
        weigh(h->w[1], EXPERTS, loss, fmax(h->scale, 1e-3) * 2);

        for (j = 0; j < EXPERTS; j++) {
            if (j != GRU) {
                window_add(&h->errors[j], (float) (y - f->at[j]));
            }
        }
    }
}


static void
step_learn(series_t *s, unsigned i, double y)
{
    double    was;
    unsigned  k, t;

    t = hour_of(s, i);

    if (s->done == 0) {
        s->holt = s->slow = y;
        s->active = 0.5;
        s->size = y;
    }

    for (k = 0; k < GAINS; k++) {
        if (s->done == 0) {
            s->level[k] = y;
        }

        s->gain_loss[k] = 0.99 * s->gain_loss[k]
                          + 0.01 * fabs(y - s->level[k]);
        s->level[k] += gains[k] * (y - s->level[k]);
    }

    was = s->holt;
    s->holt += 0.9 * s->trend;
    s->holt += 0.3 * (y - s->holt);
    s->trend = 0.9 * s->trend + 0.1 * (s->holt - was - 0.9 * s->trend);

    s->active += 0.1 * ((y > 0) - s->active);
    s->size += y > 0 ? 0.1 * (y - s->size) : 0;

    s->hours[t]++;
    s->hour[t] += (y - s->hour[t])
                  / fmin(s->hours[t], fmax(4, 4 * 3600.0 / s->bin_s));
    s->slow += (y - s->slow) / fmin(s->done + 1, 3 * 86400.0 / s->bin_s);

    s->last = y;
}


static void
step(prd_gru_t *g, series_t *s, unsigned i, double from)
{
    int       scored;
    double    y;

    y = s->y[i];

    if (s->done) {
        scored = s->done >= 24 && i >= from * s->n;
        step_see(s, y, scored);
    }

    step_learn(s, i, y);

    (void) prd_gru_add(g, &s->client, s->bin_s,
                       (uint32_t) (s->t0 / s->bin_s + i), y, 1);

    /* a forecast of the bin `done` ahead is looked up by done */

    s->done++;
    step_forecast(g, s, i + 1);
}


static void
run(prd_gru_t *g, series_t *first, series_t *end, double from,
    unsigned budget, uint64_t *adds, double *fed, double *trained)
{
    int        any;
    double     cpu;
    uint64_t   t, last;
    series_t  *s;

    last = 0;
    t = UINT64_MAX;

    for (s = first; s < end; s++) {
        t = s->t0 < t ? s->t0 : t;
        last = s->t0 + (uint64_t) s->n * s->bin_s > last
               ? s->t0 + (uint64_t) s->n * s->bin_s : last;
    }

    for (t += 60; t <= last; t += 60) {
        cpu = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);
        any = 0;

        for (s = first; s < end; s++) {
            uint64_t  i;

            if (t < s->t0 + s->bin_s || (t - s->t0) % s->bin_s) {
                continue;
            }

            i = (t - s->t0) / s->bin_s - 1;

            if (i >= s->first && i < s->n) {
                step(g, s, (unsigned) i, from);
                (*adds)++;
                any = 1;
            }
        }

        *fed += bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;

        if (any) {
            cpu = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);
            (void) prd_gru_train(g, budget);
            *trained += bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        }
    }
}


static int
listed(const char *list, const char *name)
{
    size_t       n;
    const char  *p;

    for (n = strlen(name), p = list; p; p = strchr(p, ',')) {
        p += *p == ',';

        if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0')) {
            return 1;
        }
    }

    return 0;
}


static void
load(const char *name, const char *only, const char *not, const char *teach)
{
    int        teaches;
    char      *line, *p, *field[5];
    gzFile     f;
    unsigned   i, k, size;
    series_t  *s;

    line = malloc(LINE_BYTES);
    f = gzopen(name, "rb");

    if (f == NULL || gzgets(f, line, LINE_BYTES) == NULL) {
        bench_die("no series");
    }

    while (gzgets(f, line, LINE_BYTES)) {
        for (p = line, i = 0; i < 5; i++) {
            field[i] = p;
            p = i < 4 ? strchr(p, ',') : p;

            if (p == NULL) {
                bench_die("a line without five fields");
            }

            if (i < 4) {
                *p++ = '\0';
            }
        }

        p = strchr(field[0], ':');

        if (p) {
            *p = '\0';
        }

        teaches = teach && listed(teach, field[0]);

        if (!teaches && ((only && !listed(only, field[0]))
                         || (not && listed(not, field[0]))))
        {
            continue;
        }

        series = realloc(series, (n_series + 1) * sizeof(series_t));
        s = &series[n_series++];
        memset(s, 0, sizeof(series_t));

        snprintf(s->trace, sizeof(s->trace), "%.63s", field[0]);
        snprintf(s->kind, sizeof(s->kind), "%.7s", field[3]);
        s->teaches = teaches;
        s->bin_s = (unsigned) atoi(field[1]);
        s->t0 = strtoull(field[2], NULL, 10);

        for (size = 0, p = field[4]; *p && *p != '\n'; /* void */ ) {
            if (s->n == size) {
                size = size ? 2 * size : 256;
                s->y = realloc(s->y, size * sizeof(uint32_t));
            }

            s->y[s->n++] = (uint32_t) strtoul(p, &p, 10);
            p += *p == ' ';
        }

        while (s->first < s->n && s->y[s->first] == 0) {
            s->first++;
        }

        for (i = s->first + 1; i < s->n; i++) {
            s->unit += fabs((double) s->y[i] - s->y[i - 1]);
        }

        s->unit = s->n > s->first + 1 ? s->unit / (s->n - s->first - 1) : 0;

        for (i = 0; i < 3; i++) {
            for (k = 0; k < EXPERTS; k++) {
                s->h[i].w[0][k] = k < OLD ? 1.0 / OLD : 0;
                s->h[i].w[1][k] = 1.0 / EXPERTS;
            }
        }
    }

    gzclose(f);
    free(line);
}


static const char *
class_of(const series_t *s)
{
    return strcmp(s->kind, "heavy") == 0 ? "busy"
           : strcmp(s->kind, "light") == 0 ? "light" : "aggregate";
}


static void
report(const char *kind, unsigned bin_s, int only)
{
    double     loss[METHODS], rel[METHODS], weight;
    unsigned   i, j, n, points, all, c99[METHODS];
    series_t  *s;

    n = all = 0;
    weight = 0;
    memset(rel, 0, sizeof(rel));
    memset(c99, 0, sizeof(c99));

    for (s = series; s < series + n_series; s++) {
        if (strcmp(class_of(s), kind) || s->bin_s != bin_s || s->unit == 0
            || s->teaches)
        {
            continue;
        }

        memset(loss, 0, sizeof(loss));
        points = 0;

        for (i = 0; i < 3; i++) {
            if (only && ahead[i] != only) {
                continue;
            }

            points += s->h[i].points;
            weight += s->h[i].weight;

            for (j = 0; j < METHODS; j++) {
                loss[j] += s->h[i].loss[j];
                c99[j] += s->h[i].cover99[j];
            }
        }

        if (points == 0) {
            continue;
        }

        n++;
        all += points;

        for (j = 0; j < METHODS; j++) {
            rel[j] += log((loss[j] / points / s->unit + 0.01)
                          / (loss[LAST] / points / s->unit + 0.01));
        }
    }

    if (n == 0) {
        return;
    }

    printf("%9s@%-5u%5u%9u", kind, bin_s, n, all);

    for (j = 0; j < COLUMNS; j++) {
        printf("%7.3f", exp(rel[columns[j].method] / n));
    }

    printf("%8.3f", exp((rel[GRU] - rel[EWMA]) / n));
    printf("%8.3f", exp((rel[MIX_G] - rel[MIX]) / n));
    printf("%8.2f", weight / all);

    for (j = 1; j < COLUMNS; j++) {
        printf("%5.0f", 1000.0 * c99[columns[j].method] / all);
    }

    printf("\n");
}


#define CROWD  10000

static void
speed(prd_gru_t *g)
{
    float              q[3][4];
    double             add, forecast, train, cpu, sum;
    unsigned           i, t, windows;
    prd_gru_client_t  *c;

    c = calloc(CROWD, sizeof(prd_gru_client_t));
    add = forecast = train = sum = 0;
    windows = 0;

    for (t = 0; t < 100; t++) {
        cpu = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);

        for (i = 0; i < CROWD; i++) {
            (void) prd_gru_add(g, &c[i], 60, 28000000 + t,
                               bench_below(1 + i % 1000), 1);
        }

        add += bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        cpu = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);

        for (i = 0; i < CROWD; i++) {
            (void) prd_gru_forecast(g, &c[i], 60, q);
            sum += (double) q[0][3];
        }

        forecast += bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        cpu = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);
        windows += prd_gru_train(g, 64);
        train += bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    }

    printf("a bin added %.0f ns, 3 horizons forecast %.0f ns, a window "
           "trained on %.1f us, a round of 64 %.2f ms (checksum %g)\n",
           add / (100.0 * CROWD) * 1e9, forecast / (100.0 * CROWD) * 1e9,
           train / windows * 1e6, train / 100 * 1e3, sum);

    free(c);
}


int
main(int argc, char **argv)
{
    int          i, only, keep, pass;
    double       from, fed, trained;
    uint64_t     adds, seed, windows, steps;
    unsigned     budget, k, j, bins[5] = { 60, 300, 600, 3600, 0 };
    series_t    *s, *end;
    prd_gru_t   *g, *taught;
    const char  *with, *without, *teach;

    from = 0.6;
    budget = 64;
    seed = 1;
    only = keep = 0;
    with = without = teach = NULL;

    if (argc < 2) {
        bench_die("usage: gru SERIES.csv[.gz] [only=] [not=] [from=] "
                  "[budget=] [seed=] [horizon=] [keep] [teach=]");
    }

    for (i = 2; i < argc; i++) {
        if (strncmp(argv[i], "only=", 5) == 0) {
            with = argv[i] + 5;

        } else if (strncmp(argv[i], "not=", 4) == 0) {
            without = argv[i] + 4;

        } else if (strncmp(argv[i], "from=", 5) == 0) {
            from = atof(argv[i] + 5);

        } else if (strncmp(argv[i], "budget=", 7) == 0) {
            budget = (unsigned) atoi(argv[i] + 7);

        } else if (strncmp(argv[i], "seed=", 5) == 0) {
            seed = strtoull(argv[i] + 5, NULL, 10);

        } else if (strncmp(argv[i], "horizon=", 8) == 0) {
            only = atoi(argv[i] + 8);

        } else if (strncmp(argv[i], "teach=", 6) == 0) {
            teach = argv[i] + 6;

        } else if (strcmp(argv[i], "keep") == 0) {
            keep = 1;

        } else {
            bench_die("an argument that means nothing");
        }
    }

    g = malloc(sizeof(prd_gru_t));
    prd_gru_init(g, seed);

    if (strcmp(argv[1], "speed") == 0) {
        speed(g);
        return 0;
    }

    load(argv[1], with, without, teach);

    adds = windows = steps = 0;
    fed = trained = 0;

    taught = malloc(sizeof(prd_gru_t));
    *taught = *g;

    for (pass = 0; pass < 2; pass++) {
        for (s = series; s < series + n_series; s = end) {
            for (end = s; end < series + n_series; end++) {
                if (strcmp(end->trace, s->trace)) {
                    break;
                }
            }

            if (s->teaches == pass) {
                continue;
            }

            if (pass == 1 && !keep) {
                *g = *taught;
            }

            windows -= g->trained;
            steps -= g->steps;
            run(g, s, end, from, budget, &adds, &fed, &trained);
            windows += g->trained;
            steps += g->steps;
        }

        *taught = *g;
    }

    printf("bytes: network %zu, client %zu; %llu bins, %llu windows, "
           "%llu steps, %llu resets\n",
           sizeof(prd_gru_t), sizeof(prd_gru_client_t),
           (unsigned long long) adds, (unsigned long long) windows,
           (unsigned long long) steps, (unsigned long long) g->resets);
    printf("CPU: %.1f us a window trained on (bins with their scoring: "
           "%.1f us)\n",
           windows ? trained / (double) windows * 1e6 : 0,
           adds ? fed / (double) adds * 1e6 : 0);

    printf("%15s%5s%9s", "class", "n", "points");

    for (j = 0; j < COLUMNS; j++) {
        printf("%7s", columns[j].name);
    }

    printf("%8s%8s%8s   cov99: gru gru+e mix mix+g\n", "gru/ewma", "+g/mix",
           "weight");

    for (k = 0; bins[k]; k++) {
        report("busy", bins[k], only);
        report("light", bins[k], only);
        report("aggregate", bins[k], only);
    }

    return 0;
}
