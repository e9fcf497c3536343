
/*
 * Groups of clients that behave alike; see prd_group.h.
 *
 * Distances are Euclidean over (x - y) * weight / scale.  The scale is half
 * the distance between the quartiles of a sample, within a factor of 2 of what
 * is usual: a population of one kind must not have its noise blown up.
 */


#include <math.h>

#include "prd_bytes.h"
#include "prd_group.h"


#define PRD_GROUP_CLAIM    1.0f       /* scaled: two results mean the same */
#define PRD_GROUP_ALIKE    2.0f       /* nearer, and of one kind: one group */
#define PRD_GROUP_TWINS    0.7f       /* nearer, and whatever the kinds */
#define PRD_GROUP_SCORE    0.3f       /* less is no structure: one group */
#define PRD_GROUP_SHARE    50         /* a cluster is 1/50 of the sample */
#define PRD_GROUP_LEAST    8          /* and so many, if they are few */
#define PRD_GROUP_CUTS     40         /* radii that are tried */
#define PRD_GROUP_MEMORY   8          /* passes that a centroid is made of */
#define PRD_GROUP_FAR      8          /* mean deviations of one feature */
#define PRD_GROUP_SLICE    16         /* points a step */
#define PRD_GROUP_SLICE_T  32
#define PRD_GROUP_ROUNDS   8          /* of 2-means */
#define PRD_GROUP_VALLEY   0.8f       /* between two groups over at them */
#define PRD_GROUP_DAY_S    86400.0
#define PRD_GROUP_NOISE    255
#define PRD_GROUP_BOUND    1000.0f    /* of a feature in a file */

#define PRD_GROUP_HEAD     48
#define PRD_GROUP_RECORD   (24 + 8 * PRD_HABIT_FEATURES)
#define PRD_GROUP_SIZE     (PRD_GROUP_HEAD + 8 * PRD_HABIT_FEATURES           \
                            + PRD_GROUPS * PRD_GROUP_RECORD)

_Static_assert(PRD_GROUP_SIZE <= PRD_GROUP_PACKED, "a pack fits");


typedef enum {
    PRD_GROUP_IDLE = 0,
    PRD_GROUP_CORES,
    PRD_GROUP_TREE,
    PRD_GROUP_SORT,
    PRD_GROUP_CUT,
    PRD_GROUP_RESULT
} prd_group_phase_e;


/* How far apart is far, and how much it counts. */

static const struct {
    float  scale;
    float  weight;
} prd_group_terms[PRD_HABIT_FEATURES] = {
    [PRD_HABIT_RATE]    = { 1.0f,  0.7f },
    [PRD_HABIT_BUSY]    = { 1.0f,  1.2f },
    [PRD_HABIT_BURST]   = { 0.6f,  0.3f },
    [PRD_HABIT_ACTIVE]  = { 0.25f, 1.0f },
    [PRD_HABIT_REGULAR] = { 0.2f,  0.2f },
    [PRD_HABIT_FOCUS]   = { 0.3f,  1.0f },
    [PRD_HABIT_NIGHT]   = { 0.3f,  0.7f },
    [PRD_HABIT_WEEKEND] = { 0.6f,  0.4f },
    [PRD_HABIT_SIZE]    = { 4.0f,  0.2f },
    [PRD_HABIT_ERRORS]  = { 0.2f,  0.3f }
};


static unsigned prd_group_nearest(const prd_groups_t *g, const float *x,
    float *distance);
static int prd_group_far(const prd_groups_t *g, unsigned i, const float *x,
    float distance);
static int prd_group_finite(const float *x);
static void prd_group_sample(prd_group_work_t *w, const float *x);
static int prd_group_settling(const prd_groups_t *g, uint64_t now_s,
    int learning);
static void prd_group_scale(prd_groups_t *g, prd_group_work_t *w,
    double factor);
static void prd_group_cores(prd_group_work_t *w);
static void prd_group_tree(prd_group_work_t *w);
static void prd_group_sort(prd_group_work_t *w);
static void prd_group_sift(prd_group_work_t *w, unsigned i, unsigned n);
static void prd_group_cut(prd_group_work_t *w, float eps);
static unsigned prd_group_root(prd_group_work_t *w, unsigned i);
static void prd_group_middles(prd_group_work_t *w, const uint8_t *cluster);
static float prd_group_silhouette(const prd_group_work_t *w);
static void prd_group_split(const prd_groups_t *g, prd_group_work_t *w);
static int prd_group_part(const prd_groups_t *g, prd_group_work_t *w,
    unsigned cluster);
