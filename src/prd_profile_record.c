
/*
 * Clients' records: out of a slot, into a file, out of it, into a slot.
 *
 * A record, in this order:
 *
 *   tag u64 | level u32, idle ms u32: the bucket | backlog u32, idle ms u32:
 *   the demand's | refused u32 | hold u32 | parent u32 | mu, sigma, mu_rate,
 *   sigma_rate, depth, rate, cap_depth, cap_rate, count, level, near f32 |
 *   ages in s u32 of depth, rate, the hour's begin, the near bin's begin |
 *   blocks, hours, flags, spare u16
 *
 * The forecaster is needed for one thing only: to publish a loaded envelope
 * exactly as the thread would.
 */


#include <math.h>

#include "prd_forecaster.h"
#include "prd_profile_inner.h"


/* flags of a record */
#define PRD_PROFILE_COUNTED  0x01
#define PRD_PROFILE_LIMITED  0x02
#define PRD_PROFILE_HELD     0x04
#define PRD_PROFILE_PROVES   0x08           /* files of before do not tell */
#define PRD_PROFILE_PROVEN   8              /* bits from here on */

#define PRD_PROFILE_WEEK_MS  (7 * 86400000u)
#define PRD_PROFILE_IDLE_MS  (19 * 86400000u)   /* at 20 days: forgotten */

/* the least of an envelope, of which there is a logarithm */
#define PRD_PROFILE_LEAST    1e-3
#define PRD_PROFILE_LEAST_RATE  1e-9


/* whoever changes this has to think of the format */
_Static_assert(sizeof(prd_learned_t) == 64, "prd_learned_t is in files");


/* Seconds from a stamp to `now_s`; what lies ahead is no age. */

static uint32_t
prd_profile_age(uint64_t now_s, uint64_t at_s)
{
    uint64_t  age;

    age = now_s > at_s ? now_s - at_s : 0;

    return (uint32_t) prd_min(age, UINT32_MAX);
}


static uint64_t
prd_profile_stamp(uint64_t base_s, uint32_t age_s)
{
    return base_s > age_s ? base_s - age_s : 0;
}


/* The age of the begin of bin `n` (mod 2^16), of which `now` is the present. */

static uint32_t
prd_profile_bin_age(uint64_t now_s, uint64_t now, uint16_t n, uint32_t size_s)
{
    uint16_t  gap;

    gap = (uint16_t) (now - n);
    gap = gap > INT16_MAX || gap > now ? 0 : gap;

    return prd_profile_age(now_s, (now - gap) * size_s);
}


prd_rc_t
prd_profile_take(const prd_view_t *view, uint32_t slot, uint32_t now_ms,
    prd_record_t *r)
{
    uint64_t            env, word;
    const prd_entry_t  *e;

    e = &view->table.entries[slot];

    r->tag = atomic_load_explicit(&view->table.tags[slot],
                                  memory_order_acquire);

    if (r->tag == PRD_TAG_FREE || prd_tag_is_claim(r->tag)) {
        return PRD_DECLINED;
    }

    env = atomic_load_explicit(&e->envelope, memory_order_acquire);

    r->learned = view->learned[slot];

    if (prd_env_generation(env) != r->learned.generation) {
        r->learned.sigma = 0;
        r->learned.blocks = r->learned.hours = 0;
    }

    /* acquire: what is asked again at the end is asked after these */

    word = atomic_load_explicit(&e->state, memory_order_acquire);
    r->level = prd_word_level(word);
    r->idle_ms = prd_elapsed(prd_word_ms(word), now_ms);

    word = atomic_load_explicit(&e->virtual_, memory_order_acquire);
    r->backlog = prd_word_level(word);
    r->seen_ms = prd_elapsed(prd_word_ms(word), now_ms);

    r->refused = atomic_load_explicit(&e->refused, memory_order_acquire);
    r->hold = atomic_load_explicit(&e->hold, memory_order_acquire);
    r->parent = atomic_load_explicit(&e->parent, memory_order_acquire);

    /* a slot given away meanwhile has another tag, or another generation */

    if (atomic_load_explicit(&view->table.tags[slot], memory_order_relaxed)
        != r->tag
        || prd_env_generation(atomic_load_explicit(&e->envelope,
                                                   memory_order_relaxed))
           != prd_env_generation(env))
    {
        return PRD_DECLINED;
    }

    return PRD_OK;
}


