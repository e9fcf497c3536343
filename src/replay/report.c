
#include <stdarg.h>
#include <stdlib.h>

#include "report.h"


#define RPL_NUMBERS  8                   /* printed at once */


static int
rpl_rank_compare(const void *a, const void *b)
{
    const rpl_rank_t  *x = a, *y = b;

    if (x->value != y->value) {
        return x->value > y->value ? -1 : 1;
    }

    return x->client < y->client ? -1 : x->client > y->client;
}


/* The greatest of them; value() may be 0: not listed. */

static rpl_rank_t *
rpl_report_rank(const rpl_report_t *r, uint64_t (*value)(const rpl_client_t *),
    size_t *n, uint64_t *all)
{
    size_t       k;
    uint32_t     i;
    uint64_t     v;
    rpl_rank_t  *rank;

    rank = rpl_alloc(((size_t) r->clients->nwhy + 1) * sizeof(rpl_rank_t));

    for (i = 1, k = 0; i < r->clients->nwhy; i++) {
        v = value(&r->clients->client[r->clients->why[i].client]);

        if (v) {
            rank[k].value = v;
            rank[k++].client = r->clients->why[i].client;
        }
    }

    qsort(rank, k, sizeof(rpl_rank_t), rpl_rank_compare);

    *all = k;
    *n = prd_min(k, r->args->top);

    return rank;
}


static uint64_t
rpl_value_limited(const rpl_client_t *c)
{
    return (uint64_t) c->delayed + c->refused;
}


static uint64_t
rpl_value_honest(const rpl_client_t *c)
{
    return c->honest;
}


void
rpl_report_init(rpl_report_t *r, const rpl_args_t *args, rpl_replay_t *replay)
{
    int                  n;
    unsigned             a;
    uint32_t             i;
    const prd_pooled_t  *p;

    memset(r, 0, sizeof(rpl_report_t));

    r->args = args;
    r->replay = replay;
    r->t = rpl_replay_totals(replay);
    r->clients = rpl_replay_clients(replay);
    r->view = rpl_replay_view(replay);

    r->limited = r->t->verdict[PRD_DELAYED] + r->t->verdict[PRD_REJECTED];
    r->their_limited = r->t->their_delayed + r->t->their_refused;

    r->hit = rpl_report_rank(r, rpl_value_limited, &r->nhit, &r->nlimited);
    r->looks = rpl_report_rank(r, rpl_value_honest, &r->nlooks, &r->honest);

    if (r->view != NULL) {
        p = &r->view->zone->pooled;

        for (a = 0; a < PRD_AGES; a++) {
            r->closed[RPL_ALL][a] = p->closed[a];
            r->missed[RPL_ALL][a] = p->missed[a];

            if (r->t->warmed) {
                r->closed[RPL_WARM][a] = p->closed[a] - r->t->closed[a];
                r->missed[RPL_WARM][a] = p->missed[a] - r->t->missed[a];
            }

            for (i = 0; i < 2; i++) {
                r->closed[i][PRD_AGES] += r->closed[i][a];
                r->missed[i][PRD_AGES] += r->missed[i][a];
            }
        }
    }

    n = snprintf(r->rate, sizeof(r->rate), "rate=%gr/s burst=%u",
                 args->replay.their_rate / 1000.0,
                 args->replay.their_burst / 1000);

    if (args->replay.their_delay == UINT32_MAX) {
        snprintf(r->rate + n, sizeof(r->rate) - (size_t) n, " nodelay");

    } else if (args->replay.their_delay) {
        snprintf(r->rate + n, sizeof(r->rate) - (size_t) n, " delay=%u",
                 args->replay.their_delay / 1000);
    }
}


void
rpl_report_done(rpl_report_t *r)
{
    free(r->hit);
    free(r->looks);
}


int
rpl_report_failed(const rpl_report_t *r)
{
    return r->args->max_limited_ppm != UINT32_MAX
           && (double) r->limited * 1e6
              > (double) r->args->max_limited_ppm * (double) r->t->requests;
}


const char *
rpl_report_age(unsigned age)
{
    static const char *const  names[] = {
        "0", "1-2", "3-7", "8-31", "32-127", "128+", "all"
    };

    return names[prd_min(age, PRD_AGES)];
}


