
/*
 * The groups of a sample; see prd_group_inner.h.
 *
 * DBSCAN for all radii at once: the minimum spanning tree of the distances of
 * mutual reachability, its edges in order, cut where the parts are told apart
 * best.
 */


#include <math.h>

#include "prd_group_inner.h"


#define PRD_GROUP_ALIKE    2.0f       /* nearer, and of one kind: one group */
#define PRD_GROUP_TWINS    0.7f       /* nearer, and whatever the kinds */
#define PRD_GROUP_SHARE    50         /* a cluster is 1/50 of the sample */
#define PRD_GROUP_LEAST    8          /* and so many, if they are few */
#define PRD_GROUP_SLICE    16         /* points a step */
#define PRD_GROUP_SLICE_T  32
#define PRD_GROUP_ROUNDS   8          /* of 2-means */
#define PRD_GROUP_VALLEY   0.8f       /* between two groups over at them */


static void prd_group_sift(prd_group_work_t *w, unsigned i, unsigned n);
static unsigned prd_group_root(prd_group_work_t *w, unsigned i);
static float prd_group_silhouette(const prd_group_work_t *w);
static int prd_group_part(const prd_groups_t *g, prd_group_work_t *w,
    unsigned cluster);
static int prd_group_valley(prd_group_work_t *w, unsigned cluster,
    const uint8_t *kind, uint8_t second, float m[2][PRD_HABIT_FEATURES]);


void
prd_group_cores(prd_group_work_t *w)
{
    float     near[16], d;
    unsigned  i, j, k, end, points;

    points = 5 + w->n / 128;
    end = prd_min(w->at + PRD_GROUP_SLICE, w->n);

    for (i = w->at; i < end; i++) {

        for (k = 0; k < points; k++) {
            near[k] = INFINITY;
        }

        for (j = 0; j < w->n; j++) {

            d = j == i ? INFINITY : prd_group_distance(w->x[i], w->x[j]);

            if (d >= near[points - 1]) {
                continue;
            }

            for (k = points - 1; k > 0 && near[k - 1] > d; k--) {
                near[k] = near[k - 1];
            }

            near[k] = d;
        }

        w->core[i] = near[points - 1];
        w->reach[i] = INFINITY;
        w->done[i] = 0;
        w->from[i] = 0;
    }

    w->at = end;

    if (end == w->n) {
        w->at = 0;
        w->reach[0] = 0;
        w->phase = PRD_GROUP_TREE;
    }
}


void
prd_group_tree(prd_group_work_t *w)
{
    float     d;
    unsigned  i, j, end;

    end = prd_min(w->at + PRD_GROUP_SLICE_T, w->n);

    for ( /* void */ ; w->at < end; w->at++) {

        i = w->n;

        for (j = 0; j < w->n; j++) {
            if (!w->done[j] && (i == w->n || w->reach[j] < w->reach[i])) {
                i = j;
            }
        }

        w->done[i] = 1;

        if (w->at > 0) {
            w->edge[w->at - 1] = w->reach[i];
            w->a[w->at - 1] = (uint16_t) i;
            w->b[w->at - 1] = w->from[i];
        }

        for (j = 0; j < w->n; j++) {

            if (w->done[j]) {
                continue;
            }

            d = prd_group_distance(w->x[i], w->x[j]);
            d = fmaxf(d, fmaxf(w->core[i], w->core[j]));

            if (d < w->reach[j]) {
                w->reach[j] = d;
                w->from[j] = (uint16_t) i;
            }
        }
    }

    if (w->at == w->n) {
        w->phase = PRD_GROUP_SORT;
    }
}


void
prd_group_sort(prd_group_work_t *w)
{
    float     edge;
    unsigned  i, n;
    uint16_t  a, b;

    n = w->phase == PRD_GROUP_SORT ? w->n - 1 : w->n;

    for (i = n / 2; i > 0; i--) {
        prd_group_sift(w, i - 1, n);
    }

    for (i = n; i > 1; i--) {
        edge = w->edge[0];
        a = w->a[0];
        b = w->b[0];

        w->edge[0] = w->edge[i - 1];
        w->a[0] = w->a[i - 1];
        w->b[0] = w->b[i - 1];

        w->edge[i - 1] = edge;
        w->a[i - 1] = a;
        w->b[i - 1] = b;

        prd_group_sift(w, 0, i - 1);
    }
}


static void
prd_group_sift(prd_group_work_t *w, unsigned i, unsigned n)
{
    float     edge;
    unsigned  k;
    uint16_t  a, b;

    edge = w->edge[i];
    a = w->a[i];
    b = w->b[i];

    for (k = 2 * i + 1; k < n; k = 2 * i + 1) {

        if (k + 1 < n && w->edge[k + 1] > w->edge[k]) {
            k++;
        }

        if (w->edge[k] <= edge) {
            break;
        }

        w->edge[i] = w->edge[k];
        w->a[i] = w->a[k];
        w->b[i] = w->b[k];
        i = k;
    }

    w->edge[i] = edge;
    w->a[i] = a;
    w->b[i] = b;
}


