/*
 * What a household switches on: a base load and appliances with their hours, drawn anew for each
 * local day. Two sums come out: the appliances behind the smart meter's relay (air conditioner,
 * pump, washing machine) and everything else.
 */
#ifndef METER_SIM_HOUSE_H
#define METER_SIM_HOUSE_H

#include <stddef.h>
#include <stdint.h>

enum { HOUSE_RUNS_MOST = 192 };

/* An appliance running, in seconds of the local day. */
struct run {
    int32_t from_s, to_s;
    float watts;
    int32_t smart;
};

/* The plan of one day, derived from seed, meter and day; only a cache, never saved. */
struct house {
    uint64_t seed, meter;
    int64_t day;
    size_t n;
    struct run run[HOUSE_RUNS_MOST];
    int32_t from_s, to_s; /* the sums below hold within these seconds */
    double smart_w, home_w;
    double base_w;
};

struct house_load {
    double smart_w, home_w;
};

void house_init(struct house *h, uint64_t seed, uint64_t meter);

/* Load at a local time (ms since 1970 by the local calendar). */
struct house_load house_load_at(struct house *h, int64_t local_ms);

#endif
