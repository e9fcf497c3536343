
/*
 * Which client is meant: a key as an administrator has it at hand, in text,
 * and what it is as the key of the zone.
 */


#include "ngx_http_predictive_explain.h"

#include "prd_address.h"


static ngx_int_t ngx_http_predictive_explain_try(
    ngx_http_predictive_zone_t *zone, void *key, size_t len, uint64_t *tag);
static ngx_int_t ngx_http_predictive_explain_raw(
    ngx_http_predictive_api_t *api, uint64_t *tag, const char **form);
static ngx_uint_t ngx_http_predictive_explain_is_address(ngx_str_t *key);
static ngx_int_t ngx_http_predictive_explain_binary(
    ngx_http_predictive_zone_t *zone, ngx_str_t *body, uint64_t *tag);
static ngx_int_t ngx_http_predictive_explain_identity(
    ngx_http_predictive_api_t *api, const char *kind, uint64_t *tag);
static ngx_int_t ngx_http_predictive_explain_prefixes(
    ngx_http_predictive_zone_t *zone, ngx_str_t *body, uint64_t *tag);
static ngx_str_t ngx_http_predictive_explain_line(ngx_str_t *body);
static prd_rc_t ngx_http_predictive_explain_get(void *data, size_t n,
    prd_str_t *value);
static void *ngx_http_predictive_explain_alloc(void *data, size_t size);


ngx_int_t
ngx_http_predictive_explain_find(ngx_http_predictive_api_t *api,
    uint64_t *tag, const char **form)
{
    ngx_str_t    as, body;
    ngx_uint_t   i;

    static const char  *kinds[] = { "token", "address", "agent" };

    *tag = 0;

    if (ngx_http_predictive_api_arg(api, "as", &as) != NGX_OK) {
        return ngx_http_predictive_explain_raw(api, tag, form);
    }

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (as.len == ngx_strlen(kinds[i])
            && ngx_strncmp(as.data, kinds[i], as.len) == 0)
        {
            *form = kinds[i];
            return ngx_http_predictive_explain_identity(api, kinds[i], tag);
        }
    }

    if (as.len == 3 && ngx_strncmp(as.data, "key", 3) == 0) {
        *form = "key";
        return ngx_http_predictive_explain_try(api->zone, api->body.data,
                                               api->body.len, tag);
    }

    if (as.len == 8 && ngx_strncmp(as.data, "newcomer", 8) == 0) {
        *form = "newcomer";
        body = ngx_http_predictive_explain_line(&api->body);
        *tag = ngx_http_predictive_parent_tag(api->zone, &body);
        return NGX_OK;
    }

    return NGX_ABORT;
}


/* NGX_OK: there is such a client.  The first tag tried stays in *tag. */

static ngx_int_t
ngx_http_predictive_explain_try(ngx_http_predictive_zone_t *zone, void *key,
    size_t len, uint64_t *tag)
{
    uint64_t  t;

    t = prd_tag(prd_hash(&zone->view.zone->secret, key, len));

    if (*tag == 0) {
        *tag = t;
    }

    if (prd_table_find(&zone->view.table, t) == PRD_NO_SLOT) {
        return NGX_DECLINED;
    }

    *tag = t;

    return NGX_OK;
}


/*
 * The key as nginx has it; but where it is $binary_remote_addr, which nobody
 * can type, an address.  A line feed at the end is what a shell has added.
 */