static int prd_group_valley(prd_group_work_t *w, unsigned cluster,
    const uint8_t *kind, uint8_t second, float m[2][PRD_HABIT_FEATURES]);
static void prd_group_merge(const prd_groups_t *g, prd_group_work_t *w);
static void prd_group_result(prd_groups_t *g, prd_group_work_t *w,
    uint64_t now_s, int settling, double factor);
static void prd_group_claims(prd_groups_t *g, prd_group_work_t *w,
    const uint8_t *claimed, int settling);
static void prd_group_create(prd_groups_t *g, const prd_group_work_t *w,
    unsigned cluster);
static void prd_group_rename(prd_groups_t *g, unsigned i,
    prd_group_kind_e kind);
static float prd_group_reach(const prd_group_work_t *w, unsigned cluster,
    const float *scaled);
static void prd_group_unscaled(const prd_groups_t *g, const float *scaled,
    float *x);
static void prd_group_scaled(const prd_groups_t *g, const float *x,
    float *scaled);
static float prd_group_distance(const float *a, const float *b);


void
prd_group_begin(prd_group_work_t *w)
{
    memset(w->sum, 0, sizeof(w->sum));
    memset(w->away, 0, sizeof(w->away));
    memset(w->voters, 0, sizeof(w->voters));
    memset(w->members, 0, sizeof(w->members));
    memset(w->outliers, 0, sizeof(w->outliers));

    if (w->phase == PRD_GROUP_IDLE) {
        w->n = 0;
        w->seen = 0;
    }
}


unsigned
prd_group_learn(const prd_groups_t *g, prd_group_work_t *w, const float *x,
    int vote, int *outlier)
{
    unsigned  i, d;

    i = prd_group_find(g, x, outlier);

    if (vote && w->phase == PRD_GROUP_IDLE && prd_group_finite(x)) {
        prd_group_sample(w, x);
    }

    if (i == PRD_GROUP_NONE) {
        return i;
    }

    w->members[i]++;
    w->outliers[i] += *outlier != 0;

    if (!vote || *outlier) {
        return i;
    }

    w->voters[i]++;

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {
        w->sum[i][d] += x[d] - g->group[i].center[d];
        w->away[i][d] += fabsf(x[d] - g->group[i].center[d]);
    }

    return i;
}


unsigned
prd_group_find(const prd_groups_t *g, const float *x, int *outlier)
{
    float     distance;
    unsigned  i;

    *outlier = 0;

    if (!prd_group_finite(x)) {
        return PRD_GROUP_NONE;
    }

    i = prd_group_nearest(g, x, &distance);

    if (i != PRD_GROUP_NONE) {
        *outlier = prd_group_far(g, i, x, distance);
    }

    return i;
}


static unsigned
prd_group_nearest(const prd_groups_t *g, const float *x, float *distance)
{
    float               sum, least, y;
    unsigned            i, d, best;
    const prd_group_t  *group;

    best = PRD_GROUP_NONE;
    least = INFINITY;

    for (i = 0; i < PRD_GROUPS; i++) {
        group = &g->group[i];

        if (group->id == 0) {
            continue;
        }

        sum = 0;

        for (d = 0; d < PRD_HABIT_FEATURES; d++) {
            y = (x[d] - group->center[d]) * g->inv[d];
            sum += y * y;
        }

        if (sum < least) {
            least = sum;
            best = i;
        }
    }

    *distance = sqrtf(least);

    return best;
}


static int
prd_group_far(const prd_groups_t *g, unsigned i, const float *x,
    float distance)
{
    float               spread;
    unsigned            d;
    const prd_group_t  *group;

    group = &g->group[i];

    if (distance > group->radius) {
        return 1;
    }

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {

        spread = fmaxf(group->spread[d], g->scale[d] / 4);

        if (fabsf(x[d] - group->center[d]) > PRD_GROUP_FAR * spread) {
            return 1;
        }
    }

    return 0;
}


static int
prd_group_finite(const float *x)
{
    unsigned  d;

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {
        if (!(fabsf(x[d]) <= PRD_GROUP_BOUND)) {
            return 0;
        }
    }

    return 1;
}


/* Reservoir sampling (Vitter 1985, algorithm R). */

