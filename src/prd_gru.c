
/*
 * The recurrent network: see prd_gru.h.
 *
 * One step for a client, h being the hidden state and x the inputs:
 *
 *     r, u = S(Wx x + Wh h)              reset and update gates
 *     c    = T(Cx x + Ch (r h))          candidate
 *     h    = (1 - u) h + u c
 *     a    = Vx x + Vh h                 outputs, 4 for each horizon
 *
 *     q50 = a0, q90 = q50 + P(a1), q95 = q90 + P(a2), q99 = q95 + P(a3)
 *
 * T is Lambert's continued fraction of tanh cut after two terms, which
 * reaches +-1 with slope 0 at +-3: no call, no table, and its derivative is
 * exact.  S(v) = (1 + T(v / 2)) / 2, P(v) = (v + sqrt(v^2 + 4)) / 2.
 *
 * The skip from x to the outputs makes the network a linear regression to
 * begin with; the cells learn what is left.
 */


#include <math.h>

#include "prd_gru.h"


/* What others may be reading; the thread that writes it reads it plainly. */
#define gru_relaxed(field, value)                                             \
    do {                                                                      \
        __typeof__(field)  value_ = (value);                                  \
                                                                              \
        __atomic_store(&(field), &value_, __ATOMIC_RELAXED);                  \
    } while (0)


#define H  PRD_GRU_HIDDEN
#define I  PRD_GRU_INPUTS
#define O  PRD_GRU_OUTPUTS
#define Q  PRD_GRU_QUANTILES

/* where the parameters of each product begin: row by input, a column a cell */

#define GATE_X  0
#define GATE_H  (GATE_X + I * 2 * H)
#define CAND_X  (GATE_H + H * 2 * H)
#define CAND_H  (CAND_X + I * H)
#define OUT_X   (CAND_H + H * H)
#define OUT_H   (OUT_X + I * O)

#define GRU_Z_ONE       1024.0f
#define GRU_Z_HALF      0.405465f      /* ln(1 + 0.5): below is nothing */
#define GRU_SPREAD_ONE  4096.0f
#define GRU_SPREAD_MIN  0.02f
#define GRU_Z_MAX       63.0f
#define GRU_WHOLE       32.0f
#define GRU_QUIET       1.386294f      /* ln 4: of a client that is quiet */
#define GRU_SURGE       1.386294f      /* forecasts up to 4 times the peak */
#define GRU_OUT_MAX     16.0f          /* in spreads */

#define GRU_LEVEL       (1.0f / 12)    /* slowest gain of level and spread */
#define GRU_FAST        0.3f
#define GRU_FADE        0.97f

#define GRU_LR          0.005f
#define GRU_LR_MIN      0.001f
#define GRU_LR_STEPS    1000.0f
#define GRU_BETA_M      0.9f
#define GRU_BETA_V      0.99f
#define GRU_CLIP        1.0f           /* of the norm of a gradient */

#define GRU_IDLE_ROUNDS 64             /* until a recording is given up */
#define GRU_SHORTEST    4              /* bins that are worth a training */

enum {
    GRU_FREE = 0,
    GRU_RECORDING,
    GRU_READY
};


/* four floats anywhere: what every machine's compiler makes the best of */

typedef float gru_four_t
    __attribute__((vector_size(16), aligned(4), may_alias));

typedef int32_t gru_mask_t __attribute__((vector_size(16)));


static const float  gru_u[Q] = { 0.5f, 0.9f, 0.95f, 0.99f };
static const int    gru_ahead[PRD_GRU_HORIZONS] = { 1, 6, 12 };


static inline float
gru_clamp(float v, float lo, float hi)
{
    /* NaN becomes lo */

    return v > lo ? (v < hi ? v : hi) : lo;
}


static uint16_t
gru_pack(float v, float one)
{
    return (uint16_t) gru_clamp(v * one + 0.5f, 0, 65535);
}


/* splitmix64 (Steele, Lea, Flood 2014); 0 .. 1, below 1 */

static float
gru_random(uint64_t *state)
{
    uint64_t  z;

    z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    z ^= z >> 31;

    return (float) (z >> 40) / 16777216.0f;
}


