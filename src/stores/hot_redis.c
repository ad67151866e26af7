#include "stores/hot_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    DEFAULT_TIMEOUT_MS = 5000,
    DEFAULT_SAFETY_EXPIRY_S = 7 * 24 * 3600,
    DEFAULT_QUARANTINE_BYTES = 64 * 1024 * 1024,
    QUARANTINE_ENTRY_BYTES = 2600, /* a full payload with its fields, in Redis */
    WAITING_LOOKED_AT = 1000,
};

bool redis_number(const char *s, size_t len, int64_t *out)
{
    bool negative = len && *s == '-';
    int64_t n = 0;

    if (len == (size_t)negative || len > 18)
        return false;
    for (size_t i = negative; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        n = n * 10 + (s[i] - '0');
    }
    *out = negative ? -n : n;
    return true;
}

/* ---- Health ------------------------------------------------------------------------------- */

static bool put_health(struct hot *h, const char *stage, const char *json, struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    redis_command(l, 4);
    redis_text(l, "HSET");
    redis_text(l, KEY_HEALTH);
    redis_text(l, stage);
    redis_text(l, json);
    redisReply *reply = redis_ask(l, REDIS_REPLY_INTEGER, e);
    freeReplyObject(reply);
    return reply != NULL;
}

struct stage_health {
    const redisReply *stage, *json;
};

static int compare_stages(const void *a, const void *b)
{
    const struct stage_health *x = a, *y = b;

    return strcmp(x->stage->str, y->stage->str);
}

static void add_health(const redisReply *pairs, struct buf *out)
{
    size_t n = pairs->elements / 2;
    struct stage_health *stages = xcalloc(n + 1, sizeof *stages);

    for (size_t i = 0; i < n; i++)
        stages[i] = (struct stage_health){pairs->element[2 * i], pairs->element[2 * i + 1]};
    qsort(stages, n, sizeof *stages, compare_stages);
    buf_addc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_addc(out, ',');
        buf_add_json_string(out, stages[i].stage->str, stages[i].stage->len);
        buf_addc(out, ':');
        buf_add(out, stages[i].json->str, stages[i].json->len);
    }
    buf_addc(out, '}');
    free(stages);
}

static bool get_health(struct hot *h, struct buf *out, struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    redis_command(l, 2);
    redis_text(l, "HGETALL");
    redis_text(l, KEY_HEALTH);
    redisReply *pairs = redis_ask_strings(l, e);
    if (!pairs)
        return false;
    add_health(pairs, out);
    freeReplyObject(pairs);
    return true;
}

/* ---- Durability and use of the server ----------------------------------------------------- */

enum setting { APPENDONLY, APPENDFSYNC, MAXMEMORY, POLICY, SETTINGS };

static const char *const setting_names[SETTINGS] = {
    [APPENDONLY] = "appendonly",
    [APPENDFSYNC] = "appendfsync",
    [MAXMEMORY] = "maxmemory",
    [POLICY] = "maxmemory-policy",
};

static void read_settings(const redisReply *pairs, const char *out[SETTINGS])
{
    for (size_t i = 0; i < SETTINGS; i++)
        out[i] = "";
    for (size_t i = 0; i + 1 < pairs->elements; i += 2)
        for (size_t s = 0; s < SETTINGS; s++)
            if (strcmp(pairs->element[i]->str, setting_names[s]) == 0)
                out[s] = pairs->element[i + 1]->str;
}

static void judge(const char *const settings[SETTINGS], struct hot_durability *out)
{
    struct buf text;

    buf_init(&text, 0);
    if (strcmp(settings[APPENDONLY], "yes") != 0)
        buf_addf(&text, "appendonly is '%s': a crash loses what was confirmed (set it to yes); ",
                 settings[APPENDONLY]);
    else if (strcmp(settings[APPENDFSYNC], "always") != 0)
        buf_addf(&text, "appendfsync is '%s': a power cut loses seconds (set it to always); ",
                 settings[APPENDFSYNC]);
    if (strcmp(settings[MAXMEMORY], "0") != 0 && strcmp(settings[POLICY], "noeviction") != 0)
        buf_addf(&text, "maxmemory-policy is '%s': data may be evicted (set it to noeviction); ",
                 settings[POLICY]);
    out->sound = text.len == 0;
    snprintf(out->text, sizeof out->text, "%.*s", text.len ? (int)text.len - 2 : 0,
             text.len ? text.data : "");
    buf_clear(&text);
}

/*
 * A server that keeps its settings to itself (by ACL or by renaming CONFIG) may be sound; it
 * cannot be relied on to be.
 */
static bool keeps_settings(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR &&
           (strncmp(reply->str, "NOPERM", 6) == 0 || strncmp(reply->str, "ERR", 3) == 0);
}

static bool judge_reply(struct redis_link *l, const redisReply *reply, struct hot_durability *out,
                        struct err *e)
{
    const char *settings[SETTINGS];

    if (keeps_settings(reply)) {
        snprintf(out->text, sizeof out->text,
                 "the server does not tell its settings, so what a crash loses is not known (%s)",
                 reply->str);
        return true;
    }
    if (reply->type == REDIS_REPLY_ERROR)
        return redis_refuse(l, e, "%s", reply->str);
    if (!redis_all_strings(reply))
        return redis_refuse(l, e, "CONFIG GET answered with no list of settings");
    read_settings(reply, settings);
    judge(settings, out);
    return true;
}

