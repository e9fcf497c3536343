
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../prd_profile.h"

#include "state.h"


#define RPL_YEAR_2000  946684800


static prd_rc_t
rpl_state_put(void *data, const void *p, size_t len)
{
    return len == 0 || fwrite(p, 1, len, data) == len ? PRD_OK : PRD_EIO;
}


/*
 * The state is of the log's last second, and nginx counts the time since
 * then as time without requests.  A log that counts from 0 ends now.
 */

static uint64_t
rpl_state_time(uint64_t last_s)
{
    uint64_t  now;

    now = (uint64_t) time(NULL);

    return last_s > RPL_YEAR_2000 && last_s < now ? last_s : now;
}


static prd_rc_t
rpl_state_zone(const rpl_replay_t *r, FILE *f, const char *zone,
    const char *key)
{
    uint64_t             last_s;
    prd_rc_t             rc;
    prd_profile_t        profile;
    prd_profile_head_t   head;

    last_s = (uint64_t) rpl_replay_totals(r)->last_us / 1000000;

    memset(&profile, 0, sizeof(profile));
    profile.write = rpl_state_put;
    profile.data = f;

    memset(&head, 0, sizeof(head));
    head.zones = 1;
    head.written_s = rpl_state_time(last_s);
    head.started_ms = head.written_s * 1000;
    head.pid = (uint32_t) getpid();

    rc = prd_profile_write_head(&profile, &head);

    if (rc == PRD_OK) {
        rc = prd_profile_write_zone(&profile, rpl_str(zone), rpl_str(key),
                                    rpl_replay_view(r), rpl_replay_policy(r),
                                    last_s, rpl_replay_now_ms(r));
    }

    if (rc == PRD_OK) {
        rc = prd_profile_write_end(&profile);
    }

    return rc;
}


/* A file beside `path`, which is the caller's to free as *tmp; NULL: *e. */

static FILE *
rpl_state_create(const char *path, char **tmp, rpl_error_t *e)
{
    int      fd;
    FILE    *f;
    size_t   len;

    len = strlen(path) + 32;
    *tmp = rpl_alloc(len);
    snprintf(*tmp, len, "%s.%ld.tmp", path, (long) getpid());

    fd = open(*tmp, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600);
    f = fd != -1 ? fdopen(fd, "w") : NULL;

    if (f == NULL) {
        (void) rpl_error(e, PRD_EIO, "%s: %s", *tmp, strerror(errno));

        if (fd != -1) {
            close(fd);
            unlink(*tmp);
        }

        free(*tmp);
    }

    return f;
}


prd_rc_t
rpl_state_probe(const char *path, rpl_error_t *e)
{
    FILE  *f;
    char  *tmp;

    f = rpl_state_create(path, &tmp, e);

    if (f == NULL) {
        return PRD_EIO;
    }

    fclose(f);
    unlink(tmp);
    free(tmp);

    return PRD_OK;
}


prd_rc_t
rpl_state_write(const rpl_replay_t *r, const char *path, const char *zone,
    const char *key, rpl_error_t *e)
{
    FILE      *f;
    char      *tmp;
    prd_rc_t   rc;

    if (rpl_replay_view(r) == NULL) {
        return rpl_error(e, PRD_EIO, "%s: no request, nothing was learned",
                         path);
    }

    f = rpl_state_create(path, &tmp, e);

    if (f == NULL) {
        return PRD_EIO;
    }

    rc = rpl_state_zone(r, f, zone, key);

    if (rc == PRD_OK && (fflush(f) != 0 || fsync(fileno(f)) != 0)) {
        rc = PRD_EIO;
    }

    if (rc != PRD_OK) {
        (void) rpl_error(e, rc, "%s: %s", path, rc == PRD_EIO
                         ? strerror(errno) : prd_strerror(rc));
    }

    if (fclose(f) != 0 && rc == PRD_OK) {
        rc = rpl_error(e, PRD_EIO, "%s: %s", path, strerror(errno));
    }

    if (rc == PRD_OK && rename(tmp, path) != 0) {
        rc = rpl_error(e, PRD_EIO, "%s: %s", path, strerror(errno));
    }

    if (rc != PRD_OK) {
        unlink(tmp);
    }

    free(tmp);

    return rc;
}
