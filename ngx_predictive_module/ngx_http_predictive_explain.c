
/*
 * One client: what the zone knows of it, what a request of it would meet now,
 * and why the last ones met what they met.
 *
 * The raw key comes as the body of a POST and goes nowhere but through the
 * zone's keyed hash: no log line and no answer has it.
 */


#include <math.h>

#include "ngx_http_predictive_api.h"


#define NGX_HTTP_PREDICTIVE_EXPLAIN_DECISIONS  20
#define NGX_HTTP_PREDICTIVE_EXPLAIN_LIMITS     32
#define NGX_HTTP_PREDICTIVE_EXPLAIN_TRIES      8

/* the bounds of the forecast's interval: 5 %, 95 % */
#define NGX_HTTP_PREDICTIVE_EXPLAIN_TAIL       0.05

/* prd_scores_t: cells of this width, from this score on */
#define NGX_HTTP_PREDICTIVE_EXPLAIN_CELL       0.2
#define NGX_HTTP_PREDICTIVE_EXPLAIN_LOW        (-8.0)


/* What the zone has of a client, copied. */

typedef struct {
    uint64_t        tag;
    uint32_t        slot;                /* PRD_NO_SLOT: nothing */
    uint64_t        state;
    uint64_t        virtual_;
    uint64_t        demand;
    uint64_t        envelope;
    uint32_t        refused;
    uint32_t        hours;
    uint32_t        hold;
    prd_learned_t   learned;
    unsigned        has_learned:1;       /* it is this client's */
    unsigned        steady:1;            /* two copies were the same */
} ngx_http_predictive_client_t;


/* A verdict, of now or of the ring, in tokens and seconds. */

typedef struct {
    prd_verdict_e   verdict;
    prd_reason_e    reason;
    double          level;
    double          cost;
    double          rate;
    double          depth;
    double          free;                /* NaN: not known any more */
    double          limit;
    double          m;                   /* infinite: unlimited */
    double          fill;                /* NaN: no pool */
    double          delay;
    unsigned        learned:1;
    unsigned        dry_run:1;
} ngx_http_predictive_verdict_t;


/* What a request would ask. */

typedef struct {
    prd_ask_t       ask;
    ngx_str_t       place;               /* file:line, empty: no limit */
} ngx_http_predictive_question_t;


static ngx_int_t ngx_http_predictive_explain_find(
    ngx_http_predictive_api_t *api, uint64_t *tag, const char **form);
static ngx_int_t ngx_http_predictive_explain_try(
    ngx_http_predictive_zone_t *zone, void *key, size_t len, uint64_t *tag);
static ngx_int_t ngx_http_predictive_explain_raw(
    ngx_http_predictive_api_t *api, uint64_t *tag, const char **form);
static ngx_int_t ngx_http_predictive_explain_binary(
    ngx_http_predictive_zone_t *zone, ngx_str_t *body, uint64_t *tag);
static ngx_int_t ngx_http_predictive_explain_identity(
    ngx_http_predictive_api_t *api, const char *kind, uint64_t *tag);
static ngx_int_t ngx_http_predictive_explain_prefixes(
    ngx_http_predictive_zone_t *zone, ngx_str_t *body, uint64_t *tag);
static ngx_uint_t ngx_http_predictive_explain_is_address(ngx_str_t *key);
static ngx_str_t ngx_http_predictive_explain_line(ngx_str_t *body);
static prd_rc_t ngx_http_predictive_explain_get(void *data, size_t n,
    prd_str_t *value);
static void *ngx_http_predictive_explain_alloc(void *data, size_t size);

static void ngx_http_predictive_explain_client(ngx_http_predictive_api_t *api,
    uint64_t tag, const char *form);
static void ngx_http_predictive_explain_read(prd_view_t *view,
    ngx_http_predictive_client_t *client);
static ngx_int_t ngx_http_predictive_explain_questions(
    ngx_http_predictive_api_t *api, ngx_array_t *questions);
static ngx_int_t ngx_http_predictive_explain_question(
    ngx_http_predictive_api_t *api, ngx_array_t *questions,
    ngx_http_predictive_limit_t *limit);

static void ngx_http_predictive_explain_known(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, prd_answer_t *answer);
static void ngx_http_predictive_explain_learned(
    ngx_http_predictive_json_t *json, ngx_http_predictive_client_t *client);
static void ngx_http_predictive_explain_forecast(
    ngx_http_predictive_api_t *api, ngx_http_predictive_client_t *client);
static double ngx_http_predictive_explain_quantile(prd_scores_t *scores,
    double share);
static void ngx_http_predictive_explain_would(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, ngx_array_t *questions);
static void ngx_http_predictive_explain_ask(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, prd_ask_t *ask,
    prd_answer_t *answer);
static void ngx_http_predictive_explain_decisions(
    ngx_http_predictive_api_t *api, uint64_t tag);

static void ngx_http_predictive_explain_answer(
    ngx_http_predictive_zone_t *zone, prd_answer_t *answer,
    ngx_http_predictive_verdict_t *v);
static void ngx_http_predictive_explain_verdict(
    ngx_http_predictive_json_t *json, ngx_http_predictive_verdict_t *v);
