#include "stages/api_row.h"

#include <stdio.h>
#include <string.h>

void row_writer_init(struct row_writer *w, const size_t *columns, size_t n)
{
    w->columns = columns;
    w->n = n;
    for (size_t i = 0; i < n; i++) {
        int len = snprintf(w->keys[i].text, sizeof w->keys[i].text, "%c\"%s\":", i ? ',' : '{',
                           schema_column_name(columns[i]));
        w->keys[i].len = (size_t)len;
        w->keys[i].quoted = schema_column_is_text(columns[i]) || columns[i] == SCHEMA_BUCKET;
    }
}

/* The stores print decimal numbers; a first digit tells them from NaN, Infinity, -Infinity. */
static bool is_number(const char *cell, size_t len)
{
    size_t at = len > 0 && cell[0] == '-';

    return at < len && cell[at] >= '0' && cell[at] <= '9';
}

void row_write_json(const struct row_writer *w, struct buf *b, const char *const *cells,
                    const size_t *lengths)
{
    for (size_t i = 0; i < w->n; i++) {
        buf_add(b, w->keys[i].text, w->keys[i].len);
        if (cells[i] && w->keys[i].quoted)
            buf_add_json_string(b, cells[i], lengths[i]);
        else if (cells[i] && is_number(cells[i], lengths[i]))
            buf_add(b, cells[i], lengths[i]);
        else
            buf_add(b, "null", 4);
    }
    buf_addc(b, '}');
}

void row_write_units(const struct row_writer *w, struct buf *b)
{
    for (size_t i = 0; i < w->n; i++) {
        const char *unit = schema_column_unit(w->columns[i]);
        buf_add(b, w->keys[i].text, w->keys[i].len);
        buf_add_json_string(b, unit, strlen(unit));
    }
    buf_addc(b, '}');
}

void row_write_csv_header(const struct row_writer *w, struct buf *b)
{
    for (size_t i = 0; i < w->n; i++) {
        if (i)
            buf_addc(b, ',');
        buf_adds(b, schema_column_name(w->columns[i]));
    }
    buf_adds(b, "\r\n");
}

static void write_csv_cell(struct buf *b, const char *cell, size_t len)
{
    bool plain = true;

    for (size_t i = 0; i < len && plain; i++)
        plain = !strchr(",\"\r\n", cell[i]);
    if (plain) {
        buf_add(b, cell, len);
        return;
    }
    buf_addc(b, '"');
    for (size_t i = 0; i < len; i++) {
        if (cell[i] == '"')
            buf_addc(b, '"');
        buf_addc(b, cell[i]);
    }
    buf_addc(b, '"');
}

void row_write_csv(const struct row_writer *w, struct buf *b, const char *const *cells,
                   const size_t *lengths)
{
    for (size_t i = 0; i < w->n; i++) {
        if (i)
            buf_addc(b, ',');
        if (cells[i] && (w->keys[i].quoted || is_number(cells[i], lengths[i])))
            write_csv_cell(b, cells[i], lengths[i]);
    }
    buf_adds(b, "\r\n");
}
