
/*
 * For tests: commands to a predictive_store by HTTP.
 *
 *     location /redis { prdtest_redis STORE; }
 *
 * The arguments of a request, values percent-encoded:
 *
 *     script=TEXT     EVAL of it, with keys=A,B and args=C,D
 *     command=A,B,C   any command; key=N is the index of its key
 *     n=N             so many at once; "@" in a value is the number of each
 *     timeout=MS      1000
 *     late=1          waits for late replies, too
 *     cancel=1        cancels each second call at once
 *     again=1         each call makes another from within its handler
 *
 * The answer is one line of NAME=VALUE, when all calls have been answered.
 */


#include "ngx_http_predictive_redis.h"


#define NGX_HTTP_PRDTEST_WORDS  32


typedef struct {
    ngx_http_request_t            *request;
    ngx_http_predictive_store_t   *store;
    ngx_http_predictive_script_t  *script;
    ngx_str_t                      words[NGX_HTTP_PRDTEST_WORDS];
    ngx_uint_t                     nwords;
    ngx_uint_t                     nkeys;
    ngx_int_t                      key;
    ngx_msec_t                     timeout;

    ngx_uint_t                     calls;
    ngx_uint_t                     open;        /* handlers to be called */
    ngx_uint_t                     inside;      /* a call: no handler may be */
    ngx_uint_t                     early;       /* ... but was */
    ngx_uint_t                     counts[5];   /* by status */
    ngx_uint_t                     lates[5];
    ngx_str_t                      first;       /* of the replies */
    ngx_str_t                      error;       /* the last */

    unsigned                       late:1;
    unsigned                       cancel:1;
    unsigned                       again:1;
} ngx_http_prdtest_t;


typedef struct {
    ngx_http_prdtest_t            *test;
    ngx_http_predictive_call_t    *call;
} ngx_http_prdtest_call_t;


static char *ngx_http_prdtest_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void *ngx_http_prdtest_create_loc_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_prdtest_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_prdtest_call(ngx_http_prdtest_t *test,
    ngx_uint_t n);
static void ngx_http_prdtest_reply(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_prdtest_late(void *data,
    ngx_http_predictive_answer_t *answer);
static void ngx_http_prdtest_done(ngx_http_prdtest_t *test);
static void ngx_http_prdtest_cleanup(void *data);


typedef struct {
    ngx_str_t                      store;
} ngx_http_prdtest_conf_t;


static ngx_command_t  ngx_http_prdtest_commands[] = {

    { ngx_string("prdtest_redis"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_prdtest_redis,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_prdtest_conf_t, store),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_prdtest_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_prdtest_create_loc_conf,      /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_prdtest_module = {
    NGX_MODULE_V1,
    &ngx_http_prdtest_module_ctx,          /* module context */
    ngx_http_prdtest_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_prdtest_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_prdtest_conf_t));
}


static char *
ngx_http_prdtest_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_prdtest_handler;

    return ngx_conf_set_str_slot(cf, cmd, conf);
}


/* An argument of the request, decoded; empty if it is not there. */

static ngx_str_t
ngx_http_prdtest_arg(ngx_http_request_t *r, const char *name)
{
    u_char     *src, *dst;
    ngx_str_t   value, s;

    ngx_str_null(&s);

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &value) != NGX_OK) {
        return s;
    }

    s.data = ngx_pnalloc(r->pool, value.len + 1);
    if (s.data == NULL) {
        return s;
    }

    src = value.data;
    dst = s.data;

    ngx_unescape_uri(&dst, &src, value.len, 0);

    s.len = dst - s.data;

    return s;
}


static ngx_int_t
ngx_http_prdtest_number(ngx_http_request_t *r, const char *name,
    ngx_int_t value)
{
    ngx_str_t  s;

    s = ngx_http_prdtest_arg(r, name);

    return s.len ? ngx_atoi(s.data, s.len) : value;
}


static void
ngx_http_prdtest_split(ngx_http_prdtest_t *test, ngx_str_t s)
{
    u_char  *p, *last;

    last = s.data + s.len;

    while (s.len && test->nwords < NGX_HTTP_PRDTEST_WORDS) {

        for (p = s.data; p < last && *p != ','; p++) { /* void */ }

        test->words[test->nwords].data = s.data;
        test->words[test->nwords++].len = p - s.data;

        if (p == last) {
            break;
        }

        s.data = p + 1;
    }
}


