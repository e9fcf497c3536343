
/*
 * Groups of a population whose kinds are known, with parameters that they
 * were and were not developed on: adjusted Rand index, names, restarts, a
 * week more, outliers, a flood of votes; habits and bad input.
 */


#include "../../bench/population.h"
#include "prd_group.h"
#include "tap.h"


#define CLIENTS  1800
#define HOUR     3600


typedef struct {
    pop_client_t      client[CLIENTS];
    uint8_t           kind[CLIENTS];
    uint8_t           place[CLIENTS];
    prd_groups_t      groups;
    prd_group_work_t  work;
    uint64_t          now_s;
    uint32_t          day;
    uint32_t          outliers;
} crowd_t;

static crowd_t  crowd;


static const char  *kinds[] = {
    "power", "batch", "light", "bursty", "diurnal", "intermittent"
};


static unsigned
steps(prd_groups_t *g, prd_group_work_t *w, uint64_t now_s)
{
    unsigned  n;

    for (n = 1; prd_group_step(g, w, now_s, 0) == PRD_EAGAIN; n++) {
        /* void */
    }

    return n;
}


static void
pass(crowd_t *c, uint64_t now_s)
{
    int       vote, outlier;
    float     x[PRD_HABIT_FEATURES];
    unsigned  i;

    prd_group_begin(&c->work);
    c->outliers = 0;

    for (i = 0; i < CLIENTS; i++) {
        c->place[i] = 15;

        if (prd_habit_features(&c->client[i].habit, now_s, 0,
                               PRD_GROUP_ASSIGN, x)
            != PRD_OK)
        {
            continue;
        }

        vote = c->client[i].habit.bins >= PRD_GROUP_VOTES
               && prd_habit_age_s(&c->client[i].habit, now_s)
                  >= PRD_GROUP_VOTE_S;

        c->place[i] = (uint8_t) prd_group_learn(&c->groups, &c->work, x, vote,
                                                &outlier) & 15;
        c->outliers += (uint32_t) outlier && vote;
    }

    prd_group_end(&c->groups, &c->work, now_s, 0);
    (void) steps(&c->groups, &c->work, now_s);
}


static void
live(crowd_t *c, const pop_terms_t *t, uint32_t days)
{
    unsigned  i, k;

    for ( /* void */ ; days > 0; days--) {

        for (i = 0; i < CLIENTS; i++) {
            pop_day(&c->client[i], t, c->day);
        }

        c->day++;
        c->now_s = POP_S + (uint64_t) c->day * POP_DAY_S;

        for (k = 8; k > 0; k--) {
            pass(c, c->now_s - (k - 1) * HOUR);
        }
    }
}


static double
population(crowd_t *c, unsigned set, unsigned n, uint64_t seed)
{
    unsigned  i;

    memset(c, 0, sizeof(crowd_t));

    for (i = 0; i < CLIENTS; i++) {
        c->kind[i] = (uint8_t) (i % n);
        pop_init(&c->client[i], (pop_kind_e) c->kind[i], &pop_terms[set],
                 seed * 7919 + i);
    }

    live(c, &pop_terms[set], 7);

    return pop_ari(c->kind, c->place, CLIENTS);
}


/* The place of most clients of a kind, whose name is to be the kind's. */

static unsigned
home(const crowd_t *c, unsigned kind)
{
    unsigned  i, best, n[16];

    memset(n, 0, sizeof(n));

    for (i = 0; i < CLIENTS; i++) {
        n[c->place[i]] += c->kind[i] == kind;
    }

    for (best = 0, i = 1; i < PRD_GROUPS; i++) {
        best = n[i] > n[best] ? i : best;
    }

    return best;
}


static void
names(const crowd_t *c, unsigned n, const char *what)
{
    char      name[PRD_GROUP_NAME];
    unsigned  k;

    for (k = 0; k < n; k++) {
        prd_group_name(&c->groups, home(c, k), name);
        ok(strncmp(name, kinds[k], strlen(kinds[k])) == 0,
           "%s: %s are called %s", what, kinds[k], name);
    }
}


