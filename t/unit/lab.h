
/*
 * What the tests of the engine share: random numbers from a seed, policies
 * from words of the configuration, zones in memory of the test, and limit_req
 * as nginx writes it, from its arithmetic and not from ours.
 */


#ifndef PRD_LAB_H_INCLUDED
#define PRD_LAB_H_INCLUDED


#include <math.h>
#include <stdlib.h>

#include "prd_decide.h"
#include "prd_forecaster.h"
#include "tap.h"


#define LAB_S   1700000000ull            /* wall; a bin begins here */
#define LAB_MS  50000000u                /* monotonic */


static uint64_t  lab_state = 1;


/* splitmix64 (Steele, Lea, Flood 2014) */

static uint64_t TAP_UNUSED
lab_random(void)
{
    uint64_t  z;

    z = lab_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;

    return z ^ z >> 31;
}


/* 0 .. n - 1 */

static uint64_t TAP_UNUSED
lab_below(uint64_t n)
{
    return lab_random() % n;
}


/* above 0, below 1 */

static double TAP_UNUSED
lab_uniform(void)
{
    return ((double) (lab_random() >> 11) + 0.5) / 9007199254740992.0;
}


static double TAP_UNUSED
lab_normal(void)
{
    return sqrt(-2 * log(lab_uniform())) * cos(6.283185307179586
                                               * lab_uniform());
}


/* A number whose magnitude, rather than value, is uniform: 1 .. most */

static uint64_t TAP_UNUSED
lab_magnitude(uint64_t most)
{
    return (uint64_t) exp(lab_uniform() * log((double) most + 1));
}


/*
 * nginx's limit_req (ngx_http_limit_req_module.c) for one client: numbers in
 * 1/1000 request, time in milliseconds of 64 bits.  It forgives a clock that
 * steps back by more than a minute 1 ms, which we do not.
 */

typedef struct {
    int64_t   rate;                      /* 1/1000 r/s */
    int64_t   burst, delay;              /* 1/1000 */
    int64_t   excess;
    int64_t   last;
    int       known;
} lab_limit_t;

#define LAB_BUSY  (-1)

/* LAB_BUSY, or the milliseconds of delay */

static int64_t TAP_UNUSED
lab_limit(lab_limit_t *l, int64_t now, int64_t *excess)
{
    int64_t  ms;

    if (!l->known) {
        l->known = 1;
        l->excess = *excess = 0;
        l->last = now;
        return 0;
    }

    ms = now - l->last;

    if (ms < -60000) {
        ms = 1;

    } else if (ms < 0) {
        ms = 0;
    }

    *excess = l->excess - l->rate * ms / 1000 + 1000;

    if (*excess < 0) {
        *excess = 0;
    }

    if (*excess > l->burst) {
        return LAB_BUSY;
    }

    l->excess = *excess;

    if (ms) {
        l->last = now;
    }

    return *excess <= l->delay ? 0 : (*excess - l->delay) * 1000 / l->rate;
}


/* A policy from words such as "rate=10r/s burst=5". */

static void TAP_UNUSED
lab_policy(prd_policy_t *policy, const char *words)
{
    static char    kept[64][64];
    static int     n;
    char          *word, *save, text[512];
    prd_str_t      s;
    const char    *why;
    prd_params_t   p;

    why = "";
    prd_params_init(&p);
    snprintf(text, sizeof(text), "%s", words);

    for (word = strtok_r(text, " ", &save); word;
         word = strtok_r(NULL, " ", &save))
    {
        /* strings of a policy point into its words */

        n = (n + 1) % 64;
        snprintf(kept[n], sizeof(kept[n]), "%s", word);

        s.data = kept[n];
        s.len = strlen(kept[n]);

        if (prd_params_set(&p, s, &why) != PRD_OK) {
            printf("Bail out! %s: %s\n", word, why);
            exit(1);
        }
    }

    if (prd_params_end(&p, &why) != PRD_OK) {
        printf("Bail out! %s: %s\n", words, why);
        exit(1);
    }

    memset(policy, 0, sizeof(prd_policy_t));
    prd_policy_init(policy, &p, p.burst);
}


static int TAP_UNUSED
lab_alive(uint32_t pid)
{
    return pid < 1000;
}


/* A zone for at least n clients, whose memory begins at view->zone. */

static prd_view_t TAP_UNUSED
lab_zone(const prd_policy_t *policy, uint32_t clients, uint64_t now_s,
    uint32_t now_ms)
{
    void               *mem;
    size_t              size;
    prd_view_t          view;
    static prd_secret_t  secret = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

    size = prd_zone_size((size_t) (clients + PRD_WAYS) * 137 + 4096);
    size = (size + 63) / 64 * 64;
    mem = aligned_alloc(64, size);
    memset(mem, 0, size);

    if (prd_zone_init(mem, size, policy->unit, &secret, policy, now_s, now_ms)
        != PRD_OK
        || prd_zone_attach(&view, mem, size, policy, 0, 1, lab_alive)
           != PRD_OK)
    {
        printf("Bail out! no zone\n");
        exit(1);
    }

    return view;
}


/* A request of `tag` as the policy has it: cost 1, nodelay. */

static prd_ask_t TAP_UNUSED
lab_ask(const prd_policy_t *policy, uint64_t tag, uint32_t now_ms)
{
    prd_ask_t  ask;

    memset(&ask, 0, sizeof(prd_ask_t));

    ask.tag = prd_tag(tag);
    ask.cost = policy->unit;
    ask.rate = policy->params.rate;
    ask.burst = policy->params.burst * policy->unit;
    ask.delay = PRD_NODELAY;
    ask.now_ms = now_ms;

    return ask;
}


static uint32_t TAP_UNUSED
lab_level(prd_view_t *view, uint32_t slot)
{
    return prd_word_level(atomic_load(&view->table.entries[slot].state));
}


/* Gives a slot an envelope (tokens, tokens/s) as if it had been learned. */

static void TAP_UNUSED
lab_learn(prd_view_t *view, uint32_t slot, double rate, double depth,
    unsigned hours)
{
    uint64_t        env;
    prd_entry_t    *e;
    prd_learned_t  *l;

    e = &view->table.entries[slot];
    l = &view->learned[slot];
    env = atomic_load(&e->envelope);

    prd_learned_init(l, &view->zone->pooled,
                     (uint16_t) prd_env_generation(env), (double) LAB_S);
    l->hours = (uint16_t) hours;
    l->rate = l->cap_rate = (float) rate;
    l->depth = l->cap_depth = (float) depth;

    atomic_store(&e->envelope,
        prd_env(prd_env_generation(env),
                prd_learned_trust(l, 0),
                prd_env_encode((uint64_t) (rate * 1e9)),
                prd_env_encode((uint64_t) (depth * view->table.unit))));
    atomic_store(&e->hours, hours);
}


#endif /* PRD_LAB_H_INCLUDED */
