
/*
 * predictive_store: its block, and its life in a worker.
 */


#include "ngx_http_predictive_cluster.h"

#include <ngx_sha1.h>


#define NGX_HTTP_PREDICTIVE_SECRET_MIN   16
#define NGX_HTTP_PREDICTIVE_FILE_MAX     65536

#define NGX_HTTP_PREDICTIVE_STORE_ZONE   " ngx_http_predictive_store "


/* A block while it is read. */

typedef struct {
    ngx_http_predictive_store_t   *store;
    ngx_str_t                      secret;       /* "file:PATH" */
    ngx_int_t                      mode;
    ngx_int_t                      on_error;
    ngx_flag_t                     ssl;
    ngx_str_t                      ssl_trusted_certificate;
    ngx_str_t                      ssl_certificate;
    ngx_str_t                      ssl_certificate_key;
} ngx_http_predictive_store_block_t;


typedef char *(*ngx_http_predictive_store_pt)(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max);

typedef struct {
    ngx_str_t                      name;
    ngx_http_predictive_store_pt   handler;
    size_t                         offset;
    uint64_t                       min;
    uint64_t                       max;
} ngx_http_predictive_store_line_t;


static char *ngx_http_predictive_store_line(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static char *ngx_http_predictive_store_server(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max);
static char *ngx_http_predictive_store_string(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max);
static char *ngx_http_predictive_store_password(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max);
static char *ngx_http_predictive_store_prefix(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max);
static char *ngx_http_predictive_store_word(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max);
static char *ngx_http_predictive_store_time(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max);
static char *ngx_http_predictive_store_number(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max);

static ngx_int_t ngx_http_predictive_store_check(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block);
static ngx_int_t ngx_http_predictive_store_servers(ngx_conf_t *cf,
    ngx_http_predictive_store_t *store);
static ngx_int_t ngx_http_predictive_store_file(ngx_conf_t *cf,
    const char *what, ngx_str_t *value, ngx_str_t *content);
static ngx_int_t ngx_http_predictive_store_secret(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block);
static ngx_int_t ngx_http_predictive_store_ssl(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block);
static ngx_int_t ngx_http_predictive_store_shm(ngx_conf_t *cf,
    ngx_http_predictive_store_t *store);
static ngx_int_t ngx_http_predictive_store_shm_init(ngx_shm_zone_t *shm_zone,
    void *data);


const char *const  ngx_http_predictive_modes[] = {
    "single", "cluster", "sentinel", NULL
};


static const char *const  ngx_http_predictive_on_errors[] = {
    "local", "pass", "reject", NULL
};


static const char *const  ngx_http_predictive_flags[] = {
    "off", "on", NULL
};


#define ngx_http_predictive_block(field)                                      \
    offsetof(ngx_http_predictive_store_block_t, field)

/* fields of the store are behind those of the block */
#define ngx_http_predictive_field(field)                                      \
    (sizeof(ngx_http_predictive_store_block_t)                                \
     + offsetof(ngx_http_predictive_store_t, field))


static ngx_http_predictive_store_line_t  ngx_http_predictive_store_lines[] = {

    { ngx_string("server"), ngx_http_predictive_store_server,
      ngx_http_predictive_field(servers), 0, 0 },

    { ngx_string("mode"), ngx_http_predictive_store_word,
      ngx_http_predictive_block(mode), 0, 0 },

    { ngx_string("master"), ngx_http_predictive_store_string,
      ngx_http_predictive_field(master), 1, 255 },

    { ngx_string("username"), ngx_http_predictive_store_string,
      ngx_http_predictive_field(username), 1, 255 },

    { ngx_string("password"), ngx_http_predictive_store_password,
      ngx_http_predictive_field(password), 1, 4096 },

    { ngx_string("database"), ngx_http_predictive_store_number,
      ngx_http_predictive_field(database), 0, 65535 },

    { ngx_string("secret"), ngx_http_predictive_store_string,
      ngx_http_predictive_block(secret), 1, 4096 },

    { ngx_string("nodes"), ngx_http_predictive_store_number,
      ngx_http_predictive_field(nodes), 1, 10000 },

    { ngx_string("connect_timeout"), ngx_http_predictive_store_time,
      ngx_http_predictive_field(connect_timeout), 1, 60000 },

    { ngx_string("timeout"), ngx_http_predictive_store_time,
      ngx_http_predictive_field(timeout), 1, 60000 },

    { ngx_string("sync"), ngx_http_predictive_store_time,
      ngx_http_predictive_field(sync), 10, 10000 },

    { ngx_string("wait"), ngx_http_predictive_store_time,
      ngx_http_predictive_field(wait), 1, 10000 },

    { ngx_string("on_error"), ngx_http_predictive_store_word,
      ngx_http_predictive_block(on_error), 0, 0 },

    { ngx_string("ssl"), ngx_http_predictive_store_word,
      ngx_http_predictive_block(ssl), 0, 0 },

    { ngx_string("ssl_verify"), ngx_http_predictive_store_word,
      ngx_http_predictive_field(ssl_verify), 0, 0 },

    { ngx_string("ssl_name"), ngx_http_predictive_store_string,
      ngx_http_predictive_field(ssl_name), 1, 255 },

    { ngx_string("ssl_trusted_certificate"), ngx_http_predictive_store_string,
      ngx_http_predictive_block(ssl_trusted_certificate), 1, 4096 },

    { ngx_string("ssl_certificate"), ngx_http_predictive_store_string,
      ngx_http_predictive_block(ssl_certificate), 1, 4096 },

    { ngx_string("ssl_certificate_key"), ngx_http_predictive_store_string,
      ngx_http_predictive_block(ssl_certificate_key), 1, 4096 },

    { ngx_string("prefix"), ngx_http_predictive_store_prefix,
      ngx_http_predictive_field(prefix), 1, 32 },

    { ngx_null_string, NULL, 0, 0, 0 }
};


char *
ngx_http_predictive_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_predictive_main_conf_t *pmcf = conf;

    char                               *rv;
    ngx_str_t                          *value;
    ngx_conf_t                          save;
    ngx_http_predictive_store_t        *store, **stores;
    ngx_http_predictive_store_block_t   block;

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].len > 64) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid store name \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    store = ngx_http_predictive_find_store(pmcf, &value[1]);

    if (store) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "store \"%V\" is already declared in %s:%ui",
                           &value[1], store->file, store->line);
        return NGX_CONF_ERROR;
    }

    store = ngx_pcalloc(cf->pool, sizeof(ngx_http_predictive_store_t));
    if (store == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_array_init(&store->servers, cf->pool, 2,
                       sizeof(ngx_http_predictive_server_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    store->name = value[1];
    store->main = pmcf;
    store->file = cf->conf_file->file.name.data;
    store->line = cf->conf_file->line;

    store->nodes = NGX_CONF_UNSET_UINT;
    store->database = NGX_CONF_UNSET_UINT;
    store->sync = NGX_CONF_UNSET_MSEC;
    store->wait = NGX_CONF_UNSET_MSEC;
    store->timeout = NGX_CONF_UNSET_MSEC;
    store->connect_timeout = NGX_CONF_UNSET_MSEC;
    store->ssl_verify = NGX_CONF_UNSET;

    ngx_memzero(&block, sizeof(ngx_http_predictive_store_block_t));

    block.store = store;
    block.mode = NGX_CONF_UNSET;
    block.on_error = NGX_CONF_UNSET;
    block.ssl = NGX_CONF_UNSET;

    save = *cf;
    cf->handler = ngx_http_predictive_store_line;
    cf->handler_conf = (void *) &block;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_predictive_store_check(cf, &block) != NGX_OK
        || ngx_http_predictive_store_servers(cf, store) != NGX_OK
        || ngx_http_predictive_store_secret(cf, &block) != NGX_OK
        || ngx_http_predictive_store_ssl(cf, &block) != NGX_OK
        || ngx_http_predictive_store_shm(cf, store) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    stores = ngx_array_push(&pmcf->stores);
    if (stores == NULL) {
        return NGX_CONF_ERROR;
    }

    *stores = store;

    return NGX_CONF_OK;
}


ngx_http_predictive_store_t *
ngx_http_predictive_find_store(ngx_http_predictive_main_conf_t *pmcf,
    ngx_str_t *name)
{
    ngx_uint_t                     i;
    ngx_http_predictive_store_t  **stores;

    stores = pmcf->stores.elts;

    for (i = 0; i < pmcf->stores.nelts; i++) {
        if (stores[i]->name.len == name->len
            && ngx_strncmp(stores[i]->name.data, name->data, name->len) == 0)
        {
            return stores[i];
        }
    }

    return NULL;
}


/* Lines of the block. */


static char *
ngx_http_predictive_store_line(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_http_predictive_store_block_t *block = conf;

    char                              *rv;
    u_char                            *field;
    ngx_str_t                         *value;
    ngx_http_predictive_store_line_t  *line;

    value = cf->args->elts;

    for (line = ngx_http_predictive_store_lines; line->name.len; line++) {
        if (line->name.len == value[0].len
            && ngx_strcmp(line->name.data, value[0].data) == 0)
        {
            break;
        }
    }

    if (line->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown directive \"%V\" in \"predictive_store\"",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts != 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments in \"%V\" directive",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    if (line->offset < sizeof(ngx_http_predictive_store_block_t)) {
        field = (u_char *) block + line->offset;

    } else {
        field = (u_char *) block->store + line->offset
                - sizeof(ngx_http_predictive_store_block_t);
    }

    rv = line->handler(cf, block, &value[1], field, line->min, line->max);

    if (rv == NULL) {
        return NGX_CONF_OK;
    }

    if (rv == NGX_CONF_ERROR) {
        return rv;
    }

    if (*rv == '\0') {

        /* what a password looks like is nobody's business */

        if (line->handler == ngx_http_predictive_store_password) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value in \"%V\" directive", &value[0]);

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"%V\" directive",
                               &value[1], &value[0]);
        }

        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" directive %s",
                       &value[0], rv);

    return NGX_CONF_ERROR;
}


