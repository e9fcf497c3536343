
/*
 * Packed records: what goes in comes out, whatever the clocks; hostile bytes
 * are refused or end up in range.
 */


#include <math.h>
#include <stdlib.h>

#include "prd_pack.h"
#include "tap.h"


#define NOW_S     1700000123ull       /* 203 s into its horizon of 300 s */
#define SHARED_S  900000000u

#define near_to(a, b)  (fabs((double) (a) - (double) (b))                     \
                        <= 0.001 * fabs((double) (b)))


static prd_pack_terms_t  terms = { 0xabcd, 300, NOW_S, SHARED_S, 0 };


static prd_learned_t
record(void)
{
    prd_learned_t  l;

    memset(&l, 0, sizeof(l));

    l.mu = 3.25f;
    l.sigma = 0.7f;
    l.mu_rate = -2.5f;
    l.sigma_rate = 1.5f;
    l.depth = 1234.5f;
    l.rate = 0.00123f;
    l.cap_depth = 2000;
    l.cap_rate = 0.5f;
    l.count = 4711;
    l.level = 12.5f;
    l.near = 0;
    l.depth_at = NOW_S - 40;
    l.rate_at = NOW_S - 4000;
    l.epoch = (uint16_t) (NOW_S / PRD_EPOCH_S - 2);
    l.near_bin = (uint16_t) ((NOW_S - 5) / 300 - 3);
    l.blocks = 77;
    l.hours = 9;
    l.counted = 1;
    l.held = l.limited = 1;
    l.run = 3;
    l.generation = 55;
    prd_learned_prove(&l);

    return l;
}


static void
test_round(void)
{
    double            hold;
    uint8_t           buf[PRD_PACK_SIZE], again[PRD_PACK_SIZE];
    uint16_t          by;
    prd_learned_t     l, r;

    l = record();

    is_int(prd_pack_put(buf, &l, 2.5, &terms), PRD_OK, "packed");
    is_int(prd_pack_get(buf, sizeof(buf), &r, &hold, &by, &terms), PRD_OK,
           "unpacked");

    is_int(by, 0xabcd, "by whom");
    ok(near_to(hold, 2.5), "hold %f", hold);
    ok(fabs(r.mu - l.mu) < 0.001 && fabs(r.mu_rate - l.mu_rate) < 0.001,
       "means %f %f", r.mu, r.mu_rate);
    ok(near_to(r.sigma, l.sigma) && near_to(r.sigma_rate, l.sigma_rate),
       "spreads %f %f", r.sigma, r.sigma_rate);
    ok(near_to(r.depth, l.depth) && near_to(r.rate, l.rate),
       "envelope %f %f", r.depth, r.rate);
    ok(near_to(r.cap_depth, l.cap_depth) && near_to(r.cap_rate, l.cap_rate),
       "caps %f %f", r.cap_depth, r.cap_rate);
    ok(near_to(r.count, l.count) && near_to(r.level, l.level),
       "counts %f %f", r.count, r.level);
    ok(r.near == 0, "nothing stays nothing");
    is_int(r.depth_at, l.depth_at, "when the depth was moved");
    ok(r.rate_at - l.rate_at <= 4, "when the rate was: %u", r.rate_at);
    is_int(r.epoch, l.epoch, "hour");
    is_int(r.near_bin, l.near_bin, "horizon");
    is_int(r.blocks, 77, "blocks");
    is_int(r.hours, 9, "hours");
    is_int(r.counted, 1, "counted");
    ok(!r.held && !r.limited && buf[PRD_PACK_SIZE - 1] == 1,
       "no flag that nodes of before do not know");
    is_int(r.run, 3, "run");
    ok(r.proven == l.proven, "what is proven is what it has");
    is_int(r.generation, 0, "no slot's generation");

    /* to and fro: it does not wander */

    is_int(prd_pack_put(again, &r, hold, &terms), PRD_OK, "packed again");
    ok(memcmp(buf, again, sizeof(buf)) == 0, "to the same bytes");
}


/* Stamps follow the store's clock, not the nodes'. */

