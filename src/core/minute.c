#include "core/minute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Order and identity ------------------------------------------------------------------- */

static int compare_samples(const void *pa, const void *pb)
{
    const struct minute_sample *a = pa, *b = pb;

    if (a->reading.time_ms != b->reading.time_ms)
        return a->reading.time_ms < b->reading.time_ms ? -1 : 1;
    if (a->reading.topic != b->reading.topic)
        return a->reading.topic < b->reading.topic ? -1 : 1;
    size_t common = a->packed_len < b->packed_len ? a->packed_len : b->packed_len;
    int order = memcmp(a->packed, b->packed, common);
    if (order != 0)
        return order;
    return (a->packed_len > b->packed_len) - (a->packed_len < b->packed_len);
}

static bool same_identity(const struct reading *a, const struct reading *b)
{
    return a->time_ms == b->time_ms && a->topic == b->topic;
}

size_t minute_order(struct minute_sample *samples, size_t n, size_t *conflicts)
{
    size_t kept = 0;

    /* They come sorted from a sorted set; samples are large, so look before moving them. */
    for (size_t i = 1; i < n; i++)
        if (compare_samples(&samples[i - 1], &samples[i]) > 0) {
            qsort(samples, n, sizeof *samples, compare_samples);
            break;
        }
    for (size_t i = 0; i < n; i++) {
        const struct reading *r = &samples[i].reading;
        if (kept > 0 && same_identity(&samples[kept - 1].reading, r)) {
            if (conflicts && memcmp(samples[kept - 1].reading.v, r->v, sizeof r->v) != 0)
                (*conflicts)++;
            samples[kept - 1] = samples[i];
        } else if (kept++ != i) {
            samples[kept - 1] = samples[i];
        }
    }
    return kept;
}

/* ---- What a fold looks at ------------------------------------------------------------------ */

/* Samples first .. after - 1 lie in the minute, those before and behind are its context. */
struct scope {
    const struct minute_sample *samples;
    size_t n, first, after;
    int64_t start_ms, end_ms;
    uint64_t skip[TOPIC_COUNT];
};

static uint64_t second_bit(const struct scope *scope, const struct reading *r)
{
    return UINT64_C(1) << ((r->time_ms - scope->start_ms) / 1000);
}

/* Whether sample i of the minute is to be left out of it. */
static bool skipped(const struct scope *scope, size_t i)
{
    const struct reading *r = &scope->samples[i].reading;

    return scope->skip[r->topic] != 0 && (second_bit(scope, r) & scope->skip[r->topic]);
}

/* The value of m in sample i of the minute, NaN where it is absent or left out. */
static double value_in_minute(const struct scope *scope, size_t i, enum metric m)
{
    double v = scope->samples[i].reading.v[m];

    return isnan(v) || !skipped(scope, i) ? v : NAN;
}

static bool is_battery_value(enum metric m)
{
    return m != METRIC_BATTERY_CONNECTED && m != METRIC_BATTERY_VALID &&
           strncmp(metric_table[m].path, "battery.", strlen("battery.")) == 0;
}

static bool battery_is_trusted(const struct reading *r)
{
    return r->v[METRIC_BATTERY_CONNECTED] != 0 && r->v[METRIC_BATTERY_VALID] != 0;
}

/*
 * volatile: gcc 12 at -O2 leaves out the rounding of some of these where it joins neighbouring
 * stores into one of a vector.
 */
static double as_float4(double d)
{
    volatile float f = (float)d;

    return (double)f;
}

/* ---- One metric ---------------------------------------------------------------------------- */

static void fold_gauge(const struct scope *scope, enum metric m, double *out)
{
    double sum = 0, least = INFINITY, most = -INFINITY;
    size_t n = 0;
    bool battery = is_battery_value(m);

    for (size_t i = scope->first; i < scope->after; i++) {
        double v = value_in_minute(scope, i, m);
        if (isnan(v) || (battery && !battery_is_trusted(&scope->samples[i].reading)))
            continue;
        sum += v;
        least = v < least ? v : least;
        most = v > most ? v : most;
        n++;
    }
    if (n == 0)
        return;
    out[0] = as_float4(sum / (double)n);
    out[1] = as_float4(least);
    out[2] = as_float4(most);
}

/* mW x ms to Wh */
#define WH_PER_MW_MS (1.0 / 3.6e9)