/* "1,234,567" in one of a few buffers of the caller */

typedef struct {
    char      text[RPL_NUMBERS][32];
    unsigned  next;
} rpl_numbers_t;


static const char *
rpl_number(rpl_numbers_t *b, uint64_t n)
{
    char      digits[24], *out;
    size_t    i, len;

    len = (size_t) snprintf(digits, sizeof(digits), "%llu",
                            (unsigned long long) n);
    out = b->text[b->next++ % RPL_NUMBERS];

    for (i = 0; i < len; i++) {

        if (i && (len - i) % 3 == 0) {
            *out++ = ',';
        }

        *out++ = digits[i];
    }

    *out = '\0';

    return b->text[(b->next - 1) % RPL_NUMBERS];
}


static double
rpl_percent(double part, double all)
{
    return all > 0 ? 100 * part / all : 0;
}


/* Keys come out of requests: what a terminal would obey is written as \xHH. */

static void
rpl_print_key(const rpl_report_t *r, const rpl_client_t *client, FILE *f)
{
    size_t         i;
    prd_str_t      key;
    unsigned char  c;

    if (r->args->hash) {
        fprintf(f, "%016llx", (unsigned long long) client->tag);
        return;
    }

    key = rpl_client_key(client);

    for (i = 0; i < key.len && i < 200; i++) {
        c = (unsigned char) key.data[i];

        if (c < 0x20 || c >= 0x7f) {
            fprintf(f, "\\x%02X", c);

        } else {
            putc(c, f);
        }
    }

    if (i < key.len) {
        fprintf(f, "...");
    }
}


static const char *
rpl_print_time(const rpl_report_t *r, uint32_t at_s, char *buf)
{
    return rpl_stamp_print(rpl_replay_time(r->replay, at_s), buf);
}


static void
rpl_text_span(int64_t us, FILE *f)
{
    int64_t  s;

    s = us / 1000000;

    if (s >= 86400) {
        fprintf(f, "%lld d %lld h", (long long) s / 86400,
                (long long) s / 3600 % 24);

    } else if (s >= 3600) {
        fprintf(f, "%lld h %lld min", (long long) s / 3600,
                (long long) s / 60 % 60);

    } else {
        fprintf(f, "%lld min %lld s", (long long) s / 60, (long long) s % 60);
    }
}


static void
rpl_text_head(const rpl_report_t *r, rpl_numbers_t *n, FILE *f)
{
    char                 from[RPL_STAMP_TEXT], to[RPL_STAMP_TEXT];
    const rpl_totals_t  *t;
    const prd_params_t  *p;

    t = r->t;
    p = &rpl_replay_policy(r->replay)->params;

    fprintf(f, "%s requests of %s clients", rpl_number(n, t->requests),
            rpl_number(n, r->clients->nclients));

    if (t->requests) {
        fprintf(f, ", %s to %s%s (", rpl_stamp_print(t->first_us, from),
                rpl_stamp_print(t->last_us, to),
                strchr(to, '-') != NULL ? " UTC" : "");
        rpl_text_span(t->last_us - t->first_us, f);
        fprintf(f, ")");
    }

    fprintf(f, "\n");

    if (p->rate) {
        fprintf(f, "baseline %gr/s", (double) p->rate / PRD_RATE_ONE);

    } else {
        fprintf(f, p->rate_set ? "a baseline of each request's own"
                               : "no baseline: all is learned");
    }

    if (p->capacity) {
        fprintf(f, ", capacity %gr/s", (double) p->capacity / PRD_RATE_ONE);

    } else {
        fprintf(f, ", no capacity: nothing to borrow from");
    }

    if (p->learn == PRD_LEARN_OFF) {
        fprintf(f, ", without learning\n");

    } else {
        fprintf(f, ", warm-up ");
        rpl_text_span((int64_t) p->warmup_s * 1000000, f);
        fprintf(f, "%s%s\n", t->requests && !t->warmed
                ? ": longer than the log" : "",
                p->learn == PRD_LEARN_OBSERVE ? ", only observed" : "");
    }
}


