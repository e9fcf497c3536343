
/* A zone that grows keeps everybody and everything. */


#include <stdlib.h>

#include "replay/zone.h"

#include "prd_decide.h"
#include "prd_forecaster.h"
#include "tap.h"


#define CLIENTS  200000u


static prd_secret_t      secret = { 1, 2 };
static prd_policy_t      policy;
static prd_forecaster_t  forecaster;


static uint64_t
tag_of(uint32_t i)
{
    return prd_tag(prd_hash(&secret, &i, sizeof(i)));
}


static void
ask(rpl_zone_t *z, uint32_t i, uint32_t now_ms, prd_answer_t *a)
{
    prd_ask_t  q;

    memset(&q, 0, sizeof(q));
    q.tag = tag_of(i);
    q.cost = PRD_MILLI;
    q.rate = policy.params.rate;
    q.burst = 3 * PRD_MILLI;
    q.now_ms = now_ms;

    prd_decide(&z->view, &policy, &q, a);
    prd_note(&z->view, &q, a, 0, 0);
}


/* A client with a track, of a zone that then grows. */

static void
outlook(rpl_zone_t *z)
{
    float               ahead;
    uint32_t            i, slot;
    prd_track_t         t[2];
    prd_tracked_t       c;
    prd_outlook_bin_t   bin;
    prd_outlook_work_t  *work;

    work = calloc(1, sizeof(prd_outlook_work_t));
    memset(t, 0, sizeof(t));
    memset(&bin, 0, sizeof(bin));

    bin.tag = tag_of(1);
    bin.slot = slot = prd_table_find(&z->view.table, bin.tag);
    bin.generation = (uint16_t) prd_env_generation(
                         atomic_load(&z->view.table.entries[slot].envelope));
    bin.blocks = 9;
    bin.horizon_s = 300;

    for (i = 0; i < 200; i++) {
        bin.start_s = 1700000000 + i * 10;
        bin.requests = i % 7 + 1;
        bin.tokens = (float) bin.requests;
        (void) prd_outlook_count(&z->view.outlook, work, &bin, &ahead);
    }

    for (i = 0; i < 2; i++) {
        slot = prd_table_find(&z->view.table, tag_of(1));

        if (prd_outlook_client(&z->view.outlook, slot,
                (uint16_t) prd_env_generation(atomic_load(
                    &z->view.table.entries[slot].envelope)), &c)
            == PRD_OK)
        {
            (void) prd_outlook_copy_track(&z->view.outlook, &c, &t[i]);
        }

        if (i == 0) {
            rpl_zone_grow(z, 20000);
        }
    }

    ok(t[0].bins[0].age > 20 && memcmp(&t[0], &t[1], sizeof(t[0])) == 0,
       "and the tracks");

    free(work);
}


int
main(void)
{
    uint32_t       i, now_ms, slots, claims, clients, lost, differ;
    uint64_t       sum[2];
    prd_answer_t   a[2];
    rpl_zone_t     z[2];
    prd_params_t   p;
    const char    *why;

    prd_params_init(&p);
    why = "";

    if (prd_params_set(&p, prd_str("rate=1r/s"), &why) != PRD_OK
        || prd_params_set(&p, prd_str("capacity=100000"), &why) != PRD_OK
        || prd_params_set(&p, prd_str("warmup=1s"), &why) != PRD_OK
        || prd_params_end(&p, &why) != PRD_OK)
    {
        printf("Bail out! %s\n", why);
        return 1;
    }

    prd_policy_init(&policy, &p, 3);

    memset(z, 0, sizeof(z));
    rpl_zone_create(&z[0], 0, &policy, &secret, 1000, 1000);
    rpl_zone_create(&z[1], 64 << 20, &policy, &secret, 1000, 1000);

    slots = prd_zone_slots(&z[0].view);
    ok(slots < CLIENTS / 4, "begins small: %u slots", slots);

    differ = 0;

    /* a tenth ask seven times at once, in the midst of it the zone grows */

    for (i = 0; i < CLIENTS; i++) {
        unsigned  k, n;

        now_ms = 1000 + i / 40;

        for (n = (i % 10) ? 1 : 7; n; n--) {
            for (k = 0; k < 2; k++) {

                if (rpl_zone_full(&z[k])) {
                    rpl_zone_grow(&z[k], now_ms);
                }

                ask(&z[k], i % 10 ? i : i % 1000, now_ms, &a[k]);
            }

            differ += (a[0].verdict != a[1].verdict
                       || a[0].level != a[1].level
                       || a[0].fill != a[1].fill);
        }
    }

    is_int(differ, 0, "the same verdicts as in a zone that is large");
    ok(prd_zone_slots(&z[0].view) > slots * 4, "it has grown");
    is_int(prd_zone_count(&z[0].view, PRD_CNT_EVICTED), 0, "none evicted");
    is_int(prd_table_check(&z[0].view.table, &clients, &claims), 0,
           "the table is sane");
    is_int(clients, prd_zone_count(&z[0].view, PRD_CNT_INSERTED),
           "all clients are there");

    for (i = 0; i < PRD_COUNTERS; i++) {
        if (prd_zone_count(&z[0].view, (prd_counter_e) i)
            != prd_zone_count(&z[1].view, (prd_counter_e) i))
        {
            break;
        }
    }

    is_int(i, PRD_COUNTERS, "counters moved with it");

    /* the thread sees the demand of all */

    for (i = 0; i < 2; i++) {
        (void) prd_forecaster_round(&forecaster, &z[i].view, &policy, 1000,
                                    10000);
        (void) prd_forecaster_round(&forecaster, &z[i].view, &policy, 1010,
                                    10000);
        sum[i] = atomic_load(&z[i].view.zone->active);
    }

    is_int(sum[0], sum[1], "as many are active");
    is_int(sum[0], clients, "all of them");

    lost = 0;

    for (i = 1; i < CLIENTS; i++) {
        lost += (i % 10 && prd_table_find(&z[0].view.table, tag_of(i))
                           == PRD_NO_SLOT);
    }

    is_int(lost, 0, "none is lost");
    outlook(&z[0]);

    rpl_zone_done(&z[0]);
    rpl_zone_done(&z[1]);

    return done_testing();
}
