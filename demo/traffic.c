
/*
 * The demo's clients: the log of their last days, or their traffic now.
 *
 *     traffic history DIR DAYS    writes DIR/api.log and DIR/strict.log
 *     traffic live DIR PORT       sends requests until it is told to stop
 *
 * Both are one simulation, once as fast as it goes and once by the clock, so
 * that the tokens and habits of the log are those of the live traffic.
 *
 *     honest     four dozen tokens in sessions, light ones and heavy ones
 *     batch      a token that sleeps and then sends 300 requests in 10 s: the
 *                nightly job, a night being two minutes
 *     newcomer   a token that nobody has seen before, for one session
 *     stolen     in the log a light token; live, from the tenth second on,
 *                somebody else's flood
 *
 * Live, DIR/traffic.json has the sums, anew each second, and standard output
 * a line every five seconds.
 */


#define _GNU_SOURCE                         /* strcasestr() */

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define DEMO_CLIENTS      64
#define DEMO_CONNECTIONS  512
#define DEMO_BUFFER       4096
#define DEMO_TIMEOUT      20.0              /* s for a response */
#define DEMO_ORPHAN       60.0              /* s without any: nginx is gone */
#define DEMO_LINE         5                 /* s */
#define DEMO_WORK         9000              /* s a day that a client works */
#define DEMO_BACK         501               /* sessions of newcomers, > 1 h */
#define DEMO_FLOOD_AFTER  10.0
#define DEMO_FLOOD        300.0             /* requests/s */

#define DEMO_API          0
#define DEMO_STRICT       1


typedef struct {
    const char  *name;
    unsigned     clients;
    double       gap;                       /* s between sessions, mean */
    double       size;                      /* requests of a session, mean */
    double       rate;                      /* requests/s in a session */
    double       strict;                    /* share that goes to /strict/ */
    double       begin;                     /* hour at which work begins */
} demo_cohort_t;


enum { DEMO_HONEST, DEMO_BATCH, DEMO_NEWCOMER, DEMO_STOLEN, DEMO_COHORTS };

static const demo_cohort_t  demo_cohorts[DEMO_COHORTS] = {
    { "honest",   48,  25,  12,  2, 0.33, 8 },
    { "batch",     1, 110, 300, 30, 0,    2 },
    { "newcomer",  1,   8,   6,  1, 0.33, 8 },
    { "stolen",    1,  60,   3,  1, 0.2,  8 }
};


typedef struct {
    unsigned  cohort;
    char      token[32];
    double    next;                         /* s since the epoch */
    double    size;
    double    begin;                        /* s of the day */
    unsigned  left;                         /* requests of this session */
    unsigned  sessions;
} demo_client_t;


typedef struct {
    unsigned long  requests;
    unsigned long  passed;                  /* 2xx */
    unsigned long  refused;                 /* 429 */
    unsigned long  failed;                  /* anything else, or no response */
    unsigned long  classic;                 /* limit_req would have refused */
} demo_count_t;


typedef struct {
    int       fd;                           /* -1: none */
    unsigned  busy;
    unsigned  cohort;
    unsigned  location;
    double    sent;
    size_t    len;
    char      buf[DEMO_BUFFER];
} demo_connection_t;


static demo_client_t      demo_clients[DEMO_CLIENTS];
static unsigned           demo_nclients;
static demo_connection_t  demo_connections[DEMO_CONNECTIONS];
static demo_count_t       demo_count[DEMO_COHORTS][2];
static demo_count_t       demo_shown[DEMO_COHORTS][2];
static double             demo_ms[DEMO_COHORTS];    /* of what passed: EWMA */

static volatile sig_atomic_t  demo_stop;


static void
demo_die(const char *what)
{
    fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
    exit(1);
}


static double
demo_exponential(double mean)
{
    return -mean * log(1 - drand48());
}


/* A client's next session; begin is 0 where the clock has no nights. */

static void
demo_session(demo_client_t *c, double now, int nights)
{
    double                day;
    unsigned              n;
    const demo_cohort_t  *cohort;

    cohort = &demo_cohorts[c->cohort];

    c->left = c->cohort == DEMO_BATCH
              ? (unsigned) c->size
              : 1 + (unsigned) demo_exponential(c->size - 1);

    c->next = now + (c->cohort == DEMO_BATCH ? cohort->gap
                                             : demo_exponential(cohort->gap));
    if (nights) {
        day = fmod(c->next, 86400);

        if (day < c->begin) {
            c->next += c->begin - day;

        } else if (day > c->begin + DEMO_WORK) {
            c->next += 86400 - day + c->begin;
        }
    }

    if (c->cohort == DEMO_NEWCOMER) {
        n = c->sessions;

        /* half of them are back once, more than an hour later */

        if (nights && n % 2 && n > DEMO_BACK) {
            n -= DEMO_BACK;
        }

        snprintf(c->token, sizeof(c->token), "new-%u-%u",
                 nights ? 0 : (unsigned) time(NULL) % 1000000, n);
    }

    c->sessions++;
}


