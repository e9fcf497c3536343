
/*
 * By hand: strptime() is slow and knows locales, strtod() is both.
 */


#include "stamp.h"


#define RPL_SECOND  1000000ll
#define RPL_STAMP_MAX_S  253402300799ull          /* year 9999 */


static inline int
rpl_digit(char c)
{
    return (unsigned char) (c - '0') < 10;
}


/* n digits at p, or -1 */

static inline int
rpl_digits(const char *p, unsigned n)
{
    int  v;

    for (v = 0; n; n--, p++) {

        if (!rpl_digit(*p)) {
            return -1;
        }

        v = v * 10 + (*p - '0');
    }

    return v;
}


/*
 * Days since 1970-01-01 of the proleptic Gregorian calendar (H. Hinnant,
 * "chrono-compatible low-level date algorithms": years begin in March, so
 * that the leap day is the last).
 */

static int64_t
rpl_days(int y, unsigned m, unsigned d)
{
    int       era;
    unsigned  yoe, doy, doe;

    y -= m <= 2;
    era = (y >= 0 ? y : y - 399) / 400;
    yoe = (unsigned) (y - era * 400);
    doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return (int64_t) era * 146097 + (int64_t) doe - 719468;
}


static prd_rc_t
rpl_civil(int y, int m, int d, int h, int mi, int s, int64_t *us)
{
    static const char  days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31,
                                  30, 31 };

    if ((y | m | d | h | mi | s) < 0) {
        return PRD_EINVAL;
    }

    /* a second of 60 is a leap second */

    if (m < 1 || m > 12 || d < 1 || h > 23 || mi > 59 || s > 60
        || d > days[m - 1] + (m == 2 && (y % 4 == 0
                                         && (y % 100 != 0 || y % 400 == 0))))
    {
        return PRD_ERANGE;
    }

    *us = (rpl_days(y, (unsigned) m, (unsigned) d) * 86400
           + h * 3600 + mi * 60 + s) * RPL_SECOND;

    return PRD_OK;
}


/* Up to six digits behind a point, the others must be digits too. */

static const char *
rpl_fraction(const char *p, const char *last, int64_t *us)
{
    int64_t  scale;

    *us = 0;

    for (scale = RPL_SECOND / 10; p < last && rpl_digit(*p); p++) {
        *us += (*p - '0') * scale;
        scale /= 10;
    }

    return p;
}


prd_rc_t
rpl_stamp_seconds(prd_str_t s, rpl_stamp_t *t)
{
    int64_t      us;
    uint64_t     n;
    const char  *p, *last;

    p = s.data;
    last = p + s.len;

    if (p == last || !rpl_digit(*p)) {
        return PRD_EINVAL;
    }

    for (n = 0; p < last && rpl_digit(*p); p++) {
        n = n * 10 + (uint64_t) (*p - '0');

        if (n > RPL_STAMP_MAX_S) {
            return PRD_ERANGE;
        }
    }

    us = 0;
    t->whole = 1;

    if (p < last && *p == '.') {

        if (++p == last || !rpl_digit(*p)) {
            return PRD_EINVAL;
        }

        p = rpl_fraction(p, last, &us);
        t->whole = 0;
    }

    if (p != last) {
        return PRD_EINVAL;
    }

    t->us = (int64_t) n * RPL_SECOND + us;

    return PRD_OK;
}


static int
rpl_month(const char *p)
{
    int                i;
    static const char  names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (i = 0; i < 12; i++) {
        if (memcmp(p, names + 3 * i, 3) == 0) {
            return i + 1;
        }
    }

    return -1;
}


/* "+0100", "+01:00", "-05", "Z" up to last; in seconds */

static prd_rc_t
rpl_zone(const char *p, const char *last, int64_t *seconds)
{
    int     h, m, sign;
    size_t  n;

    n = (size_t) (last - p);

    if (n == 1 && (*p == 'Z' || *p == 'z')) {
        *seconds = 0;
        return PRD_OK;
    }

    if (n < 3 || (*p != '+' && *p != '-')) {
        return PRD_EINVAL;
    }

    sign = (*p == '-') ? -1 : 1;
    h = rpl_digits(p + 1, 2);

    if (n == 5) {
        m = rpl_digits(p + 3, 2);

    } else if (n == 6 && p[3] == ':') {
        m = rpl_digits(p + 4, 2);

    } else {
        m = (n == 3) ? 0 : -1;
    }

    if (h < 0 || m < 0 || h > 23 || m > 59) {
        return PRD_EINVAL;
    }

    *seconds = sign * (h * 3600 + m * 60);

    return PRD_OK;
}


static inline int
rpl_stamp_cached(prd_str_t s, rpl_stamp_cache_t *c, rpl_stamp_t *t)
{
    if (c->len != s.len || memcmp(c->text, s.data, s.len) != 0) {
        return 0;
    }

    t->us = c->us;
    t->whole = 1;

    return 1;
}


static inline void
rpl_stamp_keep(prd_str_t s, rpl_stamp_cache_t *c, const rpl_stamp_t *t)
{
    if (s.len <= sizeof(c->text) && t->whole) {
        memcpy(c->text, s.data, s.len);
        c->len = s.len;
        c->us = t->us;
    }
}


