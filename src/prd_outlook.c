
/*
 * The forecasts of a zone: their memory, and whose record is kept.
 */


#include "prd_outlook_inner.h"


#define PRD_OUTLOOK_IDLE      60       /* bins: ten minutes, of a newcomer */
#define PRD_OUTLOOK_KNOWN     2        /* active hours */

#define prd_outlook_align(n)  (((n) + 63) & ~(size_t) 63)


const uint32_t  prd_outlook_span_s[PRD_OUTLOOK_SPANS] = { 60, 300, 3600 };


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


void
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
        w->group_now[c->group] += bin->tokens;
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
