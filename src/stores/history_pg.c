#include "stores/history_pg.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/when.h"

enum { KEYS_MOST = 1000 }; /* rows asked for at a time, so that memory stays bounded */

/* How far back a meter's last row is looked for before every partition is. */
#define RECENT_MS (2 * DAY_MS)

static struct history_pg *pg(struct history *h)
{
    return (struct history_pg *)h;
}

/* ---- The lock of the one aggregator ------------------------------------------------------- */

/* "EnerLink" in ASCII: one key in the database-wide space of advisory locks. */
#define LOCK_KEY INT64_C(0x456e65724c696e6b)

static bool history_pg_lock(struct history *h, bool *got, struct err *e)
{
    struct history_pg *p = pg(h);
    struct pg_args args;
    enum pg_lock unless_got = p->lock == PG_LOCK_NONE ? PG_LOCK_NONE : PG_LOCK_LOST;

    /* Here, and only here, a new connection may follow the one that held it. Taking a lock that
     * is held already is harmless. */
    p->lock = PG_LOCK_NONE;
    pg_args_init(&args);
    pg_arg_int8(&args, LOCK_KEY);
    PGresult *r = pg_query(p, "SELECT pg_try_advisory_lock($1)", &args, e);
    pg_args_clear(&args);
    *got = r && pg_int(r, 0, 0) == 1;
    p->lock = *got ? PG_LOCK_HELD : unless_got;
    PQclear(r);
    return r != NULL;
}

/* ---- Rows by key -------------------------------------------------------------------------- */

/* Of the meters ids[todo[..n]] the last row in [from_ms, before_ms); leaves in todo those without.
 */
static bool find_earlier(struct history_pg *p, const char *const *ids, size_t *todo, size_t *n,
                         int64_t from_ms, int64_t before_ms, struct minute *out, bool *found,
                         struct err *e)
{
    struct buf sql;
    struct pg_args args;

    if (*n == 0)
        return true;
    buf_init(&sql, 0);
    buf_adds(&sql, "SELECT k.i - 1, t.bucket");
    pg_write_value_columns(&sql, "t");
    buf_adds(&sql, " FROM unnest($1) WITH ORDINALITY AS k (meter_id, i) CROSS JOIN LATERAL"
                   " (SELECT * FROM telemetry_aggregates r WHERE r.meter_id = k.meter_id"
                   " AND r.bucket >= $2 AND r.bucket < $3 ORDER BY r.bucket DESC LIMIT 1) t");
    pg_args_init(&args);
    pg_arg_texts(&args, *n);
    for (size_t i = 0; i < *n; i++)
        pg_item_text(&args, ids[todo[i]]);
    pg_arg_end(&args);
    pg_arg_time(&args, from_ms);
    pg_arg_time(&args, before_ms);
    PGresult *r = pg_query(p, sql.data, &args, e);
    pg_args_clear(&args);
    buf_clear(&sql);
    if (!r)
        return false;

    for (int row = 0; row < PQntuples(r); row++) {
        size_t i = todo[pg_int(r, row, 0)];
        snprintf(out[i].meter_id, sizeof out[i].meter_id, "%s", ids[i]);
        out[i].bucket_ms = pg_time_ms(r, row, 1);
        pg_read_minute(r, row, 2, &out[i]);
        found[i] = true;
    }
    PQclear(r);
    size_t left = 0;
    for (size_t i = 0; i < *n; i++)
        if (!found[todo[i]])
            todo[left++] = todo[i];
    *n = left;
    return true;
}

static bool history_pg_earlier(struct history *h, const char *const *ids, size_t n,
                               int64_t bucket_ms, struct minute *out, bool *found, struct err *e)
{
    struct history_pg *p = pg(h);
    size_t todo[KEYS_MOST];

    for (size_t i = 0; i < n; i++)
        found[i] = false;
    for (size_t first = 0; first < n; first += KEYS_MOST) {
        size_t left = n - first < KEYS_MOST ? n - first : KEYS_MOST;
        for (size_t i = 0; i < left; i++)
            todo[i] = first + i;
        if (!find_earlier(p, ids, todo, &left, bucket_ms - RECENT_MS, bucket_ms, out, found, e) ||
            !find_earlier(p, ids, todo, &left, 0, bucket_ms - RECENT_MS, out, found, e))
            return false;
    }
    return true;
}

