
/*
 * What makes a request's client: the rules of `predictive_identity`, and
 * their application to values that the caller has looked up.  nginx gives
 * variables, the replay tool gives log fields.
 *
 *   token VALUE ["REGEX"]    a header, cookie ...; the regex keeps group 1
 *   address VALUE V4 V6      masked to prefix lengths (0..32, 0..128)
 *   agent VALUE              User-Agent, reduced to its family
 *   separate KIND KIND       joins kinds into one key
 *
 * The first source with a value wins.  If its kind is one that `separate`
 * names, and all the other kinds named have a value too, the key is the first
 * values of these kinds joined; so `separate address agent` splits clients
 * behind one address and leaves those with a token alone.
 *
 * A key is text unless a token is not: a tag for its kind and the value.
 *
 *   t  token      "tQb7..."            4  IPv4    "4192.0.2.0/24"
 *   a  agent      "acurl"              6  IPv6    "62001:db8::/64"
 *   x  an address source's text that is no address ("xunix:")
 *   s  joined     "s13:4192.0.2.0/245:acurl" (lengths, as netstrings)
 *
 * T, X and S are those too long for PRD_IDENTITY_KEY_MAX: the beginning, then
 * 128 bits of hash of the whole in hex.  So kinds never meet, and what fits
 * never meets what was folded.
 */


#ifndef PRD_IDENTITY_H_INCLUDED
#define PRD_IDENTITY_H_INCLUDED


#include "prd.h"


typedef struct prd_identity_s  prd_identity_t;

typedef enum {
    PRD_KIND_TOKEN = 0,
    PRD_KIND_ADDRESS,
    PRD_KIND_AGENT
} prd_kind_e;

#define PRD_IDENTITY_SOURCES  16

/* a key never gets longer: longer values are folded by a hash of the whole */
#define PRD_IDENTITY_KEY_MAX  256


/*
 * Memory for the rules comes from alloc(data, size), suitably aligned or
 * NULL, and lives as long as the caller's pool; compiled expressions are
 * freed by prd_identity_done(), which may be called twice or with NULL, and
 * must be called after a failure too.  alloc is not called after _end().
 *
 * One thread (or process) uses an identity at a time: match data is its own.
 */
typedef void *(*prd_alloc_pt)(void *data, size_t size);

prd_rc_t prd_identity_create(prd_alloc_pt alloc, void *data,
    prd_identity_t **id);
void prd_identity_done(prd_identity_t *id);

/*
 * Takes one line of the block as words (words[0] is the directive); the
 * words are copied.  On failure *why says what is wrong and *bad is the word
 * that is (for a regex error *why includes PCRE2's message; it lives in id),
 * and the rules are as they were.
 *
 * PRD_EINVAL; PRD_ERANGE: a prefix length; PRD_EFULL: one source too many;
 * PRD_ENOMEM.
 *
 * Expressions see bytes, not UTF-8, case-sensitive unless they say "(?i)".
 */
prd_rc_t prd_identity_add(prd_identity_t *id, const prd_str_t *words,
    size_t nwords, const char **why, prd_str_t *bad);

/* After the last line: at least one source; `separate` names present kinds. */
prd_rc_t prd_identity_end(prd_identity_t *id, const char **why);

/* The sources in order; value is the text as written, e.g. "$http_x_api_key" */
size_t prd_identity_sources(const prd_identity_t *id);
prd_str_t prd_identity_source(const prd_identity_t *id, size_t n,
    prd_kind_e *kind);

/*
 * Reduces values to the client's key.  get(data, n, &value) gives the text of
 * source n: PRD_OK, or PRD_DECLINED where it has none (an empty value counts
 * as none).  It is called for as many sources as needed, in order.
 *
 * The bytes it gives must stay until the call ends.  Any other code of get()
 * ends the call and is returned.
 *
 * key must hold PRD_IDENTITY_KEY_MAX bytes; any byte may occur in it and no
 * terminator follows.  PRD_DECLINED: no source has a value (not counted).
 * PRD_ELIMIT: a regex hit its match limit; the source is treated as having
 * the whole value as its token, so that a regex bomb is not a way out of the
 * limit: the key is valid then and *len set as for PRD_OK.
 *
 * A regex that does not match, or whose group 1 is unset or empty, leaves its
 * source without a value.  Its work is bounded whatever expression and value
 * are: tens of milliseconds at the worst, see PRD_MATCH_BUDGET.
 */
typedef prd_rc_t (*prd_identity_get_pt)(void *data, size_t n,
    prd_str_t *value);

prd_rc_t prd_identity_key(const prd_identity_t *id, prd_identity_get_pt get,
    void *data, char *key, size_t *len);


#endif /* PRD_IDENTITY_H_INCLUDED */
