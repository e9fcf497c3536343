
/*
 * What is forecast beside the envelopes, in the files of prd_profile.h: all of
 * it, to a file, from it, and from one zone into another.  Groups, chains and
 * clients' records are done here, the rest by other rooms.
 */


#include "prd_profile_outlook_inner.h"


#define PRD_PROFILE_TRACKED  64            /* records in a chunk */
#define PRD_PROFILE_PACK     (PRD_PROFILE_TRACKED * PRD_OUTLOOK_PACKED + 4)
#define PRD_PROFILE_TRIES    3             /* of a copy under a writer */


/* Curves are as they are in memory: another layout of them is not read. */

prd_rc_t
prd_profile_write_outlook(prd_profile_t *f, const prd_view_t *view,
    uint64_t now_s)
{
    size_t          len;
    uint8_t         buf[PRD_PROFILE_PACK], *p;
    uint32_t        i, k, n, used;
    prd_rc_t        rc;
    prd_tracked_t  *c;
    prd_outlook_t  *o;

    o = view->outlook.outlook;

    p = buf;
    prd_pack64(&p, now_s);
    rc = prd_profile_write(f, buf, 8);

    if (rc != PRD_OK) {
        return rc;
    }

    len = sizeof(buf);
    rc = prd_group_pack(&o->groups, buf, &len);
    rc = rc == PRD_OK ? prd_profile_write_pack(f, buf, len) : rc;

    for (i = 0; i < PRD_GROUPS && rc == PRD_OK; i++) {
        p = buf;
        prd_pack32(&p, o->chain_id[i]);
        rc = prd_profile_write(f, buf, 4);

        if (rc == PRD_OK && o->chain_id[i]) {
            len = sizeof(buf);
            rc = prd_markov_pack(&o->chain[i], buf, &len);
            rc = rc == PRD_OK ? prd_profile_write_pack(f, buf, len) : rc;

            p = buf;

            for (k = 0; k < 24; k++) {
                prd_pack_float(&p, o->typical[i][k]);
            }

            rc = rc == PRD_OK ? prd_profile_write(f, buf, 96) : rc;
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS && rc == PRD_OK; i++) {
        rc = prd_profile_write_pack(f, &o->zone[i],
                          o->zone[i].bins ? sizeof(prd_aggregate_t) : 0);
    }

    for (i = 0; i < PRD_GROUPS && rc == PRD_OK; i++) {
        rc = prd_profile_write_pack(f, &o->group[i],
                          o->group[i].bins ? sizeof(prd_aggregate_t) : 0);
    }

    rc = rc == PRD_OK ? prd_profile_write_open(f, o) : rc;
    rc = rc == PRD_OK ? prd_profile_write_sizes(f, o) : rc;
    rc = rc == PRD_OK ? prd_profile_write_classes(f, view) : rc;

    used = atomic_load_explicit(&o->used, memory_order_relaxed);
    p = buf + 4;
    n = 0;

    for (i = 0; i < used && rc == PRD_OK; i++) {
        c = &view->outlook.client[i];

        if (i % PRD_PROFILE_ALIVE == 0) {
            rc = f->write(f->data, "", 0);
        }

        if (c->tag == 0) {
            continue;
        }

        prd_outlook_pack(c, p);
        p += PRD_OUTLOOK_PACKED;

        if (rc == PRD_OK && ++n == PRD_PROFILE_TRACKED) {
            uint8_t  *q = buf;

            prd_pack32(&q, n);
            rc = prd_profile_write(f, buf, (size_t) (p - buf));
            p = buf + 4;
            n = 0;
        }
    }

    if (rc == PRD_OK && n) {
        uint8_t  *q = buf;

        prd_pack32(&q, n);
        rc = prd_profile_write(f, buf, (size_t) (p - buf));
    }

    memset(buf, 0, 4);

    rc = rc == PRD_OK ? prd_profile_write(f, buf, 4) : rc;

    return rc == PRD_OK ? prd_profile_write_tracks(f, view) : rc;
}


prd_rc_t
prd_profile_read_outlook(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint64_t base_s)
{
    float           typical;
    size_t          len;
    int64_t         shift_s;
    uint8_t         buf[PRD_PROFILE_PACK];
    uint32_t        i, k, n, id, slot;
    uint64_t        then_s;
    prd_rc_t        rc;
    prd_tracked_t   c;
    prd_outlook_t  *o;
    const uint8_t  *p;

    o = view ? view->outlook.outlook : NULL;
    shift_s = 0;

    if (f->version > PRD_PROFILE_OLD) {
        rc = prd_profile_read(f, buf, 8);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;
        then_s = prd_unpack64(&p);
        shift_s = (int64_t) base_s
                  - (int64_t) prd_min(then_s, INT64_MAX / 2);
    }

    rc = prd_profile_read_pack(f, buf, sizeof(buf), &len);

    if (rc != PRD_OK) {
        return rc;
    }

    if (o && prd_group_unpack(&o->groups, buf, len) != PRD_OK) {
        memset(&o->groups, 0, sizeof(prd_groups_t));
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        rc = prd_profile_read32(f, &id);

        if (rc == PRD_OK && id == 0) {
            continue;
        }

        rc = rc == PRD_OK ? prd_profile_read_pack(f, buf, sizeof(buf), &len)
                          : rc;

        if (rc != PRD_OK) {
            return rc;
        }

        if (o && o->groups.group[i].id == id) {
            o->chain_id[i] = id;
            (void) prd_markov_unpack(&o->chain[i], buf, len);

            /* a log that counted from 0 is no older than its end */

            if (o->chain[i].faded_s) {
                o->chain[i].faded_s = (uint64_t) prd_max(
                    (int64_t) prd_min(o->chain[i].faded_s, INT64_MAX / 2)
                    + shift_s, 1);
            }
        }

        rc = prd_profile_read(f, buf, 96);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;

        for (k = 0; k < 24; k++) {
            typical = prd_unpack_float(&p);

            if (o && o->groups.group[i].id == id
                && typical >= 0 && typical <= PRD_PROFILE_TOKENS)
            {
                o->typical[i][k] = typical;
            }
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        rc = prd_profile_read_curve(f, o ? &o->zone[i] : NULL,
                                    prd_outlook_span_s[i]);
        if (rc != PRD_OK) {
            return rc;
        }
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        rc = prd_profile_read_curve(f, o && o->groups.group[i].id
                                       ? &o->group[i] : NULL,
                                    prd_outlook_span_s[1]);
        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (f->version > PRD_PROFILE_OLD) {
        rc = prd_profile_read_open(f, o);
        rc = rc == PRD_OK ? prd_profile_read_sizes(f, o) : rc;

        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (f->version > PRD_PROFILE_CLASSLESS) {
        rc = prd_profile_read_classes(f, view, now_s);

        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (o) {
        o->loads++;
        prd_outlook_resume(&view->outlook, now_s);
    }

    for ( ;; ) {
        rc = prd_profile_read32(f, &n);

        if (rc != PRD_OK) {
            return rc;
        }

        if (n == 0) {
            break;
        }

        if (n > PRD_PROFILE_TRACKED) {
            return PRD_ECORRUPT;
        }

        rc = prd_profile_read(f, buf, (size_t) n * PRD_OUTLOOK_PACKED);

        if (rc != PRD_OK) {
            return rc;
        }

        for (i = 0; o && i < n; i++) {

            if (prd_outlook_unpack(&c, buf + i * PRD_OUTLOOK_PACKED)
                != PRD_OK)
            {
                return PRD_ECORRUPT;
            }

            slot = prd_table_find(&view->table, c.tag);

            if (slot != PRD_NO_SLOT) {
                prd_outlook_shift(&c, shift_s);
                c.refused = atomic_load_explicit(
                                &view->table.entries[slot].refused,
                                memory_order_relaxed);
                (void) prd_outlook_give(&view->outlook, &c, slot,
                    (uint16_t) prd_env_generation(atomic_load_explicit(
                        &view->table.entries[slot].envelope,
                        memory_order_relaxed)));
            }
        }
    }

    return f->version > PRD_PROFILE_OLD
           ? prd_profile_read_tracks(f, view, policy, (int64_t) base_s,
                                     shift_s)
           : PRD_OK;
}


/* Of a zone that its thread may be writing: what is not sane begins anew. */

void
prd_profile_copy_outlook(const prd_view_t *from, prd_view_t *to,
    const prd_policy_t *policy, uint64_t now_s)
{
    size_t                len;
    uint8_t               buf[PRD_PROFILE_PACK];
    uint32_t              i, used, slot;
    prd_tracked_t         c, sane;
    prd_outlook_t        *o, *was;
    prd_outlook_track_t   t;

    o = to->outlook.outlook;
    was = from->outlook.outlook;

    len = sizeof(buf);

    if (prd_group_pack(&was->groups, buf, &len) == PRD_OK) {
        (void) prd_group_unpack(&o->groups, buf, len);
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        len = sizeof(buf);

        if (o->groups.group[i].id == 0
            || was->chain_id[i] != o->groups.group[i].id
            || prd_markov_pack(&was->chain[i], buf, &len) != PRD_OK
            || prd_markov_unpack(&o->chain[i], buf, len) != PRD_OK)
        {
            continue;
        }

        o->chain_id[i] = was->chain_id[i];
        memcpy(o->typical[i], was->typical[i], sizeof(o->typical[i]));
        memcpy(&o->group[i], &was->group[i], sizeof(prd_aggregate_t));

        if (prd_aggregate_check(&o->group[i], prd_outlook_span_s[1])
            != PRD_OK)
        {
            (void) prd_aggregate_init(&o->group[i], prd_outlook_span_s[1]);
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        memcpy(&o->zone[i], &was->zone[i], sizeof(prd_aggregate_t));

        if (prd_aggregate_check(&o->zone[i], prd_outlook_span_s[i])
            != PRD_OK)
        {
            (void) prd_aggregate_init(&o->zone[i], prd_outlook_span_s[i]);
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        o->bin[i] = was->bin[i];
        o->sum[i] = prd_profile_tokens(was->sum[i]);
    }

    o->group_bin = was->group_bin;

    for (i = 0; i < PRD_GROUPS; i++) {
        if (o->groups.group[i].id && o->chain_id[i] == was->chain_id[i]) {
            o->group_sum[i] = (float) prd_profile_tokens(was->group_sum[i]);
            o->group_n[i] = was->group_n[i];
            o->group_bytes[i] = was->group_bytes[i];
        }
    }

    /* the caller has copied which class is which */

    memcpy(&o->classes, &was->classes, sizeof(prd_classes_t));
    prd_class_settle(&o->classes, now_s, to->zone->classes);

    o->sizes = was->sizes;
    o->cost = was->cost;
    memcpy(o->bytes, was->bytes, sizeof(o->bytes));
    memcpy(o->bytes_covered, was->bytes_covered, sizeof(o->bytes_covered));
    memcpy(o->bytes_scored, was->bytes_scored, sizeof(o->bytes_scored));
    prd_profile_settle_sizes(o);

    for (i = 0; i < PRD_PROFILE_TRIES; i++) {
        memcpy(&o->tracks, &was->tracks, sizeof(prd_tracks_t));

        if (prd_tracks_check(&o->tracks, sizeof(prd_tracks_t)) == PRD_OK) {
            break;
        }
    }

    if (prd_profile_settle_tables(&o->tracks)) {
        o->tracks_since_s = was->tracks_since_s;
    }

    o->loads = was->loads + 1;
    prd_outlook_resume(&to->outlook, now_s);

    used = atomic_load_explicit(&was->used, memory_order_relaxed);
    used = prd_min(used, from->outlook.clients);

    for (i = 0; i < used; i++) {

        if (prd_outlook_copy(&from->outlook, i, &c) != PRD_OK) {
            continue;
        }

        slot = prd_table_find(&to->table, c.tag);

        if (slot == PRD_NO_SLOT) {
            continue;
        }

        prd_outlook_pack(&c, buf);

        if (prd_outlook_unpack(&sane, buf) == PRD_OK) {
            sane.refused = atomic_load_explicit(
                               &to->table.entries[slot].refused,
                               memory_order_relaxed);
            (void) prd_outlook_give(&to->outlook, &sane, slot,
                (uint16_t) prd_env_generation(atomic_load_explicit(
                    &to->table.entries[slot].envelope,
                    memory_order_relaxed)));

            if (prd_outlook_copy_bins(&from->outlook, &c, &t) == PRD_OK
                && prd_track_check(&t.track, sizeof(prd_track_t)) == PRD_OK)
            {
                prd_profile_give_track(to, c.tag, &t, policy);
            }
        }
    }
}
