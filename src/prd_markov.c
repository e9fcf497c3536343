
/* What a group's clients ask for next; see prd_markov.h. */


#include <math.h>

#include "prd_bytes.h"
#include "prd_markov.h"


#define PRD_MARKOV_BETTER  1.5f       /* times as many, to replace a state */
#define PRD_MARKOV_COSTS   1000.0f    /* requests that a mean cost is made of */
#define PRD_MARKOV_STILL   1e-7f      /* a mix that moves less has settled */
#define PRD_MARKOV_MOST    1e15f

#define PRD_MARKOV_SIZE    (12 + 8 + PRD_MARKOV_TOP                           \
                            + 4 * (PRD_MARKOV_STATES * PRD_MARKOV_STATES      \
                                   + PRD_MARKOV_CLASSES                       \
                                   + 2 * PRD_MARKOV_STATES))

_Static_assert(PRD_MARKOV_SIZE <= PRD_MARKOV_PACKED, "a pack fits");


static void prd_markov_exchange(prd_markov_t *m);
static void prd_markov_matrix(const prd_markov_t *m,
    float p[PRD_MARKOV_STATES][PRD_MARKOV_STATES], float *mix);
static float prd_markov_next(float p[PRD_MARKOV_STATES][PRD_MARKOV_STATES],
    float *mix);


uint32_t
prd_markov_drain(prd_markov_ring_t *r, uint32_t *tail, prd_markov_t *chain,
    unsigned n)
{
    float     weight;
    uint32_t  head, noted, taken, i, note, group;

    head = atomic_load_explicit(&r->head, memory_order_acquire);
    noted = head - *tail;
    taken = prd_min(noted, PRD_MARKOV_RING);
    weight = taken ? (float) noted / (float) taken : 0;

    /*
     * What the worker writes meanwhile may be read instead of what it was
     * written over: as true a note, counted twice at worst
     */

    for (i = head - taken; i != head; i++) {
        note = atomic_load_explicit(&r->note[i % PRD_MARKOV_RING],
                                    memory_order_relaxed);
        group = note >> 16;

        if (group < n) {
            prd_markov_count(&chain[group], note >> 8 & 255, note & 255,
                             weight);
        }
    }

    *tail = head;

    return taken;
}


void
prd_markov_count(prd_markov_t *m, unsigned from, unsigned to, float weight)
{
    float  *f;

    if (from >= PRD_MARKOV_CLASSES || to >= PRD_MARKOV_CLASSES
        || !(weight > 0))
    {
        return;
    }

    f = &m->seen[to];
    *f = fminf(*f + weight, PRD_MARKOV_MOST);

    f = &m->count[prd_markov_state(m, from)][prd_markov_state(m, to)];
    *f = fminf(*f + weight, PRD_MARKOV_MOST);
}


void
prd_markov_cost(prd_markov_t *m, unsigned class_, float cost)
{
    unsigned  s;

    if (class_ >= PRD_MARKOV_CLASSES || !(cost >= 0)) {
        return;
    }

    s = prd_markov_state(m, class_);
    m->costs[s] = fminf(m->costs[s] + 1, PRD_MARKOV_COSTS);
    m->cost[s] += (fminf(cost, PRD_MARKOV_MOST) - m->cost[s]) / m->costs[s];
}


void
prd_markov_fade(prd_markov_t *m, uint64_t now_s)
{
    float     f;
    unsigned  i, j;

    if (m->faded_s != 0 && now_s > m->faded_s) {

        f = expf(-(float) (now_s - m->faded_s) / PRD_MARKOV_FADE_S);

        for (i = 0; i < PRD_MARKOV_STATES; i++) {
            for (j = 0; j < PRD_MARKOV_STATES; j++) {
                m->count[i][j] *= f;
            }
        }

        for (i = 0; i < PRD_MARKOV_CLASSES; i++) {
            m->seen[i] *= f;
        }
    }

    m->faded_s = now_s;

    /* a few at a time would do; all that are due costs little */

    prd_markov_exchange(m);
}


/*
 * The most frequent classes get states.  What a class had counted among the
 * others cannot be told apart from them any more: its row begins anew.
 */

