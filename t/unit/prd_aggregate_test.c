
/*
 * Aggregates: the forecast follows what has a law, its quantiles cover what
 * they promise, and nothing that can be added makes it lose its numbers.
 */


#include "../../src/prd_aggregate_error.c"
#include "../../src/prd_aggregate_fit.c"
#include "tap.h"


#define HOUR     3600
#define DAY      24                   /* hours */
#define START    488000               /* hours, 2025 */


static const double  levels[PRD_AGGREGATE_QUANTILES] = {
    0.5, 0.9, 0.95, 0.99
};

static uint64_t  seed;


static double
uniform(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;

    return ((double) (seed >> 11) + 0.5) / 9007199254740992.0;
}


static double
normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}


/* Forecasts of all horizons are numbers in order, and nothing that is kept is
 * lost to NaN; 1: they are. */

static int
sane(const prd_aggregate_t *a)
{
    double    q[PRD_AGGREGATE_QUANTILES];
    unsigned  f, h, k;

    for (h = 0; h < ANCHORS; h++) {
        for (f = 0; f < FITS; f++) {
            for (k = 0; k < TERMS; k++) {
                if (!isfinite(a->anchor[h].beta[f][k])) {
                    return 0;
                }
            }
        }
    }

    for (h = 1; h <= PRD_AGGREGATE_MOST; h++) {
        if (prd_aggregate_forecast(a, h, q) != PRD_OK) {
            return 0;
        }

        for (k = 0; k < PRD_AGGREGATE_QUANTILES; k++) {
            if (!isfinite(q[k]) || q[k] < 0 || q[k] > 1.3e19
                || (k && q[k] < q[k - 1]))
            {
                return 0;
            }
        }
    }

    return 1;
}


static int
add(prd_aggregate_t *a, int64_t bin, double y)
{
    return prd_aggregate_add(a, bin, y) == PRD_OK
           && prd_aggregate_refit(a, PRD_AGGREGATE_ANCHORS) == PRD_OK
           && sane(a);
}


static void
arguments(void)
{
    double                  q[PRD_AGGREGATE_QUANTILES] = { -1, -1, -1, -1 },
                            w[PRD_AGGREGATE_EXPERTS], sum;
    unsigned                i;
    static prd_aggregate_t  a, b;

    ok(prd_agg_clip(NAN, 2, 3) == 2 && prd_agg_clip(INFINITY, 2, 3) == 3,
       "what is no number is the least");
    is_int(prd_agg_cell(INFINITY), CELLS - 1, "cell of infinity");
    is_int(prd_agg_cell(-INFINITY), 0, "of its opposite");
    is_int(prd_agg_cell(NAN), 0, "of no number");
    is_int(prd_agg_cell(prd_agg_cell_low(50) + 0.01f), 50, "of its start");

    is_int(prd_aggregate_init(&a, 0), PRD_ERANGE, "bins of no seconds");
    is_int(prd_aggregate_init(&a, 86401), PRD_ERANGE, "of more than a day");
    is_int(prd_aggregate_init(&a, HOUR), PRD_OK, "of an hour");
    ok(sizeof(a) <= 32768, "%zu bytes", sizeof(a));

    is_int(prd_aggregate_forecast(&a, 1, q), PRD_DECLINED, "no bin yet");
    is_int(prd_aggregate_refit(&a, 9), PRD_OK, "nothing to solve");
    is_int(prd_aggregate_add(&a, START, 7), PRD_OK, "first bin");
    is_int(prd_aggregate_forecast(&a, 0, q), PRD_ERANGE, "horizon 0");
    is_int(prd_aggregate_forecast(&a, 25, q), PRD_ERANGE, "horizon 25");
    ok(q[0] == -1 && q[3] == -1, "results untouched");
    ok(sane(&a), "one bin is enough");
    is_int(prd_aggregate_explain(&a, 1, q, NULL, w), PRD_DECLINED,
           "nothing to explain");

    b = a;
    is_int(prd_aggregate_add(&a, START, 9), PRD_ESTALE, "the same bin");
    is_int(prd_aggregate_add(&a, START - DAY, 9), PRD_ESTALE, "a day ago");
    is_int(prd_aggregate_idle(&a, START - DAY), PRD_ESTALE, "idle a day ago");
    is_int(prd_aggregate_add(&a, PRD_AGGREGATE_BIN_MAX + 1, 9), PRD_ERANGE,
           "bin out of range");
    is_int(prd_aggregate_add(&a, INT64_MIN, 9), PRD_ERANGE, "least bin");
    ok(memcmp(&a, &b, sizeof(a)) == 0, "nothing is changed");

    is_int(prd_aggregate_add(&a, START - DAY - 1, 9), PRD_OK,
           "more than a day back is believed");
    is_int(a.bin, START - DAY - 1, "and is the time now");

    is_int(prd_aggregate_add(&a, START - DAY, 9), PRD_OK, "one more");
    is_int(prd_aggregate_explain(&a, 1, q, NULL, w), PRD_OK, "explained");

    for (i = 0, sum = 0; i < PRD_AGGREGATE_EXPERTS; i++) {
        sum += w[i];
        ok(prd_aggregate_expert(i)[0] != '\0', "expert %u has a name", i);
    }

    ok(fabs(sum - 1) < 1e-5, "weights add up");
    is_int(prd_aggregate_expert(i)[0], '\0', "nor is there another");
}


