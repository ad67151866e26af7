#include "app/up_supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    SERVICES_MOST = 12,
    RESTART_FIRST_MS = 200,
    RESTART_MOST_MS = 5000,
    STEADY_MS = 10000, /* up for so long: the next death is the first again */
    TICK_MS = 50,
    DEATHS_MOST = 6, /* of a server that was never ready */
    REMIND_MS = 10000,
    LOG_KEEP_BYTES = 1 << 20,
    EXIT_CANNOT_START = 127,
};

struct process {
    const struct up_service *service;
    pid_t pid; /* 0: not running */
    bool ready;
    bool was_ready;
    unsigned deaths; /* before it was ever ready */
    int64_t started_ms;
    int64_t restart_ms; /* when to start it again */
    struct backoff backoff;
};

struct up_supervisor {
    struct process processes[SERVICES_MOST];
    size_t n;
    struct process once; /* the program of up_supervisor_run */
    int once_status;
    int signal_fd, notify_fd;
    char notify_name[64]; /* "@enerlink-up-..." */
    sigset_t caller_mask;
    bool stop;
    struct err failure; /* kind ERR_NONE: none */
};

static int64_t now_ms(void)
{
    return clock_mono_ms(clock_system());
}

/* ---- Set-up ------------------------------------------------------------------------------- */

/*
 * An abstract socket: no path that could be too long or left behind. Anybody may send to it, so
 * only datagrams whose sender the kernel names as a child of ours count.
 */
static bool open_notify(struct up_supervisor *sup, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint64_t random;
    int on = 1;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return err_errno(e, ERR_FATAL, "getrandom");
    int len = snprintf(sup->notify_name, sizeof sup->notify_name, "@enerlink-up-%016llx",
                       (unsigned long long)random);
    memcpy(address.sun_path + 1, sup->notify_name + 1, (size_t)len - 1);
    sup->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sup->notify_fd < 0 ||
        bind(sup->notify_fd, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)) < 0 ||
        setsockopt(sup->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return err_errno(e, ERR_FATAL, "socket for readiness");
    return true;
}

struct up_supervisor *up_supervisor_new(struct err *e)
{
    struct up_supervisor *sup = xcalloc(1, sizeof *sup);
    sigset_t read_here;

    sup->signal_fd = sup->notify_fd = -1;
    sigemptyset(&read_here);
    sigaddset(&read_here, SIGTERM);
    sigaddset(&read_here, SIGINT);
    sigaddset(&read_here, SIGCHLD);
    sigprocmask(SIG_BLOCK, &read_here, &sup->caller_mask);
    signal(SIGPIPE, SIG_IGN);
    sup->signal_fd = signalfd(-1, &read_here, SFD_CLOEXEC | SFD_NONBLOCK);
    if (sup->signal_fd < 0) {
        err_errno(e, ERR_FATAL, "signalfd");
        up_supervisor_free(sup);
        return NULL;
    }
    if (!open_notify(sup, e)) {
        up_supervisor_free(sup);
        return NULL;
    }
    return sup;
}

void up_supervisor_free(struct up_supervisor *sup)
{
    if (!sup)
        return;
    if (sup->signal_fd >= 0)
        close(sup->signal_fd);
    if (sup->notify_fd >= 0)
        close(sup->notify_fd);
    free(sup);
}

/* ---- Starting ----------------------------------------------------------------------------- */

static int open_log(const char *path)
{
    char old[PATH_MAX];
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd >= 0 && lseek(fd, 0, SEEK_END) > LOG_KEEP_BYTES) {
        close(fd);
        snprintf(old, sizeof old, "%s.1", path);
        rename(path, old);
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    return fd;
}

NORETURN static void cannot_start(const struct up_service *service, const char *step)
{
    log_warn("%s: %s: %s", service->name, step, strerror(errno));
    _exit(EXIT_CANNOT_START);
}

static void become(const struct up_service *service)
{
    const struct up_user *user = service->user;

    if (!user)
        return;
    if (initgroups(user->name, user->gid) < 0 || setgid(user->gid) < 0 || setuid(user->uid) < 0)
        cannot_start(service, "changing the user");
}

