#include "unit.h"

#include "core/snapshot.h"

/*
 * The bytes below were computed by a second implementation of docs/snapshot.md, written in another
 * language; those of the small reading by hand.
 */
static const uint8_t data_bytes[] = {
    0x01, 0x00, 0x01, 0x9a, 0x1e, 0xc5, 0x2d, 0x30, 0x41, 0x7a, 0x5a, 0x59, 0x6a, 0xaa, 0x9a, 0xaa,
    0xaa, 0xaa, 0x9a, 0xaa, 0x55, 0x55, 0x55, 0x55, 0x55, 0x01, 0xdd, 0xd8, 0xc5, 0x01, 0x8d, 0x8f,
    0x86, 0x21, 0x83, 0xec, 0x02, 0x83, 0x83, 0xce, 0x06, 0x50, 0xc3, 0xb0, 0x04, 0xf5, 0xaf, 0x9b,
    0x01, 0x8d, 0xf6, 0xbd, 0x9f, 0x01, 0xdd, 0xe8, 0xf0, 0x09, 0xa3, 0xba, 0x04, 0xc1, 0x24, 0x81,
    0xcd, 0x02, 0xdd, 0x96, 0xaf, 0x06, 0xad, 0xd8, 0xc5, 0xcb, 0x03, 0x9d, 0xd1, 0x8b, 0x25, 0xa3,
    0xfd, 0x01, 0x99, 0x49, 0xd1, 0xa8, 0x02, 0xfc, 0xfa, 0x2d, 0xa5, 0xdb, 0x98, 0xd0, 0x02, 0x83,
    0xfd, 0x01, 0xf9, 0x08, 0x99, 0x24, 0x95, 0xb6, 0x65, 0xf4, 0xc8, 0x96, 0x09, 0xa3, 0xc7, 0x02,
    0x89, 0x1a, 0xb9, 0x88, 0x01, 0xdd, 0x96, 0xde, 0x01, 0xdd, 0xb0, 0xa1, 0xef, 0x04, 0x82, 0x1f,
    0xc1, 0x18, 0xc1, 0x79, 0xd5, 0xfb, 0xc3, 0x01, 0xb5, 0xac, 0xf0, 0xc3, 0x04,
};
static const uint8_t status_bytes[] = {
    0x01, 0x01, 0x01, 0x9a, 0x1e, 0xc4, 0xfa, 0x68, 0x17, 0xad, 0x95, 0x9a, 0x55, 0x55, 0x29,
    0xb8, 0x02, 0x08, 0x08, 0x10, 0xa0, 0xd1, 0x68, 0x88, 0xbb, 0x9a, 0x2d, 0x38, 0x30, 0x08,
};
/* Of 23 metrics rssi is the second (39 << 3 is b8 02), free_heap the ninth (a0 d1 68). */
static const uint8_t small_bytes[] = {
    0x01, 0x01, 0x01, 0x9a, 0x1e, 0xc4, 0xfa, 0x68, 0x17, 0x0c,
    0x00, 0x02, 0x00, 0x00, 0x00, 0xb8, 0x02, 0xa0, 0xd1, 0x68,
};

static uint8_t out[SNAPSHOT_SIZE_MOST];
static struct err e;

static struct reading nothing(enum topic topic)
{
    struct reading r = {.topic = topic, .time_ms = 1761452817000};

    for (size_t m = 0; m < METRIC_COUNT; m++)
        r.v[m] = NAN;
    return r;
}

static struct reading load(const char *name, enum topic topic)
{
    static char text[MESSAGE_SIZE_MOST];
    struct reading r;
    struct reading_report report;
    char path[512];

    snprintf(path, sizeof path, SOURCE_ROOT "/tests/unit/data/%s", name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot open %s", path);
    size_t len = fread(text, 1, sizeof text, f);
    fclose(f);
    if (!reading_parse(text, len, topic, &r, &report))
        fail_msg("%s: %s", name, report.detail);
    return r;
}

static struct reading unpack(const void *bytes, size_t len)
{
    struct reading r;

    memset(&r, 0, sizeof r);
    if (!snapshot_unpack(bytes, len, &r, &e))
        fail_msg("%s", e.text);
    return r;
}

static void same(const struct reading *a, const struct reading *b)
{
    assert_int_equal(a->topic, b->topic);
    assert_true(a->time_ms == b->time_ms);
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        bool bits = memcmp(&a->v[m], &b->v[m], sizeof a->v[m]) == 0;
        if (!bits && !(isnan(a->v[m]) && isnan(b->v[m])))
            fail_msg("%s: %a, %a", metric_table[m].path, a->v[m], b->v[m]);
    }
}

