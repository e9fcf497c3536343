
#include <arpa/inet.h>
#include <stdlib.h>

#include "../prd_address.h"
#include "../prd_parse.h"

#include "expr.h"


#define RPL_PARTS  64


typedef enum {
    RPL_PART_TEXT = 0,
    RPL_PART_FIELD,
    RPL_PART_BINARY,            /* of an address */
    RPL_PART_METHOD,            /* of $request */
    RPL_PART_TARGET,
    RPL_PART_PROTOCOL,
    RPL_PART_PATH,              /* of a request's target */
    RPL_PART_ARGS,
    RPL_PART_IS_ARGS,
    RPL_PART_ARG,
    RPL_PART_COOKIE,
    RPL_PART_IDENTITY
} rpl_part_e;


typedef struct {
    rpl_part_e  kind;
    uint32_t    slot;
    unsigned    request:1;      /* the slot is $request, not its target */
    prd_str_t   text;           /* literal; name of an argument or cookie */

    const rpl_identity_t  *identity;
} rpl_part_t;


struct rpl_expr_s {
    char          *text;
    rpl_escape_e   escape;
    unsigned       dash:1;      /* "-" stands for no value */
    unsigned       direct:1;    /* a field as it is */

    unsigned       masked:1;
    unsigned       v4, v6;

    size_t         nparts;
    rpl_part_t     part[RPL_PARTS];
};


void
rpl_scratch_init(rpl_scratch_t *s)
{
    s->buf = rpl_alloc(RPL_SCRATCH);
    s->used = 0;
}


void
rpl_scratch_done(rpl_scratch_t *s)
{
    free(s->buf);
    s->buf = NULL;
}


/* Decoded once and made a path, a part takes twice a line and a little. */

static inline int
rpl_scratch_fits(const rpl_scratch_t *s)
{
    return RPL_SCRATCH - s->used > 2 * (size_t) RPL_LINE_MAX + 64;
}


/* What else can give a variable. PRD_DECLINED: nothing. */

static prd_rc_t
rpl_part_derive(rpl_part_t *part, prd_str_t name, rpl_format_t *f,
    rpl_error_t *e)
{
    size_t    i;
    prd_rc_t  rc;

    static const struct {
        const char  *name;
        rpl_part_e   kind;
        const char  *from[2];
    } of[] = {
        { "binary_remote_addr", RPL_PART_BINARY, { "remote_addr", NULL } },
        { "request_method", RPL_PART_METHOD, { "request", NULL } },
        { "request_uri", RPL_PART_TARGET, { "request", NULL } },
        { "server_protocol", RPL_PART_PROTOCOL, { "request", NULL } },
        { "uri", RPL_PART_PATH, { "request_uri", "request" } },
        { "document_uri", RPL_PART_PATH, { "request_uri", "request" } },
        { "args", RPL_PART_ARGS, { "request_uri", "request" } },
        { "query_string", RPL_PART_ARGS, { "request_uri", "request" } },
        { "is_args", RPL_PART_IS_ARGS, { "request_uri", "request" } },
        { "arg_", RPL_PART_ARG, { "request_uri", "request" } },
        { "cookie_", RPL_PART_COOKIE, { "http_cookie", NULL } }
    };

    for (i = 0; i < sizeof(of) / sizeof(of[0]); i++) {

        if (of[i].kind == RPL_PART_ARG || of[i].kind == RPL_PART_COOKIE) {

            if (name.len <= strlen(of[i].name)
                || memcmp(name.data, of[i].name, strlen(of[i].name)) != 0)
            {
                continue;
            }

            part->text.data = name.data + strlen(of[i].name);
            part->text.len = name.len - strlen(of[i].name);

        } else if (!prd_is(name, of[i].name)) {
            continue;
        }

        part->kind = of[i].kind;
        rc = rpl_format_slot(f, rpl_str(of[i].from[0]), &part->slot, e);

        if (rc == PRD_OK && part->slot == RPL_NO_SLOT
            && of[i].from[1] != NULL)
        {
            rc = rpl_format_slot(f, rpl_str(of[i].from[1]), &part->slot, e);
        }

        part->request = (part->slot != RPL_NO_SLOT
                         && prd_is(f->field[part->slot].name, "request"));

        if (rc == PRD_OK && part->slot == RPL_NO_SLOT) {
            return PRD_DECLINED;
        }

        return rc == PRD_DECLINED ? PRD_EINVAL : rc;
    }

    return PRD_DECLINED;
}


