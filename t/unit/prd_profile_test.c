
/*
 * Files of learned state: what is written comes back, what is damaged is
 * refused, what is absurd is clamped.
 */


#include <math.h>
#include <stdlib.h>

#include "prd_decide.h"
#include "prd_forecaster.h"
#include "prd_profile.h"
#include "tap.h"
#include "text.h"


#define NOW_S   1700000123ull           /* 203 s into its horizon of 300 s */
#define NOW_MS  50000000u

#define ZONE    (256 * 1024)

/* where things are in a file of one zone "one" of key "$key" */
#define HEAD    40
#define BODY    (HEAD + 2 + 3 + 2 + 4 + 16)
#define POOLED  (BODY + 16)
#define SCORES  ((PRD_CELLS + 1) * 4 + 8)
#define PRIORS  (POOLED + 3 * PRD_AGES * SCORES)
#define CLASSES (PRIORS + (11 + 3 * PRD_AGES + 11) * 8)
#define OPEN    (16 * PRD_OUTLOOK_SPANS + 8 + 8 * PRD_GROUPS                   \
                 + 8 * PRD_SIZES + 8 * PRD_GROUPS + 8 + 16 * PRD_OUTLOOK_SPANS)


typedef struct {
    uint8_t   *p;
    size_t     len;
    size_t     at;
    size_t     most;                    /* bytes that may be written */
    unsigned   alive;                   /* writes of nothing */
} file_t;


static prd_secret_t  secret = { 0x0123456789abcdef, 0xfedcba9876543210 };
static prd_policy_t  policy;


static prd_rc_t
write_file(void *data, const void *p, size_t len)
{
    file_t  *f = data;

    f->alive += len == 0;

    if (f->len + len > f->most) {
        return PRD_EIO;
    }

    f->p = realloc(f->p, f->len + len + 1);
    memcpy(f->p + f->len, p, len);
    f->len += len;

    return PRD_OK;
}


static prd_rc_t
read_file(void *data, void *p, size_t len)
{
    file_t  *f = data;

    if (len > f->len - f->at) {
        return PRD_ECORRUPT;
    }

    memcpy(p, f->p + f->at, len);
    f->at += len;

    return PRD_OK;
}


static int
alive(uint32_t pid)
{
    return pid == 1;
}


static prd_view_t
zone(size_t size)
{
    void        *mem;
    prd_view_t   view;

    mem = aligned_alloc(64, size);
    memset(mem, 0, size);

    if (prd_zone_init(mem, size, policy.unit, &secret, &policy, NOW_S, NOW_MS)
        != PRD_OK
        || prd_zone_attach(&view, mem, size, &policy, 0, 1, alive) != PRD_OK)
    {
        printf("Bail out! no zone\n");
        exit(1);
    }

    return view;
}


static void
end(prd_view_t *view)
{
    free(view->zone);
}


static size_t
zone_size(size_t bytes)
{
    return (prd_zone_size(bytes) + 63) / 64 * 64;
}


/* A client with `hours`, whose last request was idle_ms ago. */

static uint32_t
client(prd_view_t *view, uint64_t tag, unsigned hours, uint32_t level,
    uint32_t idle_ms)
{
    unsigned        evicted;
    uint32_t        slot;
    prd_entry_t    *e;
    prd_learned_t  *l;

    tag = prd_tag(tag);

    if (prd_table_insert(&view->table, tag, NOW_MS, &slot, &evicted)
        != PRD_OK)
    {
        return PRD_NO_SLOT;
    }

    e = &view->table.entries[slot];
    l = &view->learned[slot];

    atomic_store(&e->state, prd_word(NOW_MS - idle_ms, level));
    atomic_store(&e->virtual_, prd_word(NOW_MS - idle_ms / 2, level * 2));
    atomic_store(&e->refused, 7);
    atomic_store(&e->hold, 1500);
    atomic_store(&e->parent, 0xabcdef);

    prd_learned_init(l, &view->zone->pooled,
                     (uint16_t) prd_env_generation(atomic_load(&e->envelope)),
                     (double) NOW_S);

    l->mu = 3.25f;
    l->sigma = 0.5f;
    l->mu_rate = 6.5f;
    l->sigma_rate = 0.75f;
    l->depth = 20 + (float) hours;
    l->rate = 1.5f;
    l->cap_depth = 40;
    l->cap_rate = 3;
    l->depth_at = (uint32_t) NOW_S - 40;
    l->rate_at = (uint32_t) NOW_S - 400;
    l->count = 33;
    l->level = 0.25f;
    l->near = 12;
    l->near_bin = (uint16_t) ((NOW_S - 5) / 300);
    l->epoch = (uint16_t) (NOW_S / 3600);
    l->blocks = (uint16_t) (hours * 4 + 1);
    l->hours = (uint16_t) hours;
    l->counted = 1;
    l->held = 1;
    l->proven = 21;

    prd_forecaster_publish(view, &policy, slot);

    return slot;
}


static prd_profile_t
profile(file_t *file)
{
    prd_profile_t  f;

    memset(&f, 0, sizeof(prd_profile_t));
    f.write = write_file;
    f.read = read_file;
    f.data = file;
    file->at = 0;

    return f;
}


static prd_rc_t
save(file_t *file, prd_view_t *view, unsigned zones)
{
    unsigned            i;
    prd_rc_t            rc;
    prd_profile_t       f;
    prd_profile_head_t  head;
    static const char  *names[] = { "one", "two", "three" };

    memset(file, 0, sizeof(file_t));
    file->most = SIZE_MAX / 2;
    f = profile(file);

    memset(&head, 0, sizeof(head));
    head.zones = zones;
    head.written_s = NOW_S;
    head.started_ms = 1234567;
    head.pid = 42;

    rc = prd_profile_write_head(&f, &head);

    for (i = 0; i < zones && rc == PRD_OK; i++) {
        rc = prd_profile_write_zone(&f, str(names[i]), str("$key"), view,
                                    &policy, NOW_S, NOW_MS);
    }

    return rc == PRD_OK ? prd_profile_write_end(&f) : rc;
}


/* Reads it all without taking anything. */

static prd_rc_t
verify(file_t *file)
{
    char                name[PRD_PROFILE_NAME], key[PRD_PROFILE_KEY];
    size_t              name_len, key_len;
    uint32_t            i;
    prd_rc_t            rc;
    prd_secret_t        s;
    prd_profile_t       f;
    prd_profile_head_t  head;

    f = profile(file);
    rc = prd_profile_read_head(&f, &head);

    if (rc != PRD_OK) {
        return rc;
    }

    for (i = 0; i < head.zones; i++) {
        rc = prd_profile_read_name(&f, name, &name_len, key, &key_len, &s);

        if (rc == PRD_OK) {
            rc = prd_profile_skip_zone(&f);
        }

        if (rc != PRD_OK) {
            return rc;
        }
    }

    return prd_profile_read_end(&f);
}


/* Loads the first zone. */

static prd_rc_t
load(file_t *file, prd_view_t *view, uint64_t now_s, uint64_t *kept)
{
    char                name[PRD_PROFILE_NAME], key[PRD_PROFILE_KEY];
    size_t              name_len, key_len;
    prd_rc_t            rc;
    prd_secret_t        s;
    prd_profile_t       f;
    prd_profile_head_t  head;

    f = profile(file);
    rc = prd_profile_read_head(&f, &head);

    if (rc == PRD_OK) {
        rc = prd_profile_read_name(&f, name, &name_len, key, &key_len, &s);
    }

    return rc == PRD_OK ? prd_profile_read_zone(&f, view, &policy, now_s,
                                                NOW_MS, kept)
                        : rc;
}


