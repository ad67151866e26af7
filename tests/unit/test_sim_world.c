#include "unit.h"

#include <unistd.h>

#include "base/buf.h"
#include "core/when.h"
#include "meter/sim/fleet.h"
#include "meter/sim/mqtt_url.h"
#include "meter/sim/sky.h"
#include "meter/sim/state.h"

#define HOUR_MS INT64_C(3600000)
#define ZONE_MS (7 * HOUR_MS)
#define TRACES SOURCE_ROOT "/meter/sim/traces/"

/* 2025-10-25T17:00:00Z, midnight in Jakarta. */
static const int64_t midnight_ms = INT64_C(1761411600000);

static const struct fleet_pace silent = {0};
static const struct fleet_pace live = {5, 30, true};
static const struct fleet_pace every_second = {1, 1, true};

static struct fleet_config config_of(size_t meters)
{
    return (struct fleet_config){
        .seed = 42, .meters = meters, .prefix = "METER", .zone_ms = ZONE_MS};
}

static struct fleet *fleet_of(size_t meters, int64_t start_ms)
{
    struct fleet_config config = config_of(meters);

    return fleet_new(&config, start_ms);
}

static void run(struct fleet *f, int64_t seconds, const struct fleet_pace *pace,
                fleet_emit_fn *emit, void *ctx)
{
    for (int64_t s = 0; s < seconds; s++)
        fleet_step(f, pace, emit, ctx);
}

static void collect(void *ctx, const struct fleet_message *m)
{
    struct buf *b = ctx;

    buf_adds(b, topic_path(m->topic));
    buf_addc(b, ' ');
    buf_add(b, m->json, m->len);
    buf_addc(b, '\n');
}

static void assert_same(const struct buf *a, const struct buf *b)
{
    assert_true(a->len > 0);
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
}

static struct buf messages_of(uint64_t seed, int64_t silent_s, int64_t live_s)
{
    struct fleet_config config = config_of(7);
    struct buf b;

    buf_init(&b, 0);
    config.seed = seed;
    struct fleet *f = fleet_new(&config, midnight_ms + 8 * HOUR_MS);
    run(f, silent_s, &silent, NULL, NULL);
    run(f, live_s, &live, collect, &b);
    fleet_free(f);
    return b;
}

static void the_same_seed_gives_the_same_messages(void **state)
{
    struct buf a = messages_of(1, 600, 300), b = messages_of(1, 600, 300);
    struct buf other = messages_of(2, 600, 300);

    (void)state;
    assert_same(&a, &b);
    assert_true(a.len != other.len || memcmp(a.data, other.data, a.len) != 0);
    buf_clear(&a);
    buf_clear(&b);
    buf_clear(&other);
}

static void a_saved_fleet_goes_on_as_if_it_had_never_stopped(void **state)
{
    char path[] = "/tmp/test_sim_world.XXXXXX";
    int fd = mkstemp(path);
    struct buf whole = messages_of(42, 1500, 300), resumed;
    struct fleet *f = fleet_of(7, midnight_ms + 8 * HOUR_MS);
    struct state s = {.seed = 42, .history_end_ms = 5}, back;
    struct err e;
    size_t restored;

    (void)state;
    close(fd);
    buf_init(&resumed, 0);
    run(f, 1000, &silent, NULL, NULL);
    assert_true(state_save(path, &s, f, &e));
    int64_t clock_ms = f->clock_ms;
    fleet_free(f);

    assert_true(state_peek(path, &back, &e));
    assert_true(back.seed == 42 && back.clock_ms == clock_ms && back.history_end_ms == 5);
    f = fleet_of(7, back.clock_ms);
    assert_true(state_load(path, f, &restored, &e));
    assert_int_equal(restored, 7);
    run(f, 500, &silent, NULL, NULL);
    run(f, 300, &live, collect, &resumed);
    assert_same(&whole, &resumed);
    fleet_free(f);
    unlink(path);
    buf_clear(&whole);
    buf_clear(&resumed);
}

