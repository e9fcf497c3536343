
/*
 * What a group is called, and groups as bytes; see prd_group.h.
 */


#include <math.h>

#include "prd_bytes.h"
#include "prd_group_inner.h"


#define PRD_GROUP_HEAD     48
#define PRD_GROUP_RECORD   (24 + 8 * PRD_HABIT_FEATURES)
#define PRD_GROUP_SIZE     (PRD_GROUP_HEAD + 8 * PRD_HABIT_FEATURES           \
                            + PRD_GROUPS * PRD_GROUP_RECORD)

_Static_assert(PRD_GROUP_SIZE <= PRD_GROUP_PACKED, "a pack fits");


/* Most telling first; see prd_habit.h for what the numbers are. */

prd_group_kind_e
prd_group_kind(const float *x)
{
    /* most hours, and more than a few requests in each */

    if (x[PRD_HABIT_ACTIVE] >= 0.78f && x[PRD_HABIT_BUSY] >= 0.7f) {
        return PRD_GROUP_KIND_POWER;
    }

    /* a spread of 1.8 h over the day, of 3.9 h */

    if (x[PRD_HABIT_FOCUS] >= 0.7f) {
        return PRD_GROUP_KIND_BATCH;
    }

    if (x[PRD_HABIT_FOCUS] >= 0.35f
        || (x[PRD_HABIT_FOCUS] >= 0.2f && x[PRD_HABIT_ACTIVE] >= 0.35f))
    {
        return PRD_GROUP_KIND_DIURNAL;
    }

    /* fewer than three in an hour with any */

    if (x[PRD_HABIT_BUSY] < 0.45f) {
        return PRD_GROUP_KIND_LIGHT;
    }

    /* 40 an hour, three in 10 s or 80 a day */

    if (x[PRD_HABIT_BUSY] >= 1.6f || x[PRD_HABIT_BURST] >= 0.5f
        || x[PRD_HABIT_RATE] >= 1.9f)
    {
        return PRD_GROUP_KIND_BURSTY;
    }

    return PRD_GROUP_KIND_INTERMITTENT;
}


const char *
prd_group_kind_name(prd_group_kind_e kind)
{
    switch (kind) {

    case PRD_GROUP_KIND_POWER:
        return "power";

    case PRD_GROUP_KIND_BATCH:
        return "batch";

    case PRD_GROUP_KIND_LIGHT:
        return "light";

    case PRD_GROUP_KIND_BURSTY:
        return "bursty";

    case PRD_GROUP_KIND_DIURNAL:
        return "diurnal";

    case PRD_GROUP_KIND_INTERMITTENT:
        return "intermittent";

    case PRD_GROUP_KINDS:
        break;
    }

    return "";
}


void
prd_group_name(const prd_groups_t *g, unsigned place, char *name)
{
    size_t        len;
    const char   *kind;
    unsigned      number;

    name[0] = '\0';

    if (place >= PRD_GROUPS || g->group[place].id == 0) {
        return;
    }

    kind = prd_group_kind_name((prd_group_kind_e) g->group[place].kind);
    len = strlen(kind);
    memcpy(name, kind, len + 1);

    number = g->group[place].number % 100;

    if (number == 0) {
        return;
    }

    name[len++] = '-';

    if (number >= 10) {
        name[len++] = (char) ('0' + number / 10);
    }

    name[len++] = (char) ('0' + number % 10);
    name[len] = '\0';
}


/*
 * A pack, little-endian: version, features, places, next_id, generation,
 * claims u32 | since_s, moved_s, stepped_s u64 | scales, claim f32 | then each
 * place: id u32 | kind, number, missing, other u8 | votes, radius f32 |
 * members, outliers u32 | center, spread f32.
 */

