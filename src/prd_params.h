
/*
 * The parameters of `predictive_zone` and of `predictive`, for nginx.conf and
 * for the command line of predictive-replay; their values are read by
 * prd_parse.h.
 */


#ifndef PRD_PARAMS_H_INCLUDED
#define PRD_PARAMS_H_INCLUDED


#include "prd_parse.h"


typedef enum {
    PRD_LEARN_ON = 0,
    PRD_LEARN_OBSERVE,
    PRD_LEARN_OFF
} prd_learn_e;


typedef enum {
    PRD_SYNC_LEASE = 0,            /* tokens are leased ahead, in batches */
    PRD_SYNC_STRICT                /* an atomic decision per request */
} prd_sync_e;


/*
 * The parameters of `predictive_zone` apart from KEY and zone=NAME:SIZE.
 * A string member that holds a variable ("$...") is kept as written in
 * `*_var` and its number is left at the default.
 */

typedef struct {
    prd_rate_t   rate;             /* 0: none given */
    prd_rate_t   capacity;         /* 0: none given */
    prd_rate_t   min;              /* 0: none given (see prd_params_end) */
    prd_rate_t   max;              /* 0: none given */
    uint32_t     burst;            /* tokens */
    uint32_t     borrow_milli;     /* 0 = unlimited, 1000 = off, N * 1000 */
    uint32_t     confidence_ppm;   /* 999000 */
    uint32_t     warmup_s;         /* 86400 */
    uint32_t     horizon_s;        /* 300 */
    uint64_t     cost_milli;       /* 1000; up to 10^12, more than u32 */
    prd_learn_e  learn;
    unsigned     floor_none:1;     /* floor=none */
    unsigned     network:1;        /* network=on */

    unsigned     rate_set:1;
    unsigned     burst_set:1;
    unsigned     rate_bare:1;      /* a bare number somewhere: warn */
    uint32_t     seen;             /* a bit each parameter given; private */

    prd_str_t    rate_var;
    prd_str_t    burst_var;
    prd_str_t    cost_var;
    prd_str_t    charge;           /* always a variable or empty */
    prd_str_t    class_;
    prd_str_t    newcomer;
    prd_str_t    store;            /* its name; empty: this host alone */
    prd_sync_e   sync;
} prd_params_t;

void prd_params_init(prd_params_t *p);

/*
 * Takes one word of the directive, "name=value".  PRD_DECLINED: no parameter
 * of this name.  PRD_EINVAL, PRD_ERANGE: *why is a constant phrase that says
 * what is wrong with the value ("must be a rate such as 10r/s", "is given
 * twice"), or, for a parameter of the contract that this version does not
 * offer, that it "is not supported yet".  After a failure *p is as it was.
 * Strings in *p point into the word.
 *
 * Bounds: confidence 50%..99.999%, horizon 10s..1d, warmup 0..365d,
 * borrow unlimited, off, or 1..1000 (fractions allowed), burst
 * 0..1,000,000,000, cost 0..1,000,000,000 with 3 fractional digits,
 * capacity >= 0.2 r/s (the pool holds 5 s of it and must hold a request).
 */
prd_rc_t prd_params_set(prd_params_t *p, prd_str_t word, const char **why);

/*
 * After the last word: checks what depends on several of them (a rate or a
 * capacity must be there; min <= max; min <= capacity; floor, min and max of
 * a zone without learning, and sync without store, are refused) and fills the
 * defaults: min = rate (floor=none: 0), max = 10 x rate, without rate min = 0
 * and max = capacity.
 * A variable rate counts as a rate whose min and max stay 0 = none.  min <=
 * max is asked of the defaults too; min <= capacity only of a min given.
 */
prd_rc_t prd_params_end(prd_params_t *p, const char **why);


/* The parameters of `predictive` apart from if= (nginx). */

typedef struct {
    uint32_t     burst;            /* tokens */
    uint32_t     delay;            /* tokens that pass without delay */
    prd_str_t    zone;
    unsigned     burst_set:1;
    unsigned     delay_set:1;
    unsigned     nodelay:1;
} prd_limit_params_t;

/*
 * As prd_params_set().  limit_req's grammar, in which the last of several
 * burst=, of several zone=, and of delay= and nodelay wins; nodelay stands
 * for an unlimited delay=.  if= is PRD_DECLINED, pool= not supported yet.
 */
void prd_limit_params_init(prd_limit_params_t *p);
prd_rc_t prd_limit_params_set(prd_limit_params_t *p, prd_str_t word,
    const char **why);


#endif /* PRD_PARAMS_H_INCLUDED */
