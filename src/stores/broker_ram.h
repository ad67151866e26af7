/*
 * A broker within the process, for tests of what stands behind broker.h. It does what the real one
 * may do at the worst moment: it delivers again whatever was not acknowledged when the connection
 * was dropped, in the old order and before anything newer. It never waits, whatever wait_ms says.
 * Every struct broker here is from broker_ram_open.
 */
#ifndef STORES_BROKER_RAM_H
#define STORES_BROKER_RAM_H

#include <stddef.h>

#include "stores/broker.h"
#include "stores/ram_fault.h"

struct broker *broker_ram_open(void);

/* Queue one message; everything is copied. publisher may be NULL. */
void broker_ram_publish(struct broker *b, const char *topic, const char *payload,
                        size_t payload_len, const char *publisher);

/*
 * Asked before every "receive" and "acknowledge". Copied; NULL: nothing fails any more. A call
 * that fails breaks the connection; RAM_FAIL_AFTER lets the acknowledgements arrive all the same.
 * RAM_REFUSE is a broker that hangs up: like RAM_FAIL_BEFORE.
 */
void broker_ram_set_faults(struct broker *b, const struct ram_faults *faults);

/*
 * Break the connection: the next broker_receive says so, and from then on what was not
 * acknowledged comes again, first and in the old order. An acknowledgement in between is lost and
 * fails. This is also what a stage sees that was killed and started again.
 */
void broker_ram_drop_connection(struct broker *b);

/*
 * Break the connection, and the broker forgets the session: all that waits is gone, acknowledged
 * by nobody. broker_ram_each_waiting, called before, tells what that will be.
 */
void broker_ram_lose_session(struct broker *b);

/*
 * The next broker_acknowledge that acknowledges anything succeeds, but the connection breaks
 * before its last n acknowledgements reach the broker: these messages come again.
 */
void broker_ram_duplicate_next(struct broker *b, size_t n);

/* broker_receive gives at most this many messages at once. 0: as many as are asked for. */
void broker_ram_limit_batch(struct broker *b, int most);

/* Messages published and not acknowledged. */
size_t broker_ram_waiting(const struct broker *b);

/* Each of them, in the order of delivery. */
typedef void broker_ram_message_fn(void *ctx, const struct broker_message *m);
void broker_ram_each_waiting(const struct broker *b, broker_ram_message_fn *fn, void *ctx);

#endif
