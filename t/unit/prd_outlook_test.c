
/*
 * Records of clients that earn them, their groups, the record of misses, and
 * the curves of a zone.
 */


#include "lab.h"

#include "../../bench/population.h"
#include "prd_outlook.h"


#define SLOTS  1200                        /* 200 records */


static prd_outlook_view_t  v;
static prd_outlook_work_t  w;
static prd_word_t          tags[SLOTS];
static float               ahead;
static uint8_t             votes;          /* of count() */
static float               price = 1;
static uint32_t            horizon;


static void
begin(void)
{
    void    *mem;
    size_t   size;

    size = prd_outlook_size(SLOTS);
    mem = aligned_alloc(64, size);
    memset(mem, 0, size);
    memset(&w, 0, sizeof(prd_outlook_work_t));
    memset((void *) tags, 0, sizeof(tags));

    prd_outlook_init(mem, SLOTS);
    prd_outlook_attach(&v, mem, tags, SLOTS);
}


static void
end(void)
{
    free(v.outlook);
}


static uint32_t
count(uint32_t slot, uint32_t requests, uint64_t s, uint16_t hours)
{
    prd_outlook_bin_t  bin;

    memset(&bin, 0, sizeof(bin));
    bin.tag = 1000 + slot;
    bin.slot = slot;
    bin.generation = 7;
    bin.blocks = 5;
    bin.hours = hours;
    bin.vote = votes;
    bin.requests = requests;
    bin.tokens = (float) requests * price;
    bin.start_s = s;
    bin.horizon_s = horizon;

    atomic_store(&tags[slot], bin.tag);

    return prd_outlook_count(&v, &w, &bin, &ahead);
}


static int
everybody(void *data, uint32_t slot)
{
    (void) data;
    (void) slot;

    return 1;
}


static void
records(void)
{
    uint32_t           s, n;
    prd_tracked_t      c;
    prd_outlook_bin_t  bin;

    begin();

    is_int(v.clients, SLOTS / PRD_OUTLOOK_SHARE, "a record for six slots");

    memset(&bin, 0, sizeof(bin));
    bin.tag = 5;
    bin.slot = 3;
    bin.blocks = PRD_OUTLOOK_BLOCKS - 1;
    bin.requests = 9;
    bin.start_s = LAB_S;

    (void) prd_outlook_count(&v, &w, &bin, &ahead);
    is_int(prd_outlook_client(&v, 3, 0, &c), PRD_DECLINED,
           "a stranger has none");

    (void) count(3, 4, LAB_S, 0);
    is_int(prd_outlook_client(&v, 3, 7, &c), PRD_OK, "earned with blocks");
    ok(c.tag == 1003 && c.habit.count > 3.9 && c.group == PRD_GROUP_NONE,
       "it counts");
    is_int(prd_outlook_client(&v, 3, 8, &c), PRD_DECLINED,
           "another generation's is none of ours");
    is_int(prd_outlook_group(&v, 3, 7), PRD_GROUP_NONE, "no group yet");

    /* refused requests are differences */

    bin.tag = 1003;
    bin.generation = 7;
    bin.blocks = 6;
    bin.refused = 40;
    bin.start_s = LAB_S + 10;
    is_int(prd_outlook_count(&v, &w, &bin, &ahead), 40, "refused in the bin");
    bin.start_s = LAB_S + 20;
    bin.refused = 41;
    is_int(prd_outlook_count(&v, &w, &bin, &ahead), 1, "one more");

    /* a full table: nobody is driven out who was here just now */

    for (s = 0; s < SLOTS; s++) {
        (void) count(s, 1, LAB_S + 30, s < 150 ? 5 : 0);
    }

    for (s = n = 0; s < SLOTS; s++) {
        n += prd_outlook_client(&v, s, 7, &c) == PRD_OK;
    }

    is_int(n, v.clients, "each record is somebody's");

    /* after an hour strangers' are given away, known clients' are not */

    for (s = 300; s < 600; s++) {
        (void) count(s, 1, LAB_S + 3600, 0);
    }

    for (s = n = 0; s < 150; s++) {
        n += prd_outlook_client(&v, s, 7, &c) == PRD_OK;
    }

    is_int(n, 150, "known clients keep theirs");

    for (s = 300, n = 0; s < 600; s++) {
        n += prd_outlook_client(&v, s, 7, &c) == PRD_OK;
    }

    is_int(n, v.clients - 150, "strangers' were given away");

    for (s = 600; s < 1000; s++) {
        (void) count(s, 1, LAB_S + 100000, 0);
    }

    for (s = 600, n = 0; s < 1000; s++) {
        n += prd_outlook_client(&v, s, 7, &c) == PRD_OK;
    }

    is_int(n, v.clients, "after a day all are");

    /* a slot whose client was forgotten gives its record back */

    atomic_store(&tags[700], 0);

    for (s = 0; s <= PRD_OUTLOOK_PASS + 1; s++) {
        prd_outlook_close(&v, &w, 1, LAB_S + 100010 + 10 * s, 0, everybody,
                          NULL);
    }

    is_int(prd_outlook_client(&v, 700, 7, &c), PRD_DECLINED,
           "a forgotten client has none");

    end();
}