prd_rc_t
rpl_stamp_local(prd_str_t s, rpl_stamp_t *t, rpl_stamp_cache_t *c)
{
    int64_t      us, zone;
    prd_rc_t     rc;
    const char  *p;

    if (rpl_stamp_cached(s, c, t)) {
        return PRD_OK;
    }

    p = s.data;

    if (s.len < 20 || p[2] != '/' || p[6] != '/' || p[11] != ':'
        || p[14] != ':' || p[17] != ':')
    {
        return PRD_EINVAL;
    }

    rc = rpl_civil(rpl_digits(p + 7, 4), rpl_month(p + 3), rpl_digits(p, 2),
                   rpl_digits(p + 12, 2), rpl_digits(p + 15, 2),
                   rpl_digits(p + 18, 2), &us);

    if (rc != PRD_OK) {
        return rc;
    }

    zone = 0;

    if (s.len > 20) {

        if (p[20] != ' ') {
            return PRD_EINVAL;
        }

        rc = rpl_zone(p + 21, p + s.len, &zone);

        if (rc != PRD_OK) {
            return rc;
        }
    }

    t->us = us - zone * RPL_SECOND;
    t->whole = 1;

    rpl_stamp_keep(s, c, t);

    return PRD_OK;
}


prd_rc_t
rpl_stamp_iso(prd_str_t s, rpl_stamp_t *t, rpl_stamp_cache_t *c)
{
    int64_t      us, fraction, zone;
    prd_rc_t     rc;
    unsigned     whole;
    const char  *p, *last;

    if (rpl_stamp_cached(s, c, t)) {
        return PRD_OK;
    }

    p = s.data;
    last = p + s.len;

    if (s.len < 19 || p[4] != '-' || p[7] != '-'
        || (p[10] != 'T' && p[10] != 't' && p[10] != ' ')
        || p[13] != ':' || p[16] != ':')
    {
        return PRD_EINVAL;
    }

    rc = rpl_civil(rpl_digits(p, 4), rpl_digits(p + 5, 2),
                   rpl_digits(p + 8, 2), rpl_digits(p + 11, 2),
                   rpl_digits(p + 14, 2), rpl_digits(p + 17, 2), &us);

    if (rc != PRD_OK) {
        return rc;
    }

    p += 19;
    whole = 1;
    fraction = 0;
    zone = 0;

    if (p < last && (*p == '.' || *p == ',')) {

        if (++p == last || !rpl_digit(*p)) {
            return PRD_EINVAL;
        }

        p = rpl_fraction(p, last, &fraction);
        whole = 0;
    }

    if (p < last && *p == ' ') {
        p++;

        if (p == last) {
            return PRD_EINVAL;
        }
    }

    if (p < last) {
        rc = rpl_zone(p, last, &zone);

        if (rc != PRD_OK) {
            return rc;
        }
    }

    t->us = us + fraction - zone * RPL_SECOND;
    t->whole = whole;

    rpl_stamp_keep(s, c, t);

    return PRD_OK;
}


prd_rc_t
rpl_stamp_any(prd_str_t s, rpl_stamp_t *t, rpl_stamp_cache_t *c)
{
    size_t       i;
    int64_t      us, scale;
    uint64_t     n;

    if (rpl_stamp_cached(s, c, t)) {
        return PRD_OK;
    }

    if (s.len >= 19 && s.data[4] == '-') {
        return rpl_stamp_iso(s, t, c);
    }

    if (s.len >= 20 && s.data[2] == '/') {
        return rpl_stamp_local(s, t, c);
    }

    /* 12 and more digits in front of the point: not seconds */

    for (n = 0, i = 0; i < s.len && i < 19 && rpl_digit(s.data[i]); i++) {
        n = n * 10 + (uint64_t) (s.data[i] - '0');
    }

    if (i < 12) {
        return rpl_stamp_seconds(s, t);
    }

    if (i != s.len && s.data[i] != '.') {
        return rpl_digit(s.data[i]) ? PRD_ERANGE : PRD_EINVAL;
    }

    if (i >= 18) {
        us = (int64_t) (n / 1000);

    } else {
        scale = (i >= 15) ? 1 : 1000;
        us = (int64_t) n * scale;
    }

    if ((uint64_t) us / RPL_SECOND > RPL_STAMP_MAX_S) {
        return PRD_ERANGE;
    }

    t->us = us;
    t->whole = 0;

    return PRD_OK;
}


prd_rc_t
rpl_stamp_duration(prd_str_t s, int64_t *us)
{
    prd_rc_t     rc;
    rpl_stamp_t  t;

    rc = rpl_stamp_seconds(s, &t);

    if (rc == PRD_OK) {
        *us = t.us;
    }

    return rc;
}


const char *
rpl_stamp_print(int64_t us, char *buf)
{
    int64_t   s, days, z, era, y;
    unsigned  doe, yoe, doy, mp, d, m, rest;

    s = us >= 0 ? us / RPL_SECOND : -((-us + RPL_SECOND - 1) / RPL_SECOND);
    days = s >= 0 ? s / 86400 : -((-s + 86399) / 86400);
    rest = (unsigned) (s - days * 86400);

    if (s >= 0 && days < 366) {
        snprintf(buf, RPL_STAMP_TEXT, "%ud %02u:%02u:%02u", (unsigned) days,
                 rest / 3600, rest / 60 % 60, rest % 60);
        return buf;
    }

    /* the reverse of rpl_days() */

    z = days + 719468;
    era = (z >= 0 ? z : z - 146096) / 146097;
    doe = (unsigned) (z - era * 146097);
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    y = (int64_t) yoe + era * 400;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    d = doy - (153 * mp + 2) / 5 + 1;
    m = mp < 10 ? mp + 3 : mp - 9;

    snprintf(buf, RPL_STAMP_TEXT, "%04d-%02u-%02u %02u:%02u:%02u",
             (int) (y + (m <= 2)), m, d, rest / 3600, rest / 60 % 60,
             rest % 60);

    return buf;
}
