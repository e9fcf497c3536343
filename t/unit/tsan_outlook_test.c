
/*
 * The forecasting thread writes records, tracks and misses; others copy them
 * meanwhile.  What is copied was written so.
 */


#include <pthread.h>
#include <sched.h>

#include "lab.h"


#define SLOTS    600                       /* 100 records, 32 tracks */
#define CLIENTS  120
#define READERS  3
#define HOURS    120


typedef struct {
    prd_outlook_view_t  view;
    uint32_t            id;
    uint32_t            read, tracks, misses, torn;
    pthread_t           thread;
} reader_t;


static prd_outlook_view_t  v;
static prd_word_t          tags[SLOTS];
static _Atomic int         stop;


/* In what is written some numbers are made of others. */

static uint16_t
generation_of(uint32_t slot)
{
    return (uint16_t) (slot * 7 + 1);
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
            }
        }

        (void) prd_outlook_group(&r->view, s, generation_of(s));

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
    uint32_t            i, s, b, torn, reads, tracks, misses;
    uint64_t            now;
    prd_outlook_bin_t   bin;

    static reader_t            readers[READERS];
    static prd_outlook_work_t  w;

    size = prd_outlook_size(SLOTS);
    mem = aligned_alloc(64, size);
    memset(mem, 0, size);
    prd_outlook_init(mem, SLOTS);
    prd_outlook_attach(&v, mem, tags, SLOTS);

    for (i = 0; i < READERS; i++) {
        readers[i].view = v;
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
        prd_outlook_look_ahead(&v, now + 10, publish, NULL);
        sched_yield();
    }

    atomic_store(&stop, 1);

    torn = reads = tracks = misses = 0;

    for (i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        torn += readers[i].torn;
        reads += readers[i].read;
        tracks += readers[i].tracks;
        misses += readers[i].misses;
    }

    ok(reads > 0 && tracks > 0 && misses > 0,
       "read meanwhile: %u records, %u tracks, %u misses", reads, tracks,
       misses);
    is_int(torn, 0, "each as it was written");

    free(mem);

    return done_testing();
}