static void
misses(void)
{
    uint32_t     i;
    prd_miss_t   miss, got[PRD_OUTLOOK_MISSES + 10];

    begin();

    is_int(prd_outlook_misses(&v, got, 10), 0, "none");

    memset(&miss, 0, sizeof(miss));

    for (i = 1; i <= 1000; i++) {
        miss.tag = i;
        miss.actual = (float) i;
        prd_outlook_miss(&v, &miss);
    }

    is_int(prd_outlook_misses(&v, got, 3), 3, "as many as asked for");
    ok(got[0].tag == 1000 && got[2].tag == 998 && got[1].actual == 999,
       "the newest first");
    is_int(prd_outlook_misses(&v, got, PRD_OUTLOOK_MISSES + 10),
           PRD_OUTLOOK_MISSES, "a ring");
    is_int(got[PRD_OUTLOOK_MISSES - 1].tag, 1001 - PRD_OUTLOOK_MISSES,
           "the oldest of it");
    is_int(atomic_load(&v.outlook->missed), 1000, "all are counted");

    /* the thread may have been killed inside one */

    atomic_store(&v.outlook->miss_seq[(1000 - 1) % PRD_OUTLOOK_MISSES],
                 atomic_load(&v.outlook->miss_seq[999 % PRD_OUTLOOK_MISSES])
                 | 1);
    is_int(prd_outlook_misses(&v, got, 1), 1, "one that is half written");
    is_int(got[0].tag, 999, "is left out");

    end();
}


/* A zone of 60 requests a minute by day, none by night. */

static void
curves(void)
{
    double        y, day, night, upper = 0;
    unsigned      i;
    uint64_t      s;
    prd_miss_t    miss;
    prd_curve_t  *hour;

    begin();

    for (i = 0; i < 9 * 8640; i++) {
        s = POP_S + 10 * (uint64_t) i;
        y = i % 8640 < 4320 ? 0 : 8 + lab_below(5);
        prd_outlook_close(&v, &w, y, s + 10, 0, everybody, NULL);

        if (i % 3 == 0) {
            prd_outlook_step(&v, &w, s + 10, 0);
        }
    }

    hour = v.outlook->curve[2];
    night = hour[1].quantile[0] / 360;        /* the last hour is open */
    day = hour[5].quantile[2] / 360;

    for (i = 0; i < 4; i++) {
        ok(hour[0].quantile[i] >= 0 && hour[0].quantile[i] < 1e6
           && (i == 0 || hour[0].quantile[i] >= hour[0].quantile[i - 1]),
           "quantiles are in order");
    }

    ok(night < 1, "night is expected after midnight: %.2f", night);

    for (i = 0; i < 14 * 360; i++) {
        s = POP_S + 9 * 86400 + 10 * (uint64_t) i;
        y = i < 4320 ? 0 : 8 + lab_below(5);
        prd_outlook_close(&v, &w, y, s + 10, 0, everybody, NULL);
        prd_outlook_step(&v, &w, s + 10, 0);

        if (i == 4319 - 6) {
            upper = hour[0].quantile[2] / 360;
            day = hour[1].quantile[2] / 360;
        }
    }

    ok(day > 5 && day < 30, "an hour before, the day is: %.2f (%.2f)", day,
       upper);

    i = (unsigned) atomic_load(&v.outlook->missed);

    for (s = POP_S + 10 * 86400 - 36000; s < POP_S + 10 * 86400 - 35000;
         s += 10)
    {
        prd_outlook_close(&v, &w, 1000, s + 10, 0, everybody, NULL);
    }

    ok(atomic_load(&v.outlook->missed) > i, "an unforeseen minute is noted");
    is_int(prd_outlook_misses(&v, &miss, 1), 1, "in the ring");
    ok(miss.tag == 0 && miss.span_s >= 60 && miss.actual > miss.upper
       && miss.upper >= miss.middle, "with the numbers behind it");

    end();
}


