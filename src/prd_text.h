
/* Text: words compared, numbers written and digits read; no terminators. */


#ifndef PRD_TEXT_H_INCLUDED
#define PRD_TEXT_H_INCLUDED


#include "prd.h"


#define PRD_HEX  16                    /* digits of 64 bits */


/* Words are ASCII and case counts, as in nginx.conf. */

static inline int
prd_is(prd_str_t s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.data, word, s.len) == 0;
}


/* At most 20 digits, of a base up to 16; returns where they end. */

static inline char *
prd_put_uint(char *p, size_t n, unsigned base)
{
    char      buf[20];
    unsigned  i;

    i = 0;

    do {
        buf[i++] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n != 0);

    while (i != 0) {
        *p++ = buf[--i];
    }

    return p;
}


/* PRD_HEX digits, whatever the number. */

static inline void
prd_put_hex(char *p, uint64_t n)
{
    int  i;

    for (i = PRD_HEX - 1; i >= 0; i--) {
        p[i] = "0123456789abcdef"[n & 15];
        n >>= 4;
    }
}


/* Of either case; -1: it is none. */

static inline int
prd_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


#endif /* PRD_TEXT_H_INCLUDED */
