/*
 * Rows of the history as JSON or CSV. A page is built whole in a worker before it is sent: a slow
 * reader then holds memory, which is bounded, and no connection to PostgreSQL, of which there are
 * few; and a query that fails midway is told as 503 and not as half an answer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/when.h"
#include "stages/api_json.h"
#include "stages/api_routes.h"
#include "stages/api_row.h"

enum {
    HISTORY_QUEUE_MOST = 64,
    HISTORY_THREADS = 3,
    ROWS_DEFAULT = 2000,
    ROWS_MOST = 10000,
    CURSOR_SIZE = METER_ID_SIZE + 24,
};

#define HOUR_MS INT64_C(3600000)
#define FIRST_MS INT64_C(1577836800000) /* 2020-01-01T00:00:00Z */

static const char postgres_is_down[] = "The history store does not answer.";

struct history_job {
    struct job job;
    char meter_id[METER_ID_SIZE]; /* "": the fleet */
    int64_t start_ms, end_ms;
    size_t columns[SCHEMA_COLUMN_COUNT];
    size_t n_columns;
    char after_meter[METER_ID_SIZE];
    int64_t after_bucket_ms; /* 0: from the start */
    size_t limit;
    bool csv;

    size_t bytes_most;
    struct row_writer writer;
    size_t rows;
    char last_bucket[WHEN_TEXT_SIZE];
    char last_meter[METER_ID_SIZE];
    bool more;
};

static bool is_fleet(const struct history_job *j)
{
    return !j->meter_id[0];
}

/* ---- What is asked for -------------------------------------------------------------------- */

static bool read_instant(const struct http_request *r, const char *name, int64_t *ms, bool *given,
                         struct err *e)
{
    const char *text;

    if (!query_get(&r->query, name, &text, e))
        return false;
    *given = text != NULL;
    if (!text || when_parse(text, strlen(text), ms) || when_parse_day(text, strlen(text), ms))
        return true;
    return err_set(e, ERR_INPUT, "%s must be a time such as 2025-10-26T04:27:00Z", name);
}

static bool read_range(struct history_job *j, const struct http_request *r, int64_t now_ms,
                       struct err *e)
{
    bool has_start, has_end;

    if (!read_instant(r, "start", &j->start_ms, &has_start, e) ||
        !read_instant(r, "end", &j->end_ms, &has_end, e))
        return false;
    if (!has_end)
        j->end_ms = now_ms;
    if (!has_start)
        j->start_ms = j->end_ms - HOUR_MS;
    if (j->start_ms < FIRST_MS)
        return err_set(e, ERR_INPUT, "start lies before 2020-01-01T00:00:00Z");
    if (j->end_ms <= j->start_ms)
        return err_set(e, ERR_INPUT, "end must be later than start");
    return true;
}

static bool read_interval(const struct http_request *r, struct err *e)
{
    static const char *const later[] = {"1h", "1d"};
    const char *text;

    if (!query_get(&r->query, "interval", &text, e))
        return false;
    if (!text || strcmp(text, "1m") == 0 || strcmp(text, "auto") == 0)
        return true;
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (strcmp(text, later[i]) == 0)
            return err_set(e, ERR_INPUT, "only interval=1m is served so far");
    return err_set(e, ERR_INPUT, "interval must be 1m or auto");
}

static bool read_format(struct history_job *j, const struct http_request *r, struct err *e)
{
    const char *text;

    if (!query_get(&r->query, "format", &text, e))
        return false;
    j->csv = text && strcmp(text, "csv") == 0;
    if (text && !j->csv && strcmp(text, "json") != 0)
        return err_set(e, ERR_INPUT, "format must be json or csv");
    return true;
}

/* "1761452820000" of one meter, "1761452820000.METER001" of the fleet: the last row given out. */
static bool read_cursor(struct history_job *j, const struct http_request *r, struct err *e)
{
    const char *text;
    char *end;

    if (!query_get(&r->query, "cursor", &text, e))
        return false;
    if (!text)
        return true;
    j->after_bucket_ms = strtoll(text, &end, 10);
    bool sound = text[0] >= '0' && text[0] <= '9' && j->after_bucket_ms >= FIRST_MS &&
                 j->after_bucket_ms < INT64_MAX;
    const char *meter = is_fleet(j) && *end == '.' ? end + 1 : j->meter_id;
    sound = sound && (is_fleet(j) ? meter_id_valid(meter, strlen(meter)) : *end == '\0');
    if (!sound)
        return err_set(e, ERR_INPUT, "cursor must be one that meta.next gave");
    memcpy(j->after_meter, meter, strlen(meter) + 1);
    return true;
}

