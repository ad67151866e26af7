/*
 * A broker within the process, for tests of what stands behind broker.h. It does what the real one
 * may do at the worst moment: it delivers again whatever was not acknowledged when the connection
 * was dropped. It never waits, whatever wait_ms says.
 */
#ifndef STORES_BROKER_RAM_H
#define STORES_BROKER_RAM_H

#include <stddef.h>

#include "stores/broker.h"

struct broker *broker_ram_open(void);

/* Queue one message; everything is copied. publisher may be NULL. b is from broker_ram_open. */
void broker_ram_publish(struct broker *b, const char *topic, const char *payload,
                        size_t payload_len, const char *publisher);

/*
 * Break the connection: the next broker_receive says so, and from then on what was not
 * acknowledged comes again, first and in the old order. An acknowledgement in between is lost and
 * fails. This is also what a stage sees that was killed and started again.
 */
void broker_ram_drop_connection(struct broker *b);

/* Messages published and not acknowledged. */
size_t broker_ram_waiting(const struct broker *b);

#endif
