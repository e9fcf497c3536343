
/*
 * Locations and the tables of their errors, pooled over clients: what experts
 * say by them, how votes are counted and published.
 *
 * An error above a location m is counted in units of the client, its mean
 * |error| / sqrt(level + 1) after a bin as active as the last one, times
 * sqrt(m + 1); one below it in units of m, so that dropping to nothing is -1
 * for everybody.
 */


#include "prd_experts_inner.h"


#define TRACK_FIRST      16         /* votes; before, the prior stands */
#define TRACK_VOTES      5000       /* then tables are halved */
#define TRACK_EDGE       ((127 - 5) << 2)


/*
 * Tables of errors.  Cells are quarters of octaves of |z|, by its bits.  Where
 * cell k above 0 ends; that of 0 ends there, too.
 */

static inline float
prd_track_edge(int32_t k)
{
    return prd_track_float((uint32_t) (k + TRACK_EDGE) << 21);
}


/* Votes in eight cells; of a sound table they are fewer than 2^16. */

static inline uint32_t
prd_track_votes(const uint16_t cell[8])
{
    uint64_t  four[2];

    memcpy(four, cell, sizeof(four));

    return (uint32_t) ((four[0] + four[1]) * 0x0001000100010001 >> 48);
}


static void
prd_track_errors_solve(const prd_track_errors_t *t, float q[PRD_QUANTILES])
{
    float     want, lo, hi, part;
    int32_t   k;
    uint32_t  sum, least, eight;
    unsigned  i, u;

    for (i = 0, u = 0, sum = 0; u < PRD_QUANTILES; u++) {
        want = prd_track_levels[u] * (float) t->votes;
        least = (uint32_t) want;
        least += (float) least < want;

        while (i + 8 <= PRD_TRACK_CELLS) {
            eight = prd_track_votes(&t->cell[i]);

            if (sum + eight >= least) {
                break;
            }

            sum += eight;
            i += 8;
        }

        while (i < PRD_TRACK_CELLS && sum + t->cell[i] < least) {
            sum += t->cell[i++];
        }

        if (i == PRD_TRACK_CELLS) {
            break;
        }

        k = (int32_t) i - PRD_TRACK_SIDE;

        if (k == 0) {
            q[u] = 0;
            continue;
        }

        part = (want - (float) sum) / (float) t->cell[i];
        lo = k > 0 ? prd_track_edge(k - 1) : -prd_track_edge(-k);
        hi = k > 0 ? prd_track_edge(k) : -prd_track_edge(-k - 1);
        q[u] = lo + (hi - lo) * part;
    }

    /* of a table that a file or a copy left with more votes than cells have */

    for ( /* void */ ; u < PRD_QUANTILES; u++) {
        q[u] = u ? q[u - 1] : 0;
    }
}


/* From `from` towards `to`, by at most `most` on the scale of the header. */

static float
prd_track_slow(float from, float to, float most)
{
    float  lo, hi;

    from = copysignf(log2f(1 + fabsf(from)), from);
    lo = from - most;
    hi = from + most;
    lo = copysignf(exp2f(fabsf(lo)) - 1, lo);
    hi = copysignf(exp2f(fabsf(hi)) - 1, hi);

    return to < lo ? lo : to > hi ? hi : to;
}


/* `from` is what stands in for the table while it is too small. */

static void
prd_track_errors_publish(prd_track_errors_t *t, const prd_track_errors_t *from,
    const prd_track_view_t *v)
{
    float     q[PRD_QUANTILES], most;
    unsigned  i;

    t->fresh = 0;

    if (!v->slow) {
        prd_track_errors_solve(t, t->q);
        t->at_s = v->now_s;
        return;
    }

    if (t->at_s == 0) {
        memmove(t->q, from->q, sizeof(q));
        t->at_s = v->now_s;
        return;
    }

    if (v->now_s <= t->at_s) {

        /* a clock that steps back by a day is believed */

        if (t->at_s - v->now_s > 86400) {
            t->at_s = v->now_s;
        }

        return;
    }

    prd_track_errors_solve(t, q);

    most = PRD_TRACK_PER_DAY * (float) (v->now_s - t->at_s) / 86400;
    most = prd_min(most, PRD_TRACK_PER_DAY);
    t->at_s = v->now_s;

    for (i = 0; i < PRD_QUANTILES; i++) {
        t->q[i] = prd_track_slow(t->q[i], q[i], most);
    }
}


static const prd_track_errors_t *
prd_track_errors(const prd_track_errors_t *t, unsigned state)
{
    unsigned  idle;

    if (t[state].votes >= TRACK_KNOWN) {
        return &t[state];
    }

    idle = PRD_TRACK_IDLE + prd_track_state_idle(state);

    return t[idle].votes >= TRACK_KNOWN ? &t[idle] : &t[PRD_TRACK_ALL];
}