/* Pack, unpack, compare; the length. */
static size_t round_trip(const struct reading *r)
{
    size_t len = snapshot_pack(r, out);
    struct reading back = unpack(out, len);

    assert_true(len <= SNAPSHOT_SIZE_MOST);
    same(&back, r);
    return len;
}

static void is_packed_as(const struct reading *r, const uint8_t *bytes, size_t len)
{
    assert_int_equal(round_trip(r), len);
    assert_memory_equal(out, bytes, len);
}

static void the_messages_of_the_specification_have_these_bytes(void **state)
{
    struct reading data = load("data.json", TOPIC_DATA);
    struct reading status = load("status.json", TOPIC_STATUS);

    (void)state;
    is_packed_as(&data, data_bytes, sizeof data_bytes);
    is_packed_as(&status, status_bytes, sizeof status_bytes);
    assert_true(sizeof data_bytes <= 156);
}

static void the_example_of_the_documentation_has_these_bytes(void **state)
{
    struct reading r = nothing(TOPIC_STATUS);

    (void)state;
    r.v[METRIC_WIFI_RSSI] = -39;
    r.v[METRIC_SYSTEM_FREE_HEAP] = 214292;
    is_packed_as(&r, small_bytes, sizeof small_bytes);
}

static void a_reading_without_values_is_a_head_and_zeros(void **state)
{
    struct reading r = nothing(TOPIC_DATA);

    (void)state;
    assert_int_equal(round_trip(&r), 8 + 1 + 17);
    r.time_ms = -1;
    round_trip(&r);
    assert_memory_equal(out + 2, "\xff\xff\xff\xff\xff\xff", 6);
    r.time_ms = (INT64_C(1) << 47) - 1;
    round_trip(&r);
    r.time_ms = -(INT64_C(1) << 47);
    round_trip(&r);
}

/* What one number costs beyond its class. */
static const struct {
    double value;
    size_t bytes;
} costs[] = {
    {0.0, 0},
    {-0.0, 1},
    {1, 1},
    {15, 1},
    {16, 2},
    {0.5, 1},
    {-0.5, 1},
    {204.7, 2},
    {204.8, 3},
    {26.2143, 3},
    {26.2144, 4},
    {0.000001, 1},
    {1e-7, 9},
    {0.1 + 0.2, 9},
    {5e-324, 9},
    {1e300, 9},
    {4503599627370495.0, 8},
    {4503599627370496.0, 9},
    {1.0 / 3, 9},
    {1204.66821, 5},
    {450359962.737049, 8},
};

static void every_double_comes_back_bit_for_bit(void **state)
{
    struct reading r = nothing(TOPIC_DATA);

    (void)state;
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        r.v[METRIC_BATTERY_SOC] = costs[i].value;
        size_t bytes = round_trip(&r) - 26;
        if (bytes != costs[i].bytes)
            fail_msg("%.17g takes %zu bytes", costs[i].value, bytes);
    }
}

static void what_can_be_computed_costs_nothing(void **state)
{
    struct reading r = nothing(TOPIC_DATA);

    (void)state;
    r.v[METRIC_LOAD_SMART_MTR_POWER] = 0.1;
    r.v[METRIC_LOAD_HOME_POWER] = 0.2;
    size_t before = round_trip(&r);
    r.v[METRIC_NET_SOLAR_LOAD_POWER] = 0.3; /* a meter that rounds */
    assert_int_equal(round_trip(&r), before);
    r.v[METRIC_NET_SOLAR_LOAD_POWER] = 0.1 + 0.2; /* a meter that does not */
    assert_int_equal(round_trip(&r), before + 1);
    r.v[METRIC_NET_SOLAR_LOAD_POWER] = -(0.1 + 0.2);
    assert_int_equal(round_trip(&r), before + 1);
    r.v[METRIC_NET_SOLAR_LOAD_POWER] = 0.4;
    assert_int_equal(round_trip(&r), before + 1);
    r.v[METRIC_NET_SOLAR_LOAD_POWER] = 0;
    assert_int_equal(round_trip(&r), before + 1);
    r.v[METRIC_LOAD_HOME_POWER] = NAN; /* then nothing is expected */
    assert_int_equal(round_trip(&r), before - 1);
}

