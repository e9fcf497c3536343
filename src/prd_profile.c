
/*
 * The file format of learned state; see prd_profile.h.
 *
 * A record, in this order:
 *
 *   tag u64 | level u32, idle ms u32: the bucket | backlog u32, idle ms u32:
 *   the demand's | refused u32 | hold u32 | parent u32 | mu, sigma, mu_rate,
 *   sigma_rate, depth, rate, cap_depth, cap_rate, count, level, near f32 |
 *   ages in s u32 of depth, rate, the hour's begin, the near bin's begin |
 *   blocks, hours, counted, spare u16
 *
 * prd_profile.c needs the forecaster for one thing only: to publish a loaded
 * envelope exactly as the thread would.
 */


#include <math.h>

#include "prd_forecaster.h"
#include "prd_profile.h"


#define PRD_PROFILE_MAGIC    "PRDSTATE"
#define PRD_PROFILE_HEAD     40
#define PRD_PROFILE_RECORD   104
#define PRD_PROFILE_ZONE     11
#define PRD_PROFILE_SCORES   ((PRD_CELLS + 1) * 4 + 8)
#define PRD_PROFILE_POOLED   (3 * PRD_AGES * PRD_PROFILE_SCORES               \
                              + (11 + 3 * PRD_AGES + PRD_PROFILE_ZONE) * 8)

#define PRD_PROFILE_TRACKED  64            /* records in a chunk */
#define PRD_PROFILE_PACK     (PRD_PROFILE_TRACKED * PRD_OUTLOOK_PACKED + 4)
#define PRD_PROFILE_CURVE    (1024 * 1024)
#define PRD_PROFILE_WORDS    (16 * 1024 * 1024)
#define PRD_PROFILE_PIECE    512           /* words that share a bitmap */
#define PRD_PROFILE_TRACK    (8 + 8 * PRD_TRACK_CLASSES)
#define PRD_PROFILE_OPEN     (16 * PRD_OUTLOOK_SPANS + 8 + 8 * PRD_GROUPS)
#define PRD_PROFILE_SIZES    (8 * PRD_SIZES + 8 * PRD_GROUPS + 8              \
                              + 16 * PRD_OUTLOOK_SPANS)
#define PRD_PROFILE_TRIES    3             /* of a copy under a writer */

#define PRD_PROFILE_ALIVE    65536         /* slots between signs of life */
#define PRD_PROFILE_DAY_S    86400.0
#define PRD_PROFILE_WEEK_MS  (7 * 86400000u)
#define PRD_PROFILE_IDLE_MS  (19 * 86400000u)   /* at 20 days: forgotten */

/* what the engine works with; logarithms are of tokens, to the base of 2 */
#define PRD_PROFILE_LOG      40.0
#define PRD_PROFILE_SIGMA    0.01
#define PRD_PROFILE_SPREAD   16.0
#define PRD_PROFILE_TOKENS   1e12
#define PRD_PROFILE_LEAST    1e-3
#define PRD_PROFILE_LEAST_RATE  1e-9
#define PRD_PROFILE_SUM      1e18


/* whoever changes one of these has to think of the format */
_Static_assert(sizeof(prd_learned_t) == 64, "prd_learned_t is in files");
_Static_assert(sizeof(prd_scores_t) == (PRD_CELLS + 4) * 4 + 8,
               "prd_scores_t is in files");
_Static_assert(PRD_PROFILE_CHUNK * PRD_PROFILE_RECORD + 8
               <= PRD_PROFILE_POOLED
               && PRD_CLASSES * 16 + 4 <= PRD_PROFILE_POOLED,
               "what is buffered fits where the pooled tables do");
_Static_assert(sizeof(prd_track_t) % 4 == 0 && sizeof(prd_tracks_t) % 4 == 0,
               "they are written by words of 4 bytes");
_Static_assert(PRD_PROFILE_OPEN <= PRD_PROFILE_PACK,
               "open bins fit where a pack does");


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


static void
prd_put16(uint8_t **p, uint16_t v)
{
    *(*p)++ = (uint8_t) v;
    *(*p)++ = (uint8_t) (v >> 8);
}


static void
prd_put32(uint8_t **p, uint32_t v)
{
    prd_put16(p, (uint16_t) v);
    prd_put16(p, (uint16_t) (v >> 16));
}


static void
prd_put64(uint8_t **p, uint64_t v)
{
    prd_put32(p, (uint32_t) v);
    prd_put32(p, (uint32_t) (v >> 32));
}


static void
prd_put_float(uint8_t **p, float f)
{
    uint32_t  v;

    memcpy(&v, &f, sizeof(uint32_t));
    prd_put32(p, v);
}


static void
prd_put_double(uint8_t **p, double d)
{
    uint64_t  v;

    memcpy(&v, &d, sizeof(uint64_t));
    prd_put64(p, v);
}


static uint16_t
prd_get16(const uint8_t **p)
{
    uint32_t  v;

    v = (uint32_t) (*p)[0] | (uint32_t) (*p)[1] << 8;
    *p += 2;

    return (uint16_t) v;
}


static uint32_t
prd_get32(const uint8_t **p)
{
    uint32_t  v;

    v = prd_get16(p);

    return v | (uint32_t) prd_get16(p) << 16;
}


