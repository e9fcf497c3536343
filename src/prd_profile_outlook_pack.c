
/*
 * Runs of bytes whose length goes before them: packs, curves, and words, of
 * which those that are 0 are left out.
 */


#include "prd_profile_outlook_inner.h"


#define PRD_PROFILE_CURVE    (1024 * 1024)
#define PRD_PROFILE_WORDS    (16 * 1024 * 1024)
#define PRD_PROFILE_PIECE    512           /* words that share a bitmap */


prd_rc_t
prd_profile_write_pack(prd_profile_t *f, const void *p, size_t len)
{
    uint8_t   buf[4], *q;
    prd_rc_t  rc;

    q = buf;
    prd_pack32(&q, (uint32_t) len);
    rc = prd_profile_write(f, buf, 4);

    return rc == PRD_OK && len ? prd_profile_write(f, p, len) : rc;
}


prd_rc_t
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


prd_rc_t
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


/* Most words of a young track and of tables that few vote in are 0. */

prd_rc_t
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


prd_rc_t
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
