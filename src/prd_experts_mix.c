
/*
 * The mixture: weights, widths, and what both learn when a bin has come.
 */


#include "prd_experts_inner.h"


#define TRACK_ETA        10.0f      /* learning rate of the weights */
#define TRACK_HOPELESS   1.0f       /* losses behind the best: no weight */
#define TRACK_FADE       0.98f      /* of own losses */
#define TRACK_OWN        64.0f      /* own losses are kept in 1/64 ... */
#define TRACK_POOLED     10.0f      /* and weigh as this many pooled ones */
#define TRACK_NEAR       0.3f       /* what near says of far */
#define TRACK_LOSS_MAX   1.0f
#define TRACK_ERROR_MAX  100.0f
#define TRACK_WIDTH      0.005f     /* last step of a state's width ... */
#define TRACK_WIDTH_ALL  0.006f     /* of that of all ... */
#define TRACK_SHIFT      0.015f     /* and of a client's, e-folds */
#define TRACK_SHIFT_ONE  64.0f
#define TRACK_WHOLE      1e6f       /* quantiles below are whole */
#define TRACK_RARE       100        /* bins; one is beyond the last quantile */

/* PRD_EXPERTS steps of prd_track_dice() at once, modulo 256 */
#define TRACK_DICE_TIMES  149
#define TRACK_DICE_PLUS   21

_Static_assert(PRD_EXPERTS == 13, "TRACK_DICE_TIMES is 5 to the 13th");


static const prd_track_state_t *
prd_track_weights(const prd_track_state_t *s, unsigned state)
{
    unsigned  idle;

    if (s[state].votes >= TRACK_KNOWN) {
        return &s[state];
    }

    idle = PRD_TRACK_IDLE + prd_track_state_idle(state);

    return s[idle].votes >= TRACK_KNOWN ? &s[idle] : &s[PRD_TRACK_ALL];
}


void
prd_track_make_extra(prd_track_made_t *m, unsigned i,
    const float q[PRD_QUANTILES])
{
    float     v;
    unsigned  e, k;

    e = PRD_EXPERT_EXTRA + i;

    for (k = 0; k < PRD_QUANTILES; k++) {
        v = q[k];

        if (!(v >= 0)) {
            return;
        }

        v = prd_min(v, PRD_TRACK_Y_MAX);
        m->q[e][k] = k ? prd_max(v, m->q[e][k - 1]) : v;
    }

    m->said[e] = 1;
}


/* The weight of who has lost so much more than the best one; 0 where that is
 * so much that an expert has no say. */

static inline prd_quad_t
prd_track_decay(prd_quad_t x)
{
    return (prd_quad_t) ((x < TRACK_HOPELESS)
                         & (prd_quad_bits_t) prd_quad_exp(-TRACK_ETA * x));
}


/* Own losses as numbers; there is more room than there are. */

static inline void
prd_track_losses(const uint8_t own[PRD_EXPERTS][PRD_QUANTILES],
    float losses[TRACK_ROOM])
{
    uint8_t   bytes[TRACK_ROOM];
    unsigned  i;

    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, own, PRD_QUANTILES * PRD_EXPERTS);

    for (i = 0; i < TRACK_ROOM; i++) {
        losses[i] = (float) bytes[i];
    }
}


/* Weights, and with them the mixture. */

