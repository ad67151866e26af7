/*
 * Ingest and aggregate over stores in memory, under a clock that the test moves, with failures
 * before and after each write and connections that break: whatever happens, the rows are those of
 * a run in which nothing happened.
 */
#include "unit.h"

#include "base/backoff.h"
#include "stages/aggregate.h"
#include "stages/ingest.h"
#include "stores/broker_ram.h"
#include "stores/history_ram.h"
#include "stores/hot_ram.h"

/* 2025-10-26T04:00:00Z */
#define BEGIN_MS INT64_C(1761451200000)

enum { METERS = 5, MINUTES = 6, STEP_S = 5 };

struct world {
    int64_t now_ms;
    struct clock clock;
    struct broker *broker;
    struct hot *hot;
    struct history *history;
    struct ingest *ingest;
    struct aggregate *aggregate;
    char token[32];
    int processes; /* started so far */
};

static int64_t world_now(void *ctx)
{
    return ((struct world *)ctx)->now_ms;
}

static void world_sleep(void *ctx, int64_t ms)
{
    ((struct world *)ctx)->now_ms += ms;
}

static void start_ingest(struct world *w)
{
    struct ingest_options o = {.broker = w->broker,
                               .hot = w->hot,
                               .clock = &w->clock,
                               .limits = {.future_ms = 300000, .past_ms = 366 * DAY_MS},
                               .batch_most = 16};
    ingest_free(w->ingest);
    w->ingest = ingest_new(&o);
}

static void start_aggregate(struct world *w)
{
    struct aggregate_options o = {.hot = w->hot,
                                  .history = w->history,
                                  .clock = &w->clock,
                                  .token = w->token,
                                  .latest_ttl_ms = 3600000,
                                  .timeseries_ttl_s = 7200,
                                  .chunk_meters = 2};
    snprintf(w->token, sizeof w->token, "process-%d", w->processes++);
    aggregate_free(w->aggregate);
    w->aggregate = aggregate_new(&o);
}

static void open_world(struct world *w)
{
    struct err e;

    *w = (struct world){
        .now_ms = BEGIN_MS,
        .clock = {.wall_ms = world_now, .mono_ms = world_now, .sleep_ms = world_sleep, .ctx = w},
        .broker = broker_ram_open(),
        .hot = hot_ram_open(),
        .history = history_ram_open()};
    assert_true(w->history->ops->migrate(w->history, w->now_ms, &e));
    start_ingest(w);
    start_aggregate(w);
}

static void close_world(struct world *w)
{
    ingest_free(w->ingest);
    aggregate_free(w->aggregate);
    broker_close(w->broker);
    w->hot->ops->close(w->hot);
    w->history->ops->close(w->history);
}

/* A reading of meter m, s seconds after the beginning: its counter is 1000 + s / 7 Wh. */
static void publish(struct world *w, int m, int s)
{
    char payload[512], at[WHEN_TEXT_SIZE];
    int len = snprintf(payload, sizeof payload,
                       "{\"meterId\":\"M%d\",\"datetime\":\"%s\",\"data\":{\"import\":"
                       "{\"power\":%d,\"total_energy\":%.6f,\"active\":%s}}}",
                       m, when_text(BEGIN_MS + s * 1000, at), 1000 * m + s, 1000 + s / 7.0,
                       s % 2 ? "true" : "false");

    broker_ram_publish(w->broker, topic_path(TOPIC_DATA), payload, (size_t)len, NULL);
}

static void run_ingest(struct world *w)
{
    struct err e;

    for (int i = 0; i < 200 && broker_ram_waiting(w->broker) > 0; i++)
        if (!ingest_step(w->ingest, 0, &e))
            w->now_ms += 10;
    assert_int_equal(broker_ram_waiting(w->broker), 0);
}

static void run_aggregate(struct world *w)
{
    struct err e;
    bool busy = true;

    for (int i = 0; i < 500 && busy; i++) {
        if (!aggregate_step(w->aggregate, &busy, &e)) {
            w->now_ms += 10;
            busy = true;
        }
    }
    assert_false(busy);
}

/* Let time pass until nothing waits any more. */
static void drain(struct world *w)
{
    for (int i = 0; i < 40; i++) {
        w->now_ms += 5000;
        run_aggregate(w);
    }
    struct hot_usage usage;
    struct err e;
    assert_true(w->hot->ops->usage(w->hot, &usage, &e));
    assert_int_equal(usage.minutes_waiting, 0);
}

