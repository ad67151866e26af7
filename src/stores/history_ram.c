#include "stores/history_ram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/when.h"
#include "stores/ram_array.h"

/* A meter of the registry, of the rows, or of both. */
struct meter {
    char id[METER_ID_SIZE];
    bool registered;
    struct history_meter entry; /* owns its documents */
    struct minute **rows;       /* by bucket */
    size_t n_rows, cap;
};

/* Rows are never deleted: they live in blocks until the store is closed. */
enum { BLOCK_ROWS = 16 };

struct block {
    struct block *next;
    size_t n;
    struct minute rows[BLOCK_ROWS];
};

struct store {
    struct session *sessions;
    struct session *holder; /* of the lock, NULL: nobody */
    struct meter **meters;  /* by id */
    size_t n_meters, meters_cap;
    struct block *blocks;
    size_t n_rows;
    const struct minute **all; /* made when asked for */
    size_t all_cap;
    bool all_is_current;
};

/* As the client in history_pg.h knows it. */
enum lock { LOCK_NONE, LOCK_HELD, LOCK_LOST };

/* A handle and its session at the server. */
struct session {
    struct history base; /* first: the handle users hold */
    struct store *store;
    struct session *next; /* of the same store */
    struct ram_gate gate;
    enum lock lock;
    bool in_transaction;
    bool *chosen; /* memory of replace, kept between batches */
    size_t chosen_cap;
};

static struct session *session_of(struct history *h)
{
    return (struct session *)h;
}

static struct store *store_of(const struct history *h)
{
    return ((const struct session *)h)->store;
}

/* ---- Faults ------------------------------------------------------------------------------- */

static void end_session(struct session *s)
{
    s->in_transaction = false;
    if (s->store->holder == s)
        s->store->holder = NULL;
    if (s->lock == LOCK_HELD)
        s->lock = LOCK_LOST;
}

/* A call under way. */
struct call {
    struct session *session;
    const char *name;
    enum ram_fault fault;
};

/* The client gives up a connection on which an answer did not come. */
static bool call_fail(const struct call *c, struct err *e)
{
    if (c->fault != RAM_REFUSE)
        end_session(c->session);
    return ram_fail(&c->session->gate, c->name, c->fault, e);
}

static bool call_ask(struct call *c, struct history *h, const char *name, enum ram_kind kind,
                     struct err *e)
{
    *c = (struct call){session_of(h), name, ram_ask(&session_of(h)->gate, name, kind)};
    return c->fault == RAM_FINE || c->fault == RAM_FAIL_AFTER || call_fail(c, e);
}

/* False: it fails at once. */
static bool call_begin(struct call *c, struct history *h, const char *name, enum ram_kind kind,
                       struct err *e)
{
    if (!call_ask(c, h, name, kind, e))
        return false;
    if (c->session->lock == LOCK_LOST)
        return err_set(e, ERR_RETRY, "%s: the lock of the one aggregator was lost",
                       c->session->gate.server);
    return true;
}

/* It was carried out: does the answer arrive? */
static bool call_end(const struct call *c, struct err *e)
{
    return c->fault == RAM_FINE || call_fail(c, e);
}

void history_ram_set_faults(struct history *h, const struct ram_faults *faults)
{
    ram_set_faults(&session_of(h)->gate, faults);
}

void history_ram_fail_next(struct history *h, size_t n, bool applied)
{
    ram_fail_next(&session_of(h)->gate, n, applied);
}

void history_ram_end_session(struct history *h)
{
    end_session(session_of(h));
}

void history_ram_restart(struct history *h)
{
    for (struct session *s = store_of(h)->sessions; s; s = s->next) {
        end_session(s);
        s->gate.disconnected = true;
    }
}

/* ---- Rows --------------------------------------------------------------------------------- */

static int compare_meter(const void *key, const void *element)
{
    return strcmp(key, (*(struct meter *const *)element)->id);
}

static size_t meter_place(const struct store *s, const char *id)
{
    return ram_place(s->meters, s->n_meters, sizeof *s->meters, compare_meter, id);
}

static bool is_meter_at(const struct store *s, size_t at, const char *id)
{
    return at < s->n_meters && strcmp(s->meters[at]->id, id) == 0;
}