static void
prd_track_make_weights(const prd_track_bins_t *b, const prd_track_state_t *s,
    unsigned far, prd_track_made_t *m)
{
    float         near[TRACK_ROOM];
    unsigned      e, i;
    prd_quad_t    l[PRD_EXPERTS], best, sum, mix;
    const float  *own;

    prd_track_losses(b->loss[far], m->own);
    own = m->own;

    if (far) {
        prd_track_losses(b->loss[0], near);

        for (i = 0; i < TRACK_ROOM; i++) {
            near[i] = m->own[i] + TRACK_NEAR * near[i];
        }

        own = near;
    }

    best = prd_quad_all(INFINITY);

    for (e = 0; e < PRD_EXPERT_EXTRA; e++) {
        l[e] = prd_quad(&own[e * PRD_QUANTILES]) / TRACK_OWN
               + TRACK_POOLED * prd_quad(s->loss[e]);
        best = prd_quad_min(best, l[e]);
    }

    for ( /* void */ ; e < PRD_EXPERTS; e++) {
        if (m->said[e]) {
            l[e] = prd_quad(&own[e * PRD_QUANTILES]) / TRACK_OWN
                   + TRACK_POOLED * prd_quad(s->loss[e]);
            best = prd_quad_min(best, l[e]);
        }
    }

    sum = mix = (prd_quad_t) { 0, 0, 0, 0 };

    for (e = 0; e < PRD_EXPERT_EXTRA; e++) {
        m->weight[e] = prd_track_decay(l[e] - best);
        sum += m->weight[e];
        mix += m->weight[e] * prd_quad(m->q[e]);
    }

    for ( /* void */ ; e < PRD_EXPERTS; e++) {
        m->weight[e] = (prd_quad_t) { 0, 0, 0, 0 };

        if (m->said[e]) {
            m->weight[e] = prd_track_decay(l[e] - best);
            sum += m->weight[e];
            mix += m->weight[e] * prd_quad(m->q[e]);
        }
    }

    m->sum = sum;
    mix /= sum;
    memcpy(m->mix, &mix, sizeof(mix));
}


/* Nobody has said anything yet; all but extras will. */

void
prd_track_make_begin(prd_track_made_t *m)
{
    memset(m->q[PRD_EXPERT_EXTRA], 0, PRD_TRACK_EXTRAS * sizeof(m->q[0]));
    memset(m->said, 0, sizeof(m->said));
    memset(m->said, 1, PRD_EXPERT_EXTRA);
}


/*
 * Where the last quantile ends, however wide others are: twice what the
 * client's own steps make of it, the larger ones of those above 0 and 0, and
 * further while hardly any bin can have been beyond it.  Widths are learned of
 * all clients in a state, of which a few unruly ones make most of the misses:
 * a quiet one would be given theirs.
 */

static float
prd_track_reach(const prd_track_bins_t *b, unsigned horizon,
    const prd_track_view_t *v, const prd_track_made_t *m)
{
    float     far, last, more;
    unsigned  i;

    if (b->age < TRACK_RARE) {
        return INFINITY;
    }

    i = PRD_QUANTILES - 1;
    last = v->at[PRD_EXPERT_LAST];
    more = prd_track_unpack(b->steps[horizon][last != 0][i - 1]);
    more = prd_max(more, m->q[PRD_EXPERT_STEPS][i] - last);
    far = last + more - m->mix[0];

    /* steps from where it is now; where it will be errors are larger */

    if (m->mix[0] > last) {
        far = more * sqrtf((m->mix[0] + 1) / (last + 1));
    }

    far = prd_max(far, 0) * (2 + 2.0f * TRACK_RARE / (float) b->age);

    return prd_max(m->mix[0] + far, m->mix[i]);
}


/* Everything of a forecast; extras were put there before. */