static void
restart(crowd_t *c)
{
    int           bad, same, outlier, was_outlier;
    char          was[6][PRD_GROUP_NAME], name[PRD_GROUP_NAME];
    float         x[PRD_HABIT_FEATURES];
    size_t        len;
    uint8_t       p[PRD_GROUP_PACKED], h[PRD_HABIT_PACKED];
    uint8_t       place[CLIENTS];
    unsigned      i, homes[5], kept;
    uint32_t      ids[5];
    prd_habit_t   habit;
    prd_groups_t  g;

    len = sizeof(p);
    is_int(prd_group_pack(&c->groups, p, &len), PRD_OK, "groups are packed");
    memset(&g, 0xff, sizeof(g));
    is_int(prd_group_unpack(&g, p, len), PRD_OK, "and unpacked");

    bad = 0;

    for (i = 0; i < CLIENTS; i++) {
        prd_habit_pack(&c->client[i].habit, h);
        memset(&habit, 0, sizeof(habit));
        bad += prd_habit_unpack(&habit, h) != PRD_OK
               || memcmp(&habit, &c->client[i].habit, sizeof(habit)) != 0;
        c->client[i].habit = habit;

        if (prd_habit_features(&habit, c->now_s, 0, 1, x) == PRD_OK) {
            bad += prd_group_find(&g, x, &outlier)
                   != prd_group_find(&c->groups, x, &was_outlier)
                   || outlier != was_outlier;
        }
    }

    is_int(bad, 0, "each client is what and where it was");

    for (i = 0; i < 5; i++) {
        homes[i] = home(c, i);
        ids[i] = g.group[homes[i]].id;
        prd_group_name(&g, homes[i], was[i]);
        prd_group_name(&c->groups, homes[i], name);
        is_str(name, strlen(name), was[i], "the name of %s stays", was[i]);
    }

    /* a week more, with the memory of passes lost */

    c->groups = g;
    memset(&c->work, 0, sizeof(c->work));
    memcpy(place, c->place, sizeof(place));

    live(c, &pop_terms[0], 7);

    same = 0;

    for (i = 0; i < 5; i++) {
        prd_group_name(&c->groups, homes[i], name);
        same += strcmp(name, was[i]) == 0
                && c->groups.group[homes[i]].id == ids[i]
                && home(c, i) == homes[i];
    }

    is_int(same, 5, "a week later places, numbers and names are the same");

    for (kept = 0, i = 0; i < CLIENTS; i++) {
        kept += c->place[i] == place[i];
    }

    ok(kept >= CLIENTS * 96 / 100, "%u of %u clients are where they were",
       kept, CLIENTS);
    ok(pop_ari(c->kind, c->place, CLIENTS) >= 0.9, "ARI %.3f",
       pop_ari(c->kind, c->place, CLIENTS));

    /* every byte that is cut or a number that is none */

    for (bad = 0, i = 0; i < len; i++) {
        bad += prd_group_unpack(&g, p, i) == PRD_OK;
    }

    is_int(bad, 0, "a pack cut anywhere is refused");

    memcpy(&p[48], "\xff\xff\xff\x7f", 4);
    is_int(prd_group_unpack(&g, p, len), PRD_ECORRUPT, "NaN is refused");
    p[0]++;
    is_int(prd_group_unpack(&g, p, len), PRD_EVERSION, "another version is");
    len = 100;
    is_int(prd_group_pack(&g, p, &len), PRD_ENOMEM, "too little room");

    memset(h, 0xff, sizeof(h));
    is_int(prd_habit_unpack(&habit, h), PRD_ECORRUPT, "habits: NaN");
}


