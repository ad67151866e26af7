/*
 * Preloaded into every process of a test, moves its wall clock by TIMESHIFT_S seconds. Monotonic
 * time stays, as it does when a machine was switched off over night. System calls are made
 * directly: an allocator may ask for the time before anything else is ready.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift_s(void)
{
    static long shift, known;

    if (!known) {
        const char *s = getenv("TIMESHIFT_S");
        shift = s ? atol(s) : 0;
        known = 1;
    }
    return shift;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    long result = syscall(SYS_clock_gettime, id, t);

    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        t->tv_sec += shift_s();
    return (int)result;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &t) != 0)
        return -1;
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}
