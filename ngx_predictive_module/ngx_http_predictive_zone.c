
/*
 * predictive_zone: its directive, and the shared memory behind it.
 *
 * The slab pool that nginx puts at the start of a zone serves for two pieces
 * only: a small head, found through the pool's `data`, and all that is left
 * as the engine's zone.  They are written when the zone is created, by the
 * master (or under -t) before any worker knows of it.  When a reload inherits
 * a zone, nothing in it is written: old workers go on, and the new
 * configuration may still fail.
 */


#include <sys/random.h>

#include "ngx_http_predictive_module.h"
#include "ngx_http_predictive_redis.h"


/* In the slab pool, constant after creation. */

typedef struct {
    void    *zone;
    size_t   size;
    size_t   key_len;
    u_char   key[1];
} ngx_http_predictive_head_t;


static char *ngx_http_predictive_zone_name(ngx_conf_t *cf,
    ngx_http_predictive_zone_t *zone, ngx_str_t *word);
static char *ngx_http_predictive_zone_values(ngx_conf_t *cf,
    ngx_http_predictive_zone_t *zone);
static char *ngx_http_predictive_zone_value(ngx_conf_t *cf, prd_str_t *text,
    ngx_http_complex_value_t **cv);
static ngx_int_t ngx_http_predictive_zone_quote(ngx_conf_t *cf,
    ngx_http_predictive_zone_t *zone);
static size_t ngx_http_predictive_zone_bytes(ngx_http_predictive_zone_t *zone);
static size_t ngx_http_predictive_shm_size(ngx_http_predictive_zone_t *zone);

static ngx_int_t ngx_http_predictive_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_predictive_create_zone(
    ngx_http_predictive_zone_t *zone, ngx_slab_pool_t *shpool);
static ngx_int_t ngx_http_predictive_inherit_zone(
    ngx_http_predictive_zone_t *zone, ngx_http_predictive_head_t *head);
static ngx_int_t ngx_http_predictive_zone_secret(
    ngx_http_predictive_zone_t *zone, prd_secret_t *secret, ngx_log_t *log);
static ngx_int_t ngx_http_predictive_random(void *buf, size_t size,
    ngx_log_t *log);


char *
ngx_http_predictive_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_predictive_main_conf_t *pmcf = conf;

    char                               *rv;
    prd_rc_t                            rc;
    ngx_str_t                          *value;
    prd_str_t                           word;
    ngx_uint_t                          i;
    const char                         *why;
    ngx_shm_zone_t                     *shm_zone;
    ngx_http_predictive_zone_t         *zone, *other, **zp;

    value = cf->args->elts;
    why = "";

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_predictive_zone_t));
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->main = pmcf;
    zone->file = cf->conf_file->file.name.data;
    zone->line = cf->conf_file->line;

    prd_params_init(&zone->params);

    if (ngx_http_predictive_compile(cf, &value[1], &zone->key) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    zone->key_index = ngx_http_predictive_variable_index(cf, &value[1]);
    if (zone->key_index == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0) {

            rv = ngx_http_predictive_zone_name(cf, zone, &value[i]);
            if (rv != NGX_CONF_OK) {
                return rv;
            }

            continue;
        }

        word.len = value[i].len;
        word.data = (char *) value[i].data;

        rc = prd_params_set(&zone->params, word, &why);

        if (rc != PRD_OK) {
            ngx_http_predictive_bad_parameter(cf, &value[i], rc, why);
            return NGX_CONF_ERROR;
        }
    }

    if (zone->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" directive must have \"zone\" parameter",
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (prd_params_end(&zone->params, &why) != PRD_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "predictive zone \"%V\" %s", &zone->name, why);
        return NGX_CONF_ERROR;
    }

    if (zone->params.rate_bare) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "predictive zone \"%V\" has a rate without a "
                           "unit, which is taken as requests per second: "
                           "write \"r/s\"", &zone->name);
    }

    rv = ngx_http_predictive_zone_values(cf, zone);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_predictive_zone_quote(cf, zone) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    shm_zone = ngx_shared_memory_add(cf, &zone->name,
                                     ngx_http_predictive_shm_size(zone),
                                     &ngx_http_predictive_module);
    if (shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (shm_zone->data) {
        other = shm_zone->data;

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "predictive zone \"%V\" is already declared for "
                           "key \"%V\" in %s:%ui", &zone->name,
                           &other->key.value, other->file, other->line);
        return NGX_CONF_ERROR;
    }

    zp = ngx_array_push(&pmcf->zones);
    if (zp == NULL) {
        return NGX_CONF_ERROR;
    }

    *zp = zone;

    shm_zone->init = ngx_http_predictive_init_zone;
    shm_zone->data = zone;

    zone->shm_zone = shm_zone;

    return NGX_CONF_OK;
}


