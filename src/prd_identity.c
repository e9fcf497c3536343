
/*
 * Request values -> client key: tokens cut out by regular expressions,
 * masked addresses, families of user agents.  Values come from the network
 * and are up to 64 KiB of any bytes; whatever they are, the work is bounded.
 */


#define PCRE2_CODE_UNIT_WIDTH  8

#include <pcre2.h>
#include <stdio.h>

#include "prd_address.h"
#include "prd_agent.h"
#include "prd_hash.h"
#include "prd_identity.h"
#include "prd_parse.h"
#include "prd_text.h"


/*
 * What a match may cost, in about a byte looked at.  PCRE2's match limit does
 * not bound it: it holds for one start position, of which a value has as many
 * as bytes, and neither a repeat of a single character ("\d+x") nor a back
 * reference is more than one step to it however long it is ("(a*)\1[xy]" took
 * 534 s on 64 KiB).  So expressions are compiled with a callout before each
 * item, which adds up the whole match, in the JIT's code as in the
 * interpreter.  A good expression takes a dozen callouts of 10 ns.
 */

#define PRD_MATCH_BUDGET      (1u << 24)
#define PRD_CALLOUT_COST      16

/* for a single start; the second and third are only for the interpreter */

#define PRD_MATCH_LIMIT       (1u << 20)
#define PRD_DEPTH_LIMIT       20000
#define PRD_HEAP_LIMIT_KB     4096

#define PRD_JIT_STACK_MIN     (32 * 1024)
#define PRD_JIT_STACK_MAX     (256 * 1024)

#define PRD_KINDS             3

/* a folded key ends with 128 bits in hex */

#define PRD_FOLD_HASH         (2 * PRD_HEX)
#define PRD_FOLD_TEXT         (PRD_IDENTITY_KEY_MAX - 1 - PRD_FOLD_HASH)


typedef struct {
    prd_kind_e             kind;
    prd_str_t              value;

    pcre2_code            *regex;        /* PRD_KIND_TOKEN, may be NULL */
    unsigned               group;        /* the one kept: 0 or 1 */
    unsigned               backrefs:1;
    size_t                 repeat;       /* the greatest N of "{N" in it */

    unsigned               v4;           /* PRD_KIND_ADDRESS */
    unsigned               v6;
} prd_source_t;


/* A value reduced, not yet a key; `text` may point into `buf`. */

typedef struct {
    char                   tag;
    prd_str_t              text;
    char                   buf[PRD_ADDRESS_MAX];
} prd_part_t;


/* The costs of one match up to now. */

typedef struct {
    size_t                 cost;
    size_t                 pos;
    const prd_source_t    *source;
} prd_meter_t;


struct prd_identity_s {
    prd_source_t           sources[PRD_IDENTITY_SOURCES];
    size_t                 nsources;

    unsigned               separate;     /* bits 1 << prd_kind_e */

    pcre2_match_data      *match;
    pcre2_match_context   *context;
    pcre2_jit_stack       *stack;

    prd_agent_index_t      agents;

    prd_alloc_pt           alloc;
    void                  *data;

    char                   error[192];
};


static prd_rc_t prd_identity_add_token(prd_identity_t *id, prd_source_t *s,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad);
static prd_rc_t prd_identity_add_address(prd_identity_t *id, prd_source_t *s,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad);
static prd_rc_t prd_identity_add_agent(prd_identity_t *id, prd_source_t *s,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad);
static prd_rc_t prd_identity_add_separate(prd_identity_t *id,
    const prd_str_t *words, size_t nwords, const char **why, prd_str_t *bad);
static prd_rc_t prd_identity_compile(prd_identity_t *id, prd_source_t *s,
    prd_str_t pattern, const char **why);
static prd_rc_t prd_identity_match(const prd_identity_t *id,
    const prd_source_t *s, prd_str_t *value);
static size_t prd_identity_repeat(prd_str_t pattern);
static int prd_identity_callout(pcre2_callout_block *block, void *data);
static prd_rc_t prd_identity_reduce(const prd_identity_t *id,
    const prd_source_t *s, prd_str_t value, prd_part_t *part);
static size_t prd_identity_join(const prd_str_t *strs, size_t n, char *key);


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


