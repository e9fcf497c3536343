
/*
 * The habits of a client; see prd_habit.h.
 *
 * Time of day is a direction, so its mean and spread are circular: with R the
 * length of the mean of unit vectors, the spread is sqrt(-2 ln R) (Mardia and
 * Jupp, Directional Statistics, 2000).  With few sessions R is large by
 * chance: n random directions give R^2 of 1/n in the mean, which is taken
 * off.
 */


#include <math.h>

#include "prd_habit.h"


#define PRD_HABIT_DAY_S     86400
#define PRD_HABIT_WEEK_S    (7 * PRD_HABIT_DAY_S)
#define PRD_HABIT_SPREAD_H  6.0f      /* as wide as this is no focus */
#define PRD_HABIT_GAIN      32        /* gaps that a mean gap is made of */

/* what a few sessions show of these is held against so many of the usual */
#define PRD_HABIT_GAPS_0    2.0f
#define PRD_HABIT_NIGHT_0   3.0f
#define PRD_HABIT_WEEKEND_0 3.0f


static void prd_habit_fold(prd_habit_t *h, int32_t offset_s);
static void prd_habit_fade(prd_habit_t *h, float f);
static void prd_habit_gap(prd_habit_t *h, uint32_t gap_s);
static uint64_t prd_habit_local(uint64_t wall_s, int32_t offset_s);
static uint64_t prd_habit_weekend_s(uint64_t local_s);
static float prd_habit_weekend(const prd_habit_t *h, uint64_t now_s,
    int32_t offset_s);
static float prd_habit_focus(const prd_habit_t *h, float n);
static int prd_habit_signed(float v, int most);
static int prd_habit_unsigned(float v, int most);


/* directions of the middle of each hour of the day */

static const float  prd_habit_cos[24] = {
     0.991445f,  0.923880f,  0.793353f,  0.608761f,  0.382683f,  0.130526f,
    -0.130526f, -0.382683f, -0.608761f, -0.793353f, -0.923880f, -0.991445f,
    -0.991445f, -0.923880f, -0.793353f, -0.608761f, -0.382683f, -0.130526f,
     0.130526f,  0.382683f,  0.608761f,  0.793353f,  0.923880f,  0.991445f
};


const char *
prd_habit_name(prd_habit_e f)
{
    switch (f) {

    case PRD_HABIT_RATE:
        return "rate";

    case PRD_HABIT_BUSY:
        return "busy";

    case PRD_HABIT_BURST:
        return "burst";

    case PRD_HABIT_ACTIVE:
        return "active";

    case PRD_HABIT_REGULAR:
        return "regular";

    case PRD_HABIT_FOCUS:
        return "focus";

    case PRD_HABIT_NIGHT:
        return "night";

    case PRD_HABIT_WEEKEND:
        return "weekend";

    case PRD_HABIT_SIZE:
        return "size";

    case PRD_HABIT_ERRORS:
        return "errors";

    case PRD_HABIT_FEATURES:
        break;
    }

    return "";
}


void
prd_habit_count(prd_habit_t *h, const prd_habit_bin_t *b, uint64_t wall_s,
    int32_t offset_s)
{
    uint32_t  bin, gap, back, hour, was;

    if (b->count == 0) {
        return;
    }

    bin = (uint32_t) (prd_max(wall_s, PRD_HABIT_DAY_S) / PRD_BIN_S);

    if (h->first == 0) {
        h->first = h->last = bin;

    } else if (bin < h->last) {

        back = h->last - bin;

        if (back <= PRD_HABIT_DAY_S / PRD_BIN_S) {
            bin = h->last;

        } else {
            h->first = h->first > back ? h->first - back : 1;
            h->last = bin;
        }

    } else if (bin - h->last > PRD_HABIT_LOST_S / PRD_BIN_S) {
        memset(h, 0, sizeof(prd_habit_t));
        h->first = h->last = bin;
    }

    gap = bin - h->last;

    if (gap > PRD_HABIT_GAP_S / PRD_BIN_S) {
        prd_habit_gap(h, gap * PRD_BIN_S);
    }

    hour = (uint32_t) (prd_habit_local((uint64_t) bin * PRD_BIN_S, offset_s)
                       / PRD_EPOCH_S);
    was = (uint32_t) (prd_habit_local((uint64_t) h->last * PRD_BIN_S, offset_s)
                      / PRD_EPOCH_S);

    if (hour != was) {
        prd_habit_fold(h, offset_s);

        /* with summer's end the local hour comes twice */

        if (hour > was) {
            prd_habit_fade(h, expf(-(float) (hour - was) / PRD_HABIT_FADE_H));
        }
    }

    if (gap || h->bins == 0) {
        h->bins++;
    }

    h->last = bin;
    h->count += (float) b->count;
    h->hour += (float) b->count;
    h->errors += (float) prd_min(b->errors, b->count);

    if (b->cost > 0) {
        h->cost += fminf(b->cost, 1e18f);
    }
}


/* Adds the open hour to the mean direction and the shares. */