static void ngx_http_predictive_explain_why(ngx_http_predictive_json_t *json,
    ngx_http_predictive_verdict_t *v);
static u_char *ngx_http_predictive_explain_pool(u_char *p, u_char *last,
    ngx_http_predictive_verdict_t *v);


/* POST: the body is the key. */

void
ngx_http_predictive_explain(ngx_http_predictive_api_t *api)
{
    uint64_t     tag;
    ngx_int_t    rc;
    const char  *form;

    if (api->body.len == 0) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
            "The body is empty; it must be the client's key.", 0);
        return;
    }

    rc = ngx_http_predictive_explain_find(api, &tag, &form);

    if (rc == NGX_ERROR) {
        api->json.failed = 1;
        return;
    }

    if (rc == NGX_ABORT) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
            "\"as\" must be key, token, address, agent or newcomer.", 0);
        return;
    }

    ngx_http_predictive_explain_client(api, tag, form);
}


/* The keyed hash in hex, as $predictive_key and /top have it. */

void
ngx_http_predictive_explain_hex(ngx_http_predictive_api_t *api)
{
    u_char      ch;
    uint64_t    tag;
    ngx_uint_t  i;

    tag = 0;

    if (api->rest.len != 16) {
        goto invalid;
    }

    for (i = 0; i < api->rest.len; i++) {
        ch = api->rest.data[i];

        if (ch >= '0' && ch <= '9') {
            tag = tag << 4 | (ch - '0');
            continue;
        }

        ch |= 0x20;

        if (ch < 'a' || ch > 'f') {
            goto invalid;
        }

        tag = tag << 4 | (ch - 'a' + 10);
    }

    /* no client has one of those that mean something else in the table */

    if (tag != prd_tag(tag)) {
        goto invalid;
    }

    ngx_http_predictive_explain_client(api, tag, NULL);

    return;

invalid:

    ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
        "A key in a URL is its hash, 16 hexadecimal digits; "
        "raw keys are for the body of POST explain.", 0);
}


/*
 * The tag of the client that the body means, or, if there is none, of the
 * first that it could have meant; form says how it was read.  NGX_ABORT: an
 * unknown way to read it.
 */

static ngx_int_t
ngx_http_predictive_explain_find(ngx_http_predictive_api_t *api,
    uint64_t *tag, const char **form)
{
    ngx_str_t    as, body;
    ngx_uint_t   i;

    static const char  *kinds[] = { "token", "address", "agent" };

    *tag = 0;

    if (ngx_http_predictive_api_arg(api, "as", &as) != NGX_OK) {
        return ngx_http_predictive_explain_raw(api, tag, form);
    }

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (as.len == ngx_strlen(kinds[i])
            && ngx_strncmp(as.data, kinds[i], as.len) == 0)
        {
            *form = kinds[i];
            return ngx_http_predictive_explain_identity(api, kinds[i], tag);
        }
    }

    if (as.len == 3 && ngx_strncmp(as.data, "key", 3) == 0) {
        *form = "key";
        return ngx_http_predictive_explain_try(api->zone, api->body.data,
                                               api->body.len, tag);
    }

    if (as.len == 8 && ngx_strncmp(as.data, "newcomer", 8) == 0) {
        *form = "newcomer";
        body = ngx_http_predictive_explain_line(&api->body);
        *tag = ngx_http_predictive_parent_tag(api->zone, &body);
        return NGX_OK;
    }

    return NGX_ABORT;
}


/* NGX_OK: there is such a client.  The first tag tried stays in *tag. */

static ngx_int_t
ngx_http_predictive_explain_try(ngx_http_predictive_zone_t *zone, void *key,
    size_t len, uint64_t *tag)
{
    uint64_t  t;

    t = prd_tag(prd_hash(&zone->view.zone->secret, key, len));

    if (*tag == 0) {
        *tag = t;
    }

    if (prd_table_find(&zone->view.table, t) == PRD_NO_SLOT) {
        return NGX_DECLINED;
    }

    *tag = t;

    return NGX_OK;
}


/*
 * The key as nginx has it; but where it is $binary_remote_addr, which nobody
 * can type, an address.  A line feed at the end is what a shell has added.
 */

