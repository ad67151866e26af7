#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/connect.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "core/metric.h"
#include "core/reading.h"
#include "core/snapshot.h"
#include "core/when.h"

enum { VALUES_SHOWN = 7, WAITING_SHOWN = 20 };

/* The values a person looks at first, by topic. */
static const enum metric shown[TOPIC_COUNT][VALUES_SHOWN] = {
    [TOPIC_DATA] = {METRIC_IMPORT_POWER, METRIC_EXPORT_POWER, METRIC_SOLAR_OUTPUT_POWER,
                    METRIC_LOAD_HOME_POWER, METRIC_BATTERY_SOC, METRIC_IMPORT_TOTAL_ENERGY,
                    METRIC_EXPORT_TOTAL_ENERGY},
    [TOPIC_STATUS] = {METRIC_WIFI_RSSI, METRIC_MQTT_ATTEMPTS, METRIC_GRID_MODE,
                      METRIC_SYSTEM_STATUS, METRIC_SYSTEM_FREE_HEAP, METRIC_SYSTEM_UPTIME,
                      METRIC_SENSORS_TOTAL_COUNT},
};

/* What a meter sent could drive a terminal: show only what is harmless there. */
static void add_harmless(struct buf *b, const char *s, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t cp;
        size_t used = utf8_decode(s + at, len - at, &cp);
        bool marks = cp == 0x200e || cp == 0x200f || (cp >= 0x2028 && cp <= 0x202e) ||
                     (cp >= 0x2066 && cp <= 0x2069);
        if (used == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || marks)
            buf_addc(b, '?');
        else
            buf_add(b, s + at, used);
        at += used ? used : 1;
    }
}

static void print_message(const char *name, const char *json, size_t len)
{
    struct buf text;

    buf_init(&text, 0);
    if (json)
        add_harmless(&text, json, len);
    printf("latest %s: %s\n", name, json ? text.data : "none");
    buf_clear(&text);
}

static bool print_latest(struct hot *hot, const char *meter_id, struct err *e)
{
    struct hot_latest latest = {0};
    char seen[WHEN_TEXT_SIZE];

    if (!hot->ops->latest(hot, &meter_id, 1, &latest, e))
        return false;
    printf("%s, last heard of: %s\n", meter_id,
           latest.seen_ms ? when_text(latest.seen_ms, seen) : "not within the TTL");
    print_message("data", latest.data, latest.data_len);
    print_message("status", latest.status, latest.status_len);
    hot_latest_clear(&latest, 1);
    return true;
}

struct table {
    enum topic topic;
    size_t rows;
};

static void print_heading(enum topic topic)
{
    printf("\n%-26s", topic_name(topic));
    for (size_t i = 0; i < VALUES_SHOWN; i++)
        printf(" %19s", metric_table[shown[topic][i]].path);
    printf("\n%-26s", "");
    for (size_t i = 0; i < VALUES_SHOWN; i++)
        printf(" %19s", unit_name(metric_table[shown[topic][i]].unit));
    printf("\n");
}

static void print_value(enum metric m, double v)
{
    struct buf text;

    if (isnan(v)) {
        printf(" %19s", "-");
        return;
    }
    if (metric_table[m].kind == KIND_STATE) {
        printf(" %19s", metric_table[m].words[(size_t)v]);
        return;
    }
    buf_init(&text, 0);
    buf_add_double(&text, v);
    printf(" %19s", text.data);
    buf_clear(&text);
}

static void print_row(void *ctx, const struct hot_member *member)
{
    struct table *t = ctx;
    struct reading r = {0};
    struct err e;
    char time[WHEN_TEXT_SIZE];

    if (!snapshot_unpack(member->bytes, member->len, &r, &e)) {
        if (t->topic == TOPIC_DATA)
            printf("%-26s %zu bytes cannot be read: %s\n", "?", member->len, e.text);
        return;
    }
    if (r.topic != t->topic)
        return;
    printf("%-26s", when_text(r.time_ms, time));
    for (size_t i = 0; i < VALUES_SHOWN; i++)
        print_value(shown[t->topic][i], r.v[shown[t->topic][i]]);
    printf("\n");
    t->rows++;
}

static bool print_series(struct hot *hot, const char *meter_id, struct err *e)
{
    for (enum topic topic = 0; topic < TOPIC_COUNT; topic++) {
        struct table t = {.topic = topic};
        print_heading(topic);
        if (!hot->ops->read(hot, &meter_id, 1, 0, INT64_MAX, print_row, &t, e))
            return false;
        printf("%zu readings\n", t.rows);
    }
    return true;
}

static bool print_waiting(struct hot *hot, struct err *e)
{
    int64_t minutes[WAITING_SHOWN];
    size_t n;
    struct hot_usage usage;
    char text[WHEN_TEXT_SIZE];
    int64_t soon_ms = clock_wall_ms(clock_system()) + DAY_MS;

    if (!hot->ops->usage(hot, &usage, e) ||
        !hot->ops->due_minutes(hot, soon_ms, minutes, WAITING_SHOWN, &n, e))
        return false;
    printf("\nminutes waiting to be aggregated (of any meter): %llu\n",
           (unsigned long long)usage.minutes_waiting);
    for (size_t i = 0; i < n; i++)
        printf("  %s\n", when_text(minutes[i], text));
    return true;
}

int command_inspect(const struct settings *s, const char *meter_id)
{
    struct err e;

    if (!meter_id_valid(meter_id, strlen(meter_id))) {
        log_warn("\"%.64s\" is no meter id: [A-Za-z0-9][A-Za-z0-9._-]{0,63}, not \"all\"",
                 meter_id);
        return EXIT_USAGE;
    }
    struct hot *hot = connect_hot(s, CONNECT_TOOL_TIMEOUT_MS, &e);
    if (!hot) {
        log_warn("%s", e.text);
        return EXIT_FAILED;
    }
    bool ok = print_latest(hot, meter_id, &e) && print_series(hot, meter_id, &e) &&
              print_waiting(hot, &e);
    if (!ok)
        log_warn("%s", e.text);
    hot->ops->close(hot);
    return ok ? EXIT_DONE : EXIT_FAILED;
}
