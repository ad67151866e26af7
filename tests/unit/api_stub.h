/*
 * The two stores as the API sees them, in this process: any number of handles over one set of
 * facts, and switches that make a store fail or hang.
 */
#ifndef TESTS_API_STUB_H
#define TESTS_API_STUB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "stores/history.h"
#include "stores/hot.h"

enum { STUB_METERS_MOST = 16 };

struct stub_meter {
    const char *id; /* in byte order */
    const char *data, *status;
    int64_t seen_ms;
};

struct stub {
    struct stub_meter meters[STUB_METERS_MOST];
    size_t n_meters;
    const char *health; /* what get_health gives */
    atomic_bool hot_fails, history_fails;
    atomic_int hot_delay_ms, history_delay_ms;
    atomic_int latest_calls, put_health_calls;
};

/* For api_options: ctx is struct stub. */
struct hot *stub_open_hot(void *ctx);

/*
 * Every meter has a row for every minute. Number columns hold the minute's number since the start
 * of its hour, text columns "idle"; SCHEMA_QUALITY is absent; the average of import.power is NaN.
 */
struct history *stub_open_history(void *ctx);

#endif
