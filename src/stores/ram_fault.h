/*
 * Faults of a server that a store in memory acts out, one decision a call.
 *
 * A store in memory asks `next` before every call of a handle, with the name of the operation
 * ("store", "claim", "replace", "acknowledge", ...), and does as it is told. Where nothing is to
 * fail, `next` answers RAM_FINE; it may also do something else first, such as letting another
 * process of the simulation run: no store holds anything over it.
 */
#ifndef STORES_RAM_FAULT_H
#define STORES_RAM_FAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum ram_fault {
    RAM_FINE,
    RAM_FAIL_BEFORE, /* the call never reached the server */
    RAM_FAIL_AFTER,  /* the server has done it, the answer is lost; of a read a part may arrive */
    RAM_REFUSE,      /* the server answers with an error: it is read-only or full. Nothing is done,
                        the connection stays. Calls that only read pay no heed to it. */
};

struct ram_faults {
    enum ram_fault (*next)(void *ctx, const char *call); /* NULL: nothing fails */
    void *ctx;
};

/* ---- For the stores ----------------------------------------------------------------------- */

/* Through which all calls of one handle pass. */
struct ram_gate {
    const char *server; /* its name in error texts */
    struct ram_faults faults;
    size_t failures_left; /* asked for by a test, whatever the faults say */
    bool failures_applied;
    bool disconnected; /* the server was restarted: the next call finds out */
};

enum ram_kind { RAM_READS, RAM_WRITES };

static inline void ram_set_faults(struct ram_gate *g, const struct ram_faults *faults)
{
    g->faults = faults ? *faults : (struct ram_faults){0};
}

static inline void ram_fail_next(struct ram_gate *g, size_t n, bool applied)
{
    g->failures_left = n;
    g->failures_applied = applied;
}

/* What becomes of this call. The server may be restarted while `next` runs. */
static inline enum ram_fault ram_ask(struct ram_gate *g, const char *call, enum ram_kind kind)
{
    enum ram_fault fault = g->faults.next ? g->faults.next(g->faults.ctx, call) : RAM_FINE;

    if (g->failures_left > 0) {
        g->failures_left--;
        return g->failures_applied ? RAM_FAIL_AFTER : RAM_FAIL_BEFORE;
    }
    if (g->disconnected) {
        g->disconnected = false;
        return RAM_FAIL_BEFORE;
    }
    return fault == RAM_REFUSE && kind == RAM_READS ? RAM_FINE : fault;
}

/* Says so in *e and returns false. */
static inline bool ram_fail(const struct ram_gate *g, const char *call, enum ram_fault fault,
                            struct err *e)
{
    return err_set(e, ERR_RETRY, fault == RAM_REFUSE ? "%s: refuses %s" : "%s: no answer to %s",
                   g->server, call);
}

#endif
