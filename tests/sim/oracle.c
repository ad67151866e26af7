#include "oracle.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/snapshot.h"

/* From the definitions; not taken from the headers of the code under test. */
#define MINUTE INT64_C(60000)
#define CONTEXT INT64_C(30000)
enum { Q_GAP = 9, Q_REFUSED = 10, Q_MIXED = 13, Q_GOOD = 17 };

/* ---- Order and identity -------------------------------------------------------------------- */

static double value_of(const struct message *m, enum field f)
{
    enum metric_kind kind = field_table[f].kind;

    return kind == KIND_FLAG || kind == KIND_STATE ? (double)m->value[f]
                                                   : (double)m->value[f] / 1000.0;
}

/* The snapshot itself is right by its own tests; here it only decides between two messages. */
static size_t snapshot_of(const struct plan *p, const struct message *m, char *out)
{
    struct reading r = {.topic = m->topic, .time_ms = m->time_ms};

    for (int i = 0; i < METRIC_COUNT; i++)
        r.v[i] = NAN;
    for (int f = 0; f < FIELD_COUNT; f++)
        if (m->given >> f & 1)
            r.v[field_table[f].metric] = value_of(m, (enum field)f);
    return p->json ? reading_write_json(&r, out) : snapshot_pack(&r, (uint8_t *)out);
}

static bool is_greater(const struct plan *p, const struct message *a, const struct message *b)
{
    char first[READING_JSON_MOST], second[READING_JSON_MOST];
    size_t first_len = snapshot_of(p, a, first), second_len = snapshot_of(p, b, second);
    int order = memcmp(first, second, first_len < second_len ? first_len : second_len);

    return order > 0 || (order == 0 && first_len > second_len);
}

static int by_time_and_topic(const void *pa, const void *pb)
{
    const struct message *a = *(const struct message *const *)pa;
    const struct message *b = *(const struct message *const *)pb;

    if (a->time_ms != b->time_ms)
        return a->time_ms < b->time_ms ? -1 : 1;
    return (a->topic > b->topic) - (a->topic < b->topic);
}

size_t oracle_order(const struct plan *p, const struct message **list, size_t n)
{
    size_t kept = 0;

    qsort(list, n, sizeof(struct message *), by_time_and_topic);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || by_time_and_topic(&list[kept - 1], &list[i]) != 0)
            list[kept++] = list[i];
        else if (is_greater(p, list[i], list[kept - 1]))
            list[kept - 1] = list[i];
    }
    return kept;
}

/* ---- The values of one field --------------------------------------------------------------- */

struct point {
    int64_t t;
    long double v;
    bool inside; /* in the minute itself, not in the context */
};

enum { POINTS_MOST = 1024 };

struct points {
    struct point at[POINTS_MOST];
    size_t n, inside;
};

static bool is_battery_reading(enum field f)
{
    return f == FIELD_BATTERY_VOLTAGE || f == FIELD_BATTERY_SOC;
}

static bool says_no(const struct message *m, enum field f)
{
    return (m->given >> f & 1) && m->value[f] == 0;
}

static void collect(const struct message *const *list, size_t n, enum field f, int64_t bucket_ms,
                    struct points *out)
{
    out->n = out->inside = 0;
    for (size_t i = 0; i < n; i++) {
        const struct message *m = list[i];
        if (!(m->given >> f & 1) || m->time_ms < bucket_ms - CONTEXT ||
            m->time_ms > bucket_ms + MINUTE + CONTEXT)
            continue;
        if (is_battery_reading(f) &&
            (says_no(m, FIELD_BATTERY_CONNECTED) || says_no(m, FIELD_BATTERY_VALID)))
            continue;
        bool inside = m->time_ms >= bucket_ms && m->time_ms < bucket_ms + MINUTE;
        out->inside += inside;
        if (out->n < POINTS_MOST)
            out->at[out->n++] = (struct point){m->time_ms, value_of(m, f), inside};
    }
}

