
/* Numbers, rates, times and sizes. */


#include <stdlib.h>

#include "prd_parse.h"
#include "tap.h"
#include "text.h"


#define R          PRD_RATE_ONE
#define UNTOUCHED  0x5a5a5a5aull


/* `len` times c, then a tail; kept to the end. */

static char      *kept[32];
static unsigned   nkept;


static prd_str_t
many(char c, size_t len, const char *tail)
{
    char       *p;
    prd_str_t   s;

    s.len = len + strlen(tail);
    p = malloc(s.len);
    kept[nkept++] = p;

    memset(p, c, len);
    memcpy(p + len, tail, strlen(tail));

    s.data = p;

    return s;
}


/* What is no number anywhere, whatever unit follows it. */

static const char *const  not_numbers[] = {
    "", " ", "nan", "inf", "infinity", "-1", "+5", "-", "0x10", "1e5", "1E5",
    " 5", "\t5", ".5", "5.", ".", "1.2.3", "1,5", "1_000", "one", "--5", "1 0",
    "5\n", "\xd9\xa5", "$n"
};


static void
test_rate(void)
{
    size_t      i;
    unsigned    bare;
    prd_rc_t    rc;
    prd_str_t   s;
    prd_rate_t  rate;

    static const struct {
        const char  *text;
        prd_rate_t   rate;
        unsigned     bare;
    } good[] = {
        { "1r/s", R, 0 },
        { "10r/s", 10 * R, 0 },
        { "010r/s", 10 * R, 0 },
        { "1.5r/s", 3 * R / 2, 0 },
        { "0.001r/s", R / 1000, 0 },
        { "10r/5s", 2 * R, 0 },
        { "10r/1s", 10 * R, 0 },
        { "30r/m", R / 2, 0 },
        { "90r/3m", R / 2, 0 },
        { "36r/h", R / 100, 0 },
        { "864r/d", R / 100, 0 },
        { "1.5r/3s", R / 2, 0 },

        /* up, so that nobody gets less than was written */
        { "1r/3s", 333333334, 0 },
        { "1r/m", 16666667, 0 },
        { "1r/d", 11575, 0 },
        { "0.000000001r/s", 1, 0 },
        { "0.0000000001r/s", 1, 0 },
        { "0.9999999999r/s", R, 0 },
        { "0.99999999900000r/s", R - 1, 0 },
        { "1r/3650d", 4, 0 },

        { "5", 5 * R, 1 },
        { "1.25", 5 * R / 4, 1 },

        { "1000000000r/s", PRD_RATE_MAX, 0 },
        { "86400000000000r/d", PRD_RATE_MAX, 0 },
        { "1000000000.0r/s", PRD_RATE_MAX, 0 },
        { "315360000000000000r/3650d", PRD_RATE_MAX, 0 }
    };

    static const char *const  invalid[] = {
        "r/s", "10r", "10r/", "10r/x", "10r/ss", "10r/5", "10r/-5s", "10 r/s",
        "10r /s", "10r/ s", "10r/1.5s", "10R/s", "10r/S", "10/s", "10r/s ",
        "10r/s;", "10r/1h30m", "10r/ms", "10r/w", "10s", "1e5r/s", "nanr/s",
        "-1r/s", "+1r/s", "0x10r/s", " 1r/s", ".5r/s", "5.r/s", "10rps",
        "99999999999999999999x", "10r/99999999999999999999x", "10r/s10r/s"
    };

    static const char *const  range[] = {
        "0", "0r/s", "0.0r/s", "00r/d", "1000000000.000000001r/s",
        "1000000001r/s", "10r/0s", "10r/0d", "10r/3651d",
        "10r/99999999999999999999s", "99999999999999999999r/s",
        "18446744073709551615r/s", "18446744073709551616r/s",
        "18446744073709551615.9999999999r/s", "18446744073709551615"
    };

    for (i = 0; i < COUNT(good); i++) {
        rate = UNTOUCHED;
        bare = 7;

        rc = prd_parse_rate(str(good[i].text), &rate, &bare);

        ok(rc == PRD_OK && rate == good[i].rate && bare == good[i].bare,
           "rate %s: rc %d, %llu", good[i].text, rc,
           (unsigned long long) rate);
    }

    rate = UNTOUCHED;
    bare = 7;

    for (i = 0; i < COUNT(invalid); i++) {
        is_int(prd_parse_rate(str(invalid[i]), &rate, &bare), PRD_EINVAL,
               "rate \"%s\" is none", invalid[i]);
    }

    for (i = 0; i < COUNT(not_numbers); i++) {
        is_int(prd_parse_rate(str(not_numbers[i]), &rate, &bare), PRD_EINVAL,
               "no rate in \"%s\"", not_numbers[i]);
    }

    for (i = 0; i < COUNT(range); i++) {
        is_int(prd_parse_rate(str(range[i]), &rate, &bare), PRD_ERANGE,
               "rate %s is out of range", range[i]);
    }

    ok(rate == UNTOUCHED && bare == 7, "failures change nothing");

    is_int(prd_parse_rate(str("5"), &rate, NULL), PRD_OK, "bare may be NULL");

    is_int(prd_parse_rate(many('9', BIG, "r/s"), &rate, NULL), PRD_ERANGE,
           "64 KiB of nines");
    is_int(prd_parse_rate(many('9', BIG, "r/x"), &rate, NULL), PRD_EINVAL,
           "64 KiB of nines that are no rate");
    is_int(prd_parse_rate(many('0', BIG, "7r/s"), &rate, NULL), PRD_OK,
           "64 KiB of zeros and a seven");
    is_int(rate, 7 * R, "... are seven");

    s.data = "10r/s\0";
    s.len = 6;
    is_int(prd_parse_rate(s, &rate, NULL), PRD_EINVAL, "a NUL behind it");

    s.data = "10r/s, 20r/s";
    s.len = 5;
    is_int(prd_parse_rate(s, &rate, NULL), PRD_OK, "no terminator is needed");
    is_int(rate, 10 * R, "... and no byte read beyond");

    s.data = NULL;
    s.len = 0;
    is_int(prd_parse_rate(s, &rate, NULL), PRD_EINVAL, "NULL of no length");
}


