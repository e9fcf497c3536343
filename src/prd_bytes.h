
/*
 * Numbers in files and messages: little-endian, of any alignment.  p moves on;
 * that there is room is the caller's to know.
 */


#ifndef PRD_BYTES_H_INCLUDED
#define PRD_BYTES_H_INCLUDED


#include "prd.h"


static inline void
prd_pack16(uint8_t **p, uint32_t v)
{
    *(*p)++ = (uint8_t) v;
    *(*p)++ = (uint8_t) (v >> 8);
}


static inline void
prd_pack32(uint8_t **p, uint32_t v)
{
    prd_pack16(p, v);
    prd_pack16(p, v >> 16);
}


static inline void
prd_pack64(uint8_t **p, uint64_t v)
{
    prd_pack32(p, (uint32_t) v);
    prd_pack32(p, (uint32_t) (v >> 32));
}


static inline uint16_t
prd_unpack16(const uint8_t **p)
{
    uint32_t  v;

    v = (uint32_t) (*p)[0] | (uint32_t) (*p)[1] << 8;
    *p += 2;

    return (uint16_t) v;
}


static inline uint32_t
prd_unpack32(const uint8_t **p)
{
    uint32_t  v;

    v = prd_unpack16(p);

    return v | (uint32_t) prd_unpack16(p) << 16;
}


static inline uint64_t
prd_unpack64(const uint8_t **p)
{
    uint64_t  v;

    v = prd_unpack32(p);

    return v | (uint64_t) prd_unpack32(p) << 32;
}


static inline void
prd_pack_float(uint8_t **p, float f)
{
    uint32_t  v;

    memcpy(&v, &f, sizeof(uint32_t));
    prd_pack32(p, v);
}


static inline float
prd_unpack_float(const uint8_t **p)
{
    float     f;
    uint32_t  v;

    v = prd_unpack32(p);
    memcpy(&f, &v, sizeof(float));

    return f;
}


static inline void
prd_pack_double(uint8_t **p, double d)
{
    uint64_t  v;

    memcpy(&v, &d, sizeof(uint64_t));
    prd_pack64(p, v);
}


static inline double
prd_unpack_double(const uint8_t **p)
{
    double    d;
    uint64_t  v;

    v = prd_unpack64(p);
    memcpy(&d, &v, sizeof(double));

    return d;
}


static inline void
prd_pack_floats(uint8_t **p, const float *f, unsigned n)
{
    for ( /* void */ ; n > 0; n--) {
        prd_pack_float(p, *f++);
    }
}


/* 1: one of them is not within `least` and `most`. */

static inline int
prd_unpack_floats(const uint8_t **p, float *f, unsigned n, float least,
    float most)
{
    int  bad;

    for (bad = 0; n > 0; n--, f++) {
        *f = prd_unpack_float(p);
        bad |= !(*f >= least && *f <= most);
    }

    return bad;
}


#endif /* PRD_BYTES_H_INCLUDED */
