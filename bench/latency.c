
/*
 * Latency of each worker of an nginx: keep-alive connections, which say in
 * X-Pid whose they are; requests at fixed moments whether or not the last
 * ones were answered (open loop), so that a stalled worker is charged for all
 * that wait.  Microseconds.
 *
 * Usage: latency port connections-per-worker requests/s-per-worker seconds
 *                pid pid
 *
 * Prints for each pid: pid, p50, p99, max of all; then medians over the whole
 * bins in between, which a burst of somebody else's load in one of them leaves
 * alone: p99 of a bin, of its first half-second, when the thread closes the
 * last one, and of half a second near its end.
 */


#define _GNU_SOURCE                      /* epoll_pwait2() */

#include <sys/epoll.h>
#include <sys/prctl.h>

#include "client.h"


#define LATENCY_MOST  256
#define LATENCY_ROOM  4096
#define LATENCY_HALF  0.5
#define LATENCY_CALM  9.3                /* the crowd is through, too */


typedef struct {
    int       fd;
    unsigned  worker;
    double    due;                       /* of what is under way; 0: idle */
} latency_connection_t;

typedef struct {
    long       pid;
    unsigned   n;                        /* connections */
    unsigned   idle[LATENCY_MOST];
    unsigned   idles;
    double     next;
    double    *waiting;                  /* a ring of what is due */
    unsigned   head, tail;
    double    *us, *at;                  /* and wall seconds */
    size_t     us_n;
} latency_worker_t;


static latency_connection_t  latency_c[4 * LATENCY_MOST];
static latency_worker_t      latency_w[2];

static const char  latency_request[] =
    "GET / HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: latency-%u\r\n\r\n";


static void
latency_send(latency_connection_t *c, double due)
{
    int   len;
    char  buf[256];

    c->due = due;
    len = snprintf(buf, sizeof(buf), latency_request,
                   (unsigned) (c - latency_c));

    if (write(c->fd, buf, (size_t) len) != len) {
        bench_die("cannot send");
    }
}


static long
latency_answer(latency_connection_t *c)
{
    char     buf[LATENCY_ROOM], *p;
    ssize_t  n;

    n = read(c->fd, buf, sizeof(buf) - 1);

    if (n <= 0) {
        bench_die("a connection was closed");
    }

    buf[n] = '\0';
    p = strstr(buf, "X-Pid: ");

    if (p == NULL || strncmp(buf, "HTTP/1.1 200", 12) != 0) {
        bench_die(buf);
    }

    return atol(p + 7);
}


/* p99 of the requests due in [from, to); < 0: too few */

static double
latency_p99(const latency_worker_t *w, double *scratch, double from,
    double to)
{
    size_t  i, n;

    for (i = n = 0; i < w->us_n; i++) {
        if (w->at[i] >= from && w->at[i] < to) {
            scratch[n++] = w->us[i];
        }
    }

    if (n < 100) {
        return -1;
    }

    qsort(scratch, n, sizeof(double), bench_compare);

    return scratch[n * 99 / 100];
}


static void
latency_print(latency_worker_t *w, double start, double end)
{
    double    bin, *scratch, v[3][1000];
    unsigned  n;

    scratch = malloc((w->us_n + 1) * sizeof(double));
    n = 0;

    for (bin = ceil(start / PRD_BIN_S) * PRD_BIN_S;
         bin + PRD_BIN_S <= end && n < 1000;
         bin += PRD_BIN_S)
    {
        v[0][n] = latency_p99(w, scratch, bin, bin + PRD_BIN_S);
        v[1][n] = latency_p99(w, scratch, bin, bin + LATENCY_HALF);
        v[2][n] = latency_p99(w, scratch, bin + LATENCY_CALM,
                              bin + LATENCY_CALM + LATENCY_HALF);
        n++;
    }

    if (n == 0 || w->us_n == 0) {
        bench_die("not one whole bin");
    }

    qsort(w->us, w->us_n, sizeof(double), bench_compare);

    printf("%ld %.0f %.0f %.0f %.0f %.0f %.0f\n", w->pid, w->us[w->us_n / 2],
           w->us[w->us_n * 99 / 100], w->us[w->us_n - 1],
           bench_median(v[0], n), bench_median(v[1], n),
           bench_median(v[2], n));
    free(scratch);
}


