#include "stages/aggregate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/snapshot.h"
#include "stages/meter_table.h"

/* Minutes that ended at most this long ago are computed before any other. */
#define LIVE_MS (2 * MINUTE_MS)

/* So long after its start a process does not know which later rows its predecessor wrote. */
#define UNKNOWN_MS (3 * MINUTE_MS)

/*
 * What could not be settled is computed again this long after the minute's end. Its last context
 * is CONTEXT_MS after the end; a message in time arrives within 15 s (ingest marks later ones
 * itself), and another 15 s are for storing it.
 */
#define AGAIN_MS (CONTEXT_MS + INT64_C(30000))

#define HOUSEKEEPING_MS INT64_C(30000)
#define PARTITIONS_MS INT64_C(3600000)
#define PARTITIONS_AHEAD_MS (7 * DAY_MS)

enum { DUE_MOST = 4096, SILENT_MOST = 500, BEHIND_MOST = 8 };

/* Where a row of the chunk comes from. */
struct source {
    size_t first, n;              /* its samples in chunk.samples */
    const struct minute *earlier; /* NULL: none, or not looked up */
    bool settled;
    bool written;
    bool depends; /* of the row behind a late one: what it began with has changed */
    bool lacks;   /* ... and it has not all the counters of the late row: see mark_behind */
    bool had_old;
    struct minute old; /* what stood there before, when had_old; kept for late rows only */
    size_t rebase_of;  /* of the row behind a late one: the late row; SIZE_MAX: a computed row */
};

/* The meters of one transaction. Its memory is kept from chunk to chunk. */
struct chunk {
    struct aggregate *a;
    int64_t minute_ms;
    int64_t read_at_ms; /* when its samples were read; the commit may come much later */
    const char **ids;
    size_t n_ids;
    struct minute_sample *samples; /* of all meters, meter after meter */
    size_t *packed_at;             /* of each sample, where its packed form begins in bytes */
    size_t n_samples, samples_cap;
    struct {
        size_t first, n;
    } * ranges;             /* samples of each id */
    struct buf bytes;       /* the packed form of the samples */
    struct minute *earlier; /* one per id, where found */
    bool *found;
    struct minute *rows;
    struct source *sources;
    size_t n_rows;
};

struct aggregate {
    struct aggregate_options o;
    struct aggregate_counters counters;
    struct meter_table registered; /* known: the registry has the meter */
    bool leads, recovered;
    bool led; /* what was last said about it */
    int64_t housekeeping_at_ms, partitions_at_ms;
    int64_t started_mono_ms;
    bool late; /* rows behind the minute in hand may stand already */
    struct chunk chunk;
};

struct aggregate *aggregate_new(const struct aggregate_options *o)
{
    struct aggregate *a = xcalloc(1, sizeof *a);

    a->o = *o;
    meter_table_init(&a->registered);
    a->started_mono_ms = clock_mono_ms(o->clock);
    a->chunk.a = a;
    buf_init(&a->chunk.bytes, 0);
    a->chunk.ranges = xcalloc(o->chunk_meters, sizeof *a->chunk.ranges);
    a->chunk.earlier = xcalloc(o->chunk_meters, sizeof *a->chunk.earlier);
    a->chunk.found = xcalloc(o->chunk_meters, sizeof *a->chunk.found);
    /* A late row may bring the one behind it. */
    a->chunk.rows = xcalloc(2 * o->chunk_meters, sizeof *a->chunk.rows);
    a->chunk.sources = xcalloc(2 * o->chunk_meters, sizeof *a->chunk.sources);
    return a;
}

void aggregate_free(struct aggregate *a)
{
    if (!a)
        return;
    meter_table_clear(&a->registered);
    free(a->chunk.sources);
    free(a->chunk.rows);
    free(a->chunk.found);
    free(a->chunk.earlier);
    free(a->chunk.ranges);
    free(a->chunk.packed_at);
    free(a->chunk.samples);
    buf_clear(&a->chunk.bytes);
    free(a);
}

