
/*
 * The grammar of nginx.conf.  Configurations are read once and small: words
 * are copied one by one and freed with the whole.
 */


#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf.h"


#define RPL_CONF_DEPTH  64
#define RPL_CONF_MAX    (64 << 20)


/* A file while it is read. */

typedef struct {
    const char    *path;
    const char    *p;
    const char    *last;
    unsigned       line;
    prd_str_t     *word;
    size_t         nwords;
    size_t         size;
} rpl_input_t;


typedef enum {
    RPL_TOKEN_DIRECTIVE = 0,             /* ends in ";" */
    RPL_TOKEN_OPEN,
    RPL_TOKEN_CLOSE,
    RPL_TOKEN_EOF,
    RPL_TOKEN_BAD
} rpl_token_e;


static prd_rc_t rpl_conf_file(rpl_conf_t *conf, const char *path,
    rpl_directive_t *parent, rpl_directive_t ***tail, rpl_error_t *e);


static void *
rpl_conf_alloc(rpl_conf_t *conf, size_t size)
{
    return rpl_arena_alloc(&conf->arena, size);
}


/* A word with nginx's escapes taken out. */

static prd_str_t
rpl_conf_word(rpl_conf_t *conf, const char *p, const char *last)
{
    char  *start, *o;

    start = o = rpl_conf_alloc(conf, (size_t) (last - p) + 1);

    for ( /* void */ ; p < last; p++) {

        if (*p == '\\' && last - p > 1) {

            switch (p[1]) {

            case '"':
            case '\'':
            case '\\':
                p++;
                break;

            case 't':
                *o++ = '\t';
                p++;
                continue;

            case 'r':
                *o++ = '\r';
                p++;
                continue;

            case 'n':
                *o++ = '\n';
                p++;
                continue;
            }
        }

        *o++ = *p;
    }

    return (prd_str_t) { (size_t) (o - start), start };
}


static rpl_token_e
rpl_conf_bad(const rpl_input_t *in, unsigned line, rpl_error_t *e,
    const char *what)
{
    (void) rpl_error(e, PRD_EINVAL, "%s:%u: %s", in->path, line, what);

    return RPL_TOKEN_BAD;
}


static int
rpl_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}


static void
rpl_conf_add(rpl_conf_t *conf, rpl_input_t *in, const char *p,
    const char *last)
{
    if (in->nwords == in->size) {
        in->size = in->size ? in->size * 2 : 16;
        in->word = rpl_realloc(in->word, in->size * sizeof(prd_str_t));
    }

    in->word[in->nwords++] = rpl_conf_word(conf, p, last);
}


/* A quoted word whose quote is at in->p. */

static int
rpl_conf_quoted(rpl_conf_t *conf, rpl_input_t *in)
{
    char         quote;
    const char  *start;

    quote = *in->p++;

    for (start = in->p; in->p < in->last; in->p++) {

        if (*in->p == '\n') {
            in->line++;
        }

        if (*in->p == '\\') {
            in->p++;

            if (in->p < in->last && *in->p == '\n') {
                in->line++;
            }

            continue;
        }

        if (*in->p == quote) {
            rpl_conf_add(conf, in, start, in->p);
            in->p++;

            return 1;
        }
    }

    return 0;
}


static void
rpl_conf_bare(rpl_conf_t *conf, rpl_input_t *in)
{
    const char  *start;

    for (start = in->p; in->p < in->last; in->p++) {

        if (*in->p == '\\') {
            in->p++;

            if (in->p == in->last) {
                break;
            }

            if (*in->p == '\n') {
                in->line++;
            }

            continue;
        }

        /* "${name}" opens no block */

        if (*in->p == '$' && in->last - in->p > 1 && in->p[1] == '{') {
            in->p++;
            continue;
        }

        if (rpl_is_blank(*in->p) || *in->p == ';' || *in->p == '{') {
            break;
        }
    }

    in->p = prd_min(in->p, in->last);
    rpl_conf_add(conf, in, start, in->p);
}


/* The next directive's words, up to ";", "{" or "}". */