static void
demo_create(double now, int nights)
{
    unsigned              i, n;
    demo_client_t        *c;
    const demo_cohort_t  *cohort;

    for (i = 0; i < DEMO_COHORTS; i++) {
        cohort = &demo_cohorts[i];

        for (n = 0; n < cohort->clients; n++) {
            c = &demo_clients[demo_nclients++];

            c->cohort = i;
            c->size = cohort->size;
            c->begin = cohort->begin * 3600;

            /* light ones and heavy ones, a quarter to four times the size */

            if (i == DEMO_HONEST) {
                c->size *= exp2((n % 9) / 2.0 - 2);
                c->begin += 1200 * (n % 16);
            }

            snprintf(c->token, sizeof(c->token), "%s-%u", cohort->name, n + 1);
            demo_session(c, now, nights);

            /* the first night comes soon */

            if (i == DEMO_BATCH && !nights) {
                c->next = now + 20;
            }
        }
    }
}


static demo_client_t *
demo_first(void)
{
    unsigned        i;
    demo_client_t  *first;

    first = &demo_clients[0];

    for (i = 1; i < demo_nclients; i++) {
        if (demo_clients[i].next < first->next) {
            first = &demo_clients[i];
        }
    }

    return first;
}


/* After a request at c->next: when the client sends another one. */

static void
demo_step(demo_client_t *c, int nights)
{
    const demo_cohort_t  *cohort;

    cohort = &demo_cohorts[c->cohort];

    if (--c->left == 0) {
        demo_session(c, c->next, nights);
        return;
    }

    c->next += c->cohort == DEMO_BATCH ? 1 / cohort->rate
                                       : demo_exponential(1 / cohort->rate);
}


/* The history: lines as nginx.conf's log_format writes them. */

static FILE *
demo_log(const char *dir, const char *name)
{
    char   path[4096];
    FILE  *f;

    snprintf(path, sizeof(path), "%s/%s.log", dir, name);

    f = fopen(path, "w");
    if (f == NULL) {
        demo_die(path);
    }

    return f;
}


static void
demo_line(FILE *f, double at, const char *token, const char *location,
    unsigned n)
{
    fprintf(f, "%.3f 127.0.0.1 \"%s\" \"GET /%s/%u HTTP/1.1\" 200 - -\n",
            at, token, location, n % 1000);
}


static int
demo_history(const char *dir, double days)
{
    FILE           *log[2];
    double          now;
    unsigned        i, n;
    demo_client_t  *c;

    static const char  *name[] = { "api", "strict" };

    now = (double) time(NULL) - 1;
    log[0] = demo_log(dir, name[0]);
    log[1] = demo_log(dir, name[1]);

    demo_create(now - days * 86400, 1);

    for (n = 0; /* void */ ; n++) {
        c = demo_first();

        if (c->next >= now) {
            break;
        }

        i = drand48() < demo_cohorts[c->cohort].strict;

        demo_line(log[i], c->next, c->token, name[i], n);
        demo_step(c, 1);
    }

    /* both end in the same second, which is when their state is of */

    for (i = 0; i < 2; i++) {
        demo_line(log[i], now, "honest-1", name[i], n + i);

        if (fclose(log[i]) != 0) {
            demo_die("cannot write the log");
        }
    }

    printf("%u\n", n + 2);

    return 0;
}


/* Live. */

static double
demo_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}


static void
demo_signal(int signo)
{
    (void) signo;

    demo_stop = 1;
}


static void
demo_close(demo_connection_t *c, int failed)
{
    if (failed && c->busy) {
        demo_count[c->cohort][c->location].failed++;
    }

    close(c->fd);
    c->fd = -1;
    c->busy = 0;
}


/* An idle connection, or a new one. */

static demo_connection_t *
demo_connect(unsigned port)
{
    int                  fd, on;
    unsigned             i;
    demo_connection_t   *c;
    struct sockaddr_in   sin;

    c = NULL;

    for (i = 0; i < DEMO_CONNECTIONS; i++) {

        if (demo_connections[i].busy) {
            continue;
        }

        if (demo_connections[i].fd != -1) {
            return &demo_connections[i];
        }

        c = c ? c : &demo_connections[i];
    }

    if (c == NULL) {
        return NULL;
    }

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return NULL;
    }

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((in_port_t) port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        close(fd);
        return NULL;
    }

    on = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void) fcntl(fd, F_SETFL, O_NONBLOCK);

    c->fd = fd;

    return c;
}


