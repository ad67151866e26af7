#include "app/up_servers.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/url.h"

/* PONG means more than listening: the append-only file has been read. */
static bool redis_ready(void *ctx)
{
    const struct up_redis *r = ctx;
    struct timeval timeout = {.tv_usec = 200000};
    redisContext *c = redisConnectUnixWithTimeout(r->socket_path, timeout);
    bool ready = false;

    if (c && !c->err && redisSetTimeout(c, timeout) == REDIS_OK) {
        redisReply *reply = redisCommand(c, "PING");
        ready = reply && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "PONG") == 0;
        if (reply)
            freeReplyObject(reply);
    }
    if (c)
        redisFree(c);
    return ready;
}

static void write_url(struct up_redis *r)
{
    struct buf url;

    buf_init(&url, sizeof r->server.url - 1);
    buf_adds(&url, "unix://");
    url_add_path(&url, r->socket_path);
    snprintf(r->server.url, sizeof r->server.url, "%s", url.data);
    buf_clear(&url);
}

bool up_redis_prepare(struct up_redis *r, const struct up_dir *d, struct err *e)
{
    enum { SOCKET_ROOM = 16 };
    char sockets[PATH_MAX];

    *r = (struct up_redis){0};
    if (!up_server_init(&r->server, d, "redis", "redis", e) ||
        !up_find_program("redis-server", "redis-server", r->server.program, e) ||
        !up_server_sockets(&r->server, d, sockets, e))
        return false;
    snprintf(r->socket_path, sizeof r->socket_path, "%.*s/redis.sock", PATH_MAX - SOCKET_ROOM,
             sockets);
    write_url(r);
    snprintf(r->maxmemory, sizeof r->maxmemory, "%llu",
             (unsigned long long)(up_memory_bytes() / 3));
    /* What is confirmed is on disk (appendfsync always), and nothing is ever evicted. */
    const char *const argv[] = {"redis-server",
                                "--port",
                                "0",
                                "--unixsocket",
                                r->socket_path,
                                "--unixsocketperm",
                                "700",
                                "--daemonize",
                                "no",
                                "--dir",
                                r->server.folder,
                                "--appendonly",
                                "yes",
                                "--appendfsync",
                                "always",
                                "--save",
                                "",
                                "--maxmemory",
                                r->maxmemory,
                                "--maxmemory-policy",
                                "noeviction",
                                NULL};
    _Static_assert(sizeof argv <= sizeof r->server.argv, "room for redis-server's arguments");
    memcpy(r->server.argv, argv, sizeof argv);
    r->server.service.probe = redis_ready;
    r->server.service.ctx = r;
    return true;
}
