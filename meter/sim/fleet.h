/*
 * A fleet of simulated meters: each a site and a struct meter, moved on together one second at a
 * time. The fleet knows nothing of brokers; what a meter publishes is handed to a function.
 *
 * Time is simulated time in whole seconds. The same configuration and start give the same messages
 * byte for byte, whenever and however fast they are computed.
 */
#ifndef METER_SIM_FLEET_H
#define METER_SIM_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/metric.h"
#include "meter/core/meter.h"
#include "meter/sim/replay.h"
#include "meter/sim/site.h"

enum { FLEET_STEP_MS = 1000 };

struct fleet_config {
    uint64_t seed;
    size_t meters;
    const char *prefix; /* ids are the prefix and a number from 001 */
    int64_t zone_ms;
    const struct replay *load, *solar; /* NULL: synthetic */
    size_t replay_meters;              /* the first so many meters replay them */
};

struct fleet_meter {
    struct site site;
    struct meter meter;
    struct device_state device;
};

struct fleet {
    struct fleet_config config;
    int64_t clock_ms; /* of the latest step */
    struct fleet_meter *meter;
};

/* How often meters publish, s. Each meter has its own phase within the interval. */
struct fleet_pace {
    int64_t data_s; /* 0: nothing is published */
    int64_t status_s;
    bool status_on_change;
};

struct fleet_message {
    size_t meter; /* number in the fleet, from 0 */
    enum topic topic;
    const struct meter *state; /* the meter that says it */
    const char *json;
    size_t len;
};

typedef void fleet_emit_fn(void *ctx, const struct fleet_message *m);

/* A new fleet whose first sample will be taken at start_ms (whole seconds). */
struct fleet *fleet_new(const struct fleet_config *config, int64_t start_ms);
void fleet_free(struct fleet *f);

/* One second passes; every meter measures, and those that are due publish. */
void fleet_step(struct fleet *f, const struct fleet_pace *pace, fleet_emit_fn *emit, void *ctx);

/* What meter i knows of its connection to the broker. */
void fleet_set_connection(struct fleet *f, size_t i, bool connected, int64_t attempts);

#endif
