
/*
 * The recurrent network: its gradient against differences, what it learns,
 * that it repeats itself, and what hostile numbers and clocks do to it.
 */


#include "../../src/prd_gru.c"
#include "lab.h"


#define DAY  24


static prd_gru_t  net, other;


/* A window of z as a client might leave it. */

static void
window(prd_gru_window_t *win, unsigned len, float level, float swing)
{
    unsigned  t;

    memset(win, 0, sizeof(prd_gru_window_t));

    win->bin_s = 300;
    win->state = GRU_READY;
    win->len = win->want = (uint8_t) len;
    win->start.version = PRD_GRU_VERSION;
    win->start.bin = 5666400;
    win->start.age = 100;
    win->start.level = level;
    win->start.fast = win->start.last = gru_pack(level, GRU_Z_ONE);
    win->start.peak = gru_pack(level + swing, GRU_Z_ONE);
    win->start.spread = gru_pack(swing, GRU_SPREAD_ONE);

    for (t = 0; t < H; t++) {
        win->start.h[t] = (int8_t) (lab_random() % 255 - 127);
    }

    for (t = 0; t < len; t++) {
        win->z[t] = gru_pack((float) (level + swing * lab_normal()),
                             GRU_Z_ONE);
    }
}


/* Outputs weighted as the loss's derivatives were at the first weights. */

static double
surrogate(const float *w, const prd_gru_window_t *win,
    const prd_gru_tape_t *base)
{
    double                 sum;
    size_t                 t, k;
    uint32_t               n;
    static prd_gru_tape_t  tape[PRD_GRU_WINDOW];

    (void) gru_forward(w, win, 0, tape, &n);

    for (sum = 0, t = 0; t < win->len; t++) {
        for (k = 0; k < O; k++) {
            sum += (double) base[t].out_d[k] * tape[t].out[k];
        }
    }

    return sum;
}


static void
gradient(void)
{
    float                  w[PRD_GRU_PARAMS], grad[PRD_GRU_PARAMS], eps, keep;
    double                 d, worst, most, loss;
    size_t                 i, part;
    uint32_t               n;
    prd_gru_window_t       win;
    static prd_gru_tape_t  tape[PRD_GRU_WINDOW];

    static const char  *names[] = {
        "gates of inputs", "gates of the state", "candidate of inputs",
        "candidate of the state", "outputs of inputs", "outputs of the state"
    };
    static const size_t  from[] = {
        GATE_X, GATE_H, CAND_X, CAND_H, OUT_X, OUT_H, PRD_GRU_PARAMS
    };

    prd_gru_init(&net, 7);
    memcpy(w, net.w, sizeof(w));

    /* away from what init() leaves at 0 */

    for (i = 0; i < PRD_GRU_PARAMS; i++) {
        w[i] += (float) (lab_normal() * 0.1);
    }

    window(&win, 20, 3, 0.7f);
    memset(grad, 0, sizeof(grad));
    loss = gru_forward(w, &win, 0, tape, &n);
    gru_backward(w, grad, tape, win.len);

    is_int(n, 19 + 14 + 8, "each bin has those targets that are in its window");
    ok(loss > 0 && isfinite(loss), "the loss is %g", loss);

    for (part = 0; part < 6; part++) {
        worst = most = 0;

        for (i = from[part]; i < from[part + 1]; i++) {
            eps = 4e-3f;
            keep = w[i];

            w[i] = keep + eps;
            d = surrogate(w, &win, tape);
            w[i] = keep - eps;
            d = (d - surrogate(w, &win, tape)) / (2 * (double) eps);
            w[i] = keep;

            worst = prd_max(worst, fabs(d - (double) grad[i]));
            most = prd_max(most, fabs(d));
        }

        ok(worst < 0.01 * most, "gradient, %s: off by %.2g of %.3g",
           names[part], worst, most);
    }

    /*
     * Of the loss itself: the median's own output, where spreads are so small
     * that each error counts alike.
     */

    window(&win, 16, 5, GRU_SPREAD_MIN / 20);
    loss = gru_forward(w, &win, 0, tape, &n);

    for (d = 0, i = 0; i < win.len; i++) {
        d += (double) tape[i].out_d[0];
    }

    eps = 1e-3f;
    w[OUT_X] += eps;
    worst = (gru_forward(w, &win, 0, tape, &n) - loss) / (double) eps;
    ok(fabs(worst - d) < 0.1 * fabs(d) + 0.05,
       "gradient of the loss: %.3f for %.3f", d, worst);

    /* a forecast below a half is right about nothing, and stays there */

    memset(win.z, 0, sizeof(win.z));
    win.start.level = 0;

    for (i = OUT_X; i < PRD_GRU_PARAMS; i++) {
        w[i] = i < OUT_X + O ? -10 : 0;
    }

    loss = gru_forward(w, &win, 0, tape, &n);

    for (d = 0, i = 0; i < win.len; i++) {
        d += fabs((double) tape[i].out_d[0]) + fabs((double) tape[i].out_d[3]);
    }

    ok(n > 0 && loss == 0 && d == 0, "nothing, forecast below a half: %g",
       loss);
}


