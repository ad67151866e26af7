/*
 * The whole pipeline under simulated time: meters that publish, a broker, ingest and aggregate
 * processes (the stages' own steps) over stores in memory, and the troubles of the plan. One
 * thread, one seed, no clock but its own; what happens depends on the plan alone.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "meters.h"
#include "trace.h"

struct world_report {
    bool sound;
    char invariant[48]; /* which was broken */
    char text[400];
    int64_t at_ms;
    uint64_t messages; /* published, duplicates included */
    uint64_t rows;
    uint64_t hash; /* of the trace and of the rows */
};

/*
 * Let the plan happen; its messages' fates are filled in. The trace is the caller's, so that it can
 * print the last events.
 */
void world_run(struct plan *p, struct trace *t, FILE *trace_all, struct world_report *out);

#endif
