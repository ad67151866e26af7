#include "stores/hot_ram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/when.h"

enum { QUARANTINE_MOST = 1000, TRIM_MOST = 64 };

struct member {
    int64_t time_ms;
    char *bytes;
    size_t len;
};

struct message {
    char *text; /* NULL: none */
    size_t len;
    int64_t time_ms;
};

struct meter {
    char id[METER_ID_SIZE];
    int64_t seen_ms; /* 0: not in the list */
    struct message latest[TOPIC_COUNT];
    struct member *members; /* by time, then bytes */
    size_t n, cap;
};

/* Meters of a minute: those that wait for it (token ""), or those claimed under a token. */
struct list {
    int64_t minute_ms;
    char *token;
    int64_t due_ms;
    struct hot_ids ids; /* in order */
};

struct health {
    char *stage, *json;
};

struct ram {
    struct hot hot;        /* first: the handle users hold */
    struct meter **meters; /* by id */
    size_t n_meters, meters_cap;
    struct list *lists; /* by minute, then token */
    size_t n_lists, lists_cap;
    struct hot_quarantined *quarantine; /* oldest first */
    size_t n_quarantine;
    uint64_t quarantine_serial;
    struct health *health; /* by stage */
    size_t n_health;
    int fail_calls;
    bool fail_applied;
};

static struct ram *ram_of(struct hot *h)
{
    return (struct ram *)h;
}

/* ---- Failing on demand -------------------------------------------------------------------- */

void hot_ram_fail_next(struct hot *h, int n, bool applied)
{
    ram_of(h)->fail_calls = n;
    ram_of(h)->fail_applied = applied;
}

static bool fails(struct ram *r, struct err *e)
{
    if (r->fail_calls == 0)
        return false;
    r->fail_calls--;
    err_set(e, ERR_RETRY, "hot store in memory: told to fail");
    return true;
}

/* The call is lost on its way. */
static bool is_lost(struct ram *r, struct err *e)
{
    return !r->fail_applied && fails(r, e);
}

/* The call was carried out: does its answer arrive? */
static bool is_answered(struct ram *r, struct err *e)
{
    return !(r->fail_applied && fails(r, e));
}

/* ---- Ordered arrays ----------------------------------------------------------------------- */

/* First of n places whose element is not before the key; before(ctx, i) tells. */
typedef bool before_fn(const void *ctx, size_t i);

static size_t place_of(const void *ctx, size_t n, before_fn *before)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (before(ctx, middle))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Make a hole at `at` in an array of n elements of this size; returns the array. */
static void *make_hole(void *array, size_t n, size_t *cap, size_t size, size_t at)
{
    if (n == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        array = xrealloc_array(array, *cap, size);
    }
    memmove((char *)array + (at + 1) * size, (char *)array + at * size, (n - at) * size);
    return array;
}

struct id_key {
    const struct hot_ids *ids;
    const char *id;
};

static bool id_before(const void *ctx, size_t i)
{
    const struct id_key *k = ctx;

    return strcmp(k->ids->ids[i], k->id) < 0;
}

static bool ids_have(const struct hot_ids *ids, const char *id)
{
    struct id_key k = {ids, id};
    size_t at = place_of(&k, ids->n, id_before);

    return at < ids->n && strcmp(ids->ids[at], id) == 0;
}

static void ids_insert(struct hot_ids *ids, const char *id)
{
    struct id_key k = {ids, id};

    if (ids_have(ids, id))
        return;
    size_t at = place_of(&k, ids->n, id_before);
    ids->ids = make_hole(ids->ids, ids->n, &ids->cap, sizeof *ids->ids, at);
    memset(ids->ids[at], 0, sizeof *ids->ids);
    strncpy(ids->ids[at], id, sizeof *ids->ids - 1);
    ids->n++;
}

static void ids_insert_all(struct hot_ids *ids, const struct hot_ids *more)
{
    for (size_t i = 0; i < more->n; i++)
        ids_insert(ids, more->ids[i]);
}

/* ---- Meters ------------------------------------------------------------------------------- */

struct meter_key {
    const struct ram *r;
    const char *id;
};

static bool meter_before(const void *ctx, size_t i)
{
    const struct meter_key *k = ctx;

    return strcmp(k->r->meters[i]->id, k->id) < 0;
}

