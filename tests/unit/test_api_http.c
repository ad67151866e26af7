#include "unit.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api_stub.h"
#include "base/mem.h"
#include "stages/api.h"

/* The whole stage over stub stores, asked through a real socket. */

#define KEY "0123456789abcdef0123456789abcdef"
#define BEARER "Authorization: Bearer " KEY "\r\n"
#define MESSAGE "{\"meterId\": \"METER001\",\n \"datetime\":\"2025-10-26T04:27:10Z\"}"

static const char *const hosts[] = {"meters.example", NULL};

static struct server {
    struct stub stub;
    struct api_options options;
    pthread_t thread;
    atomic_int port;
    atomic_bool stop;
    char ticket_file[64];
    bool ok;
} server;

static void on_ready(void *ctx, int port)
{
    struct server *s = ctx;

    atomic_store(&s->port, port);
}

static bool is_to_stop(void *ctx)
{
    struct server *s = ctx;

    return atomic_load(&s->stop);
}

static void *serve(void *ctx)
{
    struct server *s = ctx;
    struct err e;

    s->ok = api_run(&s->options, &e);
    return NULL;
}

static int start(void **state)
{
    struct server *s = &server;

    (void)state;
    memset(s, 0, sizeof *s);
    s->stub.meters[0] = (struct stub_meter){"A-1", NULL, "{\"x\":1}", 1761452830000};
    s->stub.meters[1] = (struct stub_meter){"METER001", MESSAGE, NULL, 1761452830500};
    s->stub.meters[2] = (struct stub_meter){"METER002", "{}", "{}", 0};
    s->stub.n_meters = 3;
    s->stub.health = "{\"ingest\":{\"at_ms\":1000,\"lag\":3}}";
    snprintf(s->ticket_file, sizeof s->ticket_file, "/tmp/enerlink-test-ticket-%d", (int)getpid());
    s->options = (struct api_options){.listen = "127.0.0.1:0",
                                      .hosts = hosts,
                                      .admin_key = KEY,
                                      .login_ticket_file = s->ticket_file,
                                      .open_hot = stub_open_hot,
                                      .open_history = stub_open_history,
                                      .stores_ctx = &s->stub,
                                      .clock = clock_system(),
                                      .ready = on_ready,
                                      .ready_ctx = s,
                                      .stop = is_to_stop,
                                      .stop_ctx = s};
    if (pthread_create(&s->thread, NULL, serve, s) != 0)
        return -1;
    for (int i = 0; i < 500 && !atomic_load(&s->port); i++)
        usleep(10000);
    return atomic_load(&s->port) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    atomic_store(&server.stop, true);
    pthread_join(server.thread, NULL);
    unlink(server.ticket_file);
    return server.ok ? 0 : -1;
}

/* ---- Asking ------------------------------------------------------------------------------- */

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atomic_load(&server.port)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

struct reply {
    int status;
    char *text; /* head and body, NUL-terminated */
    char *body;
    size_t body_len;
};

static struct reply read_reply(int fd)
{
    struct reply r = {0};
    struct buf b;
    char piece[65536];
    ssize_t got;

    buf_init(&b, 0);
    while ((got = recv(fd, piece, sizeof piece, 0)) > 0)
        buf_add(&b, piece, (size_t)got);
    close(fd);
    buf_addc(&b, '\0');
    r.text = b.data;
    sscanf(r.text, "HTTP/1.1 %d", &r.status);
    r.body = strstr(r.text, "\r\n\r\n");
    if (r.body) {
        r.body += 4;
        r.body_len = strlen(r.body);
    }
    return r;
}

static struct reply ask_raw(const char *request, size_t len)
{
    int fd = dial();

    assert_int_equal(send(fd, request, len, MSG_NOSIGNAL), (ssize_t)len);
    shutdown(fd, SHUT_WR);
    return read_reply(fd);
}

/* "GET /path" with these header lines. */
static struct reply ask_with(const char *line, const char *headers, const char *body)
{
    struct buf b;

    buf_init(&b, 0);
    buf_addf(&b, "%s HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n%s", line, headers);
    if (body)
        buf_addf(&b, "Content-Length: %zu\r\n", strlen(body));
    buf_addf(&b, "\r\n%s", body ? body : "");
    struct reply r = ask_raw(b.data, b.len);
    buf_clear(&b);
    return r;
}

