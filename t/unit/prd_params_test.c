
/* The parameters of the directives. */


#include "prd_params.h"
#include "tap.h"
#include "text.h"


#define R  PRD_RATE_ONE


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
    char          *big;
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

    big = fill("r", BIG);
    is_int(prd_params_set(&p, (prd_str_t) { BIG, big }, &why), PRD_DECLINED,
           "64 KiB of a name");
    free(big);

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


int
main(void)
{
    test_params_defaults();
    test_params_good();
    test_params_bad();
    test_params_end();
    test_limit_params();

    return done_testing();
}