static void
demo_send(demo_client_t *client, unsigned port, double now)
{
    int                 len;
    char                buf[256];
    unsigned            location;
    demo_count_t       *count;
    demo_connection_t  *c;

    location = drand48() < demo_cohorts[client->cohort].strict;

    count = &demo_count[client->cohort][location];
    count->requests++;

    c = demo_connect(port);
    if (c == NULL) {
        count->failed++;
        return;
    }

    len = snprintf(buf, sizeof(buf), "GET /%s/%lu HTTP/1.1\r\n"
                   "Host: localhost\r\nX-API-Key: %s\r\n\r\n",
                   location == DEMO_STRICT ? "strict" : "api",
                   count->requests % 1000, client->token);

    c->busy = 1;
    c->cohort = client->cohort;
    c->location = location;
    c->sent = now;
    c->len = 0;

    if (write(c->fd, buf, (size_t) len) != len) {
        demo_close(c, 1);
    }
}


/* 1: a whole response is there and counted */

static int
demo_response(demo_connection_t *c, double now)
{
    char          *end, *length;
    size_t         head;
    unsigned       status;
    demo_count_t  *count;

    c->buf[c->len] = '\0';

    end = strstr(c->buf, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }

    *end = '\0';
    head = (size_t) (end - c->buf) + 4;
    length = strcasestr(c->buf, "\r\nContent-Length:");

    if (length && head + strtoul(length + 17, NULL, 10) > c->len) {
        *end = '\r';
        return 0;
    }

    status = c->len > 12 ? (unsigned) strtoul(c->buf + 9, NULL, 10) : 0;
    count = &demo_count[c->cohort][c->location];

    if (status >= 200 && status < 300) {
        count->passed++;
        demo_ms[c->cohort] += ((now - c->sent) * 1000 - demo_ms[c->cohort])
                              / (count->passed < 50 ? count->passed : 50);

    } else if (status == 429) {
        count->refused++;

    } else {
        count->failed++;
    }

    if (strcasestr(c->buf, "\r\nX-Limit-Req: REJECTED")) {
        count->classic++;
    }

    c->busy = 0;

    if (length == NULL || strcasestr(c->buf, "\r\nConnection: close")) {
        demo_close(c, 0);
    }

    return 1;
}


/* Reads what has come, until `until`; returns how many responses. */

static unsigned
demo_poll(double until)
{
    double              now;
    ssize_t             n;
    unsigned            i, nfds, responses;
    demo_connection_t  *c, *of[DEMO_CONNECTIONS];
    struct pollfd       fds[DEMO_CONNECTIONS];

    now = demo_now();
    nfds = 0;
    responses = 0;

    for (i = 0; i < DEMO_CONNECTIONS; i++) {
        c = &demo_connections[i];

        if (c->fd == -1) {
            continue;
        }

        if (c->busy && now - c->sent > DEMO_TIMEOUT) {
            demo_close(c, 1);
            continue;
        }

        fds[nfds].fd = c->fd;
        fds[nfds].events = POLLIN;
        of[nfds++] = c;
    }

    until = fmin(until - now, 1);

    if (poll(fds, nfds, until > 0 ? (int) ceil(until * 1000) : 0) <= 0) {
        return 0;
    }

    now = demo_now();

    for (i = 0; i < nfds; i++) {

        if (fds[i].revents == 0) {
            continue;
        }

        c = of[i];
        n = read(c->fd, c->buf + c->len, DEMO_BUFFER - 1 - c->len);

        /* an idle connection has nothing to say but that it ends */

        if (n <= 0 || !c->busy) {
            demo_close(c, 1);
            continue;
        }

        c->len += (size_t) n;

        if (demo_response(c, now)) {
            responses++;

        } else if (c->len == DEMO_BUFFER - 1) {
            demo_close(c, 1);
        }
    }

    return responses;
}


static void
demo_json_count(FILE *f, const char *name, const demo_count_t *c)
{
    fprintf(f, "\"%s\":{\"requests\":%lu,\"passed\":%lu,\"refused\":%lu,"
            "\"failed\":%lu,\"limit_req_refused\":%lu}",
            name, c->requests, c->passed, c->refused, c->failed, c->classic);
}


