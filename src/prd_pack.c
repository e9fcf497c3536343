
/*
 * Packed records of clients; see prd_pack.h.
 *
 * Hours and horizons are counted from the epoch of a node's own clock.  What
 * is packed is the age of their middle in eighths of their length, so that
 * rounding never moves a record to the one before or after.
 */


#include <math.h>

#include "prd_hash.h"
#include "prd_pack.h"


#define PRD_PACK_STEPS    1024.0
#define PRD_PACK_LOW      20.0
#define PRD_PACK_SPREAD   2048.0         /* steps of sigma */
#define PRD_PACK_SIGMA    0.01           /* the least */
#define PRD_PACK_TOKENS   1e-3           /* no envelope is less: its */
#define PRD_PACK_RATE     1e-9           /* logarithm is taken */
#define PRD_PACK_AGE_S    4
#define PRD_PACK_EIGHTHS  8
#define PRD_PACK_GONE_S   (30 * 86400u)  /* no record is older */
#define PRD_PACK_COUNTED  0x01


uint32_t
prd_pack_mu(double v)
{
    v = (v + PRD_PACK_LOW) * PRD_PACK_STEPS + 0.5;

    return v > 0 ? (uint32_t) prd_min(v, UINT16_MAX) : 0;
}


double
prd_unpack_mu(uint32_t code)
{
    return (code & UINT16_MAX) / PRD_PACK_STEPS - PRD_PACK_LOW;
}


uint32_t
prd_pack_log(double v)
{
    uint32_t  code;

    if (!(v > 0)) {
        return 0;
    }

    code = prd_pack_mu(log2(v));

    return prd_max(code, 1);
}


double
prd_unpack_log(uint32_t code)
{
    code &= UINT16_MAX;

    return code ? exp2(prd_unpack_mu(code)) : 0;
}


static uint8_t
prd_pack_sum(const uint8_t *buf)
{
    uint64_t        sum;
    prd_checksum_t  c;

    prd_checksum_init(&c);
    prd_checksum_update(&c, buf, 1);
    prd_checksum_update(&c, buf + 2, PRD_PACK_SIZE - 2);
    sum = prd_checksum_final(&c);

    return (uint8_t) (sum ^ sum >> 32);
}


/* Of a stamp: in steps of four seconds; what lies ahead is no age. */

static uint32_t
prd_pack_age(uint64_t now_s, uint32_t at_s)
{
    uint64_t  age;

    age = now_s > at_s ? (now_s - at_s) / PRD_PACK_AGE_S : 0;

    return (uint32_t) prd_min(age, UINT16_MAX);
}


/* Of the middle of bin n (mod 2^16), in eighths of its size, signed. */

static uint32_t
prd_pack_bin(uint64_t now_s, uint16_t n, uint32_t size_s)
{
    double   age;
    int16_t  gap;

    gap = (int16_t) ((uint16_t) (now_s / size_s) - n);
    age = (double) (now_s % size_s) / size_s - 0.5 + gap;
    age = floor(age * PRD_PACK_EIGHTHS + 0.5);
    age = prd_max(prd_min(age, INT16_MAX), INT16_MIN);

    return (uint16_t) (int16_t) age;
}


static uint16_t
prd_unpack_bin(double now_s, uint16_t age, uint32_t size_s)
{
    double  bin;

    bin = floor(now_s / size_s - (double) (int16_t) age / PRD_PACK_EIGHTHS);

    return bin > 0 ? (uint16_t) (uint64_t) bin : 0;
}


static float
prd_unpack_spread(const uint8_t **p)
{
    double  sigma;

    sigma = prd_unpack16(p) / PRD_PACK_SPREAD;

    return (float) prd_max(sigma, PRD_PACK_SIGMA);
}


static float
prd_unpack_least(const uint8_t **p, double least)
{
    double  v;

    v = prd_unpack_log(prd_unpack16(p));

    return (float) prd_max(v, least);
}


static uint32_t
prd_unpack_stamp(const uint8_t **p, double now_s)
{
    double  at_s;

    at_s = now_s - (double) PRD_PACK_AGE_S * prd_unpack16(p);

    return (uint32_t) prd_max(at_s, 0.0);
}


