
/*
 * Directives, configuration and its inheritance.  What depends on several
 * directives (a zone's greatest burst, and with it the unit of its levels) is
 * worked out in postconfiguration, before zones are laid out and after all
 * limits are known.
 */


#include "ngx_http_predictive_module.h"
#include "ngx_http_predictive_redis.h"


/* A text with variables, and where it was written. */

typedef struct {
    ngx_str_t    text;
    u_char      *file;
    ngx_uint_t   line;
} ngx_http_predictive_text_t;


static char *ngx_http_predictive_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_predictive_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_predictive_later(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

static void *ngx_http_predictive_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_predictive_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_predictive_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);

static ngx_int_t ngx_http_predictive_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_predictive_add_handler(ngx_conf_t *cf,
    ngx_http_core_main_conf_t *cmcf);
static ngx_int_t ngx_http_predictive_init_limits(ngx_conf_t *cf,
    ngx_http_predictive_main_conf_t *pmcf);
static void ngx_http_predictive_init_limit(ngx_http_predictive_limit_t *limit);
static ngx_int_t ngx_http_predictive_init_zones(ngx_conf_t *cf,
    ngx_http_predictive_main_conf_t *pmcf);
static ngx_int_t ngx_http_predictive_init_store(ngx_conf_t *cf,
    ngx_http_predictive_zone_t *zone);

static ngx_int_t ngx_http_predictive_check_texts(ngx_conf_t *cf,
    ngx_http_predictive_main_conf_t *pmcf);
static ngx_str_t ngx_http_predictive_next_name(u_char **pos, u_char *last);
static ngx_uint_t ngx_http_predictive_known(ngx_http_core_main_conf_t *cmcf,
    ngx_str_t *name);

static ngx_int_t ngx_http_predictive_init_worker(ngx_cycle_t *cycle);