void
prd_track_make(const prd_track_bins_t *b, const prd_tracks_t *p,
    const prd_track_horizon_t *h, unsigned horizon, const prd_track_view_t *v,
    prd_track_made_t *m)
{
    float        d;
    unsigned     i;
    prd_quad_t   w, q, whole;
    const float  *all, *some;
    const int8_t *own;

    prd_track_make_pooled(h, v, m);
    prd_track_make_own(b, horizon, v, m);

    prd_track_make_weights(b, prd_track_weights(h->state, v->state),
                           horizon > 0, m);

    some = h->state[v->state].width;
    all = h->state[PRD_TRACK_ALL].width;
    own = b->shift[horizon];

    w = (prd_quad_t) { 0, some[0] + all[0], some[1] + all[1],
                       some[2] + all[2] };
    w += (prd_quad_t) { 0, own[0], own[1], own[2] } / TRACK_SHIFT_ONE;
    w = prd_quad_max(w, prd_quad_all(-80));
    w = prd_quad_min(w, prd_quad_all(80));

    /* a mean error beside it, or where it is 0 there is nothing to widen */

    d = v->unit * sqrtf(m->mix[0] + 1);
    q = prd_quad_max(prd_quad(m->mix) - m->mix[0], prd_quad_all(0)) + d;
    q = m->mix[0] + q * prd_quad_exp(w) - d;

    i = PRD_QUANTILES - 1;
    q[0] = m->mix[0];
    q[i] = prd_min(q[i], prd_track_reach(b, horizon, v, m));

    for (i = 1; i < PRD_QUANTILES; i++) {
        q[i] = prd_max(q[i], q[i - 1]);
    }

    if (p->whole) {
        whole = prd_quad_min(q, prd_quad_all(TRACK_WHOLE)) + 0.5f;
        whole = __builtin_convertvector(__builtin_convertvector(whole,
                                            prd_quad_bits_t), prd_quad_t);
        q = prd_quad_pick(q < TRACK_WHOLE, whole, q);
    }

    q = prd_quad_min(q, prd_quad_all(PRD_TRACK_Y_MAX));
    memcpy(m->out, &q, sizeof(m->out));
}


/* A number of 0 .. 1 to round by: a small generator in each record (Hull and
 * Dobell's conditions). */

static inline float
prd_track_dice(uint32_t *random)
{
    *random = *random * 5 + 113;

    return ((float) (*random & 255) + 0.5f) / 256;
}


/* Own losses: those above the best one, fading. */

static void
prd_track_score_own(prd_track_bins_t *b, unsigned far,
    const prd_track_made_t *m, const prd_quad_t loss[PRD_EXPERTS])
{
    int32_t          rounded[TRACK_ROOM];
    uint8_t          bytes[TRACK_ROOM];
    uint32_t         random;
    unsigned         e, i;
    prd_quad_t       l[PRD_EXPERTS], best, v;
    prd_quad_bits_t  dice, whole;

    const prd_quad_t  none = { 0, 0, 0, 0 };

    best = none + INFINITY;
    dice = (prd_quad_bits_t) none;

    for (e = 0; e < PRD_EXPERT_EXTRA; e++) {
        l[e] = prd_quad(&m->own[e * PRD_QUANTILES]) * TRACK_FADE
               + loss[e] * TRACK_OWN;
        best = prd_quad_min(best, l[e]);
    }

    for ( /* void */ ; e < PRD_EXPERTS; e++) {
        l[e] = prd_quad(&m->own[e * PRD_QUANTILES]) * TRACK_FADE
               + loss[e] * TRACK_OWN;

        if (m->said[e]) {
            best = prd_quad_min(best, l[e]);
        }
    }

    /* each quantile has the next PRD_EXPERTS numbers of the generator */

    for (i = 0, random = b->random; i < PRD_QUANTILES; i++) {
        dice[i] = (int32_t) (random & 255);
        random = random * TRACK_DICE_TIMES + TRACK_DICE_PLUS;
    }

    b->random = (uint8_t) random;

    for (e = 0; e < PRD_EXPERTS; e++) {
        dice = (dice * 5 + 113) & 255;
        v = prd_quad_max(l[e] - best, none)
            + (__builtin_convertvector(dice, prd_quad_t) + 0.5f) / 256;
        whole = __builtin_convertvector(prd_quad_min(v, none + 255),
                                        prd_quad_bits_t);
        memcpy(&rounded[e * PRD_QUANTILES], &whole, sizeof(whole));
    }

    memset(&rounded[e * PRD_QUANTILES], 0,
           sizeof(rounded) - e * PRD_QUANTILES * sizeof(int32_t));

    for (i = 0; i < TRACK_ROOM; i++) {
        bytes[i] = (uint8_t) rounded[i];
    }

    memcpy(b->loss[far], bytes, sizeof(b->loss[far]));
}


