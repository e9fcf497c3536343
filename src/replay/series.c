
/*
 * A trace is a zone: its series share tables, those of aggregates excepted,
 * which have a model each.  Time is that of the beginnings of bins: at S all
 * bins that end there are closed first, then forecasts with an origin at S
 * are made, so no series knows what another one does later.
 */


#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "../prd_aggregate.h"
#include "../prd_experts.h"
#include "../prd_gru.h"
#include "reader.h"
#include "series.h"


#define RPL_SERIES_BINS    10000000      /* of one series */
#define RPL_SERIES_TRAIN   64            /* windows of the network a bin */
#define RPL_SERIES_EAGER   1000          /* bins with a regression each */
#define RPL_SERIES_EVERY   8             /* and after that */
#define RPL_SERIES_Y_MAX   1e15
#define RPL_SERIES_CLASSES 64


typedef struct {
    char              *id;
    size_t             trace;            /* bytes of id */
    uint32_t           bin_s;
    uint64_t           t0;
    const char        *kind;
    unsigned           aggregate:1;
    unsigned           pooled:1;         /* has been through */
    float             *y;
    size_t             n;
    size_t             first;            /* bin with anything in it */
    uint32_t          *origins;          /* in order */
    size_t             norigins;
    size_t             next;             /* origin */

    /* while its trace is going through */
    prd_track_t       *track;
    prd_gru_client_t   cell;
    prd_aggregate_t   *model;
} rpl_serie_t;


typedef struct {
    rpl_serie_t       *serie;
    size_t             n;
    FILE              *out;              /* NULL: the table */
    uint64_t           begins;           /* of the trace at hand */
    prd_tracks_t      *tracks;
    prd_gru_t         *net;              /* NULL: without one */
    unsigned           network;
    clock_t            spent;            /* closing */
    uint64_t           closed;           /* bins */
    uint64_t           bins;             /* closed of clients, in all */
    double             cpu;              /* for them, s */

    struct {
        char           name[32];
        prd_score_t    score;
    } class[RPL_SERIES_CLASSES];
    unsigned           classes;
} rpl_series_t;


static const char  *rpl_series_kinds[] = { "heavy", "light", "agg", "group" };

static const unsigned  rpl_series_ahead[] = { 1, 6, 12 };


static void __attribute__((noreturn))
rpl_series_bad(const rpl_reader_t *r, const char *what)
{
    rpl_die(RPL_EXIT_BAD, "%s:%llu: %s", rpl_reader_path(r),
            (unsigned long long) rpl_reader_number(r), what);
}


/* A line, as a C string in a buffer of ours. */

static int
rpl_series_line(rpl_reader_t *r, char **buf, size_t *size)
{
    prd_rc_t     rc;
    prd_str_t    line;
    rpl_error_t  e;

    rc = rpl_reader_line(r, &line, &e);

    if (rc == PRD_DECLINED) {
        return 0;
    }

    if (rc == PRD_ELIMIT) {
        rpl_series_bad(r, "the line is too long");
    }

    if (rc != PRD_OK) {
        rpl_die(RPL_EXIT_BAD, "%s", e.text);
    }

    if (memchr(line.data, '\0', line.len) != NULL) {
        rpl_series_bad(r, "a zero byte");
    }

    if (line.len + 1 > *size) {
        *size = 2 * line.len + 1;
        *buf = rpl_realloc(*buf, *size);
    }

    memcpy(*buf, line.data, line.len);
    (*buf)[line.len] = '\0';

    return 1;
}


/* Cuts a column off, in place. */

static char *
rpl_series_column(char **p)
{
    char  *column;

    column = *p;

    if (column == NULL) {
        return NULL;
    }

    *p = strchr(column, ',');

    if (*p != NULL) {
        *(*p)++ = '\0';
    }

    return column;
}


static int
rpl_series_number(const char *p, char end, uint64_t max, uint64_t *n,
    const char **last)
{
    char  *stop;

    if (!isdigit((unsigned char) *p)) {
        return 0;
    }

    errno = 0;
    *n = strtoull(p, &stop, 10);

    if (errno || *n > max || (*stop != end && *stop != '\0')) {
        return 0;
    }

    *last = stop;

    return 1;
}


