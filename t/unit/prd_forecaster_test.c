
/*
 * The round: every bin and every hour closes once, however the clock jumps;
 * who votes, what is published, and what a flood of strangers brings about.
 */


#include "lab.h"


typedef struct {
    prd_view_t        v;
    prd_policy_t      policy;
    prd_forecaster_t  f;
    double            now_s;
    uint32_t          now_ms;
} rig_t;


static rig_t  rig;


static void
begin(const char *words, uint32_t clients)
{
    memset(&rig, 0, sizeof(rig_t));
    lab_policy(&rig.policy, words);
    rig.v = lab_zone(&rig.policy, clients, LAB_S, LAB_MS);
    rig.now_s = (double) LAB_S;
    rig.now_ms = LAB_MS;
}


static void
end(void)
{
    free(rig.v.zone);
}


/* Both clocks go on, then a round. */

static prd_rc_t
after(double s)
{
    rig.now_s += s;
    rig.now_ms += (uint32_t) (int64_t) (s * 1000);

    return prd_forecaster_round(&rig.f, &rig.v, &rig.policy, rig.now_s,
                                rig.now_ms);
}


/* The wall clock alone jumps. */

static prd_rc_t
jump(double s)
{
    rig.now_s += s;

    return after(0);
}


static prd_answer_t
request(uint64_t tag, uint64_t parent, uint32_t class_)
{
    prd_ask_t     ask;
    prd_answer_t  a;

    ask = lab_ask(&rig.policy, tag, rig.now_ms);
    ask.parent = parent;
    ask.class_ = class_;
    ask.charged = rig.policy.params.charge.len != 0;

    prd_decide(&rig.v, &rig.policy, &ask, &a);
    prd_note(&rig.v, &ask, &a, 0, (uint64_t) (rig.now_s * 1000));

    return a;
}


static prd_learned_t *
learned(uint64_t tag)
{
    return &rig.v.learned[prd_table_find(&rig.v.table, prd_tag(tag))];
}


static prd_entry_t *
entry(uint64_t tag)
{
    return &rig.v.table.entries[prd_table_find(&rig.v.table, prd_tag(tag))];
}


/* Demand as a worker leaves it: admitted cost and peak, level units. */

static void
feed(uint32_t slot, uint32_t admitted, uint32_t peak)
{
    atomic_store(&rig.v.table.entries[slot].demand,
                 (uint64_t) admitted << 32 | peak);
    atomic_fetch_or(&rig.v.dirty[slot / PRD_WAYS / 64],
                    1ull << (slot / PRD_WAYS % 64));
}


static uint32_t
client(uint64_t tag)
{
    uint32_t  slot;
    unsigned  evicted;

    slot = 0;
    prd_table_insert(&rig.v.table, prd_tag(tag), rig.now_ms, &slot, &evicted);

    return slot;
}


/* How many things in the zone are no numbers. */

static uint32_t
unsound(void)
{
    uint32_t      i, n, s, c;
    prd_top_t     top[PRD_TOP];
    prd_zone_t   *z = rig.v.zone;
    prd_point_t   p[PRD_SERIES];
    prd_pooled_t *q = &z->pooled;

    n = !isfinite(z->level) + !isfinite(z->ratio) + !isfinite(z->pinball)
        + !isfinite(z->tick_s) + !isfinite(z->surge_all)
        + !isfinite(q->mu) + !isfinite(q->sigma) + !isfinite(q->mu_rate)
        + !isfinite(q->sigma_rate) + !isfinite(q->newcomer_b)
        + !isfinite(q->newcomer_r) + !isfinite(q->cost);

    for (i = 0; i < PRD_CLASSES; i++) {
        n += !isfinite(z->surge_fast[i]) + !isfinite(z->surge_slow[i]);
        n += atomic_load(&z->surge[i]) > 1u << 26;
    }

    for (i = 0; i < PRD_AGES; i++) {
        n += !isfinite(q->depth[i].z) + !isfinite(q->rate[i].z)
             + !isfinite(q->near[i].z) + !isfinite(q->depth[i].votes);
    }

    for (s = 0; s < prd_zone_slots(&rig.v); s++) {
        prd_learned_t  *l = &rig.v.learned[s];
        uint64_t        env = atomic_load(&rig.v.table.entries[s].envelope);

        n += !isfinite(l->mu) + !isfinite(l->sigma) + !isfinite(l->depth)
             + !isfinite(l->rate) + !isfinite(l->level) + !isfinite(l->near)
             + !isfinite(l->count) + !isfinite(l->cap_depth)
             + !isfinite(l->cap_rate) + !isfinite(l->mu_rate);
        n += prd_env_decode(prd_env_rate_code(env)) > 1000000000000000000ull
             || prd_env_decode(prd_env_depth_code(env)) > UINT32_MAX;
    }

    if (prd_zone_series(&rig.v, p, &c, 0) == PRD_OK) {

        for (i = 0; i < c; i++) {
            n += !isfinite(p[i].actual) + !isfinite(p[i].forecast)
                 + !isfinite(p[i].upper) + !isfinite(p[i].fill)
                 + !isfinite(p[i].refused) + (p[i].actual < 0);
        }
    }

    for (s = 0; s < PRD_TOPS; s++) {

        if (prd_zone_top(&rig.v, s, top, &c) == PRD_OK) {

            for (i = 0; i < c; i++) {
                n += !isfinite(top[i].value) + !isfinite(top[i].forecast);
            }
        }
    }

    return n;
}


static uint32_t
points(void)
{
    uint32_t     n;
    prd_point_t  p[PRD_SERIES];

    n = 0;
    prd_zone_series(&rig.v, p, &n, 0);

    return n;
}


