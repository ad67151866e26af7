#include "meter/sim/publisher.h"

#include <errno.h>
#include <mosquitto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    /*
     * Unconfirmed messages a connection. mosquitto loses QoS 2 messages of a client that has more
     * of them in flight than its max_inflight_messages (default 20), although it confirms them:
     * seen with 2.0.11.
     */
    WINDOW = 20,
    ROOM = 100, /* messages waiting at a connection, so that it never has to wait for the world */
    KEEPALIVE_S = 60,
    MISC_MS = 1000,
    CONNECT_MS = 10000, /* no answer to CONNECT for so long: try again */
};

struct message {
    struct message *next;
    size_t meter;
    int mid;
    struct audit_line line;
    size_t len;
    char json[];
};

struct list {
    struct message *first, **end;
    size_t n;
};

enum link {
    LINK_DOWN,
    LINK_CONNECTING,
    LINK_UP,
};

struct connection {
    struct publisher *owner;
    char id[96];
    struct mosquitto *mosq;
    enum link link;
    const char *refusal; /* what the broker says against us, NULL: nothing */
    bool session_lost;
    int64_t next_ms;  /* LINK_DOWN: time of the next attempt; LINK_CONNECTING: when to give up */
    int64_t failures; /* attempts that failed before the present or next connection */
    struct backoff backoff;
    struct list queue, flying;
};

struct publisher {
    struct publisher_config config;
    struct connection *connection;
    struct pollfd *poll;
    uint8_t *thin_turn; /* by meter and topic: the next one stays */
    int64_t misc_ms;
    struct log_gate gate;
    struct publisher_counts counts;
};

static int64_t mono_ms(void)
{
    return clock_mono_ms(clock_system());
}

/* ---- Lists -------------------------------------------------------------------------------- */

static void list_init(struct list *l)
{
    *l = (struct list){.end = &l->first};
}

static void list_append(struct list *l, struct message *m)
{
    m->next = NULL;
    *l->end = m;
    l->end = &m->next;
    l->n++;
}

/* Take out the message at *link. */
static struct message *list_take(struct list *l, struct message **link)
{
    struct message *m = *link;

    *link = m->next;
    if (l->end == &m->next)
        l->end = link;
    l->n--;
    return m;
}

/* Everything of `front` before everything of `back`; front becomes empty. */
static void list_prepend(struct list *back, struct list *front)
{
    if (!front->first)
        return;
    *front->end = back->first;
    if (back->first)
        front->end = back->end;
    back->first = front->first;
    back->end = front->end;
    back->n += front->n;
    list_init(front);
}

/* ---- Client library callbacks ------------------------------------------------------------- */

static void on_connect(struct mosquitto *mosq, void *ctx, int code, int flags)
{
    struct connection *c = ctx;

    (void)mosq;
    c->refusal = code ? mosquitto_connack_string(code) : NULL;
    if (code)
        return;
    c->link = LINK_UP;
    /* Bit 0 of the CONNACK flags: session present (MQTT 3.1.1, 3.2.2.2). */
    c->session_lost = !(flags & 1) && c->flying.n > 0;
    backoff_reset(&c->backoff);
    log_debug("%s: connected", c->id);
}

static void on_publish(struct mosquitto *mosq, void *ctx, int mid)
{
    struct connection *c = ctx;
    struct publisher *p = c->owner;

    (void)mosq;
    if (c->session_lost)
        return;
    for (struct message **link = &c->flying.first; *link; link = &(*link)->next) {
        if ((*link)->mid != mid)
            continue;
        struct message *m = list_take(&c->flying, link);
        m->line.confirmed_ms = clock_wall_ms(clock_system());
        audit_write(p->config.audit, &m->line);
        p->counts.confirmed++;
        free(m);
        return;
    }
}

/* ---- Connecting --------------------------------------------------------------------------- */

static bool client_new(struct connection *c, struct err *e)
{
    const struct url *url = &c->owner->config.url;
    const char *ca = getenv("ENERLINK_MQTT_CA");

    c->mosq = mosquitto_new(c->id, false, c);
    if (!c->mosq)
        return err_errno(e, ERR_FATAL, "mosquitto_new");
    if (url->user && mosquitto_username_pw_set(c->mosq, url->user, url->password) != 0)
        return err_set(e, ERR_FATAL, "broker URL: user or password is not UTF-8");
    if (url->encrypted &&
        mosquitto_tls_set(c->mosq, ca, ca ? NULL : "/etc/ssl/certs", NULL, NULL, NULL) != 0)
        return err_set(e, ERR_FATAL, "ENERLINK_MQTT_CA: cannot read %s", ca ? ca : "certificates");
    mosquitto_max_inflight_messages_set(c->mosq, WINDOW);
    mosquitto_connect_with_flags_callback_set(c->mosq, on_connect);
    mosquitto_publish_callback_set(c->mosq, on_publish);
    return true;
}

