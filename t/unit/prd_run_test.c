
/*
 * Runs: what a worker answers from its own memory is what prd_decide() would
 * have said; what buckets hold afterwards, too; and workers that are at it
 * together, late or killed never admit more than the bucket has.
 */


#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"
#include "prd_run.h"


/* So slow that nothing drains in a test: levels are sums. */
#define SLOW   "rate=0.001r/d"
#define KEYS   5
#define KILLS  200


typedef struct {
    prd_view_t   v;
    prd_run_t    run;
} worker_t;


static uint64_t
word(prd_word_t *w)
{
    return atomic_load_explicit(w, memory_order_relaxed);
}


static double
m(const prd_answer_t *a)
{
    return prd_min(a->terms.m, 2 * PRD_ONE_Q16);
}


/* The pool may have moved a little: m is of where the run began. */

static unsigned
differ(const prd_answer_t *a, const prd_answer_t *b)
{
    return a->verdict != b->verdict || a->reason != b->reason
           || a->slot != b->slot || a->parent_slot != b->parent_slot
           || a->level != b->level || a->delay_ms != b->delay_ms
           || a->cost != b->cost || a->added != b->added
           || a->parent_added != b->parent_added || a->backlog != b->backlog
           || a->parent_backlog != b->parent_backlog
           || a->terms.rate != b->terms.rate
           || a->terms.depth != b->terms.depth
           || a->terms.limit != b->terms.limit
           || fabs(m(a) - m(b)) > m(a) / 8
           || a->terms.learned != b->terms.learned || a->full != b->full
           || a->pooled != b->pooled || a->taken != b->taken;
}


/* Two zones, one with a run: bursts of few clients, costs, peeks, parents. */

static void
same(const char *words, unsigned learned, uint64_t seed)
{
    int            i, j, n, wrong, words_wrong, inside, refused;
    uint32_t       ms, s;
    prd_ask_t      ask;
    prd_run_t      run;
    prd_view_t     u, v;
    prd_entry_t   *e, *f;
    prd_answer_t   a, b;
    prd_policy_t   policy;

    lab_state = seed;
    lab_policy(&policy, words);
    u = lab_zone(&policy, 100, LAB_S, LAB_MS);
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    memset(&run, 0, sizeof(prd_run_t));
    wrong = words_wrong = inside = refused = 0;
    ms = LAB_MS;

    for (i = 0; i < 4000; i++) {
        ask = lab_ask(&policy, 1 + lab_below(KEYS), ms);
        ask.class_ = (uint32_t) lab_below(2);
        ask.parent = lab_below(4) ? 0 : prd_tag(100);
        ask.cost = lab_below(4) ? ask.cost : (uint32_t) lab_below(3)
                                             * ask.cost;
        n = (int) lab_below(60);

        for (j = 0; j < n; j++) {

            if (lab_below(50) == 0) {
                ask.delay = ask.burst / 2;
            }

            inside += run.left != 0;
            prd_decide(&u, &policy, &ask, &a);
            prd_run_decide(&v, &policy, &run, &ask, &b);
            wrong += differ(&a, &b);
            refused += a.verdict == PRD_REJECTED;

            if (lab_below(100) == 0) {
                prd_run_end(&v, &policy, &run);
            }

            if (lab_below(100) == 0) {
                ms++;
                ask.now_ms = ms;
            }
        }

        ms += lab_below(3) ? 0 : (uint32_t) lab_magnitude(3000);

        if (lab_below(2)) {
            prd_run_end(&v, &policy, &run);
        }

        if (learned && i == 10) {
            for (s = 0; s < prd_zone_slots(&u); s++) {
                if (atomic_load(&u.table.tags[s])) {
                    lab_learn(&u, s, 300, 2000, 20);
                    lab_learn(&v, s, 300, 2000, 20);
                }
            }

            atomic_store(&u.zone->warm, 1);
            atomic_store(&v.zone->warm, 1);
        }

        if (prd_run_open(&run)) {
            continue;
        }

        for (s = 0; s <= prd_zone_slots(&u); s++) {
            e = &u.table.entries[s];
            f = &v.table.entries[s];
            words_wrong += word(&e->state) != word(&f->state)
                           || word(&e->virtual_) != word(&f->virtual_)
                           || word(&e->demand) != word(&f->demand)
                           || word(&e->counts) != word(&f->counts)
                           || e->refused != f->refused;
        }

        words_wrong += word(&u.zone->pool) != word(&v.zone->pool)
                       || u.credit != v.credit;
        words_wrong += memcmp((void *) u.worker->class_,
                              (void *) v.worker->class_,
                              sizeof(u.worker->class_))
                       != 0;
        words_wrong += memcmp(u.dirty, v.dirty, u.table.nbuckets / 8) != 0;
    }

    is_int(wrong, 0, "\"%s\"%s: as if there were no run, %d refused", words,
           learned ? ", learned" : "", refused);
    is_int(words_wrong, 0, "so are buckets, demand, pool and classes");
    ok(inside > 2000, "%d were answered from a run", inside);

    free(u.zone);
    free(v.zone);
}


/* What a run may not begin with. */

