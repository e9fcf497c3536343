
/*
 * The forecasts of a zone: whose record is kept, when a bin of a minute, of
 * five and of an hour is over, and how far a pass over the clients has come.
 */


#include <math.h>

#include "prd_bytes.h"
#include "prd_outlook.h"


#define PRD_OUTLOOK_PROBES    16       /* records looked at for a victim */
#define PRD_OUTLOOK_IDLE      60       /* bins: ten minutes, of a newcomer */
#define PRD_OUTLOOK_IDLE_LONG 8640     /* a day, of a known client */
#define PRD_OUTLOOK_KNOWN     2        /* active hours */
#define PRD_OUTLOOK_TRIES     8        /* of a reader */
#define PRD_OUTLOOK_FETCH     4        /* tracks ahead */
#define PRD_OUTLOOK_HOURS     2        /* the class of bins of an hour */
#define PRD_OUTLOOK_HOUR_S    3600
#define PRD_OUTLOOK_HOUR_GAIN 0.02f    /* of a group's typical day */
#define PRD_OUTLOOK_SCORED    1000     /* bins: the memory of coverage */

#define PRD_OUTLOOK_SEED      1        /* of the network */

#define prd_outlook_align(n)  (((n) + 63) & ~(size_t) 63)


const uint32_t  prd_outlook_span_s[PRD_OUTLOOK_SPANS] = { 60, 300, 3600 };

static const uint32_t  prd_outlook_late[PRD_TRACK_CLASSES] = PRD_OUTLOOK_LATE;


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


static uint32_t
prd_outlook_records(uint32_t slots)
{
    return prd_max(slots / PRD_OUTLOOK_SHARE, PRD_OUTLOOK_LEAST);
}


static uint32_t
prd_outlook_tracks(uint32_t slots)
{
    return prd_max(slots / PRD_OUTLOOK_TRACKS, PRD_OUTLOOK_LEAST / 2);
}


/* The network's of a client that it does not know. */
static const prd_gru_client_t  prd_outlook_unseen;


static size_t
prd_outlook_fixed(void)
{
    return prd_outlook_align(sizeof(prd_outlook_t)
                             + PRD_OUTLOOK_RINGS * sizeof(prd_markov_ring_t));
}


size_t
prd_outlook_size(uint32_t slots)
{
    return prd_outlook_fixed()
           + prd_outlook_align(slots * sizeof(uint32_t))
           + prd_outlook_align(prd_outlook_records(slots)
                               * sizeof(prd_tracked_t))
           + prd_outlook_align(prd_outlook_tracks(slots)
                               * sizeof(prd_outlook_track_t))
           + prd_outlook_align(prd_outlook_tracks(slots)
                               * sizeof(prd_gru_client_t));
}


void
prd_outlook_attach(prd_outlook_view_t *v, void *mem, prd_word_t *tags,
    uint32_t slots)
{
    char  *p = mem;

    v->tags = tags;

    v->outlook = mem;
    p += prd_outlook_fixed();
    v->index = (_Atomic uint32_t *) p;
    p += prd_outlook_align(slots * sizeof(uint32_t));
    v->client = (prd_tracked_t *) p;
    v->clients = prd_outlook_records(slots);
    p += prd_outlook_align(v->clients * sizeof(prd_tracked_t));
    v->track = (prd_outlook_track_t *) p;
    v->tracks = prd_outlook_tracks(slots);
    p += prd_outlook_align(v->tracks * sizeof(prd_outlook_track_t));
    v->cell = (prd_gru_client_t *) p;
}


void
prd_outlook_init(void *mem, uint32_t slots)
{
    unsigned            i;
    prd_outlook_t      *o;
    prd_outlook_view_t  v;

    prd_outlook_attach(&v, mem, NULL, slots);
    o = v.outlook;

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        (void) prd_aggregate_init(&o->zone[i], prd_outlook_span_s[i]);
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        (void) prd_aggregate_init(&o->group[i], prd_outlook_span_s[1]);
    }

    prd_class_init(&o->classes);
    (void) prd_tracks_init(&o->tracks, prd_outlook_span_s);

    /* an index of 0 says record 0, which does not name the slot: none */
}


/* The record of a slot's present client, or NULL.  For the thread. */

static prd_tracked_t *
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


