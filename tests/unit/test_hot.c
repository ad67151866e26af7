/*
 * One contract, kept by both hot stores; then what only one of them can show. The Redis is a
 * private one on a unix socket and a loopback port, killed at the end and with this process.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/when.h"
#include "stores/hot.h"
#include "stores/hot_ram.h"

/* 2025-10-26T04:27:00Z and the minutes beside it */
#define M INT64_C(1761452820000)
#define NEXT (M + MINUTE_MS)
#define DUE (M + MINUTE_MS + HOT_GRACE_MS)
#define NOW (M + 70123)

static struct {
    char folder[64], socket[96];
    char url[128];
    int port;
    pid_t pid;
    redisContext *raw; /* a connection beside the store's */
} server;

/* The clock of the store in memory. */
static int64_t ram_now_ms;

static int64_t ram_wall(void *ctx)
{
    (void)ctx;
    return ram_now_ms;
}

static const struct clock ram_clock = {.wall_ms = ram_wall, .mono_ms = ram_wall};

/* ---- Shorthand ---------------------------------------------------------------------------- */

static void check(bool ok, const struct err *e)
{
    if (!ok)
        fail_msg("%s", e->text);
}

/* A data message of this meter and time; its member is the text too. */
static struct hot_put put(const char *meter_id, int64_t time_ms, const char *text)
{
    return (struct hot_put){.meter_id = meter_id,
                            .topic = TOPIC_DATA,
                            .time_ms = time_ms,
                            .member = text,
                            .member_len = strlen(text),
                            .latest = text,
                            .latest_len = strlen(text),
                            .dirty = {when_floor(time_ms, MINUTE_MS)},
                            .n_dirty = 1};
}

static void store(struct hot *h, const struct hot_put *puts, size_t n, int64_t now_ms)
{
    struct err e = {0};

    check(h->ops->store(h, &(struct hot_batch){.puts = puts, .n_puts = n, .now_ms = now_ms}, &e),
          &e);
}

static void store_one(struct hot *h, const char *meter_id, int64_t time_ms, const char *text)
{
    struct hot_put p = put(meter_id, time_ms, text);

    store(h, &p, 1, NOW);
}

static void collect(void *ctx, const struct hot_member *m)
{
    buf_addf(ctx, "%zu=%.*s ", m->meter, (int)m->len, (const char *)m->bytes);
}

/* "0=a 0=b 1=...": index of the meter, bytes, in the order of time. */
static void expect_members(struct hot *h, const char *const *ids, size_t n, int64_t from_ms,
                           int64_t to_ms, const char *expected)
{
    struct err e = {0};
    struct buf b;

    buf_init(&b, 0);
    buf_adds(&b, "");
    check(h->ops->read(h, ids, n, from_ms, to_ms, collect, &b, &e), &e);
    assert_string_equal(b.data, expected);
    buf_clear(&b);
}

/* "minute minute ": seconds after M */
static void expect_due(struct hot *h, int64_t now_ms, size_t most, const char *expected)
{
    struct err e = {0};
    char text[256] = "";
    int64_t out[64];
    size_t n;

    assert_true(most <= 64);
    check(h->ops->due_minutes(h, now_ms, out, most, &n, &e), &e);
    for (size_t i = 0; i < n; i++)
        sprintf(text + strlen(text), "%lld ", (long long)((out[i] - M) / 1000));
    assert_string_equal(text, expected);
}

static void expect_ids(const struct hot_ids *ids, const char *expected)
{
    char text[1024] = "";

    for (size_t i = 0; i < ids->n; i++)
        sprintf(text + strlen(text), "%s ", ids->ids[i]);
    assert_string_equal(text, expected);
}

static void expect_claim(struct hot *h, int64_t minute_ms, const char *token, const char *expected)
{
    struct err e = {0};
    struct hot_ids ids = {0};

    check(h->ops->claim(h, minute_ms, token, &ids, &e), &e);
    expect_ids(&ids, expected);
    hot_ids_clear(&ids);
}

static void release(struct hot *h, int64_t minute_ms, const char *token)
{
    struct err e = {0};

    check(h->ops->release(h, minute_ms, token, NULL, 0, &e), &e);
}

static void expect_recovered(struct hot *h, const char *token, size_t expected)
{
    struct err e = {0};
    size_t n;

    check(h->ops->recover(h, token, &n, &e), &e);
    assert_int_equal(n, expected);
}

static void trim_and_keep(struct hot *h, const char *const *ids, size_t n, int64_t cutoff_ms,
                          int ttl_s)
{
    struct err e = {0};

    check(h->ops->trim(h, ids, n, cutoff_ms, ttl_s, &e), &e);
}

static void trim(struct hot *h, const char *const *ids, size_t n, int64_t cutoff_ms)
{
    trim_and_keep(h, ids, n, cutoff_ms, 7200);
}

static void expect_latest(struct hot *h, const char *id, int64_t seen_ms, const char *data,
                          const char *status)
{
    struct err e = {0};
    struct hot_latest l;

    check(h->ops->latest(h, &id, 1, &l, &e), &e);
    assert_string_equal(l.meter_id, id);
    assert_true(l.seen_ms == seen_ms);
    assert_true(!data == !l.data && !status == !l.status);
    if (data) {
        assert_string_equal(l.data, data);
        assert_int_equal(l.data_len, strlen(data));
    }
    if (status) {
        assert_string_equal(l.status, status);
        assert_int_equal(l.status_len, strlen(status));
    }
    hot_latest_clear(&l, 1);
}

static const char *const m1[] = {"M1"};
static const char *const m1_m2[] = {"M1", "M2"};

/* ---- The contract ------------------------------------------------------------------------- */

static void what_is_stored_can_be_read(void **state)
{
    struct hot *h = *state;
    struct hot_put puts[] = {put("M1", M + 10000, "one"), put("M2", M + 11000, "two")};

    puts[1].topic = TOPIC_STATUS;
    store(h, puts, 2, NOW);
    expect_members(h, m1_m2, 2, M, NEXT, "0=one 1=two ");
    expect_latest(h, "M1", NOW, "one", NULL);
    expect_latest(h, "M2", NOW, NULL, "two");
    expect_latest(h, "M3", 0, NULL, NULL);
}

static void an_empty_batch_is_stored(void **state)
{
    struct hot *h = *state;

    store(h, NULL, 0, NOW);
    expect_due(h, INT64_MAX / 2, 10, "");
}

static void storing_again_changes_nothing(void **state)
{
    struct hot *h = *state;

    for (int i = 0; i < 3; i++)
        store_one(h, "M1", M + 10000, "one");
    expect_members(h, m1, 1, M, NEXT, "0=one ");
    expect_claim(h, M, "t", "M1 ");
}

static void the_last_of_several_messages_of_a_meter_is_the_latest(void **state)
{
    struct hot *h = *state;
    struct hot_put puts[] = {put("M1", M + 1000, "a"), put("M2", M + 1000, "b"),
                             put("M1", M + 2000, "c"), put("M1", M + 3000, "d")};

    puts[3].latest = NULL;
    store(h, puts, 4, NOW);
    expect_latest(h, "M1", NOW, "c", NULL);
    expect_members(h, m1_m2, 2, M, NEXT, "0=a 0=c 0=d 1=b ");
    expect_claim(h, M, "t", "M1 M2 ");
}

static void members_come_by_meter_and_rising_time_from_inclusive_to_exclusive(void **state)
{
    struct hot *h = *state;
    static const char *const both[] = {"M2", "M1"};
    struct hot_put puts[] = {put("M1", M + 60000, "d"), put("M1", M + 59999, "c"),
                             put("M1", M + 30000, "y"), put("M1", M + 30000, "x"),
                             put("M1", M, "b"),         put("M1", M - 1, "a"),
                             put("M2", M + 5, "z")};

    store(h, puts, 7, NOW);
    expect_members(h, both, 2, M, NEXT, "0=z 1=b 1=x 1=y 1=c ");
    expect_members(h, m1, 1, M + 1, M + 1, "");
}

static void take_bytes(void *ctx, const struct hot_member *m)
{
    buf_add(ctx, m->bytes, m->len);
}

static void any_bytes_survive(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    char bytes[256];
    struct buf got;
    struct hot_put p = put("M1", M, "");

    for (int i = 0; i < 256; i++)
        bytes[i] = (char)(255 - i);
    memcpy(bytes, "\r\n$3\r\n", 6);
    p.member = bytes;
    p.member_len = sizeof bytes;
    store(h, &p, 1, NOW);
    buf_init(&got, 0);
    check(h->ops->read(h, m1, 1, M, NEXT, take_bytes, &got, &e), &e);
    assert_int_equal(got.len, sizeof bytes);
    assert_memory_equal(got.data, bytes, sizeof bytes);
    buf_clear(&got);
}

