
/* Sizes of requests: what is counted comes out, and old ones fade. */


#include <math.h>

#include "prd_size.h"
#include "tap.h"


static uint64_t  word[PRD_SIZES];


static void
request(uint64_t bytes)
{
    word[prd_size_class(bytes)] += prd_size_word(bytes);
}


static void
classes(void)
{
    unsigned  e, bad;
    uint64_t  n;

    bad = 0;

    for (e = 7; e < 36; e++) {
        n = 1ull << e;
        bad += prd_size_class(n) != 2 * (e - 6);
        bad += prd_size_class(n - 1) != 2 * (e - 6) - 1;
        bad += prd_size_class(n + n / 2) != 2 * (e - 6) + 1;
        bad += prd_size_class(n + n / 2 - 1) != 2 * (e - 6);
    }

    is_int(bad, 0, "half octaves");
    is_int(prd_size_class(0), 0, "nothing is in the first");
    is_int(prd_size_class(95), 0, "so are 95 bytes");
    is_int(prd_size_class(96), 1, "96 are not");
    is_int(prd_size_class(UINT64_MAX), PRD_SIZES - 1, "all is in the last");
    is_int(prd_size_word(UINT64_MAX), PRD_SIZE_ONE + PRD_SIZE_MOST,
           "no request overflows its word");
}


static void
sums(void)
{
    uint64_t     before[PRD_SIZES], grown[PRD_SIZES];
    unsigned     i, k;
    prd_size_t   size = { 7, 7, 7 };
    prd_sizes_t  s;

    memset(&s, 0, sizeof(s));
    memset(word, 0, sizeof(word));

    is_int(prd_sizes_get(&s, &size), PRD_DECLINED, "nothing is known");
    ok(size.mean == 7 && size.upper == 7, "... and nothing is said");
    ok(prd_sizes_add(&s, word) == 0, "a bin without requests");
    is_int(prd_sizes_get(&s, &size), PRD_DECLINED, "... says nothing");

    /* 1 to 1000 bytes, from words that are about to wrap */

    for (i = 0; i < PRD_SIZES; i++) {
        word[i] = before[i] = UINT64_MAX - 12345;
    }

    for (i = 1; i <= 1000; i++) {
        request(i);
    }

    for (i = 0; i < PRD_SIZES; i++) {
        grown[i] = word[i] - before[i];
    }

    ok(prd_sizes_add(&s, grown) == 500500, "the sum is exact");
    is_int(prd_sizes_get(&s, &size), PRD_OK, "known");
    ok(size.requests == 1000 && fabs(size.mean - 500.5) < 1e-3,
       "the mean: %.3f", size.mean);
    ok(fabs(size.upper - 950) < 30, "the quantile: %.1f", size.upper);

    for (i = 0; i < 40; i++) {
        memset(grown, 0, sizeof(grown));
        (void) prd_sizes_add(&s, grown);
    }

    (void) prd_sizes_get(&s, &size);
    ok(fabs(size.requests - 1000) < 1e-3, "pauses fade nothing");

    /* ten times as large from now on */

    for (i = 0; i < PRD_SIZE_MEMORY; i++) {
        memset(grown, 0, sizeof(grown));

        for (k = 0; k < 3; k++) {
            grown[prd_size_class(5000)] += prd_size_word(5000);
        }

        (void) prd_sizes_add(&s, grown);
    }

    (void) prd_sizes_get(&s, &size);
    ok(size.mean > 2500 && size.mean < 5000, "an hour: %.0f", size.mean);
    ok(size.upper > 4096 && size.upper <= 6144, "... of a class");

    for (i = 0; i < 20 * PRD_SIZE_MEMORY; i++) {
        (void) prd_sizes_add(&s, grown);
    }

    (void) prd_sizes_get(&s, &size);
    ok(fabs(size.mean - 5000) < 1, "a day: %.2f", size.mean);
    ok(fabs(size.requests - 3 * PRD_SIZE_MEMORY) < 5, "a memory that ends");
    is_int(prd_sizes_check(&s), PRD_OK, "sound");

    s.bytes[3] = NAN;
    is_int(prd_sizes_check(&s), PRD_ECORRUPT, "no number");
    s.bytes[3] = 1;
    s.n[3] = 0;
    is_int(prd_sizes_check(&s), PRD_ECORRUPT, "bytes of no request");

    /* the greatest of all */

    memset(&s, 0, sizeof(s));
    memset(word, 0, sizeof(word));
    request(UINT64_MAX);
    (void) prd_sizes_add(&s, word);
    (void) prd_sizes_get(&s, &size);
    ok(fabs(size.mean - (double) PRD_SIZE_MOST) <= 1
       && size.upper <= (double) PRD_SIZE_MOST + 1, "64 GB at most");
}


int
main(void)
{
    classes();
    sums();

    return done_testing();
}
