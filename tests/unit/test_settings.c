#include "unit.h"

#include <unistd.h>

#include "app/plain.h"
#include "app/settings.h"

/* Every test begins without a setting in the environment and without a configuration file. */
static int forget(void **state)
{
    (void)state;
    static const char *const names[] = {"ENERLINK_REDIS_URL",
                                        "ENERLINK_REDIS_URL_FILE",
                                        "ENERLINK_LATE_DAYS",
                                        "ENERLINK_MQTT_URL",
                                        "ENERLINK_ALLOW_PLAIN",
                                        "ENERLINK_PG_URL",
                                        "ENERLINK_HTTP_LISTEN",
                                        "ENERLINK_ARCHIVE_URL",
                                        "PGHOST",
                                        "PGSSLMODE"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    setenv("ENERLINK_CONFIG", "/dev/null", 1);
    return 0;
}

static char file_path[64];

static int remove_file(void **state)
{
    (void)state;
    unlink(file_path);
    return 0;
}

/* A file with this text; it lives until the next call or the end of the test. */
static const char *write_file(const char *text)
{
    unlink(file_path);
    strcpy(file_path, "/tmp/enerlink-settings-XXXXXX");
    int fd = mkstemp(file_path);
    assert_true(fd >= 0);
    assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return file_path;
}

/* What loading from a configuration file with this text says; "" when it succeeds. */
static const char *load_error(const char *conf, struct settings *s)
{
    static struct err e;

    e.text[0] = '\0';
    if (!settings_load(s, NULL, 0, write_file(conf), &e))
        assert_string_not_equal(e.text, "");
    return e.text;
}

static void defaults_hold_without_any_source(void **state)
{
    struct settings s;
    struct err e;

    (void)state;
    assert_true(settings_load(&s, NULL, 0, NULL, &e));
    assert_string_equal(s.mqtt_url, "");
    assert_string_equal(s.mqtt_client_id, "enerlink-ingest-0");
    assert_string_equal(s.http_listen, "127.0.0.1:8080");
    assert_string_equal(s.timezone, "Asia/Jakarta");
    assert_string_equal(s.timeseries_format, "packed");
    assert_true(s.latest_ttl_s == 3600);
    assert_true(s.timeseries_ttl_s == 7200);
    assert_true(s.late_days == 366);
    assert_true(s.future_s == 300);
    assert_true(s.quarantine_bytes == 16 * 1024 * 1024);
    assert_true(s.power_limit_w == 1000000);
    assert_false(s.allow_plain);
    settings_clear(&s);
}

static void a_flag_beats_the_environment_and_that_the_file(void **state)
{
    const struct settings_flag flag = {"--late-days", "3"};
    struct settings s;
    struct err e;
    const char *path = write_file("late_days = 1\nfuture_seconds = 7\nallow_plain = yes\n");

    (void)state;
    assert_true(settings_load(&s, NULL, 0, path, &e));
    assert_true(s.late_days == 1 && s.future_s == 7 && s.allow_plain);
    settings_clear(&s);
    setenv("ENERLINK_LATE_DAYS", "2", 1);
    assert_true(settings_load(&s, NULL, 0, path, &e));
    assert_true(s.late_days == 2 && s.future_s == 7);
    settings_clear(&s);
    assert_true(settings_load(&s, &flag, 1, path, &e));
    assert_true(s.late_days == 3 && s.future_s == 7);
    settings_clear(&s);
}

static void a_secret_may_come_from_a_file(void **state)
{
    struct settings s;
    struct err e;
    char secret_path[64];

    (void)state;
    strcpy(secret_path, write_file("redis://:geheim@localhost:6379\nsecond line\n"));
    setenv("ENERLINK_REDIS_URL_FILE", secret_path, 1);
    assert_true(settings_load(&s, NULL, 0, NULL, &e));
    assert_string_equal(s.redis_url, "redis://:geheim@localhost:6379");
    settings_clear(&s);
    setenv("ENERLINK_REDIS_URL", "unix:///x", 1);
    assert_false(settings_load(&s, NULL, 0, NULL, &e));
    assert_non_null(strstr(e.text, "ENERLINK_REDIS_URL_FILE (environment): given twice"));
    settings_clear(&s);
    unsetenv("ENERLINK_REDIS_URL");
    setenv("ENERLINK_REDIS_URL_FILE", "/nowhere/x", 1);
    assert_false(settings_load(&s, NULL, 0, NULL, &e));
    assert_non_null(strstr(e.text, "/nowhere/x"));
    settings_clear(&s);
}

static void secrets_have_no_flag(void **state)
{
    (void)state;
    assert_false(settings_has_flag("--redis-url"));
    assert_false(settings_has_flag("--admin-key"));
    assert_true(settings_has_flag("--redis-url-file"));
    assert_true(settings_has_flag("--http-listen"));
    assert_false(settings_has_flag("--http-listen-file"));
    assert_false(settings_has_flag("--http"));
}

static void what_is_wrong_in_the_file_is_named_with_its_line(void **state)
{
    static const struct {
        const char *conf, *said;
    } cases[] = {
        {"late_days = 1\nlate_day = 2\n", ":2: unknown key \"late_day\""},
        {"late_days = 0\n", ":1): \"0\" is not a whole number from 1 to 36500"},
        {"late_days = 1x\n", "\"1x\" is not a whole number"},
        {"late_days =\n", "\"\" is not a whole number"},
        {"timeseries_format = xml\n", "\"xml\" is not packed or json"},
        {"allow_plain = maybe\n", "\"maybe\" is not yes or no"},
        {"late_days = 1\n\nlate_days = 2\n", ":3: late_days is given already in line 1"},
        {"redis_url = unix:///a\nredis_url_file = /b\n", ":2: redis_url_file is given already"},
        {"[redis]\nlate_days = 1\n", "sections ([redis]) are not used"},
        {"late_days\n", ":1: expected \"key = value\""},
        {"ENERLINK_LATE_DAYS = 1\n", "unknown key \"ENERLINK_LATE_DAYS\""},
    };
    char long_line[400];
    struct settings s;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *said = load_error(cases[i].conf, &s);
        if (!strstr(said, cases[i].said))
            fail_msg("%s: %s", cases[i].conf, said);
        settings_clear(&s);
    }
    memset(long_line, 'x', sizeof long_line);
    memcpy(long_line, "pg_url = ", 9);
    strcpy(long_line + sizeof long_line - 2, "\n");
    assert_non_null(strstr(load_error(long_line, &s), ":1: longer than"));
    settings_clear(&s);
}

