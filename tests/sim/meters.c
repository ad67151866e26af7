#include "meters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/mem.h"
#include "core/when.h"

/* 2025-10-26T00:00:00Z */
#define ORIGIN_MS INT64_C(1761436800000)

const struct cut cut_nothing = {UINT32_MAX, UINT32_MAX, SIZE_MAX};

/* ---- Random numbers ------------------------------------------------------------------------ */

struct rng rng_stream(uint64_t seed, uint64_t use)
{
    struct rng r = {seed};

    r.state = random_next(&r.state) ^ (use * UINT64_C(0xd1342543de82ef95));
    random_next(&r.state);
    return r;
}

int64_t rng_between(struct rng *r, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(random_next(&r->state) % (uint64_t)(hi - lo + 1));
}

bool rng_chance(struct rng *r, int permille)
{
    return rng_between(r, 0, 999) < permille;
}

/* ---- Payload ------------------------------------------------------------------------------- */

const struct field_info field_table[FIELD_COUNT] = {
#define FIELD(field, id, topic, group, key, kind)                                                  \
    [FIELD_##field] = {METRIC_##id, TOPIC_##topic, group, key, KIND_##kind}
    FIELD(BATTERY_VOLTAGE, BATTERY_VOLTAGE, DATA, "battery", "voltage", GAUGE),
    FIELD(BATTERY_SOC, BATTERY_SOC, DATA, "battery", "soc", GAUGE),
    FIELD(BATTERY_CONNECTED, BATTERY_CONNECTED, DATA, "battery", "connected", FLAG),
    FIELD(BATTERY_VALID, BATTERY_VALID, DATA, "battery", "valid", FLAG),
    FIELD(EXPORT_TOTAL_ENERGY, EXPORT_TOTAL_ENERGY, DATA, "export", "total_energy", COUNTER),
    FIELD(IMPORT_POWER, IMPORT_POWER, DATA, "import", "power", POWER),
    FIELD(IMPORT_DAILY_ENERGY, IMPORT_DAILY_ENERGY, DATA, "import", "daily_energy", COUNTER),
    FIELD(IMPORT_TOTAL_ENERGY, IMPORT_TOTAL_ENERGY, DATA, "import", "total_energy", COUNTER),
    FIELD(IMPORT_SETTLEMENT_ENERGY, IMPORT_SETTLEMENT_ENERGY, DATA, "import", "settlement_energy",
          COUNTER),
    FIELD(IMPORT_ACTIVE, IMPORT_ACTIVE, DATA, "import", "active", FLAG),
    FIELD(NET_TOTAL, NET_GRID_NET_TOTAL, DATA, "net_grid", "net_total", BALANCE),
    FIELD(NET_STATUS, NET_GRID_STATUS, DATA, "net_grid", "status", STATE),
    FIELD(WIFI_CONNECTED, WIFI_CONNECTED, STATUS, "wifi", "connected", FLAG),
    FIELD(WIFI_RSSI, WIFI_RSSI, STATUS, "wifi", "rssi", GAUGE),
    FIELD(GRID_MODE, GRID_MODE, STATUS, "grid", "mode", STATE),
    FIELD(UPTIME, SYSTEM_UPTIME, STATUS, "system", "uptime", BALANCE),
    FIELD(SYSTEM_STATUS, SYSTEM_STATUS, STATUS, "system", "status", STATE),
#undef FIELD
};

static char *put_text(char *at, const char *text)
{
    return stpcpy(at, text);
}

static char *put_digits(char *at, int64_t n, int digits)
{
    char reversed[24];
    int len = 0;

    for (; n > 0 || len < digits; n /= 10)
        reversed[len++] = (char)('0' + n % 10);
    while (len > 0)
        *at++ = reversed[--len];
    return at;
}

static char *put_thousandths(char *at, int64_t n)
{
    if (n < 0)
        *at++ = '-';
    n = llabs(n);
    at = put_digits(at, n / 1000, 1);
    if (n % 1000 == 0)
        return at;
    *at++ = '.';
    return put_digits(at, n % 1000, 3);
}

static char *put_value(char *at, const struct message *m, enum field f)
{
    const struct field_info *info = &field_table[f];

    if (m->broken >> f & 1)
        return put_text(at, "null");
    if (info->kind == KIND_FLAG)
        return put_text(at, m->value[f] ? "true" : "false");
    if (info->kind != KIND_STATE)
        return put_thousandths(at, m->value[f]);
    *at++ = '"';
    at = put_text(at, metric_table[info->metric].words[m->value[f]]);
    *at++ = '"';
    return at;
}

size_t message_write(const struct plan *p, const struct message *m, char out[PAYLOAD_MOST])
{
    char when[WHEN_TEXT_SIZE];
    const char *group = NULL;
    char *at = put_text(out, "{\"meterId\":\"");

    at = put_text(at, p->meters[m->meter].id);
    at = put_text(at, "\",\"datetime\":\"");
    at = put_text(at, when_text(m->time_ms, when));
    at = put_text(at, "\",\"data\":{");
    for (int f = 0; f < FIELD_COUNT; f++) {
        if (!((m->given | m->broken) >> f & 1))
            continue;
        if (group && strcmp(group, field_table[f].group) == 0) {
            *at++ = ',';
        } else {
            at = put_text(at, group ? "},\"" : "\"");
            group = field_table[f].group;
            at = put_text(at, group);
            at = put_text(at, "\":{");
        }
        *at++ = '"';
        at = put_text(at, field_table[f].key);
        at = put_text(at, "\":");
        at = put_value(at, m, (enum field)f);
    }
    at = put_text(at, group ? "}}}" : "}}");
    return (size_t)(at - out);
}

/* ---- One meter ----------------------------------------------------------------------------- */

#define MINUTES(n) ((n)*MINUTE_MS)

struct backlog {
    int64_t from_ms, to_ms; /* the meter has no connection */
    int64_t sent_ms;        /* when it has one again */
    enum order { OLDEST_FIRST, NEWEST_FIRST, ANY_ORDER } order;
};

enum { BACKLOGS_MOST = 6 };

/* A meter while its messages are made. */
struct source {
    struct plan *plan;
    int index;
    struct rng rng;
    int64_t late_most_ms;
    int64_t clock_ms; /* its clock minus the true time */
    int64_t status_every, until_status;
    bool fractions; /* its datetime has milliseconds */
    int glitches, missing, conflicts, future, twice, lone_late, broken, gaps; /* per mille */
    struct backlog backlogs[BACKLOGS_MOST];
    int n_backlogs;
    uint32_t knows; /* fields */
    int64_t import_mwh, export_mwh, daily_mwh, settled_mwh, power_mw, soc, boot_ms;
    int64_t day;
    int word;
};

static uint32_t add_message(struct plan *p, const struct message *m)
{
    if (p->n_messages == p->messages_cap) {
        p->messages_cap = p->messages_cap ? p->messages_cap * 2 : 4096;
        p->messages = xrealloc_array(p->messages, p->messages_cap, sizeof *p->messages);
    }
    p->messages[p->n_messages] = *m;
    return (uint32_t)p->n_messages++;
}

static void add_publish(struct plan *p, int64_t at_ms, uint32_t message)
{
    if (p->n_publishes == p->publishes_cap) {
        p->publishes_cap = p->publishes_cap ? p->publishes_cap * 2 : 4096;
        p->publishes = xrealloc_array(p->publishes, p->publishes_cap, sizeof *p->publishes);
    }
    p->publishes[p->n_publishes++] = (struct publish){at_ms, message};
}

/* When a sample taken at now_ms reaches the broker. */
static int64_t arrival_of(struct source *s, int64_t now_ms)
{
    for (int i = 0; i < s->n_backlogs; i++) {
        const struct backlog *b = &s->backlogs[i];
        int64_t length = b->to_ms - b->from_ms;
        if (now_ms < b->from_ms || now_ms >= b->to_ms)
            continue;
        /* A minute of backlog takes a second to send. */
        int64_t place = b->order == OLDEST_FIRST   ? now_ms - b->from_ms
                        : b->order == NEWEST_FIRST ? b->to_ms - now_ms
                                                   : rng_between(&s->rng, 0, length);
        return b->sent_ms + place / 60;
    }
    if (rng_chance(&s->rng, s->lone_late))
        return now_ms + rng_between(&s->rng, 1000, s->late_most_ms);
    return now_ms + rng_between(&s->rng, 10, 900);
}

static void send(struct source *s, const struct message *m, int64_t now_ms)
{
    struct plan *p = s->plan;
    int64_t at_ms = arrival_of(s, now_ms);
    uint32_t i = add_message(p, m);

    add_publish(p, at_ms, i);
    if (rng_chance(&s->rng, s->twice))
        add_publish(p, at_ms + rng_between(&s->rng, 0, s->late_most_ms / 2), i);
    if (m->refused || !rng_chance(&s->rng, s->conflicts))
        return;
    struct message other = *m;
    enum field f = m->topic == TOPIC_DATA ? FIELD_IMPORT_POWER : FIELD_WIFI_RSSI;
    other.value[f] += rng_between(&s->rng, 1, 9);
    other.given |= UINT32_C(1) << f;
    other.broken &= ~(UINT32_C(1) << f);
    i = add_message(p, &other);
    add_publish(p, at_ms + rng_between(&s->rng, 0, s->late_most_ms / 2), i);
}

static void give(struct message *m, enum field f, int64_t value)
{
    m->given |= UINT32_C(1) << f;
    m->value[f] = value;
}

static int64_t tell_time(const struct source *s, int64_t now_ms)
{
    int64_t ms = now_ms + s->clock_ms;

    return s->fractions ? ms : when_floor(ms, 1000);
}

/* Leave out what this meter does not know or fails to read now, and spoil what is broken. */
static void finish_message(struct source *s, struct message *m, int64_t now_ms)
{
    m->meter = s->index;
    m->time_ms = tell_time(s, now_ms);
    m->given &= s->knows;
    if (rng_chance(&s->rng, s->missing))
        m->given &= ~(UINT32_C(1) << rng_between(&s->rng, 0, FIELD_COUNT - 1));
    if (rng_chance(&s->rng, s->broken)) {
        m->broken = m->given & (UINT32_C(1) << rng_between(&s->rng, 0, FIELD_COUNT - 1));
        m->given &= ~m->broken;
    }
    if (rng_chance(&s->rng, s->future)) {
        m->refused = true;
        m->time_ms += 30 * DAY_MS;
    }
    send(s, m, now_ms);
}

static int64_t glitch(struct source *s, int64_t mwh)
{
    if (!rng_chance(&s->rng, s->glitches))
        return mwh;
    if (s->plan->power_w_most > 0 && rng_chance(&s->rng, 500))
        return mwh + 1000000 * 1000;
    return rng_chance(&s->rng, 500) ? 0 : mwh / 2;
}

/* A register is only reset when it is well above what comes after: no reset looks like a glitch. */
#define RESETTABLE_MWH (50 * 1000)

static void count_energy(struct source *s, int64_t now_ms, int64_t dt_ms)
{
    int64_t gained = s->power_mw * dt_ms / 3600000;

    if (rng_chance(&s->rng, 100))
        s->power_mw = rng_between(&s->rng, 0, 300000);
    s->import_mwh += gained;
    s->daily_mwh += gained;
    s->settled_mwh += gained;
    s->export_mwh += gained / 3;
    if ((now_ms + s->clock_ms) / DAY_MS != s->day && s->daily_mwh > RESETTABLE_MWH) {
        s->day = (now_ms + s->clock_ms) / DAY_MS;
        s->daily_mwh = 0;
    }
    if (rng_chance(&s->rng, 3) && s->settled_mwh > RESETTABLE_MWH)
        s->settled_mwh = rng_between(&s->rng, 0, 500);
    if (rng_chance(&s->rng, 1) && s->import_mwh > RESETTABLE_MWH)
        s->import_mwh = 0;
}

static void send_data(struct source *s, int64_t now_ms)
{
    struct message m = {.topic = TOPIC_DATA};

    s->soc += rng_between(&s->rng, -200, 200);
    give(&m, FIELD_BATTERY_VOLTAGE, 3500 + rng_between(&s->rng, 0, 700));
    give(&m, FIELD_BATTERY_SOC, s->soc);
    give(&m, FIELD_BATTERY_CONNECTED, !rng_chance(&s->rng, 20));
    give(&m, FIELD_BATTERY_VALID, !rng_chance(&s->rng, 50));
    give(&m, FIELD_EXPORT_TOTAL_ENERGY, s->export_mwh);
    give(&m, FIELD_IMPORT_POWER, s->power_mw * 1000 + rng_between(&s->rng, 0, 5000));
    give(&m, FIELD_IMPORT_DAILY_ENERGY, glitch(s, s->daily_mwh));
    give(&m, FIELD_IMPORT_TOTAL_ENERGY, glitch(s, s->import_mwh));
    give(&m, FIELD_IMPORT_SETTLEMENT_ENERGY, s->settled_mwh);
    give(&m, FIELD_IMPORT_ACTIVE, s->power_mw > 100000);
    give(&m, FIELD_NET_TOTAL, s->export_mwh - s->import_mwh);
    if (rng_chance(&s->rng, 100))
        s->word = (int)rng_between(&s->rng, 0, 2);
    give(&m, FIELD_NET_STATUS, s->word);
    finish_message(s, &m, now_ms);
}

static void send_status(struct source *s, int64_t now_ms)
{
    struct message m = {.topic = TOPIC_STATUS};

    give(&m, FIELD_WIFI_CONNECTED, !rng_chance(&s->rng, 100));
    give(&m, FIELD_WIFI_RSSI, rng_between(&s->rng, -90000, -30000));
    give(&m, FIELD_GRID_MODE, rng_between(&s->rng, 0, 2));
    give(&m, FIELD_UPTIME, (now_ms - s->boot_ms) * 1000);
    give(&m, FIELD_SYSTEM_STATUS, rng_chance(&s->rng, 100) ? 1 : 0);
    finish_message(s, &m, now_ms);
}

static void plan_backlogs(struct source *s)
{
    struct plan *p = s->plan;
    int64_t length_most = s->late_most_ms < MINUTES(20) ? s->late_most_ms : MINUTES(20);

    s->n_backlogs = (int)rng_between(&s->rng, 0, 3);
    for (int i = 0; i < s->n_backlogs; i++) {
        struct backlog *b = &s->backlogs[i];
        b->from_ms = rng_between(&s->rng, p->begin_ms, p->end_ms);
        b->to_ms = b->from_ms + rng_between(&s->rng, 5000, length_most);
        b->sent_ms = b->to_ms;
        b->order = (enum order)rng_between(&s->rng, 0, 2);
        if (p->class == PLAN_LATE && rng_chance(&s->rng, 500))
            b->sent_ms += rng_between(&s->rng, 0,
                                      rng_chance(&s->rng, 200) ? 2 * DAY_MS : 3 * p->ttl_s * 1000);
    }
}

static const int64_t cadences_ms[] = {1000,  1000,  2000,  5000,  5000,  7000,  10000, 10000,
                                      12500, 15000, 20000, 30000, 30000, 45000, 60000};

static int one_in(struct source *s, int chance, int64_t permille_most)
{
    return rng_chance(&s->rng, chance) ? (int)rng_between(&s->rng, 1, permille_most) : 0;
}

static void draw_source(struct source *s)
{
    struct plan *p = s->plan;
    struct rng *r = &s->rng;
    bool late = p->class == PLAN_LATE;

    s->late_most_ms = late ? p->ttl_s * INT64_C(2000) : p->ttl_s * INT64_C(1000) / 4;
    s->fractions = !late && rng_chance(r, 400);
    s->clock_ms = rng_chance(r, 300) ? rng_between(r, -110000, 110000) : 0;
    s->status_every = rng_between(r, 1, 20);
    s->knows = rng_chance(r, 700) ? UINT32_MAX : (uint32_t)random_next(&r->state);
    s->glitches = late ? 0 : one_in(s, 200, 20);
    s->missing = late ? 0 : one_in(s, 200, 100);
    s->conflicts = late || p->change_format ? 0 : one_in(s, 200, 20);
    s->future = one_in(s, 200, 20);
    s->twice = one_in(s, 500, 40);
    s->lone_late = one_in(s, 500, 40);
    s->broken = late ? 0 : one_in(s, 200, 40);
    s->gaps = one_in(s, 500, 10);
    s->import_mwh = rng_between(r, 0, 5000000);
    s->export_mwh = rng_between(r, 0, 5000000);
    s->daily_mwh = rng_between(r, 0, 200000);
    s->settled_mwh = rng_between(r, 0, 200000);
    s->power_mw = rng_between(r, 0, 300000);
    s->soc = rng_between(r, 20000, 90000);
    s->boot_ms = p->begin_ms - rng_between(r, 0, DAY_MS);
    s->day = p->begin_ms / DAY_MS;
    s->until_status = rng_between(r, 0, s->status_every);
    plan_backlogs(s);
}

static int64_t meter_cadence(struct plan *p, int index)
{
    struct rng r = rng_stream(p->seed, 1000 + (uint64_t)index);
    int64_t length_ms = p->end_ms - p->begin_ms, cadence_ms;

    do
        cadence_ms = cadences_ms[rng_between(&r, 0, (int)(sizeof cadences_ms / 8) - 1)];
    while (length_ms / cadence_ms > 1500);
    return cadence_ms;
}

static void make_meter(struct plan *p, int index)
{
    struct source s = {.plan = p, .index = index, .rng = rng_stream(p->seed, (uint64_t)index)};
    struct meter_plan *meter = &p->meters[index];
    int64_t step_ms = meter->cadence_ms;

    draw_source(&s);
    bool wanders = p->class != PLAN_LATE && !p->change_format && rng_chance(&s.rng, 100);
    int64_t wander_at = rng_between(&s.rng, p->begin_ms, p->end_ms);
    int jitter = !s.fractions || rng_chance(&s.rng, 500) ? 0 : (int)rng_between(&s.rng, 1, 400);
    p->contradicts = p->contradicts || s.conflicts > 0 || wanders;
    meter->adds_up = s.glitches == 0 && !wanders && p->power_w_most == 0;
    int64_t now_ms = p->begin_ms + rng_between(&s.rng, 0, step_ms - 1), last_ms = now_ms;
    while (now_ms < p->end_ms) {
        if (wanders && now_ms > wander_at) {
            s.clock_ms += rng_between(&s.rng, -60000, 60000);
            wanders = false;
        }
        count_energy(&s, now_ms, now_ms - last_ms);
        last_ms = now_ms;
        send_data(&s, now_ms);
        if (s.until_status-- == 0) {
            send_status(&s, now_ms);
            s.until_status = s.status_every;
        }
        now_ms += step_ms + (jitter ? rng_between(&s.rng, -jitter, jitter) : 0);
        if (rng_chance(&s.rng, s.gaps))
            now_ms += rng_between(&s.rng, step_ms, MINUTES(25));
    }
}

/* ---- Troubles -------------------------------------------------------------------------------- */

/* How often each kind is drawn, and the longest it lasts as a share of the time-to-live. */
static const struct {
    int weight;
    int64_t most_ms;
} trouble_shapes[TROUBLE_COUNT] = {
    [TROUBLE_KILL] = {8, 20000},
    [TROUBLE_STALL] = {8, 90000},
    [TROUBLE_HOT_WEATHER] = {4, 60000},
    [TROUBLE_HISTORY_WEATHER] = {4, 60000},
    [TROUBLE_BROKER_WEATHER] = {2, 30000},
    [TROUBLE_HOT_DOWN] = {2, 60000},
    [TROUBLE_HISTORY_DOWN] = {2, 60000},
    [TROUBLE_HOT_FULL] = {1, 60000},
    [TROUBLE_HISTORY_READ_ONLY] = {1, 60000},
    [TROUBLE_HOT_RESTART] = {1, 0},
    [TROUBLE_HISTORY_RESTART] = {2, 0},
    [TROUBLE_HISTORY_SESSION] = {2, 0},
    [TROUBLE_BROKER_DROP] = {3, 0},
    [TROUBLE_BROKER_TWICE] = {3, 0},
    [TROUBLE_BROKER_SESSION] = {1, 0},
    [TROUBLE_BROKER_SMALL] = {2, 60000},
    [TROUBLE_CLOCK_JUMP] = {2, 50000},
};

static enum trouble_kind draw_kind(struct rng *r)
{
    int total = 0, kind = 0;

    for (int k = 0; k < TROUBLE_COUNT; k++)
        total += trouble_shapes[k].weight;
    int64_t pick = rng_between(r, 0, total - 1);
    while ((pick -= trouble_shapes[kind].weight) >= 0)
        kind++;
    return (enum trouble_kind)kind;
}

static int compare_troubles(const void *a, const void *b)
{
    const struct trouble *x = a, *y = b;

    return (x->at_ms > y->at_ms) - (x->at_ms < y->at_ms);
}

static void draw_troubles(struct plan *p)
{
    struct rng r = rng_stream(p->seed, 2000);
    int n = p->class == PLAN_CALM ? 0 : (int)rng_between(&r, 1, TROUBLES_MOST - 8);

    p->n_troubles = n;
    for (int i = 0; i < n; i++) {
        struct trouble *f = &p->troubles[i];
        f->kind = draw_kind(&r);
        f->at_ms = rng_between(&r, p->begin_ms, p->end_ms);
        f->target = rng_chance(&r, 300) ? 0 : (int)rng_between(&r, 1, p->aggregates);
        f->length_ms = rng_between(&r, 0, trouble_shapes[f->kind].most_ms);
        if (f->kind == TROUBLE_CLOCK_JUMP)
            f->length_ms -= trouble_shapes[f->kind].most_ms / 2;
        f->calls = (int)rng_between(&r, 1, 12);
        f->before = (int)rng_between(&r, 0, 300);
        f->after = (int)rng_between(&r, 0, 300);
        f->applied = rng_chance(&r, 400);
        f->takeover = rng_chance(&r, 700);
    }
    qsort(p->troubles, (size_t)n, sizeof *p->troubles, compare_troubles);
}

/* ---- The plan ------------------------------------------------------------------------------ */

static const int64_t lengths_min[] = {15, 30, 60, 90, 120, 240};

static void draw_shape(struct plan *p, struct rng *r)
{
    int64_t dice = rng_between(r, 0, 99);

    p->class = dice < 10 ? PLAN_CALM : dice < 85 ? PLAN_EXACT : PLAN_LATE;
    p->begin_ms = ORIGIN_MS + rng_between(r, 0, 23) * MINUTES(60) + rng_between(r, 0, MINUTES(60));
    p->end_ms =
        p->begin_ms +
        MINUTES(lengths_min[rng_between(r, 0, sizeof lengths_min / sizeof *lengths_min - 1)]);
    p->ttl_s = p->class == PLAN_LATE ? (rng_chance(r, 700) ? 1800 : 7200)
               : rng_chance(r, 600)  ? 3600
                                     : 7200;
    p->latest_ttl_ms = rng_chance(r, 500) ? MINUTES(10) : MINUTES(60);
    p->power_w_most = p->class != PLAN_LATE && rng_chance(r, 150) ? 1000 : 0;
    p->json = rng_chance(r, 150);
    p->change_format = rng_chance(r, 100);
    p->aggregates = rng_chance(r, 600) ? 2 : 1;
    p->batch_most = (int)rng_between(r, 1, 3) == 1 ? 16 : 256;
    p->chunk_meters = (int)rng_between(r, 1, 4);
    p->poll_ms = rng_between(r, 1, 5) * 1000;
}

static void cut_plan(struct plan *p, const struct cut *cut)
{
    size_t kept = 0;
    int troubles = 0;

    for (size_t i = 0; i < p->n_publishes && kept < cut->publishes; i++)
        if (cut->meters >> p->messages[p->publishes[i].message].meter & 1)
            p->publishes[kept++] = p->publishes[i];
    p->n_publishes = kept;
    for (int i = 0; i < p->n_troubles; i++)
        if (cut->troubles >> i & 1)
            p->troubles[troubles++] = p->troubles[i];
    p->n_troubles = troubles;
}

/* By time, in the order they were made where it is the same. */
static int compare_publishes(const void *a, const void *b)
{
    const struct publish *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return (x->message > y->message) - (x->message < y->message);
}

void plan_make(struct plan *p, uint64_t seed, const struct cut *cut)
{
    struct rng r = rng_stream(seed, 3000);
    int64_t expected = 0;

    p->seed = seed;
    p->n_messages = p->n_publishes = 0;
    p->contradicts = false;
    draw_shape(p, &r);
    p->n_meters = 0;
    while (p->n_meters < METERS_MOST && expected < 1700) {
        int m = p->n_meters++;
        memcpy(p->meters[m].id, (char[]){'M', (char)('0' + m), '\0'}, 3);
        p->meters[m].cadence_ms = meter_cadence(p, m);
        expected += (p->end_ms - p->begin_ms) / p->meters[m].cadence_ms;
    }
    for (int m = 0; m < p->n_meters; m++)
        make_meter(p, m);
    draw_troubles(p);
    p->n_quiets = (int)rng_between(&r, 0, QUIETS_MOST);
    for (int i = 0; i < p->n_quiets; i++)
        p->quiets[i] = p->begin_ms + (p->end_ms - p->begin_ms) * (i + 1) / (p->n_quiets + 1);
    qsort(p->publishes, p->n_publishes, sizeof *p->publishes, compare_publishes);
    cut_plan(p, cut);
}

void plan_clear(struct plan *p)
{
    free(p->messages);
    free(p->publishes);
    *p = (struct plan){0};
}
