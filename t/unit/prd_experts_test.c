
/*
 * Forecasts of clients: how good and how honest they are on made-up demand,
 * and that odd clocks and numbers never make a number that is none.
 */


#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "prd_experts.h"
#include "tap.h"


#define START  5666666u                    /* an hour, a Monday's */


static uint64_t  seed = 1;


/* splitmix64 (Steele, Lea, Flood 2014) */

static double
uniform(void)
{
    uint64_t  z;

    z = seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;

    return ((double) ((z ^ z >> 31) >> 11) + 0.5) / 9007199254740992.0;
}


/* Poisson, by its gaps */

static float
poisson(double mean)
{
    int     n;
    double  t;

    for (n = 0, t = -log(uniform()); t < mean; n++) {
        t -= log(uniform());
    }

    return (float) n;
}


static prd_tracks_t *
tables(uint32_t a, uint32_t b, uint32_t c)
{
    prd_tracks_t    *p;
    const uint32_t   bin_s[PRD_TRACK_CLASSES] = { a, b, c };

    p = malloc(sizeof(prd_tracks_t));

    if (p == NULL || prd_tracks_init(p, bin_s) != PRD_OK) {
        abort();
    }

    return p;
}


/* Are all forecasts numbers, in order, and within reason? */

static int
sane(const prd_track_t *t, const prd_tracks_t *p, unsigned class)
{
    float     q[PRD_QUANTILES], sure;
    unsigned  h, i;

    for (h = 0; h < PRD_TRACK_HORIZONS; h++) {

        if (prd_track_forecast(t, p, class, h, NULL, 0, q) != PRD_OK
            || prd_track_explain(t, p, class, h, NULL, 0, NULL, NULL, &sure)
               != PRD_OK
            || !(sure >= 0 && sure <= 1))
        {
            return 0;
        }

        for (i = 0; i < PRD_QUANTILES; i++) {
            if (!(q[i] >= 0 && q[i] <= PRD_TRACK_Y_MAX)
                || (i && q[i] < q[i - 1]))
            {
                return 0;
            }
        }
    }

    return prd_track_check(t, sizeof(prd_track_t)) == PRD_OK
           && prd_tracks_check(p, sizeof(prd_tracks_t)) == PRD_OK;
}


static void
refused(void)
{
    float          q[PRD_QUANTILES] = { 7, 7, 7, 7 };
    prd_track_t    t, was;
    prd_tracks_t  *p;

    static const uint32_t  none[PRD_TRACK_CLASSES] = { 0, 0, 0 };
    static const uint32_t  much[PRD_TRACK_CLASSES] = { 60, 86401, 0 };

    p = tables(60, 300, 0);
    memset(&t, 0, sizeof(t));

    is_int(prd_tracks_init(p, none), PRD_ERANGE, "no class");
    is_int(prd_tracks_init(p, much), PRD_ERANGE, "a bin above a day");

    is_int(prd_track_forecast(&t, p, 0, 0, NULL, 0, q), PRD_DECLINED,
           "nothing was closed");
    is_int(prd_track_check(&t, sizeof(t)), PRD_OK, "zeros are sound");

    prd_track_init(&t);
    is_int(prd_track_forecast(&t, p, 0, 0, NULL, 0, q), PRD_DECLINED,
           "nor now");
    is_int(prd_track_close(&t, p, 3, START, 1, 1, NULL, 0), PRD_EINVAL,
           "no such class");
    is_int(prd_track_close(&t, p, 2, START, 1, 1, NULL, 0), PRD_EINVAL,
           "one that is not used");
    is_int(prd_track_close(&t, p, 0, START, -1, 1, NULL, 0), PRD_EINVAL,
           "less than nothing");
    is_int(prd_track_close(&t, p, 0, START, NAN, 1, NULL, 0), PRD_EINVAL,
           "NaN");

    is_int(prd_track_close(&t, p, 0, START, 3, 1, NULL, 0), PRD_OK, "a bin");
    was = t;
    is_int(prd_track_close(&t, p, 0, START, 9, 1, NULL, 0), PRD_ESTALE,
           "again");
    is_int(prd_track_close(&t, p, 0, START - 1440, 9, 1, NULL, 0),
           PRD_ESTALE, "a day before");
    ok(memcmp(&t, &was, sizeof(t)) == 0, "... changes nothing");

    is_int(prd_track_forecast(&t, p, 0, 3, NULL, 0, q), PRD_EINVAL,
           "no such horizon");
    is_int(prd_track_forecast(&t, p, 1, 0, NULL, 0, q), PRD_DECLINED,
           "the other class has seen nothing");
    ok(q[0] == 7 && q[3] == 7, "results stay untouched");

    ok(prd_track_ahead(0) == 1 && prd_track_ahead(1) == 6
       && prd_track_ahead(2) == 12 && prd_track_ahead(3) == 0, "horizons");
    is_str(prd_track_expert(PRD_EXPERT_STEPS), 5, "steps", "a name");
    is_str(prd_track_expert(PRD_EXPERTS + 7), 0, "", "no name");

    free(p);
}


