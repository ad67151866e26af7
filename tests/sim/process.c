#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/when.h"

enum { STACK_SIZE = 1024 * 1024 };

/* ---- Faults -------------------------------------------------------------------------------- */

static const char *const fault_names[] = {[RAM_FINE] = NULL,
                                          [RAM_FAIL_BEFORE] = "lost",
                                          [RAM_FAIL_AFTER] = "unanswered",
                                          [RAM_REFUSE] = "refused"};

static enum ram_fault draw_fault(struct site *site, const struct weather *w)
{
    if (site->now_ms >= w->until_ms)
        return RAM_FINE;
    int64_t dice = rng_between(&site->weather, 0, 999);
    if (dice < w->before)
        return RAM_FAIL_BEFORE;
    if (dice < w->before + w->after)
        return RAM_FAIL_AFTER;
    return dice < w->before + w->after + w->refused ? RAM_REFUSE : RAM_FINE;
}

static void note(const struct process *p, const char *what, const char *result, int64_t number)
{
    trace_add(p->site->trace, p->site->now_ms, p->name, what, result, number);
}

/* Stand still until the world lets this process go on. */
static void stall(struct process *p)
{
    note(p, "stalls", NULL, p->stall_ms);
    p->state = PROCESS_STALLED;
    p->next_ms = p->site->now_ms + p->stall_ms;
    swapcontext(&p->here, &p->world);
    p->state = PROCESS_READY;
    note(p, "wakes", NULL, 0);
}

/* What an idle process asks for again and again would fill the trace. */
static bool is_polling(const char *call)
{
    return strcmp(call, "due_minutes") == 0 || strcmp(call, "lock") == 0 ||
           strcmp(call, "silent") == 0;
}

static enum ram_fault next_fault(struct process *p, const char *call, const struct weather *w)
{
    enum ram_fault fault = RAM_FAIL_BEFORE;

    if (!p->dead && p->stall_in > 0 && --p->stall_in == 0)
        stall(p);
    if (p->dead)
        return fault;
    if (p->die_in > 0 && --p->die_in == 0) {
        p->dead = true;
        fault = p->die_applied ? RAM_FAIL_AFTER : RAM_FAIL_BEFORE;
        note(p, "dies in", call, p->die_applied);
        return fault;
    }
    fault = draw_fault(p->site, w);
    if (fault != RAM_FINE || !is_polling(call))
        note(p, call, fault_names[fault], 0);
    return fault;
}

/* Who made the last call of a hot store. */
static struct process *caller;

static enum ram_fault next_hot_fault(void *ctx, const char *call)
{
    struct process *p = ctx;

    p->last_fault = next_fault(p, call, &p->site->hot_weather);
    caller = p;
    return p->last_fault;
}

static enum ram_fault next_history_fault(void *ctx, const char *call)
{
    struct process *p = ctx;

    return next_fault(p, call, &p->site->history_weather);
}

/* ---- The hot store as ingest sees it -------------------------------------------------------- */

/* Its handle is the store's own but for one call. */
static const struct hot_ops *real_ops;
static struct hot_ops watched_ops;

static bool watched_store(struct hot *h, const struct hot_batch *b, struct err *e)
{
    bool ok = real_ops->store(h, b, e);

    if (caller && (ok || caller->last_fault == RAM_FAIL_AFTER))
        caller->site->stored(caller->site->ctx, caller, b, ok);
    return ok;
}

static void watch(struct hot *h)
{
    real_ops = h->ops;
    watched_ops = *real_ops;
    watched_ops.store = watched_store;
    h->ops = &watched_ops;
}

/* ---- The broker as one process sees it ----------------------------------------------------- */

static bool is_gone(const struct process *p, struct err *e)
{
    if (!p->dead && !p->replaced)
        return false;
    err_set(e, ERR_RETRY, "the session was taken over");
    return true;
}

static void forget_copies(struct process *p)
{
    while (p->n_copies > 0)
        free(p->copies[--p->n_copies]);
}

/* What a stalled process holds must not go when its successor acknowledges it. */
static void copy_messages(struct process *p, struct broker_message *m, int n)
{
    if (!p->keeps_copies)
        return;
    for (int i = 0; i < n; i++) {
        char *copy = xmalloc(m[i].topic_len + m[i].payload_len + 1);
        memcpy(copy, m[i].topic, m[i].topic_len);
        memcpy(copy + m[i].topic_len, m[i].payload, m[i].payload_len);
        m[i].topic = copy;
        m[i].payload = copy + m[i].topic_len;
        p->copies[p->n_copies++] = copy;
    }
}

static int process_receive(struct broker *b, struct broker_message *out, int most, int wait_ms,
                           struct err *e)
{
    struct process *p = (struct process *)b;
    int room = (int)(sizeof p->copies / sizeof *p->copies) - p->n_copies;

    if (is_gone(p, e))
        return -1;
    if (p->keeps_copies && most > room)
        most = room;
    int n = broker_receive(p->site->broker, out, most, wait_ms, e);
    if (n > 0)
        copy_messages(p, out, n);
    if (n < 0)
        forget_copies(p);
    return n;
}