static void
bins(void)
{
    int          i;
    uint32_t     n;
    prd_point_t  p[PRD_SERIES];

    begin("rate=10r/s burst=100", 100);
    after(1);

    request(42, 0, 0);
    is_int(points(), 0, "an open bin");

    for (i = 0; i < 8; i++) {
        after(1);
    }

    is_int(learned(42)->blocks, 0, "nothing closes within it");
    is_int(atomic_load(&entry(42)->demand) >> 32, 1000, "nor is it taken");

    after(1);
    is_int(learned(42)->blocks, 1, "its end closes it");
    is_int(atomic_load(&entry(42)->demand), 0, "and takes the demand");
    ok(learned(42)->count == 1, "into the hour");
    is_int(points(), 1, "a point of the series");
    is_int(atomic_load(&rig.v.zone->active), 1, "one client was active");

    for (i = 0; i < 5; i++) {
        after(1);
    }

    is_int(learned(42)->blocks, 1, "once");
    after(5);
    is_int(learned(42)->blocks, 1, "an idle bin closes no block");
    is_int(atomic_load(&rig.v.zone->active), 0, "nobody was active");

    prd_zone_series(&rig.v, p, &n, 0);
    ok(n == 2 && p[0].start_s == LAB_S && p[1].start_s == LAB_S + 10
       && fabsf(p[0].actual - 0.1f) < 1e-6 && p[1].actual == 0,
       "the series: 0.1/s, 0/s");

    /* what is open at the end */

    request(42, 0, 0);
    prd_forecaster_flush(&rig.f, &rig.v, &rig.policy, rig.now_s, rig.now_ms);
    is_int(learned(42)->blocks, 2, "flush closes what is open");

    is_int(atomic_load(&rig.v.zone->last_tick_s), (uint64_t) rig.now_s,
           "last tick");
    is_int(atomic_load(&rig.v.zone->ticks), 16, "ticks");

    end();
}


/* One request a bin over a clock that jumps; a block a bin, none twice. */

static void
jumps(double s, const char *name)
{
    int       i;
    uint32_t  was, pts;

    begin("rate=10r/s burst=100 capacity=100r/s class=$c", 100);
    after(5);

    for (i = 0; i < 20; i++) {
        request(42, 0, 0);
        after(10);
    }

    was = learned(42)->blocks;
    pts = points();
    ok(was == 20 && pts == 20, "%s: before it, twenty", name);

    request(42, 0, 0);
    jump(s);

    for (i = 0; i < 20; i++) {
        request(42, 0, 0);
        after(10);
    }

    /* a step back closes nothing: the open bin goes on, by its new name */

    is_int(learned(42)->blocks - was, s < 0 ? 20 : 21,
           "%s: each closes once", name);
    is_int(points() - pts, s < 0 ? 20 : 21, "%s: a point a bin", name);
    ok(learned(42)->hours <= 2, "%s: %u hours", name, learned(42)->hours);
    is_int(unsound(), 0, "%s: all are numbers", name);
    end();
}


/* Ten hours, active in all; clocks jitter around the full hours. */

static void
hours(void)
{
    int       i, early, late, back;
    double    was, hour;
    uint32_t  ended;

    begin("rate=10r/s burst=100", 100);
    after(1);
    early = late = back = 0;
    was = floor(rig.now_s / 3600);

    for (i = 0; i < 10 * 360; i++) {
        request(42, 0, 0);
        after(10);

        ended = (uint32_t) (floor(rig.now_s / 3600) - was);

        /* half a minute after the full hour, a minute back, and forth */

        if (fmod(rig.now_s, 3600) >= 30 && fmod(rig.now_s, 3600) < 40) {
            hour = floor(rig.now_s / 3600);
            jump(-60);
            back += floor(rig.now_s / 3600) != hour
                    && learned(42)->epoch == (uint16_t) hour;
            early += learned(42)->hours > ended;
            jump(60);
            early += learned(42)->hours > ended;
        }

        ended = (uint32_t) (floor(rig.now_s / 3600) - was);
        early += learned(42)->hours > ended;
        late += learned(42)->hours < ended;
    }

    ok(back > 5, "%d steps back over a full hour", back);
    is_int(early, 0, "an hour counts when it has ended, not before");
    is_int(late, 0, "and at once");
    ok(learned(42)->hours >= 9, "%u hours", learned(42)->hours);
    is_int(atomic_load(&entry(42)->hours), learned(42)->hours, "published");
    is_int(prd_env_trust(atomic_load(&entry(42)->envelope)),
           learned(42)->hours * 64 / (learned(42)->hours + 8), "as trust");

    end();

    /* one who never comes back: known for its hour, but closes none */

    begin("rate=10r/s burst=100", 100);
    after(1);

    for (i = 0; i < 30; i++) {
        request(42, 0, 0);
        after(10);
    }

    for (i = 0; i < 30; i++) {
        after(600);
    }

    is_int(learned(42)->hours, 1, "one hour");
    ok(learned(42)->count == 30 && learned(42)->counted,
       "what it says waits until the client comes back");
    request(42, 0, 0);
    after(10);
    after(10);
    ok(learned(42)->count == 1 && learned(42)->hours == 1
       && !learned(42)->counted, "it is back");

    end();
}


static void
changed(void *data, uint32_t slot)
{
    (void) slot;
    ++*(uint32_t *) data;
}


/*
 * Three thousand clients, active in all bins of an hour and a bit: their hours
 * and horizons close a few in each bin, and all that were to.
 */

