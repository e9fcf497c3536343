
/*
 * The file format of learned state; see prd_profile.h.
 *
 * A record, in this order:
 *
 *   tag u64 | level u32, idle ms u32: the bucket | backlog u32, idle ms u32:
 *   the demand's | refused u32 | hold u32 | parent u32 | mu, sigma, mu_rate,
 *   sigma_rate, depth, rate, cap_depth, cap_rate, count, level, near f32 |
 *   ages in s u32 of depth, rate, the hour's begin, the near bin's begin |
 *   blocks, hours, flags, spare u16
 *
 * prd_profile.c needs the forecaster for one thing only: to publish a loaded
 * envelope exactly as the thread would.
 */


#include <math.h>

#include "prd_forecaster.h"
#include "prd_profile_outlook.h"


#define PRD_PROFILE_MAGIC    "PRDSTATE"
#define PRD_PROFILE_HEAD     40
#define PRD_PROFILE_RECORD   104
#define PRD_PROFILE_ZONE     11
#define PRD_PROFILE_SCORES   ((PRD_CELLS + 1) * 4 + 8)
#define PRD_PROFILE_POOLED   (3 * PRD_AGES * PRD_PROFILE_SCORES               \
                              + (11 + 3 * PRD_AGES + PRD_PROFILE_ZONE) * 8)

/* flags of a record */
#define PRD_PROFILE_COUNTED  0x01
#define PRD_PROFILE_LIMITED  0x02
#define PRD_PROFILE_HELD     0x04
#define PRD_PROFILE_PROVES   0x08           /* files of before do not tell */
#define PRD_PROFILE_PROVEN   8              /* bits from here on */

#define PRD_PROFILE_DAY_S    86400.0
#define PRD_PROFILE_WEEK_MS  (7 * 86400000u)
#define PRD_PROFILE_IDLE_MS  (19 * 86400000u)   /* at 20 days: forgotten */

/* what the engine works with; logarithms are of tokens, to the base of 2 */
#define PRD_PROFILE_LOG      40.0
#define PRD_PROFILE_SIGMA    0.01
#define PRD_PROFILE_SPREAD   16.0
#define PRD_PROFILE_LEAST    1e-3
#define PRD_PROFILE_LEAST_RATE  1e-9


/* whoever changes one of these has to think of the format */
_Static_assert(sizeof(prd_learned_t) == 64, "prd_learned_t is in files");
_Static_assert(sizeof(prd_scores_t) == (PRD_CELLS + 4) * 4 + 8,
               "prd_scores_t is in files");
_Static_assert(PRD_PROFILE_CHUNK * PRD_PROFILE_RECORD + 8
               <= PRD_PROFILE_POOLED
               && PRD_CLASSES * 16 + 4 <= PRD_PROFILE_POOLED,
               "what is buffered fits where the pooled tables do");


/* A client, with stamps of this machine. */

typedef struct {
    uint64_t       tag;
    uint32_t       level;
    uint32_t       idle_ms;
    uint32_t       backlog;
    uint32_t       seen_ms;
    uint32_t       refused;
    uint32_t       hold;
    uint32_t       parent;
    prd_learned_t  learned;             /* sigma 0: a newcomer's, none */
} prd_record_t;


static double
prd_clamp(double v, double least, double most)
{
    return v < least ? least : v > most ? most : v;
}


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
prd_profile_write_head(prd_profile_t *f, const prd_profile_head_t *head)
{
    uint8_t  buf[PRD_PROFILE_HEAD], *p = buf;

    prd_checksum_init(&f->sum);
    f->written_s = head->written_s;
    f->version = PRD_PROFILE_VERSION;

    memcpy(p, PRD_PROFILE_MAGIC, 8);
    p += 8;

    prd_pack32(&p, PRD_PROFILE_VERSION);
    prd_pack32(&p, head->zones);
    prd_pack64(&p, head->written_s);
    prd_pack64(&p, head->started_ms);
    prd_pack32(&p, head->pid);
    prd_pack32(&p, 0);

    return prd_profile_write(f, buf, sizeof(buf));
}


