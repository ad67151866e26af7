/*
 * The hot store on Redis, inside: what its files share. Users include stores/hot.h.
 *
 * hot_redis.c opens it and tells how it is doing, hot_redis_store.c writes what ingest hands in,
 * hot_redis_writer.c lets only one ingest process of a name do so, hot_redis_work.c keeps the list
 * of minutes, hot_redis_read.c answers aggregate and the API.
 */
#ifndef STORES_HOT_REDIS_H
#define STORES_HOT_REDIS_H

#include "stores/hot.h"
#include "stores/redis_link.h"

#define KEY_LATEST_DATA "telemetry:latest:data"
#define KEY_LATEST_STATUS "telemetry:latest:status"
#define KEY_SEEN "telemetry:seen"
#define KEY_DIRTY "telemetry:dirty" /* zset: minute in seconds -> when it is due, ms */
#define KEY_WORK "telemetry:work"   /* set: "<minute>:<token>" of each work key */
#define KEY_QUARANTINE "telemetry:quarantine"
#define KEY_HEALTH "telemetry:health"
#define PREFIX_WRITER "telemetry:writer:" /* string: token of the one that stores as this name */
#define PREFIX_SERIES "telemetry:timeseries:"
#define PREFIX_DIRTY "telemetry:dirty:" /* set: meters of one minute */
#define PREFIX_WORK "telemetry:work:"   /* the same set, claimed */

/* Meters to a round trip where each has a command of its own (stores measurement: 64 is best). */
enum { HOT_PIPELINE = 64 };

struct put_groups;

struct hot_writer {
    char *name, *token;  /* NULL: no name taken, not fenced */
    uint64_t watched_on; /* connection on which the name is watched */
    bool lost;           /* another one has taken the name */
};

struct hot_redis {
    struct hot hot; /* first: the handle users hold */
    struct redis_link *link;
    size_t quarantine_entries;
    int safety_expiry_s;
    struct put_groups *groups; /* memory of store, kept between batches */
    struct hot_writer writer;
};

static inline struct hot_redis *hot_redis_of(struct hot *h)
{
    return (struct hot_redis *)h;
}

struct put_groups *put_groups_new(void);
void put_groups_free(struct put_groups *g);

/* A decimal number as Redis writes it, scores too. False when s is not one. */
bool redis_number(const char *s, size_t len, int64_t *out);

bool hot_redis_store(struct hot *h, const struct hot_batch *b, struct err *e);

/*
 * The fence around a store. Before it, hot_redis_may_store: false and *e when another one has
 * taken the name. Behind its EXEC, hot_redis_write_watch, and when EXEC was answered,
 * hot_redis_read_watch: these prepare the next store. All do nothing on a handle without a name.
 */
bool hot_redis_may_store(struct hot_redis *r, struct err *e) MUST_CHECK;
void hot_redis_write_watch(struct hot_redis *r);
bool hot_redis_read_watch(struct hot_redis *r, struct err *e) MUST_CHECK;

/* EXEC did nothing, since the name was taken. Fills *e, returns false. */
bool hot_redis_not_stored(const struct hot_redis *r, struct err *e);

bool hot_redis_take_writer(struct hot *h, const char *name, const char *token, struct err *e);
void hot_redis_forget_writer(struct hot_redis *r);

bool hot_redis_due_minutes(struct hot *h, int64_t now_ms, int64_t *out, size_t most, size_t *n,
                           struct err *e);
bool hot_redis_claim(struct hot *h, int64_t minute_ms, const char *token, struct hot_ids *out,
                     struct err *e);
bool hot_redis_recover(struct hot *h, const char *token, size_t *n_minutes, struct err *e);
bool hot_redis_release(struct hot *h, int64_t minute_ms, const char *token,
                       const struct hot_ids *again, int64_t again_due_ms, struct err *e);
bool hot_redis_mark(struct hot *h, int64_t minute_ms, const char *const *ids, size_t n,
                    int64_t due_ms, struct err *e);
bool hot_redis_trim(struct hot *h, const char *const *ids, size_t n, int64_t cutoff_ms, int ttl_s,
                    struct err *e);

bool hot_redis_latest_times(struct hot *h, const char *const *ids, size_t n, int64_t *times,
                            struct err *e);
bool hot_redis_read(struct hot *h, const char *const *ids, size_t n, int64_t from_ms, int64_t to_ms,
                    hot_member_fn *fn, void *ctx, struct err *e);
bool hot_redis_silent(struct hot *h, int64_t before_ms, size_t most, struct hot_latest *out,
                      size_t *n, struct err *e);
bool hot_redis_drop_silent(struct hot *h, const struct hot_latest *l, size_t n, int64_t before_ms,
                           struct err *e);
bool hot_redis_latest(struct hot *h, const char *const *ids, size_t n, struct hot_latest *out,
                      struct err *e);
bool hot_redis_meters(struct hot *h, const char *after, size_t most, struct hot_ids *out,
                      struct err *e);
bool hot_redis_quarantine(struct hot *h, size_t most, struct hot_quarantined *out, size_t *n,
                          struct err *e);

#endif