static float
prd_track_score_vote(prd_track_state_t *s, float error)
{
    float  a;

    s->votes = prd_min(s->votes + 1, 500.0f);
    a = 1 / s->votes;
    s->error += a * (error - s->error);

    return a;
}


/* In the state, in its idle time and in all. */

static void
prd_track_score_pooled(prd_track_state_t *states, unsigned state,
    unsigned idle, float error, const prd_quad_t loss[PRD_EXPERTS])
{
    float               a, b, c;
    unsigned            e;
    prd_quad_t          l;
    prd_track_state_t  *s, *i, *all;

    s = &states[state];
    i = &states[idle];
    all = &states[PRD_TRACK_ALL];

    a = prd_track_score_vote(s, error);
    b = prd_track_score_vote(i, error);
    c = prd_track_score_vote(all, error);

    for (e = 0; e < PRD_EXPERTS; e++) {
        l = prd_quad(s->loss[e]);
        l += a * (loss[e] - l);
        memcpy(s->loss[e], &l, sizeof(l));

        l = prd_quad(i->loss[e]);
        l += b * (loss[e] - l);
        memcpy(i->loss[e], &l, sizeof(l));

        l = prd_quad(all->loss[e]);
        l += c * (loss[e] - l);
        memcpy(all->loss[e], &l, sizeof(l));
    }
}


/* What widths of a state stay near comes after them. */

static void
prd_track_anchor(prd_track_anchor_t *a, const prd_track_state_t *s,
    const prd_track_view_t *v)
{
    float     most;
    unsigned  i;

    if (!v->slow || a->at_s == 0) {
        memcpy(a->width, s->width, sizeof(a->width));
        a->at_s = v->now_s;

    } else if (v->now_s < a->at_s && a->at_s - v->now_s > 86400) {
        a->at_s = v->now_s;

    } else if (v->now_s > a->at_s) {
        most = PRD_TRACK_BAND * (float) (v->now_s - a->at_s) / 86400;
        most = prd_min(most, PRD_TRACK_BAND);
        a->at_s = v->now_s;

        for (i = 0; i < PRD_QUANTILES - 1; i++) {
            a->width[i] += prd_max(prd_min(s->width[i] - a->width[i], most),
                                   -most);
        }
    }
}


static inline float
prd_track_widen(float width, float by, float anchor, unsigned slow)
{
    width += by;
    width = prd_max(width, -1);
    width = prd_min(width, 1);

    if (slow) {
        width = prd_max(width, anchor - PRD_TRACK_BAND);
        width = prd_min(width, anchor + PRD_TRACK_BAND);
    }

    return width;
}


/* floorf() of what is not below -256, nor large. */

static inline int32_t
prd_track_floor(float v)
{
    return (int32_t) (v + 256) - 256;
}


