
/* Timestamps of log lines. */


#include <stdlib.h>

#include "replay/stamp.h"
#include "tap.h"


#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define NONE      INT64_MIN


typedef prd_rc_t (*parse_pt)(prd_str_t s, rpl_stamp_t *t,
    rpl_stamp_cache_t *c);


static prd_rc_t
seconds(prd_str_t s, rpl_stamp_t *t, rpl_stamp_cache_t *c)
{
    (void) c;

    return rpl_stamp_seconds(s, t);
}


typedef struct {
    const char  *text;
    int64_t      us;
    unsigned     whole;
    prd_rc_t     rc;
} case_t;


static void
check(const char *name, parse_pt parse, const case_t *c, size_t n)
{
    size_t              i, k;
    char               *copy;
    prd_rc_t            rc;
    prd_str_t           s;
    rpl_stamp_t         t;
    rpl_stamp_cache_t   cache;

    memset(&cache, 0, sizeof(cache));

    for (i = 0; i < n; i++) {

        /* twice: the second may come out of the cache; at a heap's end */

        s.len = strlen(c[i].text);
        copy = rpl_alloc(s.len + 1);
        memcpy(copy, c[i].text, s.len);
        s.data = copy;

        for (k = 0; k < 2; k++) {
            t.us = NONE;
            rc = parse(s, &t, &cache);

            ok(rc == c[i].rc, "%s \"%s\": %s", name, c[i].text,
               prd_strerror(rc));

            if (rc == PRD_OK && c[i].rc == PRD_OK) {
                is_int(t.us, c[i].us, "... its time");
                is_int(t.whole, c[i].whole, "... its resolution");
            }
        }

        free(copy);
    }
}


