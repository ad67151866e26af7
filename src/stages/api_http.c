#include "stages/api_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/url.h"
#include "stages/api_json.h"

enum {
    BACKLOG = 511,
    CONNECTION_MEMORY =
        16 * 1024, /* also the bound of a request's head; cleared for each request */
    RUNS_MOST = 16,
    LISTEN_TEXT_SIZE = 256,
};

/* libmicrohttpd before 1.0.3 may pass over a ready connection while another is suspended. */
#define TICK_S 0.1

struct http_server {
    struct http_options o;
    struct ev_loop *loop;
    struct MHD_Daemon *daemon;
    int listen_fd;
    int port;
    bool any_address; /* listening on all: any literal address may be the Host */
    char listen_host[LISTEN_TEXT_SIZE];
    ev_io readable;
    ev_timer tick, again;
    bool (*tick_fn)(void *ctx);
    void *tick_ctx;
    void (*idle_fn)(void *ctx);
    void *idle_ctx;
    size_t unsent_bytes;
    uint64_t requests;
};

enum phase {
    PHASE_HEAD,
    PHASE_BODY,
    PHASE_WAITING,
    PHASE_ANSWERED,
};

struct http_state {
    struct http_request request;
    struct http_server *server;
    struct MHD_Connection *connection;
    enum phase phase;
    char *target;
    int64_t start_ms;
    size_t unsent;
};

/* ---- Answers ------------------------------------------------------------------------------ */

void http_answer_header(struct http_answer *a, const char *name, const char *value)
{
    if (a->n_headers < HTTP_HEADERS_MOST)
        a->headers[a->n_headers++] = (struct http_header){.name = name, .value = xstrdup(value)};
}

void http_answer_clear(struct http_answer *a)
{
    for (size_t i = 0; i < a->n_headers; i++)
        free(a->headers[i].value);
    buf_clear(&a->body);
    *a = (struct http_answer){0};
}

