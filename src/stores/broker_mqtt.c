#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "stores/broker.h"
#include "stores/mqtt_link.h"
#include "stores/mqtt_session.h"

/*
 * The largest packet taken, announced to the broker. Far above any reading: what is only too large
 * for a meter is to be seen and counted by the stage, not dropped unseen by the broker.
 */
#define PACKET_MOST ((size_t)2 << 20)

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MOST_MS = 5000,
    STABLE_MS = 5000,  /* a connection that lasted so long was a good one */
    GOODBYE_MS = 1000, /* for the last acknowledgements to arrive */
    COMPLAIN_EVERY_MS = 600000,
};

enum {
    DEFAULT_SESSION_EXPIRY_S = 7 * 86400,
    DEFAULT_RECEIVE_MAXIMUM = 1000,
    DEFAULT_KEEP_ALIVE_S = 30,
    DEFAULT_CONNECT_TIMEOUT_MS = 5000,
    DEFAULT_PENDING_BYTES = 32 << 20,
};

enum phase { PHASE_WAITING, PHASE_OPENING, PHASE_RUNNING };

struct broker_mqtt {
    struct broker base;
    struct url url;
    char *client_id;
    struct mqtt_link *link;
    struct mqtt_session *session;
    enum phase phase;
    struct backoff backoff;
    int connect_timeout_ms;
    int64_t started_ms; /* when this attempt to connect began */
    int64_t retry_ms;   /* when the next one begins */
    bool announced;     /* that this connection is ready */
    uint64_t losses_told, violations_told;
    struct log_gate violations_gate;
};

static int64_t mono_ms(void)
{
    return clock_mono_ms(clock_system());
}

static struct broker_mqtt *self(struct broker *b)
{
    return (struct broker_mqtt *)b;
}

static struct broker_stats session_stats(const struct broker_mqtt *m)
{
    struct broker_stats stats;

    mqtt_session_stats(m->session, &stats);
    return stats;
}

/* ---- One connection ------------------------------------------------------------------------- */

static bool flush(struct broker_mqtt *m, struct err *e)
{
    size_t len;
    const char *bytes;

    while ((bytes = mqtt_session_output(m->session, &len))) {
        long n = mqtt_link_write(m->link, bytes, len, e);
        if (n < 0)
            return false;
        if (n == 0)
            return true;
        mqtt_session_sent(m->session, (size_t)n);
    }
    return true;
}

/* Close, say when the next attempt will be, and arrange for it. Returns -1. */
static int lose_connection(struct broker_mqtt *m, const struct err *why, struct err *e)
{
    int64_t now_ms = mono_ms();

    if (m->phase == PHASE_RUNNING)
        flush(m, NULL);
    mqtt_link_close(m->link);
    if (m->announced && now_ms - m->started_ms >= STABLE_MS)
        backoff_reset(&m->backoff);
    int64_t wait_ms = backoff_next_ms(&m->backoff);
    m->retry_ms = now_ms + wait_ms;
    m->phase = PHASE_WAITING;
    err_set(e, why->kind, "%s: %s; next attempt in %lld ms", m->url.name, why->text,
            (long long)wait_ms);
    return -1;
}

static void announce(struct broker_mqtt *m)
{
    uint64_t losses = session_stats(m).sessions_lost;

    m->announced = true;
    log_info("%s: connected as %s, the session %s", m->url.name, m->client_id,
             mqtt_session_resumed(m->session) ? "goes on" : "is new");
    if (losses > m->losses_told)
        log_warn("%s: the broker has lost the session of %s; messages it had queued for it are "
                 "gone",
                 m->url.name, m->client_id);
    m->losses_told = losses;
}

static void tell_violations(struct broker_mqtt *m, int64_t now_ms)
{
    uint64_t violations = session_stats(m).window_violations;
    uint64_t left_out;

    if (violations == m->violations_told ||
        !log_gate_open(&m->violations_gate, now_ms, COMPLAIN_EVERY_MS, &left_out))
        return;
    log_warn("%s: the broker sends more than the Receive Maximum (%llu messages so far); mosquitto "
             "before 2.0.13 does, no message is lost by it",
             m->url.name, (unsigned long long)violations);
    m->violations_told = violations;
}

/*
 * Read until there is enough for the caller, nothing more to read, or no room. most 0: the caller
 * takes nothing now, but what arrives is read all the same, to hear the broker's answers.
 */