/* Clients that never change; after a while there is nothing to be unsure of. */

static void
constant(void)
{
    int            i, k;
    float          q[PRD_QUANTILES];
    prd_track_t    t[3];
    prd_tracks_t  *p;

    static const float  y[3] = { 0, 5, 1e9f };

    p = tables(300, 0, 0);
    memset(t, 0, sizeof(t));

    for (i = 0; i < 400; i++) {
        for (k = 0; k < 3; k++) {
            (void) prd_track_close(&t[k], p, 0, START + (uint32_t) i, y[k],
                                   1, NULL, 0);
        }
    }

    for (k = 0; k < 3; k++) {
        ok(sane(&t[k], p, 0), "always %g: sane", (double) y[k]);
        (void) prd_track_forecast(&t[k], p, 0, 0, NULL, 0, q);
        ok(fabsf(q[0] - y[k]) <= 0.01f * y[k]
           && fabsf(q[3] - y[k]) <= 0.01f * y[k],
           "always %g: q50 %g, q99 %g", (double) y[k], (double) q[0],
           (double) q[3]);
    }

    free(p);
}


/* Each fourth bin, of one client among such that come at random. */

static void
periodic(void)
{
    int            i, k;
    float          q[PRD_QUANTILES], y;
    prd_track_t    t[20];
    prd_tracks_t  *p;

    p = tables(60, 0, 0);
    memset(t, 0, sizeof(t));

    for (i = 0; i < 1000; i++) {
        for (k = 0; k < 20; k++) {
            y = k ? poisson(2) : i % 4 ? 0 : 8;
            (void) prd_track_close(&t[k], p, 0, START + (uint32_t) i, y, 1,
                                   NULL, 0);
        }
    }

    /* bin 1000 is the next one */

    (void) prd_track_forecast(&t[0], p, 0, 0, NULL, 0, q);
    ok(q[0] > 7 && q[0] < 9, "its turn: %g", (double) q[0]);

    (void) prd_track_forecast(&t[0], p, 0, 1, NULL, 0, q);
    ok(q[0] < 1, "five later: not (%g)", (double) q[0]);

    (void) prd_track_close(&t[0], p, 0, START + 1000, 8, 1, NULL, 0);
    (void) prd_track_forecast(&t[0], p, 0, 0, NULL, 0, q);
    ok(q[0] < 1, "the next one: not (%g)", (double) q[0]);

    free(p);
}


/* What the last value was off by until now, in order. */

typedef struct {
    unsigned       n;
    float          error[512];
} honest_steps_t;


static void
honest_step(honest_steps_t *s, float error)
{
    unsigned  i;

    for (i = s->n++; i > 0 && s->error[i - 1] > error; i--) {
        s->error[i] = s->error[i - 1];
    }

    s->error[i] = error;
}


