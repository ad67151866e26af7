#include "world.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/when.h"
#include "oracle.h"
#include "process.h"

enum { PROCESSES_MOST = 12, IDENTITY_SLOTS = 16384 };

/* How far clocks of two machines may be apart, and some time for a step. */
#define CLOCKS_APART_MS INT64_C(150000)

/* A place that is to be filled by a process. */
struct slot {
    const char *name;
    struct process *process; /* NULL: none */
    int64_t restart_ms;
};

enum { SLOT_INGEST, SLOT_AGGREGATE, SLOT_SPARE, SLOT_COUNT };

enum { LATEST_MOST = 8 };

/*
 * What the latest message of a topic may be. A meter that was silent for about as long as the limit
 * may have left, or not; what comes then may be the latest, or an older one than a process
 * remembers.
 */
struct latest {
    int64_t times_ms[LATEST_MOST];
    int n;
    bool absent;       /* it may also be that there is none */
    int64_t newest_ms; /* of all time */
};

/* What the hot store has heard of a meter, from the batches it took. */
struct heard {
    int64_t seen_ms; /* receive time of its last message, 0: none */
    struct latest latest[TOPIC_COUNT];
};

struct world {
    struct plan *plan;
    struct trace *trace;
    struct world_report *report;
    struct site site;
    struct clock clock;
    struct process processes[PROCESSES_MOST];
    struct slot slots[SLOT_COUNT];
    int n_slots;
    struct rng rng;
    size_t next_publish;
    int next_trouble, next_quiet;
    bool quiet; /* nothing is sent and nothing goes wrong */
    struct heard heard[METERS_MOST];
    uint64_t stores;
    uint32_t identities[IDENTITY_SLOTS]; /* 1 + the first message of an identity */
    uint32_t *same;                      /* 1 + the next message of the same identity */
    size_t same_cap;
    const struct message **list;
};

static void PRINTF(3, 4) broken(struct world *w, const char *invariant, const char *fmt, ...)
{
    struct world_report *r = w->report;
    va_list args;

    if (!r->sound)
        return;
    r->sound = false;
    r->at_ms = w->site.now_ms - w->plan->begin_ms;
    snprintf(r->invariant, sizeof r->invariant, "%s", invariant);
    va_start(args, fmt);
    vsnprintf(r->text, sizeof r->text, fmt, args);
    va_end(args);
}

static void note(struct world *w, const char *what, const char *result, int64_t number)
{
    trace_add(w->trace, w->site.now_ms, "world", what, result, number);
}

static int64_t world_now(void *ctx)
{
    return ((const struct world *)ctx)->site.now_ms;
}

/* ---- Messages by identity ------------------------------------------------------------------ */

static size_t identity_hash(int meter, enum topic topic, int64_t time_ms)
{
    uint64_t h = (uint64_t)time_ms * 64 + (uint64_t)meter * 4 + topic;

    h *= UINT64_C(0x9e3779b97f4a7c15);
    return h >> 50;
}

static uint32_t *identity_slot(struct world *w, int meter, enum topic topic, int64_t time_ms)
{
    size_t at = identity_hash(meter, topic, time_ms);

    for (;; at = (at + 1) % IDENTITY_SLOTS) {
        uint32_t i = w->identities[at];
        const struct message *m = i ? &w->plan->messages[i - 1] : NULL;
        if (!m || (m->meter == meter && m->topic == topic && m->time_ms == time_ms))
            return &w->identities[at];
    }
}

static void index_messages(struct world *w)
{
    struct plan *p = w->plan;

    if (w->same_cap < p->n_messages) {
        w->same_cap = p->messages_cap;
        w->same = xrealloc_array(w->same, w->same_cap, sizeof *w->same);
        w->list = xrealloc_array(w->list, w->same_cap, sizeof *w->list);
    }
    memset(w->identities, 0, sizeof w->identities);
    for (size_t i = 0; i < p->n_messages; i++) {
        struct message *m = &p->messages[i];
        uint32_t *slot = identity_slot(w, m->meter, m->topic, m->time_ms);
        w->same[i] = *slot;
        *slot = (uint32_t)i + 1;
        m->published = m->lost = m->stored = false;
    }
}

/* ---- The latest messages ------------------------------------------------------------------- */

static bool is_text_of(struct world *w, int meter, enum topic topic, int64_t time_ms,
                       const char *text, size_t len)
{
    char payload[PAYLOAD_MOST];

    for (uint32_t i = *identity_slot(w, meter, topic, time_ms); i; i = w->same[i - 1])
        if (message_write(w->plan, &w->plan->messages[i - 1], payload) == len &&
            memcmp(payload, text, len) == 0)
            return true;
    return false;
}

