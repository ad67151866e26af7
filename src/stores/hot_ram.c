#include "stores/hot_ram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/when.h"
#include "stores/ram_array.h"

enum {
    QUARANTINE_MOST = 1000,
    TRIM_MOST = 64,
    LISTS_MOST = 64, /* a backlog of more is not searched for a meter, as in hot_redis_work.c */
};

/* Expiry that a stored reading gives its series, unless trim shortens it. */
#define SAFETY_EXPIRY_MS (7 * DAY_MS)
#define NEVER_MS INT64_MAX

struct member {
    int64_t time_ms;
    size_t at, len; /* in the bytes of its series */
};

struct series {
    struct member *members; /* by time, then bytes */
    size_t n, cap;
    char *bytes; /* of members, in the order of their arrival */
    size_t used, bytes_cap;
    size_t unused; /* of those used, bytes of members that are gone */
    int64_t expires_ms;
};

struct message {
    char *text;
    size_t len, cap;
    int64_t time_ms;
    bool present;
};

struct meter {
    char id[METER_ID_SIZE];
    size_t number;   /* in order of their coming: its bit in a meter_set */
    int64_t seen_ms; /* 0: not in the list */
    struct message latest[TOPIC_COUNT];
    struct series series;
};

struct meter_set {
    uint64_t *words;
    size_t n_words;
};

/* Meters of a minute: those that wait for it, or those claimed under a token. */
struct list {
    int64_t minute_ms;
    char *token;    /* of a claim; "" of those that wait */
    int64_t due_ms; /* of those that wait */
    struct meter_set meters;
};

struct lists {
    struct list *lists; /* by minute, then token */
    size_t n, cap;
};

struct health {
    char *stage, *json;
};

/* Who stores under a name. */
struct writer {
    char *name, *token;
};

struct store {
    struct ram *handles;
    const struct clock *clock; /* NULL: nothing expires */
    struct meter **meters;     /* by id */
    size_t n_meters, meters_cap;
    struct lists waiting, claimed;
    struct hot_quarantined *quarantine; /* a ring once it is full */
    size_t n_quarantine, quarantine_cap;
    uint64_t quarantine_serial; /* of the next entry; the place of entry i is i % QUARANTINE_MOST */
    struct health *health;      /* by stage */
    size_t n_health, health_cap;
    struct writer *writers; /* by name */
    size_t n_writers, writers_cap;
};

struct ram {
    struct hot hot; /* first: the handle users hold */
    struct store *store;
    struct ram *next; /* handle of the same store */
    struct ram_gate gate;
    struct writer writer; /* the name this handle took; NULL: none */
};

static struct ram *ram_of(struct hot *h)
{
    return (struct ram *)h;
}

static struct store *store_of(struct hot *h)
{
    return ram_of(h)->store;
}

/* ---- Failing on demand -------------------------------------------------------------------- */

void hot_ram_set_faults(struct hot *h, const struct ram_faults *faults)
{
    ram_set_faults(&ram_of(h)->gate, faults);
}

void hot_ram_fail_next(struct hot *h, int n, bool applied)
{
    ram_fail_next(&ram_of(h)->gate, (size_t)n, applied);
}

void hot_ram_restart(struct hot *h)
{
    for (struct ram *r = store_of(h)->handles; r; r = r->next)
        r->gate.disconnected = true;
}

/* A call under way. */
struct call {
    struct ram *ram;
    const char *name;
    enum ram_fault fault;
};

/* False: it fails at once. */
static bool call_begin(struct call *c, struct hot *h, const char *name, enum ram_kind kind,
                       struct err *e)
{
    *c = (struct call){ram_of(h), name, ram_ask(&ram_of(h)->gate, name, kind)};
    return c->fault == RAM_FINE || c->fault == RAM_FAIL_AFTER ||
           ram_fail(&c->ram->gate, name, c->fault, e);
}

/* It was carried out: does the answer arrive? */
static bool call_end(const struct call *c, struct err *e)
{
    return c->fault == RAM_FINE || ram_fail(&c->ram->gate, c->name, c->fault, e);
}

/* ---- Meters ------------------------------------------------------------------------------- */

static int compare_meter(const void *key, const void *element)
{
    return strcmp(key, (*(struct meter *const *)element)->id);
}

