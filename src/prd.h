
/*
 * What every file of the engine shares: return codes, strings, number and
 * time types.  The engine knows nothing of nginx, sockets, threads or a
 * clock: every call is given `now`, every byte it works in is given too.
 */


#ifndef PRD_H_INCLUDED
#define PRD_H_INCLUDED


#include <stddef.h>
#include <stdint.h>
#include <string.h>


#define PRD_VERSION      1000          /* 0.1.0 = major << 20 | minor 1000s */
#define PRD_VERSION_STR  "0.1.0"


/*
 * Return codes.  Results come through the last arguments and stay untouched
 * unless PRD_OK is returned.  PRD_DECLINED and PRD_EAGAIN are normal states,
 * never to be logged as errors.
 */

typedef enum {
    PRD_OK = 0,
    PRD_DECLINED,      /* nothing found, no value: a normal state */
    PRD_EAGAIN,        /* another process is at it; decide without state */
    PRD_EINVAL,        /* a value that has no meaning */
    PRD_ERANGE,        /* a value outside its bounds */
    PRD_ENOMEM,        /* the given memory is too small */
    PRD_EFULL,         /* no room for one more */
    PRD_ESTALE,        /* overtaken by something newer */
    PRD_EVERSION,      /* another layout or format version */
    PRD_ECORRUPT,      /* checksum or structure does not hold */
    PRD_EIO,           /* the file could not be read or written; see errno */
    PRD_ELIMIT         /* a regular expression hit its match limit */
} prd_rc_t;


/* A pointer and a length, no terminator; the bytes are the caller's. */

typedef struct {
    size_t       len;
    const char  *data;
} prd_str_t;

#define prd_str(s)   ((prd_str_t) { sizeof(s) - 1, s })


/*
 * A rate in 1/1,000,000,000 token per second (nano-tokens per second), so
 * that every rate that nginx can write in 1/1000 r/s is exact, and a request
 * a day is still six digits.  At most PRD_RATE_MAX (one million tokens a
 * millisecond).
 */

typedef uint64_t  prd_rate_t;

#define PRD_RATE_ONE   1000000000ull             /* 1 r/s */
#define PRD_RATE_MAX   (1000000000ull * PRD_RATE_ONE)

/*
 * Levels, depths and costs are u32 in 1/1000 token ("milli-tokens").  A zone
 * whose greatest depth exceeds PRD_MILLI_MAX tokens counts whole tokens.
 */

#define PRD_MILLI      1000u
#define PRD_MILLI_MAX  2000000u

/*
 * Times: `now_ms` is u32 monotonic milliseconds, wraps after 49 days and is
 * compared as a signed difference; `now_s` and bins are wall-clock seconds.
 */

#define PRD_BIN_S      10
#define PRD_EPOCH_S    3600


/* A short text for a code, for log lines; never NULL. */

const char *prd_strerror(prd_rc_t rc);


#define prd_min(a, b)  ((a) < (b) ? (a) : (b))
#define prd_max(a, b)  ((a) > (b) ? (a) : (b))


/* a + b, at most UINT32_MAX */

static inline uint32_t
prd_sum32(uint32_t a, uint32_t b)
{
    uint32_t  sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT32_MAX : sum;
}


/*
 * Asks for a cache line that will be written: for ourselves alone, so that it
 * does not travel twice between processors.  For plain x86-64 gcc makes a
 * prefetch for reading of __builtin_prefetch(p, 1); processors that do not
 * know this one take it for no operation.
 */

#if defined(__x86_64__)
#define prd_prefetch(p)                                                       \
    __asm__ volatile ("prefetchw %0" : : "m" (*(const char *) (p)))
#else
#define prd_prefetch(p)  __builtin_prefetch((p), 1)
#endif


typedef uint64_t __attribute__((may_alias))  prd_any_t;


/*
 * Copies of what is written and read at once: whole words, relaxed; whether
 * the copy holds together is told by a sequence number around it.
 */

static inline void
prd_words_read(void *dst, const void *src, size_t size)
{
    size_t            i;
    prd_any_t        *d = dst;
    const prd_any_t  *s = src;

    for (i = 0; i < size / sizeof(uint64_t); i++) {
        d[i] = __atomic_load_n(&s[i], __ATOMIC_RELAXED);
    }
}


static inline void
prd_words_write(void *dst, const void *src, size_t size)
{
    size_t            i;
    prd_any_t        *d = dst;
    const prd_any_t  *s = src;

    for (i = 0; i < size / sizeof(uint64_t); i++) {
        __atomic_store_n(&d[i], s[i], __ATOMIC_RELAXED);
    }
}


#endif /* PRD_H_INCLUDED */
