/*
 * The fleet on disk, so that a simulation goes on where it was: same meters, and counters that
 * never go back. Saved as text, one line a meter, to a new file that then takes the old one's
 * place; a crash leaves the old or the new state, never half of one.
 *
 * Because the world is a function of seed and time, a state that is a minute old loses nothing:
 * simulated again from there, the meters come to the very counters they had.
 */
#ifndef METER_SIM_STATE_H
#define METER_SIM_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "meter/sim/fleet.h"

/* What the file says besides the meters. */
struct state {
    uint64_t seed;
    int64_t clock_ms;
    int64_t history_end_ms; /* history is being published up to here; 0: it is done */
};

bool state_save(const char *path, const struct state *s, const struct fleet *f,
                struct err *e) MUST_CHECK;

/* Read what comes before the meters. False without an error set (ERR_NONE): there is no file. */
bool state_peek(const char *path, struct state *s, struct err *e) MUST_CHECK;

/*
 * Bring a new fleet to the saved state. Meters that the file does not know stay new, those that
 * the fleet does not have are left out. *restored: how many were found.
 */
bool state_load(const char *path, struct fleet *f, size_t *restored, struct err *e) MUST_CHECK;

#endif
