
/*
 * Forecasts of request classes: who gets a curve, what it says, odd clocks.
 */


#include <math.h>
#include <stdatomic.h>

#include "prd_class.h"
#include "tap.h"


#define BEGIN  1700000000u


static prd_classes_t     classes;
static _Atomic uint32_t  ids[PRD_CLASSES];


static unsigned
placed(unsigned index)
{
    unsigned  i;

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        if (classes.top[i].id && classes.top[i].index == index) {
            return i;
        }
    }

    return PRD_CLASS_CURVES;
}


/* A bin of 300 s, in parts of 10 s as the thread has them. */

static void
bin(uint32_t n, const float *tokens, unsigned count)
{
    unsigned  i, k;

    for (k = 1; k <= 30; k++) {
        prd_class_turn(&classes, BEGIN - BEGIN % 300 + n * 300ull + k * 10,
                       ids);

        for (i = 1; i < count; i++) {
            prd_class_add(&classes, i, tokens[i] / 30);
        }
    }
}


static void
curves(void)
{
    float        tokens[PRD_CLASSES];
    unsigned     i, day, up, night;
    prd_curve_t  quiet, busy;

    prd_class_init(&classes);

    for (i = 1; i < PRD_CLASSES; i++) {
        atomic_store(&ids[i], 7000 + i);
    }

    /* class 3 rests at night, class 5 never does; six hours each */

    memset(tokens, 0, sizeof(tokens));
    memset(&quiet, 0, sizeof(quiet));
    memset(&busy, 0, sizeof(busy));

    for (day = 0; day < 16; day++) {
        for (i = 0; i < 288; i++) {
            night = i < 144;
            tokens[3] = night ? 3 : 3000;
            tokens[5] = 1000;
            bin(day * 288 + i, tokens, 8);

            /* the last closed is the one before: an hour before dawn */

            if (day == 15 && i == 132 && placed(3) < PRD_CLASS_CURVES) {
                quiet = classes.top[placed(3)].curve[0];
                busy = classes.top[placed(3)].curve[5];
            }
        }
    }

    ok(placed(3) < PRD_CLASS_CURVES && placed(5) < PRD_CLASS_CURVES,
       "both have a curve");
    is_int(placed(4), PRD_CLASS_CURVES, "one without requests has none");

    ok(quiet.quantile[0] < 100, "quiet for the next 5 minutes (%.0f)",
       (double) quiet.quantile[0]);
    ok(busy.quantile[0] > 1000 && busy.quantile[0] < 4500,
       "busy in two hours (%.0f)", (double) busy.quantile[0]);

    i = placed(5);
    ok(i < PRD_CLASS_CURVES
       && fabsf(classes.top[i].curve[0].quantile[0] - 1000) < 100,
       "what never changes is forecast");

    /* eight louder ones come: the quietest gives way, one a bin */

    for (up = 10; up < 18; up++) {
        tokens[up] = 1e6f + (float) up;
    }

    bin(20 * 288, tokens, 20);
    bin(20 * 288 + 1, tokens, 20);
    ok(placed(17) < PRD_CLASS_CURVES && placed(16) == PRD_CLASS_CURVES,
       "the loudest first");

    for (i = 2; i < 20; i++) {
        bin(20 * 288 + i, tokens, 20);
    }

    for (up = 10; up < 18 && placed(up) < PRD_CLASS_CURVES; up++) {
        /* void */
    }

    is_int(up, 18, "in the end all louder ones have curves");
    is_int(placed(5), PRD_CLASS_CURVES, "... and others none");

    /* nobody gives way to his like */

    tokens[19] = 1.5e6f;

    for (i = 20; i < 300; i++) {
        bin(20 * 288 + i, tokens, 20);
    }

    is_int(placed(19), PRD_CLASS_CURVES, "half as loud again is not enough");
}


static void
odd(void)
{
    unsigned  i, k, h, insane;

    static const uint64_t  at[] = {
        BEGIN, BEGIN + 600, BEGIN + 86400, BEGIN - 86400, BEGIN + 31536000,
        0, 10, UINT64_MAX, BEGIN, BEGIN + 300
    };

    prd_class_init(&classes);
    insane = 0;

    for (i = 0; i < 10 * 40; i++) {
        prd_class_turn(&classes, at[i % 10] + i / 10 * 300, ids);
        prd_class_add(&classes, 3, i % 3 ? 1e18 : 0);
        prd_class_add(&classes, 4, i % 2 ? -5 : (double) NAN);
        prd_class_add(&classes, 5, (double) INFINITY);
        prd_class_add(&classes, 256, 1);
        prd_class_add(&classes, 0, 1);

        for (k = 0; k < PRD_CLASS_CURVES; k++) {
            for (h = 0; h < PRD_CURVE_POINTS; h++) {
                insane += !isfinite(classes.top[k].curve[h].quantile[0])
                          || !isfinite(classes.top[k].curve[h].quantile[3])
                          || classes.top[k].curve[h].quantile[0] < 0;
            }
        }
    }

    is_int(insane, 0, "clocks that jump, counts without end: numbers");

    /* a file that lies */

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        classes.top[i].id = 7003;
        classes.top[i].index = i < 2 ? 3 : i == 2 ? 0 : 4000000000u;
        (void) prd_aggregate_init(&classes.top[i].demand, PRD_CLASS_BIN_S);
    }

    classes.level[9] = (float) NAN;
    classes.sum[9] = -1;
    prd_class_settle(&classes, BEGIN, ids);

    ok(classes.top[0].id == 7003 && classes.top[0].index == 3, "one is kept");

    for (i = 1, k = 0; i < PRD_CLASS_CURVES; i++) {
        k += classes.top[i].id != 0;
    }

    is_int(k, 0, "no class twice, none that is not there");
    ok(classes.level[9] == 0 && classes.sum[9] == 0, "no odd numbers");

    atomic_store(&ids[3], 1);
    prd_class_settle(&classes, BEGIN, ids);
    is_int(classes.top[0].id, 0, "none that another one has become");
}


int
main(void)
{
    curves();
    odd();

    return done_testing();
}
