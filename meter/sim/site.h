/*
 * The premises behind one meter: panel, loads, battery and grid connection, second by second.
 *
 * Power is balanced in integer microwatts at every step:
 *     solar_output + import + battery discharge = load_smart + load_home + export + battery charge
 * The battery takes a surplus before the grid does and covers a deficit before the grid does, down
 * to its reserve. During an outage the grid mode is off; what panel and battery cannot carry is
 * shed, controlled loads first, and what nobody takes of the sun is left in the panel.
 *
 * A site is a 230 V household or the 4-9 V bench: the same household at a thousandth of the power.
 */
#ifndef METER_SIM_SITE_H
#define METER_SIM_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "meter/core/meter.h"
#include "meter/sim/house.h"
#include "meter/sim/noise.h"
#include "meter/sim/replay.h"
#include "meter/sim/sky.h"

/* Panel of a replayed sky: solar_input = irradiance x 20 m2 x 18 %, solar_output = 96 % of it. */
#define REPLAY_PANEL_M2 20.0
#define REPLAY_PANEL_EFFICIENCY 0.18
#define REPLAY_INVERTER_EFFICIENCY 0.96

struct site_config {
    uint64_t seed;
    uint64_t meter;  /* number of the meter in the fleet, from 0 */
    int64_t zone_ms; /* local time minus UTC */
    bool bench;      /* 4-9 V and milliwatts instead of 230 V and watts */
    bool has_solar;
    const struct replay *load;  /* columns power_kw, voltage_v; NULL: synthetic */
    const struct replay *solar; /* column ghi_w_m2; NULL: synthetic */
};

struct site_battery {
    int64_t capacity_uah; /* 0: there is none */
    double cells, resistance_ohm;
    double limit_w;
    double reserve; /* the grid takes over below this state of charge */
};

/* What changes from second to second and cannot be computed anew: saved with the meter. */
struct site_state {
    int64_t charge_ua_ms;
    double charge_rate_pct_h; /* smoothed as the fuel gauge does */
    enum grid_mode mode;
    int64_t mode_since_ms;
};

struct site {
    struct site_config config;
    struct site_battery battery;
    struct site_state state;
    struct house house;
    double unit_uw;     /* microwatts that stand for one watt of a household */
    int64_t quantum_uw; /* resolution of the meter's power readings */
    double pv_w;
    int64_t boot_period_ms, boot_phase_ms;
    struct noise base_load, supply, local_clouds, outage, rssi;
};

void site_init(struct site *s, const struct site_config *config, int64_t t_ms);

/* Let dt_ms pass and measure at its end, t_ms (UTC). */
void site_step(struct site *s, const struct sky *sky, int64_t t_ms, int64_t dt_ms,
               struct meter_sample *out);

/* The device the meter runs on; the fields about MQTT are the caller's. */
void site_device(const struct site *s, int64_t t_ms, struct device_state *d);

#endif
