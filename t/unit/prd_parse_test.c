
/* Numbers, rates, times, sizes and the parameters of the directives. */


#include <stdlib.h>

#include "prd_parse.h"
#include "tap.h"


#define R          PRD_RATE_ONE
#define UNTOUCHED  0x5a5a5a5aull
#define BIG        65536

#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))


static prd_str_t
str(const char *text)
{
    prd_str_t  s;

    s.len = strlen(text);
    s.data = text;

    return s;
}


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
test_params_defaults(void)
{
    prd_params_t  p;

    prd_params_init(&p);

    ok(p.rate == 0 && p.capacity == 0 && p.min == 0 && p.max == 0, "no rate");
    ok(p.burst == 0 && p.borrow_milli == 0, "burst=0 borrow=unlimited");
    is_int(p.confidence_ppm, 999000, "confidence=99.9%%");
    is_int(p.warmup_s, 86400, "warmup=1d");
    is_int(p.horizon_s, 300, "horizon=5m");
    is_int(p.cost_milli, 1000, "cost=1");
    ok(p.learn == PRD_LEARN_ON && !p.floor_none, "learn=on floor=newcomer");
    ok(p.charge.len == 0 && p.class_.len == 0 && p.newcomer.len == 0
       && p.rate_var.len == 0 && p.burst_var.len == 0 && p.cost_var.len == 0,
       "no variable");
}


static prd_rc_t
set(prd_params_t *p, const char *word, const char **why)
{
    *why = NULL;

    return prd_params_set(p, str(word), why);
}


static void
test_params_good(void)
{
    prd_params_t   p;
    const char    *why;

#define SET(word, cond)                                                       \
    prd_params_init(&p);                                                      \
    ok(set(&p, word, &why) == PRD_OK && why == NULL && (cond), "%s", word)

    SET("rate=10r/s", p.rate == 10 * R && p.rate_set && !p.rate_bare);
    SET("rate=10", p.rate == 10 * R && p.rate_bare);
    SET("rate=1.5r/m", p.rate == 25000000);
    SET("rate=$r", p.rate == 0 && p.rate_set && p.rate_var.len == 2
        && memcmp(p.rate_var.data, "$r", 2) == 0);
    SET("rate=${n}r/s", p.rate_var.len == 7 && p.rate_set);
    SET("burst=0", p.burst == 0 && p.burst_set);
    SET("burst=1000000000", p.burst == 1000000000);
    SET("burst=$b", p.burst == 0 && p.burst_set && p.burst_var.len == 2);
    SET("capacity=100r/s", p.capacity == 100 * R);
    SET("capacity=100", p.capacity == 100 * R && p.rate_bare);
    SET("capacity=1r/5s", p.capacity == R / 5);
    SET("borrow=unlimited", p.borrow_milli == 0);
    SET("borrow=off", p.borrow_milli == 1000);
    SET("borrow=1", p.borrow_milli == 1000);
    SET("borrow=2.5", p.borrow_milli == 2500);
    SET("borrow=1000", p.borrow_milli == 1000000);
    SET("floor=newcomer", !p.floor_none);
    SET("floor=none", p.floor_none);
    SET("min=1r/m", p.min == 16666667);
    SET("max=500r/s", p.max == 500 * R);
    SET("learn=on", p.learn == PRD_LEARN_ON);
    SET("learn=observe", p.learn == PRD_LEARN_OBSERVE);
    SET("learn=off", p.learn == PRD_LEARN_OFF);
    SET("network=on", p.network);
    SET("network=off", !p.network);
    SET("sync=lease", p.sync == PRD_SYNC_LEASE);
    SET("sync=strict", p.sync == PRD_SYNC_STRICT);
    SET("store=main", p.store.len == 4
        && memcmp(p.store.data, "main", 4) == 0);
    SET("warmup=0", p.warmup_s == 0);
    SET("warmup=1ms", p.warmup_s == 1);
    SET("warmup=365d", p.warmup_s == 365 * 86400);
    SET("confidence=50%", p.confidence_ppm == 500000);
    SET("confidence=99.999%", p.confidence_ppm == 999990);
    SET("horizon=10s", p.horizon_s == 10);
    SET("horizon=1d", p.horizon_s == 86400);
    SET("cost=0", p.cost_milli == 0);
    SET("cost=0.001", p.cost_milli == 1);
    SET("cost=1000000000", p.cost_milli == 1000000000000ull);
    SET("cost=$c", p.cost_milli == 1000 && p.cost_var.len == 2);
    SET("charge=$bytes_sent", p.charge.len == 11);
    SET("class=$class", p.class_.len == 6);
    SET("newcomer=$net", p.newcomer.len == 4);
    SET("newcomer=a=b", p.newcomer.len == 3);
}


