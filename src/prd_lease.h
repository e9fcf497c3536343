
/*
 * A limit that many nodes share.  Each client's bucket is kept in a store (a
 * Redis); a node leases tokens from it ahead of need and spends them without
 * asking.  Tokens are debited in the store before they are spent, so what
 * all nodes admit never exceeds burst + rate x window + what is leased out.
 *
 * Here is the arithmetic, the words that a node's workers share, and the
 * bytes that go to the store and back; no connection.  A decision is
 *
 *   prd_lease_judge()    finds, judges by this node's estimate of the shared
 *                        level, and says which keys are to be asked for
 *   (ask)                prd_lease_ask() makes an entry of a batch of it;
 *                        prd_lease_apply() takes the reply (and may want to
 *                        ask once more), or prd_lease_timeout() says that
 *                        there is none
 *   prd_lease_charge()   pays: with what was asked for, leased tokens, or
 *                        debt, which is reported later
 *   prd_lease_refund()   takes it back, when another limit refused
 *
 * prd_lease_decide() is judge and charge in one, where nothing is asked.
 *
 * Each decision may say that a key is `due`: the caller keeps a prd_due_t of
 * it and calls prd_lease_tick() when its time has come, which makes entries
 * that renew leases, return tokens and report demand.
 *
 * All run in a worker, without lock, allocation or system call.  Every word
 * is changed by CAS, relaxed; a worker that is killed between two of them
 * leaves the sums (prd_lease_check) wrong by what it had in hand: one
 * request, or one grant; and for some seconds the estimate too high by the debt
 * that it was reporting.
 */


#ifndef PRD_LEASE_H_INCLUDED
#define PRD_LEASE_H_INCLUDED


#include "prd_decide.h"


#define PRD_LEASE_KEYS        64       /* most entries of a batch */
#define PRD_LEASE_VERSION     1        /* of requests, replies, values */
#define PRD_LEASE_PROFILE     64       /* most bytes of a profile */

#define PRD_LEASE_HEADER      8        /* bytes of a batch's ARGV[1] */
#define PRD_LEASE_REQUEST     80       /* of an entry in ARGV[2] */
#define PRD_LEASE_KEY         16       /* digits of a tag in a key's name */

#define PRD_LEASE_KNOWN_MS    1000     /* an estimate refuses for that long */
#define PRD_LEASE_FRESH_MS    200      /* and lends */
#define PRD_LEASE_IDLE_MS     1000     /* unspent tokens go back then, */
#define PRD_LEASE_IDLE_MOST   8000     /* or later where the bucket is low */
#define PRD_LEASE_VOID_MS     10000    /* nobody has returned them: void */


/*
 * How a part of a decision is made.  STRICT: always asked for.  LOCAL: the
 * store is away; each request counts as many times as there are nodes, which
 * is this node's share of rate, burst and level in one.  PASS, REFUSE: what
 * on_error says, reason "store".
 */

typedef enum {
    PRD_LEASE_LEASE = 0,
    PRD_LEASE_STRICT,
    PRD_LEASE_LOCAL,
    PRD_LEASE_PASS,
    PRD_LEASE_REFUSE
} prd_lease_mode_e;


/* Keys of a decision, bits of prd_answer_t.ask, .due. */

#define PRD_LEASE_CLIENT  1
#define PRD_LEASE_PARENT  2


/*
 * An entry of a batch.  All in level units of the zone; drain in units per
 * millisecond.  `key` is the index of the key in KEYS (from 0) and is set by
 * the caller; several entries may name one key, best one after the other.
 *
 * What the store does, in this order: drains; takes `returned` off (never
 * below 0); adds `debt` (clamped to debt_most); if ASK, admits when level +
 * cost <= most, and then adds cost; if WANT, grants.
 */

#define PRD_LEASE_F_ASK   1
#define PRD_LEASE_F_WANT  2
#define PRD_LEASE_F_LOAD  4            /* send the profile */
#define PRD_LEASE_F_AGAIN 8            /* of ASK: wanted and refused before, */
                                       /* it is in the demand already */