static void
rpl_text_row(const rpl_report_t *r, rpl_numbers_t *n, const char *name,
    uint64_t count, FILE *f)
{
    fprintf(f, "  %-24s %15s %9.4f %%\n", name, rpl_number(n, count),
            rpl_percent((double) count, (double) r->t->requests));
}


static void
rpl_text_verdicts(const rpl_report_t *r, rpl_numbers_t *n, FILE *f)
{
    unsigned             i, k;
    char                 name[64];
    const rpl_totals_t  *t;

    t = r->t;

    fprintf(f, "\nVerdicts\n");
    rpl_text_row(r, n, "passed", t->verdict[PRD_PASSED], f);
    rpl_text_row(r, n, "borrowed", t->verdict[PRD_BORROWED], f);
    rpl_text_row(r, n, "delayed", t->verdict[PRD_DELAYED], f);
    rpl_text_row(r, n, "refused", t->verdict[PRD_REJECTED], f);

    if (t->skipped) {
        rpl_text_row(r, n, "not limited (no key)", t->skipped, f);
    }

    if (t->verdict[PRD_DELAYED]) {
        fprintf(f, "  mean delay %.3f s\n", (double) t->delay_ms / 1000
                / (double) t->verdict[PRD_DELAYED]);
    }

    if (t->warmed && t->warm_requests) {
        fprintf(f, "  after warm-up %s of %s limited: %.4f %%\n",
                rpl_number(n, r->limited - t->warm_limited),
                rpl_number(n, t->requests - t->warm_requests),
                rpl_percent((double) (r->limited - t->warm_limited),
                            (double) (t->requests - t->warm_requests)));
    }

    if (r->limited == 0) {
        return;
    }

    fprintf(f, "\nWhy\n");

    for (k = 0; k < 2; k++) {
        for (i = 0; i < PRD_REASONS; i++) {

            if (t->reason[k][i]) {
                snprintf(name, sizeof(name), "%s %s", k ? "refused"
                         : "delayed", prd_reason_name((prd_reason_e) i));
                rpl_text_row(r, n, name, t->reason[k][i], f);
            }
        }
    }
}


static void
rpl_text_minute(const char *name, const rpl_minute_t *m, rpl_numbers_t *n,
    FILE *f)
{
    char  at[RPL_STAMP_TEXT];

    if (m->requests == 0) {
        return;
    }

    fprintf(f, "  %-14s %.*s  %s of %s limited\n", name,
            (int) strlen(rpl_stamp_print(m->at * 60000000, at)) - 3,
            rpl_stamp_print(m->at * 60000000, at), rpl_number(n, m->limited),
            rpl_number(n, m->requests));
}


static prd_reason_e
rpl_main_reason(const rpl_why_t *why)
{
    unsigned  i, best;

    for (i = 1, best = 0; i < PRD_REASONS; i++) {
        if (why->reason[i] > why->reason[best]) {
            best = i;
        }
    }

    return (prd_reason_e) best;
}


static void
rpl_text_clients(const rpl_report_t *r, rpl_numbers_t *n, FILE *f)
{
    size_t               i;
    char                 at[RPL_STAMP_TEXT];
    const rpl_why_t     *why;
    const rpl_client_t  *c;

    if (r->nhit == 0) {
        return;
    }

    fprintf(f, "\nWho was limited (%zu of %s clients)\n"
            "       limited   of requests  mostly          first"
            "                client\n", r->nhit, rpl_number(n, r->nlimited));

    for (i = 0; i < r->nhit; i++) {
        c = &r->clients->client[r->hit[i].client];
        why = &r->clients->why[c->why];

        fprintf(f, "  %12s %13s  %-15s %-20s ",
                rpl_number(n, (uint64_t) c->delayed + c->refused),
                rpl_number(n, c->requests),
                prd_reason_name(rpl_main_reason(why)),
                rpl_print_time(r, why->first_s, at));
        rpl_print_key(r, c, f);
        fprintf(f, "\n");
    }
}