static void
same(prd_view_t *a, prd_view_t *b, uint64_t tag, const char *what)
{
    uint32_t       s, t;
    prd_entry_t   *e, *d;
    prd_learned_t  l, m;

    tag = prd_tag(tag);
    s = prd_table_find(&a->table, tag);
    t = prd_table_find(&b->table, tag);

    if (!ok(s != PRD_NO_SLOT && t != PRD_NO_SLOT, "%s: there", what)) {
        return;
    }

    e = &a->table.entries[s];
    d = &b->table.entries[t];
    l = a->learned[s];
    m = b->learned[t];

    is_int(m.generation, prd_env_generation(d->envelope),
           "%s: the slot's generation", what);

    m.generation = l.generation;
    ok(memcmp(&l, &m, sizeof(l)) == 0, "%s: record", what);

    is_int(e->envelope & 0xffffffffffff, d->envelope & 0xffffffffffff,
           "%s: envelope", what);
    is_int(e->state, d->state, "%s: bucket", what);
    is_int(e->virtual_, d->virtual_, "%s: demand", what);
    is_int(e->hours, d->hours, "%s: hours", what);
    is_int(e->hold, d->hold, "%s: hold", what);
    is_int(e->parent, d->parent, "%s: parent", what);
    is_int(e->refused, d->refused, "%s: refused", what);
    is_int(d->spare, 0, "%s: spare", what);
}


/* Bytes that words take in a file. */

static size_t
words(const void *p, size_t len)
{
    size_t       i, n, left, size;
    const char  *w = p;

    static const char  none[4];

    size = 4;

    for (left = len / 4; left; left -= n) {
        n = prd_min(left, 512);
        size += (n + 7) / 8;

        for (i = 0; i < n; i++, w += 4) {
            size += memcmp(w, none, 4) ? 4 : 0;
        }
    }

    return size;
}


static void
round_trip(void)
{
    char                name[PRD_PROFILE_NAME], key[PRD_PROFILE_KEY];
    size_t              name_len, key_len;
    file_t              file;
    uint32_t            n, claims, class_;
    uint64_t            kept;
    prd_view_t          a, b;
    uint8_t             pack[PRD_GROUP_PACKED];
    size_t              len;
    uint32_t            slot;
    prd_secret_t        s;
    prd_tracked_t       tracked;
    prd_profile_t       f;
    prd_profile_head_t  head;
    prd_outlook_bin_t   bin;

    float               ahead;

    static prd_outlook_work_t  work;

    a = zone(zone_size(ZONE));
    b = zone(zone_size(ZONE));

    client(&a, 1000, 0, 500, 10);
    client(&a, 2000, 3, 12345, 2000);
    client(&a, 3000, 200, 0, 86400000);
    client(&a, 4000, UINT16_MAX / 4, 4000000000u, 19 * 86400000u);

    /* a newcomer in its first block, and a record of a former client */
    a.learned[client(&a, 5000, 0, 1, 1)].blocks = 0;
    a.learned[client(&a, 6000, 9, 1, 1)].generation++;

    class_ = prd_zone_class(&a, str("/api"));
    a.zone->surge_slow[class_] = 7.5;
    a.zone->surge_slow[0] = 2.5;
    a.zone->surge_all = 11;
    a.zone->level = 99;
    a.zone->ratio = 1.25;
    a.zone->last = 98;
    a.zone->learn_since_s = NOW_S - 5000;
    a.zone->pooled.mu = 4.5;
    a.zone->pooled.depth[2].cell[77] = 12;
    a.zone->pooled.depth[2].z = 3.5;
    a.zone->pooled.depth[2].at_s = NOW_S - 100;
    a.zone->pooled.closed[3] = 400;
    a.zone->pooled.missed[3] = 4;
    a.zone->pooled.anchor_s = NOW_S - 3;
    a.zone->pooled.newcomer_b = 17;

    /* habits of one of them, and a curve of the zone */

    slot = prd_table_find(&a.table, 3000);
    memset(&bin, 0, sizeof(bin));
    bin.tag = 3000;
    bin.slot = slot;
    bin.generation = (uint16_t) prd_env_generation(
                         atomic_load(&a.table.entries[slot].envelope));
    bin.blocks = 9;
    bin.requests = 33;
    bin.start_s = NOW_S - 7200;
    (void) prd_outlook_count(&a.outlook, &work, &bin, &ahead);

    for (n = 0; n < 60; n++) {
        (void) prd_aggregate_add(&a.outlook.outlook->zone[1],
                                 NOW_S / 300 - 60 + n, 5 + n % 3);
    }

    is_int(save(&file, &a, 1), PRD_OK, "written");
    is_int(verify(&file), PRD_OK, "it is sound");

    len = sizeof(pack);
    (void) prd_group_pack(&a.outlook.outlook->groups, pack, &len);
    is_int(file.len, CLASSES + 4 + 2 * 16 + 4 + 4 * 104 + 4
                     + 8 + 4 + len + 4 * PRD_GROUPS
                     + 4 * (PRD_OUTLOOK_SPANS + PRD_GROUPS)
                     + sizeof(prd_aggregate_t) + OPEN
                     + 8 + 2 * (12 + PRD_CLASS_NAME) + 12 * PRD_CLASS_CURVES
                     + 4 + PRD_OUTLOOK_PACKED + 4
                     + words(&a.outlook.outlook->tracks, sizeof(prd_tracks_t))
                     + 8 + 8, "size");
    ok(memcmp(file.p, "PRDSTATE\4\0\0\0\1\0\0\0", 16) == 0, "header");

    f = profile(&file);
    is_int(prd_profile_read_head(&f, &head), PRD_OK, "head");
    is_int(head.version, PRD_PROFILE_VERSION, "version");
    is_int(head.zones, 1, "zones");
    is_int(head.written_s, NOW_S, "written");
    is_int(head.started_ms, 1234567, "started");
    is_int(head.pid, 42, "pid");
    is_int(prd_profile_read_name(&f, name, &name_len, key, &key_len, &s),
           PRD_OK, "name");
    is_str(name, name_len, "one", "name");
    is_str(key, key_len, "$key", "key");
    ok(s.k0 == secret.k0 && s.k1 == secret.k1, "secret");
    is_int(prd_profile_read_zone(&f, &b, &policy, NOW_S, NOW_MS, &kept),
           PRD_OK, "zone");
    is_int(prd_profile_read_end(&f), PRD_OK, "end");

    is_int(kept, 4, "clients with a closed block");
    is_int(prd_zone_clients(&b), 4, "they are counted");
    is_int(prd_table_check(&b.table, &n, &claims), 0, "table");
    is_int(n, 4, "no others");

    same(&a, &b, 1000, "newcomer");
    same(&a, &b, 2000, "known");
    same(&a, &b, 3000, "idle for a day");
    same(&a, &b, 4000, "debt, idle for long");

    slot = prd_table_find(&b.table, 3000);
    ok(prd_outlook_client(&b.outlook, slot, (uint16_t) prd_env_generation(
                              atomic_load(&b.table.entries[slot].envelope)),
                          &tracked)
       == PRD_OK
       && tracked.tag == 3000 && tracked.habit.count == 33, "habits");
    slot = prd_table_find(&b.table, 2000);
    is_int(prd_outlook_client(&b.outlook, slot, (uint16_t) prd_env_generation(
                                  atomic_load(&b.table.entries[slot].envelope)),
                              &tracked),
           PRD_DECLINED, "nobody else's");
    ok(memcmp(&a.outlook.outlook->zone[1], &b.outlook.outlook->zone[1],
              sizeof(prd_aggregate_t)) == 0, "the zone's curve");
    is_int(b.outlook.outlook->zone[0].bins, 0, "none of what had none");

    is_int(prd_zone_class(&b, str("/api")), class_, "class");
    is_int(b.zone->surge_slow[class_] * 10, 75, "its habit");
    is_int(b.zone->surge_slow[0] * 10, 25, "of the class without a name");
    is_int(b.zone->surge_all, 11, "of all");
    is_int(b.zone->level, 99, "level");
    is_int(b.zone->ratio * 100, 125, "ratio");
    is_int(b.zone->last, 98, "last");
    is_int(b.zone->learn_since_s, NOW_S - 5000, "learned since");

    /* votes are summed anew */
    a.zone->pooled.depth[2].votes = b.zone->pooled.depth[2].votes;
    ok(fabs(b.zone->pooled.depth[0].votes - a.zone->pooled.depth[0].votes)
       < 1e-3, "votes");
    for (n = 0; n < PRD_AGES; n++) {
        a.zone->pooled.depth[n].votes = b.zone->pooled.depth[n].votes;
        a.zone->pooled.rate[n].votes = b.zone->pooled.rate[n].votes;
        a.zone->pooled.near[n].votes = b.zone->pooled.near[n].votes;
    }

    ok(memcmp(&a.zone->pooled, &b.zone->pooled, sizeof(prd_pooled_t)) == 0,
       "pooled tables");
    is_int(prd_env_depth_code(atomic_load(&b.zone->newcomer)),
           prd_env_encode(17 * policy.unit), "newcomer's envelope");

    free(file.p);
    end(&b);

    /* a second time: the same bytes */

    b = zone(zone_size(ZONE));
    is_int(save(&file, &a, 3), PRD_OK, "three zones");
    is_int(verify(&file), PRD_OK, "sound");

    f = profile(&file);
    (void) prd_profile_read_head(&f, &head);
    (void) prd_profile_read_name(&f, name, &name_len, key, &key_len, &s);
    is_int(prd_profile_skip_zone(&f), PRD_OK, "skip one");
    (void) prd_profile_read_name(&f, name, &name_len, key, &key_len, &s);
    is_str(name, name_len, "two", "second name");
    is_int(prd_profile_read_zone(&f, &b, &policy, NOW_S, NOW_MS, &kept),
           PRD_OK, "read one");
    is_int(kept, 4, "its clients");
    (void) prd_profile_read_name(&f, name, &name_len, key, &key_len, &s);
    is_str(name, name_len, "three", "third name");
    is_int(prd_profile_skip_zone(&f), PRD_OK, "skip it");
    is_int(prd_profile_read_end(&f), PRD_OK, "end");

    free(file.p);
    end(&a);
    end(&b);
}


