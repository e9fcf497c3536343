
/*
 * Clients' tracks: who has one, when a bin of a minute, of five and of an hour
 * is over, and what is expected of a client then.
 */


#include "prd_outlook_inner.h"


#define PRD_OUTLOOK_FETCH     4        /* tracks ahead */
#define PRD_OUTLOOK_HOURS     2        /* the class of bins of an hour */
#define PRD_OUTLOOK_HOUR_S    3600
#define PRD_OUTLOOK_BIN_S     10


static const uint32_t  prd_outlook_late[PRD_TRACK_CLASSES] = PRD_OUTLOOK_LATE;


const prd_gru_client_t  prd_outlook_unseen;


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


void
prd_outlook_count_owner(prd_outlook_work_t *w, float count)
{
    w->poorest = fminf(w->poorest, count);
    w->poorest_turn = fminf(w->poorest_turn, count);
}


/*
 * As with records: once all were looked at in a bin, only that of an owner who
 * asks for little enough can be had, and the least of them is known.
 */

prd_outlook_track_t *
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


unsigned
prd_outlook_ask(const prd_gru_t *network, const prd_gru_client_t *cell,
    uint32_t bin, prd_track_extra_t *extra)
{
    return cell->version && cell->bin == bin
           && prd_gru_forecast(network, cell,
                               prd_outlook_span_s[PRD_OUTLOOK_NETWORK],
                               extra->q)
              == PRD_OK;
}


/* The network as an expert, for who trains it, if it is on. */

static unsigned
prd_outlook_expert(const prd_outlook_view_t *v, const prd_outlook_track_t *t,
    unsigned k, uint32_t bin, prd_track_extra_t *extra)
{
    return k == PRD_OUTLOOK_NETWORK && v->outlook->networked
           ? prd_outlook_ask(&v->outlook->network, &v->cell[t - v->track], bin,
                             extra)
           : 0;
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


float
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


/*
 * Ends a bin that the horizon is forecast by.  Until all are closed everybody
 * keeps what was in force before: after a pause that is `had`.
 */

static void
prd_outlook_renew(prd_outlook_view_t *v, const prd_tracked_t *c,
    prd_outlook_track_t *t, prd_track_t *track, unsigned k,
    uint32_t horizon_s, float had, int vote)
{
    float  before;

    before = track->bins[k].bin + 1 < t->bin[k] ? had : t->ahead;

    prd_outlook_end_bin(v, c, t, track, k, vote);

    prd_outlook_float(&t->before, before);
    prd_outlook_float(&t->ahead, prd_outlook_expect(v, t, track, horizon_s));
}


/* Is the time over in which bin `last` is closed in portions? */

static int
prd_outlook_due(unsigned k, uint32_t last, uint64_t start_s)
{
    return start_s >= ((uint64_t) last + 1) * prd_outlook_span_s[k]
                      + 10 * prd_outlook_late[k];
}


void
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

            /* other bins do not move what is forecast for this horizon */

            if (k == class_) {
                prd_outlook_renew(v, made, t, &track, k, bin->horizon_s,
                                  made->ahead, bin->vote);
            } else {
                prd_outlook_end_bin(v, made, t, &track, k, bin->vote);
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

    b = t->track.bins[class_].bin;

    if (b + 1 < t->bin[class_]) {

        /*
         * Who is back after a pause has what has waited for it, and what was
         * forecast at the end of its last visit, if more: the latter alone
         * would take from a job what it came for, the former alone tells
         * little of a visit.
         */

        made->ahead = signbit(t->before) ? fmaxf(t->ahead, -t->before)
                                         : t->ahead;

    } else if (prd_outlook_due(class_, b, bin->start_s)) {
        made->ahead = t->ahead;

    } else {
        made->ahead = fabsf(t->before);
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

    if (k == prd_outlook_class(horizon_s)) {
        prd_outlook_renew(v, c, t, &track, k, horizon_s, c->ahead,
                          vote(data, c->slot));
    } else {
        prd_outlook_end_bin(v, c, t, &track, k, vote(data, c->slot));
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

            if (prd_outlook_fenced(w, n)) {
                w->late_at[k] = i;
                return;
            }

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
    uint32_t horizon_s, prd_outlook_vote_pt vote, prd_outlook_ahead_pt publish,
    void *data)
{
    int                   may, next_hour;
    float                 ahead;
    uint32_t              n, b, at, last;
    prd_track_t           track, next;
    prd_outlook_t        *o;
    prd_tracked_t        *c;
    prd_outlook_track_t  *t;

    o = v->outlook;
    b = (uint32_t) (end_s / PRD_OUTLOOK_HOUR_S);

    n = o->tracks_used / PRD_OUTLOOK_AHEAD + 1;

    /* what waits now is for the time until the next turn */

    next_hour = end_s % PRD_OUTLOOK_HOUR_S
                + (o->tracks_used / n + 2) * PRD_OUTLOOK_BIN_S
                >= PRD_OUTLOOK_HOUR_S;

    for ( /* void */ ; n; n--) {

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

        may = (t->bin[PRD_OUTLOOK_HOURS] || last + 1 < b)
              && vote(data, c->slot);

        memcpy(&track, &t->track, sizeof(prd_track_t));
        prd_outlook_begin(c);

        while (t->bin[PRD_OUTLOOK_HOURS]) {
            prd_outlook_end_bin(v, c, t, &track, PRD_OUTLOOK_HOURS, may);
            last = track.bins[PRD_OUTLOOK_HOURS].bin;
        }

        if (last + 1 < b) {
            prd_outlook_over(v, t, &track, PRD_OUTLOOK_HOURS, b - 1, 0, may);
        }

        ahead = prd_outlook_expect(v, t, &track, PRD_OUTLOOK_HOUR_S);

        if (next_hour) {
            memcpy(&next, &track, sizeof(prd_track_t));
            (void) prd_track_close(&next, &o->tracks, PRD_OUTLOOK_HOURS, b, 0,
                                   0, NULL, 0);
            ahead = fmaxf(ahead, prd_outlook_expect(v, t, &next,
                                                    PRD_OUTLOOK_HOUR_S));
        }

        prd_words_write(&t->track, &track, sizeof(prd_track_t));
        prd_outlook_float(&c->ahead, ahead);
        prd_outlook_float(&t->before, -ahead);

        if (prd_outlook_class(horizon_s) == PRD_OUTLOOK_HOURS) {
            prd_outlook_float(&t->ahead, ahead);
        }

        prd_outlook_end(c);

        if (ahead > 0) {
            publish(data, c->slot, c->generation, ahead);
        }
    }
}