static size_t meter_place(const struct store *s, const char *id)
{
    return ram_place(s->meters, s->n_meters, sizeof *s->meters, compare_meter, id);
}

static bool is_meter_at(const struct store *s, size_t at, const char *id)
{
    return at < s->n_meters && strcmp(s->meters[at]->id, id) == 0;
}

static struct meter *find_meter(const struct store *s, const char *id)
{
    size_t at = meter_place(s, id);

    return is_meter_at(s, at, id) ? s->meters[at] : NULL;
}

static struct meter *need_meter(struct store *s, const char *id)
{
    size_t at = meter_place(s, id);

    if (is_meter_at(s, at, id))
        return s->meters[at];
    struct meter *m = xcalloc(1, sizeof *m);
    strncpy(m->id, id, sizeof m->id - 1);
    m->number = s->n_meters;
    m->series.expires_ms = NEVER_MS;
    s->meters = ram_make_hole(s->meters, s->n_meters, &s->meters_cap, sizeof *s->meters, at);
    s->meters[at] = m;
    s->n_meters++;
    return m;
}

static void heard_of(struct meter *m, int64_t now_ms)
{
    if (m->seen_ms < now_ms)
        m->seen_ms = now_ms;
}

static void set_message(struct message *m, const char *text, size_t len, int64_t time_ms)
{
    if (len > m->cap) {
        m->cap = len + len / 4;
        m->text = xrealloc_array(m->text, m->cap, 1);
    }
    if (len)
        memcpy(m->text, text, len);
    m->len = len;
    m->time_ms = time_ms;
    m->present = true;
}

/* ---- Time series -------------------------------------------------------------------------- */

struct member_key {
    const struct series *series;
    int64_t time_ms;
    const void *bytes;
    size_t len;
};

static int compare_member(const void *key, const void *element)
{
    const struct member_key *k = key;
    const struct member *m = element;
    size_t common = m->len < k->len ? m->len : k->len;

    if (k->time_ms != m->time_ms)
        return k->time_ms < m->time_ms ? -1 : 1;
    int order = common ? memcmp(k->bytes, k->series->bytes + m->at, common) : 0;
    return order ? order : (k->len > m->len) - (k->len < m->len);
}

static size_t place_of(const struct member_key *k)
{
    return ram_place(k->series->members, k->series->n, sizeof *k->series->members, compare_member,
                     k);
}

/* First member at or after this time. */
static size_t member_place(const struct series *t, int64_t time_ms)
{
    return place_of(&(struct member_key){.series = t, .time_ms = time_ms});
}

static size_t keep_bytes(struct series *t, const void *bytes, size_t len)
{
    size_t at = t->used;

    if (t->used + len > t->bytes_cap) {
        t->bytes_cap = 2 * t->bytes_cap + len + 1024;
        t->bytes = xrealloc_array(t->bytes, t->bytes_cap, 1);
    }
    if (len)
        memcpy(t->bytes + at, bytes, len);
    t->used += len;
    return at;
}

static void add_member(struct series *t, const struct hot_put *p)
{
    struct member_key k = {t, p->time_ms, p->member, p->member_len};
    size_t at = place_of(&k);

    if (at < t->n && compare_member(&k, &t->members[at]) == 0)
        return;
    t->members = ram_make_hole(t->members, t->n, &t->cap, sizeof *t->members, at);
    t->members[at] =
        (struct member){p->time_ms, keep_bytes(t, p->member, p->member_len), p->member_len};
    t->n++;
}

static void clear_series(struct series *t)
{
    free(t->members);
    free(t->bytes);
    *t = (struct series){.expires_ms = NEVER_MS};
}

/* Give back the memory of members that are gone once it is the larger part. */
static void pack_series(struct series *t)
{
    struct series packed = {.members = t->members, .n = t->n, .cap = t->cap};

    if (t->unused <= t->used / 2)
        return;
    packed.expires_ms = t->expires_ms;
    for (size_t i = 0; i < t->n; i++)
        t->members[i].at = keep_bytes(&packed, t->bytes + t->members[i].at, t->members[i].len);
    free(t->bytes);
    *t = packed;
}

/* The series as it is now: gone when its time is over. */
static struct series *series_of(const struct store *s, struct meter *m)
{
    if (s->clock && clock_wall_ms(s->clock) > m->series.expires_ms)
        clear_series(&m->series);
    return &m->series;
}

