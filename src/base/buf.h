/*
 * Growing bytes with sticky failure: once an append would pass `limit` the buffer is `failed`,
 * further appends do nothing, and the caller asks once at the end. data is always followed by a
 * NUL that len does not count, so it can be printed as a string.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t limit; /* 0: none */
    bool failed;
};

void buf_init(struct buf *b, size_t limit);
void buf_clear(struct buf *b); /* frees; the buffer can be used again */
void buf_reset(struct buf *b); /* empties, keeps the memory */

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_addi(struct buf *b, int64_t n);

/* Room for len more bytes, to be written by the caller who then adds to b->len. NULL if failed. */
char *buf_reserve(struct buf *b, size_t len);

/*
 * s as a JSON string with quotes. s must be UTF-8; bytes that are not become U+FFFD. Control
 * characters, DEL, and the bidirectional controls U+202A..202E, U+2066..2069, U+200E/F are
 * written as \uXXXX, so that hostile text cannot drive a terminal or reorder a line.
 */
void buf_add_json_string(struct buf *b, const char *s, size_t len);

/*
 * Shortest decimal text that reads back as the same double (or the same float): "230.1", "0",
 * "1e+21". NaN and infinities have no JSON form and are written as null. -0 is written as 0.
 */
void buf_add_double(struct buf *b, double d);
void buf_add_float(struct buf *b, float f);

#endif
