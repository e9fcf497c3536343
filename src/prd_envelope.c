
/*
 * Learned envelopes: closing blocks and hours, pooled scores, newcomers.
 *
 * The formulas are those of prd_envelope.h; src/README.md derives them and
 * tells what was tried instead.  Growth of a client's envelope, movement of
 * the pooled quantiles and of the newcomer's envelope are bounded per day, so
 * that strangers cannot buy or ruin them with requests; during warm-up the
 * bounds are lifted.
 */


#include <math.h>

#include "prd_envelope.h"


#define PRD_FRESH_VOTES    16.0f      /* the quantile is worked out again, */
#define PRD_FRESH_SHARE    512.0f     /* in a large table after this part */
#define PRD_ALPHA_RATE     0.05       /* rate: 95 % quantile of active hours */
#define PRD_CELL           0.2
#define PRD_CELL_LOW       (-8.0)
#define PRD_DEPTH_VOTES    50000.0f   /* halved above: forgetting */
#define PRD_RATE_VOTES     20000.0f
#define PRD_Z_PER_DAY      0.5        /* sigma: pooled quantiles move */
#define PRD_Z_FIRST        2.0f       /* the first one after warm-up */
#define PRD_GROWTH_H       24.0       /* hours in which an envelope doubles */
#define PRD_GROWTH_BIN     1.00008023f  /* and what it grows by in a block */
#define PRD_GAIN_LEAST     0.01f
#define PRD_GAIN_MISSED    0.05f      /* of sigma: as in its 15th block */
#define PRD_SIGMA_LEAST    0.3f
#define PRD_PRIOR_GAIN     0.005
#define PRD_PRIOR_BLOCKS   8          /* a client's first ones make the prior */
#define PRD_PRIOR_HOURS    4
#define PRD_PRIOR_FIRST    0.25       /* of a vote: most never come back */
#define PRD_YOUNG_HOURS    24         /* from PRD_PRIOR_HOURS on a client is */
#define PRD_YOUNG_RATES    8          /* free to so many newcomers' rates */
#define PRD_LEAST          1e-3       /* tokens; what is not a number, too */
#define PRD_MOST           1e13
#define PRD_LOG_DEPTH      40.0       /* log2: no envelope is greater */
#define PRD_LOG_RATE       50.0       /* an hour */
#define PRD_PROVEN_BLOCKS  8.0f       /* speak for half of the spread */
#define PRD_PROVEN_STEPS   4          /* of `proven`, per log2 */
#define PRD_PROVEN_MOST    31
#define PRD_CLIP           2.0        /* demand above clip * b is unknown */
#define PRD_NEWCOMER_BAND  1.0        /* log2 off the anchor */
#define PRD_NEWCOMER_DAY   1.0        /* log2 per day the anchor moves */
#define PRD_NEAR_HOURS     44.0f     /* a bound that a newcomer never meets */
#define PRD_NEAR_GAIN      0.3f
#define PRD_NEAR_GAP       288        /* idle horizons that count */


static void prd_scores_init(prd_scores_t *s, double alpha);
static float prd_scores_quantile(const prd_scores_t *s, double alpha);
static void prd_learned_rate(prd_learned_t *l, const prd_pooled_t *p,
    const prd_envelope_terms_t *t, int on, double now_s);


const uint8_t  prd_ages[129] = {
    0, 1, 1, [3 ... 7] = 2, [8 ... 31] = 3, [32 ... 127] = 4, 5
};


/* 2^(-n / PRD_PROVEN_STEPS) */

static const float  prd_proven_part[PRD_PROVEN_MOST + 1] = {
    1.0f,         0.840896428f, 0.707106769f, 0.594603539f,
    0x1p-1f,      0.420448214f, 0.353553385f, 0.297301769f,
    0x1p-2f,      0.210224107f, 0.176776692f, 0.148650885f,
    0x1p-3f,      0.105112053f, 0.0883883461f, 0.0743254423f,
    0x1p-4f,      0.0525560267f, 0.0441941731f, 0.0371627212f,
    0x1p-5f,      0.0262780134f, 0.0220970865f, 0.0185813606f,
    0x1p-6f,      0.0131390067f, 0.0110485433f, 0.0092906803f,
    0x1p-7f,      0.00656950334f, 0.00552427163f, 0.00464534014f
};


/* From `from` towards `to`, by at most `day` per day either way. */

