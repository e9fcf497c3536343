
/*
 * A zone: its layout at every size, who may attach, counters, classes, and
 * readers who meet a writer that died.
 */


#include "lab.h"


#define GUARD  4096


static prd_secret_t  secret = { 1, 2 };


/* Zeroed memory of exactly `size` bytes, then a guard. */

static char *
memory(size_t size)
{
    void  *p;

    if (posix_memalign(&p, 64, size + GUARD) != 0) {
        exit(1);
    }

    memset(p, 0, size);
    memset((char *) p + size, 0x5a, GUARD);

    return p;
}


static int
guarded(const char *p, size_t size)
{
    size_t  i;

    for (i = 0; i < GUARD; i++) {

        if (p[size + i] != 0x5a) {
            return 0;
        }
    }

    return 1;
}


static void
layout(void)
{
    char          *p;
    size_t         size, least, end;
    uint32_t       n, i, slots, wrong, none, last;
    prd_rc_t       rc;
    prd_view_t     v;
    prd_policy_t   policy;

    lab_policy(&policy, "rate=1r/s");
    wrong = none = last = 0;
    least = 0;

    for (n = 0; n < 400; n++) {
        size = prd_zone_fixed_size() - 2000
               + (n < 200 ? n * 37 : (size_t) lab_below(600000));
        p = memory(size);

        rc = prd_zone_init(p, size, policy.unit, &secret, &policy, LAB_S,
                           LAB_MS);

        if (rc != PRD_OK) {
            wrong += rc != PRD_ENOMEM;
            none++;
            wrong += prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive)
                     == PRD_OK;
            wrong += !guarded(p, size);
            free(p);
            continue;
        }

        least = least ? prd_min(least, size) : size;

        if (prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive) != PRD_OK) {
            wrong++;
            free(p);
            continue;
        }

        slots = prd_zone_slots(&v);

        wrong += (uintptr_t) v.table.tags % 64 != 0
                 || (uintptr_t) v.table.entries % 64 != 0
                 || (uintptr_t) v.learned % 64 != 0
                 || (uintptr_t) v.dirty % 8 != 0;

        /* order and no overlap */

        wrong += (char *) v.table.tags < p + sizeof(prd_zone_t)
                 || (char *) v.dirty < (char *) (v.table.tags + slots)
                 || (char *) v.table.entries
                    < (char *) (v.dirty + (v.table.nbuckets + 63) / 64)
                 || (char *) v.learned
                    < (char *) (v.table.entries + slots + 1);

        /* every byte of it is ours */

        for (i = 0; i < slots; i++) {
            atomic_store(&v.table.tags[i], UINT64_MAX);
        }

        memset((void *) v.dirty, 0xff, (v.table.nbuckets + 63) / 64 * 8);
        memset((void *) v.table.entries, 0xff,
               (slots + 1) * sizeof(prd_entry_t));
        memset(v.learned, 0xff, (slots + 1) * sizeof(prd_learned_t));

        wrong += v.zone->magic != PRD_MAGIC
                 || (slots && atomic_load(&v.table.tags[slots - 1])
                              != UINT64_MAX);
        wrong += !guarded(p, size);

        memset(v.outlook.outlook, 0xff, sizeof(prd_outlook_t)
               + PRD_OUTLOOK_RINGS * sizeof(prd_markov_ring_t));
        memset((void *) v.outlook.index, 0xff, slots * sizeof(uint32_t));
        memset((void *) v.outlook.client, 0xff,
               v.outlook.clients * sizeof(prd_tracked_t));
        memset(v.outlook.track, 0xff,
               v.outlook.tracks * sizeof(prd_outlook_track_t));
        memset(v.outlook.cell, 0xff,
               v.outlook.tracks * sizeof(prd_gru_client_t));

        wrong += (char *) v.outlook.outlook
                 < (char *) (v.learned + slots + 1)
                 || (char *) v.outlook.index
                    < (char *) &v.outlook.outlook->ring[PRD_OUTLOOK_RINGS]
                 || (char *) v.outlook.client
                    < (char *) (v.outlook.index + slots)
                 || (char *) v.outlook.track
                    < (char *) (v.outlook.client + v.outlook.clients)
                 || (char *) v.outlook.cell
                    < (char *) (v.outlook.track + v.outlook.tracks);
        wrong += !guarded(p, size);

        end = (size_t) ((char *) (v.outlook.cell + v.outlook.tracks) - p);
        wrong += end > size;

        /* no waste beyond a bucket, its records and the padding */

        wrong += size - end > PRD_WAYS * 140 + 2 * sizeof(prd_tracked_t)
                              + 2 * (sizeof(prd_outlook_track_t)
                                     + sizeof(prd_gru_client_t)) + 9 * 64;
        last = prd_max(last, slots);

        free(p);
    }

    is_int(wrong, 0, "zones of odd sizes");
    ok(none > 10 && last > 2000, "%u were too small, the greatest has %u slots",
       none, last);
    ok(least <= prd_zone_fixed_size() + PRD_WAYS * 140 + 512,
       "the least has %zu bytes more than the fixed part",
       least - prd_zone_fixed_size());

    p = memory(64);
    is_int(prd_zone_init(p, 64, 1000, &secret, &policy, LAB_S, LAB_MS),
           PRD_ENOMEM, "64 bytes");
    ok(guarded(p, 64), "untouched");
    free(p);

    size = prd_zone_size(1024 * 1024);
    p = memory(size);
    prd_zone_init(p, size, 1000, &secret, &policy, LAB_S, LAB_MS);
    prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive);
    ok(prd_zone_slots(&v) >= 7600, "a megabyte for clients is for %u",
       prd_zone_slots(&v));
    free(p);
}


