#include "meter/sim/state.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER "enerlink-sim state 1"

/* Everything of a meter that cannot be computed anew, as integers in a fixed order. */
enum { CHANNEL_NUMBERS = 6, OTHER_NUMBERS = 12 };
enum { METER_NUMBERS = OTHER_NUMBERS + CHANNEL_COUNT * (CHANNEL_NUMBERS + 1) };

/* The charge rate is a double; its bits travel as an integer. */
union bits {
    double d;
    int64_t i;
};

static void meter_to_numbers(const struct fleet_meter *f, int64_t n[METER_NUMBERS])
{
    const struct meter *m = &f->meter;
    const struct site_state *s = &f->site.state;
    union bits rate = {.d = s->charge_rate_pct_h};
    const int64_t other[OTHER_NUMBERS] = {
        s->charge_ua_ms,    rate.i,       s->mode,         s->mode_since_ms,
        m->clock.mono_ms,   m->clock.day, m->clock.gap_ms, m->clock.running,
        m->clock.day_known, m->balanced,  m->charging,     m->low_battery,
    };

    memcpy(n, other, sizeof other);
    n += OTHER_NUMBERS;
    for (enum channel i = 0; i < CHANNEL_COUNT; i++, n += CHANNEL_NUMBERS + 1) {
        const struct energy *e = &m->energy[i];
        const int64_t channel[] = {
            e->total_uwh, e->rest,       e->day_base_uwh, e->settlement_base_uwh,
            e->last_uw,   e->last_valid, m->active[i],
        };
        memcpy(n, channel, sizeof channel);
    }
}

static void meter_from_numbers(struct fleet_meter *f, const int64_t n[METER_NUMBERS])
{
    struct meter *m = &f->meter;
    union bits rate = {.i = n[1]};

    f->site.state = (struct site_state){n[0], rate.d, (enum grid_mode)n[2], n[3]};
    m->clock = (struct energy_clock){n[4], n[5], n[6], n[7] != 0, n[8] != 0};
    m->balanced = n[9] != 0;
    m->charging = n[10] != 0;
    m->low_battery = n[11] != 0;
    n += OTHER_NUMBERS;
    for (enum channel i = 0; i < CHANNEL_COUNT; i++, n += CHANNEL_NUMBERS + 1) {
        m->energy[i] = (struct energy){n[0], n[1], n[2], n[3], n[4], n[5] != 0};
        m->active[i] = n[6] != 0;
    }
}

static void write_meters(FILE *out, const struct fleet *f)
{
    int64_t n[METER_NUMBERS];

    for (size_t i = 0; i < f->config.meters; i++) {
        meter_to_numbers(&f->meter[i], n);
        fputs(f->meter[i].meter.config.id, out);
        for (size_t k = 0; k < METER_NUMBERS; k++)
            fprintf(out, " %" PRId64, n[k]);
        fputc('\n', out);
    }
}

/* The new name is on disk only when the directory is. */
static bool sync_directory(const char *path)
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof copy, "%s", path);
    FILE *directory = fopen(dirname(copy), "re");
    if (!directory)
        return false;
    bool ok = fsync(fileno(directory)) == 0;
    fclose(directory);
    return ok;
}

bool state_save(const char *path, const struct state *s, const struct fleet *f, struct err *e)
{
    char fresh[PATH_MAX];

    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *out = fopen(fresh, "we");
    if (!out)
        return err_errno(e, ERR_RETRY, "writing %s", fresh);
    fprintf(out, HEADER "\nseed %" PRIu64 " clock %" PRId64 " history %" PRId64 " meters %zu\n",
            s->seed, f->clock_ms, s->history_end_ms, f->config.meters);
    write_meters(out, f);
    bool ok = !ferror(out) && fflush(out) == 0 && fsync(fileno(out)) == 0;
    ok = fclose(out) == 0 && ok;
    if (!ok || rename(fresh, path) != 0 || !sync_directory(path))
        return err_errno(e, ERR_RETRY, "writing %s", path);
    return true;
}

static bool read_header(FILE *in, const char *path, struct state *s, struct err *e)
{
    size_t meters;

    if (fscanf(in, HEADER " seed %" SCNu64 " clock %" SCNd64 " history %" SCNd64 " meters %zu",
               &s->seed, &s->clock_ms, &s->history_end_ms, &meters) != 4)
        return err_set(e, ERR_FATAL, "%s is not a state of this simulator; remove it to start anew",
                       path);
    return true;
}

bool state_peek(const char *path, struct state *s, struct err *e)
{
    FILE *in = fopen(path, "re");

    e->kind = ERR_NONE;
    if (!in)
        return errno == ENOENT ? false : err_errno(e, ERR_FATAL, "reading %s", path);
    bool ok = read_header(in, path, s, e);
    fclose(in);
    return ok;
}

static bool read_numbers(const char *text, int64_t n[METER_NUMBERS])
{
    for (size_t k = 0; k < METER_NUMBERS; k++) {
        char *end;
        n[k] = strtoll(text, &end, 10);
        if (end == text)
            return false;
        text = end;
    }
    return true;
}

bool state_load(const char *path, struct fleet *f, size_t *restored, struct err *e)
{
    bool ok = false;
    char *line = NULL;
    size_t room = 0;
    struct state s;
    int64_t n[METER_NUMBERS];
    FILE *in = fopen(path, "re");

    *restored = 0;
    if (!in)
        return err_errno(e, ERR_FATAL, "reading %s", path);
    if (!read_header(in, path, &s, e) || getline(&line, &room, in) < 0)
        goto out;
    for (size_t i = 0; getline(&line, &room, in) > 0 && i < f->config.meters; i++) {
        struct fleet_meter *m = &f->meter[i];
        size_t id_len = strcspn(line, " ");
        if (id_len != strlen(m->meter.config.id) || memcmp(line, m->meter.config.id, id_len) != 0 ||
            !read_numbers(line + id_len, n)) {
            err_set(e, ERR_FATAL,
                    "%s line %zu is not the state of %s; remove the file to start "
                    "anew, or give the --prefix it was made with",
                    path, i + 3, m->meter.config.id);
            goto out;
        }
        meter_from_numbers(m, n);
        ++*restored;
    }
    f->clock_ms = s.clock_ms;
    ok = true;
out:
    free(line);
    fclose(in);
    return ok;
}
