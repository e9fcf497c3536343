
/*
 * Scores: losses by hand, what is refused, and fading.
 */


#include <math.h>

#include "prd_score.h"
#include "tap.h"


static void
by_hand(void)
{
    double       v;
    prd_score_t  s, sum;

    static const float  q[4] = { 4, 8, 9, 12 };
    static const float  last[4] = { 2, 2, 2, 2 };

    prd_score_init(&s);

    is_int(prd_score_relative(&s, &v), PRD_DECLINED, "empty: no loss");
    is_int(prd_score_wape(&s, &v), PRD_DECLINED, "empty: no WAPE");
    is_int(prd_score_coverage(&s, 0, &v), PRD_DECLINED, "empty: no coverage");

    is_int(prd_score_add(&s, 10, q, last), PRD_OK, "a forecast");

    /* 0.5 x 6 + 0.9 x 2 + 0.95 x 1 + 0.01 x 2; 8 x (0.5 + 0.9 + ...) */
    is_int(prd_score_relative(&s, &v), PRD_OK, "its loss");
    ok(fabs(v - 5.77 / 26.72) < 1e-6, "... beside the last value's");

    is_int(prd_score_wape(&s, &v), PRD_OK, "its WAPE");
    ok(fabs(v - 0.6) < 1e-9, "... is 6 of 10");

    ok(prd_score_coverage(&s, 2, &v) == PRD_OK && v == 0, "0.95 is missed");
    ok(prd_score_coverage(&s, 3, &v) == PRD_OK && v == 1, "0.99 covers");
    is_int(prd_score_coverage(&s, 4, &v), PRD_EINVAL, "there are four");

    sum = s;
    (void) prd_score_add(&s, 12, q, last);
    prd_score_merge(&sum, &s);
    ok(sum.n == 3 && sum.covered[3] == 3 && sum.sum == 32, "sums");
}


static void
refused(void)
{
    prd_score_t  s;

    static const float  good[4] = { 0, 1, 2, 3 };
    const float         bad[4] = { 0, 1, 2, (float) INFINITY };
    const float         nan[4] = { 0, (float) NAN, 2, 3 };

    prd_score_init(&s);

    is_int(prd_score_add(&s, -1, good, good), PRD_EINVAL, "less than nothing");
    is_int(prd_score_add(&s, (float) NAN, good, good), PRD_EINVAL, "NaN");
    is_int(prd_score_add(&s, 1, bad, good), PRD_EINVAL, "infinite");
    is_int(prd_score_add(&s, 1, good, nan), PRD_EINVAL, "NaN forecast");
    ok(s.n == 0 && s.sum == 0, "they leave no trace");
}


static void
fading(void)
{
    long         i;
    double       v;
    prd_score_t  s;

    static const float  high[4] = { 2, 2, 2, 2 };
    static const float  low[4] = { 0, 0, 0, 0 };

    prd_score_init(&s);

    for (i = 0; i < 2000000; i++) {
        (void) prd_score_add(&s, 1, high, low);
    }

    for (i = 0; i < 4000000; i++) {
        (void) prd_score_add(&s, 1, low, high);
    }

    ok(s.n <= PRD_SCORE_VOTES, "the weight is bounded");
    ok(prd_score_coverage(&s, 3, &v) == PRD_OK && v < 0.2, "old ones fade");
}


int
main(void)
{
    by_hand();
    refused();
    fading();

    return done_testing();
}
