#include "stages/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/minute.h"
#include "core/snapshot.h"
#include "stages/meter_table.h"

/* Of a meter with partial messages one sample in this time goes to the quarantine. */
#define PARTIAL_SAMPLE_MS INT64_C(60000)

/*
 * A message older than this on arrival may come after its neighbours were aggregated. Aggregation
 * looks again CONTEXT_MS + 30 s after a minute's end at what it could not settle, which leaves 15 s
 * for a message in time to be stored (see aggregate.c).
 */
#define IN_TIME_MS INT64_C(15000)
#define SLOW_STORE_MS INT64_C(5000)

enum { LINGER_BELOW = 32, LINGER_MS = 4, NO_LINGER_BATCHES = 32 };

/* An accepted message, ready to be stored. */
struct accepted {
    struct meter_state *meter;
    enum topic topic;
    int64_t time_ms;
    size_t member_at, member_len; /* in ingest.members */
    const struct broker_message *message;
};

struct ingest {
    struct ingest_options o;
    struct ingest_counters counters;
    struct meter_table meters;
    uint64_t trial; /* number of the attempt to store a batch */
    int no_linger;  /* batches still to be taken without waiting for more */
    bool took_over; /* the hot store knows that this process stores now */

    struct broker_message *messages; /* the batch in hand */
    int n_messages;
    struct accepted *accepted;
    size_t n_accepted;
    struct hot_reject *rejects;
    char (*reject_details)[sizeof((struct reading_report *)0)->detail];
    char (*reject_meters)[METER_ID_SIZE];
    size_t n_rejects;
    struct buf members;
    struct hot_put *puts;
};

struct ingest *ingest_new(const struct ingest_options *o)
{
    struct ingest *in = xcalloc(1, sizeof *in);
    size_t most = (size_t)o->batch_most;

    in->o = *o;
    in->messages = xcalloc(most, sizeof *in->messages);
    in->accepted = xcalloc(most, sizeof *in->accepted);
    /* An accepted message can also leave a sample, as partial. */
    in->rejects = xcalloc(most, sizeof *in->rejects);
    in->reject_details = xcalloc(most, sizeof *in->reject_details);
    in->reject_meters = xcalloc(most, sizeof *in->reject_meters);
    in->puts = xcalloc(most, sizeof *in->puts);
    buf_init(&in->members, 0);
    meter_table_init(&in->meters);
    return in;
}

void ingest_free(struct ingest *in)
{
    if (!in)
        return;
    meter_table_clear(&in->meters);
    buf_clear(&in->members);
    free(in->puts);
    free(in->reject_meters);
    free(in->reject_details);
    free(in->rejects);
    free(in->accepted);
    free(in->messages);
    free(in);
}

const struct ingest_counters *ingest_counters(const struct ingest *in)
{
    return &in->counters;
}

/* ---- Judging one message ------------------------------------------------------------------- */

static enum topic topic_of(const struct broker_message *m)
{
    for (size_t t = 0; t < TOPIC_COUNT; t++) {
        const char *path = topic_path((enum topic)t);
        if (strlen(path) == m->topic_len && memcmp(path, m->topic, m->topic_len) == 0)
            return (enum topic)t;
    }
    return TOPIC_COUNT;
}

static void refuse(struct ingest *in, const struct broker_message *m, enum reading_fault fault,
                   const struct reading *r, const char *detail)
{
    size_t i = in->n_rejects++;

    strcpy(in->reject_meters[i], r->meter_id);
    snprintf(in->reject_details[i], sizeof in->reject_details[i], "%s", detail);
    in->rejects[i] = (struct hot_reject){
        .reason = fault_name(fault),
        .detail = in->reject_details[i],
        .topic = m->topic,
        .topic_len = m->topic_len,
        .meter_id = in->reject_meters[i],
        .payload = m->payload,
        .payload_len = m->payload_len,
        .heard = fault == FAULT_IN_FUTURE || fault == FAULT_TOO_OLD || fault == FAULT_BEFORE_2020,
    };
}

static void keep_partial_sample(struct ingest *in, const struct broker_message *m,
                                const struct reading *r, const struct reading_report *report,
                                struct meter_state *meter, int64_t now_ms)
{
    char detail[sizeof report->detail] = "left out:";
    size_t len = strlen(detail);

