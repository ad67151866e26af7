#include "unit.h"

#include "stores/mqtt_codec.h"

/* Bytes were put together by hand from the standard's tables. */
#define BYTES(literal) literal, sizeof literal - 1

static enum mqtt_result decode(const char *bytes, size_t len, struct mqtt_packet *p, struct err *e)
{
    e->text[0] = '\0';
    return mqtt_decode(bytes, len, 1024, p, e);
}

static void assert_text(struct mqtt_text text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.at, expected, text.len);
}

static void publish_is_read_in_place(void **state)
{
    static const char bytes[] = "\x3a\x0d\x00\x04"
                                "a/b1"
                                "\x12\x34\x00"
                                "hell";
    struct mqtt_packet p;
    struct err e;

    (void)state;
    assert_int_equal(decode(bytes, sizeof bytes - 1, &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.type, MQTT_PUBLISH);
    assert_int_equal(p.size, 15);
    assert_int_equal(p.qos, 1);
    assert_true(p.duplicate);
    assert_int_equal(p.packet_id, 0x1234);
    assert_text(p.topic, "a/b1");
    assert_text(p.payload, "hell");
    assert_ptr_equal(p.payload.at, bytes + 11);
    assert_null(p.properties.publisher.at);
}

static void publish_of_qos_0_has_no_packet_id_and_may_be_empty(void **state)
{
    struct mqtt_packet p;
    struct err e;

    (void)state;
    assert_int_equal(decode(BYTES("\x30\x04\x00\x01t\x00"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.qos, 0);
    assert_int_equal(p.packet_id, 0);
    assert_int_equal(p.payload.len, 0);
}

static void the_last_publisher_property_counts(void **state)
{
    static const char bytes[] = "\x32\x31\x00\x01t\x00\x07"
                                "\x2a"
                                "\x26\x00\x09publisher\x00\x02M1"
                                "\x26\x00\x01x\x00\x01y"
                                "\x26\x00\x09publisher\x00\x03"
                                "M22"
                                "\x01\x01"
                                "!";
    struct mqtt_packet p;
    struct err e;

    (void)state;
    if (decode(bytes, sizeof bytes - 1, &p, &e) != MQTT_COMPLETE)
        fail_msg("%s", e.text);
    assert_text(p.properties.publisher, "M22");
    assert_int_equal(mqtt_number(&p, MQTT_PAYLOAD_FORMAT, 0), 1);
    assert_text(p.payload, "!");
}

static void connack_tells_what_was_granted(void **state)
{
    static const char bytes[] = "\x20\x12\x01\x00\x0f"
                                "\x11\x00\x01\x51\x80"
                                "\x13\x00\x3c"
                                "\x21\x00\x14"
                                "\x24\x01"
                                "\x2a\x00";
    struct mqtt_packet p;
    struct err e;

    (void)state;
    if (decode(bytes, sizeof bytes - 1, &p, &e) != MQTT_COMPLETE)
        fail_msg("%s", e.text);
    assert_true(p.session_present);
    assert_int_equal(p.reason, MQTT_NORMAL);
    assert_int_equal(mqtt_number(&p, MQTT_SESSION_EXPIRY, 7), 86400);
    assert_int_equal(mqtt_number(&p, MQTT_SERVER_KEEP_ALIVE, 7), 60);
    assert_int_equal(mqtt_number(&p, MQTT_RECEIVE_MAXIMUM, 7), 20);
    assert_int_equal(mqtt_number(&p, MQTT_MAXIMUM_QOS, 7), 1);
    assert_int_equal(mqtt_number(&p, MQTT_SHARED_AVAILABLE, 7), 0);
    assert_int_equal(mqtt_number(&p, MQTT_MAXIMUM_PACKET_SIZE, 7), 7);
}

static void a_refusal_may_have_a_reason_string_or_the_form_of_mqtt_3(void **state)
{
    struct mqtt_packet p;
    struct err e;

    (void)state;
    assert_int_equal(decode(BYTES("\x20\x08\x00\x87\x05\x1f\x00\x02no"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.reason, 0x87);
    assert_text(p.properties.value[MQTT_REASON_STRING].text, "no");
    assert_int_equal(decode(BYTES("\x20\x02\x00\x01"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.reason, 1);
}

static void the_small_packets_are_read(void **state)
{
    struct mqtt_packet p;
    struct err e;

    (void)state;
    assert_int_equal(decode(BYTES("\x90\x05\x00\x07\x00\x01\x87"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.type, MQTT_SUBACK);
    assert_int_equal(p.packet_id, 7);
    assert_text(p.reasons, "\x01\x87");
    assert_int_equal(decode(BYTES("\xb0\x04\x00\x08\x00\x11"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.type, MQTT_UNSUBACK);
    assert_text(p.reasons, "\x11");
    assert_int_equal(decode(BYTES("\x40\x02\x00\x09"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.packet_id, 9);
    assert_int_equal(p.reason, MQTT_NORMAL);
    assert_int_equal(decode(BYTES("\x40\x03\x00\x09\x10"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.reason, 0x10);
    assert_int_equal(decode(BYTES("\xd0\x00"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.type, MQTT_PINGRESP);
    assert_int_equal(decode(BYTES("\xe0\x00"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.reason, MQTT_NORMAL);
    assert_int_equal(decode(BYTES("\xe0\x01\x8b"), &p, &e), MQTT_COMPLETE);
    assert_int_equal(p.reason, 0x8b);
}

static const struct {
    const char *what;
    const char *bytes;
    size_t len;
    enum mqtt_reason reason;
} broken_packets[] = {
    {"type 0", BYTES("\x00\x00"), MQTT_PROTOCOL_ERROR},
    {"CONNECT from a server", BYTES("\x10\x00"), MQTT_PROTOCOL_ERROR},
    {"PUBREL", BYTES("\x62\x02\x00\x01"), MQTT_PROTOCOL_ERROR},
    {"AUTH", BYTES("\xf0\x00"), MQTT_PROTOCOL_ERROR},
    {"reserved flags", BYTES("\xd1\x00"), MQTT_MALFORMED_PACKET},
    {"length of five bytes", BYTES("\x30\xff\xff\xff\xff\x01"), MQTT_MALFORMED_PACKET},
    {"length longer than it needs", BYTES("\xd0\x80\x00"), MQTT_MALFORMED_PACKET},
    {"1025 bytes where 1024 are allowed", BYTES("\x30\xfe\x07"), MQTT_PACKET_TOO_LARGE},
    {"QoS 3", BYTES("\x36\x06\x00\x01t\x00\x01\x00"), MQTT_MALFORMED_PACKET},
    {"duplicate of QoS 0", BYTES("\x38\x04\x00\x01t\x00"), MQTT_MALFORMED_PACKET},
    {"packet identifier 0", BYTES("\x32\x06\x00\x01t\x00\x00\x00"), MQTT_PROTOCOL_ERROR},
    {"topic past the end", BYTES("\x30\x04\x00\x09t\x00"), MQTT_MALFORMED_PACKET},
    {"no topic", BYTES("\x30\x03\x00\x00\x00"), MQTT_PROTOCOL_ERROR},
    {"wildcard in a topic", BYTES("\x30\x04\x00\x01#\x00"), MQTT_MALFORMED_PACKET},
    {"NUL in a topic", BYTES("\x30\x04\x00\x01\x00\x00"), MQTT_MALFORMED_PACKET},
    {"topic that is not UTF-8", BYTES("\x30\x04\x00\x01\xff\x00"), MQTT_MALFORMED_PACKET},
    {"unknown property", BYTES("\x30\x06\x00\x01t\x02\x04\x00"), MQTT_MALFORMED_PACKET},
    {"property beyond the table", BYTES("\x30\x06\x00\x01t\x02\x7f\x00"), MQTT_MALFORMED_PACKET},
    {"property of CONNACK in PUBLISH", BYTES("\x30\x06\x00\x01t\x02\x2a\x00"), MQTT_PROTOCOL_ERROR},
    {"property twice", BYTES("\x30\x08\x00\x01t\x04\x01\x00\x01\x00"), MQTT_PROTOCOL_ERROR},
    {"flag that is 2", BYTES("\x30\x06\x00\x01t\x02\x01\x02"), MQTT_PROTOCOL_ERROR},
    {"topic alias 0", BYTES("\x30\x07\x00\x01t\x03\x23\x00\x00"), MQTT_PROTOCOL_ERROR},
    {"subscription identifier 0", BYTES("\x30\x06\x00\x01t\x02\x0b\x00"), MQTT_PROTOCOL_ERROR},
    {"Receive Maximum 0", BYTES("\x20\x06\x00\x00\x03\x21\x00\x00"), MQTT_PROTOCOL_ERROR},
    {"property cut by the property length", BYTES("\x30\x06\x00\x01t\x01\x01\x00"),
     MQTT_MALFORMED_PACKET},
    {"properties past the end", BYTES("\x30\x05\x00\x01t\x09\x01"), MQTT_MALFORMED_PACKET},
    {"user property value that is not UTF-8",
     BYTES("\x30\x0b\x00\x01t\x07\x26\x00\x01k\x00\x01\xc0"), MQTT_MALFORMED_PACKET},
    {"reserved flags of CONNACK", BYTES("\x20\x03\x02\x00\x00"), MQTT_MALFORMED_PACKET},
    {"session present in a refusal", BYTES("\x20\x03\x01\x87\x00"), MQTT_PROTOCOL_ERROR},
    {"CONNACK without properties", BYTES("\x20\x02\x00\x00"), MQTT_MALFORMED_PACKET},
    {"CONNACK that goes on", BYTES("\x20\x04\x00\x00\x00\x00"), MQTT_MALFORMED_PACKET},
    {"SUBACK without a reason", BYTES("\x90\x03\x00\x01\x00"), MQTT_PROTOCOL_ERROR},
    {"PINGRESP with a body", BYTES("\xd0\x01\x00"), MQTT_MALFORMED_PACKET},
};

static void what_the_standard_forbids_is_refused_with_its_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken_packets / sizeof *broken_packets; i++) {
        struct mqtt_packet p;
        struct err e;
        if (decode(broken_packets[i].bytes, broken_packets[i].len, &p, &e) != MQTT_BROKEN)
            fail_msg("%s: not refused", broken_packets[i].what);
        if (p.reason != broken_packets[i].reason)
            fail_msg("%s: reason 0x%02x", broken_packets[i].what, (unsigned)p.reason);
        if (!e.text[0])
            fail_msg("%s: no words", broken_packets[i].what);
    }
}

/* Each piece is a copy of its own, so that the sanitizer sees a read past its end. */
static void a_packet_in_pieces_is_incomplete_until_its_last_byte(void **state)
{
    static const char bytes[] = "\x32\x17\x00\x01t\x00\x07\x10"
                                "\x26\x00\x09publisher\x00\x02M1"
                                "!";
    size_t whole = sizeof bytes - 1;
    struct mqtt_packet p;
    struct err e;

    (void)state;
    for (size_t len = 0; len < whole; len++) {
        char *piece = malloc(len ? len : 1);
        memcpy(piece, bytes, len);
        assert_int_equal(decode(piece, len, &p, &e), MQTT_INCOMPLETE);
        assert_int_equal(p.size, len < 2 ? 0 : whole);
        free(piece);
    }
    assert_int_equal(decode(bytes, whole, &p, &e), MQTT_COMPLETE);
}

static void assert_written(struct buf *b, const char *bytes, size_t len)
{
    assert_int_equal(b->len, len);
    assert_memory_equal(b->data, bytes, len);
    buf_clear(b);
}

static void connect_is_written_to_the_byte(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    mqtt_put_connect(&b, &(struct mqtt_connect){.client_id = "in-0",
                                                .user = "u",
                                                .password = "pw",
                                                .keep_alive_s = 30,
                                                .session_expiry_s = 604800,
                                                .receive_maximum = 1000,
                                                .packet_most = 2097152});
    assert_written(&b, BYTES("\x10\x25\x00\x04MQTT\x05\xc0\x00\x1e"
                             "\x0d\x11\x00\x09\x3a\x80\x21\x03\xe8\x27\x00\x20\x00\x00"
                             "\x00\x04in-0\x00\x01u\x00\x02pw"));
    mqtt_put_connect(&b, &(struct mqtt_connect){.client_id = "c",
                                                .keep_alive_s = 1,
                                                .session_expiry_s = 1,
                                                .receive_maximum = 1,
                                                .packet_most = 100});
    assert_written(&b, BYTES("\x10\x1b\x00\x04MQTT\x05\x00\x00\x01"
                             "\x0d\x11\x00\x00\x00\x01\x21\x00\x01\x27\x00\x00\x00\x64"
                             "\x00\x01"
                             "c"));
}

static void the_other_packets_are_written_to_the_byte(void **state)
{
    static const char *const filters[] = {"a/b", "$share/g/c"};
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    mqtt_put_subscribe(&b, 1, filters, 2);
    assert_written(&b, BYTES("\x82\x16\x00\x01\x00\x00\x03"
                             "a/b\x11\x00\x0a$share/g/c\x11"));
    mqtt_put_unsubscribe(&b, 2, filters, 1);
    assert_written(&b, BYTES("\xa2\x08\x00\x02\x00\x00\x03"
                             "a/b"));
    mqtt_put_puback(&b, 0xfffe);
    assert_written(&b, BYTES("\x40\x02\xff\xfe"));
    mqtt_put_pingreq(&b);
    assert_written(&b, BYTES("\xc0\x00"));
    mqtt_put_disconnect(&b, MQTT_PROTOCOL_ERROR);
    assert_written(&b, BYTES("\xe0\x01\x82"));
}

/* 200 letters need a length of two bytes: 206 = 0x4e + 1 * 128. */
static void a_long_packet_has_a_length_of_several_bytes(void **state)
{
    char filter[201];
    const char *filters[] = {filter};
    struct buf b;

    (void)state;
    memset(filter, 'x', 200);
    filter[200] = '\0';
    buf_init(&b, 0);
    mqtt_put_subscribe(&b, 1, filters, 1);
    assert_int_equal(b.len, 1 + 2 + 206);
    assert_memory_equal(b.data, "\x82\xce\x01\x00\x01\x00\x00\xc8xx", 10);
    buf_clear(&b);
}

static void reasons_have_words(void **state)
{
    (void)state;
    assert_string_equal(mqtt_reason_name(0x87), "not authorized");
    assert_string_equal(mqtt_reason_name(0x05), "unknown reason");
    assert_true(mqtt_reason_is_final(0x86));
    assert_false(mqtt_reason_is_final(0x88));
    assert_false(mqtt_reason_is_final(0xff));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_is_read_in_place),
        cmocka_unit_test(publish_of_qos_0_has_no_packet_id_and_may_be_empty),
        cmocka_unit_test(the_last_publisher_property_counts),
        cmocka_unit_test(connack_tells_what_was_granted),
        cmocka_unit_test(a_refusal_may_have_a_reason_string_or_the_form_of_mqtt_3),
        cmocka_unit_test(the_small_packets_are_read),
        cmocka_unit_test(what_the_standard_forbids_is_refused_with_its_reason),
        cmocka_unit_test(a_packet_in_pieces_is_incomplete_until_its_last_byte),
        cmocka_unit_test(connect_is_written_to_the_byte),
        cmocka_unit_test(the_other_packets_are_written_to_the_byte),
        cmocka_unit_test(a_long_packet_has_a_length_of_several_bytes),
        cmocka_unit_test(reasons_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
