
/*
 * Scripts that a node runs in the store, besides those of prd_lease.h: who is
 * alive, the pool of a zone, what is learned.  Lua 5.1 as Redis has it; time
 * is the store's, in milliseconds.
 *
 * node     KEYS: live nodes.  ARGV: id, 1 (0: it leaves).
 *          Reply: seconds, microseconds, ids that were heard of in the last
 *          three seconds; "new" if ours was not.
 * pool     KEYS: the pool.  ARGV: id, nodes, refill per ms, full, held,
 *          returned, debt, pace; see prd_pool.h.
 *          Reply: grant, level, fill.
 * table    KEYS: our table, when the zone began to learn, the last table that
 *          anybody wrote, others' tables.
 *          ARGV: our table (empty: only read), seconds learned for.
 *          Reply: the greatest number of seconds, tables (last, others') or
 *          nil.
 * take     KEYS: the set of a group's active clients.  ARGV: most clients.
 *          Reply: see prd_home.h.
 * publish  KEYS: clients.  ARGV: records one by one, see prd_home_put().
 *          Reply: versions u16.
 */


#ifndef PRD_SCRIPT_NODE_H_INCLUDED
#define PRD_SCRIPT_NODE_H_INCLUDED


#include "prd.h"


extern const prd_str_t  prd_script_node;
extern const prd_str_t  prd_script_pool;
extern const prd_str_t  prd_script_table;
extern const prd_str_t  prd_script_take;
extern const prd_str_t  prd_script_publish;


#endif /* PRD_SCRIPT_NODE_H_INCLUDED */
