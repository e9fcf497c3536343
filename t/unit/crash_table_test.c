
/*
 * Processes that are killed, kill -9, while they insert, charge, remove and
 * settle in memory that they share: at 400 random moments, and, step by step
 * under ptrace(), after every single instruction.
 *
 * What must hold then: no fault in the table; a claim that is left is
 * recovered by whoever needs the slot, or by the sweep; every level is what
 * was charged, with the charge under way either whole or not at all.
 */


#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"


#define KEYS      64                     /* kept: their levels are sums */
#define PASSING   400                    /* inserted and removed again */
#define CHILDREN  2
#define KILLS     400
#define WORDS     SLOW " burst=3000000 max=0.001r/d learn=observe"
#define SLOW      "rate=0.001r/d"
#define LONG_DEAD 0x3fffffu


/* What the children are at, in memory that they share with us. */

typedef struct {
    _Atomic uint64_t  done[KEYS];
    _Atomic uint32_t  key;               /* being charged, + 1 */
    _Atomic uint32_t  cost;
    _Atomic uint64_t  rounds;
} journal_t;


static prd_policy_t   policy;
static journal_t     *journal;
static void          *memory;
static size_t         size;
static uint32_t       dead;              /* of the step-by-step test */


static int
alive(uint32_t pid)
{
    return kill((pid_t) pid, 0) == 0 || errno != ESRCH;
}


static int
not_dead(uint32_t pid)
{
    return pid != dead && pid != LONG_DEAD;
}


static void *
shared(size_t n)
{
    void  *p;

    p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
             0);

    if (p == MAP_FAILED) {
        printf("Bail out! mmap: %s\n", strerror(errno));
        exit(1);
    }

    return p;
}


static void
begin(const char *words, uint32_t clients)
{
    static prd_secret_t  secret = { 3, 4 };

    lab_policy(&policy, words);
    size = prd_zone_size((size_t) (clients + PRD_WAYS) * 137 + 4096);
    memory = shared(size);
    journal = shared(CHILDREN * sizeof(journal_t));

    if (prd_zone_init(memory, size, policy.unit, &secret, &policy, LAB_S,
                      LAB_MS)
        != PRD_OK)
    {
        printf("Bail out! no zone\n");
        exit(1);
    }
}


static void
end(void)
{
    munmap(memory, size);
    munmap(journal, CHILDREN * sizeof(journal_t));
}


static uint64_t
key(uint32_t k)
{
    return prd_tag(0x1111111100000001ull * (k + 1));
}


static void
work(uint32_t id)
{
    uint32_t       k, slot;
    unsigned       evicted;
    prd_ask_t      ask;
    prd_view_t     v;
    prd_answer_t   a;
    journal_t     *j = &journal[id];

    prd_zone_attach(&v, memory, size, &policy, id, (uint32_t) getpid(), alive);
    lab_state = (uint64_t) getpid() * 77;

    for ( ;; ) {
        atomic_fetch_add(&j->rounds, 1);

        if (lab_below(3)) {

            /* strangers come and go */

            k = 1000 + (uint32_t) lab_below(PASSING);
            (void) prd_table_insert(&v.table, key(k), LAB_MS, &slot, &evicted);

            if (lab_below(2)) {
                (void) prd_table_remove(&v.table, key(k));
            }

            continue;
        }

        k = (uint32_t) lab_below(KEYS);
        ask = lab_ask(&policy, key(k), LAB_MS);
        ask.tag = key(k);
        ask.cost = 1 + (uint32_t) lab_below(9);

        atomic_store(&j->cost, ask.cost);
        atomic_store(&j->key, k + 1);

        prd_decide(&v, &policy, &ask, &a);

        /* one without a slot is charged to the overflow bucket */

        if (a.verdict != PRD_REJECTED && !a.full) {
            atomic_fetch_add(&j->done[k], ask.cost);
        }

        /*
         * Killed here, the charge is in `done` and in `key`: told apart by
         * what the level is.
         */

        atomic_store(&j->key, 0);
        a.verdict = PRD_REJECTED;
        prd_note(&v, &ask, &a, 0, 1);
    }
}


