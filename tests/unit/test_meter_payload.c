#include "unit.h"

#include <jansson.h>

#include "core/metric.h"
#include "core/reading.h"
#include "meter/core/meter.h"

#define HOUSE_W INT64_C(1000000)

static json_t *parse(const char *text, size_t len)
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

    if (!root)
        fail_msg("%s at byte %d of %.*s", error.text, error.position, (int)len, text);
    return root;
}

/* The sensor with this address in an array of sensors. */
static json_t *by_address(json_t *array, const char *address, size_t len)
{
    size_t i;
    json_t *sensor;

    json_array_foreach(array, i, sensor)
    {
        const char *s = json_string_value(json_object_get(sensor, "address"));
        if (s && strlen(s) == len && memcmp(s, address, len) == 0)
            return sensor;
    }
    return NULL;
}

/* Follow a path of metric.def: "battery.soc", "sensors.ina219[0x40].connected". */
static json_t *leaf(json_t *data, const char *path)
{
    char key[64];

    while (data && *path) {
        size_t len = strcspn(path, ".[");
        snprintf(key, sizeof key, "%.*s", (int)len, path);
        data = json_object_get(data, key);
        path += len;
        if (*path == '[') {
            len = strcspn(path, "]");
            data = by_address(data, path + 1, len - 1);
            path += len + 1;
        }
        path += *path == '.';
    }
    return data;
}

static bool kind_fits(const struct metric_info *m, const json_t *value)
{
    switch (m->kind) {
    case KIND_GAUGE:
    case KIND_POWER:
    case KIND_COUNTER:
    case KIND_BALANCE:
        return json_is_number(value) && json_number_value(value) >= m->lo &&
               json_number_value(value) <= m->hi;
    case KIND_FLAG:
        return json_is_boolean(value);
    case KIND_STATE:
        return json_is_string(value) &&
               metric_word((enum metric)(m - metric_table), json_string_value(value),
                           json_string_length(value)) >= 0;
    case KIND_TEXT:
        return json_is_string(value);
    }
    return false;
}

static void assert_complete(json_t *root, enum topic topic)
{
    for (enum metric i = 0; i < METRIC_COUNT; i++) {
        const struct metric_info *m = &metric_table[i];
        if (m->topic != topic)
            continue;
        json_t *value = leaf(json_object_get(root, "data"), m->path);
        if (!value)
            fail_msg("%s is not in the message", m->path);
        if (!kind_fits(m, value))
            fail_msg("%s has a value of the wrong kind or range", m->path);
    }
}

/* The keys of an object, in their order, as one line. */
static const char *keys_of(json_t *object, char out[256])
{
    const char *key;
    json_t *value;

    out[0] = '\0';
    json_object_foreach(object, key, value)
    {
        if (*out)
            strcat(out, " ");
        strcat(out, key);
    }
    return out;
}

static struct channel_sample flow(int64_t volts, int64_t power_uw)
{
    return (struct channel_sample){
        .voltage_uv = volts * 1000000,
        .current_ua = power_uw / volts,
        .power_uw = power_uw,
        .valid = true,
    };
}

/* 2025-10-26T04:27:10Z plus s seconds; a house importing 474.6 W of load. */
static struct meter_sample house_sample(int64_t s)
{
    struct meter_sample sample = {
        .mono_ms = s * 1000,
        .wall_ms = INT64_C(1761452830000) + s * 1000,
        /* Codes of a MAX17048: VCELL 51824, SOC 22178, CRATE -28. */
        .battery = {.voltage_uv = 4048750,
                    .soc_upct = 86632813,
                    .charge_rate_upct_h = -5824000,
                    .connected = true,
                    .valid = true},
    };

    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        sample.channel[i] = flow(230, 0);
    sample.channel[CHANNEL_LOAD_SMART] = flow(230, 474600000);
    sample.channel[CHANNEL_IMPORT] = flow(230, 474600000);
    return sample;
}