static bool read_messages(struct broker_mqtt *m, int most, bool *drained, struct err *e)
{
    size_t enough = most > 0 ? (size_t)most : SIZE_MAX;
    size_t room;
    char *to;

    *drained = false;
    if (!mqtt_session_received(m->session, 0, mono_ms(), e))
        return false;
    while (!*drained && mqtt_session_waiting(m->session) < enough &&
           (to = mqtt_session_space(m->session, &room))) {
        long n = mqtt_link_read(m->link, to, room, e);
        if (n < 0 || !mqtt_session_received(m->session, (size_t)n, mono_ms(), e))
            return false;
        *drained = mqtt_link_drained(m->link);
    }
    return true;
}

static bool step_waiting(struct broker_mqtt *m, int most, struct err *e)
{
    int64_t now_ms = mono_ms();

    (void)most;
    if (now_ms < m->retry_ms)
        return true;
    m->started_ms = now_ms;
    m->announced = false;
    m->phase = PHASE_OPENING;
    return mqtt_link_connect(m->link, e);
}

static bool is_late(const struct broker_mqtt *m, const char *missing, struct err *e)
{
    if (mono_ms() - m->started_ms < m->connect_timeout_ms)
        return false;
    err_set(e, ERR_RETRY, "no %s within %d ms", missing, m->connect_timeout_ms);
    return true;
}

static bool step_opening(struct broker_mqtt *m, int most, struct err *e)
{
    (void)most;
    switch (mqtt_link_advance(m->link, e)) {
    case MQTT_LINK_FAILED:
        return false;
    case MQTT_LINK_OPENING:
        return !is_late(m, mqtt_link_waits_for(m->link), e);
    case MQTT_LINK_OPEN:
        break;
    }
    m->phase = PHASE_RUNNING;
    mqtt_session_connect(m->session, mono_ms());
    return flush(m, e);
}

static bool step_running(struct broker_mqtt *m, int most, struct err *e)
{
    bool drained;

    if (mqtt_link_hung_up(m->link))
        return err_set(e, ERR_RETRY, "the broker closed the connection");
    if (!read_messages(m, most, &drained, e))
        return false;
    int64_t now_ms = mono_ms();
    if (!mqtt_session_tick(m->session, now_ms, drained, e) || !flush(m, e))
        return false;
    tell_violations(m, now_ms);
    if (m->announced)
        return true;
    if (!mqtt_session_ready(m->session))
        return !is_late(m, mqtt_session_waits_for(m->session), e);
    announce(m);
    return true;
}

static bool (*const steps[])(struct broker_mqtt *m, int most, struct err *e) = {
    [PHASE_WAITING] = step_waiting,
    [PHASE_OPENING] = step_opening,
    [PHASE_RUNNING] = step_running,
};

/* When the connection wants to be looked at again, even if nothing arrives. */
static int64_t due_ms(const struct broker_mqtt *m)
{
    int64_t due = m->phase == PHASE_WAITING ? m->retry_ms : m->started_ms + m->connect_timeout_ms;

    if (m->phase != PHASE_RUNNING)
        return due;
    int64_t tick_ms = mqtt_session_due_ms(m->session);
    return m->announced || tick_ms < due ? tick_ms : due;
}

static enum mqtt_link_event wait_until(struct broker_mqtt *m, int64_t until_ms)
{
    size_t unsent, room;
    int64_t due = due_ms(m);
    int64_t wait_ms = (due < until_ms ? due : until_ms) - mono_ms();

    mqtt_session_output(m->session, &unsent);
    bool to_read = mqtt_session_space(m->session, &room);
    return mqtt_link_wait(m->link, to_read, unsent > 0, wait_ms < 0 ? 0 : (int)wait_ms);
}

/* ---- The broker ----------------------------------------------------------------------------- */

static int receive(struct broker *b, struct broker_message *out, int most, int wait_ms,
                   struct err *e)
{
    struct broker_mqtt *m = self(b);
    int64_t until_ms = mono_ms() + (wait_ms > 0 ? wait_ms : 0);
    struct err why;

    for (;;) {
        enum phase before = m->phase;
        if (!steps[m->phase](m, most, &why))
            return lose_connection(m, &why, e);
        if (m->phase != before)
            continue;
        int n = mqtt_session_take(m->session, out, most);
        if (n > 0 || mono_ms() >= until_ms || wait_until(m, until_ms) == MQTT_LINK_INTERRUPTED)
            return n;
    }
}

