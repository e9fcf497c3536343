
/*
 * Every parser of prd_parse.h and prd_params.h on any bytes: nothing crashes,
 * results stay in their bounds, a failure changes nothing, and what *why says
 * is there.
 *
 * The input is words, one a line; each is given to all the parsers and to
 * both directives, which are then closed.
 */


#include <stdlib.h>

#include "prd_params.h"


#define UNTOUCHED  0x7afe5a5a12345678ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(int cond)
{
    if (!cond) {
        abort();
    }
}


static void
numbers(prd_str_t s)
{
    prd_rc_t    rc;
    uint32_t    ppm;
    uint64_t    n;
    unsigned    bare;
    prd_rate_t  rate;

#define PARSE(call, var, max)                                                 \
    var = (__typeof__(var)) UNTOUCHED;                                        \
    rc = call;                                                                \
    check(rc == PRD_OK || rc == PRD_EINVAL || rc == PRD_ERANGE);              \
    check(rc == PRD_OK ? var <= (max)                                         \
                       : var == (__typeof__(var)) UNTOUCHED)

    bare = 7;
    PARSE(prd_parse_rate(s, &rate, &bare), rate, PRD_RATE_MAX);
    check(rc != PRD_OK || rate != 0);
    check(rc == PRD_OK ? bare <= 1 : bare == 7);

    PARSE(prd_parse_time_ms(s, &n), n, 3650ull * 86400000);
    PARSE(prd_parse_size(s, &n), n, 1ull << 46);
    PARSE(prd_parse_uint(s, 1000, &n), n, 1000);
    PARSE(prd_parse_uint(s, UINT64_MAX, &n), n, UINT64_MAX);
    PARSE(prd_parse_milli(s, 1000000, &n), n, 1000000);
    PARSE(prd_parse_milli(s, UINT64_MAX, &n), n, UINT64_MAX);
    PARSE(prd_parse_percent(s, &ppm), ppm, 1000000);
}


static void
check_params(const prd_params_t *p)
{
    check(p->rate <= PRD_RATE_MAX && p->capacity <= PRD_RATE_MAX);
    check(p->min <= PRD_RATE_MAX && p->max <= PRD_RATE_MAX);
    check(p->burst <= 1000000000);
    check(p->borrow_milli == 0
          || (p->borrow_milli >= 1000 && p->borrow_milli <= 1000000));
    check(p->confidence_ppm >= 500000 && p->confidence_ppm <= 999990);
    check(p->warmup_s <= 365 * 86400);
    check(p->horizon_s >= 10 && p->horizon_s <= 86400);
    check(p->cost_milli <= 1000000000000ull);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    prd_rc_t             rc;
    prd_str_t            s;
    const char          *p, *last, *nl, *why;
    prd_params_t         params, was;
    prd_limit_params_t   limit, lwas;

    prd_params_init(&params);
    prd_limit_params_init(&limit);

    p = (const char *) data;
    last = p + size;

    while (p < last) {
        nl = memchr(p, '\n', last - p);

        s.len = (nl ? nl : last) - p;
        s.data = p;
        p += s.len + 1;

        numbers(s);

        why = NULL;
        was = params;
        rc = prd_params_set(&params, s, &why);
        check((rc == PRD_EINVAL || rc == PRD_ERANGE) == (why != NULL));
        check(rc == PRD_OK || memcmp(&params, &was, sizeof(was)) == 0);
        check_params(&params);

        why = NULL;
        lwas = limit;
        rc = prd_limit_params_set(&limit, s, &why);
        check((rc == PRD_EINVAL || rc == PRD_ERANGE) == (why != NULL));
        check(rc == PRD_OK || memcmp(&limit, &lwas, sizeof(lwas)) == 0);
        check(limit.burst <= 1000000000 && limit.delay <= 1000000000);

        if (nl == NULL) {
            break;
        }
    }

    why = NULL;
    was = params;
    rc = prd_params_end(&params, &why);
    check(rc == PRD_OK || why != NULL);
    check(rc == PRD_OK || memcmp(&params, &was, sizeof(was)) == 0);
    check_params(&params);
    check(rc != PRD_OK || params.max == 0 || params.min <= params.max);

    return 0;
}
