
/*
 * The file format of learned state, see prd_profile.h: its head and its end,
 * and a whole zone, of which other rooms write and read the parts.
 */


#include <math.h>

#include "prd_profile_inner.h"


#define PRD_PROFILE_MAGIC    "PRDSTATE"
#define PRD_PROFILE_HEAD     40


_Static_assert(PRD_PROFILE_CHUNK * PRD_PROFILE_RECORD + 8
               <= PRD_PROFILE_POOLED
               && PRD_CLASSES * 16 + 4 <= PRD_PROFILE_POOLED,
               "what is buffered fits where the pooled tables do");


prd_rc_t
prd_profile_write_head(prd_profile_t *f, const prd_profile_head_t *head)
{
    uint8_t  buf[PRD_PROFILE_HEAD], *p = buf;

    prd_checksum_init(&f->sum);
    f->written_s = head->written_s;
    f->version = PRD_PROFILE_VERSION;

    memcpy(p, PRD_PROFILE_MAGIC, 8);
    p += 8;

    prd_pack32(&p, PRD_PROFILE_VERSION);
    prd_pack32(&p, head->zones);
    prd_pack64(&p, head->written_s);
    prd_pack64(&p, head->started_ms);
    prd_pack32(&p, head->pid);
    prd_pack32(&p, 0);

    return prd_profile_write(f, buf, sizeof(buf));
}


prd_rc_t
prd_profile_read_head(prd_profile_t *f, prd_profile_head_t *head)
{
    prd_rc_t        rc;
    uint8_t         buf[PRD_PROFILE_HEAD];
    const uint8_t  *p;

    prd_checksum_init(&f->sum);

    /* the magic alone first: a short file of another kind is no damaged one */

    rc = prd_profile_read(f, buf, 8);

    if (rc != PRD_OK) {
        return rc;
    }

    if (memcmp(buf, PRD_PROFILE_MAGIC, 8) != 0) {
        return PRD_ECORRUPT;
    }

    rc = prd_profile_read(f, buf + 8, sizeof(buf) - 8);

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf + 8;
    head->version = prd_unpack32(&p);

    if (head->version < PRD_PROFILE_OLD
        || head->version > PRD_PROFILE_VERSION)
    {
        return PRD_EVERSION;
    }

    head->zones = prd_unpack32(&p);
    head->written_s = prd_unpack64(&p);
    head->started_ms = prd_unpack64(&p);
    head->pid = prd_unpack32(&p);

    f->written_s = head->written_s;
    f->version = head->version;

    return PRD_OK;
}


