
/*
 * --series: counts per bin instead of requests.  The engine is fed with them
 * in the order of time, and says before each bin what it expects.
 */


#ifndef RPL_SERIES_H_INCLUDED
#define RPL_SERIES_H_INCLUDED


#include "util.h"


/*
 * Forecasts for the origins that `origins` lists, written to `forecasts`; or,
 * where both are NULL, a table of what one step ahead covers in each class
 * of series, on standard output.  Ends the program with RPL_EXIT_BAD on bad
 * input, naming file and line.
 *
 * series     series_id,bin_seconds,t0,kind,counts; a series_id is TRACE:NAME,
 *            kind is heavy, light, agg or group, counts have blanks between
 * origins    columns series_id, bin_seconds and origins (with ; between): the
 *            first bins that may not be seen, from 0
 * forecasts  series_id,bin_seconds,origin,method,horizon,q50,q90,q95,q99,
 *            seconds (of CPU, for all horizons of a forecast)
 *
 * network    1: with a recurrent network as one more expert of clients
 */
void rpl_series(char *series, char *origins, const char *forecasts,
    unsigned network);


#endif /* RPL_SERIES_H_INCLUDED */
