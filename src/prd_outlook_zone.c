
/*
 * The end of a 10 s bin for the zone as a whole: longer bins that are over, of
 * the zone and of its groups, a pass over the clients for groups, the sizes of
 * responses, and the portions of work between two bins.
 */


#include "prd_outlook_inner.h"


#define PRD_OUTLOOK_HOUR_GAIN 0.02f    /* of a group's typical day */
#define PRD_OUTLOOK_SCORED    1000     /* bins: the memory of coverage */

#define PRD_OUTLOOK_SEED      1        /* of the network */


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
    float     *typical, gain;
    int64_t    s;
    unsigned   i, hour, n, per;

    s = bin * prd_outlook_span_s[1] + offset_s;
    s = (s % 86400 + 86400) % 86400;
    hour = (unsigned) (s / 3600);
    per = 3600 / prd_outlook_span_s[1];

    for (i = 0; i < PRD_GROUPS; i++) {

        if (o->groups.group[i].id == 0) {
            continue;
        }

        /* a mean at first: how many such bins there were, about */

        n = o->group[i].bins / (24 * per) * per
            + (unsigned) (s % 3600) / prd_outlook_span_s[1];
        n = prd_min(n, o->group[i].bins);
        gain = prd_max(1 / (float) (n + 1), PRD_OUTLOOK_HOUR_GAIN);

        typical = &o->typical[i][hour];
        *typical += gain * (o->group_sum[i] / prd_outlook_span_s[1]
                            - *typical);

        (void) prd_aggregate_add(&o->group[i], bin, o->group_sum[i]);
        prd_curve_publish(&o->group[i], o->group_curve[i],
                          &o->group_curve_bin[i]);
        o->group_sum[i] = 0;
    }
}


void
prd_outlook_rest(prd_outlook_work_t *w)
{
    memset(&w->work, 0, sizeof(prd_group_work_t));
    memset(w->group_now, 0, sizeof(w->group_now));

    w->running = 0;
    w->begun = 0;
    w->trains = 0;                     /* one may have been killed in it */
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
        prd_outlook_rest(w);
        w->loads = o->loads;
    }

    if (!w->running) {
        prd_group_begin(&w->work);
        w->running = 1;
        w->at = 0;
    }

    used = atomic_load_explicit(&o->used, memory_order_relaxed);

    for (n = used / PRD_OUTLOOK_PASS + 1; n && w->at < used; n--, w->at++) {
        c = &v->client[w->at];

        if (prd_outlook_fenced(w, n)) {
            return;
        }

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

    /* a zone that was loaded or has grown brings none */

    if (!w->trains || w->loads != o->loads) {
        w->trains = 1;

        if (prd_gru_check(&o->network, sizeof(prd_gru_t)) != PRD_OK) {
            prd_outlook_set(o->networked, 0);
            prd_gru_init(&o->network, PRD_OUTLOOK_SEED);
        }
    }

    prd_gru_of(&o->network, w->offset_s, !w->priced);
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
    o->tracks.whole = !w->priced;
    o->tracks.now_s = (uint32_t) end_s;

    /*
     * Tables of errors begin empty with the zone: for a week they follow
     * their votes, then they are slow.  (Slow from the end
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

    /* clients were counted before the longer bin was seen to be over */

    for (i = 0; i < PRD_GROUPS; i++) {
        o->group_sum[i] += w->group_now[i];
        w->group_now[i] = 0;
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

    /* nor do tails say where the rings are of a zone that was loaded */

    if (w->loads != o->loads) {
        return;
    }

    /* what the rings hold was drained by whoever forecast before us */

    if (!w->begun) {
        for (i = 0; i < PRD_OUTLOOK_RINGS; i++) {
            w->tail[i] = atomic_load_explicit(&o->ring[i].head,
                                              memory_order_acquire);
        }

        w->begun = 1;
    }

    if (prd_group_step(&o->groups, &w->work, now_s, learning)
        != PRD_EAGAIN)
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