prd_rc_t
prd_profile_read_head(prd_profile_t *f, prd_profile_head_t *head)
{
    prd_rc_t        rc;
    uint8_t         buf[PRD_PROFILE_HEAD];
    const uint8_t  *p;

    prd_checksum_init(&f->sum);

    /* the magic alone first: a short file of another kind is no damaged one */

    rc = prd_profile_read(f, buf, 8);

    if (rc != PRD_OK) {
        return rc;
    }

    if (memcmp(buf, PRD_PROFILE_MAGIC, 8) != 0) {
        return PRD_ECORRUPT;
    }

    rc = prd_profile_read(f, buf + 8, sizeof(buf) - 8);

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf + 8;
    head->version = prd_unpack32(&p);

    if (head->version < PRD_PROFILE_OLD
        || head->version > PRD_PROFILE_VERSION)
    {
        return PRD_EVERSION;
    }

    head->zones = prd_unpack32(&p);
    head->written_s = prd_unpack64(&p);
    head->started_ms = prd_unpack64(&p);
    head->pid = prd_unpack32(&p);

    f->written_s = head->written_s;
    f->version = head->version;

    return PRD_OK;
}


/* Pooled tables and what the zone knows of itself. */

static void
prd_profile_put_scores(uint8_t **p, const prd_scores_t *s, uint64_t now_s)
{
    uint32_t  i;

    for (i = 0; i < PRD_CELLS; i++) {
        prd_pack_float(p, s->cell[i]);
    }

    prd_pack_float(p, s->z);

    /* 0 means never */
    prd_pack_double(p, s->at_s > 0 ? prd_max((double) now_s - s->at_s, 0.0)
                                  : -1);
}


static void
prd_profile_put_pooled(uint8_t **p, const prd_zone_t *zone, uint64_t now_s)
{
    uint32_t             i;
    const prd_pooled_t  *t;

    t = &zone->pooled;

    for (i = 0; i < PRD_AGES; i++) {
        prd_profile_put_scores(p, &t->depth[i], now_s);
        prd_profile_put_scores(p, &t->rate[i], now_s);
        prd_profile_put_scores(p, &t->near[i], now_s);
    }

    prd_pack_double(p, t->mu);
    prd_pack_double(p, t->sigma);
    prd_pack_double(p, t->mu_rate);
    prd_pack_double(p, t->sigma_rate);
    prd_pack_double(p, t->anchor_b);
    prd_pack_double(p, t->anchor_r);
    prd_pack_double(p, t->anchor_mu);
    prd_pack_double(p, t->anchor_s > 0
                      ? prd_max((double) now_s - t->anchor_s, 0.0) : -1);
    prd_pack_double(p, t->newcomer_b);
    prd_pack_double(p, t->newcomer_r);
    prd_pack_double(p, t->cost);

    for (i = 0; i < PRD_AGES; i++) {
        prd_pack_double(p, t->closed[i]);
        prd_pack_double(p, t->missed[i]);
        prd_pack_double(p, t->bounded[i]);
    }

    prd_pack_double(p, zone->requests);
    prd_pack_double(p, zone->tokens);
    prd_pack_double(p, zone->surge_all);
    prd_pack_double(p, zone->level);
    prd_pack_double(p, zone->ratio);
    prd_pack_double(p, zone->pinball);
    prd_pack_double(p, zone->pinball_last);
    prd_pack_double(p, zone->pinball_n);
    prd_pack_double(p, zone->covered);
    prd_pack_double(p, zone->last);
    prd_pack_double(p, zone->costed != 0);
}


/* Returns 0 if a value is not finite. */

static int
prd_profile_get_scores(const uint8_t **p, prd_scores_t *s, double now_s,
    double gone_s)
{
    int       finite;
    float     sum;
    double    age;
    uint32_t  i;

    finite = 1;
    sum = 0;

    for (i = 0; i < PRD_CELLS; i++) {
        s->cell[i] = prd_unpack_float(p);
        finite &= isfinite(s->cell[i]) != 0;
        s->cell[i] = (float) prd_clamp(s->cell[i], 0, 1e5);
        sum += s->cell[i];
    }

    s->votes = sum;
    s->z = prd_unpack_float(p);
    finite &= isfinite(s->z) != 0;
    s->z = (float) prd_clamp(s->z, -8, 24);

    age = prd_unpack_double(p);
    finite &= isfinite(age) != 0;
    s->at_s = age < 0 ? 0 : now_s - prd_min(age + gone_s, PRD_PROFILE_DAY_S);

    return finite && sum > 0;
}