static void check_latest_topic(struct world *w, int meter, enum topic topic, const char *text,
                               size_t len)
{
    const struct heard *h = &w->heard[meter];
    const struct latest *l = &h->latest[topic];
    bool left = w->site.now_ms - h->seen_ms > w->plan->latest_ttl_ms - CLOCKS_APART_MS;
    char newest[WHEN_TEXT_SIZE];

    if (!text && !l->absent && !left)
        broken(w, "latest is the newest", "meter %s has no latest %s message",
               w->plan->meters[meter].id, topic_name(topic));
    if (!text)
        return;
    for (int i = 0; i < l->n; i++)
        if (is_text_of(w, meter, topic, l->times_ms[i], text, len))
            return;
    broken(w, "latest is the newest", "meter %s: not that of %s: %.*s", w->plan->meters[meter].id,
           when_text(l->newest_ms, newest), (int)(len < 200 ? len : 200), text);
}

static void check_latest(struct world *w, int meter)
{
    const char *id = w->plan->meters[meter].id;
    struct hot *hot = w->site.hot;
    struct hot_latest l;
    struct err e;

    /* Right after a restart of the server the first call fails. */
    if (!hot->ops->latest(hot, &id, 1, &l, &e) && !hot->ops->latest(hot, &id, 1, &l, &e)) {
        broken(w, "the store answers", "%s", e.text);
        return;
    }
    check_latest_topic(w, meter, TOPIC_DATA, l.data, l.data_len);
    check_latest_topic(w, meter, TOPIC_STATUS, l.status, l.status_len);
    hot_latest_clear(&l, 1);
}

static struct heard *hear(struct world *w, const char *id, int64_t now_ms)
{
    struct heard *h = &w->heard[atoi(id + 1)];

    if (h->seen_ms && now_ms - h->seen_ms > w->plan->latest_ttl_ms - CLOCKS_APART_MS)
        for (int t = 0; t < TOPIC_COUNT; t++)
            h->latest[t].absent = true;
    if (now_ms > h->seen_ms)
        h->seen_ms = now_ms;
    return h;
}

static void add_latest(struct latest *l, int64_t time_ms)
{
    for (int i = 0; i < l->n; i++)
        if (l->times_ms[i] == time_ms)
            return;
    if (l->n < LATEST_MOST)
        l->times_ms[l->n++] = time_ms;
}

static void hear_message(struct latest *l, int64_t time_ms)
{
    struct latest before = *l;

    l->n = 0;
    for (int i = 0; i < before.n; i++)
        add_latest(l, time_ms > before.times_ms[i] ? time_ms : before.times_ms[i]);
    if (!before.absent)
        return;
    add_latest(l, time_ms);
    l->absent = time_ms <= l->newest_ms;
}

struct wanted {
    const struct hot_put *put;
    bool found;
};

static void compare_member(void *ctx, const struct hot_member *m)
{
    struct wanted *w = ctx;

    w->found =
        w->found || (m->len == w->put->member_len && memcmp(m->bytes, w->put->member, m->len) == 0);
}

static bool is_stored(struct world *w, const struct hot_put *put)
{
    struct hot *hot = w->site.hot;
    struct wanted wanted = {put, false};
    struct err e;

    for (int i = 0; i < 2 && !wanted.found; i++)
        (void)hot->ops->read(hot, &put->meter_id, 1, put->time_ms, put->time_ms + 1, compare_member,
                             &wanted, &e);
    return wanted.found;
}

static void note_put(struct world *w, const struct hot_put *put, int64_t now_ms)
{
    struct latest *l = &hear(w, put->meter_id, now_ms)->latest[put->topic];
    uint32_t of = *identity_slot(w, atoi(put->meter_id + 1), put->topic, put->time_ms);

    hear_message(l, put->time_ms);
    if (put->time_ms > l->newest_ms)
        l->newest_ms = put->time_ms;
    if (of == 0)
        broken(w, "nothing is invented", "a message of meter %s that it never sent", put->meter_id);
    for (; of; of = w->same[of - 1])
        w->plan->messages[of - 1].stored = true;
}

