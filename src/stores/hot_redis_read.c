/* What aggregate and the API read. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stores/hot_redis.h"

/* Meters of a round trip that reads messages of 2 KB, and of one that scans the list of meters. */
enum { MESSAGES_PIPELINE = 64, SCAN_COUNT = 1000 };

static const char *const latest_keys[TOPIC_COUNT] = {
    [TOPIC_DATA] = KEY_LATEST_DATA,
    [TOPIC_STATUS] = KEY_LATEST_STATUS,
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- Members ------------------------------------------------------------------------------ */

static void write_ranges(struct redis_link *l, const char *const *ids, size_t n, int64_t from_ms,
                         int64_t to_ms)
{
    for (size_t i = 0; i < n; i++) {
        redis_command(l, 4);
        redis_text(l, "ZRANGEBYSCORE");
        redis_joined(l, PREFIX_SERIES, ids[i]);
        redis_int(l, from_ms);
        redis_joined_int(l, "(", to_ms);
    }
}

static void give_members(const redisReply *range, size_t meter, hot_member_fn *fn, void *ctx)
{
    for (size_t i = 0; i < range->elements; i++)
        fn(ctx, &(struct hot_member){.meter = meter,
                                     .bytes = range->element[i]->str,
                                     .len = range->element[i]->len});
}

bool hot_redis_read(struct hot *h, const char *const *ids, size_t n, int64_t from_ms, int64_t to_ms,
                    hot_member_fn *fn, void *ctx, struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    for (size_t from = 0; from < n; from += HOT_PIPELINE) {
        size_t count = smaller(n - from, HOT_PIPELINE);
        write_ranges(l, ids + from, count, from_ms, to_ms);
        if (!redis_send(l, e))
            return false;
        for (size_t i = 0; i < count; i++) {
            redisReply *range = redis_reply_strings(l, e);
            if (!range)
                return false;
            give_members(range, from + i, fn, ctx);
            freeReplyObject(range);
        }
    }
    return true;
}

/* ---- Newest messages ---------------------------------------------------------------------- */

static void write_many(struct redis_link *l, const char *command, const char *key,
                       const char *const *ids, size_t n)
{
    redis_command(l, 2 + n);
    redis_text(l, command);
    redis_text(l, key);
    for (size_t i = 0; i < n; i++)
        redis_text(l, ids[i]);
}

/* An array of n, as HMGET and ZMSCORE answer n fields. */
static redisReply *reply_of(struct redis_link *l, size_t n, struct err *e)
{
    redisReply *reply = redis_reply(l, REDIS_REPLY_ARRAY, e);

    if (!reply || reply->elements == n)
        return reply;
    redis_refuse(l, e, "answered with %zu values instead of %zu", reply->elements, n);
    freeReplyObject(reply);
    return NULL;
}

static int64_t message_time(enum topic topic, const redisReply *message)
{
    struct reading r;
    struct reading_report report;

    if (message->type != REDIS_REPLY_STRING ||
        !reading_parse(message->str, message->len, topic, &r, &report))
        return INT64_MIN;
    return r.time_ms;
}

static bool times_of(struct redis_link *l, const char *const *ids, size_t n, int64_t *times,
                     struct err *e)
{
    for (enum topic t = 0; t < TOPIC_COUNT; t++)
        write_many(l, "HMGET", latest_keys[t], ids, n);
    if (!redis_send(l, e))
        return false;
    for (enum topic t = 0; t < TOPIC_COUNT; t++) {
        redisReply *messages = reply_of(l, n, e);
        if (!messages)
            return false;
        for (size_t i = 0; i < n; i++)
            times[i * TOPIC_COUNT + t] = message_time(t, messages->element[i]);
        freeReplyObject(messages);
    }
    return true;
}

bool hot_redis_latest_times(struct hot *h, const char *const *ids, size_t n, int64_t *times,
                            struct err *e)
{
    for (size_t from = 0; from < n; from += MESSAGES_PIPELINE)
        if (!times_of(hot_redis_of(h)->link, ids + from, smaller(n - from, MESSAGES_PIPELINE),
                      times + from * TOPIC_COUNT, e))
            return false;
    return true;
}

static char *copy_text(const redisReply *value, size_t *len)
{
    if (value->type != REDIS_REPLY_STRING)
        return NULL;
    *len = value->len;
    return xstrndup(value->str, value->len);
}

static bool take_messages(struct redis_link *l, enum topic topic, size_t n, struct hot_latest *out,
                          struct err *e)
{
    redisReply *messages = reply_of(l, n, e);

    if (!messages)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (topic == TOPIC_DATA)
            out[i].data = copy_text(messages->element[i], &out[i].data_len);
        else
            out[i].status = copy_text(messages->element[i], &out[i].status_len);
    }
    freeReplyObject(messages);
    return true;
}

