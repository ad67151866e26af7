#include "stores/mqtt_codec.h"

#include <assert.h>
#include <string.h>

#include "base/utf8.h"

/* ---- Reason codes, section 2.4 -------------------------------------------------------------- */

static const struct {
    const char *name;
    bool is_final;
} reason_table[256] = {
    [0x00] = {"success", false},
    [0x01] = {"granted QoS 1", false},
    [0x02] = {"granted QoS 2", false},
    [0x04] = {"disconnect with will message", false},
    [0x10] = {"no matching subscribers", false},
    [0x11] = {"no subscription existed", false},
    [0x18] = {"continue authentication", false},
    [0x19] = {"re-authenticate", false},
    [0x80] = {"unspecified error", false},
    [0x81] = {"malformed packet", false},
    [0x82] = {"protocol error", false},
    [0x83] = {"implementation specific error", false},
    [0x84] = {"unsupported protocol version", true},
    [0x85] = {"client identifier not valid", true},
    [0x86] = {"bad user name or password", true},
    [0x87] = {"not authorized", true},
    [0x88] = {"server unavailable", false},
    [0x89] = {"server busy", false},
    [0x8a] = {"banned", true},
    [0x8b] = {"server shutting down", false},
    [0x8c] = {"bad authentication method", true},
    [0x8d] = {"keep alive timeout", false},
    [0x8e] = {"session taken over by another client with the same client id", false},
    [0x8f] = {"topic filter invalid", true},
    [0x90] = {"topic name invalid", false},
    [0x91] = {"packet identifier in use", false},
    [0x92] = {"packet identifier not found", false},
    [0x93] = {"receive maximum exceeded", false},
    [0x94] = {"topic alias invalid", false},
    [0x95] = {"packet too large", false},
    [0x96] = {"message rate too high", false},
    [0x97] = {"quota exceeded", false},
    [0x98] = {"administrative action", false},
    [0x99] = {"payload format invalid", false},
    [0x9a] = {"retain not supported", true},
    [0x9b] = {"QoS not supported", true},
    [0x9c] = {"use another server", true},
    [0x9d] = {"server moved", true},
    [0x9e] = {"shared subscriptions not supported", true},
    [0x9f] = {"connection rate exceeded", false},
    [0xa0] = {"maximum connect time", false},
    [0xa1] = {"subscription identifiers not supported", true},
    [0xa2] = {"wildcard subscriptions not supported", true},
};

const char *mqtt_reason_name(enum mqtt_reason reason)
{
    const char *name = reason_table[reason & 0xff].name;

    return name ? name : "unknown reason";
}

bool mqtt_reason_is_final(enum mqtt_reason reason)
{
    return reason_table[reason & 0xff].is_final;
}

/* ---- Reading fields ------------------------------------------------------------------------- */

/*
 * The body of one packet. The first failure is kept, moves to the end, and makes every later read
 * give zeros, so that decoders read as lists of fields and success is asked for once.
 */
struct reader {
    const char *at, *end;
    enum mqtt_reason fault; /* MQTT_NORMAL: none yet */
    unsigned flags;         /* low half of the first byte */
    const char *packet;     /* its name, for messages */
    struct err *e;
};

static void refuse(struct reader *r, enum mqtt_reason reason, const char *what)
{
    if (r->fault != MQTT_NORMAL)
        return;
    r->fault = reason;
    r->at = r->end;
    err_set(r->e, ERR_RETRY, "the broker sent a bad %s packet: %s", r->packet, what);
}

static bool has(struct reader *r, size_t len)
{
    if ((size_t)(r->end - r->at) >= len)
        return true;
    refuse(r, MQTT_MALFORMED_PACKET, "a field goes past its end");
    return false;
}

static uint32_t read_big_endian(struct reader *r, size_t bytes)
{
    uint32_t n = 0;

    if (!has(r, bytes))
        return 0;
    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | (unsigned char)*r->at++;
    return n;
}

enum { VARINT_BYTES_MOST = 4 };

/*
 * Section 1.5.5: seven bits a byte, lowest first, in as few bytes as possible. Returns the bytes
 * it takes, 0 when they are not all there, -1 when it is no such number.
 */
