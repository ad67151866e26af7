/*
 * The hot store: the newest message of every meter, the readings of the last hours, and the list
 * of minutes that wait for aggregation.
 *
 * Everything may be repeated: a reading is keyed by meter, topic and time, so storing it again
 * changes nothing. What a call has confirmed survives a crash of the server (hot_durability says
 * if this server does not promise that). Keys: docs/design.md.
 *
 * hot_redis.c talks to Redis 7; hot_ram.c lives in the process, for tests. Calls block, at most
 * the time-out given at open for each exchange with the server; a failed call may or may not have
 * been carried out. One handle serves one thread.
 */
#ifndef STORES_HOT_H
#define STORES_HOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/reading.h"

/* ---- What ingest writes ------------------------------------------------------------------- */

struct hot_put {
    const char *meter_id;
    enum topic topic;
    int64_t time_ms;    /* score of the member */
    const void *member; /* snapshot, packed or JSON */
    size_t member_len;
    const char *latest; /* the message as published, if it is to replace the latest; else NULL */
    size_t latest_len;
    int64_t dirty[3]; /* starts of the minutes that must be computed (again) */
    int n_dirty;
};

struct hot_reject {
    const char *reason; /* fault_name() */
    const char *detail;
    const char *topic;
    size_t topic_len;
    const char *meter_id; /* "" when it could not be read */
    const char *payload;  /* only the first HOT_QUARANTINE_PAYLOAD bytes are kept */
    size_t payload_len;
    bool heard; /* refused only for its time: the meter is alive all the same */
};

enum { HOT_QUARANTINE_PAYLOAD = 2048 };

struct hot_batch {
    const struct hot_put *puts;
    size_t n_puts;
    const struct hot_reject *rejects;
    size_t n_rejects;
    int64_t now_ms; /* receive time */
};

/* A minute is looked at no earlier than this after its end, so that its own messages are there. */
#define HOT_GRACE_MS INT64_C(10000)

/* ---- What aggregate reads ----------------------------------------------------------------- */

/* Meter ids in one block of memory: xs[i] is NUL-terminated. Freed by hot_ids_clear. */
struct hot_ids {
    char (*ids)[METER_ID_SIZE];
    size_t n, cap;
};
void hot_ids_add(struct hot_ids *ids, const char *id, size_t len);
void hot_ids_clear(struct hot_ids *ids);

struct hot_member {
    size_t meter;      /* index into the ids asked for */
    const void *bytes; /* the snapshot, valid during the callback; it holds its own time */
    size_t len;
};
typedef void hot_member_fn(void *ctx, const struct hot_member *m);

/* ---- What the API reads ------------------------------------------------------------------- */

struct hot_latest {
    char meter_id[METER_ID_SIZE];
    int64_t seen_ms; /* last heard of, receive time; 0: not in the list */
    char *data;      /* newest message as published, NULL: none */
    size_t data_len;
    char *status;
    size_t status_len;
};
void hot_latest_clear(struct hot_latest *l, size_t n); /* frees the texts, not l */

struct hot_durability {
    bool sound;     /* what is confirmed survives a crash, and nothing is evicted */
    char text[256]; /* what is weaker than promised, in words; "" when sound */
};

struct hot_quarantined {
    char id[32];
    char *reason, *detail, *topic, *meter_id, *payload;
    size_t payload_len;
};

struct hot_usage {
    uint64_t memory_bytes, memory_most_bytes; /* most 0: no limit set */
    uint64_t minutes_waiting;                 /* in telemetry:dirty */
    int64_t oldest_waiting_ms;                /* its start; 0: none */
    uint64_t quarantined;                     /* entries in the stream */
};

struct hot;

struct hot_ops {
    /* All of the batch in one transaction, durable on return. */
    bool (*store)(struct hot *h, const struct hot_batch *b, struct err *e);

    /*
     * Newest message time by topic of each id: times[i * TOPIC_COUNT + topic], INT64_MIN where
     * there is none.
     */
    bool (*latest_times)(struct hot *h, const char *const *ids, size_t n, int64_t *times,
                         struct err *e);

    /* Starts of minutes due at now_ms, rising, at most `most` into out; *n how many. */
    bool (*due_minutes)(struct hot *h, int64_t now_ms, int64_t *out, size_t most, size_t *n,
                        struct err *e);