static void
test_params_bad(void)
{
    size_t         i;
    const char    *why;
    prd_rc_t       rc;
    prd_params_t   p, was;

    static const char *const  invalid[] = {
        "rate=", "rate", "rate=fast", "rate=-1r/s", "rate=1e5", "rate=nan",
        "rate= 5", "rate=10r/s ", "burst=", "burst=-1", "burst=1.5",
        "burst=5k", "burst=+5", "burst=0x10", "capacity=much", "capacity=$c",
        "borrow=on", "borrow=-1", "borrow=2x", "floor=off", "floor=Newcomer",
        "min=off", "min=$m", "max=$m", "max=1r", "learn=yes", "learn=offf",
        "network=", "network=1", "network=offf",
        "warmup=long", "warmup=1.5d", "confidence=99", "confidence=0.99",
        "horizon=soon", "cost=-1", "cost=1e5", "cost=inf", "cost=5.",
        "charge=", "charge=5", "class=", "newcomer=", "store=", "store",
        "store=$s", "sync=", "sync", "sync=off", "sync=Lease", "sync=$s"
    };

    static const char *const  range[] = {
        "rate=0", "rate=0r/s", "rate=1000000001r/s", "burst=1000000001",
        "burst=99999999999999999999", "capacity=0r/s", "capacity=0.1999r/s",
        "borrow=0", "borrow=0.999", "borrow=1001", "borrow=1000.0001",
        "min=0r/s", "max=0", "warmup=366d", "confidence=49.9%",
        "confidence=99.9995%", "confidence=100%", "confidence=0%",
        "horizon=9999ms", "horizon=25h", "cost=1000000001",
        "cost=1000000000.0001"
    };

    static const char *const  later[] = {
        "capacity=auto", "weight=2", "weight=$w", "weight=", "priority=3"
    };

    static const char *const  unknown[] = {
        "", "=", "=5", "zone=a:1m", "Rate=5", "rates=5", "rat=5", "rate =5",
        "ratee", "pool=a", "nodelay", "burst ", "seen=1"
    };

    prd_params_init(&p);
    was = p;

    for (i = 0; i < COUNT(invalid); i++) {
        rc = set(&p, invalid[i], &why);
        ok(rc == PRD_EINVAL && why != NULL, "%s: rc %d, \"%s\"", invalid[i],
           rc, why ? why : "(none)");
    }

    for (i = 0; i < COUNT(range); i++) {
        rc = set(&p, range[i], &why);
        ok(rc == PRD_ERANGE && why != NULL, "%s: rc %d, \"%s\"", range[i], rc,
           why ? why : "(none)");
    }

    for (i = 0; i < COUNT(later); i++) {
        rc = set(&p, later[i], &why);
        ok(rc == PRD_EINVAL && why != NULL
           && strcmp(why, "is not supported yet") == 0,
           "%s: \"%s\"", later[i], why ? why : "(none)");
    }

    for (i = 0; i < COUNT(unknown); i++) {
        is_int(set(&p, unknown[i], &why), PRD_DECLINED,
               "\"%s\" is no parameter", unknown[i]);
    }

    is_int(prd_params_set(&p, many('r', BIG, ""), &why), PRD_DECLINED,
           "64 KiB of a name");
    is_int(prd_params_set(&p, (prd_str_t) { 0, NULL }, &why), PRD_DECLINED,
           "NULL of no length");
    is_int(prd_params_set(&p, (prd_str_t) { 7, "rate=1\0" }, &why),
           PRD_EINVAL, "a NUL behind the value");
    is_int(prd_params_set(&p, (prd_str_t) { 7, "ra\0te=1" }, &why),
           PRD_DECLINED, "a NUL in the name");

    ok(memcmp(&p, &was, sizeof(p)) == 0, "failures change nothing");

    is_int(set(&p, "rate=5r/s", &why), PRD_OK, "after failures it goes on");
    is_int(set(&p, "rate=6r/s", &why), PRD_EINVAL, "a second rate is refused");
    ok(strcmp(why, "is given twice") == 0 && p.rate == 5 * R,
       "\"%s\", and the first stays", why);
    is_int(set(&p, "rate=$r", &why), PRD_EINVAL, "also as a variable");
    is_int(set(&p, "class=$a", &why), PRD_OK, "a class");
    is_int(set(&p, "class=$b", &why), PRD_EINVAL, "a second class is refused");
}


