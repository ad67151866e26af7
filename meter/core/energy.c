#include "meter/core/energy.h"

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;

    return q - (a % b < 0);
}

/* Length of the part of [0, dt] that lies before the local midnight the day began with. */
static int64_t before_midnight_ms(int64_t dt_ms, int64_t since_midnight_ms)
{
    return since_midnight_ms < dt_ms ? dt_ms - since_midnight_ms : 0;
}

struct energy_step energy_clock_step(struct energy_clock *c, const struct energy_rules *rules,
                                     int64_t mono_ms, int64_t wall_ms)
{
    struct energy_step step = {0};
    int64_t passed_ms = c->running ? mono_ms - c->mono_ms : 0;

    if (passed_ms > rules->max_gap_ms)
        c->gap_ms += passed_ms;
    else if (passed_ms > 0)
        step.dt_ms = passed_ms;
    c->mono_ms = mono_ms;
    c->running = true;
    if (wall_ms == ENERGY_NO_TIME)
        return step;

    int64_t local_ms = wall_ms + rules->zone_ms;
    int64_t day = floor_div(local_ms, ENERGY_DAY_MS);
    if (c->day_known && day <= c->day)
        return step;
    step.new_day = c->day_known;
    step.old_day_ms = before_midnight_ms(step.dt_ms, local_ms - day * ENERGY_DAY_MS);
    c->day = day;
    c->day_known = true;
    return step;
}

void energy_clock_break(struct energy_clock *c)
{
    c->running = false;
}

static void add_halves(struct energy *e, int64_t halves)
{
    e->rest += halves;
    e->total_uwh += e->rest / ENERGY_REST_UWH;
    e->rest %= ENERGY_REST_UWH;
}

/* Twice the integral of the line from p0 to p1 over its first part_ms of dt_ms. */
static int64_t first_part(int64_t p0, int64_t p1, int64_t dt_ms, int64_t part_ms)
{
    if (part_ms == 0)
        return 0;
    /* Slope times time would not fit for large power; a double is exact to 1e-16 of the part, and
     * the second part is the whole minus this one, so no energy is lost to its rounding. */
    double at_end = (double)p0 + (double)(p1 - p0) * (double)part_ms / (double)dt_ms;
    return (int64_t)(((double)p0 + at_end) * (double)part_ms);
}

void energy_add(struct energy *e, const struct energy_step *step, int64_t power_uw, bool valid)
{
    bool joined = valid && e->last_valid && step->dt_ms > 0;
    int64_t whole = joined ? (e->last_uw + power_uw) * step->dt_ms : 0;

    if (step->new_day) {
        int64_t old_day =
            joined ? first_part(e->last_uw, power_uw, step->dt_ms, step->old_day_ms) : 0;
        add_halves(e, old_day);
        whole -= old_day;
        e->day_base_uwh = e->total_uwh;
    }
    add_halves(e, whole);
    e->last_uw = power_uw;
    e->last_valid = valid;
}

int64_t energy_daily_uwh(const struct energy *e)
{
    return e->total_uwh - e->day_base_uwh;
}

int64_t energy_settlement_uwh(const struct energy *e)
{
    return e->total_uwh - e->settlement_base_uwh;
}

void energy_settle(struct energy *e)
{
    e->settlement_base_uwh = e->total_uwh;
}
