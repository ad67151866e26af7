/*
 * The private servers of "enerlink up", each prepared from nothing but the state folder: its own
 * sub-folder, configuration, credentials, and a description for the supervisor.
 *
 * As root they run as the users of their packages, otherwise as the caller. They listen on
 * loopback (mosquitto) or on a unix socket in a folder only they and we can enter.
 */
#ifndef APP_UP_SERVERS_H
#define APP_UP_SERVERS_H

#include <limits.h>
#include <stdbool.h>

#include "app/settings.h"
#include "app/up_dir.h"
#include "app/up_supervise.h"
#include "base/err.h"

enum { UP_URL_SIZE = 512, UP_ARGUMENTS_MOST = 48 };

/* What the three have in common. */
struct up_server {
    struct up_service service;
    struct up_user user;
    char program[PATH_MAX];
    char folder[PATH_MAX]; /* its state */
    char log_path[PATH_MAX];
    char url[UP_URL_SIZE]; /* in the form of the setting */
    const char *argv[UP_ARGUMENTS_MOST];
};

struct up_mosquitto {
    struct up_server server;
    const struct up_dir *dir;
    const struct settings *settings;
    struct up_port port;
    char password[UP_SECRET_SIZE];
};

struct up_redis {
    struct up_server server;
    char socket_path[PATH_MAX];
    char maxmemory[32];
};

struct up_postgres {
    struct up_server server;
    char bin[PATH_MAX]; /* folder of the programs */
    char data[PATH_MAX];
    char socket_folder[PATH_MAX];
    char socket_option[PATH_MAX + 32], buffers_option[32];
    char admin_password[UP_SECRET_SIZE], password[UP_SECRET_SIZE];
};

/* port: -1 not asked for, 0 any. */
bool up_mosquitto_prepare(struct up_mosquitto *m, const struct up_dir *d, const struct settings *s,
                          int port, struct err *e) MUST_CHECK;

bool up_redis_prepare(struct up_redis *r, const struct up_dir *d, struct err *e) MUST_CHECK;

/* Makes the cluster at the first start. UP_READY: go on. */
enum up_outcome up_postgres_prepare(struct up_postgres *p, const struct up_dir *d,
                                    struct up_supervisor *sup, struct err *e);

/* Once the server runs: our role and database. */
bool up_postgres_finish(struct up_postgres *p, struct err *e) MUST_CHECK;

/* ---- For the three ------------------------------------------------------------------------ */

/*
 * Fill in user, folder, log and what else does not depend on the server. user_name: of the package.
 */
bool up_server_init(struct up_server *u, const struct up_dir *d, const char *name,
                    const char *user_name, struct err *e) MUST_CHECK;

/* Path of an executable in PATH, /usr/sbin or /usr/local/sbin; *e names the package to install. */
bool up_find_program(const char *name, const char *package, char out[PATH_MAX],
                     struct err *e) MUST_CHECK;

/* Memory this process may use: the machine's, or its control group's if that is less. */
uint64_t up_memory_bytes(void);

/* The folder under d->sockets in which u's unix socket lies. */
bool up_server_sockets(const struct up_server *u, const struct up_dir *d, char out[PATH_MAX],
                       struct err *e) MUST_CHECK;

#endif