#define PRD_LEASE_F_CLIPPED 16         /* not all of what was denied was in */
                                       /* the backlog: it stays */

typedef struct {
    uint8_t   key;
    uint8_t   flags;
    uint16_t  version;                 /* of the envelope that we have */
    uint32_t  cost;
    uint32_t  want;
    uint32_t  returned;
    uint32_t  debt;
    uint32_t  most;                    /* greatest level that is admitted */
    uint32_t  free;                    /* and up to which leases are granted */
    uint32_t  debt_most;
    uint32_t  quantum;                 /* grants are multiples of it */
    uint32_t  admitted;                /* cost since the last report, without */
    uint32_t  refused_cost;            /* this request's */
    uint32_t  uncounted;               /* cost of this and earlier reports */
                                       /* that was not admitted after all, */
    uint32_t  denied;                  /* or is no demand: answered 401 or */
                                       /* 403, or more than a request cost */
    uint32_t  peak;                    /* of the backlog since */
    uint32_t  backlog;                 /* now, this request included: what */
                                       /* is reported adds no more */
    uint32_t  backlog_most;
    double    drain;
    double    backlog_drain;

    /* not sent: whose it is, for the reply, and of what zone */
    uint64_t  tag;
    uint32_t  slot;
    uint32_t  generation;
    uint32_t  asked_ms;
    unsigned  strict:1;
    unsigned  flies:1;                 /* its debt counts as under way */
} prd_lease_request_t;

/* The 16 digits of a tag in the name of its key, without terminator. */
void prd_lease_key(uint64_t tag, char *hex);

/*
 * ARGV[1]: what holds for all entries: the zone's unit, the live nodes, and
 * whether the zone learns (else nobody takes the counts).  ARGV[2]: the
 * entries, one by one.
 */
void prd_lease_header(unsigned char *p, const prd_view_t *view,
    const prd_policy_t *policy);
void prd_lease_pack(unsigned char *p, const prd_lease_request_t *req);
void prd_lease_unpack(const unsigned char *p, prd_lease_request_t *req);


/* One entry of a reply, in the order of the request. */

typedef enum {
    PRD_LEASE_ADMITTED = 0,            /* or not asked */
    PRD_LEASE_REFUSED,
    PRD_LEASE_BAD                      /* the key holds something else */
} prd_lease_status_e;

typedef struct {
    prd_lease_status_e    status;
    uint32_t              level;       /* after everything, grant included */
    uint32_t              grant;
    uint32_t              backlog;     /* of all nodes */
    uint16_t              version;     /* of the envelope below; else ours */
    uint64_t              envelope;    /* trust, rate, depth as in */
                                       /* prd_envelope.h; 0: none follows */
    const unsigned char  *profile;     /* into the reply; NULL: none */
    size_t                profile_len;
} prd_lease_reply_t;

typedef struct {
    const unsigned char  *p, *end;
    unsigned              left;        /* entries */
} prd_lease_reader_t;

/*
 * Reads a batch's reply: begin, then next for each entry sent.  Whatever the
 * bytes: PRD_ECORRUPT or a reply that is safe to apply.  PRD_EVERSION: from
 * another version of the script.  An error of the reader means that no
 * further entry has a reply: treat them as lost.
 */
prd_rc_t prd_lease_read(prd_lease_reader_t *r, const void *data, size_t len,
    unsigned entries);
prd_rc_t prd_lease_next(prd_lease_reader_t *r, prd_lease_reply_t *reply);


/*
 * A key that somebody has to look at: kept by the worker, in its own memory,
 * from `due` until prd_lease_tick() or prd_lease_answered() says DECLINED.
 */