int
main(void)
{
    char          buf[RPL_STAMP_TEXT];
    int64_t       us;
    const char   *p;

    static const case_t  of_seconds[] = {
        { "0", 0, 1, PRD_OK },
        { "12", 12000000, 1, PRD_OK },
        { "12.5", 12500000, 0, PRD_OK },
        { "1763771076.123", 1763771076123000, 0, PRD_OK },
        { "1763771076.1234567", 1763771076123456, 0, PRD_OK },
        { "253402300799", 253402300799000000, 1, PRD_OK },
        { "253402300800", 0, 0, PRD_ERANGE },
        { "99999999999999999999999", 0, 0, PRD_ERANGE },
        { "", 0, 0, PRD_EINVAL },
        { "-1", 0, 0, PRD_EINVAL },
        { "1.", 0, 0, PRD_EINVAL },
        { ".5", 0, 0, PRD_EINVAL },
        { "1e5", 0, 0, PRD_EINVAL },
        { " 1", 0, 0, PRD_EINVAL },
        { "nan", 0, 0, PRD_EINVAL }
    };

    static const case_t  of_local[] = {
        { "22/Nov/2025:01:24:36 +0000", 1763774676000000, 1, PRD_OK },
        { "22/Nov/2025:02:24:36 +0100", 1763774676000000, 1, PRD_OK },
        { "21/Nov/2025:20:54:36 -0430", 1763774676000000, 1, PRD_OK },
        { "22/Nov/2025:01:24:36", 1763774676000000, 1, PRD_OK },
        { "01/Jan/1970:00:00:00 +0000", 0, 1, PRD_OK },
        { "29/Feb/2024:12:00:00 +0000", 1709208000000000, 1, PRD_OK },
        { "28/Feb/2100:12:00:00 +0000", 4107499200000000, 1, PRD_OK },
        { "31/Dec/2016:23:59:60 +0000", 1483228800000000, 1, PRD_OK },
        { "29/Feb/2025:12:00:00 +0000", 0, 0, PRD_ERANGE },
        { "29/Feb/2100:12:00:00 +0000", 0, 0, PRD_ERANGE },
        { "00/Nov/2025:01:24:36 +0000", 0, 0, PRD_ERANGE },
        { "22/Nov/2025:24:24:36 +0000", 0, 0, PRD_ERANGE },
        { "22/nov/2025:01:24:36 +0000", 0, 0, PRD_EINVAL },
        { "22/Nov/2025:01:24:3x +0000", 0, 0, PRD_EINVAL },
        { "22/Nov/2025:01:24:36 0000", 0, 0, PRD_EINVAL },
        { "22/Nov/2025:01:24:36 +000", 0, 0, PRD_EINVAL },
        { "22/Nov/2025:01:24:36 +2400", 0, 0, PRD_EINVAL },
        { "22/Nov/2025:01:24:36 +0000 ", 0, 0, PRD_EINVAL },
        { "22/Nov/2025:01:24", 0, 0, PRD_EINVAL },
        { "", 0, 0, PRD_EINVAL }
    };

    static const case_t  of_iso[] = {
        { "2025-11-22T01:24:36+00:00", 1763774676000000, 1, PRD_OK },
        { "2025-11-22T02:24:36+01:00", 1763774676000000, 1, PRD_OK },
        { "2025-11-22T02:24:36+0100", 1763774676000000, 1, PRD_OK },
        { "2025-11-22T02:24:36+01", 1763774676000000, 1, PRD_OK },
        { "2025-11-22T01:24:36Z", 1763774676000000, 1, PRD_OK },
        { "2025-11-22 01:24:36", 1763774676000000, 1, PRD_OK },
        { "2025-11-22 01:24:36 Z", 1763774676000000, 1, PRD_OK },
        { "2025-11-22T01:24:36.789Z", 1763774676789000, 0, PRD_OK },
        { "2025-11-22 01:24:36,789", 1763774676789000, 0, PRD_OK },
        { "2025-11-22T01:24:36.", 0, 0, PRD_EINVAL },
        { "2025-11-22 01:24:36 ", 0, 0, PRD_EINVAL },
        { "2025-13-22T01:24:36Z", 0, 0, PRD_ERANGE },
        { "2025-11-31T01:24:36Z", 0, 0, PRD_ERANGE },
        { "2025/11/22T01:24:36Z", 0, 0, PRD_EINVAL },
        { "2025-11-22T01:24:36Zulu", 0, 0, PRD_EINVAL }
    };

    static const case_t  of_any[] = {
        { "22/Nov/2025:01:24:36 +0000", 1763774676000000, 1, PRD_OK },
        { "2025-11-22T01:24:36+00:00", 1763774676000000, 1, PRD_OK },
        { "1763774676.25", 1763774676250000, 0, PRD_OK },
        { "1763774676", 1763774676000000, 1, PRD_OK },
        { "1763774676123", 1763774676123000, 0, PRD_OK },
        { "1763774676123456", 1763774676123456, 0, PRD_OK },
        { "1763774676123456789", 1763774676123456, 0, PRD_OK },
        { "1763774676123.25", 1763774676123000, 0, PRD_OK },
        { "99999999999999999999", 0, 0, PRD_ERANGE },
        { "1763774676123x", 0, 0, PRD_EINVAL },
        { "soon", 0, 0, PRD_EINVAL },
        { "", 0, 0, PRD_EINVAL }
    };

    check("seconds", seconds, of_seconds, COUNT(of_seconds));
    check("local", rpl_stamp_local, of_local, COUNT(of_local));
    check("iso", rpl_stamp_iso, of_iso, COUNT(of_iso));
    check("any", rpl_stamp_any, of_any, COUNT(of_any));

    us = NONE;
    ok(rpl_stamp_duration(rpl_str("0.012"), &us) == PRD_OK && us == 12000,
       "duration");
    ok(rpl_stamp_duration(rpl_str("-"), &us) == PRD_EINVAL && us == 12000,
       "no duration leaves it alone");

    p = rpl_stamp_print(1763774676999999, buf);
    is_str(p, strlen(p), "2025-11-22 01:24:36", "printed, UTC");
    p = rpl_stamp_print(1709164800000000, buf);
    is_str(p, strlen(p), "2024-02-29 00:00:00", "... a leap day");
    p = rpl_stamp_print(3 * 86400000000 + 3661000000, buf);
    is_str(p, strlen(p), "3d 01:01:01", "... of a log that counts from 0");

    return done_testing();
}
