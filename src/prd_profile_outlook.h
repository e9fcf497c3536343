
/*
 * A part of prd_profile.c, for it alone: clients' curves and groups, those of
 * the zone and what they were forecast from, to a file, from it, and from one
 * zone into another.
 */


#ifndef PRD_PROFILE_OUTLOOK_H_INCLUDED
#define PRD_PROFILE_OUTLOOK_H_INCLUDED


#include "prd_bytes.h"
#include "prd_profile.h"


#define PRD_PROFILE_ALIVE    65536         /* slots between signs of life */
#define PRD_PROFILE_TOKENS   1e12
#define PRD_PROFILE_SUM      1e18


prd_rc_t prd_profile_write_outlook(prd_profile_t *f, const prd_view_t *view,
    uint64_t now_s);
prd_rc_t prd_profile_read_outlook(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint64_t base_s);
void prd_profile_copy_outlook(const prd_view_t *from, prd_view_t *to,
    const prd_policy_t *policy, uint64_t now_s);


static inline prd_rc_t
prd_profile_write(prd_profile_t *f, const void *p, size_t len)
{
    prd_checksum_update(&f->sum, p, len);

    return f->write(f->data, p, len);
}


static inline prd_rc_t
prd_profile_read(prd_profile_t *f, void *p, size_t len)
{
    prd_rc_t  rc;

    rc = f->read(f->data, p, len);

    if (rc == PRD_OK) {
        prd_checksum_update(&f->sum, p, len);
    }

    return rc;
}


static inline prd_rc_t
prd_profile_read32(prd_profile_t *f, uint32_t *v)
{
    prd_rc_t        rc;
    uint8_t         buf[4];
    const uint8_t  *p = buf;

    rc = prd_profile_read(f, buf, sizeof(buf));

    if (rc == PRD_OK) {
        *v = prd_unpack32(&p);
    }

    return rc;
}


static inline uint32_t
prd_profile_horizon(const prd_policy_t *policy)
{
    return prd_max(policy->params.horizon_s, PRD_BIN_S);
}


#endif /* PRD_PROFILE_OUTLOOK_H_INCLUDED */
