/*
 * A reading: what one message of one meter says.
 *
 * reading_parse is a strict reader of exactly the two payloads of the protocol (docs/protocol.md),
 * directed by metric.def: RFC 8259 grammar, UTF-8 checked, no duplicate keys, units converted to
 * those of the metric. It refuses a message as a whole (enum reading_fault, with the field and the
 * byte) or accepts it; in an accepted message a single value that is null, outside its range or
 * outside its vocabulary is absent and listed in the report.
 *
 * Pure and without allocation; a message takes about 2 us.
 */
#ifndef CORE_READING_H
#define CORE_READING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/metric.h"

enum {
    METER_ID_SIZE = 65,            /* 64 characters and NUL */
    MESSAGE_SIZE_MOST = 16 * 1024, /* a larger message is refused */
};

struct reading {
    char meter_id[METER_ID_SIZE];
    enum topic topic;
    int64_t time_ms;        /* the message's datetime */
    double v[METRIC_COUNT]; /* in the metric's unit; FLAG 0 or 1; STATE the index of its word; NaN
                               where absent, as for every metric of the other topic */
};

/* Why a message was refused. The names are stable: they are counted, stored and shown. */
#define READING_FAULTS(X)                                                                          \
    X(NONE, "none")                                                                                \
    X(TOO_LARGE, "too_large")                                                                      \
    X(NOT_UTF8, "not_utf8")                                                                        \
    X(NOT_JSON, "not_json")                                                                        \
    X(TOO_DEEP, "too_deep")                                                                        \
    X(DUPLICATE_KEY, "duplicate_key")                                                              \
    X(WRONG_TYPE, "wrong_type")                                                                    \
    X(NUMBER_TOO_LARGE, "number_too_large") /* no double can hold it */                            \
    X(MISSING_FIELD, "missing_field")       /* meterId, datetime or data */                        \
    X(BAD_METER_ID, "bad_meter_id")                                                                \
    X(BAD_DATETIME, "bad_datetime")                                                                \
    X(UNKNOWN_UNIT, "unknown_unit")                                                                \
    X(IN_FUTURE, "in_future") /* judged by reading_check_time */                                   \
    X(TOO_OLD, "too_old")                                                                          \
    X(BEFORE_2020, "before_2020")                                                                  \
    X(WRONG_IDENTITY, "wrong_identity") /* judged by ingest, from the broker's stamp */            \
    X(PARTIAL, "partial")               /* accepted, but values were left out */

enum reading_fault {
#define X(id, name) FAULT_##id,
    READING_FAULTS(X)
#undef X
        FAULT_COUNT,
};

const char *fault_name(enum reading_fault f);

struct reading_report {
    enum reading_fault fault;
    char detail[160]; /* "data.battery.soc: expected a number at byte 132", printable ASCII only */
    size_t unknown_fields;
    size_t absent_count;       /* values left out although the field was there */
    bool absent[METRIC_COUNT]; /* which */
};

/*
 * Read len bytes of JSON published on topic. True: *r is filled, report->absent tells what was
 * left out. False: report->fault and ->detail tell why, and r->meter_id and r->time_ms hold what
 * could be read of them ("" and 0 otherwise), so that a refused message can still be attributed.
 */
bool reading_parse(const char *json, size_t len, enum topic topic, struct reading *r,
                   struct reading_report *report) MUST_CHECK;

struct time_limits {
    int64_t future_ms; /* how far ahead of now a datetime may be, default 5 min */
    int64_t past_ms;   /* how far back, default 366 days */
};

/* FAULT_NONE, or why the reading's time cannot be true at now_ms. */
enum reading_fault reading_check_time(const struct reading *r, int64_t now_ms,
                                      const struct time_limits *limits);

/* [A-Za-z0-9][A-Za-z0-9._-]{0,63}, not "all". */
bool meter_id_valid(const char *s, size_t len);

/*
 * The reading as compact JSON of fixed form, the readable alternative to a packed snapshot:
 * {"type":"data","datetime":"...","data":{"battery":{"voltage":4.04875,...},...}}. Absent values
 * are left out. Needs at most READING_JSON_MOST bytes of out; returns the length.
 */
enum { READING_JSON_MOST = METRIC_COUNT * 96 + 256 };
size_t reading_write_json(const struct reading *r, char out[READING_JSON_MOST]);

/*
 * Read that form back: topic, time_ms and v; meter_id is left alone. Unknown fields are ignored.
 * False and *e when it is not of that form; *r is unchanged then.
 */
bool reading_read_json(const char *json, size_t len, struct reading *r, struct err *e) MUST_CHECK;

#endif