static double
prd_step(double from, double to, double day, double dt_s)
{
    double  most;

    most = dt_s > 0 ? day * dt_s / 86400 : 0;

    return to > from + most ? from + most : to < from - most ? from - most : to;
}


static void
prd_scores_init(prd_scores_t *s, double alpha)
{
    int  i;

    memset(s, 0, sizeof(prd_scores_t));

    /* two votes of an exponential: rules until real ones come */

    for (i = 40; i < PRD_CELLS; i++) {
        s->cell[i] = 0.4f * expf(-(float) (PRD_CELL_LOW + PRD_CELL * i + 0.1));
        s->votes += s->cell[i];
    }

    s->z = prd_scores_quantile(s, alpha);
}


static float
prd_scores_quantile(const prd_scores_t *s, double alpha)
{
    int    i;
    float  sum, most;

    sum = 0;
    most = (float) alpha * s->votes;

    for (i = PRD_CELLS - 1; i >= 0 && sum + s->cell[i] <= most; i--) {
        sum += s->cell[i];
    }

    if (i < 0) {
        return (float) PRD_CELL_LOW;
    }

    return (float) (PRD_CELL_LOW
                    + PRD_CELL * (i + 1 - (most - sum) / s->cell[i]));
}


/* What a table begins with that has had no votes: the next younger one's. */

static const prd_scores_t *
prd_scores_from(const prd_scores_t *table, unsigned age)
{
    return &table[age && table[age - 1].at_s != 0 ? age - 1 : age];
}


/*
 * The published quantile follows the votes, from time to time and slowly.
 * The first one is taken at once, but after warm-up its voters may be just
 * anybody: it stays near what stood in for it, which is that of `from`.
 */

static void
prd_scores_refresh(prd_scores_t *s, const prd_scores_t *from, double alpha,
    int learning, double now_s)
{
    float   z;
    double  q;

    s->fresh = 0;
    q = prd_scores_quantile(s, alpha);

    if (learning) {
        z = (float) q;

    } else if (s->at_s == 0) {
        z = prd_max((float) q, from->z - PRD_Z_FIRST);
        z = prd_min(z, from->z + PRD_Z_FIRST);

    } else {
        z = (float) prd_step(s->z, q, PRD_Z_PER_DAY, now_s - s->at_s);
    }

    s->z = z;
    s->at_s = now_s;
}


/* Are there enough new votes to work it out again? */

static inline int
prd_scores_due(const prd_scores_t *s)
{
    return !(s->fresh < PRD_FRESH_VOTES
             || s->fresh * PRD_FRESH_SHARE < s->votes);
}


static inline void
prd_scores_vote(prd_scores_t *table, unsigned age, double z, double alpha,
    float most, int learning, double now_s)
{
    int            i;
    prd_scores_t  *s;

    s = &table[age];

    /* written so that NaN lands in the lowest cell */

    z = (z - PRD_CELL_LOW) * (1 / PRD_CELL);
    i = z > 0 ? (int) prd_min(z, PRD_CELLS - 1) : 0;

    s->cell[i] += 1;
    s->votes += 1;

    if (s->votes > most) {
        for (i = 0; i < PRD_CELLS; i++) {
            s->cell[i] *= 0.5f;
        }

        s->votes *= 0.5f;
    }

    s->fresh += 1;

    if (prd_scores_due(s)) {
        prd_scores_refresh(s, prd_scores_from(table, age), alpha, learning,
                           now_s);
    }
}


/* Votes for "nothing came", below every score. */

static void
prd_scores_zero(prd_scores_t *table, unsigned age, unsigned n, int learning,
    double now_s)
{
    prd_scores_t  *s;

    s = &table[age];

    s->cell[0] += (float) n;
    s->votes += (float) n;
    s->fresh += (float) n;

    if (prd_scores_due(s)) {
        prd_scores_refresh(s, prd_scores_from(table, age), PRD_ALPHA_RATE,
                           learning, now_s);
    }
}


void
prd_pooled_init(prd_pooled_t *p, const prd_envelope_terms_t *t)
{
    int  i;

    memset(p, 0, sizeof(prd_pooled_t));

    for (i = 0; i < PRD_AGES; i++) {
        prd_scores_init(&p->depth[i], t->alpha);
        prd_scores_init(&p->rate[i], PRD_ALPHA_RATE);
        prd_scores_init(&p->near[i], PRD_ALPHA_RATE);
    }

    p->mu = p->mu_rate = 3;
    p->sigma = p->sigma_rate = 1.5;
    p->cost = 1;
}