static void note_stored(void *ctx, const struct process *p, const struct hot_batch *b,
                        bool answered)
{
    struct world *w = ctx;
    int meter = -1;

    for (size_t i = 0; i < b->n_puts; i++) {
        if (!answered && !is_stored(w, &b->puts[i]))
            continue;
        note_put(w, &b->puts[i], b->now_ms);
        meter = atoi(b->puts[i].meter_id + 1);
    }
    for (size_t i = 0; i < b->n_rejects; i++)
        if (b->rejects[i].heard)
            hear(w, b->rejects[i].meter_id, b->now_ms);
    if (meter >= 0 && (w->stores++ % 16 == 0 || p->replaced))
        check_latest(w, meter);
}

/* ---- Processes ----------------------------------------------------------------------------- */

static void fill_slot(struct world *w, struct slot *s)
{
    struct process *p = w->processes;

    while (p < w->processes + PROCESSES_MOST && p->state != PROCESS_GONE)
        p++;
    if (p == w->processes + PROCESSES_MOST) {
        broken(w, "the simulation has room", "too many processes");
        return;
    }
    process_start(p, &w->site, s->name, s == &w->slots[SLOT_INGEST]);
    s->process = p;
}

static struct slot *slot_of(struct world *w, const struct process *p)
{
    for (int i = 0; i < w->n_slots; i++)
        if (w->slots[i].process == p)
            return &w->slots[i];
    return NULL;
}

/* The process is no longer the one of its slot; another comes after delay_ms. */
static void vacate(struct world *w, struct process *p, int64_t delay_ms)
{
    struct slot *s = slot_of(w, p);

    p->replaced = true;
    if (!s)
        return;
    s->process = NULL;
    s->restart_ms = w->site.now_ms + delay_ms;
    if (p->ingest)
        broker_ram_drop_connection(w->site.broker);
}

static void bury(struct world *w, struct process *p)
{
    vacate(w, p, rng_between(&w->rng, 200, 5000));
    process_kill(p);
}

static int64_t idle_ms(struct world *w)
{
    const struct plan *p = w->plan;
    bool far = w->next_publish < p->n_publishes &&
               p->publishes[w->next_publish].at_ms > w->site.now_ms + 10 * MINUTE_MS;

    return far ? 20000 : rng_between(&w->rng, 500, p->poll_ms);
}

static int64_t pause_after(struct world *w, const struct process *p)
{
    if (!p->ok)
        return rng_between(&w->rng, 100, 1500);
    if (p->ingest)
        return broker_ram_waiting(w->site.broker) > 0 ? 1 : INT64_MAX / 2;
    return p->busy ? 1 : idle_ms(w);
}

/* A process that stalled and lost its session stays for a while, as one that waits. */
#define WAITS_MS INT64_C(20000)

static void step_process(struct world *w, struct process *p)
{
    bool had_stalled = p->state == PROCESS_STALLED;

    process_step(p);
    if (p->state == PROCESS_STALLED) {
        if (p->takeover) {
            if (p->history)
                history_ram_end_session(p->history);
            vacate(w, p, rng_between(&w->rng, 100, 3000));
        }
        return;
    }
    if (had_stalled && p->replaced)
        p->retire_ms = w->site.now_ms + (p->ingest ? 0 : WAITS_MS);
    if (p->dead || (p->replaced && w->site.now_ms >= p->retire_ms)) {
        bury(w, p);
        return;
    }
    p->next_ms = w->site.now_ms + pause_after(w, p);
}

/* ---- Troubles ------------------------------------------------------------------------------ */

static void lose_message(void *ctx, const struct broker_message *m)
{
    struct world *w = ctx;
    size_t i = 0;

    /* The name the broker stamps on a message is its number here. */
    for (size_t k = 0; k < m->publisher_len; k++)
        i = i * 10 + (size_t)(m->publisher[k] - '0');
    w->plan->messages[i].lost = true;
}

static void arm_stall(struct world *w, struct process *p, const struct trouble *t)
{
    if (p->state != PROCESS_READY || p->stall_in > 0)
        return;
    p->stall_in = t->calls;
    p->stall_ms = 1000 + t->length_ms;
    p->takeover = t->takeover;
    if (p->ingest) {
        p->stall_in = 1 + t->calls % 3;
        /* From now on it holds messages of its own. */
        p->keeps_copies = true;
        broker_ram_drop_connection(w->site.broker);
    }
}

/* All processes run on one machine. */
static void jump_clock(struct site *site, int64_t by_ms)
{
    site->skew_ms += by_ms;
    if (llabs(site->skew_ms) > 60000)
        site->skew_ms = 0;
}