static void summarise(const struct points *p, struct oracle_value *out)
{
    long double sum = 0, least = INFINITY, most = -INFINITY;

    for (size_t i = 0; i < p->n; i++) {
        if (!p->at[i].inside)
            continue;
        sum += p->at[i].v;
        least = p->at[i].v < least ? p->at[i].v : least;
        most = p->at[i].v > most ? p->at[i].v : most;
    }
    out->mean = (double)(sum / (long double)p->inside);
    out->least = (double)least;
    out->most = (double)most;
}

/* ---- Power to energy ----------------------------------------------------------------------- */

/* Height at t of the line through a and b. */
static long double line_at(const struct point *a, const struct point *b, int64_t t)
{
    return a->v + (b->v - a->v) * (long double)(t - a->t) / (long double)(b->t - a->t);
}

/* Area under the polygon through the points between the borders of the minute. */
static long double area_within(const struct point *at, size_t n, int64_t from, int64_t to)
{
    long double area = 0;

    for (size_t i = 0; i + 1 < n; i++) {
        int64_t left = at[i].t > from ? at[i].t : from;
        int64_t right = at[i + 1].t < to ? at[i + 1].t : to;
        if (left < right)
            area += (line_at(&at[i], &at[i + 1], left) + line_at(&at[i], &at[i + 1], right)) / 2 *
                    (long double)(right - left);
    }
    return area;
}

static double integral_of(const struct points *p, int64_t bucket_ms)
{
    struct point at[POINTS_MOST + 2];

    /* Beyond what is known the power is held for as long as the context reaches. */
    memcpy(at + 1, p->at, p->n * sizeof *at);
    at[0] = (struct point){at[1].t - CONTEXT, at[1].v, false};
    at[p->n + 1] = (struct point){at[p->n].t + CONTEXT, at[p->n].v, false};
    return (double)(area_within(at, p->n + 2, bucket_ms, bucket_ms + MINUTE) / 3.6e9L);
}

/* ---- Counters ------------------------------------------------------------------------------ */

enum verdict {
    RISES,
    WAVERS,  /* lower by no more than the last digit of a float */
    RESETS,  /* counts from zero */
    GLITCH,  /* passed over */
    REFUSED, /* more than the installation can have measured; the counter goes on from there */
};

static bool is_below(long double v, long double than)
{
    return v < than - 2 * fabsl(than) * (long double)FLT_EPSILON;
}

static bool is_credible(long double gain, int64_t duration_ms, double power_w_most)
{
    if (duration_ms < 1000)
        duration_ms = 1000;
    return power_w_most == 0 || gain * 3600000 <= (long double)power_w_most * duration_ms;
}

static enum verdict judge(const struct points *p, size_t base, size_t i, double power_w_most)
{
    long double from = p->at[base].v, to = p->at[i].v;
    bool fell = is_below(to, from);
    long double gain = fell ? to : to > from ? to - from : 0;
    bool credible = is_credible(gain, p->at[i].t - p->at[base].t, power_w_most);

    if (!fell && credible)
        return to < from ? WAVERS : RISES;
    for (size_t j = i + 1; j < p->n && p->at[j].t - p->at[i].t <= CONTEXT; j++) {
        bool back = !is_below(p->at[j].v, from);
        if (fell ? back : back && is_below(p->at[j].v, to))
            return GLITCH;
    }
    return !credible ? REFUSED : RESETS;
}

struct counted {
    struct point at[POINTS_MOST]; /* v: the energy since the first point */
    bool glitch[POINTS_MOST];
    bool refused[POINTS_MOST];
};