/* Slices come to what one call does. */

static void
slices(void)
{
    int                     i, calls;
    static prd_aggregate_t  a, b;

    seed = 1;
    (void) prd_aggregate_init(&a, HOUR);
    (void) prd_aggregate_init(&b, HOUR);

    for (i = 0, calls = 0; i < 300; i++) {
        double  y = 50 + 20 * uniform();

        (void) prd_aggregate_add(&a, START + i, y);
        (void) prd_aggregate_add(&b, START + i, y);
        (void) prd_aggregate_refit(&a, PRD_AGGREGATE_ANCHORS);

        do {
            calls++;
        } while (prd_aggregate_refit(&b, 1) == PRD_EAGAIN);
    }

    is_int(calls, 300 * PRD_AGGREGATE_ANCHORS, "an anchor a call");
    ok(memcmp(&a, &b, sizeof(a)) == 0, "slices come to the same");
    is_int(prd_aggregate_refit(&a, 0), PRD_OK, "nothing is left");
    (void) prd_aggregate_add(&a, START + i, 60);
    is_int(prd_aggregate_refit(&a, 0), PRD_EAGAIN, "all is left");
}


/*
 * The coefficients of every anchor against plain least squares over rows that
 * were written down, by Gauss and Jordan.
 */

static void
equations(void)
{
    int                     bins, h, i, j, k, s;
    double                  m[TERMS][TERMS + 1], w, worst, rows;
    static float            row[80][TERMS], z[80];
    static prd_aggregate_t  a;

    bins = 80;
    seed = 6;
    (void) prd_aggregate_init(&a, HOUR);

    for (s = 0; s < bins; s++) {
        (void) prd_aggregate_add(&a, START + s, 100 + 50 * uniform());
        (void) prd_aggregate_refit(&a, ANCHORS);
        memcpy(row[s], a.row[prd_agg_modulo(a.bin, MOST)], sizeof(row[s]));
        z[s] = a.z[prd_agg_modulo(a.bin, MOST)];
    }

    for (k = 0; k < ANCHORS; k++) {
        h = prd_agg_horizon[k];
        memset(m, 0, sizeof(m));
        rows = 0;

        for (s = 0; s + h < bins; s++) {
            w = pow(PRD_AGG_FADE, bins - 2 - s);
            rows += w;

            for (i = 0; i < prd_agg_terms[2]; i++) {
                for (j = 0; j < prd_agg_terms[2]; j++) {
                    m[i][j] += w * row[s][i] * row[s][j];
                }

                m[i][TERMS] += w * row[s][i] * (z[s + h] - z[s]);
            }
        }

        for (i = 0; i < prd_agg_terms[2]; i++) {
            m[i][i] = m[i][i] * (1 + prd_agg_ridge(i) / rows) + 1e-6;
        }

        for (i = 0, worst = 0; i < prd_agg_terms[2]; i++) {
            for (s = 0; s < prd_agg_terms[2]; s++) {
                w = s == i ? 0 : m[s][i] / m[i][i];

                for (j = 0; j <= TERMS; j++) {
                    m[s][j] -= w * m[i][j];
                }
            }
        }

        for (i = 0; i < prd_agg_terms[2]; i++) {
            w = fabs(m[i][TERMS] / m[i][i] - a.anchor[k].beta[2][i]);
            worst = prd_max(worst, w);
        }

        ok(worst < 1e-4, "least squares %d ahead, to %g", h, worst);
    }
}


