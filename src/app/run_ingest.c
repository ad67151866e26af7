/* enerlink ingest: the main loop around ingest_step. */
#include <stdlib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/connect.h"
#include "app/stage_loop.h"
#include "base/clock.h"
#include "base/stop.h"
#include "base/url.h"
#include "core/when.h"
#include "stages/ingest.h"

enum { BATCH_MOST = 512, WAIT_MS = 200, HOT_TIMEOUT_MS = 5000 };

static struct broker *open_broker(const struct settings *s)
{
    static const char *const topics[] = {"enerlink/meters/data", "enerlink/meters/status", NULL};
    const char *list = s->mqtt_url;
    struct err e;
    struct broker_mqtt_options o = {
        .client_id = s->mqtt_client_id,
        .topics = topics,
        .share_group = *s->mqtt_group ? s->mqtt_group : NULL,
        .session_expiry_s = 30 * 86400,
        .receive_maximum = 1000,
        .pending_messages_most = 4096,
        .pending_bytes_most = 32u << 20,
        .keep_alive_s = 30,
        .connect_timeout_ms = 5000,
        .ca_file = *s->mqtt_ca ? s->mqtt_ca : NULL,
        .cert_file = *s->mqtt_cert ? s->mqtt_cert : NULL,
        .key_file = *s->mqtt_key ? s->mqtt_key : NULL,
    };

    if (!*s->mqtt_url) {
        log_warn("ENERLINK_MQTT_URL is not set: give mqtt://user:password@host:1883");
        return NULL;
    }
    char *url = url_list_next(&list), *second = url_list_next(&list);
    struct broker *broker = NULL;
    o.url = url;
    if (second)
        log_warn("ENERLINK_MQTT_URL: one ingest process serves one broker; start one for each");
    else if (!(broker = broker_mqtt_open(&o, &e)))
        log_warn("ENERLINK_MQTT_URL: %s", e.text);
    free(second);
    free(url);
    return broker;
}

static void write_health(void *ctx, struct buf *out)
{
    ingest_write_health(ctx, out);
}

static void run(struct ingest *in, struct broker *broker, struct hot *hot)
{
    struct stage_loop loop;
    struct broker_stats stats;
    struct err e;

    stage_loop_init(&loop, "ingest", hot);
    while (!stop_requested()) {
        if (ingest_step(in, WAIT_MS, &e))
            stage_loop_succeeded(&loop);
        else
            stage_loop_failed(&loop, &e);
        broker_stats(broker, &stats);
        if (stats.connected)
            stage_loop_ready(&loop);
        stage_loop_health(&loop, write_health, in);
    }
}

int command_ingest(const struct settings *s)
{
    char token[64];

    log_init("ingest");
    stop_on_signals();
    struct err e;
    struct broker *broker = open_broker(s);
    if (!broker)
        return EXIT_FAILED;
    struct hot *hot = connect_hot(s, HOT_TIMEOUT_MS, &e);
    if (!hot) {
        log_warn("%s", e.text);
        broker_close(broker);
        return EXIT_FAILED;
    }
    snprintf(token, sizeof token, "%d-%" PRId64, (int)getpid(), clock_wall_ms(clock_system()));
    struct ingest_options o = {
        .broker = broker,
        .hot = hot,
        .clock = clock_system(),
        .limits = {.future_ms = s->future_s * 1000, .past_ms = s->late_days * DAY_MS},
        .timeseries_json = strcmp(s->timeseries_format, "json") == 0,
        .identity = strcmp(s->mqtt_identity, "property") == 0 ? IDENTITY_PROPERTY : IDENTITY_NONE,
        .batch_most = BATCH_MOST,
        .writer = s->mqtt_client_id,
        .token = token,
    };
    struct ingest *in = ingest_new(&o);
    run(in, broker, hot);
    ingest_free(in);
    broker_close(broker);
    hot->ops->close(hot);
    log_info("stopped");
    return EXIT_DONE;
}
