#include "stores/redis_link.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"

enum { DEFAULT_PORT = 6379, READ_SIZE = 16 * 1024, COMMANDS_KEPT = 4 * 1024 * 1024 };

struct redis_link {
    char *host; /* or path of the socket, when is_unix */
    bool is_unix;
    int port;
    char *user, *password; /* NULL: none */
    int db;
    int timeout_ms;

    redisContext *c; /* NULL: not connected */
    struct buf commands;
    size_t written;   /* commands in it */
    size_t awaited;   /* replies still to come */
    size_t words;     /* still missing of the command being written */
    int64_t until_ms; /* when the exchange under way times out */
};

/* ---- The address -------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* A part of a URL with its %xx read; NULL when it holds a malformed one or a NUL. */
static char *url_part(const char *s, size_t len)
{
    char *out = xmalloc(len + 1);
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_digit(s[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_digit(s[i + 2]);
            c = low < 0 ? '\0' : (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0') {
            free(out);
            return NULL;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return out;
}

/* "user:pass", ":pass" or "pass" */
static bool read_credentials(struct redis_link *l, const char *s, size_t len)
{
    const char *colon = memchr(s, ':', len);
    size_t user_len = colon ? (size_t)(colon - s) : 0;
    const char *password = colon ? colon + 1 : s;

    if (user_len && !(l->user = url_part(s, user_len)))
        return false;
    l->password = url_part(password, (size_t)(s + len - password));
    return l->password != NULL;
}

static bool read_number(const char *s, size_t len, int most, int *out)
{
    int n = 0;

    if (len == 0 || len > 9)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        n = n * 10 + (s[i] - '0');
    }
    *out = n;
    return n <= most;
}

/* "host", "host:port", "[::1]:port" */
static bool read_host(struct redis_link *l, const char *s, size_t len)
{
    const char *end = s + len;
    const char *host = s, *host_end;

    if (len && *s == '[') {
        host = s + 1;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (!host_end)
            return false;
        s = host_end + 1;
    } else {
        host_end = memchr(s, ':', len);
        if (!host_end)
            host_end = end;
        s = host_end;
    }
    if (host_end == host)
        return false;
    l->host = xstrndup(host, (size_t)(host_end - host));
    l->port = DEFAULT_PORT;
    if (s == end)
        return true;
    return *s == ':' && read_number(s + 1, (size_t)(end - s - 1), 65535, &l->port) && l->port > 0;
}

static bool read_url(struct redis_link *l, const char *url)
{
    l->is_unix = strncmp(url, "unix://", 7) == 0;
    if (!l->is_unix && strncmp(url, "redis://", 8) != 0)
        return false;
    const char *s = url + (l->is_unix ? 7 : 8);
    const char *path = strchr(s, '/');
    const char *end = path ? path : s + strlen(s);
    const char *at = memrchr(s, '@', (size_t)(end - s));

    if (at) {
        if (!read_credentials(l, s, (size_t)(at - s)))
            return false;
        s = at + 1;
    }
    if (l->is_unix) {
        if (s != path)
            return false;
        l->host = url_part(path, strlen(path));
        return l->host != NULL;
    }
    if (!read_host(l, s, (size_t)(end - s)))
        return false;
    return !path || path[1] == '\0' || read_number(path + 1, strlen(path + 1), 1 << 20, &l->db);
}

struct redis_link *redis_link_open(const char *url, int timeout_ms, struct err *e)
{
    struct redis_link *l = xcalloc(1, sizeof *l);

    buf_init(&l->commands, 0);
    l->timeout_ms = timeout_ms;
    if (read_url(l, url))
        return l;
    redis_link_close(l);
    err_set(e, ERR_FATAL,
            "the address of Redis is not of the form redis://[user:password@]host:port[/db] or "
            "unix:///path (the characters %% / : @ of a password are written as %%25 %%2F %%3A "
            "%%40)");
    return NULL;
}

static void drop(struct redis_link *l)
{
    if (l->c)
        redisFree(l->c);
    l->c = NULL;
    buf_reset(&l->commands);
    l->written = l->awaited = l->words = 0;
}

void redis_link_close(struct redis_link *l)
{
    drop(l);
    buf_clear(&l->commands);
    free(l->user);
    free(l->password);
    free(l->host);
    free(l);
}

static bool fail(struct redis_link *l, struct err *e, const char *text)
{
    drop(l);
    if (l->is_unix)
        return err_set(e, ERR_RETRY, "redis %s: %s", l->host, text);
    return err_set(e, ERR_RETRY, "redis %s:%d: %s", l->host, l->port, text);
}

bool redis_refuse(struct redis_link *l, struct err *e, const char *fmt, ...)
{
    char text[sizeof e->text];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return fail(l, e, text);
}

/* ---- Writing commands --------------------------------------------------------------------- */

enum { NUMBER_SIZE = 24 };

/* The decimal digits of n, ending at end; returns where they begin. */
static char *digits_of(uint64_t n, char *end)
{
    do
        *--end = (char)('0' + n % 10);
    while (n /= 10);
    return end;
}

/* "*3\r\n", "$11\r\n": the head of an array or of a string in the protocol of Redis. */
static char *put_head(char *at, char kind, size_t n)
{
    char number[NUMBER_SIZE];
    char *digits = digits_of(n, number + sizeof number);
    size_t len = (size_t)(number + sizeof number - digits);

    *at++ = kind;
    memcpy(at, digits, len);
    memcpy(at + len, "\r\n", 2);
    return at + len + 2;
}

void redis_command(struct redis_link *l, size_t n)
{
    assert(l->words == 0 && l->awaited == 0);
    char *at = buf_reserve(&l->commands, NUMBER_SIZE + 3);
    l->commands.len += (size_t)(put_head(at, '*', n) - at);
    l->words = n;
    l->written++;
}

static void add_word(struct redis_link *l, const char *prefix, size_t prefix_len, const void *bytes,
                     size_t len)
{
    size_t word_len = prefix_len + len;
    char *begin = buf_reserve(&l->commands, word_len + NUMBER_SIZE + 5);
    char *at = put_head(begin, '$', word_len);

    assert(l->words > 0);
    l->words--;
    memcpy(at, prefix, prefix_len);
    if (len)
        memcpy(at + prefix_len, bytes, len);
    memcpy(at + word_len, "\r\n", 2);
    l->commands.len += (size_t)(at + word_len + 2 - begin);
}

void redis_bytes(struct redis_link *l, const void *bytes, size_t len)
{
    add_word(l, "", 0, bytes, len);
}

void redis_text(struct redis_link *l, const char *s)
{
    add_word(l, "", 0, s, strlen(s));
}

void redis_joined(struct redis_link *l, const char *prefix, const char *s)
{
    add_word(l, prefix, strlen(prefix), s, strlen(s));
}

void redis_joined_int(struct redis_link *l, const char *prefix, int64_t n)
{
    char number[NUMBER_SIZE];
    char *end = number + sizeof number;
    char *digits = digits_of(n < 0 ? 0 - (uint64_t)n : (uint64_t)n, end);

    if (n < 0)
        *--digits = '-';
    add_word(l, prefix, strlen(prefix), digits, (size_t)(end - digits));
}

void redis_int(struct redis_link *l, int64_t n)
{
    redis_joined_int(l, "", n);
}

size_t redis_commands_written(const struct redis_link *l)
{
    return l->written;
}

/* ---- Sending and receiving ---------------------------------------------------------------- */

static bool wait_for(struct redis_link *l, short events, struct err *e)
{
    struct pollfd p = {.fd = l->c->fd, .events = events};

    for (;;) {
        int64_t left = l->until_ms - clock_mono_ms(clock_system());
        int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (ready > 0)
            return true;
        if (ready == 0)
            return redis_refuse(l, e, "no answer within %d ms", l->timeout_ms);
        if (errno != EINTR)
            return redis_refuse(l, e, "waiting: %s", strerror(errno));
    }
}

static bool send_commands(struct redis_link *l, struct err *e)
{
    size_t sent = 0;

    assert(l->words == 0);
    l->until_ms = clock_mono_ms(clock_system()) + l->timeout_ms;
    while (sent < l->commands.len) {
        ssize_t n = send(l->c->fd, l->commands.data + sent, l->commands.len - sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN) {
            if (!wait_for(l, POLLOUT, e))
                return false;
        } else if (errno != EINTR)
            return redis_refuse(l, e, "sending: %s", strerror(errno));
    }
    l->awaited = l->written;
    l->written = 0;
    if (l->commands.cap > COMMANDS_KEPT)
        buf_clear(&l->commands);
    buf_reset(&l->commands);
    return true;
}

/* In small pieces: the reader of hiredis 0.14 moves what it has not parsed at every reply. */
static bool receive_some(struct redis_link *l, struct err *e)
{
    char piece[READ_SIZE];

    for (;;) {
        ssize_t n = recv(l->c->fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n > 0) {
            if (redisReaderFeed(l->c->reader, piece, (size_t)n) == REDIS_OK)
                return true;
            return redis_refuse(l, e, "%s", l->c->reader->errstr);
        }
        if (n == 0)
            return redis_refuse(l, e, "the server closed the connection");
        if (errno == EAGAIN) {
            if (!wait_for(l, POLLIN, e))
                return false;
        } else if (errno != EINTR)
            return redis_refuse(l, e, "receiving: %s", strerror(errno));
    }
}

redisReply *redis_reply_or_error(struct redis_link *l, struct err *e)
{
    void *reply = NULL;

    assert(l->awaited > 0);
    for (;;) {
        if (redisReaderGetReply(l->c->reader, &reply) != REDIS_OK) {
            redis_refuse(l, e, "%s", l->c->reader->errstr);
            return NULL;
        }
        if (reply)
            break;
        if (!receive_some(l, e))
            return NULL;
    }
    l->awaited--;
    return reply;
}

redisReply *redis_reply(struct redis_link *l, int type, struct err *e)
{
    redisReply *reply = redis_reply_or_error(l, e);

    if (!reply)
        return NULL;
    if (reply->type == REDIS_REPLY_ERROR)
        redis_refuse(l, e, "%s", reply->str);
    else if (type && reply->type != type)
        redis_refuse(l, e, "answered with type %d instead of %d: not a Redis server of version 7?",
                     reply->type, type);
    else
        return reply;
    freeReplyObject(reply);
    return NULL;
}

bool redis_all_strings(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return false;
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->type != REDIS_REPLY_STRING)
            return false;
    return true;
}

redisReply *redis_reply_strings(struct redis_link *l, struct err *e)
{
    redisReply *reply = redis_reply(l, REDIS_REPLY_ARRAY, e);

    if (!reply || redis_all_strings(reply))
        return reply;
    freeReplyObject(reply);
    redis_refuse(l, e, "answered with a list that holds more than strings");
    return NULL;
}

/* ---- Connecting --------------------------------------------------------------------------- */

/* Only the code of a refusal: its text may repeat what was sent. */
static bool expect_welcome(struct redis_link *l, const char *what, struct err *e)
{
    redisReply *reply = redis_reply_or_error(l, e);

    if (!reply)
        return false;
    bool ok = reply->type != REDIS_REPLY_ERROR;
    if (!ok)
        redis_refuse(l, e, "%s refused (%.*s)", what, (int)strcspn(reply->str, " "), reply->str);
    freeReplyObject(reply);
    return ok;
}

static void write_greeting(struct redis_link *l)
{
    if (l->password) {
        redis_command(l, l->user ? 3 : 2);
        redis_text(l, "AUTH");
        if (l->user)
            redis_text(l, l->user);
        redis_text(l, l->password);
    }
    if (l->db) {
        redis_command(l, 2);
        redis_text(l, "SELECT");
        redis_int(l, l->db);
    }
}

static bool greet(struct redis_link *l, struct err *e)
{
    if (!l->password && !l->db)
        return true;
    write_greeting(l);
    if (!send_commands(l, e))
        return false;
    if (l->password && !expect_welcome(l, "user or password", e))
        return false;
    return !l->db || expect_welcome(l, "the number of the database", e);
}

static bool connect_link(struct redis_link *l, struct err *e)
{
    struct timeval timeout = {.tv_sec = l->timeout_ms / 1000,
                              .tv_usec = l->timeout_ms % 1000 * 1000};

    l->c = l->is_unix ? redisConnectUnixWithTimeout(l->host, timeout)
                      : redisConnectWithTimeout(l->host, l->port, timeout);
    if (!l->c)
        return redis_refuse(l, e, "no memory for a connection");
    if (l->c->err)
        return redis_refuse(l, e, "cannot connect: %s", l->c->errstr);
    l->c->reader->maxbuf = 0; /* keep its memory between replies */
    return greet(l, e);
}

/* The commands wait aside while the greeting goes out first. */
static bool ensure_connected(struct redis_link *l, struct err *e)
{
    struct buf commands = l->commands;
    size_t written = l->written;

    if (l->c)
        return true;
    buf_init(&l->commands, 0);
    l->written = 0;
    bool ok = connect_link(l, e);
    buf_clear(&l->commands);
    l->commands = commands;
    l->written = written;
    if (!ok)
        drop(l);
    return ok;
}

bool redis_send(struct redis_link *l, struct err *e)
{
    return ensure_connected(l, e) && send_commands(l, e);
}

redisReply *redis_ask(struct redis_link *l, int type, struct err *e)
{
    return redis_send(l, e) ? redis_reply(l, type, e) : NULL;
}

redisReply *redis_ask_strings(struct redis_link *l, struct err *e)
{
    return redis_send(l, e) ? redis_reply_strings(l, e) : NULL;
}
