/*
 * One contract, two implementations: every test of `contract` runs on the history in memory and on
 * a private PostgreSQL. Behind it, what only one of the two can show.
 */
#include "unit.h"

#include <libpq-fe.h>
#include <pthread.h>

#include "base/mem.h"
#include "core/when.h"
#include "pg_server.h"
#include "stores/history_ram.h"

#define NOW INT64_C(1761452820000) /* 2025-10-26T04:27:00Z */

static struct pg_server server;
static bool on_server; /* which implementation the contract runs on */
static struct history *h;
static struct err e;

/* ---- Helpers ------------------------------------------------------------------------------ */

#define ok(call)                                                                                   \
    do {                                                                                           \
        if (!(call))                                                                               \
            fail_msg("%s: %s", #call, e.text);                                                     \
    } while (0)

#define fails(call, wanted)                                                                        \
    do {                                                                                           \
        if (call)                                                                                  \
            fail_msg("%s: went well", #call);                                                      \
        if (e.kind != (wanted))                                                                    \
            fail_msg("%s: kind %d: %s", #call, (int)e.kind, e.text);                               \
    } while (0)

static struct history *open_on_server(const char *url)
{
    struct history_pg_options o = {.url = url,
                                   .application_name = "test history",
                                   .connect_timeout_s = 5,
                                   .statement_timeout_ms = 10000};
    struct history *opened = history_pg_open(&o, &e);

    assert_non_null(opened);
    return opened;
}

/* SQL behind the store's back. Returns the first value, to be freed. */
static char *sql(const char *url, const char *text)
{
    PGconn *c = PQconnectdb(url);
    PGresult *r = PQexec(c, text);
    ExecStatusType status = PQresultStatus(r);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(c));
    char *value = xstrdup(PQntuples(r) > 0 && PQnfields(r) > 0 ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
    PQfinish(c);
    return value;
}

static void sql_is(const char *text, const char *expected)
{
    char *value = sql(server.url, text);

    if (strcmp(value, expected) != 0)
        fail_msg("%s: %s, not %s", text, value, expected);
    free(value);
}

static void sql_run(const char *text)
{
    free(sql(server.url, text));
}

/* A database of its own on the same server; its URL is valid until the next call. */
static const char *new_database(void)
{
    static char url[160];
    static int count;
    char text[64];

    snprintf(text, sizeof text, "CREATE DATABASE other%d", ++count);
    sql_run(text);
    snprintf(url, sizeof url, "postgresql://postgres@/other%d?host=%s", count, server.dir);
    return url;
}

static int set_up(void **state)
{
    (void)state;
    if (!on_server) {
        h = history_ram_open();
        return 0;
    }
    sql_run("DO $$ BEGIN IF to_regclass('meters') IS NOT NULL THEN"
            " TRUNCATE telemetry_aggregates, meters; END IF; END $$");
    h = open_on_server(server.url);
    return h->ops->migrate(h, NOW, &e) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    h->ops->close(h);
    return 0;
}

static struct minute a_row(const char *meter_id, int64_t bucket_ms, int32_t n)
{
    struct minute m = {.bucket_ms = bucket_ms, .n = n, .quality = QUALITY_VALIDATED};

    snprintf(m.meter_id, sizeof m.meter_id, "%s", meter_id);
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        m.v[c] = (double)NAN;
    return m;
}

/* A row with something in every column. */
static struct minute a_full_row(const char *meter_id, int64_t bucket_ms)
{
    struct minute m = a_row(meter_id, bucket_ms, 12);

    m.n_status = 2;
    m.sec_mask = MASK_AFTER | MASK_BEFORE | UINT64_C(0x0842108421084210);
    m.status_mask = UINT64_C(1) << 59 | 1;
    m.quality = QUALITY_MIXED;
    for (size_t c = 0; c < COLUMN_COUNT; c++) {
        double d = ((double)c - 50.25) * 1.7320508075688772 * pow(10, (double)(c % 11) - 4);
        const struct column_info *info = &column_table()[c];
        m.v[c] = info->type == COLUMN_FLOAT4 ? (double)(float)d
                 : info->type == COLUMN_TEXT ? (double)(c % 2)
                                             : d;
    }
    return m;
}

static bool same_value(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void assert_same_row(const struct minute *a, const struct minute *b)
{
    assert_string_equal(a->meter_id, b->meter_id);
    assert_true(a->bucket_ms == b->bucket_ms);
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->n_status, b->n_status);
    assert_true(a->sec_mask == b->sec_mask && a->status_mask == b->status_mask);
    assert_int_equal(a->quality, b->quality);
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        if (!same_value(a->v[c], b->v[c]))
            fail_msg("%s: %.17g, not %.17g", column_table()[c].name, a->v[c], b->v[c]);
}

static bool take_all(void *ctx, size_t i, const struct minute *old, struct minute *row)
{
    (void)ctx;
    (void)i;
    (void)old;
    (void)row;
    return true;
}

static void put(struct minute *rows, size_t n)
{
    ok(h->ops->replace(h, rows, n, take_all, NULL, &e));
}

static void put_one(const char *meter_id, int64_t bucket_ms, int32_t n)
{
    struct minute m = a_row(meter_id, bucket_ms, n);

    put(&m, 1);
}

/* The row itself: the last one before the minute that follows it. */
static bool get(const char *meter_id, int64_t bucket_ms, struct minute *out)
{
    bool found;

    ok(h->ops->earlier(h, &meter_id, 1, bucket_ms + MINUTE_MS, out, &found, &e));
    return found && out->bucket_ms == bucket_ms;
}

/* Rows given by select, as lines "cell cell\n", "-" for absent. */
struct lines {
    struct buf text;
    size_t n_columns;
    size_t most; /* stop after so many; 0: never */
    size_t n;
    char last_meter[METER_ID_SIZE]; /* of columns 0 and 1 */
    char last_bucket[WHEN_TEXT_SIZE];
};

static bool add_line(void *ctx, const char *const *cells, const size_t *lengths)
{
    struct lines *l = ctx;

    for (size_t c = 0; c < l->n_columns; c++) {
        if (c > 0)
            buf_addc(&l->text, ' ');
        if (!cells[c]) {
            buf_addc(&l->text, '-');
            continue;
        }
        assert_int_equal(strlen(cells[c]), lengths[c]);
        buf_add(&l->text, cells[c], lengths[c]);
    }
    buf_addc(&l->text, '\n');
    if (l->n_columns >= 2 && cells[0] && cells[1]) {
        snprintf(l->last_meter, sizeof l->last_meter, "%s", cells[0]);
        snprintf(l->last_bucket, sizeof l->last_bucket, "%s", cells[1]);
    }
    return ++l->n != l->most;
}

static void selects(const struct history_query *q, size_t most, const char *expected)
{
    struct lines l = {.n_columns = q->n_columns, .most = most};

    buf_init(&l.text, 0);
    buf_adds(&l.text, "");
    ok(h->ops->select(h, q, add_line, &l, &e));
    if (strcmp(l.text.data, expected) != 0)
        fail_msg("got:\n%swanted:\n%s", l.text.data, expected);
    buf_clear(&l.text);
}

static const size_t key_columns[] = {SCHEMA_METER_ID, SCHEMA_BUCKET, SCHEMA_N};

static struct history_query everything(void)
{
    return (struct history_query){
        .start_ms = 0, .end_ms = INT64_MAX, .columns = key_columns, .n_columns = 3, .limit = 1000};
}

/* ---- Contract ----------------------------------------------------------------------------- */

static void a_row_comes_back_bit_for_bit(void **state)
{
    struct minute rows[2] = {a_full_row("METER001", NOW), a_row("METER002", NOW, 1)}, back;

    (void)state;
    put(rows, 2);
    assert_true(get("METER001", NOW, &back));
    assert_same_row(&back, &rows[0]);
    assert_true(get("METER002", NOW, &back));
    assert_same_row(&back, &rows[1]);
}

static void a_replaced_row_comes_back_bit_for_bit(void **state)
{
    struct minute row = a_full_row("METER001", NOW), back;

    (void)state;
    put_one("METER001", NOW, 3);
    put(&row, 1);
    assert_true(get("METER001", NOW, &back));
    assert_same_row(&back, &row);
    put_one("METER001", NOW, 4);
    struct minute bare = a_row("METER001", NOW, 4);
    assert_true(get("METER001", NOW, &back));
    assert_same_row(&back, &bare);
}

static void earlier_is_the_last_row_before_the_bucket(void **state)
{
    static const char *const ids[] = {"NONE", "SAME", "MINUTE", "DAY", "MONTHS", "AFTER"};
    struct minute out[6];
    bool found[6];

    (void)state;
    put_one("SAME", NOW, 1);
    put_one("MINUTE", NOW - MINUTE_MS, 2);
    put_one("MINUTE", NOW - 2 * MINUTE_MS, 3);
    put_one("DAY", NOW - DAY_MS, 4);
    put_one("MONTHS", NOW - 100 * DAY_MS, 5);
    put_one("MONTHS", NOW - 101 * DAY_MS, 6);
    put_one("AFTER", NOW + MINUTE_MS, 7);
    ok(h->ops->earlier(h, ids, 6, NOW, out, found, &e));
    assert_false(found[0] || found[1] || found[5]);
    assert_true(found[2] && found[3] && found[4]);
    assert_int_equal(out[2].n, 2);
    assert_int_equal(out[3].n, 4);
    assert_int_equal(out[4].n, 5);
    assert_string_equal(out[4].meter_id, "MONTHS");
    assert_true(out[4].bucket_ms == NOW - 100 * DAY_MS);
}

static void the_last_value_of_a_column_passes_over_rows_without_it(void **state)
{
    static const char *const ids[] = {"NONE", "A", "NEVER"};
    struct minute rows[3];
    double out[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        rows[i] = a_row(i < 2 ? "A" : "NEVER", NOW - (3 - i % 2) * MINUTE_MS, 1);
        rows[i].v[COLUMN_IMPORT_TOTAL_ENERGY] = i == 0 ? 1234.5 : (double)NAN;
    }
    ok(h->ops->replace(h, rows, 3, take_all, NULL, &e));
    ok(h->ops->last_values(h, COLUMN_IMPORT_TOTAL_ENERGY, ids, 3, NOW, out, &e));
    assert_true(isnan(out[0]) && isnan(out[2]));
    assert_true(out[1] == 1234.5);
    ok(h->ops->last_values(h, COLUMN_IMPORT_TOTAL_ENERGY, ids, 3, NOW - 3 * MINUTE_MS, out, &e));
    assert_true(isnan(out[1]));
    ok(h->ops->last_values(h, COLUMN_IMPORT_TOTAL_ENERGY, ids, 0, NOW, out, &e));
}

static void next_buckets_pass_over_rows_without_data(void **state)
{
    struct history_key key = {"A", NOW};
    int64_t out;

    (void)state;
    put_one("A", NOW, 1);
    put_one("A", NOW + MINUTE_MS, 0);
    put_one("A", NOW + 2 * MINUTE_MS, 1);
    ok(h->ops->next_buckets(h, &key, 1, &out, &e));
    assert_true(out == NOW + 2 * MINUTE_MS);
}

static void next_buckets_are_strictly_after_each_key(void **state)
{
    struct history_key keys[] = {
        {"A", NOW}, {"A", NOW - 1}, {"A", NOW + 9 * DAY_MS}, {"B", NOW}, {"C", NOW - 40 * DAY_MS}};
    int64_t out[5];

    (void)state;
    put_one("A", NOW, 1);
    put_one("A", NOW + 3 * DAY_MS, 1);
    put_one("A", NOW + 9 * DAY_MS, 1);
    put_one("C", NOW - 39 * DAY_MS, 1);
    ok(h->ops->next_buckets(h, keys, 5, out, &e));
    assert_true(out[0] == NOW + 3 * DAY_MS);
    assert_true(out[1] == NOW);
    assert_true(out[2] == INT64_MAX);
    assert_true(out[3] == INT64_MAX);
    assert_true(out[4] == NOW - 39 * DAY_MS);
    ok(h->ops->next_buckets(h, keys, 0, out, &e));
}

struct decision {
    size_t asked;
    int32_t old_n[4]; /* 0: there was none */
};

/* Row 0 is kept as it was, row 1 becomes the sum, row 2 is taken as it is. */
static bool decide_by_place(void *ctx, size_t i, const struct minute *old, struct minute *row)
{
    struct decision *d = ctx;

    assert_int_equal(i, d->asked);
    d->asked++;
    d->old_n[i] = old ? old->n : 0;
    if (old) {
        assert_string_equal(old->meter_id, row->meter_id);
        assert_true(old->bucket_ms == row->bucket_ms);
    }
    if (i == 1)
        row->n += old->n;
    return i != 0;
}

static void the_decision_sees_the_old_row_and_may_change_the_new_one(void **state)
{
    struct minute rows[] = {a_row("A", NOW, 10), a_row("B", NOW, 20), a_row("C", NOW, 30)};
    struct minute back;
    struct decision d = {0};

    (void)state;
    put_one("A", NOW, 1);
    put_one("B", NOW, 2);
    ok(h->ops->replace(h, rows, 3, decide_by_place, &d, &e));
    assert_int_equal(d.asked, 3);
    assert_int_equal(d.old_n[0], 1);
    assert_int_equal(d.old_n[1], 2);
    assert_int_equal(d.old_n[2], 0);
    assert_true(get("A", NOW, &back));
    assert_int_equal(back.n, 1);
    assert_true(get("B", NOW, &back));
    assert_int_equal(back.n, 22);
    assert_true(get("C", NOW, &back));
    assert_int_equal(back.n, 30);
}

static void one_batch_may_span_days_that_nobody_prepared(void **state)
{
    struct minute rows[] = {a_row("A", NOW - 200 * DAY_MS, 1), a_row("A", NOW, 2),
                            a_row("A", NOW + 300 * DAY_MS, 3)};
    struct minute back;

    (void)state;
    put(rows, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(get("A", rows[i].bucket_ms, &back));
        assert_int_equal(back.n, i + 1);
    }
}

/* More than any implementation takes in one go; two of three rows are there already. */
static void a_large_batch_is_one_transaction(void **state)
{
    enum { METERS = 2500 };
    struct minute *rows = xcalloc(METERS, sizeof *rows);
    struct lines l = {.n_columns = 3};
    struct history_query q = everything();
    size_t n = 0;

    (void)state;
    for (int i = 0; i < METERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "M%05d", i);
        if (i % 3)
            rows[n++] = a_row(id, NOW, 1);
    }
    put(rows, n);
    for (int i = 0; i < METERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "M%05d", i);
        rows[i] = a_row(id, NOW, 2);
    }
    put(rows, METERS);
    q.limit = 1000000;
    buf_init(&l.text, 0);
    ok(h->ops->select(h, &q, add_line, &l, &e));
    assert_int_equal(l.n, METERS);
    assert_non_null(strstr(l.text.data, "M00000 2025-10-26T04:27:00Z 2\nM00001 2025-10-26T04:27:00Z"
                                        " 2\n"));
    assert_null(strstr(l.text.data, "Z 1\n"));
    assert_string_equal(l.last_meter, "M02499");
    buf_clear(&l.text);
    free(rows);
}

static void a_meter_is_selected_in_order_of_time(void **state)
{
    struct history_query q = everything();

    (void)state;
    put_one("A", NOW + MINUTE_MS, 2);
    put_one("B", NOW, 9);
    put_one("A", NOW - 90 * DAY_MS, -1);
    put_one("A", NOW - DAY_MS, 0);
    put_one("A", NOW, 1);
    put_one("A", NOW + 2 * MINUTE_MS, 3);
    q.meter_id = "A";
    selects(&q, 0,
            "A 2025-07-28T04:27:00Z -1\nA 2025-10-25T04:27:00Z 0\nA 2025-10-26T04:27:00Z 1\n"
            "A 2025-10-26T04:28:00Z 2\nA 2025-10-26T04:29:00Z 3\n");
    q.start_ms = NOW;
    q.end_ms = NOW + 2 * MINUTE_MS;
    selects(&q, 0, "A 2025-10-26T04:27:00Z 1\nA 2025-10-26T04:28:00Z 2\n");
    q.limit = 1;
    selects(&q, 0, "A 2025-10-26T04:27:00Z 1\n");
    q.after_meter = "A";
    q.after_bucket_ms = NOW;
    selects(&q, 0, "A 2025-10-26T04:28:00Z 2\n");
    q.after_bucket_ms = NOW + MINUTE_MS;
    selects(&q, 0, "");
    q.after_meter = NULL;
    q.meter_id = "NOBODY";
    selects(&q, 0, "");
}

static void cells_are_text_and_absent_ones_null(void **state)
{
    const size_t columns[] = {(size_t)schema_column_by_name("import_power_avg"),
                              (size_t)schema_column_by_name("import_total_energy_last"),
                              (size_t)schema_column_by_name("grid_mode_last"),
                              (size_t)schema_column_by_name("battery_soc_avg"),
                              SCHEMA_SEC_MASK,
                              SCHEMA_QUALITY,
                              SCHEMA_BUCKET};
    struct history_query q = {
        .meter_id = "A", .end_ms = INT64_MAX, .columns = columns, .n_columns = 7, .limit = 10};
    struct minute m = a_row("A", NOW, 1);

    (void)state;
    m.v[COLUMN_IMPORT_POWER] = (double)474.6f; /* as float: 474.600006..., shortest text 474.6 */
    m.v[COLUMN_IMPORT_TOTAL_ENERGY] = 123456789.0125;
    m.v[COLUMN_GRID_MODE] = 2;
    m.sec_mask = MASK_AFTER | 1;
    put(&m, 1);
    selects(&q, 0, "474.6 123456789.0125 export - 2305843009213693953 17 2025-10-26T04:27:00Z\n");
}

static void the_fleet_is_selected_by_time_then_meter(void **state)
{
    struct history_query q = everything();

    (void)state;
    put_one("B", NOW, 2);
    put_one("a", NOW, 3);
    put_one("A", NOW + MINUTE_MS, 4);
    put_one("A", NOW, 1);
    put_one("Z", NOW - 30 * DAY_MS, 0);
    put_one("Y", NOW + 5 * DAY_MS, 5);
    selects(&q, 0,
            "Z 2025-09-26T04:27:00Z 0\nA 2025-10-26T04:27:00Z 1\nB 2025-10-26T04:27:00Z 2\n"
            "a 2025-10-26T04:27:00Z 3\nA 2025-10-26T04:28:00Z 4\nY 2025-10-31T04:27:00Z 5\n");
    q.start_ms = NOW;
    q.end_ms = NOW + MINUTE_MS;
    q.limit = 2;
    selects(&q, 0, "A 2025-10-26T04:27:00Z 1\nB 2025-10-26T04:27:00Z 2\n");
    q.end_ms = NOW;
    selects(&q, 0, "");
}

static void pages_give_every_row_once(void **state)
{
    struct history_query q = everything();
    struct lines l = {.n_columns = 3};
    size_t pages = 0, before;

    (void)state;
    for (int i = 0; i < 20; i++) {
        char id[8];
        snprintf(id, sizeof id, "M%d", i % 7);
        put_one(id, NOW + i / 7 * 700 * MINUTE_MS, i);
    }
    buf_init(&l.text, 0);
    q.limit = 3;
    do {
        before = l.n;
        ok(h->ops->select(h, &q, add_line, &l, &e));
        q.after_meter = l.last_meter;
        assert_true(when_parse(l.last_bucket, strlen(l.last_bucket), &q.after_bucket_ms));
        pages++;
    } while (l.n > before && pages < 100);
    assert_int_equal(l.n, 20);
    assert_int_equal(pages, 8);
    for (int i = 0; i < 20; i++) {
        char part[16];
        snprintf(part, sizeof part, "Z %d\n", i);
        char *at = strstr(l.text.data, part);
        assert_non_null(at);
        assert_null(strstr(at + 1, part));
    }
    buf_clear(&l.text);
}

static void a_selection_ends_early_without_harm(void **state)
{
    struct history_query q = everything();

    (void)state;
    for (int i = 0; i < 50; i++)
        put_one("A", NOW + i * MINUTE_MS, i);
    selects(&q, 1, "A 2025-10-26T04:27:00Z 0\n");
    q.meter_id = "A";
    selects(&q, 2, "A 2025-10-26T04:27:00Z 0\nA 2025-10-26T04:28:00Z 1\n");
    put_one("A", NOW, 77);
    selects(&q, 1, "A 2025-10-26T04:27:00Z 77\n");
}

static bool is_known(const char *meter_id)
{
    bool known;

    ok(h->ops->meter_known(h, meter_id, &known, &e));
    return known;
}

static void a_meter_is_known_from_the_registry_or_from_rows(void **state)
{
    struct history_meter m[] = {{.meter_id = "SEEN"}, {.meter_id = "SEEN2", .last_seen_ms = NOW}};

    (void)state;
    put_one("ROWS", NOW - 50 * DAY_MS, 1);
    ok(h->ops->meters_seen(h, m, 2, &e));
    ok(h->ops->meters_seen(h, m, 0, &e));
    assert_true(is_known("SEEN"));
    assert_true(is_known("SEEN2"));
    assert_true(is_known("ROWS"));
    assert_false(is_known("SEE"));
    assert_false(is_known(""));
}

static void lose_lock(void)
{
    if (on_server)
        sql_run("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE"
                " application_name = 'test history'");
    else
        history_ram_end_session(h);
}

static void once_the_lock_is_lost_nothing_works_until_it_is_taken_again(void **state)
{
    struct minute row = a_row("A", NOW, 1);
    const char *id = "A";
    bool got, found;

    (void)state;
    ok(h->ops->lock(h, &got, &e));
    assert_true(got);
    ok(h->ops->lock(h, &got, &e));
    assert_true(got);
    put(&row, 1);
    lose_lock();
    fails(h->ops->replace(h, &row, 1, take_all, NULL, &e), ERR_RETRY);
    fails(h->ops->earlier(h, &id, 1, NOW, &row, &found, &e), ERR_RETRY);
    fails(h->ops->meter_known(h, "A", &found, &e), ERR_RETRY);
    ok(h->ops->lock(h, &got, &e));
    assert_true(got);
    assert_true(is_known("A"));
}

/* The history as another process sees it. */
static struct history *open_second(void)
{
    return on_server ? open_on_server(server.url) : history_ram_share(h);
}

/* A server notices on its own time that a session is over. */
static void take_lock(struct history *own)
{
    bool got = false;

    for (int i = 0; i < 100 && !got; i++) {
        if (i > 0)
            usleep(20000);
        ok(own->ops->lock(own, &got, &e));
    }
    assert_true(got);
}

static void only_one_holds_the_lock(void **state)
{
    struct history *second = open_second();
    bool got;

    (void)state;
    take_lock(h);
    ok(second->ops->lock(second, &got, &e));
    assert_false(got);
    ok(second->ops->check_schema(second, &e));
    h->ops->close(h);
    h = second;
    take_lock(h);
}

static void who_lost_the_lock_to_another_does_nothing_more(void **state)
{
    struct minute row = a_row("A", NOW, 1);
    bool got;

    (void)state;
    take_lock(h);
    lose_lock();
    struct history *successor = open_second();
    take_lock(successor);
    fails(h->ops->replace(h, &row, 1, take_all, NULL, &e), ERR_RETRY);
    ok(h->ops->lock(h, &got, &e));
    assert_false(got);
    fails(h->ops->replace(h, &row, 1, take_all, NULL, &e), ERR_RETRY);
    ok(successor->ops->replace(successor, &row, 1, take_all, NULL, &e));
    successor->ops->close(successor);
    take_lock(h);
    row.n = 2;
    put(&row, 1);
}

static bool lose_lock_and_take(void *ctx, size_t i, const struct minute *old, struct minute *row)
{
    (void)ctx;
    (void)old;
    (void)row;
    if (i == 1)
        lose_lock();
    return true;
}

static void a_transaction_ends_with_its_session(void **state)
{
    struct minute rows[] = {a_row("A", NOW, 2), a_row("B", NOW, 2), a_row("C", NOW, 2)};
    struct minute back;

    (void)state;
    put_one("A", NOW, 1);
    take_lock(h);
    fails(h->ops->replace(h, rows, 3, lose_lock_and_take, NULL, &e), ERR_RETRY);
    struct history *second = open_second();
    take_lock(second);
    second->ops->close(second);
    take_lock(h);
    assert_true(get("A", NOW, &back));
    assert_int_equal(back.n, 1);
    assert_false(get("B", NOW, &back) || get("C", NOW, &back));
    put(rows, 3);
    assert_true(get("C", NOW, &back));
}

static void a_batch_that_names_a_row_twice_leaves_nothing(void **state)
{
    struct minute rows[] = {a_row("A", NOW, 2), a_row("B", NOW, 1), a_row("B", NOW, 2)};
    struct minute back;

    (void)state;
    put_one("A", NOW, 1);
    for (int with_old = 0; with_old < 2; with_old++) {
        assert_false(h->ops->replace(h, rows, 3, take_all, NULL, &e));
        assert_true(get("A", NOW, &back));
        assert_int_equal(back.n, 1);
        put(&rows[1], 1);
    }
}

static void processes_share_one_history(void **state)
{
    struct history *second = open_second();
    struct history_meter m = {"SEEN", NOW, NULL, NULL};
    struct minute back;

    (void)state;
    put_one("A", NOW, 1);
    ok(h->ops->meters_seen(h, &m, 1, &e));
    h->ops->close(h);
    h = second;
    assert_true(get("A", NOW, &back));
    assert_true(is_known("SEEN"));
}

static const char *const settings[] = {"fsync=off", "shared_buffers=32MB", NULL};

static void restart_server(void)
{
    if (!on_server) {
        history_ram_restart(h);
        return;
    }
    pg_server_stop(&server, SIGINT);
    assert_true(pg_server_start(&server, settings));
}

/* The first call may find that the connection is gone, not the second. */
static void notice_restart(struct history *own)
{
    if (!own->ops->check_schema(own, &e))
        ok(own->ops->check_schema(own, &e));
}

static void what_was_committed_survives_a_restart_of_the_server(void **state)
{
    struct history *leader = open_second();
    struct minute row = a_full_row("A", NOW), back;
    bool got;

    (void)state;
    take_lock(leader);
    ok(leader->ops->replace(leader, &row, 1, take_all, NULL, &e));
    restart_server();
    notice_restart(h);
    assert_true(get("A", NOW, &back));
    assert_same_row(&back, &row);
    ok(h->ops->lock(h, &got, &e));
    assert_true(got);
    for (int i = 0; i < 2; i++)
        fails(leader->ops->replace(leader, &row, 1, take_all, NULL, &e), ERR_RETRY);
    ok(leader->ops->lock(leader, &got, &e));
    assert_false(got);
    leader->ops->close(leader);
}

static void migrating_again_changes_nothing(void **state)
{
    struct minute back;

    (void)state;
    put_one("A", NOW, 5);
    ok(h->ops->migrate(h, NOW, &e));
    ok(h->ops->migrate(h, NOW + DAY_MS, &e));
    ok(h->ops->check_schema(h, &e));
    ok(h->ops->partitions(h, NOW, NOW + 3 * DAY_MS, &e));
    assert_true(get("A", NOW, &back));
    assert_int_equal(back.n, 5);
}

/* ---- In memory only ----------------------------------------------------------------------- */

static void calls_fail_on_demand_before_or_after_their_work(void **state)
{
    struct minute row = a_row("A", NOW, 1);
    size_t n;

    (void)state;
    history_ram_fail_next(h, 2, false);
    fails(h->ops->replace(h, &row, 1, take_all, NULL, &e), ERR_RETRY);
    fails(h->ops->check_schema(h, &e), ERR_RETRY);
    history_ram_rows(h, &n);
    assert_int_equal(n, 0);
    history_ram_fail_next(h, 1, true);
    fails(h->ops->replace(h, &row, 1, take_all, NULL, &e), ERR_RETRY);
    const struct minute *const *rows = history_ram_rows(h, &n);
    assert_int_equal(n, 1);
    assert_same_row(rows[0], &row);
    put(&row, 1);
}

static void the_registry_keeps_what_is_not_given(void **state)
{
    struct history_meter first = {"A", NOW, "{\"d\":1}", NULL};
    struct history_meter second = {"A", NOW - 1, NULL, "{\"s\":1}"};

    (void)state;
    ok(h->ops->meters_seen(h, &first, 1, &e));
    ok(h->ops->meters_seen(h, &second, 1, &e));
    const struct history_meter *m = history_ram_meter(h, "A");
    assert_true(m->last_seen_ms == NOW);
    assert_string_equal(m->last_data, "{\"d\":1}");
    assert_string_equal(m->last_status, "{\"s\":1}");
    assert_null(history_ram_meter(h, "B"));
}

struct script {
    enum ram_fault fault;
    const char *only; /* call that the fault is for, NULL: every one */
    struct buf asked; /* names of the calls */
};

static enum ram_fault follow_script(void *ctx, const char *call)
{
    struct script *s = ctx;

    buf_addf(&s->asked, "%s ", call);
    return !s->only || strcmp(s->only, call) == 0 ? s->fault : RAM_FINE;
}

static bool select_nothing(void)
{
    struct history_query q = everything();

    q.limit = 0;
    return h->ops->select(h, &q, add_line, NULL, &e);
}

/* Every operation once, first those that write; how each went, as letters. */
static void call_all(char went[16])
{
    struct minute row = a_row("A", NOW, 1), out;
    struct history_meter m = {"A", NOW, NULL, NULL};
    struct history_key key = {"A", NOW};
    struct history_durability d;
    const char *id = "A";
    int64_t next_ms;
    bool flag;
    const bool done[] = {
        h->ops->migrate(h, NOW, &e),
        h->ops->replace(h, &row, 1, take_all, NULL, &e),
        h->ops->meters_seen(h, &m, 1, &e),
        h->ops->partitions(h, NOW, NOW, &e),
        h->ops->check_schema(h, &e),
        h->ops->lock(h, &flag, &e),
        h->ops->earlier(h, &id, 1, NOW, &out, &flag, &e),
        h->ops->next_buckets(h, &key, 1, &next_ms, &e),
        select_nothing(),
        h->ops->meter_known(h, "A", &flag, &e),
        h->ops->durability(h, &d, &e),
    };

    for (size_t i = 0; i < sizeof done; i++)
        went[i] = done[i] ? '+' : '-';
    went[sizeof done] = '\0';
}

static void every_call_asks_what_becomes_of_it(void **state)
{
    struct script script = {RAM_FINE};
    static const struct {
        enum ram_fault fault;
        const char *went;
        bool committed, known; /* afterwards */
    } cases[] = {
        {RAM_FAIL_BEFORE, "-----------", false, false},
        {RAM_REFUSE, "----+++++++", false, false},
        {RAM_FAIL_AFTER, "-----------", true, true},
        {RAM_FINE, "+++++++++++", true, true},
    };
    char went[16];

    (void)state;
    buf_init(&script.asked, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        h->ops->close(h);
        h = history_ram_open();
        history_ram_set_faults(h, &(struct ram_faults){follow_script, &script});
        script.fault = cases[i].fault;
        buf_reset(&script.asked);
        call_all(went);
        assert_string_equal(went, cases[i].went);
        assert_string_equal(script.asked.data,
                            cases[i].fault == RAM_FINE
                                ? "migrate replace commit meters_seen partitions check_schema lock "
                                  "earlier next_buckets select meter_known durability "
                                : "migrate replace meters_seen partitions check_schema lock "
                                  "earlier next_buckets select meter_known durability ");
        assert_true((history_ram_row(h, "A", NOW) != NULL) == cases[i].committed);
        assert_true((history_ram_meter(h, "A") != NULL) == cases[i].known);
    }
    script.fault = RAM_FAIL_BEFORE;
    history_ram_set_faults(h, NULL);
    ok(h->ops->check_schema(h, &e));
    buf_clear(&script.asked);
}

static void a_lock_whose_answer_was_lost_is_not_held(void **state)
{
    struct history *second = history_ram_share(h);
    bool got;

    (void)state;
    history_ram_fail_next(h, 1, true);
    fails(h->ops->lock(h, &got, &e), ERR_RETRY);
    assert_false(got);
    ok(h->ops->check_schema(h, &e)); /* it never believed to hold it */
    take_lock(second);
    second->ops->close(second);
    take_lock(h);
    history_ram_fail_next(h, 1, true);
    fails(h->ops->lock(h, &got, &e), ERR_RETRY);
    fails(h->ops->check_schema(h, &e), ERR_RETRY);
}

/* What one fault does to a replacement and to the lock of the one who asked for it. */
static void a_replacement_may_fail_before_in_or_after_its_transaction(void **state)
{
    static const struct {
        const char *call;
        enum ram_fault fault;
        bool committed, keeps_lock;
    } cases[] = {
        {"replace", RAM_FAIL_BEFORE, false, false}, {"replace", RAM_REFUSE, false, true},
        {"replace", RAM_FAIL_AFTER, true, false},   {"commit", RAM_FAIL_BEFORE, false, false},
        {"commit", RAM_REFUSE, false, true},        {"commit", RAM_FAIL_AFTER, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script script = {cases[i].fault, cases[i].call};
        struct minute row = a_row("A", NOW + (int64_t)i * MINUTE_MS, 1);
        struct history *second = history_ram_share(h);
        bool got;
        buf_init(&script.asked, 0);
        take_lock(h);
        history_ram_set_faults(h, &(struct ram_faults){follow_script, &script});
        fails(h->ops->replace(h, &row, 1, take_all, NULL, &e), ERR_RETRY);
        history_ram_set_faults(h, NULL);
        assert_true((history_ram_row(h, "A", row.bucket_ms) != NULL) == cases[i].committed);
        ok(second->ops->lock(second, &got, &e));
        assert_true(got != cases[i].keeps_lock);
        second->ops->close(second);
        buf_clear(&script.asked);
    }
}

/* While the commit of one process is on its way, the server is restarted and another takes over. */
static enum ram_fault take_over(void *ctx, const char *call)
{
    struct history *successor = ctx;
    struct minute row = a_row("A", NOW, 2);
    bool got;

    if (strcmp(call, "commit") != 0)
        return RAM_FINE;
    history_ram_restart(successor);
    assert_false(successor->ops->lock(successor, &got, &e));
    take_lock(successor);
    ok(successor->ops->replace(successor, &row, 1, take_all, NULL, &e));
    return RAM_FINE;
}

static void a_stalled_transaction_changes_nothing_behind_its_successor(void **state)
{
    struct history *successor = history_ram_share(h);
    struct minute row = a_row("A", NOW, 1);

    (void)state;
    take_lock(h);
    history_ram_set_faults(h, &(struct ram_faults){take_over, successor});
    fails(h->ops->replace(h, &row, 1, take_all, NULL, &e), ERR_RETRY);
    assert_int_equal(history_ram_row(h, "A", NOW)->n, 2);
    successor->ops->close(successor);
}

static void rows_are_told_in_order_of_meter_and_bucket(void **state)
{
    size_t n;

    (void)state;
    history_ram_rows(h, &n);
    assert_int_equal(n, 0);
    put_one("B", NOW, 2);
    put_one("A", NOW + MINUTE_MS, 1);
    history_ram_rows(h, &n);
    assert_int_equal(n, 2);
    put_one("A", NOW, 0);
    const struct minute *const *rows = history_ram_rows(h, &n);
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rows[i]->n, i);
    assert_ptr_equal(history_ram_row(h, "A", NOW), rows[0]);
    assert_null(history_ram_row(h, "A", NOW - MINUTE_MS));
    assert_null(history_ram_row(h, "AA", NOW));
}

/* ---- PostgreSQL only ---------------------------------------------------------------------- */

static void meters_keep_their_messages_as_published(void **state)
{
    struct history_meter first[] = {{"B", NOW, "{ \"b\" : 1.50 , \"b\":\"\\u0000\" }", NULL},
                                    {"A", 0, NULL, NULL},
                                    {"B", NOW - 5000, NULL, "{\"s\":1}"}};
    struct history_meter second[] = {{"B", NOW - 1, NULL, "{\"s\":2}"}, {"A", NOW, "[]", NULL}};

    (void)state;
    ok(h->ops->meters_seen(h, first, 3, &e));
    sql_is("SELECT last_seen IS NULL AND last_data IS NULL FROM meters WHERE meter_id = 'A'", "t");
    ok(h->ops->meters_seen(h, second, 2, &e));
    sql_is("SELECT last_data FROM meters WHERE meter_id = 'B'",
           "{ \"b\" : 1.50 , \"b\":\"\\u0000\" }");
    sql_is("SELECT last_status FROM meters WHERE meter_id = 'B'", "{\"s\":2}");
    sql_is("SELECT extract(epoch FROM last_seen)::bigint FROM meters WHERE meter_id = 'B'",
           "1761452820");
    sql_is("SELECT state || last_data::text FROM meters WHERE meter_id = 'A'", "active[]");
}

static void a_schema_that_was_never_migrated_is_refused(void **state)
{
    const char *url = new_database();
    struct history *fresh = open_on_server(url);

    (void)state;
    fails(fresh->ops->check_schema(fresh, &e), ERR_FATAL);
    assert_non_null(strstr(e.text, "enerlink migrate"));
    struct minute row = a_row("A", NOW, 1);
    fails(fresh->ops->replace(fresh, &row, 1, take_all, NULL, &e), ERR_FATAL);
    assert_non_null(strstr(e.text, "enerlink migrate"));
    ok(fresh->ops->migrate(fresh, NOW, &e));
    ok(fresh->ops->check_schema(fresh, &e));
    ok(fresh->ops->replace(fresh, &row, 1, take_all, NULL, &e));
    fresh->ops->close(fresh);
    char *days = sql(url, "SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY 1) FROM"
                          " (SELECT inhrelid FROM pg_inherits WHERE inhparent ="
                          " 'telemetry_aggregates'::regclass ORDER BY 1) d");
    assert_non_null(strstr(days, "telemetry_aggregates_20251026 "));
    assert_non_null(strstr(days, "telemetry_aggregates_20251102"));
    assert_null(strstr(days, "telemetry_aggregates_20251103"));
    free(days);
}

static void *migrate_once(void *url)
{
    struct err why;
    struct history_pg_options o = {.url = url, .connect_timeout_s = 5};
    struct history *own = history_pg_open(&o, &why);
    bool done = own->ops->migrate(own, NOW, &why);

    own->ops->close(own);
    return done ? NULL : xstrdup(why.text);
}

static void two_may_migrate_at_once(void **state)
{
    pthread_t threads[3];
    char url[160];

    (void)state;
    snprintf(url, sizeof url, "%s", new_database());
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, migrate_once, url), 0);
    for (size_t i = 0; i < 3; i++) {
        void *why;
        pthread_join(threads[i], &why);
        if (why)
            fail_msg("%s", (char *)why);
    }
}

