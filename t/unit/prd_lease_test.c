
/*
 * Leases: several nodes, each a zone of its own, on one store in memory.
 * What all of them admit, what it costs in questions, and that the books
 * agree whatever gets lost.
 */


#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "prd_lease_inner.h"

#include "lab.h"
#include "lease_store.h"


#define NODES  4
#define KEYS   64
#define DUES   4096


typedef struct {
    prd_view_t  view;
    prd_due_t   due[DUES];
    uint32_t    n;                       /* of due */
} node_t;

/* A question whose answer is late. */

typedef struct {
    prd_lease_request_t  req;
    prd_lease_reply_t    reply;
    uint32_t             node;
    unsigned             admitted;
    unsigned             used;
} late_t;


static prd_policy_t   policy;
static node_t         node[NODES];
static uint32_t       nodes;
static lease_value_t  value[KEYS];
static double         store_ms;          /* the store's clock */
static uint32_t       now;               /* the nodes' */
static unsigned       asked, again, ticked;
static unsigned       raised;             /* others asked in between */
static late_t         late[64];


static void
start(const char *words, uint32_t n, uint32_t ms)
{
    uint32_t  i;

    lab_policy(&policy, words);
    policy.leased = 1;

    for (i = 0; i < nodes; i++) {
        free(node[i].view.zone);
    }

    nodes = n;
    now = ms;
    store_ms = 1e12;
    asked = again = ticked = 0;
    memset(value, 0, sizeof(value));
    memset(late, 0, sizeof(late));

    for (i = 0; i < n; i++) {
        memset(&node[i], 0, sizeof(node_t));
        node[i].view = lab_zone(&policy, 200, LAB_S, ms);
        atomic_store(&node[i].view.zone->nodes, n);
    }
}


static lease_value_t *
stored(uint64_t tag)
{
    return &value[(tag - 1) % KEYS];
}


static void
enqueue(node_t *no, prd_ask_t *ask, prd_answer_t *answer)
{
    unsigned  key;

    for (key = 1; key <= 2; key <<= 1) {
        if (answer->due & key) {
            prd_lease_due(&no->view, &policy, ask, answer, key,
                          &no->due[no->n]);
            no->n += no->n < DUES - 1;
        }
    }
}


/* lost: percent of questions without an answer in time */

static prd_rc_t
request_of(uint32_t i, prd_ask_t *ask, prd_answer_t *answer,
    prd_lease_mode_e mode, uint32_t lost)
{
    node_t               *no;
    unsigned              key, sent, why;
    prd_rc_t              rc;
    lease_value_t         was;
    prd_lease_reply_t     reply;
    prd_lease_request_t   req;

    no = &node[i];
    rc = prd_lease_decide(&no->view, &policy, ask, answer, mode);
    enqueue(no, ask, answer);

    if (rc != PRD_EAGAIN) {
        return rc;
    }

    asked++;

    for (key = 1; key <= 2; key <<= 1) {

        if (!(answer->ask & key)) {
            continue;
        }

        prd_lease_ask(&no->view, &policy, ask, answer, key, &req);

        if (lab_below(100) < lost) {

            /* never sent, executed without a word, or answered too late */

            sent = lab_below(3);
            why = sent ? PRD_LEASE_LOST : PRD_LEASE_UNSENT;

            if (sent) {
                was = *stored(req.tag);
                lease_store(stored(req.tag), nodes, &req, store_ms, &reply);

                if (sent == 2) {
                    late_t  *l = &late[lab_below(64)];

                    if (!l->used) {
                        l->req = req;
                        l->reply = reply;
                        l->node = i;
                        l->used = 1;
                        l->admitted = 2;         /* below */
                        why = PRD_LEASE_LATE;
                    }

                } else if (lab_below(2)) {
                    *stored(req.tag) = was;
                }
            }

            prd_lease_timeout(&no->view, &policy, ask, answer, key, &req, why,
                              PRD_LEASE_LOCAL, now);
            continue;
        }

        lease_store(stored(req.tag), nodes, &req, store_ms, &reply);

        if (prd_lease_apply(&no->view, &policy, ask, answer, key, &req,
                            &reply, now)
            == PRD_EAGAIN)
        {
            again++;

            if (raised) {
                stored(req.tag)->level = 60000;
            }

            prd_lease_ask(&no->view, &policy, ask, answer, key, &req);
            lease_store(stored(req.tag), nodes, &req, store_ms, &reply);
            (void) prd_lease_apply(&no->view, &policy, ask, answer, key, &req,
                                   &reply, now);
        }
    }

    if (answer->verdict != PRD_REJECTED) {
        (void) prd_lease_charge(&no->view, &policy, ask, answer);
    }

    enqueue(no, ask, answer);

    for (key = 0; key < 64; key++) {
        if (late[key].admitted == 2) {
            late[key].admitted = answer->taken;
        }
    }

    return PRD_OK;
}


static unsigned
request(uint32_t i, uint64_t key, prd_lease_mode_e mode)
{
    prd_ask_t     ask;
    prd_answer_t  answer;

    ask = lab_ask(&policy, key, now);
    (void) request_of(i, &ask, &answer, mode, 0);

    return answer.verdict != PRD_REJECTED;
}


static void
tick(uint32_t i, unsigned leaving, uint32_t lost)
{
    node_t               *no;
    uint32_t              k, m, n;
    prd_rc_t              rc;
    prd_due_t             due;
    prd_lease_reply_t     reply;
    prd_lease_request_t   req;

    no = &node[i];
    n = no->n;

    for (k = m = 0; k < n; k++) {
        due = no->due[k];

        if (!leaving && (int32_t) (due.at_ms - now) > 0) {
            no->due[m++] = due;
            continue;
        }

        rc = prd_lease_tick(&no->view, &due, now, leaving, &req);

        if (rc == PRD_OK) {
            ticked++;

            if (lab_below(100) < lost) {
                rc = prd_lease_lost(&no->view, &due, &req, lab_below(2), now);

            } else {
                lease_store(stored(req.tag), nodes, &req, store_ms, &reply);
                rc = prd_lease_answered(&no->view, &due, &req, &reply, now);
            }
        }

        if (rc == PRD_EAGAIN) {
            no->due[m++] = due;
        }
    }

    no->n = m;
}


static void
pass(uint32_t ms)
{
    now += ms;
    store_ms += ms;
}


static uint64_t
held(uint64_t *most)
{
    uint32_t          i;
    uint64_t          sum;
    prd_lease_sums_t  s;

    for (i = 0, sum = 0; i < nodes; i++) {
        (void) prd_lease_check(&node[i].view, &s);
        sum += s.held;

        if (most) {
            *most += s.bound;
        }
    }

    return sum;
}


static int
books(void)
{
    uint32_t          i, wrong;
    prd_lease_sums_t  s;

    for (i = wrong = 0; i < nodes; i++) {
        if (prd_lease_check(&node[i].view, &s) != PRD_OK) {
            printf("# node %u: debited %llu + debt %llu + refunded %llu != "
                   "admitted %llu + returned %llu + forfeited %llu + held "
                   "%llu\n", i, (long long) s.debited, (long long) s.debt,
                   (long long) s.refunded, (long long) s.admitted,
                   (long long) s.returned, (long long) s.forfeited,
                   (long long) s.held);
            wrong++;
        }
    }

    return wrong == 0;
}


static void
strict(void)
{
    uint32_t  i, admitted;

    start("rate=10r/s burst=20", 4, LAB_MS);

    for (i = admitted = 0; i < 4000; i++) {
        admitted += request(i % nodes, 1, PRD_LEASE_STRICT);
        pass(i % 4 == 0 ? 10 : 0);
    }

    /* 10 s: 21 at once and 10 a second; the last token is not quite there */

    ok(admitted >= 120 && admitted <= 121, "strict: %u of 4,000, 4 nodes",
       admitted);
    is_int(asked, 4000, "each was asked for");
    is_int(held(NULL), 0, "nothing is held");
    ok(books(), "books agree");
}


/* A key that comes steadily is served from what is in hand. */

static void
ordinary(void)
{
    uint32_t  i, admitted;

    start("rate=100r/s burst=100", 2, LAB_MS);

    for (i = admitted = 0; i < 6000; i++) {
        admitted += request(i % 2, 1, PRD_LEASE_LEASE);
        pass(20);

        if (i % 5 == 4) {
            tick(0, 0, 0);
            tick(1, 0, 0);
        }
    }

    is_int(admitted, 6000, "50 a second of 100: none refused");
    ok(asked < 60, "%u of 6,000 asked for", asked);
    ok(ticked < 600, "%u renewals and reports", ticked);
    ok(books(), "books agree");

    pass(12000);
    tick(0, 0, 0);
    tick(1, 0, 0);
    pass(12000);
    tick(0, 0, 0);
    tick(1, 0, 0);

    is_int(held(NULL), 0, "what is not used goes back");
    ok(value[0].admitted > 5.99e6 && value[0].admitted <= 6e6,
       "the store has counted them: %.0f", value[0].admitted);
    is_int(node[0].n + node[1].n, 0, "nobody looks any more");
    ok(books(), "books agree");
}


/* What a key of ten requests a second holds at most, in seconds of it. */

