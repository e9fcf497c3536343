
/*
 * The report of a run: for people, and as JSON.
 */


#ifndef RPL_REPORT_H_INCLUDED
#define RPL_REPORT_H_INCLUDED


#include "options.h"


/* A client in a list, ordered by value. */

typedef struct {
    uint64_t  value;
    uint32_t  client;
} rpl_rank_t;


/* What both forms tell, worked out once. */

typedef struct {
    const rpl_args_t     *args;
    rpl_replay_t         *replay;
    const rpl_totals_t   *t;
    rpl_clients_t        *clients;
    const prd_view_t     *view;          /* NULL: no request */

    uint64_t              limited;
    uint64_t              their_limited;
    uint64_t              honest;        /* clients */

    /* at most args->top of each; ties in the order of appearance */
    rpl_rank_t           *hit;
    size_t                nhit;
    uint64_t              nlimited;      /* clients ever limited */
    rpl_rank_t           *looks;         /* honest-looking and limited */
    size_t                nlooks;

    /* blocks closed with a peak, those above the raw depth; by age, and sum */
    double                closed[2][PRD_AGES + 1];
    double                missed[2][PRD_AGES + 1];

    char                  rate[64];      /* of limit_req, as written */
} rpl_report_t;

#define RPL_WARM  0                      /* after warm-up */
#define RPL_ALL   1


void rpl_report_init(rpl_report_t *r, const rpl_args_t *args,
    rpl_replay_t *replay);
void rpl_report_done(rpl_report_t *r);

void rpl_report_text(const rpl_report_t *r, FILE *f);
void rpl_report_json(const rpl_report_t *r, FILE *f);

/* Share of limited requests above args->max_limited_ppm? */
int rpl_report_failed(const rpl_report_t *r);

/* "0", "1-2", ... "128+" */
const char *rpl_report_age(unsigned age);


#endif /* RPL_REPORT_H_INCLUDED */