static bool take_seen(struct redis_link *l, size_t n, struct hot_latest *out, struct err *e)
{
    redisReply *scores = reply_of(l, n, e);

    if (!scores)
        return false;
    for (size_t i = 0; i < n; i++) {
        const redisReply *score = scores->element[i];
        if (score->type == REDIS_REPLY_STRING)
            redis_number(score->str, score->len, &out[i].seen_ms);
    }
    freeReplyObject(scores);
    return true;
}

/* Fills out[i] for the meters it names. */
static bool fill_latest(struct redis_link *l, const char *const *ids, size_t n,
                        struct hot_latest *out, struct err *e)
{
    write_many(l, "ZMSCORE", KEY_SEEN, ids, n);
    for (enum topic t = 0; t < TOPIC_COUNT; t++)
        write_many(l, "HMGET", latest_keys[t], ids, n);
    if (!redis_send(l, e) || !take_seen(l, n, out, e))
        return false;
    for (enum topic t = 0; t < TOPIC_COUNT; t++)
        if (!take_messages(l, t, n, out, e))
            return false;
    return true;
}

bool hot_redis_latest(struct hot *h, const char *const *ids, size_t n, struct hot_latest *out,
                      struct err *e)
{
    bool ok = true;

    for (size_t i = 0; i < n; i++) {
        out[i] = (struct hot_latest){0};
        strncpy(out[i].meter_id, ids[i], sizeof out[i].meter_id - 1);
    }
    for (size_t from = 0; ok && from < n; from += MESSAGES_PIPELINE)
        ok = fill_latest(hot_redis_of(h)->link, ids + from, smaller(n - from, MESSAGES_PIPELINE),
                         out + from, e);
    if (!ok)
        hot_latest_clear(out, n);
    return ok;
}

/* ---- Meters ------------------------------------------------------------------------------- */

static bool silent_ids(struct redis_link *l, int64_t before_ms, size_t most, struct hot_ids *out,
                       struct err *e)
{
    redis_command(l, 7);
    redis_text(l, "ZRANGEBYSCORE");
    redis_text(l, KEY_SEEN);
    redis_text(l, "-inf");
    redis_joined_int(l, "(", before_ms);
    redis_text(l, "LIMIT");
    redis_int(l, 0);
    redis_int(l, (int64_t)most);
    redisReply *reply = redis_ask_strings(l, e);
    if (!reply)
        return false;
    for (size_t i = 0; i < reply->elements && i < most; i++)
        if (reply->element[i]->len < METER_ID_SIZE)
            hot_ids_add(out, reply->element[i]->str, reply->element[i]->len);
    freeReplyObject(reply);
    return true;
}

bool hot_redis_silent(struct hot *h, int64_t before_ms, size_t most, struct hot_latest *out,
                      size_t *n, struct err *e)
{
    struct hot_ids ids = {0};
    const char **names = NULL;
    bool ok = false;

    *n = 0;
    if (!silent_ids(hot_redis_of(h)->link, before_ms, most, &ids, e))
        goto out;
    names = xcalloc(ids.n + 1, sizeof *names);
    for (size_t i = 0; i < ids.n; i++)
        names[i] = ids.ids[i];
    ok = hot_redis_latest(h, names, ids.n, out, e);
    if (ok)
        *n = ids.n;
out:
    free(names);
    hot_ids_clear(&ids);
    return ok;
}

/* before, meters. One that was heard of again since stays. */
static const char drop_script[] = "#!lua flags=allow-oom\n"
                                  "for i = 2, #ARGV do\n"
                                  "  local seen = redis.call('ZSCORE', '" KEY_SEEN "', ARGV[i])\n"
                                  "  if not seen or tonumber(seen) < tonumber(ARGV[1]) then\n"
                                  "    redis.call('HDEL', '" KEY_LATEST_DATA "', ARGV[i])\n"
                                  "    redis.call('HDEL', '" KEY_LATEST_STATUS "', ARGV[i])\n"
                                  "    redis.call('ZREM', '" KEY_SEEN "', ARGV[i])\n"
                                  "  end\n"
                                  "end\n";

