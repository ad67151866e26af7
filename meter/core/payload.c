#include "meter/core/payload.h"

#include <string.h>

struct writer {
    char *at;
    const char *end; /* one byte before the end of the space: the NUL always fits */
    bool full;
    bool first; /* nothing was written yet in the innermost object or array */
};

static void put(struct writer *w, const char *bytes, size_t len)
{
    if ((size_t)(w->end - w->at) < len) {
        w->full = true;
        return;
    }
    memcpy(w->at, bytes, len);
    w->at += len;
}

static void put_text(struct writer *w, const char *s)
{
    put(w, s, strlen(s));
}

static size_t write_digits(uint64_t n, char *end)
{
    char *at = end;

    do
        *--at = (char)('0' + n % 10);
    while (n /= 10);
    return (size_t)(end - at);
}

size_t payload_write_number(int64_t value, unsigned decimals, char out[PAYLOAD_NUMBER_MOST])
{
    char digits[PAYLOAD_NUMBER_MOST];
    char *end = digits + sizeof digits;
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    size_t len = 0;

    size_t count = write_digits(magnitude, end);
    while (count <= decimals)
        end[-(ptrdiff_t)++count] = '0';
    while (decimals > 0 && end[-1] == '0') {
        end--;
        decimals--;
        count--;
    }
    if (value < 0)
        out[len++] = '-';
    size_t whole = count - decimals;
    memcpy(out + len, end - count, whole);
    len += whole;
    if (decimals > 0) {
        out[len++] = '.';
        memcpy(out + len, end - decimals, decimals);
        len += decimals;
    }
    return len;
}

static void put_comma(struct writer *w)
{
    if (!w->first)
        put(w, ",", 1);
    w->first = false;
}

static void put_key(struct writer *w, const char *key)
{
    put_comma(w);
    put(w, "\"", 1);
    put_text(w, key);
    put(w, "\":", 2);
}

static void put_string(struct writer *w, const char *key, const char *s)
{
    put_key(w, key);
    put(w, "\"", 1);
    put_text(w, s);
    put(w, "\"", 1);
}

static void put_number(struct writer *w, const char *key, int64_t value, unsigned decimals)
{
    char text[PAYLOAD_NUMBER_MOST];

    put_key(w, key);
    put(w, text, payload_write_number(value, decimals, text));
}

static void put_millionths(struct writer *w, const char *key, int64_t value)
{
    put_number(w, key, value, 6);
}

static void put_thousandths(struct writer *w, const char *key, int64_t value)
{
    put_number(w, key, value, 3);
}

static void put_whole(struct writer *w, const char *key, int64_t value)
{
    put_number(w, key, value, 0);
}

static void put_flag(struct writer *w, const char *key, bool flag)
{
    put_key(w, key);
    put_text(w, flag ? "true" : "false");
}

static void open_object(struct writer *w, const char *key)
{
    put_key(w, key);
    put(w, "{", 1);
    w->first = true;
}

static void close_object(struct writer *w)
{
    put(w, "}", 1);
    w->first = false;
}

static void put_two_digits(char *out, int64_t n)
{
    out[0] = (char)('0' + n / 10 % 10);
    out[1] = (char)('0' + n % 10);
}

/*
 * Calendar of days since 1970: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
 * civil_from_days, for dates from 1970 on.
 */
static void write_date(int64_t days, char *out)
{
    int64_t shifted = days + 719468;
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);

    put_two_digits(out, year / 100);
    put_two_digits(out + 2, year % 100);
    put_two_digits(out + 5, month);
    put_two_digits(out + 8, day_of_year - (153 * month_from_march + 2) / 5 + 1);
}

static void put_datetime(struct writer *w, int64_t time_ms)
{
    char text[] = "0000-00-00T00:00:00Z";
    int64_t seconds = time_ms / 1000;

    write_date(seconds / 86400, text);
    put_two_digits(text + 11, seconds / 3600 % 24);
    put_two_digits(text + 14, seconds / 60 % 60);
    put_two_digits(text + 17, seconds % 60);
    put_string(w, "datetime", text);
}

struct unit {
    const char *of, *name;
};

static const struct unit data_units[] = {
    {"datetime", "ISO8601"},
    {"voltage", "V"},
    {"current", "mA"},
    {"power", "mW"},
    {"energy", "Wh"},
    {"battery_soc", "%"},
    {"battery_charge_rate", "%/hr"},
};