static void a_new_metric_becomes_a_column_in_which_old_rows_are_null(void **state)
{
    struct minute row = a_full_row("A", NOW), back;

    (void)state;
    put(&row, 1);
    sql_run("ALTER TABLE telemetry_aggregates DROP COLUMN wifi_rssi_avg, DROP COLUMN"
            " grid_mode_last");
    fails(h->ops->check_schema(h, &e), ERR_FATAL);
    ok(h->ops->migrate(h, NOW, &e));
    ok(h->ops->check_schema(h, &e));
    row.v[COLUMN_WIFI_RSSI] = row.v[COLUMN_GRID_MODE] = (double)NAN;
    assert_true(get("A", NOW, &back));
    assert_same_row(&back, &row);
    row = a_full_row("A", NOW);
    put(&row, 1);
    assert_true(get("A", NOW, &back));
    assert_same_row(&back, &row);
}

static void a_column_of_another_type_is_refused(void **state)
{
    (void)state;
    sql_run("ALTER TABLE telemetry_aggregates ALTER wifi_rssi_avg TYPE float8");
    fails(h->ops->migrate(h, NOW, &e), ERR_FATAL);
    assert_non_null(strstr(e.text, "wifi_rssi_avg"));
    assert_non_null(strstr(e.text, "double precision"));
    fails(h->ops->check_schema(h, &e), ERR_FATAL);
    sql_run("ALTER TABLE telemetry_aggregates ALTER wifi_rssi_avg TYPE float4");
    ok(h->ops->check_schema(h, &e));
}

