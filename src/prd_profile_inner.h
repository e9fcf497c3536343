
/*
 * What the files of learned state share, for these alone: prd_profile.c (the
 * file, and whole zones in it), prd_profile_pooled.c (pooled tables),
 * prd_profile_record.c (clients' records), prd_profile_copy.c (from one zone
 * into another), prd_profile_outlook*.c (what is forecast beside envelopes;
 * see prd_profile_outlook_inner.h).  prd_profile.c and prd_profile_copy.c call
 * the others.
 */


#ifndef PRD_PROFILE_INNER_H_INCLUDED
#define PRD_PROFILE_INNER_H_INCLUDED


#include "prd_bytes.h"
#include "prd_profile.h"


#define PRD_PROFILE_RECORD   104
#define PRD_PROFILE_ZONE     11
#define PRD_PROFILE_SCORES   ((PRD_CELLS + 1) * 4 + 8)
#define PRD_PROFILE_POOLED   (3 * PRD_AGES * PRD_PROFILE_SCORES               \
                              + (11 + 3 * PRD_AGES + PRD_PROFILE_ZONE) * 8)

#define PRD_PROFILE_ALIVE    65536         /* slots between signs of life */

/* what the engine works with; logarithms are of tokens, to the base of 2 */
#define PRD_PROFILE_LOG      40.0
#define PRD_PROFILE_SIGMA    0.01
#define PRD_PROFILE_SPREAD   16.0
#define PRD_PROFILE_TOKENS   1e12
#define PRD_PROFILE_SUM      1e18


/* A client, with stamps of this machine. */

typedef struct {
    uint64_t       tag;
    uint32_t       level;
    uint32_t       idle_ms;
    uint32_t       backlog;
    uint32_t       seen_ms;
    uint32_t       refused;
    uint32_t       hold;
    uint32_t       parent;
    prd_learned_t  learned;             /* sigma 0: a newcomer's, none */
} prd_record_t;


/* prd_profile_pooled.c */

/* PRD_PROFILE_POOLED bytes, as of now_s. */
void prd_profile_put_pooled(uint8_t **p, const prd_zone_t *zone,
    uint64_t now_s);

/*
 * As many, into the view's zone; gone_s: from their writing until now_s.
 * PRD_ECORRUPT: a value is not finite, and the zone is as it was.
 */
prd_rc_t prd_profile_get_pooled(const uint8_t **p, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, double gone_s);


/* prd_profile_record.c */

/*
 * Reads a client from its slot.  PRD_DECLINED: there is none, or it went
 * while it was read.
 */
prd_rc_t prd_profile_take(const prd_view_t *view, uint32_t slot,
    uint32_t now_ms, prd_record_t *r);

/* 0 if a value is not finite; the others end up in their ranges. */
int prd_profile_sane(prd_learned_t *l);

/*
 * Gives a client a slot of a zone that nobody else uses yet.
 *
 * While a zone is filled, all in it count as just seen, so that no known
 * client has to leave for one that comes later, is known for less and has
 * been here of late; prd_profile_settle() then tells when each was seen.
 */
void prd_profile_give(prd_view_t *view, const prd_policy_t *policy,
    const prd_record_t *r, uint32_t now_ms, uint64_t *kept);
void prd_profile_settle(prd_view_t *view, uint32_t now_ms);

/* PRD_PROFILE_RECORD bytes, as of now_s. */
void prd_profile_put_record(uint8_t **p, const prd_record_t *r,
    const prd_policy_t *policy, uint64_t now_s);

/*
 * As many, of a zone that counted in `unit`; base_s: our time when they were
 * written, gone_s: since.  PRD_DECLINED: nothing to be taken over.
 */
prd_rc_t prd_profile_get_record(const uint8_t **p, prd_record_t *r,
    const prd_view_t *view, const prd_policy_t *policy, uint32_t unit,
    uint64_t base_s, uint64_t gone_s);

/* Tokens of one unit in another, rounded up; no more than fit. */
uint32_t prd_profile_units(uint32_t v, uint32_t from, uint32_t to);


/* prd_profile_outlook.c */

prd_rc_t prd_profile_write_outlook(prd_profile_t *f, const prd_view_t *view,
    uint64_t now_s);

/* view NULL: skips.  base_s: our time when the file was written. */
prd_rc_t prd_profile_read_outlook(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint64_t base_s);


static inline double
prd_clamp(double v, double least, double most)
{
    return v < least ? least : v > most ? most : v;
}


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


#endif /* PRD_PROFILE_INNER_H_INCLUDED */