/* What time does to ages. */

static void
ages(void)
{
    file_t          file;
    uint32_t        s, phase;
    uint64_t        kept, phased;
    prd_view_t      a, b;
    prd_entry_t    *e;
    prd_learned_t  *l;

    a = zone(zone_size(ZONE));
    client(&a, 1000, 50, 10000, 5000);
    phased = prd_tag(0xc000ull << 32 | 1001);
    phase = prd_phase_s(phased);
    client(&a, phased, 50, 10000, 5000);
    l = &a.learned[prd_table_find(&a.table, phased)];
    l->epoch = (uint16_t) ((NOW_S + phase) / 3600);
    l->near_bin = (uint16_t) ((NOW_S + phase - 5) / 300);
    a.zone->learn_since_s = NOW_S - 7200;
    a.zone->pooled.depth[0].at_s = NOW_S - 3600;
    a.zone->pooled.rate[0].at_s = 0;
    a.zone->pooled.anchor_s = NOW_S - 3600;
    save(&file, &a, 1);

    /* an hour later */

    b = zone(zone_size(ZONE));
    load(&file, &b, NOW_S + 3600, &kept);
    s = prd_table_find(&b.table, 1000);
    e = &b.table.entries[s];
    l = &b.learned[s];

    is_int(NOW_MS - prd_word_ms(e->state), 3605000, "idle for an hour more");
    is_int(NOW_MS - prd_word_ms(e->virtual_), 3602500, "demand, too");
    is_int(prd_word_level(e->state), 10000, "the level drains from then on");
    is_int(l->depth_at, NOW_S - 40, "stamps are what they were");
    is_int(l->rate_at, NOW_S - 400, "of the rate, too");
    is_int(l->epoch, (uint16_t) (NOW_S / 3600), "of the hour");
    is_int(l->near_bin, (uint16_t) ((NOW_S - 5) / 300), "of the horizon");
    s = prd_table_find(&b.table, phased);
    is_int(phase, 120, "a client with a phase:");
    is_int(b.learned[s].epoch, (uint16_t) ((NOW_S + phase) / 3600),
           "of its hour");
    is_int(b.learned[s].near_bin, (uint16_t) ((NOW_S + phase - 5) / 300),
           "of its horizon");
    is_int(NOW_S + 3600 - b.zone->learn_since_s, 7200,
           "nothing was learned meanwhile");
    is_int(b.zone->pooled.depth[0].at_s, NOW_S - 3600, "quantile");
    is_int(b.zone->pooled.rate[0].at_s, 0, "never moved");
    end(&b);

    /* a month later */

    b = zone(zone_size(ZONE));
    load(&file, &b, NOW_S + 30 * 86400, &kept);
    s = prd_table_find(&b.table, 1000);
    is_int(kept, 2, "a month later both are still known");
    is_int(NOW_MS - prd_word_ms(b.table.entries[s].state), 7 * 86400000,
           "idle for a week at most");
    is_int(b.learned[s].depth_at, NOW_S - 40, "stamps");
    is_int(NOW_S + 30 * 86400 - b.zone->pooled.depth[0].at_s, 86400,
           "quantiles may move by a day's worth");
    is_int(NOW_S + 30 * 86400 - b.zone->pooled.anchor_s, 86400,
           "anchors, too");
    end(&b);

    /* the clock went back by a year */

    b = zone(zone_size(ZONE));
    load(&file, &b, NOW_S - 365 * 86400, &kept);
    s = prd_table_find(&b.table, 1000);
    is_int(NOW_MS - prd_word_ms(b.table.entries[s].state), 5000,
           "clock back: no time has passed");
    is_int(b.learned[s].depth_at, NOW_S - 365 * 86400 - 40,
           "stamps went with it");
    is_int(NOW_S - 365 * 86400 - b.zone->learn_since_s, 7200, "learned");
    end(&b);

    /* a clock that was never set */

    b = zone(zone_size(ZONE));
    load(&file, &b, 3, &kept);
    s = prd_table_find(&b.table, 1000);
    is_int(b.learned[s].depth_at, 0, "before time: zero");
    is_int(b.zone->learn_since_s, 0, "learned since");
    end(&b);

    /* another horizon */

    policy.params.horizon_s = 900;
    b = zone(zone_size(ZONE));
    load(&file, &b, NOW_S + 10, &kept);
    s = prd_table_find(&b.table, 1000);
    ok((uint16_t) ((NOW_S - 5) / 900) - b.learned[s].near_bin <= 1,
       "another horizon: the bin of that time");
    policy.params.horizon_s = 300;
    end(&b);

    free(file.p);
    end(&a);
}