static uint64_t
prd_get64(const uint8_t **p)
{
    uint64_t  v;

    v = prd_get32(p);

    return v | (uint64_t) prd_get32(p) << 32;
}


static float
prd_get_float(const uint8_t **p)
{
    float     f;
    uint32_t  v;

    v = prd_get32(p);
    memcpy(&f, &v, sizeof(float));

    return f;
}


static double
prd_get_double(const uint8_t **p)
{
    double    d;
    uint64_t  v;

    v = prd_get64(p);
    memcpy(&d, &v, sizeof(double));

    return d;
}


static prd_rc_t
prd_profile_write(prd_profile_t *f, const void *p, size_t len)
{
    prd_checksum_update(&f->sum, p, len);

    return f->write(f->data, p, len);
}


static prd_rc_t
prd_profile_read(prd_profile_t *f, void *p, size_t len)
{
    prd_rc_t  rc;

    rc = f->read(f->data, p, len);

    if (rc == PRD_OK) {
        prd_checksum_update(&f->sum, p, len);
    }

    return rc;
}


static prd_rc_t
prd_profile_read32(prd_profile_t *f, uint32_t *v)
{
    prd_rc_t        rc;
    uint8_t         buf[4];
    const uint8_t  *p = buf;

    rc = prd_profile_read(f, buf, sizeof(buf));

    if (rc == PRD_OK) {
        *v = prd_get32(&p);
    }

    return rc;
}


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


static uint32_t
prd_profile_horizon(const prd_policy_t *policy)
{
    return prd_max(policy->params.horizon_s, PRD_BIN_S);
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

    prd_put32(&p, PRD_PROFILE_VERSION);
    prd_put32(&p, head->zones);
    prd_put64(&p, head->written_s);
    prd_put64(&p, head->started_ms);
    prd_put32(&p, head->pid);
    prd_put32(&p, 0);

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
    head->version = prd_get32(&p);

    if (head->version < PRD_PROFILE_OLD
        || head->version > PRD_PROFILE_VERSION)
    {
        return PRD_EVERSION;
    }

    head->zones = prd_get32(&p);
    head->written_s = prd_get64(&p);
    head->started_ms = prd_get64(&p);
    head->pid = prd_get32(&p);

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
        prd_put_float(p, s->cell[i]);
    }

    prd_put_float(p, s->z);

    /* 0 means never */
    prd_put_double(p, s->at_s > 0 ? prd_max((double) now_s - s->at_s, 0.0)
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

    prd_put_double(p, t->mu);
    prd_put_double(p, t->sigma);
    prd_put_double(p, t->mu_rate);
    prd_put_double(p, t->sigma_rate);
    prd_put_double(p, t->anchor_b);
    prd_put_double(p, t->anchor_r);
    prd_put_double(p, t->anchor_mu);
    prd_put_double(p, t->anchor_s > 0
                      ? prd_max((double) now_s - t->anchor_s, 0.0) : -1);
    prd_put_double(p, t->newcomer_b);
    prd_put_double(p, t->newcomer_r);
    prd_put_double(p, t->cost);

    for (i = 0; i < PRD_AGES; i++) {
        prd_put_double(p, t->closed[i]);
        prd_put_double(p, t->missed[i]);
        prd_put_double(p, t->bounded[i]);
    }

    prd_put_double(p, zone->requests);
    prd_put_double(p, zone->tokens);
    prd_put_double(p, zone->surge_all);
    prd_put_double(p, zone->level);
    prd_put_double(p, zone->ratio);
    prd_put_double(p, zone->pinball);
    prd_put_double(p, zone->pinball_last);
    prd_put_double(p, zone->pinball_n);
    prd_put_double(p, zone->covered);
    prd_put_double(p, zone->last);
    prd_put_double(p, zone->costed != 0);
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
        s->cell[i] = prd_get_float(p);
        finite &= isfinite(s->cell[i]) != 0;
        s->cell[i] = (float) prd_clamp(s->cell[i], 0, 1e5);
        sum += s->cell[i];
    }

    s->votes = sum;
    s->z = prd_get_float(p);
    finite &= isfinite(s->z) != 0;
    s->z = (float) prd_clamp(s->z, -8, 24);

    age = prd_get_double(p);
    finite &= isfinite(age) != 0;
    s->at_s = age < 0 ? 0 : now_s - prd_min(age + gone_s, PRD_PROFILE_DAY_S);

    return finite && sum > 0;
}


