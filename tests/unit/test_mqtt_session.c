#include "unit.h"

#include "stores/mqtt_session.h"

#define BYTES(literal) literal, sizeof literal - 1

#define CONNACK_NEW BYTES("\x20\x03\x00\x00\x00")
#define CONNACK_RESUMED BYTES("\x20\x03\x01\x00\x00")
#define SUBACK_2 BYTES("\x90\x05\x00\x01\x00\x01\x01")

static const char *const topics[] = {"m/data", "m/status", NULL};

static struct mqtt_session_options defaults(void)
{
    return (struct mqtt_session_options){.client_id = "in-0",
                                         .topics = topics,
                                         .session_expiry_s = 3600,
                                         .receive_maximum = 3,
                                         .keep_alive_s = 30,
                                         .packet_most = 1 << 20,
                                         .pending_messages_most = 8,
                                         .pending_bytes_most = 1 << 20};
}

static struct mqtt_session *new_session(const struct mqtt_session_options *o)
{
    struct err e;
    struct mqtt_session *s = mqtt_session_new(o, &e);

    if (!s)
        fail_msg("%s", e.text);
    return s;
}

/* Give the session bytes as the broker's, in pieces as large as it takes. */
static bool hear_at(struct mqtt_session *s, int64_t now_ms, const char *bytes, size_t len,
                    struct err *e)
{
    while (len > 0) {
        size_t room;
        char *to = mqtt_session_space(s, &room);
        assert_non_null(to);
        size_t n = len < room ? len : room;
        memcpy(to, bytes, n);
        if (!mqtt_session_received(s, n, now_ms, e))
            return false;
        bytes += n;
        len -= n;
    }
    return true;
}

static void hear(struct mqtt_session *s, const char *bytes, size_t len)
{
    struct err e;

    if (!hear_at(s, 0, bytes, len, &e))
        fail_msg("%s", e.text);
}

static void assert_says(struct mqtt_session *s, const char *bytes, size_t len)
{
    size_t out_len;
    const char *out = mqtt_session_output(s, &out_len);

    assert_int_equal(out_len, len);
    if (len)
        assert_memory_equal(out, bytes, len);
    mqtt_session_sent(s, out_len);
}

static void ignore_output(struct mqtt_session *s)
{
    size_t len;

    mqtt_session_output(s, &len);
    mqtt_session_sent(s, len);
}

static void make_ready(struct mqtt_session *s, bool resumed)
{
    mqtt_session_connect(s, 0);
    if (resumed)
        hear(s, CONNACK_RESUMED);
    else
        hear(s, CONNACK_NEW);
    hear(s, SUBACK_2);
    assert_true(mqtt_session_ready(s));
    ignore_output(s);
}

static struct mqtt_session *ready_session(void)
{
    struct mqtt_session_options o = defaults();
    struct mqtt_session *s = new_session(&o);

    make_ready(s, false);
    return s;
}

/* PUBLISH with QoS 1 to "t", one digit of payload. */
static void publish(struct mqtt_session *s, int id)
{
    char bytes[] = "\x32\x07\x00\x01t\x00\x00\x00#";

    bytes[6] = (char)id;
    bytes[8] = (char)('0' + id % 10);
    hear(s, bytes, sizeof bytes - 1);
}

static struct broker_stats stats_of(const struct mqtt_session *s)
{
    struct broker_stats stats;

    mqtt_session_stats(s, &stats);
    return stats;
}

static void assert_fails(struct mqtt_session *s, const char *bytes, size_t len, enum err_kind kind,
                         const char *words)
{
    struct err e = {.kind = ERR_NONE};

    if (hear_at(s, 0, bytes, len, &e))
        fail_msg("not refused, expected: %s", words);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" does not say \"%s\"", e.text, words);
    assert_int_equal(e.kind, kind);
    assert_false(mqtt_session_ready(s));
}

