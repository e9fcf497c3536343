
/*
 * Layout of a zone, views, counters, classes, and copies for readers.
 */


#include <math.h>

#include "prd_zone.h"


#define PRD_ALIGN       64
#define prd_align(n)    (((size_t) (n) + PRD_ALIGN - 1) & ~(size_t) 63)

#define PRD_READ_TRIES  100


_Static_assert(sizeof(prd_entry_t) == 64, "an entry is a cache line");
_Static_assert(sizeof(prd_learned_t) == 64, "a record is a cache line");
_Static_assert(sizeof(prd_lease_t) == 64, "a lease is a cache line");
_Static_assert(sizeof(prd_worker_t) % 64 == 0, "workers share no line");


/* Offsets of what follows the header, for a number of buckets. */

typedef struct {
    size_t  tags;
    size_t  dirty;
    size_t  entries;
    size_t  learned;
    size_t  leases;
    size_t  outlook;
    size_t  end;
} prd_layout_t;


static void
prd_zone_layout(uint32_t nbuckets, unsigned leased, prd_layout_t *l)
{
    size_t  slots = (size_t) nbuckets * PRD_WAYS + 1;

    l->tags = prd_align(sizeof(prd_zone_t));
    l->dirty = l->tags + prd_align(prd_table_tags_size(nbuckets));
    l->entries = l->dirty + prd_align(((size_t) nbuckets + 63) / 64 * 8);
    l->learned = l->entries + prd_align(prd_table_entries_size(nbuckets));
    l->leases = l->learned + prd_align(slots * sizeof(prd_learned_t));
    l->outlook = l->leases + (leased ? prd_align(slots * sizeof(prd_lease_t))
                                     : 0);
    l->end = l->outlook + prd_outlook_size(nbuckets * PRD_WAYS);
}


const char *
prd_counter_name(prd_counter_e c)
{
    static const char  *names[] = {
#define PRD_COUNTER(id, name, help)  name,
#include "prd_metrics.def"
#undef PRD_COUNTER
    };

    return c < PRD_COUNTERS ? names[c] : "";
}


const char *
prd_counter_help(prd_counter_e c)
{
    static const char  *helps[] = {
#define PRD_COUNTER(id, name, help)  help,
#include "prd_metrics.def"
#undef PRD_COUNTER
    };

    return c < PRD_COUNTERS ? helps[c] : "";
}


void
prd_policy_init(prd_policy_t *policy, const prd_params_t *params,
    uint64_t burst_max)
{
    uint64_t  depth;

    policy->params = *params;

    /*
     * The greatest depth of any envelope, tokens: 5 s of max, or the burst.
     * Where max is only the capacity, levels saturate instead.
     */

    depth = params->learn == PRD_LEARN_OFF || params->max == params->capacity
            ? 0 : params->max / PRD_RATE_ONE * PRD_POOL_DEPTH_S;
    depth = prd_max(depth, prd_max(burst_max, params->burst) + 1);

    policy->unit = depth > PRD_MILLI_MAX ? 1 : PRD_MILLI;
    policy->leased = params->store.len != 0;
    policy->charged = params->charge.len || params->cost_var.len
                      || params->cost_milli != PRD_MILLI;

    prd_pool_terms(&policy->pool, params->capacity, params->borrow_milli,
                   policy->unit);
}


size_t
prd_zone_fixed_size(void)
{
    return prd_align(sizeof(prd_zone_t)) + prd_outlook_size(0)
           + 2 * (sizeof(prd_entry_t) + sizeof(prd_learned_t));
}


size_t
prd_zone_size(size_t bytes)
{
    uint64_t  slots;

    slots = prd_min(bytes / PRD_SLOT_BYTES + 1, UINT32_MAX);

    return prd_align(sizeof(prd_zone_t))
           + prd_outlook_size((uint32_t) slots)
           + 2 * (sizeof(prd_entry_t) + sizeof(prd_learned_t)) + bytes;
}


