#include "app/up_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

enum { LOCK_WAIT_MS = 30000, LOCK_TICK_MS = 100, SMALL_FILE_MOST = 4096 };

char *up_dir_path(const struct up_dir *d, const char *name, char out[PATH_MAX])
{
    if (snprintf(out, PATH_MAX, "%s/%s", d->path, name) >= PATH_MAX)
        die("%s: the path is too long", d->path);
    return out;
}

/* ---- Users -------------------------------------------------------------------------------- */

bool up_package_user(const char *name, struct up_user *user, struct err *e)
{
    *user = (struct up_user){0};
    if (geteuid() != 0)
        return true;
    struct passwd *entry = getpwnam(name);
    if (!entry)
        return err_set(e, ERR_FATAL,
                       "there is no user %s: its package is not installed (make setup)", name);
    *user = (struct up_user){.name = name, .uid = entry->pw_uid, .gid = entry->pw_gid};
    return true;
}

const struct up_user *up_user_or_caller(const struct up_user *user)
{
    return user->name ? user : NULL;
}

/* ---- Files -------------------------------------------------------------------------------- */

bool up_dir_folder(const char *parent, const char *name, const struct up_user *user,
                   char out[PATH_MAX], struct err *e)
{
    if (snprintf(out, PATH_MAX, "%s/%s", parent, name) >= PATH_MAX)
        return err_set(e, ERR_FATAL, "%s: the path is too long", parent);
    if (mkdir(out, 0700) < 0 && errno != EEXIST)
        return err_errno(e, ERR_FATAL, "%s", out);
    if (user && (lchown(out, user->uid, user->gid) < 0))
        return err_errno(e, ERR_FATAL, "%s: giving it to user %s", out, user->name);
    return true;
}

static bool write_all(int fd, const char *text)
{
    size_t len = strlen(text);

    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, text + at, len - at);
        if (n < 0 && errno != EINTR)
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0;
}

bool up_dir_write(const char *path, const char *text, const struct up_user *user, struct err *e)
{
    char temporary[PATH_MAX];

    if (snprintf(temporary, sizeof temporary, "%s.new", path) >= PATH_MAX)
        return err_set(e, ERR_FATAL, "%s: the path is too long", path);
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_FATAL, "%s", temporary);
    bool ok = write_all(fd, text) && (!user || fchown(fd, user->uid, user->gid) == 0);
    if (!ok)
        err_errno(e, ERR_FATAL, "%s", temporary);
    close(fd);
    if (ok && rename(temporary, path) < 0)
        ok = err_errno(e, ERR_FATAL, "%s", path);
    if (!ok)
        unlink(temporary);
    return ok;
}

/* First line of a small file; false when it cannot be read or is empty. */
static bool read_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");

    if (!f)
        return false;
    bool ok = fgets(out, (int)size, f) != NULL;
    fclose(f);
    if (ok)
        out[strcspn(out, "\r\n")] = '\0';
    return ok && *out;
}

bool up_random_text(char out[UP_SECRET_SIZE], struct err *e)
{
    unsigned char bytes[(UP_SECRET_SIZE - 1) / 2];

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return err_errno(e, ERR_FATAL, "getrandom");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

bool up_dir_secret(const struct up_dir *d, const char *name, char out[UP_SECRET_SIZE],
                   struct err *e)
{
    char path[PATH_MAX];

    up_dir_path(d, name, path);
    if (read_line(path, out, UP_SECRET_SIZE)) {
        if (strlen(out) == UP_SECRET_SIZE - 1)
            return true;
        return err_set(e, ERR_FATAL, "%s is damaged; remove it to have a new one made", path);
    }
    return up_random_text(out, e) && up_dir_write(path, out, NULL, e);
}

/* ---- The folder --------------------------------------------------------------------------- */

static bool default_dir(char out[PATH_MAX], struct err *e)
{
    const char *home = getenv("HOME");

    if (geteuid() == 0) {
        snprintf(out, PATH_MAX, "/var/lib/enerlink");
        return true;
    }
    if (!home || *home != '/') {
        struct passwd *entry = getpwuid(geteuid());
        home = entry ? entry->pw_dir : NULL;
    }
    if (!home)
        return err_set(e, ERR_FATAL, "no home folder to keep state in: name one with --dir");
    if (snprintf(out, PATH_MAX, "%s/.local/share/enerlink", home) >= PATH_MAX)
        return err_set(e, ERR_FATAL, "the home folder's path is too long");
    return true;
}

/* mkdir -p: *made tells whether the last part was not there. */
static bool make_path(const char *path, bool *made, struct err *e)
{
    char part[PATH_MAX];

    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return err_errno(e, ERR_FATAL, "%s", part);
        *slash = '/';
    }
    *made = mkdir(path, 0700) == 0;
    return *made || errno == EEXIST || err_errno(e, ERR_FATAL, "%s", path);
}

