#include "unit.h"

#include "core/json_scan.h"
#include "core/reading.h"
#include "core/unit.h"

#define HEAD "{\"meterId\":\"M1\",\"datetime\":\"2025-10-26T04:27:10Z\""
#define DATA(members) HEAD ",\"data\":{" members "}}"
#define BATTERY(members) DATA("\"battery\":{" members "}")
#define SENSORS(elements) DATA("\"sensors\":{\"ina219\":[" elements "]}")

static const int64_t head_ms = 1761452830000; /* date -u -d 2025-10-26T04:27:10Z +%s */

static struct reading r;
static struct reading_report report;

static bool parse_as(enum topic topic, const char *json)
{
    return reading_parse(json, strlen(json), topic, &r, &report);
}

static void accept_as(enum topic topic, const char *json)
{
    if (!parse_as(topic, json))
        fail_msg("%s: refused: %s", json, report.detail);
}

static void refused_as(enum topic topic, const char *json, enum reading_fault fault)
{
    if (parse_as(topic, json))
        fail_msg("%s: accepted", json);
    if (report.fault != fault)
        fail_msg("%s: %s (%s)", json, fault_name(report.fault), report.detail);
    for (const char *c = report.detail; *c; c++)
        assert_in_range(*c, ' ', '~');
}