bool aggregate_leads(const struct aggregate *a)
{
    return a->leads;
}

const struct aggregate_counters *aggregate_counters(const struct aggregate *a)
{
    return &a->counters;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void take_member(void *ctx, const struct hot_member *m)
{
    struct chunk *c = ctx;
    static struct log_gate gate;
    struct err e;

    if (c->n_samples == c->samples_cap) {
        c->samples_cap = c->samples_cap ? c->samples_cap * 2 : 1024;
        c->samples = xrealloc_array(c->samples, c->samples_cap, sizeof *c->samples);
        c->packed_at = xrealloc_array(c->packed_at, c->samples_cap, sizeof *c->packed_at);
    }
    struct minute_sample *s = &c->samples[c->n_samples];
    if (!snapshot_unpack(m->bytes, m->len, &s->reading, &e)) {
        uint64_t left_out;
        c->a->counters.unreadable++;
        if (log_gate_open(&gate, clock_mono_ms(c->a->o.clock), 60000, &left_out))
            log_warn("meter %s: a member of its time series is no reading: %s (%llu more)",
                     c->ids[m->meter], e.text, (unsigned long long)left_out);
        return;
    }
    if (c->ranges[m->meter].n++ == 0)
        c->ranges[m->meter].first = c->n_samples;
    /* The buffer may move: the pointer is made when all is read. */
    c->packed_at[c->n_samples] = c->bytes.len;
    s->packed_len = m->len;
    buf_add(&c->bytes, m->bytes, m->len);
    c->n_samples++;
}

static bool read_samples(struct chunk *c, struct err *e)
{
    struct hot *hot = c->a->o.hot;

    if (!hot->ops->read(hot, c->ids, c->n_ids, c->minute_ms - CONTEXT_MS,
                        c->minute_ms + MINUTE_MS + CONTEXT_MS + 1, take_member, c, e))
        return false;
    for (size_t i = 0; i < c->n_samples; i++)
        c->samples[i].packed = (const uint8_t *)c->bytes.data + c->packed_at[i];
    for (size_t i = 0; i < c->n_ids; i++)
        c->ranges[i].n = minute_order(c->samples + c->ranges[i].first, c->ranges[i].n,
                                      &c->a->counters.conflicts);
    c->a->counters.samples += c->n_samples;
    return true;
}

/* The last earlier row of those meters that begin the minute without a sample before it. */
static bool read_earlier(struct chunk *c, struct err *e)
{
    struct history *history = c->a->o.history;
    const char **ids = xcalloc(c->n_ids, sizeof *ids);
    size_t *index = xcalloc(c->n_ids, sizeof *index);
    struct minute *rows = NULL;
    bool *found = NULL;
    size_t n = 0;
    bool ok = true;

    for (size_t i = 0; i < c->n_ids; i++)
        if (c->ranges[i].n > 0 &&
            (c->a->late ||
             minute_wants_earlier(c->samples + c->ranges[i].first, c->ranges[i].n, c->minute_ms))) {
            ids[n] = c->ids[i];
            index[n++] = i;
        }
    if (n > 0) {
        rows = xcalloc(n, sizeof *rows);
        found = xcalloc(n, sizeof *found);
        ok = history->ops->earlier(history, ids, n, c->minute_ms, rows, found, e);
    }
    for (size_t k = 0; ok && k < n; k++) {
        c->found[index[k]] = found[k];
        if (found[k])
            c->earlier[index[k]] = rows[k];
    }
    free(found);
    free(rows);
    free(index);
    free(ids);
    return ok;
}

/* A counter in the minute that neither a sample before it nor the last earlier row has. */
static bool lacks_counter(const struct chunk *c, size_t i, enum metric m, size_t column)
{
    return c->found[i] && isnan(c->earlier[i].v[column]) &&
           minute_wants_counter(c->samples + c->ranges[i].first, c->ranges[i].n, c->minute_ms, m);
}

/*
 * A row in between may have been without a counter: its sensor was silent, or only a status came.
 * The counter goes on from the last row that has it.
 */
static bool read_counters(struct chunk *c, struct err *e)
{
    struct history *history = c->a->o.history;
    const char **ids = xcalloc(c->n_ids, sizeof *ids);
    size_t *index = xcalloc(c->n_ids, sizeof *index);
    double *values = xcalloc(c->n_ids, sizeof *values);
    bool ok = true;

    for (size_t m = 0; ok && m < METRIC_COUNT; m++) {
        size_t n_columns, column = metric_columns((enum metric)m, &n_columns), n = 0;
        if (metric_table[m].kind != KIND_COUNTER)
            continue;
        for (size_t i = 0; i < c->n_ids; i++)
            if (lacks_counter(c, i, (enum metric)m, column)) {
                ids[n] = c->ids[i];
                index[n++] = i;
            }
        if (n == 0)
            continue;
        ok = history->ops->last_values(history, (enum column)column, ids, n, c->minute_ms, values,
                                       e);
        for (size_t k = 0; ok && k < n; k++)
            c->earlier[index[k]].v[column] = values[k];
    }
    free(values);
    free(index);
    free(ids);
    return ok;
}

/* ---- Folding and writing ------------------------------------------------------------------- */

static void fold_rows(struct chunk *c)
{
    for (size_t i = 0; i < c->n_ids; i++) {
        struct minute *row = &c->rows[c->n_rows];
        struct source *s = &c->sources[c->n_rows];
        s->first = c->ranges[i].first;
        s->n = c->ranges[i].n;
        s->earlier = c->found[i] ? &c->earlier[i] : NULL;
        s->written = false;
        s->depends = false;
        s->lacks = false;
        s->rebase_of = SIZE_MAX;
        struct minute_fold fold = {
            .bucket_ms = c->minute_ms, .earlier = s->earlier, .limits = c->a->o.limits};
        strcpy(row->meter_id, c->ids[i]);
        if (minute_fold(c->samples + s->first, s->n, &fold, row, &s->settled))
            c->n_rows++;
    }
}

/*
 * Behind each late row put the row that comes next for its meter, so that both are decided on in
 * one transaction: it may have counted energy that now belongs to the late row.
 */
static bool add_next_rows(struct chunk *c, struct err *e)
{
    struct history *history = c->a->o.history;
    size_t n = c->n_rows;
    struct history_key *keys = xcalloc(n, sizeof *keys);
    int64_t *next_ms = xcalloc(n, sizeof *next_ms);

    for (size_t i = 0; i < n; i++)
        keys[i] = (struct history_key){.meter_id = c->rows[i].meter_id, .bucket_ms = c->minute_ms};
    bool ok = history->ops->next_buckets(history, keys, n, next_ms, e);
    for (size_t i = n; ok && i-- > 0;) {
        /* From the last to the first, each row moves to twice its place, its next one behind it. */
        struct minute row = c->rows[i];
        struct source source = c->sources[i];
        c->rows[2 * i] = row;
        c->sources[2 * i] = source;
        c->rows[2 * i + 1] = row;
        c->rows[2 * i + 1].bucket_ms = next_ms[i];
        c->sources[2 * i + 1].written = false;
        c->sources[2 * i + 1].depends = false;
        c->sources[2 * i + 1].lacks = false;
        c->sources[2 * i + 1].rebase_of = 2 * i;
    }
    if (ok) {
        /* Rows without a next one would address no bucket: close the gaps they leave. */
        size_t kept = 0;
        for (size_t i = 0; i < 2 * n; i++) {
            if (c->rows[i].bucket_ms == INT64_MAX)
                continue;
            c->rows[kept] = c->rows[i];
            c->sources[kept] = c->sources[i];
            if (c->sources[kept].rebase_of != SIZE_MAX)
                c->sources[kept].rebase_of = kept - 1;
            kept++;
        }
        c->n_rows = kept;
    }
    free(next_ms);
    free(keys);
    return ok;
}

static bool merge_row(struct chunk *c, const struct source *s, const struct minute *old,
                      struct minute *row)
{
    struct minute part;
    bool settled;
    struct minute_fold fold = {.bucket_ms = c->minute_ms,
                               .earlier = s->earlier,
                               .limits = c->a->o.limits,
                               .skip_seconds = old->sec_mask & MASK_SECONDS,
                               .skip_status = old->status_mask};

    strcpy(part.meter_id, old->meter_id);
    if (!minute_fold(c->samples + s->first, s->n, &fold, &part, &settled))
        return false;
    minute_merge(old, &part, row);
    c->a->counters.rows_merged++;
    return true;
}

static bool decide_row(struct chunk *c, struct source *s, const struct minute *old,
                       struct minute *row)
{
    if (!old)
        return true;
    switch (minute_compare(old, row)) {
    case MINUTE_KEEP:
        c->a->counters.rows_kept++;
        return false;
    case MINUTE_REPLACE:
        if (minute_equal(old, row)) {
            c->a->counters.rows_unchanged++;
            return false;
        }
        return true;
    case MINUTE_MERGE:
        return merge_row(c, s, old, row);
    }
    return false;
}

static bool lacks_counters_of(const struct minute *row, const struct minute *other)
{
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        size_t n, column = metric_columns((enum metric)m, &n);
        if (metric_table[m].kind == KIND_COUNTER && isnan(row->v[column]) &&
            !isnan(other->v[column]))
            return true;
    }
    return false;
}