prd_rc_t
prd_zone_init(void *mem, size_t size, uint32_t unit,
    const prd_secret_t *secret, const prd_policy_t *policy, uint64_t now_s,
    uint32_t now_ms)
{
    uint64_t              n;
    prd_zone_t           *zone;
    prd_entry_t          *overflow;
    prd_layout_t          l;
    prd_envelope_terms_t  terms;

    if (size <= prd_zone_fixed_size()) {
        return PRD_ENOMEM;
    }

    /* a little more than there is room for, then down: parts are aligned */

    n = (size - sizeof(prd_zone_t) - prd_outlook_size(0))
        / (PRD_WAYS * (PRD_SLOT_BYTES + sizeof(uint32_t)
                       + (policy->leased ? sizeof(prd_lease_t) : 0))
           + PRD_WAYS * sizeof(prd_tracked_t) / PRD_OUTLOOK_SHARE
           + PRD_WAYS * (sizeof(prd_outlook_track_t) + sizeof(prd_gru_client_t))
             / PRD_OUTLOOK_TRACKS)
        + PRD_OUTLOOK_LEAST;
    n = prd_min(n, UINT32_MAX / PRD_WAYS - 1);

    for ( ;; ) {

        if (n == 0) {
            return PRD_ENOMEM;
        }

        prd_zone_layout((uint32_t) n, policy->leased, &l);

        if (l.end <= size) {
            break;
        }

        n--;
    }

    zone = mem;

    zone->layout = PRD_LAYOUT;
    zone->nbuckets = (uint32_t) n;
    zone->unit = unit;
    zone->leased = policy->leased;
    zone->size = size;
    zone->secret = *secret;
    zone->learn_since_s = now_s;
    zone->tick_s = 0;

    prd_pool_init(&zone->pool, now_ms);

    /* the overflow bucket is never claimed: its time starts here */

    overflow = (prd_entry_t *) ((char *) mem + l.entries) + n * PRD_WAYS;
    atomic_store(&overflow->state, prd_word(now_ms, 0));
    atomic_store(&overflow->virtual_, prd_word(now_ms, 0));

    terms.alpha = 1 - policy->params.confidence_ppm / 1e6;
    terms.horizon_s = policy->params.horizon_s;
    terms.learning = 1;
    terms.ahead = 0;

    prd_pooled_init(&zone->pooled, &terms);
    prd_pooled_newcomer(&zone->pooled, &terms, (double) now_s);

    atomic_store(&zone->newcomer, prd_env(0, 0,
        prd_env_encode((uint64_t) (zone->pooled.newcomer_r * PRD_RATE_ONE)),
        prd_env_encode((uint64_t) (zone->pooled.newcomer_b * unit))));

    atomic_store(&zone->warm, policy->params.warmup_s == 0);

    prd_outlook_init((char *) mem + l.outlook, (uint32_t) n * PRD_WAYS);

    /* whoever finds the magic finds the rest */

    atomic_thread_fence(memory_order_release);
    zone->magic = PRD_MAGIC;

    return PRD_OK;
}


prd_rc_t
prd_zone_attach(prd_view_t *view, void *mem, size_t size,
    const prd_policy_t *policy, uint32_t worker, uint32_t pid,
    int (*alive)(uint32_t pid))
{
    char          *p;
    uint32_t       n;
    prd_zone_t    *zone;
    prd_layout_t   l;

    zone = mem;

    if (size < sizeof(prd_zone_t) || zone->magic != PRD_MAGIC) {
        return PRD_ECORRUPT;
    }

    if (zone->layout != PRD_LAYOUT) {
        return PRD_EVERSION;
    }

    if (zone->nbuckets == 0 || zone->leased > 1) {
        return PRD_ECORRUPT;
    }

    prd_zone_layout(zone->nbuckets, zone->leased, &l);

    if (l.end > size) {
        return PRD_ECORRUPT;
    }

    p = mem;

    memset(view, 0, sizeof(prd_view_t));

    view->zone = zone;
    view->table.tags = (prd_word_t *) (p + l.tags);
    view->table.entries = (prd_entry_t *) (p + l.entries);
    prd_table_lay(&view->table, zone->nbuckets);
    view->table.pid = pid;
    view->table.rate = policy->params.rate;
    view->table.unit = zone->unit;
    view->table.alive = alive;
    view->dirty = (prd_word_t *) (p + l.dirty);
    view->learned = (prd_learned_t *) (p + l.learned);
    view->leases = zone->leased ? (prd_lease_t *) (p + l.leases) : NULL;
    prd_outlook_attach(&view->outlook, p + l.outlook, view->table.tags,
                       zone->nbuckets * PRD_WAYS);
    view->shared = worker >= PRD_WORKERS;
    view->worker = &zone->worker[prd_min(worker, PRD_WORKERS)];

    n = atomic_load(&zone->workers);

    while (worker < PRD_WORKERS && n <= worker
           && !atomic_compare_exchange_weak(&zone->workers, &n, worker + 1))
    {
        /* void */
    }

    return PRD_OK;
}


uint32_t
prd_zone_slots(const prd_view_t *view)
{
    return view->table.nbuckets * PRD_WAYS;
}


uint64_t
prd_zone_count(const prd_view_t *view, prd_counter_e c)
{
    return prd_zone_sum(view->zone, offsetof(prd_worker_t, count)
                                    + c * sizeof(uint64_t));
}


uint64_t
prd_zone_clients(const prd_view_t *view)
{
    uint64_t  in, out;

    in = prd_zone_count(view, PRD_CNT_INSERTED);
    out = prd_zone_count(view, PRD_CNT_EVICTED)
          + atomic_load_explicit(&view->zone->freed, memory_order_relaxed);

    return in > out ? in - out : 0;
}