static int
prd_profile_get_value(const uint8_t **p, double *v, double least, double most)
{
    *v = prd_unpack_double(p);

    if (!isfinite(*v)) {
        return 0;
    }

    *v = prd_clamp(*v, least, most);

    return 1;
}


static prd_rc_t
prd_profile_get_pooled(const uint8_t **p, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, double gone_s)
{
    int            finite;
    double         age, v[PRD_PROFILE_ZONE];
    uint32_t       i;
    prd_zone_t    *zone;
    prd_pooled_t   t;

    finite = 1;
    memset(&t, 0, sizeof(prd_pooled_t));

    for (i = 0; i < PRD_AGES; i++) {
        finite &= prd_profile_get_scores(p, &t.depth[i], (double) now_s,
                                         gone_s);
        finite &= prd_profile_get_scores(p, &t.rate[i], (double) now_s,
                                         gone_s);
        finite &= prd_profile_get_scores(p, &t.near[i], (double) now_s,
                                         gone_s);
    }

    finite &= prd_profile_get_value(p, &t.mu, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &t.sigma, PRD_PROFILE_SIGMA,
                                    PRD_PROFILE_SPREAD);
    finite &= prd_profile_get_value(p, &t.mu_rate, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &t.sigma_rate, PRD_PROFILE_SIGMA,
                                    PRD_PROFILE_SPREAD);
    finite &= prd_profile_get_value(p, &t.anchor_b, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &t.anchor_r, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &t.anchor_mu, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &age, -1, PRD_PROFILE_SUM);
    finite &= prd_profile_get_value(p, &t.newcomer_b, 0, PRD_PROFILE_TOKENS);
    finite &= prd_profile_get_value(p, &t.newcomer_r, 0, PRD_PROFILE_TOKENS);
    finite &= prd_profile_get_value(p, &t.cost, 1e-3, PRD_PROFILE_TOKENS);

    t.anchor_s = age < 0 ? 0 : (double) now_s
                               - prd_min(age + gone_s, PRD_PROFILE_DAY_S);

    for (i = 0; i < PRD_AGES; i++) {
        finite &= prd_profile_get_value(p, &t.closed[i], 0, PRD_PROFILE_SUM);
        finite &= prd_profile_get_value(p, &t.missed[i], 0, t.closed[i]);
        finite &= prd_profile_get_value(p, &t.bounded[i], 0, t.closed[i]);
    }

    for (i = 0; i < PRD_PROFILE_ZONE; i++) {
        finite &= prd_profile_get_value(p, &v[i], 0, PRD_PROFILE_SUM);
    }

    if (!finite) {
        return PRD_ECORRUPT;
    }

    zone = view->zone;
    zone->pooled = t;
    zone->requests = v[0];
    zone->tokens = v[1];
    zone->surge_all = prd_min(v[2], PRD_PROFILE_TOKENS);
    zone->level = prd_min(v[3], PRD_PROFILE_TOKENS);
    zone->ratio = prd_clamp(v[4], 1e-3, 1e3);
    zone->pinball = v[5];
    zone->pinball_last = v[6];
    zone->pinball_n = v[7];
    zone->covered = prd_min(v[8], v[7]);
    zone->last = prd_min(v[9], PRD_PROFILE_TOKENS);
    zone->costed = v[10] > 0;

    /* until the first round */

    atomic_store_explicit(&zone->newcomer, prd_env(0, 0,
        prd_env_encode((uint64_t) prd_min(t.newcomer_r * PRD_RATE_ONE, 1e18)),
        prd_env_encode((uint64_t) prd_min(t.newcomer_b * policy->unit, 4e9))),
        memory_order_relaxed);

    return PRD_OK;
}


/*
 * Reads a client from its slot.  PRD_DECLINED: there is none, or it went
 * while it was read.
 */

static prd_rc_t
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


/* 0 if a value is not finite; the others end up in their ranges. */

static int
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


/*
 * Gives a client a slot of a zone that nobody else uses yet.
 *
 * While a zone is filled, all in it count as just seen, so that no known
 * client has to leave for one that comes later, is known for less and has
 * been here of late; prd_profile_settle() then tells when each was seen.
 */

