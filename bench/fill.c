/*
 * One minute of a fleet, written straight into Redis as ingest would: 12 data and 2 status messages
 * of each meter for the last whole minute, and the first data message of the minute after it.
 *
 *   ENERLINK_REDIS_URL=... fill --meters 10000
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/metric.h"
#include "core/snapshot.h"
#include "core/when.h"
#include "stores/hot.h"

enum { BATCH = 256 };

struct filler {
    struct hot *hot;
    struct hot_put puts[BATCH];
    char ids[BATCH][METER_ID_SIZE];
    uint8_t members[BATCH][SNAPSHOT_SIZE_MOST];
    size_t n;
};

static void flush(struct filler *f)
{
    struct err e;
    struct hot_batch batch = {
        .puts = f->puts, .n_puts = f->n, .now_ms = clock_wall_ms(clock_system())};

    if (f->n > 0 && !f->hot->ops->store(f->hot, &batch, &e))
        die("%s", e.text);
    f->n = 0;
}

/* Plausible values of seven digits; counters rise by what the power gives in five seconds. */
static void make_reading(struct reading *r, enum topic topic, int meter, int64_t time_ms)
{
    r->topic = topic;
    r->time_ms = time_ms;
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        const struct metric_info *info = &metric_table[m];
        r->v[m] = NAN;
        if (info->topic != topic || info->kind == KIND_TEXT)
            continue;
        if (info->kind == KIND_FLAG)
            r->v[m] = (double)((meter + (int)m) % 2);
        else if (info->kind == KIND_STATE)
            r->v[m] = 0;
        else if (info->kind == KIND_COUNTER || info->kind == KIND_BALANCE)
            r->v[m] = round((meter * 10.0 + (double)(time_ms / 1000 % 1000000) / 7) * 1e4) / 1e4;
        else
            r->v[m] = round(fmin(info->hi, (meter % 977) * 1.25 + (double)m) * 100) / 100;
    }
    r->v[METRIC_BATTERY_VALID] = r->v[METRIC_BATTERY_CONNECTED] = topic == TOPIC_DATA ? 1 : NAN;
}

static void put(struct filler *f, const struct reading *r, int meter)
{
    struct hot_put *p = &f->puts[f->n];

    snprintf(f->ids[f->n], sizeof f->ids[f->n], "BENCH%06d", meter);
    *p = (struct hot_put){.meter_id = f->ids[f->n],
                          .topic = r->topic,
                          .time_ms = r->time_ms,
                          .member = f->members[f->n],
                          .member_len = snapshot_pack(r, f->members[f->n]),
                          .dirty = {when_floor(r->time_ms, MINUTE_MS)},
                          .n_dirty = 1};
    if (++f->n == BATCH)
        flush(f);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"meters", required_argument, NULL, 'm'}, {0}};
    static struct filler f;
    int meters = 10000;
    struct err e;
    const char *url = getenv("ENERLINK_REDIS_URL");

    log_init("fill");
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'm')
            meters = atoi(optarg);
        else
            return 2;
    }
    if (!url)
        die("ENERLINK_REDIS_URL is not set");
    struct hot_redis_options how = {
        .url = url, .timeout_ms = 10000, .quarantine_bytes = 1 << 20, .safety_expiry_s = 7 * 86400};
    f.hot = hot_redis_open(&how, &e);
    if (!f.hot)
        die("%s", e.text);
    int64_t minute_ms = when_floor(clock_wall_ms(clock_system()), MINUTE_MS) - MINUTE_MS;
    for (int s = 0; s <= 60; s += 5)
        for (int meter = 0; meter < meters; meter++) {
            struct reading r;
            make_reading(&r, TOPIC_DATA, meter, minute_ms + (s + meter % 5) * 1000);
            put(&f, &r, meter);
            if (s == 10 || s == 40) {
                make_reading(&r, TOPIC_STATUS, meter, minute_ms + s * 1000);
                put(&f, &r, meter);
            }
        }
    flush(&f);
    f.hot->ops->close(f.hot);
    return 0;
}
