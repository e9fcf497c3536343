
/*
 * From one zone into another: what a zone takes along when a reload gives it
 * another size.
 */


#include "prd_profile_inner.h"


uint64_t
prd_profile_copy(const prd_view_t *from, prd_view_t *to,
    const prd_policy_t *policy, uint64_t now_s, uint32_t now_ms)
{
    int            all;
    uint8_t        buf[PRD_PROFILE_POOLED], *p;
    uint32_t       i, s, age;
    uint64_t       kept;
    prd_zone_t    *zone, *was;
    prd_record_t   r;
    const uint8_t  *q;

    kept = 0;
    zone = to->zone;
    was = from->zone;

    /* by way of the file's form, which checks what is read under a writer */

    p = buf;
    q = buf;
    prd_profile_put_pooled(&p, was, now_s);
    (void) prd_profile_get_pooled(&q, to, policy, now_s, 0);

    zone->learn_since_s = was->learn_since_s;
    atomic_store(&zone->warm, atomic_load(&was->warm));
    atomic_store(&zone->pool, atomic_load(&was->pool));

    for (i = 0; i < PRD_CLASSES; i++) {
        atomic_store_explicit(&zone->classes[i],
            atomic_load_explicit(&was->classes[i], memory_order_relaxed),
            memory_order_relaxed);
        zone->surge_slow[i] = prd_max(was->surge_slow[i], 0.0);
        prd_words_write(zone->class_name[i], was->class_name[i],
                        PRD_CLASS_NAME);
    }

    /* first those known for longest, newcomers at last */

    for (age = PRD_AGES; age-- > 0; /* void */ ) {
        for (s = 0; s < prd_zone_slots(from); s++) {

            all = age == 0 && from->learned[s].hours == 0;

            if (!all && prd_age(from->learned[s].hours) != age) {
                continue;
            }

            if (prd_profile_take(from, s, now_ms, &r) != PRD_OK) {
                continue;
            }

            r.level = prd_profile_units(r.level, was->unit, zone->unit);
            r.backlog = prd_profile_units(r.backlog, was->unit, zone->unit);
            r.hold = prd_profile_units(r.hold, was->unit, zone->unit);

            if (r.learned.sigma > 0 && !prd_profile_sane(&r.learned)) {
                r.learned.sigma = 0;
            }

            prd_profile_give(to, policy, &r, now_ms, &kept);
        }
    }

    prd_profile_copy_outlook(from, to, policy, now_s);
    prd_profile_settle(to, now_ms);

    return kept;
}