void
prd_group_cut(prd_group_work_t *w, float eps)
{
    float     score;
    unsigned  i, k, root, least;
    uint16_t  size[PRD_GROUP_SAMPLE];

    for (i = 0; i < w->n; i++) {
        w->root[i] = (uint16_t) i;
        size[i] = 0;
    }

    for (i = 0; i < w->n - 1 && w->edge[i] <= eps; i++) {
        w->root[prd_group_root(w, w->a[i])] = (uint16_t)
                                                 prd_group_root(w, w->b[i]);
    }

    for (i = 0; i < w->n; i++) {
        size[prd_group_root(w, i)]++;
    }

    least = prd_max(w->n / PRD_GROUP_SHARE, PRD_GROUP_LEAST);
    k = 0;

    for (i = 0; i < w->n; i++) {

        if (size[i] < least) {
            size[i] = PRD_GROUP_NOISE;
            continue;
        }

        size[i] = (uint16_t) k++;
    }

    if (k > PRD_GROUPS || k < 2) {
        return;
    }

    for (i = 0; i < w->n; i++) {
        root = prd_group_root(w, i);
        w->cluster[i] = (uint8_t) size[root];
    }

    w->clusters = k;
    prd_group_middles(w, w->cluster);
    score = prd_group_silhouette(w);

    if (score > w->score) {
        w->score = score;
        w->eps = eps;
        memcpy(w->best, w->cluster, w->n);
    }
}


static unsigned
prd_group_root(prd_group_work_t *w, unsigned i)
{
    while (w->root[i] != i) {
        w->root[i] = w->root[w->root[i]];
        i = w->root[i];
    }

    return i;
}


void
prd_group_middles(prd_group_work_t *w, const uint8_t *cluster)
{
    float     n[PRD_GROUPS];
    unsigned  i, k, d;

    memset(n, 0, sizeof(n));
    memset(w->middle, 0, sizeof(w->middle));

    for (i = 0; i < w->n; i++) {
        k = cluster[i];

        if (k == PRD_GROUP_NOISE) {
            continue;
        }

        n[k]++;

        for (d = 0; d < PRD_HABIT_FEATURES; d++) {
            w->middle[k][d] += (w->x[i][d] - w->middle[k][d]) / n[k];
        }
    }
}


/* The mean over all points, noise being 0. */

static float
prd_group_silhouette(const prd_group_work_t *w)
{
    float     own, other, sum, d;
    unsigned  i, k;

    sum = 0;

    for (i = 0; i < w->n; i++) {

        if (w->cluster[i] == PRD_GROUP_NOISE) {
            continue;
        }

        own = prd_group_distance(w->x[i], w->middle[w->cluster[i]]);
        other = INFINITY;

        for (k = 0; k < w->clusters; k++) {
            if (k != w->cluster[i]) {
                d = prd_group_distance(w->x[i], w->middle[k]);
                other = fminf(other, d);
            }
        }

        if (own > 0 || other > 0) {
            sum += (other - own) / fmaxf(own, other);
        }
    }

    return sum / (float) w->n;
}


void
prd_group_split(const prd_groups_t *g, prd_group_work_t *w)
{
    unsigned  c;

    for (c = 0; c < w->clusters && w->clusters < PRD_GROUPS; c++) {
        if (prd_group_part(g, w, c)) {
            c = (unsigned) -1;
        }
    }
}