static bool decide(void *ctx, size_t i, const struct minute *old, struct minute *row)
{
    struct chunk *c = ctx;
    struct source *s = &c->sources[i];

    if (s->rebase_of == SIZE_MAX) {
        s->had_old = old != NULL;
        if (old && c->a->late)
            s->old = *old;
        s->written = decide_row(c, s, old, row);
        return s->written;
    }
    const struct source *late = &c->sources[s->rebase_of];
    /* One put together earlier may have lost its mark to a crash between commit and mark. */
    s->depends = old && (late->written || old->quality == QUALITY_MIXED);
    s->lacks = old && lacks_counters_of(old, &c->rows[s->rebase_of]);
    if (!s->depends || !late->written || !late->earlier)
        return false;
    *row = *old;
    if (!minute_rebase(row, late->had_old ? &late->old : NULL, &c->rows[s->rebase_of]))
        return false;
    c->a->counters.rows_rebased++;
    return true;
}

static bool write_rows(struct chunk *c, struct err *e)
{
    struct history *history = c->a->o.history;

    if (c->n_rows == 0)
        return true;
    if (c->a->late && !add_next_rows(c, e))
        return false;
    if (!history->ops->replace(history, c->rows, c->n_rows, decide, c, e))
        return false;
    for (size_t i = 0; i < c->n_rows; i++)
        c->a->counters.rows_written += c->sources[i].written;
    return true;
}