static void
prd_group_sample(prd_group_work_t *w, const float *x)
{
    uint32_t  i;

    if (w->n < PRD_GROUP_SAMPLE) {
        i = w->n++;

    } else {
        w->random = w->random * 6364136223846793005ull
                    + 1442695040888963407ull;
        i = (uint32_t) ((w->random >> 32) * (w->seen + 1ull) >> 32);
    }

    if (w->seen < UINT32_MAX) {
        w->seen++;
    }

    if (i < PRD_GROUP_SAMPLE) {
        memcpy(w->x[i], x, sizeof(w->x[i]));
    }
}


static int
prd_group_settling(const prd_groups_t *g, uint64_t now_s, int learning)
{
    return learning || g->since_s == 0
           || (now_s >= g->since_s && now_s - g->since_s < PRD_GROUP_SETTLE_S);
}


void
prd_group_end(prd_groups_t *g, prd_group_work_t *w, uint64_t now_s,
    int learning)
{
    float         n, gain, by, most, y;
    unsigned      i, d;
    prd_group_t  *group;

    most = INFINITY;

    if (!prd_group_settling(g, now_s, learning)) {
        most = now_s <= g->moved_s ? 0 : PRD_GROUP_DRIFT
               * (float) prd_min((double) (now_s - g->moved_s)
                                 / PRD_GROUP_DAY_S, 1);
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        group = &g->group[i];

        if (group->id == 0) {
            continue;
        }

        group->members = w->members[i];
        group->outliers = w->outliers[i];

        if (w->voters[i] == 0) {
            continue;
        }

        /*
         * Steps of 1/votes for each voter in turn, which is Sculley's rate,
         * come to just this when a batch keeps its assignment
         */

        n = (float) w->voters[i];
        gain = 1 / (group->votes + n);
        group->votes = fminf(group->votes + n, PRD_GROUP_MEMORY * n);

        by = 0;

        for (d = 0; d < PRD_HABIT_FEATURES; d++) {
            y = w->sum[i][d] * gain * g->inv[d];
            by += y * y;
        }

        by = sqrtf(by);

        if (by > most) {
            gain *= most / by;
        }

        for (d = 0; d < PRD_HABIT_FEATURES; d++) {
            group->center[d] += w->sum[i][d] * gain;
            group->spread[d] += (w->away[i][d] - n * group->spread[d]) * gain;
        }
    }

    g->moved_s = now_s;

    /* the accumulated is spent; a pass ended twice moves nothing */

    memset(w->voters, 0, sizeof(w->voters));
}


prd_rc_t
prd_group_step(prd_groups_t *g, prd_group_work_t *w, uint64_t now_s,
    int learning)
{
    int       settling;
    double    factor;
    unsigned  step;

    settling = prd_group_settling(g, now_s, learning);

    /* by which factor a scale or a radius may have changed since the last */

    factor = 1e6;

    if (!settling) {
        factor = now_s > g->stepped_s ? (double) (now_s - g->stepped_s) : 0;
        factor = pow(2, prd_min(factor / PRD_GROUP_DAY_S, 1));
    }

    switch ((prd_group_phase_e) w->phase) {

    case PRD_GROUP_IDLE:

        if (w->n < PRD_GROUP_SAMPLE_0) {
            return PRD_DECLINED;
        }

        if (g->stepped_s != 0 && now_s >= g->stepped_s
            && now_s - g->stepped_s < PRD_GROUP_EVERY_S)
        {
            return PRD_DECLINED;
        }

        prd_group_scale(g, w, factor);
        w->at = 0;
        w->phase = PRD_GROUP_CORES;
        break;

    case PRD_GROUP_CORES:
        prd_group_cores(w);
        break;

    case PRD_GROUP_TREE:
        prd_group_tree(w);
        break;

    case PRD_GROUP_SORT:
        prd_group_sort(w);
        w->at = 0;
        w->score = 0;
        w->phase = PRD_GROUP_CUT;
        break;

    case PRD_GROUP_CUT:

        /* from the longest edge down: each one first, then growing steps */

        step = w->at < 16 ? w->at
               : 16 + (unsigned) ((pow(1.1, w->at - 15) - 1) * 10);

        if (w->at == PRD_GROUP_CUTS || step + w->n / 4 >= w->n - 1) {
            w->phase = PRD_GROUP_RESULT;
            break;
        }

        prd_group_cut(w, w->edge[w->n - 2 - step]);
        w->at++;
        break;

    case PRD_GROUP_RESULT:
        prd_group_result(g, w, now_s, settling, factor);
        w->phase = PRD_GROUP_IDLE;
        w->n = 0;
        w->seen = 0;
        return PRD_OK;
    }

    return PRD_EAGAIN;
}


