
/*
 * How large requests are: bytes of responses, as a histogram that fades.
 *
 * A worker counts in words of its own, one for each of PRD_SIZES classes of
 * sizes: each request adds PRD_SIZE_ONE plus its bytes to the word of its
 * class, so that one addition keeps both the count and the sum.  What was
 * added between two looks is exact as long as it is fewer than 2^24 requests
 * and 2^40 bytes of a class.
 */


#ifndef PRD_SIZE_H_INCLUDED
#define PRD_SIZE_H_INCLUDED


#include "prd.h"


#define PRD_SIZES         60           /* half octaves from 64 bytes */
#define PRD_SIZE_ONE      (1ull << 40)
#define PRD_SIZE_MOST     ((1ull << 36) - 1)  /* more is taken for that */
#define PRD_SIZE_MEMORY   360          /* bins with requests: an hour of them */
#define PRD_SIZE_PRIOR    8.0          /* requests that all weigh in a part's */


/* All zero: nothing is known. */

typedef struct {
    float     n[PRD_SIZES];            /* requests; fading */
    float     bytes[PRD_SIZES];
} prd_sizes_t;


typedef struct {
    double    requests;                /* that it is made of */
    double    mean;                    /* bytes */
    double    upper;                   /* 95 % quantile of one */
} prd_size_t;


static inline unsigned
prd_size_class(uint64_t bytes)
{
    unsigned  e;

    bytes = prd_min(bytes, PRD_SIZE_MOST);
    e = 63 - (unsigned) __builtin_clzll(bytes | 64);

    return 2 * (e - 6) + (unsigned) (bytes >> (e - 1) & 1);
}


static inline uint64_t
prd_size_word(uint64_t bytes)
{
    return PRD_SIZE_ONE + prd_min(bytes, PRD_SIZE_MOST);
}


/* What words grew by in a bin, its sums. */

static inline double
prd_size_count(uint64_t grown)
{
    return (double) (grown >> 40);
}


static inline double
prd_size_bytes(uint64_t grown)
{
    return (double) (grown & (PRD_SIZE_ONE - 1));
}


/* Takes a bin; returns its bytes.  A bin without requests fades nothing. */
double prd_sizes_add(prd_sizes_t *s, const uint64_t grown[PRD_SIZES]);

/* PRD_DECLINED: nothing is known; *size stays. */
prd_rc_t prd_sizes_get(const prd_sizes_t *s, prd_size_t *size);

/* Of a file: PRD_ECORRUPT where no such sums come from counting. */
prd_rc_t prd_sizes_check(const prd_sizes_t *s);


#endif /* PRD_SIZE_H_INCLUDED */