static void link_down(struct connection *c, const char *why)
{
    struct publisher *p = c->owner;
    int64_t now = mono_ms(), wait = backoff_next_ms(&c->backoff);
    uint64_t left_out;

    c->failures = c->link == LINK_UP ? 0 : c->failures + 1;
    c->link = LINK_DOWN;
    c->next_ms = now + wait;
    if (log_gate_open(&p->gate, now, 5000, &left_out))
        log_warn("%s: broker %s: %s; trying again", c->id, p->config.url.name, why);
}

static const char *error_text(int rc)
{
    return rc == MOSQ_ERR_ERRNO ? strerror(errno) : mosquitto_strerror(rc);
}

static void link_start(struct connection *c, int64_t now)
{
    const struct url *url = &c->owner->config.url;
    int rc = mosquitto_connect_async(c->mosq, url->host, url->port, KEEPALIVE_S);

    if (rc != MOSQ_ERR_SUCCESS) {
        link_down(c, error_text(rc));
        return;
    }
    c->link = LINK_CONNECTING;
    c->next_ms = now + CONNECT_MS;
}

/*
 * The broker does not know our session: what it had confirmed half-way (PUBREC) is gone with it,
 * and the library would only finish the half it remembers. Publish again all that is unconfirmed.
 */
static void session_restart(struct connection *c)
{
    struct err e;

    c->owner->counts.repeated += c->flying.n;
    list_prepend(&c->queue, &c->flying);
    mosquitto_destroy(c->mosq);
    if (!client_new(c, &e))
        die("%s", e.text);
    c->session_lost = false;
    link_start(c, mono_ms());
}

/* ---- Moving messages ---------------------------------------------------------------------- */

static void hand_over(struct connection *c)
{
    const struct publisher *p = c->owner;

    while (c->link == LINK_UP && c->queue.first && c->flying.n < WINDOW) {
        struct message *m = list_take(&c->queue, &c->queue.first);
        if (m->line.sent_ms == 0)
            m->line.sent_ms = clock_wall_ms(clock_system());
        list_append(&c->flying, m);
        int rc = mosquitto_publish(c->mosq, &m->mid, topic_path(m->line.topic), (int)m->len,
                                   m->json, p->config.qos, false);
        /* Without a connection the library has kept the message and sends it later. */
        if (rc != MOSQ_ERR_SUCCESS && rc != MOSQ_ERR_NO_CONN && rc != MOSQ_ERR_CONN_LOST)
            die("%s: publish: %s", c->id, mosquitto_strerror(rc));
    }
}

static void serve(struct connection *c, short events)
{
    int rc = MOSQ_ERR_SUCCESS;

    if (events & (POLLIN | POLLHUP | POLLERR))
        rc = mosquitto_loop_read(c->mosq, WINDOW);
    if (rc == MOSQ_ERR_SUCCESS && (events & POLLOUT))
        rc = mosquitto_loop_write(c->mosq, 1);
    if (c->session_lost)
        session_restart(c);
    else if (rc != MOSQ_ERR_SUCCESS)
        link_down(c, c->refusal ? c->refusal : error_text(rc));
}

/* What does not depend on the socket: keepalive, attempts that are due or take too long. */
static void tend(struct connection *c, int64_t now, bool misc)
{
    if (c->link == LINK_DOWN && now >= c->next_ms)
        link_start(c, now);
    if (c->link == LINK_CONNECTING && now >= c->next_ms) {
        mosquitto_disconnect(c->mosq);
        link_down(c, "no answer");
    }
    if (misc && c->link != LINK_DOWN && mosquitto_loop_misc(c->mosq) != MOSQ_ERR_SUCCESS)
        link_down(c, "connection lost");
    if (c->link == LINK_UP)
        hand_over(c);
}

static struct pollfd poll_of(const struct connection *c)
{
    return (struct pollfd){
        .fd = c->link == LINK_DOWN ? -1 : mosquitto_socket(c->mosq),
        .events = (short)(POLLIN | (mosquitto_want_write(c->mosq) ? POLLOUT : 0)),
    };
}

void publisher_pump(struct publisher *p, int64_t timeout_ms)
{
    int64_t now = mono_ms();
    bool misc = now >= p->misc_ms;

    if (misc) {
        p->misc_ms = now + MISC_MS;
        audit_flush(p->config.audit);
    }
    for (size_t k = 0; k < p->config.connections; k++) {
        struct connection *c = &p->connection[k];
        tend(c, now, misc);
        p->poll[k] = poll_of(c);
        if (c->link != LINK_UP && c->next_ms - now < timeout_ms)
            timeout_ms = c->next_ms > now ? c->next_ms - now : 0;
    }
    if (poll(p->poll, p->config.connections, (int)timeout_ms) <= 0)
        return;
    for (size_t k = 0; k < p->config.connections; k++)
        if (p->poll[k].revents)
            serve(&p->connection[k], p->poll[k].revents);
}