/* What the rows must be, computed from the formula in publish(). */
static void expect_rows(struct world *w)
{
    size_t n;
    const struct minute *const *rows = history_ram_rows(w->history, &n);
    double sums[METERS] = {0};
    int counts[METERS] = {0};

    assert_int_equal(n, METERS * MINUTES);
    for (size_t i = 0; i < n; i++) {
        int m = rows[i]->meter_id[1] - '0';
        int first = (int)((rows[i]->bucket_ms - BEGIN_MS) / 1000);
        double mean = 1000 * m + first + (60 - STEP_S) / 2.0;
        assert_int_equal(rows[i]->n, 60 / STEP_S);
        assert_near(rows[i]->v[COLUMN_IMPORT_POWER], mean, 1e-3);
        assert_near(rows[i]->v[COLUMN_IMPORT_ACTIVE], 6, 0);
        assert_near(rows[i]->v[COLUMN_IMPORT_TOTAL_ENERGY], 1000 + (first + 60 - STEP_S) / 7.0,
                    1e-6);
        if (first + 60 < MINUTES * 60)
            assert_near(rows[i]->v[COLUMN_IMPORT_TOTAL_ENERGY + 1], 60 / 7.0, 2e-6);
        assert_int_equal(rows[i]->quality, QUALITY_VALIDATED);
        sums[m] += rows[i]->v[COLUMN_IMPORT_TOTAL_ENERGY + 1];
        counts[m] += rows[i]->n;
    }
    for (int m = 0; m < METERS; m++) {
        assert_int_equal(counts[m], MINUTES * 60 / STEP_S);
        assert_near(sums[m], (MINUTES * 60 - STEP_S) / 7.0, 1e-5);
    }
}

static void messages_become_rows(void **state)
{
    struct world w;

    (void)state;
    open_world(&w);
    for (int s = 0; s < MINUTES * 60; s += STEP_S) {
        w.now_ms = BEGIN_MS + s * 1000;
        for (int m = 0; m < METERS; m++)
            publish(&w, m, s);
        run_ingest(&w);
        run_aggregate(&w);
    }
    drain(&w);
    expect_rows(&w);
    close_world(&w);
}

static void a_minute_is_computed_within_twenty_seconds(void **state)
{
    struct world w;
    size_t n;

    (void)state;
    open_world(&w);
    for (int s = 0; s <= 60; s += STEP_S) {
        w.now_ms = BEGIN_MS + s * 1000;
        publish(&w, 1, s);
        run_ingest(&w);
        run_aggregate(&w);
    }
    history_ram_rows(w.history, &n);
    assert_int_equal(n, 0);
    w.now_ms = BEGIN_MS + 70500;
    run_aggregate(&w);
    const struct minute *const *rows = history_ram_rows(w.history, &n);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0]->n, 12);
    close_world(&w);
}

/* Everything may fail, be delivered again, or be killed and started anew. */
static void trouble(struct world *w, uint64_t *random)
{
    switch (random_next(random) % 24) {
    case 0:
        hot_ram_fail_next(w->hot, 1 + (int)(random_next(random) % 3), false);
        break;
    case 1:
        hot_ram_fail_next(w->hot, 1, true);
        break;
    case 2:
        history_ram_fail_next(w->history, 1, false);
        break;
    case 3:
        history_ram_fail_next(w->history, 1, true);
        break;
    case 4:
        broker_ram_drop_connection(w->broker);
        break;
    case 5:
        broker_ram_drop_connection(w->broker);
        start_ingest(w);
        break;
    case 6:
        start_aggregate(w);
        break;
    default:
        break;
    }
}

static void trouble_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world w;
        uint64_t random = seed;
        open_world(&w);
        for (int s = 0; s < MINUTES * 60; s += STEP_S) {
            if (w.now_ms < BEGIN_MS + s * 1000)
                w.now_ms = BEGIN_MS + s * 1000;
            for (int m = 0; m < METERS; m++)
                publish(&w, m, s);
            trouble(&w, &random);
            /* At times the stages stand still for a while. */
            if (random_next(&random) % 4)
                run_ingest(&w);
            if (random_next(&random) % 4)
                run_aggregate(&w);
        }
        hot_ram_fail_next(w.hot, 0, false);
        history_ram_fail_next(w.history, 0, false);
        run_ingest(&w);
        drain(&w);
        expect_rows(&w);
        close_world(&w);
    }
}

/* Fisher and Yates */
static void shuffle(int *order, int n, uint64_t *random)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(random_next(random) % (uint64_t)(i + 1)), moved = order[i];
        order[i] = order[j];
        order[j] = moved;
    }
}

/*
 * Messages arrive late and in any order: each for itself, or, as when a meter sends its backlog,
 * minute by minute with whole minutes changing places. The rows are the same.
 */
static void disorder_changes_nothing(void **state)
{
    enum { PER_MINUTE = METERS * 60 / STEP_S, TOTAL = MINUTES * PER_MINUTE };

    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct world w;
        uint64_t random = seed;
        int order[TOTAL], minutes[MINUTES];
        bool whole_minutes = seed % 2;
        open_world(&w);
        w.now_ms = BEGIN_MS + MINUTES * 60000;
        for (int i = 0; i < TOTAL; i++)
            order[i] = i;
        for (int i = 0; i < MINUTES; i++)
            minutes[i] = i;
        shuffle(minutes, MINUTES, &random);
        if (!whole_minutes)
            shuffle(order, TOTAL, &random);
        for (int i = 0; i < TOTAL; i++) {
            int k =
                whole_minutes ? minutes[i / PER_MINUTE] * PER_MINUTE + i % PER_MINUTE : order[i];
            publish(&w, k % METERS, k / METERS * STEP_S);
            if (random_next(&random) % 8 == 0 || (whole_minutes && (i + 1) % PER_MINUTE == 0)) {
                run_ingest(&w);
                run_aggregate(&w);
                w.now_ms += (int64_t)(random_next(&random) % 20000);
            }
        }
        run_ingest(&w);
        drain(&w);
        expect_rows(&w);
        close_world(&w);
    }
}

