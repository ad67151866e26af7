/*
 * enerlink-sim: history first, if asked for, then the fleet's life in real or faster time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "core/when.h"
#include "meter/sim/audit.h"
#include "meter/sim/fleet.h"
#include "meter/sim/mqtt_url.h"
#include "meter/sim/options.h"
#include "meter/sim/publisher.h"
#include "meter/sim/state.h"

enum {
    QUEUE_MOST = 10000, /* messages kept in memory while the broker is away */
    SAVE_MS = 60000,    /* between saves of the state */
    PROGRESS_MS = 2000, /* between lines of progress */
    DRAIN_MS = 5000,    /* a stop waits so long for the broker's confirmations */
    STEPS_A_TURN = 64,  /* simulated seconds between looks at the connections */
    STATUS_STEPS = 5,   /* of history: one status message for so many of data */
};

struct sim {
    struct options o;
    struct fleet *fleet;
    struct publisher *publisher; /* NULL: dry run */
    struct audit *audit;
    struct state state;
    int64_t mono_start_ms; /* when the simulated start was now */
    int64_t save_due_ms, progress_due_ms;
    int64_t end_ms; /* simulated end; INT64_MAX: none */
    bool ready;
};

static int64_t mono_ms(void)
{
    return clock_mono_ms(clock_system());
}

static void print_message(void *ctx, const struct fleet_message *m)
{
    (void)ctx;
    printf("%s %.*s\n", topic_path(m->topic), (int)m->len, m->json);
}

static void push_message(void *ctx, const struct fleet_message *m)
{
    struct sim *s = ctx;

    publisher_push(s->publisher, m);
}

static void step(struct sim *s, const struct fleet_pace *pace)
{
    fleet_step(s->fleet, pace, s->publisher ? push_message : print_message, s);
}

static void save_state(struct sim *s)
{
    struct err e;

    if (s->o.state && !state_save(s->o.state, &s->state, s->fleet, &e))
        log_warn("%s", e.text);
}

/* The meters learn what became of their connections, and tell so in their status. */
static void tell_connections(struct sim *s)
{
    for (size_t i = 0; i < s->fleet->config.meters; i++) {
        int64_t attempts;
        bool up = publisher_meter_connected(s->publisher, i, &attempts);
        fleet_set_connection(s->fleet, i, up, attempts);
    }
}

/* Between steps: connections, state on disk, readiness. */
static void tend(struct sim *s, int64_t timeout_ms)
{
    int64_t now = mono_ms();

    if (now >= s->save_due_ms) {
        s->save_due_ms = now + SAVE_MS;
        save_state(s);
    }
    if (!s->publisher) {
        if (timeout_ms > 0)
            clock_sleep_ms(clock_system(), timeout_ms);
        return;
    }
    publisher_pump(s->publisher, timeout_ms);
    if (!s->ready && publisher_connected(s->publisher)) {
        s->ready = true;
        notify_ready();
    }
}

static bool has_room(const struct sim *s)
{
    return !s->publisher || publisher_has_room(s->publisher);
}

/* ---- History ------------------------------------------------------------------------------ */

/* total: messages that will be published on the way, 0 when time passes in silence. */
static void report_progress(struct sim *s, int64_t from_ms, int64_t to_ms, uint64_t total)
{
    int64_t now = mono_ms();
    double share = (double)(s->fleet->clock_ms - from_ms) / (double)(to_ms - from_ms);

    if (now < s->progress_due_ms)
        return;
    s->progress_due_ms = now + PROGRESS_MS;
    if (total)
        log_info("history %.0f of %" PRIu64 " messages, %.0f %%", share * (double)total, total,
                 share * 100.0);
    else
        log_info("catching up, %.0f %%", share * 100.0);
}

/* Let the fleet live up to to_ms, as fast as the broker confirms. */
static void run_fast(struct sim *s, int64_t to_ms, const struct fleet_pace *pace)
{
    int64_t from_ms = s->fleet->clock_ms;
    uint64_t seconds = (uint64_t)(to_ms - from_ms) / 1000, total = 0;

    if (pace->data_s)
        total = (seconds / (uint64_t)pace->data_s + seconds / (uint64_t)pace->status_s) *
                s->fleet->config.meters;
    s->progress_due_ms = mono_ms() + PROGRESS_MS;
    while (s->fleet->clock_ms < to_ms && !stop_requested()) {
        for (int i = 0; i < STEPS_A_TURN && s->fleet->clock_ms < to_ms && has_room(s); i++)
            step(s, pace);
        tend(s, has_room(s) ? 0 : 100);
        report_progress(s, from_ms, to_ms, total);
    }
}

