#include "stores/history_ram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/when.h"

struct history_ram {
    struct history base;
    struct minute **rows; /* by meter, then bucket */
    size_t n_rows;
    struct history_meter *meters; /* own their strings */
    size_t n_meters;
    bool lock_lost;
    size_t failures_left;
    bool failures_applied;
};

static struct history_ram *ram(struct history *h)
{
    return (struct history_ram *)h;
}

static const struct history_ram *ram_const(const struct history *h)
{
    return (const struct history_ram *)h;
}

/* ---- Faults ------------------------------------------------------------------------------- */

static bool fail(struct err *e)
{
    return err_set(e, ERR_RETRY, "history in memory: made to fail");
}

/* False: the call fails at once. True in *late: it does its work and fails then. */
static bool enter(struct history_ram *r, bool *late, struct err *e)
{
    *late = false;
    if (r->lock_lost)
        return err_set(e, ERR_RETRY, "history in memory: the lock was lost");
    if (r->failures_left == 0)
        return true;
    r->failures_left--;
    *late = r->failures_applied;
    return *late || fail(e);
}

static bool leave(bool late, struct err *e)
{
    return !late || fail(e);
}

void history_ram_fail_next(struct history *h, size_t n, bool applied)
{
    ram(h)->failures_left = n;
    ram(h)->failures_applied = applied;
}

void history_ram_lose_lock(struct history *h)
{
    ram(h)->lock_lost = true;
}

/* ---- Rows --------------------------------------------------------------------------------- */

