
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
 * A zone in the file that is not in the configuration is dropped, with a
 * notice.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <dirent.h>
#include <grp.h>

#include "ngx_http_predictive_module.h"


#define NGX_HTTP_PREDICTIVE_INTERVAL  60000
#define NGX_HTTP_PREDICTIVE_BUFFER    65536
#define NGX_HTTP_PREDICTIVE_GROUPS    64


/* A zone in the file, and where. */

typedef struct {
    ngx_str_t      name;
    ngx_str_t      key;
    prd_secret_t   secret;
    off_t          offset;
} ngx_http_predictive_saved_t;


struct ngx_http_predictive_state_s {
    ngx_str_t      path;                  /* all with a terminator */
    ngx_str_t      dir;
    ngx_str_t      name;                  /* of the file in dir */
    ngx_msec_t     interval;

    u_char        *file;                  /* where it was written */
    ngx_uint_t     line;
    ngx_cycle_t   *cycle;

    /* written in the master, before workers are forked */
    uint64_t       started_ms;
    uint64_t       written_s;             /* of the file */
    uint32_t       version;
    ngx_array_t    zones;                 /* ngx_http_predictive_saved_t */
    uid_t          uid;                   /* whose the file is to be; */
    gid_t          gid;                   /* -1: whoever writes it */
    unsigned       workers:1;             /* they run as that user */
    dev_t          dev;                   /* of a file that is damaged */
    ino_t          ino;
    unsigned       opened:1;
    unsigned       damaged:1;

    /* while the file is read, or (in the thread) written */
    int            fd;
    off_t          offset;
    size_t         at;
    size_t         len;
    u_char         buffer[NGX_HTTP_PREDICTIVE_BUFFER];

    /* in the thread */
    ngx_http_predictive_main_conf_t  *main;
    char          *temp;                  /* path.len + 32 bytes each */
    char          *aside;
    char          *what;                  /* path.len + 128 bytes */
    unsigned       swept:1;
};


static void ngx_http_predictive_state_user(ngx_http_predictive_state_t *s);
static void ngx_http_predictive_state_dir(ngx_http_predictive_state_t *s,
    ngx_log_t *log);
static const char *ngx_http_predictive_state_barred(
    ngx_http_predictive_state_t *s);
static ngx_uint_t ngx_http_predictive_state_may(struct stat *st, int mode,
    uid_t uid, gid_t *groups, int ngroups);
static ngx_int_t ngx_http_predictive_state_index(
    ngx_http_predictive_main_conf_t *pmcf, ngx_pool_t *pool, ngx_log_t *log);
static const char *ngx_http_predictive_state_verify(
    ngx_http_predictive_state_t *s, ngx_pool_t *pool, ngx_int_t *rc);
static prd_rc_t ngx_http_predictive_state_read(void *data, void *p,
    size_t len);
static void ngx_http_predictive_state_unused(
    ngx_http_predictive_main_conf_t *pmcf, ngx_log_t *log);
static ngx_http_predictive_saved_t *ngx_http_predictive_state_find(
    ngx_http_predictive_state_t *s, ngx_str_t *zone);
static ngx_http_predictive_zone_t *ngx_http_predictive_state_previous(
    ngx_str_t *name, ngx_str_t *key);

static const char *ngx_http_predictive_state_failed(
    ngx_http_predictive_state_t *s, const char *call, const char *path);
static const char *ngx_http_predictive_state_make_room(
    ngx_http_predictive_state_t *s, ngx_uint_t rename_damaged);
static prd_rc_t ngx_http_predictive_state_write_all(
    ngx_http_predictive_main_conf_t *pmcf, uint64_t now_s, uint32_t now_ms);
static prd_rc_t ngx_http_predictive_state_write(void *data, const void *p,
    size_t len);
static prd_rc_t ngx_http_predictive_state_flush(
    ngx_http_predictive_state_t *s);
static void ngx_http_predictive_state_sweep(ngx_http_predictive_state_t *s);


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


/* The main configuration of the running cycle, when one is to follow it. */