static void
none(const char *words, const char *what, unsigned known, uint64_t parent,
    uint32_t cost)
{
    int            i, open;
    prd_ask_t      ask;
    prd_run_t      run;
    prd_view_t     v;
    prd_answer_t   a;
    prd_policy_t   policy;

    lab_policy(&policy, words);
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    memset(&run, 0, sizeof(prd_run_t));

    for (i = open = 0; i < 40; i++) {
        ask = lab_ask(&policy, 1, LAB_MS);
        ask.parent = parent;
        ask.cost = cost;
        prd_run_decide(&v, &policy, &run, &ask, &a);
        open += prd_run_open(&run);
    }

    is_int(open != 0, known, "%s: %s", what, known ? "a run" : "no run");
    free(v.zone);
}


/*
 * Workers in turn, some of which sleep in the middle of a run: never more than
 * the bucket, and in the end exactly what was admitted.
 */

static void
bound(unsigned workers, uint32_t burst)
{
    int            i, j, n, inside;
    char           words[100];
    unsigned       k;
    uint64_t       admitted, most;
    prd_ask_t      ask;
    prd_view_t     v;
    worker_t      *w;
    prd_answer_t   a;
    prd_policy_t   policy;

    snprintf(words, sizeof(words), SLOW " burst=%u max=0.001r/d", burst);
    lab_policy(&policy, words);
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    w = calloc(workers, sizeof(worker_t));
    most = 0;
    inside = 0;

    for (k = 0; k < workers; k++) {
        prd_zone_attach(&w[k].v, v.zone, v.zone->size, &policy, k, k + 1,
                        lab_alive);
    }

    for (n = 0; n < 20; n++) {
        admitted = 0;

        for (i = 0; i < (int) (3 * burst / 10); i++) {
            k = (unsigned) lab_below(workers);

            for (j = (int) lab_below(20); j >= 0; j--) {
                inside += w[k].run.left != 0;
                ask = lab_ask(&policy, 1 + (uint64_t) n, LAB_MS);
                prd_run_decide(&w[k].v, &policy, &w[k].run, &ask, &a);
                admitted += a.verdict == PRD_PASSED;
            }

            if (lab_below(30) == 0) {
                prd_run_end(&w[k].v, &policy, &w[k].run);
            }
        }

        for (k = 0; k < workers; k++) {
            prd_run_end(&w[k].v, &policy, &w[k].run);
        }

        most = prd_max(most, admitted);

        if (lab_level(&v, a.slot) != admitted * policy.unit) {
            most = UINT64_MAX;
        }
    }

    ok(most <= burst + 1 && most + workers * PRD_RUN_AHEAD > burst,
       "%u workers, burst %u: %llu admitted, %d from runs", workers, burst,
       (unsigned long long) most, inside);
    ok(inside > (int) burst, "most of them");

    free(w);
    free(v.zone);
}


/*
 * One worker sleeps with an open run, the other goes on as time does: what
 * goes back at last is never more than was there.
 */

static void
late(void)
{
    int            i, n, less, exact;
    uint32_t       ms;
    prd_ask_t      ask;
    prd_view_t     u, v, x;
    prd_run_t      run;
    prd_answer_t   a;
    prd_policy_t   policy;

    lab_policy(&policy, "rate=3000r/s burst=4000");
    less = exact = 0;

    for (n = 0; n < 300; n++) {
        u = lab_zone(&policy, 100, LAB_S, LAB_MS);
        v = lab_zone(&policy, 100, LAB_S, LAB_MS);
        prd_zone_attach(&x, v.zone, v.zone->size, &policy, 1, 2, lab_alive);
        memset(&run, 0, sizeof(prd_run_t));

        ms = LAB_MS;
        ask = lab_ask(&policy, 1, ms);

        /* u: without a run; v: the one that sleeps; x: the other */

        for (i = 6 + (int) lab_below(40); i; i--) {
            prd_decide(&u, &policy, &ask, &a);
            prd_run_decide(&v, &policy, &run, &ask, &a);
        }

        for (i = (int) lab_below(5); i; i--) {
            ask.now_ms += (uint32_t) lab_below(8);
            prd_decide(&u, &policy, &ask, &a);
            prd_decide(&x, &policy, &ask, &a);
        }

        prd_run_end(&v, &policy, &run);

        less += lab_level(&v, a.slot) < lab_level(&u, a.slot);
        exact += lab_level(&v, a.slot) == lab_level(&u, a.slot);

        free(u.zone);
        free(v.zone);
    }

    is_int(less, 0, "nothing that had drained goes back a second time");
    ok(exact > 50, "at times nothing has drained: %d", exact);
}


/* Its slot was given away under an open run: a stranger's stays as it is. */