static void
honest_last(const honest_steps_t *s, float last, float q[PRD_QUANTILES])
{
    float     at;
    unsigned  i, k;

    static const float  levels[PRD_QUANTILES] = { 0.5f, 0.9f, 0.95f, 0.99f };

    for (k = 0; k < PRD_QUANTILES; k++) {
        at = s->n ? levels[k] * (float) (s->n - 1) : 0;
        i = (unsigned) at;
        q[k] = s->n == 0 ? last
               : i + 1 < s->n
               ? last + s->error[i] + (at - (float) i) * (s->error[i + 1]
                                                          - s->error[i])
               : last + s->error[i];
        q[k] = q[k] < 0 ? 0 : q[k];
    }
}


/*
 * Clients that are alike in kind and not in size, with a day, on and off:
 * coverage, and loss beside that of the last value with quantiles of all its
 * steps so far, over what is scored here, before it is seen.  One step ahead
 * that is as good as it gets: nothing ever changes but day and night, so who
 * keeps all of the past knows more than 1.4 KB can hold.
 */

static void
honest(void)
{
    int            i, k, n, on[60];
    float          q[PRD_QUANTILES], last[PRD_QUANTILES], y;
    double         rel, covered, mean;
    prd_score_t    s[PRD_TRACK_HORIZONS];
    prd_track_t   *t;
    prd_tracks_t  *p;
    float          all[60][PRD_TRACK_HORIZONS][12][2][PRD_QUANTILES];
    float          was[60][12];
    unsigned       h, at;

    honest_steps_t  (*off)[PRD_TRACK_HORIZONS];

    off = calloc(60, sizeof(*off));
    t = calloc(60, sizeof(prd_track_t));
    p = tables(3600, 0, 0);
    memset(on, 0, sizeof(on));
    memset(s, 0, sizeof(s));
    memset(all, 0, sizeof(all));

    for (i = 0; i < 24 * 21; i++) {
        for (k = 0; k < 60; k++) {

            on[k] = uniform() < (on[k] ? 0.8 : 0.1);
            mean = on[k] ? (k + 1) * (1.2 + sin(i * 3.14159 / 12)) : 0;
            y = poisson(mean);

            for (h = 0; h < PRD_TRACK_HORIZONS; h++) {
                n = (int) prd_track_ahead(h);
                at = (unsigned) (i % n);

                /* made n bins ago, of this one */

                if (i >= 48 + n) {
                    (void) prd_score_add(&s[h], y, all[k][h][at][0],
                                         all[k][h][at][1]);
                }

                if (i >= n) {
                    honest_step(&off[k][h], y - was[k][(i - n) % 12]);
                }
            }

            was[k][i % 12] = y;

            (void) prd_track_close(&t[k], p, 0, START + (uint32_t) i, y, 1,
                                   NULL, 0);

            for (h = 0; h < PRD_TRACK_HORIZONS; h++) {
                n = (int) prd_track_ahead(h);
                at = (unsigned) (i % n);
                (void) prd_track_forecast(&t[k], p, 0, h, NULL, 0, q);
                honest_last(&off[k][h], y, last);
                memcpy(all[k][h][at][0], q, sizeof(q));
                memcpy(all[k][h][at][1], last, sizeof(q));
            }
        }
    }

    for (h = 0; h < PRD_TRACK_HORIZONS; h++) {
        (void) prd_score_relative(&s[h], &rel);
        ok(rel < (h ? 0.95 : 1.08), "%u ahead: loss %.3f of that of the last "
           "value", prd_track_ahead(h), rel);

        (void) prd_score_coverage(&s[h], 3, &covered);
        ok(covered > 0.98 && covered < 0.997, "... q99 covers %.4f", covered);

        (void) prd_score_coverage(&s[h], 1, &covered);
        ok(covered > 0.85 && covered < 0.95, "... q90 covers %.4f", covered);
    }

    for (k = 0, n = 0; k < 60; k++) {
        n += sane(&t[k], p, 0);
    }

    is_int(n, 60, "all sane");

    free(off);
    free(t);
    free(p);
}