typedef struct {
    uint64_t            tag;
    uint32_t            slot;
    uint32_t            generation;
    uint32_t            at_ms;         /* look then; signed difference */
    uint32_t            watched;       /* private: until when */
    uint32_t            most, free, debt_most, quantum, backlog_most;
    double              drain, backlog_drain;
    unsigned            strict:1;      /* sync=strict: nothing is kept; due */
                                       /* at at_ms rather than at a tick */
} prd_due_t;


/*
 * The decision.  `mode` as the zone's sync= and the store's state say.
 *
 * PRD_OK      decided: answer->verdict, reason, as by prd_decide() (decide:
 *             charged too, if admitted) or prd_judge() (judge)
 * PRD_EAGAIN  the keys in answer->ask are to be asked for
 *
 * After either, answer->due tells keys to make a prd_due_t of.
 *
 * A zone that has no slot for the client decides by itself.
 */
prd_rc_t prd_lease_decide(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, prd_lease_mode_e mode);
prd_rc_t prd_lease_judge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, prd_lease_mode_e mode);

/* The entry of a key in answer->ask; each must get exactly one answer. */
void prd_lease_ask(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key,
    prd_lease_request_t *req);

/*
 * The reply to it: clears the bit in answer->ask; when none is left, verdict
 * and reason are those of the whole part.  An admitted key has been paid:
 * prd_lease_charge() or prd_lease_refund() must follow.  now_ms is of now.
 *
 * PRD_EAGAIN: refused by terms that are out of date, and the bit is still set:
 * prd_lease_ask() again, or prd_lease_timeout() (0) with that entry.  Once for
 * a key.  Else PRD_OK.
 */
prd_rc_t prd_lease_apply(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key,
    const prd_lease_request_t *req, const prd_lease_reply_t *reply,
    uint32_t now_ms);

/* Why a question has no answer. */

#define PRD_LEASE_UNSENT  0            /* it was not sent, or not executed */
#define PRD_LEASE_LOST    1            /* nobody will ever know */
#define PRD_LEASE_LATE    2            /* there may be one yet */

/*
 * No reply in time; `sent` as above.  Decides by `mode`: LOCAL, PASS or
 * REFUSE.  Else as prd_lease_apply().
 *
 * What was owed when the question was LATE goes on with it, and is owed again
 * when it turns out to be lost, or refused by the server: prd_lease_drop().
 * What has been reported may have been charged, and is not reported twice.
 */
void prd_lease_timeout(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key,
    const prd_lease_request_t *req, unsigned sent, prd_lease_mode_e mode,
    uint32_t now_ms);

/*
 * The same for an entry whose owner is gone (the client went away) or went on
 * without: only the debt that it carried is owed again.  PRD_OK: *due is
 * filled, somebody must look after it.
 */
prd_rc_t prd_lease_drop(prd_view_t *view, const prd_lease_request_t *req,
    unsigned sent, uint32_t now_ms, prd_due_t *due);

/*
 * The reply to an entry that was LATE, or whose owner is gone.  admitted: the
 * request was let through on timeout (it was paid as debt).  What the store has
 * debited cancels the debt or is held: with strict until the next request, or
 * the next tick.  PRD_OK: *due is filled, somebody must look after it.
 */
prd_rc_t prd_lease_late(prd_view_t *view, const prd_lease_request_t *req,
    const prd_lease_reply_t *reply, unsigned admitted, uint32_t now_ms,
    prd_due_t *due);

/* PRD_OK: charged; PRD_DECLINED: refused, by the pool or in a race. */
prd_rc_t prd_lease_charge(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);

/* Undoes apply, timeout or charge: the tokens are held and spent by others. */
void prd_lease_refund(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);

/* As prd_unlearn(); answer->due as for prd_lease_settle(). */
void prd_lease_deny(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer);

/* As prd_settle(). */
void prd_lease_settle(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, uint32_t cost);


/* An item for a key in answer->due; clears the bit. */
void prd_lease_due(prd_view_t *view, const prd_policy_t *policy,
    const prd_ask_t *ask, prd_answer_t *answer, unsigned key,
    prd_due_t *due);

