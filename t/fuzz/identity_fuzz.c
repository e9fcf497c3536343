
/*
 * Rules and values of any bytes: nothing crashes or leaks, matching ends,
 * keys have a tag and fit, the same values give the same key.
 *
 * The input is lines.  Up to an empty one they are rules, their words parted
 * by tabs; the lines behind it are the values of the sources in order.
 */


#include <stdlib.h>

#include "prd_address.h"
#include "prd_agent.h"
#include "prd_identity.h"


#define MAX_WORDS   6
#define MAX_REGEX   200       /* compiling "((a{999}){999}){9}" is no target */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


typedef struct block_s  block_t;

struct block_s {
    block_t      *next;
    max_align_t   data[];
};


typedef struct {
    block_t    *blocks;
    prd_str_t   values[PRD_IDENTITY_SOURCES];
} ctx_t;


static void
check(int cond)
{
    if (!cond) {
        abort();
    }
}


static void *
fuzz_alloc(void *data, size_t size)
{
    ctx_t    *c = data;
    block_t  *b;

    b = malloc(sizeof(block_t) + size);
    check(b != NULL);

    b->next = c->blocks;
    c->blocks = b;

    return b->data;
}


static prd_rc_t
get(void *data, size_t n, prd_str_t *value)
{
    ctx_t  *c = data;

    check(n < PRD_IDENTITY_SOURCES);

    if (c->values[n].data == NULL) {
        return PRD_DECLINED;
    }

    *value = c->values[n];

    return PRD_OK;
}


static int
next_line(const char **pp, const char *last, prd_str_t *line)
{
    const char  *nl;

    if (*pp >= last) {
        return 0;
    }

    nl = memchr(*pp, '\n', last - *pp);

    line->data = *pp;
    line->len = (nl ? nl : last) - *pp;

    *pp += line->len + 1;

    return 1;
}


static void
add(prd_identity_t *id, prd_str_t line)
{
    size_t       n, len, sources;
    prd_rc_t     rc;
    prd_str_t    words[MAX_WORDS], bad;
    const char  *p, *tab, *last, *why;

    p = line.data;
    last = p + line.len;

    for (n = 0; n < MAX_WORDS; n++) {
        tab = memchr(p, '\t', last - p);
        len = (tab ? tab : last) - p;

        words[n].data = p;
        words[n].len = len;

        if (tab == NULL) {
            n++;
            break;
        }

        p = tab + 1;
    }

    if (n > 2 && words[2].len > MAX_REGEX) {
        return;
    }

    why = NULL;
    sources = prd_identity_sources(id);

    rc = prd_identity_add(id, words, n, &why, &bad);

    check((rc == PRD_OK) == (why == NULL));
    check(rc == PRD_OK || prd_identity_sources(id) == sources);

    if (why != NULL) {
        check(strlen(why) > 0);
    }
}


static void
single(prd_str_t value)
{
    char         out[PRD_ADDRESS_MAX], again[PRD_ADDRESS_MAX];
    char         agent[PRD_AGENT_MAX], tag;
    size_t       len, n, slash, i;
    prd_str_t    s;
    const char  *p;

    if (prd_address_mask(value, 20, 41, out, &len, &tag) == PRD_OK) {
        check(len <= PRD_ADDRESS_MAX);

        /* a masked address masks to itself */

        p = memchr(out, '/', len);
        check(p != NULL);
        slash = p - out;

        s.data = out;
        s.len = slash;
        check(prd_address_mask(s, 20, 41, again, &n, &tag) == PRD_OK);
        check(n == len && memcmp(out, again, len) == 0);
    }

    n = prd_agent_family(value, agent);
    check(n <= PRD_AGENT_MAX && (n == 0) == (value.len == 0));

    for (i = 0; i < n; i++) {
        check((agent[i] >= 'a' && agent[i] <= 'z')
              || (agent[i] >= '0' && agent[i] <= '9')
              || agent[i] == '-' || agent[i] == '_' || agent[i] == '.');
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char              key[PRD_IDENTITY_KEY_MAX], again[PRD_IDENTITY_KEY_MAX];
    ctx_t             c;
    size_t            n, len, len2;
    block_t          *b;
    prd_rc_t          rc;
    prd_str_t         line;
    const char       *p, *last, *why;
    prd_identity_t   *id;

    memset(&c, 0, sizeof(c));

    check(prd_identity_create(fuzz_alloc, &c, &id) == PRD_OK);

    p = (const char *) data;
    last = p + size;

    while (next_line(&p, last, &line) && line.len != 0) {
        add(id, line);
    }

    for (n = 0; n < PRD_IDENTITY_SOURCES; n++) {

        if (!next_line(&p, last, &line)) {
            break;
        }

        c.values[n] = line;
        single(line);
    }

    why = NULL;
    rc = prd_identity_end(id, &why);
    check((rc == PRD_OK) == (why == NULL));

    if (rc == PRD_OK) {
        rc = prd_identity_key(id, get, &c, key, &len);

        check(rc == PRD_OK || rc == PRD_ELIMIT || rc == PRD_DECLINED);

        if (rc != PRD_DECLINED) {
            check(len > 1 && len <= PRD_IDENTITY_KEY_MAX);
            check(memchr("t46axsTXS", key[0], 9) != NULL);

            check(prd_identity_key(id, get, &c, again, &len2) == rc);
            check(len == len2 && memcmp(key, again, len) == 0);
        }
    }

    prd_identity_done(id);

    while (c.blocks != NULL) {
        b = c.blocks;
        c.blocks = b->next;
        free(b);
    }

    return 0;
}
