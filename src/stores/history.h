/*
 * History: one row per meter and minute, kept for a year.
 *
 * The store only reads rows and replaces rows. Which of two rows stays is decided by the caller's
 * pure function between reading and writing, inside one transaction, so a crash leaves either
 * all of a batch or nothing of it.
 *
 * history_pg.c talks to PostgreSQL 15; history_ram.c lives in the process, for tests. Calls block,
 * at most the time-outs given at open.
 */
#ifndef STORES_HISTORY_H
#define STORES_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/minute.h"
#include "core/schema.h"

struct history_key {
    const char *meter_id;
    int64_t bucket_ms;
};

/*
 * For row i of the batch: old is what the table holds (NULL: nothing), *row what was computed.
 * True: write *row (the function may have changed it); false: the old row stays.
 */
typedef bool history_decide_fn(void *ctx, size_t i, const struct minute *old, struct minute *row);

/*
 * One row as text cells in the order of the columns asked for; NULL cells are absent values. The
 * bucket is text in ISO 8601 with Z. False ends the query early, which is no error.
 */
typedef bool history_row_fn(void *ctx, const char *const *cells, const size_t *lengths);

struct history_query {
    const char *meter_id;  /* NULL: all meters, in order of bucket, then meter */
    int64_t start_ms;      /* inclusive */
    int64_t end_ms;        /* exclusive */
    const size_t *columns; /* schema column indexes */
    size_t n_columns;
    const char *after_meter; /* with after_bucket_ms: continue behind this row; NULL: from start */
    int64_t after_bucket_ms;
    size_t limit;
};

struct history_meter {
    const char *meter_id;
    int64_t last_seen_ms;                /* 0: not known */
    const char *last_data, *last_status; /* JSON as published, NULL: not known */
};

struct history_durability {
    bool sound;
    char text[256];
};

struct history;

struct history_ops {
    /* Bring the schema to this program's version: migrations, new metrics' columns, partitions. */
    bool (*migrate)(struct history *h, int64_t now_ms, struct err *e);

    /* Fails with ERR_FATAL when the schema is older than this program ("run enerlink migrate"). */
    bool (*check_schema)(struct history *h, struct err *e);

    /*
     * Become the one aggregator: *got false when another holds the lock. It is held until close
     * or until the connection breaks; every later call fails with ERR_RETRY once it is lost, and
     * lock must be called again.
     */
    bool (*lock)(struct history *h, bool *got, struct err *e);

    /* The last row of each meter before bucket_ms; found[i] tells whether there is one. */
    bool (*earlier)(struct history *h, const char *const *ids, size_t n, int64_t bucket_ms,
                    struct minute *out, bool *found, struct err *e);

    /*
     * The last value of one column (of float8) of each meter before bucket_ms, NaN when none of
     * its rows has one.
     */
    bool (*last_values)(struct history *h, enum column column, const char *const *ids, size_t n,
                        int64_t bucket_ms, double *out, struct err *e);

    /* Start of the first row with data (n > 0) after each key, INT64_MAX when there is none. */
    bool (*next_buckets)(struct history *h, const struct history_key *keys, size_t n, int64_t *out,
                         struct err *e);

    /* Decide on and write rows (rising by meter within one bucket or more) in one transaction. */
    bool (*replace)(struct history *h, struct minute *rows, size_t n, history_decide_fn *decide,
                    void *ctx, struct err *e);

    /* Rows in chronological order (one meter). */
    bool (*select)(struct history *h, const struct history_query *q, history_row_fn *fn, void *ctx,
                   struct err *e);

    /* Enter meters into the registry; those known stay as they are but for what is given. */
    bool (*meters_seen)(struct history *h, const struct history_meter *m, size_t n, struct err *e);

    /* True in *known when the registry or the rows know the meter. */
    bool (*meter_known)(struct history *h, const char *meter_id, bool *known, struct err *e);

    /* Make partitions for days from_ms .. to_ms that are missing. */
    bool (*partitions)(struct history *h, int64_t from_ms, int64_t to_ms, struct err *e);

    bool (*durability)(struct history *h, struct history_durability *out, struct err *e);

    void (*close)(struct history *h);
};

struct history {
    const struct history_ops *ops;
};

struct history_pg_options {
    const char *url; /* postgresql://...; never logged whole */
    const char *application_name;
    int connect_timeout_s;
    int statement_timeout_ms; /* 0: none */
};

/* Does not connect yet: the first call does. NULL and *e when the URL is unusable. */
struct history *history_pg_open(const struct history_pg_options *o, struct err *e);

/* In this process; lost with it. */
struct history *history_ram_open(void);

#endif
