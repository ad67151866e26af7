/*
 * Rows to and from PostgreSQL's binary form, and the transaction that replaces rows.
 *
 * Of a batch, rows that are new go straight into telemetry_aggregates; rows that take the place of
 * others go into a temporary table of the session and from there over the old ones.
 */
#include <assert.h>
#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/when.h"
#include "stores/history_pg.h"

enum {
    CHUNK_ROWS = 1000,   /* read, decided and sent at a time, so that memory stays bounded */
    WORD_SIZE_MOST = 32, /* of a vocabulary */
    FIELD_HEAD = 4,
    ROW_SIZE_MOST = 2 + SCHEMA_FIXED_COUNT * (FIELD_HEAD + METER_ID_SIZE) +
                    COLUMN_COUNT * (FIELD_HEAD + WORD_SIZE_MOST),
};

/* ---- Reading ------------------------------------------------------------------------------ */

void pg_write_value_columns(struct buf *b, const char *alias)
{
    for (size_t i = SCHEMA_N; i < SCHEMA_COLUMN_COUNT; i++)
        buf_addf(b, ", %s.\"%s\"", alias, schema_column_name(i));
}

static double read_float4(const char *bytes)
{
    uint32_t bits;
    float f;

    memcpy(&bits, bytes, sizeof bits);
    bits = be32toh(bits);
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static double read_float8(const char *bytes)
{
    uint64_t bits;
    double d;

    memcpy(&bits, bytes, sizeof bits);
    bits = be64toh(bits);
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* A word that only a newer program knows is absent. */
static double read_word(const char *bytes, int len, enum metric m)
{
    int word = metric_word(m, bytes, (size_t)len);

    return word < 0 ? (double)NAN : (double)word;
}

static double read_value(const PGresult *r, int row, int at, const struct column_info *c)
{
    const char *bytes = PQgetvalue(r, row, at);

    if (PQgetisnull(r, row, at))
        return (double)NAN;
    switch (c->type) {
    case COLUMN_FLOAT4:
        return read_float4(bytes);
    case COLUMN_FLOAT8:
        return read_float8(bytes);
    case COLUMN_TEXT:
        break;
    }
    return read_word(bytes, PQgetlength(r, row, at), c->metric);
}

void pg_read_minute(const PGresult *r, int row, int first, struct minute *out)
{
    const struct column_info *columns = column_table();

    out->n = (int32_t)pg_int(r, row, first);
    out->n_status = (int32_t)pg_int(r, row, first + 1);
    out->sec_mask = (uint64_t)pg_int(r, row, first + 2);
    out->status_mask = (uint64_t)pg_int(r, row, first + 3);
    out->quality = (int16_t)pg_int(r, row, first + 4);
    for (int c = 0; c < COLUMN_COUNT; c++)
        out->v[c] = read_value(r, row, first + 5 + c, &columns[c]);
}

/* ---- Writing: COPY BINARY, PostgreSQL manual, "COPY", "Binary Format" --------------------- */

static const char copy_head[] =
    "PGCOPY\n\377\r\n\0" /* flags */ "\0\0\0\0" /* extension */ "\0\0\0\0";
static const char copy_tail[] = "\377\377";

static char *put_be16(char *at, uint16_t n)
{
    n = htobe16(n);
    memcpy(at, &n, sizeof n);
    return at + sizeof n;
}

static char *put_be32(char *at, uint32_t n)
{
    n = htobe32(n);
    memcpy(at, &n, sizeof n);
    return at + sizeof n;
}

static char *put_be64(char *at, uint64_t n)
{
    n = htobe64(n);
    memcpy(at, &n, sizeof n);
    return at + sizeof n;
}

static char *put_int2(char *at, int16_t n)
{
    return put_be16(put_be32(at, 2), (uint16_t)n);
}

static char *put_int4(char *at, int32_t n)
{
    return put_be32(put_be32(at, 4), (uint32_t)n);
}

static char *put_int8(char *at, int64_t n)
{
    return put_be64(put_be32(at, 8), (uint64_t)n);
}

static char *put_text(char *at, const char *s)
{
    size_t len = strlen(s);

    at = put_be32(at, (uint32_t)len);
    memcpy(at, s, len);
    return at + len;
}

static char *put_value(char *at, const struct column_info *c, double d)
{
    uint64_t bits;
    uint32_t bits4;
    float f;

    if (isnan(d))
        return put_be32(at, UINT32_MAX);
    switch (c->type) {
    case COLUMN_FLOAT4:
        f = (float)d;
        memcpy(&bits4, &f, sizeof bits4);
        return put_be32(put_be32(at, 4), bits4);
    case COLUMN_FLOAT8:
        memcpy(&bits, &d, sizeof bits);
        return put_be64(put_be32(at, 8), bits);
    case COLUMN_TEXT:
        break;
    }
    const char *word = metric_table[c->metric].words[(size_t)d];
    assert(word && strlen(word) <= WORD_SIZE_MOST);
    return put_text(at, word);
}

static void add_row(struct buf *b, const struct minute *row)
{
    const struct column_info *columns = column_table();
    char *start = buf_reserve(b, ROW_SIZE_MOST);
    char *at = put_be16(start, SCHEMA_COLUMN_COUNT);

    at = put_text(at, row->meter_id);
    at = put_int8(at, pg_micros(row->bucket_ms));
    at = put_int4(at, row->n);
    at = put_int4(at, row->n_status);
    at = put_int8(at, (int64_t)row->sec_mask);
    at = put_int8(at, (int64_t)row->status_mask);
    at = put_int2(at, row->quality);
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        at = put_value(at, &columns[c], row->v[c]);
    b->len += (size_t)(at - start);
}

/* ---- Replacing ---------------------------------------------------------------------------- */

struct batch {
    struct minute *rows;
    size_t n;
    history_decide_fn *decide;
    void *ctx;
    struct buf fresh;   /* COPY bytes of rows where there was none */
    struct buf changed; /* COPY bytes of rows in place of others */
    size_t n_fresh, n_changed;
};

static void write_names(struct buf *b)
{
    for (size_t i = 0; i < SCHEMA_COLUMN_COUNT; i++)
        buf_addf(b, "%s\"%s\"", i > 0 ? ", " : "", schema_column_name(i));
}

/* Keys as $1, $2; their time range as $3, $4, so that other partitions are never looked at. */
static void add_keys(struct pg_args *args, const struct minute *rows, size_t n)
{
    int64_t least_ms = rows[0].bucket_ms, most_ms = rows[0].bucket_ms;

    pg_arg_texts(args, n);
    for (size_t i = 0; i < n; i++)
        pg_item_text(args, rows[i].meter_id);
    pg_arg_end(args);
    pg_arg_times(args, n);
    for (size_t i = 0; i < n; i++) {
        pg_item_time(args, rows[i].bucket_ms);
        least_ms = rows[i].bucket_ms < least_ms ? rows[i].bucket_ms : least_ms;
        most_ms = rows[i].bucket_ms > most_ms ? rows[i].bucket_ms : most_ms;
    }
    pg_arg_end(args);
    pg_arg_time(args, least_ms);
    pg_arg_time(args, most_ms);
}

/*
 * What the table holds of n rows: result rows with the index of their key in column 0. LATERAL
 * with a LIMIT leaves the planner one way only, key by key through the primary key: a join it might
 * plan, from the statistics of a day that has none yet, as a thousand scans of that day.
 */
static PGresult *read_existing(struct history_pg *p, const struct minute *rows, size_t n,
                               struct err *e)
{
    struct buf sql;
    struct pg_args args;

    buf_init(&sql, 0);
    buf_adds(&sql, "SELECT k.i - 1");
    pg_write_value_columns(&sql, "t");
    buf_adds(&sql, " FROM unnest($1, $2) WITH ORDINALITY AS k (meter_id, bucket, i)"
                   " CROSS JOIN LATERAL (SELECT * FROM telemetry_aggregates r"
                   " WHERE r.meter_id = k.meter_id AND r.bucket = k.bucket"
                   " AND r.bucket BETWEEN $3 AND $4 LIMIT 1) t");
    pg_args_init(&args);
    add_keys(&args, rows, n);
    PGresult *r = pg_query(p, sql.data, &args, e);
    pg_args_clear(&args);
    buf_clear(&sql);
    return r;
}

static void decide_chunk(struct batch *b, size_t first, size_t n, const PGresult *existing)
{
    struct minute old;
    int found[CHUNK_ROWS];

    for (size_t i = 0; i < n; i++)
        found[i] = -1;
    for (int r = 0; r < PQntuples(existing); r++)
        found[pg_int(existing, r, 0)] = r;
    for (size_t i = 0; i < n; i++) {
        struct minute *row = &b->rows[first + i];
        bool exists = found[i] >= 0;
        if (exists) {
            strcpy(old.meter_id, row->meter_id);
            old.bucket_ms = row->bucket_ms;
            pg_read_minute(existing, found[i], 1, &old);
        }
        if (!b->decide(b->ctx, first + i, exists ? &old : NULL, row))
            continue;
        add_row(exists ? &b->changed : &b->fresh, row);
        *(exists ? &b->n_changed : &b->n_fresh) += 1;
    }
}

/* COPY the rows gathered in bytes into a table, and begin gathering anew. */
static bool copy_rows(struct history_pg *p, const char *table, struct buf *bytes, size_t *n,
                      struct err *e)
{
    struct buf sql;

    if (*n == 0)
        return true;
    buf_init(&sql, 0);
    buf_addf(&sql, "COPY %s (", table);
    write_names(&sql);
    buf_adds(&sql, ") FROM STDIN (FORMAT binary)");
    buf_add(bytes, copy_tail, sizeof copy_tail - 1);
    bool ok = pg_copy(p, sql.data, bytes, e);
    buf_clear(&sql);
    buf_reset(bytes);
    buf_add(bytes, copy_head, sizeof copy_head - 1);
    *n = 0;
    return ok;
}

/* Has the columns of this program only, whatever a newer one added to the table. */
static bool make_staging_table(struct history_pg *p, struct err *e)
{
    struct buf sql;

    buf_init(&sql, 0);
    buf_adds(&sql, "CREATE TEMP TABLE IF NOT EXISTS telemetry_staging ON COMMIT DELETE ROWS AS "
                   "SELECT ");
    write_names(&sql);
    buf_adds(&sql, " FROM telemetry_aggregates WITH NO DATA");
    bool ok = pg_run(p, sql.data, NULL, e);
    buf_clear(&sql);
    return ok;
}

static bool put_staged_rows(struct history_pg *p, struct err *e)
{
    struct buf sql;

    buf_init(&sql, 0);
    buf_adds(&sql, "INSERT INTO telemetry_aggregates (");
    write_names(&sql);
    buf_adds(&sql, ") SELECT ");
    write_names(&sql);
    buf_adds(&sql, " FROM pg_temp.telemetry_staging ON CONFLICT (meter_id, bucket) DO UPDATE SET ");
    for (size_t i = SCHEMA_N; i < SCHEMA_COLUMN_COUNT; i++)
        buf_addf(&sql, "%s\"%s\" = EXCLUDED.\"%s\"", i > SCHEMA_N ? ", " : "",
                 schema_column_name(i), schema_column_name(i));
    bool ok = pg_run(p, sql.data, NULL, e);
    buf_clear(&sql);
    return ok;
}

static bool replace_chunk(struct history_pg *p, struct batch *b, size_t first, bool *staged,
                          struct err *e)
{
    size_t n = b->n - first < CHUNK_ROWS ? b->n - first : CHUNK_ROWS;
    PGresult *existing = read_existing(p, b->rows + first, n, e);

    if (!existing)
        return false;
    decide_chunk(b, first, n, existing);
    PQclear(existing);
    if (b->n_changed > 0 && !*staged) {
        if (!make_staging_table(p, e))
            return false;
        *staged = true;
    }
    return copy_rows(p, "telemetry_aggregates", &b->fresh, &b->n_fresh, e) &&
           copy_rows(p, "pg_temp.telemetry_staging", &b->changed, &b->n_changed, e);
}

static bool replace_all(struct history_pg *p, void *ctx, struct err *e)
{
    struct batch *b = ctx;
    bool staged = false;

    for (size_t first = 0; first < b->n; first += CHUNK_ROWS)
        if (!replace_chunk(p, b, first, &staged, e))
            return false;
    return !staged || put_staged_rows(p, e);
}

/* Before the transaction, so that its locks are not held while rows are written. */
static bool make_days(struct history_pg *p, const struct minute *rows, size_t n, struct err *e)
{
    struct pg_args args;
    size_t days = 0;
    int64_t *day_ms = xcalloc(n, sizeof *day_ms);

    for (size_t i = 0; i < n; i++) {
        int64_t day = when_floor(rows[i].bucket_ms, DAY_MS);
        size_t d = 0;
        while (d < days && day_ms[d] != day)
            d++;
        if (d == days)
            day_ms[days++] = day;
    }
    pg_args_init(&args);
    pg_arg_times(&args, days);
    for (size_t d = 0; d < days; d++)
        pg_item_time(&args, day_ms[d]);
    pg_arg_end(&args);
    bool ok = pg_run(p, "SELECT telemetry_add_day(day::date) FROM unnest($1) AS day ORDER BY day",
                     &args, e);
    pg_args_clear(&args);
    free(day_ms);
    return ok;
}

bool history_pg_replace(struct history *h, struct minute *rows, size_t n, history_decide_fn *decide,
                        void *ctx, struct err *e)
{
    struct history_pg *p = (struct history_pg *)h;
    struct batch b = {.rows = rows, .n = n, .decide = decide, .ctx = ctx};

    if (n == 0)
        return true;
    if (!make_days(p, rows, n, e))
        return false;
    buf_init(&b.fresh, 0);
    buf_init(&b.changed, 0);
    buf_add(&b.fresh, copy_head, sizeof copy_head - 1);
    buf_add(&b.changed, copy_head, sizeof copy_head - 1);
    bool ok = pg_transaction(p, replace_all, &b, e);
    buf_clear(&b.fresh);
    buf_clear(&b.changed);
    return ok;
}
