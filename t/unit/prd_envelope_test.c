
/*
 * Envelopes: codes, coverage of what clients ask for, and the bounds that
 * keep strangers from buying or ruining them, whatever they send.
 */


#include <float.h>

#include "lab.h"


#define DAY  86400.0


static const prd_envelope_terms_t  warm = { 0.001, 300, 0, 0, 0, 0 };
static const prd_envelope_terms_t  cold = { 0.001, 300, 1, 0, 0, 0 };
static const prd_envelope_terms_t  free_ = { 0.001, 300, 0, 0, 0, 1 };


static void
codes(void)
{
    uint32_t  code, i, bad, rough, falls;
    uint64_t  v, u, w;

    for (code = 0, bad = falls = 0; code < 50u << 15; code++) {
        v = prd_env_decode(code);

        /* every code that a number gives: exponents to 49 */

        bad += prd_env_encode(v) != code;
        falls += code && v <= prd_env_decode(code - 1);
    }

    is_int(bad, 0, "decode, then encode");
    is_int(falls, 0, "codes compare like numbers");

    for (v = 0, bad = 0; v < 65536; v++) {
        bad += prd_env_decode(prd_env_encode(v)) != v;
    }

    is_int(bad, 0, "exact to 65,535");

    for (i = bad = rough = falls = 0; i < 300000; i++) {
        v = i == 0 ? UINT64_MAX : lab_random() >> lab_below(64);
        w = prd_env_decode(prd_env_encode(v));

        bad += w > v || prd_env_encode(v) > 0x1fffff;
        rough += (double) v - (double) w > (double) v / 32768;

        u = v + lab_below(prd_min(v, 1ull << 48) + 1);
        falls += u >= v && prd_env_encode(u) < prd_env_encode(v);
    }

    is_int(bad, 0, "never more than it was");
    is_int(rough, 0, "never less by more than 2^-15");
    is_int(falls, 0, "monotone");

    w = prd_env(0xbeef, 63, prd_env_encode(PRD_RATE_MAX), 0x1fffff);
    is_int(prd_env_generation(w), 0xbeef, "generation");
    is_int(prd_env_trust(w), 63, "trust");
    ok(fabs((double) prd_env_decode(prd_env_rate_code(w)) / PRD_RATE_MAX - 1)
       < 1 / 32768.0, "rate");
    is_int(prd_env_depth_code(w), 0x1fffff, "depth");
}


/* Trust is for what was done in the hours that earned it. */

static void
proven(void)
{
    unsigned       i, wrong;
    prd_pooled_t   p;
    prd_learned_t  l;

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);
    prd_learned_init(&l, &p, 1, (double) LAB_S);

    l.mu = 3;
    l.blocks = 8;
    l.depth = 128;
    l.cap_depth = 256;
    l.hours = 24;
    prd_learned_prove(&l);

    /* half way from 2^3 to 2^7 */

    is_int(prd_learned_trust(&l, 32), 48, "in full up to the proven depth");
    is_int(prd_learned_trust(&l, 40), 36, "then less");
    is_int(prd_learned_trust(&l, 63), 1, "nearly none");
    is_int(prd_learned_trust(&l, 64), 1, "none from twice that on");
    is_int(prd_learned_trust(&l, 1e30f), 1, "and so on");

    l.depth = 256;
    is_int(prd_learned_trust(&l, 64), 1, "whatever the depth has become");
    prd_learned_prove(&l);
    is_int(prd_learned_trust(&l, 45), 48, "until it is proven, too");

    l.blocks = UINT16_MAX;
    prd_learned_prove(&l);
    is_int(prd_learned_trust(&l, 256), 48, "after many blocks all of it");

    l.depth = 1e-3f;
    l.mu = -10;
    prd_learned_prove(&l);
    ok(prd_learned_trust(&l, 1.1f) > 1 && prd_learned_trust(&l, 2.4f) == 1,
       "at least a 200th of the cap");

    l.depth = 256;

    for (i = wrong = 0; i < 5; i++) {
        l.mu = i == 0 ? NAN : i == 1 ? INFINITY : i == 2 ? -INFINITY : 0;
        l.cap_depth = i == 3 ? NAN : i == 4 ? 0 : 256;
        prd_learned_prove(&l);
        wrong += prd_learned_trust(&l, 0) != 48;
        wrong += prd_learned_trust(&l, 1000) > 48;
        wrong += prd_learned_trust(&l, NAN) > 48;
    }

    is_int(wrong, 0, "odd numbers give some trust or none");

    /* with no trust for the moment a client is still known, or has an hour */

    l.cap_depth = 256;
    l.mu = 0;

    for (i = wrong = 0; i <= UINT16_MAX; i++) {
        uint64_t  env;

        l.hours = (uint16_t) i;
        env = prd_env(7, prd_learned_trust(&l, 1e6f), 1, 1);
        wrong += !!prd_env_known(env) != (i >= 2);
        wrong += (prd_env_trust(env) > 0) != (i > 0);
        wrong += prd_env_trust(env) > 2;

        env = prd_env(7, prd_learned_trust(&l, 1), 1, 1);
        wrong += !!prd_env_known(env) != (i >= 2);
        wrong += (prd_env_trust(env) > 0) != (i > 0);
    }

    is_int(wrong, 0, "who is known stays known");

    /* the end of an hour proves its depth, blocks do not */

    prd_learned_init(&l, &p, 1, 3600.0 * 1000);
    l.mu = 0;
    l.sigma = 0.3f;
    l.blocks = 100;
    l.hours = 8;
    l.depth = 2;
    l.cap_depth = 64;
    prd_learned_prove(&l);
    wrong = l.proven;

    for (i = 0; i < 100; i++) {
        prd_learned_block(&l, &p, &cold, 50, 0, 3600.0 * 1000 + 10 * i);
    }

    ok(l.depth > 40 && l.proven == wrong, "blocks prove nothing");
    l.count = 5;
    (void) prd_learned_hour_end(&l, 1001);
    ok(l.proven < wrong, "the end of their hour does");
}


