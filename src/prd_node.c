
/*
 * Homes of groups by rendezvous hashing; see prd_node.h.
 */


#include "prd_node.h"
#include "prd_text.h"


/*
 * Mixes 64 bits so that each of them changes half of the others: the
 * finalizer of MurmurHash3 (Appleby) with the constants of variant 13
 * (Stafford 2011).
 */

static uint64_t
prd_node_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    x ^= x >> 31;

    return x;
}


static uint64_t
prd_node_weight(uint64_t id, uint32_t group)
{
    return prd_node_mix(id ^ prd_node_mix((group + 1)
                                          * 0x9e3779b97f4a7c15ull));
}


uint32_t
prd_node_home(const prd_nodes_t *nodes, uint32_t group)
{
    uint32_t  i, home;
    uint64_t  w, most;

    home = PRD_NODES_MOST;
    most = 0;

    for (i = 0; i < nodes->n; i++) {
        w = prd_node_weight(nodes->id[i], group);

        /* of equal weights, which hardly happen, the greater id's counts */

        if (home == PRD_NODES_MOST || w > most
            || (w == most && nodes->id[i] > nodes->id[home]))
        {
            home = i;
            most = w;
        }
    }

    return home;
}


uint64_t
prd_node_homes(const prd_nodes_t *nodes, uint64_t self)
{
    uint32_t  g, home;
    uint64_t  homes;

    homes = 0;

    for (g = 0; g < PRD_NODE_GROUPS; g++) {
        home = prd_node_home(nodes, g);

        if (home != PRD_NODES_MOST && nodes->id[home] == self) {
            homes |= 1ull << g;
        }
    }

    return homes;
}


uint16_t
prd_node_short(uint64_t id)
{
    uint16_t  s;

    s = (uint16_t) (prd_node_mix(id) >> 48);

    return s ? s : 1;
}


void
prd_node_hex(uint64_t id, char hex[16])
{
    prd_put_hex(hex, id);
}


uint64_t
prd_node_unhex(const char *p, size_t len)
{
    size_t    i;
    uint64_t  id;

    if (len != 16) {
        return 0;
    }

    id = 0;

    for (i = 0; i < 16; i++) {
        if (p[i] >= '0' && p[i] <= '9') {
            id = id << 4 | (uint64_t) (p[i] - '0');

        } else if (p[i] >= 'a' && p[i] <= 'f') {
            id = id << 4 | (uint64_t) (p[i] - 'a' + 10);

        } else {
            return 0;
        }
    }

    return id;
}