static void columns_of_a_newer_program_are_left_alone(void **state)
{
    struct minute row = a_full_row("A", NOW), back;

    (void)state;
    sql_run(
        "ALTER TABLE telemetry_aggregates ADD newer_a int NOT NULL DEFAULT 7, ADD newer_b text");
    ok(h->ops->check_schema(h, &e));
    put(&row, 1);
    sql_run("UPDATE telemetry_aggregates SET newer_b = 'kept'");
    row.n = 13;
    put(&row, 1);
    assert_true(get("A", NOW, &back));
    assert_same_row(&back, &row);
    sql_is("SELECT newer_a || newer_b FROM telemetry_aggregates", "7kept");
    sql_run("ALTER TABLE telemetry_aggregates DROP newer_a, DROP newer_b");
}

static void a_migration_that_was_edited_is_refused(void **state)
{
    (void)state;
    sql_is("SELECT count(*) FROM schema_migrations WHERE name = 'meters' AND length(checksum) = 64",
           "1");
    sql_run("UPDATE schema_migrations SET checksum = reverse(checksum) WHERE version = 2");
    fails(h->ops->migrate(h, NOW, &e), ERR_FATAL);
    assert_non_null(strstr(e.text, "002_meters"));
    sql_run("UPDATE schema_migrations SET checksum = reverse(checksum) WHERE version = 2");
    ok(h->ops->migrate(h, NOW, &e));
}

