
/*
 * May workers write the file of predictive_state?  Asked in the master, which
 * may do anything, so that a warning stands where the configuration is read.
 */


#include "ngx_http_predictive_state.h"

#include <grp.h>


#define NGX_HTTP_PREDICTIVE_GROUPS  64


static const char *ngx_http_predictive_state_barred(
    ngx_http_predictive_state_t *s);
static ngx_uint_t ngx_http_predictive_state_may(struct stat *st, int mode,
    uid_t uid, gid_t *groups, int ngroups);


void
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


void
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
