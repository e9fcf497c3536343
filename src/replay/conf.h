
/*
 * nginx.conf, as far as a replay needs it: the grammar is nginx's (quotes,
 * escapes, comments, blocks, includes with wildcards), the directives are
 * only those of the predictive module, log_format and access_log.
 */


#ifndef RPL_CONF_H_INCLUDED
#define RPL_CONF_H_INCLUDED


#include "../prd_identity.h"

#include "expr.h"
#include "words.h"


/* A directive with its arguments, and with its block. */

typedef struct rpl_directive_s  rpl_directive_t;

struct rpl_directive_s {
    prd_str_t         *word;             /* the name first */
    size_t             nwords;
    const char        *file;
    unsigned           line;
    rpl_directive_t   *parent;
    rpl_directive_t   *child;            /* of the block, in order */
    rpl_directive_t   *next;
};

typedef struct {
    rpl_arena_t        arena;            /* everything that was allocated */
    const char        *dir;              /* includes are relative to it */
    rpl_directive_t    root;             /* its block is the file */
    unsigned           depth;
} rpl_conf_t;


/*
 * Reads a configuration, from a file or from a text that errors call `name`.
 * PRD_EIO, PRD_EINVAL: *e says "FILE:LINE: what".
 */
prd_rc_t rpl_conf_load(rpl_conf_t **conf, const char *path, rpl_error_t *e);
prd_rc_t rpl_conf_parse(rpl_conf_t **conf, const char *name,
    const char *text, size_t len, rpl_error_t *e);
void rpl_conf_done(rpl_conf_t *conf);


/* The rest is in conf_zone.c. */


/* What a configuration says of one zone. */

typedef struct {
    prd_str_t         key;               /* as written */
    uint64_t          size;              /* bytes */
    const char       *at;                /* "FILE:LINE" of predictive_zone */
    const char       *limit_at;          /* of predictive, NULL: none */
    prd_str_t         condition;         /* if= */
    prd_str_t         format;            /* the log's; empty: combined */
    rpl_escape_e      escape;
    rpl_identity_t   *identities;        /* all of the configuration */
} rpl_conf_zone_t;

/*
 * Finds zone `name`, the words of its parameters and those of the limit on
 * it: the first `predictive zone=NAME`, or the one in force in `location`
 * (its argument as written; NULL: any).
 */
prd_rc_t rpl_conf_zone(rpl_conf_t *conf, const char *name,
    const char *location, rpl_conf_zone_t *zone, rpl_words_t *params,
    rpl_words_t *limit, rpl_error_t *e);

/*
 * The text of a log_format by its name.  PRD_DECLINED: there is none.
 */
prd_rc_t rpl_conf_format(rpl_conf_t *conf, prd_str_t name,
    prd_str_t *text, rpl_escape_e *escape, rpl_error_t *e);

/* What all calls return lives as long as the configuration. */

/* Where a variable is made, "map at FILE:LINE", or NULL. */
const char *rpl_conf_variable(rpl_conf_t *conf, prd_str_t name);

/*
 * Rules of an identity in one text, "token $a; address $b 32 64;", as an
 * option has them.
 */
prd_rc_t rpl_conf_rules(rpl_conf_t **conf, const char *text,
    prd_identity_t **id, rpl_error_t *e);


#endif /* RPL_CONF_H_INCLUDED */