void
prd_pooled_add(prd_pooled_t *p, const prd_envelope_terms_t *t, unsigned table,
    const float *add, double now_s)
{
    int            i;
    float          most, sum;
    double         alpha;
    prd_scores_t  *s;

    if (table < PRD_AGES) {
        s = &p->depth[table];
        alpha = t->alpha;
        most = PRD_DEPTH_VOTES;

    } else {
        s = table < 2 * PRD_AGES ? &p->rate[table - PRD_AGES]
                                 : &p->near[table - 2 * PRD_AGES];
        alpha = PRD_ALPHA_RATE;
        most = PRD_RATE_VOTES;
    }

    sum = 0;

    for (i = 0; i < PRD_CELLS; i++) {
        s->cell[i] += add[i];
        sum += add[i];
    }

    s->votes += sum;
    s->fresh += sum;

    while (s->votes > most) {
        for (i = 0; i < PRD_CELLS; i++) {
            s->cell[i] *= 0.5f;
        }

        s->votes *= 0.5f;
    }

    if (prd_scores_due(s)) {
        prd_scores_refresh(s, s, alpha, t->learning, now_s);
    }
}


void
prd_pooled_newcomer(prd_pooled_t *p, const prd_envelope_terms_t *t,
    double now_s)
{
    double  b, r, dt;

    b = p->mu + p->sigma * p->depth[0].z;
    b = prd_min(prd_max(b, log2(2 * p->cost)), PRD_LOG_DEPTH);
    r = prd_min(p->mu_rate + p->sigma_rate * p->rate[0].z, PRD_LOG_RATE);

    if (t->learning || p->anchor_s == 0) {
        p->anchor_b = b;
        p->anchor_r = r;
        p->anchor_mu = p->mu_rate;

    } else {
        dt = now_s - p->anchor_s;

        p->anchor_b = prd_step(p->anchor_b, b, PRD_NEWCOMER_DAY, dt);
        p->anchor_r = prd_step(p->anchor_r, r, PRD_NEWCOMER_DAY, dt);
        p->anchor_mu = prd_step(p->anchor_mu, p->mu_rate, PRD_NEWCOMER_DAY, dt);
    }

    p->anchor_s = now_s;

    b = prd_max(b, p->anchor_b - PRD_NEWCOMER_BAND);
    b = prd_min(b, p->anchor_b + PRD_NEWCOMER_BAND);
    r = prd_max(r, p->anchor_r - PRD_NEWCOMER_BAND);
    r = prd_min(r, p->anchor_r + PRD_NEWCOMER_BAND);

    p->newcomer_b = exp2(b);
    p->newcomer_r = exp2(r) / PRD_EPOCH_S;
}


void
prd_learned_init(prd_learned_t *l, const prd_pooled_t *p, uint16_t generation,
    double now_s)
{
    memset(l, 0, sizeof(prd_learned_t));

    l->mu = (float) p->mu;
    l->sigma = (float) p->sigma;
    l->mu_rate = (float) p->mu_rate;
    l->sigma_rate = (float) p->sigma_rate;
    l->depth = l->cap_depth = (float) p->newcomer_b;
    l->rate = l->cap_rate = (float) p->newcomer_r;
    l->depth_at = l->rate_at = (uint32_t) now_s;
    l->epoch = (uint16_t) (uint64_t) (now_s / PRD_EPOCH_S);
    l->generation = generation;
}


/* A number of tokens, whatever it is given. */

static float
prd_learned_sane(float n)
{
    return n > (float) PRD_LEAST ? prd_min(n, (float) PRD_MOST)
                                 : (float) PRD_LEAST;
}


/*
 * Mean and spread of y, with gains that fall as 1/n; that of the spread is
 * `least` at least.
 */

static inline void
prd_learned_ewma(float *mu, float *sigma, float y, unsigned n, float least)
{
    float  e, a, b;

    a = prd_max(1.0f / (float) (n + 3), PRD_GAIN_LEAST);
    b = prd_max(1.0f / (float) (n + 5), least);
    e = y - *mu;

    *mu += a * e;
    *sigma += b * (1.25f * fabsf(e) - *sigma);
    *sigma = prd_max(*sigma, PRD_SIGMA_LEAST);
}


