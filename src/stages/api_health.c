#include "stages/api_health.h"

#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "stages/api_json.h"

#define PROBE_MS 500
#define REPORT_MS 2000

enum { STAGES_TEXT_MOST = 256 * 1024 };

static const char *const expected_stages[] = {"ingest", "aggregate", "api"};

/* One server, as its thread sees it. Everything below `lock` is shared. */
struct store {
    struct health *health;
    const char *name;
    pthread_t thread;
    pthread_mutex_t lock;
    bool known, up;
    int64_t heard_ms; /* monotonic: when it last answered; at first when we began to ask */
    double latency_ms;
    bool sound;
    char weakness[256];
};

struct health {
    const struct api_options *o;
    struct store redis, postgres;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool stop;
    uint64_t requests;
    struct hot_usage usage;
    char *stages; /* JSON as the hot store gave it; NULL: never read */
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- Asking ------------------------------------------------------------------------------- */

static void store_heard(struct store *s, int64_t took_us, bool sound, const char *weakness)
{
    pthread_mutex_lock(&s->lock);
    bool news = !s->known || !s->up;
    s->known = s->up = true;
    s->heard_ms = clock_mono_ms(s->health->o->clock);
    s->latency_ms = (double)took_us / 1000;
    s->sound = sound;
    snprintf(s->weakness, sizeof s->weakness, "%s", weakness);
    pthread_mutex_unlock(&s->lock);
    if (news)
        log_info("%s answers", s->name);
}

static void store_failed(struct store *s, const struct err *e)
{
    pthread_mutex_lock(&s->lock);
    bool news = !s->known || s->up;
    s->known = true;
    s->up = false;
    pthread_mutex_unlock(&s->lock);
    if (news)
        log_warn("%s is down: %s", s->name, e->text);
}

static bool is_stopped(struct health *h, int64_t wait_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (wait_ms % 1000) * 1000000;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&h->lock);
    while (!h->stop && pthread_cond_timedwait(&h->stopped, &h->lock, &until) == 0)
        continue;
    bool stop = h->stop;
    pthread_mutex_unlock(&h->lock);
    return stop;
}

static bool report(struct health *h, struct hot *hot, struct err *e)
{
    char json[160];

    pthread_mutex_lock(&h->lock);
    uint64_t requests = h->requests;
    pthread_mutex_unlock(&h->lock);
    snprintf(json, sizeof json, "{\"at_ms\":%" PRId64 ",\"pid\":%ld,\"requests\":%" PRIu64 "}",
             clock_wall_ms(h->o->clock), (long)getpid(), requests);
    return hot->ops->put_health(hot, "api", json, e);
}

static bool ask_redis(struct health *h, struct hot *hot, struct err *e)
{
    struct hot_durability durability = {0};
    struct hot_usage usage;
    struct buf stages;
    int64_t start_us = now_us();

    if (!hot->ops->durability(hot, &durability, e))
        return false;
    int64_t took_us = now_us() - start_us;
    buf_init(&stages, STAGES_TEXT_MOST);
    if (!hot->ops->usage(hot, &usage, e) || !hot->ops->get_health(hot, &stages, e)) {
        buf_clear(&stages);
        return false;
    }
    pthread_mutex_lock(&h->lock);
    free(h->stages);
    h->stages = stages.data;
    h->usage = usage;
    pthread_mutex_unlock(&h->lock);
    store_heard(&h->redis, took_us, durability.sound, durability.text);
    return true;
}

static void *watch_redis(void *arg)
{
    struct health *h = arg;
    struct hot *hot = api_open_hot(h->o);
    int64_t report_ms = 0;
    struct err e;

    do {
        int64_t now_ms = clock_mono_ms(h->o->clock);
        bool due = now_ms >= report_ms;
        if ((due && !report(h, hot, &e)) || !ask_redis(h, hot, &e))
            store_failed(&h->redis, &e);
        else if (due)
            report_ms = now_ms + REPORT_MS;
    } while (!is_stopped(h, PROBE_MS));
    hot->ops->close(hot);
    return NULL;
}

