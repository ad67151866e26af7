/*
 * Aggregate: from the readings in the hot store to minute rows in history.
 *
 * Works through the list of minutes that ingest marked, by message time: claim a minute, read its
 * samples and their context, fold, replace rows in one transaction, release the claim. Whatever
 * is interrupted is done again and gives the same rows, so a crash at any point costs nothing.
 *
 * One process works at a time (a lock in the history store); a second waits as a hot spare. Work
 * claimed by a process that died is put back by its successor; a stalled one that wakes up can
 * delete nothing but its own claim, which is gone.
 */
#ifndef STAGES_AGGREGATE_H
#define STAGES_AGGREGATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "core/minute.h"
#include "stores/history.h"
#include "stores/hot.h"

struct aggregate_options {
    struct hot *hot;
    struct history *history;
    const struct clock *clock;
    const char *token; /* names this process's claims; unique among processes */
    struct register_limits limits;
    int64_t latest_ttl_ms; /* a meter silent for longer leaves the latest messages */
    int timeseries_ttl_s;  /* how long committed readings stay in the hot store */
    size_t chunk_meters;   /* meters in one transaction */
};

/* Since the start of the process. */
struct aggregate_counters {
    uint64_t minutes, rows_written, rows_unchanged, rows_kept, rows_merged, rows_rebased;
    uint64_t samples, conflicts, unreadable;
    int64_t last_minute_ms; /* newest minute committed, 0: none yet */
    int64_t oldest_due_ms;  /* oldest minute that waits although it is due, 0: none */
    int64_t last_work_ms;   /* how long the last claimed minute took */
    size_t last_work_meters;
};

struct aggregate;

/* The options' stores, clock and token stay the caller's. */
struct aggregate *aggregate_new(const struct aggregate_options *o);
void aggregate_free(struct aggregate *a);

/*
 * One bounded piece of work: one waiting minute, or house-keeping when none is due. *busy: there
 * is more to do at once. False and *e when a store failed; call again after a pause.
 */
bool aggregate_step(struct aggregate *a, bool *busy, struct err *e);

/* True while this process is the one that works. */
bool aggregate_leads(const struct aggregate *a);
const struct aggregate_counters *aggregate_counters(const struct aggregate *a);

/* The stage's line for hot_put_health, as a JSON object. */
void aggregate_write_health(const struct aggregate *a, struct buf *out);

#endif