static inline gru_four_t
gru_clamp_four(gru_four_t v, float to)
{
    gru_mask_t  in;
    gru_four_t  hi, lo;

    hi = (gru_four_t) { to, to, to, to };
    lo = -hi;

    in = v < hi;
    v = (gru_four_t) (((gru_mask_t) v & in) | ((gru_mask_t) hi & ~in));
    in = v > lo;

    return (gru_four_t) (((gru_mask_t) v & in) | ((gru_mask_t) lo & ~in));
}


/*
 * v <- T(v) for n of them, a multiple of 4, whose derivatives go to d unless
 * that is NULL.
 */

static inline void
gru_tanh(float *v, float *d, size_t n)
{
    size_t      k;
    gru_four_t  x, y, square;

    for (k = 0; k < n; k += 4) {
        x = gru_clamp_four(*(gru_four_t *) (v + k), 3);
        square = x * x;

        if (d) {
            y = (9 - square) / (9 + 3 * square);
            *(gru_four_t *) (d + k) = y * y;
        }

        *(gru_four_t *) (v + k) = x * (27 + square) / (27 + 9 * square);
    }
}


/* the same with S */

static inline void
gru_sigmoid(float *v, float *d, size_t n)
{
    size_t      k;
    gru_four_t  *p;

    p = (gru_four_t *) v;

    for (k = 0; k < n / 4; k++) {
        p[k] *= 0.5f;
    }

    gru_tanh(v, d, n);

    for (k = 0; k < n / 4; k++) {
        p[k] = 0.5f + 0.5f * p[k];
    }

    if (d) {
        p = (gru_four_t *) d;

        for (k = 0; k < n / 4; k++) {
            p[k] *= 0.25f;
        }
    }
}


static inline float
gru_plus(float v)
{
    return (v + sqrtf(v * v + 4)) / 2;
}


static inline float
gru_plus_d(float v)
{
    return (1 + v / sqrtf(v * v + 4)) / 2;
}


/* linear near 0, at most +-4 */

static inline float
gru_soften(float v)
{
    v = gru_clamp(v, -1e6f, 1e6f);

    return v / sqrtf(1 + v * v / 16);
}


static float
gru_spread(const prd_gru_client_t *c)
{
    float  s;

    s = (float) c->spread / GRU_SPREAD_ONE;

    return s > GRU_SPREAD_MIN ? s : GRU_SPREAD_MIN;
}


/* What the network is told of a client after the bin c->bin. */

static void
gru_inputs(const prd_gru_client_t *c, uint32_t bin_s, int32_t offset_s,
    float x[I])
{
    float    s, scale, phase;
    int64_t  second;

    s = gru_spread(c);
    scale = 1 / s;

    /* the middle of the next bin, on the local day */

    second = ((int64_t) c->bin + 1) * bin_s + bin_s / 2 + offset_s;
    second = (second % 86400 + 86400) % 86400;
    phase = (float) second * (6.2831853f / 86400);

    x[0] = 1;
    x[1] = gru_soften(((float) c->last / GRU_Z_ONE - c->level) * scale);
    x[2] = gru_soften(((float) c->fast / GRU_Z_ONE - c->level) * scale);
    x[3] = gru_soften(((float) c->peak / GRU_Z_ONE - c->level) * scale);
    x[4] = c->level / 8;
    x[5] = gru_clamp(s, 0, 4);
    x[6] = log2f(1 + (float) c->idle) / 4;
    x[7] = c->idle == 0;
    x[8] = sinf(phase);
    x[9] = cosf(phase);
    x[10] = log2f((float) bin_s / 300) / 3;
    x[11] = 1 / sqrtf(1 + (float) c->age);
}


/* Takes one bin into all of a client's state but h. */

