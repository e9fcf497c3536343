
/*
 * The experts: what each forecasts of an anchor, and how much it has to say.
 */


#include "prd_aggregate_inner.h"


#define PRD_AGG_ETA           0.2f    /* experts: learning rate, share */
#define PRD_AGG_SHARE         0.003f
#define PRD_AGG_LOSS_MOST     5.0f    /* mean losses; one miss is no verdict */

#define PRD_AGG_STIR          0.1f


/*
 * What each expert has to say of the centre.  Half of it is the weights of
 * fixed share.  They run to whoever was best of late, and models that err
 * alike are seldom told apart by that; the mean of several is hard to beat
 * (Bates and Granger 1969; Stock and Watson 2004).  The other half is that of
 * the models, of the profile and the regressions, by roots of their weights.
 */

void
prd_agg_say(const prd_aggregate_anchor_t *n, float say[EXPERTS])
{
    float     root[EXPERTS], all, models;
    unsigned  k;

    for (k = 0, all = models = 0; k < EXPERTS; k++) {
        say[k] = prd_max(n->weight[k], 1e-9f);
        root[k] = k < PRD_AGGREGATE_PROFILE ? 0 : sqrtf(say[k]);
        all += say[k];
        models += root[k];
    }

    for (k = 0; k < EXPERTS; k++) {
        say[k] = (say[k] / all + root[k] / models) / 2;
    }
}


static void
prd_agg_points(const prd_aggregate_t *a, unsigned anchor,
    prd_aggregate_pending_t *p)
{
    float                          say[EXPERTS], z, *point = p->point;
    unsigned                       f, h, k, open;
    const float                   *x;
    const prd_aggregate_anchor_t  *n = &a->anchor[anchor];

    h = prd_agg_horizon[anchor];
    k = prd_agg_modulo(a->bin, MOST);
    x = a->row[k];
    z = a->z[k];

    point[PRD_AGGREGATE_LAST] = a->last;
    point[PRD_AGGREGATE_SHORT] = a->mean[0];
    point[PRD_AGGREGATE_MIDDLE] = a->mean[1];
    point[PRD_AGGREGATE_LONG] = a->mean[2];
    point[PRD_AGGREGATE_PROFILE] =
        prd_agg_profile(a, a->bin + h, a->mean[1])
        + a->residual[k] * (n->rho_xy + 0.5f) / (n->rho_xx + 0.5f);

    open = prd_min(n->fitted, prd_agg_open(a));

    for (k = 0; k < FITS; k++) {
        f = prd_min(k, open - 1);
        point[PRD_AGGREGATE_FIT + k] = open == 0 ? a->mean[0]
            : z + prd_agg_dot(n->beta[f], x, prd_agg_terms[f]);
    }

    point[PRD_AGGREGATE_ARMA] = a->path[0][h - 1];
    point[PRD_AGGREGATE_WAVE] = a->path[1][h - 1];

    prd_agg_say(n, say);
    p->centre = 0;

    for (k = 0; k < EXPERTS; k++) {
        point[k] = prd_agg_clip(point[k], 0, prd_agg_top(a));
        p->centre += say[k] * point[k];
    }
}


static prd_aggregate_pending_t *
prd_agg_slot_of(prd_aggregate_t *a, unsigned anchor)
{
    return &a->pending[prd_agg_pending[anchor]
                       + prd_agg_modulo(a->bin, prd_agg_horizon[anchor])];
}


void
prd_agg_predict(prd_aggregate_t *a)
{
    unsigned                  i, open;
    prd_aggregate_pending_t  *p;

    open = prd_min(a->anchor[0].fitted, prd_agg_open(a));

    prd_agg_iterate(a, 0, a->path[0]);
    prd_agg_iterate(a, open ? open - 1 : 0, a->path[1]);

    for (i = 0; i < ANCHORS; i++) {
        p = prd_agg_slot_of(a, i);
        prd_agg_points(a, i, p);

        if (a->bins == 1) {
            a->anchor[i].size[PRD_AGGREGATE_ROOT] = 0.3f * expf(a->last / 2);
            a->anchor[i].size[PRD_AGGREGATE_COUNT] = 0.3f * expf(a->last);
            a->anchor[i].size[PRD_AGGREGATE_STEP] = 0.3f * expf(a->last);
        }

        prd_agg_spans(a, i, p);
    }
}


void
prd_agg_share(float *weight, unsigned stride, const float *loss,
    const float *prior, unsigned n, float eta, float share)
{
    float     best, sum;
    unsigned  i;

    for (i = 1, best = loss[0]; i < n; i++) {
        best = prd_min(best, loss[i]);
    }

    for (i = 0, sum = 0; i < n; i++) {
        weight[i * stride] *= expf(-eta * prd_min(loss[i] - best,
                                                  PRD_AGG_LOSS_MOST));
        sum += weight[i * stride];
    }

    for (i = 0; i < n; i++) {
        weight[i * stride] = weight[i * stride] / sum * (1 - share)
                             + share * (prior ? prior[i] : 1.0f / (float) n);
    }
}


void
prd_agg_score(prd_aggregate_t *a, unsigned anchor, float z)
{
    float                           loss[EXPERTS], u;
    unsigned                        k;
    prd_aggregate_anchor_t         *n = &a->anchor[anchor];
    const prd_aggregate_pending_t  *p = prd_agg_slot_of(a, anchor);

    for (k = 0; k < EXPERTS; k++) {
        loss[k] = fabsf(z - p->point[k]) / n->error;
    }

    prd_agg_share(n->weight, 1, loss, NULL, EXPERTS, PRD_AGG_ETA,
                  PRD_AGG_SHARE);

    if (anchor == 0) {
        u = (z - p->centre) / p->unit[PRD_AGGREGATE_LOG];
        a->stir += PRD_AGG_STIR * (prd_min(u * u, 9) - a->stir);
    }

    prd_agg_score_spans(n, p, z);
    prd_agg_score_errors(n, p, z);

    n->scored += n->scored < UINT32_MAX;
}
