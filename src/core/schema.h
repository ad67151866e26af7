/*
 * The shape of telemetry_aggregates and of every text form of its rows, from metric.def.
 *
 * A row is the fixed columns (which message counts, which seconds) followed by column_table().
 * Rows travel as text cells in this order wherever they leave the database: JSON, CSV, archive.
 */
#ifndef CORE_SCHEMA_H
#define CORE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "core/metric.h"

enum schema_fixed {
    SCHEMA_METER_ID,
    SCHEMA_BUCKET,
    SCHEMA_N,
    SCHEMA_N_STATUS,
    SCHEMA_SEC_MASK,
    SCHEMA_STATUS_MASK,
    SCHEMA_QUALITY,
    SCHEMA_FIXED_COUNT,
};

enum { SCHEMA_COLUMN_COUNT = SCHEMA_FIXED_COUNT + COLUMN_COUNT };

/* Name and SQL type of column i (0 .. SCHEMA_COLUMN_COUNT - 1): "import_power_avg", "float4". */
const char *schema_column_name(size_t i);
const char *schema_column_type(size_t i);
/* Unit of its values: "mW", "Wh"; "" for text, counts, masks. */
const char *schema_column_unit(size_t i);
/* Index by name; -1 when there is no such column. */
int schema_column_by_name(const char *name);
/* True when the column's JSON form is a string. */
bool schema_column_is_text(size_t i);

/* The columns as "name type constraint,\n" lines with the primary key, for CREATE TABLE. */
void schema_write_columns(struct buf *b);

/* "meter_id,bucket,n,...": the header line of every CSV, without line end. */
void schema_write_csv_header(struct buf *b);

/* docs/metrics.md, whole. */
void schema_write_docs(struct buf *b);

#endif