/* Integral of the line from (t0, p0) to (t1, p1), of the part within [from, to]; mW ms. */
static double line_integral(double t0, double p0, double t1, double p1, double from, double to)
{
    double a = fmax(t0, from), b = fmin(t1, to);

    if (b <= a)
        return 0;
    double slope = (p1 - p0) / (t1 - t0);
    double middle = (a + b) / 2;
    return (p0 + slope * (middle - t0)) * (b - a);
}

/* Times are counted from the start of the minute, so that doubles hold them exactly. */
static double integrate_power(const struct scope *scope, enum metric m, bool *settled)
{
    double sum = 0, length = (double)(scope->end_ms - scope->start_ms);
    double last_t = 0, last_p = NAN;

    for (size_t i = 0; i < scope->n; i++) {
        const struct reading *r = &scope->samples[i].reading;
        double p = r->v[m], t = (double)(r->time_ms - scope->start_ms);
        if (isnan(p))
            continue;
        if (isnan(last_p))
            sum += line_integral(t - (double)CONTEXT_MS, p, t, p, 0, length);
        else
            sum += line_integral(last_t, last_p, t, p, 0, length);
        last_t = t;
        last_p = p;
    }
    sum += line_integral(last_t, last_p, last_t + (double)CONTEXT_MS, last_p, 0, length);
    /* A sample yet to come may turn the value held at the end into a line. */
    if (last_t < length)
        *settled = false;
    return sum * WH_PER_MW_MS;
}

/*
 * When the earlier value of a counter was read: before the context, or there would be a sample.
 * The row only knows when its last message came, which need not have had this counter.
 */
static int64_t earlier_time_ms(const struct minute *earlier, const struct scope *scope)
{
    int64_t last_ms = minute_last_data_ms(earlier), most_ms = scope->start_ms - CONTEXT_MS - 1;

    return last_ms < most_ms ? last_ms : most_ms;
}

static void fold_counter(const struct scope *scope, enum metric m, const struct minute_fold *fold,
                         double *out, enum quality *quality, bool *settled)
{
    struct register_sample samples[REGISTER_SAMPLES_MOST];
    struct register_sample earlier;
    const struct register_sample *before = NULL;
    size_t n = 0, column_count;
    /* A meter that sends faster than anyone reads is thinned, not refused. */
    size_t stride = 1 + scope->n / REGISTER_SAMPLES_MOST;

    for (size_t i = 0; i < scope->n; i++) {
        const struct reading *r = &scope->samples[i].reading;
        if (isnan(r->v[m]))
            continue;
        if (i >= scope->first && i < scope->after && !skipped(scope, i))
            out[0] = r->v[m];
        if (i % stride == 0)
            samples[n++] = (struct register_sample){.time_ms = r->time_ms, .wh = r->v[m]};
    }
    if (fold->earlier) {
        double last = fold->earlier->v[metric_columns(m, &column_count)];
        if (!isnan(last)) {
            earlier = (struct register_sample){.time_ms = earlier_time_ms(fold->earlier, scope),
                                               .wh = last};
            before = &earlier;
        }
    }
    struct register_energy e =
        register_window(samples, n, scope->start_ms, scope->end_ms, before, &fold->limits);
    if (isnan(out[0]))
        return;
    out[1] = e.wh;
    *quality = quality_worse(*quality, e.quality);
    *settled = *settled && e.settled;
}

static void fold_balance(const struct scope *scope, enum metric m, double *out)
{
    for (size_t i = scope->first; i < scope->after; i++) {
        double v = value_in_minute(scope, i, m);
        if (!isnan(v))
            out[0] = v;
    }
}

static void fold_flag(const struct scope *scope, enum metric m, double *out)
{
    bool battery = is_battery_value(m);

    for (size_t i = scope->first; i < scope->after; i++) {
        double v = value_in_minute(scope, i, m);
        if (!isnan(v) && (!battery || battery_is_trusted(&scope->samples[i].reading)))
            out[0] = (isnan(out[0]) ? 0 : out[0]) + v;
    }
}