static struct meter *find_meter(const struct store *s, const char *id)
{
    size_t at = meter_place(s, id);

    return is_meter_at(s, at, id) ? s->meters[at] : NULL;
}

static struct meter *need_meter(struct store *s, const char *id)
{
    size_t at = meter_place(s, id);

    if (is_meter_at(s, at, id))
        return s->meters[at];
    struct meter *m = xcalloc(1, sizeof *m);
    strncpy(m->id, id, sizeof m->id - 1);
    m->entry.meter_id = m->id;
    s->meters = ram_make_hole(s->meters, s->n_meters, &s->meters_cap, sizeof *s->meters, at);
    s->meters[at] = m;
    s->n_meters++;
    return m;
}

static int compare_bucket(const void *key, const void *element)
{
    int64_t bucket_ms = *(const int64_t *)key;
    const struct minute *row = *(struct minute *const *)element;

    return (bucket_ms > row->bucket_ms) - (bucket_ms < row->bucket_ms);
}

/* Index of the meter's first row that is not before this time. */
static size_t row_place(const struct meter *m, int64_t bucket_ms)
{
    return ram_place(m->rows, m->n_rows, sizeof *m->rows, compare_bucket, &bucket_ms);
}

static struct minute *find_row(const struct store *s, const char *meter_id, int64_t bucket_ms)
{
    const struct meter *m = find_meter(s, meter_id);
    size_t at = m ? row_place(m, bucket_ms) : 0;

    return m && at < m->n_rows && m->rows[at]->bucket_ms == bucket_ms ? m->rows[at] : NULL;
}

static struct minute *new_row(struct store *s)
{
    if (!s->blocks || s->blocks->n == BLOCK_ROWS) {
        struct block *b = xmalloc(sizeof *b);
        b->next = s->blocks;
        b->n = 0;
        s->blocks = b;
    }
    s->n_rows++;
    return &s->blocks->rows[s->blocks->n++];
}

static void put_row(struct store *s, const struct minute *row)
{
    struct meter *m = need_meter(s, row->meter_id);
    size_t at = row_place(m, row->bucket_ms);

    if (at == m->n_rows || m->rows[at]->bucket_ms != row->bucket_ms) {
        m->rows = ram_make_hole(m->rows, m->n_rows, &m->cap, sizeof *m->rows, at);
        m->rows[at] = new_row(s);
        m->n_rows++;
    }
    *m->rows[at] = *row;
    s->all_is_current = false;
}

static bool history_ram_earlier(struct history *h, const char *const *ids, size_t n,
                                int64_t bucket_ms, struct minute *out, bool *found, struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "earlier", RAM_READS, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct meter *m = find_meter(store_of(h), ids[i]);
        size_t at = m ? row_place(m, bucket_ms) : 0;
        found[i] = at > 0;
        if (found[i])
            out[i] = *m->rows[at - 1];
    }
    return call_end(&c, e);
}

static bool history_ram_last_values(struct history *h, enum column column, const char *const *ids,
                                    size_t n, int64_t bucket_ms, double *out, struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "last_values", RAM_READS, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct meter *m = find_meter(store_of(h), ids[i]);
        size_t at = m ? row_place(m, bucket_ms) : 0;
        while (at > 0 && isnan(m->rows[at - 1]->v[column]))
            at--;
        out[i] = at > 0 ? m->rows[at - 1]->v[column] : NAN;
    }
    return call_end(&c, e);
}

static bool history_ram_next_buckets(struct history *h, const struct history_key *keys, size_t n,
                                     int64_t *out, struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "next_buckets", RAM_READS, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct meter *m = find_meter(store_of(h), keys[i].meter_id);
        size_t at = m ? row_place(m, keys[i].bucket_ms + 1) : 0;
        while (m && at < m->n_rows && m->rows[at]->n == 0)
            at++;
        out[i] = m && at < m->n_rows ? m->rows[at]->bucket_ms : INT64_MAX;
    }
    return call_end(&c, e);
}

