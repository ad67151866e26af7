#include "unit.h"

#include "base/backoff.h"
#include "base/url.h"

static const struct {
    enum url_kind kind;
    const char *text;
    bool encrypted;
    const char *user, *password, *host;
    int port;
    const char *path, *name;
} urls[] = {
    {URL_MQTT, "mqtt://h", false, NULL, NULL, "h", 1883, "", "mqtt://h:1883"},
    {URL_MQTT, "mqtts://h/", true, NULL, NULL, "h", 8883, "", "mqtts://h:8883"},
    {URL_MQTT, "mqtt://127.0.0.1", false, NULL, NULL, "127.0.0.1", 1883, "",
     "mqtt://127.0.0.1:1883"},
    {URL_MQTT, "mqtt://u:p@h.example:99", false, "u", "p", "h.example", 99, "",
     "mqtt://h.example:99"},
    {URL_MQTT, "mqtts://u@broker_1.example", true, "u", NULL, "broker_1.example", 8883, "",
     "mqtts://broker_1.example:8883"},
    {URL_MQTT, "mqtt://u%40x:a%3ab%2F%25@h", false, "u@x", "a:b/%", "h", 1883, "", "mqtt://h:1883"},
    {URL_MQTT, "mqtt://u:a@b@h", false, "u", "a@b", "h", 1883, "", "mqtt://h:1883"},
    {URL_MQTT, "mqtt://u:a:b?#@h", false, "u", "a:b?#", "h", 1883, "", "mqtt://h:1883"},
    {URL_MQTT, "mqtt://u:%2c%C3%bc@h:1", false, "u", ",\xc3\xbc", "h", 1, "", "mqtt://h:1"},
    {URL_MQTT, "mqtt://u:@h", false, "u", "", "h", 1883, "", "mqtt://h:1883"},
    {URL_MQTT, "mqtt://u@[::1]:77", false, "u", NULL, "::1", 77, "", "mqtt://[::1]:77"},
    {URL_MQTT, "mqtts://[fe80::1]/", true, NULL, NULL, "fe80::1", 8883, "",
     "mqtts://[fe80::1]:8883"},
    {URL_MQTT, "mqtt://h:65535", false, NULL, NULL, "h", 65535, "", "mqtt://h:65535"},
    {URL_REDIS, "redis://h", false, NULL, NULL, "h", 6379, "", "redis://h:6379"},
    {URL_REDIS, "redis://h/", false, NULL, NULL, "h", 6379, "", "redis://h:6379"},
    {URL_REDIS, "redis://:p@[::1]:7/3", false, NULL, "p", "::1", 7, "/3", "redis://[::1]:7/3"},
    {URL_REDIS, "redis://u:p%3aw%25@h/1048576", false, "u", "p:w%", "h", 6379, "/1048576",
     "redis://h:6379/1048576"},
    {URL_REDIS, "redis://p@h", false, "p", NULL, "h", 6379, "", "redis://h:6379"},
    {URL_REDIS, "unix:///run/a%20b%25.sock", false, NULL, NULL, "", 0, "/run/a b%.sock",
     "unix:///run/a%20b%25.sock"},
    {URL_REDIS, "unix://:p@/run/a b@c", false, NULL, "p", "", 0, "/run/a b@c",
     "unix:///run/a%20b%40c"},
    {URL_ARCHIVE, "file:///a", false, NULL, NULL, "", 0, "/a", "file:///a"},
    {URL_ARCHIVE, "s3+http://minio:9000/b", false, NULL, NULL, "minio", 9000, "/b",
     "s3+http://minio:9000/b"},
    {URL_ARCHIVE, "s3+https://minio/b/c", true, NULL, NULL, "minio", 443, "/b/c",
     "s3+https://minio:443/b/c"},
};