static void
small_things(void)
{
    unsigned       i, wrong;
    prd_pooled_t   p;
    prd_learned_t  l;

    static const unsigned  ages[][2] = {
        { 0, 0 }, { 1, 1 }, { 2, 1 }, { 3, 2 }, { 7, 2 }, { 8, 3 }, { 31, 3 },
        { 32, 4 }, { 127, 4 }, { 128, 5 }, { 65535, 5 }
    };

    for (i = wrong = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
        wrong += prd_age(ages[i][0]) != ages[i][1];
    }

    is_int(wrong, 0, "age classes");

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);
    prd_learned_init(&l, &p, 77, (double) LAB_S);

    is_int(l.generation, 77, "a record begins with its generation");
    ok(l.depth == (float) p.newcomer_b && l.rate == (float) p.newcomer_r,
       "and the newcomer's envelope");
    ok(p.newcomer_b >= 2 && isfinite(p.newcomer_b) && p.newcomer_r > 0,
       "which is something from the start");

    is_int(prd_learned_trust(&l, 0), 0, "no trust at first");
    l.hours = 1;
    is_int(prd_learned_trust(&l, 0), 6, "little after an hour");

    for (i = 2, wrong = 0; i <= UINT16_MAX; i++) {
        l.hours = (uint16_t) i;
        wrong += prd_learned_trust(&l, 0)
                 != prd_min(63, (unsigned) (64.0 * i / (i + 8.0)));
    }

    is_int(wrong, 0, "trust is n / (n + 8)");

    /* an hour counts once */

    prd_learned_init(&l, &p, 1, 3600.0 * 1000);
    is_int(prd_learned_hour_end(&l, 1001), PRD_DECLINED, "an empty hour");
    l.count = 5;
    is_int(prd_learned_hour_end(&l, 1000), PRD_DECLINED, "not ended yet");
    is_int(prd_learned_hour_end(&l, 1001), PRD_OK, "ended");
    is_int(prd_learned_hour_end(&l, 1001), PRD_DECLINED, "once");
    is_int(prd_learned_hour_end(&l, 1002), PRD_DECLINED, "and only once");
    prd_learned_hour(&l, &p, &cold, 1, 3600.0 * 1003);
    is_int(l.hours, 1, "closing it does not count it again");
    l.count = 5;
    prd_learned_hour(&l, &p, &cold, 1, 3600.0 * 1004);
    is_int(l.hours, 2, "closing one that was not counted does");
    ok(l.count == 0 && !l.counted, "a closed hour is empty");

    l.hours = l.blocks = UINT16_MAX;
    l.count = 5;
    prd_learned_hour(&l, &p, &cold, 1, 3600.0 * 1005);
    prd_learned_block(&l, &p, &cold, 5, 1, 3600.0 * 1005);
    ok(l.hours == UINT16_MAX && l.blocks == UINT16_MAX,
       "blocks and hours saturate");
    ok(isfinite(l.depth) && isfinite(l.rate), "and all goes on");
}


typedef enum { LOGNORMAL, HEAVY, INTERMITTENT, MIXED, KINDS } kind_e;


static double
peak_of(kind_e kind, double scale)
{
    double  u;

    switch (kind) {

    case LOGNORMAL:
        return scale * exp(0.7 * lab_normal());

    case HEAVY:                          /* Pareto, no variance */
        u = lab_uniform();
        return scale * pow(u, -1 / 1.5);

    default:                             /* now and then a batch */
        return lab_below(20) ? scale * (1 + (double) lab_below(3))
                             : scale * (20 + (double) lab_below(30));
    }
}


/*
 * Clients come, ask, and go; each has a scale and a kind of its own.  In the
 * long run the depth covers what `confidence` says, over the blocks of all.
 */