/* A file of tests/unit/data, NUL at its end. */
static const char *load(const char *name)
{
    static char text[MESSAGE_SIZE_MOST];
    char path[512];

    snprintf(path, sizeof path, SOURCE_ROOT "/tests/unit/data/%s", name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot open %s", path);
    size_t len = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[len] = '\0';
    return text;
}

static void is(enum metric m, double expected)
{
    if (!(r.v[m] == expected))
        fail_msg("%s is %.17g, not %.17g", metric_table[m].path, r.v[m], expected);
}

static void is_absent(enum metric m)
{
    if (!isnan(r.v[m]))
        fail_msg("%s is %.17g, not absent", metric_table[m].path, r.v[m]);
}

static void left_out(enum metric m)
{
    is_absent(m);
    assert_true(report.absent[m]);
    assert_int_equal(report.absent_count, 1);
}

/* ---- Messages ----------------------------------------------------------------------------- */

static void the_data_message_of_the_specification_is_read_whole(void **state)
{
    size_t present = 0;

    (void)state;
    accept_as(TOPIC_DATA, load("data.json"));
    assert_string_equal(r.meter_id, "METER001");
    assert_int_equal(r.topic, TOPIC_DATA);
    assert_true(r.time_ms == head_ms);
    assert_int_equal(report.fault, FAULT_NONE);
    assert_int_equal(report.unknown_fields, 0);
    assert_int_equal(report.absent_count, 0);
    for (size_t m = 0; m < METRIC_COUNT; m++)
        present += isnan(r.v[m]) ? 0 : 1;
    assert_int_equal(present, 55 + 8 + 2);
    is(METRIC_BATTERY_VOLTAGE, 4.04875);
    is(METRIC_BATTERY_SOC, 86.63281);
    is(METRIC_BATTERY_CHARGE_RATE, -5.824);
    is(METRIC_BATTERY_IS_CHARGING, 0);
    is(METRIC_BATTERY_ALERT_THRESHOLD, 10);
    is(METRIC_BATTERY_VALID, 1);
    is(METRIC_EXPORT_POWER, 0);
    is(METRIC_IMPORT_DAILY_ENERGY, 16.69483);
    is(METRIC_IMPORT_TOTAL_ENERGY, 1204.66821);
    is(METRIC_LOAD_SMART_MTR_POWER, 474.6);
    is(METRIC_SOLAR_OUTPUT_GENERATING, 1);
    is(METRIC_NET_SOLAR_STATUS, 1);
    is(METRIC_NET_GRID_NET_TOTAL, -786.59108);
    is(METRIC_NET_GRID_STATUS, 1);
    is_absent(METRIC_WIFI_CONNECTED);
}

static void the_status_message_of_the_specification_is_read_whole(void **state)
{
    (void)state;
    accept_as(TOPIC_STATUS, load("status.json"));
    assert_true(r.time_ms == 1761452817000);
    assert_int_equal(report.unknown_fields, 0);
    assert_int_equal(report.absent_count, 0);
    is(METRIC_WIFI_CONNECTED, 1);
    is(METRIC_WIFI_RSSI, -39);
    is_absent(METRIC_WIFI_IP);
    is(METRIC_GRID_MODE, 1);
    is(METRIC_GRID_EXPORTING, 0);
    is(METRIC_MQTT_QOS, 2);
    is(METRIC_SYSTEM_FREE_HEAP, 214292);
    is(METRIC_SYSTEM_UPTIME, 11850673);
    is(METRIC_SENSORS_DEVICE_ROLE, 0);
    is(METRIC_SENSORS_INA219_0X40, 1);
    is(METRIC_SENSORS_INA219_0X45, 1);
    is(METRIC_SENSORS_MAX17048_0X36, 1);
    is(METRIC_SENSORS_MAX17048_COUNT, 1);
    is_absent(METRIC_BATTERY_SOC);
}

static void keys_may_stand_in_any_order(void **state)
{
    (void)state;
    accept_as(TOPIC_DATA,
              " {\"data\" : {\"net_grid\":{\"status\":\"idle\"},\r\n\t\"battery\":{\"soc\":50,"
              "\"voltage\":3500}},\"units\":{\"power\":\"W\",\"voltage\":\"mV\"},"
              "\"datetime\":\"2025-10-26T11:27:10+07:00\",\"meterId\":\"M-1.x_2\"} ");
    assert_string_equal(r.meter_id, "M-1.x_2");
    assert_true(r.time_ms == head_ms);
    is(METRIC_BATTERY_SOC, 50);
    is(METRIC_BATTERY_VOLTAGE, 3.5);
    is(METRIC_NET_GRID_STATUS, 2);
}

static void escapes_mean_what_they_stand_for(void **state)
{
    (void)state;
    accept_as(TOPIC_DATA,
              "{\"m\\u0065terId\":\"\\u004d1\",\"datetime\":\"2025-10-26T04:27:10\\u005A\","
              "\"\\u0064ata\":{\"net_grid\":{\"st\\u0061tus\":\"\\u0069dle\"}}}");
    assert_string_equal(r.meter_id, "M1");
    assert_true(r.time_ms == head_ms);
    is(METRIC_NET_GRID_STATUS, 2);
}

static void sensors_are_told_apart_by_their_address(void **state)
{
    (void)state;
    accept_as(TOPIC_STATUS, SENSORS("{\"connected\":true,\"name\":null,\"address\":\"0X45\"},"
                                    "{\"address\":\"\\u0030x40\",\"connected\":false},"
                                    "{\"address\":\"0x41\"}"));
    is(METRIC_SENSORS_INA219_0X45, 1);
    is(METRIC_SENSORS_INA219_0X40, 0);
    is_absent(METRIC_SENSORS_INA219_0X41);
    assert_int_equal(report.unknown_fields, 0);
    assert_int_equal(report.absent_count, 0);
}

static void sensors_nobody_knows_are_counted(void **state)
{
    (void)state;
    accept_as(TOPIC_STATUS,
              SENSORS("{\"address\":\"0x4\",\"connected\":7},{\"connected\":true},null,{},"
                      "{\"address\":\"0x40\",\"connected\":true,\"shunt\":[0.1]}"));
    assert_int_equal(report.unknown_fields, 4);
    is(METRIC_SENSORS_INA219_0X40, 1);
}

static void unknown_fields_are_checked_and_counted(void **state)
{
    (void)state;
    accept_as(TOPIC_DATA, HEAD ",\"fw\":{\"a\":[1,{\"b\":\"\\ud83d\\ude00\"}],\"c\":null},"
                               "\"units\":{\"colour\":7},"
                               "\"data\":{\"battery\":{\"soc\":1,\"temp\":30},\"x\":[]}}");
    assert_int_equal(report.unknown_fields, 4);
    is(METRIC_BATTERY_SOC, 1);
}

static const struct {
    const char *units;
    const char *member;
    enum metric metric;
    double value;
} conversions[] = {
    {"\"voltage\":\"V\"", "\"battery\":{\"voltage\":4.04875}", METRIC_BATTERY_VOLTAGE, 4.04875},
    {"\"voltage\":\"mV\"", "\"battery\":{\"voltage\":4048.75}", METRIC_BATTERY_VOLTAGE, 4.04875},
    {"\"voltage\":\"mV\"", "\"battery\":{\"voltage\":9}", METRIC_BATTERY_VOLTAGE, 0.009},
    {"\"voltage\":\"kV\"", "\"import\":{\"voltage\":0.25}", METRIC_IMPORT_VOLTAGE, 250},
    {"\"current\":\"A\"", "\"import\":{\"current\":2.25}", METRIC_IMPORT_CURRENT, 2250},
    {"\"current\":\"mA\"", "\"import\":{\"current\":2.25}", METRIC_IMPORT_CURRENT, 2.25},
    {"\"power\":\"W\"", "\"import\":{\"power\":0.5}", METRIC_IMPORT_POWER, 500},
    {"\"power\":\"kW\"", "\"net_grid\":{\"net_power\":-1.5}", METRIC_NET_GRID_NET_POWER, -1.5e6},
    {"\"energy\":\"mWh\"", "\"net_grid\":{\"net_daily\":9}", METRIC_NET_GRID_NET_DAILY, 0.009},
    {"\"energy\":\"kWh\"", "\"import\":{\"total_energy\":12.5}", METRIC_IMPORT_TOTAL_ENERGY, 12500},
    {"\"energy\":\"MWh\"", "\"import\":{\"daily_energy\":1.5}", METRIC_IMPORT_DAILY_ENERGY, 1.5e6},
    {"\"energy\":\"kWh\"", "\"import\":{\"power\":7}", METRIC_IMPORT_POWER, 7},
    {"\"battery_charge_rate\":\"%/h\"", "\"battery\":{\"charge_rate\":-5.824}",
     METRIC_BATTERY_CHARGE_RATE, -5.824},
};

static void units_are_honoured_wherever_they_stand(void **state)
{
    char json[512];

    (void)state;
    for (size_t i = 0; i < sizeof conversions / sizeof *conversions; i++) {
        snprintf(json, sizeof json, HEAD ",\"units\":{%s},\"data\":{%s}}", conversions[i].units,
                 conversions[i].member);
        accept_as(TOPIC_DATA, json);
        is(conversions[i].metric, conversions[i].value);
        snprintf(json, sizeof json, HEAD ",\"data\":{%s},\"units\":{%s}}", conversions[i].member,
                 conversions[i].units);
        accept_as(TOPIC_DATA, json);
        is(conversions[i].metric, conversions[i].value);
    }
}

static void every_scale_is_whole_and_one_way(void **state)
{
    (void)state;
    for (size_t k = 0; k < UNIT_KEY_COUNT; k++) {
        const struct unit_key_info *info = &unit_key_table[k];
        assert_string_equal(
            unit_scale_by_name((enum unit_key)k, info->scales[0].name, strlen(info->scales[0].name))
                ->name,
            info->scales[0].name);
        if (info->governs != UNIT_NONE)
            assert_string_equal(info->scales[0].name, unit_name(info->governs));
        for (const struct unit_scale *s = info->scales; s->name; s++) {
            assert_true(s->times == 1 || s->per == 1);
            assert_true(s->times == floor(s->times) && s->per == floor(s->per));
        }
    }
    assert_null(unit_scale_by_name(UNIT_KEY_POWER, "MW", 2));
    assert_null(unit_scale_by_name(UNIT_KEY_POWER, "mWh", 3));
}

static void one_bad_value_is_left_out_alone(void **state)
{
    (void)state;
    accept_as(TOPIC_DATA, BATTERY("\"soc\":null,\"voltage\":4"));
    left_out(METRIC_BATTERY_SOC);
    is(METRIC_BATTERY_VOLTAGE, 4);
    accept_as(TOPIC_DATA, BATTERY("\"soc\":110.5,\"voltage\":4"));
    left_out(METRIC_BATTERY_SOC);
    accept_as(TOPIC_DATA, BATTERY("\"soc\":-0.001,\"voltage\":4"));
    left_out(METRIC_BATTERY_SOC);
    accept_as(TOPIC_DATA, BATTERY("\"valid\":null"));
    left_out(METRIC_BATTERY_VALID);
    accept_as(TOPIC_DATA, DATA("\"net_grid\":{\"status\":\"Idle\"}"));
    left_out(METRIC_NET_GRID_STATUS);
    accept_as(TOPIC_DATA, DATA("\"net_grid\":{\"status\":null}"));
    left_out(METRIC_NET_GRID_STATUS);
    accept_as(TOPIC_DATA, HEAD ",\"units\":{\"voltage\":\"kV\"},\"data\":{\"battery\":"
                               "{\"voltage\":5}}}");
    left_out(METRIC_BATTERY_VOLTAGE);
    accept_as(TOPIC_DATA, HEAD ",\"units\":{\"power\":\"kW\"},\"data\":{\"export\":"
                               "{\"power\":1e308}}}");
    left_out(METRIC_EXPORT_POWER);
    accept_as(TOPIC_STATUS, SENSORS("{\"connected\":null,\"address\":\"0x43\"}"));
    left_out(METRIC_SENSORS_INA219_0X43);
    accept_as(TOPIC_STATUS, DATA("\"wifi\":{\"ip\":null,\"rssi\":-200}"));
    assert_int_equal(report.absent_count, 0);
    is(METRIC_WIFI_RSSI, -200);
}

static void a_group_that_is_null_leaves_out_its_metrics(void **state)
{
    (void)state;
    accept_as(TOPIC_STATUS, DATA("\"wifi\":null,\"mqtt\":{\"qos\":1}"));
    assert_int_equal(report.absent_count, 2);
    assert_true(report.absent[METRIC_WIFI_CONNECTED] && report.absent[METRIC_WIFI_RSSI]);
    accept_as(TOPIC_STATUS, DATA("\"sensors\":{\"max17048\":null,\"ina219\":[]}"));
    left_out(METRIC_SENSORS_MAX17048_0X36);
    accept_as(TOPIC_DATA, HEAD ",\"units\":null,\"data\":{}}");
    assert_int_equal(report.absent_count, 0);
}

static const struct {
    enum topic topic;
    const char *json;
    enum reading_fault fault;
} refusals[] = {
    {TOPIC_DATA, "", FAULT_NOT_JSON},
    {TOPIC_DATA, " ", FAULT_NOT_JSON},
    {TOPIC_DATA, "{", FAULT_NOT_JSON},
    {TOPIC_DATA, "\xef\xbb\xbf" DATA(""), FAULT_NOT_JSON},
    {TOPIC_DATA, DATA("") "x", FAULT_NOT_JSON},
    {TOPIC_DATA, DATA("") "{}", FAULT_NOT_JSON},
    {TOPIC_DATA, DATA("\"x\":[1,{]}"), FAULT_NOT_JSON},
    {TOPIC_DATA, DATA("\"x\":\"\\u0000\""), FAULT_NOT_JSON},
    {TOPIC_DATA, DATA("\"x\":\"\\ud800\""), FAULT_NOT_JSON},
    {TOPIC_DATA, BATTERY("\"soc\":01"), FAULT_NOT_JSON},
    {TOPIC_DATA, BATTERY("\"soc\":NaN"), FAULT_NOT_JSON},
    {TOPIC_DATA, BATTERY("\"soc\":true,\"x\":1."), FAULT_NOT_JSON},
    {TOPIC_DATA, BATTERY("\"x\":\"\xc0\xaf\""), FAULT_NOT_UTF8},
    {TOPIC_DATA, BATTERY("\"x\":\"\xed\xa0\x80\""), FAULT_NOT_UTF8},
    {TOPIC_DATA, DATA("") "\xff", FAULT_NOT_UTF8},
    {TOPIC_DATA, "\xff", FAULT_NOT_UTF8},
    {TOPIC_DATA, "[]", FAULT_WRONG_TYPE},
    {TOPIC_DATA, "42", FAULT_WRONG_TYPE},
    {TOPIC_DATA, "null", FAULT_WRONG_TYPE},
    {TOPIC_DATA, "{}", FAULT_MISSING_FIELD},
    {TOPIC_DATA, HEAD "}", FAULT_MISSING_FIELD},
    {TOPIC_DATA, HEAD ",\"data\":null}", FAULT_MISSING_FIELD},
    {TOPIC_DATA, "{\"meterId\":\"M1\",\"data\":{}}", FAULT_MISSING_FIELD},
    {TOPIC_DATA, "{\"meterId\":null,\"datetime\":\"2025-10-26T04:27:10Z\",\"data\":{}}",
     FAULT_MISSING_FIELD},
    {TOPIC_DATA, "{\"meterId\":7,\"datetime\":\"2025-10-26T04:27:10Z\",\"data\":{}}",
     FAULT_WRONG_TYPE},
    {TOPIC_DATA, "{\"meterId\":\"a b\",\"datetime\":\"2025-10-26T04:27:10Z\",\"data\":{}}",
     FAULT_BAD_METER_ID},
    {TOPIC_DATA, "{\"meterId\":\"M1\",\"datetime\":1761452830,\"data\":{}}", FAULT_WRONG_TYPE},
    {TOPIC_DATA, "{\"meterId\":\"M1\",\"datetime\":\"2025-10-26T04:27:10\",\"data\":{}}",
     FAULT_BAD_DATETIME},
    {TOPIC_DATA, HEAD ",\"units\":[],\"data\":{}}", FAULT_WRONG_TYPE},
    {TOPIC_DATA, HEAD ",\"units\":{\"power\":1},\"data\":{}}", FAULT_WRONG_TYPE},
    {TOPIC_DATA, HEAD ",\"units\":{\"power\":null},\"data\":{}}", FAULT_WRONG_TYPE},
    {TOPIC_DATA, HEAD ",\"units\":{\"power\":\"MW\"},\"data\":{}}", FAULT_UNKNOWN_UNIT},
    {TOPIC_DATA, HEAD ",\"units\":{\"datetime\":\"unix\"},\"data\":{}}", FAULT_UNKNOWN_UNIT},
    {TOPIC_DATA, HEAD ",\"data\":[]}", FAULT_WRONG_TYPE},
    {TOPIC_DATA, DATA("\"battery\":1"), FAULT_WRONG_TYPE},
    {TOPIC_DATA, DATA("\"battery\":[]"), FAULT_WRONG_TYPE},
    {TOPIC_DATA, BATTERY("\"soc\":\"86\""), FAULT_WRONG_TYPE},
    {TOPIC_DATA, BATTERY("\"soc\":true"), FAULT_WRONG_TYPE},
    {TOPIC_DATA, BATTERY("\"soc\":{\"value\":3}"), FAULT_WRONG_TYPE},
    {TOPIC_DATA, BATTERY("\"valid\":1"), FAULT_WRONG_TYPE},
    {TOPIC_DATA, BATTERY("\"valid\":\"true\""), FAULT_WRONG_TYPE},
    {TOPIC_DATA, DATA("\"net_grid\":{\"status\":0}"), FAULT_WRONG_TYPE},
    {TOPIC_STATUS, DATA("\"wifi\":{\"ip\":1}"), FAULT_WRONG_TYPE},
    {TOPIC_STATUS, DATA("\"sensors\":{\"ina219\":{}}"), FAULT_WRONG_TYPE},
    {TOPIC_STATUS, SENSORS("1"), FAULT_WRONG_TYPE},
    {TOPIC_STATUS, SENSORS("{\"address\":64}"), FAULT_WRONG_TYPE},
    {TOPIC_STATUS, SENSORS("{\"address\":\"0x40\",\"connected\":1}"), FAULT_WRONG_TYPE},
    {TOPIC_STATUS, SENSORS("{\"address\":\"0x40\",\"name\":1}"), FAULT_WRONG_TYPE},
    {TOPIC_DATA, BATTERY("\"soc\":1e400"), FAULT_NUMBER_TOO_LARGE},
    {TOPIC_DATA, BATTERY("\"x\":-1e400"), FAULT_NUMBER_TOO_LARGE},
    {TOPIC_DATA, BATTERY("\"soc\":1,\"soc\":1"), FAULT_DUPLICATE_KEY},
    {TOPIC_DATA, BATTERY("\"soc\":1,\"voltage\":2,\"so\\u0063\":1"), FAULT_DUPLICATE_KEY},
    {TOPIC_DATA, BATTERY("\"x\":1,\"y\":2,\"\\u0078\":1"), FAULT_DUPLICATE_KEY},
    {TOPIC_DATA, DATA("\"x\":[{\"a\":{\"b\":1,\"c\":2,\"b\":3}}]"), FAULT_DUPLICATE_KEY},
    {TOPIC_DATA, DATA("\"battery\":{},\"battery\":{}"), FAULT_DUPLICATE_KEY},
    {TOPIC_DATA, HEAD ",\"data\":{},\"meterId\":\"M1\"}", FAULT_DUPLICATE_KEY},
    {TOPIC_STATUS, SENSORS("{\"address\":\"0x40\"},{\"address\":\"0x40\"}"), FAULT_DUPLICATE_KEY},
    {TOPIC_STATUS, SENSORS("{\"address\":\"0x40\",\"address\":\"0x41\"}"), FAULT_DUPLICATE_KEY},
    {TOPIC_STATUS, SENSORS("{\"address\":\"0x99\",\"address\":\"0x41\"}"), FAULT_DUPLICATE_KEY},
};

static void bad_input_is_refused_with_its_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        refused_as(refusals[i].topic, refusals[i].json, refusals[i].fault);
}

