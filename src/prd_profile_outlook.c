
/*
 * What is forecast beside the envelopes, in the files of prd_profile.h:
 * clients' curves and groups, those of the zone and what they were forecast
 * from, to a file, from it, and from one zone into another.
 */


#include "prd_profile_inner.h"


#define PRD_PROFILE_TRACKED  64            /* records in a chunk */
#define PRD_PROFILE_PACK     (PRD_PROFILE_TRACKED * PRD_OUTLOOK_PACKED + 4)
#define PRD_PROFILE_CURVE    (1024 * 1024)
#define PRD_PROFILE_WORDS    (16 * 1024 * 1024)
#define PRD_PROFILE_PIECE    512           /* words that share a bitmap */
#define PRD_PROFILE_TRACK    (8 + 8 * PRD_TRACK_CLASSES)
#define PRD_PROFILE_OPEN     (16 * PRD_OUTLOOK_SPANS + 8 + 8 * PRD_GROUPS)
#define PRD_PROFILE_SIZES    (8 * PRD_SIZES + 8 * PRD_GROUPS + 8              \
                              + 16 * PRD_OUTLOOK_SPANS)
#define PRD_PROFILE_CLASS    (12 + PRD_CLASS_NAME)
#define PRD_PROFILE_TRIES    3             /* of a copy under a writer */


_Static_assert(sizeof(prd_track_t) % 4 == 0 && sizeof(prd_tracks_t) % 4 == 0,
               "they are written by words of 4 bytes");


static prd_rc_t
prd_profile_write_pack(prd_profile_t *f, const void *p, size_t len)
{
    uint8_t   buf[4], *q;
    prd_rc_t  rc;

    q = buf;
    prd_pack32(&q, (uint32_t) len);
    rc = prd_profile_write(f, buf, 4);

    return rc == PRD_OK && len ? prd_profile_write(f, p, len) : rc;
}


/* Most words of a young track and of tables that few vote in are 0. */

static prd_rc_t
prd_profile_write_words(prd_profile_t *f, const void *src, size_t len)
{
    size_t       i, n, left;
    uint8_t      buf[PRD_PROFILE_PIECE / 8 + PRD_PROFILE_PIECE * 4], *p;
    uint32_t     word;
    prd_rc_t     rc;
    const char  *s = src;

    p = buf;
    prd_pack32(&p, (uint32_t) len);
    rc = prd_profile_write(f, buf, 4);

    for (left = len / 4; left && rc == PRD_OK; left -= n) {
        n = prd_min(left, PRD_PROFILE_PIECE);
        p = buf + (n + 7) / 8;
        memset(buf, 0, (n + 7) / 8);

        for (i = 0; i < n; i++, s += 4) {
            memcpy(&word, s, 4);

            if (word) {
                buf[i / 8] |= (uint8_t) (1 << i % 8);
                memcpy(p, &word, 4);
                p += 4;
            }
        }

        rc = prd_profile_write(f, buf, (size_t) (p - buf));
    }

    return rc;
}


/* Into `len` bytes at dst; PRD_DECLINED: there were more or fewer of them. */

static prd_rc_t
prd_profile_read_words(prd_profile_t *f, void *dst, size_t len)
{
    char      *d = dst;
    size_t     i, n, left, set;
    uint8_t    bits[PRD_PROFILE_PIECE / 8], buf[PRD_PROFILE_PIECE * 4], *p;
    uint32_t   size;
    prd_rc_t   rc;

    rc = prd_profile_read32(f, &size);

    if (rc != PRD_OK) {
        return rc;
    }

    if (size > PRD_PROFILE_WORDS || size % 4) {
        return PRD_ECORRUPT;
    }

    if (size != len) {
        d = NULL;
    }

    for (left = size / 4; left; left -= n) {
        n = prd_min(left, PRD_PROFILE_PIECE);
        rc = prd_profile_read(f, bits, (n + 7) / 8);

        if (rc != PRD_OK) {
            return rc;
        }

        if (n % 8) {
            bits[n / 8] &= (uint8_t) ((1u << n % 8) - 1);
        }

        for (i = 0, set = 0; i < (n + 7) / 8; i++) {
            set += (size_t) __builtin_popcount(bits[i]);
        }

        rc = prd_profile_read(f, buf, set * 4);

        if (rc != PRD_OK) {
            return rc;
        }

        if (d == NULL) {
            continue;
        }

        memset(d, 0, n * 4);
        p = buf;

        for (i = 0; i < (n + 7) / 8; i++) {
            for (set = bits[i]; set; set &= set - 1) {
                memcpy(d + 4 * (8 * i + (size_t) __builtin_ctzl(set)), p, 4);
                p += 4;
            }
        }

        d += n * 4;
    }

    return size == len ? PRD_OK : PRD_DECLINED;
}


