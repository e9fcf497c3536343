
/*
 * Rates, times and sizes.  Everything is exact integer arithmetic on the text:
 * no strtod(), which would take "nan", "1e5", "0x10" and the locale's decimal
 * point.
 */


#include "prd_parse.h"


#define PRD_NANO          1000000000ull

#define PRD_TIME_MAX_S    (10 * PRD_YEAR_S)
#define PRD_SIZE_MAX      (1ull << 46)


/* A decimal fraction, exact to 1/1,000,000,000 and rounded up beyond. */

typedef struct {
    uint64_t  whole;
    uint64_t  nano;             /* 0 .. 999,999,999 */
} prd_decimal_t;


typedef struct {
    char      unit;
    uint32_t  seconds;
} prd_unit_t;


static int
prd_is_digit(char c)
{
    return c >= '0' && c <= '9';
}


/*
 * Takes the digits at *pp and moves it behind them.  PRD_EINVAL: there are
 * none.  PRD_ERANGE: too many; *pp has moved nevertheless, so that the caller
 * can first see whether the rest has a meaning at all.
 */

static prd_rc_t
prd_scan_digits(const char **pp, const char *last, uint64_t *n)
{
    prd_rc_t      rc;
    uint64_t      value, digit;
    const char   *p;

    p = *pp;
    rc = PRD_OK;
    value = 0;

    if (p == last || !prd_is_digit(*p)) {
        return PRD_EINVAL;
    }

    for ( /* void */ ; p < last && prd_is_digit(*p); p++) {
        digit = (uint64_t) (*p - '0');

        if (value > (UINT64_MAX - digit) / 10) {
            rc = PRD_ERANGE;
            continue;
        }

        value = value * 10 + digit;
    }

    *pp = p;

    if (rc == PRD_OK) {
        *n = value;
    }

    return rc;
}


/* "12", "1.5"; not ".5", not "1." - codes and *pp as prd_scan_digits(). */

static prd_rc_t
prd_scan_decimal(const char **pp, const char *last, prd_decimal_t *d)
{
    int           beyond;
    prd_rc_t      rc;
    uint64_t      whole, nano, scale;
    const char   *p;

    p = *pp;
    whole = 0;
    nano = 0;

    rc = prd_scan_digits(&p, last, &whole);

    if (rc == PRD_EINVAL) {
        return rc;
    }

    if (p < last && *p == '.') {
        p++;

        if (p == last || !prd_is_digit(*p)) {
            return PRD_EINVAL;
        }

        beyond = 0;

        for (scale = PRD_NANO / 10; p < last && prd_is_digit(*p); p++) {
            nano += (uint64_t) (*p - '0') * scale;
            beyond |= (scale == 0 && *p != '0');
            scale /= 10;
        }

        nano += beyond;
    }

    *pp = p;

    if (rc != PRD_OK) {
        return rc;
    }

    if (nano == PRD_NANO) {

        if (whole == UINT64_MAX) {
            return PRD_ERANGE;
        }

        whole++;
        nano = 0;
    }

    d->whole = whole;
    d->nano = nano;

    return PRD_OK;
}


/* The decimal in units of 1/scale, rounded up; scale divides 10^9. */

static prd_rc_t
prd_decimal_scale(const prd_decimal_t *d, uint64_t scale, uint64_t max,
    uint64_t *n)
{
    uint64_t  step, value;

    step = PRD_NANO / scale;

    if (d->whole > max / scale) {
        return PRD_ERANGE;
    }

    value = d->whole * scale;

    /* the fraction adds `scale` at most */

    if (value > UINT64_MAX - scale) {
        return PRD_ERANGE;
    }

    value += (d->nano + step - 1) / step;

    if (value > max) {
        return PRD_ERANGE;
    }

    *n = value;

    return PRD_OK;
}


static uint32_t
prd_unit_seconds(char unit)
{
    size_t  i;

    static const prd_unit_t  units[] = {
        { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }
    };

    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].unit == unit) {
            return units[i].seconds;
        }
    }

    return 0;
}


/* "s", "5s", "m" ... up to `last`: the denominator of a rate. */

static prd_rc_t
prd_parse_period(const char *p, const char *last, uint64_t *seconds)
{
    prd_rc_t  rc;
    uint64_t  n;
    uint32_t  unit;

    if (p == last) {
        return PRD_EINVAL;
    }

    n = 1;
    rc = PRD_OK;

    if (prd_is_digit(*p)) {
        rc = prd_scan_digits(&p, last, &n);
    }

    if (last - p != 1) {
        return PRD_EINVAL;
    }

    unit = prd_unit_seconds(*p);

    if (unit == 0) {
        return PRD_EINVAL;
    }

    if (rc != PRD_OK || n > PRD_TIME_MAX_S / unit || n == 0) {
        return PRD_ERANGE;
    }

    *seconds = n * unit;

    return PRD_OK;
}


prd_rc_t
prd_parse_rate(prd_str_t s, prd_rate_t *rate, unsigned *bare)
{
    prd_rc_t            rc, prc;
    uint64_t            seconds;
    const char         *p, *last;
    prd_decimal_t       d;
    unsigned __int128   n;

    if (s.len == 0) {
        return PRD_EINVAL;
    }

    p = s.data;
    last = p + s.len;
    seconds = 1;

    rc = prd_scan_decimal(&p, last, &d);

    if (rc == PRD_EINVAL) {
        return rc;
    }

    if (p < last) {

        if (last - p < 2 || p[0] != 'r' || p[1] != '/') {
            return PRD_EINVAL;
        }

        prc = prd_parse_period(p + 2, last, &seconds);

        if (prc != PRD_OK) {
            return prc;
        }
    }

    if (rc != PRD_OK) {
        return rc;
    }

    /* rounded up twice, which is the same as once: both are by integers */

    n = (unsigned __int128) d.whole * PRD_NANO + d.nano;
    n = (n + seconds - 1) / seconds;

    if (n == 0 || n > PRD_RATE_MAX) {
        return PRD_ERANGE;
    }

    *rate = (prd_rate_t) n;

    if (bare != NULL) {
        *bare = (p == last);
    }

    return PRD_OK;
}