void http_answer_problem(struct http_answer *a, unsigned status, const char *fmt, ...)
{
    char detail[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    http_answer_clear(a);
    a->status = status;
    a->type = "application/problem+json";
    json_write_problem(&a->body, status, detail);
}

void http_answer_unavailable(struct http_answer *a, const char *detail)
{
    http_answer_problem(a, 503, "%s", detail);
    http_answer_header(a, "Retry-After", "1");
}

/* What a browser must know to show a page of ours safely; data is only kept from being sniffed. */
static const struct {
    const char *name, *value;
} page_headers[] = {
    {"Content-Security-Policy",
     "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
     "frame-ancestors 'none'"},
    {"Referrer-Policy", "no-referrer"},
};

static struct MHD_Response *make_response(struct http_answer *a)
{
    struct MHD_Response *response;

    if (a->fixed) {
        /* Never written to: the mode is PERSISTENT. */
        response = MHD_create_response_from_buffer(a->fixed_len, (void *)(uintptr_t)a->fixed,
                                                   MHD_RESPMEM_PERSISTENT);
    } else {
        response =
            MHD_create_response_from_buffer(a->body.len, a->body.data, MHD_RESPMEM_MUST_FREE);
        if (response)
            a->body = (struct buf){0};
    }
    return response;
}

static enum MHD_Result send_answer(struct http_state *st)
{
    struct http_server *s = st->server;
    struct http_answer *a = &st->request.answer;

    if (a->body.len > s->o.unsent_bytes_most - s->unsent_bytes)
        http_answer_unavailable(a, "Too much is waiting to be sent; try again shortly.");
    st->unsent = a->body.len;
    s->unsent_bytes += st->unsent;

    struct MHD_Response *response = make_response(a);
    if (!response)
        return MHD_NO;
    if (a->type)
        MHD_add_response_header(response, "Content-Type", a->type);
    MHD_add_response_header(response, "Cache-Control", a->keepable ? "no-cache" : "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    for (size_t i = 0; a->keepable && i < sizeof page_headers / sizeof *page_headers; i++)
        MHD_add_response_header(response, page_headers[i].name, page_headers[i].value);
    for (size_t i = 0; i < a->n_headers; i++)
        MHD_add_response_header(response, a->headers[i].name, a->headers[i].value);
    enum MHD_Result result = MHD_queue_response(st->connection, a->status, response);
    MHD_destroy_response(response);
    return result;
}

/* An answer to a head we do not trust ends the connection: what follows may not be a request. */
static enum MHD_Result refuse(struct http_state *st, unsigned status, const char *detail)
{
    http_answer_problem(&st->request.answer, status, "%s", detail);
    http_answer_header(&st->request.answer, "Connection", "close");
    return send_answer(st);
}

/* ---- Reading the head --------------------------------------------------------------------- */

struct head {
    struct http_request *request;
    unsigned hosts, lengths, encodings;
    const char *length, *last_end;
    bool unsound;
};

enum wanted {
    WANT_HOST,
    WANT_LENGTH,
    WANT_ENCODING,
    WANT_AUTHORIZATION,
    WANT_COOKIE,
    WANT_ORIGIN,
    WANT_FETCH_SITE,
    WANT_IF_NONE_MATCH,
    WANT_NOTHING,
};

static const char *const wanted_names[WANT_NOTHING] = {
    [WANT_HOST] = "Host",
    [WANT_LENGTH] = "Content-Length",
    [WANT_ENCODING] = "Transfer-Encoding",
    [WANT_AUTHORIZATION] = "Authorization",
    [WANT_COOKIE] = "Cookie",
    [WANT_ORIGIN] = "Origin",
    [WANT_FETCH_SITE] = "Sec-Fetch-Site",
    [WANT_IF_NONE_MATCH] = "If-None-Match",
};

static enum wanted find_wanted(const char *name)
{
    for (size_t w = 0; w < WANT_NOTHING; w++)
        if (strcasecmp(name, wanted_names[w]) == 0)
            return (enum wanted)w;
    return WANT_NOTHING;
}

static bool is_sound_text(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
            return false;
    return true;
}

/* RFC 9110, 5.6.2: a field name is a token. */
static bool is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] <= 0x20 || (unsigned char)s[i] >= 0x7f ||
            strchr("\"(),/:;<=>?@[\\]{}", s[i]))
            return false;
    return len > 0;
}

/*
 * libmicrohttpd cuts a value at a NUL, takes a bare CR or LF for the end of a line, and joins
 * folded lines, without saying so. But it cuts the lines where they lie: exactly CR LF is between
 * the end of one value and the next name in a sound head.
 */
static bool follows_soundly(const char *last_end, const char *name)
{
    return !last_end || name - last_end == 2;
}

static enum MHD_Result read_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len)
{
    struct head *h = cls;
    struct http_request *r = h->request;

    (void)kind;
    if (!value)
        value_len = 0;
    if (!value || !is_token(name, name_len) || !is_sound_text(value, value_len) ||
        !follows_soundly(h->last_end, name)) {
        h->unsound = true;
        return MHD_NO;
    }
    h->last_end = value + value_len;
    switch (find_wanted(name)) {
    case WANT_HOST:
        h->hosts++;
        r->host = value;
        break;
    case WANT_LENGTH:
        h->lengths++;
        h->length = value;
        break;
    case WANT_ENCODING:
        h->encodings++;
        break;
    case WANT_AUTHORIZATION:
        h->unsound |= r->authorization != NULL;
        r->authorization = value;
        break;
    case WANT_COOKIE:
        r->cookie = value;
        break;
    case WANT_ORIGIN:
        h->unsound |= r->origin != NULL;
        r->origin = value;
        break;
    case WANT_FETCH_SITE:
        r->fetch_site = value;
        break;
    case WANT_IF_NONE_MATCH:
        r->if_none_match = value;
        break;
    case WANT_NOTHING:
        break;
    }
    return MHD_YES;
}

/* The part of a Host header before the port. */
static size_t host_name_len(const char *host)
{
    if (host[0] == '[') {
        const char *end = strchr(host, ']');
        return end ? (size_t)(end - host) + 1 : strlen(host);
    }
    return strcspn(host, ":");
}

