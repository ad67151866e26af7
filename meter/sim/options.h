/*
 * The command line of enerlink-sim. One table in options.c holds every option with its help text.
 */
#ifndef METER_SIM_OPTIONS_H
#define METER_SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
    int64_t meters;
    const char *prefix;
    int64_t seed;
    int64_t start_ms; /* INT64_MIN: not given */
    int64_t zone_ms;
    int64_t interval_s, status_interval_s;
    int64_t duration_s; /* 0: for ever */
    double speed;       /* simulated seconds a second; 0: as fast as the broker confirms */
    int64_t backfill_s, backfill_step_s;
    bool backfill_gap;
    const char *replay_load, *replay_solar; /* NULL: none */
    int64_t replay_meters;
    const char *audit, *state; /* NULL: none */
    int64_t connections;       /* 0: the smaller of meters and 16 */
    int64_t qos;
    bool dry_run;
};

/* Read the command line. Prints help or what is wrong, and ends the process, when it has to. */
struct options options_parse(int argc, char **argv);

#endif
