/*
 * One connection to a Redis server, made when it is first needed and made anew after a failure.
 *
 * Commands are written into the link one after the other, sent together, and answered in order:
 *
 *     redis_command(l, 3); redis_text(l, "HSET"); redis_text(l, key); ...
 *     if (!redis_send(l, e)) return false;
 *     redisReply *r = redis_reply(l, REDIS_REPLY_INTEGER, e);
 *
 * hiredis connects and parses the replies. Writing and waiting are done here, because hiredis
 * 0.14 has a time-out for each read only, and raises SIGPIPE when the server is gone.
 *
 * Every failure, an error reply too, drops the connection, so that no reply can ever be taken for
 * the answer to another command. Errors name the server by host or path, never by password.
 */
#ifndef STORES_REDIS_LINK_H
#define STORES_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "base/err.h"

struct redis_link;

/* A URL of kind URL_REDIS (base/url.h). NULL and *e when it is not. */
struct redis_link *redis_link_open(const char *url, int timeout_ms, struct err *e);
void redis_link_close(struct redis_link *l);

/* Serial number of the connection in use, from 1; 0: none. */
uint64_t redis_connection(const struct redis_link *l);

/* Begin a command of n words; exactly that many of the calls below follow. */
void redis_command(struct redis_link *l, size_t n);
void redis_bytes(struct redis_link *l, const void *bytes, size_t len);
void redis_text(struct redis_link *l, const char *s);
void redis_int(struct redis_link *l, int64_t n);
/* prefix and text, or prefix and number, as one word */
void redis_joined(struct redis_link *l, const char *prefix, const char *s);
void redis_joined_int(struct redis_link *l, const char *prefix, int64_t n);

/* Commands written and not yet sent. */
size_t redis_commands_written(const struct redis_link *l);

/* Send the commands written since the last call; their replies must come within the time-out. */
bool redis_send(struct redis_link *l, struct err *e) MUST_CHECK;

/*
 * The next reply, to be freed by freeReplyObject; NULL and *e when it is an error, not of this
 * type (0: any will do), or does not come.
 */
redisReply *redis_reply(struct redis_link *l, int type, struct err *e) MUST_CHECK;

/* An array in which all are strings. */
redisReply *redis_reply_strings(struct redis_link *l, struct err *e) MUST_CHECK;
bool redis_all_strings(const redisReply *reply);

/* The next reply, also when it is an error: for a caller that goes on then. */
redisReply *redis_reply_or_error(struct redis_link *l, struct err *e) MUST_CHECK;

/* Send, and take the only reply. */
redisReply *redis_ask(struct redis_link *l, int type, struct err *e) MUST_CHECK;
redisReply *redis_ask_strings(struct redis_link *l, struct err *e) MUST_CHECK;

/* Fail because of what a reply contains: drops the connection, fills *e, returns false. */
bool redis_refuse(struct redis_link *l, struct err *e, const char *fmt, ...) PRINTF(3, 4);

#endif