static const struct unit status_units[] = {
    {"datetime", "ISO8601"},
    {"uptime", "ms"},
    {"free_heap", "bytes"},
    {"rssi", "dBm"},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct writer begin(const char *meter_id, int64_t time_ms, const struct unit *units,
                           size_t n, char *out, size_t size)
{
    struct writer w = {.at = out, .end = out + size - 1, .first = true};

    put(&w, "{", 1);
    put_string(&w, "meterId", meter_id);
    put_datetime(&w, time_ms);
    open_object(&w, "units");
    for (size_t i = 0; i < n; i++)
        put_string(&w, units[i].of, units[i].name);
    close_object(&w);
    open_object(&w, "data");
    return w;
}

static size_t finish(struct writer *w, const char *out)
{
    close_object(w);
    put(w, "}", 1);
    *w->at = '\0';
    return w->full ? 0 : (size_t)(w->at - out);
}

static void put_battery(struct writer *w, const struct payload_battery *b)
{
    open_object(w, "battery");
    put_millionths(w, "voltage", b->voltage_uv);
    put_millionths(w, "soc", b->soc_upct);
    put_millionths(w, "charge_rate", b->charge_rate_upct_h);
    put_flag(w, "is_charging", b->is_charging);
    put_thousandths(w, "estimated_capacity", b->capacity_uah);
    put_whole(w, "alert_threshold", b->alert_threshold_pct);
    put_flag(w, "alert_active", b->alert_active);
    put_flag(w, "connected", b->connected);
    put_flag(w, "valid", b->valid);
    close_object(w);
}

/* What the protocol calls each channel, and which fields only some of them have. */
static const struct {
    const char *key;
    const char *flag; /* NULL: has none */
    bool settles;
    const char *address, *sensor_name;
} channels[CHANNEL_COUNT] = {
    [CHANNEL_EXPORT] = {"export", "active", true, "0x40", "Export"},
    [CHANNEL_IMPORT] = {"import", "active", true, "0x41", "Import"},
    [CHANNEL_LOAD_SMART] = {"load_smart_mtr", NULL, false, "0x42", "Load Smart"},
    [CHANNEL_LOAD_HOME] = {"load_home", NULL, false, "0x43", "Load Home"},
    [CHANNEL_SOLAR_INPUT] = {"solar_input", "generating", false, "0x44", "Solar Input"},
    [CHANNEL_SOLAR_OUTPUT] = {"solar_output", "generating", false, "0x45", "Solar Output"},
};

static void put_channel(struct writer *w, enum channel i, const struct payload_channel *c)
{
    open_object(w, channels[i].key);
    put_millionths(w, "voltage", c->voltage_uv);
    put_thousandths(w, "current", c->current_ua);
    put_thousandths(w, "power", c->power_uw);
    put_millionths(w, "daily_energy", c->daily_uwh);
    put_millionths(w, "total_energy", c->total_uwh);
    if (channels[i].settles)
        put_millionths(w, "settlement_energy", c->settlement_uwh);
    if (channels[i].flag)
        put_flag(w, channels[i].flag, c->active);
    close_object(w);
}

/* One side of a balance: power, energy of the day, energy since installation. */
struct side {
    int64_t power_uw, daily_uwh, total_uwh;
};

static struct side side_of(const struct payload_channel *c)
{
    return (struct side){c->power_uw, c->daily_uwh, c->total_uwh};
}

static struct side side_add(struct side a, struct side b)
{
    return (struct side){a.power_uw + b.power_uw, a.daily_uwh + b.daily_uwh,
                         a.total_uwh + b.total_uwh};
}

struct net_keys {
    const char *key;
    const char *power[2], *daily[2], *total[2];
};

static const struct net_keys net_solar_keys = {
    "net_solar",
    {"solar_power", "load_power"},
    {"solar_daily", "load_daily"},
    {"solar_total", "load_total"},
};

static const struct net_keys net_grid_keys = {
    "net_grid",
    {"export_power", "import_power"},
    {"export_daily", "import_daily"},
    {"export_total", "import_total"},
};

static void put_pair(struct writer *w, const char *const keys[2], const char *net_key, int64_t a,
                     int64_t b, unsigned decimals)
{
    put_number(w, keys[0], a, decimals);
    put_number(w, keys[1], b, decimals);
    put_number(w, net_key, a - b, decimals);
}

static void put_net(struct writer *w, const struct net_keys *keys, struct side a, struct side b,
                    const char *status)
{
    open_object(w, keys->key);
    put_pair(w, keys->power, "net_power", a.power_uw, b.power_uw, 3);
    put_pair(w, keys->daily, "net_daily", a.daily_uwh, b.daily_uwh, 6);
    put_pair(w, keys->total, "net_total", a.total_uwh, b.total_uwh, 6);
    put_string(w, "status", status);
    close_object(w);
}

static const char *const solar_status_words[] = {
    [SOLAR_SURPLUS] = "surplus",
    [SOLAR_DEFICIT] = "deficit",
    [SOLAR_BALANCED] = "balanced",
};

static const char *const grid_status_words[] = {
    [GRID_EXPORTING] = "exporting",
    [GRID_IMPORTING] = "importing",
    [GRID_IDLE] = "idle",
};

static const char *const grid_mode_words[] = {
    [GRID_OFF] = "off",
    [GRID_IMPORT] = "import",
    [GRID_EXPORT] = "export",
};

static const char *const device_status_words[] = {
    [DEVICE_ALIVE] = "alive",
    [DEVICE_WARNING] = "warning",
    [DEVICE_ERROR] = "error",
};

size_t payload_write_data(const struct payload_data *p, char *out, size_t size)
{
    if (size == 0)
        return 0;
    struct writer w = begin(p->meter_id, p->time_ms, data_units, COUNT(data_units), out, size);
    struct side load =
        side_add(side_of(&p->channel[CHANNEL_LOAD_SMART]), side_of(&p->channel[CHANNEL_LOAD_HOME]));

    put_battery(&w, &p->battery);
    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        put_channel(&w, i, &p->channel[i]);
    put_net(&w, &net_solar_keys, side_of(&p->channel[CHANNEL_SOLAR_OUTPUT]), load,
            solar_status_words[p->solar_status]);
    put_net(&w, &net_grid_keys, side_of(&p->channel[CHANNEL_EXPORT]),
            side_of(&p->channel[CHANNEL_IMPORT]), grid_status_words[p->grid_status]);
    return finish(&w, out);
}

static void put_wifi(struct writer *w, const struct payload_status *p)
{
    open_object(w, "wifi");
    put_flag(w, "connected", p->wifi_connected);
    put_whole(w, "rssi", p->rssi_dbm);
    put_string(w, "ip", p->ip);
    close_object(w);
}

static void put_grid(struct writer *w, const struct payload_status *p)
{
    open_object(w, "grid");
    put_string(w, "mode", grid_mode_words[p->grid_mode]);
    put_flag(w, "importing", p->importing);
    put_flag(w, "exporting", p->exporting);
    close_object(w);
}

static void put_mqtt(struct writer *w, const struct payload_status *p)
{
    open_object(w, "mqtt");
    put_flag(w, "connected", p->mqtt_connected);
    put_whole(w, "attempts", p->mqtt_attempts);
    put_whole(w, "qos", p->mqtt_qos);
    close_object(w);
}

static void put_system(struct writer *w, const struct payload_status *p)
{
    open_object(w, "system");
    put_whole(w, "free_heap", p->free_heap);
    put_whole(w, "uptime", p->uptime_ms);
    put_string(w, "status", device_status_words[p->status]);
    close_object(w);
}

static void put_sensor(struct writer *w, const char *address, const char *name, bool connected)
{
    put_comma(w);
    put(w, "{", 1);
    w->first = true;
    put_string(w, "address", address);
    put_string(w, "name", name);
    put_flag(w, "connected", connected);
    close_object(w);
}

static void open_array(struct writer *w, const char *key)
{
    put_key(w, key);
    put(w, "[", 1);
    w->first = true;
}

static void close_array(struct writer *w)
{
    put(w, "]", 1);
    w->first = false;
}

static void put_sensors(struct writer *w, const struct payload_status *p)
{
    int64_t detected = 0;

    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        detected += p->channel_connected[i];
    open_object(w, "sensors");
    put_whole(w, "total_count", detected + p->gauge_connected);
    put_string(w, "device_role", p->has_solar ? "Prosumer" : "Consumer");
    put_flag(w, "has_solar", p->has_solar);
    open_array(w, "ina219");
    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        put_sensor(w, channels[i].address, channels[i].sensor_name, p->channel_connected[i]);
    close_array(w);
    open_array(w, "max17048");
    put_sensor(w, "0x36", "Battery Fuel Gauge", p->gauge_connected);
    close_array(w);
    put_whole(w, "ina219_count", detected);
    put_whole(w, "max17048_count", p->gauge_connected);
    close_object(w);
}

size_t payload_write_status(const struct payload_status *p, char *out, size_t size)
{
    if (size == 0)
        return 0;
    struct writer w = begin(p->meter_id, p->time_ms, status_units, COUNT(status_units), out, size);

    put_wifi(&w, p);
    put_grid(&w, p);
    put_mqtt(&w, p);
    put_system(&w, p);
    put_sensors(&w, p);
    return finish(&w, out);
}
