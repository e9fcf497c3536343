
/*
 * Clients' bins, closed one by one, and the forecasts asked for.  See
 * prd_experts.h.
 *
 * A bin is closed in this order: forecasts that were waiting for it and that
 * of the next bin are made again from what was known then, and scored; those
 * of the far horizons are put down to wait, one each at a time; then the
 * state moves on.  A forecast is thus never stored but worked out: the ring
 * of past bins, cut where it ended then, gives all that is the client's own.
 */


#include "prd_experts_inner.h"


#define TRACK_YOUNG      12         /* bins */
#define TRACK_EVERY_60   8          /* of bins that short one is scored */
#define TRACK_EVERY_300  3


static const char  *prd_track_names[PRD_EXPERTS + 1] = {
    "last", "short", "long", "holt", "tsb", "hour", "hour-level",
    "steps", "recent", "period", "day",
    "extra-1", "extra-2", ""
};


unsigned
prd_track_ahead(unsigned horizon)
{
    return horizon < PRD_TRACK_HORIZONS ? prd_track_aheads[horizon] : 0;
}


const char *
prd_track_expert(unsigned expert)
{
    return prd_track_names[prd_min(expert, PRD_EXPERTS)];
}


/* Classes: levels by factors of two, roughly, from a quarter of a request. */

static unsigned
prd_track_level(float m)
{
    int32_t  e;

    e = (int32_t) (prd_track_bits(1 + 4 * m) >> 23) - 127;

    return (unsigned) prd_min(e, PRD_TRACK_LEVELS - 1);
}


static unsigned
prd_track_idle(unsigned idle)
{
    return idle == 0 ? 0 : idle == 1 ? 1 : idle < 4 ? 2 : idle < 12 ? 3
           : idle < 48 ? 4 : 5;
}


static inline unsigned
prd_track_state(float m, unsigned coarse, unsigned young)
{
    unsigned  level;

    level = prd_track_level(m);

    return young ? PRD_TRACK_YOUNG + level / 3 * PRD_TRACK_IDLES + coarse
                 : level * PRD_TRACK_IDLES + coarse;
}


/* The hour of the day: its share, from the bins of the class that learns. */

static unsigned
prd_track_hour(const prd_tracks_t *p, unsigned class, uint32_t bin,
    unsigned *weekend)
{
    int64_t   s;
    uint64_t  hour, day;

    s = (int64_t) bin * p->bin_s[class] + p->offset_s;
    hour = (uint64_t) prd_max(s, 0) / 3600;
    day = hour / 24;
    *weekend = (day + 3) % 7 >= 5;               /* day 0 was a Thursday */

    return (unsigned) (hour % 24);
}


static float
prd_track_share(const prd_track_t *t, const prd_tracks_t *p, unsigned class,
    uint32_t bin)
{
    float     n, per, r, mean;
    unsigned  k, w;

    mean = t->bins[p->profile].mean;

    if (!(mean > 0)) {
        return 1;
    }

    k = prd_track_hour(p, class, bin, &w);

    if (t->days[w][k] == 0) {
        w = !w;
    }

    per = prd_max(3600.0f / (float) p->bin_s[p->profile], 1.0f);
    n = (float) t->days[w][k] / per;
    r = (prd_track_unpack(t->hour[w][k]) * n + mean) / ((n + 1) * mean);

    r = prd_max(r, 0.05f);

    return prd_min(r, 24.0f);
}


static void
prd_track_share_learn(prd_track_t *t, const prd_tracks_t *p, unsigned class,
    uint32_t bin, float y)
{
    float     h, n, per;
    unsigned  k, w;

    per = prd_max(3600.0f / (float) p->bin_s[class], 1.0f);
    k = prd_track_hour(p, class, bin, &w);

    if (t->days[w][k] < 255) {
        t->days[w][k]++;
    }

    n = prd_min((float) t->days[w][k], 4 * per);
    h = prd_track_unpack(t->hour[w][k]);
    t->hour[w][k] = prd_track_pack(h + (y - h) / n);
}


/* What the client's own record says, `back` bins ago. */

static void
prd_track_view_past(const prd_track_bins_t *b, unsigned back,
    prd_track_view_t *v)
{
    unsigned  i;

    v->n = b->filled > back ? b->filled - back : 0;
    v->past = &v->ring[(b->head + PRD_TRACK_RING - 1 - back) % PRD_TRACK_RING
                       + PRD_TRACK_RING];

    for (i = 0; i < PRD_TRACK_RING; i++) {
        v->ring[i] = v->ring[PRD_TRACK_RING + i] = prd_track_unpack(b->ring[i]);
    }
}


