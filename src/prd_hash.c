
/*
 * SipHash-1-3: one round a word, three at the end (J.-P. Aumasson,
 * D. J. Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012,
 * section 2).  Words are little-endian on every machine, so that hashes in
 * state files and stores are the same everywhere.
 */


#include "prd_hash.h"


#define prd_rotl(x, n)  (((x) << (n)) | ((x) >> (64 - (n))))

#define prd_sip_round(v0, v1, v2, v3)                                         \
    v0 += v1; v2 += v3;                                                       \
    v1 = prd_rotl(v1, 13); v3 = prd_rotl(v3, 16);                             \
    v1 ^= v0; v3 ^= v2;                                                       \
    v0 = prd_rotl(v0, 32);                                                    \
    v2 += v1; v0 += v3;                                                       \
    v1 = prd_rotl(v1, 17); v3 = prd_rotl(v3, 21);                             \
    v1 ^= v2; v3 ^= v0;                                                       \
    v2 = prd_rotl(v2, 32)


static inline uint64_t
prd_load_64(const uint8_t *p)
{
    uint64_t  n;

    memcpy(&n, p, 8);

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    n = __builtin_bswap64(n);
#endif

    return n;
}


static inline uint64_t
prd_load_32(const uint8_t *p)
{
    uint32_t  n;

    memcpy(&n, p, 4);

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    n = __builtin_bswap32(n);
#endif

    return n;
}


/* The last len & 7 bytes of data, without a loop and without reading over. */

static inline uint64_t
prd_load_tail(const uint8_t *data, size_t len)
{
    size_t          n;
    const uint8_t  *p;

    n = len & 7;

    if (n == 0) {
        return 0;
    }

    if (len >= 8) {
        return prd_load_64(data + len - 8) >> (64 - 8 * n);
    }

    p = data;

    if (n >= 4) {
        return prd_load_32(p) | prd_load_32(p + n - 4) << (8 * (n - 4));
    }

    /* 1 to 3 bytes: first, middle, last, which may be the same */

    return (uint64_t) p[0] | (uint64_t) p[n / 2] << (8 * (n / 2))
           | (uint64_t) p[n - 1] << (8 * (n - 1));
}


uint64_t
prd_hash(const prd_secret_t *secret, const void *data, size_t len)
{
    size_t          n;
    uint64_t        v0, v1, v2, v3, m;
    const uint8_t  *p;

    p = data;

    v0 = secret->k0 ^ 0x736f6d6570736575ull;
    v1 = secret->k1 ^ 0x646f72616e646f6dull;
    v2 = secret->k0 ^ 0x6c7967656e657261ull;
    v3 = secret->k1 ^ 0x7465646279746573ull;

    for (n = len / 8; n != 0; n--) {
        m = prd_load_64(p);
        p += 8;

        v3 ^= m;
        prd_sip_round(v0, v1, v2, v3);
        v0 ^= m;
    }

    m = (uint64_t) len << 56 | prd_load_tail(data, len);

    v3 ^= m;
    prd_sip_round(v0, v1, v2, v3);
    v0 ^= m;

    v2 ^= 0xff;
    prd_sip_round(v0, v1, v2, v3);
    prd_sip_round(v0, v1, v2, v3);
    prd_sip_round(v0, v1, v2, v3);

    return v0 ^ v1 ^ v2 ^ v3;
}


void
prd_digest_init(prd_digest_key_t *key, const prd_secret_t *secret)
{
    uint8_t  i;

    for (i = 0; i < PRD_DIGEST_MOST / 8; i++) {
        key->k[i] = prd_hash(secret, &i, 1);
    }
}


/* Words from both ends; those in the middle overlap. */

prd_digest_t
prd_digest(const prd_digest_key_t *key, const void *data, size_t len)
{
    size_t           i;
    prd_digest_t     sum;
    const uint8_t   *p;
    const uint64_t  *k;

    p = data;
    k = key->k;

    if (len < 8) {
        return (prd_digest_t) (prd_load_tail(p, len) + k[0]) * k[1];
    }

    i = 0;
    sum = 0;

    do {
        len -= 8;
        sum += (prd_digest_t) (prd_load_64(p + i) + k[0])
               * (prd_load_64(p + len) + k[1]);
        i += 8;
        k += 2;
    } while (i < len);

    return sum;
}


void
prd_checksum_init(prd_checksum_t *c)
{
    c->v[0] = 0x736f6d6570736575ull;
    c->v[1] = 0x646f72616e646f6dull;
    c->v[2] = 0x6c7967656e657261ull;
    c->v[3] = 0x7465646279746573ull;
    c->tail = 0;
    c->len = 0;
}


static inline void
prd_checksum_word(uint64_t *v, uint64_t m)
{
    v[3] ^= m;
    prd_sip_round(v[0], v[1], v[2], v[3]);
    v[0] ^= m;
}


void
prd_checksum_update(prd_checksum_t *c, const void *data, size_t len)
{
    uint64_t        v[4];
    const uint8_t  *p, *last;

    if (len == 0) {
        return;
    }

    p = data;
    last = p + len;

    /* fill up the word begun; `tail` holds its len & 7 bytes */

    while (p != last && (c->len & 7) != 0) {
        c->tail |= (uint64_t) *p++ << (8 * (c->len & 7));
        c->len++;

        if ((c->len & 7) == 0) {
            prd_checksum_word(c->v, c->tail);
            c->tail = 0;
        }
    }

    /* a local state: stores through c could alias the data */

    memcpy(v, c->v, sizeof(v));

    for ( /* void */ ; last - p >= 8; p += 8) {
        prd_checksum_word(v, prd_load_64(p));
        c->len += 8;
    }

    memcpy(c->v, v, sizeof(v));

    for ( /* void */ ; p != last; p++) {
        c->tail |= (uint64_t) *p << (8 * (c->len & 7));
        c->len++;
    }
}


uint64_t
prd_checksum_final(const prd_checksum_t *c)
{
    uint64_t  v[4];

    memcpy(v, c->v, sizeof(v));

    prd_checksum_word(v, c->len << 56 | c->tail);

    v[2] ^= 0xff;
    prd_sip_round(v[0], v[1], v[2], v[3]);
    prd_sip_round(v[0], v[1], v[2], v[3]);
    prd_sip_round(v[0], v[1], v[2], v[3]);

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
