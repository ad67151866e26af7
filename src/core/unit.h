/*
 * The "units" of a payload: which key governs which metrics, the names a meter may give, and how
 * a value in that unit becomes one in the metric's own.
 *
 * A key that is absent means the metric's own unit. Battery capacity and counts have no key.
 */
#ifndef CORE_UNIT_H
#define CORE_UNIT_H

#include <stddef.h>

#include "core/metric.h"

enum unit_key {
    UNIT_KEY_DATETIME, /* governs no metric; its one name is ISO8601 */
    UNIT_KEY_VOLTAGE,
    UNIT_KEY_CURRENT,
    UNIT_KEY_POWER,
    UNIT_KEY_ENERGY,
    UNIT_KEY_BATTERY_SOC,
    UNIT_KEY_BATTERY_CHARGE_RATE,
    UNIT_KEY_UPTIME,
    UNIT_KEY_FREE_HEAP,
    UNIT_KEY_RSSI,
    UNIT_KEY_COUNT,
};

/*
 * value * times / per is in the metric's unit. One of the two is 1 and both are whole, so the
 * result is rounded once.
 */
struct unit_scale {
    const char *name;
    double times, per;
};

enum { UNIT_SCALES_MOST = 4 };

struct unit_key_info {
    const char *key;                                /* "voltage" */
    enum metric_unit governs;                       /* UNIT_NONE: no metric */
    struct unit_scale scales[UNIT_SCALES_MOST + 1]; /* ends with name NULL */
};

extern const struct unit_key_info unit_key_table[UNIT_KEY_COUNT];

/* The scale with this name, capitals as written (mW is not MW); NULL when the key has none. */
const struct unit_scale *unit_scale_by_name(enum unit_key key, const char *name, size_t len);

#endif
