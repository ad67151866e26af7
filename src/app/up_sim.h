/*
 * The simulated fleet of "enerlink up --meters N": the program enerlink-sim beside this one.
 */
#ifndef APP_UP_SIM_H
#define APP_UP_SIM_H

#include <limits.h>
#include <stdbool.h>

#include "app/up.h"
#include "app/up_dir.h"
#include "app/up_supervise.h"
#include "base/err.h"

enum { UP_SIM_ARGUMENTS_MOST = 24 };

struct up_sim {
    struct up_service service;
    char program[PATH_MAX];
    char traces[PATH_MAX]; /* folder of the recorded days; "": not found */
    char meters[24], replay_meters[24], state[PATH_MAX];
    char load[PATH_MAX], solar[PATH_MAX];
    const char *argv[UP_SIM_ARGUMENTS_MOST];
};

/* Find the program and the recorded days. */
bool up_sim_find(struct up_sim *sim, struct err *e) MUST_CHECK;

/* Fill in sim->service. */
void up_sim_describe(struct up_sim *sim, const struct up_dir *d, const struct up_options *o);

#endif