/*
 * Loss of the median, all quantiles' coverage at a horizon over the last half
 * of `n` bins; the loss in that of the last value.
 */

typedef struct {
    double    loss;
    double    covered[PRD_AGGREGATE_QUANTILES];
} outcome_t;


static outcome_t
play(prd_aggregate_t *a, uint32_t bin_s, const double *y, int n, int h)
{
    int        i, k, points;
    double     own, last, q[PRD_AGGREGATE_QUANTILES];
    outcome_t  o;

    own = last = points = 0;
    memset(&o, 0, sizeof(o));
    (void) prd_aggregate_init(a, bin_s);

    for (i = 0; i + h < n; i++) {
        (void) prd_aggregate_add(a, START + i, y[i]);
        (void) prd_aggregate_refit(a, PRD_AGGREGATE_ANCHORS);

        if (i < n / 2) {
            continue;
        }

        (void) prd_aggregate_forecast(a, h, q);
        own += fabs(y[i + h] - q[0]);
        last += fabs(y[i + h] - y[i]);
        points++;

        for (k = 0; k < PRD_AGGREGATE_QUANTILES; k++) {
            o.covered[k] += y[i + h] <= q[k];
        }
    }

    for (k = 0; k < PRD_AGGREGATE_QUANTILES; k++) {
        o.covered[k] /= points;
    }

    o.loss = own / last;

    return o;
}


static void
laws(void)
{
    int                     i, h, k;
    double                  x, band;
    outcome_t               o;
    static double           y[3000];
    static prd_aggregate_t  a;
    static const int        horizons[] = { 1, 4, 12, 18, 24 };

    /* a day, weekends at a third, and noise of a tenth */

    seed = 2;

    for (i = 0; i < 3000; i++) {
        y[i] = floor(1000 * exp(sin(2 * M_PI * (i % DAY) / DAY)
                                + 0.1 * normal())
                     * ((START + i) / DAY % 7 < 2 ? 0.33 : 1));
    }

    for (i = 0; i < 5; i++) {
        h = horizons[i];
        o = play(&a, HOUR, y, 1500, h);
        ok(o.loss < 0.55, "day and week, %d h ahead: %.3f of the last value's",
           h, o.loss);
        ok(o.covered[3] > 0.975 && o.covered[3] < 0.999,
           "q99 covers %.4f", o.covered[3]);
    }

    /* an autoregression: the last value's loss times about sqrt((1+r)/2) */

    for (i = 0, x = 0; i < 3000; i++) {
        x = 0.5 * x + normal();
        y[i] = exp(6 + 0.3 * x);
    }

    o = play(&a, HOUR, y, 3000, 1);
    ok(o.loss < 0.91, "autoregression: %.3f of the last value's", o.loss);

    o = play(&a, HOUR, y, 3000, 12);
    ok(o.loss < 0.75, "12 bins ahead: %.3f", o.loss);

    /* tails no Gaussian knows: exp of a Laplace variable */

    for (i = 0; i < 3000; i++) {
        x = uniform() - 0.5;
        y[i] = 100 * exp((x < 0 ? 0.4 : -0.4) * log(1 - 2 * fabs(x)));
    }

    for (h = 1; h <= 24; h += 23) {
        o = play(&a, HOUR, y, 3000, h);

        for (k = 0; k < PRD_AGGREGATE_QUANTILES; k++) {
            band = 2.6 * sqrt(levels[k] * (1 - levels[k]) / 1500) + 0.004;
            ok(fabs(o.covered[k] - levels[k]) < band,
               "heavy tails, %d ahead: q%g covers %.4f", h, levels[k] * 100,
               o.covered[k]);
        }
    }

    /* counts of four a bin, and the published coverage of them */

    for (i = 0; i < 3000; i++) {
        for (x = 1, k = -1; x > exp(-4); k++) {
            x *= uniform();
        }

        y[i] = k;
    }

    o = play(&a, 300, y, 3000, 1);
    ok(o.covered[3] > 0.982 && o.covered[3] < 0.998, "counts: q99 covers %.4f",
       o.covered[3]);
    ok(o.loss < 0.85, "counts: %.3f of the last value's", o.loss);
    (void) prd_aggregate_explain(&a, 1, y, NULL, NULL);
    ok(fabs(y[3] - o.covered[3]) < 0.01, "and says so: %.4f", y[3]);
}