/* ---- Queue -------------------------------------------------------------------------------- */

/*
 * The older half of the queue loses every second message of each meter and topic. Counters are
 * cumulative, so thinning costs resolution but no energy; what is older gets thinned more often.
 */
static void thin(struct publisher *p, struct connection *c)
{
    struct message **link = &c->queue.first;

    memset(p->thin_turn, 0, p->config.meters * TOPIC_COUNT);
    for (size_t left = c->queue.n / 2; left > 0; left--) {
        struct message *m = *link;
        uint8_t *turn = &p->thin_turn[m->meter * TOPIC_COUNT + m->line.topic];
        *turn ^= 1;
        if (*turn) {
            link = &m->next;
            continue;
        }
        free(list_take(&c->queue, link));
        p->counts.thinned++;
    }
}

static struct message *message_new(const struct fleet_message *from)
{
    struct message *m = xmalloc(sizeof *m + from->len);

    *m = (struct message){
        .meter = from->meter,
        .len = from->len,
        .line = {.meter_id = from->state->config.id,
                 .topic = from->topic,
                 .time_ms = from->state->sample.wall_ms},
    };
    for (enum channel i = 0; i < CHANNEL_COUNT; i++)
        m->line.total_uwh[i] = from->state->energy[i].total_uwh;
    memcpy(m->json, from->json, from->len);
    return m;
}

static struct connection *connection_of(const struct publisher *p, size_t meter)
{
    return &p->connection[meter % p->config.connections];
}

void publisher_push(struct publisher *p, const struct fleet_message *m)
{
    struct connection *c = connection_of(p, m->meter);

    if (c->queue.n >= p->config.queue_most / p->config.connections)
        thin(p, c);
    list_append(&c->queue, message_new(m));
    p->counts.pushed++;
}

/* ---- Life --------------------------------------------------------------------------------- */

static bool connection_init(struct publisher *p, size_t k, struct err *e)
{
    struct connection *c = &p->connection[k];

    c->owner = p;
    c->backoff = (struct backoff){.first_ms = 200, .most_ms = 5000, .state = k + 1};
    c->backoff.state ^= (uint64_t)clock_wall_ms(clock_system());
    list_init(&c->queue);
    list_init(&c->flying);
    snprintf(c->id, sizeof c->id, "sim-%.64s-%zu", p->config.prefix, k);
    return client_new(c, e);
}

struct publisher *publisher_new(const struct publisher_config *config, struct err *e)
{
    struct publisher *p = xcalloc(1, sizeof *p);

    mosquitto_lib_init();
    p->config = *config;
    p->connection = xcalloc(config->connections, sizeof *p->connection);
    p->poll = xcalloc(config->connections, sizeof *p->poll);
    p->thin_turn = xcalloc(config->meters, TOPIC_COUNT);
    for (size_t k = 0; k < config->connections; k++) {
        if (!connection_init(p, k, e)) {
            publisher_free(p);
            return NULL;
        }
    }
    return p;
}

static void list_abandon(struct list *l, struct audit *audit)
{
    while (l->first) {
        struct message *m = list_take(l, &l->first);
        audit_write(audit, &m->line);
        free(m);
    }
}

void publisher_free(struct publisher *p)
{
    if (!p)
        return;
    for (size_t k = 0; k < p->config.connections; k++) {
        struct connection *c = &p->connection[k];
        if (!c->owner)
            continue;
        list_abandon(&c->flying, p->config.audit);
        list_abandon(&c->queue, p->config.audit);
        if (c->mosq)
            mosquitto_disconnect(c->mosq);
        mosquitto_destroy(c->mosq);
    }
    mosquitto_lib_cleanup();
    url_clear(&p->config.url);
    free(p->thin_turn);
    free(p->poll);
    free(p->connection);
    free(p);
}

bool publisher_has_room(const struct publisher *p)
{
    for (size_t k = 0; k < p->config.connections; k++)
        if (p->connection[k].queue.n >= ROOM)
            return false;
    return true;
}

size_t publisher_pending(const struct publisher *p)
{
    size_t n = 0;

    for (size_t k = 0; k < p->config.connections; k++)
        n += p->connection[k].queue.n + p->connection[k].flying.n;
    return n;
}

bool publisher_connected(const struct publisher *p)
{
    for (size_t k = 0; k < p->config.connections; k++)
        if (p->connection[k].link != LINK_UP)
            return false;
    return true;
}

bool publisher_meter_connected(const struct publisher *p, size_t meter, int64_t *attempts)
{
    const struct connection *c = connection_of(p, meter);

    *attempts = c->failures;
    return c->link == LINK_UP;
}

struct publisher_counts publisher_counts(const struct publisher *p)
{
    return p->counts;
}
