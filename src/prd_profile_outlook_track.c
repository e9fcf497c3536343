
/*
 * The pooled tables of all tracks, and the tracks of those who have one.
 */


#include "prd_profile_outlook_inner.h"


#define PRD_PROFILE_TRACK    (8 + 8 * PRD_TRACK_CLASSES)


_Static_assert(sizeof(prd_track_t) % 4 == 0 && sizeof(prd_tracks_t) % 4 == 0,
               "they are written by words of 4 bytes");


prd_rc_t
prd_profile_write_tracks(prd_profile_t *f, const prd_view_t *view)
{
    uint8_t              buf[PRD_PROFILE_TRACK], *p;
    uint32_t             i, k, used;
    prd_rc_t             rc;
    prd_tracked_t        c;
    prd_outlook_t       *o;
    prd_outlook_track_t  t;

    o = view->outlook.outlook;

    rc = prd_profile_write_words(f, &o->tracks, sizeof(prd_tracks_t));

    used = atomic_load_explicit(&o->used, memory_order_relaxed);

    for (i = 0; i < used && rc == PRD_OK; i++) {

        if (i % PRD_PROFILE_ALIVE == 0) {
            rc = f->write(f->data, "", 0);
        }

        if (view->outlook.client[i].track == 0
            || prd_outlook_copy(&view->outlook, i, &c) != PRD_OK
            || prd_outlook_copy_bins(&view->outlook, &c, &t) != PRD_OK
            || prd_track_check(&t.track, sizeof(prd_track_t)) != PRD_OK)
        {
            continue;
        }

        p = buf;
        prd_pack64(&p, c.tag);

        for (k = 0; k < PRD_TRACK_CLASSES; k++) {
            prd_pack32(&p, t.bin[k]);
            prd_pack_float(&p, t.sum[k]);
        }

        rc = rc == PRD_OK ? prd_profile_write(f, buf, sizeof(buf)) : rc;
        rc = rc == PRD_OK ? prd_profile_write_words(f, &t.track,
                                                    sizeof(prd_track_t))
                          : rc;
    }

    memset(buf, 0, 8);

    return rc == PRD_OK ? prd_profile_write(f, buf, 8) : rc;
}


void
prd_profile_give_track(prd_view_t *view, uint64_t tag,
    const prd_outlook_track_t *t, const prd_policy_t *policy)
{
    uint32_t  slot;

    slot = prd_table_find(&view->table, tag);

    if (slot != PRD_NO_SLOT) {
        (void) prd_outlook_give_track(&view->outlook, t, slot,
            (uint16_t) prd_env_generation(atomic_load_explicit(
                &view->table.entries[slot].envelope, memory_order_relaxed)),
            (uint32_t) prd_profile_horizon(policy));
    }
}


int
prd_profile_settle_tables(prd_tracks_t *tracks)
{
    int  sound;

    sound = 1;

    if (prd_tracks_check(tracks, sizeof(prd_tracks_t)) != PRD_OK
        || memcmp(tracks->bin_s, prd_outlook_span_s, sizeof(tracks->bin_s))
           != 0)
    {
        (void) prd_tracks_init(tracks, prd_outlook_span_s);
        sound = 0;
    }

    /* of the zone and the local time then: until the first bin is closed */

    tracks->whole = tracks->whole != 0;

    if (tracks->offset_s > 86400 || tracks->offset_s < -86400) {
        tracks->offset_s = 0;
    }

    return sound;
}


prd_rc_t
prd_profile_read_tracks(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, int64_t base_s, int64_t shift_s)
{
    uint8_t              buf[PRD_PROFILE_TRACK];
    uint32_t             k;
    uint64_t             tag;
    prd_rc_t             rc;
    prd_tracks_t        *tracks;
    const uint8_t       *p;
    prd_outlook_track_t  t;

    tracks = view ? &view->outlook.outlook->tracks : NULL;

    rc = prd_profile_read_words(f, tracks, tracks ? sizeof(prd_tracks_t) : 0);

    /* tables with all their votes are as old as the zone that cast them */

    if (tracks && prd_profile_settle_tables(tracks) && rc == PRD_OK) {
        view->outlook.outlook->tracks_since_s = view->zone->learn_since_s;
    }

    if (rc != PRD_OK && rc != PRD_DECLINED) {
        return rc;
    }

    for ( ;; ) {
        rc = prd_profile_read(f, buf, 8);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;
        tag = prd_unpack64(&p);

        if (tag == 0) {
            return PRD_OK;
        }

        rc = prd_profile_read(f, buf, sizeof(buf) - 8);

        if (rc != PRD_OK) {
            return rc;
        }

        memset(&t, 0, sizeof(prd_outlook_track_t));
        p = buf;

        for (k = 0; k < PRD_TRACK_CLASSES; k++) {
            t.bin[k] = prd_unpack32(&p);
            t.sum[k] = prd_unpack_float(&p);
        }

        rc = prd_profile_read_words(f, &t.track, sizeof(prd_track_t));

        if (rc != PRD_OK && rc != PRD_DECLINED) {
            return rc;
        }

        if (view && rc == PRD_OK
            && prd_track_check(&t.track, sizeof(prd_track_t)) == PRD_OK)
        {
            prd_outlook_shift_track(&t, base_s, shift_s);
            prd_profile_give_track(view, tag, &t, policy);
        }
    }
}
