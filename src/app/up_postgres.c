#include "app/up_servers.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

enum { MAJOR_LEAST = 15, INITDB_TIMEOUT_MS = 120000, PATH_ROOM = 32, OPEN_FOLDERS_MOST = 16 };

static const char role_name[] = "enerlink";
static const char admin_name[] = "postgres";

/* ---- Programs ----------------------------------------------------------------------------- */

/* Debian's place of each major version; the newest, or the one the cluster was made with. */
static bool find_programs(struct up_postgres *p, int wanted, struct err *e)
{
    static const char versions[] = "/usr/lib/postgresql";
    DIR *dir = opendir(versions);
    int best = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        char path[PATH_MAX];
        int major = atoi(entry->d_name);
        snprintf(path, sizeof path, "%s/%d/bin/postgres", versions, major);
        if (major >= MAJOR_LEAST && (!wanted || major == wanted) && major > best &&
            access(path, X_OK) == 0)
            best = major;
    }
    if (dir)
        closedir(dir);
    if (best) {
        snprintf(p->bin, sizeof p->bin, "%s/%d/bin", versions, best);
        return true;
    }
    if (wanted)
        return err_set(e, ERR_FATAL,
                       "%s was made by PostgreSQL %d, which is not in %s: install that version",
                       p->data, wanted, versions);
    return err_set(e, ERR_FATAL,
                   "PostgreSQL %d or later is not installed (Debian package postgresql; \"make "
                   "setup\")",
                   MAJOR_LEAST);
}

/* Major version of the cluster at data; 0: there is none. */
static int cluster_version(const char *data)
{
    char path[PATH_MAX];
    int major = 0;

    snprintf(path, sizeof path, "%.*s/PG_VERSION", PATH_MAX - PATH_ROOM, data);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%d", &major) != 1)
        major = 0;
    fclose(f);
    return major;
}

/* ---- The cluster -------------------------------------------------------------------------- */

