#include "meter/sim/site.h"

#include <math.h>
#include <stdio.h>

#include "meter/sim/streams.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS INT64_C(3600000)
#define DAY_MS INT64_C(86400000)

#define MODE_DWELL_MS MINUTE_MS /* the relay does not follow every passing cloud */
#define GAUGE_TAU_MS 240000.0   /* the fuel gauge's rate follows the current this slowly */
#define CHARGE_EFFICIENCY 0.98
#define EMPTY 0.05  /* state of charge below which the battery is switched off */
#define REFILL 0.02 /* above the reserve by this: the battery serves again */

struct flows {
    int64_t smart_uw, home_uw, solar_in_uw, solar_out_uw, import_uw, export_uw;
    int64_t battery_uw; /* positive: discharging */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t round_to(double value, int64_t quantum)
{
    return llround(value / (double)quantum) * quantum;
}

static struct site_battery battery_of(const struct site_config *c, double size)
{
    if (c->bench)
        return (struct site_battery){2000 * 1000, 1, 0.12, 2000, c->has_solar ? 0.3 : 0.8};
    /* Every fourth household with a panel sells without storing; without a panel none stores. */
    if (!c->has_solar || c->meter % 4 == 3)
        return (struct site_battery){0};
    return (struct site_battery){100 * 1000 * 1000, 16, 0.016, 2000 + 1000 * size, 0.3};
}

void site_init(struct site *s, const struct site_config *config, int64_t t_ms)
{
    uint64_t seed = config->seed, meter = config->meter;
    struct noise n = noise_make(seed, meter, STREAM_PROFILE);

    *s = (struct site){
        .config = *config,
        .battery = battery_of(config, noise_unit(n, 0)),
        .unit_uw = config->bench ? 1e3 : 1e6,
        /* An INA219 at 0.1 ohm reads 2 mW steps, the mean of ten 0.2 mW; a house has 10:1
         * transformers in voltage and in current in front of it. */
        .quantum_uw = config->bench ? 200 : 20000,
        .pv_w = config->has_solar ? 1800.0 + 2200.0 * noise_unit(n, 1) : 0.0,
        .boot_period_ms = (int64_t)((20.0 + 20.0 * noise_unit(n, 2)) * (double)DAY_MS),
        .base_load = noise_make(seed, meter, STREAM_BASE_LOAD),
        .supply = noise_make(seed, meter, STREAM_SUPPLY),
        .local_clouds = noise_make(seed, meter, STREAM_LOCAL_CLOUDS),
        .outage = noise_make(seed, meter, STREAM_OUTAGE),
        .rssi = noise_make(seed, meter, STREAM_RSSI),
        .state = {.mode = GRID_IMPORT, .mode_since_ms = t_ms - MODE_DWELL_MS},
    };
    s->boot_phase_ms = (int64_t)(noise_unit(n, 3) * (double)s->boot_period_ms);
    double soc = 0.4 + 0.5 * noise_unit(n, 4);
    s->state.charge_ua_ms = (int64_t)(soc * (double)s->battery.capacity_uah) * HOUR_MS;
    house_init(&s->house, seed, meter);
}

/* ---- Sun ---------------------------------------------------------------------------------- */

static double irradiance_w_m2(const struct site *s, const struct sky *sky, int64_t t_ms)
{
    if (s->config.solar)
        return fmax(0.0, replay_row(s->config.solar, t_ms + s->config.zone_ms)[0]);
    if (sky->clear_w_m2 <= 0.0)
        return 0.0;
    double region = sky->clearness[s->config.meter % SKY_REGIONS];
    double here = 1.0 + 0.04 * noise_smooth(s->local_clouds, t_ms, 45000);
    return fmax(0.0, sky->clear_w_m2 * region * here);
}

/*
 * PVWatts (A. P. Dobos, NREL/TP-6A20-62641): cells at 45 C NOCT lose 0.37 % a kelvin above 25 C;
 * inverter efficiency falls at small load, 0.96 nominal.
 */
static double panel_w(const struct site *s, const struct sky *sky, double w_m2)
{
    double cell_c = sky->air_c + w_m2 * (45.0 - 20.0) / 800.0;

    return s->pv_w * w_m2 / 1000.0 * (1.0 - 0.0037 * (cell_c - 25.0));
}

static double inverter_efficiency(double share)
{
    if (share <= 0.0)
        return 0.0;
    return fmax(0.0, 0.96 / 0.9637 * (-0.0162 * share - 0.0059 / share + 0.9858));
}

static void sun(const struct site *s, const struct sky *sky, double w_m2, struct flows *f)
{
    if (!s->config.has_solar)
        return;
    if (s->config.solar) {
        double in_w = w_m2 * REPLAY_PANEL_M2 * REPLAY_PANEL_EFFICIENCY;
        f->solar_in_uw = llround(in_w * s->unit_uw);
        f->solar_out_uw = llround(in_w * REPLAY_INVERTER_EFFICIENCY * s->unit_uw);
        return;
    }
    double in_w = panel_w(s, sky, w_m2);
    double out_w = in_w * inverter_efficiency(in_w / s->pv_w);
    f->solar_in_uw = round_to(in_w * s->unit_uw, s->quantum_uw);
    f->solar_out_uw = least(round_to(out_w * s->unit_uw, s->quantum_uw), f->solar_in_uw);
}

/* ---- Loads -------------------------------------------------------------------------------- */

static void demand(struct site *s, int64_t t_ms, struct flows *f)
{
    int64_t local_ms = t_ms + s->config.zone_ms;

    if (s->config.load) {
        f->home_uw = llround(replay_row(s->config.load, local_ms)[0] * 1000.0 * s->unit_uw);
        return;
    }
    struct house_load load = house_load_at(&s->house, local_ms);
    double flicker = 1.0 + 0.01 * noise_normal(s->base_load, (uint64_t)(t_ms / 1000));
    f->smart_uw = round_to(load.smart_w * flicker * s->unit_uw, s->quantum_uw);
    f->home_uw = round_to(load.home_w * flicker * s->unit_uw, s->quantum_uw);
}

/*
 * A household loses the grid for up to 40 minutes about every 20 days; on the bench somebody takes
 * it off for a quarter of the time, in blocks of an hour.
 */
static bool grid_away(const struct site *s, int64_t t_ms)
{
    uint64_t hour = (uint64_t)(t_ms / HOUR_MS);
    double chance = noise_unit(s->outage, hour);

    if (s->config.load || s->config.solar)
        return false;
    if (s->config.bench)
        return chance < 0.25;
    int64_t length_ms = (int64_t)(noise_unit(s->outage, ~hour) * 40.0) * MINUTE_MS;
    return chance < 1.0 / 480.0 && t_ms % HOUR_MS < length_ms;
}

/* ---- Battery ------------------------------------------------------------------------------ */

static double state_of_charge(const struct site *s)
{
    if (s->battery.capacity_uah == 0)
        return 0.0;
    return (double)s->state.charge_ua_ms / ((double)s->battery.capacity_uah * (double)HOUR_MS);
}

/* A lithium cell at rest, at 0, 10, ... 100 % of its charge. */
static double cell_v(double soc)
{
    static const double v[] = {3.30, 3.68, 3.74, 3.77, 3.79, 3.82, 3.87, 3.92, 3.98, 4.06, 4.18};
    double x = fmin(fmax(soc, 0.0), 1.0) * 10.0;
    int i = x >= 10.0 ? 9 : (int)x;

    return v[i] + (v[i + 1] - v[i]) * (x - i);
}

static double battery_v(const struct site *s, int64_t battery_uw)
{
    double open_v = s->battery.cells * cell_v(state_of_charge(s));

    return open_v - (double)battery_uw * 1e-6 / open_v * s->battery.resistance_ohm;
}

/* Power that takes the battery from its present charge to `soc` within dt; 0 if already past. */
static int64_t power_until_uw(const struct site *s, double soc, int64_t dt_ms)
{
    double gap = fabs(soc - state_of_charge(s));
    double charge_uah = gap * (double)s->battery.capacity_uah;
    double power_uw = charge_uah * battery_v(s, 0) * (double)HOUR_MS / (double)dt_ms;
    double limit_uw = s->battery.limit_w * s->unit_uw;

    return (int64_t)(fmin(power_uw, limit_uw) / (double)s->quantum_uw) * s->quantum_uw;
}

static int64_t charge_most_uw(const struct site *s, int64_t dt_ms)
{
    return state_of_charge(s) < 1.0 ? power_until_uw(s, 1.0, dt_ms) : 0;
}

static int64_t discharge_most_uw(const struct site *s, bool grid, int64_t dt_ms)
{
    double floor = grid ? s->battery.reserve + REFILL : EMPTY;

    return state_of_charge(s) > floor ? power_until_uw(s, floor, dt_ms) : 0;
}

/* With the grid there, a battery below its reserve is filled from it, slowly. */
static int64_t refill_uw(const struct site *s)
{
    if (state_of_charge(s) >= s->battery.reserve)
        return 0;
    return round_to(s->battery.limit_w * s->unit_uw / 5.0, s->quantum_uw);
}

static void pass_charge(struct site *s, int64_t battery_uw, int64_t dt_ms)
{
    if (s->battery.capacity_uah == 0)
        return;
    double current_ua = -(double)battery_uw / battery_v(s, battery_uw);
    double capacity_ua_ms = (double)s->battery.capacity_uah * (double)HOUR_MS;

    if (current_ua > 0.0)
        current_ua *= CHARGE_EFFICIENCY;
    double passed_ua_ms = current_ua * (double)dt_ms;
    s->state.charge_ua_ms =
        least(greatest(s->state.charge_ua_ms + llround(passed_ua_ms), 0), (int64_t)capacity_ua_ms);
    double rate_pct_h = 100.0 * current_ua * (double)HOUR_MS / capacity_ua_ms;
    s->state.charge_rate_pct_h +=
        (rate_pct_h - s->state.charge_rate_pct_h) * fmin(1.0, (double)dt_ms / GAUGE_TAU_MS);
}

/* As a MAX17048 tells it: 1.25 mV a cell, 1/256 %, 0.208 %/h. */
static struct battery_sample read_gauge(const struct site *s, int64_t battery_uw)
{
    if (s->battery.capacity_uah == 0)
        return (struct battery_sample){0};
    int64_t soc_code = (int64_t)(state_of_charge(s) * 25600.0);
    return (struct battery_sample){
        .voltage_uv =
            round_to(battery_v(s, battery_uw) * 1e6, (int64_t)(1250.0 * s->battery.cells)),
        .soc_upct = (soc_code * 15625 + 2) / 4,
        .charge_rate_upct_h = llround(s->state.charge_rate_pct_h / 0.208) * 208000,
        .connected = true,
        .valid = true,
    };
}

/* ---- Balance ------------------------------------------------------------------------------ */

static void shed(struct flows *f, int64_t missing_uw)
{
    int64_t smart_uw = least(f->smart_uw, missing_uw);

    f->smart_uw -= smart_uw;
    f->home_uw -= missing_uw - smart_uw;
}

static void curtail(struct flows *f, int64_t surplus_uw)
{
    int64_t out_uw = f->solar_out_uw - surplus_uw;

    f->solar_in_uw = (int64_t)((double)f->solar_in_uw * ((double)out_uw / (double)f->solar_out_uw));
    f->solar_in_uw = greatest(f->solar_in_uw, out_uw);
    f->solar_out_uw = out_uw;
}

static void cover_deficit(struct site *s, bool grid, int64_t deficit_uw, int64_t dt_ms,
                          struct flows *f)
{
    f->battery_uw = least(deficit_uw, discharge_most_uw(s, grid, dt_ms));
    if (grid)
        f->import_uw = deficit_uw - f->battery_uw;
    else
        shed(f, deficit_uw - f->battery_uw);
}

static void place_surplus(struct site *s, bool may_export, int64_t surplus_uw, int64_t dt_ms,
                          struct flows *f)
{
    f->battery_uw = -least(surplus_uw, charge_most_uw(s, dt_ms));
    int64_t left_uw = surplus_uw + f->battery_uw;
    if (may_export)
        f->export_uw = left_uw;
    else if (left_uw > 0)
        curtail(f, left_uw);
}

static enum grid_mode mode_for(const struct site *s, bool grid, const struct flows *f)
{
    if (!grid)
        return GRID_OFF;
    if (f->import_uw > 0)
        return GRID_IMPORT;
    if (f->export_uw > 0)
        return GRID_EXPORT;
    return s->state.mode == GRID_OFF ? GRID_IMPORT : s->state.mode;
}

/* A replayed house sells whatever is left, so that its recorded sun is never curtailed. */
static bool may_export(const struct site *s, bool grid, int64_t t_ms)
{
    bool rested = t_ms - s->state.mode_since_ms >= MODE_DWELL_MS;

    return grid && (s->state.mode == GRID_EXPORT || rested || s->config.solar);
}

static void balance(struct site *s, int64_t t_ms, int64_t dt_ms, struct flows *f)
{
    bool grid = !grid_away(s, t_ms);
    int64_t net_uw = f->smart_uw + f->home_uw - f->solar_out_uw;

    if (net_uw >= 0)
        cover_deficit(s, grid, net_uw, dt_ms, f);
    else
        place_surplus(s, may_export(s, grid, t_ms), -net_uw, dt_ms, f);
    if (grid && f->battery_uw == 0 && f->export_uw == 0) {
        f->import_uw += refill_uw(s);
        f->battery_uw -= refill_uw(s);
    }
    enum grid_mode mode = mode_for(s, grid, f);
    if (mode != s->state.mode) {
        s->state.mode = mode;
        s->state.mode_since_ms = t_ms;
    }
}

/* ---- What the meter sees ------------------------------------------------------------------ */

/* A feeder sags in the evening and under the house's own load. */
static double supply_v(const struct site *s, const struct sky *sky, int64_t t_ms,
                       const struct flows *f)
{
    if (s->config.load)
        return replay_row(s->config.load, t_ms + s->config.zone_ms)[1];
    double load_w = (double)(f->smart_uw + f->home_uw) / s->unit_uw;
    double volts = 229.5 + 2.0 * noise_smooth(s->supply, t_ms, 10 * MINUTE_MS) -
                   4.0 * sky->evening - 0.0012 * load_w +
                   0.2 * noise_normal(s->supply, (uint64_t)(t_ms / 1000));
    return s->config.bench ? volts * (5.1 / 230.0) : volts;
}

/* The charge controller holds the panel near its best voltage, lower in weak light. */
static double panel_v(const struct site *s, double w_m2)
{
    double best_v = s->config.bench ? 8.8 : 320.0;

    return w_m2 > 0.0 ? best_v * (0.9 + 0.1 * sqrt(fmin(w_m2, 1200.0) / 1000.0)) : 0.0;
}

static struct channel_sample read_channel(const struct site *s, double volts, int64_t power_uw)
{
    /* Steps of 4 mV, the mean of ten 0.4 mV; ten times that behind the transformer. */
    int64_t quantum_uv = s->config.load ? 1 : s->config.bench ? 400 : 4000;
    int64_t voltage_uv = round_to(volts * 1e6, quantum_uv);
    double current_ua = voltage_uv > 0 ? (double)power_uw / (double)voltage_uv * 1e6 : 0.0;