static void
gru_feed(prd_gru_client_t *c, uint16_t z16)
{
    float  z, d, s, peak, fast;

    z = (float) z16 / GRU_Z_ONE;

    if (c->age == 0) {
        c->level = z;
        c->fast = c->peak = z16;
        c->spread = gru_pack(0.5f, GRU_SPREAD_ONE);

    } else {
        d = z - c->level;
        c->level += d * fmaxf(1 / ((float) c->age + 1), GRU_LEVEL);
        c->level = gru_clamp(c->level, 0, GRU_Z_MAX);

        s = gru_spread(c);
        s = s * s + (d * d - s * s) * fmaxf(1 / ((float) c->age + 3),
                                            GRU_LEVEL);
        c->spread = gru_pack(sqrtf(s), GRU_SPREAD_ONE);

        fast = (float) c->fast / GRU_Z_ONE;
        c->fast = gru_pack(fast + (z - fast) * GRU_FAST, GRU_Z_ONE);

        /* fades towards the level */

        peak = (float) c->peak / GRU_Z_ONE;
        peak = c->level + (peak - c->level) * GRU_FADE;
        c->peak = gru_pack(fmaxf(peak, z), GRU_Z_ONE);
    }

    c->last = z16;
    c->bin++;
    c->age += c->age < 255;
    c->idle = z16 ? 0 : c->idle + (c->idle < 255);
}


/* y += x of `rows` inputs times a matrix; `columns` is a multiple of 12 */

static inline void
gru_product(float *restrict y, const float *restrict x,
    const float *restrict w, size_t rows, size_t columns)
{
    size_t        i, k;
    gru_four_t    a, b, c, *to;
    const gru_four_t  *from;

    for (k = 0; k < columns; k += 12) {
        to = (gru_four_t *) (y + k);

        a = to[0];
        b = to[1];
        c = to[2];

        for (i = 0; i < rows; i++) {
            from = (const gru_four_t *) (w + i * columns + k);

            a += x[i] * from[0];
            b += x[i] * from[1];
            c += x[i] * from[2];
        }

        to[0] = a;
        to[1] = b;
        to[2] = c;
    }
}


/* One step: h from the one before; the tape, if there is one, is written. */

static void
gru_step(const float *w, const float *x, float *h, prd_gru_tape_t *tape)
{
    float   gate[2 * H], cand[H], rh[H];
    size_t  k;

    memset(gate, 0, sizeof(gate));
    memset(cand, 0, sizeof(cand));

    gru_product(gate, x, w + GATE_X, I, 2 * H);
    gru_product(gate, h, w + GATE_H, H, 2 * H);
    gru_product(cand, x, w + CAND_X, I, H);

    gru_sigmoid(gate, tape ? tape->gate_d : NULL, 2 * H);

    for (k = 0; k < H; k++) {
        rh[k] = gate[k] * h[k];
    }

    gru_product(cand, rh, w + CAND_H, H, H);

    if (tape) {
        memcpy(tape->h, h, sizeof(tape->h));
        memcpy(tape->gate, gate, sizeof(gate));
    }

    gru_tanh(cand, tape ? tape->cand_d : NULL, H);

    for (k = 0; k < H; k++) {
        h[k] += gate[H + k] * (cand[k] - h[k]);
    }

    if (tape) {
        memcpy(tape->cand, cand, sizeof(cand));
    }
}


static void
gru_outputs(const float *w, const float *x, const float *h, float out[O])
{
    memset(out, 0, O * sizeof(float));

    gru_product(out, x, w + OUT_X, I, O);
    gru_product(out, h, w + OUT_H, H, O);
}


/* The hidden state of a client, to and from int8. */

static void
gru_unpack_h(const prd_gru_client_t *c, float h[H])
{
    size_t  k;

    for (k = 0; k < H; k++) {
        h[k] = (float) c->h[k] / 127;
    }
}


static void
gru_pack_h(prd_gru_client_t *c, const float h[H])
{
    size_t  k;

    /* +128 and down: rounds to nearest without a call */

    for (k = 0; k < H; k++) {
        c->h[k] = (int8_t) ((int) (gru_clamp(h[k], -1, 1) * 127 + 128.5f)
                            - 128);
    }
}


/* The first weights: h is 0, the median half way from level to last value. */

