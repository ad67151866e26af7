#include "base/clock.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

static int64_t read_ms(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t system_wall_ms(void *ctx)
{
    (void)ctx;
    return read_ms(CLOCK_REALTIME);
}

static int64_t system_mono_ms(void *ctx)
{
    (void)ctx;
    return read_ms(CLOCK_MONOTONIC);
}

/* A signal ends the wait early: the caller's loop looks whether it is to stop. */
static void system_sleep_ms(void *ctx, int64_t ms)
{
    (void)ctx;
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

const struct clock *clock_system(void)
{
    static const struct clock c = {.wall_ms = system_wall_ms,
                                   .mono_ms = system_mono_ms,
                                   .sleep_ms = system_sleep_ms,
                                   .ctx = NULL};
    return &c;
}
