/*
 * Rows of the history as JSON objects or CSV lines, from their text cells.
 *
 * The cells are already text in the form of the column's type, so they are copied through; what
 * JSON has no number for (NaN, infinities) is null.
 */
#ifndef STAGES_API_ROW_H
#define STAGES_API_ROW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "core/schema.h"

/* Everything that is the same for each row of one answer. */
struct row_writer {
    const size_t *columns; /* schema column indexes; the caller's, kept */
    size_t n;
    struct {
        char text[COLUMN_NAME_SIZE + 4]; /* {"bucket": or ,"n": */
        size_t len;
        bool quoted;
    } keys[SCHEMA_COLUMN_COUNT];
};

void row_writer_init(struct row_writer *w, const size_t *columns, size_t n);

/* One object; the cells are in the order of the columns, NULL is an absent value. */
void row_write_json(const struct row_writer *w, struct buf *b, const char *const *cells,
                    const size_t *lengths);

/* {"bucket":"","import_power_avg":"mW",...} */
void row_write_units(const struct row_writer *w, struct buf *b);

/* The header line, and one line of cells, ended by CR LF (RFC 4180). */
void row_write_csv_header(const struct row_writer *w, struct buf *b);
void row_write_csv(const struct row_writer *w, struct buf *b, const char *const *cells,
                   const size_t *lengths);

#endif