/* "sesame" stands for what must not be shown. */
static const struct {
    enum url_kind kind;
    const char *text;
    const char *words;
} refused[] = {
    {URL_MQTT, NULL, "is missing"},
    {URL_MQTT, "", "is missing"},
    {URL_MQTT, "http://sesame@h", "another scheme"},
    {URL_MQTT, "redis://sesame@h", "another scheme"},
    {URL_MQTT, "MQTT://sesame@h", "another scheme"},
    {URL_MQTT, "mqtt:sesame", "another scheme"},
    {URL_MQTT, "mqtt:/", "another scheme"},
    {URL_MQTT, " mqtt://h", "another scheme"},
    {URL_MQTT, "mqtt://", "no host"},
    {URL_MQTT, "mqtt:///", "no host"},
    {URL_MQTT, "mqtt://u:sesame@", "no host"},
    {URL_MQTT, "mqtt://u:sesame@:1883", "no host"},
    {URL_MQTT, "mqtt://u:sesame@h:0", "port out of range"},
    {URL_MQTT, "mqtt://u:sesame@h:65536", "port out of range"},
    {URL_MQTT, "mqtt://u:sesame@h:1x", "no number"},
    {URL_MQTT, "mqtt://u:sesame@h:-1", "no number"},
    {URL_MQTT, "mqtt://u:sesame@h:000001", "no number"},
    {URL_MQTT, "mqtt://u:sesame@h:", "no number"},
    {URL_MQTT, "mqtt://u:sesame@h/x", "goes on after"},
    {URL_MQTT, "mqtt://u:sesame@h//", "goes on after"},
    {URL_MQTT, "mqtt://u:12/sesame@h", "@ behind its first /"},
    {URL_MQTT, "mqtt://127.0.0.1/@sesame", "@ behind its first /"},
    {URL_MQTT, "mqtt://u:ses/sesame@h", "@ behind its first /"},
    {URL_MQTT, "mqtt://u:sesame@h?x", "in its host"},
    {URL_MQTT, "mqtt://u:sesame@h,i", "in its host"},
    {URL_MQTT, "mqtt://u:sesame@h ", "in its host"},
    {URL_MQTT, "mqtt://u:sesame@%68", "in its host"},
    {URL_MQTT, "mqtt://u:sesame@::1", "no number"},
    {URL_MQTT, "mqtt://u:sesame@h\n", "control character"},
    {URL_MQTT, "mqtt://u:sesame\x7f@h", "control character"},
    {URL_MQTT, "mqtt://u:sesame,1@h", "comma"},
    {URL_MQTT, "mqtt://u:sesame@[::1", "[ without ]"},
    {URL_MQTT, "mqtt://u:sesame@[h]", "IPv6"},
    {URL_MQTT, "mqtt://u:sesame@[]", "IPv6"},
    {URL_MQTT, "mqtt://u:sesame@[127.0.0.1]", "IPv6"},
    {URL_MQTT, "mqtt://u:sesame@[fe80::1%25eth0]", "IPv6"},
    {URL_MQTT, "mqtt://u:sesame@[::1]x", "in its host"},
    {URL_MQTT, "mqtt://u:sesame%@h", "password that cannot be read"},
    {URL_MQTT, "mqtt://u:sesame%4@h", "password that cannot be read"},
    {URL_MQTT, "mqtt://u:sesame%zz@h", "password that cannot be read"},
    {URL_MQTT, "mqtt://u:sesame%00@h", "password that cannot be read"},
    {URL_MQTT, "mqtt://sesame%0g:p@h", "user that cannot be read"},
    {URL_MQTT, "mqtt://:sesame@h", "no user"},
    {URL_MQTT, "mqtt://@h", "no user"},
    {URL_REDIS, "redis://@h", "no user"},
    {URL_REDIS, "redis://u:sesame@", "no host"},
    {URL_REDIS, "redis://u:sesame@h:99999", "port out of range"},
    {URL_REDIS, "redis://u:sesame@h:1/x", "number of a database"},
    {URL_REDIS, "redis://u:sesame@h/1/", "number of a database"},
    {URL_REDIS, "redis://u:sesame@h/-1", "number of a database"},
    {URL_REDIS, "redis://u:sesame@h/1048577", "number of a database"},
    {URL_REDIS, "redis://u:sesame@h/99999999999999999999", "number of a database"},
    {URL_REDIS, "redis://u:12/sesame@h", "@ behind its first /"},
    {URL_REDIS, "redis://h,redis://sesame", "in its host"},
    {URL_REDIS, "unix://sesame", "three slashes"},
    {URL_REDIS, "unix://h/sesame", "three slashes"},
    {URL_REDIS, "unix:sesame", "another scheme"},
    {URL_REDIS, "unix://", "no path"},
    {URL_REDIS, "unix:///", "no path"},
    {URL_REDIS, "unix:///a%00sesame", "path that cannot be read"},
    {URL_ARCHIVE, "file://u:sesame@/a", "user or password"},
    {URL_ARCHIVE, "file://sesame/a", "three slashes"},
    {URL_ARCHIVE, "s3+http://key:sesame@h/b", "user or password"},
    {URL_ARCHIVE, "s3+http://key:12/sesame@h/b", "@ behind its first /"},
    {URL_ARCHIVE, "s3+https://h", "no path"},
};

