#include "app/up_dir.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

/* Bind to host:*port and let go again; port 0 becomes the one that was given. */
static bool try_port(const char *host, int *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char service[16];
    int on = 1;

    snprintf(service, sizeof service, "%d", *port);
    if (getaddrinfo(*host ? host : NULL, service, &hints, &list) != 0)
        return false;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, 1) == 0 &&
              getsockname(fd, (struct sockaddr *)&bound, &len) == 0 &&
              getnameinfo((struct sockaddr *)&bound, len, NULL, 0, service, sizeof service,
                          NI_NUMERICSERV) == 0 &&
              sscanf(service, "%d", port) == 1;
    freeaddrinfo(list);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* DIR/ports has a line "name number" for each. */
enum { NAME_MOST = 15 };

struct remembered {
    char name[NAME_MOST + 1];
    int number;
};

static bool next_remembered(FILE *f, struct remembered *out)
{
    return fscanf(f, "%15s %d", out->name, &out->number) == 2;
}

static int remembered_port(const struct up_port *p, const struct up_dir *d)
{
    struct remembered r;
    char path[PATH_MAX];
    FILE *f = fopen(up_dir_path(d, "ports", path), "re");
    int number = 0;

    while (f && next_remembered(f, &r))
        if (strcmp(r.name, p->name) == 0 && r.number > 0 && r.number < 65536)
            number = r.number;
    if (f)
        fclose(f);
    return number;
}

static bool remember_port(const struct up_port *p, const struct up_dir *d, struct err *e)
{
    struct remembered r;
    struct buf text;
    char path[PATH_MAX];
    FILE *f = fopen(up_dir_path(d, "ports", path), "re");

    buf_init(&text, 0);
    buf_addf(&text, "%s %d\n", p->name, p->number);
    while (f && next_remembered(f, &r))
        if (strcmp(r.name, p->name) != 0)
            buf_addf(&text, "%s %d\n", r.name, r.number);
    if (f)
        fclose(f);
    bool ok = up_dir_write(path, text.data, NULL, e);
    buf_clear(&text);
    return ok;
}

static bool take_port(struct up_port *p, int number)
{
    if (!try_port(p->host, &number))
        return false;
    p->number = number;
    return true;
}

bool up_port_choose(struct up_port *p, const struct up_dir *d, struct err *e)
{
    int last = remembered_port(p, d);

    if (p->asked > 0) {
        if (take_port(p, p->asked))
            return true;
        return err_set(e, ERR_FATAL, "port %d of %s, asked for by %s, cannot be had: %s", p->asked,
                       *p->host ? p->host : "every address", p->flag, strerror(errno));
    }
    if (last && take_port(p, last))
        return true;
    if (p->asked < 0 && take_port(p, p->preferred))
        return remember_port(p, d, e);
    if (!take_port(p, 0))
        return err_set(e, ERR_FATAL, "no free port on %s", p->host);
    if (p->asked < 0)
        log_info("port %d is taken; %s uses port %d instead", p->preferred, p->name, p->number);
    return remember_port(p, d, e);
}

bool up_port_repair(struct up_port *p, const struct up_dir *d, struct err *e)
{
    return take_port(p, p->number) || up_port_choose(p, d, e);
}