static prd_rc_t
prd_identity_compile(prd_identity_t *id, prd_source_t *s, prd_str_t pattern,
    const char **why)
{
    int          err;
    char         message[128];
    uint32_t     captures, backrefs;
    PCRE2_SIZE   offset;

    if (pattern.len == 0) {
        *why = "is an empty expression";
        return PRD_EINVAL;
    }

    if (id->match == NULL) {

        /* the whole match and group 1 are all that is ever looked at */

        id->match = pcre2_match_data_create(2, NULL);
    }

    if (id->context == NULL) {
        id->context = pcre2_match_context_create(NULL);
    }

    if (id->match == NULL || id->context == NULL) {
        *why = "does not fit into memory";
        return PRD_ENOMEM;
    }

    (void) pcre2_set_match_limit(id->context, PRD_MATCH_LIMIT);
    (void) pcre2_set_depth_limit(id->context, PRD_DEPTH_LIMIT);
    (void) pcre2_set_heap_limit(id->context, PRD_HEAP_LIMIT_KB);

    /* "(*UTF)" would let a client make every match fail by invalid UTF-8 */

    s->regex = pcre2_compile((PCRE2_SPTR) pattern.data, pattern.len,
                             PCRE2_NEVER_UTF|PCRE2_AUTO_CALLOUT,
                             &err, &offset, NULL);

    if (s->regex == NULL) {
        if (pcre2_get_error_message(err, (PCRE2_UCHAR *) message,
                                    sizeof(message))
            < 0)
        {
            /* too long for the buffer: it is cut and terminated */
        }

        (void) snprintf(id->error, sizeof(id->error),
                        "is no regular expression: %s at offset %zu",
                        message, (size_t) offset);

        *why = id->error;
        return PRD_EINVAL;
    }

    (void) pcre2_pattern_info(s->regex, PCRE2_INFO_CAPTURECOUNT, &captures);
    (void) pcre2_pattern_info(s->regex, PCRE2_INFO_BACKREFMAX, &backrefs);

    s->group = captures ? 1 : 0;
    s->backrefs = backrefs ? 1 : 0;
    s->repeat = prd_identity_repeat(pattern);

    /* not fatal: a hardened system refuses memory that can be executed */

    if (pcre2_jit_compile(s->regex, PCRE2_JIT_COMPLETE) == 0
        && id->stack == NULL)
    {
        id->stack = pcre2_jit_stack_create(PRD_JIT_STACK_MIN,
                                           PRD_JIT_STACK_MAX, NULL);

        /* if there is none, 32 KB of the machine's stack are used */

        pcre2_jit_stack_assign(id->context, NULL, id->stack);
    }

    return PRD_OK;
}


/* "{500}" and "{500,}" are 500; too much ("\{9") does no harm here. */