static void the_same_key_in_two_objects_is_no_duplicate(void **state)
{
    (void)state;
    accept_as(TOPIC_DATA, DATA("\"a\":{\"k\":1,\"l\":{\"k\":2}},\"b\":[{\"k\":1},{\"k\":1}],"
                               "\"battery\":{\"a\":1,\"k\":1}"));
    assert_int_equal(report.unknown_fields, 4);
}

static void a_refusal_says_where(void **state)
{
    (void)state;
    refused_as(TOPIC_DATA, BATTERY("\"soc\":\"x\""), FAULT_WRONG_TYPE);
    /* HEAD takes 49 bytes and ,"data":{"battery":{"soc": 26. */
    assert_string_equal(report.detail, "data.battery.soc: expected a number at byte 75");
    refused_as(TOPIC_STATUS, SENSORS("{\"address\":\"0x40\",\"connected\":1}"), FAULT_WRONG_TYPE);
    assert_non_null(
        strstr(report.detail, "data.sensors.ina219[0x40].connected: expected true or false"));
    refused_as(TOPIC_DATA, "{\"a\" 1}", FAULT_NOT_JSON);
    assert_string_equal(report.detail, "message: expected ':' at byte 5");
    refused_as(TOPIC_DATA, "{\"meterId\":\"M1\"}", FAULT_MISSING_FIELD);
    assert_string_equal(report.detail, "datetime: missing");
}

