
/*
 * A zone is saved while workers decide in it: the thread that learns writes
 * the file, between its rounds.  For make tsan; what was saved must be sound
 * whatever went on meanwhile.
 */


#include <pthread.h>
#include <stdlib.h>

#include "prd_decide.h"
#include "prd_forecaster.h"
#include "prd_profile.h"
#include "tap.h"


#define NOW_S    1700000000
#define BINS     60
#define WORKERS  2
#define KEYS     3000


typedef struct {
    uint8_t   *p;
    size_t     len, size, at;
} file_t;


static void              *zone;
static size_t             zone_size;
static prd_policy_t       policy;
static _Atomic uint32_t   now_ms = 1000;
static _Atomic int        stop;


static int
alive(uint32_t pid)
{
    return pid != 0;
}


static prd_rc_t
put(void *data, const void *p, size_t len)
{
    file_t  *f = data;

    if (f->len + len > f->size) {
        return PRD_EIO;
    }

    memcpy(f->p + f->len, p, len);
    f->len += len;

    return PRD_OK;
}


static prd_rc_t
get(void *data, void *p, size_t len)
{
    file_t  *f = data;

    if (len > f->len - f->at) {
        return PRD_ECORRUPT;
    }

    memcpy(p, f->p + f->at, len);
    f->at += len;

    return PRD_OK;
}


static void *
worker(void *data)
{
    uint64_t      x;
    prd_ask_t     ask;
    prd_view_t    view;
    prd_answer_t  answer;

    x = (uintptr_t) data + 1;

    if (prd_zone_attach(&view, zone, zone_size, &policy,
                        (uint32_t) (uintptr_t) data,
                        (uint32_t) (uintptr_t) data + 1, alive)
        != PRD_OK)
    {
        abort();
    }

    memset(&ask, 0, sizeof(ask));
    ask.rate = policy.params.rate;
    ask.burst = 5000;
    ask.delay = PRD_NODELAY;
    ask.cost = 1000;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;

        ask.tag = prd_tag((x >> 33) % KEYS * 0x9e3779b97f4a7c15ull + 1);
        ask.parent = prd_tag((x >> 40) % 50 + 1);
        ask.class_ = (uint32_t) (x >> 50) % 8;
        ask.now_ms = atomic_load_explicit(&now_ms, memory_order_relaxed);

        prd_decide(&view, &policy, &ask, &answer);
    }

    return NULL;
}


static prd_rc_t
save(file_t *file, const prd_view_t *view, uint64_t now_s)
{
    prd_rc_t            rc;
    prd_profile_t       f;
    prd_profile_head_t  head = { .zones = 1, .written_s = now_s };

    memset(&f, 0, sizeof(f));
    f.write = put;
    f.data = file;
    file->len = 0;

    rc = prd_profile_write_head(&f, &head);

    if (rc == PRD_OK) {
        rc = prd_profile_write_zone(&f, (prd_str_t) prd_str("z"),
                 (prd_str_t) prd_str("k"), view, &policy, now_s,
                 atomic_load(&now_ms));
    }

    return rc == PRD_OK ? prd_profile_write_end(&f) : rc;
}


static prd_rc_t
load(file_t *file, prd_view_t *view, uint64_t now_s, uint64_t *kept)
{
    char                name[PRD_PROFILE_NAME], key[PRD_PROFILE_KEY];
    size_t              n, k;
    prd_rc_t            rc;
    prd_secret_t        secret;
    prd_profile_t       f;
    prd_profile_head_t  head;

    memset(&f, 0, sizeof(f));
    f.read = get;
    f.data = file;
    file->at = 0;

    rc = prd_profile_read_head(&f, &head);

    if (rc == PRD_OK) {
        rc = prd_profile_read_name(&f, name, &n, key, &k, &secret);
    }

    if (rc == PRD_OK) {
        rc = prd_profile_read_zone(&f, view, &policy, now_s, 1, kept);
    }

    return rc == PRD_OK ? prd_profile_read_end(&f) : rc;
}


int
main(void)
{
    void              *copy;
    double             now_s;
    file_t             file;
    uint32_t           i, clients, claims;
    uint64_t           kept, most;
    unsigned           bad, unsound;
    pthread_t          tid[WORKERS];
    prd_view_t         view, other;
    const char        *why;
    prd_params_t       params;
    prd_secret_t       secret = { 1, 2 };
    prd_forecaster_t  *f;

    prd_params_init(&params);
    (void) prd_params_set(&params, (prd_str_t) prd_str("rate=2r/s"), &why);
    (void) prd_params_set(&params, (prd_str_t) prd_str("capacity=1000r/s"),
                          &why);
    (void) prd_params_end(&params, &why);
    prd_policy_init(&policy, &params, 5);

    zone_size = (prd_zone_size(128 * 1024) + 63) / 64 * 64;
    zone = aligned_alloc(64, zone_size);
    copy = aligned_alloc(64, zone_size);
    f = calloc(1, sizeof(prd_forecaster_t));
    memset(zone, 0, zone_size);
    file.size = 4 * 1024 * 1024;
    file.p = malloc(file.size);

    (void) prd_zone_init(zone, zone_size, policy.unit, &secret, &policy,
                         NOW_S, 1000);
    (void) prd_zone_attach(&view, zone, zone_size, &policy, PRD_WORKERS, 99,
                           alive);

    for (i = 0; i < WORKERS; i++) {
        (void) pthread_create(&tid[i], NULL, worker, (void *) (uintptr_t) i);
    }

    now_s = NOW_S;
    bad = unsound = 0;
    most = 0;

    for (i = 0; i < BINS; i++) {
        now_s += 10;
        atomic_fetch_add(&now_ms, 10000);

        (void) prd_forecaster_round(f, &view, &policy, now_s,
                                    atomic_load(&now_ms));

        bad += save(&file, &view, (uint64_t) now_s) != PRD_OK;

        memset(copy, 0, zone_size);
        (void) prd_zone_init(copy, zone_size, policy.unit, &secret, &policy,
                             NOW_S, 1000);
        (void) prd_zone_attach(&other, copy, zone_size, &policy, 0, 99,
                               alive);

        bad += load(&file, &other, (uint64_t) now_s, &kept) != PRD_OK;
        unsound += prd_table_check(&other.table, &clients, &claims) != 0
                   || claims != 0 || clients != kept;
        most = prd_max(most, kept);
    }

    atomic_store(&stop, 1);

    for (i = 0; i < WORKERS; i++) {
        (void) pthread_join(tid[i], NULL);
    }

    is_int(bad, 0, "each of %d files is sound", BINS);
    is_int(unsound, 0, "so is each zone made of one");
    ok(most > 200, "with clients in it (%d)", (int) most);

    free(zone);
    free(copy);
    free(f);
    free(file.p);

    return done_testing();
}