static void a_foreign_state_is_refused_and_a_missing_one_is_no_error(void **state)
{
    char path[] = "/tmp/test_sim_world.XXXXXX";
    int fd = mkstemp(path);
    struct state s;
    struct err e;

    (void)state;
    assert_int_equal(write(fd, "METER001 1 2 3\n", 15), 15);
    close(fd);
    assert_false(state_peek(path, &s, &e));
    assert_int_equal(e.kind, ERR_FATAL);
    unlink(path);
    assert_false(state_peek(path, &s, &e));
    assert_int_equal(e.kind, ERR_NONE);
}

struct integral {
    int64_t n;
    int64_t last_uw[CHANNEL_COUNT];
    int64_t halves[CHANNEL_COUNT]; /* sum of both ends' power, uW s */
    int64_t day_start_uwh[CHANNEL_COUNT];
    int64_t last_total_uwh[CHANNEL_COUNT];
};

static void integrate(void *ctx, const struct fleet_message *m)
{
    struct integral *sum = (struct integral *)ctx + m->meter;

    if (m->topic != TOPIC_DATA)
        return;
    for (enum channel i = 0; i < CHANNEL_COUNT; i++) {
        int64_t power_uw = m->state->sample.channel[i].power_uw;
        const struct energy *e = &m->state->energy[i];
        if (sum->n > 0)
            sum->halves[i] += power_uw + sum->last_uw[i];
        sum->last_uw[i] = power_uw;
        /* uW s to uWh: 3600, and 2 for the halves. */
        assert_int_equal(e->total_uwh, sum->halves[i] / 7200);
        assert_true(e->total_uwh >= sum->last_total_uwh[i]);
        sum->last_total_uwh[i] = e->total_uwh;
        if (m->state->sample.wall_ms == midnight_ms + DAY_MS)
            sum->day_start_uwh[i] = e->total_uwh;
        assert_int_equal(energy_daily_uwh(e), e->total_uwh - sum->day_start_uwh[i]);
    }
    sum->n++;
}

static struct replay *trace(const char *path, const char *first, const char *second)
{
    const char *const columns[REPLAY_COLUMNS_MOST] = {first, second};
    struct err e;
    struct replay *r = replay_load(path, columns, &e);

    if (!r)
        fail_msg("%s", e.text);
    return r;
}

static void counters_are_the_integral_of_the_published_power(void **state)
{
    struct replay *load = trace(TRACES "household_load_1min.csv", "power_kw", "voltage_v");
    struct replay *solar = trace(TRACES "solar_ghi_1min.csv", "ghi_w_m2", NULL);
    struct fleet_config config = config_of(5);

    (void)state;
    config.load = load;
    config.solar = solar;
    config.replay_meters = 1;
    /* Meter 0 replays, 1 is a household, 2 a consumer, 4 stands on the bench; over a midnight. */
    struct integral sums[5] = {0};
    struct fleet *f = fleet_new(&config, midnight_ms + 12 * HOUR_MS);
    run(f, 13 * 3600, &every_second, integrate, sums);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(sums[i].n, 13 * 3600);
        assert_true(sums[i].last_total_uwh[CHANNEL_LOAD_HOME] > 1000000);
    }
    fleet_free(f);
    replay_free(load);
    replay_free(solar);
}

