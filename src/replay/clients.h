
/*
 * What the report knows of each client: its own table, apart from the
 * engine's, whose clients come and go.  A record is found once a line and
 * then known by its number.
 */


#ifndef RPL_CLIENTS_H_INCLUDED
#define RPL_CLIENTS_H_INCLUDED


#include "../prd_bucket.h"
#include "util.h"


#define RPL_NO_CLIENT  UINT32_MAX
#define RPL_HOURS      5                 /* active hours that are remembered */

#define RPL_OURS       0
#define RPL_THEIRS     1                 /* limit_req */


/*
 * Hours are of the log's clock, and active if a request came.  An hour is one
 * of habit when the client had at least two active ones before, and its
 * demand was at most three times the median of the last five of them.
 *
 * A client looks honest when we limited it in hours of habit only.  Others
 * stay out: a sustained flood becomes its own median.
 */

typedef struct {
    uint64_t     tag;
    const char  *key;                    /* u16 length, bytes */

    uint32_t     requests;
    uint32_t     first_s, last_s;        /* since the log's first second */
    uint32_t     peak;                   /* requests in its greatest hour */

    uint32_t     hour;                   /* the open one */
    uint32_t     demand;                 /* requests in it */
    uint32_t     limited[2];             /* of them */
    uint32_t     before[RPL_HOURS];      /* demand of the last active hours */
    uint16_t     hours;                  /* closed ones, saturates */
    uint16_t     suspect;                /* limited out of habit */

    uint32_t     borrowed, delayed, refused;
    uint32_t     theirs;                 /* limited by limit_req */
    uint32_t     honest;                 /* limited while it looked honest */

    /* limit_req's own */
    uint32_t     last_ms;
    uint32_t     excess;                 /* 1/1000 requests */

    uint32_t     why;                    /* number of its rpl_why_t, or 0 */
    uint32_t     spare[2];
} rpl_client_t;


/* More of a client that was limited. */

typedef struct {
    uint32_t  client;
    uint32_t  first_s, last_s;           /* limited */
    uint32_t  reason[PRD_REASONS];
    uint64_t  delay_ms;                  /* in sum */
} rpl_why_t;


/* Tags lie apart from the records: one line of the cache tells. */

typedef struct {
    uint64_t  tag;
    uint32_t  number;                    /* of the record, + 1; 0: free */
    uint32_t  spare;
} rpl_cell_t;


/* Of all clients' closed hours: how many had 2^(n/4) requests or so. */

#define RPL_CELLS  128

typedef struct {
    rpl_client_t  *client;
    uint32_t       nclients;
    uint32_t       nalloc;

    rpl_why_t     *why;                  /* the first is not used */
    uint32_t       nwhy;
    uint32_t       why_alloc;

    rpl_cell_t    *index;
    uint32_t       mask;

    char          *arena;
    size_t         left;
    void         **arenas;
    size_t         narenas;

    uint64_t       hours;                /* closed, of all clients */
    uint64_t       demand[RPL_CELLS];
    uint64_t       honest_hours;         /* limited, looked honest */
    uint64_t       honest_limited;       /* requests in them */
    uint64_t       habit_hours[2];       /* limited although of habit */
    uint64_t       habit_limited[2];
} rpl_clients_t;


void rpl_clients_init(rpl_clients_t *c);
void rpl_clients_done(rpl_clients_t *c);

/* The number of a client, or RPL_NO_CLIENT. */

static inline uint32_t
rpl_clients_find(const rpl_clients_t *c, uint64_t tag)
{
    uint64_t           at;
    const rpl_cell_t  *cell;

    for (at = tag & c->mask; /* void */ ; at = (at + 1) & c->mask) {
        cell = &c->index[at];

        if (cell->tag == tag && cell->number) {
            return cell->number - 1;
        }

        if (cell->number == 0) {
            return RPL_NO_CLIENT;
        }
    }
}

/* Has the cell fetched that rpl_clients_find() will look at. */

static inline void
rpl_clients_ahead(const rpl_clients_t *c, uint64_t tag)
{
    __builtin_prefetch(&c->index[tag & c->mask]);
}

/* Adds one that was not found; key is kept (64 KB at most of it). */
uint32_t rpl_clients_add(rpl_clients_t *c, uint64_t tag, prd_str_t key);

prd_str_t rpl_client_key(const rpl_client_t *client);

/* What is kept of a client's limited requests. */
rpl_why_t *rpl_clients_why(rpl_clients_t *c, rpl_client_t *client);

/* Closes the client's hour. */
void rpl_clients_hour(rpl_clients_t *c, rpl_client_t *client);

/* Closes all open hours: the end of the log. */
void rpl_clients_end(rpl_clients_t *c);

/* Requests an hour that the given share of all client-hours stay below. */
double rpl_clients_quantile(const rpl_clients_t *c, double share);


#endif /* RPL_CLIENTS_H_INCLUDED */