static void expire_after(const struct store *s, struct series *t, int64_t ms)
{
    if (s->clock && t->n > 0)
        t->expires_ms = clock_wall_ms(s->clock) + ms;
}

static void expire_earlier(const struct store *s, struct series *t, int64_t ms)
{
    int64_t before_ms = t->expires_ms;

    expire_after(s, t, ms);
    if (before_ms < t->expires_ms)
        t->expires_ms = before_ms;
}

/* ---- Lists of waiting meters -------------------------------------------------------------- */

static void set_reach(struct meter_set *set, size_t n_words)
{
    if (n_words <= set->n_words)
        return;
    set->words = xrealloc_array(set->words, n_words, sizeof *set->words);
    memset(set->words + set->n_words, 0, (n_words - set->n_words) * sizeof *set->words);
    set->n_words = n_words;
}

static void set_add(struct meter_set *set, size_t number)
{
    set_reach(set, number / 64 + 1);
    set->words[number / 64] |= UINT64_C(1) << number % 64;
}

static void set_add_all(struct meter_set *set, const struct meter_set *more)
{
    set_reach(set, more->n_words);
    for (size_t i = 0; i < more->n_words; i++)
        set->words[i] |= more->words[i];
}

static bool set_has(const struct meter_set *set, size_t number)
{
    return number / 64 < set->n_words && (set->words[number / 64] >> number % 64 & 1);
}

/* The ids of its meters, in order. */
static void set_ids(const struct store *s, const struct meter_set *set, struct hot_ids *out)
{
    for (size_t i = 0; i < s->n_meters; i++)
        if (set_has(set, s->meters[i]->number))
            hot_ids_add(out, s->meters[i]->id, strlen(s->meters[i]->id));
}

struct list_key {
    int64_t minute_ms;
    const char *token;
};

static int compare_list(const void *key, const void *element)
{
    const struct list_key *k = key;
    const struct list *l = element;

    if (k->minute_ms != l->minute_ms)
        return k->minute_ms < l->minute_ms ? -1 : 1;
    return strcmp(k->token, l->token);
}

static size_t list_place(const struct lists *ls, int64_t minute_ms, const char *token)
{
    struct list_key k = {minute_ms, token};

    return ram_place(ls->lists, ls->n, sizeof *ls->lists, compare_list, &k);
}

static bool is_list_at(const struct lists *ls, size_t at, int64_t minute_ms, const char *token)
{
    struct list_key k = {minute_ms, token};

    return at < ls->n && compare_list(&k, &ls->lists[at]) == 0;
}

static struct list *find_list(const struct lists *ls, int64_t minute_ms, const char *token)
{
    size_t at = list_place(ls, minute_ms, token);

    return is_list_at(ls, at, minute_ms, token) ? &ls->lists[at] : NULL;
}

static struct list *need_list(struct lists *ls, int64_t minute_ms, const char *token)
{
    size_t at = list_place(ls, minute_ms, token);

    if (is_list_at(ls, at, minute_ms, token))
        return &ls->lists[at];
    ls->lists = ram_make_hole(ls->lists, ls->n, &ls->cap, sizeof *ls->lists, at);
    ls->lists[at] =
        (struct list){.minute_ms = minute_ms, .token = xstrdup(token), .due_ms = NEVER_MS};
    ls->n++;
    return &ls->lists[at];
}

static void clear_list(struct list *l)
{
    free(l->token);
    free(l->meters.words);
}

static void drop_list(struct lists *ls, struct list *l)
{
    clear_list(l);
    ram_close_gap(ls->lists, ls->n, sizeof *ls->lists, (size_t)(l - ls->lists));
    ls->n--;
}

static void clear_lists(struct lists *ls)
{
    for (size_t i = 0; i < ls->n; i++)
        clear_list(&ls->lists[i]);
    ls->n = 0;
}

/* The list of those that wait for this minute, due no later than then. */
static struct list *waiting_list(struct store *s, int64_t minute_ms, int64_t due_ms)
{
    struct list *l = need_list(&s->waiting, minute_ms, "");

    if (due_ms < l->due_ms)
        l->due_ms = due_ms;
    return l;
}

