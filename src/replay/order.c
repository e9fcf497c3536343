
#include <stdlib.h>

#include "order.h"


#define RPL_SECOND  1000000ll
#define RPL_JUMP_S  86400
#define RPL_NEAR_S  60


typedef struct {
    rpl_request_t  *request;
    size_t          n;
    size_t          size;
} rpl_second_t;


struct rpl_order_s {
    rpl_order_pt   give;
    void          *data;

    int64_t        window;
    int            spread;
    int            begun;

    rpl_request_t  held;             /* its second is far ahead */
    int            holds;
    uint64_t       ahead;

    int64_t        first;            /* the oldest second that is open */
    int64_t        newest;
    size_t         nseconds;         /* window + 1: a ring by second */
    rpl_second_t  *second;
};


rpl_order_t *
rpl_order_create(uint32_t window_s, int spread, rpl_order_pt give, void *data)
{
    rpl_order_t  *o;

    o = rpl_alloc(sizeof(rpl_order_t));

    o->give = give;
    o->data = data;
    o->window = window_s;
    o->spread = spread;
    o->nseconds = (size_t) window_s + 1;
    o->second = rpl_alloc(o->nseconds * sizeof(rpl_second_t));

    return o;
}


void
rpl_order_done(rpl_order_t *o)
{
    size_t  i;

    if (o == NULL) {
        return;
    }

    for (i = 0; i < o->nseconds; i++) {
        free(o->second[i].request);
    }

    free(o->second);
    free(o);
}


static int
rpl_order_compare(const void *a, const void *b)
{
    const rpl_request_t  *x = a, *y = b;

    if (x->us != y->us) {
        return x->us < y->us ? -1 : 1;
    }

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}


static void
rpl_order_give(rpl_order_t *o, int64_t second)
{
    size_t          i, k, whole;
    int64_t         start;
    rpl_second_t   *s;
    rpl_request_t  *r;

    s = &o->second[second % (int64_t) o->nseconds];
    r = s->request;

    if (s->n == 0) {
        return;
    }

    if (o->spread) {
        whole = 0;

        for (i = 0; i < s->n; i++) {
            whole += r[i].whole;
        }

        if (whole) {
            start = second * RPL_SECOND;

            for (i = 0, k = 0; i < s->n; i++) {
                if (r[i].whole) {
                    r[i].us = start + (int64_t) ((2 * k++ + 1)
                                                 * RPL_SECOND / (2 * whole));
                }
            }
        }
    }

    for (i = 1; i < s->n; i++) {
        if (r[i].us < r[i - 1].us) {
            qsort(r, s->n, sizeof(rpl_request_t), rpl_order_compare);
            break;
        }
    }

    o->give(o->data, r, s->n);

    s->n = 0;
}


static uint64_t
rpl_order_put(rpl_order_t *o, const rpl_request_t *request)
{
    int64_t         second;
    uint64_t        late;
    rpl_second_t   *s;
    rpl_request_t  *r;

    second = request->us / RPL_SECOND;
    late = 0;

    if (!o->begun) {
        o->begun = 1;
        o->first = prd_max(second - o->window, 0);
        o->newest = second;
    }

    if (second > o->newest) {
        o->newest = second;

        while (o->first < second - o->window) {

            /* behind a gap there is nothing in the ring */

            if (second - o->first > 2 * (int64_t) o->nseconds) {
                int64_t  end = o->first + (int64_t) o->nseconds;

                for ( /* void */ ; o->first < end; o->first++) {
                    rpl_order_give(o, o->first);
                }

                o->first = second - o->window;
                break;
            }

            rpl_order_give(o, o->first++);
        }
    }

    if (second < o->first) {
        late = (uint64_t) (o->first - second);
        second = o->first;
    }

    s = &o->second[second % (int64_t) o->nseconds];

    if (s->n == s->size) {
        s->size = prd_max(s->size * 2, (size_t) 16);
        s->request = rpl_realloc(s->request, s->size * sizeof(rpl_request_t));
    }

    r = &s->request[s->n++];
    *r = *request;

    if (late && !r->whole) {
        r->us = second * RPL_SECOND;
    }

    return late;
}


/* The request that is held: with its own stamp, or with the clock's. */

static void
rpl_order_release(rpl_order_t *o, int good)
{
    o->holds = 0;

    if (!good) {
        o->ahead++;
        o->held.us = o->newest * RPL_SECOND + o->held.us % RPL_SECOND;
    }

    (void) rpl_order_put(o, &o->held);
}


uint64_t
rpl_order_add(rpl_order_t *o, const rpl_request_t *request)
{
    int64_t  second;

    second = request->us / RPL_SECOND;

    if (o->begun && second > o->newest + RPL_JUMP_S) {

        if (!o->holds) {
            o->held = *request;
            o->holds = 1;
            return 0;
        }

        rpl_order_release(o, second >= o->held.us / RPL_SECOND - RPL_NEAR_S);

    } else if (o->holds) {
        rpl_order_release(o, 0);
    }

    return rpl_order_put(o, request);
}


uint64_t
rpl_order_ahead(const rpl_order_t *o)
{
    return o->ahead;
}


void
rpl_order_flush(rpl_order_t *o)
{
    int64_t  end;

    if (!o->begun) {
        return;
    }

    if (o->holds) {
        rpl_order_release(o, 1);
    }

    for (end = o->first + (int64_t) o->nseconds; o->first < end; o->first++) {
        rpl_order_give(o, o->first);
    }

    o->begun = 0;
}