static void *watch_postgres(void *arg)
{
    struct health *h = arg;
    struct history *history = api_open_history(h->o);
    struct err e;

    do {
        struct history_durability durability = {0};
        int64_t start_us = now_us();
        if (history->ops->durability(history, &durability, &e))
            store_heard(&h->postgres, now_us() - start_us, durability.sound, durability.text);
        else
            store_failed(&h->postgres, &e);
    } while (!is_stopped(h, PROBE_MS));
    history->ops->close(history);
    return NULL;
}

static void store_start(struct store *s, struct health *h, const char *name, void *(*fn)(void *))
{
    sigset_t all, before;

    s->health = h;
    s->name = name;
    s->heard_ms = clock_mono_ms(h->o->clock);
    pthread_mutex_init(&s->lock, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&s->thread, NULL, fn, h) != 0)
        die("cannot start a thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct health *health_new(const struct api_options *o)
{
    struct health *h = xcalloc(1, sizeof *h);

    h->o = o;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->stopped, NULL);
    store_start(&h->redis, h, "redis", watch_redis);
    store_start(&h->postgres, h, "postgres", watch_postgres);
    return h;
}

void health_free(struct health *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_mutex_unlock(&h->lock);
    pthread_cond_broadcast(&h->stopped);
    pthread_join(h->redis.thread, NULL);
    pthread_join(h->postgres.thread, NULL);
    pthread_mutex_destroy(&h->redis.lock);
    pthread_mutex_destroy(&h->postgres.lock);
    pthread_cond_destroy(&h->stopped);
    pthread_mutex_destroy(&h->lock);
    free(h->stages);
    free(h);
}

void health_count_requests(struct health *h, uint64_t requests)
{
    pthread_mutex_lock(&h->lock);
    h->requests = requests;
    pthread_mutex_unlock(&h->lock);
}

/* ---- Telling ------------------------------------------------------------------------------ */

enum state {
    STATE_OK,
    STATE_DEGRADED,
    STATE_DOWN,
    STATE_UNKNOWN,
};

static const char *const state_names[] = {
    [STATE_OK] = "ok",
    [STATE_DEGRADED] = "degraded",
    [STATE_DOWN] = "down",
    [STATE_UNKNOWN] = "unknown",
};

/* The caller holds the store's lock. */
static enum state state_of(const struct store *s)
{
    if (clock_mono_ms(s->health->o->clock) - s->heard_ms > HEALTH_SILENT_MS)
        return STATE_DOWN;
    if (!s->known)
        return STATE_UNKNOWN;
    if (!s->up)
        return STATE_DOWN;
    return s->sound ? STATE_OK : STATE_DEGRADED;
}

static enum state store_state(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    enum state state = state_of(s);
    pthread_mutex_unlock(&s->lock);
    return state;
}

bool health_redis_is_down(void *ctx)
{
    struct health *h = ctx;

    return store_state(&h->redis) == STATE_DOWN;
}

bool health_postgres_is_down(void *ctx)
{
    struct health *h = ctx;

    return store_state(&h->postgres) == STATE_DOWN;
}

static void answer_json(struct http_answer *a, unsigned status)
{
    a->status = status;
    a->type = "application/json";
}

void health_answer_live(const struct health *h, struct http_answer *a)
{
    (void)h;
    answer_json(a, 200);
    buf_adds(&a->body, "{\"data\":{\"state\":\"ok\"},\"meta\":{}}");
}

static bool answers(enum state state)
{
    return state == STATE_OK || state == STATE_DEGRADED;
}

void health_answer_ready(struct health *h, struct http_answer *a)
{
    enum state redis = store_state(&h->redis);
    enum state postgres = store_state(&h->postgres);

    if (!answers(redis) || !answers(postgres)) {
        char detail[96];
        snprintf(detail, sizeof detail, "redis: %s, postgres: %s", state_names[redis],
                 state_names[postgres]);
        http_answer_unavailable(a, detail);
        return;
    }
    answer_json(a, 200);
    buf_addf(&a->body,
             "{\"data\":{\"state\":\"ok\",\"redis\":\"%s\",\"postgres\":\"%s\"},\"meta\":{}}",
             state_names[redis], state_names[postgres]);
}