static void count_up(const struct points *p, double power_w_most, struct counted *out)
{
    size_t base = 0;
    long double energy = 0;

    for (size_t i = 0; i < p->n; i++) {
        enum verdict v = i == 0 ? RISES : judge(p, base, i, power_w_most);
        if (v == RISES && i > 0)
            energy += p->at[i].v - p->at[base].v;
        if (v == RESETS)
            energy += p->at[i].v;
        if (v == RISES || v == RESETS ||
            (v == REFUSED && (p->at[i].v >= p->at[base].v || is_below(p->at[i].v, p->at[base].v))))
            base = i;
        out->at[i] = (struct point){p->at[i].t, energy, p->at[i].inside};
        out->glitch[i] = v == GLITCH;
        out->refused[i] = v == REFUSED;
    }
}

/* What the counter has measured when its time passes the border. */
static long double energy_at(const struct points *p, const struct counted *c, int64_t border,
                             bool *gap)
{
    size_t a = SIZE_MAX, b = SIZE_MAX, raw_a = SIZE_MAX, raw_b = SIZE_MAX;

    for (size_t i = 0; i < p->n; i++) {
        if (p->at[i].t < border) {
            raw_a = i;
            if (!c->glitch[i])
                a = i;
        } else {
            raw_b = raw_b == SIZE_MAX ? i : raw_b;
            b = b == SIZE_MAX && !c->glitch[i] ? i : b;
        }
    }
    *gap = false;
    if (raw_a == SIZE_MAX)
        return c->at[0].v;
    if (b == SIZE_MAX)
        return c->at[a].v;
    bool fallen = is_below(p->at[raw_b].v, p->at[raw_a].v);
    if (fallen || border - p->at[a].t > CONTEXT || p->at[b].t - border > CONTEXT) {
        *gap = c->at[b].v > c->at[a].v;
        return c->at[a].v;
    }
    return line_at(&c->at[a], &c->at[b], border);
}

static int worse(int a, int b)
{
    static const int order[] = {Q_GOOD, Q_GAP, Q_MIXED, Q_REFUSED};
    int place_a = 0, place_b = 0;

    for (int i = 0; i < 4; i++) {
        place_a = order[i] == a ? i : place_a;
        place_b = order[i] == b ? i : place_b;
    }
    return order[place_a > place_b ? place_a : place_b];
}

static void count_energy(const struct plan *plan, struct points *p, int64_t bucket_ms,
                         const struct oracle_row *earlier, enum field f, struct oracle_row *out)
{
    static struct counted c;
    bool gap, end_gap;

    if (p->at[0].t >= bucket_ms && earlier && earlier->has_read[f] && p->n < POINTS_MOST) {
        /* Were it read within the context, that sample would be here. */
        int64_t oldest_ms = bucket_ms - CONTEXT - 1;
        int64_t t = earlier->last_data_ms < oldest_ms ? earlier->last_data_ms : oldest_ms;
        memmove(p->at + 1, p->at, p->n * sizeof *p->at);
        p->at[0] = (struct point){t, earlier->last_read[f], false};
        p->n++;
    }
    count_up(p, plan->power_w_most, &c);
    long double start = energy_at(p, &c, bucket_ms, &gap);
    long double end = energy_at(p, &c, bucket_ms + MINUTE, &end_gap);
    out->field[f].wh = (double)(end - start);
    if (gap)
        out->quality = worse(out->quality, Q_GAP);
    for (size_t i = 0; i < p->n; i++)
        if (p->at[i].inside && c.refused[i])
            out->quality = worse(out->quality, Q_REFUSED);
}

double oracle_energy(const struct message *const *list, size_t n, enum field f)
{
    long double sum = 0, last = NAN;

    for (size_t i = 0; i < n; i++) {
        if (!(list[i]->given >> f & 1))
            continue;
        long double v = value_of(list[i], f);
        if (!isnan(last))
            sum += v < last ? v : v - last;
        last = v;
    }
    return (double)sum;
}

/* ---- The row ------------------------------------------------------------------------------- */

