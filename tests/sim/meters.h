/*
 * What the simulated meters send, all of it drawn from one seed before the world begins to run.
 *
 * A meter takes samples by its own clock, which may be wrong or jump, and hands them to the broker
 * at once, late, in a backlog of either order, or twice. Its counters are reset, its gauges break,
 * its battery is not to be trusted at times, and now and then it says two different things under
 * one identity. Numbers are kept in thousandths, so that what is written and what is expected are
 * the same by construction.
 */
#ifndef SIM_METERS_H
#define SIM_METERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/metric.h"

/* ---- Random numbers ------------------------------------------------------------------------ */

struct rng {
    uint64_t state;
};

/* A stream of its own for each use, so that leaving one out does not disturb the others. */
struct rng rng_stream(uint64_t seed, uint64_t use);
int64_t rng_between(struct rng *r, int64_t lo, int64_t hi); /* both inclusive */
bool rng_chance(struct rng *r, int permille);

/* ---- Messages ------------------------------------------------------------------------------ */

/* The fields the meters know: a few of every kind and of both topics. */
enum field {
    FIELD_BATTERY_VOLTAGE,
    FIELD_BATTERY_SOC,
    FIELD_BATTERY_CONNECTED,
    FIELD_BATTERY_VALID,
    FIELD_EXPORT_TOTAL_ENERGY,
    FIELD_IMPORT_POWER,
    FIELD_IMPORT_DAILY_ENERGY,
    FIELD_IMPORT_TOTAL_ENERGY,
    FIELD_IMPORT_SETTLEMENT_ENERGY,
    FIELD_IMPORT_ACTIVE,
    FIELD_NET_TOTAL,
    FIELD_NET_STATUS,
    FIELD_WIFI_CONNECTED,
    FIELD_WIFI_RSSI,
    FIELD_GRID_MODE,
    FIELD_UPTIME,
    FIELD_SYSTEM_STATUS,
    FIELD_COUNT,
};

struct field_info {
    enum metric metric;
    enum topic topic;
    const char *group, *key; /* its place in the payload */
    enum metric_kind kind;
};
extern const struct field_info field_table[FIELD_COUNT];

/* One message; all of one identity and content are the same one, however often it is sent. */
struct message {
    int meter;
    enum topic topic;
    int64_t time_ms;            /* its datetime */
    uint32_t given;             /* bit per field that has a value */
    uint32_t broken;            /* bit per field that is written as null */
    bool refused;               /* its datetime lies so far ahead that ingest must refuse it */
    int64_t value[FIELD_COUNT]; /* thousandths; 0 or 1 of a flag; index of a word */

    /* What has become of it so far; kept by the world. */
    bool published; /* the broker has confirmed it */
    bool lost;      /* it waited in a session that the broker forgot */
    bool stored;    /* the hot store has it */
};

struct publish {
    int64_t at_ms;
    uint32_t message; /* index */
};

enum { METERS_MOST = 8, TROUBLES_MOST = 24, QUIETS_MOST = 2 };

struct meter_plan {
    char id[8];
    int64_t cadence_ms;
    bool adds_up; /* counters without glitches and never out of order: rows must add up to them */
};

enum plan_class {
    PLAN_CALM,  /* no faults */
    PLAN_EXACT, /* faults; everything arrives while its neighbours are still in the hot store */
    PLAN_LATE,  /* backlogs older than what the hot store keeps */
};

enum trouble_kind {
    TROUBLE_KILL,        /* a process, between two store calls or within one */
    TROUBLE_STALL,       /* a process stands still in a store call and goes on later */
    TROUBLE_HOT_WEATHER, /* calls fail at random for a while */
    TROUBLE_HISTORY_WEATHER,
    TROUBLE_BROKER_WEATHER,
    TROUBLE_HOT_DOWN,
    TROUBLE_HISTORY_DOWN,
    TROUBLE_HOT_FULL, /* writes are refused */
    TROUBLE_HISTORY_READ_ONLY,
    TROUBLE_HOT_RESTART,
    TROUBLE_HISTORY_RESTART,
    TROUBLE_HISTORY_SESSION, /* the server gives up the session of the aggregate process */
    TROUBLE_BROKER_DROP,
    TROUBLE_BROKER_TWICE, /* acknowledgements are lost: messages come again */
    TROUBLE_BROKER_SESSION,
    TROUBLE_BROKER_SMALL, /* batches are small for a while */
    TROUBLE_CLOCK_JUMP,   /* of the machine all processes run on */
    TROUBLE_COUNT,
};

struct trouble {
    int64_t at_ms;
    enum trouble_kind kind;
    int target;        /* process: 0 ingest, 1 and 2 aggregate */
    int64_t length_ms; /* how long; the jump of a clock */
    int calls;         /* store calls of the process until it happens; size of a batch */
    int before, after; /* per mille of calls that fail before, after they are done */
    bool applied;      /* a call in which a process dies is carried out */
    bool takeover;     /* a stalled process loses its session, and another takes its place */
};

struct plan {
    uint64_t seed;
    enum plan_class class;
    int64_t begin_ms, end_ms;
    int ttl_s;
    int64_t latest_ttl_ms;
    double power_w_most; /* 0: no limit */
    bool json;           /* time series as JSON */
    bool change_format;  /* each new ingest process writes the other form */
    bool contradicts;    /* some meter says two things under one identity */
    int aggregates;      /* processes: one, or one and a spare */
    int batch_most, chunk_meters;
    int64_t poll_ms; /* longest pause of an idle process */
    int n_meters;
    struct meter_plan meters[METERS_MOST];
    struct message *messages;
    size_t n_messages, messages_cap;
    struct publish *publishes; /* in order of time */
    size_t n_publishes, publishes_cap;
    struct trouble troubles[TROUBLES_MOST]; /* in order of time */
    int n_troubles;
    int64_t quiets[QUIETS_MOST]; /* when nothing is sent until everything has drained */
    int n_quiets;
};

/* What is left out of a plan, to find out what a failure needs. */
struct cut {
    uint32_t meters, troubles; /* bit per one that stays */
    size_t publishes;          /* only the first of them are sent */
};
extern const struct cut cut_nothing;

/* The plan of a seed. The same plan is to be made again, its memory is kept. */
void plan_make(struct plan *p, uint64_t seed, const struct cut *cut);
void plan_clear(struct plan *p);

enum { PAYLOAD_MOST = 1024 };
size_t message_write(const struct plan *p, const struct message *m, char out[PAYLOAD_MOST]);

#endif
