
/*
 * A zone: everything that workers and the forecasting thread share about one
 * set of clients, in memory given by the caller and valid at any address (it
 * holds no pointer).  In order: header, a slot per worker, the table's tags,
 * the dirty bitmap, the entries, the learned records, the leases of a zone with
 * a store, the outlook.
 */


#ifndef PRD_ZONE_H_INCLUDED
#define PRD_ZONE_H_INCLUDED


#include "prd_hash.h"
#include "prd_outlook.h"
#include "prd_params.h"
#include "prd_pool.h"
#include "prd_table.h"


#define PRD_MAGIC      0x7072656431ull          /* "pred1" */
#define PRD_LAYOUT     9                        /* of the shared memory */

#define PRD_WORKERS    64                       /* slots of own counters */
#define PRD_CLASS_NAME 32                       /* bytes, 0 at the end */
#define PRD_DECISIONS  512                      /* ring of refusals, delays */
#define PRD_SERIES     360                      /* bins of 10 s: an hour */
#define PRD_SERIES_LONG  288                    /* of 300 s: a day */
#define PRD_SERIES_LONG_S  300
#define PRD_TOP        100                      /* heavy hitters per order */


typedef enum {
#define PRD_COUNTER(id, name, help)  PRD_CNT_##id,
#include "prd_metrics.def"
#undef PRD_COUNTER
    PRD_COUNTERS
} prd_counter_e;

const char *prd_counter_name(prd_counter_e c);
const char *prd_counter_help(prd_counter_e c);


/*
 * Counters of one worker.  Only its owner writes, with plain relaxed stores;
 * the last slot belongs to all workers that found no own one, who add
 * atomically.  Values survive their owner: they only grow.
 */

typedef struct {
    _Alignas(64)
    _Atomic uint64_t  count[PRD_COUNTERS];
    _Atomic uint64_t  class_[PRD_CLASSES];      /* newcomer-weighted demand */
                                                /* level units * 64 */
    _Atomic uint64_t  class_cost[PRD_CLASSES];  /* admitted, level units */
    _Atomic uint64_t  class_n[PRD_CLASSES];     /* requests of it */
    _Atomic uint64_t  size[PRD_SIZES];          /* see prd_size.h */
    _Atomic uint64_t  group_size[PRD_GROUPS];   /* of one in eight */
} prd_worker_t;


/* A refusal or delay, with the numbers behind it. */

typedef struct {
    _Atomic uint32_t  seq;                      /* odd while being written */
    uint32_t          verdict;                  /* prd_verdict_e */
    uint32_t          reason;                   /* prd_reason_e */
    uint32_t          dry_run;
    uint64_t          tag;
    uint64_t          time_ms;                  /* wall */
    uint64_t          rate;                     /* nano-tokens/s */
    uint32_t          level;                    /* with the request counted */
    uint32_t          depth;
    uint32_t          limit;                    /* burst + 1 */
    uint32_t          cost;
    uint32_t          m;                        /* Q16 */
    int32_t           fill;                     /* of the pool, Q16 */
    uint32_t          delay_ms;
    uint32_t          spare;
} prd_decision_t;


/* One bin of the zone as a whole; tokens/s unless said otherwise. */

typedef struct {
    uint64_t  start_s;                          /* wall; 0 = empty */
    float     actual;                           /* admitted */
    float     refused;                          /* requests/s */
    float     forecast;                         /* made before the bin */
    float     upper;                            /* its 95 % quantile */
    float     fill;                             /* of the pool, at the end */
    float     active;                           /* clients seen in the bin */
} prd_point_t;


typedef enum {
    PRD_TOP_RATE = 0,
    PRD_TOP_REJECTED,
    PRD_TOP_FORECAST,
    PRD_TOPS
} prd_top_e;

