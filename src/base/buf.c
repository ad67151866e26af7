#include "base/buf.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

void buf_init(struct buf *b, size_t limit)
{
    *b = (struct buf){.limit = limit};
}

void buf_clear(struct buf *b)
{
    free(b->data);
    buf_init(b, b->limit);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

char *buf_reserve(struct buf *b, size_t len)
{
    if (b->failed || (b->limit && len > b->limit - b->len)) {
        b->failed = true;
        return NULL;
    }
    if (b->len + len + 1 > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        while (cap < b->len + len + 1)
            cap *= 2;
        b->data = xrealloc_array(b->data, cap, 1);
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    char *at = buf_reserve(b, len);

    if (!at)
        return;
    if (len)
        memcpy(at, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_addc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_adds(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    assert(len >= 0);
    char *at = buf_reserve(b, (size_t)len);
    if (at) {
        vsnprintf(at, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    }
    va_end(again);
}

void buf_addi(struct buf *b, int64_t n)
{
    char digits[24];
    char *at = digits + sizeof digits;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (n < 0)
        *--at = '-';
    buf_add(b, at, (size_t)(digits + sizeof digits - at));
}

/* U+200E, U+200F, U+202A..202E, U+2066..2069: they reorder the text around them. */
static bool is_bidi_control(uint32_t cp)
{
    return cp == 0x200e || cp == 0x200f || (cp >= 0x202a && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069);
}

void buf_add_json_string(struct buf *b, const char *s, size_t len)
{
    size_t at = 0;

    buf_addc(b, '"');
    while (at < len) {
        size_t plain = at;
        while (plain < len && (unsigned char)s[plain] >= 0x20 && (unsigned char)s[plain] < 0x7f &&
               s[plain] != '"' && s[plain] != '\\')
            plain++;
        buf_add(b, s + at, plain - at);
        at = plain;
        if (at == len)
            break;
        if (s[at] == '"' || s[at] == '\\') {
            buf_addc(b, '\\');
            buf_addc(b, s[at++]);
            continue;
        }
        uint32_t cp;
        size_t used = utf8_decode(s + at, len - at, &cp);
        if (used == 0) {
            buf_adds(b, "\xef\xbf\xbd"); /* U+FFFD */
            at++;
        } else if (cp == '\n') {
            buf_adds(b, "\\n");
            at += used;
        } else if (cp == '\t') {
            buf_adds(b, "\\t");
            at += used;
        } else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || is_bidi_control(cp)) {
            buf_addf(b, "\\u%04x", (unsigned)cp);
            at += used;
        } else {
            buf_add(b, s + at, used);
            at += used;
        }
    }
    buf_addc(b, '"');
}

/*
 * Most readings are decimals of at most six places: print the integer d * 10^6 as one, if that
 * reads back exactly (the division is correctly rounded, as strtod would be).
 */
static bool add_six_places(struct buf *b, double d)
{
    double scaled = round(fabs(d) * 1e6);
    char digits[32];
    char *end = digits + sizeof digits;
    char *at = end;

    if (!(scaled < 9007199254740992.0) || scaled / 1e6 != fabs(d))
        return false;
    uint64_t n = (uint64_t)scaled;
    uint64_t whole = n / 1000000;
    uint64_t part = n % 1000000;
    if (part) {
        int places = 6;
        while (part % 10 == 0) {
            part /= 10;
            places--;
        }
        for (int i = 0; i < places; i++, part /= 10)
            *--at = (char)('0' + part % 10);
        *--at = '.';
    }
    do
        *--at = (char)('0' + whole % 10);
    while (whole /= 10);
    if (d < 0 && n)
        *--at = '-';
    buf_add(b, at, (size_t)(end - at));
    return true;
}

void buf_add_double(struct buf *b, double d)
{
    char text[40];

    if (!isfinite(d)) {
        buf_adds(b, "null");
        return;
    }
    if (add_six_places(b, d))
        return;
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, d);
        if (strtod(text, NULL) == d)
            break;
    }
    buf_adds(b, text);
}

void buf_add_float(struct buf *b, float f)
{
    char text[40];

    if (!isfinite(f)) {
        buf_adds(b, "null");
        return;
    }
    if (f == 0) {
        buf_addc(b, '0');
        return;
    }
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, (double)f);
        if (strtof(text, NULL) == f)
            break;
    }
    buf_adds(b, text);
}