static enum up_outcome run_initdb(struct up_postgres *p, struct up_supervisor *sup,
                                  const char *const *argv, struct err *e)
{
    int status;
    struct up_service service = p->server.service;

    service.name = "initdb";
    service.program = argv[0];
    service.argv = argv;
    service.stop_signal = SIGTERM;
    enum up_outcome outcome = up_supervisor_run(sup, &service, INITDB_TIMEOUT_MS, &status, e);
    if (outcome == UP_READY && status != 0) {
        err_set(e, ERR_FATAL, "initdb failed; its log: %s", p->server.log_path);
        return UP_FAILED;
    }
    return outcome;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

/* Made beside and renamed when complete, so that an interrupted initdb is simply begun again. */
static enum up_outcome make_cluster(struct up_postgres *p, struct up_supervisor *sup, struct err *e)
{
    char fresh[PATH_MAX], password_file[PATH_MAX], password_option[PATH_MAX + 16];
    char initdb[PATH_MAX];

    snprintf(initdb, sizeof initdb, "%.*s/initdb", PATH_MAX - PATH_ROOM, p->bin);
    snprintf(fresh, sizeof fresh, "%.*s/data.new", PATH_MAX - PATH_ROOM, p->server.folder);
    snprintf(password_file, sizeof password_file, "%.*s/initdb-password", PATH_MAX - PATH_ROOM,
             p->server.folder);
    snprintf(password_option, sizeof password_option, "--pwfile=%s", password_file);
    /* With its path: PostgreSQL looks for its other programs beside argv[0]. */
    const char *const argv[] = {initdb,
                                "-D",
                                fresh,
                                "-U",
                                admin_name,
                                password_option,
                                "--auth=scram-sha-256",
                                "--encoding=UTF8",
                                "--no-locale",
                                "--data-checksums",
                                "--no-instructions",
                                NULL};

    log_info("making a PostgreSQL cluster in %s", p->data);
    nftw(fresh, remove_entry, OPEN_FOLDERS_MOST, FTW_DEPTH | FTW_PHYS);
    if (!up_dir_write(password_file, p->admin_password, p->server.service.user, e))
        return UP_FAILED;
    enum up_outcome outcome = run_initdb(p, sup, argv, e);
    unlink(password_file);
    if (outcome == UP_READY && rename(fresh, p->data) < 0) {
        err_errno(e, ERR_FATAL, "%s", p->data);
        return UP_FAILED;
    }
    return outcome;
}

/* ---- The server --------------------------------------------------------------------------- */

static bool postgres_ready(void *ctx)
{
    const struct up_postgres *p = ctx;
    const char *const keywords[] = {"host", "port", "user", "dbname", "connect_timeout", NULL};
    const char *const values[] = {p->socket_folder, "5432", admin_name, "postgres", "2", NULL};

    return PQpingParams(keywords, values, 0) == PQPING_OK;
}

static void describe(struct up_postgres *p)
{
    const uint64_t buffers_most = UINT64_C(256) << 20;
    uint64_t buffers = up_memory_bytes() / 16;

    buffers = buffers > buffers_most ? buffers_most : buffers;
    snprintf(p->socket_option, sizeof p->socket_option, "--unix_socket_directories=%s",
             p->socket_folder);
    snprintf(p->buffers_option, sizeof p->buffers_option, "--shared_buffers=%lluMB",
             (unsigned long long)(buffers >> 20));
    snprintf(p->server.program, sizeof p->server.program, "%.*s/postgres", PATH_MAX - PATH_ROOM,
             p->bin);
    const char *const argv[] = {
        p->server.program,
        "-D",
        p->data,
        "--listen_addresses=",
        p->socket_option,
        p->buffers_option,
        "--max_connections=40",
        "--wal_compression=lz4",
        "--checkpoint_timeout=30min",
        "--max_wal_size=2GB",
        "--jit=off",
        "--timezone=UTC",
        "--log_timezone=UTC",
        "--log_checkpoints=off",
        /* A statement that fails must not leave what was in it in the log. */
        "--log_min_error_statement=panic",
        NULL,
    };
    _Static_assert(sizeof argv <= sizeof p->server.argv, "room for postgres's arguments");
    memcpy(p->server.argv, argv, sizeof argv);
    /* Fast shutdown: sessions are ended, the cluster is left clean. SIGTERM would wait for them. */
    p->server.service.stop_signal = SIGINT;
    p->server.service.probe = postgres_ready;
    p->server.service.ctx = p;
}

enum up_outcome up_postgres_prepare(struct up_postgres *p, const struct up_dir *d,
                                    struct up_supervisor *sup, struct err *e)
{
    *p = (struct up_postgres){0};
    if (!up_server_init(&p->server, d, "postgres", "postgres", e) ||
        !up_server_sockets(&p->server, d, p->socket_folder, e) ||
        !up_dir_secret(d, "pg-admin-password", p->admin_password, e) ||
        !up_dir_secret(d, "pg-password", p->password, e))
        return UP_FAILED;
    snprintf(p->data, sizeof p->data, "%.*s/data", PATH_MAX - PATH_ROOM, p->server.folder);
    snprintf(p->server.url, sizeof p->server.url, "postgresql://%s:%s@/%s?host=%.300s", role_name,
             p->password, role_name, p->socket_folder);
    int version = cluster_version(p->data);
    if (!find_programs(p, version, e))
        return UP_FAILED;
    describe(p);
    return version ? UP_READY : make_cluster(p, sup, e);
}

/* ---- Role and database -------------------------------------------------------------------- */

static bool execute(PGconn *c, const char *statement, const char *what, struct err *e)
{
    PGresult *r = PQexec(c, statement);
    bool ok = PQresultStatus(r) == PGRES_COMMAND_OK;

    if (!ok)
        err_set(e, ERR_FATAL, "postgres: %s: %s", what, PQresultErrorMessage(r));
    PQclear(r);
    return ok;
}

static bool exists(PGconn *c, const char *query, bool *found, struct err *e)
{
    PGresult *r = PQexec(c, query);
    bool ok = PQresultStatus(r) == PGRES_TUPLES_OK;

    if (!ok)
        err_set(e, ERR_FATAL, "postgres: %s", PQresultErrorMessage(r));
    *found = ok && PQntuples(r) > 0;
    PQclear(r);
    return ok;
}

/* The program's role owns its database and can do nothing else in the cluster. */
static bool make_role(PGconn *c, const char *password, struct err *e)
{
    char statement[512];
    bool found;

    if (!exists(c, "SELECT 1 FROM pg_roles WHERE rolname = 'enerlink'", &found, e))
        return false;
    snprintf(statement, sizeof statement, "%s ROLE enerlink LOGIN PASSWORD '%s'",
             found ? "ALTER" : "CREATE", password);
    return execute(c, statement, "making the role", e);
}

static bool make_database(PGconn *c, struct err *e)
{
    bool found;

    return exists(c, "SELECT 1 FROM pg_database WHERE datname = 'enerlink'", &found, e) &&
           (found ||
            execute(c, "CREATE DATABASE enerlink OWNER enerlink", "making the database", e));
}

bool up_postgres_finish(struct up_postgres *p, struct err *e)
{
    const char *const keywords[] = {"host", "port", "user", "password", "dbname", "connect_timeout",
                                    NULL};
    const char *const values[] = {p->socket_folder, "5432", admin_name, p->admin_password,
                                  "postgres",       "10",   NULL};
    PGconn *c = PQconnectdbParams(keywords, values, 0);
    bool ok = PQstatus(c) == CONNECTION_OK;

    if (!ok)
        err_set(e, ERR_FATAL, "postgres: %s", PQerrorMessage(c));
    ok = ok && make_role(c, p->password, e) && make_database(c, e);
    PQfinish(c);
    return ok;
}