static struct device_state device(void)
{
    return (struct device_state){
        .wifi_connected = true,
        .rssi_dbm = -39,
        .ip = "192.168.200.103",
        .grid_mode = GRID_IMPORT,
        .mqtt_connected = true,
        .mqtt_qos = 2,
        .free_heap = 214292,
        .uptime_ms = 11850673,
    };
}

static struct meter house(void)
{
    struct meter m;
    struct meter_config config = meter_config_house("METER001");
    struct device_state d = device();

    config.battery_capacity_uah = 2000000;
    meter_init(&m, &config);
    meter_observe(&m, &d);
    return m;
}

static void measure(struct meter *m, struct meter_sample s)
{
    meter_measure(m, &s);
}

static json_t *data_of(const struct meter *m)
{
    char text[PAYLOAD_MOST];

    return parse(text, meter_write_data(m, text, sizeof text));
}

static json_t *status_of(const struct meter *m)
{
    char text[PAYLOAD_MOST];

    return parse(text, meter_write_status(m, text, sizeof text));
}

static double number(json_t *root, const char *path)
{
    return json_number_value(leaf(json_object_get(root, "data"), path));
}

static const char *word(json_t *root, const char *path)
{
    return json_string_value(leaf(json_object_get(root, "data"), path));
}

static bool flag(json_t *root, const char *path)
{
    return json_is_true(leaf(json_object_get(root, "data"), path));
}

static void both_messages_carry_every_metric(void **state)
{
    struct meter m = house();

    (void)state;
    measure(&m, house_sample(0));
    json_t *data = data_of(&m), *status = status_of(&m);
    assert_complete(data, TOPIC_DATA);
    assert_complete(status, TOPIC_STATUS);
    json_decref(data);
    json_decref(status);
}

static void assert_read_completely(const char *text, size_t len, enum topic topic)
{
    struct reading r;
    struct reading_report report;

    if (!reading_parse(text, len, topic, &r, &report))
        fail_msg("%s", report.detail);
    assert_string_equal(r.meter_id, "METER001");
    assert_int_equal(r.time_ms, INT64_C(1761452830000));
    assert_int_equal(report.absent_count, 0);
    for (enum metric i = 0; i < METRIC_COUNT; i++)
        if (metric_table[i].topic == topic && metric_table[i].kind != KIND_TEXT && isnan(r.v[i]))
            fail_msg("%s was not read", metric_table[i].path);
}

static void the_backend_reads_both_messages_completely(void **state)
{
    struct meter m = house();
    char text[PAYLOAD_MOST];

    (void)state;
    measure(&m, house_sample(0));
    assert_read_completely(text, meter_write_data(&m, text, sizeof text), TOPIC_DATA);
    assert_read_completely(text, meter_write_status(&m, text, sizeof text), TOPIC_STATUS);
}

static void keys_stand_in_the_order_of_the_protocol(void **state)
{
    static const struct {
        const char *path, *keys;
    } objects[] = {
        {"", "battery export import load_smart_mtr load_home solar_input solar_output net_solar "
             "net_grid"},
        {"battery", "voltage soc charge_rate is_charging estimated_capacity alert_threshold "
                    "alert_active connected valid"},
        {"export", "voltage current power daily_energy total_energy settlement_energy active"},
        {"load_home", "voltage current power daily_energy total_energy"},
        {"solar_input", "voltage current power daily_energy total_energy generating"},
        {"net_solar", "solar_power load_power net_power solar_daily load_daily net_daily "
                      "solar_total load_total net_total status"},
        {"net_grid", "export_power import_power net_power export_daily import_daily net_daily "
                     "export_total import_total net_total status"},
    };
    struct meter m = house();
    char keys[256];

    (void)state;
    measure(&m, house_sample(0));
    json_t *data = data_of(&m), *status = status_of(&m);
    assert_string_equal(keys_of(data, keys), "meterId datetime units data");
    assert_string_equal(keys_of(status, keys), "meterId datetime units data");
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        assert_string_equal(keys_of(leaf(json_object_get(data, "data"), objects[i].path), keys),
                            objects[i].keys);
    json_t *sensors = leaf(json_object_get(status, "data"), "sensors");
    assert_string_equal(keys_of(sensors, keys),
                        "total_count device_role has_solar ina219 max17048 ina219_count "
                        "max17048_count");
    assert_string_equal(keys_of(json_array_get(json_object_get(sensors, "ina219"), 0), keys),
                        "address name connected");
    json_decref(data);
    json_decref(status);
}

