
/* The order of requests, of decisions; clients and their hours. */


#include <stdlib.h>

#include "replay/clients.h"
#include "replay/decisions.h"
#include "replay/order.h"
#include "tap.h"


static char      got[4096];
static unsigned  seconds;


static void
take(void *data, rpl_request_t *r, size_t n)
{
    size_t  i, len;

    (void) data;

    seconds++;
    len = strlen(got);

    for (i = 0; i < n && len + 40 < sizeof(got); i++) {
        len += (size_t) snprintf(got + len, sizeof(got) - len, "%s%llu@%lld",
                                 len ? " " : "",
                                 (unsigned long long) r[i].seq,
                                 (long long) r[i].us / 1000);
    }
}


static uint64_t
add(rpl_order_t *o, uint64_t seq, int64_t ms, unsigned whole)
{
    rpl_request_t  q;

    memset(&q, 0, sizeof(q));
    q.seq = seq;
    q.us = ms * 1000;
    q.whole = (uint16_t) whole;

    return rpl_order_add(o, &q);
}


static rpl_order_t *
begin(uint32_t window_s, int spread)
{
    got[0] = '\0';
    seconds = 0;

    return rpl_order_create(window_s, spread, take, NULL);
}


static void
end(rpl_order_t *o, const char *expected, const char *name)
{
    rpl_order_flush(o);
    is_str(got, strlen(got), expected, "%s", name);
    rpl_order_done(o);
}


static void
test_order(void)
{
    rpl_order_t  *o;

    o = begin(0, 1);
    add(o, 0, 100, 0);
    add(o, 1, 300, 0);
    add(o, 2, 200, 0);
    add(o, 3, 1500, 0);
    is_int(add(o, 4, 700, 0), 1, "a second too late");
    end(o, "0@100 2@200 1@300 4@1000 3@1500", "sorted within the second");
    is_int(seconds, 2, "two seconds");

    o = begin(0, 1);
    add(o, 0, 5000, 1);
    add(o, 1, 5000, 1);
    add(o, 2, 5400, 0);
    add(o, 3, 5000, 1);
    add(o, 4, 5000, 1);
    add(o, 5, 9000, 1);
    end(o, "0@5125 1@5375 2@5400 3@5625 4@5875 5@9500", "spread evenly");

    o = begin(0, 0);
    add(o, 0, 5000, 1);
    add(o, 1, 5000, 1);
    end(o, "0@5000 1@5000", "or not spread");

    o = begin(60, 1);
    add(o, 0, 100500, 0);
    is_int(add(o, 1, 45000, 0), 0, "what ended late arrived early");
    add(o, 2, 140000, 0);
    is_int(add(o, 3, 79900, 0), 1, "behind the window");
    add(o, 4, 900000, 0);
    is_int(add(o, 5, 700000, 0), 140, "far behind");
    end(o, "1@45000 3@80000 0@100500 2@140000 5@840000 4@900000",
        "a window of 60 s");

    o = begin(1, 1);
    add(o, 0, 0, 0);
    is_int(add(o, 1, 0, 0), 0, "the first second");
    end(o, "0@0 1@0", "time 0");

    o = begin(0, 1);
    add(o, 0, 1000, 0);
    add(o, 1, 99999999000, 0);
    add(o, 2, 2000, 0);
    add(o, 3, 3000, 0);
    is_int(rpl_order_ahead(o), 1, "one line of another century");
    end(o, "0@1000 1@1000 2@2000 3@3000", "... does not move the clock");

    o = begin(0, 1);
    add(o, 0, 1000, 0);
    add(o, 1, 99999999000, 0);
    add(o, 2, 99999999500, 0);
    end(o, "0@1000 1@99999999000 2@99999999500", "but a gap of years is one");

    o = begin(3, 1);
    end(o, "", "nothing at all");
}