static void a_minute_is_due_ten_seconds_after_its_end(void **state)
{
    struct hot *h = *state;

    store_one(h, "M1", M + 10000, "one");
    expect_due(h, DUE - 1, 10, "");
    expect_due(h, DUE, 10, "0 ");
}

static void due_minutes_rise_and_are_bounded(void **state)
{
    struct hot *h = *state;

    store_one(h, "M1", M + 120000, "c");
    store_one(h, "M1", M, "a");
    store_one(h, "M1", M - 86400000, "z");
    store_one(h, "M1", M + 60000, "b");
    expect_due(h, DUE + 120000, 10, "-86400 0 60 120 ");
    expect_due(h, DUE + 60000, 10, "-86400 0 60 ");
    expect_due(h, DUE + 120000, 2, "-86400 0 ");
}

static void a_reading_marks_every_minute_it_names(void **state)
{
    struct hot *h = *state;
    struct hot_put puts[] = {put("M1", M + 1000, "a"), put("M2", M + 59000, "b"),
                             put("M1", M + 2000, "c")};

    puts[0].dirty[1] = puts[2].dirty[1] = M - MINUTE_MS;
    puts[1].dirty[1] = NEXT;
    for (int i = 0; i < 3; i++)
        puts[i].n_dirty = 2;
    store(h, puts, 3, NOW);
    expect_due(h, DUE + MINUTE_MS, 10, "-60 0 60 ");
    expect_claim(h, M - MINUTE_MS, "t", "M1 ");
    expect_claim(h, M, "t", "M1 M2 ");
    expect_claim(h, NEXT, "t", "M2 ");
}

static void marking_makes_a_minute_due_earlier_never_later(void **state)
{
    struct hot *h = *state;
    struct err e = {0};

    check(h->ops->mark(h, M, m1, 1, DUE + 5000, &e), &e);
    expect_due(h, DUE + 4999, 10, "");
    store_one(h, "M2", M, "a");
    expect_due(h, DUE, 10, "0 ");
    check(h->ops->mark(h, M, m1, 1, DUE + 5000, &e), &e);
    expect_due(h, DUE, 10, "0 ");
    check(h->ops->mark(h, M, m1, 1, 77, &e), &e);
    store_one(h, "M2", M, "a");
    expect_due(h, 77, 10, "0 ");
    check(h->ops->mark(h, NEXT, m1, 0, 77, &e), &e);
    expect_due(h, DUE + MINUTE_MS, 10, "0 ");
    expect_claim(h, M, "t", "M1 M2 ");
}

static void a_claim_takes_the_meters_in_order_and_leaves_the_list(void **state)
{
    struct hot *h = *state;
    struct hot_put puts[] = {put("B", M, "1"), put("a", M, "2"), put("A-10", M, "3"),
                             put("A-2", M, "4")};

    store(h, puts, 4, NOW);
    expect_claim(h, M, "t", "A-10 A-2 B a ");
    expect_due(h, DUE, 10, "");
    release(h, M, "t");
    expect_recovered(h, "t", 0);
    expect_claim(h, M, "t", "");
}

static void a_claim_of_a_quiet_minute_is_empty_and_leaves_nothing_to_recover(void **state)
{
    struct hot *h = *state;

    expect_claim(h, M, "t", "");
    expect_recovered(h, "other", 0);
    release(h, M, "t");
}

static void a_claim_repeated_after_a_lost_answer_gives_the_same_work(void **state)
{
    struct hot *h = *state;

    store_one(h, "M1", M, "a");
    expect_claim(h, M, "t", "M1 ");
    expect_claim(h, M, "t", "M1 ");
    store_one(h, "M2", M, "b");
    expect_claim(h, M, "t", "M1 M2 ");
    expect_due(h, DUE, 10, "");
    release(h, M, "t");
    expect_claim(h, M, "t", "");
}

static void a_message_that_comes_while_its_minute_is_computed_marks_it_anew(void **state)
{
    struct hot *h = *state;

    store_one(h, "M1", M, "a");
    expect_claim(h, M, "t1", "M1 ");
    store_one(h, "M2", M + 5, "b");
    expect_due(h, DUE, 10, "0 ");
    release(h, M, "t1");
    expect_due(h, DUE, 10, "0 ");
    expect_claim(h, M, "t2", "M2 ");
}

static void work_left_behind_goes_back_into_the_list(void **state)
{
    struct hot *h = *state;

    store_one(h, "M1", M, "a");
    store_one(h, "M2", NEXT, "b");
    expect_claim(h, M, "dead", "M1 ");
    expect_claim(h, NEXT, "mine", "M2 ");
    store_one(h, "M3", M, "c");
    expect_recovered(h, "mine", 2);
    expect_due(h, 1, 10, "0 60 ");
    expect_claim(h, M, "new", "M1 M3 ");
    expect_claim(h, NEXT, "new", "M2 ");
    release(h, M, "dead"); /* the dead one was only slow */
    expect_recovered(h, "x", 2);
}

static void meters_released_for_another_round_are_due_again(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct hot_ids again = {0};
    struct hot_put puts[] = {put("M1", M, "a"), put("M2", M, "b"), put("M3", M, "c")};

    store(h, puts, 3, NOW);
    expect_claim(h, M, "t", "M1 M2 M3 ");
    hot_ids_add(&again, "M3", 2);
    hot_ids_add(&again, "M1", 2);
    check(h->ops->release(h, M, "t", &again, DUE + 60000, &e), &e);
    expect_due(h, DUE + 59999, 10, "");
    expect_due(h, DUE + 60000, 10, "0 ");
    expect_claim(h, M, "t", "M1 M3 ");
    again.n = 0;
    check(h->ops->release(h, M, "t", &again, 0, &e), &e);
    expect_due(h, DUE + 60000, 10, "");
    hot_ids_clear(&again);
}

/* One member a minute at M, M+1 min, ..., all committed but those of the minutes given. */
static void fill_minutes(struct hot *h, int n, const int *waiting, int n_waiting)
{
    for (int i = 0; i < n; i++) {
        char text[16];
        sprintf(text, "%d", i);
        store_one(h, "M1", M + i * MINUTE_MS, text);
        expect_claim(h, M + i * MINUTE_MS, "t", "M1 ");
        release(h, M + i * MINUTE_MS, "t");
    }
    for (int i = 0; i < n_waiting; i++) {
        struct err e = {0};
        check(h->ops->mark(h, M + waiting[i] * MINUTE_MS, m1, 1, 1, &e), &e);
    }
}

static void trimming_removes_what_is_before_the_cutoff(void **state)
{
    struct hot *h = *state;

    fill_minutes(h, 4, NULL, 0);
    trim(h, m1_m2, 2, M + 2 * MINUTE_MS);
    expect_members(h, m1, 1, 0, INT64_MAX / 4, "0=2 0=3 ");
    expect_latest(h, "M1", NOW, "3", NULL);
}

static void trimming_keeps_what_a_waiting_minute_and_its_borders_need(void **state)
{
    struct hot *h = *state;

    fill_minutes(h, 9, (const int[]){1, 5}, 2);
    expect_claim(h, M + 5 * MINUTE_MS, "t", "M1 ");
    trim(h, m1, 1, M + 8 * MINUTE_MS);
    expect_members(h, m1, 1, 0, INT64_MAX / 4, "0=0 0=1 0=2 0=4 0=5 0=6 0=8 ");
    expect_claim(h, M + MINUTE_MS, "t", "M1 ");
    release(h, M + MINUTE_MS, "t");
    release(h, M + 5 * MINUTE_MS, "t");
    trim(h, m1, 1, M + 8 * MINUTE_MS);
    expect_members(h, m1, 1, 0, INT64_MAX / 4, "0=8 ");
}

static void trimming_keeps_the_minute_beside_one_that_waits_after_the_cutoff(void **state)
{
    struct hot *h = *state;

    fill_minutes(h, 4, (const int[]){3}, 1);
    trim(h, m1, 1, M + 2 * MINUTE_MS + 30000);
    expect_members(h, m1, 1, 0, INT64_MAX / 4, "0=2 0=3 ");
}

static void trimming_goes_on_while_many_minutes_wait(void **state)
{
    struct hot *h = *state;
    struct err e = {0};

    fill_minutes(h, 4, (const int[]){2}, 1);
    for (int i = 100; i < 200; i++)
        check(h->ops->mark(h, M + i * MINUTE_MS, m1, 1, 1, &e), &e);
    trim(h, m1, 1, M + 3 * MINUTE_MS);
    expect_members(h, m1, 1, 0, INT64_MAX / 4, "0=1 0=2 0=3 ");
}