/* True when the minute or one beside it waits or is claimed. */
static bool is_minute_needed(const struct lists *ls, int64_t minute_ms)
{
    size_t at = list_place(ls, minute_ms - MINUTE_MS, "");

    return at < ls->n && ls->lists[at].minute_ms <= minute_ms + MINUTE_MS;
}

static bool is_listed(const struct lists *ls, size_t number)
{
    for (size_t i = 0; i < ls->n; i++)
        if (set_has(&ls->lists[i].meters, number))
            return true;
    return false;
}

/* ---- What ingest writes ------------------------------------------------------------------- */

static void store_put(struct store *s, const struct hot_put *p, int64_t now_ms)
{
    struct meter *m = need_meter(s, p->meter_id);
    struct series *t = series_of(s, m);

    add_member(t, p);
    expire_after(s, t, SAFETY_EXPIRY_MS);
    if (p->latest)
        set_message(&m->latest[p->topic], p->latest, p->latest_len, p->time_ms);
    for (int i = 0; i < p->n_dirty; i++)
        set_add(&waiting_list(s, p->dirty[i], p->dirty[i] + MINUTE_MS + HOT_GRACE_MS)->meters,
                m->number);
    heard_of(m, now_ms);
}

static char *copy_bytes(const char *s, size_t len)
{
    char *copy = xmalloc(len + 1);

    if (len)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

static char *copy_text(const char *s)
{
    return xstrdup(s ? s : "");
}

/* The place of the next entry; the oldest makes room for it. */
static struct hot_quarantined *next_quarantined(struct store *s)
{
    size_t at = s->quarantine_serial++ % QUARANTINE_MOST;

    if (s->n_quarantine == QUARANTINE_MOST) {
        hot_quarantined_clear(&s->quarantine[at], 1);
        return &s->quarantine[at];
    }
    s->quarantine = ram_make_hole(s->quarantine, s->n_quarantine, &s->quarantine_cap,
                                  sizeof *s->quarantine, at);
    s->n_quarantine++;
    return &s->quarantine[at];
}

static void store_reject(struct store *s, const struct hot_reject *x, int64_t now_ms)
{
    size_t len = x->payload_len < HOT_QUARANTINE_PAYLOAD ? x->payload_len : HOT_QUARANTINE_PAYLOAD;
    struct hot_quarantined *q = next_quarantined(s);

    *q = (struct hot_quarantined){
        .reason = copy_text(x->reason),
        .detail = copy_text(x->detail),
        .topic = copy_bytes(x->topic, x->topic_len),
        .meter_id = copy_text(x->meter_id),
        .payload = copy_bytes(x->payload, len),
        .payload_len = len,
    };
    snprintf(q->id, sizeof q->id, "%lld-%llu", (long long)now_ms,
             (unsigned long long)s->quarantine_serial);
    if (x->heard && q->meter_id[0])
        heard_of(need_meter(s, q->meter_id), now_ms);
}

static int compare_writer(const void *key, const void *element)
{
    return strcmp(key, ((const struct writer *)element)->name);
}

static size_t writer_place(const struct store *s, const char *name)
{
    return ram_place(s->writers, s->n_writers, sizeof *s->writers, compare_writer, name);
}

static bool is_writer_at(const struct store *s, size_t at, const char *name)
{
    return at < s->n_writers && strcmp(s->writers[at].name, name) == 0;
}

bool hot_ram_is_fenced(const struct hot *h)
{
    const struct ram *r = (const struct ram *)h;

    if (!r->writer.name)
        return false;
    size_t at = writer_place(r->store, r->writer.name);
    return is_writer_at(r->store, at, r->writer.name) &&
           strcmp(r->store->writers[at].token, r->writer.token) != 0;
}

static void clear_writer(struct writer *w)
{
    free(w->name);
    free(w->token);
}

static void set_writer(struct writer *w, const char *name, const char *token)
{
    clear_writer(w);
    *w = (struct writer){xstrdup(name), xstrdup(token)};
}

/* The handle is fenced also when the call fails, as it may have reached the server. */
static bool ram_take_writer(struct hot *h, const char *name, const char *token, struct err *e)
{
    struct store *s = store_of(h);
    struct call c;

    set_writer(&ram_of(h)->writer, name, token);
    if (!call_begin(&c, h, "take_writer", RAM_WRITES, e))
        return false;
    size_t at = writer_place(s, name);
    if (!is_writer_at(s, at, name)) {
        s->writers =
            ram_make_hole(s->writers, s->n_writers, &s->writers_cap, sizeof *s->writers, at);
        s->writers[at] = (struct writer){0};
        s->n_writers++;
    }
    set_writer(&s->writers[at], name, token);
    return call_end(&c, e);
}

static bool ram_store(struct hot *h, const struct hot_batch *b, struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "store", RAM_WRITES, e))
        return false;
    if (hot_ram_is_fenced(h))
        return err_set(e, ERR_RETRY, "another process stores as %s now", ram_of(h)->writer.name);
    for (size_t i = 0; i < b->n_puts; i++)
        store_put(store_of(h), &b->puts[i], b->now_ms);
    for (size_t i = 0; i < b->n_rejects; i++)
        store_reject(store_of(h), &b->rejects[i], b->now_ms);
    return call_end(&c, e);
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

