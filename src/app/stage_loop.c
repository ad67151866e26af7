#include "app/stage_loop.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/stop.h"

#define HEALTH_MS 2000
#define FAILURE_LOG_MS 5000

void stage_loop_init(struct stage_loop *l, const char *stage, struct hot *hot)
{
    *l = (struct stage_loop){
        .stage = stage,
        .hot = hot,
        .backoff = {.first_ms = 50,
                    .most_ms = 1000,
                    .state = (uint64_t)getpid() ^ (uint64_t)clock_wall_ms(clock_system())}};
}

void stage_loop_succeeded(struct stage_loop *l)
{
    if (l->failing)
        log_info("working again");
    l->failing = false;
    backoff_reset(&l->backoff);
}

void stage_loop_failed(struct stage_loop *l, const struct err *e)
{
    uint64_t left_out;

    l->failing = true;
    if (stop_requested())
        return;
    if (log_gate_open(&l->gate, clock_mono_ms(clock_system()), FAILURE_LOG_MS, &left_out))
        log_warn("%s; trying again (%llu more such lines left out)", e->text,
                 (unsigned long long)left_out);
    clock_sleep_ms(clock_system(), backoff_next_ms(&l->backoff));
}

void stage_loop_ready(struct stage_loop *l)
{
    if (l->ready_told)
        return;
    log_info("ready, version %s", ENERLINK_VERSION);
    notify_ready();
    l->ready_told = true;
}

static void tell_durability(struct stage_loop *l)
{
    struct hot_durability d;
    struct err e;

    if (l->durability_told || !l->hot->ops->durability(l->hot, &d, &e))
        return;
    if (!d.sound)
        log_warn("redis is less durable than promised: %s", d.text);
    l->durability_told = true;
}

void stage_loop_health(struct stage_loop *l, void (*fn)(void *ctx, struct buf *out), void *ctx)
{
    int64_t now_ms = clock_mono_ms(clock_system());
    struct buf line;
    struct err e;

    if (now_ms < l->health_at_ms)
        return;
    l->health_at_ms = now_ms + HEALTH_MS;
    buf_init(&line, 64 * 1024);
    fn(ctx, &line);
    if (!l->hot->ops->put_health(l->hot, l->stage, line.data, &e))
        log_debug("health not stored: %s", e.text);
    else
        tell_durability(l);
    buf_clear(&line);
}