static size_t meter_place(const struct ram *r, const char *id)
{
    struct meter_key k = {r, id};

    return place_of(&k, r->n_meters, meter_before);
}

static struct meter *find_meter(const struct ram *r, const char *id)
{
    size_t at = meter_place(r, id);

    return at < r->n_meters && strcmp(r->meters[at]->id, id) == 0 ? r->meters[at] : NULL;
}

static struct meter *need_meter(struct ram *r, const char *id)
{
    struct meter *m = find_meter(r, id);

    if (m)
        return m;
    m = xcalloc(1, sizeof *m);
    strncpy(m->id, id, sizeof m->id - 1);
    size_t at = meter_place(r, id);
    r->meters = make_hole(r->meters, r->n_meters, &r->meters_cap, sizeof *r->meters, at);
    r->meters[at] = m;
    r->n_meters++;
    return m;
}

static void set_message(struct message *m, const char *text, size_t len, int64_t time_ms)
{
    free(m->text);
    *m = (struct message){text ? xstrndup(text, len) : NULL, len, time_ms};
}

struct member_key {
    const struct meter *m;
    int64_t time_ms;
    const void *bytes;
    size_t len;
};

static bool is_member_before(const void *ctx, size_t i)
{
    const struct member_key *k = ctx;
    const struct member *m = &k->m->members[i];
    size_t common = m->len < k->len ? m->len : k->len;

    if (m->time_ms != k->time_ms)
        return m->time_ms < k->time_ms;
    int order = common ? memcmp(m->bytes, k->bytes, common) : 0;
    return order ? order < 0 : m->len < k->len;
}

/* First member at or after this time. */
static size_t member_place(const struct meter *m, int64_t time_ms)
{
    struct member_key k = {.m = m, .time_ms = time_ms};

    return place_of(&k, m->n, is_member_before);
}

static void add_member(struct meter *m, const struct hot_put *p)
{
    struct member_key k = {m, p->time_ms, p->member, p->member_len};
    size_t at = place_of(&k, m->n, is_member_before);

    if (at < m->n && m->members[at].time_ms == p->time_ms && m->members[at].len == p->member_len &&
        memcmp(m->members[at].bytes, p->member, p->member_len) == 0)
        return;
    m->members = make_hole(m->members, m->n, &m->cap, sizeof *m->members, at);
    char *bytes = xmalloc(p->member_len + 1);
    memcpy(bytes, p->member, p->member_len);
    m->members[at] = (struct member){p->time_ms, bytes, p->member_len};
    m->n++;
}

static void heard_of(struct ram *r, const char *id, int64_t now_ms)
{
    struct meter *m = need_meter(r, id);

    if (m->seen_ms < now_ms)
        m->seen_ms = now_ms;
}

/* ---- Lists of waiting meters -------------------------------------------------------------- */

static const char WAITING[] = "";

struct list_key {
    const struct ram *r;
    int64_t minute_ms;
    const char *token;
};

static bool list_before(const void *ctx, size_t i)
{
    const struct list_key *k = ctx;
    const struct list *l = &k->r->lists[i];

    return l->minute_ms != k->minute_ms ? l->minute_ms < k->minute_ms
                                        : strcmp(l->token, k->token) < 0;
}

static size_t list_place(const struct ram *r, int64_t minute_ms, const char *token)
{
    struct list_key k = {r, minute_ms, token};

    return place_of(&k, r->n_lists, list_before);
}

static struct list *find_list(const struct ram *r, int64_t minute_ms, const char *token)
{
    size_t at = list_place(r, minute_ms, token);

    if (at == r->n_lists || r->lists[at].minute_ms != minute_ms ||
        strcmp(r->lists[at].token, token) != 0)
        return NULL;
    return &r->lists[at];
}

static struct list *need_list(struct ram *r, int64_t minute_ms, const char *token)
{
    struct list *l = find_list(r, minute_ms, token);

    if (l)
        return l;
    size_t at = list_place(r, minute_ms, token);
    r->lists = make_hole(r->lists, r->n_lists, &r->lists_cap, sizeof *r->lists, at);
    r->lists[at] = (struct list){minute_ms, xstrdup(token), INT64_MAX, {0}};
    r->n_lists++;
    return &r->lists[at];
}

