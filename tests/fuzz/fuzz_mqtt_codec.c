/*
 * Anything a broker could send: the decoder on the bytes alone, and a session that hears them in
 * pieces while messages are taken and acknowledged in between. The first byte of the input chooses
 * the size of the pieces and whether the session is subscribed already.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "stores/mqtt_codec.h"
#include "stores/mqtt_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink;

static void read_all(const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sink += (unsigned char)at[i];
}

static void decode_all(const char *bytes, size_t len)
{
    struct mqtt_packet p;
    struct err e;
    size_t at = 0;

    while (mqtt_decode(bytes + at, len - at, 4096, &p, &e) == MQTT_COMPLETE) {
        assert(p.size >= 2 && p.size <= len - at);
        if (p.type == MQTT_PUBLISH) {
            assert(p.payload.at + p.payload.len == bytes + at + p.size);
            read_all(p.topic.at, p.topic.len);
            read_all(p.payload.at, p.payload.len);
            if (p.properties.publisher.at)
                read_all(p.properties.publisher.at, p.properties.publisher.len);
        }
        at += p.size;
    }
}

/* What the user of a session holds: messages taken and not acknowledged. */
struct user {
    struct mqtt_session *session;
    struct broker_message held[8];
    int n;
};

/* Held over several pieces, so that a message moved or freed too early is found. */
static void use_messages(struct user *u, int most)
{
    u->n += mqtt_session_take(u->session, u->held + u->n, most);
    for (int i = 0; i < u->n; i++) {
        read_all(u->held[i].topic, u->held[i].topic_len);
        read_all(u->held[i].payload, u->held[i].payload_len);
        if (u->held[i].publisher)
            read_all(u->held[i].publisher, u->held[i].publisher_len);
    }
}

static void acknowledge(struct user *u)
{
    mqtt_session_acknowledge(u->session);
    u->n = 0;
}

static bool hear(struct user *u, const char *bytes, size_t len, int64_t now_ms)
{
    struct err e;

    while (len > 0) {
        size_t room;
        char *to = mqtt_session_space(u->session, &room);
        if (!to) {
            use_messages(u, 8 - u->n);
            acknowledge(u);
            if (!mqtt_session_received(u->session, 0, now_ms, &e))
                return false;
            continue;
        }
        size_t n = len < room ? len : room;
        memcpy(to, bytes, n);
        if (!mqtt_session_received(u->session, n, now_ms, &e))
            return false;
        bytes += n;
        len -= n;
    }
    return true;
}

static void run_session(struct user *u, const char *bytes, size_t len, size_t piece)
{
    struct err e;
    int64_t now_ms = 0;

    for (size_t at = 0; at < len; at += piece, now_ms += 700) {
        size_t n = len - at < piece ? len - at : piece;
        size_t unsent;
        if (!hear(u, bytes + at, n, now_ms) || !mqtt_session_tick(u->session, now_ms, at % 2, &e))
            return;
        use_messages(u, 2);
        if (u->n >= 3)
            acknowledge(u);
        mqtt_session_output(u->session, &unsent);
        mqtt_session_sent(u->session, unsent - unsent / 4);
    }
}

static void run_connections(const char *bytes, size_t len, uint8_t choice)
{
    enum { SUBSCRIBED = 0x80, SHARED = 0x40, PIECE = 0x3f };
    static const char *const topics[] = {"a/b", "c/#", NULL};
    static const char welcome[] = "\x20\x03\x01\x00\x00"
                                  "\x90\x05\x00\x01\x00\x01\x01";
    struct mqtt_session_options o = {.client_id = "fuzz",
                                     .topics = topics,
                                     .share_group = choice & SHARED ? "g" : NULL,
                                     .session_expiry_s = 60,
                                     .receive_maximum = 2,
                                     .keep_alive_s = 10,
                                     .packet_most = 1 << 20,
                                     .pending_messages_most = 5,
                                     .pending_bytes_most = 4096};
    struct user u = {.session = mqtt_session_new(&o, NULL)};

    for (int connection = 0; connection < 2; connection++) {
        mqtt_session_connect(u.session, 0);
        u.n = 0;
        if (!(choice & SUBSCRIBED) || hear(&u, welcome, sizeof welcome - 1, 0))
            run_session(&u, bytes, len, 1 + (choice & PIECE));
    }
    mqtt_session_disconnect(u.session);
    mqtt_session_free(u.session);
}

/* The bytes are a copy of exactly their size, so that reading past them is found. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    char *bytes = malloc(size - 1);
    memcpy(bytes, data + 1, size - 1);
    decode_all(bytes, size - 1);
    run_connections(bytes, size - 1, data[0]);
    free(bytes);
    return 0;
}
