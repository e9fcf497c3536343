
/*
 * zlib reads plain files as they are, so one way fits both.  A buffer of a
 * few hundred kilobytes stays in the second-level cache; what is left of a
 * line at its end moves to its beginning.
 */


#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "reader.h"


#define RPL_READ  (256 * 1024)


struct rpl_reader_s {
    char *const  *paths;
    size_t        npaths;
    size_t        next;              /* file to open next */

    gzFile        gz;                /* NULL: none open */
    const char   *path;
    uint64_t      number;

    char         *buf;
    size_t        size;
    size_t        pos;               /* of the next line */
    size_t        last;              /* end of what was read */
    unsigned      eof:1;
    unsigned      skip:1;            /* the rest of a line too long */

    uint64_t      total;
    uint64_t      before;            /* bytes of the files before this one */
    uint64_t      here;              /* size of this one */
};


rpl_reader_t *
rpl_reader_create(char *const *paths, size_t npaths)
{
    size_t         i;
    struct stat    st;
    rpl_reader_t  *r;

    r = rpl_alloc(sizeof(rpl_reader_t));

    r->paths = paths;
    r->npaths = npaths;
    r->path = npaths ? paths[0] : "-";
    r->size = RPL_READ;
    r->buf = rpl_alloc(r->size);

    for (i = 0; i < npaths; i++) {

        if (strcmp(paths[i], "-") == 0 || stat(paths[i], &st) != 0
            || !S_ISREG(st.st_mode))
        {
            r->total = 0;
            break;
        }

        r->total += (uint64_t) st.st_size;
    }

    return r;
}


void
rpl_reader_done(rpl_reader_t *r)
{
    if (r == NULL) {
        return;
    }

    if (r->gz != NULL) {
        gzclose_r(r->gz);
    }

    free(r->buf);
    free(r);
}


static prd_rc_t
rpl_reader_open(rpl_reader_t *r, rpl_error_t *e)
{
    int           fd;
    struct stat   st;

    r->path = r->paths[r->next++];
    r->number = 0;
    r->pos = r->last = 0;
    r->eof = r->skip = 0;
    r->before += r->here;
    r->here = 0;

    if (strcmp(r->path, "-") == 0) {
        r->path = "(standard input)";
        fd = dup(STDIN_FILENO);

    } else {
        fd = open(r->path, O_RDONLY | O_CLOEXEC);
    }

    if (fd == -1) {
        return rpl_error(e, PRD_EIO, "%s: %s", r->path, strerror(errno));
    }

    if (fstat(fd, &st) == 0) {

        if (S_ISDIR(st.st_mode)) {
            close(fd);
            return rpl_error(e, PRD_EIO, "%s: %s", r->path, strerror(EISDIR));
        }

        if (S_ISREG(st.st_mode)) {
            r->here = (uint64_t) st.st_size;
            (void) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        }
    }

    r->gz = gzdopen(fd, "rb");

    if (r->gz == NULL) {
        close(fd);
        return rpl_error(e, PRD_ENOMEM, "%s: no memory to read it", r->path);
    }

    (void) gzbuffer(r->gz, 128 * 1024);

    return PRD_OK;
}


static prd_rc_t
rpl_reader_fill(rpl_reader_t *r, rpl_error_t *e)
{
    int          n, code;
    const char  *why;

    if (r->pos) {
        memmove(r->buf, r->buf + r->pos, r->last - r->pos);
        r->last -= r->pos;
        r->pos = 0;
    }

    if (r->last == r->size) {
        r->size = prd_min(r->size * 2, (size_t) RPL_LINE_MAX + 1);
        r->buf = rpl_realloc(r->buf, r->size);
    }

    n = gzread(r->gz, r->buf + r->last, (unsigned) (r->size - r->last));

    if (n > 0) {
        r->last += (size_t) n;
        return PRD_OK;
    }

    why = gzerror(r->gz, &code);

    if (n < 0 || code != Z_OK) {

        if (code == Z_ERRNO) {
            return rpl_error(e, PRD_EIO, "%s:%llu: %s", r->path,
                             (unsigned long long) r->number + 1,
                             strerror(errno));
        }

        return rpl_error(e, PRD_ECORRUPT, "%s:%llu: damaged gzip data (%s)",
                         r->path, (unsigned long long) r->number + 1,
                         code == Z_BUF_ERROR ? "unexpected end of file" : why);
    }

    r->eof = 1;

    return PRD_OK;
}


/* The end of a line that lies in the buffer, or NULL. */

static inline char *
rpl_reader_find(rpl_reader_t *r, size_t from)
{
    return memchr(r->buf + r->pos + from, '\n', r->last - r->pos - from);
}


prd_rc_t
rpl_reader_line(rpl_reader_t *r, prd_str_t *line, rpl_error_t *e)
{
    char      *nl;
    size_t     len, seen;
    prd_rc_t   rc;

    for ( ;; ) {

        if (r->gz == NULL) {

            if (r->next == r->npaths) {
                return PRD_DECLINED;
            }

            rc = rpl_reader_open(r, e);

            if (rc != PRD_OK) {
                return rc;
            }
        }

        seen = 0;

        for ( ;; ) {
            nl = rpl_reader_find(r, seen);

            if (nl != NULL || r->eof
                || r->last - r->pos > RPL_LINE_MAX)
            {
                break;
            }

            seen = r->last - r->pos;
            rc = rpl_reader_fill(r, e);

            if (rc != PRD_OK) {
                return rc;
            }
        }

        len = (nl != NULL) ? (size_t) (nl - (r->buf + r->pos))
                           : r->last - r->pos;

        if (r->skip) {
            /* the rest of a line that was too long, up to its end */
            r->skip = (nl == NULL && !r->eof);
            r->pos += len + (nl != NULL);

            if (nl == NULL && r->eof) {
                gzclose_r(r->gz);
                r->gz = NULL;
            }

            continue;
        }

        if (nl == NULL && r->eof && len == 0) {
            gzclose_r(r->gz);
            r->gz = NULL;
            continue;
        }

        line->data = r->buf + r->pos;
        line->len = len;
        r->pos += len + (nl != NULL);
        r->number++;

        if (nl == NULL && !r->eof) {
            r->skip = 1;
            return PRD_ELIMIT;
        }

        if (len && line->data[len - 1] == '\r') {
            line->len--;
        }

        return PRD_OK;
    }
}


const char *
rpl_reader_path(const rpl_reader_t *r)
{
    return r->path;
}


uint64_t
rpl_reader_number(const rpl_reader_t *r)
{
    return r->number;
}


void
rpl_reader_progress(const rpl_reader_t *r, uint64_t *done, uint64_t *all)
{
    *done = r->before;
    *all = r->total;

    if (r->gz != NULL && r->here) {
        *done += (uint64_t) gzoffset(r->gz);
    }
}
