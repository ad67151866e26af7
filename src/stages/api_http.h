/*
 * The HTTP server of the API: libmicrohttpd in external epoll mode inside a libev loop, in one
 * thread. It reads requests, refuses those that are not sound before anybody looks at them, hands
 * each to one handler, and sends the answer; it knows nothing of paths, keys or meters.
 *
 * Refused here: more than one Host, Content-Length or Transfer-Encoding; Transfer-Encoding at all;
 * a body on anything but POST; control bytes, NUL, bare CR or LF, folded lines in the head; a Host
 * that is not ours (DNS rebinding); a target that is not an origin form of sound UTF-8.
 *
 * The handler either fills request->answer and returns, or leaves answer.status 0, keeps the
 * pointer, and calls http_finish later. All of it happens in the thread of http_run.
 */
#ifndef STAGES_API_HTTP_H
#define STAGES_API_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "stages/api_query.h"

enum http_method {
    HTTP_GET, /* HEAD too: the answer's body is left out on sending */
    HTTP_POST,
    HTTP_DELETE,
    HTTP_OTHER,
};

enum { HTTP_HEADERS_MOST = 4 };

struct http_header {
    const char *name; /* lives for ever */
    char *value;
};

struct http_answer {
    unsigned status;  /* 0: not answered yet */
    const char *type; /* lives for ever; NULL: no body */
    struct buf body;
    const void *fixed; /* instead of body: bytes that live for ever */
    size_t fixed_len;
    bool keepable; /* a page's file: may be kept if the browser asks each time; else no-store */
    struct http_header headers[HTTP_HEADERS_MOST];
    size_t n_headers;
};

/* One more header; value is copied. */
void http_answer_header(struct http_answer *a, const char *name, const char *value);

/* Make it a problem (RFC 9457), dropping what was there. */
void http_answer_problem(struct http_answer *a, unsigned status, const char *fmt, ...) PRINTF(3, 4);

/* 503 with Retry-After. */
void http_answer_unavailable(struct http_answer *a, const char *detail);

void http_answer_clear(struct http_answer *a);

enum { HTTP_PEER_SIZE = 48 };

struct http_request {
    enum http_method method;
    struct query query;
    const char *path; /* as sent, without parameters; for logs */
    /* Header values, NULL when absent. */
    const char *host, *authorization, *cookie, *origin, *fetch_site, *if_none_match;
    struct buf body;
    char peer[HTTP_PEER_SIZE]; /* address; of an IPv6 address its 64-bit network */
    struct http_answer answer;
    void *user;               /* the handler's, NULL at first */
    struct http_state *state; /* the server's */
};

typedef void http_handler_fn(void *ctx, struct http_request *r);

struct http_options {
    const char *listen;       /* "127.0.0.1:8080", "[::1]:8080", ":8080"; port 0: any */
    const char *const *hosts; /* further names it may be called by, NULL-terminated; may be NULL */
    const struct clock *clock;
    http_handler_fn *handle;
    void *ctx;
    unsigned connections_most;
    unsigned connections_per_ip_most;
    unsigned idle_timeout_s;
    size_t body_most;         /* of a request */
    size_t unsent_bytes_most; /* of all answers together: beyond it, 503 */
};

struct http_server;

/* Binds and listens. NULL and *e when that fails. */
struct http_server *http_open(const struct http_options *o, struct err *e);

/* The loop it runs in, for other watchers of the same thread. */
struct ev_loop;
struct ev_loop *http_loop(const struct http_server *s);

/* Serve until tick, called ten times a second, returns false. */
void http_run(struct http_server *s, bool (*tick)(void *ctx), void *ctx);

int http_port(const struct http_server *s);
uint64_t http_requests(const struct http_server *s);

/* Called before the loop waits: where the handler hands over what it has collected. */
void http_on_idle(struct http_server *s, void (*fn)(void *ctx), void *ctx);

/* answer is filled now: send it. */
void http_finish(struct http_request *r);

/*
 * In this order at the end: no new connections; then, when the caller has finished every request
 * that waits, no connections at all; then the rest. http_close alone is enough when http_run never
 * was called.
 */
void http_quiesce(struct http_server *s);
void http_disconnect(struct http_server *s);
void http_close(struct http_server *s);

#endif