/* Halves go to the next cell: the tail is made of single votes. */

static void
prd_track_errors_halve(prd_track_errors_t *t)
{
    unsigned  i, n, odd;

    for (i = 0, n = 0, odd = 0; i < PRD_TRACK_CELLS; i++) {
        odd += t->cell[i];
        t->cell[i] = (uint16_t) (odd / 2);
        odd %= 2;
        n += t->cell[i];
    }

    t->votes = (uint16_t) n;
}


/* 64 votes that are not in q yet, or a 16th of them. */

static inline void
prd_track_errors_add(prd_track_errors_t *tables, unsigned state,
    unsigned cell, const prd_track_view_t *v)
{
    unsigned             votes, fresh;
    prd_track_errors_t  *t;

    t = &tables[state];

    t->cell[cell]++;
    votes = ++t->votes;
    fresh = ++t->fresh;

    if (16 * fresh < prd_min(votes, 16 * 64) && votes <= TRACK_VOTES) {
        return;
    }

    if (votes > TRACK_VOTES) {
        prd_track_errors_halve(t);
    }

    if (t->votes >= TRACK_FIRST
        && 16u * t->fresh >= prd_min(t->votes, 16u * 64))
    {
        prd_track_errors_publish(t, prd_track_errors(tables, state), v);
    }
}


/* Experts with a location. */

void
prd_track_make_pooled(const prd_track_horizon_t *h, const prd_track_view_t *v,
    prd_track_made_t *m)
{
    float                      d;
    unsigned                   e, i;
    prd_quad_t                 at, z, q;
    prd_quad_bits_t            level, state;
    const prd_track_errors_t  *t;

    const prd_quad_t           none = { 0, 0, 0, 0 };

    for (i = 0; i < 2; i++) {
        at = prd_quad(&v->at[4 * i]);
        prd_quad_root(&m->spread[4 * i], at + 1, v->unit);

        /* prd_track_state() of four */

        level = ((prd_quad_bits_t) prd_quad_min(1 + 4 * at,
                                  prd_quad_all(1 << (PRD_TRACK_LEVELS - 1)))
                 >> 23) - 127;
        state = v->young ? PRD_TRACK_YOUNG + (level * 11 >> 5)
                                             * PRD_TRACK_IDLES
                         : level * PRD_TRACK_IDLES;
        state += (int32_t) v->coarse;
        memcpy(&m->state[4 * i], &state, sizeof(state));
    }

    for (e = 0; e < PRD_EXPERT_LOCATIONS; e++) {
        t = prd_track_errors(h->errors[e], (unsigned) m->state[e]);
        at = prd_quad_all(v->at[e]);
        d = m->spread[e];

        z = prd_quad(t->q);
        q = at + (prd_quad_max(z, none) * d + prd_quad_min(z, none) * at);
        q = prd_quad_max(q, none);
        memcpy(m->q[e], &q, sizeof(q));
    }
}


/*
 * Errors of the locations are counted: in the tables of their state, of the
 * client's idle time and of all.
 */

void
prd_track_score_errors(prd_track_horizon_t *h, const prd_track_view_t *v,
    const prd_track_made_t *m, float y)
{
    unsigned             e, i, c, idle;
    prd_quad_t           at, d, z;
    prd_quad_bits_t      cell[2], below;
    prd_track_errors_t  *t;

    for (i = 0; i < 2; i++) {
        at = prd_quad(&v->at[4 * i]);
        d = y - at;
        below = d < 0;
        z = d / prd_quad_pick(below, at, prd_quad(&m->spread[4 * i]));

        /* within cells 1 .. SIDE from 0; its bits begin with the cell's */

        z = (prd_quad_t) ((prd_quad_bits_t) z & INT32_MAX);
        z = prd_quad_max(z, prd_quad_all(prd_track_edge(-1)));
        z = prd_quad_min(z, prd_quad_all(prd_track_edge(PRD_TRACK_SIDE - 1)));
        cell[i] = ((prd_quad_bits_t) z >> 21) - (TRACK_EDGE - 1);
        cell[i] = ((cell[i] ^ below) - below) + PRD_TRACK_SIDE;
    }

    idle = PRD_TRACK_IDLE + v->coarse;

    for (e = 0; e < PRD_EXPERT_LOCATIONS; e++) {
        t = h->errors[e];
        c = (unsigned) cell[e / 4][e % 4];

        prd_track_errors_add(t, (unsigned) m->state[e], c, v);
        prd_track_errors_add(t, idle, c, v);
        prd_track_errors_add(t, PRD_TRACK_ALL, c, v);
    }
}