static void
phases(void)
{
    int       i, b;
    uint32_t  slots[3000], near[3000], hour[3000], closed[3000], told, n;
    uint32_t  nears, hours, most_near, most_hour, all, wrong, late, early;
    uint64_t  tag;

    begin("rate=10r/s burst=100", 3000);
    after(1);
    most_near = most_hour = all = wrong = 0;
    memset(closed, 0, sizeof(closed));

    for (i = 0; i < 3000; i++) {
        tag = prd_tag((uint64_t) (i + 1) * 0x9e3779b97f4a7c15);
        slots[i] = client(tag);
        wrong += prd_phase_s(tag) % PRD_BIN_S || prd_phase_s(tag) > 150;
    }

    is_int(wrong, 0, "phases are full bins, 150 s at most");

    for (b = 0; b < 400; b++) {
        nears = hours = 0;

        for (i = 0; i < 3000; i++) {
            near[i] = rig.v.learned[slots[i]].near_bin;
            hour[i] = rig.v.learned[slots[i]].epoch;
            feed(slots[i], 1000, 1000);
        }

        after(10);

        for (i = 0; i < 3000 && b; i++) {
            nears += rig.v.learned[slots[i]].near_bin != near[i];
            hours += rig.v.learned[slots[i]].epoch != hour[i];
            closed[i] += rig.v.learned[slots[i]].epoch != hour[i];
        }

        all += nears;
        most_near = prd_max(most_near, nears);
        most_hour = prd_max(most_hour, hours);
    }

    ok(most_near < 3000 / 10, "at most %u of 3000 horizons in a bin",
       most_near);
    ok(most_hour < 3000 / 10, "at most %u hours", most_hour);
    ok(all >= 13 * 3000 && all <= 14 * 3000, "%u horizons", all);

    for (i = 0, n = 0, wrong = 0; i < 3000; i++) {
        n += closed[i];
        wrong += closed[i] < 1 || closed[i] > 2;
    }

    ok(wrong == 0 && n < 2 * 3000, "%u hours, one or two a client", n);

    end();

    /* those who have gone: when all hours have ended, that of the clock */

    begin("rate=10r/s burst=100", 100);
    told = 0;
    rig.f.changed = changed;
    rig.f.changed_data = &told;
    early = 42;
    late = 43;
    tag = prd_tag(0xffffull << 32 | 42);
    after(3600 - fmod(rig.now_s, 3600));
    after(3600 - 600);

    feed(client(early), 1000, 1000);
    feed(client(tag), 1000, 1000);
    after(10);
    is_int(learned(early)->epoch, learned(tag)->epoch, "in the same hour");
    after(490);
    feed(client(late), 1000, 1000);
    feed(client(tag + 1), 1000, 1000);
    after(10);
    is_int((uint16_t) (learned(tag + 1)->epoch - learned(late)->epoch), 1,
           "in its next hour, before that of the clock");
    is_int(told, 4, "told of four blocks");
    n = learned(early)->hours + learned(tag)->hours;
    is_int(n, 0, "no hour counts yet");
    after(90);
    is_int(learned(early)->hours + learned(late)->hours
           + learned(tag)->hours, 3, "at the full hour they count");
    is_int(learned(tag + 1)->hours, 0, "what belongs to the next does not");
    is_int(told, 7, "and are told");
    after(3600);
    is_int(learned(tag + 1)->hours, 1, "in an hour it does");
    is_int(told, 8, "told");

    end();
}


static void
votes(void)
{
    int    i;
    float  before;

    begin("rate=10r/s burst=100 confidence=99%", 3000);
    after(1);
    before = rig.v.zone->pooled.depth[0].votes;

    for (i = 0; i < 50; i++) {
        feed(client(1000 + (uint64_t) i), 1000, 1000);
        atomic_store(&entry(1000 + (uint64_t) i)->parent, 77);
    }

    after(10);
    is_int(lroundf(rig.v.zone->pooled.depth[0].votes - before), 4,
           "fifty clients of one newcomer's key have four votes");
    is_int(learned(1049)->blocks, 1, "all learn of themselves");

    for (i = 0; i < 50; i++) {
        feed(client(2000 + (uint64_t) i), 1000, 1000);
        atomic_store(&entry(2000 + (uint64_t) i)->parent,
                     100 + (uint32_t) i % 10);
    }

    before = rig.v.zone->pooled.depth[0].votes;
    after(10);
    is_int(lroundf(rig.v.zone->pooled.depth[0].votes - before), 40,
           "of ten keys have forty");

    for (i = 0; i < 50; i++) {
        feed(client(3000 + (uint64_t) i), 1000, 1000);
    }

    before = rig.v.zone->pooled.depth[0].votes;
    after(10);
    is_int(lroundf(rig.v.zone->pooled.depth[0].votes - before), 50,
           "without a key each has one");

    for (i = 0; i < 50; i++) {
        feed(client(4000 + (uint64_t) i), 1000, 1000);
        atomic_store(&entry(4000 + (uint64_t) i)->parent, 77);
    }

    before = rig.v.zone->pooled.depth[0].votes;
    after(10);
    is_int(lroundf(rig.v.zone->pooled.depth[0].votes - before), 4,
           "anew in each bin");

    end();

    /* however many they are, who comes late is heard like who comes first */

    begin("rate=10r/s burst=100 confidence=99%", 60000);
    after(1);

    for (i = 0; i < 40000; i++) {
        feed(client(10000 + (uint64_t) i), 1000, 1000);
        atomic_store(&entry(10000 + (uint64_t) i)->parent,
                     (uint32_t) lab_random() | 1);
    }

    before = rig.v.zone->pooled.depth[0].votes;
    after(10);
    before = rig.v.zone->pooled.depth[0].votes - before;
    ok(before <= 40000 && before > 39900, "of 40,000 keys: %.0f votes",
       (double) before);

    end();
}


/*
 * A request a minute, and each time 30 that are answered 401 before it: their
 * backlog is not the next bin's, and so it is none of the habit.
 */

