
/*
 * Rates, times, sizes and the parameters of `predictive_zone` and
 * `predictive`: one grammar for nginx.conf, for variables read at a request
 * and for the command line of predictive-replay.
 */


#ifndef PRD_PARSE_H_INCLUDED
#define PRD_PARSE_H_INCLUDED


#include "prd.h"


/*
 * A rate: "5r/s", "1.5r/s", "10r/5s", "30r/m", "100r/h", "1000r/d".  A bare
 * number means r/s and is told by *bare = 1 (bare may be NULL).  Fractions
 * of the unit are rounded up, so that no client gets less than was written.
 *
 * PRD_EINVAL: not a rate; PRD_ERANGE: zero, or above PRD_RATE_MAX, or for a
 * time of zero or above 10 years.
 *
 * In this file a number is digits, and a fraction digits on both sides of a
 * dot: signs, exponents, "nan", "0x10", ".5", blanks around it and anything
 * behind it are PRD_EINVAL.  A text that is wrong in both ways is PRD_EINVAL.
 */
prd_rc_t prd_parse_rate(prd_str_t s, prd_rate_t *rate, unsigned *bare);

/*
 * A time as nginx writes it ("10s", "1d", "500ms", "1h30m", "1h 30m",
 * "5" = seconds; M is 30 and y 365 days), in milliseconds.  PRD_EINVAL,
 * PRD_ERANGE (above 10 years).
 */
prd_rc_t prd_parse_time_ms(prd_str_t s, uint64_t *ms);

/* A size with k, m or g, in bytes.  PRD_EINVAL, PRD_ERANGE (above 2^46). */
prd_rc_t prd_parse_size(prd_str_t s, uint64_t *bytes);

/* An unsigned decimal number, at most `max`. */
prd_rc_t prd_parse_uint(prd_str_t s, uint64_t max, uint64_t *n);

/* A decimal number >= 0 with at most 3 fractional digits, in 1/1000;
 * more digits are rounded up; at most `max` (in 1/1000 too). */
prd_rc_t prd_parse_milli(prd_str_t s, uint64_t max, uint64_t *milli);

/*
 * "99.9%", in 1/1,000,000 (999000), rounded up.  PRD_EINVAL without the
 * sign, PRD_ERANGE above 100%.
 */
prd_rc_t prd_parse_percent(prd_str_t s, uint32_t *ppm);


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


#endif /* PRD_PARSE_H_INCLUDED */