/* Scales from the sample's quartiles; the sample is scaled in place. */

static void
prd_group_scale(prd_groups_t *g, prd_group_work_t *w, double factor)
{
    float     v, scale, most, least;
    unsigned  i, j, d, n;

    n = w->n;

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {

        for (i = 0; i < n; i++) {
            w->edge[i] = w->x[i][d];
        }

        prd_group_sort(w);

        scale = (w->edge[n * 3 / 4] - w->edge[n / 4]) / 2;

        most = prd_group_terms[d].scale * 2;
        least = prd_group_terms[d].scale / 2;
        scale = fminf(fmaxf(scale, least), most);

        if (g->scale[d] > 0) {
            v = g->scale[d];
            scale = fminf(fmaxf(scale, v / (float) factor),
                          v * (float) factor);
        }

        g->scale[d] = scale;
        g->inv[d] = prd_group_terms[d].weight / scale;

        for (j = 0; j < n; j++) {
            w->x[j][d] *= g->inv[d];
        }
    }
}


/* Distance to the minPts-th neighbour. */

static void
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


/* Prim's tree over mutual reachability distances. */

static void
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


/* Heap sort of the edges; n values, of which n - 1 are the tree's. */

static void
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


/*
 * DBSCAN's clusters for one radius: what the tree's edges up to it connect.
 * Kept when they are better than those before.
 */

static void
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


static void
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


/*
 * One radius for all cannot part kinds of which one is sparse: clusters that
 * hold two kinds are parted where there are few points between them.
 */

static void
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


/* What density parts and nobody would call by two names is one. */

static void
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


/*
 * Which cluster is which group's: by the points that the group has in it,
 * greedily, most first.
 */

static void
prd_group_result(prd_groups_t *g, prd_group_work_t *w, uint64_t now_s,
    int settling, double factor)
{
    float         x[PRD_HABIT_FEATURES], distance, radius;
    uint8_t       claimed[PRD_GROUPS], owner[PRD_GROUPS];
    unsigned      i, k, c, most;
    uint16_t      points[PRD_GROUPS][PRD_GROUPS];
    prd_group_kind_e    kind;
    prd_group_t  *group;

    if (w->score < PRD_GROUP_SCORE) {
        memset(w->best, 0, w->n);
        w->eps = w->edge[w->n * 95 / 100 - 1];
    }

    w->clusters = 0;

    for (i = 0; i < w->n; i++) {
        if (w->best[i] != PRD_GROUP_NOISE) {
            w->clusters = prd_max(w->clusters, w->best[i] + 1u);
        }
    }

    prd_group_split(g, w);
    prd_group_middles(w, w->best);
    prd_group_merge(g, w);

    memset(points, 0, sizeof(points));

    for (i = 0; i < w->n; i++) {

        if (w->best[i] == PRD_GROUP_NOISE) {
            continue;
        }

        prd_group_unscaled(g, w->x[i], x);
        k = prd_group_nearest(g, x, &distance);

        if (k != PRD_GROUP_NONE) {
            points[w->best[i]][k]++;
        }
    }

    memset(claimed, 0, sizeof(claimed));
    memset(owner, PRD_GROUP_NOISE, sizeof(owner));

    for ( ;; ) {

        most = 0;
        k = c = 0;

        for (i = 0; i < PRD_GROUPS * PRD_GROUPS; i++) {
            if (!claimed[i / PRD_GROUPS]
                && owner[i % PRD_GROUPS] == PRD_GROUP_NOISE
                && points[i / PRD_GROUPS][i % PRD_GROUPS] > most)
            {
                c = i / PRD_GROUPS;
                k = i % PRD_GROUPS;
                most = points[c][k];
            }
        }

        if (most == 0) {
            break;
        }

        claimed[c] = 1;
        owner[k] = (uint8_t) c;
    }

    for (i = 0; i < PRD_GROUPS; i++) {
        group = &g->group[i];

        if (group->id == 0) {
            continue;
        }

        if (owner[i] == PRD_GROUP_NOISE) {

            group->missing = (uint8_t) prd_min(group->missing + 1, 255);

            if (group->missing >= (settling ? PRD_GROUP_PROVEN
                                            : PRD_GROUP_MISSED))
            {
                memset(group, 0, sizeof(prd_group_t));
                g->generation++;
            }

            continue;
        }

        group->missing = 0;
        c = owner[i];

        if (settling) {
            prd_group_unscaled(g, w->middle[c], group->center);
        }

        prd_group_scaled(g, group->center, x);
        radius = prd_group_reach(w, c, x);
        radius = fmaxf(radius, group->radius / (float) factor);

        group->radius = fminf(radius, group->radius * (float) factor);

        kind = prd_group_kind(group->center);

        if (kind == group->kind) {
            group->other = 0;

        } else if (++group->other >= PRD_GROUP_PROVEN || settling) {
            prd_group_rename(g, i, kind);
        }
    }

    prd_group_claims(g, w, claimed, settling);

    for (i = 0; i < PRD_GROUPS && settling; i++) {

        /* no "bursty-2" for want of a first one that was just a start */

        if (g->group[i].id != 0 && g->group[i].number != 0) {
            prd_group_rename(g, i, (prd_group_kind_e) g->group[i].kind);
        }
    }

    g->stepped_s = now_s;

    if (g->since_s == 0) {
        g->since_s = now_s;
    }
}