static int get_varint(const char *at, size_t len, uint32_t *n)
{
    *n = 0;
    for (int i = 0; i < VARINT_BYTES_MOST; i++) {
        if ((size_t)i == len)
            return 0;
        unsigned byte = (unsigned char)at[i];
        *n |= (byte & 0x7fu) << (7 * i);
        if (byte < 0x80)
            return byte == 0 && i > 0 ? -1 : i + 1;
    }
    return -1;
}

static uint32_t read_varint(struct reader *r)
{
    uint32_t n;
    int used = get_varint(r->at, (size_t)(r->end - r->at), &n);

    if (used <= 0) {
        refuse(r, MQTT_MALFORMED_PACKET, "bad variable length");
        return 0;
    }
    r->at += used;
    return n;
}

static struct mqtt_text read_binary(struct reader *r)
{
    size_t len = read_big_endian(r, 2);

    if (!has(r, len))
        return (struct mqtt_text){r->end, 0};
    struct mqtt_text text = {r->at, len};
    r->at += len;
    return text;
}

/* Section 1.5.4: well-formed UTF-8 without U+0000. */
static struct mqtt_text read_text(struct reader *r)
{
    struct mqtt_text text = read_binary(r);

    if (utf8_valid_prefix(text.at, text.len) < text.len || memchr(text.at, 0, text.len))
        refuse(r, MQTT_MALFORMED_PACKET, "text that is not UTF-8");
    return text;
}

static uint16_t read_packet_id(struct reader *r)
{
    uint16_t id = (uint16_t)read_big_endian(r, 2);

    if (id == 0)
        refuse(r, MQTT_PROTOCOL_ERROR, "packet identifier 0");
    return id;
}

static struct mqtt_text read_rest(struct reader *r)
{
    struct mqtt_text rest = {r->at, (size_t)(r->end - r->at)};

    r->at = r->end;
    return rest;
}

/* ---- Properties, section 2.2.2 -------------------------------------------------------------- */

enum value_type { TYPE_NONE, TYPE_BYTE, TYPE_TWO, TYPE_FOUR, TYPE_VARINT, TYPE_TEXT, TYPE_BINARY };

#define IN(type) (1u << MQTT_##type)
#define IN_ACK (IN(PUBACK) | IN(SUBACK) | IN(UNSUBACK))
#define ANY_NUMBER 0, UINT32_MAX

