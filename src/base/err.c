#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void format_text(struct err *e, enum err_kind kind, const char *fmt, va_list ap)
{
    e->kind = kind;
    vsnprintf(e->text, sizeof e->text, fmt, ap);
}

bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    va_list ap;

    if (!e)
        return false;
    va_start(ap, fmt);
    format_text(e, kind, fmt, ap);
    va_end(ap);
    return false;
}

bool err_errno(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;

    if (!e)
        return false;
    va_start(ap, fmt);
    format_text(e, kind, fmt, ap);
    va_end(ap);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s", strerror(saved));
    return false;
}

bool err_prefix(struct err *e, const char *fmt, ...)
{
    char was[sizeof e->text];
    va_list ap;

    if (!e)
        return false;
    memcpy(was, e->text, sizeof was);
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, "%s", was);
    return false;
}
