#include "core/snapshot.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

/* docs/snapshot.md tells the format and why it is so. */

enum {
    VERSION = 1,
    TIME_BITS = 48,
    HEAD_SIZE = 2 + TIME_BITS / 8, /* version, type, time */
};

enum class {
    CLASS_ABSENT,
    CLASS_PREDICTED,
    CLASS_POSITIVE,
    CLASS_NEGATIVE,
};

/* A payload is a varint of m << 3 | places and means m / 10^places, but for these two. */
enum {
    PLACES_BITS = 3,
    PLACES_MOST = 6,
    CODE_DOUBLE = 7,     /* 8 bytes follow: IEEE 754 binary64, big endian */
    CODE_UNROUNDED = 15, /* the prediction before it was rounded to six places */
};

static const double power_of_ten[PLACES_MOST + 1] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
/* Whole numbers are kept below 2^52: up to there a half can be added without rounding. */
enum { WHOLE_BITS = 52 };
static const double whole_end = 4503599627370496.0;

/* ---- The order of the metrics -------------------------------------------------------------- */

struct order {
    size_t count;
    uint16_t metrics[METRIC_COUNT];
};

static struct order orders[TOPIC_COUNT];
static pthread_once_t orders_once = PTHREAD_ONCE_INIT;

static void build_orders(void)
{
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        struct order *o = &orders[metric_table[m].topic];
        if (metric_table[m].kind != KIND_TEXT)
            o->metrics[o->count++] = (uint16_t)m;
    }
}

static const struct order *order_of(enum topic topic)
{
    pthread_once(&orders_once, build_orders);
    return &orders[topic];
}

/* ---- Predictions -------------------------------------------------------------------------- */

/* What a metric is expected to be, from metrics before it. Part of the format. */
enum rule {
    RULE_ZERO,
    RULE_ONE,
    RULE_COPY,       /* a */
    RULE_SUM,        /* a + b */
    RULE_DIFFERENCE, /* a - b */
    RULE_POSITIVE,   /* 1 when a > 0, else 0 */
    RULE_SIGN,       /* 0 when a > 0, 1 when a < 0, 2 when a is 0: the order of the words */
};

struct prediction {
    enum rule rule;
    enum metric a, b;
};