static void count_messages(const struct message *const *list, size_t n, int64_t bucket_ms,
                           struct oracle_row *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct message *m = list[i];
        int64_t second = (m->time_ms - bucket_ms) / 1000;
        bool data = m->topic == TOPIC_DATA;
        if (m->time_ms < bucket_ms) {
            out->before = out->before || (data && m->time_ms >= bucket_ms - CONTEXT);
        } else if (m->time_ms >= bucket_ms + MINUTE) {
            out->after = out->after || (data && m->time_ms <= bucket_ms + MINUTE + CONTEXT);
        } else if (data) {
            out->n++;
            out->seconds |= UINT64_C(1) << second;
            out->last_data_ms = bucket_ms + second * 1000;
        } else {
            out->n_status++;
            out->status_seconds |= UINT64_C(1) << second;
        }
    }
}

static int changes_of(const struct points *p)
{
    int changes = 0;

    for (size_t i = 1; i < p->n; i++)
        changes += p->at[i].inside && p->at[i].v != p->at[i - 1].v;
    return changes;
}

static void find_field(const struct plan *plan, const struct message *const *list, size_t n,
                       int64_t bucket_ms, const struct oracle_row *earlier, enum field f,
                       struct oracle_row *out)
{
    static struct points p;
    struct oracle_value *v = &out->field[f];

    collect(list, n, f, bucket_ms, &p);
    v->known = p.inside > 0;
    if (!v->known)
        return;
    for (size_t i = 0; i < p.n; i++)
        if (p.at[i].inside) {
            v->last = (double)p.at[i].v;
            v->count += field_table[f].kind == KIND_FLAG && p.at[i].v != 0;
        }
    if (field_table[f].kind == KIND_STATE)
        v->count = changes_of(&p);
    summarise(&p, v);
    if (field_table[f].kind == KIND_POWER)
        v->wh = integral_of(&p, bucket_ms);
    if (field_table[f].kind == KIND_COUNTER)
        count_energy(plan, &p, bucket_ms, earlier, f, out);
}

bool oracle_row(const struct plan *p, const struct message *const *list, size_t n,
                int64_t bucket_ms, const struct oracle_row *earlier, struct oracle_row *out)
{
    *out =
        (struct oracle_row){.bucket_ms = bucket_ms, .quality = Q_GOOD, .last_data_ms = bucket_ms};
    count_messages(list, n, bucket_ms, out);
    if (out->n + out->n_status == 0)
        return false;
    for (int f = 0; f < FIELD_COUNT; f++) {
        find_field(p, list, n, bucket_ms, earlier, (enum field)f, out);
        out->has_read[f] = out->field[f].known || (earlier && earlier->has_read[f]);
        out->last_read[f] = out->field[f].known ? out->field[f].last
                            : earlier           ? earlier->last_read[f]
                                                : 0;
    }
    return true;
}

/* ---- Comparing ----------------------------------------------------------------------------- */

struct judgement {
    char *why;
    size_t size;
    bool sound;
};

static void PRINTF(3, 4) expect(struct judgement *j, bool holds, const char *fmt, ...)
{
    va_list args;

    if (holds || !j->sound)
        return;
    j->sound = false;
    va_start(args, fmt);
    vsnprintf(j->why, j->size, fmt, args);
    va_end(args);
}

static void expect_near(struct judgement *j, size_t column, double is, double want,
                        double tolerance)
{
    bool holds = isnan(want) ? isnan(is) : fabs(is - want) <= tolerance;

    expect(j, holds, "%s is %.17g, not %.17g", column_table()[column].name, is, want);
}

/* Values that are sums of rounded terms may differ in the last digit of a float4. */
#define FLOAT4_TOLERANCE 2.5e-7

