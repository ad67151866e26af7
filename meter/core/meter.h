/*
 * The meter: from measured voltages, currents and powers to the two messages it publishes.
 *
 * The host measures (chips, or a simulated world), tells what it knows of the device it runs on,
 * and asks for a message when one is due. Everything between is here: energy accounts, active
 * flags with hysteresis, balances and their status words, battery alert, the device's verdict on
 * itself. No input or output, no allocation, no globals; one struct meter is one meter, and may
 * be saved and restored byte for byte by the same build.
 */
#ifndef METER_CORE_METER_H
#define METER_CORE_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meter/core/energy.h"
#include "meter/core/payload.h"

enum { METER_NAME_SIZE = 65 }; /* 64 characters and NUL */

struct meter_config {
    char id[METER_NAME_SIZE];
    bool has_solar;
    struct energy_rules energy;
    int64_t zero_uw;   /* smaller readings are a sensor's offset and count as 0; 0: ideal sensors */
    int64_t active_uw; /* a channel becomes active at twice this power, idle below it */
    int64_t balanced_uw; /* solar and load differ by less than this, or by 2 %: balanced */
    int64_t battery_capacity_uah;
    int64_t alert_threshold_pct;
};

/* Defaults for the 4-9 V bench (milliwatts) and for a 230 V house (tens of watts). */
struct meter_config meter_config_bench(const char *id);
struct meter_config meter_config_house(const char *id);

struct channel_sample {
    int64_t voltage_uv, current_ua;
    int64_t power_uw; /* negative: flows against the direction of the channel, is not counted */
    bool valid;       /* the sensor answered */
};

struct battery_sample {
    int64_t voltage_uv;
    int64_t soc_upct;
    int64_t charge_rate_upct_h;
    bool connected, valid;
};

struct meter_sample {
    int64_t mono_ms; /* a clock that never steps */
    int64_t wall_ms; /* UTC, or ENERGY_NO_TIME */
    struct channel_sample channel[CHANNEL_COUNT];
    struct battery_sample battery;
};

/* What the host knows of itself. */
struct device_state {
    bool wifi_connected;
    int64_t rssi_dbm;
    char ip[46];
    enum grid_mode grid_mode; /* what the relay was last told */
    bool mqtt_connected;
    int64_t mqtt_attempts;
    int64_t mqtt_qos;
    int64_t free_heap;
    int64_t uptime_ms;
};

struct meter {
    struct meter_config config;
    struct energy_clock clock;
    struct energy energy[CHANNEL_COUNT];
    struct meter_sample sample; /* the latest */
    struct device_state device; /* the latest */
    bool active[CHANNEL_COUNT];
    bool reverse_flow[CHANNEL_COUNT]; /* the last sample was negative: sensor wired backwards? */
    bool balanced, charging, low_battery;
    int64_t lost_ms[CHANNEL_COUNT]; /* for how long the channel's sensor has been silent */
    bool status_changed;
};

void meter_init(struct meter *m, const struct meter_config *config);

/* Take in one round of measurements; any interval, 1 s is usual. */
void meter_measure(struct meter *m, const struct meter_sample *s);

/* Take in the state of the device. */
void meter_observe(struct meter *m, const struct device_state *d);

/*
 * True once after connectivity (WiFi, broker, a sensor) or the grid mode changed: publish status
 * now instead of at the next interval.
 */
bool meter_take_status_change(struct meter *m);

/* The message of the latest sample; needs size >= PAYLOAD_MOST. Returns the length. */
size_t meter_write_data(const struct meter *m, char *out, size_t size);
size_t meter_write_status(const struct meter *m, char *out, size_t size);

#endif