/* Two kinds of clients become two groups, each client in its own. */

static void
groups(void)
{
    int            found;
    char           name[2][PRD_GROUP_NAME];
    unsigned       i, a, b, wrong, hour;
    uint64_t       s;
    prd_tracked_t  c;

    begin();

    for (i = 0; i < 5 * 8640; i++) {
        s = POP_S + 10 * (uint64_t) i;
        hour = i % 8640 / 360;

        for (a = 0; a < 120; a++) {

            /* office hours; and a load at 2 o'clock */

            if (a < 60 ? hour >= 8 && hour < 18 && lab_below(200) == 0
                       : hour == 2 && i % 8640 % 360 < 60)
            {
                (void) count(a, a < 60 ? 1 + lab_below(3) : 40, s, 5);
            }
        }

        prd_outlook_close(&v, &w, 1, s + 10, 1, everybody, NULL);
        prd_outlook_step(&v, &w, s + 10, 1);
    }

    a = prd_outlook_group(&v, 10, 7);
    b = prd_outlook_group(&v, 70, 7);
    ok(a != PRD_GROUP_NONE && b != PRD_GROUP_NONE && a != b, "two groups");

    for (i = wrong = 0; i < 120; i++) {
        wrong += prd_outlook_group(&v, i, 7) != (i < 60 ? a : b);
    }

    is_int(wrong, 0, "each client in its own");

    prd_group_name(&v.outlook->groups, a, name[0]);
    prd_group_name(&v.outlook->groups, b, name[1]);
    ok(strcmp(name[0], "diurnal") == 0 && strcmp(name[1], "batch") == 0,
       "%s, %s", name[0], name[1]);

    is_int(prd_outlook_client(&v, 70, 7, &c), PRD_OK, "a copy");
    is_int(c.group, b, "says the same");

    /* 60 that ask 40 times in each of 60 bins: 40/s */

    found = v.outlook->typical[b][2] > 30 && v.outlook->typical[b][2] < 50
            && v.outlook->typical[b][1] < 0.01
            && v.outlook->typical[b][14] < 0.1
            && v.outlook->typical[a][14] > 10 * v.outlook->typical[a][3];
    ok(found, "the typical day of each");

    end();
}


/* Bytes: what a request has, and a token. */

static void
bytes(void)
{
    unsigned        i, k;
    uint64_t        grown[PRD_SIZES], groups[PRD_GROUPS];
    prd_size_t      size;
    prd_outlook_t  *o;

    begin();
    o = v.outlook;

    is_int(prd_outlook_size_of(o, PRD_GROUP_NONE, &size), PRD_DECLINED,
           "bytes: nothing is known");
    ok(prd_outlook_bytes(o, 1) == 0, "... nor is of a token");

    /* a day of ten requests of 2000 bytes each 10 s; each costs 4 tokens */

    o->groups.group[1].id = 5;
    o->groups.group[2].id = 6;
    o->chain_id[1] = 5;
    o->chain_id[2] = 6;

    for (i = 0; i < 8640; i++) {
        memset(grown, 0, sizeof(grown));
        memset(groups, 0, sizeof(groups));
        grown[prd_size_class(2000)] = 10 * prd_size_word(2000);
        groups[1] = prd_size_word(3000);
        groups[7] = prd_size_word(3000);

        prd_outlook_sizes(&v, grown, groups, 4);
        prd_outlook_close(&v, &w, 40, LAB_S / 3600 * 3600 + i * 10 + 10, 0,
                          everybody, NULL);
    }

    is_int(prd_outlook_size_of(o, PRD_GROUP_NONE, &size), PRD_OK,
           "bytes: known");
    ok(fabs(size.mean - 2000) < 1 && size.upper >= 1536 && size.upper <= 3072,
       "bytes: %.1f of a request, %.0f at most", size.mean, size.upper);
    ok(fabs(prd_outlook_bytes(o, PRD_GROUP_NONE) - 500) < 1,
       "bytes: of a token");
    (void) prd_outlook_size_of(o, 1, &size);
    ok(size.mean > 2950 && size.mean < 3000, "bytes: a group's, %.1f",
       size.mean);
    ok(fabs(prd_outlook_bytes(o, 2) - 500) < 1,
       "bytes: a group of which none is seen");
    ok(o->group_n[7] == 0, "bytes: no group, nothing counted");

    for (k = 0, i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        k += o->bytes_covered[i] >= 0.9f && o->bytes_covered[i] <= 1
             && o->bytes_scored[i] > 20;
    }

    is_int(k, 3, "bytes: forecasts cover them (%.3f)", o->bytes_covered[0]);
    ok(o->bytes_upper[0] >= 6 * 20000 && o->bytes_upper[0] < 9 * 20000,
       "bytes: %.0f at most in the next minute", o->bytes_upper[0]);

    end();
}


