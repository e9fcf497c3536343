
/*
 * Rates, times, sizes and numbers: one grammar for nginx.conf, for variables
 * read at a request and for the command line of predictive-replay.
 */


#ifndef PRD_PARSE_H_INCLUDED
#define PRD_PARSE_H_INCLUDED


#include "prd.h"


#define PRD_YEAR_S  (365ull * 86400)


/*
 * A rate: "5r/s", "1.5r/s", "10r/5s", "30r/m", "100r/h", "1000r/d".  A bare
 * number means r/s and is told by *bare = 1 (bare may be NULL).  Fractions
 * of the unit are rounded up, so that no client gets less than was written.
 *
 * PRD_EINVAL: not a rate; PRD_ERANGE: zero, or above PRD_RATE_MAX, or for a
 * time of zero or above 10 years.
 *
 * In this file a number is digits, and a fraction digits on both sides of a
 * dot: signs, exponents, "nan", "0x10", ".5", blanks around it and anything
 * behind it are PRD_EINVAL.  A text that is wrong in both ways is PRD_EINVAL.
 */
prd_rc_t prd_parse_rate(prd_str_t s, prd_rate_t *rate, unsigned *bare);

/*
 * A time as nginx writes it ("10s", "1d", "500ms", "1h30m", "1h 30m",
 * "5" = seconds; M is 30 and y 365 days), in milliseconds.  PRD_EINVAL,
 * PRD_ERANGE (above 10 years).
 */
prd_rc_t prd_parse_time_ms(prd_str_t s, uint64_t *ms);

/* A size with k, m or g, in bytes.  PRD_EINVAL, PRD_ERANGE (above 2^46). */
prd_rc_t prd_parse_size(prd_str_t s, uint64_t *bytes);

/* An unsigned decimal number, at most `max`. */
prd_rc_t prd_parse_uint(prd_str_t s, uint64_t max, uint64_t *n);

/* A decimal number >= 0 with at most 3 fractional digits, in 1/1000;
 * more digits are rounded up; at most `max` (in 1/1000 too). */
prd_rc_t prd_parse_milli(prd_str_t s, uint64_t max, uint64_t *milli);

/*
 * "99.9%", in 1/1,000,000 (999000), rounded up.  PRD_EINVAL without the
 * sign, PRD_ERANGE above 100%.
 */
prd_rc_t prd_parse_percent(prd_str_t s, uint32_t *ppm);


#endif /* PRD_PARSE_H_INCLUDED */