static pid_t
start(uint32_t id)
{
    pid_t  pid;

    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        work(id);
        _exit(0);
    }

    if (pid < 0) {
        printf("Bail out! fork: %s\n", strerror(errno));
        exit(1);
    }

    return pid;
}


static void
kills(void)
{
    int              i, k, n, killed, faults, wrong, stuck, left, lost, full;
    pid_t            pid[CHILDREN];
    int64_t          rest;
    uint32_t         c, slot, clients, claims;
    uint64_t         sum, rounds;
    prd_ask_t        ask;
    prd_view_t       v;
    prd_answer_t     a;
    struct timespec  ts;

    /* so much room that nobody is ever evicted */

    begin(WORDS, 4000);
    prd_zone_attach(&v, memory, size, &policy, 60, (uint32_t) getpid(), alive);

    killed = faults = wrong = stuck = left = lost = full = 0;
    rounds = 0;

    while (killed < KILLS) {

        for (i = 0; i < CHILDREN; i++) {
            pid[i] = start((uint32_t) i);
        }

        /* while all live, then while one has died */

        for (i = 0; i < CHILDREN; i++) {
            ts.tv_sec = 0;
            ts.tv_nsec = 300000 + (long) lab_below(3000000);
            nanosleep(&ts, NULL);
            kill(pid[i], SIGKILL);
            waitpid(pid[i], NULL, 0);
            killed++;
        }

        faults += (int) prd_table_check(&v.table, &clients, &claims);
        left += (int) claims;

        /* half of the time by the sweep, else by one who needs the slot */

        if (lab_below(2)) {
            prd_table_sweep(&v.table, 0, v.table.nbuckets, LAB_MS,
                            20u * 86400 * 1000);

        } else {

            for (k = 0; k < PASSING && claims; k++) {
                ask = lab_ask(&policy, 1, LAB_MS);
                ask.tag = key(1000 + (uint32_t) k);
                prd_decide(&v, &policy, &ask, &a);
                full += a.full;
            }

            for (k = 0; k < PASSING && claims; k++) {
                prd_table_remove(&v.table, key(1000 + (uint32_t) k));
            }
        }

        /* each key: what was charged, and perhaps what was under way */

        for (k = 0; k < KEYS; k++) {
            slot = prd_table_find(&v.table, key((uint32_t) k));

            for (i = 0, sum = 0; i < CHILDREN; i++) {
                sum += atomic_load(&journal[i].done[k]);
            }

            if (slot == PRD_NO_SLOT) {
                lost += sum > 0;
                continue;
            }

            rest = (int64_t) lab_level(&v, slot) - (int64_t) sum;

            for (n = 0, i = 1; i <= 1 << CHILDREN; i++) {
                int64_t  open = 0;

                for (c = 0; c < CHILDREN; c++) {
                    if ((i - 1) >> c & 1
                        && atomic_load(&journal[c].key)
                           == (uint32_t) k + 1)
                    {
                        open += atomic_load(&journal[c].cost);
                    }
                }

                n += rest == open;
            }

            if (n == 0) {
                wrong++;
                printf("# key %d: level %u, charged %llu\n", k,
                       lab_level(&v, slot), (unsigned long long) sum);
            }

            atomic_fetch_add(&journal[0].done[k], (uint64_t) rest);
        }

        for (i = 0; i < CHILDREN; i++) {
            atomic_store(&journal[i].key, 0);
            rounds += atomic_load(&journal[i].rounds);
            atomic_store(&journal[i].rounds, 0);
        }
    }

    is_int(faults, 0, "%d killed in %llu rounds: no fault", killed,
           (unsigned long long) rounds);
    is_int(wrong, 0, "every charge is whole or not at all");
    is_int(lost, 0, "nobody who was there is lost");
    is_int(full, 0, "claims of the dead are no obstacle");

    prd_table_sweep(&v.table, 0, v.table.nbuckets, LAB_MS,
                    20u * 86400 * 1000);
    prd_table_check(&v.table, &clients, &claims);
    is_int(claims, 0, "none is left, of the %d that they left", left);
    ok(rounds > KILLS, "they were at work");

    end();
}