/* Who forecasts after another one leaves what that one has counted. */

static void
takeover(void)
{
    float               seen;
    unsigned            i;
    prd_outlook_t      *o;
    prd_markov_ring_t  *ring;

    begin();

    o = v.outlook;
    o->groups.group[2].id = o->chain_id[2] = 9;
    ring = &o->ring[5];

    prd_outlook_step(&v, &w, LAB_S, 0);

    for (i = 0; i < 10; i++) {
        prd_markov_note(ring, 2, 1, 4);
    }

    prd_outlook_step(&v, &w, LAB_S + 1, 0);

    seen = o->chain[2].seen[4];
    is_int(seen, 10, "what workers noted is counted");

    memset(&w, 0, sizeof(prd_outlook_work_t));
    prd_outlook_step(&v, &w, LAB_S + 2, 0);

    is_int(o->chain[2].seen[4], seen, "by who takes over not again");

    prd_markov_note(ring, 2, 1, 4);
    prd_outlook_step(&v, &w, LAB_S + 3, 0);

    is_int(o->chain[2].seen[4], seen + 1, "what is noted then, once");

    /* who had stopped and goes on; others have forecast meanwhile */

    for (i = 0; i < 10; i++) {
        prd_markov_note(ring, 2, 1, 4);
    }

    prd_outlook_rest(&w);
    prd_outlook_step(&v, &w, LAB_S + 4, 0);

    is_int(o->chain[2].seen[4], seen + 1, "nor by who comes back");

    /* another zone's memory, where rings begin anew */

    atomic_store(&ring->head, 0);
    o->loads++;
    prd_outlook_step(&v, &w, LAB_S + 5, 0);

    is_int(o->chain[2].seen[4], seen + 1, "nothing of rings that are new");

    prd_outlook_close(&v, &w, 1, LAB_S + 10, 0, everybody, NULL);
    prd_markov_note(ring, 2, 1, 4);
    prd_outlook_step(&v, &w, LAB_S + 11, 0);

    is_int(o->chain[2].seen[4], seen + 2, "until something is noted there");

    end();
}


/* A clock that steps back makes nobody look idle. */

static void
clock_back(void)
{
    uint32_t       s, n;
    prd_tracked_t  c;

    begin();

    for (s = 0; s < v.clients; s++) {
        (void) count(s, 1, LAB_S, 5);
    }

    for (s = 300; s < 600; s++) {
        (void) count(s, 1, LAB_S - 7200, 5);
    }

    for (s = n = 0; s < v.clients; s++) {
        n += prd_outlook_client(&v, s, 7, &c) == PRD_OK;
    }

    is_int(n, v.clients, "newcomers before their time drive nobody out");

    /* nor do those who have a record take another one's track */

    for (n = 0; n <= PRD_OUTLOOK_ACTIVE; n++) {
        for (s = 0; s < v.clients; s++) {
            (void) count(s, 1, LAB_S + 10 * n, 5);
        }
    }

    for (s = v.tracks; s < v.clients; s++) {
        (void) count(s, 1, LAB_S - 7200, 5);
    }

    for (s = n = 0; s < v.tracks; s++) {
        n += prd_outlook_client(&v, s, 7, &c) == PRD_OK && c.track != 0;
    }

    is_int(n, v.tracks, "nor take their tracks");

    end();
}


static void
tell(void *data, uint32_t slot, uint16_t generation, float forecast)
{
    uint32_t  *told = data;

    (void) generation;
    (void) forecast;

    told[slot]++;
}


/* Those of whom a track says that it is theirs, and who say so too. */

static uint32_t
pairs(void)
{
    uint32_t  i, n, owner;

    for (i = n = 0; i < v.tracks; i++) {
        owner = v.track[i].owner;
        n += owner && v.client[owner - 1].track == i + 1;
    }

    return n;
}


/* A thread was killed between the two stores that give a track to somebody. */