static int
prd_profile_get_value(const uint8_t **p, double *v, double least, double most)
{
    *v = prd_get_double(p);

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
    uint64_t              now;
    const prd_learned_t  *l;

    l = &r->learned;

    prd_put64(p, r->tag);
    prd_put32(p, r->level);
    prd_put32(p, r->idle_ms);
    prd_put32(p, r->backlog);
    prd_put32(p, r->seen_ms);
    prd_put32(p, r->refused);
    prd_put32(p, r->hold);
    prd_put32(p, r->parent);

    prd_put_float(p, l->mu);
    prd_put_float(p, l->sigma);
    prd_put_float(p, l->mu_rate);
    prd_put_float(p, l->sigma_rate);
    prd_put_float(p, l->depth);
    prd_put_float(p, l->rate);
    prd_put_float(p, l->cap_depth);
    prd_put_float(p, l->cap_rate);
    prd_put_float(p, l->count);
    prd_put_float(p, l->level);
    prd_put_float(p, l->near);

    prd_put32(p, prd_profile_age(now_s, l->depth_at));
    prd_put32(p, prd_profile_age(now_s, l->rate_at));
    prd_put32(p, prd_profile_bin_age(now_s, now_s / PRD_EPOCH_S, l->epoch,
                                     PRD_EPOCH_S));

    /* a block that ends now belongs to the bin before, see prd_envelope.c */

    horizon = prd_profile_horizon(policy);
    now = (now_s - prd_min(now_s, PRD_BIN_S / 2)) / horizon;

    prd_put32(p, prd_profile_bin_age(now_s, now, l->near_bin, horizon));

    prd_put16(p, l->blocks);
    prd_put16(p, l->hours);
    prd_put16(p, l->counted != 0);
    prd_put16(p, 0);
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
    uint32_t        to;
    uint64_t        at;
    prd_learned_t  *l;

    memset(r, 0, sizeof(prd_record_t));

    l = &r->learned;
    to = view->zone->unit;

    r->tag = prd_get64(p);
    r->level = prd_profile_units(prd_get32(p), unit, to);
    r->idle_ms = prd_profile_idle(prd_get32(p), gone_s);
    r->backlog = prd_profile_units(prd_get32(p), unit, to);
    r->seen_ms = prd_profile_idle(prd_get32(p), gone_s);
    r->refused = prd_get32(p);
    r->hold = prd_profile_units(prd_get32(p), unit, to);
    r->parent = prd_get32(p);

    l->mu = prd_get_float(p);
    l->sigma = prd_get_float(p);
    l->mu_rate = prd_get_float(p);
    l->sigma_rate = prd_get_float(p);
    l->depth = prd_get_float(p);
    l->rate = prd_get_float(p);
    l->cap_depth = prd_get_float(p);
    l->cap_rate = prd_get_float(p);
    l->count = prd_get_float(p);
    l->level = prd_get_float(p);
    l->near = prd_get_float(p);

    at = prd_profile_stamp(base_s, prd_get32(p));
    l->depth_at = (uint32_t) prd_min(at, UINT32_MAX);
    at = prd_profile_stamp(base_s, prd_get32(p));
    l->rate_at = (uint32_t) prd_min(at, UINT32_MAX);
    at = prd_profile_stamp(base_s, prd_get32(p));
    l->epoch = (uint16_t) (at / PRD_EPOCH_S);
    at = prd_profile_stamp(base_s, prd_get32(p));
    l->near_bin = (uint16_t) (at / prd_profile_horizon(policy));

    l->blocks = prd_get16(p);
    l->hours = prd_get16(p);
    l->counted = prd_get16(p) != 0;
    (void) prd_get16(p);

    if (r->tag == PRD_TAG_FREE || prd_tag_is_claim(r->tag)) {
        return PRD_ECORRUPT;
    }

    if (l->blocks == 0 && l->hours == 0) {
        return PRD_DECLINED;
    }

    return prd_profile_sane(l) ? PRD_OK : PRD_ECORRUPT;
}


static prd_rc_t
prd_profile_write_pack(prd_profile_t *f, const void *p, size_t len)
{
    uint8_t   buf[4], *q;
    prd_rc_t  rc;

    q = buf;
    prd_put32(&q, (uint32_t) len);
    rc = prd_profile_write(f, buf, 4);

    return rc == PRD_OK && len ? prd_profile_write(f, p, len) : rc;
}


/* Most words of a young track and of tables that few vote in are 0. */

static prd_rc_t
prd_profile_write_words(prd_profile_t *f, const void *src, size_t len)
{
    size_t       i, n, left;
    uint8_t      buf[PRD_PROFILE_PIECE / 8 + PRD_PROFILE_PIECE * 4], *p;
    uint32_t     word;
    prd_rc_t     rc;
    const char  *s = src;

    p = buf;
    prd_put32(&p, (uint32_t) len);
    rc = prd_profile_write(f, buf, 4);

    for (left = len / 4; left && rc == PRD_OK; left -= n) {
        n = prd_min(left, PRD_PROFILE_PIECE);
        p = buf + (n + 7) / 8;
        memset(buf, 0, (n + 7) / 8);

        for (i = 0; i < n; i++, s += 4) {
            memcpy(&word, s, 4);

            if (word) {
                buf[i / 8] |= (uint8_t) (1 << i % 8);
                memcpy(p, &word, 4);
                p += 4;
            }
        }

        rc = prd_profile_write(f, buf, (size_t) (p - buf));
    }

    return rc;
}


/* Into `len` bytes at dst; PRD_DECLINED: there were more or fewer of them. */