static void happen(struct world *w, const struct trouble *t)
{
    static const char *const names[TROUBLE_COUNT] = {"kill",
                                                     "stall",
                                                     "hot weather",
                                                     "history weather",
                                                     "broker weather",
                                                     "hot down",
                                                     "history down",
                                                     "hot full",
                                                     "history read-only",
                                                     "hot restart",
                                                     "history restart",
                                                     "history session",
                                                     "broker drop",
                                                     "broker twice",
                                                     "broker session",
                                                     "broker small",
                                                     "clock jump"};
    struct site *site = &w->site;
    struct slot *slot = &w->slots[t->target];
    struct process *p = slot->process;
    int64_t until_ms = site->now_ms + t->length_ms;

    note(w, names[t->kind], slot->name, t->length_ms);
    switch (t->kind) {
    case TROUBLE_KILL:
        if (p) {
            p->die_in = t->calls;
            p->die_applied = t->applied;
        }
        break;
    case TROUBLE_STALL:
        if (p)
            arm_stall(w, p, t);
        break;
    case TROUBLE_HOT_WEATHER:
        site->hot_weather = (struct weather){until_ms, t->before, t->after, 0};
        break;
    case TROUBLE_HISTORY_WEATHER:
        site->history_weather = (struct weather){until_ms, t->before, t->after, 0};
        break;
    case TROUBLE_BROKER_WEATHER:
        site->broker_weather = (struct weather){until_ms, t->before, t->after, 0};
        break;
    case TROUBLE_HOT_DOWN:
        site->hot_weather = (struct weather){until_ms, 1000, 0, 0};
        break;
    case TROUBLE_HISTORY_DOWN:
        site->history_weather = (struct weather){until_ms, 1000, 0, 0};
        break;
    case TROUBLE_HOT_FULL:
        site->hot_weather = (struct weather){until_ms, 0, 0, 1000};
        break;
    case TROUBLE_HISTORY_READ_ONLY:
        site->history_weather = (struct weather){until_ms, 0, 0, 1000};
        break;
    case TROUBLE_HOT_RESTART:
        hot_ram_restart(site->hot);
        break;
    case TROUBLE_HISTORY_RESTART:
        history_ram_restart(site->history);
        break;
    case TROUBLE_HISTORY_SESSION:
        if (p && p->history)
            history_ram_end_session(p->history);
        break;
    case TROUBLE_BROKER_DROP:
        broker_ram_drop_connection(site->broker);
        break;
    case TROUBLE_BROKER_TWICE:
        broker_ram_duplicate_next(site->broker, (size_t)t->calls);
        break;
    case TROUBLE_BROKER_SESSION:
        if (w->plan->contradicts)
            break;
        broker_ram_each_waiting(site->broker, lose_message, w);
        broker_ram_lose_session(site->broker);
        break;
    case TROUBLE_BROKER_SMALL:
        broker_ram_limit_batch(site->broker, t->calls);
        break;
    case TROUBLE_CLOCK_JUMP:
        jump_clock(site, t->length_ms);
        break;
    case TROUBLE_COUNT:
        break;
    }
}

/* All servers are well, and no process is to die or stall any more. */
static void heal(struct world *w)
{
    static const struct weather fair = {0};

    w->site.hot_weather = w->site.history_weather = w->site.broker_weather = fair;
    broker_ram_limit_batch(w->site.broker, 0);
    for (struct process *p = w->processes; p < w->processes + PROCESSES_MOST; p++)
        p->die_in = p->stall_in = 0;
}

static enum ram_fault next_broker_fault(void *ctx, const char *call)
{
    struct world *w = ctx;
    const struct weather *weather = &w->site.broker_weather;

    if (w->site.now_ms >= weather->until_ms)
        return RAM_FINE;
    int64_t dice = rng_between(&w->site.weather, 0, 999);
    if (dice >= weather->before + weather->after)
        return RAM_FINE;
    note(w, "broker fails", call, dice);
    return dice < weather->before ? RAM_FAIL_BEFORE : RAM_FAIL_AFTER;
}

/* ---- What happens next --------------------------------------------------------------------- */