static void
prd_markov_exchange(prd_markov_t *m)
{
    unsigned  i, j, s, best, round;

    for (round = 0; round < PRD_MARKOV_TOP; round++) {

        best = PRD_MARKOV_CLASSES;

        for (i = 0; i < PRD_MARKOV_CLASSES; i++) {

            if (m->seen[i] >= 1
                && (best == PRD_MARKOV_CLASSES || m->seen[i] > m->seen[best])
                && prd_markov_state(m, i) == PRD_MARKOV_OTHER)
            {
                best = i;
            }
        }

        if (best == PRD_MARKOV_CLASSES) {
            return;
        }

        s = m->tops;

        if (s == PRD_MARKOV_TOP) {

            for (s = 0, i = 1; i < PRD_MARKOV_TOP; i++) {
                if (m->seen[m->top[i]] < m->seen[m->top[s]]) {
                    s = i;
                }
            }

            if (m->seen[best] < PRD_MARKOV_BETTER * m->seen[m->top[s]]) {
                return;
            }

            /* back among the others, all but its own to itself as well */

            for (j = 0; j < PRD_MARKOV_STATES; j++) {

                if (j == s) {
                    continue;
                }

                m->count[PRD_MARKOV_OTHER][j] += m->count[s][j];
                m->count[j][PRD_MARKOV_OTHER] += m->count[j][s];
            }

            m->count[PRD_MARKOV_OTHER][PRD_MARKOV_OTHER] += m->count[s][s];

        } else {
            m->tops++;
        }

        for (j = 0; j < PRD_MARKOV_STATES; j++) {
            m->count[s][j] = 0;
            m->count[j][s] = 0;
        }

        m->cost[s] = m->cost[PRD_MARKOV_OTHER];
        m->costs[s] = fminf(m->costs[PRD_MARKOV_OTHER], 1);
        m->top[s] = (uint8_t) best;
    }
}


unsigned
prd_markov_state(const prd_markov_t *m, unsigned class_)
{
    unsigned  s;

    for (s = 0; s < m->tops; s++) {
        if (m->top[s] == class_) {
            return s;
        }
    }

    return PRD_MARKOV_OTHER;
}


/* Rows of probabilities, and the mix of all requests. */

static void
prd_markov_matrix(const prd_markov_t *m,
    float p[PRD_MARKOV_STATES][PRD_MARKOV_STATES], float *mix)
{
    float     sum, all;
    unsigned  i, j;

    all = 0;
    memset(mix, 0, PRD_MARKOV_STATES * sizeof(float));

    for (i = 0; i < PRD_MARKOV_CLASSES; i++) {
        mix[prd_markov_state(m, i)] += m->seen[i];
        all += m->seen[i];
    }

    for (i = 0; i < PRD_MARKOV_STATES; i++) {
        mix[i] /= all;
    }

    for (i = 0; i < PRD_MARKOV_STATES; i++) {
        sum = PRD_MARKOV_PRIOR;

        for (j = 0; j < PRD_MARKOV_STATES; j++) {
            sum += m->count[i][j];
        }

        for (j = 0; j < PRD_MARKOV_STATES; j++) {
            p[i][j] = (m->count[i][j] + PRD_MARKOV_PRIOR * mix[j]) / sum;
        }
    }
}


/* Returns how much the mix has moved. */

static float
prd_markov_next(float p[PRD_MARKOV_STATES][PRD_MARKOV_STATES], float *mix)
{
    float     to[PRD_MARKOV_STATES], moved, sum;
    unsigned  i, j;

    memset(to, 0, sizeof(to));

    for (i = 0; i < PRD_MARKOV_STATES; i++) {
        for (j = 0; j < PRD_MARKOV_STATES; j++) {
            to[j] += mix[i] * p[i][j];
        }
    }

    sum = moved = 0;

    for (j = 0; j < PRD_MARKOV_STATES; j++) {
        sum += to[j];
    }

    for (j = 0; j < PRD_MARKOV_STATES; j++) {
        to[j] /= sum;
        moved += fabsf(to[j] - mix[j]);
        mix[j] = to[j];
    }

    return moved;
}


static prd_rc_t
prd_markov_start(const prd_markov_t *m, unsigned from,
    float p[PRD_MARKOV_STATES][PRD_MARKOV_STATES], float *mix)
{
    float     all;
    unsigned  i;

    if (from > PRD_MARKOV_STATES) {
        return PRD_ERANGE;
    }

    for (all = 0, i = 0; i < PRD_MARKOV_CLASSES; i++) {
        all += m->seen[i];
    }

    if (all < 1e-3f) {
        return PRD_DECLINED;
    }

    prd_markov_matrix(m, p, mix);

    if (from < PRD_MARKOV_STATES) {
        memset(mix, 0, PRD_MARKOV_STATES * sizeof(float));
        mix[from] = 1;
    }

    return PRD_OK;
}