/* Rows come by meter or by bucket, so that equal keys are neighbours. */
static bool is_named_twice(const struct minute *rows, size_t n, struct err *e)
{
    for (size_t i = 1; i < n; i++)
        if (rows[i].bucket_ms == rows[i - 1].bucket_ms &&
            strcmp(rows[i].meter_id, rows[i - 1].meter_id) == 0) {
            err_set(e, ERR_INPUT, "history in memory: a batch names the minute %lld of %s twice",
                    (long long)rows[i].bucket_ms, rows[i].meter_id);
            return true;
        }
    return false;
}

static void decide_rows(struct session *s, struct minute *rows, size_t n, history_decide_fn *decide,
                        void *ctx)
{
    if (n > s->chosen_cap) {
        s->chosen_cap = n;
        s->chosen = xrealloc_array(s->chosen, n, sizeof *s->chosen);
    }
    for (size_t i = 0; i < n; i++)
        s->chosen[i] =
            decide(ctx, i, find_row(s->store, rows[i].meter_id, rows[i].bucket_ms), &rows[i]);
}

/*
 * Whether the transaction comes to its end. The faults are asked once more, unless its answer is to
 * be lost anyway; meanwhile the session may end.
 */
static bool may_commit(struct call *c, struct err *e)
{
    struct session *s = c->session;

    if (c->fault == RAM_FINE && !call_ask(c, &s->base, "commit", RAM_WRITES, e))
        return false;
    return s->in_transaction ||
           err_set(e, ERR_RETRY, "%s: the session ended within a transaction", s->gate.server);
}

static bool history_ram_replace(struct history *h, struct minute *rows, size_t n,
                                history_decide_fn *decide, void *ctx, struct err *e)
{
    struct session *s = session_of(h);
    struct call c;

    if (!call_begin(&c, h, "replace", RAM_WRITES, e) || is_named_twice(rows, n, e))
        return false;
    s->in_transaction = true;
    decide_rows(s, rows, n, decide, ctx);
    bool commits = may_commit(&c, e);
    s->in_transaction = false;
    for (size_t i = 0; commits && i < n; i++)
        if (s->chosen[i])
            put_row(s->store, &rows[i]);
    return commits && call_end(&c, e);
}

static void collect_rows(struct store *s)
{
    size_t n = 0;

    if (s->n_rows > s->all_cap) {
        s->all_cap = s->n_rows * 2;
        s->all = xrealloc_array(s->all, s->all_cap, sizeof *s->all);
    }
    for (size_t i = 0; i < s->n_meters; i++) {
        const struct meter *m = s->meters[i];
        if (m->n_rows > 0)
            memcpy(s->all + n, m->rows, m->n_rows * sizeof *m->rows);
        n += m->n_rows;
    }
    s->all_is_current = true;
}

const struct minute *const *history_ram_rows(const struct history *h, size_t *n)
{
    struct store *s = store_of(h);

    if (!s->all_is_current)
        collect_rows(s);
    *n = s->n_rows;
    return s->all;
}

const struct minute *history_ram_row(const struct history *h, const char *meter_id,
                                     int64_t bucket_ms)
{
    return find_row(store_of(h), meter_id, bucket_ms);
}

/* ---- Rows as text ------------------------------------------------------------------------- */

/* Appends the cell; false when the value is absent. */
static bool write_value(struct buf *b, const struct column_info *c, double d)
{
    if (isnan(d))
        return false;
    switch (c->type) {
    case COLUMN_FLOAT4:
        buf_add_float(b, (float)d);
        return true;
    case COLUMN_FLOAT8:
        buf_add_double(b, d);
        return true;
    case COLUMN_TEXT:
        break;
    }
    buf_adds(b, metric_table[c->metric].words[(size_t)d]);
    return true;
}

