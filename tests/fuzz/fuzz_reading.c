/*
 * The reader against jansson and a second, plain reading of the rules: both must accept the same
 * messages, with the same values, and a text jansson takes for JSON must not be refused as none.
 *
 *     clang -g -O1 -std=gnu11 -D_GNU_SOURCE -Isrc -fsanitize=fuzzer,address,undefined \
 *         -fno-sanitize-recover=undefined tests/fuzz/fuzz_reading.c src/core/{json_scan,metric,\
 *         reading,snapshot,unit,when}.c src/base/{buf,err,log,mem,utf8}.c -ljansson -lm -lpthread
 *     ./a.out -max_len=3000 corpus tests/unit/data
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/reading.h"
#include "core/snapshot.h"
#include "core/when.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, #condition ": " __VA_ARGS__);                                          \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- The rules a second time -------------------------------------------------------------- */

struct expected {
    bool sound;       /* the message is to be accepted */
    bool two_sensors; /* with one address */
    char meter_id[METER_ID_SIZE];
    int64_t time_ms;
    double v[METRIC_COUNT];
};

static const struct {
    const char *key, *name;
    enum metric_unit unit;
    double times, per;
} units[] = {
    {"datetime", "ISO8601", UNIT_NONE, 1, 1},
    {"voltage", "V", UNIT_V, 1, 1},
    {"voltage", "mV", UNIT_V, 1, 1000},
    {"voltage", "kV", UNIT_V, 1000, 1},
    {"current", "mA", UNIT_MA, 1, 1},
    {"current", "A", UNIT_MA, 1000, 1},
    {"power", "mW", UNIT_MW, 1, 1},
    {"power", "W", UNIT_MW, 1000, 1},
    {"power", "kW", UNIT_MW, 1000000, 1},
    {"energy", "Wh", UNIT_WH, 1, 1},
    {"energy", "mWh", UNIT_WH, 1, 1000},
    {"energy", "kWh", UNIT_WH, 1000, 1},
    {"energy", "MWh", UNIT_WH, 1000000, 1},
    {"battery_soc", "%", UNIT_PCT, 1, 1},
    {"battery_charge_rate", "%/hr", UNIT_PCT_H, 1, 1},
    {"battery_charge_rate", "%/h", UNIT_PCT_H, 1, 1},
    {"uptime", "ms", UNIT_MS, 1, 1},
    {"free_heap", "bytes", UNIT_BYTES, 1, 1},
    {"rssi", "dBm", UNIT_DBM, 1, 1},
};
enum { UNITS = sizeof units / sizeof *units };

