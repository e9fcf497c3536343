
/*
 * Groups of clients that behave alike, found among the features of
 * prd_habit.h.
 *
 * DBSCAN (Ester, Kriegel, Sander, Xu 1996) on a sample says how many groups
 * there are and who belongs to none.  Its radius is not guessed: the minimum
 * spanning tree of mutual reachability distances holds the result for every
 * radius (Campello, Moulavi, Sander 2013), and the one whose clusters have
 * the best silhouette (Rousseeuw 1987, to centroids) is taken.  Online
 * mini-batch k-means (Sculley 2010) then follows the groups over all clients.
 *
 * A group keeps its number and its name for as long as it lives: a later
 * DBSCAN only says that one is missing or is no more.  Names are said by
 * rules on the centroid (prd_group_kind()).
 *
 * A pass:
 *
 *     prd_group_begin(w);
 *     for each client, in portions of the caller's choosing:
 *         if (prd_habit_features(h, now_s, offset_s, bins, x) == PRD_OK)
 *             i = prd_group_learn(g, w, x, vote, &outlier);
 *     prd_group_end(g, w, now_s, learning);
 *     while (prd_group_step(g, w, now_s, learning) == PRD_EAGAIN)
 *         something else: a step is some 0.5 ms
 *
 * with PRD_GROUP_ASSIGN for `bins`, and vote 1 only for a client with
 * PRD_GROUP_VOTES active bins that has been known for PRD_GROUP_VOTE_S, within
 * the votes that its newcomer key has.
 *
 * What votes can move, however many they are: a centroid by PRD_GROUP_DRIFT
 * of a scaled unit in 24 h (kinds of clients are 1 to 4 apart); a scale or a
 * radius by a factor of 2 in 24 h.  A new group takes PRD_GROUP_PROVEN results
 * that show it, a new name as many in a row, the end of a group
 * PRD_GROUP_MISSED in a row; results are PRD_GROUP_EVERY_S apart.  These
 * bounds are lifted while `learning`, in the warm-up, and for
 * PRD_GROUP_SETTLE_S from the first result: a day of data knows no weekend.
 * Outliers have no vote.
 *
 * Who keeps something by place (a client's group, a chain of prd_markov.h)
 * compares prd_group_t.id when `generation` has risen: a place may be another
 * group's by then.
 *
 * Owned by the forecasting thread (or the replay tool).  Nothing here
 * allocates.
 */


#ifndef PRD_GROUP_H_INCLUDED
#define PRD_GROUP_H_INCLUDED


#include "prd_habit.h"


#define PRD_GROUPS          12
#define PRD_GROUP_NONE      255        /* no group yet, or too little known */
#define PRD_GROUP_NAME      20         /* bytes of a name, with its 0 */

#define PRD_GROUP_ASSIGN    2          /* active bins to be in a group */
#define PRD_GROUP_VOTES     6          /* to have a vote, to be an outlier */
#define PRD_GROUP_VOTE_S    43200
#define PRD_GROUP_SAMPLE    1024
#define PRD_GROUP_SAMPLE_0  32         /* fewer voters make no groups */
#define PRD_GROUP_DRIFT     0.5f       /* scaled units in 24 h */
#define PRD_GROUP_PROVEN    3          /* results */
#define PRD_GROUP_MISSED    24
#define PRD_GROUP_EVERY_S   3600
#define PRD_GROUP_SETTLE_S  259200

#define PRD_GROUP_PACKED    2048       /* bytes that suffice for a pack */
#define PRD_GROUP_VERSION   1


typedef enum {
    PRD_GROUP_KIND_POWER = 0,
    PRD_GROUP_KIND_BATCH,
    PRD_GROUP_KIND_LIGHT,
    PRD_GROUP_KIND_BURSTY,
    PRD_GROUP_KIND_DIURNAL,
    PRD_GROUP_KIND_INTERMITTENT,
    PRD_GROUP_KINDS
} prd_group_kind_e;


/* A place in prd_groups_t.group; id 0 is an empty one. */

typedef struct {
    uint32_t  id;                      /* 1, 2, ...; never used again */
    uint8_t   kind;                    /* prd_group_kind_e */
    uint8_t   number;                  /* 0, or 2 .. of a kind's second .. */
    uint8_t   missing;                 /* results in a row without a cluster */
    uint8_t   other;                   /* results in a row of another kind */
    float     center[PRD_HABIT_FEATURES];     /* features, not scaled */
    float     spread[PRD_HABIT_FEATURES];     /* mean absolute deviation */
    float     votes;                   /* that the centroid stands for */
    float     radius;                  /* scaled; farther out is an outlier */
    uint32_t  members;                 /* in the last pass; new: about */
    uint32_t  outliers;                /* among them */
} prd_group_t;


/* What is learned.  Zeroed is a start; no pointer in it. */

