/*
 * The broker: messages in, acknowledged only when the caller says so.
 *
 * The stage's loop is: receive a batch, store it, acknowledge it. Nothing is acknowledged by
 * itself. A message that was received but not acknowledged when the connection breaks, or the
 * process dies, is delivered again; so everything done with a message must be safe to repeat.
 *
 * broker_mqtt.c talks to real brokers (MQTT 5, QoS 1, persistent session); broker_ram.c lives in
 * the process, for tests.
 */
#ifndef STORES_BROKER_H
#define STORES_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct broker_message {
    const char *topic; /* not NUL-terminated */
    size_t topic_len;
    const char *payload;
    size_t payload_len;
    bool redelivered;      /* the broker says it may have been delivered before */
    const char *publisher; /* name stamped by the broker (user property "publisher"), NULL: none */
    size_t publisher_len;
};

/* What a broker is and how it is doing; counters since the start of the process. */
struct broker_stats {
    bool connected;
    uint64_t received, acknowledged, redelivered, reconnects, sessions_lost, window_violations;
    uint64_t bytes_received;
};

struct broker; /* one connection, reconnected as needed */

struct broker_ops {
    /*
     * Wait at most wait_ms for messages and give up to most of them, in order of arrival. What
     * they point to lives until the next broker_acknowledge or broker_receive that returns -1.
     * 0: none came. -1: the connection is down (*e says why); unacknowledged messages are void
     * and come again after the reconnect, which the next calls attempt with back-off. most 0 takes
     * nothing and only keeps the connection alive: call so while the store does not take messages.
     */
    int (*receive)(struct broker *b, struct broker_message *out, int most, int wait_ms,
                   struct err *e);
    /* Acknowledge every message given out so far, in their order. */
    bool (*acknowledge)(struct broker *b, struct err *e);
    void (*stats)(const struct broker *b, struct broker_stats *out);
    /* Say good-bye, keeping the session at the broker. */
    void (*close)(struct broker *b);
};

struct broker {
    const struct broker_ops *ops;
};

static inline int broker_receive(struct broker *b, struct broker_message *out, int most,
                                 int wait_ms, struct err *e)
{
    return b->ops->receive(b, out, most, wait_ms, e);
}

static inline bool broker_acknowledge(struct broker *b, struct err *e)
{
    return b->ops->acknowledge(b, e);
}

static inline void broker_stats(const struct broker *b, struct broker_stats *out)
{
    b->ops->stats(b, out);
}

static inline void broker_close(struct broker *b)
{
    if (b)
        b->ops->close(b);
}

/* A number that is 0 takes the default in brackets. */
struct broker_mqtt_options {
    const char *url;           /* mqtt://user:pass@host:port or mqtts://; never logged whole */
    const char *client_id;     /* stable: names the session at the broker */
    const char *const *topics; /* NULL-terminated filters, subscribed with QoS 1 */
    const char *share_group;   /* NULL, or the group of a shared subscription */
    uint32_t session_expiry_s; /* how long the broker keeps the session while we are away [7 d] */
    uint16_t receive_maximum;  /* messages in flight we ask for [1000] */
    /* Our own bound: beyond it, do not read [2 * receive_maximum, 32 MiB]. */
    size_t pending_messages_most, pending_bytes_most;
    uint16_t keep_alive_s;                      /* [30] */
    int connect_timeout_ms;                     /* [5000] */
    const char *ca_file, *cert_file, *key_file; /* for mqtts://; NULL: system CAs, no client cert */
};

/* Does not connect yet: the first broker_receive does. NULL and *e when the options are unusable.
 */
struct broker *broker_mqtt_open(const struct broker_mqtt_options *o, struct err *e);

#endif