static ngx_http_predictive_main_conf_t *
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


/*
 * Whom workers run as.  A single process does not change its user, but what
 * it writes is to be of use to workers later.
 */

static void
ngx_http_predictive_state_user(ngx_http_predictive_state_t *s)
{
    ngx_core_conf_t  *ccf;

    s->uid = (uid_t) -1;
    s->gid = (gid_t) -1;

    ccf = (ngx_core_conf_t *) ngx_get_conf(s->cycle->conf_ctx,
                                           ngx_core_module);

    if (geteuid() == 0 && ccf->user != (ngx_uid_t) NGX_CONF_UNSET_UINT) {
        s->uid = ccf->user;
        s->gid = ccf->group;
        s->workers = (ccf->master != 0);
    }
}


/* Creates the directory, and warns when workers cannot write in it. */

static void
ngx_http_predictive_state_dir(ngx_http_predictive_state_t *s, ngx_log_t *log)
{
    const char       *why;
    ngx_file_info_t   fi;

    if (!ngx_test_config
        && ngx_file_info(s->dir.data, &fi) == NGX_FILE_ERROR
        && ngx_errno == NGX_ENOENT)
    {
        if (ngx_create_dir(s->dir.data, 0700) == NGX_FILE_ERROR) {
            ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                          ngx_create_dir_n " \"%V\" failed", &s->dir);

        } else if (s->uid != (uid_t) -1
                   && lchown((char *) s->dir.data, s->uid, s->gid) == -1)
        {
            ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                          "lchown(\"%V\") failed", &s->dir);
        }
    }

    why = ngx_http_predictive_state_barred(s);

    if (why) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "\"predictive_state\" cannot be saved to \"%V\": %s, "
                      "in %s:%ui", &s->path, why, s->file, s->line);
    }
}


/* What keeps workers from writing the file; NULL: nothing that is seen. */

static const char *
ngx_http_predictive_state_barred(ngx_http_predictive_state_t *s)
{
    int              ngroups;
    u_char          *p, ch;
    gid_t            groups[NGX_HTTP_PREDICTIVE_GROUPS];
    ngx_uint_t       may;
    struct stat      st, fst;
    struct passwd   *pw;

    if (!s->workers || s->uid == 0) {

        if (access((char *) s->dir.data, W_OK|X_OK) == -1) {

            if (errno == ENOENT && ngx_test_config) {
                return NULL;              /* it will be made */
            }

            return errno == ENOENT ? "its directory does not exist"
                                   : "its directory cannot be written";
        }

        return NULL;
    }

    ngroups = 1;
    groups[0] = s->gid;

    pw = getpwuid(s->uid);

    if (pw) {
        ngroups = NGX_HTTP_PREDICTIVE_GROUPS;

        if (getgrouplist(pw->pw_name, s->gid, groups, &ngroups) == -1) {
            ngroups = NGX_HTTP_PREDICTIVE_GROUPS;
        }
    }

    for (p = s->dir.data + 1; p <= s->dir.data + s->dir.len; p++) {

        if (*p != '/' && *p != '\0') {
            continue;
        }

        ch = *p;
        *p = '\0';

        may = 2;

        if (stat((char *) s->dir.data, &st) == 0) {
            may = ngx_http_predictive_state_may(&st,
                      ch == '\0' ? S_IWOTH|S_IXOTH : S_IXOTH, s->uid, groups,
                      ngroups);
        }

        *p = ch;

        if (may == 2) {
            return ch == '\0' && ngx_test_config
                   ? NULL : "its directory does not exist";
        }

        if (!may) {
            return ch == '\0' ? "the user whom workers run as may not write "
                                "in its directory"
                              : "the user whom workers run as may not enter "
                                "its directory";
        }

        if (ch == '\0') {
            break;
        }
    }

    if ((st.st_mode & S_ISVTX) && st.st_uid != s->uid
        && stat((char *) s->path.data, &fst) == 0 && fst.st_uid != s->uid)
    {
        return "it belongs to another user than workers run as, and its "
               "directory is sticky";
    }

    return NULL;
}