static void trimming_removes_at_most_64_of_a_meter_at_once(void **state)
{
    struct hot *h = *state;
    char expected[64];

    for (int i = 0; i < 70; i++) {
        char text[16];
        sprintf(text, "%d", i);
        store_one(h, "M1", M + i, text);
    }
    expect_claim(h, M, "t", "M1 ");
    release(h, M, "t");
    trim(h, m1, 1, NEXT);
    strcpy(expected, "0=64 0=65 0=66 0=67 0=68 0=69 ");
    expect_members(h, m1, 1, M, NEXT, expected);
    trim(h, m1, 1, NEXT);
    expect_members(h, m1, 1, M, NEXT, "");
}

static void a_silent_meter_leaves_unless_it_is_heard_again(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct hot_latest l[4];
    struct hot_put puts[] = {put("M1", M, "a"), put("M2", M, "b"), put("M3", M, "c")};
    size_t n;

    store(h, &puts[2], 1, NOW - 10);
    store(h, &puts[0], 1, NOW);
    puts[0].topic = TOPIC_STATUS;
    puts[0].latest = "s";
    puts[0].latest_len = 1;
    store(h, &puts[0], 1, NOW - 5); /* an older receive time does not count */
    store(h, &puts[1], 1, NOW + 100);
    check(h->ops->silent(h, NOW + 100, 1, l, &n, &e), &e);
    assert_int_equal(n, 1);
    assert_string_equal(l[0].meter_id, "M3");
    hot_latest_clear(l, n);
    check(h->ops->silent(h, NOW + 100, 4, l, &n, &e), &e);
    assert_int_equal(n, 2);
    assert_string_equal(l[1].meter_id, "M1");
    assert_true(l[1].seen_ms == NOW);
    assert_string_equal(l[1].data, "a");
    assert_string_equal(l[1].status, "s");
    assert_string_equal(l[0].data, "c");
    assert_null(l[0].status);
    store(h, &puts[2], 1, NOW + 100);
    check(h->ops->drop_silent(h, l, n, NOW + 100, &e), &e);
    hot_latest_clear(l, n);
    expect_latest(h, "M1", 0, NULL, NULL);
    expect_latest(h, "M2", NOW + 100, "b", NULL);
    expect_latest(h, "M3", NOW + 100, "c", NULL);
    expect_members(h, m1, 1, M, NEXT, "0=a ");
    check(h->ops->silent(h, NOW + 100, 4, l, &n, &e), &e);
    assert_int_equal(n, 0);
}

static void meters_are_paged_in_byte_order(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct hot_ids ids = {0};
    enum { N = 2500 };
    static char names[N][METER_ID_SIZE];
    static struct hot_put puts[N];
    char after[METER_ID_SIZE] = "";
    size_t pages = 0, seen = 0;

    for (int i = 0; i < N; i++) {
        sprintf(names[i], "M%05d", (i * 7919) % N);
        puts[i] = put(names[i], M, "x");
    }
    store(h, puts, N, NOW);
    for (;;) {
        check(h->ops->meters(h, after, 1000, &ids, &e), &e);
        if (ids.n == 0)
            break;
        for (size_t i = 0; i < ids.n; i++) {
            char expected[METER_ID_SIZE];
            sprintf(expected, "M%05zu", seen++);
            assert_string_equal(ids.ids[i], expected);
        }
        strcpy(after, ids.ids[ids.n - 1]);
        pages++;
    }
    assert_int_equal(seen, N);
    assert_int_equal(pages, 3);
    hot_ids_clear(&ids);
}

static void health_is_one_object_of_the_newest_lines(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct buf b;

    buf_init(&b, 0);
    check(h->ops->get_health(h, &b, &e), &e);
    assert_string_equal(b.data, "{}");
    check(h->ops->put_health(h, "ingest", "{\"n\":1}", &e), &e);
    check(h->ops->put_health(h, "aggregate", "{\"lag\":2}", &e), &e);
    check(h->ops->put_health(h, "ingest", "{\"n\":3}", &e), &e);
    buf_reset(&b);
    check(h->ops->get_health(h, &b, &e), &e);
    assert_string_equal(b.data, "{\"aggregate\":{\"lag\":2},\"ingest\":{\"n\":3}}");
    buf_clear(&b);
}

static void refused_messages_are_kept_newest_first_and_cut(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    static char payload[3000];
    struct hot_quarantined q[3];
    size_t n;

    memset(payload, 'p', sizeof payload);
    payload[1] = '\0';
    struct hot_reject rejects[] = {
        {"not_json", "at byte 3", "enerlink/meters/data+", 20, "", payload, 3000, false},
        {"in_future", "6 min", "enerlink/meters/data", 20, "M7", "{}", 2, true},
        {"bad_meter_id", "x", "enerlink/meters/status", 22, "M8", "", 0, false},
    };
    struct hot_batch b = {.rejects = rejects, .n_rejects = 3, .now_ms = NOW};
    check(h->ops->store(h, &b, &e), &e);
    check(h->ops->quarantine(h, 2, q, &n, &e), &e);
    assert_int_equal(n, 2);
    assert_string_equal(q[0].reason, "bad_meter_id");
    assert_string_equal(q[0].topic, "enerlink/meters/status");
    assert_string_equal(q[0].payload, "");
    assert_string_equal(q[1].reason, "in_future");
    assert_string_equal(q[1].meter_id, "M7");
    hot_quarantined_clear(q, n);
    check(h->ops->quarantine(h, 3, q, &n, &e), &e);
    assert_int_equal(n, 3);
    assert_string_equal(q[2].detail, "at byte 3");
    assert_string_equal(q[2].topic, "enerlink/meters/data");
    assert_string_equal(q[2].meter_id, "");
    assert_int_equal(q[2].payload_len, HOT_QUARANTINE_PAYLOAD);
    assert_memory_equal(q[2].payload, payload, HOT_QUARANTINE_PAYLOAD);
    assert_true(strlen(q[2].id) > 0 && strcmp(q[2].id, q[1].id) != 0);
    hot_quarantined_clear(q, n);
    expect_latest(h, "M7", NOW, NULL, NULL); /* alive all the same */
    expect_latest(h, "M8", 0, NULL, NULL);
}

static void use_of_the_store_is_told(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct hot_usage u;
    struct hot_reject reject = {"not_json", "", "t", 1, "", "{", 1, false};
    struct hot_batch b = {.rejects = &reject, .n_rejects = 1, .now_ms = NOW};

    check(h->ops->usage(h, &u, &e), &e);
    assert_true(u.minutes_waiting == 0 && u.oldest_waiting_ms == 0 && u.quarantined == 0);
    store_one(h, "M1", NEXT, "a");
    store_one(h, "M1", M, "b");
    check(h->ops->mark(h, M - 600000, m1, 1, DUE * 2, &e), &e);
    check(h->ops->store(h, &b, &e), &e);
    check(h->ops->usage(h, &u, &e), &e);
    assert_true(u.minutes_waiting == 3);
    assert_true(u.oldest_waiting_ms == M - 600000);
    assert_true(u.quarantined == 1);
}

static void newest_message_times_are_known_by_topic(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    int64_t times[4];
    static const char *const ids[] = {"M9", "M1"};
    static const char data[] =
        "{\"meterId\":\"M1\",\"datetime\":\"2025-10-26T04:27:10.250Z\",\"data\":{}}";
    struct hot_put p = put("M1", M + 10250, data);

    store(h, &p, 1, NOW);
    check(h->ops->latest_times(h, ids, 2, times, &e), &e);
    assert_true(times[TOPIC_DATA] == INT64_MIN && times[TOPIC_STATUS] == INT64_MIN);
    assert_true(times[TOPIC_COUNT + TOPIC_DATA] == M + 10250);
    assert_true(times[TOPIC_COUNT + TOPIC_STATUS] == INT64_MIN);
}

/* ---- A private Redis ---------------------------------------------------------------------- */

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(bind(fd, (struct sockaddr *)&a, len) == 0);
    assert_true(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void run_server(void)
{
    char port[16];

    sprintf(port, "%d", server.port);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket",
           server.socket, "--dir", server.folder, "--logfile", "server.log", "--appendonly", "yes",
           "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "",
           (char *)NULL);
    _exit(127);
}

static bool is_up(void)
{
    redisReply *pong;
    bool up;

    server.raw = redisConnectUnix(server.socket);
    pong = server.raw->err ? NULL : redisCommand(server.raw, "PING");
    up = pong && pong->type == REDIS_REPLY_STATUS;
    freeReplyObject(pong);
    if (!up)
        redisFree(server.raw);
    return up;
}

static void start_server(void)
{
    server.pid = fork();
    if (server.pid == 0)
        run_server();
    for (int i = 0; i < 500; i++) {
        if (is_up())
            return;
        usleep(20000);
    }
    fail_msg("redis-server does not answer, see %s/server.log", server.folder);
}

static void kill_server(void)
{
    redisFree(server.raw);
    server.raw = NULL;
    if (server.pid > 0) {
        kill(server.pid, SIGKILL);
        waitpid(server.pid, NULL, 0);
        server.pid = 0;
    }
}