/* Properties a server may send, the packets they belong to, and the range of a number. */
static const struct {
    enum value_type type;
    unsigned packets;
    uint32_t least, most;
} property_table[MQTT_PROPERTY_COUNT] = {
    [MQTT_PAYLOAD_FORMAT] = {TYPE_BYTE, IN(PUBLISH), 0, 1},
    [MQTT_MESSAGE_EXPIRY] = {TYPE_FOUR, IN(PUBLISH), ANY_NUMBER},
    [MQTT_CONTENT_TYPE] = {TYPE_TEXT, IN(PUBLISH), ANY_NUMBER},
    [MQTT_RESPONSE_TOPIC] = {TYPE_TEXT, IN(PUBLISH), ANY_NUMBER},
    [MQTT_CORRELATION_DATA] = {TYPE_BINARY, IN(PUBLISH), ANY_NUMBER},
    [MQTT_SUBSCRIPTION_ID] = {TYPE_VARINT, IN(PUBLISH), 1, UINT32_MAX},
    [MQTT_SESSION_EXPIRY] = {TYPE_FOUR, IN(CONNACK), ANY_NUMBER},
    [MQTT_ASSIGNED_CLIENT_ID] = {TYPE_TEXT, IN(CONNACK), ANY_NUMBER},
    [MQTT_SERVER_KEEP_ALIVE] = {TYPE_TWO, IN(CONNACK), ANY_NUMBER},
    [MQTT_AUTH_METHOD] = {TYPE_TEXT, IN(CONNACK), ANY_NUMBER},
    [MQTT_AUTH_DATA] = {TYPE_BINARY, IN(CONNACK), ANY_NUMBER},
    [MQTT_RESPONSE_INFO] = {TYPE_TEXT, IN(CONNACK), ANY_NUMBER},
    [MQTT_SERVER_REFERENCE] = {TYPE_TEXT, IN(CONNACK) | IN(DISCONNECT), ANY_NUMBER},
    [MQTT_REASON_STRING] = {TYPE_TEXT, IN(CONNACK) | IN_ACK | IN(DISCONNECT), ANY_NUMBER},
    [MQTT_RECEIVE_MAXIMUM] = {TYPE_TWO, IN(CONNACK), 1, UINT32_MAX},
    [MQTT_TOPIC_ALIAS_MAXIMUM] = {TYPE_TWO, IN(CONNACK), ANY_NUMBER},
    [MQTT_TOPIC_ALIAS] = {TYPE_TWO, IN(PUBLISH), 1, UINT32_MAX},
    [MQTT_MAXIMUM_QOS] = {TYPE_BYTE, IN(CONNACK), 0, 1},
    [MQTT_RETAIN_AVAILABLE] = {TYPE_BYTE, IN(CONNACK), 0, 1},
    [MQTT_USER_PROPERTY] = {TYPE_TEXT, IN(CONNACK) | IN(PUBLISH) | IN_ACK | IN(DISCONNECT),
                            ANY_NUMBER},
    [MQTT_MAXIMUM_PACKET_SIZE] = {TYPE_FOUR, IN(CONNACK), 1, UINT32_MAX},
    [MQTT_WILDCARD_AVAILABLE] = {TYPE_BYTE, IN(CONNACK), 0, 1},
    [MQTT_SUBSCRIPTION_ID_AVAILABLE] = {TYPE_BYTE, IN(CONNACK), 0, 1},
    [MQTT_SHARED_AVAILABLE] = {TYPE_BYTE, IN(CONNACK), 0, 1},
};

static const size_t number_bytes[] = {[TYPE_BYTE] = 1, [TYPE_TWO] = 2, [TYPE_FOUR] = 4};

bool mqtt_has(const struct mqtt_packet *p, enum mqtt_property property)
{
    return p->properties.seen >> property & 1;
}

uint32_t mqtt_number(const struct mqtt_packet *p, enum mqtt_property property, uint32_t otherwise)
{
    return mqtt_has(p, property) ? p->properties.value[property].number : otherwise;
}

static void read_user_property(struct reader *r, struct mqtt_properties *out)
{
    static const char wanted[] = "publisher";
    struct mqtt_text name = read_text(r);
    struct mqtt_text value = read_text(r);

    if (name.len == sizeof wanted - 1 && memcmp(name.at, wanted, name.len) == 0)
        out->publisher = value;
}

static void read_value(struct reader *r, enum mqtt_property id, struct mqtt_properties *out)
{
    enum value_type type = property_table[id].type;

    if (type == TYPE_TEXT || type == TYPE_BINARY) {
        out->value[id].text = type == TYPE_TEXT ? read_text(r) : read_binary(r);
        return;
    }
    uint32_t n = type == TYPE_VARINT ? read_varint(r) : read_big_endian(r, number_bytes[type]);
    if (n < property_table[id].least || n > property_table[id].most)
        refuse(r, MQTT_PROTOCOL_ERROR, "a property has a value it must not have");
    out->value[id].number = n;
}

/* A user property may come many times, and a subscription identifier once per subscription. */
static bool may_repeat(enum mqtt_property id)
{
    return id == MQTT_USER_PROPERTY || id == MQTT_SUBSCRIPTION_ID;
}

static void read_property(struct reader *r, enum mqtt_type packet, struct mqtt_properties *out)
{
    uint32_t id = read_varint(r);

    if (id >= MQTT_PROPERTY_COUNT || property_table[id].type == TYPE_NONE) {
        refuse(r, MQTT_MALFORMED_PACKET, "a property the standard does not have");
        return;
    }
    if (!(property_table[id].packets >> packet & 1)) {
        refuse(r, MQTT_PROTOCOL_ERROR, "a property that does not belong there");
        return;
    }
    if (out->seen >> id & 1 && !may_repeat(id)) {
        refuse(r, MQTT_PROTOCOL_ERROR, "a property comes twice");
        return;
    }
    out->seen |= UINT64_C(1) << id;
    if (id == MQTT_USER_PROPERTY)
        read_user_property(r, out);
    else
        read_value(r, id, out);
}

