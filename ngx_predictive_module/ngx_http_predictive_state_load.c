
/*
 * The file of predictive_state, read: what zones it has, and what was learned
 * of one of them.
 *
 * A zone in the file that is not in the configuration is dropped, with a
 * notice.
 */


#include "ngx_http_predictive_state.h"


static const char *ngx_http_predictive_state_verify(
    ngx_http_predictive_state_t *s, ngx_pool_t *pool, ngx_int_t *rc);
static void ngx_http_predictive_state_unused(
    ngx_http_predictive_main_conf_t *pmcf, ngx_log_t *log);
static ngx_http_predictive_saved_t *ngx_http_predictive_state_find(
    ngx_http_predictive_state_t *s, ngx_str_t *zone);
static ngx_http_predictive_zone_t *ngx_http_predictive_state_previous(
    ngx_str_t *name, ngx_str_t *key);


ngx_int_t
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


prd_rc_t
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