struct writer {
    char meter_id[8];
    char *why;
};

static void *write_far_day(void *ctx)
{
    struct writer *w = ctx;
    struct err why;
    struct history_pg_options o = {.url = server.url, .connect_timeout_s = 5};
    struct history *own = history_pg_open(&o, &why);

    for (int day = 0; day < 20 && !w->why; day++) {
        struct minute row = a_row(w->meter_id, NOW + (1000 + day) * DAY_MS, 1);
        if (!own->ops->replace(own, &row, 1, take_all, NULL, &why))
            w->why = xstrdup(why.text);
    }
    own->ops->close(own);
    return NULL;
}

static void writers_may_need_the_same_missing_day_at_once(void **state)
{
    struct writer writers[3] = {{.meter_id = "A"}, {.meter_id = "B"}, {.meter_id = "C"}};
    pthread_t threads[3];

    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_far_day, &writers[i]), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 3; i++)
        if (writers[i].why)
            fail_msg("%s", writers[i].why);
    sql_is("SELECT count(*) FROM telemetry_aggregates", "60");
}

static void a_detached_day_takes_no_rows(void **state)
{
    struct minute row = a_row("A", NOW + 50 * DAY_MS, 1);

    (void)state;
    put(&row, 1);
    sql_run("ALTER TABLE telemetry_aggregates DETACH PARTITION telemetry_aggregates_20251215");
    fails(h->ops->replace(h, &row, 1, take_all, NULL, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "telemetry_aggregates_20251215"));
    sql_run("DROP TABLE telemetry_aggregates_20251215");
    put(&row, 1);
}

