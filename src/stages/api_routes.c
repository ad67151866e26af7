#include "stages/api_routes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page_files.h"

enum openness {
    CLOSED,
    OPEN_METHOD, /* this method needs no key */
    OPEN_PATH,   /* no method of this path does */
};

static void not_yet(struct api *api, struct http_request *r, const struct route_call *call);
static void live(struct api *api, struct http_request *r, const struct route_call *call);
static void ready(struct api *api, struct http_request *r, const struct route_call *call);
static void health(struct api *api, struct http_request *r, const struct route_call *call);

/* Literal paths stand before those with {meterId} that would match them too. */
static const struct route {
    const char *pattern;
    enum http_method method;
    enum openness openness;
    route_fn *fn;
} routes[] = {
    {"telemetry/latest/all", HTTP_GET, CLOSED, latest_all},
    {"telemetry/latest/data/{meterId}", HTTP_GET, CLOSED, latest_data},
    {"telemetry/latest/status/{meterId}", HTTP_GET, CLOSED, latest_status},
    {"telemetry/history/all", HTTP_GET, CLOSED, history_fleet},
    {"telemetry/history/{meterId}", HTTP_GET, CLOSED, history_meter},
    {"telemetry/health", HTTP_GET, CLOSED, health},
    {"session", HTTP_POST, OPEN_METHOD, session_open},
    {"session", HTTP_DELETE, CLOSED, session_close},
    {"livez", HTTP_GET, OPEN_PATH, live},
    {"readyz", HTTP_GET, OPEN_PATH, ready},
    {"openapi.json", HTTP_GET, OPEN_PATH, not_yet},
};

static const char *const method_names[] = {
    [HTTP_GET] = "GET, HEAD",
    [HTTP_POST] = "POST",
    [HTTP_DELETE] = "DELETE",
};

static void not_yet(struct api *api, struct http_request *r, const struct route_call *call)
{
    (void)api;
    (void)call;
    http_answer_problem(&r->answer, 404, "There is nothing at this path.");
}

static void live(struct api *api, struct http_request *r, const struct route_call *call)
{
    (void)call;
    health_answer_live(api->health, &r->answer);
}

static void ready(struct api *api, struct http_request *r, const struct route_call *call)
{
    (void)call;
    health_answer_ready(api->health, &r->answer);
}

static void health(struct api *api, struct http_request *r, const struct route_call *call)
{
    (void)call;
    health_answer(api->health, &r->answer);
}

/* True when the pattern fits; the segment of {meterId} into *meter_id. */
static bool route_matches(const struct route *route, const struct query *q, const char **meter_id)
{
    const char *p = route->pattern;

    for (size_t i = 0; i < q->n_segments; i++) {
        size_t len = strcspn(p, "/");
        if (i > 0 && len == 0)
            return false;
        if (p[0] == '{')
            *meter_id = q->segments[i];
        else if (strlen(q->segments[i]) != len || memcmp(p, q->segments[i], len) != 0)
            return false;
        p += len;
        if (*p == '/')
            p++;
        else if (i + 1 < q->n_segments)
            return false;
    }
    return *p == '\0';
}

struct match {
    const struct route *route; /* of the path and the method */
    const struct route *path;  /* the first of the path; NULL: there is nothing */
    struct route_call call;
};

/* A meter's id is not taken for a path that exists as such: "all" names the fleet. */
static struct match find_route(const struct http_request *r)
{
    struct match m = {0};

    if (r->query.n_segments == 0 || r->query.n_segments > QUERY_SEGMENTS_MOST)
        return m;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const char *meter_id = NULL;
        if (m.path && strcmp(m.path->pattern, routes[i].pattern) != 0)
            continue;
        if (!route_matches(&routes[i], &r->query, &meter_id))
            continue;
        if (!m.path) {
            m.path = &routes[i];
            m.call.meter_id = meter_id;
        }
        if (routes[i].method == r->method && !m.route)
            m.route = &routes[i];
    }
    return m;
}

static void answer_wrong_method(struct http_request *r, const char *pattern)
{
    struct buf allow;

    buf_init(&allow, 0);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(routes[i].pattern, pattern) != 0)
            continue;
        if (allow.len)
            buf_adds(&allow, ", ");
        buf_adds(&allow, method_names[routes[i].method]);
    }
    http_answer_problem(&r->answer, 405, "This path takes %s.", allow.data);
    http_answer_header(&r->answer, "Allow", allow.data);
    buf_clear(&allow);
}