static struct reply ask(const char *line)
{
    return ask_with(line, BEARER, NULL);
}

static int status_of(struct reply r)
{
    int status = r.status;

    free(r.text);
    return status;
}

static bool wait_for(const char *line, int status, int tries)
{
    for (int i = 0; i < tries; i++) {
        if (status_of(ask(line)) == status)
            return true;
        usleep(50000);
    }
    return false;
}

static json_t *json_of(struct reply r)
{
    json_error_t error;
    json_t *json = json_loadb(r.body, r.body_len, 0, &error);

    assert_non_null(json);
    free(r.text);
    return json;
}

/* ---- Heads -------------------------------------------------------------------------------- */

#define RAW(text) text, sizeof text - 1

static const struct {
    const char *what;
    const char *request;
    size_t len;
    int status;
} heads[] = {
    {"two hosts", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"), 400},
    {"no host", RAW("GET /livez HTTP/1.1\r\nX: y\r\n\r\n"), 400},
    {"foreign host", RAW("GET /livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
     421},
    {"host with a tail",
     RAW("GET /livez HTTP/1.1\r\nHost: localhost:80@evil\r\nConnection: close\r\n\r\n"), 421},
    {"two lengths",
     RAW("POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
         "Content-Length: 2\r\n\r\n{}"),
     400},
    {"length and encoding",
     RAW("POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     400},
    {"chunked",
     RAW("POST /session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
         "0\r\n\r\n"),
     411},
    {"two encodings",
     RAW("POST /session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
         "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
     400},
    {"body on GET", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"),
     400},
    {"body too large",
     RAW("POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n"), 413},
    {"control byte", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\x01z\r\n\r\n"), 400},
    {"NUL in a value", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\0z\r\nY: 1\r\n\r\n"),
     400},
    {"bare CR", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\rY: b\r\nZ: 1\r\n\r\n"), 400},
    {"bare LF", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\nY: b\r\n\r\n"), 400},
    {"folded line", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\nY: 1\r\n\r\n"),
     400},
    {"blank before colon", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nX : a\r\n\r\n"), 400},
    {"two keys",
     RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n"),
     400},
    {"absolute form", RAW("GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400},
    {"encoded NUL", RAW("GET /livez%00 HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400},
    {"cut escape", RAW("GET /livez%4 HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400},
    {"not UTF-8", RAW("GET /%ff HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400},
    {"sound",
     RAW("GET /livez HTTP/1.1\r\nHost: LOCALHOST:99\r\nConnection: close\r\nX: a\tb\r\n\r\n"), 200},
    {"sound, no blanks",
     RAW("GET /livez HTTP/1.1\r\nHost:[::1]:80\r\nConnection:close\r\nX:\r\nY:1\r\n\r\n"), 200},
    {"configured name",
     RAW("GET /livez HTTP/1.1\r\nHost: meters.example\r\nConnection: close\r\n\r\n"), 200},
};

static void an_unsound_head_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct reply r = ask_raw(heads[i].request, heads[i].len);
        if (r.status != heads[i].status)
            print_error("%s: %s\n", heads[i].what, r.text);
        assert_int_equal(r.status, heads[i].status);
        free(r.text);
    }
}

static void what_follows_a_refused_head_is_not_a_request(void **state)
{
    static const char two[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n"
                              "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    (void)state;
    struct reply r = ask_raw(two, sizeof two - 1);
    assert_int_equal(r.status, 400);
    assert_null(strstr(r.text + 1, "HTTP/1.1 "));
    free(r.text);
}

static void a_connection_serves_many_requests(void **state)
{
    static const char two[] =
        "GET /telemetry/latest/data/METER001 HTTP/1.1\r\nHost: localhost\r\n" BEARER "\r\n"
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    (void)state;
    struct reply r = ask_raw(two, sizeof two - 1);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "HTTP/1.1 200 OK"));
    assert_non_null(strstr(r.body, "{\"state\":\"ok\"}"));
    free(r.text);
}

/* ---- Order of judgement ------------------------------------------------------------------- */

static void a_key_comes_before_everything_else(void **state)
{
    static const char *const lines[] = {"GET /telemetry/latest/all",
                                        "GET /nowhere",
                                        "POST /telemetry/latest/all",
                                        "GET /session",
                                        "GET /telemetry/history/METER001?limit=x",
                                        "DELETE /session",
                                        "GET /metrics",
                                        "GET /telemetry/latest/data/!"};

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(status_of(ask_with(lines[i], "", NULL)), 401);
        struct reply r = ask_with(lines[i], "Authorization: Bearer 0123456789abcdef\r\n", NULL);
        assert_int_equal(r.status, 401);
        assert_non_null(strstr(r.text, "WWW-Authenticate: Bearer"));
        assert_non_null(strstr(r.text, "application/problem+json"));
        free(r.text);
    }
}

static void with_a_key_paths_methods_and_parameters_are_judged(void **state)
{
    static const struct {
        const char *line;
        int status;
    } cases[] = {
        {"GET /nowhere", 404},
        {"GET /telemetry/latest/all/", 404},
        {"GET //telemetry/latest/all", 404},
        {"GET /telemetry", 404},
        {"GET /telemetry%2Flatest/all", 404},
        {"GET /telemetry/latest/data", 404},
        {"GET /a/b/c/d/e/f/g/h/i/j/k", 404},
        {"DELETE /telemetry/latest/all", 405},
        {"POST /livez", 405},
        {"PATCH /session", 405},
        {"PUT /", 405},
        {"GET /telemetry/latest/data/!", 400},
        {"GET /telemetry/latest/data/all", 400},
        {"GET /telemetry/latest/all?limit=0", 400},
        {"GET /telemetry/latest/all?limit=2001", 400},
        {"GET /telemetry/latest/all?limit=1&limit=1", 400},
        {"GET /telemetry/latest/all?cursor=!", 400},
        {"GET /telemetry/l%61test/all?limit=%31", 200},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(status_of(ask(cases[i].line)), cases[i].status);
    struct reply r = ask("GET /session");
    assert_int_equal(r.status, 405);
    assert_non_null(strstr(r.text, "\r\nAllow: POST, DELETE\r\n"));
    free(r.text);
}

static void open_paths_need_no_key(void **state)
{
    (void)state;
    assert_int_equal(status_of(ask_with("GET /", "", NULL)), 200);
    assert_int_equal(status_of(ask_with("GET /page.js", "", NULL)), 200);
    assert_int_equal(status_of(ask_with("GET /livez", "", NULL)), 200);
    assert_int_equal(status_of(ask_with("GET /openapi.json", "", NULL)), 404);
    assert_true(wait_for("GET /readyz", 200, 100));
}

static void a_page_that_is_kept_is_not_sent_again(void **state)
{
    char etag[64], header[96];

    (void)state;
    struct reply r = ask_with("GET /page.css", "", NULL);
    const char *at = strstr(r.text, "\r\nETag: ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\r\nETag: %60s", etag), 1);
    assert_non_null(strstr(r.text, "Content-Security-Policy: default-src 'self'"));
    free(r.text);
    snprintf(header, sizeof header, "If-None-Match: %s\r\n", etag);
    r = ask_with("GET /page.css", header, NULL);
    assert_int_equal(r.status, 304);
    assert_int_equal(r.body_len, 0);
    free(r.text);
}

static void head_gives_the_length_and_no_body(void **state)
{
    char length[64];

    (void)state;
    struct reply full = ask("GET /telemetry/latest/data/METER001");
    struct reply head = ask("HEAD /telemetry/latest/data/METER001");
    snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", full.body_len);
    assert_int_equal(head.status, 200);
    assert_non_null(strstr(head.text, length));
    assert_int_equal(head.body_len, 0);
    free(full.text);
    free(head.text);
}

/* ---- Latest ------------------------------------------------------------------------------- */

static void the_latest_message_is_given_as_published(void **state)
{
    (void)state;
    struct reply r = ask("GET /telemetry/latest/data/METER001");
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "{\"data\":" MESSAGE ",\"meta\":{\"meterId\":\"METER001\","
                                "\"lastSeen\":\"2025-10-26T04:27:10.500Z\"}}");
    assert_non_null(strstr(r.text, "Cache-Control: no-store"));
    free(r.text);
    assert_int_equal(status_of(ask("GET /telemetry/latest/status/METER001")), 404);
    assert_int_equal(status_of(ask("GET /telemetry/latest/data/NOBODY")), 404);
    r = ask("GET /telemetry/latest/status/METER002");
    assert_string_equal(r.body,
                        "{\"data\":{},\"meta\":{\"meterId\":\"METER002\",\"lastSeen\":null}}");
    free(r.text);
}

static void the_list_of_meters_is_paged(void **state)
{
    (void)state;
    json_t *page = json_of(ask("GET /telemetry/latest/all?limit=2"));
    json_t *data = json_object_get(page, "data");
    assert_int_equal(json_array_size(data), 2);
    assert_true(json_is_null(json_object_get(json_array_get(data, 0), "data")));
    assert_true(json_is_object(json_object_get(json_array_get(data, 0), "status")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(page, "meta"), "next")),
                        "METER001");
    json_decref(page);
    page = json_of(ask("GET /telemetry/latest/all?limit=2&cursor=METER001"));
    data = json_object_get(page, "data");
    assert_int_equal(json_array_size(data), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(data, 0), "meterId")),
                        "METER002");
    assert_true(json_is_null(json_object_get(json_object_get(page, "meta"), "next")));
    json_decref(page);
}

static void what_waits_together_is_asked_together(void **state)
{
    enum { COUNT = 40 };
    static const char request[] = "GET /telemetry/latest/data/METER001 HTTP/1.1\r\n"
                                  "Host: localhost\r\nConnection: close\r\n" BEARER "\r\n";
    int fds[COUNT];

    (void)state;
    atomic_store(&server.stub.hot_delay_ms, 100);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = dial();
        assert_int_equal(send(fds[i], request, sizeof request - 1, MSG_NOSIGNAL),
                         (ssize_t)sizeof request - 1);
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(status_of(read_reply(fds[i])), 200);
    assert_in_range(atomic_load(&server.stub.latest_calls), 1, COUNT / 4);
}

/* ---- History ------------------------------------------------------------------------------ */

#define RANGE "start=2025-10-26T04:00:00Z&end=2025-10-26T04:03:00Z"

static void rows_are_objects_keyed_by_column(void **state)
{
    (void)state;
    struct reply r = ask("GET /telemetry/history/METER001?" RANGE
                         "&metrics=quality,import.power,export_active,bucket");
    assert_int_equal(r.status, 200);
    assert_string_equal(
        r.body,
        "{\"data\":["
        "{\"bucket\":\"2025-10-26T04:00:00Z\",\"quality\":null,\"import_power_avg\":null,"
        "\"import_power_min\":0,\"import_power_max\":0,\"import_power_wh\":0,"
        "\"export_active_true\":0},"
        "{\"bucket\":\"2025-10-26T04:01:00Z\",\"quality\":null,\"import_power_avg\":null,"
        "\"import_power_min\":1,\"import_power_max\":1,\"import_power_wh\":1,"
        "\"export_active_true\":1},"
        "{\"bucket\":\"2025-10-26T04:02:00Z\",\"quality\":null,\"import_power_avg\":null,"
        "\"import_power_min\":2,\"import_power_max\":2,\"import_power_wh\":2,"
        "\"export_active_true\":2}],"
        "\"meta\":{\"meterId\":\"METER001\",\"interval\":\"1m\",\"start\":\"2025-10-26T04:00:00Z\","
        "\"end\":\"2025-10-26T04:03:00Z\",\"next\":null,\"units\":{\"bucket\":\"\","
        "\"quality\":\"\",\"import_power_avg\":\"mW\",\"import_power_min\":\"mW\","
        "\"import_power_max\":\"mW\",\"import_power_wh\":\"Wh\",\"export_active_true\":\"\"}}}");
    free(r.text);
}

static void every_column_is_given_by_default(void **state)
{
    (void)state;
    json_t *page = json_of(ask("GET /telemetry/history/METER001?" RANGE "&interval=auto"));
    json_t *row = json_array_get(json_object_get(page, "data"), 0);
    assert_int_equal(json_object_size(row), SCHEMA_COLUMN_COUNT);
    json_t *units = json_object_get(json_object_get(page, "meta"), "units");
    assert_int_equal(json_object_size(units), SCHEMA_COLUMN_COUNT);
    assert_string_equal(json_string_value(json_object_get(units, "import_total_energy_inc")), "Wh");
    assert_string_equal(json_string_value(json_object_get(row, "net_grid_status_last")), "idle");
    json_decref(page);
}

static void the_fleet_is_paged_by_bucket_and_meter(void **state)
{
    char line[256], next[96] = "";
    struct buf seen;

    (void)state;
    buf_init(&seen, 0);
    for (int pages = 0; pages < 10; pages++) {
        snprintf(line, sizeof line,
                 "GET /telemetry/history/all?start=2025-10-26T11:00:00+07:00&"
                 "end=2025-10-26T04:02:00Z&limit=4&metrics=n%s%s",
                 *next ? "&cursor=" : "", next);
        json_t *page = json_of(ask(line));
        size_t i;
        json_t *row;
        json_array_foreach(json_object_get(page, "data"), i, row)
            buf_addf(&seen, "%.5s/%s ", json_string_value(json_object_get(row, "bucket")) + 11,
                     json_string_value(json_object_get(row, "meter_id")));
        const char *text =
            json_string_value(json_object_get(json_object_get(page, "meta"), "next"));
        snprintf(next, sizeof next, "%s", text ? text : "");
        buf_adds(&seen, text ? "| " : ".");
        json_decref(page);
        if (!*next)
            break;
    }
    assert_string_equal(seen.data, "04:00/A-1 04:00/METER001 04:00/METER002 04:01/A-1 | "
                                   "04:01/METER001 04:01/METER002 .");
    buf_clear(&seen);
}

static void csv_is_given_on_request(void **state)
{
    (void)state;
    struct reply r = ask("GET /telemetry/history/METER001?" RANGE
                         "&format=csv&limit=2&metrics=import_power_avg,n,net_grid.status");
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body,
                        "bucket,import_power_avg,n,net_grid_status_last,net_grid_status_changes\r\n"
                        "2025-10-26T04:00:00Z,,0,idle,0\r\n"
                        "2025-10-26T04:01:00Z,,1,idle,1\r\n");
    assert_non_null(strstr(r.text, "\r\nContent-Type: text/csv"));
    assert_non_null(strstr(r.text, "\r\nEnerlink-Next: 1761451260000\r\n"));
    free(r.text);
}

static void an_unknown_meter_has_an_empty_history(void **state)
{
    (void)state;
    json_t *page = json_of(ask("GET /telemetry/history/NOBODY"));
    assert_int_equal(json_array_size(json_object_get(page, "data")), 0);
    json_decref(page);
    page = json_of(ask("GET /telemetry/history/METER001?metrics=n"));
    assert_int_equal(json_array_size(json_object_get(page, "data")), 60);
    json_decref(page);
}

static void wrong_parameters_of_the_history_are_told(void **state)
{
    static const char *const queries[] = {
        "start=yesterday",
        "start=2025-10-26T04:00:00",
        "start=2019-12-31T23:59:00Z&end=2020-01-02T00:00:00Z",
        "start=2025-10-26T04:00:00Z&end=2025-10-26T04:00:00Z",
        "end=2025-10-26&start=2025-10-27",
        "interval=1h",
        "interval=1d",
        "interval=5m",
        "limit=10001",
        "limit=-1",
        "limit=1e3",
        "metrics=import.powers",
        "metrics=wifi.ip",
        "metrics=",
        "format=xml",
        "cursor=1",
        "cursor=1761451260000.METER001",
        "cursor=x",
        "cursor=99999999999999999999",
        "start=2025-10-26&start=2025-10-26",
    };

    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        char line[200];
        snprintf(line, sizeof line, "GET /telemetry/history/METER001?%s", queries[i]);
        struct reply r = ask(line);
        if (r.status != 400)
            print_error("%s: %d\n", line, r.status);
        assert_int_equal(r.status, 400);
        json_t *problem = json_of(r);
        assert_int_equal(json_integer_value(json_object_get(problem, "status")), 400);
        assert_string_equal(json_string_value(json_object_get(problem, "title")), "Bad Request");
        assert_true(strlen(json_string_value(json_object_get(problem, "detail"))) > 10);
        json_decref(problem);
    }
}

/* ---- Stores that fail --------------------------------------------------------------------- */

static void a_store_that_is_down_is_told_and_comes_back(void **state)
{
    (void)state;
    assert_true(wait_for("GET /readyz", 200, 100));
    atomic_store(&server.stub.history_fails, true);
    struct reply r = ask("GET /telemetry/history/METER001");
    assert_int_equal(r.status, 503);
    assert_non_null(strstr(r.text, "\r\nRetry-After: 1\r\n"));
    assert_null(strstr(r.text, "switched off"));
    free(r.text);
    assert_int_equal(status_of(ask("GET /telemetry/latest/data/METER001")), 200);
    assert_true(wait_for("GET /readyz", 503, 40));
    assert_int_equal(status_of(ask("GET /livez")), 200);
    atomic_store(&server.stub.history_fails, false);
    assert_true(wait_for("GET /telemetry/history/METER001", 200, 40));

    atomic_store(&server.stub.hot_fails, true);
    assert_int_equal(status_of(ask("GET /telemetry/latest/data/METER001")), 503);
    assert_int_equal(status_of(ask("GET /telemetry/latest/all")), 503);
    assert_int_equal(status_of(ask("GET /telemetry/history/METER001")), 200);
    atomic_store(&server.stub.hot_fails, false);
    assert_true(wait_for("GET /telemetry/latest/all", 200, 40));
}

/* The store answers nothing for 5 s; requests are freed well before. */
static void a_store_that_hangs_does_not_hold_requests(void **state)
{
    struct timespec before, after;

    (void)state;
    assert_true(wait_for("GET /readyz", 200, 100));
    atomic_store(&server.stub.history_delay_ms, 5000);
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(status_of(ask("GET /telemetry/history/METER001")), 503);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_in_range(after.tv_sec - before.tv_sec, 0, 4);
    assert_int_equal(status_of(ask("GET /telemetry/history/METER001")), 503);
    assert_int_equal(status_of(ask("GET /telemetry/latest/data/METER001")), 200);
    atomic_store(&server.stub.history_delay_ms, 0);
}

static void requests_that_wait_are_answered_at_the_end(void **state)
{
    (void)state;
    atomic_store(&server.stub.hot_delay_ms, 1500);
    int fd = dial();
    static const char request[] =
        "GET /telemetry/latest/all HTTP/1.1\r\nHost: localhost\r\n" BEARER "\r\n";
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL),
                     (ssize_t)sizeof request - 1);
    usleep(300000);
    atomic_store(&server.stop, true);
    assert_int_equal(status_of(read_reply(fd)), 503);
}

static void the_state_of_stages_and_stores_is_told(void **state)
{
    (void)state;
    assert_true(wait_for("GET /readyz", 200, 100));
    json_t *body = json_of(ask("GET /telemetry/health"));
    json_t *data = json_object_get(body, "data");
    json_t *stages = json_object_get(data, "stages");
    json_t *ingest = json_object_get(stages, "ingest");
    assert_string_equal(json_string_value(json_object_get(data, "state")), "degraded");
    assert_string_equal(json_string_value(json_object_get(ingest, "state")), "stale");
    assert_int_equal(json_integer_value(json_object_get(ingest, "lag")), 3);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(stages, "aggregate"), "state")),
        "missing");
    json_t *redis = json_object_get(data, "redis");
    assert_string_equal(json_string_value(json_object_get(redis, "state")), "ok");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(redis, "usage"), "minutes_waiting")), 2);
    assert_true(atomic_load(&server.stub.put_health_calls) > 0);
    json_decref(body);
}