static void
coverage(kind_e kind, const char *name)
{
    enum { CLIENTS = 400, BINS = 3000 };

    int            i, c, life[CLIENTS], age;
    double         now, scale[CLIENTS], closed, missed, peak, worst;
    kind_e         k[CLIENTS];
    prd_pooled_t   p;
    prd_learned_t  l[CLIENTS];

    const prd_envelope_terms_t  *t;

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);
    memset(life, 0, sizeof(life));

    for (i = 0; i < BINS; i++) {

        /* ten minutes between blocks: three weeks, the first half warm-up */

        t = i < BINS / 3 ? &cold : &warm;
        now = (double) LAB_S + 600.0 * i;
        prd_pooled_newcomer(&p, t, now);

        if (i == BINS / 3) {
            memset(p.closed, 0, sizeof(p.closed));
            memset(p.missed, 0, sizeof(p.missed));
        }

        for (c = 0; c < CLIENTS; c++) {

            if (life[c]-- == 0) {
                prd_learned_init(&l[c], &p, 0, now);
                life[c] = 1 + (int) lab_magnitude(2000);
                scale[c] = exp(1.5 + lab_normal());
                k[c] = kind == MIXED ? (kind_e) lab_below(3) : kind;
            }

            peak = floor(peak_of(k[c], scale[c]));
            peak = prd_max(peak, 1);

            prd_learned_block(&l[c], &p, t, peak, 1, now);
        }
    }

    for (age = 0, closed = missed = 0, worst = 1; age < PRD_AGES; age++) {
        closed += p.closed[age];
        missed += p.missed[age];

        if (p.closed[age] > 20000) {
            worst = prd_min(worst, 1 - p.missed[age] / p.closed[age]);
        }
    }

    ok(1 - missed / closed > 0.997 && 1 - missed / closed < 0.9997,
       "%s: %.4f %% of %.0f blocks are within the depth", name,
       100 - 100 * missed / closed, closed);
    ok(worst > 0.99, "the worst age class has %.3f %%", 100 * worst);
}


/*
 * Whatever a client does: neither depth nor rate is above twice the greatest
 * of 24 hours before, and so for shorter times.  What it was allowed counts,
 * used or not; and the growth of a time without an update, up to a day, comes
 * with the next one.
 */

static void
growth(int script, const char *name)
{
    enum { BINS = 10 * 8640 };

    static float   depth[BINS], rate[BINS];    /* the greatest so far */
    int            i, s, bad;
    double         now, peak, count, most, idle;
    prd_pooled_t   p;
    prd_learned_t  l;

    static const int  spans[] = { 1, 60, 360, 2160, 8640 };

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);

    /* a client with a habit of one request a block */

    prd_learned_init(&l, &p, 0, (double) LAB_S);

    for (i = 0; i < 500; i++) {
        prd_learned_block(&l, &p, &cold, 1, 0, (double) LAB_S + 10 * i);
    }

    l.count = 10;
    prd_learned_hour(&l, &p, &cold, 0, (double) LAB_S + 5000);

    l.cap_depth = l.depth;
    l.cap_rate = l.rate;
    l.depth_at = l.rate_at = (uint32_t) LAB_S + 5000;
    idle = script == 5 ? DAY : 3600;

    bad = 0;

    for (i = 0; i < BINS; i++) {
        now = (double) LAB_S + 5000 + 10.0 * i;
        peak = count = 0;

        switch (script) {

        case 0:                          /* all it can, all the time */
            peak = count = 4000000;
            break;

        case 1:                          /* once an hour, all it can */
            peak = count = i % 360 == 0 ? 4e9 : 0;
            break;

        case 2:                          /* quiet, then wild, then quiet */
            peak = count = (i / 2000) % 2 ? 1e6 : 1;
            break;

        case 3:                          /* random over 9 decades */
            peak = (double) lab_magnitude(1000000000);
            count = (double) lab_magnitude(1000000000);
            break;

        case 4:                          /* just above what is known */
            peak = 2 * l.depth;
            count = 2 * l.rate * 10;
            break;

        default:                         /* away for 5 days */
            peak = count = i == 100 || (i > 43000 && i < 44000) ? 1e7 : 0;
            break;
        }

        if (peak > 0) {
            prd_learned_block(&l, &p, &warm, peak, 1, now);
            prd_learned_near(&l, &p, &warm, count, 1, now);

            if (l.epoch != (uint16_t) (uint64_t) (now / 3600)) {
                if (l.count > 0) {
                    prd_learned_hour(&l, &p, &warm, 1, now);
                }

                l.epoch = (uint16_t) (uint64_t) (now / 3600);
            }

            l.count += (float) count;
        }

        depth[i] = prd_max(l.cap_depth, i ? depth[i - 1] : 0);
        rate[i] = prd_max(l.cap_rate, i ? rate[i - 1] : 0);

        for (s = 0; s < 5; s++) {

            if (i < spans[s]) {
                break;
            }

            /* floats: some 1e-7 a step */

            most = exp2((spans[s] * 10 + idle) / DAY) * 1.001;
            bad += l.depth > depth[i - spans[s]] * most;
            bad += l.rate > rate[i - spans[s]] * most;
            bad += !isfinite(l.depth) || !isfinite(l.rate);
        }
    }

    ok(bad == 0, "%s: never above twice in 24 h; after 10 days depth %.1f "
       "rate %.4f", name, l.depth, l.rate);
    ok(depth[BINS - 1] > 2 && l.depth >= 2, "and never below 2");
}


