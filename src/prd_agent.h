
/* Families of user agents: what client software a request comes from. */


#ifndef PRD_AGENT_H_INCLUDED
#define PRD_AGENT_H_INCLUDED


#include "prd.h"


#define PRD_AGENT_MAX  32
#define PRD_AGENTS     255             /* words that are known, at most */


/* The table of words by first letter, in its order; the number of words ends a
 * chain. */

typedef struct {
    uint8_t                head[128];
    uint8_t                next[PRD_AGENTS];
} prd_agent_index_t;


/*
 * User-Agent -> family in lower case: "chrome", "firefox", "safari", "edge",
 * "curl", "googlebot", "python-requests" ...; unknown ones give their first
 * product token, letters, digits and -_. only, at most 32 bytes, or "other".
 * Only the first 512 bytes are looked at.  out holds PRD_AGENT_MAX bytes, no
 * terminator follows.  Returns the length, 0 for an empty agent.
 *
 * Who wants to can invent families; `separate` with an agent is therefore no
 * bound on how many keys an address gets.
 */
size_t prd_agent_family(prd_str_t agent, char *out);

/* The same for who asks often, and keeps an index. */
void prd_agent_index(prd_agent_index_t *index);
size_t prd_agent_find(const prd_agent_index_t *index, prd_str_t agent,
    char *out);


#endif /* PRD_AGENT_H_INCLUDED */