/*
 * An envelope bounded by its cap, which moves towards it by at most a factor
 * of two per 24 h since `at`, and by no more than that for a longer absence.
 * In warm-up only the fall is bounded.
 */

static inline float
prd_learned_bound(float raw, float *cap, uint32_t at, int learning,
    double now_s)
{
    float   most;
    double  hours;

    if (now_s - (double) at == PRD_BIN_S) {

        /* most are: of the clients of a crowd that is always there */

        most = PRD_GROWTH_BIN;

    } else if (now_s <= (double) at) {
        most = 1;

    } else {
        hours = (now_s - (double) at) / 3600;
        hours = prd_min(hours, PRD_GROWTH_H);

        most = exp2f((float) (hours / PRD_GROWTH_H));
    }

    if (raw >= *cap) {
        *cap = learning ? raw : prd_min(raw, *cap * most);

    } else {
        *cap = prd_max(raw, *cap / most);
    }

    return prd_min(raw, *cap);
}


int
prd_learned_block(prd_learned_t *l, prd_pooled_t *p,
    const prd_envelope_terms_t *t, double peak, int vote, double now_s)
{
    int       missed, above;
    float     y, b, least, most;
    double    gain;
    unsigned  age;

    peak = prd_learned_sane((float) peak);
    age = prd_age(l->blocks);
    y = log2f((float) peak);

    /* the published code is rounded down by up to 2^-15 */

    missed = peak > l->depth * 1.0001;

    p->closed[age]++;
    p->bounded[age] += missed;

    least = p->cost == 1 ? 1 : log2f((float) (2 * p->cost));
    above = y > prd_max(l->mu + l->sigma * p->depth[age].z, least) + 1e-4f;
    p->missed[age] += above;

    if (vote) {
        prd_scores_vote(p->depth, age, (y - l->mu) / l->sigma, t->alpha,
                        PRD_DEPTH_VOTES, t->learning, now_s);

        if (l->blocks < PRD_PRIOR_BLOCKS) {
            gain = l->blocks ? PRD_PRIOR_GAIN
                             : PRD_PRIOR_GAIN * PRD_PRIOR_FIRST;
            p->mu += gain * (y - p->mu);
            p->sigma += gain * (1.25 * fabs(y - p->mu) - p->sigma);
        }
    }

    most = (float) PRD_CLIP * l->depth;

    if (!t->learning && (float) peak > most) {
        y = log2f(most);
    }

    /*
     * One block in a thousand is missed if all are alike.  Where a quiet
     * client begins something new its misses come in rows, each block a
     * little above the last one, until a spread that fades over 100 blocks has
     * followed: a miss is news, and counts for more.
     */

    prd_learned_ewma(&l->mu, &l->sigma, y, l->blocks,
                     above ? PRD_GAIN_MISSED : PRD_GAIN_LEAST);

    if (l->blocks < UINT16_MAX) {
        l->blocks++;
    }

    b = exp2f(prd_min(l->mu + l->sigma * p->depth[prd_age(l->blocks)].z,
                      (float) PRD_LOG_DEPTH));
    b = prd_max(b, (float) (2 * p->cost));

    l->depth = prd_learned_bound(b, &l->cap_depth, l->depth_at, t->learning,
                                 now_s);
    l->depth_at = (uint32_t) now_s;

    return missed;
}


prd_rc_t
prd_learned_hour_end(prd_learned_t *l, uint16_t epoch)
{
    if (l->count <= 0 || l->epoch == epoch || l->counted) {
        return PRD_DECLINED;
    }

    l->counted = 1;
    prd_learned_prove(l);

    if (l->hours < UINT16_MAX) {
        l->hours++;
    }

    return PRD_OK;
}