static void publish_next(struct world *w)
{
    uint32_t i = w->plan->publishes[w->next_publish++].message;
    struct message *m = &w->plan->messages[i];
    struct process *ingest = w->slots[SLOT_INGEST].process;
    char payload[PAYLOAD_MOST], number[16];
    size_t len = message_write(w->plan, m, payload);

    snprintf(number, sizeof number, "%u", i);
    broker_ram_publish(w->site.broker, topic_path(m->topic), payload, len, number);
    note(w, "publish", w->plan->meters[m->meter].id, i);
    if (w->trace->all)
        fprintf(w->trace->all, "             %s %.*s\n", topic_name(m->topic), (int)len, payload);
    m->published = true;
    m->lost = false;
    w->report->messages++;
    if (ingest && ingest->state == PROCESS_READY && ingest->next_ms > w->site.now_ms + 5000)
        ingest->next_ms = w->site.now_ms + rng_between(&w->rng, 1, w->plan->poll_ms);
}

static struct process *next_process(struct world *w)
{
    struct process *next = NULL;

    for (struct process *p = w->processes; p < w->processes + PROCESSES_MOST; p++)
        if (p->state != PROCESS_GONE && (!next || p->next_ms < next->next_ms))
            next = p;
    return next;
}

static struct slot *next_restart(struct world *w)
{
    struct slot *next = NULL;

    for (struct slot *s = w->slots; s < w->slots + w->n_slots; s++)
        if (!s->process && (!next || s->restart_ms < next->restart_ms))
            next = s;
    return next;
}

/* Let the one thing happen that comes next, but nothing after limit_ms. False: nothing did. */
static bool advance(struct world *w, int64_t limit_ms)
{
    const struct plan *p = w->plan;
    struct process *process = next_process(w);
    struct slot *restart = next_restart(w);
    int64_t publish_ms = !w->quiet && w->next_publish < p->n_publishes
                             ? p->publishes[w->next_publish].at_ms
                             : INT64_MAX;
    int64_t trouble_ms = !w->quiet && w->next_trouble < p->n_troubles
                             ? p->troubles[w->next_trouble].at_ms
                             : INT64_MAX;
    int64_t restart_ms = restart ? restart->restart_ms : INT64_MAX;
    int64_t process_ms = process ? process->next_ms : INT64_MAX;
    int64_t first_ms = process_ms;

    first_ms = publish_ms < first_ms ? publish_ms : first_ms;
    first_ms = trouble_ms < first_ms ? trouble_ms : first_ms;
    first_ms = restart_ms < first_ms ? restart_ms : first_ms;
    if (first_ms > limit_ms)
        return false;
    if (first_ms > w->site.now_ms)
        w->site.now_ms = first_ms;
    if (first_ms == trouble_ms)
        happen(w, &p->troubles[w->next_trouble++]);
    else if (first_ms == publish_ms)
        publish_next(w);
    else if (first_ms == restart_ms)
        fill_slot(w, restart);
    else
        step_process(w, process);
    return w->report->sound;
}

/* ---- Invariants ---------------------------------------------------------------------------- */

static bool is_expected(const struct message *m)
{
    return m->published && !m->refused && (!m->lost || m->stored);
}

static bool is_same_content(const struct message *a, const struct message *b)
{
    if (a->given != b->given)
        return false;
    for (int f = 0; f < FIELD_COUNT; f++)
        if ((a->given >> f & 1) && a->value[f] != b->value[f])
            return false;
    return true;
}

/* Whether an earlier one of the chain says the same. */
static bool is_repeated(struct world *w, uint32_t i)
{
    const struct message *m = &w->plan->messages[i];

    for (uint32_t k = w->same[i]; k; k = w->same[k - 1]) {
        const struct message *other = &w->plan->messages[k - 1];
        if (is_expected(other) && is_same_content(other, m))
            return true;
    }
    return false;
}

static void count_member(void *ctx, const struct hot_member *m)
{
    (void)m;
    (*(size_t *)ctx)++;
}

/* What the hot store must still have it has once: nothing twice, nothing taken away too early. */
static void check_members(struct world *w, int meter)
{
    const struct plan *p = w->plan;
    const char *id = p->meters[meter].id;
    struct hot *hot = w->site.hot;
    int64_t from_ms = w->site.now_ms - p->ttl_s * INT64_C(1000) + 2 * CLOCKS_APART_MS;
    size_t want = 0, is = 0;
    struct err e;

    if (p->change_format)
        return;
    for (uint32_t i = 0; i < p->n_messages; i++) {
        const struct message *m = &p->messages[i];
        if (m->meter == meter && m->time_ms >= from_ms && is_expected(m) && !is_repeated(w, i))
            want++;
    }
    if (!hot->ops->read(hot, &id, 1, from_ms, INT64_MAX, count_member, &is, &e)) {
        is = 0;
        if (!hot->ops->read(hot, &id, 1, from_ms, INT64_MAX, count_member, &is, &e))
            broken(w, "the store answers", "%s", e.text);
    }
    if (is != want)
        broken(w, "each message is one member", "meter %s has %zu readings, not %zu", id, is, want);
}