static void it_connects_and_subscribes(void **state)
{
    struct mqtt_session_options o = defaults();
    struct mqtt_session *s = new_session(&o);

    (void)state;
    mqtt_session_connect(s, 0);
    assert_says(s, BYTES("\x10\x1e\x00\x04MQTT\x05\x00\x00\x1e"
                         "\x0d\x11\x00\x00\x0e\x10\x21\x00\x03\x27\x00\x10\x00\x00"
                         "\x00\x04in-0"));
    assert_string_equal(mqtt_session_waits_for(s), "CONNACK");
    hear(s, CONNACK_NEW);
    assert_says(s, BYTES("\x82\x17\x00\x01\x00\x00\x06m/data\x11\x00\x08m/status\x11"));
    assert_string_equal(mqtt_session_waits_for(s), "SUBACK");
    assert_false(mqtt_session_ready(s));
    hear(s, SUBACK_2);
    assert_true(mqtt_session_ready(s));
    assert_false(mqtt_session_resumed(s));
    mqtt_session_free(s);
}

static void a_session_that_becomes_shared_drops_its_own_subscriptions(void **state)
{
    static const char *const one[] = {"t", NULL};
    struct mqtt_session_options o = defaults();

    (void)state;
    o.share_group = "g";
    o.topics = one;
    struct mqtt_session *s = new_session(&o);
    mqtt_session_connect(s, 0);
    ignore_output(s);
    hear(s, CONNACK_RESUMED);
    assert_says(s, BYTES("\x82\x10\x00\x01\x00\x00\x0a$share/g/t\x11"));
    hear(s, BYTES("\x90\x04\x00\x01\x00\x01"));
    assert_says(s, BYTES("\xa2\x06\x00\x02\x00\x00\x01t"));
    assert_false(mqtt_session_ready(s));
    hear(s, BYTES("\xb0\x04\x00\x02\x00\x11"));
    assert_true(mqtt_session_ready(s));
    mqtt_session_free(s);
}

static void only_what_was_taken_is_acknowledged_in_order_and_at_once(void **state)
{
    struct mqtt_session *s = ready_session();
    struct broker_message m[4];

    (void)state;
    for (int id = 1; id <= 3; id++)
        publish(s, id);
    assert_int_equal(mqtt_session_waiting(s), 3);
    mqtt_session_acknowledge(s);
    assert_says(s, "", 0);
    assert_int_equal(mqtt_session_take(s, m, 2), 2);
    assert_int_equal(m[0].topic_len, 1);
    assert_memory_equal(m[0].payload, "1", 1);
    assert_memory_equal(m[1].payload, "2", 1);
    assert_null(m[0].publisher);
    mqtt_session_acknowledge(s);
    assert_says(s, BYTES("\x40\x02\x00\x01\x40\x02\x00\x02"));
    assert_int_equal(mqtt_session_take(s, m, 4), 1);
    assert_memory_equal(m[0].payload, "3", 1);
    mqtt_session_acknowledge(s);
    mqtt_session_acknowledge(s);
    assert_says(s, BYTES("\x40\x02\x00\x03"));
    assert_int_equal(stats_of(s).received, 3);
    assert_int_equal(stats_of(s).acknowledged, 3);
    mqtt_session_free(s);
}

static void a_message_of_qos_0_is_given_out_and_not_acknowledged(void **state)
{
    struct mqtt_session *s = ready_session();
    struct broker_message m;

    (void)state;
    hear(s, BYTES("\x30\x05\x00\x01t\x00!"));
    assert_int_equal(mqtt_session_take(s, &m, 1), 1);
    mqtt_session_acknowledge(s);
    assert_says(s, "", 0);
    mqtt_session_free(s);
}

static void a_new_connection_forgets_what_was_not_acknowledged(void **state)
{
    struct mqtt_session *s = ready_session();
    struct broker_message m[2];

    (void)state;
    publish(s, 1);
    publish(s, 2);
    assert_int_equal(mqtt_session_take(s, m, 1), 1);
    make_ready(s, true);
    assert_true(mqtt_session_resumed(s));
    assert_int_equal(mqtt_session_waiting(s), 0);
    mqtt_session_acknowledge(s);
    assert_says(s, "", 0);
    hear(s, BYTES("\x3a\x07\x00\x01t\x00\x01\x00"
                  "1"));
    assert_int_equal(mqtt_session_take(s, m, 2), 1);
    assert_true(m[0].redelivered);
    assert_int_equal(stats_of(s).redelivered, 1);
    assert_int_equal(stats_of(s).reconnects, 1);
    assert_int_equal(stats_of(s).sessions_lost, 0);
    mqtt_session_free(s);
}

