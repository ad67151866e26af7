#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *log_stage = "enerlink";

void log_init(const char *stage)
{
    log_stage = stage;
}

static void write_line(const char *level, const char *fmt, va_list ap)
{
    char line[2048];
    int head = snprintf(line, sizeof line - 1, "%s: %s", log_stage, level);
    vsnprintf(line + head, sizeof line - 1 - (size_t)head, fmt, ap);

    size_t len = strlen(line);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    /* One write, so that lines of several processes on one stderr do not mix. */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}

void log_info(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    write_line("", fmt, ap);
    va_end(ap);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    write_line("warn ", fmt, ap);
    va_end(ap);
}

void log_debug(const char *fmt, ...)
{
    static int on = -1;
    va_list ap;

    if (on < 0) {
        const char *s = getenv("ENERLINK_DEBUG");
        on = s && strcmp(s, "1") == 0;
    }
    if (!on)
        return;
    va_start(ap, fmt);
    write_line("debug ", fmt, ap);
    va_end(ap);
}

void die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    write_line("fatal ", fmt, ap);
    va_end(ap);
    exit(1);
}

bool log_gate_open(struct log_gate *g, int64_t now_ms, int64_t interval_ms, uint64_t *left_out)
{
    if (now_ms < g->next_ms) {
        g->left_out++;
        return false;
    }
    g->next_ms = now_ms + interval_ms;
    *left_out = g->left_out;
    g->left_out = 0;
    return true;
}