/*
 * One operation of a child, instruction by instruction.  After each we look at
 * a copy of the memory: what if it had been killed there?
 */

typedef enum {
    INSERT, EVICT, CHARGE, PARENT, TAKEOVER, REMOVE, SETTLE, REFUND, NOTE,
    OPERATIONS
} operation_e;

static const char  *names[] = {
    "insert", "evict", "charge", "charge with a newcomer's key and a pool",
    "take over a dead claim", "remove", "settle", "refund", "note"
};


/* The state that an operation meets. */

static uint32_t
prepare(prd_view_t *v, operation_e op)
{
    uint32_t  s, slot, first[PRD_CHOICES];
    uint64_t  tag;
    unsigned  evicted;

    slot = 0;

    switch (op) {

    case EVICT:
    case TAKEOVER:

        for (s = 0; s < prd_zone_slots(v); s++) {

            do {
                tag = prd_tag(lab_random());
                prd_table_buckets(&v->table, tag, first);
            } while (s - first[0] >= PRD_WAYS && s - first[1] >= PRD_WAYS);

            atomic_store(&v->table.tags[s], tag);
            atomic_store(&v->table.entries[s].state, prd_word(LAB_MS, 5000));
            atomic_store(&v->table.entries[s].virtual_,
                         prd_word(LAB_MS, 5000));
            lab_learn(v, s, 1, 20, op == EVICT ? 0 : 9);
        }

        if (op == TAKEOVER) {
            prd_table_buckets(&v->table, key(5), first);
            atomic_store(&v->table.tags[first[1] + 3],
                         PRD_TAG_CLAIM << 48 | (uint64_t) LONG_DEAD << 26 | 5);
        }

        break;

    case CHARGE:
    case REMOVE:
    case SETTLE:
    case REFUND:
    case NOTE:
        prd_table_insert(&v->table, key(5), LAB_MS, &slot, &evicted);
        atomic_store(&v->table.entries[slot].state, prd_word(LAB_MS, 4000));
        break;

    default:
        break;
    }

    return slot;
}


static void
operate(operation_e op)
{
    prd_ask_t     ask;
    prd_view_t    v;
    prd_answer_t  a;

    prd_zone_attach(&v, memory, size, &policy, 1, (uint32_t) getpid(),
                    op == TAKEOVER ? lab_alive : NULL);

    ask = lab_ask(&policy, 1, LAB_MS);
    ask.tag = key(5);
    ask.cost = 700;
    ask.parent = op == PARENT ? key(6) : 0;

    if (op == SETTLE || op == REFUND || op == NOTE) {
        prd_decide(&v, &policy, &ask, &a);
    }

    raise(SIGSTOP);

    switch (op) {

    case REMOVE:
        (void) prd_table_remove(&v.table, key(5));
        break;

    case SETTLE:
        prd_settle(&v, &policy, &ask, &a, 1700);
        break;

    case REFUND:
        prd_refund(&v, &policy, &ask, &a);
        break;

    case NOTE:
        a.verdict = PRD_REJECTED;
        a.reason = PRD_REASON_QUOTA;
        prd_note(&v, &ask, &a, 0, 42);
        break;

    default:
        prd_decide(&v, &policy, &ask, &a);
    }

    _exit(0);
}


/* What a survivor finds and does, on a copy; 0 = all is well. */

