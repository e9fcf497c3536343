
/*
 * Learning of clients that come to several nodes.  A client's home takes from
 * the store what all nodes have counted of it since it looked last, puts that
 * into its own table as if all had come to it, and closes the block as any
 * other.  What it has learned it packs for the store: others set the envelope
 * in force, and the next home goes on with the record.
 *
 * Here is what the bytes between home and store say, and what they do to a
 * zone; src/prd_node.h says who is whose home.
 */


#ifndef PRD_HOME_H_INCLUDED
#define PRD_HOME_H_INCLUDED


#include "prd_forecaster.h"
#include "prd_node.h"
#include "prd_pack.h"


#define PRD_HOME_VERSION  1
#define PRD_HOME_KEYS     64             /* most clients of one exchange */
#define PRD_HOME_RECORD   (8 + PRD_PACK_SIZE)


/*
 * A reply of the `take` script: version u8, clients u8, left u16 (of the
 * group, at most 65535), then for each client the 16 digits of its tag,
 * admitted u32, peak u32, version of its envelope u16, profile's length u8,
 * profile.  Level units.
 */

typedef struct {
    uint64_t        tag;
    uint32_t        admitted;
    uint32_t        peak;
    uint16_t        version;             /* 0: nobody has published yet */
    const uint8_t  *profile;             /* NULL: none */
    size_t          len;
} prd_home_count_t;

typedef struct {
    const uint8_t  *p, *end;
    unsigned        n;                   /* clients that are left to read */
    unsigned        left;
} prd_home_reader_t;

/* PRD_EVERSION, PRD_ECORRUPT: not such a reply, or not to its end. */
prd_rc_t prd_home_read(prd_home_reader_t *r, const void *data, size_t len);

/* PRD_DECLINED: that was all. */
prd_rc_t prd_home_next(prd_home_reader_t *r, prd_home_count_t *c);


/*
 * Puts counts into the zone; loads the profile where another node's is newer
 * than the record here.  `loaded` has the version that each slot's record is
 * of, in memory of the process, zeroed at first.
 *
 * The caller sees to it that no round of the forecaster is under way.
 *
 * PRD_OK        taken; *slot is the client's
 * PRD_EFULL     no slot for it
 * PRD_EAGAIN    another process is inserting it
 */
prd_rc_t prd_home_take(prd_view_t *view, const prd_policy_t *policy,
    const prd_home_count_t *c, const prd_pack_terms_t *t, uint16_t *loaded,
    uint32_t now_ms, uint32_t *slot);

/*
 * A client of a slot as the `publish` script takes it: envelope u64, profile.
 * Under the same condition.  PRD_DECLINED: there is nothing to be published.
 */
prd_rc_t prd_home_put(const prd_view_t *view, const prd_policy_t *policy,
    uint32_t slot, const prd_pack_terms_t *t, uint8_t buf[PRD_HOME_RECORD],
    uint64_t *tag);


#endif /* PRD_HOME_H_INCLUDED */
