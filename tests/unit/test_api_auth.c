#include "unit.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stages/api_auth.h"

#define KEY "correct horse battery staple"
#define NOW INT64_C(1761452830000)

static struct auth *auth_of(const char *key, const char *ticket_file)
{
    struct err e;
    struct auth *a = auth_new(key, ticket_file, &e);

    assert_non_null(a);
    return a;
}

static void only_the_key_opens(void **state)
{
    static const char *const wrong[] = {
        "",           "Bearer",          "Bearer ",         "Bearer correct horse battery stapl",
        "Basic " KEY, "Bearer " KEY " ", "Bearer " KEY KEY, KEY};
    struct auth *a = auth_of(KEY, NULL);
    struct principal p;

    (void)state;
    assert_true(auth_bearer(a, "Bearer " KEY, &p));
    assert_int_equal(p.role, ROLE_ADMIN);
    assert_false(p.by_cookie);
    assert_true(auth_bearer(a, "bearer  " KEY, &p));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(auth_bearer(a, wrong[i], &p));
    auth_free(a);
}

static void a_short_key_is_refused(void **state)
{
    struct err e;

    (void)state;
    assert_null(auth_new("fifteen letters", NULL, &e));
    assert_int_equal(e.kind, ERR_FATAL);
    assert_null(strstr(e.text, "fifteen"));
}

static void header_of(const char *value, char out[256])
{
    snprintf(out, 256, "x=1; %s=%s; y=2", AUTH_COOKIE_NAME, value);
}

static void a_session_outlives_the_process_but_not_its_key_or_time(void **state)
{
    struct auth *a = auth_of(KEY, NULL), *again = auth_of(KEY, NULL);
    struct auth *other = auth_of(KEY "2", NULL);
    char value[AUTH_COOKIE_SIZE], header[256];
    struct principal p;

    (void)state;
    auth_cookie_write(a, ROLE_ADMIN, NOW, value);
    header_of(value, header);
    assert_true(auth_cookie(again, header, NOW, &p));
    assert_int_equal(p.role, ROLE_ADMIN);
    assert_true(p.by_cookie);
    assert_true(auth_cookie(again, header, NOW + AUTH_SESSION_S * INT64_C(1000) - 1000, &p));
    assert_false(auth_cookie(again, header, NOW + AUTH_SESSION_S * INT64_C(1000), &p));
    assert_int_equal(p.role, ROLE_NONE);
    assert_false(auth_cookie(other, header, NOW, &p));
    auth_free(a);
    auth_free(again);
    auth_free(other);
}

static void no_changed_byte_of_a_cookie_is_accepted(void **state)
{
    struct auth *a = auth_of(KEY, NULL);
    char value[AUTH_COOKIE_SIZE], header[256];
    struct principal p;

    (void)state;
    auth_cookie_write(a, ROLE_ADMIN, NOW, value);
    for (size_t i = 0; value[i]; i++) {
        char right = value[i];
        value[i] = (char)(right == '1' ? '2' : '1');
        header_of(value, header);
        assert_false(auth_cookie(a, header, NOW, &p));
        value[i] = '\0';
        header_of(value, header);
        assert_false(auth_cookie(a, header, NOW, &p));
        value[i] = right;
    }
    assert_false(auth_cookie(a, "", NOW, &p));
    assert_false(auth_cookie(a, ";;; =", NOW, &p));
    assert_false(auth_cookie(a, AUTH_COOKIE_NAME "=", NOW, &p));
    auth_free(a);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void a_ticket_is_good_once(void **state)
{
    char path[64];

    (void)state;
    snprintf(path, sizeof path, "/tmp/enerlink-test-auth-%d", (int)getpid());
    struct auth *a = auth_of(KEY, path);
    assert_false(auth_ticket_take(a, "0123456789abcdef"));
    write_file(path, "0123456789abcdef\n", 0644);
    assert_false(auth_ticket_take(a, "0123456789abcdef"));
    assert_int_equal(chmod(path, 0600), 0);
    assert_false(auth_ticket_take(a, "0123456789abcde"));
    assert_false(auth_ticket_take(a, ""));
    assert_true(auth_ticket_take(a, "0123456789abcdef"));
    assert_false(auth_ticket_take(a, "0123456789abcdef"));
    write_file(path, "\n", 0600);
    assert_false(auth_ticket_take(a, ""));
    unlink(path);
    auth_free(a);
}

static void failures_are_counted_by_address_and_window(void **state)
{
    struct auth *a = auth_of(KEY, NULL);

    (void)state;
    assert_int_equal(auth_failures(a, "10.0.0.1", 1000), 0);
    auth_failed(a, "10.0.0.1", 1000);
    auth_failed(a, "10.0.0.1", 1500);
    assert_int_equal(auth_failures(a, "10.0.0.1", 60999), 2);
    assert_int_equal(auth_failures(a, "10.0.0.2", 2000), 0);
    assert_int_equal(auth_retry_after_s(a, "10.0.0.1", 31500), 30);
    assert_int_equal(auth_failures(a, "10.0.0.1", 61000), 0);
    auth_failed(a, "10.0.0.1", 61000);
    assert_int_equal(auth_failures(a, "10.0.0.1", 61000), 1);
    auth_free(a);
}

static void nobody_may_do_nothing_and_the_admin_everything(void **state)
{
    (void)state;
    assert_false(access_allowed(&(struct principal){0}, NULL));
    assert_false(access_allowed(&(struct principal){0}, "METER001"));
    assert_true(access_allowed(&(struct principal){.role = ROLE_ADMIN}, "METER001"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_key_opens),
        cmocka_unit_test(a_short_key_is_refused),
        cmocka_unit_test(a_session_outlives_the_process_but_not_its_key_or_time),
        cmocka_unit_test(no_changed_byte_of_a_cookie_is_accepted),
        cmocka_unit_test(a_ticket_is_good_once),
        cmocka_unit_test(failures_are_counted_by_address_and_window),
        cmocka_unit_test(nobody_may_do_nothing_and_the_admin_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
