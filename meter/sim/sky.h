/*
 * The sky over the fleet at one moment: where the sun stands, what its light would be without
 * clouds, and how much of it each region gets. Jakarta; neighbours share the weather of a region.
 */
#ifndef METER_SIM_SKY_H
#define METER_SIM_SKY_H

#include <stdint.h>

enum { SKY_REGIONS = 4 };

struct sky {
    double clear_w_m2;             /* global horizontal irradiance without clouds */
    double clearness[SKY_REGIONS]; /* share of it that arrives; above 1 at a cloud's bright edge */
    double air_c;
    double evening; /* 0..1: how far the evening peak of the grid has come */
};

struct sky sky_at(uint64_t seed, int64_t utc_ms);

#endif