/* ---- After the commit ---------------------------------------------------------------------- */

static bool register_meters(struct chunk *c, struct err *e)
{
    struct history *history = c->a->o.history;
    struct history_meter *fresh = xcalloc(c->n_ids, sizeof *fresh);
    size_t n = 0;
    bool ok = true;

    for (size_t i = 0; i < c->n_ids; i++)
        if (!meter_table_get(&c->a->registered, c->ids[i])->known)
            fresh[n++] =
                (struct history_meter){.meter_id = c->ids[i], .last_seen_ms = c->minute_ms};
    if (n > 0)
        ok = history->ops->meters_seen(history, fresh, n, e);
    for (size_t i = 0; ok && i < n; i++)
        meter_table_get(&c->a->registered, fresh[i].meter_id)->known = true;
    free(fresh);
    return ok;
}

/*
 * Rows behind a late one were computed without it: have them computed again. Most often it is one
 * minute for all meters.
 */
static bool mark_next_minutes(struct chunk *c, struct err *e)
{
    struct hot *hot = c->a->o.hot;
    bool ok = true;

    if (!c->a->late)
        return true;
    const char **ids = xcalloc(c->n_rows, sizeof *ids);

    for (size_t i = 0; ok && i < c->n_rows; i++) {
        size_t n = 0;
        for (size_t j = i; j < c->n_rows; j++)
            if (c->sources[j].depends && c->rows[j].bucket_ms == c->rows[i].bucket_ms) {
                ids[n++] = c->rows[j].meter_id;
                c->sources[j].depends = false;
            }
        if (n > 0)
            ok = hot->ops->mark(hot, c->rows[i].bucket_ms, ids, n, clock_wall_ms(c->a->o.clock), e);
    }
    free(ids);
    return ok;
}