static void
gru_begin(prd_gru_t *g)
{
    float     scale, w[PRD_GRU_PARAMS];
    size_t    i, k;
    uint64_t  random;

    random = g->seed + g->resets;

    memset(w, 0, sizeof(w));
    memset(g->m, 0, sizeof(g->m));
    memset(g->v, 0, sizeof(g->v));
    memset(g->grad, 0, sizeof(g->grad));

    g->steps = 0;

    scale = 1 / sqrtf(I + H);

    for (i = 0; i < OUT_X; i++) {
        w[i] = (2 * gru_random(&random) - 1) * scale;
    }

    for (i = OUT_H; i < PRD_GRU_PARAMS; i++) {
        w[i] = (2 * gru_random(&random) - 1) * scale / 4;
    }

    for (k = 0; k < O; k += Q) {
        w[OUT_X + 1 * O + k] = k ? 0.1f : 0.3f;         /* last */
        w[OUT_X + 2 * O + k] = k ? 0.4f : 0.4f;         /* fast */
        w[OUT_X + 0 * O + k + 2] = -1;
    }

    /* memory to begin with: gates of update mostly shut */

    for (k = 0; k < H; k++) {
        w[GATE_X + H + k] -= 1;
    }

    for (i = 0; i < PRD_GRU_PARAMS; i++) {
        gru_relaxed(g->w[i], w[i]);
    }
}


void
prd_gru_init(prd_gru_t *g, uint64_t seed)
{
    memset(g, 0, sizeof(prd_gru_t));

    g->magic = PRD_GRU_MAGIC;
    g->version = PRD_GRU_VERSION;
    g->size = sizeof(prd_gru_t);
    g->seed = seed;
    g->random = seed ^ 0x6772752d72616e64ull;
    g->every = 1;
    g->whole = 1;

    gru_begin(g);
}


static int
gru_finite(const float *v, size_t n)
{
    float   sum;
    size_t  i;

    /* 0 * v is 0, or NaN if v is not finite */

    for (sum = 0, i = 0; i < n; i++) {
        sum += v[i] * 0;
    }

    return sum == 0;
}


static int
gru_sane(const prd_gru_client_t *c)
{
    return c->version == PRD_GRU_VERSION && c->level >= 0
           && c->level <= GRU_Z_MAX && c->slot <= PRD_GRU_WINDOWS;
}


prd_rc_t
prd_gru_check(const prd_gru_t *g, size_t size)
{
    size_t                   i;
    uint32_t                 recording;
    const prd_gru_window_t  *win;

    if (size != sizeof(prd_gru_t) || g->magic != PRD_GRU_MAGIC
        || g->version != PRD_GRU_VERSION || g->size != sizeof(prd_gru_t))
    {
        return PRD_EVERSION;
    }

    for (i = 0; i < PRD_GRU_PARAMS; i++) {
        if (!(fabsf(g->w[i]) <= PRD_GRU_PARAM_MAX) || !(g->v[i] >= 0)) {
            return PRD_ECORRUPT;
        }
    }

    if (!gru_finite(g->m, PRD_GRU_PARAMS) || !gru_finite(g->v, PRD_GRU_PARAMS)
        || !isfinite(g->loss) || g->cursor >= PRD_GRU_WINDOWS
        || !(g->every >= 1) || !(g->votes >= 0))
    {
        return PRD_ECORRUPT;
    }

    recording = 0;

    for (i = 0; i < PRD_GRU_WINDOWS; i++) {
        win = &g->windows[i];
        recording += win->state == GRU_RECORDING;

        if (win->state > GRU_READY || win->want > PRD_GRU_WINDOW
            || win->len > win->want)
        {
            return PRD_ECORRUPT;
        }

        if (win->state != GRU_FREE
            && (win->bin_s == 0 || win->bin_s > 86400
                || (win->start.version && !gru_sane(&win->start))))
        {
            return PRD_ECORRUPT;
        }
    }

    return recording == g->recording ? PRD_OK : PRD_ECORRUPT;
}


/* The window that records this client, if it still does. */