static const struct prediction predictions[METRIC_COUNT] = {
    [METRIC_BATTERY_IS_CHARGING] = {RULE_POSITIVE, METRIC_BATTERY_CHARGE_RATE},
    [METRIC_BATTERY_CONNECTED] = {RULE_ONE},
    [METRIC_BATTERY_VALID] = {RULE_ONE},
    [METRIC_EXPORT_ACTIVE] = {RULE_POSITIVE, METRIC_EXPORT_POWER},
    [METRIC_IMPORT_ACTIVE] = {RULE_POSITIVE, METRIC_IMPORT_POWER},
    [METRIC_SOLAR_INPUT_GENERATING] = {RULE_POSITIVE, METRIC_SOLAR_INPUT_POWER},
    [METRIC_SOLAR_OUTPUT_GENERATING] = {RULE_POSITIVE, METRIC_SOLAR_OUTPUT_POWER},

    [METRIC_NET_SOLAR_SOLAR_POWER] = {RULE_COPY, METRIC_SOLAR_OUTPUT_POWER},
    [METRIC_NET_SOLAR_LOAD_POWER] = {RULE_SUM, METRIC_LOAD_SMART_MTR_POWER, METRIC_LOAD_HOME_POWER},
    [METRIC_NET_SOLAR_NET_POWER] = {RULE_DIFFERENCE, METRIC_NET_SOLAR_SOLAR_POWER,
                                    METRIC_NET_SOLAR_LOAD_POWER},
    [METRIC_NET_SOLAR_SOLAR_DAILY] = {RULE_COPY, METRIC_SOLAR_OUTPUT_DAILY_ENERGY},
    [METRIC_NET_SOLAR_LOAD_DAILY] = {RULE_SUM, METRIC_LOAD_SMART_MTR_DAILY_ENERGY,
                                     METRIC_LOAD_HOME_DAILY_ENERGY},
    [METRIC_NET_SOLAR_NET_DAILY] = {RULE_DIFFERENCE, METRIC_NET_SOLAR_SOLAR_DAILY,
                                    METRIC_NET_SOLAR_LOAD_DAILY},
    [METRIC_NET_SOLAR_SOLAR_TOTAL] = {RULE_COPY, METRIC_SOLAR_OUTPUT_TOTAL_ENERGY},
    [METRIC_NET_SOLAR_LOAD_TOTAL] = {RULE_SUM, METRIC_LOAD_SMART_MTR_TOTAL_ENERGY,
                                     METRIC_LOAD_HOME_TOTAL_ENERGY},
    [METRIC_NET_SOLAR_NET_TOTAL] = {RULE_DIFFERENCE, METRIC_NET_SOLAR_SOLAR_TOTAL,
                                    METRIC_NET_SOLAR_LOAD_TOTAL},
    [METRIC_NET_SOLAR_STATUS] = {RULE_SIGN, METRIC_NET_SOLAR_NET_POWER},

    [METRIC_NET_GRID_EXPORT_POWER] = {RULE_COPY, METRIC_EXPORT_POWER},
    [METRIC_NET_GRID_IMPORT_POWER] = {RULE_COPY, METRIC_IMPORT_POWER},
    [METRIC_NET_GRID_NET_POWER] = {RULE_DIFFERENCE, METRIC_NET_GRID_EXPORT_POWER,
                                   METRIC_NET_GRID_IMPORT_POWER},
    [METRIC_NET_GRID_EXPORT_DAILY] = {RULE_COPY, METRIC_EXPORT_DAILY_ENERGY},
    [METRIC_NET_GRID_IMPORT_DAILY] = {RULE_COPY, METRIC_IMPORT_DAILY_ENERGY},
    [METRIC_NET_GRID_NET_DAILY] = {RULE_DIFFERENCE, METRIC_NET_GRID_EXPORT_DAILY,
                                   METRIC_NET_GRID_IMPORT_DAILY},
    [METRIC_NET_GRID_EXPORT_TOTAL] = {RULE_COPY, METRIC_EXPORT_TOTAL_ENERGY},
    [METRIC_NET_GRID_IMPORT_TOTAL] = {RULE_COPY, METRIC_IMPORT_TOTAL_ENERGY},
    [METRIC_NET_GRID_NET_TOTAL] = {RULE_DIFFERENCE, METRIC_NET_GRID_EXPORT_TOTAL,
                                   METRIC_NET_GRID_IMPORT_TOTAL},
    [METRIC_NET_GRID_STATUS] = {RULE_SIGN, METRIC_NET_GRID_NET_POWER},

    [METRIC_WIFI_CONNECTED] = {RULE_ONE},
    [METRIC_MQTT_CONNECTED] = {RULE_ONE},
    [METRIC_SENSORS_HAS_SOLAR] = {RULE_ONE},
    [METRIC_SENSORS_INA219_0X40] = {RULE_ONE},
    [METRIC_SENSORS_INA219_0X41] = {RULE_ONE},
    [METRIC_SENSORS_INA219_0X42] = {RULE_ONE},
    [METRIC_SENSORS_INA219_0X43] = {RULE_ONE},
    [METRIC_SENSORS_INA219_0X44] = {RULE_ONE},
    [METRIC_SENSORS_INA219_0X45] = {RULE_ONE},
    [METRIC_SENSORS_MAX17048_0X36] = {RULE_ONE},
};

/* 0 when an input is absent. */
static double predict(const double *v, size_t m)
{
    const struct prediction *p = &predictions[m];
    double a = v[p->a], b = v[p->b];

    if (p->rule == RULE_ZERO)
        return 0;
    if (p->rule == RULE_ONE)
        return 1;
    if (isnan(a) || (isnan(b) && (p->rule == RULE_SUM || p->rule == RULE_DIFFERENCE)))
        return 0;
    switch (p->rule) {
    case RULE_COPY:
        return a;
    case RULE_SUM:
        return a + b;
    case RULE_DIFFERENCE:
        return a - b;
    case RULE_POSITIVE:
        return a > 0;
    case RULE_SIGN:
        return a > 0 ? 0 : a < 0 ? 1 : 2;
    case RULE_ZERO:
    case RULE_ONE:
        break;
    }
    return 0;
}