static void
outliers(crowd_t *c)
{
    int              outlier;
    float            x[PRD_HABIT_FEATURES];
    uint32_t         bin, k;
    uint64_t         at_s;
    prd_habit_t      h;
    prd_habit_bin_t  b;

    ok(c->outliers <= CLIENTS / 50, "%u of %u clients are outliers",
       c->outliers, CLIENTS);

    /* steady, but refused always; 500 times what others ask; gigabytes */

    for (k = 0; k < 4; k++) {

        memset(&h, 0, sizeof(h));

        for (bin = 0; bin < 7 * POP_BINS; bin += 3) {
            at_s = c->now_s - 7 * POP_DAY_S + (uint64_t) bin * PRD_BIN_S;
            b.count = k == 2 ? 1500 : 3;
            b.errors = k == 1 ? 3 : 0;
            b.cost = k == 3 ? 3e9f : (float) b.count * 2000;
            prd_habit_count(&h, &b, at_s, 0);
        }

        is_int(prd_habit_features(&h, c->now_s, 0, 3, x), PRD_OK, "known");
        is_int(prd_group_find(&c->groups, x, &outlier), home(c, POP_POWER),
               "it is nearest to power");
        is_int(outlier, k > 0, "planted %u: %s", k,
               k ? "an outlier" : "an ordinary one");
    }
}


/* Votes of as many fresh keys as one likes, for a day. */

static void
flood(crowd_t *c)
{
    int           outlier;
    float         x[PRD_HABIT_FEATURES], by, d;
    unsigned      i, k, f, place;
    prd_groups_t  was;

    was = c->groups;
    place = home(c, POP_LIGHT);

    for (k = 1; k <= 24; k++) {
        prd_group_begin(&c->work);

        for (i = 0; i < 20000; i++) {

            for (f = 0; f < PRD_HABIT_FEATURES; f++) {
                x[f] = c->groups.group[place].center[f];
            }

            x[PRD_HABIT_BUSY] += 0.45f / c->groups.inv[PRD_HABIT_BUSY];
            (void) prd_group_learn(&c->groups, &c->work, x, 1, &outlier);
        }

        prd_group_end(&c->groups, &c->work, c->now_s + k * HOUR, 0);
    }

    by = 0;

    for (f = 0; f < PRD_HABIT_FEATURES; f++) {
        d = (c->groups.group[place].center[f] - was.group[place].center[f])
            * was.inv[f];
        by += d * d;
    }

    ok(sqrtf(by) > 0.3f && sqrtf(by) < PRD_GROUP_DRIFT * 1.02f,
       "480,000 votes move a centroid by %.3f in a day", sqrtf(by));

    was = c->groups;
    prd_group_begin(&c->work);
    (void) prd_group_learn(&c->groups, &c->work, x, 1, &outlier);
    prd_group_end(&c->groups, &c->work, c->now_s - 10 * POP_DAY_S, 0);
    ok(memcmp(was.group[place].center, c->groups.group[place].center,
              sizeof(was.group[place].center)) == 0,
       "a clock that steps back moves nothing");
}


static void
few(void)
{
    int               outlier, bad;
    char              name[PRD_GROUP_NAME];
    float             x[PRD_HABIT_FEATURES];
    unsigned          i, k, n, round;
    prd_groups_t     *g = &crowd.groups;
    prd_group_work_t *w = &crowd.work;

    static const unsigned  sizes[] = { 0, 1, 31, 32, 33, 1000, 3000 };

    for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {

        memset(g, 0, sizeof(prd_groups_t));
        memset(w, 0, sizeof(prd_group_work_t));
        memset(x, 0, sizeof(x));
        bad = 0;

        for (round = 0; round < 5; round++) {
            prd_group_begin(w);

            for (i = 0; i < sizes[k]; i++) {
                (void) prd_group_learn(g, w, x, 1, &outlier);
                bad += outlier;
            }

            prd_group_end(g, w, POP_S + round * HOUR, 0);
            (void) steps(g, w, POP_S + round * HOUR);
        }

        for (n = 0, i = 0; i < PRD_GROUPS; i++) {
            n += g->group[i].id != 0;
        }

        is_int(n, sizes[k] >= PRD_GROUP_SAMPLE_0, "%u all alike: %u group",
               sizes[k], n);
        is_int(bad, 0, "none of them an outlier");
    }

    prd_group_name(g, 0, name);
    is_str(name, strlen(name), "light", "what hardly asks is light");
    prd_group_name(g, PRD_GROUP_NONE, name);
    is_str(name, strlen(name), "", "no group, no name");

    for (k = 0; k < 3; k++) {
        x[3] = k == 0 ? NAN : k == 1 ? INFINITY : -1e30f;
        is_int(prd_group_find(g, x, &outlier), PRD_GROUP_NONE,
               "what is no number is nobody's");
        (void) prd_group_learn(g, w, x, 1, &outlier);
    }

    is_int(w->n, 0, "and no sample");
}


