#include "meter/sim/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/when.h"

struct audit {
    FILE *file;
};

struct audit *audit_open(const char *path, struct err *e)
{
    FILE *f = fopen(path, "ae");

    if (!f) {
        err_errno(e, ERR_FATAL, "audit file %s", path);
        return NULL;
    }
    if (fseek(f, 0, SEEK_END) == 0 && ftell(f) == 0)
        fputs("sent_ms,confirmed_ms,meterId,topic,datetime,export_wh,import_wh,load_smart_wh,"
              "load_home_wh,solar_in_wh,solar_out_wh\n",
              f);
    struct audit *a = xcalloc(1, sizeof *a);
    a->file = f;
    return a;
}

static void write_time(FILE *f, int64_t ms)
{
    if (ms)
        fprintf(f, "%" PRId64, ms);
    fputc(',', f);
}

static void write_wh(FILE *f, int64_t uwh)
{
    char text[PAYLOAD_NUMBER_MOST];

    fputc(',', f);
    fwrite(text, 1, payload_write_number(uwh, 6, text), f);
}

void audit_write(struct audit *a, const struct audit_line *line)
{
    char when[WHEN_TEXT_SIZE];

    if (!a)
        return;
    write_time(a->file, line->sent_ms);
    write_time(a->file, line->confirmed_ms);
    fprintf(a->file, "%s,%s,%s", line->meter_id, topic_path(line->topic),
            when_text(line->time_ms, when));
    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        if (line->topic == TOPIC_DATA)
            write_wh(a->file, line->total_uwh[i]);
        else
            fputc(',', a->file);
    fputc('\n', a->file);
}

void audit_flush(struct audit *a)
{
    if (a && fflush(a->file) != 0)
        log_warn("the audit file cannot be written; is the disk full?");
}

void audit_close(struct audit *a)
{
    if (!a)
        return;
    audit_flush(a);
    fclose(a->file);
    free(a);
}