static void
rpl_text_honest(const rpl_report_t *r, rpl_numbers_t *n, FILE *f)
{
    size_t               i;
    const rpl_client_t  *c;

    fprintf(f, "\nHonest-looking clients that were hit: %s (%s requests in %s "
            "client-hours)\n", rpl_number(n, r->honest),
            rpl_number(n, r->clients->honest_limited),
            rpl_number(n, r->clients->honest_hours));

    if (r->nlooks == 0) {
        return;
    }

    fprintf(f, "  (limited only in hours of habit: two active hours before, "
            "and a demand of at\n   most 3 x the median of the last ones)\n"
            "       limited   of requests  active hours  greatest hour  "
            "client\n");

    for (i = 0; i < r->nlooks; i++) {
        c = &r->clients->client[r->looks[i].client];

        fprintf(f, "  %12s %13s  %12u  %13s  ",
                rpl_number(n, c->honest),
                rpl_number(n, c->requests), c->hours,
                rpl_number(n, c->peak));
        rpl_print_key(r, c, f);
        fprintf(f, "\n");
    }
}


static void
rpl_text_compare(const rpl_report_t *r, rpl_numbers_t *n, FILE *f)
{
    const rpl_totals_t  *t;

    t = r->t;

    if (r->args->replay.their_rate) {
        fprintf(f, "\nlimit_req %s would have\n", r->rate);
        rpl_text_row(r, n, "delayed", t->their_delayed, f);
        rpl_text_row(r, n, "refused", t->their_refused, f);
        fprintf(f, "  limited by both %s, only by predictive %s, only by "
                "limit_req %s\n", rpl_number(n, t->both[1][1]),
                rpl_number(n, t->both[1][0]), rpl_number(n, t->both[0][1]));
        fprintf(f, "  hit in hours of the client's own habit: predictive %s "
                "(%s requests),\n    limit_req %s (%s requests)\n",
                rpl_number(n, r->clients->habit_hours[RPL_OURS]),
                rpl_number(n, r->clients->habit_limited[RPL_OURS]),
                rpl_number(n, r->clients->habit_hours[RPL_THEIRS]),
                rpl_number(n, r->clients->habit_limited[RPL_THEIRS]));
        return;
    }

    if (r->clients->hours) {
        fprintf(f, "\nOne limit for all, such as limit_req's, that leaves 99.9"
                " %% of client-hours alone\n  has to allow each client %s "
                "requests an hour; half of them need at most %s.\n"
                "  (--compare limit_req:rate=R,burst=N tells what it would "
                "have done)\n",
                rpl_number(n, (uint64_t) rpl_clients_quantile(r->clients,
                                                              0.999)),
                rpl_number(n, (uint64_t) rpl_clients_quantile(r->clients,
                                                              0.5)));
    }
}


static void
rpl_text_covered(double closed, double missed, FILE *f)
{
    if (closed > 0) {
        fprintf(f, " %12.0f %9.4f %%", closed,
                rpl_percent(closed - missed, closed));

    } else {
        fprintf(f, " %12s %11s", "-", "-");
    }
}


static void
rpl_text_coverage(const rpl_report_t *r, FILE *f)
{
    unsigned             i;
    const prd_params_t  *p;

    p = &rpl_replay_policy(r->replay)->params;

    if (r->view == NULL || p->learn == PRD_LEARN_OFF) {
        return;
    }

    fprintf(f, "\nCoverage of the learned depth (before floor and min), active"
            " 10 s blocks, %.10g %% asked for\n"
            "  closed blocks  after warm-up                    in all\n",
            p->confidence_ppm / 1e4);

    for (i = 0; i <= PRD_AGES; i++) {
        fprintf(f, "  %-13s", rpl_report_age(i));
        rpl_text_covered(r->closed[RPL_WARM][i], r->missed[RPL_WARM][i], f);
        rpl_text_covered(r->closed[RPL_ALL][i], r->missed[RPL_ALL][i], f);
        fprintf(f, "\n");
    }
}


/* How good the forecasts of clients were, by length of bins and horizon. */