/* What it knows of now; `share` is that of the hour of the horizon's bin. */

static void
prd_track_view_now(const prd_track_t *t, unsigned class, unsigned horizon,
    float share, prd_track_view_t *v)
{
    float                    damp;
    unsigned                 i;
    const prd_track_bins_t  *b;

    static const float  trend[PRD_TRACK_HORIZONS] = {
        0.9f, 4.217f, 6.458f       /* sums of powers of 0.9 */
    };

    b = &t->bins[class];
    damp = b->holt + trend[horizon] * b->trend;

    v->at[PRD_EXPERT_LAST] = b->last;
    v->at[PRD_EXPERT_SHORT] = b->level_short;
    v->at[PRD_EXPERT_LONG] = b->level_long;
    v->at[PRD_EXPERT_HOLT] = prd_max(damp, 0);
    v->at[PRD_EXPERT_TSB] = (float) b->active / 65535 * b->size;
    v->at[PRD_EXPERT_HOUR] = b->mean * share;
    v->at[PRD_EXPERT_HOUR_LEVEL] = b->level_hour * share;

    v->at[PRD_EXPERT_LOCATIONS] = 0;

    for (i = 0; i < TRACK_EIGHT; i++) {
        v->at[i] = prd_min(v->at[i], PRD_TRACK_Y_MAX);
    }

    v->unit = b->unit[b->idle > 0] + 0.05f;
    v->young = b->age < TRACK_YOUNG;
    v->coarse = prd_track_idle(b->idle);

    /*
     * Clients whose errors are as large have like weights and widths.  But
     * who grows steadily errs little, and it is the next bin that raises a
     * rate: there, who is as large as the client is what counts.
     */

    v->state = prd_track_state(horizon ? v->unit * sqrtf(b->level_short + 1)
                                       : b->level_long,
                               v->coarse, v->young);
}


/* Puts down a far forecast, and makes it anew when its bin has come. */

static void
prd_track_wait_put(prd_track_wait_t *w, const prd_track_view_t *v,
    const prd_track_extra_t *extra, unsigned extras, unsigned horizon)
{
    unsigned  i, k;

    for (i = 1; i < PRD_EXPERT_LOCATIONS; i++) {
        w->at[i - 1] = prd_track_pack(v->at[i]);
    }

    w->unit = prd_track_pack(v->unit);
    w->state = (uint8_t) v->state;
    w->due = prd_track_aheads[horizon];

    for (i = 0; i < PRD_TRACK_EXTRAS; i++) {
        for (k = 0; k < PRD_QUANTILES; k++) {
            w->extra[i][k] = TRACK_NOTHING;

            if (i < extras && extra[i].q[horizon][k] >= 0) {
                w->extra[i][k] = prd_track_pack(extra[i].q[horizon][k]);
            }
        }
    }
}


static void
prd_track_wait_view(const prd_track_bins_t *b, const prd_track_wait_t *w,
    unsigned horizon, prd_track_view_t *v, prd_track_made_t *m)
{
    float     q[PRD_QUANTILES];
    unsigned  i, k;

    prd_track_view_past(b, prd_track_aheads[horizon] - 1, v);

    v->at[PRD_EXPERT_LAST] = v->n ? v->past[0] : 0;

    for (i = 1; i < PRD_EXPERT_LOCATIONS; i++) {
        v->at[i] = prd_track_unpack(w->at[i - 1]);
    }

    v->at[PRD_EXPERT_LOCATIONS] = 0;
    v->unit = prd_track_unpack(w->unit);
    v->state = w->state;
    v->coarse = prd_track_state_idle(w->state);
    v->young = w->state >= PRD_TRACK_YOUNG;

    for (i = 0; i < PRD_TRACK_EXTRAS; i++) {
        for (k = 0; k < PRD_QUANTILES; k++) {
            q[k] = w->extra[i][k] == TRACK_NOTHING
                   ? NAN : prd_track_unpack(w->extra[i][k]);
        }

        prd_track_make_extra(m, i, q);
    }
}


/* The first bin of a client. */

static void
prd_track_begin(prd_track_bins_t *b, uint32_t bin, float y)
{
    unsigned  i;

    memset(b, 0, sizeof(prd_track_bins_t));

    b->bin = bin;
    b->level_short = y;
    b->level_long = y;
    b->holt = y;
    b->size = y;
    b->level_hour = y;
    b->mean = y;
    b->scale = prd_max(0.3f, 0.5f * sqrtf(y));
    b->unit[0] = 1 + 0.25f * sqrtf(y);
    b->unit[1] = b->unit[0];
    b->active = y > 0 ? 65535 : 0;
    b->random = (uint8_t) bin;

    for (i = 0; i < PRD_TRACK_HORIZONS; i++) {
        b->covered[i] = 242;
    }
}