/* The servers of root's "up" run as other users, who must be able to get to their folders. */
static bool make_traversable(const char *path, mode_t mode, struct err *e)
{
    if (geteuid() != 0)
        return true;
    if ((mode & S_IXOTH) == 0 && chmod(path, (mode & 07777) | S_IXOTH) < 0)
        return err_errno(e, ERR_FATAL, "%s", path);
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        char part[PATH_MAX];
        struct stat st;
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (stat(part, &st) == 0 && (st.st_mode & S_IXOTH) == 0)
            return err_set(e, ERR_FATAL,
                           "%s: the servers run as users of their own, who cannot enter %s; choose "
                           "another place with --dir",
                           path, part);
    }
    return true;
}

static bool prepare_folder(struct up_dir *d, const char *wanted, struct err *e)
{
    struct stat st;
    bool made;

    if (!make_path(wanted, &made, e))
        return false;
    if (!realpath(wanted, d->path) || stat(d->path, &st) < 0)
        return err_errno(e, ERR_FATAL, "%s", wanted);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_FATAL, "%s is not a folder", d->path);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(e, ERR_FATAL,
                       "%s belongs to another user or can be written by others; choose another "
                       "place with --dir",
                       d->path);
    return make_traversable(d->path, st.st_mode, e);
}

static bool lock_folder(struct up_dir *d, struct err *e)
{
    char path[PATH_MAX], holder[32] = "unknown";
    const struct clock *clock = clock_system();
    int64_t begin_ms = clock_mono_ms(clock);
    bool said = false;

    /* Without O_CLOEXEC: it is free again only when the last child is gone. */
    d->lock_fd = open(up_dir_path(d, "lock", path), O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (d->lock_fd < 0)
        return err_errno(e, ERR_FATAL, "%s", path);
    while (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_errno(e, ERR_FATAL, "%s", path);
        read_line(path, holder, sizeof holder);
        if (clock_mono_ms(clock) - begin_ms > LOCK_WAIT_MS)
            return err_set(e, ERR_FATAL, "%s is in use by another \"enerlink up\" (process %s)",
                           d->path, holder);
        if (!said)
            log_info(
                "%s is in use by process %s or what it started; waiting up to %d s for its end",
                d->path, holder, LOCK_WAIT_MS / 1000);
        said = true;
        clock_sleep_ms(clock, LOCK_TICK_MS);
    }
    int len = snprintf(holder, sizeof holder, "%d\n", (int)getpid());
    if (ftruncate(d->lock_fd, 0) < 0 || pwrite(d->lock_fd, holder, (size_t)len, 0) != len)
        return err_errno(e, ERR_FATAL, "%s", path);
    return true;
}

/* ---- Folders with sockets ----------------------------------------------------------------- */

/* The longest path of a socket below a folder of sockets; and every URL takes it without escapes.
 */
static bool fits_sockets(const char *path)
{
    static const char longest[] = "/postgres/.s.PGSQL.5432";
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
    enum { SOCKET_PATH_MOST = 100 };

    return strlen(path) + sizeof longest - 1 <= SOCKET_PATH_MOST &&
           strspn(path, plain) == strlen(path);
}

static bool is_our_folder(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* A short private folder instead, the same as last time if it is still there. */
static bool make_short_sockets(struct up_dir *d, struct err *e)
{
    char remembered[PATH_MAX];
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    up_dir_path(d, "sockets", remembered);
    if (read_line(remembered, d->sockets, sizeof d->sockets) && fits_sockets(d->sockets) &&
        is_our_folder(d->sockets))
        return true;
    bool use_runtime = geteuid() != 0 && runtime && *runtime == '/' && is_our_folder(runtime) &&
                       strlen(runtime) < 50 && fits_sockets(runtime);
    snprintf(d->sockets, sizeof d->sockets, "%.60s/enerlink-XXXXXX",
             use_runtime ? runtime : "/tmp");
    if (!mkdtemp(d->sockets) || (geteuid() == 0 && chmod(d->sockets, 0711) < 0))
        return err_errno(e, ERR_FATAL, "%s", d->sockets);
    return up_dir_write(remembered, d->sockets, NULL, e);
}

bool up_dir_open(struct up_dir *d, const char *asked, struct err *e)
{
    char wanted[PATH_MAX];

    *d = (struct up_dir){.lock_fd = -1};
    if (asked && strlen(asked) >= PATH_MAX / 2)
        return err_set(e, ERR_FATAL, "--dir: the path is too long");
    if (asked)
        snprintf(wanted, sizeof wanted, "%s", asked);
    else if (!default_dir(wanted, e))
        return false;
    if (!prepare_folder(d, wanted, e) || !lock_folder(d, e))
        return false;
    if (!fits_sockets(d->path))
        return make_short_sockets(d, e);
    snprintf(d->sockets, sizeof d->sockets, "%s", d->path);
    return true;
}

void up_dir_close(struct up_dir *d)
{
    static const char *const folders[] = {"postgres", "redis"};
    char path[PATH_MAX];

    unlink(up_dir_path(d, "endpoints.json", path));
    unlink(up_dir_path(d, "login-ticket", path));
    if (strcmp(d->sockets, d->path) == 0)
        return;
    /* The servers took their sockets away; a folder that still holds one stays for next time. */
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%.100s/%s", d->sockets, folders[i]);
        rmdir(path);
    }
    rmdir(d->sockets);
}