/* Few errors have been seen, and no one tells how far a rare one goes. */

static void
young(void)
{
    int                     i, s, n, missed;
    float                   u[QUANTILES], cell[CELLS];
    double                  x, y, q[QUANTILES];
    static prd_aggregate_t  a;

    seed = 5;

    for (s = n = missed = 0; s < 150; s++) {
        (void) prd_aggregate_init(&a, HOUR);
        x = 5 * uniform();

        for (i = 0; i < 2 * DAY; i++) {
            y = floor(300 * exp(sin(2 * M_PI * i / DAY + x) + 0.2 * normal()));

            if (i > PRD_AGG_WARM) {
                (void) prd_aggregate_forecast(&a, 1, q);
                missed += y > q[3];
                n++;
            }

            (void) prd_aggregate_add(&a, START + i, y);
            (void) prd_aggregate_refit(&a, PRD_AGGREGATE_ANCHORS);
        }
    }

    y = 1 - (double) missed / n;
    ok(y > 0.975 && y < 0.999, "two days old: q99 covers %.4f", y);

    memset(cell, 0, sizeof(cell));
    prd_agg_quantiles(cell, 0, 1, a.edge, u);
    ok(isfinite(u[0]) && isfinite(u[3]) && u[3] >= u[2],
       "no votes: %g to %g", (double) u[0], (double) u[3]);

    prd_agg_quantiles(a.anchor[0].cell[0], a.anchor[0].votes, 0, a.edge, u);
    ok(isfinite(u[3]) && u[3] >= u[2], "votes of nothing: %g", (double) u[3]);
}


static void
bad_values(void)
{
    int                     i, j, good;
    double                  q[PRD_AGGREGATE_QUANTILES];
    static prd_aggregate_t  a;
    static const uint32_t   bins[] = { 1, 60, 300, 700, HOUR, 86400 };
    static const double     odd[] = {
        0, 1, -5, 1e9, 9223372036854775808.0, 1e300, INFINITY, -INFINITY, NAN
    };

    for (j = 0; j < 6; j++) {
        (void) prd_aggregate_init(&a, bins[j]);

        for (i = 0, good = 1; i < 400; i++) {
            good &= add(&a, START + i, 0);
        }

        (void) prd_aggregate_forecast(&a, 24, q);
        ok(good && q[3] < 2, "zeros in bins of %u s: %g", bins[j], q[3]);

        (void) prd_aggregate_init(&a, bins[j]);

        for (i = 0, good = 1; i < 400; i++) {
            good &= add(&a, START + i, 250);
        }

        (void) prd_aggregate_forecast(&a, 24, q);
        ok(good && q[0] > 240 && q[0] < 260 && q[3] < 350,
           "equal values: %g, %g", q[0], q[3]);

        good &= add(&a, START + i++, 9223372036854775808.0);

        for (/* void */; i < 800; i++) {
            good &= add(&a, START + i, 250);
        }

        (void) prd_aggregate_forecast(&a, 1, q);
        ok(good && q[0] > 200 && q[0] < 300, "a spike of 2^63 passes: %g",
           q[0]);

        seed = 3;

        for (i = 0, good = 1; i < 800; i++) {
            good &= add(&a, START + 800 + i,
                        odd[(unsigned) (uniform() * 9) % 9]);
        }

        ok(good, "anything");
    }

    (void) prd_aggregate_init(&a, HOUR);

    for (i = 0, good = 1; i < 500; i++) {
        good &= add(&a, START + i, 1e9 * pow(1.045, i));
    }

    (void) prd_aggregate_forecast(&a, 1, q);
    ok(good && q[3] > 1e18, "from 10^9 to 2^61: %g", q[3]);
}