static prd_gru_window_t *
gru_window(prd_gru_t *g, const prd_gru_client_t *c, uint32_t bin_s)
{
    prd_gru_window_t  *win;

    if (c->slot == 0) {
        return NULL;
    }

    win = &g->windows[c->slot - 1];

    /* given up, or of another client since: what it held need not be ours */

    if (win->state != GRU_RECORDING || win->bin_s != bin_s
        || win->next != c->bin + 1 || win->len == 0
        || win->z[win->len - 1] != c->last)
    {
        return NULL;
    }

    return win;
}


static void
gru_stop(prd_gru_t *g, prd_gru_window_t *win)
{
    win->state = win->len >= GRU_SHORTEST ? GRU_READY : GRU_FREE;
    g->recording--;
}


/* Begins to record a client, or not: by its weight, and as there is room. */

static prd_gru_window_t *
gru_record(prd_gru_t *g, prd_gru_client_t *c, uint32_t bin_s, uint32_t bin,
    float weight)
{
    uint32_t           i;
    prd_gru_window_t  *win;

    if (!(weight > 0) || g->recording >= PRD_GRU_WINDOWS / 2
        || gru_random(&g->random) * g->every >= weight)
    {
        return NULL;
    }

    /* at most half of them record, so the loop ends */

    do {
        i = g->cursor;
        g->cursor = (i + 1) % PRD_GRU_WINDOWS;
        win = &g->windows[i];
    } while (win->state == GRU_RECORDING);

    win->start = *c;
    win->start.slot = 0;
    win->start.bin = bin - 1;
    win->bin_s = bin_s;
    win->next = bin;
    win->len = 0;
    win->want = (uint8_t) (8 + gru_random(&g->random)
                               * (PRD_GRU_WINDOW - 7));
    win->state = GRU_RECORDING;
    g->recording++;

    c->slot = (i + 1) & 0xfff;

    return win;
}


static void
gru_close(prd_gru_t *g, prd_gru_client_t *c, uint32_t bin_s, uint16_t z16,
    float weight)
{
    float              x[I], h[H];
    prd_gru_window_t  *win;

    win = gru_window(g, c, bin_s);

    if (win == NULL) {
        c->slot = 0;
        win = gru_record(g, c, bin_s, c->bin + 1, weight);
    }

    if (win) {
        win->z[win->len++] = z16;
        win->next++;
        win->touched = g->round;

        if (win->len == win->want) {
            gru_stop(g, win);
            c->slot = 0;
        }
    }

    gru_feed(c, z16);
    gru_inputs(c, bin_s, g->offset_s, x);
    gru_unpack_h(c, h);
    gru_step(g->w, x, h, NULL);
    gru_pack_h(c, h);
}


/* `gap` bins without requests, too many to go through */

static void
gru_skip(prd_gru_t *g, prd_gru_client_t *c, uint32_t bin_s, uint32_t gap)
{
    float              keep, d, s;
    prd_gru_window_t  *win;

    win = gru_window(g, c, bin_s);

    if (win) {
        gru_stop(g, win);
    }

    keep = powf(1 - GRU_LEVEL, (float) gap);
    s = gru_spread(c);
    d = c->level * (1 - keep);

    /* of z = 0 all the time */

    c->level -= d;
    c->spread = gru_pack(sqrtf(s * s * keep + c->level * d), GRU_SPREAD_ONE);
    c->fast = c->last = 0;
    c->peak = gru_pack(c->level, GRU_Z_ONE);
    c->slot = 0;
    c->idle = 255;
    c->age = (uint8_t) (gap < 255u - c->age ? c->age + gap : 255);
    c->bin += gap;

    memset(c->h, 0, sizeof(c->h));
}