static void a_refused_message_is_still_attributed(void **state)
{
    (void)state;
    refused_as(TOPIC_DATA,
               "{\"data\":{\"battery\":{\"soc\":\"x\"}},\"datetime\":\"2025-10-26T04:27:10Z\","
               "\"meterId\":\"M1\"}",
               FAULT_WRONG_TYPE);
    assert_string_equal(r.meter_id, "M1");
    assert_true(r.time_ms == head_ms);
    refused_as(TOPIC_DATA, "{\"datetime\":\"yesterday\",\"meterId\":\"M1\",\"data\":{}}",
               FAULT_BAD_DATETIME);
    assert_string_equal(r.meter_id, "M1");
    assert_true(r.time_ms == 0);
    refused_as(TOPIC_DATA, HEAD ",\"data\":{\xff", FAULT_NOT_UTF8);
    assert_string_equal(r.meter_id, "M1");
    refused_as(TOPIC_DATA, "x" HEAD, FAULT_NOT_JSON);
    assert_string_equal(r.meter_id, "");
}

static void too_large_and_too_deep_are_refused(void **state)
{
    static char json[MESSAGE_SIZE_MOST + 1];

    (void)state;
    memset(json, ' ', sizeof json);
    memcpy(json, DATA(""), strlen(DATA("")));
    assert_true(reading_parse(json, MESSAGE_SIZE_MOST, TOPIC_DATA, &r, &report));
    assert_false(reading_parse(json, MESSAGE_SIZE_MOST + 1, TOPIC_DATA, &r, &report));
    assert_int_equal(report.fault, FAULT_TOO_LARGE);
    assert_string_equal(r.meter_id, "");
    /* The message and "data" are two levels, so fourteen more may follow. */
    accept_as(TOPIC_DATA, DATA("\"x\":[[[[[[[[[[[[[[]]]]]]]]]]]]]]"));
    refused_as(TOPIC_DATA, DATA("\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]"), FAULT_TOO_DEEP);
    /* A sensor is the fifth level; the address is looked for first, which must not count. */
    accept_as(TOPIC_STATUS, SENSORS("{\"address\":\"0x40\"},{\"x\":[[[[[[[[[[[]]]]]]]]]]],"
                                    "\"address\":\"0x41\"}"));
    refused_as(TOPIC_STATUS,
               SENSORS("{\"address\":\"0x40\"},{\"address\":\"0x41\",\"y\":0},"
                       "{\"address\":\"0x42\",\"x\":[[[[[[[[[[[[]]]]]]]]]]]]}"),
               FAULT_TOO_DEEP);
    refused_as(TOPIC_STATUS,
               DATA("\"sensors\":{\"ina219\":[{\"address\":\"0x40\"},{}],"
                    "\"x\":[[[[[[[[[[[[[[]]]]]]]]]]]]]]}"),
               FAULT_TOO_DEEP);
    memset(json, '[', sizeof json);
    assert_false(reading_parse(json, MESSAGE_SIZE_MOST, TOPIC_DATA, &r, &report));
    assert_int_equal(report.fault, FAULT_TOO_DEEP);
}

