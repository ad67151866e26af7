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
#include "base/url.h"

enum { READ_SIZE = 16 * 1024, COMMANDS_KEPT = 4 * 1024 * 1024 };

struct redis_link {
    struct url url;
    const char *user, *password; /* in the URL; NULL: none */
    int db;
    int timeout_ms;

    redisContext *c;      /* NULL: not connected */
    uint64_t connections; /* made so far */
    struct buf commands;
    size_t written;   /* commands in it */
    size_t awaited;   /* replies still to come */
    size_t words;     /* still missing of the command being written */
    int64_t until_ms; /* when the exchange under way times out */
};

static bool is_unix(const struct redis_link *l)
{
    return *l->url.host == '\0';
}

/* A name alone before the @ is a password: Redis has had those for longer than users. */
static void take_login(struct redis_link *l)
{
    l->user = l->url.password ? l->url.user : NULL;
    l->password = l->url.password ? l->url.password : l->url.user;
}

struct redis_link *redis_link_open(const char *url, int timeout_ms, struct err *e)
{
    struct redis_link *l = xcalloc(1, sizeof *l);

    buf_init(&l->commands, 0);
    l->timeout_ms = timeout_ms;
    if (!url_parse(url, URL_REDIS, &l->url, e)) {
        redis_link_close(l);
        return NULL;
    }
    take_login(l);
    if (!is_unix(l) && *l->url.path)
        l->db = atoi(l->url.path + 1);
    return l;
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
    url_clear(&l->url);
    free(l);
}

static bool fail(struct redis_link *l, struct err *e, const char *text)
{
    drop(l);
    if (is_unix(l))
        return err_set(e, ERR_RETRY, "redis %s: %s", l->url.path, text);
    return err_set(e, ERR_RETRY, "redis %s:%d: %s", l->url.host, l->url.port, text);
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

uint64_t redis_connection(const struct redis_link *l)
{
    return l->c ? l->connections : 0;
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

    l->c = is_unix(l) ? redisConnectUnixWithTimeout(l->url.path, timeout)
                      : redisConnectWithTimeout(l->url.host, l->url.port, timeout);
    if (!l->c)
        return redis_refuse(l, e, "no memory for a connection");
    if (l->c->err)
        return redis_refuse(l, e, "cannot connect: %s", l->c->errstr);
    l->connections++;
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
