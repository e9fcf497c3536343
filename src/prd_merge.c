
/*
 * Pooled tables of several nodes; see prd_merge.h.
 *
 *   head      version u8, 0 u8 x 3 | learned for u32, s | began u64 |
 *             pace u32 | 0 u32 | mu, sigma, mu_rate, sigma_rate, anchor_b,
 *             anchor_r, anchor_mu, cost f32 | 0 u64
 *   table     z f32 | cells u16 each, see prd_pack_log() | cast u32 each
 *
 * Tables are those of depths, rates and the near future, by age.
 */


#include <math.h>

#include "prd_merge.h"
#include "prd_pack.h"


#define PRD_MERGE_LOG    40.0
#define PRD_MERGE_SIGMA  0.01
#define PRD_MERGE_MOST   16.0
#define PRD_MERGE_STEP   0.25             /* log2: the priors move, a turn */


static void
prd_merge_put_float(uint8_t **p, double v)
{
    prd_pack_float(p, (float) v);
}


/* NaN and the like become the least. */

static double
prd_merge_get_float(const uint8_t **p, double least, double most)
{
    float  f;

    f = prd_unpack_float(p);

    return f > least ? prd_min((double) f, most) : least;
}


static const prd_scores_t *
prd_merge_scores(const prd_pooled_t *p, unsigned table)
{
    return table < PRD_AGES ? &p->depth[table]
           : table < 2 * PRD_AGES ? &p->rate[table - PRD_AGES]
           : &p->near[table - 2 * PRD_AGES];
}


static void
prd_merge_rest(prd_merge_own_t *own, const prd_pooled_t *p)
{
    unsigned             i;
    const prd_scores_t  *s;

    for (i = 0; i < PRD_TABLES; i++) {
        s = prd_merge_scores(p, i);
        memcpy(own->base[i], s->cell, sizeof(s->cell));
        own->votes[i] = s->votes;
    }
}


void
prd_merge_begin(prd_merge_own_t *own, const prd_pooled_t *p, uint64_t began)
{
    memset(own, 0, sizeof(prd_merge_own_t));

    own->began = began ? began : 1;
    prd_merge_rest(own, p);
}


void
prd_merge_count(prd_merge_own_t *own, const prd_pooled_t *p)
{
    float                half, diff;
    unsigned             i, j;
    uint32_t             n;
    const prd_scores_t  *s;

    for (i = 0; i < PRD_TABLES; i++) {
        s = prd_merge_scores(p, i);
        half = 1;

        /* votes only grow, but for the halving that forgets */

        while (own->votes[i] * half > s->votes && half > 1e-6f) {
            half *= 0.5f;
        }

        for (j = 0; j < PRD_CELLS; j++) {
            diff = s->cell[j] - own->base[i][j] * half;

            if (diff >= 0.5f) {
                n = (uint32_t) lroundf(prd_min(diff, (float) PRD_MERGE_VOTES));
                own->cast[i][j] += n;
                own->pace += i < PRD_AGES ? n : 0;
            }
        }
    }

    prd_merge_rest(own, p);
}


void
prd_merge_put(uint8_t buf[PRD_MERGE_SIZE], const prd_merge_own_t *own,
    const prd_pooled_t *p, uint32_t learned_s)
{
    uint8_t             *b;
    unsigned             i, j;
    const prd_scores_t  *s;

    b = buf;
    *b++ = PRD_MERGE_VERSION;
    *b++ = 0;
    prd_pack16(&b, 0);
    prd_pack32(&b, learned_s);
    prd_pack64(&b, own->began);
    prd_pack32(&b, own->pace);
    prd_pack32(&b, 0);

    prd_merge_put_float(&b, p->mu);
    prd_merge_put_float(&b, p->sigma);
    prd_merge_put_float(&b, p->mu_rate);
    prd_merge_put_float(&b, p->sigma_rate);
    prd_merge_put_float(&b, p->anchor_b);
    prd_merge_put_float(&b, p->anchor_r);
    prd_merge_put_float(&b, p->anchor_mu);
    prd_merge_put_float(&b, p->cost);
    prd_pack64(&b, 0);

    for (i = 0; i < PRD_TABLES; i++) {
        s = prd_merge_scores(p, i);

        prd_merge_put_float(&b, s->z);

        for (j = 0; j < PRD_CELLS; j++) {
            prd_pack16(&b, prd_pack_log(s->cell[j]));
        }

        for (j = 0; j < PRD_CELLS; j++) {
            prd_pack32(&b, own->cast[i][j]);
        }
    }
}


