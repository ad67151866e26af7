#include "unit.h"

#include "stages/api_query.h"

static void a_target_is_split_and_decoded(void **state)
{
    const char *value;
    struct query q;
    struct err e;

    (void)state;
    assert_true(query_parse(&q, "/a/b%2Fc/?start=12:00+07:00&x=%41&flag&&y=1=2", &e));
    assert_int_equal(q.n_segments, 3);
    assert_string_equal(q.segments[0], "a");
    assert_string_equal(q.segments[1], "b/c");
    assert_string_equal(q.segments[2], "");
    assert_int_equal(q.n_params, 4);
    assert_true(query_get(&q, "start", &value, &e));
    assert_string_equal(value, "12:00+07:00");
    assert_true(query_get(&q, "x", &value, &e));
    assert_string_equal(value, "A");
    assert_true(query_get(&q, "flag", &value, &e));
    assert_string_equal(value, "");
    assert_true(query_get(&q, "y", &value, &e));
    assert_string_equal(value, "1=2");
    assert_true(query_get(&q, "z", &value, &e));
    assert_null(value);
    query_clear(&q);
}

static void the_root_has_no_segments(void **state)
{
    struct query q;
    struct err e;

    (void)state;
    assert_true(query_parse(&q, "/?a=1&a=2", &e));
    assert_int_equal(q.n_segments, 0);
    const char *value;
    assert_false(query_get(&q, "a", &value, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    query_clear(&q);
}

static void a_path_too_deep_is_known_as_such(void **state)
{
    struct query q;
    struct err e;

    (void)state;
    assert_true(query_parse(&q, "/1/2/3/4/5/6/7/8", &e));
    assert_int_equal(q.n_segments, QUERY_SEGMENTS_MOST);
    query_clear(&q);
    assert_true(query_parse(&q, "/1/2/3/4/5/6/7/8/9/%00", &e));
    assert_true(q.n_segments > QUERY_SEGMENTS_MOST);
    query_clear(&q);
}

static void an_unsound_target_is_refused(void **state)
{
    static const char *const targets[] = {
        "",        "*",        "http://x/",     "/a#b",
        "/%",      "/%4",      "/%4g",          "/%00",
        "/%0a",    "/a?%7f=1", "/?a=%1F",       "/\xff",
        "/%c0%80", "/a\x01",   "/?a=%ed%a0%80", "/?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17",
    };
    struct query q;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        if (query_parse(&q, targets[i], &e))
            fail_msg("accepted: %s", targets[i]);
        assert_int_equal(e.kind, ERR_INPUT);
        query_clear(&q);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_is_split_and_decoded),
        cmocka_unit_test(the_root_has_no_segments),
        cmocka_unit_test(a_path_too_deep_is_known_as_such),
        cmocka_unit_test(an_unsound_target_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