typedef struct {
    prd_group_t  group[PRD_GROUPS];
    float        scale[PRD_HABIT_FEATURES];   /* 0: not known yet */
    uint32_t     next_id;
    uint32_t     generation;           /* rises when places or names change */
    uint64_t     since_s;              /* wall: of the first result; 0: none */
    uint64_t     moved_s;              /* end of the last pass */
    uint64_t     stepped_s;            /* last result */
    uint32_t     claims;               /* 2 for each result that a new group */
    uint32_t     spare;                /* was in, less those without */
    float        claim[PRD_HABIT_FEATURES];   /* its centroid */
    float        inv[PRD_HABIT_FEATURES];     /* weight over scale */
} prd_groups_t;


/* Memory of one pass, 65 kB.  Zeroed at first. */

typedef struct {
    float     sum[PRD_GROUPS][PRD_HABIT_FEATURES];
    float     away[PRD_GROUPS][PRD_HABIT_FEATURES];
    uint32_t  voters[PRD_GROUPS];
    uint32_t  members[PRD_GROUPS];
    uint32_t  outliers[PRD_GROUPS];

    uint64_t  random;                  /* the caller may seed it */
    uint32_t  phase;
    uint32_t  at;
    uint32_t  n;                       /* sampled, of one whole pass */
    uint32_t  seen;                    /* its voters */
    uint32_t  born;                    /* bits: groups of this pass's time */

    float     x[PRD_GROUP_SAMPLE][PRD_HABIT_FEATURES];
    float     core[PRD_GROUP_SAMPLE];
    float     reach[PRD_GROUP_SAMPLE];        /* of the tree: to `from` */
    float     edge[PRD_GROUP_SAMPLE];         /* sorted */
    uint16_t  from[PRD_GROUP_SAMPLE];
    uint16_t  a[PRD_GROUP_SAMPLE];
    uint16_t  b[PRD_GROUP_SAMPLE];
    uint16_t  root[PRD_GROUP_SAMPLE];
    uint8_t   done[PRD_GROUP_SAMPLE];
    uint8_t   cluster[PRD_GROUP_SAMPLE];      /* of the radius tried */
    uint8_t   best[PRD_GROUP_SAMPLE];
    float     middle[PRD_GROUPS][PRD_HABIT_FEATURES];
    float     score;
    float     eps;                     /* of the best */
    uint32_t  clusters;
} prd_group_work_t;


/*
 * Starts a pass; steps not ended yet keep their sample and go on.  A pass that
 * began before they ended is no sample.  `w` may be zeroed at any time, and has
 * to be when *g was loaded.
 */
void prd_group_begin(prd_group_work_t *w);

/*
 * One client.  Returns its group's place, or PRD_GROUP_NONE while there are
 * none.  *outlier is 1 when it is farther from every group than what DBSCAN
 * counts to it, or one of its features is (8 mean deviations).  x must be of
 * prd_habit_features(); what is not finite is nobody's.
 * Of a client with fewer than PRD_GROUP_VOTES active bins it says little that
 * it is an outlier.
 */
unsigned prd_group_learn(const prd_groups_t *g, prd_group_work_t *w,
    const float *x, int vote, int *outlier);

/* The same without a pass, and without learning. */
unsigned prd_group_find(const prd_groups_t *g, const float *x, int *outlier);

/*
 * Ends a pass: moves centroids.  learning = 1, in the warm-up, lifts the
 * bounds.  A clock that stepped back moves nothing.
 */
void prd_group_end(prd_groups_t *g, prd_group_work_t *w, uint64_t now_s,
    int learning);

/*
 * A slice of DBSCAN on the sample of the last pass, also while the next one is
 * under way.  PRD_EAGAIN: go on; PRD_OK: ended, groups may have come, gone or
 * been renamed (g->generation); PRD_DECLINED: nothing to do, too few voters,
 * too early, or the pass has not ended: to be called between prd_group_end()
 * and the next prd_group_begin() at least once.
 */
prd_rc_t prd_group_step(prd_groups_t *g, prd_group_work_t *w, uint64_t now_s,
    int learning);

/* What a centroid looks like. */
prd_group_kind_e prd_group_kind(const float *center);
const char *prd_group_kind_name(prd_group_kind_e kind);

/* "bursty" or "bursty-2", to PRD_GROUP_NAME bytes; "" for none. */
void prd_group_name(const prd_groups_t *g, unsigned place, char *name);

/*
 * To at most PRD_GROUP_PACKED bytes and back, the same on any machine.
 * PRD_ENOMEM: *len was too small.  PRD_EVERSION, PRD_ECORRUPT: *g stays.
 */
prd_rc_t prd_group_pack(const prd_groups_t *g, uint8_t *p, size_t *len);
prd_rc_t prd_group_unpack(prd_groups_t *g, const uint8_t *p, size_t len);


#endif /* PRD_GROUP_H_INCLUDED */