static void
orphans(void)
{
    uint32_t       i, s, h, mine, theirs, told[SLOTS];
    prd_track_t    track;
    prd_tracked_t  c;

    begin();

    /* each track is somebody's, who is known and here every hour */

    for (h = 0; h < 60; h++) {
        for (s = 0; s < v.tracks; s++) {
            (void) count(s, 20, LAB_S + 3600 * h, 5);
        }
    }

    is_int(pairs(), v.tracks, "all tracks are taken");

    /* its owner does not name it any more */

    v.client[7].track = 0;
    is_int(v.track[7].owner, 8, "a track without an owner");

    for (i = 0; i < v.tracks; i++) {
        (void) count(7, 20, LAB_S + 3600 * h, 5);
    }

    is_int(pairs(), v.tracks, "it is earned again");
    ok(v.client[7].track == 8, "by whoever came first");

    /* the same, and its owner had another one already */

    mine = v.client[3].track;
    theirs = v.client[4].track;
    is_int(prd_outlook_client(&v, 4, 7, &c), PRD_OK, "somebody");
    is_int(prd_outlook_copy_track(&v, &c, &track), PRD_OK, "has a track");
    v.client[4].track = 0;
    is_int(prd_outlook_copy_track(&v, &c, &track), PRD_DECLINED,
           "which is not to be read when it is given away");
    v.track[theirs - 1].owner = v.track[mine - 1].owner;

    memset(told, 0, sizeof(told));

    for (i = 0; i < v.tracks; i++) {
        prd_outlook_look_ahead(&v, LAB_S + 3600 * (h + 1), 300, everybody,
                               tell, told);
    }

    ok(told[2] == 1 && told[5] == 1, "a pass tells of each track once");
    is_int(told[3], 1, "not of one that only names its owner");
    is_int(told[4], 0, "nor of who lost it");

    for (i = 0; i < v.tracks; i++) {
        (void) count(4, 20, LAB_S + 3600 * (h + 1), 5);
    }

    is_int(pairs(), v.tracks, "and is earned by the next one");

    /* a record names a track that is another's by now */

    mine = v.client[10].track;
    v.client[11].track = mine;

    is_int(prd_outlook_client(&v, 11, 7, &c), PRD_OK, "it says that it has");
    is_int(prd_outlook_copy_track(&v, &c, &track), PRD_DECLINED,
           "but it has none");

    (void) count(10, 20, LAB_S + 3600 * (h + 2), 5);
    (void) count(11, 5000, LAB_S + 3600 * (h + 2), 5);
    is_int(v.track[mine - 1].sum[2], 20, "and adds nothing to it");
    ok(v.client[11].track != mine, "nor goes on to name it");

    v.client[12].track = mine;
    atomic_store(&tags[12], 0);

    for (s = 0; s <= PRD_OUTLOOK_PASS + 1; s++) {
        prd_outlook_close(&v, &w, 1, LAB_S + 3600 * (h + 2) + 10 * s, 0,
                          everybody, NULL);
    }

    is_int(prd_outlook_client(&v, 12, 7, &c), PRD_DECLINED, "it is forgotten");
    is_int(v.track[mine - 1].owner, 11, "the track stays with its owner");

    end();
}


/* The network, switched on, off and on again: forecasts stay what they are. */

static int
forecasts(uint32_t slots, unsigned *extras)
{
    float                q[PRD_QUANTILES];
    uint32_t             s;
    unsigned             h, k;
    prd_tracked_t        c;
    prd_track_extra_t    extra;
    prd_outlook_track_t  t;

    *extras = 0;

    for (s = 0; s < slots; s++) {

        if (prd_outlook_client(&v, s, 7, &c) != PRD_OK
            || prd_outlook_copy_bins(&v, &c, &t) != PRD_OK)
        {
            return 0;
        }

        k = prd_outlook_extra(&v, &c, t.track.bins[PRD_OUTLOOK_NETWORK].bin,
                              &extra);
        *extras += k;

        for (h = 0; h < PRD_TRACK_HORIZONS; h++) {
            if (prd_track_forecast(&t.track, &v.outlook->tracks,
                                   PRD_OUTLOOK_NETWORK, h, k ? &extra : NULL,
                                   k, q)
                != PRD_OK
                || !(q[0] >= 0 && q[3] >= q[0] && isfinite(q[3])))
            {
                return 0;
            }
        }
    }

    return 1;
}


