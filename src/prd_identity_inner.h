
/*
 * What the files of identity share, for these alone: prd_identity.c (rules),
 * prd_identity_regex.c (expressions of tokens), prd_identity_key.c (values to
 * a key).  The first and the last one call the second.
 */


#ifndef PRD_IDENTITY_INNER_H_INCLUDED
#define PRD_IDENTITY_INNER_H_INCLUDED


#define PCRE2_CODE_UNIT_WIDTH  8

#include <pcre2.h>

#include "prd_agent.h"
#include "prd_identity.h"


#define PRD_KINDS  3


typedef struct {
    prd_kind_e             kind;
    prd_str_t              value;

    pcre2_code            *regex;        /* PRD_KIND_TOKEN, may be NULL */
    unsigned               group;        /* the one kept: 0 or 1 */
    unsigned               backrefs:1;
    size_t                 repeat;       /* the greatest N of "{N" in it */

    unsigned               v4;           /* PRD_KIND_ADDRESS */
    unsigned               v6;
} prd_source_t;


struct prd_identity_s {
    prd_source_t           sources[PRD_IDENTITY_SOURCES];
    size_t                 nsources;

    unsigned               separate;     /* bits 1 << prd_kind_e */

    pcre2_match_data      *match;
    pcre2_match_context   *context;
    pcre2_jit_stack       *stack;

    prd_agent_index_t      agents;

    prd_alloc_pt           alloc;
    void                  *data;

    char                   error[192];
};


/* A token's expression; PRD_EINVAL, PRD_ENOMEM: *why says what is wrong. */
prd_rc_t prd_identity_compile(prd_identity_t *id, prd_source_t *s,
    prd_str_t pattern, const char **why);

/*
 * Narrows *value to what the expression keeps.  PRD_DECLINED: it keeps nothing;
 * PRD_ELIMIT: it took too long, and the value is left whole.
 */
prd_rc_t prd_identity_match(const prd_identity_t *id, const prd_source_t *s,
    prd_str_t *value);


#endif /* PRD_IDENTITY_INNER_H_INCLUDED */
