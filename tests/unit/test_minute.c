#include "unit.h"

#include "core/minute.h"

/* The minute under test begins here: 2025-10-26T04:27:00Z. */
#define BUCKET_MS INT64_C(1761452820000)

struct set {
    struct minute_sample s[64];
    uint8_t packed[64];
    size_t n;
};

/* A sample `second` seconds into the minute with one value; every other value is absent. */
static struct reading *add(struct set *set, double second, enum metric m, double v)
{
    struct minute_sample *s = &set->s[set->n];

    *s = (struct minute_sample){.reading = {.topic = metric_table[m].topic,
                                            .time_ms = BUCKET_MS + (int64_t)(second * 1000)}};
    for (size_t i = 0; i < METRIC_COUNT; i++)
        s->reading.v[i] = NAN;
    s->reading.v[m] = v;
    set->packed[set->n] = (uint8_t)set->n;
    s->packed = &set->packed[set->n];
    s->packed_len = 1;
    set->n++;
    return &s->reading;
}

static struct minute fold(const struct set *set, const struct minute *earlier, bool *settled)
{
    struct minute row = {.meter_id = "M"};
    bool ignored;
    struct minute_fold how = {.bucket_ms = BUCKET_MS, .earlier = earlier};

    assert_true(minute_fold(set->s, set->n, &how, &row, settled ? settled : &ignored));
    return row;
}

static void a_gauge_has_mean_least_and_most(void **state)
{
    struct set set = {0};

    (void)state;
    add(&set, -5, METRIC_IMPORT_VOLTAGE, 1000); /* context counts in nothing but counters, _wh */
    add(&set, 0, METRIC_IMPORT_VOLTAGE, 230);
    add(&set, 20, METRIC_IMPORT_VOLTAGE, 231.5);
    add(&set, 59.9, METRIC_IMPORT_VOLTAGE, 229);
    add(&set, 60, METRIC_IMPORT_VOLTAGE, 1000);
    struct minute row = fold(&set, NULL, NULL);
    assert_int_equal(row.n, 3);
    assert_int_equal(row.n_status, 0);
    assert_near(row.v[COLUMN_IMPORT_VOLTAGE], (double)(float)(690.5 / 3), 0);
    assert_near(row.v[COLUMN_IMPORT_VOLTAGE + 1], 229, 0);
    assert_near(row.v[COLUMN_IMPORT_VOLTAGE + 2], 231.5, 0);
    assert_true(isnan(row.v[COLUMN_EXPORT_VOLTAGE]));
    assert_true(row.sec_mask ==
                (UINT64_C(1) | UINT64_C(1) << 20 | UINT64_C(1) << 59 | MASK_BEFORE | MASK_AFTER));
}

static void power_is_integrated_from_border_to_border(void **state)
{
    struct set set = {0};

    (void)state;
    /* Lines: -10 s 0 W -> 10 s 3600 W -> 50 s 3600 W -> 70 s 0 W.
     * 0..10 s: 1800 to 3600 W, mean 2700 W: 7.5 Wh; 10..50: 40 Wh; 50..60: 7.5 Wh. */
    add(&set, -10, METRIC_IMPORT_POWER, 0);
    add(&set, 10, METRIC_IMPORT_POWER, 3600e3);
    add(&set, 50, METRIC_IMPORT_POWER, 3600e3);
    add(&set, 70, METRIC_IMPORT_POWER, 0);
    assert_near(fold(&set, NULL, NULL).v[COLUMN_IMPORT_POWER + 3], 55, 1e-9);
}

static void power_is_held_for_the_context_only(void **state)
{
    struct set set = {0};

    (void)state;
    /* One sample at 45 s: held from 15 s to 60 s at 1 W. */
    add(&set, 45, METRIC_EXPORT_POWER, 1000);
    assert_near(fold(&set, NULL, NULL).v[COLUMN_EXPORT_POWER + 3], 45.0 / 3600, 1e-12);
}