static void
network(void)
{
    int       fine;
    uint64_t  s, from;
    unsigned  slot, extras;

    begin();
    votes = 1;
    from = LAB_S / 3600 * 3600;

    for (s = from; s < from + 6 * 86400; s += 10) {

        /* on for four days, off for one, on again: as reloads have it */

        w.network = (s - from) / 86400 != 4;

        for (slot = 0; slot < 40; slot++) {
            if ((s / 10 + slot * 7) % (3 + slot) == 0) {
                (void) count(slot, 1 + (uint32_t) (s / 10) % 3, s, 9);
            }
        }

        prd_outlook_close(&v, &w, 40, s + 10, 0, everybody, NULL);

        if (s == from + 4 * 86400 - 10) {
            fine = forecasts(40, &extras);
            ok(fine && extras > 30, "network: knows %u of 40", extras);
            ok(v.outlook->network.trained > 500
               && v.outlook->network.trained <= 4 * 24 * PRD_OUTLOOK_TRAIN,
               "... and was trained on %u windows, within its cap",
               (unsigned) v.outlook->network.trained);
            is_int(prd_gru_check(&v.outlook->network, sizeof(prd_gru_t)),
                   PRD_OK, "... and is sound");
        }

        if (s == from + 5 * 86400 - 10) {
            ok(forecasts(40, &extras) && extras == 0, "network: off");
        }
    }

    fine = forecasts(40, &extras);
    ok(fine && extras > 30, "network: on again, %u", extras);

    /* a thread that was killed in it */

    v.outlook->network.w[5] = NAN;
    w.trains = 0;
    prd_outlook_close(&v, &w, 40, s + 10, 0, everybody, NULL);
    is_int(prd_gru_check(&v.outlook->network, sizeof(prd_gru_t)), PRD_OK,
           "network: begins anew where it is not sound");
    ok(forecasts(40, &extras), "... and harms nothing");

    /* another zone's memory */

    memset(&v.outlook->network, 0, sizeof(prd_gru_t));
    v.outlook->loads++;
    prd_outlook_close(&v, &w, 40, s + 20, 0, everybody, NULL);
    is_int(prd_gru_check(&v.outlook->network, sizeof(prd_gru_t)), PRD_OK,
           "network: begins anew where there is none");

    votes = 0;
    end();
}


/*
 * Longer bins that are over are closed in portions: what is expected of a
 * client is the same at any time, whether its turn was first, last or never.
 */

static int
nobody(void *data, uint32_t slot)
{
    (void) data;
    (void) slot;

    return 0;
}


static void
portions(void)
{
    int                   run, early, open, copied;
    float                 expected[1080];
    uint32_t              i, s, n, known, other;
    uint64_t              at, from;
    prd_tracked_t         c;
    prd_outlook_track_t   t;

    from = LAB_S / 3600 * 3600;
    early = open = copied = 0;
    known = other = 0;

    for (run = 0; run < 2; run++) {
        begin();

        for (i = 0; i < 1080; i++) {
            at = from + 10 * i;

            /* not all are active in each bin */

            for (s = 0; s < 40; s++) {
                if (s == 39 || (i / 7 + s) % 5) {
                    (void) count(s, 5 + (i + s) * 7 % 31, at, 5);
                }
            }

            n = v.outlook->tracks_used;

            if (run) {
                known += expected[i] > 0;
                other += ahead != expected[i];
                continue;
            }

            expected[i] = ahead;

            /* the third bin of a minute is the last one of its portions */

            if (i > 360 && i % 6 == 0) {
                (void) prd_outlook_client(&v, 39, 7, &c);
                t = v.track[c.track - 1];
                open += t.late_bin[0] == at / 60 && t.bin[0] == at / 60 - 1;

                copied += prd_outlook_copy_bins(&v, &c, &t) == PRD_OK
                          && t.bin[0] == at / 60 && t.sum[0] > 0
                          && t.late_bin[0] == 0
                          && t.track.bins[0].bin == at / 60 - 1;
            }

            prd_outlook_close_tracks(&v, &w, at + 10, 0, nobody, NULL);

            early += i > 360 && i % 6 == 5 && w.late_at[0] > n / 3 + 1;
        }

        is_int(n, 40, "all have tracks");
        end();
    }

    is_int(early, 0, "a third of the tracks in each portion");
    is_int(open, 119, "who is last has its minute open for some time");
    is_int(copied, 119, "which is closed in a copy");
    ok(known > 1000, "something was expected in %u bins", known);
    is_int(other, 0, "the same whenever it was closed");
}


/*
 * Nor does it matter, to who comes every hour, when the pass that looks ahead
 * for the idle comes by.
 */