static void
damage(void)
{
    size_t      i, at, len;
    file_t      file;
    unsigned    bad, bit;
    prd_view_t  a;

    a = zone(zone_size(ZONE));
    client(&a, 1000, 2, 100, 10);
    client(&a, 2000, 40, 100, 10);
    save(&file, &a, 1);

    len = file.len;
    bad = 0;

    /* most of it are tables without votes */

    for (i = 0; i < len; i += i < CLASSES + 2000 || i + 64 > len ? 1 : 61) {
        file.len = i;
        bad += verify(&file) == PRD_OK;
    }

    is_int(bad, 0, "cut at many of %zu offsets: refused", len);

    file.len = len;
    bad = 0;

    for (i = 0; i < len; i++) {
        for (bit = 0; bit < 8; bit++) {

            /* all of the head, one bit of each byte, then of few */

            if ((i > POOLED && i + 64 < len && bit != i % 8)
                || (i > CLASSES + 2000 && i + 64 < len && i % 61))
            {
                continue;
            }

            file.p[i] ^= (uint8_t) (1 << bit);
            at = verify(&file) == PRD_OK;

            /* what is spare in the header is under the checksum, too */
            bad += at;
            file.p[i] ^= (uint8_t) (1 << bit);
        }
    }

    is_int(bad, 0, "bits flipped: refused");
    is_int(verify(&file), PRD_OK, "as it was: fine");

    file.p = realloc(file.p, len + 1);
    file.len = len + 1;
    is_int(verify(&file), PRD_ECORRUPT, "something follows");
    file.len = len;

    file.p[8]++;
    is_int(verify(&file), PRD_EVERSION, "a later version");
    file.p[8] = PRD_PROFILE_OLD - 1;
    is_int(verify(&file), PRD_EVERSION, "one that is too old");
    file.p[8] = PRD_PROFILE_VERSION;
    file.p[0] = 'p';
    is_int(verify(&file), PRD_ECORRUPT, "another kind of file");
    file.p[0] = 'P';

    file.len = 0;
    is_int(verify(&file), PRD_ECORRUPT, "empty");
    file.len = len;

    /* no room on the disk, at each call */

    free(file.p);
    len = 0;
    bad = 0;

    for (i = 0; i < 80000; i += 401) {
        prd_profile_t       f;
        prd_profile_head_t  head;

        memset(&file, 0, sizeof(file));
        memset(&head, 0, sizeof(head));
        file.most = i;
        f = profile(&file);

        if (prd_profile_write_head(&f, &head) == PRD_OK
            && prd_profile_write_zone(&f, str("one"), str(""), &a, &policy,
                                      NOW_S, NOW_MS) == PRD_OK
            && prd_profile_write_end(&f) == PRD_OK)
        {
            len++;

        } else {
            bad++;
        }

        free(file.p);
    }

    ok(bad > 100 && len > 0, "a failure to write is returned");

    {
        char                name[5000];
        prd_profile_t       f;
        prd_profile_head_t  head;

        memset(name, 'a', sizeof(name));
        memset(&file, 0, sizeof(file));
        memset(&head, 0, sizeof(head));
        file.most = SIZE_MAX / 2;
        f = profile(&file);
        (void) prd_profile_write_head(&f, &head);

        is_int(prd_profile_write_zone(&f, (prd_str_t) { 256, name }, str(""),
                   &a, &policy, NOW_S, NOW_MS), PRD_ERANGE, "long name");
        is_int(prd_profile_write_zone(&f, (prd_str_t) { 0, name }, str(""),
                   &a, &policy, NOW_S, NOW_MS), PRD_ERANGE, "no name");
        is_int(prd_profile_write_zone(&f, str("a"),
                   (prd_str_t) { 4096, name }, &a, &policy, NOW_S, NOW_MS),
               PRD_ERANGE, "long key");
        is_int(file.len, HEAD, "nothing was written");
        is_int(prd_profile_write_zone(&f, (prd_str_t) { 255, name },
                   (prd_str_t) { 4095, name }, &a, &policy, NOW_S, NOW_MS),
               PRD_OK, "as long as may be");
        free(file.p);
    }

    end(&a);
}


static void
put_float(uint8_t *p, float f)
{
    uint32_t  i, v;

    memcpy(&v, &f, 4);

    for (i = 0; i < 4; i++) {
        p[i] = (uint8_t) (v >> 8 * i);
    }
}


static void
put_double(uint8_t *p, double d)
{
    uint32_t  i;
    uint64_t  v;

    memcpy(&v, &d, 8);

    for (i = 0; i < 8; i++) {
        p[i] = (uint8_t) (v >> 8 * i);
    }
}


/* Is everything in the zone what the engine works with? */

static int
sane(prd_view_t *view)
{
    int             i, fine;
    uint32_t        s, claims;
    uint64_t        env;
    prd_pooled_t   *p;
    prd_learned_t  *l;

    p = &view->zone->pooled;
    fine = prd_table_check(&view->table, &s, &claims) == 0 && claims == 0;

    fine &= isfinite(p->mu) && isfinite(p->sigma) && p->sigma > 0
            && isfinite(p->mu_rate) && p->sigma_rate > 0
            && isfinite(p->anchor_b) && isfinite(p->anchor_r)
            && isfinite(p->newcomer_b) && p->newcomer_b >= 0
            && isfinite(p->newcomer_r) && p->newcomer_r >= 0
            && p->cost > 0 && isfinite(p->anchor_s);

    for (i = 0; i < PRD_AGES; i++) {
        fine &= isfinite(p->depth[i].z) && p->depth[i].votes > 0
                && isfinite(p->depth[i].votes) && isfinite(p->depth[i].at_s);
    }

    for (s = 0; s < prd_zone_slots(view); s++) {
        env = atomic_load(&view->table.entries[s].envelope);
        l = &view->learned[s];

        if (atomic_load(&view->table.tags[s]) == PRD_TAG_FREE
            || prd_env_generation(env) != l->generation)
        {
            continue;
        }

        fine &= isfinite(l->mu) && l->sigma > 0 && isfinite(l->sigma)
                && l->depth >= 0 && isfinite(l->depth)
                && l->rate >= 0 && isfinite(l->rate)
                && l->cap_depth >= 0 && isfinite(l->cap_depth)
                && l->count >= 0 && l->near >= 0 && l->level >= 0
                && atomic_load(&view->table.entries[s].spare) == 0;
    }

    return fine;
}


/* Every client asks for a token in this bin. */

static void
busy(prd_view_t *view)
{
    uint32_t  s, b;

    for (s = 0; s < prd_zone_slots(view); s++) {
        if (atomic_load(&view->table.tags[s]) != PRD_TAG_FREE) {
            b = s / PRD_WAYS;
            atomic_store(&view->table.entries[s].demand, 1000ull << 32 | 1000);
            atomic_fetch_or(&view->dirty[b / 64], 1ull << (b % 64));
        }
    }
}


/* A sound checksum, absurd values. */