static void
attach(void)
{
    char          *p, *small;
    size_t         size, end;
    prd_view_t     v, before;
    prd_zone_t    *z;
    prd_policy_t   policy;

    lab_policy(&policy, "rate=7r/s");
    size = prd_zone_size(100000);
    p = memory(size);
    z = (prd_zone_t *) p;

    memset(&v, 0x77, sizeof(prd_view_t));
    before = v;

    is_int(prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive),
           PRD_ECORRUPT, "no zone");

    prd_zone_init(p, size, policy.unit, &secret, &policy, LAB_S, LAB_MS);

    z->layout++;
    is_int(prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive),
           PRD_EVERSION, "another layout");
    z->layout--;

    z->magic++;
    is_int(prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive),
           PRD_ECORRUPT, "another magic");
    z->magic--;

    z->nbuckets *= 2;
    is_int(prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive),
           PRD_ECORRUPT, "more buckets than there is memory");
    z->nbuckets = UINT32_MAX;
    is_int(prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive),
           PRD_ECORRUPT, "as many as there can be");
    z->nbuckets = 0;
    is_int(prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive),
           PRD_ECORRUPT, "none");
    z->nbuckets = (uint32_t) ((size - sizeof(prd_zone_t)) / (136 * PRD_WAYS));

    while (prd_zone_attach(&v, p, size, &policy, 0, 1, lab_alive) != PRD_OK) {
        z->nbuckets--;
    }

    end = (size_t) ((char *) (v.learned + prd_zone_slots(&v) + 1) - p);
    v = before;
    is_int(prd_zone_attach(&v, p, end - 1, &policy, 0, 1, lab_alive),
           PRD_ECORRUPT, "a byte short");
    ok(memcmp(&v, &before, sizeof(prd_view_t)) == 0,
       "a refusal leaves the view as it was");
    is_int(prd_zone_attach(&v, p, size, &policy, 5, 4711, lab_alive), PRD_OK,
           "as it is");
    is_int(v.table.pid, 4711, "pid");
    is_int(v.table.rate, 7 * PRD_RATE_ONE, "rate");
    ok(v.worker == &z->worker[5] && !v.shared, "a slot of counters");
    prd_zone_attach(&v, p, size, &policy, PRD_WORKERS, 1, lab_alive);
    ok(v.worker == &z->worker[PRD_WORKERS] && v.shared, "the one for all");
    prd_zone_attach(&v, p, size, &policy, UINT32_MAX, 1, lab_alive);
    ok(v.worker == &z->worker[PRD_WORKERS] && v.shared, "for all others, too");

    /* ASan tells whether more is read than there is */

    if (posix_memalign((void **) &small, 64, 24) != 0) {
        exit(1);
    }

    memcpy(small, p, 24);
    is_int(prd_zone_attach(&v, small, 24, &policy, 0, 1, lab_alive),
           PRD_ECORRUPT, "shorter than its own head");
    free(small);

    if (posix_memalign((void **) &small, 64, 4) != 0) {
        exit(1);
    }

    memcpy(small, p, 4);
    is_int(prd_zone_attach(&v, small, 4, &policy, 0, 1, lab_alive),
           PRD_ECORRUPT, "shorter than a magic");
    free(small);
    free(p);
}


