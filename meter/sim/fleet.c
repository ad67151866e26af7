#include "meter/sim/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meter/sim/streams.h"

enum { MQTT_QOS = 2 };

static struct site_config site_config_of(const struct fleet_config *c, size_t i)
{
    bool replayed = i < c->replay_meters;
    struct site_config s = {
        .seed = c->seed,
        .meter = i,
        .zone_ms = c->zone_ms,
        .load = replayed ? c->load : NULL,
        .solar = replayed ? c->solar : NULL,
    };

    /* Two thirds of the meters belong to a prosumer, every fifth stands on the bench. */
    s.has_solar = s.solar || i % 3 != 2;
    s.bench = !s.load && !s.solar && i % 5 == 4;
    return s;
}

static void meter_start(struct fleet_meter *m, const struct fleet_config *c, size_t i,
                        int64_t start_ms)
{
    struct site_config site = site_config_of(c, i);
    char id[METER_NAME_SIZE];

    site_init(&m->site, &site, start_ms);
    snprintf(id, sizeof id, "%.40s%03zu", c->prefix, i + 1);
    struct meter_config config = site.bench ? meter_config_bench(id) : meter_config_house(id);
    config.has_solar = site.has_solar;
    config.energy.zone_ms = c->zone_ms;
    config.battery_capacity_uah = m->site.battery.capacity_uah;
    meter_init(&m->meter, &config);
    m->device = (struct device_state){.mqtt_connected = true, .mqtt_qos = MQTT_QOS};
}

struct fleet *fleet_new(const struct fleet_config *config, int64_t start_ms)
{
    struct fleet *f = xcalloc(1, sizeof *f);

    f->config = *config;
    f->clock_ms = start_ms - FLEET_STEP_MS;
    f->meter = xcalloc(config->meters, sizeof *f->meter);
    for (size_t i = 0; i < config->meters; i++)
        meter_start(&f->meter[i], config, i, start_ms);
    return f;
}

void fleet_free(struct fleet *f)
{
    if (!f)
        return;
    free(f->meter);
    free(f);
}

static void observe(struct fleet_meter *m, int64_t t_ms)
{
    site_device(&m->site, t_ms, &m->device);
    meter_observe(&m->meter, &m->device);
}

/* Does the meter's own second of the interval strike at t? */
static bool strikes(const struct fleet *f, size_t i, enum topic topic, int64_t interval_s)
{
    if (interval_s == 0)
        return false;
    uint64_t phase = noise_hash(noise_make(f->config.seed, i, STREAM_PHASE), topic);
    return (f->clock_ms / 1000 - (int64_t)(phase % (uint64_t)interval_s)) % interval_s == 0;
}

static void publish(struct fleet *f, size_t i, enum topic topic, fleet_emit_fn *emit, void *ctx)
{
    static size_t (*const write[TOPIC_COUNT])(const struct meter *, char *, size_t) = {
        [TOPIC_DATA] = meter_write_data,
        [TOPIC_STATUS] = meter_write_status,
    };
    const struct meter *m = &f->meter[i].meter;
    char json[PAYLOAD_MOST];
    struct fleet_message message = {.meter = i, .topic = topic, .state = m, .json = json};

    message.len = write[topic](m, json, sizeof json);
    emit(ctx, &message);
}

static void publish_due(struct fleet *f, size_t i, const struct fleet_pace *pace,
                        fleet_emit_fn *emit, void *ctx)
{
    struct fleet_meter *m = &f->meter[i];

    if (strikes(f, i, TOPIC_DATA, pace->data_s))
        publish(f, i, TOPIC_DATA, emit, ctx);
    bool changed = pace->status_on_change && meter_take_status_change(&m->meter);
    if (changed || strikes(f, i, TOPIC_STATUS, pace->status_s)) {
        observe(m, f->clock_ms);
        publish(f, i, TOPIC_STATUS, emit, ctx);
    }
}

void fleet_step(struct fleet *f, const struct fleet_pace *pace, fleet_emit_fn *emit, void *ctx)
{
    struct meter_sample sample;

    f->clock_ms += FLEET_STEP_MS;
    struct sky sky = sky_at(f->config.seed, f->clock_ms);
    for (size_t i = 0; i < f->config.meters; i++) {
        struct fleet_meter *m = &f->meter[i];
        site_step(&m->site, &sky, f->clock_ms, FLEET_STEP_MS, &sample);
        meter_measure(&m->meter, &sample);
        if (m->site.state.mode != m->device.grid_mode || m->device.ip[0] == '\0')
            observe(m, f->clock_ms);
        if (pace->data_s > 0)
            publish_due(f, i, pace, emit, ctx);
    }
}

void fleet_set_connection(struct fleet *f, size_t i, bool connected, int64_t attempts)
{
    struct fleet_meter *m = &f->meter[i];

    if (m->device.mqtt_connected == connected && m->device.mqtt_attempts == attempts)
        return;
    m->device.mqtt_connected = connected;
    m->device.mqtt_attempts = attempts;
    meter_observe(&m->meter, &m->device);
}
