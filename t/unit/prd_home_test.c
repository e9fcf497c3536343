
/*
 * A client of several nodes: learned of at home, from all nodes' counts; the
 * next home goes on with the record.  The store is an array here.
 */


#include "lab.h"
#include "prd_home.h"


#define SHARED_S  (LAB_S - 5 * 3600)           /* the store's clock */


typedef struct {
    void              *mem;
    prd_view_t         view;
    prd_policy_t       policy;
    prd_forecaster_t   f;
    prd_pack_terms_t   t;
    uint16_t          *loaded;
    uint32_t           changed;                /* how often */
    uint32_t           last;
} node_t;


/* what the store has of one client */

typedef struct {
    uint8_t   record[PRD_HOME_RECORD];
    uint16_t  version;
} value_t;


static void
changed(void *data, uint32_t slot)
{
    node_t  *n = data;

    n->changed++;
    n->last = slot;
}


static void
start(node_t *n, uint16_t by, size_t bytes, uint64_t now_s)
{
    size_t                size;
    const char           *why;
    prd_params_t          params;
    prd_secret_t          secret = { 7, 8 };

    memset(n, 0, sizeof(node_t));

    prd_params_init(&params);
    (void) prd_params_set(&params, (prd_str_t) prd_str("rate=2r/s"), &why);
    (void) prd_params_set(&params, (prd_str_t) prd_str("warmup=0"), &why);
    (void) prd_params_end(&params, &why);
    prd_policy_init(&n->policy, &params, 5);

    size = (prd_zone_size(bytes) + 63) / 64 * 64;
    n->mem = aligned_alloc(64, size);
    memset(n->mem, 0, size);

    if (prd_zone_init(n->mem, size, n->policy.unit, &secret, &n->policy,
                      now_s, LAB_MS) != PRD_OK
        || prd_zone_attach(&n->view, n->mem, size, &n->policy, 0, 1, NULL)
           != PRD_OK)
    {
        ok(0, "a zone of %zu bytes", bytes);
    }

    n->loaded = calloc(prd_zone_slots(&n->view) + 1, sizeof(uint16_t));
    n->t.by = by;
    n->t.horizon_s = 300;
    n->f.changed = changed;
    n->f.changed_data = n;
}


static void
stop(node_t *n)
{
    free(n->mem);
    free(n->loaded);
}


static void
at(node_t *n, uint64_t now_s)
{
    n->t.now_s = now_s;
    n->t.shared_s = (uint32_t) (SHARED_S + (now_s - LAB_S));
}


static uint32_t
take(node_t *n, uint64_t tag, const value_t *v, uint32_t admitted,
    uint32_t peak)
{
    uint32_t          slot;
    prd_home_count_t  c;

    memset(&c, 0, sizeof(c));
    c.tag = tag;
    c.admitted = admitted;
    c.peak = peak;
    c.version = v->version;
    c.profile = v->version ? v->record + 8 : NULL;
    c.len = v->version ? PRD_PACK_SIZE : 0;
    slot = 0;

    is_int(prd_home_take(&n->view, &n->policy, &c, &n->t, n->loaded, LAB_MS,
                         &slot), PRD_OK, "taken");

    return slot;
}


static void
publish(node_t *n, uint32_t slot, value_t *v)
{
    uint64_t  tag;

    if (prd_home_put(&n->view, &n->policy, slot, &n->t, v->record, &tag)
        == PRD_OK)
    {
        v->version++;
        n->loaded[slot] = v->version;
    }
}


/* A block of each bin of an hour and a half at A; then B is its home. */

