/*
 * Energy accounts in integers: power over time becomes microwatt-hours without any drift.
 *
 * A channel's account is fed one power at a time. Between two samples power is taken as a straight
 * line (trapezoid); what is smaller than a microwatt-hour is carried over, so that the total is
 * the exact integral, rounded down once. Only the total counts up: the energy of the day and of
 * the settlement period are differences to bases, so the three can never drift apart, and a reset
 * moves a base, never the total. (A 32-bit float counter stops counting at this load within
 * years.)
 *
 * All state is in plain integers that the caller may save and restore as they are.
 */
#ifndef METER_CORE_ENERGY_H
#define METER_CORE_ENERGY_H

#include <stdbool.h>
#include <stdint.h>

#define ENERGY_DAY_MS INT64_C(86400000)

/* Wall time while the clock has not been set; days then do not change. */
#define ENERGY_NO_TIME INT64_MIN

struct energy_rules {
    int64_t zone_ms; /* local time minus UTC, fixed: +7 h is 25,200,000 */
    int64_t
        max_gap_ms; /* samples further apart than this are not joined: billing invents nothing */
};

/* Time as the accounts of one meter have seen it; shared by all its channels. */
struct energy_clock {
    int64_t mono_ms; /* of the last sample */
    int64_t day;     /* local day the accounts are in, days since 1970 */
    int64_t gap_ms;  /* time for which nothing was accounted */
    bool running;    /* mono_ms is true: the next sample continues from it */
    bool day_known;
};

/* What passed between two samples of a meter. */
struct energy_step {
    int64_t dt_ms;      /* 0: the samples are not joined */
    int64_t old_day_ms; /* how much of it lies before the midnight of a new day */
    bool new_day;
};

/*
 * Advance to a sample taken at mono_ms (a clock that never steps) and wall_ms (UTC, or
 * ENERGY_NO_TIME). A day only ever changes forward: a clock set back does not reset twice.
 */
struct energy_step energy_clock_step(struct energy_clock *c, const struct energy_rules *rules,
                                     int64_t mono_ms, int64_t wall_ms);

/* The next sample starts afresh: after a reboot, when power was off. */
void energy_clock_break(struct energy_clock *c);

struct energy {
    int64_t total_uwh;
    int64_t rest; /* what the total does not show yet, in half uW ms: below ENERGY_REST_UWH */
    int64_t day_base_uwh;
    int64_t settlement_base_uwh;
    int64_t last_uw;
    bool last_valid;
};

/* Half microwatt-milliseconds in a microwatt-hour; halves keep the trapezoid whole. */
#define ENERGY_REST_UWH INT64_C(7200000)

/*
 * Account for the step that ends with a sample of power_uw. Power must not be negative, and
 * (p0 + p1) * dt_ms must stay below 2^63: 150 MW at gaps of 30 s. A sample that is not valid adds
 * nothing on either side of it.
 */
void energy_add(struct energy *e, const struct energy_step *step, int64_t power_uw, bool valid);

int64_t energy_daily_uwh(const struct energy *e);
int64_t energy_settlement_uwh(const struct energy *e);

/* Settlement starts again from zero. */
void energy_settle(struct energy *e);

#endif