/* Handlers return NULL, "" for a value that is none, or what is wrong. */


static char *
ngx_http_predictive_store_server(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max)
{
    ngx_array_t *servers = field;

    ngx_uint_t                     i;
    ngx_http_predictive_server_t  *server;

    server = servers->elts;

    for (i = 0; i < servers->nelts; i++) {
        if (server[i].text.len == value->len
            && ngx_strncmp(server[i].text.data, value->data, value->len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate server \"%V\"",
                               value);
            return NGX_CONF_ERROR;
        }
    }

    server = ngx_array_push(servers);
    if (server == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(server, sizeof(ngx_http_predictive_server_t));

    /* its port depends on the mode */

    server->text = *value;
    server->line = cf->conf_file->line;

    return NULL;
}


static char *
ngx_http_predictive_store_string(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max)
{
    ngx_str_t *s = field;

    if (s->data) {
        return "is duplicate";
    }

    if (value->len < min || value->len > max) {
        return "";
    }

    *s = *value;

    return NULL;
}


static char *
ngx_http_predictive_store_password(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max)
{
    ngx_str_t *s = field;

    if (s->data) {
        return "is duplicate";
    }

    if (value->len >= 5 && ngx_strncmp(value->data, "file:", 5) == 0) {

        if (ngx_http_predictive_store_file(cf, "password", value, s)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

    } else {
        *s = *value;
    }

    return s->len < min || s->len > max ? "" : NULL;
}


static char *
ngx_http_predictive_store_prefix(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max)
{
    ngx_uint_t  i;

    /* a "{" of its own would put all keys into one slot of a cluster */

    for (i = 0; i < value->len; i++) {
        if (value->data[i] <= ' ' || value->data[i] >= 0x7f
            || value->data[i] == '{' || value->data[i] == '}')
        {
            return "";
        }
    }

    return ngx_http_predictive_store_string(cf, block, value, field, min,
                                            max);
}


/* A mode, what to do on errors, or a flag: the word's number in its list. */

static char *
ngx_http_predictive_store_word(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max)
{
    ngx_int_t *word = field;

    ngx_int_t           i;
    const char *const  *words;

    if (*word != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    words = (word == &block->mode) ? ngx_http_predictive_modes
            : (word == &block->on_error) ? ngx_http_predictive_on_errors
                                         : ngx_http_predictive_flags;

    for (i = 0; words[i]; i++) {
        if (ngx_strcmp(value->data, words[i]) == 0) {
            *word = i;
            return NULL;
        }
    }

    return "";
}


static char *
ngx_http_predictive_store_time(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max)
{
    ngx_msec_t *ms = field;

    ngx_int_t   n;

    if (*ms != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    n = ngx_parse_time(value, 0);

    if (n == NGX_ERROR || (uint64_t) n < min || (uint64_t) n > max) {
        return "";
    }

    *ms = n;

    return NULL;
}


static char *
ngx_http_predictive_store_number(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block, ngx_str_t *value, void *field,
    uint64_t min, uint64_t max)
{
    ngx_uint_t *number = field;

    ngx_int_t   n;

    if (*number != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || (uint64_t) n < min || (uint64_t) n > max) {
        return "";
    }

    *number = n;

    return NULL;
}


/* The whole block. */


static ngx_int_t
ngx_http_predictive_store_check(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block)
{
    ngx_str_t                    *name;
    const char                   *what;
    ngx_http_predictive_store_t  *store;

    store = block->store;
    name = &store->name;
    what = NULL;

    ngx_conf_init_value(block->mode, NGX_HTTP_PREDICTIVE_SINGLE);
    ngx_conf_init_value(block->on_error, NGX_HTTP_PREDICTIVE_ON_ERROR_LOCAL);

    store->mode = block->mode;
    store->on_error = block->on_error;

    ngx_conf_init_uint_value(store->nodes, 1);
    ngx_conf_init_msec_value(store->sync, 100);
    ngx_conf_init_msec_value(store->wait, 2);
    ngx_conf_init_msec_value(store->timeout, 200);
    ngx_conf_init_msec_value(store->connect_timeout, 500);

    if (store->prefix.data == NULL) {
        ngx_str_set(&store->prefix, "prd");
    }

    if (store->servers.nelts == 0) {
        what = "has no \"server\"";

    } else if (block->secret.len == 0) {
        what = "has no \"secret\"";

    } else if (store->servers.nelts > 1
               && store->mode == NGX_HTTP_PREDICTIVE_SINGLE)
    {
        what = "has several servers, which need \"mode\" to be \"cluster\" "
               "or \"sentinel\"";

    } else if (store->mode == NGX_HTTP_PREDICTIVE_SENTINEL
               && store->master.len == 0)
    {
        what = "has no \"master\" that its sentinels could be asked for";

    } else if (store->mode != NGX_HTTP_PREDICTIVE_SENTINEL
               && store->master.len)
    {
        what = "has a \"master\", which is only of use with mode sentinel";

    } else if (store->mode == NGX_HTTP_PREDICTIVE_CLUSTER
               && store->database != NGX_CONF_UNSET_UINT && store->database)
    {
        what = "has a \"database\", but a cluster has only number 0";

    } else if (store->username.len && store->password.len == 0) {
        what = "has a \"username\" but no \"password\"";

    } else if ((block->ssl_certificate.len == 0)
               != (block->ssl_certificate_key.len == 0))
    {
        what = "needs both \"ssl_certificate\" and \"ssl_certificate_key\"";

    } else if (block->ssl != 1
               && (store->ssl_verify == 1 || store->ssl_name.len
                   || block->ssl_trusted_certificate.len
                   || block->ssl_certificate.len))
    {
        what = "has parameters for TLS, but not \"ssl on\"";
    }

    if (what) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "store \"%V\" %s", name,
                           what);
        return NGX_ERROR;
    }

    ngx_conf_init_uint_value(store->database, 0);
    ngx_conf_init_value(store->ssl_verify, 1);

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_store_servers(ngx_conf_t *cf,
    ngx_http_predictive_store_t *store)
{
    ngx_url_t                      u;
    ngx_uint_t                     i;
    ngx_http_predictive_server_t  *servers;

    servers = store->servers.elts;

    for (i = 0; i < store->servers.nelts; i++) {

        ngx_memzero(&u, sizeof(ngx_url_t));

        u.url = servers[i].text;
        u.default_port = (store->mode == NGX_HTTP_PREDICTIVE_SENTINEL)
                         ? 26379 : 6379;

        if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs == 0
            || u.uri.len)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "%s in server \"%V\" of store \"%V\" in %s:%ui",
                          u.err ? u.err : "invalid host", &servers[i].text,
                          &store->name, store->file, servers[i].line);
            return NGX_ERROR;
        }

        servers[i].host = u.host;
        servers[i].port = u.port;
        servers[i].addrs = u.addrs;
        servers[i].naddrs = u.naddrs;

        if (u.addrs[0].sockaddr->sa_family == AF_UNIX) {
            servers[i].host = servers[i].text;
            servers[i].port = 0;
            servers[i].literal = 1;

        } else if (u.host.len > 2 && u.host.data[0] == '[') {
            servers[i].host.data++;
            servers[i].host.len -= 2;
        }
    }

    return NGX_OK;
}