/* A client of a minute ago gets what others of its kind showed. */

static void
newcomer(void)
{
    int            i, k;
    float          fresh[PRD_QUANTILES], known[PRD_QUANTILES];
    prd_track_t    t[30], young;
    prd_tracks_t  *p;

    p = tables(60, 0, 0);
    memset(t, 0, sizeof(t));

    prd_track_init(&young);
    (void) prd_track_close(&young, p, 0, START, 4, 1, NULL, 0);
    (void) prd_track_forecast(&young, p, 0, 0, NULL, 0, fresh);

    /* clients end as suddenly as they come: five bins */

    for (i = 0; i < 3000; i++) {
        for (k = 0; k < 30; k++) {

            if ((i + k) % 30 == 0) {
                prd_track_init(&t[k]);
            }

            if ((i + k) % 30 < 20) {
                (void) prd_track_close(&t[k], p, 0, START + (uint32_t) i,
                                       (i + k) % 30 < 5 ? poisson(4) + 1 : 0,
                                       1, NULL, 0);
            }
        }
    }

    prd_track_init(&young);
    (void) prd_track_close(&young, p, 0, START, 4, 1, NULL, 0);
    (void) prd_track_forecast(&young, p, 0, 2, NULL, 0, known);

    ok(known[0] < 0.5f && known[2] < 2, "gone in 12 bins: q50 %g, q95 %g",
       (double) known[0], (double) known[2]);

    (void) prd_track_forecast(&young, p, 0, 0, NULL, 0, known);
    ok(known[0] > 2 && known[3] < fresh[3],
       "the next one: q50 %g, q99 %g, was %g", (double) known[0],
       (double) known[3], (double) fresh[3]);

    free(p);
}


/* One vote-less client leaves the tables alone; a spike is forgotten. */

static void
spikes(void)
{
    int            i;
    float          q[PRD_QUANTILES];
    prd_track_t    t;
    prd_tracks_t  *p, *was;

    p = tables(60, 0, 0);
    was = malloc(sizeof(prd_tracks_t));
    prd_track_init(&t);

    for (i = 0; i < 200; i++) {
        (void) prd_track_close(&t, p, 0, START + (uint32_t) i, poisson(3), 1,
                               NULL, 0);
    }

    *was = *p;

    for (i = 200; i < 220; i++) {
        (void) prd_track_close(&t, p, 0, START + (uint32_t) i, 1e9f, 0, NULL,
                               0);
    }

    ok(memcmp(p, was, sizeof(*p)) == 0, "no vote, no trace");

    (void) prd_track_close(&t, p, 0, START + 220, FLT_MAX, 1, NULL, 0);
    ok(sane(&t, p, 0), "the greatest number there is");
    (void) prd_track_close(&t, p, 0, START + 221, INFINITY, 1, NULL, 0);
    ok(sane(&t, p, 0), "and what is above");

    for (i = 222; i < 700; i++) {
        (void) prd_track_close(&t, p, 0, START + (uint32_t) i, poisson(3), 1,
                               NULL, 0);
    }

    (void) prd_track_forecast(&t, p, 0, 0, NULL, 0, q);
    ok(sane(&t, p, 0) && q[0] < 10 && q[3] < 100,
       "eight hours later: q50 %g, q99 %g", (double) q[0], (double) q[3]);

    free(p);
    free(was);
}