/*
 * A client that is heavier than newcomers are: its envelope follows at once
 * when its first hours are over, up to eight newcomers' rates, until it has
 * been here for a day.  Not of a moment's flood, nor where growth is bounded
 * for all.
 */

static void
young(void)
{
    int            i;
    double         rate;
    prd_pooled_t   p;
    prd_learned_t  l;

    static const struct {
        const prd_envelope_terms_t  *terms;
        uint16_t                     hours;     /* with the one closed */
        double                       wanted;    /* newcomers' rates */
        double                       given;
    } sets[] = {
        { &free_, 3, 4, 1 },
        { &free_, 4, 4, 4 },
        { &free_, 23, 4, 4 },
        { &free_, 23, 1e6, 8 },
        { &free_, 24, 4, 1 },
        { &warm, 4, 4, 1 }
    };

    for (i = 0; i < 6; i++) {
        prd_pooled_init(&p, &cold);
        prd_pooled_newcomer(&p, &cold, (double) LAB_S);
        prd_learned_init(&l, &p, 0, (double) LAB_S);
        rate = p.newcomer_r;

        l.hours = sets[i].hours - 1;
        l.count = (float) (3600 * rate * sets[i].wanted);
        l.mu_rate = log2f(l.count);
        p.rate[prd_age(sets[i].hours)].z = 0;
        prd_learned_hour(&l, &p, sets[i].terms, 0, (double) LAB_S + 3600);

        /* an hour's growth comes on top where it is bounded */

        ok(l.rate > sets[i].given * rate * 0.99
           && l.rate < sets[i].given * rate * exp2(1 / 24.0) * 1.01,
           "in hour %d, who wants %.0f newcomers' rates has %.2f",
           sets[i].hours, sets[i].wanted, l.rate / rate);
    }

    prd_learned_init(&l, &p, 0, (double) LAB_S);
    l.hours = 8;
    l.mu_rate = 0;
    p.rate[prd_age(8)].z = 0;

    for (i = 1; i <= 30; i++) {
        prd_learned_near(&l, &p, &free_, 1e5, 0, (double) LAB_S + i * 10);
    }

    prd_learned_near(&l, &p, &free_, 1e5, 0, (double) LAB_S + 700);

    ok(l.rate < 1.01 * rate, "a flood of minutes has %.2f", l.rate / rate);
}


/*
 * Most strangers never come back.  What they leave behind counts for a quarter
 * in what newcomers get: who comes back tells what a client needs.
 */

static void
strangers(void)
{
    int            i;
    double         mu, first, later;
    prd_pooled_t   p;
    prd_learned_t  l;

    prd_pooled_init(&p, &cold);
    mu = p.mu;

    prd_learned_init(&l, &p, 0, (double) LAB_S);
    prd_learned_block(&l, &p, &cold, 1024, 1, (double) LAB_S);
    first = p.mu - mu;

    p.mu = mu;
    prd_learned_block(&l, &p, &cold, 1024, 1, (double) LAB_S + 10);
    later = p.mu - mu;

    ok(first > 0 && fabs(first / later - 0.25) < 1e-6,
       "a first block counts %.2f of a later one", first / later);

    for (i = 0; i < 20; i++) {
        mu = p.mu;
        prd_learned_block(&l, &p, &cold, 1024, 1, (double) LAB_S + 20 + i * 10);
    }

    ok(p.mu == mu, "and from the ninth on none");
}


/* In warm-up it may follow at once, and it may always fall at once. */

static void
freedom(void)
{
    int            i;
    float          before;
    prd_pooled_t   p;
    prd_learned_t  l;

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);
    prd_learned_init(&l, &p, 0, (double) LAB_S);
    before = l.depth;

    for (i = 0; i < 30; i++) {
        prd_learned_block(&l, &p, &cold, 10000, 0, (double) LAB_S + 10 * i);
    }

    ok(l.depth > 2 * before, "in warm-up %.1f grows to %.1f",
       before, l.depth);

    for (i = 0; i < 400; i++) {
        prd_learned_block(&l, &p, &warm, 3, 0, (double) LAB_S + 1000 + 10 * i);
    }

    ok(l.depth < 200, "an envelope falls with its habit: %.1f", l.depth);
    ok(l.cap_depth > 4000, "its cap does not, within an hour: %.1f",
       l.cap_depth);

    for (i = 0; i < 30; i++) {
        prd_learned_block(&l, &p, &warm, 5000, 0,
                          (double) LAB_S + 6000 + 10 * i);
    }

    ok(l.depth > 4000, "so that it is back when the habit is: %.1f", l.depth);
}


