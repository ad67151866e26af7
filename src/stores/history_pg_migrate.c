/*
 * The schema: files of sql/ once each, then telemetry_aggregates as the list of metrics has it.
 */
#include <string.h>

#include "core/when.h"
#include "stores/history_pg.h"

/* Days beyond today that migrate makes partitions for. */
#define DAYS_AHEAD 7

/* "migrate?" in ASCII: two that migrate at once do so one after the other. */
#define MIGRATE_KEY "7883946363647714623"

/* How long adding columns may wait for readers: others queue up behind it. */
#define ALTER_WAIT "30s"

/* ---- Migrations --------------------------------------------------------------------------- */

/* 1 applied, 0 not yet, -1 failed. A file that is not the one that was applied is a failure. */
static int migration_state(struct history_pg *p, const struct pg_migration *m, struct err *e)
{
    struct pg_args args;

    pg_args_init(&args);
    pg_arg_int8(&args, m->version);
    pg_arg_text(&args, m->sql);
    PGresult *r = pg_query(p,
                           "SELECT checksum = encode(sha256(convert_to($2, 'UTF8')), 'hex')"
                           " FROM schema_migrations WHERE version = $1",
                           &args, e);
    pg_args_clear(&args);
    if (!r)
        return -1;
    int state = PQntuples(r) > 0;
    bool same = !state || pg_int(r, 0, 0) == 1;
    PQclear(r);
    if (same)
        return state;
    err_set(e, ERR_FATAL,
            "%s: migration %03d_%s was changed after it was applied here: restore the file and put "
            "the change into a new one",
            p->where, m->version, m->name);
    return -1;
}

static bool apply_migration(struct history_pg *p, const struct pg_migration *m, struct err *e)
{
    struct pg_args args;

    if (!pg_script(p, m->sql, e))
        return err_prefix(e, "migration %03d_%s: ", m->version, m->name);
    pg_args_init(&args);
    pg_arg_int8(&args, m->version);
    pg_arg_text(&args, m->name);
    pg_arg_text(&args, m->sql);
    bool ok = pg_run(p,
                     "INSERT INTO schema_migrations (version, name, checksum) VALUES"
                     " ($1, $2, encode(sha256(convert_to($3, 'UTF8')), 'hex'))",
                     &args, e);
    pg_args_clear(&args);
    return ok;
}

static bool table_exists(struct history_pg *p, const char *table, bool *exists, struct err *e)
{
    struct pg_args args;

    pg_args_init(&args);
    pg_arg_text(&args, table);
    PGresult *r = pg_query(p, "SELECT to_regclass($1) IS NOT NULL", &args, e);
    pg_args_clear(&args);
    *exists = r && pg_int(r, 0, 0) == 1;
    PQclear(r);
    return r != NULL;
}

static bool apply_migrations(struct history_pg *p, struct err *e)
{
    bool begun;

    /* The first migration makes the table that tells which were applied. */
    if (!table_exists(p, "schema_migrations", &begun, e))
        return false;
    for (size_t i = 0; i < pg_migration_count; i++) {
        int state = begun ? migration_state(p, &pg_migrations[i], e) : 0;
        if (state < 0 || (state == 0 && !apply_migration(p, &pg_migrations[i], e)))
            return false;
    }
    return true;
}

/* ---- telemetry_aggregates ----------------------------------------------------------------- */

static bool create_aggregates(struct history_pg *p, struct err *e)
{
    struct buf sql;

    buf_init(&sql, 0);
    buf_adds(&sql, "CREATE TABLE telemetry_aggregates (\n");
    schema_write_columns(&sql);
    buf_adds(&sql, ") PARTITION BY RANGE (bucket);\n"
                   "CREATE INDEX telemetry_aggregates_bucket ON telemetry_aggregates"
                   " USING brin (bucket) WITH (pages_per_range = 32, autosummarize = on)");
    bool ok = pg_script(p, sql.data, e);
    buf_clear(&sql);
    return ok;
}

/* Columns that are not as the list has them: index, name, SQL type, type found (null: missing). */
static PGresult *find_differences(struct history_pg *p, struct err *e)
{
    struct pg_args args;

    pg_args_init(&args);
    pg_arg_texts(&args, SCHEMA_COLUMN_COUNT);
    for (size_t i = 0; i < SCHEMA_COLUMN_COUNT; i++)
        pg_item_text(&args, schema_column_name(i));
    pg_arg_end(&args);
    pg_arg_texts(&args, SCHEMA_COLUMN_COUNT);
    for (size_t i = 0; i < SCHEMA_COLUMN_COUNT; i++)
        pg_item_text(&args, schema_column_type(i));
    pg_arg_end(&args);
    PGresult *r = pg_query(
        p,
        "SELECT w.i - 1, w.name, w.type, format_type(a.atttypid, NULL)"
        " FROM unnest($1, $2) WITH ORDINALITY AS w (name, type, i) LEFT JOIN pg_attribute a"
        " ON a.attrelid = 'telemetry_aggregates'::regclass AND a.attname = w.name"
        " AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE a.atttypid IS DISTINCT FROM w.type::regtype ORDER BY w.i",
        &args, e);
    pg_args_clear(&args);
    return r;
}