static void flags_are_counted_and_states_keep_the_last_word(void **state)
{
    struct set set = {0};

    (void)state;
    add(&set, -20, METRIC_GRID_MODE, 0);
    add(&set, 5, METRIC_GRID_MODE, 1)->v[METRIC_WIFI_CONNECTED] = 1;
    add(&set, 25, METRIC_GRID_MODE, 1)->v[METRIC_WIFI_CONNECTED] = 0;
    add(&set, 45, METRIC_GRID_MODE, 2)->v[METRIC_WIFI_CONNECTED] = 1;
    struct minute row = fold(&set, NULL, NULL);
    assert_int_equal(row.n, 0);
    assert_int_equal(row.n_status, 3);
    assert_near(row.v[COLUMN_WIFI_CONNECTED], 2, 0);
    assert_near(row.v[COLUMN_GRID_MODE], 2, 0);
    assert_near(row.v[COLUMN_GRID_MODE + 1], 2, 0); /* off -> import, import -> export */
    assert_true(row.sec_mask == 0);
    assert_true(row.status_mask == (UINT64_C(1) << 5 | UINT64_C(1) << 25 | UINT64_C(1) << 45));
}

static void a_battery_that_is_not_valid_is_not_folded(void **state)
{
    struct set set = {0};

    (void)state;
    add(&set, 1, METRIC_BATTERY_SOC, 50)->v[METRIC_BATTERY_VALID] = 1;
    add(&set, 6, METRIC_BATTERY_SOC, 255)->v[METRIC_BATTERY_VALID] = 0;
    struct reading *gone = add(&set, 11, METRIC_BATTERY_SOC, 0);
    gone->v[METRIC_BATTERY_CONNECTED] = 0;
    gone->v[METRIC_BATTERY_ALERT_ACTIVE] = 1;
    struct minute row = fold(&set, NULL, NULL);
    assert_int_equal(row.n, 3);
    assert_near(row.v[COLUMN_BATTERY_SOC], 50, 0);
    assert_near(row.v[COLUMN_BATTERY_SOC + 2], 50, 0);
    assert_near(row.v[COLUMN_BATTERY_VALID], 1, 0);
    assert_near(row.v[COLUMN_BATTERY_CONNECTED], 0, 0);
    assert_true(isnan(row.v[COLUMN_BATTERY_ALERT_ACTIVE]));
}

static void a_counter_goes_on_from_the_last_earlier_row(void **state)
{
    struct set set = {0};
    struct minute earlier = {.bucket_ms = BUCKET_MS - 600000, .sec_mask = 1, .n = 1};

    (void)state;
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        earlier.v[c] = NAN;
    earlier.v[COLUMN_IMPORT_TOTAL_ENERGY] = 90;
    add(&set, 5, METRIC_IMPORT_TOTAL_ENERGY, 100);
    add(&set, 50, METRIC_IMPORT_TOTAL_ENERGY, 101);
    assert_true(minute_wants_earlier(set.s, set.n, BUCKET_MS));
    struct minute row = fold(&set, &earlier, NULL);
    assert_near(row.v[COLUMN_IMPORT_TOTAL_ENERGY], 101, 0);
    assert_near(row.v[COLUMN_IMPORT_TOTAL_ENERGY + 1], 11, 1e-12);
    assert_int_equal(row.quality, QUALITY_INTERPOLATED);
    row = fold(&set, NULL, NULL);
    assert_near(row.v[COLUMN_IMPORT_TOTAL_ENERGY + 1], 1, 1e-12);
    assert_int_equal(row.quality, QUALITY_VALIDATED);
}

static void a_sample_before_the_minute_makes_the_earlier_row_needless(void **state)
{
    struct set set = {0};

    (void)state;
    add(&set, -5, METRIC_IMPORT_TOTAL_ENERGY, 100);
    add(&set, 5, METRIC_IMPORT_TOTAL_ENERGY, 100);
    assert_false(minute_wants_earlier(set.s, set.n, BUCKET_MS));
    /* Another counter that only appears now does want it. */
    add(&set, 10, METRIC_EXPORT_TOTAL_ENERGY, 100);
    assert_true(minute_wants_earlier(set.s, set.n, BUCKET_MS));
}

static void a_row_is_settled_once_a_sample_follows(void **state)
{
    struct set set = {0};
    bool settled;

    (void)state;
    add(&set, 1, METRIC_IMPORT_TOTAL_ENERGY, 100);
    add(&set, 56, METRIC_IMPORT_TOTAL_ENERGY, 101);
    fold(&set, NULL, &settled);
    assert_false(settled);
    add(&set, 61, METRIC_IMPORT_TOTAL_ENERGY, 102);
    fold(&set, NULL, &settled);
    assert_true(settled);
}

