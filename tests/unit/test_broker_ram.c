#include "unit.h"

#include "stores/broker_ram.h"

enum { MOST = 8 };

static void publish(struct broker *b, const char *payload)
{
    broker_ram_publish(b, "t", payload, strlen(payload), NULL);
}

/* The payloads that come now are these letters, one each, all redelivered or none. */
static void assert_comes(struct broker *b, const char *letters, bool redelivered)
{
    struct broker_message m[MOST];
    struct err e;
    int n = broker_receive(b, m, MOST, 0, &e);

    assert_int_equal(n, strlen(letters));
    for (int i = 0; i < n; i++) {
        assert_int_equal(m[i].payload_len, 1);
        assert_int_equal(m[i].payload[0], letters[i]);
        assert_int_equal(m[i].redelivered, redelivered);
    }
}

static void messages_come_in_order_and_only_once(void **state)
{
    struct broker *b = broker_ram_open();
    struct broker_message m;
    struct err e;

    (void)state;
    assert_comes(b, "", false);
    publish(b, "a");
    publish(b, "b");
    assert_int_equal(broker_receive(b, &m, 1, 0, &e), 1);
    assert_memory_equal(m.payload, "a", 1);
    assert_comes(b, "b", false);
    assert_comes(b, "", false);
    assert_int_equal(broker_ram_waiting(b), 2);
    assert_true(broker_acknowledge(b, &e));
    assert_int_equal(broker_ram_waiting(b), 0);
    publish(b, "c");
    assert_comes(b, "c", false);
    broker_close(b);
}

static void topic_and_publisher_are_kept(void **state)
{
    struct broker *b = broker_ram_open();
    struct broker_message m[2];
    struct err e;

    (void)state;
    broker_ram_publish(b, "m/data", "", 0, "METER1");
    broker_ram_publish(b, "m/data", "x", 1, NULL);
    assert_int_equal(broker_receive(b, m, 2, 0, &e), 2);
    assert_int_equal(m[0].topic_len, 6);
    assert_memory_equal(m[0].topic, "m/data", 6);
    assert_int_equal(m[0].payload_len, 0);
    assert_int_equal(m[0].publisher_len, 6);
    assert_memory_equal(m[0].publisher, "METER1", 6);
    assert_null(m[1].publisher);
    broker_close(b);
}

static void after_a_drop_what_was_not_acknowledged_comes_again(void **state)
{
    struct broker *b = broker_ram_open();
    struct broker_message m;
    struct broker_stats s;
    struct err e;

    (void)state;
    publish(b, "a");
    publish(b, "b");
    publish(b, "c");
    assert_int_equal(broker_receive(b, &m, 1, 0, &e), 1);
    assert_true(broker_acknowledge(b, &e));
    assert_int_equal(broker_receive(b, &m, 1, 0, &e), 1);
    broker_ram_drop_connection(b);
    assert_false(broker_acknowledge(b, &e));
    assert_int_equal(e.kind, ERR_RETRY);
    assert_int_equal(broker_receive(b, &m, 1, 0, &e), -1);
    assert_int_equal(broker_receive(b, &m, 1, 0, &e), 1);
    assert_memory_equal(m.payload, "b", 1);
    assert_true(m.redelivered);
    assert_comes(b, "c", false);
    assert_true(broker_acknowledge(b, &e));
    broker_stats(b, &s);
    assert_int_equal(s.received, 4);
    assert_int_equal(s.acknowledged, 3);
    assert_int_equal(s.redelivered, 1);
    assert_int_equal(s.reconnects, 1);
    assert_true(s.connected);
    broker_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_in_order_and_only_once),
        cmocka_unit_test(topic_and_publisher_are_kept),
        cmocka_unit_test(after_a_drop_what_was_not_acknowledged_comes_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
