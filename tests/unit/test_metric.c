#include "unit.h"

#include "core/metric.h"

static void columns_follow_path_and_statistic(void **state)
{
    (void)state;
    const struct column_info *c = column_table();
    assert_string_equal(c[COLUMN_IMPORT_POWER].name, "import_power_avg");
    assert_string_equal(c[COLUMN_IMPORT_POWER + 3].name, "import_power_wh");
    assert_string_equal(c[COLUMN_IMPORT_TOTAL_ENERGY + 1].name, "import_total_energy_inc");
    assert_string_equal(c[COLUMN_WIFI_RSSI + 1].name, "wifi_rssi_min");
    assert_string_equal(c[COLUMN_SENSORS_INA219_0X40].name, "sensors_ina219_0x40_connected_true");
    assert_int_equal(c[COLUMN_GRID_MODE].type, COLUMN_TEXT);
    assert_int_equal(c[COLUMN_IMPORT_TOTAL_ENERGY].type, COLUMN_FLOAT8);
    assert_int_equal(c[COLUMN_IMPORT_POWER].type, COLUMN_FLOAT4);
}

static void column_names_are_unique_and_found(void **state)
{
    (void)state;
    for (int i = 0; i < COLUMN_COUNT; i++)
        assert_int_equal(column_by_name(column_table()[i].name), i);
    assert_int_equal(column_by_name("import_power"), -1);
}

static void every_leaf_of_the_specification_is_there(void **state)
{
    (void)state;
    size_t numbers = 0, flags = 0, states = 0;
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        if (metric_table[m].topic != TOPIC_DATA)
            continue;
        switch (metric_table[m].kind) {
        case KIND_FLAG:
            flags++;
            break;
        case KIND_STATE:
            states++;
            break;
        case KIND_GAUGE:
        case KIND_POWER:
        case KIND_COUNTER:
        case KIND_BALANCE:
        case KIND_TEXT:
            numbers++;
        }
    }
    /* Counted by hand in SPEC's description of enerlink/meters/data. */
    assert_int_equal(numbers, 55);
    assert_int_equal(flags, 8);
    assert_int_equal(states, 2);
}

static void words_are_found_by_their_whole_length(void **state)
{
    (void)state;
    assert_int_equal(metric_word(METRIC_GRID_MODE, "import", 6), 1);
    assert_int_equal(metric_word(METRIC_GRID_MODE, "importx", 6), 1);
    assert_int_equal(metric_word(METRIC_GRID_MODE, "import", 5), -1);
    assert_int_equal(metric_word(METRIC_BATTERY_SOC, "import", 6), -1);
    assert_int_equal(metric_by_path("battery.soc"), METRIC_BATTERY_SOC);
    assert_int_equal(metric_by_path("battery"), METRIC_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_follow_path_and_statistic),
        cmocka_unit_test(column_names_are_unique_and_found),
        cmocka_unit_test(every_leaf_of_the_specification_is_there),
        cmocka_unit_test(words_are_found_by_their_whole_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