static void
absurd(void)
{
    size_t             i, k, record;
    file_t             file;
    uint32_t           s, n;
    uint64_t           kept;
    unsigned           insane, refused, taken;
    prd_rc_t           rc;
    prd_view_t         a, b;
    prd_forecaster_t  *f;
    uint8_t           *keep;

    static const double  odd[] = { -1, 0, 1e-40, 1e300, -1e300, NAN, INFINITY,
                                   -INFINITY };

    f = calloc(1, sizeof(prd_forecaster_t));
    a = zone(zone_size(ZONE));
    client(&a, 1000, 2, 100, 10);
    client(&a, 2000, 40, 100, 10);
    save(&file, &a, 1);

    keep = malloc(file.len);
    memcpy(keep, file.p, file.len);

    record = CLASSES + 4 + 16 + 4;
    insane = refused = taken = 0;

    for (i = record + 36; i < record + 80; i += 4) {
        for (k = 0; k < 8; k++) {
            put_float(file.p + i, (float) odd[k]);
            b = zone(zone_size(ZONE));
            rc = load(&file, &b, NOW_S, &kept);

            refused += rc == PRD_ECORRUPT;
            taken += rc == PRD_OK && kept == 2;
            insane += !sane(&b);

            /* the forecaster goes on with it, after warm-up */
            b.zone->learn_since_s = 0;

            for (n = 0; n < 30; n++) {
                busy(&b);
                (void) prd_forecaster_round(f, &b, &policy,
                                            (double) NOW_S + n * 120,
                                            NOW_MS + n * 120000);
            }

            insane += !sane(&b);
            end(&b);
        }

        memcpy(file.p, keep, file.len);
    }

    is_int(insane, 0, "absurd values of a client do no harm");
    is_int(refused, 11 * 5, "infinite ones, and none, are refused");
    is_int(taken, 11 * 3, "others are clamped");

    insane = refused = taken = 0;

    for (i = PRIORS; i < CLASSES; i += 8) {
        for (k = 0; k < 8; k++) {
            put_double(file.p + i, odd[k]);
            b = zone(zone_size(ZONE));
            rc = load(&file, &b, NOW_S, &kept);

            refused += rc == PRD_ECORRUPT && kept == 0;
            taken += rc == PRD_OK && kept == 2;
            insane += !sane(&b);

            for (n = 0; n < 3; n++) {
                (void) prd_forecaster_round(f, &b, &policy,
                                            (double) NOW_S + n * 10,
                                            NOW_MS + n * 10000);
            }

            insane += !sane(&b);
            end(&b);
        }

        memcpy(file.p, keep, file.len);
    }

    is_int(insane, 0, "absurd priors do no harm");
    is_int(refused, (CLASSES - PRIORS) / 8 * 3, "not finite: refused");
    is_int(taken, (CLASSES - PRIORS) / 8 * 5, "clamped");

    insane = refused = 0;

    for (i = POOLED; i < POOLED + SCORES; i += 4) {
        for (k = 0; k < 8; k++) {
            put_float(file.p + i, (float) odd[k]);
            b = zone(zone_size(ZONE));
            refused += load(&file, &b, NOW_S, &kept) == PRD_ECORRUPT;
            insane += !sane(&b);
            end(&b);
        }

        memcpy(file.p, keep, file.len);
    }

    is_int(insane, 0, "absurd scores do no harm");
    ok(refused >= PRD_CELLS * 5, "most are refused");

    for (i = POOLED; i < POOLED + PRD_CELLS * 4; i += 4) {
        put_float(file.p + i, 0);
    }

    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S, &kept), PRD_ECORRUPT, "no votes at all");
    ok(sane(&b), "the table is as it was");
    end(&b);
    memcpy(file.p, keep, file.len);

    /* structure */

    for (i = 0; i < 8; i++) {
        file.p[record + i] = 0;
    }

    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S, &kept), PRD_ECORRUPT, "no tag");
    end(&b);
    memset(file.p + record, 0xff, 8);
    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S, &kept), PRD_ECORRUPT, "a claim");
    end(&b);

    memcpy(file.p, keep, file.len);
    memcpy(file.p + record + 104, file.p + record, 8);
    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S, &kept), PRD_OK, "a client twice");
    is_int(kept, 1, "the first counts");
    s = prd_table_find(&b.table, 2000);
    is_int(b.learned[s].hours, 40, "known for longest comes first");
    end(&b);

    memcpy(file.p, keep, file.len);
    file.p[record - 4] = PRD_PROFILE_CHUNK + 1;
    is_int(verify(&file), PRD_ECORRUPT, "a chunk too large");

    memcpy(file.p, keep, file.len);
    file.p[CLASSES + 1] = 2;
    is_int(verify(&file), PRD_ECORRUPT, "too many classes");

    memcpy(file.p, keep, file.len);
    file.p[CLASSES + 5] = 1;
    is_int(verify(&file), PRD_ECORRUPT, "a class of no such index");

    memcpy(file.p, keep, file.len);
    file.p[POOLED - 3] ^= 1;
    is_int(verify(&file), PRD_ECORRUPT, "pooled tables of another size");

    memcpy(file.p, keep, file.len);
    file.p[BODY + 8] ^= 1;
    is_int(verify(&file), PRD_ECORRUPT, "a unit that is none");

    memcpy(file.p, keep, file.len);
    file.p[BODY + 8] = 1;
    file.p[BODY + 9] = 0;
    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S, &kept), PRD_OK, "whole tokens");
    s = prd_table_find(&b.table, 1000);
    is_int(prd_word_level(b.table.entries[s].state), 100000, "become 1000");
    end(&b);

    memcpy(file.p, keep, file.len);
    memset(file.p + BODY, 0xff, 8);
    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S, &kept), PRD_OK, "learned for ever");
    is_int(b.zone->learn_since_s, 0, "since the beginning");
    end(&b);

    free(keep);
    free(file.p);
    free(f);
    end(&a);
}


/* More clients than slots. */

static void
crowd(void)
{
    file_t      file;
    uint32_t    i, n, claims, hours, lost, newcomers, slots;
    uint64_t    kept;
    prd_view_t  a, b;

    a = zone(zone_size(4 * 1024 * 1024));
    b = zone(zone_size(200 * 1024));

    slots = prd_zone_slots(&b);

    /* some 500 known for long (half of them away for days), the rest new */

    for (i = 1; i <= 8 * slots; i++) {
        hours = i % 20 == 0 ? 100 : 0;
        client(&a, i * 0x9e3779b97f4a7c15ull, hours, 1000,
               i % 40 == 0 ? 5 * 86400000u : 100);
    }

    save(&file, &a, 1);
    ok(file.alive > 0, "signs of life while it is written");
    is_int(load(&file, &b, NOW_S, &kept), PRD_OK, "into a smaller zone");

    is_int(prd_table_check(&b.table, &n, &claims), 0, "table");
    is_int(n, kept, "as many as are said to be kept");
    is_int(prd_zone_clients(&b), kept, "and counted");
    ok(n > slots * 9 / 10, "it is full");

    lost = newcomers = 0;

    for (i = 1; i <= 8 * slots; i++) {
        n = prd_table_find(&b.table, prd_tag(i * 0x9e3779b97f4a7c15ull));

        if (i % 20 == 0) {
            lost += n == PRD_NO_SLOT;

        } else {
            newcomers += n != PRD_NO_SLOT;
        }
    }

    is_int(lost, 0, "of the known none is lost");
    is_int(newcomers, kept - 8 * slots / 20, "newcomers have the rest");
    ok(sane(&b), "sane");

    free(file.p);
    end(&b);

    /* more known ones than slots: a part of them */

    b = zone(zone_size(16 * 1024));
    save(&file, &a, 1);
    is_int(load(&file, &b, NOW_S, &kept), PRD_OK, "into a very small zone");
    is_int(prd_table_check(&b.table, &n, &claims), 0, "table");
    is_int(n, kept, "kept");

    for (newcomers = i = 0; i < prd_zone_slots(&b); i++) {
        newcomers += atomic_load(&b.table.tags[i])
                     && atomic_load(&b.table.entries[i].hours) < 100;
    }

    ok(newcomers < prd_zone_slots(&b) / 10,
       "nearly all of them are known for long (%u of %u are not)", newcomers,
       prd_zone_slots(&b));

    free(file.p);
    end(&a);
    end(&b);
}


static void
copy(void)
{
    uint32_t    s;
    uint64_t    kept;
    prd_view_t  a, b;

    a = zone(zone_size(ZONE));
    b = zone(zone_size(64 * 1024));

    client(&a, 1000, 0, 500, 10);
    client(&a, 2000, 3, 12345, 2000);
    s = client(&a, 3000, 0, 700, 10);
    a.learned[s].blocks = 0;
    atomic_store(&a.table.entries[s].envelope,
                 prd_env(a.learned[s].generation, 0, 0, 0));

    a.zone->pooled.mu = 7;
    a.zone->learn_since_s = NOW_S - 999;
    a.zone->surge_slow[prd_zone_class(&a, str("x"))] = 3;
    atomic_store(&a.zone->pool, prd_word(NOW_MS, 77));

    kept = prd_profile_copy(&a, &b, &policy, NOW_S, NOW_MS);

    is_int(kept, 3, "copied, a newcomer too");
    same(&a, &b, 1000, "copy");
    same(&a, &b, 2000, "copy");
    same(&a, &b, 3000, "copy of a newcomer");
    is_int(b.zone->pooled.mu, 7, "pooled");
    is_int(b.zone->learn_since_s, NOW_S - 999, "learned since");
    is_int(prd_word_level(b.zone->pool), 77, "pool");
    is_int(b.zone->surge_slow[prd_zone_class(&b, str("x"))], 3, "class");

    end(&a);
    end(&b);
}


/*
 * What a client was refused before a restart, or in another zone, is not
 * refused once more in its first bin after it.
 */

static void
refusals(void)
{
    int                 i;
    float               ahead;
    file_t              file;
    uint32_t            slot;
    uint64_t            kept;
    prd_view_t          a, b;
    prd_outlook_bin_t   bin;

    static const char          *what[] = { "loaded", "copied" };
    static prd_outlook_work_t   work;

    a = zone(zone_size(ZONE));
    slot = client(&a, 1000, 3, 500, 10);
    atomic_store(&a.table.entries[slot].refused, 4000);

    memset(&bin, 0, sizeof(bin));
    bin.tag = 1000;
    bin.slot = slot;
    bin.generation = (uint16_t) prd_env_generation(
                         atomic_load(&a.table.entries[slot].envelope));
    bin.blocks = 9;
    bin.requests = 1;
    bin.refused = 4000;
    bin.start_s = NOW_S - 7200;
    (void) prd_outlook_count(&a.outlook, &work, &bin, &ahead);

    for (i = 0; i < 2; i++) {
        b = zone(zone_size(ZONE));

        if (i == 0) {
            (void) save(&file, &a, 1);
            (void) load(&file, &b, NOW_S, &kept);
            free(file.p);

        } else {
            (void) prd_profile_copy(&a, &b, &policy, NOW_S, NOW_MS);
        }

        slot = prd_table_find(&b.table, 1000);
        is_int(atomic_load(&b.table.entries[slot].refused), 4000,
               "%s: refused so far", what[i]);

        bin.slot = slot;
        bin.generation = (uint16_t) prd_env_generation(
                             atomic_load(&b.table.entries[slot].envelope));
        bin.refused = 4002;
        bin.start_s = NOW_S;

        is_int(prd_outlook_count(&b.outlook, &work, &bin, &ahead), 2,
               "%s: refused in its first bin", what[i]);

        end(&b);
    }

    end(&a);
}