/* ---- Sessions ----------------------------------------------------------------------------- */

static void log_in(const char *body, char cookie[256])
{
    struct reply r = ask_with("POST /session", "", body);
    const char *at = strstr(r.text, "\r\nSet-Cookie: ");

    assert_int_equal(r.status, 204);
    assert_non_null(at);
    assert_non_null(strstr(at, "; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800\r\n"));
    assert_int_equal(sscanf(at, "\r\nSet-Cookie: %200[^;]", cookie), 1);
    free(r.text);
}

static void a_cookie_opens_what_a_key_opens(void **state)
{
    char cookie[256], headers[512];

    (void)state;
    log_in("{\"key\":\"" KEY "\"}", cookie);
    snprintf(headers, sizeof headers, "Cookie: a=b; %s\r\n", cookie);
    assert_int_equal(status_of(ask_with("GET /telemetry/latest/all", headers, NULL)), 200);
    assert_int_equal(status_of(ask_with("DELETE /session", headers, NULL)), 403);
    snprintf(headers, sizeof headers, "Cookie: %s\r\nOrigin: http://evil.example\r\n", cookie);
    assert_int_equal(status_of(ask_with("DELETE /session", headers, NULL)), 403);
    snprintf(headers, sizeof headers, "Cookie: %s\r\nSec-Fetch-Site: cross-site\r\n", cookie);
    assert_int_equal(status_of(ask_with("DELETE /session", headers, NULL)), 403);
    snprintf(headers, sizeof headers, "Cookie: %s\r\nOrigin: http://localhost:1\r\n", cookie);
    struct reply r = ask_with("DELETE /session", headers, NULL);
    assert_int_equal(r.status, 204);
    assert_non_null(strstr(r.text, "Set-Cookie: enerlink_session=;"));
    free(r.text);

    cookie[strlen(cookie) - 1] = cookie[strlen(cookie) - 1] == 'A' ? 'B' : 'A';
    snprintf(headers, sizeof headers, "Cookie: %s\r\n", cookie);
    assert_int_equal(status_of(ask_with("GET /telemetry/latest/all", headers, NULL)), 401);
}