static size_t count_due(const struct store *s, int64_t now_ms)
{
    size_t n = 0;

    for (size_t i = 0; i < s->waiting.n; i++)
        n += s->waiting.lists[i].due_ms <= now_ms;
    return n;
}

/* Those due longest, then in order of the minutes. */
static bool ram_due_minutes(struct hot *h, int64_t now_ms, int64_t *out, size_t most, size_t *n,
                            struct err *e)
{
    struct store *s = store_of(h);
    struct call c;
    size_t found = 0;

    *n = 0;
    if (!call_begin(&c, h, "due_minutes", RAM_READS, e) || !call_end(&c, e))
        return false;
    size_t due = count_due(s, now_ms);
    if (due == 0)
        return true;
    struct due *dues = xcalloc(due, sizeof *dues);
    for (size_t i = 0; i < s->waiting.n; i++)
        if (s->waiting.lists[i].due_ms <= now_ms)
            dues[found++] = (struct due){s->waiting.lists[i].due_ms, s->waiting.lists[i].minute_ms};
    qsort(dues, due, sizeof *dues, compare_dues);
    for (; *n < due && *n < most; (*n)++)
        out[*n] = dues[*n].minute_ms;
    free(dues);
    qsort(out, *n, sizeof *out, compare_int64);
    return true;
}

static bool ram_claim(struct hot *h, int64_t minute_ms, const char *token, struct hot_ids *out,
                      struct err *e)
{
    struct store *s = store_of(h);
    struct call c;

    out->n = 0;
    if (!call_begin(&c, h, "claim", RAM_WRITES, e))
        return false;
    struct list *waiting = find_list(&s->waiting, minute_ms, "");
    if (waiting) {
        set_add_all(&need_list(&s->claimed, minute_ms, token)->meters, &waiting->meters);
        drop_list(&s->waiting, waiting);
    }
    if (!call_end(&c, e))
        return false;
    const struct list *work = find_list(&s->claimed, minute_ms, token);
    if (work)
        set_ids(s, &work->meters, out);
    return true;
}

static bool ram_recover(struct hot *h, const char *token, size_t *n_minutes, struct err *e)
{
    struct store *s = store_of(h);
    struct call c;

    (void)token;
    *n_minutes = 0;
    if (!call_begin(&c, h, "recover", RAM_WRITES, e))
        return false;
    size_t recovered = s->claimed.n;
    for (size_t i = 0; i < recovered; i++) {
        const struct list *work = &s->claimed.lists[i];
        set_add_all(&waiting_list(s, work->minute_ms, 0)->meters, &work->meters);
    }
    clear_lists(&s->claimed);
    if (!call_end(&c, e))
        return false;
    *n_minutes = recovered;
    return true;
}

static void mark_meter(struct store *s, int64_t minute_ms, const char *id, int64_t due_ms)
{
    set_add(&waiting_list(s, minute_ms, due_ms)->meters, need_meter(s, id)->number);
}

static bool ram_release(struct hot *h, int64_t minute_ms, const char *token,
                        const struct hot_ids *again, int64_t again_due_ms, struct err *e)
{
    struct store *s = store_of(h);
    struct call c;

    if (!call_begin(&c, h, "release", RAM_WRITES, e))
        return false;
    struct list *work = find_list(&s->claimed, minute_ms, token);
    if (work)
        drop_list(&s->claimed, work);
    for (size_t i = 0; again && i < again->n; i++)
        mark_meter(s, minute_ms, again->ids[i], again_due_ms);
    return call_end(&c, e);
}

