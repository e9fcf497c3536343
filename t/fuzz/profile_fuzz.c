
/*
 * Files of learned state.  A wrong checksum is overlooked, so that all of a
 * file is reached, and what does not begin as a file is read as a zone's
 * body.  Whatever is taken, the forecaster must be able to go on with it.
 */


#include <math.h>
#include <stdlib.h>

#include "prd_forecaster.h"
#include "prd_profile.h"


#define NOW_S   1700000123u
#define NOW_MS  50000u


typedef struct {
    const uint8_t  *p;
    size_t          len;
} bytes_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static prd_rc_t
take(void *data, void *p, size_t len)
{
    bytes_t  *b = data;

    if (len > b->len) {
        return PRD_ECORRUPT;
    }

    memcpy(p, b->p, len);
    b->p += len;
    b->len -= len;

    return PRD_OK;
}


static void
check(const prd_view_t *view)
{
    float                 q[PRD_QUANTILES];
    uint32_t              s, i, k, clients, claims;
    prd_track_t           t;
    prd_tracked_t         c;
    const prd_tracks_t   *tracks;
    const prd_learned_t  *l;

    if (prd_table_check(&view->table, &clients, &claims) || claims) {
        abort();
    }

    for (s = 0; s < prd_zone_slots(view); s++) {
        l = &view->learned[s];

        if (atomic_load(&view->table.tags[s]) != PRD_TAG_FREE
            && l->sigma != 0
            && !(isfinite(l->mu) && l->sigma > 0 && isfinite(l->sigma)
                 && l->depth >= 0 && isfinite(l->depth) && l->rate >= 0
                 && isfinite(l->rate) && l->count >= 0))
        {
            abort();
        }
    }

    tracks = &view->outlook.outlook->tracks;

    if (prd_tracks_check(tracks, sizeof(prd_tracks_t)) != PRD_OK) {
        abort();
    }

    for (s = 0; s < view->outlook.clients; s++) {

        if (prd_outlook_copy(&view->outlook, s, &c) != PRD_OK
            || prd_outlook_copy_track(&view->outlook, &c, &t) != PRD_OK)
        {
            continue;
        }

        for (i = 0; i < 9; i++) {
            if (prd_track_forecast(&t, tracks, i / 3, i % 3, NULL, 0, q)
                != PRD_OK)
            {
                continue;
            }

            for (k = 0; k < PRD_QUANTILES; k++) {
                if (!(q[k] >= (k ? q[k - 1] : 0) && isfinite(q[k]))) {
                    abort();
                }
            }
        }
    }

    if (!isfinite(view->zone->pooled.mu)
        || !isfinite(view->zone->pooled.newcomer_b)
        || !isfinite(view->zone->level))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void                    *mem;
    char                     name[PRD_PROFILE_NAME], key[PRD_PROFILE_KEY];
    size_t                   n, k, zone_size;
    uint32_t                 i;
    bytes_t                  b;
    uint64_t                 kept;
    prd_rc_t                 rc;
    prd_view_t               view;
    const char              *why;
    prd_params_t             params;
    prd_policy_t             policy;
    prd_secret_t             secret = { 1, 2 };
    prd_profile_t            f;
    prd_profile_head_t       head;
    static prd_forecaster_t  forecaster;

    prd_params_init(&params);
    (void) prd_params_set(&params, (prd_str_t) prd_str("rate=2r/s"), &why);
    (void) prd_params_set(&params, (prd_str_t) prd_str("capacity=100r/s"),
                          &why);
    (void) prd_params_end(&params, &why);
    prd_policy_init(&policy, &params, 5);

    zone_size = (prd_zone_size(8 * 1024) + 63) / 64 * 64;
    mem = aligned_alloc(64, zone_size);
    memset(mem, 0, zone_size);

    if (prd_zone_init(mem, zone_size, policy.unit, &secret, &policy, NOW_S,
                      NOW_MS) != PRD_OK
        || prd_zone_attach(&view, mem, zone_size, &policy, 0, 1, NULL)
           != PRD_OK)
    {
        abort();
    }

    memset(&f, 0, sizeof(f));
    memset(&forecaster, 0, sizeof(forecaster));
    b.p = data;
    b.len = size;
    f.read = take;
    f.data = &b;

    if (prd_profile_read_head(&f, &head) == PRD_OK) {

        for (i = 0; i < head.zones; i++) {
            rc = prd_profile_read_name(&f, name, &n, key, &k, &secret);

            if (rc == PRD_OK) {
                rc = i == 0 ? prd_profile_read_zone(&f, &view, &policy, NOW_S,
                                                    NOW_MS, &kept)
                            : prd_profile_skip_zone(&f);
            }

            if (rc != PRD_OK) {
                break;
            }
        }

        (void) prd_profile_read_end(&f);

    } else {
        b.p = data;
        b.len = size;
        f.written_s = NOW_S - 10;
        f.version = size % 2 ? PRD_PROFILE_VERSION : PRD_PROFILE_OLD;
        (void) prd_profile_read_zone(&f, &view, &policy, NOW_S, NOW_MS, &kept);
    }

    check(&view);

    for (i = 0; i < 4; i++) {
        (void) prd_forecaster_round(&forecaster, &view, &policy,
                                    NOW_S + i * 1200.0, NOW_MS + i * 1200000);
    }

    check(&view);
    free(mem);

    return 0;
}