typedef double (*pattern_pt)(unsigned client, unsigned bin);


static double
daily(unsigned client, unsigned bin)
{
    double  mean;

    mean = 20 * (1 + client) * (1.2 + sin(bin * 6.283185 / DAY));

    return floor(mean * (1 + 0.05 * lab_normal()) + 0.5);
}


/* every third bin a batch, the phase is the client's own */

static double
third(unsigned client, unsigned bin)
{
    return (bin + client) % 3 == 0 ? 100.0 * (1 + client) : 5;
}


static void
learns(const char *name, pattern_pt pattern, uint32_t bin_s, unsigned bins,
    double most)
{
    float              q[3][4];
    double             y, off, off_last, loss, above[4];
    unsigned           i, k, t, n;
    prd_gru_client_t   clients[20];
    static double      last[20];

    prd_gru_init(&net, 1);
    memset(clients, 0, sizeof(clients));

    off = off_last = loss = 0;
    n = 0;
    memset(above, 0, sizeof(above));

    for (t = 0; t < bins; t++) {
        for (i = 0; i < 20; i++) {
            y = pattern(i, t);

            if (t >= bins * 3 / 4) {
                (void) prd_gru_forecast(&net, &clients[i], bin_s, q);

                off += fabs(y - (double) q[0][0]) / (1 + i);
                off_last += fabs(y - last[i]) / (1 + i);
                n++;

                for (k = 0; k < 4; k++) {
                    above[k] += y > (double) q[0][k];
                }
            }

            last[i] = y;
            (void) prd_gru_add(&net, &clients[i], bin_s, 24000 + t, y, 1);
        }

        (void) prd_gru_train(&net, 64);
    }

    ok(off < most * off_last, "%s: %.2f of the last value's error", name,
       off / off_last);
    ok(above[3] / n < 0.03 && above[2] / n < 0.1,
       "%s: above q95 %.3f, above q99 %.3f", name, above[2] / n,
       above[3] / n);
    is_int(prd_gru_check(&net, sizeof(net)), PRD_OK, "%s: sound", name);
}


static void
crowd(prd_gru_t *g, uint64_t seed, unsigned strangers)
{
    unsigned                 i, t;
    static prd_gru_client_t  c[60];

    memset(c, 0, sizeof(c));
    prd_gru_init(g, seed);

    for (t = 0; t < 100; t++) {
        for (i = 0; i < 30; i++) {
            (void) prd_gru_add(g, &c[i], 60, t, (i * 7 + t * 3) % 11, 1);
        }

        for (i = 30; i < 30 + strangers; i++) {
            (void) prd_gru_add(g, &c[i], 60, t, 1e9, 0);
        }

        (void) prd_gru_train(g, 16);
    }
}


static void
repeats(void)
{
    crowd(&net, 5, 0);
    crowd(&other, 5, 0);
    ok(memcmp(&net, &other, sizeof(net)) == 0, "the same, twice");

    crowd(&other, 6, 0);
    ok(memcmp(net.w, other.w, sizeof(net.w)) != 0, "another seed");

    crowd(&other, 5, 30);
    ok(memcmp(net.w, other.w, sizeof(net.w)) == 0,
       "clients without a vote teach nothing");
}


/*
 * 20 honest clients of a daily pattern, and ten times as many that come with
 * a tenth of their votes and send what is furthest from it.  The honest
 * clients' error.
 */

static double
flooded(unsigned strangers)
{
    float                    q[3][4];
    double                   y, off;
    unsigned                 i, t;
    static prd_gru_client_t  c[220];

    prd_gru_init(&net, 1);
    memset(c, 0, sizeof(c));
    off = 0;

    for (t = 0; t < 30 * DAY; t++) {
        for (i = 0; i < 20 + strangers; i++) {
            y = i < 20 ? daily(i, t) : t % 2 ? 1e9 : 0;

            if (i < 20 && t >= 20 * DAY
                && prd_gru_forecast(&net, &c[i], 3600, q) == PRD_OK)
            {
                off += fabs(y - (double) q[0][0]) / (1 + i);
            }

            (void) prd_gru_add(&net, &c[i], 3600, 24000 + t, y,
                               i < 20 ? 1 : 0.01);
        }

        (void) prd_gru_train(&net, 32);
    }

    return off;
}


