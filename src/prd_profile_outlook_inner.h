
/*
 * What the files of the outlook's state share, for these alone:
 * prd_profile_outlook.c (all of it; groups and clients' records),
 * prd_profile_outlook_bins.c (open bins and sizes),
 * prd_profile_outlook_class.c (classes), prd_profile_outlook_track.c (tracks),
 * prd_profile_outlook_pack.c (runs of bytes).  The first calls the others, and
 * these the last.
 */


#ifndef PRD_PROFILE_OUTLOOK_INNER_H_INCLUDED
#define PRD_PROFILE_OUTLOOK_INNER_H_INCLUDED


#include "prd_profile_inner.h"


/* prd_profile_outlook_bins.c */

prd_rc_t prd_profile_write_open(prd_profile_t *f, const prd_outlook_t *o);
prd_rc_t prd_profile_write_sizes(prd_profile_t *f, const prd_outlook_t *o);

/* o NULL: skips */
prd_rc_t prd_profile_read_open(prd_profile_t *f, prd_outlook_t *o);
prd_rc_t prd_profile_read_sizes(prd_profile_t *f, prd_outlook_t *o);

/* Sizes that are not sound are seen anew, all of them. */
void prd_profile_settle_sizes(prd_outlook_t *o);


/* prd_profile_outlook_class.c */

/* Names and demand of all classes, then the curves of some. */
prd_rc_t prd_profile_write_classes(prd_profile_t *f, const prd_view_t *view);

/* view NULL: skips */
prd_rc_t prd_profile_read_classes(prd_profile_t *f, prd_view_t *view,
    uint64_t now_s);


/* prd_profile_outlook_track.c */

/* Pooled tables, and the tracks of those who have one. */
prd_rc_t prd_profile_write_tracks(prd_profile_t *f, const prd_view_t *view);

/*
 * view NULL: skips.  Tables and tracks that are not sound, or of another
 * layout, begin anew.
 */
prd_rc_t prd_profile_read_tracks(prd_profile_t *f, prd_view_t *view,
    const prd_policy_t *policy, int64_t base_s, int64_t shift_s);

/* To whom the table says it belongs. */
void prd_profile_give_track(prd_view_t *view, uint64_t tag,
    const prd_outlook_track_t *t, const prd_policy_t *policy);

/* Tables of other bins, too, are of no use.  0: they begin anew. */
int prd_profile_settle_tables(prd_tracks_t *tracks);


/* prd_profile_outlook_pack.c */

prd_rc_t prd_profile_write_pack(prd_profile_t *f, const void *p, size_t len);

/* len u32 of at most `most`, or PRD_ECORRUPT */
prd_rc_t prd_profile_read_pack(prd_profile_t *f, void *p, size_t most,
    size_t *len);

/*
 * A curve of another layout, or one that is not sane, begins anew.  a NULL:
 * skips.
 */
prd_rc_t prd_profile_read_curve(prd_profile_t *f, prd_aggregate_t *a,
    uint32_t bin_s);

prd_rc_t prd_profile_write_words(prd_profile_t *f, const void *src,
    size_t len);

/* Into `len` bytes at dst; PRD_DECLINED: there were more or fewer of them. */
prd_rc_t prd_profile_read_words(prd_profile_t *f, void *dst, size_t len);


/* What is negative or not a number becomes 0. */

static inline double
prd_profile_tokens(double v)
{
    return v > 0 ? prd_min(v, PRD_PROFILE_SUM) : 0;
}


#endif /* PRD_PROFILE_OUTLOOK_INNER_H_INCLUDED */
