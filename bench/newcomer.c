
/*
 * Can strangers move what a newcomer gets?  1,000 fresh keys from 10
 * addresses, and another 1,000 each hour, vote its envelope down (a request
 * at a time) or up (bursts), for a day after warm-up; with and without
 * newcomer= (an address has four votes a bin).
 *
 * Bounds (src/README.md): the envelope is within a factor 2 of its anchor at
 * each minute, and the anchor has moved by at most 2 to the power of t / 24 h.
 *
 * Usage: newcomer [honest clients]
 */


#include "traffic.h"


#define NEWCOMER_KEYS       1000
#define NEWCOMER_ADDRESSES  10
#define NEWCOMER_START      (2 * BENCH_DAY + 12 * BENCH_HOUR)
#define NEWCOMER_EPS        0.01         /* log2: codes are rounded down */


typedef enum { NOBODY = 0, LOWER, RAISE } newcomer_way_e;

typedef struct {
    double  b[4], r[4];                  /* before, 10 min, 1 h, 24 h */
    double  most_b, most_r;              /* greatest factor, |log2| */
    double  off_b, off_r;                /* from the anchor, log2 */
    double  moved_b, moved_r;            /* anchor, log2 beyond t / 24 h */
} newcomer_figures_t;


/*
 * An hour of 1,000 keys.  Each acts in three bins, and once more in the next
 * hour, when the hour is closed that it wants to be counted.
 */

static void
newcomer_attack(traffic_t *t, uint32_t first, newcomer_way_e way)
{
    double    s;
    unsigned  hour, key, burst, i, n;

    n = way == RAISE ? 100 : 1;

    for (hour = 0; hour < 24; hour++) {
        for (key = 0; key < NEWCOMER_KEYS; key++) {

            /* half of them at once, or the first ten minutes show little */

            s = NEWCOMER_START + hour * BENCH_HOUR
                + (key & 1 ? 500 : 3000) * bench_uniform();

            for (burst = 0; burst < 3; burst++) {
                for (i = 0; i < n; i++) {
                    traffic_add(t, first + hour * NEWCOMER_KEYS + key, 0,
                                s + 30 * burst + 5.0 * i / n);
                }
            }

            traffic_add(t, first + hour * NEWCOMER_KEYS + key, 0,
                        s + BENCH_HOUR);
        }
    }
}


static void
newcomer_read(const bench_zone_t *z, double *b, double *r)
{
    uint64_t  word;

    word = atomic_load(&z->view.zone->newcomer);
    *b = (double) prd_env_decode(prd_env_depth_code(word)) / z->policy.unit;
    *r = (double) prd_env_decode(prd_env_rate_code(word)) / 1e9 * 3600;
}


/* At each minute from the start on. */

static void
newcomer_look(const bench_zone_t *z, newcomer_figures_t *f, uint32_t second,
    double *anchor_b, double *anchor_r)
{
    double               b, r, days;
    const prd_pooled_t  *p;

    newcomer_read(z, &b, &r);
    p = &z->view.zone->pooled;

    if (second == NEWCOMER_START) {
        f->b[0] = b;
        f->r[0] = r;
        *anchor_b = p->anchor_b;
        *anchor_r = p->anchor_r;
    }

    if (second == NEWCOMER_START + 600) {
        f->b[1] = b;
        f->r[1] = r;
    }

    if (second == NEWCOMER_START + BENCH_HOUR) {
        f->b[2] = b;
        f->r[2] = r;
    }

    if (second == NEWCOMER_START + BENCH_DAY) {
        f->b[3] = b;
        f->r[3] = r;
    }

    days = (double) (second - NEWCOMER_START) / BENCH_DAY;

    f->most_b = fmax(f->most_b, fabs(log2(b / f->b[0])));
    f->most_r = fmax(f->most_r, fabs(log2(r / f->r[0])));
    f->off_b = fmax(f->off_b, fabs(log2(b) - p->anchor_b));
    f->off_r = fmax(f->off_r, fabs(log2(r) - p->anchor_r));
    f->moved_b = fmax(f->moved_b, fabs(p->anchor_b - *anchor_b) - days);
    f->moved_r = fmax(f->moved_r, fabs(p->anchor_r - *anchor_r) - days);
}


