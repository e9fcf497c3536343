
#include <stdlib.h>

#include "format.h"


/* the limit of predictive-replay's own format, see contract */

static const char  *rpl_tsv_names[] = {
    "seconds", "client", "class", "bytes", "status"
};

#define RPL_TSV_COLUMNS  5

static const char  rpl_common[] =
    "$remote_addr - $remote_user [$time_local] \"$request\" $status "
    "$body_bytes_sent";

static const char  rpl_combined[] =
    "$remote_addr - $remote_user [$time_local] \"$request\" $status "
    "$body_bytes_sent \"$http_referer\" \"$http_user_agent\"";


static inline char
rpl_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char) (c | 0x20) : c;
}


static int
rpl_same_name(prd_str_t a, prd_str_t b, int fold)
{
    size_t  i;

    if (a.len != b.len) {
        return 0;
    }

    for (i = 0; i < a.len; i++) {
        if (fold ? rpl_lower(a.data[i]) != rpl_lower(b.data[i])
                 : a.data[i] != b.data[i])
        {
            return 0;
        }
    }

    return 1;
}


static uint32_t
rpl_field_find(const rpl_format_t *f, prd_str_t name)
{
    uint32_t  i;

    /* nginx folds names of variables, JSON knows no such thing */

    for (i = 0; i < f->nfields; i++) {
        if (rpl_same_name(f->field[i].name, name,
                          f->kind != RPL_FORMAT_JSON))
        {
            return i;
        }
    }

    return RPL_NO_SLOT;
}


/* A field of a json line, which is looked for from now on. */

static uint32_t
rpl_field_add(rpl_format_t *f, prd_str_t name)
{
    if (f->nfields == RPL_FIELDS) {
        return RPL_NO_SLOT;
    }

    f->field[f->nfields].name = rpl_strdup(name);

    return f->nfields++;
}


/* Values of several upstreams, or of several headers: "a, b", "a : b". */

static int
rpl_is_list(prd_str_t name)
{
    return (name.len > 9 && memcmp(name.data, "upstream_", 9) == 0)
           || prd_is(name, "http_x_forwarded_for")
           || prd_is(name, "proxy_add_x_forwarded_for")
           || prd_is(name, "http_forwarded");
}


static int
rpl_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '_';
}


size_t
rpl_format_variable(const char *p, const char *last, prd_str_t *name)
{
    const char  *q;

    q = p + 1;

    if (q < last && *q == '{') {
        name->data = ++q;

        while (q < last && *q != '}') {
            q++;
        }

        name->len = (size_t) (q - name->data);

        return (q == last || name->len == 0) ? 0 : (size_t) (q + 1 - p);
    }

    name->data = q;

    while (q < last && rpl_is_word(*q)) {
        q++;
    }

    name->len = (size_t) (q - name->data);

    return name->len ? (size_t) (q - p) : 0;
}


static prd_rc_t
rpl_text_compile(rpl_format_t *f, prd_str_t text, rpl_error_t *e)
{
    size_t        n;
    prd_str_t     name, copy;
    const char   *p, *last, *lit;
    rpl_field_t  *field;

    copy = rpl_strdup(text);
    p = lit = copy.data;
    last = p + copy.len;
    field = NULL;

    for ( ;; ) {

        while (p < last && *p != '$') {
            p++;
        }

        if (field == NULL) {
            f->prefix.data = lit;
            f->prefix.len = (size_t) (p - lit);

        } else {
            field->sep.data = lit;
            field->sep.len = (size_t) (p - lit);
            field->glued |= (field->sep.len == 0 && p < last);
            field->quoted = (field->quoted && field->sep.len
                             && lit[0] == '"');
        }

        if (p == last) {
            break;
        }

        n = rpl_format_variable(p, last, &name);

        if (n == 0) {
            return rpl_error(e, PRD_EINVAL, "the format has a \"$\" that is "
                             "no variable at \"%.40s\"", p);
        }

        if (f->nfields == RPL_FIELDS) {
            return rpl_error(e, PRD_EINVAL, "the format has more than %d "
                             "variables", RPL_FIELDS);
        }

        /* two variables without anything between them: only both are told */

        if (field != NULL && field->glued && field->sep.len == 0) {
            f->field[f->nfields].glued = 1;
            field->sep.len = 0;
        }

        /* of what stands in front: a quote opens */
        f->field[f->nfields].quoted = (p > copy.data && p[-1] == '"');

        field = &f->field[f->nfields++];
        field->name = name;
        field->list = rpl_is_list(name);

        p += n;
        lit = p;
    }

    if (f->nfields == 0) {
        return rpl_error(e, PRD_EINVAL, "the format has no variable");
    }

    return PRD_OK;
}