/*
 * The server's grammar of times: units in falling order, each once, spaces
 * between them; a number without a unit at the end counts seconds.
 */

prd_rc_t
prd_parse_time_ms(prd_str_t s, uint64_t *ms)
{
    char          unit;
    size_t        i, step;
    prd_rc_t      rc, range;
    uint64_t      n, total;
    const char   *p, *last;

    /* "ms" is '\0' here; 'M' is 30 days */

    static const struct {
        char      unit;
        uint64_t  ms;
    } units[] = {
        { 'y', 365 * 86400000ull }, { 'M', 30 * 86400000ull },
        { 'w', 7 * 86400000ull },   { 'd', 86400000ull },
        { 'h', 3600000ull },        { 'm', 60000ull },
        { 's', 1000ull },           { '\0', 1ull }
    };

    const size_t  nunits = sizeof(units) / sizeof(units[0]);

    if (s.len == 0) {
        return PRD_EINVAL;
    }

    p = s.data;
    last = p + s.len;
    total = 0;
    step = 0;
    range = PRD_OK;

    do {
        n = 0;
        rc = prd_scan_digits(&p, last, &n);

        if (rc == PRD_EINVAL) {
            return rc;
        }

        if (p == last) {
            unit = 's';

        } else if (last - p >= 2 && p[0] == 'm' && p[1] == 's') {
            unit = '\0';
            p += 2;

        } else if (*p == '\0') {
            return PRD_EINVAL;

        } else {
            unit = *p++;
        }

        for (i = step; i < nunits && units[i].unit != unit; i++) {
            /* void */
        }

        if (i == nunits) {
            return PRD_EINVAL;
        }

        step = i + 1;

        if (rc != PRD_OK || n > PRD_TIME_MAX_S * 1000 / units[i].ms) {
            range = PRD_ERANGE;

        } else {
            /* at most eight times ten years: no overflow */
            total += n * units[i].ms;
        }

        if (p < last && *p == ' ') {
            while (p < last && *p == ' ') {
                p++;
            }

            if (p == last) {
                return PRD_EINVAL;
            }
        }

    } while (p < last);

    if (range != PRD_OK || total > PRD_TIME_MAX_S * 1000) {
        return PRD_ERANGE;
    }

    *ms = total;

    return PRD_OK;
}


prd_rc_t
prd_parse_size(prd_str_t s, uint64_t *bytes)
{
    prd_rc_t      rc;
    uint64_t      n;
    unsigned      shift;
    const char   *p, *last;

    if (s.len == 0) {
        return PRD_EINVAL;
    }

    p = s.data;
    last = p + s.len;
    shift = 0;

    rc = prd_scan_digits(&p, last, &n);

    if (rc == PRD_EINVAL) {
        return rc;
    }

    if (last - p == 1) {

        switch (*p++) {

        case 'k':
        case 'K':
            shift = 10;
            break;

        case 'm':
        case 'M':
            shift = 20;
            break;

        case 'g':
        case 'G':
            shift = 30;
            break;

        default:
            return PRD_EINVAL;
        }
    }

    if (p != last) {
        return PRD_EINVAL;
    }

    if (rc != PRD_OK || n > PRD_SIZE_MAX >> shift) {
        return PRD_ERANGE;
    }

    *bytes = n << shift;

    return PRD_OK;
}


prd_rc_t
prd_parse_uint(prd_str_t s, uint64_t max, uint64_t *n)
{
    prd_rc_t      rc;
    uint64_t      value;
    const char   *p, *last;

    if (s.len == 0) {
        return PRD_EINVAL;
    }

    p = s.data;
    last = p + s.len;

    rc = prd_scan_digits(&p, last, &value);

    if (rc == PRD_EINVAL || p != last) {
        return PRD_EINVAL;
    }

    if (rc != PRD_OK || value > max) {
        return PRD_ERANGE;
    }

    *n = value;

    return PRD_OK;
}


prd_rc_t
prd_parse_milli(prd_str_t s, uint64_t max, uint64_t *milli)
{
    prd_rc_t        rc;
    const char     *p, *last;
    prd_decimal_t   d;

    if (s.len == 0) {
        return PRD_EINVAL;
    }

    p = s.data;
    last = p + s.len;

    rc = prd_scan_decimal(&p, last, &d);

    if (rc == PRD_EINVAL || p != last) {
        return PRD_EINVAL;
    }

    if (rc != PRD_OK) {
        return rc;
    }

    return prd_decimal_scale(&d, 1000, max, milli);
}


prd_rc_t
prd_parse_percent(prd_str_t s, uint32_t *ppm)
{
    prd_rc_t        rc;
    uint64_t        n;
    const char     *p, *last;
    prd_decimal_t   d;

    if (s.len == 0) {
        return PRD_EINVAL;
    }

    p = s.data;
    last = p + s.len;

    rc = prd_scan_decimal(&p, last, &d);

    if (rc == PRD_EINVAL || last - p != 1 || *p != '%') {
        return PRD_EINVAL;
    }

    if (rc != PRD_OK) {
        return rc;
    }

    rc = prd_decimal_scale(&d, 10000, 1000000, &n);

    if (rc == PRD_OK) {
        *ppm = (uint32_t) n;
    }

    return rc;
}