static bool write_cell(struct buf *b, const struct minute *m, size_t column)
{
    char bucket[WHEN_TEXT_SIZE];

    if (column >= SCHEMA_FIXED_COUNT)
        return write_value(b, &column_table()[column - SCHEMA_FIXED_COUNT],
                           m->v[column - SCHEMA_FIXED_COUNT]);
    switch ((enum schema_fixed)column) {
    case SCHEMA_METER_ID:
        buf_adds(b, m->meter_id);
        return true;
    case SCHEMA_BUCKET:
        buf_adds(b, when_text(m->bucket_ms, bucket));
        return true;
    case SCHEMA_N:
        buf_addi(b, m->n);
        return true;
    case SCHEMA_N_STATUS:
        buf_addi(b, m->n_status);
        return true;
    case SCHEMA_SEC_MASK:
        buf_addi(b, (int64_t)m->sec_mask);
        return true;
    case SCHEMA_STATUS_MASK:
        buf_addi(b, (int64_t)m->status_mask);
        return true;
    case SCHEMA_QUALITY:
        buf_addi(b, m->quality);
        return true;
    case SCHEMA_FIXED_COUNT:
        break;
    }
    return false;
}

static bool give_row(const struct minute *m, const struct history_query *q, history_row_fn *fn,
                     void *ctx)
{
    struct buf text;
    size_t starts[SCHEMA_COLUMN_COUNT], lengths[SCHEMA_COLUMN_COUNT];
    const char *cells[SCHEMA_COLUMN_COUNT];
    bool present[SCHEMA_COLUMN_COUNT];

    buf_init(&text, 0);
    for (size_t c = 0; c < q->n_columns; c++) {
        starts[c] = text.len;
        present[c] = write_cell(&text, m, q->columns[c]);
        lengths[c] = text.len - starts[c];
        buf_addc(&text, '\0');
    }
    for (size_t c = 0; c < q->n_columns; c++)
        cells[c] = present[c] ? text.data + starts[c] : NULL;
    bool more = fn(ctx, cells, lengths);
    buf_clear(&text);
    return more;
}

static int compare_by_time(const void *a, const void *b)
{
    const struct minute *x = *(const struct minute *const *)a;
    const struct minute *y = *(const struct minute *const *)b;

    if (x->bucket_ms != y->bucket_ms)
        return x->bucket_ms < y->bucket_ms ? -1 : 1;
    return strcmp(x->meter_id, y->meter_id);
}

static bool is_asked_for(const struct history_query *q, const struct minute *m)
{
    if (q->meter_id && strcmp(q->meter_id, m->meter_id) != 0)
        return false;
    if (m->bucket_ms < q->start_ms || m->bucket_ms >= q->end_ms)
        return false;
    if (!q->after_meter || m->bucket_ms > q->after_bucket_ms)
        return true;
    return m->bucket_ms == q->after_bucket_ms && strcmp(m->meter_id, q->after_meter) > 0;
}

static bool history_ram_select(struct history *h, const struct history_query *q, history_row_fn *fn,
                               void *ctx, struct err *e)
{
    size_t n_rows, n = 0;
    const struct minute *const *rows;
    struct call c;

    if (!call_begin(&c, h, "select", RAM_READS, e))
        return false;
    rows = history_ram_rows(h, &n_rows);
    const struct minute **asked = xcalloc(n_rows, sizeof *asked);
    for (size_t i = 0; i < n_rows; i++)
        if (is_asked_for(q, rows[i]))
            asked[n++] = rows[i];
    qsort(asked, n, sizeof *asked, compare_by_time);
    bool more = true;
    for (size_t i = 0; more && i < n && i < q->limit; i++)
        more = give_row(asked[i], q, fn, ctx);
    free(asked);
    return call_end(&c, e);
}

/* ---- Meters ------------------------------------------------------------------------------- */

static void put_document(const char **place, const char *document)
{
    if (!document)
        return;
    free((char *)*place);
    *place = xstrdup(document);
}

static void put_meter(struct store *s, const struct history_meter *m)
{
    struct meter *known = need_meter(s, m->meter_id);

    known->registered = true;
    if (m->last_seen_ms > known->entry.last_seen_ms)
        known->entry.last_seen_ms = m->last_seen_ms;
    put_document(&known->entry.last_data, m->last_data);
    put_document(&known->entry.last_status, m->last_status);
}

static bool history_ram_meters_seen(struct history *h, const struct history_meter *m, size_t n,
                                    struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "meters_seen", RAM_WRITES, e))
        return false;
    for (size_t i = 0; i < n; i++)
        put_meter(store_of(h), &m[i]);
    return call_end(&c, e);
}