static void power_in_equals_power_out_at_every_second(void **state)
{
    enum { METERS = 12 };
    struct fleet *f = fleet_of(METERS, midnight_ms);
    int64_t before_ua_ms[METERS];

    (void)state;
    for (int64_t s = 0; s < 86400; s++) {
        for (size_t i = 0; i < METERS; i++)
            before_ua_ms[i] = f->meter[i].site.state.charge_ua_ms;
        fleet_step(f, &silent, NULL, NULL);
        for (size_t i = 0; i < METERS; i++) {
            const struct site *site = &f->meter[i].site;
            const struct meter_sample *m = &f->meter[i].meter.sample;
            const struct channel_sample *c = m->channel;
            int64_t from_battery_uw = c[CHANNEL_LOAD_SMART].power_uw +
                                      c[CHANNEL_LOAD_HOME].power_uw + c[CHANNEL_EXPORT].power_uw -
                                      c[CHANNEL_SOLAR_OUTPUT].power_uw - c[CHANNEL_IMPORT].power_uw;
            double charge_ua = (double)(site->state.charge_ua_ms - before_ua_ms[i]) / 1000.0;
            if (charge_ua > 0.0)
                charge_ua /= 0.98;
            double flowed_uw = -charge_ua * (double)m->battery.voltage_uv * 1e-6;
            /* The gauge tells the voltage in steps of 1.25 mV a cell, taken a second later. */
            double tolerance_uw = 10.0 + 0.002 * fabs(flowed_uw);
            assert_true(fabs((double)from_battery_uw - flowed_uw) <= tolerance_uw);
            assert_true(c[CHANNEL_SOLAR_OUTPUT].power_uw <= c[CHANNEL_SOLAR_INPUT].power_uw);
            assert_true(c[CHANNEL_EXPORT].power_uw == 0 || c[CHANNEL_IMPORT].power_uw == 0);
            for (enum channel k = 0; k < CHANNEL_COUNT; k++)
                assert_true(c[k].power_uw >= 0);
        }
    }
    fleet_free(f);
}

static void check_replay(void *ctx, const struct fleet_message *m)
{
    const struct replay *const *traces = ctx;
    const struct channel_sample *c = m->state->sample.channel;
    size_t minute = (size_t)((m->state->sample.wall_ms + ZONE_MS) % DAY_MS / 60000);

    if (m->meter != 0 || m->topic != TOPIC_DATA)
        return;
    /* The load trace has two days; the local days since 1970 decide which one it is. */
    size_t day = (size_t)((m->state->sample.wall_ms + ZONE_MS) / DAY_MS % 2);
    const double *load = traces[0]->row[day * 1440 + minute];
    double w_m2 = fmax(0.0, traces[1]->row[minute][0]);
    assert_int_equal(c[CHANNEL_LOAD_HOME].power_uw, llround(load[0] * 1e9));
    assert_int_equal(c[CHANNEL_LOAD_HOME].voltage_uv, llround(load[1] * 1e6));
    assert_int_equal(c[CHANNEL_LOAD_HOME].current_ua, llround(load[0] * 1e9 / load[1]));
    assert_int_equal(c[CHANNEL_SOLAR_INPUT].power_uw, llround(w_m2 * 20.0 * 0.18 * 1e6));
}

static void recorded_values_are_published_unchanged(void **state)
{
    struct replay *load = trace(TRACES "household_load_1min.csv", "power_kw", "voltage_v");
    struct replay *solar = trace(TRACES "solar_ghi_1min.csv", "ghi_w_m2", NULL);
    const struct replay *traces[] = {load, solar};
    struct fleet_config config = config_of(2);

    (void)state;
    config.load = load;
    config.solar = solar;
    config.replay_meters = 1;
    struct fleet *f = fleet_new(&config, midnight_ms);
    run(f, 2 * 86400, &live, check_replay, traces);
    /* Sum of the positive rows: 3376.64 Wh/m2 a day, the last second of it apart. */
    double wh = (double)f->meter[0].meter.energy[CHANNEL_SOLAR_INPUT].total_uwh * 1e-6;
    assert_near(wh, 2 * 3376.64 * 20.0 * 0.18, 15.0);
    fleet_free(f);
    replay_free(load);
    replay_free(solar);
}

/* Clear-sky energy of a day, kWh/m2. */
static double clear_day_kwh(int64_t day_ms)
{
    double wh = 0.0;

    for (int64_t t = 0; t < DAY_MS; t += 60000)
        wh += sky_at(1, day_ms + t).clear_w_m2 / 60.0;
    return wh / 1000.0;
}