int
prd_profile_sane(prd_learned_t *l)
{
    if (!isfinite(l->mu) || !isfinite(l->sigma) || !isfinite(l->mu_rate)
        || !isfinite(l->sigma_rate) || !isfinite(l->depth)
        || !isfinite(l->rate) || !isfinite(l->cap_depth)
        || !isfinite(l->cap_rate) || !isfinite(l->count)
        || !isfinite(l->level) || !isfinite(l->near))
    {
        return 0;
    }

    l->mu = (float) prd_clamp(l->mu, -PRD_PROFILE_LOG, PRD_PROFILE_LOG);
    l->sigma = (float) prd_clamp(l->sigma, PRD_PROFILE_SIGMA,
                                 PRD_PROFILE_SPREAD);
    l->mu_rate = (float) prd_clamp(l->mu_rate, -PRD_PROFILE_LOG,
                                   PRD_PROFILE_LOG);
    l->sigma_rate = (float) prd_clamp(l->sigma_rate, PRD_PROFILE_SIGMA,
                                      PRD_PROFILE_SPREAD);

    /* an envelope's logarithm is taken */

    l->depth = (float) prd_clamp(l->depth, PRD_PROFILE_LEAST,
                                 PRD_PROFILE_TOKENS);
    l->rate = (float) prd_clamp(l->rate, PRD_PROFILE_LEAST_RATE,
                                PRD_PROFILE_TOKENS);
    l->cap_depth = (float) prd_clamp(l->cap_depth, PRD_PROFILE_LEAST,
                                     PRD_PROFILE_TOKENS);
    l->cap_rate = (float) prd_clamp(l->cap_rate, PRD_PROFILE_LEAST_RATE,
                                    PRD_PROFILE_TOKENS);

    l->count = (float) prd_clamp(l->count, 0, PRD_PROFILE_SUM);
    l->level = (float) prd_clamp(l->level, 0, PRD_PROFILE_TOKENS);
    l->near = (float) prd_clamp(l->near, 0, PRD_PROFILE_SUM);

    return 1;
}


void
prd_profile_give(prd_view_t *view, const prd_policy_t *policy,
    const prd_record_t *r, uint32_t now_ms, uint64_t *kept)
{
    unsigned        evicted;
    uint32_t        slot;
    prd_entry_t    *e;
    prd_learned_t  *l;

    evicted = 0;

    if (prd_table_find(&view->table, r->tag) != PRD_NO_SLOT
        || prd_table_insert(&view->table, r->tag, now_ms, &slot, &evicted)
           != PRD_OK)
    {
        return;
    }

    prd_zone_add(view, PRD_CNT_INSERTED, 1);
    (*kept)++;

    if (evicted) {
        prd_zone_add(view, PRD_CNT_EVICTED, 1);
        (*kept)--;
    }

    e = &view->table.entries[slot];

    atomic_store_explicit(&e->state, prd_word(now_ms - r->idle_ms, r->level),
                          memory_order_relaxed);
    atomic_store_explicit(&e->virtual_, prd_word(now_ms, r->backlog),
                          memory_order_relaxed);
    atomic_store_explicit(&e->spare, r->seen_ms, memory_order_relaxed);
    atomic_store_explicit(&e->refused, r->refused, memory_order_relaxed);
    atomic_store_explicit(&e->hold, r->hold, memory_order_relaxed);
    atomic_store_explicit(&e->parent, r->parent, memory_order_relaxed);

    if (r->learned.sigma <= 0) {
        return;
    }

    l = &view->learned[slot];
    *l = r->learned;
    l->generation = (uint16_t) prd_env_generation(
                        atomic_load_explicit(&e->envelope,
                                             memory_order_relaxed));

    /* without a closed block nothing was published */

    if (l->blocks || l->hours) {
        prd_forecaster_publish(view, policy, slot);
    }
}


void
prd_profile_settle(prd_view_t *view, uint32_t now_ms)
{
    uint32_t      s, n, idle;
    uint64_t      tag;
    prd_entry_t  *e;

    n = prd_zone_slots(view);

    for (s = 0; s < n; s++) {
        tag = atomic_load_explicit(&view->table.tags[s], memory_order_relaxed);

        if (tag == PRD_TAG_FREE) {
            continue;
        }

        e = &view->table.entries[s];
        idle = atomic_load_explicit(&e->spare, memory_order_relaxed);

        atomic_store_explicit(&e->virtual_,
            prd_word(now_ms - idle,
                     prd_word_level(atomic_load_explicit(&e->virtual_,
                                                     memory_order_relaxed))),
            memory_order_relaxed);
        atomic_store_explicit(&e->spare, 0, memory_order_relaxed);
    }
}


void
prd_profile_put_record(uint8_t **p, const prd_record_t *r,
    const prd_policy_t *policy, uint64_t now_s)
{
    uint32_t              horizon;
    uint64_t              now, phased_s;
    const prd_learned_t  *l;

    l = &r->learned;
    phased_s = now_s + prd_phase_s(r->tag);

    prd_pack64(p, r->tag);
    prd_pack32(p, r->level);
    prd_pack32(p, r->idle_ms);
    prd_pack32(p, r->backlog);
    prd_pack32(p, r->seen_ms);
    prd_pack32(p, r->refused);
    prd_pack32(p, r->hold);
    prd_pack32(p, r->parent);

    prd_pack_float(p, l->mu);
    prd_pack_float(p, l->sigma);
    prd_pack_float(p, l->mu_rate);
    prd_pack_float(p, l->sigma_rate);
    prd_pack_float(p, l->depth);
    prd_pack_float(p, l->rate);
    prd_pack_float(p, l->cap_depth);
    prd_pack_float(p, l->cap_rate);
    prd_pack_float(p, l->count);
    prd_pack_float(p, l->level);
    prd_pack_float(p, l->near);

    prd_pack32(p, prd_profile_age(now_s, l->depth_at));
    prd_pack32(p, prd_profile_age(now_s, l->rate_at));
    prd_pack32(p, prd_profile_bin_age(phased_s, phased_s / PRD_EPOCH_S,
                                      l->epoch, PRD_EPOCH_S));

    /* a block that ends now belongs to the bin before, see prd_envelope.c */

    horizon = prd_profile_horizon(policy);
    now = (phased_s - prd_min(phased_s, PRD_BIN_S / 2)) / horizon;

    prd_pack32(p, prd_profile_bin_age(phased_s, now, l->near_bin, horizon));

    prd_pack16(p, l->blocks);
    prd_pack16(p, l->hours);
    prd_pack16(p, l->counted | (l->limited ? PRD_PROFILE_LIMITED : 0)
                  | (l->held ? PRD_PROFILE_HELD : 0)
                  | PRD_PROFILE_PROVES
                  | (uint32_t) l->proven << PRD_PROFILE_PROVEN);
    prd_pack16(p, 0);
}


