
/*
 * A process that is killed, kill -9, while it closes a bin, after every
 * instruction that changed a client: step by step under ptrace().  Whoever
 * takes over finds a zone without a fault and closes what was left.  No
 * client's bin counts twice; of as many clients as are closed at a time, eight,
 * it may be lost.
 */


#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"


#define CLIENTS  40
#define AT_ONCE  8                       /* clients closed at a time */
#define WORDS    "rate=10r/s burst=20 capacity=1000r/s"

#define BAD_TABLE    0x01
#define BAD_NUMBER   0x02
#define BAD_TWICE    0x04
#define BAD_LOST     0x08
#define BAD_LEFT     0x10
#define BAD_LISTS    0x20
#define BAD_STRANGE  0x40


static prd_policy_t      policy;
static prd_view_t        view;
static void             *memory;
static size_t            size;
static prd_forecaster_t  forecaster;


static int
alive(uint32_t pid)
{
    return pid == (uint32_t) getpid();
}


static uint64_t
key(uint32_t k)
{
    return prd_tag(0x1111111100000001ull * (k + 1));
}


static void
begin(void)
{
    static prd_secret_t  secret = { 5, 6 };

    lab_policy(&policy, WORDS);
    size = prd_zone_size((CLIENTS + 3 * PRD_WAYS) * PRD_SLOT_BYTES);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED
        || prd_zone_init(memory, size, policy.unit, &secret, &policy, LAB_S,
                         LAB_MS)
           != PRD_OK
        || prd_zone_attach(&view, memory, size, &policy, 0,
                           (uint32_t) getpid(), alive)
           != PRD_OK)
    {
        printf("Bail out! no zone\n");
        exit(1);
    }
}


static void
round_at(prd_view_t *v, uint32_t s)
{
    (void) prd_forecaster_round(&forecaster, v, &policy, (double) LAB_S + s,
                                LAB_MS + s * 1000);
}


/* Some requests of every client, in the bin that begins at `s`. */

static void
demand(uint32_t s, uint32_t times)
{
    uint32_t      k, i;
    prd_ask_t     ask;
    prd_answer_t  a;

    for (k = 0; k < CLIENTS; k++) {

        for (i = 0; i < times + k % 5; i++) {
            ask = lab_ask(&policy, 1, LAB_MS + (s + 1 + i) * 1000);
            ask.tag = key(k);
            prd_decide(&view, &policy, &ask, &a);
        }
    }
}


static int
sound(float x, float most)
{
    return isfinite(x) && x >= -most && x <= most;
}


/* What is wrong with the clients as they are; 0 = nothing. */

static unsigned
look(prd_view_t *v, int whole, uint32_t *lost)
{
    uint32_t              k, slot, clients, claims;
    uint64_t              env;
    unsigned              bad;
    const prd_entry_t    *e;
    const prd_learned_t  *l;

    *lost = 0;
    bad = prd_table_check(&v->table, &clients, &claims) || claims
          || clients != CLIENTS ? BAD_TABLE : 0;

    for (k = 0; k < CLIENTS; k++) {
        slot = prd_table_find(&v->table, key(k));

        if (slot == PRD_NO_SLOT) {
            bad |= BAD_TABLE;
            continue;
        }

        e = &v->table.entries[slot];
        l = &v->learned[slot];
        env = atomic_load(&e->envelope);

        bad |= sound(l->mu, 40) && sound(l->sigma, 40) && l->sigma > 0
               && sound(l->mu_rate, 40) && sound(l->depth, 1e6f)
               && l->depth > 0 && sound(l->rate, 1e6f) && l->rate > 0
               && sound(l->count, 1000) && sound(l->level, 1000)
               && sound(l->near, 1000) ? 0 : BAD_NUMBER;
        bad |= prd_env_generation(env) == l->generation
               && prd_env_depth_code(env) && prd_env_rate_code(env)
               ? 0 : BAD_STRANGE;

        /* one was closed before */

        bad |= l->blocks > 2 ? BAD_TWICE : 0;
        *lost += l->blocks < 2 && atomic_load(&e->demand) == 0;
        bad |= whole && atomic_load(&e->demand) != 0 ? BAD_LEFT : 0;
    }

    return bad | (*lost > AT_ONCE ? BAD_LOST : 0);
}


/* The process has died here: another one goes on, with a copy. */

static unsigned
survive(const void *copy, uint32_t *lost)
{
    void        *mem;
    uint32_t     b, n;
    unsigned     bad;
    prd_top_t    top[PRD_TOP];
    prd_view_t   v;
    prd_point_t  series[PRD_SERIES];

    mem = aligned_alloc(64, (size + 63) / 64 * 64);
    memcpy(mem, copy, size);

    if (prd_zone_attach(&v, mem, size, &policy, 1, (uint32_t) getpid(), alive)
        != PRD_OK)
    {
        free(mem);
        return BAD_TABLE;
    }

    memset(&forecaster, 0, sizeof(prd_forecaster_t));

    /* in the same bin, and until the sweep has seen the table once */

    round_at(&v, 21);

    for (b = 0; b <= v.table.nbuckets; b++) {
        round_at(&v, 31 + b * 10);
    }

    bad = look(&v, 1, lost);
    bad |= prd_zone_top(&v, PRD_TOP_RATE, top, &n) != PRD_OK
           || prd_zone_series(&v, series, &n, 0) != PRD_OK ? BAD_LISTS : 0;

    free(mem);

    return bad;
}


int
main(void)
{
    int       status, n, states;
    char     *from, *to;
    void     *last;
    pid_t     pid;
    size_t    span;
    uint32_t  lost, most;
    unsigned  bad, all;

    begin();
    round_at(&view, 0);
    demand(0, 3);
    round_at(&view, 10);
    demand(10, 2);

    is_int(look(&view, 0, &lost), 0, "%d clients have closed a bin", CLIENTS);
    is_int(lost, 0, "all of them ask for more in the next one");

    /* tags, dirty bits, entries, records: all but what is the zone's */

    from = (char *) view.table.tags;
    to = (char *) &view.learned[prd_zone_slots(&view)];
    span = (size_t) (to - from);
    last = malloc(span);

    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(77);
        }

        raise(SIGSTOP);
        round_at(&view, 20);
        _exit(0);
    }

    waitpid(pid, &status, 0);

    if (!WIFSTOPPED(status)) {
        ok(1, "closing a bin # skip no ptrace() here");
        return done_testing();
    }

    all = n = states = 0;
    most = 0;
    memset(last, 0xff, span);

    while (WIFSTOPPED(status)) {

        if (memcmp(last, from, span) != 0) {
            memcpy(last, from, span);

            bad = survive(memory, &lost);
            most = prd_max(most, lost);
            states++;

            if (bad && !all) {
                printf("# killed after %d instructions: %x, %u lost\n", n,
                       bad, lost);
            }

            all |= bad;
        }

        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0) {
            break;
        }

        waitpid(pid, &status, 0);
        n++;
    }

    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the bin was closed in "
       "%d instructions", n);
    ok(states > 3 * CLIENTS, "which changed clients %d times", states);
    is_int(all, 0, "killed after any of these, it leaves a zone without fault "
           "that the next one closes");
    ok(most > 0 && most <= AT_ONCE, "at most %u of %d clients have lost the "
       "bin", most, CLIENTS);
    is_int(look(&view, 1, &lost), 0, "who was not killed has left nothing");
    is_int(lost, 0, "and nobody has lost anything");

    free(last);

    return done_testing();
}
