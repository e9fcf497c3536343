
/* Sizes of requests; see prd_size.h. */


#include "prd_size.h"


#define SIZE_UPPER   0.95
#define SIZE_COUNT   1e12f


/* Where a class begins; that after the last one begins above all. */

static double
prd_size_edge(unsigned i)
{
    return i ? (double) (1ull << (6 + i / 2)) * (i % 2 ? 1.5 : 1) : 0;
}


double
prd_sizes_add(prd_sizes_t *s, const uint64_t grown[PRD_SIZES])
{
    float     fade;
    double    n, bytes;
    unsigned  i;

    n = bytes = 0;

    for (i = 0; i < PRD_SIZES; i++) {
        n += prd_size_count(grown[i]);
        bytes += prd_size_bytes(grown[i]);
    }

    if (n <= 0) {
        return bytes;
    }

    fade = 1 - 1.0f / PRD_SIZE_MEMORY;

    for (i = 0; i < PRD_SIZES; i++) {
        s->n[i] = s->n[i] * fade + (float) prd_size_count(grown[i]);
        s->bytes[i] = s->bytes[i] * fade + (float) prd_size_bytes(grown[i]);

        /* a class that has nearly faded: no denormal numbers */

        if (s->n[i] < 1e-6f) {
            s->n[i] = s->bytes[i] = 0;
        }
    }

    return bytes;
}


prd_rc_t
prd_sizes_get(const prd_sizes_t *s, prd_size_t *size)
{
    double    n, bytes, want, sum, low, high;
    unsigned  i;

    n = bytes = 0;

    for (i = 0; i < PRD_SIZES; i++) {
        n += s->n[i];
        bytes += s->bytes[i];
    }

    if (!(n > 0)) {
        return PRD_DECLINED;
    }

    want = SIZE_UPPER * n;
    sum = 0;

    for (i = 0; i < PRD_SIZES - 1; i++) {
        if (s->n[i] > 0 && sum + s->n[i] >= want) {
            break;
        }

        sum += s->n[i];
    }

    low = prd_size_edge(i);
    high = prd_size_edge(i + 1);

    size->requests = n;
    size->mean = bytes / n;
    size->upper = s->n[i] > 0
                  ? low + (high - low) * prd_min((want - sum) / s->n[i], 1.0)
                  : low;

    return PRD_OK;
}


prd_rc_t
prd_sizes_check(const prd_sizes_t *s)
{
    unsigned  i;

    for (i = 0; i < PRD_SIZES; i++) {
        if (!(s->n[i] >= 0 && s->n[i] <= SIZE_COUNT)
            || !(s->bytes[i] >= 0
                 && s->bytes[i] <= s->n[i] * 2 * (float) PRD_SIZE_MOST))
        {
            return PRD_ECORRUPT;
        }
    }

    return PRD_OK;
}
