/*
 * Chance without state: every random number of the simulated world is a pure function of the
 * seed, of who asks (a meter, a region), of what for (a stream) and of when (a tick). The same
 * seed gives the same world in any order of asking, and it can be entered at any time.
 */
#ifndef METER_SIM_NOISE_H
#define METER_SIM_NOISE_H

#include <stdint.h>

/* One source of numbers: a seed, somebody and a purpose. */
struct noise {
    uint64_t key;
};

struct noise noise_make(uint64_t seed, uint64_t who, uint64_t stream);

uint64_t noise_hash(struct noise n, uint64_t tick);

/* Uniform in [0, 1). */
double noise_unit(struct noise n, uint64_t tick);

/* Nearly normal (sum of four uniforms): mean 0, deviation 1, never beyond 3.5. */
double noise_normal(struct noise n, uint64_t tick);

/* A curve through one normal number per period: mean 0, deviation about 0.8. */
double noise_smooth(struct noise n, int64_t t_ms, int64_t period_ms);

#endif