prd_rc_t
prd_pack_put(uint8_t buf[PRD_PACK_SIZE], const prd_learned_t *l, double hold,
    const prd_pack_terms_t *t)
{
    uint8_t   *p;
    uint64_t   now_s;

    if (!(l->sigma > 0) || !isfinite(l->sigma) || !isfinite(l->mu)
        || !isfinite(l->mu_rate) || !isfinite(l->sigma_rate)
        || !isfinite(l->depth) || !isfinite(l->rate)
        || !isfinite(l->cap_depth) || !isfinite(l->cap_rate)
        || !isfinite(l->count) || !isfinite(l->level) || !isfinite(l->near))
    {
        return PRD_ECORRUPT;
    }

    p = buf;
    *p++ = PRD_PACK_VERSION;
    *p++ = 0;
    prd_pack16(&p, t->by);
    prd_pack32(&p, t->shared_s);

    prd_pack16(&p, prd_pack_mu(l->mu));
    prd_pack16(&p, (uint32_t) prd_min(l->sigma * PRD_PACK_SPREAD + 0.5,
                                      UINT16_MAX));
    prd_pack16(&p, prd_pack_mu(l->mu_rate));
    prd_pack16(&p, (uint32_t) prd_max(prd_min(l->sigma_rate * PRD_PACK_SPREAD
                                              + 0.5, UINT16_MAX), 0));

    prd_pack16(&p, prd_pack_log(l->depth));
    prd_pack16(&p, prd_pack_log(l->rate));
    prd_pack16(&p, prd_pack_log(l->cap_depth));
    prd_pack16(&p, prd_pack_log(l->cap_rate));

    prd_pack16(&p, prd_pack_log(l->count));
    prd_pack16(&p, prd_pack_log(l->level));
    prd_pack16(&p, prd_pack_log(l->near));
    prd_pack16(&p, prd_pack_log(hold));

    prd_pack16(&p, prd_pack_age(t->now_s, l->depth_at));
    prd_pack16(&p, prd_pack_age(t->now_s, l->rate_at));

    now_s = t->now_s + t->phase_s;
    prd_pack16(&p, prd_pack_bin(now_s, l->epoch, PRD_EPOCH_S));

    /* a block that ends now belongs to the bin before, see prd_envelope.c */

    now_s -= prd_min(now_s, PRD_BIN_S / 2);
    prd_pack16(&p, prd_pack_bin(now_s, l->near_bin, t->horizon_s));

    prd_pack16(&p, l->blocks);
    prd_pack16(&p, l->hours);
    *p++ = l->run;

    /*
     * No more than that: to nodes that know of no other flag a record with
     * one is none, and they would learn its client anew.  Whether a client was
     * refused only a zone without a store knows.
     */

    *p++ = l->counted && l->hours ? PRD_PACK_COUNTED : 0;

    buf[1] = prd_pack_sum(buf);

    return PRD_OK;
}


prd_rc_t
prd_pack_get(const uint8_t *buf, size_t len, prd_learned_t *l, double *hold,
    uint16_t *by, const prd_pack_terms_t *t)
{
    double          now_s;
    int32_t         gone;
    uint32_t        n;
    prd_learned_t   r;
    const uint8_t  *p;

    if (len == 0) {
        return PRD_ECORRUPT;
    }

    if (buf[0] != PRD_PACK_VERSION) {
        return PRD_EVERSION;
    }

    /* flags that are not known here are a later node's */

    if (len != PRD_PACK_SIZE || buf[1] != prd_pack_sum(buf)) {
        return PRD_ECORRUPT;
    }

    memset(&r, 0, sizeof(prd_learned_t));

    p = buf + PRD_PACK_BY;
    n = prd_unpack16(&p);

    if (by) {
        *by = (uint16_t) n;
    }

    /* the packer's now, by our clock; what was packed ahead is of now */

    gone = (int32_t) (t->shared_s - prd_unpack32(&p));
    gone = prd_max(gone, 0);
    now_s = (double) t->now_s - prd_min((uint32_t) gone, PRD_PACK_GONE_S);
    now_s = prd_max(now_s, 0.0);

    r.mu = (float) prd_unpack_mu(prd_unpack16(&p));
    r.sigma = prd_unpack_spread(&p);
    r.mu_rate = (float) prd_unpack_mu(prd_unpack16(&p));
    r.sigma_rate = prd_unpack_spread(&p);

    r.depth = prd_unpack_least(&p, PRD_PACK_TOKENS);
    r.rate = prd_unpack_least(&p, PRD_PACK_RATE);
    r.cap_depth = prd_unpack_least(&p, PRD_PACK_TOKENS);
    r.cap_rate = prd_unpack_least(&p, PRD_PACK_RATE);

    r.count = (float) prd_unpack_log(prd_unpack16(&p));
    r.level = (float) prd_unpack_log(prd_unpack16(&p));
    r.near = (float) prd_unpack_log(prd_unpack16(&p));
    *hold = prd_unpack_log(prd_unpack16(&p));

    r.depth_at = prd_unpack_stamp(&p, now_s);
    r.rate_at = prd_unpack_stamp(&p, now_s);

    now_s += t->phase_s;
    r.epoch = prd_unpack_bin(now_s, prd_unpack16(&p), PRD_EPOCH_S);
    r.near_bin = prd_unpack_bin(prd_max(now_s - PRD_BIN_S / 2, 0.0),
                                prd_unpack16(&p), t->horizon_s);

    r.blocks = prd_unpack16(&p);
    r.hours = prd_unpack16(&p);
    r.run = *p++;
    r.counted = r.hours && (*p & PRD_PACK_COUNTED);
    prd_learned_prove(&r);

    *l = r;

    return PRD_OK;
}