/* What is in the file of "file:PATH", which nobody else may read. */

static ngx_int_t
ngx_http_predictive_store_file(ngx_conf_t *cf, const char *what,
    ngx_str_t *value, ngx_str_t *content)
{
    off_t            size;
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_str_t        path;
    ngx_file_info_t  fi;

    if (value->len < 6 || ngx_strncmp(value->data, "file:", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%s\" directive, it must "
                           "be \"file:PATH\"", value, what);
        return NGX_ERROR;
    }

    path.data = value->data + 5;
    path.len = value->len - 5;

    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(path.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" of \"%s\" failed", &path,
                           what);
        return NGX_ERROR;
    }

    n = NGX_ERROR;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", &path);
        goto done;
    }

    size = ngx_file_size(&fi);

    if (!ngx_is_file(&fi) || size > NGX_HTTP_PREDICTIVE_FILE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" is no file of at most 64k",
                           &path, what);
        goto done;
    }

    if (fi.st_mode & S_IRWXO) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "file \"%V\" of \"%s\" is open to all users, its "
                           "mode must be 0600 or 0640", &path, what);
        goto done;
    }

    content->data = ngx_pnalloc(cf->pool, size + 1);
    if (content->data == NULL) {
        goto done;
    }

    n = ngx_read_fd(fd, content->data, size);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed", &path);
        goto done;
    }

    while (n && (content->data[n - 1] == LF || content->data[n - 1] == CR)) {
        n--;
    }

    content->len = n;

