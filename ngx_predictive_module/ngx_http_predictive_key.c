
/*
 * A request's key, and its tag.
 *
 * Most keys are one field of the request's header, `$http_NAME`.  nginx finds
 * it by a comparison of each field's name letter by letter, a quarter of a
 * decision's instructions and a twelfth of its time; here lengths are compared
 * first.  What is found is what nginx would find, and is left where nginx would
 * leave it.
 */


#include "ngx_http_predictive_module.h"


static ngx_int_t ngx_http_predictive_field(ngx_http_request_t *r,
    ngx_http_predictive_zone_t *zone);
static ngx_uint_t ngx_http_predictive_field_is(
    ngx_http_predictive_zone_t *zone, ngx_table_elt_t *field);


ngx_int_t
ngx_http_predictive_key(ngx_http_request_t *r,
    ngx_http_predictive_zone_t *zone, uint64_t *tag)
{
    ngx_str_t                   key;
    ngx_http_variable_value_t  *vv;

    if (zone->key_index >= 0) {
        vv = &r->variables[zone->key_index];

        if (zone->field.len == 0
            || (!vv->valid && !vv->not_found
                && ngx_http_predictive_field(r, zone) != NGX_OK))
        {
            vv = ngx_http_get_flushed_variable(r, zone->key_index);
        }

        if (vv == NULL || vv->not_found) {
            key.len = 0;
            key.data = NULL;

        } else {
            key.len = vv->len;
            key.data = vv->data;
        }

    } else if (ngx_http_complex_value(r, &zone->key, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (key.len == 0) {
        prd_zone_add(&zone->view, PRD_CNT_SKIPPED, 1);
        return NGX_DECLINED;
    }

    if (key.len > 65535) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "the value of the \"%V\" key of predictive zone \"%V\" "
                      "is more than 65535 bytes: %uz",
                      &zone->key.value, &zone->name, key.len);
        prd_zone_add(&zone->view, PRD_CNT_SKIPPED, 1);
        return NGX_DECLINED;
    }

    /* the client of a run is known again for less than a hash */

    if (key.len == zone->run_len
        && prd_digest(&zone->digest_key, key.data, key.len)
           == zone->run_digest)
    {
        *tag = zone->run_tag;
        return NGX_OK;
    }

    *tag = prd_tag(prd_hash(&zone->view.zone->secret, key.data, key.len));

    if (*tag != zone->run.tag) {
        zone->run_len = 0;
        prd_view_fetch(&zone->view, *tag);

    } else if (zone->run.n && key.len <= PRD_DIGEST_MOST) {
        zone->run_digest = prd_digest(&zone->digest_key, key.data, key.len);
        zone->run_len = key.len;
        zone->run_tag = *tag;
    }

    return NGX_OK;
}


/*
 * The variable of a zone's key by the only field of that name, or by none.
 * NGX_DECLINED: there are several, and versions of nginx differ in what the
 * variable is then.
 */

static ngx_int_t
ngx_http_predictive_field(ngx_http_request_t *r,
    ngx_http_predictive_zone_t *zone)
{
    ngx_uint_t                  i;
    ngx_list_part_t            *part;
    ngx_table_elt_t            *fields, *found;
    ngx_http_variable_value_t  *vv;

    found = NULL;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        fields = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (fields[i].key.len != zone->field.len
                || !ngx_http_predictive_field_is(zone, &fields[i]))
            {
                continue;
            }

            if (found != NULL) {
                return NGX_DECLINED;
            }

            found = &fields[i];
        }
    }

    vv = &r->variables[zone->key_index];

    if (found == NULL) {
        vv->not_found = 1;
        return NGX_OK;
    }

    vv->len = found->value.len;
    vv->data = found->value.data;
    vv->valid = 1;
    vv->no_cacheable = 0;
    vv->not_found = 0;

    return NGX_OK;
}


/*
 * Is it called so?  The lengths are the same.  Letters may be in any case, and
 * "-" or "_" stand for "_"; nearly always it is "-".
 */

static ngx_uint_t
ngx_http_predictive_field_is(ngx_http_predictive_zone_t *zone,
    ngx_table_elt_t *field)
{
    u_char      ch;
    ngx_uint_t  i;

    /* removed by another module */

    if (field->hash == 0) {
        return 0;
    }

    if (field->lowcase_key
        && ngx_memcmp(field->lowcase_key, zone->dashed, zone->field.len) == 0)
    {
        return 1;
    }

    for (i = 0; i < zone->field.len; i++) {
        ch = ngx_tolower(field->key.data[i]);

        if ((ch == '-' ? '_' : ch) != zone->field.data[i]) {
            return 0;
        }
    }

    return 1;
}


/*
 * Is the zone's key a field of the header?  Any other variable may have such a
 * name, too: what nginx has made of it tells.
 */

ngx_int_t
ngx_http_predictive_key_init(ngx_http_predictive_zone_t *zone,
    ngx_cycle_t *cycle)
{
    ngx_uint_t                  i;
    ngx_http_variable_t        *variable, *prefix;
    ngx_http_core_main_conf_t  *cmcf;

    ngx_str_null(&zone->field);

    if (zone->key_index < 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    variable = cmcf->variables.elts;
    variable += zone->key_index;

    prefix = cmcf->prefix_variables.elts;

    for (i = 0; i < cmcf->prefix_variables.nelts; i++, prefix++) {

        if (prefix->name.len == 5
            && ngx_strncmp(prefix->name.data, "http_", 5) == 0)
        {
            break;
        }
    }

    if (i == cmcf->prefix_variables.nelts
        || variable->get_handler != prefix->get_handler
        || (variable->flags & NGX_HTTP_VAR_NOCACHEABLE)
        || variable->name.len <= 5
        || ngx_strncmp(variable->name.data, "http_", 5) != 0)
    {
        return NGX_OK;
    }

    zone->dashed = ngx_pnalloc(cycle->pool, variable->name.len - 5);
    if (zone->dashed == NULL) {
        return NGX_ERROR;
    }

    zone->field.len = variable->name.len - 5;
    zone->field.data = variable->name.data + 5;

    for (i = 0; i < zone->field.len; i++) {
        zone->dashed[i] = zone->field.data[i] == '_' ? '-'
                                                     : zone->field.data[i];
    }

    return NGX_OK;
}