static void of_two_messages_with_one_identity_the_greater_bytes_stay(void **state)
{
    size_t conflicts = 0;

    (void)state;
    for (int order = 0; order < 2; order++) {
        struct set set = {0};
        add(&set, 7, METRIC_IMPORT_POWER, order ? 2 : 1);
        add(&set, 7, METRIC_IMPORT_POWER, order ? 1 : 2);
        set.packed[0] = order ? 'b' : 'a';
        set.packed[1] = order ? 'a' : 'b';
        add(&set, 3, METRIC_IMPORT_POWER, 5);
        add(&set, 7, METRIC_WIFI_RSSI, -50);
        set.n = minute_order(set.s, set.n, &conflicts);
        assert_int_equal(set.n, 3);
        assert_near(set.s[0].reading.v[METRIC_IMPORT_POWER], 5, 0);
        assert_near(set.s[1].reading.v[METRIC_IMPORT_POWER], 2, 0);
        assert_int_equal(set.s[2].reading.topic, TOPIC_STATUS);
    }
    assert_int_equal(conflicts, 2);
}

static void a_fuller_set_replaces_and_a_poorer_one_never_does(void **state)
{
    struct set few = {0}, many = {0}, other = {0};

    (void)state;
    add(&few, 10, METRIC_IMPORT_POWER, 1);
    add(&many, 10, METRIC_IMPORT_POWER, 1);
    add(&many, 20, METRIC_IMPORT_POWER, 2);
    add(&other, 30, METRIC_IMPORT_POWER, 3);
    struct minute a = fold(&few, NULL, NULL), b = fold(&many, NULL, NULL),
                  c = fold(&other, NULL, NULL);
    assert_int_equal(minute_compare(&a, &b), MINUTE_REPLACE);
    assert_int_equal(minute_compare(&b, &a), MINUTE_KEEP);
    assert_int_equal(minute_compare(&b, &b), MINUTE_REPLACE);
    assert_int_equal(minute_compare(&b, &c), MINUTE_MERGE);
    /* Context is part of fullness: the same seconds without it do not replace. */
    struct set context = {0};
    add(&context, -5, METRIC_IMPORT_POWER, 1);
    add(&context, 10, METRIC_IMPORT_POWER, 1);
    struct minute with_context = fold(&context, NULL, NULL);
    assert_int_equal(minute_compare(&with_context, &a), MINUTE_KEEP);
    assert_int_equal(minute_compare(&a, &with_context), MINUTE_REPLACE);
}

static void disjoint_sets_merge_and_a_replay_adds_nothing(void **state)
{
    struct set first = {0}, second = {0}, all = {0};

    (void)state;
    for (int s = 0; s < 12; s++) {
        struct set *half = s % 3 ? &first : &second;
        double power = 1000 + 7 * s, flag = s % 2;
        add(half, 5 * s, METRIC_IMPORT_POWER, power)->v[METRIC_IMPORT_ACTIVE] = flag;
        add(&all, 5 * s, METRIC_IMPORT_POWER, power)->v[METRIC_IMPORT_ACTIVE] = flag;
    }
    struct minute a = fold(&first, NULL, NULL), b = fold(&second, NULL, NULL), merged,
                  whole = fold(&all, NULL, NULL);
    minute_merge(&a, &b, &merged);
    assert_int_equal(merged.n, 12);
    assert_true(merged.sec_mask == whole.sec_mask);
    assert_near(merged.v[COLUMN_IMPORT_POWER], whole.v[COLUMN_IMPORT_POWER], 1e-3);
    assert_near(merged.v[COLUMN_IMPORT_POWER + 1], whole.v[COLUMN_IMPORT_POWER + 1], 0);
    assert_near(merged.v[COLUMN_IMPORT_POWER + 2], whole.v[COLUMN_IMPORT_POWER + 2], 0);
    assert_near(merged.v[COLUMN_IMPORT_ACTIVE], 6, 0);
    assert_int_equal(merged.quality, QUALITY_MIXED);
    assert_int_equal(minute_compare(&merged, &b), MINUTE_KEEP);
}

