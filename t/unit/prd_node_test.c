
/*
 * Homes of groups: agreed on, balanced, and few of them move.
 */


#include "prd_node.h"
#include "tap.h"


static uint64_t  seed = 1;


static uint64_t
draw(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;

    return seed ^ seed >> 29;
}


static void
fill(prd_nodes_t *nodes, uint32_t n)
{
    nodes->n = n;

    while (n--) {
        nodes->id[n] = draw() | 1;
    }
}


static void
test_homes(void)
{
    uint32_t     g, i, bad;
    uint64_t     all, homes;
    prd_nodes_t  nodes, other;

    nodes.n = 0;
    is_int(prd_node_home(&nodes, 3), PRD_NODES_MOST, "nobody is no home");
    is_int(prd_node_homes(&nodes, 7), 0, "of nothing");

    fill(&nodes, 1);
    ok(prd_node_homes(&nodes, nodes.id[0]) == UINT64_MAX,
       "who is alone has all");

    /* the order is of no account */

    fill(&nodes, 9);
    other.n = 9;

    for (i = 0; i < 9; i++) {
        other.id[i] = nodes.id[8 - i];
    }

    bad = 0;
    all = 0;

    for (g = 0; g < PRD_NODE_GROUPS; g++) {
        bad += nodes.id[prd_node_home(&nodes, g)]
               != other.id[prd_node_home(&other, g)];
    }

    is_int(bad, 0, "all orders agree");

    for (i = 0; i < 9; i++) {
        homes = prd_node_homes(&nodes, nodes.id[i]);
        bad += (all & homes) != 0;
        all |= homes;
    }

    is_int(bad, 0, "no group has two");
    ok(all == UINT64_MAX, "each has one");
    is_int(prd_node_homes(&nodes, 42), 0, "a stranger has none");

    is_int(prd_node_group(0), 0, "first group");
    is_int(prd_node_group(UINT64_MAX), 63, "last group");
    is_int(prd_node_group(5ull << 58 | 77), 5, "by the highest bits");
}


/* One goes: only its own groups move.  One comes: they move to it alone. */

static void
test_moves(void)
{
    uint32_t     g, i, n, t, was, now, wrong, moved, expected;
    uint64_t     id;
    prd_nodes_t  nodes;

    wrong = moved = expected = 0;

    for (t = 0; t < 200; t++) {
        n = 2 + t % 12;
        fill(&nodes, n);

        for (g = 0; g < PRD_NODE_GROUPS; g++) {
            nodes.n = n;
            was = prd_node_home(&nodes, g);

            nodes.n = n - 1;
            now = prd_node_home(&nodes, g);

            if (was != n - 1) {
                wrong += now != was;

            } else {
                moved++;
            }
        }

        expected += PRD_NODE_GROUPS / n;
    }

    is_int(wrong, 0, "no group of a node that stays moves");
    ok(moved > expected * 9 / 10 && moved < expected * 12 / 10,
       "moved %u, a node's share is %u", moved, expected);

    /* the same node in another place of the list */

    fill(&nodes, 5);
    id = nodes.id[4];
    wrong = 0;

    for (g = 0; g < PRD_NODE_GROUPS; g++) {
        was = prd_node_home(&nodes, g);
        i = nodes.id[was] == id;
        nodes.id[4] = nodes.id[0];
        nodes.id[0] = id;
        wrong += i != (nodes.id[prd_node_home(&nodes, g)] == id);
        nodes.id[0] = nodes.id[4];
        nodes.id[4] = id;
    }

    is_int(wrong, 0, "a place means nothing");
}


static void
test_balance(void)
{
    uint32_t     i, n, t;
    double       most, least, share, sum;
    prd_nodes_t  nodes;

    for (n = 2; n <= 16; n *= 2) {
        most = 0;
        least = 0;
        sum = 0;

        for (t = 0; t < 500; t++) {
            double  hi = 0, lo = PRD_NODE_GROUPS;

            fill(&nodes, n);

            for (i = 0; i < n; i++) {
                share = __builtin_popcountll(prd_node_homes(&nodes,
                                                            nodes.id[i]));
                hi = share > hi ? share : hi;
                lo = share < lo ? share : lo;
                sum += share * share;
            }

            most += hi / 500;
            least += lo / 500;
        }

        /* binomial: the variance of a share is 64 p (1 - p) */

        share = (double) PRD_NODE_GROUPS / n;
        sum = sum / 500 / n - share * share;

        ok(sum > 0.8 * share * (1 - 1.0 / n)
           && sum < 1.25 * share * (1 - 1.0 / n),
           "%u nodes: %.1f groups each, least %.1f, most %.1f, variance %.1f",
           n, share, least, most, sum);
    }
}


static void
test_names(void)
{
    char      hex[16];
    uint32_t  i, bad, same;
    uint64_t  id;

    prd_node_hex(0x0123456789abcdefull, hex);
    ok(memcmp(hex, "0123456789abcdef", 16) == 0, "in digits");
    ok(prd_node_unhex("fedcba9876543210", 16) == 0xfedcba9876543210ull,
       "and back");

    bad = same = 0;

    for (i = 0; i < 1000; i++) {
        id = draw();
        prd_node_hex(id, hex);
        bad += prd_node_unhex(hex, 16) != id;
        bad += prd_node_short(id) == 0;
        same += prd_node_short(id) == prd_node_short(id + 1);
    }

    is_int(bad, 0, "a thousand of them");
    ok(same < 3, "short ones differ");

    ok(prd_node_unhex("0123456789abcde", 15) == 0, "too short");
    ok(prd_node_unhex("0123456789abcdef0", 17) == 0, "too long");
    ok(prd_node_unhex("0123456789ABCDEF", 16) == 0, "upper case");
    ok(prd_node_unhex("0123456789abcdeg", 16) == 0, "no digit");
    ok(prd_node_unhex("0000000000000000", 16) == 0, "nobody's");
}


int
main(void)
{
    test_homes();
    test_moves();
    test_balance();
    test_names();

    return done_testing();
}
