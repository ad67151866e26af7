#include "meter/core/meter.h"

#include <string.h>

enum {
    WEAK_SIGNAL_DBM = -80,
    LOW_HEAP_BYTES = 50 * 1024, /* the protocol calls less than 50 KB a sign of a leak */
    SENSOR_LOST_MS = 60 * 1000,
    MAX_GAP_MS = 30 * 1000,
    ALERT_HYSTERESIS_PCT = 1,
};

#define ZONE_JAKARTA_MS INT64_C(25200000)
#define PCT INT64_C(1000000)   /* one percent in upct */
#define PCT_H INT64_C(1000000) /* one percent per hour */

static struct meter_config config_scaled(const char *id, int64_t milliwatt_uw)
{
    struct meter_config c = {
        .has_solar = true,
        .energy = {.zone_ms = ZONE_JAKARTA_MS, .max_gap_ms = MAX_GAP_MS},
        .active_uw = 5 * milliwatt_uw,
        .balanced_uw = 10 * milliwatt_uw,
        .alert_threshold_pct = 10,
    };

    strncpy(c.id, id, sizeof c.id - 1);
    return c;
}

struct meter_config meter_config_bench(const char *id)
{
    struct meter_config c = config_scaled(id, 1000);

    c.battery_capacity_uah = 2000 * 1000;
    return c;
}

struct meter_config meter_config_house(const char *id)
{
    struct meter_config c = config_scaled(id, 1000 * 1000);

    c.balanced_uw = 20 * 1000 * 1000;
    c.battery_capacity_uah = 100 * 1000 * 1000;
    return c;
}

void meter_init(struct meter *m, const struct meter_config *config)
{
    *m = (struct meter){.config = *config, .balanced = true, .status_changed = true};
}