static void
test_time(void)
{
    size_t    i;
    prd_rc_t  rc;
    uint64_t  ms;

    static const struct {
        const char  *text;
        uint64_t     ms;
    } good[] = {
        { "0", 0 }, { "5", 5000 }, { "10s", 10000 }, { "500ms", 500 },
        { "0ms", 0 }, { "1m", 60000 }, { "1h", 3600000 }, { "1d", 86400000 },
        { "1w", 7 * 86400000ull }, { "1M", 30 * 86400000ull },
        { "1y", 365 * 86400000ull }, { "1h30m", 5400000 },
        { "1h 30m", 5400000 }, { "1h  30m", 5400000 }, { "1h30", 3630000 },
        { "1m1s1ms", 61001 }, { "1s500ms", 1500 }, { "90m", 5400000 },
        { "10y", 3650 * 86400000ull }, { "3650d", 3650 * 86400000ull },
        { "315360000000ms", 3650 * 86400000ull }, { "0001s", 1000 }
    };

    static const char *const  invalid[] = {
        "s", "h", "1hm", "1s1h", "1m1h", "1h1h", "1ms1s", "1s30", "1ms5",
        "1x", "1H", "1S", "1.5s", "5s ", "5 ", "1h ", " 1h", "1 h", "-1s",
        "1h-30m", "1mss", "1hh", "99999999999999999999x", "1s1"
    };

    static const char *const  range[] = {
        "11y", "3651d", "315360000001ms", "10y1ms", "9y12M1w",
        "99999999999999999999s", "18446744073709551615",
        "18446744073709551616ms", "18446744073709551615y",
        "10y120M521w3650d87600h5256000m315360000s315360000000ms"
    };

    for (i = 0; i < COUNT(good); i++) {
        ms = UNTOUCHED;
        rc = prd_parse_time_ms(str(good[i].text), &ms);

        ok(rc == PRD_OK && ms == good[i].ms, "time %s: rc %d, %llu",
           good[i].text, rc, (unsigned long long) ms);
    }

    ms = UNTOUCHED;

    for (i = 0; i < COUNT(invalid); i++) {
        is_int(prd_parse_time_ms(str(invalid[i]), &ms), PRD_EINVAL,
               "time \"%s\" is none", invalid[i]);
    }

    for (i = 0; i < COUNT(not_numbers); i++) {
        is_int(prd_parse_time_ms(str(not_numbers[i]), &ms), PRD_EINVAL,
               "no time in \"%s\"", not_numbers[i]);
    }

    for (i = 0; i < COUNT(range); i++) {
        is_int(prd_parse_time_ms(str(range[i]), &ms), PRD_ERANGE,
               "time %s is out of range", range[i]);
    }

    is_int(prd_parse_time_ms((prd_str_t) { 2, "1\0" }, &ms), PRD_EINVAL,
           "a NUL is no unit");
    is_int(prd_parse_time_ms(many('9', BIG, "h"), &ms), PRD_ERANGE,
           "64 KiB of nines");
    is_int(prd_parse_time_ms(many(' ', BIG, "1h"), &ms), PRD_EINVAL,
           "64 KiB of blanks");

    ok(ms == UNTOUCHED, "failures change nothing");
}


