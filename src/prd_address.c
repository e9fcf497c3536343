
/*
 * Addresses: text to bytes, masked, and back in the one form that an address
 * has (RFC 5952).
 */


#include "prd_address.h"
#include "prd_text.h"


#define PRD_IPV6_TEXT_MAX  45         /* with a dotted quad at the end */


/* A dotted quad of decimal numbers without leading zeros (RFC 6943, 3.1.1) */

static prd_rc_t
prd_address_parse_v4(const char *p, const char *last, uint8_t *addr)
{
    unsigned  i, n, digits;

    for (i = 0; i < 4; i++) {

        if (i != 0) {

            if (p == last || *p++ != '.') {
                return PRD_EINVAL;
            }
        }

        n = 0;

        for (digits = 0; p < last && *p >= '0' && *p <= '9'; digits++) {

            if (digits == 3 || (digits == 1 && n == 0)) {
                return PRD_EINVAL;
            }

            n = n * 10 + (unsigned) (*p++ - '0');
        }

        if (digits == 0 || n > 255) {
            return PRD_EINVAL;
        }

        addr[i] = (uint8_t) n;
    }

    return p == last ? PRD_OK : PRD_EINVAL;
}


/* RFC 4291, section 2.2; no zone */

static prd_rc_t
prd_address_parse_v6(const char *p, const char *last, uint8_t *addr)
{
    int          gap;            /* groups in front of "::", -1: none yet */
    unsigned     n, value, digits;
    uint8_t      quad[4];
    const char  *start;

    gap = -1;
    n = 0;

    if (last - p >= 2 && p[0] == ':' && p[1] == ':') {
        gap = 0;
        p += 2;
    }

    while (p < last) {

        if (n == 8) {
            return PRD_EINVAL;
        }

        start = p;
        value = 0;

        for (digits = 0;
             digits < 4 && p < last && prd_hex_digit(*p) >= 0;
             digits++)
        {
            value = value << 4 | (unsigned) prd_hex_digit(*p++);
        }

        if (digits == 0) {
            return PRD_EINVAL;
        }

        if (p < last && *p == '.') {

            if (n > 6 || prd_address_parse_v4(start, last, quad) != PRD_OK) {
                return PRD_EINVAL;
            }

            memcpy(addr + 2 * n, quad, 4);
            n += 2;
            break;
        }

        addr[2 * n] = (uint8_t) (value >> 8);
        addr[2 * n + 1] = (uint8_t) value;
        n++;

        if (p == last) {
            break;
        }

        if (*p++ != ':' || p == last) {
            return PRD_EINVAL;
        }

        if (*p == ':') {

            if (gap >= 0) {
                return PRD_EINVAL;
            }

            gap = (int) n;
            p++;
        }
    }

    if (gap < 0) {
        return n == 8 ? PRD_OK : PRD_EINVAL;
    }

    if (n == 8) {
        return PRD_EINVAL;
    }

    /* what is behind the gap moves to the end */

    memmove(addr + 2 * (8 - (n - gap)), addr + 2 * gap, 2 * (n - gap));
    memset(addr + 2 * gap, 0, 2 * (8 - n));

    return PRD_OK;
}


static char *
prd_address_put_v4(char *p, const uint8_t *addr)
{
    unsigned  i;

    for (i = 0; i < 4; i++) {

        if (i != 0) {
            *p++ = '.';
        }

        p = prd_put_uint(p, addr[i], 10);
    }

    return p;
}


/* RFC 5952: the first of the longest runs of two zero groups or more is "::" */

static char *
prd_address_put_v6(char *p, const uint8_t *addr)
{
    unsigned  i, run, gap, gap_len, group[8];

    gap = 8;
    gap_len = 1;
    run = 0;

    for (i = 0; i < 8; i++) {
        group[i] = (unsigned) addr[2 * i] << 8 | addr[2 * i + 1];

        run = group[i] ? 0 : run + 1;

        if (run > gap_len) {
            gap = i + 1 - run;
            gap_len = run;
        }
    }

    for (i = 0; i < 8; /* void */ ) {

        if (i == gap) {
            *p++ = ':';
            *p++ = ':';
            i += gap_len;
            continue;
        }

        if (i != 0 && p[-1] != ':') {
            *p++ = ':';
        }

        p = prd_put_uint(p, group[i++], 16);
    }

    return p;
}


prd_rc_t
prd_address_mask(prd_str_t text, unsigned v4, unsigned v6, char *out,
    size_t *len, char *tag)
{
    char          *p;
    uint8_t        addr[16];
    unsigned       i, size, prefix;
    const char    *last;

    static const uint8_t  mapped[12] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff
    };

    if (v4 > 32 || v6 > 128) {
        return PRD_ERANGE;
    }

    if (text.len == 0 || text.len > PRD_IPV6_TEXT_MAX) {
        return PRD_EINVAL;
    }

    last = text.data + text.len;

    if (prd_address_parse_v4(text.data, last, addr) == PRD_OK) {
        size = 4;

    } else if (prd_address_parse_v6(text.data, last, addr) == PRD_OK) {
        size = 16;

        if (memcmp(addr, mapped, sizeof(mapped)) == 0) {
            memmove(addr, addr + 12, 4);
            size = 4;
        }

    } else {
        return PRD_EINVAL;
    }

    prefix = (size == 4) ? v4 : v6;

    for (i = 0; i < size; i++) {

        if (8 * i >= prefix) {
            addr[i] = 0;

        } else if (prefix - 8 * i < 8) {
            addr[i] &= (uint8_t) (0xff00 >> (prefix - 8 * i));
        }
    }

    p = (size == 4) ? prd_address_put_v4(out, addr)
                    : prd_address_put_v6(out, addr);

    *p++ = '/';
    p = prd_put_uint(p, prefix, 10);

    *len = p - out;
    *tag = (size == 4) ? '4' : '6';

    return PRD_OK;
}
