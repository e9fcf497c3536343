
/*
 * What the files of predictive-replay share: an error text, strings, the end
 * of the program.  Names begin with rpl_; everything here may allocate, read
 * files and exit, which the engine never does.
 */


#ifndef RPL_UTIL_H_INCLUDED
#define RPL_UTIL_H_INCLUDED


#include <stdio.h>

#include "../prd_text.h"


#define RPL_EXIT_LIMITED  3              /* more than --max-limited */
#define RPL_EXIT_BAD      2              /* bad input, bad options */
#define RPL_EXIT_FAILED   1              /* the system: memory, output */

#define RPL_ERROR_MAX     512


/* Why something failed, for people; parsers fill it and return a code. */

typedef struct {
    char  text[RPL_ERROR_MAX];
} rpl_error_t;

/* Returns rc, so that a parser can say `return rpl_error(e, rc, ...)`. */
prd_rc_t rpl_error(rpl_error_t *e, prd_rc_t rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Says "predictive-replay: ..." on standard error and ends. */
void rpl_die(int status, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

void rpl_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));


/* Memory or the end of the program. */

void *rpl_alloc(size_t size);                       /* zeroed */
void *rpl_realloc(void *p, size_t size);

/* A copy with a terminator, which is not counted. */
prd_str_t rpl_strdup(prd_str_t s);


/* Many small pieces that are freed together; zeroed by who owns it. */

typedef struct rpl_chunk_s  rpl_chunk_t;

typedef struct {
    rpl_chunk_t  *chunks;
} rpl_arena_t;

void *rpl_arena_alloc(rpl_arena_t *a, size_t size);           /* zeroed */
char *rpl_arena_print(rpl_arena_t *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void rpl_arena_done(rpl_arena_t *a);


static inline prd_str_t
rpl_str(const char *s)
{
    return (prd_str_t) { strlen(s), s };
}


/* A file with its name in messages; "-" is standard output. */

FILE *rpl_create(const char *path);
void rpl_close(FILE *f, const char *path);

/* Ends with a message if rpl_create() would; keeps what the file holds. */
void rpl_probe(const char *path);


#endif /* RPL_UTIL_H_INCLUDED */