static void
test_size(void)
{
    size_t    i;
    prd_rc_t  rc;
    uint64_t  n;

    static const struct {
        const char  *text;
        uint64_t     bytes;
    } good[] = {
        { "0", 0 }, { "32768", 32768 }, { "10m", 10485760 },
        { "10M", 10485760 }, { "64k", 65536 }, { "64K", 65536 },
        { "1g", 1073741824 }, { "2G", 2147483648ull },
        { "70368744177664", 1ull << 46 }, { "65536g", 1ull << 46 }
    };

    static const char *const  invalid[] = {
        "k", "10mb", "10mm", "10 m", "1.5m", "10t", "10m ", "m10",
        "99999999999999999999t"
    };

    static const char *const  range[] = {
        "70368744177665", "65537g", "99999999999999999999",
        "99999999999999999999k", "18446744073709551615g",
        "17179869185g"
    };

    for (i = 0; i < COUNT(good); i++) {
        n = UNTOUCHED;
        rc = prd_parse_size(str(good[i].text), &n);

        ok(rc == PRD_OK && n == good[i].bytes, "size %s: rc %d, %llu",
           good[i].text, rc, (unsigned long long) n);
    }

    n = UNTOUCHED;

    for (i = 0; i < COUNT(invalid); i++) {
        is_int(prd_parse_size(str(invalid[i]), &n), PRD_EINVAL,
               "size \"%s\" is none", invalid[i]);
    }

    for (i = 0; i < COUNT(not_numbers); i++) {
        is_int(prd_parse_size(str(not_numbers[i]), &n), PRD_EINVAL,
               "no size in \"%s\"", not_numbers[i]);
    }

    for (i = 0; i < COUNT(range); i++) {
        is_int(prd_parse_size(str(range[i]), &n), PRD_ERANGE,
               "size %s is out of range", range[i]);
    }

    ok(n == UNTOUCHED, "failures change nothing");
}


static void
test_uint(void)
{
    size_t    i;
    uint64_t  n;

    n = UNTOUCHED;

    for (i = 0; i < COUNT(not_numbers); i++) {
        is_int(prd_parse_uint(str(not_numbers[i]), 100, &n), PRD_EINVAL,
               "no number in \"%s\"", not_numbers[i]);
    }

    is_int(prd_parse_uint(str("1.0"), 100, &n), PRD_EINVAL, "no fraction");
    is_int(prd_parse_uint(str("5k"), 100, &n), PRD_EINVAL, "no unit");
    is_int(prd_parse_uint(str("101"), 100, &n), PRD_ERANGE, "above max");
    is_int(prd_parse_uint(str("18446744073709551616"), UINT64_MAX, &n),
           PRD_ERANGE, "2^64");
    is_int(prd_parse_uint(many('1', BIG, ""), UINT64_MAX, &n), PRD_ERANGE,
           "64 KiB of ones");
    is_int(prd_parse_uint(many('1', BIG, "x"), UINT64_MAX, &n), PRD_EINVAL,
           "64 KiB of ones, and an x");
    ok(n == UNTOUCHED, "failures change nothing");

    ok(prd_parse_uint(str("100"), 100, &n) == PRD_OK && n == 100, "max");
    ok(prd_parse_uint(str("0"), 0, &n) == PRD_OK && n == 0, "zero of zero");
    ok(prd_parse_uint(str("18446744073709551615"), UINT64_MAX, &n) == PRD_OK
       && n == UINT64_MAX, "2^64 - 1");
}


