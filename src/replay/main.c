
/*
 * predictive-replay: what the predictive limiter would have made of a log.
 */


#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "series.h"
#include "state.h"


#define RPL_TICK_S  0.1
#define RPL_BAR     30


static double
rpl_clock(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}


/* A line on the terminal that is written over and over. */

static void
rpl_progress(rpl_progress_t *p, const rpl_replay_t *r,
    const rpl_reader_t *reader)
{
    char                 at[RPL_STAMP_TEXT];
    double               now;
    uint64_t             done, all;
    const rpl_totals_t  *t;

    now = rpl_clock();

    if (now - p->last < RPL_TICK_S) {
        return;
    }

    p->last = now;
    t = rpl_replay_totals(r);
    rpl_reader_progress(reader, &done, &all);

    fprintf(stderr, "\r\033[K");

    if (all) {
        done = prd_min(done, all);
        fprintf(stderr, "[%-*.*s] %3u %%  ", RPL_BAR,
                (int) (done * RPL_BAR / all), "##############################",
                (unsigned) (done * 100 / all));
    }

    fprintf(stderr, "%.1f M lines, %.2f M/s, at %s",
            (double) t->lines / 1e6,
            (double) t->lines / 1e6 / prd_max(now - p->begun, 1e-3),
            rpl_stamp_print(rpl_replay_now(r), at));
    fflush(stderr);

    p->shown = 1;
}


/* The report stays off a stream that carries something else. */

static void
rpl_output(const rpl_args_t *args, const rpl_report_t *report)
{
    int    taken;
    FILE  *f;

    taken = (args->decisions != NULL && strcmp(args->decisions, "-") == 0);

    if (args->json != NULL) {
        taken |= (strcmp(args->json, "-") == 0);
        f = rpl_create(args->json);
        rpl_report_json(report, f);
        rpl_close(f, args->json);
    }

    if (!args->quiet) {
        f = taken ? stderr : stdout;
        rpl_report_text(report, f);

        if (f == stdout) {
            rpl_close(f, "standard output");
        }
    }
}


int
main(int argc, char **argv)
{
    int              status;
    FILE            *decisions;
    prd_rc_t         rc;
    rpl_args_t       args;
    rpl_error_t      e;
    rpl_reader_t    *reader;
    rpl_replay_t    *r;
    rpl_report_t     report;
    rpl_progress_t   progress;

    rpl_options(&args, argc, argv);

    if (args.help || args.version) {

        if (args.help) {
            rpl_usage(stdout);

        } else {
            printf("predictive-replay %s\n", PRD_VERSION_STR);
        }

        rpl_options_done(&args);

        return 0;
    }

    if (args.series != NULL) {
        rpl_series(args.series, args.origins, args.forecasts,
                   args.replay.params.network);
        rpl_options_done(&args);

        return 0;
    }

    if (rpl_replay_create(&r, &args.replay, &e) != PRD_OK) {
        rpl_die(RPL_EXIT_BAD, "%s%s%s", args.at ? args.at : "",
                args.at ? ": " : "", e.text);
    }

    /* what cannot be written is told before a long log is read */

    if (args.json != NULL) {
        rpl_probe(args.json);
    }

    if (args.state != NULL && rpl_state_probe(args.state, &e) != PRD_OK) {
        rpl_die(RPL_EXIT_FAILED, "%s", e.text);
    }

    decisions = NULL;

    if (args.decisions != NULL) {
        decisions = rpl_create(args.decisions);
        rpl_replay_decisions(r, decisions);
    }

    memset(&progress, 0, sizeof(progress));
    progress.begun = rpl_clock();
    progress.tick = args.quiet || !isatty(STDERR_FILENO) ? NULL : rpl_progress;

    reader = rpl_reader_create(args.logs, args.nlogs);
    rc = rpl_replay_run(r, reader, &progress, &e);

    if (progress.shown) {
        fprintf(stderr, "\r\033[K");
    }

    if (rc != PRD_OK) {
        rpl_die(RPL_EXIT_BAD, "%s", e.text);
    }

    if (decisions != NULL) {
        rpl_close(decisions, args.decisions);
    }

    if (args.state != NULL
        && rpl_state_write(r, args.state, args.state_zone, args.state_key, &e)
           != PRD_OK)
    {
        rpl_die(RPL_EXIT_FAILED, "%s", e.text);
    }

    rpl_report_init(&report, &args, r);
    rpl_output(&args, &report);

    status = rpl_report_failed(&report) ? RPL_EXIT_LIMITED : 0;

    rpl_report_done(&report);
    rpl_reader_done(reader);
    rpl_replay_done(r);
    rpl_options_done(&args);

    return status;
}