static void
newcomers(void)
{
    int            i, bad_band, bad_step;
    double         now, b, r, a_b, a_r, a_mu, start;
    prd_pooled_t   p;
    prd_learned_t  l;

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);

    start = p.newcomer_b;
    bad_band = bad_step = 0;

    for (i = 0; i < 3 * 8640; i++) {
        now = (double) LAB_S + 10.0 * i;
        a_b = p.anchor_b;
        a_r = p.anchor_r;
        a_mu = p.anchor_mu;

        /* eight fresh keys a bin, all as wild as they can */

        prd_learned_init(&l, &p, 0, now);
        prd_learned_block(&l, &p, &warm, 4e6, 1, now);
        l.count = 4e9f;
        prd_learned_hour(&l, &p, &warm, 1, now);

        prd_pooled_newcomer(&p, &warm, now);

        b = log2(p.newcomer_b);
        r = log2(p.newcomer_r * 3600);

        bad_band += fabs(b - p.anchor_b) > 1.000001;
        bad_band += fabs(r - p.anchor_r) > 1.000001;
        bad_step += i && (fabs(p.anchor_b - a_b) > 10 / DAY * 1.0001
                          || fabs(p.anchor_r - a_r) > 10 / DAY * 1.0001
                          || fabs(p.anchor_mu - a_mu) > 10 / DAY * 1.0001);
    }

    is_int(bad_band, 0, "the newcomer's envelope stays within 2 of its anchor");
    is_int(bad_step, 0, "the anchor moves by at most 2 a day");
    ok(p.newcomer_b > start && p.newcomer_b <= start * 16.01,
       "three days of wild keys: depth from %.2f to %.2f", start,
       p.newcomer_b);

    /* an hour later, a step back, and again: no time, no movement */

    a_b = p.anchor_b;
    prd_pooled_newcomer(&p, &warm, now - 3600);
    ok(p.anchor_b == a_b, "a step back moves no anchor");

    prd_pooled_newcomer(&p, &cold, now);
    ok(fabs(p.anchor_b - log2(p.newcomer_b)) < 1e-9,
       "in warm-up the anchor follows");
}


static void
quantiles(void)
{
    int            i, day, bad;
    float          z;
    double         now;
    prd_pooled_t   p;
    prd_learned_t  l;

    prd_pooled_init(&p, &warm);
    prd_pooled_newcomer(&p, &warm, (double) LAB_S);

    /* the first recomputation is free: there was nothing to hold to */

    for (i = 0; i < 20; i++) {
        prd_learned_init(&l, &p, 0, (double) LAB_S);
        prd_learned_block(&l, &p, &warm, 5, 1, (double) LAB_S);
    }

    z = p.depth[0].z;
    bad = 0;

    for (day = 1; day <= 6; day++) {

        for (i = 0; i < 5000; i++) {
            now = (double) LAB_S + DAY * (day - 1) + DAY * i / 5000;
            prd_learned_init(&l, &p, 0, now);

            /* three days up, three days down */

            prd_learned_block(&l, &p, &warm, day <= 3 ? 4e6 : 1e-3, 1, now);
        }

        bad += fabsf(p.depth[0].z - z) > 0.5f * 1.01f;
        z = p.depth[0].z;
        bad += !isfinite(z);
    }

    is_int(bad, 0, "Z moves by at most 0.5 a day, either way");

    now += 1000;
    z = p.depth[0].z;

    for (i = 0; i < 200; i++) {
        prd_learned_init(&l, &p, 0, now);
        prd_learned_block(&l, &p, &warm, 4e6, 1, now - 7200);
    }

    ok(fabsf(p.depth[0].z - z) < 0.011f, "a clock that steps back moves no Z");
}


static unsigned
unsound(const prd_learned_t *l, const prd_pooled_t *p)
{
    int       i, j;
    unsigned  n;

    n = !isfinite(l->mu) + !isfinite(l->sigma) + !isfinite(l->mu_rate)
        + !isfinite(l->sigma_rate) + !isfinite(l->depth) + !isfinite(l->rate)
        + !isfinite(l->cap_depth) + !isfinite(l->cap_rate)
        + !isfinite(l->level) + !isfinite(l->near)
        + !(l->depth > 0) + !(l->rate >= 0)
        + !isfinite(prd_learned_forecast(l, p, &warm, (double) LAB_S + 9000));

    for (i = 0; i < PRD_AGES; i++) {
        n += !isfinite(p->depth[i].z) + !isfinite(p->rate[i].z)
             + !isfinite(p->near[i].z);

        for (j = 0; j < PRD_CELLS; j++) {
            n += !isfinite(p->depth[i].cell[j]) + !isfinite(p->rate[i].cell[j])
                 + !isfinite(p->near[i].cell[j]);
        }
    }

    return n + !isfinite(p->mu) + !isfinite(p->sigma) + !isfinite(p->mu_rate)
           + !isfinite(p->sigma_rate) + !isfinite(p->newcomer_b)
           + !isfinite(p->newcomer_r) + !isfinite(p->anchor_b)
           + !isfinite(p->anchor_r);
}


