
/*
 * Many active clients in the zone of a running nginx, without requests: maps
 * the zone of a worker by /proc/PID/map_files and asks the engine as one more
 * worker would.  Each client asks once in each bin, between its first and
 * its ninth second.  For root.
 *
 * Usage: crowd pid clients seconds words-of-the-zone
 */


#define _GNU_SOURCE              /* SCHED_IDLE */

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "bench.h"


/* The greatest shared mapping of the process, as zones come. */

static unsigned char *
crowd_map(const char *pid, size_t *size)
{
    int             fd;
    char            name[128], line[512];
    FILE           *f;
    unsigned char  *p;
    unsigned long   from, to, best_from, best_to;

    best_from = best_to = 0;

    snprintf(name, sizeof(name), "/proc/%s/maps", pid);
    f = fopen(name, "r");

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx rw-s", &from, &to) == 2
            && strstr(line, "rw-s") && to - from > best_to - best_from)
        {
            best_from = from;
            best_to = to;
        }
    }

    snprintf(name, sizeof(name), "/proc/%s/map_files/%lx-%lx", pid,
             best_from, best_to);
    fd = open(name, O_RDWR);
    *size = best_to - best_from;

    p = fd == -1 ? MAP_FAILED
        : mmap(NULL, *size, PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED) {
        perror(name);
        exit(3);
    }

    return p;
}


static prd_zone_t *
crowd_zone(unsigned char *p, size_t size)
{
    size_t       i;
    prd_zone_t  *zone;

    /* behind nginx's table of pages: 24 bytes for each of 4096 */

    for (i = 0; i + sizeof(prd_zone_t) < size; i += 64) {
        zone = (prd_zone_t *) (p + i);

        if (zone->magic == PRD_MAGIC && zone->layout == PRD_LAYOUT
            && zone->size <= size - i)
        {
            return zone;
        }
    }

    bench_die("no zone in there");

    return NULL;
}


int
main(int argc, char **argv)
{
    long                 i, clients, slice, late;
    double               wall, end, from;
    size_t               size;
    prd_ask_t            ask;
    prd_view_t           view;
    prd_zone_t          *zone;
    prd_answer_t         answer;
    prd_policy_t         policy;
    unsigned char       *p;
    struct timespec      pause = { 0, 1000000 };
    struct sched_param   param;

    if (argc != 5) {
        bench_die("usage: crowd pid clients seconds words");
    }

    /* it takes no core from a worker, nor stays on one that a worker wants */

    memset(&param, 0, sizeof(struct sched_param));
    (void) sched_setscheduler(0, SCHED_IDLE, &param);

    clients = atol(argv[2]);
    bench_policy(&policy, argv[4]);

    p = crowd_map(argv[1], &size);
    zone = crowd_zone(p, size);

    if (prd_zone_attach(&view, zone, zone->size, &policy, PRD_WORKERS,
                        (uint32_t) getpid(), NULL)
        != PRD_OK)
    {
        bench_die("the zone is of another version");
    }

    end = bench_cpu_s(CLOCK_REALTIME) + atof(argv[3]);
    memset(&ask, 0, sizeof(prd_ask_t));

    ask.cost = policy.unit;
    ask.delay = PRD_NODELAY;
    late = 0;
    slice = clients / 6000 + 1;               /* a millisecond's part */

    while (bench_cpu_s(CLOCK_REALTIME) < end) {

        /* the first second of a bin belongs to the thread */

        wall = bench_cpu_s(CLOCK_REALTIME);
        from = ceil(wall / PRD_BIN_S) * PRD_BIN_S + 1;

        if (fmod(wall, PRD_BIN_S) < 1.5) {
            from -= PRD_BIN_S;
        }

        while (bench_cpu_s(CLOCK_REALTIME) < from) {
            nanosleep(&pause, NULL);
        }

        for (i = 0; i < clients; i++) {
            ask.tag = prd_tag(prd_hash(&zone->secret, &i, sizeof(i)));
            ask.now_ms = (uint32_t) (uint64_t)
                         (bench_cpu_s(CLOCK_MONOTONIC) * 1000);
            prd_decide(&view, &policy, &ask, &answer);

            if (i % slice == 0) {
                nanosleep(&pause, NULL);
            }
        }

        wall = bench_cpu_s(CLOCK_REALTIME) - from;

        if (wall > PRD_BIN_S - 1.2) {
            fprintf(stderr, "crowd: %ld clients took %.1f s\n", clients, wall);
            late++;
        }
    }

    /* else fewer are active in a bin than there should be */

    return late > 1;
}
