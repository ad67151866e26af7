/*
 * Publishes the fleet's messages with QoS 2 over a few pooled connections.
 *
 * A meter always uses the same connection, so its messages arrive in order. A message is handed to
 * the client library only while its connection is up, at most 20 of them unconfirmed at a
 * time; it is kept here until the broker has confirmed it (PUBCOMP). The session lives on at the
 * broker (clean session off, the same client id every time), so a broken connection neither loses
 * nor doubles anything. Only when the broker has forgotten the session (it was killed before it
 * had saved it) are unconfirmed messages published again: then one may arrive twice.
 */
#ifndef METER_SIM_PUBLISHER_H
#define METER_SIM_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/url.h"
#include "meter/sim/audit.h"
#include "meter/sim/fleet.h"

struct publisher;

struct publisher_config {
    struct url url;     /* of kind URL_MQTT; becomes the publisher's */
    const char *prefix; /* client ids are sim-<prefix>-<k> */
    size_t meters;
    size_t connections;
    int qos;
    size_t queue_most;   /* messages kept while the broker is away; then older ones are thinned */
    struct audit *audit; /* NULL: none; stays the caller's */
};

struct publisher_counts {
    uint64_t pushed, confirmed, thinned, repeated;
};

/* NULL and *e when the client library refuses what config says. */
struct publisher *publisher_new(const struct publisher_config *config, struct err *e) MUST_CHECK;

/* Writes what was never confirmed to the audit. */
void publisher_free(struct publisher *p);

/* Queue a message; it is copied. */
void publisher_push(struct publisher *p, const struct fleet_message *m);

/* Receive, send, connect and reconnect; waits at most timeout_ms for something to happen. */
void publisher_pump(struct publisher *p, int64_t timeout_ms);

/* No connection has more waiting than it can hand over at once: more may be pushed. */
bool publisher_has_room(const struct publisher *p);

/* Messages that are not confirmed yet. */
size_t publisher_pending(const struct publisher *p);

/* Is every connection up? */
bool publisher_connected(const struct publisher *p);

/* Connection of a meter: is it up, and how many attempts failed before it was. */
bool publisher_meter_connected(const struct publisher *p, size_t meter, int64_t *attempts);

struct publisher_counts publisher_counts(const struct publisher *p);

#endif