/* Index of the first row that is not before this key. */
static size_t lower_bound(const struct history_ram *r, const char *meter_id, int64_t bucket_ms)
{
    size_t low = 0, high = r->n_rows;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(r->rows[middle]->meter_id, meter_id);
        if (order < 0 || (order == 0 && r->rows[middle]->bucket_ms < bucket_ms))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The row at index i when it is the meter's, else NULL. */
static struct minute *row_of(const struct history_ram *r, size_t i, const char *meter_id)
{
    return i < r->n_rows && strcmp(r->rows[i]->meter_id, meter_id) == 0 ? r->rows[i] : NULL;
}

static struct minute *find_row(const struct history_ram *r, const struct minute *key)
{
    struct minute *row = row_of(r, lower_bound(r, key->meter_id, key->bucket_ms), key->meter_id);

    return row && row->bucket_ms == key->bucket_ms ? row : NULL;
}

static void put_row(struct history_ram *r, const struct minute *row)
{
    struct minute *old = find_row(r, row);

    if (old) {
        *old = *row;
        return;
    }
    size_t at = lower_bound(r, row->meter_id, row->bucket_ms);
    r->rows = xrealloc_array(r->rows, r->n_rows + 1, sizeof *r->rows);
    memmove(r->rows + at + 1, r->rows + at, (r->n_rows - at) * sizeof *r->rows);
    r->rows[at] = xmalloc(sizeof *row);
    *r->rows[at] = *row;
    r->n_rows++;
}

static bool history_ram_earlier(struct history *h, const char *const *ids, size_t n,
                                int64_t bucket_ms, struct minute *out, bool *found, struct err *e)
{
    struct history_ram *r = ram(h);
    bool late;

    if (!enter(r, &late, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t at = lower_bound(r, ids[i], bucket_ms);
        const struct minute *row = at > 0 ? row_of(r, at - 1, ids[i]) : NULL;
        found[i] = row != NULL;
        if (row)
            out[i] = *row;
    }
    return leave(late, e);
}

static bool history_ram_next_buckets(struct history *h, const struct history_key *keys, size_t n,
                                     int64_t *out, struct err *e)
{
    struct history_ram *r = ram(h);
    bool late;

    if (!enter(r, &late, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t at = lower_bound(r, keys[i].meter_id, keys[i].bucket_ms + 1);
        const struct minute *row = row_of(r, at, keys[i].meter_id);
        out[i] = row ? row->bucket_ms : INT64_MAX;
    }
    return leave(late, e);
}

static bool history_ram_replace(struct history *h, struct minute *rows, size_t n,
                                history_decide_fn *decide, void *ctx, struct err *e)
{
    struct history_ram *r = ram(h);
    bool late;
    bool *chosen;

    if (!enter(r, &late, e))
        return false;
    chosen = xcalloc(n, sizeof *chosen);
    for (size_t i = 0; i < n; i++)
        chosen[i] = decide(ctx, i, find_row(r, &rows[i]), &rows[i]);
    for (size_t i = 0; i < n; i++)
        if (chosen[i])
            put_row(r, &rows[i]);
    free(chosen);
    return leave(late, e);
}

const struct minute *const *history_ram_rows(const struct history *h, size_t *n)
{
    *n = ram_const(h)->n_rows;
    return (const struct minute *const *)ram_const(h)->rows;
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
    struct history_ram *r = ram(h);
    size_t n = 0;
    bool late;

    if (!enter(r, &late, e))
        return false;
    const struct minute **asked = xcalloc(r->n_rows, sizeof *asked);
    for (size_t i = 0; i < r->n_rows; i++)
        if (is_asked_for(q, r->rows[i]))
            asked[n++] = r->rows[i];
    qsort(asked, n, sizeof *asked, compare_by_time);
    bool more = true;
    for (size_t i = 0; more && i < n && i < q->limit; i++)
        more = give_row(asked[i], q, fn, ctx);
    free(asked);
    return leave(late, e);
}

/* ---- Meters ------------------------------------------------------------------------------- */

static struct history_meter *find_meter(const struct history_ram *r, const char *meter_id)
{
    for (size_t i = 0; i < r->n_meters; i++)
        if (strcmp(r->meters[i].meter_id, meter_id) == 0)
            return &r->meters[i];
    return NULL;
}

static void put_document(const char **place, const char *document)
{
    if (!document)
        return;
    free((char *)*place);
    *place = xstrdup(document);
}

static void put_meter(struct history_ram *r, const struct history_meter *m)
{
    struct history_meter *known = find_meter(r, m->meter_id);

    if (!known) {
        r->meters = xrealloc_array(r->meters, r->n_meters + 1, sizeof *r->meters);
        known = &r->meters[r->n_meters++];
        *known = (struct history_meter){.meter_id = xstrdup(m->meter_id)};
    }
    if (m->last_seen_ms > known->last_seen_ms)
        known->last_seen_ms = m->last_seen_ms;
    put_document(&known->last_data, m->last_data);
    put_document(&known->last_status, m->last_status);
}

static bool history_ram_meters_seen(struct history *h, const struct history_meter *m, size_t n,
                                    struct err *e)
{
    bool late;

    if (!enter(ram(h), &late, e))
        return false;
    for (size_t i = 0; i < n; i++)
        put_meter(ram(h), &m[i]);
    return leave(late, e);
}

static bool history_ram_meter_known(struct history *h, const char *meter_id, bool *known,
                                    struct err *e)
{
    struct history_ram *r = ram(h);
    bool late;

    if (!enter(r, &late, e))
        return false;
    *known = find_meter(r, meter_id) || row_of(r, lower_bound(r, meter_id, INT64_MIN), meter_id);
    return leave(late, e);
}

const struct history_meter *history_ram_meter(const struct history *h, const char *meter_id)
{
    return find_meter(ram_const(h), meter_id);
}

/* ---- What only a server has --------------------------------------------------------------- */

static bool do_nothing(struct history *h, struct err *e)
{
    bool late;

    return enter(ram(h), &late, e) && leave(late, e);
}

static bool history_ram_migrate(struct history *h, int64_t now_ms, struct err *e)
{
    (void)now_ms;
    return do_nothing(h, e);
}

static bool history_ram_partitions(struct history *h, int64_t from_ms, int64_t to_ms, struct err *e)
{
    (void)from_ms;
    (void)to_ms;
    return do_nothing(h, e);
}

static bool history_ram_lock(struct history *h, bool *got, struct err *e)
{
    struct history_ram *r = ram(h);
    bool was_lost = r->lock_lost;

    r->lock_lost = false;
    *got = do_nothing(h, e);
    r->lock_lost = was_lost && !*got;
    return *got;
}

static bool history_ram_durability(struct history *h, struct history_durability *out, struct err *e)
{
    *out = (struct history_durability){.text = "in memory: nothing outlives the process"};
    return do_nothing(h, e);
}

static void history_ram_close(struct history *h)
{
    struct history_ram *r = ram(h);

    if (!r)
        return;
    for (size_t i = 0; i < r->n_rows; i++)
        free(r->rows[i]);
    for (size_t i = 0; i < r->n_meters; i++) {
        free((char *)r->meters[i].meter_id);
        free((char *)r->meters[i].last_data);
        free((char *)r->meters[i].last_status);
    }
    free(r->rows);
    free(r->meters);
    free(r);
}

static const struct history_ops history_ram_ops = {
    .migrate = history_ram_migrate,
    .check_schema = do_nothing,
    .lock = history_ram_lock,
    .earlier = history_ram_earlier,
    .next_buckets = history_ram_next_buckets,
    .replace = history_ram_replace,
    .select = history_ram_select,
    .meters_seen = history_ram_meters_seen,
    .meter_known = history_ram_meter_known,
    .partitions = history_ram_partitions,
    .durability = history_ram_durability,
    .close = history_ram_close,
};

struct history *history_ram_open(void)
{
    struct history_ram *r = xcalloc(1, sizeof *r);

    r->base.ops = &history_ram_ops;
    return &r->base;
}
