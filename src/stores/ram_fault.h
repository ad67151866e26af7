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

enum ram_fault {
    RAM_FINE,
    RAM_FAIL_BEFORE, /* the call never reached the server */
    RAM_FAIL_AFTER,  /* the server has done it, the answer is lost; of a read a part arrives */
    RAM_REFUSE,      /* the server answers with an error: it is read-only or full. Nothing is done,
                        the connection stays. Calls that only read pay no heed to it. */
};

struct ram_faults {
    enum ram_fault (*next)(void *ctx, const char *call); /* NULL: nothing fails */
    void *ctx;
};

#endif