static void
prd_track_score_widths(prd_track_bins_t *b, prd_track_horizon_t *h,
    const prd_track_view_t *view, unsigned horizon, const float *out, float y,
    int vote)
{
    float                g[PRD_QUANTILES - 1], step;
    int32_t              v;
    uint32_t             random;
    unsigned             i;
    prd_track_state_t   *s, *all;
    prd_track_anchor_t  *a;

    random = b->random;
    step = (TRACK_SHIFT + 0.5f / ((float) b->age + 4)) * TRACK_SHIFT_ONE;

    for (i = 0; i < PRD_QUANTILES - 1; i++) {
        g[i] = prd_track_levels[i + 1] - (y <= out[i + 1]);

        v = prd_track_floor((float) b->shift[horizon][i] + step * g[i]
                            + prd_track_dice(&random));
        v = prd_max(v, -(int32_t) TRACK_SHIFT_ONE);
        b->shift[horizon][i] = (int8_t) prd_min(v, (int32_t) TRACK_SHIFT_ONE);
    }

    v = prd_track_floor((float) b->covered[horizon]
                        + ((y <= out[2] ? 255.0f : 0)
                           - (float) b->covered[horizon]) / 64
                        + prd_track_dice(&random));
    b->covered[horizon] = (uint8_t) prd_min(v, 255);
    b->random = (uint8_t) random;

    if (!vote) {
        return;
    }

    s = &h->state[view->state];
    a = &h->anchor[view->state];
    step = TRACK_WIDTH * 520 / (20 + s->votes);
    prd_track_anchor(a, s, view);

    for (i = 0; i < PRD_QUANTILES - 1; i++) {
        s->width[i] = prd_track_widen(s->width[i], step * g[i], a->width[i],
                                      view->slow);
    }

    all = &h->state[PRD_TRACK_ALL];
    a = &h->anchor[PRD_TRACK_ALL];
    prd_track_anchor(a, all, view);

    i = PRD_QUANTILES - 2;
    all->width[i] = prd_track_widen(all->width[i],
                                    TRACK_WIDTH_ALL * 520 / (20 + all->votes)
                                    * g[i], a->width[i], view->slow);
}


/* What came is compared with what had been forecast. */

void
prd_track_score(prd_track_bins_t *b, prd_track_horizon_t *h,
    unsigned horizon, const prd_track_view_t *v, const prd_track_made_t *m,
    float y, int vote)
{
    float       error, unit;
    unsigned    e, n;
    prd_quad_t  loss[PRD_EXPERTS], off, mean, up, down;

    static const float  share[PRD_QUANTILES] = {
        /* a quarter of 1 / (1 - level + 0.05) */
        0.25f / 0.55f, 0.25f / 0.45f, 0.25f / 0.3f, 0.25f / 0.18f
    };

    const prd_quad_t  level = prd_quad(prd_track_levels);
    const prd_quad_t  none = { 0, 0, 0, 0 };
    const prd_quad_t  most = none + TRACK_LOSS_MAX;

    /* what is far, or in an unruly state, is further off anyway */

    unit = b->scale * prd_max(prd_track_weights(h->state, v->state)->error,
                              1.0f);
    error = fabsf(y - m->out[0]) / b->scale;
    error = prd_min(error, TRACK_ERROR_MAX);

    up = level * prd_quad(share) / unit;
    down = (level - 1) * prd_quad(share) / unit;
    mean = none;
    n = PRD_EXPERT_EXTRA;

    for (e = 0; e < PRD_EXPERT_EXTRA; e++) {
        off = y - prd_quad(m->q[e]);
        loss[e] = prd_quad_min(prd_quad_max(up * off, down * off), most);
        mean += loss[e];
    }

    for ( /* void */ ; e < PRD_EXPERTS; e++) {
        loss[e] = none;

        if (m->said[e]) {
            off = y - prd_quad(m->q[e]);
            loss[e] = prd_quad_min(prd_quad_max(up * off, down * off), most);
            mean += loss[e];
            n++;
        }
    }

    prd_track_score_own(b, horizon > 0, m, loss);
    prd_track_score_widths(b, h, v, horizon, m->out, y, vote);

    if (!vote) {
        return;
    }

    /* who is silent is taken for one of the crowd */

    for (e = PRD_EXPERT_EXTRA; e < PRD_EXPERTS; e++) {
        loss[e] = m->said[e] ? loss[e] : mean / (float) n;
    }

    prd_track_score_pooled(h->state, v->state, PRD_TRACK_IDLE + v->coarse,
                           error, loss);
    prd_track_score_errors(h, v, m, y);

    (void) prd_score_add(&h->score, y, m->out, m->q[PRD_EXPERT_STEPS]);
}
