
/*
 * How exact is a limit that several gateways share?  Offers each key of a
 * limit `factor` times its rate, over keep-alive connections to all gateways,
 * at Poisson moments (open loop), and holds what was admitted against
 *
 *   above    the most that was admitted of one key in any window of 1 to 60 s,
 *            less burst + 1 + rate x window: at most the bound the gateways
 *            state, and what arrived while a response was under way
 *   used     admitted of what one ideal bucket, which sees every request as
 *            it is sent, would have admitted: nothing is to be stranded
 *
 * Usage: exact rate burst factor seconds keys uniform|skewed steady|bursty
 *              port...
 *
 * Prints: offered admitted refused other ideal above-per-window... used%
 * (of the keys that were offered more than their limit).
 */


#define _GNU_SOURCE                      /* epoll_pwait2() */

#include <fcntl.h>
#include <sys/epoll.h>

#include "client.h"


#define EXACT_PORTS    16
#define EXACT_PER      16                /* connections a port */
#define EXACT_CONNS    (EXACT_PORTS * EXACT_PER)
#define EXACT_KEYS     1000
#define EXACT_ON       1.0               /* bursty: on for a second, then off */
#define EXACT_OFF      3.0


typedef struct {
    float     sent, got;                 /* seconds since the start */
    uint32_t  key;
    uint32_t  status;
} exact_event_t;

typedef struct {
    int       fd;
    unsigned  port;
    uint32_t  event;                     /* under way; UINT32_MAX: idle */
} exact_connection_t;


static exact_connection_t  exact_c[EXACT_CONNS];
static unsigned            exact_idle[EXACT_PORTS][EXACT_PER];
static unsigned            exact_idles[EXACT_PORTS];
static exact_event_t      *exact_e;
static double              exact_share[EXACT_KEYS + 1];    /* cumulative */

static const double        exact_windows[] = { 1, 2, 5, 10, 20, 30, 60 };
#define EXACT_WINDOWS  (sizeof(exact_windows) / sizeof(double))


static void
exact_send(exact_connection_t *c, uint32_t event)
{
    int   len;
    char  buf[256];

    c->event = event;
    len = snprintf(buf, sizeof(buf), "GET /s HTTP/1.1\r\nHost: localhost\r\n"
                   "X-Api-Key: exact-%u\r\n\r\n", exact_e[event].key);

    if (write(c->fd, buf, (size_t) len) != len) {
        bench_die("cannot send");
    }
}


/* Answers are short: one read has them whole. */

static void
exact_answer(exact_connection_t *c, double now)
{
    char     buf[4096];
    ssize_t  n;

    n = read(c->fd, buf, sizeof(buf) - 1);

    if (n <= 12) {
        bench_die("a connection was closed");
    }

    buf[n] = '\0';
    exact_e[c->event].status = (uint32_t) atoi(buf + 9);
    exact_e[c->event].got = (float) now;
    c->event = UINT32_MAX;
}


static int
exact_by_key(const void *a, const void *b)
{
    const exact_event_t  *x = a, *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }

    return x->got < y->got ? -1 : x->got > y->got;
}


static int
exact_by_sent(const void *a, const void *b)
{
    const exact_event_t  *x = a, *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }

    return x->sent < y->sent ? -1 : x->sent > y->sent;
}


/* The most events in any window of w seconds, of n sorted moments. */

static unsigned
exact_most(const float *at, unsigned n, double w)
{
    unsigned  i, j, most;

    most = 0;

    for (i = j = 0; i < n; i++) {
        while (at[i] - at[j] >= w) {
            j++;
        }

        most = prd_max(most, i - j + 1);
    }

    return most;
}


static void
exact_report(uint32_t n, double rate, double burst, double seconds)
{
    float     *at;
    double     level, last, above[EXACT_WINDOWS];
    unsigned   k, w, admitted, refused, other, got, ideal, offered;
    uint32_t   i, j, from, all_ideal, all_got;

    at = malloc((n + 1) * sizeof(float));
    admitted = refused = other = all_ideal = all_got = 0;

    for (w = 0; w < EXACT_WINDOWS; w++) {
        above[w] = -1e9;
    }

    for (i = 0; i < n; i++) {
        admitted += exact_e[i].status == 200;
        refused += exact_e[i].status == 429;
        other += exact_e[i].status != 200 && exact_e[i].status != 429;
    }

    qsort(exact_e, n, sizeof(exact_event_t), exact_by_key);

    for (from = 0; from < n; from = i) {
        k = exact_e[from].key;
        got = 0;

        for (i = from; i < n && exact_e[i].key == k; i++) {
            if (exact_e[i].status == 200) {
                at[got++] = exact_e[i].got;
            }
        }

        for (w = 0; w < EXACT_WINDOWS; w++) {
            above[w] = fmax(above[w], exact_most(at, got, exact_windows[w])
                                      - (burst + 1 + rate
                                                     * exact_windows[w]));
        }

        qsort(exact_e + from, i - from, sizeof(exact_event_t), exact_by_sent);

        level = last = 0;
        ideal = 0;

        for (j = from; j < i; j++) {
            level = fmax(level - (exact_e[j].sent - last) * rate, 0);
            last = exact_e[j].sent;

            if (level + 1 <= burst + 1) {
                level++;
                ideal++;
            }
        }

        offered = i - from;

        if (offered > 1.5 * ideal) {
            all_ideal += ideal;
            all_got += got;
        }
    }

    printf("offered %u admitted %u refused %u other %u, %.0f s; above in", n,
           admitted, refused, other, seconds);

    for (w = 0; w < EXACT_WINDOWS && exact_windows[w] <= seconds; w++) {
        printf(" %.0fs:%+.1f", exact_windows[w], above[w]);
    }

    printf("; used %.2f%%\n", all_ideal ? 100.0 * all_got / all_ideal : 100);
    free(at);
}