static void read_properties(struct reader *r, struct mqtt_packet *p)
{
    uint32_t len = read_varint(r);

    if (!has(r, len))
        return;
    const char *body_end = r->end;
    r->end = r->at + len;
    while (r->at < r->end)
        read_property(r, p->type, &p->properties);
    if (r->fault == MQTT_NORMAL)
        r->end = body_end;
}

/* ---- Packets, chapter 3 --------------------------------------------------------------------- */

static void decode_connack(struct reader *r, struct mqtt_packet *p)
{
    uint32_t flags = read_big_endian(r, 1);

    p->reason = read_big_endian(r, 1);
    p->session_present = flags & 1;
    if (flags > 1)
        refuse(r, MQTT_MALFORMED_PACKET, "reserved flags are set");
    /* A server that knows only MQTT 3 refuses in its own form, which has no properties. */
    if (r->at < r->end || p->reason == MQTT_NORMAL)
        read_properties(r, p);
    if (p->session_present && p->reason != MQTT_NORMAL)
        refuse(r, MQTT_PROTOCOL_ERROR, "it refuses a session and says there is one");
}

/* Sections 3.3.1 and 3.3.2. */
static void decode_publish(struct reader *r, struct mqtt_packet *p)
{
    p->duplicate = r->flags & 8;
    p->qos = (int)(r->flags >> 1 & 3);
    if (p->qos == 3 || (p->qos == 0 && p->duplicate))
        refuse(r, MQTT_MALFORMED_PACKET, "a QoS there is not");
    p->topic = read_text(r);
    p->packet_id = p->qos > 0 ? read_packet_id(r) : 0;
    read_properties(r, p);
    if (memchr(p->topic.at, '+', p->topic.len) || memchr(p->topic.at, '#', p->topic.len))
        refuse(r, MQTT_MALFORMED_PACKET, "a topic with wildcards");
    if (p->topic.len == 0 && !mqtt_has(p, MQTT_TOPIC_ALIAS))
        refuse(r, MQTT_PROTOCOL_ERROR, "no topic");
    p->payload = read_rest(r);
}

/* Section 3.4: the reason and the properties may be left out. */
static void decode_puback(struct reader *r, struct mqtt_packet *p)
{
    p->packet_id = read_packet_id(r);
    p->reason = r->at < r->end ? read_big_endian(r, 1) : MQTT_NORMAL;
    if (r->at < r->end)
        read_properties(r, p);
}

static void decode_suback(struct reader *r, struct mqtt_packet *p)
{
    p->packet_id = read_packet_id(r);
    read_properties(r, p);
    p->reasons = read_rest(r);
    if (p->reasons.len == 0)
        refuse(r, MQTT_PROTOCOL_ERROR, "no reason code");
}

static void decode_nothing(struct reader *r, struct mqtt_packet *p)
{
    (void)r;
    (void)p;
}

/* Section 3.14: an empty body is a normal disconnection. */
static void decode_disconnect(struct reader *r, struct mqtt_packet *p)
{
    p->reason = r->at < r->end ? read_big_endian(r, 1) : MQTT_NORMAL;
    if (r->at < r->end)
        read_properties(r, p);
}