static void a_missing_file_that_was_asked_for_is_an_error(void **state)
{
    struct settings s;
    struct err e;

    (void)state;
    assert_false(settings_load(&s, NULL, 0, "/nowhere/enerlink.conf", &e));
    assert_non_null(strstr(e.text, "/nowhere/enerlink.conf"));
    settings_clear(&s);
}

static void the_table_never_shows_a_secret(void **state)
{
    struct settings s;
    struct err e;
    struct buf text;

    (void)state;
    setenv("ENERLINK_REDIS_URL", "redis://:geheim@localhost", 1);
    assert_true(settings_load(&s, NULL, 0, NULL, &e));
    buf_init(&text, 0);
    settings_write_table(&s, &text);
    assert_null(strstr(text.data, "geheim"));
    assert_non_null(strstr(text.data, "ENERLINK_REDIS_URL          set "));
    assert_non_null(strstr(text.data, "ENERLINK_PG_URL             unset "));
    buf_clear(&text);
    settings_clear(&s);
}

static void what_is_exported_reads_back(void **state)
{
    struct settings s, again;
    struct err e;
    char secret_path[64];

    (void)state;
    strcpy(secret_path, write_file("unix:///tmp/r\n"));
    setenv("ENERLINK_REDIS_URL_FILE", secret_path, 1);
    assert_true(settings_load(&s, NULL, 0, NULL, &e));
    assert_true(settings_set(&s, SETTING_pg_url, "postgresql://u:p@/d?host=/s", "test", &e));
    assert_true(settings_set(&s, SETTING_late_days, "9", "test", &e));
    assert_false(settings_set(&s, SETTING_late_days, "-9", "test", &e));
    settings_export(&s);
    assert_true(settings_load(&again, NULL, 0, NULL, &e));
    assert_string_equal(again.redis_url, "unix:///tmp/r");
    assert_string_equal(again.pg_url, "postgresql://u:p@/d?host=/s");
    assert_true(again.late_days == 9);
    settings_clear(&again);
    settings_clear(&s);
}

