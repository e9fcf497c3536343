
/*
 * Classes: their names, what each asked for, and the curves of some.
 */


#include "prd_profile_outlook_inner.h"


#define PRD_PROFILE_CLASS    (12 + PRD_CLASS_NAME)


prd_rc_t
prd_profile_write_classes(prd_profile_t *f, const prd_view_t *view)
{
    char                  name[PRD_CLASS_NAME];
    uint8_t               buf[PRD_PROFILE_CLASS], *p;
    uint32_t              i;
    prd_rc_t              rc;
    const prd_classes_t  *c;

    c = &view->outlook.outlook->classes;

    p = buf;
    prd_pack64(&p, (uint64_t) c->bin);
    rc = prd_profile_write(f, buf, 8);

    for (i = 1; i < PRD_CLASSES && rc == PRD_OK; i++) {

        if (atomic_load_explicit(&view->zone->classes[i],
                                 memory_order_relaxed)
            == 0)
        {
            continue;
        }

        prd_zone_class_name(view, i, name);

        p = buf;
        prd_pack32(&p, i);
        prd_pack_float(&p, c->sum[i]);
        prd_pack_float(&p, c->level[i]);
        memcpy(p, name, PRD_CLASS_NAME);

        rc = prd_profile_write(f, buf, sizeof(buf));
    }

    memset(buf, 0, sizeof(buf));
    rc = rc == PRD_OK ? prd_profile_write(f, buf, sizeof(buf)) : rc;

    for (i = 0; i < PRD_CLASS_CURVES && rc == PRD_OK; i++) {
        p = buf;
        prd_pack32(&p, c->top[i].id);
        prd_pack32(&p, c->top[i].index);
        rc = prd_profile_write(f, buf, 8);

        rc = rc == PRD_OK
             ? prd_profile_write_pack(f, &c->top[i].demand,
                          c->top[i].id ? sizeof(prd_aggregate_t) : 0)
             : rc;
    }

    return rc;
}


/* view NULL: skips */

static prd_rc_t
prd_profile_read_demand(prd_profile_t *f, prd_view_t *view)
{
    float           sum, level;
    uint8_t         buf[PRD_PROFILE_CLASS];
    uint32_t        i, n;
    uint64_t        bin;
    prd_rc_t        rc;
    prd_str_t       name;
    prd_class_t    *top;
    const uint8_t  *p;
    prd_classes_t  *c;

    c = view ? &view->outlook.outlook->classes : NULL;

    p = buf;
    rc = prd_profile_read(f, buf, 8);

    if (rc != PRD_OK) {
        return rc;
    }

    bin = prd_unpack64(&p);

    if (bin > UINT32_MAX) {
        return PRD_ECORRUPT;
    }

    for (n = 0; n <= PRD_CLASSES; n++) {
        p = buf;
        rc = prd_profile_read(f, buf, sizeof(buf));

        if (rc != PRD_OK) {
            return rc;
        }

        i = prd_unpack32(&p);
        sum = prd_unpack_float(&p);
        level = prd_unpack_float(&p);

        if (i == 0) {
            break;
        }

        if (i >= PRD_CLASSES) {
            return PRD_ECORRUPT;
        }

        if (c) {
            c->sum[i] = sum;
            c->level[i] = level;

            name.data = (char *) p;
            name.len = strnlen(name.data, PRD_CLASS_NAME);
            prd_zone_name_class(view, i, name);
        }
    }

    if (n > PRD_CLASSES) {
        return PRD_ECORRUPT;
    }

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        p = buf;
        rc = prd_profile_read(f, buf, 8);

        if (rc != PRD_OK) {
            return rc;
        }

        top = c ? &c->top[i] : NULL;

        if (c) {
            top->id = prd_unpack32(&p);
            top->index = prd_unpack32(&p);
        }

        rc = prd_profile_read_curve(f, c ? &top->demand : NULL,
                                    PRD_CLASS_BIN_S);
        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (c) {
        c->bin = (int64_t) bin;
    }

    return PRD_OK;
}


/* What was read of a file that ends too early is settled, too. */

prd_rc_t
prd_profile_read_classes(prd_profile_t *f, prd_view_t *view, uint64_t now_s)
{
    prd_rc_t  rc;

    rc = prd_profile_read_demand(f, view);

    if (view) {
        prd_class_settle(&view->outlook.outlook->classes, now_s,
                         view->zone->classes);
    }

    return rc;
}
