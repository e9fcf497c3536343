
/* Forecasts of request classes; see prd_class.h. */


#include <stdatomic.h>

#include "prd_class.h"


#define PRD_CLASS_GAIN    0.02f            /* 50 bins: some 4 hours */
#define PRD_CLASS_LOUDER  2                /* to take another one's place */
#define PRD_CLASS_MOST    1e14f            /* tokens in a bin */


static void prd_class_close(prd_classes_t *c,
    const _Atomic uint32_t ids[PRD_CLASSES]);
static void prd_class_place(prd_classes_t *c,
    const _Atomic uint32_t ids[PRD_CLASSES]);
static void prd_class_free(prd_class_t *top);


void
prd_class_init(prd_classes_t *c)
{
    unsigned  i;

    memset(c, 0, sizeof(prd_classes_t));

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        prd_class_free(&c->top[i]);
    }
}


static void
prd_class_free(prd_class_t *top)
{
    memset(top, 0, sizeof(prd_class_t));
    (void) prd_aggregate_init(&top->demand, PRD_CLASS_BIN_S);
}


void
prd_class_turn(prd_classes_t *c, uint64_t end_s,
    const _Atomic uint32_t ids[PRD_CLASSES])
{
    int64_t  bin;

    bin = (int64_t) ((end_s ? end_s - 1 : 0) / PRD_CLASS_BIN_S);

    if (c->bin == bin) {
        return;
    }

    if (c->bin) {
        prd_class_close(c, ids);
    }

    memset(c->sum, 0, sizeof(c->sum));
    c->bin = bin;
}


void
prd_class_add(prd_classes_t *c, unsigned index, double tokens)
{
    if (index < PRD_CLASSES && tokens > 0) {
        c->sum[index] = (float) prd_min(c->sum[index] + tokens,
                                        (double) PRD_CLASS_MOST);
    }
}


static void
prd_class_close(prd_classes_t *c, const _Atomic uint32_t ids[PRD_CLASSES])
{
    unsigned      i;
    prd_class_t  *top;

    for (i = 1; i < PRD_CLASSES; i++) {
        c->level[i] += PRD_CLASS_GAIN * (c->sum[i] - c->level[i]);
    }

    prd_class_place(c, ids);

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        top = &c->top[i];

        if (top->id == 0) {
            continue;
        }

        (void) prd_aggregate_add(&top->demand, c->bin, c->sum[top->index]);
        prd_curve_publish(&top->demand, top->curve, &top->curve_bin);
    }
}


/*
 * At most one a bin.  A place is given up to a class that is louder by far
 * only: what was learned of the other one is lost with it.
 */

static void
prd_class_place(prd_classes_t *c, const _Atomic uint32_t ids[PRD_CLASSES])
{
    float        least;
    uint8_t      placed[PRD_CLASSES];
    uint32_t     id;
    unsigned     i, loud;
    prd_class_t  *top, *to;

    memset(placed, 0, sizeof(placed));
    least = 0;
    to = NULL;

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        top = &c->top[i];

        if (top->id) {
            placed[top->index] = 1;
        }

        if (to == NULL || (to->id && top->id == 0)
            || (to->id && c->level[top->index] < least))
        {
            to = top;
            least = top->id ? c->level[top->index] : 0;
        }
    }

    for (loud = 0, i = 1; i < PRD_CLASSES; i++) {
        if (!placed[i] && c->level[i] > c->level[loud]) {
            loud = i;
        }
    }

    id = loud ? atomic_load_explicit(&ids[loud], memory_order_relaxed) : 0;

    if (id == 0 || (to->id && c->level[loud] <= PRD_CLASS_LOUDER * least)) {
        return;
    }

    prd_class_free(to);
    to->id = id;
    to->index = loud;
}


void
prd_class_settle(prd_classes_t *c, uint64_t now_s,
    const _Atomic uint32_t ids[PRD_CLASSES])
{
    int64_t       now;
    unsigned      i, k;
    prd_class_t  *top;

    now = (int64_t) (now_s / PRD_CLASS_BIN_S);

    for (i = 0; i < PRD_CLASSES; i++) {
        if (!(c->level[i] >= 0 && c->level[i] <= PRD_CLASS_MOST)) {
            c->level[i] = 0;
        }

        if (!(c->sum[i] >= 0 && c->sum[i] <= PRD_CLASS_MOST)) {
            c->sum[i] = 0;
        }
    }

    for (i = 0; i < PRD_CLASS_CURVES; i++) {
        top = &c->top[i];

        for (k = 0; k < i; k++) {
            if (c->top[k].id == top->id) {
                break;
            }
        }

        if (top->id == 0 || k < i || top->index == 0
            || top->index >= PRD_CLASSES
            || atomic_load_explicit(&ids[top->index], memory_order_relaxed)
               != top->id
            || prd_aggregate_check(&top->demand, PRD_CLASS_BIN_S) != PRD_OK)
        {
            prd_class_free(top);
            continue;
        }

        top->curve_bin = 0;
        memset(top->curve, 0, sizeof(top->curve));

        if (top->demand.bins && top->demand.bin <= now
            && top->demand.bin > now - PRD_AGGREGATE_MOST)
        {
            prd_curve_make(&top->demand, top->curve, &top->curve_bin);
        }
    }
}