static void values_are_those_of_the_sample(void **state)
{
    struct meter m = house();

    (void)state;
    measure(&m, house_sample(0));
    json_t *data = data_of(&m);
    assert_string_equal(json_string_value(json_object_get(data, "meterId")), "METER001");
    assert_string_equal(json_string_value(json_object_get(data, "datetime")),
                        "2025-10-26T04:27:10Z");
    assert_true(number(data, "battery.voltage") == 4.04875);
    assert_true(number(data, "battery.soc") == 86.632813);
    assert_true(number(data, "battery.charge_rate") == -5.824);
    assert_true(number(data, "battery.estimated_capacity") == 1732.656);
    assert_true(number(data, "load_smart_mtr.power") == 474600);
    assert_true(number(data, "load_smart_mtr.current") == 2063.478);
    assert_true(number(data, "net_solar.net_power") == -474600);
    assert_string_equal(word(data, "net_solar.status"), "deficit");
    assert_string_equal(word(data, "net_grid.status"), "importing");
    assert_true(flag(data, "import.active"));
    json_decref(data);
}

static void energies_are_exact_and_net_values_are_differences(void **state)
{
    struct meter m = house();

    (void)state;
    for (int64_t s = 0; s <= 100; s++)
        measure(&m, house_sample(s));
    json_t *data = data_of(&m);
    /* 474.6 W for 100 s: 13.18333... Wh. */
    assert_true(number(data, "import.total_energy") == 13.183333);
    assert_true(number(data, "import.settlement_energy") == 13.183333);
    assert_true(number(data, "net_grid.net_total") == -13.183333);
    assert_true(number(data, "net_solar.load_daily") == 13.183333);
    json_decref(data);
}

static void numbers_are_plain_decimals(void **state)
{
    static const struct {
        int64_t value;
        unsigned decimals;
        const char *text;
    } numbers[] = {
        {0, 6, "0"},
        {1, 6, "0.000001"},
        {-1, 6, "-0.000001"},
        {4048750, 6, "4.04875"},
        {-16694830, 6, "-16.69483"},
        {1000000, 6, "1"},
        {100000000, 6, "100"},
        {10, 3, "0.01"},
        {474600, 3, "474.6"},
        {-90, 0, "-90"},
        {100, 0, "100"},
        {INT64_MAX, 6, "9223372036854.775807"},
        {INT64_MIN, 6, "-9223372036854.775808"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char text[PAYLOAD_NUMBER_MOST + 1] = "";
        size_t len = payload_write_number(numbers[i].value, numbers[i].decimals, text);
        assert_int_equal(len, strlen(numbers[i].text));
        assert_memory_equal(text, numbers[i].text, len);
    }
}

static void dates_are_right_across_years(void **state)
{
    /* date -u -d @N +%FT%TZ */
    static const struct {
        int64_t ms;
        const char *text;
    } dates[] = {
        {0, "1970-01-01T00:00:00Z"},
        {INT64_C(951782399000), "2000-02-28T23:59:59Z"},
        {INT64_C(951782400000), "2000-02-29T00:00:00Z"},
        {INT64_C(1709164800999), "2024-02-29T00:00:00Z"},
        {INT64_C(1767225599000), "2025-12-31T23:59:59Z"},
        {INT64_C(4102444800000), "2100-01-01T00:00:00Z"},
    };
    struct payload_data p = {.meter_id = "M"};
    char text[PAYLOAD_MOST];

    (void)state;
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        p.time_ms = dates[i].ms;
        json_t *root = parse(text, payload_write_data(&p, text, sizeof text));
        assert_string_equal(json_string_value(json_object_get(root, "datetime")), dates[i].text);
        json_decref(root);
    }
}

