#include "meter/sim/options.h"

#include <ctype.h>
#include <getopt.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/when.h"

enum { PREFIX_MOST = 40 };

enum form {
    FORM_FLAG,
    FORM_NUMBER,
    FORM_SPEED,
    FORM_DURATION,
    FORM_INSTANT,
    FORM_ZONE,
    FORM_PREFIX,
    FORM_TEXT,
};

#define AT(member) offsetof(struct options, member)

static const struct row {
    const char *name, *value;
    enum form form;
    size_t at;
    int64_t lo, hi; /* of numbers and durations */
    const char *help;
} rows[] = {
    {"meters", "N", FORM_NUMBER, AT(meters), 1, 100000, "number of meters (10)"},
    {"prefix", "TEXT", FORM_PREFIX, AT(prefix), 0, 0,
     "ids are this and a number: METER001, METER002, ... (METER)"},
    {"seed", "S", FORM_NUMBER, AT(seed), 0, INT64_MAX, "the same seed gives the same world (1)"},
    {"start", "TIME", FORM_INSTANT, AT(start_ms), 0, 0,
     "simulated start, ISO 8601 (now; with --duration and another speed than 1 so that it ends "
     "now)"},
    {"zone", "+HH:MM", FORM_ZONE, AT(zone_ms), 0, 0, "local time of the meters (+07:00)"},
    {"interval", "TIME", FORM_DURATION, AT(interval_s), 1, 3600, "between data messages (5s)"},
    {"status-interval", "TIME", FORM_DURATION, AT(status_interval_s), 1, 86400,
     "between status messages, besides those on a change (30s)"},
    {"duration", "TIME", FORM_DURATION, AT(duration_s), 1, INT64_MAX / 2000,
     "simulated time to run (for ever)"},
    {"speed", "X", FORM_SPEED, AT(speed), 0, 0,
     "simulated seconds a second; 0: as fast as the broker confirms (1; 0 with --dry-run)"},
    {"backfill", "TIME", FORM_DURATION, AT(backfill_s), 1, 366 * 86400,
     "first publish this much history, ending at the start; not again with a --state"},
    {"backfill-step", "TIME", FORM_DURATION, AT(backfill_step_s), 1, 3600,
     "between data messages of history; status every fifth (60s)"},
    {"backfill-gap", NULL, FORM_FLAG, AT(backfill_gap), 0, 0,
     "with --state: publish the time since the last run as history"},
    {"replay-load", "FILE", FORM_TEXT, AT(replay_load), 0, 0,
     "recorded load, CSV with columns power_kw and voltage_v, one row a minute"},
    {"replay-solar", "FILE", FORM_TEXT, AT(replay_solar), 0, 0,
     "recorded irradiance, CSV with column ghi_w_m2, one row a minute"},
    {"replay-meters", "K", FORM_NUMBER, AT(replay_meters), 0, 100000,
     "the first K meters replay the recordings (1)"},
    {"audit", "FILE", FORM_TEXT, AT(audit), 0, 0,
     "append a CSV line for each message when the broker has confirmed it"},
    {"state", "FILE", FORM_TEXT, AT(state), 0, 0,
     "keep counters and clock there, and go on from it"},
    {"connections", "K", FORM_NUMBER, AT(connections), 1, 1024,
     "connections to the broker (one a meter, at most 16)"},
    {"qos", "Q", FORM_NUMBER, AT(qos), 1, 2, "quality of service of the messages (2)"},
    {"dry-run", NULL, FORM_FLAG, AT(dry_run), 0, 0,
     "print \"topic payload\" lines instead of publishing"},
    {"help", NULL, FORM_FLAG, 0, 0, 0, "print this text"},
};

enum { ROWS = sizeof rows / sizeof *rows };

static void print_help(void)
{
    puts("Usage: enerlink-sim [option]...\n"
         "Simulate a fleet of smart meters that publish to an MQTT broker.\n");
    for (size_t i = 0; i < ROWS; i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s%s%s", rows[i].name, rows[i].value ? " " : "",
                 rows[i].value ? rows[i].value : "");
        printf("  %-24s %s\n", left, rows[i].help);
    }
    puts("\nTIME spans are a number with s, m, h or d behind it; without, seconds.\n"
         "The broker is ENERLINK_MQTT_URL (mqtt://user:password@host:port), or the first line of\n"
         "the file that ENERLINK_MQTT_URL_FILE names.");
}

static _Noreturn void refuse(const char *name, const char *value, const char *why)
{
    fprintf(stderr, "enerlink-sim: --%s %s: %s (see --help)\n", name, value, why);
    exit(2);
}

