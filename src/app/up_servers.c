#include "app/up_servers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool up_server_init(struct up_server *u, const struct up_dir *d, const char *name,
                    const char *user_name, struct err *e)
{
    enum { STOP_MS = 12000 };
    char log_folder[PATH_MAX], log_name[64];

    *u = (struct up_server){0};
    if (!up_package_user(user_name, &u->user, e) ||
        !up_dir_folder(d->path, name, up_user_or_caller(&u->user), u->folder, e) ||
        !up_dir_folder(d->path, "log", NULL, log_folder, e))
        return false;
    snprintf(log_name, sizeof log_name, "log/%s.log", name);
    up_dir_path(d, log_name, u->log_path);
    u->service = (struct up_service){.name = name,
                                     .program = u->program,
                                     .argv = u->argv,
                                     .is_server = true,
                                     .cwd = u->folder,
                                     .user = up_user_or_caller(&u->user),
                                     .log_path = u->log_path,
                                     .stop_signal = SIGTERM,
                                     .stop_ms = STOP_MS};
    return true;
}

bool up_server_sockets(const struct up_server *u, const struct up_dir *d, char out[PATH_MAX],
                       struct err *e)
{
    return up_dir_folder(d->sockets, u->service.name, u->service.user, out, e);
}

bool up_find_program(const char *name, const char *package, char out[PATH_MAX], struct err *e)
{
    const char *path = getenv("PATH");
    char places[PATH_MAX];
    char *rest = places;

    /* Debian keeps servers in sbin, which an ordinary user's PATH leaves out. */
    snprintf(places, sizeof places, "%s:/usr/local/sbin:/usr/sbin:/usr/bin", path ? path : "");
    for (char *place; (place = strsep(&rest, ":")) != NULL;) {
        if (*place != '/' || snprintf(out, PATH_MAX, "%s/%s", place, name) >= PATH_MAX)
            continue;
        struct stat st;
        if (stat(out, &st) == 0 && S_ISREG(st.st_mode) && access(out, X_OK) == 0)
            return true;
    }
    return err_set(e, ERR_FATAL, "%s is not installed (Debian package %s; \"make setup\")", name,
                   package);
}

uint64_t up_memory_bytes(void)
{
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    unsigned long long group;
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "re");

    if (!f)
        return machine;
    bool limited = fscanf(f, "%llu", &group) == 1; /* "max" otherwise */
    fclose(f);
    return limited && group < machine ? group : machine;
}