static void
nothing(void *data, uint32_t slot, uint16_t generation, float expected)
{
    (void) data;
    (void) slot;
    (void) generation;
    (void) expected;
}


static void
any_turn(uint32_t horizon_s)
{
    int           run, known, other;
    float        *expected;
    uint32_t      i, s, minute;
    uint64_t      at;

    expected = malloc(3600 * 40 * sizeof(float));
    known = other = 0;
    horizon = horizon_s;

    for (run = 0; run < 2; run++) {
        begin();

        for (i = 0; i < 3600; i++) {
            at = LAB_S / 86400 * 86400 + 10 * i;
            minute = i % 360;

            if (i == 500 && run) {
                v.outlook->tracks_at += 17;
                v.outlook->tracks_at %= v.outlook->tracks_used;
            }

            for (s = 0; s < 40; s++) {

                if (i > 2 && (minute < 2 + s % 3 || minute >= 350 + s % 5
                              || (i / 7 + s) % 3 == 0))
                {
                    continue;
                }

                ahead = 0;
                (void) count(s, 5 + (i + s) * 7 % 31, at, 50);

                if (run == 0) {
                    expected[i * 40 + s] = ahead;

                } else {
                    known += ahead > 0;
                    other += ahead != expected[i * 40 + s];
                }
            }

            prd_outlook_close_tracks(&v, &w, at + 10, horizon_s, nobody,
                                     NULL);
            prd_outlook_look_ahead(&v, at + 10, horizon_s, nobody, nothing,
                                   NULL);
        }

        end();
    }

    ok(known > 1000 && other == 0,
       "horizon %u: %d forecasts, %d depend on whose turn it was", horizon_s,
       known, other);

    horizon = 0;
    free(expected);
}


/* What requests cost may be less than a token, and much more. */

static void
prices(void)
{
    float                q[PRD_QUANTILES];
    uint32_t             i, s, k, wrong;
    prd_tracked_t        c;
    prd_outlook_track_t  t;

    static const float   cost[] = { 0.01f, 0.3f, 1000 };

    horizon = 300;
    votes = 1;

    for (k = 0; k < sizeof(cost) / sizeof(cost[0]); k++) {
        begin();
        price = cost[k];
        w.priced = 1;

        /* 6 a minute in the mean */

        for (i = 0; i < 3600; i++) {
            for (s = 0; s < 20; s++) {
                if (lab_below(3) == 0) {
                    (void) count(s, 1 + (uint32_t) lab_below(5),
                                 LAB_S / 3600 * 3600 + 10 * i, 50);
                }
            }

            prd_outlook_close(&v, &w, 20, LAB_S / 3600 * 3600 + 10 * i + 10,
                              0, everybody, NULL);
            prd_outlook_close_tracks(&v, &w,
                                     LAB_S / 3600 * 3600 + 10 * i + 10,
                                     horizon, everybody, NULL);
        }

        for (s = wrong = 0; s < 20; s++) {
            (void) prd_outlook_client(&v, s, 7, &c);

            if (prd_outlook_copy_bins(&v, &c, &t) != PRD_OK
                || prd_track_forecast(&t.track, &v.outlook->tracks, 0, 0,
                                      NULL, 0, q)
                   != PRD_OK)
            {
                wrong++;
                continue;
            }

            for (i = 0; i < PRD_QUANTILES; i++) {
                q[i] /= price;
            }

            wrong += !(q[0] > 3 && q[0] < 9 && q[2] > 8 && q[3] < 40);
        }

        is_int(wrong, 0, "a request costs %g: minutes are forecast, 50 %% %.2f"
               " 95 %% %.2f requests", (double) price, (double) q[0],
               (double) q[2]);
        end();
    }

    price = 1;
    horizon = 0;
    votes = 0;
}


/*
 * A job at two o'clock sharp finds its rate waiting, also when it has begun;
 * and in the morning nobody is taken for the job for longer than it takes to
 * close a bin.
 */

