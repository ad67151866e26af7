/*
 * The fence between ingest processes of one name: the last one that took it stores, no other.
 *
 * The name is a key that holds the token of its taker. It is watched before each store, so that
 * EXEC does nothing when another one has taken it since, however long this process was stalled
 * (https://redis.io/docs/latest/develop/using-commands/transactions/). The watch for the next
 * store travels behind EXEC of this one; only a new connection costs a round trip of its own.
 * No other command of the store ends a watch.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stores/hot_redis.h"

static void write_on_name(struct hot_redis *r, const char *command)
{
    redis_command(r->link, 2);
    redis_text(r->link, command);
    redis_joined(r->link, PREFIX_WRITER, r->writer.name);
}

void hot_redis_write_watch(struct hot_redis *r)
{
    if (!r->writer.name)
        return;
    write_on_name(r, "WATCH");
    write_on_name(r, "GET");
}

static bool expect_status(struct hot_redis *r, struct err *e)
{
    redisReply *reply = redis_reply(r->link, REDIS_REPLY_STATUS, e);

    freeReplyObject(reply);
    return reply != NULL;
}

/* Nobody at all is on record after a loss of data: then nobody else has taken the name since. */
static bool is_held_by_another(const redisReply *holder, const char *token)
{
    return holder->type != REDIS_REPLY_NIL &&
           (holder->type != REDIS_REPLY_STRING || strcmp(holder->str, token) != 0);
}

bool hot_redis_read_watch(struct hot_redis *r, struct err *e)
{
    struct hot_writer *w = &r->writer;

    if (!w->name)
        return true;
    if (!expect_status(r, e))
        return false;
    redisReply *holder = redis_reply(r->link, 0, e);
    if (!holder)
        return false;
    w->lost = is_held_by_another(holder, w->token);
    w->watched_on = redis_connection(r->link);
    freeReplyObject(holder);
    return true;
}

bool hot_redis_not_stored(const struct hot_redis *r, struct err *e)
{
    const struct hot_writer *w = &r->writer;

    if (w->lost)
        return err_set(e, ERR_RETRY, "another process stores as %s now", w->name);
    return err_set(e, ERR_RETRY, "who stores as %s was changed meanwhile", w->name);
}

static bool is_watched(const struct hot_redis *r)
{
    return r->writer.watched_on && r->writer.watched_on == redis_connection(r->link);
}

bool hot_redis_may_store(struct hot_redis *r, struct err *e)
{
    if (!r->writer.name)
        return true;
    if (!r->writer.lost && !is_watched(r)) {
        hot_redis_write_watch(r);
        if (!redis_send(r->link, e) || !hot_redis_read_watch(r, e))
            return false;
    }
    return !r->writer.lost || hot_redis_not_stored(r, e);
}

void hot_redis_forget_writer(struct hot_redis *r)
{
    free(r->writer.name);
    free(r->writer.token);
    r->writer = (struct hot_writer){0};
}

/* A watch of before would see the own SET as a change. */
bool hot_redis_take_writer(struct hot *h, const char *name, const char *token, struct err *e)
{
    struct hot_redis *r = hot_redis_of(h);
    struct redis_link *l = r->link;

    hot_redis_forget_writer(r);
    r->writer.name = xstrdup(name);
    r->writer.token = xstrdup(token);
    redis_command(l, 1);
    redis_text(l, "UNWATCH");
    redis_command(l, 3);
    redis_text(l, "SET");
    redis_joined(l, PREFIX_WRITER, name);
    redis_text(l, token);
    hot_redis_write_watch(r);
    return redis_send(l, e) && expect_status(r, e) && expect_status(r, e) &&
           hot_redis_read_watch(r, e);
}