typedef struct {
    uint64_t  tag;
    float     value;                            /* what orders the list */
    float     rate;                             /* tokens/s over the last bin */
    float     forecast;                         /* tokens/s, 95 % */
    float     rejected;                         /* since the slot was claimed */
} prd_top_t;


/*
 * A client's lease on this node, in a zone with a store: prd_view_t.leases,
 * parallel to the entries.  A cache line: 200 bytes a slot instead of 136.
 *
 * In such a zone the entry's state word is the estimate: the shared level
 * less what this node holds.  Its virtual_ word is the shared backlog as last
 * heard, and this node's own demand since.  Its `demand` and `counts` belong
 * to the closing on the client's home node; what workers see is noted here.
 */

typedef struct {
    _Alignas(64)
    prd_word_t        held;            /* u32 ms of grant or use | u32 units */
    prd_word_t        debt;            /* u32 ms | u32 units admitted without */
                                       /* a token and not yet reported */
    prd_word_t        work;            /* u32 admitted cost | u32 peak of the */
                                       /* backlog, since the last report */
    prd_word_t        refused;         /* u32 cost refused | u32 cost that */
                                       /* was counted as admitted and was */
                                       /* not, since the last report */
    prd_word_t        pace;            /* u32 ms of the last report | u32 */
                                       /* units per second, smoothed */
    _Atomic uint32_t  flying[2];       /* debt that is being reported: of */
                                       /* even and of odd spans of 4 s: u6 */
                                       /* which span | u26 of 64 units */
    _Atomic uint32_t  seen_ms;         /* when the last reply was asked */
                                       /* for; 0: none yet */
    _Atomic uint32_t  watch_ms;        /* somebody looks after it until then */
    _Atomic uint16_t  grant;           /* held after the last one: u5 power */
                                       /* of 2 | u11 */
    _Atomic uint16_t  queued;          /* of 4 ms: a look is due or a report */
                                       /* is under way since; 0: none */
    _Atomic uint16_t  generation;      /* of the client it belongs to */
    _Atomic uint16_t  version;         /* of its envelope in the store */
} prd_lease_t;


