
/*
 * What the bins that are open hold, and the sizes of requests.
 */


#include "prd_profile_outlook_inner.h"


#define PRD_PROFILE_OPEN     (16 * PRD_OUTLOOK_SPANS + 8 + 8 * PRD_GROUPS)
#define PRD_PROFILE_SIZES    (8 * PRD_SIZES + 8 * PRD_GROUPS + 8              \
                              + 16 * PRD_OUTLOOK_SPANS)


prd_rc_t
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


prd_rc_t
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

prd_rc_t
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


void
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


prd_rc_t
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