    return (struct channel_sample){
        .voltage_uv = voltage_uv,
        .current_ua = llround(current_ua),
        .power_uw = power_uw,
        .valid = true,
    };
}

static void read_channels(const struct site *s, const struct sky *sky, int64_t t_ms, double w_m2,
                          const struct flows *f, struct channel_sample c[CHANNEL_COUNT])
{
    double line_v = supply_v(s, sky, t_ms, f);
    double grid_v = s->state.mode == GRID_OFF ? 0.0 : line_v;
    double load_v = f->smart_uw + f->home_uw > 0 ? line_v : grid_v;
    double in_v = s->config.has_solar ? panel_v(s, w_m2) : 0.0;
    double out_v = f->solar_out_uw > 0 ? line_v : 0.0;

    c[CHANNEL_EXPORT] = read_channel(s, grid_v, f->export_uw);
    c[CHANNEL_IMPORT] = read_channel(s, grid_v, f->import_uw);
    c[CHANNEL_LOAD_SMART] = read_channel(s, load_v, f->smart_uw);
    c[CHANNEL_LOAD_HOME] = read_channel(s, load_v, f->home_uw);
    c[CHANNEL_SOLAR_INPUT] = read_channel(s, in_v, f->solar_in_uw);
    c[CHANNEL_SOLAR_OUTPUT] = read_channel(s, out_v, f->solar_out_uw);
}

void site_step(struct site *s, const struct sky *sky, int64_t t_ms, int64_t dt_ms,
               struct meter_sample *out)
{
    struct flows f = {0};
    double w_m2 = s->config.has_solar ? irradiance_w_m2(s, sky, t_ms) : 0.0;