static void
clocks(void)
{
    int            i, k;
    float          q[PRD_QUANTILES];
    uint32_t       bin;
    prd_track_t    t, one;
    prd_tracks_t  *p;

    p = tables(60, 300, 3600);
    prd_track_init(&t);

    for (i = 0; i < 300; i++) {
        for (k = 0; k < 3; k++) {
            (void) prd_track_close(&t, p, (unsigned) k, START + (uint32_t) i,
                                   poisson(20), 1, NULL, 0);
        }
    }

    bin = START + 300;

    /* missing bins are empty ones: the same as closing them by hand */

    one = t;

    for (i = 0; i < 10; i++) {
        (void) prd_track_close(&one, p, 0, bin + (uint32_t) i, 0, 0, NULL, 0);
    }

    (void) prd_track_close(&one, p, 0, bin + 10, 7, 0, NULL, 0);
    (void) prd_track_close(&t, p, 0, bin + 10, 7, 0, NULL, 0);
    ok(memcmp(&one, &t, sizeof(t)) == 0, "ten missing bins are ten empty ones");

    bin += 1440;
    is_int(prd_track_close(&t, p, 0, bin, 5, 1, NULL, 0), PRD_OK, "a day on");
    ok(sane(&t, p, 0) && t.bins[0].idle == 0 && t.bins[0].age > 1700,
       "... is counted");

    (void) prd_track_close(&t, p, 0, bin + 1, 0, 1, NULL, 0);
    (void) prd_track_forecast(&t, p, 0, 2, NULL, 0, q);
    ok(q[0] < 10, "... and has no habit of 20 (%g)", (double) q[0]);

    bin += 525600;
    is_int(prd_track_close(&t, p, 0, bin, 5, 1, NULL, 0), PRD_OK,
           "a year on");
    ok(sane(&t, p, 0), "... is sane");

    is_int(prd_track_close(&t, p, 0, 3, 5, 1, NULL, 0), PRD_OK,
           "decades back");
    ok(sane(&t, p, 0) && t.bins[0].bin == 3, "... is believed");

    is_int(prd_track_close(&t, p, 0, UINT32_MAX, 5, 1, NULL, 0), PRD_OK,
           "the last bin there is");
    ok(sane(&t, p, 0), "... is sane");

    is_int(prd_track_close(&t, p, 0, 0, 5, 1, NULL, 0), PRD_OK,
           "the first one");
    ok(sane(&t, p, 0) && sane(&t, p, 1) && sane(&t, p, 2),
       "... so are all classes");

    for (i = 0; i < 140000; i++) {
        (void) prd_track_close(&t, p, 0, (uint32_t) i + 1, (float) (i % 3), 1,
                               NULL, 0);
    }

    ok(sane(&t, p, 0) && t.bins[0].age == UINT16_MAX, "counters saturate");

    free(p);
}


static void
versions(void)
{
    float           q[PRD_QUANTILES], *f;
    prd_track_t     t, bad;
    prd_tracks_t   *p;
    unsigned        i, caught;

    p = tables(60, 0, 0);
    prd_track_init(&t);
    (void) prd_track_close(&t, p, 0, START, 5, 1, NULL, 0);
    (void) prd_track_close(&t, p, 0, START + 1, 5, 1, NULL, 0);

    is_int(prd_track_check(&t, sizeof(t) - 1), PRD_EVERSION, "a short record");

    bad = t;
    bad.version++;
    is_int(prd_track_check(&bad, sizeof(t)), PRD_EVERSION, "a newer one");
    is_int(prd_track_forecast(&bad, p, 0, 0, NULL, 0, q), PRD_DECLINED,
           "... forecasts nothing");
    is_int(prd_track_close(&bad, p, 0, START, 5, 1, NULL, 0), PRD_OK,
           "... begins anew");
    ok(bad.version == t.version && bad.bins[0].age == 1, "... as a newcomer");

    bad = t;
    bad.bins[0].head = 200;
    is_int(prd_track_check(&bad, sizeof(t)), PRD_ECORRUPT, "a wild index");

    bad = t;
    bad.bins[0].level_long = NAN;
    is_int(prd_track_check(&bad, sizeof(t)), PRD_ECORRUPT, "NaN");

    is_int(prd_tracks_check(p, sizeof(*p)), PRD_OK, "tables");
    is_int(prd_tracks_check(p, sizeof(*p) - 4), PRD_EVERSION, "short ones");

    f = &p->horizon[0][1].errors[3][5].q[2];
    *f = NAN;
    is_int(prd_tracks_check(p, sizeof(*p)), PRD_ECORRUPT, "NaN in them");

    free(p);

    /* whatever passes the check is used without harm */

    caught = 0;

    for (i = 0; i < 2000; i++) {
        p = i % 500 == 0 ? tables(60, 0, 0) : p;
        bad = t;
        ((uint8_t *) &bad)[(size_t) (uniform() * sizeof(bad))]
            = (uint8_t) (uniform() * 256);

        if (prd_track_check(&bad, sizeof(bad)) != PRD_OK) {
            caught++;

        } else {
            (void) prd_track_close(&bad, p, 0, START + 2 + i % 50, 3, 0, NULL,
                                   0);

            if (!sane(&bad, p, 0)) {
                break;
            }
        }

        if (i % 500 == 499) {
            free(p);
        }
    }

    ok(i == 2000 && caught, "2000 broken records: %u caught, none harms",
       caught);
}


