#include "unit.h"

#include "core/register.h"

/* A window of one minute from 0 to 60 s; times below are in seconds. */
enum { START_MS = 0, END_MS = 60000 };

static const struct register_limits no_limits = {0};
static const struct register_limits house_limits = {.power_w_most = 20e3};

struct at {
    double s, wh;
};

static struct register_energy energy(const struct at *at, size_t n, const struct at *earlier,
                                     int64_t start_ms, const struct register_limits *limits)
{
    struct register_sample samples[64], before;

    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++)
        samples[i] = (struct register_sample){.time_ms = (int64_t)(at[i].s * 1000), .wh = at[i].wh};
    if (earlier)
        before =
            (struct register_sample){.time_ms = (int64_t)(earlier->s * 1000), .wh = earlier->wh};
    return register_window(samples, n, start_ms, start_ms + END_MS, earlier ? &before : NULL,
                           limits);
}

#define ENERGY(earlier, ...)                                                                       \
    energy((const struct at[]){__VA_ARGS__},                                                       \
           sizeof((const struct at[]){__VA_ARGS__}) / sizeof(struct at), earlier, START_MS,        \
           &no_limits)

static void borders_are_interpolated(void **state)
{
    (void)state;
    /* -5 s: 10 Wh, 5 s: 20 Wh: 15 at the border; 55 s: 70, 65 s: 80: 75 at the other. */
    struct register_energy e = ENERGY(NULL, {-5, 10}, {5, 20}, {55, 70}, {65, 80});
    assert_near(e.wh, 60, 1e-9);
    assert_int_equal(e.quality, QUALITY_VALIDATED);
    assert_true(e.settled);
}

static void a_sample_on_the_border_is_read_as_it_is(void **state)
{
    (void)state;
    struct register_energy e = ENERGY(NULL, {0, 10}, {30, 11}, {60, 14});
    assert_near(e.wh, 4, 1e-12);
    assert_true(e.settled);
}

static void history_begins_with_the_first_sample(void **state)
{
    (void)state;
    struct register_energy e = ENERGY(NULL, {10, 500}, {50, 501}, {62, 503});
    /* 50 s: 501, 62 s: 503: at 60 s 501 + 2 * 10/12. */
    assert_near(e.wh, 1 + 2 * 10.0 / 12, 1e-9);
}

static void without_a_sample_after_it_the_window_ends_with_its_last(void **state)
{
    (void)state;
    struct register_energy e = ENERGY(NULL, {-1, 9}, {1, 11}, {50, 20});
    assert_near(e.wh, 10, 1e-9);
    assert_false(e.settled);
}

static void energy_over_a_gap_goes_to_the_first_window_after_it(void **state)
{
    struct at earlier = {-3600, 100};

    (void)state;
    struct register_energy e = ENERGY(&earlier, {20, 150}, {40, 151}, {60, 152});
    assert_near(e.wh, 52, 1e-9);
    assert_int_equal(e.quality, QUALITY_INTERPOLATED);
}

static void a_gap_without_energy_is_not_marked(void **state)
{
    struct at earlier = {-3600, 100};

    (void)state;
    struct register_energy e = ENERGY(&earlier, {20, 100}, {60, 100});
    assert_near(e.wh, 0, 0);
    assert_int_equal(e.quality, QUALITY_VALIDATED);
}

static void the_earlier_value_is_not_looked_at_when_a_sample_precedes(void **state)
{
    struct at earlier = {-3600, 1};

    (void)state;
    struct register_energy e = ENERGY(&earlier, {-10, 100}, {10, 100}, {40, 101}, {60, 101});
    assert_near(e.wh, 1, 1e-9);
}

static void a_dip_that_comes_back_costs_nothing(void **state)
{
    (void)state;
    struct register_energy e = ENERGY(NULL, {0, 100}, {10, 0}, {20, 102}, {30, 103}, {60, 106});
    assert_near(e.wh, 6, 1e-9);
    /* The same across the border: both sides leave the glitch out. */
    e = ENERGY(NULL, {0, 100}, {55, 110}, {58, 3}, {65, 112});
    struct register_energy next = energy(
        (const struct at[]){{55, 110}, {58, 3}, {65, 112}, {120, 120}}, 4, NULL, 60000, &no_limits);
    assert_near(e.wh, 11, 1e-9);
    assert_near(next.wh, 1, 1e-9); /* 65 s to 120 s is a gap: its 8 Wh come after it */
}

static void a_fall_that_stays_counts_from_zero(void **state)
{
    (void)state;
    struct register_energy e =
        ENERGY(NULL, {0, 100}, {10, 101}, {20, 2}, {30, 3}, {50, 4}, {60, 5}, {70, 6}, {90, 7});
    assert_near(e.wh, 1 + 5, 1e-9);
    assert_int_equal(e.quality, QUALITY_VALIDATED);
    assert_true(e.settled);
}

static void a_fall_across_the_border_belongs_to_the_second_window(void **state)
{
    const struct at samples[] = {{0, 100}, {57, 110}, {62, 1}, {80, 4},
                                 {100, 5}, {120, 7},  {140, 8}};

    (void)state;
    struct register_energy first = energy(samples, 4, NULL, 0, &no_limits);
    struct register_energy second = energy(samples + 1, 6, NULL, 60000, &no_limits);
    assert_near(first.wh, 10, 1e-9);
    assert_near(second.wh, 7, 1e-9);
}