    sun(s, sky, w_m2, &f);
    demand(s, t_ms, &f);
    balance(s, t_ms, dt_ms, &f);
    pass_charge(s, f.battery_uw, dt_ms);
    out->mono_ms = t_ms;
    out->wall_ms = t_ms;
    read_channels(s, sky, t_ms, w_m2, &f, out->channel);
    out->battery = read_gauge(s, f.battery_uw);
}

/* The device boots anew every 20 to 40 days and leaks a little memory until then. */
void site_device(const struct site *s, int64_t t_ms, struct device_state *d)
{
    uint64_t meter = s->config.meter;
    double away_dbm = 44.0 + 5.0 * (double)(noise_hash(s->rssi, UINT64_MAX) % 6);
    double rssi_dbm = -away_dbm + 4.0 * noise_smooth(s->rssi, t_ms, 10 * MINUTE_MS) +
                      1.2 * noise_normal(s->rssi, (uint64_t)(t_ms / 1000));
    double in_use = 3000.0 * noise_unit(s->rssi, ~(uint64_t)(t_ms / 1000));

    d->wifi_connected = true;
    d->rssi_dbm = lround(rssi_dbm);
    snprintf(d->ip, sizeof d->ip, "192.168.%u.%u", (unsigned)(meter / 250 % 250),
             (unsigned)(meter % 250 + 2));
    d->grid_mode = s->state.mode;
    d->uptime_ms = (t_ms + s->boot_phase_ms) % s->boot_period_ms;
    d->free_heap = 224000 - (int64_t)in_use - d->uptime_ms / HOUR_MS * 60;
}
