
/*
 * Expressions that cut a token out of a value.  Values come from the network
 * and are up to 64 KiB of any bytes; whatever they and the expression are, the
 * work is bounded.
 */


#include <stdio.h>

#include "prd_identity_inner.h"


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


/* The costs of one match up to now. */

typedef struct {
    size_t                 cost;
    size_t                 pos;
    const prd_source_t    *source;
} prd_meter_t;


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


prd_rc_t
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
