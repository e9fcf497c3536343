
/*
 * Pooled tables and what a zone knows of itself, number by number; ages take
 * the place of stamps.
 */


#include <math.h>

#include "prd_profile_inner.h"


#define PRD_PROFILE_DAY_S    86400.0


/* whoever changes this has to think of the format */
_Static_assert(sizeof(prd_scores_t) == (PRD_CELLS + 4) * 4 + 8,
               "prd_scores_t is in files");


static void
prd_profile_put_scores(uint8_t **p, const prd_scores_t *s, uint64_t now_s)
{
    uint32_t  i;

    for (i = 0; i < PRD_CELLS; i++) {
        prd_pack_float(p, s->cell[i]);
    }

    prd_pack_float(p, s->z);

    /* 0 means never */
    prd_pack_double(p, s->at_s > 0 ? prd_max((double) now_s - s->at_s, 0.0)
                                  : -1);
}


void
prd_profile_put_pooled(uint8_t **p, const prd_zone_t *zone, uint64_t now_s)
{
    uint32_t             i;
    const prd_pooled_t  *t;

    t = &zone->pooled;

    for (i = 0; i < PRD_AGES; i++) {
        prd_profile_put_scores(p, &t->depth[i], now_s);
        prd_profile_put_scores(p, &t->rate[i], now_s);
        prd_profile_put_scores(p, &t->near[i], now_s);
    }

    prd_pack_double(p, t->mu);
    prd_pack_double(p, t->sigma);
    prd_pack_double(p, t->mu_rate);
    prd_pack_double(p, t->sigma_rate);
    prd_pack_double(p, t->anchor_b);
    prd_pack_double(p, t->anchor_r);
    prd_pack_double(p, t->anchor_mu);
    prd_pack_double(p, t->anchor_s > 0
                      ? prd_max((double) now_s - t->anchor_s, 0.0) : -1);
    prd_pack_double(p, t->newcomer_b);
    prd_pack_double(p, t->newcomer_r);
    prd_pack_double(p, t->cost);

    for (i = 0; i < PRD_AGES; i++) {
        prd_pack_double(p, t->closed[i]);
        prd_pack_double(p, t->missed[i]);
        prd_pack_double(p, t->bounded[i]);
    }

    prd_pack_double(p, zone->requests);
    prd_pack_double(p, zone->tokens);
    prd_pack_double(p, zone->surge_all);
    prd_pack_double(p, zone->level);
    prd_pack_double(p, zone->ratio);
    prd_pack_double(p, zone->pinball);
    prd_pack_double(p, zone->pinball_last);
    prd_pack_double(p, zone->pinball_n);
    prd_pack_double(p, zone->covered);
    prd_pack_double(p, zone->last);
    prd_pack_double(p, zone->costed != 0);
}


/* Returns 0 if a value is not finite. */

static int
prd_profile_get_scores(const uint8_t **p, prd_scores_t *s, double now_s,
    double gone_s)
{
    int       finite;
    float     sum;
    double    age;
    uint32_t  i;

    finite = 1;
    sum = 0;

    for (i = 0; i < PRD_CELLS; i++) {
        s->cell[i] = prd_unpack_float(p);
        finite &= isfinite(s->cell[i]) != 0;
        s->cell[i] = (float) prd_clamp(s->cell[i], 0, 1e5);
        sum += s->cell[i];
    }

    s->votes = sum;
    s->z = prd_unpack_float(p);
    finite &= isfinite(s->z) != 0;
    s->z = (float) prd_clamp(s->z, -8, 24);

    age = prd_unpack_double(p);
    finite &= isfinite(age) != 0;
    s->at_s = age < 0 ? 0 : now_s - prd_min(age + gone_s, PRD_PROFILE_DAY_S);

    return finite && sum > 0;
}


static int
prd_profile_get_value(const uint8_t **p, double *v, double least, double most)
{
    *v = prd_unpack_double(p);

    if (!isfinite(*v)) {
        return 0;
    }

    *v = prd_clamp(*v, least, most);

    return 1;
}


prd_rc_t
prd_profile_get_pooled(const uint8_t **p, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, double gone_s)
{
    int            finite;
    double         age, v[PRD_PROFILE_ZONE];
    uint32_t       i;
    prd_zone_t    *zone;
    prd_pooled_t   t;

    finite = 1;
    memset(&t, 0, sizeof(prd_pooled_t));

    for (i = 0; i < PRD_AGES; i++) {
        finite &= prd_profile_get_scores(p, &t.depth[i], (double) now_s,
                                         gone_s);
        finite &= prd_profile_get_scores(p, &t.rate[i], (double) now_s,
                                         gone_s);
        finite &= prd_profile_get_scores(p, &t.near[i], (double) now_s,
                                         gone_s);
    }

    finite &= prd_profile_get_value(p, &t.mu, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &t.sigma, PRD_PROFILE_SIGMA,
                                    PRD_PROFILE_SPREAD);
    finite &= prd_profile_get_value(p, &t.mu_rate, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &t.sigma_rate, PRD_PROFILE_SIGMA,
                                    PRD_PROFILE_SPREAD);
    finite &= prd_profile_get_value(p, &t.anchor_b, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &t.anchor_r, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &t.anchor_mu, -PRD_PROFILE_LOG,
                                    PRD_PROFILE_LOG);
    finite &= prd_profile_get_value(p, &age, -1, PRD_PROFILE_SUM);
    finite &= prd_profile_get_value(p, &t.newcomer_b, 0, PRD_PROFILE_TOKENS);
    finite &= prd_profile_get_value(p, &t.newcomer_r, 0, PRD_PROFILE_TOKENS);
    finite &= prd_profile_get_value(p, &t.cost, 1e-3, PRD_PROFILE_TOKENS);

    t.anchor_s = age < 0 ? 0 : (double) now_s
                               - prd_min(age + gone_s, PRD_PROFILE_DAY_S);

    for (i = 0; i < PRD_AGES; i++) {
        finite &= prd_profile_get_value(p, &t.closed[i], 0, PRD_PROFILE_SUM);
        finite &= prd_profile_get_value(p, &t.missed[i], 0, t.closed[i]);
        finite &= prd_profile_get_value(p, &t.bounded[i], 0, t.closed[i]);
    }

    for (i = 0; i < PRD_PROFILE_ZONE; i++) {
        finite &= prd_profile_get_value(p, &v[i], 0, PRD_PROFILE_SUM);
    }

    if (!finite) {
        return PRD_ECORRUPT;
    }

    zone = view->zone;
    zone->pooled = t;
    zone->requests = v[0];
    zone->tokens = v[1];
    zone->surge_all = prd_min(v[2], PRD_PROFILE_TOKENS);
    zone->level = prd_min(v[3], PRD_PROFILE_TOKENS);
    zone->ratio = prd_clamp(v[4], 1e-3, 1e3);
    zone->pinball = v[5];
    zone->pinball_last = v[6];
    zone->pinball_n = v[7];
    zone->covered = prd_min(v[8], v[7]);
    zone->last = prd_min(v[9], PRD_PROFILE_TOKENS);
    zone->costed = v[10] > 0;

    /* until the first round */

    atomic_store_explicit(&zone->newcomer, prd_env(0, 0,
        prd_env_encode((uint64_t) prd_min(t.newcomer_r * PRD_RATE_ONE, 1e18)),
        prd_env_encode((uint64_t) prd_min(t.newcomer_b * policy->unit, 4e9))),
        memory_order_relaxed);

    return PRD_OK;
}
