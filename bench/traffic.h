
/*
 * Made-up honest traffic of a website: visitors who come once, people who
 * come back, pollers, services that burst, nightly and hourly batches.
 * Sessions are pages, pages are bursts of objects; how much a client wants is
 * heavy-tailed, most of it comes by day.  The same seed, the same traffic.
 */


#ifndef TRAFFIC_H_INCLUDED
#define TRAFFIC_H_INCLUDED


#include "bench.h"


typedef struct {
    uint32_t  ms;                        /* since the start */
    uint32_t  client;
    uint32_t  class_;                    /* of its path, 0.. */
} traffic_request_t;

typedef struct {
    traffic_request_t  *r;
    size_t              n;
    size_t              room;
    uint32_t            clients;
    double              span;            /* seconds */
} traffic_t;

#define TRAFFIC_CLASSES  8


/* One class is half of everything, the next a quarter... */

static uint32_t
traffic_class(void)
{
    uint32_t  c;

    for (c = 0; c < TRAFFIC_CLASSES - 1 && bench_uniform() < 0.5; c++) {
        /* void */
    }

    return c;
}


static void
traffic_add(traffic_t *t, uint32_t client, uint32_t class_, double s)
{
    if (s < 0 || s >= t->span) {
        return;
    }

    if (t->n == t->room) {
        t->room = t->room ? 2 * t->room : 1 << 16;
        t->r = realloc(t->r, t->room * sizeof(traffic_request_t));

        if (t->r == NULL) {
            bench_die("no memory");
        }
    }

    t->r[t->n].ms = (uint32_t) (s * 1000);
    t->r[t->n].client = client;
    t->r[t->n++].class_ = class_;
}


static int
traffic_compare(const void *a, const void *b)
{
    const traffic_request_t  *x = a, *y = b;

    return x->ms != y->ms ? (x->ms < y->ms ? -1 : 1)
           : x->client != y->client ? (x->client < y->client ? -1 : 1)
           : x->class_ < y->class_ ? -1 : x->class_ > y->class_;
}


static void
traffic_sort(traffic_t *t)
{
    qsort(t->r, t->n, sizeof(traffic_request_t), traffic_compare);
}


/* A moment of a day, by day rather than at night; `shift` in hours */

static double
traffic_moment(double day, double shift)
{
    double  h, x;

    do {
        h = 24 * bench_uniform();
        x = (h - 14) / 4;
    } while (bench_uniform() > 0.1 + 0.9 * exp(-x * x / 2));

    return day * BENCH_DAY + fmod(h + shift + 24, 24) * 3600;
}


/* Pages of a lognormal think time, each a document and its objects. */

static void
traffic_session(traffic_t *t, uint32_t client, double s, double pages,
    double objects)
{
    uint32_t  i, n, k, class_;

    for (n = bench_geometric(pages); n; n--) {
        class_ = traffic_class();
        traffic_add(t, client, class_, s);

        k = bench_geometric(objects) - 1;

        for (i = 0; i < k; i++) {
            traffic_add(t, client, class_, s + bench_exponential(0.6));
        }

        s += exp(3 + bench_normal());
    }
}


static void
traffic_person(traffic_t *t, uint32_t client, double days)
{
    double  d, shift, visits;

    shift = 2 * bench_normal();
    visits = 0.4 * exp(bench_normal());              /* a day */

    for (d = 0; d < days; d++) {
        double  left = visits;

        while (bench_uniform() < left) {
            left -= bench_uniform();
            traffic_session(t, client, traffic_moment(d, shift), 8, 5);
        }
    }
}


static void
traffic_poller(traffic_t *t, uint32_t client)
{
    double    s, every;
    uint32_t  class_;

    class_ = traffic_class();
    every = exp(log(15) + bench_uniform() * log(60));

    for (s = every * bench_uniform(); s < t->span; s += every) {
        traffic_add(t, client, class_, s + 0.05 * every * bench_normal());
    }
}


/* on for a Pareto time, off for one */

static void
traffic_service(traffic_t *t, uint32_t client)
{
    double    s, on, rate, end;
    uint32_t  class_;

    class_ = traffic_class();
    rate = 0.02 * exp(bench_uniform() * log(25));

    for (s = 0; s < t->span; /* void */ ) {
        on = 5 + 60 * (pow(bench_uniform(), -1 / 1.3) - 1);
        on = prd_min(on, 7200);

        for (end = s + on; s < end; s += bench_exponential(1 / rate)) {
            traffic_add(t, client, class_, s);
        }

        s = end + 60 + 1800 * (pow(bench_uniform(), -1 / 1.2) - 1);
    }
}