static ngx_uint_t
ngx_http_predictive_state_may(struct stat *st, int mode, uid_t uid,
    gid_t *groups, int ngroups)
{
    int  i;

    if (st->st_uid == uid) {
        mode <<= 6;

    } else {
        for (i = 0; i < ngroups; i++) {
            if (st->st_gid == groups[i]) {
                mode <<= 3;
                break;
            }
        }
    }

    return (st->st_mode & mode) == (mode_t) mode;
}


/* Checks the file and notes where its zones are. */

static ngx_int_t
ngx_http_predictive_state_index(ngx_http_predictive_main_conf_t *pmcf,
    ngx_pool_t *pool, ngx_log_t *log)
{
    ngx_int_t                     rc;
    const char                   *why;
    struct stat                   st;
    ngx_http_predictive_state_t  *s;

    s = pmcf->state;

    s->fd = open((char *) s->path.data, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

    if (s->fd == -1) {

        if (errno == ENOENT || errno == ENOTDIR) {
            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "there is no predictive state \"%V\" yet", &s->path);
        } else {
            ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                          "predictive state: open() \"%V\" failed, starting "
                          "without what was learned", &s->path);
        }

        return NGX_OK;
    }

    rc = NGX_OK;

    if (fstat(s->fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        why = "is no regular file";

    } else if (st.st_size == 0) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "predictive state \"%V\" is empty", &s->path);
        ngx_http_predictive_state_close(pmcf);
        return NGX_OK;

    } else {

        if (st.st_mode & (S_IRWXG|S_IRWXO)) {
            ngx_log_error(NGX_LOG_WARN, log, 0,
                          "predictive state \"%V\" is open to other users, "
                          "it holds secrets: chmod 600", &s->path);
        }

        s->offset = 0;
        s->at = s->len = 0;

        why = ngx_http_predictive_state_verify(s, pool, &rc);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (why) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "predictive state \"%V\" %s; starting without what was "
                      "learned, the first save will keep it as \"%s\"",
                      &s->path, why, s->aside);

        s->damaged = 1;
        s->dev = st.st_dev;
        s->ino = st.st_ino;
        s->zones.nelts = 0;

        ngx_http_predictive_state_close(pmcf);
        return NGX_OK;
    }

    ngx_http_predictive_state_unused(pmcf, log);

    return NGX_OK;
}


static const char *
ngx_http_predictive_state_verify(ngx_http_predictive_state_t *s,
    ngx_pool_t *pool, ngx_int_t *error)
{
    char                          name[PRD_PROFILE_NAME];
    char                          key[PRD_PROFILE_KEY];
    size_t                        name_len, key_len;
    off_t                         offset;
    uint32_t                      i;
    prd_rc_t                      rc;
    prd_secret_t                  secret;
    prd_profile_t                 f;
    prd_profile_head_t            head;
    ngx_http_predictive_saved_t  *saved;

    ngx_memzero(&f, sizeof(prd_profile_t));

    f.read = ngx_http_predictive_state_read;
    f.data = s;

    rc = prd_profile_read_head(&f, &head);

    if (rc == PRD_EVERSION) {
        return "is of another version of its format";
    }

    if (rc == PRD_EIO) {
        return "cannot be read";
    }

    if (rc != PRD_OK) {
        return "is no predictive state";
    }

    for (i = 0; i < head.zones; i++) {
        offset = s->offset - (off_t) (s->len - s->at);

        rc = prd_profile_read_name(&f, name, &name_len, key, &key_len,
                                   &secret);

        if (rc == PRD_OK) {
            rc = prd_profile_skip_zone(&f);
        }

        if (rc != PRD_OK) {
            return rc == PRD_EIO ? "cannot be read"
                                 : "is damaged or incomplete";
        }

        saved = ngx_array_push(&s->zones);
        if (saved == NULL) {
            *error = NGX_ERROR;
            return NULL;
        }

        saved->offset = offset;
        saved->secret = secret;
        saved->name.len = name_len;
        saved->name.data = ngx_pnalloc(pool, name_len);
        saved->key.len = key_len;
        saved->key.data = ngx_pnalloc(pool, key_len + 1);

        if (saved->name.data == NULL || saved->key.data == NULL) {
            *error = NGX_ERROR;
            return NULL;
        }

        ngx_memcpy(saved->name.data, name, name_len);
        ngx_memcpy(saved->key.data, key, key_len);
    }

    rc = prd_profile_read_end(&f);

    if (rc != PRD_OK) {
        return rc == PRD_EIO ? "cannot be read"
                             : "is damaged: its checksum does not hold";
    }

    s->written_s = head.written_s;
    s->version = head.version;

    /* no clock is as far as that; what follows it must fit */

    head.started_ms = ngx_min(head.started_ms, INT64_MAX);
    s->started_ms = ngx_max(s->started_ms, head.started_ms + 1);

    return NULL;
}