/* The meter's messages that must be in rows, in order. */
static size_t expected_messages(struct world *w, int meter)
{
    const struct plan *p = w->plan;
    size_t n = 0;

    for (size_t i = 0; i < p->n_messages; i++)
        if (p->messages[i].meter == meter && is_expected(&p->messages[i]))
            w->list[n++] = &p->messages[i];
    return oracle_order(p, w->list, n);
}

static void check_row(struct world *w, int meter, const struct oracle_row *want)
{
    const char *id = w->plan->meters[meter].id;
    const struct minute *row = history_ram_row(w->site.history, id, want->bucket_ms);
    char why[200], when[WHEN_TEXT_SIZE];

    when_text(want->bucket_ms, when);
    if (!row) {
        broken(w, "nothing confirmed is missing", "meter %s has no row for %s with %d messages", id,
               when, want->n + want->n_status);
        return;
    }
    if (w->plan->class == PLAN_LATE ? !oracle_allows(want, row, why, sizeof why)
                                    : !oracle_agrees(want, row, why, sizeof why))
        broken(w, "rows are what the messages say", "meter %s, %s: %s", id, when, why);
}

/* Every row of the meter; returns how many there must be. */
static size_t check_rows(struct world *w, int meter, size_t n)
{
    struct oracle_row rows[2];
    const struct oracle_row *earlier = NULL;
    size_t from = 0, to = 0, count = 0;

    for (size_t i = 0; i < n; i++) {
        struct oracle_row *row = &rows[count % 2];
        int64_t bucket_ms = when_floor(w->list[i]->time_ms, MINUTE_MS);
        if (earlier && earlier->bucket_ms == bucket_ms)
            continue;
        while (w->list[from]->time_ms < bucket_ms - MINUTE_MS)
            from++;
        while (to < n && w->list[to]->time_ms < bucket_ms + 2 * MINUTE_MS)
            to++;
        if (!oracle_row(w->plan, w->list + from, to - from, bucket_ms, earlier, row))
            continue;
        check_row(w, meter, row);
        earlier = row;
        count++;
    }
    return count;
}

/* Energy between samples of [from, to), and up to the first and from the last of them. */
static double energy_between(struct world *w, size_t n, enum field f, int64_t from_ms,
                             int64_t to_ms)
{
    size_t from = 0, to = n;

    while (from < n && w->list[from]->time_ms < from_ms)
        from++;
    while (to > from && w->list[to - 1]->time_ms >= to_ms)
        to--;
    from -= from > 0;
    to += to < n;
    return oracle_energy(w->list + from, to - from, f);
}

/* Time of the reading of the meter that the broker had first. */
static int64_t first_heard_ms(const struct world *w, int meter)
{
    const struct plan *p = w->plan;

    for (size_t i = 0; i < p->n_publishes; i++) {
        const struct message *m = &p->messages[p->publishes[i].message];
        if (m->meter == meter && m->topic == TOPIC_DATA && is_expected(m))
            return m->time_ms;
    }
    return INT64_MIN;
}

/*
 * What a late seed may miss: where a row was put together from two sets of samples, its counters
 * are those of the first, and its neighbours may have been computed from either. And energy before
 * the first reading ever heard of: a row there cannot give the next one what it began with.
 */
static double slack_of(struct world *w, int meter, size_t n, enum field f)
{
    const char *id = w->plan->meters[meter].id;
    size_t n_rows;
    const struct minute *const *rows = history_ram_rows(w->site.history, &n_rows);
    double slack;

    if (w->plan->class != PLAN_LATE)
        return 0;
    slack = energy_between(w, n, f, INT64_MIN, first_heard_ms(w, meter) + 2 * MINUTE_MS);
    for (size_t i = 0; i < n_rows; i++)
        if (rows[i]->quality == QUALITY_MIXED && strcmp(rows[i]->meter_id, id) == 0)
            slack += energy_between(w, n, f, rows[i]->bucket_ms - MINUTE_MS,
                                    rows[i]->bucket_ms + 2 * MINUTE_MS);
    return slack;
}

/*
 * What a late seed may count twice or not at all: where a row's readings have left it keeps its
 * end, read between two samples, while the row behind is computed again from one that came between
 * these.
 */