static prd_rc_t
prd_profile_write_open(prd_profile_t *f, const prd_outlook_t *o)
{
    uint8_t   buf[PRD_PROFILE_OPEN], *p;
    uint32_t  i;

    p = buf;

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        prd_pack64(&p, (uint64_t) o->bin[i]);
        prd_pack_double(&p, o->sum[i]);
    }

    prd_pack64(&p, (uint64_t) o->group_bin);

    for (i = 0; i < PRD_GROUPS; i++) {
        prd_pack_double(&p, o->group_sum[i]);
    }

    return prd_profile_write(f, buf, sizeof(buf));
}


static double
prd_profile_tokens(double v)
{
    return v > 0 ? prd_min(v, PRD_PROFILE_SUM) : 0;
}


/* o NULL: skips */

static prd_rc_t
prd_profile_read_open(prd_profile_t *f, prd_outlook_t *o)
{
    double          sum[PRD_OUTLOOK_SPANS + PRD_GROUPS];
    uint8_t         buf[PRD_PROFILE_OPEN];
    uint32_t        i;
    uint64_t        bin[PRD_OUTLOOK_SPANS + 1];
    prd_rc_t        rc;
    const uint8_t  *p;

    rc = prd_profile_read(f, buf, sizeof(buf));

    if (rc != PRD_OK || o == NULL) {
        return rc;
    }

    p = buf;

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        bin[i] = prd_unpack64(&p);
        sum[i] = prd_profile_tokens(prd_unpack_double(&p));
    }

    bin[PRD_OUTLOOK_SPANS] = prd_unpack64(&p);

    for (i = 0; i < PRD_GROUPS; i++) {
        sum[PRD_OUTLOOK_SPANS + i] = prd_profile_tokens(prd_unpack_double(&p));
    }

    for (i = 0; i <= PRD_OUTLOOK_SPANS; i++) {
        if (bin[i] > UINT32_MAX) {
            return PRD_ECORRUPT;
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        o->bin[i] = (int64_t) bin[i];
        o->sum[i] = sum[i];
    }

    o->group_bin = (int64_t) bin[PRD_OUTLOOK_SPANS];

    for (i = 0; i < PRD_GROUPS; i++) {
        o->group_sum[i] = o->groups.group[i].id
                          ? (float) sum[PRD_OUTLOOK_SPANS + i] : 0;
    }

    return PRD_OK;
}


/* Sizes of requests, those of groups, tokens of one, forecasts of bytes. */

static prd_rc_t
prd_profile_write_sizes(prd_profile_t *f, const prd_outlook_t *o)
{
    uint8_t   buf[PRD_PROFILE_SIZES], *p;
    uint32_t  i;

    p = buf;

    for (i = 0; i < PRD_SIZES; i++) {
        prd_pack_float(&p, o->sizes.n[i]);
        prd_pack_float(&p, o->sizes.bytes[i]);
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        prd_pack_float(&p, o->group_n[i]);
        prd_pack_float(&p, o->group_bytes[i]);
    }

    prd_pack_double(&p, o->cost);

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        prd_pack_double(&p, o->bytes[i]);
        prd_pack_float(&p, o->bytes_covered[i]);
        prd_pack32(&p, o->bytes_scored[i]);
    }

    return prd_profile_write(f, buf, sizeof(buf));
}


/* Sizes that are not sound are seen anew, all of them. */