/* The packets a server sends to one who only subscribes, with QoS 1; all others are refused. */
static const struct {
    const char *name;
    void (*decode)(struct reader *r, struct mqtt_packet *p);
    unsigned flags; /* those that may be set */
} packet_table[MQTT_TYPE_COUNT] = {
    [0] = {"a packet of type 0", NULL, 0},
    [MQTT_CONNECT] = {"CONNECT", NULL, 0},
    [MQTT_CONNACK] = {"CONNACK", decode_connack, 0},
    [MQTT_PUBLISH] = {"PUBLISH", decode_publish, 0x0f},
    [MQTT_PUBACK] = {"PUBACK", decode_puback, 0},
    [MQTT_PUBREC] = {"PUBREC", NULL, 0},
    [MQTT_PUBREL] = {"PUBREL", NULL, 0},
    [MQTT_PUBCOMP] = {"PUBCOMP", NULL, 0},
    [MQTT_SUBSCRIBE] = {"SUBSCRIBE", NULL, 0},
    [MQTT_SUBACK] = {"SUBACK", decode_suback, 0},
    [MQTT_UNSUBSCRIBE] = {"UNSUBSCRIBE", NULL, 0},
    [MQTT_UNSUBACK] = {"UNSUBACK", decode_suback, 0},
    [MQTT_PINGREQ] = {"PINGREQ", NULL, 0},
    [MQTT_PINGRESP] = {"PINGRESP", decode_nothing, 0},
    [MQTT_DISCONNECT] = {"DISCONNECT", decode_disconnect, 0},
    [MQTT_AUTH] = {"AUTH", NULL, 0},
};

static enum mqtt_result broken(struct mqtt_packet *p, enum mqtt_reason reason)
{
    p->reason = reason;
    return MQTT_BROKEN;
}

/* Section 2.1: what can be said before the whole packet is there. *body is where it begins. */
static enum mqtt_result decode_head(const char *bytes, size_t len, size_t most,
                                    struct mqtt_packet *p, const char **body, struct err *e)
{
    uint32_t remaining;

    p->size = 0;
    if (len == 0)
        return MQTT_INCOMPLETE;
    p->type = (unsigned char)bytes[0] >> 4;
    if (!packet_table[p->type].decode) {
        err_set(e, ERR_RETRY, "the broker sent %s, which a subscriber does not take",
                packet_table[p->type].name);
        return broken(p, MQTT_PROTOCOL_ERROR);
    }
    if (bytes[0] & 0x0f & ~packet_table[p->type].flags) {
        err_set(e, ERR_RETRY, "the broker sent a bad %s packet: reserved flags are set",
                packet_table[p->type].name);
        return broken(p, MQTT_MALFORMED_PACKET);
    }
    int used = get_varint(bytes + 1, len - 1, &remaining);
    if (used < 0) {
        err_set(e, ERR_RETRY, "the broker sent a bad %s packet: bad length",
                packet_table[p->type].name);
        return broken(p, MQTT_MALFORMED_PACKET);
    }
    if (used == 0)
        return MQTT_INCOMPLETE;
    p->size = 1 + (size_t)used + remaining;
    *body = bytes + 1 + used;
    if (p->size > most) {
        err_set(e, ERR_RETRY, "the broker sent a packet of %zu bytes; %zu are allowed", p->size,
                most);
        return broken(p, MQTT_PACKET_TOO_LARGE);
    }
    return len < p->size ? MQTT_INCOMPLETE : MQTT_COMPLETE;
}

enum mqtt_result mqtt_decode(const char *bytes, size_t len, size_t most, struct mqtt_packet *p,
                             struct err *e)
{
    const char *body;
    enum mqtt_result head = decode_head(bytes, len, most, p, &body, e);

    if (head != MQTT_COMPLETE)
        return head;
    struct reader r = {.at = body,
                       .end = bytes + p->size,
                       .flags = bytes[0] & 0x0f,
                       .packet = packet_table[p->type].name,
                       .e = e};

    p->properties.seen = 0;
    p->properties.publisher = (struct mqtt_text){NULL, 0};
    packet_table[p->type].decode(&r, p);
    if (r.at < r.end)
        refuse(&r, MQTT_MALFORMED_PACKET, "it goes on after its last field");
    return r.fault == MQTT_NORMAL ? MQTT_COMPLETE : broken(p, r.fault);
}

/* ---- Writing -------------------------------------------------------------------------------- */

enum {
    FIRST_BYTE_SUBSCRIBE = MQTT_SUBSCRIBE << 4 | 2,
    FIRST_BYTE_UNSUBSCRIBE = MQTT_UNSUBSCRIBE << 4 | 2
};