void
prd_learned_hour(prd_learned_t *l, prd_pooled_t *p,
    const prd_envelope_terms_t *t, int vote, double now_s)
{
    float     y, count, most, habit, allowed;
    unsigned  age, hours;

    (void) prd_learned_hour_end(l, (uint16_t) (l->epoch + 1));

    hours = l->hours - 1u;
    age = prd_age(hours);
    count = prd_learned_sane(l->count);
    y = log2f(count);
    allowed = 0;

    if (l->limited) {

        /* what the rate allowed in the hour, as it was at its beginning */

        habit = l->mu_rate + l->sigma_rate * p->rate[age].z;
        allowed = prd_min(habit, log2f(prd_learned_sane(l->cap_rate
                                                        * PRD_EPOCH_S)))
                  - (float) (1 / PRD_GROWTH_H);
    }

    if (vote) {
        prd_scores_vote(p->rate, age, (y - l->mu_rate) / l->sigma_rate,
                        PRD_ALPHA_RATE, PRD_RATE_VOTES, t->learning, now_s);

        if (hours < PRD_PRIOR_HOURS) {
            p->mu_rate += PRD_PRIOR_GAIN * (y - p->mu_rate);
            p->sigma_rate += PRD_PRIOR_GAIN * (1.25 * fabs(y - p->mu_rate)
                                               - p->sigma_rate);
        }
    }

    most = (float) PRD_CLIP * (l->rate * PRD_EPOCH_S + l->depth);

    if (!t->learning && count > most) {
        y = log2f(most);
    }

    /*
     * Censored: what was admitted of a demand that was refused in part is no
     * measure of it.  Taken as one it would lower the rate, and the next batch
     * would be refused more, and so on.  Nor is it taken for more than it is,
     * or refusals would be a cheap way to grow.
     */

    if (!l->limited || y > allowed) {
        prd_learned_ewma(&l->mu_rate, &l->sigma_rate, y, hours,
                         PRD_GAIN_LEAST);
    }

    l->count = 0;
    l->counted = 0;
    l->limited = 0;

    prd_learned_rate(l, p, t, 1, now_s);
}


/*
 * The habit, or what the next horizon is expected to need.  `on`: the client
 * was active in the last horizon, too.
 */

static void
prd_learned_rate(prd_learned_t *l, const prd_pooled_t *p,
    const prd_envelope_terms_t *t, int on, double now_s)
{
    float  r, near, hour, hours, count, young;

    r = l->cap_rate;
    near = (float) prd_learned_forecast(l, p, t, now_s);
    near = prd_max(near, t->ahead);

    if (l->hours > l->counted) {
        hour = exp2f(prd_min(l->mu_rate
                             + l->sigma_rate
                               * p->rate[prd_age(l->hours - l->counted)].z,
                             (float) PRD_LOG_RATE));
        r = hour / PRD_EPOCH_S;

        /*
         * The next horizon gets what the hour leaves, of a share of its
         * quantile that shrinks as the client becomes known: or whoever has
         * short sessions could go on like that for hours.
         */

        if (!t->learning) {
            /*
             * What is counted already was of an hour that has ended, and
             * says nothing of this one; but of who goes on without a pause
             * it is closed in a moment, and until then it holds: or each
             * full hour would be a further step of growth for a patient
             * thief (bench/frog: 7 % more).
             */

            count = l->counted && !on ? 0 : l->count;
            hours = l->hours - l->counted;
            hour *= 1 + PRD_NEAR_HOURS / hours;
            near = prd_min(near, prd_max(hour - count, 0.0f)
                                 / (float) t->horizon_s);
        }
    }

    /*
     * Bounded by a day's growth from what newcomers get, who is heavier than
     * most would be beyond its envelope for days, with a standing backlog and
     * hence without trust.  By its habit, which takes hours to move: a key
     * that was stolen early is not to flood at once.
     */

    if (t->young && l->hours >= PRD_PRIOR_HOURS && l->hours < PRD_YOUNG_HOURS)
    {
        young = prd_min(r, (float) (PRD_YOUNG_RATES * p->newcomer_r));

        if (young > l->cap_rate) {
            l->cap_rate = young;
        }
    }

    r = prd_max(r, near);

    l->rate = prd_learned_bound(r, &l->cap_rate, l->rate_at, t->learning,
                                now_s);
    l->rate_at = (uint32_t) now_s;
}


void
prd_learned_ahead(prd_learned_t *l, const prd_pooled_t *p,
    const prd_envelope_terms_t *t, double now_s)
{
    prd_learned_rate(l, p, t, 0, now_s);
}


/* A block that ends at now_s belongs to the bin before it. */

static uint16_t
prd_learned_near_bin(const prd_envelope_terms_t *t, double now_s)
{
    return (uint16_t) (int64_t) ((now_s + t->phase_s - PRD_BIN_S / 2)
                                 / t->horizon_s);
}