static void
fresh(void)
{
    prd_view_t     v;
    prd_policy_t   policy;

    lab_policy(&policy, "capacity=100r/s warmup=0");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    is_int(atomic_load(&v.zone->warm), 1, "no warm-up: warm at once");
    is_int(prd_pool_level(atomic_load(&v.zone->pool), LAB_MS), PRD_POOL_FULL,
           "its pool is full");
    ok(prd_env_depth_code(atomic_load(&v.zone->newcomer)) > 0
       && prd_env_rate_code(atomic_load(&v.zone->newcomer)) > 0,
       "newcomers have an envelope");
    free(v.zone);

    lab_policy(&policy, "rate=100r/s");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    is_int(atomic_load(&v.zone->warm), 0, "a day of warm-up");
    is_int(v.zone->learn_since_s, LAB_S, "since now");
    free(v.zone);
}


static void
policies(void)
{
    prd_policy_t  p;

    lab_policy(&p, "rate=10r/s burst=20");
    is_int(p.unit, PRD_MILLI, "thousandths");
    is_int(p.charged, 0, "not charged");
    is_int(p.pool.capacity, 0, "no pool");

    lab_policy(&p, "rate=10r/s burst=1999999");
    is_int(p.unit, PRD_MILLI, "a depth of 2,000,000");
    lab_policy(&p, "rate=10r/s burst=2000000");
    is_int(p.unit, 1, "one more: whole tokens");
    lab_policy(&p, "rate=10r/s max=400000r/s");
    is_int(p.unit, PRD_MILLI, "400,000 r/s for 5 s");
    lab_policy(&p, "rate=10r/s max=400001r/s");
    is_int(p.unit, 1, "one more");

    prd_policy_init(&p, &p.params, 5);
    is_int(p.unit, 1, "worked out again in place");

    lab_policy(&p, "rate=10r/s cost=2");
    is_int(p.charged, 1, "cost=");
    lab_policy(&p, "rate=10r/s charge=$x");
    is_int(p.charged, 1, "charge=");
    lab_policy(&p, "capacity=50r/s borrow=3");
    is_int(p.pool.capacity, 50 * PRD_RATE_ONE, "a pool");
    is_int(p.pool.top, 3 * PRD_ONE_Q16, "of three envelopes");
}


static void
classes(void)
{
    char          name[32];
    uint32_t      i, c, again, distinct, wrong;
    uint8_t       used[PRD_CLASSES];
    prd_view_t    v;
    prd_str_t     s;
    prd_policy_t  policy;

    lab_policy(&policy, "rate=1r/s");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);
    memset(used, 0, sizeof(used));
    distinct = wrong = again = 0;

    s.len = 0;
    s.data = NULL;
    is_int(prd_zone_class(&v, s), 0, "no name: class 0");

    for (i = 0; i < 2000; i++) {
        s.data = name;
        s.len = (size_t) snprintf(name, sizeof(name), "class-%u", i);

        c = prd_zone_class(&v, s);
        wrong += c == 0 || c >= PRD_CLASSES;

        if (i < PRD_CLASSES - 1) {
            distinct += !used[c];
        }

        used[c] = 1;
    }

    is_int(wrong, 0, "names are in 1..255, when there are too many, too");
    is_int(distinct, PRD_CLASSES - 1, "the first 255 have one each");

    for (i = 0; i < PRD_CLASSES; i++) {
        again += used[i];
    }

    is_int(again, PRD_CLASSES - 1, "the first have not been lost");

    for (i = again = 0; i < 2000; i++) {
        s.len = (size_t) snprintf(name, sizeof(name), "class-%u", i);
        c = prd_zone_class(&v, s);
        again += c != prd_zone_class(&v, s);
    }

    is_int(again, 0, "the same name, the same class");

    /* loaded without its name, or its worker was killed before it wrote it */

    s.len = (size_t) snprintf(name, sizeof(name), "class-%u", 7);
    c = prd_zone_class(&v, s);
    memset(v.zone->class_name[c], 0, PRD_CLASS_NAME);
    (void) prd_zone_class(&v, s);
    prd_zone_class_name(&v, c, name);
    is_str(name, strlen(name), "class-7", "who asks for it names it");

    free(v.zone);
}