static void put_number(struct buf *out, uint32_t n, int bytes)
{
    while (bytes-- > 0)
        buf_addc(out, (char)(n >> (8 * bytes) & 0xff));
}

static void put_varint(struct buf *out, size_t n)
{
    do {
        buf_addc(out, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
        n >>= 7;
    } while (n);
}

static void put_text(struct buf *out, const char *text)
{
    size_t len = strlen(text);

    assert(len <= MQTT_TEXT_MOST);
    put_number(out, (uint32_t)len, 2);
    buf_add(out, text, len);
}

static void put_packet(struct buf *out, int first_byte, struct buf *body)
{
    buf_addc(out, (char)first_byte);
    put_varint(out, body->len);
    buf_add(out, body->data, body->len);
    buf_clear(body);
}

static void put_property(struct buf *out, enum mqtt_property id, uint32_t n, int bytes)
{
    put_varint(out, id);
    put_number(out, n, bytes);
}

/* Section 3.1. */
void mqtt_put_connect(struct buf *out, const struct mqtt_connect *c)
{
    enum { HAS_USER = 0x80, HAS_PASSWORD = 0x40, VERSION_5 = 5, PROPERTIES_LEN = 5 + 3 + 5 };
    struct buf body;

    buf_init(&body, 0);
    put_text(&body, "MQTT");
    buf_addc(&body, VERSION_5);
    buf_addc(&body, (char)((c->user ? HAS_USER : 0) | (c->password ? HAS_PASSWORD : 0)));
    put_number(&body, c->keep_alive_s, 2);
    put_varint(&body, PROPERTIES_LEN);
    put_property(&body, MQTT_SESSION_EXPIRY, c->session_expiry_s, 4);
    put_property(&body, MQTT_RECEIVE_MAXIMUM, c->receive_maximum, 2);
    put_property(&body, MQTT_MAXIMUM_PACKET_SIZE, c->packet_most, 4);
    put_text(&body, c->client_id);
    if (c->user)
        put_text(&body, c->user);
    if (c->password)
        put_text(&body, c->password);
    put_packet(out, MQTT_CONNECT << 4, &body);
}

/* Sections 3.8 and 3.10: they differ in the options byte behind each filter, -1: none. */
static void put_filters(struct buf *out, int first_byte, uint16_t packet_id,
                        const char *const *filters, size_t n, int options)
{
    struct buf body;

    buf_init(&body, 0);
    put_number(&body, packet_id, 2);
    put_varint(&body, 0);
    for (size_t i = 0; i < n; i++) {
        put_text(&body, filters[i]);
        if (options >= 0)
            buf_addc(&body, (char)options);
    }
    put_packet(out, first_byte, &body);
}

void mqtt_put_subscribe(struct buf *out, uint16_t packet_id, const char *const *filters, size_t n)
{
    enum { QOS_1 = 1, RETAINED_IF_NEW = 1 << 4 };

    put_filters(out, FIRST_BYTE_SUBSCRIBE, packet_id, filters, n, QOS_1 | RETAINED_IF_NEW);
}

void mqtt_put_unsubscribe(struct buf *out, uint16_t packet_id, const char *const *filters, size_t n)
{
    put_filters(out, FIRST_BYTE_UNSUBSCRIBE, packet_id, filters, n, -1);
}

void mqtt_put_puback(struct buf *out, uint16_t packet_id)
{
    const char packet[] = {(char)(MQTT_PUBACK << 4), 2, (char)(packet_id >> 8),
                           (char)(packet_id & 0xff)};

    buf_add(out, packet, sizeof packet);
}

void mqtt_put_pingreq(struct buf *out)
{
    static const char packet[] = {(char)(MQTT_PINGREQ << 4), 0};

    buf_add(out, packet, sizeof packet);
}

void mqtt_put_disconnect(struct buf *out, enum mqtt_reason reason)
{
    const char packet[] = {(char)(MQTT_DISCONNECT << 4), 1, (char)reason};

    buf_add(out, packet, sizeof packet);
}