/* Idle time grows by the time in between, up to a week. */

static uint32_t
prd_profile_idle(uint32_t idle_ms, uint64_t gone_s)
{
    uint64_t  idle, most;

    idle = idle_ms + prd_min(gone_s, UINT32_MAX) * 1000;
    most = prd_max(idle_ms, PRD_PROFILE_WEEK_MS);
    idle = prd_min(idle, most);

    return (uint32_t) prd_min(idle, PRD_PROFILE_IDLE_MS);
}


uint32_t
prd_profile_units(uint32_t v, uint32_t from, uint32_t to)
{
    uint64_t  u;

    if (from == to) {
        return v;
    }

    u = to == PRD_MILLI ? (uint64_t) v * PRD_MILLI
                        : ((uint64_t) v + PRD_MILLI - 1) / PRD_MILLI;

    return (uint32_t) prd_min(u, UINT32_MAX);
}


prd_rc_t
prd_profile_get_record(const uint8_t **p, prd_record_t *r,
    const prd_view_t *view, const prd_policy_t *policy, uint32_t unit,
    uint64_t base_s, uint64_t gone_s)
{
    uint32_t        to, flags, phase;
    uint64_t        at;
    prd_learned_t  *l;

    memset(r, 0, sizeof(prd_record_t));

    l = &r->learned;
    to = view->zone->unit;

    r->tag = prd_unpack64(p);
    phase = prd_phase_s(r->tag);
    r->level = prd_profile_units(prd_unpack32(p), unit, to);
    r->idle_ms = prd_profile_idle(prd_unpack32(p), gone_s);
    r->backlog = prd_profile_units(prd_unpack32(p), unit, to);
    r->seen_ms = prd_profile_idle(prd_unpack32(p), gone_s);
    r->refused = prd_unpack32(p);
    r->hold = prd_profile_units(prd_unpack32(p), unit, to);
    r->parent = prd_unpack32(p);

    l->mu = prd_unpack_float(p);
    l->sigma = prd_unpack_float(p);
    l->mu_rate = prd_unpack_float(p);
    l->sigma_rate = prd_unpack_float(p);
    l->depth = prd_unpack_float(p);
    l->rate = prd_unpack_float(p);
    l->cap_depth = prd_unpack_float(p);
    l->cap_rate = prd_unpack_float(p);
    l->count = prd_unpack_float(p);
    l->level = prd_unpack_float(p);
    l->near = prd_unpack_float(p);

    at = prd_profile_stamp(base_s, prd_unpack32(p));
    l->depth_at = (uint32_t) prd_min(at, UINT32_MAX);
    at = prd_profile_stamp(base_s, prd_unpack32(p));
    l->rate_at = (uint32_t) prd_min(at, UINT32_MAX);
    at = prd_profile_stamp(base_s, prd_unpack32(p));
    l->epoch = (uint16_t) ((at + phase) / PRD_EPOCH_S);
    at = prd_profile_stamp(base_s, prd_unpack32(p));
    l->near_bin = (uint16_t) ((at + phase) / prd_profile_horizon(policy));

    l->blocks = prd_unpack16(p);
    l->hours = prd_unpack16(p);

    flags = prd_unpack16(p);
    l->counted = (flags & PRD_PROFILE_COUNTED) != 0;
    l->limited = (flags & PRD_PROFILE_LIMITED) != 0;
    l->held = (flags & PRD_PROFILE_HELD) != 0;
    l->proven = flags >> PRD_PROFILE_PROVEN & 31;
    (void) prd_unpack16(p);

    if (r->tag == PRD_TAG_FREE || prd_tag_is_claim(r->tag)) {
        return PRD_ECORRUPT;
    }

    if (l->blocks == 0 && l->hours == 0) {
        return PRD_DECLINED;
    }

    if (!prd_profile_sane(l)) {
        return PRD_ECORRUPT;
    }

    if (!(flags & PRD_PROFILE_PROVES)) {
        prd_learned_prove(l);
    }

    return PRD_OK;
}