prd_rc_t
prd_markov_mix(const prd_markov_t *m, unsigned from, uint32_t steps,
    float *to)
{
    float     p[PRD_MARKOV_STATES][PRD_MARKOV_STATES], mix[PRD_MARKOV_STATES];
    prd_rc_t  rc;

    rc = prd_markov_start(m, from, p, mix);

    if (rc != PRD_OK) {
        return rc;
    }

    steps = prd_min(steps, PRD_MARKOV_STEPS);

    while (steps-- > 0 && prd_markov_next(p, mix) > PRD_MARKOV_STILL) {
        /* void */
    }

    memcpy(to, mix, sizeof(mix));

    return PRD_OK;
}


prd_rc_t
prd_markov_outlook(const prd_markov_t *m, unsigned from, uint32_t steps,
    double *cost)
{
    int       still;
    float     p[PRD_MARKOV_STATES][PRD_MARKOV_STATES], mix[PRD_MARKOV_STATES];
    double    sum, each;
    prd_rc_t  rc;
    unsigned  i;

    rc = prd_markov_start(m, from, p, mix);

    if (rc != PRD_OK) {
        return rc;
    }

    sum = 0;

    for (steps = prd_min(steps, PRD_MARKOV_STEPS); steps > 0; steps--) {

        still = prd_markov_next(p, mix) <= PRD_MARKOV_STILL;

        for (each = 0, i = 0; i < PRD_MARKOV_STATES; i++) {
            each += (double) mix[i] * (double) m->cost[i];
        }

        if (still) {
            sum += each * steps;
            break;
        }

        sum += each;
    }

    *cost = sum;

    return PRD_OK;
}


/*
 * A pack, little-endian: version, states, tops u32 | faded_s u64 | top u8 |
 * count, seen, cost, costs f32.
 */

prd_rc_t
prd_markov_pack(const prd_markov_t *m, uint8_t *p, size_t *len)
{
    if (*len < PRD_MARKOV_SIZE) {
        return PRD_ENOMEM;
    }

    *len = PRD_MARKOV_SIZE;

    prd_pack32(&p, PRD_MARKOV_VERSION);
    prd_pack32(&p, PRD_MARKOV_STATES);
    prd_pack32(&p, m->tops);
    prd_pack64(&p, m->faded_s);
    memcpy(p, m->top, PRD_MARKOV_TOP);
    p += PRD_MARKOV_TOP;

    prd_pack_floats(&p, &m->count[0][0],
                    PRD_MARKOV_STATES * PRD_MARKOV_STATES);
    prd_pack_floats(&p, m->seen, PRD_MARKOV_CLASSES);
    prd_pack_floats(&p, m->cost, PRD_MARKOV_STATES);
    prd_pack_floats(&p, m->costs, PRD_MARKOV_STATES);

    return PRD_OK;
}


/* 1: one of them is not sane. */

static int
prd_markov_floats(const uint8_t **p, float *f, unsigned n)
{
    return prd_unpack_floats(p, f, n, 0, 1000 * PRD_MARKOV_MOST);
}


prd_rc_t
prd_markov_unpack(prd_markov_t *m, const uint8_t *p, size_t len)
{
    int           bad;
    unsigned      i;
    prd_markov_t  to;

    if (len < 8) {
        return PRD_ECORRUPT;
    }

    memset(&to, 0, sizeof(prd_markov_t));

    if (prd_unpack32(&p) != PRD_MARKOV_VERSION
        || prd_unpack32(&p) != PRD_MARKOV_STATES)
    {
        return PRD_EVERSION;
    }

    if (len != PRD_MARKOV_SIZE) {
        return PRD_ECORRUPT;
    }

    to.tops = prd_unpack32(&p);
    to.faded_s = prd_unpack64(&p);
    memcpy(to.top, p, PRD_MARKOV_TOP);
    p += PRD_MARKOV_TOP;

    bad = to.tops > PRD_MARKOV_TOP;
    bad |= prd_markov_floats(&p, &to.count[0][0],
                             PRD_MARKOV_STATES * PRD_MARKOV_STATES);
    bad |= prd_markov_floats(&p, to.seen, PRD_MARKOV_CLASSES);
    bad |= prd_markov_floats(&p, to.cost, PRD_MARKOV_STATES);
    bad |= prd_markov_floats(&p, to.costs, PRD_MARKOV_STATES);

    if (bad) {
        return PRD_ECORRUPT;
    }

    for (i = 0; i < to.tops; i++) {
        if (prd_markov_state(&to, to.top[i]) != i) {
            return PRD_ECORRUPT;
        }
    }

    *m = to;

    return PRD_OK;
}