static void
prd_profile_settle_sizes(prd_outlook_t *o)
{
    int       fine;
    uint32_t  i;

    fine = prd_sizes_check(&o->sizes) == PRD_OK
           && o->cost >= 0 && o->cost <= PRD_PROFILE_TOKENS;

    for (i = 0; i < PRD_GROUPS; i++) {
        fine &= o->group_n[i] >= 0 && o->group_n[i] <= 1e12f
                && o->group_bytes[i] >= 0 && o->group_bytes[i] <= 1e24f;

        if (o->groups.group[i].id == 0) {
            o->group_n[i] = o->group_bytes[i] = 0;
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        fine &= o->bytes_covered[i] >= 0 && o->bytes_covered[i] <= 1
                && o->bytes_scored[i] <= INT32_MAX;
        o->bytes[i] = prd_profile_tokens(o->bytes[i]);
        o->bytes_upper[i] = 0;
    }

    if (!fine) {
        memset(&o->sizes, 0, sizeof(prd_sizes_t));
        memset(o->group_n, 0, sizeof(o->group_n));
        memset(o->group_bytes, 0, sizeof(o->group_bytes));
        memset(o->bytes_covered, 0, sizeof(o->bytes_covered));
        memset(o->bytes_scored, 0, sizeof(o->bytes_scored));
        o->cost = 0;
    }
}


/* o NULL: skips */

static prd_rc_t
prd_profile_read_sizes(prd_profile_t *f, prd_outlook_t *o)
{
    uint8_t         buf[PRD_PROFILE_SIZES];
    uint32_t        i;
    prd_rc_t        rc;
    const uint8_t  *p;

    rc = prd_profile_read(f, buf, sizeof(buf));

    if (rc != PRD_OK || o == NULL) {
        return rc;
    }

    p = buf;

    for (i = 0; i < PRD_SIZES; i++) {
        o->sizes.n[i] = prd_unpack_float(&p);
        o->sizes.bytes[i] = prd_unpack_float(&p);
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        o->group_n[i] = prd_unpack_float(&p);
        o->group_bytes[i] = prd_unpack_float(&p);
    }

    o->cost = prd_unpack_double(&p);

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        o->bytes[i] = prd_unpack_double(&p);
        o->bytes_covered[i] = prd_unpack_float(&p);
        o->bytes_scored[i] = prd_unpack32(&p);
    }

    prd_profile_settle_sizes(o);

    return PRD_OK;
}


/* len u32 of at most `most`, or PRD_ECORRUPT */

static prd_rc_t
prd_profile_read_pack(prd_profile_t *f, void *p, size_t most, size_t *len)
{
    uint32_t  n;
    prd_rc_t  rc;

    rc = prd_profile_read32(f, &n);

    if (rc != PRD_OK) {
        return rc;
    }

    if (n > most) {
        return PRD_ECORRUPT;
    }

    *len = n;

    return n ? prd_profile_read(f, p, n) : PRD_OK;
}


/* A curve of another layout, or one that is not sane, begins anew. */

static prd_rc_t
prd_profile_read_curve(prd_profile_t *f, prd_aggregate_t *a, uint32_t bin_s)
{
    char      buf[4096], *p;
    size_t    n;
    uint32_t  len;
    prd_rc_t  rc;

    rc = prd_profile_read32(f, &len);

    if (rc != PRD_OK || len == 0) {
        return rc;
    }

    if (len > PRD_PROFILE_CURVE) {
        return PRD_ECORRUPT;
    }

    if (len != sizeof(prd_aggregate_t)) {
        a = NULL;
    }

    for (p = (char *) a; len; len -= (uint32_t) n) {
        n = prd_min(len, sizeof(buf));
        rc = prd_profile_read(f, a ? p : buf, n);

        if (rc != PRD_OK) {
            break;
        }

        p = a ? p + n : p;
    }

    if (a && (rc != PRD_OK || prd_aggregate_check(a, bin_s) != PRD_OK)) {
        (void) prd_aggregate_init(a, bin_s);
    }

    return rc;
}


/* Names and demand of all classes, then the curves of some. */