prd_rc_t
prd_merge_head(const uint8_t *buf, size_t len, prd_merge_head_t *head)
{
    double          votes;
    unsigned        i, j;
    const uint8_t  *p;

    if (len == 0) {
        return PRD_ECORRUPT;
    }

    if (buf[0] != PRD_MERGE_VERSION) {
        return PRD_EVERSION;
    }

    if (len != PRD_MERGE_SIZE || buf[1] || buf[2] || buf[3]) {
        return PRD_ECORRUPT;
    }

    p = buf + 4;
    head->learned_s = prd_unpack32(&p);
    head->began = prd_unpack64(&p);
    head->pace = prd_unpack32(&p);

    if (head->began == 0) {
        return PRD_ECORRUPT;
    }

    votes = 0;
    p = buf + PRD_MERGE_HEAD;

    for (i = 0; i < PRD_AGES; i++) {
        p += 4;

        for (j = 0; j < PRD_CELLS; j++) {
            votes += prd_unpack_log(prd_unpack16(&p));
        }

        p += PRD_CELLS * 4;
    }

    head->votes = (uint32_t) prd_min(votes, UINT32_MAX);

    return PRD_OK;
}


prd_rc_t
prd_merge_add(const uint8_t *buf, size_t len, prd_merge_seen_t *seen,
    prd_merge_mean_t *mean, prd_pooled_t *pooled,
    const prd_envelope_terms_t *t, unsigned first, double now_s)
{
    float             add[PRD_CELLS];
    double            sum, w;
    int32_t           diff;
    uint32_t          n;
    unsigned          i, j;
    prd_rc_t          rc;
    const uint8_t    *p;
    prd_merge_head_t  head;

    rc = prd_merge_head(buf, len, &head);

    if (rc != PRD_OK) {
        return rc;
    }

    /* whoever began after we did has cast nothing that we know of */

    if (seen->began != head.began) {
        memset(seen, 0, sizeof(prd_merge_seen_t));
        seen->began = head.began;
    }

    p = buf + PRD_MERGE_HEAD;

    for (i = 0; i < PRD_TABLES; i++) {
        p += 4 + PRD_CELLS * 2;
        sum = 0;

        for (j = 0; j < PRD_CELLS; j++) {
            n = prd_unpack32(&p);
            diff = (int32_t) (n - seen->cast[i][j]);
            seen->cast[i][j] = n;
            add[j] = (float) prd_max(diff, 0);
            sum += add[j];
        }

        if (first || sum < 0.5) {
            continue;
        }

        if (sum > PRD_MERGE_VOTES) {
            for (j = 0; j < PRD_CELLS; j++) {
                add[j] *= (float) (PRD_MERGE_VOTES / sum);
            }
        }

        prd_pooled_add(pooled, t, i, add, now_s);
    }

    p = buf + 24;
    w = prd_min((double) head.pace, PRD_MERGE_VOTES);

    mean->weight += w;
    mean->mu += w * prd_merge_get_float(&p, -PRD_MERGE_LOG, PRD_MERGE_LOG);
    mean->sigma += w * prd_merge_get_float(&p, PRD_MERGE_SIGMA,
                                           PRD_MERGE_MOST);
    mean->mu_rate += w * prd_merge_get_float(&p, -PRD_MERGE_LOG,
                                             PRD_MERGE_LOG);
    mean->sigma_rate += w * prd_merge_get_float(&p, PRD_MERGE_SIGMA,
                                                PRD_MERGE_MOST);

    return PRD_OK;
}