/* An hour in the life, a restart, and on. */

static void
life(void)
{
    double             t, end_s;
    file_t             file;
    uint32_t           ms, i, s;
    uint64_t           kept, word;
    prd_ask_t          ask;
    prd_view_t         a, b, *v;
    prd_answer_t       answer;
    prd_forecaster_t  *f;

    f = calloc(1, sizeof(prd_forecaster_t));
    a = zone(zone_size(ZONE));
    b = zone(zone_size(ZONE));
    v = &a;
    end_s = NOW_S + 2 * 86400;

    memset(&ask, 0, sizeof(ask));
    ask.tag = prd_tag(1000);
    ask.rate = policy.params.rate;
    ask.burst = 5000;
    ask.delay = PRD_NODELAY;
    ask.cost = 1000;

    for (t = NOW_S; t < end_s; t += 10) {
        ms = NOW_MS + (uint32_t) ((t - NOW_S) * 1000);
        ask.now_ms = ms;

        for (i = 0; i < 4; i++) {
            prd_decide(v, &policy, &ask, &answer);
        }

        (void) prd_forecaster_round(f, v, &policy, t, ms);
    }

    s = prd_table_find(&a.table, 1000);
    ok(a.learned[s].hours > 40 && a.learned[s].blocks > 10000, "learned");

    memset(&file, 0, sizeof(file));
    file.most = SIZE_MAX / 2;

    {
        prd_profile_t       p = profile(&file);
        prd_profile_head_t  head = { .zones = 1, .written_s = (uint64_t) t };

        (void) prd_profile_write_head(&p, &head);
        (void) prd_profile_write_zone(&p, str("one"), str("$key"), &a,
                                      &policy, (uint64_t) t, ms);
        (void) prd_profile_write_end(&p);
    }

    is_int(verify(&file), PRD_OK, "saved");

    {
        char                name[PRD_PROFILE_NAME], key[PRD_PROFILE_KEY];
        size_t              n, k;
        prd_secret_t        c;
        prd_profile_t       p = profile(&file);
        prd_profile_head_t  head;

        (void) prd_profile_read_head(&p, &head);
        (void) prd_profile_read_name(&p, name, &n, key, &k, &c);

        /* ten seconds later, after a reboot: the other clock starts anew */
        is_int(prd_profile_read_zone(&p, &b, &policy, (uint64_t) t + 10, 500,
                                     &kept), PRD_OK, "loaded");
    }

    is_int(kept, 1, "the client");
    is_int(atomic_load(&b.zone->warm), 1, "warm-up is over");

    word = atomic_load(&a.table.entries[s].envelope) & 0xffffffffffff;
    s = prd_table_find(&b.table, 1000);
    is_int(atomic_load(&b.table.entries[s].envelope) & 0xffffffffffff, word,
           "its envelope is in force");

    ask.now_ms = 600;
    i = b.learned[s].blocks;
    prd_decide(&b, &policy, &ask, &answer);
    is_int(answer.verdict, PRD_PASSED, "it passes");
    is_int(answer.terms.learned, 1, "by what was learned");
    (void) prd_forecaster_round(f, &b, &policy, t + 11, 1000);
    (void) prd_forecaster_round(f, &b, &policy, t + 21, 11000);
    is_int(b.learned[s].blocks, i + 1, "and it is learned on");

    free(file.p);
    free(f);
    end(&a);
    end(&b);
}


/* Tracks. */

#define TRACK_HOURS  60

static prd_outlook_work_t  outlook_work;


static uint16_t
generation(const prd_view_t *view, uint32_t slot)
{
    return (uint16_t) prd_env_generation(
               atomic_load(&view->table.entries[slot].envelope));
}


static int
everybody(void *data, uint32_t slot)
{
    (void) data;
    (void) slot;

    return 1;
}


/* Ten seconds of three clients: one steady, one at two o'clock, one seldom. */

static void
ten_seconds(prd_view_t *view, uint64_t start_s)
{
    float              ahead;
    double             sum;
    uint32_t           slot;
    uint64_t           tag, grown[PRD_SIZES], grown_groups[PRD_GROUPS];
    prd_outlook_bin_t  bin;

    sum = 0;

    for (tag = 1; tag <= 3; tag++) {
        memset(&bin, 0, sizeof(bin));
        bin.tag = prd_tag(tag * 1000);
        bin.slot = slot = prd_table_find(&view->table, bin.tag);
        bin.generation = generation(view, slot);
        bin.blocks = 9;
        bin.hours = 9;
        bin.vote = 1;
        bin.horizon_s = 300;
        bin.start_s = start_s;
        bin.requests = tag == 1 ? 3 + (uint32_t) (start_s / 10 % 5)
                       : tag == 2 ? start_s % 86400 / 3600 == 2 ? 40 : 0
                       : start_s / 10 % 97 == 0;
        bin.tokens = (float) bin.requests;
        bin.refused = atomic_load(&view->table.entries[slot].refused);
        sum += bin.tokens;

        if (bin.requests) {
            (void) prd_outlook_count(&view->outlook, &outlook_work, &bin,
                                     &ahead);
        }
    }

    memset(grown, 0, sizeof(grown));
    memset(grown_groups, 0, sizeof(grown_groups));
    grown[prd_size_class(700 + start_s % 97)]
        = 3 * prd_size_word(700 + start_s % 97);
    prd_outlook_sizes(&view->outlook, grown, grown_groups, 1.5);
    prd_outlook_close(&view->outlook, &outlook_work, sum, start_s + 10, 0,
                      everybody, NULL);
}


static void
nothing(void *data, uint32_t slot, uint16_t gen, float ahead)
{
    (void) data, (void) slot, (void) gen, (void) ahead;
}


static void
live(prd_view_t *view, uint64_t from_s, uint64_t until_s)
{
    uint64_t  s;

    for (s = from_s / 10 * 10; s < until_s; s += 10) {
        ten_seconds(view, s);
        prd_outlook_look_ahead(&view->outlook, s + 10, 300, everybody,
                               nothing, NULL);
    }
}


/* The same forecasts of everybody, and nothing that is no number. */

static unsigned
forecasts(prd_view_t *view, uint64_t tag, float q[36], float *ahead)
{
    unsigned             i, n, h;
    uint32_t             slot;
    prd_tracked_t        c;
    prd_outlook_track_t  t;

    memset(q, 0, 36 * sizeof(float));
    *ahead = -1;
    slot = prd_table_find(&view->table, prd_tag(tag));
    n = 0;

    if (slot == PRD_NO_SLOT
        || prd_outlook_client(&view->outlook, slot, generation(view, slot), &c)
           != PRD_OK)
    {
        return 0;
    }

    *ahead = c.ahead;

    /* what is over counts, whether it has been closed or not */

    if (prd_outlook_copy_bins(&view->outlook, &c, &t) != PRD_OK) {
        return 0;
    }

    for (i = 0; i < 3; i++) {
        for (h = 0; h < 3; h++) {
            n += prd_track_forecast(&t.track, &view->outlook.outlook->tracks,
                                    i, h, NULL, 0, q + 12 * i + 4 * h)
                 == PRD_OK;
        }
    }

    for (i = 0; i < 36; i++) {
        if (!(q[i] >= 0 && q[i] <= PRD_TRACK_Y_MAX)) {
            return 99;
        }
    }

    return n;
}