static bool history_pg_last_values(struct history *h, enum column column, const char *const *ids,
                                   size_t n, int64_t bucket_ms, double *out, struct err *e)
{
    const char *name = column_table()[column].name;
    struct buf sql;
    struct pg_args args;

    for (size_t i = 0; i < n; i++)
        out[i] = NAN;
    if (n == 0)
        return true;
    buf_init(&sql, 0);
    buf_addf(&sql,
             "SELECT k.i - 1, t.v FROM unnest($1) WITH ORDINALITY AS k (meter_id, i)"
             " CROSS JOIN LATERAL (SELECT r.\"%s\" AS v FROM telemetry_aggregates r"
             " WHERE r.meter_id = k.meter_id AND r.bucket < $2 AND r.\"%s\" IS NOT NULL"
             " ORDER BY r.bucket DESC LIMIT 1) t",
             name, name);
    pg_args_init(&args);
    pg_arg_texts(&args, n);
    for (size_t i = 0; i < n; i++)
        pg_item_text(&args, ids[i]);
    pg_arg_end(&args);
    pg_arg_time(&args, bucket_ms);
    PGresult *r = pg_query(pg(h), sql.data, &args, e);
    pg_args_clear(&args);
    buf_clear(&sql);
    if (!r)
        return false;
    for (int row = 0; row < PQntuples(r); row++)
        out[pg_int(r, row, 0)] = pg_double(r, row, 1);
    PQclear(r);
    return true;
}

static bool history_pg_next_buckets(struct history *h, const struct history_key *keys, size_t n,
                                    int64_t *out, struct err *e)
{
    struct pg_args args;
    int64_t least_ms = INT64_MAX;

    if (n == 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        out[i] = INT64_MAX;
        least_ms = keys[i].bucket_ms < least_ms ? keys[i].bucket_ms : least_ms;
    }
    pg_args_init(&args);
    pg_arg_texts(&args, n);
    for (size_t i = 0; i < n; i++)
        pg_item_text(&args, keys[i].meter_id);
    pg_arg_end(&args);
    pg_arg_times(&args, n);
    for (size_t i = 0; i < n; i++)
        pg_item_time(&args, keys[i].bucket_ms);
    pg_arg_end(&args);
    pg_arg_time(&args, least_ms);
    /* $3 is implied by k.bucket, but only a value keeps older partitions out of the plan. */
    PGresult *r = pg_query(
        pg(h),
        "SELECT k.i - 1, t.bucket FROM unnest($1, $2) WITH ORDINALITY AS k (meter_id, bucket, i)"
        " CROSS JOIN LATERAL (SELECT r.bucket FROM telemetry_aggregates r"
        " WHERE r.meter_id = k.meter_id AND r.bucket > k.bucket AND r.bucket > $3 AND r.n > 0"
        " ORDER BY r.bucket LIMIT 1) t",
        &args, e);
    pg_args_clear(&args);
    if (!r)
        return false;
    for (int row = 0; row < PQntuples(r); row++)
        out[pg_int(r, row, 0)] = pg_time_ms(r, row, 1);
    PQclear(r);
    return true;
}

/* ---- Rows by time ------------------------------------------------------------------------- */

struct selection {
    struct history_pg *p;
    const struct history_query *q;
    history_row_fn *fn;
    void *ctx;
    struct buf sql;
    size_t left; /* rows that may still be given */
    bool ended;  /* by fn */
};

/* "2025-10-26 04:27:00+00" -> "2025-10-26T04:27:00Z" */
static const char *iso_time(const char *text, char out[WHEN_TEXT_SIZE], size_t *len)
{
    *len = strcspn(text, "+");
    assert(*len + 2 <= WHEN_TEXT_SIZE);
    memcpy(out, text, *len);
    out[(*len)++] = 'Z';
    out[*len] = '\0';
    char *space = strchr(out, ' ');
    if (space)
        *space = 'T';
    return out;
}