static void the_newest_message_is_the_latest(void **state)
{
    struct world w;
    struct hot_latest l;
    struct err e;
    const char *id = "M1";

    (void)state;
    open_world(&w);
    w.now_ms = BEGIN_MS + 60000;
    publish(&w, 1, 30);
    publish(&w, 1, 50);
    publish(&w, 1, 40);
    run_ingest(&w);
    start_ingest(&w); /* forgets what it knew */
    publish(&w, 1, 45);
    run_ingest(&w);
    assert_true(w.hot->ops->latest(w.hot, &id, 1, &l, &e));
    assert_non_null(strstr(l.data, "04:00:50Z"));
    hot_latest_clear(&l, 1);
    close_world(&w);
}

static void rubbish_is_counted_acknowledged_and_kept(void **state)
{
    struct world w;
    struct hot_quarantined q[4];
    struct err e;
    size_t n;

    (void)state;
    open_world(&w);
    w.now_ms = BEGIN_MS;
    broker_ram_publish(w.broker, topic_path(TOPIC_DATA), "rubbish", 7, NULL);
    publish(&w, 1, 3600); /* an hour ahead */
    publish(&w, 1, 0);
    run_ingest(&w);
    assert_int_equal(ingest_counters(w.ingest)->rejected[FAULT_NOT_JSON], 1);
    assert_int_equal(ingest_counters(w.ingest)->rejected[FAULT_IN_FUTURE], 1);
    assert_int_equal(ingest_counters(w.ingest)->stored, 1);
    assert_true(w.hot->ops->quarantine(w.hot, 4, q, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(q[0].reason, "in_future");
    assert_string_equal(q[0].meter_id, "M1");
    assert_string_equal(q[1].reason, "not_json");
    assert_int_equal(q[1].payload_len, 7);
    hot_quarantined_clear(q, n);
    close_world(&w);
}

static void a_stamped_publisher_speaks_only_for_itself(void **state)
{
    struct world w;
    static const char payload[] = "{\"meterId\":\"M1\",\"datetime\":\"2025-10-26T04:00:00Z\","
                                  "\"data\":{}}";

    (void)state;
    open_world(&w);
    struct ingest_options o = {.broker = w.broker,
                               .hot = w.hot,
                               .clock = &w.clock,
                               .limits = {.future_ms = 300000, .past_ms = 366 * DAY_MS},
                               .identity = IDENTITY_PROPERTY,
                               .batch_most = 16};
    ingest_free(w.ingest);
    w.ingest = ingest_new(&o);
    broker_ram_publish(w.broker, topic_path(TOPIC_DATA), payload, sizeof payload - 1, "M1");
    broker_ram_publish(w.broker, topic_path(TOPIC_DATA), payload, sizeof payload - 1, "M12");
    broker_ram_publish(w.broker, topic_path(TOPIC_DATA), payload, sizeof payload - 1, NULL);
    run_ingest(&w);
    assert_int_equal(ingest_counters(w.ingest)->stored, 1);
    assert_int_equal(ingest_counters(w.ingest)->rejected[FAULT_WRONG_IDENTITY], 2);
    close_world(&w);
}

static void a_silent_meter_leaves_latest_and_stays_in_the_registry(void **state)
{
    struct world w;
    struct hot_latest l;
    struct err e;
    const char *id = "M1";
    bool known;

    (void)state;
    open_world(&w);
    publish(&w, 1, 0);
    run_ingest(&w);
    drain(&w);
    w.now_ms += 3600000;
    run_aggregate(&w);
    assert_true(w.hot->ops->latest(w.hot, &id, 1, &l, &e));
    assert_null(l.data);
    hot_latest_clear(&l, 1);
    assert_true(w.history->ops->meter_known(w.history, id, &known, &e));
    assert_true(known);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_become_rows),
        cmocka_unit_test(a_minute_is_computed_within_twenty_seconds),
        cmocka_unit_test(trouble_changes_nothing),
        cmocka_unit_test(disorder_changes_nothing),
        cmocka_unit_test(the_newest_message_is_the_latest),
        cmocka_unit_test(rubbish_is_counted_acknowledged_and_kept),
        cmocka_unit_test(a_stamped_publisher_speaks_only_for_itself),
        cmocka_unit_test(a_silent_meter_leaves_latest_and_stays_in_the_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
