
/*
 * What the files of groups share, for these alone: prd_group.c (clients, steps,
 * results), prd_group_scan.c (a sample's clusters), prd_group_name.c (what they
 * are called, bytes).  In this order they call each other.
 */


#ifndef PRD_GROUP_INNER_H_INCLUDED
#define PRD_GROUP_INNER_H_INCLUDED


#include <math.h>

#include "prd_group.h"


#define PRD_GROUP_NOISE    255
#define PRD_GROUP_BOUND    1000.0f    /* of a feature in a file */


typedef enum {
    PRD_GROUP_IDLE = 0,                /* the pass under way is no sample */
    PRD_GROUP_SAMPLING,                /* it is, from its begin */
    PRD_GROUP_SAMPLED,                 /* and it has ended */
    PRD_GROUP_CORES,
    PRD_GROUP_TREE,
    PRD_GROUP_SORT,
    PRD_GROUP_CUT,
    PRD_GROUP_RESULT
} prd_group_phase_e;


/* How far apart is far, and how much it counts. */

typedef struct {
    float  scale;
    float  weight;
} prd_group_term_t;

extern const prd_group_term_t  prd_group_terms[PRD_HABIT_FEATURES];


/* Distance to the minPts-th neighbour. */
void prd_group_cores(prd_group_work_t *w);

/* Prim's tree over mutual reachability distances. */
void prd_group_tree(prd_group_work_t *w);

/* Heap sort of the edges; n values, of which n - 1 are the tree's. */
void prd_group_sort(prd_group_work_t *w);

/*
 * DBSCAN's clusters for one radius: what the tree's edges up to it connect.
 * Kept when they are better than those before.
 */
void prd_group_cut(prd_group_work_t *w, float eps);

/* w->middle: the means of clusters. */
void prd_group_middles(prd_group_work_t *w, const uint8_t *cluster);

/*
 * One radius for all cannot part kinds of which one is sparse: clusters that
 * hold two kinds are parted where there are few points between them.
 */
void prd_group_split(const prd_groups_t *g, prd_group_work_t *w);

/* What density parts and nobody would call by two names is one. */
void prd_group_merge(const prd_groups_t *g, prd_group_work_t *w);


static inline void
prd_group_unscaled(const prd_groups_t *g, const float *scaled, float *x)
{
    unsigned  d;

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {
        x[d] = scaled[d] / g->inv[d];
    }
}


static inline float
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


#endif /* PRD_GROUP_INNER_H_INCLUDED */
