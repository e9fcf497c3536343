
/*
 * What the store holds of a client: with whatever is taken the forecaster
 * must be able to go on.  The sum is put right, so that the rest is reached.
 */


#include <math.h>
#include <stdlib.h>

#include "prd_pack.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(const prd_learned_t *l)
{
    if (!(isfinite(l->mu) && l->sigma > 0 && isfinite(l->sigma)
          && isfinite(l->mu_rate) && l->sigma_rate > 0
          && l->depth >= 0 && isfinite(l->depth)
          && l->rate >= 0 && isfinite(l->rate)
          && l->count >= 0 && isfinite(l->count)
          && l->level >= 0 && isfinite(l->level)
          && l->near >= 0 && isfinite(l->near)))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double                hold;
    uint8_t               buf[PRD_PACK_SIZE];
    unsigned              i;
    uint16_t              by;
    prd_pooled_t          p;
    prd_learned_t         l;
    prd_pack_terms_t      t = { 1, 300, 1700000123, 1000000, 0 };
    prd_envelope_terms_t  terms = { 0.001, 300, 0, 0, 0 };

    if (prd_pack_get(data, size, &l, &hold, &by, &t) == PRD_OK) {
        check(&l);
    }

    if (size < 9 || size > 8 + PRD_PACK_SIZE) {
        return 0;
    }

    memcpy(&t.shared_s, data, 4);
    memcpy(&t.horizon_s, data + 4, 4);
    t.horizon_s = t.horizon_s % 100000 + 1;

    memset(buf, 0, sizeof(buf));
    memcpy(buf, data + 8, size - 8);
    buf[0] = PRD_PACK_VERSION;
    buf[PRD_PACK_SIZE - 1] &= 1;

    for (i = 0; i < 256; i++) {
        buf[1] = (uint8_t) i;

        if (prd_pack_get(buf, sizeof(buf), &l, &hold, &by, &t) == PRD_OK) {
            break;
        }
    }

    if (i == 256) {
        abort();
    }

    check(&l);

    /* life goes on */

    terms.horizon_s = t.horizon_s;
    prd_pooled_init(&p, &terms);
    prd_pooled_newcomer(&p, &terms, (double) t.now_s);

    for (i = 1; i < 4; i++) {
        (void) prd_learned_block(&l, &p, &terms, 5, 1, (double) t.now_s + i);
        prd_learned_near(&l, &p, &terms, 5, 1, (double) t.now_s + 400 * i);
        prd_learned_hour(&l, &p, &terms, 1, (double) t.now_s + 4000 * i);
        l.count += 5;
        check(&l);
    }

    if (prd_pack_put(buf, &l, hold, &t) != PRD_OK
        || prd_pack_get(buf, sizeof(buf), &l, &hold, &by, &t) != PRD_OK)
    {
        abort();
    }

    return 0;
}