/* Scripts are kept: those of the product are constants. */

static ngx_http_predictive_script_t *
ngx_http_prdtest_script(ngx_str_t *body)
{
    u_char                               *p;
    ngx_uint_t                            i;
    static ngx_http_predictive_script_t   scripts[16];

    for (i = 0; i < 16 && scripts[i].body.len; i++) {
        if (scripts[i].body.len == body->len
            && ngx_memcmp(scripts[i].body.data, body->data, body->len) == 0)
        {
            return &scripts[i];
        }
    }

    p = i < 16 ? ngx_pnalloc(ngx_cycle->pool, body->len) : NULL;

    if (p == NULL) {
        return NULL;
    }

    ngx_memcpy(p, body->data, body->len);
    ngx_http_predictive_script_init(&scripts[i], (char *) p, body->len);

    return &scripts[i];
}


static ngx_int_t
ngx_http_prdtest_handler(ngx_http_request_t *r)
{
    ngx_int_t                         rc;
    ngx_str_t                         s;
    ngx_uint_t                        i, n;
    ngx_pool_cleanup_t               *cln;
    ngx_http_prdtest_t               *test;
    ngx_http_prdtest_conf_t          *conf;
    ngx_http_predictive_main_conf_t  *pmcf;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_http_prdtest_module);
    pmcf = ngx_http_get_module_main_conf(r, ngx_http_predictive_module);

    test = ngx_pcalloc(r->pool, sizeof(ngx_http_prdtest_t));
    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (test == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    test->store = ngx_http_predictive_find_store(pmcf, &conf->store);
    if (test->store == NULL) {
        return NGX_HTTP_NOT_FOUND;
    }

    cln->handler = ngx_http_prdtest_cleanup;
    cln->data = test;

    test->request = r;
    test->timeout = ngx_http_prdtest_number(r, "timeout", 1000);
    test->key = ngx_http_prdtest_number(r, "key", -1);
    test->late = ngx_http_prdtest_number(r, "late", 0);
    test->cancel = ngx_http_prdtest_number(r, "cancel", 0);
    test->again = ngx_http_prdtest_number(r, "again", 0);

    s = ngx_http_prdtest_arg(r, "script");

    if (s.len) {
        test->script = ngx_http_prdtest_script(&s);
        if (test->script == NULL) {
            return NGX_ERROR;
        }

        ngx_http_prdtest_split(test, ngx_http_prdtest_arg(r, "keys"));
        test->nkeys = test->nwords;
        ngx_http_prdtest_split(test, ngx_http_prdtest_arg(r, "args"));

    } else {
        ngx_http_prdtest_split(test, ngx_http_prdtest_arg(r, "command"));
    }

    n = ngx_http_prdtest_number(r, "n", 1);

    if (ngx_http_prdtest_number(r, "up", 0)
        && !ngx_http_predictive_redis_up(test->store))
    {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    r->main->count++;
    test->open = 1;

    for (i = 0; i < n; i++) {
        if (ngx_http_prdtest_call(test, i) != NGX_OK) {
            break;
        }
    }

    test->open--;

    ngx_http_prdtest_done(test);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_prdtest_call(ngx_http_prdtest_t *test, ngx_uint_t n)
{
    u_char                   *p;
    ngx_str_t                 argv[NGX_HTTP_PRDTEST_WORDS];
    ngx_uint_t                i, k;
    ngx_http_prdtest_call_t  *c;

    /* it outlives the request */

    c = ngx_calloc(sizeof(ngx_http_prdtest_call_t), ngx_cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->test = test;

    for (i = 0; i < test->nwords; i++) {

        argv[i].data = ngx_pnalloc(test->request->pool,
                                   test->words[i].len * NGX_INT_T_LEN + 1);
        if (argv[i].data == NULL) {
            return NGX_ERROR;
        }

        p = argv[i].data;

        for (k = 0; k < test->words[i].len; k++) {
            if (test->words[i].data[k] == '@') {
                p = ngx_sprintf(p, "%ui", n);

            } else {
                *p++ = test->words[i].data[k];
            }
        }

        argv[i].len = p - argv[i].data;
    }

    test->inside = 1;
    test->calls++;
    test->open++;

    if (test->script) {
        c->call = ngx_http_predictive_redis_eval(test->store, test->script,
                               test->nkeys, argv, test->nwords, test->timeout,
                               ngx_http_prdtest_reply, c);

    } else {
        c->call = ngx_http_predictive_redis_command(test->store, test->key,
                               argv, test->nwords, test->timeout,
                               ngx_http_prdtest_reply, c);
    }

    test->inside = 0;

    /* copied: what we gave may change at once */

    for (i = 0; i < test->nwords; i++) {
        ngx_memset(argv[i].data, 'x', argv[i].len);
    }

    if (c->call == NULL) {
        test->open--;
        ngx_free(c);
        return NGX_ERROR;
    }

    if (test->late) {
        c->call->late = ngx_http_prdtest_late;
    }

    if (test->cancel && n % 2) {
        ngx_http_predictive_redis_cancel(c->call);
        test->open--;
        ngx_free(c);
    }

    return NGX_OK;
}


static void
ngx_http_prdtest_reply(void *data, ngx_http_predictive_answer_t *answer)
{
    ngx_http_prdtest_call_t *c = data;

    u_char              *p;
    ngx_http_prdtest_t  *test;

    test = c->test;

    test->early += test->inside;
    test->counts[answer->status]++;

    if (answer->error.len) {
        test->error.data = ngx_pstrdup(test->request->pool, &answer->error);
        test->error.len = test->error.data ? answer->error.len : 0;
    }

    if (answer->reply && test->first.data == NULL) {
        p = ngx_pnalloc(test->request->pool, 1024);

        if (p) {
            test->first.data = p;

            switch (answer->reply->type) {

            case REDIS_REPLY_INTEGER:
                p = ngx_sprintf(p, "%L", (int64_t) answer->reply->integer);
                break;

            case REDIS_REPLY_STRING:
            case REDIS_REPLY_STATUS:
                p = ngx_cpymem(p, answer->reply->str,
                               ngx_min((size_t) answer->reply->len, 1024));
                break;

            case REDIS_REPLY_ARRAY:
                p = ngx_sprintf(p, "array(%uz)",
                                (size_t) answer->reply->elements);
                break;

            default:
                p = ngx_sprintf(p, "nil");
            }

            test->first.len = p - test->first.data;
        }
    }

    if (test->again) {
        test->again = 0;
        (void) ngx_http_prdtest_call(test, 0);
    }

    if (answer->status == NGX_HTTP_PREDICTIVE_REPLY_TIMEOUT && test->late) {
        return;
    }

    ngx_free(c);

    test->open--;
    ngx_http_prdtest_done(test);
}


static void
ngx_http_prdtest_late(void *data, ngx_http_predictive_answer_t *answer)
{
    ngx_http_prdtest_call_t *c = data;

    ngx_http_prdtest_t  *test;

    test = c->test;

    test->lates[answer->status]++;

    ngx_free(c);

    test->open--;
    ngx_http_prdtest_done(test);
}


static void
ngx_http_prdtest_done(ngx_http_prdtest_t *test)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;
    ngx_connection_t    *c;

    if (test->open) {
        return;
    }

    r = test->request;
    c = r->connection;

    b = ngx_create_temp_buf(r->pool, 512 + test->first.len + test->error.len);
    if (b == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    b->last = ngx_sprintf(b->pos, "calls=%ui ok=%ui error=%ui timeout=%ui "
                          "lost=%ui down=%ui late_ok=%ui late_error=%ui "
                          "late_lost=%ui early=%ui first=%V; text=%V\n",
                          test->calls, test->counts[0], test->counts[1],
                          test->counts[2], test->counts[3], test->counts[4],
                          test->lates[0], test->lates[1], test->lates[3],
                          test->early, &test->first, &test->error);
    b->last_buf = 1;
    b->last_in_chain = 1;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_send_header(r);

    if (rc != NGX_ERROR && rc <= NGX_OK && !r->header_only) {
        rc = ngx_http_output_filter(r, &out);
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


/* Tests do not go away before their calls. */

static void
ngx_http_prdtest_cleanup(void *data)
{
    ngx_http_prdtest_t *test = data;

    if (test->open) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "prdtest: %ui calls are open", test->open);
    }
}