static bool read_number(const char *s, int64_t *n)
{
    char *end;

    *n = strtoll(s, &end, 10);
    return end != s && *end == '\0';
}

static bool read_duration(const char *s, int64_t *seconds)
{
    static const struct {
        char suffix;
        int64_t seconds;
    } units[] = {{'\0', 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    long long n = strtoll(s, &end, 10);

    if (end == s || n > INT64_MAX / 86400 || (*end && end[1]))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (*end != units[i].suffix)
            continue;
        *seconds = n * units[i].seconds;
        return true;
    }
    return false;
}

/* "+07:00": an instant of that zone, read against the same one in UTC. */
static bool read_zone(const char *s, int64_t *ms)
{
    char text[64];
    int64_t instant;

    snprintf(text, sizeof text, "2000-01-01T00:00:00%s", s);
    if (!when_parse(text, strlen(text), &instant))
        return false;
    *ms = INT64_C(946684800000) - instant;
    return true;
}

/* Ids must be [A-Za-z0-9][A-Za-z0-9._-]*, at most 64 characters with the number. */
static bool prefix_valid(const char *s)
{
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    return len > 0 && len <= PREFIX_MOST && s[len] == '\0' && isalnum((unsigned char)*s);
}

static void check_range(const struct row *r, const char *value, int64_t n)
{
    char why[96];

    if (n >= r->lo && n <= r->hi)
        return;
    snprintf(why, sizeof why, "must be %lld to %lld", (long long)r->lo, (long long)r->hi);
    refuse(r->name, value, why);
}

static void set(struct options *o, const struct row *r, const char *value)
{
    void *at = (char *)o + r->at;
    int64_t *number = at;
    double *speed = at;
    char *end;

    switch (r->form) {
    case FORM_FLAG:
        *(bool *)at = true;
        return;
    case FORM_NUMBER:
        if (!read_number(value, number))
            refuse(r->name, value, "expected a whole number");
        check_range(r, value, *number);
        return;
    case FORM_DURATION:
        if (!read_duration(value, number))
            refuse(r->name, value, "expected a time span such as 90s, 30m or 24h");
        check_range(r, value, *number);
        return;
    case FORM_SPEED:
        *speed = strtod(value, &end);
        if (end == value || *end || !isfinite(*speed) || *speed < 0)
            refuse(r->name, value, "expected a number, 0 or more");
        return;
    case FORM_INSTANT:
        if (!when_parse(value, strlen(value), number))
            refuse(r->name, value, "expected ISO 8601 such as 2025-10-26T04:27:10Z");
        *number = when_floor(*number, 1000);
        return;
    case FORM_ZONE:
        if (!read_zone(value, number))
            refuse(r->name, value, "expected an offset such as +07:00");
        return;
    case FORM_PREFIX:
        if (!prefix_valid(value))
            refuse(r->name, value, "expected up to 40 letters, digits, '.', '_' or '-'");
        *(const char **)at = value;
        return;
    case FORM_TEXT:
        *(const char **)at = value;
        return;
    }
}

static void complete(struct options *o)
{
    if (o->connections == 0)
        o->connections = o->meters < 16 ? o->meters : 16;
    if (o->speed < 0)
        o->speed = o->dry_run ? 0 : 1;
    if (o->dry_run && o->duration_s == 0)
        refuse("dry-run", "", "give --duration too");
}

struct options options_parse(int argc, char **argv)
{
    struct options o = {
        .meters = 10,
        .prefix = "METER",
        .seed = 1,
        .start_ms = INT64_MIN,
        .zone_ms = 7 * 3600 * 1000,
        .interval_s = 5,
        .status_interval_s = 30,
        .speed = -1,
        .backfill_step_s = 60,
        .replay_meters = 1,
        .qos = 2,
    };
    struct option table[ROWS + 1] = {0};
    int i;

    for (size_t k = 0; k < ROWS; k++) {
        table[k].name = rows[k].name;
        table[k].has_arg = rows[k].form == FORM_FLAG ? no_argument : required_argument;
    }
    while (i = -1, getopt_long(argc, argv, "", table, &i) != -1) {
        if (i < 0)
            exit(2);
        if (strcmp(rows[i].name, "help") == 0) {
            print_help();
            exit(0);
        }
        set(&o, &rows[i], optarg);
    }
    if (optind < argc) {
        fprintf(stderr, "enerlink-sim: %s: not an option (see --help)\n", argv[optind]);
        exit(2);
    }
    complete(&o);
    return o;
}
