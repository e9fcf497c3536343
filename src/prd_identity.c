
/*
 * The rules of an identity: lines of words checked and kept as sources, in
 * their order.
 */


#include "prd_identity_inner.h"
#include "prd_parse.h"
#include "prd_text.h"


static prd_rc_t prd_identity_add_token(prd_identity_t *id, prd_source_t *s,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad);
static prd_rc_t prd_identity_add_address(prd_identity_t *id, prd_source_t *s,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad);
static prd_rc_t prd_identity_add_agent(prd_identity_t *id, prd_source_t *s,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad);
static prd_rc_t prd_identity_add_separate(prd_identity_t *id,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad);


static const char *const  prd_kind_names[PRD_KINDS] = {
    "token", "address", "agent"
};


prd_rc_t
prd_identity_create(prd_alloc_pt alloc, void *data, prd_identity_t **id)
{
    prd_identity_t  *p;

    p = alloc(data, sizeof(prd_identity_t));

    if (p == NULL) {
        return PRD_ENOMEM;
    }

    memset(p, 0, sizeof(prd_identity_t));

    prd_agent_index(&p->agents);

    p->alloc = alloc;
    p->data = data;

    *id = p;

    return PRD_OK;
}


void
prd_identity_done(prd_identity_t *id)
{
    size_t  n;

    if (id == NULL) {
        return;
    }

    for (n = 0; n < id->nsources; n++) {
        pcre2_code_free(id->sources[n].regex);
        id->sources[n].regex = NULL;
    }

    id->nsources = 0;

    pcre2_match_data_free(id->match);
    pcre2_match_context_free(id->context);
    pcre2_jit_stack_free(id->stack);

    id->match = NULL;
    id->context = NULL;
    id->stack = NULL;
}


prd_rc_t
prd_identity_add(prd_identity_t *id, const prd_str_t *words, size_t nwords,
    const char **why, prd_str_t *bad)
{
    char          *p;
    size_t         kind;
    prd_rc_t       rc;
    prd_source_t   s;

    static prd_rc_t (*const  add[PRD_KINDS])(prd_identity_t *id,
        prd_source_t *s, const prd_str_t *words, size_t nwords,
        const char **why, prd_str_t *bad) =
    {
        prd_identity_add_token, prd_identity_add_address,
        prd_identity_add_agent
    };

    if (nwords == 0) {
        *why = "is empty";
        bad->len = 0;
        bad->data = "";
        return PRD_EINVAL;
    }

    *bad = words[0];

    if (prd_is(words[0], "separate")) {
        return prd_identity_add_separate(id, words, nwords, why, bad);
    }

    for (kind = 0; kind < PRD_KINDS; kind++) {
        if (prd_is(words[0], prd_kind_names[kind])) {
            break;
        }
    }

    if (kind == PRD_KINDS) {
        *why = "is not one of token, address, agent and separate";
        return PRD_EINVAL;
    }

    if (nwords < 2) {
        *why = "has no value";
        return PRD_EINVAL;
    }

    if (id->nsources == PRD_IDENTITY_SOURCES) {
        *why = "is one source too many, 16 are possible";
        return PRD_EFULL;
    }

    /* a forgotten "$" would make one client of all */

    if (words[1].len == 0 || memchr(words[1].data, '$', words[1].len) == NULL)
    {
        *why = "must contain a variable";
        *bad = words[1];
        return PRD_EINVAL;
    }

    memset(&s, 0, sizeof(prd_source_t));

    s.kind = (prd_kind_e) kind;

    p = id->alloc(id->data, words[1].len);

    if (p == NULL) {
        *why = "does not fit into memory";
        return PRD_ENOMEM;
    }

    memcpy(p, words[1].data, words[1].len);

    s.value.len = words[1].len;
    s.value.data = p;

    rc = add[kind](id, &s, words, nwords, why, bad);

    if (rc != PRD_OK) {
        return rc;
    }

    id->sources[id->nsources++] = s;

    return PRD_OK;
}


static prd_rc_t
prd_identity_add_token(prd_identity_t *id, prd_source_t *s,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad)
{
    if (nwords > 3) {
        *why = "is one word too many after a token's expression";
        *bad = words[3];
        return PRD_EINVAL;
    }

    if (nwords == 3) {
        *bad = words[2];
        return prd_identity_compile(id, s, words[2], why);
    }

    return PRD_OK;
}


static prd_rc_t
prd_identity_add_address(prd_identity_t *id, prd_source_t *s,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad)
{
    prd_rc_t  rc;
    uint64_t  n;

    (void) id;

    if (nwords != 4) {
        *why = "needs a value, an IPv4 and an IPv6 prefix length";
        return PRD_EINVAL;
    }

    rc = prd_parse_uint(words[2], 32, &n);

    if (rc != PRD_OK) {
        *why = "must be an IPv4 prefix length, 0 to 32";
        *bad = words[2];
        return rc;
    }

    s->v4 = (unsigned) n;

    rc = prd_parse_uint(words[3], 128, &n);

    if (rc != PRD_OK) {
        *why = "must be an IPv6 prefix length, 0 to 128";
        *bad = words[3];
        return rc;
    }

    s->v6 = (unsigned) n;

    return PRD_OK;
}


static prd_rc_t
prd_identity_add_agent(prd_identity_t *id, prd_source_t *s,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad)
{
    (void) id;
    (void) s;

    if (nwords > 2) {
        *why = "is one word too many after an agent's value";
        *bad = words[2];
        return PRD_EINVAL;
    }

    return PRD_OK;
}


static prd_rc_t
prd_identity_add_separate(prd_identity_t *id, const prd_str_t *words,
    size_t nwords, const char **why, prd_str_t *bad)
{
    size_t    n, kind;
    unsigned  separate;

    if (id->separate) {
        *why = "is given twice";
        return PRD_EINVAL;
    }

    if (nwords < 3) {
        *why = "needs at least two of token, address and agent";
        return PRD_EINVAL;
    }

    separate = 0;

    for (n = 1; n < nwords; n++) {
        *bad = words[n];

        for (kind = 0; kind < PRD_KINDS; kind++) {
            if (prd_is(words[n], prd_kind_names[kind])) {
                break;
            }
        }

        if (kind == PRD_KINDS) {
            *why = "is not one of token, address and agent";
            return PRD_EINVAL;
        }

        if (separate & 1u << kind) {
            *why = "is named twice";
            return PRD_EINVAL;
        }

        separate |= 1u << kind;
    }

    id->separate = separate;

    return PRD_OK;
}


prd_rc_t
prd_identity_end(prd_identity_t *id, const char **why)
{
    size_t    n;
    unsigned  present;

    if (id->nsources == 0) {
        *why = "has no source of a key";
        return PRD_EINVAL;
    }

    present = 0;

    for (n = 0; n < id->nsources; n++) {
        present |= 1u << id->sources[n].kind;
    }

    if (id->separate & ~present) {
        *why = "names a kind in \"separate\" that has no source";
        return PRD_EINVAL;
    }

    return PRD_OK;
}


size_t
prd_identity_sources(const prd_identity_t *id)
{
    return id->nsources;
}


prd_str_t
prd_identity_source(const prd_identity_t *id, size_t n, prd_kind_e *kind)
{
    if (kind != NULL) {
        *kind = id->sources[n].kind;
    }

    return id->sources[n].value;
}