/* zone=NAME:SIZE */

static char *
ngx_http_predictive_zone_name(ngx_conf_t *cf, ngx_http_predictive_zone_t *zone,
    ngx_str_t *word)
{
    u_char     *p, *last;
    ssize_t     size;
    ngx_str_t   s;

    last = word->data + word->len;

    s.data = word->data + 5;
    p = ngx_strlchr(s.data, last, ':');

    if (p == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", word);
        return NGX_CONF_ERROR;
    }

    zone->name.data = s.data;
    zone->name.len = p - s.data;

    if (zone->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone name \"%V\"", word);
        return NGX_CONF_ERROR;
    }

    s.data = p + 1;
    s.len = last - s.data;

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", word);
        return NGX_CONF_ERROR;
    }

    if (size < (ssize_t) (8 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, it needs %uzk at least",
                           word, 8 * ngx_pagesize / 1024);
        return NGX_CONF_ERROR;
    }

    zone->size = size;

    return NGX_CONF_OK;
}


/* Parameters that may be variables. */

static char *
ngx_http_predictive_zone_values(ngx_conf_t *cf,
    ngx_http_predictive_zone_t *zone)
{
    ngx_uint_t     i;
    prd_params_t  *p;

    p = &zone->params;

    struct {
        prd_str_t                  *text;
        ngx_http_complex_value_t  **cv;
        ngx_uint_t                  request;    /* needed before a verdict */

    } values[] = {
        { &p->rate_var, &zone->rate, 1 },
        { &p->burst_var, &zone->burst, 1 },
        { &p->cost_var, &zone->cost, 1 },
        { &p->class_, &zone->class_, 1 },
        { &p->newcomer, &zone->newcomer, 1 },
        { &p->charge, &zone->charge, 0 }
    };

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {

        if (values[i].text->len == 0) {
            continue;
        }

        if (ngx_http_predictive_zone_value(cf, values[i].text, values[i].cv)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }

        zone->variable |= values[i].request;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_predictive_zone_value(ngx_conf_t *cf, prd_str_t *text,
    ngx_http_complex_value_t **cv)
{
    ngx_str_t  value;

    value.len = text->len;
    value.data = (u_char *) text->data;

    *cv = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (*cv == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_predictive_compile(cf, &value, *cv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * The name as a String of structured fields (RFC 9651), which is a string of
 * JSON as well: printable ASCII, quote and backslash escaped.  The rest, which
 * neither could carry, is percent-encoded.
 */

static ngx_int_t
ngx_http_predictive_zone_quote(ngx_conf_t *cf,
    ngx_http_predictive_zone_t *zone)
{
    u_char      ch, *p;
    ngx_uint_t  i;

    p = ngx_pnalloc(cf->pool, 3 * zone->name.len + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    zone->quoted.data = p;

    *p++ = '"';

    for (i = 0; i < zone->name.len; i++) {
        ch = zone->name.data[i];

        if (ch < 0x20 || ch > 0x7e) {
            p = ngx_sprintf(p, "%%%02XD", ch);
            continue;
        }

        if (ch == '"' || ch == '\\') {
            *p++ = '\\';
        }

        *p++ = ch;
    }

    *p++ = '"';

    zone->quoted.len = p - zone->quoted.data;

    return NGX_OK;
}


/* What the engine gets: whole pages, as the slab allocator gives them. */

static size_t
ngx_http_predictive_zone_bytes(ngx_http_predictive_zone_t *zone)
{
    return ngx_align(prd_zone_size(zone->size), ngx_pagesize);
}


/*
 * The size in the configuration is what clients get.  Added are the engine's
 * fixed part, the head, and what the slab allocator needs for itself: a header
 * with 9 or so slots, a descriptor a page, and the rounding of both.
 */

static size_t
ngx_http_predictive_shm_size(ngx_http_predictive_zone_t *zone)
{
    size_t  size, pages;

    size = sizeof(ngx_http_predictive_head_t) + zone->key.value.len
           + sizeof(" in predictive zone \"\"") + zone->name.len;

    pages = ngx_http_predictive_zone_bytes(zone) / ngx_pagesize
            + size / ngx_pagesize + 6;

    size = pages * (ngx_pagesize + sizeof(ngx_slab_page_t))
           + sizeof(ngx_slab_pool_t)
           + 16 * (sizeof(ngx_slab_page_t) + sizeof(ngx_slab_stat_t));

    return ngx_align(size, ngx_pagesize);
}


ngx_http_predictive_zone_t *
ngx_http_predictive_find_zone(ngx_http_predictive_main_conf_t *pmcf,
    ngx_str_t *name)
{
    ngx_uint_t                    i;
    ngx_http_predictive_zone_t  **zones;

    zones = pmcf->zones.elts;

    for (i = 0; i < pmcf->zones.nelts; i++) {
        if (zones[i]->name.len == name->len
            && ngx_strncmp(zones[i]->name.data, name->data, name->len) == 0)
        {
            return zones[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_predictive_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t             *shpool;
    ngx_http_predictive_zone_t  *zone;

    zone = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data || shm_zone->shm.exists) {
        return ngx_http_predictive_inherit_zone(zone, shpool->data);
    }

    return ngx_http_predictive_create_zone(zone, shpool);
}


static ngx_int_t
ngx_http_predictive_create_zone(ngx_http_predictive_zone_t *zone,
    ngx_slab_pool_t *shpool)
{
    size_t                       len;
    prd_rc_t                     rc;
    ngx_int_t                    found;
    ngx_log_t                   *log;
    prd_secret_t                 secret;
    ngx_http_predictive_head_t  *head;

    log = zone->shm_zone->shm.log;

    len = sizeof(" in predictive zone \"\"") + zone->name.len;

    shpool->log_ctx = ngx_slab_alloc(shpool, len);
    if (shpool->log_ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(shpool->log_ctx, " in predictive zone \"%V\"%Z", &zone->name);

    len = zone->key.value.len;

    head = ngx_slab_alloc(shpool, sizeof(ngx_http_predictive_head_t) + len);
    if (head == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(head->key, zone->key.value.data, len);
    head->key_len = len;
    head->size = ngx_http_predictive_zone_bytes(zone);

    head->zone = ngx_slab_alloc(shpool, head->size);
    if (head->zone == NULL) {
        return NGX_ERROR;
    }

    /* fresh memory is zero; not touched, what nobody uses costs nothing */

#if (NGX_DEBUG_MALLOC || NGX_HAVE_DEBUG_MALLOC)
    ngx_memzero(head->zone, head->size);
#endif

    found = ngx_http_predictive_zone_secret(zone, &secret, log);

    if (found == NGX_ERROR) {
        return NGX_ERROR;
    }

    rc = prd_zone_init(head->zone, head->size, zone->policy.unit, &secret,
                       &zone->policy, ngx_time(), (uint32_t) ngx_current_msec);

    ngx_memzero(&secret, sizeof(prd_secret_t));

    if (rc == PRD_OK) {
        rc = prd_zone_attach(&zone->view, head->zone, head->size,
                             &zone->policy, PRD_WORKERS, (uint32_t) ngx_pid,
                             ngx_http_predictive_alive);
    }

    if (rc != PRD_OK) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "predictive zone \"%V\" of %uz bytes cannot be laid "
                      "out: %s, in %s:%ui", &zone->name, head->size,
                      prd_strerror(rc), zone->file, zone->line);
        return NGX_ERROR;
    }

    if (zone->store) {
        atomic_store(&zone->view.zone->nodes, (uint32_t) zone->store->nodes);
    }

    shpool->data = head;
    zone->fresh = 1;

    if (found == NGX_OK
        && ngx_http_predictive_state_load(zone->main, zone, log) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Of a zone of a store it is the store's, so that all nodes have the same key
 * for a client.  Else that of the learned state, or a new one.  NGX_OK: there
 * is learned state of this secret; NGX_DECLINED: none.
 */

static ngx_int_t
ngx_http_predictive_zone_secret(ngx_http_predictive_zone_t *zone,
    prd_secret_t *secret, ngx_log_t *log)
{
    ngx_int_t  found;

    found = ngx_http_predictive_state_secret(zone->main, &zone->name,
                                             &zone->key.value, secret, log);

    if (found == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (zone->store) {

        if (found == NGX_OK
            && ngx_memcmp(secret, &zone->store->secret, sizeof(prd_secret_t))
               != 0)
        {
            ngx_log_error(NGX_LOG_WARN, log, 0,
                          "predictive zone \"%V\": what was learned on this "
                          "host has another secret than store \"%V\", it "
                          "cannot be used, in %s:%ui", &zone->name,
                          &zone->store->name, zone->file, zone->line);
            found = NGX_DECLINED;
        }

        *secret = zone->store->secret;

        return found;
    }

    if (found == NGX_DECLINED
        && ngx_http_predictive_random(secret, sizeof(prd_secret_t), log)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return found;
}


/* Nothing is written here, see above. */

static ngx_int_t
ngx_http_predictive_inherit_zone(ngx_http_predictive_zone_t *zone,
    ngx_http_predictive_head_t *head)
{
    prd_rc_t    rc;
    ngx_log_t  *log;
    ngx_str_t   key;

    log = zone->shm_zone->shm.log;

    key.len = head->key_len;
    key.data = head->key;

    if (key.len != zone->key.value.len
        || ngx_memcmp(key.data, zone->key.value.data, key.len) != 0)
    {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "predictive zone \"%V\" uses the \"%V\" key while "
                      "previously it used the \"%V\" key, in %s:%ui",
                      &zone->name, &zone->key.value, &key,
                      zone->file, zone->line);
        return NGX_ERROR;
    }

    rc = prd_zone_attach(&zone->view, head->zone, head->size, &zone->policy,
                         PRD_WORKERS, (uint32_t) ngx_pid,
                         ngx_http_predictive_alive);

    if (rc != PRD_OK) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "predictive zone \"%V\" cannot be taken over: %s; "
                      "restart nginx instead of reloading it, in %s:%ui",
                      &zone->name, prd_strerror(rc), zone->file, zone->line);
        return NGX_ERROR;
    }

    if (zone->policy.leased != zone->view.zone->leased) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "predictive zone \"%V\" has %s store now and had %s "
                      "before; restart nginx, or name the zone otherwise, "
                      "in %s:%ui",
                      &zone->name, zone->store ? "a" : "no",
                      zone->store ? "none" : "one",
                      zone->file, zone->line);
        return NGX_ERROR;
    }

    if (zone->store
        && ngx_memcmp(&zone->view.zone->secret, &zone->store->secret,
                      sizeof(prd_secret_t))
           != 0)
    {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "predictive zone \"%V\" has hashed its keys with "
                      "another secret than that of store \"%V\"; restart "
                      "nginx, or name the zone otherwise, in %s:%ui",
                      &zone->name, &zone->store->name, zone->file,
                      zone->line);
        return NGX_ERROR;
    }

    if (zone->view.zone->unit != zone->policy.unit) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "predictive zone \"%V\" counts in 1/%ui of a request "
                      "now and counted in 1/%ui before: a burst or \"max\" "
                      "has crossed 2000000; restart nginx, or name the zone "
                      "otherwise, in %s:%ui", &zone->name,
                      (ngx_uint_t) zone->policy.unit,
                      (ngx_uint_t) zone->view.zone->unit,
                      zone->file, zone->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Random bytes for a secret.  nginx's own random numbers are seeded by time
 * and pid, which would not keep hashes from being reversed.
 */

static ngx_int_t
ngx_http_predictive_random(void *buf, size_t size, ngx_log_t *log)
{
    ssize_t   n;
    ngx_fd_t  fd;

    if (getrandom(buf, size, 0) == (ssize_t) size) {
        return NGX_OK;
    }

    fd = ngx_open_file("/dev/urandom", NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      ngx_open_file_n " \"/dev/urandom\" failed");
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, buf, size);

    if (n != (ssize_t) size) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      ngx_read_fd_n " \"/dev/urandom\" failed");
    }

    (void) ngx_close_file(fd);

    return n == (ssize_t) size ? NGX_OK : NGX_ERROR;
}


uint64_t
ngx_http_predictive_parent_tag(ngx_http_predictive_zone_t *zone,
    ngx_str_t *value)
{
    return prd_tag(prd_hash_newcomer(&zone->view.zone->secret, value->data,
                                     value->len));
}


int
ngx_http_predictive_alive(uint32_t pid)
{
    return kill((pid_t) pid, 0) == 0 || ngx_errno == NGX_EPERM;
}