prd_rc_t
prd_group_pack(const prd_groups_t *g, uint8_t *p, size_t *len)
{
    unsigned            i;
    const prd_group_t  *group;

    if (*len < PRD_GROUP_SIZE) {
        return PRD_ENOMEM;
    }

    *len = PRD_GROUP_SIZE;

    prd_pack32(&p, PRD_GROUP_VERSION);
    prd_pack32(&p, PRD_HABIT_FEATURES);
    prd_pack32(&p, PRD_GROUPS);
    prd_pack32(&p, g->next_id);
    prd_pack32(&p, g->generation);
    prd_pack32(&p, g->claims);
    prd_pack64(&p, g->since_s);
    prd_pack64(&p, g->moved_s);
    prd_pack64(&p, g->stepped_s);
    prd_pack_floats(&p, g->scale, PRD_HABIT_FEATURES);
    prd_pack_floats(&p, g->claim, PRD_HABIT_FEATURES);

    for (i = 0; i < PRD_GROUPS; i++) {
        group = &g->group[i];

        prd_pack32(&p, group->id);
        *p++ = group->kind;
        *p++ = group->number;
        *p++ = group->missing;
        *p++ = group->other;
        prd_pack_floats(&p, &group->votes, 1);
        prd_pack_floats(&p, &group->radius, 1);
        prd_pack32(&p, group->members);
        prd_pack32(&p, group->outliers);
        prd_pack_floats(&p, group->center, PRD_HABIT_FEATURES);
        prd_pack_floats(&p, group->spread, PRD_HABIT_FEATURES);
    }

    return PRD_OK;
}


prd_rc_t
prd_group_unpack(prd_groups_t *g, const uint8_t *p, size_t len)
{
    int           bad, known;
    unsigned      i, d;
    prd_group_t  *group;
    prd_groups_t  to;

    if (len < PRD_GROUP_HEAD) {
        return PRD_ECORRUPT;
    }

    memset(&to, 0, sizeof(prd_groups_t));

    if (prd_unpack32(&p) != PRD_GROUP_VERSION
        || prd_unpack32(&p) != PRD_HABIT_FEATURES
        || prd_unpack32(&p) != PRD_GROUPS)
    {
        return PRD_EVERSION;
    }

    if (len != PRD_GROUP_SIZE) {
        return PRD_ECORRUPT;
    }

    to.next_id = prd_unpack32(&p);
    to.generation = prd_unpack32(&p);
    to.claims = prd_unpack32(&p);
    to.claims = prd_min(to.claims, 2 * PRD_GROUP_PROVEN);
    to.since_s = prd_unpack64(&p);
    to.moved_s = prd_unpack64(&p);
    to.stepped_s = prd_unpack64(&p);

    bad = prd_unpack_floats(&p, to.scale, PRD_HABIT_FEATURES, 0, 1e3f);
    bad |= prd_unpack_floats(&p, to.claim, PRD_HABIT_FEATURES,
                             -PRD_GROUP_BOUND, PRD_GROUP_BOUND);
    known = 0;

    for (i = 0; i < PRD_GROUPS; i++) {
        group = &to.group[i];

        group->id = prd_unpack32(&p);
        group->kind = *p++;
        group->number = *p++;
        group->missing = *p++;
        group->other = *p++;
        bad |= prd_unpack_floats(&p, &group->votes, 1, 0, 1e12f);
        bad |= prd_unpack_floats(&p, &group->radius, 1, 0, 1e6f);
        group->members = prd_unpack32(&p);
        group->outliers = prd_unpack32(&p);
        bad |= prd_unpack_floats(&p, group->center, PRD_HABIT_FEATURES,
                                 -PRD_GROUP_BOUND, PRD_GROUP_BOUND);
        bad |= prd_unpack_floats(&p, group->spread, PRD_HABIT_FEATURES,
                                 0, PRD_GROUP_BOUND);
        bad |= group->id > to.next_id || group->kind >= PRD_GROUP_KINDS;
        known |= group->id != 0;
    }

    for (d = 0; d < PRD_HABIT_FEATURES; d++) {

        if (to.scale[d] > 0) {
            to.scale[d] = fminf(fmaxf(to.scale[d],
                                      prd_group_terms[d].scale / 2),
                                prd_group_terms[d].scale * 2);
            to.inv[d] = prd_group_terms[d].weight / to.scale[d];
        }

        bad |= known && to.scale[d] <= 0;
    }

    if (bad) {
        return PRD_ECORRUPT;
    }

    *g = to;

    return PRD_OK;
}