static prd_rc_t
prd_profile_write_classes(prd_profile_t *f, const prd_view_t *view)
{
    char                  name[PRD_CLASS_NAME];
    uint8_t               buf[PRD_PROFILE_CLASS], *p;
    uint32_t              i;
    prd_rc_t              rc;
    const prd_classes_t  *c;

    c = &view->outlook.outlook->classes;

    p = buf;
    prd_pack64(&p, (uint64_t) c->bin);
    rc = prd_profile_write(f, buf, 8);

    for (i = 1; i < PRD_CLASSES && rc == PRD_OK; i++) {

        if (atomic_load_explicit(&view->zone->classes[i],
                                 memory_order_relaxed)
            == 0)
        {
            continue;
        }

        prd_zone_class_name(view, i, name);

        p = buf;
        prd_pack32(&p, i);
        prd_pack_float(&p, c->sum[i]);
        prd_pack_float(&p, c->level[i]);
        memcpy(p, name, PRD_CLASS_NAME);

        rc = prd_profile_write(f, buf, sizeof(buf));
    }

    memset(buf, 0, sizeof(buf));
    rc = rc == PRD_OK ? prd_profile_write(f, buf, sizeof(buf)) : rc;

    for (i = 0; i < PRD_CLASS_CURVES && rc == PRD_OK; i++) {
        p = buf;
        prd_pack32(&p, c->top[i].id);
        prd_pack32(&p, c->top[i].index);
        rc = prd_profile_write(f, buf, 8);

        rc = rc == PRD_OK
             ? prd_profile_write_pack(f, &c->top[i].demand,
                          c->top[i].id ? sizeof(prd_aggregate_t) : 0)
             : rc;
    }

    return rc;
}


/* view NULL: skips */

static prd_rc_t
prd_profile_read_demand(prd_profile_t *f, prd_view_t *view)
{
    float           sum, level;
    uint8_t         buf[PRD_PROFILE_CLASS];
    uint32_t        i, n;
    uint64_t        bin;
    prd_rc_t        rc;
    prd_str_t       name;
    prd_class_t    *top;
    const uint8_t  *p;
    prd_classes_t  *c;

    c = view ? &view->outlook.outlook->classes : NULL;

    p = buf;
    rc = prd_profile_read(f, buf, 8);

    if (rc != PRD_OK) {
        return rc;
    }

    bin = prd_unpack64(&p);

    if (bin > UINT32_MAX) {
        return PRD_ECORRUPT;
    }

    for (n = 0; n <= PRD_CLASSES; n++) {
        p = buf;
        rc = prd_profile_read(f, buf, sizeof(buf));

        if (rc != PRD_OK) {
            return rc;
        }

        i = prd_unpack32(&p);
        sum = prd_unpack_float(&p);
        level = prd_unpack_float(&p);

        if (i == 0) {
            break;
        }

        if (i >= PRD_CLASSES) {
            return PRD_ECORRUPT;
        }

        if (c) {
            c->sum[i] = sum;
            c->level[i] = level;

            name.data = (char *) p;
            name.len = strnlen(name.data, PRD_CLASS_NAME);
            prd_zone_name_class(view, i, name);
        }
    }

    if (n > PRD_CLASSES) {
        return PRD_ECORRUPT;
    }

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        p = buf;
        rc = prd_profile_read(f, buf, 8);

        if (rc != PRD_OK) {
            return rc;
        }

        top = c ? &c->top[i] : NULL;

        if (c) {
            top->id = prd_unpack32(&p);
            top->index = prd_unpack32(&p);
        }

        rc = prd_profile_read_curve(f, c ? &top->demand : NULL,
                                    PRD_CLASS_BIN_S);
        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (c) {
        c->bin = (int64_t) bin;
    }

    return PRD_OK;
}


/* What was read of a file that ends too early is settled, too. */

static prd_rc_t
prd_profile_read_classes(prd_profile_t *f, prd_view_t *view, uint64_t now_s)
{
    prd_rc_t  rc;

    rc = prd_profile_read_demand(f, view);

    if (view) {
        prd_class_settle(&view->outlook.outlook->classes, now_s,
                         view->zone->classes);
    }

    return rc;
}


/* Pooled tables, and the tracks of those who have one. */