/* Towards the mean, by at most a step. */

static void
prd_merge_move(double *v, double mean, double step)
{
    *v += prd_max(prd_min(mean - *v, step), -step);
}


void
prd_merge_end(prd_merge_own_t *own, prd_merge_mean_t *mean, prd_pooled_t *p,
    const prd_envelope_terms_t *t)
{
    double  w, all, step;

    w = prd_min((double) own->pace, PRD_MERGE_VOTES);
    all = mean->weight + w;

    if (mean->weight > 0) {
        step = t->learning ? PRD_MERGE_LOG : PRD_MERGE_STEP;

        prd_merge_move(&p->mu, (mean->mu + w * p->mu) / all, step);
        prd_merge_move(&p->sigma, (mean->sigma + w * p->sigma) / all, step);
        prd_merge_move(&p->mu_rate, (mean->mu_rate + w * p->mu_rate) / all,
                       step);
        prd_merge_move(&p->sigma_rate,
                       (mean->sigma_rate + w * p->sigma_rate) / all, step);
    }

    memset(mean, 0, sizeof(prd_merge_mean_t));

    own->pace = 0;
    prd_merge_rest(own, p);
}


uint32_t
prd_merge_votes(const prd_pooled_t *p)
{
    double    votes;
    unsigned  i;

    votes = 0;

    for (i = 0; i < PRD_AGES; i++) {
        votes += p->depth[i].votes;
    }

    return votes > 0 ? (uint32_t) prd_min(votes, UINT32_MAX) : 0;
}


prd_rc_t
prd_merge_adopt(const uint8_t *buf, size_t len, prd_pooled_t *pooled,
    const prd_envelope_terms_t *t, double now_s)
{
    double            cell;
    unsigned          i, j;
    prd_rc_t          rc;
    prd_pooled_t      a;
    prd_scores_t     *s;
    const uint8_t    *p;
    prd_merge_head_t  head;

    rc = prd_merge_head(buf, len, &head);

    if (rc != PRD_OK) {
        return rc;
    }

    a = *pooled;
    p = buf + 24;

    a.mu = prd_merge_get_float(&p, -PRD_MERGE_LOG, PRD_MERGE_LOG);
    a.sigma = prd_merge_get_float(&p, PRD_MERGE_SIGMA, PRD_MERGE_MOST);
    a.mu_rate = prd_merge_get_float(&p, -PRD_MERGE_LOG, PRD_MERGE_LOG);
    a.sigma_rate = prd_merge_get_float(&p, PRD_MERGE_SIGMA, PRD_MERGE_MOST);
    a.anchor_b = prd_merge_get_float(&p, -PRD_MERGE_LOG, PRD_MERGE_LOG);
    a.anchor_r = prd_merge_get_float(&p, -PRD_MERGE_LOG, PRD_MERGE_LOG);
    a.anchor_mu = prd_merge_get_float(&p, -PRD_MERGE_LOG, PRD_MERGE_LOG);
    a.cost = prd_merge_get_float(&p, 1e-3, 1e12);
    a.anchor_s = now_s;

    p = buf + PRD_MERGE_HEAD;

    for (i = 0; i < PRD_TABLES; i++) {
        s = (prd_scores_t *) prd_merge_scores(&a, i);

        s->z = (float) prd_merge_get_float(&p, -8, 24);
        s->votes = 0;

        for (j = 0; j < PRD_CELLS; j++) {
            cell = prd_unpack_log(prd_unpack16(&p));
            s->cell[j] = (float) prd_min(cell, 1e5);
            s->votes += s->cell[j];
        }

        /* a table without any vote has no quantile */

        if (s->votes < 1) {
            return PRD_ECORRUPT;
        }

        s->fresh = 0;
        s->at_s = now_s;
        p += PRD_CELLS * 4;
    }

    prd_pooled_newcomer(&a, t, now_s);
    *pooled = a;

    return PRD_OK;
}