static prd_rc_t
ngx_http_predictive_state_read(void *data, void *p, size_t len)
{
    ngx_http_predictive_state_t *s = data;

    size_t   n;
    u_char  *dst = p;
    ssize_t  size;

    while (len) {

        if (s->at == s->len) {
            size = pread(s->fd, s->buffer, NGX_HTTP_PREDICTIVE_BUFFER,
                         s->offset);

            if (size == -1 && errno == EINTR) {
                continue;
            }

            if (size <= 0) {
                return size == 0 ? PRD_ECORRUPT : PRD_EIO;
            }

            s->offset += size;
            s->len = size;
            s->at = 0;
        }

        n = ngx_min(len, s->len - s->at);

        ngx_memcpy(dst, s->buffer + s->at, n);

        s->at += n;
        dst += n;
        len -= n;
    }

    return PRD_OK;
}


static void
ngx_http_predictive_state_unused(ngx_http_predictive_main_conf_t *pmcf,
    ngx_log_t *log)
{
    ngx_uint_t                    i;
    ngx_http_predictive_saved_t  *saved;

    saved = pmcf->state->zones.elts;

    for (i = 0; i < pmcf->state->zones.nelts; i++) {
        if (ngx_http_predictive_find_zone(pmcf, &saved[i].name) == NULL) {
            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "predictive state \"%V\" has a zone \"%V\" that is "
                          "not in the configuration: the next save drops it",
                          &pmcf->state->path, &saved[i].name);
        }
    }
}


static ngx_http_predictive_saved_t *
ngx_http_predictive_state_find(ngx_http_predictive_state_t *s,
    ngx_str_t *zone)
{
    ngx_uint_t                    i;
    ngx_http_predictive_saved_t  *saved;

    saved = s->zones.elts;

    for (i = 0; i < s->zones.nelts; i++) {
        if (saved[i].name.len == zone->len
            && ngx_memcmp(saved[i].name.data, zone->data, zone->len) == 0)
        {
            return &saved[i];
        }
    }

    return NULL;
}


/*
 * The running cycle's zone of this name and key: it has another size, or it
 * would have been inherited.
 */

static ngx_http_predictive_zone_t *
ngx_http_predictive_state_previous(ngx_str_t *name, ngx_str_t *key)
{
    ngx_http_predictive_zone_t       *zone;
    ngx_http_predictive_main_conf_t  *old;

    if (ngx_test_config) {
        return NULL;
    }

    old = ngx_http_predictive_state_running();

    if (old == NULL) {
        return NULL;
    }

    zone = ngx_http_predictive_find_zone(old, name);

    if (zone == NULL || zone->view.zone == NULL
        || zone->key.value.len != key->len
        || ngx_memcmp(zone->key.value.data, key->data, key->len) != 0)
    {
        return NULL;
    }

    return zone;
}