static int64_t magnitude(int64_t n)
{
    return n < 0 ? -n : n;
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Above `on` the flag rises, below `off` it falls, between them it stays. */
static bool with_hysteresis(bool flag, int64_t value, int64_t on, int64_t off)
{
    return flag ? value >= off : value >= on;
}

static void measure_channel(struct meter *m, enum channel i, const struct energy_step *step)
{
    struct channel_sample *c = &m->sample.channel[i];

    if (!c->valid || magnitude(c->power_uw) < m->config.zero_uw) {
        c->power_uw = 0;
        c->current_ua = 0;
    }
    m->lost_ms[i] = c->valid ? 0 : m->lost_ms[i] + step->dt_ms;
    m->reverse_flow[i] = c->power_uw < 0;
    energy_add(&m->energy[i], step, greater(c->power_uw, 0), c->valid);
    m->active[i] =
        with_hysteresis(m->active[i], c->power_uw, 2 * m->config.active_uw, m->config.active_uw);
}

static int64_t solar_uw(const struct meter *m)
{
    return m->sample.channel[CHANNEL_SOLAR_OUTPUT].power_uw;
}

static int64_t load_uw(const struct meter *m)
{
    return m->sample.channel[CHANNEL_LOAD_SMART].power_uw +
           m->sample.channel[CHANNEL_LOAD_HOME].power_uw;
}

/* Balanced within the band; what is balanced stays so up to one and a half bands. */
static bool solar_balanced(const struct meter *m)
{
    int64_t band_uw = greater(m->config.balanced_uw, greater(solar_uw(m), load_uw(m)) / 50);
    int64_t net_uw = magnitude(solar_uw(m) - load_uw(m));

    return m->balanced ? net_uw <= band_uw + band_uw / 2 : net_uw <= band_uw;
}

static void measure_battery(struct meter *m)
{
    const struct battery_sample *b = &m->sample.battery;
    int64_t threshold_pct = m->config.alert_threshold_pct;

    if (!b->valid) {
        m->charging = false;
        m->low_battery = false;
        return;
    }
    /* One step of the gauge is 0.208 %/h: rising takes three, so that noise does not flicker. */
    m->charging = with_hysteresis(m->charging, b->charge_rate_upct_h, PCT_H / 2, 0);
    m->low_battery =
        !with_hysteresis(!m->low_battery, b->soc_upct, (threshold_pct + ALERT_HYSTERESIS_PCT) * PCT,
                         threshold_pct * PCT);
}

static bool sensors_differ(const struct meter_sample *a, const struct meter_sample *b)
{
    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        if (a->channel[i].valid != b->channel[i].valid)
            return true;
    return a->battery.connected != b->battery.connected;
}

void meter_measure(struct meter *m, const struct meter_sample *s)
{
    struct energy_step step =
        energy_clock_step(&m->clock, &m->config.energy, s->mono_ms, s->wall_ms);

    m->status_changed |= sensors_differ(&m->sample, s);
    m->sample = *s;
    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        measure_channel(m, i, &step);
    m->balanced = solar_balanced(m);
    measure_battery(m);
}

void meter_observe(struct meter *m, const struct device_state *d)
{
    m->status_changed |= m->device.wifi_connected != d->wifi_connected ||
                         m->device.mqtt_connected != d->mqtt_connected ||
                         m->device.grid_mode != d->grid_mode;
    m->device = *d;
}

bool meter_take_status_change(struct meter *m)
{
    bool changed = m->status_changed;

    m->status_changed = false;
    return changed;
}

static enum solar_status solar_status(const struct meter *m)
{
    if (m->balanced)
        return SOLAR_BALANCED;
    return solar_uw(m) > load_uw(m) ? SOLAR_SURPLUS : SOLAR_DEFICIT;
}

static enum grid_status grid_status(const struct meter *m)
{
    bool exporting = m->active[CHANNEL_EXPORT], importing = m->active[CHANNEL_IMPORT];
    const struct channel_sample *c = m->sample.channel;

    if (exporting && (!importing || c[CHANNEL_EXPORT].power_uw > c[CHANNEL_IMPORT].power_uw))
        return GRID_EXPORTING;
    return importing ? GRID_IMPORTING : GRID_IDLE;
}

static struct payload_channel channel_payload(const struct meter *m, enum channel i)
{
    const struct channel_sample *c = &m->sample.channel[i];
    const struct energy *e = &m->energy[i];

    return (struct payload_channel){
        .voltage_uv = c->voltage_uv,
        .current_ua = c->current_ua,
        .power_uw = c->power_uw,
        .daily_uwh = energy_daily_uwh(e),
        .total_uwh = e->total_uwh,
        .settlement_uwh = energy_settlement_uwh(e),
        .active = m->active[i],
    };
}

static struct payload_battery battery_payload(const struct meter *m)
{
    const struct battery_sample *b = &m->sample.battery;
    /* The product fits for batteries of up to 80,000 Ah. */
    int64_t remaining_uah = b->soc_upct * m->config.battery_capacity_uah / (100 * PCT);

    return (struct payload_battery){
        .voltage_uv = b->voltage_uv,
        .soc_upct = b->soc_upct,
        .charge_rate_upct_h = b->charge_rate_upct_h,
        .capacity_uah = remaining_uah,
        .alert_threshold_pct = m->config.alert_threshold_pct,
        .is_charging = m->charging,
        .alert_active = m->low_battery,
        .connected = b->connected,
        .valid = b->valid,
    };
}

size_t meter_write_data(const struct meter *m, char *out, size_t size)
{
    struct payload_data p = {
        .meter_id = m->config.id,
        .time_ms = m->sample.wall_ms,
        .battery = battery_payload(m),
        .solar_status = solar_status(m),
        .grid_status = grid_status(m),
    };

    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        p.channel[i] = channel_payload(m, i);
    return payload_write_data(&p, out, size);
}

static bool any_sensor_lost(const struct meter *m, int64_t longer_than_ms)
{
    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        if (!m->sample.channel[i].valid && m->lost_ms[i] >= longer_than_ms)
            return true;
    return false;
}

static enum device_status device_status(const struct meter *m)
{
    if (any_sensor_lost(m, SENSOR_LOST_MS))
        return DEVICE_ERROR;
    if (any_sensor_lost(m, 0) || m->device.free_heap < LOW_HEAP_BYTES ||
        (m->device.wifi_connected && m->device.rssi_dbm < WEAK_SIGNAL_DBM))
        return DEVICE_WARNING;
    return DEVICE_ALIVE;
}

size_t meter_write_status(const struct meter *m, char *out, size_t size)
{
    const struct device_state *d = &m->device;
    struct payload_status p = {
        .meter_id = m->config.id,
        .time_ms = m->sample.wall_ms,
        .wifi_connected = d->wifi_connected,
        .rssi_dbm = d->rssi_dbm,
        .ip = d->ip,
        .grid_mode = d->grid_mode,
        .importing = d->grid_mode == GRID_IMPORT && m->active[CHANNEL_IMPORT],
        .exporting = d->grid_mode == GRID_EXPORT && m->active[CHANNEL_EXPORT],
        .mqtt_connected = d->mqtt_connected,
        .mqtt_attempts = d->mqtt_attempts,
        .mqtt_qos = d->mqtt_qos,
        .free_heap = d->free_heap,
        .uptime_ms = d->uptime_ms,
        .status = device_status(m),
        .has_solar = m->config.has_solar,
        .gauge_connected = m->sample.battery.connected,
    };

    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        p.channel_connected[i] = m->sample.channel[i].valid;
    return payload_write_status(&p, out, size);
}
