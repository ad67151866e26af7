#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/connect.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "stages/api.h"

enum { HOT_TIMEOUT_MS = 1000, HISTORY_TIMEOUT_MS = 10000, ADMIN_KEY_LEAST = 16, HOSTS_MOST = 32 };

static struct hot *open_hot(void *ctx)
{
    struct err e;
    struct hot *hot = connect_hot(ctx, HOT_TIMEOUT_MS, &e);

    if (!hot)
        log_warn("%s", e.text);
    return hot;
}

static struct history *open_history(void *ctx)
{
    struct err e;
    struct history *history = connect_history(ctx, "enerlink api", HISTORY_TIMEOUT_MS, &e);

    if (!history)
        log_warn("%s", e.text);
    return history;
}

static void on_ready(void *ctx, int port)
{
    (void)ctx;
    log_info("listening on port %d", port);
    notify_ready();
}

/* "a, b" in place to its parts; NULL behind the last. */
static bool split_hosts(char *list, const char *out[HOSTS_MOST + 1], struct err *e)
{
    size_t n = 0;
    char *rest = list;

    for (char *host = strtok_r(list, ", ", &rest); host; host = strtok_r(NULL, ", ", &rest)) {
        if (n == HOSTS_MOST)
            return err_set(e, ERR_FATAL, "ENERLINK_HTTP_HOSTS: more than %d names", HOSTS_MOST);
        out[n++] = host;
    }
    out[n] = NULL;
    return true;
}

static bool serve(const struct settings *s, char *host_list, struct err *e)
{
    const char *hosts[HOSTS_MOST + 1];

    if (strlen(s->admin_key) < ADMIN_KEY_LEAST)
        return err_set(e, ERR_FATAL,
                       "ENERLINK_ADMIN_KEY: the API needs a key of at least %d characters",
                       ADMIN_KEY_LEAST);
    if (!split_hosts(host_list, hosts, e))
        return false;
    struct api_options o = {.listen = s->http_listen,
                            .hosts = hosts,
                            .admin_key = s->admin_key,
                            .login_ticket_file =
                                *s->login_ticket_file ? s->login_ticket_file : NULL,
                            .open_hot = open_hot,
                            .open_history = open_history,
                            .stores_ctx = (void *)s,
                            .clock = clock_system(),
                            .ready = on_ready};
    return api_run(&o, e);
}

int command_api(const struct settings *s)
{
    struct err e;
    char *host_list = xstrdup(s->http_hosts);

    stop_on_signals();
    bool ok = serve(s, host_list, &e);
    if (!ok)
        log_warn("%s", e.text);
    free(host_list);
    return ok ? EXIT_DONE : EXIT_FAILED;
}