static int
rpl_same_text(prd_str_t a, prd_str_t b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}


static prd_rc_t
rpl_part_unknown(prd_str_t name, const rpl_names_t *names, rpl_error_t *e)
{
    const char  *made;

    made = (names != NULL && names->made != NULL)
           ? names->made(names->data, name) : NULL;

    if (made != NULL) {
        return rpl_error(e, PRD_EINVAL, "the log's format has no $%.*s, and "
                         "the %s is not evaluated", (int) name.len, name.data,
                         made);
    }

    return rpl_error(e, PRD_EINVAL, "the log's format has no $%.*s",
                     (int) name.len, name.data);
}


/*
 * The sources of an identity, at its first use: one that a limit does not use
 * may well be made of what its log has not got.
 */

static prd_rc_t
rpl_identity_compile(rpl_identity_t *i, rpl_format_t *f,
    const rpl_names_t *names, rpl_error_t *e)
{
    size_t       n;
    prd_rc_t     rc;
    prd_str_t    s;
    prd_kind_e   kind;
    rpl_error_t  why;
    rpl_names_t  others;

    if (i->compiled) {
        return PRD_OK;
    }

    i->compiled = 1;

    /* no identity is made of identities */

    others = *names;
    others.identities = NULL;

    for (n = 0; n < prd_identity_sources(i->id); n++) {
        s = prd_identity_source(i->id, n, &kind);
        rc = rpl_expr_create(&i->source[n], s, f, &others, &why);

        if (rc != PRD_OK) {
            return rpl_error(e, rc, "identity $%.*s: \"%.*s\": %.300s",
                             (int) i->name.len, i->name.data,
                             (int) s.len, s.data, why.text);
        }
    }

    return PRD_OK;
}


static prd_rc_t
rpl_part_variable(rpl_part_t *part, prd_str_t name, rpl_format_t *f,
    const rpl_names_t *names, rpl_error_t *e)
{
    prd_rc_t         rc;
    rpl_identity_t  *i;

    for (i = names != NULL ? names->identities : NULL; i; i = i->next) {
        if (rpl_same_text(i->name, name)) {
            part->kind = RPL_PART_IDENTITY;
            part->identity = i;
            return rpl_identity_compile(i, f, names, e);
        }
    }

    part->kind = RPL_PART_FIELD;

    /*
     * A json line has any field, so that all variables would be there and
     * none be made of others: those that can be are, but for $request_uri
     * and $request_method, which logs often have.
     */

    if (f->kind == RPL_FORMAT_JSON) {
        rc = rpl_part_derive(part, name, f, e);

        if (rc != PRD_DECLINED && part->kind != RPL_PART_METHOD
            && part->kind != RPL_PART_TARGET)
        {
            return rc;
        }

        part->kind = RPL_PART_FIELD;
    }

    rc = rpl_format_slot(f, name, &part->slot, e);

    if (rc == PRD_DECLINED) {
        return PRD_EINVAL;
    }

    if (rc == PRD_OK && part->slot == RPL_NO_SLOT) {
        rc = rpl_part_derive(part, name, f, e);
    }

    return rc == PRD_DECLINED ? rpl_part_unknown(name, names, e) : rc;
}