static float
guessed(unsigned guesses)
{
    unsigned      i, k;
    float         depth;
    prd_ask_t     ask;
    prd_answer_t  a;

    begin("rate=1r/s burst=50 warmup=1h", 100);
    after(1);

    for (i = 0; i < 12 * 3600; i++) {

        for (k = i % 60 == 59 ? guesses : i % 60 == 0; k; k--) {
            ask = lab_ask(&rig.policy, prd_tag(7), rig.now_ms);
            prd_decide(&rig.v, &rig.policy, &ask, &a);
            prd_note(&rig.v, &ask, &a, 0, (uint64_t) (rig.now_s * 1000));

            if (i % 60 == 59) {
                prd_unlearn(&rig.v, &rig.policy, &ask, &a);
            }
        }

        after(1);
    }

    depth = learned(7)->depth;
    end();

    return depth;
}


static void
guesses(void)
{
    float  with, without;

    without = guessed(0);
    with = guessed(30);

    ok(with < 1.1f * without, "guesses between requests: depth %.2f, without "
       "%.2f", (double) with, (double) without);
}


static int  fence_at;


static int
fence(void *data)
{
    (void) data;

    return fence_at-- == 0;
}


static void
fenced(void)
{
    int       i, k, stale, late;
    double    fed, got;
    uint32_t  pts, s;

    begin("rate=10r/s burst=100", 20000);
    after(1);
    rig.f.fenced = fence;
    fence_at = 0;
    fed = 0;
    stale = 0;

    for (i = 0; i < 2000; i++) {
        client((uint64_t) i + 1);
    }

    for (k = 0; k < 30; k++) {

        for (i = 0; i < 2000; i++) {

            /* what is there is not lost */

            s = prd_table_find(&rig.v.table, prd_tag((uint64_t) i + 1));

            if (atomic_load(&rig.v.table.entries[s].demand) == 0) {
                feed(s, 1000, 1000);
                fed++;
            }
        }

        fence_at = k % 3 == 0 ? 0 : k % 3 == 1 ? 1 : 1000000;
        pts = points();

        if (after(10) == PRD_ESTALE) {
            stale++;

            if (points() != pts) {
                ok(0, "a stopped round goes on");
            }
        }
    }

    fence_at = 1000000;
    after(10);

    for (i = 0, got = 0, late = 0; i < 2000; i++) {
        late += atomic_load(&entry((uint64_t) i + 1)->demand) != 0;
        got += learned((uint64_t) i + 1)->count;
        got += (double) (atomic_load(&entry((uint64_t) i + 1)->demand) >> 32)
               / 1000;
    }

    ok(stale >= 15, "%d rounds were stopped", stale);
    is_int(got, fed, "nothing was lost, nothing counted twice");
    is_int(late, 0, "the next round finds all of it");

    end();

    /* at the full hour */

    begin("rate=10r/s burst=100", 2000);
    after(1);

    for (i = 0; i < 500; i++) {
        feed(client((uint64_t) i + 1), 1000, 1000);
    }

    after(10);
    rig.f.fenced = fence;
    fence_at = 1;
    is_int(after(3600), PRD_ESTALE, "stopped at the full hour");
    fence_at = 1000000;
    is_int(after(1), PRD_OK, "the next one does it again");

    for (i = k = 0; i < 500; i++) {
        k += learned((uint64_t) i + 1)->hours != 1;
    }

    is_int(k, 0, "each hour counts once");

    end();
}


static void
surge(void)
{
    int           i, s, early, other;
    uint32_t      seen, most, a, b, c;
    double        t;

    begin("capacity=100r/s warmup=0 class=$c", 3000);
    a = prd_zone_class(&rig.v, prd_str("a"));
    b = prd_zone_class(&rig.v, prd_str("b"));
    c = prd_zone_class(&rig.v, prd_str("c"));
    early = other = 0;
    after(1);

    /* two hours of 4, 4 and 2 newcomers a second */

    for (s = 0; s < 7200; s++) {

        for (i = 0; i < 10; i++) {
            request(1000 + lab_below(2000), 0, i < 4 ? a : i < 8 ? b : c);
        }

        after(1);
        early += s > 600 && atomic_load(&rig.v.zone->surging);
    }

    is_int(early, 0, "no surge by what is a habit");

    /* 60 a second on one class */

    seen = most = 0;
    t = -1;

    for (s = 0; s < 120; s++) {

        for (i = 0; i < 70; i++) {
            request(100000 + lab_below(1000), 0, i < 60 ? c : a);
        }

        after(1);
        seen = atomic_load(&rig.v.zone->surge[c]);
        most = prd_max(most, seen);
        t = t < 0 && seen ? s : t;
        other += atomic_load(&rig.v.zone->surge[b]) != 0;
    }

    ok(t >= 0 && t < 40, "a flood on one class is a surge after %.0f s", t);
    is_int(other, 0, "on that class alone");
    is_int(atomic_load(&rig.v.zone->surging), 1, "it is told");
    ok(most > PRD_ONE_Q16 / 4, "rho up to %.2f", 1 + most / 65536.0);

    for (s = 0; s < 600 && atomic_load(&rig.v.zone->surging); s++) {

        for (i = 0; i < 10; i++) {
            request(1000 + lab_below(2000), 0, i < 4 ? a : i < 8 ? b : c);
        }

        after(1);
    }

    ok(s > 3 && s < 300, "it is over %d s after the flood", s);
    is_int(atomic_load(&rig.v.zone->surge[c]), 0, "and gone");
    end();

    /* the site itself never surges: a class that is most of the traffic */

    begin("capacity=10r/s warmup=0 class=$c", 3000);
    a = prd_zone_class(&rig.v, prd_str("a"));
    after(1);
    early = 0;

    for (s = 0; s < 1000; s++) {

        for (i = 0; i < (s < 500 ? 1 : 30); i++) {
            request(1000 + lab_below(2000), 0, a);
        }

        after(1);
        early += s > 2 && atomic_load(&rig.v.zone->surging);
    }

    is_int(early, 0, "a class that is all of the traffic does not surge");
    end();

    /* the proven weigh nothing, and without a capacity nothing surges */

    begin("rate=1000r/s warmup=0 class=$c", 3000);
    a = prd_zone_class(&rig.v, prd_str("a"));

    for (s = 0; s < 100; s++) {

        for (i = 0; i < 30; i++) {
            request(lab_below(2000) + 1, 0, a);
        }

        after(1);
    }

    is_int(atomic_load(&rig.v.zone->surging), 0, "no pool, no surge");
    end();
}


