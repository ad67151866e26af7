/*
 * Time as something one is given. A stage reads the clock it was handed, so that a test can run
 * it under simulated time. wall_ms is UTC in milliseconds since 1970 and may jump; mono_ms only
 * ever advances and is for timeouts; sleep_ms waits (a simulated clock just moves on).
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*wall_ms)(void *ctx);
    int64_t (*mono_ms)(void *ctx);
    void (*sleep_ms)(void *ctx, int64_t ms);
    void *ctx;
};

/* The machine's own clock. */
const struct clock *clock_system(void);

static inline int64_t clock_wall_ms(const struct clock *c)
{
    return c->wall_ms(c->ctx);
}

static inline int64_t clock_mono_ms(const struct clock *c)
{
    return c->mono_ms(c->ctx);
}

static inline void clock_sleep_ms(const struct clock *c, int64_t ms)
{
    c->sleep_ms(c->ctx, ms);
}

#endif
