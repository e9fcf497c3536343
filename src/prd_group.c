
/*
 * Groups of clients that behave alike; see prd_group.h.
 *
 * Distances are Euclidean over (x - y) * weight / scale.  The scale is half
 * the distance between the quartiles of a sample, within a factor of 2 of what
 * is usual: a population of one kind must not have its noise blown up.
 */


#include <math.h>

#include "prd_group_inner.h"


#define PRD_GROUP_CLAIM    1.0f       /* scaled: two results mean the same */
#define PRD_GROUP_SCORE    0.3f       /* less is no structure: one group */
#define PRD_GROUP_CUTS     40         /* radii that are tried */
#define PRD_GROUP_MEMORY   8          /* passes that a centroid is made of */
#define PRD_GROUP_FAR      8          /* mean deviations of one feature */
#define PRD_GROUP_DAY_S    86400.0


const prd_group_term_t  prd_group_terms[PRD_HABIT_FEATURES] = {
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
static void prd_group_result(prd_groups_t *g, prd_group_work_t *w,
    uint64_t now_s, int settling, double factor);
static void prd_group_claims(prd_groups_t *g, prd_group_work_t *w,
    const uint8_t *claimed, int settling);
static void prd_group_create(prd_groups_t *g, prd_group_work_t *w,
    unsigned cluster);
static void prd_group_rename(prd_groups_t *g, unsigned i,
    prd_group_kind_e kind);
static float prd_group_reach(const prd_group_work_t *w, unsigned cluster,
    const float *scaled);
static void prd_group_forget(prd_group_work_t *w, unsigned i);
static void prd_group_scaled(const prd_groups_t *g, const float *x,
    float *scaled);


void
prd_group_begin(prd_group_work_t *w)
{
    memset(w->sum, 0, sizeof(w->sum));
    memset(w->away, 0, sizeof(w->away));
    memset(w->voters, 0, sizeof(w->voters));
    memset(w->members, 0, sizeof(w->members));
    memset(w->outliers, 0, sizeof(w->outliers));

    w->born = 0;

    if (w->phase <= PRD_GROUP_SAMPLED) {
        w->phase = PRD_GROUP_SAMPLING;
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

    if (vote && w->phase == PRD_GROUP_SAMPLING && prd_group_finite(x)) {
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

        /* one that is new has seen a part of the pass */

        if (!(w->born & 1u << i)) {
            group->members = w->members[i];
            group->outliers = w->outliers[i];
        }

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
    w->born = 0;

    if (w->phase == PRD_GROUP_SAMPLING) {
        w->phase = PRD_GROUP_SAMPLED;
    }
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
    case PRD_GROUP_SAMPLING:

        /* half a pass is the half of the clients known for longest */

        return PRD_DECLINED;

    case PRD_GROUP_SAMPLED:

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


/* What the pass under way has summed up was off another centroid. */

static void
prd_group_forget(prd_group_work_t *w, unsigned i)
{
    memset(w->sum[i], 0, sizeof(w->sum[i]));
    memset(w->away[i], 0, sizeof(w->away[i]));
    w->voters[i] = 0;
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
                prd_group_forget(w, i);
                g->generation++;
            }

            continue;
        }

        group->missing = 0;
        c = owner[i];

        if (settling) {
            prd_group_unscaled(g, w->middle[c], group->center);
            prd_group_forget(w, i);
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
prd_group_create(prd_groups_t *g, prd_group_work_t *w, unsigned cluster)
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

    /* until a pass has counted them */

    group->members = (uint32_t) ((double) n * w->seen / w->n + 0.5);
    w->born |= 1u << i;
    prd_group_forget(w, i);

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
prd_group_scaled(const prd_groups_t *g, const float *x, float *scaled)
{
    unsigned  d;

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {
        scaled[d] = x[d] * g->inv[d];
    }
}
