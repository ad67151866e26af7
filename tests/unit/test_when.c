#include "unit.h"

#include "core/when.h"

/* Expected instants were computed with date -u -d "..." +%s. */
static const struct {
    const char *text;
    int64_t ms;
} instants[] = {
    {"2025-10-26T04:27:10Z", 1761452830000},
    {"2025-10-26T11:27:10+07:00", 1761452830000},
    {"2025-10-26T11:27:10+0700", 1761452830000},
    {"2025-10-26T11:27:10+07", 1761452830000},
    {"2025-10-25T23:57:10-04:30", 1761452830000},
    {"2025-10-26t04:27:10z", 1761452830000},
    {"2025-10-26 04:27:10Z", 1761452830000},
    {"2025-10-26T04:27Z", 1761452820000},
    {"2025-10-26T04:27:10.5Z", 1761452830500},
    {"2025-10-26T04:27:10,25Z", 1761452830250},
    {"2025-10-26T04:27:10.123456789Z", 1761452830123},
    {"2024-02-29T00:00:00Z", 1709164800000},
    {"2016-12-31T23:59:60Z", 1483228800000},
    {"1970-01-01T00:00:00Z", 0},
    {"1969-12-31T23:59:59Z", -1000},
};

static const char *const not_instants[] = {
    "",
    "2025-10-26",
    "2025-10-26T04:27:10",
    "2025-13-26T04:27:10Z",
    "2025-02-29T04:27:10Z",
    "2025-10-26T24:27:10Z",
    "2025-10-26T04:60:10Z",
    "2025-10-26T04:27:61Z",
    "2025-10-26T04:27:10.Z",
    "2025-10-26T04:27:10+24:00",
    "2025-10-26T04:27:10Zx",
    "25-10-26T04:27:10Z",
    "2025-00-26T04:27:10Z",
    "2025-10-00T04:27:10Z",
    "1761452830",
    "2025-10-26T04:27:10+7",
    "2025-10-26T04:27:10+07:",
    "+025-10-26T04:27:10Z",
};

static void iso_8601_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof instants / sizeof *instants; i++) {
        int64_t ms = 1;
        if (!when_parse(instants[i].text, strlen(instants[i].text), &ms))
            fail_msg("%s: refused", instants[i].text);
        if (ms != instants[i].ms)
            fail_msg("%s: %lld", instants[i].text, (long long)ms);
    }
}

static void what_is_no_instant_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof not_instants / sizeof *not_instants; i++) {
        int64_t ms;
        if (when_parse(not_instants[i], strlen(not_instants[i]), &ms))
            fail_msg("%s: accepted", not_instants[i]);
    }
}

static void text_reads_back(void **state)
{
    char text[WHEN_TEXT_SIZE];
    int64_t ms;

    (void)state;
    assert_string_equal(when_text(1761452830000, text), "2025-10-26T04:27:10Z");
    assert_string_equal(when_text(1761452830250, text), "2025-10-26T04:27:10.250Z");
    assert_string_equal(when_day_text(1761452830250, text), "2025-10-26");
    for (int64_t t = -100 * DAY_MS; t < 30000 * DAY_MS; t += 7 * DAY_MS + 12345678) {
        when_text(t, text);
        assert_true(when_parse(text, strlen(text), &ms));
        assert_true(ms == t);
    }
}

static void floor_goes_down_before_1970_too(void **state)
{
    (void)state;
    assert_true(when_floor(59999, MINUTE_MS) == 0);
    assert_true(when_floor(60000, MINUTE_MS) == 60000);
    assert_true(when_floor(-1, MINUTE_MS) == -60000);
    assert_true(when_floor(-60000, MINUTE_MS) == -60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iso_8601_is_read),
        cmocka_unit_test(what_is_no_instant_is_refused),
        cmocka_unit_test(text_reads_back),
        cmocka_unit_test(floor_goes_down_before_1970_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
