
/*
 * What the files about predictive_state share, for these alone: _state.c (the
 * directive, what is done when a configuration is started), _state_access.c
 * (may workers write the file?), _state_load.c (reading it), _state_save.c
 * (writing it).  The first one calls the next two.
 */


#ifndef _NGX_HTTP_PREDICTIVE_STATE_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_STATE_H_INCLUDED_


#include "ngx_http_predictive_module.h"


#define NGX_HTTP_PREDICTIVE_BUFFER  65536


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


/* _state.c */

/* The main configuration of the running cycle, when one is to follow it. */
ngx_http_predictive_main_conf_t *ngx_http_predictive_state_running(void);


/* _state_access.c */

/*
 * Whom workers run as.  A single process does not change its user, but what
 * it writes is to be of use to workers later.
 */
void ngx_http_predictive_state_user(ngx_http_predictive_state_t *s);

/* Creates the directory, and warns when workers cannot write in it. */
void ngx_http_predictive_state_dir(ngx_http_predictive_state_t *s,
    ngx_log_t *log);


/* _state_load.c */

/* Checks the file and notes where its zones are. */
ngx_int_t ngx_http_predictive_state_index(
    ngx_http_predictive_main_conf_t *pmcf, ngx_pool_t *pool, ngx_log_t *log);

/* The next bytes of s->fd, for the engine; in the thread, too. */
prd_rc_t ngx_http_predictive_state_read(void *data, void *p, size_t len);


#endif /* _NGX_HTTP_PREDICTIVE_STATE_H_INCLUDED_ */