static void a_fall_is_open_while_it_may_still_come_back(void **state)
{
    (void)state;
    struct register_energy e = ENERGY(NULL, {0, 100}, {58, 3}, {63, 4});
    assert_false(e.settled);
}

static void the_wavering_digit_of_a_float32_counter_is_no_fall(void **state)
{
    (void)state;
    struct register_energy e = ENERGY(NULL, {0, 123456.0}, {10, 123456.02}, {20, 123456.0},
                                      {30, 123456.03}, {60, 123456.05});
    assert_near(e.wh, 0.05, 1e-9);
}

static void the_limit_refuses_what_no_house_can_draw(void **state)
{
    const struct at jump[] = {{0, 100}, {10, 1e6}, {40, 1e6 + 1}, {60, 1e6 + 2}, {80, 1e6 + 3}};
    const struct at spike[] = {{0, 100}, {10, 1e6}, {40, 101}, {60, 102}, {80, 103}};

    (void)state;
    struct register_energy e = energy(jump, 5, NULL, 0, &house_limits);
    assert_near(e.wh, 2, 1e-9);
    assert_int_equal(e.quality, QUALITY_QUESTIONABLE);
    e = energy(spike, 5, NULL, 0, &house_limits);
    assert_near(e.wh, 2, 1e-9);
    assert_int_equal(e.quality, QUALITY_VALIDATED);
    /* A "reset" to a large value is no reset either. */
    const struct at fall[] = {{0, 2e6}, {10, 1e6}, {40, 1e6 + 1}, {60, 1e6 + 2}, {80, 1e6 + 3}};
    e = energy(fall, 5, NULL, 0, &house_limits);
    assert_near(e.wh, 2, 1e-9);
    assert_int_equal(e.quality, QUALITY_QUESTIONABLE);
}

static void nothing_in_the_window_gives_nothing(void **state)
{
    (void)state;
    assert_true(isnan(ENERGY(NULL, {-20, 1}, {70, 2}).wh));
    assert_true(isnan(register_window(NULL, 0, 0, 60000, NULL, &no_limits).wh));
}

/*
 * Any counter, with resets, sampled at random times with gaps: consecutive windows, each given
 * only what it may see, add up to the truth that the generator kept.
 */
static void consecutive_windows_add_up(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 300; seed++) {
        static struct register_sample s[2000];
        size_t n = 0;
        double truth = 0, wh = 1000, first_wh = NAN;
        int64_t t = 0, most_ms = 3600000;
        srand(seed);
        while (t < most_ms && n < 2000) {
            int kind = rand() % 100;
            int64_t step = kind < 3 ? 200000 + rand() % 400000 : 1000 + rand() % 12000;
            double gain = (double)(rand() % 1000) / 100;
            t += step;
            /* A reset far from zero could not be told from a glitch, were it to recover. */
            if (!isnan(first_wh) && rand() % 60 == 0 && wh > 900)
                wh = 0;
            wh += gain;
            if (isnan(first_wh))
                first_wh = wh;
            else
                truth += gain;
            s[n++] = (struct register_sample){.time_ms = t, .wh = wh};
        }
        double sum = 0;
        struct register_sample earlier;
        bool have_earlier = false;
        for (int64_t start = 0; start <= most_ms + 600000; start += 60000) {
            size_t from = 0, to;
            while (from < n && s[from].time_ms < start - CONTEXT_MS)
                from++;
            to = from;
            while (to < n && s[to].time_ms <= start + 60000 + CONTEXT_MS)
                to++;
            struct register_energy e = register_window(s + from, to - from, start, start + 60000,
                                                       have_earlier ? &earlier : NULL, &no_limits);
            if (!isnan(e.wh))
                sum += e.wh;
            for (size_t i = from; i < to; i++)
                if (s[i].time_ms >= start && s[i].time_ms < start + 60000) {
                    earlier = s[i];
                    have_earlier = true;
                }
        }
        if (fabs(sum - truth) > 1e-6)
            fail_msg("seed %u: windows give %.9f, truth is %.9f", seed, sum, truth);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(borders_are_interpolated),
        cmocka_unit_test(a_sample_on_the_border_is_read_as_it_is),
        cmocka_unit_test(history_begins_with_the_first_sample),
        cmocka_unit_test(without_a_sample_after_it_the_window_ends_with_its_last),
        cmocka_unit_test(energy_over_a_gap_goes_to_the_first_window_after_it),
        cmocka_unit_test(a_gap_without_energy_is_not_marked),
        cmocka_unit_test(the_earlier_value_is_not_looked_at_when_a_sample_precedes),
        cmocka_unit_test(a_dip_that_comes_back_costs_nothing),
        cmocka_unit_test(a_fall_that_stays_counts_from_zero),
        cmocka_unit_test(a_fall_across_the_border_belongs_to_the_second_window),
        cmocka_unit_test(a_fall_is_open_while_it_may_still_come_back),
        cmocka_unit_test(the_wavering_digit_of_a_float32_counter_is_no_fall),
        cmocka_unit_test(the_limit_refuses_what_no_house_can_draw),
        cmocka_unit_test(nothing_in_the_window_gives_nothing),
        cmocka_unit_test(consecutive_windows_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