static void a_late_row_takes_its_energy_out_of_the_next(void **state)
{
    struct set set = {0};

    (void)state;
    add(&set, 5, METRIC_IMPORT_TOTAL_ENERGY, 140);
    struct minute earlier = fold(&set, NULL, NULL);
    earlier.v[COLUMN_IMPORT_TOTAL_ENERGY] = 100;
    earlier.bucket_ms -= 600000;
    struct minute late = fold(&set, &earlier, NULL); /* 100 -> 140 */
    struct minute next = late;
    next.bucket_ms += 600000;
    next.v[COLUMN_IMPORT_TOTAL_ENERGY] = 150;
    next.v[COLUMN_IMPORT_TOTAL_ENERGY + 1] = 50; /* 100 -> 150, computed before the late row came */
    assert_true(minute_rebase(&next, NULL, &late));
    assert_near(next.v[COLUMN_IMPORT_TOTAL_ENERGY + 1], 10, 1e-12);
    assert_false(minute_rebase(&next, &late, &late));
    next.sec_mask |= MASK_BEFORE;
    assert_false(minute_rebase(&next, NULL, &late));
}

static void a_minute_without_samples_gives_no_row(void **state)
{
    struct set set = {0};
    struct minute row;
    bool settled;
    struct minute_fold how = {.bucket_ms = BUCKET_MS};

    (void)state;
    assert_false(minute_fold(set.s, 0, &how, &row, &settled));
    add(&set, -3, METRIC_IMPORT_POWER, 1);
    add(&set, 63, METRIC_IMPORT_POWER, 1);
    assert_false(minute_fold(set.s, set.n, &how, &row, &settled));
}

/* Any order of arrival, with repetitions, gives the same bytes. */
static void the_order_of_arrival_does_not_matter(void **state)
{
    struct set set = {0};
    struct minute first;

    (void)state;
    for (int s = -6; s < 18; s++) {
        struct reading *r = add(&set, 5 * s + 1, METRIC_IMPORT_POWER, 1e5 / 3 * s);
        r->v[METRIC_IMPORT_TOTAL_ENERGY] = s < 7 ? 1000 + s / 3.0 : s / 7.0;
        r->v[METRIC_BATTERY_SOC] = 50 + s / 9.0;
    }
    first = fold(&set, NULL, NULL);
    for (unsigned seed = 0; seed < 200; seed++) {
        struct set shuffled = set;
        srand(seed);
        for (size_t i = 0; i < 30; i++)
            shuffled.s[shuffled.n++] = set.s[(size_t)rand() % set.n];
        for (size_t i = shuffled.n; i-- > 1;) {
            size_t j = (size_t)rand() % (i + 1);
            struct minute_sample moved = shuffled.s[i];
            shuffled.s[i] = shuffled.s[j];
            shuffled.s[j] = moved;
        }
        shuffled.n = minute_order(shuffled.s, shuffled.n, NULL);
        struct minute row = fold(&shuffled, NULL, NULL);
        assert_true(minute_equal(&first, &row));
        assert_memory_equal(first.v, row.v, sizeof first.v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gauge_has_mean_least_and_most),
        cmocka_unit_test(power_is_integrated_from_border_to_border),
        cmocka_unit_test(power_is_held_for_the_context_only),
        cmocka_unit_test(flags_are_counted_and_states_keep_the_last_word),
        cmocka_unit_test(a_battery_that_is_not_valid_is_not_folded),
        cmocka_unit_test(a_counter_goes_on_from_the_last_earlier_row),
        cmocka_unit_test(a_sample_before_the_minute_makes_the_earlier_row_needless),
        cmocka_unit_test(a_row_is_settled_once_a_sample_follows),
        cmocka_unit_test(of_two_messages_with_one_identity_the_greater_bytes_stay),
        cmocka_unit_test(a_fuller_set_replaces_and_a_poorer_one_never_does),
        cmocka_unit_test(disjoint_sets_merge_and_a_replay_adds_nothing),
        cmocka_unit_test(a_late_row_takes_its_energy_out_of_the_next),
        cmocka_unit_test(a_minute_without_samples_gives_no_row),
        cmocka_unit_test(the_order_of_arrival_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
