
/*
 * Replies of the batch script, any bytes: what is read of them is applied to
 * a request, and late, and to a renewal.  The books agree, nothing is held
 * that was not wanted.
 */


#include <stdlib.h>

#include "prd_lease.h"


#define NOW_S   1700000123u
#define NOW_MS  50000u


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void                 *mem;
    size_t                zone_size;
    uint32_t              slot;
    unsigned              n;
    prd_ask_t             ask;
    prd_due_t             due;
    prd_view_t            view;
    const char           *why;
    prd_answer_t          answer;
    prd_params_t          params;
    prd_policy_t          policy;
    prd_secret_t          secret = { 1, 2 };
    prd_lease_sums_t      sums;
    prd_lease_reply_t     reply;
    prd_lease_reader_t    r;
    prd_lease_request_t   req;

    if (size < 4
        || prd_lease_read(&r, data, size,
                          (unsigned) data[2] | (unsigned) data[3] << 8)
           != PRD_OK)
    {
        return 0;
    }

    prd_params_init(&params);
    (void) prd_params_set(&params, (prd_str_t) prd_str("rate=20r/s"), &why);
    (void) prd_params_set(&params, (prd_str_t) prd_str("burst=9"), &why);
    (void) prd_params_set(&params, (prd_str_t) prd_str("warmup=0"), &why);
    (void) prd_params_set(&params, (prd_str_t) prd_str("store=s"), &why);
    (void) prd_params_end(&params, &why);
    prd_policy_init(&policy, &params, 9);

    zone_size = (prd_zone_size(8 * 1024) + 63) / 64 * 64;
    mem = aligned_alloc(64, zone_size);
    memset(mem, 0, zone_size);

    if (prd_zone_init(mem, zone_size, policy.unit, &secret, &policy, NOW_S,
                      NOW_MS) != PRD_OK
        || prd_zone_attach(&view, mem, zone_size, &policy, 0, 1, NULL)
           != PRD_OK)
    {
        abort();
    }

    memset(&ask, 0, sizeof(prd_ask_t));

    ask.tag = 7;
    ask.cost = 1000;
    ask.rate = policy.params.rate;
    ask.burst = 9000;
    ask.delay = PRD_NODELAY;
    ask.now_ms = NOW_MS;

    for (n = 0; n < 64 && prd_lease_next(&r, &reply) == PRD_OK; n++) {

        if (reply.profile
            && (reply.profile < data
                || reply.profile + reply.profile_len > data + size))
        {
            abort();
        }

        ask.now_ms += 50;

        (void) prd_lease_decide(&view, &policy, &ask, &answer,
                                PRD_LEASE_STRICT);
        prd_lease_ask(&view, &policy, &ask, &answer, PRD_LEASE_CLIENT, &req);
        slot = req.slot;
        req.flags |= PRD_LEASE_F_WANT;
        req.want = 3000;

        if (n % 4 == 3) {
            prd_lease_timeout(&view, &policy, &ask, &answer,
                              PRD_LEASE_CLIENT, &req, 1, PRD_LEASE_LOCAL,
                              ask.now_ms);
            (void) prd_lease_charge(&view, &policy, &ask, &answer);
            (void) prd_lease_late(&view, &req, &reply, 1, answer.taken,
                                  ask.now_ms, &due);
        } else {
            prd_lease_apply(&view, &policy, &ask, &answer, PRD_LEASE_CLIENT,
                            &req, &reply, ask.now_ms);

            if (answer.verdict != PRD_REJECTED) {
                (void) prd_lease_charge(&view, &policy, &ask, &answer);
            }
        }

        answer.due = PRD_LEASE_CLIENT;
        prd_lease_due(&view, &policy, &ask, &answer, PRD_LEASE_CLIENT, &due);

        if (n % 3 == 0
            && prd_lease_tick(&view, &due, ask.now_ms + 3000, 0, &req)
               == PRD_OK)
        {
            (void) prd_lease_answered(&view, &due, &req, &reply,
                                      ask.now_ms + 3000);
        }

        if (prd_lease_check(&view, &sums) != PRD_OK
            || sums.held > 7000 * (n + 1)
            || slot != prd_table_find(&view.table, 7))
        {
            abort();
        }
    }

    free(mem);

    return 0;
}