static bool port_is_sound(const char *s)
{
    return *s == '\0' || (*s == ':' && strspn(s + 1, "0123456789") == strlen(s + 1));
}

static bool same_name(const char *name, const char *host, size_t len)
{
    return strlen(name) == len && strncasecmp(name, host, len) == 0;
}

static bool is_literal_address(const char *host, size_t len)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    bool bracketed = len > 2 && host[0] == '[';

    if (bracketed) {
        host++;
        len -= 2;
    }
    if (len >= sizeof text)
        return false;
    memcpy(text, host, len);
    text[len] = '\0';
    return inet_pton(bracketed ? AF_INET6 : AF_INET, text, address) == 1;
}

static bool host_is_ours(const struct http_server *s, const char *host)
{
    static const char *const loopback[] = {"localhost", "127.0.0.1", "[::1]"};
    size_t len = host_name_len(host);

    if (!port_is_sound(host + len))
        return false;
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++)
        if (same_name(loopback[i], host, len))
            return true;
    if (same_name(s->listen_host, host, len))
        return true;
    for (size_t i = 0; s->o.hosts && s->o.hosts[i]; i++)
        if (same_name(s->o.hosts[i], host, len))
            return true;
    return s->any_address && is_literal_address(host, len);
}

static void write_peer(struct http_state *st)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(st->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char *out = st->request.peer;

    out[0] = '\0';
    if (!info || !info->client_addr)
        return;
    if (info->client_addr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, info->client_addr, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, out, HTTP_PEER_SIZE);
    } else if (info->client_addr->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, info->client_addr, sizeof in6);
        if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
            inet_ntop(AF_INET, in6.sin6_addr.s6_addr + 12, out, HTTP_PEER_SIZE);
            return;
        }
        memset(in6.sin6_addr.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &in6.sin6_addr, out, HTTP_PEER_SIZE);
    }
}

static enum http_method method_by_name(const char *name)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {
        {"GET", HTTP_GET}, {"HEAD", HTTP_GET}, {"POST", HTTP_POST}, {"DELETE", HTTP_DELETE}};

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, name) == 0)
            return methods[i].method;
    return HTTP_OTHER;
}

/* Status 0 when the head is sound, else the status and detail of the refusal. */
static unsigned check_head(const struct http_state *st, const struct head *h, const char **detail)
{
    const struct http_request *r = &st->request;
    bool has_body = h->length && strspn(h->length, "0") != strlen(h->length);

    if (h->unsound || h->hosts > 1 || h->lengths > 1 || h->encodings > 1 ||
        (h->lengths && h->encodings)) {
        *detail = "The head of the request is malformed or ambiguous.";
        return 400;
    }
    if (h->hosts == 0) {
        *detail = "A Host header is required.";
        return 400;
    }
    if (!host_is_ours(st->server, r->host)) {
        *detail = "This server does not answer to that Host; add the name to its settings.";
        return 421;
    }
    if (h->encodings) {
        *detail = "Send a Content-Length; transfer encodings are not taken.";
        return 411;
    }
    if (has_body && r->method == HTTP_GET) {
        *detail = "A GET request has no body.";
        return 400;
    }
    /* The length was read by the library, which has refused what is no number. */
    if (has_body && strtoull(h->length, NULL, 10) > st->server->o.body_most) {
        *detail = "The body is too large.";
        return 413;
    }
    return 0;
}

static enum MHD_Result dispatch(struct http_state *st)
{
    st->server->o.handle(st->server->o.ctx, &st->request);
    if (st->request.answer.status)
        return send_answer(st);
    st->phase = PHASE_WAITING;
    MHD_suspend_connection(st->connection);
    return MHD_YES;
}

static enum MHD_Result on_head(struct http_state *st, const char *method)
{
    struct head head = {.request = &st->request};
    const char *detail = NULL;
    struct err e;