static void a_buffer_that_is_too_small_gives_nothing(void **state)
{
    struct payload_data p = {.meter_id = "M"};
    char text[PAYLOAD_MOST];
    size_t len = payload_write_data(&p, text, sizeof text);

    (void)state;
    assert_int_equal(payload_write_data(&p, text, len + 1), len);
    for (size_t size = 0; size <= len; size++)
        assert_int_equal(payload_write_data(&p, text, size), 0);
}

static void the_largest_message_fits(void **state)
{
    char id[METER_NAME_SIZE];
    struct payload_data p = {.meter_id = id};
    char text[PAYLOAD_MOST];

    (void)state;
    memset(id, 'M', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    p.battery = (struct payload_battery){INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN,
                                         false,     false,     false,     false};
    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        p.channel[i] =
            (struct payload_channel){INT64_MIN / 8, INT64_MIN / 8, INT64_MIN / 8, INT64_MIN / 8,
                                     INT64_MIN / 8, INT64_MIN / 8, false};
    assert_true(payload_write_data(&p, text, sizeof text) > 0);
}

static void active_has_hysteresis(void **state)
{
    /* A house channel: on at 10 W, off below 5 W. */
    static const struct {
        int64_t w;
        bool active;
    } steps[] = {{0, false}, {9, false}, {10, true}, {5, true}, {4, false}, {9, false}};
    struct meter m = house();

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct meter_sample s = house_sample((int64_t)i);
        s.channel[CHANNEL_EXPORT] = flow(230, steps[i].w * HOUSE_W);
        measure(&m, s);
        assert_int_equal(m.active[CHANNEL_EXPORT], steps[i].active);
    }
}

static void balance_words_have_hysteresis(void **state)
{
    /* 1000 W of load: the band is 2 %, 20 W, and 30 W once balanced. */
    static const struct {
        int64_t solar_w;
        const char *word;
    } steps[] = {{900, "deficit"},  {979, "deficit"},   {981, "balanced"},  {971, "balanced"},
                 {969, "deficit"},  {1000, "balanced"}, {1029, "balanced"}, {1040, "surplus"},
                 {1025, "surplus"}, {1019, "balanced"}};
    struct meter m = house();

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct meter_sample s = house_sample((int64_t)i);
        s.channel[CHANNEL_LOAD_SMART] = flow(230, 1000 * HOUSE_W);
        s.channel[CHANNEL_SOLAR_OUTPUT] = flow(230, steps[i].solar_w * HOUSE_W);
        measure(&m, s);
        json_t *data = data_of(&m);
        assert_string_equal(word(data, "net_solar.status"), steps[i].word);
        json_decref(data);
    }
}

static void battery_flags_follow_rate_and_charge(void **state)
{
    static const struct {
        int64_t rate, soc;
        bool charging, low;
    } steps[] = {
        {208000, 50000000, false, false}, {624000, 50000000, true, false},
        {0, 10000000, true, false},       {-208000, 9999999, false, true},
        {0, 10999999, false, true},       {0, 11000000, false, false},
    };
    struct meter m = house();

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct meter_sample s = house_sample((int64_t)i);
        s.battery.charge_rate_upct_h = steps[i].rate;
        s.battery.soc_upct = steps[i].soc;
        measure(&m, s);
        json_t *data = data_of(&m);
        assert_int_equal(flag(data, "battery.is_charging"), steps[i].charging);
        assert_int_equal(flag(data, "battery.alert_active"), steps[i].low);
        json_decref(data);
    }
}