typedef struct {
    /* constant after creation */
    uint64_t       magic;
    uint32_t       layout;
    uint32_t       nbuckets;
    uint32_t       unit;
    uint32_t       leased;                      /* 1: leases follow */
    uint64_t       size;
    prd_secret_t   secret;
    uint64_t       learn_since_s;               /* wall: warm-up's start */
    _Atomic uint32_t  workers;                  /* slots ever attached: only */
                                                /* these are summed */

    /* written by the thread once a second, read at each request */
    _Alignas(64)
    prd_word_t        newcomer;                 /* as prd_entry_t.envelope */
    _Atomic uint32_t  warm;                     /* 1: warm-up is over */
    _Atomic uint32_t  hold;                     /* mean charge, level units */
    _Atomic uint32_t  surging;                  /* any surge[] not 0 */
    _Atomic uint32_t  surge[PRD_CLASSES];       /* rho - 1, Q16; 0 = none */

    /* names of classes: 32-bit hashes, claimed by CAS; 0 = free */
    _Alignas(64)
    _Atomic uint32_t  classes[PRD_CLASSES];

    /* for show, written by who claimed it: what is printable, else a "?" */
    _Alignas(64)
    char              class_name[PRD_CLASSES][PRD_CLASS_NAME];

    _Alignas(64)
    prd_word_t        pool;

    /* of a zone with a store */
    _Atomic uint32_t  nodes;                    /* alive, last known; by the */
                                                /* glue; 0 is taken for 1 */
    _Atomic uint32_t  held_most;                /* of one client, ever */
    _Atomic uint32_t  owed_most;                /* same, admitted without */
                                                /* the store's word */
    _Atomic uint32_t  nodes_said;               /* by the configuration */
    prd_pool_share_t  pool_share;               /* see policy->pool.share */

    /* by workers, seldom */
    _Alignas(64)
    _Atomic uint32_t  decision_next;
    prd_decision_t    decision[PRD_DECISIONS];

    /* by the thread alone */
    _Alignas(64)
    _Atomic uint64_t  ticks;
    _Atomic uint64_t  last_tick_s;              /* wall */
    _Atomic uint64_t  bin;                      /* wall s / 10 of open bin */
    _Atomic uint64_t  epoch;                    /* wall s / 3600 */
    _Atomic uint64_t  freed;                    /* clients forgotten idle */
    _Atomic uint64_t  active;                   /* in the last closed bin */
    _Atomic uint64_t  closed_ns;                /* CPU of the last closing */
    _Atomic uint32_t  sweep_at;                 /* bucket */

    double         tick_s;                      /* wall, fractions */
    double         surge_fast[PRD_CLASSES];     /* F_g, tokens/s */
    double         surge_slow[PRD_CLASSES];     /* S_g */
    double         surge_all;
    uint64_t       class_seen[PRD_CLASSES];     /* sums at the last tick */
    uint64_t       class_cost_seen[PRD_CLASSES];        /* at the last bin */
    uint64_t       class_n_seen[PRD_CLASSES];
    uint64_t       size_seen[PRD_SIZES];
    uint64_t       group_size_seen[PRD_GROUPS];
    uint32_t       costed;                      /* priors have been moved */
    double         requests;                    /* admitted, for the mean */
    double         tokens;
    double         level;                       /* zone's forecast, tokens/s */
    double         ratio;                       /* 95 % quantile actual/level */
    double         last;                        /* last actual */
    double         bin_tokens, bin_rejected;    /* sums at the last bin */
    double         pinball, pinball_last;       /* sums of losses at 0.95: */
    double         pinball_n;                   /* forecast, last value */
    double         covered;                     /* bins below the quantile */
    double         long_n;                      /* bins in the long point */
    prd_pooled_t   pooled;

    _Atomic uint32_t  series_seq;               /* odd while being written */
    _Atomic uint32_t  series_at, series_long_at;
    prd_point_t       series[PRD_SERIES];
    prd_point_t       series_long[PRD_SERIES_LONG];

    _Atomic uint32_t  top_seq;
    _Atomic uint32_t  top_n[PRD_TOPS];
    prd_top_t         top[PRD_TOPS][PRD_TOP];

    _Alignas(64)
    prd_worker_t   worker[PRD_WORKERS + 1];
} prd_zone_t;


/*
 * A process's view of a zone, in its own memory.  Filled by prd_zone_attach();
 * `credit` is the process's part of the pool.
 */

typedef struct {
    prd_zone_t     *zone;
    prd_table_t     table;
    prd_word_t     *dirty;                      /* a bit per bucket */
    prd_learned_t  *learned;
    prd_lease_t    *leases;                     /* NULL: no store */
    prd_worker_t   *worker;
    prd_outlook_view_t  outlook;
    uint64_t        credit;
    unsigned        shared:1;                   /* no counters of our own */
} prd_view_t;


/*
 * What a decision on a tag will touch, most likely: to be fetched from memory
 * as soon as the tag is known.
 */

static inline void
prd_view_fetch(const prd_view_t *view, uint64_t tag)
{
    prd_table_fetch(&view->table, tag);

    if (view->leases) {
        prd_prefetch(&view->leases[prd_table_guess(&view->table, tag)]);
    }
}


/* What the configuration says, with everything a request needs worked out. */

typedef struct {
    prd_params_t      params;
    prd_pool_terms_t  pool;
    uint32_t          unit;
    unsigned          charged:1;                /* cost= or charge= is set */
    unsigned          leased:1;                 /* store= is set */
} prd_policy_t;

/*
 * Works out pool terms and the unit from params; burst_max is the greatest
 * burst (tokens) of any limit on the zone.
 */
void prd_policy_init(prd_policy_t *policy, const prd_params_t *params,
    uint64_t burst_max);