static void
prd_habit_fold(prd_habit_t *h, int32_t offset_s)
{
    int       night, weekend;
    float     w, g;
    uint32_t  hour, day;
    uint64_t  local_s;

    if (h->hour <= 0) {
        return;
    }

    local_s = prd_habit_local((uint64_t) h->last * PRD_BIN_S, offset_s);
    hour = (uint32_t) (local_s / PRD_EPOCH_S % 24);
    day = (uint32_t) (local_s / PRD_HABIT_DAY_S % 7);

    night = hour >= 22 || hour < 6;
    weekend = day == 2 || day == 3;       /* the epoch was a Thursday */

    w = sqrtf(h->hour);
    h->root += w;
    h->hour = 0;
    g = w / h->root;

    h->cosine += (int16_t) prd_habit_signed(
                     g * (prd_habit_cos[hour] * 32767 - h->cosine), 65534);
    h->sine += (int16_t) prd_habit_signed(
                   g * (prd_habit_cos[(hour + 18) % 24] * 32767 - h->sine),
                   65534);
    h->night += (uint16_t) prd_habit_signed(
                    g * (float) (night * 65535 - h->night), 65535);
    h->weekend += (uint16_t) prd_habit_signed(
                      g * (float) (weekend * 65535 - h->weekend), 65535);
}


static void
prd_habit_fade(prd_habit_t *h, float f)
{
    h->count *= f;
    h->cost *= f;
    h->errors *= f;
    h->bins *= f;
    h->gaps *= f;
    h->root *= f;
}


/* Mean and variance of ln(gap), over all first, then exponential. */

static void
prd_habit_gap(prd_habit_t *h, uint32_t gap_s)
{
    float  y, mean, variance, d, g;

    h->gaps++;
    g = 1 / fminf(h->gaps, PRD_HABIT_GAIN);

    y = logf((float) gap_s / PRD_HABIT_GAP_S);
    mean = (float) h->gap_mean / 4096;
    variance = (float) h->gap_variance / 4096;

    d = y - mean;
    variance = (1 - g) * (variance + g * d * d);

    h->gap_mean = (uint16_t) prd_habit_unsigned((mean + g * d) * 4096, 65535);
    h->gap_variance = (uint16_t) prd_habit_unsigned(variance * 4096, 65535);
}


prd_rc_t
prd_habit_features(const prd_habit_t *habit, uint64_t now_s, int32_t offset_s,
    float bins, float *x)
{
    float        n, known_h, age_h, idle_h, active_h, f;
    uint64_t     last_s;
    prd_habit_t  copy, *h;

    if (habit->first == 0 || habit->bins <= 0 || habit->bins < bins) {
        return PRD_DECLINED;
    }

    copy = *habit;
    h = &copy;

    prd_habit_fold(h, offset_s);

    last_s = (uint64_t) h->last * PRD_BIN_S;
    idle_h = now_s > last_s ? (float) (now_s - last_s) / 3600 : 0;
    age_h = fmaxf((float) prd_habit_age_s(h, now_s) / 3600, 1);

    /* faded like the sums: hours that were */

    known_h = fmaxf(PRD_HABIT_FADE_H * (1 - expf(-age_h / PRD_HABIT_FADE_H)),
                    1);
    f = expf(-fminf(idle_h, 1440) / PRD_HABIT_FADE_H);

    /*
     * As many hours as would give the same sums if all were alike: the
     * inverse of Simpson's index with weights sqrt(requests)
     */

    active_h = fmaxf(h->root * h->root / fmaxf(h->count, 1e-6f), 1e-3f);

    x[PRD_HABIT_RATE] = log10f(h->count * f / known_h * 24 + 0.01f);
    x[PRD_HABIT_BUSY] = log10f(fmaxf(h->count / active_h, 1));
    x[PRD_HABIT_BURST] = log10f(fmaxf(h->count / h->bins, 1));
    x[PRD_HABIT_ACTIVE] = sqrtf(fminf(active_h * f / known_h, 1));

    f = ((float) h->gap_variance / 4096 * h->gaps + PRD_HABIT_GAPS_0)
        / (h->gaps + PRD_HABIT_GAPS_0);
    x[PRD_HABIT_REGULAR] = expf(-sqrtf(f));

    n = fmaxf(h->gaps + 1, active_h / 4);

    x[PRD_HABIT_FOCUS] = prd_habit_focus(h, n);
    x[PRD_HABIT_NIGHT] = ((float) h->night / 65535 * n
                          + PRD_HABIT_NIGHT_0 / 3) / (n + PRD_HABIT_NIGHT_0);
    x[PRD_HABIT_WEEKEND] = (prd_habit_weekend(h, now_s, offset_s) * n
                            + PRD_HABIT_WEEKEND_0) / (n + PRD_HABIT_WEEKEND_0);
    x[PRD_HABIT_SIZE] = fminf(fmaxf(log2f(h->cost / h->count + 1e-6f), -20),
                              60);
    x[PRD_HABIT_ERRORS] = fminf(h->errors / h->count, 1);

    return PRD_OK;
}


