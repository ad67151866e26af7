/*
 * One subscriber's MQTT 5 session: what to send, what to make of what comes, and which messages
 * may be acknowledged. Pure: the caller moves the bytes and tells the time.
 *
 *     space/received   bytes from the broker go in; they stay where they are, messages point to
 * them take             messages come out, in order of arrival acknowledge      all taken so far
 * are acknowledged, and what they point to is gone output/sent      bytes for the broker
 *     tick/due_ms      keep alive
 *
 * The session lives at the broker and goes on over many connections. With each new one, messages
 * that were not acknowledged are forgotten here, since the broker sends them again.
 *
 * After a call has failed, only output (a last word to the broker may wait there), connect and
 * free are of use.
 */
#ifndef STORES_MQTT_SESSION_H
#define STORES_MQTT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "stores/broker.h"

struct mqtt_session_options {
    const char *client_id;
    const char *user, *password; /* NULL: none */
    const char *const *topics;   /* NULL-terminated filters */
    const char *share_group;     /* NULL: not shared */
    uint32_t session_expiry_s;
    uint16_t receive_maximum;
    uint16_t keep_alive_s;
    size_t packet_most;           /* the largest packet accepted, announced to the broker */
    size_t pending_messages_most; /* received and not acknowledged: at this many, */
    size_t pending_bytes_most;    /* or this many bytes, space gives no room */
};

struct mqtt_session;

/* Everything in *o is copied. NULL and *e when it cannot be used. */
struct mqtt_session *mqtt_session_new(const struct mqtt_session_options *o, struct err *e);
void mqtt_session_free(struct mqtt_session *s);

/* A connection is open: begin with CONNECT. */
void mqtt_session_connect(struct mqtt_session *s, int64_t now_ms);

/* Where to put bytes from the broker, and how many; NULL while the bounds forbid to read. */
char *mqtt_session_space(struct mqtt_session *s, size_t *room);

/*
 * n bytes were put there (0: only go on with what is left from before, which a full list of
 * pending messages had stopped). False: the connection must be closed.
 */
bool mqtt_session_received(struct mqtt_session *s, size_t n, int64_t now_ms, struct err *e);

/* Messages that take would give. */
size_t mqtt_session_waiting(const struct mqtt_session *s);
int mqtt_session_take(struct mqtt_session *s, struct broker_message *out, int most);
void mqtt_session_acknowledge(struct mqtt_session *s);

/* What is to be sent, *len of it, and that n bytes of it were. */
const char *mqtt_session_output(const struct mqtt_session *s, size_t *len);
void mqtt_session_sent(struct mqtt_session *s, size_t n);

/*
 * Keep the connection alive. drained: there was nothing more to read just now. Only then does
 * silence count against the broker; its answer may be among what was not read.
 */
bool mqtt_session_tick(struct mqtt_session *s, int64_t now_ms, bool drained, struct err *e);
int64_t mqtt_session_due_ms(const struct mqtt_session *s); /* when tick has something to do */

/* Connected, and every subscription granted. */
bool mqtt_session_ready(const struct mqtt_session *s);
/* What ready waits for, in words. */
const char *mqtt_session_waits_for(const struct mqtt_session *s);
/* Whether the broker had kept the session when this connection began. */
bool mqtt_session_resumed(const struct mqtt_session *s);

/* Say good-bye; the broker keeps the session. */
void mqtt_session_disconnect(struct mqtt_session *s);

/* connected is mqtt_session_ready. */
void mqtt_session_stats(const struct mqtt_session *s, struct broker_stats *out);

#endif
