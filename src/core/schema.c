#include "core/schema.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    const char *type;
    const char *constraint;
    const char *meaning;
} fixed_columns[SCHEMA_FIXED_COUNT] = {
    [SCHEMA_METER_ID] = {"meter_id", "text", "COLLATE \"C\" NOT NULL", "the meter"},
    [SCHEMA_BUCKET] = {"bucket", "timestamptz", "NOT NULL", "start of the window, UTC"},
    [SCHEMA_N] = {"n", "int4", "NOT NULL", "data messages in the window"},
    [SCHEMA_N_STATUS] = {"n_status", "int4", "NOT NULL", "status messages in the window"},
    [SCHEMA_SEC_MASK] = {"sec_mask", "int8", "NOT NULL",
                         "bits 0..59: seconds with a data message; bits 60 and 61: a message "
                         "within 30 s before and after the minute was known"},
    [SCHEMA_STATUS_MASK] = {"status_mask", "int8", "NOT NULL",
                            "bits 0..59: seconds with a status message"},
    [SCHEMA_QUALITY] = {"quality", "int2", "NOT NULL",
                        "ESPI QualityOfReading: 17 validated, 13 put together from two sets of "
                        "messages, 10 questionable, 9 energy known but not its distribution"},
};

static const char *const type_names[] = {
    [COLUMN_FLOAT4] = "float4",
    [COLUMN_FLOAT8] = "float8",
    [COLUMN_TEXT] = "text",
};

static const char *const kind_names[] = {
    [KIND_GAUGE] = "gauge",     [KIND_POWER] = "power", [KIND_COUNTER] = "counter",
    [KIND_BALANCE] = "balance", [KIND_FLAG] = "flag",   [KIND_STATE] = "state",
    [KIND_TEXT] = "text",
};

static const struct column_info *metric_column(size_t i)
{
    return &column_table()[i - SCHEMA_FIXED_COUNT];
}

const char *schema_column_name(size_t i)
{
    return i < SCHEMA_FIXED_COUNT ? fixed_columns[i].name : metric_column(i)->name;
}

const char *schema_column_type(size_t i)
{
    return i < SCHEMA_FIXED_COUNT ? fixed_columns[i].type : type_names[metric_column(i)->type];
}

const char *schema_column_unit(size_t i)
{
    return i < SCHEMA_FIXED_COUNT ? "" : column_unit(metric_column(i));
}

int schema_column_by_name(const char *name)
{
    for (int i = 0; i < SCHEMA_FIXED_COUNT; i++)
        if (strcmp(fixed_columns[i].name, name) == 0)
            return i;
    int column = column_by_name(name);
    return column < 0 ? -1 : SCHEMA_FIXED_COUNT + column;
}

bool schema_column_is_text(size_t i)
{
    if (i < SCHEMA_FIXED_COUNT)
        return i == SCHEMA_METER_ID || i == SCHEMA_BUCKET;
    return metric_column(i)->type == COLUMN_TEXT;
}

void schema_write_columns(struct buf *b)
{
    for (size_t i = 0; i < SCHEMA_FIXED_COUNT; i++)
        buf_addf(b, "%s %s %s,\n", fixed_columns[i].name, fixed_columns[i].type,
                 fixed_columns[i].constraint);
    for (size_t i = SCHEMA_FIXED_COUNT; i < SCHEMA_COLUMN_COUNT; i++)
        buf_addf(b, "%s %s,\n", schema_column_name(i), schema_column_type(i));
    buf_adds(b, "PRIMARY KEY (meter_id, bucket)\n");
}

void schema_write_csv_header(struct buf *b)
{
    for (size_t i = 0; i < SCHEMA_COLUMN_COUNT; i++) {
        if (i > 0)
            buf_addc(b, ',');
        buf_adds(b, schema_column_name(i));
    }
}

/* ---- docs/metrics.md ---------------------------------------------------------------------- */

static const char docs_intro[] =
    "# Metrics\n"
    "\n"
    "Generated from `src/core/metric.def`; do not edit.\n"
    "\n"
    "Every leaf of the two payloads and the columns of `telemetry_aggregates` that it becomes. A\n"
    "column is named after the path below `data`, with `_` for `.`, and the statistic:\n"
    "\n"
    "| kind | columns |\n"
    "|---|---|\n"
    "| gauge | `_avg` mean of the samples, `_min`, `_max` |\n"
    "| power | `_avg`, `_min`, `_max`, `_wh` integral over time, in Wh |\n"
    "| counter | `_last` as read, `_inc` energy of the window, both in Wh |\n"
    "| balance | `_last` |\n"
    "| flag | `_true` number of samples in which it was true |\n"
    "| state | `_last` word, `_changes` number of changes |\n"
    "| text | none: it stays in the message |\n"
    "\n"
    "A value outside its range or vocabulary is taken as absent. `_wh`, `_last` and `_inc` are\n"
    "float8, a state's `_last` is text, all others are float4; each is null where nothing is "
    "known.\n"
    "\n"
    "## Columns of every row\n"
    "\n"
    "| column | type | meaning |\n"
    "|---|---|---|\n";

static void write_allowed_values(struct buf *b, const struct metric_info *m)
{
    if (isfinite(m->lo)) {
        buf_addf(b, "%g .. %g", m->lo, m->hi);
        return;
    }
    for (size_t w = 0; w < METRIC_WORDS_MOST && m->words[w]; w++)
        buf_addf(b, "%s`%s`", w > 0 ? ", " : "", m->words[w]);
}

static void write_metric_columns(struct buf *b, enum metric m)
{
    size_t n;
    size_t first = metric_columns(m, &n);

    for (size_t c = first; c < first + n; c++)
        buf_addf(b, "%s`%s`", c > first ? " " : "", column_table()[c].name);
}

static void write_topic(struct buf *b, enum topic topic)
{
    buf_addf(b, "\n## `%s`\n\n", topic_path(topic));
    buf_adds(b, "| path | kind | unit | values | columns | meaning |\n|---|---|---|---|---|---|\n");
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        const struct metric_info *info = &metric_table[m];
        if (info->topic != topic)
            continue;
        buf_addf(b, "| `%s` | %s | %s | ", info->path, kind_names[info->kind],
                 unit_name(info->unit));
        write_allowed_values(b, info);
        buf_adds(b, " | ");
        write_metric_columns(b, (enum metric)m);
        buf_addf(b, " | %s |\n", info->meaning);
    }
}

void schema_write_docs(struct buf *b)
{
    buf_adds(b, docs_intro);
    for (size_t i = 0; i < SCHEMA_FIXED_COUNT; i++)
        buf_addf(b, "| `%s` | %s | %s |\n", fixed_columns[i].name, fixed_columns[i].type,
                 fixed_columns[i].meaning);
    for (size_t t = 0; t < TOPIC_COUNT; t++)
        write_topic(b, (enum topic)t);
}
