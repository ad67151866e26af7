/*
 * A PostgreSQL of its own for one test program: a new cluster in a private temporary folder,
 * reached by a unix socket only, gone when the program ends, however it ends.
 */
#ifndef TESTS_PG_SERVER_H
#define TESTS_PG_SERVER_H

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PG_BIN "/usr/lib/postgresql/15/bin/"

struct pg_server {
    char dir[64];
    char url[160];
    pid_t pid;
};

static inline bool pg_server_possible(void)
{
    return access(PG_BIN "postgres", X_OK) == 0 && (geteuid() != 0 || getpwnam("postgres"));
}

/* PostgreSQL refuses to run as root; then it runs as its package's user. */
static inline void pg_server_become_user(void)
{
    struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;

    if (user && (initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
                 setuid(user->pw_uid) != 0))
        _exit(126);
}

static inline pid_t pg_server_spawn(const struct pg_server *s, const char *const *argv)
{
    char log[96];
    pid_t parent = getpid(), pid = fork();

    if (pid != 0)
        return pid;
    pg_server_become_user();
    prctl(PR_SET_PDEATHSIG, SIGQUIT); /* after setuid, which clears it */
    if (getppid() != parent || chdir(s->dir) != 0)
        _exit(126);
    snprintf(log, sizeof log, "%s/log", s->dir);
    if (!freopen(log, "a", stdout) || dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
        _exit(126);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

static inline bool pg_server_run(const struct pg_server *s, const char *const *argv)
{
    int status;
    pid_t pid = pg_server_spawn(s, argv);

    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* Start (again) on the cluster of s; true once it takes connections. */
static inline bool pg_server_start(struct pg_server *s, const char *const *settings)
{
    const char *argv[32] = {PG_BIN "postgres",  "-D", "data", "-k", s->dir, "-c",
                            "listen_addresses="};
    const char *ready[] = {PG_BIN "pg_isready", "-q", "-h", s->dir, NULL};

    for (size_t i = 7; *settings && i + 2 < 32; settings++) {
        argv[i++] = "-c";
        argv[i++] = *settings;
    }
    s->pid = pg_server_spawn(s, argv);
    for (int i = 0; i < 200; i++) {
        if (pg_server_run(s, ready))
            return true;
        usleep(50000);
    }
    return false;
}

/* A new, empty cluster; not started yet. */
static inline bool pg_server_make(struct pg_server *s)
{
    const char *initdb[] = {PG_BIN "initdb", "-D", "data", "-U",         "postgres",  "-A",
                            "trust",         "-E", "UTF8", "--locale=C", "--no-sync", NULL};

    strcpy(s->dir, "/tmp/enerlink-pg-XXXXXX");
    s->pid = 0;
    if (!mkdtemp(s->dir))
        return false;
    struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (user && chown(s->dir, user->pw_uid, user->pw_gid) != 0)
        return false;
    snprintf(s->url, sizeof s->url, "postgresql://postgres@/postgres?host=%s", s->dir);
    return pg_server_run(s, initdb);
}

static inline void pg_server_stop(struct pg_server *s, int signal_number)
{
    if (s->pid > 0) {
        kill(s->pid, signal_number);
        waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
}

static inline void pg_server_remove(struct pg_server *s)
{
    const char *rm[] = {"/bin/rm", "-rf", s->dir, NULL};

    pg_server_stop(s, SIGQUIT);
    if (s->dir[0])
        pg_server_run(s, rm);
    rmdir(s->dir);
}

#endif