static bool give_row(void *ctx, const PGresult *r)
{
    struct selection *s = ctx;
    const char *cells[SCHEMA_COLUMN_COUNT];
    size_t lengths[SCHEMA_COLUMN_COUNT];
    char bucket[WHEN_TEXT_SIZE];

    for (int c = 0; c < PQnfields(r); c++) {
        bool absent = PQgetisnull(r, 0, c);
        cells[c] = absent ? NULL : PQgetvalue(r, 0, c);
        lengths[c] = (size_t)PQgetlength(r, 0, c);
        if (s->q->columns[c] == SCHEMA_BUCKET)
            cells[c] = iso_time(cells[c], bucket, &lengths[c]);
    }
    s->left--;
    s->ended = !s->fn(s->ctx, cells, lengths);
    return !s->ended;
}

static void write_select(struct buf *b, const struct history_query *q)
{
    buf_adds(b, "SELECT ");
    for (size_t c = 0; c < q->n_columns; c++)
        buf_addf(b, "%s\"%s\"", c > 0 ? ", " : "", schema_column_name(q->columns[c]));
    buf_adds(b, " FROM telemetry_aggregates WHERE bucket >= $1 AND bucket < $2");
    if (q->meter_id)
        buf_adds(b, " AND meter_id = $4 ORDER BY bucket LIMIT $3");
    else if (q->after_meter)
        buf_adds(b, " AND (bucket, meter_id) > ($4, $5) ORDER BY bucket, meter_id LIMIT $3");
    else
        buf_adds(b, " ORDER BY bucket, meter_id LIMIT $3");
}

static bool select_slice(struct selection *s, int64_t start_ms, int64_t end_ms, struct err *e)
{
    struct pg_args args;

    pg_args_init(&args);
    pg_arg_time(&args, start_ms);
    pg_arg_time(&args, end_ms);
    pg_arg_int8(&args, (int64_t)s->left);
    if (s->q->meter_id) {
        pg_arg_text(&args, s->q->meter_id);
    } else if (s->q->after_meter) {
        pg_arg_time(&args, s->q->after_bucket_ms);
        pg_arg_text(&args, s->q->after_meter);
    }
    bool ok = pg_stream(s->p, s->sql.data, &args, give_row, s, e);
    pg_args_clear(&args);
    return ok;
}

/* The days for which there are partitions; false in *any when there is none. */
static bool find_days(struct history_pg *p, int64_t *first_ms, int64_t *end_ms, bool *any,
                      struct err *e)
{
    PGresult *r = pg_query(p,
                           "SELECT min(day)::timestamptz, max(day)::timestamptz FROM"
                           " (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day"
                           " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                           " WHERE i.inhparent = 'telemetry_aggregates'::regclass"
                           " AND c.relname ~ '_[0-9]{8}$') days",
                           NULL, e);
    if (!r)
        return false;
    *any = !PQgetisnull(r, 0, 0);
    if (*any) {
        *first_ms = pg_time_ms(r, 0, 0);
        *end_ms = pg_time_ms(r, 0, 1) + DAY_MS;
    }
    PQclear(r);
    return true;
}

/* Slices of time, each twice as long as the one before, until the limit is reached. */
static bool select_slices(struct selection *s, int64_t at_ms, int64_t end_ms, int64_t length_ms,
                          int64_t most_ms, struct err *e)
{
    while (at_ms < end_ms && s->left > 0 && !s->ended) {
        int64_t to_ms = end_ms - at_ms > length_ms ? at_ms + length_ms : end_ms;
        if (!select_slice(s, at_ms, to_ms, e))
            return false;
        at_ms = to_ms;
        length_ms = length_ms * 2 < most_ms ? length_ms * 2 : most_ms;
    }
    return true;
}

/* One meter: the primary key has the order. Slices spare planning a year for a page of a day. */
static bool select_meter(struct selection *s, int64_t start_ms, int64_t end_ms, struct err *e)
{
    return select_slices(s, start_ms, end_ms, 2 * DAY_MS, end_ms, e);
}