static int
prd_group_part(const prd_groups_t *g, prd_group_work_t *w, unsigned cluster)
{
    int       side;
    float     m[2][PRD_HABIT_FEATURES], x[PRD_HABIT_FEATURES], to;
    uint8_t   kind[PRD_GROUP_SAMPLE];
    unsigned  i, d, k, a, b, least, round, n[2], kinds[PRD_GROUP_KINDS];

    memset(kinds, 0, sizeof(kinds));
    n[0] = 0;

    for (i = 0; i < w->n; i++) {
        kind[i] = PRD_GROUP_KINDS;

        if (w->best[i] == cluster) {
            prd_group_unscaled(g, w->x[i], x);
            kind[i] = (uint8_t) prd_group_kind(x);
            kinds[kind[i]]++;
            n[0]++;
        }
    }

    a = b = PRD_GROUP_KINDS;

    for (k = 0; k < PRD_GROUP_KINDS; k++) {

        if (a == PRD_GROUP_KINDS || kinds[k] > kinds[a]) {
            b = a;
            a = k;

        } else if (b == PRD_GROUP_KINDS || kinds[k] > kinds[b]) {
            b = k;
        }
    }

    least = prd_max(w->n / PRD_GROUP_SHARE, PRD_GROUP_LEAST);

    if (kinds[b] < least || kinds[b] < n[0] / 8) {
        return 0;
    }

    /* 2-means, from the means of both kinds */

    for (round = 0; round <= PRD_GROUP_ROUNDS; round++) {

        if (round > 0) {

            for (i = 0; i < w->n; i++) {
                if (w->best[i] == cluster) {
                    kind[i] = (uint8_t) (prd_group_distance(w->x[i], m[0])
                                         <= prd_group_distance(w->x[i], m[1])
                                         ? a : b);
                }
            }
        }

        memset(m, 0, sizeof(m));
        n[0] = n[1] = 0;

        for (i = 0; i < w->n; i++) {

            if (kind[i] != a && kind[i] != b) {
                continue;
            }

            side = kind[i] == b;
            to = 1 / (float) ++n[side];

            for (d = 0; d < PRD_HABIT_FEATURES; d++) {
                m[side][d] += (w->x[i][d] - m[side][d]) * to;
            }
        }

        if (n[0] < least || n[1] < least) {
            return 0;
        }
    }

    prd_group_unscaled(g, m[0], x);
    k = prd_group_kind(x);
    prd_group_unscaled(g, m[1], x);

    if (k == prd_group_kind(x)
        || !prd_group_valley(w, cluster, kind, (uint8_t) b, m))
    {
        return 0;
    }

    for (i = 0; i < w->n; i++) {
        if (kind[i] == b) {
            w->best[i] = (uint8_t) w->clusters;
        }
    }

    w->clusters++;

    return 1;
}


/*
 * Whether fewer points are half-way between two means than at either, seen
 * along Fisher's direction (1936) with a diagonal covariance: features that
 * do not tell the two apart have no say.
 */

static int
prd_group_valley(prd_group_work_t *w, unsigned cluster, const uint8_t *kind,
    uint8_t second, float m[2][PRD_HABIT_FEATURES])
{
    float     axis[PRD_HABIT_FEATURES], length, t, y;
    unsigned  i, d, n, at[3];

    if (prd_group_distance(m[0], m[1]) < PRD_GROUP_TWINS) {
        return 0;
    }

    memset(axis, 0, sizeof(axis));
    n = 0;

    for (i = 0; i < w->n; i++) {

        if (w->best[i] != cluster) {
            continue;
        }

        n++;

        for (d = 0; d < PRD_HABIT_FEATURES; d++) {
            y = w->x[i][d] - m[kind[i] == second][d];
            axis[d] += y * y;
        }
    }

    length = 0;

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {
        y = m[1][d] - m[0][d];
        axis[d] = y / (axis[d] / (float) n + 0.01f);
        length += y * axis[d];
    }

    memset(at, 0, sizeof(at));

    for (i = 0; i < w->n; i++) {

        if (w->best[i] != cluster) {
            continue;
        }

        t = 0;

        for (d = 0; d < PRD_HABIT_FEATURES; d++) {
            t += (w->x[i][d] - m[0][d]) * axis[d];
        }

        t /= length;

        at[0] += t > -0.15f && t < 0.15f;
        at[1] += t > 0.35f && t < 0.65f;
        at[2] += t > 0.85f && t < 1.15f;
    }

    return (float) at[1] < PRD_GROUP_VALLEY * (float) prd_min(at[0], at[2]);
}


void
prd_group_merge(const prd_groups_t *g, prd_group_work_t *w)
{
    float     x[PRD_GROUPS][PRD_HABIT_FEATURES], d, least;
    unsigned  i, j, k, into, gone;

    for ( ;; ) {

        for (k = 0; k < w->clusters; k++) {
            prd_group_unscaled(g, w->middle[k], x[k]);
        }

        least = 1;
        into = gone = 0;

        for (i = 0; i < w->clusters; i++) {
            for (j = i + 1; j < w->clusters; j++) {

                d = prd_group_distance(w->middle[i], w->middle[j])
                    / (prd_group_kind(x[i]) == prd_group_kind(x[j])
                       ? PRD_GROUP_ALIKE : PRD_GROUP_TWINS);

                if (d < least) {
                    least = d;
                    into = i;
                    gone = j;
                }
            }
        }

        if (gone == 0) {
            return;
        }

        w->clusters--;

        for (i = 0; i < w->n; i++) {

            if (w->best[i] == gone) {
                w->best[i] = (uint8_t) into;

            } else if (w->best[i] == w->clusters) {
                w->best[i] = (uint8_t) gone;
            }
        }

        prd_group_middles(w, w->best);
    }
}
