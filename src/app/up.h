/*
 * "enerlink up": everything on one machine.
 *
 * Servers whose URL is not configured are started privately (up_servers), then the database is
 * migrated, then the stages are started and kept running (up_supervise), all over one state
 * folder (up_dir). Nothing that runs on the machine already is touched.
 */
#ifndef APP_UP_H
#define APP_UP_H

#include <stdbool.h>

#include "app/settings.h"

struct up_options {
    const char *dir; /* NULL: /var/lib/enerlink (root) or ~/.local/share/enerlink */
    long meters;     /* simulated meters; -1: none */
    long http_port;  /* -1: not given, 0: any */
    long mqtt_port;  /* likewise */
    bool demo;       /* at the first start the simulated meters publish a day of history */
};

/* Runs until SIGTERM or SIGINT. s receives the URLs of the private servers. Exit status. */
int up_run(struct settings *s, const struct up_options *o);

#endif