/* ---- Static files ------------------------------------------------------------------------- */

static const struct page_file *find_file(const struct query *q)
{
    const char *name = q->n_segments ? q->segments[0] : "";

    for (size_t i = 0; q->n_segments <= 1 && i < page_files_count; i++)
        if (strcmp(page_files[i].name, name) == 0)
            return &page_files[i];
    return NULL;
}

static void answer_file(struct http_request *r, const struct page_file *file)
{
    struct http_answer *a = &r->answer;

    if (r->method != HTTP_GET) {
        http_answer_problem(a, 405, "This path takes GET, HEAD.");
        http_answer_header(a, "Allow", "GET, HEAD");
        return;
    }
    http_answer_header(a, "ETag", file->etag);
    a->keepable = true;
    if (r->if_none_match && strstr(r->if_none_match, file->etag)) {
        a->status = 304;
        return;
    }
    a->status = 200;
    a->type = file->type;
    a->fixed = file->data;
    a->fixed_len = file->len;
}

/* ---- Who asks ----------------------------------------------------------------------------- */

static bool identify(struct api *api, struct http_request *r, struct principal *who)
{
    if (r->authorization)
        return auth_bearer(api->auth, r->authorization, who);
    return r->cookie && auth_cookie(api->auth, r->cookie, clock_wall_ms(api->o.clock), who);
}

static void answer_unauthorized(struct api *api, struct http_request *r)
{
    int64_t now_ms = clock_mono_ms(api->o.clock);

    if (r->authorization && auth_failures(api->auth, r->peer, now_ms) >= AUTH_BEARERS_MOST) {
        char wait[16];
        snprintf(wait, sizeof wait, "%d", auth_retry_after_s(api->auth, r->peer, now_ms));
        http_answer_problem(&r->answer, 429, "Too many wrong keys from this address.");
        http_answer_header(&r->answer, "Retry-After", wait);
        return;
    }
    if (r->authorization)
        auth_failed(api->auth, r->peer, now_ms);
    http_answer_problem(&r->answer, 401, "Send a valid key: \"Authorization: Bearer KEY\".");
    http_answer_header(&r->answer, "WWW-Authenticate", "Bearer realm=\"enerlink\"");
}

static bool is_open(const struct match *m)
{
    return (m->path && m->path->openness == OPEN_PATH) ||
           (m->route && m->route->openness == OPEN_METHOD);
}

/* False when the request was answered: not allowed to go on. */
static bool admit(struct api *api, struct http_request *r, struct match *m)
{
    if (is_open(m))
        return true;
    if (!identify(api, r, &m->call.who)) {
        answer_unauthorized(api, r);
        return false;
    }
    if (m->call.who.by_cookie && r->method != HTTP_GET && !is_same_origin(r)) {
        http_answer_problem(&r->answer, 403, "Writes by cookie must come from this server's page.");
        return false;
    }
    return true;
}

void api_handle(void *ctx, struct http_request *r)
{
    struct api *api = ctx;
    const struct page_file *file = find_file(&r->query);

    if (file) {
        answer_file(r, file);
        return;
    }
    struct match m = find_route(r);
    if (!admit(api, r, &m))
        return;
    if (!m.path)
        http_answer_problem(&r->answer, 404, "There is nothing at this path.");
    else if (!m.route)
        answer_wrong_method(r, m.path->pattern);
    else if (m.call.meter_id && !meter_id_valid(m.call.meter_id, strlen(m.call.meter_id)))
        http_answer_problem(&r->answer, 400,
                            "meterId has 1 to 64 letters, digits, '.', '_' or '-' and begins with "
                            "a letter or digit.");
    else if (!is_open(&m) && !access_allowed(&m.call.who, m.call.meter_id))
        http_answer_problem(&r->answer, 403, "This key may not do that.");
    else
        m.route->fn(api, r, &m.call);
}

bool param_integer(const struct http_request *r, const char *name, int64_t lo, int64_t hi,
                   int64_t fallback, int64_t *out, struct err *e)
{
    const char *text;
    char *end;

    *out = fallback;
    if (!query_get(&r->query, name, &text, e))
        return false;
    if (!text)
        return true;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (text[strspn(text, "0123456789")] || end == text || errno || n < lo || n > hi)
        return err_set(e, ERR_INPUT, "%s must be a whole number from %lld to %lld", name,
                       (long long)lo, (long long)hi);
    *out = n;
    return true;
}