static void assert_same(const char *is, const char *expected)
{
    if (!expected)
        assert_null(is);
    else
        assert_string_equal(is, expected);
}

static void urls_are_taken_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct url u;
        struct err e;
        if (!url_parse(urls[i].text, urls[i].kind, &u, &e))
            fail_msg("%s: %s", urls[i].text, e.text);
        assert_int_equal(u.encrypted, urls[i].encrypted);
        assert_memory_equal(u.scheme, urls[i].text, strlen(u.scheme));
        assert_same(u.user, urls[i].user);
        assert_same(u.password, urls[i].password);
        assert_same(u.host, urls[i].host);
        assert_int_equal(u.port, urls[i].port);
        assert_same(u.path, urls[i].path);
        assert_same(u.name, urls[i].name);
        url_clear(&u);
        url_clear(&u);
    }
}

static void assert_empty(const struct url *u)
{
    assert_true(!u->user && !u->password && !u->host && !u->path && !u->name && !u->port);
}

static void bad_urls_are_refused_without_showing_the_password(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct url u;
        struct err e;
        if (url_parse(refused[i].text, refused[i].kind, &u, &e))
            fail_msg("%s: accepted", refused[i].text);
        assert_int_equal(e.kind, ERR_FATAL);
        assert_empty(&u);
        if (strstr(e.text, "sesame") || !strstr(e.text, refused[i].words))
            fail_msg("%s: %s", refused[i].text, e.text);
    }
}

static void a_url_of_one_kind_is_none_of_another(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        for (enum url_kind kind = URL_MQTT; kind <= URL_ARCHIVE; kind++) {
            struct url u;
            assert_int_equal(url_parse(urls[i].text, kind, &u, NULL), kind == urls[i].kind);
            url_clear(&u);
        }
}

/* The text prefix, then count times c, then suffix. */
static bool accepts_long(const char *prefix, char c, size_t count, const char *suffix)
{
    struct buf b;
    struct url u;
    struct err e;

    buf_init(&b, 0);
    buf_adds(&b, prefix);
    for (size_t i = 0; i < count; i++)
        buf_addc(&b, c);
    buf_adds(&b, suffix);
    bool ok = url_parse(b.data, URL_MQTT, &u, &e);
    assert_true(ok || e.kind == ERR_FATAL);
    buf_clear(&b);
    url_clear(&u);
    return ok;
}

static void lengths_are_bounded(void **state)
{
    (void)state;
    assert_true(accepts_long("mqtt://", 'h', 255, ""));
    assert_false(accepts_long("mqtt://", 'h', 256, ""));
    assert_true(accepts_long("mqtt://u:", 'p', URL_BYTES_MOST - 11, "@h"));
    assert_false(accepts_long("mqtt://u:", 'p', URL_BYTES_MOST - 10, "@h"));
    assert_false(accepts_long("mqtt://u:", '%', 8000, "@h"));
    assert_false(accepts_long("mqtt://", '[', 8000, ""));
    assert_false(accepts_long("mqtt://h:", '9', 8000, ""));
}

/* A name is a URL as well: read again, it tells the same host, port, path and name. */
static void assert_name_reads_back(const struct url *u, enum url_kind kind)
{
    struct url again;
    struct err e;

    if (!url_parse(u->name, kind, &again, &e))
        fail_msg("%s: %s", u->name, e.text);
    assert_string_equal(again.scheme, u->scheme);
    assert_string_equal(again.host, u->host);
    assert_int_equal(again.port, u->port);
    assert_string_equal(again.path, u->path);
    assert_string_equal(again.name, u->name);
    assert_true(!again.user && !again.password);
    url_clear(&again);
}

/* Some bytes of a good URL replaced by others that mean something in URLs. */
static void spoil(char *text, uint64_t *random)
{
    static const char marks[] = "@:/[]%,?# .0g\x01\xff";
    size_t len = strlen(text);

    for (uint64_t n = 1 + random_next(random) % 3; n > 0; n--)
        text[random_next(random) % len] = marks[random_next(random) % (sizeof marks - 1)];
}

