/*
 * The list of metrics (metric.def) as an enum, a table and the columns of a minute row.
 *
 * A metric is known by its path in the payload ("import.total_energy"), an aggregate by its
 * column ("import_total_energy_inc"): the path with '_' for '.', plus the statistic.
 */
#ifndef CORE_METRIC_H
#define CORE_METRIC_H

#include <stdbool.h>
#include <stddef.h>

/* A test may compile the whole core over a longer list. */
#ifndef METRIC_DEF
#define METRIC_DEF "core/metric.def"
#endif

enum topic {
    TOPIC_DATA,
    TOPIC_STATUS,
    TOPIC_COUNT,
};

enum metric_kind {
    KIND_GAUGE,
    KIND_POWER,
    KIND_COUNTER,
    KIND_BALANCE,
    KIND_FLAG,
    KIND_STATE,
    KIND_TEXT,
};

enum metric_unit {
    UNIT_NONE,
    UNIT_V,
    UNIT_MA,
    UNIT_MW,
    UNIT_WH,
    UNIT_MAH,
    UNIT_PCT,
    UNIT_PCT_H,
    UNIT_DBM,
    UNIT_BYTES,
    UNIT_MS,
};

enum metric {
#define METRIC(id, topic, path, kind, unit, limits, meaning) METRIC_##id,
#include METRIC_DEF
#undef METRIC
    METRIC_COUNT,
};

enum { METRIC_WORDS_MOST = 8 };

struct metric_info {
    const char *id;
    const char *path;
    enum topic topic;
    enum metric_kind kind;
    enum metric_unit unit;
    double lo, hi;                        /* both inclusive; -inf, +inf without a range */
    const char *words[METRIC_WORDS_MOST]; /* vocabulary of a STATE; its value is the index */
    const char *meaning;
};

extern const struct metric_info metric_table[METRIC_COUNT];

/* "enerlink/meters/data", "data" */
const char *topic_path(enum topic t);
const char *topic_name(enum topic t);

/* "mW"; "" for UNIT_NONE. */
const char *unit_name(enum metric_unit u);

/* Metric with this path; METRIC_COUNT when there is none. */
enum metric metric_by_path(const char *path);

/* Index of word in the vocabulary of m, -1 when it is not in it. word need not end in NUL. */
int metric_word(enum metric m, const char *word, size_t len);

/* ---- Columns ------------------------------------------------------------------------------ */

enum column_stat {
    STAT_AVG,
    STAT_MIN,
    STAT_MAX,
    STAT_WH,
    STAT_LAST,
    STAT_INC,
    STAT_TRUE,
    STAT_CHANGES,
};

enum column_type {
    COLUMN_FLOAT4,
    COLUMN_FLOAT8,
    COLUMN_TEXT, /* a word of the metric's vocabulary */
};

/* Statistics of each kind, in the order of their columns. */
#define COLUMNS_OF_GAUGE 3   /* avg min max */
#define COLUMNS_OF_POWER 4   /* avg min max wh */
#define COLUMNS_OF_COUNTER 2 /* last inc */
#define COLUMNS_OF_BALANCE 1 /* last */
#define COLUMNS_OF_FLAG 1    /* true */
#define COLUMNS_OF_STATE 2   /* last changes */
#define COLUMNS_OF_TEXT 0

/* Index of the first column of each metric: COLUMN_IMPORT_POWER, and so on. */
enum column {
#define METRIC(id, topic, path, kind, unit, limits, meaning)                                       \
    COLUMN_##id, COLUMN_AFTER_##id = COLUMN_##id + COLUMNS_OF_##kind - 1,
#include METRIC_DEF
#undef METRIC
    COLUMN_COUNT,
};

enum { COLUMN_NAME_SIZE = 64 };

struct column_info {
    char name[COLUMN_NAME_SIZE];
    enum metric metric;
    enum column_stat stat;
    enum column_type type;
};

/* COLUMN_COUNT entries, in table order. Built at the first call; thread-safe. */
const struct column_info *column_table(void);

/* First column of metric m; the number of its columns into *n (0 for TEXT). */
size_t metric_columns(enum metric m, size_t *n);

/* Index of the column with this name, -1 when there is none. */
int column_by_name(const char *name);

/* Unit of a column's values: Wh for _wh, a count ("") for _true and _changes, else the metric's. */
const char *column_unit(const struct column_info *c);

#endif
