/*
 * What the main loops of the stages share: pausing after a failure, and telling the hot store how
 * the stage is.
 */
#ifndef APP_STAGE_LOOP_H
#define APP_STAGE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/backoff.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "stores/hot.h"

struct stage_loop {
    const char *stage;
    struct hot *hot;
    struct backoff backoff;
    struct log_gate gate;
    int64_t health_at_ms;
    bool durability_told;
    bool ready_told;
    bool failing;
};

void stage_loop_init(struct stage_loop *l, const char *stage, struct hot *hot);

/* A step succeeded: say so if the one before did not. */
void stage_loop_succeeded(struct stage_loop *l);

/* A step failed: log it (sparsely) and wait a little, longer each time, with jitter. */
void stage_loop_failed(struct stage_loop *l, const struct err *e);

/* Tell the supervisor, once, that the stage does its work. */
void stage_loop_ready(struct stage_loop *l);

/* Every two seconds: put the stage's health, written by fn, into the hot store. */
void stage_loop_health(struct stage_loop *l, void (*fn)(void *ctx, struct buf *out), void *ctx);

#endif
