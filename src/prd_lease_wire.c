
/*
 * The bytes of leases: names of keys, arguments of the store's script, and its
 * replies, which are not trusted.
 */


#include "prd_lease_inner.h"
#include "prd_pack.h"
#include "prd_text.h"


void
prd_lease_key(uint64_t tag, char *hex)
{
    prd_put_hex(hex, tag);
}


static inline uint64_t
prd_lease_bits(double x)
{
    uint64_t  n;

    memcpy(&n, &x, sizeof(n));

    return n;
}


static inline double
prd_lease_double(uint64_t n)
{
    double  x;

    memcpy(&x, &n, sizeof(x));

    return x;
}


/* version u8 | 1: whole tokens, 2: somebody takes counts | nodes u16 | 0 */

void
prd_lease_header(unsigned char *p, const prd_view_t *view,
    const prd_policy_t *policy)
{
    *p++ = PRD_LEASE_VERSION;
    *p++ = (unsigned char) ((view->table.unit != PRD_MILLI)
                            | (policy->params.learn != PRD_LEARN_OFF) << 1);

    prd_pack16(&p, prd_lease_nodes(view));
    prd_pack32(&p, 0);
}


void
prd_lease_pack(unsigned char *p, const prd_lease_request_t *req)
{
    *p++ = req->key;
    *p++ = req->flags;

    prd_pack16(&p, req->version);
    prd_pack32(&p, req->cost);
    prd_pack32(&p, req->want);
    prd_pack32(&p, req->returned);
    prd_pack32(&p, req->debt);
    prd_pack32(&p, req->most);
    prd_pack32(&p, req->free);
    prd_pack32(&p, req->debt_most);
    prd_pack32(&p, req->quantum);
    prd_pack32(&p, req->admitted);
    prd_pack32(&p, req->refused_cost);
    prd_pack32(&p, req->uncounted);
    prd_pack32(&p, req->denied);
    prd_pack32(&p, req->peak);
    prd_pack32(&p, req->backlog);
    prd_pack32(&p, req->backlog_most);
    prd_pack64(&p, prd_lease_bits(req->drain));
    prd_pack64(&p, prd_lease_bits(req->backlog_drain));
}


void
prd_lease_unpack(const unsigned char *p, prd_lease_request_t *req)
{
    memset(req, 0, sizeof(prd_lease_request_t));

    req->key = *p++;
    req->flags = *p++;
    req->version = prd_unpack16(&p);
    req->cost = prd_unpack32(&p);
    req->want = prd_unpack32(&p);
    req->returned = prd_unpack32(&p);
    req->debt = prd_unpack32(&p);
    req->most = prd_unpack32(&p);
    req->free = prd_unpack32(&p);
    req->debt_most = prd_unpack32(&p);
    req->quantum = prd_unpack32(&p);
    req->admitted = prd_unpack32(&p);
    req->refused_cost = prd_unpack32(&p);
    req->uncounted = prd_unpack32(&p);
    req->denied = prd_unpack32(&p);
    req->peak = prd_unpack32(&p);
    req->backlog = prd_unpack32(&p);
    req->backlog_most = prd_unpack32(&p);
    req->drain = prd_lease_double(prd_unpack64(&p));
    req->backlog_drain = prd_lease_double(prd_unpack64(&p));
}


/*
 * version u8 | 0 u8 | entries u16 | 0 u32, then for each:
 * status u8 | 1: envelope, 2: profile follows u8 | version u16 | level u32 |
 * grant u32 | backlog u32 | (envelope 48 bits) | (length u8, profile)
 */

#define PRD_LEASE_REPLY  16


prd_rc_t
prd_lease_read(prd_lease_reader_t *r, const void *data, size_t len,
    unsigned entries)
{
    const unsigned char  *p;

    p = data;

    if (len < PRD_LEASE_HEADER) {
        return PRD_ECORRUPT;
    }

    if (p[0] != PRD_LEASE_VERSION) {
        return PRD_EVERSION;
    }

    if (((unsigned) p[2] | (unsigned) p[3] << 8) != entries) {
        return PRD_ECORRUPT;
    }

    r->p = p + PRD_LEASE_HEADER;
    r->end = p + len;
    r->left = entries;

    return PRD_OK;
}


prd_rc_t
prd_lease_next(prd_lease_reader_t *r, prd_lease_reply_t *reply)
{
    size_t                len;
    unsigned              flags;
    prd_lease_reply_t     a;
    const unsigned char  *p;

    p = r->p;

    if (r->left == 0 || r->end - p < PRD_LEASE_REPLY) {
        return PRD_ECORRUPT;
    }

    a.status = (prd_lease_status_e) *p++;
    flags = *p++;
    a.version = prd_unpack16(&p);
    a.level = prd_unpack32(&p);
    a.grant = prd_unpack32(&p);
    a.backlog = prd_unpack32(&p);
    a.envelope = 0;
    a.profile = NULL;
    a.profile_len = 0;

    if (a.status > PRD_LEASE_BAD || flags > 3) {
        return PRD_ECORRUPT;
    }

    if (flags & 1) {

        if (r->end - p < 6) {
            return PRD_ECORRUPT;
        }

        a.envelope = prd_unpack32(&p);
        a.envelope |= (uint64_t) prd_unpack16(&p) << 32;

        /* numbers that no zone has: a rate or depth beyond all bounds */

        if (prd_env_rate_code(a.envelope) > prd_env_encode(PRD_RATE_MAX)
            || prd_env_depth_code(a.envelope) > prd_env_encode(UINT32_MAX))
        {
            return PRD_ECORRUPT;
        }

        if (prd_env_depth_code(a.envelope) == 0) {
            a.envelope = 0;
        }
    }

    if (flags & 2) {

        if (r->end - p < 1 || *p > PRD_LEASE_PROFILE || r->end - p - 1 < *p) {
            return PRD_ECORRUPT;
        }

        len = *p++;
        a.profile = len ? p : NULL;
        a.profile_len = len;
        p += len;
    }

    r->p = p;
    r->left--;

    if (r->left == 0 && p != r->end) {
        return PRD_ECORRUPT;
    }

    *reply = a;

    return PRD_OK;
}