static void
poison(void)
{
    double  alone, among;

    alone = flooded(0);
    among = flooded(200);

    ok(among < 1.5 * alone, "ten times as many strangers with a tenth of the "
       "votes: the error is %.2f of what it was", among / alone);
}


static void
bounds(void)
{
    float     was[PRD_GRU_PARAMS], most;
    size_t    i;
    uint32_t  n;

    crowd(&net, 5, 0);
    memcpy(was, net.w, sizeof(was));
    n = prd_gru_train(&net, 40);

    for (most = 0, i = 0; i < PRD_GRU_PARAMS; i++) {
        most = prd_max(most, fabsf(net.w[i] - was[i]));
    }

    ok(n > 0 && n <= 40, "trains within the budget: %u", n);
    ok(most > 0 && most <= PRD_GRU_LR_MAX * (40 / PRD_GRU_BATCH + 1),
       "a round moves a parameter by %.4f", (double) most);

    memcpy(was, net.w, sizeof(was));
    is_int(prd_gru_train(&net, 0), 0, "a budget of 0");
    ok(memcmp(was, net.w, sizeof(was)) == 0, "teaches nothing");
}


/* finite, >= 0 and in order */

static int
sound(prd_gru_t *g, prd_gru_client_t *c, uint32_t bin_s)
{
    int    good;
    float  q[3][4];
    int    i, k;

    if (prd_gru_forecast(g, c, bin_s, q) != PRD_OK) {
        return 0;
    }

    for (good = 1, i = 0; i < 3; i++) {
        for (k = 0; k < 4; k++) {
            good &= isfinite(q[i][k]) && q[i][k] >= 0
                    && (k == 0 || q[i][k] >= q[i][k - 1]);
        }
    }

    return good;
}