static void
moves(void)
{
    node_t                a, b, alone;
    value_t               v;
    uint32_t              slot, i, peak;
    uint64_t              now, env, tag;
    prd_learned_t        *l, *m;

    memset(&v, 0, sizeof(v));
    tag = prd_tag(0x123456789abcdef0ull);
    start(&a, 1, 65536, LAB_S - 10);
    start(&alone, 9, 65536, LAB_S - 10);
    slot = 0;

    /* alone has all the time what A and then B have */

    (void) prd_forecaster_round(&a.f, &a.view, &a.policy, LAB_S, LAB_MS);
    (void) prd_forecaster_round(&alone.f, &alone.view, &alone.policy, LAB_S,
                                LAB_MS);

    for (i = 0; i < 540; i++) {
        now = LAB_S + 10 * i;
        peak = 3000 + 1000 * (i % 7);
        at(&a, now + 9);
        at(&alone, now + 9);

        if (i == 0 || i % 100 == 99) {
            slot = take(&a, tag, &v, peak * 2, peak);
            (void) take(&alone, tag, &(value_t) { { 0 }, 0 }, peak * 2, peak);

        } else {
            prd_home_count_t  c = { tag, peak * 2, peak, v.version,
                                    v.record + 8, PRD_PACK_SIZE };

            (void) prd_home_take(&a.view, &a.policy, &c, &a.t, a.loaded,
                                 LAB_MS, &slot);
            c.version = 0;
            c.profile = NULL;
            (void) prd_home_take(&alone.view, &alone.policy, &c, &alone.t,
                                 alone.loaded, LAB_MS, &slot);
        }

        (void) prd_forecaster_round(&a.f, &a.view, &a.policy,
                                    (double) now + 10, LAB_MS);
        (void) prd_forecaster_round(&alone.f, &alone.view, &alone.policy,
                                    (double) now + 10, LAB_MS);
        slot = a.last;
        at(&a, now + 11);
        publish(&a, slot, &v);
    }

    l = &a.view.learned[slot];
    m = &alone.view.learned[alone.last];

    /* its hour ends with a block, and not at the full one: see its phase */

    is_int(a.changed, 540, "told of each block");
    is_int(v.version, 540, "published each time");
    ok(memcmp(l, m, sizeof(*l)) == 0, "the home's record is as if it had seen "
       "all of it itself");

    /* B, which has never heard of it */

    now = LAB_S + 5400;
    start(&b, 2, 65536, now);
    (void) prd_forecaster_round(&b.f, &b.view, &b.policy, (double) now,
                                LAB_MS);
    b.view.zone->pooled = a.view.zone->pooled;
    at(&b, now + 5);
    slot = take(&b, tag, &v, 8000, 4000);
    m = &b.view.learned[slot];

    is_int(m->blocks, l->blocks, "blocks are handed over");
    is_int(m->hours, l->hours, "hours");
    ok(fabs(m->mu - l->mu) < 0.002 && fabs(m->depth / l->depth - 1) < 0.002
       && fabs(m->rate / l->rate - 1) < 0.002, "envelope: %.3f %.3f, %.5f "
       "%.5f", m->depth, l->depth, m->rate, l->rate);
    ok(fabs(m->count / l->count - 1) < 0.002, "the hour's count");
    is_int(m->epoch, l->epoch, "its hour");

    env = atomic_load(&b.view.table.entries[slot].envelope);
    ok(prd_env_depth_code(env) != 0, "and in force before the block ends");
    is_int(m->generation, prd_env_generation(env), "for this client alone");

    (void) prd_forecaster_round(&b.f, &b.view, &b.policy, (double) now + 10,
                                LAB_MS);
    is_int(m->blocks, l->blocks + 1, "its block is closed there");

    /* taken again before it was published: B's own record is the newer one */

    at(&b, now + 15);
    (void) take(&b, tag, &v, 100, 100);
    is_int(m->blocks, l->blocks + 1, "what is known is not loaded again");

    /* back to A, which has a record of ninety minutes ago */

    publish(&b, slot, &v);
    at(&a, now + 25);
    slot = take(&a, tag, &v, 0, 0);
    is_int(l->blocks, m->blocks, "the former home takes the newer record");
    at(&a, now + 26);
    publish(&a, slot, &v);
    (void) take(&a, tag, &v, 0, 0);
    is_int(l->blocks, m->blocks, "and keeps its own");

    /* a restart: the same tag, another slot or none */

    stop(&b);
    start(&b, 3, 65536, now);
    at(&b, now + 30);
    v.record[8 + 20] ^= 0x10;
    slot = take(&b, tag, &v, 500, 500);
    is_int(b.view.learned[slot].blocks, 0, "a damaged record is none");
    is_int(atomic_load(&b.view.table.entries[slot].demand) >> 32, 500,
           "its counts count all the same");

    stop(&a);
    stop(&b);
    stop(&alone);
}


/* Clients of another home: nothing happens to them here. */