static void the_sun_of_java_is_the_size_of_the_literature(void **state)
{
    (void)state;
    /* Haurwitz at Bandung, computed independently: 7.75 on 26 October, 6.34 on 21 June. */
    assert_near(clear_day_kwh(midnight_ms), 7.75, 0.15);
    assert_near(clear_day_kwh(INT64_C(1750438800000)), 6.34, 0.15);
    /* Night at 19:00 and 05:00, high sun at 11:45. */
    assert_true(sky_at(1, midnight_ms + 19 * HOUR_MS).clear_w_m2 == 0.0);
    assert_true(sky_at(1, midnight_ms + 5 * HOUR_MS).clear_w_m2 == 0.0);
    assert_near(sky_at(1, midnight_ms + 11 * HOUR_MS + 2700000).clear_w_m2, 1030.0, 15.0);
}

static void clouds_take_a_third_of_the_year(void **state)
{
    double wh[SKY_REGIONS] = {0};

    (void)state;
    for (int64_t t = 0; t < 365 * DAY_MS; t += 600000) {
        struct sky s = sky_at(1, midnight_ms + t);
        for (int i = 0; i < SKY_REGIONS; i++)
            wh[i] += s.clear_w_m2 * s.clearness[i] / 6.0;
    }
    /* Measured means on Java are 4.5 to 5 kWh/m2 a day. */
    for (int i = 0; i < SKY_REGIONS; i++)
        assert_near(wh[i] / 365000.0, 4.8, 0.4);
}

static void households_peak_in_the_evening(void **state)
{
    enum { METERS = 24 };
    struct fleet *f = fleet_of(METERS, midnight_ms);
    double evening = 0.0, all = 0.0;

    (void)state;
    for (int64_t s = 0; s < 86400; s++) {
        fleet_step(f, &silent, NULL, NULL);
        for (size_t i = 0; i < METERS; i++) {
            const struct channel_sample *c = f->meter[i].meter.sample.channel;
            double w = (double)(c[CHANNEL_LOAD_SMART].power_uw + c[CHANNEL_LOAD_HOME].power_uw) /
                       f->meter[i].site.unit_uw;
            all += w / 86400.0;
            if (s >= 18 * 3600 && s < 22 * 3600)
                evening += w / 14400.0;
        }
    }
    assert_true(evening > 1.4 * all && evening < 3.0 * all);
    /* 3 to 10 kWh a day and household. */
    assert_true(all / METERS * 0.024 > 3.0 && all / METERS * 0.024 < 10.0);
    fleet_free(f);
}

static void bench_and_household_voltages_are_of_their_scale(void **state)
{
    struct fleet *f = fleet_of(10, midnight_ms + 9 * HOUR_MS);

    (void)state;
    run(f, 3600, &silent, NULL, NULL);
    for (size_t i = 0; i < 10; i++) {
        double v = (double)f->meter[i].meter.sample.channel[CHANNEL_LOAD_HOME].voltage_uv * 1e-6;
        if (i % 5 == 4)
            assert_true(v > 4.0 && v < 9.0);
        else
            assert_true(v > 207.0 && v < 253.0);
    }
    fleet_free(f);
}

static void count_second(void *ctx, const struct fleet_message *m)
{
    size_t *counts = ctx;

    if (m->topic == TOPIC_DATA)
        counts[m->state->sample.wall_ms / 1000 % 5]++;
}

static void meters_do_not_all_publish_in_the_same_second(void **state)
{
    struct fleet *f = fleet_of(100, midnight_ms);
    size_t counts[5] = {0};

    (void)state;
    run(f, 50, &live, count_second, counts);
    for (size_t i = 0; i < 5; i++)
        assert_true(counts[i] >= 100 && counts[i] <= 300);
    assert_int_equal(counts[0] + counts[1] + counts[2] + counts[3] + counts[4], 1000);
    fleet_free(f);
}