static prd_rc_t
prd_profile_read_words(prd_profile_t *f, void *dst, size_t len)
{
    char      *d = dst;
    size_t     i, n, left, set;
    uint8_t    bits[PRD_PROFILE_PIECE / 8], buf[PRD_PROFILE_PIECE * 4], *p;
    uint32_t   size;
    prd_rc_t   rc;

    rc = prd_profile_read32(f, &size);

    if (rc != PRD_OK) {
        return rc;
    }

    if (size > PRD_PROFILE_WORDS || size % 4) {
        return PRD_ECORRUPT;
    }

    if (size != len) {
        d = NULL;
    }

    for (left = size / 4; left; left -= n) {
        n = prd_min(left, PRD_PROFILE_PIECE);
        rc = prd_profile_read(f, bits, (n + 7) / 8);

        if (rc != PRD_OK) {
            return rc;
        }

        if (n % 8) {
            bits[n / 8] &= (uint8_t) ((1u << n % 8) - 1);
        }

        for (i = 0, set = 0; i < (n + 7) / 8; i++) {
            set += (size_t) __builtin_popcount(bits[i]);
        }

        rc = prd_profile_read(f, buf, set * 4);

        if (rc != PRD_OK) {
            return rc;
        }

        if (d == NULL) {
            continue;
        }

        memset(d, 0, n * 4);
        p = buf;

        for (i = 0; i < (n + 7) / 8; i++) {
            for (set = bits[i]; set; set &= set - 1) {
                memcpy(d + 4 * (8 * i + (size_t) __builtin_ctzl(set)), p, 4);
                p += 4;
            }
        }

        d += n * 4;
    }

    return size == len ? PRD_OK : PRD_DECLINED;
}


static prd_rc_t
prd_profile_write_open(prd_profile_t *f, const prd_outlook_t *o)
{
    uint8_t   buf[PRD_PROFILE_OPEN], *p;
    uint32_t  i;

    p = buf;

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        prd_put64(&p, (uint64_t) o->bin[i]);
        prd_put_double(&p, o->sum[i]);
    }

    prd_put64(&p, (uint64_t) o->group_bin);

    for (i = 0; i < PRD_GROUPS; i++) {
        prd_put_double(&p, o->group_sum[i]);
    }

    return prd_profile_write(f, buf, sizeof(buf));
}


static double
prd_profile_tokens(double v)
{
    return v > 0 ? prd_min(v, PRD_PROFILE_SUM) : 0;
}


/* o NULL: skips */

static prd_rc_t
prd_profile_read_open(prd_profile_t *f, prd_outlook_t *o)
{
    double          sum[PRD_OUTLOOK_SPANS + PRD_GROUPS];
    uint8_t         buf[PRD_PROFILE_OPEN];
    uint32_t        i;
    uint64_t        bin[PRD_OUTLOOK_SPANS + 1];
    prd_rc_t        rc;
    const uint8_t  *p;

    rc = prd_profile_read(f, buf, sizeof(buf));

    if (rc != PRD_OK || o == NULL) {
        return rc;
    }

    p = buf;

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        bin[i] = prd_get64(&p);
        sum[i] = prd_profile_tokens(prd_get_double(&p));
    }

    bin[PRD_OUTLOOK_SPANS] = prd_get64(&p);

    for (i = 0; i < PRD_GROUPS; i++) {
        sum[PRD_OUTLOOK_SPANS + i] = prd_profile_tokens(prd_get_double(&p));
    }

    for (i = 0; i <= PRD_OUTLOOK_SPANS; i++) {
        if (bin[i] > UINT32_MAX) {
            return PRD_ECORRUPT;
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        o->bin[i] = (int64_t) bin[i];
        o->sum[i] = sum[i];
    }

    o->group_bin = (int64_t) bin[PRD_OUTLOOK_SPANS];

    for (i = 0; i < PRD_GROUPS; i++) {
        o->group_sum[i] = o->groups.group[i].id
                          ? (float) sum[PRD_OUTLOOK_SPANS + i] : 0;
    }

    return PRD_OK;
}


/* Sizes of requests, those of groups, tokens of one, forecasts of bytes. */

static prd_rc_t
prd_profile_write_sizes(prd_profile_t *f, const prd_outlook_t *o)
{
    uint8_t   buf[PRD_PROFILE_SIZES], *p;
    uint32_t  i;

    p = buf;

    for (i = 0; i < PRD_SIZES; i++) {
        prd_put_float(&p, o->sizes.n[i]);
        prd_put_float(&p, o->sizes.bytes[i]);
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        prd_put_float(&p, o->group_n[i]);
        prd_put_float(&p, o->group_bytes[i]);
    }

    prd_put_double(&p, o->cost);

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        prd_put_double(&p, o->bytes[i]);
        prd_put_float(&p, o->bytes_covered[i]);
        prd_put32(&p, o->bytes_scored[i]);
    }

    return prd_profile_write(f, buf, sizeof(buf));
}


/* Sizes that are not sound are seen anew, all of them. */