static void
hostile(void)
{
    int               good, i;
    float             q[3][4];
    double            y;
    uint32_t          bin, bin_s, n;
    prd_gru_client_t  c, was;

    static const double  odd[] = {
        0, 1, 1e9, 1.8e19, 1e300, INFINITY, 5e-324, 0.5
    };

    prd_gru_init(&net, 1);
    memset(&c, 0, sizeof(c));

    is_int(sizeof(prd_gru_client_t), 32, "bytes of a client");
    is_int(prd_gru_forecast(&net, &c, 60, q), PRD_DECLINED, "not seen yet");

    is_int(prd_gru_add(&net, &c, 60, 5, -1, 1), PRD_EINVAL, "y < 0");
    is_int(prd_gru_add(&net, &c, 60, 5, NAN, 1), PRD_EINVAL, "y is NaN");
    is_int(prd_gru_add(&net, &c, 0, 5, 1, 1), PRD_EINVAL, "bins of 0 s");
    is_int(prd_gru_add(&net, &c, 86401, 5, 1, 1), PRD_EINVAL, "bins too long");
    is_int(c.version, 0, "nothing changed");

    /* what series can be like */

    for (good = 1, bin = 1000; bin < 3000; bin++) {
        (void) prd_gru_add(&net, &c, 60, bin, 0, 1);
        (void) prd_gru_train(&net, 4);
        good &= sound(&net, &c, 60);
    }

    (void) prd_gru_forecast(&net, &c, 60, q);
    ok(good && q[0][3] < 1, "constant zero: q99 %.3f", (double) q[0][3]);

    for (/* void */; bin < 4000; bin++) {
        y = bin == 3500 ? 1e9 : 50;
        (void) prd_gru_add(&net, &c, 60, bin, y, 1);
        (void) prd_gru_train(&net, 4);
        good &= sound(&net, &c, 60);
    }

    (void) prd_gru_forecast(&net, &c, 60, q);
    ok(good && q[0][0] > 25 && q[0][0] < 100,
       "all equal but for one spike of 1e9: q50 %.1f", (double) q[0][0]);

    for (i = 0; i < 8; i++) {
        is_int(prd_gru_add(&net, &c, 60, bin++, odd[i], 1), PRD_OK,
               "%g in a bin", odd[i]);
        ok(sound(&net, &c, 60), "sound");
    }

    /* clocks */

    was = c;
    is_int(prd_gru_add(&net, &c, 60, c.bin, 1, 1), PRD_ESTALE, "a bin again");
    is_int(prd_gru_add(&net, &c, 60, c.bin - 12, 1, 1), PRD_ESTALE,
           "a bin from before");
    ok(memcmp(&was, &c, sizeof(c)) == 0, "nothing changed");

    for (i = 0; i < 100; i++) {
        (void) prd_gru_add(&net, &c, 60, bin++, 50, 1);
    }

    is_int(prd_gru_add(&net, &c, 60, bin += 1440, 50, 1), PRD_OK,
           "a day ahead");
    ok(sound(&net, &c, 60) && c.bin == bin, "sound");
    is_int(prd_gru_add(&net, &c, 60, bin += 525600, 50, 1), PRD_OK,
           "a year ahead");
    ok(sound(&net, &c, 60) && c.bin == bin && c.level < 0.5f,
       "sound, level %.3f", (double) c.level);
    is_int(prd_gru_add(&net, &c, 60, bin -= 525600, 50, 1), PRD_OK,
           "a year back");
    ok(sound(&net, &c, 60) && c.bin == bin && c.age == 1, "begins anew");
    is_int(prd_gru_add(&net, &c, 60, bin + 0x7fffffff, 50, 1), PRD_OK,
           "as far as it goes");
    is_int(prd_gru_add(&net, &c, 60, bin - 2, 50, 1), PRD_OK, "and on");
    ok(sound(&net, &c, 60), "sound");

    /* missing bins are zeros */

    memset(&c, 0, sizeof(c));
    (void) prd_gru_add(&net, &c, 60, 10, 50, 0);
    was = c;
    (void) prd_gru_add(&net, &c, 60, 16, 50, 0);

    for (bin = 11; bin < 16; bin++) {
        (void) prd_gru_add(&net, &was, 60, bin, 0, 0);
    }

    (void) prd_gru_add(&net, &was, 60, 16, 50, 0);
    ok(memcmp(&was, &c, sizeof(c)) == 0, "missing bins are bins of 0");

    /* other versions, damage */

    c.version = PRD_GRU_VERSION + 1;
    is_int(prd_gru_forecast(&net, &c, 60, q), PRD_DECLINED,
           "a client of another version");
    is_int(prd_gru_add(&net, &c, 60, 17, 50, 1), PRD_OK, "begins anew");
    is_int(c.age, 1, "with its first bin");

    c.level = NAN;
    is_int(prd_gru_forecast(&net, &c, 60, q), PRD_DECLINED, "a level of NaN");
    (void) prd_gru_add(&net, &c, 60, 18, 50, 1);
    ok(sound(&net, &c, 60), "is not kept");

    is_int(prd_gru_check(&net, sizeof(net)), PRD_OK, "sound so far");
    is_int(prd_gru_check(&net, sizeof(net) - 4), PRD_EVERSION, "too short");

    net.version++;
    is_int(prd_gru_check(&net, sizeof(net)), PRD_EVERSION, "another version");
    net.version--;

    net.w[17] = NAN;
    is_int(prd_gru_check(&net, sizeof(net)), PRD_ECORRUPT, "a weight of NaN");
    (void) prd_gru_add(&net, &c, 60, 19, 50, 1);
    ok(sound(&net, &c, 60), "a forecast is finite all the same");
    (void) prd_gru_train(&net, 4);
    is_int((long long) net.resets, 1, "the network begins anew");
    is_int(prd_gru_check(&net, sizeof(net)), PRD_OK, "and is sound");

    /* anything at all */

    prd_gru_init(&net, 3);
    good = 1;
    n = 0;

    for (i = 0; i < 60000; i++) {
        if (lab_random() % 500 == 0) {
            memset(&c, (int) (lab_random() % 256), sizeof(c));
        }

        bin = lab_random() % 50 ? c.bin + (uint32_t) (lab_random() % 3)
                                : (uint32_t) lab_random();
        y = lab_random() % 4 ? (double) lab_magnitude(1ull << 62)
                             : odd[lab_random() % 8];

        bin_s = lab_random() % 50 ? 60
                                  : 1 + (uint32_t) lab_magnitude(86399);

        if (prd_gru_add(&net, &c, bin_s, bin, y,
                        (double) (lab_random() % 3) - 0.5)
            == PRD_OK)
        {
            good &= sound(&net, &c, 60);
        }

        if (i % 100 == 0) {
            n += prd_gru_train(&net, 8);
        }
    }

    ok(good, "anything at all: forecasts are sound");
    is_int(prd_gru_check(&net, sizeof(net)), PRD_OK, "so is the network");
    ok(n > 100 && net.resets == 0 && net.skipped == 0,
       "%u windows were trained on", n);
}


int
main(void)
{
    gradient();
    learns("daily", daily, 3600, 40 * DAY, 0.7);
    learns("every third", third, 60, 600, 0.5);
    repeats();
    poison();
    bounds();
    hostile();

    return done_testing();
}
