
/*
 * The nodes that share a store, and who of them learns what.
 *
 * Clients fall into PRD_NODE_GROUPS groups by their tag; each group has a home,
 * the node of the greatest weight among those alive: rendezvous hashing
 * (Thaler and Ravishankar 1998).  Nodes that see the same set agree without
 * a word, and when one goes only its own groups move.
 */


#ifndef PRD_NODE_H_INCLUDED
#define PRD_NODE_H_INCLUDED


#include "prd.h"


#define PRD_NODE_GROUPS      64
#define PRD_NODES_MOST  256              /* alive, that are told apart */


/* The group of a client's tag: keys of the store say it in three digits. */

#define prd_node_group(tag)  ((uint32_t) ((uint64_t) (tag) >> 58))


/* A set of nodes, in no order; ids are not 0. */

typedef struct {
    uint32_t  n;
    uint64_t  id[PRD_NODES_MOST];
} prd_nodes_t;


/* The index of a group's home.  PRD_NODES_MOST: there is no node. */

uint32_t prd_node_home(const prd_nodes_t *nodes, uint32_t group);

/* A bit per group whose home is `self`. */

uint64_t prd_node_homes(const prd_nodes_t *nodes, uint64_t self);

/* An id as records of clients carry it: never 0. */

uint16_t prd_node_short(uint64_t id);

/*
 * An id as 16 digits of lower case, without terminator, and back; 0: these
 * are no 16 digits of lower case, or the id 0.
 */

void prd_node_hex(uint64_t id, char hex[16]);
uint64_t prd_node_unhex(const char *p, size_t len);


#endif /* PRD_NODE_H_INCLUDED */