static void compare_field(struct judgement *j, enum field f, const struct oracle_value *v,
                          const struct minute *row)
{
    size_t n, c = metric_columns(field_table[f].metric, &n);
    const double *is = &row->v[c];
    double scale = fmax(1, fabs(v->last));

    if (!v->known) {
        for (size_t i = 0; i < n; i++)
            expect_near(j, c + i, is[i], NAN, 0);
        return;
    }
    switch (field_table[f].kind) {
    case KIND_POWER:
        expect_near(j, c + 3, is[3], v->wh, 1e-9 * fmax(1, fabs(v->wh)));
        /* fall through */
    case KIND_GAUGE:
        expect_near(j, c, is[0], v->mean, FLOAT4_TOLERANCE * fabs(v->mean));
        expect_near(j, c + 1, is[1], (float)v->least, 0);
        expect_near(j, c + 2, is[2], (float)v->most, 0);
        break;
    case KIND_COUNTER:
        expect_near(j, c, is[0], v->last, 0);
        expect_near(j, c + 1, is[1], v->wh, 1e-9 * scale);
        break;
    case KIND_BALANCE:
        expect_near(j, c, is[0], v->last, 0);
        break;
    case KIND_FLAG:
        expect_near(j, c, is[0], v->count, 0);
        break;
    case KIND_STATE:
        expect_near(j, c, is[0], v->last, 0);
        expect_near(j, c + 1, is[1], v->count, 0);
        break;
    case KIND_TEXT:
        break;
    }
}

static void expect_nothing_else(struct judgement *j, const struct minute *row)
{
    static bool known[COLUMN_COUNT], ready;

    if (!ready) {
        for (int f = 0; f < FIELD_COUNT; f++) {
            size_t n, c = metric_columns(field_table[f].metric, &n);
            while (n-- > 0)
                known[c + n] = true;
        }
        ready = true;
    }
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        if (!known[c])
            expect_near(j, c, row->v[c], NAN, 0);
}

static void compare_counts(struct judgement *j, const struct oracle_row *want,
                           const struct minute *row)
{
    uint64_t seconds = row->sec_mask & ((UINT64_C(1) << 60) - 1);

    expect(j, row->n == want->n, "n is %d, not %d", row->n, want->n);
    expect(j, row->n_status == want->n_status, "n_status is %d, not %d", row->n_status,
           want->n_status);
    expect(j, seconds == want->seconds, "sec_mask is %llx, not %llx", (unsigned long long)seconds,
           (unsigned long long)want->seconds);
    expect(j, row->status_mask == want->status_seconds, "status_mask is %llx, not %llx",
           (unsigned long long)row->status_mask, (unsigned long long)want->status_seconds);
}

bool oracle_agrees(const struct oracle_row *want, const struct minute *row, char *why,
                   size_t why_size)
{
    struct judgement j = {why, why_size, true};
    bool before = row->sec_mask >> 60 & 1, after = row->sec_mask >> 61 & 1;

    compare_counts(&j, want, row);
    expect(&j, before == want->before, "the bit for context before is %d", before);
    expect(&j, after == want->after, "the bit for context after is %d", after);
    for (int f = 0; f < FIELD_COUNT; f++)
        compare_field(&j, (enum field)f, &want->field[f], row);
    expect_nothing_else(&j, row);
    expect(&j, row->quality == want->quality, "quality is %d, not %d", row->quality, want->quality);
    return j.sound;
}

bool oracle_allows(const struct oracle_row *want, const struct minute *row, char *why,
                   size_t why_size)
{
    struct judgement j = {why, why_size, true};

    compare_counts(&j, want, row);
    expect(&j, want->before || !(row->sec_mask >> 60 & 1), "the bit for context before is set");
    expect(&j, want->after || !(row->sec_mask >> 61 & 1), "the bit for context after is set");
    for (int f = 0; f < FIELD_COUNT; f++) {
        size_t n, c = metric_columns(field_table[f].metric, &n);
        expect(&j, want->field[f].known == !isnan(row->v[c]), "%s is %.17g", column_table()[c].name,
               row->v[c]);
        if (field_table[f].kind == KIND_FLAG && want->field[f].known)
            expect_near(&j, c, row->v[c], want->field[f].count, 0);
    }
    expect_nothing_else(&j, row);
    return j.sound;
}