/* "import_power" is import.power, "sensors_ina219_0x40_connected" is
 * sensors.ina219[0x40].connected. */
static bool is_underscored_path(const char *path, const char *name)
{
    for (; *path; path++) {
        if (*path == ']')
            continue;
        if (*name++ != (*path == '.' || *path == '[' ? '_' : *path))
            return false;
    }
    return *name == '\0';
}

static enum metric find_metric(const char *name)
{
    for (size_t m = 0; m < METRIC_COUNT; m++)
        if (strcmp(metric_table[m].path, name) == 0 ||
            is_underscored_path(metric_table[m].path, name))
            return (enum metric)m;
    return METRIC_COUNT;
}

static void add_column(struct history_job *j, size_t column)
{
    for (size_t i = 0; i < j->n_columns; i++)
        if (j->columns[i] == column)
            return;
    j->columns[j->n_columns++] = column;
}

static bool add_named(struct history_job *j, const char *name, struct err *e)
{
    int column = schema_column_by_name(name);
    size_t n;

    if (column >= 0) {
        add_column(j, (size_t)column);
        return true;
    }
    enum metric m = find_metric(name);
    if (m == METRIC_COUNT)
        return err_set(e, ERR_INPUT, "metrics: there is no metric or column %.80s", name);
    size_t first = metric_columns(m, &n);
    if (n == 0)
        return err_set(e, ERR_INPUT, "metrics: %.80s has no history", name);
    for (size_t i = 0; i < n; i++)
        add_column(j, SCHEMA_FIXED_COUNT + first + i);
    return true;
}

/* bucket is the first column; for the fleet meter_id is the second. */
static bool read_metrics(struct history_job *j, const struct http_request *r, struct err *e)
{
    const char *text;
    bool ok = true;

    if (!query_get(&r->query, "metrics", &text, e))
        return false;
    add_column(j, SCHEMA_BUCKET);
    if (is_fleet(j))
        add_column(j, SCHEMA_METER_ID);
    if (!text) {
        for (size_t i = 0; i < SCHEMA_COLUMN_COUNT; i++)
            add_column(j, i);
        return true;
    }
    char *copy = xstrdup(text);
    char *rest = copy;
    for (char *name; ok && (name = strsep(&rest, ","));)
        ok = add_named(j, name, e);
    free(copy);
    return ok;
}

static bool read_request(struct history_job *j, const struct http_request *r, int64_t now_ms,
                         struct err *e)
{
    int64_t limit;

    if (!read_range(j, r, now_ms, e) || !read_interval(r, e) || !read_format(j, r, e) ||
        !read_cursor(j, r, e) || !read_metrics(j, r, e) ||
        !param_integer(r, "limit", 1, ROWS_MOST, ROWS_DEFAULT, &limit, e))
        return false;
    j->limit = (size_t)limit;
    return true;
}

static void submit(struct api *api, struct http_request *r, const char *meter_id)
{
    struct history_job *j = xcalloc(1, sizeof *j);
    struct err e;

    memcpy(j->meter_id, meter_id, strlen(meter_id) + 1);
    j->bytes_most = api->o.answer_bytes_most;
    if (!read_request(j, r, clock_wall_ms(api->o.clock), &e)) {
        http_answer_problem(&r->answer, 400, "%s", e.text);
        free(j);
        return;
    }
    pool_submit(api->history, &j->job, r);
}

void history_meter(struct api *api, struct http_request *r, const struct route_call *call)
{
    submit(api, r, call->meter_id);
}

void history_fleet(struct api *api, struct http_request *r, const struct route_call *call)
{
    (void)call;
    submit(api, r, "");
}

/* ---- What is answered --------------------------------------------------------------------- */

static void copy_cell(char *out, size_t size, const char *cell, size_t len)
{
    snprintf(out, size, "%.*s", (int)len, cell ? cell : "");
}