static void
rpl_time_slots(rpl_format_t *f, const char *const *names, size_t n)
{
    size_t    i, k;
    uint32_t  slot;

    for (i = 0, k = 0; i < n; i++) {
        slot = rpl_field_find(f, rpl_str(names[i]));

        if (slot == RPL_NO_SLOT && f->kind == RPL_FORMAT_JSON) {
            slot = rpl_field_add(f, rpl_str(names[i]));
        }

        if (slot != RPL_NO_SLOT && !f->field[slot].glued) {
            f->time[k++] = slot;
        }
    }

    f->time[k] = RPL_NO_SLOT;
}


prd_rc_t
rpl_format_create(rpl_format_t **out, prd_str_t text, rpl_escape_e escape,
    rpl_error_t *e)
{
    size_t         i;
    prd_rc_t       rc;
    rpl_format_t  *f;

    static const char *const  text_times[] = {
        "msec", "time_iso8601", "time_local"
    };

    static const char *const  json_times[] = {
        "msec", "time_iso8601", "time_local", "time", "ts", "timestamp",
        "@timestamp"
    };

    f = rpl_alloc(sizeof(rpl_format_t));
    rc = PRD_OK;

    if (prd_is(text, "tsv")) {
        f->kind = RPL_FORMAT_TSV;

        for (i = 0; i < RPL_TSV_COLUMNS; i++) {
            f->field[i].name = rpl_str(rpl_tsv_names[i]);
        }

        f->nfields = f->needed = RPL_TSV_COLUMNS;
        f->time[0] = 0;
        f->time[1] = RPL_NO_SLOT;

    } else if (prd_is(text, "json")) {
        f->kind = RPL_FORMAT_JSON;
        f->escape = RPL_ESCAPE_JSON;
        rpl_time_slots(f, json_times, 7);
        (void) rpl_field_add(f, rpl_str("status"));
        (void) rpl_field_add(f, rpl_str("request_time"));
        (void) rpl_field_add(f, rpl_str("body_bytes_sent"));

    } else {
        f->kind = RPL_FORMAT_TEXT;
        f->escape = RPL_ESCAPE_DEFAULT;

        if (prd_is(text, "combined")) {
            text = rpl_str(rpl_combined);

        } else if (prd_is(text, "common")) {
            text = rpl_str(rpl_common);

        } else if (text.len == 0 || memchr(text.data, '$', text.len) == NULL) {
            rpl_format_done(f);
            return rpl_error(e, PRD_EINVAL, "unknown format \"%.*s\": neither "
                             "combined, common, json, tsv nor a log_format "
                             "with variables", (int) text.len, text.data);

        } else {
            f->escape = escape;
        }

        rc = rpl_text_compile(f, text, e);

        if (rc == PRD_OK) {
            rpl_time_slots(f, text_times, 3);

            if (f->time[0] == RPL_NO_SLOT) {
                rc = rpl_error(e, PRD_EINVAL, "the format has none of $msec, "
                               "$time_iso8601 and $time_local");
            }
        }
    }

    if (rc != PRD_OK) {
        rpl_format_done(f);
        return rc;
    }

    f->status = rpl_field_find(f, rpl_str("status"));
    f->request_time = rpl_field_find(f, rpl_str("request_time"));
    f->bytes = rpl_field_find(f, rpl_str("bytes_sent"));

    if (f->bytes == RPL_NO_SLOT) {
        f->bytes = rpl_field_find(f, rpl_str("body_bytes_sent"));
    }

    if (f->kind == RPL_FORMAT_TSV) {
        f->bytes = rpl_field_find(f, rpl_str("bytes"));
    }

    if (f->bytes != RPL_NO_SLOT && f->field[f->bytes].glued) {
        f->bytes = RPL_NO_SLOT;
    }

    if (f->status != RPL_NO_SLOT && f->field[f->status].glued) {
        f->status = RPL_NO_SLOT;
    }

    if (f->request_time != RPL_NO_SLOT && f->field[f->request_time].glued) {
        f->request_time = RPL_NO_SLOT;
    }

    *out = f;

    return PRD_OK;
}