/* Clusters that are no group's: new ones, if they are there again and again. */

static void
prd_group_claims(prd_groups_t *g, prd_group_work_t *w, const uint8_t *claimed,
    int settling)
{
    float     x[PRD_HABIT_FEATURES], size[PRD_GROUPS], far;
    unsigned  i, c, most;

    memset(size, 0, sizeof(size));

    for (i = 0; i < w->n; i++) {
        if (w->best[i] != PRD_GROUP_NOISE) {
            size[w->best[i]]++;
        }
    }

    most = PRD_GROUP_NOISE;

    for (c = 0; c < w->clusters; c++) {

        if (claimed[c]) {
            continue;
        }

        if (settling) {
            prd_group_create(g, w, c);
            continue;
        }

        if (most == PRD_GROUP_NOISE || size[c] > size[most]) {
            most = c;
        }
    }

    if (most == PRD_GROUP_NOISE) {
        g->claims -= g->claims > 0;
        return;
    }

    prd_group_scaled(g, g->claim, x);
    far = prd_group_distance(x, w->middle[most]);

    g->claims = far > PRD_GROUP_CLAIM ? 2 : g->claims + 2;
    prd_group_unscaled(g, w->middle[most], g->claim);

    if (g->claims >= 2 * PRD_GROUP_PROVEN - 1) {
        prd_group_create(g, w, most);
        g->claims = 0;
    }
}


static void
prd_group_create(prd_groups_t *g, const prd_group_work_t *w, unsigned cluster)
{
    unsigned      i, j, d, n;
    prd_group_t  *group;

    for (i = 0; i < PRD_GROUPS && g->group[i].id != 0; i++) {
        /* void */
    }

    if (i == PRD_GROUPS) {
        return;
    }

    group = &g->group[i];
    memset(group, 0, sizeof(prd_group_t));

    prd_group_unscaled(g, w->middle[cluster], group->center);
    group->radius = prd_group_reach(w, cluster, w->middle[cluster]);

    n = 0;

    for (j = 0; j < w->n; j++) {

        if (w->best[j] != cluster) {
            continue;
        }

        n++;

        for (d = 0; d < PRD_HABIT_FEATURES; d++) {
            group->spread[d] += fabsf(w->x[j][d] - w->middle[cluster][d])
                                / g->inv[d];
        }
    }

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {
        group->spread[d] /= (float) prd_max(n, 1);
    }

    group->votes = (float) n;
    prd_group_rename(g, i, prd_group_kind(group->center));
    group->id = ++g->next_id;
    g->generation++;
}


/* The first free number of the kind: a name is never taken from another. */

static void
prd_group_rename(prd_groups_t *g, unsigned place, prd_group_kind_e kind)
{
    unsigned  i, number, was;

    number = 0;
    was = g->group[place].kind == kind ? g->group[place].number : 256;

    for (i = 0; i < PRD_GROUPS; i++) {

        if (i != place && g->group[i].id != 0 && g->group[i].kind == kind
            && g->group[i].number == number)
        {
            number = prd_max(number + 1, 2);
            i = (unsigned) -1;
        }
    }

    g->group[place].kind = (uint8_t) kind;
    g->group[place].number = (uint8_t) number;
    g->group[place].other = 0;
    g->generation += number != was;
}