/* As many keys as the largest message can hold: the last one tells whether all were compared. */
static void a_message_full_of_keys_is_compared_whole(void **state)
{
    static char json[MESSAGE_SIZE_MOST + 1];
    size_t len = (size_t)snprintf(json, sizeof json, HEAD ",\"data\":{");

    (void)state;
    for (unsigned i = 0; len < sizeof json - 32; i++)
        len += (size_t)snprintf(json + len, sizeof json - len, "\"%x\":0,", i);
    snprintf(json + len, sizeof json - len, "\"ffff\":0}}");
    accept_as(TOPIC_DATA, json);
    snprintf(json + len, sizeof json - len, "\"\\u0037\":0}}");
    refused_as(TOPIC_DATA, json, FAULT_DUPLICATE_KEY);
    memset(json, 0, sizeof json);
    len = (size_t)snprintf(json, sizeof json, HEAD ",\"data\":{\"\":0");
    while (len < sizeof json - 32)
        len += (size_t)snprintf(json + len, sizeof json - len, ",\"\":0");
    snprintf(json + len, sizeof json - len, "}}");
    refused_as(TOPIC_DATA, json, FAULT_DUPLICATE_KEY);
}

/* ---- The scanner -------------------------------------------------------------------------- */

static bool scan(const char *text, struct json_scan *s)
{
    json_begin(s, text, strlen(text));
    return json_skip(s, json_value(s)) && json_end(s);
}