static bool process_acknowledge(struct broker *b, struct err *e)
{
    struct process *p = (struct process *)b;

    if (is_gone(p, e))
        return false;
    bool ok = broker_acknowledge(p->site->broker, e);
    if (ok && p->stall_in == 0)
        p->keeps_copies = false;
    forget_copies(p);
    return ok;
}

static void process_broker_stats(const struct broker *b, struct broker_stats *out)
{
    broker_stats(((const struct process *)b)->site->broker, out);
}

static void process_broker_close(struct broker *b)
{
    (void)b;
}

static const struct broker_ops process_broker_ops = {
    .receive = process_receive,
    .acknowledge = process_acknowledge,
    .stats = process_broker_stats,
    .close = process_broker_close,
};

/* ---- Its clock ----------------------------------------------------------------------------- */

static int64_t process_wall_ms(void *ctx)
{
    const struct process *p = ctx;

    return p->site->now_ms + p->site->skew_ms;
}

static int64_t process_mono_ms(void *ctx)
{
    return ((const struct process *)ctx)->site->now_ms;
}

static void process_sleep_ms(void *ctx, int64_t ms)
{
    ((const struct process *)ctx)->site->now_ms += ms;
}

/* ---- Its life ------------------------------------------------------------------------------ */

static void start_ingest(struct process *p)
{
    const struct plan *plan = p->site->plan;
    struct ingest_options o = {.broker = &p->broker,
                               .hot = p->hot,
                               .clock = &p->clock,
                               .limits = {.future_ms = 5 * MINUTE_MS, .past_ms = 366 * DAY_MS},
                               .timeseries_json =
                                   plan->json != (plan->change_format && p->site->ingests % 2),
                               .batch_most = plan->batch_most,
                               .writer = "ingest",
                               .token = p->token};

    p->site->ingests++;
    p->ingest = ingest_new(&o);
}

static void start_aggregate(struct process *p)
{
    const struct plan *plan = p->site->plan;
    struct ram_faults faults = {next_history_fault, p};

    p->history = history_ram_share(p->site->history);
    history_ram_set_faults(p->history, &faults);
    struct aggregate_options o = {.hot = p->hot,
                                  .history = p->history,
                                  .clock = &p->clock,
                                  .token = p->token,
                                  .limits = {.power_w_most = plan->power_w_most},
                                  .latest_ttl_ms = plan->latest_ttl_ms,
                                  .timeseries_ttl_s = plan->ttl_s,
                                  .chunk_meters = (size_t)plan->chunk_meters};
    p->aggregate = aggregate_new(&o);
}

void process_start(struct process *p, struct site *site, const char *name, bool ingest)
{
    void *stack = p->stack ? p->stack : xmalloc(STACK_SIZE);
    struct ram_faults faults = {next_hot_fault, p};

    *p = (struct process){.broker = {&process_broker_ops},
                          .site = site,
                          .name = name,
                          .state = PROCESS_READY,
                          .next_ms = site->now_ms,
                          .stack = stack};
    p->clock = (struct clock){process_wall_ms, process_mono_ms, process_sleep_ms, p};
    snprintf(p->token, sizeof p->token, "process-%d", ++site->started);
    note(p, "starts", NULL, site->started);
    p->hot = hot_ram_share(site->hot);
    hot_ram_set_faults(p->hot, &faults);
    if (ingest) {
        watch(p->hot);
        start_ingest(p);
    } else {
        start_aggregate(p);
    }
}

static void run_step(struct process *p)
{
    struct err e;

    if (p->ingest) {
        p->ok = ingest_step(p->ingest, 0, &e);
        p->busy = false;
    } else {
        p->ok = aggregate_step(p->aggregate, &p->busy, &e);
    }
    if (!p->ok)
        note(p, "step failed", NULL, 0);
}

/* makecontext hands over integers only. */
static struct process *entering;

static void run_steps(void)
{
    struct process *p = entering;

    for (;;) {
        run_step(p);
        swapcontext(&p->here, &p->world);
    }
}

static void go_on(struct process *p)
{
    if (!p->started) {
        getcontext(&p->here);
        p->here.uc_stack.ss_sp = p->stack;
        p->here.uc_stack.ss_size = STACK_SIZE;
        p->here.uc_link = NULL;
        entering = p;
        makecontext(&p->here, run_steps, 0);
        p->started = true;
    }
    swapcontext(&p->world, &p->here);
}

void process_step(struct process *p)
{
    /* Changing stacks costs system calls: only for a step in which it may stall. */
    if (p->state == PROCESS_STALLED || p->stall_in > 0)
        go_on(p);
    else
        run_step(p);
}

void process_kill(struct process *p)
{
    if (p->state == PROCESS_GONE)
        return;
    p->dead = true;
    if (p->state == PROCESS_STALLED)
        go_on(p);
    ingest_free(p->ingest);
    aggregate_free(p->aggregate);
    p->hot->ops->close(p->hot);
    if (p->history)
        p->history->ops->close(p->history);
    forget_copies(p);
    p->state = PROCESS_GONE;
    note(p, "is gone", NULL, 0);
}
