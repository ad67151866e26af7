/*
 * The list of minutes, and the steps on it that must happen wholly or not at all.
 *
 * Each step is a script. All may run when memory is full: they are what makes room again. They
 * are sent in full each time, since they are called a few times a minute and the server knows a
 * script it has seen by its hash.
 *
 * A set of meters exists under PREFIX_DIRTY exactly when its minute is in KEY_DIRTY, and under
 * PREFIX_WORK exactly when KEY_WORK names it: store and these scripts keep both in step.
 */
#include <stdlib.h>
#include <string.h>

#include "core/when.h"
#include "stores/hot_redis.h"

#define SCRIPT "#!lua flags=allow-oom\n"

/* unpack() takes some thousands of values at most. */
#define DEFINE_MARK                                                                                \
    "local function mark(minute, due, from)\n"                                                     \
    "  for i = from, #ARGV, 1000 do\n"                                                             \
    "    redis.call('SADD', '" PREFIX_DIRTY "' .. minute,\n"                                       \
    "               unpack(ARGV, i, math.min(i + 999, #ARGV)))\n"                                  \
    "  end\n"                                                                                      \
    "  redis.call('ZADD', '" KEY_DIRTY "', 'LT', due, minute)\n"                                   \
    "end\n"

/* minute, due, meters */
static const char mark_script[] = SCRIPT DEFINE_MARK "mark(ARGV[1], ARGV[2], 3)\n";

/* minute, token. A claim whose answer was lost is repeated: what is held already stays held. */
static const char claim_script[] = SCRIPT "local dirty = '" PREFIX_DIRTY "' .. ARGV[1]\n"
                                          "local entry = ARGV[1] .. ':' .. ARGV[2]\n"
                                          "local work = '" PREFIX_WORK "' .. entry\n"
                                          "if redis.call('EXISTS', work) == 1 then\n"
                                          "  redis.call('SUNIONSTORE', work, work, dirty)\n"
                                          "  redis.call('DEL', dirty)\n"
                                          "elseif redis.call('EXISTS', dirty) == 1 then\n"
                                          "  redis.call('RENAME', dirty, work)\n"
                                          "  redis.call('SADD', '" KEY_WORK "', entry)\n"
                                          "end\n"
                                          "redis.call('ZREM', '" KEY_DIRTY "', ARGV[1])\n";

/* No arguments. Score 0 is due at any time. */
static const char recover_script[] =
    SCRIPT "local entries = redis.call('SMEMBERS', '" KEY_WORK "')\n"
           "for _, entry in ipairs(entries) do\n"
           "  local minute = string.match(entry, '^[^:]*')\n"
           "  local dirty, work = '" PREFIX_DIRTY "' .. minute, '" PREFIX_WORK "' .. entry\n"
           "  if redis.call('SUNIONSTORE', dirty, dirty, work) > 0 then\n"
           "    redis.call('ZADD', '" KEY_DIRTY "', 'LT', 0, minute)\n"
           "  end\n"
           "  redis.call('DEL', work)\n"
           "  redis.call('SREM', '" KEY_WORK "', entry)\n"
           "end\n"
           "return #entries\n";

/* minute, token, due, meters to mark again */
static const char release_script[] =
    SCRIPT DEFINE_MARK "local entry = ARGV[1] .. ':' .. ARGV[2]\n"
                       "redis.call('DEL', '" PREFIX_WORK "' .. entry)\n"
                       "redis.call('SREM', '" KEY_WORK "', entry)\n"
                       "if #ARGV > 3 then mark(ARGV[1], ARGV[3], 4) end\n";

/*
 * cutoff, ttl, meters. A waiting minute needs the members of the minutes beside it too, so these
 * stay; mostly no minute that old waits, and members need not be looked at. A set may expire when
 * no list of waiting meters names its meter; with a long backlog that is not looked for. LT: an
 * expiry that runs already is not put off.
 *
 * That a member's minute does not wait means that it is committed, since both enter together; and
 * nothing can come between the look and the removal.
 */