static double
lent(const char *words, unsigned *asks)
{
    uint32_t  i;
    uint64_t  most;

    start(words, 1, LAB_MS);

    for (i = 0; i < 600; i++) {
        (void) request(0, 1, PRD_LEASE_LEASE);
        tick(0, 0, 0);
        pass(100);
    }

    most = 0;
    (void) held(&most);
    *asks = asked + ticked;
    ok(books(), "%s: books agree", words);

    return (double) most / PRD_MILLI / 10;
}


static void
plenty(void)
{
    double    much, little;
    unsigned  seldom, often;

    much = lent("rate=100r/s burst=1000", &seldom);
    little = lent("rate=100r/s burst=40", &often);

    ok(much > 3 && much < 4.5, "a bucket with plenty lends for %.1f s", much);
    ok(little > 1 && little < 2.5, "a small one for %.1f s", little);
    ok(seldom < often, "and is asked less often: %u times, %u", seldom, often);
}


/* Random nodes, keys, costs, losses: the bound and the books. */

static void
bound(const char *words, uint32_t ms, uint32_t lost, unsigned seed)
{
    uint32_t      i, k, t, begin, over, most_over, rate, burst, faults;
    uint64_t      admitted[8], most, extra;
    prd_ask_t     ask;
    prd_answer_t  answer;

    static struct {
        uint32_t  ms, cost;
    } log[8][200000];
    static uint32_t  logs[8];

    lab_state = seed;
    start(words, 3, ms);
    memset(admitted, 0, sizeof(admitted));
    memset(logs, 0, sizeof(logs));

    begin = now;
    faults = 0;

    for (i = 0; i < 60000; i++) {
        k = lab_below(8);
        ask = lab_ask(&policy, k + 1, now);
        ask.cost = (uint32_t) (lab_below(4) + 1) * 500;

        (void) request_of(lab_below(nodes), &ask, &answer,
                          lab_below(50) ? PRD_LEASE_LEASE : PRD_LEASE_STRICT,
                          lost);

        if (answer.verdict != PRD_REJECTED) {
            faults += !answer.taken;
            log[k][logs[k]].ms = now - begin;
            log[k][logs[k]++].cost = ask.cost;
        }

        if (lab_below(20) == 0) {
            tick(lab_below(nodes), 0, lost);
        }

        for (t = 0; lost && t < 64; t++) {
            if (late[t].used && lab_below(20) == 0) {
                late[t].used = 0;

                if (prd_lease_late(&node[late[t].node].view, &late[t].req,
                                   &late[t].reply, late[t].admitted, now,
                                   &node[late[t].node]
                                    .due[node[late[t].node].n])
                    == PRD_OK)
                {
                    node[late[t].node].n++;
                }
            }
        }

        /* a key in 8 for a while, then all, then nothing */

        pass(lab_below(3));

        if (lab_below(3000) == 0) {
            pass(lab_below(5000));
        }
    }

    most = 0;
    (void) held(&most);

    rate = (uint32_t) (policy.params.rate / 1000000);
    burst = (policy.params.burst + 1) * 1000;

    /* any window that begins and ends with a request, some of them */

    most_over = 0;

    for (k = 0; k < 8; k++) {
        for (i = 0; i < logs[k]; i += 37) {
            for (t = i, extra = 0; t < logs[k]; t++) {
                extra += log[k][t].cost;
                admitted[k] = burst + (uint64_t) rate
                              * (log[k][t].ms - log[k][i].ms) / 1000;

                if (extra > admitted[k]) {
                    over = (uint32_t) (extra - admitted[k]);
                    most_over = prd_max(most_over, over);
                }
            }
        }
    }

    is_int(faults, 0, "%s: admitted is charged", words);
    ok(lost || most_over <= most,
       "%s: %u above burst + rate x window, at most %u in hand%s", words,
       most_over, (unsigned) most, lost ? ", some replies lost" : "");
    ok(books(), "books agree");
}


/* A refusal that is fresh needs no question; one that is old does. */

static void
refused(void)
{
    uint32_t  i, n;

    start("rate=1r/s burst=4", 2, LAB_MS);

    for (i = n = 0; i < 1000; i++) {
        n += request(0, 1, PRD_LEASE_LEASE);
        pass(1);
    }

    is_int(n, 5, "burst + 1, and no more within the second");
    ok(asked <= 8, "%u questions for 995 refusals", asked);
    ok(books(), "books agree");

    i = asked;
    pass(20000);
    (void) request(1, 1, PRD_LEASE_LEASE);
    ok(asked > i, "another node asks first");

    /* what this node thinks is older than a second: it asks */

    for (i = 0; i < 6; i++) {
        (void) request(0, 1, PRD_LEASE_LEASE);
    }

    value[0].level = 0;
    ok(!request(0, 1, PRD_LEASE_LEASE), "refused without a question");
    pass(1100);
    n = asked;
    ok(request(0, 1, PRD_LEASE_LEASE), "a second later it asks again");
    is_int(asked, n + 1, "once");

    /* demand that was refused is reported */

    for (i = 0; i < 30; i++) {
        pass(100);
        tick(0, 0, 0);
        tick(1, 0, 0);
    }

    ok(value[0].peak >= 5000, "the backlog's peak is known to the store");
}


/* The store is away: each node has its share. */

static void
alone(void)
{
    uint32_t      i, k, n;
    prd_ask_t     ask;
    prd_answer_t  answer;

    start("rate=30r/s burst=29", 3, LAB_MS);

    for (i = n = 0; i < 30000; i++) {
        n += request(i % 3, 1, PRD_LEASE_LOCAL);
        pass(i % 3 == 0);
    }

    /* 10 s x 30/s + 30, less what is cut off */

    ok(n >= 320 && n <= 333, "local: %u of 330 by three nodes", n);
    is_int(asked, 0, "nothing was asked");
    ok(books(), "books agree");

    for (k = 0; k < 3; k++) {
        ok(prd_lease_load(&node[k].view.leases[
               prd_table_find(&node[k].view.table, 1)].debt) & 0xffffffff,
           "node %u owes", k);
    }

    /* one node alone gets a third */

    for (i = n = 0; i < 30000; i++) {
        n += request(0, 2, PRD_LEASE_LOCAL);
        pass(i % 3 == 0);
    }

    ok(n >= 107 && n <= 111, "one of three: %u of 110", n);

    /* burst 0: one request at least, then at the share of the rate */

    start("rate=30r/s", 3, LAB_MS);

    for (i = n = 0; i < 10000; i++) {
        n += request(0, 1, PRD_LEASE_LOCAL);
        pass(1);
    }

    ok(n >= 99 && n <= 102, "no burst, one of three: %u of 101", n);

    /* and back: what was admitted is charged */

    for (i = 0; i < 3; i++) {
        pass(100);
        tick(0, 0, 0);
    }

    ok(value[0].level > 0, "the store hears of it: %.0f", value[0].level);
    ok(value[0].admitted == n * 1000, "all of it is counted");

    ask = lab_ask(&policy, 9, now);
    (void) prd_lease_decide(&node[0].view, &policy, &ask, &answer,
                            PRD_LEASE_REFUSE);
    ok(answer.verdict == PRD_REJECTED && answer.reason == PRD_REASON_STORE,
       "on_error reject");

    for (i = n = 0; i < 100; i++) {
        (void) prd_lease_decide(&node[0].view, &policy, &ask, &answer,
                                PRD_LEASE_PASS);
        n += answer.verdict == PRD_PASSED && answer.taken
             && answer.reason == PRD_REASON_STORE;
    }

    is_int(n, 100, "on_error pass: all");
    ok(books(), "books agree");
}


/* Debt of a node is reported, and clamped. */

static void
debt(void)
{
    uint32_t  i, n;

    start("rate=1r/s burst=9", 2, LAB_MS);

    for (i = 0; i < 50; i++) {
        (void) request(0, 1, PRD_LEASE_PASS);
    }

    is_int(prd_word_level(prd_lease_load(&node[0].view.leases[
               prd_table_find(&node[0].view.table, 1)].debt)), 50000,
           "50 passed are 50 owed");

    tick(0, 0, 0);
    is_int(value[0].level, 20000, "clamped to two depths in the store");
    is_int(value[0].admitted, 50000, "but counted");

    n = request(1, 1, PRD_LEASE_LEASE);
    is_int(n, 0, "the other node is told");

    pass(10900);
    is_int(request(1, 1, PRD_LEASE_LEASE), 0, "still");
    pass(200);
    is_int(request(1, 1, PRD_LEASE_LEASE), 1,
           "one depth later it has a token");
    ok(books(), "books agree");

    /* while nothing can be reported, debt is forgotten as a bucket does */

    start("rate=10r/s burst=99", 2, LAB_MS);

    for (i = 0; i < 20; i++) {
        (void) request(0, 1, PRD_LEASE_PASS);
    }

    pass(2000);
    (void) request(0, 1, PRD_LEASE_PASS);
    is_int(prd_word_level(prd_lease_load(&node[0].view.leases[
               prd_table_find(&node[0].view.table, 1)].debt)), 11000,
           "two seconds at half of the rate");
}


/* With room in the pool nothing waits for the store. */