static void count_status(void *ctx, const struct fleet_message *m)
{
    *(size_t *)ctx += m->topic == TOPIC_STATUS;
}

static void a_lost_connection_is_told_in_the_next_status(void **state)
{
    static const struct fleet_pace rare = {60, 3600, true};
    struct fleet *f = fleet_of(1, midnight_ms + 2 * HOUR_MS);
    size_t n = 0;

    (void)state;
    run(f, 2, &rare, count_status, &n);
    n = 0;
    fleet_set_connection(f, 0, false, 3);
    run(f, 1, &rare, count_status, &n);
    assert_int_equal(n, 1);
    assert_false(f->meter[0].meter.device.mqtt_connected);
    assert_int_equal(f->meter[0].meter.device.mqtt_attempts, 3);
    fleet_free(f);
}

static void the_broker_is_taken_from_the_environment(void **state)
{
    static const struct {
        const char *value, *allow;
        bool ok;
        const char *name;
    } cases[] = {
        {"mqtt://u:geheim@127.0.0.1:1884", "", true, "mqtt://127.0.0.1:1884"},
        {"mqtts://u:geheim@broker.example", "", true, "mqtts://broker.example:8883"},
        {"mqtt://u:geheim@broker.example", "yes", true, "mqtt://broker.example:1883"},
        {"mqtt://u:geheim@broker.example", "", false, "broker.example would not be encrypted"},
        {"mqtt://u:geheim%zz@h", "yes", false, "ENERLINK_MQTT_URL: the MQTT URL"},
        {"", "", false, "set ENERLINK_MQTT_URL"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url url;
        struct err e = {.text = ""};
        setenv("ENERLINK_MQTT_URL", cases[i].value, 1);
        setenv("ENERLINK_ALLOW_PLAIN", cases[i].allow, 1);
        assert_int_equal(mqtt_url_from_environment(&url, &e), cases[i].ok);
        assert_non_null(strstr(cases[i].ok ? url.name : e.text, cases[i].name));
        assert_null(strstr(e.text, "geheim"));
        url_clear(&url);
    }
    unsetenv("ENERLINK_ALLOW_PLAIN");
    unsetenv("ENERLINK_MQTT_URL");
}

static void the_broker_may_stand_in_a_file(void **state)
{
    char path[] = "/tmp/test_sim_world.XXXXXX";
    int fd = mkstemp(path);
    struct url url;
    struct err e;

    (void)state;
    assert_true(fd >= 0 && dprintf(fd, "mqtts://u:geheim@h\nsecond line\n") > 0);
    close(fd);
    setenv("ENERLINK_MQTT_URL_FILE", path, 1);
    bool ok = mqtt_url_from_environment(&url, &e);
    unlink(path);
    unsetenv("ENERLINK_MQTT_URL_FILE");
    assert_true(ok);
    assert_string_equal(url.name, "mqtts://h:8883");
    assert_string_equal(url.password, "geheim");
    url_clear(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_messages),
        cmocka_unit_test(a_saved_fleet_goes_on_as_if_it_had_never_stopped),
        cmocka_unit_test(a_foreign_state_is_refused_and_a_missing_one_is_no_error),
        cmocka_unit_test(counters_are_the_integral_of_the_published_power),
        cmocka_unit_test(power_in_equals_power_out_at_every_second),
        cmocka_unit_test(recorded_values_are_published_unchanged),
        cmocka_unit_test(the_sun_of_java_is_the_size_of_the_literature),
        cmocka_unit_test(clouds_take_a_third_of_the_year),
        cmocka_unit_test(households_peak_in_the_evening),
        cmocka_unit_test(bench_and_household_voltages_are_of_their_scale),
        cmocka_unit_test(meters_do_not_all_publish_in_the_same_second),
        cmocka_unit_test(a_lost_connection_is_told_in_the_next_status),
        cmocka_unit_test(the_broker_is_taken_from_the_environment),
        cmocka_unit_test(the_broker_may_stand_in_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
