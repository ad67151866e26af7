#include "unit.h"

#include "meter/core/energy.h"

#define HOUR_MS INT64_C(3600000)
#define W INT64_C(1000000)  /* uW */
#define WH INT64_C(1000000) /* uWh */

static const struct energy_rules jakarta = {.zone_ms = 7 * HOUR_MS, .max_gap_ms = 30000};

/* 2025-10-26T17:00:00Z, midnight in Jakarta. */
static const int64_t midnight_ms = INT64_C(1761498000000);

struct account {
    struct energy_clock clock;
    struct energy energy;
};

static void sample_at(struct account *a, int64_t mono_ms, int64_t wall_ms, int64_t power_uw)
{
    struct energy_step step = energy_clock_step(&a->clock, &jakarta, mono_ms, wall_ms);

    energy_add(&a->energy, &step, power_uw, true);
}

static void sample(struct account *a, int64_t t_ms, int64_t power_uw)
{
    sample_at(a, t_ms, t_ms, power_uw);
}

static void constant_power_for_an_hour_is_its_watt_hours(void **state)
{
    struct account a = {0};

    (void)state;
    for (int64_t t = 0; t <= 3600; t += 5)
        sample(&a, t * 1000, 474600);
    assert_int_equal(a.energy.total_uwh, 474600);
}

static void a_ramp_is_integrated_as_a_trapezoid(void **state)
{
    struct account a = {0};

    (void)state;
    /* 0 to 36 W in 10 s: 180 Ws, 0.05 Wh. */
    sample(&a, 0, 0);
    sample(&a, 10000, 36 * W);
    assert_int_equal(a.energy.total_uwh, 50000);
}

static void small_energy_is_carried_over_without_loss(void **state)
{
    struct account a = {0};

    (void)state;
    /* 1 uW for 1 s is 1/3600 uWh; after 7200 s exactly 2. */
    for (int64_t t = 0; t <= 7200; t++)
        sample(&a, t * 1000, 1);
    assert_int_equal(a.energy.total_uwh, 2);
    assert_int_equal(a.energy.rest, 0);
}

static void years_do_not_wear_the_counter_out(void **state)
{
    struct account a = {.energy = {.total_uwh = INT64_C(20000000) * WH}};

    (void)state;
    /* Where a float counter of watt-hours stands still: 474.6 W for 5 s at 20 MWh. */
    sample(&a, 0, 474600000);
    sample(&a, 5000, 474600000);
    assert_int_equal(a.energy.total_uwh - INT64_C(20000000) * WH, 659166);
}

static void irregular_samples_of_a_line_give_the_same_energy(void **state)
{
    static const int64_t at_ms[] = {0, 1, 1700, 1701, 4999, 12345, 30000, 59999, 60000};
    struct account a = {0};

    (void)state;
    for (size_t i = 0; i < sizeof at_ms / sizeof *at_ms; i++)
        sample(&a, at_ms[i], at_ms[i] * 1000);
    /* 0 to 60 W in 60 s: 1800 Ws. */
    assert_int_equal(a.energy.total_uwh, 500000);
}

static void a_gap_adds_nothing_and_is_counted(void **state)
{
    struct account a = {0};

    (void)state;
    sample(&a, 0, 3600 * W);
    sample(&a, 1000, 3600 * W);
    sample(&a, 31001, 3600 * W);
    assert_int_equal(a.energy.total_uwh, WH);
    assert_int_equal(a.clock.gap_ms, 30001);
    sample(&a, 32001, 3600 * W);
    assert_int_equal(a.energy.total_uwh, 2 * WH);
}

static void a_break_starts_the_trapezoid_afresh(void **state)
{
    struct account a = {0};

    (void)state;
    sample(&a, 0, 3600 * W);
    energy_clock_break(&a.clock);
    sample(&a, 1000, 3600 * W);
    assert_int_equal(a.energy.total_uwh, 0);
}

static void a_silent_sensor_adds_nothing_on_either_side(void **state)
{
    struct account a = {0};

    (void)state;
    for (int64_t t = 0; t < 5; t++) {
        struct energy_step step = energy_clock_step(&a.clock, &jakarta, t * 1000, t * 1000);
        energy_add(&a.energy, &step, 3600 * W, t != 2);
    }
    /* 0-1 s and 3-4 s. */
    assert_int_equal(a.energy.total_uwh, 2 * WH);
}