void
prd_learned_near(prd_learned_t *l, prd_pooled_t *p,
    const prd_envelope_terms_t *t, double count, int vote, double now_s)
{
    float     actual;
    uint16_t  bin, gap;

    bin = prd_learned_near_bin(t, now_s);

    /* a clock that steps back by less than a day stays in its bin */

    if ((uint16_t) (l->near_bin - bin) - 1u >= PRD_NEAR_GAP
        && bin != l->near_bin)
    {
        if (l->near > 0) {
            actual = l->near / (float) t->horizon_s;

            if (l->level > 0) {

                if (vote) {
                    prd_scores_vote(p->near, prd_age(l->run),
                                    log2f(actual / l->level), PRD_ALPHA_RATE,
                                    PRD_RATE_VOTES, t->learning, now_s);
                }

                l->level += PRD_NEAR_GAIN * (actual - l->level);

            } else {
                l->level = actual;
            }

            l->run += l->run < UINT8_MAX;
        }

        gap = (uint16_t) (bin - l->near_bin - 1);

        if (gap && l->level > 0) {
            gap = prd_min(gap, PRD_NEAR_GAP);
            l->level *= powf(1 - PRD_NEAR_GAIN, (float) gap);

            /*
             * The horizons in which nothing came are outcomes too: the first
             * of what was forecast in the run, the others of a client that
             * was idle already.
             */

            if (vote) {
                prd_scores_zero(p->near, prd_age(l->run), 1, t->learning,
                                now_s);
                prd_scores_zero(p->near, 0, gap - 1u, t->learning, now_s);
            }

            l->run = 0;
        }

        l->near_bin = bin;
        l->near = 0;

        prd_learned_rate(l, p, t, l->run > 0, now_s);
    }

    l->near = prd_min(l->near + (count > 0 ? (float) count : 0),
                      (float) PRD_MOST);
}


unsigned
prd_learned_outlook(const prd_learned_t *l, const prd_envelope_terms_t *t,
    double now_s, double *level)
{
    uint16_t  gap;
    unsigned  run;

    *level = l->level;
    run = l->run;
    gap = (uint16_t) (prd_learned_near_bin(t, now_s) - l->near_bin - 1);

    /* 0xffff: asked within the bin that is still counted */

    if (gap && gap != UINT16_MAX) {
        *level *= powf(1 - PRD_NEAR_GAIN,
                       (float) prd_min(gap, PRD_NEAR_GAP));
        run = 0;
    }

    return prd_age(run);
}


double
prd_learned_forecast(const prd_learned_t *l, const prd_pooled_t *p,
    const prd_envelope_terms_t *t, double now_s)
{
    double    level;
    unsigned  class_;

    if (l->level <= 0) {
        return 0;
    }

    class_ = prd_learned_outlook(l, t, now_s, &level);

    return level * exp2f(prd_min(p->near[class_].z, 20.0f));
}


/*
 * The depth as far as the client's own blocks speak for it, n / (n + 8) of
 * the way from its mean: what is above that is the spread of a prior, or of
 * everybody.
 */

void
prd_learned_prove(prd_learned_t *l)
{
    float  log, n;

    n = l->blocks;
    log = log2f(prd_learned_sane(l->depth));
    log = l->mu + (log - l->mu) * n / (n + PRD_PROVEN_BLOCKS);
    log = (log2f(prd_learned_sane(l->cap_depth)) - log) * PRD_PROVEN_STEPS;

    /* written so that NaN is 0 */

    l->proven = log > 0 ? (unsigned) prd_min(log + 0.5f, PRD_PROVEN_MOST)
                          & PRD_PROVEN_MOST
                        : 0;
}


uint32_t
prd_learned_trust(const prd_learned_t *l, float peak)
{
    float     proven;
    uint32_t  trust;

    if (l->hours == 0) {
        return 0;
    }

    trust = (uint32_t) l->hours * PRD_TRUSTS / ((uint32_t) l->hours + 8);
    trust = prd_min(trust, PRD_TRUSTS - 1);

    proven = l->cap_depth * prd_proven_part[l->proven];

    if (peak > proven) {
        trust = peak < 2 * proven
                ? (uint32_t) ((float) trust * (2 - peak / proven)) : 0;
    }

    if (l->hours < PRD_KNOWN_HOURS) {
        return prd_max(trust & ~1u, 2);
    }

    return trust < PRD_KNOWN_TRUST ? trust | 1 : trust;
}
