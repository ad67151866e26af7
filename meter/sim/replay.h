/*
 * A recorded trace: one row a minute, replayed by the local time of day.
 *
 * The file is CSV with a header line that names the columns; local_time comes first. Rows are one
 * minute apart and begin at midnight; a file of several days is gone through day by day, and then
 * from its start again. traces/SOURCES.md describes the files that come with the project.
 */
#ifndef METER_SIM_REPLAY_H
#define METER_SIM_REPLAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { REPLAY_COLUMNS_MOST = 2 };

struct replay {
    size_t rows;
    double (*row)[REPLAY_COLUMNS_MOST];
};

/* Read the named columns (NULL ends the list early) of the file at path. NULL on failure. */
struct replay *replay_load(const char *path, const char *const columns[REPLAY_COLUMNS_MOST],
                           struct err *e) MUST_CHECK;
void replay_free(struct replay *r);

/* The row of a local time (ms since 1970 by the local calendar). */
const double *replay_row(const struct replay *r, int64_t local_ms);

#endif
