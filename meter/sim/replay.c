#include "meter/sim/replay.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FIELDS_MOST = 32, DAY_MINUTES = 1440 };

static size_t split(char *line, char *fields[FIELDS_MOST])
{
    size_t n = 0;

    line[strcspn(line, "\r\n")] = '\0';
    for (char *s = line; s && n < FIELDS_MOST; n++)
        fields[n] = strsep(&s, ",");
    return n;
}

/* Positions of the wanted columns in the header line. */
static bool find_columns(char *header, const char *const columns[REPLAY_COLUMNS_MOST],
                         size_t at[REPLAY_COLUMNS_MOST], struct err *e)
{
    char *fields[FIELDS_MOST];
    size_t n = split(header, fields);

    for (size_t c = 0; c < REPLAY_COLUMNS_MOST && columns[c]; c++) {
        for (at[c] = 0; at[c] < n && strcmp(fields[at[c]], columns[c]) != 0;)
            at[c]++;
        if (at[c] == n)
            return err_set(e, ERR_INPUT, "no column %s in the header line", columns[c]);
    }
    return true;
}

static bool read_row(char *line, const char *const columns[REPLAY_COLUMNS_MOST],
                     const size_t at[REPLAY_COLUMNS_MOST], double row[REPLAY_COLUMNS_MOST],
                     struct err *e)
{
    char *fields[FIELDS_MOST];
    size_t n = split(line, fields);

    for (size_t c = 0; c < REPLAY_COLUMNS_MOST && columns[c]; c++) {
        char *end = NULL;
        if (at[c] < n)
            row[c] = strtod(fields[at[c]], &end);
        if (!end || end == fields[at[c]] || *end != '\0' || !isfinite(row[c]))
            return err_set(e, ERR_INPUT, "%s is not a number", columns[c]);
    }
    return true;
}

static bool read_rows(struct replay *r, FILE *f, const char *const columns[REPLAY_COLUMNS_MOST],
                      struct err *e)
{
    bool ok = false;
    char *line = NULL;
    size_t room = 0, cap = 0, at[REPLAY_COLUMNS_MOST];

    if (getline(&line, &room, f) < 0) {
        err_set(e, ERR_INPUT, "the file is empty");
        goto out;
    }
    if (!find_columns(line, columns, at, e))
        goto out;
    while (getline(&line, &room, f) >= 0) {
        if (r->rows == cap) {
            cap = cap ? cap * 2 : DAY_MINUTES;
            r->row = xrealloc_array(r->row, cap, sizeof *r->row);
        }
        if (!read_row(line, columns, at, r->row[r->rows], e)) {
            err_prefix(e, "line %zu: ", r->rows + 2);
            goto out;
        }
        r->rows++;
    }
    ok = r->rows > 0 && r->rows % DAY_MINUTES == 0;
    if (!ok)
        err_set(e, ERR_INPUT, "%zu rows; whole days of 1440 one-minute rows are needed", r->rows);
out:
    free(line);
    return ok;
}

struct replay *replay_load(const char *path, const char *const columns[REPLAY_COLUMNS_MOST],
                           struct err *e)
{
    FILE *f = fopen(path, "re");

    if (!f) {
        err_errno(e, ERR_FATAL, "replay file %s", path);
        return NULL;
    }
    struct replay *r = xcalloc(1, sizeof *r);
    bool ok = read_rows(r, f, columns, e);
    fclose(f);
    if (ok)
        return r;
    err_prefix(e, "replay file %s: ", path);
    replay_free(r);
    return NULL;
}

void replay_free(struct replay *r)
{
    if (!r)
        return;
    free(r->row);
    free(r);
}

const double *replay_row(const struct replay *r, int64_t local_ms)
{
    return r->row[(size_t)(local_ms / 60000) % r->rows];
}
