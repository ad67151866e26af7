/*
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Code point at s into *cp; returns the bytes it takes (1..4), 0 if they are not well formed. */
size_t utf8_decode(const char *s, size_t len, uint32_t *cp);

/* Byte offset of the first ill-formed sequence, or len when all of it is well formed. */
size_t utf8_valid_prefix(const char *s, size_t len);

/* Write cp as UTF-8; returns the bytes written (1..4). cp must be a Unicode scalar value. */
size_t utf8_encode(uint32_t cp, char out[4]);

#endif