static void
test_milli(void)
{
    size_t    i;
    prd_rc_t  rc;
    uint64_t  n;

    static const struct {
        const char  *text;
        uint64_t     milli;
    } good[] = {
        { "0", 0 }, { "1", 1000 }, { "0.001", 1 }, { "1.5", 1500 },
        { "1.0000", 1000 }, { "0.0001", 1 }, { "0.0000000000001", 1 },
        { "2.9999", 3000 }, { "1.2340000000000", 1234 }, { "10", 10000 },
        { "9.9999999999", 10000 }, { "0.123", 123 }
    };

    static const char *const  range[] = {
        "10.001", "10.0001", "10.0000000000001", "11",
        "18446744073709551615.9999999999", "99999999999999999999",
        "18446744073709551615", "18446744073709552"
    };

    for (i = 0; i < COUNT(good); i++) {
        n = UNTOUCHED;
        rc = prd_parse_milli(str(good[i].text), 10000, &n);

        ok(rc == PRD_OK && n == good[i].milli, "milli %s: rc %d, %llu",
           good[i].text, rc, (unsigned long long) n);
    }

    n = UNTOUCHED;

    for (i = 0; i < COUNT(not_numbers); i++) {
        is_int(prd_parse_milli(str(not_numbers[i]), 10000, &n), PRD_EINVAL,
               "no milli in \"%s\"", not_numbers[i]);
    }

    for (i = 0; i < COUNT(range); i++) {
        is_int(prd_parse_milli(str(range[i]), 10000, &n), PRD_ERANGE,
               "milli %s is out of range", range[i]);
    }

    is_int(prd_parse_milli(str("1s"), 10000, &n), PRD_EINVAL, "no unit");
    is_int(prd_parse_milli(str("0.123, 0.4"), 10000, &n), PRD_EINVAL,
           "no list, as $upstream_response_time has");
    is_int(prd_parse_milli(str("18446744073709551.616"), UINT64_MAX, &n),
           PRD_ERANGE, "2^64 / 1000");
    ok(n == UNTOUCHED, "failures change nothing");

    ok(prd_parse_milli(str("18446744073709550.999"), UINT64_MAX, &n) == PRD_OK
       && n == 18446744073709550999ull, "below 2^64 / 1000");
    ok(prd_parse_milli(many('0', BIG, ".5"), 10000, &n) == PRD_OK && n == 500,
       "64 KiB of zeros in front");
    ok(prd_parse_milli((prd_str_t) { 3, "0.5" }, 500, &n) == PRD_OK
       && n == 500, "exactly max");
}


static void
test_percent(void)
{
    size_t    i;
    prd_rc_t  rc;
    uint32_t  n;

    static const struct {
        const char  *text;
        uint32_t     ppm;
    } good[] = {
        { "0%", 0 }, { "99.9%", 999000 }, { "100%", 1000000 },
        { "0.0001%", 1 }, { "0.00001%", 1 }, { "99.999%", 999990 },
        { "50%", 500000 }, { "12.5%", 125000 }, { "99.99991%", 1000000 }
    };

    static const char *const  invalid[] = {
        "99.9", "%", "5%%", "5 %", "-5%", "5%x", ".5%", "1e1%", "nan%"
    };

    static const char *const  range[] = {
        "100.1%", "100.00001%", "101%", "99999999999999999999%"
    };

    for (i = 0; i < COUNT(good); i++) {
        n = 77;
        rc = prd_parse_percent(str(good[i].text), &n);

        ok(rc == PRD_OK && n == good[i].ppm, "percent %s: rc %d, %u",
           good[i].text, rc, n);
    }

    n = 77;

    for (i = 0; i < COUNT(invalid); i++) {
        is_int(prd_parse_percent(str(invalid[i]), &n), PRD_EINVAL,
               "percent \"%s\" is none", invalid[i]);
    }

    for (i = 0; i < COUNT(range); i++) {
        is_int(prd_parse_percent(str(range[i]), &n), PRD_ERANGE,
               "percent %s is out of range", range[i]);
    }

    ok(n == 77, "failures change nothing");
}


static void
test_strerror(void)
{
    int  rc;

    for (rc = PRD_OK; rc <= PRD_ELIMIT; rc++) {
        ok(strcmp(prd_strerror((prd_rc_t) rc), "unknown error") != 0,
           "%d: %s", rc, prd_strerror((prd_rc_t) rc));
    }

    ok(prd_strerror((prd_rc_t) (PRD_ELIMIT + 1)) != NULL, "never NULL");
}


int
main(void)
{
    test_rate();
    test_time();
    test_size();
    test_uint();
    test_milli();
    test_percent();
    test_strerror();

    while (nkept) {
        free(kept[--nkept]);
    }

    return done_testing();
}
