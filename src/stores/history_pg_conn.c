#include "stores/history_pg.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* Client-side time on top of the server's statement_timeout, which normally strikes first. */
#define GRACE_MS 3000

/* 2000-01-01T00:00:00Z, where PostgreSQL's timestamps begin. */
#define PG_EPOCH_MS INT64_C(946684800000)
/* src/include/catalog/pg_type.dat */
enum {
    OID_INT8 = 20,
    OID_TEXT = 25,
    OID_TEXT_ARRAY = 1009,
    OID_TIMESTAMPTZ = 1184,
    OID_TIMESTAMPTZ_ARRAY = 1185,
};

/* ---- Errors ------------------------------------------------------------------------------- */

#define MIGRATE_HINT "; run \"enerlink migrate\""

/* The first prefix that fits SQLSTATE decides (PostgreSQL manual, appendix A). */
static const struct {
    const char *prefix;
    enum err_kind kind;
    const char *hint;
} sqlstate_kinds[] = {
    {"21", ERR_INPUT, ""},
    {"22", ERR_INPUT, ""},
    {"23502", ERR_INPUT, ""},
    {"42501", ERR_FATAL, "; grant the right to the role of the URL"},
    {"42P01", ERR_FATAL, MIGRATE_HINT},
    {"42703", ERR_FATAL, MIGRATE_HINT},
    {"42883", ERR_FATAL, MIGRATE_HINT},
    {"42", ERR_FATAL, ""},
    {"0A", ERR_FATAL, ""},
    /* Anything else passes: connections (08), resources (53), deadlocks (40), shutdown (57), a
     * standby (25), a row that another session wrote meanwhile (23505), a partition that went
     * away between two statements (23514). */
    {"", ERR_RETRY, ""},
};

static int first_line_length(const char *s)
{
    return (int)strcspn(s, "\n");
}

static bool fail_lost(struct history_pg *p, struct err *e)
{
    const char *text = PQerrorMessage(p->conn);

    err_set(e, ERR_RETRY, "%s: %.*s", p->where, first_line_length(text), text);
    pg_disconnect(p);
    return false;
}

static bool fail_result(struct history_pg *p, const PGresult *r, struct err *e)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL);
    const char *context = PQresultErrorField(r, PG_DIAG_CONTEXT);
    size_t i = 0;

    if (!state)
        return fail_lost(p, e);
    while (strncmp(state, sqlstate_kinds[i].prefix, strlen(sqlstate_kinds[i].prefix)) != 0)
        i++;
    return err_set(e, sqlstate_kinds[i].kind, "%s: %s%s%s%s%.*s (SQLSTATE %s)%s", p->where,
                   text ? text : "error", detail ? ": " : "", detail ? detail : "",
                   context ? "; " : "", context ? first_line_length(context) : 0,
                   context ? context : "", state, sqlstate_kinds[i].hint);
}

/* ---- Connection --------------------------------------------------------------------------- */

void pg_disconnect(struct history_pg *p)
{
    PQfinish(p->conn);
    p->conn = NULL;
    if (p->lock == PG_LOCK_HELD)
        p->lock = PG_LOCK_LOST;
}

static void ignore_notice(void *ctx, const PGresult *r)
{
    (void)ctx;
    (void)r;
}

static void start_deadline(struct history_pg *p)
{
    p->deadline_ms = 0;
    if (p->statement_timeout_ms > 0)
        p->deadline_ms = clock_mono_ms(clock_system()) + p->statement_timeout_ms + GRACE_MS;
}

/* False when the deadline passed first. */
static bool wait_for_socket(struct history_pg *p, short events)
{
    struct pollfd fd = {.fd = PQsocket(p->conn), .events = events};

    for (;;) {
        int64_t left_ms = -1;
        if (p->deadline_ms) {
            left_ms = p->deadline_ms - clock_mono_ms(clock_system());
            if (left_ms <= 0)
                return false;
        }
        int n = poll(&fd, 1, (int)left_ms);
        if (n > 0 || (n < 0 && errno != EINTR))
            return true; /* what is wrong with the socket, libpq finds out by reading it */
    }
}