    for (size_t i = 0; i < METRIC_COUNT && len < sizeof detail; i++)
        if (report->absent[i])
            len += (size_t)snprintf(detail + len, sizeof detail - len, " %s", metric_table[i].path);
    meter->partial_after_ms = now_ms + PARTIAL_SAMPLE_MS;
    refuse(in, m, FAULT_PARTIAL, r, detail);
}

static bool speaks_for(const struct ingest *in, const struct broker_message *m,
                       const struct reading *r)
{
    return in->o.identity == IDENTITY_NONE ||
           (m->publisher && strlen(r->meter_id) == m->publisher_len &&
            memcmp(r->meter_id, m->publisher, m->publisher_len) == 0);
}

static void accept(struct ingest *in, const struct broker_message *m, const struct reading *r,
                   struct meter_state *meter)
{
    struct accepted *a = &in->accepted[in->n_accepted++];
    size_t most = in->o.timeseries_json ? READING_JSON_MOST : SNAPSHOT_SIZE_MOST;
    char *at = buf_reserve(&in->members, most);

    *a = (struct accepted){.meter = meter,
                           .topic = r->topic,
                           .time_ms = r->time_ms,
                           .member_at = in->members.len,
                           .message = m};
    a->member_len =
        in->o.timeseries_json ? reading_write_json(r, at) : snapshot_pack(r, (uint8_t *)at);
    in->members.len += a->member_len;
}

static void judge(struct ingest *in, const struct broker_message *m, int64_t now_ms)
{
    struct reading r;
    struct reading_report report;
    enum topic topic = topic_of(m);

    if (topic == TOPIC_COUNT)
        return; /* not ours: a filter of the broker's that is wider than what we asked for */
    if (!reading_parse(m->payload, m->payload_len, topic, &r, &report)) {
        in->counters.rejected[report.fault]++;
        refuse(in, m, report.fault, &r, report.detail);
        return;
    }
    enum reading_fault fault = reading_check_time(&r, now_ms, &in->o.limits);
    const char *detail = "datetime cannot be true";
    if (fault == FAULT_NONE && !speaks_for(in, m, &r)) {
        fault = FAULT_WRONG_IDENTITY;
        detail = m->publisher ? "meterId is not the name the broker knows the publisher by"
                              : "the broker did not stamp a publisher";
    }
    if (fault != FAULT_NONE) {
        in->counters.rejected[fault]++;
        refuse(in, m, fault, &r, detail);
        return;
    }
    struct meter_state *meter = meter_table_get(&in->meters, r.meter_id);
    in->counters.unknown_fields += report.unknown_fields;
    if (report.absent_count > 0) {
        for (size_t i = 0; i < METRIC_COUNT; i++)
            in->counters.absent[i] += report.absent[i];
        in->counters.rejected[FAULT_PARTIAL]++;
        if (now_ms >= meter->partial_after_ms)
            keep_partial_sample(in, m, &r, &report, meter, now_ms);
    }
    accept(in, m, &r, meter);
}

/* ---- Keeping the connection ---------------------------------------------------------------- */

static void forget_batch(struct ingest *in)
{
    in->n_messages = 0;
    in->n_accepted = 0;
    in->n_rejects = 0;
    buf_reset(&in->members);
}

/* Serve keep-alive while a batch waits for the store; a broken connection voids the batch. */
static bool keep_connection(struct ingest *in, struct err *e)
{
    if (broker_receive(in->o.broker, NULL, 0, 0, e) >= 0)
        return true;
    forget_batch(in);
    return false;
}

/* ---- Storing the batch --------------------------------------------------------------------- */

/* Ask the hot store for the newest times of meters that this process has not met yet. */
static bool recall_meters(struct ingest *in, struct err *e)
{
    bool ok = true;
    size_t n = 0;
    struct meter_state **unknown = xcalloc(in->n_accepted, sizeof *unknown);
    const char **ids = xcalloc(in->n_accepted, sizeof *ids);
    int64_t *times = xcalloc(in->n_accepted * TOPIC_COUNT, sizeof *times);

    for (size_t i = 0; i < in->n_accepted; i++)
        if (!in->accepted[i].meter->known) {
            ids[n] = in->accepted[i].meter->meter_id;
            unknown[n++] = in->accepted[i].meter;
        }
    if (n > 0)
        ok = in->o.hot->ops->latest_times(in->o.hot, ids, n, times, e);
    for (size_t i = 0; ok && i < n; i++) {
        memcpy(unknown[i]->newest_ms, times + i * TOPIC_COUNT, sizeof unknown[i]->newest_ms);
        unknown[i]->known = true;
    }
    free(times);
    free(ids);
    free(unknown);
    return ok;
}