/* A kind that comes and goes after the groups have settled. */

static void
newcomers(void)
{
    int               outlier;
    char              name[PRD_GROUP_NAME], first[PRD_GROUP_NAME];
    float             x[PRD_HABIT_FEATURES];
    unsigned          i, f, k, n, came, gone, kinds_n;
    uint32_t          id;
    uint64_t          random;
    prd_groups_t     *g = &crowd.groups;
    prd_group_work_t *w = &crowd.work;

    memset(g, 0, sizeof(prd_groups_t));
    memset(w, 0, sizeof(prd_group_work_t));
    random = 5;
    came = gone = 0;
    id = 0;
    first[0] = '\0';

    for (k = 0; k < 200; k++) {

        /* light alone for four days, bursty as well, light alone */

        kinds_n = k >= 100 && k < 130 ? 2 : 1;
        prd_group_begin(w);

        for (i = 0; i < 400; i++) {

            for (f = 0; f < PRD_HABIT_FEATURES; f++) {
                x[f] = 0.05f * (float) pop_normal(&random);
            }

            if (i % kinds_n) {
                x[PRD_HABIT_BUSY] += 2.5f;
                x[PRD_HABIT_RATE] += 3;
            }

            (void) prd_group_learn(g, w, x, 1, &outlier);
        }

        prd_group_end(g, w, POP_S + k * HOUR, 0);
        (void) steps(g, w, POP_S + k * HOUR);

        for (n = 0, i = 0; i < PRD_GROUPS; i++) {
            n += g->group[i].id != 0;
        }

        if (k == 99) {
            is_int(n, 1, "one kind, one group");
            prd_group_name(g, 0, first);
            id = g->group[0].id;
        }

        if (k == 128) {
            is_int(n, 2, "another kind, another group");
            prd_group_name(g, 1, name);
            is_str(name, strlen(name), "bursty", "with a name of its own");
        }

        came = k >= 100 && n == 2 && !came ? k : came;
        gone = k >= 130 && n == 1 && !gone ? k : gone;
    }

    is_int(came, 99 + PRD_GROUP_PROVEN, "it took three results");
    is_int(gone, 129 + PRD_GROUP_MISSED, "and a day without it to end it");

    prd_group_name(g, 0, name);
    is_str(name, strlen(name), first, "the first one's name is as before");
    is_int(g->group[0].id, id, "and its number");
}


/* A pass of 400 clients whose last half is of another kind. */

static void
half(unsigned from, unsigned to)
{
    int       outlier;
    float     x[PRD_HABIT_FEATURES];
    unsigned  i;

    for (i = from; i < to; i++) {
        memset(x, 0, sizeof(x));
        x[PRD_HABIT_BUSY] = (i < 200 ? 0 : 2.5f) + 0.01f * (float) (i % 7);
        x[PRD_HABIT_RATE] = i < 200 ? 0 : 3;
        (void) prd_group_learn(&crowd.groups, &crowd.work, x, 1, &outlier);
    }
}


/*
 * The caller steps whenever it has time, also in the midst of a pass: its
 * sample is of all clients all the same, not of those that came first.
 */

