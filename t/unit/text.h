
/* Texts for tests of what reads them. */


#ifndef TEXT_H_INCLUDED
#define TEXT_H_INCLUDED


#include <stdlib.h>

#include "prd.h"


#define BIG       65536
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))


/* NULL: none. */

static inline prd_str_t
str(const char *text)
{
    prd_str_t  s;

    s.len = text ? strlen(text) : 0;
    s.data = text;

    return s;
}


/* A pattern again and again, `len` bytes of it; the caller frees them. */

static inline char *
fill(const char *pattern, size_t len)
{
    char    *p;
    size_t   i, n = strlen(pattern);

    p = malloc(len);

    for (i = 0; i < len; i++) {
        p[i] = pattern[i % n];
    }

    return p;
}


#endif /* TEXT_H_INCLUDED */
