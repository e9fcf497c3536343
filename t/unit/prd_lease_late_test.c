
/*
 * A store that is late: connected, and it does all that it is asked for, but not
 * within `wait`.  Four nodes, simulated by the millisecond, with sync=strict and
 * with leases; what they admit is held against one ideal bucket, and against the
 * bound that they state.
 */


#include "prd_lease_inner.h"

#include "lab.h"
#include "lease_store.h"


#define NODES      4
#define WAIT       2                     /* ms that a request is parked */
#define TICK       100
#define DUES       4096
#define QUESTIONS  65536


typedef struct {
    prd_view_t  view;
    prd_due_t   due[DUES];
    uint32_t    n;
} node_t;

/* A question, in the order in which the store will do them. */

typedef struct {
    prd_lease_request_t  req;
    prd_ask_t            ask;
    prd_answer_t         answer;
    prd_due_t            due;            /* of a tick */
    uint32_t             node;
    uint32_t             at;
    unsigned             tick:1;
    unsigned             waiting:1;
    unsigned             gone:1;
} question_t;


static prd_policy_t      policy;
static prd_lease_mode_e  mode;
static node_t            node[NODES];
static lease_value_t     value;
static question_t        question[QUESTIONS];
static uint32_t          first, last;    /* those that are under way */
static uint32_t          now, began;

/* the meters: buckets with and without an end */

static double    all, all_ms, above, ideal, ideal_ms;
static unsigned  offered, admitted, wanted;


static void  look(uint32_t i, prd_due_t *due);


static void
drain(double *level, double *ms, double rate)
{
    *level = fmax(*level - rate * (now - *ms) / 1000, 0);
    *ms = now;
}


static void
note(const prd_answer_t *answer)
{
    if (answer->taken) {
        drain(&all, &all_ms, policy.params.rate / 1e9);
        all++;
        above = fmax(above, all - policy.params.burst - 1);
        admitted++;
    }
}


static void
dues(uint32_t i, const prd_ask_t *ask, prd_answer_t *answer)
{
    prd_due_t  due;

    if (answer->due) {
        prd_lease_due(&node[i].view, &policy, ask, answer, PRD_LEASE_CLIENT,
                      &due);
        look(i, &due);
    }
}


/* At its time, or at the next tick after it. */

static void
look(uint32_t i, prd_due_t *due)
{
    prd_rc_t      rc;
    node_t       *no;
    question_t   *q;

    no = &node[i];
    rc = PRD_EAGAIN;

    if ((int32_t) (due->at_ms - now) <= 0) {
        q = &question[last % QUESTIONS];

        rc = prd_lease_tick(&no->view, due, now, 0, &q->req);

        if (rc == PRD_OK) {
            q->due = *due;
            q->node = i;
            q->at = now;
            q->tick = 1;
            q->waiting = 0;
            q->gone = 0;
            last++;
        }
    }

    if (rc == PRD_EAGAIN) {
        no->due[no->n++] = *due;
    }
}


static void
answered(question_t *q)
{
    prd_rc_t           rc;
    prd_due_t          due;
    node_t            *no;
    prd_lease_reply_t  reply;

    no = &node[q->node];
    lease_store(&value, NODES, &q->req, now, &reply);

    if (q->tick) {
        due = q->due;
        rc = prd_lease_answered(&no->view, &due, &q->req, &reply, now);

        if (rc == PRD_EAGAIN) {
            look(q->node, &due);
        }

        return;
    }

    if (q->waiting) {
        q->waiting = 0;
        (void) prd_lease_apply(&no->view, &policy, &q->ask, &q->answer,
                               PRD_LEASE_CLIENT, &q->req, &reply, now);

        if (q->answer.verdict != PRD_REJECTED) {
            (void) prd_lease_charge(&no->view, &policy, &q->ask, &q->answer);
        }

        dues(q->node, &q->ask, &q->answer);
        note(&q->answer);
        return;
    }

    if (prd_lease_late(&no->view, &q->req, &reply, q->answer.taken, now, &due)
        == PRD_OK)
    {
        look(q->node, &due);
    }
}


