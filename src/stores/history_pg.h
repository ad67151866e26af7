/*
 * What the files of the PostgreSQL history share: the connection, queries with binary arguments,
 * rows in both directions. Nobody else includes this.
 *
 * Every statement goes through pg_query, pg_run or pg_copy. They connect when there is no
 * connection, wait no longer than the time-out allows (a server that hangs is given up as one that
 * is gone), and turn what the server says into an error of the right kind. A connection that is
 * broken or in doubt is closed on the spot, so a later call finds either a good one or none.
 */
#ifndef STORES_HISTORY_PG_H
#define STORES_HISTORY_PG_H

#include <libpq-fe.h>

#include "stores/history.h"

enum pg_lock {
    PG_LOCK_NONE, /* never asked for, or another holds it: reconnect as one likes */
    PG_LOCK_HELD,
    PG_LOCK_LOST, /* held once, the connection broke: nothing is done before it is held again */
};

struct history_pg {
    struct history base;
    PGconn *conn; /* NULL: not connected */
    enum pg_lock lock;
    char *url;
    char *application_name;
    int connect_timeout_s;
    int statement_timeout_ms;
    int64_t deadline_ms; /* of the statement that runs, on the monotonic clock; 0: none */
    char where[160];     /* "postgresql HOST:PORT/DATABASE", for error texts */
};

/* ---- Arguments ---------------------------------------------------------------------------- */

enum { PG_ARGS_MOST = 8 };

/* Arguments $1, $2, ... in PostgreSQL's binary form. One at a time; an array is begun and ended. */
struct pg_args {
    struct buf bytes;
    int n;
    Oid types[PG_ARGS_MOST];
    size_t starts[PG_ARGS_MOST];
    int lengths[PG_ARGS_MOST];
};

void pg_args_init(struct pg_args *a);
void pg_args_clear(struct pg_args *a);

void pg_arg_text(struct pg_args *a, const char *s);
void pg_arg_int8(struct pg_args *a, int64_t n);
void pg_arg_time(struct pg_args *a, int64_t ms);

void pg_arg_texts(struct pg_args *a, size_t n);      /* begin a text[] of n elements */
void pg_arg_times(struct pg_args *a, size_t n);      /* begin a timestamptz[] of n elements */
void pg_item_text(struct pg_args *a, const char *s); /* NULL: null */
void pg_item_time(struct pg_args *a, int64_t ms);
void pg_item_null(struct pg_args *a);
void pg_arg_end(struct pg_args *a);

/* ---- Statements --------------------------------------------------------------------------- */

/* One statement; args may be NULL. Its result has binary values and is the caller's to PQclear. */
PGresult *pg_query(struct history_pg *p, const char *sql, const struct pg_args *args,
                   struct err *e);

/* The same without a result. */
bool pg_run(struct history_pg *p, const char *sql, const struct pg_args *args, struct err *e);

/* Several statements in one text, without arguments or results. */
bool pg_script(struct history_pg *p, const char *sql, struct err *e);

/* COPY ... FROM STDIN with these bytes. */
bool pg_copy(struct history_pg *p, const char *sql, const struct buf *bytes, struct err *e);

/* Rows as text, one by one, never more than one in memory. fn ends it early by false. */
bool pg_stream(struct history_pg *p, const char *sql, const struct pg_args *args,
               bool (*fn)(void *ctx, const PGresult *row), void *ctx, struct err *e);

/* After a failure inside a transaction: the connection is usable again, or gone. */
void pg_abort(struct history_pg *p);

/* BEGIN, body, COMMIT; or all of it undone. */
bool pg_transaction(struct history_pg *p,
                    bool (*body)(struct history_pg *p, void *ctx, struct err *e), void *ctx,
                    struct err *e);

void pg_disconnect(struct history_pg *p);

/* 9999-12-31T00:00:00Z: later bounds mean "no end" and have no four-digit year. */
#define PG_TIME_MS_MOST INT64_C(253402214400000)

/* An instant as PostgreSQL counts it; held between 1970 and PG_TIME_MS_MOST. */
int64_t pg_micros(int64_t ms);

/* Values of a binary result. */
int64_t pg_int(const PGresult *r, int row, int column); /* int2, int4, int8; a boolean */
int64_t pg_time_ms(const PGresult *r, int row, int column);
double pg_double(const PGresult *r, int row, int column); /* float8 */

/* ---- Rows --------------------------------------------------------------------------------- */

/* ",\"n\",\"n_status\",..." with alias in front of each: what pg_read_minute reads. */
void pg_write_value_columns(struct buf *b, const char *alias);

/* Values of a row from binary columns that begin at first; leaves meter_id and bucket_ms alone. */
void pg_read_minute(const PGresult *r, int row, int first, struct minute *out);

bool history_pg_replace(struct history *h, struct minute *rows, size_t n, history_decide_fn *decide,
                        void *ctx, struct err *e);

/* ---- Schema ------------------------------------------------------------------------------- */

struct pg_migration {
    int version;
    const char *name;
    const char *sql;
};

/* sql/, in order. */
extern const struct pg_migration pg_migrations[];
extern const size_t pg_migration_count;

bool history_pg_migrate(struct history *h, int64_t now_ms, struct err *e);
bool history_pg_check_schema(struct history *h, struct err *e);
bool history_pg_partitions(struct history *h, int64_t from_ms, int64_t to_ms, struct err *e);

#endif