prd_rc_t
prd_gru_add(prd_gru_t *g, prd_gru_client_t *c, uint32_t bin_s, uint32_t bin,
    double y, double weight)
{
    float     w;
    int64_t   gap;
    uint16_t  z16;

    if (!(y >= 0) || bin_s == 0 || bin_s > 86400) {
        return PRD_EINVAL;
    }

    z16 = gru_pack(gru_clamp((float) log1p(y), 0, GRU_Z_MAX), GRU_Z_ONE);
    w = gru_clamp((float) weight, 0, 1);

    gap = gru_sane(c) ? (int64_t) (int32_t) (bin - c->bin) - 1
                      : -PRD_GRU_GAP - 2;

    if (gap < 0 && gap >= -PRD_GRU_GAP - 1) {
        return PRD_ESTALE;
    }

    g->votes += w;

    if (gap < 0) {
        memset(c, 0, sizeof(prd_gru_client_t));
        c->version = PRD_GRU_VERSION;
        c->bin = bin - 1;

    } else if (gap > PRD_GRU_GAP) {
        gru_skip(g, c, bin_s, (uint32_t) gap);

    } else {
        while (gap--) {
            gru_close(g, c, bin_s, 0, 0);
        }
    }

    gru_close(g, c, bin_s, z16, w);

    return PRD_OK;
}


/*
 * Quantiles of counts are whole.  Large ones are as good without; between a
 * half and 1 the network is unsure rather than inexact.
 */

static inline float
gru_count(float z, uint32_t whole)
{
    float  q;

    if (z <= GRU_Z_HALF) {
        return 0;
    }

    q = expf(z) - 1;

    return whole && q > 1 && q < GRU_WHOLE ? (float) (int) (q + 0.5f) : q;
}


prd_rc_t
prd_gru_forecast(const prd_gru_t *g, const prd_gru_client_t *c,
    uint32_t bin_s, float q[PRD_GRU_HORIZONS][PRD_GRU_QUANTILES])
{
    float   x[I], h[H], out[O], v, s, z, most;
    size_t  i, k;

    if (!gru_sane(c) || bin_s == 0 || bin_s > 86400) {
        return PRD_DECLINED;
    }

    gru_inputs(c, bin_s, g->offset_s, x);
    gru_unpack_h(c, h);
    gru_outputs(g->w, x, h, out);

    s = gru_spread(c);

    /* where the scale has just changed, tails are not to be believed */

    most = fmaxf((float) c->peak / GRU_Z_ONE, GRU_QUIET) + GRU_SURGE;

    for (i = 0; i < PRD_GRU_HORIZONS; i++) {
        v = 0;

        for (k = 0; k < Q; k++) {
            v += k ? gru_plus(out[i * Q + k]) : out[i * Q];
            v = gru_clamp(v, -GRU_OUT_MAX, GRU_OUT_MAX);
            z = gru_clamp(c->level + s * v, 0, most);
            q[i][k] = gru_count(z, g->whole);
        }
    }

    return PRD_OK;
}


void
prd_gru_copy(prd_gru_t *copy, const prd_gru_t *g)
{
    size_t  i;

    for (i = 0; i < PRD_GRU_PARAMS; i++) {
        __atomic_load(&g->w[i], &copy->w[i], __ATOMIC_RELAXED);
    }

    copy->offset_s = __atomic_load_n(&g->offset_s, __ATOMIC_RELAXED);
    copy->whole = __atomic_load_n(&g->whole, __ATOMIC_RELAXED);
}


void
prd_gru_tell(prd_gru_told_t *told, const prd_gru_t *g)
{
    told->trained = __atomic_load_n(&g->trained, __ATOMIC_RELAXED);
    told->resets = __atomic_load_n(&g->resets, __ATOMIC_RELAXED);
    __atomic_load(&g->loss, &told->loss, __ATOMIC_RELAXED);
}


void
prd_gru_of(prd_gru_t *g, int32_t offset_s, uint32_t whole)
{
    gru_relaxed(g->offset_s, offset_s);
    gru_relaxed(g->whole, whole);
}


/* The loss of a window, its tape written; n: the targets that it had. */