static void
test_decisions(void)
{
    char              text[8192];
    FILE             *f;
    size_t            n;
    uint64_t          i;
    rpl_decisions_t  *d;

    f = tmpfile();

    if (f == NULL) {
        ok(0, "no temporary file");
        return;
    }

    d = rpl_decisions_create(f);
    rpl_decisions_set(d, 2, PRD_REJECTED, 0);
    rpl_decisions_set(d, 0, PRD_PASSED, 0);
    rpl_decisions_set(d, 3, PRD_SKIPPED, 0);
    rpl_decisions_set(d, 1, PRD_DELAYED, 12345);
    rpl_decisions_flush(d);
    rpl_decisions_set(d, 5, PRD_BORROWED, 0);
    rpl_decisions_flush(d);
    rpl_decisions_set(d, 4, PRD_DELAYED, 0);
    rpl_decisions_flush(d);

    rewind(f);
    n = fread(text, 1, sizeof(text), f);
    is_str(text, n, "0\n1 12.345\n2\n0\n1 0.000\n0\n", "in order");

    rpl_decisions_done(d);
    rewind(f);

    d = rpl_decisions_create(f);

    for (i = 20000; i-- > 0; /* void */ ) {
        rpl_decisions_set(d, i, i % 3 ? PRD_PASSED : PRD_REJECTED, 0);
    }

    rpl_decisions_flush(d);
    rewind(f);

    for (i = 0; i < 20000; i++) {
        if (fgets(text, sizeof(text), f) == NULL
            || text[0] != (i % 3 ? '0' : '2'))
        {
            break;
        }
    }

    is_int(i, 20000, "20000 of them backwards");

    rpl_decisions_done(d);
    fclose(f);
}


/* n requests in the next hour, `limited` of them */

static void
hour(rpl_clients_t *c, uint32_t n, uint32_t demand, uint32_t limited)
{
    c->client[n].demand = demand;
    c->client[n].limited[RPL_OURS] = limited;
    rpl_clients_hour(c, &c->client[n]);
}


static void
test_clients(void)
{
    uint32_t        i, n, wrong;
    uint64_t        tag;
    rpl_clients_t   c;

    rpl_clients_init(&c);

    for (i = 0; i < 50000; i++) {
        tag = (uint64_t) i << 40 | (i * 7 & 0xff);
        tag = tag ? tag : 1;

        if (rpl_clients_find(&c, tag) == RPL_NO_CLIENT) {
            (void) rpl_clients_add(&c, tag, rpl_str(i % 2 ? "odd" : ""));
        }
    }

    is_int(c.nclients, 50000, "clients");

    for (i = 0, wrong = 0; i < 50000; i++) {
        tag = (uint64_t) i << 40 | (i * 7 & 0xff);
        n = rpl_clients_find(&c, tag ? tag : 1);
        wrong += (n != i || rpl_client_key(&c.client[i]).len
                            != (i % 2 ? 3 : 0));
    }

    is_int(wrong, 0, "all are found again, with their keys");
    ok(rpl_clients_find(&c, 12345) == RPL_NO_CLIENT, "and no others");

    /* newcomers are not known to be honest, nor to be otherwise */

    hour(&c, 0, 10, 5);
    is_int(c.client[0].suspect, 1, "limited without a habit");
    hour(&c, 1, 10, 0);
    hour(&c, 1, 20, 0);
    hour(&c, 1, 0, 0);
    is_int(c.client[1].hours, 2, "an hour without requests is none");
    hour(&c, 1, 60, 3);
    is_int(c.client[1].honest, 3, "3 x the greater middle is of habit");
    is_int(c.honest_hours, 1, "one such hour");
    hour(&c, 1, 61, 2);
    is_int(c.client[1].honest, 3, "but no more");
    is_int(c.client[1].suspect, 1, "and then it looks honest no more");
    hour(&c, 1, 20, 1);
    is_int(c.client[1].honest, 3, "not even in its habit");
    is_int(c.habit_hours[RPL_OURS], 2, "which is counted all the same");

    is_int(c.hours, 6, "client-hours");
    ok(rpl_clients_quantile(&c, 0.5) >= 20
       && rpl_clients_quantile(&c, 0.5) < 20 * 1.25, "median of them");
    ok(rpl_clients_quantile(&c, 0.999) >= 61
       && rpl_clients_quantile(&c, 0.999) < 61 * 1.25, "the greatest");

    rpl_clients_done(&c);
}


int
main(void)
{
    test_order();
    test_decisions();
    test_clients();

    return done_testing();
}