/* How far the points of a cluster are, and one radius more. */

static float
prd_group_reach(const prd_group_work_t *w, unsigned cluster,
    const float *scaled)
{
    float     most;
    unsigned  i;

    most = 0;

    for (i = 0; i < w->n; i++) {
        if (w->best[i] == cluster) {
            most = fmaxf(most, prd_group_distance(w->x[i], scaled));
        }
    }

    return most + fmaxf(w->eps, 0.1f);
}


static void
prd_group_unscaled(const prd_groups_t *g, const float *scaled, float *x)
{
    unsigned  d;

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {
        x[d] = scaled[d] / g->inv[d];
    }
}


static void
prd_group_scaled(const prd_groups_t *g, const float *x, float *scaled)
{
    unsigned  d;

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {
        scaled[d] = x[d] * g->inv[d];
    }
}


static float
prd_group_distance(const float *a, const float *b)
{
    float     sum, y;
    unsigned  d;

    sum = 0;

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {
        y = a[d] - b[d];
        sum += y * y;
    }

    return sqrtf(sum);
}


/* Most telling first; see prd_habit.h for what the numbers are. */

prd_group_kind_e
prd_group_kind(const float *x)
{
    /* most hours, and more than a few requests in each */

    if (x[PRD_HABIT_ACTIVE] >= 0.78f && x[PRD_HABIT_BUSY] >= 0.7f) {
        return PRD_GROUP_KIND_POWER;
    }

    /* a spread of 1.8 h over the day, of 3.9 h */

    if (x[PRD_HABIT_FOCUS] >= 0.7f) {
        return PRD_GROUP_KIND_BATCH;
    }

    if (x[PRD_HABIT_FOCUS] >= 0.35f
        || (x[PRD_HABIT_FOCUS] >= 0.2f && x[PRD_HABIT_ACTIVE] >= 0.35f))
    {
        return PRD_GROUP_KIND_DIURNAL;
    }

    /* fewer than three in an hour with any */

    if (x[PRD_HABIT_BUSY] < 0.45f) {
        return PRD_GROUP_KIND_LIGHT;
    }

    /* 40 an hour, three in 10 s or 80 a day */

    if (x[PRD_HABIT_BUSY] >= 1.6f || x[PRD_HABIT_BURST] >= 0.5f
        || x[PRD_HABIT_RATE] >= 1.9f)
    {
        return PRD_GROUP_KIND_BURSTY;
    }

    return PRD_GROUP_KIND_INTERMITTENT;
}


const char *
prd_group_kind_name(prd_group_kind_e kind)
{
    switch (kind) {

    case PRD_GROUP_KIND_POWER:
        return "power";

    case PRD_GROUP_KIND_BATCH:
        return "batch";

    case PRD_GROUP_KIND_LIGHT:
        return "light";

    case PRD_GROUP_KIND_BURSTY:
        return "bursty";

    case PRD_GROUP_KIND_DIURNAL:
        return "diurnal";

    case PRD_GROUP_KIND_INTERMITTENT:
        return "intermittent";

    case PRD_GROUP_KINDS:
        break;
    }

    return "";
}


void
prd_group_name(const prd_groups_t *g, unsigned place, char *name)
{
    size_t        len;
    const char   *kind;
    unsigned      number;

    name[0] = '\0';

    if (place >= PRD_GROUPS || g->group[place].id == 0) {
        return;
    }

    kind = prd_group_kind_name((prd_group_kind_e) g->group[place].kind);
    len = strlen(kind);
    memcpy(name, kind, len + 1);

    number = g->group[place].number % 100;

    if (number == 0) {
        return;
    }

    name[len++] = '-';

    if (number >= 10) {
        name[len++] = (char) ('0' + number / 10);
    }

    name[len++] = (char) ('0' + number % 10);
    name[len] = '\0';
}


/*
 * A pack, little-endian: version, features, places, next_id, generation,
 * claims u32 | since_s, moved_s, stepped_s u64 | scales, claim f32 | then each
 * place: id u32 | kind, number, missing, other u8 | votes, radius f32 |
 * members, outliers u32 | center, spread f32.
 */