/*
 * Where the row behind a late one lacks a counter, a row further behind may have begun with a value
 * from before the late one: have the next few computed again. A mark too many changes nothing.
 */
static bool mark_behind(struct chunk *c, const struct minute *row, struct err *e)
{
    struct history_key key = {.meter_id = row->meter_id, .bucket_ms = row->bucket_ms};

    for (int step = 0; step < BEHIND_MOST; step++) {
        int64_t next_ms;
        if (!c->a->o.history->ops->next_buckets(c->a->o.history, &key, 1, &next_ms, e))
            return false;
        if (next_ms == INT64_MAX)
            return true;
        key.bucket_ms = next_ms;
        if (!c->a->o.hot->ops->mark(c->a->o.hot, key.bucket_ms, &key.meter_id, 1,
                                    clock_wall_ms(c->a->o.clock), e))
            return false;
    }
    return true;
}

static bool mark_rows_behind(struct chunk *c, struct err *e)
{
    for (size_t i = 0; c->a->late && i < c->n_rows; i++)
        if (c->sources[i].lacks && !mark_behind(c, &c->rows[i], e))
            return false;
    return true;
}

static void note_unsettled(const struct chunk *c, struct hot_ids *again)
{
    if (c->read_at_ms >= c->minute_ms + MINUTE_MS + AGAIN_MS)
        return;
    for (size_t i = 0; i < c->n_rows; i++)
        if (c->sources[i].rebase_of == SIZE_MAX && !c->sources[i].settled)
            hot_ids_add(again, c->rows[i].meter_id, strlen(c->rows[i].meter_id));
}

static bool aggregate_chunk(struct aggregate *a, int64_t minute_ms, const char **ids, size_t n,
                            struct hot_ids *again, struct err *e)
{
    struct chunk *c = &a->chunk;

    c->minute_ms = minute_ms;
    c->read_at_ms = clock_wall_ms(a->o.clock);
    c->ids = ids;
    c->n_ids = n;
    c->n_samples = 0;
    c->n_rows = 0;
    buf_reset(&c->bytes);
    memset(c->ranges, 0, n * sizeof *c->ranges);
    memset(c->found, 0, n * sizeof *c->found);
    if (!read_samples(c, e) || !read_earlier(c, e) || !read_counters(c, e))
        return false;
    fold_rows(c);
    if (!write_rows(c, e) || !register_meters(c, e) || !mark_next_minutes(c, e) ||
        !mark_rows_behind(c, e))
        return false;
    note_unsettled(c, again);
    return true;
}

/* ---- One minute ---------------------------------------------------------------------------- */

typedef bool chunk_fn(struct aggregate *a, int64_t minute_ms, const char **ids, size_t n,
                      struct hot_ids *again, struct err *e);

static bool each_chunk(struct aggregate *a, int64_t minute_ms, const struct hot_ids *work,
                       struct hot_ids *again, chunk_fn *fn, struct err *e)
{
    const char **ids = xcalloc(a->o.chunk_meters, sizeof *ids);
    bool ok = true;

    for (size_t from = 0; ok && from < work->n; from += a->o.chunk_meters) {
        size_t n = work->n - from < a->o.chunk_meters ? work->n - from : a->o.chunk_meters;
        for (size_t i = 0; i < n; i++)
            ids[i] = work->ids[from + i];
        ok = fn(a, minute_ms, ids, n, again, e);
    }
    free(ids);
    return ok;
}

