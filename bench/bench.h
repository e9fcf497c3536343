
/*
 * What the benches of the engine share: random numbers from a seed, a zone
 * with its forecaster run by a clock of its own, CPU clocks, medians.
 */


#ifndef BENCH_H_INCLUDED
#define BENCH_H_INCLUDED


#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "prd_decide.h"
#include "prd_forecaster.h"


#define BENCH_S       1699920000ull      /* wall: a midnight */
#define BENCH_MS      50000000u          /* monotonic */
#define BENCH_HOUR    3600
#define BENCH_DAY     86400

#define BENCH_UNUSED  __attribute__((unused))


static uint64_t  bench_state = 1;


/* splitmix64 (Steele, Lea, Flood 2014) */

static uint64_t BENCH_UNUSED
bench_random(void)
{
    uint64_t  z;

    z = bench_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;

    return z ^ z >> 31;
}


/* 0 .. n - 1 */

static uint32_t BENCH_UNUSED
bench_below(uint32_t n)
{
    return (uint32_t) ((bench_random() >> 32) * n >> 32);
}


/* above 0, below 1 */

static double BENCH_UNUSED
bench_uniform(void)
{
    return ((double) (bench_random() >> 11) + 0.5) / 9007199254740992.0;
}


static double BENCH_UNUSED
bench_exponential(double mean)
{
    return -mean * log(bench_uniform());
}


static double BENCH_UNUSED
bench_normal(void)
{
    return sqrt(-2 * log(bench_uniform())) * cos(6.283185307179586
                                                 * bench_uniform());
}


/* 1, 2, ... with this mean */

static uint32_t BENCH_UNUSED
bench_geometric(double mean)
{
    return 1 + (uint32_t) (log(bench_uniform()) / log(1 - 1 / mean));
}


static double BENCH_UNUSED
bench_cpu_s(clockid_t clock)
{
    struct timespec  ts;

    (void) clock_gettime(clock, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}


static int
bench_compare(const void *a, const void *b)
{
    double  x = *(const double *) a, y = *(const double *) b;

    return x < y ? -1 : x > y;
}


/* Sorts v. */

static double BENCH_UNUSED
bench_median(double *v, unsigned n)
{
    qsort(v, n, sizeof(double), bench_compare);

    return n & 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}


static void BENCH_UNUSED
bench_die(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(2);
}


/* A policy from words such as "capacity=100r/s borrow=off". */

static void BENCH_UNUSED
bench_policy(prd_policy_t *policy, const char *words)
{
    char          *copy, *word, *save;
    prd_str_t      s;
    const char    *why;
    prd_params_t   p;

    why = "";
    prd_params_init(&p);

    /* kept: strings of a policy point into it */

    copy = strdup(words);

    for (word = strtok_r(copy, " ", &save); word;
         word = strtok_r(NULL, " ", &save))
    {
        s.data = word;
        s.len = strlen(word);

        if (prd_params_set(&p, s, &why) != PRD_OK) {
            fprintf(stderr, "%s: %s\n", word, why);
            exit(2);
        }
    }

    if (prd_params_end(&p, &why) != PRD_OK) {
        fprintf(stderr, "%s: %s\n", words, why);
        exit(2);
    }

    memset(policy, 0, sizeof(prd_policy_t));
    prd_policy_init(policy, &p, p.burst);
}


/*
 * A zone for `clients`, in memory that forked processes share; the worker
 * that asks, and the forecaster.  `second` is the last one that had a round,
 * counted from BENCH_S.
 */

typedef struct {
    prd_policy_t      policy;
    prd_view_t        view;
    prd_forecaster_t  f;
    prd_secret_t      secret;
    void             *mem;
    size_t            size;
    uint32_t          second;
} bench_zone_t;


/* `bytes` a client: 103 are a full table, 147 one filled to 0.7 */

static void BENCH_UNUSED
bench_zone_init(bench_zone_t *z, const char *words, size_t clients,
    size_t bytes)
{
    memset(z, 0, sizeof(bench_zone_t));
    bench_policy(&z->policy, words);

    z->secret.k0 = 0x0706050403020100;
    z->secret.k1 = 0x0f0e0d0c0b0a0908;

    z->size = prd_zone_size(clients * bytes + 4096);
    z->size = (z->size + 4095) & ~(size_t) 4095;
    z->mem = mmap(NULL, z->size, PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    if (z->mem == MAP_FAILED
        || prd_zone_init(z->mem, z->size, z->policy.unit, &z->secret,
                         &z->policy, BENCH_S, BENCH_MS)
           != PRD_OK
        || prd_zone_attach(&z->view, z->mem, z->size, &z->policy, 0, 1, NULL)
           != PRD_OK)
    {
        bench_die("no memory for a zone");
    }

    (void) prd_forecaster_round(&z->f, &z->view, &z->policy, BENCH_S,
                                BENCH_MS);
}


static void BENCH_UNUSED
bench_zone_free(bench_zone_t *z)
{
    munmap(z->mem, z->size);
}


static uint64_t BENCH_UNUSED
bench_tag(const bench_zone_t *z, uint64_t id)
{
    return prd_tag(prd_hash(&z->secret, &id, sizeof(uint64_t)));
}


/* The rounds up to `second`, as the thread does them: one a second. */

static void BENCH_UNUSED
bench_zone_clock(bench_zone_t *z, uint32_t second)
{
    while (z->second < second) {
        z->second++;
        (void) prd_forecaster_round(&z->f, &z->view, &z->policy,
                                    (double) (BENCH_S + z->second),
                                    BENCH_MS + z->second * 1000);
    }
}


/* A request of cost 1 at `ms`, nodelay.  1: it was delayed or refused. */

static int BENCH_UNUSED
bench_zone_ask(bench_zone_t *z, uint64_t tag, uint64_t parent,
    uint32_t class_, uint32_t ms)
{
    prd_ask_t     ask;
    prd_answer_t  answer;

    bench_zone_clock(z, ms / 1000);

    memset(&ask, 0, sizeof(prd_ask_t));

    ask.tag = tag;
    ask.parent = parent;
    ask.class_ = class_;
    ask.cost = z->policy.unit;
    ask.rate = z->policy.params.rate;
    ask.burst = z->policy.params.burst * z->policy.unit;
    ask.delay = PRD_NODELAY;
    ask.now_ms = BENCH_MS + ms;

    prd_decide(&z->view, &z->policy, &ask, &answer);
    prd_note(&z->view, &ask, &answer, 0, (BENCH_S + z->second) * 1000);

    return answer.verdict == PRD_DELAYED || answer.verdict == PRD_REJECTED;
}


/* A copy of everything that a zone knows, to go on from more than once. */

typedef struct {
    void      *mem;
    uint64_t   credit;
    uint32_t   second;
} bench_saved_t;


static void BENCH_UNUSED
bench_zone_save(const bench_zone_t *z, bench_saved_t *s)
{
    if (s->mem == NULL && (s->mem = malloc(z->size)) == NULL) {
        bench_die("no memory");
    }

    memcpy(s->mem, z->mem, z->size);
    s->credit = z->view.credit;
    s->second = z->second;
}


static void BENCH_UNUSED
bench_zone_restore(bench_zone_t *z, const bench_saved_t *s)
{
    memcpy(z->mem, s->mem, z->size);
    z->view.credit = s->credit;
    z->second = s->second;
}


#endif /* BENCH_H_INCLUDED */