static void
give_up(question_t *q, unsigned sent)
{
    node_t  *no;

    no = &node[q->node];
    q->waiting = 0;

    prd_lease_timeout(&no->view, &policy, &q->ask, &q->answer,
                      PRD_LEASE_CLIENT, &q->req, sent, PRD_LEASE_LOCAL, now);

    if (q->answer.verdict != PRD_REJECTED) {
        (void) prd_lease_charge(&no->view, &policy, &q->ask, &q->answer);
    }

    dues(q->node, &q->ask, &q->answer);
    note(&q->answer);
}


/* A node's connection breaks: of what was under way some has been done. */

static void
lost(uint32_t i)
{
    uint32_t            k;
    prd_rc_t            rc;
    prd_due_t           due;
    question_t         *q;
    prd_lease_reply_t   reply;

    for (k = first; k != last; k++) {
        q = &question[k % QUESTIONS];

        if (q->node != i || q->gone) {
            continue;
        }

        q->gone = 1;

        if (lab_below(2)) {
            lease_store(&value, NODES, &q->req, now, &reply);
        }

        if (q->tick) {
            due = q->due;
            rc = prd_lease_lost(&node[i].view, &due, &q->req, PRD_LEASE_LOST,
                                now);
            if (rc == PRD_EAGAIN) {
                look(i, &due);
            }

        } else if (q->waiting) {
            give_up(q, PRD_LEASE_LOST);

        } else {
            if (prd_lease_drop(&node[i].view, &q->req, PRD_LEASE_LOST, now,
                               &due)
                == PRD_OK)
            {
                look(i, &due);
            }
        }
    }
}


static void
request(uint32_t i)
{
    node_t      *no;
    question_t  *q;

    no = &node[i];
    q = &question[last % QUESTIONS];

    drain(&ideal, &ideal_ms, policy.params.rate / 1e9);
    offered++;

    if (ideal <= policy.params.burst) {
        ideal++;
        wanted++;
    }

    q->ask = lab_ask(&policy, 1, now);
    q->node = i;
    q->at = now;
    q->tick = 0;

    if (prd_lease_decide(&no->view, &policy, &q->ask, &q->answer,
                         mode)
        != PRD_EAGAIN)
    {
        dues(i, &q->ask, &q->answer);
        note(&q->answer);
        return;
    }

    q->waiting = 1;
    q->gone = 0;
    last++;
    prd_lease_ask(&no->view, &policy, &q->ask, &q->answer, PRD_LEASE_CLIENT,
                  &q->req);
}


/* Of one client, of all nodes: tokens. */

static double
bound(void)
{
    uint32_t  i;
    uint64_t  most;

    for (i = most = 0; i < NODES; i++) {
        most = prd_max(most, prd_lease_bound(&node[i].view,
                                             mode == PRD_LEASE_STRICT));
    }

    return (double) most * NODES / 1000;
}


static void
start(void)
{
    uint32_t  i;

    for (i = 0; i < NODES; i++) {
        free(node[i].view.zone);
        memset(&node[i], 0, sizeof(node_t));
        node[i].view = lab_zone(&policy, 100, LAB_S, LAB_MS);
        atomic_store(&node[i].view.zone->nodes, NODES);
    }

    memset(&value, 0, sizeof(value));
    first = last = 0;
    now = began = LAB_MS;
    all = ideal = 0;
    all_ms = ideal_ms = now;
    above = -1e9;
    offered = admitted = wanted = 0;
}


/*
 * `seconds` of a client with `rps`, one second of each four if bursty, on any
 * of n nodes, and then some without it.  The store does nothing for `frozen`
 * of each `turn` ms, and nothing sooner than `delay` ms after it was asked; a
 * connection breaks every `breaks` ms or so.
 */

