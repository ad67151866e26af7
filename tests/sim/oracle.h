/*
 * What the rows of a meter must be, computed from the messages it sent and from the definitions
 * alone: docs/design.md, "A minute", and what core/minute.h and core/register.h say in prose. It
 * shares no code with them and is slow on purpose.
 */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/minute.h"
#include "meters.h"

struct oracle_value {
    bool known;
    double mean, least, most; /* GAUGE, POWER */
    double wh;                /* POWER: the integral; COUNTER: the increase */
    double last;              /* COUNTER, BALANCE; index of a word */
    int count;                /* FLAG: true ones; STATE: changes */
};

struct oracle_row {
    int64_t bucket_ms;
    int n, n_status;
    uint64_t seconds, status_seconds; /* without the bits of context */
    bool before, after;
    int quality;
    int64_t last_data_ms; /* of its last data message, to the second */
    struct oracle_value field[FIELD_COUNT];
    bool has_read[FIELD_COUNT]; /* of a counter: in this row or an earlier one */
    double last_read[FIELD_COUNT];
};

/*
 * Put the messages in order of time and keep one of each identity: of those that differ, the one
 * whose snapshot is greater. Returns how many are left.
 */
size_t oracle_order(const struct plan *p, const struct message **list, size_t n);

/*
 * The row of the minute at bucket_ms from the meter's ordered messages; false: there is none.
 * earlier is the meter's last row before, NULL: none.
 */
bool oracle_row(const struct plan *p, const struct message *const *list, size_t n,
                int64_t bucket_ms, const struct oracle_row *earlier, struct oracle_row *out);

/* How a row differs from what it must be: false and the reason in words. */
bool oracle_agrees(const struct oracle_row *want, const struct minute *row, char *why,
                   size_t why_size);

/*
 * What must hold of a row whose samples were no longer all there when some came late: the same
 * messages are in it, and no value is invented.
 */
bool oracle_allows(const struct oracle_row *want, const struct minute *row, char *why,
                   size_t why_size);

/* All the energy field f has measured: every rise, and what stands on it after a fall. */
double oracle_energy(const struct message *const *list, size_t n, enum field f);

#endif
