
/*
 * Lines of JSON: one object each, as nginx writes them with escape=json.
 * Only names that somebody asked for are kept.  What operators write by hand
 * in a log_format is often not quite JSON ("a":, or "a":-), so a value is
 * whatever stands up to the next comma or brace.
 */


#include "format.h"


/* Behind a string that begins at p (after its quote), or NULL. */

static const char *
rpl_json_string(const char *p, const char *last)
{
    const char  *q, *b;

    for (q = p; q < last; q++) {
        q = memchr(q, '"', (size_t) (last - q));

        if (q == NULL) {
            return NULL;
        }

        for (b = q; b > p && b[-1] == '\\'; b--) {
            /* void */
        }

        if (((q - b) & 1) == 0) {
            return q;
        }
    }

    return NULL;
}


static inline const char *
rpl_json_blank(const char *p, const char *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


/* Behind an object or array that begins at p, or NULL. */

static const char *
rpl_json_nested(const char *p, const char *last)
{
    size_t  depth;

    for (depth = 0; p < last; p++) {

        switch (*p) {

        case '"':
            p = rpl_json_string(p + 1, last);

            if (p == NULL) {
                return NULL;
            }

            break;

        case '{':
        case '[':
            depth++;
            break;

        case '}':
        case ']':

            if (--depth == 0) {
                return p + 1;
            }

            break;
        }
    }

    return NULL;
}


static inline void
rpl_json_keep(const rpl_format_t *f, prd_str_t name, prd_str_t value,
    prd_str_t *fields)
{
    uint32_t            i;
    const rpl_field_t  *field;

    for (i = 0; i < f->nfields; i++) {
        field = &f->field[i];

        if (field->name.len == name.len
            && memcmp(field->name.data, name.data, name.len) == 0)
        {
            fields[i] = value;
            return;
        }
    }
}


prd_rc_t
rpl_json_split(const rpl_format_t *f, prd_str_t line, prd_str_t *fields,
    const char **why)
{
    uint32_t     i;
    prd_str_t    name, value;
    const char  *p, *q, *last;

    for (i = 0; i < f->nfields; i++) {
        fields[i].data = line.data;
        fields[i].len = 0;
    }

    p = line.data;
    last = p + line.len;

    p = rpl_json_blank(p, last);

    if (p == last || *p++ != '{') {
        *why = "is no JSON object";
        return PRD_EINVAL;
    }

    p = rpl_json_blank(p, last);

    if (p < last && *p == '}') {
        p++;
        goto done;
    }

    *why = "is broken JSON";

    for ( ;; ) {
        p = rpl_json_blank(p, last);

        if (p == last || *p != '"') {
            return PRD_EINVAL;
        }

        name.data = ++p;
        q = rpl_json_string(p, last);

        if (q == NULL) {
            return PRD_EINVAL;
        }

        name.len = (size_t) (q - p);
        p = rpl_json_blank(q + 1, last);

        if (p == last || *p != ':') {
            return PRD_EINVAL;
        }

        p = rpl_json_blank(p + 1, last);

        if (p == last) {
            return PRD_EINVAL;
        }

        value.data = p;

        switch (*p) {

        case '"':
            value.data = ++p;
            p = rpl_json_string(p, last);

            if (p == NULL) {
                return PRD_EINVAL;
            }

            value.len = (size_t) (p++ - value.data);
            break;

        case '{':
        case '[':
            p = rpl_json_nested(p, last);

            if (p == NULL) {
                return PRD_EINVAL;
            }

            value.len = (size_t) (p - value.data);
            break;

        default:

            while (p < last && *p != ',' && *p != '}') {
                p++;
            }

            for (q = p; q > value.data && (q[-1] == ' ' || q[-1] == '\t');
                 q--)
            {
                /* void */
            }

            value.len = (size_t) (q - value.data);

            if (prd_is(value, "null")) {
                value.len = 0;
            }

            break;
        }

        rpl_json_keep(f, name, value, fields);

        p = rpl_json_blank(p, last);

        if (p == last) {
            return PRD_EINVAL;
        }

        if (*p == '}') {
            p++;
            break;
        }

        if (*p++ != ',') {
            return PRD_EINVAL;
        }
    }

done:

    if (rpl_json_blank(p, last) != last) {
        *why = "goes on after the JSON object";
        return PRD_EINVAL;
    }

    return PRD_OK;
}