/* The next result of what was sent, NULL in *r when there is no more. False: connection gone. */
static bool next_result(struct history_pg *p, PGresult **r, struct err *e)
{
    for (;;) {
        int unsent = PQflush(p->conn);
        if (unsent < 0)
            return fail_lost(p, e);
        if (!unsent && !PQisBusy(p->conn)) {
            *r = PQgetResult(p->conn);
            return true;
        }
        if (!wait_for_socket(p, unsent ? POLLIN | POLLOUT : POLLIN)) {
            err_set(e, ERR_RETRY, "%s: no answer within %d ms", p->where,
                    p->statement_timeout_ms + GRACE_MS);
            pg_disconnect(p);
            return false;
        }
        if (!PQconsumeInput(p->conn))
            return fail_lost(p, e);
    }
}

static bool is_error(const PGresult *r)
{
    ExecStatusType status = PQresultStatus(r);

    return status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK;
}

/* The last result of what was sent, or of several the first that failed. NULL on failure. */
static PGresult *finish(struct history_pg *p, struct err *e)
{
    PGresult *kept = NULL, *r;
    bool alive;

    while ((alive = next_result(p, &r, e)) && r) {
        if (kept && is_error(kept)) {
            PQclear(r);
            continue;
        }
        PQclear(kept);
        kept = r;
    }
    if (alive && kept && !is_error(kept))
        return kept;
    if (kept && is_error(kept) && (alive || PQresultErrorField(kept, PG_DIAG_SQLSTATE)))
        fail_result(p, kept, e);
    PQclear(kept);
    if (p->conn && PQstatus(p->conn) == CONNECTION_BAD)
        pg_disconnect(p);
    return NULL;
}

/* jit: wide rows pass its cost limit without ever earning it back. */
static bool set_up_session(struct history_pg *p, struct err *e)
{
    char sql[512];

    snprintf(sql, sizeof sql,
             "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1;"
             "SET client_min_messages = 'warning'; SET plan_cache_mode = force_custom_plan;"
             "SET jit = off; SET statement_timeout = %d",
             p->statement_timeout_ms);
    start_deadline(p);
    if (!PQsendQuery(p->conn, sql))
        return fail_lost(p, e);
    PGresult *r = finish(p, e);
    if (!r) {
        if (p->conn)
            pg_disconnect(p);
        return false;
    }
    PQclear(r);
    return true;
}

/* A dead peer is noticed within 10 s; what the URL says about it goes first. */
static bool connect_to_server(struct history_pg *p, struct err *e)
{
    char timeout_s[16];

    snprintf(timeout_s, sizeof timeout_s, "%d", p->connect_timeout_s);
    const char *const keys[] = {"keepalives_idle",
                                "keepalives_interval",
                                "keepalives_count",
                                "tcp_user_timeout",
                                "dbname",
                                "connect_timeout",
                                "application_name",
                                "client_encoding",
                                NULL};
    const char *const values[] = {"4",    "2", "3", "10000", p->url, timeout_s, p->application_name,
                                  "UTF8", NULL};

    p->conn = PQconnectdbParams(keys, values, 1);
    if (PQstatus(p->conn) != CONNECTION_OK || PQsetnonblocking(p->conn, 1) != 0)
        return fail_lost(p, e);
    PQsetNoticeReceiver(p->conn, ignore_notice, NULL);
    return set_up_session(p, e);
}

/* What the server sent unasked since the last statement: usually nothing, or that it goes away. */
static bool is_alive(struct history_pg *p)
{
    struct pollfd fd = {.fd = PQsocket(p->conn), .events = POLLIN};

    while (poll(&fd, 1, 0) > 0) {
        if (!PQconsumeInput(p->conn))
            return false;
        PQisBusy(p->conn); /* takes in what was read */
        if (PQstatus(p->conn) != CONNECTION_OK)
            return false;
    }
    return true;
}

/* Only between transactions may one connection silently take the place of another. */
static bool get_ready(struct history_pg *p, struct err *e)
{
    if (p->conn && PQtransactionStatus(p->conn) == PQTRANS_IDLE && !is_alive(p))
        pg_disconnect(p);
    if (p->lock == PG_LOCK_LOST)
        return err_set(e, ERR_RETRY,
                       "%s: the lock of the one aggregator was lost with the "
                       "connection",
                       p->where);
    if (!p->conn && !connect_to_server(p, e))
        return false;
    start_deadline(p);
    return true;
}