static bool ram_mark(struct hot *h, int64_t minute_ms, const char *const *ids, size_t n,
                     int64_t due_ms, struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "mark", RAM_WRITES, e))
        return false;
    for (size_t i = 0; i < n; i++)
        mark_meter(store_of(h), minute_ms, ids[i], due_ms);
    return call_end(&c, e);
}

/* When the answer breaks off, the members of the first half of the meters have come. */
static bool ram_read(struct hot *h, const char *const *ids, size_t n, int64_t from_ms,
                     int64_t to_ms, hot_member_fn *fn, void *ctx, struct err *e)
{
    struct store *s = store_of(h);
    struct call c;

    if (!call_begin(&c, h, "read", RAM_READS, e))
        return false;
    for (size_t i = 0; i < (c.fault == RAM_FINE ? n : n / 2); i++) {
        struct meter *m = find_meter(s, ids[i]);
        const struct series *t = m ? series_of(s, m) : NULL;
        for (size_t at = t ? member_place(t, from_ms) : 0;
             t && at < t->n && t->members[at].time_ms < to_ms; at++)
            fn(ctx, &(struct hot_member){i, t->bytes + t->members[at].at, t->members[at].len});
    }
    return call_end(&c, e);
}

/* The answer for the minute of the member before serves for most members. */
struct needed {
    const struct store *store;
    int64_t minute_ms;
    bool answer;
};

static bool is_needed(struct needed *n, int64_t time_ms)
{
    int64_t minute_ms = when_floor(time_ms, MINUTE_MS);

    if (minute_ms != n->minute_ms) {
        n->minute_ms = minute_ms;
        n->answer = is_minute_needed(&n->store->waiting, minute_ms) ||
                    is_minute_needed(&n->store->claimed, minute_ms);
    }
    return n->answer;
}

static void trim_series(const struct store *s, struct series *t, int64_t cutoff_ms)
{
    struct needed needed = {s, INT64_MIN, false};
    size_t old = member_place(t, cutoff_ms);
    size_t kept = 0;

    if (old > TRIM_MOST)
        old = TRIM_MOST;
    for (size_t i = 0; i < old; i++) {
        if (is_needed(&needed, t->members[i].time_ms))
            t->members[kept++] = t->members[i];
        else
            t->unused += t->members[i].len;
    }
    if (kept == old)
        return;
    memmove(t->members + kept, t->members + old, (t->n - old) * sizeof *t->members);
    t->n -= old - kept;
    if (t->n == 0)
        clear_series(t);
    else
        pack_series(t);
}

static void trim_meter(const struct store *s, struct meter *m, int64_t cutoff_ms, int ttl_s)
{
    struct series *t = series_of(s, m);
    bool few = s->waiting.n + s->claimed.n <= LISTS_MOST;

    trim_series(s, t, cutoff_ms);
    if (few && !is_listed(&s->waiting, m->number) && !is_listed(&s->claimed, m->number))
        expire_earlier(s, t, ttl_s * INT64_C(1000));
}

static bool ram_trim(struct hot *h, const char *const *ids, size_t n, int64_t cutoff_ms, int ttl_s,
                     struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "trim", RAM_WRITES, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct meter *m = find_meter(store_of(h), ids[i]);
        if (m)
            trim_meter(store_of(h), m, cutoff_ms, ttl_s);
    }
    return call_end(&c, e);
}

/* ---- What the API reads ------------------------------------------------------------------- */

static bool ram_latest_times(struct hot *h, const char *const *ids, size_t n, int64_t *times,
                             struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "latest_times", RAM_READS, e) || !call_end(&c, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct meter *m = find_meter(store_of(h), ids[i]);
        for (size_t t = 0; t < TOPIC_COUNT; t++)
            times[i * TOPIC_COUNT + t] =
                m && m->latest[t].present ? m->latest[t].time_ms : INT64_MIN;
    }
    return true;
}

static char *copy_message(const struct message *m, size_t *len)
{
    if (!m->present)
        return NULL;
    *len = m->len;
    return copy_bytes(m->text, m->len);
}

