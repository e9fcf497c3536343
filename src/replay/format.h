
/*
 * Log formats: how a line falls into fields.  A field is what nginx has as a
 * variable; whoever wants one asks for its slot once, and finds it in each
 * line's array of fields.
 */


#ifndef RPL_FORMAT_H_INCLUDED
#define RPL_FORMAT_H_INCLUDED


#include "stamp.h"
#include "util.h"


#define RPL_FIELDS   160                /* of a format */
#define RPL_NO_SLOT  UINT32_MAX


typedef enum {
    RPL_FORMAT_TSV = 0,
    RPL_FORMAT_TEXT,                    /* a log_format string */
    RPL_FORMAT_JSON                     /* an object a line */
} rpl_format_e;

typedef enum {
    RPL_ESCAPE_NONE = 0,
    RPL_ESCAPE_DEFAULT,                 /* "\x22" */
    RPL_ESCAPE_JSON
} rpl_escape_e;


typedef struct {
    prd_str_t  name;                    /* without "$" */
    prd_str_t  sep;                     /* text: the literal behind it */
    unsigned   quoted:1;                /* stands in double quotes */
    unsigned   list:1;                  /* may be "a, b : c" */
    unsigned   glued:1;                 /* no literal tells its end */
} rpl_field_t;


typedef struct {
    rpl_format_e       kind;
    rpl_escape_e       escape;

    prd_str_t          prefix;          /* text: the literal in front */
    rpl_field_t        field[RPL_FIELDS];
    uint32_t           nfields;
    uint32_t           needed;          /* tsv: columns that are looked at */

    /* slots in order of preference, ended by RPL_NO_SLOT */
    uint32_t           time[8];
    uint32_t           status;
    uint32_t           bytes;
    uint32_t           request_time;

    rpl_stamp_cache_t  cache;
} rpl_format_t;


/*
 * "combined", "common", "json", "tsv", or a log_format string, which must
 * hold a "$".  escape is for the latter.  PRD_EINVAL: *e says why.
 */
prd_rc_t rpl_format_create(rpl_format_t **f, prd_str_t text,
    rpl_escape_e escape, rpl_error_t *e);
void rpl_format_done(rpl_format_t *f);

/*
 * The slot of a variable; RPL_NO_SLOT: the format has no such field.  A json
 * line may have any field, so all names have one there, up to RPL_FIELDS.
 * PRD_DECLINED: it has it, but nothing tells where its value ends; *e says so.
 */
prd_rc_t rpl_format_slot(rpl_format_t *f, prd_str_t name, uint32_t *slot,
    rpl_error_t *e);

/*
 * A line's fields; they point into the line.  A field that is absent has
 * length 0.  PRD_EINVAL: the line is not of this format; *why is a constant
 * phrase.
 */
prd_rc_t rpl_format_split(const rpl_format_t *f, prd_str_t line,
    prd_str_t *fields, const char **why);

/* The line's time, status (0: none) and duration (0: none), from fields. */
prd_rc_t rpl_format_time(rpl_format_t *f, const prd_str_t *fields,
    rpl_stamp_t *t, const char **why);
prd_rc_t rpl_format_status(const rpl_format_t *f, const prd_str_t *fields,
    uint32_t *status, const char **why);
/* Of the response, with its header where that is known; 0: not known. */
uint64_t rpl_format_bytes(const rpl_format_t *f, const prd_str_t *fields);
int64_t rpl_format_duration(const rpl_format_t *f, const prd_str_t *fields);

/*
 * The name of "$name" or "${name}" at p, where a "$" stands.  Returns how many
 * bytes it takes, 0 when it is no variable.
 */
size_t rpl_format_variable(const char *p, const char *last, prd_str_t *name);

/*
 * A field without its escapes, in out (which holds s.len bytes); returns the
 * length.  What is no escape stays as it is.
 */
size_t rpl_format_decode(rpl_escape_e escape, prd_str_t s, char *out);


/* json.c */
prd_rc_t rpl_json_split(const rpl_format_t *f, prd_str_t line,
    prd_str_t *fields, const char **why);


#endif /* RPL_FORMAT_H_INCLUDED */