/* ---- Statements --------------------------------------------------------------------------- */

/* As libpq numbers them. */
enum { FORM_TEXT, FORM_BINARY };

static bool send_statement(struct history_pg *p, const char *sql, const struct pg_args *args,
                           int form, struct err *e)
{
    const char *values[PG_ARGS_MOST];
    int binary[PG_ARGS_MOST];
    int n = args ? args->n : 0;

    for (int i = 0; i < n; i++) {
        /* An empty text as the only argument: no bytes, but not null. */
        values[i] = args->bytes.data ? args->bytes.data + args->starts[i] : "";
        binary[i] = FORM_BINARY;
    }
    if (!get_ready(p, e))
        return false;
    if (!PQsendQueryParams(p->conn, sql, n, args ? args->types : NULL, values,
                           args ? args->lengths : NULL, binary, form))
        return fail_lost(p, e);
    return true;
}

PGresult *pg_query(struct history_pg *p, const char *sql, const struct pg_args *args, struct err *e)
{
    return send_statement(p, sql, args, FORM_BINARY, e) ? finish(p, e) : NULL;
}

bool pg_run(struct history_pg *p, const char *sql, const struct pg_args *args, struct err *e)
{
    PGresult *r = pg_query(p, sql, args, e);

    PQclear(r);
    return r != NULL;
}

bool pg_script(struct history_pg *p, const char *sql, struct err *e)
{
    if (!get_ready(p, e))
        return false;
    if (!PQsendQuery(p->conn, sql))
        return fail_lost(p, e);
    PGresult *r = finish(p, e);
    PQclear(r);
    return r != NULL;
}

bool pg_copy(struct history_pg *p, const char *sql, const struct buf *bytes, struct err *e)
{
    PGresult *r;

    assert(bytes->len <= INT32_MAX);
    if (!send_statement(p, sql, NULL, FORM_TEXT, e) || !next_result(p, &r, e))
        return false;
    bool takes_data = PQresultStatus(r) == PGRES_COPY_IN;
    if (!takes_data)
        fail_result(p, r, e);
    PQclear(r);
    if (takes_data && (PQputCopyData(p->conn, bytes->data, (int)bytes->len) != 1 ||
                       PQputCopyEnd(p->conn, NULL) != 1))
        return fail_lost(p, e);
    if (!p->conn)
        return false;
    struct err ignored;
    r = finish(p, takes_data ? e : &ignored);
    PQclear(r);
    return takes_data && r;
}

static void stop_stream(struct history_pg *p)
{
    char ignored_text[256];
    struct err ignored;
    PGcancel *cancel = PQgetCancel(p->conn);

    PQcancel(cancel, ignored_text, sizeof ignored_text);
    PQfreeCancel(cancel);
    PQclear(finish(p, &ignored));
}

bool pg_stream(struct history_pg *p, const char *sql, const struct pg_args *args,
               bool (*fn)(void *ctx, const PGresult *row), void *ctx, struct err *e)
{
    PGresult *r;
    struct err ignored;

    if (!send_statement(p, sql, args, FORM_TEXT, e))
        return false;
    PQsetSingleRowMode(p->conn);
    while (next_result(p, &r, e)) {
        if (PQresultStatus(r) != PGRES_SINGLE_TUPLE) {
            bool ok = PQresultStatus(r) == PGRES_TUPLES_OK || fail_result(p, r, e);
            PQclear(r);
            if (p->conn)
                PQclear(finish(p, &ignored));
            return ok;
        }
        bool more = fn(ctx, r);
        PQclear(r);
        if (!more) {
            stop_stream(p);
            return true;
        }
        start_deadline(p);
    }
    return false;
}

void pg_abort(struct history_pg *p)
{
    struct err ignored;

    if (!p->conn || PQtransactionStatus(p->conn) == PQTRANS_IDLE)
        return;
    if (!pg_run(p, "ROLLBACK", NULL, &ignored) && p->conn)
        pg_disconnect(p);
}

bool pg_transaction(struct history_pg *p,
                    bool (*body)(struct history_pg *p, void *ctx, struct err *e), void *ctx,
                    struct err *e)
{
    bool ok = pg_run(p, "BEGIN", NULL, e) && body(p, ctx, e) && pg_run(p, "COMMIT", NULL, e);