done:

    (void) ngx_close_file(fd);

    return n < 0 ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_predictive_store_secret(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block)
{
    u_char         sum[20];
    ngx_str_t      content;
    ngx_uint_t     i;
    ngx_sha1_t     sha;
    prd_secret_t  *secret;

    static const char  domain[] = "predictive_store secret 1\n";

    if (ngx_http_predictive_store_file(cf, "secret", &block->secret, &content)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (content.len < NGX_HTTP_PREDICTIVE_SECRET_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "secret \"%V\" of store \"%V\" has %uz bytes, it "
                           "must have at least %d random ones",
                           &block->secret, &block->store->name, content.len,
                           NGX_HTTP_PREDICTIVE_SECRET_MIN);
        return NGX_ERROR;
    }

    ngx_sha1_init(&sha);
    ngx_sha1_update(&sha, domain, sizeof(domain) - 1);
    ngx_sha1_update(&sha, content.data, content.len);
    ngx_sha1_final(sum, &sha);

    ngx_explicit_memzero(content.data, content.len);

    /* the same on every machine */

    secret = &block->store->secret;

    for (i = 0; i < 8; i++) {
        secret->k0 |= (uint64_t) sum[i] << (8 * i);
        secret->k1 |= (uint64_t) sum[8 + i] << (8 * i);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_store_ssl(ngx_conf_t *cf,
    ngx_http_predictive_store_block_t *block)
{
#if (NGX_SSL)
    ngx_str_t                     value;
    ngx_pool_cleanup_t           *cln;
    ngx_http_predictive_store_t  *store;
#endif

    if (block->ssl != 1) {
        return NGX_OK;
    }

#if (NGX_SSL)

    store = block->store;

    store->ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (store->ssl == NULL) {
        return NGX_ERROR;
    }

    store->ssl->log = cf->log;

    if (ngx_ssl_create(store->ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(store->ssl);
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = store->ssl;

    /* what could not be written may have moved when it is tried again */

    SSL_CTX_set_mode(store->ssl->ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    /* nginx's own messages know no line */

    if (block->ssl_certificate.len) {
        value = block->ssl_certificate;

        if (ngx_ssl_certificate(cf, store->ssl, &block->ssl_certificate,
                                &block->ssl_certificate_key, NULL)
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "store \"%V\": certificate \"%V\" or its key "
                               "cannot be used", &store->name, &value);
            return NGX_ERROR;
        }
    }

    if (block->ssl_trusted_certificate.len) {
        value = block->ssl_trusted_certificate;

        if (ngx_ssl_trusted_certificate(cf, store->ssl,
                                        &block->ssl_trusted_certificate, 9)
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "store \"%V\": trusted certificates \"%V\" "
                               "cannot be used", &store->name, &value);
            return NGX_ERROR;
        }

    } else if (store->ssl_verify
               && SSL_CTX_set_default_verify_paths(store->ssl->ctx) == 0)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_default_verify_paths() failed");
        return NGX_ERROR;
    }

    return NGX_OK;

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "store \"%V\" has \"ssl on\", but this nginx was built "
                       "without TLS", &block->store->name);
    return NGX_ERROR;

#endif
}


/* Statistics outlive reloads, in a zone of each store's own. */

static ngx_int_t
ngx_http_predictive_store_shm(ngx_conf_t *cf,
    ngx_http_predictive_store_t *store)
{
    u_char     *p;
    ngx_str_t   name;

    name.len = sizeof(NGX_HTTP_PREDICTIVE_STORE_ZONE) - 1 + store->name.len;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(name.data, NGX_HTTP_PREDICTIVE_STORE_ZONE,
                   sizeof(NGX_HTTP_PREDICTIVE_STORE_ZONE) - 1);
    ngx_memcpy(p, store->name.data, store->name.len);

    store->shm_zone = ngx_shared_memory_add(cf, &name, 8 * ngx_pagesize,
                                            &ngx_http_predictive_module);
    if (store->shm_zone == NULL) {
        return NGX_ERROR;
    }

    store->shm_zone->init = ngx_http_predictive_store_shm_init;
    store->shm_zone->data = store;

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_store_shm_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t                 *shpool;
    ngx_http_predictive_store_t     *store;
    ngx_http_predictive_store_sh_t  *sh;

    store = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data || shm_zone->shm.exists) {
        sh = shpool->data;

        if (sh == NULL || sh->magic != NGX_HTTP_PREDICTIVE_STORE_MAGIC) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "predictive store \"%V\": shared memory of another "
                          "version", &store->name);
            return NGX_ERROR;
        }

    } else {
        sh = ngx_slab_calloc(shpool, sizeof(ngx_http_predictive_store_sh_t));
        if (sh == NULL) {
            return NGX_ERROR;
        }

        sh->magic = NGX_HTTP_PREDICTIVE_STORE_MAGIC;
        shpool->data = sh;
    }

    store->sh = sh;

    return NGX_OK;
}