prd_rc_t
prd_profile_write_zone(prd_profile_t *f, prd_str_t name, prd_str_t key,
    const prd_view_t *view, const prd_policy_t *policy, uint64_t now_s,
    uint32_t now_ms)
{
    uint8_t               buf[PRD_PROFILE_POOLED], *p;
    uint32_t              i, n, s, age, count[PRD_AGES], hash;
    prd_rc_t              rc;
    prd_zone_t           *zone;
    prd_record_t          r;
    const prd_learned_t  *l;

    if (name.len == 0 || name.len >= PRD_PROFILE_NAME
        || key.len >= PRD_PROFILE_KEY)
    {
        return PRD_ERANGE;
    }

    zone = view->zone;

    p = buf;
    prd_pack16(&p, (uint16_t) name.len);
    memcpy(p, name.data, name.len);
    p += name.len;
    prd_pack16(&p, (uint16_t) key.len);

    rc = prd_profile_write(f, buf, (size_t) (p - buf));

    if (rc == PRD_OK) {
        rc = prd_profile_write(f, key.data, key.len);
    }

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf;
    prd_pack64(&p, zone->secret.k0);
    prd_pack64(&p, zone->secret.k1);
    prd_pack64(&p, now_s > zone->learn_since_s ? now_s - zone->learn_since_s
                                              : 0);
    prd_pack32(&p, zone->unit);
    prd_pack32(&p, PRD_PROFILE_POOLED);

    rc = prd_profile_write(f, buf, (size_t) (p - buf));

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf;
    prd_profile_put_pooled(&p, zone, now_s);

    rc = prd_profile_write(f, buf, (size_t) (p - buf));

    if (rc != PRD_OK) {
        return rc;
    }

    /* classes; a name claimed from here on waits for the next save */

    p = buf + 4;
    n = 0;

    for (i = 0; i < PRD_CLASSES; i++) {
        hash = atomic_load_explicit(&zone->classes[i], memory_order_relaxed);

        if (i == 0 || hash) {
            prd_pack32(&p, i);
            prd_pack32(&p, hash);
            prd_pack_double(&p, zone->surge_slow[i]);
            n++;
        }
    }

    {
        uint8_t  *q = buf;

        prd_pack32(&q, n);
    }

    rc = prd_profile_write(f, buf, (size_t) (p - buf));

    if (rc != PRD_OK) {
        return rc;
    }

    /* a pass for each age class that has members, longest known first */

    memset(count, 0, sizeof(count));

    for (s = 0; s < prd_zone_slots(view); s++) {
        l = &view->learned[s];
        count[prd_age(l->hours)] += l->blocks || l->hours;
    }

    n = 0;
    p = buf + 4;

    for (age = PRD_AGES; age-- > 0; /* void */ ) {

        if (count[age] == 0) {
            continue;
        }

        for (s = 0; s < prd_zone_slots(view); s++) {

            if (s % PRD_PROFILE_ALIVE == 0) {
                rc = f->write(f->data, "", 0);

                if (rc != PRD_OK) {
                    return rc;
                }
            }

            l = &view->learned[s];

            if ((l->blocks == 0 && l->hours == 0) || prd_age(l->hours) != age
                || prd_profile_take(view, s, now_ms, &r) != PRD_OK
                || (r.learned.blocks == 0 && r.learned.hours == 0)
                || !prd_profile_sane(&r.learned))
            {
                continue;
            }

            prd_profile_put_record(&p, &r, policy, now_s);

            if (++n == PRD_PROFILE_CHUNK) {
                uint8_t  *q = buf;

                prd_pack32(&q, n);
                rc = prd_profile_write(f, buf, (size_t) (p - buf));

                if (rc != PRD_OK) {
                    return rc;
                }

                n = 0;
                p = buf + 4;
            }
        }
    }

    if (n) {
        uint8_t  *q = buf;

        prd_pack32(&q, n);
        prd_pack32(&p, 0);

        rc = prd_profile_write(f, buf, (size_t) (p - buf));

    } else {
        memset(buf, 0, 4);
        rc = prd_profile_write(f, buf, 4);
    }

    return rc == PRD_OK ? prd_profile_write_outlook(f, view, now_s) : rc;
}


prd_rc_t
prd_profile_write_end(prd_profile_t *f)
{
    uint8_t  buf[8], *p = buf;

    prd_pack64(&p, prd_checksum_final(&f->sum));

    return f->write(f->data, buf, sizeof(buf));
}


prd_rc_t
prd_profile_read_name(prd_profile_t *f, char *name, size_t *name_len,
    char *key, size_t *key_len, prd_secret_t *secret)
{
    size_t          len[2];
    uint8_t         buf[16];
    prd_rc_t        rc;
    const uint8_t  *p;

    p = buf;
    rc = prd_profile_read(f, buf, 2);

    if (rc != PRD_OK) {
        return rc;
    }

    len[0] = prd_unpack16(&p);

    if (len[0] == 0 || len[0] >= PRD_PROFILE_NAME) {
        return PRD_ECORRUPT;
    }

    rc = prd_profile_read(f, name, len[0]);

    if (rc == PRD_OK) {
        p = buf;
        rc = prd_profile_read(f, buf, 2);
    }

    if (rc != PRD_OK) {
        return rc;
    }

    len[1] = prd_unpack16(&p);

    if (len[1] >= PRD_PROFILE_KEY) {
        return PRD_ECORRUPT;
    }

    rc = prd_profile_read(f, key, len[1]);

    if (rc == PRD_OK) {
        rc = prd_profile_read(f, buf, 16);
    }

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf;
    secret->k0 = prd_unpack64(&p);
    secret->k1 = prd_unpack64(&p);

    *name_len = len[0];
    *key_len = len[1];

    return PRD_OK;
}


/* Reads a zone's body, into `view` unless that is NULL. */