static bool durability(struct hot *h, struct hot_durability *out, struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    *out = (struct hot_durability){0};
    redis_command(l, 2 + SETTINGS);
    redis_text(l, "CONFIG");
    redis_text(l, "GET");
    for (size_t i = 0; i < SETTINGS; i++)
        redis_text(l, setting_names[i]);
    if (!redis_send(l, e))
        return false;
    redisReply *reply = redis_reply_or_error(l, e);
    if (!reply)
        return false;
    bool ok = judge_reply(l, reply, out, e);
    freeReplyObject(reply);
    return ok;
}

/* The number behind "\r\nname:" in the text of INFO; 0 when it is not there. */
static uint64_t info_number(const char *info, const char *name)
{
    char line[48];

    snprintf(line, sizeof line, "\n%s:", name);
    const char *at = strstr(info, line);
    return at ? strtoull(at + strlen(line), NULL, 10) : 0;
}

static void take_oldest(const redisReply *minutes, struct hot_usage *out)
{
    int64_t seconds, oldest = INT64_MAX;

    for (size_t i = 0; i < minutes->elements; i++)
        if (redis_number(minutes->element[i]->str, minutes->element[i]->len, &seconds) &&
            seconds < oldest)
            oldest = seconds;
    out->oldest_waiting_ms = oldest == INT64_MAX ? 0 : oldest * 1000;
}

static void write_usage(struct redis_link *l)
{
    redis_command(l, 2);
    redis_text(l, "INFO");
    redis_text(l, "memory");
    redis_command(l, 2);
    redis_text(l, "ZCARD");
    redis_text(l, KEY_DIRTY);
    redis_command(l, 2);
    redis_text(l, "XLEN");
    redis_text(l, KEY_QUARANTINE);
    /* Due first is oldest but for what was marked again: look at the first ones. */
    redis_command(l, 4);
    redis_text(l, "ZRANGE");
    redis_text(l, KEY_DIRTY);
    redis_int(l, 0);
    redis_int(l, WAITING_LOOKED_AT - 1);
}

static bool usage(struct hot *h, struct hot_usage *out, struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;
    redisReply *info = NULL, *waiting = NULL, *quarantined = NULL, *minutes = NULL;

    *out = (struct hot_usage){0};
    write_usage(l);
    bool ok = redis_send(l, e) && (info = redis_reply(l, REDIS_REPLY_STRING, e)) &&
              (waiting = redis_reply(l, REDIS_REPLY_INTEGER, e)) &&
              (quarantined = redis_reply(l, REDIS_REPLY_INTEGER, e)) &&
              (minutes = redis_reply_strings(l, e));
    if (ok) {
        out->memory_bytes = info_number(info->str, "used_memory");
        out->memory_most_bytes = info_number(info->str, "maxmemory");
        out->minutes_waiting = (uint64_t)waiting->integer;
        out->quarantined = (uint64_t)quarantined->integer;
        take_oldest(minutes, out);
    }
    freeReplyObject(info);
    freeReplyObject(waiting);
    freeReplyObject(quarantined);
    freeReplyObject(minutes);
    return ok;
}

/* ---- Open and close ----------------------------------------------------------------------- */

static void close_redis(struct hot *h)
{
    struct hot_redis *r = hot_redis_of(h);

    redis_link_close(r->link);
    hot_redis_forget_writer(r);
    put_groups_free(r->groups);
    free(r);
}

static const struct hot_ops redis_ops = {
    .store = hot_redis_store,
    .latest_times = hot_redis_latest_times,
    .due_minutes = hot_redis_due_minutes,
    .claim = hot_redis_claim,
    .recover = hot_redis_recover,
    .release = hot_redis_release,
    .mark = hot_redis_mark,
    .read = hot_redis_read,
    .trim = hot_redis_trim,
    .silent = hot_redis_silent,
    .drop_silent = hot_redis_drop_silent,
    .latest = hot_redis_latest,
    .meters = hot_redis_meters,
    .put_health = put_health,
    .get_health = get_health,
    .durability = durability,
    .usage = usage,
    .quarantine = hot_redis_quarantine,
    .take_writer = hot_redis_take_writer,
    .close = close_redis,
};

/* A setting of 0 means the default. */
struct hot *hot_redis_open(const struct hot_redis_options *o, struct err *e)
{
    int timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
    size_t bytes = o->quarantine_bytes ? o->quarantine_bytes : DEFAULT_QUARANTINE_BYTES;
    struct redis_link *link = redis_link_open(o->url, timeout_ms, e);

    if (!link)
        return NULL;
    struct hot_redis *r = xcalloc(1, sizeof *r);
    r->hot.ops = &redis_ops;
    r->link = link;
    r->quarantine_entries = bytes / QUARANTINE_ENTRY_BYTES + 1;
    r->safety_expiry_s = o->safety_expiry_s > 0 ? o->safety_expiry_s : DEFAULT_SAFETY_EXPIRY_S;
    r->groups = put_groups_new();
    return &r->hot;
}