/*
 * All meters, in order of time: no index has that order, so a page would sort its whole range.
 * Slices keep it to about what the page needs, from a minute to a day.
 */
static bool select_fleet(struct selection *s, int64_t start_ms, int64_t end_ms, struct err *e)
{
    int64_t first_ms, last_ms;
    bool any;

    if (!find_days(s->p, &first_ms, &last_ms, &any, e))
        return false;
    if (!any)
        return true;
    return select_slices(s, start_ms > first_ms ? start_ms : first_ms,
                         end_ms < last_ms ? end_ms : last_ms, MINUTE_MS, DAY_MS, e);
}

static bool history_pg_select(struct history *h, const struct history_query *q, history_row_fn *fn,
                              void *ctx, struct err *e)
{
    struct selection s = {.p = pg(h), .q = q, .fn = fn, .ctx = ctx, .left = q->limit};
    int64_t start_ms = q->start_ms > 0 ? q->start_ms : 0;
    int64_t end_ms = q->end_ms < PG_TIME_MS_MOST ? q->end_ms : PG_TIME_MS_MOST;

    assert(q->n_columns > 0 && q->n_columns <= SCHEMA_COLUMN_COUNT);
    if (q->after_meter && q->after_bucket_ms >= start_ms) {
        bool done = q->meter_id && strcmp(q->meter_id, q->after_meter) <= 0;
        start_ms = done ? q->after_bucket_ms + 1 : q->after_bucket_ms;
    }
    buf_init(&s.sql, 0);
    write_select(&s.sql, q);
    bool ok =
        q->meter_id ? select_meter(&s, start_ms, end_ms, e) : select_fleet(&s, start_ms, end_ms, e);
    buf_clear(&s.sql);
    return ok;
}

/* ---- Meters ------------------------------------------------------------------------------- */

static void add_meters(struct pg_args *args, const struct history_meter *m, size_t n)
{
    pg_arg_texts(args, n);
    for (size_t i = 0; i < n; i++)
        pg_item_text(args, m[i].meter_id);
    pg_arg_end(args);
    pg_arg_times(args, n);
    for (size_t i = 0; i < n; i++) {
        if (m[i].last_seen_ms > 0)
            pg_item_time(args, m[i].last_seen_ms);
        else
            pg_item_null(args);
    }
    pg_arg_end(args);
    pg_arg_texts(args, n);
    for (size_t i = 0; i < n; i++)
        pg_item_text(args, m[i].last_data);
    pg_arg_end(args);
    pg_arg_texts(args, n);
    for (size_t i = 0; i < n; i++)
        pg_item_text(args, m[i].last_status);
    pg_arg_end(args);
}

/*
 * A meter named twice in one batch is one row, the later entry first in its documents; in order of
 * meter, so that two processes that enter the same ones cannot lock each other out.
 */
static bool history_pg_meters_seen(struct history *h, const struct history_meter *m, size_t n,
                                   struct err *e)
{
    struct pg_args args;

    if (n == 0)
        return true;
    pg_args_init(&args);
    add_meters(&args, m, n);
    bool ok =
        pg_run(pg(h),
               "INSERT INTO meters AS m (meter_id, first_seen, last_seen, last_data, last_status)"
               " SELECT meter_id, coalesce(min(seen), now()), max(seen),"
               " (array_agg(data ORDER BY i DESC) FILTER (WHERE data IS NOT NULL))[1]::json,"
               " (array_agg(status ORDER BY i DESC) FILTER (WHERE status IS NOT NULL))[1]::json"
               " FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS k (meter_id, seen, data, status, i)"
               " GROUP BY meter_id ORDER BY meter_id"
               " ON CONFLICT (meter_id) DO UPDATE SET"
               " last_seen = greatest(m.last_seen, EXCLUDED.last_seen),"
               " last_data = coalesce(EXCLUDED.last_data, m.last_data),"
               " last_status = coalesce(EXCLUDED.last_status, m.last_status)",
               &args, e);
    pg_args_clear(&args);
    return ok;
}