static prd_rc_t
prd_profile_read_body(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint32_t now_ms,
    uint64_t *kept)
{
    double          slow;
    uint8_t         buf[PRD_PROFILE_POOLED];
    uint32_t        i, n, index, hash, unit;
    uint64_t        learned_s, base_s, gone_s;
    prd_rc_t        rc;
    prd_zone_t     *zone;
    prd_record_t    r;
    const uint8_t  *p;

    zone = view ? view->zone : NULL;

    base_s = prd_min(now_s, f->written_s);
    gone_s = now_s - base_s;

    rc = prd_profile_read(f, buf, 16);

    if (rc != PRD_OK) {
        return rc;
    }

    p = buf;
    learned_s = prd_unpack64(&p);
    unit = prd_unpack32(&p);

    if ((unit != 1 && unit != PRD_MILLI)
        || prd_unpack32(&p) != PRD_PROFILE_POOLED)
    {
        return PRD_ECORRUPT;
    }

    rc = prd_profile_read(f, buf, PRD_PROFILE_POOLED);

    if (rc != PRD_OK) {
        return rc;
    }

    if (view) {
        p = buf;
        rc = prd_profile_get_pooled(&p, view, policy, now_s, (double) gone_s);

        if (rc != PRD_OK) {
            return rc;
        }

        zone->learn_since_s = now_s > learned_s ? now_s - learned_s : 0;
        atomic_store(&zone->warm, now_s >= zone->learn_since_s
                                           + policy->params.warmup_s);
    }

    rc = prd_profile_read32(f, &n);

    if (rc != PRD_OK) {
        return rc;
    }

    if (n > PRD_CLASSES) {
        return PRD_ECORRUPT;
    }

    for (i = 0; i < n; i++) {
        rc = prd_profile_read(f, buf, 16);

        if (rc != PRD_OK) {
            return rc;
        }

        p = buf;
        index = prd_unpack32(&p);
        hash = prd_unpack32(&p);
        slow = prd_unpack_double(&p);

        if (index >= PRD_CLASSES || (index == 0) != (hash == 0)
            || !isfinite(slow))
        {
            return PRD_ECORRUPT;
        }

        if (view) {
            atomic_store_explicit(&zone->classes[index], hash,
                                  memory_order_relaxed);
            zone->surge_slow[index] = prd_clamp(slow, 0, PRD_PROFILE_TOKENS);
        }
    }

    for ( ;; ) {
        rc = prd_profile_read32(f, &n);

        if (rc != PRD_OK) {
            return rc;
        }

        if (n == 0) {
            return prd_profile_read_outlook(f, view, policy, now_s, base_s);
        }

        if (n > PRD_PROFILE_CHUNK) {
            return PRD_ECORRUPT;
        }

        rc = prd_profile_read(f, buf, (size_t) n * PRD_PROFILE_RECORD);

        if (rc != PRD_OK) {
            return rc;
        }

        if (view == NULL) {
            continue;
        }

        p = buf;

        for (i = 0; i < n; i++) {
            rc = prd_profile_get_record(&p, &r, view, policy, unit, base_s,
                                        gone_s);
            if (rc == PRD_OK) {
                prd_profile_give(view, policy, &r, now_ms, kept);

            } else if (rc != PRD_DECLINED) {
                return rc;
            }
        }
    }
}


prd_rc_t
prd_profile_read_zone(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint32_t now_ms,
    uint64_t *kept)
{
    prd_rc_t  rc;

    *kept = 0;

    rc = prd_profile_read_body(f, view, policy, now_s, now_ms, kept);

    prd_profile_settle(view, now_ms);

    return rc;
}


prd_rc_t
prd_profile_skip_zone(prd_profile_t *f)
{
    return prd_profile_read_body(f, NULL, NULL, 0, 0, NULL);
}


prd_rc_t
prd_profile_read_end(prd_profile_t *f)
{
    char            more;
    uint8_t         buf[8];
    prd_rc_t        rc;
    const uint8_t  *p = buf;

    rc = f->read(f->data, buf, sizeof(buf));

    if (rc != PRD_OK) {
        return rc;
    }

    if (prd_unpack64(&p) != prd_checksum_final(&f->sum)) {
        return PRD_ECORRUPT;
    }

    return f->read(f->data, &more, 1) == PRD_OK ? PRD_ECORRUPT : PRD_OK;
}
