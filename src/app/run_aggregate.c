/* enerlink aggregate: the main loop around aggregate_step. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/connect.h"
#include "app/stage_loop.h"
#include "base/clock.h"
#include "base/stop.h"
#include "stages/aggregate.h"

enum { CHUNK_METERS = 500, IDLE_MS = 500, HOT_TIMEOUT_MS = 5000, STATEMENT_TIMEOUT_MS = 60000 };

static void write_health(void *ctx, struct buf *out)
{
    aggregate_write_health(ctx, out);
}

/* A stage that runs over an old schema would fail row by row: wait for `enerlink migrate`. */
static bool wait_for_schema(struct stage_loop *loop, struct history *history)
{
    struct err e;

    while (!stop_requested()) {
        if (history->ops->check_schema(history, &e))
            return true;
        stage_loop_failed(loop, &e);
    }
    return false;
}

static void run(struct aggregate *a, struct hot *hot, struct history *history)
{
    struct stage_loop loop;
    struct err e;
    bool busy;

    stage_loop_init(&loop, "aggregate", hot);
    if (!wait_for_schema(&loop, history))
        return;
    while (!stop_requested()) {
        if (aggregate_step(a, &busy, &e)) {
            stage_loop_succeeded(&loop);
            stage_loop_ready(&loop);
            if (!busy)
                clock_sleep_ms(clock_system(), IDLE_MS);
        } else {
            stage_loop_failed(&loop, &e);
        }
        stage_loop_health(&loop, write_health, a);
    }
}

int command_aggregate(const struct settings *s)
{
    char token[64];

    log_init("aggregate");
    stop_on_signals();
    struct err e;
    struct hot *hot = connect_hot(s, HOT_TIMEOUT_MS, &e);
    struct history *history =
        hot ? connect_history(s, "enerlink aggregate", STATEMENT_TIMEOUT_MS, &e) : NULL;
    if (!history) {
        log_warn("%s", e.text);
        if (hot)
            hot->ops->close(hot);
        return EXIT_FAILED;
    }
    snprintf(token, sizeof token, "%d-%" PRId64, (int)getpid(), clock_wall_ms(clock_system()));
    struct aggregate_options o = {
        .hot = hot,
        .history = history,
        .clock = clock_system(),
        .token = token,
        .limits = {.power_w_most = (double)s->power_limit_w},
        .latest_ttl_ms = s->latest_ttl_s * 1000,
        .timeseries_ttl_s = (int)s->timeseries_ttl_s,
        .chunk_meters = CHUNK_METERS,
    };
    struct aggregate *a = aggregate_new(&o);
    run(a, hot, history);
    aggregate_free(a);
    history->ops->close(history);
    hot->ops->close(hot);
    log_info("stopped");
    return EXIT_DONE;
}