static void
absurd(void)
{
    int            i, j, learning;
    double         now;
    unsigned       n;
    prd_pooled_t   p;
    prd_learned_t  l;

    const prd_envelope_terms_t  *t;
    static const struct {
        double       v;
        const char  *name;
    } values[] = {
        { 1e30, "1e30" }, { 4294967295.0, "2^32" }, { 1e-30, "1e-30" },
        { 0, "0" }, { -1, "-1" }, { NAN, "NaN" }, { INFINITY, "infinite" },
        { DBL_MAX, "the greatest double" }
    };

    for (i = 0; i < (int) (sizeof(values) / sizeof(values[0])); i++) {

        for (learning = 0; learning < 2; learning++) {
            t = learning ? &cold : &warm;
            prd_pooled_init(&p, t);
            prd_pooled_newcomer(&p, t, (double) LAB_S);
            prd_learned_init(&l, &p, 0, (double) LAB_S);
            n = 0;

            for (j = 0; j < 400; j++) {
                now = (double) LAB_S + 60.0 * j;
                prd_learned_block(&l, &p, t, j % 3 ? values[i].v : 7, 1, now);
                prd_learned_near(&l, &p, t, j % 3 ? values[i].v : 7, 1, now);
                l.count += j % 3 ? (float) values[i].v : 7;

                if (j % 60 == 59) {
                    prd_learned_hour(&l, &p, t, 1, now);
                }

                prd_pooled_newcomer(&p, t, now);
                n += unsound(&l, &p);
            }

            is_int(n, 0, "peaks and counts of %s%s", values[i].name,
                   learning ? ", in warm-up" : "");
        }
    }
}


static void
saturation(void)
{
    int            i;
    double         sum;
    prd_pooled_t   p;
    prd_learned_t  l;

    prd_pooled_init(&p, &warm);
    prd_pooled_newcomer(&p, &warm, (double) LAB_S);
    prd_learned_init(&l, &p, 0, (double) LAB_S);

    for (i = 0; i < 300000; i++) {
        prd_learned_block(&l, &p, &warm, 1 + (double) lab_below(20), 1,
                          (double) LAB_S + 10.0 * i);
        l.count = 20;
        prd_learned_hour(&l, &p, &warm, 1, (double) LAB_S + 10.0 * i);
        prd_learned_near(&l, &p, &warm, 3, 1, (double) LAB_S + 300.0 * i);
    }

    is_int(l.blocks, UINT16_MAX, "blocks saturate");
    is_int(l.hours, UINT16_MAX, "hours saturate");
    ok(p.depth[5].votes <= 50001 && p.rate[5].votes <= 20001
       && p.near[5].votes <= 20001, "votes are halved: %.0f %.0f %.0f",
       p.depth[5].votes, p.rate[5].votes, p.near[5].votes);

    for (i = 0, sum = 0; i < PRD_CELLS; i++) {
        sum += p.depth[5].cell[i];
    }

    ok(fabs(sum - p.depth[5].votes) < 1, "and add up: %.2f of %.2f", sum,
       p.depth[5].votes);
    is_int(unsound(&l, &p), 0, "all is finite");
    ok(l.depth > 18 && l.depth < 80, "a depth of %.1f for peaks of 1 to 20",
       l.depth);
}


static void
clock_back(void)
{
    int            i;
    float          depth, rate;
    prd_pooled_t   p;
    prd_learned_t  l;

    prd_pooled_init(&p, &warm);
    prd_pooled_newcomer(&p, &warm, (double) LAB_S);
    prd_learned_init(&l, &p, 0, (double) LAB_S);

    for (i = 0; i < 100; i++) {
        prd_learned_block(&l, &p, &warm, 5, 1, (double) LAB_S + 10.0 * i);
        prd_learned_near(&l, &p, &warm, 5, 1, (double) LAB_S + 10.0 * i);
    }

    depth = prd_max(l.depth, l.cap_depth);
    rate = prd_max(l.rate, l.cap_rate);

    for (i = 0; i < 100; i++) {
        prd_learned_block(&l, &p, &warm, 1e6, 1, (double) LAB_S - 1e6 * i);
        prd_learned_near(&l, &p, &warm, 1e6, 1, (double) LAB_S - 1e6 * i);
        l.count = 1e6;
        prd_learned_hour(&l, &p, &warm, 1, (double) LAB_S - 1e6 * i);
    }

    ok(l.depth <= depth && l.rate <= rate,
       "a clock that runs backwards lets nothing grow");
    is_int(unsound(&l, &p), 0, "all is finite");
}