static bool acknowledge(struct broker *b, struct err *e)
{
    struct broker_mqtt *m = self(b);
    struct err why;

    if (m->phase != PHASE_RUNNING)
        return true;
    mqtt_session_acknowledge(m->session);
    if (flush(m, &why))
        return true;
    lose_connection(m, &why, e);
    return false;
}

static void stats(const struct broker *b, struct broker_stats *out)
{
    const struct broker_mqtt *m = (const struct broker_mqtt *)b;

    mqtt_session_stats(m->session, out);
    out->connected = out->connected && m->phase == PHASE_RUNNING;
}

/*
 * The broker closes once it has read everything up to DISCONNECT. Without waiting for that, the
 * last acknowledgements would be lost when the same client id comes back at once, or when bytes
 * that nobody reads make the kernel reset the connection.
 */
static void say_goodbye(struct broker_mqtt *m)
{
    int64_t until_ms = mono_ms() + GOODBYE_MS;
    char ignored[4096];
    size_t unsent;

    mqtt_session_disconnect(m->session);
    while (flush(m, NULL) && mqtt_link_read(m->link, ignored, sizeof ignored, NULL) >= 0) {
        int64_t left_ms = until_ms - mono_ms();
        if (left_ms <= 0)
            return;
        mqtt_session_output(m->session, &unsent);
        mqtt_link_wait(m->link, true, unsent > 0, (int)left_ms);
    }
}

static void close_broker(struct broker *b)
{
    struct broker_mqtt *m = self(b);

    if (m->phase == PHASE_RUNNING)
        say_goodbye(m);
    mqtt_link_free(m->link);
    mqtt_session_free(m->session);
    url_clear(&m->url);
    free(m->client_id);
    free(m);
}

static const struct broker_ops ops = {
    .receive = receive, .acknowledge = acknowledge, .stats = stats, .close = close_broker};

static struct mqtt_session_options session_options(const struct broker_mqtt_options *o,
                                                   const struct url *url)
{
    struct mqtt_session_options s = {
        .client_id = o->client_id,
        .user = url->user,
        .password = url->password,
        .topics = o->topics,
        .share_group = o->share_group,
        .session_expiry_s = o->session_expiry_s ? o->session_expiry_s : DEFAULT_SESSION_EXPIRY_S,
        .receive_maximum = o->receive_maximum ? o->receive_maximum : DEFAULT_RECEIVE_MAXIMUM,
        .keep_alive_s = o->keep_alive_s ? o->keep_alive_s : DEFAULT_KEEP_ALIVE_S,
        .packet_most = PACKET_MOST,
        .pending_messages_most = o->pending_messages_most,
        .pending_bytes_most = o->pending_bytes_most ? o->pending_bytes_most : DEFAULT_PENDING_BYTES,
    };

    if (s.pending_messages_most == 0)
        s.pending_messages_most = (size_t)2 * s.receive_maximum;
    return s;
}

/* Retries of several workers must not fall together, whatever started them. */
static uint64_t seed_from(const struct broker_mqtt_options *o)
{
    uint64_t seed = (uint64_t)clock_wall_ms(clock_system());

    for (const char *p = o->client_id; *p; p++)
        seed = seed * 31 + (unsigned char)*p;
    return seed;
}

struct broker *broker_mqtt_open(const struct broker_mqtt_options *o, struct err *e)
{
    struct mqtt_link_files files = {.ca = o->ca_file, .cert = o->cert_file, .key = o->key_file};
    struct broker_mqtt *m = xcalloc(1, sizeof *m);

    m->base.ops = &ops;
    if (!url_parse(o->url, URL_MQTT, &m->url, e))
        goto failed;
    struct mqtt_session_options so = session_options(o, &m->url);
    m->session = mqtt_session_new(&so, e);
    if (!m->session)
        goto failed;
    m->link = mqtt_link_new(&m->url, &files, e);
    if (!m->link)
        goto failed;
    m->client_id = xstrdup(o->client_id);
    m->connect_timeout_ms =
        o->connect_timeout_ms > 0 ? o->connect_timeout_ms : DEFAULT_CONNECT_TIMEOUT_MS;
    m->backoff = (struct backoff){
        .first_ms = RETRY_FIRST_MS, .most_ms = RETRY_MOST_MS, .state = seed_from(o)};
    return &m->base;

failed:
    close_broker(&m->base);
    return NULL;
}