static void
run(unsigned seconds, double rps, unsigned bursty, uint32_t n,
    uint32_t frozen, uint32_t turn, uint32_t delay, uint32_t breaks)
{
    uint32_t     i, k, due;
    double       next;
    node_t      *no;
    prd_due_t    look_at[DUES];
    question_t  *q;

    start();
    next = now;

    while (now - began < (seconds + 5) * 1000) {

        while (first != last) {
            q = &question[first % QUESTIONS];

            if ((now - began) % turn < frozen || now - q->at < delay) {
                break;
            }

            first++;

            if (!q->gone) {
                answered(q);
            }
        }

        if (breaks && lab_below(breaks) == 0) {
            lost((uint32_t) lab_below(NODES));
        }

        for (k = first; k != last; k++) {
            q = &question[k % QUESTIONS];

            if (q->waiting && now - q->at >= WAIT) {
                give_up(q, PRD_LEASE_LATE);
            }
        }

        while (next < now + 1 && now - began < seconds * 1000) {
            next -= log(lab_uniform()) * 1000 / rps;

            if (!bursty || (now - began) % 4000 < 1000) {
                request((uint32_t) lab_below(n));
            }
        }

        for (i = 0; i < NODES; i++) {
            no = &node[i];

            if ((now + i * TICK / NODES) % TICK == 0) {
                due = no->n;
                memcpy(look_at, no->due, due * sizeof(prd_due_t));
                no->n = 0;

                for (k = 0; k < due; k++) {
                    look(i, &look_at[k]);
                }
            }
        }

        now++;
    }
}


static void
check(const char *name, unsigned used)
{
    uint32_t          i;
    uint64_t          held, owed;
    unsigned          wrong;
    prd_lease_sums_t  sums;

    ok(above <= bound() + 0.01, "%s: at most %.1f above, %.1f is the bound",
       name, above, bound());

    if (mode == PRD_LEASE_STRICT) {
        ok(bound() <= (policy.params.burst + 1) * 1.3 + NODES,
           "%s: which is burst + 1, about", name);
    }

    ok(100.0 * admitted >= used * (double) wanted,
       "%s: %.1f %% used, at least %u", name, 100.0 * admitted / wanted,
       used);

    for (i = wrong = 0, held = owed = 0; i < NODES; i++) {
        wrong += prd_lease_check(&node[i].view, &sums) != PRD_OK;
        held += sums.held;
        owed += sums.owed;
    }

    ok(wrong == 0 && held == 0 && owed == 0,
       "%s: the books agree, nothing is held or owed", name);
}


/* One question after the other: what they carry, what the estimate says. */

static void
reports(void)
{
    uint32_t             slot;
    prd_ask_t            ask;
    prd_due_t            due;
    prd_view_t          *v;
    prd_lease_t         *l;
    prd_answer_t         answer;
    prd_lease_reply_t    reply;
    prd_lease_request_t  one, two;

    start();
    v = &node[0].view;
    ask = lab_ask(&policy, 1, now);

    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_PASS);
    slot = answer.slot;
    l = &v->leases[slot];
    is_int(prd_lease_bound(v, 1), 1000, "admitted without the store: 1");

    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT);
    prd_lease_ask(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &one);
    is_int(one.debt, 1000, "a question reports it");
    prd_lease_timeout(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &one,
                      PRD_LEASE_LATE, PRD_LEASE_REFUSE, now);

    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT);
    prd_lease_ask(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &two);
    is_int(two.debt, 0, "and no other, though its answer is late");

    lease_store(&value, NODES, &two, now, &reply);
    (void) prd_lease_apply(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &two,
                           &reply, now);
    (void) prd_lease_charge(v, &policy, &ask, &answer);
    ok(lab_level(v, slot) >= 1000 + NODES * 1000
       && lab_level(v, slot) <= 1000 + NODES * 1064,
       "the estimate: what is not charged yet, for each node");

    /* lost: it may have been charged, and is owed again */

    (void) prd_lease_drop(v, &one, PRD_LEASE_LOST, now, &due);
    is_int(prd_word_level(atomic_load(&l->debt)), 1000, "owed again");

    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT);
    prd_lease_ask(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &one);
    is_int(one.debt, 1000, "and reported");
    prd_lease_timeout(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &one,
                      PRD_LEASE_LATE, PRD_LEASE_REFUSE, now);
    lease_store(&value, NODES, &one, now, &reply);

    /* a token for one that did not wait */

    is_int(prd_lease_late(v, &one, &reply, 0, now, &due), PRD_OK,
           "a late token");
    is_int(due.at_ms, now + 1, "goes back, but not at once");
    is_int(prd_word_level(atomic_load(&l->held)), 1000, "it is held");
    is_int(lab_level(v, slot), 2000, "the estimate: all is charged");

    is_int(prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT),
           PRD_OK, "the next one is not asked for");
    is_int(answer.taken, 1, "and passes");
    is_int(answer.reason, PRD_REASON_QUOTA, "as any other");
    is_int(prd_word_level(atomic_load(&l->held)), 0, "with that token");
    is_int(lab_level(v, slot), 3000, "which the estimate has then");
    is_int(prd_lease_tick(v, &due, now + 1, 0, &one), PRD_EAGAIN,
           "nothing is left to go back");

    /* an answer to an earlier question, from another worker's connection */

    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT);
    prd_lease_ask(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &one);
    memset(&reply, 0, sizeof(reply));
    reply.level = 9000;
    one.asked_ms = now + 5;
    (void) prd_lease_apply(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &one,
                           &reply, now + 5);
    two.debt = 0;
    two.asked_ms = now;
    reply.level = 2000;
    (void) prd_lease_late(v, &two, &reply, 1, now + 6, &due);
    ok(lab_level(v, slot) > 8000, "tells nothing of now: %u",
       lab_level(v, slot));
}