static void a_failed_batch_leaves_nothing_and_keeps_the_lock(void **state)
{
    struct minute rows[] = {a_row("A", NOW, 1), a_row("B", NOW, 1), a_row("B", NOW, 2)};
    struct minute back;
    bool got;

    (void)state;
    ok(h->ops->lock(h, &got, &e));
    assert_true(got);
    fails(h->ops->replace(h, rows, 3, take_all, NULL, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "(B, 2025-10-26 04:27:00+00)"));
    assert_false(is_known("A"));
    put(rows, 2);
    fails(h->ops->replace(h, rows, 3, take_all, NULL, &e), ERR_INPUT);
    strcpy(rows[1].meter_id, "\xff");
    fails(h->ops->replace(h, rows, 2, take_all, NULL, &e), ERR_INPUT);
    assert_true(get("A", NOW, &back));
}

static void the_server_says_what_is_not_durable(void **state)
{
    struct history_durability d;

    (void)state;
    ok(h->ops->durability(h, &d, &e));
    assert_false(d.sound);
    assert_non_null(strstr(d.text, "fsync"));
    assert_null(strstr(d.text, "synchronous_commit"));
}

static void passwords_stay_out_of_error_texts(void **state)
{
    struct history_pg_options o = {.url = "postgresql://me:geheim@[::1/db", .connect_timeout_s = 2};

    (void)state;
    assert_null(history_pg_open(&o, &e));
    assert_int_equal(e.kind, ERR_FATAL);
    assert_null(strstr(e.text, "geheim"));
    o.url = "postgresql://me:geheim@127.0.0.1:1/db";
    struct history *nobody = history_pg_open(&o, &e);
    assert_non_null(nobody);
    fails(nobody->ops->check_schema(nobody, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "127.0.0.1:1/db"));
    assert_null(strstr(e.text, "geheim"));
    nobody->ops->close(nobody);
}