static void midnight_is_that_of_the_zone_and_splits_the_trapezoid(void **state)
{
    struct account a = {0};

    (void)state;
    sample(&a, midnight_ms - 14000, 3600 * W);
    sample(&a, midnight_ms - 4000, 3600 * W);
    assert_int_equal(energy_daily_uwh(&a.energy), 10 * WH);
    /* From 3600 W to 7200 W in 10 s: at midnight, after 4 s, 5040 W. The first part is
     * 17280 Ws, 4.8 Wh; the second 36720 Ws, 10.2 Wh. */
    sample(&a, midnight_ms + 6000, 7200 * W);
    assert_int_equal(a.energy.total_uwh, 25 * WH);
    assert_int_equal(energy_daily_uwh(&a.energy), 10200000);
}

static void a_sample_at_midnight_itself_begins_the_day(void **state)
{
    struct account a = {0};

    (void)state;
    sample(&a, midnight_ms - 1000, 3600 * W);
    sample(&a, midnight_ms, 3600 * W);
    assert_int_equal(energy_daily_uwh(&a.energy), 0);
    assert_int_equal(a.energy.total_uwh, WH);
    sample(&a, midnight_ms + 1000, 3600 * W);
    assert_int_equal(energy_daily_uwh(&a.energy), WH);
}

static void utc_midnight_is_an_hour_like_any_other(void **state)
{
    struct account a = {0};

    (void)state;
    sample(&a, midnight_ms + 7 * HOUR_MS - 1000, 3600 * W);
    sample(&a, midnight_ms + 7 * HOUR_MS + 1000, 3600 * W);
    assert_int_equal(energy_daily_uwh(&a.energy), 2 * WH);
}

static void days_of_darkness_reset_the_day_once(void **state)
{
    struct account a = {0};

    (void)state;
    sample(&a, midnight_ms - 2000, 3600 * W);
    sample(&a, midnight_ms - 1000, 3600 * W);
    sample(&a, midnight_ms + 50 * HOUR_MS, 3600 * W);
    assert_int_equal(energy_daily_uwh(&a.energy), 0);
    assert_int_equal(a.energy.total_uwh, WH);
}

static void a_clock_set_back_does_not_reset_the_day_again(void **state)
{
    struct account a = {0};

    (void)state;
    sample_at(&a, 0, midnight_ms - 500, 3600 * W);
    sample_at(&a, 1000, midnight_ms + 500, 3600 * W);
    sample_at(&a, 2000, midnight_ms - 1000, 3600 * W);
    sample_at(&a, 3000, midnight_ms, 3600 * W);
    sample_at(&a, 4000, midnight_ms + 1000, 3600 * W);
    assert_int_equal(a.energy.total_uwh, 4 * WH);
    assert_int_equal(energy_daily_uwh(&a.energy), 3500000);
}

static void a_clock_that_is_not_set_counts_but_knows_no_day(void **state)
{
    struct account a = {0};

    (void)state;
    sample_at(&a, 0, ENERGY_NO_TIME, 3600 * W);
    sample_at(&a, 1000, ENERGY_NO_TIME, 3600 * W);
    assert_false(a.clock.day_known);
    sample_at(&a, 2000, midnight_ms + 500, 3600 * W);
    assert_int_equal(energy_daily_uwh(&a.energy), 2 * WH);
}

static void settlement_moves_a_base_and_not_the_total(void **state)
{
    struct account a = {0};

    (void)state;
    sample(&a, 0, 3600 * W);
    sample(&a, 1000, 3600 * W);
    energy_settle(&a.energy);
    assert_int_equal(energy_settlement_uwh(&a.energy), 0);
    sample(&a, 3000, 3600 * W);
    assert_int_equal(energy_settlement_uwh(&a.energy), 2 * WH);
    assert_int_equal(a.energy.total_uwh, 3 * WH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_power_for_an_hour_is_its_watt_hours),
        cmocka_unit_test(a_ramp_is_integrated_as_a_trapezoid),
        cmocka_unit_test(small_energy_is_carried_over_without_loss),
        cmocka_unit_test(years_do_not_wear_the_counter_out),
        cmocka_unit_test(irregular_samples_of_a_line_give_the_same_energy),
        cmocka_unit_test(a_gap_adds_nothing_and_is_counted),
        cmocka_unit_test(a_break_starts_the_trapezoid_afresh),
        cmocka_unit_test(a_silent_sensor_adds_nothing_on_either_side),
        cmocka_unit_test(midnight_is_that_of_the_zone_and_splits_the_trapezoid),
        cmocka_unit_test(a_sample_at_midnight_itself_begins_the_day),
        cmocka_unit_test(utc_midnight_is_an_hour_like_any_other),
        cmocka_unit_test(days_of_darkness_reset_the_day_once),
        cmocka_unit_test(a_clock_set_back_does_not_reset_the_day_again),
        cmocka_unit_test(a_clock_that_is_not_set_counts_but_knows_no_day),
        cmocka_unit_test(settlement_moves_a_base_and_not_the_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