static float
prd_habit_focus(const prd_habit_t *h, float n)
{
    float  c, s, r2, spread_h;

    c = (float) h->cosine / 32767;
    s = (float) h->sine / 32767;
    r2 = fminf(c * c + s * s, 1);

    if (n <= 1) {
        return 0;
    }

    r2 = (n * r2 - 1) / (n - 1);

    if (r2 <= 0) {
        return 0;
    }

    /* two directions may agree by chance */

    spread_h = sqrtf(-logf(fminf(r2, 1))) * 3.8197186f;

    return fmaxf(1 - spread_h / PRD_HABIT_SPREAD_H, 0)
           * fminf(n - 1, 1);
}


/* Share of the weekend in what was done over its share in the time. */

static float
prd_habit_weekend(const prd_habit_t *h, uint64_t now_s, int32_t offset_s)
{
    uint64_t  from_s, to_s, age_s;
    float     share;

    age_s = prd_habit_age_s(h, now_s);
    to_s = prd_habit_local(prd_max(now_s, (uint64_t) h->last * PRD_BIN_S),
                           offset_s);
    from_s = to_s > age_s ? to_s - age_s : 0;

    share = (float) (prd_habit_weekend_s(to_s) - prd_habit_weekend_s(from_s))
            / (float) prd_max(to_s - from_s, 1);

    if (share * (float) age_s < PRD_HABIT_DAY_S / 2
        || (1 - share) * (float) age_s < PRD_HABIT_DAY_S / 2)
    {
        /* only one of them was seen */
        return 1;
    }

    return fminf((float) h->weekend / 65535 / share, 2);
}


/* Seconds of weekends from the epoch to `local_s`. */

static uint64_t
prd_habit_weekend_s(uint64_t local_s)
{
    uint64_t  in;

    in = local_s % PRD_HABIT_WEEK_S;
    in = in > 2 * PRD_HABIT_DAY_S ? in - 2 * PRD_HABIT_DAY_S : 0;

    return local_s / PRD_HABIT_WEEK_S * (2 * PRD_HABIT_DAY_S)
           + prd_min(in, 2 * PRD_HABIT_DAY_S);
}


static uint64_t
prd_habit_local(uint64_t wall_s, int32_t offset_s)
{
    offset_s = prd_max(prd_min(offset_s, PRD_HABIT_DAY_S), -PRD_HABIT_DAY_S);

    return (uint64_t) ((int64_t) wall_s + offset_s);
}


uint64_t
prd_habit_age_s(const prd_habit_t *h, uint64_t now_s)
{
    uint64_t  first_s;

    first_s = (uint64_t) h->first * PRD_BIN_S;

    if (h->first == 0) {
        return 0;
    }

    now_s = prd_max(now_s, (uint64_t) h->last * PRD_BIN_S);

    return now_s > first_s ? now_s - first_s : 0;
}


static int
prd_habit_signed(float v, int most)
{
    return (int) lrintf(fminf(fmaxf(v, (float) -most), (float) most));
}


static int
prd_habit_unsigned(float v, int most)
{
    return (int) lrintf(fminf(fmaxf(v, 0), (float) most));
}


void
prd_habit_pack(const prd_habit_t *h, uint8_t *p)
{
    unsigned  i;
    uint32_t  v[12];

    v[0] = h->first;
    v[1] = h->last;
    memcpy(&v[2], &h->count, 7 * sizeof(uint32_t));
    v[9] = (uint32_t) (uint16_t) h->cosine
           | (uint32_t) (uint16_t) h->sine << 16;
    v[10] = (uint32_t) h->night | (uint32_t) h->weekend << 16;
    v[11] = (uint32_t) h->gap_mean | (uint32_t) h->gap_variance << 16;

    for (i = 0; i < PRD_HABIT_PACKED; i++) {
        p[i] = (uint8_t) (v[i / 4] >> (i % 4 * 8));
    }
}


prd_rc_t
prd_habit_unpack(prd_habit_t *h, const uint8_t *p)
{
    float        f[7];
    unsigned     i;
    uint32_t     v[12];
    prd_habit_t  to;

    memset(v, 0, sizeof(v));

    for (i = 0; i < PRD_HABIT_PACKED; i++) {
        v[i / 4] |= (uint32_t) p[i] << (i % 4 * 8);
    }

    memcpy(f, &v[2], sizeof(f));

    for (i = 0; i < 7; i++) {
        if (!(f[i] >= 0 && f[i] <= 1e30f)) {
            return PRD_ECORRUPT;
        }
    }

    if (v[1] < v[0]) {
        return PRD_ECORRUPT;
    }

    to.first = v[0];
    to.last = v[1];
    memcpy(&to.count, f, sizeof(f));
    to.cosine = (int16_t) (uint16_t) v[9];
    to.sine = (int16_t) (uint16_t) (v[9] >> 16);
    to.night = (uint16_t) v[10];
    to.weekend = (uint16_t) (v[10] >> 16);
    to.gap_mean = (uint16_t) v[11];
    to.gap_variance = (uint16_t) (v[11] >> 16);

    *h = to;

    return PRD_OK;
}
