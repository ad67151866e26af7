/*
 * What a test can do to the hot store in memory that it cannot do to a server. Every struct hot
 * here is from hot_ram_open or hot_ram_share.
 */
#ifndef STORES_HOT_RAM_H
#define STORES_HOT_RAM_H

#include <stdbool.h>

#include "base/clock.h"
#include "stores/hot.h"
#include "stores/ram_fault.h"

/* Another process's handle to the same store, which lives until its last handle is closed. */
struct hot *hot_ram_share(struct hot *h);

/*
 * Asked before every call of this handle. Copied; NULL: nothing fails any more. A Redis that is
 * full refuses store and put_health only, one that is read-only refuses all that write.
 */
void hot_ram_set_faults(struct hot *h, const struct ram_faults *faults);

/*
 * The next n calls of this handle fail with ERR_RETRY: before anything is done, or, with applied,
 * after it was done, as when the answer is lost. Comes before what the faults say.
 */
void hot_ram_fail_next(struct hot *h, int n, bool applied);

/* Would store of this handle be refused, because another one took its name? */
bool hot_ram_is_fenced(const struct hot *h);

/* The server's clock, by which time series expire. Without one nothing ever does. */
void hot_ram_set_clock(struct hot *h, const struct clock *clock);

/* The server stops and starts again: nothing is lost, but the next call of every handle fails. */
void hot_ram_restart(struct hot *h);

/* What the store holds now, expired series left out. */
struct hot_ram_counts {
    size_t members;         /* of all time series */
    size_t member_bytes;    /* memory kept for them */
    size_t minutes_waiting; /* for aggregation */
    size_t minutes_claimed; /* and not released */
};
struct hot_ram_counts hot_ram_count(const struct hot *h);

#endif