static unsigned
survive(void *copy, operation_e op, unsigned *phases)
{
    uint32_t         clients, claims, slot, level, before;
    unsigned         bad;
    prd_ask_t        ask;
    prd_view_t       v;
    prd_answer_t     a;
    prd_decision_t   d[4];

    prd_zone_attach(&v, copy, size, &policy, 2, 99, not_dead);

    bad = prd_table_check(&v.table, &clients, &claims) != 0;
    bad |= (claims > 1) << 1;
    *phases |= 1u << prd_min(claims, 3);

    /* levels: whole or not at all */

    slot = prd_table_find(&v.table, key(5));
    level = before = slot == PRD_NO_SLOT ? 0 : lab_level(&v, slot);

    if (slot != PRD_NO_SLOT) {
        *phases |= level == 0 ? 16 : level == 700 ? 32 : level == 4000 ? 64
                   : level == 4700 ? 128 : level == 5700 ? 256 : 0;

        switch (op) {

        case CHARGE:
            bad |= (level != 4000 && level != 4700) << 2;
            break;

        case REMOVE:
            bad |= (level != 4000) << 2;
            break;

        case SETTLE:
            bad |= (level != 4700 && level != 5700) << 2;
            break;

        case REFUND:
            bad |= (level != 4700 && level != 4000) << 2;
            break;

        case NOTE:
            bad |= (level != 4700) << 2;
            break;

        default:
            bad |= (level != 0 && level != 700) << 2;
        }

        /* a slot that is seen has no former client's fields */

        if (op == INSERT || op == EVICT || op == TAKEOVER) {
            bad |= (prd_env_depth_code(atomic_load(
                        &v.table.entries[slot].envelope)) != 0
                    || atomic_load(&v.table.entries[slot].hours) != 0) << 3;
        }

    } else {
        *phases |= 512;
    }

    if (op == PARENT) {
        slot = prd_table_find(&v.table, key(6));
        level = slot == PRD_NO_SLOT ? 0 : lab_level(&v, slot);

        /* the newcomer's key is charged first, and never the client alone */

        bad |= ((level != 0 && level != 700) || before > level) << 4;
    }

    if (op == NOTE) {
        bad |= (prd_zone_decisions(&v, 0, d, 4) > 1) << 5;

        if (prd_zone_decisions(&v, 0, d, 4)) {
            bad |= (d[0].tag != key(5) || d[0].time_ms != 42
                    || d[0].verdict != PRD_REJECTED || d[0].cost != 700) << 5;
            *phases |= 1024;
        }
    }

    /* the same key again, by another: it gets its slot, and one only */

    ask = lab_ask(&policy, 1, LAB_MS);
    ask.tag = key(5);
    ask.cost = 300;
    prd_decide(&v, &policy, &ask, &a);

    bad |= (a.full || a.verdict == PRD_REJECTED) << 6;
    bad |= (lab_level(&v, a.slot) != before + 300) << 7;
    bad |= (prd_table_check(&v.table, &clients, &claims) != 0) << 8;

    /* and the sweep takes what nobody needed */

    prd_table_sweep(&v.table, 0, v.table.nbuckets, LAB_MS,
                    20u * 86400 * 1000);
    prd_table_check(&v.table, &clients, &claims);
    bad |= (claims != 0) << 9;

    return bad;
}


