
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "util.h"


prd_rc_t
rpl_error(rpl_error_t *e, prd_rc_t rc, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    vsnprintf(e->text, sizeof(e->text), fmt, args);
    va_end(args);

    return rc;
}


void
rpl_die(int status, const char *fmt, ...)
{
    va_list  args;

    fflush(stdout);
    fprintf(stderr, "predictive-replay: ");

    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);

    fprintf(stderr, "\n");
    exit(status);
}


void
rpl_warn(const char *fmt, ...)
{
    va_list  args;

    fprintf(stderr, "predictive-replay: ");

    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);

    fprintf(stderr, "\n");
}


void *
rpl_alloc(size_t size)
{
    void  *p;

    p = calloc(1, size);

    if (p == NULL) {
        rpl_die(RPL_EXIT_FAILED, "no memory for %zu bytes", size);
    }

    return p;
}


void *
rpl_realloc(void *p, size_t size)
{
    p = realloc(p, size);

    if (p == NULL) {
        rpl_die(RPL_EXIT_FAILED, "no memory for %zu bytes", size);
    }

    return p;
}


prd_str_t
rpl_strdup(prd_str_t s)
{
    char  *p;

    p = rpl_alloc(s.len + 1);

    if (s.len) {
        memcpy(p, s.data, s.len);
    }

    return (prd_str_t) { s.len, p };
}


struct rpl_chunk_s {
    rpl_chunk_t  *next;
    _Alignas(16) char  data[];
};


void *
rpl_arena_alloc(rpl_arena_t *a, size_t size)
{
    rpl_chunk_t  *c;

    c = rpl_alloc(sizeof(rpl_chunk_t) + size);
    c->next = a->chunks;
    a->chunks = c;

    return c->data;
}


char *
rpl_arena_print(rpl_arena_t *a, const char *fmt, ...)
{
    int       n;
    char     *p;
    va_list   args;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);

    p = rpl_arena_alloc(a, (size_t) n + 1);

    va_start(args, fmt);
    vsnprintf(p, (size_t) n + 1, fmt, args);
    va_end(args);

    return p;
}


void
rpl_arena_done(rpl_arena_t *a)
{
    rpl_chunk_t  *c, *next;

    for (c = a->chunks; c; c = next) {
        next = c->next;
        free(c);
    }

    a->chunks = NULL;
}


FILE *
rpl_create(const char *path)
{
    FILE  *f;

    if (strcmp(path, "-") == 0) {
        return stdout;
    }

    f = fopen(path, "w");

    if (f == NULL) {
        rpl_die(RPL_EXIT_FAILED, "%s: %s", path, strerror(errno));
    }

    return f;
}


void
rpl_probe(const char *path)
{
    FILE  *f;

    if (strcmp(path, "-") == 0) {
        return;
    }

    f = fopen(path, "a");

    if (f == NULL) {
        rpl_die(RPL_EXIT_FAILED, "%s: %s", path, strerror(errno));
    }

    fclose(f);
}


void
rpl_close(FILE *f, const char *path)
{
    int  bad;

    bad = ferror(f);

    if (f == stdout ? fflush(f) != 0 : fclose(f) != 0) {
        bad = 1;
    }

    if (bad) {
        rpl_die(RPL_EXIT_FAILED, "%s: %s", path, strerror(errno));
    }
}