static double overlap_of(struct world *w, size_t n, enum field f)
{
    double most = 0;

    for (size_t i = 1; w->plan->class == PLAN_LATE && i < n; i++)
        if (w->list[i]->time_ms - w->list[i - 1]->time_ms <= MINUTE_MS)
            most = fmax(most, oracle_energy(w->list + i - 1, 2, f));
    return 2 * most;
}

static void check_sum(struct world *w, int meter, size_t n, enum field f)
{
    size_t n_columns, column = metric_columns(field_table[f].metric, &n_columns) + 1, n_rows;
    const struct minute *const *rows = history_ram_rows(w->site.history, &n_rows);
    const char *id = w->plan->meters[meter].id;
    double want = oracle_energy(w->list, n, f), is = 0;

    for (size_t i = 0; i < n_rows; i++)
        if (strcmp(rows[i]->meter_id, id) == 0 && !isnan(rows[i]->v[column]))
            is += rows[i]->v[column];
    double tolerance = overlap_of(w, n, f) + 1e-6 * fmax(1, want);
    if (is > want + tolerance || is < want - slack_of(w, meter, n, f) - tolerance)
        broken(w, "counters add up", "meter %s: %s sums up to %.9g, not %.9g", id,
               column_table()[column].name, is, want);
}

static void check_meter(struct world *w, int meter, size_t *rows)
{
    size_t n = expected_messages(w, meter);
    size_t count = check_rows(w, meter, n);

    *rows += count;
    if (count > 0 && !history_ram_meter(w->site.history, w->plan->meters[meter].id))
        broken(w, "meters are registered", "meter %s is not", w->plan->meters[meter].id);
    for (int f = 0; n > 0 && w->plan->meters[meter].adds_up && f < FIELD_COUNT; f++)
        if (field_table[f].kind == KIND_COUNTER)
            check_sum(w, meter, n, (enum field)f);
    check_latest(w, meter);
    if (w->plan->class != PLAN_LATE)
        check_members(w, meter);
}

static void check_quarantine(struct world *w)
{
    const struct plan *p = w->plan;
    struct hot *hot = w->site.hot;
    struct hot_usage usage;
    struct err e;
    size_t want = 0;

    for (size_t i = 0; i < p->n_messages; i++)
        want += p->messages[i].published && p->messages[i].refused && !p->messages[i].lost;
    if (!hot->ops->usage(hot, &usage, &e) && !hot->ops->usage(hot, &usage, &e))
        broken(w, "the store answers", "%s", e.text);
    else if (usage.quarantined < want)
        broken(w, "what is refused is kept", "%zu messages, but %llu in the quarantine", want,
               (unsigned long long)usage.quarantined);
}

static void check_everything(struct world *w)
{
    size_t rows = 0, is;

    for (int m = 0; m < w->plan->n_meters; m++)
        check_meter(w, m, &rows);
    history_ram_rows(w->site.history, &is);
    if (is != rows)
        broken(w, "no row without a message", "%zu rows, not %zu", is, rows);
    check_quarantine(w);
    note(w, "everything is checked", NULL, (int64_t)rows);
    w->report->rows = rows;
}

/* ---- Quiet --------------------------------------------------------------------------------- */

static bool is_drained(struct world *w)
{
    struct hot_ram_counts c = hot_ram_count(w->site.hot);

    if (c.minutes_waiting + c.minutes_claimed + broker_ram_waiting(w->site.broker) > 0)
        return false;
    for (struct process *p = w->processes; p < w->processes + PROCESSES_MOST; p++)
        if (p->state == PROCESS_STALLED)
            return false;
    return true;
}

#define DRAIN_MOST_MS (20 * MINUTE_MS)

/* Nothing is sent, nothing goes wrong any more: soon nothing waits, and all must be right. */
static void drain_and_check(struct world *w)
{
    int64_t limit_ms = w->site.now_ms + DRAIN_MOST_MS;

    note(w, "quiet", NULL, 0);
    w->quiet = true;
    heal(w);
    for (struct process *p = w->processes; p < w->processes + PROCESSES_MOST; p++)
        if (p->state == PROCESS_READY && p->ingest && p->next_ms > w->site.now_ms + 1000)
            p->next_ms = w->site.now_ms + 1000;
    while (w->report->sound && !is_drained(w))
        if (!advance(w, limit_ms))
            break;
    if (w->report->sound && !is_drained(w)) {
        struct hot_ram_counts c = hot_ram_count(w->site.hot);
        broken(w, "everything drains",
               "%zu minutes wait, %zu are claimed, %zu messages are not acknowledged",
               c.minutes_waiting, c.minutes_claimed, broker_ram_waiting(w->site.broker));
    }
    if (w->report->sound)
        check_everything(w);
    w->quiet = false;
}