static void
rpl_series_counts(rpl_reader_t *r, rpl_serie_t *s, const char *p)
{
    char     *stop;
    double    y;
    size_t    size;

    size = strlen(p) / 2 + 1;
    s->y = rpl_alloc(size * sizeof(float));
    stop = NULL;

    for ( ;; ) {
        while (*p == ' ') {
            p++;
        }

        if (*p == '\0') {
            break;
        }

        y = isdigit((unsigned char) *p) ? strtod(p, &stop) : -1;

        if (y < 0 || y > RPL_SERIES_Y_MAX || (*stop != ' ' && *stop != '\0')) {
            rpl_series_bad(r, "a count must be a number from 0 on");
        }

        if (s->n == RPL_SERIES_BINS) {
            rpl_series_bad(r, "too many bins");
        }

        s->y[s->n++] = (float) y;
        p = stop;
    }

    if (s->n == 0) {
        rpl_series_bad(r, "no counts");
    }

    s->y = rpl_realloc(s->y, s->n * sizeof(float));

    while (s->first < s->n && s->y[s->first] == 0) {
        s->first++;
    }
}


static int
rpl_series_order(const void *a, const void *b)
{
    int                 rc;
    const rpl_serie_t  *x = a, *y = b;

    rc = strcmp(x->id, y->id);

    return rc ? rc : (x->bin_s > y->bin_s) - (x->bin_s < y->bin_s);
}


static void
rpl_series_read(rpl_series_t *all, char *path)
{
    char          *buf, *p, *id, *bin_s, *t0, *kind;
    size_t         size, room, i;
    uint64_t       n;
    const char    *last;
    rpl_serie_t   *s;
    rpl_reader_t  *r;

    r = rpl_reader_create(&path, 1);
    buf = NULL;
    size = room = 0;

    if (!rpl_series_line(r, &buf, &size)
        || strcmp(buf, "series_id,bin_seconds,t0,kind,counts") != 0)
    {
        rpl_die(RPL_EXIT_BAD, "%s:1: must be "
                "\"series_id,bin_seconds,t0,kind,counts\"", path);
    }

    while (rpl_series_line(r, &buf, &size)) {

        if (all->n == room) {
            room = 2 * room + 64;
            all->serie = rpl_realloc(all->serie, room * sizeof(rpl_serie_t));
        }

        s = &all->serie[all->n];
        memset(s, 0, sizeof(rpl_serie_t));

        p = buf;
        id = rpl_series_column(&p);
        bin_s = rpl_series_column(&p);
        t0 = rpl_series_column(&p);
        kind = rpl_series_column(&p);

        if (p == NULL) {
            rpl_series_bad(r, "must have five columns");
        }

        if (*id == '\0') {
            rpl_series_bad(r, "no series_id");
        }

        if (!rpl_series_number(bin_s, '\0', 86400, &n, &last) || n == 0) {
            rpl_series_bad(r, "bin_seconds must be 1 to 86400");
        }

        s->bin_s = (uint32_t) n;

        if (!rpl_series_number(t0, '\0', 1ull << 31, &s->t0, &last)) {
            rpl_series_bad(r, "t0 must be seconds from 0 to 2147483648");
        }

        for (i = 0; i < 4; i++) {
            if (strcmp(kind, rpl_series_kinds[i]) == 0) {
                s->kind = rpl_series_kinds[i];
                s->aggregate = i >= 2;
            }
        }

        if (s->kind == NULL) {
            rpl_series_bad(r, "kind must be heavy, light, agg or group");
        }

        s->id = (char *) rpl_strdup(rpl_str(id)).data;
        s->trace = strcspn(s->id, ":");

        rpl_series_counts(r, s, p);
        all->n++;
    }

    qsort(all->serie, all->n, sizeof(rpl_serie_t), rpl_series_order);

    for (i = 1; i < all->n; i++) {
        if (rpl_series_order(&all->serie[i - 1], &all->serie[i]) == 0) {
            rpl_die(RPL_EXIT_BAD, "%s: %s is there twice with bins of %us",
                    path, all->serie[i].id, all->serie[i].bin_s);
        }
    }

    free(buf);
    rpl_reader_done(r);
}


static int
rpl_series_ascending(const void *a, const void *b)
{
    const uint32_t  *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}


static void
rpl_series_origin(rpl_reader_t *r, rpl_series_t *all, char *id, char *bin_s,
    const char *p)
{
    uint64_t      n;
    const char   *last;
    rpl_serie_t   key, *s;

    if (!rpl_series_number(bin_s, '\0', 86400, &n, &last)) {
        rpl_series_bad(r, "bin_seconds must be 1 to 86400");
    }

    key.id = id;
    key.bin_s = (uint32_t) n;

    s = all->n ? bsearch(&key, all->serie, all->n, sizeof(rpl_serie_t),
                         rpl_series_order) : NULL;

    if (s == NULL) {
        rpl_series_bad(r, "there is no such series");
    }

    if (s->norigins) {
        rpl_series_bad(r, "the series was listed before");
    }

    s->origins = rpl_alloc((strlen(p) / 2 + 1) * sizeof(uint32_t));

    for ( ;; ) {
        if (!rpl_series_number(p, ';', UINT32_MAX, &n, &last)) {
            rpl_series_bad(r, "origins must be numbers with \";\" between");
        }

        if (n > s->n) {
            rpl_series_bad(r, "an origin is behind the end of the series");
        }

        s->origins[s->norigins++] = (uint32_t) n;

        if (*last == '\0') {
            break;
        }

        p = last + 1;
    }

    qsort(s->origins, s->norigins, sizeof(uint32_t), rpl_series_ascending);
}