    st->server->requests++;
    write_peer(st);
    st->request.method = method_by_name(method);
    MHD_get_connection_values_n(st->connection, MHD_HEADER_KIND, read_header, &head);
    unsigned status = check_head(st, &head, &detail);
    if (status)
        return refuse(st, status, detail);
    if (!query_parse(&st->request.query, st->target, &e))
        return refuse(st, 400, e.text);
    st->request.path = st->request.query.text;
    /* An answer before the last call for a request would end the connection. */
    st->phase = PHASE_BODY;
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **context)
{
    struct http_state *st = *context;

    (void)cls;
    (void)url;
    (void)version;
    if (!st)
        return MHD_NO;
    switch (st->phase) {
    case PHASE_HEAD:
        st->connection = connection;
        return on_head(st, method);
    case PHASE_BODY:
        if (*data_len == 0)
            return dispatch(st);
        buf_add(&st->request.body, data, *data_len);
        *data_len = 0;
        return MHD_YES;
    case PHASE_WAITING:
        return MHD_YES;
    case PHASE_ANSWERED:
        break;
    }
    return send_answer(st);
}

/* The target as it came, before the library decodes anything; becomes the request's context. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct http_server *s = cls;
    struct http_state *st = xcalloc(1, sizeof *st);

    (void)connection;
    st->server = s;
    st->request.state = st;
    st->target = xstrdup(target);
    st->start_ms = clock_mono_ms(s->o.clock);
    buf_init(&st->request.body, s->o.body_most);
    return st;
}

static size_t leave_encoded(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strlen(text);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
    struct http_server *s = cls;
    struct http_state *st = *context;

    (void)connection;
    (void)how;
    if (!st)
        return;
    log_debug("%s %s %u %zu B %lld ms", st->request.peer, st->request.path ? st->request.path : "-",
              st->request.answer.status, st->unsent,
              (long long)(clock_mono_ms(s->o.clock) - st->start_ms));
    s->unsent_bytes -= st->unsent;
    http_answer_clear(&st->request.answer);
    buf_clear(&st->request.body);
    query_clear(&st->request.query);
    free(st->target);
    free(st);
    *context = NULL;
}

/* ---- The loop ----------------------------------------------------------------------------- */

/*
 * MHD_get_timeout of 0 means that something is ready without a new event. Longer ones are of
 * idle connections, for which the safety tick is fine enough.
 */
static void run(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    int runs = 0;

    do {
        MHD_run(s->daemon);
        if (s->idle_fn)
            s->idle_fn(s->idle_ctx);
    } while (MHD_get_timeout(s->daemon, &wait_ms) == MHD_YES && wait_ms == 0 && ++runs < RUNS_MOST);
    if (runs == RUNS_MOST) {
        ev_timer_set(&s->again, 0., 0.);
        ev_timer_start(s->loop, &s->again);
    }
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    (void)events;
    run(w->data);
}

static void on_again(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    run(w->data);
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    struct http_server *s = w->data;

    (void)events;
    run(s);
    if (!s->tick_fn(s->tick_ctx))
        ev_break(loop, EVBREAK_ALL);
}

struct ev_loop *http_loop(const struct http_server *s)
{
    return s->loop;
}

void http_run(struct http_server *s, bool (*tick)(void *ctx), void *ctx)
{
    s->tick_fn = tick;
    s->tick_ctx = ctx;
    ev_timer_start(s->loop, &s->tick);
    ev_run(s->loop, 0);
    ev_timer_stop(s->loop, &s->tick);
}

void http_finish(struct http_request *r)
{
    struct http_state *st = r->state;
    struct http_server *s = st->server;

    st->phase = PHASE_ANSWERED;
    MHD_resume_connection(st->connection);
    /* Resuming writes to the daemon's own event descriptor, but only MHD_run acts on it. */
    if (!ev_is_active(&s->again)) {
        ev_timer_set(&s->again, 0., 0.);
        ev_timer_start(s->loop, &s->again);
    }
}

void http_on_idle(struct http_server *s, void (*fn)(void *ctx), void *ctx)
{
    s->idle_fn = fn;
    s->idle_ctx = ctx;
}

/* ---- Opening ------------------------------------------------------------------------------ */