ngx_int_t
ngx_http_predictive_state_secret(ngx_http_predictive_main_conf_t *pmcf,
    ngx_str_t *zone, ngx_str_t *key, prd_secret_t *secret, ngx_log_t *log)
{
    ngx_http_predictive_zone_t   *previous;
    ngx_http_predictive_saved_t  *saved;

    if (ngx_http_predictive_state_open(pmcf, log) != NGX_OK) {
        return NGX_ERROR;
    }

    previous = ngx_http_predictive_state_previous(zone, key);

    if (previous) {
        *secret = previous->view.zone->secret;
        return NGX_OK;
    }

    if (pmcf->state == NULL) {
        return NGX_DECLINED;
    }

    saved = ngx_http_predictive_state_find(pmcf->state, zone);

    if (saved == NULL) {
        return NGX_DECLINED;
    }

    if (saved->key.len != key->len
        || ngx_memcmp(saved->key.data, key->data, key->len) != 0)
    {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "predictive zone \"%V\" uses the \"%V\" key while its "
                      "state in \"%V\" is of the \"%V\" key: starting without",
                      zone, key, &pmcf->state->path, &saved->key);
        return NGX_DECLINED;
    }

    *secret = saved->secret;

    return NGX_OK;
}


ngx_int_t
ngx_http_predictive_state_load(ngx_http_predictive_main_conf_t *pmcf,
    ngx_http_predictive_zone_t *zone, ngx_log_t *log)
{
    char                          name[PRD_PROFILE_NAME];
    char                          key[PRD_PROFILE_KEY];
    size_t                        name_len, key_len;
    uint64_t                      kept;
    prd_rc_t                      rc;
    prd_secret_t                  secret;
    prd_profile_t                 f;
    ngx_http_predictive_zone_t   *previous;
    ngx_http_predictive_saved_t  *saved;
    ngx_http_predictive_state_t  *s;

    if (ngx_test_config) {
        return NGX_OK;
    }

    previous = ngx_http_predictive_state_previous(&zone->name,
                                                  &zone->key.value);
    if (previous) {
        kept = prd_profile_copy(&previous->view, &zone->view, &zone->policy,
                                ngx_time(), (uint32_t) ngx_current_msec);

        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "predictive zone \"%V\" has a new size, %uL clients "
                      "were taken over", &zone->name, kept);
        return NGX_OK;
    }

    s = pmcf->state;
    saved = s ? ngx_http_predictive_state_find(s, &zone->name) : NULL;

    if (saved == NULL || s->fd == -1) {
        return NGX_DECLINED;
    }

    ngx_memzero(&f, sizeof(prd_profile_t));

    f.read = ngx_http_predictive_state_read;
    f.data = s;
    f.written_s = s->written_s;
    f.version = s->version;

    s->offset = saved->offset;
    s->at = s->len = 0;
    kept = 0;

    prd_checksum_init(&f.sum);

    rc = prd_profile_read_name(&f, name, &name_len, key, &key_len, &secret);

    if (rc == PRD_OK) {
        rc = prd_profile_read_zone(&f, &zone->view, &zone->policy,
                                   ngx_time(), (uint32_t) ngx_current_msec,
                                   &kept);
    }

    if (rc != PRD_OK) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "predictive state \"%V\" of zone \"%V\": %s",
                      &s->path, &zone->name, prd_strerror(rc));
    }

    ngx_log_error(NGX_LOG_NOTICE, log, 0,
                  "predictive zone \"%V\": %uL clients from \"%V\"",
                  &zone->name, kept, &s->path);

    return rc == PRD_OK ? NGX_OK : NGX_DECLINED;
}


/* From here on: in the thread, libc and the engine only. */


