
#include <math.h>
#include <stdlib.h>

#include "clients.h"


#define RPL_ARENA      (1 << 20)
#define RPL_KEY_MAX    65535
#define RPL_HONEST     3                 /* times the median */


void
rpl_clients_init(rpl_clients_t *c)
{
    memset(c, 0, sizeof(rpl_clients_t));

    c->nalloc = 4096;
    c->client = rpl_realloc(NULL, c->nalloc * sizeof(rpl_client_t));

    c->mask = 16384 - 1;
    c->index = rpl_alloc((c->mask + 1) * sizeof(rpl_cell_t));

    c->nwhy = 1;
}


void
rpl_clients_done(rpl_clients_t *c)
{
    size_t  i;

    for (i = 0; i < c->narenas; i++) {
        free(c->arenas[i]);
    }

    free(c->arenas);
    free(c->client);
    free(c->index);
    free(c->why);
}


static const char *
rpl_clients_keep(rpl_clients_t *c, prd_str_t key)
{
    char      *p;
    size_t     len, size;
    uint16_t   n;

    len = prd_min(key.len, RPL_KEY_MAX);
    size = sizeof(uint16_t) + len;

    if (c->left < size) {
        c->left = prd_max((size_t) RPL_ARENA, size);
        c->arena = rpl_realloc(NULL, c->left);
        c->arenas = rpl_realloc(c->arenas,
                                (c->narenas + 1) * sizeof(void *));
        c->arenas[c->narenas++] = c->arena;
    }

    p = c->arena;
    n = (uint16_t) len;

    memcpy(p, &n, sizeof(n));

    if (len) {
        memcpy(p + sizeof(n), key.data, len);
    }

    c->arena += size;
    c->left -= size;

    return p;
}


prd_str_t
rpl_client_key(const rpl_client_t *client)
{
    uint16_t  n;

    memcpy(&n, client->key, sizeof(n));

    return (prd_str_t) { n, client->key + sizeof(n) };
}


static void
rpl_clients_index(rpl_clients_t *c, uint32_t i)
{
    uint64_t  at, tag;

    tag = c->client[i].tag;

    for (at = tag & c->mask; c->index[at].number; at = (at + 1) & c->mask) {
        /* void */
    }

    c->index[at].tag = tag;
    c->index[at].number = i + 1;
}


static void
rpl_clients_grow(rpl_clients_t *c)
{
    uint32_t  i;

    free(c->index);

    c->mask = c->mask * 2 + 1;
    c->index = rpl_alloc(((size_t) c->mask + 1) * sizeof(rpl_cell_t));

    for (i = 0; i < c->nclients; i++) {
        rpl_clients_index(c, i);
    }
}


uint32_t
rpl_clients_add(rpl_clients_t *c, uint64_t tag, prd_str_t key)
{
    rpl_client_t  *client;

    if (c->nclients >= c->mask / 2) {
        rpl_clients_grow(c);
    }

    if (c->nclients == c->nalloc) {

        if (c->nalloc > UINT32_MAX / 2 - 1) {
            rpl_die(RPL_EXIT_FAILED, "too many clients");
        }

        c->nalloc *= 2;
        c->client = rpl_realloc(c->client, c->nalloc * sizeof(rpl_client_t));
    }

    client = &c->client[c->nclients];

    memset(client, 0, sizeof(rpl_client_t));
    client->tag = tag;
    client->key = rpl_clients_keep(c, key);

    rpl_clients_index(c, c->nclients);

    return c->nclients++;
}


rpl_why_t *
rpl_clients_why(rpl_clients_t *c, rpl_client_t *client)
{
    rpl_why_t  *why;

    if (client->why) {
        return &c->why[client->why];
    }

    if (c->nwhy >= c->why_alloc) {
        c->why_alloc = prd_max(c->why_alloc * 2, 256u);
        c->why = rpl_realloc(c->why, c->why_alloc * sizeof(rpl_why_t));
    }

    client->why = c->nwhy++;

    why = &c->why[client->why];
    memset(why, 0, sizeof(rpl_why_t));
    why->client = (uint32_t) (client - c->client);

    return why;
}


static uint32_t
rpl_median(const uint32_t *v, unsigned n)
{
    unsigned  i, k;
    uint32_t  s[RPL_HOURS], x;

    for (i = 0; i < n; i++) {
        x = v[i];

        for (k = i; k > 0 && s[k - 1] > x; k--) {
            s[k] = s[k - 1];
        }

        s[k] = x;
    }

    /* the greater of two middles: generous to the client */

    return s[n / 2];
}


static unsigned
rpl_cell(uint32_t n)
{
    unsigned  e;

    if (n == 0) {
        return 0;
    }

    /* a quarter of an octave: exponent, and two bits of the mantissa */

    e = 31 - (unsigned) __builtin_clz(n);

    return e * 4 + (e >= 2 ? (n >> (e - 2) & 3) : (n << (2 - e) & 3));
}


void
rpl_clients_hour(rpl_clients_t *c, rpl_client_t *client)
{
    unsigned  i, n, habit;
    uint64_t  most;

    if (client->demand == 0) {
        return;
    }

    n = prd_min(client->hours, RPL_HOURS);

    if (client->limited[RPL_OURS] | client->limited[RPL_THEIRS]) {
        habit = 0;

        if (n >= 2) {
            most = (uint64_t) RPL_HONEST * rpl_median(client->before, n);
            habit = client->demand <= most;
        }

        for (i = 0; i < 2; i++) {
            if (habit && client->limited[i]) {
                c->habit_limited[i] += client->limited[i];
                c->habit_hours[i]++;
            }
        }

        if (client->limited[RPL_OURS]) {
            client->suspect |= !habit;

            if (!client->suspect) {
                client->honest += client->limited[RPL_OURS];
                c->honest_limited += client->limited[RPL_OURS];
                c->honest_hours++;
            }
        }
    }

    c->hours++;
    c->demand[rpl_cell(client->demand)]++;

    client->before[client->hours % RPL_HOURS] = client->demand;
    client->peak = prd_max(client->peak, client->demand);
    client->hours += (client->hours < UINT16_MAX);
    client->demand = 0;
    client->limited[RPL_OURS] = 0;
    client->limited[RPL_THEIRS] = 0;
}


void
rpl_clients_end(rpl_clients_t *c)
{
    uint32_t  i;

    for (i = 0; i < c->nclients; i++) {
        rpl_clients_hour(c, &c->client[i]);
    }
}


double
rpl_clients_quantile(const rpl_clients_t *c, double share)
{
    unsigned  i;
    double    sum, want;

    want = share * (double) c->hours;

    for (i = 0, sum = 0; i < RPL_CELLS - 1; i++) {
        sum += (double) c->demand[i];

        if (sum >= want) {
            break;
        }
    }

    /* the greatest number in the cell */

    return ceil(ldexp(1 + (i % 4 + 1) / 4.0, (int) (i / 4))) - 1;
}
