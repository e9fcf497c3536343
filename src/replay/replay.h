
/*
 * The replay itself: lines become requests, requests meet the engine by the
 * log's clock, and what comes of it is counted for the report.
 */


#ifndef RPL_REPLAY_H_INCLUDED
#define RPL_REPLAY_H_INCLUDED


#include "../prd_decide.h"
#include "../prd_forecaster.h"

#include "clients.h"
#include "expr.h"
#include "order.h"
#include "reader.h"


/* What is asked for: filled by the options, and by nginx.conf. */

typedef struct {
    prd_params_t         params;
    prd_limit_params_t   limit;

    const char          *format;         /* as written */
    rpl_escape_e         escape;
    const char          *key;            /* NULL: the format's default */
    const char          *class_;
    const char          *newcomer;
    const char          *cost;
    const char          *charge;
    const char          *rate;           /* variables only */
    const char          *burst;
    const char          *condition;      /* if= */
    rpl_names_t          names;

    uint64_t             zone_size;      /* bytes; 0: grows */
    prd_secret_t         secret;

    unsigned             masked:1;       /* newcomer may be "$address/24" */
    unsigned             no_spread:1;
    unsigned             no_arrival:1;

    /* limit_req beside it; rate in 1/1000 r/s, 0: none */
    uint32_t             their_rate;
    uint32_t             their_burst;    /* 1/1000 requests */
    uint32_t             their_delay;    /* UINT32_MAX: nodelay */
} rpl_options_t;


/* A minute of the log. */

typedef struct {
    int64_t   at;                        /* minutes since the epoch */
    uint64_t  requests;
    uint64_t  limited;
} rpl_minute_t;


#define RPL_BROKEN  10                   /* broken lines that are kept */

typedef struct {
    char      text[RPL_ERROR_MAX];
} rpl_broken_t;


typedef struct {
    uint64_t      lines;
    uint64_t      comments;              /* tsv: begin with # */
    uint64_t      broken;
    rpl_broken_t  first_broken[RPL_BROKEN];

    uint64_t      requests;
    uint64_t      skipped;               /* of them: no key */
    uint64_t      verdict[PRD_SKIPPED + 1];
    uint64_t      reason[2][PRD_REASONS];/* of the delayed, the refused */
    uint64_t      delay_ms;              /* in sum */

    uint64_t      late;                  /* lines more than 60 s back */
    uint64_t      late_most;             /* seconds */
    uint64_t      ahead;                 /* a day ahead of those around */
    uint64_t      refused_before;        /* status 429 or 503 in the log */
    uint64_t      denied;                /* 401 or 403 */
    uint64_t      bad_value;             /* cost, charge, rate, burst */
    uint64_t      full;                  /* decided without a slot */

    uint64_t      both[2][2];            /* limited by ours, by limit_req */
    uint64_t      their_refused, their_delayed;

    int64_t       first_us, last_us;

    rpl_minute_t  minute;                /* the open one */
    rpl_minute_t  minute_first;          /* with somebody limited; or none */
    rpl_minute_t  minute_worst;
    rpl_minute_t  minute_busy;

    /* when warm-up was over: what had been closed and missed till then */
    unsigned      warmed:1;
    double        closed[PRD_AGES];
    double        missed[PRD_AGES];
    uint64_t      warm_requests;         /* before */
    uint64_t      warm_limited;
} rpl_totals_t;


typedef struct rpl_replay_s  rpl_replay_t;

/*
 * Compiles format and expressions and opens nothing.  PRD_EINVAL: *e names
 * what is wrong.
 */
prd_rc_t rpl_replay_create(rpl_replay_t **r, const rpl_options_t *options,
    rpl_error_t *e);
void rpl_replay_done(rpl_replay_t *r);

/* Where decisions go, or NULL. */
void rpl_replay_decisions(rpl_replay_t *r, FILE *f);

/* Called now and then while a log is read. */

typedef struct rpl_progress_s  rpl_progress_t;

struct rpl_progress_s {
    void      (*tick)(rpl_progress_t *p, const rpl_replay_t *r,
                    const rpl_reader_t *reader);     /* may be NULL */
    double      begun, last;                         /* s */
    unsigned    shown:1;
};


/*
 * Reads all logs.  PRD_EIO, PRD_ECORRUPT: as rpl_reader_line(), *e names file
 * and line; PRD_EINVAL: there were lines, and none was of the format.
 */
prd_rc_t rpl_replay_run(rpl_replay_t *r, rpl_reader_t *reader,
    rpl_progress_t *progress, rpl_error_t *e);

/* After the run; the zone is NULL when no request came. */
const rpl_totals_t *rpl_replay_totals(const rpl_replay_t *r);
rpl_clients_t *rpl_replay_clients(rpl_replay_t *r);
const prd_view_t *rpl_replay_view(const rpl_replay_t *r);
const prd_policy_t *rpl_replay_policy(const rpl_replay_t *r);
uint32_t rpl_replay_now_ms(const rpl_replay_t *r);

/* The log's clock; and seconds of rpl_client_t by it, microseconds both. */
int64_t rpl_replay_now(const rpl_replay_t *r);
int64_t rpl_replay_time(const rpl_replay_t *r, uint32_t at_s);


#endif /* RPL_REPLAY_H_INCLUDED */