static void
rpl_series_origins(rpl_series_t *all, char *path)
{
    int            at[3], i, k;
    char          *buf, *p, *column, *value[3];
    size_t         size;
    rpl_reader_t  *r;

    static const char  *names[] = { "series_id", "bin_seconds", "origins" };

    r = rpl_reader_create(&path, 1);
    buf = NULL;
    size = 0;
    at[0] = at[1] = at[2] = -1;

    if (rpl_series_line(r, &buf, &size)) {
        p = buf;

        for (i = 0; p != NULL; i++) {
            column = rpl_series_column(&p);

            for (k = 0; k < 3; k++) {
                if (strcmp(column, names[k]) == 0) {
                    at[k] = i;
                }
            }
        }
    }

    if (at[0] < 0 || at[1] < 0 || at[2] < 0) {
        rpl_die(RPL_EXIT_BAD, "%s:1: must have the columns series_id, "
                "bin_seconds and origins", path);
    }

    while (rpl_series_line(r, &buf, &size)) {
        p = buf;
        value[0] = value[1] = value[2] = NULL;

        for (i = 0; p != NULL; i++) {
            column = rpl_series_column(&p);

            for (k = 0; k < 3; k++) {
                if (at[k] == i) {
                    value[k] = column;
                }
            }
        }

        if (value[0] == NULL || value[1] == NULL || value[2] == NULL) {
            rpl_series_bad(r, "must have the columns of the first line");
        }

        rpl_series_origin(r, all, value[0], value[1], value[2]);
    }

    free(buf);
    rpl_reader_done(r);
}


/* Forecasts of the bin `i` that comes next. */

static prd_rc_t
rpl_series_expect(rpl_series_t *all, rpl_serie_t *s, unsigned horizon,
    const prd_track_extra_t *extra, float q[PRD_QUANTILES])
{
    double    d[PRD_AGGREGATE_QUANTILES];
    unsigned  i;
    prd_rc_t  rc;

    memset(q, 0, PRD_QUANTILES * sizeof(float));

    if (s->aggregate) {
        rc = prd_aggregate_forecast(s->model, rpl_series_ahead[horizon], d);

        for (i = 0; rc == PRD_OK && i < PRD_QUANTILES; i++) {
            q[i] = (float) d[i];
        }

        return rc;
    }

    return prd_track_forecast(s->track, all->tracks, 0, horizon, extra,
                              extra != NULL, q);
}


static const prd_track_extra_t *
rpl_series_extra(rpl_series_t *all, rpl_serie_t *s, prd_track_extra_t *extra)
{
    if (all->net == NULL
        || prd_gru_forecast(all->net, &s->cell, s->bin_s, extra->q) != PRD_OK)
    {
        return NULL;
    }

    return extra;
}


static void
rpl_series_write(rpl_series_t *all, rpl_serie_t *s, uint32_t origin)
{
    float                     q[3][PRD_QUANTILES];
    clock_t                   begun;
    double                    seconds;
    unsigned                  h;
    prd_track_extra_t         buf;
    const prd_track_extra_t  *extra;

    begun = clock();
    extra = s->aggregate ? NULL : rpl_series_extra(all, s, &buf);

    for (h = 0; h < 3; h++) {
        (void) rpl_series_expect(all, s, h, extra, q[h]);
    }

    /* and what it takes to keep the series up to date */

    seconds = (double) (clock() - begun) / CLOCKS_PER_SEC;

    if (all->closed) {
        seconds += (double) all->spent / CLOCKS_PER_SEC
                   / (double) all->closed;
    }

    for (h = 0; h < 3; h++) {
        fprintf(all->out, "%s,%u,%u,predictive,%u,%.4f,%.4f,%.4f,%.4f,%.9f\n",
                s->id, s->bin_s, origin, rpl_series_ahead[h],
                (double) q[h][0], (double) q[h][1], (double) q[h][2],
                (double) q[h][3], seconds);
    }
}