static void copy_latest(const struct store *s, const char *id, struct hot_latest *out)
{
    const struct meter *m = find_meter(s, id);

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
    struct call c;

    memset(out, 0, n * sizeof *out);
    if (!call_begin(&c, h, "latest", RAM_READS, e) || !call_end(&c, e))
        return false;
    for (size_t i = 0; i < n; i++)
        copy_latest(store_of(h), ids[i], &out[i]);
    return true;
}

static int compare_seen(const void *a, const void *b)
{
    const struct meter *x = *(struct meter *const *)a, *y = *(struct meter *const *)b;

    if (x->seen_ms != y->seen_ms)
        return x->seen_ms < y->seen_ms ? -1 : 1;
    return strcmp(x->id, y->id);
}

static bool is_silent(const struct meter *m, int64_t before_ms)
{
    return m->seen_ms != 0 && m->seen_ms < before_ms;
}

static bool ram_silent(struct hot *h, int64_t before_ms, size_t most, struct hot_latest *out,
                       size_t *n, struct err *e)
{
    struct store *s = store_of(h);
    struct call c;
    size_t found = 0;

    *n = 0;
    if (!call_begin(&c, h, "silent", RAM_READS, e) || !call_end(&c, e))
        return false;
    struct meter **silent = xcalloc(s->n_meters, sizeof(struct meter *));
    for (size_t i = 0; i < s->n_meters; i++)
        if (is_silent(s->meters[i], before_ms))
            silent[found++] = s->meters[i];
    qsort(silent, found, sizeof(struct meter *), compare_seen);
    for (; *n < found && *n < most; (*n)++)
        copy_latest(s, silent[*n]->id, &out[*n]);
    free(silent);
    return true;
}

static bool ram_drop_silent(struct hot *h, const struct hot_latest *l, size_t n, int64_t before_ms,
                            struct err *e)
{
    struct call c;

    if (!call_begin(&c, h, "drop_silent", RAM_WRITES, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct meter *m = find_meter(store_of(h), l[i].meter_id);
        if (!m || m->seen_ms >= before_ms)
            continue;
        m->seen_ms = 0;
        for (size_t t = 0; t < TOPIC_COUNT; t++)
            m->latest[t].present = false;
    }
    return call_end(&c, e);
}

static bool ram_meters(struct hot *h, const char *after, size_t most, struct hot_ids *out,
                       struct err *e)
{
    struct store *s = store_of(h);
    struct call c;

    out->n = 0;
    if (!call_begin(&c, h, "meters", RAM_READS, e) || !call_end(&c, e))
        return false;
    for (size_t i = meter_place(s, after); i < s->n_meters && out->n < most; i++)
        if (s->meters[i]->seen_ms && strcmp(s->meters[i]->id, after) != 0)
            hot_ids_add(out, s->meters[i]->id, strlen(s->meters[i]->id));
    return true;
}

static int compare_health(const void *key, const void *element)
{
    return strcmp(key, ((const struct health *)element)->stage);
}

static bool ram_put_health(struct hot *h, const char *stage, const char *json, struct err *e)
{
    struct store *s = store_of(h);
    struct call c;

    if (!call_begin(&c, h, "put_health", RAM_WRITES, e))
        return false;
    size_t at = ram_place(s->health, s->n_health, sizeof *s->health, compare_health, stage);
    if (at < s->n_health && strcmp(s->health[at].stage, stage) == 0) {
        free(s->health[at].json);
        s->health[at].json = xstrdup(json);
    } else {
        s->health = ram_make_hole(s->health, s->n_health, &s->health_cap, sizeof *s->health, at);
        s->health[at] = (struct health){xstrdup(stage), xstrdup(json)};
        s->n_health++;
    }
    return call_end(&c, e);
}

static bool ram_get_health(struct hot *h, struct buf *out, struct err *e)
{
    const struct store *s = store_of(h);
    struct call c;

    if (!call_begin(&c, h, "get_health", RAM_READS, e) || !call_end(&c, e))
        return false;
    buf_addc(out, '{');
    for (size_t i = 0; i < s->n_health; i++) {
        if (i)
            buf_addc(out, ',');
        buf_add_json_string(out, s->health[i].stage, strlen(s->health[i].stage));
        buf_addc(out, ':');
        buf_adds(out, s->health[i].json);
    }
    buf_addc(out, '}');
    return true;
}

static bool ram_durability(struct hot *h, struct hot_durability *out, struct err *e)
{
    struct call c;

    *out = (struct hot_durability){.text = "in memory: lost when the process ends"};
    return call_begin(&c, h, "durability", RAM_READS, e) && call_end(&c, e);
}

static bool ram_usage(struct hot *h, struct hot_usage *out, struct err *e)
{
    const struct store *s = store_of(h);
    struct call c;

    *out = (struct hot_usage){0};
    if (!call_begin(&c, h, "usage", RAM_READS, e) || !call_end(&c, e))
        return false;
    out->quarantined = s->n_quarantine;
    out->minutes_waiting = s->waiting.n;
    if (s->waiting.n > 0)
        out->oldest_waiting_ms = s->waiting.lists[0].minute_ms;
    return true;
}

static struct hot_quarantined copy_quarantined(const struct hot_quarantined *q)
{
    struct hot_quarantined copy = {
        .reason = xstrdup(q->reason),
        .detail = xstrdup(q->detail),
        .topic = xstrdup(q->topic),
        .meter_id = xstrdup(q->meter_id),
        .payload = copy_bytes(q->payload, q->payload_len),
        .payload_len = q->payload_len,
    };