static void flags_and_words_follow_their_numbers(void **state)
{
    struct reading r = nothing(TOPIC_DATA);
    static const double powers[] = {2.5, -2.5, 0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        r.v[METRIC_NET_GRID_NET_POWER] = powers[i];
        r.v[METRIC_NET_GRID_STATUS] = NAN;
        size_t before = round_trip(&r);
        for (int word = 0; word < 3; word++) {
            r.v[METRIC_NET_GRID_STATUS] = word;
            assert_int_equal(round_trip(&r), before + (word != i));
        }
    }
    r.v[METRIC_BATTERY_VALID] = NAN;
    size_t before = round_trip(&r);
    r.v[METRIC_BATTERY_VALID] = 1;
    assert_int_equal(round_trip(&r), before);
    r.v[METRIC_BATTERY_VALID] = 0;
    assert_int_equal(round_trip(&r), before + 1);
}

static void values_of_the_other_topic_do_not_change_the_bytes(void **state)
{
    struct reading r = load("data.json", TOPIC_DATA);

    (void)state;
    r.v[METRIC_WIFI_RSSI] = -39;
    strcpy(r.meter_id, "M2");
    assert_int_equal(snapshot_pack(&r, out), sizeof data_bytes);
    assert_memory_equal(out, data_bytes, sizeof data_bytes);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 24;
}

static void random_readings_come_back(void **state)
{
    uint64_t seed = 7;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        struct reading r = nothing(i % 2 ? TOPIC_DATA : TOPIC_STATUS);
        for (size_t m = 0; m < METRIC_COUNT; m++) {
            enum metric_kind kind = metric_table[m].kind;
            uint64_t random = next_random(&seed);
            if (metric_table[m].topic != r.topic || kind == KIND_TEXT || random % 8 == 0)
                continue;
            if (kind == KIND_FLAG || kind == KIND_STATE)
                r.v[m] = (double)(random >> 8 & 1);
            else if (random % 8 == 1)
                r.v[m] = (double)random / 7;
            else
                r.v[m] = (double)((int64_t)(next_random(&seed) % 2000001) - 1000000) /
                         pow(10, (double)(random >> 8 & 7));
        }
        round_trip(&r);
    }
}

/* ---- Other programs' bytes ---------------------------------------------------------------- */

static void an_older_writer_knew_fewer_metrics(void **state)
{
    /* Three metrics: voltage 4 (explicit), soc absent, charge_rate -0.5. */
    static const uint8_t bytes[] = {1, 0, 0, 0, 0, 0, 0, 5, 3, 0x32, 4 << 3, 5 << 3 | 1};
    struct reading r = unpack(bytes, sizeof bytes);
    struct reading expected = nothing(TOPIC_DATA);

    (void)state;
    expected.time_ms = 5;
    expected.v[METRIC_BATTERY_VOLTAGE] = 4;
    expected.v[METRIC_BATTERY_CHARGE_RATE] = -0.5;
    same(&r, &expected);
}

static void metrics_of_a_newer_writer_are_skipped(void **state)
{
    uint8_t bytes[SNAPSHOT_SIZE_MOST];
    struct reading r = nothing(TOPIC_STATUS);

    (void)state;
    r.v[METRIC_WIFI_RSSI] = -39;
    size_t len = snapshot_pack(&r, bytes);
    assert_int_equal(bytes[8], 23);
    bytes[8] = 26; /* three metrics more: 23 to 25 */
    memmove(bytes + 9 + 7, bytes + 9 + 6, len - 9 - 6);
    bytes[9 + 6] = 0;
    bytes[9 + 5] = (uint8_t)(bytes[9 + 5] | 2 << 6); /* 23 */
    bytes[9 + 6] = 1 | 3 << 2;                       /* 24 as predicted, 25 negative */
    len++;
    static const uint8_t more[] = {7, 0x40, 9, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18, 0xb8, 2};
    memcpy(bytes + len, more, sizeof more);
    struct reading back = unpack(bytes, len + sizeof more);
    same(&back, &r);
    assert_false(snapshot_unpack(bytes, len + sizeof more - 1, &back, &e));
    assert_false(snapshot_unpack(bytes, len + sizeof more + 1, &back, &e));
}

static void a_word_of_a_newer_writer_is_absent(void **state)
{
    struct reading r = nothing(TOPIC_STATUS);

    (void)state;
    r.v[METRIC_GRID_MODE] = 2;
    size_t len = snapshot_pack(&r, out);
    out[len - 1] = 3 << 3;
    struct reading back = unpack(out, len);
    assert_true(isnan(back.v[METRIC_GRID_MODE]));
    out[len - 1] = 100 << 3 & 0x7f;
    back = unpack(out, len);
    assert_true(isnan(back.v[METRIC_GRID_MODE]));
}

