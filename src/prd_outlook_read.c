
/*
 * The outlook as workers read it while the thread writes: copies that hold
 * together, told by the sequence number around them.
 */


#include "prd_outlook_inner.h"


#define PRD_OUTLOOK_TRIES     8        /* of a reader */


prd_rc_t
prd_outlook_copy(const prd_outlook_view_t *v, uint32_t i,
    prd_tracked_t *copy)
{
    uint32_t        seq, tries;
    prd_tracked_t  *c;

    if (i >= v->clients) {
        return PRD_DECLINED;
    }

    c = &v->client[i];

    for (tries = 0; tries < PRD_OUTLOOK_TRIES; tries++) {
        seq = atomic_load_explicit(&c->seq, memory_order_acquire);

        if (seq & 1) {
            continue;
        }

        copy->slot = prd_outlook_get(c->slot);
        prd_words_read((char *) copy + offsetof(prd_tracked_t, tag), &c->tag,
                       PRD_OUTLOOK_WORDS);
        atomic_thread_fence(memory_order_acquire);

        if (atomic_load_explicit(&c->seq, memory_order_relaxed) == seq) {
            return copy->tag ? PRD_OK : PRD_DECLINED;
        }
    }

    return PRD_EAGAIN;
}


prd_rc_t
prd_outlook_client(const prd_outlook_view_t *v, uint32_t slot,
    uint16_t generation, prd_tracked_t *copy)
{
    uint32_t  i;
    prd_rc_t  rc;

    i = atomic_load_explicit(&v->index[slot], memory_order_acquire);
    rc = prd_outlook_copy(v, i, copy);

    if (rc != PRD_OK) {
        return rc;
    }

    return copy->slot == slot && copy->generation == generation
           ? PRD_OK : PRD_DECLINED;
}


unsigned
prd_outlook_group(const prd_outlook_view_t *v, uint32_t slot,
    uint16_t generation)
{
    unsigned        group;
    prd_tracked_t  *c;

    c = prd_outlook_find(v, slot, generation);

    if (c == NULL) {
        return PRD_GROUP_NONE;
    }

    group = prd_outlook_get(c->group);

    return group < PRD_GROUPS
           && prd_outlook_get(v->outlook->groups.group[group].id)
              == prd_outlook_get(c->group_id) ? group : PRD_GROUP_NONE;
}


/* A copy that holds together, whoever writes meanwhile. */

static prd_rc_t
prd_outlook_copy_as_is(const prd_outlook_view_t *v, const prd_tracked_t *c,
    prd_outlook_track_t *copy)
{
    uint32_t              tries, seq, owner;
    prd_tracked_t        *mine;
    prd_outlook_track_t  *t;

    if (c->track == 0 || c->track > v->tracks) {
        return PRD_DECLINED;
    }

    t = &v->track[c->track - 1];

    for (tries = 0; tries < PRD_OUTLOOK_TRIES; tries++) {

        owner = prd_outlook_get(t->owner);

        if (owner == 0 || owner > v->clients) {
            return PRD_DECLINED;
        }

        mine = &v->client[owner - 1];
        seq = atomic_load_explicit(&mine->seq, memory_order_acquire);

        if (seq & 1) {
            continue;
        }

        /* a track is given away after its owner has said so */

        if (prd_outlook_get(mine->tag) != c->tag
            || prd_outlook_get(mine->track) != c->track)
        {
            return PRD_DECLINED;
        }

        prd_words_read(copy, t, sizeof(prd_outlook_track_t));
        atomic_thread_fence(memory_order_acquire);

        if (atomic_load_explicit(&mine->seq, memory_order_relaxed) == seq) {
            return PRD_OK;
        }
    }

    return PRD_DECLINED;
}


