#include "stages/api.h"

#include <sys/resource.h>

#include "base/log.h"
#include "base/stop.h"
#include "stages/api_routes.h"

enum {
    IDLE_TIMEOUT_S = 30,
    BODY_MOST = 4096,
    CONNECTIONS_MOST = 2000,
    CONNECTIONS_PER_IP_MOST = 512,
    OWN_FILES = 100, /* beside the connections */
};

#define ANSWER_BYTES_MOST ((size_t)96 << 20)
#define UNSENT_BYTES_MOST ((size_t)256 << 20)
#define ANSWER_LIMIT_MS INT64_C(30000)

struct hot *api_open_hot(const struct api_options *o)
{
    struct hot *hot = o->open_hot(o->stores_ctx);

    if (!hot)
        die("the settings of the hot store are unusable");
    return hot;
}

struct history *api_open_history(const struct api_options *o)
{
    struct history *history = o->open_history(o->stores_ctx);

    if (!history)
        die("the settings of the history store are unusable");
    return history;
}

static void flush_pools(void *ctx)
{
    struct api *api = ctx;

    pool_flush(api->latest);
    pool_flush(api->list);
    pool_flush(api->history);
}

static bool is_to_stop(const struct api_options *o)
{
    return o->stop ? o->stop(o->stop_ctx) : stop_requested();
}

static bool tick(void *ctx)
{
    struct api *api = ctx;

    health_count_requests(api->health, http_requests(api->http));
    work_sweep(api->work, ANSWER_LIMIT_MS);
    return !is_to_stop(&api->o);
}

static void allow_connections(unsigned connections)
{
    struct rlimit limit;
    rlim_t wanted = connections + OWN_FILES;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
        log_warn("only %llu files may be open: raise the limit (ulimit -n) to serve %u connections",
                 (unsigned long long)limit.rlim_cur, connections);
}

static void fill_defaults(struct api_options *o)
{
    if (!o->answer_bytes_most)
        o->answer_bytes_most = ANSWER_BYTES_MOST;
    if (!o->connections_most)
        o->connections_most = CONNECTIONS_MOST;
    if (!o->connections_per_ip_most)
        o->connections_per_ip_most = CONNECTIONS_PER_IP_MOST;
}

static bool start(struct api *api, struct err *e)
{
    struct http_options http = {
        .listen = api->o.listen,
        .hosts = api->o.hosts,
        .clock = api->o.clock,
        .handle = api_handle,
        .ctx = api,
        .connections_most = api->o.connections_most,
        .connections_per_ip_most = api->o.connections_per_ip_most,
        .idle_timeout_s = IDLE_TIMEOUT_S,
        .body_most = BODY_MOST,
        .unsent_bytes_most = UNSENT_BYTES_MOST,
    };

    allow_connections(api->o.connections_most);
    api->auth = auth_new(api->o.admin_key, api->o.login_ticket_file, e);
    if (!api->auth)
        return false;
    api->http = http_open(&http, e);
    if (!api->http)
        return false;
    api->work = work_new(http_loop(api->http), api->o.clock);
    api->health = health_new(&api->o);
    api->latest = latest_pool_new(api);
    api->list = list_pool_new(api);
    api->history = history_pool_new(api);
    http_on_idle(api->http, flush_pools, api);
    return true;
}

/* Everybody who waits is told so before the connections close. */
static void stop(struct api *api)
{
    http_quiesce(api->http);
    work_disown_all(api->work);
    http_disconnect(api->http);
    pool_close(api->latest);
    pool_close(api->list);
    pool_close(api->history);
    health_free(api->health);
    work_free(api->work);
}

bool api_run(const struct api_options *o, struct err *e)
{
    struct api api = {.o = *o};

    fill_defaults(&api.o);
    bool ok = start(&api, e);
    if (ok) {
        if (o->ready)
            o->ready(o->ready_ctx, http_port(api.http));
        http_run(api.http, tick, &api);
        stop(&api);
    }
    http_close(api.http);
    auth_free(api.auth);
    return ok;
}
