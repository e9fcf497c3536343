
#include <stdlib.h>

#include "decisions.h"


#define RPL_DECISIONS_BUF  (64 * 1024)
#define RPL_DECISION_MAX   24            /* "1 2147483.647\n" */


/* What is decided: 0 nothing yet, 1 passes, 2 refused, else delay + 3. */

struct rpl_decisions_s {
    FILE      *f;

    uint64_t   base;                     /* seq of the ring's first */
    uint32_t  *ring;
    size_t     size;                     /* a power of two */
    uint64_t   end;                      /* highest seq that was set, + 1 */

    char       buf[RPL_DECISIONS_BUF];
    size_t     used;
};


rpl_decisions_t *
rpl_decisions_create(FILE *f)
{
    rpl_decisions_t  *d;

    d = rpl_alloc(sizeof(rpl_decisions_t));
    d->f = f;
    d->size = 4096;
    d->ring = rpl_alloc(d->size * sizeof(uint32_t));

    return d;
}


void
rpl_decisions_done(rpl_decisions_t *d)
{
    if (d != NULL) {
        free(d->ring);
        free(d);
    }
}


static char *
rpl_decision_print(char *p, uint32_t delay_ms)
{
    char      digits[16];
    unsigned  n;
    uint32_t  s, ms;

    s = delay_ms / 1000;
    ms = delay_ms % 1000;

    for (n = 0; s || n == 0; s /= 10) {
        digits[n++] = (char) ('0' + s % 10);
    }

    while (n) {
        *p++ = digits[--n];
    }

    *p++ = '.';
    *p++ = (char) ('0' + ms / 100);
    *p++ = (char) ('0' + ms / 10 % 10);
    *p++ = (char) ('0' + ms % 10);

    return p;
}


void
rpl_decisions_flush(rpl_decisions_t *d)
{
    char      *p;
    uint32_t  *v;

    for ( /* void */ ; d->base < d->end; d->base++) {
        v = &d->ring[d->base & (d->size - 1)];

        if (*v == 0) {
            break;
        }

        if (d->used > RPL_DECISIONS_BUF - RPL_DECISION_MAX) {
            (void) fwrite(d->buf, 1, d->used, d->f);
            d->used = 0;
        }

        p = d->buf + d->used;

        if (*v >= 3) {
            *p++ = '1';
            *p++ = ' ';
            p = rpl_decision_print(p, *v - 3);

        } else {
            *p++ = (*v == 1) ? '0' : '2';
        }

        *p++ = '\n';
        d->used = (size_t) (p - d->buf);
        *v = 0;
    }

    if (d->used) {
        (void) fwrite(d->buf, 1, d->used, d->f);
        d->used = 0;
    }
}


static void
rpl_decisions_grow(rpl_decisions_t *d, uint64_t seq)
{
    size_t     size;
    uint32_t  *ring;
    uint64_t   i;

    for (size = d->size * 2; seq - d->base >= size; size *= 2) {
        /* void */
    }

    ring = rpl_alloc(size * sizeof(uint32_t));

    for (i = d->base; i < d->end; i++) {
        ring[i & (size - 1)] = d->ring[i & (d->size - 1)];
    }

    free(d->ring);
    d->ring = ring;
    d->size = size;
}


void
rpl_decisions_set(rpl_decisions_t *d, uint64_t seq, prd_verdict_e verdict,
    uint32_t delay_ms)
{
    if (seq - d->base >= d->size) {
        rpl_decisions_flush(d);

        if (seq - d->base >= d->size) {
            rpl_decisions_grow(d, seq);
        }
    }

    d->ring[seq & (d->size - 1)] =
        verdict == PRD_DELAYED ? prd_min(delay_ms, INT32_MAX) + 3
        : verdict == PRD_REJECTED ? 2 : 1;

    d->end = prd_max(d->end, seq + 1);
}