static ngx_int_t
ngx_http_predictive_explain_raw(ngx_http_predictive_api_t *api, uint64_t *tag,
    const char **form)
{
    ngx_str_t                    body;
    ngx_http_predictive_zone_t  *zone;

    zone = api->zone;
    body = ngx_http_predictive_explain_line(&api->body);

    if (ngx_http_predictive_explain_is_address(&zone->key.value)) {
        *form = "address";

        if (ngx_http_predictive_explain_binary(zone, &body, tag) == NGX_OK) {
            return NGX_OK;
        }
    }

    *form = (*tag != 0) ? "address" : "key";

    if (ngx_http_predictive_explain_try(zone, api->body.data, api->body.len,
                                        tag)
        == NGX_OK
        || (body.len && body.len != api->body.len
            && ngx_http_predictive_explain_try(zone, body.data, body.len, tag)
               == NGX_OK))
    {
        *form = "key";
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_predictive_explain_is_address(ngx_str_t *key)
{
    static ngx_str_t  names[] = {
        ngx_string("$binary_remote_addr"),
        ngx_string("${binary_remote_addr}")
    };

    ngx_uint_t  i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (key->len == names[i].len
            && ngx_strncmp(key->data, names[i].data, key->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* NGX_DECLINED: no address, or no client has it. */

static ngx_int_t
ngx_http_predictive_explain_binary(ngx_http_predictive_zone_t *zone,
    ngx_str_t *body, uint64_t *tag)
{
    u_char     addr[16];
    in_addr_t  v4;

    v4 = ngx_inet_addr(body->data, body->len);

    if (v4 != INADDR_NONE
        || (body->len == 15
            && ngx_strncmp(body->data, "255.255.255.255", 15) == 0))
    {
        if (ngx_http_predictive_explain_try(zone, &v4, sizeof(in_addr_t), tag)
            == NGX_OK)
        {
            return NGX_OK;
        }

        /* a listening socket for both families has it mapped */

        ngx_memzero(addr, 10);
        ngx_memset(addr + 10, 0xff, 2);
        ngx_memcpy(addr + 12, &v4, sizeof(in_addr_t));

        return ngx_http_predictive_explain_try(zone, addr, 16, tag);
    }

#if (NGX_HAVE_INET6)
    if (ngx_inet6_addr(body->data, body->len, addr) == NGX_OK) {
        return ngx_http_predictive_explain_try(zone, addr, 16, tag);
    }
#endif

    return NGX_DECLINED;
}


/*
 * A bare token, address or agent where the key is of predictive_identity: by
 * its own rules, in an identity with this one source.
 */

static ngx_int_t
ngx_http_predictive_explain_identity(ngx_http_predictive_api_t *api,
    const char *kind, uint64_t *tag)
{
    char             key[PRD_IDENTITY_KEY_MAX];
    size_t           len, nwords;
    prd_rc_t         rc;
    ngx_int_t        found;
    ngx_str_t        body;
    prd_str_t        bad, words[4];
    const char      *why;
    prd_identity_t  *id;

    body = ngx_http_predictive_explain_line(&api->body);

    if (body.len == 0) {
        body = api->body;
    }

    id = NULL;
    why = "";

    words[0].data = kind;
    words[0].len = ngx_strlen(kind);
    words[1] = prd_str("$body");
    words[2] = prd_str("32");
    words[3] = prd_str("64");

    nwords = ngx_strcmp(kind, "address") == 0 ? 4 : 2;

    rc = prd_identity_create(ngx_http_predictive_explain_alloc,
                             api->request->pool, &id);
    if (rc == PRD_OK) {
        rc = prd_identity_add(id, words, nwords, &why, &bad);
    }

    if (rc == PRD_OK) {
        rc = prd_identity_end(id, &why);
    }

    if (rc == PRD_OK) {
        rc = prd_identity_key(id, ngx_http_predictive_explain_get, &body,
                              key, &len);
    }

    prd_identity_done(id);

    if (rc != PRD_OK) {
        return NGX_ERROR;
    }

    found = ngx_http_predictive_explain_try(api->zone, key, len, tag);

    if (found != NGX_OK && nwords == 4) {
        (void) ngx_http_predictive_explain_prefixes(api->zone, &body, tag);
    }

    return NGX_OK;
}


/*
 * Which prefix lengths an identity masks with is its own business; of those
 * that there are, the longest whose client is there.
 */

static ngx_int_t
ngx_http_predictive_explain_prefixes(ngx_http_predictive_zone_t *zone,
    ngx_str_t *body, uint64_t *tag)
{
    char        key[1 + PRD_ADDRESS_MAX];
    size_t      len;
    unsigned    prefix;
    ngx_uint_t  v6;
    prd_str_t   text;

    text.data = (char *) body->data;
    text.len = body->len;

    for (prefix = 128; /* void */ ; prefix--) {

        if (prd_identity_mask(text, ngx_min(prefix, 32), prefix, key + 1, &len)
            != PRD_OK)
        {
            return NGX_DECLINED;
        }

        v6 = (ngx_strlchr((u_char *) key + 1, (u_char *) key + 1 + len, ':')
              != NULL);

        key[0] = v6 ? '6' : '4';

        if ((v6 || prefix <= 32)
            && ngx_http_predictive_explain_try(zone, key, 1 + len, tag)
               == NGX_OK)
        {
            return NGX_OK;
        }

        if (prefix == 0) {
            return NGX_DECLINED;
        }
    }
}


/* The body without the line feed at its end. */

static ngx_str_t
ngx_http_predictive_explain_line(ngx_str_t *body)
{
    ngx_str_t  s;

    s = *body;

    if (s.len && s.data[s.len - 1] == '\n') {
        s.len--;

        if (s.len && s.data[s.len - 1] == '\r') {
            s.len--;
        }
    }

    return s;
}


static prd_rc_t
ngx_http_predictive_explain_get(void *data, size_t n, prd_str_t *value)
{
    ngx_str_t  *body;

    (void) n;

    body = data;

    value->len = body->len;
    value->data = (char *) body->data;

    return PRD_OK;
}


static void *
ngx_http_predictive_explain_alloc(void *data, size_t size)
{
    return ngx_palloc(data, size);
}


static void
ngx_http_predictive_explain_client(ngx_http_predictive_api_t *api,
    uint64_t tag, const char *form)
{
    prd_answer_t                     answer;
    ngx_array_t                      questions;
    ngx_http_predictive_json_t      *json;
    ngx_http_predictive_client_t     client;
    ngx_http_predictive_question_t  *q;

    json = &api->json;

    switch (ngx_http_predictive_explain_questions(api, &questions)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
            "\"rate\" must be a rate such as 10r/s, \"burst\" a number.", 0);
        return;

    default:
        json->failed = 1;
        return;
    }

    q = questions.elts;

    client.tag = tag;
    ngx_http_predictive_explain_read(&api->zone->view, &client);

    if (client.slot == PRD_NO_SLOT) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_NOT_FOUND,
            "The zone has no client of this key: it has sent nothing yet, or "
            "was forgotten. A request of it would be a newcomer's.", 1);

    } else {
        ngx_http_predictive_json_open(json, NULL, '{');
    }

    ngx_http_predictive_json_string(json, "zone", &api->zone->name);
    ngx_http_predictive_json_hex(json, "key", tag);

    if (form) {
        ngx_http_predictive_json_text(json, "read_as", form);
    }

    ngx_http_predictive_json_bool(json, "known", client.slot != PRD_NO_SLOT);

    if (client.slot != PRD_NO_SLOT) {
        ngx_http_predictive_explain_ask(api, &client, &q[0].ask, &answer);
        ngx_http_predictive_explain_known(api, &client, &answer);
    }

    ngx_http_predictive_explain_would(api, &client, &questions);
    ngx_http_predictive_explain_decisions(api, tag);

    ngx_http_predictive_json_close(json, '}');
}


/*
 * The words are read one by one while workers and the thread write them, and
 * the slot may be given to another client meanwhile: what was read counts only
 * if tag and generation are the same before and after.  The learned record is
 * 64 bytes that the thread writes once in a bin: it is copied until two copies
 * are the same.
 */

static void
ngx_http_predictive_explain_read(prd_view_t *view,
    ngx_http_predictive_client_t *client)
{
    uint64_t        tag;
    uint32_t        slot;
    ngx_uint_t      i;
    prd_entry_t    *e;
    prd_learned_t   again;

    tag = client->tag;

    ngx_memzero(client, sizeof(ngx_http_predictive_client_t));

    client->tag = tag;
    client->slot = PRD_NO_SLOT;

    slot = prd_table_find(&view->table, tag);

    if (slot == PRD_NO_SLOT) {
        return;
    }

    e = &view->table.entries[slot];

    client->envelope = atomic_load_explicit(&e->envelope,
                                            memory_order_acquire);
    client->state = atomic_load_explicit(&e->state, memory_order_relaxed);
    client->virtual_ = atomic_load_explicit(&e->virtual_,
                                            memory_order_relaxed);
    client->demand = atomic_load_explicit(&e->demand, memory_order_relaxed);
    client->refused = atomic_load_explicit(&e->refused, memory_order_relaxed);
    client->hours = atomic_load_explicit(&e->hours, memory_order_relaxed);
    client->hold = atomic_load_explicit(&e->hold, memory_order_relaxed);

    for (i = 0; i < NGX_HTTP_PREDICTIVE_EXPLAIN_TRIES; i++) {

        ngx_memcpy(&client->learned, &view->learned[slot],
                   sizeof(prd_learned_t));
        atomic_thread_fence(memory_order_seq_cst);
        ngx_memcpy(&again, &view->learned[slot], sizeof(prd_learned_t));

        if (ngx_memcmp(&client->learned, &again, sizeof(prd_learned_t)) == 0) {
            client->steady = 1;
            break;
        }
    }

    client->has_learned = (client->learned.sigma > 0
                           && client->learned.generation
                              == prd_env_generation(client->envelope));

    atomic_thread_fence(memory_order_acquire);

    if (atomic_load_explicit(&view->table.tags[slot], memory_order_relaxed)
        != tag
        || prd_env_generation(atomic_load_explicit(&e->envelope,
                                                   memory_order_relaxed))
           != prd_env_generation(client->envelope))
    {
        return;
    }

    client->slot = slot;
}


/*
 * What requests of the client would ask: each limit on the zone as it is
 * configured, or the zone's own values where there is none.  Arguments "rate"
 * and "burst" stand for what requests have in variables.  NGX_DECLINED: they
 * have no meaning.
 */

static ngx_int_t
ngx_http_predictive_explain_questions(ngx_http_predictive_api_t *api,
    ngx_array_t *questions)
{
    uint64_t                          n;
    ngx_str_t                         value;
    prd_str_t                         s;
    prd_rate_t                        rate;
    ngx_uint_t                        i, k, has_rate, has_burst;
    ngx_http_predictive_limit_t      *limits;
    ngx_http_predictive_question_t   *q;
    ngx_http_predictive_loc_conf_t  **levels;

    has_rate = 0;
    has_burst = 0;
    rate = 0;
    n = 0;

    if (ngx_http_predictive_api_arg(api, "rate", &value) == NGX_OK) {
        s.len = value.len;
        s.data = (char *) value.data;

        if (prd_parse_rate(s, &rate, NULL) != PRD_OK) {
            return NGX_DECLINED;
        }

        has_rate = 1;
    }

    if (ngx_http_predictive_api_arg(api, "burst", &value) == NGX_OK) {
        s.len = value.len;
        s.data = (char *) value.data;

        if (prd_parse_uint(s, 1000000000, &n) != PRD_OK) {
            return NGX_DECLINED;
        }

        has_burst = 1;
    }

    if (ngx_array_init(questions, api->request->pool, 2,
                       sizeof(ngx_http_predictive_question_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    levels = api->main->limits.elts;

    for (i = 0; i < api->main->limits.nelts; i++) {
        limits = levels[i]->limits.elts;

        for (k = 0; k < levels[i]->limits.nelts; k++) {

            if (limits[k].zone != api->zone
                || questions->nelts == NGX_HTTP_PREDICTIVE_EXPLAIN_LIMITS)
            {
                continue;
            }

            if (ngx_http_predictive_explain_question(api, questions,
                                                     &limits[k])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    if (questions->nelts == 0
        && ngx_http_predictive_explain_question(api, questions, NULL)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    q = questions->elts;

    for (i = 0; i < questions->nelts; i++) {

        if (has_rate) {
            q[i].ask.rate = rate;
        }

        if (has_burst) {
            q[i].ask.burst = ngx_http_predictive_units(api->zone,
                                                       n * PRD_MILLI);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_predictive_explain_question(ngx_http_predictive_api_t *api,
    ngx_array_t *questions, ngx_http_predictive_limit_t *limit)
{
    ngx_http_predictive_zone_t      *zone;
    ngx_http_predictive_question_t  *q;

    zone = api->zone;

    q = ngx_array_push(questions);
    if (q == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(q, sizeof(ngx_http_predictive_question_t));

    if (limit == NULL) {
        q->ask.rate = zone->params.rate;
        q->ask.burst = ngx_http_predictive_units(zone,
                                 (uint64_t) zone->params.burst * PRD_MILLI);
        q->ask.cost = ngx_http_predictive_units(zone,
                                                zone->params.cost_milli);
        q->ask.charged = (zone->charge != NULL);
        return NGX_OK;
    }

    q->ask = limit->ask;

    q->place.data = ngx_pnalloc(api->request->pool,
                                ngx_strlen(limit->file) + 1 + NGX_INT_T_LEN);
    if (q->place.data == NULL) {
        return NGX_ERROR;
    }

    q->place.len = ngx_sprintf(q->place.data, "%s:%ui", limit->file,
                               limit->line)
                   - q->place.data;

    return NGX_OK;
}


static void
ngx_http_predictive_explain_ask(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, prd_ask_t *ask, prd_answer_t *answer)
{
    prd_ask_t    a;
    prd_view_t  *view;

    view = &api->zone->view;

    a = *ask;
    a.tag = client->tag;
    a.now_ms = (uint32_t) ngx_current_msec;

    /* what a request holds whose charge is known only afterwards */

    if (a.charged) {
        a.cost = client->hold;

        if (a.cost == 0) {
            a.cost = atomic_load_explicit(&view->zone->hold,
                                          memory_order_relaxed);
        }
    }

    (void) prd_inspect(view, &api->zone->policy, &a, answer);

    if (answer->verdict == PRD_DELAYED && answer->delay_ms == 0) {
        answer->verdict = PRD_PASSED;
    }
}


static void
ngx_http_predictive_explain_known(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, prd_answer_t *answer)
{
    double                       unit, blocks;
    uint32_t                     now_ms, level, seen;
    uint64_t                     admitted;
    unsigned                     age;
    prd_terms_t                 *t;
    prd_pooled_t                *p;
    ngx_http_predictive_json_t  *json;

    json = &api->json;
    t = &answer->terms;
    unit = t->unit;
    now_ms = (uint32_t) ngx_current_msec;
    p = &api->zone->view.zone->pooled;

    level = prd_level_after(prd_word_level(client->state), t->rate, t->speed,
                            prd_word_ms(client->state),
                            prd_elapsed(prd_word_ms(client->state), now_ms),
                            t->unit);

    /* refused requests move the demand's time only */

    seen = ngx_min(prd_elapsed(prd_word_ms(client->state), now_ms),
                   prd_elapsed(prd_word_ms(client->virtual_), now_ms));

    admitted = ngx_max(t->limit, t->free);
    admitted = admitted * ngx_min(t->m, PRD_ONE_Q16) >> 16;

    ngx_http_predictive_json_open(json, "bucket", '{');
    ngx_http_predictive_json_number(json, "level", level / unit);
    ngx_http_predictive_json_number(json, "remaining",
                     admitted > level ? (double) (admitted - level) / unit : 0);
    ngx_http_predictive_json_number(json, "last_seen_seconds", seen / 1000.0);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_open(json, "envelope", '{');
    ngx_http_predictive_json_number(json, "rate",
                                    (double) t->rate / PRD_RATE_ONE);
    ngx_http_predictive_json_number(json, "depth", t->depth / unit);
    ngx_http_predictive_json_bool(json, "learned", t->learned);
    ngx_http_predictive_json_number(json, "trust",
                         (double) prd_env_trust(client->envelope) / PRD_TRUSTS);
    ngx_http_predictive_json_uint(json, "hours", client->hours);
    ngx_http_predictive_json_uint(json, "blocks",
                          client->has_learned ? client->learned.blocks : 0);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_explain_learned(json, client);
    ngx_http_predictive_explain_forecast(api, client);

    /* what was measured of clients that are known as well as this one */

    age = prd_age(client->has_learned ? client->learned.blocks : 0);
    blocks = p->closed[age];

    ngx_http_predictive_json_float(json, "confidence",
                             blocks > 0 ? 1 - p->missed[age] / blocks : NAN);
    ngx_http_predictive_json_text(json, "confidence_class",
                                  ngx_http_predictive_ages[age]);

    ngx_http_predictive_json_uint(json, "refused", client->refused);

    ngx_http_predictive_json_open(json, "bin", '{');
    ngx_http_predictive_json_number(json, "admitted",
                                    (double) (client->demand >> 32) / unit);
    ngx_http_predictive_json_number(json, "peak_backlog",
                                    (uint32_t) client->demand / unit);
    ngx_http_predictive_json_close(json, '}');

    if (client->slot != PRD_NO_SLOT) {
        ngx_http_predictive_outlook_client(api, client->slot,
                        (uint16_t) prd_env_generation(client->envelope));

    } else {
        ngx_http_predictive_json_null(json, "group");
    }

    ngx_http_predictive_json_null(json, "pool");
}


/* As the thread keeps it: logarithms to the base of 2, tokens. */

static void
ngx_http_predictive_explain_learned(ngx_http_predictive_json_t *json,
    ngx_http_predictive_client_t *client)
{
    prd_learned_t  *l;

    if (!client->has_learned) {
        ngx_http_predictive_json_null(json, "learned");
        return;
    }

    l = &client->learned;

    ngx_http_predictive_json_open(json, "learned", '{');
    ngx_http_predictive_json_float(json, "depth", l->depth);
    ngx_http_predictive_json_float(json, "rate", l->rate);
    ngx_http_predictive_json_float(json, "depth_cap", l->cap_depth);
    ngx_http_predictive_json_float(json, "rate_cap", l->cap_rate);
    ngx_http_predictive_json_float(json, "peak_log2_mean", l->mu);
    ngx_http_predictive_json_float(json, "peak_log2_spread", l->sigma);
    ngx_http_predictive_json_float(json, "hourly_log2_mean", l->mu_rate);
    ngx_http_predictive_json_float(json, "hourly_log2_spread", l->sigma_rate);
    ngx_http_predictive_json_float(json, "this_hour", l->count);
    ngx_http_predictive_json_uint(json, "blocks", l->blocks);
    ngx_http_predictive_json_uint(json, "hours", l->hours);
    ngx_http_predictive_json_bool(json, "steady", client->steady);
    ngx_http_predictive_json_close(json, '}');
}


static void
ngx_http_predictive_explain_forecast(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client)
{
    double                       upper, lower, level, now_s;
    ngx_uint_t                   i;
    prd_pooled_t                *p;
    prd_learned_t               *l;
    const prd_params_t          *params;
    prd_envelope_terms_t         terms;
    ngx_http_predictive_json_t  *json;

    json = &api->json;
    l = &client->learned;
    p = &api->zone->view.zone->pooled;
    params = &api->zone->policy.params;

    terms.alpha = 1 - params->confidence_ppm / 1e6;
    terms.horizon_s = ngx_max(params->horizon_s, PRD_BIN_S);
    terms.learning = 0;

    now_s = (double) ngx_time();
    upper = NAN;
    lower = NAN;
    level = NAN;

    if (client->has_learned && l->level > 0) {
        upper = prd_learned_forecast(l, p, &terms, now_s);

        i = prd_learned_outlook(l, &terms, now_s, &level);
        lower = level * exp2(ngx_http_predictive_explain_quantile(
                                 &p->near[i],
                                 NGX_HTTP_PREDICTIVE_EXPLAIN_TAIL));
        lower = ngx_min(lower, upper);
    }

    ngx_http_predictive_json_open(json, "forecast", '{');
    ngx_http_predictive_json_number(json, "horizon_seconds", terms.horizon_s);
    ngx_http_predictive_json_float(json, "level_rps", level);
    ngx_http_predictive_json_float(json, "upper_rps", upper);
    ngx_http_predictive_json_open(json, "curve", '[');
    ngx_http_predictive_json_open(json, NULL, '{');
    ngx_http_predictive_json_number(json, "horizon_seconds", terms.horizon_s);
    ngx_http_predictive_json_float(json, "lower_rps", lower);
    ngx_http_predictive_json_float(json, "upper_rps", upper);
    ngx_http_predictive_json_close(json, '}');

    if (client->slot != PRD_NO_SLOT) {
        ngx_http_predictive_outlook_points(api, client->slot,
                        (uint16_t) prd_env_generation(client->envelope));
    }

    ngx_http_predictive_json_close(json, ']');
    ngx_http_predictive_json_close(json, '}');
}


/*
 * The score that a share of the votes is below; -inf where that is in the
 * lowest cell, whose votes stand for "nothing came".
 */

static double
ngx_http_predictive_explain_quantile(prd_scores_t *scores, double share)
{
    double      sum, most;
    ngx_uint_t  i;

    sum = 0;

    for (i = 0; i < PRD_CELLS; i++) {
        sum += scores->cell[i];
    }

    most = sum * share;
    sum = 0;

    for (i = 0; i < PRD_CELLS; i++) {

        if (scores->cell[i] > 0 && sum + scores->cell[i] >= most) {
            break;
        }

        sum += scores->cell[i];
    }

    if (i == 0 || i == PRD_CELLS) {
        return -INFINITY;
    }

    return NGX_HTTP_PREDICTIVE_EXPLAIN_LOW
           + NGX_HTTP_PREDICTIVE_EXPLAIN_CELL
             * ((double) i + (most - sum) / scores->cell[i]);
}


/* Now; by the first limit on the zone, and by all where there are several. */

static void
ngx_http_predictive_explain_would(ngx_http_predictive_api_t *api,
    ngx_http_predictive_client_t *client, ngx_array_t *questions)
{
    ngx_uint_t                       i;
    prd_answer_t                     answer;
    ngx_http_predictive_json_t      *json;
    ngx_http_predictive_verdict_t    v;
    ngx_http_predictive_question_t  *q;

    json = &api->json;
    q = questions->elts;

    ngx_http_predictive_explain_ask(api, client, &q[0].ask, &answer);
    ngx_http_predictive_explain_answer(api->zone, &answer, &v);

    ngx_http_predictive_json_open(json, "would_be", '{');
    ngx_http_predictive_explain_verdict(json, &v);
    ngx_http_predictive_json_close(json, '}');

    ngx_http_predictive_json_open(json, "limits", '[');

    for (i = 0; i < questions->nelts && q[i].place.len; i++) {

        ngx_http_predictive_explain_ask(api, client, &q[i].ask, &answer);
        ngx_http_predictive_explain_answer(api->zone, &answer, &v);

        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_string(json, "where", &q[i].place);
        ngx_http_predictive_explain_verdict(json, &v);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
}


static void
ngx_http_predictive_explain_answer(ngx_http_predictive_zone_t *zone,
    prd_answer_t *answer, ngx_http_predictive_verdict_t *v)
{
    double        unit;
    prd_terms_t  *t;

    t = &answer->terms;
    unit = t->unit;

    v->verdict = answer->verdict;
    v->reason = answer->reason;
    v->level = answer->level / unit;
    v->cost = answer->cost / unit;
    v->rate = (double) t->rate / PRD_RATE_ONE;
    v->depth = t->depth / unit;
    v->free = t->free / unit;
    v->limit = t->limit / unit;
    v->m = t->m == PRD_M_INF ? INFINITY : (double) t->m / PRD_ONE_Q16;
    v->fill = zone->policy.pool.capacity ? (double) answer->fill / PRD_ONE_Q16
                                         : NAN;
    v->delay = answer->verdict == PRD_DELAYED ? answer->delay_ms / 1000.0 : 0;
    v->learned = t->learned;
    v->dry_run = 0;
}


/* Newest first. */

static void
ngx_http_predictive_explain_decisions(ngx_http_predictive_api_t *api,
    uint64_t tag)
{
    double                          unit;
    uint32_t                        n;
    ngx_uint_t                      i;
    prd_decision_t                 *d;
    ngx_http_predictive_json_t     *json;
    ngx_http_predictive_verdict_t   v;

    json = &api->json;

    d = ngx_palloc(api->request->pool, NGX_HTTP_PREDICTIVE_EXPLAIN_DECISIONS
                                       * sizeof(prd_decision_t));
    if (d == NULL) {
        json->failed = 1;
        return;
    }

    n = prd_zone_decisions(&api->zone->view, tag, d,
                           NGX_HTTP_PREDICTIVE_EXPLAIN_DECISIONS);

    unit = api->zone->view.zone->unit;

    ngx_http_predictive_json_open(json, "decisions", '[');

    for (i = 0; i < n; i++) {
        v.verdict = d[i].verdict;
        v.reason = d[i].reason;
        v.level = d[i].level / unit;
        v.cost = d[i].cost / unit;
        v.rate = (double) d[i].rate / PRD_RATE_ONE;
        v.depth = d[i].depth / unit;
        v.free = NAN;
        v.limit = d[i].limit / unit;
        v.m = d[i].m == PRD_M_INF ? INFINITY : (double) d[i].m / PRD_ONE_Q16;
        v.fill = api->zone->policy.pool.capacity
                 ? (double) d[i].fill / PRD_ONE_Q16 : NAN;
        v.delay = d[i].delay_ms / 1000.0;
        v.learned = (d[i].reason == PRD_REASON_ABOVE_FORECAST);
        v.dry_run = (d[i].dry_run != 0);

        ngx_http_predictive_json_open(json, NULL, '{');
        ngx_http_predictive_json_number(json, "t", d[i].time_ms / 1000.0);
        ngx_http_predictive_json_bool(json, "dry_run", v.dry_run);
        ngx_http_predictive_explain_verdict(json, &v);
        ngx_http_predictive_json_close(json, '}');
    }

    ngx_http_predictive_json_close(json, ']');
}


static void
ngx_http_predictive_explain_verdict(ngx_http_predictive_json_t *json,
    ngx_http_predictive_verdict_t *v)
{
    ngx_http_predictive_json_text(json, "verdict",
                                  prd_verdict_name(v->verdict));
    ngx_http_predictive_json_text(json, "reason", prd_reason_name(v->reason));
    ngx_http_predictive_json_number(json, "level", v->level);
    ngx_http_predictive_json_number(json, "cost", v->cost);
    ngx_http_predictive_json_number(json, "rate", v->rate);
    ngx_http_predictive_json_number(json, "depth", v->depth);
    ngx_http_predictive_json_number(json, "free", v->free);
    ngx_http_predictive_json_number(json, "limit", v->limit);
    ngx_http_predictive_json_float(json, "m", v->m);
    ngx_http_predictive_json_bool(json, "unlimited", isinf(v->m));
    ngx_http_predictive_json_float(json, "fill", v->fill);
    ngx_http_predictive_json_number(json, "delay_seconds", v->delay);

    ngx_http_predictive_explain_why(json, v);
}


/* One sentence, with the numbers that decided. */

static void
ngx_http_predictive_explain_why(ngx_http_predictive_json_t *json,
    ngx_http_predictive_verdict_t *v)
{
    u_char      buf[512], *p, *last;
    ngx_str_t   s;

    p = buf;
    last = buf + sizeof(buf);

    switch (v->verdict) {

    case PRD_PASSED:

        if (v->level > v->free) {
            p = ngx_slprintf(p, last, "passes: a cost of %.1f is more than the "
                             "bucket ever holds, and it is empty", v->cost);
            break;
        }

        p = ngx_slprintf(p, last, "passes: level %.1f is within the %.1f that "
                         "pass at once%s", v->level, v->free,
                         v->learned ? ", as learned" : "");
        break;

    case PRD_BORROWED:
        p = ngx_slprintf(p, last, "borrows: level %.1f is above the %.1f that "
                         "pass at once", v->level, ngx_max(v->free, v->depth));
        p = ngx_http_predictive_explain_pool(p, last, v);
        break;

    case PRD_DELAYED:
        p = ngx_slprintf(p, last, "%s by %.3f s: level %.1f is above what "
                         "passes at once and within burst + 1 = %.1f",
                         v->dry_run ? "would have been delayed" : "delayed",
                         v->delay, v->level, v->limit);

        if (v->m < 1) {
            p = ngx_http_predictive_explain_pool(p, last, v);
        }

        break;

    default:
        p = ngx_slprintf(p, last, "%s: ",
                         v->dry_run ? "would have been refused" : "refused");

        switch (v->reason) {

        case PRD_REASON_SCARCE:
            p = ngx_slprintf(p, last, "level %.1f is within depth %.1f",
                             v->level, v->depth);
            p = ngx_http_predictive_explain_pool(p, last, v);
            break;

        case PRD_REASON_NEWCOMER:
            p = ngx_slprintf(p, last, "the client is new, and the newcomer= "
                             "key that it shares with others is above its "
                             "envelope");
            break;

        case PRD_REASON_ZONE_FULL:
            p = ngx_slprintf(p, last, "the zone had no slot for the client, "
                             "and the bucket of all who have none is at level "
                             "%.1f, above %.1f", v->level, v->limit);
            break;

        case PRD_REASON_STORE:
            p = ngx_slprintf(p, last, "the store could not be asked");
            break;

        case PRD_REASON_QUOTA:
            p = ngx_slprintf(p, last, "level %.1f is above burst + 1 = %.1f "
                             "at %.3f r/s", v->level, v->limit, v->rate);
            p = ngx_http_predictive_explain_pool(p, last, v);
            break;

        default:
            p = ngx_slprintf(p, last, "level %.1f is above depth %.1f",
                             v->level, v->depth);
            p = ngx_http_predictive_explain_pool(p, last, v);
            break;
        }
    }

    s.data = buf;
    s.len = p - buf;

    ngx_http_predictive_json_string(json, "why", &s);
}


static u_char *
ngx_http_predictive_explain_pool(u_char *p, u_char *last,
    ngx_http_predictive_verdict_t *v)
{
    if (isnan(v->fill)) {
        return ngx_slprintf(p, last, ", and there is no pool to borrow from");
    }

    /* ngx_slprintf() knows no "%+d" and truncates towards zero */

    p = ngx_slprintf(p, last, ", and the pool at %i %% ",
                     (ngx_int_t) lrint(v->fill * 100));

    if (isinf(v->m)) {
        return ngx_slprintf(p, last, "lends without a limit");
    }

    if (v->m > 1) {
        return ngx_slprintf(p, last, "lends up to %.2f envelopes (m %.2f)",
                            v->m, v->m);
    }

    if (v->m < 1) {
        return ngx_slprintf(p, last, "leaves %i %% of it (m %.2f)",
                            (ngx_int_t) lrint(v->m * 100), v->m);
    }

    return ngx_slprintf(p, last, "lends nothing (m 1.00)");
}