    /*
     * Take the work of one minute: the meters that must be computed, under this token. Messages
     * that arrive from now on mark the minute anew. The work stays on record until released.
     */
    bool (*claim)(struct hot *h, int64_t minute_ms, const char *token, struct hot_ids *out,
                  struct err *e);

    /* Put work left behind by other tokens back into the list. Only for the one that may. */
    bool (*recover)(struct hot *h, const char *token, size_t *n_minutes, struct err *e);

    /* The claimed minute is committed; the meters in again (may be NULL) are due once more. */
    bool (*release)(struct hot *h, int64_t minute_ms, const char *token,
                    const struct hot_ids *again, int64_t again_due_ms, struct err *e);

    /* Mark a minute of one meter as due now. */
    bool (*mark)(struct hot *h, int64_t minute_ms, const char *const *ids, size_t n, int64_t due_ms,
                 struct err *e);

    /* Every member with from_ms <= time < to_ms of each id, by meter, then rising time. */
    bool (*read)(struct hot *h, const char *const *ids, size_t n, int64_t from_ms, int64_t to_ms,
                 hot_member_fn *fn, void *ctx, struct err *e);

    /*
     * Remove members before cutoff_ms that no waiting minute needs, atomically with the look at
     * what waits; at most 64 of each id a call. Let sets in which nothing waits expire after ttl_s.
     */
    bool (*trim)(struct hot *h, const char *const *ids, size_t n, int64_t cutoff_ms, int ttl_s,
                 struct err *e);

    /*
     * Meters not heard of since before_ms, at most `most`, with their latest messages; the caller
     * keeps these elsewhere and then calls drop_silent.
     */
    bool (*silent)(struct hot *h, int64_t before_ms, size_t most, struct hot_latest *out, size_t *n,
                   struct err *e);

    /* Take those still silent out of latest and seen, each atomically. */
    bool (*drop_silent)(struct hot *h, const struct hot_latest *l, size_t n, int64_t before_ms,
                        struct err *e);

    /* Newest messages of the ids asked for (data and status NULL where there is none). */
    bool (*latest)(struct hot *h, const char *const *ids, size_t n, struct hot_latest *out,
                   struct err *e);

    /* Meters in byte order of their ids, after `after` (exclusive, "" for the start). */
    bool (*meters)(struct hot *h, const char *after, size_t most, struct hot_ids *out,
                   struct err *e);

    /* One line of JSON by stage, and all of them as a JSON object into out. */
    bool (*put_health)(struct hot *h, const char *stage, const char *json, struct err *e);
    bool (*get_health)(struct hot *h, struct buf *out, struct err *e);

    bool (*durability)(struct hot *h, struct hot_durability *out, struct err *e);
    bool (*usage)(struct hot *h, struct hot_usage *out, struct err *e);

    /* Newest quarantine entries, newest first; freed by hot_quarantined_clear. */
    bool (*quarantine)(struct hot *h, size_t most, struct hot_quarantined *out, size_t *n,
                       struct err *e);

    /*
     * Become the one that stores under this name (the session of an ingest process). From then on
     * store() of every other handle that took the name before writes nothing and fails with
     * ERR_RETRY, also one that is under way, until that handle takes the name again. token is
     * unique to the taker. What the caller knows of the newest messages is void once it has taken
     * a name: others may have stored before. A handle that never tried to take a name is not
     * fenced, and a server that lost its data fences nobody until the name is taken again.
     */
    bool (*take_writer)(struct hot *h, const char *name, const char *token, struct err *e);

    void (*close)(struct hot *h);
};

struct hot {
    const struct hot_ops *ops;
};

void hot_quarantined_clear(struct hot_quarantined *q, size_t n);

struct hot_redis_options {
    const char *url; /* redis://[user:pass@]host:port[/db] or unix:///path; never logged whole */
    int timeout_ms;
    size_t quarantine_bytes; /* cap of the quarantine stream, about */
    int safety_expiry_s;     /* expiry ingest gives a time series, default 7 days */
};

/*
 * Does not connect yet: the first call does, and every call after a failure tries once more
 * (waiting between tries is the caller's). NULL and *e when the URL is unusable.
 */
struct hot *hot_redis_open(const struct hot_redis_options *o, struct err *e);

/* In this process; lost with it. */
struct hot *hot_ram_open(void);

#endif