static int
same_forecasts(prd_view_t *a, prd_view_t *b)
{
    int       fine;
    float     p[36], q[36], x, y;
    unsigned  tag, n;

    fine = 1;

    for (tag = 1000; tag <= 3000; tag += 1000) {
        n = forecasts(a, tag, p, &x);
        fine &= n == 9 && forecasts(b, tag, q, &y) == n
                && memcmp(p, q, sizeof(p)) == 0;

        /* who is idle has been looked ahead for by the hour */

        fine &= tag > 1000 || x == y;
    }

    return fine;
}


static void
put64(uint8_t *p, uint64_t v)
{
    uint32_t  i;

    for (i = 0; i < 8; i++) {
        p[i] = (uint8_t) (v >> 8 * i);
    }
}


static uint32_t
get32(const uint8_t *p)
{
    return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16
           | (uint32_t) p[3] << 24;
}


/* Of a file of one zone with three clients: where parts are. */

static unsigned  named;                    /* classes, beside that without */

static size_t
outlook_at(void)
{
    return CLASSES + 16 * named + 4 + 16 + 4 + 3 * 104 + 4;
}


static size_t
open_at(const file_t *file)
{
    size_t  i, at;

    at = outlook_at() + 8;
    at += 4 + get32(file->p + at);

    for (i = 0; i < PRD_GROUPS; i++) {
        at += get32(file->p + at) ? 1u << 30 : 4;
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS + PRD_GROUPS; i++) {
        at += 4 + get32(file->p + at);
    }

    return at;
}


static size_t
classes_at(const file_t *file)
{
    return open_at(file) + OPEN;
}


static size_t
records_at(const file_t *file)
{
    size_t    at;
    unsigned  i;

    at = classes_at(file) + 8;

    while (get32(file->p + at)) {
        at += 12 + PRD_CLASS_NAME;
    }

    at += 12 + PRD_CLASS_NAME;

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        at += 12 + get32(file->p + at + 8);
    }

    return at;
}


static size_t
tables_at(const file_t *file)
{
    size_t  at;

    at = records_at(file);

    while (get32(file->p + at)) {
        at += 4 + get32(file->p + at) * PRD_OUTLOOK_PACKED;
    }

    return at + 4;
}


static void
settle(file_t *file)
{
    prd_checksum_t  sum;

    prd_checksum_init(&sum);
    prd_checksum_update(&sum, file->p, file->len - 8);
    put64(file->p + file->len - 8, prd_checksum_final(&sum));
}


static void
cut_out(file_t *file, size_t at, size_t len)
{
    memmove(file->p + at, file->p + at + len, file->len - at - len);
    file->len -= len;
}


/* As a writer of version 3 left it. */

static void
make_classless(file_t *file)
{
    cut_out(file, classes_at(file), records_at(file) - classes_at(file));
    file->p[8] = 3;
    settle(file);
}


/* As a writer of version 2 left it. */

static void
make_old(file_t *file)
{
    size_t  at;

    at = tables_at(file);
    file->len = at + 8;
    make_classless(file);
    cut_out(file, open_at(file), OPEN);
    cut_out(file, outlook_at(), 8);
    file->p[8] = 2;
    settle(file);
}


/* Request classes: their names, demand and curves. */

static void
classes(void)
{
    char            name[PRD_CLASS_NAME];
    size_t          at, i, len;
    file_t          file;
    uint8_t        *keep;
    uint32_t        seed, search, other, bin;
    uint64_t        kept;
    unsigned        insane;
    prd_view_t      a, b;
    prd_classes_t  *c, *d;

    a = zone(zone_size(ZONE));
    c = &a.outlook.outlook->classes;

    for (i = 1; i <= 3; i++) {
        client(&a, i * 1000, 20, 100, 10);
    }

    search = prd_zone_class(&a, str("search"));
    other = prd_zone_class(&a, str("\x01\xff a name that is longer than 31"));

    for (bin = 0; bin < 2 * 288; bin++) {
        prd_class_turn(c, NOW_S + bin * 300 - 2 * 86400, a.zone->classes);
        prd_class_add(c, search, 1000);
        prd_class_add(c, other, 10);
    }

    ok(c->top[0].id && c->top[0].curve[0].quantile[0] > 900, "classes: known");

    memset(&file, 0, sizeof(file_t));
    is_int(save(&file, &a, 1), PRD_OK, "classes: written");

    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S, &kept), PRD_OK, "classes: loaded");
    d = &b.outlook.outlook->classes;

    ok(d->bin == c->bin && memcmp(d->sum, c->sum, sizeof(c->sum)) == 0
       && memcmp(d->level, c->level, sizeof(c->level)) == 0, "demand");
    ok(d->top[0].index == search && d->top[0].curve_bin == c->top[0].curve_bin
       && memcmp(d->top[0].curve, c->top[0].curve, sizeof(c->top[0].curve))
          == 0, "curves");
    is_int(prd_zone_class(&b, str("search")), search, "indices");
    prd_zone_class_name(&b, search, name);
    is_str(name, strlen(name), "search", "names");
    prd_zone_class_name(&b, other, name);
    is_str(name, strlen(name), "?? a name that is longer than 3",
           "... as far as they go");
    end(&b);

    b = zone(zone_size(2 * ZONE));
    is_int(prd_profile_copy(&a, &b, &policy, NOW_S, NOW_MS), 3, "copied");
    d = &b.outlook.outlook->classes;
    prd_zone_class_name(&b, search, name);
    ok(d->top[0].id == c->top[0].id && d->top[0].curve[0].quantile[0] > 900,
       "... with curves");
    is_str(name, strlen(name), "search", "... and names");
    end(&b);

    named = 2;
    keep = malloc(file.len);
    memcpy(keep, file.p, file.len);
    len = file.len;

    at = classes_at(&file);
    insane = 0;
    seed = 3;

    for (i = 0; i < 3000; i++) {
        seed = seed * 1664525 + 1013904223;
        file.p[at + (seed >> 4) % (records_at(&file) - at)] =
                                                     (uint8_t) (seed >> 24);
        if (i % 10 == 9) {
            b = zone(zone_size(ZONE));
            (void) load(&file, &b, NOW_S, &kept);
            d = &b.outlook.outlook->classes;
            insane += !isfinite(d->top[0].curve[0].quantile[3])
                      || !(d->sum[search] >= 0) || !(d->level[other] >= 0)
                      || d->top[0].index >= PRD_CLASSES;
            end(&b);
            memcpy(file.p, keep, len);
        }
    }

    is_int(insane, 0, "whatever the bytes, numbers are numbers");

    /* an index that is none, and an end right behind it */

    for (i = at; memcmp(file.p + i, &c->top[0].id, 4) != 0
                 || memcmp(file.p + i + 4, &c->top[0].index, 4) != 0; i++)
    {
        /* void */
    }

    memset(file.p + i + 4, 0xff, 4);
    file.len = i + 12 + sizeof(prd_aggregate_t);
    b = zone(zone_size(ZONE));
    ok(load(&file, &b, NOW_S, &kept) != PRD_OK, "cut off");
    d = &b.outlook.outlook->classes;
    is_int(d->top[0].id, 0, "... and no index of before is believed");
    end(&b);
    memcpy(file.p, keep, len);

    file.len = len;
    make_classless(&file);
    is_int(verify(&file), PRD_OK, "version 3 is read");
    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S, &kept), PRD_OK, "... and loaded");
    is_int(kept, 3, "... with its clients");
    ok(b.outlook.outlook->classes.top[0].id == 0, "... its classes begin anew");
    end(&b);
    named = 0;

    free(keep);
    free(file.p);
    end(&a);
}


