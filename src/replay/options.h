
/*
 * The command line, and what nginx.conf adds to it.
 */


#ifndef RPL_OPTIONS_H_INCLUDED
#define RPL_OPTIONS_H_INCLUDED


#include "conf.h"
#include "replay.h"


typedef struct {
    rpl_options_t    replay;

    char            *conf;               /* -c */
    const char      *at;                 /* "FILE:LINE" of the zone there */
    char            *zone;
    char            *location;
    char            *decisions;
    char            *json;
    char            *state;
    char            *state_zone;
    char            *state_key;
    char            *series;             /* instead of logs */
    char            *origins;
    char            *forecasts;
    uint32_t         max_limited_ppm;    /* UINT32_MAX: not given */
    uint32_t         top;
    unsigned         hash:1;
    unsigned         quiet:1;
    unsigned         help:1;
    unsigned         version:1;

    char           **logs;
    size_t           nlogs;

    /* what words, names and expressions point into */
    rpl_arena_t      arena;
    rpl_conf_t      *tree;
    rpl_conf_t      *rules;
} rpl_args_t;


/*
 * Reads the options, -c's file included.  Ends the program with
 * RPL_EXIT_BAD when something is wrong.
 */
void rpl_options(rpl_args_t *args, int argc, char **argv);

void rpl_options_done(rpl_args_t *args);

void rpl_usage(FILE *f);


#endif /* RPL_OPTIONS_H_INCLUDED */