    memcpy(copy.id, q->id, sizeof copy.id);
    return copy;
}

static bool ram_quarantine(struct hot *h, size_t most, struct hot_quarantined *out, size_t *n,
                           struct err *e)
{
    const struct store *s = store_of(h);
    struct call c;

    *n = 0;
    if (!call_begin(&c, h, "quarantine", RAM_READS, e) || !call_end(&c, e))
        return false;
    for (; *n < most && *n < s->n_quarantine; (*n)++)
        out[*n] =
            copy_quarantined(&s->quarantine[(s->quarantine_serial - 1 - *n) % QUARANTINE_MOST]);
    return true;
}

/* ---- Open and close ----------------------------------------------------------------------- */

void hot_ram_set_clock(struct hot *h, const struct clock *clock)
{
    store_of(h)->clock = clock;
}

struct hot_ram_counts hot_ram_count(const struct hot *h)
{
    const struct store *s = ((const struct ram *)h)->store;
    struct hot_ram_counts counts = {.minutes_waiting = s->waiting.n,
                                    .minutes_claimed = s->claimed.n};

    for (size_t i = 0; i < s->n_meters; i++) {
        const struct series *t = series_of(s, s->meters[i]);
        counts.members += t->n;
        counts.member_bytes += t->cap * sizeof *t->members + t->bytes_cap;
    }
    return counts;
}

static void free_meter(struct meter *m)
{
    for (size_t t = 0; t < TOPIC_COUNT; t++)
        free(m->latest[t].text);
    clear_series(&m->series);
    free(m);
}

static void free_store(struct store *s)
{
    for (size_t i = 0; i < s->n_meters; i++)
        free_meter(s->meters[i]);
    for (size_t i = 0; i < s->n_health; i++) {
        free(s->health[i].stage);
        free(s->health[i].json);
    }
    for (size_t i = 0; i < s->n_writers; i++)
        clear_writer(&s->writers[i]);
    clear_lists(&s->waiting);
    clear_lists(&s->claimed);
    hot_quarantined_clear(s->quarantine, s->n_quarantine);
    free(s->meters);
    free(s->waiting.lists);
    free(s->claimed.lists);
    free(s->health);
    free(s->writers);
    free(s->quarantine);
    free(s);
}

static void ram_close(struct hot *h)
{
    struct ram *r = ram_of(h);
    struct ram **at = &r->store->handles;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    if (!r->store->handles)
        free_store(r->store);
    clear_writer(&r->writer);
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
    .take_writer = ram_take_writer,
    .close = ram_close,
};

static struct hot *open_handle(struct store *s)
{
    struct ram *r = xcalloc(1, sizeof *r);

    r->hot.ops = &ram_ops;
    r->gate.server = "hot store in memory";
    r->store = s;
    r->next = s->handles;
    s->handles = r;
    return &r->hot;
}

struct hot *hot_ram_open(void)
{
    return open_handle(xcalloc(1, sizeof(struct store)));
}

struct hot *hot_ram_share(struct hot *h)
{
    return open_handle(store_of(h));
}