static void
tracks(void)
{
    float           q[36], was[36], x;
    size_t          i, at, len;
    file_t          file;
    uint8_t        *keep;
    uint32_t        s, seed, from_s;
    uint64_t        kept;
    unsigned        insane, refused;
    prd_rc_t        rc;
    prd_view_t      a, b;
    prd_track_t     t;
    prd_tracked_t   c, d;
    prd_outlook_track_t  open, read;
    prd_outlook_t  *o, *p;

    a = zone(zone_size(ZONE));
    b = zone(zone_size(ZONE));

    for (i = 1; i <= 3; i++) {
        client(&a, i * 1000, 20, 100, 10);
    }

    from_s = (uint32_t) NOW_S - TRACK_HOURS * 3600;
    outlook_work.offset_s = 7200;
    live(&a, from_s, NOW_S);

    is_int(save(&file, &a, 1), PRD_OK, "tracks: written");
    is_int(verify(&file), PRD_OK, "tracks: sound");
    is_int(load(&file, &b, NOW_S, &kept), PRD_OK, "tracks: loaded");

    o = a.outlook.outlook;
    p = b.outlook.outlook;

    ok(memcmp(&o->tracks, &p->tracks, sizeof(prd_tracks_t)) == 0,
       "tables of all");
    ok(p->tracks_since_s > 0 && p->tracks_since_s == b.zone->learn_since_s,
       "... as old as the zone");
    ok(o->tracks.horizon[0][0].score.n > 100, "... which have seen something");
    ok(memcmp(o->bin, p->bin, sizeof(o->bin)) == 0
       && memcmp(o->sum, p->sum, sizeof(o->sum)) == 0
       && o->group_bin == p->group_bin, "open bins of the zone");
    ok(memcmp(&o->sizes, &p->sizes, sizeof(o->sizes)) == 0
       && o->cost == p->cost && o->sizes.n[6] > 1, "sizes");
    ok(memcmp(o->bytes, p->bytes, sizeof(o->bytes)) == 0
       && memcmp(o->bytes_covered, p->bytes_covered,
                 sizeof(o->bytes_covered)) == 0
       && o->bytes_scored[0] > 900 && o->bytes_scored[0] == p->bytes_scored[0],
       "forecasts of bytes");
    ok(p->curve_bin[0] == o->curve_bin[0] && p->curve_bin[2] == p->zone[2].bin
       && memcmp(o->curve[0], p->curve[0], sizeof(o->curve[0])) == 0,
       "curves of the zone are published");
    ok(same_forecasts(&a, &b), "forecasts of clients");

    s = prd_table_find(&b.table, prd_tag(1000));
    (void) prd_outlook_client(&b.outlook, s, generation(&b, s), &d);
    s = prd_table_find(&a.table, prd_tag(1000));
    (void) prd_outlook_client(&a.outlook, s, generation(&a, s), &c);
    ok(prd_outlook_copy_bins(&a.outlook, &c, &open) == PRD_OK
       && prd_outlook_copy_bins(&b.outlook, &d, &read) == PRD_OK
       && memcmp(open.bin, read.bin, sizeof(open.bin)) == 0
       && memcmp(open.sum, read.sum, sizeof(open.sum)) == 0
       && open.sum[2] > 0, "open bins of clients");

    /* the copies live on alike */

    (void) forecasts(&b, 2000, q, &x);
    live(&a, NOW_S, NOW_S + 26 * 3600);
    live(&b, NOW_S, NOW_S + 26 * 3600);

    /* not to the last bit: passes over idle clients take another order */

    ok(forecasts(&a, 1000, was, &x) == 9 && forecasts(&b, 1000, q, &x) == 9
       && fabsf(was[24 + 2] - q[24 + 2]) < 0.05f * was[24 + 2],
       "a day later they say much the same");
    end(&b);

    /* into another size, while it is written or not */

    b = zone(zone_size(2 * ZONE));
    is_int(prd_profile_copy(&a, &b, &policy, NOW_S + 26 * 3600, NOW_MS), 3,
           "copied");
    ok(same_forecasts(&a, &b), "a copy forecasts the same");
    ok(memcmp(&o->tracks, &b.outlook.outlook->tracks, sizeof(prd_tracks_t))
       == 0, "... by the same tables");
    ok(o->tracks_since_s > 0
       && b.outlook.outlook->tracks_since_s == o->tracks_since_s,
       "... of the same age");
    end(&b);

    /* a clock that has gone back, and a log that counted from 0 */

    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S - 7 * 86400, &kept), PRD_OK, "a week back");
    s = prd_table_find(&b.table, prd_tag(1000));
    (void) prd_outlook_client(&b.outlook, s, generation(&b, s), &d);
    is_int(d.bin, NOW_S / 10 - 7 * 8640, "its last bin is as long ago");
    (void) prd_outlook_copy_track(&b.outlook, &d, &t);
    is_int(t.bins[2].bin, (NOW_S - 7 * 86400) / 3600 - 1, "its hours, too");
    is_int(b.outlook.track[d.track - 1].bin[0], (NOW_S - 7 * 86400 - 10) / 60,
           "and open bins");
    end(&b);

    /* of version 2: everything but the tracks */

    keep = malloc(file.len);
    memcpy(keep, file.p, file.len);
    len = file.len;

    make_old(&file);
    is_int(verify(&file), PRD_OK, "version 2 is read");
    b = zone(zone_size(ZONE));
    is_int(load(&file, &b, NOW_S, &kept), PRD_OK, "... and loaded");
    is_int(kept, 3, "... its clients");
    s = prd_table_find(&b.table, prd_tag(1000));
    ok(prd_outlook_client(&b.outlook, s, generation(&b, s), &d) == PRD_OK
       && d.track == 0 && d.habit.count > 100, "... habits, no track");
    live(&b, NOW_S, NOW_S + 3600);
    is_int(forecasts(&b, 1000, q, &x), 9, "... tracks begin anew");
    end(&b);

    /* cut anywhere, or of another size in memory */

    memcpy(file.p, keep, len);
    file.len = len;
    at = tables_at(&file);
    refused = 0;

    for (i = at; i < len; i += 1 + i % 997) {
        file.len = i;
        refused += verify(&file) == PRD_OK;
    }

    file.len = len;
    is_int(refused, 0, "cut: refused");

    file.p[at + 3] = 0xff;
    is_int(verify(&file), PRD_ECORRUPT, "words without end");
    file.p[at + 3] = keep[at + 3];
    file.p[at]++;
    is_int(verify(&file), PRD_ECORRUPT, "a part of a word");
    file.p[at]--;

    /* bytes that are anything, the checksum overlooked */

    insane = refused = 0;
    seed = 7;

    for (i = 0; i < 500; i++) {
        seed = seed * 1103515245 + 12345;

        /* half of them in clients' records, which come last */

        s = i % 2 ? (uint32_t) open_at(&file)
                    + (seed >> 4) % (uint32_t) (len - 8 - open_at(&file))
                  : (uint32_t) len - 16 - (seed >> 4) % 3000;

        file.p[s] = (uint8_t) (i % 3 == 0 ? 0xff : i % 3 == 1 ? seed >> 20
                               : file.p[s] ^ 1u << (seed >> 20) % 8);

        b = zone(zone_size(ZONE));
        rc = load(&file, &b, NOW_S + i % 7000, &kept);
        refused += rc != PRD_OK;

        live(&b, NOW_S + i % 7000, NOW_S + i % 7000 + 70);
        live(&b, NOW_S + 14000, NOW_S + 14060);

        insane += forecasts(&b, 1000, q, &x) == 99
                  || forecasts(&b, 2000, q, &x) == 99
                  || forecasts(&b, 3000, q, &x) == 99;
        insane += prd_tracks_check(&b.outlook.outlook->tracks,
                                   sizeof(prd_tracks_t)) != PRD_OK;
        end(&b);

        file.p[s] = keep[s];
    }

    is_int(insane, 0, "500 broken files do no harm (%u refused)", refused);

    free(keep);
    free(file.p);
    end(&a);
}


int
main(void)
{
    prd_params_t  params;
    const char   *why;

    prd_params_init(&params);
    (void) prd_params_set(&params, str("rate=2r/s"), &why);
    (void) prd_params_set(&params, str("burst=5"), &why);
    (void) prd_params_set(&params, str("capacity=100r/s"), &why);
    (void) prd_params_end(&params, &why);
    prd_policy_init(&policy, &params, 5);

    round_trip();
    ages();
    damage();
    absurd();
    crowd();
    copy();
    refusals();
    life();
    classes();
    tracks();

    return done_testing();
}
