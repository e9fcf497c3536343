
/*
 * What was learned, as the file that predictive_state keeps.
 */


#ifndef RPL_STATE_H_INCLUDED
#define RPL_STATE_H_INCLUDED


#include "replay.h"


/*
 * Writes the zone with its secret to path: mode 0600, complete or not at all.
 * PRD_EIO: *e names what failed.
 */
prd_rc_t rpl_state_write(const rpl_replay_t *r, const char *path,
    const char *zone, const char *key, rpl_error_t *e);

/* Could it be written there?  Asked before a long log is read. */
prd_rc_t rpl_state_probe(const char *path, rpl_error_t *e);


#endif /* RPL_STATE_H_INCLUDED */
