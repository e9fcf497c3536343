
/*
 * Forecasts of what a zone's request classes will be asked for: a curve each
 * for those that are asked for most, over bins of 300 s.
 *
 * A class is known by its index; `id` is what stays the same over a restart
 * (a hash of its name, not 0).  All of it belongs to the forecasting thread
 * (or the replay tool); workers read single numbers for show, plainly.
 */


#ifndef PRD_CLASS_H_INCLUDED
#define PRD_CLASS_H_INCLUDED


#include "prd_curve.h"


#define PRD_CLASSES       256
#define PRD_CLASS_CURVES  8
#define PRD_CLASS_BIN_S   300


typedef struct {
    uint32_t         id;               /* 0: free */
    uint32_t         index;
    int64_t          curve_bin;        /* after which the curve is; 0: none */
    prd_curve_t      curve[PRD_CURVE_POINTS];
    prd_aggregate_t  demand;
} prd_class_t;

typedef struct {
    int64_t      bin;                  /* open, 0: none */
    float        sum[PRD_CLASSES];     /* tokens in it */
    float        level[PRD_CLASSES];   /* slow mean of bins, tokens */
    prd_class_t  top[PRD_CLASS_CURVES];
} prd_classes_t;


void prd_class_init(prd_classes_t *c);

/*
 * The bin that end_s (wall clock) ends, or lies in.  If it is not the open
 * one, that one is closed: curves are made anew, and a class that has become
 * louder than the quietest one with a curve takes its place.  ids: of classes
 * by index, 0 where there is none.
 */
void prd_class_turn(prd_classes_t *c, uint64_t end_s,
    const _Atomic uint32_t ids[PRD_CLASSES]);

/* Tokens of a class, in the bin of the last turn. */
void prd_class_add(prd_classes_t *c, unsigned index, double tokens);

/* After a file was read: what is not sane goes, curves are those of now. */
void prd_class_settle(prd_classes_t *c, uint64_t now_s,
    const _Atomic uint32_t ids[PRD_CLASSES]);


#endif /* PRD_CLASS_H_INCLUDED */