/* Stopping a process is as near as a test gets to a server that hangs. */
static void a_server_that_hangs_is_given_up(void **state)
{
    struct history_pg_options o = {.url = server.url,
                                   .application_name = "hangs",
                                   .connect_timeout_s = 2,
                                   .statement_timeout_ms = 100};
    struct history *own = history_pg_open(&o, &e);
    bool known;

    (void)state;
    ok(own->ops->meter_known(own, "A", &known, &e));
    char *pid =
        sql(server.url, "SELECT pid FROM pg_stat_activity WHERE application_name = 'hangs'");
    assert_int_equal(kill((pid_t)atoi(pid), SIGSTOP), 0);
    fails(own->ops->meter_known(own, "A", &known, &e), ERR_RETRY);
    assert_int_equal(kill((pid_t)atoi(pid), SIGCONT), 0);
    assert_non_null(strstr(e.text, "no answer"));
    ok(own->ops->meter_known(own, "A", &known, &e));
    own->ops->close(own);
    free(pid);
}

static void a_restart_of_the_server_is_not_noticed_between_calls(void **state)
{
    struct minute back;

    (void)state;
    put_one("A", NOW, 5);
    pg_server_stop(&server, SIGINT);
    fails(h->ops->check_schema(h, &e), ERR_RETRY);
    assert_true(pg_server_start(&server, settings));
    assert_true(get("A", NOW, &back));
    pg_server_stop(&server, SIGINT);
    assert_true(pg_server_start(&server, settings));
    assert_true(get("A", NOW, &back));
}

