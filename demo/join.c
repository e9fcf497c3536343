
/*
 * Puts the zones of several state files into one: predictive-replay writes
 * the state of one zone, and nginx reads one file.
 *
 *     join OUT IN...
 *
 * Ages in a state file count from when it was written; the files' stamps
 * must therefore be the same, which the demo's logs see to by ending in the
 * same second.
 */


#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prd_hash.h"


#define JOIN_HEAD     40                  /* bytes; see prd_profile.h */
#define JOIN_ZONES    12
#define JOIN_WRITTEN  16
#define JOIN_SUM      8


typedef struct {
    FILE            *f;
    prd_checksum_t   sum;
} join_out_t;


static void
join_die(const char *file, const char *what)
{
    fprintf(stderr, "join: %s: %s\n", file, what);
    exit(1);
}


static void
join_put(join_out_t *out, const uint8_t *p, size_t len)
{
    prd_checksum_update(&out->sum, p, len);

    if (fwrite(p, 1, len, out->f) != len) {
        join_die("output", "cannot be written");
    }
}


static uint8_t *
join_read(const char *file, size_t *len)
{
    FILE         *f;
    uint8_t      *p;
    struct stat   st;

    f = fopen(file, "r");

    if (f == NULL || fstat(fileno(f), &st) == -1
        || st.st_size < JOIN_HEAD + JOIN_SUM)
    {
        join_die(file, "is no state file");
    }

    *len = (size_t) st.st_size;
    p = malloc(*len);

    if (p == NULL || fread(p, 1, *len, f) != *len) {
        join_die(file, "cannot be read");
    }

    fclose(f);

    return p;
}


int
main(int argc, char **argv)
{
    int          i, fd, n;
    size_t       len[8];
    uint8_t     *in[8], head[JOIN_HEAD], sum[JOIN_SUM];
    uint32_t     zones;
    uint64_t     v;
    join_out_t   out;

    n = argc - 2;

    if (n < 1 || n > 8) {
        fprintf(stderr, "usage: join OUT IN...\n");
        return 2;
    }

    zones = 0;

    for (i = 0; i < n; i++) {
        in[i] = join_read(argv[i + 2], &len[i]);
        zones += in[i][JOIN_ZONES];

        if (memcmp(in[i], in[0], JOIN_ZONES) != 0
            || memcmp(in[i] + JOIN_WRITTEN, in[0] + JOIN_WRITTEN, 8) != 0)
        {
            join_die(argv[i + 2], "is of another time or version");
        }
    }

    memcpy(head, in[0], JOIN_HEAD);
    head[JOIN_ZONES] = (uint8_t) zones;

    (void) unlink(argv[1]);
    fd = open(argv[1], O_WRONLY|O_CREAT|O_EXCL, 0600);
    out.f = fd == -1 ? NULL : fdopen(fd, "w");

    if (out.f == NULL) {
        join_die(argv[1], "cannot be created");
    }

    prd_checksum_init(&out.sum);
    join_put(&out, head, JOIN_HEAD);

    for (i = 0; i < n; i++) {
        join_put(&out, in[i] + JOIN_HEAD, len[i] - JOIN_HEAD - JOIN_SUM);
    }

    v = prd_checksum_final(&out.sum);

    for (i = 0; i < JOIN_SUM; i++) {
        sum[i] = (uint8_t) (v >> (8 * i));
    }

    if (fwrite(sum, 1, JOIN_SUM, out.f) != JOIN_SUM || fclose(out.f) != 0) {
        join_die(argv[1], "cannot be written");
    }

    return 0;
}