/* A clock that is put back must not keep a surge in force. */

static void
surge_back(void)
{
    int       i, s;
    uint32_t  a, b;

    begin("capacity=100r/s warmup=0 class=$c", 3000);
    a = prd_zone_class(&rig.v, prd_str("a"));
    b = prd_zone_class(&rig.v, prd_str("b"));
    after(1);

    for (s = 0; s < 1200; s++) {

        for (i = 0; i < (s < 1100 ? 5 : 90); i++) {
            request(1000 + lab_below(2000), 0, i < 4 ? b : a);
        }

        after(1);
    }

    is_int(atomic_load(&rig.v.zone->surging), 1, "a surge");
    jump(-7200);

    for (s = 0; s < 1200; s++) {

        for (i = 0; i < 5; i++) {
            request(1000 + lab_below(2000), 0, i < 4 ? b : a);
        }

        after(1);
    }

    is_int(atomic_load(&rig.v.zone->surging), 0,
           "over, 20 minutes later, though the clock was put back by 2 hours");
    end();
}


/*
 * An aged key that floods: it is known by its hours, but what it is trusted
 * with is what it did in them, whatever its depth becomes meanwhile.
 */

static void
aged(void)
{
    uint32_t  i, n, trust, known, depth;
    uint64_t  env;

    begin("capacity=1000r/s warmup=0", 100);
    after(1);

    for (i = 0; i < 10; i++) {
        request(42, 0, 0);
        after(10);
        after(3590);
    }

    env = atomic_load(&entry(42)->envelope);
    is_int(learned(42)->hours, 10, "ten hours");
    is_int(prd_env_trust(env), 35, "earned trust");
    depth = prd_env_decode(prd_env_depth_code(env));

    trust = known = 0;

    for (i = 0; i < 200; i++) {
        for (n = 0; n < 4; n++) {
            request(42, 0, 0);
        }

        after(1);

        if (i >= 100) {
            env = atomic_load(&entry(42)->envelope);
            trust = prd_max(trust, prd_env_trust(env));
            known += prd_env_known(env) != 0;
        }
    }

    is_int(trust, 1, "a flood has none of it");
    is_int(known, 100, "of a client that is known all the time");
    ok(prd_env_decode(prd_env_depth_code(env)) > depth,
       "though its depth has grown: %u to %u", depth,
       (unsigned) prd_env_decode(prd_env_depth_code(env)));

    /* nor does its limit count as a stranger's */

    ok(learned(42)->hours == 10 && atomic_load(&entry(42)->hours) == 10,
       "and its hours stay");

    after(3600);
    is_int(prd_env_trust(atomic_load(&entry(42)->envelope)), 37,
           "it comes back with the end of the hour");
    end();
}


static void
reuse(void)
{
    uint32_t  slot;
    uint64_t  env;

    begin("rate=10r/s burst=100 warmup=0", 100);
    after(1);

    slot = client(42);
    lab_learn(&rig.v, slot, 50, 500, 30);
    prd_forecaster_publish(&rig.v, &rig.policy, slot);
    env = atomic_load(&rig.v.table.entries[slot].envelope);
    ok(fabs((double) prd_env_decode(prd_env_rate_code(env)) / 50e9 - 1) < 1e-4
       && prd_env_decode(prd_env_depth_code(env)) >= 499900
       && prd_env_trust(env) == 50, "published");
    is_int(atomic_load(&rig.v.table.entries[slot].hours), 30, "its hours");

    /* the slot has a new client; the record is still the old one's */

    prd_table_remove(&rig.v.table, 42);
    atomic_store(&rig.v.table.tags[slot], PRD_TAG_FREE);

    while (client(lab_random()) != slot) {
        /* void */
    }

    env = atomic_load(&rig.v.table.entries[slot].envelope);
    prd_forecaster_publish(&rig.v, &rig.policy, slot);
    is_int(atomic_load(&rig.v.table.entries[slot].envelope), env,
           "nothing is published to a reused slot");
    is_int(atomic_load(&rig.v.table.entries[slot].hours), 0, "no hours");

    /* and when the new one is active, it begins anew */

    feed(slot, 1000, 1000);
    after(10);
    is_int(rig.v.learned[slot].blocks, 1, "its record is its own");
    is_int(rig.v.learned[slot].hours, 0, "fresh");
    ok(rig.v.learned[slot].generation == prd_env_generation(env),
       "of its generation");
    is_int(prd_env_generation(atomic_load(&rig.v.table.entries[slot]
                                          .envelope)),
           prd_env_generation(env), "which publishing leaves alone");

    /* a slot that is being claimed is let alone */

    atomic_store(&rig.v.table.tags[slot],
                 PRD_TAG_CLAIM << 48 | 5ull << 26 | 1);
    feed(slot, 1000, 1000);
    after(10);
    is_int(rig.v.learned[slot].blocks, 1, "claims are not clients");

    end();
}


static int
by_value(const void *a, const void *b)
{
    float  x = ((const prd_top_t *) a)->value;
    float  y = ((const prd_top_t *) b)->value;

    return x < y ? 1 : x > y ? -1 : 0;
}


