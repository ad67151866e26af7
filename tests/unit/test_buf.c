#include "unit.h"

#include "base/buf.h"
#include "base/utf8.h"

static const struct {
    double d;
    const char *text;
} doubles[] = {
    {0, "0"},
    {-0.0, "0"},
    {230.1, "230.1"},
    {-474.6, "-474.6"},
    {4.04875, "4.04875"},
    {86.63281, "86.63281"},
    {1e6, "1000000"},
    {1e21, "1e+21"},
    {0.1 + 0.2, "0.30000000000000004"},
    {5e-324, "4.94065645841247e-324"},
    {1.0 / 3, "0.3333333333333333"},
    {1e-7, "1e-07"},
    {9007199254740993.0, "9.00719925474099e+15"},
    {INFINITY, "null"},
    {NAN, "null"},
};

static void doubles_read_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        struct buf b;
        buf_init(&b, 0);
        buf_add_double(&b, doubles[i].d);
        if (isfinite(doubles[i].d))
            assert_true(strtod(b.data, NULL) == doubles[i].d);
        if (doubles[i].d != 9007199254740993.0)
            assert_string_equal(b.data, doubles[i].text);
        buf_clear(&b);
    }
}

static void floats_are_shortest(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    buf_add_float(&b, 230.1f);
    buf_addc(&b, ' ');
    buf_add_float(&b, -0.0f);
    buf_addc(&b, ' ');
    buf_add_float(&b, 16777216.0f);
    assert_string_equal(b.data, "230.1 0 16777216");
    buf_clear(&b);
}

static void hostile_text_is_escaped(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    const char text[] = "a\"\\\x1b[31m\n\xe2\x80\xae\xff\xc3\xa9\x7f\xc2\x9b";
    buf_add_json_string(&b, text, sizeof text - 1);
    assert_string_equal(b.data,
                        "\"a\\\"\\\\\\u001b[31m\\n\\u202e\xef\xbf\xbd\xc3\xa9\\u007f\\u009b\"");
    buf_clear(&b);
}

static void a_full_buffer_stays_failed(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4);
    buf_adds(&b, "abc");
    buf_adds(&b, "de");
    buf_adds(&b, "f");
    assert_true(b.failed);
    assert_string_equal(b.data, "abc");
    buf_reset(&b);
    buf_addi(&b, -12);
    assert_false(b.failed);
    assert_string_equal(b.data, "-12");
    buf_clear(&b);
}

static void integers_have_their_extremes(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    buf_addi(&b, INT64_MIN);
    assert_string_equal(b.data, "-9223372036854775808");
    buf_clear(&b);
}

static void utf8_is_strict(void **state)
{
    (void)state;
    assert_int_equal(utf8_valid_prefix("abc\xc3\xa9\xf0\x9f\x98\x80", 9), 9);
    assert_int_equal(utf8_valid_prefix("a\xc0\x80", 3), 1);         /* overlong */
    assert_int_equal(utf8_valid_prefix("a\xed\xa0\x80", 4), 1);     /* surrogate */
    assert_int_equal(utf8_valid_prefix("a\xf4\x90\x80\x80", 5), 1); /* above U+10FFFF */
    assert_int_equal(utf8_valid_prefix("abcdefgh\xe2\x82", 10), 8); /* cut short */
    char out[4];
    uint32_t cp;
    for (uint32_t c = 0; c <= 0x10ffff; c += 13) {
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        size_t len = utf8_encode(c, out);
        assert_int_equal(utf8_decode(out, len, &cp), len);
        assert_int_equal(cp, c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_read_back),
        cmocka_unit_test(floats_are_shortest),
        cmocka_unit_test(hostile_text_is_escaped),
        cmocka_unit_test(a_full_buffer_stays_failed),
        cmocka_unit_test(integers_have_their_extremes),
        cmocka_unit_test(utf8_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