static unsigned greater(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

static unsigned depth_of(json_t *j)
{
    unsigned most = 0;
    const char *key;
    json_t *child;
    size_t i;

    if (!json_is_object(j) && !json_is_array(j))
        return 0;
    json_object_foreach(j, key, child) most = greater(most, depth_of(child));
    json_array_foreach(j, i, child) most = greater(most, depth_of(child));
    return most + 1;
}

static bool is_null(const json_t *j)
{
    return !j || json_is_null(j);
}

/* The element of list with this address; *sound when the elements are what they must be. */
static json_t *element(struct expected *x, json_t *list, const char *address)
{
    json_t *e, *found = NULL;
    size_t i;

    json_array_foreach(list, i, e)
    {
        json_t *a = json_object_get(e, "address");
        if (json_is_null(e))
            continue;
        if (!json_is_object(e) || !(is_null(a) || json_is_string(a)))
            x->sound = false;
        if (!json_is_string(a) || strcasecmp(json_string_value(a), address) != 0)
            continue;
        json_t *name = json_object_get(e, "name");
        if (!is_null(name) && !json_is_string(name))
            x->sound = false;
        if (found) {
            x->two_sensors = true;
            x->sound = false;
        }
        found = e;
    }
    return found;
}

/* The value at path, NULL when nothing is there. */
static json_t *at_path(struct expected *x, json_t *data, const char *path)
{
    char copy[128], *rest = copy, *part;
    json_t *j = data;

    snprintf(copy, sizeof copy, "%s", path);
    while ((part = strsep(&rest, "."))) {
        char *address = strchr(part, '[');
        if (is_null(j))
            return NULL;
        if (!json_is_object(j)) {
            x->sound = false;
            return NULL;
        }
        if (address)
            *address++ = '\0';
        j = json_object_get(j, part);
        if (!address || is_null(j))
            continue;
        address[strcspn(address, "]")] = '\0';
        if (!json_is_array(j)) {
            x->sound = false;
            return NULL;
        }
        j = element(x, j, address);
    }
    return j;
}

static double value_of(struct expected *x, enum metric m, const json_t *j)
{
    const struct metric_info *info = &metric_table[m];

    if (is_null(j))
        return NAN;
    if (info->kind == KIND_FLAG) {
        x->sound = x->sound && json_is_boolean(j);
        return json_is_true(j);
    }
    if (info->kind == KIND_STATE || info->kind == KIND_TEXT) {
        x->sound = x->sound && json_is_string(j);
        for (int i = 0; json_is_string(j) && i < METRIC_WORDS_MOST && info->words[i]; i++)
            if (strcmp(info->words[i], json_string_value(j)) == 0)
                return i;
        return NAN;
    }
    x->sound = x->sound && json_is_number(j);
    return json_number_value(j);
}

static void expect_units(struct expected *x, json_t *given)
{
    const char *key;
    json_t *name;

    if (!is_null(given) && !json_is_object(given))
        x->sound = false;
    json_object_foreach(given, key, name)
    {
        bool known_key = false, known_name = false;
        for (size_t u = 0; u < UNITS; u++) {
            if (strcmp(units[u].key, key) != 0)
                continue;
            known_key = true;
            if (!json_is_string(name) || strcmp(units[u].name, json_string_value(name)) != 0)
                continue;
            known_name = true;
            for (size_t m = 0; m < METRIC_COUNT; m++)
                if (units[u].unit != UNIT_NONE && metric_table[m].unit == units[u].unit) {
                    if (units[u].per > 1)
                        x->v[m] /= units[u].per;
                    else
                        x->v[m] *= units[u].times;
                }
        }
        if (known_key && !known_name)
            x->sound = false;
    }
}

static void expect(struct expected *x, json_t *root, enum topic topic)
{
    json_t *id = json_object_get(root, "meterId");
    json_t *time = json_object_get(root, "datetime");
    json_t *data = json_object_get(root, "data");

    *x = (struct expected){.sound = json_is_object(data)};
    if (json_is_string(id) && meter_id_valid(json_string_value(id), json_string_length(id)))
        strcpy(x->meter_id, json_string_value(id));
    else
        x->sound = false;
    if (!json_is_string(time) ||
        !when_parse(json_string_value(time), json_string_length(time), &x->time_ms))
        x->sound = false;
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        x->v[m] = NAN;
        if (metric_table[m].topic == topic)
            x->v[m] = value_of(x, (enum metric)m, at_path(x, data, metric_table[m].path));
    }
    expect_units(x, json_object_get(root, "units"));
    for (size_t m = 0; m < METRIC_COUNT; m++)
        if (!isfinite(x->v[m]) || x->v[m] < metric_table[m].lo || x->v[m] > metric_table[m].hi)
            x->v[m] = NAN;
}

/* ---- The comparison ----------------------------------------------------------------------- */

static void same_values(const double *a, const double *b)
{
    for (size_t m = 0; m < METRIC_COUNT; m++)
        CHECK(a[m] == b[m] || (isnan(a[m]) && isnan(b[m])), "%s %a %a", metric_table[m].path, a[m],
              b[m]);
}

static void check_refusal(const struct reading *r, const struct reading_report *report,
                          json_t *root, enum topic topic)
{
    struct expected x;

    CHECK(report->fault != FAULT_NONE, "no reason");
    CHECK(!*r->meter_id || meter_id_valid(r->meter_id, strlen(r->meter_id)), "bad id kept");
    for (const char *c = report->detail; *c; c++)
        CHECK(*c >= ' ' && *c <= '~', "detail is not printable");
    if (!root)
        return;
    expect(&x, root, topic);
    unsigned depth = depth_of(root);
    CHECK(report->fault != FAULT_NOT_JSON && report->fault != FAULT_NOT_UTF8, "%s", report->detail);
    CHECK((report->fault == FAULT_TOO_DEEP) == (depth > 16), "%s", report->detail);
    CHECK(report->fault != FAULT_DUPLICATE_KEY || x.two_sensors, "%s", report->detail);
    CHECK(report->fault != FAULT_NUMBER_TOO_LARGE, "%s", report->detail);
    CHECK(!x.sound || depth > 16, "%s", report->detail);
    if (depth <= 16 && json_is_object(root))
        CHECK(strcmp(r->meter_id, x.meter_id) == 0, "refused without its meter");
}