static void
tops(void)
{
    enum { N = 700 };

    int        i, j, k, wrong;
    uint32_t   n, order[N];
    prd_top_t  top[PRD_TOP];

    begin("rate=10r/s burst=100", 2000);
    after(1);

    for (i = 0; i < 3; i++) {
        feed(client((uint64_t) i + 1), 1000 * (uint32_t) (i + 1), 1000);
    }

    after(10);
    prd_zone_top(&rig.v, PRD_TOP_RATE, top, &n);
    is_int(n, 3, "three clients");
    prd_zone_top(&rig.v, PRD_TOP_REJECTED, top, &n);
    is_int(n, 0, "of whom none was refused");

    for (k = 0; k < 5; k++) {

        for (i = 0; i < N; i++) {
            order[i] = (uint32_t) i + 1;
        }

        for (i = N - 1; i > 0; i--) {
            uint32_t  s, t;

            s = (uint32_t) lab_below((uint64_t) i + 1);
            t = order[i];
            order[i] = order[s];
            order[s] = t;
        }

        for (i = 0; i < N; i++) {
            feed(client(10000 + (uint64_t) i), 1000 * order[i], 1000);
            atomic_store(&entry(10000 + (uint64_t) i)->refused,
                         i % 7 ? N + 1 - order[i] : 0);
        }

        after(10);

        for (i = wrong = 0; i < PRD_TOPS; i++) {
            wrong += prd_zone_top(&rig.v, i, top, &n) != PRD_OK
                     || n != PRD_TOP;
            qsort(top, n, sizeof(prd_top_t), by_value);

            for (j = 0; j < (int) n; j++) {
                uint32_t  id = (uint32_t) (top[j].tag - 10000);

                if (i == PRD_TOP_RATE) {
                    wrong += top[j].value != top[j].rate
                             || order[id] != (uint32_t) (N - j)
                             || fabsf(top[j].rate - (float) (N - j) / 10)
                                > 1e-4;

                } else if (i == PRD_TOP_REJECTED) {
                    wrong += top[j].value != top[j].rejected
                             || id % 7 == 0
                             || top[j].value != N + 1 - order[id];
                    wrong += j && top[j].value == top[j - 1].value;
                }
            }

            /* nobody outside is ahead of the last one inside */

            for (j = k; j < N; j++) {
                float  v = i == PRD_TOP_RATE ? (float) order[j] / 10
                           : j % 7 ? (float) (N + 1 - order[j]) : 0;
                int    in, l;

                if (i == PRD_TOP_FORECAST || v <= top[n - 1].value) {
                    continue;
                }

                for (l = in = 0; l < (int) n; l++) {
                    in += top[l].tag == 10000 + (uint64_t) j;
                }

                wrong += in != 1;
            }
        }

        is_int(wrong, 0, "top lists, bin %d", k);
    }

    end();
}


static void
extremes(void)
{
    int       i, k;
    uint32_t  slot;

    /* a thousand million requests in a bin */

    begin("rate=1000r/s burst=3000000 capacity=100000000r/s", 100);
    is_int(rig.policy.unit, 1, "whole tokens");
    after(1);
    slot = client(42);
    feed(slot, 1000000000, 1000000000);
    prd_zone_add(&rig.v, PRD_CNT_COST_MILLI, 1000000000000ull);
    after(10);
    ok(rig.v.learned[slot].count == 1e9f, "1e9 requests in a bin");
    is_int(unsound(), 0, "are numbers");

    {
        uint32_t     n;
        prd_point_t  p[PRD_SERIES];

        prd_zone_series(&rig.v, p, &n, 0);
        ok(fabsf(p[n - 1].actual / 1e8f - 1) < 1e-5, "of the series, too: %g",
           p[n - 1].actual);
    }

    end();

    /* all counters at their ends; anything, for long */

    for (k = 0; k < 4; k++) {
        begin(k == 0 ? "rate=1r/s burst=10 charge=$x capacity=100r/s"
              : k == 1 ? "capacity=0.2r/s warmup=0 charge=$x"
              : k == 2 ? "rate=1r/d floor=none warmup=0 confidence=99.999%"
                       : "capacity=1000000000r/s warmup=0 horizon=10s", 100);
        after(1);

        for (i = 0; i < 100; i++) {
            client((uint64_t) i + 1);
        }

        for (i = 0; i < 4000; i++) {
            prd_entry_t  *e;

            slot = client(lab_below(100) + 1);
            e = &rig.v.table.entries[slot];
            feed(slot, lab_below(3) ? UINT32_MAX
                                    : (uint32_t) lab_magnitude(UINT32_MAX),
                 lab_below(3) ? UINT32_MAX : (uint32_t) lab_below(3));
            atomic_store(&e->counts, lab_below(2) ? UINT64_MAX
                                                  : lab_below(3) << 32);
            atomic_store(&e->refused, UINT32_MAX);
            atomic_store(&e->denied, lab_below(4) ? 0 : UINT32_MAX);
            atomic_store(&rig.v.worker->class_[0],
                         lab_below(9) ? lab_random() : UINT64_MAX);
            atomic_fetch_add(&rig.v.worker->count[PRD_CNT_COST_MILLI],
                             lab_below(3) ? 1u << 31 : 1ull << 50);
            atomic_store(&rig.v.zone->pool,
                         prd_word(rig.now_ms, (uint32_t) lab_random()));

            switch (lab_below(60)) {

            case 0:
                jump(-1e6 * lab_uniform());
                break;

            case 1:
                jump(3e6 * lab_uniform());
                break;

            case 2:
                after(1e-6);
                break;

            case 3:
                after(100000);
                break;

            default:
                after(10 * lab_uniform());
            }
        }

        is_int(unsound(), 0, "counters at their ends, clocks that jump: %d",
               k);
        end();
    }

    /* peaks without admissions, admissions without peaks */

    begin("rate=1r/s burst=10", 100);
    after(1);
    slot = client(42);
    feed(slot, 0, 5000);
    after(10);
    is_int(rig.v.learned[slot].blocks, 1, "refused demand is learned");
    ok(rig.v.learned[slot].count == 0, "nothing was admitted");
    feed(slot, 5000, 0);
    after(10);
    is_int(unsound(), 0, "a peak of 0");
    end();
}


