
/*
 * Replies about the clients whose home a node is, from the store into a zone:
 * the table stays whole and the forecaster goes on.
 */


#include <math.h>
#include <stdlib.h>

#include "prd_home.h"


#define NOW_S   1700000123u
#define NOW_MS  50000u


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void                    *mem;
    size_t                   zone_size;
    uint8_t                  record[PRD_HOME_RECORD];
    uint16_t                *loaded;
    uint32_t                 s, slot, clients, claims;
    uint64_t                 tag;
    prd_view_t               view;
    const char              *why;
    prd_params_t             params;
    prd_policy_t             policy;
    prd_secret_t             secret = { 1, 2 };
    prd_pack_terms_t         t = { 1, 300, NOW_S, 1000, 0 };
    prd_home_count_t         c;
    prd_home_reader_t        r;
    static prd_forecaster_t  forecaster;

    if (prd_home_read(&r, data, size) != PRD_OK) {
        return 0;
    }

    prd_params_init(&params);
    (void) prd_params_set(&params, (prd_str_t) prd_str("rate=2r/s"), &why);
    (void) prd_params_set(&params, (prd_str_t) prd_str("warmup=0"), &why);
    (void) prd_params_end(&params, &why);
    prd_policy_init(&policy, &params, 5);

    zone_size = (prd_zone_size(8 * 1024) + 63) / 64 * 64;
    mem = aligned_alloc(64, zone_size);
    memset(mem, 0, zone_size);
    memset(&forecaster, 0, sizeof(forecaster));

    if (prd_zone_init(mem, zone_size, policy.unit, &secret, &policy, NOW_S,
                      NOW_MS) != PRD_OK
        || prd_zone_attach(&view, mem, zone_size, &policy, 0, 1, NULL)
           != PRD_OK)
    {
        abort();
    }

    loaded = calloc(prd_zone_slots(&view) + 1, sizeof(uint16_t));

    (void) prd_forecaster_round(&forecaster, &view, &policy, NOW_S, NOW_MS);

    while (prd_home_next(&r, &c) == PRD_OK) {
        (void) prd_home_take(&view, &policy, &c, &t, loaded, NOW_MS, &slot);
    }

    (void) prd_forecaster_round(&forecaster, &view, &policy, NOW_S + 10,
                                NOW_MS + 10000);

    if (prd_table_check(&view.table, &clients, &claims) || claims) {
        abort();
    }

    for (s = 0; s < prd_zone_slots(&view); s++) {
        if (prd_home_put(&view, &policy, s, &t, record, &tag) == PRD_OK
            && !(isfinite(view.learned[s].mu) && view.learned[s].sigma > 0
                 && view.learned[s].depth > 0))
        {
            abort();
        }
    }

    free(loaded);
    free(mem);

    return 0;
}