static void
newcomer_run(const traffic_t *honest, newcomer_way_e way, int parents,
    newcomer_figures_t *f)
{
    double               anchor_b, anchor_r;
    size_t               i, j;
    uint32_t             second, ms, client, next;
    uint64_t            *address;
    unsigned             k, mine;
    traffic_t            attack;
    char                 words[64];
    static bench_zone_t  z;

    memset(f, 0, sizeof(newcomer_figures_t));
    memset(&attack, 0, sizeof(traffic_t));
    attack.span = honest->span;

    if (way != NOBODY) {
        bench_state = 7;
        newcomer_attack(&attack, honest->clients, way);
        traffic_sort(&attack);
    }

    snprintf(words, sizeof(words), "capacity=%.1fr/s",
             traffic_capacity(honest));
    bench_zone_init(&z, words, honest->clients + 25 * NEWCOMER_KEYS, 300);

    address = malloc(NEWCOMER_ADDRESSES * sizeof(uint64_t));

    for (k = 0; k < NEWCOMER_ADDRESSES; k++) {
        address[k] = bench_tag(&z, 0xadd0000000ull + k);
    }

    anchor_b = anchor_r = 0;
    next = NEWCOMER_START;
    i = j = 0;

    while (i < honest->n || j < attack.n) {
        mine = i == honest->n
               || (j < attack.n && attack.r[j].ms < honest->r[i].ms);
        ms = mine ? attack.r[j].ms : honest->r[i].ms;
        client = mine ? attack.r[j++].client : honest->r[i++].client;

        for (second = ms / 1000;
             next <= second && next <= NEWCOMER_START + BENCH_DAY;
             next += 60)
        {
            bench_zone_clock(&z, next);
            newcomer_look(&z, f, next, &anchor_b, &anchor_r);
        }

        /* honest clients have an address of their own */

        (void) bench_zone_ask(&z, bench_tag(&z, client),
                              !parents ? 0 : mine
                              ? address[client % NEWCOMER_ADDRESSES]
                              : bench_tag(&z, 0xadd1000000ull + client),
                              0, ms);
    }

    free(address);
    free(attack.r);
    bench_zone_free(&z);
}


int
main(int argc, char **argv)
{
    int                 bad, parents, wrong;
    traffic_t           t;
    newcomer_way_e      way;
    newcomer_figures_t  f, none;         /* none: nobody attacks */

    static const char  *names[] = { "nobody", "lower", "raise" };

    bench_state = 1;
    traffic_make(&t, 3.6, argc > 1 ? (uint32_t) atoi(argv[1]) : 1000);

    printf("newcomer: %u honest clients, 1,000 fresh keys an hour from 10"
           " addresses for a day\n%-18s %-27s %-27s %-11s %s\n", t.clients,
           "", "b before, 10 min, 1 h, 24 h", "r/h before, 10 min, ...",
           "greatest x", "off anchor   x nobody's at 24 h");

    bad = 0;
    memset(&none, 0, sizeof(none));

    for (parents = 1; parents >= 0; parents--) {
        for (way = NOBODY; way <= RAISE; way++) {
            newcomer_run(&t, way, parents, &f);

            if (way == NOBODY) {
                none = f;
            }

            wrong = f.off_b > 1 + NEWCOMER_EPS || f.off_r > 1 + NEWCOMER_EPS
                    || f.moved_b > NEWCOMER_EPS || f.moved_r > NEWCOMER_EPS;

            bad |= wrong;

            printf("%-6s %-10s %6.1f %6.1f %6.1f %6.1f %6.1f %6.1f %6.1f %6.1f"
                   "  %4.2f %4.2f   %4.2f %4.2f   %4.2f %4.2f%s\n", names[way],
                   parents ? "newcomer=" : "without", f.b[0], f.b[1], f.b[2],
                   f.b[3], f.r[0], f.r[1], f.r[2], f.r[3], exp2(f.most_b),
                   exp2(f.most_r), exp2(f.off_b), exp2(f.off_r),
                   f.b[3] / none.b[3], f.r[3] / none.r[3],
                   wrong ? "   EXCEEDED" : "");
        }
    }

    return bad;
}