/*
 * Bytes of the fixed part, and of a zone whose slots get `bytes`, at
 * PRD_SLOT_BYTES each; what the outlook takes for so many is added.
 */

#define PRD_SLOT_BYTES  136                     /* tag, entry, learned */

size_t prd_zone_fixed_size(void);
size_t prd_zone_size(size_t bytes);

/*
 * Lays out a zone in `size` zeroed bytes at 64-byte aligned `mem`.  A fresh
 * zone starts learning at now_s.  PRD_ENOMEM: not even one bucket fits.
 */
prd_rc_t prd_zone_init(void *mem, size_t size, uint32_t unit,
    const prd_secret_t *secret, const prd_policy_t *policy, uint64_t now_s,
    uint32_t now_ms);

/*
 * Fills a view.  worker: 0..PRD_WORKERS-1 is ours alone, above is shared.
 * PRD_EVERSION: another layout; PRD_ECORRUPT: no zone at all.
 */
prd_rc_t prd_zone_attach(prd_view_t *view, void *mem, size_t size,
    const prd_policy_t *policy, uint32_t worker, uint32_t pid,
    int (*alive)(uint32_t pid));

uint32_t prd_zone_slots(const prd_view_t *view);

/* Sum of a counter over the workers. */
uint64_t prd_zone_count(const prd_view_t *view, prd_counter_e c);

/* Clients that have a slot now. */
uint64_t prd_zone_clients(const prd_view_t *view);

/* The index of a class by its name; "" is class 0. Workers and tool. */
uint32_t prd_zone_class(const prd_view_t *view, prd_str_t name);

/*
 * What a class is called, as far as it is printable; "" where nobody has
 * claimed it.  While it is being claimed the name may be in parts.
 */
void prd_zone_class_name(const prd_view_t *view, uint32_t class_,
    char name[PRD_CLASS_NAME]);
void prd_zone_name_class(const prd_view_t *view, uint32_t class_,
    prd_str_t name);


/* Sums one counter of all workers, by its offset in prd_worker_t. */

static inline uint64_t
prd_zone_sum(const prd_zone_t *zone, size_t offset)
{
    uint32_t  i, n;
    uint64_t  sum;

    n = atomic_load_explicit(&zone->workers, memory_order_relaxed);
    sum = 0;

    for (i = 0; i <= n; i++) {
        /* the shared slot comes last */
        sum += atomic_load_explicit((const _Atomic uint64_t *)
                   ((const char *) &zone->worker[i < n ? i : PRD_WORKERS]
                    + offset), memory_order_relaxed);
    }

    return sum;
}


/* Adds to a sum of view->worker, which is ours unless it is shared. */

static inline __attribute__((always_inline)) void
prd_zone_sum_add(prd_view_t *view, _Atomic uint64_t *p, uint64_t n)
{
    if (view->shared) {
        atomic_fetch_add_explicit(p, n, memory_order_relaxed);
        return;
    }

    atomic_store_explicit(p, atomic_load_explicit(p, memory_order_relaxed) + n,
                          memory_order_relaxed);
}


static inline void
prd_zone_add(prd_view_t *view, prd_counter_e c, uint64_t n)
{
    prd_zone_sum_add(view, &view->worker->count[c], n);
}


/*
 * Copies for readers, consistent or PRD_EAGAIN (a writer died inside).  Series
 * are oldest first, and the last long point is still open; top lists are in no
 * order.
 */

prd_rc_t prd_zone_series(const prd_view_t *view, prd_point_t *series,
    uint32_t *n, int long_);
prd_rc_t prd_zone_top(const prd_view_t *view, prd_top_e by, prd_top_t *top,
    uint32_t *n);

/* Newest first; tag 0 = of any client. Returns how many were copied. */
uint32_t prd_zone_decisions(const prd_view_t *view, uint64_t tag,
    prd_decision_t *d, uint32_t most);


#endif /* PRD_ZONE_H_INCLUDED */