static void
prd_profile_settle_sizes(prd_outlook_t *o)
{
    int       fine;
    uint32_t  i;

    fine = prd_sizes_check(&o->sizes) == PRD_OK
           && o->cost >= 0 && o->cost <= PRD_PROFILE_TOKENS;

    for (i = 0; i < PRD_GROUPS; i++) {
        fine &= o->group_n[i] >= 0 && o->group_n[i] <= 1e12f
                && o->group_bytes[i] >= 0 && o->group_bytes[i] <= 1e24f;

        if (o->groups.group[i].id == 0) {
            o->group_n[i] = o->group_bytes[i] = 0;
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        fine &= o->bytes_covered[i] >= 0 && o->bytes_covered[i] <= 1
                && o->bytes_scored[i] <= INT32_MAX;
        o->bytes[i] = prd_profile_tokens(o->bytes[i]);
        o->bytes_upper[i] = 0;
    }

    if (!fine) {
        memset(&o->sizes, 0, sizeof(prd_sizes_t));
        memset(o->group_n, 0, sizeof(o->group_n));
        memset(o->group_bytes, 0, sizeof(o->group_bytes));
        memset(o->bytes_covered, 0, sizeof(o->bytes_covered));
        memset(o->bytes_scored, 0, sizeof(o->bytes_scored));
        o->cost = 0;
    }
}


/* o NULL: skips */

static prd_rc_t
prd_profile_read_sizes(prd_profile_t *f, prd_outlook_t *o)
{
    uint8_t         buf[PRD_PROFILE_SIZES];
    uint32_t        i;
    prd_rc_t        rc;
    const uint8_t  *p;

    rc = prd_profile_read(f, buf, sizeof(buf));

    if (rc != PRD_OK || o == NULL) {
        return rc;
    }

    p = buf;

    for (i = 0; i < PRD_SIZES; i++) {
        o->sizes.n[i] = prd_get_float(&p);
        o->sizes.bytes[i] = prd_get_float(&p);
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        o->group_n[i] = prd_get_float(&p);
        o->group_bytes[i] = prd_get_float(&p);
    }

    o->cost = prd_get_double(&p);

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        o->bytes[i] = prd_get_double(&p);
        o->bytes_covered[i] = prd_get_float(&p);
        o->bytes_scored[i] = prd_get32(&p);
    }

    prd_profile_settle_sizes(o);

    return PRD_OK;
}


/* Pooled tables, and the tracks of those who have one. */

static prd_rc_t
prd_profile_write_tracks(prd_profile_t *f, const prd_view_t *view)
{
    uint8_t              buf[PRD_PROFILE_TRACK], *p;
    uint32_t             i, k, used;
    prd_rc_t             rc;
    prd_tracked_t        c;
    prd_outlook_t       *o;
    prd_outlook_track_t  t;

    o = view->outlook.outlook;

    rc = prd_profile_write_words(f, &o->tracks, sizeof(prd_tracks_t));

    used = atomic_load_explicit(&o->used, memory_order_relaxed);

    for (i = 0; i < used && rc == PRD_OK; i++) {

        if (i % PRD_PROFILE_ALIVE == 0) {
            rc = f->write(f->data, "", 0);
        }

        if (view->outlook.client[i].track == 0
            || prd_outlook_copy(&view->outlook, i, &c) != PRD_OK
            || prd_outlook_copy_bins(&view->outlook, &c, &t) != PRD_OK
            || prd_track_check(&t.track, sizeof(prd_track_t)) != PRD_OK)
        {
            continue;
        }

        p = buf;
        prd_put64(&p, c.tag);

        for (k = 0; k < PRD_TRACK_CLASSES; k++) {
            prd_put32(&p, t.bin[k]);
            prd_put_float(&p, t.sum[k]);
        }

        rc = rc == PRD_OK ? prd_profile_write(f, buf, sizeof(buf)) : rc;
        rc = rc == PRD_OK ? prd_profile_write_words(f, &t.track,
                                                    sizeof(prd_track_t))
                          : rc;
    }

    memset(buf, 0, 8);

    return rc == PRD_OK ? prd_profile_write(f, buf, 8) : rc;
}


/* To whom the table says it belongs. */

static void
prd_profile_give_track(prd_view_t *view, uint64_t tag,
    const prd_outlook_track_t *t, const prd_policy_t *policy)
{
    uint32_t  slot;

    slot = prd_table_find(&view->table, tag);

    if (slot != PRD_NO_SLOT) {
        (void) prd_outlook_give_track(&view->outlook, t, slot,
            (uint16_t) prd_env_generation(atomic_load_explicit(
                &view->table.entries[slot].envelope, memory_order_relaxed)),
            (uint32_t) prd_profile_horizon(policy));
    }
}


/* Tables of other bins, too, are of no use. */

static void
prd_profile_settle_tables(prd_tracks_t *tracks)
{
    if (prd_tracks_check(tracks, sizeof(prd_tracks_t)) != PRD_OK
        || memcmp(tracks->bin_s, prd_outlook_span_s, sizeof(tracks->bin_s))
           != 0)
    {
        (void) prd_tracks_init(tracks, prd_outlook_span_s);
    }

    tracks->whole = 1;

    /* of the local time then: until the first bin is closed */

    if (tracks->offset_s > 86400 || tracks->offset_s < -86400) {
        tracks->offset_s = 0;
    }
}


/*
 * view NULL: skips.  Tables and tracks that are not sound, or of another
 * layout, begin anew.
 */