static int setup_server(void **state)
{
    (void)state;
    strcpy(server.folder, "/tmp/test-hot-XXXXXX");
    assert_non_null(mkdtemp(server.folder));
    sprintf(server.socket, "%s/s", server.folder);
    sprintf(server.url, "unix://%s", server.socket);
    server.port = free_port();
    start_server();
    return 0;
}

static int teardown_server(void **state)
{
    char command[128];

    (void)state;
    kill_server();
    sprintf(command, "rm -r %s", server.folder);
    return system(command);
}

/* The answer to a command as one line of text; valid until the next. */
static const char *ask(const char *fmt, ...)
{
    static char text[512];
    va_list ap;

    va_start(ap, fmt);
    redisReply *r = redisvCommand(server.raw, fmt, ap);
    va_end(ap);
    assert_non_null(r);
    if (r->type == REDIS_REPLY_INTEGER)
        sprintf(text, "%lld", r->integer);
    else if (r->type == REDIS_REPLY_ARRAY) {
        text[0] = '\0';
        for (size_t i = 0; i < r->elements && r->element[i]->str; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", r->element[i]->str);
    } else
        snprintf(text, sizeof text, "%s", r->str ? r->str : "(nil)");
    freeReplyObject(r);
    return text;
}

static struct hot *open_url(const char *url, int timeout_ms)
{
    struct err e = {0};
    struct hot *h = hot_redis_open(&(struct hot_redis_options){.url = url,
                                                               .timeout_ms = timeout_ms,
                                                               .quarantine_bytes = 1 << 20},
                                   &e);

    check(h != NULL, &e);
    return h;
}

static int open_redis(void **state)
{
    assert_string_equal(ask("FLUSHALL"), "OK");
    *state = open_url(server.url, 5000);
    return 0;
}

static int open_ram(void **state)
{
    struct hot *h = hot_ram_open();

    ram_now_ms = NOW;
    hot_ram_set_clock(h, &ram_clock);
    *state = h;
    return 0;
}

static int close_hot(void **state)
{
    struct hot *h = *state;

    h->ops->close(h);
    return 0;
}

/* ---- The contract, where it takes a second process or a server that stops ------------------- */

static bool is_on_redis(void)
{
    return server.pid > 0;
}

/* The store as another process sees it. */
static struct hot *open_second(struct hot *h)
{
    return is_on_redis() ? open_url(server.url, 5000) : hot_ram_share(h);
}

static void let_pass(int ms)
{
    if (is_on_redis())
        usleep((useconds_t)ms * 1000);
    else
        ram_now_ms += ms;
}

static void restart_server(struct hot *h)
{
    if (!is_on_redis()) {
        hot_ram_restart(h);
        return;
    }
    kill_server();
    start_server();
}

/* The first call may find that the connection is gone, not the second. */
static void notice_restart(struct hot *h)
{
    struct err e = {0};
    struct hot_usage u;

    if (!h->ops->usage(h, &u, &e))
        check(h->ops->usage(h, &u, &e), &e);
}

static void processes_share_one_store(void **state)
{
    struct hot *h = *state, *second = open_second(h);

    store_one(h, "M1", M, "a");
    expect_members(second, m1, 1, M, NEXT, "0=a ");
    expect_claim(second, M, "t2", "M1 ");
    expect_claim(h, M, "t1", "");
    store_one(second, "M2", M, "b");
    expect_claim(h, M, "t1", "M2 ");
    release(second, M, "t2");
    expect_recovered(h, "t1", 1);
    second->ops->close(second);
    expect_claim(h, M, "t1", "M2 ");
    expect_members(h, m1_m2, 2, M, NEXT, "0=a 1=b ");
}

static void one_that_was_stalled_deletes_nothing_of_its_successor(void **state)
{
    struct hot *stalled = *state, *successor = open_second(stalled);

    store_one(stalled, "M1", M, "a");
    expect_claim(stalled, M, "old", "M1 ");
    expect_recovered(successor, "new", 1);
    expect_claim(successor, M, "new", "M1 ");
    release(stalled, M, "old");
    expect_claim(stalled, M, "old", "");
    expect_claim(successor, M, "new", "M1 ");
    expect_recovered(successor, "new", 1);
    expect_due(successor, DUE, 10, "0 ");
    successor->ops->close(successor);
}

static void what_was_confirmed_survives_a_restart_of_the_server(void **state)
{
    struct hot *h = *state, *second = open_second(h);
    struct err e = {0};
    struct buf health;

    store_one(h, "M1", M, "a");
    store_one(second, "M2", NEXT, "b");
    expect_claim(second, M, "t", "M1 ");
    check(h->ops->put_health(h, "ingest", "{}", &e), &e);
    restart_server(h);
    notice_restart(h);
    notice_restart(second);
    expect_members(h, m1_m2, 2, M, NEXT + MINUTE_MS, "0=a 1=b ");
    expect_latest(second, "M2", NOW, "b", NULL);
    expect_due(h, DUE + MINUTE_MS, 10, "60 ");
    expect_claim(second, M, "t", "M1 ");
    expect_recovered(second, "t", 1);
    buf_init(&health, 0);
    check(second->ops->get_health(second, &health, &e), &e);
    assert_string_equal(health.data, "{\"ingest\":{}}");
    buf_clear(&health);
    second->ops->close(second);
}

/* LONG: a long backlog is not searched. FRESH: stored again. TWICE: trimmed again. */
static void a_series_expires_when_nothing_of_its_meter_waits(void **state)
{
    struct hot *h = *state;
    static const char *const ids[] = {"LONG", "FREE", "FRESH", "TWICE", "WAITS", "CLAIMED"};
    struct err e = {0};

    store_one(h, "LONG", M, "x");
    expect_claim(h, M, "t", "LONG ");
    release(h, M, "t");
    for (int i = 100; i < 165; i++)
        check(h->ops->mark(h, M + i * MINUTE_MS, m1, 1, 1, &e), &e);
    trim_and_keep(h, ids, 1, M, 1);
    for (int i = 100; i < 165; i++) {
        expect_claim(h, M + i * MINUTE_MS, "t", "M1 ");
        release(h, M + i * MINUTE_MS, "t");
    }
    for (int i = 1; i < 4; i++)
        store_one(h, ids[i], M, "x");
    expect_claim(h, M, "t", "FREE FRESH TWICE ");
    release(h, M, "t");
    store_one(h, "CLAIMED", M, "x");
    expect_claim(h, M, "t", "CLAIMED ");
    store_one(h, "WAITS", M, "x");
    trim_and_keep(h, ids + 1, 5, M, 1);
    store_one(h, "FRESH", M, "x");
    trim_and_keep(h, ids + 3, 1, M, 7200);
    expect_members(h, ids, 6, M, NEXT, "0=x 1=x 2=x 3=x 4=x 5=x ");
    let_pass(1100);
    expect_members(h, ids, 6, M, NEXT, "0=x 2=x 4=x 5=x ");
    expect_latest(h, "FREE", NOW, "x", NULL);
    store_one(h, "FREE", M + 1, "y");
    let_pass(1100);
    expect_members(h, ids, 2, M, NEXT, "0=x 1=y ");
}

/* ---- The contract: who stores under a name ------------------------------------------------ */

static void take(struct hot *h, const char *name, const char *token)
{
    struct err e = {0};

    check(h->ops->take_writer(h, name, token, &e), &e);
}

/* A store that must fail; what it holds is in a minute and of a meter of its own. */
static void expect_refused(struct hot *h, const char *words)
{
    struct err e = {0};
    struct hot_put puts[] = {put("M1", M + 9000, "refused"), put("M9", NEXT, "refused")};
    struct hot_reject reject = {"too_old", "", "t", 1, "M8", "{", 1, true};
    struct hot_batch b = {puts, 2, &reject, 1, NOW + 5};

    assert_false(h->ops->store(h, &b, &e));
    assert_int_equal(e.kind, ERR_RETRY);
    if (!strstr(e.text, words))
        fail_msg("'%s' does not contain '%s'", e.text, words);
}

/* Nothing of expect_refused, and of M1 this. */
static void expect_untouched(struct hot *h, const char *members, const char *latest)
{
    static const char *const m1_m9[] = {"M1", "M9"};
    struct err e = {0};
    struct hot_usage u;

    expect_members(h, m1_m9, 2, 0, INT64_MAX / 4, members);
    expect_latest(h, "M1", NOW, latest, NULL);
    expect_latest(h, "M8", 0, NULL, NULL);
    expect_latest(h, "M9", 0, NULL, NULL);
    expect_due(h, DUE + MINUTE_MS, 10, "0 ");
    check(h->ops->usage(h, &u, &e), &e);
    assert_true(u.quarantined == 0);
}

static const char fenced[] = "another process stores as site now";

static void the_last_that_took_a_name_stores_and_no_other(void **state)
{
    struct hot *first = *state, *second = open_second(first);

    take(first, "site", "one");
    store_one(first, "M1", M + 1000, "a");
    take(second, "site", "two");
    for (int i = 0; i < 3; i++)
        expect_refused(first, fenced);
    expect_untouched(first, "0=a ", "a");
    store_one(second, "M1", M + 2000, "b");
    store_one(second, "M1", M + 3000, "c");
    expect_refused(first, fenced);
    expect_untouched(second, "0=a 0=b 0=c ", "c");
    take(first, "site", "three");
    expect_refused(second, fenced);
    store_one(first, "M1", M + 4000, "d");
    expect_refused(second, fenced);
    expect_untouched(second, "0=a 0=b 0=c 0=d ", "d");
    second->ops->close(second);
}

static void one_that_never_stored_is_fenced_too(void **state)
{
    struct hot *first = *state, *second = open_second(first);

    take(first, "site", "one");
    take(second, "site", "two");
    store_one(second, "M1", M, "a");
    expect_refused(first, fenced);
    expect_untouched(first, "0=a ", "a");
    second->ops->close(second);
}

static void a_name_may_be_taken_again_by_its_holder(void **state)
{
    struct hot *h = *state;

    take(h, "site", "one");
    store_one(h, "M1", M, "a");
    take(h, "site", "one");
    store_one(h, "M1", M + 1, "b");
    take(h, "site", "two");
    store_one(h, "M1", M + 2, "c");
    expect_members(h, m1, 1, M, NEXT, "0=a 0=b 0=c ");
}

static void handles_of_another_name_or_of_none_are_not_fenced(void **state)
{
    struct hot *h = *state, *other = open_second(h), *nameless = open_second(h);

    take(other, "other", "o");
    store_one(other, "M1", M, "a");
    take(h, "site", "one");
    store_one(h, "M1", M + 1, "b");
    store_one(other, "M1", M + 2, "c");
    store_one(nameless, "M1", M + 3, "d");
    store_one(h, "M1", M + 4, "e");
    expect_members(h, m1, 1, M, NEXT, "0=a 0=b 0=c 0=d 0=e ");
    other->ops->close(other);
    nameless->ops->close(nameless);
}

/* What ingest asks on the same handle. */
static void talk_between(struct hot *h)
{
    struct err e = {0};
    int64_t times[TOPIC_COUNT];

    check(h->ops->latest_times(h, m1, 1, times, &e), &e);
    check(h->ops->put_health(h, "ingest", "{}", &e), &e);
}

static void other_calls_between_stores_do_not_lift_the_fence(void **state)
{
    struct hot *first = *state, *second = open_second(first);

    take(first, "site", "one");
    talk_between(first);
    store_one(first, "M1", M, "a");
    talk_between(first);
    store_one(first, "M1", M + 1, "b");
    talk_between(first);
    take(second, "site", "two");
    talk_between(first);
    expect_refused(first, fenced);
    talk_between(first);
    expect_untouched(first, "0=a 0=b ", "b");
    second->ops->close(second);
}

static void a_name_survives_a_restart_of_the_server(void **state)
{
    struct hot *first = *state, *second = open_second(first);

    take(first, "site", "one");
    store_one(first, "M1", M, "a");
    restart_server(first);
    notice_restart(first);
    notice_restart(second);
    store_one(first, "M1", M + 1, "b");
    restart_server(first);
    notice_restart(first);
    notice_restart(second);
    take(second, "site", "two");
    expect_refused(first, fenced);
    restart_server(first);
    notice_restart(first);
    notice_restart(second);
    expect_refused(first, fenced);
    expect_untouched(second, "0=a 0=b ", "b");
    store_one(second, "M1", M + 2, "c");
    second->ops->close(second);
}

/* ---- Only in memory ----------------------------------------------------------------------- */

static void a_store_told_to_fail_fails_before_or_after_the_call(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct hot_ids ids = {0};
    struct hot_put p = put("M1", M, "a");
    struct hot_batch b = {.puts = &p, .n_puts = 1, .now_ms = NOW};

    hot_ram_fail_next(h, 2, false);
    assert_false(h->ops->store(h, &b, &e));
    assert_int_equal(e.kind, ERR_RETRY);
    assert_false(h->ops->claim(h, M, "t", &ids, &e));
    expect_members(h, m1, 1, M, NEXT, "");
    hot_ram_fail_next(h, 2, true);
    assert_false(h->ops->store(h, &b, &e));
    assert_false(h->ops->claim(h, M, "t", &ids, &e));
    assert_int_equal(ids.n, 0);
    expect_members(h, m1, 1, M, NEXT, "0=a ");
    expect_claim(h, M, "t", "M1 ");
}

struct script {
    enum ram_fault fault;
    struct buf asked; /* names of the calls */
};

static enum ram_fault follow_script(void *ctx, const char *call)
{
    struct script *s = ctx;

    buf_addf(&s->asked, "%s ", call);
    return s->fault;
}

/* Every operation once, first those that write; how each went, as letters. */
static void call_all(struct hot *h, char went[32])
{
    struct hot_put p = put("M1", M, "a");
    struct hot_batch b = {.puts = &p, .n_puts = 1, .now_ms = NOW};
    struct hot_ids ids = {0};
    struct hot_latest l[1] = {{.meter_id = "NONE"}};
    struct hot_quarantined q[1];
    struct hot_durability d;
    struct hot_usage u;
    int64_t times[TOPIC_COUNT], due[1];
    struct buf text;
    struct err e;
    size_t n;

    buf_init(&text, 0);
    const bool ok[] = {
        h->ops->store(h, &b, &e),
        h->ops->claim(h, M, "t", &ids, &e),
        h->ops->recover(h, "t", &n, &e),
        h->ops->release(h, M, "t", NULL, 0, &e),
        h->ops->mark(h, NEXT, m1, 1, 1, &e),
        h->ops->trim(h, m1, 1, 0, 7200, &e),
        h->ops->drop_silent(h, l, 1, 0, &e),
        h->ops->put_health(h, "ingest", "{}", &e),
        h->ops->take_writer(h, "site", "one", &e),
        h->ops->latest_times(h, m1, 1, times, &e),
        h->ops->due_minutes(h, 0, due, 1, &n, &e),
        h->ops->read(h, m1, 1, M, NEXT, collect, &text, &e),
        h->ops->silent(h, 0, 1, l, &n, &e),
        h->ops->latest(h, m1, 1, l, &e),
        h->ops->meters(h, "", 0, &ids, &e),
        h->ops->get_health(h, &text, &e),
        h->ops->durability(h, &d, &e),
        h->ops->usage(h, &u, &e),
        h->ops->quarantine(h, 0, q, &n, &e),
    };
    for (size_t i = 0; i < sizeof ok; i++)
        went[i] = ok[i] ? '+' : '-';
    went[sizeof ok] = '\0';
    hot_latest_clear(l, 1);
    hot_ids_clear(&ids);
    buf_clear(&text);
}

static void every_call_asks_what_becomes_of_it(void **state)
{
    struct hot *h = *state;
    struct script script = {RAM_FINE};
    static const struct {
        enum ram_fault fault;
        const char *went;
        size_t members, waiting; /* afterwards */
    } cases[] = {
        {RAM_FAIL_BEFORE, "-------------------", 0, 0},
        {RAM_REFUSE, "---------++++++++++", 0, 0},
        {RAM_FAIL_AFTER, "-------------------", 1, 2},
        {RAM_FINE, "+++++++++++++++++++", 1, 2},
    };
    char went[32];

    buf_init(&script.asked, 0);
    hot_ram_set_faults(h, &(struct ram_faults){follow_script, &script});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        script.fault = cases[i].fault;
        buf_reset(&script.asked);
        call_all(h, went);
        assert_string_equal(went, cases[i].went);
        assert_string_equal(
            script.asked.data,
            "store claim recover release mark trim drop_silent put_health "
            "take_writer latest_times due_minutes read silent latest meters get_health "
            "durability usage quarantine ");
        struct hot_ram_counts counts = hot_ram_count(h);
        assert_int_equal(counts.members, cases[i].members);
        assert_int_equal(counts.minutes_waiting, cases[i].waiting);
        assert_int_equal(counts.minutes_claimed, 0);
    }
    script.fault = RAM_FAIL_BEFORE;
    hot_ram_set_faults(h, NULL);
    call_all(h, went);
    assert_string_equal(went, cases[3].went);
    buf_clear(&script.asked);
}

