/*
 * What the simulated meters published and the broker took, as CSV: the other side of the books,
 * for whoever checks that nothing was lost or doubled.
 *
 * One line when a message is confirmed (PUBCOMP), and at the end one for each that never was, with
 * confirmed_ms empty; sent_ms is empty when it was not even handed over. The energies are the
 * total_energy values in the message, Wh, as they stand there; empty for status messages.
 */
#ifndef METER_SIM_AUDIT_H
#define METER_SIM_AUDIT_H

#include <stdint.h>

#include "base/err.h"
#include "core/metric.h"
#include "meter/core/payload.h"

struct audit;

struct audit_line {
    int64_t sent_ms, confirmed_ms; /* wall clock; 0: not happened */
    const char *meter_id;
    enum topic topic;
    int64_t time_ms; /* the message's datetime */
    int64_t total_uwh[CHANNEL_COUNT];
};

/* Append to the file at path, with a header line if it is new. NULL on failure. */
struct audit *audit_open(const char *path, struct err *e) MUST_CHECK;
void audit_write(struct audit *a, const struct audit_line *line);
void audit_flush(struct audit *a);
void audit_close(struct audit *a);

#endif
