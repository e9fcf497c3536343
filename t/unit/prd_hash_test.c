
/*
 * SipHash-1-3 against a second implementation, written from the paper's
 * figures with the number of rounds as a parameter: with 2-4 it must give the
 * paper's own vectors, so with 1-3 it may judge ours.  CPython, whose bytes
 * hash is SipHash-1-3, is the third (PYTHONHASHSEED=0: a zero secret).
 */


#include <stdlib.h>

#include "prd_hash.h"
#include "tap.h"


#define N  300


static uint64_t
get_le(const unsigned char *p, unsigned n)
{
    uint64_t  m = 0;

    while (n--) {
        m = m * 256 + p[n];
    }

    return m;
}


static uint64_t
left(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}


static void
rounds(uint64_t v[4], unsigned n)
{
    while (n--) {
        v[0] += v[1];
        v[1] = left(v[1], 13) ^ v[0];
        v[0] = left(v[0], 32);

        v[2] += v[3];
        v[3] = left(v[3], 16) ^ v[2];

        v[0] += v[3];
        v[3] = left(v[3], 21) ^ v[0];

        v[2] += v[1];
        v[1] = left(v[1], 17) ^ v[2];
        v[2] = left(v[2], 32);
    }
}


/* The paper's 2.1 to 2.3: pad with zeros, the last byte is the length. */

static uint64_t
siphash(unsigned c, unsigned d, uint64_t k0, uint64_t k1,
    const unsigned char *data, size_t len)
{
    size_t         i, words = (len + 8) / 8;
    uint64_t       m, v[4];
    unsigned char  block[8];

    v[0] = k0 ^ get_le((const unsigned char *) "uespemos", 8);
    v[1] = k1 ^ get_le((const unsigned char *) "modnarod", 8);
    v[2] = k0 ^ get_le((const unsigned char *) "arenegyl", 8);
    v[3] = k1 ^ get_le((const unsigned char *) "setybdet", 8);

    for (i = 0; i < words; i++) {
        memset(block, 0, sizeof(block));

        if (i < words - 1) {
            memcpy(block, data + 8 * i, 8);

        } else {
            if (len % 8) {
                memcpy(block, data + 8 * i, len % 8);
            }

            block[7] = (unsigned char) len;
        }

        m = get_le(block, 8);

        v[3] ^= m;
        rounds(v, c);
        v[0] ^= m;
    }

    v[2] ^= 0xff;
    rounds(v, d);

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}


static uint64_t
checksum_split(const unsigned char *data, size_t len, size_t a, size_t b)
{
    prd_checksum_t  c;

    prd_checksum_init(&c);
    prd_checksum_update(&c, data, a);
    prd_checksum_update(&c, data + a, b - a);
    prd_checksum_update(&c, data + b, len - b);

    return prd_checksum_final(&c);
}


static void
test_reference(void)
{
    size_t         i;
    unsigned char  data[64];

    /* appendix A of the paper, and the reference code's vectors 0, 1, 63 */

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char) i;
    }

#define K0  0x0706050403020100ull
#define K1  0x0f0e0d0c0b0a0908ull

    is_int(siphash(2, 4, K0, K1, data, 15), 0xa129ca6149be45e5ull,
           "reference: appendix A");
    is_int(siphash(2, 4, K0, K1, data, 0), 0x726fdb47dd0e0e31ull,
           "reference: empty");
    is_int(siphash(2, 4, K0, K1, data, 1), 0x74f839c593dc67fdull,
           "reference: one byte");
    is_int(siphash(2, 4, K0, K1, data, 63), 0x958a324ceb064572ull,
           "reference: 63 bytes");
}


static void
test_python(void)
{
    size_t          i;
    prd_secret_t    zero = { 0, 0 };
    unsigned char   data[1000];

    static const struct {
        size_t    len;
        uint64_t  hash;
    } python[] = {
        { 1, 0x68a914128e01e473ull }, { 4, 0x7cc43f98813e4dbdull },
        { 7, 0x2f098ab0c751325aull }, { 8, 0xead411e67ebe2eeaull },
        { 16, 0x8972188433a5c5b7ull }, { 63, 0x385d3e39e5f37359ull },
        { 64, 0x75e05fd5bbc870c6ull }, { 255, 0x5dc1f93ea135eb43ull }
    };

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char) i;
    }

    for (i = 0; i < sizeof(python) / sizeof(python[0]); i++) {
        is_int(prd_hash(&zero, data, python[i].len), python[i].hash,
               "CPython: %zu bytes", python[i].len);
    }

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char) (i * 7);
    }

    is_int(prd_hash(&zero, data, 1000), 0x21c2c0d60dd0acb6ull,
           "CPython: 1000 bytes");
}