static void a_session_that_was_there_and_is_gone_is_counted(void **state)
{
    struct mqtt_session *s = ready_session();

    (void)state;
    assert_int_equal(stats_of(s).sessions_lost, 0);
    make_ready(s, false);
    assert_int_equal(stats_of(s).sessions_lost, 1);
    make_ready(s, true);
    assert_int_equal(stats_of(s).sessions_lost, 1);
    mqtt_session_free(s);
}

static void more_than_the_window_is_counted_and_taken(void **state)
{
    struct mqtt_session *s = ready_session();
    struct broker_message m[8];

    (void)state;
    for (int id = 1; id <= 5; id++)
        publish(s, id);
    assert_int_equal(stats_of(s).window_violations, 2);
    assert_int_equal(mqtt_session_take(s, m, 8), 5);
    mqtt_session_acknowledge(s);
    publish(s, 6);
    assert_int_equal(stats_of(s).window_violations, 2);
    mqtt_session_free(s);
}

/* Nine messages in one piece, eight are allowed: the ninth waits in the buffer. */
static void at_its_bound_of_messages_it_asks_for_no_more_until_acknowledged(void **state)
{
    struct mqtt_session *s = ready_session();
    struct broker_message m[9];
    char bytes[9][9];
    size_t room;
    struct err e;

    (void)state;
    for (int i = 0; i < 9; i++) {
        memcpy(bytes[i], "\x32\x07\x00\x01t\x00\x00\x00#", 9);
        bytes[i][6] = (char)(i + 1);
    }
    char *to = mqtt_session_space(s, &room);
    memcpy(to, bytes, sizeof bytes);
    assert_true(mqtt_session_received(s, sizeof bytes, 0, &e));
    assert_null(mqtt_session_space(s, &room));
    assert_int_equal(room, 0);
    assert_int_equal(mqtt_session_take(s, m, 9), 8);
    assert_null(mqtt_session_space(s, &room));
    mqtt_session_acknowledge(s);
    assert_true(mqtt_session_received(s, 0, 0, &e));
    assert_non_null(mqtt_session_space(s, &room));
    assert_int_equal(mqtt_session_take(s, m, 9), 1);
    mqtt_session_free(s);
}

static void at_its_bound_of_bytes_it_asks_for_no_more(void **state)
{
    struct mqtt_session_options o = defaults();
    struct broker_message m;
    size_t room;

    (void)state;
    o.pending_bytes_most = 10;
    struct mqtt_session *s = new_session(&o);
    make_ready(s, false);
    publish(s, 1);
    assert_non_null(mqtt_session_space(s, &room));
    publish(s, 2);
    assert_null(mqtt_session_space(s, &room));
    assert_int_equal(mqtt_session_take(s, &m, 1), 1);
    mqtt_session_acknowledge(s);
    assert_non_null(mqtt_session_space(s, &room));
    mqtt_session_free(s);
}

/*
 * 3000 messages of 100 to 40,000 bytes in odd pieces, acknowledged in uneven batches. Every
 * payload must still be whole when its batch is acknowledged, and be seen once, in order.
 */
enum { MANY = 3000, LARGEST = 40000 };

static size_t make_publish(char *to, int n)
{
    size_t payload = 100 + (size_t)(n * 7919 % (LARGEST - 100));
    size_t rest = 6 + payload;
    size_t at = 0;

    to[at++] = 0x32;
    for (; rest > 127; rest >>= 7)
        to[at++] = (char)((rest & 127) | 128);
    to[at++] = (char)rest;
    memcpy(to + at, "\x00\x01t", 3);
    to[at + 3] = (char)((n % 60000 + 1) >> 8);
    to[at + 4] = (char)((n % 60000 + 1) & 255);
    to[at + 5] = 0;
    memset(to + at + 6, 'a' + n % 26, payload);
    return at + 6 + payload;
}