static void check_compact(const struct reading *r)
{
    char json[READING_JSON_MOST];
    uint8_t bytes[SNAPSHOT_SIZE_MOST];
    struct reading back;
    struct err e;

    if (r->time_ms < 0 || r->time_ms >> 47)
        return;
    CHECK(snapshot_unpack(json, reading_write_json(r, json), &back, &e), "%s", e.text);
    same_values(r->v, back.v);
    CHECK(snapshot_unpack(bytes, snapshot_pack(r, bytes), &back, &e), "%s", e.text);
    same_values(r->v, back.v);
    CHECK(back.time_ms == r->time_ms, "time");
}

static void check(const char *text, size_t size, json_t *root, enum topic topic)
{
    struct reading r;
    struct reading_report report;
    struct expected x;

    if (!reading_parse(text, size, topic, &r, &report)) {
        check_refusal(&r, &report, root, topic);
        return;
    }
    CHECK(root, "accepted what is no JSON");
    expect(&x, root, topic);
    CHECK(x.sound, "accepted what is not sound");
    CHECK(strcmp(r.meter_id, x.meter_id) == 0, "meter");
    CHECK(r.time_ms == x.time_ms, "time");
    same_values(r.v, x.v);
    size_t absent = 0;
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        CHECK(r.v[m] != 0 || !signbit(r.v[m]), "negative zero");
        CHECK(!report.absent[m] || isnan(r.v[m]), "absent and there");
        absent += report.absent[m];
    }
    CHECK(absent == report.absent_count, "absent_count");
    check_compact(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_error_t error;

    if (size > MESSAGE_SIZE_MOST)
        return 0;
    json_t *root = NULL;
    /* RFC 8259 allows no NUL anywhere, but jansson 2.14 overlooks one behind a number. */
    if (!memchr(data, 0, size))
        root = json_loadb((const char *)data, size,
                          JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    for (enum topic topic = 0; topic < TOPIC_COUNT; topic++)
        check((const char *)data, size, root, topic);
    json_decref(root);
    return 0;
}

/* ---- Mutations that stay close to JSON ---------------------------------------------------- */

static const char *const snippets[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1e400",
    "1e308",
    "-1.5e-3",
    "9007199254740993",
    "0.30000000000000004",
    "123456789012345678901",
    "1E+22",
    "1e-400",
    "01",
    "1.",
    "\"\"",
    "\"x\"",
    "\"idle\"",
    "\"surplus\"",
    "\"mV\"",
    "\"kW\"",
    "\"MWh\"",
    "\"mW\"",
    "\"\\u0030x40\"",
    "\"0X41\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "[]",
    "{}",
    "[{\"a\":1}]",
    "{\"a\":1,\"\\u0061\":2}",
    "{\"a\":{\"b\":1,\"b\":1}}",
    "\"soc\":50",
    "\"so\\u0063\":1",
    "\"x\":1",
    "\"address\":\"0x40\"",
    "\"connected\":true",
    "\"units\":{\"power\":\"W\"}",
    "\"data\":{}",
    "[[[[[[[[[[[[[[]]]]]]]]]]]]]]",
    "{\"address\":\"0x40\",\"connected\":null}",
    "\"2025-10-26T11:27:10+07:00\"",
    "\"\xc3\xa9\"",
    "\"\xc0\xaf\"",
};

/* Put a snippet in the place of a value or member chosen at random. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    const char *snippet = snippets[seed / 7 % (sizeof snippets / sizeof *snippets)];
    size_t len = strlen(snippet);

    if (seed % 2 || size == 0)
        return LLVMFuzzerMutate(data, size, most);
    size_t from = seed / 311 % size;
    while (from < size && !strchr(":,[{", data[from]))
        from++;
    from += from < size;
    size_t to = from;
    if (seed % 4)
        while (to < size && !strchr(",]}", data[to]))
            to++;
    if (size - (to - from) + len > most)
        return LLVMFuzzerMutate(data, size, most);
    memmove(data + from + len, data + to, size - to);
    memcpy(data + from, snippet, len);
    return size - (to - from) + len;
}