static void
prd_track_remember(prd_track_bins_t *b, float y)
{
    b->ring[b->head] = prd_track_pack(y);
    b->head = (uint8_t) (b->head + 1u < PRD_TRACK_RING ? b->head + 1u : 0);
    b->filled = (uint8_t) prd_min(b->filled + 1, PRD_TRACK_RING);
    b->last = y;

    if (b->age < UINT16_MAX) {
        b->age++;
    }

    if (y > 0) {
        b->idle = 0;

    } else if (b->idle < UINT16_MAX) {
        b->idle++;
    }
}


static void
prd_track_learn(prd_track_t *t, const prd_tracks_t *p, unsigned class,
    float y, float share)
{
    float              a, e, n, was, chance;
    prd_track_bins_t  *b;

    b = &t->bins[class];
    n = (float) b->age;
    e = y - b->level_short;

    a = prd_max(0.03f, 1 / (n + 2));
    b->unit[b->idle > 0] += a * (fabsf(e) / sqrtf(b->level_short + 1)
                                 - b->unit[b->idle > 0]);

    b->scale += prd_max(0.02f, 0.5f / (n + 1)) * (fabsf(e) - b->scale);
    b->scale = prd_max(b->scale, TRACK_SCALE_MIN);

    b->level_short += 0.35f * e;
    b->level_long += prd_max(0.04f, 1 / (n + 1)) * (y - b->level_long);

    was = b->holt;
    b->trend *= 0.9f;
    b->holt += b->trend + 0.4f * (y - b->holt - b->trend);
    b->trend += 0.1f * (b->holt - was - b->trend);
    b->holt = prd_max(b->holt, 0);

    chance = (float) b->active + 0.1f * ((y > 0 ? 65535 : 0)
                                         - (float) b->active);
    b->active = (uint16_t) chance;

    if (y > 0) {
        b->size += 0.1f * (y - b->size);
    }

    b->level_hour += 0.3f * (y / share - b->level_hour);

    n = prd_min(n + 1, 3 * 86400.0f / (float) p->bin_s[class]);
    b->mean += (y - b->mean) / n;
}


/* `n` further empty bins, of which no forecast is scored. */

static void
prd_track_skip(prd_track_t *t, const prd_tracks_t *p, unsigned class,
    uint32_t n)
{
    float              g, day, by;
    unsigned           i, k;
    prd_track_bins_t  *b;

    b = &t->bins[class];
    g = (float) n;
    day = 86400.0f / (float) p->bin_s[class];

    b->level_short *= powf(0.65f, g);
    b->level_long *= prd_min(powf(0.96f, g), (float) b->age
                                             / ((float) b->age + g));
    b->holt *= powf(0.6f, g);
    b->trend *= powf(0.9f, g);
    b->active = (uint16_t) ((float) b->active * powf(0.9f, g));
    b->level_hour *= powf(0.7f, g);
    b->unit[1] *= powf(0.97f, g);
    b->scale = prd_max(b->scale * powf(0.98f, g), TRACK_SCALE_MIN);
    b->mean *= expf(-g / prd_min((float) b->age + 1, 3 * day));

    if (class == p->profile) {
        by = powf(0.75f, g / day);

        for (i = 0; i < 2; i++) {
            for (k = 0; k < 24; k++) {
                t->hour[i][k] = prd_track_pack(by
                                        * prd_track_unpack(t->hour[i][k]));
            }
        }
    }

    for (i = 1; i < PRD_QUANTILES; i++) {
        by = powf(1 - TRACK_STEP * (1 - prd_track_levels[i]), g);
        b->ever[i - 1] = prd_track_pack(by * prd_track_unpack(b->ever[i - 1]));
    }

    for (i = 0; i < prd_min(n, PRD_TRACK_RING); i++) {
        b->ring[b->head] = 0;
        b->head = (uint8_t) ((b->head + 1) % PRD_TRACK_RING);
    }

    b->filled = (uint8_t) prd_min(b->filled + i, PRD_TRACK_RING);
    b->age = (uint16_t) prd_min((uint64_t) b->age + n, UINT16_MAX);
    b->idle = (uint16_t) prd_min((uint64_t) b->idle + n, UINT16_MAX);
    b->last = 0;
    b->period = 0;
    b->bin += n;
    memset(b->wait, 0, sizeof(b->wait));
}


