
/*
 * Learned state in a file: what predictive_state keeps over a restart and
 * what predictive-replay --state writes.  Versioned, checksummed, ages
 * instead of stamps, little-endian, floats as in IEEE 754.  The file holds
 * the zones' secrets: the caller creates it with mode 0600.
 *
 *   file     header, zone..., checksum u64 of all before it
 *   header   magic 8 | version u32 | zones u32 | written wall s u64 |
 *            writer: started wall ms u64, pid u32, spare u32
 *   zone     name len u16, name | key len u16, key | secret 16 |
 *            learned for s u64 | unit u32 | pooled size u32, pooled |
 *            classes u32, { index u32, name's hash u32, slow mean f64 }... |
 *            chunk..., 0 u32, outlook
 *   chunk    records u32 (1..PRD_PROFILE_CHUNK), record...
 *   outlook  now u64 | pack of groups, {group's id u32, pack of its chain,
 *            hours of its typical day 24 x f32}..., curves of the zone and of
 *            the groups, {open bin u64, tokens in it f64} x 3 of the zone, the
 *            groups' open bin u64, {tokens f64} x 12, {requests f32, bytes
 *            f32} x 60 by size, x 12 by group, tokens a request f64, {bytes
 *            in the open bin f64, covered f32, scored u32} x 3, classes,
 *            chunk of clients' records..., 0 u32 | words of the pooled tables
 *            of all tracks, track..., 0 u64
 *   classes  open bin u64, {index u32, tokens in the bin, slow mean f32,
 *            name 32}..., index 0, {name's hash, index u32, curve} x 8
 *   pack     len u32, bytes; a curve: len u32 and bytes as in memory, or 0
 *   track    client's tag u64, {open bin u32, tokens in it f32} x 3, words of
 *            its track
 *   words    len u32, then for each 2 KB of it (less at the end) a bit for each
 *            word of 4 bytes, 1: it is not 0, and those words as in memory
 *   record   104 bytes, see prd_profile_record.c; long known clients come first
 *
 * A file of version 3 has no `classes` in its outlook, one of version 2 none of
 * `now`, open bins, sizes, tables and tracks either.  Both are still read: what
 * they lack begins anew.
 *
 * Kept are clients with a closed block or hour, each with its bucket, so that
 * a restart hands out no fresh bursts.
 *
 * An age is counted from when the file was written, and the time between
 * then and loading is added.  The bins of a record of the outlook and of a
 * track are the writer's, whose time was `now`: they are ages just so.  With
 * a sane clock that gives the stamps back; a clock that has gone back since
 * moves them with it.  The time in between counts as any other without
 * requests, but not without end: pooled quantiles and anchors get at most a
 * day's credit to move (so does growth, see prd_envelope.c), and a client is
 * not made idle for more than a week.
 * The time learned for, which ends warm-up, stands still in between.
 *
 * A checksum makes no value trustworthy: those that are not finite are
 * refused, the others clamped to what the engine works with.
 */


#ifndef PRD_PROFILE_H_INCLUDED
#define PRD_PROFILE_H_INCLUDED


#include "prd_zone.h"


#define PRD_PROFILE_VERSION  4
#define PRD_PROFILE_CLASSLESS  3        /* the last without curves of classes */
#define PRD_PROFILE_OLD      2          /* the oldest that is read */
#define PRD_PROFILE_CHUNK    64
#define PRD_PROFILE_NAME     256        /* bytes of the buffers for both */
#define PRD_PROFILE_KEY      4096

/*
 * Byte streams of the caller.  write() takes everything or fails; it is also
 * called with len 0 while there is nothing to write, so that a caller can
 * count on being called every few milliseconds.  read() gives exactly `len`
 * bytes or fails (PRD_ECORRUPT at the end of the file).  What they return is
 * returned.
 */
typedef prd_rc_t (*prd_write_pt)(void *data, const void *p, size_t len);
typedef prd_rc_t (*prd_read_pt)(void *data, void *p, size_t len);

typedef struct {
    uint32_t  version;
    uint32_t  zones;
    uint64_t  written_s;
    uint64_t  started_ms;            /* when the writer's generation began */
    uint32_t  pid;
} prd_profile_head_t;

/* Zeroed by the caller, then write or read, and data. */

typedef struct {
    prd_write_pt    write;
    prd_read_pt     read;
    void           *data;
    prd_checksum_t  sum;
    uint64_t        written_s;       /* from the header */
    uint32_t        version;         /* from the header */
} prd_profile_t;


/* `version` is set to PRD_PROFILE_VERSION. */
prd_rc_t prd_profile_write_head(prd_profile_t *f,
    const prd_profile_head_t *head);

/*
 * Only by the forecasting thread (or the replay tool); workers may go on.
 * PRD_ERANGE: name or key is too long.
 */
prd_rc_t prd_profile_write_zone(prd_profile_t *f, prd_str_t name,
    prd_str_t key, const prd_view_t *view, const prd_policy_t *policy,
    uint64_t now_s, uint32_t now_ms);
prd_rc_t prd_profile_write_end(prd_profile_t *f);

/* PRD_ECORRUPT: not such a file; PRD_EVERSION: of another version */
prd_rc_t prd_profile_read_head(prd_profile_t *f, prd_profile_head_t *head);

/*
 * Name, key and secret of the next zone, into buffers of PRD_PROFILE_NAME and
 * PRD_PROFILE_KEY bytes.  Then either prd_profile_read_zone() into a fresh
 * zone of this secret that nobody else uses yet, or prd_profile_skip_zone().
 */
prd_rc_t prd_profile_read_name(prd_profile_t *f, char *name, size_t *name_len,
    char *key, size_t *key_len, prd_secret_t *secret);

/*
 * Where the caller goes to a zone without having read the header in this
 * prd_profile_t, written_s and version of it are the caller's to set.
 *
 * A zone that has fewer slots takes what it can, longest known first; *kept
 * says how many.  After PRD_ECORRUPT the zone holds what was read before it,
 * which is sane.
 */
prd_rc_t prd_profile_read_zone(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, uint64_t now_s, uint32_t now_ms,
    uint64_t *kept);
prd_rc_t prd_profile_skip_zone(prd_profile_t *f);

/*
 * PRD_ECORRUPT: the checksum does not hold, or something follows it.  Read
 * everything once to check it before a second reading loads anything.
 */
prd_rc_t prd_profile_read_end(prd_profile_t *f);

/*
 * All of `from`, newcomers too, to the fresh zone `to` of the same secret:
 * a zone that a reload gives another size.  Others may go on using `from`.
 */
uint64_t prd_profile_copy(const prd_view_t *from, prd_view_t *to,
    const prd_policy_t *policy, uint64_t now_s, uint32_t now_ms);

/* Only what is forecast beside envelopes; `to` has the clients already. */
void prd_profile_copy_outlook(const prd_view_t *from, prd_view_t *to,
    const prd_policy_t *policy, uint64_t now_s);


#endif /* PRD_PROFILE_H_INCLUDED */