static void an_answer_may_break_off_between_two_meters(void **state)
{
    struct hot *h = *state;
    struct hot_put puts[] = {put("M1", M, "a"), put("M2", M, "b")};
    struct err e = {0};
    struct buf b;

    store(h, puts, 2, NOW);
    hot_ram_fail_next(h, 1, true);
    buf_init(&b, 0);
    assert_false(h->ops->read(h, m1_m2, 2, M, NEXT, collect, &b, &e));
    assert_string_equal(b.data, "0=a ");
    buf_clear(&b);
}

/* While the call of one process is on its way, another takes over. */
static enum ram_fault take_over(void *ctx, const char *call)
{
    struct hot *successor = ctx;

    (void)call;
    expect_recovered(successor, "new", 1);
    expect_claim(successor, M, "new", "M1 ");
    return RAM_FINE;
}

static void faults_are_those_of_one_handle_and_others_may_work_meanwhile(void **state)
{
    struct hot *h = *state, *successor = hot_ram_share(h);

    store_one(h, "M1", M, "a");
    expect_claim(h, M, "old", "M1 ");
    hot_ram_set_faults(h, &(struct ram_faults){take_over, successor});
    release(h, M, "old");
    assert_int_equal(hot_ram_count(successor).minutes_claimed, 1);
    hot_ram_set_faults(h, NULL);
    expect_claim(h, M, "new", "M1 ");
    successor->ops->close(successor);
}

