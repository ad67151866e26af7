/*
 * What ingest writes, as one transaction of few, wide commands: a command costs the server more
 * than a field in it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/when.h"
#include "stores/hot_redis.h"

enum { NONE = -1 };

/* The puts of one meter, in their order. */
struct group {
    int first, last;
    size_t n;
};

/* One meter to be computed again in one minute. */
struct mark {
    int64_t minute_ms;
    int group;
};

struct put_groups {
    struct group *groups; /* in the order of their first put */
    int n;
    int *next;  /* of each put: the next of its meter, or NONE */
    size_t cap; /* puts there is room for */
    int *slots; /* open hash table over groups, n_slots a power of two */
    size_t n_slots;
    struct mark *marks;
    size_t n_marks, marks_cap;
};

struct put_groups *put_groups_new(void)
{
    return xcalloc(1, sizeof(struct put_groups));
}

void put_groups_free(struct put_groups *g)
{
    free(g->groups);
    free(g->next);
    free(g->slots);
    free(g->marks);
    free(g);
}

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static size_t hash_text(const char *s)
{
    uint64_t h = 14695981039346656037u;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

static void make_room(struct put_groups *g, size_t n_puts)
{
    if (n_puts > g->cap) {
        g->cap = n_puts;
        g->n_slots = 64;
        while (g->n_slots < 2 * n_puts)
            g->n_slots *= 2;
        g->groups = xrealloc_array(g->groups, n_puts, sizeof *g->groups);
        g->next = xrealloc_array(g->next, n_puts, sizeof *g->next);
        g->slots = xrealloc_array(g->slots, g->n_slots, sizeof *g->slots);
    }
    g->n = 0;
    for (size_t i = 0; i < g->n_slots; i++)
        g->slots[i] = NONE;
}

static int group_of(struct put_groups *g, const struct hot_put *puts, const char *meter_id)
{
    size_t slot = hash_text(meter_id) & (g->n_slots - 1);

    while (g->slots[slot] != NONE) {
        int at = g->slots[slot];
        if (strcmp(puts[g->groups[at].first].meter_id, meter_id) == 0)
            return at;
        slot = (slot + 1) & (g->n_slots - 1);
    }
    g->slots[slot] = g->n;
    g->groups[g->n] = (struct group){.first = NONE};
    return g->n++;
}

static void add_marks(struct put_groups *g, const struct hot_put *p, int group)
{
    for (int i = 0; i < p->n_dirty; i++) {
        if (g->n_marks == g->marks_cap) {
            g->marks_cap = g->marks_cap ? g->marks_cap * 2 : 256;
            g->marks = xrealloc_array(g->marks, g->marks_cap, sizeof *g->marks);
        }
        g->marks[g->n_marks++] = (struct mark){p->dirty[i], group};
    }
}

static int compare_marks(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;

    if (x->minute_ms != y->minute_ms)
        return x->minute_ms < y->minute_ms ? -1 : 1;
    return (x->group > y->group) - (x->group < y->group);
}

/* By minute, each meter once. */
static void order_marks(struct put_groups *g)
{
    size_t kept = 0;

    if (g->n_marks == 0)
        return;
    qsort(g->marks, g->n_marks, sizeof *g->marks, compare_marks);
    for (size_t i = 1; i < g->n_marks; i++)
        if (compare_marks(&g->marks[kept], &g->marks[i]) != 0)
            g->marks[++kept] = g->marks[i];
    g->n_marks = kept + 1;
}

static void group_puts(struct put_groups *g, const struct hot_batch *b)
{
    make_room(g, b->n_puts);
    g->n_marks = 0;
    for (size_t i = 0; i < b->n_puts; i++) {
        int at = group_of(g, b->puts, b->puts[i].meter_id);
        struct group *group = &g->groups[at];
        if (group->first == NONE)
            group->first = (int)i;
        else
            g->next[group->last] = (int)i;
        g->next[i] = NONE;
        group->last = (int)i;
        group->n++;
        add_marks(g, &b->puts[i], at);
    }
    order_marks(g);
}

/* ---- The commands ------------------------------------------------------------------------- */

static const char *meter_of(const struct put_groups *g, const struct hot_batch *b, int group)
{
    return b->puts[g->groups[group].first].meter_id;
}

static void write_members(struct hot_redis *r, const struct hot_batch *b)
{
    const struct put_groups *g = r->groups;

    for (int i = 0; i < g->n; i++) {
        const char *meter_id = meter_of(g, b, i);
        redis_command(r->link, 2 + 2 * g->groups[i].n);
        redis_text(r->link, "ZADD");
        redis_joined(r->link, PREFIX_SERIES, meter_id);
        for (int at = g->groups[i].first; at != NONE; at = g->next[at]) {
            redis_int(r->link, b->puts[at].time_ms);
            redis_bytes(r->link, b->puts[at].member, b->puts[at].member_len);
        }
        redis_command(r->link, 3);
        redis_text(r->link, "EXPIRE");
        redis_joined(r->link, PREFIX_SERIES, meter_id);
        redis_int(r->link, r->safety_expiry_s);
    }
}

static void write_latest(struct hot_redis *r, const struct hot_batch *b, enum topic topic,
                         const char *key)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n_puts; i++)
        n += b->puts[i].topic == topic && b->puts[i].latest;
    if (n == 0)
        return;
    redis_command(r->link, 2 + 2 * n);
    redis_text(r->link, "HSET");
    redis_text(r->link, key);
    for (size_t i = 0; i < b->n_puts; i++) {
        const struct hot_put *p = &b->puts[i];
        if (p->topic != topic || !p->latest)
            continue;
        redis_text(r->link, p->meter_id);
        redis_bytes(r->link, p->latest, p->latest_len);
    }
}