static void
portions(void)
{
    unsigned          i, n, early;
    prd_groups_t     *g = &crowd.groups;
    prd_group_work_t *w = &crowd.work;

    memset(g, 0, sizeof(prd_groups_t));
    memset(w, 0, sizeof(prd_group_work_t));

    prd_group_begin(w);

    for (i = early = 0; i < 400; i++) {
        half(i, i + 1);
        early += prd_group_step(g, w, POP_S, 0) != PRD_DECLINED;
    }

    is_int(early, 0, "half a pass is no sample");
    prd_group_end(g, w, POP_S, 0);
    is_int(w->n, 400, "a pass is");

    /* the next one begins and ends meanwhile, and one is under way then */

    is_int(prd_group_step(g, w, POP_S, 0), PRD_EAGAIN, "steps");
    prd_group_begin(w);
    half(0, 400);
    prd_group_end(g, w, POP_S, 0);
    is_int(w->n, 400, "they keep their sample");
    prd_group_begin(w);
    half(0, 200);

    for (n = 0; prd_group_step(g, w, POP_S, 0) == PRD_EAGAIN; n++) {
        /* void */
    }

    is_int(g->next_id, 2, "two kinds, two groups");
    is_int(g->group[0].members * 1000 + g->group[1].members, 200200,
           "members, before a pass has counted them");

    half(200, 400);
    prd_group_end(g, w, POP_S + HOUR, 0);
    is_int(g->group[0].members * 1000 + g->group[1].members, 200200,
           "half a pass does not count them");
    is_int(prd_group_step(g, w, POP_S + HOUR, 0), PRD_DECLINED,
           "what is left of a pass is no sample");

    prd_group_begin(w);
    half(0, 400);
    prd_group_end(g, w, POP_S + HOUR, 0);
    is_int(prd_group_step(g, w, POP_S + HOUR, 0), PRD_EAGAIN,
           "the next one is");
    is_int(steps(g, w, POP_S + HOUR) > 1 ? g->next_id : 0, 2,
           "and it has the same two");
    is_int(g->group[0].members * 1000 + g->group[1].members, 200200,
           "as large");
}


static int
sane(const prd_habit_t *h, uint64_t now_s)
{
    int       good;
    float     x[PRD_HABIT_FEATURES];
    unsigned  f;

    memset(x, 0, sizeof(x));
    good = prd_habit_features(h, now_s, 0, 0, x) == PRD_OK;

    for (f = 0; f < PRD_HABIT_FEATURES; f++) {
        good = good && fabsf(x[f]) <= 100;
    }

    return good;
}