static void
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


static void
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


static void
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


static uint32_t
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


/* PRD_DECLINED: nothing to be taken over. */

static prd_rc_t
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


prd_rc_t
prd_profile_write_zone(prd_profile_t *f, prd_str_t name, prd_str_t key,
    const prd_view_t *view, const prd_policy_t *policy, uint64_t now_s,
    uint32_t now_ms)
{
    uint8_t               buf[PRD_PROFILE_POOLED], *p;
    uint32_t              i, n, s, age, count[PRD_AGES], hash;
    prd_rc_t              rc;
    prd_zone_t           *zone;
    prd_record_t          r;
    const prd_learned_t  *l;

    if (name.len == 0 || name.len >= PRD_PROFILE_NAME
        || key.len >= PRD_PROFILE_KEY)
    {
        return PRD_ERANGE;
    }

    zone = view->zone;

    p = buf;
    prd_pack16(&p, (uint16_t) name.len);
    memcpy(p, name.data, name.len);
    p += name.len;
    prd_pack16(&p, (uint16_t) key.len);

    rc = prd_profile_write(f, buf, (size_t) (p - buf));

    if (rc == PRD_OK) {
        rc = prd_profile_write(f, key.data, key.len);
    }

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf;
    prd_pack64(&p, zone->secret.k0);
    prd_pack64(&p, zone->secret.k1);
    prd_pack64(&p, now_s > zone->learn_since_s ? now_s - zone->learn_since_s
                                              : 0);
    prd_pack32(&p, zone->unit);
    prd_pack32(&p, PRD_PROFILE_POOLED);

    rc = prd_profile_write(f, buf, (size_t) (p - buf));

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf;
    prd_profile_put_pooled(&p, zone, now_s);

    rc = prd_profile_write(f, buf, (size_t) (p - buf));

    if (rc != PRD_OK) {
        return rc;
    }

    /* classes; a name claimed from here on waits for the next save */

    p = buf + 4;
    n = 0;

    for (i = 0; i < PRD_CLASSES; i++) {
        hash = atomic_load_explicit(&zone->classes[i], memory_order_relaxed);

        if (i == 0 || hash) {
            prd_pack32(&p, i);
            prd_pack32(&p, hash);
            prd_pack_double(&p, zone->surge_slow[i]);
            n++;
        }
    }

    {
        uint8_t  *q = buf;

        prd_pack32(&q, n);
    }

    rc = prd_profile_write(f, buf, (size_t) (p - buf));

    if (rc != PRD_OK) {
        return rc;
    }

    /* a pass for each age class that has members, longest known first */

    memset(count, 0, sizeof(count));

    for (s = 0; s < prd_zone_slots(view); s++) {
        l = &view->learned[s];
        count[prd_age(l->hours)] += l->blocks || l->hours;
    }

    n = 0;
    p = buf + 4;

    for (age = PRD_AGES; age-- > 0; /* void */ ) {

        if (count[age] == 0) {
            continue;
        }

        for (s = 0; s < prd_zone_slots(view); s++) {

            if (s % PRD_PROFILE_ALIVE == 0) {
                rc = f->write(f->data, "", 0);

                if (rc != PRD_OK) {
                    return rc;
                }
            }

            l = &view->learned[s];

            if ((l->blocks == 0 && l->hours == 0) || prd_age(l->hours) != age
                || prd_profile_take(view, s, now_ms, &r) != PRD_OK
                || (r.learned.blocks == 0 && r.learned.hours == 0)
                || !prd_profile_sane(&r.learned))
            {
                continue;
            }

            prd_profile_put_record(&p, &r, policy, now_s);

            if (++n == PRD_PROFILE_CHUNK) {
                uint8_t  *q = buf;

                prd_pack32(&q, n);
                rc = prd_profile_write(f, buf, (size_t) (p - buf));

                if (rc != PRD_OK) {
                    return rc;
                }

                n = 0;
                p = buf + 4;
            }
        }
    }

    if (n) {
        uint8_t  *q = buf;

        prd_pack32(&q, n);
        prd_pack32(&p, 0);

        rc = prd_profile_write(f, buf, (size_t) (p - buf));

    } else {
        memset(buf, 0, 4);
        rc = prd_profile_write(f, buf, 4);
    }

    return rc == PRD_OK ? prd_profile_write_outlook(f, view, now_s) : rc;
}