static void
steps(operation_e op)
{
    int              status, n, looked, most;
    void            *copy, *last;
    pid_t            pid;
    unsigned         bad, all, phases;
    prd_view_t       v;

    begin(op == PARENT ? WORDS " capacity=100000r/s" : SLOW " burst=20",
          2 * PRD_WAYS - 8);
    prd_zone_attach(&v, memory, size, &policy, 0, 98, lab_alive);
    prepare(&v, op);

    copy = aligned_alloc(64, (size + 63) / 64 * 64);
    last = aligned_alloc(64, (size + 63) / 64 * 64);
    memset(last, 0xff, size);

    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(77);
        }

        operate(op);
    }

    dead = (uint32_t) pid;
    n = looked = 0;
    all = phases = 0;
    most = 2000000;

    waitpid(pid, &status, 0);

    if (!WIFSTOPPED(status)) {
        ok(1, "%s # skip no ptrace() here", names[op]);
        goto done;
    }

    while (WIFSTOPPED(status) && n < most) {

        /* only when something has changed */

        if (memcmp(last, memory, size) != 0) {
            memcpy(last, memory, size);
            memcpy(copy, memory, size);
            bad = survive(copy, op, &phases);
            looked++;

            if (bad && !all) {
                printf("# %s: killed after %d instructions: %x\n", names[op],
                       n, bad);
            }

            all |= bad;
        }

        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0) {
            break;
        }

        waitpid(pid, &status, 0);
        n++;
    }

    if (WIFSTOPPED(status)) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }

    ok(all == 0 && n < most && looked > 1, "%s: %d instructions, %d states of "
       "the memory, phases %x: it may die after each", names[op], n, looked,
       phases);

done:

    free(copy);
    free(last);
    end();
}


/*
 * Two processes insert the same key in lockstep, an instruction each in turn,
 * the second some instructions behind: whatever the distance, both come out
 * with the same slot, and soon.
 */

static int
step(pid_t pid, int *status)
{
    if (WIFSTOPPED(*status)) {
        ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
        waitpid(pid, status, 0);
    }

    return WIFSTOPPED(*status);
}


static void
lockstep(void)
{
    int         i, n, behind, runs, stuck, wrong, status[2];
    pid_t       pid[2];
    uint32_t    clients, claims, slot;
    unsigned    evicted;
    prd_rc_t    rc;
    prd_view_t  v;

    runs = stuck = wrong = 0;

    begin(SLOW " burst=20", 600);
    prd_zone_attach(&v, memory, size, &policy, 0, 98, lab_alive);

    for (behind = 0; behind < 400; behind += 10) {
        (void) prd_table_remove(&v.table, key(5));
        fflush(stdout);

        for (i = 0; i < 2; i++) {
            atomic_store(&journal[i].done[0], 0);
            pid[i] = fork();

            if (pid[i] == 0) {
                if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
                    _exit(77);
                }

                v.table.alive = NULL;
                v.table.pid = 100 + (uint32_t) i;
                raise(SIGSTOP);
                rc = prd_table_insert(&v.table, key(5), LAB_MS, &slot,
                                      &evicted);
                atomic_store(&journal[i].done[0],
                             rc == PRD_OK ? slot + 1 : 1000000);
                _exit(0);
            }

            waitpid(pid[i], &status[i], 0);
        }

        if (!WIFSTOPPED(status[0])) {
            ok(1, "lockstep # skip no ptrace() here");
            end();
            return;
        }

        for (n = 0; n < behind; n++) {
            step(pid[0], &status[0]);
        }

        for (n = 0; n < 30000
             && step(pid[0], &status[0]) + step(pid[1], &status[1]); n++)
        {
            if (atomic_load(&journal[0].done[0])
                && atomic_load(&journal[1].done[0]))
            {
                break;
            }
        }

        for (i = 0; i < 2; i++) {
            if (WIFSTOPPED(status[i])) {
                kill(pid[i], SIGKILL);
                waitpid(pid[i], &status[i], 0);
            }
        }

        runs++;
        stuck += n == 30000 || atomic_load(&journal[0].done[0]) == 1000000
                 || atomic_load(&journal[1].done[0]) == 1000000;
        wrong += atomic_load(&journal[0].done[0])
                 != atomic_load(&journal[1].done[0]);
        wrong += prd_table_check(&v.table, &clients, &claims) || clients != 1
                 || claims;
    }

    is_int(stuck, 0, "%d times two insert one key in lockstep: none is stuck",
           runs);
    is_int(wrong, 0, "both have the same slot, and nothing else is left");

    end();
}


int
main(void)
{
    operation_e  op;

    kills();

    for (op = 0; op < OPERATIONS; op++) {
        steps(op);
    }

    lockstep();

    return done_testing();
}
