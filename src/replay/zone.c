
#include <stdlib.h>
#include <sys/mman.h>

#include "../prd_profile.h"

#include "zone.h"


#define RPL_SLOTS_FIRST  32768ull
#define RPL_SLOTS_MOST   (RPL_SLOTS_FIRST << 8)  /* 8.4 M, 1.2 GB */
#define RPL_SLOT_BYTES   138ull                  /* two tables and a bit */
#define RPL_GROWTH       2


static void
rpl_zone_map(rpl_zone_t *z, size_t size)
{
    z->size = size;
    z->mem = mmap(NULL, size, PROT_READ|PROT_WRITE,
                  MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0);

    if (z->mem == MAP_FAILED) {
        z->mem = NULL;
        rpl_die(RPL_EXIT_FAILED, "no memory for a zone of %zu bytes", size);
    }

    /* clients are all over the place: one entry of the TLB for 2 MB */

    (void) madvise(z->mem, size, MADV_HUGEPAGE);
}


static void
rpl_zone_layout(rpl_zone_t *z, const prd_secret_t *secret, uint64_t now_s,
    uint32_t now_ms)
{
    prd_rc_t  rc;

    rc = prd_zone_init(z->mem, z->size, z->policy->unit, secret, z->policy,
                       now_s, now_ms);

    if (rc == PRD_OK) {
        rc = prd_zone_attach(&z->view, z->mem, z->size, z->policy, 0, 1,
                             NULL);
    }

    if (rc != PRD_OK) {
        rpl_die(RPL_EXIT_BAD, "a zone of %zu bytes: %s", z->size,
                prd_strerror(rc));
    }
}


/* Two choices of 8 lose nobody below seven tenths. */

static uint64_t
rpl_zone_room(const rpl_zone_t *z)
{
    return (uint64_t) prd_zone_slots(&z->view) * 5 / 8;
}


void
rpl_zone_create(rpl_zone_t *z, uint64_t size, const prd_policy_t *policy,
    const prd_secret_t *secret, uint64_t now_s, uint32_t now_ms)
{
    z->policy = policy;

    rpl_zone_map(z, prd_zone_size(size ? size
                                  : RPL_SLOTS_FIRST * RPL_SLOT_BYTES));
    rpl_zone_layout(z, secret, now_s, now_ms);

    z->room = size ? UINT64_MAX : rpl_zone_room(z);
}


void
rpl_zone_done(rpl_zone_t *z)
{
    if (z->mem != NULL) {
        munmap(z->mem, z->size);
        z->mem = NULL;
    }
}


/* A client with its slot's bucket, envelope and record. */

static void
rpl_zone_move(const rpl_zone_t *from, rpl_zone_t *to, uint32_t slot,
    uint32_t now_ms)
{
    uint32_t      s;
    uint64_t      tag;
    unsigned      evicted;

    tag = atomic_load_explicit(&from->view.table.tags[slot],
                               memory_order_relaxed);

    if (tag == PRD_TAG_FREE || prd_tag_is_claim(tag)
        || prd_table_insert(&to->view.table, tag, now_ms, &s, &evicted)
           != PRD_OK)
    {
        return;
    }

    memcpy((void *) &to->view.table.entries[s],
           (const void *) &from->view.table.entries[slot],
           sizeof(prd_entry_t));

    to->view.learned[s] = from->view.learned[slot];

    if (atomic_load_explicit(&to->view.table.entries[s].demand,
                             memory_order_relaxed))
    {
        (void) atomic_fetch_or_explicit(
                   &to->view.dirty[s / PRD_WAYS / 64],
                   1ull << (s / PRD_WAYS % 64), memory_order_relaxed);
    }
}


void
rpl_zone_grow(rpl_zone_t *z, uint32_t now_ms)
{
    uint32_t       s, n, nbuckets;
    uint64_t       slots, credit;
    rpl_zone_t     to;
    prd_zone_t    *zone;

    n = prd_zone_slots(&z->view);
    slots = (uint64_t) n * RPL_GROWTH;

    if (slots > RPL_SLOTS_MOST) {
        z->room = UINT64_MAX;
        return;
    }

    to.policy = z->policy;
    zone = z->view.zone;

    rpl_zone_map(&to, prd_zone_size(slots * RPL_SLOT_BYTES));
    rpl_zone_layout(&to, &zone->secret, zone->learn_since_s, now_ms);

    for (s = 0; s < n; s++) {
        rpl_zone_move(z, &to, s, now_ms);
    }

    /* the overflow bucket */

    memcpy((void *) &to.view.table.entries[prd_zone_slots(&to.view)],
           (const void *) &z->view.table.entries[n], sizeof(prd_entry_t));

    /* all else is in the header, but for its geometry */

    nbuckets = to.view.zone->nbuckets;

    memcpy((void *) to.view.zone, (const void *) zone, sizeof(prd_zone_t));

    to.view.zone->nbuckets = nbuckets;
    to.view.zone->size = to.size;

    prd_profile_copy_outlook(&z->view, &to.view, z->policy,
                             (uint64_t) zone->tick_s);

    credit = z->view.credit;
    rpl_zone_done(z);

    *z = to;
    z->view.credit = credit;
    z->room = rpl_zone_room(z);
}