prd_rc_t
prd_profile_write_end(prd_profile_t *f)
{
    uint8_t  buf[8], *p = buf;

    prd_pack64(&p, prd_checksum_final(&f->sum));

    return f->write(f->data, buf, sizeof(buf));
}


prd_rc_t
prd_profile_read_name(prd_profile_t *f, char *name, size_t *name_len,
    char *key, size_t *key_len, prd_secret_t *secret)
{
    size_t          len[2];
    uint8_t         buf[16];
    prd_rc_t        rc;
    const uint8_t  *p;

    p = buf;
    rc = prd_profile_read(f, buf, 2);

    if (rc != PRD_OK) {
        return rc;
    }

    len[0] = prd_unpack16(&p);

    if (len[0] == 0 || len[0] >= PRD_PROFILE_NAME) {
        return PRD_ECORRUPT;
    }

    rc = prd_profile_read(f, name, len[0]);

    if (rc == PRD_OK) {
        p = buf;
        rc = prd_profile_read(f, buf, 2);
    }

    if (rc != PRD_OK) {
        return rc;
    }

    len[1] = prd_unpack16(&p);

    if (len[1] >= PRD_PROFILE_KEY) {
        return PRD_ECORRUPT;
    }

    rc = prd_profile_read(f, key, len[1]);

    if (rc == PRD_OK) {
        rc = prd_profile_read(f, buf, 16);
    }

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf;
    secret->k0 = prd_unpack64(&p);
    secret->k1 = prd_unpack64(&p);

    *name_len = len[0];
    *key_len = len[1];

    return PRD_OK;
}


/* Reads a zone's body, into `view` unless that is NULL. */

static prd_rc_t
prd_profile_read_body(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint32_t now_ms,
    uint64_t *kept)
{
    double          slow;
    uint8_t         buf[PRD_PROFILE_POOLED];
    uint32_t        i, n, index, hash, unit;
    uint64_t        learned_s, base_s, gone_s;
    prd_rc_t        rc;
    prd_zone_t     *zone;
    prd_record_t    r;
    const uint8_t  *p;

    zone = view ? view->zone : NULL;

    base_s = prd_min(now_s, f->written_s);
    gone_s = now_s - base_s;

    rc = prd_profile_read(f, buf, 16);

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf;
    learned_s = prd_unpack64(&p);
    unit = prd_unpack32(&p);

    if ((unit != 1 && unit != PRD_MILLI)
        || prd_unpack32(&p) != PRD_PROFILE_POOLED)
    {
        return PRD_ECORRUPT;
    }

    rc = prd_profile_read(f, buf, PRD_PROFILE_POOLED);

    if (rc != PRD_OK) {
        return rc;
    }

    if (view) {
        p = buf;
        rc = prd_profile_get_pooled(&p, view, policy, now_s, (double) gone_s);

        if (rc != PRD_OK) {
            return rc;
        }

        zone->learn_since_s = now_s > learned_s ? now_s - learned_s : 0;
        atomic_store(&zone->warm, now_s >= zone->learn_since_s
                                           + policy->params.warmup_s);
    }

    rc = prd_profile_read32(f, &n);

    if (rc != PRD_OK) {
        return rc;
    }

    if (n > PRD_CLASSES) {
        return PRD_ECORRUPT;
    }

    for (i = 0; i < n; i++) {
        rc = prd_profile_read(f, buf, 16);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;
        index = prd_unpack32(&p);
        hash = prd_unpack32(&p);
        slow = prd_unpack_double(&p);

        if (index >= PRD_CLASSES || (index == 0) != (hash == 0)
            || !isfinite(slow))
        {
            return PRD_ECORRUPT;
        }

        if (view) {
            atomic_store_explicit(&zone->classes[index], hash,
                                  memory_order_relaxed);
            zone->surge_slow[index] = prd_clamp(slow, 0, PRD_PROFILE_TOKENS);
        }
    }

    for ( ;; ) {
        rc = prd_profile_read32(f, &n);

        if (rc != PRD_OK) {
            return rc;
        }

        if (n == 0) {
            return prd_profile_read_outlook(f, view, policy, now_s, base_s);
        }

        if (n > PRD_PROFILE_CHUNK) {
            return PRD_ECORRUPT;
        }

        rc = prd_profile_read(f, buf, (size_t) n * PRD_PROFILE_RECORD);

        if (rc != PRD_OK) {
            return rc;
        }

        if (view == NULL) {
            continue;
        }

        p = buf;

        for (i = 0; i < n; i++) {
            rc = prd_profile_get_record(&p, &r, view, policy, unit, base_s,
                                        gone_s);
            if (rc == PRD_OK) {
                prd_profile_give(view, policy, &r, now_ms, kept);

            } else if (rc != PRD_DECLINED) {
                return rc;
            }
        }
    }
}


