
/*
 * Timestamps of log lines, in microseconds since the epoch (or since
 * whatever a tsv file counts from).
 */


#ifndef RPL_STAMP_H_INCLUDED
#define RPL_STAMP_H_INCLUDED


#include "util.h"


typedef struct {
    int64_t   us;
    unsigned  whole:1;              /* a resolution of seconds only */
} rpl_stamp_t;

/* The second that was parsed last: most lines repeat it. */

typedef struct {
    char      text[32];
    size_t    len;
    int64_t   us;
} rpl_stamp_cache_t;


/*
 * All: PRD_EINVAL for anything else than the form, PRD_ERANGE for a day that
 * does not exist or a year after 9999.  Digits beyond microseconds are cut.
 */

/* "1763771076", "1763771076.123", "12.5"; whole without a fraction */
prd_rc_t rpl_stamp_seconds(prd_str_t s, rpl_stamp_t *t);

/* "22/Nov/2025:01:24:36 +0100" */
prd_rc_t rpl_stamp_local(prd_str_t s, rpl_stamp_t *t, rpl_stamp_cache_t *c);

/*
 * "2025-11-22T01:24:36+01:00", with a space, with a fraction (".123", ",123"),
 * with Z, "+0100", or no zone at all, which is taken for UTC
 */
prd_rc_t rpl_stamp_iso(prd_str_t s, rpl_stamp_t *t, rpl_stamp_cache_t *c);

/*
 * Whichever of these it is: what JSON logs have.  A number above 10^11 is in
 * milliseconds, above 10^14 in microseconds, above 10^17 in nanoseconds.
 */
prd_rc_t rpl_stamp_any(prd_str_t s, rpl_stamp_t *t, rpl_stamp_cache_t *c);

/* A duration as $request_time has it: "0.012"; in microseconds. */
prd_rc_t rpl_stamp_duration(prd_str_t s, int64_t *us);

/* "2025-11-22 01:24:36" UTC; of times below a year, "12d 01:24:36". */
#define RPL_STAMP_TEXT  48
const char *rpl_stamp_print(int64_t us, char *buf);


#endif /* RPL_STAMP_H_INCLUDED */
