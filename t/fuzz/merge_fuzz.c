
/*
 * What the store holds of another node's pooled tables: with whatever is
 * taken the forecaster must be able to go on.
 */


#include <math.h>
#include <stdlib.h>

#include "prd_merge.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                   i;
    double                   now_s;
    prd_learned_t            l;
    prd_merge_mean_t         mean;
    prd_envelope_terms_t     t = { 0.001, 300, size & 1, 0, 0 };
    static uint8_t           buf[PRD_MERGE_SIZE];
    static prd_pooled_t      p;
    static prd_merge_own_t   own;
    static prd_merge_seen_t  seen;

    now_s = 1700000000;
    memset(&mean, 0, sizeof(mean));
    memset(&seen, 0, sizeof(seen));
    prd_pooled_init(&p, &t);
    prd_pooled_newcomer(&p, &t, now_s);
    prd_merge_begin(&own, &p, 7);

    (void) prd_merge_adopt(data, size, &p, &t, now_s);

    if (size == 0) {
        return 0;
    }

    /* short inputs are repeated */

    for (i = 4; i < PRD_MERGE_SIZE; i++) {
        buf[i] = data[(i - 4) % size];
    }

    memset(buf, 0, 4);
    buf[0] = PRD_MERGE_VERSION;

    (void) prd_merge_adopt(buf, sizeof(buf), &p, &t, now_s);
    (void) prd_merge_add(buf, sizeof(buf), &seen, &mean, &p, &t, 0,
                         now_s + 60);
    prd_merge_end(&own, &mean, &p, &t);
    prd_pooled_newcomer(&p, &t, now_s + 60);

    prd_learned_init(&l, &p, 1, now_s + 60);

    for (i = 0; i < 40; i++) {
        (void) prd_learned_block(&l, &p, &t, 5, 1, now_s + 70);
    }

    prd_merge_count(&own, &p);
    prd_merge_put(buf, &own, &p, 60);

    if (!isfinite(p.mu) || !(p.sigma > 0) || !isfinite(p.newcomer_b)
        || !isfinite(p.newcomer_r) || !isfinite(p.depth[0].z)
        || !(p.depth[0].votes > 0) || !isfinite(l.depth))
    {
        abort();
    }

    return 0;
}