/* ---- Running ------------------------------------------------------------------------------ */

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const struct CMUnitTest contract[] = {
    T(a_row_comes_back_bit_for_bit),
    T(a_replaced_row_comes_back_bit_for_bit),
    T(earlier_is_the_last_row_before_the_bucket),
    T(the_last_value_of_a_column_passes_over_rows_without_it),
    T(next_buckets_pass_over_rows_without_data),
    T(next_buckets_are_strictly_after_each_key),
    T(the_decision_sees_the_old_row_and_may_change_the_new_one),
    T(one_batch_may_span_days_that_nobody_prepared),
    T(a_large_batch_is_one_transaction),
    T(a_meter_is_selected_in_order_of_time),
    T(cells_are_text_and_absent_ones_null),
    T(the_fleet_is_selected_by_time_then_meter),
    T(pages_give_every_row_once),
    T(a_selection_ends_early_without_harm),
    T(a_meter_is_known_from_the_registry_or_from_rows),
    T(once_the_lock_is_lost_nothing_works_until_it_is_taken_again),
    T(only_one_holds_the_lock),
    T(who_lost_the_lock_to_another_does_nothing_more),
    T(a_transaction_ends_with_its_session),
    T(a_batch_that_names_a_row_twice_leaves_nothing),
    T(processes_share_one_history),
    T(what_was_committed_survives_a_restart_of_the_server),
    T(migrating_again_changes_nothing),
};