    if (!ok)
        pg_abort(p);
    return ok;
}

/* ---- Arguments ---------------------------------------------------------------------------- */

void pg_args_init(struct pg_args *a)
{
    *a = (struct pg_args){0};
    buf_init(&a->bytes, 0);
}

void pg_args_clear(struct pg_args *a)
{
    buf_clear(&a->bytes);
}

static void add_be32(struct buf *b, uint32_t n)
{
    n = htobe32(n);
    buf_add(b, &n, sizeof n);
}

static void add_be64(struct buf *b, int64_t n)
{
    uint64_t big = htobe64((uint64_t)n);

    buf_add(b, &big, sizeof big);
}

int64_t pg_micros(int64_t ms)
{
    int64_t most = ms > PG_TIME_MS_MOST ? PG_TIME_MS_MOST : ms;

    return ((most < 0 ? 0 : most) - PG_EPOCH_MS) * 1000;
}

static void begin_arg(struct pg_args *a, Oid type)
{
    assert(a->n < PG_ARGS_MOST);
    a->types[a->n] = type;
    a->starts[a->n] = a->bytes.len;
}

void pg_arg_end(struct pg_args *a)
{
    a->lengths[a->n] = (int)(a->bytes.len - a->starts[a->n]);
    a->n++;
}

void pg_arg_text(struct pg_args *a, const char *s)
{
    begin_arg(a, OID_TEXT);
    buf_adds(&a->bytes, s);
    pg_arg_end(a);
}

void pg_arg_int8(struct pg_args *a, int64_t n)
{
    begin_arg(a, OID_INT8);
    add_be64(&a->bytes, n);
    pg_arg_end(a);
}

void pg_arg_time(struct pg_args *a, int64_t ms)
{
    begin_arg(a, OID_TIMESTAMPTZ);
    add_be64(&a->bytes, pg_micros(ms));
    pg_arg_end(a);
}

/* src/backend/utils/adt/arrayfuncs.c, array_recv: dimensions, nulls?, type, size, lower bound. */
static void begin_array(struct pg_args *a, Oid array, Oid element, size_t n)
{
    assert(n > 0 && n <= INT32_MAX);
    begin_arg(a, array);
    add_be32(&a->bytes, 1);
    add_be32(&a->bytes, 1);
    add_be32(&a->bytes, element);
    add_be32(&a->bytes, (uint32_t)n);
    add_be32(&a->bytes, 1);
}

void pg_arg_texts(struct pg_args *a, size_t n)
{
    begin_array(a, OID_TEXT_ARRAY, OID_TEXT, n);
}

void pg_arg_times(struct pg_args *a, size_t n)
{
    begin_array(a, OID_TIMESTAMPTZ_ARRAY, OID_TIMESTAMPTZ, n);
}

void pg_item_null(struct pg_args *a)
{
    add_be32(&a->bytes, UINT32_MAX);
}

void pg_item_text(struct pg_args *a, const char *s)
{
    if (!s) {
        pg_item_null(a);
        return;
    }
    add_be32(&a->bytes, (uint32_t)strlen(s));
    buf_adds(&a->bytes, s);
}

void pg_item_time(struct pg_args *a, int64_t ms)
{
    add_be32(&a->bytes, sizeof(int64_t));
    add_be64(&a->bytes, pg_micros(ms));
}

/* ---- Results ------------------------------------------------------------------------------ */

int64_t pg_int(const PGresult *r, int row, int column)
{
    const unsigned char *bytes = (const unsigned char *)PQgetvalue(r, row, column);
    int length = PQgetlength(r, row, column);
    uint64_t n = length > 0 && bytes[0] & 0x80 ? UINT64_MAX : 0;

    for (int i = 0; i < length; i++)
        n = n << 8 | bytes[i];
    return (int64_t)n;
}

double pg_double(const PGresult *r, int row, int column)
{
    int64_t bits = pg_int(r, row, column);
    double d;

    memcpy(&d, &bits, sizeof d);
    return d;
}

int64_t pg_time_ms(const PGresult *r, int row, int column)
{
    return pg_int(r, row, column) / 1000 + PG_EPOCH_MS;
}