/* Committed readings leave the hot store: soon when all went well, at the latest after a week. */
static void check_expiry(struct world *w)
{
    int64_t wait_ms = w->plan->ttl_s * INT64_C(1000) + CLOCKS_APART_MS + 2 * MINUTE_MS;

    if (w->plan->class != PLAN_CALM)
        wait_ms = 7 * DAY_MS + MINUTE_MS;
    w->site.now_ms += wait_ms;
    size_t left = hot_ram_count(w->site.hot).members;
    if (left > 0)
        broken(w, "memory is bounded", "%zu readings are still in the hot store", left);
}

/* ---- The whole ----------------------------------------------------------------------------- */

static void open_world(struct world *w)
{
    static const char *const names[] = {"ingest", "aggregate", "spare"};
    struct site *site = &w->site;
    struct ram_faults broker_faults = {next_broker_fault, w};
    struct err e;

    *site = (struct site){.plan = w->plan,
                          .trace = w->trace,
                          .now_ms = w->plan->begin_ms,
                          .broker = broker_ram_open(),
                          .hot = hot_ram_open(),
                          .history = history_ram_open(),
                          .weather = rng_stream(w->plan->seed, 4000),
                          .stored = note_stored,
                          .ctx = w};
    w->clock = (struct clock){world_now, world_now, NULL, w};
    hot_ram_set_clock(site->hot, &w->clock);
    broker_ram_set_faults(site->broker, &broker_faults);
    if (!site->history->ops->migrate(site->history, site->now_ms, &e))
        broken(w, "the store answers", "%s", e.text);
    w->rng = rng_stream(w->plan->seed, 5000);
    w->n_slots = 1 + w->plan->aggregates;
    for (int i = 0; i < w->n_slots; i++)
        w->slots[i] = (struct slot){.name = names[i], .restart_ms = site->now_ms};
    for (int m = 0; m < METERS_MOST; m++) {
        w->heard[m] = (struct heard){0};
        for (int t = 0; t < TOPIC_COUNT; t++)
            w->heard[m].latest[t] = (struct latest){.absent = true, .newest_ms = INT64_MIN};
    }
    w->next_publish = 0;
    w->next_trouble = w->next_quiet = 0;
    w->quiet = false;
    w->stores = 0;
}

static uint64_t hash_rows(const struct world *w, uint64_t hash)
{
    size_t n;
    const struct minute *const *rows = history_ram_rows(w->site.history, &n);

    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ (uint64_t)rows[i]->bucket_ms) * UINT64_C(0x100000001b3);
        hash = (hash ^ (uint64_t)rows[i]->n) * UINT64_C(0x100000001b3);
        for (int c = 0; c < COLUMN_COUNT; c++) {
            uint64_t bits = 0;
            if (!isnan(rows[i]->v[c]))
                memcpy(&bits, &rows[i]->v[c], sizeof bits);
            hash = (hash ^ bits) * UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

static void close_world(struct world *w)
{
    w->report->hash = hash_rows(w, w->trace->hash);
    for (struct process *p = w->processes; p < w->processes + PROCESSES_MOST; p++)
        process_kill(p);
    broker_close(w->site.broker);
    w->site.hot->ops->close(w->site.hot);
    w->site.history->ops->close(w->site.history);
}

void world_run(struct plan *p, struct trace *t, FILE *trace_all, struct world_report *out)
{
    static struct world world; /* large, and its processes keep their stacks */
    struct world *w = &world;

    *out = (struct world_report){.sound = true};
    trace_begin(t, p->begin_ms, trace_all);
    w->plan = p;
    w->trace = t;
    w->report = out;
    index_messages(w);
    open_world(w);
    while (out->sound && (w->next_publish < p->n_publishes || w->next_trouble < p->n_troubles)) {
        int64_t limit_ms = w->next_quiet < p->n_quiets ? p->quiets[w->next_quiet] : INT64_MAX - 1;
        if (!advance(w, limit_ms) && out->sound) {
            w->site.now_ms = limit_ms > w->site.now_ms ? limit_ms : w->site.now_ms;
            w->next_quiet++;
            drain_and_check(w);
        }
    }
    if (out->sound)
        drain_and_check(w);
    if (out->sound)
        check_expiry(w);
    close_world(w);
}