/* In a worker. */


ngx_int_t
ngx_http_predictive_stores_init(ngx_http_predictive_main_conf_t *pmcf,
    ngx_cycle_t *cycle, ngx_uint_t slot)
{
    ngx_uint_t                        i;
    ngx_resolver_t                   *resolver;
    ngx_http_conf_ctx_t              *ctx;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_predictive_store_t     **stores, *store;
    ngx_http_predictive_topology_t   *topology;

    stores = pmcf->stores.elts;

    /* that of the level http */

    ctx = (ngx_http_conf_ctx_t *) ngx_get_conf(cycle->conf_ctx,
                                               ngx_http_module);
    clcf = ctx->loc_conf[ngx_http_core_module.ctx_index];
    resolver = clcf->resolver;

    if (resolver && resolver->connections.nelts == 0) {
        resolver = NULL;
    }

    for (i = 0; i < pmcf->stores.nelts; i++) {
        store = stores[i];

        if (store->sh == NULL) {
            continue;
        }

        store->resolver = resolver;
        store->resolver_timeout = 5000;

        topology = ngx_calloc(sizeof(ngx_http_predictive_topology_t),
                              cycle->log);
        if (topology == NULL) {
            return NGX_ERROR;
        }

        topology->store = store;
        topology->log = cycle->log;
        topology->stat = &store->sh->stats[slot];

        atomic_store(&topology->stat->up, 0);
        atomic_store(&topology->stat->latency_us, 0);
        atomic_store(&topology->stat->max_us, 0);
        atomic_store(&topology->stat->max_before_us, 0);
        atomic_store(&topology->stat->pid, (uint64_t) ngx_pid);

        store->topology = topology;

        if (ngx_http_predictive_topology_init(topology) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_predictive_stores_exit(ngx_http_predictive_main_conf_t *pmcf)
{
    uint64_t                          pid;
    ngx_uint_t                        i;
    ngx_http_predictive_store_t     **stores;
    ngx_http_predictive_topology_t   *topology;

    stores = pmcf->stores.elts;

    for (i = 0; i < pmcf->stores.nelts; i++) {
        topology = stores[i]->topology;

        if (topology == NULL) {
            continue;
        }

        stores[i]->topology = NULL;

        ngx_http_predictive_topology_exit(topology);

        atomic_store(&topology->stat->up, 0);

        pid = ngx_pid;
        (void) atomic_compare_exchange_strong(&topology->stat->pid, &pid, 0);

        ngx_free(topology);
    }
}