static prd_rc_t
prd_profile_read_tracks(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, int64_t base_s, int64_t shift_s)
{
    uint8_t              buf[PRD_PROFILE_TRACK];
    uint32_t             k;
    uint64_t             tag;
    prd_rc_t             rc;
    prd_tracks_t        *tracks;
    const uint8_t       *p;
    prd_outlook_track_t  t;

    tracks = view ? &view->outlook.outlook->tracks : NULL;

    rc = prd_profile_read_words(f, tracks, tracks ? sizeof(prd_tracks_t) : 0);

    if (tracks) {
        prd_profile_settle_tables(tracks);
    }

    if (rc != PRD_OK && rc != PRD_DECLINED) {
        return rc;
    }

    for ( ;; ) {
        rc = prd_profile_read(f, buf, 8);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;
        tag = prd_get64(&p);

        if (tag == 0) {
            return PRD_OK;
        }

        rc = prd_profile_read(f, buf, sizeof(buf) - 8);

        if (rc != PRD_OK) {
            return rc;
        }

        memset(&t, 0, sizeof(prd_outlook_track_t));
        p = buf;

        for (k = 0; k < PRD_TRACK_CLASSES; k++) {
            t.bin[k] = prd_get32(&p);
            t.sum[k] = prd_get_float(&p);
        }

        rc = prd_profile_read_words(f, &t.track, sizeof(prd_track_t));

        if (rc != PRD_OK && rc != PRD_DECLINED) {
            return rc;
        }

        if (view && rc == PRD_OK
            && prd_track_check(&t.track, sizeof(prd_track_t)) == PRD_OK)
        {
            prd_outlook_shift_track(&t, base_s, shift_s);
            prd_profile_give_track(view, tag, &t, policy);
        }
    }
}


/* Curves are as they are in memory: another layout of them is not read. */