/* A change is counted in the minute of the sample that shows it. */
static void fold_state(const struct scope *scope, enum metric m, double *out)
{
    double last = NAN;

    for (size_t i = 0; i < scope->after; i++) {
        double v = scope->samples[i].reading.v[m];
        if (isnan(v))
            continue;
        if (i >= scope->first && !skipped(scope, i)) {
            out[1] = (isnan(out[1]) ? 0 : out[1]) + (!isnan(last) && v != last);
            out[0] = v;
        }
        last = v;
    }
}

static void fold_metric(const struct scope *scope, enum metric m, const struct minute_fold *fold,
                        struct minute *out, enum quality *quality, bool *settled)
{
    size_t n;
    double *v = &out->v[metric_columns(m, &n)];

    switch (metric_table[m].kind) {
    case KIND_GAUGE:
        fold_gauge(scope, m, v);
        break;
    case KIND_POWER:
        fold_gauge(scope, m, v);
        if (!isnan(v[0]))
            v[3] = integrate_power(scope, m, settled);
        break;
    case KIND_COUNTER:
        fold_counter(scope, m, fold, v, quality, settled);
        break;
    case KIND_BALANCE:
        fold_balance(scope, m, v);
        break;
    case KIND_FLAG:
        fold_flag(scope, m, v);
        break;
    case KIND_STATE:
        fold_state(scope, m, v);
        break;
    case KIND_TEXT:
        break;
    }
}

/* ---- The row ------------------------------------------------------------------------------- */

static void find_minute(struct scope *scope)
{
    while (scope->first < scope->n &&
           scope->samples[scope->first].reading.time_ms < scope->start_ms)
        scope->first++;
    scope->after = scope->first;
    while (scope->after < scope->n && scope->samples[scope->after].reading.time_ms < scope->end_ms)
        scope->after++;
}

static bool has_data(const struct scope *scope, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (scope->samples[i].reading.topic == TOPIC_DATA)
            return true;
    return false;
}

static void count_samples(const struct scope *scope, struct minute *out)
{
    for (size_t i = scope->first; i < scope->after; i++) {
        const struct reading *r = &scope->samples[i].reading;
        if (skipped(scope, i))
            continue;
        *(r->topic == TOPIC_DATA ? &out->n : &out->n_status) += 1;
        *(r->topic == TOPIC_DATA ? &out->sec_mask : &out->status_mask) |= second_bit(scope, r);
    }
    if (has_data(scope, 0, scope->first))
        out->sec_mask |= MASK_BEFORE;
    if (has_data(scope, scope->after, scope->n))
        out->sec_mask |= MASK_AFTER;
}

bool minute_wants_counter(const struct minute_sample *samples, size_t n, int64_t bucket_ms,
                          enum metric m)
{
    for (size_t i = 0; i < n; i++) {
        const struct reading *r = &samples[i].reading;
        if (!isnan(r->v[m]))
            return r->time_ms >= bucket_ms && r->time_ms < bucket_ms + MINUTE_MS;
    }
    return false;
}

bool minute_wants_earlier(const struct minute_sample *samples, size_t n, int64_t bucket_ms)
{
    for (size_t m = 0; m < METRIC_COUNT; m++)
        if (metric_table[m].kind == KIND_COUNTER &&
            minute_wants_counter(samples, n, bucket_ms, (enum metric)m))
            return true;
    return false;
}

bool minute_fold(const struct minute_sample *samples, size_t n, const struct minute_fold *fold,
                 struct minute *out, bool *settled)
{
    struct scope scope = {
        .samples = samples,
        .n = n,
        .start_ms = fold->bucket_ms,
        .end_ms = fold->bucket_ms + MINUTE_MS,
        .skip = {[TOPIC_DATA] = fold->skip_seconds, [TOPIC_STATUS] = fold->skip_status}};
    enum quality quality = QUALITY_VALIDATED;

    find_minute(&scope);
    out->bucket_ms = fold->bucket_ms;
    out->n = out->n_status = 0;
    out->sec_mask = out->status_mask = 0;
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        out->v[c] = NAN;
    count_samples(&scope, out);
    if (out->n == 0 && out->n_status == 0)
        return false;
    *settled = true;
    for (size_t m = 0; m < METRIC_COUNT; m++)
        fold_metric(&scope, (enum metric)m, fold, out, &quality, settled);
    if (!(out->sec_mask & MASK_AFTER))
        *settled = false;
    out->quality = (int16_t)quality;
    return true;
}