static void check_payload(const struct broker_message *m, int n)
{
    assert_int_equal(m->payload_len, 100 + (size_t)(n * 7919 % (LARGEST - 100)));
    for (size_t i = 0; i < m->payload_len; i++)
        if (m->payload[i] != 'a' + n % 26)
            fail_msg("message %d is damaged at byte %zu", n, i);
}

static void messages_stay_where_they_are_until_acknowledged(void **state)
{
    struct mqtt_session_options o = defaults();
    static struct broker_message m[64];
    static char bytes[LARGEST + 16];
    int held = 0, checked = 0;

    (void)state;
    o.pending_messages_most = 100;
    o.pending_bytes_most = 8 << 20;
    o.receive_maximum = 100;
    struct mqtt_session *s = new_session(&o);
    make_ready(s, false);
    for (int n = 0; n < MANY; n++) {
        size_t len = make_publish(bytes, n);
        for (size_t at = 0; at < len; at += 10007)
            hear(s, bytes + at, len - at < 10007 ? len - at : 10007);
        held += mqtt_session_take(s, m + held, n % 3);
        if (held < 1 + n % 61 && n < MANY - 1)
            continue;
        if (n == MANY - 1)
            held += mqtt_session_take(s, m + held, 64 - held);
        for (int i = 0; i < held; i++)
            check_payload(&m[i], checked++);
        held = 0;
        mqtt_session_acknowledge(s);
        ignore_output(s);
    }
    assert_int_equal(checked + (int)mqtt_session_waiting(s), MANY);
    assert_int_equal(stats_of(s).acknowledged, checked);
    mqtt_session_free(s);
}

static void it_pings_at_half_the_interval_and_gives_up_after_a_whole_one(void **state)
{
    struct mqtt_session *s = ready_session();
    struct err e;

    (void)state;
    assert_int_equal(mqtt_session_due_ms(s), 15000);
    assert_true(mqtt_session_tick(s, 14999, true, &e));
    assert_says(s, "", 0);
    assert_true(mqtt_session_tick(s, 15000, true, &e));
    assert_says(s, BYTES("\xc0\x00"));
    assert_true(hear_at(s, 15100, BYTES("\xd0\x00"), &e));
    assert_true(mqtt_session_tick(s, 30000, true, &e));
    assert_says(s, BYTES("\xc0\x00"));
    assert_true(mqtt_session_tick(s, 45000, true, &e));
    assert_says(s, BYTES("\xc0\x00"));
    assert_int_equal(mqtt_session_due_ms(s), 60000);
    assert_true(mqtt_session_tick(s, 59999, true, &e));
    assert_false(mqtt_session_tick(s, 60000, true, &e));
    assert_non_null(strstr(e.text, "has not answered a PINGREQ for 30 s"));
    mqtt_session_free(s);
}

static void silence_does_not_count_while_nothing_is_read_but_pings_go_on(void **state)
{
    struct mqtt_session *s = ready_session();
    struct err e;

    (void)state;
    for (int64_t now_ms = 15000; now_ms <= 300000; now_ms += 15000) {
        assert_true(mqtt_session_tick(s, now_ms, false, &e));
        assert_says(s, BYTES("\xc0\x00"));
    }
    assert_true(mqtt_session_tick(s, 314999, true, &e));
    mqtt_session_free(s);
}

static void the_keep_alive_of_the_server_counts(void **state)
{
    struct mqtt_session_options o = defaults();
    struct mqtt_session *s = new_session(&o);

    (void)state;
    mqtt_session_connect(s, 0);
    hear(s, BYTES("\x20\x06\x00\x00\x03\x13\x00\x0a"));
    ignore_output(s);
    assert_int_equal(mqtt_session_due_ms(s), 5000);
    mqtt_session_free(s);
}