void
rpl_format_done(rpl_format_t *f)
{
    uint32_t  i;

    if (f == NULL) {
        return;
    }

    if (f->kind == RPL_FORMAT_TEXT) {
        /* the whole text, which names and literals point into */
        free((char *) f->prefix.data);

    } else if (f->kind == RPL_FORMAT_JSON) {
        for (i = 0; i < f->nfields; i++) {
            free((char *) f->field[i].name.data);
        }
    }

    free(f);
}


prd_rc_t
rpl_format_slot(rpl_format_t *f, prd_str_t name, uint32_t *slot,
    rpl_error_t *e)
{
    uint32_t  n;
    uint64_t  i;
    size_t    k;

    n = rpl_field_find(f, name);

    if (n == RPL_NO_SLOT && f->kind == RPL_FORMAT_JSON) {
        n = rpl_field_add(f, name);
    }

    /* $col6 and on */

    if (f->kind == RPL_FORMAT_TSV && n == RPL_NO_SLOT
        && name.len > 3 && name.len < 7 && memcmp(name.data, "col", 3) == 0)
    {
        for (i = 0, k = 3; k < name.len; k++) {

            if (name.data[k] < '0' || name.data[k] > '9') {
                i = 0;
                break;
            }

            i = i * 10 + (uint64_t) (name.data[k] - '0');
        }

        if (i >= 1 && i <= RPL_FIELDS) {
            n = (uint32_t) i - 1;
            f->needed = prd_max(f->needed, (uint32_t) i);
        }
    }

    if (n != RPL_NO_SLOT && f->field[n].glued) {
        return rpl_error(e, PRD_DECLINED, "nothing stands between $%.*s and "
                         "the variable next to it in the log's format: where "
                         "its value ends cannot be told", (int) name.len,
                         name.data);
    }

    *slot = n;

    return PRD_OK;
}


/* Columns behind those that are wanted are not looked at. */

static prd_rc_t
rpl_tsv_split(const rpl_format_t *f, prd_str_t line, prd_str_t *fields,
    const char **why)
{
    uint32_t     i;
    const char  *p, *q, *last;

    p = line.data;
    last = p + line.len;

    for (i = 0; i < f->needed; i++) {

        for (q = p; q < last && *q != '\t'; q++) {
            /* void */
        }

        fields[i].data = p;
        fields[i].len = (size_t) (q - p);

        if (q == last) {
            break;
        }

        p = q + 1;
    }

    if (i < RPL_TSV_COLUMNS - 1) {
        *why = "fewer than 5 columns";
        return PRD_EINVAL;
    }

    for (i++; i < f->needed; i++) {
        fields[i].data = last;
        fields[i].len = 0;
    }

    return PRD_OK;
}


/* Where a field ends: at the literal behind it, unless it is escaped. */