uint32_t
prd_zone_class(const prd_view_t *view, prd_str_t name)
{
    uint32_t           i, n, h, was;
    _Atomic uint32_t  *classes;

    if (name.len == 0) {
        return 0;
    }

    h = (uint32_t) (prd_hash(&view->zone->secret, name.data, name.len) >> 32);
    h = h ? h : 1;
    classes = view->zone->classes;

    /* 0 is the class without a name; when all are taken, names share one */

    for (n = 0; n < PRD_CLASSES - 1; n++) {
        i = 1 + (h + n) % (PRD_CLASSES - 1);
        was = atomic_load_explicit(&classes[i], memory_order_relaxed);

        if (was == h) {

            /* of a file that had no names, or whoever claimed it is gone */

            if (__atomic_load_n(&view->zone->class_name[i][0],
                                __ATOMIC_RELAXED)
                == '\0')
            {
                prd_zone_name_class(view, i, name);
            }

            return i;
        }

        if (was == 0) {

            if (atomic_compare_exchange_strong_explicit(&classes[i], &was, h,
                    memory_order_relaxed, memory_order_relaxed))
            {
                prd_zone_name_class(view, i, name);
                return i;
            }

            if (was == h) {
                return i;
            }
        }
    }

    return 1 + h % (PRD_CLASSES - 1);
}


void
prd_zone_name_class(const prd_view_t *view, uint32_t class_, prd_str_t name)
{
    char    buf[PRD_CLASS_NAME];
    size_t  i;

    memset(buf, 0, sizeof(buf));

    for (i = 0; i < name.len && i < sizeof(buf) - 1; i++) {
        buf[i] = name.data[i] >= ' ' && name.data[i] <= '~'
                 ? name.data[i] : '?';
    }

    prd_words_write(view->zone->class_name[class_ % PRD_CLASSES], buf,
                    sizeof(buf));
}


void
prd_zone_class_name(const prd_view_t *view, uint32_t class_,
    char name[PRD_CLASS_NAME])
{
    uint64_t  buf[PRD_CLASS_NAME / sizeof(uint64_t)];

    prd_words_read(buf, view->zone->class_name[class_ % PRD_CLASSES],
                   sizeof(buf));
    memcpy(name, buf, PRD_CLASS_NAME);
    name[PRD_CLASS_NAME - 1] = '\0';
}


_Static_assert(sizeof(prd_decision_t) % 8 == 0
               && sizeof(prd_point_t) % 8 == 0
               && sizeof(prd_top_t) % 8 == 0, "copied by words");


/*
 * Readers of what the thread writes: its sequence is odd while it writes, and
 * stays odd if it was killed there, until the next thread's first bin.
 */

static prd_rc_t
prd_zone_copy(_Atomic uint32_t *seq, void *dst, const void *src, size_t size)
{
    uint32_t  i, before;

    for (i = 0; i < PRD_READ_TRIES; i++) {
        before = atomic_load_explicit(seq, memory_order_acquire);

        if (before & 1) {
            continue;
        }

        prd_words_read(dst, src, size);
        atomic_thread_fence(memory_order_acquire);

        if (atomic_load_explicit(seq, memory_order_relaxed) == before) {
            return PRD_OK;
        }
    }

    return PRD_EAGAIN;
}


prd_rc_t
prd_zone_series(const prd_view_t *view, prd_point_t *series, uint32_t *n,
    int long_)
{
    uint32_t      i, j, at, len;
    prd_rc_t      rc;
    prd_zone_t   *zone;
    prd_point_t   p;

    /* oldest first, empty ones left out; series has room for a whole ring */

    zone = view->zone;
    len = long_ ? PRD_SERIES_LONG : PRD_SERIES;
    at = long_ ? zone->series_long_at : zone->series_at;
    j = 0;

    for (i = 0; i < len; i++) {
        rc = prd_zone_copy(&zone->series_seq, &p,
                           long_ ? &zone->series_long[(at + i) % len]
                                 : &zone->series[(at + i) % len],
                           sizeof(prd_point_t));
        if (rc != PRD_OK) {
            return rc;
        }

        if (p.start_s) {
            series[j++] = p;
        }
    }

    *n = j;

    return PRD_OK;
}


prd_rc_t
prd_zone_top(const prd_view_t *view, prd_top_e by, prd_top_t *top,
    uint32_t *n)
{
    prd_rc_t     rc;
    prd_zone_t  *zone;

    zone = view->zone;

    rc = prd_zone_copy(&zone->top_seq, top, zone->top[by],
                       sizeof(zone->top[by]));

    if (rc == PRD_OK) {
        *n = prd_min(zone->top_n[by], PRD_TOP);
    }

    return rc;
}


uint32_t
prd_zone_decisions(const prd_view_t *view, uint64_t tag, prd_decision_t *d,
    uint32_t most)
{
    uint32_t         i, n, next, seq;
    prd_decision_t  *p;

    n = 0;
    next = atomic_load_explicit(&view->zone->decision_next,
                                memory_order_relaxed);

    for (i = 1; i <= PRD_DECISIONS && n < most; i++) {
        p = &view->zone->decision[(next - i) % PRD_DECISIONS];
        seq = atomic_load_explicit(&p->seq, memory_order_acquire);

        if ((seq & 1) || seq == 0) {
            continue;
        }

        prd_words_read(&d[n], p, sizeof(prd_decision_t));
        atomic_thread_fence(memory_order_acquire);

        if (atomic_load_explicit(&p->seq, memory_order_relaxed) == seq
            && (tag == 0 || d[n].tag == tag))
        {
            n++;
        }
    }

    return n;
}