static void another_spelling_of_a_value_is_read(void **state)
{
    /* voltage 4 as 40 / 10, and as a varint with a byte too many; unused classes set. */
    static const uint8_t bytes[] = {1, 0, 0, 0, 0, 0, 0, 5, 1, 0xf2, 0xc1, 0x82, 0};

    (void)state;
    struct reading r = unpack(bytes, sizeof bytes);
    assert_true(r.v[METRIC_BATTERY_VOLTAGE] == 4);
}

#define FIRST_METRIC 1, 0, 0, 0, 0, 0, 0, 5, 1, 2
static const struct {
    uint8_t bytes[24];
    size_t len;
} invalid[] = {
    {{0}, 0},
    {{1}, 1},
    {{1, 0, 0, 0, 0, 0, 0}, 7},
    {{1, 0, 0, 0, 0, 0, 0, 5}, 8},
    {{0, 0, 0, 0, 0, 0, 0, 5, 0}, 9},
    {{2, 0, 0, 0, 0, 0, 0, 5, 0}, 9},
    {{1, 2, 0, 0, 0, 0, 0, 5, 0}, 9},
    {{1, 0, 0, 0, 0, 0, 0, 5, 0, 0}, 10},
    {{1, 0, 0, 0, 0, 0, 0, 5, 5, 0}, 10},
    {{1, 0, 0, 0, 0, 0, 0, 5, 0x80}, 9},
    {{1, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0}, 18},
    {{FIRST_METRIC}, 10},
    {{FIRST_METRIC, 8, 8}, 12},
    {{FIRST_METRIC, 0x88}, 11},
    {{FIRST_METRIC, 23}, 11}, /* seven places, but neither code */
    {{FIRST_METRIC, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}, 20},
    {{FIRST_METRIC, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40}, 18}, /* 2^52 */
    {{FIRST_METRIC, 7, 0x40, 9, 0x21, 0xfb, 0x54, 0x44, 0x2d}, 18},
    {{FIRST_METRIC, 7, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0}, 19}, /* infinity */
    {{FIRST_METRIC, 7, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0}, 19}, /* no number */
    {{FIRST_METRIC, 7, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0}, 19}, /* -1 as a magnitude */
    {{1, 1, 0, 0, 0, 0, 0, 5, 1, 2, 16}, 11},              /* flag 2 */
    {{1, 1, 0, 0, 0, 0, 0, 5, 1, 3, 8}, 11},               /* flag -1 */
    {{1, 1, 0, 0, 0, 0, 0, 5, 3, 0x20, 5 << 3 | 1}, 11},   /* word 0.5 */
    {{1, 1, 0, 0, 0, 0, 0, 5, 3, 0x30, 8}, 11},            /* word -1 */
};

static void what_is_no_snapshot_is_refused(void **state)
{
    struct reading r;

    (void)state;
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        if (snapshot_unpack(invalid[i].bytes, invalid[i].len, &r, &e))
            fail_msg("case %zu: accepted", i);
        assert_int_equal(e.kind, ERR_INPUT);
    }
    for (size_t len = 0; len < sizeof data_bytes; len++)
        assert_false(snapshot_unpack(data_bytes, len, &r, &e));
}

static void the_json_form_is_read_too(void **state)
{
    static const char *const files[TOPIC_COUNT] = {"data.json", "status.json"};
    char json[READING_JSON_MOST];

    (void)state;
    for (enum topic t = 0; t < TOPIC_COUNT; t++) {
        struct reading r = load(files[t], t);
        size_t len = reading_write_json(&r, json);
        struct reading back = unpack(json, len);
        same(&back, &r);
        assert_false(snapshot_unpack(json, len - 1, &back, &e));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_messages_of_the_specification_have_these_bytes),
        cmocka_unit_test(the_example_of_the_documentation_has_these_bytes),
        cmocka_unit_test(a_reading_without_values_is_a_head_and_zeros),
        cmocka_unit_test(every_double_comes_back_bit_for_bit),
        cmocka_unit_test(what_can_be_computed_costs_nothing),
        cmocka_unit_test(flags_and_words_follow_their_numbers),
        cmocka_unit_test(values_of_the_other_topic_do_not_change_the_bytes),
        cmocka_unit_test(random_readings_come_back),
        cmocka_unit_test(an_older_writer_knew_fewer_metrics),
        cmocka_unit_test(metrics_of_a_newer_writer_are_skipped),
        cmocka_unit_test(a_word_of_a_newer_writer_is_absent),
        cmocka_unit_test(another_spelling_of_a_value_is_read),
        cmocka_unit_test(what_is_no_snapshot_is_refused),
        cmocka_unit_test(the_json_form_is_read_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