static inline const char *
rpl_text_end(const rpl_format_t *f, const rpl_field_t *field, const char *p,
    const char *last)
{
    size_t       n;
    const char  *q, *b;

    n = field->sep.len;

    for (q = p; (size_t) (last - q) >= n; q++) {
        q = memchr(q, field->sep.data[0], (size_t) (last - q));

        if (q == NULL || (size_t) (last - q) < n) {
            return NULL;
        }

        if (n > 1 && memcmp(q, field->sep.data, n) != 0) {
            continue;
        }

        if (field->quoted && f->escape != RPL_ESCAPE_NONE && q > p
            && q[-1] == '\\')
        {
            /* Apache's \"; nginx writes \x22, and \x5C for a backslash */

            for (b = q; b > p && b[-1] == '\\'; b--) {
                /* void */
            }

            if ((q - b) & 1) {
                continue;
            }
        }

        if (field->list && *q == ' ' && q > p
            && (q[-1] == ',' || q[-1] == ':'
                || (last - q > 2 && q[1] == ':' && q[2] == ' ')))
        {
            continue;
        }

        return q;
    }

    return NULL;
}


static prd_rc_t
rpl_text_split(const rpl_format_t *f, prd_str_t line, prd_str_t *fields,
    const char **why)
{
    uint32_t            i;
    const char         *p, *q, *last;
    const rpl_field_t  *field;

    p = line.data;
    last = p + line.len;

    if (line.len < f->prefix.len
        || memcmp(p, f->prefix.data, f->prefix.len) != 0)
    {
        *why = "does not begin like the format";
        return PRD_EINVAL;
    }

    p += f->prefix.len;

    for (i = 0; i < f->nfields; i++) {
        field = &f->field[i];

        if (field->sep.len) {
            q = rpl_text_end(f, field, p, last);

            if (q == NULL) {
                *why = "ends before the format does";
                return PRD_EINVAL;
            }

        } else {
            /* the last one, or glued to the next */
            q = (i == f->nfields - 1) ? last : p;
        }

        fields[i].data = p;
        fields[i].len = (size_t) (q - p);

        p = q + field->sep.len;
    }

    if (p != last) {
        *why = "goes on after the format ends";
        return PRD_EINVAL;
    }

    return PRD_OK;
}


prd_rc_t
rpl_format_split(const rpl_format_t *f, prd_str_t line, prd_str_t *fields,
    const char **why)
{
    switch (f->kind) {

    case RPL_FORMAT_TSV:
        return rpl_tsv_split(f, line, fields, why);

    case RPL_FORMAT_TEXT:
        return rpl_text_split(f, line, fields, why);

    default:
        return rpl_json_split(f, line, fields, why);
    }
}


prd_rc_t
rpl_format_time(rpl_format_t *f, const prd_str_t *fields, rpl_stamp_t *t,
    const char **why)
{
    uint32_t   i;
    prd_rc_t   rc;
    prd_str_t  s;

    if (f->kind == RPL_FORMAT_TSV) {
        rc = rpl_stamp_seconds(fields[0], t);

    } else {
        rc = PRD_EINVAL;

        for (i = 0; f->time[i] != RPL_NO_SLOT; i++) {
            s = fields[f->time[i]];

            if (s.len) {
                rc = rpl_stamp_any(s, t, &f->cache);
                break;
            }
        }

        if (f->time[i] == RPL_NO_SLOT) {
            *why = "has no time";
            return PRD_EINVAL;
        }
    }

    if (rc != PRD_OK || t->us < 0) {
        *why = "has a bad time";
        return PRD_EINVAL;
    }

    return PRD_OK;
}


prd_rc_t
rpl_format_status(const rpl_format_t *f, const prd_str_t *fields,
    uint32_t *status, const char **why)
{
    size_t     i;
    uint32_t   n;
    prd_str_t  s;

    *status = 0;

    if (f->status == RPL_NO_SLOT) {
        return PRD_OK;
    }

    s = fields[f->status];

    if (s.len == 0 || (s.len == 1 && s.data[0] == '-')) {
        return PRD_OK;
    }

    for (i = 0, n = 0; i < s.len && i < 4; i++) {

        if (s.data[i] < '0' || s.data[i] > '9') {
            *why = "has a bad status";
            return PRD_EINVAL;
        }

        n = n * 10 + (uint32_t) (s.data[i] - '0');
    }

    if (s.len > 3) {
        *why = "has a bad status";
        return PRD_EINVAL;
    }

    *status = n;

    return PRD_OK;
}


