/*
 * Instants as milliseconds since 1970-01-01T00:00:00Z, and their ISO 8601 text (RFC 3339 profile,
 * a little wider: seconds may be absent, the offset may be written +07, +0700 or +07:00).
 */
#ifndef CORE_WHEN_H
#define CORE_WHEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MINUTE_MS INT64_C(60000)
#define DAY_MS INT64_C(86400000)

/*
 * Read "2025-10-26T04:27:10Z", "...10.250+07:00". An offset is required: a time without one names
 * no instant. Fractions are kept to the millisecond (further digits are cut off), second 60 of a
 * leap second counts as the second after 59. False when it is not such a text.
 */
bool when_parse(const char *s, size_t len, int64_t *ms);

/* Read "2025-10-26" as the instant of its UTC midnight. */
bool when_parse_day(const char *s, size_t len, int64_t *ms);

enum { WHEN_TEXT_SIZE = 32 };

/* "2025-10-26T04:27:10Z", with ".250" only when there are milliseconds. Returns out. */
char *when_text(int64_t ms, char out[WHEN_TEXT_SIZE]);

/* "2025-10-26" (UTC). Returns out. */
char *when_day_text(int64_t ms, char out[WHEN_TEXT_SIZE]);

/* Largest multiple of step_ms that is not after ms; right for times before 1970 too. */
int64_t when_floor(int64_t ms, int64_t step_ms);

#endif
