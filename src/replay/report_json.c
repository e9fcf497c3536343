
/*
 * The report as JSON: SI units, rates in requests per second.
 */


#include <math.h>

#include "report.h"


typedef struct {
    FILE      *f;
    unsigned   depth;
    unsigned   some:1;                   /* a comma is due */
} rpl_json_t;


static void
rpl_json_line(rpl_json_t *j)
{
    unsigned  i;

    fprintf(j->f, "%s\n", j->some ? "," : "");
    j->some = 1;

    for (i = 0; i < j->depth; i++) {
        fprintf(j->f, "  ");
    }
}


/* Length of the UTF-8 character at p, 0: it is none. */

static size_t
rpl_utf8_len(const unsigned char *p, size_t left)
{
    size_t  i, n;

    n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2
        : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;

    if (n == 0 || n > left) {
        return 0;
    }

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    /* overlong, surrogates, above U+10FFFF */

    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f)
        || (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
    {
        return 0;
    }

    return n;
}


static void
rpl_json_text(rpl_json_t *j, prd_str_t s)
{
    size_t                i, n;
    const unsigned char  *p;

    putc('"', j->f);

    for (i = 0; i < s.len; i += n) {
        p = (const unsigned char *) s.data + i;
        n = rpl_utf8_len(p, s.len - i);

        if (n == 0) {
            fprintf(j->f, "\\ufffd");
            n = 1;

        } else if (*p == '"' || *p == '\\') {
            fprintf(j->f, "\\%c", *p);

        } else if (*p < 0x20 || *p == 0x7f) {
            fprintf(j->f, "\\u%04x", *p);

        } else {
            (void) fwrite(p, 1, n, j->f);
        }
    }

    putc('"', j->f);
}


static void
rpl_json_name(rpl_json_t *j, const char *name)
{
    rpl_json_line(j);

    if (name != NULL) {
        fprintf(j->f, "\"%s\": ", name);
    }
}


static void
rpl_json_open(rpl_json_t *j, const char *name, char c)
{
    rpl_json_name(j, name);
    putc(c, j->f);
    j->depth++;
    j->some = 0;
}


static void
rpl_json_close(rpl_json_t *j, char c)
{
    unsigned  i;

    j->depth--;

    if (j->some) {
        putc('\n', j->f);

        for (i = 0; i < j->depth; i++) {
            fprintf(j->f, "  ");
        }
    }

    putc(c, j->f);
    j->some = 1;
}


static void
rpl_json_uint(rpl_json_t *j, const char *name, uint64_t n)
{
    rpl_json_name(j, name);
    fprintf(j->f, "%llu", (unsigned long long) n);
}


static void
rpl_json_number(rpl_json_t *j, const char *name, double v)
{
    rpl_json_name(j, name);

    if (isfinite(v)) {
        fprintf(j->f, "%.15g", v);

    } else {
        fprintf(j->f, "null");
    }
}


static void
rpl_json_string(rpl_json_t *j, const char *name, const char *s)
{
    rpl_json_name(j, name);
    rpl_json_text(j, rpl_str(s));
}


static void
rpl_json_key(rpl_json_t *j, const rpl_report_t *r, const rpl_client_t *c)
{
    char  hash[24];

    if (r->args->hash) {
        snprintf(hash, sizeof(hash), "%016llx", (unsigned long long) c->tag);
        rpl_json_string(j, "client", hash);
        return;
    }

    rpl_json_name(j, "client");
    rpl_json_text(j, rpl_client_key(c));
}


static double
rpl_share(double part, double all)
{
    return all > 0 ? part / all : 0;
}


