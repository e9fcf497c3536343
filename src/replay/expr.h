
/*
 * Expressions over a line's fields, written as in nginx.conf: text and
 * variables mixed, "$remote_addr$http_x_tenant", "k:${client}".
 *
 * A variable that the format has not got is made of others where nginx's own
 * meaning allows it:
 *
 *   $binary_remote_addr    of $remote_addr: 4 or 16 bytes, like nginx's;
 *                          what is no address stays text
 *   $request_method, $request_uri, $server_protocol    of $request
 *   $uri, $document_uri    of $request_uri or $request: its path, decoded,
 *                          "//" merged, dots resolved; before any rewrite
 *   $args, $query_string, $is_args, $arg_NAME          of the same
 *   $cookie_NAME           of $http_cookie
 *
 * A value that nginx did not have stands as "-" in a text format and is
 * empty here.
 */


#ifndef RPL_EXPR_H_INCLUDED
#define RPL_EXPR_H_INCLUDED


#include "../prd_identity.h"

#include "format.h"
#include "reader.h"


typedef struct rpl_expr_s  rpl_expr_t;


/* A predictive_identity: a variable that is made of others by its rules. */

typedef struct rpl_identity_s  rpl_identity_t;

struct rpl_identity_s {
    prd_str_t         name;              /* without "$" */
    prd_identity_t   *id;
    rpl_expr_t       *source[PRD_IDENTITY_SOURCES];
    rpl_identity_t   *next;
    unsigned          compiled:1;        /* by the first that names it */
};


/* What is known of variables that the log has not got. */

typedef struct {
    rpl_identity_t   *identities;

    /* where nginx makes a variable ("map at FILE:LINE"), or NULL */
    const char     *(*made)(void *data, prd_str_t name);
    void             *data;
} rpl_names_t;


/*
 * Where values are put together: enough for what one line can ask of it, so
 * that it never moves.  Most of it is never touched.
 */

#define RPL_SCRATCH  (40 * (size_t) RPL_LINE_MAX)

typedef struct {
    char    *buf;
    size_t   used;
} rpl_scratch_t;

void rpl_scratch_init(rpl_scratch_t *s);
void rpl_scratch_done(rpl_scratch_t *s);


/*
 * Compiles; names may be NULL.  PRD_EINVAL: *e says what is wrong, naming the
 * variable that the format cannot give.
 */
prd_rc_t rpl_expr_create(rpl_expr_t **x, prd_str_t text, rpl_format_t *f,
    const rpl_names_t *names, rpl_error_t *e);

/*
 * The same, or "$address/24" or "$address/24/64": the masked text, by the
 * first number for IPv4 and by the second (default 64) for IPv6.
 */
prd_rc_t rpl_expr_create_masked(rpl_expr_t **x, prd_str_t text,
    rpl_format_t *f, const rpl_names_t *names, rpl_error_t *e);

void rpl_expr_done(rpl_expr_t *x);

/* Ends the identities, with what expressions have made of them. */
void rpl_names_done(rpl_names_t *names);

/*
 * A line's value: bytes of the line, of the expression or of the scratch
 * memory, behind what is used of it; they stay until the caller sets
 * s->used back.  A value that would not fit is cut.
 */
prd_str_t rpl_expr_eval(const rpl_expr_t *x, const prd_str_t *fields,
    rpl_scratch_t *s);


/* The same for people: an address as text where the key has its bytes. */
prd_str_t rpl_expr_text(const rpl_expr_t *x, const prd_str_t *fields,
    rpl_scratch_t *s);


/* Are both always the same? */
int rpl_expr_plain(const rpl_expr_t *x);


#endif /* RPL_EXPR_H_INCLUDED */