static void
given(void)
{
    int            i;
    uint32_t       slot;
    uint64_t       before;
    prd_ask_t      ask;
    prd_run_t      run;
    prd_view_t     v;
    prd_answer_t   a;
    prd_policy_t   policy;

    lab_policy(&policy, "rate=10r/s burst=4000");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    memset(&run, 0, sizeof(prd_run_t));
    ask = lab_ask(&policy, 1, LAB_MS);

    for (i = 0; i < 10; i++) {
        prd_run_decide(&v, &policy, &run, &ask, &a);
    }

    slot = a.slot;
    ok(run.left && run.owed, "a run is open");

    prd_table_remove(&v.table, ask.tag);
    atomic_store(&v.table.tags[slot], prd_tag(2));
    atomic_store(&v.table.entries[slot].state, prd_word(LAB_MS, 5000));
    atomic_store(&v.table.entries[slot].demand, 0);
    before = word(&v.table.entries[slot].state);

    prd_run_end(&v, &policy, &run);

    is_int(word(&v.table.entries[slot].state), before, "its bucket stays");
    is_int(word(&v.table.entries[slot].demand), 0, "and its demand");
    ok(!prd_run_open(&run), "the run is over");

    prd_run_decide(&v, &policy, &run, &ask, &a);
    ok(a.slot != slot, "who comes back has another slot");

    free(v.zone);
}


/* Two processes in runs of one client, killed at random moments. */

static void
killed(void)
{
    int               n, i, k, wrong;
    pid_t             pid[2];
    void             *mem;
    size_t            size;
    int64_t           over, most;
    uint32_t          slot;
    uint64_t          admitted;
    prd_ask_t         ask;
    prd_run_t         run;
    prd_view_t        v;
    prd_answer_t      a;
    prd_policy_t      policy;
    struct timespec   ts;
    _Atomic uint64_t  *done;

    static prd_secret_t  secret = { 3, 4 };

    lab_policy(&policy, SLOW " burst=900000000 max=0.001r/d");
    size = prd_zone_size(100 * 137 + 4096);
    mem = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    done = (void *) ((char *) mem + size / 64 * 64);
    size = size / 64 * 64;
    prd_zone_init(mem, size, policy.unit, &secret, &policy, LAB_S, LAB_MS);
    prd_zone_attach(&v, mem, size, &policy, 9, 10, lab_alive);
    ask = lab_ask(&policy, 1, LAB_MS);
    wrong = 0;
    most = 0;

    for (n = 0; n < KILLS; n++) {
        fflush(stdout);

        for (k = 0; k < 2; k++) {
            pid[k] = fork();

            if (pid[k] == 0) {
                prd_zone_attach(&v, mem, size, &policy, (uint32_t) k,
                                (uint32_t) k + 1, lab_alive);
                memset(&run, 0, sizeof(prd_run_t));

                for ( ;; ) {
                    for (i = 0; i < 100; i++) {
                        prd_run_decide(&v, &policy, &run, &ask, &a);
                        atomic_fetch_add(done, policy.unit);
                    }

                    prd_run_end(&v, &policy, &run);
                }
            }
        }

        ts.tv_sec = 0;
        ts.tv_nsec = 200000 + (long) lab_below(2000000);
        nanosleep(&ts, NULL);

        for (k = 0; k < 2; k++) {
            kill(pid[k], SIGKILL);
            waitpid(pid[k], NULL, 0);
        }

        /* on a slow machine none of them has begun */

        slot = prd_table_find(&v.table, ask.tag);
        admitted = atomic_load(done);

        if (slot == PRD_NO_SLOT) {
            wrong += admitted != 0;
            continue;
        }

        /* one under way is charged, or was charged and not counted */

        over = (int64_t) lab_level(&v, slot) - (int64_t) admitted;
        most = prd_max(most, over);
        wrong += over < 0 || over > 2 * (PRD_RUN_AHEAD + 1)
                                    * (int64_t) policy.unit;
        atomic_store(done, admitted + (uint64_t) over);
    }

    is_int(wrong, 0, "%d kills: at most a run each is charged in vain, %lld "
           "once", KILLS, (long long) most);
    ok(atomic_load(done) > 100000, "of %llu requests",
       (unsigned long long) atomic_load(done));

    munmap(mem, size + 4096);
}


int
main(void)
{
    same("rate=100r/s burst=3000", 0, 1);
    same("rate=100r/s burst=3000 learn=off", 0, 2);
    same("rate=100r/s burst=3000 capacity=100000r/s borrow=2", 0, 3);
    same("rate=1000r/s burst=5000000", 0, 4);
    same("rate=20r/s burst=10", 1, 5);
    same("rate=20r/s burst=10 capacity=400r/s", 1, 6);

    none("rate=10r/s burst=4000", "a client", 1, 0, 1000);
    none("rate=10r/s burst=50", "a small bucket", 0, 0, 1000);
    none("rate=10r/s burst=4000", "with a shared bucket", 0, prd_tag(7), 1000);
    none("rate=10r/s burst=4000", "a cost of 0", 0, 0, 0);
    none("rate=10r/s burst=4000", "a great cost", 0, 0, 70000);
    none("rate=10r/s burst=4000 capacity=10r/s", "a small pool", 0, 0, 1000);
    none("rate=10r/s burst=4000 charge=$c", "a charge", 0, 0, 1000);

    bound(2, 1000);
    bound(5, 5000);
    bound(40, 3000);
    late();
    given();
    killed();

    return done_testing();
}
