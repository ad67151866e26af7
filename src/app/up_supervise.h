/*
 * Processes that are to run, and what is done to keep it so.
 *
 * One thread, one loop: it starts services in their order, learns when each is ready, starts again
 * what died, and stops all of it in the opposite order. Every child is sent its stop signal by the
 * kernel when this process dies (prctl(2), PR_SET_PDEATHSIG), so kill -9 leaves no orphans.
 */
#ifndef APP_UP_SUPERVISE_H
#define APP_UP_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Whom a process runs as. */
struct up_user {
    const char *name;
    uid_t uid;
    gid_t gid;
};

struct up_service {
    const char *name;
    const char *program;        /* its path */
    const char *const *argv;    /* NULL-terminated, with argv[0] */
    bool is_server;             /* not a program of ours: it gets none of our secrets */
    const char *cwd;            /* NULL: ours */
    const struct up_user *user; /* NULL: the caller */
    const char *log_path;       /* its output is appended there; NULL: it goes where ours goes */
    int stop_signal;
    int stop_ms; /* how long it may take to stop before it is killed */

    /* Is it ready? Asked again and again. NULL: it sends READY=1 to NOTIFY_SOCKET. */
    bool (*probe)(void *ctx);
    /* Called when it died before it was ever ready: repair and return true, or give up. May be
     * NULL. */
    bool (*repair)(void *ctx, struct err *e);
    void *ctx;
};

struct up_supervisor;

/* Blocks SIGTERM, SIGINT and SIGCHLD: they are read in the loop. NULL and *e on failure. */
struct up_supervisor *up_supervisor_new(struct err *e);
void up_supervisor_free(struct up_supervisor *sup);

/* Start a service. It and all it points to must live as long as the supervisor. */
void up_supervisor_start(struct up_supervisor *sup, const struct up_service *service);

enum up_outcome {
    UP_READY,   /* every service has been ready once */
    UP_STOPPED, /* SIGTERM or SIGINT came */
    UP_FAILED,  /* *e says why */
};

/*
 * Run until all services started so far are ready. A server makes it fail after timeout_ms or
 * several deaths. A stage may be waiting for a server elsewhere: for these it waits as long as it
 * takes, and says so.
 */
enum up_outcome up_supervisor_wait_ready(struct up_supervisor *sup, int timeout_ms, struct err *e);

/* Run until SIGTERM or SIGINT. */
void up_supervisor_loop(struct up_supervisor *sup);

/* Run a program that ends by itself, while the services are kept running. *status: exit status. */
enum up_outcome up_supervisor_run(struct up_supervisor *sup, const struct up_service *service,
                                  int timeout_ms, int *status, struct err *e);

/* Stop the services started after the first `keep`, last started first; all at once when together.
 */
void up_supervisor_stop(struct up_supervisor *sup, size_t keep, bool together);

#endif