static void run_history(struct sim *s, int64_t to_ms)
{
    const struct fleet_pace pace = {
        .data_s = s->o.backfill_step_s,
        .status_s = s->o.backfill_step_s * STATUS_STEPS,
    };

    s->state.history_end_ms = to_ms;
    run_fast(s, to_ms, &pace);
    if (stop_requested())
        return;
    s->state.history_end_ms = 0;
    log_info("history is published");
}

/* ---- Live --------------------------------------------------------------------------------- */

/* Simulated time that should be reached by now. */
static int64_t live_target_ms(const struct sim *s, int64_t sim_from_ms)
{
    int64_t target_ms = INT64_MAX;

    if (s->o.speed > 0)
        target_ms = sim_from_ms + (int64_t)((double)(mono_ms() - s->mono_start_ms) * s->o.speed);
    return target_ms < s->end_ms ? target_ms : s->end_ms;
}

/*
 * The world waits for the broker to confirm, but in real time not for a broker that is away: a
 * meter goes on measuring.
 */
static bool may_step(const struct sim *s, int64_t target_ms)
{
    if (s->fleet->clock_ms + FLEET_STEP_MS > target_ms)
        return false;
    return has_room(s) || (s->o.speed == 1 && !publisher_connected(s->publisher));
}

static int64_t until_next_step_ms(const struct sim *s, int64_t target_ms)
{
    int64_t left_ms = s->fleet->clock_ms + FLEET_STEP_MS - target_ms;

    if (left_ms <= 0)
        return may_step(s, target_ms) ? 0 : 100;
    return s->o.speed > 0 ? 1 + (int64_t)((double)left_ms / s->o.speed) : 100;
}

static void run_live(struct sim *s, int64_t sim_from_ms)
{
    const struct fleet_pace pace = {s->o.interval_s, s->o.status_interval_s, true};

    /* Real time went on during the history; a faster one begins only now. */
    if (s->o.speed != 1)
        s->mono_start_ms = mono_ms();
    while (s->fleet->clock_ms < s->end_ms && !stop_requested()) {
        int64_t target_ms = live_target_ms(s, sim_from_ms);
        if (s->publisher)
            tell_connections(s);
        for (int i = 0; i < STEPS_A_TURN && may_step(s, target_ms); i++)
            step(s, &pace);
        tend(s, until_next_step_ms(s, target_ms));
    }
}

/* Wait for the broker to confirm what was published; a stop does not wait for long. */
static void drain(struct sim *s)
{
    int64_t stop_ms = INT64_MAX;

    while (s->publisher && publisher_pending(s->publisher) > 0 && mono_ms() < stop_ms) {
        if (stop_requested() && stop_ms == INT64_MAX)
            stop_ms = mono_ms() + DRAIN_MS;
        publisher_pump(s->publisher, 100);
    }
}

/* ---- Start and end ------------------------------------------------------------------------ */

static const struct replay *load_replay(const char *path,
                                        const char *const columns[REPLAY_COLUMNS_MOST])
{
    struct err e;

    if (!path)
        return NULL;
    struct replay *r = replay_load(path, columns, &e);
    if (!r)
        die("%s", e.text);
    return r;
}

static struct fleet_config fleet_config_of(const struct options *o)
{
    static const char *const load_columns[REPLAY_COLUMNS_MOST] = {"power_kw", "voltage_v"};
    static const char *const solar_columns[REPLAY_COLUMNS_MOST] = {"ghi_w_m2"};

    return (struct fleet_config){
        .seed = (uint64_t)o->seed,
        .meters = (size_t)o->meters,
        .prefix = o->prefix,
        .zone_ms = o->zone_ms,
        .load = load_replay(o->replay_load, load_columns),
        .solar = load_replay(o->replay_solar, solar_columns),
        .replay_meters = (size_t)o->replay_meters,
    };
}

