
/*
 * The forecasting thread writes records, tracks and misses, and trains the
 * network; others copy them meanwhile, ask the network, and give classes
 * their names.  What is copied was written so.
 */


#include <pthread.h>
#include <sched.h>

#include "lab.h"


#define SLOTS    600                       /* 100 records, 32 tracks */
#define CLIENTS  120
#define READERS  3
#define HOURS    60
#define NAMES    40


typedef struct {
    prd_outlook_view_t  view;
    uint32_t            id;
    prd_view_t          zone;
    uint32_t            read, tracks, misses, torn, asked, named;
    uint64_t            trained;
    pthread_t           thread;
} reader_t;


static prd_outlook_view_t  v;
static prd_word_t          tags[SLOTS];
static prd_policy_t        policy;
static prd_view_t          zone;
static _Atomic int         stop;


/* In what is written some numbers are made of others. */

static uint16_t
generation_of(uint32_t slot)
{
    return (uint16_t) (slot * 7 + 1);
}


/* What the network says: numbers, in order. */

static unsigned
ask_network(reader_t *r, const prd_tracked_t *c, const prd_track_t *track)
{
    unsigned           i, k;
    prd_gru_told_t     told;
    prd_track_extra_t  extra;

    if (prd_outlook_network(&r->view, &told) == PRD_OK) {
        r->torn += !isfinite(told.loss) || told.trained < r->trained
                   || told.resets;
        r->trained = told.trained;
    }

    if (prd_outlook_extra(&r->view, c,
                          track->bins[PRD_OUTLOOK_NETWORK].bin, &extra)
        == 0)
    {
        return 0;
    }

    for (i = 0; i < PRD_GRU_HORIZONS; i++) {
        for (k = 0; k < PRD_GRU_QUANTILES; k++) {
            r->torn += !(extra.q[i][k] >= (k ? extra.q[i][k - 1] : 0));
        }
    }

    return 1;
}


/* A name, or what another has written of it: words are whole or 0. */

static int
named_so(const char got[PRD_CLASS_NAME], const char text[PRD_CLASS_NAME])
{
    size_t  i;

    static const char  none[8];

    for (i = 0; i < PRD_CLASS_NAME; i += 8) {
        if (memcmp(got + i, text + i, 8) != 0 && memcmp(got + i, none, 8) != 0)
        {
            return 0;
        }
    }

    return 1;
}


/* Each asks for the same classes, in an order of its own. */

static void
ask_class(reader_t *r, uint32_t i)
{
    char       text[PRD_CLASS_NAME], got[PRD_CLASS_NAME];
    uint32_t   class_;
    prd_str_t  name;

    memset(text, 0, sizeof(text));
    name.data = text;
    name.len = (size_t) snprintf(text, sizeof(text), "class-of-requests-%u",
                                 (i * 7 + r->id) % NAMES);

    class_ = prd_zone_class(&r->zone, name);
    prd_zone_class_name(&r->zone, class_, got);

    r->torn += class_ == 0 || !named_so(got, text);
    r->named++;
}


static void *
reader(void *data)
{
    uint32_t       i, s, n;
    reader_t      *r = data;
    prd_miss_t     miss[PRD_OUTLOOK_MISSES];
    prd_track_t    track;
    prd_tracked_t  c;

    for (i = r->id; !atomic_load(&stop); i++) {
        s = i % CLIENTS;

        if (prd_outlook_client(&r->view, s, generation_of(s), &c) == PRD_OK) {
            r->read++;
            r->torn += c.tag != 1000 + s
                       || (c.bin && c.refused != c.bin)
                       || c.habit.last != c.bin;    /* both 0 at first */

            if (prd_outlook_copy_track(&r->view, &c, &track) == PRD_OK) {
                r->tracks++;
                r->torn += track.size != sizeof(prd_track_t);
                r->asked += r->tracks % 4 == 0
                            && ask_network(r, &c, &track);
            }
        }

        (void) prd_outlook_group(&r->view, s, generation_of(s));

        if (i % 8 == 0) {
            ask_class(r, i / 8);
        }

        if (i % 64 == 0) {
            n = prd_outlook_misses(&r->view, miss, PRD_OUTLOOK_MISSES);
            r->misses += n;

            while (n--) {
                r->torn += miss[n].tag && miss[n].span_s
                           && miss[n].actual <= miss[n].upper;
            }

            sched_yield();
        }
    }

    return NULL;
}