/* Ours holds secrets, and may hold what changes how a server behaves (PGDATA, LD_PRELOAD). */
static const char *const server_environ[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", NULL};

/* The child's side of fork. parent is our process as the child should find it. */
NORETURN static void exec_child(const struct up_supervisor *sup, const struct up_service *service,
                                pid_t parent)
{
    if (service->log_path) {
        int fd = open_log(service->log_path);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
            cannot_start(service, service->log_path);
    }
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0)
        cannot_start(service, "/dev/null");
    if (service->cwd && chdir(service->cwd) < 0)
        cannot_start(service, service->cwd);
    /* A terminal's Ctrl-C is for the supervisor, which stops the others in their order. */
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    become(service);
    /* After the change of user, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, service->stop_signal) < 0)
        cannot_start(service, "prctl");
    if (getppid() != parent)
        _exit(EXIT_CANNOT_START);
    sigprocmask(SIG_SETMASK, &sup->caller_mask, NULL);
    if (service->is_server)
        environ = (char **)server_environ;
    else
        setenv("NOTIFY_SOCKET", sup->notify_name, 1);
    execv(service->program, (char *const *)service->argv);
    cannot_start(service, service->program);
}

static void start(struct up_supervisor *sup, struct process *p)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    p->restart_ms = 0;
    p->ready = false;
    p->started_ms = now_ms();
    if (pid == 0)
        exec_child(sup, p->service, parent);
    if (pid < 0) {
        log_warn("%s: fork: %s; trying again", p->service->name, strerror(errno));
        p->restart_ms = p->started_ms + RESTART_MOST_MS;
        return;
    }
    p->pid = pid;
}

static void process_init(struct process *p, const struct up_service *service)
{
    *p = (struct process){.service = service,
                          .backoff = {.first_ms = RESTART_FIRST_MS,
                                      .most_ms = RESTART_MOST_MS,
                                      .state = (uint64_t)now_ms()}};
}

void up_supervisor_start(struct up_supervisor *sup, const struct up_service *service)
{
    if (sup->n == SERVICES_MOST)
        die("more than %d services", SERVICES_MOST);
    struct process *p = &sup->processes[sup->n++];
    process_init(p, service);
    start(sup, p);
}

/* ---- Dying -------------------------------------------------------------------------------- */

static void fail(struct up_supervisor *sup, const struct up_service *service, const char *why)
{
    err_set(&sup->failure, ERR_FATAL, "%s %s%s%s", service->name, why,
            service->log_path ? "; its log: " : "", service->log_path ? service->log_path : "");
}

static const char *describe_status(int status, char out[64])
{
    if (WIFSIGNALED(status))
        snprintf(out, 64, "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(out, 64, "ended with status %d", WEXITSTATUS(status));
    return out;
}

static void process_died(struct up_supervisor *sup, struct process *p, int status)
{
    const struct up_service *service = p->service;
    char how[64];
    struct err e;

    p->pid = 0;
    p->ready = false;
    describe_status(status, how);
    if (!p->was_ready && service->repair && !service->repair(service->ctx, &e)) {
        fail(sup, service, e.text);
        return;
    }
    if (!p->was_ready && service->is_server && ++p->deaths == DEATHS_MOST) {
        fail(sup, service, how);
        return;
    }
    if (now_ms() - p->started_ms > STEADY_MS)
        backoff_reset(&p->backoff);
    int64_t wait_ms = backoff_next_ms(&p->backoff);
    p->restart_ms = now_ms() + wait_ms;
    log_warn("%s %s; starting it again in %.2f s", service->name, how, (double)wait_ms / 1000);
}

static void reap(struct up_supervisor *sup)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == sup->once.pid) {
            sup->once.pid = 0;
            sup->once_status = status;
            continue;
        }
        for (size_t i = 0; i < sup->n; i++)
            if (sup->processes[i].pid == pid)
                process_died(sup, &sup->processes[i], status);
    }
}

/* ---- The loop ----------------------------------------------------------------------------- */

static void read_signals(struct up_supervisor *sup)
{
    struct signalfd_siginfo info;

    while (read(sup->signal_fd, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD)
            sup->stop = true;
}

static void process_is_ready(struct process *p)
{
    if (p->was_ready && !p->ready)
        log_info("%s is ready again", p->service->name);
    p->ready = p->was_ready = true;
}

/* One datagram: READY=1, from the process that the kernel says it is from. */
static bool read_notification(struct up_supervisor *sup)
{
    char text[256], control[CMSG_SPACE(sizeof(struct ucred))];
    struct iovec part = {.iov_base = text, .iov_len = sizeof text - 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t len = recvmsg(sup->notify_fd, &message, MSG_CMSG_CLOEXEC);

    if (len < 0)
        return false;
    text[len] = '\0';
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_CREDENTIALS || strncmp(text, "READY=1", 7) != 0)
        return true;
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(header), sizeof sender);
    for (size_t i = 0; i < sup->n; i++)
        if (sup->processes[i].pid == sender.pid)
            process_is_ready(&sup->processes[i]);
    return true;
}

static void look_after(struct up_supervisor *sup)
{
    for (size_t i = 0; i < sup->n; i++) {
        struct process *p = &sup->processes[i];
        if (p->restart_ms && now_ms() >= p->restart_ms)
            start(sup, p);
        if (p->pid && !p->ready && p->service->probe && p->service->probe(p->service->ctx))
            process_is_ready(p);
    }
}