/*
 * The near forecast: a steady client is forecast what it does; outcomes of
 * clients that are seen for the first time are not outcomes of silence.
 */

static void
near(void)
{
    int            i, j, k, covered, n;
    double         now, f, actual;
    prd_pooled_t   p;
    prd_learned_t  l, all[50];

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);
    covered = n = 0;

    memset(all, 0, sizeof(all));

    for (i = 0; i < 50; i++) {
        prd_learned_init(&all[i], &p, 0, (double) LAB_S);
    }

    /* each once in every horizon, 5 +- 2 */

    for (j = 0; j < 200; j++) {
        now = (double) LAB_S + 300.0 * j;

        for (i = 0; i < 50; i++) {
            actual = 3 + (double) lab_below(5);

            if (j > 100) {
                f = prd_learned_forecast(&all[i], &p, &cold, now);
                covered += f * 300 >= actual;
                n++;
            }

            prd_learned_block(&all[i], &p, &cold, actual, 1, now + 100);
            prd_learned_near(&all[i], &p, &cold, actual, 1, now + 100);
        }
    }

    ok(covered > 0.9 * n && covered < 0.999 * n,
       "95 %%: %.1f %% of horizons within the forecast", 100.0 * covered / n);

    f = prd_learned_forecast(&all[0], &p, &cold, now + 400);
    ok(f > 0.01 && f < 0.05, "%.4f r/s for 5 in 300 s", f);
    ok(prd_learned_forecast(&all[0], &p, &cold, now + 86400) < f / 100,
       "nothing is forecast for one who has been away for a day");

    /*
     * Young clients only: those who come in every horizon, and those who come
     * in every other one.  That they were not there before the first is not
     * an outcome of any forecast.
     */

    for (k = 1; k <= 2; k++) {
        prd_pooled_init(&p, &cold);
        prd_pooled_newcomer(&p, &cold, (double) LAB_S);

        for (i = 0; i < 500; i++) {
            now = (double) LAB_S + 9000.0 * i;
            prd_learned_init(&l, &p, 0, now);

            for (j = 0; j < 8; j++) {
                prd_learned_block(&l, &p, &cold, 4, 1, now + 300 * k * j);
                prd_learned_near(&l, &p, &cold, 4, 1, now + 300 * k * j);
            }
        }

        f = prd_learned_forecast(&l, &p, &cold, now + 300 * k * 7) * 300;
        ok(f > 2 && f < 20,
           "4 in every %s horizon: %.3f are forecast",
           k == 1 ? "single" : "other", f);

        f = prd_learned_forecast(&l, &p, &cold, now + 300 * k * 8) * 300;
        ok(f > 1 && f < 20, "and in the next: %.3f", f);
    }
}


/*
 * A count is known to be of an hour that ended, and waits for the client's
 * next request: it takes nothing from what the coming horizon may have.
 */

static void
ended_hour(void)
{
    float                 open, ended;
    prd_pooled_t          p;
    prd_learned_t         l;
    prd_envelope_terms_t  t;

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);
    prd_learned_init(&l, &p, 0, (double) LAB_S);

    l.hours = 20;
    l.mu_rate = 8;                            /* a batch of some 256 an hour */
    l.sigma_rate = 0.1f;
    l.cap_rate = l.rate = 100;
    l.epoch = (uint16_t) (LAB_S / 3600);

    t = warm;
    t.ahead = 0.5f;                           /* 150 in the next horizon */

    l.count = 5000;
    prd_learned_ahead(&l, &p, &t, (double) LAB_S);
    open = l.rate;

    is_int(prd_learned_hour_end(&l, (uint16_t) (l.epoch + 1)), PRD_OK,
           "an hour of 5000 ends");
    prd_learned_ahead(&l, &p, &t, (double) LAB_S);
    ended = l.rate;

    ok(open < 0.4, "who has had 5000 in it is left nothing: %.3f r/s", open);
    ok(ended > 0.49, "in the next one what is forecast: %.3f r/s", ended);
}


/*
 * The same of a client that goes on through the full hour: its near forecast
 * is worked out before the hour is closed, a moment later, and until then the
 * count holds, or each full hour would be a further step of growth.
 */