enum minute_choice minute_compare(const struct minute *old, const struct minute *fresh)
{
    uint64_t more = (fresh->sec_mask & ~old->sec_mask & MASK_SECONDS) |
                    (fresh->status_mask & ~old->status_mask);
    bool covers = (old->sec_mask & ~fresh->sec_mask) == 0 &&
                  (old->status_mask & ~fresh->status_mask) == 0 && fresh->n >= old->n &&
                  fresh->n_status >= old->n_status;

    if (covers)
        return MINUTE_REPLACE;
    return more ? MINUTE_MERGE : MINUTE_KEEP;
}

bool minute_equal(const struct minute *a, const struct minute *b)
{
    if (strcmp(a->meter_id, b->meter_id) != 0 || a->bucket_ms != b->bucket_ms || a->n != b->n ||
        a->n_status != b->n_status || a->sec_mask != b->sec_mask ||
        a->status_mask != b->status_mask || a->quality != b->quality)
        return false;
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        if (!(a->v[c] == b->v[c] || (isnan(a->v[c]) && isnan(b->v[c]))))
            return false;
    return true;
}

static bool ends_later(uint64_t mask, uint64_t than)
{
    return (mask & MASK_SECONDS) > (than & MASK_SECONDS);
}

static void merge_metric(const struct minute *old, const struct minute *part, enum metric m,
                         double *v)
{
    const struct metric_info *info = &metric_table[m];
    size_t n, c = metric_columns(m, &n);
    const double *p = &part->v[c];
    bool data = info->topic == TOPIC_DATA;
    double weight_old = data ? old->n : old->n_status;
    double weight_part = data ? part->n : part->n_status;
    bool later = data ? ends_later(part->sec_mask, old->sec_mask)
                      : ends_later(part->status_mask, old->status_mask);

    if (n == 0 || isnan(p[0]))
        return;
    if (isnan(v[0])) {
        memcpy(v, p, n * sizeof *v);
        return;
    }
    switch (info->kind) {
    case KIND_GAUGE:
    case KIND_POWER:
        v[0] = as_float4((v[0] * weight_old + p[0] * weight_part) / (weight_old + weight_part));
        v[1] = fmin(v[1], p[1]);
        v[2] = fmax(v[2], p[2]);
        break;
    case KIND_FLAG:
        v[0] += p[0];
        break;
    case KIND_STATE:
        if (later)
            v[0] = p[0];
        v[1] += p[1];
        break;
    case KIND_BALANCE:
        if (later)
            v[0] = p[0];
        break;
    case KIND_COUNTER:
    case KIND_TEXT:
        break;
    }
}

void minute_merge(const struct minute *old, const struct minute *part, struct minute *out)
{
    struct minute merged = *old;

    for (size_t m = 0; m < METRIC_COUNT; m++) {
        size_t n;
        merge_metric(old, part, (enum metric)m, &merged.v[metric_columns((enum metric)m, &n)]);
    }
    merged.n += part->n;
    merged.n_status += part->n_status;
    merged.sec_mask |= part->sec_mask & MASK_SECONDS;
    merged.status_mask |= part->status_mask;
    merged.quality = (int16_t)quality_worse((enum quality)old->quality, QUALITY_MIXED);
    *out = merged;
}

bool minute_rebase(struct minute *next, const struct minute *before, const struct minute *now)
{
    bool changed = false;

    if (next->sec_mask & MASK_BEFORE)
        return false;
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        size_t n, c = metric_columns((enum metric)m, &n);
        if (metric_table[m].kind != KIND_COUNTER || isnan(next->v[c + 1]) || isnan(now->v[c + 1]))
            continue;
        double accounted = before && !isnan(before->v[c + 1]) ? before->v[c + 1] : 0;
        double left = next->v[c + 1] - (now->v[c + 1] - accounted);
        if (left == next->v[c + 1])
            continue;
        next->v[c + 1] = fmax(left, 0);
        changed = true;
    }
    if (changed)
        next->quality = (int16_t)quality_worse((enum quality)next->quality, QUALITY_MIXED);
    return changed;
}

int64_t minute_last_data_ms(const struct minute *m)
{
    uint64_t seconds = m->sec_mask & MASK_SECONDS;

    return m->bucket_ms + (seconds ? 63 - __builtin_clzll(seconds) : 0) * INT64_C(1000);
}