static ngx_conf_enum_t  ngx_http_predictive_log_levels[] = {
    { ngx_string("info"), NGX_LOG_INFO },
    { ngx_string("notice"), NGX_LOG_NOTICE },
    { ngx_string("warn"), NGX_LOG_WARN },
    { ngx_string("error"), NGX_LOG_ERR },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_predictive_headers[] = {
    { ngx_string("off"), NGX_HTTP_PREDICTIVE_HEADERS_OFF },
    { ngx_string("draft"), NGX_HTTP_PREDICTIVE_HEADERS_DRAFT },
    { ngx_string("legacy"), NGX_HTTP_PREDICTIVE_HEADERS_LEGACY },
    { ngx_string("both"), NGX_HTTP_PREDICTIVE_HEADERS_BOTH },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_predictive_commands[] = {

    { ngx_string("predictive_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_predictive_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("predictive"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_predictive_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("predictive_status"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_predictive_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("predictive_log_level"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_predictive_loc_conf_t, log_level),
      &ngx_http_predictive_log_levels },

    { ngx_string("predictive_dry_run"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_predictive_loc_conf_t, dry_run),
      NULL },

    { ngx_string("predictive_headers"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_predictive_loc_conf_t, headers),
      &ngx_http_predictive_headers },

    { ngx_string("predictive_problem"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_predictive_loc_conf_t, problem),
      NULL },

    { ngx_string("predictive_identity"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_predictive_identity,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("predictive_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_predictive_store,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("predictive_pool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_predictive_later,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("predictive_state"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_predictive_state,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("predictive_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_predictive_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_predictive_module_ctx = {
    ngx_http_predictive_add_variables,     /* preconfiguration */
    ngx_http_predictive_init,              /* postconfiguration */

    ngx_http_predictive_create_main_conf,  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_predictive_create_loc_conf,   /* create location configuration */
    ngx_http_predictive_merge_loc_conf     /* merge location configuration */
};


ngx_module_t  ngx_http_predictive_module = {
    NGX_MODULE_V1,
    &ngx_http_predictive_module_ctx,       /* module context */
    ngx_http_predictive_commands,          /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_predictive_init_module,       /* init module */
    ngx_http_predictive_init_worker,       /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_predictive_exit_process,      /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_predictive_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_predictive_loc_conf_t *plcf = conf;

    prd_rc_t                           rc;
    ngx_str_t                         *value, name, s;
    prd_str_t                          word;
    ngx_uint_t                         i;
    const char                        *why;
    prd_limit_params_t                 params;
    ngx_http_predictive_limit_t       *limit, *limits;
    ngx_http_predictive_loc_conf_t   **level;
    ngx_http_predictive_main_conf_t   *pmcf;
    ngx_http_complex_value_t          *condition;

    value = cf->args->elts;
    condition = NULL;
    why = "";

    prd_limit_params_init(&params);

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len > 3
            && ngx_strncmp(value[i].data, "if=", 3) == 0)
        {
            s.len = value[i].len - 3;
            s.data = value[i].data + 3;

            condition = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
            if (condition == NULL) {
                return NGX_CONF_ERROR;
            }

            if (ngx_http_predictive_compile(cf, &s, condition) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        word.len = value[i].len;
        word.data = (char *) value[i].data;

        rc = prd_limit_params_set(&params, word, &why);

        if (rc != PRD_OK) {
            ngx_http_predictive_bad_parameter(cf, &value[i], rc, why);
            return NGX_CONF_ERROR;
        }
    }

    if (params.zone.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" directive must have \"zone\" parameter",
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    name.len = params.zone.len;
    name.data = (u_char *) params.zone.data;

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_predictive_module);

    if (plcf->limits.elts == NULL) {
        if (ngx_array_init(&plcf->limits, cf->pool, 1,
                           sizeof(ngx_http_predictive_limit_t))
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        level = ngx_array_push(&pmcf->limits);
        if (level == NULL) {
            return NGX_CONF_ERROR;
        }

        *level = plcf;
    }

    limits = plcf->limits.elts;

    for (i = 0; i < plcf->limits.nelts; i++) {
        if (limits[i].shm_zone->shm.name.len == name.len
            && ngx_strncmp(limits[i].shm_zone->shm.name.data, name.data,
                           name.len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" directive with zone \"%V\" "
                               "is duplicate", &cmd->name, &name);
            return NGX_CONF_ERROR;
        }
    }

    limit = ngx_array_push(&plcf->limits);
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(limit, sizeof(ngx_http_predictive_limit_t));

    /* the zone may be declared further down */

    limit->shm_zone = ngx_shared_memory_add(cf, &name, 0,
                                            &ngx_http_predictive_module);
    if (limit->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    limit->condition = condition;
    limit->params = params;
    limit->file = cf->conf_file->file.name.data;
    limit->line = cf->conf_file->line;

    return NGX_CONF_OK;
}


/* ngx_conf_set_num_slot() would not say which value is out of bounds */

static char *
ngx_http_predictive_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_predictive_loc_conf_t *plcf = conf;

    ngx_int_t   code;
    ngx_str_t  *value;

    if (plcf->status_code != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    code = ngx_atoi(value[1].data, value[1].len);

    if (code < 400 || code > 599) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\" directive, "
                           "it must be a number from 400 to 599",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    plcf->status_code = code;

    return NGX_CONF_OK;
}


static char *
ngx_http_predictive_later(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V %V\" is not supported yet by this version "
                       "(" PRD_VERSION_STR ") of the module",
                       &cmd->name, &value[1]);

    return NGX_CONF_ERROR;
}


static void *
ngx_http_predictive_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_predictive_main_conf_t  *pmcf;

    pmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_predictive_main_conf_t));
    if (pmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&pmcf->zones, cf->pool, 4,
                       sizeof(ngx_http_predictive_zone_t *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&pmcf->stores, cf->pool, 2,
                       sizeof(ngx_http_predictive_store_t *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&pmcf->limits, cf->pool, 4,
                       sizeof(ngx_http_predictive_loc_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&pmcf->texts, cf->pool, 8,
                       sizeof(ngx_http_predictive_text_t))
        != NGX_OK)
    {
        return NULL;
    }

    return pmcf;
}


static void *
ngx_http_predictive_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_predictive_loc_conf_t  *plcf;

    plcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_predictive_loc_conf_t));
    if (plcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     plcf->limits = { NULL };
     *     plcf->api = 0;
     */

    plcf->log_level = NGX_CONF_UNSET_UINT;
    plcf->status_code = NGX_CONF_UNSET_UINT;
    plcf->headers = NGX_CONF_UNSET_UINT;
    plcf->dry_run = NGX_CONF_UNSET;
    plcf->problem = NGX_CONF_UNSET;

    return plcf;
}


static char *
ngx_http_predictive_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_predictive_loc_conf_t *prev = parent;
    ngx_http_predictive_loc_conf_t *conf = child;

    if (conf->limits.elts == NULL) {
        conf->limits = prev->limits;
    }

    ngx_conf_merge_uint_value(conf->log_level, prev->log_level, NGX_LOG_ERR);

    conf->delay_log_level = (conf->log_level == NGX_LOG_INFO)
                            ? NGX_LOG_INFO : conf->log_level + 1;

    ngx_conf_merge_uint_value(conf->status_code, prev->status_code,
                              NGX_HTTP_TOO_MANY_REQUESTS);
    ngx_conf_merge_uint_value(conf->headers, prev->headers,
                              NGX_HTTP_PREDICTIVE_HEADERS_OFF);
    ngx_conf_merge_value(conf->dry_run, prev->dry_run, 0);
    ngx_conf_merge_value(conf->problem, prev->problem, 0);

    ngx_http_predictive_api_merge(cf, prev, conf);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_predictive_init(ngx_conf_t *cf)
{
    ngx_str_t                         name;
    ngx_http_handler_pt              *h;
    ngx_http_core_main_conf_t        *cmcf;
    ngx_http_predictive_main_conf_t  *pmcf;

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_predictive_module);

    if (ngx_http_predictive_init_limits(cf, pmcf) != NGX_OK
        || ngx_http_predictive_check_texts(cf, pmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if ((pmcf->zones.nelts || pmcf->stores.nelts)
        && ngx_http_predictive_control_add(cf, pmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (pmcf->limits.nelts == 0) {
        return NGX_OK;
    }

    ngx_str_set(&name, "request_id");

    pmcf->request_id = ngx_http_get_variable_index(cf, &name);
    if (pmcf->request_id == NGX_ERROR) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (ngx_http_predictive_add_handler(cf, cmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_predictive_log_handler;

    return NGX_OK;
}


/*
 * Handlers run from the last to the first, and ours belongs where limit_req
 * is: after realip, which may change the client's address by the location,
 * and before limit_conn, which does not count a request that waits.  A module
 * that is built apart comes last; so the place is made here.
 */

static ngx_int_t
ngx_http_predictive_add_handler(ngx_conf_t *cf,
    ngx_http_core_main_conf_t *cmcf)
{
    ngx_uint_t             i, n;
    ngx_array_t           *handlers;
    ngx_module_t         **modules;
    ngx_http_handler_pt   *h;

    modules = cf->cycle->modules;
    n = 0;

    for (i = 0; modules[i]; i++) {
        if (ngx_strcmp(modules[i]->name, "ngx_http_limit_conn_module") == 0
            || ngx_strcmp(modules[i]->name, "ngx_http_limit_req_module") == 0)
        {
            n++;
        }
    }

    handlers = &cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers;

    if (ngx_array_push(handlers) == NULL) {
        return NGX_ERROR;
    }

    h = handlers->elts;

    for (i = handlers->nelts - 1; i > n; i--) {
        h[i] = h[i - 1];
    }

    h[i] = ngx_http_predictive_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_init_limits(ngx_conf_t *cf,
    ngx_http_predictive_main_conf_t *pmcf)
{
    ngx_uint_t                        i, n;
    ngx_http_predictive_zone_t       *zone;
    ngx_http_predictive_limit_t      *limits;
    ngx_http_predictive_loc_conf_t  **levels;

    levels = pmcf->limits.elts;

    for (i = 0; i < pmcf->limits.nelts; i++) {
        limits = levels[i]->limits.elts;

        for (n = 0; n < levels[i]->limits.nelts; n++) {
            zone = limits[n].shm_zone->data;

            if (zone == NULL) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "unknown predictive zone \"%V\" in %s:%ui",
                              &limits[n].shm_zone->shm.name,
                              limits[n].file, limits[n].line);
                return NGX_ERROR;
            }

            limits[n].zone = zone;

            if (limits[n].params.burst_set) {
                zone->burst_max = ngx_max(zone->burst_max,
                                          limits[n].params.burst);
            }
        }
    }

    if (ngx_http_predictive_init_zones(cf, pmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < pmcf->limits.nelts; i++) {
        limits = levels[i]->limits.elts;

        for (n = 0; n < levels[i]->limits.nelts; n++) {
            ngx_http_predictive_init_limit(&limits[n]);
        }
    }

    return NGX_OK;
}


/* What a request asks of a limit, as far as all requests ask the same. */

static void
ngx_http_predictive_init_limit(ngx_http_predictive_limit_t *limit)
{
    uint32_t                     burst;
    prd_ask_t                   *ask;
    ngx_http_predictive_zone_t  *zone;

    ask = &limit->ask;
    zone = limit->zone;

    burst = limit->params.burst_set ? limit->params.burst
                                    : zone->params.burst;

    ask->burst = ngx_http_predictive_units(zone, (uint64_t) burst * PRD_MILLI);
    ask->cost = ngx_http_predictive_units(zone, zone->params.cost_milli);
    ask->rate = zone->params.rate;
    ask->charged = (zone->charge != NULL);
    ask->delay = 0;

    if (limit->params.nodelay) {
        ask->delay = PRD_NODELAY;

    } else if (limit->params.delay_set) {
        ask->delay = ngx_http_predictive_units(zone,
                              (uint64_t) limit->params.delay * PRD_MILLI);

        /* delay= adds nothing to what burst= admits */

        if (zone->burst == NULL || limit->params.burst_set) {
            ask->delay = ngx_min(ask->delay, ask->burst);
        }
    }

    limit->variable = (limit->condition != NULL || zone->variable);
}


static ngx_int_t
ngx_http_predictive_init_zones(ngx_conf_t *cf,
    ngx_http_predictive_main_conf_t *pmcf)
{
    ngx_uint_t                    i;
    ngx_http_predictive_zone_t   *zone, **zones;

    zones = pmcf->zones.elts;

    for (i = 0; i < pmcf->zones.nelts; i++) {
        zone = zones[i];

        if (zone->params.store.len
            && ngx_http_predictive_init_store(cf, zone) != NGX_OK)
        {
            return NGX_ERROR;
        }

        prd_policy_init(&zone->policy, &zone->params, zone->burst_max);

        if (zone->params.learn != PRD_LEARN_OFF && pmcf->state == NULL) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "predictive zone \"%V\" learns, but without "
                          "\"predictive_state\" what it learned is lost when "
                          "nginx is restarted, in %s:%ui",
                          &zone->name, zone->file, zone->line);
        }

        if (zone->params.learn != PRD_LEARN_OFF && pmcf->state
            && (zone->name.len >= PRD_PROFILE_NAME
                || zone->key.value.len >= PRD_PROFILE_KEY))
        {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "what predictive zone \"%V\" learns is not saved, "
                          "its name or its key is too long, in %s:%ui",
                          &zone->name, zone->file, zone->line);
        }
    }

    return NGX_OK;
}


/* store=: it may be declared further down */

static ngx_int_t
ngx_http_predictive_init_store(ngx_conf_t *cf,
    ngx_http_predictive_zone_t *zone)
{
    ngx_str_t  name;

    name.len = zone->params.store.len;
    name.data = (u_char *) zone->params.store.data;

    zone->store = ngx_http_predictive_find_store(zone->main, &name);

    if (zone->store == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown predictive store \"%V\" in %s:%ui",
                      &name, zone->file, zone->line);
        return NGX_ERROR;
    }

    zone->store->used = 1;

    return NGX_OK;
}


void
ngx_http_predictive_bad_parameter(ngx_conf_t *cf, ngx_str_t *text,
    prd_rc_t rc, const char *why)
{
    if (rc == PRD_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", text);
        return;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "parameter \"%V\" %s", text,
                       why);
}


uint32_t
ngx_http_predictive_units(ngx_http_predictive_zone_t *zone, uint64_t milli)
{
    uint64_t  units;

    units = milli;

    if (zone->policy.unit != PRD_MILLI) {
        units = milli / PRD_MILLI + (milli % PRD_MILLI != 0);
    }

    /* a burst plus a request must fit, too */

    return (uint32_t) ngx_min(units, UINT32_MAX / 2);
}


ngx_int_t
ngx_http_predictive_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_complex_value_t *value)
{
    ngx_http_predictive_text_t        *t;
    ngx_http_predictive_main_conf_t   *pmcf;
    ngx_http_compile_complex_value_t   ccv;

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_predictive_module);

    t = ngx_array_push(&pmcf->texts);
    if (t == NULL) {
        return NGX_ERROR;
    }

    t->text = *text;
    t->file = cf->conf_file->file.name.data;
    t->line = cf->conf_file->line;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = value;

    return ngx_http_compile_complex_value(&ccv);
}


static ngx_int_t
ngx_http_predictive_check_texts(ngx_conf_t *cf,
    ngx_http_predictive_main_conf_t *pmcf)
{
    u_char                      *p, *last;
    ngx_str_t                    name;
    ngx_uint_t                   i;
    ngx_http_core_main_conf_t   *cmcf;
    ngx_http_predictive_text_t  *texts;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    texts = pmcf->texts.elts;

    for (i = 0; i < pmcf->texts.nelts; i++) {
        p = texts[i].text.data;
        last = p + texts[i].text.len;

        for ( ;; ) {
            name = ngx_http_predictive_next_name(&p, last);

            if (name.len == 0) {
                break;
            }

            if (!ngx_http_predictive_known(cmcf, &name)) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "unknown \"%V\" variable in \"%V\" in %s:%ui",
                              &name, &texts[i].text, texts[i].file,
                              texts[i].line);
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* The next "$name" or "${name}"; compiled texts have no others. */

static ngx_str_t
ngx_http_predictive_next_name(u_char **pos, u_char *last)
{
    u_char     ch, *p;
    ngx_str_t  name;

    for (p = *pos; p < last; /* void */ ) {

        if (*p++ != '$' || p == last) {
            continue;
        }

        if (*p == '{') {
            p++;
        }

        name.data = p;

        while (p < last) {
            ch = *p | 0x20;

            if ((ch < 'a' || ch > 'z') && (*p < '0' || *p > '9') && *p != '_')
            {
                break;
            }

            p++;
        }

        name.len = p - name.data;

        /* "$1" is a capture */

        if (name.len && (*name.data < '0' || *name.data > '9')) {
            *pos = p;
            return name;
        }
    }

    ngx_str_null(&name);

    return name;
}


static ngx_uint_t
ngx_http_predictive_known(ngx_http_core_main_conf_t *cmcf, ngx_str_t *name)
{
    ngx_uint_t            i;
    ngx_hash_key_t       *key;
    ngx_http_variable_t  *prefix;

    key = cmcf->variables_keys->keys.elts;

    for (i = 0; i < cmcf->variables_keys->keys.nelts; i++) {
        if (key[i].key.len == name->len
            && ngx_strncasecmp(key[i].key.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    prefix = cmcf->prefix_variables.elts;

    for (i = 0; i < cmcf->prefix_variables.nelts; i++) {
        if (name->len >= prefix[i].name.len
            && ngx_strncasecmp(name->data, prefix[i].name.data,
                               prefix[i].name.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_predictive_variable_index(ngx_conf_t *cf, ngx_str_t *text)
{
    u_char      ch;
    ngx_str_t   name;
    ngx_uint_t  i;

    if (text->len < 2 || text->data[0] != '$') {
        return NGX_DECLINED;
    }

    name.len = text->len - 1;
    name.data = text->data + 1;

    if (name.len > 2 && name.data[0] == '{'
        && name.data[name.len - 1] == '}')
    {
        name.len -= 2;
        name.data++;
    }

    /* "$1" is a capture */

    if (name.data[0] >= '0' && name.data[0] <= '9') {
        return NGX_DECLINED;
    }

    for (i = 0; i < name.len; i++) {
        ch = name.data[i];

        if ((ch < 'a' || ch > 'z') && (ch < 'A' || ch > 'Z')
            && (ch < '0' || ch > '9') && ch != '_')
        {
            return NGX_DECLINED;
        }
    }

    return ngx_http_get_variable_index(cf, &name);
}


/*
 * The chain of header filters is complete only after all postconfigurations,
 * and a configuration that fails later leaves the master with a new chain:
 * each process adds ours when it starts.
 */

static ngx_int_t
ngx_http_predictive_init_worker(ngx_cycle_t *cycle)
{
    ngx_http_predictive_main_conf_t  *pmcf;

    pmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_predictive_module);

    if (pmcf != NULL && pmcf->limits.nelts) {
        ngx_http_predictive_headers_init();
    }

    return ngx_http_predictive_init_process(cycle);
}
