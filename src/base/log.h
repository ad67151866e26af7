/*
 * One event a line on stderr: "ingest: warn redis /run/x.sock: timed out, waiting 0.4 s".
 *
 * log_info tells of normal life, log_warn of something a person should look at, log_debug only
 * when ENERLINK_DEBUG=1, die ends the process with exit status 1. Control characters in the text
 * are replaced, so that what came from outside cannot forge lines or drive a terminal.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Name in front of every line; the string must live as long as the process. */
void log_init(const char *stage);

void log_info(const char *fmt, ...) PRINTF(1, 2);
void log_warn(const char *fmt, ...) PRINTF(1, 2);
void log_debug(const char *fmt, ...) PRINTF(1, 2);
NORETURN void die(const char *fmt, ...) PRINTF(1, 2);

/*
 * Keeps a repeated message to one line per interval and says how many were left out:
 *     static struct log_gate gate;
 *     uint64_t left_out;
 *     if (log_gate_open(&gate, now_ms, 60000, &left_out)) log_warn(...);
 */
struct log_gate {
    int64_t next_ms;
    uint64_t left_out;
};
bool log_gate_open(struct log_gate *g, int64_t now_ms, int64_t interval_ms, uint64_t *left_out);

#endif