/* "host:port" into *address; the host, in the form of a Host header, into s->listen_host. */
static struct addrinfo *resolve(struct http_server *s, const char *text, struct err *e)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    struct url where;
    char port[8];

    if (!url_parse_listen(text, &where, e))
        return NULL;
    snprintf(s->listen_host, sizeof s->listen_host, "%.*s", (int)(strrchr(text, ':') - text), text);
    snprintf(port, sizeof port, "%d", where.port);
    const char *host = where.host;
    s->any_address = !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    int rc = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    url_clear(&where);
    if (rc != 0) {
        err_set(e, ERR_FATAL, "cannot listen on %s: %s", text, gai_strerror(rc));
        return NULL;
    }
    return found;
}

static bool open_socket(struct http_server *s, struct err *e)
{
    struct addrinfo *found = resolve(s, s->o.listen, e);
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    int on = 1;
    bool ok = false;

    if (!found)
        return false;
    s->listen_fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0) {
        err_errno(e, ERR_FATAL, "cannot listen on %s", s->o.listen);
        goto out;
    }
    setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s->listen_fd, found->ai_addr, found->ai_addrlen) < 0 ||
        listen(s->listen_fd, BACKLOG) < 0 ||
        getsockname(s->listen_fd, (struct sockaddr *)&bound, &size) < 0) {
        err_errno(e, ERR_FATAL, "cannot listen on %s", s->o.listen);
        goto out;
    }
    /* sin_port and sin6_port lie at the same place. */
    s->port = ntohs(((struct sockaddr_in *)(void *)&bound)->sin_port);
    ok = true;
out:
    freeaddrinfo(found);
    return ok;
}

static void log_library(void *cls, const char *fmt, va_list ap)
{
    char text[256];

    (void)cls;
    vsnprintf(text, sizeof text, fmt, ap);
    log_debug("http: %s", text);
}

static struct MHD_Daemon *start_daemon(struct http_server *s)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, s,
        MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, s, MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded,
        NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT, s->o.connections_most,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, s->o.connections_per_ip_most,
        MHD_OPTION_CONNECTION_TIMEOUT, s->o.idle_timeout_s, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

struct http_server *http_open(const struct http_options *o, struct err *e)
{
    struct http_server *s = xcalloc(1, sizeof *s);

    s->o = *o;
    s->loop = ev_loop_new(EVFLAG_AUTO);
    s->listen_fd = -1;
    if (!open_socket(s, e)) {
        http_close(s);
        return NULL;
    }
    s->daemon = start_daemon(s);
    if (!s->daemon) {
        err_set(e, ERR_FATAL, "libmicrohttpd %s does not start on %s", MHD_get_version(),
                o->listen);
        http_close(s);
        return NULL;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    ev_io_init(&s->readable, on_readable, info->epoll_fd, EV_READ);
    ev_timer_init(&s->tick, on_tick, TICK_S, TICK_S);
    ev_timer_init(&s->again, on_again, 0., 0.);
    s->readable.data = s->tick.data = s->again.data = s;
    ev_io_start(s->loop, &s->readable);
    return s;
}

int http_port(const struct http_server *s)
{
    return s->port;
}

uint64_t http_requests(const struct http_server *s)
{
    return s->requests;
}

void http_quiesce(struct http_server *s)
{
    int fd = MHD_quiesce_daemon(s->daemon);

    if (fd >= 0)
        close(fd);
    s->listen_fd = -1;
    run(s);
}

void http_disconnect(struct http_server *s)
{
    ev_io_stop(s->loop, &s->readable);
    run(s); /* resumed connections leave the suspended list, and what fits is sent */
    ev_timer_stop(s->loop, &s->again);
    MHD_stop_daemon(s->daemon);
    s->daemon = NULL;
}

void http_close(struct http_server *s)
{
    if (!s)
        return;
    if (s->daemon)
        MHD_stop_daemon(s->daemon); /* closes the listening socket too */
    else if (s->listen_fd >= 0)
        close(s->listen_fd);
    ev_loop_destroy(s->loop);
    free(s);
}
