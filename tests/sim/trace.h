/*
 * What happened in a simulated world: the last events for a failure's report, all of them when
 * asked for, and a hash of all of them, by which two runs are the same or not.
 */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct event {
    int64_t at_ms;
    const char *who, *what; /* live for ever */
    const char *result;     /* NULL: none */
    int64_t number;
};

enum { TRACE_KEPT = 64 };

struct trace {
    struct event events[TRACE_KEPT];
    uint64_t n, hash;
    int64_t begin_ms;
    FILE *all; /* NULL: only the last ones are kept */
};

void trace_begin(struct trace *t, int64_t begin_ms, FILE *all);
void trace_add(struct trace *t, int64_t at_ms, const char *who, const char *what,
               const char *result, int64_t number);
void trace_print_last(const struct trace *t, FILE *out);

#endif