static json_t *store_json(struct store *s, enum state *state)
{
    pthread_mutex_lock(&s->lock);
    *state = state_of(s);
    json_t *json = json_pack("{s:s, s:o}", "state", state_names[*state], "latency_ms",
                             answers(*state) ? json_real(s->latency_ms) : json_null());
    if (answers(*state))
        json_object_set_new(json, "durability",
                            json_pack("{s:b, s:s}", "sound", s->sound, "text", s->weakness));
    else
        json_object_set_new(json, "durability", json_null());
    pthread_mutex_unlock(&s->lock);
    return json;
}

/* Copies what is shared: the stages' own reports, and the usage into the store's object. */
static json_t *stages_json(struct health *h, json_t *redis)
{
    json_t *stages = NULL;

    pthread_mutex_lock(&h->lock);
    if (h->stages) {
        const struct hot_usage *u = &h->usage;
        stages = json_loads(h->stages, 0, NULL);
        json_object_set_new(
            redis, "usage",
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "memory_bytes", (json_int_t)u->memory_bytes,
                      "memory_most_bytes", (json_int_t)u->memory_most_bytes, "minutes_waiting",
                      (json_int_t)u->minutes_waiting, "oldest_waiting_ms",
                      (json_int_t)u->oldest_waiting_ms, "quarantined", (json_int_t)u->quarantined));
    } else {
        json_object_set_new(redis, "usage", json_null());
    }
    pthread_mutex_unlock(&h->lock);
    return json_is_object(stages) ? stages : (json_decref(stages), json_object());
}

/* Adds "state" to each stage; false when one of those expected is missing, or any is stale. */
static bool judge_stages(json_t *stages, int64_t now_ms)
{
    const char *name;
    json_t *stage;
    bool fine = true;

    for (size_t i = 0; i < sizeof expected_stages / sizeof *expected_stages; i++) {
        if (json_is_object(json_object_get(stages, expected_stages[i])))
            continue;
        json_object_set_new(stages, expected_stages[i], json_pack("{s:s}", "state", "missing"));
        fine = false;
    }
    json_object_foreach(stages, name, stage)
    {
        json_t *at = json_object_get(stage, "at_ms");
        if (!json_is_integer(at))
            continue;
        bool fresh = now_ms - json_integer_value(at) <= HEALTH_STALE_MS;
        json_object_set_new(stage, "state", json_string(fresh ? "ok" : "stale"));
        fine = fine && fresh;
    }
    return fine;
}

void health_answer(struct health *h, struct http_answer *a)
{
    enum state redis_state, postgres_state;
    json_t *redis = store_json(&h->redis, &redis_state);
    json_t *postgres = store_json(&h->postgres, &postgres_state);
    json_t *stages = stages_json(h, redis);
    int64_t now_ms = clock_wall_ms(h->o->clock);
    bool fine = judge_stages(stages, now_ms);
    enum state state = STATE_OK;

    if (!answers(redis_state) || !answers(postgres_state))
        state = STATE_DOWN;
    else if (!fine || redis_state == STATE_DEGRADED || postgres_state == STATE_DEGRADED)
        state = STATE_DEGRADED;
    json_t *data = json_pack("{s:s, s:o, s:o, s:o}", "state", state_names[state], "stages", stages,
                             "redis", redis, "postgres", postgres);
    char *text = json_dumps(data, JSON_COMPACT | JSON_REAL_PRECISION(6));
    answer_json(a, 200);
    buf_addf(&a->body, "{\"data\":%s,\"meta\":{\"at\":", text);
    json_write_time(&a->body, now_ms);
    buf_adds(&a->body, "}}");
    free(text);
    json_decref(data);
}