static void
waiting(void)
{
    float          least, most, first, stale;
    float          p[PRD_QUANTILES], q[PRD_QUANTILES];
    uint32_t       i, s, second, shown, gone;
    uint64_t       at;
    prd_track_t    was, now;
    prd_tracked_t  c;

    begin();
    horizon = 300;
    votes = 1;
    at = 0;
    least = first = INFINITY;
    most = stale = 0;

    for (i = 0; i < 9 * 8640; i++) {
        at = LAB_S / 86400 * 86400 + 10 * (uint64_t) i;
        second = i % 8640 * 10;

        for (s = 0; s < 24; s++) {

            if (second >= 7200 && second < 8400) {
                ahead = -1;
                (void) count(s, 50, at, 50);

                if (i >= 8 * 8640 && second == 7200) {
                    first = fminf(first, ahead);
                }

            } else if (second >= 32400 && second < 61200
                       && (second + s * 10) % 300 == 0)
            {
                (void) count(s, 2, at, 50);

                if (i >= 8 * 8640 && second >= 32400 + 700) {
                    stale = fmaxf(stale, ahead);
                }
            }
        }

        prd_outlook_close(&v, &w, 1, at + 10, 0, everybody, NULL);
        prd_outlook_close_tracks(&v, &w, at + 10, horizon, everybody, NULL);
        prd_outlook_look_ahead(&v, at + 10, horizon, everybody, nothing,
                               NULL);

        if (i == 8 * 8640 + 719) {
            for (s = 0; s < 24; s++) {
                (void) prd_outlook_client(&v, s, 7, &c);
                least = fminf(least, c.ahead);
            }
        }

        if (i == 8 * 8640 + 300) {
            for (s = 0; s < 24; s++) {
                (void) prd_outlook_client(&v, s, 7, &c);
                most = fmaxf(most, c.ahead);
            }
        }
    }

    /* 6000 in its hour are 1.67/s */

    ok(least > 1, "ten seconds before: %.2f/s", least);
    ok(first > 1, "and when it has begun: %.2f/s", first);
    ok(most < 0.5f, "an hour before that: %.2f/s at most", most);
    ok(stale < 0.5f, "later in the morning it is over: %.2f/s", stale);

    /* for show: minutes after the last request are empty; hours after it
     * nobody knows how many will come when some come */

    for (s = shown = gone = 0; s < 24; s++) {
        (void) prd_outlook_client(&v, s, 7, &c);

        shown += prd_outlook_copy_track(&v, &c, &was) == PRD_OK
                 && prd_outlook_copy_now(&v, &c, LAB_S / 86400 * 86400
                                         + 8 * 86400 + 61200 + 2700, &now)
                    == PRD_OK
                 && was.bins[1].bin < now.bins[1].bin
                 && prd_track_forecast(&was, &v.outlook->tracks, 1, 0, NULL, 0,
                                       p) == PRD_OK
                 && prd_track_forecast(&now, &v.outlook->tracks, 1, 0, NULL, 0,
                                       q) == PRD_OK
                 && p[2] >= 2 && q[2] <= 1;

        gone += prd_outlook_copy_now(&v, &c, at + 10, &now) == PRD_OK
                && prd_track_forecast(&now, &v.outlook->tracks, 0, 0, NULL, 0,
                                      q) == PRD_DECLINED
                && prd_track_forecast(&now, &v.outlook->tracks, 2, 0, NULL, 0,
                                      q) == PRD_OK;
    }

    is_int(shown, 24, "five minutes after half an hour: nothing, not %.1f",
           p[2]);
    is_int(gone, 24, "after hours none, but those of hours");

    horizon = 0;
    votes = 0;
    end();
}


static int
lost(void *data)
{
    return ++*(unsigned *) data == 1;
}


/* The thread is asked on its way, and stops where it was told to. */

static void
fenced(void)
{
    uint32_t  i, s, at;
    unsigned  asked;

    begin();

    for (i = 0; i < 24; i++) {
        for (s = 0; s < 200; s++) {
            (void) count(s, 5, LAB_S / 60 * 60 + 10 * i, 5);
        }
    }

    is_int(v.outlook->tracks_used, 50, "as many have tracks as may");

    asked = 0;
    w.fenced = lost;
    w.fenced_data = &asked;
    at = (uint32_t) (LAB_S / 60 * 60 + 240 + 10);

    prd_outlook_close_tracks(&v, &w, at, 0, nobody, NULL);
    is_int(asked, 1, "the thread is asked");
    is_int(w.late_at[0], 1, "it has lost its lease: no further track");

    prd_outlook_close_tracks(&v, &w, at, 0, nobody, NULL);
    ok(asked > 1, "it is asked again");
    is_int(w.late_at[0], 18, "and closes a third from there on");

    end();
}


int
main(void)
{
    records();
    takeover();
    clock_back();
    orphans();
    misses();
    curves();
    groups();
    bytes();
    network();
    portions();
    any_turn(60);
    any_turn(300);
    any_turn(3600);
    prices();
    waiting();
    fenced();

    return done_testing();
}