static void
rpl_series_tell(rpl_series_t *all, rpl_serie_t *s, size_t i)
{
    char                      name[32];
    float                     q[PRD_QUANTILES];
    unsigned                  k;
    prd_track_extra_t         buf;
    const prd_track_extra_t  *extra;

    extra = s->aggregate ? NULL : rpl_series_extra(all, s, &buf);

    if (rpl_series_expect(all, s, 0, extra, q) != PRD_OK) {
        return;
    }

    snprintf(name, sizeof(name), "%s@%u",
             s->aggregate ? "aggregate"
             : s->kind == rpl_series_kinds[0] ? "client-busy"
                                              : "client-light", s->bin_s);

    for (k = 0; k < all->classes; k++) {
        if (strcmp(all->class[k].name, name) == 0) {
            break;
        }
    }

    if (k == all->classes) {

        if (k == RPL_SERIES_CLASSES) {
            return;
        }

        memcpy(all->class[k].name, name, sizeof(name));
        all->classes++;
    }

    (void) prd_score_add(&all->class[k].score, s->y[i], q, q);
}


static void
rpl_series_close(rpl_series_t *all, rpl_serie_t *s, size_t i)
{
    int64_t                   bin;
    prd_track_extra_t         buf;
    const prd_track_extra_t  *extra;

    if (i < s->first || i >= s->n) {
        return;
    }

    bin = (int64_t) (s->t0 / s->bin_s + i);

    if (s->aggregate) {
        (void) prd_aggregate_add(s->model, bin, (double) s->y[i]);

        if (i < RPL_SERIES_EAGER || i % RPL_SERIES_EVERY == 0) {
            (void) prd_aggregate_refit(s->model, PRD_AGGREGATE_ANCHORS);
        }

        return;
    }

    extra = rpl_series_extra(all, s, &buf);

    (void) prd_track_close(s->track, all->tracks, 0, (uint32_t) bin, s->y[i],
                           1, extra, extra != NULL);

    if (all->net != NULL) {
        (void) prd_gru_add(all->net, &s->cell, s->bin_s, (uint32_t) bin,
                           (double) s->y[i], 1);
    }
}


/* By when in a bin of the trace theirs begin. */

static int
rpl_series_phase(const void *a, const void *b)
{
    uint64_t            p, q;
    const rpl_serie_t  *x = *(rpl_serie_t *const *) a;
    const rpl_serie_t  *y = *(rpl_serie_t *const *) b;

    p = x->t0 % x->bin_s;
    q = y->t0 % y->bin_s;

    return p != q ? (p > q) - (p < q) : strcmp(x->id, y->id);
}


/*
 * Series [from, to) of `some`, whose bins begin together, at the beginning of
 * their bin number `tick` since all->begins.
 */

static void
rpl_series_at(rpl_series_t *all, rpl_serie_t **some, size_t from, size_t to,
    uint64_t tick)
{
    size_t        k;
    int64_t       i;
    clock_t       begun;
    rpl_serie_t  *s;

    begun = clock();

    for (k = from; k < to; k++) {
        s = some[k];
        i = (int64_t) tick - (int64_t) (s->t0 / s->bin_s - all->begins);

        if (i > 0) {
            rpl_series_close(all, s, (size_t) (i - 1));
            all->closed += ((size_t) i > s->first && (size_t) i <= s->n);
        }
    }

    if (all->net != NULL) {
        (void) prd_gru_train(all->net, RPL_SERIES_TRAIN);
    }

    all->spent += clock() - begun;

    for (k = from; k < to; k++) {
        s = some[k];
        i = (int64_t) tick - (int64_t) (s->t0 / s->bin_s - all->begins);

        if (i < 0) {
            continue;
        }

        if (all->out == NULL) {
            if ((size_t) i > s->first && (size_t) i < s->n) {
                rpl_series_tell(all, s, (size_t) i);
            }

            continue;
        }

        while (s->next < s->norigins && s->origins[s->next] == i) {
            rpl_series_write(all, s, s->origins[s->next++]);
        }
    }
}


/* All series of a trace that share tables, or nothing but the way. */

