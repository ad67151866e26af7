/*
 * What one process remembers of every meter it has heard of. It is a memory, not a store: losing
 * it costs one look-up per meter.
 */
#ifndef STAGES_METER_TABLE_H
#define STAGES_METER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reading.h"

struct meter_state {
    char meter_id[METER_ID_SIZE];
    bool known;                     /* newest_ms was read from the hot store */
    int64_t newest_ms[TOPIC_COUNT]; /* newest message time stored, INT64_MIN: none */
    int64_t trial_ms[TOPIC_COUNT];  /* the same, counting the batch being stored */
    uint64_t trial;                 /* which batch trial_ms belongs to */
    int64_t partial_after_ms;       /* no further sample of a partial message before this */
};

struct meter_table {
    struct meter_state **slots; /* open addressing; capacity is a power of two */
    size_t capacity, n;
};

void meter_table_init(struct meter_table *t);
void meter_table_clear(struct meter_table *t);

/* What was read from the hot store must be read again. */
void meter_table_forget(struct meter_table *t);

/* The meter's state, made when it is new. Stays where it is until meter_table_clear. */
struct meter_state *meter_table_get(struct meter_table *t, const char *meter_id);

#endif
