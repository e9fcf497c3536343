
/*
 * The demo's backend, which is finite: it serves so many requests at a time,
 * each of them for so long, and the others wait; a thousand may wait.
 *
 *     backend PORTFILE SLOTS MS
 *
 * Listens on a free port of 127.0.0.1, which is written to PORTFILE.  It
 * works by timers and takes next to no CPU, whatever it is asked.
 */


#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define BACKEND_CONNECTIONS  1024
#define BACKEND_REQUEST      4096


typedef enum { BACKEND_READING = 0, BACKEND_WAITING, BACKEND_SERVING }
    backend_state_e;

typedef struct {
    int              fd;                  /* -1: none */
    backend_state_e  state;
    double           at;                  /* ms: since when it waits, or */
                                          /* when it is served */
    size_t           len;
    char             buf[BACKEND_REQUEST];
} backend_connection_t;


static backend_connection_t  backend[BACKEND_CONNECTIONS];
static unsigned              backend_serving;
static unsigned long         backend_served;


static double
backend_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1000 + (double) ts.tv_nsec / 1e6;
}


static int
backend_listen(const char *file)
{
    int                  fd;
    char                 temp[4096];
    FILE                *f;
    socklen_t            len;
    struct sockaddr_in   sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    len = sizeof(sin);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1 || bind(fd, (struct sockaddr *) &sin, len) == -1
        || listen(fd, 511) == -1
        || getsockname(fd, (struct sockaddr *) &sin, &len) == -1)
    {
        perror("backend");
        exit(1);
    }

    snprintf(temp, sizeof(temp), "%s.new", file);

    f = fopen(temp, "w");

    if (f == NULL || fprintf(f, "%u\n", ntohs(sin.sin_port)) < 0
        || fclose(f) != 0 || rename(temp, file) != 0)
    {
        perror(file);
        exit(1);
    }

    return fd;
}


static void
backend_accept(int listener)
{
    int       fd, on;
    unsigned  i;

    fd = accept(listener, NULL, NULL);
    if (fd == -1) {
        return;
    }

    for (i = 0; i < BACKEND_CONNECTIONS && backend[i].fd != -1; i++) {
        /* void */
    }

    if (i == BACKEND_CONNECTIONS) {
        close(fd);
        return;
    }

    on = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void) fcntl(fd, F_SETFL, O_NONBLOCK);

    backend[i].fd = fd;
    backend[i].state = BACKEND_READING;
    backend[i].len = 0;
}


static void
backend_close(backend_connection_t *c)
{
    backend_serving -= (c->state == BACKEND_SERVING);

    close(c->fd);
    c->fd = -1;
}


/* nginx sends a GET without a body: the request ends where its head does. */

static void
backend_read(backend_connection_t *c, double now)
{
    ssize_t  n;

    n = read(c->fd, c->buf + c->len, BACKEND_REQUEST - 1 - c->len);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n <= 0) {
        backend_close(c);
        return;
    }

    c->len += (size_t) n;
    c->buf[c->len] = '\0';

    if (c->state == BACKEND_READING && strstr(c->buf, "\r\n\r\n")) {
        c->state = BACKEND_WAITING;
        c->at = now;
        c->len = 0;

    } else if (c->len == BACKEND_REQUEST - 1) {
        backend_close(c);
    }
}


static void
backend_respond(backend_connection_t *c)
{
    int   len, body;
    char  text[64], buf[256];

    body = snprintf(text, sizeof(text), "{\"served\":%lu}\n",
                    ++backend_served);
    len = snprintf(buf, sizeof(buf), "HTTP/1.1 200 OK\r\n"
                   "Content-Type: application/json\r\n"
                   "Content-Length: %d\r\n\r\n%s", body, text);

    backend_serving--;
    c->state = BACKEND_READING;
    c->len = 0;

    if (write(c->fd, buf, (size_t) len) != len) {
        backend_close(c);
    }
}


/* Serves whoever waits longest; returns when the next one is done, or -1. */

static double
backend_work(unsigned slots, double ms, double now)
{
    double                 next;
    unsigned               i;
    backend_connection_t  *c, *first;

    next = -1;

    for (i = 0; i < BACKEND_CONNECTIONS; i++) {
        c = &backend[i];

        if (c->fd != -1 && c->state == BACKEND_SERVING && c->at <= now) {
            backend_respond(c);
        }
    }

    while (backend_serving < slots) {
        first = NULL;

        for (i = 0; i < BACKEND_CONNECTIONS; i++) {
            c = &backend[i];

            if (c->fd != -1 && c->state == BACKEND_WAITING
                && (first == NULL || c->at < first->at))
            {
                first = c;
            }
        }

        if (first == NULL) {
            break;
        }

        first->state = BACKEND_SERVING;
        first->at = now + ms * (0.5 + drand48());
        backend_serving++;
    }

    for (i = 0; i < BACKEND_CONNECTIONS; i++) {
        c = &backend[i];

        if (c->fd != -1 && c->state == BACKEND_SERVING
            && (next < 0 || c->at < next))
        {
            next = c->at;
        }
    }

    return next;
}


int
main(int argc, char **argv)
{
    int            listener, wait;
    double         ms, now, next;
    unsigned       i, n, slots;
    unsigned       of[BACKEND_CONNECTIONS + 1];
    struct pollfd  fds[BACKEND_CONNECTIONS + 1];

    if (argc != 4 || atoi(argv[2]) < 1 || atof(argv[3]) <= 0) {
        fprintf(stderr, "usage: backend PORTFILE SLOTS MS\n");
        return 2;
    }

    slots = (unsigned) atoi(argv[2]);
    ms = atof(argv[3]);

    signal(SIGPIPE, SIG_IGN);

    for (i = 0; i < BACKEND_CONNECTIONS; i++) {
        backend[i].fd = -1;
    }

    listener = backend_listen(argv[1]);

    for ( ;; ) {
        now = backend_now();
        next = backend_work(slots, ms, now);

        fds[0].fd = listener;
        fds[0].events = POLLIN;
        n = 1;

        for (i = 0; i < BACKEND_CONNECTIONS; i++) {
            if (backend[i].fd != -1) {
                fds[n].fd = backend[i].fd;
                fds[n].events = POLLIN;
                of[n++] = i;
            }
        }

        wait = next < 0 ? -1 : next > now ? (int) (next - now) + 1 : 0;

        if (poll(fds, n, wait) == -1 && errno != EINTR) {
            perror("backend: poll");
            return 1;
        }

        now = backend_now();

        for (i = 1; i < n; i++) {
            if (fds[i].revents) {
                backend_read(&backend[of[i]], now);
            }
        }

        if (fds[0].revents) {
            backend_accept(listener);
        }
    }
}
