#include "base/stop.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

static volatile sig_atomic_t stop_flag;

static void set_stop_flag(int signal_number)
{
    (void)signal_number;
    stop_flag = 1;
}

void stop_on_signals(void)
{
    /* No SA_RESTART: a blocking wait ends, and the loop sees the flag. */
    struct sigaction stop = {.sa_handler = set_stop_flag};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

bool stop_requested(void)
{
    return stop_flag;
}

void notify_ready(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (!path || !*path)
        return;
    size_t len = strlen(path);
    if (len >= sizeof address.sun_path) {
        log_warn("NOTIFY_SOCKET is too long; readiness is not reported");
        return;
    }
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* abstract socket */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    static const char ready[] = "READY=1";
    if (sendto(fd, ready, sizeof ready - 1, MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
        log_warn("cannot report readiness to NOTIFY_SOCKET");
    close(fd);
}