static enum ram_fault take_name(void *ctx, const char *call)
{
    assert_string_equal(call, "store");
    take(ctx, "site", "two");
    return RAM_FINE;
}

static void a_store_that_is_stalled_while_its_name_is_taken_is_refused(void **state)
{
    struct hot *h = *state, *successor = hot_ram_share(h);

    take(h, "site", "one");
    store_one(h, "M1", M, "a");
    assert_false(hot_ram_is_fenced(h));
    hot_ram_set_faults(h, &(struct ram_faults){take_name, successor});
    expect_refused(h, fenced);
    hot_ram_set_faults(h, NULL);
    assert_true(hot_ram_is_fenced(h) && !hot_ram_is_fenced(successor));
    expect_untouched(h, "0=a ", "a");
    successor->ops->close(successor);
}

static void a_name_is_taken_though_the_answer_is_lost(void **state)
{
    struct hot *h = *state, *second = hot_ram_share(h);
    struct err e = {0};

    take(h, "site", "one");
    hot_ram_fail_next(second, 1, false);
    assert_false(second->ops->take_writer(second, "site", "two", &e));
    assert_int_equal(e.kind, ERR_RETRY);
    assert_true(!hot_ram_is_fenced(h) && hot_ram_is_fenced(second));
    hot_ram_fail_next(second, 1, true);
    assert_false(second->ops->take_writer(second, "site", "two", &e));
    assert_true(hot_ram_is_fenced(h) && !hot_ram_is_fenced(second));
    second->ops->close(second);
}

static void a_restart_fails_one_call_of_every_handle(void **state)
{
    struct hot *h = *state, *second = hot_ram_share(h);
    struct hot_usage u;
    struct err e = {0};

    hot_ram_restart(second);
    assert_false(h->ops->usage(h, &u, &e));
    assert_true(h->ops->usage(h, &u, &e));
    assert_false(second->ops->usage(second, &u, &e));
    assert_int_equal(e.kind, ERR_RETRY);
    assert_true(second->ops->usage(second, &u, &e));
    second->ops->close(second);
}

static void a_reading_that_nobody_trims_expires_after_seven_days(void **state)
{
    struct hot *h = *state;

    store_one(h, "M1", M, "a");
    ram_now_ms += 7 * DAY_MS;
    expect_members(h, m1, 1, M, NEXT, "0=a ");
    ram_now_ms += 1;
    assert_int_equal(hot_ram_count(h).members, 0);
    expect_members(h, m1, 1, M, NEXT, "");
    hot_ram_set_clock(h, NULL);
    store_one(h, "M1", M, "a");
    ram_now_ms += 70 * DAY_MS;
    expect_members(h, m1, 1, M, NEXT, "0=a ");
}

static void readings_survive_the_removal_of_many_beside_them(void **state)
{
    struct hot *h = *state;
    char text[256], expected[1024] = "";

    for (int i = 0; i < 300; i++) {
        int64_t minute_ms = M + i * MINUTE_MS;
        sprintf(text, "%0200d", 2 * i + 1);
        store_one(h, "M1", minute_ms + 30000, text);
        sprintf(text, "%0*d", i % 200, 2 * i); /* earlier, and stored later */
        store_one(h, "M1", minute_ms, text);
        expect_claim(h, minute_ms, "t", "M1 ");
        release(h, minute_ms, "t");
        trim(h, m1, 1, minute_ms);
        assert_int_equal(hot_ram_count(h).members, 2);
        assert_in_range(hot_ram_count(h).member_bytes, 400, 8000);
    }
    sprintf(expected, "0=%0*d 0=%0200d ", 99, 598, 599);
    expect_members(h, m1, 1, M, INT64_MAX / 4, expected);
}

static void the_newest_thousand_refused_messages_are_kept(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    static struct hot_quarantined q[1001];
    char detail[16];
    size_t n;
    struct hot_reject reject = {"not_json", detail, "t", 1, "", "{", 1, false};
    struct hot_batch b = {.rejects = &reject, .n_rejects = 1, .now_ms = NOW};

    for (int i = 0; i < 1003; i++) {
        sprintf(detail, "%d", i);
        check(h->ops->store(h, &b, &e), &e);
    }
    check(h->ops->quarantine(h, 1001, q, &n, &e), &e);
    assert_int_equal(n, 1000);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(atoi(q[i].detail), 1002 - i);
    hot_quarantined_clear(q, n);
}

/* ---- Only on Redis ------------------------------------------------------------------------ */

static void expect_failure(struct hot *h, const char *words)
{
    struct err e = {0};
    struct hot_put p = put("M1", M, "a");
    struct hot_batch b = {.puts = &p, .n_puts = 1, .now_ms = NOW};

    assert_false(h->ops->store(h, &b, &e));
    assert_int_equal(e.kind, ERR_RETRY);
    if (!strstr(e.text, words))
        fail_msg("'%s' does not contain '%s'", e.text, words);
}

static void the_keys_are_those_of_the_documentation(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct hot_put puts[] = {put("M1", M + 10000, "one"), put("M1", M + 20000, "two")};
    struct hot_reject reject = {"too_old", "d", "t", 1, "M1", "{}", 2, true};
    struct hot_batch b = {puts, 2, &reject, 1, NOW};

    check(h->ops->store(h, &b, &e), &e);
    assert_string_equal(ask("HGETALL telemetry:latest:data"), "M1 two ");
    assert_string_equal(ask("ZRANGE telemetry:timeseries:M1 0 -1 WITHSCORES"),
                        "one 1761452830000 two 1761452840000 ");
    assert_string_equal(ask("TTL telemetry:timeseries:M1"), "604800");
    assert_string_equal(ask("ZRANGE telemetry:seen 0 -1 WITHSCORES"), "M1 1761452890123 ");
    assert_string_equal(ask("ZRANGE telemetry:dirty 0 -1 WITHSCORES"), "1761452820 1761452890000 ");
    assert_string_equal(ask("SMEMBERS telemetry:dirty:1761452820"), "M1 ");
    assert_string_equal(ask("TTL telemetry:dirty:1761452820"), "-1");
    assert_string_equal(ask("XLEN telemetry:quarantine"), "1");
    redisReply *r = redisCommand(server.raw, "XRANGE telemetry:quarantine - +");
    static const char *const fields[] = {"reason", "too_old", "detail", "d",  "topic",   "t",
                                         "meter",  "M1",      "at",     NULL, "payload", "{}"};
    assert_int_equal(r->element[0]->element[1]->elements, 12);
    for (size_t i = 0; i < 12; i++)
        if (fields[i])
            assert_string_equal(r->element[0]->element[1]->element[i]->str, fields[i]);
    assert_string_equal(r->element[0]->element[1]->element[9]->str, "2025-10-26T04:28:10.123Z");
    freeReplyObject(r);
    expect_claim(h, M, "tok", "M1 ");
    assert_string_equal(ask("SMEMBERS telemetry:work"), "1761452820:tok ");
    assert_string_equal(ask("SMEMBERS telemetry:work:1761452820:tok"), "M1 ");
    assert_string_equal(ask("EXISTS telemetry:dirty telemetry:dirty:1761452820"), "0");
    check(h->ops->put_health(h, "ingest", "{}", &e), &e);
    assert_string_equal(ask("HGET telemetry:health ingest"), "{}");
}

static void a_series_expires_only_when_nothing_of_its_meter_waits(void **state)
{
    struct hot *h = *state;
    struct hot_put puts[] = {put("M1", M, "a"), put("M2", NEXT, "b")};

    store(h, puts, 2, NOW);
    trim(h, m1, 1, M);
    assert_string_equal(ask("TTL telemetry:timeseries:M1"), "604800");
    expect_claim(h, M, "t", "M1 ");
    trim(h, m1, 1, M);
    assert_string_equal(ask("TTL telemetry:timeseries:M1"), "604800");
    release(h, M, "t");
    trim(h, m1_m2, 2, M);
    assert_string_equal(ask("TTL telemetry:timeseries:M1"), "7200");
    assert_string_equal(ask("TTL telemetry:timeseries:M2"), "604800");
    ask("EXPIRE telemetry:timeseries:M1 100");
    trim(h, m1, 1, M);
    assert_string_equal(ask("TTL telemetry:timeseries:M1"), "100"); /* not put off */
    store(h, puts, 1, NOW);
    assert_string_equal(ask("TTL telemetry:timeseries:M1"), "604800");
}