/*
 * One bin of `every`, in no order that a client could have, too: a sample of
 * each fourth one would show nothing but the same of a client that comes each
 * fourth bin.  `every` is 3 or a power of two.
 */

static inline int
prd_track_chosen(const prd_track_bins_t *b, unsigned every, unsigned what)
{
    uint32_t  x;

    x = (b->bin + 1) * 0x9e3779b1u + what * 0x85ebca6bu;
    x ^= x >> 15;
    x *= 0x2c1b3c6du;
    x ^= x >> 12;

    return every == 3 ? x % 3 == 0 : (x & (every - 1)) == 0;
}


/* One bin after the last one. */

static void
prd_track_step(prd_track_t *t, prd_tracks_t *p, unsigned class, float y,
    int vote, const prd_track_extra_t *extra, unsigned extras)
{
    float                 share;
    unsigned              i, every, horizon;
    prd_track_made_t      m;
    prd_track_view_t      v;
    prd_track_bins_t     *b;
    prd_track_wait_t     *w;
    prd_track_horizon_t  *h;

    b = &t->bins[class];
    h = p->horizon[class];
    share = prd_track_share(t, p, class, b->bin + 1);

    v.day = 86400 / p->bin_s[class];
    v.period = b->period;
    v.slow = p->slow;
    v.now_s = p->now_s;

    for (i = 0; i < PRD_TRACK_WAIT; i++) {
        w = &b->wait[i];
        horizon = 1 + i / PRD_TRACK_FAR;

        if (w->due == 0 || --w->due) {
            continue;
        }

        prd_track_make_begin(&m);
        v.ahead = prd_track_aheads[horizon];
        prd_track_wait_view(b, w, horizon, &v, &m);
        prd_track_make(b, p, &h[horizon], horizon, &v, &m);
        prd_track_score(b, &h[horizon], horizon, &v, &m, y, vote);
    }

    every = p->bin_s[class] <= 60 ? TRACK_EVERY_60
            : p->bin_s[class] <= 300 ? TRACK_EVERY_300 : 1;

    for (i = 0; i < PRD_TRACK_WAIT; i++) {
        horizon = 1 + i / PRD_TRACK_FAR;
        w = &b->wait[i];

        if (w->due == 0 && prd_track_chosen(b, prd_max(every, 2), i)) {
            prd_track_view_now(t, class, horizon,
                               prd_track_share(t, p, class, b->bin
                                               + prd_track_aheads[horizon]),
                               &v);
            prd_track_wait_put(w, &v, extra, extras, horizon);

            /* this bin is the first of them */
            w->due--;
        }
    }

    if (prd_track_chosen(b, every, PRD_TRACK_WAIT)) {
        prd_track_make_begin(&m);
        v.ahead = 1;
        prd_track_view_now(t, class, 0, share, &v);
        prd_track_view_past(b, 0, &v);

        for (i = 0; extra && i < extras; i++) {
            prd_track_make_extra(&m, i, extra[i].q[0]);
        }

        if (prd_track_chosen(b, 4, PRD_TRACK_WAIT + 1)
            || (b->filled < PRD_TRACK_RING && b->period == 0))
        {
            b->period = (uint8_t) prd_track_period(&v);
            v.period = b->period;
        }

        prd_track_make(b, p, h, 0, &v, &m);
        prd_track_score(b, h, 0, &v, &m, y, vote);
    }

    b->bin++;

    prd_track_steps_learn(b, y);
    prd_track_learn(t, p, class, y, share);

    if (class == p->profile) {
        prd_track_share_learn(t, p, class, b->bin, y);
    }

    prd_track_remember(b, y);
}


static int
prd_track_used(const prd_tracks_t *p, unsigned class)
{
    return class < PRD_TRACK_CLASSES && p->bin_s[class] != 0;
}