static const char *const valid_json[] = {
    "0",
    "-0",
    "10",
    "1.5e-3",
    "1E+02",
    "1e0",
    "\"\"",
    "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"\\u00e9\\uD83D\\uDE00\"",
    "\"\xf0\x9f\x98\x80\x7f\"",
    "[]",
    "[ ]",
    "{ }",
    "[1,[2,{}]]",
    "{\"a\":{\"b\":[true,false,null]}}",
    "\t\r\n 1 \t\r\n",
};

static const char *const invalid_json[] = {
    "",
    "-",
    "+1",
    "01",
    "-01",
    "1.",
    ".5",
    "1.e5",
    "1e",
    "1e+",
    "0x10",
    "1_000",
    "Infinity",
    "nul",
    "True",
    "nullx",
    "'a'",
    "\"",
    "\"a",
    "\"\\",
    "\"\\x\"",
    "\"\\u12g4\"",
    "\"\\u123\"",
    "\"\\ud800\"",
    "\"\\ud800x\"",
    "\"\\ud800\\n\"",
    "\"\\ud800\\u0041\"",
    "\"\\udc00\"",
    "\"\\u0000\"",
    "\"\t\"",
    "\"\n\"",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1}",
    "{",
    "}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\":1 \"b\":2}",
    "{a:1}",
    "{1:1}",
    "{\"a\":1]",
    "1 2",
    "[]]",
    "{}}",
    "// c\n1",
    "/**/1",
    "\xc2\xa0[]",
    "\"\xc0\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\xe2\x82\"",
    "\x80",
};

static void the_grammar_is_that_of_rfc_8259(void **state)
{
    struct json_scan s;

    (void)state;
    for (size_t i = 0; i < sizeof valid_json / sizeof *valid_json; i++)
        if (!scan(valid_json[i], &s))
            fail_msg("%s: %s", valid_json[i], s.what);
    for (size_t i = 0; i < sizeof invalid_json / sizeof *invalid_json; i++)
        if (scan(invalid_json[i], &s))
            fail_msg("%s: accepted", invalid_json[i]);
    json_begin(&s, "1\0", 2);
    assert_int_equal(json_value(&s), JSON_NUMBER);
    assert_false(json_end(&s));
}

