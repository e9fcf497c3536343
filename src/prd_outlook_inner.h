
/*
 * What the files of the outlook share, for these alone: prd_outlook.c (memory;
 * whose record is kept), prd_outlook_track.c (clients' tracks and their bins),
 * prd_outlook_zone.c (ends of bins: the zone and its groups),
 * prd_outlook_read.c (copies, for workers), prd_outlook_pack.c (records that
 * come and go).
 */


#ifndef PRD_OUTLOOK_INNER_H_INCLUDED
#define PRD_OUTLOOK_INNER_H_INCLUDED


#include <math.h>

#include "prd_outlook.h"


#define PRD_OUTLOOK_PROBES    16       /* records looked at for a victim */
#define PRD_OUTLOOK_IDLE_LONG 8640     /* a day, of a known client */


/* A field of a record that is being read at the same time. */

#define prd_outlook_get(field)                                                \
    __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define prd_outlook_set(field, value)                                         \
    __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

#define PRD_OUTLOOK_WORDS                                                     \
    (sizeof(prd_tracked_t) - offsetof(prd_tracked_t, tag))

_Static_assert(PRD_OUTLOOK_WORDS % 8 == 0 && sizeof(prd_miss_t) % 8 == 0
               && sizeof(prd_outlook_track_t) % 8 == 0
               && offsetof(prd_outlook_track_t, track) % 8 == 0
               && sizeof(prd_track_t) % 8 == 0
               && sizeof(prd_gru_client_t) % 8 == 0, "copied by words");
_Static_assert(offsetof(prd_tracked_t, tag) == 2 * sizeof(uint32_t),
               "seq and slot come first");


/* The network's of a client that it does not know. */
extern const prd_gru_client_t  prd_outlook_unseen;


/* prd_outlook.c */

/* A bin of which nothing was looked at yet. */
void prd_outlook_open(prd_outlook_work_t *w, uint32_t bin);


/* prd_outlook_track.c */

/*
 * A track for a record that has none, `made` being what the record is to be;
 * whoever loses one asked for less.  NULL: none can be had.
 */
prd_outlook_track_t *prd_outlook_earn(prd_outlook_view_t *v,
    prd_outlook_work_t *w, const prd_tracked_t *c, prd_tracked_t *made);

/* The owner of a track has asked for so many: who asks for less, if anybody? */
void prd_outlook_count_owner(prd_outlook_work_t *w, float count);

/* What a client did in a 10 s bin, within begin() and end() of its record. */
void prd_outlook_track(prd_outlook_view_t *v, prd_tracked_t *made,
    prd_outlook_track_t *t, const prd_outlook_bin_t *bin);

/* prd_tracked_t.ahead by a copy of the track, or 0. */
float prd_outlook_expect(prd_outlook_view_t *v, const prd_outlook_track_t *t,
    const prd_track_t *track, uint32_t horizon_s);

/* What a network says of a client after a bin, if it knows that one. */
unsigned prd_outlook_ask(const prd_gru_t *network,
    const prd_gru_client_t *cell, uint32_t bin, prd_track_extra_t *extra);


/* The record of a slot's present client, or NULL.  For the thread. */

static inline prd_tracked_t *
prd_outlook_find(const prd_outlook_view_t *v, uint32_t slot,
    uint16_t generation)
{
    uint32_t        i;
    prd_tracked_t  *c;

    i = atomic_load_explicit(&v->index[slot], memory_order_relaxed);

    if (i >= v->clients) {
        return NULL;
    }

    c = &v->client[i];

    return prd_outlook_get(c->tag) && prd_outlook_get(c->slot) == slot
           && prd_outlook_get(c->generation) == generation ? c : NULL;
}


static inline void
prd_outlook_begin(prd_tracked_t *c)
{
    atomic_store_explicit(&c->seq, c->seq | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}


static inline void
prd_outlook_end(prd_tracked_t *c)
{
    atomic_store_explicit(&c->seq, c->seq + 1, memory_order_release);
}


/* In between: the record as it is to be. */

static inline void
prd_outlook_write(prd_tracked_t *c, const prd_tracked_t *made)
{
    prd_outlook_set(c->slot, made->slot);
    prd_words_write((char *) c + offsetof(prd_tracked_t, tag), &made->tag,
                    PRD_OUTLOOK_WORDS);
}


static inline void
prd_outlook_float(float *field, float value)
{
    __atomic_store(field, &value, __ATOMIC_RELAXED);
}


/* Bins since a record's client was here; a clock that stepped back: none. */

static inline uint32_t
prd_outlook_idle(const prd_tracked_t *c, uint32_t now)
{
    return now > c->bin ? now - c->bin : 0;
}


/*
 * A record's track and a track's record, or NULL: what belongs together names
 * each other.  What only one of them says was left by a thread that was killed
 * between the two stores.
 */

static inline prd_outlook_track_t *
prd_outlook_owned(const prd_outlook_view_t *v, const prd_tracked_t *c)
{
    prd_outlook_track_t  *t;

    if (c->track == 0 || c->track > v->tracks) {
        return NULL;
    }

    t = &v->track[c->track - 1];

    return t->owner == (uint32_t) (c - v->client) + 1 ? t : NULL;
}


static inline prd_tracked_t *
prd_outlook_owner(const prd_outlook_view_t *v, const prd_outlook_track_t *t)
{
    prd_tracked_t  *c;

    if (t->owner == 0 || t->owner > v->clients) {
        return NULL;
    }

    c = &v->client[t->owner - 1];

    return c->tag && prd_outlook_owned(v, c) == t ? c : NULL;
}


static inline void
prd_outlook_disown(const prd_outlook_view_t *v, const prd_tracked_t *c)
{
    prd_outlook_track_t  *t;

    t = prd_outlook_owned(v, c);

    if (t) {
        prd_outlook_set(t->owner, 0);
    }
}


/* In a loop over records or tracks, n of them to go. */

static inline int
prd_outlook_fenced(const prd_outlook_work_t *w, uint32_t n)
{
    return n % 16 == 0 && w->fenced && w->fenced(w->fenced_data);
}


#endif /* PRD_OUTLOOK_INNER_H_INCLUDED */