static const char trim_script[] =
    SCRIPT "local cutoff, ttl = ARGV[1], ARGV[2]\n"
           "local work, known, lists = {}, {}, {}\n"
           "local entries = redis.call('SMEMBERS', '" KEY_WORK "')\n"
           "local few = #entries + redis.call('ZCARD', '" KEY_DIRTY "') <= 64\n"
           "local oldest = math.huge\n"
           "if few then\n"
           "  for i, minute in ipairs(redis.call('ZRANGE', '" KEY_DIRTY "', 0, -1, 'REV')) do\n"
           "    lists[i] = '" PREFIX_DIRTY "' .. minute\n"
           "    oldest = math.min(oldest, tonumber(minute))\n"
           "  end\n"
           "end\n"
           "for _, entry in ipairs(entries) do\n"
           "  local minute = tonumber(string.match(entry, '^[^:]*'))\n"
           "  work[minute] = true\n"
           "  lists[#lists + 1] = '" PREFIX_WORK "' .. entry\n"
           "  oldest = math.min(oldest, minute)\n"
           "end\n"
           "local all_free = few and (oldest - 60) * 1000 >= tonumber(cutoff)\n"
           "local function waits(minute)\n"
           "  if known[minute] == nil then\n"
           "    known[minute] = work[minute] or\n"
           "      redis.call('ZSCORE', '" KEY_DIRTY "', string.format('%d', minute)) ~= false\n"
           "  end\n"
           "  return known[minute]\n"
           "end\n"
           "local function is_needed(score)\n"
           "  local minute = math.floor(score / 60000) * 60\n"
           "  return waits(minute - 60) or waits(minute) or waits(minute + 60)\n"
           "end\n"
           "local function remove_free(series, n)\n"
           "  local old = redis.call('ZRANGE', series, 0, n - 1, 'WITHSCORES')\n"
           "  local last\n" /* rank of the last of a run that may go */
           "  for rank = n - 1, 0, -1 do\n"
           "    if not is_needed(old[2 * rank + 2]) then\n"
           "      last = last or rank\n"
           "    elseif last then\n"
           "      redis.call('ZREMRANGEBYRANK', series, rank + 1, last)\n"
           "      last = nil\n"
           "    end\n"
           "  end\n"
           "  if last then redis.call('ZREMRANGEBYRANK', series, 0, last) end\n"
           "end\n"
           "local function is_listed(meter)\n"
           "  for _, list in ipairs(lists) do\n"
           "    if redis.call('SISMEMBER', list, meter) == 1 then return true end\n"
           "  end\n"
           "  return false\n"
           "end\n"
           "for i = 3, #ARGV do\n"
           "  local series = '" PREFIX_SERIES "' .. ARGV[i]\n"
           "  local n = math.min(redis.call('ZCOUNT', series, '-inf', '(' .. cutoff), 64)\n"
           "  if n > 0 and all_free then\n"
           "    redis.call('ZREMRANGEBYRANK', series, 0, n - 1)\n"
           "  elseif n > 0 then\n"
           "    remove_free(series, n)\n"
           "  end\n"
           "  if few and not is_listed(ARGV[i]) then redis.call('EXPIRE', series, ttl, 'LT') end\n"
           "end\n";

static void write_eval(struct redis_link *l, const char *script, size_t n_args)
{
    redis_command(l, 3 + n_args);
    redis_text(l, "EVAL");
    redis_text(l, script);
    redis_int(l, 0);
}