static void
rpl_json_params(rpl_json_t *j, const rpl_report_t *r)
{
    const prd_params_t   *p;
    const rpl_options_t  *o;

    static const char *const  learn[] = { "on", "observe", "off" };

    p = &rpl_replay_policy(r->replay)->params;
    o = &r->args->replay;

    rpl_json_open(j, "parameters", '{');

    if (p->rate) {
        rpl_json_number(j, "rate", (double) p->rate / PRD_RATE_ONE);
    }

    rpl_json_uint(j, "burst", o->limit.burst_set ? o->limit.burst : p->burst);

    if (p->capacity) {
        rpl_json_number(j, "capacity", (double) p->capacity / PRD_RATE_ONE);
    }

    if (p->min) {
        rpl_json_number(j, "min", (double) p->min / PRD_RATE_ONE);
    }

    if (p->max) {
        rpl_json_number(j, "max", (double) p->max / PRD_RATE_ONE);
    }

    if (p->borrow_milli) {
        rpl_json_number(j, "borrow", p->borrow_milli / 1000.0);
    }

    rpl_json_string(j, "learn", learn[p->learn]);
    rpl_json_uint(j, "warmup_s", p->warmup_s);
    rpl_json_uint(j, "horizon_s", p->horizon_s);
    rpl_json_number(j, "confidence", p->confidence_ppm / 1e6);
    rpl_json_string(j, "format", o->format);
    rpl_json_close(j, '}');
}


static void
rpl_json_reasons(rpl_json_t *j, const char *name, const uint64_t *reason)
{
    unsigned  i;

    rpl_json_open(j, name, '{');

    for (i = 1; i < PRD_REASONS; i++) {
        if (reason[i]) {
            rpl_json_uint(j, prd_reason_name((prd_reason_e) i), reason[i]);
        }
    }

    rpl_json_close(j, '}');
}


static void
rpl_json_minute(rpl_json_t *j, const char *name, const rpl_minute_t *m)
{
    if (m->requests == 0) {
        return;
    }

    rpl_json_open(j, name, '{');
    rpl_json_uint(j, "start_s", (uint64_t) m->at * 60);
    rpl_json_uint(j, "requests", m->requests);
    rpl_json_uint(j, "limited", m->limited);
    rpl_json_close(j, '}');
}


static void
rpl_json_clients(rpl_json_t *j, const rpl_report_t *r)
{
    unsigned             k;
    size_t               i;
    uint64_t             reason[PRD_REASONS];
    const rpl_why_t     *why;
    const rpl_client_t  *c;

    rpl_json_open(j, "limited_clients", '{');
    rpl_json_uint(j, "clients", r->nlimited);
    rpl_json_open(j, "top", '[');

    for (i = 0; i < r->nhit; i++) {
        c = &r->clients->client[r->hit[i].client];
        why = &r->clients->why[c->why];

        rpl_json_open(j, NULL, '{');
        rpl_json_key(j, r, c);
        rpl_json_uint(j, "requests", c->requests);
        rpl_json_uint(j, "borrowed", c->borrowed);
        rpl_json_uint(j, "delayed", c->delayed);
        rpl_json_uint(j, "rejected", c->refused);
        rpl_json_number(j, "delay_s", (double) why->delay_ms / 1000);
        rpl_json_number(j, "first_limited_s",
                        (double) rpl_replay_time(r->replay, why->first_s)
                        / 1e6);
        rpl_json_number(j, "last_limited_s",
                        (double) rpl_replay_time(r->replay, why->last_s)
                        / 1e6);

        for (k = 0; k < PRD_REASONS; k++) {
            reason[k] = why->reason[k];
        }

        rpl_json_reasons(j, "reasons", reason);
        rpl_json_close(j, '}');
    }

    rpl_json_close(j, ']');
    rpl_json_close(j, '}');
}


static void
rpl_json_honest(rpl_json_t *j, const rpl_report_t *r)
{
    size_t               i;
    const rpl_client_t  *c;

    rpl_json_open(j, "honest_looking", '{');
    rpl_json_uint(j, "clients", r->honest);
    rpl_json_uint(j, "requests", r->clients->honest_limited);
    rpl_json_uint(j, "client_hours", r->clients->honest_hours);
    rpl_json_uint(j, "habit_hours_hit", r->clients->habit_hours[RPL_OURS]);
    rpl_json_uint(j, "habit_requests_hit",
                  r->clients->habit_limited[RPL_OURS]);
    rpl_json_open(j, "top", '[');

    for (i = 0; i < r->nlooks; i++) {
        c = &r->clients->client[r->looks[i].client];

        rpl_json_open(j, NULL, '{');
        rpl_json_key(j, r, c);
        rpl_json_uint(j, "requests", c->requests);
        rpl_json_uint(j, "limited", c->honest);
        rpl_json_uint(j, "active_hours", c->hours);
        rpl_json_uint(j, "greatest_hour", c->peak);
        rpl_json_close(j, '}');
    }

    rpl_json_close(j, ']');
    rpl_json_close(j, '}');
}