prd_rc_t
prd_outlook_copy_bins(const prd_outlook_view_t *v, const prd_tracked_t *c,
    prd_outlook_track_t *copy)
{
    unsigned  k;

    if (prd_outlook_copy_as_is(v, c, copy) != PRD_OK) {
        return PRD_DECLINED;
    }

    /* without a vote nothing but the copy is written */

    for (k = 0; k < PRD_TRACK_CLASSES; k++) {
        if (copy->late_bin[k]) {
            (void) prd_track_close(&copy->track, &v->outlook->tracks, k,
                                   copy->bin[k], copy->sum[k], 0, NULL, 0);
            copy->bin[k] = copy->late_bin[k];
            copy->sum[k] = copy->late[k];
            copy->late_bin[k] = 0;
            copy->late[k] = 0;
        }
    }

    return PRD_OK;
}


prd_rc_t
prd_outlook_copy_track(const prd_outlook_view_t *v, const prd_tracked_t *c,
    prd_track_t *track)
{
    prd_rc_t             rc;
    prd_outlook_track_t  t;

    rc = prd_outlook_copy_as_is(v, c, &t);

    if (rc == PRD_OK) {
        memcpy(track, &t.track, sizeof(prd_track_t));
    }

    return rc;
}


prd_rc_t
prd_outlook_copy_now(const prd_outlook_view_t *v, const prd_tracked_t *c,
    uint64_t now_s, prd_track_t *track)
{
    uint32_t              bin;
    unsigned              k;
    prd_rc_t              rc;
    prd_track_bins_t     *b;
    prd_outlook_track_t   t;

    rc = prd_outlook_copy_as_is(v, c, &t);

    if (rc != PRD_OK) {
        return rc;
    }

    memcpy(track, &t.track, sizeof(prd_track_t));

    for (k = 0; k < PRD_TRACK_CLASSES; k++) {
        bin = (uint32_t) (now_s / prd_outlook_span_s[k]);
        b = &track->bins[k];

        if (t.bin[k] || b->age == 0 || b->bin + 1 >= bin) {
            continue;
        }

        if (bin - b->bin - 1 > PRD_TRACK_GAP) {
            b->age = 0;
            continue;
        }

        (void) prd_track_close(track, &v->outlook->tracks, k, bin - 1, 0, 0,
                               NULL, 0);
    }

    return PRD_OK;
}


unsigned
prd_outlook_extra(const prd_outlook_view_t *v, const prd_tracked_t *c,
    uint32_t bin, prd_track_extra_t *extra)
{
    prd_gru_t         network;
    prd_outlook_t    *o;
    prd_gru_client_t  cell;

    o = v->outlook;

    if (!c->track || c->track > v->tracks
        || !__atomic_load_n(&o->networked, __ATOMIC_ACQUIRE))
    {
        return 0;
    }

    /*
     * Of its 91 kB only the weights.  They, and the client's state, change
     * meanwhile: any bytes of them give numbers.
     */

    prd_gru_copy(&network, &o->network);
    prd_words_read(&cell, &v->cell[c->track - 1], sizeof(prd_gru_client_t));

    return prd_outlook_ask(&network, &cell, bin, extra);
}


prd_rc_t
prd_outlook_network(const prd_outlook_view_t *v, prd_gru_told_t *told)
{
    if (!__atomic_load_n(&v->outlook->networked, __ATOMIC_ACQUIRE)) {
        return PRD_DECLINED;
    }

    prd_gru_tell(told, &v->outlook->network);

    return PRD_OK;
}


uint32_t
prd_outlook_misses(const prd_outlook_view_t *v, prd_miss_t *miss,
    uint32_t most)
{
    uint32_t        i, k, n, next, seq;
    prd_outlook_t  *o;

    o = v->outlook;
    next = atomic_load_explicit(&o->miss_next, memory_order_acquire);
    n = 0;

    for (i = 1; i <= PRD_OUTLOOK_MISSES && n < most; i++) {
        k = (next - i) % PRD_OUTLOOK_MISSES;
        seq = atomic_load_explicit(&o->miss_seq[k], memory_order_acquire);

        if (seq == 0 || (seq & 1)) {
            continue;
        }

        prd_words_read(&miss[n], &o->miss[k], sizeof(prd_miss_t));
        atomic_thread_fence(memory_order_acquire);

        n += atomic_load_explicit(&o->miss_seq[k], memory_order_relaxed)
             == seq;
    }

    return n;
}