prd_rc_t
prd_group_pack(const prd_groups_t *g, uint8_t *p, size_t *len)
{
    unsigned            i;
    const prd_group_t  *group;

    if (*len < PRD_GROUP_SIZE) {
        return PRD_ENOMEM;
    }

    *len = PRD_GROUP_SIZE;

    prd_pack32(&p, PRD_GROUP_VERSION);
    prd_pack32(&p, PRD_HABIT_FEATURES);
    prd_pack32(&p, PRD_GROUPS);
    prd_pack32(&p, g->next_id);
    prd_pack32(&p, g->generation);
    prd_pack32(&p, g->claims);
    prd_pack64(&p, g->since_s);
    prd_pack64(&p, g->moved_s);
    prd_pack64(&p, g->stepped_s);
    prd_pack_floats(&p, g->scale, PRD_HABIT_FEATURES);
    prd_pack_floats(&p, g->claim, PRD_HABIT_FEATURES);

    for (i = 0; i < PRD_GROUPS; i++) {
        group = &g->group[i];

        prd_pack32(&p, group->id);
        *p++ = group->kind;
        *p++ = group->number;
        *p++ = group->missing;
        *p++ = group->other;
        prd_pack_floats(&p, &group->votes, 1);
        prd_pack_floats(&p, &group->radius, 1);
        prd_pack32(&p, group->members);
        prd_pack32(&p, group->outliers);
        prd_pack_floats(&p, group->center, PRD_HABIT_FEATURES);
        prd_pack_floats(&p, group->spread, PRD_HABIT_FEATURES);
    }

    return PRD_OK;
}


prd_rc_t
prd_group_unpack(prd_groups_t *g, const uint8_t *p, size_t len)
{
    int           bad, known;
    unsigned      i, d;
    prd_group_t  *group;
    prd_groups_t  to;

    if (len < PRD_GROUP_HEAD) {
        return PRD_ECORRUPT;
    }

    memset(&to, 0, sizeof(prd_groups_t));

    if (prd_unpack32(&p) != PRD_GROUP_VERSION
        || prd_unpack32(&p) != PRD_HABIT_FEATURES
        || prd_unpack32(&p) != PRD_GROUPS)
    {
        return PRD_EVERSION;
    }

    if (len != PRD_GROUP_SIZE) {
        return PRD_ECORRUPT;
    }

    to.next_id = prd_unpack32(&p);
    to.generation = prd_unpack32(&p);
    to.claims = prd_unpack32(&p);
    to.claims = prd_min(to.claims, 2 * PRD_GROUP_PROVEN);
    to.since_s = prd_unpack64(&p);
    to.moved_s = prd_unpack64(&p);
    to.stepped_s = prd_unpack64(&p);

    bad = prd_unpack_floats(&p, to.scale, PRD_HABIT_FEATURES, 0, 1e3f);
    bad |= prd_unpack_floats(&p, to.claim, PRD_HABIT_FEATURES,
                             -PRD_GROUP_BOUND, PRD_GROUP_BOUND);
    known = 0;

    for (i = 0; i < PRD_GROUPS; i++) {
        group = &to.group[i];

        group->id = prd_unpack32(&p);
        group->kind = *p++;
        group->number = *p++;
        group->missing = *p++;
        group->other = *p++;
        bad |= prd_unpack_floats(&p, &group->votes, 1, 0, 1e12f);
        bad |= prd_unpack_floats(&p, &group->radius, 1, 0, 1e6f);
        group->members = prd_unpack32(&p);
        group->outliers = prd_unpack32(&p);
        bad |= prd_unpack_floats(&p, group->center, PRD_HABIT_FEATURES,
                                 -PRD_GROUP_BOUND, PRD_GROUP_BOUND);
        bad |= prd_unpack_floats(&p, group->spread, PRD_HABIT_FEATURES,
                                 0, PRD_GROUP_BOUND);
        bad |= group->id > to.next_id || group->kind >= PRD_GROUP_KINDS;
        known |= group->id != 0;
    }

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {

        if (to.scale[d] > 0) {
            to.scale[d] = fminf(fmaxf(to.scale[d],
                                      prd_group_terms[d].scale / 2),
                                prd_group_terms[d].scale * 2);
            to.inv[d] = prd_group_terms[d].weight / to.scale[d];
        }

        bad |= known && to.scale[d] <= 0;
    }

    if (bad) {
        return PRD_ECORRUPT;
    }

    *g = to;

    return PRD_OK;
}