static void a_ticket_opens_one_session(void **state)
{
    static const char body[] = "{\"ticket\":\"once-upon-a-time-in-a-file\"}";
    char cookie[256];

    (void)state;
    assert_int_equal(status_of(ask_with("POST /session", "", body)), 401);
    char made[] = "/tmp/enerlink-test-XXXXXX";
    int fd = mkstemp(made); /* 0600 */
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "once-upon-a-time-in-a-file\n", 27), 27);
    close(fd);
    assert_int_equal(rename(made, server.ticket_file), 0);
    log_in(body, cookie);
    assert_int_equal(status_of(ask_with("POST /session", "", body)), 401);
    assert_int_equal(access(server.ticket_file, F_OK), -1);
}

static void failed_logins_are_slowed_down(void **state)
{
    (void)state;
    assert_int_equal(status_of(ask_with("POST /session", "", "not json")), 400);
    assert_int_equal(status_of(ask_with("POST /session", "", "{\"key\":1}")), 400);
    assert_int_equal(status_of(ask_with("POST /session", "Origin: http://evil.example\r\n",
                                        "{\"key\":\"" KEY "\"}")),
                     403);
    for (int i = 0; i < 10; i++)
        assert_int_equal(status_of(ask_with("POST /session", "", "{\"key\":\"wrong\"}")), 401);
    struct reply r = ask_with("POST /session", "", "{\"key\":\"" KEY "\"}");
    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.text, "\r\nRetry-After: "));
    free(r.text);
    assert_int_equal(status_of(ask("GET /telemetry/latest/all")), 200);
}

