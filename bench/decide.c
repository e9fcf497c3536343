
/*
 * Nanoseconds (CPU) of a decision in the engine: hash of a 32-byte key,
 * prd_decide(), prd_note().  Keys at random, a learning zone with a pool that
 * has room; 1 and 2 processes share it.  Medians of rounds, which alternate.
 * Usage: decide [rounds]
 */


#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"


#define DECIDE_ASKS  400000


typedef struct {
    pid_t  pid;
    int    in, out;
} decide_process_t;


static prd_ask_t
decide_ask(const bench_zone_t *z, char *key, uint32_t ms)
{
    prd_ask_t  ask;

    snprintf(key, 33, "k%08u-0123456789abcdef012345", 0);

    memset(&ask, 0, sizeof(prd_ask_t));
    ask.cost = z->policy.unit;
    ask.delay = PRD_NODELAY;
    ask.now_ms = ms;

    return ask;
}


/* Nanoseconds a decision, those of choosing and writing the key taken off. */

static double
decide_round(bench_zone_t *z, uint32_t keys, uint32_t ms)
{
    char               key[33];
    double             begin, loop, all;
    uint32_t           i, k;
    prd_ask_t          ask;
    prd_answer_t       answer;
    volatile uint32_t  sink;

    ask = decide_ask(z, key, ms);
    begin = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);

    for (i = 0; i < DECIDE_ASKS; i++) {
        k = bench_below(keys);
        memcpy(key + 1, &k, sizeof(uint32_t));
        sink = (uint32_t) key[1];
    }

    (void) sink;
    loop = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - begin;
    begin = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID);

    for (i = 0; i < DECIDE_ASKS; i++) {
        k = bench_below(keys);
        memcpy(key + 1, &k, sizeof(uint32_t));

        ask.tag = prd_tag(prd_hash(&z->secret, key, 32));
        ask.now_ms += (i & 255) == 0;

        prd_decide(&z->view, &z->policy, &ask, &answer);
        prd_note(&z->view, &ask, &answer, 0, 0);
    }

    all = bench_cpu_s(CLOCK_PROCESS_CPUTIME_ID) - begin;

    return (all - loop) / DECIDE_ASKS * 1e9;
}


static void
decide_fill(bench_zone_t *z, uint32_t keys)
{
    char          key[33];
    uint32_t      i;
    prd_ask_t     ask;
    prd_answer_t  answer;

    ask = decide_ask(z, key, BENCH_MS + z->second * 1000);

    for (i = 0; i < keys; i++) {
        memcpy(key + 1, &i, sizeof(uint32_t));
        ask.tag = prd_tag(prd_hash(&z->secret, key, 32));
        prd_decide(&z->view, &z->policy, &ask, &answer);
    }

    bench_zone_clock(z, z->second + PRD_BIN_S);
}


/* A process that does a round for each byte it reads. */

static void
decide_start(decide_process_t *p, bench_zone_t *z, uint32_t keys, unsigned nr)
{
    int       in[2], out[2];
    char      go;
    double    ns;
    uint32_t  ms;

    if (pipe(in) != 0 || pipe(out) != 0 || (p->pid = fork()) == -1) {
        bench_die("no process");
    }

    if (p->pid) {
        close(in[0]);
        close(out[1]);
        p->in = in[1];
        p->out = out[0];
        return;
    }

    close(in[1]);

    bench_state = 99 + nr;
    ms = BENCH_MS + z->second * 1000;

    if (prd_zone_attach(&z->view, z->mem, z->size, &z->policy, nr, 1, NULL)
        != PRD_OK)
    {
        _exit(1);
    }

    while (read(in[0], &go, 1) == 1) {
        ns = decide_round(z, keys, ms);
        ms += DECIDE_ASKS / 256;

        if (write(out[1], &ns, sizeof(ns)) != sizeof(ns)) {
            break;
        }
    }

    _exit(0);
}


static double
decide_run(decide_process_t *p, unsigned n)
{
    double    ns, sum;
    unsigned  i;

    for (i = 0; i < n; i++) {
        if (write(p[i].in, "", 1) != 1) {
            bench_die("a process is gone");
        }
    }

    for (sum = 0, i = 0; i < n; i++) {
        if (read(p[i].out, &ns, sizeof(ns)) != sizeof(ns)) {
            bench_die("a process died");
        }

        sum += ns;
    }

    return sum / n;
}


int
main(int argc, char **argv)
{
    double            one[100], two[100], median;
    uint32_t          found, claims;
    unsigned          i, k, n, rounds, bad;
    bench_zone_t      z;
    decide_process_t  p[2];

    static const uint32_t  keys[] = { 1, 10000, 1000000 };

    rounds = argc > 1 ? (unsigned) atoi(argv[1]) : 21;
    rounds = prd_max(1, prd_min(rounds, 100));
    bad = 0;

    printf("decide: ns a decision in the engine, %u rounds of %u\n"
           "%9s  %18s  %22s\n", rounds, DECIDE_ASKS, "keys",
           "1 process (best)", "2 processes (best)");

    for (k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
        bench_zone_init(&z, "capacity=100000000r/s warmup=15s", keys[k], 195);

        /* three bins: warm-up is over, everybody has an envelope */

        for (i = 0; i < 3; i++) {
            decide_fill(&z, keys[k]);
        }

        for (i = 0; i < 2; i++) {
            decide_start(&p[i], &z, keys[k], i);
        }

        (void) decide_run(p, 2);

        for (n = 0; n < rounds; n++) {
            one[n] = decide_run(p, 1);
            two[n] = decide_run(p, 2);
        }

        /* the second has a copy of the first's pipe: all are closed first */

        for (i = 0; i < 2; i++) {
            close(p[i].in);
        }

        for (i = 0; i < 2; i++) {
            close(p[i].out);
            (void) waitpid(p[i].pid, NULL, 0);
        }

        /* nothing was lost in the race, and nothing came twice */

        bad |= prd_table_check(&z.view.table, &found, &claims);
        bad |= found != keys[k];

        median = bench_median(one, rounds);
        printf("%9u  %10.0f (%4.0f)  ", keys[k], median, one[0]);
        median = bench_median(two, rounds);
        printf("%12.0f (%4.0f)%s\n", median, two[0], bad ? "   FAULTS" : "");

        bench_zone_free(&z);
    }

    return (int) bad;
}
