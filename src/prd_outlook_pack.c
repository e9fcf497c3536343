
/*
 * Records and tracks that go to a file or to another zone, and come back.
 */


#include "prd_bytes.h"
#include "prd_outlook_inner.h"


void
prd_outlook_pack(const prd_tracked_t *c, uint8_t *p)
{
    prd_pack64(&p, c->tag);
    prd_pack32(&p, c->bin);
    prd_pack32(&p, c->group_id);
    *p++ = c->group;
    *p++ = c->outlier;
    *p++ = c->known;
    *p++ = 0;
    prd_habit_pack(&c->habit, p);
}


prd_rc_t
prd_outlook_unpack(prd_tracked_t *c, const uint8_t *p)
{
    prd_rc_t       rc;
    prd_tracked_t  n;

    memset(&n, 0, sizeof(prd_tracked_t));

    n.tag = prd_unpack64(&p);
    n.bin = prd_unpack32(&p);
    n.group_id = prd_unpack32(&p);
    n.group = *p++;
    n.outlier = *p++ != 0;
    n.known = *p++ != 0;
    p++;

    if (n.tag == 0) {
        return PRD_ECORRUPT;
    }

    if (n.group >= PRD_GROUPS || n.group_id == 0) {
        n.group = PRD_GROUP_NONE;
        n.group_id = 0;
    }

    rc = prd_habit_unpack(&n.habit, p);

    if (rc != PRD_OK) {
        return rc;
    }

    memcpy(c, &n, sizeof(prd_tracked_t));

    return PRD_OK;
}


prd_rc_t
prd_outlook_give(prd_outlook_view_t *v, const prd_tracked_t *c,
    uint32_t slot, uint16_t generation)
{
    uint32_t        n;
    prd_tracked_t  *mine, made;
    prd_outlook_t  *o;

    o = v->outlook;
    n = atomic_load_explicit(&o->used, memory_order_relaxed);

    if (n >= v->clients) {
        return PRD_EFULL;
    }

    memcpy(&made, c, sizeof(prd_tracked_t));
    made.slot = slot;
    made.generation = generation;
    made.track = 0;
    made.ahead = 0;

    mine = &v->client[n];
    prd_outlook_begin(mine);
    prd_outlook_write(mine, &made);
    prd_outlook_end(mine);

    atomic_store_explicit(&v->index[slot], n, memory_order_release);
    atomic_store_explicit(&o->used, n + 1, memory_order_relaxed);

    return PRD_OK;
}


prd_rc_t
prd_outlook_give_track(prd_outlook_view_t *v, const prd_outlook_track_t *t,
    uint32_t slot, uint16_t generation, uint32_t horizon_s)
{
    unsigned              k;
    prd_tracked_t        *c;
    prd_outlook_t        *o;
    prd_outlook_track_t  *mine, made;

    o = v->outlook;
    c = prd_outlook_find(v, slot, generation);

    if (c == NULL || c->track) {
        return PRD_DECLINED;
    }

    if (o->tracks_used >= v->tracks) {
        return PRD_EFULL;
    }

    mine = &v->track[o->tracks_used++];
    memcpy(&made, t, sizeof(prd_outlook_track_t));
    made.owner = (uint32_t) (c - v->client) + 1;

    for (k = 0; k < PRD_TRACK_CLASSES; k++) {
        if (!(made.sum[k] >= 0 && made.sum[k] <= PRD_TRACK_Y_MAX)) {
            made.bin[k] = 0;
            made.sum[k] = 0;
        }

        made.late_bin[k] = 0;
        made.late[k] = 0;
    }

    made.ahead = prd_outlook_expect(v, mine, &made.track, horizon_s);
    made.before = made.ahead;

    prd_outlook_begin(c);

    prd_words_write(mine, &made, sizeof(prd_outlook_track_t));
    prd_words_write(&v->cell[mine - v->track], &prd_outlook_unseen,
                    sizeof(prd_gru_client_t));
    prd_outlook_set(c->track, (uint32_t) (mine - v->track) + 1);
    prd_outlook_float(&c->ahead, made.ahead);

    prd_outlook_end(c);

    return PRD_OK;
}


static void
prd_outlook_shift_bin(uint32_t *bin, int64_t by)
{
    int64_t  to;

    if (*bin) {
        to = prd_max((int64_t) *bin + by, 1);
        *bin = (uint32_t) prd_min(to, UINT32_MAX);
    }
}


void
prd_outlook_shift(prd_tracked_t *c, int64_t shift_s)
{
    prd_outlook_shift_bin(&c->bin, shift_s / 10);
    prd_outlook_shift_bin(&c->habit.first, shift_s / 10);
    prd_outlook_shift_bin(&c->habit.last, shift_s / 10);
}


/* By whole bins, counted from that of base_s: ages stay what they were. */

void
prd_outlook_shift_track(prd_outlook_track_t *t, int64_t base_s,
    int64_t shift_s)
{
    int64_t   by, bin_s;
    unsigned  k;

    for (k = 0; shift_s && k < PRD_TRACK_CLASSES; k++) {
        bin_s = prd_outlook_span_s[k];
        by = base_s / bin_s - (base_s - shift_s) / bin_s;

        prd_outlook_shift_bin(&t->bin[k], by);
        prd_outlook_shift_bin(&t->track.bins[k].bin, by);
    }
}
