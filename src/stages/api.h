/*
 * The API stage: what the stores hold, over HTTP (docs/api.md), and a plain page at "/".
 *
 * One loop thread speaks HTTP and never waits for a store. Requests for the newest message of one
 * meter go to one worker, which answers all that wait with one question to the hot store; lists
 * of meters to another; history to a few more. Two further threads look after Redis and
 * PostgreSQL twice a second, so that a request to a store that is down is told so at once, and
 * they report the state of this stage. Each thread has a connection of its own.
 */
#ifndef STAGES_API_H
#define STAGES_API_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/err.h"
#include "stores/history.h"
#include "stores/hot.h"

struct api_options {
    const char *listen;       /* "127.0.0.1:8080"; port 0: any free one */
    const char *const *hosts; /* further names for the Host header, NULL-terminated; may be NULL */
    const char *admin_key;    /* at least 16 characters */
    const char *login_ticket_file; /* NULL: no tickets */
    bool secure_cookies;           /* browsers reach this server by https only */

    /*
     * A fresh handle for the calling thread. NULL ends the process: the settings are unusable. A
     * time-out of about 1 s suits the hot store, of about 10 s the history.
     */
    struct hot *(*open_hot)(void *ctx);
    struct history *(*open_history)(void *ctx);
    void *stores_ctx;

    const struct clock *clock;
    int history_threads;              /* 0: 3 */
    size_t answer_bytes_most;         /* a history page ends early beyond it; 0: 96 MiB */
    unsigned connections_most;        /* 0: 2,000 */
    unsigned connections_per_ip_most; /* 0: 512; all users of a proxy are one address */

    /* Called once when the server listens: where readiness is reported. May be NULL. */
    void (*ready)(void *ctx, int port);
    void *ready_ctx;
    /* Asked ten times a second whether to stop; NULL: stop_requested. */
    bool (*stop)(void *ctx);
    void *stop_ctx;
};

/* A handle for the calling thread, or the end of the process. For the files of this stage. */
struct hot *api_open_hot(const struct api_options *o);
struct history *api_open_history(const struct api_options *o);

/* Serves until it is to stop. False and *e (ERR_FATAL) when it cannot begin. */
bool api_run(const struct api_options *o, struct err *e);

#endif