static void drop_list(struct ram *r, int64_t minute_ms, const char *token)
{
    struct list *l = find_list(r, minute_ms, token);

    if (!l)
        return;
    free(l->token);
    hot_ids_clear(&l->ids);
    r->n_lists--;
    memmove(l, l + 1, (size_t)(r->lists + r->n_lists - l) * sizeof *l);
}

static bool is_waiting(const struct list *l)
{
    return strcmp(l->token, WAITING) == 0;
}

static void mark_due(struct ram *r, int64_t minute_ms, const char *id, int64_t due_ms)
{
    struct list *l = need_list(r, minute_ms, WAITING);

    ids_insert(&l->ids, id);
    if (due_ms < l->due_ms)
        l->due_ms = due_ms;
}

/* ---- What ingest writes ------------------------------------------------------------------- */

static void store_put(struct ram *r, const struct hot_put *p, int64_t now_ms)
{
    struct meter *m = need_meter(r, p->meter_id);

    add_member(m, p);
    if (p->latest)
        set_message(&m->latest[p->topic], p->latest, p->latest_len, p->time_ms);
    for (int i = 0; i < p->n_dirty; i++)
        mark_due(r, p->dirty[i], p->meter_id, p->dirty[i] + MINUTE_MS + HOT_GRACE_MS);
    heard_of(r, p->meter_id, now_ms);
}