static bool expect(struct redis_link *l, int type, struct err *e)
{
    redisReply *reply = redis_reply(l, type, e);

    freeReplyObject(reply);
    return reply != NULL;
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

bool hot_redis_due_minutes(struct hot *h, int64_t now_ms, int64_t *out, size_t most, size_t *n,
                           struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    *n = 0;
    redis_command(l, 7);
    redis_text(l, "ZRANGEBYSCORE");
    redis_text(l, KEY_DIRTY);
    redis_text(l, "-inf");
    redis_int(l, now_ms);
    redis_text(l, "LIMIT");
    redis_int(l, 0);
    redis_int(l, (int64_t)most);
    redisReply *reply = redis_ask_strings(l, e);
    if (!reply)
        return false;
    for (size_t i = 0; i < reply->elements && *n < most; i++) {
        int64_t seconds;
        if (redis_number(reply->element[i]->str, reply->element[i]->len, &seconds))
            out[(*n)++] = seconds * 1000;
    }
    freeReplyObject(reply);
    qsort(out, *n, sizeof *out, compare_int64);
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void take_ids(const redisReply *set, struct hot_ids *out)
{
    for (size_t i = 0; i < set->elements; i++)
        if (set->element[i]->len < METER_ID_SIZE)
            hot_ids_add(out, set->element[i]->str, set->element[i]->len);
    if (out->n)
        qsort(out->ids, out->n, sizeof *out->ids, compare_ids);
}

static void write_work_key(struct redis_link *l, int64_t minute_ms, const char *token)
{
    struct buf key;

    buf_init(&key, 0);
    buf_adds(&key, PREFIX_WORK);
    buf_addi(&key, minute_ms / 1000);
    buf_addc(&key, ':');
    buf_adds(&key, token);
    redis_bytes(l, key.data, key.len);
    buf_clear(&key);
}

bool hot_redis_claim(struct hot *h, int64_t minute_ms, const char *token, struct hot_ids *out,
                     struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    out->n = 0;
    write_eval(l, claim_script, 2);
    redis_int(l, minute_ms / 1000);
    redis_text(l, token);
    redis_command(l, 2);
    redis_text(l, "SMEMBERS");
    write_work_key(l, minute_ms, token);
    if (!redis_send(l, e) || !expect(l, REDIS_REPLY_NIL, e))
        return false;
    redisReply *set = redis_reply_strings(l, e);
    if (!set)
        return false;
    take_ids(set, out);
    freeReplyObject(set);
    return true;
}

/*
 * All that is on record, under this token too: the one that may recover has nothing in hand, so
 * that is left from an earlier step of its own which failed.
 */
bool hot_redis_recover(struct hot *h, const char *token, size_t *n_minutes, struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    (void)token;
    *n_minutes = 0;
    write_eval(l, recover_script, 0);
    redisReply *reply = redis_ask(l, REDIS_REPLY_INTEGER, e);
    if (!reply)
        return false;
    *n_minutes = (size_t)reply->integer;
    freeReplyObject(reply);
    return true;
}

bool hot_redis_release(struct hot *h, int64_t minute_ms, const char *token,
                       const struct hot_ids *again, int64_t again_due_ms, struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;
    size_t n = again ? again->n : 0;

    write_eval(l, release_script, 3 + n);
    redis_int(l, minute_ms / 1000);
    redis_text(l, token);
    redis_int(l, again_due_ms);
    for (size_t i = 0; i < n; i++)
        redis_text(l, again->ids[i]);
    return redis_send(l, e) && expect(l, REDIS_REPLY_NIL, e);
}

bool hot_redis_mark(struct hot *h, int64_t minute_ms, const char *const *ids, size_t n,
                    int64_t due_ms, struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    if (n == 0)
        return true;
    write_eval(l, mark_script, 2 + n);
    redis_int(l, minute_ms / 1000);
    redis_int(l, due_ms);
    for (size_t i = 0; i < n; i++)
        redis_text(l, ids[i]);
    return redis_send(l, e) && expect(l, REDIS_REPLY_NIL, e);
}

bool hot_redis_trim(struct hot *h, const char *const *ids, size_t n, int64_t cutoff_ms, int ttl_s,
                    struct err *e)
{
    struct redis_link *l = hot_redis_of(h)->link;

    for (size_t from = 0; from < n; from += HOT_PIPELINE) {
        size_t count = n - from < HOT_PIPELINE ? n - from : HOT_PIPELINE;
        write_eval(l, trim_script, 2 + count);
        redis_int(l, cutoff_ms);
        redis_int(l, ttl_s);
        for (size_t i = 0; i < count; i++)
            redis_text(l, ids[from + i]);
        if (!redis_send(l, e) || !expect(l, REDIS_REPLY_NIL, e))
            return false;
    }
    return true;
}