static void
rpl_series_trace(rpl_series_t *all, rpl_serie_t **some, size_t n)
{
    size_t        k, to;
    uint32_t      bin_s[PRD_TRACK_CLASSES] = { 0 };
    uint64_t      tick, ends, end;
    rpl_serie_t  *s;

    qsort(some, n, sizeof(rpl_serie_t *), rpl_series_phase);

    bin_s[0] = some[0]->bin_s;
    all->begins = UINT64_MAX;
    all->spent = 0;
    all->closed = 0;
    ends = 0;

    if (!some[0]->aggregate) {
        all->tracks = rpl_alloc(sizeof(prd_tracks_t));
        (void) prd_tracks_init(all->tracks, bin_s);

        if (all->network) {
            all->net = rpl_alloc(sizeof(prd_gru_t));
            prd_gru_init(all->net, 1);
        }
    }

    for (k = 0; k < n; k++) {
        s = some[k];
        all->begins = prd_min(all->begins, s->t0 / s->bin_s);
        end = s->t0 / s->bin_s
              + (all->out == NULL ? s->n - 1
                 : s->norigins ? s->origins[s->norigins - 1] : 0);
        ends = prd_max(ends, end);

        if (s->aggregate) {
            s->model = rpl_alloc(sizeof(prd_aggregate_t));
            (void) prd_aggregate_init(s->model, s->bin_s);

        } else {
            s->track = rpl_alloc(sizeof(prd_track_t));
        }
    }

    for (tick = 0; tick <= ends - all->begins; tick++) {
        for (k = 0; k < n; k = to) {

            for (to = k + 1; to < n; to++) {
                if (some[to]->t0 % some[to]->bin_s
                    != some[k]->t0 % some[k]->bin_s)
                {
                    break;
                }
            }

            rpl_series_at(all, some, k, to, tick);
        }
    }

    if (!some[0]->aggregate) {
        all->bins += all->closed;
        all->cpu += (double) all->spent / CLOCKS_PER_SEC;
    }

    for (k = 0; k < n; k++) {
        free(some[k]->model);
        free(some[k]->track);
    }

    free(all->tracks);
    free(all->net);
    all->tracks = NULL;
    all->net = NULL;
}


static int
rpl_series_together(const rpl_serie_t *a, const rpl_serie_t *b)
{
    return a->bin_s == b->bin_s && a->aggregate == b->aggregate
           && a->trace == b->trace && memcmp(a->id, b->id, a->trace) == 0;
}


static void
rpl_series_table(rpl_series_t *all)
{
    double    c[PRD_QUANTILES];
    unsigned  k, i;

    printf("one step ahead, coverage in per mille\n");
    printf("%-20s %9s %7s %7s %7s %7s\n", "class", "bins", "0.5", "0.9",
           "0.95", "0.99");

    for (k = 0; k < all->classes; k++) {
        for (i = 0; i < PRD_QUANTILES; i++) {
            c[i] = 0;
            (void) prd_score_coverage(&all->class[k].score, i, &c[i]);
        }

        printf("%-20s %9.0f %7.1f %7.1f %7.1f %7.1f\n", all->class[k].name,
               all->class[k].score.n, 1e3 * c[0], 1e3 * c[1], 1e3 * c[2],
               1e3 * c[3]);
    }

    if (all->bins) {
        printf("%.2f us of CPU a client and bin\n",
               1e6 * all->cpu / (double) all->bins);
    }
}


void
rpl_series(char *series, char *origins, const char *forecasts,
    unsigned network)
{
    size_t         i, k, n;
    rpl_serie_t   *s, **some;
    rpl_series_t   all;

    memset(&all, 0, sizeof(all));
    all.network = network;

    rpl_series_read(&all, series);

    if (forecasts != NULL) {
        rpl_series_origins(&all, origins);
        all.out = rpl_create(forecasts);
        fputs("series_id,bin_seconds,origin,method,horizon,q50,q90,q95,q99,"
              "seconds\n", all.out);
    }

    some = rpl_alloc((all.n + 1) * sizeof(rpl_serie_t *));

    for (i = 0; i < all.n; i++) {

        if (all.serie[i].pooled) {
            continue;
        }

        n = 0;
        s = NULL;

        for (k = i; k < all.n; k++) {

            if (!rpl_series_together(&all.serie[i], &all.serie[k])) {
                continue;
            }

            all.serie[k].pooled = 1;

            if (all.serie[k].norigins) {
                s = &all.serie[k];
            }

            /* aggregates teach nobody */

            if (!all.serie[k].aggregate || all.serie[k].norigins
                || all.out == NULL)
            {
                some[n++] = &all.serie[k];
            }
        }

        if (n && (s != NULL || all.out == NULL)) {
            rpl_series_trace(&all, some, n);
        }
    }

    if (all.out == NULL) {
        rpl_series_table(&all);

    } else {
        rpl_close(all.out, forecasts);
    }

    for (i = 0; i < all.n; i++) {
        free(all.serie[i].id);
        free(all.serie[i].y);
        free(all.serie[i].origins);
    }

    free(all.serie);
    free(some);
}