/* Words by blanks, then the end.  *p is filled; PRD_OK or the end's code. */

static prd_rc_t
end(prd_params_t *p, const char *words, const char **why)
{
    size_t    n;
    prd_rc_t  rc;

    prd_params_init(p);
    *why = NULL;

    while (*words) {
        n = strcspn(words, " ");

        rc = prd_params_set(p, (prd_str_t) { n, words }, why);

        if (rc != PRD_OK) {
            printf("# \"%.*s\": rc %d\n", (int) n, words, rc);
            return PRD_ECORRUPT;
        }

        words += n;
        words += strspn(words, " ");
    }

    return prd_params_end(p, why);
}


static void
test_params_end(void)
{
    size_t         i;
    prd_rc_t       rc;
    const char    *why;
    prd_params_t   p;

    static const struct {
        const char  *words;
        prd_rate_t   min;
        prd_rate_t   max;
    } good[] = {
        { "rate=10r/s", 10 * R, 100 * R },
        { "rate=10r/s floor=newcomer", 10 * R, 100 * R },
        { "rate=10r/s floor=none", 0, 100 * R },
        { "floor=none rate=10r/s", 0, 100 * R },
        { "rate=10r/s floor=none min=1r/s", R, 100 * R },
        { "rate=10r/s min=2r/s", 2 * R, 100 * R },
        { "rate=10r/s max=10r/s", 10 * R, 10 * R },
        { "rate=10r/s floor=none max=5r/s", 0, 5 * R },
        { "capacity=50r/s", 0, 50 * R },
        { "capacity=50r/s min=50r/s", 50 * R, 50 * R },
        { "capacity=50r/s max=70r/s", 0, 70 * R },
        { "rate=10r/s capacity=50r/s", 10 * R, 100 * R },
        { "rate=10r/s capacity=5r/s", 10 * R, 100 * R },
        { "rate=1000000000r/s", PRD_RATE_MAX, PRD_RATE_MAX },
        { "rate=500000000r/s", PRD_RATE_MAX / 2, PRD_RATE_MAX },
        { "rate=$r", 0, 0 },
        { "rate=$r capacity=5r/s", 0, 0 },
        { "rate=$r min=2r/s max=3r/s", 2 * R, 3 * R },
        { "rate=$r min=2r/s", 2 * R, 0 },
        { "rate=10r/s learn=off", 10 * R, 100 * R },
        { "rate=10r/s learn=observe max=20r/s", 10 * R, 20 * R }
    };

    static const char *const  bad[] = {
        "", "burst=5", "min=1r/s max=2r/s",
        "rate=10r/s max=5r/s", "rate=10r/s min=101r/s",
        "rate=10r/s min=30r/s max=20r/s", "rate=$r min=3r/s max=2r/s",
        "capacity=5r/s min=6r/s", "rate=1r/s capacity=5r/s min=6r/s",
        "rate=10r/s learn=off floor=newcomer", "rate=10r/s learn=off min=1r/s",
        "max=20r/s learn=off rate=10r/s", "rate=10r/s sync=lease",
        "rate=10r/s sync=strict"
    };

    for (i = 0; i < COUNT(good); i++) {
        rc = end(&p, good[i].words, &why);

        ok(rc == PRD_OK && p.min == good[i].min && p.max == good[i].max,
           "%s: rc %d, min %llu, max %llu", good[i].words, rc,
           (unsigned long long) p.min, (unsigned long long) p.max);
    }

    for (i = 0; i < COUNT(bad); i++) {
        rc = end(&p, bad[i], &why);
        ok(rc == PRD_EINVAL && why != NULL, "\"%s\": rc %d, \"%s\"", bad[i],
           rc, why ? why : "(none)");
    }
}


