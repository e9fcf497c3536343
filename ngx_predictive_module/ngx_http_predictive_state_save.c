
/*
 * The file of predictive_state, written: in the forecasting thread, libc and
 * the engine only.
 */


#include "ngx_http_predictive_state.h"

#include <dirent.h>


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
