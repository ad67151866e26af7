/*
 * The two messages of a meter as JSON text: enerlink/meters/data and enerlink/meters/status.
 *
 * Values are integers in small units (uV, uA, uW, uWh) and are written in the protocol's units (V,
 * mA, mW, Wh) as exact decimals without trailing zeros. Every field of the protocol is always
 * there, in the protocol's order. Text (meter id, address) is written as it is and must
 * not need JSON escapes. Nothing is allocated.
 */
#ifndef METER_CORE_PAYLOAD_H
#define METER_CORE_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum channel {
    CHANNEL_EXPORT,
    CHANNEL_IMPORT,
    CHANNEL_LOAD_SMART,
    CHANNEL_LOAD_HOME,
    CHANNEL_SOLAR_INPUT,
    CHANNEL_SOLAR_OUTPUT,
    CHANNEL_COUNT,
};

enum grid_mode {
    GRID_OFF,
    GRID_IMPORT,
    GRID_EXPORT,
    GRID_MODE_COUNT,
};

enum solar_status {
    SOLAR_SURPLUS,
    SOLAR_DEFICIT,
    SOLAR_BALANCED,
};

enum grid_status {
    GRID_EXPORTING,
    GRID_IMPORTING,
    GRID_IDLE,
};

enum device_status {
    DEVICE_ALIVE,
    DEVICE_WARNING,
    DEVICE_ERROR,
};

struct payload_battery {
    int64_t voltage_uv;
    int64_t soc_upct;           /* millionths of a percent */
    int64_t charge_rate_upct_h; /* positive while charging */
    int64_t capacity_uah;       /* charge that remains */
    int64_t alert_threshold_pct;
    bool is_charging, alert_active, connected, valid;
};

struct payload_channel {
    int64_t voltage_uv, current_ua, power_uw;
    int64_t daily_uwh, total_uwh, settlement_uwh;
    bool active; /* "active" of the grid channels, "generating" of the solar ones */
};

struct payload_data {
    const char *meter_id;
    int64_t time_ms; /* UTC; written to the second */
    struct payload_battery battery;
    struct payload_channel channel[CHANNEL_COUNT];
    enum solar_status solar_status;
    enum grid_status grid_status;
};

struct payload_status {
    const char *meter_id;
    int64_t time_ms;
    bool wifi_connected;
    int64_t rssi_dbm;
    const char *ip;
    enum grid_mode grid_mode;
    bool importing, exporting;
    bool mqtt_connected;
    int64_t mqtt_attempts; /* failed ones before the present connection */
    int64_t mqtt_qos;
    int64_t free_heap; /* bytes */
    int64_t uptime_ms;
    enum device_status status;
    bool has_solar;
    bool channel_connected[CHANNEL_COUNT]; /* the INA219 of each channel answers */
    bool gauge_connected;                  /* the MAX17048 answers */
};

enum { PAYLOAD_MOST = 4096 }; /* longer than either message can get */

/* Write the message and a NUL to out. Returns its length; 0 when size is too small. */
size_t payload_write_data(const struct payload_data *p, char *out, size_t size);
size_t payload_write_status(const struct payload_status *p, char *out, size_t size);

/* value / 10^decimals as a decimal without trailing zeros: (-16694830, 6) is "-16.69483". */
enum { PAYLOAD_NUMBER_MOST = 24 };
size_t payload_write_number(int64_t value, unsigned decimals, char out[PAYLOAD_NUMBER_MOST]);

#endif
