/*
 * The state folder of "enerlink up": who may use it now, its secrets, its ports, its sub-folders.
 *
 *   lock            held by up and by every process it started
 *   admin-key, ...  secrets, made at random once
 *   ports           ports chosen, kept for the next start
 *   login-ticket    the ticket of the link that was printed last
 *   endpoints.json  where everything is, while everything is ready
 *   archive/ log/ mosquitto/ postgres/ redis/
 *
 * Files are replaced as a whole: written beside, synced, renamed.
 */
#ifndef APP_UP_DIR_H
#define APP_UP_DIR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "app/up_supervise.h"
#include "base/err.h"

enum { UP_SECRET_SIZE = 65 }; /* 32 random bytes in hexadecimal, and NUL */

struct up_dir {
    char path[PATH_MAX];
    char sockets[PATH_MAX]; /* parent of the folders with unix sockets: path, or a short one */
    int lock_fd;            /* inherited by every child */
};

/*
 * Make the folder if it is not there, and lock it, waiting at most 30 s (and saying so) for the
 * processes of an earlier start to end. asked NULL: the default place.
 */
bool up_dir_open(struct up_dir *d, const char *asked, struct err *e) MUST_CHECK;

/* Take away what only lives while up runs. The lock goes with the process. */
void up_dir_close(struct up_dir *d);

/* d->path "/" name. Returns out. */
char *up_dir_path(const struct up_dir *d, const char *name, char out[PATH_MAX]);

/* A sub-folder of parent, 0700, of this user (NULL: the caller); path into out. */
bool up_dir_folder(const char *parent, const char *name, const struct up_user *user,
                   char out[PATH_MAX], struct err *e) MUST_CHECK;

/* Replace the file at path, 0600, of this user (NULL: the caller). */
bool up_dir_write(const char *path, const char *text, const struct up_user *user,
                  struct err *e) MUST_CHECK;

/* The secret of this name: read, or made and kept. */
bool up_dir_secret(const struct up_dir *d, const char *name, char out[UP_SECRET_SIZE],
                   struct err *e) MUST_CHECK;

/* 32 random bytes as text. */
bool up_random_text(char out[UP_SECRET_SIZE], struct err *e) MUST_CHECK;

/* The package user of this name when we are root (then *user is filled), else nobody else. */
bool up_package_user(const char *name, struct up_user *user, struct err *e) MUST_CHECK;
const struct up_user *up_user_or_caller(const struct up_user *user);

/* ---- Ports -------------------------------------------------------------------------------- */

struct up_port {
    const char *name; /* "http", "mqtt" */
    const char *flag; /* "--http-port" */
    char host[64];
    int preferred; /* the default */
    int asked;     /* -1: not asked for; 0: any */
    int number;    /* out */
};

/*
 * Choose p->number: the port asked for; else the one of the last start, the default, any, whichever
 * is free first. Says when the default had to be replaced. Remembers the choice.
 */
bool up_port_choose(struct up_port *p, const struct up_dir *d, struct err *e) MUST_CHECK;

/* The port is still free, or another was chosen. */
bool up_port_repair(struct up_port *p, const struct up_dir *d, struct err *e) MUST_CHECK;

#endif
