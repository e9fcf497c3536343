
/*
 * Counts from the store into the zone, records out of it; see prd_home.h.
 */


#include "prd_home.h"


#define PRD_HOME_HEAD   4
#define PRD_HOME_ENTRY  (16 + 4 + 4 + 2 + 1)


prd_rc_t
prd_home_read(prd_home_reader_t *r, const void *data, size_t len)
{
    const uint8_t  *p;

    p = data;

    if (len < PRD_HOME_HEAD) {
        return PRD_ECORRUPT;
    }

    if (p[0] != PRD_HOME_VERSION) {
        return PRD_EVERSION;
    }

    if (p[1] > PRD_HOME_KEYS) {
        return PRD_ECORRUPT;
    }

    r->n = p[1];
    r->left = (unsigned) (p[2] | p[3] << 8);
    r->p = p + PRD_HOME_HEAD;
    r->end = p + len;

    return PRD_OK;
}


prd_rc_t
prd_home_next(prd_home_reader_t *r, prd_home_count_t *c)
{
    size_t            len;
    prd_home_count_t  n;

    if (r->n == 0) {
        return r->p == r->end ? PRD_DECLINED : PRD_ECORRUPT;
    }

    if (r->end - r->p < PRD_HOME_ENTRY) {
        return PRD_ECORRUPT;
    }

    n.tag = prd_node_unhex((const char *) r->p, 16);
    r->p += 16;

    /* no hash is a free slot's or a claim's tag */

    if (n.tag == 0 || prd_tag(n.tag) != n.tag) {
        return PRD_ECORRUPT;
    }

    n.admitted = prd_unpack32(&r->p);
    n.peak = prd_unpack32(&r->p);
    n.version = prd_unpack16(&r->p);
    len = *r->p++;

    if ((size_t) (r->end - r->p) < len) {
        return PRD_ECORRUPT;
    }

    n.profile = len ? r->p : NULL;
    n.len = len;

    r->p += len;
    r->n--;

    *c = n;

    return PRD_OK;
}


static void
prd_home_load(prd_view_t *view, const prd_policy_t *policy,
    const prd_home_count_t *c, const prd_pack_terms_t *t, uint16_t *loaded,
    uint32_t slot)
{
    int               known;
    double            hold;
    uint16_t          by, generation;
    prd_entry_t      *e;
    prd_learned_t    *l, r;
    prd_pack_terms_t  terms;

    e = &view->table.entries[slot];
    l = &view->learned[slot];

    terms = *t;
    terms.phase_s = prd_phase_s(c->tag);

    generation = (uint16_t) prd_env_generation(
                     atomic_load_explicit(&e->envelope,
                                          memory_order_relaxed));

    known = l->sigma > 0 && l->generation == generation;

    if (c->profile == NULL || (known && loaded[slot] == c->version)) {
        return;
    }

    /* what does not hold is as if it were not there: learned from here on */

    if (prd_pack_get(c->profile, c->len, &r, &hold, &by, &terms)
        != PRD_OK
        || (known && by == t->by))
    {
        return;
    }

    /* the profile does not tell what was proven; no more than we know */

    if (known) {
        r.proven = prd_max(r.proven, l->proven);
    }

    r.generation = generation;
    *l = r;
    loaded[slot] = c->version;

    if (hold > 0 && atomic_load_explicit(&e->hold, memory_order_relaxed) == 0)
    {
        atomic_store_explicit(&e->hold,
                              (uint32_t) prd_min(hold * policy->unit + 0.5,
                                                 4e9),
                              memory_order_relaxed);
    }

    if (l->blocks || l->hours) {
        prd_forecaster_publish(view, policy, slot);
    }
}


prd_rc_t
prd_home_take(prd_view_t *view, const prd_policy_t *policy,
    const prd_home_count_t *c, const prd_pack_terms_t *t, uint16_t *loaded,
    uint32_t now_ms, uint32_t *slot)
{
    uint32_t      b, s;
    uint64_t      demand, n;
    unsigned      evicted, inserted;
    prd_rc_t      rc;
    prd_entry_t  *e;

    s = prd_table_find(&view->table, c->tag);

    if (s == PRD_NO_SLOT) {
        evicted = inserted = 0;
        rc = prd_table_put(&view->table, c->tag, now_ms, &s, &evicted,
                           &inserted);

        if (inserted) {
            prd_zone_add(view, PRD_CNT_INSERTED, 1);
        }

        if (evicted) {
            prd_zone_add(view, PRD_CNT_EVICTED, evicted);
        }

        if (rc != PRD_OK) {
            return rc;
        }

        loaded[s] = 0;
    }

    prd_home_load(view, policy, c, t, loaded, s);

    *slot = s;

    if (c->admitted == 0 && c->peak == 0) {
        return PRD_OK;
    }

    e = &view->table.entries[s];
    demand = atomic_load_explicit(&e->demand, memory_order_relaxed);

    do {
        n = (demand >> 32) + c->admitted;
        n = prd_min(n, UINT32_MAX);

    } while (!atomic_compare_exchange_weak_explicit(&e->demand, &demand,
                 n << 32 | prd_max((uint32_t) demand, c->peak),
                 memory_order_relaxed, memory_order_relaxed));

    /* after the word, as in prd_decide.c */

    b = s / PRD_WAYS;
    (void) atomic_fetch_or_explicit(&view->dirty[b / 64], 1ull << (b % 64),
                                    memory_order_release);

    return PRD_OK;
}


prd_rc_t
prd_home_put(const prd_view_t *view, const prd_policy_t *policy,
    uint32_t slot, const prd_pack_terms_t *t, uint8_t buf[PRD_HOME_RECORD],
    uint64_t *tag)
{
    double                hold;
    uint8_t              *p;
    uint64_t              env;
    const prd_entry_t    *e;
    const prd_learned_t  *l;
    prd_pack_terms_t      terms;

    e = &view->table.entries[slot];
    l = &view->learned[slot];

    *tag = atomic_load_explicit(&view->table.tags[slot],
                                memory_order_acquire);

    if (*tag == PRD_TAG_FREE || prd_tag_is_claim(*tag)) {
        return PRD_DECLINED;
    }

    env = atomic_load_explicit(&e->envelope, memory_order_acquire);

    if (prd_env_generation(env) != l->generation
        || prd_env_depth_code(env) == 0
        || (l->blocks == 0 && l->hours == 0))
    {
        return PRD_DECLINED;
    }

    hold = (double) atomic_load_explicit(&e->hold, memory_order_acquire)
           / policy->unit;

    p = buf;
    prd_pack64(&p, env & 0xffffffffffffull);

    terms = *t;
    terms.phase_s = prd_phase_s(*tag);

    if (prd_pack_put(p, l, hold, &terms) != PRD_OK) {
        return PRD_DECLINED;
    }

    /* a slot given away meanwhile has another tag, or another generation */

    if (atomic_load_explicit(&view->table.tags[slot], memory_order_acquire)
        != *tag
        || prd_env_generation(atomic_load_explicit(&e->envelope,
                                                   memory_order_relaxed))
           != l->generation)
    {
        return PRD_DECLINED;
    }

    return PRD_OK;
}
