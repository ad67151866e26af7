/*
 * Ingest: receive a batch, store it, acknowledge it.
 *
 * A message is acknowledged only after the hot store has confirmed it, good or refused, so
 * a crash or an outage at any point makes the broker deliver it again, and storing it again changes
 * nothing. A batch that cannot be stored is kept and tried again; meanwhile nothing more is read.
 */
#ifndef STAGES_INGEST_H
#define STAGES_INGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "core/reading.h"
#include "stores/broker.h"
#include "stores/hot.h"

enum ingest_identity {
    IDENTITY_NONE,     /* whoever may publish may speak for any meter */
    IDENTITY_PROPERTY, /* the broker stamps the publisher's name: it must be the meterId */
};

struct ingest_options {
    struct broker *broker;
    struct hot *hot;
    const struct clock *clock;
    struct time_limits limits;
    bool timeseries_json; /* store readable snapshots instead of packed ones */
    enum ingest_identity identity;
    int batch_most;     /* messages in one transaction */
    const char *writer; /* names the broker session, so that of two processes with it only the one
                           that connected last can store; NULL: not looked at */
    const char *token;  /* unique to this process */
};

/* Since the start of the process. */
struct ingest_counters {
    uint64_t received, stored, batches, store_failures;
    uint64_t rejected[FAULT_COUNT];
    uint64_t absent[METRIC_COUNT]; /* values left out of accepted messages */
    uint64_t unknown_fields;
    int64_t last_stored_ms; /* wall time of the last confirmed batch, 0: none yet */
};

struct ingest;

/* The options' broker, hot store and clock stay the caller's. */
struct ingest *ingest_new(const struct ingest_options *o);
void ingest_free(struct ingest *in);

/*
 * One bounded piece of work: wait at most wait_ms for messages, store and acknowledge them. False
 * and *e when broker or store failed; nothing is lost by it, call again after a pause.
 */
bool ingest_step(struct ingest *in, int wait_ms, struct err *e);

const struct ingest_counters *ingest_counters(const struct ingest *in);

/* The stage's line for hot_put_health, as a JSON object. */
void ingest_write_health(const struct ingest *in, struct buf *out);

#endif
