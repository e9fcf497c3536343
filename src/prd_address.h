
/* Addresses: masked to a prefix, as text. */


#ifndef PRD_ADDRESS_H_INCLUDED
#define PRD_ADDRESS_H_INCLUDED


#include "prd.h"


/* "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" */
#define PRD_ADDRESS_MAX  43


/*
 * Address text -> masked text in canonical form (RFC 5952) with its prefix
 * length, e.g. "2001:db8::/64"; out holds PRD_ADDRESS_MAX bytes, no
 * terminator follows.  *tag is '4' or '6'.  IPv4-mapped IPv6
 * ("::ffff:192.0.2.1") is IPv4, lest a dual-stack socket count a client
 * twice.  PRD_ERANGE: v4 > 32 or v6 > 128.  PRD_EINVAL: not an address;
 * ports, brackets, zones and blanks are not part of one.
 */
prd_rc_t prd_address_mask(prd_str_t text, unsigned v4, unsigned v6,
    char *out, size_t *len, char *tag);


#endif /* PRD_ADDRESS_H_INCLUDED */