static int64_t start_of(const struct options *o)
{
    if (o->start_ms != INT64_MIN)
        return o->start_ms;
    int64_t now_ms = when_floor(clock_wall_ms(clock_system()), 1000);
    return o->speed != 1 && o->duration_s > 0 ? now_ms - o->duration_s * 1000 : now_ms;
}

/* What the file says of the last run; false when there was none. */
static bool find_state(const struct options *o, struct state *state)
{
    struct err e;

    *state = (struct state){.seed = (uint64_t)o->seed};
    if (!o->state)
        return false;
    bool found = state_peek(o->state, state, &e);
    if (!found && e.kind != ERR_NONE)
        die("%s", e.text);
    if (found && state->seed != (uint64_t)o->seed)
        die("%s was made with --seed %" PRIu64 "; give that, or remove the file", o->state,
            state->seed);
    return found;
}

static void restore(struct sim *s)
{
    struct err e;
    size_t restored;

    if (!state_load(s->o.state, s->fleet, &restored, &e))
        die("%s", e.text);
    char text[WHEN_TEXT_SIZE];
    log_info("%zu of %zu meters go on from %s", restored, s->fleet->config.meters,
             when_text(s->fleet->clock_ms, text));
}

/*
 * Bring the fleet from where it is to the start of its live time: history that was asked for or
 * interrupted is published, other time passes unseen.
 */
static void catch_up(struct sim *s, bool restored, int64_t start_ms)
{
    static const struct fleet_pace silent = {0};

    if (!restored && s->o.backfill_s > 0)
        s->state.history_end_ms = start_ms;
    if (restored && s->o.backfill_gap)
        s->state.history_end_ms = start_ms;
    if (s->state.history_end_ms > s->fleet->clock_ms)
        run_history(s, s->state.history_end_ms);
    if (s->fleet->clock_ms < start_ms)
        run_fast(s, start_ms, &silent);
}

static void connect_all(struct sim *s)
{
    struct err e;
    struct publisher_config config = {
        .prefix = s->o.prefix,
        .meters = (size_t)s->o.meters,
        .connections = (size_t)s->o.connections,
        .qos = (int)s->o.qos,
        .queue_most = QUEUE_MOST,
    };

    if (s->o.audit && !(s->audit = audit_open(s->o.audit, &e)))
        die("%s", e.text);
    config.audit = s->audit;
    if (!mqtt_url_from_environment(&config.url, &e) || !(s->publisher = publisher_new(&config, &e)))
        die("%s", e.text);
}

static double cpu_s(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* Exit status: 0 when every message was confirmed. */
static int finish(struct sim *s)
{
    size_t pending = 0;

    save_state(s);
    if (s->publisher) {
        struct publisher_counts c = publisher_counts(s->publisher);
        pending = publisher_pending(s->publisher);
        log_info("%" PRIu64 " messages, %" PRIu64 " confirmed, %zu not, %" PRIu64
                 " thinned out, %" PRIu64 " repeated; %.1f us CPU a message",
                 c.pushed, c.confirmed, pending, c.thinned, c.repeated,
                 cpu_s() * 1e6 / (double)(c.pushed ? c.pushed : 1));
        publisher_free(s->publisher);
        audit_close(s->audit);
    }
    replay_free((struct replay *)s->fleet->config.load);
    replay_free((struct replay *)s->fleet->config.solar);
    fleet_free(s->fleet);
    return pending ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct sim s = {
        .o = options_parse(argc, argv), .end_ms = INT64_MAX, .mono_start_ms = mono_ms()};

    log_init("sim");
    stop_on_signals();
    bool restored = find_state(&s.o, &s.state);
    bool go_on = restored && (s.o.start_ms != INT64_MIN || s.o.speed != 1);
    int64_t start_ms = go_on ? s.state.clock_ms : start_of(&s.o);
    int64_t first_ms = restored ? s.state.clock_ms : start_ms - s.o.backfill_s * 1000;
    struct fleet_config config = fleet_config_of(&s.o);

    s.fleet = fleet_new(&config, first_ms);
    if (restored)
        restore(&s);
    if (!s.o.dry_run)
        connect_all(&s);
    catch_up(&s, restored, start_ms);
    if (s.o.duration_s > 0)
        s.end_ms = start_ms + s.o.duration_s * 1000;
    run_live(&s, start_ms);
    drain(&s);
    return finish(&s);
}