static prd_rc_t
prd_profile_write_tracks(prd_profile_t *f, const prd_view_t *view)
{
    uint8_t              buf[PRD_PROFILE_TRACK], *p;
    uint32_t             i, k, used;
    prd_rc_t             rc;
    prd_tracked_t        c;
    prd_outlook_t       *o;
    prd_outlook_track_t  t;

    o = view->outlook.outlook;

    rc = prd_profile_write_words(f, &o->tracks, sizeof(prd_tracks_t));

    used = atomic_load_explicit(&o->used, memory_order_relaxed);

    for (i = 0; i < used && rc == PRD_OK; i++) {

        if (i % PRD_PROFILE_ALIVE == 0) {
            rc = f->write(f->data, "", 0);
        }

        if (view->outlook.client[i].track == 0
            || prd_outlook_copy(&view->outlook, i, &c) != PRD_OK
            || prd_outlook_copy_bins(&view->outlook, &c, &t) != PRD_OK
            || prd_track_check(&t.track, sizeof(prd_track_t)) != PRD_OK)
        {
            continue;
        }

        p = buf;
        prd_pack64(&p, c.tag);

        for (k = 0; k < PRD_TRACK_CLASSES; k++) {
            prd_pack32(&p, t.bin[k]);
            prd_pack_float(&p, t.sum[k]);
        }

        rc = rc == PRD_OK ? prd_profile_write(f, buf, sizeof(buf)) : rc;
        rc = rc == PRD_OK ? prd_profile_write_words(f, &t.track,
                                                    sizeof(prd_track_t))
                          : rc;
    }

    memset(buf, 0, 8);

    return rc == PRD_OK ? prd_profile_write(f, buf, 8) : rc;
}


/* To whom the table says it belongs. */

static void
prd_profile_give_track(prd_view_t *view, uint64_t tag,
    const prd_outlook_track_t *t, const prd_policy_t *policy)
{
    uint32_t  slot;

    slot = prd_table_find(&view->table, tag);

    if (slot != PRD_NO_SLOT) {
        (void) prd_outlook_give_track(&view->outlook, t, slot,
            (uint16_t) prd_env_generation(atomic_load_explicit(
                &view->table.entries[slot].envelope, memory_order_relaxed)),
            (uint32_t) prd_profile_horizon(policy));
    }
}


/* Tables of other bins, too, are of no use. */

static void
prd_profile_settle_tables(prd_tracks_t *tracks)
{
    if (prd_tracks_check(tracks, sizeof(prd_tracks_t)) != PRD_OK
        || memcmp(tracks->bin_s, prd_outlook_span_s, sizeof(tracks->bin_s))
           != 0)
    {
        (void) prd_tracks_init(tracks, prd_outlook_span_s);
    }

    tracks->whole = 1;

    /* of the local time then: until the first bin is closed */

    if (tracks->offset_s > 86400 || tracks->offset_s < -86400) {
        tracks->offset_s = 0;
    }
}


/*
 * view NULL: skips.  Tables and tracks that are not sound, or of another
 * layout, begin anew.
 */

static prd_rc_t
prd_profile_read_tracks(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, int64_t base_s, int64_t shift_s)
{
    uint8_t              buf[PRD_PROFILE_TRACK];
    uint32_t             k;
    uint64_t             tag;
    prd_rc_t             rc;
    prd_tracks_t        *tracks;
    const uint8_t       *p;
    prd_outlook_track_t  t;

    tracks = view ? &view->outlook.outlook->tracks : NULL;

    rc = prd_profile_read_words(f, tracks, tracks ? sizeof(prd_tracks_t) : 0);

    if (tracks) {
        prd_profile_settle_tables(tracks);
    }

    if (rc != PRD_OK && rc != PRD_DECLINED) {
        return rc;
    }

    for ( ;; ) {
        rc = prd_profile_read(f, buf, 8);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;
        tag = prd_unpack64(&p);

        if (tag == 0) {
            return PRD_OK;
        }

        rc = prd_profile_read(f, buf, sizeof(buf) - 8);

        if (rc != PRD_OK) {
            return rc;
        }

        memset(&t, 0, sizeof(prd_outlook_track_t));
        p = buf;

        for (k = 0; k < PRD_TRACK_CLASSES; k++) {
            t.bin[k] = prd_unpack32(&p);
            t.sum[k] = prd_unpack_float(&p);
        }

        rc = prd_profile_read_words(f, &t.track, sizeof(prd_track_t));

        if (rc != PRD_OK && rc != PRD_DECLINED) {
            return rc;
        }

        if (view && rc == PRD_OK
            && prd_track_check(&t.track, sizeof(prd_track_t)) == PRD_OK)
        {
            prd_outlook_shift_track(&t, base_s, shift_s);
            prd_profile_give_track(view, tag, &t, policy);
        }
    }
}