/* End of the run of marks that have the same minute as the one at `from`. */
static size_t run_end(const struct put_groups *g, size_t from)
{
    size_t to = from;

    while (to < g->n_marks && g->marks[to].minute_ms == g->marks[from].minute_ms)
        to++;
    return to;
}

static void write_dirty(struct hot_redis *r, const struct hot_batch *b)
{
    const struct put_groups *g = r->groups;
    size_t n_minutes = 0;

    for (size_t from = 0, to; from < g->n_marks; from = to) {
        to = run_end(g, from);
        redis_command(r->link, 2 + to - from);
        redis_text(r->link, "SADD");
        redis_joined_int(r->link, PREFIX_DIRTY, g->marks[from].minute_ms / 1000);
        for (size_t i = from; i < to; i++)
            redis_text(r->link, meter_of(g, b, g->marks[i].group));
        n_minutes++;
    }
    if (n_minutes == 0)
        return;
    /* LT adds a new minute and never puts off one that is due earlier. */
    redis_command(r->link, 3 + 2 * n_minutes);
    redis_text(r->link, "ZADD");
    redis_text(r->link, KEY_DIRTY);
    redis_text(r->link, "LT");
    for (size_t from = 0; from < g->n_marks; from = run_end(g, from)) {
        int64_t minute_ms = g->marks[from].minute_ms;
        redis_int(r->link, minute_ms + MINUTE_MS + HOT_GRACE_MS);
        redis_int(r->link, minute_ms / 1000);
    }
}

static bool names_a_meter(const struct hot_reject *x)
{
    return x->heard && x->meter_id && x->meter_id[0];
}

static void write_seen(struct hot_redis *r, const struct hot_batch *b)
{
    const struct put_groups *g = r->groups;
    size_t n = (size_t)g->n;

    for (size_t i = 0; i < b->n_rejects; i++)
        n += names_a_meter(&b->rejects[i]);
    if (n == 0)
        return;
    redis_command(r->link, 3 + 2 * n);
    redis_text(r->link, "ZADD");
    redis_text(r->link, KEY_SEEN);
    redis_text(r->link, "GT");
    for (int i = 0; i < g->n; i++) {
        redis_int(r->link, b->now_ms);
        redis_text(r->link, meter_of(g, b, i));
    }
    for (size_t i = 0; i < b->n_rejects; i++)
        if (names_a_meter(&b->rejects[i])) {
            redis_int(r->link, b->now_ms);
            redis_text(r->link, b->rejects[i].meter_id);
        }
}

