#include "base/backoff.h"

/* S. Vigna, splitmix64, public domain description: http://prng.di.unimi.it/splitmix64.c */
uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t backoff_next_ms(struct backoff *b)
{
    int64_t ceiling = b->first_ms;

    for (unsigned i = 0; i < b->failures && ceiling < b->most_ms; i++)
        ceiling *= 2;
    if (ceiling > b->most_ms)
        ceiling = b->most_ms;
    b->failures++;
    return 1 + (int64_t)(random_next(&b->state) % (uint64_t)ceiling);
}

void backoff_reset(struct backoff *b)
{
    b->failures = 0;
}