static bool trim_chunk(struct aggregate *a, int64_t minute_ms, const char **ids, size_t n,
                       struct hot_ids *again, struct err *e)
{
    struct hot *hot = a->o.hot;
    int64_t cutoff_ms = clock_wall_ms(a->o.clock) - a->o.timeseries_ttl_s * INT64_C(1000);

    (void)minute_ms;
    (void)again;
    return hot->ops->trim(hot, ids, n, cutoff_ms, a->o.timeseries_ttl_s, e);
}

/* Whether rows behind this minute may stand already: looking for them costs, so only then. */
static bool may_have_later_rows(const struct aggregate *a, int64_t minute_ms)
{
    return clock_wall_ms(a->o.clock) >= minute_ms + 2 * MINUTE_MS ||
           minute_ms < a->counters.last_minute_ms ||
           clock_mono_ms(a->o.clock) < a->started_mono_ms + UNKNOWN_MS;
}

static bool aggregate_minute(struct aggregate *a, int64_t minute_ms, struct err *e)
{
    struct hot *hot = a->o.hot;
    struct hot_ids work = {0}, again = {0};
    int64_t began_ms = clock_mono_ms(a->o.clock);

    a->late = may_have_later_rows(a, minute_ms);
    bool ok = hot->ops->claim(hot, minute_ms, a->o.token, &work, e) &&
              each_chunk(a, minute_ms, &work, &again, aggregate_chunk, e) &&
              hot->ops->release(hot, minute_ms, a->o.token, &again,
                                minute_ms + MINUTE_MS + AGAIN_MS, e) &&
              each_chunk(a, minute_ms, &work, &again, trim_chunk, e);
    if (ok) {
        a->counters.minutes++;
        if (minute_ms > a->counters.last_minute_ms)
            a->counters.last_minute_ms = minute_ms;
        a->counters.last_work_ms = clock_mono_ms(a->o.clock) - began_ms;
        a->counters.last_work_meters = work.n;
        log_debug("minute %lld: %zu meters in %lld ms", (long long)(minute_ms / 1000), work.n,
                  (long long)a->counters.last_work_ms);
    }
    hot_ids_clear(&again);
    hot_ids_clear(&work);
    return ok;
}

/* ---- House-keeping ------------------------------------------------------------------------- */

/* Meters that fell silent keep their last messages in the registry, then leave `latest`. */
static bool retire_silent(struct aggregate *a, struct err *e)
{
    struct hot *hot = a->o.hot;
    struct history *history = a->o.history;
    int64_t before_ms = clock_wall_ms(a->o.clock) - a->o.latest_ttl_ms;
    struct hot_latest *silent = xcalloc(SILENT_MOST, sizeof *silent);
    struct history_meter *meters = xcalloc(SILENT_MOST, sizeof *meters);
    size_t n = 0;

    bool ok = hot->ops->silent(hot, before_ms, SILENT_MOST, silent, &n, e);
    if (ok && n > 0) {
        for (size_t i = 0; i < n; i++)
            meters[i] = (struct history_meter){.meter_id = silent[i].meter_id,
                                               .last_seen_ms = silent[i].seen_ms,
                                               .last_data = silent[i].data,
                                               .last_status = silent[i].status};
        ok = history->ops->meters_seen(history, meters, n, e) &&
             hot->ops->drop_silent(hot, silent, n, before_ms, e);
        hot_latest_clear(silent, n);
    }
    free(meters);
    free(silent);
    return ok;
}

static bool keep_house(struct aggregate *a, struct err *e)
{
    int64_t mono_ms = clock_mono_ms(a->o.clock), now_ms = clock_wall_ms(a->o.clock);
    struct history *history = a->o.history;
    size_t left_behind;

    if (mono_ms < a->housekeeping_at_ms)
        return true;
    /* A process that stood still and lost the lock may have claimed work and died of it. */
    if (!a->o.hot->ops->recover(a->o.hot, a->o.token, &left_behind, e) || !retire_silent(a, e))
        return false;
    if (mono_ms >= a->partitions_at_ms) {
        if (!history->ops->partitions(history, now_ms, now_ms + PARTITIONS_AHEAD_MS, e))
            return false;
        a->partitions_at_ms = mono_ms + PARTITIONS_MS;
    }
    a->housekeeping_at_ms = mono_ms + HOUSEKEEPING_MS;
    return true;
}