static void
counters(void)
{
    int           i;
    prd_view_t    a, b, c;
    prd_policy_t  policy;

    lab_policy(&policy, "rate=1r/s");
    a = lab_zone(&policy, 100, LAB_S, LAB_MS);
    prd_zone_attach(&b, a.zone, a.zone->size, &policy, 63, 2, lab_alive);
    prd_zone_attach(&c, a.zone, a.zone->size, &policy, 99, 3, lab_alive);

    for (i = 0; i < 10; i++) {
        prd_zone_add(&a, PRD_CNT_PASSED, 1);
        prd_zone_add(&b, PRD_CNT_PASSED, 10);
        prd_zone_add(&c, PRD_CNT_PASSED, 100);
    }

    is_int(prd_zone_count(&a, PRD_CNT_PASSED), 1110, "counters of all workers");
    is_int(prd_zone_count(&c, PRD_CNT_REJECTED), 0, "each its own");

    is_int(prd_zone_clients(&a), 0, "no clients");
    prd_zone_add(&a, PRD_CNT_INSERTED, 5);
    prd_zone_add(&b, PRD_CNT_EVICTED, 2);
    atomic_store(&a.zone->freed, 1);
    is_int(prd_zone_clients(&a), 2, "inserted, less evicted, less freed");
    prd_zone_add(&b, PRD_CNT_EVICTED, 20);
    is_int(prd_zone_clients(&a), 0, "never below 0");

    is_str(prd_counter_name(PRD_CNT_PASSED), 6, "passed", "a name");
    is_str(prd_counter_name(PRD_CNT_COST_MILLI), 10, "cost_milli",
           "the last one's");
    ok(strlen(prd_counter_help(PRD_CNT_EXHAUSTED)) > 5, "a help");
    is_str(prd_counter_name(PRD_COUNTERS), 0, "", "no name");
    is_str(prd_counter_help(PRD_COUNTERS), 0, "", "no help");

    free(a.zone);
}


static void
refuse(prd_view_t *v, const prd_policy_t *policy, uint64_t tag, uint64_t ms)
{
    prd_ask_t     ask;
    prd_answer_t  answer;

    ask = lab_ask(policy, tag, LAB_MS);
    ask.cost = 5;
    prd_judge(v, policy, &ask, &answer);
    answer.verdict = PRD_REJECTED;
    answer.reason = PRD_REASON_QUOTA;
    prd_note(v, &ask, &answer, 0, ms);
}


static void
ring(void)
{
    uint32_t        i, n, wrong;
    prd_view_t      v;
    prd_policy_t    policy;
    prd_decision_t  d[PRD_DECISIONS + 1];

    lab_policy(&policy, "rate=1r/s");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);

    is_int(prd_zone_decisions(&v, 0, d, PRD_DECISIONS), 0, "an empty ring");

    for (i = 0; i < 10; i++) {
        refuse(&v, &policy, 100 + i % 2, i);
    }

    is_int(prd_zone_decisions(&v, 0, d, PRD_DECISIONS), 10, "ten");
    is_int(d[0].time_ms, 9, "newest first");
    is_int(d[9].time_ms, 0, "oldest last");
    is_int(prd_zone_decisions(&v, 0, d, 3), 3, "at most three");
    is_int(d[2].time_ms, 7, "the newest");
    is_int(prd_zone_decisions(&v, prd_tag(101), d, 600), 5, "of one client");
    is_int(d[4].time_ms, 1, "its oldest");
    is_int(prd_zone_decisions(&v, prd_tag(555), d, 600), 0, "of a stranger");

    /* a writer died inside */

    atomic_fetch_or(&v.zone->decision[9].seq, 1);
    is_int(prd_zone_decisions(&v, 0, d, 600), 9, "a torn record is left out");
    is_int(d[0].time_ms, 8, "the next is the newest");

    /* it is given up for lost, but not as long as its writer may just sleep */

    atomic_fetch_add(&v.zone->decision_next, 4096 * PRD_DECISIONS);

    for (i = 0; i < PRD_DECISIONS * 3; i++) {
        refuse(&v, &policy, 7, 1000 + i);
    }

    n = prd_zone_decisions(&v, 0, d, PRD_DECISIONS + 1);
    is_int(n, PRD_DECISIONS, "the ring is full, of the torn one too");

    for (i = wrong = 0; i < n; i++) {
        wrong += d[i].time_ms != 1000 + PRD_DECISIONS * 3 - 1 - i
                 || d[i].tag != 7 || d[i].verdict != PRD_REJECTED;
    }

    is_int(wrong, 0, "in order");

    /* the index wraps */

    atomic_store(&v.zone->decision_next, UINT32_MAX - 1);

    for (i = 0; i < 5; i++) {
        refuse(&v, &policy, 8, 9000 + i);
    }

    is_int(prd_zone_decisions(&v, 8, d, 600), 5, "over the wrap of the index");
    is_int(d[0].time_ms, 9004, "newest first");

    free(v.zone);
}