/* The row behind the limit is not written: it only tells that there is a next page. */
static bool on_row(void *ctx, const char *const *cells, const size_t *lengths)
{
    struct history_job *j = ctx;
    struct buf *b = &j->job.answer.body;

    if (j->rows == j->limit || b->len >= j->bytes_most) {
        j->more = true;
        return false;
    }
    if (j->csv) {
        row_write_csv(&j->writer, b, cells, lengths);
    } else {
        if (j->rows)
            buf_addc(b, ',');
        row_write_json(&j->writer, b, cells, lengths);
    }
    copy_cell(j->last_bucket, sizeof j->last_bucket, cells[0], lengths[0]);
    if (is_fleet(j))
        copy_cell(j->last_meter, sizeof j->last_meter, cells[1], lengths[1]);
    j->rows++;
    return true;
}

static void write_next(const struct history_job *j, char out[CURSOR_SIZE])
{
    int64_t bucket_ms = 0;

    when_parse(j->last_bucket, strlen(j->last_bucket), &bucket_ms);
    snprintf(out, CURSOR_SIZE, "%" PRId64 "%s%s", bucket_ms, is_fleet(j) ? "." : "", j->last_meter);
}

static void write_json_end(struct history_job *j, struct buf *b)
{
    char next[CURSOR_SIZE];

    buf_adds(b, "],\"meta\":{");
    if (!is_fleet(j))
        buf_addf(b, "\"meterId\":\"%s\",", j->meter_id);
    buf_adds(b, "\"interval\":\"1m\",\"start\":");
    json_write_time(b, j->start_ms);
    buf_adds(b, ",\"end\":");
    json_write_time(b, j->end_ms);
    buf_adds(b, ",\"next\":");
    if (j->more) {
        write_next(j, next);
        buf_addf(b, "\"%s\"", next);
    } else {
        buf_adds(b, "null");
    }
    buf_adds(b, ",\"units\":");
    row_write_units(&j->writer, b);
    buf_adds(b, "}}");
}

/* CSV has no place for the cursor in its body, so it goes into a header. */
static void finish_body(struct history_job *j)
{
    struct http_answer *a = &j->job.answer;
    char next[CURSOR_SIZE];

    a->status = 200;
    a->type = j->csv ? "text/csv; charset=utf-8; header=present" : "application/json";
    if (!j->csv) {
        write_json_end(j, &a->body);
    } else if (j->more) {
        write_next(j, next);
        http_answer_header(a, "Enerlink-Next", next);
    }
}

static void run_history(void *own, struct job *job)
{
    struct history_job *j = (struct history_job *)job;
    struct history *history = own;
    struct history_query q = {
        .meter_id = is_fleet(j) ? NULL : j->meter_id,
        .start_ms = j->start_ms,
        .end_ms = j->end_ms,
        .columns = j->columns,
        .n_columns = j->n_columns,
        .after_meter = j->after_bucket_ms ? j->after_meter : NULL,
        .after_bucket_ms = j->after_bucket_ms,
        .limit = j->limit + 1,
    };
    struct err e;

    row_writer_init(&j->writer, j->columns, j->n_columns);
    if (j->csv)
        row_write_csv_header(&j->writer, &job->answer.body);
    else
        buf_adds(&job->answer.body, "{\"data\":[");
    if (history->ops->select(history, &q, on_row, j, &e)) {
        finish_body(j);
        return;
    }
    log_debug("history store: %s", e.text);
    http_answer_unavailable(&job->answer, postgres_is_down);
}

static void *open_store(void *ctx)
{
    struct api *api = ctx;

    return api_open_history(&api->o);
}

static void close_store(void *own)
{
    struct history *history = own;

    history->ops->close(history);
}

static bool postgres_unavailable(void *ctx)
{
    struct api *api = ctx;

    return health_postgres_is_down(api->health);
}

struct pool *history_pool_new(struct api *api)
{
    int threads = api->o.history_threads ? api->o.history_threads : HISTORY_THREADS;

    return pool_new(api->work, &(struct pool_options){.threads = threads,
                                                      .queue_most = HISTORY_QUEUE_MOST,
                                                      .open = open_store,
                                                      .close = close_store,
                                                      .run = run_history,
                                                      .unavailable = postgres_unavailable,
                                                      .unavailable_detail = postgres_is_down,
                                                      .ctx = api});
}
