#include "core/metric.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define RANGE(low, high) .lo = (low), .hi = (high)
#define ANY .lo = -INFINITY, .hi = INFINITY
#define WORDS(...) .lo = -INFINITY, .hi = INFINITY, .words = {__VA_ARGS__}

const struct metric_info metric_table[METRIC_COUNT] = {
#define METRIC(id_, topic_, path_, kind_, unit_, limits_, meaning_)                                \
    [METRIC_##id_] = {.id = #id_,                                                                  \
                      .path = path_,                                                               \
                      .topic = TOPIC_##topic_,                                                     \
                      .kind = KIND_##kind_,                                                        \
                      .unit = UNIT_##unit_,                                                        \
                      limits_,                                                                     \
                      .meaning = meaning_},
#include METRIC_DEF
#undef METRIC
};

static const char *const unit_names[] = {
    [UNIT_NONE] = "",   [UNIT_V] = "V",     [UNIT_MA] = "mA",       [UNIT_MW] = "mW",
    [UNIT_WH] = "Wh",   [UNIT_MAH] = "mAh", [UNIT_PCT] = "%",       [UNIT_PCT_H] = "%/hr",
    [UNIT_DBM] = "dBm", [UNIT_MS] = "ms",   [UNIT_BYTES] = "bytes",
};

static const struct {
    const char *suffix;
    enum column_type type;
} stat_table[] = {
    [STAT_AVG] = {"avg", COLUMN_FLOAT4},   [STAT_MIN] = {"min", COLUMN_FLOAT4},
    [STAT_MAX] = {"max", COLUMN_FLOAT4},   [STAT_WH] = {"wh", COLUMN_FLOAT8},
    [STAT_LAST] = {"last", COLUMN_FLOAT8}, [STAT_INC] = {"inc", COLUMN_FLOAT8},
    [STAT_TRUE] = {"true", COLUMN_FLOAT4}, [STAT_CHANGES] = {"changes", COLUMN_FLOAT4},
};

static const struct {
    size_t n;
    enum column_stat stats[COLUMNS_OF_POWER];
} kind_stats[] = {
    [KIND_GAUGE] = {COLUMNS_OF_GAUGE, {STAT_AVG, STAT_MIN, STAT_MAX}},
    [KIND_POWER] = {COLUMNS_OF_POWER, {STAT_AVG, STAT_MIN, STAT_MAX, STAT_WH}},
    [KIND_COUNTER] = {COLUMNS_OF_COUNTER, {STAT_LAST, STAT_INC}},
    [KIND_BALANCE] = {COLUMNS_OF_BALANCE, {STAT_LAST}},
    [KIND_FLAG] = {COLUMNS_OF_FLAG, {STAT_TRUE}},
    [KIND_STATE] = {COLUMNS_OF_STATE, {STAT_LAST, STAT_CHANGES}},
    [KIND_TEXT] = {COLUMNS_OF_TEXT, {STAT_LAST}},
};

static const size_t first_column[METRIC_COUNT] = {
#define METRIC(id, topic, path, kind, unit, limits, meaning) [METRIC_##id] = COLUMN_##id,
#include METRIC_DEF
#undef METRIC
};

static struct column_info columns[COLUMN_COUNT];
static pthread_once_t columns_once = PTHREAD_ONCE_INIT;

const char *topic_path(enum topic t)
{
    return t == TOPIC_DATA ? "enerlink/meters/data" : "enerlink/meters/status";
}

const char *topic_name(enum topic t)
{
    return t == TOPIC_DATA ? "data" : "status";
}

const char *unit_name(enum metric_unit u)
{
    return unit_names[u];
}

enum metric metric_by_path(const char *path)
{
    for (size_t m = 0; m < METRIC_COUNT; m++)
        if (strcmp(metric_table[m].path, path) == 0)
            return (enum metric)m;
    return METRIC_COUNT;
}

int metric_word(enum metric m, const char *word, size_t len)
{
    const struct metric_info *info = &metric_table[m];

    for (int i = 0; i < METRIC_WORDS_MOST && info->words[i]; i++)
        if (strlen(info->words[i]) == len && memcmp(info->words[i], word, len) == 0)
            return i;
    return -1;
}

/* "sensors.ina219[0x40].connected" + "true" -> "sensors_ina219_0x40_connected_true" */
static void write_column_name(char *out, const char *path, const char *suffix)
{
    size_t len = 0;

    for (const char *p = path; *p; p++)
        if (*p != ']')
            out[len++] = *p == '.' || *p == '[' ? '_' : *p;
    int more = snprintf(out + len, COLUMN_NAME_SIZE - len, "_%s", suffix);
    assert(more > 0 && len + (size_t)more < COLUMN_NAME_SIZE);
}

static void build_columns(void)
{
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        const struct metric_info *info = &metric_table[m];
        for (size_t s = 0; s < kind_stats[info->kind].n; s++) {
            struct column_info *c = &columns[first_column[m] + s];
            enum column_stat stat = kind_stats[info->kind].stats[s];
            assert(strlen(info->path) + 10 < COLUMN_NAME_SIZE);
            write_column_name(c->name, info->path, stat_table[stat].suffix);
            c->metric = (enum metric)m;
            c->stat = stat;
            c->type =
                stat == STAT_LAST && info->kind == KIND_STATE ? COLUMN_TEXT : stat_table[stat].type;
        }
    }
}

const struct column_info *column_table(void)
{
    pthread_once(&columns_once, build_columns);
    return columns;
}

size_t metric_columns(enum metric m, size_t *n)
{
    *n = kind_stats[metric_table[m].kind].n;
    return first_column[m];
}

int column_by_name(const char *name)
{
    const struct column_info *table = column_table();

    for (int i = 0; i < COLUMN_COUNT; i++)
        if (strcmp(table[i].name, name) == 0)
            return i;
    return -1;
}

const char *column_unit(const struct column_info *c)
{
    switch (c->stat) {
    case STAT_WH:
        return unit_name(UNIT_WH);
    case STAT_TRUE:
    case STAT_CHANGES:
        return "";
    case STAT_AVG:
    case STAT_MIN:
    case STAT_MAX:
    case STAT_LAST:
    case STAT_INC:
        break;
    }
    return unit_name(metric_table[c->metric].unit);
}