/* How long nothing needs to be done: until the next restart or probe. */
static int idle_ms(const struct up_supervisor *sup)
{
    int64_t wait_ms = 1000;

    for (size_t i = 0; i < sup->n; i++) {
        const struct process *p = &sup->processes[i];
        int64_t until_ms = p->restart_ms ? p->restart_ms - now_ms() : wait_ms;
        if (p->pid && !p->ready)
            until_ms = TICK_MS;
        if (until_ms < wait_ms)
            wait_ms = until_ms < 0 ? 0 : until_ms;
    }
    return (int)wait_ms;
}

static void wait_for_events(struct up_supervisor *sup, int most_ms)
{
    struct pollfd fds[] = {{.fd = sup->signal_fd, .events = POLLIN},
                           {.fd = sup->notify_fd, .events = POLLIN}};

    poll(fds, sizeof fds / sizeof *fds, most_ms);
    /* First what they said while they lived, then who died. */
    while (read_notification(sup))
        continue;
    read_signals(sup);
    reap(sup);
}

static void turn(struct up_supervisor *sup)
{
    int wait_ms = idle_ms(sup);

    wait_for_events(sup, wait_ms);
    look_after(sup);
}

/* The first service that has not been ready yet; NULL: none. */
static const struct process *not_ready(const struct up_supervisor *sup)
{
    for (size_t i = 0; i < sup->n; i++)
        if (!sup->processes[i].was_ready)
            return &sup->processes[i];
    return NULL;
}

static enum up_outcome outcome(struct up_supervisor *sup, struct err *e)
{
    if (sup->failure.kind != ERR_NONE) {
        *e = sup->failure;
        return UP_FAILED;
    }
    return sup->stop ? UP_STOPPED : UP_READY;
}

enum up_outcome up_supervisor_wait_ready(struct up_supervisor *sup, int timeout_ms, struct err *e)
{
    int64_t begin_ms = now_ms(), remind_ms = begin_ms + REMIND_MS;
    const struct process *p;

    while (!sup->stop && sup->failure.kind == ERR_NONE && (p = not_ready(sup)) != NULL) {
        if (p->service->is_server && now_ms() - begin_ms > timeout_ms)
            fail(sup, p->service, "does not become ready");
        if (now_ms() > remind_ms) {
            log_info("waiting for %s since %lld s", p->service->name,
                     (long long)(now_ms() - begin_ms) / 1000);
            remind_ms += REMIND_MS;
        }
        turn(sup);
    }
    return outcome(sup, e);
}

void up_supervisor_loop(struct up_supervisor *sup)
{
    while (!sup->stop)
        turn(sup);
}

static void ask_to_stop(struct process *p)
{
    p->restart_ms = 0;
    if (p->pid)
        kill(p->pid, p->service->stop_signal);
}

static void await_end(struct process *p, int64_t since_ms)
{
    int status;

    while (p->pid && waitpid(p->pid, &status, WNOHANG) == 0) {
        if (now_ms() - since_ms > p->service->stop_ms) {
            log_warn("%s did not stop within %.0f s: killed", p->service->name,
                     p->service->stop_ms / 1000.0);
            kill(p->pid, SIGKILL);
            waitpid(p->pid, &status, 0);
            break;
        }
        clock_sleep_ms(clock_system(), 10);
    }
    p->pid = 0;
}

enum up_outcome up_supervisor_run(struct up_supervisor *sup, const struct up_service *service,
                                  int timeout_ms, int *status, struct err *e)
{
    int64_t end_ms = now_ms() + timeout_ms;

    process_init(&sup->once, service);
    start(sup, &sup->once);
    while (sup->once.pid && !sup->stop && sup->failure.kind == ERR_NONE) {
        if (now_ms() > end_ms)
            fail(sup, service, "does not come to an end");
        turn(sup);
    }
    if (sup->once.pid) {
        ask_to_stop(&sup->once);
        await_end(&sup->once, now_ms());
        return outcome(sup, e);
    }
    *status = WIFEXITED(sup->once_status) ? WEXITSTATUS(sup->once_status) : EXIT_CANNOT_START;
    return UP_READY;
}

/* ---- Stopping ----------------------------------------------------------------------------- */

void up_supervisor_stop(struct up_supervisor *sup, size_t keep, bool together)
{
    int64_t begin_ms = now_ms();

    for (size_t i = sup->n; together && i-- > keep;)
        ask_to_stop(&sup->processes[i]);
    while (sup->n > keep) {
        struct process *p = &sup->processes[--sup->n];
        if (!together) {
            begin_ms = now_ms();
            ask_to_stop(p);
        }
        await_end(p, begin_ms);
    }
}