static void
away(void)
{
    node_t    a;
    value_t   v;
    uint32_t  slot;
    uint64_t  tag;

    memset(&v, 0, sizeof(v));
    tag = prd_tag(5ull << 58 | 99);
    start(&a, 1, 65536, LAB_S - 10);
    at(&a, LAB_S + 5);
    (void) prd_forecaster_round(&a.f, &a.view, &a.policy, LAB_S, LAB_MS);
    slot = take(&a, tag, &v, 2000, 1000);
    (void) prd_forecaster_round(&a.f, &a.view, &a.policy, LAB_S + 10, LAB_MS);
    is_int(a.view.learned[slot].hours, 0, "an hour begins");

    atomic_store(&a.f.away, 1ull << 5);
    (void) prd_forecaster_round(&a.f, &a.view, &a.policy, LAB_S + 3600,
                                LAB_MS);
    is_int(a.view.learned[slot].hours, 0, "a stale record's hour does not end");

    atomic_store(&a.f.away, ~(1ull << 5));
    (void) prd_forecaster_round(&a.f, &a.view, &a.policy, LAB_S + 7200,
                                LAB_MS);
    is_int(a.view.learned[slot].hours, 1, "at home it does");

    stop(&a);
}


static void
crowded(void)
{
    node_t            a;
    uint32_t          i, slot, full, slots;
    uint64_t          tag;
    prd_home_count_t  c;

    start(&a, 1, 8192, LAB_S);
    at(&a, LAB_S + 5);
    slots = prd_zone_slots(&a.view);
    full = 0;
    memset(&c, 0, sizeof(c));

    for (i = 0; i < 4 * slots; i++) {
        tag = prd_tag(lab_random());
        c.tag = tag;
        c.admitted = c.peak = 1000;
        full += prd_home_take(&a.view, &a.policy, &c, &a.t, a.loaded, LAB_MS,
                              &slot)
                == PRD_EFULL;
    }

    ok(prd_table_check(&a.view.table, &i, &full) == 0,
       "more clients than slots: the table is whole");
    stop(&a);
}


static void
bytes(void)
{
    int                i, n;
    uint8_t            buf[512], *p;
    prd_rc_t           rc;
    prd_home_count_t   c;
    prd_home_reader_t  r;

    p = buf;
    *p++ = 1;
    *p++ = 2;
    prd_pack16(&p, 300);
    memcpy(p, "0123456789abcdef", 16);
    p += 16;
    prd_pack32(&p, 5);
    prd_pack32(&p, 6);
    prd_pack16(&p, 7);
    *p++ = 0;
    memcpy(p, "fedcba9876543210", 16);
    p += 16;
    prd_pack32(&p, 8);
    prd_pack32(&p, 9);
    prd_pack16(&p, 10);
    *p++ = 3;
    memcpy(p, "abc", 3);
    p += 3;
    n = (int) (p - buf);

    is_int(prd_home_read(&r, buf, (size_t) n), PRD_OK, "a reply");
    is_int(r.left, 300, "of what is left");
    is_int(prd_home_next(&r, &c), PRD_OK, "first client");
    ok(c.tag == 0x0123456789abcdefull && c.admitted == 5 && c.peak == 6
       && c.version == 7 && c.profile == NULL, "as it was sent");
    is_int(prd_home_next(&r, &c), PRD_OK, "second");
    ok(c.tag == 0xfedcba9876543210ull && c.admitted == 8 && c.len == 3
       && memcmp(c.profile, "abc", 3) == 0, "with a profile");
    is_int(prd_home_next(&r, &c), PRD_DECLINED, "that was all");

    for (i = 0; i < n; i++) {
        if (prd_home_read(&r, buf, (size_t) i) != PRD_OK) {
            continue;
        }

        do {
            rc = prd_home_next(&r, &c);
        } while (rc == PRD_OK);

        if (rc != PRD_ECORRUPT) {
            break;
        }
    }

    is_int(i, n, "cut anywhere");

    is_int(prd_home_read(&r, buf, (size_t) n + 1), PRD_OK, "one more byte");
    while ((rc = prd_home_next(&r, &c)) == PRD_OK) { /* void */ }
    is_int(rc, PRD_ECORRUPT, "is one too many");

    buf[1] = 65;
    is_int(prd_home_read(&r, buf, (size_t) n), PRD_ECORRUPT, "too many");
    buf[1] = 2;
    buf[0] = 2;
    is_int(prd_home_read(&r, buf, (size_t) n), PRD_EVERSION, "another one");
    buf[0] = 1;
    memcpy(buf + 4, "0000000000000000", 16);
    (void) prd_home_read(&r, buf, (size_t) n);
    is_int(prd_home_next(&r, &c), PRD_ECORRUPT, "a free slot's tag");
    memcpy(buf + 4, "ffff000000000001", 16);
    (void) prd_home_read(&r, buf, (size_t) n);
    is_int(prd_home_next(&r, &c), PRD_ECORRUPT, "a claim");
}


int
main(void)
{
    moves();
    away();
    crowded();
    bytes();

    return done_testing();
}
