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

static enum ram_fault next_fault;

/* One fault, once. */
static enum ram_fault fail_once(void *ctx, const char *call)
{
    enum ram_fault fault = strcmp(ctx, call) == 0 ? next_fault : RAM_FINE;

    if (fault != RAM_FINE)
        next_fault = RAM_FINE;
    return fault;
}

static struct broker *open_failing(char *call, enum ram_fault fault)
{
    struct broker *b = broker_ram_open();

    broker_ram_set_faults(b, &(struct ram_faults){fail_once, call});
    publish(b, "a");
    publish(b, "b");
    next_fault = fault;
    return b;
}

static void assert_breaks(struct broker *b)
{
    struct broker_message m[MOST];
    struct err e;

    assert_int_equal(broker_receive(b, m, MOST, 0, &e), -1);
    assert_int_equal(e.kind, ERR_RETRY);
}

static void a_connection_may_break_before_or_behind_the_messages(void **state)
{
    (void)state;
    struct broker *b = open_failing("receive", RAM_FAIL_BEFORE);
    assert_breaks(b);
    assert_comes(b, "ab", false);
    broker_close(b);
    b = open_failing("receive", RAM_FAIL_AFTER);
    assert_breaks(b);
    assert_comes(b, "ab", true);
    broker_close(b);
}

static void an_acknowledgement_that_fails_may_have_arrived(void **state)
{
    static const struct {
        enum ram_fault fault;
        const char *comes;
    } cases[] = {{RAM_FAIL_BEFORE, "ab"}, {RAM_REFUSE, "ab"}, {RAM_FAIL_AFTER, ""}};
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct broker *b = open_failing("acknowledge", cases[i].fault);
        assert_comes(b, "ab", false);
        assert_false(broker_acknowledge(b, &e));
        assert_int_equal(e.kind, ERR_RETRY);
        publish(b, "c");
        assert_breaks(b);
        broker_ram_limit_batch(b, (int)strlen(cases[i].comes));
        assert_comes(b, *cases[i].comes ? cases[i].comes : "c", *cases[i].comes != '\0');
        broker_close(b);
    }
}

static void acknowledged_messages_come_again_when_that_was_lost(void **state)
{
    struct broker *b = broker_ram_open();
    struct err e;

    (void)state;
    publish(b, "a");
    publish(b, "b");
    publish(b, "c");
    broker_ram_duplicate_next(b, 2);
    assert_true(broker_acknowledge(b, &e)); /* nothing was given out */
    assert_comes(b, "abc", false);
    assert_true(broker_acknowledge(b, &e));
    assert_int_equal(broker_ram_waiting(b), 2);
    assert_breaks(b);
    assert_comes(b, "bc", true);
    assert_true(broker_acknowledge(b, &e));
    assert_comes(b, "", false);
    publish(b, "d");
    assert_comes(b, "d", false);
    broker_close(b);
}

static void a_batch_may_be_smaller_than_asked_for(void **state)
{
    struct broker *b = broker_ram_open();
    struct err e;

    (void)state;
    publish(b, "a");
    publish(b, "b");
    publish(b, "c");
    broker_ram_limit_batch(b, 1);
    assert_comes(b, "a", false);
    assert_comes(b, "b", false);
    broker_ram_limit_batch(b, 0);
    broker_ram_drop_connection(b);
    assert_breaks(b);
    assert_true(broker_acknowledge(b, &e)); /* nothing was given out since */
    broker_ram_limit_batch(b, 2);
    assert_comes(b, "ab", true);
    assert_comes(b, "c", false);
    broker_close(b);
}

static void add_letter(void *ctx, const struct broker_message *m)
{
    strncat(ctx, m->payload, m->payload_len);
}

static void what_waits_is_gone_with_the_session(void **state)
{
    struct broker *b = broker_ram_open();
    struct broker_message m;
    struct broker_stats s;
    struct err e;
    char waiting[8] = "";

    (void)state;
    publish(b, "a");
    publish(b, "b");
    assert_int_equal(broker_receive(b, &m, 1, 0, &e), 1);
    broker_ram_each_waiting(b, add_letter, waiting);
    assert_string_equal(waiting, "ab");
    broker_ram_lose_session(b);
    assert_int_equal(broker_ram_waiting(b), 0);
    assert_memory_equal(m.payload, "a", 1); /* whoever received it still has it */
    assert_false(broker_acknowledge(b, &e));
    publish(b, "c");
    broker_ram_lose_session(b);
    publish(b, "d");
    assert_breaks(b);
    assert_comes(b, "d", false);
    broker_stats(b, &s);
    assert_int_equal(s.sessions_lost, 2);
    broker_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_in_order_and_only_once),
        cmocka_unit_test(topic_and_publisher_are_kept),
        cmocka_unit_test(after_a_drop_what_was_not_acknowledged_comes_again),
        cmocka_unit_test(a_connection_may_break_before_or_behind_the_messages),
        cmocka_unit_test(an_acknowledgement_that_fails_may_have_arrived),
        cmocka_unit_test(acknowledged_messages_come_again_when_that_was_lost),
        cmocka_unit_test(a_batch_may_be_smaller_than_asked_for),
        cmocka_unit_test(what_waits_is_gone_with_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