/* Debt that is being reported, to 64 units, and what becomes of it. */

static int
about(prd_lease_t *l, uint32_t at_ms, uint32_t units)
{
    uint32_t  n;

    n = prd_lease_flying(l, at_ms);

    return n >= units && n <= units + units / 16;
}


static void
under_way(void)
{
    uint32_t      i, ms;
    unsigned      wrong;
    prd_lease_t   l;

    memset(&l, 0, sizeof(l));
    ms = 1000 << 12;

    prd_lease_fly(&l, 5000, 1, ms);
    prd_lease_fly(&l, 1000, 1, ms - 1);
    ok(about(&l, ms, 6000) && about(&l, ms - 1, 6000),
       "a worker's clock may be behind another's, in an earlier span");
    prd_lease_fly(&l, 5000, -1, ms);
    ok(about(&l, ms, 1000), "each is taken off");
    prd_lease_fly(&l, 1000, -1, ms - 1);
    is_int(prd_lease_flying(&l, ms), 0, "where it was counted");

    prd_lease_fly(&l, 4000000000, 1, ms);
    ok(about(&l, ms, 4000000000), "the debt of a very deep bucket");
    prd_lease_fly(&l, 4000000000, -1, ms);
    is_int(prd_lease_flying(&l, ms), 0, "is taken off, too");

    /* what was on its way in a worker that died; others go on */

    prd_lease_fly(&l, 7000, 1, ms);

    for (i = wrong = 0; i < 600; i++) {
        prd_lease_fly(&l, 1000, 1, ms + i * 100);
        wrong += i < 40 && !about(&l, ms + i * 100, 8000);
        wrong += i > 82 && !about(&l, ms + i * 100, 1000);
        prd_lease_fly(&l, 1000, -1, ms + i * 100);
    }

    is_int(wrong, 0, "is void after a while, whatever follows it");
    prd_lease_fly(&l, 7000, -1, ms);
    is_int(prd_lease_flying(&l, ms + 60000), 0, "and not taken off then");

    prd_lease_fly(&l, 3000, 1, ms + 61440);
    prd_lease_fly(&l, 1000, 1, ms + 61440 - 8192);
    ok(about(&l, ms + 61440, 3000),
       "a worker that slept does not do away with what is under way");

    prd_lease_fly(&l, 3000, 1, 0u - 1);
    ok(about(&l, 1, 3000), "the clock comes round");

    for (i = wrong = 0; i < 100000; i++) {
        ms = (uint32_t) lab_random() >> lab_below(32);
        prd_lease_granted(&l, ms);
        wrong += prd_lease_grant_of(&l) > ms
                 || prd_lease_grant_of(&l) < ms - ms / 1024;
    }

    is_int(wrong, 0, "the last grant, to 1/1024");

    prd_lease_queue(&l, 50000);
    ok(prd_lease_queued(&l, 50000, 1000) && prd_lease_queued(&l, 51000, 1000)
       && prd_lease_queued(&l, 49990, 1000),
       "queued for a second");
    ok(!prd_lease_queued(&l, 51010, 1000)
       && prd_lease_queued(&l, 51010, 60000)
       && !prd_lease_queued(&l, 110100, 60000), "or for a minute");
    prd_lease_queue(&l, 0);
    ok(!prd_lease_queued(&l, 0, 60000), "or not");
}


/* A worker ends, another's question is lost: no debt is left behind. */