static void
holes(void)
{
    int                     i, good;
    double                  q[PRD_AGGREGATE_QUANTILES];
    int64_t                 bin;
    unsigned                scored;
    static prd_aggregate_t  a, b;

    seed = 4;
    (void) prd_aggregate_init(&a, HOUR);
    bin = START;

    for (i = 0, good = 1; i < 400; i++) {
        good &= add(&a, bin++, 1000 * (1.1 + sin(2 * M_PI * i / 24))
                               * (1 + 0.1 * uniform()));
    }

    /* unknown bins are filled in; a day on, the season is where it was */

    scored = a.anchor[0].scored;
    bin += 10;
    i += 10;
    good &= add(&a, bin++, 1000 * (1.1 + sin(2 * M_PI * i / 24)));
    is_int(a.anchor[0].scored, scored + 1, "what is unknown scores nothing");
    is_int(a.run, 411, "and does not end the run");
    (void) prd_aggregate_forecast(&a, 12, q);
    i += 12;
    ok(good && fabs(q[0] / (1000 * (1.1 + sin(2 * M_PI * i / 24))) - 1) < 0.3,
       "forecast after a hole: %g", q[0]);

    b = a;
    bin += 24 * 365;
    good &= add(&a, bin, 1000);
    is_int(a.run, 1, "a year on, lags begin anew");
    is_int(a.anchor[0].scored, scored + 1, "without a score");
    ok(good && fabs((double) (a.rows - b.rows)) < 1e-9, "nothing is unlearned");

    for (i = 0; i < 100; i++) {
        good &= add(&a, ++bin, 1000);
    }

    ok(good, "goes on");
    good &= add(&a, bin += 24, 1000);
    good &= add(&a, bin += 26, 1000);
    is_int(a.run, 1, "25 unknown bins are too many");

    good &= add(&a, bin -= 24 * 365, 1000);
    ok(good && a.bin == bin, "a year back");

    is_int(prd_aggregate_idle(&b, b.bin + 24 * 365), PRD_OK, "a year idle");
    (void) prd_aggregate_forecast(&b, 1, q);
    ok(sane(&b) && q[0] < 1, "forecasts nothing: %g", q[0]);

    (void) prd_aggregate_init(&a, HOUR);
    is_int(prd_aggregate_idle(&a, START), PRD_OK, "idle from the first bin");
    is_int(a.bins, 1, "a bin");
    (void) prd_aggregate_idle(&a, START + 30);
    is_int(a.bins, 31, "thirty more");
}


static void
outage(void)
{
    int                     i;
    double                  before, q[PRD_AGGREGATE_QUANTILES];
    static prd_aggregate_t  a;

    seed = 5;
    (void) prd_aggregate_init(&a, 300);

    for (i = 0; i < 500; i++) {
        (void) add(&a, START + i, 500 + 50 * uniform());
    }

    (void) prd_aggregate_forecast(&a, 12, q);
    before = q[0];

    for (/* void */; i < 503; i++) {
        (void) add(&a, START + i, 0);
    }

    (void) prd_aggregate_forecast(&a, 12, q);
    ok(q[0] > before * 0.3, "an outage of 3 bins is not the level: %g", q[0]);

    for (/* void */; i < 540; i++) {
        (void) add(&a, START + i, 0);
    }

    (void) prd_aggregate_forecast(&a, 12, q);
    ok(q[0] < before * 0.1, "one of 40 bins is: %g", q[0]);

    for (/* void */; i < 600; i++) {
        (void) add(&a, START + i, 5000 + 500 * uniform());
    }

    (void) prd_aggregate_forecast(&a, 12, q);
    ok(q[0] > 3500 && q[0] < 8000, "a new level is followed: %g", q[0]);
}


int
main(void)
{
    arguments();
    slices();
    equations();
    laws();
    young();
    bad_values();
    holes();
    outage();

    return done_testing();
}