static double
gru_forward(const float *w, const prd_gru_window_t *win, int32_t offset_s,
    prd_gru_tape_t *tape, uint32_t *n)
{
    float             h[H], h_after[H], y, v, e, weight, sum_d, d[Q];
    double            loss;
    size_t            t, to, i, k;
    prd_gru_client_t  c;

    c = win->start;
    gru_unpack_h(&c, h);

    for (t = 0; t < win->len; t++) {
        gru_feed(&c, win->z[t]);
        gru_inputs(&c, win->bin_s, offset_s, tape[t].x);

        tape[t].level = c.level;
        tape[t].spread = gru_spread(&c);

        gru_step(w, tape[t].x, h, &tape[t]);
        memcpy(h_after, h, sizeof(h));
        gru_outputs(w, tape[t].x, h_after, tape[t].out);
        memset(tape[t].out_d, 0, sizeof(tape[t].out_d));
    }

    loss = 0;
    *n = 0;

    for (t = 0; t < win->len; t++) {
        for (i = 0; i < PRD_GRU_HORIZONS; i++) {

            to = t + (size_t) gru_ahead[i];

            if (to >= win->len) {
                break;
            }

            y = win->z[to] ? (float) win->z[to] / GRU_Z_ONE : GRU_Z_HALF;
            y = (y - tape[t].level) / tape[t].spread;
            y = gru_clamp(y, -GRU_OUT_MAX, GRU_OUT_MAX);
            v = 0;

            for (k = 0; k < Q; k++) {
                v += k ? gru_plus(tape[t].out[i * Q + k])
                       : tape[t].out[i * Q];

                weight = expf(gru_clamp(tape[t].spread * v, -2, 2));
                e = y - v;

                if (e > 0 && win->z[to] == 0) {
                    d[k] = 0;
                    continue;
                }

                loss += weight * (e > 0 ? gru_u[k] * e : (gru_u[k] - 1) * e);
                d[k] = weight * (e > 0 ? -gru_u[k] : 1 - gru_u[k]);
            }

            /* an output moves its own quantile and those above */

            for (sum_d = 0, k = Q; k-- > 0; /* void */ ) {
                sum_d += d[k];
                tape[t].out_d[i * Q + k] = sum_d
                    * (k ? gru_plus_d(tape[t].out[i * Q + k]) : 1);
            }

            (*n)++;
        }
    }

    return loss;
}


/*
 * The way back through gru_product(): grad += in d^T, and d_in += W d unless
 * it is NULL.
 */