static rpl_token_e
rpl_conf_next(rpl_conf_t *conf, rpl_input_t *in, unsigned *line,
    rpl_error_t *e)
{
    in->nwords = 0;

    for ( ;; ) {

        while (in->p < in->last && rpl_is_blank(*in->p)) {
            in->line += (*in->p++ == '\n');
        }

        if (in->p == in->last) {

            if (in->nwords) {
                return rpl_conf_bad(in, in->line, e, "unexpected end of file, "
                                    "expecting \";\" or \"}\"");
            }

            return RPL_TOKEN_EOF;
        }

        if (in->nwords == 0) {
            *line = in->line;
        }

        switch (*in->p) {

        case '#':

            while (in->p < in->last && *in->p != '\n') {
                in->p++;
            }

            break;

        case ';':
        case '{':

            if (in->nwords == 0) {
                return rpl_conf_bad(in, in->line, e, *in->p == ';'
                                    ? "unexpected \";\"" : "unexpected \"{\"");
            }

            return *in->p++ == ';' ? RPL_TOKEN_DIRECTIVE : RPL_TOKEN_OPEN;

        case '}':

            if (in->nwords) {
                return rpl_conf_bad(in, in->line, e, "unexpected \"}\"");
            }

            in->p++;

            return RPL_TOKEN_CLOSE;

        case '"':
        case '\'':

            if (!rpl_conf_quoted(conf, in)) {
                return rpl_conf_bad(in, *line, e, "a quoted word has no end");
            }

            if (in->p < in->last && !rpl_is_blank(*in->p) && *in->p != ';'
                && *in->p != '{' && *in->p != ')')
            {
                return rpl_conf_bad(in, in->line, e, "something follows a "
                                    "closing quote");
            }

            break;

        default:
            rpl_conf_bare(conf, in);
            break;
        }
    }
}


/*
 * The block of content_by_lua_block and the like is not of nginx's grammar:
 * braces count unless they stand in a string or a comment of Lua's.
 */

static int
rpl_conf_lua(rpl_input_t *in)
{
    char    quote;
    size_t  depth;

    for (depth = 1; in->p < in->last && depth; in->p++) {

        switch (*in->p) {

        case '{':
            depth++;
            break;

        case '}':
            depth--;
            break;

        case '\n':
            in->line++;
            break;

        case '-':

            if (in->last - in->p > 1 && in->p[1] == '-') {
                while (in->last - in->p > 1 && in->p[1] != '\n') {
                    in->p++;
                }
            }

            break;

        case '"':
        case '\'':
            quote = *in->p;

            while (in->last - in->p > 1 && *++in->p != quote
                   && *in->p != '\n')
            {
                in->p += (*in->p == '\\' && in->last - in->p > 1);
            }

            in->line += (*in->p == '\n');
            break;
        }
    }

    return depth == 0;
}


static int
rpl_ends(prd_str_t s, const char *tail)
{
    size_t  n;

    n = strlen(tail);

    return s.len >= n && memcmp(s.data + s.len - n, tail, n) == 0;
}


static prd_rc_t
rpl_conf_include(rpl_conf_t *conf, const rpl_input_t *in, unsigned line,
    rpl_directive_t *parent, rpl_directive_t ***tail, rpl_error_t *e)
{
    int        code;
    char      *pattern;
    size_t     i, len;
    glob_t     g;
    prd_rc_t   rc;

    if (in->nwords != 2) {
        return rpl_error(e, PRD_EINVAL, "%s:%u: include needs one file",
                         in->path, line);
    }

    len = strlen(conf->dir) + in->word[1].len + 2;
    pattern = rpl_conf_alloc(conf, len);

    if (in->word[1].len && in->word[1].data[0] == '/') {
        memcpy(pattern, in->word[1].data, in->word[1].len);

    } else {
        snprintf(pattern, len, "%s/%.*s", conf->dir, (int) in->word[1].len,
                 in->word[1].data);
    }

    if (strpbrk(pattern, "*?[") == NULL) {
        return rpl_conf_file(conf, pattern, parent, tail, e);
    }

    code = glob(pattern, 0, NULL, &g);

    if (code == GLOB_NOMATCH) {
        return PRD_OK;
    }

    if (code != 0) {
        return rpl_error(e, PRD_EIO, "%s:%u: include \"%s\" failed",
                         in->path, line, pattern);
    }

    rc = PRD_OK;

    for (i = 0; i < g.gl_pathc && rc == PRD_OK; i++) {
        rc = rpl_conf_file(conf, g.gl_pathv[i], parent, tail, e);
    }

    globfree(&g);

    return rc;
}


/* Directives up to the end of the block or file. */