static uint32_t
exact_key(unsigned keys)
{
    double    u;
    unsigned  a, b, m;

    u = bench_uniform() * exact_share[keys];

    for (a = 0, b = keys; b - a > 1; ) {
        m = (a + b) / 2;

        if (exact_share[m] <= u) {
            a = m;
        } else {
            b = m;
        }
    }

    return a;
}


int
main(int argc, char **argv)
{
    int                  ep, i, ev_n, bursty;
    double               rate, burst, factor, seconds, demand, start, now,
                         next, us;
    uint32_t             n, room;
    unsigned             keys, ports, p, k;
    struct timespec      pause;
    struct epoll_event   ev, evs[64];
    exact_connection_t  *c;

    if (argc < 9 || argc - 8 > EXACT_PORTS) {
        bench_die("usage: exact rate burst factor seconds keys"
                  " uniform|skewed steady|bursty port...");
    }

    rate = atof(argv[1]);
    burst = atof(argv[2]);
    factor = atof(argv[3]);
    seconds = atof(argv[4]);
    keys = (unsigned) atoi(argv[5]);
    bursty = strcmp(argv[7], "bursty") == 0;
    ports = (unsigned) argc - 8;

    if (keys < 1 || keys > EXACT_KEYS) {
        bench_die("1 to 1000 keys");
    }

    /* skewed: the k-th key is offered 1/k of the first one's demand */

    for (k = 0; k < keys; k++) {
        exact_share[k + 1] = exact_share[k]
                             + (strcmp(argv[6], "skewed") ? 1 : 1.0 / (k + 1));
    }

    demand = rate * factor * keys;
    room = (uint32_t) (demand * seconds * 1.2) + 1000;
    exact_e = calloc(room, sizeof(exact_event_t));
    ep = epoll_create1(0);

    for (p = 0; p < ports; p++) {
        for (k = 0; k < EXACT_PER; k++) {
            c = &exact_c[p * EXACT_PER + k];
            c->fd = client_connect(atoi(argv[8 + p]));
            c->port = p;
            c->event = UINT32_MAX;

            ev.events = EPOLLIN;
            ev.data.u32 = p * EXACT_PER + k;
            epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
            exact_idle[p][exact_idles[p]++] = ev.data.u32;
        }
    }

    start = bench_cpu_s(CLOCK_MONOTONIC);
    next = 0;
    n = 0;

    for ( ;; ) {
        now = bench_cpu_s(CLOCK_MONOTONIC) - start;

        if (now > seconds + 1) {
            break;
        }

        while (next <= now && next < seconds && n < room) {

            p = bench_below(ports);

            if (exact_idles[p] == 0) {
                break;                   /* all are waiting: it comes later */
            }

            exact_e[n].key = exact_key(keys);
            exact_e[n].sent = (float) now;
            exact_send(&exact_c[exact_idle[p][--exact_idles[p]]], n);
            n++;

            next += bench_exponential(1 / demand);

            if (bursty && fmod(next, EXACT_ON + EXACT_OFF) > EXACT_ON) {
                next = (floor(next / (EXACT_ON + EXACT_OFF)) + 1)
                       * (EXACT_ON + EXACT_OFF);
            }
        }

        us = fmax(fmin(next - now, 1e-3), 0);
        pause = (struct timespec) { 0, (long) (us * 1e9) };

        ev_n = epoll_pwait2(ep, evs, 64, &pause, NULL);
        now = bench_cpu_s(CLOCK_MONOTONIC) - start;

        for (i = 0; i < ev_n; i++) {
            c = &exact_c[evs[i].data.u32];

            if (c->event == UINT32_MAX) {
                bench_die("an answer that nobody asked for");
            }

            exact_answer(c, now);
            exact_idle[c->port][exact_idles[c->port]++] = evs[i].data.u32;
        }
    }

    exact_report(n, rate, burst, seconds);

    return 0;
}
