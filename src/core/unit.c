#include "core/unit.h"

#include <string.h>

const struct unit_key_info unit_key_table[UNIT_KEY_COUNT] = {
    [UNIT_KEY_DATETIME] = {"datetime", UNIT_NONE, {{"ISO8601", 1, 1}}},
    [UNIT_KEY_VOLTAGE] = {"voltage", UNIT_V, {{"V", 1, 1}, {"mV", 1, 1e3}, {"kV", 1e3, 1}}},
    [UNIT_KEY_CURRENT] = {"current", UNIT_MA, {{"mA", 1, 1}, {"A", 1e3, 1}}},
    [UNIT_KEY_POWER] = {"power", UNIT_MW, {{"mW", 1, 1}, {"W", 1e3, 1}, {"kW", 1e6, 1}}},
    [UNIT_KEY_ENERGY] = {"energy",
                         UNIT_WH,
                         {{"Wh", 1, 1}, {"mWh", 1, 1e3}, {"kWh", 1e3, 1}, {"MWh", 1e6, 1}}},
    [UNIT_KEY_BATTERY_SOC] = {"battery_soc", UNIT_PCT, {{"%", 1, 1}}},
    [UNIT_KEY_BATTERY_CHARGE_RATE] = {"battery_charge_rate",
                                      UNIT_PCT_H,
                                      {{"%/hr", 1, 1}, {"%/h", 1, 1}}},
    [UNIT_KEY_UPTIME] = {"uptime", UNIT_MS, {{"ms", 1, 1}}},
    [UNIT_KEY_FREE_HEAP] = {"free_heap", UNIT_BYTES, {{"bytes", 1, 1}}},
    [UNIT_KEY_RSSI] = {"rssi", UNIT_DBM, {{"dBm", 1, 1}}},
};

const struct unit_scale *unit_scale_by_name(enum unit_key key, const char *name, size_t len)
{
    for (const struct unit_scale *s = unit_key_table[key].scales; s->name; s++)
        if (strlen(s->name) == len && memcmp(s->name, name, len) == 0)
            return s;
    return NULL;
}