static void
pooled(void)
{
    uint32_t      i, k, n;
    prd_ask_t     ask;
    prd_answer_t  answer;

    start("rate=1r/s capacity=10000r/s", 2, LAB_MS);

    for (i = n = 0; i < 100; i++) {
        ask = lab_ask(&policy, 1, now);
        (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
        n += answer.verdict == PRD_BORROWED;
        pass(1);
    }

    ok(n > 90, "%u borrowed", n);
    is_int(asked, 0, "and none asked for");

    tick(0, 0, 0);
    ok(value[0].admitted > 90000, "the store hears of them");
    ok(value[0].level <= 2000, "clamped: %.0f", value[0].level);

    /* with a bound on what is borrowed nodes do not lend it once each */

    for (k = 0; k < 2; k++) {
        start("rate=1r/m burst=20 capacity=10000r/s borrow=2",
              k ? NODES : 2, LAB_MS);

        for (i = n = 0; i < 200; i++) {
            n += request(k ? i % nodes : i / 100, 1, PRD_LEASE_LEASE);
        }

        /* the store decides for 42; the others' parts may be unreported */

        ok(n >= 42 && n <= 42 + 21 * (nodes - 1) / nodes,
           "borrow=2, %u nodes: %u are admitted", nodes, n);
        ok(books(), "books agree");
    }

    /* and while it fits for all of them they ask nobody */

    start("rate=1000r/s burst=999 capacity=10000r/s borrow=2", 2, LAB_MS);

    for (i = 0; i < 4000; i++) {
        (void) request(i % 2, 1, PRD_LEASE_LEASE);
        pass(i % 2);

        if (i % 200 == 199) {
            tick(0, 0, 0);
            tick(1, 0, 0);
        }
    }

    ok(asked < 40, "%u of 4,000 are asked for", asked);

    /* short: what matters is asked for again */

    start("rate=1r/s capacity=10000r/s", 2, LAB_MS);

    atomic_store(&node[0].view.zone->pool, prd_word(now, 0));
    (void) request(0, 2, PRD_LEASE_LEASE);
    is_int(asked, 1, "an empty pool: asked");

    /* the pool refuses: all that was paid goes back */

    start("rate=10r/s burst=50 capacity=1r/s", 2, LAB_MS);

    for (i = n = 0; i < 40; i++) {
        ask = lab_ask(&policy, 1, now);
        ask.cost = 500;
        (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
        n += answer.verdict == PRD_REJECTED;
        tick(0, 0, 0);
    }

    ok(n > 10, "a pool that is at its end: %u refused", n);
    ok(books(), "books agree");
}


/* Replies after the time-out: nothing is charged twice, nothing is free. */

static void
lates(void)
{
    unsigned             admitted, dropped, refuse;
    prd_ask_t            ask;
    prd_due_t            due;
    prd_rc_t             rc;
    prd_view_t          *v;
    prd_lease_t         *l;
    prd_answer_t         answer;
    prd_lease_reply_t    reply;
    prd_lease_request_t  req;

    for (refuse = 0; refuse < 2; refuse++) {
        for (admitted = 0; admitted < 2; admitted++) {
            for (dropped = 0; dropped < 2; dropped++) {

                if (admitted && !dropped) {
                    continue;
                }

                start("rate=1r/s burst=9", 2, LAB_MS);
                v = &node[0].view;
                ask = lab_ask(&policy, 1, now);

                /* 2 owed from before */

                (void) prd_lease_decide(v, &policy, &ask, &answer,
                                        PRD_LEASE_PASS);
                (void) prd_lease_decide(v, &policy, &ask, &answer,
                                        PRD_LEASE_PASS);

                rc = prd_lease_decide(v, &policy, &ask, &answer,
                                      PRD_LEASE_STRICT);
                is_int(rc, PRD_EAGAIN, "asked for");
                prd_lease_ask(v, &policy, &ask, &answer, 1, &req);
                is_int(req.debt, 2000, "with what is owed");

                if (refuse) {
                    value[0].level = 10000;
                    value[0].time_ms = store_ms;
                }

                lease_store(&value[0], 2, &req, store_ms, &reply);

                if (dropped) {
                    prd_lease_timeout(v, &policy, &ask, &answer, 1, &req,
                                      PRD_LEASE_LATE,
                                      admitted ? PRD_LEASE_PASS
                                               : PRD_LEASE_REFUSE, now);
                    is_int(answer.verdict != PRD_REJECTED, admitted,
                           "decided without");

                    if (admitted) {
                        (void) prd_lease_charge(v, &policy, &ask, &answer);
                    }
                }

                rc = prd_lease_late(v, &req, &reply, admitted, now, &due);

                l = &v->leases[req.slot];

                is_int(prd_word_level(atomic_load(&l->debt)),
                       admitted && refuse ? 1000 : 0,
                       "owed: only what the store refused (%u%u%u)", refuse,
                       admitted, dropped);
                is_int(prd_word_level(atomic_load(&l->held)),
                       !admitted && !refuse ? 1000 : 0,
                       "held: what was debited and not used");
                is_int(rc, !admitted && !refuse ? PRD_OK : PRD_DECLINED,
                       "somebody looks after that");
                is_int((uint32_t) (value[0].admitted
                                   - (uint32_t) atomic_load(&l->refused)
                                   + (double) (atomic_load(&l->work) >> 32)),
                       2000 + 1000 * admitted, "nor is it counted twice");
                ok(books(), "books agree");
            }
        }
    }
}


/* Two limits, one refuses; then a true cost that differs from the hold. */

static void
undone(void)
{
    uint32_t             i;
    prd_ask_t            ask;
    prd_view_t          *v;
    prd_lease_t         *l;
    prd_answer_t         answer;
    prd_lease_reply_t    reply;
    prd_lease_request_t  req;

    start("rate=10r/s burst=50", 2, LAB_MS);
    v = &node[0].view;
    ask = lab_ask(&policy, 1, now);

    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    prd_lease_refund(v, &policy, &ask, &answer);
    l = &v->leases[answer.slot];
    is_int(prd_word_level(atomic_load(&l->held)), 1000,
           "a refunded token is held");
    is_int(lab_level(v, answer.slot), 0, "and off the estimate");
    ok(answer.due || node[0].n, "somebody looks after it");
    enqueue(&node[0], &ask, &answer);
    ok(books(), "books agree");

    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    is_int(asked, 1, "and spent by the next one");
    is_int(answer.verdict, PRD_PASSED, "which passes");

    /* it cost 4: 3 more are owed */

    prd_lease_settle(v, &policy, &ask, &answer, 4000);
    is_int(prd_word_level(atomic_load(&l->debt)), 3000, "a higher cost: owed");
    is_int(lab_level(v, answer.slot), 4000, "and on the estimate");
    enqueue(&node[0], &ask, &answer);
    tick(0, 0, 0);
    is_int(value[0].level - prd_word_level(atomic_load(&l->held)), 4000,
           "and in the store");

    /* the next one costs nothing after all */

    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    prd_lease_settle(v, &policy, &ask, &answer, 0);
    ok(prd_word_level(atomic_load(&l->held)) >= 1000, "a lower cost: held");
    ok(books(), "books agree");

    prd_lease_refund(v, &policy, &ask, &answer);
    ok(books(), "a refund of nothing changes nothing");

    /* what the store has counted when it was asked, and was not spent */

    ask = lab_ask(&policy, 3, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_STRICT, 0);
    prd_lease_settle(v, &policy, &ask, &answer, 400);
    enqueue(&node[0], &ask, &answer);

    for (i = 0; i < 30; i++) {
        pass(100);
        tick(0, 0, 0);
    }

    is_int(value[2].admitted - value[2].denied, 400,
           "a lower cost of a request that was asked for: no habit");

    /* judged alone, then charged; judged, asked, refused by another limit */

    pass(30000);
    ask = lab_ask(&policy, 2, now);
    is_int(prd_lease_judge(v, &policy, &ask, &answer, PRD_LEASE_LEASE),
           PRD_EAGAIN, "judge asks");
    prd_lease_ask(v, &policy, &ask, &answer, 1, &req);
    lease_store(stored(2), 2, &req, store_ms, &reply);
    prd_lease_apply(v, &policy, &ask, &answer, 1, &req, &reply, now);
    is_int(answer.ask, 0, "nothing more to ask");
    is_int(answer.verdict, PRD_PASSED, "passed");
    is_int(answer.taken, 0, "not charged yet");
    prd_lease_refund(v, &policy, &ask, &answer);
    is_int(prd_word_level(atomic_load(&v->leases[answer.slot].held)), 1000,
           "what was asked for is held");
    ok(books(), "books agree");

    is_int(prd_lease_judge(v, &policy, &ask, &answer, PRD_LEASE_LEASE),
           PRD_OK, "judge has a token");
    is_int(prd_word_level(atomic_load(&v->leases[answer.slot].held)), 1000,
           "and does not take it");
    is_int(prd_lease_charge(v, &policy, &ask, &answer), PRD_OK, "charge");
    is_int(prd_word_level(atomic_load(&v->leases[answer.slot].held)), 0,
           "does");
    ok(books(), "books agree");
}


static void
ticks(uint32_t ms)
{
    uint32_t  i, k;

    for (i = 0; i < ms; i += 100) {
        pass(100);

        for (k = 0; k < nodes; k++) {
            tick(k, 0, 0);
        }
    }
}


/* The store as the home leaves it after a look; what the home is told. */

static double
home(lease_value_t *v, double *peak)
{
    double  rest, count;

    rest = fmax(v->denied - v->admitted, 0);
    count = fmax(v->admitted - v->denied, 0);
    *peak = v->peak;

    if (v->denied > 0) {
        *peak = count > 0 ? fmax(v->peak - v->denied, fmin(v->peak, count))
                          : 0;
    }

    v->admitted = v->peak = 0;
    v->denied = rest;

    return count;
}


/*
 * Guesses at passwords, some under way at once, teach nothing, and leave
 * nothing to whoever comes next: here, or at another node, or in between.
 */

static void
guesses(prd_lease_mode_e mode, unsigned ahead, unsigned between, unsigned late_)
{
    double               count, peak, left, next;
    uint32_t             i, k, slot;
    prd_ask_t            ask[64];
    prd_due_t            due;
    prd_answer_t         answer[64];
    prd_lease_reply_t    reply;
    prd_lease_request_t  req;

    start("rate=10r/s burst=500", 2, LAB_MS);
    policy.params.sync = mode == PRD_LEASE_STRICT ? PRD_SYNC_STRICT
                                                  : PRD_SYNC_LEASE;

    /* known, of a rate by which nothing drains meanwhile */

    for (k = 0; k < nodes; k++) {
        ask[0] = lab_ask(&policy, 1, now);
        (void) request_of(k, &ask[0], &answer[0], mode, 0);
        enqueue(&node[k], &ask[0], &answer[0]);
        slot = answer[0].slot;
        lab_learn(&node[k].view, slot, 0.01, 400, 30);
    }

    ticks(10000);
    (void) home(&value[0], &peak);

    for (i = 0; i < 60 + ahead; i++) {

        if (i < 60) {
            k = i % 64;
            ask[k] = lab_ask(&policy, 1, now);

            if (late_ && prd_lease_decide(&node[0].view, &policy, &ask[k],
                                          &answer[k], mode)
                         == PRD_EAGAIN)
            {
                prd_lease_ask(&node[0].view, &policy, &ask[k], &answer[k], 1,
                              &req);
                lease_store(stored(1), nodes, &req, store_ms, &reply);
                prd_lease_timeout(&node[0].view, &policy, &ask[k], &answer[k],
                                  1, &req, PRD_LEASE_LATE, PRD_LEASE_LOCAL,
                                  now);
                (void) prd_lease_charge(&node[0].view, &policy, &ask[k],
                                        &answer[k]);
                pass(3);

                if (prd_lease_late(&node[0].view, &req, &reply,
                                   answer[k].taken, now, &due)
                    == PRD_OK)
                {
                    node[0].due[node[0].n++] = due;
                }

            } else if (!late_) {
                (void) request_of(0, &ask[k], &answer[k], mode, 0);
            }

            enqueue(&node[0], &ask[k], &answer[k]);
        }

        if (i >= ahead) {
            k = (i - ahead) % 64;
            prd_lease_deny(&node[0].view, &policy, &ask[k], &answer[k]);
            prd_lease_deny(&node[0].view, &policy, &ask[k], &answer[k]);
            enqueue(&node[0], &ask[k], &answer[k]);
        }

        if (between && i == 50) {
            (void) request(1, 1, mode);
        }

        pass(1);
    }

    ticks(5000);
    left = value[0].backlog;
    count = home(&value[0], &peak);

    ok(fabs(count - between * 1000) < 0.5 && peak <= between * 3100 + 0.5,
       "%s, %u under way, %u between, %u late: %.1f counted, peak %.1f",
       mode == PRD_LEASE_STRICT ? "strict" : "lease", ahead, between, late_,
       count / 1000, peak / 1000);

    /* then one that is let in: at either node */

    for (k = 0; k < nodes; k++) {
        (void) request(k, 1, mode);
        ticks(5000);
        next = home(&value[0], &peak);

        ok(fabs(next - 1000) < 0.5 && peak <= (3 + between + k) * 1000,
           "... the next one at %u: %.1f, peak %.1f; left %.1f", k,
           next / 1000, peak / 1000, left / 1000);
    }
}


/*
 * What is asked for and not admitted stays demand, once: refused by another
 * limit before or after it was asked for, or by the pool.
 */

static void
elsewhere(prd_lease_mode_e mode)
{
    double        count, peak;
    uint32_t      i, slot;
    prd_ask_t     ask;
    prd_answer_t  answer;

    start("rate=10r/s burst=500", 1, LAB_MS);

    ask = lab_ask(&policy, 1, now);
    (void) request_of(0, &ask, &answer, mode, 0);
    slot = answer.slot;
    lab_learn(&node[0].view, slot, 0.01, 400, 30);
    ticks(10000);
    (void) home(&value[0], &peak);

    for (i = 0; i < 40; i++) {
        ask = lab_ask(&policy, 1, now);

        if (i % 2) {
            (void) prd_lease_judge(&node[0].view, &policy, &ask, &answer,
                                   mode);

        } else {
            (void) request_of(0, &ask, &answer, mode, 0);
        }

        prd_lease_refund(&node[0].view, &policy, &ask, &answer);
        prd_lease_refund(&node[0].view, &policy, &ask, &answer);
        enqueue(&node[0], &ask, &answer);
        pass(mode == PRD_LEASE_LEASE && i % 4 == 0 ? 2500 : 1);
        tick(0, 0, 0);
    }

    ticks(5000);
    ok(fabs(value[0].backlog - 41000) < 1500,
       "40 refused by another limit, mode %u: a backlog of %.1f", mode,
       value[0].backlog / 1000);
    (void) request(0, 1, mode);
    ticks(5000);
    count = home(&value[0], &peak);
    ok(fabs(count - 1000) < 0.5 && fabs(peak - 42000) < 1500,
       "and one that passes: %.1f counted, peak %.1f", count / 1000,
       peak / 1000);
    ok(books(), "books agree");
}


static void
shortage(void)
{
    double    count, peak;
    uint32_t  i, n;

    start("rate=10r/s burst=500 capacity=1r/s", 1, LAB_MS);

    for (i = n = 0; i < 40; i++) {
        n += request(0, 1, PRD_LEASE_STRICT);
        ticks(100);
    }

    ticks(5000);
    count = home(&value[0], &peak);
    ok(n < 30 && fabs(count - n * 1000) < 0.5 && peak >= 5000,
       "a shortage: %u of 40 admitted, %.1f counted, peak %.1f", n,
       count / 1000, peak / 1000);
    ok(books(), "books agree");
}


/* Holds of 100 for what costs 1 or 199, settled before and after a report. */

static void
prices(uint32_t wait)
{
    double        count, peak;
    uint32_t      i;
    prd_ask_t     ask;
    prd_view_t   *v;
    prd_answer_t  answer;

    start("rate=1000r/s burst=5000 charge=$cost", 1, LAB_MS);
    v = &node[0].view;
    atomic_store(&v->zone->hold, 100000);

    for (i = 0; i < 100; i++) {
        ask = lab_ask(&policy, 1, now);
        ask.charged = 1;
        (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
        ticks(wait);
        prd_lease_settle(v, &policy, &ask, &answer, i % 2 ? 199000 : 1000);
        enqueue(&node[0], &ask, &answer);
        pass(100);
        tick(0, 0, 0);
    }

    ticks(5000);
    count = home(&value[0], &peak);
    ok(fabs(count - 10000e3) < 1, "charged after %u ms: %.0f counted", wait,
       count / 1000);
    ok(books(), "books agree");
}


/*
 * The backlog of a flood ends at two depths.  What was denied meanwhile was
 * not in it; nor does a node that does not know the client cut it off.
 */

static void
flooded(prd_lease_mode_e mode)
{
    uint32_t      i, slot;
    prd_ask_t     ask[8];
    prd_answer_t  answer[8];

    start("rate=10r/s burst=500", 2, LAB_MS);

    ask[0] = lab_ask(&policy, 1, now);
    (void) request_of(0, &ask[0], &answer[0], mode, 0);
    slot = answer[0].slot;
    lab_learn(&node[0].view, slot, 0.001, 20, 30);
    atomic_store(&node[0].view.zone->warm, 1);
    atomic_store(&node[1].view.zone->warm, 1);

    for (i = 0; i < 60; i++) {
        (void) request(0, 1, mode);
        ticks(10);
    }

    for (i = 0; i < 8; i++) {
        ask[i] = lab_ask(&policy, 1, now);
        (void) request_of(0, &ask[i], &answer[i], mode, 0);
        enqueue(&node[0], &ask[i], &answer[i]);
    }

    for (i = 0; i < 8; i++) {
        prd_lease_deny(&node[0].view, &policy, &ask[i], &answer[i]);
        enqueue(&node[0], &ask[i], &answer[i]);
        ticks(500);
    }

    ticks(5000);
    ok(value[0].backlog > 39000 && value[0].backlog <= 40000.5,
       "a flood, mode %u, and 8 denied: its backlog is %.1f", mode,
       value[0].backlog / 1000);

    /* the other one knows newcomers, of a depth of 2 or so */

    (void) request(1, 1, mode);
    ticks(5000);
    ok(value[0].backlog > 39000, "a node that does not know the client: %.1f",
       value[0].backlog / 1000);
    (void) request(0, 1, mode);
    ok(prd_word_level(atomic_load(&node[0].view.table.entries[slot].virtual_))
       > 39000, "so who does is not deceived");
}


/* The overflow bucket of a full table is nobody's: the store never hears. */

static void
strangers(void)
{
    uint32_t      i, n, due;
    prd_ask_t     ask;
    prd_view_t   *v;
    prd_answer_t  answer;

    start("rate=1r/s burst=5", 1, LAB_MS);
    v = &node[0].view;

    for (i = 0; i < prd_zone_slots(v); i++) {
        atomic_store(&v->table.tags[i], i + 1);
        lab_learn(v, i, 0.01, 5, 60);
    }

    for (i = n = due = 0; i < 300; i++) {
        ask = lab_ask(&policy, 0x5555000000ull + i * 0x9e3779b97f4a7c15ull,
                      now);
        (void) prd_lease_judge(v, &policy, &ask, &answer, PRD_LEASE_LEASE);
        due += !answer.full;

        if (i % 2 == 0 && answer.verdict != PRD_REJECTED
            && prd_lease_charge(v, &policy, &ask, &answer) == PRD_OK)
        {
            n++;

        } else {
            prd_lease_refund(v, &policy, &ask, &answer);
        }

        due += answer.due;
        enqueue(&node[0], &ask, &answer);
        pass(10);
        tick(0, 0, 0);
    }

    ok(due == 0 && node[0].n == 0, "a full table: nothing is told of strangers");
    ok(n >= 7 && n <= 9, "who share their bucket: %u of 150 in 3 s", n);
}


/* Judged, and while another limit's store was asked the slot was given away. */

static void
given_away(void)
{
    prd_ask_t     ask;
    prd_view_t   *v;
    prd_answer_t  answer;

    start("rate=10r/s burst=50", 1, LAB_MS);
    v = &node[0].view;
    ask = lab_ask(&policy, 1, now);
    (void) prd_lease_judge(v, &policy, &ask, &answer, PRD_LEASE_LEASE);
    atomic_store(&v->table.tags[answer.slot], 99);
    prd_lease_refund(v, &policy, &ask, &answer);
    ok(atomic_load(&v->leases[answer.slot].refused) == 0
       && atomic_load(&v->leases[answer.slot].work) == 0,
       "what a slot's former client wanted is not its next one's demand");
}


/* A question that carries what was denied is lost: it is told once more. */

static void
guess_lost(void)
{
    double               count, peak;
    prd_ask_t            ask;
    prd_answer_t         answer;
    prd_lease_request_t  req;

    start("rate=10r/s burst=50", 1, LAB_MS);
    ask = lab_ask(&policy, 1, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_STRICT, 0);
    prd_lease_deny(&node[0].view, &policy, &ask, &answer);
    enqueue(&node[0], &ask, &answer);
    pass(10);
    ask = lab_ask(&policy, 1, now);
    (void) prd_lease_decide(&node[0].view, &policy, &ask, &answer,
                            PRD_LEASE_STRICT);
    prd_lease_ask(&node[0].view, &policy, &ask, &answer, 1, &req);
    is_int(req.denied, 1000, "a question carries what was denied");
    ticks(3000);
    prd_lease_timeout(&node[0].view, &policy, &ask, &answer, 1, &req,
                      PRD_LEASE_LOST, PRD_LEASE_REFUSE, now);
    enqueue(&node[0], &ask, &answer);
    ticks(5000);
    count = home(&value[0], &peak);
    is_int((uint32_t) count, 0, "and is lost: it is told all the same");
}


/* An entry that is lost with what it says: nothing is taken from others. */

static void
guesses_lost(unsigned executed)
{
    double               count, peak;
    uint32_t             i, n;
    prd_ask_t            ask;
    prd_due_t            due;
    prd_view_t          *v;
    prd_answer_t         answer;
    prd_lease_reply_t    reply;
    prd_lease_request_t  req;

    start("rate=100r/s burst=500", 1, LAB_MS);
    v = &node[0].view;

    for (i = 0; i < 60; i++) {
        (void) request(0, 1, PRD_LEASE_LEASE);
        ticks(100);
    }

    ticks(5000);
    (void) home(&value[0], &peak);
    ask = lab_ask(&policy, 1, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    enqueue(&node[0], &ask, &answer);

    for (i = 0; i < 4; i++) {
        ask = lab_ask(&policy, 1, now);
        (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
        prd_lease_deny(v, &policy, &ask, &answer);
        enqueue(&node[0], &ask, &answer);
    }

    memset(&req, 0, sizeof(req));

    for (i = 0; i < 40 && req.denied == 0; i++) {
        pass(100);

        for (n = 0; n < node[0].n; n++) {
            due = node[0].due[n];

            if ((int32_t) (due.at_ms - now) > 0
                || prd_lease_tick(v, &due, now, 0, &req) != PRD_OK)
            {
                continue;
            }

            if (executed) {
                lease_store(stored(1), 1, &req, store_ms, &reply);
            }

            (void) prd_lease_lost(v, &due, &req, PRD_LEASE_LOST, now);
            node[0].due[n] = due;
            break;
        }
    }

    ok(req.denied > 0 && req.admitted > 0, "lost: %u, %u of it denied",
       req.admitted, req.denied);

    ticks(5000);
    (void) home(&value[0], &peak);

    for (i = 0; i < 10; i++) {
        (void) request(0, 1, PRD_LEASE_LEASE);
        ticks(100);
    }

    ticks(5000);
    count = home(&value[0], &peak);
    ok(count >= 9000 && count <= 10000, "then ten more: %.1f counted%s",
       count / 1000, executed ? ", it was executed" : "");

    /* of who comes back later, nothing is taken */

    value[0].denied = 5000;
    pass(61000);

    for (i = 0; i < 3; i++) {
        (void) request(0, 1, PRD_LEASE_LEASE);
        ticks(1000);
    }

    ticks(5000);
    is_int((uint32_t) home(&value[0], &peak), 3000, "after a minute, all");
}


/* What is charged is told of by those that are let in. */

static void
guesses_priced(void)
{
    uint32_t      i;
    prd_ask_t     ask;
    prd_view_t   *v;
    prd_entry_t  *e;
    prd_answer_t  answer;

    start("rate=100r/s burst=500 charge=$cost", 1, LAB_MS);
    v = &node[0].view;

    for (i = 0; i < 30; i++) {
        ask = lab_ask(&policy, 1, now);
        ask.charged = i % 2 == 0;
        (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
        e = &v->table.entries[answer.slot];

        if (i) {
            prd_lease_deny(v, &policy, &ask, &answer);

            if (ask.charged) {
                prd_lease_settle(v, &policy, &ask, &answer, 250 * i);
            }

        } else {
            prd_lease_settle(v, &policy, &ask, &answer, 9000);
        }

        enqueue(&node[0], &ask, &answer);
        ticks(100);
    }

    ticks(5000);
    is_int(atomic_load(&e->counts) >> 32, 1, "one request tells what it cost");
    is_int(atomic_load(&e->spare), 9000, "and that is all");
    is_int((uint32_t) (value[0].admitted - value[0].denied), 9000,
           "as much is counted");
    ok(books(), "books agree");

    start("rate=100r/s burst=500 charge=$cost learn=off", 1, LAB_MS);
    v = &node[0].view;
    ask = lab_ask(&policy, 1, now);
    ask.charged = 1;
    (void) request_of(0, &ask, &answer, PRD_LEASE_STRICT, 0);
    prd_lease_settle(v, &policy, &ask, &answer, 500);
    is_int(atomic_load(&v->table.entries[answer.slot].denied), 0,
           "learn=off: nothing is told of it");
    ok(books(), "books agree");
}


/* sync=strict: what was debited in vain goes back at once, or not at all. */

static void
exact(void)
{
    uint32_t             i;
    prd_ask_t            ask;
    prd_due_t            due;
    prd_view_t          *v;
    prd_lease_t         *l;
    prd_answer_t         answer;
    prd_lease_sums_t     sums;
    prd_lease_reply_t    reply;
    prd_lease_request_t  req;

    start("rate=10r/s burst=50", 2, LAB_MS);
    policy.params.sync = PRD_SYNC_STRICT;
    v = &node[0].view;
    ask = lab_ask(&policy, 1, now);

    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT);
    prd_lease_ask(v, &policy, &ask, &answer, 1, &req);
    lease_store(stored(1), 2, &req, store_ms, &reply);
    prd_lease_timeout(v, &policy, &ask, &answer, 1, &req, PRD_LEASE_LATE,
                      PRD_LEASE_REFUSE, now);
    pass(99);
    is_int(prd_lease_late(v, &req, &reply, 0, now, &due), PRD_OK,
           "debited, and refused meanwhile: to be looked at");
    is_int(due.strict, 1, "at once");
    l = &v->leases[answer.slot];
    is_int(prd_word_level(atomic_load(&l->held)), 1000, "a token");
    is_int(prd_lease_tick(v, &due, now, 0, &req), PRD_OK, "is sent");
    is_int(req.returned, 1000, "back");
    ok(books(), "books agree");

    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT);
    prd_lease_ask(v, &policy, &ask, &answer, 1, &req);
    lease_store(stored(1), 2, &req, store_ms, &reply);
    prd_lease_timeout(v, &policy, &ask, &answer, 1, &req, PRD_LEASE_LATE,
                      PRD_LEASE_REFUSE, now);
    pass(100);
    is_int(prd_lease_late(v, &req, &reply, 0, now, &due), PRD_DECLINED,
           "so late that it may have drained: nothing to be looked at");
    is_int(prd_word_level(atomic_load(&l->held)), 0, "nothing is held");
    (void) prd_lease_check(v, &sums);
    is_int(sums.forfeited, 1000, "it is void");
    ok(books(), "books agree");

    /* another limit refuses: back as soon, or void */

    ask = lab_ask(&policy, 2, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_STRICT, 0);
    prd_lease_refund(v, &policy, &ask, &answer);
    l = &v->leases[answer.slot];
    is_int(prd_word_level(atomic_load(&l->held)), 1000, "refunded");
    is_int(answer.due, PRD_LEASE_CLIENT, "to be looked at");
    prd_lease_due(v, &policy, &ask, &answer, 1, &due);
    is_int(prd_lease_tick(v, &due, now, 0, &req), PRD_OK, "at once");
    is_int(req.returned, 1000, "and goes back");
    ok(books(), "books agree");

    ask = lab_ask(&policy, 3, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_STRICT, 0);
    prd_lease_refund(v, &policy, &ask, &answer);
    prd_lease_due(v, &policy, &ask, &answer, 1, &due);
    pass(100);
    is_int(prd_lease_tick(v, &due, now, 0, &req), PRD_EAGAIN, "too late");
    (void) prd_lease_check(v, &sums);
    is_int(sums.forfeited, 2000, "void");
    ok(books(), "books agree");

    /* a store that has a newer version each time is asked twice */

    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT);

    for (i = 0; i < 2; i++) {
        prd_lease_ask(v, &policy, &ask, &answer, 1, &req);

        memset(&reply, 0, sizeof(reply));
        reply.status = PRD_LEASE_REFUSED;
        reply.version = (uint16_t) (req.version + 1);
        reply.envelope = prd_env(0, 20, prd_env_encode(20 * PRD_RATE_ONE),
                                 prd_env_encode(60000));

        is_int(prd_lease_apply(v, &policy, &ask, &answer, 1, &req, &reply,
                               now),
               i ? PRD_OK : PRD_EAGAIN, "asked again: once");
        is_int(answer.ask, i ? 0 : PRD_LEASE_CLIENT, "the key's bit");
    }

    is_int(answer.verdict, PRD_REJECTED, "then it is refused");
    ok(books(), "books agree");
    policy.params.sync = PRD_SYNC_LEASE;
}


/* newcomer=: both keys are asked for, both pay, one refuses for both. */

static void
parents(void)
{
    uint32_t      i, n, most;
    prd_ask_t     ask;
    prd_answer_t  answer;

    start("rate=1r/s burst=9", 2, LAB_MS);
    most = 0;

    for (i = n = 0; i < 40; i++) {
        ask = lab_ask(&policy, 1 + i % 30, now);
        ask.parent = 60;
        (void) request_of(i % 2, &ask, &answer, PRD_LEASE_STRICT, 0);
        n += answer.verdict != PRD_REJECTED;

        if (answer.verdict == PRD_REJECTED) {
            most += answer.reason == PRD_REASON_NEWCOMER;
        }
    }

    is_int(n, 10, "30 clients of one newcomer key: burst + 1 together");
    is_int(most, 30, "and its reason");
    ok(books(), "books agree");

    start("rate=1r/s burst=9", 2, LAB_MS);

    for (i = n = 0; i < 400; i++) {
        ask = lab_ask(&policy, 1 + i % 30, now);
        ask.parent = 60;
        (void) request_of(i % 2, &ask, &answer, PRD_LEASE_LEASE, 0);
        n += answer.verdict != PRD_REJECTED;

        if (i % 10 == 0) {
            tick(0, 0, 0);
            tick(1, 0, 0);
        }
    }

    ok(n >= 9 && n <= 10, "leased: %u", n);
    ok(asked < 150, "%u questions", asked);
    ok(books(), "books agree");
}


/* A slot that another client got: no token of the former one's. */

static void
reused(void)
{
    uint32_t             slot;
    prd_ask_t            ask;
    prd_view_t          *v;
    prd_due_t            due;
    prd_answer_t         answer;
    prd_lease_reply_t    reply;
    prd_lease_request_t  req;

    start("rate=10r/s burst=50", 1, LAB_MS);
    v = &node[0].view;

    ask = lab_ask(&policy, 1, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    slot = answer.slot;

    /* a question is under way meanwhile */

    is_int(prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT),
           PRD_EAGAIN, "asked for");
    prd_lease_ask(v, &policy, &ask, &answer, 1, &req);
    prd_lease_hold(v, &v->leases[slot], 7000, now);
    prd_lease_count(v, PRD_CNT_LEASE_DEBITED, 7000);
    req.flags |= PRD_LEASE_F_WANT;
    req.want = 5000;
    lease_store(&value[0], 1, &req, store_ms, &reply);
    is_int(reply.grant, 5000, "and granted");

    atomic_store(&v->table.tags[slot], 0);
    prd_lease_due(v, &policy, &ask, &answer, 1, &due);
    is_int(prd_lease_tick(v, &due, now, 0, &req), PRD_DECLINED,
           "a slot that is free needs no look");

    ask = lab_ask(&policy, 1, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_STRICT, 0);
    is_int(answer.slot, slot, "the slot's next client");
    is_int(prd_word_level(atomic_load(&v->leases[slot].held)), 0,
           "holds nothing");
    ok(books(), "books agree");

    prd_lease_apply(v, &policy, &ask, &answer, 1, &req, &reply, now);
    is_int(prd_word_level(atomic_load(&v->leases[slot].held)), 0,
           "nor from a late grant");
    ok(books(), "books agree");
    prd_lease_refund(v, &policy, &ask, &answer);

    is_int(prd_lease_late(v, &req, &reply, 0, now, &due), PRD_DECLINED,
           "nor from a later one");
    (void) prd_lease_drop(v, &req, 0, now, &due);
    is_int(prd_word_level(atomic_load(&v->leases[slot].debt)), 0,
           "nor does it owe");

    /* a generation that comes round */

    atomic_store(&v->table.entries[slot].envelope, prd_env(0xffff, 0, 0, 0));
    (void) prd_lease_open(v, slot);
    is_int(atomic_load(&v->leases[slot].generation), 0xffff, "generation");
    atomic_store(&v->table.entries[slot].envelope, prd_env(0, 0, 0, 0));
    prd_lease_hold(v, &v->leases[slot], 3000, now);
    prd_lease_count(v, PRD_CNT_LEASE_DEBITED, 3000);
    (void) prd_lease_open(v, slot);
    is_int(prd_word_level(atomic_load(&v->leases[slot].held)), 0,
           "wraps to 0");
    ok(books(), "books agree");
}


/* What others have learned comes along, and counts at once. */

static void
envelopes(void)
{
    uint32_t      i, n, slot;
    uint64_t      env;
    prd_ask_t     ask;
    prd_answer_t  answer;

    start("rate=1r/s burst=4 max=100r/s", 2, LAB_MS);
    atomic_store(&node[0].view.zone->warm, 1);

    value[0].version = 3;
    value[0].envelope = prd_env(0, 20, prd_env_encode(20 * PRD_RATE_ONE),
                                prd_env_encode(60000));
    value[0].level = 30000;
    value[0].time_ms = store_ms;

    ask = lab_ask(&policy, 1, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    slot = answer.slot;

    is_int(again, 1, "asked again, with the envelope that came along");
    is_int(value[0].backlog, 1000, "wanted once");
    is_int(value[0].admitted, 1000, "admitted once");
    is_int(answer.verdict, PRD_PASSED, "known elsewhere: passes at once");
    is_int(answer.reason, PRD_REASON_FORECAST, "by the forecast");
    is_int(answer.terms.depth, 60000, "with that depth");
    env = atomic_load(&node[0].view.table.entries[slot].envelope);
    is_int(prd_env_trust(env), 20, "the envelope is in force");
    is_int(atomic_load(&node[0].view.leases[slot].version), 3, "its version");
    ok(books(), "books agree");

    is_int(value[0].level - (double) held(NULL), 31000,
           "and charged, before anybody else is let through");

    /* with the new envelope refused, too: wanted once, refused once */

    value[2].version = 3;
    value[2].envelope = prd_env(0, 20, prd_env_encode(20 * PRD_RATE_ONE),
                                prd_env_encode(60000));
    value[2].level = 30000;
    value[2].time_ms = store_ms;
    raised = 2;
    again = 0;
    ask = lab_ask(&policy, 3, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    raised = 0;
    is_int(again, 1, "another is asked for again");
    is_int(answer.verdict, PRD_REJECTED, "others were faster");
    is_int(value[2].backlog, 1000, "wanted once");

    for (i = n = 0; i < 100; i++) {
        n += request(0, 1, PRD_LEASE_STRICT);
    }

    is_int(n + held(NULL) / 1000, 29, "up to the depth");

    /* bounds of our own hold: max is 100 r/s, 5 s of it the depth */

    value[1].version = 1;
    value[1].envelope = prd_env(0, 63, prd_env_encode(PRD_RATE_MAX),
                                prd_env_encode(UINT32_MAX));
    ask = lab_ask(&policy, 2, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    is_int(answer.terms.rate, 100 * PRD_RATE_ONE, "a rate beyond max");
    is_int(answer.terms.depth, 500000, "a depth beyond 5 s of it");

    prd_lease_version(&node[0].view, slot, 9);
    is_int(atomic_load(&node[0].view.leases[slot].version), 9,
           "the home has published one itself");
}


static void
hostile(void)
{
    size_t               len;
    uint32_t             i, n, bad, good;
    prd_ask_t            ask;
    prd_view_t          *v;
    prd_answer_t         answer;
    unsigned char        buf[256];
    prd_lease_reply_t    reply;
    prd_lease_reader_t   r;
    prd_lease_request_t  req, back;

    start("rate=10r/s burst=50", 2, LAB_MS);
    v = &node[0].view;

    /* more than was wanted, and a level beyond all bounds */

    ask = lab_ask(&policy, 1, now);
    (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_LEASE);
    prd_lease_ask(v, &policy, &ask, &answer, 1, &req);
    req.flags |= PRD_LEASE_F_WANT;
    req.want = 3000;

    memset(&reply, 0, sizeof(reply));
    reply.level = UINT32_MAX;
    reply.grant = UINT32_MAX;
    reply.backlog = UINT32_MAX;
    prd_lease_apply(v, &policy, &ask, &answer, 1, &req, &reply, now);
    is_int(prd_lease_charge(v, &policy, &ask, &answer), PRD_OK,
           "admitted is admitted");
    is_int(prd_word_level(atomic_load(&v->leases[answer.slot].held)), 3000,
           "no more than was wanted");
    ok(books(), "books agree");

    for (i = 0; i < 10; i++) {
        prd_lease_hold(v, &v->leases[answer.slot], UINT32_MAX - 5, now);
        prd_lease_count(v, PRD_CNT_LEASE_DEBITED, UINT32_MAX - 5);
    }

    is_int(prd_word_level(atomic_load(&v->leases[answer.slot].held)),
           UINT32_MAX, "held saturates");
    ok(books(), "and what does not fit is void");

    for (i = 0; i < 10; i++) {
        prd_lease_owe(&v->leases[answer.slot], UINT32_MAX - 5, 0, 1000, now);
    }

    is_int(prd_word_level(atomic_load(&v->leases[answer.slot].debt)),
           UINT32_MAX, "debt saturates");

    /* a key that holds something else: decided here */

    value[4].bad = 1;
    ask = lab_ask(&policy, 5, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    is_int(answer.verdict, PRD_PASSED, "a bad key: decided without");
    ok(answer.away && answer.taken, "and owed");
    tick(0, 0, 0);
    ok(books(), "books agree");

    /* there and back */

    memset(&req, 0, sizeof(req));

    for (i = n = 0; i < 1000; i++) {
        unsigned char  *p = (unsigned char *) &req;

        for (len = 0; len < offsetof(prd_lease_request_t, drain); len++) {
            p[len] = (unsigned char) lab_random();
        }

        req.drain = lab_uniform() * 1e6;
        req.backlog_drain = lab_uniform() / 1e6;

        buf[PRD_LEASE_REQUEST] = 0x5a;
        prd_lease_pack(buf, &req);
        prd_lease_unpack(buf, &back);

        n += buf[PRD_LEASE_REQUEST] != 0x5a || back.key != req.key
             || back.flags != req.flags || back.version != req.version
             || back.cost != req.cost || back.want != req.want
             || back.returned != req.returned || back.debt != req.debt
             || back.most != req.most || back.free != req.free
             || back.debt_most != req.debt_most
             || back.quantum != req.quantum
             || back.admitted != req.admitted
             || back.refused_cost != req.refused_cost
             || back.denied != req.denied || back.peak != req.peak
             || back.backlog != req.backlog
             || back.backlog_most != req.backlog_most
             || back.drain != req.drain
             || back.backlog_drain != req.backlog_drain;
    }

    is_int(n, 0, "an entry is what was packed");

    prd_lease_key(0x0123456789abcdefull, (char *) buf);
    is_str(buf, 16, "0123456789abcdef", "a key's digits");
    prd_lease_header(buf, v, &policy);
    ok(memcmp(buf, "\1\2\2\0\0\0\0\0", 8) == 0, "a header");

    /* bytes that are no reply, and replies that are cut off */

    for (i = good = bad = 0; i < 300000; i++) {
        len = lab_below(64);

        for (n = 0; n < len; n++) {
            buf[n] = (unsigned char) (lab_below(3) ? lab_below(4)
                                                   : lab_random());
        }

        if (len && lab_below(4)) {
            buf[0] = 1;
        }

        n = 1 + lab_below(2);

        if (len > 3 && lab_below(4)) {
            buf[2] = (unsigned char) n;
            buf[3] = 0;
        }

        unsigned char  *exact = malloc(len ? len : 1);

        memcpy(exact, buf, len);

        if (prd_lease_read(&r, exact, len, n) == PRD_OK) {

            while (prd_lease_next(&r, &reply) == PRD_OK) {
                good++;
                bad += reply.status > PRD_LEASE_BAD
                       || reply.profile_len > PRD_LEASE_PROFILE
                       || (reply.profile
                           && (reply.profile < exact
                               || reply.profile + reply.profile_len
                                  > exact + len));
            }
        }

        free(exact);
    }

    is_int(bad, 0, "bytes at random: nothing that is not safe");
    ok(good > 1000, "%u of them were replies", good);

    is_int(prd_lease_read(&r, "\2\0\1\0\0\0\0\0", 8, 1), PRD_EVERSION,
           "a version to come");
    is_int(prd_lease_read(&r, "\1\0\2\0\0\0\0\0", 8, 1), PRD_ECORRUPT,
           "as many entries as were asked for");
    is_int(prd_lease_read(&r, "\1\0\1\0\0\0\0", 7, 1), PRD_ECORRUPT,
           "cut off");
}


/* Who has no slot is decided here, and nobody is asked to look. */

static void
full(void)
{
    uint32_t      i, n, due;
    prd_ask_t     ask;
    prd_answer_t  answer;

    start("rate=1r/h burst=9", 2, LAB_MS);
    due = n = 0;

    for (i = 0; i < 2000; i++) {
        ask = lab_ask(&policy, 1000 + i * 0x123456789ull, now);

        if (prd_lease_decide(&node[0].view, &policy, &ask, &answer,
                             PRD_LEASE_LEASE)
            == PRD_EAGAIN)
        {
            /* occupied, and it stays so */
            atomic_store(&node[0].view.table.entries[answer.slot].envelope,
                         prd_env(prd_env_generation(atomic_load(
                             &node[0].view.table.entries[answer.slot]
                              .envelope)), 30, 1, 1));
            continue;
        }

        n++;
        due += answer.due;
    }

    ok(n > 1000, "%u without a slot were decided", n);
    is_int(due, 0, "and left nothing to look after");
    ok(books(), "books agree");
}


/* A lease that nobody looked after is void. */

static void
voids(void)
{
    prd_due_t            due;
    prd_ask_t            ask;
    prd_view_t          *v;
    prd_lease_t         *l;
    prd_answer_t         answer;
    prd_lease_request_t  req;

    start("rate=10r/s burst=50", 1, LAB_MS);
    v = &node[0].view;
    ask = lab_ask(&policy, 1, now);
    (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
    l = &v->leases[answer.slot];
    prd_lease_hold(v, l, 5000, now);
    prd_lease_count(v, PRD_CNT_LEASE_DEBITED, 5000);

    pass(9000);
    is_int(request(0, 1, PRD_LEASE_LEASE), 1, "9 s later it is good");
    is_int(asked, 1, "without a question");
    pass(11000);
    is_int(request(0, 1, PRD_LEASE_LEASE), 1, "11 s later");
    is_int(asked, 2, "it is asked for");

    prd_lease_due(v, &policy, &ask, &answer, 1, &due);
    is_int(prd_lease_tick(v, &due, now, 0, &req), PRD_DECLINED,
           "a look finds nothing to return");
    is_int(prd_word_level(atomic_load(&l->held)), 0, "and voids it");
    ok(books(), "books agree");

    /* leaving: all goes back, at once */

    prd_lease_hold(v, l, 5000, now);
    prd_lease_count(v, PRD_CNT_LEASE_DEBITED, 5000);
    is_int(prd_lease_tick(v, &due, now, 1, &req), PRD_OK, "leaving");
    is_int(req.returned, 5000, "returns all");
    is_int(prd_lease_lost(v, &due, &req, 0, now), PRD_EAGAIN,
           "it was not sent");
    is_int(prd_word_level(atomic_load(&l->held)), 5000, "so it is held");
    ok(books(), "books agree");
    is_int(prd_lease_tick(v, &due, now, 1, &req), PRD_OK, "again");
    is_int(prd_lease_lost(v, &due, &req, 1, now), PRD_DECLINED,
           "it was sent");
    is_int(prd_word_level(atomic_load(&l->held)), 0, "so it is gone");
    ok(books(), "books agree");
}


/* Two look after a key: one of them learns that the other does. */

static void
watchers(void)
{
    uint32_t  i, k, most, wrong;

    start("rate=1000r/s burst=1000", 1, LAB_MS);
    most = wrong = 0;

    for (i = 0; i < 20000; i++) {
        (void) request(0, 1 + i % 3, PRD_LEASE_LEASE);
        pass(1);

        if (i % 100 == 0) {
            tick(0, 0, 0);
        }

        most = prd_max(most, node[0].n);
    }

    ok(most <= 12, "3 keys, at most %u looks due", most);

    /* the store is away for long: they do not pile up */

    for (i = 0; i < 30000; i++) {
        (void) request(0, 1 + i % 3, PRD_LEASE_LOCAL);
        pass(1);
        most = prd_max(most, node[0].n);
    }

    ok(most <= 12, "nor while nothing can be looked at: %u", most);

    for (i = 0; i < 30000; i++) {
        (void) request(0, 1 + i % 3, PRD_LEASE_LOCAL);
        pass(10);
        most = prd_max(most, node[0].n);

        for (k = 0; i % 1600 == 0 && k < node[0].n; k++) {
            wrong += prd_lease_wait(&node[0].view, &node[0].due[k], now)
                     != PRD_EAGAIN;
        }
    }

    ok(most <= 12 && wrong == 0, "nor in five minutes: %u", most);

    node[0].due[0].generation++;
    ok(prd_lease_wait(&node[0].view, &node[0].due[0], now) == PRD_DECLINED,
       "what is another client's is forgotten");
}


static void
grants(void)
{
    is_int(prd_lease_grant(100, 0, 1000, 1, 4), 100, "what is wanted");
    is_int(prd_lease_grant(1000, 0, 1000, 1, 4), 250, "a node's share");
    is_int(prd_lease_grant(1000, 500, 1000, 1, 4), 125, "of the room");
    is_int(prd_lease_grant(1000, 501, 1000, 1, 4), 62,
           "half of it beyond the half");
    is_int(prd_lease_grant(1000, 0, 1000, 100, 4), 200, "whole requests");
    is_int(prd_lease_grant(99, 0, 1000, 100, 4), 0, "not a part of one");
    is_int(prd_lease_grant(1000, 2000, 1000, 1, 4), 0, "no room");
    is_int(prd_lease_grant(1000, 0, 0, 0, 0), 0, "nothing of nothing");
    is_int(prd_lease_grant(UINT32_MAX, 0, UINT32_MAX, 1, 1), UINT32_MAX,
           "all");
}


/*
 * A worker may die after any instruction: the books are then wrong by at most
 * what it had in hand, and whoever comes next goes on.
 */

static void
operate(unsigned op)
{
    prd_ask_t            ask;
    prd_view_t          *v;
    prd_answer_t         answer;
    prd_lease_reply_t    reply;
    prd_lease_request_t  req;

    v = &node[0].view;
    ask = lab_ask(&policy, 1, now);

    switch (op) {

    case 0:
        (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
        break;

    case 1:
        (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT);
        prd_lease_ask(v, &policy, &ask, &answer, 1, &req);
        req.flags |= PRD_LEASE_F_WANT;
        req.want = 3000;
        lease_store(stored(1), 1, &req, store_ms, &reply);
        prd_lease_apply(v, &policy, &ask, &answer, 1, &req, &reply, now);
        (void) prd_lease_charge(v, &policy, &ask, &answer);
        break;

    case 2:
        (void) prd_lease_decide(v, &policy, &ask, &answer, PRD_LEASE_STRICT);
        prd_lease_ask(v, &policy, &ask, &answer, 1, &req);
        prd_lease_timeout(v, &policy, &ask, &answer, 1, &req, 1,
                          PRD_LEASE_LOCAL, now);
        (void) prd_lease_charge(v, &policy, &ask, &answer);
        break;

    case 3:
        (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
        prd_lease_refund(v, &policy, &ask, &answer);
        break;

    case 4:
        (void) request_of(0, &ask, &answer, PRD_LEASE_LEASE, 0);
        prd_lease_settle(v, &policy, &ask, &answer, 0);
        break;

    case 5:
        tick(0, 1, 0);
        break;

    default:
        pass(15000);
        tick(0, 0, 0);
    }
}


static void
killed(void)
{
    int                op, n, status, states, stuck;
    void              *mem, *last, *copy;
    pid_t              pid;
    size_t             size;
    long long          diff, most, before, hand;
    prd_ask_t          ask;
    prd_view_t         v, w;
    prd_answer_t       answer;
    prd_lease_sums_t   s;

    static prd_secret_t  secret = { 1, 2 };

    static const char  *names[] = {
        "spends", "asks", "times out", "refunds", "settles", "leaves",
        "voids"
    };

    start("rate=100r/s burst=500", 1, LAB_MS);
    free(node[0].view.zone);

    size = (prd_zone_size(8 * 1024) + 63) / 64 * 64;
    mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
               -1, 0);
    last = malloc(size);
    copy = aligned_alloc(64, size);

    (void) prd_zone_init(mem, size, policy.unit, &secret, &policy, LAB_S, now);
    (void) prd_zone_attach(&node[0].view, mem, size, &policy, 0, 1,
                           lab_alive);
    v = node[0].view;

    for (op = 0; op < 7; op++) {

        operate(1);

        if (op > 4) {
            ask = lab_ask(&policy, 1, now);
            ask.cost = 0;
            (void) prd_lease_decide(&v, &policy, &ask, &answer,
                                    PRD_LEASE_STRICT);
            answer.due = 1;
            enqueue(&node[0], &ask, &answer);
        }

        (void) prd_lease_check(&v, &s);
        before = (long long) (s.debited + s.debt + s.refunded)
                 - (long long) (s.admitted + s.returned + s.forfeited
                                + s.held);
        hand = prd_max((long long) s.held, 3000);

        fflush(stdout);
        pid = fork();

        if (pid == 0) {
            if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
                _exit(77);
            }

            raise(SIGSTOP);
            operate((unsigned) op);
            _exit(0);
        }

        waitpid(pid, &status, 0);

        if (!WIFSTOPPED(status)) {
            ok(1, "%s # skip no ptrace() here", names[op]);
            continue;
        }

        memcpy(last, mem, size);
        most = states = stuck = 0;

        for (n = 0; WIFSTOPPED(status) && n < 100000; n++) {

            if (memcmp(last, mem, size) != 0) {
                memcpy(last, mem, size);
                states++;

                (void) prd_lease_check(&v, &s);
                diff = (long long) (s.debited + s.debt + s.refunded)
                       - (long long) (s.admitted + s.returned + s.forfeited
                                      + s.held);
                most = prd_max(most, llabs(diff - before));

                /* the next one has tokens, or asks: whatever was left */

                memcpy(copy, mem, size);
                (void) prd_zone_attach(&w, copy, size, &policy, 1, 2,
                                       lab_alive);
                ask = lab_ask(&policy, 1, now + 2000);
                stuck += prd_lease_decide(&w, &policy, &ask, &answer,
                                          PRD_LEASE_LEASE)
                         == PRD_OK && !answer.taken;
            }

            if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0) {
                break;
            }

            waitpid(pid, &status, 0);
        }

        if (WIFSTOPPED(status)) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
        }

        ok(states > 1 && stuck == 0 && most <= (op < 5 ? 3000 : hand),
           "%s: %d instructions, %d states of the memory, the books off by "
           "%lld at most", names[op], n, states, most);
        node[0].n = 0;
    }

    (void) prd_lease_check(&v, &s);
    ok(books(), "books agree in the end");

    free(last);
    free(copy);
    munmap(mem, size);
    nodes = 0;
}


int
main(void)
{
    unsigned  i;

    is_int(sizeof(prd_lease_t), 64, "a lease is a cache line");

    grants();
    strict();
    ordinary();
    plenty();
    refused();
    alone();
    debt();
    pooled();
    lates();
    undone();

    for (i = 0; i < 16; i++) {
        guesses(i & 1 ? PRD_LEASE_STRICT : PRD_LEASE_LEASE, i & 2 ? 20 : 0,
                !!(i & 4), !!(i & 8));
    }

    elsewhere(PRD_LEASE_LEASE);
    elsewhere(PRD_LEASE_STRICT);
    shortage();
    prices(0);
    prices(3000);
    flooded(PRD_LEASE_LEASE);
    flooded(PRD_LEASE_STRICT);
    strangers();
    given_away();
    guess_lost();
    guesses_lost(0);
    guesses_lost(1);
    guesses_priced();

    exact();
    parents();
    reused();
    envelopes();
    voids();
    watchers();
    full();
    hostile();

    for (i = 0; i < 3; i++) {
        bound("rate=50r/s burst=40", LAB_MS, 0, 10 + i);
        bound("rate=5r/s burst=3", LAB_MS, 0, 20 + i);
    }

    bound("rate=50r/s burst=40", LAB_MS, 20, 30);
    bound("rate=50r/s burst=40", 0u - 5000, 0, 40);
    bound("rate=50r/s burst=40", 0u - 5000, 20, 41);
    bound("rate=50r/s burst=40", 0x7fffffffu - 5000, 20, 42);

    killed();

    return done_testing();
}