static void
left(void)
{
    uint32_t             slot;
    prd_ask_t            ask;
    prd_due_t            due, own;
    prd_view_t          *v;
    prd_lease_t         *l;
    prd_answer_t         answer;
    prd_lease_request_t  req, late;

    start();
    v = &node[0].view;
    ask = lab_ask(&policy, 1, now);

    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_PASS);
    slot = answer.slot;
    l = &v->leases[slot];
    prd_lease_due(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &due);

    is_int(prd_lease_tick(v, &due, now, 1, &req), PRD_OK, "a worker ends");
    is_int(req.debt, 1000, "it reports what is owed");
    is_int(prd_lease_flying(l, now), 0, "and will not hear the answer");

    now += 4000;
    ask.now_ms = now;
    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_PASS);
    prd_lease_due(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &own);
    (void) prd_lease_decide(v, &policy, &ask, &answer, mode);
    prd_lease_ask(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &late);
    is_int(late.debt, 1000, "a question carries debt");
    prd_lease_timeout(v, &policy, &ask, &answer, PRD_LEASE_CLIENT, &late,
                      PRD_LEASE_LATE, PRD_LEASE_REFUSE, now);
    is_int(prd_word_level(atomic_load(&l->debt)), 0, "which is not owed "
           "while it may be answered");
    ok(about(l, now, 1000), "but under way");

    /* the item has nothing to tell, and ends */

    now += 2100;
    is_int(prd_lease_tick(v, &own, now, 0, &req), PRD_DECLINED,
           "another has nothing to do");

    is_int(prd_lease_drop(v, &late, PRD_LEASE_LOST, now, &due), PRD_OK,
           "lost: somebody must look");
    is_int(prd_word_level(atomic_load(&l->debt)), 1000, "it is owed again");
    is_int(prd_lease_flying(l, now), 0, "and not under way");
    is_int(prd_lease_drop(v, &late, PRD_LEASE_LOST, now, &own), PRD_DECLINED,
           "one is enough");
    is_int(prd_lease_tick(v, &due, now, 0, &req), PRD_OK, "he does");
    ok(req.debt >= 1000, "and reports it");
}


static void
scenes(const char *sync)
{
    unsigned  i;
    char      name[80];

    static const struct {
        const char  *name;
        uint32_t     frozen, turn, delay, breaks;
        unsigned     used;
        double       above;              /* a few, seldom */
    } how[] = {
        { "in time", 0, 1, 0, 0, 99, 0.1 },
        { "30 of 60 ms late", 30, 60, 0, 0, 97, 6 },
        { "120 of 220 ms late", 120, 220, 0, 0, 95, 6 },
        { "10 of 500 ms late", 10, 500, 0, 0, 97, 6 },
        { "always 5 ms late", 0, 1, 5, 0, 97, 6 },
        { "always 30 ms late", 0, 1, 30, 0, 97, 11 },
        { "40 of 80 ms late, connections break", 40, 80, 0, 150, 84, 6 },
    };

    for (i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
        lab_state = i + 1;
        snprintf(name, sizeof(name), "%s, %s, steady", sync, how[i].name);
        run(30, 160, 0, NODES, how[i].frozen, how[i].turn, how[i].delay,
            how[i].breaks);
        check(name, how[i].used);
        ok(above <= how[i].above, "%s: %.1f above", name, above);

        snprintf(name, sizeof(name), "%s, %s, bursty", sync, how[i].name);
        run(60, 900, 1, NODES, how[i].frozen, how[i].turn, how[i].delay,
            how[i].breaks);
        check(name, how[i].used);
        ok(above <= how[i].above, "%s: %.1f above", name, above);

        snprintf(name, sizeof(name), "%s, %s, modest", sync, how[i].name);
        run(30, 12, 0, 1, how[i].frozen, how[i].turn, how[i].delay,
            how[i].breaks);
        check(name, 99);
        is_int(admitted, wanted, "%s: nobody is refused", name);
    }
}


int
main(void)
{
    lab_policy(&policy, "rate=20r/s burst=20 store=s sync=strict");
    policy.leased = 1;
    mode = PRD_LEASE_STRICT;

    under_way();
    reports();
    scenes("strict");

    lab_policy(&policy, "rate=20r/s burst=20 store=s");
    policy.leased = 1;
    mode = PRD_LEASE_LEASE;

    left();
    scenes("lease");

    return done_testing();
}