prd_rc_t
rpl_expr_create(rpl_expr_t **out, prd_str_t text, rpl_format_t *f,
    const rpl_names_t *names, rpl_error_t *e)
{
    size_t       n;
    prd_rc_t     rc;
    prd_str_t    name;
    const char  *p, *q, *last;
    rpl_expr_t  *x;
    rpl_part_t  *part;

    x = rpl_alloc(sizeof(rpl_expr_t));

    x->text = (char *) rpl_strdup(text).data;
    x->escape = f->escape;
    x->dash = (f->kind != RPL_FORMAT_TSV);

    p = x->text;
    last = p + text.len;

    while (p < last) {

        if (x->nparts == RPL_PARTS) {
            rc = rpl_error(e, PRD_EINVAL, "more than %d parts", RPL_PARTS);
            goto failed;
        }

        part = &x->part[x->nparts++];

        if (*p != '$') {
            for (q = p; q < last && *q != '$'; q++) {
                /* void */
            }

            part->kind = RPL_PART_TEXT;
            part->text.data = p;
            part->text.len = (size_t) (q - p);
            p = q;
            continue;
        }

        n = rpl_format_variable(p, last, &name);

        if (n == 0) {
            rc = rpl_error(e, PRD_EINVAL, "a \"$\" that is no variable at "
                           "\"%.40s\"", p);
            goto failed;
        }

        rc = rpl_part_variable(part, name, f, names, e);

        if (rc != PRD_OK) {
            goto failed;
        }

        p += n;
    }

    x->direct = (x->nparts == 1 && x->part[0].kind == RPL_PART_FIELD
                 && !x->dash && x->escape == RPL_ESCAPE_NONE);

    *out = x;

    return PRD_OK;

failed:

    rpl_expr_done(x);

    return rc;
}


prd_rc_t
rpl_expr_create_masked(rpl_expr_t **out, prd_str_t text, rpl_format_t *f,
    const rpl_names_t *names, rpl_error_t *e)
{
    size_t       n;
    uint64_t     v4, v6;
    prd_rc_t     rc;
    prd_str_t    name, s;
    const char  *p, *q, *last;

    p = text.data;
    last = p + text.len;
    v6 = 64;

    if (text.len == 0 || *p != '$') {
        return rpl_expr_create(out, text, f, names, e);
    }

    n = rpl_format_variable(p, last, &name);
    p += n;

    if (n == 0 || p == last || *p != '/') {
        return rpl_expr_create(out, text, f, names, e);
    }

    p++;
    q = memchr(p, '/', (size_t) (last - p));
    s.data = p;
    s.len = (size_t) ((q != NULL ? q : last) - p);

    rc = prd_parse_uint(s, 32, &v4);

    if (rc == PRD_OK && q != NULL) {
        s.data = q + 1;
        s.len = (size_t) (last - s.data);
        rc = prd_parse_uint(s, 128, &v6);
    }

    if (rc == PRD_EINVAL) {
        /* text, as nginx would have it */
        return rpl_expr_create(out, text, f, names, e);
    }

    if (rc != PRD_OK) {
        return rpl_error(e, rc, "prefix lengths are at most 32 and 128");
    }

    s.data = text.data;
    s.len = n;

    rc = rpl_expr_create(out, s, f, names, e);

    if (rc == PRD_OK) {
        (*out)->masked = 1;
        (*out)->direct = 0;
        (*out)->v4 = (unsigned) v4;
        (*out)->v6 = (unsigned) v6;
    }

    return rc;
}


void
rpl_expr_done(rpl_expr_t *x)
{
    if (x != NULL) {
        free(x->text);
        free(x);
    }
}


static inline prd_str_t
rpl_empty(void)
{
    return (prd_str_t) { 0, "" };
}


/* A field's value, without escapes. */

static inline prd_str_t
rpl_value(const rpl_expr_t *x, prd_str_t s, rpl_scratch_t *scratch)
{
    char  *out;

    if (x->dash && s.len == 1 && s.data[0] == '-') {
        return rpl_empty();
    }

    if (x->escape == RPL_ESCAPE_NONE || s.len == 0
        || memchr(s.data, '\\', s.len) == NULL)
    {
        return s;
    }

    out = scratch->buf + scratch->used;
    s.len = rpl_format_decode(x->escape, s, out);
    s.data = out;
    scratch->used += s.len;

    return s;
}