static void
test_lengths(void)
{
    size_t           i, len, wrong, differ;
    uint64_t         h;
    prd_secret_t     s, t;
    unsigned char   *p, data[N];

    srand(1);

    for (i = 0; i < N; i++) {
        data[i] = (unsigned char) (rand() >> 7);
    }

    s.k0 = 0x0123456789abcdefull;
    s.k1 = 0xfedcba9876543210ull;

    t = s;
    t.k1 ^= 1;

    wrong = 0;
    differ = 0;

    for (len = 0; len < N; len++) {

        /* memory of exactly this length: a read beyond is a sanitizer's */

        p = malloc(len + 1);
        memcpy(p + 1, data, len);

        h = siphash(1, 3, s.k0, s.k1, data, len);

        wrong += prd_hash(&s, p + 1, len) != h;
        differ += prd_hash(&t, p + 1, len) != h;

        free(p);
    }

    is_int(wrong, 0, "every length to %d, unaligned", N);
    is_int(differ, N, "another secret, another hash");

    is_int(prd_hash(&s, NULL, 0), siphash(1, 3, s.k0, s.k1, data, 0),
           "NULL of no length");

    ok(prd_hash(&s, "\0", 1) != prd_hash(&s, "\0\0", 2)
       && prd_hash(&s, "", 0) != prd_hash(&s, "\0", 1),
       "zero bytes count");

    data[0] = 0;
    h = prd_hash(&s, data, 20);
    data[0] = 0x80;
    ok(prd_hash(&s, data, 20) != h, "a high bit counts");
}


static void
test_large(void)
{
    size_t           i, len = 1 << 20;
    prd_secret_t     s = { 3, 4 };
    unsigned char   *p;

    p = malloc(len);

    for (i = 0; i < len; i++) {
        p[i] = (unsigned char) (i ^ i >> 8);
    }

    is_int(prd_hash(&s, p, 65536), siphash(1, 3, 3, 4, p, 65536), "64 KiB");
    is_int(prd_hash(&s, p, len - 3), siphash(1, 3, 3, 4, p, len - 3),
           "1 MiB - 3");
    is_int(checksum_split(p, len, 12345, 777777),
           siphash(1, 3, 0, 0, p, len), "1 MiB in a stream");

    free(p);
}


static void
test_stream(void)
{
    size_t          i, len, a, b, wrong, n;
    uint64_t        h;
    prd_secret_t    zero = { 0, 0 };
    prd_checksum_t  c;
    unsigned char   data[40];

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char) (200 - 3 * i);
    }

    wrong = 0;
    n = 0;

    for (len = 0; len <= sizeof(data); len++) {
        h = prd_hash(&zero, data, len);

        for (a = 0; a <= len; a++) {
            for (b = a; b <= len; b++) {
                wrong += checksum_split(data, len, a, b) != h;
                n++;
            }
        }
    }

    is_int(wrong, 0, "stream == one shot in all %zu splits in three", n);

    prd_checksum_init(&c);
    wrong = 0;

    for (i = 0; i < sizeof(data); i++) {
        wrong += prd_checksum_final(&c) != prd_hash(&zero, data, i);
        prd_checksum_update(&c, data + i, 1);
        prd_checksum_update(&c, NULL, 0);
    }

    is_int(wrong, 0, "byte by byte, asked at every byte");
}


/*
 * A digest tells keys of one length apart: each bit, and two at once that
 * would cancel in a sum without a secret.
 */

static void
test_digest(void)
{
    size_t             i, k, len, wrong, pairs, other;
    prd_digest_t       d;
    prd_secret_t       s = { 5, 6 }, t = { 5, 7 };
    unsigned char     *p;
    prd_digest_key_t   key, key2;

    prd_digest_init(&key, &s);
    prd_digest_init(&key2, &t);

    wrong = pairs = other = 0;

    for (len = 1; len <= PRD_DIGEST_MOST; len++) {

        p = malloc(len);

        for (i = 0; i < len; i++) {
            p[i] = (unsigned char) (len + 11 * i);
        }

        d = prd_digest(&key, p, len);
        other += prd_digest(&key2, p, len) != d;

        for (i = 0; i < 8 * len; i++) {
            p[i / 8] ^= 1 << i % 8;
            wrong += prd_digest(&key, p, len) == d;

            for (k = 0; k < i; k++) {
                p[k / 8] ^= 1 << k % 8;
                pairs += prd_digest(&key, p, len) == d;
                p[k / 8] ^= 1 << k % 8;
            }

            p[i / 8] ^= 1 << i % 8;
        }

        wrong += prd_digest(&key, p, len) != d;
        free(p);
    }

    is_int(wrong, 0, "digest: every bit of every length to %d",
           PRD_DIGEST_MOST);
    is_int(pairs, 0, "digest: every two bits");
    is_int(other, PRD_DIGEST_MOST, "digest: another secret, another one");
}


int
main(void)
{
    test_reference();
    test_python();
    test_lengths();
    test_large();
    test_stream();
    test_digest();

    return done_testing();
}