/* Curves are as they are in memory: another layout of them is not read. */

prd_rc_t
prd_profile_write_outlook(prd_profile_t *f, const prd_view_t *view,
    uint64_t now_s)
{
    size_t          len;
    uint8_t         buf[PRD_PROFILE_PACK], *p;
    uint32_t        i, k, n, used;
    prd_rc_t        rc;
    prd_tracked_t  *c;
    prd_outlook_t  *o;

    o = view->outlook.outlook;

    p = buf;
    prd_pack64(&p, now_s);
    rc = prd_profile_write(f, buf, 8);

    if (rc != PRD_OK) {
        return rc;
    }

    len = sizeof(buf);
    rc = prd_group_pack(&o->groups, buf, &len);
    rc = rc == PRD_OK ? prd_profile_write_pack(f, buf, len) : rc;

    for (i = 0; i < PRD_GROUPS && rc == PRD_OK; i++) {
        p = buf;
        prd_pack32(&p, o->chain_id[i]);
        rc = prd_profile_write(f, buf, 4);

        if (rc == PRD_OK && o->chain_id[i]) {
            len = sizeof(buf);
            rc = prd_markov_pack(&o->chain[i], buf, &len);
            rc = rc == PRD_OK ? prd_profile_write_pack(f, buf, len) : rc;

            p = buf;

            for (k = 0; k < 24; k++) {
                prd_pack_float(&p, o->typical[i][k]);
            }

            rc = rc == PRD_OK ? prd_profile_write(f, buf, 96) : rc;
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS && rc == PRD_OK; i++) {
        rc = prd_profile_write_pack(f, &o->zone[i],
                          o->zone[i].bins ? sizeof(prd_aggregate_t) : 0);
    }

    for (i = 0; i < PRD_GROUPS && rc == PRD_OK; i++) {
        rc = prd_profile_write_pack(f, &o->group[i],
                          o->group[i].bins ? sizeof(prd_aggregate_t) : 0);
    }

    rc = rc == PRD_OK ? prd_profile_write_open(f, o) : rc;
    rc = rc == PRD_OK ? prd_profile_write_sizes(f, o) : rc;
    rc = rc == PRD_OK ? prd_profile_write_classes(f, view) : rc;

    used = atomic_load_explicit(&o->used, memory_order_relaxed);
    p = buf + 4;
    n = 0;

    for (i = 0; i < used && rc == PRD_OK; i++) {
        c = &view->outlook.client[i];

        if (i % PRD_PROFILE_ALIVE == 0) {
            rc = f->write(f->data, "", 0);
        }

        if (c->tag == 0) {
            continue;
        }

        prd_outlook_pack(c, p);
        p += PRD_OUTLOOK_PACKED;

        if (rc == PRD_OK && ++n == PRD_PROFILE_TRACKED) {
            uint8_t  *q = buf;

            prd_pack32(&q, n);
            rc = prd_profile_write(f, buf, (size_t) (p - buf));
            p = buf + 4;
            n = 0;
        }
    }

    if (rc == PRD_OK && n) {
        uint8_t  *q = buf;

        prd_pack32(&q, n);
        rc = prd_profile_write(f, buf, (size_t) (p - buf));
    }

    memset(buf, 0, 4);

    rc = rc == PRD_OK ? prd_profile_write(f, buf, 4) : rc;

    return rc == PRD_OK ? prd_profile_write_tracks(f, view) : rc;
}


prd_rc_t
prd_profile_read_outlook(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint64_t base_s)
{
    float           typical;
    size_t          len;
    int64_t         shift_s;
    uint8_t         buf[PRD_PROFILE_PACK];
    uint32_t        i, k, n, id, slot;
    uint64_t        then_s;
    prd_rc_t        rc;
    prd_tracked_t   c;
    prd_outlook_t  *o;
    const uint8_t  *p;

    o = view ? view->outlook.outlook : NULL;
    shift_s = 0;

    if (f->version > PRD_PROFILE_OLD) {
        rc = prd_profile_read(f, buf, 8);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;
        then_s = prd_unpack64(&p);
        shift_s = (int64_t) base_s
                  - (int64_t) prd_min(then_s, INT64_MAX / 2);
    }

    rc = prd_profile_read_pack(f, buf, sizeof(buf), &len);

    if (rc != PRD_OK) {
        return rc;
    }

    if (o && prd_group_unpack(&o->groups, buf, len) != PRD_OK) {
        memset(&o->groups, 0, sizeof(prd_groups_t));
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        rc = prd_profile_read32(f, &id);

        if (rc == PRD_OK && id == 0) {
            continue;
        }

        rc = rc == PRD_OK ? prd_profile_read_pack(f, buf, sizeof(buf), &len)
                          : rc;

        if (rc != PRD_OK) {
            return rc;
        }

        if (o && o->groups.group[i].id == id) {
            o->chain_id[i] = id;
            (void) prd_markov_unpack(&o->chain[i], buf, len);
        }

        rc = prd_profile_read(f, buf, 96);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;

        for (k = 0; k < 24; k++) {
            typical = prd_unpack_float(&p);

            if (o && o->groups.group[i].id == id
                && typical >= 0 && typical <= PRD_PROFILE_TOKENS)
            {
                o->typical[i][k] = typical;
            }
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        rc = prd_profile_read_curve(f, o ? &o->zone[i] : NULL,
                                    prd_outlook_span_s[i]);
        if (rc != PRD_OK) {
            return rc;
        }
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        rc = prd_profile_read_curve(f, o && o->groups.group[i].id
                                       ? &o->group[i] : NULL,
                                    prd_outlook_span_s[1]);
        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (f->version > PRD_PROFILE_OLD) {
        rc = prd_profile_read_open(f, o);
        rc = rc == PRD_OK ? prd_profile_read_sizes(f, o) : rc;

        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (f->version > PRD_PROFILE_CLASSLESS) {
        rc = prd_profile_read_classes(f, view, now_s);

        if (rc != PRD_OK) {
            return rc;
        }
    }

    if (o) {
        o->loads++;
        prd_outlook_resume(&view->outlook, now_s);
    }

    for ( ;; ) {
        rc = prd_profile_read32(f, &n);

        if (rc != PRD_OK) {
            return rc;
        }

        if (n == 0) {
            break;
        }

        if (n > PRD_PROFILE_TRACKED) {
            return PRD_ECORRUPT;
        }

        rc = prd_profile_read(f, buf, (size_t) n * PRD_OUTLOOK_PACKED);

        if (rc != PRD_OK) {
            return rc;
        }

        for (i = 0; o && i < n; i++) {

            if (prd_outlook_unpack(&c, buf + i * PRD_OUTLOOK_PACKED)
                != PRD_OK)
            {
                return PRD_ECORRUPT;
            }

            slot = prd_table_find(&view->table, c.tag);

            if (slot != PRD_NO_SLOT) {
                prd_outlook_shift(&c, shift_s);
                c.refused = atomic_load_explicit(
                                &view->table.entries[slot].refused,
                                memory_order_relaxed);
                (void) prd_outlook_give(&view->outlook, &c, slot,
                    (uint16_t) prd_env_generation(atomic_load_explicit(
                        &view->table.entries[slot].envelope,
                        memory_order_relaxed)));
            }
        }
    }

    return f->version > PRD_PROFILE_OLD
           ? prd_profile_read_tracks(f, view, policy, (int64_t) base_s,
                                     shift_s)
           : PRD_OK;
}


/* Of a zone that its thread may be writing: what is not sane begins anew. */

void
prd_profile_copy_outlook(const prd_view_t *from, prd_view_t *to,
    const prd_policy_t *policy, uint64_t now_s)
{
    size_t                len;
    uint8_t               buf[PRD_PROFILE_PACK];
    uint32_t              i, used, slot;
    prd_tracked_t         c, sane;
    prd_outlook_t        *o, *was;
    prd_outlook_track_t   t;

    o = to->outlook.outlook;
    was = from->outlook.outlook;

    len = sizeof(buf);

    if (prd_group_pack(&was->groups, buf, &len) == PRD_OK) {
        (void) prd_group_unpack(&o->groups, buf, len);
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        len = sizeof(buf);

        if (o->groups.group[i].id == 0
            || was->chain_id[i] != o->groups.group[i].id
            || prd_markov_pack(&was->chain[i], buf, &len) != PRD_OK
            || prd_markov_unpack(&o->chain[i], buf, len) != PRD_OK)
        {
            continue;
        }

        o->chain_id[i] = was->chain_id[i];
        memcpy(o->typical[i], was->typical[i], sizeof(o->typical[i]));
        memcpy(&o->group[i], &was->group[i], sizeof(prd_aggregate_t));

        if (prd_aggregate_check(&o->group[i], prd_outlook_span_s[1])
            != PRD_OK)
        {
            (void) prd_aggregate_init(&o->group[i], prd_outlook_span_s[1]);
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        memcpy(&o->zone[i], &was->zone[i], sizeof(prd_aggregate_t));

        if (prd_aggregate_check(&o->zone[i], prd_outlook_span_s[i])
            != PRD_OK)
        {
            (void) prd_aggregate_init(&o->zone[i], prd_outlook_span_s[i]);
        }
    }

    for (i = 0; i < PRD_OUTLOOK_SPANS; i++) {
        o->bin[i] = was->bin[i];
        o->sum[i] = prd_profile_tokens(was->sum[i]);
    }

    o->group_bin = was->group_bin;

    for (i = 0; i < PRD_GROUPS; i++) {
        if (o->groups.group[i].id && o->chain_id[i] == was->chain_id[i]) {
            o->group_sum[i] = (float) prd_profile_tokens(was->group_sum[i]);
            o->group_n[i] = was->group_n[i];
            o->group_bytes[i] = was->group_bytes[i];
        }
    }

    /* the caller has copied which class is which */

    memcpy(&o->classes, &was->classes, sizeof(prd_classes_t));
    prd_class_settle(&o->classes, now_s, to->zone->classes);

    o->sizes = was->sizes;
    o->cost = was->cost;
    memcpy(o->bytes, was->bytes, sizeof(o->bytes));
    memcpy(o->bytes_covered, was->bytes_covered, sizeof(o->bytes_covered));
    memcpy(o->bytes_scored, was->bytes_scored, sizeof(o->bytes_scored));
    prd_profile_settle_sizes(o);

    for (i = 0; i < PRD_PROFILE_TRIES; i++) {
        memcpy(&o->tracks, &was->tracks, sizeof(prd_tracks_t));

        if (prd_tracks_check(&o->tracks, sizeof(prd_tracks_t)) == PRD_OK) {
            break;
        }
    }

    prd_profile_settle_tables(&o->tracks);

    o->loads = was->loads + 1;
    prd_outlook_resume(&to->outlook, now_s);

    used = atomic_load_explicit(&was->used, memory_order_relaxed);
    used = prd_min(used, from->outlook.clients);

    for (i = 0; i < used; i++) {

        if (prd_outlook_copy(&from->outlook, i, &c) != PRD_OK) {
            continue;
        }

        slot = prd_table_find(&to->table, c.tag);

        if (slot == PRD_NO_SLOT) {
            continue;
        }

        prd_outlook_pack(&c, buf);

        if (prd_outlook_unpack(&sane, buf) == PRD_OK) {
            sane.refused = atomic_load_explicit(
                               &to->table.entries[slot].refused,
                               memory_order_relaxed);
            (void) prd_outlook_give(&to->outlook, &sane, slot,
                (uint16_t) prd_env_generation(atomic_load_explicit(
                    &to->table.entries[slot].envelope,
                    memory_order_relaxed)));

            if (prd_outlook_copy_bins(&from->outlook, &c, &t) == PRD_OK
                && prd_track_check(&t.track, sizeof(prd_track_t)) == PRD_OK)
            {
                prd_profile_give_track(to, c.tag, &t, policy);
            }
        }
    }
}