static prd_rc_t
rpl_conf_block(rpl_conf_t *conf, rpl_input_t *in, rpl_directive_t *parent,
    rpl_directive_t ***tail, int top, rpl_error_t *e)
{
    prd_rc_t           rc;
    unsigned           line;
    rpl_token_e        token;
    rpl_directive_t   *d, **children;

    if (conf->depth > RPL_CONF_DEPTH) {
        return rpl_error(e, PRD_EINVAL, "%s:%u: blocks or includes are nested "
                         "too deep", in->path, in->line);
    }

    line = in->line;

    for ( ;; ) {
        token = rpl_conf_next(conf, in, &line, e);

        if (token == RPL_TOKEN_BAD) {
            return PRD_EINVAL;
        }

        if (token == RPL_TOKEN_EOF || token == RPL_TOKEN_CLOSE) {

            if ((token == RPL_TOKEN_EOF) != top) {
                return rpl_error(e, PRD_EINVAL, "%s:%u: %s", in->path,
                                 in->line, top ? "unexpected \"}\""
                                 : "unexpected end of file, expecting \"}\"");
            }

            return PRD_OK;
        }

        if (prd_is(in->word[0], "include") && token == RPL_TOKEN_DIRECTIVE) {
            rc = rpl_conf_include(conf, in, line, parent, tail, e);

            if (rc != PRD_OK) {
                return rc;
            }

            continue;
        }

        d = rpl_conf_alloc(conf, sizeof(rpl_directive_t));

        d->word = rpl_conf_alloc(conf, in->nwords * sizeof(prd_str_t));
        memcpy(d->word, in->word, in->nwords * sizeof(prd_str_t));
        d->nwords = in->nwords;
        d->file = in->path;
        d->line = line;
        d->parent = parent;

        **tail = d;
        *tail = &d->next;

        if (token == RPL_TOKEN_DIRECTIVE) {
            continue;
        }

        if (rpl_ends(d->word[0], "_by_lua_block")) {

            if (!rpl_conf_lua(in)) {
                return rpl_error(e, PRD_EINVAL, "%s:%u: the block has no end",
                                 in->path, line);
            }

            continue;
        }

        children = &d->child;
        conf->depth++;

        rc = rpl_conf_block(conf, in, d, &children, 0, e);

        conf->depth--;

        if (rc != PRD_OK) {
            return rc;
        }
    }
}


static prd_rc_t
rpl_conf_text(rpl_conf_t *conf, const char *path, const char *text,
    size_t len, rpl_directive_t *parent, rpl_directive_t ***tail,
    rpl_error_t *e)
{
    char         *name;
    prd_rc_t      rc;
    rpl_input_t   in;

    memset(&in, 0, sizeof(in));

    name = rpl_conf_alloc(conf, strlen(path) + 1);
    memcpy(name, path, strlen(path));

    in.path = name;
    in.p = text;
    in.last = text + len;
    in.line = 1;

    conf->depth++;

    rc = rpl_conf_block(conf, &in, parent, tail, 1, e);

    conf->depth--;

    free(in.word);

    return rc;
}


static prd_rc_t
rpl_conf_file(rpl_conf_t *conf, const char *path, rpl_directive_t *parent,
    rpl_directive_t ***tail, rpl_error_t *e)
{
    FILE         *f;
    char         *text;
    size_t        n;
    prd_rc_t      rc;
    struct stat   st;

    f = fopen(path, "r");

    if (f == NULL || fstat(fileno(f), &st) != 0) {
        rc = rpl_error(e, PRD_EIO, "%s: %s", path, strerror(errno));

        if (f != NULL) {
            fclose(f);
        }

        return rc;
    }

    if (!S_ISREG(st.st_mode) || st.st_size > RPL_CONF_MAX) {
        fclose(f);
        return rpl_error(e, PRD_EIO, "%s: is no file that could be a "
                         "configuration", path);
    }

    text = rpl_conf_alloc(conf, (size_t) st.st_size + 1);
    n = fread(text, 1, (size_t) st.st_size, f);
    fclose(f);

    return rpl_conf_text(conf, path, text, n, parent, tail, e);
}


prd_rc_t
rpl_conf_parse(rpl_conf_t **out, const char *name, const char *text,
    size_t len, rpl_error_t *e)
{
    prd_rc_t           rc;
    rpl_conf_t        *conf;
    rpl_directive_t  **tail;

    conf = rpl_alloc(sizeof(rpl_conf_t));
    conf->dir = ".";

    tail = &conf->root.child;
    rc = rpl_conf_text(conf, name, text, len, &conf->root, &tail, e);

    if (rc != PRD_OK) {
        rpl_conf_done(conf);
        return rc;
    }

    *out = conf;

    return PRD_OK;
}


prd_rc_t
rpl_conf_load(rpl_conf_t **out, const char *path, rpl_error_t *e)
{
    size_t             n;
    prd_rc_t           rc;
    const char        *slash;
    rpl_conf_t        *conf;
    rpl_directive_t  **tail;

    conf = rpl_alloc(sizeof(rpl_conf_t));

    slash = strrchr(path, '/');
    n = slash ? prd_max((size_t) (slash - path), 1u) : 1;

    conf->dir = rpl_arena_print(&conf->arena, "%.*s", (int) n,
                                slash ? path : ".");

    tail = &conf->root.child;
    rc = rpl_conf_file(conf, path, &conf->root, &tail, e);

    if (rc != PRD_OK) {
        rpl_conf_done(conf);
        return rc;
    }

    *out = conf;

    return PRD_OK;
}


void
rpl_conf_done(rpl_conf_t *conf)
{
    if (conf != NULL) {
        rpl_arena_done(&conf->arena);
        free(conf);
    }
}