static void
rpl_json_compare(rpl_json_t *j, const rpl_report_t *r)
{
    const rpl_totals_t   *t;
    const rpl_options_t  *o;

    t = r->t;
    o = &r->args->replay;

    if (o->their_rate == 0) {
        return;
    }

    rpl_json_open(j, "limit_req", '{');
    rpl_json_number(j, "rate", o->their_rate / 1000.0);
    rpl_json_uint(j, "burst", o->their_burst / 1000);

    if (o->their_delay == UINT32_MAX) {
        rpl_json_name(j, "nodelay");
        fprintf(j->f, "true");

    } else {
        rpl_json_uint(j, "delay", o->their_delay / 1000);
    }

    rpl_json_uint(j, "delayed", t->their_delayed);
    rpl_json_uint(j, "rejected", t->their_refused);
    rpl_json_uint(j, "habit_hours_hit", r->clients->habit_hours[RPL_THEIRS]);
    rpl_json_uint(j, "habit_requests_hit",
                  r->clients->habit_limited[RPL_THEIRS]);
    rpl_json_uint(j, "limited_by_both", t->both[1][1]);
    rpl_json_uint(j, "limited_by_predictive_only", t->both[1][0]);
    rpl_json_uint(j, "limited_by_limit_req_only", t->both[0][1]);
    rpl_json_uint(j, "limited_by_neither", t->both[0][0]);
    rpl_json_close(j, '}');
}


static void
rpl_json_coverage(rpl_json_t *j, const rpl_report_t *r)
{
    unsigned  i, k;

    static const char *const  parts[] = { "after_warmup", "all" };

    rpl_json_open(j, "coverage", '{');
    rpl_json_number(j, "nominal",
        rpl_replay_policy(r->replay)->params.confidence_ppm / 1e6);

    for (k = 0; k < 2; k++) {
        rpl_json_open(j, parts[k], '{');

        for (i = 0; i <= PRD_AGES; i++) {

            if (r->closed[k][i] <= 0) {
                continue;
            }

            rpl_json_open(j, rpl_report_age(i), '{');
            rpl_json_number(j, "blocks", r->closed[k][i]);
            rpl_json_number(j, "missed", r->missed[k][i]);
            rpl_json_number(j, "coverage",
                            1 - r->missed[k][i] / r->closed[k][i]);
            rpl_json_close(j, '}');
        }

        rpl_json_close(j, '}');
    }

    rpl_json_close(j, '}');
}


static void
rpl_json_forecasts(rpl_json_t *j, const rpl_report_t *r)
{
    double              n;
    unsigned            i, k;
    const prd_score_t  *s;

    rpl_json_open(j, "forecasts", '[');

    for (i = 0; r->view && i < PRD_TRACK_CLASSES; i++) {
        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            s = &r->view->outlook.outlook->tracks.horizon[i][k].score;

            if (prd_score_relative(s, &n) != PRD_OK) {
                continue;
            }

            rpl_json_open(j, NULL, '{');
            rpl_json_number(j, "bin_seconds", prd_outlook_span_s[i]);
            rpl_json_number(j, "horizon_seconds",
                            prd_outlook_span_s[i] * prd_track_ahead(k));
            rpl_json_number(j, "forecasts", s->n);
            rpl_json_number(j, "relative_loss", n);

            if (prd_score_wape(s, &n) == PRD_OK) {
                rpl_json_number(j, "wape", n);
            }

            if (prd_score_coverage(s, 2, &n) == PRD_OK) {
                rpl_json_number(j, "coverage95", n);
            }

            if (prd_score_coverage(s, 3, &n) == PRD_OK) {
                rpl_json_number(j, "coverage99", n);
            }

            rpl_json_close(j, '}');
        }
    }

    rpl_json_close(j, ']');
}