/*
 * The minutes a message belongs to: its own, and, when it may come after they were computed,
 * those that see it in their context.
 */
static void mark_minutes(struct hot_put *put, bool in_order, int64_t now_ms)
{
    int64_t minute_ms = when_floor(put->time_ms, MINUTE_MS);

    put->n_dirty = 0;
    put->dirty[put->n_dirty++] = minute_ms;
    if (in_order && now_ms - put->time_ms <= IN_TIME_MS)
        return;
    if (put->time_ms - minute_ms <= CONTEXT_MS)
        put->dirty[put->n_dirty++] = minute_ms - MINUTE_MS;
    if (minute_ms + MINUTE_MS - put->time_ms <= CONTEXT_MS)
        put->dirty[put->n_dirty++] = minute_ms + MINUTE_MS;
}

static void prepare_put(struct ingest *in, const struct accepted *a, struct hot_put *put,
                        int64_t now_ms)
{
    struct meter_state *meter = a->meter;

    if (meter->trial != in->trial) {
        memcpy(meter->trial_ms, meter->newest_ms, sizeof meter->trial_ms);
        meter->trial = in->trial;
    }
    bool newest = a->time_ms > meter->trial_ms[a->topic];
    *put = (struct hot_put){.meter_id = meter->meter_id,
                            .topic = a->topic,
                            .time_ms = a->time_ms,
                            .member = in->members.data + a->member_at,
                            .member_len = a->member_len,
                            .latest = newest ? a->message->payload : NULL,
                            .latest_len = newest ? a->message->payload_len : 0};
    mark_minutes(put, newest, now_ms);
    if (newest)
        meter->trial_ms[a->topic] = a->time_ms;
}

/*
 * The session is ours since the last connect: say so to the hot store, which from then on refuses a
 * predecessor that stood still with a batch in its hands. Whoever connected later also takes over
 * later, so if the connection still stands after that, nobody has. What was remembered of the
 * meters may be old: others may have stored meanwhile.
 */
static bool take_over(struct ingest *in, struct err *e)
{
    if (in->took_over || !in->o.writer)
        return true;
    if (!in->o.hot->ops->take_writer(in->o.hot, in->o.writer, in->o.token, e) ||
        !keep_connection(in, e))
        return false;
    meter_table_forget(&in->meters);
    in->took_over = true;
    return true;
}

static bool store_once(struct ingest *in, const struct hot_reject *rejects, size_t n_rejects,
                       int64_t now_ms, struct err *e)
{
    in->trial++;
    for (size_t i = 0; i < in->n_accepted; i++)
        prepare_put(in, &in->accepted[i], &in->puts[i], now_ms);
    struct hot_batch batch = {.puts = in->puts,
                              .n_puts = in->n_accepted,
                              .rejects = rejects,
                              .n_rejects = n_rejects,
                              .now_ms = now_ms};
    if (!in->o.hot->ops->store(in->o.hot, &batch, e)) {
        in->counters.store_failures++;
        in->took_over =
            false; /* perhaps another process has: if the session is ours, take it back */
        return false;
    }
    for (size_t i = 0; i < in->n_accepted; i++) {
        struct meter_state *meter = in->accepted[i].meter;
        memcpy(meter->newest_ms, meter->trial_ms, sizeof meter->newest_ms);
    }
    return true;
}

/*
 * Which minutes a message marks was judged before the store. If that took long (the call, or this
 * process stood still), the neighbours may have been computed meanwhile: judge and store again.
 */
static bool store_batch(struct ingest *in, struct err *e)
{
    int64_t now_ms = clock_wall_ms(in->o.clock), done_ms;

    if (!take_over(in, e) || !recall_meters(in, e) ||
        !store_once(in, in->rejects, in->n_rejects, now_ms, e))
        return false;
    while ((done_ms = clock_wall_ms(in->o.clock)) - now_ms > SLOW_STORE_MS) {
        now_ms = done_ms;
        if (!store_once(in, NULL, 0, now_ms, e))
            return false;
    }
    in->counters.stored += in->n_accepted;
    in->counters.batches++;
    in->counters.last_stored_ms = now_ms;
    return true;
}