static void
test_limit_params(void)
{
    size_t               i;
    const char          *why;
    prd_limit_params_t   p, was;

    static const struct {
        const char  *word;
        prd_rc_t     rc;
    } bad[] = {
        { "burst=", PRD_EINVAL }, { "burst=-1", PRD_EINVAL },
        { "burst=1.5", PRD_EINVAL }, { "burst=+5", PRD_EINVAL },
        { "burst=5 ", PRD_EINVAL }, { "burst=1000000001", PRD_ERANGE },
        { "delay=", PRD_EINVAL }, { "delay=x", PRD_EINVAL },
        { "delay=99999999999999999999", PRD_ERANGE },
        { "zone=", PRD_EINVAL },
        { "if=$x", PRD_DECLINED }, { "nodelay=1", PRD_DECLINED },
        { "NODELAY", PRD_DECLINED }, { "", PRD_DECLINED },
        { "burst", PRD_DECLINED }, { "rate=1r/s", PRD_DECLINED }
    };

#define LSET(word)  (why = NULL, prd_limit_params_set(&p, str(word), &why))

    prd_limit_params_init(&p);
    was = p;

    ok(p.burst == 0 && p.delay == 0 && !p.nodelay && p.zone.len == 0
       && !p.burst_set && !p.delay_set, "nothing is set at first");

    for (i = 0; i < COUNT(bad); i++) {
        is_int(LSET(bad[i].word), bad[i].rc, "limit: \"%s\"", bad[i].word);
        ok(bad[i].rc == PRD_DECLINED || why != NULL, "... \"%s\"",
           why ? why : "(none)");
    }

    is_int(LSET("pool=a,b"), PRD_EINVAL, "limit: pool=");
    ok(why && strcmp(why, "is not supported yet") == 0, "... \"%s\"", why);

    ok(memcmp(&p, &was, sizeof(p)) == 0, "failures change nothing");

    ok(LSET("zone=one") == PRD_OK && p.zone.len == 3
       && memcmp(p.zone.data, "one", 3) == 0, "zone=one");
    ok(LSET("burst=20") == PRD_OK && p.burst == 20 && p.burst_set, "burst=20");
    ok(LSET("delay=8") == PRD_OK && p.delay == 8 && p.delay_set, "delay=8");
    ok(LSET("nodelay") == PRD_OK && p.nodelay, "nodelay");
    ok(LSET("delay=9") == PRD_OK && p.delay == 9 && !p.nodelay,
       "as in limit_req, the last of delay= and nodelay wins");
    ok(LSET("burst=0") == PRD_OK && p.burst == 0 && p.burst_set,
       "the last burst= wins, and 0 is one");
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
    test_params_defaults();
    test_params_good();
    test_params_bad();
    test_params_end();
    test_limit_params();
    test_strerror();

    while (nkept) {
        free(kept[--nkept]);
    }

    return done_testing();
}