static bool history_pg_meter_known(struct history *h, const char *meter_id, bool *known,
                                   struct err *e)
{
    static const char *const places[] = {
        "SELECT FROM meters WHERE meter_id = $1",
        "SELECT FROM telemetry_aggregates WHERE meter_id = $1 LIMIT 1",
    };
    struct pg_args args;
    bool ok = true;

    *known = false;
    pg_args_init(&args);
    pg_arg_text(&args, meter_id);
    for (size_t i = 0; ok && !*known && i < sizeof places / sizeof *places; i++) {
        PGresult *r = pg_query(pg(h), places[i], &args, e);
        ok = r != NULL;
        *known = ok && PQntuples(r) > 0;
        PQclear(r);
    }
    pg_args_clear(&args);
    return ok;
}

/* ---- Durability --------------------------------------------------------------------------- */

static bool history_pg_durability(struct history *h, struct history_durability *out, struct err *e)
{
    struct buf weak;
    PGresult *r = pg_query(pg(h),
                           "SELECT name FROM pg_settings WHERE name IN"
                           " ('fsync', 'full_page_writes', 'synchronous_commit')"
                           " AND setting = 'off' ORDER BY name",
                           NULL, e);

    if (!r)
        return false;
    out->sound = PQntuples(r) == 0;
    buf_init(&weak, 0);
    for (int i = 0; i < PQntuples(r); i++)
        buf_addf(&weak, "%s%s", i > 0 ? ", " : "", PQgetvalue(r, i, 0));
    PQclear(r);
    if (out->sound)
        snprintf(out->text, sizeof out->text,
                 "fsync, full_page_writes and synchronous_commit are on");
    else
        snprintf(out->text, sizeof out->text,
                 "off in PostgreSQL: %s; a power cut can take rows that were confirmed, switch it "
                 "on in postgresql.conf",
                 weak.data);
    buf_clear(&weak);
    return true;
}

/* ---- Opening and closing ------------------------------------------------------------------ */

static void history_pg_close(struct history *h)
{
    struct history_pg *p = pg(h);

    if (!p)
        return;
    PQfinish(p->conn);
    free(p->url);
    free(p->application_name);
    free(p);
}

static const struct history_ops history_pg_ops = {
    .migrate = history_pg_migrate,
    .check_schema = history_pg_check_schema,
    .lock = history_pg_lock,
    .earlier = history_pg_earlier,
    .last_values = history_pg_last_values,
    .next_buckets = history_pg_next_buckets,
    .replace = history_pg_replace,
    .select = history_pg_select,
    .meters_seen = history_pg_meters_seen,
    .meter_known = history_pg_meter_known,
    .partitions = history_pg_partitions,
    .durability = history_pg_durability,
    .close = history_pg_close,
};

static const char *option_value(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, keyword) == 0 && options->val)
            return options->val;
    return "";
}

struct history *history_pg_open(const struct history_pg_options *o, struct err *e)
{
    char *detail = NULL;
    PQconninfoOption *parts = PQconninfoParse(o->url, &detail);

    /* libpq's own words quote the URL, password and all. */
    PQfreemem(detail);
    if (!parts) {
        err_set(e, ERR_FATAL,
                "the URL of PostgreSQL cannot be read: expected "
                "postgresql://user:password@host:5432/database, with %%XX for special characters");
        return NULL;
    }
    struct history_pg *p = xcalloc(1, sizeof *p);
    p->base.ops = &history_pg_ops;
    p->url = xstrdup(o->url);
    p->application_name = xstrdup(o->application_name ? o->application_name : "enerlink");
    p->connect_timeout_s = o->connect_timeout_s > 0 ? o->connect_timeout_s : 5;
    p->statement_timeout_ms = o->statement_timeout_ms;
    snprintf(p->where, sizeof p->where, "postgresql %s:%s/%s", option_value(parts, "host"),
             option_value(parts, "port"), option_value(parts, "dbname"));
    PQconninfoFree(parts);
    return &p->base;
}