/* The n-th word of a request line; the second may hold blanks. */

static prd_str_t
rpl_request_word(prd_str_t s, unsigned n)
{
    const char  *p, *q, *last;

    last = s.data + s.len;
    p = s.len ? memchr(s.data, ' ', s.len) : NULL;

    if (p == NULL) {
        /* no request line: what a scanner sent */
        return rpl_empty();
    }

    if (n == 0) {
        return (prd_str_t) { (size_t) (p - s.data), s.data };
    }

    p++;

    for (q = last; q > p && q[-1] != ' '; q--) {
        /* void */
    }

    if (last - q < 5 || memcmp(q, "HTTP/", 5) != 0) {
        /* HTTP/0.9 has no protocol */
        q = last + 1;
    }

    if (n == 2) {
        return q < last ? (prd_str_t) { (size_t) (last - q), q }
                        : rpl_empty();
    }

    return q - 1 > p ? (prd_str_t) { (size_t) (q - 1 - p), p } : rpl_empty();
}


/* A request's path as nginx has it in $uri: decoded, "//" and dots resolved. */

static prd_str_t
rpl_path(prd_str_t s, rpl_scratch_t *scratch)
{
    int          high, low;
    char        *out, *o, c;
    const char  *p, *last;

    static const signed char  hex[] = {
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -1, -1, -1, -1, -1, -1,
        10, 11, 12, 13, 14, 15
    };

    p = s.data;
    last = p + s.len;

    /* "http://host/path" */

    if (s.len > 7 && *p != '/') {
        const char  *q;

        for (q = p; q + 2 < last && *q != '/' && *q != '?'; q++) {
            if (q[0] == ':' && q[1] == '/' && q[2] == '/') {
                p = memchr(q + 3, '/', (size_t) (last - q - 3));

                if (p == NULL) {
                    return (prd_str_t) { 1, "/" };
                }

                break;
            }
        }
    }

    out = o = scratch->buf + scratch->used;

    for ( /* void */ ; p < last && *p != '?' && *p != '#'; p++) {
        c = *p;

        if (c == '%' && last - p > 2) {
            high = p[1] | 0x20;
            low = p[2] | 0x20;

            /* '0' | 0x20 is itself; 'a' stands at 49 from '0' */
            high = (high >= '0' && high <= '9') ? high - '0'
                   : (high >= 'a' && high <= 'f') ? hex[high - 'a' + 17] : -1;
            low = (low >= '0' && low <= '9') ? low - '0'
                  : (low >= 'a' && low <= 'f') ? hex[low - 'a' + 17] : -1;

            if (high >= 0 && low >= 0) {
                c = (char) (high << 4 | low);
                p += 2;
            }
        }

        if (c == '/' && o > out) {

            if (o[-1] == '/') {
                continue;
            }

            if (o - out >= 2 && o[-1] == '.' && o[-2] == '/') {
                o--;
                continue;
            }

            if (o - out >= 3 && o[-1] == '.' && o[-2] == '.' && o[-3] == '/') {

                for (o -= 3; o > out && o[-1] != '/'; o--) {
                    /* void */
                }

                if (o == out) {
                    *o++ = '/';
                }

                continue;
            }
        }

        *o++ = c;
    }

    scratch->used += (size_t) (o - out);

    return (prd_str_t) { (size_t) (o - out), out };
}


static prd_str_t
rpl_args(prd_str_t s)
{
    const char  *p;

    p = s.len ? memchr(s.data, '?', s.len) : NULL;

    if (p == NULL) {
        return rpl_empty();
    }

    return (prd_str_t) { (size_t) (s.data + s.len - p - 1), p + 1 };
}


/* "name=value" among others, separated by sep; names fold as nginx's do. */