static void
through_the_hour(void)
{
    float          through, idle;
    double         now;
    prd_pooled_t   p;
    prd_learned_t  l, was;

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);
    prd_learned_init(&l, &p, 0, (double) LAB_S);

    l.hours = 20;
    l.mu_rate = 8;
    l.sigma_rate = 0.1f;
    l.cap_rate = l.rate = 100;

    /* the first block of an hour closes the last horizon of the one before */

    now = ceil((double) LAB_S / 3600) * 3600 + PRD_BIN_S;
    l.epoch = (uint16_t) (uint64_t) (now / 3600 - 1);
    l.near_bin = (uint16_t) (uint64_t) ((now - 3600) / warm.horizon_s + 11);
    l.near = 150;
    l.level = 0.5f;                           /* 150 in a horizon */
    l.run = 100;
    l.count = 5000;
    (void) prd_learned_hour_end(&l, (uint16_t) (l.epoch + 1));
    was = l;

    prd_learned_near(&l, &p, &warm, 1, 0, now);
    through = l.rate;

    /* the one before that it was not there: it came back to an idle hour */

    l = was;
    l.near_bin--;
    prd_learned_near(&l, &p, &warm, 1, 0, now);
    idle = l.rate;

    ok(through < 0.4, "who goes on through the hour waits for its end: "
       "%.3f r/s", through);
    ok(idle > 0.4, "who paused does not: %.3f r/s", idle);
}


/*
 * A client that was quiet for long and begins something new: its backlog
 * grows from block to block.  The depth has to catch up with it.
 */

static void
surge(void)
{
    int            i;
    double         now, missed;
    prd_pooled_t   p;
    prd_learned_t  l;

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);
    prd_learned_init(&l, &p, 0, (double) LAB_S);
    now = (double) LAB_S;

    for (i = 0; i < 500; i++) {
        prd_learned_block(&l, &p, &cold, 1, 0, now += 10);
    }

    l.cap_depth = 1e6f;
    p.depth[5].z = 4;                         /* as where most are steady */
    missed = p.missed[5];

    for (i = 1; i <= 60; i++) {
        prd_learned_block(&l, &p, &warm, 3 * i, 0, now += 10);
    }

    missed = p.missed[5] - missed;

    ok(missed > 0 && missed < 12, "%.0f blocks in a row of %d are above the"
       " depth when a quiet client's demand rises", missed, 60);
}


/*
 * What was refused is not known: an hour or a block in which the limit was
 * reached never lowers what it was learned to be, nor does a limited hour with
 * little in it raise it.
 */

static void
limited(void)
{
    int            i, lower, higher, depths;
    double         now, was, habit;
    prd_pooled_t   p;
    prd_learned_t  l, twin;

    prd_pooled_init(&p, &cold);
    prd_pooled_newcomer(&p, &cold, (double) LAB_S);
    lower = higher = depths = 0;

    for (i = 0; i < 20000; i++) {
        prd_learned_init(&l, &p, 0, (double) LAB_S);
        now = (double) LAB_S + 3600;

        l.mu_rate = (float) (14 * lab_uniform());
        l.sigma_rate = (float) (0.3 + 2 * lab_uniform());
        l.hours = (uint16_t) lab_magnitude(500);
        habit = exp2(l.mu_rate
                     + l.sigma_rate * p.rate[prd_age(l.hours)].z);
        l.rate = l.cap_rate = (float) (habit / 3600);

        was = l.rate;
        l.count = (float) lab_magnitude(1000000);
        l.limited = 1;
        twin = l;
        prd_learned_hour(&l, &p, &warm, 0, now);

        /* the class of its age may have become another: a smaller tail */

        if (prd_age(l.hours - 1) == prd_age(l.hours)) {
            lower += l.rate < was * 0.999;
            higher += twin.count < habit * 0.97 && l.rate > was * 1.001;
        }

        lower += l.limited || l.count != 0;

        l.mu = (float) (10 * lab_uniform());
        l.sigma = (float) (0.3 + 2 * lab_uniform());
        l.blocks = (uint16_t) (500 + lab_below(1000));
        l.depth = exp2f(l.mu + l.sigma * p.depth[5].z);
        l.cap_depth = l.depth = (float) (l.depth / (double) lab_magnitude(50));

        was = l.depth;
        prd_learned_block(&l, &p, &warm, was * (1.001 + lab_uniform()), 0,
                          now);
        depths += l.depth < was * 0.999 && was > 2;
    }

    is_int(lower, 0, "a limited hour never lowers the rate");
    is_int(higher, 0, "nor raises it, unless the rate was used up");
    is_int(depths, 0, "a block above the depth never lowers it");
}


int
main(void)
{
    codes();
    small_things();
    proven();

    coverage(LOGNORMAL, "lognormal");
    coverage(HEAVY, "heavy-tailed");
    coverage(INTERMITTENT, "intermittent");
    coverage(MIXED, "all of them");

    growth(0, "flood");
    growth(1, "once an hour");
    growth(2, "quiet and wild");
    growth(3, "random");
    growth(4, "just above");
    growth(5, "away");
    young();
    strangers();
    freedom();
    newcomers();
    quantiles();
    absurd();
    saturation();
    clock_back();
    near();
    ended_hour();
    through_the_hour();
    surge();
    limited();

    return done_testing();
}