int
main(int argc, char **argv)
{
    int                    ep, i, n, port;
    long                   pid;
    double                 now, end, start, rate, us, shift;
    size_t                 room;
    unsigned               per, all, k;
    latency_worker_t      *w;
    struct timespec        pause;
    struct epoll_event     ev, evs[64];
    latency_connection_t  *c;

    if (argc != 7) {
        bench_die("usage: latency port connections requests/s seconds"
                  " pid pid");
    }

    (void) prctl(PR_SET_TIMERSLACK, 1);

    port = atoi(argv[1]);
    per = prd_min((unsigned) atoi(argv[2]), LATENCY_MOST);
    rate = atof(argv[3]);
    ep = epoll_create1(0);
    room = (size_t) (rate * atof(argv[4]) * 1.1) + 100;

    for (k = 0; k < 2; k++) {
        latency_w[k].pid = atol(argv[5 + k]);
        latency_w[k].us = malloc(room * sizeof(double));
        latency_w[k].at = malloc(room * sizeof(double));
        latency_w[k].waiting = malloc(room * sizeof(double));
    }

    /* connections, until each worker has its number; the others are closed */

    for (all = 0, i = 0;
         all < 2 * per && i < 100000;
         i++)
    {
        c = &latency_c[all];
        c->fd = client_connect(port);
        latency_send(c, 1);
        pid = latency_answer(c);
        c->worker = pid == latency_w[0].pid ? 0 : 1;
        w = &latency_w[c->worker];

        if (pid != w->pid || w->n == per) {
            close(c->fd);
            continue;
        }

        ev.events = EPOLLIN;
        ev.data.u32 = all;
        epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);

        c->due = 0;
        w->idle[w->idles++] = all++;
        w->n++;
    }

    if (all < 2 * per) {
        bench_die("no connections to one of the workers");
    }

    start = bench_cpu_s(CLOCK_MONOTONIC);
    end = start + atof(argv[4]);
    shift = bench_cpu_s(CLOCK_REALTIME) - start;

    latency_w[0].next = start;
    latency_w[1].next = start + 0.5 / rate;

    for ( ;; ) {
        now = bench_cpu_s(CLOCK_MONOTONIC);

        if (now > end + 1) {
            break;
        }

        for (k = 0; k < 2; k++) {
            w = &latency_w[k];

            /* moments of a Poisson process: none in step with a clock */

            while (w->next <= now && w->next < end && w->head + 1 < room) {
                w->waiting[w->head++] = w->next;
                w->next += bench_exponential(1 / rate);
            }

            while (w->tail != w->head && w->idles) {
                latency_send(&latency_c[w->idle[--w->idles]],
                             w->waiting[w->tail++]);
            }
        }

        us = fmin(latency_w[0].next, latency_w[1].next) - now;
        us = fmax(fmin(us, 1e-3), 0);
        pause = (struct timespec) { 0, (long) (us * 1e9) };

        n = epoll_pwait2(ep, evs, 64, &pause, NULL);
        now = bench_cpu_s(CLOCK_MONOTONIC);

        for (i = 0; i < n; i++) {
            c = &latency_c[evs[i].data.u32];
            w = &latency_w[c->worker];
            (void) latency_answer(c);

            w->at[w->us_n] = c->due + shift;
            w->us[w->us_n++] = (now - c->due) * 1e6;

            c->due = 0;
            w->idle[w->idles++] = evs[i].data.u32;
        }
    }

    for (k = 0; k < 2; k++) {
        latency_print(&latency_w[k], start + shift, end + shift);
    }

    return 0;
}