static void
prd_outlook_begin(prd_tracked_t *c)
{
    atomic_store_explicit(&c->seq, c->seq | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}


static void
prd_outlook_end(prd_tracked_t *c)
{
    atomic_store_explicit(&c->seq, c->seq + 1, memory_order_release);
}


/* In between: the record as it is to be. */

static void
prd_outlook_write(prd_tracked_t *c, const prd_tracked_t *made)
{
    prd_outlook_set(c->slot, made->slot);
    prd_words_write((char *) c + offsetof(prd_tracked_t, tag), &made->tag,
                    PRD_OUTLOOK_WORDS);
}


static void
prd_outlook_float(float *field, float value)
{
    __atomic_store(field, &value, __ATOMIC_RELAXED);
}


/* Bins since a record's client was here; a clock that stepped back: none. */

static uint32_t
prd_outlook_idle(const prd_tracked_t *c, uint32_t now)
{
    return now > c->bin ? now - c->bin : 0;
}


/*
 * A record's track and a track's record, or NULL: what belongs together names
 * each other.  What only one of them says was left by a thread that was killed
 * between the two stores.
 */

static prd_outlook_track_t *
prd_outlook_owned(const prd_outlook_view_t *v, const prd_tracked_t *c)
{
    prd_outlook_track_t  *t;

    if (c->track == 0 || c->track > v->tracks) {
        return NULL;
    }

    t = &v->track[c->track - 1];

    return t->owner == (uint32_t) (c - v->client) + 1 ? t : NULL;
}


static prd_tracked_t *
prd_outlook_owner(const prd_outlook_view_t *v, const prd_outlook_track_t *t)
{
    prd_tracked_t  *c;

    if (t->owner == 0 || t->owner > v->clients) {
        return NULL;
    }

    c = &v->client[t->owner - 1];

    return c->tag && prd_outlook_owned(v, c) == t ? c : NULL;
}


static void
prd_outlook_disown(const prd_outlook_view_t *v, const prd_tracked_t *c)
{
    prd_outlook_track_t  *t;

    t = prd_outlook_owned(v, c);

    if (t) {
        prd_outlook_set(t->owner, 0);
    }
}


static void
prd_outlook_open(prd_outlook_work_t *w, uint32_t bin)
{
    w->barren_bin = bin;
    w->records_barren = 0;
    w->tracks_barren = 0;
    w->tracks_turn = 0;
    w->poorest = 0;
    w->poorest_turn = INFINITY;
}


/*
 * Who knows whether a record's client is still in its slot is the caller, who
 * sees the table; here it is told by idle times alone.
 *
 * Within a bin no record becomes idle, and only a client that takes one could
 * free another's track: once all of them were looked at in vain, the hand goes
 * on as if it looked.  (In a crowd of a million, most clients have no record,
 * and their looking was a third of what closing a bin cost.)
 */

static prd_tracked_t *
prd_outlook_take(prd_outlook_view_t *v, prd_outlook_work_t *w,
    const prd_outlook_bin_t *bin)
{
    uint32_t        i, n, now, idle, least;
    prd_tracked_t  *c, *victim, made;
    prd_outlook_t  *o;

    o = v->outlook;
    n = atomic_load_explicit(&o->used, memory_order_relaxed);
    now = (uint32_t) (bin->start_s / 10);

    if (n < v->clients) {
        victim = &v->client[n];
        atomic_store_explicit(&o->used, n + 1, memory_order_relaxed);

    } else if (w->records_barren >= v->clients) {
        o->hand += PRD_OUTLOOK_PROBES;
        o->hand = o->hand < v->clients ? o->hand : o->hand % v->clients;
        return NULL;

    } else {
        victim = NULL;
        least = 0;

        for (i = 0; i < PRD_OUTLOOK_PROBES; i++) {
            o->hand = o->hand + 1 < v->clients ? o->hand + 1 : 0;
            c = &v->client[o->hand];

            if (c->tag == 0) {
                victim = c;
                break;
            }

            idle = prd_outlook_idle(c, now);

            if (idle >= (c->known ? PRD_OUTLOOK_IDLE_LONG : PRD_OUTLOOK_IDLE)
                && idle > least)
            {
                victim = c;
                least = idle;
            }
        }

        if (victim == NULL) {
            w->records_barren += PRD_OUTLOOK_PROBES;
            return NULL;
        }

        w->records_barren = 0;
        w->tracks_barren = 0;
    }

    i = (uint32_t) (victim - v->client);

    memset(&made, 0, sizeof(prd_tracked_t));
    made.slot = bin->slot;
    made.tag = bin->tag;
    made.generation = bin->generation;
    made.group = PRD_GROUP_NONE;
    made.refused = bin->refused;

    prd_outlook_begin(victim);
    prd_outlook_disown(v, victim);
    prd_outlook_write(victim, &made);
    prd_outlook_end(victim);

    atomic_store_explicit(&v->index[bin->slot], i, memory_order_release);

    return victim;
}


/* The class of bins that a horizon is forecast by. */

static unsigned
prd_outlook_class(uint32_t horizon_s)
{
    unsigned  i;

    for (i = 0; i < PRD_TRACK_CLASSES - 1; i++) {
        if (horizon_s <= prd_outlook_span_s[i]) {
            break;
        }
    }

    return i;
}


/* The owner of a track has asked for so many: who asks for less, if anybody? */

static void
prd_outlook_count_owner(prd_outlook_work_t *w, float count)
{
    w->poorest = fminf(w->poorest, count);
    w->poorest_turn = fminf(w->poorest_turn, count);
}


/*
 * A track for a record that has none, `made` being what the record is to be;
 * whoever loses one asked for less.
 *
 * As with records: once all were looked at in a bin, only that of an owner who
 * asks for little enough can be had, and the least of them is known.
 */

static prd_outlook_track_t *
prd_outlook_earn(prd_outlook_view_t *v, prd_outlook_work_t *w,
    const prd_tracked_t *c, prd_tracked_t *made)
{
    uint32_t              i, mine;
    prd_outlook_t        *o;
    prd_tracked_t        *other;
    prd_outlook_track_t  *t, fresh;

    o = v->outlook;
    mine = (uint32_t) (c - v->client) + 1;
    t = NULL;

    if (o->tracks_used < v->tracks) {
        t = &v->track[o->tracks_used++];

    } else if (w->tracks_barren >= v->tracks
               && !(made->known
                    && made->habit.count > 4 * (w->poorest + 1)))
    {
        o->tracks_hand = (o->tracks_hand + PRD_OUTLOOK_PROBES) % v->tracks;
        return NULL;

    } else {
        for (i = 0; i < PRD_OUTLOOK_PROBES && t == NULL; i++) {
            o->tracks_hand = o->tracks_hand + 1 < v->tracks
                             ? o->tracks_hand + 1 : 0;
            t = &v->track[o->tracks_hand];

            if (++w->tracks_turn > v->tracks) {
                w->tracks_turn = 1;
                w->poorest = w->poorest_turn;
                w->poorest_turn = INFINITY;
            }

            other = prd_outlook_owner(v, t);

            if (other == NULL) {
                break;
            }

            if (prd_outlook_idle(other, made->bin) > PRD_OUTLOOK_IDLE_LONG
                || (made->known
                    && made->habit.count > 4 * (other->habit.count + 1)))
            {
                prd_outlook_begin(other);
                prd_outlook_set(other->track, 0);
                prd_outlook_float(&other->ahead, 0);
                prd_outlook_end(other);
                break;
            }

            w->tracks_barren += w->tracks_barren < v->tracks;
            prd_outlook_count_owner(w, other->habit.count);
            t = NULL;
        }

        if (t == NULL) {
            return NULL;
        }
    }

    memset(&fresh, 0, sizeof(prd_outlook_track_t));
    prd_track_init(&fresh.track);
    fresh.owner = mine;
    prd_words_write(t, &fresh, sizeof(prd_outlook_track_t));
    prd_words_write(&v->cell[t - v->track], &prd_outlook_unseen,
                    sizeof(prd_gru_client_t));
    made->track = (uint32_t) (t - v->track) + 1;

    return t;
}


/* What a network says of a client after a bin, if it knows that one. */

static unsigned
prd_outlook_ask(const prd_gru_t *network, const prd_gru_client_t *cell,
    uint32_t bin, prd_track_extra_t *extra)
{
    return cell->version && cell->bin == bin
           && prd_gru_forecast(network, cell,
                               prd_outlook_span_s[PRD_OUTLOOK_NETWORK],
                               extra->q)
              == PRD_OK;
}


/* The same for who trains it, if it is on. */

static unsigned
prd_outlook_expert(const prd_outlook_view_t *v, const prd_outlook_track_t *t,
    unsigned k, uint32_t bin, prd_track_extra_t *extra)
{
    return k == PRD_OUTLOOK_NETWORK && v->outlook->networked
           ? prd_outlook_ask(&v->outlook->network, &v->cell[t - v->track], bin,
                             extra)
           : 0;
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


/* A bin is over, for a copy of the track and for the network. */

static void
prd_outlook_over(prd_outlook_view_t *v, const prd_outlook_track_t *t,
    prd_track_t *track, unsigned k, uint32_t bin, float y, int vote)
{
    unsigned            extras;
    prd_outlook_t      *o;
    prd_gru_client_t    cell;
    prd_track_extra_t   extra;

    o = v->outlook;
    extras = prd_outlook_expert(v, t, k, bin - 1, &extra);

    (void) prd_track_close(track, &o->tracks, k, bin, y, vote,
                           extras ? &extra : NULL, extras);

    if (o->networked && k == PRD_OUTLOOK_NETWORK) {
        cell = v->cell[t - v->track];
        (void) prd_gru_add(&o->network, &cell, prd_outlook_span_s[k], bin,
                           (double) y, (double) vote);
        prd_words_write(&v->cell[t - v->track], &cell,
                        sizeof(prd_gru_client_t));
    }
}


/*
 * Ends an open bin, in a copy of the track; one in which more came than
 * forecast is noted.
 */

static void
prd_outlook_end_bin(prd_outlook_view_t *v, const prd_tracked_t *c,
    prd_outlook_track_t *t, prd_track_t *track, unsigned k, int vote)
{
    float           q[PRD_QUANTILES];
    prd_miss_t      miss;
    prd_outlook_t  *o;

    o = v->outlook;

    if (k == 1 && track->bins[k].bin + 1 == t->bin[k]
        && prd_track_forecast(track, &o->tracks, k, 0, NULL, 0, q)
           == PRD_OK
        && t->sum[k] > q[3])
    {
        memset(&miss, 0, sizeof(prd_miss_t));
        miss.tag = c->tag;
        miss.span_s = prd_outlook_span_s[k];
        miss.end_s = (uint64_t) (t->bin[k] + 1) * miss.span_s;
        miss.actual = t->sum[k];
        miss.middle = q[0];
        miss.upper = q[3];
        miss.quantile = 0.99f;

        prd_outlook_miss(v, &miss);
    }

    prd_outlook_over(v, t, track, k, t->bin[k], t->sum[k], vote);
    prd_outlook_set(t->bin[k], t->late_bin[k]);
    prd_outlook_float(&t->sum[k], t->late[k]);
    prd_outlook_set(t->late_bin[k], 0);
    prd_outlook_float(&t->late[k], 0);
}


static float
prd_outlook_expect(prd_outlook_view_t *v, const prd_outlook_track_t *t,
    const prd_track_t *track, uint32_t horizon_s)
{
    float              q[PRD_QUANTILES];
    unsigned           k, extras;
    prd_track_extra_t  extra;

    k = prd_outlook_class(horizon_s);
    extras = prd_outlook_expert(v, t, k, track->bins[k].bin, &extra);

    return prd_track_forecast(track, &v->outlook->tracks, k, 0,
                              extras ? &extra : NULL, extras, q)
           == PRD_OK ? q[2] / prd_outlook_span_s[k] : 0;
}


/* Is the time over in which bin `last` is closed in portions? */

static int
prd_outlook_due(unsigned k, uint32_t last, uint64_t start_s)
{
    return start_s >= ((uint64_t) last + 1) * prd_outlook_span_s[k]
                      + 10 * prd_outlook_late[k];
}


static void
prd_outlook_track(prd_outlook_view_t *v, prd_tracked_t *made,
    prd_outlook_track_t *t, const prd_outlook_bin_t *bin)
{
    int          ended;
    uint32_t     b;
    unsigned     k, class_;
    prd_track_t  track;

    ended = 0;
    class_ = prd_outlook_class(bin->horizon_s);

    for (k = 0; k < PRD_TRACK_CLASSES; k++) {
        b = (uint32_t) (bin->start_s / prd_outlook_span_s[k]);

        /* not closed in time: rounds were left out, or the clock stepped */

        while (t->bin[k] && t->bin[k] != b
               && (t->bin[k] > b || prd_outlook_due(k, t->bin[k],
                                                    bin->start_s)))
        {
            if (!ended) {
                memcpy(&track, &t->track, sizeof(prd_track_t));
                ended = 1;
            }

            prd_outlook_end_bin(v, made, t, &track, k, bin->vote);

            /* other bins do not move what is forecast for this horizon */

            if (k == class_) {
                prd_outlook_float(&t->ahead,
                    prd_outlook_expect(v, t, &track, bin->horizon_s));
            }
        }

        if (t->bin[k] && t->bin[k] != b) {
            prd_outlook_set(t->late_bin[k], b);
            prd_outlook_float(&t->late[k], t->late[k] + bin->tokens);

        } else {
            prd_outlook_set(t->bin[k], b);
            prd_outlook_float(&t->sum[k], t->sum[k] + bin->tokens);
        }
    }

    if (ended) {
        prd_words_write(&t->track, &track, sizeof(prd_track_t));
    }

    if (prd_outlook_due(class_, t->track.bins[class_].bin, bin->start_s)) {
        made->ahead = t->ahead;
    }
}


/* A track's beginning, and its owner, come from memory. */

static inline void
prd_outlook_fetch(const prd_outlook_view_t *v, const prd_outlook_track_t *t)
{
    if (t->owner && t->owner <= v->clients) {
        __builtin_prefetch(&v->client[t->owner - 1], 1);
    }
}


static void
prd_outlook_close_track(prd_outlook_view_t *v, prd_outlook_track_t *t,
    unsigned k, uint32_t horizon_s, prd_outlook_vote_pt vote, void *data)
{
    prd_track_t     track;
    prd_tracked_t  *c;

    c = prd_outlook_owner(v, t);

    if (c == NULL) {
        return;
    }

    memcpy(&track, &t->track, sizeof(prd_track_t));
    prd_outlook_begin(c);

    prd_outlook_end_bin(v, c, t, &track, k, vote(data, c->slot));

    if (k == prd_outlook_class(horizon_s)) {
        prd_outlook_float(&t->ahead,
                          prd_outlook_expect(v, t, &track, horizon_s));
    }

    prd_words_write(&t->track, &track, sizeof(prd_track_t));
    prd_outlook_end(c);
}


void
prd_outlook_close_tracks(prd_outlook_view_t *v, prd_outlook_work_t *w,
    uint64_t end_s, uint32_t horizon_s, prd_outlook_vote_pt vote, void *data)
{
    uint32_t              b, i, n, used;
    unsigned              k;
    prd_outlook_track_t  *t;

    used = v->outlook->tracks_used;

    for (k = 0; k < PRD_TRACK_CLASSES; k++) {
        b = (uint32_t) (end_s / prd_outlook_span_s[k]);

        if (w->late_bin[k] != b) {
            w->late_bin[k] = b;
            w->late_at[k] = 0;
        }

        n = used / prd_outlook_late[k] + 1;

        for (i = w->late_at[k]; n && i < used; n--, i++) {
            t = &v->track[i];

            if (i + PRD_OUTLOOK_FETCH < used) {
                prd_outlook_fetch(v, &v->track[i + PRD_OUTLOOK_FETCH]);
            }

            if (t->bin[k] && t->bin[k] < b) {
                prd_outlook_close_track(v, t, k, horizon_s, vote, data);
            }
        }

        w->late_at[k] = i;
    }
}


void
prd_outlook_look_ahead(prd_outlook_view_t *v, uint64_t end_s,
    uint32_t horizon_s, prd_outlook_ahead_pt publish, void *data)
{
    float                 ahead;
    uint32_t              n, b, at, last;
    prd_track_t           track;
    prd_outlook_t        *o;
    prd_tracked_t        *c;
    prd_outlook_track_t  *t;

    o = v->outlook;
    b = (uint32_t) (end_s / PRD_OUTLOOK_HOUR_S);

    for (n = o->tracks_used / PRD_OUTLOOK_AHEAD + 1; n; n--) {

        if (o->tracks_at >= o->tracks_used) {
            o->tracks_at = 0;
        }

        t = &v->track[o->tracks_at++];
        c = prd_outlook_owner(v, t);

        if (c == NULL) {
            continue;
        }

        last = t->track.bins[PRD_OUTLOOK_HOURS].bin;

        /* who was here in this hour is closed with all others */

        if (t->bin[PRD_OUTLOOK_HOURS] == b
            || t->late_bin[PRD_OUTLOOK_HOURS] == b || last == 0)
        {
            continue;
        }

        /* nor before the forecasts after their hour count */

        at = t->bin[PRD_OUTLOOK_HOURS] ? t->bin[PRD_OUTLOOK_HOURS] : last;

        if (at < b && !prd_outlook_due(PRD_OUTLOOK_HOURS, at, end_s)) {
            continue;
        }

        memcpy(&track, &t->track, sizeof(prd_track_t));
        prd_outlook_begin(c);

        while (t->bin[PRD_OUTLOOK_HOURS]) {
            prd_outlook_end_bin(v, c, t, &track, PRD_OUTLOOK_HOURS, 1);
            last = track.bins[PRD_OUTLOOK_HOURS].bin;
        }

        if (last + 1 < b) {
            prd_outlook_over(v, t, &track, PRD_OUTLOOK_HOURS, b - 1, 0, 1);
        }

        ahead = prd_outlook_expect(v, t, &track, PRD_OUTLOOK_HOUR_S);

        prd_words_write(&t->track, &track, sizeof(prd_track_t));
        prd_outlook_float(&c->ahead, ahead);

        if (prd_outlook_class(horizon_s) == PRD_OUTLOOK_HOURS) {
            prd_outlook_float(&t->ahead, ahead);
        }

        prd_outlook_end(c);

        if (ahead > 0) {
            publish(data, c->slot, c->generation, ahead);
        }
    }
}


uint32_t
prd_outlook_count(prd_outlook_view_t *v, prd_outlook_work_t *w,
    const prd_outlook_bin_t *bin, float *ahead)
{
    uint32_t              refused;
    prd_tracked_t        *c, made;
    prd_outlook_t        *o;
    prd_habit_bin_t       h;
    prd_outlook_track_t  *t;

    o = v->outlook;
    c = prd_outlook_find(v, bin->slot, bin->generation);
    *ahead = 0;

    if (w->barren_bin != (uint32_t) (bin->start_s / 10)) {
        prd_outlook_open(w, (uint32_t) (bin->start_s / 10));
    }

    if (c == NULL) {

        if (bin->blocks < PRD_OUTLOOK_BLOCKS) {
            return 0;
        }

        c = prd_outlook_take(v, w, bin);

        if (c == NULL) {
            return 0;
        }
    }

    refused = bin->refused - c->refused;

    h.errors = refused;
    h.count = bin->requests + refused;
    h.cost = bin->tokens;

    memcpy(&made, c, sizeof(prd_tracked_t));

    made.refused = bin->refused;
    made.bin = (uint32_t) (bin->start_s / 10);
    made.known = bin->hours >= PRD_OUTLOOK_KNOWN;

    if (h.count) {
        prd_habit_count(&made.habit, &h, bin->start_s, w->offset_s);
    }

    prd_outlook_begin(c);

    t = prd_outlook_owned(v, c);

    if (t == NULL) {
        made.track = 0;
        made.ahead = 0;

        if (made.habit.bins >= PRD_OUTLOOK_ACTIVE) {
            t = prd_outlook_earn(v, w, c, &made);
        }
    }

    if (t) {
        prd_outlook_track(v, &made, t, bin);
        prd_outlook_count_owner(w, made.habit.count);
        *ahead = made.ahead;
    }

    prd_outlook_write(c, &made);
    prd_outlook_end(c);

    if (c->group < PRD_GROUPS && o->groups.group[c->group].id == c->group_id) {
        o->group_sum[c->group] += bin->tokens;
    }

    return refused;
}


void
prd_outlook_miss(prd_outlook_view_t *v, const prd_miss_t *miss)
{
    uint32_t           i;
    prd_outlook_t     *o;
    _Atomic uint32_t  *seq;

    o = v->outlook;
    i = atomic_load_explicit(&o->miss_next, memory_order_relaxed);
    seq = &o->miss_seq[i % PRD_OUTLOOK_MISSES];

    atomic_store_explicit(seq, *seq | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    prd_words_write(&o->miss[i % PRD_OUTLOOK_MISSES], miss,
                    sizeof(prd_miss_t));
    atomic_store_explicit(seq, *seq + 1, memory_order_release);

    atomic_store_explicit(&o->miss_next, i + 1, memory_order_release);
    atomic_store_explicit(&o->missed, o->missed + 1, memory_order_relaxed);
}


/* A place may have become another group's: nothing of the old one stays. */

static void
prd_outlook_places(prd_outlook_t *o)
{
    unsigned  i;

    for (i = 0; i < PRD_GROUPS; i++) {

        if (o->chain_id[i] == o->groups.group[i].id) {
            continue;
        }

        o->chain_id[i] = o->groups.group[i].id;
        o->group_sum[i] = 0;
        o->group_n[i] = o->group_bytes[i] = 0;

        memset(&o->chain[i], 0, sizeof(prd_markov_t));
        memset(o->typical[i], 0, sizeof(o->typical[i]));
        memset(o->group_curve[i], 0, sizeof(o->group_curve[i]));
        o->group_curve_bin[i] = 0;
        (void) prd_aggregate_init(&o->group[i], prd_outlook_span_s[1]);
    }
}


/* Did the forecast of bytes for the bin that is over cover them? */

static void
prd_outlook_span_bytes(prd_outlook_t *o, unsigned i, int64_t bin)
{
    float  hit;

    if (o->bytes_upper[i] > 0 && bin == o->curve_bin[i] + 1) {
        o->bytes_scored[i] = prd_min(o->bytes_scored[i] + 1,
                                     PRD_OUTLOOK_SCORED);
        hit = o->bytes[i] <= o->bytes_upper[i];
        o->bytes_covered[i] += (hit - o->bytes_covered[i])
                               / (float) o->bytes_scored[i];
    }
}


/* What the zone did in a bin that was longer than 10 s. */

static void
prd_outlook_span(prd_outlook_view_t *v, unsigned i, int64_t bin, double y)
{
    double            q[PRD_AGGREGATE_QUANTILES];
    prd_miss_t        miss;
    prd_outlook_t    *o;
    prd_aggregate_t  *a;

    o = v->outlook;
    a = &o->zone[i];

    if (a->bins && bin == a->bin + 1
        && prd_aggregate_forecast(a, 1, q) == PRD_OK && y > q[3])
    {
        memset(&miss, 0, sizeof(prd_miss_t));
        miss.end_s = (uint64_t) (bin + 1) * prd_outlook_span_s[i];
        miss.span_s = prd_outlook_span_s[i];
        miss.actual = (float) y;
        miss.middle = (float) q[0];
        miss.upper = (float) q[3];
        miss.quantile = 0.99f;

        prd_outlook_miss(v, &miss);
    }

    prd_outlook_span_bytes(o, i, bin);

    (void) prd_aggregate_add(a, bin, y);
    prd_curve_publish(a, o->curve[i], &o->curve_bin[i]);

    o->bytes[i] = 0;
    o->bytes_upper[i] = (float) (o->curve[i][0].quantile[2]
                                 * prd_outlook_bytes(o, PRD_GROUP_NONE));
}


static void
prd_outlook_groups(prd_outlook_t *o, int64_t bin, int32_t offset_s)
{
    float     *typical;
    int64_t    s;
    unsigned   i, hour;

    s = bin * prd_outlook_span_s[1] + offset_s;
    hour = (unsigned) ((s % 86400 + 86400) % 86400 / 3600);

    for (i = 0; i < PRD_GROUPS; i++) {

        if (o->groups.group[i].id == 0) {
            continue;
        }

        typical = &o->typical[i][hour];
        *typical += PRD_OUTLOOK_HOUR_GAIN
                    * (o->group_sum[i] / prd_outlook_span_s[1] - *typical);

        (void) prd_aggregate_add(&o->group[i], bin, o->group_sum[i]);
        prd_curve_publish(&o->group[i], o->group_curve[i],
                          &o->group_curve_bin[i]);
        o->group_sum[i] = 0;
    }
}


/* A portion of the pass that assigns clients to groups and lets them vote. */

static void
prd_outlook_pass(prd_outlook_view_t *v, prd_outlook_work_t *w, uint64_t now_s,
    int learning, prd_outlook_vote_pt vote, void *data)
{
    int             may, outlier;
    float           x[PRD_HABIT_FEATURES];
    uint32_t        n, used;
    unsigned        place;
    prd_tracked_t  *c;
    prd_outlook_t  *o;

    o = v->outlook;

    if (w->loads != o->loads) {
        memset(&w->work, 0, sizeof(prd_group_work_t));
        w->loads = o->loads;
        w->running = 0;
        w->begun = 0;
    }

    if (!w->running) {
        prd_group_begin(&w->work);
        w->running = 1;
        w->at = 0;
    }

    used = atomic_load_explicit(&o->used, memory_order_relaxed);

    for (n = used / PRD_OUTLOOK_PASS + 1; n && w->at < used; n--, w->at++) {
        c = &v->client[w->at];

        if (c->tag
            && atomic_load_explicit(&v->tags[c->slot], memory_order_relaxed)
               != c->tag)
        {
            /* its client was forgotten */

            prd_outlook_begin(c);

            prd_outlook_disown(v, c);

            prd_outlook_set(c->track, 0);
            prd_outlook_set(c->tag, 0);
            prd_outlook_end(c);
        }

        if (c->tag == 0
            || prd_habit_features(&c->habit, now_s, w->offset_s,
                                  PRD_GROUP_ASSIGN, x)
               != PRD_OK)
        {
            continue;
        }

        may = c->habit.bins >= PRD_GROUP_VOTES
              && prd_habit_age_s(&c->habit, now_s) >= PRD_GROUP_VOTE_S
              && vote(data, c->slot);

        place = prd_group_learn(&o->groups, &w->work, x, may, &outlier);

        outlier = outlier && c->habit.bins >= PRD_GROUP_VOTES;

        if (place != c->group || outlier != c->outlier
            || (place < PRD_GROUPS
                && c->group_id != o->groups.group[place].id))
        {
            prd_outlook_begin(c);
            prd_outlook_set(c->group, (uint8_t) place);
            prd_outlook_set(c->group_id, place < PRD_GROUPS
                                         ? o->groups.group[place].id : 0);
            prd_outlook_set(c->outlier, (uint8_t) outlier);
            prd_outlook_end(c);
        }
    }

    if (w->at >= used) {
        prd_group_end(&o->groups, &w->work, now_s, learning);
        prd_outlook_places(o);
        w->running = 0;
    }
}


/*
 * Switches the network on or off; one that a killed thread left half changed
 * begins anew.
 */

static void
prd_outlook_switch(prd_outlook_t *o, prd_outlook_work_t *w)
{
    if (!w->network) {
        prd_outlook_set(o->networked, 0);
        w->trains = 0;
        return;
    }

    if (!w->trains) {
        w->trains = 1;

        if (prd_gru_check(&o->network, sizeof(prd_gru_t)) != PRD_OK) {
            prd_outlook_set(o->networked, 0);
            prd_gru_init(&o->network, PRD_OUTLOOK_SEED);
        }
    }

    prd_gru_offset(&o->network, w->offset_s);
    __atomic_store_n(&o->networked, 1, __ATOMIC_RELEASE);
}


void
prd_outlook_close(prd_outlook_view_t *v, prd_outlook_work_t *w,
    double tokens, uint64_t end_s, int learning, prd_outlook_vote_pt vote,
    void *data)
{
    int64_t         bin;
    unsigned        i;
    prd_outlook_t  *o;

    o = v->outlook;
    o->tracks.offset_s = w->offset_s;
    o->tracks.now_s = (uint32_t) end_s;

    /*
     * Tables of errors begin empty with the zone, or with its process: for a
     * week they follow their votes, then they are slow.  (Slow from the end
     * of a warm-up of a day on, the loss of hourly forecasts of 45 clients
     * was 9 to 47 % higher over two weeks.)
     */

    if (o->tracks_since_s == 0 || o->tracks_since_s > end_s) {
        o->tracks_since_s = end_s;
    }

    o->tracks.slow = !learning
                     && end_s - o->tracks_since_s >= PRD_OUTLOOK_FIRST_S;

    prd_outlook_switch(o, w);

    /* the bin that is over may be the first one of a longer one */

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        bin = (int64_t) ((end_s - 10) / prd_outlook_span_s[i]);

        if (o->bin[i] != bin) {

            if (o->bin[i]) {
                prd_outlook_span(v, i, o->bin[i], o->sum[i]);
            }

            if (i == PRD_OUTLOOK_NETWORK && o->networked) {
                (void) prd_gru_train(&o->network, PRD_OUTLOOK_TRAIN);
            }

            o->bin[i] = bin;
            o->sum[i] = 0;
        }

        o->sum[i] += tokens;
        o->bytes[i] += o->bytes_bin;
    }

    o->bytes_bin = 0;

    bin = (int64_t) ((end_s - 10) / prd_outlook_span_s[1]);

    if (o->group_bin != bin) {

        if (o->group_bin) {
            prd_outlook_groups(o, o->group_bin, w->offset_s);
        }

        o->group_bin = bin;
    }

    prd_outlook_pass(v, w, end_s, learning, vote, data);
    prd_outlook_open(w, 0);
    prd_outlook_step(v, w, end_s, learning);
}


void
prd_outlook_sizes(prd_outlook_view_t *v, const uint64_t grown[PRD_SIZES],
    const uint64_t group_grown[PRD_GROUPS], double cost)
{
    double          n;
    unsigned        i;
    prd_outlook_t  *o;

    o = v->outlook;
    o->cost = cost > 0 && cost < PRD_TRACK_Y_MAX ? cost : 1;
    o->bytes_bin = prd_sizes_add(&o->sizes, grown);

    for (i = 0; i < PRD_GROUPS; i++) {
        n = prd_size_count(group_grown[i]);

        if (n > 0 && o->groups.group[i].id) {
            o->group_n[i] += (float) n
                             - o->group_n[i] / PRD_SIZE_MEMORY;
            o->group_bytes[i] += (float) prd_size_bytes(group_grown[i])
                                 - o->group_bytes[i] / PRD_SIZE_MEMORY;
        }
    }
}


prd_rc_t
prd_outlook_size_of(const prd_outlook_t *o, unsigned group, prd_size_t *size)
{
    double    n;
    prd_rc_t  rc;

    rc = prd_sizes_get(&o->sizes, size);

    if (rc == PRD_OK && group < PRD_GROUPS) {
        n = o->group_n[group];
        size->mean = (o->group_bytes[group] + PRD_SIZE_PRIOR * size->mean)
                     / (n + PRD_SIZE_PRIOR);
        size->requests = n;
    }

    return rc;
}


double
prd_outlook_bytes(const prd_outlook_t *o, unsigned group)
{
    prd_size_t  size;

    if (prd_outlook_size_of(o, group, &size) != PRD_OK) {
        return 0;
    }

    return size.mean / (o->cost > 0 ? o->cost : 1);
}


void
prd_outlook_cost(prd_outlook_view_t *v, unsigned class_, float cost)
{
    unsigned  i;

    for (i = 0; i < PRD_GROUPS; i++) {
        if (v->outlook->groups.group[i].id) {
            prd_markov_cost(&v->outlook->chain[i], class_, cost);
        }
    }
}


void
prd_outlook_step(prd_outlook_view_t *v, prd_outlook_work_t *w,
    uint64_t now_s, int learning)
{
    unsigned        i;
    prd_outlook_t  *o;

    o = v->outlook;

    /* what the rings hold was drained by whoever forecast before us */

    if (!w->begun) {
        for (i = 0; i < PRD_OUTLOOK_RINGS; i++) {
            w->tail[i] = atomic_load_explicit(&o->ring[i].head,
                                              memory_order_acquire);
        }

        w->begun = 1;
    }

    if (w->loads == o->loads
        && prd_group_step(&o->groups, &w->work, now_s, learning) != PRD_EAGAIN)
    {
        prd_outlook_places(o);
    }

    i = w->turn++ % PRD_GROUPS;

    if (o->groups.group[i].id) {
        prd_markov_fade(&o->chain[i], now_s);
    }

    for (i = 0; i < PRD_OUTLOOK_RINGS; i++) {
        (void) prd_markov_drain(&o->ring[i], &w->tail[i], o->chain,
                                PRD_GROUPS);
    }
}


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


/* A curve that ends before now is one of the past. */

static int
prd_outlook_fresh(const prd_aggregate_t *a, uint64_t now_s)
{
    int64_t  now;

    now = (int64_t) (now_s / a->bin_s);

    return a->bins && a->bin <= now && a->bin > now - PRD_AGGREGATE_MOST;
}


void
prd_outlook_resume(prd_outlook_view_t *v, uint64_t now_s)
{
    unsigned        i;
    prd_outlook_t  *o;

    o = v->outlook;

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        if (prd_outlook_fresh(&o->zone[i], now_s)) {
            prd_curve_make(&o->zone[i], o->curve[i], &o->curve_bin[i]);
        }
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        if (o->groups.group[i].id && prd_outlook_fresh(&o->group[i], now_s)) {
            prd_curve_make(&o->group[i], o->group_curve[i],
                           &o->group_curve_bin[i]);
        }
    }
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