prd_rc_t
prd_profile_read_zone(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint32_t now_ms,
    uint64_t *kept)
{
    prd_rc_t  rc;

    *kept = 0;

    rc = prd_profile_read_body(f, view, policy, now_s, now_ms, kept);

    prd_profile_settle(view, now_ms);

    return rc;
}


prd_rc_t
prd_profile_skip_zone(prd_profile_t *f)
{
    return prd_profile_read_body(f, NULL, NULL, 0, 0, NULL);
}


prd_rc_t
prd_profile_read_end(prd_profile_t *f)
{
    char            more;
    uint8_t         buf[8];
    prd_rc_t        rc;
    const uint8_t  *p = buf;

    rc = f->read(f->data, buf, sizeof(buf));

    if (rc != PRD_OK) {
        return rc;
    }

    if (prd_unpack64(&p) != prd_checksum_final(&f->sum)) {
        return PRD_ECORRUPT;
    }

    return f->read(f->data, &more, 1) == PRD_OK ? PRD_ECORRUPT : PRD_OK;
}


uint64_t
prd_profile_copy(const prd_view_t *from, prd_view_t *to,
    const prd_policy_t *policy, uint64_t now_s, uint32_t now_ms)
{
    int            all;
    uint8_t        buf[PRD_PROFILE_POOLED], *p;
    uint32_t       i, s, age;
    uint64_t       kept;
    prd_zone_t    *zone, *was;
    prd_record_t   r;
    const uint8_t  *q;

    kept = 0;
    zone = to->zone;
    was = from->zone;

    /* by way of the file's form, which checks what is read under a writer */

    p = buf;
    q = buf;
    prd_profile_put_pooled(&p, was, now_s);
    (void) prd_profile_get_pooled(&q, to, policy, now_s, 0);

    zone->learn_since_s = was->learn_since_s;
    atomic_store(&zone->warm, atomic_load(&was->warm));
    atomic_store(&zone->pool, atomic_load(&was->pool));

    for (i = 0; i < PRD_CLASSES; i++) {
        atomic_store_explicit(&zone->classes[i],
            atomic_load_explicit(&was->classes[i], memory_order_relaxed),
            memory_order_relaxed);
        zone->surge_slow[i] = prd_max(was->surge_slow[i], 0.0);
        prd_words_write(zone->class_name[i], was->class_name[i],
                        PRD_CLASS_NAME);
    }

    /* first those known for longest, newcomers at last */

    for (age = PRD_AGES; age-- > 0; /* void */ ) {
        for (s = 0; s < prd_zone_slots(from); s++) {

            all = age == 0 && from->learned[s].hours == 0;

            if (!all && prd_age(from->learned[s].hours) != age) {
                continue;
            }

            if (prd_profile_take(from, s, now_ms, &r) != PRD_OK) {
                continue;
            }

            r.level = prd_profile_units(r.level, was->unit, zone->unit);
            r.backlog = prd_profile_units(r.backlog, was->unit, zone->unit);
            r.hold = prd_profile_units(r.hold, was->unit, zone->unit);

            if (r.learned.sigma > 0 && !prd_profile_sane(&r.learned)) {
                r.learned.sigma = 0;
            }

            prd_profile_give(to, policy, &r, now_ms, &kept);
        }
    }

    prd_profile_copy_outlook(from, to, policy, now_s);
    prd_profile_settle(to, now_ms);

    return kept;
}
