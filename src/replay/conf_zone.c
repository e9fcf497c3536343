
/*
 * What a configuration says of one zone: its parameters, the limit on it, the
 * identities, and the format of the log.
 */


#include <string.h>

#include "conf.h"


static void *
rpl_conf_pool(void *data, size_t size)
{
    rpl_conf_t  *conf;

    conf = data;

    return rpl_arena_alloc(&conf->arena, size);
}


static const char *
rpl_conf_at(rpl_conf_t *conf, const rpl_directive_t *d)
{
    return rpl_arena_print(&conf->arena, "%s:%u", d->file, d->line);
}


/*
 * The next directive of a name in depth-first order behind d, below top;
 * d = top: the first.
 */

static const rpl_directive_t *
rpl_conf_walk(const rpl_directive_t *d, const rpl_directive_t *top,
    const char *name)
{
    for ( ;; ) {

        if (d->child != NULL) {
            d = d->child;

        } else {

            while (d != top && d->next == NULL) {
                d = d->parent;
            }

            if (d == top) {
                return NULL;
            }

            d = d->next;
        }

        if (prd_is(d->word[0], name)) {
            return d;
        }
    }
}


/* "name=" in front of a word; *value is the rest. */

static int
rpl_is_param(prd_str_t word, const char *name, prd_str_t *value)
{
    size_t  n;

    n = strlen(name);

    if (word.len < n || memcmp(word.data, name, n) != 0) {
        return 0;
    }

    value->data = word.data + n;
    value->len = word.len - n;

    return 1;
}


static int
rpl_same(prd_str_t a, prd_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}


prd_rc_t
rpl_conf_format(rpl_conf_t *conf, prd_str_t name, prd_str_t *text,
    rpl_escape_e *escape, rpl_error_t *e)
{
    char                   *p;
    size_t                  i, len;
    prd_str_t               value;
    const rpl_directive_t  *d;

    for (d = &conf->root; (d = rpl_conf_walk(d, &conf->root, "log_format"));
         /* void */)
    {
        if (d->nwords < 3 || !rpl_same(d->word[1], name)) {
            continue;
        }

        i = 2;
        *escape = RPL_ESCAPE_DEFAULT;

        if (rpl_is_param(d->word[2], "escape=", &value)) {
            i++;

            if (prd_is(value, "json")) {
                *escape = RPL_ESCAPE_JSON;

            } else if (prd_is(value, "none")) {
                *escape = RPL_ESCAPE_NONE;

            } else if (!prd_is(value, "default")) {
                return rpl_error(e, PRD_EINVAL, "%s:%u: unknown log format "
                                 "escaping \"%.*s\"", d->file, d->line,
                                 (int) value.len, value.data);
            }
        }

        for (len = 0; i < d->nwords; i++) {
            len += d->word[i].len;
        }

        p = rpl_arena_alloc(&conf->arena, len + 1);
        text->data = p;
        text->len = len;

        for (i = (d->word[2].len > 7
                  && memcmp(d->word[2].data, "escape=", 7) == 0) ? 3 : 2;
             i < d->nwords; i++)
        {
            memcpy(p, d->word[i].data, d->word[i].len);
            p += d->word[i].len;
        }

        return PRD_OK;
    }

    return PRD_DECLINED;
}


