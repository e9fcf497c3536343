
/*
 * Values of a request -> its client's key: each source's is reduced to a token,
 * a masked address or a family of agents, and one of them, or several joined,
 * are the key.
 */


#include "prd_address.h"
#include "prd_hash.h"
#include "prd_identity_inner.h"
#include "prd_text.h"


/* a folded key ends with 128 bits in hex */

#define PRD_FOLD_HASH         (2 * PRD_HEX)
#define PRD_FOLD_TEXT         (PRD_IDENTITY_KEY_MAX - 1 - PRD_FOLD_HASH)


/* A value reduced, not yet a key; `text` may point into `buf`. */

typedef struct {
    char                   tag;
    prd_str_t              text;
    char                   buf[PRD_ADDRESS_MAX];
} prd_part_t;


static prd_rc_t
prd_identity_reduce(const prd_identity_t *id, const prd_source_t *s,
    prd_str_t value, prd_part_t *part)
{
    prd_rc_t  rc;

    rc = PRD_OK;
    part->text = value;

    switch (s->kind) {

    case PRD_KIND_TOKEN:
        part->tag = 't';

        if (s->regex != NULL) {
            rc = prd_identity_match(id, s, &part->text);
        }

        break;

    case PRD_KIND_ADDRESS:

        if (prd_address_mask(value, s->v4, s->v6, part->buf, &part->text.len,
                             &part->tag)
            == PRD_OK)
        {
            part->text.data = part->buf;

        } else {
            part->tag = 'x';
        }

        break;

    case PRD_KIND_AGENT:
        part->tag = 'a';
        part->text.len = prd_agent_find(&id->agents, value, part->buf);
        part->text.data = part->buf;
        break;
    }

    return rc;
}


/* Strings -> key; one that does not fit is folded, its tag in upper case. */

static size_t
prd_identity_join(const prd_str_t *strs, size_t n, char *key)
{
    char            *p;
    size_t           i, size, part;
    prd_checksum_t   a, b;

    size = 0;

    for (i = 0; i < n; i++) {
        size += strs[i].len;
    }

    p = key;

    if (size <= PRD_IDENTITY_KEY_MAX) {

        for (i = 0; i < n; i++) {
            memcpy(p, strs[i].data, strs[i].len);
            p += strs[i].len;
        }

        return size;
    }

    /*
     * Two hashes, since with 64 bits some two of a few billion tokens would
     * meet.  They need no secret: who makes two tokens collide makes them
     * share a bucket, and to meet another's token one must know it.
     */

    prd_checksum_init(&a);
    prd_checksum_init(&b);
    prd_checksum_update(&b, "prd", 3);

    for (i = 0; i < n; i++) {
        prd_checksum_update(&a, strs[i].data, strs[i].len);
        prd_checksum_update(&b, strs[i].data, strs[i].len);

        part = PRD_FOLD_TEXT + 1 - (p - key);
        part = prd_min(part, strs[i].len);

        memcpy(p, strs[i].data, part);
        p += part;
    }

    key[0] -= 'a' - 'A';

    prd_put_hex(p, prd_checksum_final(&a));
    prd_put_hex(p + PRD_HEX, prd_checksum_final(&b));

    return PRD_IDENTITY_KEY_MAX;
}


prd_rc_t
prd_identity_key(const prd_identity_t *id, prd_identity_get_pt get,
    void *data, char *key, size_t *len)
{
    size_t               i, n, nstrs;
    unsigned             bit, want, join;
    prd_rc_t             rc, result;
    prd_str_t            value, strs[1 + 3 * PRD_KINDS];
    prd_part_t           parts[PRD_KINDS], *winner;
    char                 lengths[PRD_KINDS][21], *p;
    const prd_source_t  *s;

    winner = NULL;
    want = 0;
    join = 0;
    result = PRD_OK;

    for (n = 0; n < id->nsources; n++) {
        s = &id->sources[n];
        bit = 1u << s->kind;

        if (winner != NULL && !(want & bit)) {
            continue;
        }

        rc = get(data, n, &value);

        if (rc == PRD_DECLINED || (rc == PRD_OK && value.len == 0)) {
            continue;
        }

        if (rc != PRD_OK) {
            return rc;
        }

        rc = prd_identity_reduce(id, s, value, &parts[s->kind]);

        if (rc == PRD_DECLINED) {
            continue;
        }

        if (rc == PRD_ELIMIT) {
            result = PRD_ELIMIT;
        }

        if (winner == NULL) {
            winner = &parts[s->kind];

            if (id->separate & bit) {
                join = id->separate;
                want = join;
            }
        }

        want &= ~bit;

        if (want == 0) {
            break;
        }
    }

    if (winner == NULL) {
        return PRD_DECLINED;
    }

    if (join == 0 || want != 0) {
        strs[0].len = 1;
        strs[0].data = &winner->tag;
        strs[1] = winner->text;

        *len = prd_identity_join(strs, 2, key);

        return result;
    }

    nstrs = 0;
    strs[nstrs++] = prd_str("s");

    for (i = 0; i < PRD_KINDS; i++) {

        if (!(join & 1u << i)) {
            continue;
        }

        p = prd_put_uint(lengths[i], parts[i].text.len + 1, 10);
        *p++ = ':';

        strs[nstrs].len = p - lengths[i];
        strs[nstrs++].data = lengths[i];

        strs[nstrs].len = 1;
        strs[nstrs++].data = &parts[i].tag;

        strs[nstrs++] = parts[i].text;
    }

    *len = prd_identity_join(strs, nstrs, key);

    return result;
}