static void
rpl_text_forecasts(const rpl_report_t *r, FILE *f)
{
    double              rel, wape, c95, c99;
    unsigned            i, k;
    const prd_score_t  *s;

    if (r->view == NULL
        || rpl_replay_policy(r->replay)->params.learn == PRD_LEARN_OFF
        || r->view->outlook.outlook->tracks_used == 0)
    {
        return;
    }

    fprintf(f, "\nForecasts of clients (pinball loss relative to the last"
            " value, error over demand)\n"
            "  bins     ahead    forecasts      loss     WAPE  below 95 %%"
            "  below 99 %%\n");

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {
        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            s = &r->view->outlook.outlook->tracks.horizon[i][k].score;

            if (prd_score_relative(s, &rel) != PRD_OK
                || prd_score_wape(s, &wape) != PRD_OK
                || prd_score_coverage(s, 2, &c95) != PRD_OK
                || prd_score_coverage(s, 3, &c99) != PRD_OK)
            {
                continue;
            }

            fprintf(f, "  %4u s %6u s %12.0f %9.3f %8.3f %10.2f %% %9.2f %%\n",
                    prd_outlook_span_s[i],
                    prd_outlook_span_s[i] * prd_track_ahead(k),
                    s->n, rel, wape, 100 * c95, 100 * c99);
        }
    }
}


static void
rpl_text_log(const rpl_report_t *r, rpl_numbers_t *n, FILE *f)
{
    uint64_t             i;
    const rpl_totals_t  *t;

    t = r->t;

    fprintf(f, "\nThe log\n  %s lines", rpl_number(n, t->lines));

    if (t->comments) {
        fprintf(f, ", %s comments or empty", rpl_number(n, t->comments));
    }

    fprintf(f, ", %s broken\n", rpl_number(n, t->broken));

    for (i = 0; i < t->broken && i < RPL_BROKEN; i++) {
        fprintf(f, "    %s\n", t->first_broken[i].text);
    }

    if (t->refused_before) {
        fprintf(f, "  %s lines with status 429 or 503: refused by the logged "
                "server, demand all the same\n",
                rpl_number(n, t->refused_before));
    }

    if (t->denied) {
        fprintf(f, "  %s lines with status 401 or 403: these teach nothing\n",
                rpl_number(n, t->denied));
    }

    if (t->late) {
        fprintf(f, "  %s lines more than 60 s earlier than lines before (up to"
                " %s s): were the\n    logs given oldest first?\n",
                rpl_number(n, t->late), rpl_number(n, t->late_most));
    }

    if (t->ahead) {
        fprintf(f, "  %s lines a day and more ahead of those around them: taken"
                " as of now\n", rpl_number(n, t->ahead));
    }

    if (t->bad_value) {
        fprintf(f, "  %s values of cost, charge, rate or burst were none\n",
                rpl_number(n, t->bad_value));
    }

    if (r->view != NULL
        && (t->full || prd_zone_count(r->view, PRD_CNT_EVICTED)))
    {
        fprintf(f, "  the zone has %s slots: %s clients evicted, %s requests "
                "decided without one\n",
                rpl_number(n, prd_zone_slots(r->view)),
                rpl_number(n, prd_zone_count(r->view, PRD_CNT_EVICTED)),
                rpl_number(n, t->full));
    }
}


void
rpl_report_text(const rpl_report_t *r, FILE *f)
{
    rpl_numbers_t  n;

    n.next = 0;

    rpl_text_head(r, &n, f);

    if (r->t->requests) {
        rpl_text_verdicts(r, &n, f);

        fprintf(f, "\nWhen\n");
        rpl_text_minute("first minute", &r->t->minute_first, &n, f);
        rpl_text_minute("worst minute", &r->t->minute_worst, &n, f);
        rpl_text_minute("busiest minute", &r->t->minute_busy, &n, f);

        rpl_text_clients(r, &n, f);
        rpl_text_honest(r, &n, f);
        rpl_text_compare(r, &n, f);
        rpl_text_coverage(r, f);
        rpl_text_forecasts(r, f);
    }

    rpl_text_log(r, &n, f);

    if (r->args->max_limited_ppm != UINT32_MAX) {
        fprintf(f, "\n%.4f %% of the requests were limited, %.10g %% are "
                "allowed: %s\n", rpl_percent((double) r->limited,
                                         (double) r->t->requests),
                r->args->max_limited_ppm / 1e4,
                rpl_report_failed(r) ? "too many" : "good");
    }
}
