/*
 * MQTT 5 on the wire, as far as a subscriber needs it: what it sends, and what a server sends it.
 *
 * Pure: bytes in, structs out. Decoding copies nothing; the texts of a packet point into the bytes
 * given. Everything the standard forbids is refused with the reason code to answer it with.
 * Section numbers in comments are those of OASIS "MQTT Version 5.0".
 */
#ifndef STORES_MQTT_CODEC_H
#define STORES_MQTT_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum mqtt_type {
    MQTT_CONNECT = 1,
    MQTT_CONNACK,
    MQTT_PUBLISH,
    MQTT_PUBACK,
    MQTT_PUBREC,
    MQTT_PUBREL,
    MQTT_PUBCOMP,
    MQTT_SUBSCRIBE,
    MQTT_SUBACK,
    MQTT_UNSUBSCRIBE,
    MQTT_UNSUBACK,
    MQTT_PINGREQ,
    MQTT_PINGRESP,
    MQTT_DISCONNECT,
    MQTT_AUTH,
    MQTT_TYPE_COUNT,
};

/* Section 2.2.2.2. */
enum mqtt_property {
    MQTT_PAYLOAD_FORMAT = 0x01,
    MQTT_MESSAGE_EXPIRY = 0x02,
    MQTT_CONTENT_TYPE = 0x03,
    MQTT_RESPONSE_TOPIC = 0x08,
    MQTT_CORRELATION_DATA = 0x09,
    MQTT_SUBSCRIPTION_ID = 0x0b,
    MQTT_SESSION_EXPIRY = 0x11,
    MQTT_ASSIGNED_CLIENT_ID = 0x12,
    MQTT_SERVER_KEEP_ALIVE = 0x13,
    MQTT_AUTH_METHOD = 0x15,
    MQTT_AUTH_DATA = 0x16,
    MQTT_RESPONSE_INFO = 0x1a,
    MQTT_SERVER_REFERENCE = 0x1c,
    MQTT_REASON_STRING = 0x1f,
    MQTT_RECEIVE_MAXIMUM = 0x21,
    MQTT_TOPIC_ALIAS_MAXIMUM = 0x22,
    MQTT_TOPIC_ALIAS = 0x23,
    MQTT_MAXIMUM_QOS = 0x24,
    MQTT_RETAIN_AVAILABLE = 0x25,
    MQTT_USER_PROPERTY = 0x26,
    MQTT_MAXIMUM_PACKET_SIZE = 0x27,
    MQTT_WILDCARD_AVAILABLE = 0x28,
    MQTT_SUBSCRIPTION_ID_AVAILABLE = 0x29,
    MQTT_SHARED_AVAILABLE = 0x2a,
    MQTT_PROPERTY_COUNT,
};

/* The reason codes this client sends or decides upon; mqtt_reason_name knows all of them. */
enum mqtt_reason {
    MQTT_NORMAL = 0x00,
    MQTT_FAILURE = 0x80, /* this and above: an error */
    MQTT_MALFORMED_PACKET = 0x81,
    MQTT_PROTOCOL_ERROR = 0x82,
    MQTT_TOPIC_ALIAS_INVALID = 0x94,
    MQTT_PACKET_TOO_LARGE = 0x95,
    MQTT_QOS_NOT_SUPPORTED = 0x9b,
};

enum { MQTT_TEXT_MOST = 65535 }; /* bytes of any string on the wire */

struct mqtt_text { /* not NUL-terminated */
    const char *at;
    size_t len;
};

struct mqtt_properties {
    uint64_t seen; /* bit p: property p was there, and only then its value below is set */
    struct {
        uint32_t number;
        struct mqtt_text text;
    } value[MQTT_PROPERTY_COUNT];
    struct mqtt_text publisher; /* user property "publisher", the last one; at NULL: none */
};

struct mqtt_packet {
    enum mqtt_type type;
    size_t size;              /* bytes of the whole packet */
    enum mqtt_reason reason;  /* CONNACK, PUBACK, DISCONNECT; when malformed: what to answer */
    uint16_t packet_id;       /* PUBLISH (0 with QoS 0), PUBACK, SUBACK, UNSUBACK */
    bool session_present;     /* CONNACK */
    bool duplicate;           /* PUBLISH: delivered again */
    int qos;                  /* PUBLISH */
    struct mqtt_text topic;   /* PUBLISH */
    struct mqtt_text payload; /* PUBLISH */
    struct mqtt_text reasons; /* SUBACK, UNSUBACK: one byte for each topic filter */
    struct mqtt_properties properties;
};

enum mqtt_result {
    MQTT_COMPLETE,   /* *p is set */
    MQTT_INCOMPLETE, /* more bytes are needed: p->size in all, 0 when that is not known yet */
    MQTT_BROKEN,     /* *e says why, p->reason what to tell the server before closing */
};

/*
 * Decode the packet at the start of bytes; most is the largest packet accepted. Only the members
 * of *p that belong to its type are set.
 */
enum mqtt_result mqtt_decode(const char *bytes, size_t len, size_t most, struct mqtt_packet *p,
                             struct err *e);

/* Whether p has this property; its number, or `otherwise` when it has not. */
bool mqtt_has(const struct mqtt_packet *p, enum mqtt_property property);
uint32_t mqtt_number(const struct mqtt_packet *p, enum mqtt_property property, uint32_t otherwise);

/* "not authorized"; "unknown reason" for a code the standard does not have. */
const char *mqtt_reason_name(enum mqtt_reason reason);

/* Whether waiting cannot cure it: the settings of this client or of the server must change. */
bool mqtt_reason_is_final(enum mqtt_reason reason);

struct mqtt_connect {
    const char *client_id;
    const char *user, *password; /* NULL: none */
    uint16_t keep_alive_s;
    uint32_t session_expiry_s;
    uint16_t receive_maximum;
    uint32_t packet_most;
};

/*
 * Append a packet to out. Clean start is 0, so that a session goes on. No text is longer than
 * MQTT_TEXT_MOST.
 */
void mqtt_put_connect(struct buf *out, const struct mqtt_connect *c);
/* QoS 1; retained messages come only when the subscription is new. */
void mqtt_put_subscribe(struct buf *out, uint16_t packet_id, const char *const *filters, size_t n);
void mqtt_put_unsubscribe(struct buf *out, uint16_t packet_id, const char *const *filters,
                          size_t n);
void mqtt_put_puback(struct buf *out, uint16_t packet_id);
void mqtt_put_pingreq(struct buf *out);
void mqtt_put_disconnect(struct buf *out, enum mqtt_reason reason);

#endif