static const struct CMUnitTest in_memory_only[] = {
    T(calls_fail_on_demand_before_or_after_their_work),
    T(the_registry_keeps_what_is_not_given),
    T(every_call_asks_what_becomes_of_it),
    T(a_lock_whose_answer_was_lost_is_not_held),
    T(a_replacement_may_fail_before_in_or_after_its_transaction),
    T(a_stalled_transaction_changes_nothing_behind_its_successor),
    T(rows_are_told_in_order_of_meter_and_bucket),
};

static const struct CMUnitTest on_server_only[] = {
    T(meters_keep_their_messages_as_published),
    T(a_schema_that_was_never_migrated_is_refused),
    T(two_may_migrate_at_once),
    T(a_new_metric_becomes_a_column_in_which_old_rows_are_null),
    T(a_column_of_another_type_is_refused),
    T(columns_of_a_newer_program_are_left_alone),
    T(a_migration_that_was_edited_is_refused),
    T(writers_may_need_the_same_missing_day_at_once),
    T(a_detached_day_takes_no_rows),
    T(a_failed_batch_leaves_nothing_and_keeps_the_lock),
    T(the_server_says_what_is_not_durable),
    T(passwords_stay_out_of_error_texts),
    T(a_server_that_hangs_is_given_up),
    T(a_restart_of_the_server_is_not_noticed_between_calls),
};

static int run_on_server(void)
{
    int failed = -1;

    on_server = true;
    alarm(120);
    if (pg_server_make(&server) && pg_server_start(&server, settings))
        failed = cmocka_run_group_tests_name("contract on PostgreSQL", contract, NULL, NULL) +
                 cmocka_run_group_tests_name("PostgreSQL only", on_server_only, NULL, NULL);
    else
        fprintf(stderr, "PostgreSQL did not start: see %s/log\n", server.dir);
    if (failed >= 0)
        pg_server_remove(&server);
    return failed;
}

int main(void)
{
    enum { SKIPPED = 77 }; /* as Meson understands it */
    int failed = cmocka_run_group_tests_name("contract in memory", contract, NULL, NULL) +
                 cmocka_run_group_tests_name("in memory only", in_memory_only, NULL, NULL);

    if (!pg_server_possible()) {
        fprintf(stderr, "skipped on PostgreSQL: " PG_BIN "postgres is missing\n");
        return failed ? 1 : SKIPPED;
    }
    return failed || run_on_server() ? 1 : 0;
}