/* A meter is entered by a row or by the registry, nothing else. */
static bool history_ram_meter_known(struct history *h, const char *meter_id, bool *known,
                                    struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "meter_known", RAM_READS, e))
        return false;
    *known = find_meter(store_of(h), meter_id) != NULL;
    return call_end(&c, e);
}

const struct history_meter *history_ram_meter(const struct history *h, const char *meter_id)
{
    const struct meter *m = find_meter(store_of(h), meter_id);

    return m && m->registered ? &m->entry : NULL;
}

/* ---- What only a server has --------------------------------------------------------------- */

static bool do_nothing(struct history *h, const char *name, enum ram_kind kind, struct err *e)
{
    struct call c;

    return call_begin(&c, h, name, kind, e) && call_end(&c, e);
}

static bool history_ram_migrate(struct history *h, int64_t now_ms, struct err *e)
{
    (void)now_ms;
    return do_nothing(h, "migrate", RAM_WRITES, e);
}

static bool history_ram_check_schema(struct history *h, struct err *e)
{
    return do_nothing(h, "check_schema", RAM_READS, e);
}

static bool history_ram_partitions(struct history *h, int64_t from_ms, int64_t to_ms, struct err *e)
{
    (void)from_ms;
    (void)to_ms;
    return do_nothing(h, "partitions", RAM_WRITES, e);
}

static bool history_ram_durability(struct history *h, struct history_durability *out, struct err *e)
{
    *out = (struct history_durability){.text = "in memory: nothing outlives the process"};
    return do_nothing(h, "durability", RAM_READS, e);
}

/* Who held the lock once and does not get it again must not work as if nothing were. */
static bool history_ram_lock(struct history *h, bool *got, struct err *e)
{
    struct session *s = session_of(h);
    enum lock unless_got = s->lock == LOCK_NONE ? LOCK_NONE : LOCK_LOST;
    struct call c;

    *got = false;
    if (!call_ask(&c, h, "lock", RAM_READS, e))
        return false;
    if (!s->store->holder)
        s->store->holder = s;
    bool holds = s->store->holder == s;
    bool answered = call_end(&c, e);
    *got = answered && holds;
    s->lock = *got ? LOCK_HELD : unless_got;
    return answered;
}

/* ---- Open and close ----------------------------------------------------------------------- */

static void free_store(struct store *s)
{
    for (size_t i = 0; i < s->n_meters; i++) {
        free((char *)s->meters[i]->entry.last_data);
        free((char *)s->meters[i]->entry.last_status);
        free(s->meters[i]->rows);
        free(s->meters[i]);
    }
    while (s->blocks) {
        struct block *next = s->blocks->next;
        free(s->blocks);
        s->blocks = next;
    }
    free(s->meters);
    free(s->all);
    free(s);
}

static void history_ram_close(struct history *h)
{
    struct session *s = session_of(h);

    if (!s)
        return;
    struct session **at = &s->store->sessions;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    end_session(s);
    if (!s->store->sessions)
        free_store(s->store);
    free(s->chosen);
    free(s);
}

static const struct history_ops history_ram_ops = {
    .migrate = history_ram_migrate,
    .check_schema = history_ram_check_schema,
    .lock = history_ram_lock,
    .earlier = history_ram_earlier,
    .last_values = history_ram_last_values,
    .next_buckets = history_ram_next_buckets,
    .replace = history_ram_replace,
    .select = history_ram_select,
    .meters_seen = history_ram_meters_seen,
    .meter_known = history_ram_meter_known,
    .partitions = history_ram_partitions,
    .durability = history_ram_durability,
    .close = history_ram_close,
};

static struct history *open_session(struct store *store)
{
    struct session *s = xcalloc(1, sizeof *s);

    s->base.ops = &history_ram_ops;
    s->gate.server = "history in memory";
    s->store = store;
    s->next = store->sessions;
    store->sessions = s;
    return &s->base;
}

struct history *history_ram_open(void)
{
    return open_session(xcalloc(1, sizeof(struct store)));
}

struct history *history_ram_share(struct history *h)
{
    return open_session(store_of(h));
}
