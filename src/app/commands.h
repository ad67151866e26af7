/*
 * The subcommands. Each returns the exit status: 0 done, 1 failed or unsound, 2 usage; what went
 * wrong has been said.
 */
#ifndef APP_COMMANDS_H
#define APP_COMMANDS_H

#include "app/settings.h"

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
};

/* Stages: run until SIGTERM or SIGINT. */
int command_ingest(const struct settings *s);
int command_aggregate(const struct settings *s);
int command_api(const struct settings *s);

/* Tools: do one thing and end. */
int command_migrate(const struct settings *s);
int command_check(const struct settings *s);
int command_inspect(const struct settings *s, const char *meter_id);

#endif