static char *copy_bytes(const char *s, size_t len)
{
    char *copy = xmalloc(len + 1);

    if (len)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

static void store_reject(struct ram *r, const struct hot_reject *x, int64_t now_ms)
{
    size_t len = x->payload_len < HOT_QUARANTINE_PAYLOAD ? x->payload_len : HOT_QUARANTINE_PAYLOAD;

    if (r->n_quarantine == QUARANTINE_MOST) {
        hot_quarantined_clear(r->quarantine, 1);
        r->n_quarantine--;
        memmove(r->quarantine, r->quarantine + 1, r->n_quarantine * sizeof *r->quarantine);
    }
    r->quarantine = xrealloc_array(r->quarantine, r->n_quarantine + 1, sizeof *r->quarantine);
    struct hot_quarantined *q = &r->quarantine[r->n_quarantine++];
    *q = (struct hot_quarantined){
        .reason = xstrdup(x->reason ? x->reason : ""),
        .detail = xstrdup(x->detail ? x->detail : ""),
        .topic = copy_bytes(x->topic, x->topic_len),
        .meter_id = xstrdup(x->meter_id ? x->meter_id : ""),
        .payload = copy_bytes(x->payload, len),
        .payload_len = len,
    };
    snprintf(q->id, sizeof q->id, "%lld-%llu", (long long)now_ms,
             (unsigned long long)r->quarantine_serial++);
    if (x->heard && q->meter_id[0])
        heard_of(r, q->meter_id, now_ms);
}

static bool ram_store(struct hot *h, const struct hot_batch *b, struct err *e)
{
    struct ram *r = ram_of(h);

    if (is_lost(r, e))
        return false;
    for (size_t i = 0; i < b->n_puts; i++)
        store_put(r, &b->puts[i], b->now_ms);
    for (size_t i = 0; i < b->n_rejects; i++)
        store_reject(r, &b->rejects[i], b->now_ms);
    return is_answered(r, e);
}

/* ---- What aggregate does ------------------------------------------------------------------ */

struct due {
    int64_t due_ms, minute_ms;
};

static int compare_dues(const void *a, const void *b)
{
    const struct due *x = a, *y = b;

    if (x->due_ms != y->due_ms)
        return x->due_ms < y->due_ms ? -1 : 1;
    return (x->minute_ms > y->minute_ms) - (x->minute_ms < y->minute_ms);
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Those due longest, then in order of the minutes. */
static bool ram_due_minutes(struct hot *h, int64_t now_ms, int64_t *out, size_t most, size_t *n,
                            struct err *e)
{
    struct ram *r = ram_of(h);
    size_t found = 0;

    *n = 0;
    if (fails(r, e))
        return false;
    struct due *dues = xcalloc(r->n_lists + 1, sizeof *dues);
    for (size_t i = 0; i < r->n_lists; i++)
        if (is_waiting(&r->lists[i]) && r->lists[i].due_ms <= now_ms)
            dues[found++] = (struct due){r->lists[i].due_ms, r->lists[i].minute_ms};
    qsort(dues, found, sizeof *dues, compare_dues);
    for (; *n < found && *n < most; (*n)++)
        out[*n] = dues[*n].minute_ms;
    free(dues);
    qsort(out, *n, sizeof *out, compare_int64);
    return true;
}

static bool ram_claim(struct hot *h, int64_t minute_ms, const char *token, struct hot_ids *out,
                      struct err *e)
{
    struct ram *r = ram_of(h);

    out->n = 0;
    if (is_lost(r, e))
        return false;
    if (find_list(r, minute_ms, WAITING)) {
        struct list *work = need_list(r, minute_ms, token);
        ids_insert_all(&work->ids, &find_list(r, minute_ms, WAITING)->ids);
        drop_list(r, minute_ms, WAITING);
    }
    if (!is_answered(r, e))
        return false;
    const struct list *work = find_list(r, minute_ms, token);
    for (size_t i = 0; work && i < work->ids.n; i++)
        hot_ids_add(out, work->ids.ids[i], strlen(work->ids.ids[i]));
    return true;
}

static size_t next_claimed(const struct ram *r, size_t from)
{
    while (from < r->n_lists && is_waiting(&r->lists[from]))
        from++;
    return from;
}

static bool ram_recover(struct hot *h, const char *token, size_t *n_minutes, struct err *e)
{
    struct ram *r = ram_of(h);
    size_t recovered = 0;

    (void)token;
    *n_minutes = 0;
    if (is_lost(r, e))
        return false;
    for (size_t at; (at = next_claimed(r, 0)) < r->n_lists; recovered++) {
        struct list work = r->lists[at];
        for (size_t i = 0; i < work.ids.n; i++)
            mark_due(r, work.minute_ms, work.ids.ids[i], 0);
        drop_list(r, work.minute_ms, work.token);
    }
    if (!is_answered(r, e))
        return false;
    *n_minutes = recovered;
    return true;
}

static bool ram_release(struct hot *h, int64_t minute_ms, const char *token,
                        const struct hot_ids *again, int64_t again_due_ms, struct err *e)
{
    struct ram *r = ram_of(h);

    if (is_lost(r, e))
        return false;
    drop_list(r, minute_ms, token);
    for (size_t i = 0; again && i < again->n; i++)
        mark_due(r, minute_ms, again->ids[i], again_due_ms);
    return is_answered(r, e);
}

static bool ram_mark(struct hot *h, int64_t minute_ms, const char *const *ids, size_t n,
                     int64_t due_ms, struct err *e)
{
    struct ram *r = ram_of(h);

    if (is_lost(r, e))
        return false;
    for (size_t i = 0; i < n; i++)
        mark_due(r, minute_ms, ids[i], due_ms);
    return is_answered(r, e);
}

static bool ram_read(struct hot *h, const char *const *ids, size_t n, int64_t from_ms,
                     int64_t to_ms, hot_member_fn *fn, void *ctx, struct err *e)
{
    struct ram *r = ram_of(h);

    if (fails(r, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct meter *m = find_meter(r, ids[i]);
        for (size_t at = m ? member_place(m, from_ms) : 0;
             m && at < m->n && m->members[at].time_ms < to_ms; at++)
            fn(ctx, &(struct hot_member){i, m->members[at].bytes,
                                         m->members[at].len});
    }
    return true;
}

/* A minute that waits or is claimed needs the members of the minutes beside it too. */
static bool is_needed(const struct ram *r, int64_t time_ms)
{
    int64_t minute_ms = when_floor(time_ms, MINUTE_MS);
    size_t at = list_place(r, minute_ms - MINUTE_MS, WAITING);

    return at < r->n_lists && r->lists[at].minute_ms <= minute_ms + MINUTE_MS;
}

static void trim_meter(const struct ram *r, struct meter *m, int64_t cutoff_ms)
{
    size_t old = member_place(m, cutoff_ms);
    size_t kept = 0;

    if (old > TRIM_MOST)
        old = TRIM_MOST;
    for (size_t i = 0; i < m->n; i++) {
        if (i >= old || is_needed(r, m->members[i].time_ms))
            m->members[kept++] = m->members[i];
        else
            free(m->members[i].bytes);
    }
    m->n = kept;
}

/* Without a clock of its own nothing expires here: ttl_s has no effect. */
static bool ram_trim(struct hot *h, const char *const *ids, size_t n, int64_t cutoff_ms, int ttl_s,
                     struct err *e)
{
    struct ram *r = ram_of(h);

    (void)ttl_s;
    if (is_lost(r, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct meter *m = find_meter(r, ids[i]);
        if (m)
            trim_meter(r, m, cutoff_ms);
    }
    return is_answered(r, e);
}

/* ---- What the API reads ------------------------------------------------------------------- */

static bool ram_latest_times(struct hot *h, const char *const *ids, size_t n, int64_t *times,
                             struct err *e)
{
    struct ram *r = ram_of(h);

    if (fails(r, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct meter *m = find_meter(r, ids[i]);
        for (size_t t = 0; t < TOPIC_COUNT; t++)
            times[i * TOPIC_COUNT + t] = m && m->latest[t].text ? m->latest[t].time_ms : INT64_MIN;
    }
    return true;
}

static char *copy_message(const struct message *m, size_t *len)
{
    if (!m->text)
        return NULL;
    *len = m->len;
    return xstrndup(m->text, m->len);
}

static void copy_latest(const struct ram *r, const char *id, struct hot_latest *out)
{
    const struct meter *m = find_meter(r, id);

    *out = (struct hot_latest){0};
    memccpy(out->meter_id, id, 0, sizeof out->meter_id);
    if (!m)
        return;
    out->seen_ms = m->seen_ms;
    out->data = copy_message(&m->latest[TOPIC_DATA], &out->data_len);
    out->status = copy_message(&m->latest[TOPIC_STATUS], &out->status_len);
}

static bool ram_latest(struct hot *h, const char *const *ids, size_t n, struct hot_latest *out,
                       struct err *e)
{
    struct ram *r = ram_of(h);

    memset(out, 0, n * sizeof *out);
    if (fails(r, e))
        return false;
    for (size_t i = 0; i < n; i++)
        copy_latest(r, ids[i], &out[i]);
    return true;
}

static int compare_seen(const void *a, const void *b)
{
    const struct meter *x = *(struct meter *const *)a, *y = *(struct meter *const *)b;

    if (x->seen_ms != y->seen_ms)
        return x->seen_ms < y->seen_ms ? -1 : 1;
    return strcmp(x->id, y->id);
}

static bool ram_silent(struct hot *h, int64_t before_ms, size_t most, struct hot_latest *out,
                       size_t *n, struct err *e)
{
    struct ram *r = ram_of(h);
    size_t found = 0;

    *n = 0;
    if (fails(r, e))
        return false;
    struct meter **silent = xcalloc(r->n_meters + 1, sizeof(struct meter *));
    for (size_t i = 0; i < r->n_meters; i++)
        if (r->meters[i]->seen_ms && r->meters[i]->seen_ms < before_ms)
            silent[found++] = r->meters[i];
    qsort(silent, found, sizeof(struct meter *), compare_seen);
    for (; *n < found && *n < most; (*n)++)
        copy_latest(r, silent[*n]->id, &out[*n]);
    free(silent);
    return true;
}

static bool ram_drop_silent(struct hot *h, const struct hot_latest *l, size_t n, int64_t before_ms,
                            struct err *e)
{
    struct ram *r = ram_of(h);

    if (is_lost(r, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct meter *m = find_meter(r, l[i].meter_id);
        if (!m || m->seen_ms >= before_ms)
            continue;
        m->seen_ms = 0;
        for (size_t t = 0; t < TOPIC_COUNT; t++)
            set_message(&m->latest[t], NULL, 0, 0);
    }
    return is_answered(r, e);
}

static bool ram_meters(struct hot *h, const char *after, size_t most, struct hot_ids *out,
                       struct err *e)
{
    struct ram *r = ram_of(h);

    out->n = 0;
    if (fails(r, e))
        return false;
    for (size_t i = meter_place(r, after); i < r->n_meters && out->n < most; i++)
        if (r->meters[i]->seen_ms && strcmp(r->meters[i]->id, after) != 0)
            hot_ids_add(out, r->meters[i]->id, strlen(r->meters[i]->id));
    return true;
}

static size_t health_place(const struct ram *r, const char *stage)
{
    size_t at = 0;

    while (at < r->n_health && strcmp(r->health[at].stage, stage) < 0)
        at++;
    return at;
}

static bool ram_put_health(struct hot *h, const char *stage, const char *json, struct err *e)
{
    struct ram *r = ram_of(h);
    size_t at = health_place(r, stage), cap = r->n_health;

    if (is_lost(r, e))
        return false;
    if (at < r->n_health && strcmp(r->health[at].stage, stage) == 0)
        free(r->health[at].json);
    else {
        r->health = make_hole(r->health, r->n_health, &cap, sizeof *r->health, at);
        r->health[at].stage = xstrdup(stage);
        r->n_health++;
    }
    r->health[at].json = xstrdup(json);
    return is_answered(r, e);
}

static bool ram_get_health(struct hot *h, struct buf *out, struct err *e)
{
    struct ram *r = ram_of(h);

    if (fails(r, e))
        return false;
    buf_addc(out, '{');
    for (size_t i = 0; i < r->n_health; i++) {
        if (i)
            buf_addc(out, ',');
        buf_add_json_string(out, r->health[i].stage, strlen(r->health[i].stage));
        buf_addc(out, ':');
        buf_adds(out, r->health[i].json);
    }
    buf_addc(out, '}');
    return true;
}

static bool ram_durability(struct hot *h, struct hot_durability *out, struct err *e)
{
    *out = (struct hot_durability){.text = "in memory: lost when the process ends"};
    return !fails(ram_of(h), e);
}

static bool ram_usage(struct hot *h, struct hot_usage *out, struct err *e)
{
    struct ram *r = ram_of(h);

    *out = (struct hot_usage){.quarantined = r->n_quarantine};
    if (fails(r, e))
        return false;
    for (size_t i = 0; i < r->n_lists; i++) {
        if (!is_waiting(&r->lists[i]))
            continue;
        if (out->minutes_waiting++ == 0)
            out->oldest_waiting_ms = r->lists[i].minute_ms;
    }
    return true;
}

static bool ram_quarantine(struct hot *h, size_t most, struct hot_quarantined *out, size_t *n,
                           struct err *e)
{
    struct ram *r = ram_of(h);

    *n = 0;
    if (fails(r, e))
        return false;
    for (; *n < most && *n < r->n_quarantine; (*n)++) {
        const struct hot_quarantined *q = &r->quarantine[r->n_quarantine - 1 - *n];
        out[*n] = (struct hot_quarantined){
            .reason = xstrdup(q->reason),
            .detail = xstrdup(q->detail),
            .topic = xstrdup(q->topic),
            .meter_id = xstrdup(q->meter_id),
            .payload = copy_bytes(q->payload, q->payload_len),
            .payload_len = q->payload_len,
        };
        memcpy(out[*n].id, q->id, sizeof q->id);
    }
    return true;
}

/* ---- Open and close ----------------------------------------------------------------------- */

static void free_meter(struct meter *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->members[i].bytes);
    for (size_t t = 0; t < TOPIC_COUNT; t++)
        free(m->latest[t].text);
    free(m->members);
    free(m);
}

static void ram_close(struct hot *h)
{
    struct ram *r = ram_of(h);

    for (size_t i = 0; i < r->n_meters; i++)
        free_meter(r->meters[i]);
    for (size_t i = 0; i < r->n_lists; i++) {
        free(r->lists[i].token);
        hot_ids_clear(&r->lists[i].ids);
    }
    for (size_t i = 0; i < r->n_health; i++) {
        free(r->health[i].stage);
        free(r->health[i].json);
    }
    hot_quarantined_clear(r->quarantine, r->n_quarantine);
    free(r->meters);
    free(r->lists);
    free(r->health);
    free(r->quarantine);
    free(r);
}

static const struct hot_ops ram_ops = {
    .store = ram_store,
    .latest_times = ram_latest_times,
    .due_minutes = ram_due_minutes,
    .claim = ram_claim,
    .recover = ram_recover,
    .release = ram_release,
    .mark = ram_mark,
    .read = ram_read,
    .trim = ram_trim,
    .silent = ram_silent,
    .drop_silent = ram_drop_silent,
    .latest = ram_latest,
    .meters = ram_meters,
    .put_health = ram_put_health,
    .get_health = ram_get_health,
    .durability = ram_durability,
    .usage = ram_usage,
    .quarantine = ram_quarantine,
    .close = ram_close,
};

struct hot *hot_ram_open(void)
{
    struct ram *r = xcalloc(1, sizeof *r);

    r->hot.ops = &ram_ops;
    return &r->hot;
}