static void
housekeeping(void)
{
    int       i, n;
    uint32_t  slot, s;

    /* warm-up */

    begin("rate=10r/s burst=100 warmup=1h", 4000);
    after(1);
    is_int(atomic_load(&rig.v.zone->warm), 0, "cold");
    after(3590);
    is_int(atomic_load(&rig.v.zone->warm), 0, "not yet");
    after(20);
    is_int(atomic_load(&rig.v.zone->warm), 1, "warm after an hour");
    ok(fabs((double) prd_env_decode(prd_env_depth_code(
                         atomic_load(&rig.v.zone->newcomer)))
            / (rig.v.zone->pooled.newcomer_b * 1000) - 1) < 1e-4,
       "newcomers' envelope is published");

    /* a bit that a killed worker never set */

    slot = client(42);
    atomic_store(&rig.v.table.entries[slot].demand,
                 (uint64_t) 1000 << 32 | 1000);

    for (i = 0; i < 365 && rig.v.learned[slot].blocks == 0; i++) {
        after(10);
    }

    is_int(rig.v.learned[slot].blocks, 1, "demand without its bit is found "
           "within an hour (%d s)", 10 * i);

    /* idle for 20 days */

    for (i = 0; i < 1000; i++) {
        client(1000 + (uint64_t) i);
    }

    for (i = 0; i < 19 * 24; i++) {
        after(3600);
    }

    for (s = 0, n = 0; s < prd_zone_slots(&rig.v); s++) {
        n += atomic_load(&rig.v.table.tags[s]) != PRD_TAG_FREE;
    }

    is_int(n, 1001, "all are there after 19 days");

    for (i = 0; i < 24 * 360; i++) {
        after(10);
    }

    for (i = 0; i < 361; i++) {
        after(11);
    }

    for (s = 0, n = 0; s < prd_zone_slots(&rig.v); s++) {
        n += atomic_load(&rig.v.table.tags[s]) != PRD_TAG_FREE;
    }

    is_int(n, 0, "all are forgotten after 20 days and an hour");
    is_int(atomic_load(&rig.v.zone->freed), 1001, "counted");
    end();
}


/* What stands still for 25 days must not look as if the clock were back. */

static void
idle(void)
{
    int            i;
    prd_entry_t   *e;

    begin("rate=1r/s burst=10 capacity=100r/s", 100);
    after(1);
    atomic_store(&rig.v.zone->pool, prd_word(rig.now_ms, -PRD_POOL_FULL));
    e = &rig.v.table.entries[prd_zone_slots(&rig.v)];
    atomic_store(&e->state, prd_word(rig.now_ms, 10000));
    atomic_store(&e->virtual_, prd_word(rig.now_ms, 10000));

    for (i = 0; i < 26 * 24; i++) {
        after(3600);
    }

    is_int(prd_pool_level(atomic_load(&rig.v.zone->pool), rig.now_ms),
           PRD_POOL_FULL, "a pool that nobody asked for 26 days is full");
    is_int(prd_level_after(prd_word_level(atomic_load(&e->state)),
                           PRD_RATE_ONE, PRD_ONE_Q16, 0,
                           prd_elapsed(prd_word_ms(atomic_load(&e->state)),
                                       rig.now_ms), 1000), 0,
           "so is the overflow bucket empty");
    end();
}


static void
charges(void)
{
    int           i;
    uint32_t      slot;
    double        mu;
    prd_ask_t     ask;
    prd_answer_t  a;

    begin("rate=1000r/s burst=1000 charge=$x", 100);
    after(1);
    slot = client(42);
    mu = rig.v.zone->pooled.mu;

    for (i = 0; i < 10; i++) {
        ask = lab_ask(&rig.policy, 42, rig.now_ms);
        ask.charged = 1;
        prd_decide(&rig.v, &rig.policy, &ask, &a);
        prd_settle(&rig.v, &rig.policy, &ask, &a, 8000);
    }

    after(10);
    is_int(atomic_load(&rig.v.table.entries[slot].hold), 8000,
           "holds its mean charge");
    is_int(atomic_load(&rig.v.zone->hold), 8000, "so do newcomers");
    ok(fabs(rig.v.zone->pooled.cost - 8) < 1e-6, "the mean cost");
    ok(rig.v.zone->pooled.mu > mu + 2.5, "priors move to it: %.2f to %.2f", mu,
       rig.v.zone->pooled.mu);
    is_int(atomic_load(&rig.v.table.entries[slot].counts), 0, "counts taken");

    ask = lab_ask(&rig.policy, 42, rig.now_ms);
    ask.charged = 1;
    prd_decide(&rig.v, &rig.policy, &ask, &a);
    prd_settle(&rig.v, &rig.policy, &ask, &a, 18000);
    after(10);
    is_int(atomic_load(&rig.v.table.entries[slot].hold), 10000,
           "moves by a fifth");
    end();

    /* 401 and 403 teach nothing */

    begin("rate=10r/s burst=100", 100);
    after(1);

    for (i = 0; i < 50; i++) {
        ask = lab_ask(&rig.policy, 42, rig.now_ms);
        ask.parent = prd_tag(77);
        prd_decide(&rig.v, &rig.policy, &ask, &a);
        prd_unlearn(&rig.v, &rig.policy, &ask, &a);
    }

    after(10);
    is_int(learned(42)->blocks, 0, "denied requests are no block");
    ok(learned(42)->count == 0, "no count");
    is_int(learned(77)->blocks, 0, "nor of the newcomer's key");
    end();
}


/* A clock that jumps over the full five minutes begins a long point anew. */