static void
rpl_json_log(rpl_json_t *j, const rpl_report_t *r)
{
    size_t               i;
    const rpl_totals_t  *t;

    t = r->t;

    rpl_json_open(j, "log", '{');
    rpl_json_open(j, "files", '[');

    for (i = 0; i < r->args->nlogs; i++) {
        rpl_json_string(j, NULL, r->args->logs[i]);
    }

    rpl_json_close(j, ']');
    rpl_json_uint(j, "lines", t->lines);
    rpl_json_uint(j, "comments", t->comments);
    rpl_json_uint(j, "broken", t->broken);
    rpl_json_open(j, "first_broken", '[');

    for (i = 0; i < t->broken && i < RPL_BROKEN; i++) {
        rpl_json_string(j, NULL, t->first_broken[i].text);
    }

    rpl_json_close(j, ']');
    rpl_json_uint(j, "status_429_503", t->refused_before);
    rpl_json_uint(j, "status_401_403", t->denied);
    rpl_json_uint(j, "late_lines", t->late);
    rpl_json_uint(j, "late_most_s", t->late_most);
    rpl_json_uint(j, "lines_ahead", t->ahead);
    rpl_json_uint(j, "bad_values", t->bad_value);
    rpl_json_close(j, '}');
}


static void
rpl_json_zone(rpl_json_t *j, const rpl_report_t *r)
{
    unsigned  i;

    if (r->view == NULL) {
        return;
    }

    rpl_json_open(j, "zone", '{');
    rpl_json_uint(j, "slots", prd_zone_slots(r->view));

    for (i = 0; i < PRD_COUNTERS; i++) {
        rpl_json_uint(j, prd_counter_name((prd_counter_e) i),
                      prd_zone_count(r->view, (prd_counter_e) i));
    }

    rpl_json_close(j, '}');
}


void
rpl_report_json(const rpl_report_t *r, FILE *f)
{
    rpl_json_t           j;
    const rpl_totals_t  *t;

    t = r->t;

    j.f = f;
    j.depth = 1;
    j.some = 0;

    putc('{', f);
    rpl_json_string(&j, "version", PRD_VERSION_STR);
    rpl_json_params(&j, r);

    rpl_json_uint(&j, "requests", t->requests);
    rpl_json_uint(&j, "clients", r->clients->nclients);
    rpl_json_number(&j, "first_s", (double) t->first_us / 1e6);
    rpl_json_number(&j, "last_s", (double) t->last_us / 1e6);

    rpl_json_uint(&j, "passed", t->verdict[PRD_PASSED]);
    rpl_json_uint(&j, "borrowed", t->verdict[PRD_BORROWED]);
    rpl_json_uint(&j, "delayed", t->verdict[PRD_DELAYED]);
    rpl_json_uint(&j, "rejected", t->verdict[PRD_REJECTED]);
    rpl_json_uint(&j, "skipped", t->skipped);
    rpl_json_number(&j, "delay_s", (double) t->delay_ms / 1000);
    rpl_json_number(&j, "limited_share", rpl_share((double) r->limited,
                                                   (double) t->requests));
    rpl_json_reasons(&j, "delayed_reasons", t->reason[0]);
    rpl_json_reasons(&j, "rejected_reasons", t->reason[1]);

    if (t->warmed) {
        rpl_json_open(&j, "after_warmup", '{');
        rpl_json_uint(&j, "requests", t->requests - t->warm_requests);
        rpl_json_uint(&j, "limited", r->limited - t->warm_limited);
        rpl_json_close(&j, '}');
    }

    rpl_json_minute(&j, "first_minute", &t->minute_first);
    rpl_json_minute(&j, "worst_minute", &t->minute_worst);
    rpl_json_minute(&j, "busiest_minute", &t->minute_busy);

    rpl_json_clients(&j, r);
    rpl_json_honest(&j, r);
    rpl_json_compare(&j, r);

    rpl_json_open(&j, "client_hours", '{');
    rpl_json_uint(&j, "hours", r->clients->hours);

    if (r->clients->hours) {
        rpl_json_number(&j, "requests_p50",
                        rpl_clients_quantile(r->clients, 0.5));
        rpl_json_number(&j, "requests_p99",
                        rpl_clients_quantile(r->clients, 0.99));
        rpl_json_number(&j, "requests_p999",
                        rpl_clients_quantile(r->clients, 0.999));
    }

    rpl_json_close(&j, '}');

    rpl_json_coverage(&j, r);
    rpl_json_forecasts(&j, r);
    rpl_json_log(&j, r);
    rpl_json_zone(&j, r);
    fprintf(f, "\n}\n");
}
