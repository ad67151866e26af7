#include "meter/sim/noise.h"

#define GOLDEN 0x9e3779b97f4a7c15u

/* Finaliser of splitmix64 (S. Vigna): every bit of the input reaches every bit of the output. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct noise noise_make(uint64_t seed, uint64_t who, uint64_t stream)
{
    return (struct noise){mix(mix(mix(seed + GOLDEN) + who * GOLDEN) + stream * GOLDEN)};
}

uint64_t noise_hash(struct noise n, uint64_t tick)
{
    return mix(n.key + (tick + 1) * GOLDEN);
}

double noise_unit(struct noise n, uint64_t tick)
{
    return (double)(noise_hash(n, tick) >> 11) * 0x1p-53;
}

double noise_normal(struct noise n, uint64_t tick)
{
    uint64_t h = noise_hash(n, tick);
    uint64_t sum = (h & 0xffff) + (h >> 16 & 0xffff) + (h >> 32 & 0xffff) + (h >> 48);

    /* The sum of four uniforms of [0, 65535] has mean 131070 and deviation 37837.2. */
    return ((double)sum - 131070.0) / 37837.2;
}

double noise_smooth(struct noise n, int64_t t_ms, int64_t period_ms)
{
    int64_t tick = t_ms / period_ms;
    double x = (double)(t_ms % period_ms) / (double)period_ms;
    double from = noise_normal(n, (uint64_t)tick), to = noise_normal(n, (uint64_t)tick + 1);

    return from + (to - from) * x * x * (3.0 - 2.0 * x);
}