static void flow_against_the_direction_is_not_counted(void **state)
{
    struct meter m = house();

    (void)state;
    for (int64_t i = 0; i < 10; i++) {
        struct meter_sample s = house_sample(i);
        s.channel[CHANNEL_EXPORT] = flow(230, -100 * HOUSE_W);
        measure(&m, s);
    }
    assert_int_equal(m.energy[CHANNEL_EXPORT].total_uwh, 0);
    assert_true(m.reverse_flow[CHANNEL_EXPORT]);
    assert_false(m.active[CHANNEL_EXPORT]);
}

static void status_is_due_at_once_when_connectivity_or_mode_changes(void **state)
{
    struct meter m = house();
    struct device_state d = device();
    struct meter_sample s = house_sample(0);

    (void)state;
    measure(&m, s);
    assert_true(meter_take_status_change(&m));
    assert_false(meter_take_status_change(&m));
    d.rssi_dbm = -60;
    meter_observe(&m, &d);
    assert_false(meter_take_status_change(&m));
    d.grid_mode = GRID_OFF;
    meter_observe(&m, &d);
    assert_true(meter_take_status_change(&m));
    d.mqtt_connected = false;
    meter_observe(&m, &d);
    assert_true(meter_take_status_change(&m));
    s.channel[CHANNEL_SOLAR_INPUT].valid = false;
    measure(&m, s);
    assert_true(meter_take_status_change(&m));
}

static void a_lost_sensor_is_a_warning_and_after_a_minute_an_error(void **state)
{
    struct meter m = house();

    (void)state;
    for (int64_t i = 0; i <= 61; i++) {
        struct meter_sample s = house_sample(i);
        s.channel[CHANNEL_IMPORT].valid = i == 0;
        measure(&m, s);
        json_t *status = status_of(&m);
        assert_string_equal(word(status, "system.status"), i == 0   ? "alive"
                                                           : i < 60 ? "warning"
                                                                    : "error");
        assert_int_equal((int)number(status, "sensors.ina219_count"), i == 0 ? 6 : 5);
        assert_int_equal((int)number(status, "sensors.total_count"), i == 0 ? 7 : 6);
        json_decref(status);
    }
}

static void grid_flags_need_the_mode_and_the_flow(void **state)
{
    struct meter m = house();
    struct device_state d = device();

    (void)state;
    measure(&m, house_sample(0));
    json_t *status = status_of(&m);
    assert_true(flag(status, "grid.importing"));
    assert_false(flag(status, "grid.exporting"));
    json_decref(status);
    d.grid_mode = GRID_OFF;
    meter_observe(&m, &d);
    status = status_of(&m);
    assert_false(flag(status, "grid.importing"));
    assert_string_equal(word(status, "grid.mode"), "off");
    json_decref(status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_messages_carry_every_metric),
        cmocka_unit_test(the_backend_reads_both_messages_completely),
        cmocka_unit_test(keys_stand_in_the_order_of_the_protocol),
        cmocka_unit_test(values_are_those_of_the_sample),
        cmocka_unit_test(energies_are_exact_and_net_values_are_differences),
        cmocka_unit_test(numbers_are_plain_decimals),
        cmocka_unit_test(dates_are_right_across_years),
        cmocka_unit_test(a_buffer_that_is_too_small_gives_nothing),
        cmocka_unit_test(the_largest_message_fits),
        cmocka_unit_test(active_has_hysteresis),
        cmocka_unit_test(balance_words_have_hysteresis),
        cmocka_unit_test(battery_flags_follow_rate_and_charge),
        cmocka_unit_test(flow_against_the_direction_is_not_counted),
        cmocka_unit_test(status_is_due_at_once_when_connectivity_or_mode_changes),
        cmocka_unit_test(a_lost_sensor_is_a_warning_and_after_a_minute_an_error),
        cmocka_unit_test(grid_flags_need_the_mode_and_the_flow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