static void a_hundred_thousand_meters_can_be_claimed(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    enum { N = 100000 };
    char(*names)[METER_ID_SIZE] = calloc(N, sizeof *names);
    const char **ids = calloc(N, sizeof *ids);
    struct hot_ids out = {0};

    for (size_t i = 0; i < N; i++) {
        sprintf(names[i], "METER%06zu", (i * 7919) % N);
        ids[i] = names[i];
    }
    check(h->ops->mark(h, M, ids, N, 1, &e), &e);
    check(h->ops->claim(h, M, "t", &out, &e), &e);
    assert_int_equal(out.n, N);
    for (size_t i = 0; i < N; i += 999) {
        char expected[METER_ID_SIZE];
        sprintf(expected, "METER%06zu", i);
        assert_string_equal(out.ids[i], expected);
    }
    check(h->ops->release(h, M, "t", &out, 5, &e), &e);
    assert_string_equal(ask("SCARD telemetry:dirty:1761452820"), "100000");
    hot_ids_clear(&out);
    free(ids);
    free(names);
}

static void a_refused_command_fails_the_batch_with_the_words_of_redis(void **state)
{
    ask("SET telemetry:timeseries:M1 x");
    expect_failure(*state, "WRONGTYPE");
    ask("DEL telemetry:timeseries:M1");
    store_one(*state, "M1", M, "a");
}

static void a_full_server_refuses_readings_but_lets_work_go_on(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct hot_ids again = {0};

    store_one(h, "M1", M, "a");
    store_one(h, "M2", NEXT, "b");
    ask("CONFIG SET maxmemory 1mb");
    expect_failure(h, "OOM");
    expect_claim(h, M, "t", "M1 ");
    expect_recovered(h, "t", 1);
    expect_claim(h, M, "t", "M1 ");
    hot_ids_add(&again, "M3", 2);
    check(h->ops->release(h, M, "t", &again, 1, &e), &e);
    check(h->ops->mark(h, NEXT, m1, 1, 1, &e), &e);
    expect_claim(h, M, "t", "M3 ");
    release(h, M, "t");
    expect_claim(h, NEXT, "t", "M1 M2 ");
    release(h, NEXT, "t");
    trim(h, m1, 1, NEXT);
    expect_members(h, m1, 1, M, NEXT, "");
    struct hot_latest l = {.meter_id = "M1"};
    check(h->ops->drop_silent(h, &l, 1, NOW + 1, &e), &e);
    expect_latest(h, "M1", 0, NULL, NULL);
    ask("CONFIG SET maxmemory 0");
    hot_ids_clear(&again);
}

static void what_was_confirmed_survives_the_kill_of_the_server(void **state)
{
    struct hot *h = *state;

    store_one(h, "M1", M + 1, "a");
    kill_server();
    expect_failure(h, server.socket);
    expect_failure(h, "cannot connect");
    start_server();
    expect_members(h, m1, 1, M, NEXT, "0=a ");
    expect_claim(h, M, "t", "M1 ");
    store_one(h, "M1", M + 2, "b");
}

/* Commands the server has carried out, this question included; what MULTI queued is not. */
static int64_t commands_processed(void)
{
    redisReply *r = redisCommand(server.raw, "INFO stats");
    const char *at = strstr(r->str, "total_commands_processed:");
    int64_t n = atoll(at + strlen("total_commands_processed:"));

    freeReplyObject(r);
    return n;
}

static void a_name_is_a_key_without_expiry_watched_ahead_of_the_store(void **state)
{
    struct hot *h = *state;

    take(h, "site", "one");
    assert_string_equal(ask("GET telemetry:writer:site"), "one");
    assert_string_equal(ask("TTL telemetry:writer:site"), "-1");
    ask("SET telemetry:writer:site two");
    expect_refused(h, "another process stores as site now");
    take(h, "site", "three");
    store_one(h, "M1", M, "a");
    ask("SET telemetry:writer:site four"); /* the watch is older than that */
    int64_t before = commands_processed();
    expect_refused(h, "another process stores as site now");
    assert_int_equal(commands_processed() - before, 5); /* MULTI, EXEC, WATCH, GET; INFO */
    before = commands_processed();
    expect_refused(h, "another process stores as site now");
    assert_int_equal(commands_processed() - before, 1); /* known without asking */
    assert_string_equal(ask("EXISTS telemetry:quarantine telemetry:timeseries:M9"), "0");
    expect_members(h, m1, 1, M, NEXT, "0=a ");
}

static void a_connection_made_anew_is_watched_anew(void **state)
{
    struct hot *h = *state;

    take(h, "site", "one");
    store_one(h, "M1", M, "a");
    ask("CLIENT KILL TYPE normal SKIPME yes");
    ask("SET telemetry:writer:site two");
    notice_restart(h);
    expect_refused(h, "another process stores as site now");
    ask("SET telemetry:writer:site one");
    ask("CLIENT KILL TYPE normal SKIPME yes");
    notice_restart(h);
    expect_refused(h, "another process stores as site now"); /* until it takes the name again */
    take(h, "site", "three");
    store_one(h, "M1", M + 1, "b");
    expect_members(h, m1, 1, M, NEXT, "0=a 0=b ");
}

static void one_that_failed_to_take_a_name_is_fenced(void **state)
{
    struct hot *h = *state;
    struct err e = {0};

    kill_server();
    assert_false(h->ops->take_writer(h, "site", "one", &e));
    assert_int_equal(e.kind, ERR_RETRY);
    start_server();
    ask("SET telemetry:writer:site two");
    expect_refused(h, "another process stores as site now");
    take(h, "site", "three");
    store_one(h, "M1", M, "a");
}

static void a_server_that_lost_its_data_fences_nobody(void **state)
{
    struct hot *h = *state;

    take(h, "site", "one");
    store_one(h, "M1", M, "a");
    ask("FLUSHALL");
    expect_refused(h, "who stores as site was changed meanwhile");
    expect_members(h, m1, 1, M, NEXT, "");
    store_one(h, "M1", M + 1, "b");
    expect_members(h, m1, 1, M, NEXT, "0=b ");
    ask("SET telemetry:writer:site two");
    expect_refused(h, "another process stores as site now");
}

static void a_refused_batch_under_a_name_may_be_repeated(void **state)
{
    struct hot *h = *state;

    take(h, "site", "one");
    ask("SET telemetry:timeseries:M1 x");
    expect_failure(h, "WRONGTYPE");
    ask("DEL telemetry:timeseries:M1");
    store_one(h, "M1", M, "a");
    expect_members(h, m1, 1, M, NEXT, "0=a ");
}

static void a_server_with_users_databases_and_tcp_is_reached(void **state)
{
    char url[128];

    (void)state;
    ask("ACL SETUSER u on >p:w%%/@ ~* &* +@all");
    sprintf(url, "redis://u:p%%3aw%%25%%2F%%40@127.0.0.1:%d/3", server.port);
    struct hot *h = open_url(url, 5000);
    store_one(h, "M1", M, "a");
    ask("SELECT 3");
    assert_string_equal(ask("ZCARD telemetry:timeseries:M1"), "1");
    ask("SELECT 0");
    h->ops->close(h);
    ask("ACL DELUSER u");
}

static void no_error_tells_the_password(void **state)
{
    static const char *const urls[] = {
        "http://u:hush@h",
        "redis://u:hush@",
        "redis://u:hush%zz@h",
        "redis://u:hush@h:99999",
        "redis://u:hush@h:1/x",
        "redis://u:hush@[::1",
        "unix://hush",
        "unix:hush",
        "hush",
        "redis://u:hush@h:",
        "redis://u:hush@h:0",
    };
    struct err e = {0};
    char url[128];

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        if (hot_redis_open(&(struct hot_redis_options){.url = urls[i]}, &e))
            fail_msg("%s: accepted", urls[i]);
        assert_int_equal(e.kind, ERR_FATAL);
        assert_null(strstr(e.text, "hush"));
    }
    sprintf(url, "redis://hush:hush@127.0.0.1:%d", server.port);
    struct hot *h = open_url(url, 5000);
    struct hot_usage u;
    assert_false(h->ops->usage(h, &u, &e));
    assert_int_equal(e.kind, ERR_RETRY);
    assert_non_null(strstr(e.text, "WRONGPASS"));
    assert_null(strstr(e.text, "hush"));
    h->ops->close(h);
}

