
/*
 * What is learned of one client as a few bytes, for the store: so that the
 * node that learns of it next goes on where another one stopped.
 *
 *   version u8 | sum u8 | by u16 | at u32 | mu, sigma, mu_rate, sigma_rate |
 *   depth, rate, cap_depth, cap_rate | count, level, near | hold |
 *   depth's, rate's age | age of the hour, of the near bin | blocks, hours |
 *   run u8 | flags u8
 *
 * Little-endian, 16 bits each where nothing else is said.  Sizes are
 * logarithms in steps of 2^(1/1024), so a record that goes to and fro loses
 * 0.07 % at most.  Stamps are ages, counted from `at`, which is the store's
 * clock in seconds: nodes' own clocks need not agree.
 *
 * The store is not trusted.  Whatever the bytes, what comes out of them is a
 * record that the forecaster can go on with: no NaN, nothing out of range.
 */


#ifndef PRD_PACK_H_INCLUDED
#define PRD_PACK_H_INCLUDED


#include "prd_bytes.h"
#include "prd_envelope.h"


#define PRD_PACK_VERSION  1
#define PRD_PACK_SIZE     46
#define PRD_PACK_BY       2              /* where `by` is: scripts read it */


typedef struct {
    uint16_t   by;                       /* prd_node_short() of the packer */
    uint32_t   horizon_s;                /* of the zone, > 0 */
    uint64_t   now_s;                    /* wall, of this node */
    uint32_t   shared_s;                 /* the store's clock at now_s */
    uint32_t   phase_s;                  /* of the client */
} prd_pack_terms_t;


/*
 * hold is the client's mean charge, tokens, 0 unknown.  PRD_ECORRUPT: the
 * record holds something that is no number, or nothing at all (sigma 0).
 */
prd_rc_t prd_pack_put(uint8_t buf[PRD_PACK_SIZE], const prd_learned_t *l,
    double hold, const prd_pack_terms_t *t);

/*
 * The generation of *l is 0: the caller knows the slot.  *by may be NULL.
 * PRD_EVERSION: of another version; PRD_ECORRUPT: not such a record.
 */
prd_rc_t prd_pack_get(const uint8_t *buf, size_t len, prd_learned_t *l,
    double *hold, uint16_t *by, const prd_pack_terms_t *t);


/*
 * A number >= 0 as 16 bits: 0, or 1/1024 steps of its binary logarithm from
 * -20 on.  What is smaller or greater becomes the least or the most; NaN 0.
 */
uint32_t prd_pack_log(double v);
double prd_unpack_log(uint32_t code);

/* A logarithm itself, -20 to 44, by the same steps. */
uint32_t prd_pack_mu(double v);
double prd_unpack_mu(uint32_t code);


#endif /* PRD_PACK_H_INCLUDED */