const char *
rpl_conf_variable(rpl_conf_t *conf, prd_str_t name)
{
    size_t                  i, at;
    prd_str_t               word;
    const rpl_directive_t  *d;

    static const char *const  makers[] = {
        "map", "geo", "set", "split_clients", "auth_request_set", "perl_set",
        "js_set"
    };

    for (i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {

        for (d = &conf->root;
             (d = rpl_conf_walk(d, &conf->root, makers[i])); /* void */)
        {
            /* the variable is the last word of map, else the first */

            at = (d->child != NULL) ? d->nwords - 1 : 1;

            if (at >= d->nwords || at == 0) {
                continue;
            }

            word = d->word[at];

            if (word.len == name.len + 1 && word.data[0] == '$'
                && memcmp(word.data + 1, name.data, name.len) == 0)
            {
                return rpl_arena_print(&conf->arena, "%s at %s:%u",
                                       makers[i], d->file, d->line);
            }
        }
    }

    return NULL;
}


static prd_rc_t
rpl_conf_identity(rpl_conf_t *conf, const rpl_directive_t *d,
    prd_identity_t **id, const char *of, rpl_error_t *e)
{
    prd_rc_t                rc;
    prd_str_t               bad;
    const char             *why;
    const rpl_directive_t  *r;

    rc = prd_identity_create(rpl_conf_pool, conf, id);

    if (rc != PRD_OK) {
        return rpl_error(e, rc, "%s: %s", of, prd_strerror(rc));
    }

    for (r = d->child; r; r = r->next) {
        bad.len = 0;
        bad.data = "";
        rc = prd_identity_add(*id, r->word, r->nwords, &why, &bad);

        if (rc != PRD_OK) {
            (void) rpl_error(e, rc, "%s:%u: \"%.*s\" %s", r->file, r->line,
                             (int) bad.len, bad.data, why);
            prd_identity_done(*id);
            return rc;
        }
    }

    rc = prd_identity_end(*id, &why);

    if (rc != PRD_OK) {
        (void) rpl_error(e, rc, "%s: %s", of, why);
        prd_identity_done(*id);
    }

    return rc;
}


prd_rc_t
rpl_conf_rules(rpl_conf_t **out, const char *text, prd_identity_t **id,
    rpl_error_t *e)
{
    char         *copy;
    size_t        n;
    prd_rc_t      rc;
    rpl_conf_t   *conf;
    rpl_arena_t   arena;

    /* the last rule may leave its semicolon out */

    n = strlen(text);

    while (n && (text[n - 1] == ' ' || text[n - 1] == '\n')) {
        n--;
    }

    arena.chunks = NULL;
    copy = rpl_arena_print(&arena, "%.*s%s", (int) n, text,
                           n && text[n - 1] != ';' ? ";" : "");

    rc = rpl_conf_parse(&conf, "--identity", copy, strlen(copy), e);

    rpl_arena_done(&arena);

    if (rc != PRD_OK) {
        return rc;
    }

    rc = rpl_conf_identity(conf, &conf->root, id, "--identity", e);

    if (rc != PRD_OK) {
        rpl_conf_done(conf);
        return rc;
    }

    *out = conf;

    return PRD_OK;
}


static prd_rc_t
rpl_conf_identities(rpl_conf_t *conf, rpl_identity_t **list, rpl_error_t *e)
{
    prd_rc_t                rc;
    const char             *at;
    rpl_identity_t         *i;
    const rpl_directive_t  *d;

    for (d = &conf->root;
         (d = rpl_conf_walk(d, &conf->root, "predictive_identity"));
         /* void */)
    {
        at = rpl_conf_at(conf, d);

        if (d->nwords != 2 || d->word[1].len < 2 || d->word[1].data[0] != '$')
        {
            return rpl_error(e, PRD_EINVAL, "%s: predictive_identity needs a "
                             "variable and a block", at);
        }

        i = rpl_alloc(sizeof(rpl_identity_t));
        i->name.data = d->word[1].data + 1;
        i->name.len = d->word[1].len - 1;
        i->next = *list;
        *list = i;

        rc = rpl_conf_identity(conf, d, &i->id, at, e);

        if (rc != PRD_OK) {
            i->id = NULL;
            return rc;
        }
    }

    return PRD_OK;
}


/* Does a `predictive` directive name the zone? */

static int
rpl_conf_is_limit(const rpl_directive_t *d, const char *name)
{
    size_t      i;
    prd_str_t   value;

    for (i = 1; i < d->nwords; i++) {
        if (rpl_is_param(d->word[i], "zone=", &value) && prd_is(value, name)) {
            return 1;
        }
    }

    return 0;
}


static int
rpl_conf_is_location(const rpl_directive_t *d, const char *location)
{
    size_t   i, len, n;
    char     text[512];

    if (d->nwords < 2) {
        return 0;
    }

    if (prd_is(d->word[d->nwords - 1], location)) {
        return 1;
    }

    /* "= /exact", "~ \.php$" */

    for (i = 1, len = 0; i < d->nwords; i++) {
        n = d->word[i].len;

        if (len + n + 2 > sizeof(text)) {
            return 0;
        }

        if (len) {
            text[len++] = ' ';
        }

        memcpy(text + len, d->word[i].data, n);
        len += n;
    }

    return len == strlen(location) && memcmp(text, location, len) == 0;
}


static prd_rc_t
rpl_conf_limit(const rpl_conf_t *conf, const char *name, const char *location,
    const rpl_directive_t **limit, const rpl_directive_t **level,
    rpl_error_t *e)
{
    int                     any;
    const rpl_directive_t  *d, *c;

    *limit = NULL;

    if (location == NULL) {

        for (d = &conf->root;
             (d = rpl_conf_walk(d, &conf->root, "predictive")); /* void */)
        {
            if (rpl_conf_is_limit(d, name)) {
                *limit = d;
                *level = d->parent;
                return PRD_OK;
            }
        }

        return PRD_OK;
    }

    for (d = &conf->root; (d = rpl_conf_walk(d, &conf->root, "location"));
         /* void */)
    {
        if (rpl_conf_is_location(d, location)) {
            break;
        }
    }

    if (d == NULL) {
        return rpl_error(e, PRD_EINVAL, "--location \"%s\": there is no such "
                         "location", location);
    }

    *level = d;

    /* inherited only if the level has none */

    for (any = 0; d != NULL && !any; d = d->parent) {

        for (c = d->child; c; c = c->next) {

            if (!prd_is(c->word[0], "predictive")) {
                continue;
            }

            any = 1;

            if (*limit == NULL && rpl_conf_is_limit(c, name)) {
                *limit = c;
            }
        }
    }

    if (*limit == NULL) {
        return rpl_error(e, PRD_EINVAL, "--location \"%s\": no \"predictive "
                         "zone=%s\" is in force there", location, name);
    }

    return PRD_OK;
}


/* The format of the access log that is in force where the limit is. */

static prd_rc_t
rpl_conf_access_log(rpl_conf_t *conf, const rpl_directive_t *at,
    rpl_conf_zone_t *zone, rpl_error_t *e)
{
    prd_rc_t                rc;
    prd_str_t               name;
    const rpl_directive_t  *d, *c;

    for (d = at; d != NULL; d = d->parent) {

        for (c = d->child; c; c = c->next) {

            if (!prd_is(c->word[0], "access_log") || c->nwords < 2
                || prd_is(c->word[1], "off"))
            {
                continue;
            }

            if (c->nwords < 3 || prd_is(c->word[2], "combined")
                || memchr(c->word[2].data, '=', c->word[2].len) != NULL)
            {
                return PRD_OK;
            }

            name = c->word[2];
            rc = rpl_conf_format(conf, name, &zone->format, &zone->escape, e);

            if (rc == PRD_DECLINED) {
                return rpl_error(e, PRD_EINVAL, "%s:%u: unknown log format "
                                 "\"%.*s\"", c->file, c->line, (int) name.len,
                                 name.data);
            }

            return rc;
        }
    }

    return PRD_OK;
}


static prd_rc_t
rpl_conf_params(const rpl_directive_t *d, const char *at, rpl_words_t *params,
    rpl_conf_zone_t *zone, rpl_error_t *e)
{
    size_t       i;
    prd_rc_t     rc;
    prd_str_t    value, size;
    const char  *colon;

    zone->at = at;
    zone->key = d->word[1];

    for (i = 2; i < d->nwords; i++) {

        if (!rpl_is_param(d->word[i], "zone=", &value)) {
            rc = rpl_words_set(params, d->word[i], at);

            if (rc != PRD_OK) {
                return rpl_error(e, rc, "%s: too many parameters", at);
            }

            continue;
        }

        colon = memchr(value.data, ':', value.len);

        if (colon == NULL) {
            return rpl_error(e, PRD_EINVAL, "%s: \"zone=%.*s\" has no size",
                             at, (int) value.len, value.data);
        }

        size.data = colon + 1;
        size.len = (size_t) (value.data + value.len - size.data);

        if (prd_parse_size(size, &zone->size) != PRD_OK) {
            return rpl_error(e, PRD_EINVAL, "%s: \"zone=%.*s\" has a bad "
                             "size", at, (int) value.len, value.data);
        }
    }

    return PRD_OK;
}


static int
rpl_conf_is_zone(const rpl_directive_t *d, const char *name)
{
    size_t      i;
    prd_str_t   value;

    for (i = 2; i < d->nwords; i++) {
        if (rpl_is_param(d->word[i], "zone=", &value)
            && value.len >= strlen(name)
            && memcmp(value.data, name, strlen(name)) == 0
            && (value.len == strlen(name)
                || value.data[strlen(name)] == ':'))
        {
            return 1;
        }
    }

    return 0;
}


prd_rc_t
rpl_conf_zone(rpl_conf_t *conf, const char *name, const char *location,
    rpl_conf_zone_t *zone, rpl_words_t *params, rpl_words_t *limit,
    rpl_error_t *e)
{
    size_t                  i;
    prd_rc_t                rc;
    prd_str_t               value;
    const rpl_directive_t  *d, *l, *level;

    memset(zone, 0, sizeof(rpl_conf_zone_t));

    for (d = &conf->root;
         (d = rpl_conf_walk(d, &conf->root, "predictive_zone")); /* void */)
    {
        if (rpl_conf_is_zone(d, name)) {
            break;
        }
    }

    if (d == NULL) {
        return rpl_error(e, PRD_EINVAL, "%s: there is no predictive_zone "
                         "\"%s\"", conf->root.child ? conf->root.child->file
                         : "configuration", name);
    }

    rc = rpl_conf_params(d, rpl_conf_at(conf, d), params, zone, e);

    if (rc != PRD_OK) {
        return rc;
    }

    level = d->parent;
    rc = rpl_conf_limit(conf, name, location, &l, &level, e);

    if (rc != PRD_OK) {
        return rc;
    }

    if (l != NULL) {
        zone->limit_at = rpl_conf_at(conf, l);

        for (i = 1; i < l->nwords; i++) {

            if (rpl_is_param(l->word[i], "if=", &value)) {
                zone->condition = value;
                continue;
            }

            rc = rpl_words_set(limit, l->word[i], zone->limit_at);

            if (rc != PRD_OK) {
                return rpl_error(e, rc, "%s: too many parameters",
                                 zone->limit_at);
            }
        }
    }

    rc = rpl_conf_access_log(conf, level, zone, e);

    if (rc != PRD_OK) {
        return rc;
    }

    return rpl_conf_identities(conf, &zone->identities, e);
}