static void
publish(void *data, uint32_t slot, uint16_t generation, float ahead)
{
    (void) data;
    (void) slot;
    (void) generation;
    (void) ahead;
}


static int
vote(void *data, uint32_t slot)
{
    (void) data;
    (void) slot;

    return 1;
}


int
main(void)
{
    void               *mem;
    float               ahead;
    size_t              size;
    uint32_t            i, s, b, torn, reads, tracks, misses, asked, classes;
    uint64_t            now;
    prd_outlook_bin_t   bin;
    const prd_str_t     first = { 19, "class-of-requests-0" };

    static reader_t            readers[READERS];
    static prd_classes_t       demand;
    static prd_outlook_work_t  w;

    lab_policy(&policy, "rate=1r/s");
    zone = lab_zone(&policy, 10, LAB_S, LAB_MS);
    prd_class_init(&demand);
    w.network = 1;

    size = prd_outlook_size(SLOTS);
    mem = aligned_alloc(64, size);
    memset(mem, 0, size);
    prd_outlook_init(mem, SLOTS);
    prd_outlook_attach(&v, mem, tags, SLOTS);

    for (i = 0; i < READERS; i++) {
        readers[i].view = v;
        readers[i].zone = zone;
        readers[i].id = i * 37;
        pthread_create(&readers[i].thread, NULL, reader, &readers[i]);
    }

    memset(&bin, 0, sizeof(bin));

    for (b = 0; b < HOURS * 12; b++) {
        now = LAB_S + 300 * (uint64_t) b;

        for (s = 0; s < CLIENTS; s++) {

            if (lab_below(3) == 0) {
                continue;
            }

            bin.tag = 1000 + s;
            bin.slot = s;
            bin.generation = generation_of(s);
            bin.blocks = 5;
            bin.hours = s % 2 ? 5 : 0;
            bin.requests = 1 + (uint32_t) lab_below(lab_below(50) ? 10 : 1000);
            bin.tokens = (float) bin.requests;
            bin.start_s = now;
            bin.refused = (uint32_t) (now / 10);
            bin.horizon_s = 300;
            bin.vote = 1;
            atomic_store(&tags[s], bin.tag);

            (void) prd_outlook_count(&v, &w, &bin, &ahead);
        }

        /* somebody is forgotten, somebody else may have the record */

        atomic_store(&tags[lab_below(CLIENTS)], 0);

        prd_outlook_close(&v, &w, 1, now + 10, 1, vote, NULL);
        prd_outlook_look_ahead(&v, now + 10, 300, vote, publish, NULL);
        prd_class_turn(&demand, now + 10, zone.zone->classes);
        prd_class_add(&demand, prd_zone_class(&zone, first), 1 + b % 7);
        sched_yield();
    }

    atomic_store(&stop, 1);

    torn = reads = tracks = misses = asked = 0;

    for (i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        torn += readers[i].torn;
        reads += readers[i].read;
        tracks += readers[i].tracks;
        misses += readers[i].misses;
        asked += readers[i].asked;
        ok(readers[i].named > 0 && readers[i].trained > 0,
           "%u names, %u windows trained on", readers[i].named,
           (unsigned) readers[i].trained);
    }

    for (i = classes = 0; i < PRD_CLASSES; i++) {
        classes += atomic_load(&zone.zone->classes[i]) != 0;
    }

    is_int(classes, NAMES, "a class a name");
    ok(demand.top[0].id != 0, "whose demand has a curve");
    ok(asked > 0, "asked the network %u times", asked);

    ok(reads > 0 && tracks > 0 && misses > 0,
       "read meanwhile: %u records, %u tracks, %u misses", reads, tracks,
       misses);
    is_int(torn, 0, "each as it was written");

    free(mem);
    free(zone.zone);

    return done_testing();
}
