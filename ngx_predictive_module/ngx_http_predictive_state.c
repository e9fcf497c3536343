
/*
 * predictive_state: learned state in a file, over a restart or a binary
 * upgrade.
 *
 * Read in the master, when a configuration with fresh zones is started (and
 * under -t, which looks but loads nothing): the whole file is checked before
 * anything of it is taken.  Written by the forecasting thread, to a file of
 * its own in the same directory and renamed, so that a reader finds the old
 * one or the new one.  A file that cannot be used is renamed to PATH.damaged
 * before the first save, never overwritten.
 *
 * After a binary upgrade two masters have the same PATH.  The header says
 * when the writer's configuration was started; the earlier one gives up once
 * the later one has written.
 *
 * Here: the directive, and the start of a configuration.
 */


#include "ngx_http_predictive_state.h"


#define NGX_HTTP_PREDICTIVE_INTERVAL  60000


static void
ngx_http_predictive_state_cleanup(void *data)
{
    ngx_http_predictive_state_t  *s = data;

    if (s->fd != -1) {
        (void) close(s->fd);
        s->fd = -1;
    }
}


char *
ngx_http_predictive_state(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_predictive_main_conf_t *pmcf = conf;

    u_char                       *p;
    ngx_str_t                    *value, time;
    ngx_int_t                     interval;
    ngx_uint_t                    i;
    ngx_file_info_t               fi;
    ngx_pool_cleanup_t           *cln;
    ngx_http_predictive_state_t  *s;

    if (pmcf->state) {
        return "is duplicate";
    }

    value = cf->args->elts;

    s = ngx_pcalloc(cf->pool, sizeof(ngx_http_predictive_state_t));
    if (s == NULL) {
        return NGX_CONF_ERROR;
    }

    s->file = cf->conf_file->file.name.data;
    s->line = cf->conf_file->line;
    s->interval = NGX_HTTP_PREDICTIVE_INTERVAL;
    s->fd = -1;
    s->cycle = cf->cycle;
    s->main = pmcf;

    /* a reload that fails late never comes to where the file is closed */

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_predictive_state_cleanup;
    cln->data = s;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "interval=", 9) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        time.len = value[i].len - 9;
        time.data = value[i].data + 9;

        interval = ngx_parse_time(&time, 0);

        if (interval == (ngx_int_t) NGX_ERROR || interval < 1000) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\", it must be a time of "
                               "at least 1s", &value[i]);
            return NGX_CONF_ERROR;
        }

        s->interval = interval;
    }

    s->path = value[1];

    if (s->path.len == 0 || s->path.data[s->path.len - 1] == '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid path \"%V\", it must be that of a file",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    if (ngx_conf_full_name(cf->cycle, &s->path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_file_info(s->path.data, &fi) != NGX_FILE_ERROR
        && !ngx_is_file(&fi))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid path \"%V\", there is something that is "
                           "no file", &s->path);
        return NGX_CONF_ERROR;
    }

    /* "/" for "/file"; a full name has a slash */

    p = s->path.data + s->path.len;

    while (p > s->path.data && p[-1] != '/') {
        p--;
    }

    s->name.data = p;
    s->name.len = s->path.data + s->path.len - p;

    s->dir.len = ngx_max(p - s->path.data - 1, 1);
    s->dir.data = ngx_pnalloc(cf->pool, s->dir.len + 1);

    s->temp = ngx_pnalloc(cf->pool, s->path.len + 32);
    s->aside = ngx_pnalloc(cf->pool, s->path.len + 32);
    s->what = ngx_pnalloc(cf->pool, s->path.len + 128);

    if (s->dir.data == NULL || s->temp == NULL || s->aside == NULL
        || s->what == NULL
        || ngx_array_init(&s->zones, cf->pool, 4,
                          sizeof(ngx_http_predictive_saved_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    (void) ngx_cpystrn(s->dir.data, s->path.data, s->dir.len + 1);
    ngx_sprintf((u_char *) s->aside, "%V.damaged%Z", &s->path);

    pmcf->state = s;

    return NGX_CONF_OK;
}


ngx_msec_t
ngx_http_predictive_state_interval(ngx_http_predictive_main_conf_t *pmcf)
{
    return pmcf->state->interval;
}


ngx_http_predictive_main_conf_t *
ngx_http_predictive_state_running(void)
{
    ngx_uint_t   i;
    ngx_cycle_t *cycle;

    cycle = (ngx_cycle_t *) ngx_cycle;

    if (cycle == NULL || cycle->conf_ctx == NULL || cycle->modules == NULL) {
        return NULL;
    }

    /* a module just loaded has no place in that cycle's arrays */

    for (i = 0; cycle->modules[i]; i++) {
        if (cycle->modules[i] == &ngx_http_predictive_module) {
            return ngx_http_cycle_get_module_main_conf(cycle,
                                                 ngx_http_predictive_module);
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_predictive_state_open(ngx_http_predictive_main_conf_t *pmcf,
    ngx_log_t *log)
{
    ngx_time_t                       *tp;
    ngx_http_predictive_state_t      *s;
    ngx_http_predictive_main_conf_t  *old;

    s = pmcf->state;

    if (s == NULL || s->opened) {
        return NGX_OK;
    }

    s->opened = 1;

    /* later than all before it, whatever the clock says */

    tp = ngx_timeofday();
    s->started_ms = (uint64_t) tp->sec * 1000 + tp->msec;

    old = ngx_http_predictive_state_running();

    if (old && old->state) {
        s->started_ms = ngx_max(s->started_ms, old->state->started_ms + 1);
    }

    ngx_http_predictive_state_user(s);
    ngx_http_predictive_state_dir(s, log);

    return ngx_http_predictive_state_index(pmcf, s->zones.pool, log);
}


void
ngx_http_predictive_state_close(ngx_http_predictive_main_conf_t *pmcf)
{
    ngx_http_predictive_state_t  *s;

    s = pmcf->state;

    if (s && s->fd != -1) {
        (void) close(s->fd);
        s->fd = -1;
    }
}