static void
habits(void)
{
    float            x[PRD_HABIT_FEATURES];
    uint32_t         day, k;
    uint64_t         s;
    prd_habit_t      h;
    prd_habit_bin_t  b;

    memset(&h, 0, sizeof(h));
    is_int(prd_habit_features(&h, POP_S, 0, 0, x), PRD_DECLINED, "nobody");
    is_int(prd_habit_age_s(&h, POP_S), 0, "is of no age");

    b.count = 0;
    b.errors = 9;
    b.cost = 9;
    prd_habit_count(&h, &b, POP_S, 0);
    is_int(h.first, 0, "no requests are no visit");

    /* 30 requests on two working days of ten, from 23:00 to 23:05 in UTC+2 */

    for (day = 0; day < 28; day++) {
        for (k = 0; k < 30; k++) {
            b.count = 2;
            b.errors = 1;
            b.cost = 2048;
            prd_habit_count(&h, &b, POP_S + day * POP_DAY_S + 21 * HOUR
                            + k * 10, 2 * HOUR);
        }
    }

    s = POP_S + 28 * POP_DAY_S;
    is_int(prd_habit_features(&h, s, 2 * HOUR, 3, x), PRD_OK, "a month");
    ok(fabsf(x[PRD_HABIT_RATE] - log10f(60)) < 0.05f, "rate: 60 a day");
    ok(fabsf(x[PRD_HABIT_BUSY] - log10f(60)) < 0.05f, "in one hour");
    ok(fabsf(x[PRD_HABIT_BURST] - log10f(2)) < 0.01f, "two a bin");
    ok(fabsf(x[PRD_HABIT_ACTIVE] - sqrtf(1 / 24.0f)) < 0.02f, "1 of 24 h");
    ok(x[PRD_HABIT_REGULAR] > 0.6f, "every day: regular");
    ok(x[PRD_HABIT_FOCUS] > 0.95f, "always then: focus");
    ok(x[PRD_HABIT_NIGHT] > 0.85f, "at night, local time");
    ok(fabsf(x[PRD_HABIT_WEEKEND] - 1) < 0.1f, "weekends as well");
    ok(fabsf(x[PRD_HABIT_SIZE] - 10) < 0.01f, "1024 each");
    ok(fabsf(x[PRD_HABIT_ERRORS] - 0.5f) < 0.01f, "half of them errors");
    is_int(prd_group_kind(x), PRD_GROUP_KIND_BATCH, "a batch");
    is_int(prd_habit_features(&h, s, 0, 1e6f, x), PRD_DECLINED,
           "fewer bins than asked for");

    /* the same seen from UTC-10 is noon */

    memset(&h, 0, sizeof(h));
    prd_habit_count(&h, &b, POP_S + 21 * HOUR, -10 * HOUR);
    prd_habit_count(&h, &b, POP_S + 45 * HOUR, -10 * HOUR);
    (void) prd_habit_features(&h, s, -10 * HOUR, 0, x);
    ok(x[PRD_HABIT_NIGHT] < 0.3f, "at day, local time");

    /* clocks */

    for (k = 0; k < 5; k++) {

        static const int64_t  jumps[] = {
            -POP_DAY_S / 2, -2 * POP_DAY_S, -400ll * POP_DAY_S,
            POP_DAY_S, 400ll * POP_DAY_S
        };

        memset(&h, 0, sizeof(h));

        for (day = 0; day < 10; day++) {
            s = POP_S + day * POP_DAY_S + (day >= 5 ? (uint64_t) jumps[k] : 0);
            prd_habit_count(&h, &b, s, 0);
            prd_habit_count(&h, &b, s + 4 * HOUR, 0);
        }

        ok(sane(&h, s + 4 * HOUR) && sane(&h, 0) && sane(&h, UINT32_MAX)
           && prd_habit_age_s(&h, s + 4 * HOUR) <= 12 * POP_DAY_S
           && h.count > 4, "a jump of %d days: %.0f requests, %u h known",
           (int) (jumps[k] / POP_DAY_S), h.count,
           (unsigned) (prd_habit_age_s(&h, s) / HOUR));
    }

    /* counters at their end */

    memset(&h, 0, sizeof(h));
    b.count = b.errors = UINT32_MAX;

    for (k = 0; k < 100000; k++) {
        b.cost = k & 1 ? INFINITY : NAN;
        prd_habit_count(&h, &b, (uint64_t) k * 20, INT32_MIN);
    }

    ok(sane(&h, k * 20), "the greatest counts, and costs that are none");
    ok(h.night <= 65535 * 0.4 && h.night >= 65535 * 0.25,
       "all day: a third of it is night (%.3f)", h.night / 65535.0);
}


int
main(void)
{
    double  ari;

    habits();

    ari = population(&crowd, 1, 5, 11);
    ok(ari >= 0.9, "five kinds, other parameters: ARI %.3f", ari);
    names(&crowd, 5, "others");

    ari = population(&crowd, 0, 6, 12);
    ok(ari >= 0.85, "six kinds: ARI %.3f", ari);
    names(&crowd, 6, "six");

    ari = population(&crowd, 0, 5, 13);
    ok(ari >= 0.9, "five kinds: ARI %.3f", ari);
    names(&crowd, 5, "five");

    outliers(&crowd);
    restart(&crowd);
    flood(&crowd);

    newcomers();
    portions();
    few();

    return done_testing();
}