static size_t
prd_identity_repeat(prd_str_t pattern)
{
    size_t  i, n, max;

    max = 0;

    for (i = 0; i < pattern.len; i++) {

        if (pattern.data[i] != '{') {
            continue;
        }

        n = 0;

        /* PCRE2 allows 65535 */

        while (i + 1 < pattern.len && n <= UINT16_MAX
               && pattern.data[i + 1] >= '0' && pattern.data[i + 1] <= '9')
        {
            n = n * 10 + (size_t) (pattern.data[++i] - '0');
        }

        max = prd_max(max, n);
    }

    return max;
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


prd_rc_t
prd_identity_key(const prd_identity_t *id, prd_identity_get_pt get,
    void *data, char *key, size_t *len)
{
    size_t               i, n, nstrs;
    unsigned             bit, want, join;
    prd_rc_t             rc, result;
    prd_str_t            value, strs[1 + 3 * PRD_KINDS];
    prd_part_t           parts[PRD_KINDS], *winner;
    char                 lengths[PRD_KINDS][21], *p;
    const prd_source_t  *s;

    winner = NULL;
    want = 0;
    join = 0;
    result = PRD_OK;

    for (n = 0; n < id->nsources; n++) {
        s = &id->sources[n];
        bit = 1u << s->kind;

        if (winner != NULL && !(want & bit)) {
            continue;
        }

        rc = get(data, n, &value);

        if (rc == PRD_DECLINED || (rc == PRD_OK && value.len == 0)) {
            continue;
        }

        if (rc != PRD_OK) {
            return rc;
        }

        rc = prd_identity_reduce(id, s, value, &parts[s->kind]);

        if (rc == PRD_DECLINED) {
            continue;
        }

        if (rc == PRD_ELIMIT) {
            result = PRD_ELIMIT;
        }

        if (winner == NULL) {
            winner = &parts[s->kind];

            if (id->separate & bit) {
                join = id->separate;
                want = join;
            }
        }

        want &= ~bit;

        if (want == 0) {
            break;
        }
    }

    if (winner == NULL) {
        return PRD_DECLINED;
    }

    if (join == 0 || want != 0) {
        strs[0].len = 1;
        strs[0].data = &winner->tag;
        strs[1] = winner->text;

        *len = prd_identity_join(strs, 2, key);

        return result;
    }

    nstrs = 0;
    strs[nstrs++] = prd_str("s");

    for (i = 0; i < PRD_KINDS; i++) {

        if (!(join & 1u << i)) {
            continue;
        }

        p = prd_put_uint(lengths[i], parts[i].text.len + 1, 10);
        *p++ = ':';

        strs[nstrs].len = p - lengths[i];
        strs[nstrs++].data = lengths[i];

        strs[nstrs].len = 1;
        strs[nstrs++].data = &parts[i].tag;

        strs[nstrs++] = parts[i].text;
    }

    *len = prd_identity_join(strs, nstrs, key);

    return result;
}


static prd_rc_t
prd_identity_reduce(const prd_identity_t *id, const prd_source_t *s,
    prd_str_t value, prd_part_t *part)
{
    prd_rc_t  rc;

    rc = PRD_OK;
    part->text = value;

    switch (s->kind) {

    case PRD_KIND_TOKEN:
        part->tag = 't';

        if (s->regex != NULL) {
            rc = prd_identity_match(id, s, &part->text);
        }

        break;

    case PRD_KIND_ADDRESS:

        if (prd_address_mask(value, s->v4, s->v6, part->buf, &part->text.len,
                             &part->tag)
            == PRD_OK)
        {
            part->text.data = part->buf;

        } else {
            part->tag = 'x';
        }

        break;

    case PRD_KIND_AGENT:
        part->tag = 'a';
        part->text.len = prd_agent_find(&id->agents, value, part->buf);
        part->text.data = part->buf;
        break;
    }

    return rc;
}


/* Narrows *value to what the expression keeps; PRD_ELIMIT leaves it whole. */

static prd_rc_t
prd_identity_match(const prd_identity_t *id, const prd_source_t *s,
    prd_str_t *value)
{
    int           rc;
    PCRE2_SIZE   *v;
    prd_meter_t   meter;

    meter.cost = 0;
    meter.pos = 0;
    meter.source = s;

    (void) pcre2_set_callout(id->context, prd_identity_callout, &meter);

    rc = pcre2_match(s->regex, (PCRE2_SPTR) value->data, value->len, 0, 0,
                     id->match, id->context);

    if (rc == PCRE2_ERROR_NOMATCH) {
        return PRD_DECLINED;
    }

    /* the budget, a limit, the JIT's stack: all that may go wrong here */

    if (rc < 0) {
        return PRD_ELIMIT;
    }

    v = pcre2_get_ovector_pointer(id->match) + 2 * s->group;

    /*
     * rc is the number of pairs set, 0 if there are more groups than pairs;
     * "\K" may put a start behind its end
     */

    if ((rc != 0 && (unsigned) rc <= s->group)
        || v[0] == PCRE2_UNSET || v[0] >= v[1])
    {
        return PRD_DECLINED;
    }

    value->data += v[0];
    value->len = v[1] - v[0];

    return PRD_OK;
}


/*
 * Adds what may have been done since the last call: the way forward.  What
 * fails leaves no trace, so the most that the next item may look at is added
 * before: "x{N}" up to N, and a back reference, where there are any, what was
 * matched up to now.
 */

static int
prd_identity_callout(pcre2_callout_block *block, void *data)
{
    size_t               pos, ahead, cost;
    prd_meter_t         *m;
    const prd_source_t  *s;

    m = data;
    s = m->source;

    pos = block->current_position;
    ahead = block->subject_length - pos;
    cost = s->repeat;

    if (s->backrefs && pos > block->start_match) {
        cost += pos - block->start_match;
    }

    m->cost += PRD_CALLOUT_COST + prd_min(cost, ahead);

    if (pos > m->pos) {
        m->cost += pos - m->pos;
    }

    m->pos = pos;

    return m->cost > PRD_MATCH_BUDGET ? PCRE2_ERROR_CALLOUT : 0;
}


/* Strings -> key; one that does not fit is folded, its tag in upper case. */

static size_t
prd_identity_join(const prd_str_t *strs, size_t n, char *key)
{
    char            *p;
    size_t           i, size, part;
    prd_checksum_t   a, b;

    size = 0;

    for (i = 0; i < n; i++) {
        size += strs[i].len;
    }

    p = key;

    if (size <= PRD_IDENTITY_KEY_MAX) {

        for (i = 0; i < n; i++) {
            memcpy(p, strs[i].data, strs[i].len);
            p += strs[i].len;
        }

        return size;
    }

    /*
     * Two hashes, since with 64 bits some two of a few billion tokens would
     * meet.  They need no secret: who makes two tokens collide makes them
     * share a bucket, and to meet another's token one must know it.
     */

    prd_checksum_init(&a);
    prd_checksum_init(&b);
    prd_checksum_update(&b, "prd", 3);

    for (i = 0; i < n; i++) {
        prd_checksum_update(&a, strs[i].data, strs[i].len);
        prd_checksum_update(&b, strs[i].data, strs[i].len);

        part = PRD_FOLD_TEXT + 1 - (p - key);
        part = prd_min(part, strs[i].len);

        memcpy(p, strs[i].data, part);
        p += part;
    }

    key[0] -= 'a' - 'A';

    prd_put_hex(p, prd_checksum_final(&a));
    prd_put_hex(p + PRD_HEX, prd_checksum_final(&b));

    return PRD_IDENTITY_KEY_MAX;
}
