
/*
 * Lines of logs, one file after the other: plain, gzip (told by its first
 * bytes, several members too) and "-" for standard input, which may be
 * either.
 */


#ifndef RPL_READER_H_INCLUDED
#define RPL_READER_H_INCLUDED


#include "util.h"


#define RPL_LINE_MAX  (1 << 20)


typedef struct rpl_reader_s  rpl_reader_t;


/* Paths are kept, not copied.  Nothing is opened yet. */
rpl_reader_t *rpl_reader_create(char *const *paths, size_t npaths);
void rpl_reader_done(rpl_reader_t *r);

/*
 * The next line without its end ("\n" or "\r\n"); a last line without one
 * counts.  The bytes stay until the next call.
 *
 * PRD_DECLINED   the end of the last file
 * PRD_ELIMIT     a line above RPL_LINE_MAX; *line is its beginning, the
 *                rest is skipped
 * PRD_EIO        a file cannot be opened or read
 * PRD_ECORRUPT   a gzip file is damaged or cut off; lines before were given
 */
prd_rc_t rpl_reader_line(rpl_reader_t *r, prd_str_t *line, rpl_error_t *e);

/* Where the last line stands. */
const char *rpl_reader_path(const rpl_reader_t *r);
uint64_t rpl_reader_number(const rpl_reader_t *r);

/* Bytes read of all files as they lie on the disk; *all = 0: not known. */
void rpl_reader_progress(const rpl_reader_t *r, uint64_t *done,
    uint64_t *all);


#endif /* RPL_READER_H_INCLUDED */
