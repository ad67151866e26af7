/*
 * One simulated process: a stage over handles of its own to the stores, with its own machine's
 * clock. It runs on a stack of its own, so that it can stand still within a store call while the
 * world goes on, and it can die in any store call, which then and later only fails.
 */
#ifndef SIM_PROCESS_H
#define SIM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#include "base/clock.h"
#include "meters.h"
#include "stages/aggregate.h"
#include "stages/ingest.h"
#include "stores/broker_ram.h"
#include "stores/history_ram.h"
#include "stores/hot_ram.h"
#include "trace.h"

/* Calls of one server that fail at random until a time. */
struct weather {
    int64_t until_ms;
    int before, after, refused; /* per mille */
};

struct process;

/* What all processes share. */
struct site {
    const struct plan *plan;
    struct trace *trace;
    int64_t now_ms;
    int64_t skew_ms; /* the machine's clock minus the true time */
    struct broker *broker;
    struct hot *hot;
    struct history *history;
    struct weather hot_weather, history_weather, broker_weather;
    struct rng weather;
    int started; /* processes so far, for their tokens */
    int ingests;
    /* Told of every batch that the hot store has taken; without an answer it may have refused it.
     */
    void (*stored)(void *ctx, const struct process *p, const struct hot_batch *b, bool answered);
    void *ctx;
};

enum process_state { PROCESS_GONE, PROCESS_READY, PROCESS_STALLED };

struct process {
    struct broker broker; /* first: what its ingest stage talks to */
    struct site *site;
    const char *name;
    enum process_state state;
    bool dead;                   /* every call fails from now on */
    bool replaced;               /* another one has its place; it ends after its step */
    bool ok, busy;               /* what the last step said */
    int64_t next_ms;             /* when it goes on */
    int die_in, stall_in;        /* store calls until then, 0: not planned */
    int64_t stall_ms, retire_ms; /* retire_ms: when a replaced one ends */
    bool die_applied, takeover;
    char token[24];
    struct clock clock;
    struct hot *hot;
    enum ram_fault last_fault;
    struct history *history;
    struct ingest *ingest;
    struct aggregate *aggregate;
    char *copies[64]; /* of messages that a stalled ingest still holds */
    int n_copies;
    bool keeps_copies;
    ucontext_t here, world;
    void *stack;
    bool started;
};

void process_start(struct process *p, struct site *site, const char *name, bool ingest);

/* One step of its stage, or the rest of one that stalled. */
void process_step(struct process *p);

/* End it now, whatever it is doing. */
void process_kill(struct process *p);

#endif