static void weaker_durability_is_told_in_words(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct hot_durability d;
    static const struct {
        const char *set, *reset, *words;
    } cases[] = {
        {"CONFIG SET appendfsync everysec", "CONFIG SET appendfsync always", "appendfsync"},
        {"CONFIG SET appendonly no", "CONFIG SET appendonly yes", "appendonly"},
        {"CONFIG SET maxmemory 1gb maxmemory-policy allkeys-lru",
         "CONFIG SET maxmemory 0 maxmemory-policy noeviction", "maxmemory-policy"},
        {"ACL SETUSER default -config", "ACL SETUSER default +config", "does not tell"},
    };

    check(h->ops->durability(h, &d, &e), &e);
    assert_true(d.sound);
    assert_string_equal(d.text, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(ask(cases[i].set), "OK");
        check(h->ops->durability(h, &d, &e), &e);
        assert_string_equal(ask(cases[i].reset), "OK");
        assert_false(d.sound);
        assert_non_null(strstr(d.text, cases[i].words));
    }
}

/* A server of one connection that answers anything with these bytes and then waits. */
static pid_t start_liar(const char *path, const char *answer, bool hang_up)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(a.sun_path, path);
    unlink(path);
    assert_true(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char piece[4096];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int peer = accept(fd, NULL, NULL);
        if (read(peer, piece, sizeof piece) > 0 && *answer)
            (void)!write(peer, answer, strlen(answer));
        if (!hang_up)
            sleep(20);
        _exit(0);
    }
    close(fd);
    return pid;
}

static void a_server_that_talks_nonsense_or_not_at_all_is_an_error(void **state)
{
    static const struct {
        const char *answer;
        bool hang_up;
        const char *words;
    } cases[] = {
        {"-LOADING Redis is loading the dataset in memory\r\n", false, "LOADING"},
        {"-NOAUTH Authentication required.\r\n", false, "NOAUTH"},
        {"+OK\r\n+QUEUED\r\n", false, "no answer within 100 ms"},
        {"+OK\r\n+QUEUED\r\n+QUE", true, "closed"},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", false, "Protocol error"},
        {":1\r\n", false, "type"},
        {"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n", false,
         "type"},
        {"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*1\r\n"
         "-MISCONF Errors writing to the AOF file\r\n",
         false, "MISCONF"},
    };
    char path[128], url[160];

    (void)state;
    sprintf(path, "%s/liar", server.folder);
    sprintf(url, "unix://%s", path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pid_t pid = start_liar(path, cases[i].answer, cases[i].hang_up);
        struct hot *h = open_url(url, 100);
        expect_failure(h, cases[i].words);
        h->ops->close(h);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

static void the_quarantine_is_capped(void **state)
{
    struct hot *h = *state;
    struct err e = {0};
    struct hot_usage u;
    static char payload[2048];
    struct hot_reject reject = {"not_json", "", "t", 1, "", payload, sizeof payload, false};
    struct hot_batch b = {.rejects = &reject, .n_rejects = 1, .now_ms = NOW};

    for (int i = 0; i < 1000; i++)
        check(h->ops->store(h, &b, &e), &e);
    check(h->ops->usage(h, &u, &e), &e);
    assert_in_range(u.quarantined, 400, 520); /* 1 MiB in entries of 2,600 bytes is 403, about */
    assert_true(u.memory_bytes > 1000000);
}

/* ---- All ---------------------------------------------------------------------------------- */

#define CONTRACT(open)                                                                             \
    ON(open, what_is_stored_can_be_read), ON(open, an_empty_batch_is_stored),                      \
        ON(open, storing_again_changes_nothing),                                                   \
        ON(open, the_last_of_several_messages_of_a_meter_is_the_latest),                           \
        ON(open, members_come_by_meter_and_rising_time_from_inclusive_to_exclusive),               \
        ON(open, any_bytes_survive), ON(open, a_minute_is_due_ten_seconds_after_its_end),          \
        ON(open, due_minutes_rise_and_are_bounded),                                                \
        ON(open, a_reading_marks_every_minute_it_names),                                           \
        ON(open, marking_makes_a_minute_due_earlier_never_later),                                  \
        ON(open, a_claim_takes_the_meters_in_order_and_leaves_the_list),                           \
        ON(open, a_claim_of_a_quiet_minute_is_empty_and_leaves_nothing_to_recover),                \
        ON(open, a_claim_repeated_after_a_lost_answer_gives_the_same_work),                        \
        ON(open, a_message_that_comes_while_its_minute_is_computed_marks_it_anew),                 \
        ON(open, work_left_behind_goes_back_into_the_list),                                        \
        ON(open, meters_released_for_another_round_are_due_again),                                 \
        ON(open, trimming_removes_what_is_before_the_cutoff),                                      \
        ON(open, trimming_keeps_what_a_waiting_minute_and_its_borders_need),                       \
        ON(open, trimming_keeps_the_minute_beside_one_that_waits_after_the_cutoff),                \
        ON(open, trimming_goes_on_while_many_minutes_wait),                                        \
        ON(open, trimming_removes_at_most_64_of_a_meter_at_once),                                  \
        ON(open, a_silent_meter_leaves_unless_it_is_heard_again),                                  \
        ON(open, meters_are_paged_in_byte_order),                                                  \
        ON(open, health_is_one_object_of_the_newest_lines),                                        \
        ON(open, refused_messages_are_kept_newest_first_and_cut),                                  \
        ON(open, use_of_the_store_is_told), ON(open, newest_message_times_are_known_by_topic),     \
        ON(open, processes_share_one_store),                                                       \
        ON(open, one_that_was_stalled_deletes_nothing_of_its_successor),                           \
        ON(open, what_was_confirmed_survives_a_restart_of_the_server),                             \
        ON(open, a_series_expires_when_nothing_of_its_meter_waits),                                \
        ON(open, the_last_that_took_a_name_stores_and_no_other),                                   \
        ON(open, one_that_never_stored_is_fenced_too),                                             \
        ON(open, a_name_may_be_taken_again_by_its_holder),                                         \
        ON(open, handles_of_another_name_or_of_none_are_not_fenced),                               \
        ON(open, other_calls_between_stores_do_not_lift_the_fence),                                \
        ON(open, a_name_survives_a_restart_of_the_server)
#define ON(open, test) cmocka_unit_test_setup_teardown(test, open, close_hot)

int main(void)
{
    const struct CMUnitTest in_ram[] = {
        CONTRACT(open_ram),
        ON(open_ram, a_store_told_to_fail_fails_before_or_after_the_call),
        ON(open_ram, every_call_asks_what_becomes_of_it),
        ON(open_ram, an_answer_may_break_off_between_two_meters),
        ON(open_ram, faults_are_those_of_one_handle_and_others_may_work_meanwhile),
        ON(open_ram, a_store_that_is_stalled_while_its_name_is_taken_is_refused),
        ON(open_ram, a_name_is_taken_though_the_answer_is_lost),
        ON(open_ram, a_restart_fails_one_call_of_every_handle),
        ON(open_ram, a_reading_that_nobody_trims_expires_after_seven_days),
        ON(open_ram, readings_survive_the_removal_of_many_beside_them),
        ON(open_ram, the_newest_thousand_refused_messages_are_kept),
    };
    const struct CMUnitTest in_redis[] = {
        CONTRACT(open_redis),
        ON(open_redis, the_keys_are_those_of_the_documentation),
        ON(open_redis, a_series_expires_only_when_nothing_of_its_meter_waits),
        ON(open_redis, a_hundred_thousand_meters_can_be_claimed),
        ON(open_redis, a_refused_command_fails_the_batch_with_the_words_of_redis),
        ON(open_redis, a_full_server_refuses_readings_but_lets_work_go_on),
        ON(open_redis, what_was_confirmed_survives_the_kill_of_the_server),
        ON(open_redis, a_name_is_a_key_without_expiry_watched_ahead_of_the_store),
        ON(open_redis, a_connection_made_anew_is_watched_anew),
        ON(open_redis, one_that_failed_to_take_a_name_is_fenced),
        ON(open_redis, a_server_that_lost_its_data_fences_nobody),
        ON(open_redis, a_refused_batch_under_a_name_may_be_repeated),
        ON(open_redis, a_server_with_users_databases_and_tcp_is_reached),
        ON(open_redis, no_error_tells_the_password),
        ON(open_redis, weaker_durability_is_told_in_words),
        ON(open_redis, a_server_that_talks_nonsense_or_not_at_all_is_an_error),
        ON(open_redis, the_quarantine_is_capped),
    };
    int failed = cmocka_run_group_tests_name("in memory", in_ram, NULL, NULL);

    if (system("command -v redis-server >/dev/null") != 0) {
        puts("redis-server is not installed: the tests on Redis are left out");
        return failed;
    }
    return failed +
           cmocka_run_group_tests_name("on Redis", in_redis, setup_server, teardown_server);
}