static inline void
gru_back(const float *restrict w, float *restrict grad,
    const float *restrict in, const float *restrict d,
    float *restrict d_in, size_t rows, size_t columns)
{
    size_t             i, k;
    gru_four_t         sum, *to;
    const gru_four_t  *from, *by;

    for (i = 0; i < rows; i++) {
        sum = (gru_four_t) { 0, 0, 0, 0 };

        to = (gru_four_t *) (grad + i * columns);
        from = (const gru_four_t *) (w + i * columns);
        by = (const gru_four_t *) d;

        for (k = 0; k < columns / 4; k++) {
            to[k] += in[i] * by[k];
            sum += from[k] * by[k];
        }

        if (d_in) {
            d_in[i] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
    }
}


/* Adds a window's gradient, from its tape, to `grad`. */

static void
gru_backward(const float *w, float *grad, const prd_gru_tape_t *tape,
    size_t len)
{
    float                  dh[H], dgate[2 * H], dcand[H], drh[H], rh[H];
    float                  after[H], before[H];
    size_t                 k;
    const prd_gru_tape_t  *p;

    memset(dh, 0, sizeof(dh));

    for (p = tape + len; p-- > tape; /* void */ ) {

        for (k = 0; k < H; k++) {
            after[k] = p->h[k] + p->gate[H + k] * (p->cand[k] - p->h[k]);
            rh[k] = p->gate[k] * p->h[k];
        }

        gru_back(w + OUT_X, grad + OUT_X, p->x, p->out_d, NULL, I, O);
        gru_back(w + OUT_H, grad + OUT_H, after, p->out_d, dh, H, O);

        for (k = 0; k < H; k++) {
            dcand[k] = dh[k] * p->gate[H + k] * p->cand_d[k];
            dgate[H + k] = dh[k] * (p->cand[k] - p->h[k])
                           * p->gate_d[H + k];
            before[k] = dh[k] * (1 - p->gate[H + k]);
        }

        memset(drh, 0, sizeof(drh));
        gru_back(w + CAND_X, grad + CAND_X, p->x, dcand, NULL, I, H);
        gru_back(w + CAND_H, grad + CAND_H, rh, dcand, drh, H, H);

        for (k = 0; k < H; k++) {
            dgate[k] = drh[k] * p->h[k] * p->gate_d[k];
            before[k] += drh[k] * p->gate[k];
        }

        gru_back(w + GATE_X, grad + GATE_X, p->x, dgate, NULL, I, 2 * H);
        gru_back(w + GATE_H, grad + GATE_H, p->h, dgate, before, H, 2 * H);

        memcpy(dh, before, sizeof(dh));
    }
}


/* One step of Adam down g->grad, which is the mean of `n` targets' when done */

static void
gru_descend(prd_gru_t *g, uint32_t n)
{
    float   norm, scale, rate, fix_m, fix_v, d;
    size_t  i;

    for (norm = 0, i = 0; i < PRD_GRU_PARAMS; i++) {
        norm += g->grad[i] * g->grad[i];
    }

    norm = sqrtf(norm) / (float) n;

    if (!isfinite(norm)) {
        g->skipped++;
        memset(g->grad, 0, sizeof(g->grad));
        return;
    }

    scale = (norm > GRU_CLIP ? GRU_CLIP / norm : 1) / (float) n;

    g->steps++;

    rate = fmaxf(GRU_LR / sqrtf(1 + (float) g->steps / GRU_LR_STEPS),
                 GRU_LR_MIN);
    fix_m = 1 / (1 - powf(GRU_BETA_M, (float) g->steps));
    fix_v = 1 / (1 - powf(GRU_BETA_V, (float) g->steps));

    for (i = 0; i < PRD_GRU_PARAMS; i++) {
        d = g->grad[i] * scale;
        g->grad[i] = 0;

        g->m[i] += (1 - GRU_BETA_M) * (d - g->m[i]);
        g->v[i] += (1 - GRU_BETA_V) * (d * d - g->v[i]);

        d = g->m[i] * fix_m / (sqrtf(g->v[i] * fix_v) + 1e-8f);
        gru_relaxed(g->w[i], gru_clamp(g->w[i] - rate * gru_clamp(d, -1, 1),
                                       -PRD_GRU_PARAM_MAX, PRD_GRU_PARAM_MAX));
    }
}


uint32_t
prd_gru_train(prd_gru_t *g, uint32_t budget)
{
    double             loss;
    size_t             i;
    uint32_t           done, batch, n, targets;
    prd_gru_window_t  *win;

    g->round++;

    /* so many windows come free in a round: a share of clients to record */

    g->every = 1 + g->votes * (PRD_GRU_WINDOW / 2) / (PRD_GRU_WINDOWS / 2);
    g->votes = 0;

    for (i = 0; i < PRD_GRU_WINDOWS; i++) {
        win = &g->windows[i];

        if (win->state == GRU_RECORDING
            && g->round - win->touched > GRU_IDLE_ROUNDS)
        {
            gru_stop(g, win);
        }
    }

    /* memory that was written over */

    if (!gru_finite(g->w, PRD_GRU_PARAMS)
        || !gru_finite(g->m, PRD_GRU_PARAMS)
        || !gru_finite(g->v, PRD_GRU_PARAMS))
    {
        gru_relaxed(g->resets, g->resets + 1);
        gru_begin(g);
    }

    targets = batch = done = 0;

    for (i = 0; i < budget; i++) {
        win = &g->windows[(size_t) (gru_random(&g->random)
                                    * PRD_GRU_WINDOWS)];

        /* unbiased: those that are not ready cost the draw */

        if (win->state != GRU_READY) {
            continue;
        }

        loss = gru_forward(g->w, win, g->offset_s, g->tape, &n);

        if (n == 0) {
            continue;
        }

        gru_backward(g->w, g->grad, g->tape, win->len);

        loss = (loss / n - g->loss)
               * fmax(0.001, 1 / ((double) g->trained + 1));
        gru_relaxed(g->loss, g->loss + loss);
        gru_relaxed(g->trained, g->trained + 1);
        targets += n;
        done++;

        if (++batch == PRD_GRU_BATCH) {
            gru_descend(g, targets);
            targets = batch = 0;
        }
    }

    if (batch) {
        gru_descend(g, targets);
    }

    return done;
}
