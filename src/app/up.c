#include "app/up.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/up_dir.h"
#include "app/up_servers.h"
#include "app/up_sim.h"
#include "app/up_supervise.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/url.h"

enum {
    SERVERS_READY_MS = 120000, /* Redis and PostgreSQL may have much to read again */
    MIGRATE_MS = 600000,
    STAGE_STOP_MS = 4000,
    STAGES = 3,
};

static const char *const stage_names[STAGES] = {"ingest", "aggregate", "api"};

struct up {
    struct settings *settings;
    const struct up_options *options;
    struct up_dir dir;
    struct up_supervisor *sup;
    struct up_mosquitto mosquitto;
    struct up_redis redis;
    struct up_postgres postgres;
    size_t n_servers;
    struct up_port http_port;
    const char *stage_argv[STAGES][3];
    struct up_service stages[STAGES];
    struct up_sim sim;
    char ticket[UP_SECRET_SIZE];
};

static bool set(struct up *u, enum setting id, const char *value, struct err *e)
{
    return settings_set(u->settings, id, value, "up", e);
}

/* One connection per meter: take as many descriptors as we may, the broker inherits the limit. */
static void raise_descriptors(void)
{
    const rlim_t wanted = 65536;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- Servers ------------------------------------------------------------------------------ */

static void start_server(struct up *u, const struct up_server *server)
{
    const char *user = server->service.user ? server->service.user->name : NULL;

    log_info("starting a private %s%s%s, state in %s", server->service.name,
             user ? " as user " : "", user ? user : "", server->folder);
    up_supervisor_start(u->sup, &server->service);
    u->n_servers++;
}

static enum up_outcome start_servers(struct up *u, struct err *e)
{
    const struct settings *s = u->settings;

    if (!*s->mqtt_url) {
        if (!up_mosquitto_prepare(&u->mosquitto, &u->dir, s, (int)u->options->mqtt_port, e))
            return UP_FAILED;
        start_server(u, &u->mosquitto.server);
    }
    if (!*s->redis_url) {
        if (!up_redis_prepare(&u->redis, &u->dir, e))
            return UP_FAILED;
        start_server(u, &u->redis.server);
    }
    if (!*s->pg_url) {
        enum up_outcome outcome = up_postgres_prepare(&u->postgres, &u->dir, u->sup, e);
        if (outcome != UP_READY)
            return outcome;
        start_server(u, &u->postgres.server);
    }
    return up_supervisor_wait_ready(u->sup, SERVERS_READY_MS, e);
}

/* Where the servers are becomes part of the settings, as if it had been configured. */
static bool adopt_servers(struct up *u, struct err *e)
{
    const struct settings *s = u->settings;

    if (!*s->mqtt_url && !set(u, SETTING_mqtt_url, u->mosquitto.server.url, e))
        return false;
    if (!*s->redis_url && !set(u, SETTING_redis_url, u->redis.server.url, e))
        return false;
    return *s->pg_url || (up_postgres_finish(&u->postgres, e) &&
                          set(u, SETTING_pg_url, u->postgres.server.url, e));
}

/* ---- Everything else the stages need ------------------------------------------------------ */

static bool choose_archive(struct up *u, struct err *e)
{
    char folder[PATH_MAX];
    struct buf url;

    if (*u->settings->archive_url)
        return true;
    if (!up_dir_folder(u->dir.path, "archive", NULL, folder, e))
        return false;
    buf_init(&url, 0);
    buf_adds(&url, "file://");
    url_add_path(&url, folder);
    bool ok = set(u, SETTING_archive_url, url.data, e);
    buf_clear(&url);
    return ok;
}

static bool choose_admin_key(struct up *u, struct err *e)
{
    char key[UP_SECRET_SIZE];

    return *u->settings->admin_key ||
           (up_dir_secret(&u->dir, "admin-key", key, e) && set(u, SETTING_admin_key, key, e));
}

static bool make_ticket(struct up *u, struct err *e)
{
    char path[PATH_MAX];

    up_dir_path(&u->dir, "login-ticket", path);
    return up_random_text(u->ticket, e) && up_dir_write(path, u->ticket, NULL, e) &&
           set(u, SETTING_login_ticket_file, path, e);
}

static bool set_listen(struct up *u, struct err *e)
{
    char listen[128];
    bool is_v6 = strchr(u->http_port.host, ':') != NULL;

    snprintf(listen, sizeof listen, is_v6 ? "[%s]:%d" : "%s:%d", u->http_port.host,
             u->http_port.number);
    return set(u, SETTING_http_listen, listen, e);
}

/* Host and port of ENERLINK_HTTP_LISTEN; one that was configured is asked for as a flag would. */
static bool choose_http_port(struct up *u, struct err *e)
{
    bool configured = u->settings->given[SETTING_http_listen] != NULL;
    struct url listen;

    if (!url_parse_listen(u->settings->http_listen, &listen, e))
        return err_prefix(e, "ENERLINK_HTTP_LISTEN: ");
    int port = listen.port;
    u->http_port = (struct up_port){.name = "http", .preferred = port, .asked = -1};
    int len = snprintf(u->http_port.host, sizeof u->http_port.host, "%s", listen.host);
    url_clear(&listen);
    if ((size_t)len >= sizeof u->http_port.host)
        return err_set(e, ERR_FATAL, "ENERLINK_HTTP_LISTEN: the host is too long");
    u->http_port.flag = "ENERLINK_HTTP_LISTEN";
    if (u->options->http_port >= 0) {
        u->http_port.flag = "--http-port";
        u->http_port.asked = (int)u->options->http_port;
    } else if (configured) {
        u->http_port.asked = port;
    }
    return up_port_choose(&u->http_port, &u->dir, e) && set_listen(u, e);
}

/* The address under which a browser on this machine reaches the API. */
static void write_http_url(const struct up *u, char out[UP_URL_SIZE])
{
    const char *host = u->http_port.host;

    if (!*host || strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    snprintf(out, UP_URL_SIZE, strchr(host, ':') ? "http://[%s]:%d" : "http://%s:%d", host,
             u->http_port.number);
}

/* ---- Stages ------------------------------------------------------------------------------- */

static enum up_outcome migrate(struct up *u, struct err *e)
{
    static const char *const argv[] = {"enerlink", "migrate", NULL};
    const struct up_service service = {.name = "migrate",
                                       .program = "/proc/self/exe",
                                       .argv = argv,
                                       .stop_signal = SIGTERM,
                                       .stop_ms = STAGE_STOP_MS};
    int status;
    enum up_outcome outcome = up_supervisor_run(u->sup, &service, MIGRATE_MS, &status, e);

    if (outcome == UP_READY && status != 0) {
        err_set(e, ERR_FATAL, "the database could not be brought to this version");
        return UP_FAILED;
    }
    return outcome;
}

/* Somebody took the port between our look and the API's: look again. */
static bool api_repair(void *ctx, struct err *e)
{
    struct up *u = ctx;

    if (!up_port_repair(&u->http_port, &u->dir, e) || !set_listen(u, e))
        return false;
    settings_export(u->settings);
    return true;
}

static enum up_outcome start_stages(struct up *u, struct err *e)
{
    const int no_timeout = INT_MAX;

    for (size_t i = 0; i < STAGES; i++) {
        u->stage_argv[i][0] = "enerlink";
        u->stage_argv[i][1] = stage_names[i];
        u->stages[i] = (struct up_service){.name = stage_names[i],
                                           .program = "/proc/self/exe",
                                           .argv = u->stage_argv[i],
                                           .stop_signal = SIGTERM,
                                           .stop_ms = STAGE_STOP_MS,
                                           .ctx = u};
        if (strcmp(stage_names[i], "api") == 0)
            u->stages[i].repair = api_repair;
        up_supervisor_start(u->sup, &u->stages[i]);
    }
    log_info("starting ingest, aggregate, api");
    return up_supervisor_wait_ready(u->sup, no_timeout, e);
}

/* ---- What others may know ----------------------------------------------------------------- */

static void add_member(struct buf *b, const char *key, const char *value)
{
    buf_adds(b, b->len > 1 ? ",\n  " : "\n  ");
    buf_add_json_string(b, key, strlen(key));
    buf_adds(b, ": ");
    buf_add_json_string(b, value, strlen(value));
}

static bool write_endpoints(const struct up *u, struct err *e)
{
    const struct settings *s = u->settings;
    char path[PATH_MAX], http[UP_URL_SIZE];
    struct buf b;

    write_http_url(u, http);
    buf_init(&b, 0);
    buf_addc(&b, '{');
    add_member(&b, "http", http);
    add_member(&b, "mqtt", s->mqtt_url);
    add_member(&b, "redis", s->redis_url);
    add_member(&b, "pg", s->pg_url);
    add_member(&b, "archive", s->archive_url);
    add_member(&b, "admin_key", s->admin_key);
    buf_adds(&b, "\n}\n");
    bool ok = up_dir_write(up_dir_path(&u->dir, "endpoints.json", path), b.data, NULL, e);
    buf_clear(&b);
    return ok;
}

static void print_welcome(const struct up *u)
{
    char http[UP_URL_SIZE];

    write_http_url(u, http);
    printf("\nEnerLink %s is ready.\n"
           "  dashboard and API  %s\n"
           "  log in once with   %s/#login=%s\n"
           "  addresses and key  %s/endpoints.json\n"
           "  stop with          Ctrl-C\n\n",
           ENERLINK_VERSION, http, http, u->ticket, u->dir.path);
    fflush(stdout);
}

/* ---- The whole ---------------------------------------------------------------------------- */

/* What can fail at once comes first. */
static enum up_outcome begin(struct up *u, struct err *e)
{
    if ((u->options->meters > 0 && !up_sim_find(&u->sim, e)) || !choose_http_port(u, e))
        return UP_FAILED;
    enum up_outcome outcome = start_servers(u, e);
    if (outcome != UP_READY)
        return outcome;
    if (!adopt_servers(u, e) || !choose_archive(u, e) || !choose_admin_key(u, e) ||
        !make_ticket(u, e))
        return UP_FAILED;
    settings_export(u->settings);
    outcome = migrate(u, e);
    if (outcome == UP_READY)
        outcome = start_stages(u, e);
    if (outcome != UP_READY)
        return outcome;
    if (!write_endpoints(u, e))
        return UP_FAILED;
    if (u->options->meters > 0) {
        up_sim_describe(&u->sim, &u->dir, u->options);
        log_info("starting %ld simulated meters", u->options->meters);
        up_supervisor_start(u->sup, &u->sim.service);
    }
    print_welcome(u);
    notify_ready();
    return UP_READY;
}

/* First what feeds the stages, then the stages against the flow, at last the servers together. */
static void end(struct up *u)
{
    char path[PATH_MAX];

    log_info("stopping");
    unlink(up_dir_path(&u->dir, "endpoints.json", path));
    up_supervisor_stop(u->sup, u->n_servers, false);
    up_supervisor_stop(u->sup, 0, true);
    up_dir_close(&u->dir);
    log_info("stopped");
}

int up_run(struct settings *s, const struct up_options *o)
{
    struct err e = {0};
    struct up u = {.settings = s, .options = o};
    char path[PATH_MAX];

    umask(077);
    raise_descriptors();
    if (!up_dir_open(&u.dir, o->dir, &e)) {
        log_warn("%s", e.text);
        return EXIT_FAILED;
    }
    unlink(up_dir_path(&u.dir, "endpoints.json", path));
    u.sup = up_supervisor_new(&e);
    if (!u.sup) {
        log_warn("%s", e.text);
        return EXIT_FAILED;
    }
    enum up_outcome outcome = begin(&u, &e);
    if (outcome == UP_READY)
        up_supervisor_loop(u.sup);
    else if (outcome == UP_FAILED)
        log_warn("%s", e.text);
    end(&u);
    up_supervisor_free(u.sup);
    return outcome == UP_FAILED ? EXIT_FAILED : EXIT_DONE;
}