static ngx_int_t
ngx_http_predictive_explain_raw(ngx_http_predictive_api_t *api, uint64_t *tag,
    const char **form)
{
    ngx_str_t                    body;
    ngx_http_predictive_zone_t  *zone;

    zone = api->zone;
    body = ngx_http_predictive_explain_line(&api->body);

    if (ngx_http_predictive_explain_is_address(&zone->key.value)) {
        *form = "address";

        if (ngx_http_predictive_explain_binary(zone, &body, tag) == NGX_OK) {
            return NGX_OK;
        }
    }

    *form = (*tag != 0) ? "address" : "key";

    if (ngx_http_predictive_explain_try(zone, api->body.data, api->body.len,
                                        tag)
        == NGX_OK
        || (body.len && body.len != api->body.len
            && ngx_http_predictive_explain_try(zone, body.data, body.len, tag)
               == NGX_OK))
    {
        *form = "key";
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_predictive_explain_is_address(ngx_str_t *key)
{
    static ngx_str_t  names[] = {
        ngx_string("$binary_remote_addr"),
        ngx_string("${binary_remote_addr}")
    };

    ngx_uint_t  i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (key->len == names[i].len
            && ngx_strncmp(key->data, names[i].data, key->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* NGX_DECLINED: no address, or no client has it. */

static ngx_int_t
ngx_http_predictive_explain_binary(ngx_http_predictive_zone_t *zone,
    ngx_str_t *body, uint64_t *tag)
{
    u_char     addr[16];
    in_addr_t  v4;

    v4 = ngx_inet_addr(body->data, body->len);

    if (v4 != INADDR_NONE
        || (body->len == 15
            && ngx_strncmp(body->data, "255.255.255.255", 15) == 0))
    {
        if (ngx_http_predictive_explain_try(zone, &v4, sizeof(in_addr_t), tag)
            == NGX_OK)
        {
            return NGX_OK;
        }

        /* a listening socket for both families has it mapped */

        ngx_memzero(addr, 10);
        ngx_memset(addr + 10, 0xff, 2);
        ngx_memcpy(addr + 12, &v4, sizeof(in_addr_t));

        return ngx_http_predictive_explain_try(zone, addr, 16, tag);
    }

#if (NGX_HAVE_INET6)
    if (ngx_inet6_addr(body->data, body->len, addr) == NGX_OK) {
        return ngx_http_predictive_explain_try(zone, addr, 16, tag);
    }
#endif

    return NGX_DECLINED;
}


/*
 * A bare token, address or agent where the key is of predictive_identity: by
 * its own rules, in an identity with this one source.
 */

static ngx_int_t
ngx_http_predictive_explain_identity(ngx_http_predictive_api_t *api,
    const char *kind, uint64_t *tag)
{
    char             key[PRD_IDENTITY_KEY_MAX];
    size_t           len, nwords;
    prd_rc_t         rc;
    ngx_int_t        found;
    ngx_str_t        body;
    prd_str_t        bad, words[4];
    const char      *why;
    prd_identity_t  *id;

    body = ngx_http_predictive_explain_line(&api->body);

    if (body.len == 0) {
        body = api->body;
    }

    id = NULL;
    why = "";
    len = 0;

    words[0].data = kind;
    words[0].len = ngx_strlen(kind);
    words[1] = prd_str("$body");
    words[2] = prd_str("32");
    words[3] = prd_str("64");

    nwords = ngx_strcmp(kind, "address") == 0 ? 4 : 2;

    rc = prd_identity_create(ngx_http_predictive_explain_alloc,
                             api->request->pool, &id);
    if (rc == PRD_OK) {
        rc = prd_identity_add(id, words, nwords, &why, &bad);
    }

    if (rc == PRD_OK) {
        rc = prd_identity_end(id, &why);
    }

    if (rc == PRD_OK) {
        rc = prd_identity_key(id, ngx_http_predictive_explain_get, &body,
                              key, &len);
    }

    prd_identity_done(id);

    if (rc != PRD_OK) {
        return NGX_ERROR;
    }

    found = ngx_http_predictive_explain_try(api->zone, key, len, tag);

    if (found != NGX_OK && nwords == 4) {
        (void) ngx_http_predictive_explain_prefixes(api->zone, &body, tag);
    }

    return NGX_OK;
}


/*
 * Which prefix lengths an identity masks with is its own business; of those
 * that there are, the longest whose client is there.
 */

static ngx_int_t
ngx_http_predictive_explain_prefixes(ngx_http_predictive_zone_t *zone,
    ngx_str_t *body, uint64_t *tag)
{
    char       key[1 + PRD_ADDRESS_MAX];
    size_t     len;
    unsigned   prefix;
    prd_str_t  text;

    text.data = (char *) body->data;
    text.len = body->len;

    for (prefix = 128; /* void */ ; prefix--) {

        if (prd_address_mask(text, ngx_min(prefix, 32), prefix, key + 1, &len,
                             key)
            != PRD_OK)
        {
            return NGX_DECLINED;
        }

        if ((key[0] == '6' || prefix <= 32)
            && ngx_http_predictive_explain_try(zone, key, 1 + len, tag)
               == NGX_OK)
        {
            return NGX_OK;
        }

        if (prefix == 0) {
            return NGX_DECLINED;
        }
    }
}


/* The body without the line feed at its end. */

static ngx_str_t
ngx_http_predictive_explain_line(ngx_str_t *body)
{
    ngx_str_t  s;

    s = *body;

    if (s.len && s.data[s.len - 1] == '\n') {
        s.len--;

        if (s.len && s.data[s.len - 1] == '\r') {
            s.len--;
        }
    }

    return s;
}


static prd_rc_t
ngx_http_predictive_explain_get(void *data, size_t n, prd_str_t *value)
{
    ngx_str_t  *body;

    (void) n;

    body = data;

    value->len = body->len;
    value->data = (char *) body->data;

    return PRD_OK;
}


static void *
ngx_http_predictive_explain_alloc(void *data, size_t size)
{
    return ngx_palloc(data, size);
}