static prd_str_t
rpl_pair(prd_str_t s, prd_str_t name, char sep)
{
    size_t       i;
    const char  *p, *q, *last;

    p = s.data;
    last = p + s.len;

    while (p < last) {
        q = memchr(p, sep, (size_t) (last - p));
        q = (q != NULL) ? q : last;

        while (p < q && *p == ' ') {
            p++;
        }

        if ((size_t) (q - p) > name.len && p[name.len] == '=') {

            for (i = 0; i < name.len; i++) {
                if (((p[i] ^ name.data[i]) & ~0x20) != 0
                    || ((p[i] != name.data[i])
                        && !((p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'z')))
                {
                    break;
                }
            }

            if (i == name.len) {
                p += name.len + 1;
                return (prd_str_t) { (size_t) (q - p), p };
            }
        }

        p = q + 1;
    }

    return rpl_empty();
}


/* The four or sixteen bytes that nginx has in $binary_remote_addr. */

static prd_str_t
rpl_binary(prd_str_t s, rpl_scratch_t *scratch)
{
    char         *out;
    char          text[INET6_ADDRSTRLEN + 1];
    unsigned      i, n, byte[4], dots, digits;

    for (i = 0, n = 0, dots = 0, digits = 0; i < s.len; i++) {

        if (s.data[i] >= '0' && s.data[i] <= '9') {
            n = n * 10 + (unsigned) (s.data[i] - '0');

            if (++digits > 3 || n > 255) {
                break;
            }

        } else if (s.data[i] == '.' && digits && dots < 3) {
            byte[dots++] = n;
            n = digits = 0;

        } else {
            break;
        }
    }

    if (i == s.len && dots == 3 && digits) {
        byte[3] = n;
        out = scratch->buf + scratch->used;

        for (i = 0; i < 4; i++) {
            out[i] = (char) byte[i];
        }

        scratch->used += 4;

        return (prd_str_t) { 4, out };
    }

    if (s.len < sizeof(text) && s.len
        && memchr(s.data, ':', s.len) != NULL)
    {
        memcpy(text, s.data, s.len);
        text[s.len] = '\0';

        out = scratch->buf + scratch->used;

        if (inet_pton(AF_INET6, text, out) == 1) {
            scratch->used += 16;
            return (prd_str_t) { 16, out };
        }
    }

    /* "unix:", or a name: some logs have them */

    return s;
}


/* What an identity's rules see while they look at one line. */

typedef struct {
    const rpl_identity_t  *identity;
    const prd_str_t       *fields;
    rpl_scratch_t         *scratch;
} rpl_look_t;


static prd_rc_t
rpl_identity_look(void *data, size_t n, prd_str_t *value)
{
    rpl_look_t  *look;

    look = data;

    *value = rpl_expr_eval(look->identity->source[n], look->fields,
                           look->scratch);

    return value->len ? PRD_OK : PRD_DECLINED;
}


/* Kinds of keys are letters: people read words, and addresses as they are. */

static size_t
rpl_identity_text(char *key, size_t len, char *out)
{
    const char  *word;

    word = key[0] == 't' || key[0] == 'T' ? "token "
           : key[0] == 'a' ? "agent "
           : key[0] == 's' || key[0] == 'S' ? "joined " : "";

    memcpy(out, word, strlen(word));
    memcpy(out + strlen(word), key + 1, len - 1);

    return strlen(word) + len - 1;
}


static prd_str_t
rpl_identity_value(const rpl_identity_t *identity, const prd_str_t *fields,
    rpl_scratch_t *scratch, int text)
{
    char        *out;
    size_t       len;
    prd_rc_t     rc;
    char         key[PRD_IDENTITY_KEY_MAX];
    rpl_look_t   look;

    look.identity = identity;
    look.fields = fields;
    look.scratch = scratch;

    len = 0;
    rc = prd_identity_key(identity->id, rpl_identity_look, &look, key, &len);

    if ((rc != PRD_OK && rc != PRD_ELIMIT) || len == 0
        || !rpl_scratch_fits(scratch))
    {
        return rpl_empty();
    }

    out = scratch->buf + scratch->used;

    if (text) {
        len = rpl_identity_text(key, len, out);

    } else {
        memcpy(out, key, len);
    }

    scratch->used += len;

    return (prd_str_t) { len, out };
}


static prd_str_t
rpl_part_eval(const rpl_expr_t *x, const rpl_part_t *part,
    const prd_str_t *fields, rpl_scratch_t *scratch, int text)
{
    prd_str_t  s;

    if (part->kind == RPL_PART_TEXT) {
        return part->text;
    }

    if (part->kind == RPL_PART_IDENTITY) {
        return rpl_identity_value(part->identity, fields, scratch, text);
    }

    s = rpl_value(x, fields[part->slot], scratch);

    if (part->kind >= RPL_PART_PATH && part->kind <= RPL_PART_ARG
        && part->request)
    {
        s = rpl_request_word(s, 1);
    }

    switch (part->kind) {

    case RPL_PART_BINARY:
        return text ? s : rpl_binary(s, scratch);

    case RPL_PART_METHOD:
        return rpl_request_word(s, 0);

    case RPL_PART_TARGET:
        return rpl_request_word(s, 1);

    case RPL_PART_PROTOCOL:
        return rpl_request_word(s, 2);

    case RPL_PART_PATH:
        return rpl_path(s, scratch);

    case RPL_PART_ARGS:
        return rpl_args(s);

    case RPL_PART_IS_ARGS:
        return rpl_args(s).len ? (prd_str_t) { 1, "?" } : rpl_empty();

    case RPL_PART_ARG:
        return rpl_pair(rpl_args(s), part->text, '&');

    case RPL_PART_COOKIE:
        return rpl_pair(s, part->text, ';');

    default:
        return s;
    }
}


static prd_str_t
rpl_expr_value(const rpl_expr_t *x, const prd_str_t *fields,
    rpl_scratch_t *scratch, int text)
{
    char         *out, tag;
    size_t        i, len;
    prd_str_t     s;

    if (!rpl_scratch_fits(scratch)) {
        return rpl_empty();
    }

    if (x->nparts == 1) {
        s = rpl_part_eval(x, &x->part[0], fields, scratch, text);

        if (!x->masked || s.len == 0) {
            return s;
        }

        out = scratch->buf + scratch->used;

        if (prd_address_mask(s, x->v4, x->v6, out, &len, &tag) != PRD_OK) {
            return s;
        }

        scratch->used += len;

        return (prd_str_t) { len, out };
    }

    /*
     * Parts are put together at the end of what is used; each is evaluated
     * behind it, and then moved down.
     */

    out = scratch->buf + scratch->used;
    len = 0;

    for (i = 0; i < x->nparts && rpl_scratch_fits(scratch); i++) {
        s = rpl_part_eval(x, &x->part[i], fields, scratch, text);

        if (s.len) {
            memmove(out + len, s.data, s.len);
            len += s.len;
        }

        scratch->used = (size_t) (out - scratch->buf) + len;
    }

    return (prd_str_t) { len, out };
}


prd_str_t
rpl_expr_eval(const rpl_expr_t *x, const prd_str_t *fields,
    rpl_scratch_t *scratch)
{
    if (x->direct) {
        return fields[x->part[0].slot];
    }

    return rpl_expr_value(x, fields, scratch, 0);
}


prd_str_t
rpl_expr_text(const rpl_expr_t *x, const prd_str_t *fields,
    rpl_scratch_t *scratch)
{
    return rpl_expr_value(x, fields, scratch, 1);
}


int
rpl_expr_plain(const rpl_expr_t *x)
{
    size_t  i;

    for (i = 0; i < x->nparts; i++) {
        if (x->part[i].kind == RPL_PART_BINARY
            || x->part[i].kind == RPL_PART_IDENTITY)
        {
            return 0;
        }
    }

    return 1;
}


void
rpl_names_done(rpl_names_t *names)
{
    size_t           n;
    rpl_identity_t  *i, *next;

    for (i = names->identities; i; i = next) {
        next = i->next;

        for (n = 0; n < PRD_IDENTITY_SOURCES; n++) {
            rpl_expr_done(i->source[n]);
        }

        prd_identity_done(i->id);
        free(i);
    }

    names->identities = NULL;
}