static void write_field(struct redis_link *l, const char *name, const char *value, size_t len)
{
    redis_text(l, name);
    redis_bytes(l, value, len);
}

static void write_field_text(struct redis_link *l, const char *name, const char *value)
{
    write_field(l, name, value ? value : "", value ? strlen(value) : 0);
}

static void write_reject(struct hot_redis *r, const struct hot_reject *x, const char *at)
{
    size_t len = x->payload_len;

    redis_command(r->link, 6 + 2 * 6);
    redis_text(r->link, "XADD");
    redis_text(r->link, KEY_QUARANTINE);
    redis_text(r->link, "MAXLEN");
    redis_text(r->link, "~");
    redis_int(r->link, (int64_t)r->quarantine_entries);
    redis_text(r->link, "*");
    write_field_text(r->link, "reason", x->reason);
    write_field_text(r->link, "detail", x->detail);
    write_field(r->link, "topic", x->topic, x->topic_len);
    write_field_text(r->link, "meter", x->meter_id);
    write_field_text(r->link, "at", at);
    write_field(r->link, "payload", x->payload,
                len < HOT_QUARANTINE_PAYLOAD ? len : HOT_QUARANTINE_PAYLOAD);
}

/* Returns how many commands come before EXEC. */
static size_t write_batch(struct hot_redis *r, const struct hot_batch *b)
{
    char at[WHEN_TEXT_SIZE];

    group_puts(r->groups, b);
    redis_command(r->link, 1);
    redis_text(r->link, "MULTI");
    write_members(r, b);
    write_latest(r, b, TOPIC_DATA, KEY_LATEST_DATA);
    write_latest(r, b, TOPIC_STATUS, KEY_LATEST_STATUS);
    write_dirty(r, b);
    write_seen(r, b);
    when_text(b->now_ms, at);
    for (size_t i = 0; i < b->n_rejects; i++)
        write_reject(r, &b->rejects[i], at);
    size_t queued = redis_commands_written(r->link);
    redis_command(r->link, 1);
    redis_text(r->link, "EXEC");
    return queued;
}

/* MULTI and every command answer at once that they wait; a refusal there voids the whole. */
static bool expect_queued(struct hot_redis *r, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        redisReply *reply = redis_reply(r->link, REDIS_REPLY_STATUS, e);
        if (!reply)
            return false;
        freeReplyObject(reply);
    }
    return true;
}

/* In EXEC a command fails alone, the others are carried out: look at each. */
static bool all_succeeded(struct hot_redis *r, const redisReply *done, struct err *e)
{
    if (done->type != REDIS_REPLY_ARRAY)
        return redis_refuse(r->link, e, "answered EXEC with type %d", done->type);
    for (size_t i = 0; i < done->elements; i++)
        if (done->element[i]->type == REDIS_REPLY_ERROR)
            return redis_refuse(r->link, e, "%s", done->element[i]->str);
    return true;
}

/* EXEC answers nil, and has done nothing, when what was watched has changed. */
static bool expect_done(struct hot_redis *r, struct err *e)
{
    redisReply *done = redis_reply(r->link, 0, e);

    if (!done)
        return false;
    bool fenced = r->writer.name && done->type == REDIS_REPLY_NIL;
    bool ok = fenced || all_succeeded(r, done, e);
    freeReplyObject(done);
    if (!ok || !hot_redis_read_watch(r, e))
        return false;
    return !fenced || hot_redis_not_stored(r, e);
}

bool hot_redis_store(struct hot *h, const struct hot_batch *b, struct err *e)
{
    struct hot_redis *r = hot_redis_of(h);

    if (b->n_puts + b->n_rejects == 0)
        return true;
    if (!hot_redis_may_store(r, e))
        return false;
    size_t queued = write_batch(r, b);
    hot_redis_write_watch(r);
    return redis_send(r->link, e) && expect_queued(r, queued, e) && expect_done(r, e);
}