static const struct {
    const char *bytes;
    size_t len;
    enum err_kind kind;
    const char *words;
    bool shared;
} refused_connacks[] = {
    {BYTES("\x20\x03\x00\x86\x00"), ERR_FATAL, "bad user name or password (0x86)", false},
    {BYTES("\x20\x09\x00\x87\x06\x1f\x00\x03who"), ERR_FATAL, "not authorized (0x87) (who)", false},
    {BYTES("\x20\x03\x00\x88\x00"), ERR_RETRY, "server unavailable (0x88)", false},
    {BYTES("\x20\x02\x00\x01"), ERR_FATAL, "MQTT 5 is needed", false},
    {BYTES("\x20\x08\x00\x00\x05\x11\x00\x00\x00\x3c"), ERR_FATAL, "for 60 s only, 3600 s", false},
    {BYTES("\x20\x05\x00\x00\x02\x24\x00"), ERR_FATAL, "QoS 0 only", false},
    {BYTES("\x20\x05\x00\x00\x02\x2a\x00"), ERR_FATAL, "no shared subscriptions", true},
    {BYTES("\x90\x05\x00\x01\x00\x01\x01"), ERR_RETRY, "did not begin with CONNACK", false},
    {BYTES("\xe0\x01\x8b"), ERR_RETRY, "server shutting down", false},
};

static void a_connection_that_is_not_what_was_asked_for_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused_connacks / sizeof *refused_connacks; i++) {
        struct mqtt_session_options o = defaults();
        o.share_group = refused_connacks[i].shared ? "g" : NULL;
        struct mqtt_session *s = new_session(&o);
        mqtt_session_connect(s, 0);
        assert_fails(s, refused_connacks[i].bytes, refused_connacks[i].len,
                     refused_connacks[i].kind, refused_connacks[i].words);
        mqtt_session_free(s);
    }
}

static void a_missing_shared_subscription_is_no_matter_without_a_group(void **state)
{
    struct mqtt_session_options o = defaults();
    struct mqtt_session *s = new_session(&o);

    (void)state;
    mqtt_session_connect(s, 0);
    hear(s, BYTES("\x20\x05\x00\x00\x02\x2a\x00"));
    hear(s, SUBACK_2);
    assert_true(mqtt_session_ready(s));
    mqtt_session_free(s);
}

static const struct {
    const char *bytes;
    size_t len;
    enum err_kind kind;
    const char *words;
} refused_subscriptions[] = {
    {BYTES("\x90\x05\x00\x01\x00\x01\x87"), ERR_FATAL, "m/status: not authorized (0x87)"},
    {BYTES("\x90\x05\x00\x01\x00\x97\x01"), ERR_RETRY, "m/data: quota exceeded"},
    {BYTES("\x90\x05\x00\x01\x00\x00\x01"), ERR_FATAL, "granted QoS 0 for m/data"},
    {BYTES("\x90\x04\x00\x01\x00\x01"), ERR_RETRY, "not asked for"},
    {BYTES("\x90\x05\x00\x02\x00\x01\x01"), ERR_RETRY, "not asked for"},
    {BYTES("\xb0\x05\x00\x02\x00\x00\x00"), ERR_RETRY, "not asked for"},
};

static void a_subscription_that_is_not_granted_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused_subscriptions / sizeof *refused_subscriptions; i++) {
        struct mqtt_session_options o = defaults();
        struct mqtt_session *s = new_session(&o);
        mqtt_session_connect(s, 0);
        hear(s, CONNACK_NEW);
        assert_fails(s, refused_subscriptions[i].bytes, refused_subscriptions[i].len,
                     refused_subscriptions[i].kind, refused_subscriptions[i].words);
        mqtt_session_free(s);
    }
}

static const struct {
    const char *bytes;
    size_t len;
    const char *words;
    const char *last_word; /* DISCONNECT with its reason; "": nothing */
} violations[] = {
    {BYTES("\x34\x07\x00\x01t\x00\x01\x00!"), "QoS 2", "\xe0\x01\x82"},
    {BYTES("\x30\x07\x00\x01t\x03\x23\x00\x01"), "topic alias", "\xe0\x01\x82"},
    {BYTES("\x30\x06\x00\x01t\x02\x04\x00"), "property", "\xe0\x01\x81"},
    {BYTES("\x40\x02\x00\x01"), "never sent", "\xe0\x01\x82"},
    {BYTES("\xf0\x00"), "AUTH", "\xe0\x01\x82"},
    {BYTES("\x32\xff\xff\xff\x7f"), "268435460 bytes", "\xe0\x01\x95"},
    {BYTES("\x20\x03\x00\x00\x00"), "CONNACK twice", ""},
    {BYTES("\xe0\x01\x8e"), "session taken over", ""},
};