static void
long_points(void)
{
    uint32_t     i, n, wrong, want;
    prd_point_t  p[PRD_SERIES];

    begin("rate=10r/s burst=100", 100);

    for (i = 0; i < 40; i++) {
        after(i % 10 == 9 ? 435 : 10);
    }

    prd_zone_series(&rig.v, p, &n, 0);

    for (i = 1, want = 1; i < n; i++) {
        want += p[i].start_s / 300 != p[i - 1].start_s / 300;
    }

    prd_zone_series(&rig.v, p, &n, 1);

    for (i = 1, wrong = 0; i < n; i++) {
        wrong += p[i].start_s / 300 == p[i - 1].start_s / 300;
    }

    is_int(n, want, "a long point for each five minutes that there were");
    is_int(wrong, 0, "none of the same");
    end();
}


/*
 * Five nights with a batch of ten times the baseline for some minutes, by a
 * client that does little by day; `other` ones do their own.  Refusals teach
 * nobody less: each night it gets what limit_req would give it.
 */

static void
batches(const char *words, unsigned minutes, const char *name)
{
    int           ours, theirs;
    unsigned      night, bin, i, n, short_;
    int64_t       excess;
    lab_limit_t   plain;
    prd_answer_t  a;

    begin(words, 100);
    memset(&plain, 0, sizeof(lab_limit_t));
    plain.rate = 1000;
    plain.burst = (int64_t) rig.policy.params.burst * 1000;
    short_ = 0;
    after(0);

    for (night = 0; night < 5; night++) {
        ours = theirs = 0;

        for (bin = 0; bin < 8640; bin++) {

            if (bin < minutes * 6) {
                n = 100;

            } else {
                n = lab_below(45) == 0;
            }

            for (i = 0; i < n; i++) {
                rig.now_ms += 10000 / n;
                a = request(7, 0, 0);
                ours += a.verdict != PRD_REJECTED;
                theirs += lab_limit(&plain, rig.now_ms, &excess) != LAB_BUSY;
            }

            rig.now_ms -= n * (n ? 10000 / n : 0);

            for (i = 0; i < 8; i++) {
                if (lab_below(20 + 10 * i) == 0) {
                    (void) request(100 + i, 0, 0);
                }
            }

            after(10);
        }

        /* the drain of a millisecond is rounded differently */

        short_ += ours < theirs - 2;
        printf("# night %u: %d, limit_req %d\n", night, ours, theirs);
    }

    is_int(short_, 0, "%s: %u minutes, never less than limit_req", name,
           minutes);
    end();
}


/*
 * The baseline is a variable: what it was says nothing of the client, so no
 * client is held to it.  But refusals teach no less there either: who did its
 * work all through the hour, and now in bursts that are refused, keeps its
 * rate.
 */

static void
varied(void)
{
    unsigned       hour, bin, i, n, refused, lower;
    float          was;
    prd_ask_t      ask;
    prd_answer_t   a;

    begin("rate=$arg_rate borrow=off floor=none warmup=0", 100);
    after(0);

    was = 0;
    refused = lower = 0;

    for (hour = 0; hour < 72; hour++) {

        for (bin = 0; bin < 360; bin++) {
            n = hour < 36 ? bin % 6 == 0 : bin == 100 ? 300 : 0;

            for (i = 0; i < n; i++) {
                ask = lab_ask(&rig.policy, 7, rig.now_ms);
                ask.rate = PRD_RATE_ONE / 60;
                ask.burst = 1000;
                prd_decide(&rig.v, &rig.policy, &ask, &a);
                prd_note(&rig.v, &ask, &a, 0, (uint64_t) rig.now_s * 1000);
                refused += a.verdict == PRD_REJECTED;
            }

            after(10);
        }

        /* the hour before is closed with the first block */

        if (hour == 36) {
            was = learned(7)->mu_rate;
            n = refused;
        }

        lower += hour > 36 && learned(7)->mu_rate < was;
    }

    ok(was > 4 && refused > 1500,
       "%u refused of a habit of %.0f an hour", refused, exp2(was));
    is_int(lower, 0, "which never sinks");
    ok(!learned(7)->held, "held to nothing");
    end();
}


/* Who never wants more than its habit is worth no more than it. */

static void
light(void)
{
    unsigned       bin, i;
    prd_answer_t   a;

    begin("rate=1r/s burst=0 borrow=off floor=none", 100);
    after(0);

    for (bin = 0; bin < 3 * 8640; bin++) {
        if (lab_below(45) == 0) {
            (void) request(7, 0, 0);
        }

        after(10);
    }

    a = request(7, 0, 0);
    ok(!learned(7)->held && a.terms.learned && a.terms.rate < 100000000,
       "a light client's rate is its own: %.4f r/s",
       (double) a.terms.rate / 1e9);

    /* stolen: what it is offered then does not make it worth more */

    for (bin = 0; bin < 360; bin++) {
        for (i = 0; i < 100; i++) {
            a = request(7, 0, 0);
        }

        after(10);
    }

    ok(!learned(7)->held && a.terms.rate < 200000000,
       "also when it is stolen: %.4f r/s", (double) a.terms.rate / 1e9);

    end();
}


int
main(void)
{
    bins();
    jumps(7 * 60, "minutes");
    jumps(86400, "a day");
    jumps(365 * 86400.0, "a year");
    jumps(-5, "5 s back");
    jumps(-45, "45 s back");
    jumps(-3000, "50 minutes back");
    jumps(-2 * 86400.0, "two days back");
    jumps(-365 * 86400.0, "a year back");
    hours();
    phases();
    votes();
    guesses();
    fenced();
    surge();
    surge_back();
    aged();
    reuse();
    tops();
    extremes();
    housekeeping();
    idle();
    charges();
    long_points();

    batches("rate=1r/s borrow=off floor=none", 5, "strict");
    batches("rate=1r/s borrow=off floor=none", 30, "strict");
    batches("rate=1r/s burst=20 floor=none warmup=0", 60, "no warm-up");
    batches("rate=1r/s", 30, "floor");
    varied();
    light();

    return done_testing();
}