static void the_committed_example_is_that_of_the_table(void **state)
{
    FILE *f = fopen(SOURCE_ROOT "/enerlink.conf.example", "r");
    char committed[16384] = "";
    struct settings s;
    struct err e;
    struct buf text;

    (void)state;
    assert_non_null(f);
    assert_true(fread(committed, 1, sizeof committed - 1, f) > 0);
    fclose(f);
    buf_init(&text, 0);
    settings_write_example(&text);
    if (strcmp(text.data, committed) != 0)
        fail_msg("stale: build/enerlink settings --example > enerlink.conf.example");
    buf_clear(&text);
    assert_true(settings_load(&s, NULL, 0, SOURCE_ROOT "/enerlink.conf.example", &e));
    settings_clear(&s);
}

static void plain_connections_stay_on_this_machine(void **state)
{
    static const struct {
        const char *name, *value;
        bool allowed;
    } cases[] = {
        {"ENERLINK_MQTT_URL", "mqtt://u:p@127.0.0.1:1883", true},
        {"ENERLINK_MQTT_URL", "mqtt://u:p@localhost", true},
        {"ENERLINK_MQTT_URL", "mqtt://u:p@[::1]:1883", true},
        {"ENERLINK_MQTT_URL", "mqtt://u:p@broker.example:1883", false},
        {"ENERLINK_MQTT_URL", "mqtt://u:p@127.0.0.1.example", false},
        {"ENERLINK_MQTT_URL", "mqtts://u:p@broker.example", true},
        {"ENERLINK_MQTT_URL", "mqtt://localhost, mqtt://u:127.0.0.1@broker.example", false},
        {"ENERLINK_REDIS_URL", "unix:///run/redis.sock", true},
        {"ENERLINK_REDIS_URL", "redis://:p@10.0.0.1:6379/0", false},
        {"ENERLINK_PG_URL", "postgresql://u:p@/d?host=/run/postgresql", true},
        {"ENERLINK_PG_URL", "postgresql://u:p@db.example/d", false},
        {"ENERLINK_PG_URL", "postgresql://u:p@db.example/d?sslmode=prefer", false},
        {"ENERLINK_PG_URL", "postgresql://u:p@db.example/d?sslmode=verify-full", true},
        {"ENERLINK_PG_URL", "postgresql://u:p@localhost,db.example/d", false},
        {"ENERLINK_ARCHIVE_URL", "file:///a", true},
        {"ENERLINK_ARCHIVE_URL", "s3+http://minio.example:9000/b", false},
        {"ENERLINK_ARCHIVE_URL", "s3+https://minio.example:9000/b", true},
        {"ENERLINK_HTTP_LISTEN", "[::1]:8080", true},
        {"ENERLINK_HTTP_LISTEN", "0.0.0.0:8080", false},
        {"ENERLINK_HTTP_LISTEN", ":8080", false},
    };
    struct settings s;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv(cases[i].name, cases[i].value, 1);
        assert_true(settings_load(&s, NULL, 0, NULL, &e));
        if (plain_check(&s, &e) != cases[i].allowed)
            fail_msg("%s=%s", cases[i].name, cases[i].value);
        assert_true(cases[i].allowed || strstr(e.text, cases[i].name));
        settings_clear(&s);
        setenv("ENERLINK_ALLOW_PLAIN", "yes", 1);
        assert_true(settings_load(&s, NULL, 0, NULL, &e));
        assert_true(plain_check(&s, &e));
        settings_clear(&s);
        unsetenv("ENERLINK_ALLOW_PLAIN");
        unsetenv(cases[i].name);
    }
}

static void a_refusal_does_not_show_the_password(void **state)
{
    struct settings s;
    struct err e;

    (void)state;
    setenv("ENERLINK_PG_URL", "postgresql://u:geheim@db.example/d%zz", 1);
    assert_true(settings_load(&s, NULL, 0, NULL, &e));
    assert_false(plain_check(&s, &e));
    assert_null(strstr(e.text, "geheim"));
    settings_clear(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, forget, remove_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_hold_without_any_source),
        TEST(a_flag_beats_the_environment_and_that_the_file),
        TEST(a_secret_may_come_from_a_file),
        TEST(secrets_have_no_flag),
        TEST(what_is_wrong_in_the_file_is_named_with_its_line),
        TEST(a_missing_file_that_was_asked_for_is_an_error),
        TEST(the_table_never_shows_a_secret),
        TEST(what_is_exported_reads_back),
        TEST(the_committed_example_is_that_of_the_table),
        TEST(plain_connections_stay_on_this_machine),
        TEST(a_refusal_does_not_show_the_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
