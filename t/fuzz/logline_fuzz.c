
/*
 * Lines of logs, of every format, with all that is made of a line's fields;
 * log_format strings, expressions and rules too.  The first byte says which.
 */


#include <stdint.h>
#include <stdlib.h>

#include "replay/conf.h"
#include "replay/expr.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


#define EXPRS  16


typedef struct {
    rpl_format_t  *format;
    rpl_expr_t    *expr[EXPRS];
    size_t         n;
} kind_t;


static rpl_scratch_t  scratch;


/* What must hold of a value: it lies where it may. */

static void
touch(prd_str_t s)
{
    size_t            i;
    volatile uint8_t  sum;

    sum = 0;

    for (i = 0; i < s.len; i++) {
        sum += (uint8_t) s.data[i];
    }

    (void) sum;
}


static void
compile(kind_t *k, const char *format, rpl_escape_e escape)
{
    size_t       i;
    rpl_error_t  e;

    static const char *const  exprs[] = {
        "$remote_addr", "$binary_remote_addr", "$request_method$uri",
        "$args|$is_args|$arg_key", "$request_uri $server_protocol",
        "$cookie_sid", "k:${client}:$class", "$http_user_agent$status",
        "$remote_addr/24/48", "$col7", "$bytes", "$upstream_addr"
    };

    if (rpl_format_create(&k->format, rpl_str(format), escape, &e)
        != PRD_OK)
    {
        k->format = NULL;
        return;
    }

    for (i = 0; i < sizeof(exprs) / sizeof(exprs[0]); i++) {
        if (rpl_expr_create_masked(&k->expr[k->n], rpl_str(exprs[i]),
                                   k->format, NULL, &e) == PRD_OK)
        {
            k->n++;
        }
    }
}


static void
release(kind_t *k)
{
    while (k->n) {
        rpl_expr_done(k->expr[--k->n]);
    }

    rpl_format_done(k->format);
}


static void
split(kind_t *k, const char *p, size_t len)
{
    size_t        i;
    uint32_t      status;
    prd_str_t     line, fields[RPL_FIELDS];
    const char   *why;
    rpl_stamp_t   t;

    line.data = p;
    line.len = len;
    why = NULL;

    if (k->format == NULL
        || rpl_format_split(k->format, line, fields, &why) != PRD_OK)
    {
        if (k->format != NULL && why == NULL) {
            abort();
        }

        return;
    }

    for (i = 0; i < k->n; i++) {
        scratch.used = 0;
        touch(rpl_expr_eval(k->expr[i], fields, &scratch));
        touch(rpl_expr_text(k->expr[i], fields, &scratch));

        if (scratch.used > RPL_SCRATCH) {
            abort();
        }
    }

    (void) rpl_format_status(k->format, fields, &status, &why);
    (void) rpl_format_duration(k->format, fields);

    if (rpl_format_time(k->format, fields, &t, &why) == PRD_OK && t.us < 0) {
        abort();
    }
}


/* The text's first line is a format, an expression, or rules. */

static void
own(const char *p, size_t len, unsigned kind)
{
    char            *text;
    size_t           n;
    kind_t           k;
    rpl_conf_t      *conf;
    rpl_error_t      e;
    rpl_expr_t      *x;
    const char      *nl;
    prd_identity_t  *id;

    nl = memchr(p, '\n', len);
    n = nl != NULL ? (size_t) (nl - p) : len;

    text = malloc(n + 1);
    memcpy(text, p, n);
    text[n] = '\0';

    memset(&k, 0, sizeof(k));

    if (kind == 0) {
        compile(&k, text, RPL_ESCAPE_DEFAULT);

    } else if (kind == 1) {
        compile(&k, "json", RPL_ESCAPE_JSON);

        if (rpl_expr_create(&x, rpl_str(text), k.format, NULL, &e) == PRD_OK) {
            k.expr[k.n++] = x;
        }

    } else if (rpl_conf_rules(&conf, text, &id, &e) == PRD_OK) {
        prd_identity_done(id);
        rpl_conf_done(conf);
    }

    free(text);

    if (nl != NULL) {
        split(&k, nl + 1, len - n - 1);
    }

    release(&k);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char           *copy;
    static kind_t   kinds[6];

    static const struct {
        const char    *format;
        rpl_escape_e   escape;
    } formats[] = {
        { "combined", RPL_ESCAPE_DEFAULT },
        { "common", RPL_ESCAPE_DEFAULT },
        { "json", RPL_ESCAPE_JSON },
        { "tsv", RPL_ESCAPE_DEFAULT },
        { "$msec|$remote_addr|\"$request\" $upstream_addr $status "
          "\"$http_cookie\"$host$request_time", RPL_ESCAPE_JSON },
        { "[$time_iso8601] \"$request\" $remote_addr '$http_cookie'",
          RPL_ESCAPE_NONE }
    };

    if (scratch.buf == NULL) {
        size_t  i;

        rpl_scratch_init(&scratch);

        for (i = 0; i < 6; i++) {
            compile(&kinds[i], formats[i].format, formats[i].escape);
        }
    }

    if (size == 0) {
        return 0;
    }

    /* behind the copy's end a sanitizer watches */

    copy = malloc(size > 1 ? size - 1 : 1);
    memcpy(copy, data + 1, size - 1);

    if (data[0] % 9 < 6) {
        split(&kinds[data[0] % 9], copy, size - 1);

    } else {
        own(copy, size - 1, data[0] % 9 - 6);
    }

    free(copy);

    return 0;
}
