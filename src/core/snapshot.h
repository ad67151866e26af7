/*
 * A reading packed into a few bytes: the member of telemetry:timeseries:<meterId>.
 *
 * Deterministic: equal readings give equal bytes, whoever packs them and whenever, so a message
 * that is delivered twice is one member. Exact: every double comes back bit for bit. Versioned and
 * append-only: a snapshot written before a metric existed reads as one in which it is absent. The
 * meter's id is not in it (it is in the key). docs/snapshot.md gives every byte.
 */
#ifndef CORE_SNAPSHOT_H
#define CORE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reading.h"

enum { SNAPSHOT_SIZE_MOST = 16 + METRIC_COUNT * 10 };

/*
 * Pack topic, time and values of r. Returns the length. The time must have passed
 * reading_check_time: 48 bits hold it.
 */
size_t snapshot_pack(const struct reading *r, uint8_t out[SNAPSHOT_SIZE_MOST]);

/*
 * Read a packed snapshot, or one in JSON form (reading_write_json), told apart by the first byte.
 * Fills topic, time_ms and v; leaves meter_id alone. False and *e when the bytes are not one.
 */
bool snapshot_unpack(const void *bytes, size_t len, struct reading *r, struct err *e) MUST_CHECK;

#endif
