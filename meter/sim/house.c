#include "meter/sim/house.h"

#include <stdbool.h>

#include "meter/sim/noise.h"
#include "meter/sim/streams.h"

enum { DAY_S = 86400, HOUR_S = 3600, MINUTE_S = 60, ALWAYS_MIN = 1440 };

/*
 * Appliances of an Indonesian household; the peak of the evening (17 to 22 h) is lamps, television,
 * iron and the first hours of the air conditioner. A thermostat switches an appliance on for `duty`
 * of each cycle while it runs.
 */
static const struct appliance {
    double watts;
    double owned;           /* share of households that have one */
    double times_a_day;     /* mean number of starts, at most two */
    double from_h, to_h;    /* starts fall into this window */
    double minutes;         /* mean length of a run */
    double cycle_min, duty; /* 0: on all the time */
    bool smart;
} appliances[] = {
    {80, 1.0, 1, 0.0, 0.75, ALWAYS_MIN, 45, 0.35, false}, /* refrigerator */
    {350, 0.9, 1, 4.5, 5.5, 30, 0, 1, false},             /* rice cooker, morning */
    {350, 0.6, 1, 16.0, 17.0, 30, 0, 1, false},           /* and evening */
    {600, 0.4, 1.5, 5.0, 7.5, 5, 0, 1, false},            /* kettle */
    {350, 0.8, 0.5, 18.0, 20.0, 25, 0, 1, false},         /* iron */
    {70, 1.0, 1, 17.4, 18.2, 270, 0, 1, false},           /* lamps */
    {15, 1.0, 1, 22.0, 22.7, 400, 0, 1, false},           /* night light */
    {90, 0.95, 1, 17.5, 19.5, 160, 0, 1, false},          /* television */
    {60, 0.6, 1, 8.0, 10.0, 300, 0, 1, false},            /* computer */
    {45, 1.0, 2, 9.0, 21.0, 200, 0, 1, false},            /* fan */
    {250, 0.8, 1, 5.0, 7.0, 20, 0, 1, true},              /* water pump, morning */
    {250, 0.8, 1, 16.0, 18.0, 20, 0, 1, true},            /* and afternoon */
    {320, 0.5, 0.6, 6.5, 10.0, 50, 0, 1, true},           /* washing machine */
    {700, 0.55, 0.9, 19.0, 21.5, 480, 18, 0.5, true},     /* air conditioner, night */
    {700, 0.25, 0.5, 12.0, 14.0, 150, 18, 0.6, true},     /* and noon */
};

enum { APPLIANCES = sizeof appliances / sizeof *appliances };

void house_init(struct house *h, uint64_t seed, uint64_t meter)
{
    struct noise n = noise_make(seed, meter, STREAM_BASE_LOAD);

    *h = (struct house){.seed = seed, .meter = meter, .day = INT64_MIN};
    h->base_w = 50.0 + 80.0 * noise_unit(n, 0);
}

/* Add what of a run falls into the day; runs beyond the room are left out. */
static void add_run(struct house *h, double from_s, double to_s, double watts, bool smart)
{
    int32_t from = from_s < 0 ? 0 : (int32_t)from_s;
    int32_t to = to_s > DAY_S ? DAY_S : (int32_t)to_s;

    if (from >= to || h->n == HOUSE_RUNS_MOST)
        return;
    h->run[h->n++] = (struct run){from, to, (float)watts, smart};
}

static void add_cycles(struct house *h, const struct appliance *a, double from_s, double to_s,
                       double watts)
{
    double cycle_s = a->cycle_min * MINUTE_S;

    if (cycle_s <= 0.0) {
        add_run(h, from_s, to_s, watts, a->smart);
        return;
    }
    for (double t = from_s; t < to_s; t += cycle_s)
        add_run(h, t, t + a->duty * cycle_s, watts, a->smart);
}

/* Does the k-th run of the day take place? What is always on runs once, from day to day. */
static bool takes_place(const struct appliance *a, struct noise n, uint64_t tick, unsigned k)
{
    double times = a->times_a_day * (0.6 + 0.8 * noise_unit(n, tick));

    if (a->minutes >= ALWAYS_MIN)
        return k == 0;
    return noise_unit(n, tick + 3 * k + 1) < times - k;
}

static double run_length_s(const struct appliance *a, struct noise n, uint64_t tick, unsigned k)
{
    if (a->minutes >= ALWAYS_MIN)
        return DAY_S;
    return a->minutes * MINUTE_S * (0.7 + 0.6 * noise_unit(n, tick + 3 * k + 3));
}

/* Runs that start on `day`; offset_s is where that day begins in the seconds of the planned one. */
static void plan_appliance(struct house *h, size_t i, int64_t day, double offset_s)
{
    const struct appliance *a = &appliances[i];
    struct noise n = noise_make(h->seed, h->meter, STREAM_APPLIANCE + i);
    uint64_t tick = (uint64_t)day * 16;
    /* The appliance itself stays the same from day to day. */
    bool owned = noise_unit(n, 0) < a->owned;
    double watts = a->watts * (0.8 + 0.4 * noise_unit(n, 1));

    for (unsigned k = 0; owned && k < 2; k++) {
        if (!takes_place(a, n, tick, k))
            continue;
        double start_h = a->from_h + (a->to_h - a->from_h) * noise_unit(n, tick + 3 * k + 2);
        double from_s = offset_s + start_h * HOUR_S;
        add_cycles(h, a, from_s, from_s + run_length_s(a, n, tick, k), watts);
    }
}

static void plan_day(struct house *h, int64_t day)
{
    h->day = day;
    h->n = 0;
    h->from_s = h->to_s = 0;
    for (size_t i = 0; i < APPLIANCES; i++) {
        plan_appliance(h, i, day - 1, -DAY_S);
        plan_appliance(h, i, day, 0.0);
    }
}

/* Sum what runs at second s, and find how long before and after it nothing switches. */
static void sum_runs(struct house *h, int32_t s)
{
    h->smart_w = 0.0;
    h->home_w = h->base_w;
    h->from_s = 0;
    h->to_s = DAY_S;
    for (size_t i = 0; i < h->n; i++) {
        const struct run *r = &h->run[i];
        const int32_t edges[] = {r->from_s, r->to_s};
        for (size_t k = 0; k < 2; k++) {
            if (edges[k] <= s && edges[k] > h->from_s)
                h->from_s = edges[k];
            if (edges[k] > s && edges[k] < h->to_s)
                h->to_s = edges[k];
        }
        if (s < r->from_s || s >= r->to_s)
            continue;
        if (r->smart)
            h->smart_w += (double)r->watts;
        else
            h->home_w += (double)r->watts;
    }
}

struct house_load house_load_at(struct house *h, int64_t local_ms)
{
    int64_t local_s = local_ms / 1000, day = local_s / DAY_S;
    int32_t s = (int32_t)(local_s % DAY_S);

    if (day != h->day)
        plan_day(h, day);
    if (s < h->from_s || s >= h->to_s)
        sum_runs(h, s);
    return (struct house_load){h->smart_w, h->home_w};
}