static void
series(void)
{
    uint32_t          i, n, k, wrong;
    double            s;
    prd_view_t        v;
    prd_top_t         top[PRD_TOP];
    prd_policy_t      policy;
    prd_point_t       p[PRD_SERIES];
    prd_forecaster_t  *f;

    f = calloc(1, sizeof(prd_forecaster_t));
    lab_policy(&policy, "rate=1r/s");
    v = lab_zone(&policy, 100, LAB_S, LAB_MS);

    n = 9;
    is_int(prd_zone_series(&v, p, &n, 0), PRD_OK, "no bins yet");
    is_int(n, 0, "none");

    /* 40 minutes; bin i has i requests */

    for (i = 0; i < 240; i++) {
        prd_forecaster_round(f, &v, &policy, (double) LAB_S + 10 * i + 1,
                             LAB_MS + 10000 * i);
        prd_zone_add(&v, PRD_CNT_COST_MILLI, i * 1000);
    }

    is_int(prd_zone_series(&v, p, &n, 0), PRD_OK, "series");
    is_int(n, 239, "a point a bin");

    for (i = wrong = 0; i < n; i++) {
        wrong += p[i].start_s != LAB_S + 10 * i
                 || fabs(p[i].actual - i / 10.0) > 1e-4;
    }

    is_int(wrong, 0, "oldest first, each with its count");

    is_int(prd_zone_series(&v, p, &n, 1), PRD_OK, "long series");
    ok(n >= 7 && n <= 9, "%u points of 300 s", n);

    for (i = wrong = 0; i < n; i++) {

        if (i && p[i].start_s <= p[i - 1].start_s) {
            wrong++;
            continue;
        }

        /* the mean of the bins that it covers */

        s = 0;
        k = 0;

        do {
            s += (double) (p[i].start_s - LAB_S + 10 * k) / 10 / 10;
            k++;

        } while ((p[i].start_s + 10 * k) % 300
                 && p[i].start_s + 10 * k < LAB_S + 2390);

        wrong += fabs(p[i].actual - s / k) > 1e-3;
    }

    is_int(wrong, 0, "oldest first, each with its mean");

    /* 400 bins: the ring goes round */

    for (i = 240; i < 640; i++) {
        prd_forecaster_round(f, &v, &policy, (double) LAB_S + 10 * i + 1,
                             LAB_MS + 10000 * i);
    }

    prd_zone_series(&v, p, &n, 0);
    is_int(n, PRD_SERIES, "the ring is full");
    is_int(p[0].start_s, LAB_S + 10 * (639 - PRD_SERIES), "the oldest left");
    is_int(p[n - 1].start_s, LAB_S + 10 * 638, "the newest");

    /* the thread died inside */

    atomic_fetch_or(&v.zone->series_seq, 1);
    n = 77;
    is_int(prd_zone_series(&v, p, &n, 0), PRD_EAGAIN, "a writer died inside");
    is_int(prd_zone_series(&v, p, &n, 1), PRD_EAGAIN, "of the long ones, too");
    is_int(n, 77, "nothing is told");
    atomic_fetch_or(&v.zone->top_seq, 1);
    is_int(prd_zone_top(&v, PRD_TOP_RATE, top, &n), PRD_EAGAIN, "top");
    is_int(n, 77, "nothing is told");

    prd_forecaster_round(f, &v, &policy, (double) LAB_S + 10 * 640 + 1,
                         LAB_MS + 10000 * 640);
    is_int(prd_zone_series(&v, p, &n, 0), PRD_OK, "the next bin repairs it");
    is_int(prd_zone_top(&v, PRD_TOP_RATE, top, &n), PRD_OK, "both of them");
    is_int(atomic_load(&v.zone->series_seq) & 1, 0, "even");

    free(f);
    free(v.zone);
}


int
main(void)
{
    layout();
    attach();
    fresh();
    policies();
    classes();
    counters();
    ring();
    series();

    return done_testing();
}