static prd_rc_t
prd_profile_write_outlook(prd_profile_t *f, const prd_view_t *view,
    uint64_t now_s)
{
    size_t          len;
    uint8_t         buf[PRD_PROFILE_PACK], *p;
    uint32_t        i, k, n, used;
    prd_rc_t        rc;
    prd_tracked_t  *c;
    prd_outlook_t  *o;

    o = view->outlook.outlook;

    p = buf;
    prd_put64(&p, now_s);
    rc = prd_profile_write(f, buf, 8);

    if (rc != PRD_OK) {
        return rc;
    }

    len = sizeof(buf);
    rc = prd_group_pack(&o->groups, buf, &len);
    rc = rc == PRD_OK ? prd_profile_write_pack(f, buf, len) : rc;

    for (i = 0; i < PRD_GROUPS && rc == PRD_OK; i++) {
        p = buf;
        prd_put32(&p, o->chain_id[i]);
        rc = prd_profile_write(f, buf, 4);

        if (rc == PRD_OK && o->chain_id[i]) {
            len = sizeof(buf);
            rc = prd_markov_pack(&o->chain[i], buf, &len);
            rc = rc == PRD_OK ? prd_profile_write_pack(f, buf, len) : rc;

            p = buf;

            for (k = 0; k < 24; k++) {
                prd_put_float(&p, o->typical[i][k]);
            }

            rc = rc == PRD_OK ? prd_profile_write(f, buf, 96) : rc;
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS && rc == PRD_OK; i++) {
        rc = prd_profile_write_pack(f, &o->zone[i],
                          o->zone[i].bins ? sizeof(prd_aggregate_t) : 0);
    }

    for (i = 0; i < PRD_GROUPS && rc == PRD_OK; i++) {
        rc = prd_profile_write_pack(f, &o->group[i],
                          o->group[i].bins ? sizeof(prd_aggregate_t) : 0);
    }

    rc = rc == PRD_OK ? prd_profile_write_open(f, o) : rc;
    rc = rc == PRD_OK ? prd_profile_write_sizes(f, o) : rc;

    used = atomic_load_explicit(&o->used, memory_order_relaxed);
    p = buf + 4;
    n = 0;

    for (i = 0; i < used && rc == PRD_OK; i++) {
        c = &view->outlook.client[i];

        if (i % PRD_PROFILE_ALIVE == 0) {
            rc = f->write(f->data, "", 0);
        }

        if (c->tag == 0) {
            continue;
        }

        prd_outlook_pack(c, p);
        p += PRD_OUTLOOK_PACKED;

        if (rc == PRD_OK && ++n == PRD_PROFILE_TRACKED) {
            uint8_t  *q = buf;

            prd_put32(&q, n);
            rc = prd_profile_write(f, buf, (size_t) (p - buf));
            p = buf + 4;
            n = 0;
        }
    }

    if (rc == PRD_OK && n) {
        uint8_t  *q = buf;

        prd_put32(&q, n);
        rc = prd_profile_write(f, buf, (size_t) (p - buf));
    }

    memset(buf, 0, 4);

    rc = rc == PRD_OK ? prd_profile_write(f, buf, 4) : rc;

    return rc == PRD_OK ? prd_profile_write_tracks(f, view) : rc;
}


/* len u32 of at most `most`, or PRD_ECORRUPT */

static prd_rc_t
prd_profile_read_pack(prd_profile_t *f, void *p, size_t most, size_t *len)
{
    uint32_t  n;
    prd_rc_t  rc;

    rc = prd_profile_read32(f, &n);

    if (rc != PRD_OK) {
        return rc;
    }

    if (n > most) {
        return PRD_ECORRUPT;
    }

    *len = n;

    return n ? prd_profile_read(f, p, n) : PRD_OK;
}


/* A curve of another layout, or one that is not sane, begins anew. */

static prd_rc_t
prd_profile_read_curve(prd_profile_t *f, prd_aggregate_t *a, uint32_t bin_s)
{
    char      buf[4096], *p;
    size_t    n;
    uint32_t  len;
    prd_rc_t  rc;

    rc = prd_profile_read32(f, &len);

    if (rc != PRD_OK || len == 0) {
        return rc;
    }

    if (len > PRD_PROFILE_CURVE) {
        return PRD_ECORRUPT;
    }

    if (len != sizeof(prd_aggregate_t)) {
        a = NULL;
    }

    for (p = (char *) a; len; len -= (uint32_t) n) {
        n = prd_min(len, sizeof(buf));
        rc = prd_profile_read(f, a ? p : buf, n);

        if (rc != PRD_OK) {
            break;
        }

        p = a ? p + n : p;
    }

    if (a && (rc != PRD_OK || prd_aggregate_check(a, bin_s) != PRD_OK)) {
        (void) prd_aggregate_init(a, bin_s);
    }

    return rc;
}


/* view NULL: skips.  base_s: our time when the file was written. */

static prd_rc_t
prd_profile_read_outlook(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint64_t base_s)
{
    float           typical;
    size_t          len;
    int64_t         shift_s;
    uint8_t         buf[PRD_PROFILE_PACK];
    uint32_t        i, k, n, id, slot;
    uint64_t        then_s;
    prd_rc_t        rc;
    prd_tracked_t   c;
    prd_outlook_t  *o;
    const uint8_t  *p;

    o = view ? view->outlook.outlook : NULL;
    shift_s = 0;

    if (f->version > PRD_PROFILE_OLD) {
        rc = prd_profile_read(f, buf, 8);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;
        then_s = prd_get64(&p);
        shift_s = (int64_t) base_s
                  - (int64_t) prd_min(then_s, INT64_MAX / 2);
    }

    rc = prd_profile_read_pack(f, buf, sizeof(buf), &len);

    if (rc != PRD_OK) {
        return rc;
    }

    if (o && prd_group_unpack(&o->groups, buf, len) != PRD_OK) {
        memset(&o->groups, 0, sizeof(prd_groups_t));
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        rc = prd_profile_read32(f, &id);

        if (rc == PRD_OK && id == 0) {
            continue;
        }

        rc = rc == PRD_OK ? prd_profile_read_pack(f, buf, sizeof(buf), &len)
                          : rc;

        if (rc != PRD_OK) {
            return rc;
        }

        if (o && o->groups.group[i].id == id) {
            o->chain_id[i] = id;
            (void) prd_markov_unpack(&o->chain[i], buf, len);
        }

        rc = prd_profile_read(f, buf, 96);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;

        for (k = 0; k < 24; k++) {
            typical = prd_get_float(&p);

            if (o && o->groups.group[i].id == id
                && typical >= 0 && typical <= PRD_PROFILE_TOKENS)
            {
                o->typical[i][k] = typical;
            }
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        rc = prd_profile_read_curve(f, o ? &o->zone[i] : NULL,
                                    prd_outlook_span_s[i]);
        if (rc != PRD_OK) {
            return rc;
        }
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        rc = prd_profile_read_curve(f, o && o->groups.group[i].id
                                       ? &o->group[i] : NULL,
                                    prd_outlook_span_s[1]);
        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (f->version > PRD_PROFILE_OLD) {
        rc = prd_profile_read_open(f, o);
        rc = rc == PRD_OK ? prd_profile_read_sizes(f, o) : rc;

        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (o) {
        o->loads++;
        prd_outlook_resume(&view->outlook, now_s);
    }

    for ( ;; ) {
        rc = prd_profile_read32(f, &n);

        if (rc != PRD_OK) {
            return rc;
        }

        if (n == 0) {
            break;
        }

        if (n > PRD_PROFILE_TRACKED) {
            return PRD_ECORRUPT;
        }

        rc = prd_profile_read(f, buf, (size_t) n * PRD_OUTLOOK_PACKED);

        if (rc != PRD_OK) {
            return rc;
        }

        for (i = 0; o && i < n; i++) {

            if (prd_outlook_unpack(&c, buf + i * PRD_OUTLOOK_PACKED)
                != PRD_OK)
            {
                return PRD_ECORRUPT;
            }

            slot = prd_table_find(&view->table, c.tag);

            if (slot != PRD_NO_SLOT) {
                prd_outlook_shift(&c, shift_s);
                c.refused = atomic_load_explicit(
                                &view->table.entries[slot].refused,
                                memory_order_relaxed);
                (void) prd_outlook_give(&view->outlook, &c, slot,
                    (uint16_t) prd_env_generation(atomic_load_explicit(
                        &view->table.entries[slot].envelope,
                        memory_order_relaxed)));
            }
        }
    }

    return f->version > PRD_PROFILE_OLD
           ? prd_profile_read_tracks(f, view, policy, (int64_t) base_s,
                                     shift_s)
           : PRD_OK;
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
    prd_put16(&p, (uint16_t) name.len);
    memcpy(p, name.data, name.len);
    p += name.len;
    prd_put16(&p, (uint16_t) key.len);

    rc = prd_profile_write(f, buf, (size_t) (p - buf));

    if (rc == PRD_OK) {
        rc = prd_profile_write(f, key.data, key.len);
    }

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf;
    prd_put64(&p, zone->secret.k0);
    prd_put64(&p, zone->secret.k1);
    prd_put64(&p, now_s > zone->learn_since_s ? now_s - zone->learn_since_s
                                              : 0);
    prd_put32(&p, zone->unit);
    prd_put32(&p, PRD_PROFILE_POOLED);

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
            prd_put32(&p, i);
            prd_put32(&p, hash);
            prd_put_double(&p, zone->surge_slow[i]);
            n++;
        }
    }

    {
        uint8_t  *q = buf;

        prd_put32(&q, n);
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

                prd_put32(&q, n);
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

        prd_put32(&q, n);
        prd_put32(&p, 0);

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

    prd_put64(&p, prd_checksum_final(&f->sum));

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

    len[0] = prd_get16(&p);

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

    len[1] = prd_get16(&p);

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
    secret->k0 = prd_get64(&p);
    secret->k1 = prd_get64(&p);

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
    learned_s = prd_get64(&p);
    unit = prd_get32(&p);

    if ((unit != 1 && unit != PRD_MILLI)
        || prd_get32(&p) != PRD_PROFILE_POOLED)
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
        index = prd_get32(&p);
        hash = prd_get32(&p);
        slow = prd_get_double(&p);

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

    if (prd_get64(&p) != prd_checksum_final(&f->sum)) {
        return PRD_ECORRUPT;
    }

    return f->read(f->data, &more, 1) == PRD_OK ? PRD_ECORRUPT : PRD_OK;
}


/* Of a zone that its thread may be writing: what is not sane begins anew. */

void
prd_profile_copy_outlook(const prd_view_t *from, prd_view_t *to,
    const prd_policy_t *policy, uint64_t now_s)
{
    size_t                len;
    uint8_t               buf[PRD_PROFILE_PACK];
    uint32_t              i, used, slot;
    prd_tracked_t         c, sane;
    prd_outlook_t        *o, *was;
    prd_outlook_track_t   t;

    o = to->outlook.outlook;
    was = from->outlook.outlook;

    len = sizeof(buf);

    if (prd_group_pack(&was->groups, buf, &len) == PRD_OK) {
        (void) prd_group_unpack(&o->groups, buf, len);
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        len = sizeof(buf);

        if (o->groups.group[i].id == 0
            || was->chain_id[i] != o->groups.group[i].id
            || prd_markov_pack(&was->chain[i], buf, &len) != PRD_OK
            || prd_markov_unpack(&o->chain[i], buf, len) != PRD_OK)
        {
            continue;
        }

        o->chain_id[i] = was->chain_id[i];
        memcpy(o->typical[i], was->typical[i], sizeof(o->typical[i]));
        memcpy(&o->group[i], &was->group[i], sizeof(prd_aggregate_t));

        if (prd_aggregate_check(&o->group[i], prd_outlook_span_s[1])
            != PRD_OK)
        {
            (void) prd_aggregate_init(&o->group[i], prd_outlook_span_s[1]);
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        memcpy(&o->zone[i], &was->zone[i], sizeof(prd_aggregate_t));

        if (prd_aggregate_check(&o->zone[i], prd_outlook_span_s[i])
            != PRD_OK)
        {
            (void) prd_aggregate_init(&o->zone[i], prd_outlook_span_s[i]);
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        o->bin[i] = was->bin[i];
        o->sum[i] = prd_profile_tokens(was->sum[i]);
    }

    o->group_bin = was->group_bin;

    for (i = 0; i < PRD_GROUPS; i++) {
        if (o->groups.group[i].id && o->chain_id[i] == was->chain_id[i]) {
            o->group_sum[i] = (float) prd_profile_tokens(was->group_sum[i]);
            o->group_n[i] = was->group_n[i];
            o->group_bytes[i] = was->group_bytes[i];
        }
    }

    o->sizes = was->sizes;
    o->cost = was->cost;
    memcpy(o->bytes, was->bytes, sizeof(o->bytes));
    memcpy(o->bytes_covered, was->bytes_covered, sizeof(o->bytes_covered));
    memcpy(o->bytes_scored, was->bytes_scored, sizeof(o->bytes_scored));
    prd_profile_settle_sizes(o);

    for (i = 0; i < PRD_PROFILE_TRIES; i++) {
        memcpy(&o->tracks, &was->tracks, sizeof(prd_tracks_t));

        if (prd_tracks_check(&o->tracks, sizeof(prd_tracks_t)) == PRD_OK) {
            break;
        }
    }

    prd_profile_settle_tables(&o->tracks);

    o->loads = was->loads + 1;
    prd_outlook_resume(&to->outlook, now_s);

    used = atomic_load_explicit(&was->used, memory_order_relaxed);
    used = prd_min(used, from->outlook.clients);

    for (i = 0; i < used; i++) {

        if (prd_outlook_copy(&from->outlook, i, &c) != PRD_OK) {
            continue;
        }

        slot = prd_table_find(&to->table, c.tag);

        if (slot == PRD_NO_SLOT) {
            continue;
        }

        prd_outlook_pack(&c, buf);

        if (prd_outlook_unpack(&sane, buf) == PRD_OK) {
            sane.refused = atomic_load_explicit(
                               &to->table.entries[slot].refused,
                               memory_order_relaxed);
            (void) prd_outlook_give(&to->outlook, &sane, slot,
                (uint16_t) prd_env_generation(atomic_load_explicit(
                    &to->table.entries[slot].envelope,
                    memory_order_relaxed)));

            if (prd_outlook_copy_bins(&from->outlook, &c, &t) == PRD_OK
                && prd_track_check(&t.track, sizeof(prd_track_t)) == PRD_OK)
            {
                prd_profile_give_track(to, c.tag, &t, policy);
            }
        }
    }
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