static void
demo_json(const char *dir, double seconds)
{
    char       path[4096], temp[4096];
    FILE      *f;
    unsigned   i;

    snprintf(path, sizeof(path), "%s/html/traffic.json", dir);
    snprintf(temp, sizeof(temp), "%s/html/.traffic.json", dir);

    f = fopen(temp, "w");
    if (f == NULL) {
        return;
    }

    fprintf(f, "{\"seconds\":%.0f,\"flood_after_seconds\":%.0f,\"cohorts\":[",
            seconds, DEMO_FLOOD_AFTER);

    for (i = 0; i < DEMO_COHORTS; i++) {
        fprintf(f, "%s\n{\"name\":\"%s\",\"clients\":%u,", i ? "," : "",
                demo_cohorts[i].name, demo_cohorts[i].clients);
        demo_json_count(f, "api", &demo_count[i][DEMO_API]);
        fputc(',', f);
        demo_json_count(f, "strict", &demo_count[i][DEMO_STRICT]);
        fprintf(f, ",\"recent_mean_ms\":%.1f}", demo_ms[i]);
    }

    fputs("]}\n", f);

    if (fclose(f) == 0) {
        (void) rename(temp, path);
    }
}


static void
demo_print_count(const char *name, const demo_count_t *c,
    const demo_count_t *shown)
{
    unsigned long  passed, refused, failed;

    passed = c->passed - shown->passed;
    refused = c->refused - shown->refused;
    failed = c->failed - shown->failed;

    printf("  %s %4lu ok %4lu refused", name, passed, refused);

    if (failed) {
        printf(" %lu FAILED", failed);
    }
}


/* What happened since the last line. */

static void
demo_print(double seconds)
{
    unsigned      i;
    demo_count_t  all, shown;

    printf("%5.0f s", seconds);

    for (i = 0; i < DEMO_COHORTS; i++) {

        if (i == DEMO_STOLEN) {
            printf("  | stolen");
            demo_print_count("/api/", &demo_count[i][DEMO_API],
                             &demo_shown[i][DEMO_API]);
            demo_print_count("/strict/", &demo_count[i][DEMO_STRICT],
                             &demo_shown[i][DEMO_STRICT]);
            continue;
        }

        all = demo_count[i][0];
        all.passed += demo_count[i][1].passed;
        all.refused += demo_count[i][1].refused;
        all.failed += demo_count[i][1].failed;

        shown = demo_shown[i][0];
        shown.passed += demo_shown[i][1].passed;
        shown.refused += demo_shown[i][1].refused;
        shown.failed += demo_shown[i][1].failed;

        demo_print_count(demo_cohorts[i].name, &all, &shown);
    }

    putchar('\n');
    fflush(stdout);

    memcpy(demo_shown, demo_count, sizeof(demo_shown));
}


static int
demo_live(const char *dir, unsigned port)
{
    int             flood;
    double          start, now, second, line, heard;
    unsigned        i;
    demo_client_t  *c;

    signal(SIGTERM, demo_signal);
    signal(SIGINT, demo_signal);
    signal(SIGPIPE, SIG_IGN);

    for (i = 0; i < DEMO_CONNECTIONS; i++) {
        demo_connections[i].fd = -1;
    }

    start = heard = demo_now();
    second = start + 1;
    line = start + DEMO_LINE;
    flood = 0;

    demo_create(start, 0);

    while (!demo_stop) {
        now = demo_now();
        c = demo_first();

        if (c->next <= now) {

            /* the machine was busy or asleep: what was missed stays so */

            c->next = fmax(c->next, now - 1);

            demo_send(c, port, now);

            if (c->cohort == DEMO_STOLEN && flood) {
                c->next += 1 / DEMO_FLOOD;

            } else {
                demo_step(c, 0);
            }
        }

        if (demo_poll(fmin(demo_first()->next, second))) {
            heard = now;
        }

        if (!flood && now - start >= DEMO_FLOOD_AFTER) {
            flood = 1;

            for (i = 0; i < demo_nclients; i++) {
                if (demo_clients[i].cohort == DEMO_STOLEN) {
                    demo_clients[i].next = now;
                }
            }
        }

        if (now >= second) {
            second += 1;
            demo_json(dir, now - start);
        }

        if (now >= line) {
            line += DEMO_LINE;
            demo_print(now - start);
        }

        if (now - heard > DEMO_ORPHAN) {
            fprintf(stderr, "traffic: nobody answers\n");
            return 1;
        }
    }

    demo_json(dir, demo_now() - start);

    return 0;
}


int
main(int argc, char **argv)
{
    srand48(1);

    if (argc == 4 && strcmp(argv[1], "history") == 0) {
        return demo_history(argv[2], atof(argv[3]));
    }

    if (argc == 4 && strcmp(argv[1], "live") == 0) {
        srand48(time(NULL));
        return demo_live(argv[2], (unsigned) atoi(argv[3]));
    }

    fprintf(stderr, "usage: traffic history DIR DAYS\n"
                    "       traffic live DIR PORT\n");
    return 2;
}
