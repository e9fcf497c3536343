
/*
 * The boiling frog: 12 stolen keys of habit 24 requests per active hour each
 * offer 1800 an hour, forever, and take whatever they are given.  Strict:
 * nothing to borrow, no floor.  How fast can they teach their envelopes?
 *
 * Bounds: what the growth limits let through, twice the envelope in 24 h from
 * what it was allowed to be when the key was stolen; and the total of the
 * prototype (src/README.md), for keys as old as its own.  Usage:
 * frog [honest clients [days of habit]]; keys of one day are of the age at
 * which a rate may rise at once where there is a floor.
 */


#include "traffic.h"


#define FROG_KEYS    12
#define FROG_DAYS    4                   /* before; the first is warm-up */
#define FROG_HOURS   96                  /* of attack */
#define FROG_EVERY   2000                /* ms: 1800 an hour */


typedef struct {
    unsigned  from, to;
    double    reference;                 /* admitted per key and hour */
} frog_window_t;

static const frog_window_t  frog_windows[] = {
    { 0, 1, 863 }, { 1, 6, 251 }, { 6, 12, 143 }, { 12, 24, 187 },
    { 24, 48, 322 }, { 48, 72, 650 }, { 72, 96, 1083 }
};


/* Eight active hours a day, in each two sessions of twelve requests. */

static void
frog_habit(traffic_t *t, uint32_t client, unsigned days)
{
    double    s;
    unsigned  day, hour, i, k;

    for (day = FROG_DAYS - days; day < FROG_DAYS; day++) {
        for (hour = 9; hour < 17; hour++) {
            for (k = 0; k < 2; k++) {
                s = day * BENCH_DAY + hour * BENCH_HOUR
                    + (k + 0.8 * bench_uniform()) * BENCH_HOUR / 2;

                for (i = 0; i < 12; i++) {
                    traffic_add(t, client, 0, s);
                    s += bench_exponential(5);
                }
            }
        }
    }
}


/* Tokens that a rate of 1 an hour gives from hour a to b, doubling in 24 h */

static double
frog_grown(double a, double b)
{
    return 24 / log(2) * (exp2(b / 24) - exp2(a / 24));
}


int
main(int argc, char **argv)
{
    int                   bad;
    double                rate, depth, bound, mean, reference, total, least,
                          honest, refused, admitted[FROG_HOURS];
    size_t                i;
    uint32_t              people, start, ms, first, slot;
    uint64_t             *tags;
    unsigned              k, h, w, days;
    traffic_t             t;
    prd_learned_t        *l;
    const frog_window_t  *win;
    static bench_zone_t   z;

    people = argc > 1 ? (uint32_t) atoi(argv[1]) : 1000;
    days = argc > 2 ? (unsigned) atoi(argv[2]) : FROG_DAYS;
    bench_state = 1;

    if (days < 1 || days > FROG_DAYS) {
        bench_die("1 to 4 days of habit");
    }

    /* the honest ones go on while the frogs do what they do */

    traffic_make(&t, FROG_DAYS + FROG_HOURS / 24, people);
    first = t.clients;

    for (k = 0; k < FROG_KEYS; k++) {
        frog_habit(&t, t.clients++, days);
    }

    traffic_sort(&t);

    bench_zone_init(&z, "rate=100r/s burst=0 borrow=off floor=none",
                    t.clients, 200);
    tags = malloc(t.clients * sizeof(uint64_t));

    for (i = 0; i < t.clients; i++) {
        tags[i] = bench_tag(&z, i);
    }

    start = FROG_DAYS * BENCH_DAY;

    for (i = 0; i < t.n && t.r[i].ms < start * 1000; i++) {
        (void) bench_zone_ask(&z, tags[t.r[i].client], 0, 0, t.r[i].ms);
    }

    bench_zone_clock(&z, start);

    rate = depth = 0;

    for (k = 0; k < FROG_KEYS; k++) {
        slot = prd_table_find(&z.view.table, tags[first + k]);

        if (slot == PRD_NO_SLOT) {
            bench_die("a key was forgotten");
        }

        l = &z.view.learned[slot];

        /* an idle key's cap may have risen with its last envelope only */

        rate += fmax(l->cap_rate, l->rate) * 3600 / FROG_KEYS;
        depth += fmax(l->cap_depth, l->depth) / FROG_KEYS;
    }

    printf("frog: %u keys of habit 24/h, days: %u, among %u clients; stolen"
           " with %.0f/h, depth %.0f (mean)\n", FROG_KEYS, days,
           t.clients - FROG_KEYS, rate, depth);

    memset(admitted, 0, sizeof(admitted));
    honest = refused = 0;

    for (ms = start * 1000; ms < (start + FROG_HOURS * BENCH_HOUR) * 1000;
         ms += FROG_EVERY)
    {
        for ( /* void */ ; i < t.n && t.r[i].ms <= ms; i++) {
            refused += bench_zone_ask(&z, tags[t.r[i].client], 0, 0,
                                      t.r[i].ms);
            honest++;
        }

        for (k = 0; k < FROG_KEYS; k++) {
            admitted[(ms / 1000 - start) / BENCH_HOUR]
                += !bench_zone_ask(&z, tags[first + k], 0, 0, ms);
        }
    }

    printf("%-8s %10s %10s %10s   admitted per key and hour\n", "hours",
           "admitted", "bound", "prototype");

    bad = 0;
    total = least = 0;

    for (w = 0; w < sizeof(frog_windows) / sizeof(frog_windows[0]); w++) {
        win = &frog_windows[w];
        mean = 0;

        for (h = win->from; h < win->to; h++) {
            mean += admitted[h] / FROG_KEYS;
        }

        /*
         * The depth as it is at the window's end, less what was spent of it
         * before; 1 % for the rounding of codes and bins.
         */

        bound = rate * frog_grown(win->from, win->to)
                + depth * (exp2(win->to / 24.0)
                           - (win->from ? exp2(win->from / 24.0) : 0));
        bound = fmin(bound * 1.01 + 1, (win->to - win->from) * 1800.0);

        reference = days == FROG_DAYS ? win->reference : NAN;

        total += mean;
        least += reference * (win->to - win->from);

        printf("%2u-%-5u %10.0f %10.0f %10.0f%s\n", win->from, win->to,
               mean / (win->to - win->from), bound / (win->to - win->from),
               reference, mean > bound ? "   EXCEEDED" : "");

        bad |= mean > bound;
    }

    printf("all      %10.0f %10s %10.0f%s   of %u offered\n", total, "",
           least, total > least ? "   above the prototype" : "",
           FROG_HOURS * 1800);

    printf("honest requests throttled meanwhile: %.2f %%\n",
           100 * refused / honest);

    /* the prototype's ratchet admits less, and cost it its coverage */

    return bad;
}