/* An expert that knows gets the weight; one that is silent or mad, none. */

static void
extras(void)
{
    int                i, h, k;
    float              q[PRD_QUANTILES], w[PRD_EXPERTS][PRD_QUANTILES];
    float              y[32];
    prd_track_t        t;
    prd_tracks_t      *p;
    prd_track_extra_t  x[2];

    p = tables(300, 0, 0);
    prd_track_init(&t);

    for (i = 0; i < 32; i++) {
        y[i] = poisson(10) * (float) (uniform() < 0.5);
    }

    for (i = 0; i < 600; i++) {

        /* the first one knows what comes, by 1, 6 and 12 bins */

        for (h = 0; h < 3; h++) {
            for (k = 0; k < 4; k++) {
                x[0].q[h][k] = y[(i + (int) prd_track_ahead((unsigned) h) - 1)
                                 % 32];
                x[1].q[h][k] = i % 3 ? NAN : -INFINITY;
            }
        }

        if (i < 599) {
            (void) prd_track_close(&t, p, 0, START + (uint32_t) i, y[i % 32],
                                   1, x, 2);
            y[i % 32] = poisson(10) * (float) (uniform() < 0.5);
        }
    }

    (void) prd_track_explain(&t, p, 0, 0, x, 2, NULL, w, NULL);
    ok(w[PRD_EXPERT_EXTRA][0] > 0.9f && w[PRD_EXPERT_EXTRA][3] > 0.9f,
       "who knows is heard: %.3f", (double) w[PRD_EXPERT_EXTRA][0]);
    ok(w[PRD_EXPERT_EXTRA + 1][0] == 0, "who says nothing is not");

    (void) prd_track_explain(&t, p, 0, 2, x, 2, NULL, w, NULL);
    ok(w[PRD_EXPERT_EXTRA][0] > 0.9f, "so it is for 12 ahead: %.3f",
       (double) w[PRD_EXPERT_EXTRA][0]);

    (void) prd_track_forecast(&t, p, 0, 0, x, 2, q);
    ok(fabsf(q[0] - x[0].q[0][0]) <= 1, "the forecast is its");

    (void) prd_track_forecast(&t, p, 0, 0, NULL, 0, q);
    ok(sane(&t, p, 0), "without it there are the others");

    free(p);
}


int
main(void)
{
    refused();
    constant();
    periodic();
    honest();
    newcomer();
    spikes();
    clocks();
    versions();
    extras();

    ok(sizeof(prd_track_t) <= 1600, "a record is %zu bytes",
       sizeof(prd_track_t));
    ok(sizeof(prd_tracks_t) <= 1600 * 1024, "tables are %zu bytes",
       sizeof(prd_tracks_t));

    return done_testing();
}