/* ---- The step ------------------------------------------------------------------------------ */

static bool take_lead(struct aggregate *a, struct err *e)
{
    size_t minutes;

    if (!a->leads) {
        if (!a->o.history->ops->lock(a->o.history, &a->leads, e))
            return false;
        if (a->leads != a->led)
            log_info(a->leads ? "this process aggregates now" : "another process aggregates");
        a->led = a->leads;
        if (!a->leads)
            return false;
    }
    if (!a->recovered) {
        if (!a->o.hot->ops->recover(a->o.hot, a->o.token, &minutes, e))
            return false;
        if (minutes > 0)
            log_info("%zu minutes of work were left unfinished and are done again", minutes);
        a->recovered = true;
    }
    return true;
}

/* Minutes that just ended come first, so that live pages stay live; then the oldest. */
static int64_t choose_minute(const int64_t *due, size_t n, int64_t now_ms)
{
    for (size_t i = 0; i < n; i++)
        if (now_ms - (due[i] + MINUTE_MS) <= LIVE_MS)
            return due[i];
    return due[0];
}

static bool work_step(struct aggregate *a, bool *busy, struct err *e)
{
    int64_t due[DUE_MOST], now_ms = clock_wall_ms(a->o.clock);
    size_t n;

    if (!take_lead(a, e))
        return a->leads ? false : e->kind == ERR_NONE;
    if (!a->o.hot->ops->due_minutes(a->o.hot, now_ms, due, DUE_MOST, &n, e))
        return false;
    a->counters.oldest_due_ms = n > 0 ? due[0] : 0;
    if (n > 0 && !aggregate_minute(a, choose_minute(due, n, now_ms), e))
        return false;
    *busy = n > 1;
    return keep_house(a, e);
}

bool aggregate_step(struct aggregate *a, bool *busy, struct err *e)
{
    *busy = false;
    e->kind = ERR_NONE;
    if (work_step(a, busy, e))
        return true;
    /* Whatever failed: the claim is still on record and the lock may be gone. Start over. */
    a->leads = false;
    a->recovered = false;
    return false;
}

void aggregate_write_health(const struct aggregate *a, struct buf *out)
{
    const struct aggregate_counters *c = &a->counters;
    int64_t now_ms = clock_wall_ms(a->o.clock);

    buf_addf(out,
             "{\"at_ms\":%lld,\"pid\":%d,\"state\":\"%s\",\"minutes\":%llu,\"rows_written\":%llu"
             ",\"rows_unchanged\":%llu,\"rows_kept\":%llu,\"rows_merged\":%llu"
             ",\"rows_rebased\":%llu,\"samples\":%llu,\"conflicts\":%llu,\"unreadable\":%llu",
             (long long)now_ms, (int)getpid(), a->leads ? "ok" : "standby",
             (unsigned long long)c->minutes, (unsigned long long)c->rows_written,
             (unsigned long long)c->rows_unchanged, (unsigned long long)c->rows_kept,
             (unsigned long long)c->rows_merged, (unsigned long long)c->rows_rebased,
             (unsigned long long)c->samples, (unsigned long long)c->conflicts,
             (unsigned long long)c->unreadable);
    buf_addf(out,
             ",\"last_minute_ms\":%lld,\"lag_ms\":%lld,\"last_work_ms\":%lld"
             ",\"last_work_meters\":%zu}",
             (long long)c->last_minute_ms,
             (long long)(c->oldest_due_ms ? now_ms - (c->oldest_due_ms + MINUTE_MS) : 0),
             (long long)c->last_work_ms, c->last_work_meters);
}