/* Only a metric's column that is missing can be mended. */
static bool refuse_difference(struct history_pg *p, const PGresult *r, int row, struct err *e)
{
    const char *name = PQgetvalue(r, row, 1);
    const char *type = PQgetvalue(r, row, 2);

    if (!PQgetisnull(r, row, 3))
        return err_set(e, ERR_FATAL,
                       "%s: column %s of telemetry_aggregates is of type %s, not %s: rename it or "
                       "change its type",
                       p->where, name, PQgetvalue(r, row, 3), type);
    if (pg_int(r, row, 0) < SCHEMA_FIXED_COUNT)
        return err_set(e, ERR_FATAL,
                       "%s: telemetry_aggregates has no column %s: it is not this program's table",
                       p->where, name);
    return true;
}

static bool add_missing_columns(struct history_pg *p, struct err *e)
{
    struct buf sql;
    PGresult *r = find_differences(p, e);
    bool ok = r != NULL;

    buf_init(&sql, 0);
    for (int row = 0; ok && row < PQntuples(r); row++) {
        ok = refuse_difference(p, r, row, e);
        buf_addf(&sql, "%s ADD COLUMN \"%s\" %s",
                 row > 0 ? "," : "ALTER TABLE telemetry_aggregates", PQgetvalue(r, row, 1),
                 PQgetvalue(r, row, 2));
    }
    PQclear(r);
    if (ok && sql.len > 0)
        ok = pg_run(p, "SET LOCAL lock_timeout = '" ALTER_WAIT "'", NULL, e) &&
             pg_run(p, sql.data, NULL, e);
    buf_clear(&sql);
    return ok;
}

/* ---- Operations --------------------------------------------------------------------------- */

bool history_pg_partitions(struct history *h, int64_t from_ms, int64_t to_ms, struct err *e)
{
    struct pg_args args;

    pg_args_init(&args);
    pg_arg_time(&args, from_ms);
    pg_arg_time(&args, to_ms);
    bool ok = pg_run((struct history_pg *)h,
                     "SELECT telemetry_add_day(day::date) FROM"
                     " generate_series(date_trunc('day', $1), $2, '1 day') AS day",
                     &args, e);
    pg_args_clear(&args);
    return ok;
}

static bool migrate(struct history_pg *p, void *ctx, struct err *e)
{
    bool exists;

    (void)ctx;
    return pg_run(p, "SET LOCAL statement_timeout = 0", NULL, e) &&
           pg_run(p, "SELECT pg_advisory_xact_lock(" MIGRATE_KEY ")", NULL, e) &&
           apply_migrations(p, e) && table_exists(p, "telemetry_aggregates", &exists, e) &&
           (exists || create_aggregates(p, e)) && add_missing_columns(p, e);
}

bool history_pg_migrate(struct history *h, int64_t now_ms, struct err *e)
{
    struct history_pg *p = (struct history_pg *)h;
    int statement_timeout_ms = p->statement_timeout_ms;

    p->statement_timeout_ms = 0; /* building a schema takes what it takes */
    bool ok = pg_transaction(p, migrate, NULL, e);
    p->statement_timeout_ms = statement_timeout_ms;
    return ok && history_pg_partitions(h, now_ms, now_ms + DAYS_AHEAD * DAY_MS, e);
}

static bool too_old(struct history_pg *p, struct err *e)
{
    return err_set(e, ERR_FATAL,
                   "%s: the schema is older than this program: run \"enerlink migrate\"", p->where);
}

bool history_pg_check_schema(struct history *h, struct err *e)
{
    struct history_pg *p = (struct history_pg *)h;
    bool registered, exists;

    if (!table_exists(p, "schema_migrations", &registered, e) ||
        !table_exists(p, "telemetry_aggregates", &exists, e))
        return false;
    if (!registered || !exists)
        return too_old(p, e);
    for (size_t i = 0; i < pg_migration_count; i++) {
        int state = migration_state(p, &pg_migrations[i], e);
        if (state <= 0)
            return state == 0 ? too_old(p, e) : false;
    }
    PGresult *r = find_differences(p, e);
    if (!r)
        return false;
    bool ok = PQntuples(r) == 0 || (refuse_difference(p, r, 0, e) && too_old(p, e));
    PQclear(r);
    return ok;
}