#define OVER_HTTP(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OVER_HTTP(an_unsound_head_is_refused),
        OVER_HTTP(what_follows_a_refused_head_is_not_a_request),
        OVER_HTTP(a_connection_serves_many_requests),
        OVER_HTTP(a_key_comes_before_everything_else),
        OVER_HTTP(with_a_key_paths_methods_and_parameters_are_judged),
        OVER_HTTP(open_paths_need_no_key),
        OVER_HTTP(a_page_that_is_kept_is_not_sent_again),
        OVER_HTTP(head_gives_the_length_and_no_body),
        OVER_HTTP(the_latest_message_is_given_as_published),
        OVER_HTTP(the_list_of_meters_is_paged),
        OVER_HTTP(what_waits_together_is_asked_together),
        OVER_HTTP(rows_are_objects_keyed_by_column),
        OVER_HTTP(every_column_is_given_by_default),
        OVER_HTTP(the_fleet_is_paged_by_bucket_and_meter),
        OVER_HTTP(csv_is_given_on_request),
        OVER_HTTP(an_unknown_meter_has_an_empty_history),
        OVER_HTTP(wrong_parameters_of_the_history_are_told),
        OVER_HTTP(a_store_that_is_down_is_told_and_comes_back),
        OVER_HTTP(a_store_that_hangs_does_not_hold_requests),
        OVER_HTTP(requests_that_wait_are_answered_at_the_end),
        OVER_HTTP(the_state_of_stages_and_stores_is_told),
        OVER_HTTP(a_cookie_opens_what_a_key_opens),
        OVER_HTTP(a_ticket_opens_one_session),
        OVER_HTTP(failed_logins_are_slowed_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
