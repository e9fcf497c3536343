
/*
 * predictive_identity: a variable that is the client's key, found in the
 * request by the engine's rules (prd_identity.h).
 */


#include "ngx_http_predictive_module.h"


/* A source's value: a variable alone, or text around variables. */

typedef struct {
    ngx_int_t                  index;        /* -1: see value */
    ngx_http_complex_value_t   value;
} ngx_http_predictive_source_t;


typedef struct {
    prd_identity_t            *rules;
    ngx_array_t                sources;      /* ngx_http_predictive_source_t */
} ngx_http_predictive_identity_t;


typedef struct {
    ngx_http_request_t              *request;
    ngx_http_predictive_identity_t  *identity;
} ngx_http_predictive_lookup_t;


static char *ngx_http_predictive_identity_line(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static ngx_int_t ngx_http_predictive_identity_source(ngx_conf_t *cf,
    ngx_http_predictive_identity_t *identity, ngx_uint_t n);
static ngx_int_t ngx_http_predictive_identity_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static prd_rc_t ngx_http_predictive_identity_get(void *data, size_t n,
    prd_str_t *value);
static void *ngx_http_predictive_identity_alloc(void *data, size_t size);
static void ngx_http_predictive_identity_cleanup(void *data);


char *
ngx_http_predictive_identity(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                            *rv;
    ngx_str_t                       *value, name;
    ngx_conf_t                       save;
    const char                      *why;
    ngx_pool_cleanup_t              *cln;
    ngx_http_variable_t             *var;
    ngx_http_predictive_identity_t  *identity;

    value = cf->args->elts;
    name = value[1];

    if (name.len < 2 || name.data[0] != '$') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid variable name \"%V\"", &name);
        return NGX_CONF_ERROR;
    }

    name.len--;
    name.data++;

    var = ngx_http_add_variable(cf, &name, 0);
    if (var == NULL) {
        return NGX_CONF_ERROR;
    }

    identity = ngx_pcalloc(cf->pool, sizeof(ngx_http_predictive_identity_t));
    if (identity == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_array_init(&identity->sources, cf->pool, 4,
                       sizeof(ngx_http_predictive_source_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    if (prd_identity_create(ngx_http_predictive_identity_alloc, cf->pool,
                            &identity->rules)
        != PRD_OK)
    {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_predictive_identity_cleanup;
    cln->data = identity->rules;

    save = *cf;
    cf->handler = ngx_http_predictive_identity_line;
    cf->handler_conf = (void *) identity;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    why = "";

    if (prd_identity_end(identity->rules, &why) != PRD_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V $%V\" %s", &cmd->name, &name, why);
        return NGX_CONF_ERROR;
    }

    var->get_handler = ngx_http_predictive_identity_variable;
    var->data = (uintptr_t) identity;

    return NGX_CONF_OK;
}


static char *
ngx_http_predictive_identity_line(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_http_predictive_identity_t *identity = conf;

    prd_rc_t     rc;
    ngx_str_t   *value, s;
    prd_str_t   *words, bad;
    ngx_uint_t   i;
    const char  *why;

    value = cf->args->elts;
    why = "";
    bad.len = 0;
    bad.data = "";

    words = ngx_palloc(cf->pool, cf->args->nelts * sizeof(prd_str_t));
    if (words == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < cf->args->nelts; i++) {
        words[i].len = value[i].len;
        words[i].data = (char *) value[i].data;
    }

    rc = prd_identity_add(identity->rules, words, cf->args->nelts, &why, &bad);

    if (rc != PRD_OK) {
        s.len = bad.len;
        s.data = (u_char *) bad.data;

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" in \"predictive_identity\" %s", &s, why);
        return NGX_CONF_ERROR;
    }

    /* the line was a source, or "separate" */

    i = identity->sources.nelts;

    if (i < prd_identity_sources(identity->rules)
        && ngx_http_predictive_identity_source(cf, identity, i) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_predictive_identity_source(ngx_conf_t *cf,
    ngx_http_predictive_identity_t *identity, ngx_uint_t n)
{
    ngx_str_t                      text;
    prd_str_t                      s;
    prd_kind_e                     kind;
    ngx_http_predictive_source_t  *source;

    source = ngx_array_push(&identity->sources);
    if (source == NULL) {
        return NGX_ERROR;
    }

    s = prd_identity_source(identity->rules, n, &kind);

    text.len = s.len;
    text.data = (u_char *) s.data;

    if (ngx_http_predictive_compile(cf, &text, &source->value) != NGX_OK) {
        return NGX_ERROR;
    }

    source->index = ngx_http_predictive_variable_index(cf, &text);

    return source->index == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_predictive_identity_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    char                          key[PRD_IDENTITY_KEY_MAX];
    size_t                        len;
    prd_rc_t                      rc;
    ngx_http_predictive_lookup_t  lookup;

    lookup.request = r;
    lookup.identity = (ngx_http_predictive_identity_t *) data;

    rc = prd_identity_key(lookup.identity->rules,
                          ngx_http_predictive_identity_get, &lookup,
                          key, &len);

    if (rc == PRD_DECLINED) {
        v->not_found = 1;
        return NGX_OK;
    }

    if (rc == PRD_ELIMIT) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "predictive: the value of a token was too much for its "
                      "regular expression and taken as it is");

    } else if (rc != PRD_OK) {
        return NGX_ERROR;
    }

    v->data = ngx_pnalloc(r->pool, len);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(v->data, key, len);

    v->len = len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static prd_rc_t
ngx_http_predictive_identity_get(void *data, size_t n, prd_str_t *value)
{
    ngx_http_predictive_lookup_t *lookup = data;

    ngx_str_t                      s;
    ngx_http_variable_value_t     *vv;
    ngx_http_predictive_source_t  *source;

    source = lookup->identity->sources.elts;
    source += n;

    if (source->index >= 0) {
        vv = ngx_http_get_flushed_variable(lookup->request, source->index);

        if (vv == NULL || vv->not_found) {
            return PRD_DECLINED;
        }

        value->len = vv->len;
        value->data = (char *) vv->data;

        return PRD_OK;
    }

    if (ngx_http_complex_value(lookup->request, &source->value, &s) != NGX_OK) {
        return PRD_ENOMEM;
    }

    value->len = s.len;
    value->data = (char *) s.data;

    return PRD_OK;
}


static void *
ngx_http_predictive_identity_alloc(void *data, size_t size)
{
    return ngx_palloc(data, size);
}


static void
ngx_http_predictive_identity_cleanup(void *data)
{
    prd_identity_done(data);
}