/* The compiler converts the same digits, correctly rounded, on its own. */
#define NUMBER(text)                                                                               \
    {                                                                                              \
#text, text                                                                                \
    }
static const struct {
    const char *text;
    double value;
} numbers[] = {
    NUMBER(0),
    NUMBER(0.1),
    NUMBER(-5.824),
    NUMBER(86.63281),
    NUMBER(1e22),
    NUMBER(1e23),
    NUMBER(1e-22),
    NUMBER(1e-23),
    NUMBER(123456789012345678.0),
    NUMBER(9007199254740991.0),
    NUMBER(9007199254740993.0),
    NUMBER(9007199254740992.5),
    NUMBER(1234567890123456789.0),
    NUMBER(12345678901234567890.0),
    NUMBER(18446744073709551617.0),
    NUMBER(111.23793000000001),
    NUMBER(0.00000000000000000000000000012345),
    NUMBER(5e-324),
    NUMBER(2.2250738585072011e-308),
    NUMBER(1.7976931348623157e308),
    NUMBER(-1.5E+3),
    {"1e-400", 0},
    NUMBER(0.000000000000000000000000000000000000000000000000000001e54),
    NUMBER(100000000000000000000000000000000000000000000000000000000000.0e-59),
    NUMBER(2.00000000000000011102230246251565404236316680908203125),
    NUMBER(1.00000000000000033306690738754696212708950042724609376),
    {"-0", 0},
    {"-0.0e5", 0},
    {"0e999999999999", 0},
    {"-1e-999999999999", 0},
};

static void numbers_are_correctly_rounded(void **state)
{
    struct json_scan s;

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        json_begin(&s, numbers[i].text, strlen(numbers[i].text));
        assert_int_equal(json_value(&s), JSON_NUMBER);
        assert_true(json_end(&s));
        if (s.number != numbers[i].value || (s.number == 0 && signbit(s.number)))
            fail_msg("%s: %.17g", numbers[i].text, s.number);
    }
}

static void the_longest_number_is_converted_whole(void **state)
{
    static char text[JSON_TEXT_MOST];
    struct json_scan s;

    (void)state;
    memset(text, '0', sizeof text);
    text[0] = '1';
    memcpy(text + sizeof text - 7, "e-16376", 7);
    json_begin(&s, text, sizeof text);
    assert_int_equal(json_value(&s), JSON_NUMBER);
    assert_true(json_end(&s) && s.number == 1); /* 16377 digits */
    memcpy(text + sizeof text - 7, "e-09999", 7);
    json_begin(&s, text, sizeof text);
    assert_int_equal(json_value(&s), JSON_NUMBER);
    assert_false(json_end(&s));
    assert_int_equal(s.fault, JSON_NUMBER_TOO_LARGE);
}

/* ---- Rules of their own ------------------------------------------------------------------- */

static void meter_ids_are_checked(void **state)
{
    static const char *const good[] = {"M", "0", "METER001", "a.b_c-d", "All", "all1", "al"};
    static const char *const bad[] = {"",    "all", ".a", "-a",       "_a", "a b",
                                      "a/b", "a#",  "a+", "\xc3\xa9", "a\n"};
    char id[METER_ID_SIZE + 1];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(meter_id_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(meter_id_valid(bad[i], strlen(bad[i])));
    memset(id, 'x', sizeof id);
    assert_true(meter_id_valid(id, 64));
    assert_false(meter_id_valid(id, 65));
}

static void times_are_checked_against_the_limits(void **state)
{
    const struct time_limits limits = {.future_ms = 300000, .past_ms = INT64_C(366) * 86400000};
    const int64_t now = head_ms;
    const struct {
        int64_t ms;
        enum reading_fault fault;
    } times[] = {
        {now, FAULT_NONE},
        {now + 300000, FAULT_NONE},
        {now + 300001, FAULT_IN_FUTURE},
        {now - INT64_C(366) * 86400000, FAULT_NONE},
        {now - INT64_C(366) * 86400000 - 1, FAULT_TOO_OLD},
        {INT64_C(1577836800000), FAULT_TOO_OLD},
        {INT64_C(1577836799999), FAULT_BEFORE_2020},
        {INT64_MAX, FAULT_IN_FUTURE},
        {INT64_MIN, FAULT_BEFORE_2020},
    };

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        r.time_ms = times[i].ms;
        assert_int_equal(reading_check_time(&r, now, &limits), times[i].fault);
    }
}

static void faults_have_their_names(void **state)
{
    (void)state;
    assert_string_equal(fault_name(FAULT_NONE), "none");
    assert_string_equal(fault_name(FAULT_DUPLICATE_KEY), "duplicate_key");
    assert_string_equal(fault_name(FAULT_PARTIAL), "partial");
}

/* ---- Compact form ------------------------------------------------------------------------- */

static void same_values(const struct reading *a, const struct reading *b)
{
    for (size_t m = 0; m < METRIC_COUNT; m++)
        if (!(a->v[m] == b->v[m]) && !(isnan(a->v[m]) && isnan(b->v[m])))
            fail_msg("%s: %.17g, %.17g", metric_table[m].path, a->v[m], b->v[m]);
}