static void a_violation_ends_the_connection_with_a_last_word(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof violations / sizeof *violations; i++) {
        struct mqtt_session *s = ready_session();
        enum err_kind kind = i == 0 ? ERR_FATAL : ERR_RETRY;
        assert_fails(s, violations[i].bytes, violations[i].len, kind, violations[i].words);
        assert_says(s, violations[i].last_word, strlen(violations[i].last_word));
        mqtt_session_free(s);
    }
}

static void good_bye_is_said_once_and_keeps_the_session(void **state)
{
    struct mqtt_session *s = ready_session();

    (void)state;
    mqtt_session_disconnect(s);
    mqtt_session_disconnect(s);
    assert_says(s, BYTES("\xe0\x01\x00"));
    mqtt_session_free(s);
}

static void assert_refused(const struct mqtt_session_options *o, const char *words)
{
    struct err e;

    if (mqtt_session_new(o, &e))
        fail_msg("accepted, expected: %s", words);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" does not say \"%s\"", e.text, words);
    assert_int_equal(e.kind, ERR_FATAL);
}

static void unusable_options_are_refused(void **state)
{
    static const char *const bad_filters[] = {"a/#/b", "a+", "+a/b", "b#", "", "\xff"};
    static const char *const good_filters[] = {"#", "+", "a/+/b", "a/#", "+/+", "/", NULL};
    struct mqtt_session_options o = defaults();

    (void)state;
    o.client_id = "";
    assert_refused(&o, "client id");
    o = defaults();
    o.share_group = "a/b";
    assert_refused(&o, "share group");
    o = defaults();
    o.receive_maximum = 0;
    assert_refused(&o, "receive maximum");
    o = defaults();
    o.pending_messages_most = 0;
    assert_refused(&o, "pending");
    for (size_t i = 0; i < sizeof bad_filters / sizeof *bad_filters; i++) {
        const char *const filters[] = {bad_filters[i], NULL};
        o = defaults();
        o.topics = filters;
        assert_refused(&o, "topic filter");
    }
    o = defaults();
    o.topics = good_filters;
    mqtt_session_free(new_session(&o));
    o.topics = good_filters + 6;
    assert_refused(&o, "no MQTT topic");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_connects_and_subscribes),
        cmocka_unit_test(a_session_that_becomes_shared_drops_its_own_subscriptions),
        cmocka_unit_test(only_what_was_taken_is_acknowledged_in_order_and_at_once),
        cmocka_unit_test(a_message_of_qos_0_is_given_out_and_not_acknowledged),
        cmocka_unit_test(a_new_connection_forgets_what_was_not_acknowledged),
        cmocka_unit_test(a_session_that_was_there_and_is_gone_is_counted),
        cmocka_unit_test(more_than_the_window_is_counted_and_taken),
        cmocka_unit_test(at_its_bound_of_messages_it_asks_for_no_more_until_acknowledged),
        cmocka_unit_test(at_its_bound_of_bytes_it_asks_for_no_more),
        cmocka_unit_test(messages_stay_where_they_are_until_acknowledged),
        cmocka_unit_test(it_pings_at_half_the_interval_and_gives_up_after_a_whole_one),
        cmocka_unit_test(silence_does_not_count_while_nothing_is_read_but_pings_go_on),
        cmocka_unit_test(the_keep_alive_of_the_server_counts),
        cmocka_unit_test(a_connection_that_is_not_what_was_asked_for_is_an_error),
        cmocka_unit_test(a_missing_shared_subscription_is_no_matter_without_a_group),
        cmocka_unit_test(a_subscription_that_is_not_granted_is_an_error),
        cmocka_unit_test(a_violation_ends_the_connection_with_a_last_word),
        cmocka_unit_test(good_bye_is_said_once_and_keeps_the_session),
        cmocka_unit_test(unusable_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