static void
test_clocks(void)
{
    int               i, hour, near, same;
    double            hold;
    uint8_t           buf[PRD_PACK_SIZE];
    prd_learned_t     l, r;
    prd_pack_terms_t  t;

    l = record();
    (void) prd_pack_put(buf, &l, 0, &terms);

    t = terms;
    t.shared_s += 600;
    t.now_s += 600;
    (void) prd_pack_get(buf, sizeof(buf), &r, &hold, NULL, &t);

    is_int(r.depth_at, l.depth_at, "ten minutes later: the same moment");
    is_int(r.epoch, l.epoch, "the same hour");
    is_int(r.near_bin, l.near_bin, "the same horizon");
    ok(hold == 0, "no hold is none");

    t = terms;
    t.now_s += 7 * 3600;
    (void) prd_pack_get(buf, sizeof(buf), &r, &hold, NULL, &t);

    is_int(r.depth_at, l.depth_at + 7 * 3600, "a clock 7 hours ahead");
    is_int(r.epoch, (uint16_t) (l.epoch + 7), "its hour moves along");
    is_int(r.near_bin, (uint16_t) (l.near_bin + 84), "and its horizon");

    t = terms;
    t.shared_s -= 100000;
    (void) prd_pack_get(buf, sizeof(buf), &r, &hold, NULL, &t);
    is_int(r.depth_at, l.depth_at, "packed ahead of us is packed now");

    t = terms;
    t.shared_s += 1000 * 86400u;
    t.now_s += 1000 * 86400u;
    (void) prd_pack_get(buf, sizeof(buf), &r, &hold, NULL, &t);
    is_int(r.depth_at, t.now_s - 30 * 86400 - 40, "at most thirty days");

    t = terms;
    t.now_s = 5;
    (void) prd_pack_get(buf, sizeof(buf), &r, &hold, NULL, &t);
    is_int(r.depth_at, 0, "not before the epoch of a clock that starts");

    /* wherever in its hour and horizon a record is packed */

    hour = near = same = 0;

    for (i = 0; i < 4000; i++) {
        t = terms;
        t.now_s = NOW_S + (unsigned) i * 7;
        t.horizon_s = 10 + (unsigned) i % 900;
        t.phase_s = (unsigned) i % PRD_PHASES * 10;
        l.epoch = (uint16_t) ((t.now_s + t.phase_s) / 3600
                              - (unsigned) i % 5);
        l.near_bin = (uint16_t) ((t.now_s + t.phase_s - 5) / t.horizon_s
                                 - (unsigned) i % 290);
        (void) prd_pack_put(buf, &l, 0, &t);
        (void) prd_pack_get(buf, sizeof(buf), &r, &hold, NULL, &t);
        hour += r.epoch != l.epoch;
        near += r.near_bin != l.near_bin;
    }

    is_int(hour, 0, "no hour moves by rounding");
    is_int(near, 0, "no horizon does");

    /* nor if the reader comes an odd number of seconds later */

    for (i = 0; i < 4000; i++) {
        t = terms;
        t.now_s = NOW_S + (unsigned) i * 7;
        t.phase_s = (unsigned) i % PRD_PHASES * 10;
        l.epoch = (uint16_t) ((t.now_s + t.phase_s) / 3600 - 1);
        l.near_bin = (uint16_t) ((t.now_s + t.phase_s - 5) / t.horizon_s);
        (void) prd_pack_put(buf, &l, 0, &t);
        t.now_s += (unsigned) i % 977;
        t.shared_s += (unsigned) i % 977;
        (void) prd_pack_get(buf, sizeof(buf), &r, &hold, NULL, &t);
        same += r.epoch != l.epoch || r.near_bin != l.near_bin;
    }

    is_int(same, 0, "nor for who reads it later");

    /* clocks that are off by part of a horizon: the one of that time */

    for (i = 0, near = 0; i < 4000; i++) {
        t = terms;
        t.now_s = NOW_S + (unsigned) i * 7;
        t.phase_s = (unsigned) i % PRD_PHASES * 10;
        l.near_bin = (uint16_t) ((t.now_s + t.phase_s - 5) / 300 - 2);
        (void) prd_pack_put(buf, &l, 0, &t);
        t.now_s += 3 * 300 + 100;
        (void) prd_pack_get(buf, sizeof(buf), &r, &hold, NULL, &t);
        near += r.near_bin != (uint16_t) (l.near_bin + 3);
    }

    is_int(near, 0, "a clock three horizons and a third ahead");
}