uint64_t
rpl_format_bytes(const rpl_format_t *f, const prd_str_t *fields)
{
    size_t     i;
    uint64_t   n;
    prd_str_t  s;

    if (f->bytes == RPL_NO_SLOT) {
        return 0;
    }

    s = fields[f->bytes];

    for (i = 0, n = 0; i < s.len && i < 18; i++) {

        if (s.data[i] < '0' || s.data[i] > '9') {
            return 0;
        }

        n = n * 10 + (uint64_t) (s.data[i] - '0');
    }

    return n;
}


int64_t
rpl_format_duration(const rpl_format_t *f, const prd_str_t *fields)
{
    int64_t  us;

    if (f->request_time == RPL_NO_SLOT
        || rpl_stamp_duration(fields[f->request_time], &us) != PRD_OK)
    {
        return 0;
    }

    return us;
}


/* A code point as UTF-8: never longer than the six bytes it was written in. */

static char *
rpl_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = (char) c;

    } else if (c < 0x800) {
        *out++ = (char) (0xc0 | c >> 6);
        *out++ = (char) (0x80 | (c & 0x3f));

    } else if (c < 0x10000) {
        *out++ = (char) (0xe0 | c >> 12);
        *out++ = (char) (0x80 | (c >> 6 & 0x3f));
        *out++ = (char) (0x80 | (c & 0x3f));

    } else {
        *out++ = (char) (0xf0 | c >> 18);
        *out++ = (char) (0x80 | (c >> 12 & 0x3f));
        *out++ = (char) (0x80 | (c >> 6 & 0x3f));
        *out++ = (char) (0x80 | (c & 0x3f));
    }

    return out;
}


/* "uXXXX" at p, or -1 */

static int
rpl_unicode(const char *p, const char *last)
{
    int  i, h, v;

    if (last - p < 5 || *p != 'u') {
        return -1;
    }

    for (v = 0, i = 1; i < 5; i++) {
        h = prd_hex_digit(p[i]);

        if (h < 0) {
            return -1;
        }

        v = v << 4 | h;
    }

    return v;
}


size_t
rpl_format_decode(rpl_escape_e escape, prd_str_t s, char *out)
{
    int          v, low;
    char        *o;
    const char  *p, *last, *hit;

    static const char  from[] = "\"\\/bfnrt";
    static const char  to[] = "\"\\/\b\f\n\r\t";

    p = s.data;
    last = p + s.len;
    o = out;

    while (p < last) {

        if (*p != '\\' || escape == RPL_ESCAPE_NONE || last - p < 2) {
            *o++ = *p++;
            continue;
        }

        p++;

        if (*p == 'x' && last - p > 2 && prd_hex_digit(p[1]) >= 0
            && prd_hex_digit(p[2]) >= 0)
        {
            *o++ = (char) (prd_hex_digit(p[1]) << 4 | prd_hex_digit(p[2]));
            p += 3;
            continue;
        }

        v = (escape == RPL_ESCAPE_JSON) ? rpl_unicode(p, last) : -1;

        if (v >= 0) {
            p += 5;

            if (v >= 0xd800 && v < 0xdc00 && p < last && *p == '\\') {
                low = rpl_unicode(p + 1, last);

                if (low >= 0xdc00 && low < 0xe000) {
                    v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
                    p += 6;
                }
            }

            o = rpl_utf8(o, (unsigned) v);
            continue;
        }

        hit = *p ? strchr(from, *p) : NULL;

        if (hit != NULL && (escape == RPL_ESCAPE_JSON || *p == '"'
                            || *p == '\\'))
        {
            *o++ = to[hit - from];
            p++;
            continue;
        }

        *o++ = '\\';
    }

    return (size_t) (o - out);
}