const char *
ngx_http_predictive_state_save(ngx_http_predictive_main_conf_t *pmcf,
    uint64_t now_s, uint32_t now_ms)
{
    int                           dir;
    prd_rc_t                      rc;
    const char                   *what;
    ngx_http_predictive_state_t  *s;

    s = pmcf->state;

    if (!s->swept) {
        s->swept = 1;
        ngx_http_predictive_state_sweep(s);
    }

    what = ngx_http_predictive_state_make_room(s, 0);

    if (what) {
        return what;
    }

    (void) snprintf(s->temp, s->path.len + 32, "%s.%lu.tmp", s->path.data,
                    (u_long) ngx_pid);

    /* a process of the same pid may have died over it */
    (void) unlink(s->temp);

    s->fd = open(s->temp, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600);

    if (s->fd == -1) {
        return ngx_http_predictive_state_failed(s, "open()", s->temp);
    }

    /* by a single process */

    if (s->uid != (uid_t) -1 && geteuid() == 0
        && fchown(s->fd, s->uid, s->gid) == -1)
    {
        what = ngx_http_predictive_state_failed(s, "fchown()", s->temp);
        goto failed;
    }

    rc = ngx_http_predictive_state_write_all(pmcf, now_s, now_ms);

    if (rc != PRD_OK) {

        if (rc == PRD_EIO) {
            what = ngx_http_predictive_state_failed(s, "write()", s->temp);

        } else {
            errno = 0;
            what = prd_strerror(rc);
        }

        goto failed;
    }

    (void) ngx_http_predictive_keep_lease(pmcf, 1);

    if (fsync(s->fd) == -1) {
        what = ngx_http_predictive_state_failed(s, "fsync()", s->temp);
        goto failed;
    }

    (void) close(s->fd);
    s->fd = -1;

    if (ngx_http_predictive_keep_lease(pmcf, 0) != NGX_OK) {
        errno = 0;
        what = prd_strerror(PRD_ESTALE);
        goto failed;
    }

    what = ngx_http_predictive_state_make_room(s, 1);

    if (what) {
        goto failed;
    }

    if (rename(s->temp, (char *) s->path.data) == -1) {
        what = ngx_http_predictive_state_failed(s, "rename()", s->temp);
        goto failed;
    }

    dir = open((char *) s->dir.data, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (dir != -1) {
        (void) ngx_http_predictive_keep_lease(pmcf, 1);
        (void) fsync(dir);
        (void) close(dir);
    }

    return NULL;

failed:

    {
        int  err = errno;

        if (s->fd != -1) {
            (void) close(s->fd);
            s->fd = -1;
        }

        (void) unlink(s->temp);

        errno = err;
    }

    return what;
}


static const char *
ngx_http_predictive_state_failed(ngx_http_predictive_state_t *s,
    const char *call, const char *path)
{
    int  err = errno;

    (void) snprintf(s->what, s->path.len + 128, "%s \"%s\" failed", call,
                    path);
    errno = err;

    return s->what;
}


/*
 * Looks at what a save would replace.  A later process's file stays; one that
 * cannot be used, or that somebody put there, is moved aside.
 */

static const char *
ngx_http_predictive_state_make_room(ngx_http_predictive_state_t *s,
    ngx_uint_t rename_damaged)
{
    prd_rc_t             rc;
    struct stat          st;
    prd_profile_t        f;
    prd_profile_head_t   head;

    if (stat((char *) s->path.data, &st) == -1 || st.st_size == 0) {
        return NULL;
    }

    if (s->damaged && st.st_dev == s->dev && st.st_ino == s->ino) {
        rc = PRD_ECORRUPT;

    } else {
        s->fd = open((char *) s->path.data, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

        if (s->fd == -1) {
            /* sound, as the master saw, who alone may read it */
            return NULL;
        }

        memset(&f, 0, sizeof(prd_profile_t));

        f.read = ngx_http_predictive_state_read;
        f.data = s;

        s->offset = 0;
        s->at = s->len = 0;

        rc = prd_profile_read_head(&f, &head);

        (void) close(s->fd);
        s->fd = -1;
    }

    if (rc == PRD_OK) {

        if (head.started_ms > s->started_ms) {
            errno = 0;
            return "it was replaced by a later process";
        }

        return NULL;
    }

    if (rename_damaged && rename((char *) s->path.data, s->aside) == -1) {
        return ngx_http_predictive_state_failed(s, "rename()", s->aside);
    }

    return NULL;
}


static prd_rc_t
ngx_http_predictive_state_write_all(ngx_http_predictive_main_conf_t *pmcf,
    uint64_t now_s, uint32_t now_ms)
{
    prd_rc_t                       rc;
    prd_str_t                      name, key;
    ngx_uint_t                     i, n;
    prd_profile_t                  f;
    prd_profile_head_t             head;
    ngx_http_predictive_zone_t   **zones, *zone;
    ngx_http_predictive_state_t   *s;

    s = pmcf->state;
    s->len = 0;

    zones = pmcf->zones.elts;
    n = 0;

    for (i = 0; i < pmcf->zones.nelts; i++) {
        n += zones[i]->view.zone != NULL
             && zones[i]->name.len < PRD_PROFILE_NAME
             && zones[i]->key.value.len < PRD_PROFILE_KEY;
    }

    memset(&f, 0, sizeof(prd_profile_t));

    f.write = ngx_http_predictive_state_write;
    f.data = s;

    memset(&head, 0, sizeof(prd_profile_head_t));

    head.zones = (uint32_t) n;
    head.written_s = now_s;
    head.started_ms = s->started_ms;
    head.pid = (uint32_t) ngx_pid;

    rc = prd_profile_write_head(&f, &head);

    for (i = 0; rc == PRD_OK && i < pmcf->zones.nelts; i++) {
        zone = zones[i];

        if (zone->view.zone == NULL
            || zone->name.len >= PRD_PROFILE_NAME
            || zone->key.value.len >= PRD_PROFILE_KEY)
        {
            continue;
        }

        name.len = zone->name.len;
        name.data = (char *) zone->name.data;
        key.len = zone->key.value.len;
        key.data = (char *) zone->key.value.data;

        ngx_http_predictive_learn_hold(pmcf);

        rc = prd_profile_write_zone(&f, name, key, &zone->view, &zone->policy,
                                    now_s, now_ms);

        ngx_http_predictive_learn_unlock(pmcf);
    }

    if (rc == PRD_OK) {
        rc = prd_profile_write_end(&f);
    }

    return rc == PRD_OK ? ngx_http_predictive_state_flush(s) : rc;
}


static prd_rc_t
ngx_http_predictive_state_write(void *data, const void *p, size_t len)
{
    ngx_http_predictive_state_t *s = data;

    prd_rc_t  rc;

    if (ngx_http_predictive_keep_lease(s->main, 0) != NGX_OK) {
        return PRD_ESTALE;
    }

    /* the engine's pieces are smaller than the buffer */

    if (s->len + len > NGX_HTTP_PREDICTIVE_BUFFER) {
        rc = ngx_http_predictive_state_flush(s);

        if (rc != PRD_OK) {
            return rc;
        }
    }

    memcpy(s->buffer + s->len, p, len);
    s->len += len;

    return PRD_OK;
}


static prd_rc_t
ngx_http_predictive_state_flush(ngx_http_predictive_state_t *s)
{
    size_t   at;
    ssize_t  n;

    for (at = 0; at < s->len; at += (size_t) n) {
        n = write(s->fd, s->buffer + at, s->len - at);

        if (n == -1 && errno == EINTR) {
            n = 0;
            continue;
        }

        if (n <= 0) {
            return PRD_EIO;
        }
    }

    s->len = 0;

    return PRD_OK;
}


/* Removes what savers left that were killed: PATH.pid.tmp of the dead. */

static void
ngx_http_predictive_state_sweep(ngx_http_predictive_state_t *s)
{
    DIR            *dir;
    char           *p, *end;
    pid_t           pid;
    struct dirent  *de;

    dir = opendir((char *) s->dir.data);

    if (dir == NULL) {
        return;
    }

    while ((de = readdir(dir)) != NULL) {
        p = de->d_name;

        if (strncmp(p, (char *) s->name.data, s->name.len) != 0
            || p[s->name.len] != '.')
        {
            continue;
        }

        p += s->name.len + 1;
        pid = (pid_t) strtol(p, &end, 10);

        if (end == p || pid <= 0 || strcmp(end, ".tmp") != 0) {
            continue;
        }

        if (kill(pid, 0) == -1 && errno == ESRCH) {
            (void) unlinkat(dirfd(dir), de->d_name, 0);
        }
    }

    (void) closedir(dir);
}