/*
 * The nearest double to the prediction in six decimal places: 123.45 - 474.6 is not the double
 * next to -351.15, which is what a meter prints.
 */
static double six_places(double d)
{
    double scaled = fabs(d) * 1e6 + 0.5;

    if (!(scaled < whole_end))
        return d;
    return copysign((double)(int64_t)scaled / 1e6, d);
}

/* ---- Bytes -------------------------------------------------------------------------------- */

static void write_bytes(uint8_t **at, uint64_t value, unsigned size)
{
    for (unsigned i = size; i-- > 0;)
        *(*at)++ = (uint8_t)(value >> 8 * i);
}

/* LEB128: seven bits a byte, the lowest first, the top bit set on all but the last. */
static void write_varint(uint8_t **at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *(*at)++ = (uint8_t)(value | 0x80);
    *(*at)++ = (uint8_t)value;
}

struct source {
    const uint8_t *at, *end;
};

static bool read_bytes(struct source *s, uint64_t *value, unsigned size)
{
    if (s->end - s->at < (ptrdiff_t)size)
        return false;
    *value = 0;
    for (unsigned i = 0; i < size; i++)
        *value = *value << 8 | *s->at++;
    return true;
}

static bool read_varint(struct source *s, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; s->at < s->end && shift < 63; shift += 7) {
        uint8_t byte = *s->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* ---- Packing ------------------------------------------------------------------------------ */

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void write_magnitude(uint8_t **at, double magnitude)
{
    uint64_t bits;

    for (unsigned places = 0; places <= PLACES_MOST; places++) {
        double scaled = magnitude * power_of_ten[places] + 0.5;
        if (!(scaled < whole_end))
            break;
        int64_t m = (int64_t)scaled;
        if ((double)m / power_of_ten[places] == magnitude) {
            write_varint(at, (uint64_t)m << PLACES_BITS | places);
            return;
        }
    }
    write_varint(at, CODE_DOUBLE);
    memcpy(&bits, &magnitude, sizeof bits);
    write_bytes(at, bits, sizeof bits);
}

static enum class pack_value(const double *v, size_t m, uint8_t **at) {
    double value = v[m];

    if (isnan(value)) return CLASS_ABSENT;
    assert(!isinf(value));
    double prediction = predict(v, m);
    if (same_bits(value, six_places(prediction))) return CLASS_PREDICTED;
    if (fabs(value) == fabs(prediction)) write_varint(at, CODE_UNROUNDED);
    else write_magnitude(at, fabs(value));
    return signbit(value) ? CLASS_NEGATIVE : CLASS_POSITIVE;
}

static size_t class_bytes(uint64_t count)
{
    return (size_t)(count / 4 + (count % 4 != 0));
}

size_t snapshot_pack(const struct reading *r, uint8_t out[SNAPSHOT_SIZE_MOST])
{
    const struct order *o = order_of(r->topic);
    uint8_t *at = out;

    assert(r->time_ms < INT64_C(1) << (TIME_BITS - 1) &&
           r->time_ms >= -(INT64_C(1) << (TIME_BITS - 1)));
    write_bytes(&at, VERSION, 1);
    write_bytes(&at, r->topic, 1);
    write_bytes(&at, (uint64_t)r->time_ms, TIME_BITS / 8);
    write_varint(&at, o->count);
    uint8_t *classes = at;
    memset(classes, 0, class_bytes(o->count));
    at += class_bytes(o->count);
    for (size_t i = 0; i < o->count; i++) {
        enum class class = pack_value(r->v, o->metrics[i], &at);
        classes[i / 4] = (uint8_t)(classes[i / 4] | class << i % 4 * 2);
    }
    return (size_t)(at - out);
}

/* ---- Unpacking ---------------------------------------------------------------------------- */

/* One payload; prediction is that of its metric, 0 for a metric this program does not know. */
static bool read_magnitude(struct source *s, double prediction, double *magnitude)
{
    uint64_t code, bits;

    if (!read_varint(s, &code))
        return false;
    if (code == CODE_UNROUNDED) {
        *magnitude = fabs(prediction);
        return true;
    }
    if (code == CODE_DOUBLE) {
        if (!read_bytes(s, &bits, sizeof bits))
            return false;
        memcpy(magnitude, &bits, sizeof bits);
        return !signbit(*magnitude);
    }
    unsigned places = code & ((1 << PLACES_BITS) - 1);
    uint64_t m = code >> PLACES_BITS;
    if (places > PLACES_MOST || m >> WHOLE_BITS != 0)
        return false;
    *magnitude = places ? (double)m / power_of_ten[places] : (double)m;
    return true;
}

static bool read_value(struct source *s, enum class class, double prediction, double *value)
{
    if (class == CLASS_ABSENT) {
        *value = NAN;
        return true;
    }
    if (class == CLASS_PREDICTED)
        *value = six_places(prediction);
    else if (!read_magnitude(s, prediction, value))
        return false;
    if (class == CLASS_NEGATIVE)
        *value = -*value;
    return isfinite(*value);
}

/* A word this program does not know was written by a newer one: absent, as a metric would be. */
static bool check_kind(size_t m, double *value)
{
    enum metric_kind kind = metric_table[m].kind;

    if (isnan(*value) || (kind != KIND_FLAG && kind != KIND_STATE))
        return true;
    if (kind == KIND_FLAG)
        return *value == 0 || *value == 1;
    if (*value < 0 || *value != floor(*value))
        return false;
    if (*value >= METRIC_WORDS_MOST || !metric_table[m].words[(size_t)*value])
        *value = NAN;
    return true;
}

static enum class class_at(const uint8_t *classes, size_t i) {
    return classes[i / 4] >> i % 4 * 2 & 3;
}

static bool unpack_values(struct source *s, struct reading *r, struct err *e)
{
    const struct order *o = order_of(r->topic);
    uint64_t count;
    double ignored;

    if (!read_varint(s, &count) || count > 4 * (uint64_t)(s->end - s->at) ||
        class_bytes(count) > (size_t)(s->end - s->at))
        return err_set(e, ERR_INPUT, "snapshot: ends in its classes");
    const uint8_t *classes = s->at;
    s->at += class_bytes(count);
    for (size_t i = 0; i < count; i++) {
        bool known = i < o->count;
        size_t m = known ? o->metrics[i] : 0;
        double *value = known ? &r->v[m] : &ignored;
        double prediction = known ? predict(r->v, m) : 0;
        if (!read_value(s, class_at(classes, i), prediction, value) ||
            (known && !check_kind(m, value)))
            return err_set(e, ERR_INPUT, "snapshot: %s is invalid or cut off",
                           known ? metric_table[m].path : "a metric of a newer program");
    }
    if (s->at != s->end)
        return err_set(e, ERR_INPUT, "snapshot: %td bytes behind its end", s->end - s->at);
    return true;
}

bool snapshot_unpack(const void *bytes, size_t len, struct reading *r, struct err *e)
{
    const uint8_t *b = bytes;
    struct source s;
    uint64_t time;

    if (len > 0 && b[0] == '{')
        return reading_read_json(bytes, len, r, e);
    if (len < HEAD_SIZE)
        return err_set(e, ERR_INPUT, "snapshot: %zu bytes are too few", len);
    if (b[0] != VERSION)
        return err_set(e, ERR_INPUT, "snapshot: version %u, this program knows %d", b[0], VERSION);
    if (b[1] >= TOPIC_COUNT)
        return err_set(e, ERR_INPUT, "snapshot: type %u is neither data nor status", b[1]);
    s = (struct source){.at = b + 2, .end = b + len};
    if (!read_bytes(&s, &time, TIME_BITS / 8))
        return err_set(e, ERR_INPUT, "snapshot: ends in its time");
    r->topic = (enum topic)b[1];
    r->time_ms = (int64_t)(time << (64 - TIME_BITS)) >> (64 - TIME_BITS);
    for (size_t m = 0; m < METRIC_COUNT; m++)
        r->v[m] = NAN;
    return unpack_values(&s, r, e);
}