static void the_compact_form_is_fixed(void **state)
{
    char json[READING_JSON_MOST];

    (void)state;
    accept_as(TOPIC_DATA, DATA("\"net_grid\":{\"status\":\"idle\",\"net_power\":-1.50},"
                               "\"battery\":{\"valid\":false,\"soc\":null,\"voltage\":4.04875}"));
    size_t len = reading_write_json(&r, json);
    static const char data[] =
        "{\"type\":\"data\",\"datetime\":\"2025-10-26T04:27:10Z\",\"data\":{\"battery\":"
        "{\"voltage\":4.04875,\"valid\":false},\"net_grid\":{\"net_power\":-1.5,"
        "\"status\":\"idle\"}}}";
    assert_int_equal(len, sizeof data - 1);
    assert_memory_equal(json, data, len);
    accept_as(TOPIC_STATUS, SENSORS("{\"connected\":true,\"address\":\"0x42\"},"
                                    "{\"connected\":false,\"address\":\"0x41\"}"));
    len = reading_write_json(&r, json);
    static const char status[] =
        "{\"type\":\"status\",\"datetime\":\"2025-10-26T04:27:10Z\",\"data\":{\"sensors\":"
        "{\"ina219\":[{\"address\":\"0x41\",\"connected\":false},"
        "{\"address\":\"0x42\",\"connected\":true}]}}}";
    assert_int_equal(len, sizeof status - 1);
    assert_memory_equal(json, status, len);
}

static void the_compact_form_reads_back(void **state)
{
    static const char *const files[TOPIC_COUNT] = {"data.json", "status.json"};
    char json[READING_JSON_MOST];
    struct reading back = {.meter_id = "kept"};
    struct err e;

    (void)state;
    for (enum topic t = 0; t < TOPIC_COUNT; t++) {
        accept_as(t, load(files[t]));
        size_t len = reading_write_json(&r, json);
        if (!reading_read_json(json, len, &back, &e))
            fail_msg("%s", e.text);
        assert_int_equal(back.topic, t);
        assert_true(back.time_ms == r.time_ms);
        assert_string_equal(back.meter_id, "kept");
        same_values(&back, &r);
        assert_false(reading_read_json(json, len - 1, &back, &e));
        assert_int_equal(e.kind, ERR_INPUT);
    }
    assert_false(reading_read_json("{\"type\":\"data\"}", 15, &back, &e));
}

static void the_compact_form_of_any_reading_has_room(void **state)
{
    char json[READING_JSON_MOST];

    (void)state;
    for (enum topic t = 0; t < TOPIC_COUNT; t++) {
        r.topic = t;
        r.time_ms = head_ms + 123;
        for (size_t m = 0; m < METRIC_COUNT; m++) {
            r.v[m] = NAN;
            if (metric_table[m].topic != t || metric_table[m].kind == KIND_TEXT)
                continue;
            r.v[m] = metric_table[m].kind == KIND_FLAG || metric_table[m].kind == KIND_STATE
                         ? 0
                         : -1.2345678901234567e-305;
        }
        size_t len = reading_write_json(&r, json);
        assert_true(len > 500 && len < READING_JSON_MOST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_data_message_of_the_specification_is_read_whole),
        cmocka_unit_test(the_status_message_of_the_specification_is_read_whole),
        cmocka_unit_test(keys_may_stand_in_any_order),
        cmocka_unit_test(escapes_mean_what_they_stand_for),
        cmocka_unit_test(sensors_are_told_apart_by_their_address),
        cmocka_unit_test(sensors_nobody_knows_are_counted),
        cmocka_unit_test(unknown_fields_are_checked_and_counted),
        cmocka_unit_test(units_are_honoured_wherever_they_stand),
        cmocka_unit_test(every_scale_is_whole_and_one_way),
        cmocka_unit_test(one_bad_value_is_left_out_alone),
        cmocka_unit_test(a_group_that_is_null_leaves_out_its_metrics),
        cmocka_unit_test(bad_input_is_refused_with_its_reason),
        cmocka_unit_test(the_same_key_in_two_objects_is_no_duplicate),
        cmocka_unit_test(a_refusal_says_where),
        cmocka_unit_test(a_refused_message_is_still_attributed),
        cmocka_unit_test(too_large_and_too_deep_are_refused),
        cmocka_unit_test(a_message_full_of_keys_is_compared_whole),
        cmocka_unit_test(the_grammar_is_that_of_rfc_8259),
        cmocka_unit_test(numbers_are_correctly_rounded),
        cmocka_unit_test(the_longest_number_is_converted_whole),
        cmocka_unit_test(meter_ids_are_checked),
        cmocka_unit_test(times_are_checked_against_the_limits),
        cmocka_unit_test(faults_have_their_names),
        cmocka_unit_test(the_compact_form_is_fixed),
        cmocka_unit_test(the_compact_form_reads_back),
        cmocka_unit_test(the_compact_form_of_any_reading_has_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