bool hot_redis_drop_silent(struct hot *h, const struct hot_latest *latest, size_t n,
                           int64_t before_ms, struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    for (size_t from = 0; from < n; from += HOT_PIPELINE) {
        size_t count = smaller(n - from, HOT_PIPELINE);
        redis_command(l, 4 + count);
        redis_text(l, "EVAL");
        redis_text(l, drop_script);
        redis_int(l, 0);
        redis_int(l, before_ms);
        for (size_t i = 0; i < count; i++)
            redis_text(l, latest[from + i].meter_id);
        redisReply *reply = redis_ask(l, REDIS_REPLY_NIL, e);
        if (!reply)
            return false;
        freeReplyObject(reply);
    }
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void keep_after(const redisReply *pairs, const char *after, struct hot_ids *out)
{
    for (size_t i = 0; i + 1 < pairs->elements; i += 2) {
        const redisReply *id = pairs->element[i];
        if (id->len < METER_ID_SIZE && strcmp(id->str, after) > 0)
            hot_ids_add(out, id->str, id->len);
    }
}

/* One page of ZSCAN; cursor becomes that of the next, "0" after the last. */
static bool scan_page(struct redis_link *l, char cursor[24], const char *after, struct hot_ids *out,
                      struct err *e)
{
    redis_command(l, 5);
    redis_text(l, "ZSCAN");
    redis_text(l, KEY_SEEN);
    redis_text(l, cursor);
    redis_text(l, "COUNT");
    redis_int(l, SCAN_COUNT);
    redisReply *page = redis_ask(l, REDIS_REPLY_ARRAY, e);
    if (!page)
        return false;
    bool ok = page->elements == 2 && page->element[0]->type == REDIS_REPLY_STRING &&
              page->element[0]->len < 24 && redis_all_strings(page->element[1]);
    if (ok) {
        strcpy(cursor, page->element[0]->str);
        keep_after(page->element[1], after, out);
    } else
        redis_refuse(l, e, "ZSCAN answered with %zu values", page->elements);
    freeReplyObject(page);
    return ok;
}

/* In order and each once: a scan may name one twice. */
static void order_ids(struct hot_ids *ids)
{
    size_t kept = 0;

    if (ids->n == 0)
        return;
    qsort(ids->ids, ids->n, sizeof *ids->ids, compare_ids);
    for (size_t i = 1; i < ids->n; i++)
        if (strcmp(ids->ids[kept], ids->ids[i]) != 0)
            memmove(ids->ids[++kept], ids->ids[i], sizeof *ids->ids);
    ids->n = kept + 1;
}

/* By scanning: ordered by score, the set has no order of ids, and ranks shift while one pages. */
bool hot_redis_meters(struct hot *h, const char *after, size_t most, struct hot_ids *out,
                      struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;
    char cursor[24] = "0";

    out->n = 0;
    do
        if (!scan_page(l, cursor, after, out, e)) {
            out->n = 0;
            return false;
        }
    while (strcmp(cursor, "0") != 0);
    order_ids(out);
    out->n = smaller(out->n, most);
    return true;
}

/* ---- Quarantine --------------------------------------------------------------------------- */

static void take_field(const redisReply *name, const redisReply *value, struct hot_quarantined *q)
{
    const struct {
        const char *name;
        char **text;
    } fields[] = {
        {"reason", &q->reason},  {"detail", &q->detail},   {"topic", &q->topic},
        {"meter", &q->meter_id}, {"payload", &q->payload},
    };

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(fields[i].name, name->str) != 0 || *fields[i].text)
            continue;
        *fields[i].text = xmalloc(value->len + 1);
        memcpy(*fields[i].text, value->str, value->len + 1);
        if (fields[i].text == &q->payload)
            q->payload_len = value->len;
    }
}

static void fill_missing(struct hot_quarantined *q)
{
    char **texts[] = {&q->reason, &q->detail, &q->topic, &q->meter_id, &q->payload};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!*texts[i])
            *texts[i] = xstrdup("");
}

static bool take_entry(const redisReply *entry, struct hot_quarantined *q)
{
    *q = (struct hot_quarantined){0};
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
        entry->element[0]->len >= sizeof q->id || !redis_all_strings(entry->element[1]))
        return false;
    strcpy(q->id, entry->element[0]->str);
    const redisReply *fields = entry->element[1];
    for (size_t i = 0; i + 1 < fields->elements; i += 2)
        take_field(fields->element[i], fields->element[i + 1], q);
    fill_missing(q);
    return true;
}

bool hot_redis_quarantine(struct hot *h, size_t most, struct hot_quarantined *out, size_t *n,
                          struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    *n = 0;
    redis_command(l, 6);
    redis_text(l, "XREVRANGE");
    redis_text(l, KEY_QUARANTINE);
    redis_text(l, "+");
    redis_text(l, "-");
    redis_text(l, "COUNT");
    redis_int(l, (int64_t)most);
    redisReply *entries = redis_ask(l, REDIS_REPLY_ARRAY, e);
    if (!entries)
        return false;
    for (size_t i = 0; i < entries->elements && *n < most; i++)
        if (take_entry(entries->element[i], &out[*n]))
            (*n)++;
    freeReplyObject(entries);
    return true;
}
