#include "app/connect.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/url.h"
#include "core/metric.h"
#include "stores/broker.h"

enum {
    HISTORY_CONNECT_TIMEOUT_S = 5,
    SAFETY_EXPIRY_S = 7 * 86400,
};

struct hot *connect_hot(const struct settings *s, int timeout_ms, struct err *e)
{
    struct hot_redis_options o = {.url = s->redis_url,
                                  .timeout_ms = timeout_ms,
                                  .quarantine_bytes = (size_t)s->quarantine_bytes,
                                  .safety_expiry_s = SAFETY_EXPIRY_S};

    if (!*s->redis_url) {
        err_set(e, ERR_FATAL, "ENERLINK_REDIS_URL is not set");
        return NULL;
    }
    return hot_redis_open(&o, e);
}

struct history *connect_history(const struct settings *s, const char *application_name,
                                int statement_timeout_ms, struct err *e)
{
    struct history_pg_options o = {.url = s->pg_url,
                                   .application_name = application_name,
                                   .connect_timeout_s = HISTORY_CONNECT_TIMEOUT_S,
                                   .statement_timeout_ms = statement_timeout_ms};

    if (!*s->pg_url) {
        err_set(e, ERR_FATAL, "ENERLINK_PG_URL is not set");
        return NULL;
    }
    return history_pg_open(&o, e);
}

static bool wait_subscribed(struct broker *broker, int timeout_ms, struct err *e)
{
    enum { WAIT_MS = 50, MESSAGES = 16 };
    struct broker_message messages[MESSAGES];
    struct broker_stats stats;
    const struct clock *clock = clock_system();
    int64_t end_ms = clock_mono_ms(clock) + timeout_ms;

    err_set(e, ERR_RETRY, "no answer within %d ms", timeout_ms);
    do {
        struct err trial = {0};
        if (broker_receive(broker, messages, MESSAGES, WAIT_MS, &trial) < 0) {
            *e = trial;
            clock_sleep_ms(clock, WAIT_MS);
        }
        broker_stats(broker, &stats);
    } while (!stats.connected && clock_mono_ms(clock) < end_ms);
    return stats.connected;
}

static bool probe_one(const struct settings *s, const char *url, int timeout_ms, struct err *e)
{
    const char *const topics[] = {topic_path(TOPIC_DATA), NULL};
    char client_id[64];

    snprintf(client_id, sizeof client_id, "enerlink-probe-%d", (int)getpid());
    struct broker_mqtt_options o = {.url = url,
                                    .client_id = client_id,
                                    .topics = topics,
                                    .session_expiry_s = 1,
                                    .receive_maximum = 1,
                                    .pending_messages_most = 16,
                                    .pending_bytes_most = 1 << 20,
                                    .keep_alive_s = 30,
                                    .connect_timeout_ms = timeout_ms,
                                    .ca_file = *s->mqtt_ca ? s->mqtt_ca : NULL,
                                    .cert_file = *s->mqtt_cert ? s->mqtt_cert : NULL,
                                    .key_file = *s->mqtt_key ? s->mqtt_key : NULL};
    struct broker *broker = broker_mqtt_open(&o, e);

    if (!broker)
        return false;
    bool ok = wait_subscribed(broker, timeout_ms, e);
    broker_close(broker);
    return ok;
}

bool connect_try_broker(const struct settings *s, const char *urls, int timeout_ms, struct err *e)
{
    bool ok = true;

    for (char *one; ok && (one = url_list_next(&urls)); free(one))
        ok = probe_one(s, one, timeout_ms, e);
    return ok;
}