static void
test_bytes(void)
{
    int               sane, taken;
    double            hold;
    uint8_t           buf[PRD_PACK_SIZE + 8];
    uint32_t          i, j, x;
    prd_learned_t     l, r, kept;
    prd_pack_terms_t  t;

    l = record();
    memset(buf, 0, sizeof(buf));
    (void) prd_pack_put(buf, &l, 0, &terms);
    memset(&kept, 0x5a, sizeof(kept));
    r = kept;

    is_int(prd_pack_get(buf, 0, &r, &hold, NULL, &terms), PRD_ECORRUPT,
           "no bytes");
    is_int(prd_pack_get(buf, PRD_PACK_SIZE - 1, &r, &hold, NULL, &terms),
           PRD_ECORRUPT, "too few");
    is_int(prd_pack_get(buf, PRD_PACK_SIZE + 1, &r, &hold, NULL, &terms),
           PRD_ECORRUPT, "too many");

    buf[0] = 2;
    is_int(prd_pack_get(buf, PRD_PACK_SIZE, &r, &hold, NULL, &terms),
           PRD_EVERSION, "another version");
    buf[0] = PRD_PACK_VERSION;

    taken = 0;

    for (i = 1; i < PRD_PACK_SIZE; i++) {
        for (j = 1; j < 256; j <<= 1) {
            buf[i] ^= j;
            taken += prd_pack_get(buf, PRD_PACK_SIZE, &r, &hold, NULL, &terms)
                     == PRD_OK;
            buf[i] ^= j;
        }
    }

    ok(taken <= 5, "%d of 360 damaged records are taken", taken);

    for (i = 0, buf[PRD_PACK_SIZE - 1] ^= 0x82; i < 256; i++) {
        buf[1] = (uint8_t) i;

        if (prd_pack_get(buf, PRD_PACK_SIZE, &r, &hold, NULL, &terms)
            == PRD_OK)
        {
            break;
        }
    }

    ok(i < 256 && r.hours == 9 && r.counted && !r.held,
       "a later node's flags do no harm");

    r = kept;
    buf[1] ^= 1;
    (void) prd_pack_get(buf, PRD_PACK_SIZE, &r, &hold, NULL, &terms);
    ok(memcmp(&r, &kept, sizeof(r)) == 0, "what is refused changes nothing");
    buf[1] ^= 1;

    /* anything with a right sum is a record that can be worked with */

    sane = 1;
    taken = 0;
    x = 1;

    for (i = 0; i < 20000; i++) {
        for (j = 2; j < PRD_PACK_SIZE - 1; j++) {
            x = x * 1664525 + 1013904223;
            buf[j] = i % 3 == 0 ? 0xff : i % 3 == 1 && x >> 31 ? 0
                     : (uint8_t) (x >> 24);
        }

        buf[PRD_PACK_SIZE - 1] = i & 1;
        t = terms;
        t.shared_s = x;

        for (j = 0; j < 256; j++) {
            buf[1] = (uint8_t) j;

            if (prd_pack_get(buf, PRD_PACK_SIZE, &r, &hold, NULL, &t)
                == PRD_OK)
            {
                break;
            }
        }

        taken += j < 256;
        sane &= r.sigma >= 0.0099f && r.sigma <= 32 && r.sigma_rate >= 0.0099f
                && r.sigma_rate <= 32 && r.mu >= -20 && r.mu <= 44
                && r.depth > 0 && r.depth < 2e13 && r.rate > 0
                && r.cap_depth > 0 && r.cap_rate > 0 && r.count >= 0
                && isfinite(r.near) && isfinite(r.level) && isfinite(hold)
                && r.depth_at <= NOW_S && r.rate_at <= NOW_S
                && (r.hours || !r.counted);
    }

    is_int(taken, 20000, "a sum for each");
    ok(sane, "all in range");

    /* what is no record is not packed */

    l = record();
    l.sigma = 0;
    is_int(prd_pack_put(buf, &l, 0, &terms), PRD_ECORRUPT, "an empty record");
    l = record();
    l.level = NAN;
    is_int(prd_pack_put(buf, &l, 0, &terms), PRD_ECORRUPT, "no number");
    l = record();
    l.cap_rate = INFINITY;
    is_int(prd_pack_put(buf, &l, 0, &terms), PRD_ECORRUPT, "without end");

    l = record();
    l.sigma = 1e9f;
    l.mu = -1e9f;
    l.mu_rate = 1e9f;
    l.depth = 1e30f;
    l.rate = -5;
    l.count = 1e-30f;
    l.depth_at = (uint32_t) NOW_S + 1000;
    l.rate_at = 0;
    is_int(prd_pack_put(buf, &l, NAN, &terms), PRD_OK, "extremes are packed");
    (void) prd_pack_get(buf, PRD_PACK_SIZE, &r, &hold, NULL, &terms);
    ok(r.sigma < 32 && r.mu == -20 && r.mu_rate < 44 && r.depth > 1e13
       && r.rate < 1e-8 && r.count > 0 && r.count < 1e-6 && hold == 0,
       "as the most or the least there is");
    is_int(r.depth_at, NOW_S, "a stamp ahead is now");
}


static void
test_log(void)
{
    int       bad;
    double    v, w;
    uint32_t  i;

    bad = 0;

    for (i = 0; i <= UINT16_MAX; i++) {
        bad += prd_pack_log(prd_unpack_log(i)) != i;
        bad += prd_pack_mu(prd_unpack_mu(i)) != i;
    }

    is_int(bad, 0, "each code stands for itself");

    bad = 0;

    for (v = 2e-6; v < 1e13; v *= 1.0007) {
        w = prd_unpack_log(prd_pack_log(v));
        bad += fabs(w - v) > 0.00035 * v;
    }

    is_int(bad, 0, "within 0.035 %%");

    is_int(prd_pack_log(0), 0, "nothing");
    is_int(prd_pack_log(-1), 0, "less than nothing");
    is_int(prd_pack_log(NAN), 0, "no number");
    is_int(prd_pack_log(INFINITY), UINT16_MAX, "everything");
    is_int(prd_pack_mu(NAN), 0, "no logarithm");
}


int
main(void)
{
    test_round();
    test_clocks();
    test_bytes();
    test_log();

    return done_testing();
}