/* ---- The step ------------------------------------------------------------------------------ */

/*
 * A transaction and its fsync cost the same for one message as for fifty. When few have come,
 * a moment's wait lets more come; when none did, the broker does not send faster than we answer,
 * and waiting is left out for a while.
 */
static int linger(struct ingest *in, int n, struct err *e)
{
    if (n >= LINGER_BELOW || n >= in->o.batch_most || in->no_linger > 0) {
        in->no_linger -= in->no_linger > 0;
        return n;
    }
    clock_sleep_ms(in->o.clock, LINGER_MS);
    int more = broker_receive(in->o.broker, in->messages + n, in->o.batch_most - n, 0, e);
    if (more == 0)
        in->no_linger = NO_LINGER_BATCHES;
    return more < 0 ? more : n + more;
}

static bool receive_batch(struct ingest *in, int wait_ms, struct err *e)
{
    int n = broker_receive(in->o.broker, in->messages, in->o.batch_most, wait_ms, e);

    if (n > 0)
        n = linger(in, n, e);
    if (n < 0)
        return false;
    int64_t now_ms = clock_wall_ms(in->o.clock);
    in->n_messages = n;
    in->counters.received += (uint64_t)n;
    /* Members are addressed by offset: the buffer may move while the batch grows. */
    for (int i = 0; i < n; i++)
        judge(in, &in->messages[i], now_ms);
    return true;
}

bool ingest_step(struct ingest *in, int wait_ms, struct err *e)
{
    if (in->n_messages > 0 ? !keep_connection(in, e) : !receive_batch(in, wait_ms, e)) {
        in->took_over = false;
        return false;
    }
    if (in->n_messages == 0)
        return true;
    if (!store_batch(in, e))
        return false;
    forget_batch(in);
    return broker_acknowledge(in->o.broker, e);
}

/* ---- Health -------------------------------------------------------------------------------- */

void ingest_write_health(const struct ingest *in, struct buf *out)
{
    const struct ingest_counters *c = &in->counters;
    struct broker_stats b;
    const char *comma = "";

    broker_stats(in->o.broker, &b);
    buf_addf(out, "{\"at_ms\":%lld,\"pid\":%d,\"state\":\"%s\",\"broker_connected\":%s",
             (long long)clock_wall_ms(in->o.clock), (int)getpid(),
             b.connected ? (in->n_messages > 0 ? "waiting_for_redis" : "ok") : "waiting_for_broker",
             b.connected ? "true" : "false");
    buf_addf(out,
             ",\"received\":%llu,\"stored\":%llu,\"acknowledged\":%llu,\"redelivered\":%llu"
             ",\"batches\":%llu,\"store_failures\":%llu,\"reconnects\":%llu,\"sessions_lost\":%llu"
             ",\"meters\":%zu,\"unknown_fields\":%llu,\"last_stored_ms\":%lld,\"rejected\":{",
             (unsigned long long)c->received, (unsigned long long)c->stored,
             (unsigned long long)b.acknowledged, (unsigned long long)b.redelivered,
             (unsigned long long)c->batches, (unsigned long long)c->store_failures,
             (unsigned long long)b.reconnects, (unsigned long long)b.sessions_lost, in->meters.n,
             (unsigned long long)c->unknown_fields, (long long)c->last_stored_ms);
    for (size_t f = 0; f < FAULT_COUNT; f++)
        if (c->rejected[f]) {
            buf_addf(out, "%s\"%s\":%llu", comma, fault_name((enum reading_fault)f),
                     (unsigned long long)c->rejected[f]);
            comma = ",";
        }
    buf_adds(out, "},\"absent\":{");
    comma = "";
    for (size_t m = 0; m < METRIC_COUNT; m++)
        if (c->absent[m]) {
            buf_addf(out, "%s\"%s\":%llu", comma, metric_table[m].path,
                     (unsigned long long)c->absent[m]);
            comma = ",";
        }
    buf_adds(out, "}}");
}
