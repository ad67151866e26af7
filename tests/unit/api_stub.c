#include "api_stub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/when.h"

struct stub_hot {
    struct hot hot;
    struct stub *stub;
};

struct stub_history {
    struct history history;
    struct stub *stub;
};

static bool go_on(atomic_bool *fails, atomic_int *delay_ms, struct err *e)
{
    usleep((useconds_t)atomic_load(delay_ms) * 1000);
    return !atomic_load(fails) || err_set(e, ERR_RETRY, "stub: switched off");
}

static struct stub *of_hot(struct hot *h)
{
    return ((struct stub_hot *)h)->stub;
}

static const struct stub_meter *find_meter(const struct stub *s, const char *id)
{
    for (size_t i = 0; i < s->n_meters; i++)
        if (strcmp(s->meters[i].id, id) == 0)
            return &s->meters[i];
    return NULL;
}

static bool stub_latest(struct hot *h, const char *const *ids, size_t n, struct hot_latest *out,
                        struct err *e)
{
    struct stub *s = of_hot(h);

    atomic_fetch_add(&s->latest_calls, 1);
    if (!go_on(&s->hot_fails, &s->hot_delay_ms, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct stub_meter *m = find_meter(s, ids[i]);
        out[i] = (struct hot_latest){0};
        if (!m)
            continue;
        out[i].seen_ms = m->seen_ms;
        out[i].data = m->data ? xstrdup(m->data) : NULL;
        out[i].data_len = m->data ? strlen(m->data) : 0;
        out[i].status = m->status ? xstrdup(m->status) : NULL;
        out[i].status_len = m->status ? strlen(m->status) : 0;
    }
    return true;
}

static bool stub_meters(struct hot *h, const char *after, size_t most, struct hot_ids *out,
                        struct err *e)
{
    struct stub *s = of_hot(h);

    if (!go_on(&s->hot_fails, &s->hot_delay_ms, e))
        return false;
    for (size_t i = 0; i < s->n_meters && out->n < most; i++)
        if (strcmp(s->meters[i].id, after) > 0)
            hot_ids_add(out, s->meters[i].id, strlen(s->meters[i].id));
    return true;
}

static bool stub_put_health(struct hot *h, const char *stage, const char *json, struct err *e)
{
    struct stub *s = of_hot(h);

    if (strcmp(stage, "api") == 0 && strstr(json, "\"requests\":"))
        atomic_fetch_add(&s->put_health_calls, 1);
    return go_on(&s->hot_fails, &s->hot_delay_ms, e);
}

static bool stub_get_health(struct hot *h, struct buf *out, struct err *e)
{
    struct stub *s = of_hot(h);

    buf_adds(out, s->health);
    return go_on(&s->hot_fails, &s->hot_delay_ms, e);
}

static bool stub_hot_durability(struct hot *h, struct hot_durability *out, struct err *e)
{
    struct stub *s = of_hot(h);

    *out = (struct hot_durability){.sound = true};
    return go_on(&s->hot_fails, &s->hot_delay_ms, e);
}

static bool stub_usage(struct hot *h, struct hot_usage *out, struct err *e)
{
    (void)h;
    (void)e;
    *out = (struct hot_usage){.memory_bytes = 1234, .minutes_waiting = 2};
    return true;
}

static void stub_hot_close(struct hot *h)
{
    free(h);
}

struct hot *stub_open_hot(void *ctx)
{
    static const struct hot_ops ops = {.latest = stub_latest,
                                       .meters = stub_meters,
                                       .put_health = stub_put_health,
                                       .get_health = stub_get_health,
                                       .durability = stub_hot_durability,
                                       .usage = stub_usage,
                                       .close = stub_hot_close};
    struct stub_hot *h = xcalloc(1, sizeof *h);

    h->hot.ops = &ops;
    h->stub = ctx;
    return &h->hot;
}

/* ---- History ------------------------------------------------------------------------------ */

static const char *cell_of(size_t column, const char *bucket, const char *meter, char number[24])
{
    switch (column) {
    case SCHEMA_BUCKET:
        return bucket;
    case SCHEMA_METER_ID:
        return meter;
    case SCHEMA_QUALITY:
        return NULL;
    case SCHEMA_FIXED_COUNT + COLUMN_IMPORT_POWER:
        return "NaN";
    }
    return schema_column_is_text(column) ? "idle" : number;
}

static bool give_row(const struct history_query *q, int64_t bucket_ms, const char *meter,
                     history_row_fn *fn, void *ctx)
{
    const char *cells[SCHEMA_COLUMN_COUNT];
    size_t lengths[SCHEMA_COLUMN_COUNT];
    char bucket[WHEN_TEXT_SIZE], number[24];

    when_text(bucket_ms, bucket);
    snprintf(number, sizeof number, "%d", (int)(bucket_ms / MINUTE_MS % 60));
    for (size_t i = 0; i < q->n_columns; i++) {
        cells[i] = cell_of(q->columns[i], bucket, meter, number);
        lengths[i] = cells[i] ? strlen(cells[i]) : 0;
    }
    return fn(ctx, cells, lengths);
}

static bool is_behind(const struct history_query *q, int64_t bucket_ms, const char *meter)
{
    if (!q->after_meter)
        return true;
    return bucket_ms > q->after_bucket_ms ||
           (bucket_ms == q->after_bucket_ms && strcmp(meter, q->after_meter) > 0);
}

static bool stub_select(struct history *h, const struct history_query *q, history_row_fn *fn,
                        void *ctx, struct err *e)
{
    struct stub *s = ((struct stub_history *)h)->stub;
    int64_t bucket_ms = when_floor(q->start_ms + MINUTE_MS - 1, MINUTE_MS);
    size_t rows = 0;

    if (!go_on(&s->history_fails, &s->history_delay_ms, e))
        return false;
    for (; bucket_ms < q->end_ms; bucket_ms += MINUTE_MS) {
        for (size_t i = 0; i < s->n_meters; i++) {
            const char *id = s->meters[i].id;
            if ((q->meter_id && strcmp(q->meter_id, id) != 0) || !is_behind(q, bucket_ms, id))
                continue;
            if (rows++ == q->limit || !give_row(q, bucket_ms, id, fn, ctx))
                return true;
        }
    }
    return true;
}

static bool stub_history_durability(struct history *h, struct history_durability *out,
                                    struct err *e)
{
    struct stub *s = ((struct stub_history *)h)->stub;

    *out = (struct history_durability){.sound = true};
    return go_on(&s->history_fails, &s->history_delay_ms, e);
}

static void stub_history_close(struct history *h)
{
    free(h);
}

struct history *stub_open_history(void *ctx)
{
    static const struct history_ops ops = {
        .select = stub_select, .durability = stub_history_durability, .close = stub_history_close};
    struct stub_history *h = xcalloc(1, sizeof *h);

    h->history.ops = &ops;
    h->stub = ctx;
    return &h->history;
}