prd_rc_t
prd_track_close(prd_track_t *t, prd_tracks_t *p, unsigned class, uint32_t bin,
    float y, int vote, const prd_track_extra_t *extra, unsigned extras)
{
    uint32_t           missing;
    prd_track_bins_t  *b;

    if (!prd_track_used(p, class) || !(y >= 0)) {
        return PRD_EINVAL;
    }

    y = prd_min(y, PRD_TRACK_Y_MAX);
    extras = extra == NULL ? 0 : prd_min(extras, PRD_TRACK_EXTRAS);

    if (t->version != PRD_TRACK_VERSION || t->size != sizeof(prd_track_t)) {
        prd_track_init(t);
    }

    b = &t->bins[class];

    if (b->age == 0) {
        prd_track_begin(b, bin, y);

        if (class == p->profile) {
            prd_track_share_learn(t, p, class, bin, y);
        }

        prd_track_remember(b, y);

        return PRD_OK;
    }

    if (bin <= b->bin) {

        if ((uint64_t) (b->bin - bin) * p->bin_s[class] <= 86400) {
            return PRD_ESTALE;
        }

        /* an odd clock teaches nothing but where it stands */

        memset(b->wait, 0, sizeof(b->wait));
        b->bin = bin - 1;
    }

    missing = bin - b->bin - 1;

    while (missing && bin - b->bin - 1 > missing - prd_min(missing,
                                                           PRD_TRACK_GAP))
    {
        prd_track_step(t, p, class, 0, vote, NULL, 0);
    }

    missing = bin - b->bin - 1;

    if (missing) {
        prd_track_skip(t, p, class, missing);
    }

    prd_track_step(t, p, class, y, vote, extra, extras);

    return PRD_OK;
}


static prd_rc_t
prd_track_make_now(const prd_track_t *t, const prd_tracks_t *p,
    unsigned class, unsigned horizon, const prd_track_extra_t *extra,
    unsigned extras, prd_track_view_t *v, prd_track_made_t *m)
{
    unsigned                 i;
    const prd_track_bins_t  *b;

    if (!prd_track_used(p, class) || horizon >= PRD_TRACK_HORIZONS) {
        return PRD_EINVAL;
    }

    b = &t->bins[class];

    if (t->version != PRD_TRACK_VERSION || t->size != sizeof(prd_track_t)
        || b->age == 0)
    {
        return PRD_DECLINED;
    }

    prd_track_make_begin(m);

    v->day = 86400 / p->bin_s[class];
    v->period = b->period;
    v->ahead = prd_track_aheads[horizon];

    prd_track_view_now(t, class, horizon,
                       prd_track_share(t, p, class,
                                       b->bin + prd_track_aheads[horizon]), v);
    prd_track_view_past(b, 0, v);

    extras = extra == NULL ? 0 : prd_min(extras, PRD_TRACK_EXTRAS);

    for (i = 0; i < extras; i++) {
        prd_track_make_extra(m, i, extra[i].q[horizon]);
    }

    prd_track_make(b, p, &p->horizon[class][horizon], horizon, v, m);

    return PRD_OK;
}


prd_rc_t
prd_track_forecast(const prd_track_t *t, const prd_tracks_t *p,
    unsigned class, unsigned horizon, const prd_track_extra_t *extra,
    unsigned extras, float q[PRD_QUANTILES])
{
    prd_rc_t          rc;
    prd_track_made_t  m;
    prd_track_view_t  v;

    rc = prd_track_make_now(t, p, class, horizon, extra, extras, &v, &m);

    if (rc == PRD_OK) {
        memcpy(q, m.out, sizeof(m.out));
    }

    return rc;
}


prd_rc_t
prd_track_explain(const prd_track_t *t, const prd_tracks_t *p,
    unsigned class, unsigned horizon, const prd_track_extra_t *extra,
    unsigned extras, float q[PRD_EXPERTS][PRD_QUANTILES],
    float weight[PRD_EXPERTS][PRD_QUANTILES], float *confidence)
{
    float             n;
    double            pooled;
    unsigned          e;
    prd_rc_t          rc;
    prd_track_made_t  m;
    prd_track_view_t  v;

    rc = prd_track_make_now(t, p, class, horizon, extra, extras, &v, &m);

    if (rc != PRD_OK) {
        return rc;
    }

    if (q != NULL) {
        memcpy(q, m.q, sizeof(m.q));
    }

    for (e = 0; weight != NULL && e < PRD_EXPERTS; e++) {
        m.weight[e] /= m.sum;
        memcpy(weight[e], &m.weight[e], sizeof(weight[e]));
    }

    if (confidence != NULL) {

        /* 64 bins are the memory of the client's own */

        n = (float) t->bins[class].age / prd_track_aheads[horizon];
        n = prd_min(n, 64.0f) / 64.0f;
        pooled = 0.95;
        (void) prd_score_coverage(&p->horizon[class][horizon].score, 2,
                                  &pooled);
        *confidence = n * (float) t->bins[class].covered[horizon] / 255
                      + (1 - n) * (float) pooled;
    }

    return PRD_OK;
}