/* What the calls below will touch is fetched from memory. */

static inline void
prd_lease_fetch(const prd_view_t *view, uint32_t slot)
{
    __builtin_prefetch(&view->table.tags[slot]);
    prd_prefetch(&view->table.entries[slot]);
    prd_prefetch(&view->leases[slot]);
}

/*
 * To be called when due->at_ms has come, at a tick.
 *
 * PRD_OK        *req is to be sent; then prd_lease_answered() or _lost()
 * PRD_EAGAIN    nothing yet: again at due->at_ms
 * PRD_DECLINED  nothing more to do: forget the item
 *
 * leaving = 1: everything goes back (the worker ends).
 */
prd_rc_t prd_lease_tick(prd_view_t *view, prd_due_t *due, uint32_t now_ms,
    unsigned leaving, prd_lease_request_t *req);

/*
 * Instead of that while the store is away, at least every 30 s: the item is
 * still looked after.  PRD_EAGAIN: keep it; PRD_DECLINED: forget it.
 */
prd_rc_t prd_lease_wait(prd_view_t *view, const prd_due_t *due,
    uint32_t now_ms);

/* PRD_EAGAIN: keep the item, at_ms says until when; PRD_DECLINED: forget. */
prd_rc_t prd_lease_answered(prd_view_t *view, prd_due_t *due,
    const prd_lease_request_t *req, const prd_lease_reply_t *reply,
    uint32_t now_ms);

/* No reply; sent as above.  What it returned is lost if it was sent. */
prd_rc_t prd_lease_lost(prd_view_t *view, prd_due_t *due,
    const prd_lease_request_t *req, unsigned sent, uint32_t now_ms);


/*
 * The rule of grants, the same in the store's script: a share of the room up
 * to `free`, smaller when less than half of it is left, in multiples of
 * quantum.
 */
static inline uint32_t
prd_lease_grant(uint32_t want, uint32_t level, uint32_t free,
    uint32_t quantum, uint32_t nodes)
{
    uint32_t  room;

    room = free > level ? free - level : 0;
    quantum = quantum ? quantum : 1;
    nodes = nodes ? nodes : 1;

    room = room < free - free / 2 ? room / 2 / nodes : room / nodes;
    room = prd_min(want, room);

    return room - room % quantum;
}


/* The home has published version `version` of a client's envelope itself. */
void prd_lease_version(prd_view_t *view, uint32_t slot, uint16_t version);


/*
 * The books, 1/1000 token, since the zone was made.  When nothing is under
 * way: debited + debt + refunded
 *         = admitted + returned + forfeited + held.
 */

typedef struct {
    uint64_t  debited;                 /* in the store, for this node */
    uint64_t  debt;                    /* admitted without tokens */
    uint64_t  refunded;                /* admitted, and taken back */
    uint64_t  admitted;
    uint64_t  returned;
    uint64_t  forfeited;
    uint64_t  held;
    uint64_t  owed;                    /* debt not yet reported */
    uint64_t  bound;                   /* most that this node has held of one */
                                       /* client; x nodes: the overshoot */
} prd_lease_sums_t;

/* Walks the whole zone.  PRD_OK, or PRD_ECORRUPT: the books do not agree. */
prd_rc_t prd_lease_check(const prd_view_t *view, prd_lease_sums_t *sums);

/*
 * By how much one client may have been given more than its bucket holds, on
 * account of this node: the most that it has held at once (strict: what is
 * held is void when it could be), and the most that it has admitted without
 * the store's word and before the store had charged it.  Cheap; level units.
 */
static inline uint64_t
prd_lease_bound(const prd_view_t *view, unsigned strict)
{
    uint64_t  n;

    n = atomic_load_explicit(&view->zone->owed_most, memory_order_relaxed);

    if (!strict) {
        n += atomic_load_explicit(&view->zone->held_most,
                                  memory_order_relaxed);
    }

    return n;
}


#endif /* PRD_LEASE_H_INCLUDED */