static void
traffic_batch(traffic_t *t, uint32_t client, double every)
{
    double    s, at;
    uint32_t  i, n, size, class_;

    class_ = traffic_class();
    size = (uint32_t) exp(3 + 3.5 * bench_uniform());

    for (s = every * bench_uniform(); s < t->span; s += every) {
        n = (uint32_t) (size * fmax(0.1, 1 + 0.15 * bench_normal()));
        at = s + 20 * bench_normal();

        for (i = 0; i < n; i++) {
            at += bench_exponential(0.5);
            traffic_add(t, client, class_, at);
        }
    }
}


/*
 * `people` who come back; per 100 of them 150 passers-by a day, 3 pollers, 2
 * services, 2 batches.  Requests are sorted, clients count from 0.
 */

static void BENCH_UNUSED
traffic_make(traffic_t *t, double days, uint32_t people)
{
    uint32_t  i, n;

    memset(t, 0, sizeof(traffic_t));
    t->span = days * BENCH_DAY;

    for (i = 0; i < people; i++) {
        traffic_person(t, t->clients++, days);
    }

    for (i = 0; i < people * 3 / 100; i++) {
        traffic_poller(t, t->clients++);
    }

    for (i = 0; i < people * 2 / 100; i++) {
        traffic_service(t, t->clients++);
    }

    for (i = 0; i < people * 2 / 100; i++) {
        traffic_batch(t, t->clients++, i % 5 < 3 ? BENCH_HOUR : BENCH_DAY);
    }

    n = (uint32_t) (people * 1.5 * days);

    for (i = 0; i < n; i++) {
        traffic_session(t, t->clients++,
                        traffic_moment(floor(days * bench_uniform()), 0),
                        5, 5);
    }

    traffic_sort(t);
}


/*
 * What a backend for this traffic would be sized to: twice the 99.9 %
 * quantile of the requests per 10 s, of those bins that have any.
 */

static double BENCH_UNUSED
traffic_capacity(const traffic_t *t)
{
    size_t   i, n, bins;
    double  *count, capacity;

    bins = (size_t) (t->span / PRD_BIN_S) + 1;
    count = calloc(bins, sizeof(double));

    for (i = 0; i < t->n; i++) {
        count[t->r[i].ms / (1000 * PRD_BIN_S)]++;
    }

    qsort(count, bins, sizeof(double), bench_compare);

    for (n = 0; n < bins && count[n] == 0; n++) { /* void */ }

    capacity = 2 * count[n + (size_t) (0.999 * (double) (bins - n - 1))]
               / PRD_BIN_S;
    free(count);

    return capacity;
}


/*
 * Another's trace instead: lines "seconds TAB client TAB class ...", clients
 * and classes numbers.  From a pipe of gzip where it ends in .gz.
 */

static void BENCH_UNUSED
traffic_read(traffic_t *t, const char *name)
{
    int     gz;
    char    line[512], cmd[4200];
    FILE   *f;
    double  s, first;
    size_t  i;
    unsigned long  client, class_;

    memset(t, 0, sizeof(traffic_t));
    t->span = 40.0 * BENCH_DAY;

    gz = strlen(name) > 3 && strcmp(name + strlen(name) - 3, ".gz") == 0;

    if (strchr(name, '\'')) {
        bench_die("a quote in the name of a trace");
    }

    snprintf(cmd, sizeof(cmd), "gzip -dc '%s'", name);
    f = gz ? popen(cmd, "r") : fopen(name, "r");

    if (f == NULL) {
        bench_die(name);
    }

    first = -1;

    while (fgets(line, sizeof(line), f)) {

        class_ = 0;

        if (sscanf(line, "%lf %lu %lu", &s, &client, &class_) < 2) {
            continue;
        }

        if (first < 0) {
            first = floor(s);
        }

        traffic_add(t, (uint32_t) client, (uint32_t) class_, s - first);
        t->clients = prd_max(t->clients, (uint32_t) client + 1);
    }

    (void) (gz ? pclose(f) : fclose(f));

    if (t->n == 0) {
        bench_die("an empty trace");
    }

    /* stamps of whole seconds are spread inside their second */

    for (i = 0; i < t->n && t->r[i].ms % 1000 == 0; i++) { /* void */ }

    if (i == t->n) {
        for (i = 0; i < t->n; i++) {
            t->r[i].ms += bench_below(1000);
        }
    }

    traffic_sort(t);
    t->span = t->r[t->n - 1].ms / 1000.0 + 1;
}


#endif /* TRAFFIC_H_INCLUDED */