static void whatever_is_accepted_is_sound(void **state)
{
    enum { ROUNDS = 20000 };
    uint64_t random = 1;
    size_t accepted = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        size_t i = random_next(&random) % (sizeof urls / sizeof *urls);
        char text[128];
        struct url u;
        struct err e;
        snprintf(text, sizeof text, "%s", urls[i].text);
        spoil(text, &random);
        if (!url_parse(text, urls[i].kind, &u, &e)) {
            assert_empty(&u);
            continue;
        }
        accepted++;
        assert_int_equal(*u.host == '\0', u.port == 0);
        assert_name_reads_back(&u, urls[i].kind);
        url_clear(&u);
    }
    assert_in_range(accepted, ROUNDS / 100, ROUNDS / 2);
}

static void a_list_is_cut_at_its_commas(void **state)
{
    static const char *const expected[] = {"mqtt://a", "mqtt://b c", "x"};
    const char *list = " ,mqtt://a , mqtt://b c,,  ,x ";
    char *one;

    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        one = url_list_next(&list);
        assert_string_equal(one, expected[i]);
        free(one);
    }
    assert_null(url_list_next(&list));
    assert_null(url_list_next(&list));
}

static void the_address_to_listen_on_is_read(void **state)
{
    static const struct {
        const char *text, *host;
        int port;
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1", 8080},
        {"localhost:0", "localhost", 0},
        {"[::]:80", "::", 80},
        {":65535", "", 65535},
        {"", NULL, 0},
        {"localhost", NULL, 0},
        {"8080", NULL, 0},
        {"h:", NULL, 0},
        {"h:65536", NULL, 0},
        {"h:http", NULL, 0},
        {"::1:80", NULL, 0},
        {"[::1]", NULL, 0},
        {"[h]:80", NULL, 0},
        {"h:80/", NULL, 0},
        {"u@127.0.0.1:80", NULL, 0},
        {"http://127.0.0.1:80", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url u;
        struct err e;
        if (url_parse_listen(cases[i].text, &u, &e) != (cases[i].host != NULL))
            fail_msg("\"%s\"", cases[i].text);
        if (cases[i].host) {
            assert_string_equal(u.host, cases[i].host);
            assert_int_equal(u.port, cases[i].port);
        } else {
            assert_empty(&u);
            assert_non_null(strstr(e.text, "host:port"));
        }
        url_clear(&u);
    }
}

static void a_path_survives_being_written_into_a_url(void **state)
{
    static const char path[] = "/tmp/100% @home,#1?/\xc3\xa4_~-.sock";
    struct buf b;
    struct url u;

    (void)state;
    buf_init(&b, 0);
    buf_adds(&b, "unix://");
    url_add_path(&b, path);
    assert_string_equal(b.data, "unix:///tmp/100%25%20%40home%2C%231%3F/%C3%A4_~-.sock");
    assert_true(url_parse(b.data, URL_REDIS, &u, NULL));
    assert_string_equal(u.path, path);
    url_clear(&u);
    buf_clear(&b);
}

static void only_what_is_encrypted_or_stays_here_is_not_exposed(void **state)
{
    static const struct {
        enum url_kind kind;
        const char *text;
        bool exposed;
    } cases[] = {
        {URL_MQTT, "mqtt://localhost", false},
        {URL_MQTT, "mqtt://127.1.2.3", false},
        {URL_MQTT, "mqtt://[::1]", false},
        {URL_MQTT, "mqtt://[0:0:0:0:0:0:0:1]", false},
        {URL_MQTT, "mqtts://h", false},
        {URL_REDIS, "unix:///a", false},
        {URL_MQTT, "mqtt://h", true},
        {URL_MQTT, "mqtt://127.0.0.1.example", true},
        {URL_MQTT, "mqtt://localhost.example", true},
        {URL_MQTT, "mqtt://128.0.0.1", true},
        {URL_MQTT, "mqtt://127.1", true},
        {URL_MQTT, "mqtt://[::2]", true},
        {URL_MQTT, "mqtt://u:localhost@h", true},
        {URL_ARCHIVE, "s3+http://h/b", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url u;
        assert_true(url_parse(cases[i].text, cases[i].kind, &u, NULL));
        if (url_is_exposed(&u) != cases[i].exposed)
            fail_msg("%s", cases[i].text);
        url_clear(&u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(bad_urls_are_refused_without_showing_the_password),
        cmocka_unit_test(a_url_of_one_kind_is_none_of_another),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(whatever_is_accepted_is_sound),
        cmocka_unit_test(a_list_is_cut_at_its_commas),
        cmocka_unit_test(the_address_to_listen_on_is_read),
        cmocka_unit_test(a_path_survives_being_written_into_a_url),
        cmocka_unit_test(only_what_is_encrypted_or_stays_here_is_not_exposed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
